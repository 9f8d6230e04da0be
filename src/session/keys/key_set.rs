//! An issuer's key set, kept up to date in the background: from a URL or from a file.
//!
//! Requests read the last good set and never fetch. A bad answer changes nothing; when no good one
//! came for a day, the set counts as missing. The caller of `run` is told each attempt, for logs
//! and metrics, which are not known here.

mod settings;

pub use settings::Config;

use super::jwk::{self, Skipped};
use super::key::Key;
use super::refresh_gate::{Closed, RefreshGate, Wait};
use crate::fetch::{self, FetchError, Fetcher};
use crate::problem::{Place, Problem};
use arc_swap::ArcSwapOption;
use bytes::Bytes;
use once_cell::sync::OnceCell;
use parking_lot::Mutex;
use settings::{Settings, Source};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// The largest key set that is read, in bytes.
const DOCUMENT_BYTES_MAX: usize = 256 * 1024;

/// How long the last good set is used while no new one can be had.
const STALE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// After a failure the next attempt comes this soon; each further failure doubles it up to the
/// maximum. A gateway that starts before its issuer must not refuse viewers for long.
const RETRY_FIRST: Duration = Duration::from_secs(2);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Why a set could not be refreshed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// It could not be fetched from its URL.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// Its file could not be read.
    #[error("the file cannot be read: {0}")]
    File(String),
    /// It was read, and no key in it can be used.
    #[error("the key set is of no use: {0}")]
    Unusable(String),
}

/// What one attempt to refresh a set came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// Other keys than before. Tokens that were verified with the old ones are verified again.
    Changed {
        /// The number of keys that are used.
        keys: usize,
        /// The keys of the set that are not used.
        skipped: Vec<Skipped>,
    },
    /// The same document as before.
    Same,
    /// The last good set stays.
    Failed(KeySetError),
}

/// The figures of one set, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// The number of usable keys now.
    pub keys: usize,
    /// Since the set was last read successfully; `None`: never.
    pub age: Option<Duration>,
    /// Whether tokens are verified with it: it was read, and not too long ago.
    pub is_usable: bool,
    /// Attempts that brought a good set, be it the same as before.
    pub refreshes: u64,
    /// Attempts that did not.
    pub failures: u64,
    /// Tokens with an unknown key that waited for a refresh.
    pub unknown_waited: u64,
    /// Those that were refused because a refresh was too recent.
    pub unknown_cooling: u64,
    /// Those whose key a recent refresh did not find.
    pub unknown_remembered: u64,
}

/// What was read last.
struct Loaded {
    keys: Vec<Key>,
    document: Bytes,
}

#[derive(Default)]
struct Counts {
    refreshes: AtomicU64,
    failures: AtomicU64,
    waited: AtomicU64,
    cooling: AtomicU64,
    remembered: AtomicU64,
}

/// One issuer's keys.
pub struct KeySet {
    name: Box<str>,
    settings: Settings,
    loaded: ArcSwapOption<Loaded>,
    /// When the issuer last gave a good answer.
    confirmed: Mutex<Option<Instant>>,
    version: AtomicU64,
    gate: RefreshGate,
    is_running: AtomicBool,
    counts: Counts,
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet")
            .field("name", &self.name)
            .field("settings", &self.settings)
            .finish()
    }
}

impl KeySet {
    /// A set that is empty until `run` fills it. A set from a file is read here, so that `check`
    /// reports a missing or useless file. `place` is where the configuration has the set.
    pub(in crate::session) fn compile(
        name: &str,
        place: Place,
        set: &Config,
        base_dir: &Path,
    ) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let settings = Settings::compile(place, set, base_dir)?;
        let key_set = KeySet {
            name: name.into(),
            settings,
            loaded: ArcSwapOption::empty(),
            confirmed: Mutex::default(),
            version: AtomicU64::new(0),
            gate: RefreshGate::new(),
            is_running: AtomicBool::new(false),
            counts: Counts::default(),
        };
        let (Source::File(path), Some(file)) = (&key_set.settings.source, &set.file) else {
            return Ok((key_set, Vec::new()));
        };
        let document = fetch::file(path, DOCUMENT_BYTES_MAX as u64).map_err(|error| {
            let text = format!("the key set {} cannot be read: {error}", path.display());
            vec![file.problem(text).help("paths are relative to the configuration file")]
        })?;
        match key_set.take(document.into()) {
            Ok(Refresh::Changed { skipped, .. }) => {
                let warnings = skipped.iter().map(|Skipped { position, why }| {
                    file.problem(format!("key {position} of the set is not used: {why}")).warning()
                });
                Ok((key_set, warnings.collect()))
            }
            Ok(_) => Ok((key_set, Vec::new())),
            Err(error) => Err(vec![file.problem(format!("{}: {error}", file.value))]),
        }
    }

    /// The name of the sessions that it verifies.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether `other` would read the same keys. Only `Verifier::adopt` asks.
    pub(in crate::session) fn is_like(&self, other: &KeySet) -> bool {
        self.settings == other.settings
    }

    /// Keeps the set up to date until `stop` turns true or its sender is gone, and calls `tell`
    /// after each attempt. A second call while one is running returns at once.
    pub async fn run(&self, mut stop: watch::Receiver<bool>, tell: impl Fn(&KeySet, &Refresh)) {
        if self.is_running.swap(true, Ordering::AcqRel) {
            return;
        }
        let _running = Running(self);
        tokio::select! {
            biased;
            _ = stop.wait_for(|is_over| *is_over) => {}
            () = self.keep_fresh(tell) => {}
        }
    }

    /// What the set has been through so far.
    pub fn figures(&self) -> Figures {
        let age = self.confirmed.lock().map(|at| at.elapsed());
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Figures {
            keys: self.loaded.load().as_ref().map_or(0, |loaded| loaded.keys.len()),
            age,
            is_usable: age.is_some_and(|age| age < STALE_MAX),
            refreshes: read(&self.counts.refreshes),
            failures: read(&self.counts.failures),
            unknown_waited: read(&self.counts.waited),
            unknown_cooling: read(&self.counts.cooling),
            unknown_remembered: read(&self.counts.remembered),
        }
    }

    /// Changes whenever the keys do.
    pub(in crate::session) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Whether there is a set that may be used.
    pub(in crate::session) fn is_usable(&self) -> bool {
        self.confirmed.lock().is_some_and(|at| at.elapsed() < STALE_MAX)
    }

    /// Calls `visit` with each usable key until it returns something.
    pub(in crate::session) fn find<T>(
        &self,
        mut visit: impl FnMut(&Key) -> Option<T>,
    ) -> Option<T> {
        if !self.is_usable() {
            return None;
        }
        self.loaded.load().as_ref()?.keys.iter().find_map(&mut visit)
    }

    /// Asks the task of `run` for a key that is not known. `None`: there is nothing to wait for.
    pub(in crate::session) fn ask(&self, kid: Option<&str>) -> Option<Wait> {
        let (wait, count) = match self.gate.ask(kid) {
            Ok(wait) => (Some(wait), &self.counts.waited),
            Err(Closed::Cooling) => (None, &self.counts.cooling),
            Err(Closed::KnownUnknown) => (None, &self.counts.remembered),
        };
        count.fetch_add(1, Ordering::Relaxed);
        wait
    }

    async fn keep_fresh(&self, tell: impl Fn(&KeySet, &Refresh)) {
        let (fetcher, mut failures) = (OnceCell::new(), 0);
        let mut due = match self.settings.source {
            Source::Url(_) => Instant::now(),
            Source::File(_) => Instant::now() + self.pause(0),
        };
        loop {
            tokio::select! {
                () = sleep_until(due) => {}
                () = self.gate.called() => {}
            }
            self.gate.begin();
            let refresh = self.settle(self.read(&fetcher).await);
            failures = match refresh {
                Refresh::Failed(_) => failures + 1,
                Refresh::Changed { .. } | Refresh::Same => 0,
            };
            due = Instant::now() + self.pause(failures);
            tell(self, &refresh);
        }
    }

    /// The document as it is now. The fetcher is opened at the first attempt that succeeds in it.
    async fn read(&self, fetcher: &OnceCell<Fetcher>) -> Result<Bytes, KeySetError> {
        let link = match &self.settings.source {
            Source::Url(link) => link,
            Source::File(path) => return read_file(path.clone()).await,
        };
        let fetcher = fetcher.get_or_try_init(|| Fetcher::open(link))?;
        Ok(fetcher.get(DOCUMENT_BYTES_MAX).await?)
    }

    /// Counts the attempt, keeps what it brought, and wakes those who wait.
    fn settle(&self, document: Result<Bytes, KeySetError>) -> Refresh {
        let refresh = match document.and_then(|document| self.take(document)) {
            Ok(refresh) => {
                self.counts.refreshes.fetch_add(1, Ordering::Relaxed);
                refresh
            }
            Err(error) => {
                self.counts.failures.fetch_add(1, Ordering::Relaxed);
                Refresh::Failed(error)
            }
        };
        let is_known = |kid: &str| self.find(|key| key.is_called(kid).then_some(())).is_some();
        match refresh {
            Refresh::Failed(_) => self.gate.finish(None),
            _ => self.gate.finish(Some(&is_known)),
        }
        refresh
    }

    fn take(&self, document: Bytes) -> Result<Refresh, KeySetError> {
        let is_same = self.loaded.load().as_ref().is_some_and(|old| old.document == document);
        let refresh = if is_same {
            Refresh::Same
        } else {
            let allowed = &self.settings.allowed;
            let parsed = jwk::parse(&document, allowed).map_err(KeySetError::Unusable)?;
            let (keys, skipped) = parsed;
            let count = keys.len();
            self.loaded.store(Some(Arc::new(Loaded { keys, document })));
            self.version.fetch_add(1, Ordering::AcqRel);
            Refresh::Changed { keys: count, skipped }
        };
        *self.confirmed.lock() = Some(Instant::now());
        Ok(refresh)
    }

    /// The time until the next attempt after this number of failures in a row. It is up to a tenth
    /// more or less than planned, so that gateways that started together do not ask the issuer
    /// together.
    fn pause(&self, failures: u32) -> Duration {
        let planned = match failures {
            0 => self.settings.refresh,
            _ => RETRY_FIRST.saturating_mul(1 << (failures - 1).min(16)).min(RETRY_MAX),
        };
        planned.min(self.settings.refresh).mul_f64(rand::random_range(0.9..=1.1))
    }
}

/// Marks the set as running. However the task ends, dropping this wakes all who wait.
struct Running<'a>(&'a KeySet);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.gate.finish(None);
        self.0.is_running.store(false, Ordering::Release);
    }
}

async fn read_file(path: PathBuf) -> Result<Bytes, KeySetError> {
    let read = move || fetch::file(&path, DOCUMENT_BYTES_MAX as u64);
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok(bytes)) => Ok(bytes.into()),
        Ok(Err(error)) => Err(KeySetError::File(error.to_string())),
        Err(_) => Err(KeySetError::File("the read was cancelled".to_owned())),
    }
}
