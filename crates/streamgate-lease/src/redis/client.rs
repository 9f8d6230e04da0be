//! Client: sends commands, scripts and batches to the servers of one store.
//!
//! One server or a master behind sentinels is one [`Node`](super::conn::Node); a cluster is one per
//! primary, each with circuit breakers of its own, so a dead shard is the trouble of its own
//! accounts. Whatever happens, a command is answered within its deadline and that of connecting
//! together, as long as this process itself has a processor.

use super::address::{Address, AddressInvalid, Shape};
use super::cluster::{Batch, send_shards, slot};
use super::command_batch::CommandBatch;
use super::conn::{Alarm, Command, Deadlines, Patience, ReplyError, Tls, TlsInvalid};
use super::health::Health;
use super::topology::{Topology, no_owner};
use crate::store::StoreError;
use ::redis::aio::PubSub;
use ::redis::{Client as RedisClient, Cmd, FromRedisValue, ScriptInvocation, Value, cmd};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// The servers of one store. All callers share it.
pub struct Client {
    address: Address,
    pub(super) deadlines: Deadlines,
    topology: Topology,
    alarm: Arc<Alarm>,
}

impl Client {
    /// A client of the servers at an address, with the default deadlines and the system's roots
    /// for TLS. Connects to nothing yet.
    ///
    /// # Errors
    /// [`AddressInvalid`] if the text is no address.
    pub fn new(url: &str) -> Result<Self, AddressInvalid> {
        Self::with_deadlines(url, Deadlines::default())
    }

    /// Likewise, with other deadlines.
    ///
    /// # Errors
    /// [`AddressInvalid`] if the text is no address.
    pub fn with_deadlines(url: &str, deadlines: Deadlines) -> Result<Self, AddressInvalid> {
        let address = Address::parse(url)?;
        Self::with_tls(&address, deadlines, &Tls::default()).map_err(|_| AddressInvalid::Host)
    }

    /// Likewise, with other roots and a client certificate for TLS.
    ///
    /// # Errors
    /// [`TlsInvalid`] if certificates or key cannot be read.
    pub fn with_tls(
        address: &Address,
        deadlines: Deadlines,
        tls: &Tls,
    ) -> Result<Self, TlsInvalid> {
        let alarm = Arc::new(Alarm::default());
        let topology = Topology::new(address, deadlines, tls, &alarm)?;
        Ok(Self { address: address.clone(), deadlines, topology, alarm })
    }

    /// Sends one command about one key to the server that has it.
    ///
    /// # Errors
    /// [`StoreError`] within the deadlines.
    pub async fn query<T: FromRedisValue>(
        &self,
        key: &str,
        command: &Cmd,
    ) -> Result<T, StoreError> {
        let reply = self.send(slot::of(key), &Command::Single(command), Patience::Command).await?;
        ::redis::from_redis_value(reply)
            .map_err(|_| StoreError::Protocol("an answer of another kind".to_owned()))
    }

    /// Likewise, for a question that a request cannot go on without: it waits as a start does.
    ///
    /// # Errors
    /// [`StoreError`] within the deadlines.
    pub async fn query_patiently<T: FromRedisValue>(
        &self,
        key: &str,
        command: &Cmd,
    ) -> Result<T, StoreError> {
        let reply = self.send(slot::of(key), &Command::Single(command), Patience::Start).await?;
        ::redis::from_redis_value(reply)
            .map_err(|_| StoreError::Protocol("an answer of another kind".to_owned()))
    }

    /// Sends many commands, each about the key beside it, in small pipelines. Results stand in
    /// their order; the failure of one server is the failure of its commands alone.
    ///
    /// # Errors
    /// [`StoreError`] of each, within the deadlines.
    pub async fn query_all(&self, commands: &[(String, Cmd)]) -> Vec<Result<Value, StoreError>> {
        self.run(&CommandBatch(commands)).await
    }

    /// Whether a key exists. It waits as a start does.
    ///
    /// # Errors
    /// [`StoreError`] within the deadlines.
    pub async fn exists(&self, key: &str) -> Result<bool, StoreError> {
        let mut exists = cmd("EXISTS");
        exists.arg(key);
        self.query_patiently(key, &exists).await
    }

    /// Runs a script about one key, and those that share its hash tag, on the server that has
    /// them. A script that the server does not know (any more) is loaded and run again.
    ///
    /// # Errors
    /// [`StoreError`] within the deadlines.
    pub async fn invoke(
        &self,
        key: &str,
        script: &ScriptInvocation<'_>,
    ) -> Result<Value, StoreError> {
        self.send(slot::of(key), &Command::Script(script), Patience::Command).await
    }

    /// Whether all keys are within reach, or none: not so in a cluster.
    pub(super) fn fails_as_one(&self) -> bool {
        self.topology.is_single()
    }

    /// Sends a command to the server that has a slot.
    pub(super) async fn send(
        &self,
        slot: u16,
        command: &Command<'_>,
        patience: Patience,
    ) -> Result<Value, StoreError> {
        let deadline = self.deadline();
        let node = timeout_at(deadline, self.topology.owner(slot, deadline)).await;
        let node = node.map_err(|_| StoreError::Timeout)?.ok_or_else(no_owner)?;
        let error = match node.send(command, patience, false).await {
            Ok(reply) => return Ok(reply),
            Err(error) => error,
        };
        let redirected = timeout_at(deadline, self.topology.redirect(slot, error, deadline)).await;
        match redirected.unwrap_or(Err(StoreError::Timeout)) {
            Ok((node, asking)) => {
                let reply = node.send(command, patience, asking).await;
                reply.map_err(ReplyError::into_store_error)
            }
            Err(error) => {
                // As where a cluster was taken for one server, which is everybody's trouble.
                if error.sentence().is_some() {
                    node.record_failure(&error);
                }
                Err(error)
            }
        }
    }

    /// Probes the servers that are in doubt, or were not probed for `every`. Says whether there
    /// were any.
    pub(super) async fn probe(&self, every: Duration) -> bool {
        self.topology.probe(every, self.deadline()).await
    }

    /// How the servers are, by what is known now.
    pub(super) fn health(&self) -> Health {
        let nodes = self.topology.nodes();
        let failure = nodes.iter().find_map(|node| node.why_resting());
        let failure = failure.or_else(|| nodes.is_empty().then(no_owner));
        let round_trip = nodes.iter().filter_map(|node| node.round_trip()).max();
        let far = |round_trip: &Duration| self.deadlines.are_below(*round_trip);
        Health { failure, too_far: round_trip.filter(far) }
    }

    pub(super) fn alarm(&self) -> &Alarm {
        &self.alarm
    }

    /// Sends a batch, and once more those of its commands that a server redirects. Results stand
    /// in the order of the batch. The deadlines hold for each of its pipelines: a far server takes
    /// as long for the first of them as for the last.
    pub(super) async fn run<B: Batch>(&self, batch: &B) -> Vec<Result<B::Answer, StoreError>> {
        let deadline = self.deadline();
        let slots = batch.slots();
        let mut results: Vec<Result<B::Answer, ReplyError>> =
            slots.iter().map(|_| Err(no_owner().into())).collect();
        // A slot map that takes too long leaves all of them without a server.
        if let Ok(shards) = timeout_at(deadline, self.topology.shards(&slots, deadline)).await {
            send_shards(batch, shards, self.pipeline_max(), &mut results).await;
        }
        let deadline = self.deadline();
        let redirect = |result: &Result<_, ReplyError>| match result {
            Err(error @ (ReplyError::Moved(_) | ReplyError::Ask(_))) => Some(error.clone()),
            _ => None,
        };
        let redirects = results.iter().enumerate();
        let redirects: Vec<_> =
            redirects.filter_map(|(at, it)| Some((at, redirect(it)?))).collect();
        let redirected = self.topology.redirected_shards(&slots, redirects, deadline);
        if let Ok(shards) = timeout_at(deadline, redirected).await {
            send_shards(batch, shards, self.pipeline_max(), &mut results).await;
        }
        let into_results = results.into_iter();
        into_results.map(|result| result.map_err(ReplyError::into_store_error)).collect()
    }

    /// A connection that hears what is published anywhere in the store, and its server.
    pub(super) async fn connect_pubsub(&self) -> Result<(PubSub, RedisClient), StoreError> {
        let deadline = Instant::now() + self.deadlines.connect;
        let node = self.topology.pubsub_node(deadline).await.ok_or_else(no_owner)?;
        node.connector.connect_pubsub(deadline).await
    }

    /// Whether a subscriber at this server should subscribe elsewhere by now.
    pub(super) async fn is_stale(&self, server: &RedisClient) -> bool {
        self.topology.is_stale(server, self.deadline()).await
    }

    /// A subscriber is connected to this server, which is the master where there is one: commands
    /// go there, too.
    pub(super) fn follow_master(&self, server: &RedisClient) {
        self.topology.follow_master(server);
    }

    /// Whether another server may take over.
    pub(super) fn can_fail_over(&self) -> bool {
        self.address.shape != Shape::One
    }

    /// When a command that is sent now has been answered.
    fn deadline(&self) -> Instant {
        Instant::now() + self.deadlines.connect + self.deadlines.command
    }

    /// What one pipeline may take: connecting, asking for the server's time, and its own answer.
    fn pipeline_max(&self) -> Duration {
        self.deadlines.connect + self.deadlines.command * 2
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.address)
    }
}
