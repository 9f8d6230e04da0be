//! A store and its time, in words short enough for a test to read as a sentence.

use crate::server::Server;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use streamgate_lease::memory::MemoryStore;
use streamgate_lease::redis::RedisStore;
use streamgate_lease::{
    About, Admitted, Answer, Claim, ClassLimit, Classes, Holder, LeaseId, LeaseStore, Live, Pepper,
    Replace, Slot, State, Timing,
};

pub(crate) const TTL: Duration = Duration::from_secs(60);
pub(crate) const MS: Duration = Duration::from_millis(1);

pub(crate) struct World {
    pub(crate) store: Arc<dyn LeaseStore>,
    pub(crate) timing: Timing,
    /// Some: its time passes by moving what it knows into the past. None: tokio's paused time.
    pub(crate) server: Option<Server>,
    passed_ms: AtomicU64,
}

pub(crate) fn holder(name: &str) -> Holder {
    Holder::of(&Pepper::new([42; 32]).unwrap(), name)
}

pub(crate) fn id(name: &str) -> LeaseId {
    LeaseId::of(name, None)
}

/// A claim of alice's for a playback that says what it is.
pub(crate) fn claim(name: &str, limit: u32) -> Claim {
    let about = About::new(Some(name), None);
    Claim { about, ..Claim::new(holder("alice"), id(name), limit) }
}

/// The same for a stream of classes, written `4k=1 live=2`.
pub(crate) fn classed(name: &str, limit: u32, classes: &str) -> Claim {
    let limits = classes.split_whitespace().map(|pair| {
        let (class, limit) = pair.split_once('=').unwrap();
        ClassLimit { class: class.parse().unwrap(), limit: limit.parse().unwrap() }
    });
    Claim { classes: Classes::new(limits).unwrap(), ..claim(name, limit) }
}

pub(crate) fn these(names: &[&str]) -> Replace {
    Replace::These(names.iter().map(|name| id(name)).collect())
}

impl World {
    pub(crate) fn memory() -> Self {
        Self::over(Arc::new(MemoryStore::new()), None)
    }

    pub(crate) async fn redis() -> Self {
        let server = Server::start().await;
        Self::over(Arc::new(RedisStore::new(server.patient_client())), Some(server))
    }

    fn over(store: Arc<dyn LeaseStore>, server: Option<Server>) -> Self {
        Self { store, timing: Timing::default(), server, passed_ms: AtomicU64::new(0) }
    }

    /// Another world of the same kind, with nothing in it.
    pub(crate) async fn twin(&self) -> Self {
        if self.server.is_some() { Self::redis().await } else { Self::memory() }
    }

    /// Forgets everything.
    pub(crate) async fn clear(&mut self) {
        match &self.server {
            Some(server) => {
                let flush = redis::cmd("FLUSHALL");
                flush.exec_async(&mut server.peek().await).await.unwrap();
            }
            None => self.store = Arc::new(MemoryStore::new()),
        }
    }

    /// What there is of a holder is never under two of its names at once, and everything has a TTL.
    pub(crate) async fn lies_under_one_name(&self) {
        let Some(server) = &self.server else {
            return;
        };
        let mut connection = server.peek().await;
        let keys: Vec<String> =
            redis::cmd("KEYS").arg("sg:*").query_async(&mut connection).await.unwrap();
        let stems: std::collections::BTreeSet<_> =
            keys.iter().map(|key| &key[..key.len() - 2]).collect();
        assert!(stems.len() <= 1, "{keys:?}");
        for key in &keys {
            let left: i64 = redis::cmd("PTTL").arg(key).query_async(&mut connection).await.unwrap();
            assert!(0 < left, "{key} stays for ever");
        }
    }

    pub(crate) async fn pass(&self, time: Duration) {
        let Some(server) = &self.server else {
            return tokio::time::advance(time).await;
        };
        let ms = u64::try_from(time.as_millis()).unwrap();
        let shift = redis::Script::new(include_str!("shift.lua"));
        let _: i64 = shift.arg(ms).invoke_async(&mut server.peek().await).await.unwrap();
        self.passed_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// How far its time has been moved so far, in milliseconds.
    pub(crate) fn passed(&self) -> u64 {
        self.passed_ms.load(Ordering::Relaxed)
    }

    /// A beginning that stays the same however the world lets time pass.
    pub(crate) fn beginning(&self, started_at: u64) -> u64 {
        started_at + self.passed_ms.load(Ordering::Relaxed)
    }

    pub(crate) async fn ask(&self, claim: &Claim) -> Answer {
        self.store.acquire(claim, &self.timing).await.unwrap()
    }

    /// `new`, `held`, `full` or how it ended.
    pub(crate) async fn try_play(&self, claim: &Claim) -> String {
        match self.ask(claim).await {
            Answer::Held(admitted) => (if admitted.is_new { "new" } else { "held" }).into(),
            Answer::Full(_) => "full".into(),
            Answer::Ended(why, _) => why.as_str().into(),
        }
    }

    pub(crate) async fn play(&self, claim: &Claim) -> Admitted {
        match self.ask(claim).await {
            Answer::Held(admitted) => admitted,
            answer => panic!("{:?} should be held: {answer:?}", claim.about.device()),
        }
    }

    pub(crate) async fn live_of(&self, account: &str) -> Vec<Live> {
        self.store.list(&holder(account)).await.unwrap()
    }

    /// Alice's live streams, oldest first: `tv phone`.
    pub(crate) async fn live(&self) -> String {
        let live = self.live_of("alice").await;
        live.iter().map(|live| live.about.device().unwrap_or("?")).collect::<Vec<_>>().join(" ")
    }

    /// The same with their classes: `tv:4k,live phone:`.
    pub(crate) async fn classes(&self) -> String {
        let live = self.live_of("alice").await;
        let named = live.iter().map(|live| {
            let names: Vec<_> = live.classes.iter().map(ToString::to_string).collect();
            format!("{}:{}", live.about.device().unwrap_or("?"), names.join(","))
        });
        named.collect::<Vec<_>>().join(" ")
    }

    pub(crate) async fn renew(&self, name: &str) -> bool {
        self.renew_with(name, &self.timing).await
    }

    pub(crate) async fn renew_with(&self, name: &str, timing: &Timing) -> bool {
        let slot = Slot {
            holder: holder("alice"),
            id: id(name),
            silent_for: Duration::ZERO,
            keep_keys: true,
            ttl: None,
        };
        self.store.renew(&[slot], timing).await.remove(0).unwrap().is_some()
    }

    pub(crate) async fn renew_all(&self, slots: &[Slot]) -> Vec<Option<Duration>> {
        let renewed = self.store.renew(slots, &self.timing).await;
        renewed.into_iter().map(Result::unwrap).collect()
    }

    pub(crate) async fn release(&self, name: &str) {
        self.store.release(&holder("alice"), &id(name), &self.timing).await.unwrap();
    }

    pub(crate) async fn terminate(&self, name: &str) -> bool {
        self.store.terminate(&holder("alice"), &id(name), &self.timing).await.unwrap()
    }

    pub(crate) async fn declare(&self, name: &str, state: State) -> bool {
        self.store.declare(&holder("alice"), &id(name), state).await.unwrap()
    }
}
