//! An issuer's key set, kept up to date in the background: from a URL or from a file.
//!
//! Requests read the last good set and never fetch. A bad answer changes nothing; when no good one
//! came for a day, the set counts as missing. What happens is told to the caller of `run`, who
//! knows about logs and metrics; nothing of that is known here.

use super::Algorithm;
use super::desk::{Answer, Desk, Wait};
use super::jwk::{self, Skipped};
use super::key::{self, Key};
use crate::fetch::{FetchError, Fetcher, Link};
use crate::problem::{Place, Problem};
use crate::units::{FilePath, Text, Time};
use crate::yaml::At;
use arc_swap::ArcSwapOption;
use bytes::Bytes;
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
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

/// After a failure the next attempt comes this soon, or at the next refresh if that is sooner.
const RETRY: Duration = Duration::from_secs(30);

/// How often a set may be refreshed.
const REFRESH_MIN: Time = Time::secs(10);
const REFRESH_MAX: Time = Time::secs(12 * 60 * 60);

/// Exactly one of `url` and `file`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The issuer's `jwks_uri`: https, or http to loopback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<At<Text>>,
    /// A file that something else keeps up to date; relative to the configuration file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<At<FilePath>>,
    /// How often the set is read again, give or take a tenth.
    #[serde(default = "default_refresh")]
    pub refresh: At<Time>,
    /// Accepts plain HTTP to other hosts too. Who can answer in the issuer's place can then forge
    /// any session: only for networks that nobody else is in.
    #[serde(default)]
    pub allow_http: bool,
    /// The algorithms that keys of this set may have; left out, every asymmetric one. The first
    /// RSA one is that of RSA keys without `alg`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub algorithms: Vec<At<Algorithm>>,
}

fn default_refresh() -> At<Time> {
    At { value: Time::secs(600), place: Place::default() }
}

/// What makes two key sets the same, before and after a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Settings {
    source: Source,
    refresh: Duration,
    allowed: Vec<Algorithm>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Url(Link),
    File(PathBuf),
}

/// Why a set could not be refreshed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("the file cannot be read: {0}")]
    File(String),
    #[error("the key set is of no use: {0}")]
    Unusable(&'static str),
}

/// What one attempt to refresh a set came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// Other keys than before. Tokens that were verified with the old ones are verified anew.
    Changed { keys: usize, skipped: Vec<Skipped> },
    /// The same document as before.
    Same,
    /// The last good set stays.
    Failed(KeySetError),
}

/// What a set has been through, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Usable keys just now.
    pub keys: usize,
    /// Since the set was last read successfully; `None`: never, or too long ago to be used.
    pub age: Option<Duration>,
    pub refreshes: u64,
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
    desk: Desk,
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
    /// A set that is empty until `run` fills it; one from a file is read here, so that a missing
    /// or useless file is told before anything starts.
    pub(super) fn compile(
        name: &str,
        config: &At<key::Config>,
        set: &Config,
        base_dir: &Path,
    ) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let settings = Settings::compile(config, set, base_dir)?;
        let key_set = KeySet {
            name: name.into(),
            settings,
            loaded: ArcSwapOption::empty(),
            confirmed: Mutex::default(),
            version: AtomicU64::new(0),
            desk: Desk::new(),
            is_running: AtomicBool::new(false),
            counts: Counts::default(),
        };
        let (Source::File(path), Some(file)) = (&key_set.settings.source, &set.file) else {
            return Ok((key_set, Vec::new()));
        };
        let document = key::read(path, DOCUMENT_BYTES_MAX as u64).map_err(|error| {
            let text = format!("the key set {} cannot be read: {error}", path.display());
            vec![file.problem(text).help("paths are relative to the configuration file")]
        })?;
        match key_set.take(document.into()) {
            Ok(Refresh::Changed { skipped, .. }) => {
                let told = skipped.iter().map(|Skipped { position, why }| {
                    file.problem(format!("key {position} of the set is not used: {why}")).warning()
                });
                let told = told.collect();
                Ok((key_set, told))
            }
            Ok(_) => Ok((key_set, Vec::new())),
            Err(error) => Err(vec![file.problem(format!("{}: {error}", file.value))]),
        }
    }

    /// The name of the sessions that it verifies.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether `other` would read the same keys.
    pub(super) fn is_like(&self, other: &KeySet) -> bool {
        self.settings == other.settings
    }

    /// Keeps the set up to date until `stop` turns true or its sender is gone. Each attempt is
    /// told to `tell`. A second call while one is running returns at once.
    pub async fn run(&self, mut stop: watch::Receiver<bool>, tell: impl Fn(&KeySet, &Refresh)) {
        if self.is_running.swap(true, Ordering::AcqRel) {
            return;
        }
        let _running = Running(self);
        let mut due = match self.settings.source {
            Source::Url(_) => Instant::now(),
            Source::File(_) => Instant::now() + self.pause(true),
        };
        let mut fetcher = None;
        loop {
            tokio::select! {
                _ = stop.wait_for(|is_over| *is_over) => return,
                () = sleep_until(due) => {}
                () = self.desk.called() => {}
            }
            self.desk.begin();
            let document = tokio::select! {
                _ = stop.wait_for(|is_over| *is_over) => return,
                document = self.read(&mut fetcher) => document,
            };
            let refresh = self.settle(document);
            due = Instant::now() + self.pause(!matches!(refresh, Refresh::Failed(_)));
            tell(self, &refresh);
        }
    }

    pub fn figures(&self) -> Figures {
        let age = self.confirmed.lock().map(|at| at.elapsed()).filter(|age| *age < STALE_MAX);
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Figures {
            keys: self.loaded.load().as_ref().map_or(0, |loaded| loaded.keys.len()),
            age,
            refreshes: read(&self.counts.refreshes),
            failures: read(&self.counts.failures),
            unknown_waited: read(&self.counts.waited),
            unknown_cooling: read(&self.counts.cooling),
            unknown_remembered: read(&self.counts.remembered),
        }
    }

    /// Changes whenever the keys do.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Whether there is a set that may be used.
    pub(super) fn is_usable(&self) -> bool {
        self.confirmed.lock().is_some_and(|at| at.elapsed() < STALE_MAX)
    }

    /// Hands each usable key to `visit` until it returns something.
    pub(super) fn find<T>(&self, mut visit: impl FnMut(&Key) -> Option<T>) -> Option<T> {
        if !self.is_usable() {
            return None;
        }
        self.loaded.load().as_ref()?.keys.iter().find_map(&mut visit)
    }

    /// Asks the task for a key that is not known. `None`: there is nothing to wait for.
    pub(super) fn ask(&self, kid: Option<&str>) -> Option<Wait> {
        let (wait, count) = match self.desk.ask(kid) {
            Ok(wait) => (Some(wait), &self.counts.waited),
            Err(Answer::Cooling) => (None, &self.counts.cooling),
            Err(Answer::KnownUnknown) => (None, &self.counts.remembered),
        };
        count.fetch_add(1, Ordering::Relaxed);
        wait
    }

    async fn read(&self, fetcher: &mut Option<Fetcher>) -> Result<Bytes, KeySetError> {
        let link = match &self.settings.source {
            Source::Url(link) => link,
            Source::File(path) => return read_file(path.clone()).await,
        };
        let fetcher = match fetcher {
            Some(fetcher) => fetcher,
            None => fetcher.insert(Fetcher::open(link)?),
        };
        Ok(fetcher.get(DOCUMENT_BYTES_MAX).await?)
    }

    /// Counts the attempt, keeps what it brought, and wakes those who wait.
    fn settle(&self, document: Result<Bytes, KeySetError>) -> Refresh {
        self.counts.refreshes.fetch_add(1, Ordering::Relaxed);
        let refresh = document.and_then(|document| self.take(document)).unwrap_or_else(|error| {
            self.counts.failures.fetch_add(1, Ordering::Relaxed);
            Refresh::Failed(error)
        });
        let is_known = |kid: &str| self.find(|key| key.is_called(kid).then_some(())).is_some();
        match refresh {
            Refresh::Failed(_) => self.desk.finish(None),
            _ => self.desk.finish(Some(&is_known)),
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

    /// How long until the next attempt: a tenth more or less than configured, so that a fleet that
    /// was started at once does not ask the issuer at once.
    fn pause(&self, is_well: bool) -> Duration {
        let base = match is_well {
            true => self.settings.refresh,
            false => self.settings.refresh.min(RETRY),
        };
        base.mul_f64(rand::random_range(0.9..=1.1))
    }
}

/// While it lives the set has its task. However the task ends, nobody is left waiting.
struct Running<'a>(&'a KeySet);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.desk.finish(None);
        self.0.is_running.store(false, Ordering::Release);
    }
}

async fn read_file(path: PathBuf) -> Result<Bytes, KeySetError> {
    let read = move || key::read(&path, DOCUMENT_BYTES_MAX as u64);
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok(bytes)) => Ok(bytes.into()),
        Ok(Err(error)) => Err(KeySetError::File(error.to_string())),
        Err(_) => Err(KeySetError::File("the read was cancelled".to_owned())),
    }
}

impl Settings {
    fn compile(
        config: &At<key::Config>,
        set: &Config,
        base_dir: &Path,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let refresh = set.refresh.value;
        if !(REFRESH_MIN..=REFRESH_MAX).contains(&refresh) {
            let text = format!("a key set is refreshed every {REFRESH_MIN} to {REFRESH_MAX}");
            problems.push(set.refresh.problem(text).help("leave it out for `10m`"));
        }
        for secret in set.algorithms.iter().filter(|algorithm| algorithm.name().starts_with("HS")) {
            let text = "a published key is no secret: no HS algorithm can be checked with it";
            problems.push(secret.problem(text).help("remove it"));
        }
        let source = match (&set.url, &set.file) {
            (Some(url), None) => {
                link(url, set.allow_http).map_err(|problem| problems.push(problem))
            }
            (None, Some(file)) => Ok(Source::File(base_dir.join(&file.0))),
            _ => {
                let text = "a key set comes from exactly one place";
                problems.push(config.problem(text).help("write either `url: …` or `file: …`"));
                Err(())
            }
        };
        match (source, problems.is_empty()) {
            (Ok(source), true) => {
                let allowed = set.algorithms.iter().map(|algorithm| algorithm.value).collect();
                Ok(Settings { source, refresh: refresh.0, allowed })
            }
            _ => Err(problems),
        }
    }
}

fn link(url: &At<Text>, allow_http: bool) -> Result<Source, Problem> {
    Link::parse(&url.0, allow_http).map(Source::Url).map_err(|why| {
        url.problem(why)
            .help("write an `https:` URL, or `allow_http: true` if nobody else is there")
    })
}
