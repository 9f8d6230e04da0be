//! What a viewer reads about streams: the list, and refusals with what can be done about them.

use super::config::WhenFull;
use super::identity::REPLACE_PARAM;
use crate::clock;
use crate::denial::{Code, Denial};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use streamgate_lease::{Claim, Ending, Full, Lease, LeaseId, LeaseText, Live, Replace};

/// One playing stream as the API shows it; `current` marks the asker's own.
pub fn listed(live: &Live, current: Option<&LeaseId>) -> Value {
    let mut shown = json!({
        "code": live.id.to_string(),
        "device": live.about.device(),
        "title": live.about.title(),
        "started_at": clock::rfc3339(live.started_at),
        "state": live.state.as_str(),
        "expires_in": live.expires_in.as_secs(),
    });
    if !live.classes.is_empty() {
        shown["classes"] = live.classes.iter().map(|class| class.as_str()).collect();
    }
    if live.over_limit {
        shown["over_limit"] = true.into();
    }
    if current == Some(&live.id) {
        shown["current"] = true.into();
    }
    shown
}

/// A held lease as the streams API shows it.
pub fn lease_json(lease: &Lease) -> Value {
    json!({
        "code": lease.id().to_string(),
        "started_at": clock::rfc3339(lease.started_at()),
        "expires_in": lease.expires_in().as_secs(),
        "renew_in": lease.renew_in().as_secs(),
        "limit": lease.limit(),
        "active": lease.active(),
    })
}

/// Room for the longest field.
const LEASE_FIELD_BYTES: usize = 96;

/// A held lease as the value of the header field `Streamgate-Lease`; `text` is its id's.
pub fn lease_field(lease: &Lease, text: &LeaseText) -> HeaderValue {
    // Sent with every media answer: one allocation, which the field then owns, and no formatter.
    let mut field = Vec::with_capacity(LEASE_FIELD_BYTES);
    field.extend_from_slice(b"id=\"");
    field.extend_from_slice(text);
    for (name, number) in [
        ("\", expires=", lease.expires_in().as_secs()),
        (", renew=", lease.renew_in().as_secs()),
        (", limit=", lease.limit().into()),
        (", active=", lease.active().into()),
    ] {
        field.extend_from_slice(name.as_bytes());
        field.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }
    HeaderValue::try_from(field).expect("digits and base64url are visible ASCII")
}

/// The refusal of a full account, or of one that is full of streams of a class. It lists the
/// streams in the way and what the viewer can do. A viewer who asked to take over a stream that the
/// account does not play gets the same list, and does not learn whether another account plays it.
pub(super) fn full(full: &Full, claim: &Claim, when_full: WhenFull) -> Denial {
    let plays = |id: &LeaseId| full.live.iter().any(|live| live.id == *id);
    let code = match &claim.replace {
        Replace::These(named) if !named.iter().all(plays) => Code::StreamNotFound,
        _ => Code::ConcurrencyLimit,
    };
    let streams = full.in_the_way(&claim.id).map(|live| {
        let mut shown = listed(live, None);
        if when_full == WhenFull::Choose {
            shown["replace"] = format!("{REPLACE_PARAM}={}", live.id).into();
        }
        shown
    });
    let streams: Vec<Value> = streams.collect();
    let denial = Denial::from(code).with("limit", full.limit);
    let denial = match full.class {
        Some(class) => denial.with("class", class.as_str()),
        None => denial,
    };
    denial
        .with("active", streams.len())
        .with("streams", streams)
        .with("actions", json!(["replace", "stop_elsewhere"]))
        .retry_after(full.retry_after)
}

/// The refusal of a stream that has ended.
pub fn ended(why: Ending) -> Denial {
    match why {
        Ending::Terminated | Ending::Replaced => Denial::from(Code::StreamTerminated),
        Ending::Superseded => Denial::from(Code::StreamTerminated).with("why", why.as_str()),
        Ending::Released => Denial::from(Code::StreamExpired),
        Ending::Unused => Denial::from(Code::TicketExpired),
    }
}

/// The same refusal under the status that the streams API gives it: 410 for what has ended.
pub fn conflict(denial: Denial) -> Denial {
    match denial.code() {
        Code::StreamTerminated | Code::StreamExpired => denial.with_status(StatusCode::GONE),
        _ => denial,
    }
}
