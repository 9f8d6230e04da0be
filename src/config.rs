//! The root of `gateway.yaml`: what may stand there, and how it is read.
//!
//! Each room declares the configuration of its own part; `gateway` checks what the parts mean
//! together. Three parts are declared here because their rooms stand above this one: [`Admin`],
//! whose room serves the running gateway, [`Drain`], which `server` obeys, and [`Route`], which
//! names filters, an upstream and a policy.

mod include;
mod listed;

pub(crate) use include::{files_of, included};

use crate::denial::PageConfig;
use crate::observe::access;
use crate::problem::{Problem, Report, Sources};
use crate::units::{Address, Count, Secret, Size, Text, Time, TimeOrNone, Workers};
use crate::yaml::{self, At, Entries, Environment, OneOrMany};
use crate::{edge, filter, resolve, route, store, upstream};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};
use std::io::Read;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A configuration as it was written: typed, every name with its place, nothing looked up yet.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Config {
    #[serde(flatten)]
    root: Root,
    /// What filters bring with them.
    #[serde(flatten)]
    pub sections: filter::Sections,
}

impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (root, sections) = yaml::joined(deserializer)?;
        Ok(Config { root, sections })
    }
}

impl Deref for Config {
    type Target = Root;

    fn deref(&self) -> &Root {
        &self.root
    }
}

/// The sections that every gateway has, whatever its filters.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Root {
    /// Further files of the configuration, as if they stood here: a file, or a directory of which
    /// every `.yaml` is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include: Option<OneOrMany<Text>>,
    /// Where clients connect.
    pub listeners: At<Vec<At<edge::Config>>>,
    /// Where operators look: health, metrics, what is playing.
    #[serde(default)]
    pub admin: Admin,
    /// How it stops when it is asked to.
    #[serde(default)]
    pub drain: Drain,
    /// Worker threads.
    #[serde(default)]
    pub workers: Workers,
    /// How many connections of clients may be open, over all listeners.
    #[serde(default = "connections")]
    pub connections: Count,
    /// How much memory the process may take. Near it, connections are not kept, then requests are
    /// refused, then connections. Left out: what its container may take, if that has a bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<At<Size>>,
    /// How many requests may be under way, over all listeners.
    #[serde(default = "in_flight")]
    pub in_flight: Count,
    /// One JSON line per request.
    #[serde(default)]
    pub access_log: access::Config,
    /// Where sessions and leases are remembered.
    #[serde(default)]
    pub stores: Entries<store::Config>,
    /// How names of upstreams and of trusted peers are looked up.
    #[serde(default)]
    pub resolver: resolve::Config,
    /// Bodies of refusals beside the usual one, by code; `"*"` is every code without an entry.
    #[serde(default)]
    pub refusals: Entries<At<PageConfig>>,
    /// The servers behind the gateway.
    #[serde(default)]
    pub upstreams: Entries<upstream::Config>,
    /// Which request goes where: routes, and groups of routes that have something in common.
    #[schemars(with = "Vec<listed::Listed>")]
    pub routes: At<Vec<At<Route>>>,
}

fn connections() -> Count {
    Count(100_000)
}

fn in_flight() -> Count {
    Count(50_000)
}

/// The admin port.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    #[serde(default = "admin_address")]
    pub(crate) address: At<Address>,
    /// Needed for whatever changes something, and for everything when the address is not loopback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<At<Secret>>,
}

impl Default for Admin {
    fn default() -> Self {
        Admin { address: admin_address(), token: None }
    }
}

fn admin_address() -> At<Address> {
    At::unwritten(Address(([127, 0, 0, 1], 9901).into()))
}

/// How a gateway stops when it is asked to.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// How long it goes on as before while `/readyz` says `draining`, so that load balancers look
    /// elsewhere before listeners close.
    #[serde(default = "drain_delay")]
    pub delay: TimeOrNone,
    /// How long requests under way may take to end after that. What is left then is cut.
    #[serde(default = "drain_timeout")]
    pub timeout: TimeOrNone,
}

impl Default for Drain {
    fn default() -> Self {
        Drain { delay: drain_delay(), timeout: drain_timeout() }
    }
}

fn drain_delay() -> TimeOrNone {
    TimeOrNone(Duration::from_secs(5))
}

fn drain_timeout() -> TimeOrNone {
    TimeOrNone(Duration::from_secs(30))
}

/// One route: which requests, through which filters, to what end.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    { "required": ["upstream"] },
    { "required": ["service"] },
    { "required": ["redirect"] },
    { "required": ["respond"] },
]))]
pub struct Route {
    /// Names it in logs and metrics.
    pub name: At<Text>,
    pub(crate) r#match: route::Match,
    /// Steps in order.
    #[serde(default)]
    pub filters: Vec<At<filter::Config>>,
    /// Its end: an upstream …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<At<Text>>,
    /// … or something that the gateway itself answers …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<At<Service>>,
    /// … or another place …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect: Option<At<route::Redirect>>,
    /// … or an answer that is always the same. Exactly one of the four.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub respond: Option<At<route::Respond>>,
    /// What the upstream is asked for, in place of what the client asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<At<route::Rewrite>>,
    /// Lets the session's token pass to the upstream, which is not done otherwise.
    #[serde(default)]
    pub forward_token: bool,
    /// Lets a client make a WebSocket of its request. Left out, an `Upgrade` is not passed on.
    #[serde(default = "no")]
    #[schemars(with = "bool")]
    pub websocket: At<bool>,
    /// How long the upstream may take for this route, over the upstream's own `timeouts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<At<RouteTimeouts>>,
    /// What begins a playback: patterns over the decoded path, in which `*` stands for any text,
    /// such as `*.m3u8` and `*/manifest*`. Left out: what playlists are usually called, and what
    /// the answer says it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts: Option<OneOrMany<Text>>,
    /// What becomes of `%2F` in what the path's `{*rest}` takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoded_slash: Option<At<route::EncodedSlash>>,
    /// The largest body that a request may bring.
    #[serde(default = "max_body")]
    pub max_body: At<Size>,
}

fn max_body() -> At<Size> {
    At::unwritten(Size(1024 * 1024))
}

fn no() -> At<bool> {
    At::unwritten(false)
}

/// How long an upstream may take for one route.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteTimeouts {
    /// Until the head of the answer is whole, and for every pause behind it.
    pub read: Time,
}

/// What the gateway answers itself.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Service {
    /// The streams API of a policy: what plays, start, stop, take over.
    Streams(At<Text>),
}

/// A configuration with the text it was read from, for messages that show it.
#[derive(Debug)]
pub struct Loaded {
    /// What was read.
    pub config: Config,
    /// The file that it was read from.
    pub file: PathBuf,
    pub(crate) sources: Sources,
}

impl Loaded {
    /// Files named in the configuration are looked for beside it.
    pub fn base_dir(&self) -> &Path {
        base_dir(&self.file)
    }

    /// The beginning of the SHA-256 of the text of all files. It is shown: it tells nothing of a
    /// secret that comes from a variable, and of one in a file no more than that it has changed.
    pub fn hash(&self) -> String {
        let mut hasher = Sha256::new();
        self.sources.iter().for_each(|source| hasher.update(source.text.as_bytes()));
        let digest = hasher.finalize();
        digest[..8].iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }

    /// The problems of this file, ready to be printed.
    pub fn report(&self, problems: Vec<Problem>) -> Report {
        Report::of(self.sources.clone(), problems)
    }
}

/// Where the files are that a configuration at `file` names.
fn base_dir(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new("."))
}

/// A configuration as far as it could be read, with what is wrong with it so far.
#[derive(Debug)]
pub struct Draft {
    path: PathBuf,
    sources: Sources,
    draft: yaml::Draft<Config>,
}

impl Draft {
    /// Reads `text` and what it includes; `path` names it, and is where relative paths begin.
    fn of(path: &Path, text: &str, environment: &Environment) -> Self {
        let mut sources = Sources::new(path.display().to_string(), text);
        let draft = yaml::draft_with(text, environment, |named| {
            let included = include::read(base_dir(path), &named);
            let texts = included.sources.iter().map(|source| Arc::clone(&source.text)).collect();
            sources.include(included.sources);
            (texts, included.problems)
        });
        Draft { path: path.to_owned(), sources, draft }
    }

    /// The configuration, if nothing is wrong with it so far. If something is, `further` looks at
    /// what could be read, so that all is told at once.
    pub fn finish(self, further: impl FnOnce(&Loaded) -> Vec<Problem>) -> Result<Loaded, Report> {
        let Draft { path, sources, mut draft } = self;
        let Some(config) = draft.value.take() else {
            return Err(Report::of(sources, draft.problems));
        };
        let loaded = Loaded { config, file: path, sources };
        if draft.problems.is_empty() {
            return Ok(loaded);
        }
        let later = draft.counts(further(&loaded));
        Err(loaded.report(draft.problems.into_iter().chain(later).collect()))
    }
}

/// Reads the file at `path` as far as that is possible.
pub fn draft(path: &Path, environment: &Environment) -> Result<Draft, Report> {
    let fail = |problem: Problem| Report::new(path.display().to_string(), "", vec![problem]);
    let mut bytes = Vec::new();
    // One byte more than allowed is enough to refuse a file; `/dev/zero` has no end.
    let most = yaml::FILE_BYTES_MAX as u64 + 1;
    let read = std::fs::File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes));
    if let Err(error) = read {
        let problem = Problem::of_file(format!("the file can't be read: {error}"));
        let help = match path.as_os_str() == "-" {
            true => "standard input is named `/dev/stdin`",
            false => "name another with `--config FILE`",
        };
        return Err(fail(problem.help(help)));
    }
    match String::from_utf8(bytes) {
        Ok(source) => Ok(Draft::of(path, &source, environment)),
        Err(error) => {
            let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
            let problem = Problem::of_file(format!("line {line} is not UTF-8"));
            Err(fail(problem.help("save the file as UTF-8")))
        }
    }
}

/// Reads the file at `path`; tells what is wrong before any name is looked up.
pub fn load(path: &Path, environment: &Environment) -> Result<Loaded, Report> {
    draft(path, environment)?.finish(|_| Vec::new())
}

/// Reads a configuration from `source`; `path` names it in messages.
pub fn read(path: &Path, source: String, env: &Environment) -> Result<Loaded, Report> {
    Draft::of(path, &source, env).finish(|_| Vec::new())
}

/// The JSON Schema of the file, for editors.
pub fn schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(Config);
    schema.insert("title".to_owned(), "streamgate: gateway.yaml".into());
    let own = serde_json::json!({ "^x-": { "description": "A place of the operator's own." } });
    schema.insert("patternProperties".to_owned(), own);
    schema.to_value()
}
