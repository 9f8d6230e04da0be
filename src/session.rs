//! Sessions: everything between the text of a token and the proof that somebody is logged in.
//!
//! Holding a `Session` means that its token was verified: only the `Verifier` makes one. Finding
//! the token in a request is the filter's work; of HTTP this room knows the names of header fields
//! for claims, and the `Set-Cookie` field that `reissue` writes. It asks no store: whether the
//! session was ended since is the question of the room `activity`.

mod verifier;
mod claim_headers;
pub mod reissue;
pub mod mint;
mod lifetime;
mod config;
mod reissue_cookie;
mod token_cache;
mod keys;
mod token;
mod viewer;
mod throttle;
mod id;

pub use claim_headers::ClaimHeaders;
pub use config::{Config, WhenStoreFails};
pub use keys::jwk::Skipped;
pub use keys::key_set::{self, KeySet, Refresh};
pub use lifetime::Revocation;
pub use reissue::Reissue;
pub use token::algorithm::Algorithm;
pub use token::error::TokenError;
pub use verifier::Verifier;
pub use viewer::{AccountHasher, AccountText, Viewer};

use http::HeaderValue;
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use throttle::Throttle;
use viewer::OnceViewer;

/// The minimum time between two younger tokens for one session, in seconds: a client that sends
/// many requests at once, or keeps no cookie, costs no more signatures. If the answer with the
/// token is lost, the next one comes after this time.
const REISSUE_EVERY_SECS: u64 = 10;

/// The dates of a token, in seconds since 1970.
#[derive(PartialEq)]
struct Dates {
    began_at: Option<u64>,
    expires_at: u64,
    /// When half of the token's own life is over; `None` when it does not say when that began.
    half_life_at: Option<u64>,
}

/// A proven login.
pub struct Session {
    account: Box<str>,
    id: id::Id,
    claims: Box<[(Box<str>, Value)]>,
    dates: Dates,
    viewer: OnceViewer,
    /// How often uses of the session are written to its store.
    writes: Throttle,
    /// How often a younger token is made for it.
    reissues: Throttle,
    /// Set when the store said that the session is over; long answers look at it.
    is_revoked: AtomicBool,
}

impl Session {
    /// Only `token::claims` calls it, with verified claims.
    fn new(account: Box<str>, id: &str, claims: Box<[(Box<str>, Value)]>, dates: Dates) -> Self {
        let id = id::Id::new(id);
        let (viewer, writes, reissues, is_revoked) = Default::default();
        Session { account, id, claims, dates, viewer, writes, reissues, is_revoked }
    }

    /// Who is logged in: `sub`. 1 to 256 bytes without control characters. Never log it.
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

    /// The claim `name` of the token, if it was asked for when the verifier was compiled.
    pub fn claim(&self, name: &str) -> Option<&Value> {
        self.claims.iter().find(|(kept, _)| **kept == *name).map(|(_, value)| value)
    }

    /// The session as a policy with this hasher sees it.
    pub fn viewer(&self, hasher: &AccountHasher) -> Cow<'_, Viewer> {
        self.viewer.viewer(hasher, |pepper| Viewer::new(pepper, &self.account, self.id()))
    }

    /// When the login was, in seconds since 1970: `auth_time` or `iat`, whichever is earlier.
    /// `None` when the token does not say it in a form that can be read.
    pub fn began_at(&self) -> Option<u64> {
        self.dates.began_at
    }

    /// When the session expires, in seconds since 1970: `exp`, or earlier if `absolute` says so.
    pub fn expires_at(&self) -> u64 {
        self.dates.expires_at
    }

    /// Whether half of the token's life is over.
    pub fn is_past_half_life(&self, now: u64) -> bool {
        self.dates.half_life_at.is_some_and(|half| half <= now)
    }

    /// Whether this answer should bring a younger token: the session's own is past half its life,
    /// and no other answer brought one in the last seconds. Only one of several callers gets
    /// `true`.
    pub fn is_reissue_due(&self, now: u64) -> bool {
        self.is_past_half_life(now) && self.reissues.admits(now, REISSUE_EVERY_SECS)
    }

    /// Notes whether the session was revoked, as its store last said beside requests.
    pub fn note_revoked(&self, is_revoked: bool) {
        self.is_revoked.store(is_revoked, Ordering::Relaxed);
    }

    /// Whether the store said that the session is over. `false` proves nothing.
    pub fn is_revoked(&self) -> bool {
        self.is_revoked.load(Ordering::Relaxed)
    }

    /// Whether this use is to be written to the store: one in `every_ms` milliseconds is, by the
    /// caller's clock. Only one of several callers gets `true`.
    pub fn is_write_due(&self, now_ms: u64, every_ms: u64) -> bool {
        self.writes.admits(now_ms, every_ms)
    }
}

impl PartialEq for Session {
    /// Two sessions are equal when their tokens say the same. What was computed or noted since is
    /// not compared.
    fn eq(&self, other: &Self) -> bool {
        self.account == other.account
            && self.id == other.id
            && self.claims == other.claims
            && self.dates == other.dates
    }
}

impl fmt::Debug for Session {
    /// Shows neither the account nor the id.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("expires_at", &self.dates.expires_at)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
