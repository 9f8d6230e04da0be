//! The section `identity` of a policy: the list of sources by which streams are identified, the
//! strongest first.

use crate::problem::Problem;
use crate::units::{SameSite, Secret, Text, Time};
use crate::yaml::At;
use http::HeaderName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// One source of identity.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Step")]
pub enum SourceConfig {
    /// A token that the gateway signs when a stream begins.
    StreamToken(Settings),
    /// The id that the player sends: `X-Playback-Session-Id`, or `sid` of CMCD.
    PlaybackId,
    /// The session is the stream: one login plays one at a time.
    Session,
}

/// How stream tokens are signed and carried.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// At least 32 bytes. Signs the tokens.
    pub secret: At<Secret>,
    /// Another secret whose tokens are taken: the next one, or the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub also: Option<At<Secret>>,
    /// How the token is carried.
    #[serde(default)]
    pub carry: Carry,
    /// How long a token is good; the longest playback without a new start.
    #[serde(default = "lifetime")]
    pub lifetime: At<Time>,
    /// How the cookie is set, with `carry: cookie`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<At<Cookie>>,
}

/// How a token gets from request to request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Carry {
    /// Before the path, `/s/<token>/…`: a redirect puts it there, relative addresses inherit it.
    #[default]
    Path,
    /// In a cookie: one stream for each browser, not for each tab.
    Cookie,
}

/// The cookie that holds a stream token. It is always `HttpOnly`, for `Path=/`.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cookie {
    /// The name of the cookie.
    #[serde(default = "cookie_name")]
    pub name: At<Text>,
    /// Sent over TLS only. `false` is for development.
    #[serde(default = "yes")]
    pub secure: bool,
    /// The `SameSite` of the cookie.
    #[serde(default)]
    pub same_site: SameSite,
    /// One for each site that embeds the player (CHIPS).
    #[serde(default)]
    pub partitioned: bool,
}

impl Default for Cookie {
    fn default() -> Self {
        Cookie {
            name: cookie_name(),
            secure: yes(),
            same_site: SameSite::default(),
            partitioned: false,
        }
    }
}

fn lifetime() -> At<Time> {
    At::unwritten(Time::secs(12 * 3_600))
}

fn cookie_name() -> At<Text> {
    At::unwritten(Text(DEFAULT_COOKIE.to_owned()))
}

fn yes() -> bool {
    true
}

/// The cookie's name where the file does not say one.
const DEFAULT_COOKIE: &str = "streamgate-stream";

/// The shortest secret, in bytes.
const SECRET_BYTES_MIN: usize = 32;

/// A token that outlives a month is a login, not a stream.
const LIFETIME_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Shorter than this, players would have to start again while they play.
const LIFETIME_MIN: Duration = Duration::from_secs(60);

impl SourceConfig {
    fn name(&self) -> &'static str {
        match self {
            SourceConfig::StreamToken(_) => "stream_token",
            SourceConfig::PlaybackId => "playback_id",
            SourceConfig::Session => "session",
        }
    }

    /// The strongest first.
    fn rank(&self) -> usize {
        match self {
            SourceConfig::StreamToken(_) => 0,
            SourceConfig::PlaybackId => 1,
            SourceConfig::Session => 2,
        }
    }

    /// The settings of stream tokens, if this is that source.
    pub fn token(&self) -> Option<&Settings> {
        match self {
            SourceConfig::StreamToken(settings) => Some(settings),
            SourceConfig::PlaybackId | SourceConfig::Session => None,
        }
    }
}

/// Everything that is wrong with the list.
pub(super) fn problems(sources: &At<Vec<At<SourceConfig>>>) -> Vec<Problem> {
    let mut problems = Vec::new();
    if sources.is_empty() {
        let text = "an empty `identity` finds no stream";
        let help = "write `[ playback_id, session ]`, or leave it out";
        problems.push(sources.problem(text).help(help));
    }
    for (earlier, source) in sources.iter().zip(sources.iter().skip(1)) {
        let (before, name) = (earlier.name(), source.name());
        if source.rank() == earlier.rank() {
            let text = format!("`{name}` stands here twice");
            problems.push(source.problem(text).help("remove one of the two"));
        } else if source.rank() < earlier.rank() {
            let text = format!("`{name}` is stronger than `{before}` and stands behind it");
            let help = "the strongest first: `stream_token`, `playback_id`, `session`";
            problems.push(source.problem(text).help(help));
        }
    }
    problems.extend(sources.iter().filter_map(|one| one.token()).flat_map(Settings::problems));
    problems
}

impl Settings {
    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for secret in [Some(&self.secret), self.also.as_ref()].into_iter().flatten() {
            if secret.reveal().len() < SECRET_BYTES_MIN {
                let text = format!("a stream token's secret needs {SECRET_BYTES_MIN} bytes");
                problems.push(secret.problem(text).help("make one: `openssl rand -hex 32`"));
            }
        }
        if !(LIFETIME_MIN..=LIFETIME_MAX).contains(&self.lifetime.0) {
            let text = format!("a lifetime of {} is out of range", self.lifetime.value);
            let help = "write 1m to 720h; as long as the longest playback, such as 12h";
            problems.push(self.lifetime.problem(text).help(help));
        }
        let Some(cookie) = &self.cookie else { return problems };
        if self.carry == Carry::Path {
            let text = "`cookie` says how a cookie is set, and this token is carried in the path";
            problems.push(cookie.problem(text).help("write `carry: cookie`, or remove it"));
        }
        if HeaderName::from_bytes(cookie.name.0.as_bytes()).is_err() {
            let text = format!("`{}` cannot be the name of a cookie", cookie.name.value);
            problems.push(cookie.name.problem(text).help("use letters, digits, `-` and `_`"));
        }
        if !cookie.secure && (cookie.partitioned || cookie.same_site == SameSite::None) {
            let text = "browsers refuse this cookie: `same_site: none` and `partitioned` want TLS";
            problems.push(cookie.problem(text).help("remove `secure: false`"));
        }
        problems
    }

    /// The cookie's name, if one is set.
    pub fn cookie_name(&self) -> Option<&str> {
        let written = self.cookie.as_ref().map(|cookie| cookie.name.0.as_str());
        (self.carry == Carry::Cookie).then(|| written.unwrap_or(DEFAULT_COOKIE))
    }
}
