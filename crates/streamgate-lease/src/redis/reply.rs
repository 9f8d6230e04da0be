//! What the scripts answer, read strictly: anything unexpected is a protocol error, never a guess.
//!
//! No connection and no decision here.

use super::trouble::Trouble;
use crate::lease::{About, Class, Classes, Ending, Full, LeaseId, Live, State};
use crate::store::{Admitted, Answer, Slot, StoreError};
use ::redis::Value;
use std::time::Duration;

/// What the acquire script said to `asker`.
pub(super) fn answer(value: &Value, asker: &LeaseId) -> Result<Answer, StoreError> {
    let parts = array(value)?;
    match (parts.first().map(text).transpose()?, parts) {
        (Some("held"), [_, now, expiry, is_new, active, started_at, replaced, idle, over]) => {
            Ok(Answer::Held(Admitted {
                is_new: int(is_new)? == 1,
                active: u32::try_from(int(active)?).unwrap_or(u32::MAX),
                started_at: int(started_at)?,
                expires_in: after(int(expiry)?, int(now)?),
                replaced: ids(replaced)?,
                idle: ids(idle)?,
                over_limit: int(over)? == 1,
            }))
        }
        (Some("full"), [_, now, rows, class, limit]) => {
            let live = streams(rows, int(now)?)?;
            let class = match text(class)? {
                "" => None,
                name => Some(name.parse().map_err(|_| unreadable("a class"))?),
            };
            let limit = u32::try_from(int(limit)?).unwrap_or(u32::MAX);
            Ok(Answer::Full(Full::new(limit, class, asker, live)))
        }
        (Some("ended"), [_, now, why, until]) => {
            let why = match text(why)? {
                "R" => Ending::Released,
                "T" => Ending::Terminated,
                "P" => Ending::Replaced,
                _ => return Err(unreadable("an ending")),
            };
            Ok(Answer::Ended(why, after(int(until)?, int(now)?)))
        }
        _ => Err(unreadable("an answer")),
    }
}

/// What the list script said.
pub(super) fn listed(value: &Value) -> Result<Vec<Live>, StoreError> {
    match array(value)? {
        [now, rows] => streams(rows, int(now)?),
        _ => Err(unreadable("a list")),
    }
}

/// A script's yes or no.
pub(super) fn flag(value: &Value) -> Result<bool, StoreError> {
    Ok(int(value)? == 1)
}

/// The answer to `TIME`, in unix milliseconds.
pub(super) fn server_time(value: &Value) -> Option<u64> {
    match array(value).ok()? {
        [seconds, micros] => Some(int(seconds).ok()? * 1000 + int(micros).ok()? / 1000),
        _ => None,
    }
}

/// Which of a pipeline's renewals changed something: one reply for each name of the holder, three
/// where the keys are kept, too. An error is one holder's trouble, and changed nothing; unless it
/// says that another server has it, or that just now nobody can say.
pub(super) fn moved<'a>(
    mut values: impl Iterator<Item = &'a Value>,
    slots: &[Slot],
    host: &str,
) -> Vec<Result<bool, Trouble>> {
    let mut moved = |slot: &Slot| {
        let mut moved = Ok(false);
        for _ in super::names(&slot.holder) {
            let value = values.next();
            match value.and_then(|value| Trouble::among(value, host)) {
                Some(Trouble::Failed(StoreError::Protocol(_))) => {}
                Some(trouble) => moved = Err(trouble),
                None if value.is_some_and(|value| flag(value) == Ok(true)) => {
                    moved = moved.map(|_| true);
                }
                None => {}
            }
            let ttls = values.by_ref().take(2 * usize::from(slot.keep_keys));
            ttls.count();
        }
        moved
    };
    slots.iter().map(&mut moved).collect()
}

/// Labels as they stand in a record: a JSON pair, or nothing.
pub(super) fn about_text(about: &About) -> String {
    if about.is_empty() {
        return String::new();
    }
    serde_json::json!([about.device(), about.title()]).to_string()
}

/// Classes with their limits as the script reads them.
pub(super) fn classes_text(classes: &Classes) -> String {
    let all: Vec<_> = classes.iter().map(|of| format!("{}={}", of.class, of.limit)).collect();
    all.join(",")
}

/// What stands before the labels, classes and whether it is over the limit, and the labels.
fn marks(rest: &str) -> (Vec<Class>, bool, &str) {
    let marked = rest.strip_prefix('/').and_then(|rest| rest.split_once('/'));
    let (marks, about) = marked.unwrap_or(("", rest));
    let classes = marks.split(',').filter_map(|name| name.parse().ok()).collect();
    (classes, marks.starts_with('!'), about)
}

fn about(text: &str) -> About {
    // Labels are for people: one that another version wrote is shown as none, not as an error.
    let (device, title) = serde_json::from_str::<(Option<&str>, Option<&str>)>(text)
        .map(|(device, title)| (device.map(str::to_owned), title.map(str::to_owned)))
        .or_else(|_| serde_json::from_str(text))
        .unwrap_or_default();
    About::new(device.as_deref(), title.as_deref())
}

fn streams(rows: &Value, now: u64) -> Result<Vec<Live>, StoreError> {
    let mut live =
        array(rows)?.iter().map(|row| stream(row, now)).collect::<Result<Vec<_>, _>>()?;
    live.sort_by(Live::by_age);
    Ok(live)
}

fn stream(row: &Value, now: u64) -> Result<Live, StoreError> {
    let [id, expiry, record] = array(row)? else {
        return Err(unreadable("a stream"));
    };
    let record = text(record)?;
    let mut parts = record.strip_prefix('L').unwrap_or_default().splitn(4, ',');
    let mut number = || parts.next().and_then(|part| part.parse::<u64>().ok()).unwrap_or(0);
    let (started_at, paused_since) = (number(), number());
    let (classes, over_limit, labels) = marks(parts.nth(1).unwrap_or_default());
    Ok(Live {
        id: lease_id(id)?,
        about: about(labels),
        started_at,
        expires_in: after(int(expiry)?, now),
        state: if paused_since == 0 { State::Playing } else { State::Paused },
        classes,
        over_limit,
    })
}

fn ids(value: &Value) -> Result<Vec<LeaseId>, StoreError> {
    array(value)?.iter().map(lease_id).collect()
}

fn lease_id(value: &Value) -> Result<LeaseId, StoreError> {
    text(value)?.parse().map_err(|_| unreadable("a lease id"))
}

fn after(at: u64, now: u64) -> Duration {
    Duration::from_millis(at.saturating_sub(now)).min(Duration::from_millis(LIFE_MS_MAX))
}

/// Nothing here lives longer than a tombstone; a number beyond it is somebody else's.
const LIFE_MS_MAX: u64 = 8 * 86_400_000;

pub(super) fn array(value: &Value) -> Result<&[Value], StoreError> {
    match value {
        Value::Array(values) => Ok(values),
        Value::ServerError(error) => Err(super::trouble::server_said(error.code())),
        _ => Err(unreadable("an array")),
    }
}

fn text(value: &Value) -> Result<&str, StoreError> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).map_err(|_| unreadable("a text")),
        Value::SimpleString(text) => Ok(text),
        _ => Err(unreadable("a text")),
    }
}

fn int(value: &Value) -> Result<u64, StoreError> {
    let number = match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        Value::ServerError(error) => return Err(super::trouble::server_said(error.code())),
        other => text(other)?.parse().ok(),
    };
    number.ok_or_else(|| unreadable("a number"))
}

fn unreadable(what: &str) -> StoreError {
    StoreError::Protocol(format!("{what} was expected"))
}
