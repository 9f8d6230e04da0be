//! The table of accounts, in SQLite. Every question is asked away from the async threads.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Account, AccountName, SpecError};
use crate::settings::AccountsAt;

/// How long a question waits while another process writes to the same file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS account (
        name          TEXT PRIMARY KEY,
        password_hash TEXT NOT NULL,
        tier          TEXT NOT NULL,
        max_streams   INTEGER
    ) STRICT, WITHOUT ROWID;
";

/// What can go wrong with the database.
#[derive(Debug, thiserror::Error)]
pub enum AccountsError {
    /// SQLite says no.
    #[error("the account database failed: {0}")]
    Database(#[from] rusqlite::Error),
    /// The account is there already.
    #[error("the account {0} exists")]
    Exists(AccountName),
    /// A row that this service would not have written.
    #[error("the account database holds a row that is not an account: {0}")]
    Row(#[from] SpecError),
    /// The question was never answered.
    #[error("the account database did not answer: {0}")]
    Lost(String),
}

/// The accounts.
#[derive(Clone)]
pub struct Accounts {
    connection: Arc<Mutex<Connection>>,
}

impl Accounts {
    /// Opens the database and makes its table when it has none.
    pub async fn open(at: &AccountsAt) -> Result<Self, AccountsError> {
        let at = at.clone();
        away(move || {
            let connection = match at {
                AccountsAt::Memory => Connection::open_in_memory()?,
                AccountsAt::File(path) => Connection::open(path)?,
            };
            connection.busy_timeout(BUSY_TIMEOUT)?;
            // So that `add-account` can write while the service reads.
            connection.pragma_update(None, "journal_mode", "wal")?;
            connection.execute_batch(SCHEMA)?;
            Ok(Self { connection: Arc::new(Mutex::new(connection)) })
        })
        .await
    }

    /// The account of that name and its password's hash.
    pub async fn find(
        &self,
        name: AccountName,
    ) -> Result<Option<(Account, String)>, AccountsError> {
        self.ask(move |connection| {
            let mut asked = connection.prepare_cached(
                "SELECT password_hash, tier, max_streams FROM account WHERE name = ?1",
            )?;
            let found = asked.query_row([name.as_str()], columns).optional()?;
            let Some((hash, tier, max_streams)) = found else {
                return Ok(None);
            };
            Ok(Some((Account::new(name, &tier, max_streams)?, hash)))
        })
        .await
    }

    /// Adds an account; one that exists is an error.
    pub async fn add(&self, account: Account, hash: String) -> Result<(), AccountsError> {
        let name = account.name.clone();
        let added = self.insert("INSERT OR IGNORE", account, hash).await?;
        added.then_some(()).ok_or(AccountsError::Exists(name))
    }

    /// Adds an account, or gives the one that exists this password, tier and limit.
    pub async fn replace(&self, account: Account, hash: String) -> Result<(), AccountsError> {
        self.insert("INSERT OR REPLACE", account, hash).await.map(drop)
    }

    /// Adds an account; one that exists stays as it is.
    pub async fn add_if_absent(&self, account: Account, hash: String) -> Result<(), AccountsError> {
        self.insert("INSERT OR IGNORE", account, hash).await.map(drop)
    }

    /// True when a row was written.
    async fn insert(
        &self,
        verb: &'static str,
        account: Account,
        hash: String,
    ) -> Result<bool, AccountsError> {
        let statement = format!(
            "{verb} INTO account (name, password_hash, tier, max_streams) VALUES (?1, ?2, ?3, ?4)"
        );
        self.ask(move |connection| {
            let Account { name, tier, max_streams } = account;
            let row = params![name.as_str(), hash, tier, max_streams];
            Ok(connection.execute(&statement, row)? == 1)
        })
        .await
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T, AccountsError> + Send + 'static,
    ) -> Result<T, AccountsError> {
        let connection = Arc::clone(&self.connection);
        away(move || question(&connection.lock())).await
    }
}

fn columns(row: &Row<'_>) -> rusqlite::Result<(String, String, Option<u32>)> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

async fn away<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, AccountsError> + Send + 'static,
) -> Result<T, AccountsError> {
    let worked = tokio::task::spawn_blocking(work).await;
    worked.map_err(|problem| AccountsError::Lost(problem.to_string()))?
}
