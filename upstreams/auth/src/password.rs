//! Passwords hashed and checked with Argon2id, away from the threads that answer requests, and
//! never more at once than the machine has cores. Not the place that knows whose they are.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Longest password, in bytes.
pub const PASSWORD_BYTES_MAX: usize = 1024;
/// Longest wait for a turn at hashing.
const TURN_TIMEOUT: Duration = Duration::from_secs(2);

/// A password in the clear, on its short way to being hashed. Prints as `***`.
#[derive(Clone)]
pub struct Password(String);

impl Password {
    /// Any text of 1 to [`PASSWORD_BYTES_MAX`] bytes.
    pub fn parse(text: String) -> Result<Self, PasswordError> {
        let fits = (1..=PASSWORD_BYTES_MAX).contains(&text.len());
        fits.then_some(Self(text)).ok_or(PasswordError::Length)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What can go wrong with a password, besides being the wrong one.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Empty, or too long.
    #[error("a password has 1 to {PASSWORD_BYTES_MAX} bytes")]
    Length,
    /// Nobody had time for it.
    #[error("too many passwords are being checked")]
    Busy,
    /// The cost is out of Argon2's range, or a stored hash cannot be read.
    #[error("argon2: {0}")]
    Argon2(String),
}

/// What one hash costs. The default is OWASP's: 19 MiB, two passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashCost {
    /// Memory, in KiB; 8 or more.
    pub memory_kib: u32,
    /// Passes over that memory; 1 or more.
    pub passes: u32,
}

impl Default for HashCost {
    fn default() -> Self {
        Self { memory_kib: 19 * 1024, passes: 2 }
    }
}

/// The one who hashes.
#[derive(Clone)]
pub struct Passwords {
    argon2: Argon2<'static>,
    /// What is checked for an account that does not exist, so that it takes as long.
    decoy: Arc<str>,
    turns: Arc<Semaphore>,
}

impl Passwords {
    /// Ready to hash, with as many turns as there are cores.
    pub async fn open(cost: HashCost) -> Result<Self, PasswordError> {
        let params = Params::new(cost.memory_kib, cost.passes, 1, None).map_err(broken)?;
        let turns = std::thread::available_parallelism().map_or(1, usize::from);
        let mut passwords = Self {
            argon2: Argon2::new(Algorithm::Argon2id, Version::V0x13, params),
            decoy: Arc::from(""),
            turns: Arc::new(Semaphore::new(turns)),
        };
        let nobodys = Password(crate::session::fresh_sid());
        passwords.decoy = Arc::from(passwords.hash(nobodys).await?);
        Ok(passwords)
    }

    /// The password as a PHC string, with a salt of its own.
    pub async fn hash(&self, password: Password) -> Result<String, PasswordError> {
        let argon2 = self.argon2.clone();
        self.in_turn(move || {
            let hash: Result<PasswordHash, _> = argon2.hash_password(password.0.as_bytes());
            hash.map(|hash| hash.to_string()).map_err(broken)
        })
        .await
    }

    /// Whether the password is the one of that hash; without a hash it is not, after as long.
    pub async fn is_right(
        &self,
        password: Password,
        hash: Option<String>,
    ) -> Result<bool, PasswordError> {
        let exists = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.decoy.to_string());
        let argon2 = self.argon2.clone();
        self.in_turn(move || {
            let hash = PasswordHash::new(&hash).map_err(broken)?;
            let matches = argon2.verify_password(password.0.as_bytes(), &hash).is_ok();
            Ok(matches && exists)
        })
        .await
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let turn = timeout(TURN_TIMEOUT, Arc::clone(&self.turns).acquire_owned()).await;
        let turn = turn.map_err(|_| PasswordError::Busy)?;
        let turn = turn.expect("the semaphore is never closed");
        let worked = tokio::task::spawn_blocking(move || {
            // Held by the work and not by the request: a client that hangs up frees no core.
            let _turn = turn;
            work()
        });
        worked.await.map_err(|problem| PasswordError::Argon2(problem.to_string()))?
    }
}

fn broken(problem: impl fmt::Display) -> PasswordError {
    PasswordError::Argon2(problem.to_string())
}
