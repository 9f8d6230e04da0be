//! The auth service: accounts, passwords, and the sessions that the gateway asks for.
//!
//! It is an upstream like any other and shares no code with the gateway, only a contract: the
//! claims in its tokens, the key `sg:session:{sid}`, the channel `sg:revoked`. It is not an
//! identity provider; put your own in its place and keep the contract (`upstreams/README.md`).
//!
//! * [`app`] — the routes: login, refresh, logout, me, keys.
//! * [`session`] — where sessions live; [`Settings`] is handed a [`SessionStore`].
//! * [`signing`] — tokens made and read, keys published.
//! * [`account`] — who may come in, in SQLite; [`password`] — how that is proven.
//! * `throttle`, `origin`, `caller`, `credential`, `cookie` — what a request says of itself, and
//!   how often it may try; `refusal` — every *no*.

pub mod account;
pub mod clock;
pub mod password;
pub mod session;
pub mod signing;

mod body;
mod caller;
mod cookie;
mod credential;
mod origin;
mod refusal;
mod routes;
mod settings;
mod throttle;

pub use clock::Clock;
pub use cookie::Secure;
pub use session::{SessionStore, StoreDown};
pub use settings::{AccountsAt, Lifetime, Settings};
pub use signing::Signing;
pub use throttle::Allowance;

use std::sync::Arc;

use axum::Router;

use crate::account::{Accounts, AccountsError};
use crate::password::{PasswordError, Passwords};
use crate::throttle::Throttle;

/// What every handler sees.
pub(crate) struct Service {
    pub(crate) settings: Settings,
    pub(crate) accounts: Accounts,
    pub(crate) passwords: Passwords,
    pub(crate) throttle: Throttle,
}

/// Why the service cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The account database cannot be opened or written.
    #[error(transparent)]
    Accounts(#[from] AccountsError),
    /// Passwords cannot be hashed with this cost.
    #[error(transparent)]
    Password(#[from] PasswordError),
}

/// The whole service: opens the account database, adds the seeded accounts that are not in it
/// yet, and gives a router to serve with `axum::serve` on any listener.
///
/// Serve it with `into_make_service_with_connect_info::<SocketAddr>()` where clients may come
/// without a gateway, so that attempts are counted by the peer's address.
pub async fn app(settings: Settings) -> Result<Router, OpenError> {
    let passwords = Passwords::open(settings.hash_cost).await?;
    let accounts = Accounts::open(&settings.accounts).await?;
    for seed in &settings.seeds {
        let hash = passwords.hash(seed.password.clone()).await?;
        accounts.add_if_absent(seed.account.clone(), hash).await?;
    }
    let throttle = Throttle::new(settings.per_account, settings.per_address);
    let service = Service { settings, accounts, passwords, throttle };
    Ok(routes::routes(Arc::new(service)))
}
