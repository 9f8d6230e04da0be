//! What the gateways of a fleet have in common, in a store: the account, the certificate, whose
//! turn it is to order, and the proofs that an authority was promised. All is sealed
//! (`acme/seal.rs`) but for who has the turn.
//!
//! ```text
//! sg:acme:{…}:account        private key and URL
//! sg:acme:{…}:certificate    chain and private key
//! sg:acme:{…}:proofs         what an authority may ask any of the gateways for, as long as it may
//! sg:acme:{…}:turn           who orders, or has failed: nobody else does as long as it lives
//! sg:acme:{…}:failures       how often that has failed in a row
//! ```
//!
//! `…` is a hash of the authority's directory and of the names, so two listeners with the same
//! certificate have one between them. The certificate that was seen last is known here, so a store
//! that is away changes nothing about what is shown.

use super::AcmeError;
use super::config::Config;
use super::issued::Issued;
use super::seal::Seal;
use crate::store::Store;
use arc_swap::ArcSwapOption;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use parking_lot::Mutex;
use redis::{Cmd, FromRedisValue, Script, cmd};
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;
use streamgate_lease::StoreError;
use streamgate_lease::redis::Client;
use tokio::time::{Instant, sleep};

/// How long a turn lasts that nobody extends: the gateway that had it is gone.
const TURN: Duration = Duration::from_secs(60);

/// How often a turn is extended.
const EXTENDED_EVERY: Duration = Duration::from_secs(15);

/// How long failures are remembered.
const FAILURES_REMEMBERED: Duration = Duration::from_secs(24 * 3_600);

/// For how long what was read of proofs is taken for true: whoever asks again and again costs the
/// store one question in this time. An order waits for longer before it has an authority look.
const PROOFS_FRESH: Duration = Duration::from_millis(500);

/// How long proofs lie there if their gateway is gone.
const PROOFS_KEPT: Duration = Duration::from_secs(600);

/// How often what was sealed with the previous secret is sealed anew. While a fleet changes its
/// secret, two gateways may each take the other's for the previous one.
const RESEALED_EVERY: Duration = Duration::from_secs(3_600);

/// The largest text that is taken from a store, in bytes.
const TEXT_BYTES_MAX: usize = 256 * 1024;

/// What one host's proof is made of.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Promised {
    pub(super) host: String,
    pub(super) token: String,
    pub(super) authorization: String,
}

type Proofs = Arc<Vec<Promised>>;

/// What the gateways that order this certificate have in common.
pub(super) struct Fleet {
    /// The entry of `stores`.
    store: String,
    /// What the keys of the store begin with.
    prefix: String,
    seal: Seal,
    /// Who this is, for the turn.
    own_name: String,
    open: ArcSwapOption<Store>,
    known: Mutex<Option<Issued>>,
    resealed: Mutex<Option<Instant>>,
    proofs: tokio::sync::Mutex<Option<(Instant, Proofs)>>,
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fleet").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Fleet {
    /// The fleet of a certificate that a store keeps. It asks nothing until it has the store.
    pub(super) fn new(config: &Config) -> Option<Self> {
        let sealed = config.sealed_store()?;
        let mut names = config.host_names();
        names.sort();
        // A line break stands in no URL and in no name.
        let about = format!("{}\n{}", config.directory.0, names.join("\n"));
        let hash = hex(&digest(&SHA256, about.as_bytes()).as_ref()[..16]);
        let mut own_name = [0; 16];
        rand::fill(&mut own_name).expect("the system has randomness");
        Some(Fleet {
            store: sealed.store.0.clone(),
            prefix: format!("sg:acme:{{{hash}}}"),
            seal: Seal::new(config.secrets().map(|secret| &secret.value)),
            own_name: hex(&own_name),
            open: ArcSwapOption::empty(),
            known: Mutex::new(None),
            resealed: Mutex::new(None),
            proofs: tokio::sync::Mutex::new(None),
        })
    }

    /// The entry of `stores` that it is kept in.
    pub(super) fn store(&self) -> &str {
        &self.store
    }

    /// It is kept in this store from now on.
    pub(super) fn attach(&self, store: &Arc<Store>) {
        self.open.store(Some(Arc::clone(store)));
    }

    /// Knows what another one knows, if it is the same certificate.
    pub(super) fn take_over(&self, before: &Fleet) {
        if self.prefix == before.prefix {
            self.known.lock().clone_from(&before.known.lock());
        }
    }

    /// The certificate as it was seen last.
    pub(super) fn known(&self) -> Option<Issued> {
        self.known.lock().clone()
    }

    /// Looks at what is there now.
    pub(super) async fn look(&self) -> Result<(), AcmeError> {
        let Some((text, is_current)) = self.read("certificate").await? else { return Ok(()) };
        let issued = Issued::parse(&text).ok_or_else(|| self.unreadable())?;
        *self.known.lock() = Some(issued);
        if !is_current && self.may_reseal() {
            self.write("certificate", &text, None).await?;
            // Which seals it anew, too: no order may find it closed.
            self.account().await?;
        }
        Ok(())
    }

    /// Keeps a certificate for all of them.
    pub(super) async fn keep(&self, issued: &Issued) -> Result<(), AcmeError> {
        // It is shown here even if nobody else hears of it.
        *self.known.lock() = Some(issued.clone());
        self.write("certificate", &issued.as_text(), None).await
    }

    /// The account, if there is one.
    pub(super) async fn account(&self) -> Result<Option<String>, AcmeError> {
        let Some((text, is_current)) = self.read("account").await? else { return Ok(None) };
        if !is_current {
            self.write("account", &text, None).await?;
        }
        Ok(Some(text))
    }

    /// Keeps an account.
    pub(super) async fn keep_account(&self, text: &str) -> Result<(), AcmeError> {
        self.write("account", text, None).await
    }

    fn may_reseal(&self) -> bool {
        let mut resealed = self.resealed.lock();
        let is_due = resealed.is_none_or(|at| RESEALED_EVERY <= at.elapsed());
        if is_due {
            *resealed = Some(Instant::now());
        }
        is_due
    }
}

/// Whose turn it is.
impl Fleet {
    /// Takes the turn, or has it for longer. `false`: another gateway has it.
    pub(super) async fn take_turn(&self) -> Result<bool, AcmeError> {
        let key = self.key("turn");
        let script = Script::new(include_str!("take_turn.lua"));
        let mut invocation = script.key(&key);
        let asked = invocation.arg(&self.own_name).arg(ms(TURN));
        let answer = self.client()?.invoke(&key, asked).await.map_err(|why| self.failed(&why))?;
        Ok(answer == redis::Value::Int(1))
    }

    /// Does `work`, which must not go on without the turn.
    pub(super) async fn in_turn<T>(
        &self,
        work: impl Future<Output = Result<T, AcmeError>>,
    ) -> Result<T, AcmeError> {
        let lost = async {
            let mut until = Instant::now() + TURN;
            loop {
                sleep(EXTENDED_EVERY).await;
                match self.take_turn().await {
                    Ok(true) => until = Instant::now() + TURN,
                    Err(_) if Instant::now() + EXTENDED_EVERY < until => {}
                    Ok(false) | Err(_) => return,
                }
            }
        };
        tokio::select! {
            done = work => done,
            () = lost => Err(AcmeError::TurnLost),
        }
    }

    /// Leaves the turn to the others, after so long.
    pub(super) async fn end_turn(&self, after: Duration) {
        let key = self.key("turn");
        let Ok(client) = self.client() else { return };
        let script = Script::new(include_str!("end_turn.lua"));
        let mut invocation = script.key(&key);
        // If the store is away, the turn ends by itself.
        let _ = client.invoke(&key, invocation.arg(&self.own_name).arg(ms(after))).await;
    }

    /// Counts a failure: how many there were in a row, of whichever gateway.
    pub(super) async fn count_failure(&self) -> Option<u32> {
        let key = self.key("failures");
        let script = Script::new(include_str!("count_failure.lua"));
        let mut invocation = script.key(&key);
        let counted = invocation.arg(ms(FAILURES_REMEMBERED));
        match self.client().ok()?.invoke(&key, counted).await {
            Ok(redis::Value::Int(count)) => u32::try_from(count).ok(),
            _ => None,
        }
    }

    /// The last order has succeeded.
    pub(super) async fn forget_failures(&self) {
        // They are forgotten in a day in any case.
        let _ = self.ask::<u32>("failures", cmd("DEL").arg(self.key("failures"))).await;
    }
}

/// Proofs: any of the gateways may be asked for one.
impl Fleet {
    /// Has all of them give these proofs. It takes as long as they may not know of it.
    pub(super) async fn promise(&self, proofs: &[Promised]) -> Result<(), AcmeError> {
        let text = serde_json::to_string(proofs).expect("it is plain data");
        self.write("proofs", &text, Some(PROOFS_KEPT)).await?;
        sleep(PROOFS_FRESH * 2).await;
        Ok(())
    }

    /// Nothing is to be proven any more.
    pub(super) async fn withdraw(&self) {
        // They end by themselves.
        let _ = self.ask::<u32>("proofs", cmd("DEL").arg(self.key("proofs"))).await;
    }

    /// The proofs that are promised now, as far as the store can be asked.
    pub(super) async fn proofs(&self) -> Proofs {
        let mut fresh = self.proofs.lock().await;
        if let Some((at, proofs)) = fresh.as_ref()
            && at.elapsed() < PROOFS_FRESH
        {
            return Arc::clone(proofs);
        }
        // Before the question: what is promised while it is under way counts as unseen.
        let at = Instant::now();
        let read = self.read("proofs").await.ok().flatten();
        let read = read.and_then(|(text, _)| serde_json::from_str(&text).ok());
        let proofs: Proofs = Arc::new(read.unwrap_or_default());
        *fresh = Some((at, Arc::clone(&proofs)));
        proofs
    }
}

/// The store.
impl Fleet {
    fn key(&self, kind: &str) -> String {
        format!("{}:{kind}", self.prefix)
    }

    fn client(&self) -> Result<Arc<Client>, AcmeError> {
        let open = self.open.load();
        let client = open.as_ref().and_then(|store| store.client());
        let away = || AcmeError::Store(self.store.clone(), "it is not open".to_owned());
        client.cloned().ok_or_else(away)
    }

    async fn ask<T: FromRedisValue>(&self, kind: &str, command: &Cmd) -> Result<T, AcmeError> {
        let answer = self.client()?.query_patiently(&self.key(kind), command).await;
        answer.map_err(|why| self.failed(&why))
    }

    /// What is kept, and whether the current secret has sealed it.
    async fn read(&self, kind: &str) -> Result<Option<(String, bool)>, AcmeError> {
        let key = self.key(kind);
        let sealed: Option<Vec<u8>> = self.ask(kind, cmd("GET").arg(&key)).await?;
        let Some(sealed) = sealed else { return Ok(None) };
        if TEXT_BYTES_MAX < sealed.len() {
            return Err(self.unreadable());
        }
        let opened = self.seal.open(&key, &sealed).ok_or_else(|| self.unreadable())?;
        let text = String::from_utf8(opened.plain).map_err(|_| self.unreadable())?;
        Ok(Some((text, opened.is_current)))
    }

    async fn write(&self, kind: &str, text: &str, kept: Option<Duration>) -> Result<(), AcmeError> {
        let key = self.key(kind);
        let sealed = self.seal.close(&key, text.as_bytes()).ok_or(AcmeError::Unusable)?;
        let mut set = cmd("SET");
        set.arg(&key).arg(sealed);
        if let Some(kept) = kept {
            set.arg("PX").arg(ms(kept));
        }
        self.ask(kind, &set).await
    }

    fn failed(&self, why: &StoreError) -> AcmeError {
        AcmeError::Store(self.store.clone(), why.to_string())
    }

    fn unreadable(&self) -> AcmeError {
        AcmeError::Sealed(self.store.clone(), self.prefix.clone())
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a text takes all that is written");
        text
    })
}
