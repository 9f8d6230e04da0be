//! What a server's error means: for the connection, for everybody else, and where to ask instead.
//!
//! It decides nothing about when to ask again; that is the breaker's.

use super::place::Place;
use crate::store::StoreError;
use ::redis::{ErrorKind, RedisError, ServerError, Value};

/// Why there is no answer.
#[derive(Debug, Clone)]
pub(super) enum Trouble {
    Failed(StoreError),
    /// Another server has the slot, for good.
    Moved(Place),
    /// The slot is on its way to another server, which may be asked this once.
    Asked(Place),
}

impl Trouble {
    /// What a server that was asked as `host` says of this one question.
    pub(super) fn of(error: &RedisError, host: &str) -> Self {
        redirect(error.code().unwrap_or_default(), error.detail(), host)
            .unwrap_or_else(|| Self::Failed(said(error)))
    }

    /// Likewise, of one question among many.
    pub(super) fn among(value: &Value, host: &str) -> Option<Self> {
        let Value::ServerError(error) = value else {
            return None;
        };
        redirect(error.code(), error.details(), host)
            .or_else(|| Some(Self::Failed(server_said(error.code()))))
    }

    pub(super) fn into_error(self) -> StoreError {
        match self {
            Self::Failed(error) => error,
            Self::Moved(_) => StoreError::Unavailable("MOVED".to_owned()),
            Self::Asked(_) => StoreError::Unavailable("ASK".to_owned()),
        }
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

/// `MOVED 3999 127.0.0.1:6381`, of which the code and the rest come apart.
fn redirect(code: &str, rest: Option<&str>, host: &str) -> Option<Trouble> {
    let place = || Place::parse(rest?.split_ascii_whitespace().nth(1)?, host);
    match code {
        "MOVED" => place().map(Trouble::Moved),
        "ASK" => place().map(Trouble::Asked),
        _ => None,
    }
}

/// What an error means beyond the question that met it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Nothing: the server is well.
    Question,
    /// The server cannot serve anybody just now.
    Server,
    /// Nor is the connection of any use: it is cut, or it leads to what is now a replica.
    Connection,
}

impl Reach {
    pub(super) fn of(error: &RedisError) -> Self {
        if error.is_io_error() || error.is_unrecoverable_error() {
            return Self::Connection;
        }
        match error.kind() {
            ErrorKind::Server(_) | ErrorKind::Extension => {
                Self::of_code(error.code().unwrap_or_default())
            }
            _ => Self::Question,
        }
    }

    fn of_code(code: &str) -> Self {
        match code {
            "READONLY" => Self::Connection,
            "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" => Self::Server,
            _ => Self::Question,
        }
    }
}

/// Whether one answer among many says that nobody can be served. A slot that is elsewhere, or on
/// its way, is the matter of those in it.
pub(super) fn outage(value: &Value) -> Option<&ServerError> {
    match value {
        Value::ServerError(error) => {
            let own = matches!(error.code(), "MOVED" | "ASK" | "TRYAGAIN");
            (!own && server_said(error.code()).is_outage()).then_some(error)
        }
        _ => None,
    }
}

/// The error in our words. Details are left out: a server may repeat what it was sent, a password
/// included.
pub(super) fn said(error: &RedisError) -> StoreError {
    if error.is_timeout() {
        return StoreError::Timeout;
    }
    match error.kind() {
        ErrorKind::Server(_) | ErrorKind::Extension => server_said(error.code().unwrap_or("ERR")),
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => {
            StoreError::Protocol(error.category().to_owned())
        }
        _ if error.is_connection_refusal() => StoreError::Unavailable("refused".to_owned()),
        _ if error.is_connection_dropped() => StoreError::Unavailable("cut off".to_owned()),
        _ => StoreError::Unavailable(error.category().to_owned()),
    }
}

/// A server's error by its code: those that pass are no fault in the conversation.
pub(super) fn server_said(code: &str) -> StoreError {
    match code {
        "ERR" | "WRONGTYPE" | "NOSCRIPT" | "EXECABORT" => StoreError::Protocol(code.to_owned()),
        _ => StoreError::Unavailable(code.to_owned()),
    }
}
