//! The settings of an auth service. Parsed values only; `main.rs` reads flags and environment.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::account::Seed;
use crate::clock::Clock;
use crate::cookie::Secure;
use crate::password::HashCost;
use crate::session::SessionStore;
use crate::signing::Signing;
use crate::throttle::Allowance;

/// How the service behaves. Begin with [`Settings::new`] and change what you need.
#[derive(Clone)]
pub struct Settings {
    /// Where accounts are kept.
    pub accounts: AccountsAt,
    /// Accounts that shall exist; one that exists already is left as it is.
    pub seeds: Vec<Seed>,
    /// What tokens are signed with.
    pub signing: Signing,
    /// Where live sessions are written for the gateway to read.
    pub sessions: Arc<dyn SessionStore>,
    /// The `iss` claim.
    pub issuer: String,
    /// The `aud` claim.
    pub audience: String,
    /// How long a session lasts.
    pub lifetime: Lifetime,
    /// The cookie's name.
    pub cookie_name: String,
    /// When the cookie is marked `Secure`.
    pub cookie_secure: Secure,
    /// Origins besides our own from which browsers may log in, as `https://www.example.com`.
    pub allowed_origins: Vec<String>,
    /// How many proxies in front append to `X-Forwarded-For`; with 0 the field is not read.
    pub trusted_hops: usize,
    /// Failed logins for one account name.
    pub per_account: Allowance,
    /// Failed logins from one address.
    pub per_address: Allowance,
    /// What a password hash costs.
    pub hash_cost: HashCost,
    /// Where the time comes from.
    pub clock: Clock,
}

/// Where accounts are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountsAt {
    /// In this process; gone with it.
    Memory,
    /// In a SQLite file, made when it is not there.
    File(PathBuf),
}

/// How long a session lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// After its last refresh.
    pub idle: Duration,
    /// After the login, however often it is refreshed.
    pub absolute: Duration,
    /// In the store, after a login or a refresh, where gateways carry a session on that is used
    /// (their `idle`, which must be the same); none: as long as its token.
    pub sliding: Option<Duration>,
}

impl Settings {
    /// The defaults, with the two things that have none.
    pub fn new(signing: Signing, sessions: Arc<dyn SessionStore>) -> Self {
        let hours = |count: u64| Duration::from_secs(count * 3600);
        Self {
            accounts: AccountsAt::Memory,
            seeds: Vec::new(),
            signing,
            sessions,
            issuer: "streamgate-auth".to_owned(),
            audience: "streamgate".to_owned(),
            lifetime: Lifetime { idle: hours(12), absolute: hours(7 * 24), sliding: None },
            cookie_name: "session".to_owned(),
            cookie_secure: Secure::Always,
            allowed_origins: Vec::new(),
            trusted_hops: 1,
            per_account: Allowance { burst: 10, one_back_after: Duration::from_secs(30) },
            per_address: Allowance { burst: 60, one_back_after: Duration::from_secs(5) },
            hash_cost: HashCost::default(),
            clock: Clock::Wall,
        }
    }
}
