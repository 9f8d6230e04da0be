//! Asking the admin port of a running gateway to do something.

use super::Failure;
use crate::config::Loaded;
use crate::fetch::{Fetcher, Link};
use clap::Args;
use serde_json::Value;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the token is looked for when no file is named.
const TOKEN_VARIABLE: &str = "STREAMGATE_ADMIN_TOKEN";

/// The longest file that is read for a token, in bytes.
const TOKEN_BYTES_MAX: u64 = 4 * 1024;

/// The longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// How long an answer is waited for: a new process has a minute to get ready.
const ANSWERED_WITHIN: Duration = Duration::from_secs(75);

/// Which gateway is asked, and what opens its admin port.
#[derive(Args, Debug)]
pub(super) struct AdminOptions {
    /// The admin port; left out, that of the configuration.
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
    /// A file with the token; left out, STREAMGATE_ADMIN_TOKEN or the configuration has it.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// What the gateway answered, and which one it was.
pub(super) struct Answer {
    pub(super) base: String,
    pub(super) status: u16,
    pub(super) body: Value,
}

impl Answer {
    /// Why nothing was done, in the gateway's own words.
    pub(super) fn failure(&self) -> Failure {
        let why = match self.body["error"].as_str() {
            Some(error) => error.to_owned(),
            None => format!("this is not a gateway's admin port: status {}", self.status),
        };
        Failure::Other(format!("{}: {why}", self.base))
    }
}

/// Posts `body` to `path` and returns the answer.
pub(super) fn post(
    options: &AdminOptions,
    load: impl FnOnce() -> Result<Loaded, Failure>,
    path: &str,
    body: impl FnOnce() -> Result<Value, Failure>,
) -> Result<Answer, Failure> {
    let other = |why: String| Failure::Other(why);
    let written = read_token(options.token_file.as_deref())?;
    // The file is needed only for what nobody said.
    let loaded = if options.admin.is_some() && written.is_some() { None } else { Some(load()?) };
    let admin = loaded.as_ref().map(|loaded| &loaded.config.admin);
    let base = match (&options.admin, admin) {
        (Some(url), _) => url.trim_end_matches('/').to_owned(),
        (None, Some(admin)) => format!("http://{}", reachable(admin.address.0)),
        (None, None) => return Err(other("no admin port: name it with `--admin URL`".to_owned())),
    };
    let configured = admin.and_then(|admin| Some(admin.token.as_ref()?.reveal().to_owned()));
    let token = written.or(configured).ok_or_else(|| {
        let why = format!(
            "no token: name a `--token-file`, set {TOKEN_VARIABLE}, or set `admin.token` in the \
             file"
        );
        Failure::Usage(why)
    })?;
    let link = Link::parse(&format!("{base}{path}"), true);
    let link = link.map_err(|why| Failure::Usage(format!("`--admin {base}`: {why}")))?;
    let failed = |why: String| other(format!("{base}: {why}"));
    let fetcher = Fetcher::open(&link).map_err(|error| failed(error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(error.to_string()))?;
    let body = body()?;
    let asked = fetcher.post(&body, &token, (ANSWER_BYTES_MAX, ANSWERED_WITHIN));
    let (status, answer) = runtime.block_on(asked).map_err(|error| {
        failed(format!("{error}; whether anything was done is not known: ask again"))
    })?;
    Ok(Answer { base, status, body: serde_json::from_slice(&answer).unwrap_or_default() })
}

/// The token from the file, else from the environment.
fn read_token(file: Option<&Path>) -> Result<Option<String>, Failure> {
    let Some(path) = file else {
        return Ok(std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty()));
    };
    let mut text = String::new();
    let file = std::fs::File::open(path);
    let read = file.and_then(|file| file.take(TOKEN_BYTES_MAX).read_to_string(&mut text));
    read.map_err(|error| Failure::Other(format!("{}: {error}", path.display())))?;
    match text.trim() {
        "" => Err(Failure::Other(format!("{}: there is no token in it", path.display()))),
        token => Ok(Some(token.to_owned())),
    }
}

/// An address to connect to: one that means all of this machine's means this machine.
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
