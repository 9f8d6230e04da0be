//! The root of `gateway.yaml`: what may stand there, and how it is read.
//!
//! Each room keeps the shape of its own part. What the parts mean together is `gateway`'s business.

use crate::problem::{Problem, Report};
use crate::units::{Address, FilePath, Secret, Size, Text, Time, Workers};
use crate::yaml::{self, At, Entries, Environment};
use crate::{concurrency, filter, route, session, store, upstream};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A configuration as it was written: typed, every name with its place, nothing looked up yet.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where clients connect.
    pub listeners: At<Vec<At<Listener>>>,
    /// Where operators look: health, metrics, what is playing.
    #[serde(default)]
    pub admin: Admin,
    /// Worker threads.
    #[serde(default)]
    pub workers: Workers,
    /// One JSON line per request.
    #[serde(default)]
    pub access_log: AccessLog,
    /// Where sessions and leases are remembered.
    #[serde(default)]
    pub stores: Entries<store::Config>,
    /// Whose logins are taken, and how they are proven.
    #[serde(default)]
    pub sessions: Entries<session::Config>,
    /// How many streams an account may play.
    #[serde(default)]
    pub concurrency: Entries<concurrency::Config>,
    /// The servers behind the gateway.
    #[serde(default)]
    pub upstreams: Entries<upstream::Config>,
    /// Which request goes where.
    pub routes: At<Vec<At<Route>>>,
}

/// One address where clients connect.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// Names it in logs and metrics.
    pub name: At<Text>,
    pub address: At<Address>,
    /// How long the head of a request may take.
    #[serde(default = "head_timeout")]
    pub head_timeout: Time,
    /// How long a connection is kept open between two requests.
    #[serde(default = "idle_timeout")]
    pub idle_timeout: Time,
    /// How long a client may pause while it sends a body, and how long the body may take in all,
    /// plus a second for every KiB of it.
    #[serde(default = "body_timeout")]
    pub body_timeout: Time,
    /// How long a client may take no bytes of an answer.
    #[serde(default = "write_timeout")]
    pub write_timeout: Time,
}

fn head_timeout() -> Time {
    Time::secs(15)
}

fn idle_timeout() -> Time {
    Time::secs(75)
}

fn body_timeout() -> Time {
    Time::secs(30)
}

fn write_timeout() -> Time {
    Time::secs(60)
}

/// The admin port.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    #[serde(default = "admin_address")]
    pub address: At<Address>,
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

/// A place for log lines. `access_log: off` is short for `access_log: { to: off }`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct AccessLog {
    pub to: LogTarget,
}

/// A place for log lines.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogTarget {
    #[default]
    Stdout,
    /// Appended to; created when it is not there.
    File(FilePath),
    Off,
}

/// The same as it may be written: the target alone, or behind `to`.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum WrittenLog {
    Stdout,
    Off,
    /// Appended to; created when it is not there.
    File(FilePath),
    /// The same, written out.
    To(WrittenTarget),
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum WrittenTarget {
    Stdout,
    Off,
    /// Appended to; created when it is not there.
    File(FilePath),
}

impl<'de> Deserialize<'de> for AccessLog {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let to = match WrittenLog::deserialize(deserializer)? {
            WrittenLog::Stdout | WrittenLog::To(WrittenTarget::Stdout) => LogTarget::Stdout,
            WrittenLog::Off | WrittenLog::To(WrittenTarget::Off) => LogTarget::Off,
            WrittenLog::File(path) | WrittenLog::To(WrittenTarget::File(path)) => {
                LogTarget::File(path)
            }
        };
        Ok(AccessLog { to })
    }
}

impl JsonSchema for AccessLog {
    fn schema_name() -> Cow<'static, str> {
        "AccessLog".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        WrittenLog::json_schema(generator)
    }
}

/// One route: which requests, through which filters, to what end.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Names it in logs and metrics.
    pub name: At<Text>,
    pub r#match: route::Match,
    /// Steps in order.
    #[serde(default)]
    pub filters: Vec<At<filter::Config>>,
    /// Its end: an upstream …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<At<Text>>,
    /// … or something that the gateway itself answers …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<At<Service>>,
    /// … or another place. Exactly one of the three.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect: Option<At<route::Redirect>>,
    /// Lets the session's token pass to the upstream, which is not done otherwise.
    #[serde(default)]
    pub forward_token: bool,
    /// The largest body that a request may bring.
    #[serde(default = "max_body")]
    pub max_body: Size,
}

fn max_body() -> Size {
    Size(1024 * 1024)
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
    pub config: Config,
    pub file: PathBuf,
    source: String,
}

impl Loaded {
    /// Files named in the configuration are looked for beside it.
    pub fn base_dir(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new("."))
    }

    /// The problems of this file, ready to be printed.
    pub fn report(&self, problems: Vec<Problem>) -> Report {
        Report::new(self.file.display().to_string(), self.source.as_str(), problems)
    }
}

/// Reads the file at `path`.
pub fn load(path: &Path, environment: &Environment) -> Result<Loaded, Report> {
    let fail = |problem: Problem| Report::new(path.display().to_string(), "", vec![problem]);
    let mut bytes = Vec::new();
    // One byte more than may be there tells that there are too many; `/dev/zero` has no end.
    let most = yaml::FILE_BYTES_MAX as u64 + 1;
    let read = std::fs::File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes));
    if let Err(error) = read {
        let problem = Problem::of_file(format!("the file can't be read: {error}"));
        return Err(fail(problem.help("name another with `--config FILE`")));
    }
    match String::from_utf8(bytes) {
        Ok(source) => self::read(path, source, environment),
        Err(error) => {
            let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
            let problem = Problem::of_file(format!("line {line} is not UTF-8"));
            Err(fail(problem.help("save the file as UTF-8")))
        }
    }
}

/// Reads a configuration from `source`; `path` names it in messages.
pub fn read(path: &Path, source: String, env: &Environment) -> Result<Loaded, Report> {
    match yaml::parse::<Config>(&source, env) {
        Ok(config) => Ok(Loaded { config, file: path.to_owned(), source }),
        Err(problems) => Err(Report::new(path.display().to_string(), source, problems)),
    }
}

/// The JSON Schema of the file, for editors.
pub fn schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(Config);
    schema.insert("title".to_owned(), "streamgate: gateway.yaml".into());
    schema.to_value()
}
