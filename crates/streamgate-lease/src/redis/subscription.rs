//! Subscription: the messages that are published on one channel, over a connection of its own. It
//! connects again when the connection breaks, and says so, because what was published meanwhile is
//! lost.
//!
//! It spawns nothing: the caller that waits for the next event drives it.
//!
//! Which server it subscribes at. A cluster carries what is published on any server to all of them,
//! so any server does, and another one when that one dies. Behind sentinels it is the master. A
//! master also passes what is published on to its replicas, so a subscriber at an old master that
//! became a replica still hears the new master, for as long as the two are in touch. That is why a
//! failover may be noticed a little late, and why it must be noticed: the old master may keep the
//! connection open and be in touch with nobody. So every two seconds the subscription checks
//! whether its server is still the right one, and leaving it counts as an interruption. What it
//! learns also decides where commands go: nobody goes on writing to a master that has a successor.

use super::client::Client;
use super::conn::store_error;
use crate::store::{StoreError, UnavailableReason};
use ::redis::Client as RedisClient;
use ::redis::aio::{PubSubSink, PubSubStream};
use futures_util::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// Pauses between attempts to connect.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// How often the connection is checked with a `PING`.
const CHECK_EVERY: Duration = Duration::from_secs(10);
/// Where another server may take over, connection and server are checked more often.
const CHECK_SERVER_EVERY: Duration = Duration::from_secs(2);

/// A subscription to channels that outlives its connections.
pub struct Subscription {
    client: Arc<Client>,
    channel: String,
    conn: Option<SubscriberConn>,
    backoff: Duration,
    /// `Interrupted` was the last event that is not a message.
    is_interrupted: bool,
}

/// The connection of a subscription: it carries nothing else.
struct SubscriberConn {
    sink: PubSubSink,
    stream: PubSubStream,
    server: RedisClient,
    checked_at: Instant,
}

/// An event of a [`Subscription`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// From now on every message comes. Messages that were published before may have been missed.
    Subscribed,
    /// Something was published.
    Message(Vec<u8>),
    /// The connection is lost, and messages are being missed until the next `Subscribed`.
    Interrupted(StoreError),
}

impl Subscription {
    /// A subscription to `channel`, or to several with a space between them. It connects when the
    /// first event is waited for.
    #[must_use]
    pub fn new(client: Arc<Client>, channel: &str) -> Self {
        Self {
            client,
            channel: channel.to_owned(),
            conn: None,
            backoff: Duration::ZERO,
            is_interrupted: false,
        }
    }

    /// Waits for the next event, and connects as often as needed. Dropping the future before it is
    /// ready loses no message of a connection that is up.
    pub async fn next(&mut self) -> Event {
        loop {
            let event = match &mut self.conn {
                Some(conn) => conn.next(&self.client).await.map(Event::Message),
                None => self.connect().await,
            };
            match event {
                Ok(event) => return event,
                Err(error) => {
                    self.conn = None;
                    if !std::mem::replace(&mut self.is_interrupted, true) {
                        return Event::Interrupted(error);
                    }
                }
            }
        }
    }

    fn channels(&self) -> Vec<&str> {
        self.channel.split(' ').collect()
    }

    async fn connect(&mut self) -> Result<Event, StoreError> {
        sleep(self.backoff.mul_f64(rand::random_range(0.8..1.2))).await;
        self.backoff = (self.backoff * 2).clamp(BACKOFF_MIN, BACKOFF_MAX);
        let subscribe = async {
            let (mut pubsub, server) = self.client.connect_pubsub().await?;
            pubsub.subscribe(self.channels()).await.map_err(|error| store_error(&error))?;
            Ok((pubsub.split(), server))
        };
        let deadline = self.client.deadlines.connect;
        let ((sink, stream), server) =
            timeout(deadline, subscribe).await.unwrap_or(Err(StoreError::Timeout))?;
        self.client.follow_master(&server);
        self.conn = Some(SubscriberConn { sink, stream, server, checked_at: Instant::now() });
        self.backoff = Duration::ZERO;
        self.is_interrupted = false;
        Ok(Event::Subscribed)
    }
}

impl SubscriberConn {
    /// The next message. An error means that the connection is to be replaced.
    async fn next(&mut self, client: &Client) -> Result<Vec<u8>, StoreError> {
        let every = if client.can_fail_over() { CHECK_SERVER_EVERY } else { CHECK_EVERY };
        loop {
            match timeout_at(self.checked_at + every, self.stream.next()).await {
                Ok(Some(message)) => return Ok(message.get_payload_bytes().to_vec()),
                Ok(None) => return Err(StoreError::Unavailable(UnavailableReason::ConnectionLost)),
                Err(_due) => self.check(client, every).await?,
            }
        }
    }

    /// Checks connection and server. If its future is dropped before it is ready, the check is
    /// still due.
    async fn check(&mut self, client: &Client, within: Duration) -> Result<(), StoreError> {
        match timeout(within, self.sink.ping::<::redis::Value>()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(store_error(&error)),
            Err(_) => return Err(StoreError::Timeout),
        }
        if client.can_fail_over() && client.is_stale(&self.server).await {
            return Err(StoreError::Unavailable("another server is to be listened to".into()));
        }
        client.follow_master(&self.server);
        self.checked_at = Instant::now();
        Ok(())
    }
}
