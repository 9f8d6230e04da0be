//! Sessions: everything between the text of a token and the proof that somebody is logged in.
//!
//! Holding a `Session` means that its token was verified: only the `Verifier` makes one. Nothing
//! of HTTP is known here, finding the token in a request is the filter's work; nor is any store:
//! whether the session was ended since is another question.

mod algorithm;
mod claims;
mod desk;
mod header;
mod id;
mod json;
mod jwk;
pub mod key;
pub mod key_set;
mod life;
mod memory;
pub mod mint;
mod pulse;
mod refused;
pub mod reissue;
mod token;
mod verifier;
mod viewer;

pub use algorithm::Algorithm;
pub use jwk::Skipped;
pub use key_set::{KeySet, Refresh};
pub use life::Revocation;
pub use refused::Refused;
pub use reissue::Reissue;
pub use verifier::Verifier;
pub use viewer::{AccountText, Disguise, Viewer};

use crate::problem::{Place, Problem};
use crate::units::{Count, Secret, Text, Time};
use crate::yaml::{At, Entries};
use http::HeaderValue;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;

/// The most keys that one kind of session may be configured with.
const KEYS_MAX: usize = 16;

/// The most tokens that may be remembered.
const REMEMBER_MAX: u32 = 1_000_000;

/// One kind of session: who issues its tokens, and how they are checked.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What `iss` must be, exactly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<At<Text>>,
    /// What `aud` must be, or have among its members, exactly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<At<Text>>,
    /// The keys that tokens may be signed with. Several are for changing them.
    pub keys: At<Vec<At<key::Config>>>,
    /// The store that knows which sessions are still active; left out, the token alone decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_in: Option<At<Text>>,
    /// What holds while that store cannot be asked.
    #[serde(default)]
    pub when_store_fails: WhenStoreFails,
    /// How long a session may go unused before it ends; left out, it lives as long as the auth
    /// service says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<At<Time>>,
    /// How long a login counts at most, measured from `auth_time` or `iat`, however often its
    /// token is refreshed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absolute: Option<At<Time>>,
    /// Gives browsers a younger token when theirs is past half its life. Left out, only the auth
    /// service signs tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reissue: Option<At<reissue::Config>>,
    /// At least 32 bytes. With it all sessions of an account can be ended at once; the account is
    /// hashed with it (HMAC-SHA-256) before it reaches the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocation_pepper: Option<At<Secret>>,
    /// The cookie that holds the token.
    #[serde(default = "default_cookie")]
    pub cookie: At<Text>,
    /// Claims that upstreams get as headers: the claim, then the header.
    #[serde(default)]
    pub claims_to_headers: Entries<At<Text>>,
    /// How many verified tokens are remembered.
    #[serde(default = "default_remember")]
    pub remember: At<Count>,
}

/// What becomes of a verified session while it cannot be asked whether it was ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenStoreFails {
    /// It counts: the signature still proves the login, only a logout is not seen.
    #[default]
    Open,
    /// It does not: nobody plays until the store answers.
    Closed,
}

fn default_cookie() -> At<Text> {
    At { value: Text("session".to_owned()), place: Place::default() }
}

fn default_remember() -> At<Count> {
    At { value: Count(100_000), place: Place::default() }
}

impl Config {
    /// What is wrong with it, keys apart.
    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.keys.is_empty() || self.keys.len() > KEYS_MAX {
            let text = format!("a session needs 1 to {KEYS_MAX} keys, and has {}", self.keys.len());
            let help = "add `- hs256: …`, `- pem: …` or `- jwks: …`";
            problems.push(self.keys.problem(text).help(help));
        }
        for text in [&self.issuer, &self.audience].into_iter().flatten() {
            if text.0.is_empty() {
                let why = "an empty text is not what a token says";
                problems.push(text.problem(why).help("leave it out if it shall not be checked"));
            }
        }
        if !is_name(&self.cookie.0) {
            let text = format!("`{}` cannot be the name of a cookie", self.cookie.value);
            problems.push(self.cookie.problem(text).help("use letters, digits, `-` and `_`"));
        }
        if self.remember.0 > REMEMBER_MAX {
            let text = format!("at most {REMEMBER_MAX} tokens are remembered");
            problems.push(self.remember.problem(text).help("each takes about 2 KiB"));
        }
        problems.extend(life::problems(self));
        problems.extend(reissue::problems(self));
        problems
    }

    /// What is probably not meant.
    fn warnings(&self) -> Vec<Problem> {
        let mut warnings = Vec::new();
        let is_public = |key: &&At<key::Config>| matches!(key.value, key::Config::Jwks(_));
        let Some(set) = self.keys.iter().find(is_public) else { return warnings };
        if self.issuer.is_none() {
            let text = "without `issuer` a token from any issuer with these keys is accepted";
            warnings.push(set.problem(text).help("add `issuer: …`").warning());
        }
        if self.audience.is_none() {
            let text = "without `audience` a token that was made for another service is accepted";
            warnings.push(set.problem(text).help("add `audience: …`").warning());
        }
        warnings
    }

    fn rules(&self, claims: &[&str]) -> claims::Rules {
        let mapped = self.claims_to_headers.iter().map(|(claim, _)| claim.as_str());
        let mut kept: Vec<Box<str>> =
            claims.iter().copied().chain(mapped).map(Into::into).collect();
        kept.sort();
        kept.dedup();
        let text = |text: &At<Text>| text.0.as_str().into();
        claims::Rules {
            issuer: self.issuer.as_ref().map(text),
            audience: self.audience.as_ref().map(text),
            absolute_secs: self.absolute.as_ref().map(|absolute| absolute.0.as_secs()),
            kept: kept.into(),
        }
    }
}

/// Whether cookies may be called so (RFC 9110, token).
fn is_name(text: &str) -> bool {
    http::HeaderName::from_bytes(text.as_bytes()).is_ok()
}

/// Requests that come at once, and clients that keep no cookie, cost one signature in this time. An
/// answer that is lost costs as long.
const REISSUE_EVERY_SECS: u64 = 10;

/// What a token says of time, in seconds since 1970.
struct Dates {
    began_at: Option<u64>,
    expires_at: u64,
    half_life_at: Option<u64>,
}

/// A proven login.
#[derive(Clone, PartialEq)]
pub struct Session {
    account: Box<str>,
    id: id::Id,
    claims: Box<[(Box<str>, Value)]>,
    began_at: Option<u64>,
    expires_at: u64,
    /// When half of the token's own life was over; `None` when it does not say when that began.
    half_life_at: Option<u64>,
    viewer: viewer::Memo,
    pulse: pulse::Pulse,
    renewal: pulse::Pulse,
}

impl Session {
    /// Only verification makes one.
    fn new(
        account: Box<str>,
        id: &str,
        claims: Box<[(Box<str>, Value)]>,
        Dates { began_at, expires_at, half_life_at }: Dates,
    ) -> Self {
        let id = id::Id::new(id);
        let (viewer, pulse, renewal) = Default::default();
        Session { account, id, claims, began_at, expires_at, half_life_at, viewer, pulse, renewal }
    }

    /// Who is logged in: `sub`. 1 to 256 bytes without control characters. Never for logs.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// Which login this is: `sid`, else `jti`, else a digest of what was signed. 1 to 128 bytes
    /// without control characters.
    pub fn id(&self) -> &str {
        self.id.as_str()
    }

    /// The id as the value of a header field; `None` when no field can hold it.
    pub fn id_field(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(self.id()).ok()
    }

    /// What the token says about `name`, if that claim was asked for when compiling.
    pub fn claim(&self, name: &str) -> Option<&Value> {
        self.claims.iter().find(|(kept, _)| **kept == *name).map(|(_, value)| value)
    }

    /// The session as a policy with this disguise sees it.
    pub fn viewer(&self, disguise: &Disguise) -> Cow<'_, Viewer> {
        self.viewer.viewer(disguise, |pepper| Viewer::new(pepper, &self.account, self.id()))
    }

    /// When the login was, in seconds since 1970: `auth_time` or `iat`, whichever is earlier.
    /// `None` when the token does not say, or not understandably.
    pub fn began_at(&self) -> Option<u64> {
        self.began_at
    }

    /// `exp`, in seconds since 1970, or what `absolute` leaves of it.
    pub fn expires_at(&self) -> u64 {
        self.expires_at
    }

    /// Whether half of its token's life is over.
    pub fn is_past_half_life(&self, now: u64) -> bool {
        self.half_life_at.is_some_and(|half| half <= now)
    }

    /// Whether a younger token should be given out: its own is past half its life, and for some
    /// seconds no other answer has brought one.
    pub fn is_reissue_due(&self, now: u64) -> bool {
        self.is_past_half_life(now) && self.renewal.beats(now, REISSUE_EVERY_SECS)
    }

    /// Notes whether the session was revoked, as its store last said beside requests.
    pub fn note_revoked(&self, is_revoked: bool) {
        self.pulse.was_found(!is_revoked);
    }

    /// Whether the store said that the session is over. `false` proves nothing.
    pub fn is_revoked(&self) -> bool {
        self.pulse.has_stopped()
    }

    /// Whether this use is to be written to the store: one in `every_ms` is, by the caller's clock.
    pub fn is_write_due(&self, now_ms: u64, every_ms: u64) -> bool {
        self.pulse.beats(now_ms, every_ms)
    }
}

impl fmt::Debug for Session {
    /// Neither who it is nor what opens it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
