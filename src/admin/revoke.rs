//! Ending sessions from outside: one, or all of an account, for every gateway on the same store.
//!
//! What is sent may hold the name of an account. It goes into no log and no metric, and no answer
//! repeats it.

use super::Admin;
use super::api::json_answer;
use crate::activity::{Activity, Ended};
use crate::observe::Event;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use streamgate_lease::{StoreError, UnavailableReason};

/// The longest names, as in tokens, in bytes.
const SESSION_BYTES_MAX: usize = 128;
const ACCOUNT_BYTES_MAX: usize = 256;

/// What a request can ask for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    session: Option<String>,
    account: Option<String>,
    /// The entry of `sessions`; left out, every one with a store.
    sessions: Option<String>,
}

/// Whose sessions are to end.
#[derive(Clone, Copy)]
enum Whose<'a> {
    Session(&'a str),
    Account(&'a str),
}

const WRITE: &str = "send {\"session\": \"…\"} or {\"account\": \"…\"}; with \"sessions\": \
                     \"…\" for one entry of the file alone";

/// `POST /api/sessions/revoke`.
pub(super) async fn revoke(State(admin): State<Arc<Admin>>, body: Bytes) -> Response {
    match end(&admin, &body).await {
        Ok(done) => json_answer(StatusCode::OK, &done),
        Err((status, error)) => json_answer(status, &json!({ "error": error })),
    }
}

type Refusal = (StatusCode, String);

async fn end(admin: &Admin, body: &[u8]) -> Result<Value, Refusal> {
    let asked: Asked = serde_json::from_slice(body).map_err(|_| malformed(WRITE))?;
    let whose = whose(&asked)?;
    let activities = chosen(admin, asked.sessions.as_deref(), whose)?;
    let (mut stores, mut was_active) = (Vec::new(), false);
    for activity in activities {
        let ended = match whose {
            Whose::Session(session) => activity.end(session).await,
            Whose::Account(account) => match activity.end_all(account).await {
                Some(ended) => ended,
                None => continue,
            },
        };
        let store = activity.store_name();
        let is_done = ended.is_ok();
        admin.observe.emit(&Event::SessionsRevoked { store, whose: whose.name(), is_done });
        was_active |= done(ended, store, &stores)?.was_active;
        if !stores.contains(&store.to_owned()) {
            stores.push(store.to_owned());
        }
    }
    Ok(match whose {
        Whose::Session(_) => {
            json!({ "revoked": "session", "was_active": was_active, "stores": stores })
        }
        Whose::Account(_) => json!({ "revoked": "account", "stores": stores }),
    })
}

impl Whose<'_> {
    fn name(self) -> &'static str {
        match self {
            Whose::Session(_) => "session",
            Whose::Account(_) => "account",
        }
    }
}

fn malformed(why: &str) -> Refusal {
    (StatusCode::BAD_REQUEST, why.to_owned())
}

fn whose(asked: &Asked) -> Result<Whose<'_>, Refusal> {
    let fits = |text: &str, bytes_max| {
        (1..=bytes_max).contains(&text.len()) && !text.chars().any(char::is_control)
    };
    match (&asked.session, &asked.account) {
        (Some(session), None) if fits(session, SESSION_BYTES_MAX) => Ok(Whose::Session(session)),
        (None, Some(account)) if fits(account, ACCOUNT_BYTES_MAX) => Ok(Whose::Account(account)),
        (Some(_), None) => Err(malformed("no session has such an id: 1 to 128 bytes of text")),
        (None, Some(_)) => Err(malformed("no account has such a name: 1 to 256 bytes of text")),
        _ => Err(malformed(WRITE)),
    }
}

/// The kinds of sessions that are meant. One that can't do it refuses the whole, before anything
/// is done: half of an account's sessions must not go on unnoticed.
fn chosen(
    admin: &Admin,
    name: Option<&str>,
    whose: Whose<'_>,
) -> Result<Vec<Arc<Activity>>, Refusal> {
    let gateway = admin.live.load();
    let is_meant = |known: &str| name.is_none_or(|name| name == known);
    if !gateway.verifiers.iter().any(|verifier| is_meant(verifier.name())) {
        let there: Vec<&str> = gateway.verifiers.iter().map(|verifier| verifier.name()).collect();
        let error = format!("there is no such entry of `sessions`; there is: {}", there.join(", "));
        return Err((StatusCode::NOT_FOUND, error));
    }
    let meant = gateway.activities.iter().filter(|activity| is_meant(&activity.name));
    let meant: Vec<Arc<Activity>> = meant.cloned().collect();
    if meant.is_empty() {
        let error = "these sessions live in their tokens alone: set `active_in` in the file";
        return Err((StatusCode::CONFLICT, error.to_owned()));
    }
    let is_able = |activity: &&Arc<Activity>| match whose {
        Whose::Session(_) => true,
        Whose::Account(_) => activity.can_end_accounts(),
    };
    match meant.iter().find(|activity| !is_able(activity)) {
        None => Ok(meant),
        Some(activity) => {
            let error = format!(
                "nothing was done: `{}` has no `revocation_pepper` in the file, so only single \
                 sessions of it can be ended",
                activity.name
            );
            Err((StatusCode::CONFLICT, error))
        }
    }
}

/// What to say when a store did not do it. A deadline that passed leaves open what it did.
fn done(
    ended: Result<Ended, StoreError>,
    store: &str,
    before: &[String],
) -> Result<Ended, Refusal> {
    let error = match ended {
        Ok(ended) if ended.is_published => return Ok(ended),
        Ok(_) => format!(
            "it is done in the store `{store}`, but the other gateways could not be told: they \
             find out within 5 seconds; ask again to tell them"
        ),
        Err(_) if !before.is_empty() => format!(
            "it is done in {}, and not in the store `{store}`, which does not answer: ask again",
            before.join(", ")
        ),
        Err(error) if is_surely_undone(&error) => {
            format!("nothing was done: the store `{store}` can't be reached; ask again")
        }
        Err(_) => format!(
            "nothing was done as far as is known: the store `{store}` took the question and did \
             not answer in time; ask again"
        ),
    };
    Err((StatusCode::SERVICE_UNAVAILABLE, error))
}

/// Whether the store can't even have heard of it.
fn is_surely_undone(error: &StoreError) -> bool {
    match error {
        StoreError::Resting | StoreError::Protocol(_) => true,
        StoreError::Unavailable(UnavailableReason::ConnectionRefused) => true,
        StoreError::Unavailable(_) | StoreError::Timeout => false,
    }
}
