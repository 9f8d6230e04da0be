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
            .or_else(|| Some(Self::Failed(store_error_of_reply(error))))
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
                let detail = error.detail().unwrap_or_default();
                Self::of_reply(error.code().unwrap_or_default(), detail)
            }
            _ => Self::Command,
        }
    }

    /// A code that is not known, of this server's version or of a proxy before it, is taken for the
    /// trouble of all: then the monitor finds out, and nobody is admitted by mistake.
    fn of_reply(code: &str, detail: &str) -> Self {
        match code {
            // A connection that has lost its rights is made anew.
            "READONLY" | "NOAUTH" | "WRONGPASS" => Self::Connection,
            // They are about one slot; the topology follows them.
            "MOVED" | "ASK" | "TRYAGAIN" | "CROSSSLOT" => Self::Command,
            // What one holder has in the server cannot be read.
            "WRONGTYPE" | "NOSCRIPT" | "EXECABORT" => Self::Command,
            "ERR" if is_of_script(detail) => Self::Command,
            _ => Self::Server,
        }
    }
}

/// The error in one reply of a pipeline, if it says that the server can serve no command. A slot
/// that has moved or is migrating concerns only the commands about it.
pub(crate) fn outage(value: &Value) -> Option<&ServerError> {
    match value {
        Value::ServerError(error) => {
            let scope = ErrorScope::of_reply(error.code(), error.details().unwrap_or_default());
            (scope != ErrorScope::Command).then_some(error)
        }
        _ => None,
    }
}

/// Translates an error. What a server says is kept for the operator; see [`said`].
pub(crate) fn store_error(error: &RedisError) -> StoreError {
    if error.is_timeout() {
        return StoreError::Timeout;
    }
    match error.kind() {
        ErrorKind::Server(_) | ErrorKind::Extension => {
            store_error_of(error.code().unwrap_or("ERR"), error.detail().unwrap_or_default())
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

/// Translates an error reply.
pub(crate) fn store_error_of_reply(error: &ServerError) -> StoreError {
    store_error_of(error.code(), error.details().unwrap_or_default())
}

/// Translates the code of an error reply, and what comes after it. What concerns one command is
/// `Protocol`, all else is `Unavailable`.
fn store_error_of(code: &str, detail: &str) -> StoreError {
    match ErrorScope::of_reply(code, detail) {
        // Nobody could be found who has the slot.
        ErrorScope::Command if code == "MOVED" || code == "ASK" => said(code, detail),
        ErrorScope::Command => StoreError::Protocol(code.to_owned()),
        ErrorScope::Server | ErrorScope::Connection => said(code, detail),
    }
}

/// What a server says of itself: its first word, and the sentence. A server may repeat what it was
/// sent, a password included; so that part is cut off.
pub(crate) fn said(code: &str, detail: &str) -> StoreError {
    let detail = detail.split(", with args beginning with").next().unwrap_or_default();
    let detail = detail.split(" script: ").next().unwrap_or_default();
    let is_about_rights = detail.starts_with("The user executing the script");
    let word = match code {
        // Within a script the server leaves the word out.
        "ERR" if is_about_rights => "NOPERM",
        code => code,
    };
    let sentence = format!("{code} {detail}").chars().take(SENTENCE_CHARS_MAX).collect();
    StoreError::Unavailable(UnavailableReason::Server { word: word.to_owned(), sentence })
}

/// An error of the script itself, of its data or its text, and not of the user who runs it.
fn is_of_script(detail: &str) -> bool {
    detail.contains("user_script:") && !detail.starts_with("The user executing the script")
}

/// How much of a server's sentence is kept.
const SENTENCE_CHARS_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    fn words(code: &str, detail: &str) -> (ErrorScope, String) {
        (ErrorScope::of_reply(code, detail), store_error_of(code, detail).to_string())
    }

    #[test]
    fn what_a_server_refuses_is_told_by_its_first_word() {
        let (all, anew) = (ErrorScope::Server, ErrorScope::Connection);
        for (scope, code) in [
            (anew, "READONLY"),
            (anew, "NOAUTH"),
            (anew, "WRONGPASS"),
            (all, "NOPERM"),
            (all, "MISCONF"),
            (all, "OOM"),
            (all, "BUSY"),
            (all, "LOADING"),
            (all, "MASTERDOWN"),
            (all, "CLUSTERDOWN"),
            (all, "NOREPLICAS"),
            (all, "DENIED"),
            (all, "SOMETHING"),
        ] {
            let told = format!("the store is not available: {code}");
            assert_eq!(words(code, "in many words"), (scope, told));
        }
        let rights = "The user executing the script can't run this command or subcommand \
                      script: 38eedd, on @user_script:1.";
        assert_eq!(words("ERR", rights), (all, "the store is not available: NOPERM".into()));
        let many = words("ERR", "max number of clients reached");
        assert_eq!(many, (all, "the store is not available: ERR".into()));
    }

    #[test]
    fn what_concerns_one_holder_concerns_nobody_else() {
        for (code, detail) in [
            ("WRONGTYPE", "Operation against a key holding the wrong kind of value"),
            ("ERR", "user_script:1: attempt to compare nil script: d13b, on @user_script:1."),
            ("TRYAGAIN", "Multiple keys request during rehashing of slot"),
        ] {
            let (scope, told) = words(code, detail);
            assert_eq!(scope, ErrorScope::Command, "{code}");
            assert!(told.contains("out of turn"), "{told}");
        }
    }

    #[test]
    fn a_sentence_is_kept_without_what_was_sent() {
        let error = said("ERR", "unknown command 'AUTH', with args beginning with: 'secret'");
        let StoreError::Unavailable(UnavailableReason::Server { word, sentence }) = error else {
            panic!("{error:?}");
        };
        assert_eq!((word.as_str(), sentence.as_str()), ("ERR", "ERR unknown command 'AUTH'"));
    }
}
