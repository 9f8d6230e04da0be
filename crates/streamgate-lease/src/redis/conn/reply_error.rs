//! ReplyError: what an error reply means for its command, for the connection and for other
//! callers, and which server to ask instead (`MOVED`, `ASK`).
//!
//! When to ask again is the breaker's decision.

use super::host_port::HostPort;
use crate::store::{StoreError, UnavailableReason};
use ::redis::{ErrorKind, RedisError, ServerError, Value};

/// Why a command has no result.
#[derive(Debug, Clone)]
pub(crate) enum ReplyError {
    Failed(StoreError),
    /// Another server has the slot, for good.
    Moved(HostPort),
    /// The slot is migrating to another server, which may be asked this once.
    Ask(HostPort),
}

impl ReplyError {
    /// From the error of a whole command or pipeline; `host` is the host that was asked.
    pub(crate) fn new(error: &RedisError, host: &str) -> Self {
        redirect(error.code().unwrap_or_default(), error.detail(), host)
            .unwrap_or_else(|| Self::Failed(store_error(error)))
    }

    /// From one value among the replies of a pipeline; none if it is no error.
    pub(crate) fn of_value(value: &Value, host: &str) -> Option<Self> {
        let Value::ServerError(error) = value else {
            return None;
        };
        redirect(error.code(), error.details(), host)
            .or_else(|| Some(Self::Failed(store_error_of_code(error.code()))))
    }

    /// The error for a caller who follows no redirect.
    pub(crate) fn into_store_error(self) -> StoreError {
        match self {
            Self::Failed(error) => error,
            Self::Moved(_) => StoreError::Unavailable("MOVED".into()),
            Self::Ask(_) => StoreError::Unavailable("ASK".into()),
        }
    }
}

impl From<StoreError> for ReplyError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

/// Reads `MOVED 3999 127.0.0.1:6381`, of which the code and the rest come apart.
fn redirect(code: &str, rest: Option<&str>, host: &str) -> Option<ReplyError> {
    let server = || HostPort::parse(rest?.split_ascii_whitespace().nth(1)?, host);
    match code {
        "MOVED" => server().map(ReplyError::Moved),
        "ASK" => server().map(ReplyError::Ask),
        _ => None,
    }
}

/// How far an error reaches beyond the command that it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorScope {
    /// The command alone: the server is well.
    Command,
    /// The server cannot serve any command now.
    Server,
    /// The connection, too, is of no use: it is cut, or its server is a replica now.
    Connection,
}

impl ErrorScope {
    pub(crate) fn of(error: &RedisError) -> Self {
        if error.is_io_error() || error.is_unrecoverable_error() {
            return Self::Connection;
        }
        match error.kind() {
            ErrorKind::Server(_) | ErrorKind::Extension => {
                Self::of_code(error.code().unwrap_or_default())
            }
            _ => Self::Command,
        }
    }

    fn of_code(code: &str) -> Self {
        match code {
            "READONLY" => Self::Connection,
            "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" => Self::Server,
            _ => Self::Command,
        }
    }
}

/// The error in one reply of a pipeline, if it says that the server can serve no command. A slot
/// that has moved or is migrating concerns only the commands about it.
pub(crate) fn outage(value: &Value) -> Option<&ServerError> {
    match value {
        Value::ServerError(error) => {
            let own = matches!(error.code(), "MOVED" | "ASK" | "TRYAGAIN");
            (!own && store_error_of_code(error.code()).is_outage()).then_some(error)
        }
        _ => None,
    }
}

/// Translates an error. Its details are left out: a server may repeat what it was sent, a password
/// included.
pub(crate) fn store_error(error: &RedisError) -> StoreError {
    if error.is_timeout() {
        return StoreError::Timeout;
    }
    match error.kind() {
        ErrorKind::Server(_) | ErrorKind::Extension => {
            store_error_of_code(error.code().unwrap_or("ERR"))
        }
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => {
            StoreError::Protocol(error.category().to_owned())
        }
        _ if error.is_connection_refusal() => {
            StoreError::Unavailable(UnavailableReason::ConnectionRefused)
        }
        _ if error.is_connection_dropped() => {
            StoreError::Unavailable(UnavailableReason::ConnectionLost)
        }
        _ => StoreError::Unavailable(error.category().into()),
    }
}

/// Translates an error code. Codes of states that pass (`LOADING`, `CLUSTERDOWN`, …) are
/// `Unavailable`; those that say that the command was wrong are `Protocol`.
pub(crate) fn store_error_of_code(code: &str) -> StoreError {
    match code {
        "ERR" | "WRONGTYPE" | "NOSCRIPT" | "EXECABORT" => StoreError::Protocol(code.to_owned()),
        _ => StoreError::Unavailable(code.into()),
    }
}
