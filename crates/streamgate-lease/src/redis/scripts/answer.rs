//! Reads what the scripts return, strictly: anything unexpected is a protocol error, not a guess.

use crate::lease::{About, Class, Classes, Ending, Full, LeaseId, Live, State};
use crate::redis::conn::{array, int, text, unreadable};
use crate::store::{Admitted, Answer, StoreError};
use ::redis::Value;
use std::time::Duration;

/// What the acquire script returned to the claim of `asker`.
pub(crate) fn answer(value: &Value, asker: &LeaseId) -> Result<Answer, StoreError> {
    let parts = array(value)?;
    match (parts.first().map(text).transpose()?, parts) {
        (Some("held"), [_, held @ ..]) => Ok(Answer::Held(admitted(held)?)),
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
                "S" => Ending::Superseded,
                "U" => Ending::Unused,
                _ => return Err(unreadable("an ending")),
            };
            Ok(Answer::Ended(why, after(int(until)?, int(now)?)))
        }
        _ => Err(unreadable("an answer")),
    }
}

fn admitted(held: &[Value]) -> Result<Admitted, StoreError> {
    let [now, expiry, is_new, active, started_at, replaced, idle, over, more @ ..] = held else {
        return Err(unreadable("a lease"));
    };
    let [id, first, born_at, superseded, marked, ttl] = more else {
        return Err(unreadable("a lease"));
    };
    Ok(Admitted {
        is_new: int(is_new)? == 1,
        id: lease_id(id)?,
        first: Some(int(first)?).filter(|version| *version != 0),
        born_at: Some(int(born_at)?).filter(|at| *at != 0),
        active: u32::try_from(int(active)?).unwrap_or(u32::MAX),
        started_at: int(started_at)?,
        ttl: Duration::from_millis(int(ttl)?),
        expires_in: after(int(expiry)?, int(now)?),
        replaced: ids(replaced)?,
        idle: ids(idle)?,
        superseded: ids(superseded)?,
        marked: ids(marked)?,
        over_limit: int(over)? == 1,
    })
}

/// What the list script returned: the live streams.
pub(crate) fn live(value: &Value) -> Result<Vec<Live>, StoreError> {
    match array(value)? {
        [now, rows] => streams(rows, int(now)?),
        _ => Err(unreadable("a list")),
    }
}

/// Labels as they are written to a record: a JSON pair, or nothing.
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

/// Splits the end of a record: classes, whether the lease is over the limit, and labels.
fn marks(rest: &str) -> (Vec<Class>, bool, &str) {
    let marked = rest.strip_prefix('/').and_then(|rest| rest.split_once('/'));
    let (marks, about) = marked.unwrap_or(("", rest));
    let classes = marks.split(',').filter_map(|name| name.parse().ok()).collect();
    (classes, marks.starts_with('!'), about)
}

fn about(text: &str) -> About {
    // Labels are for people: what another version wrote is shown as no label, not as an error.
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

/// Nothing here lives longer than a tombstone; a larger number was not written by a gateway.
const LIFE_MS_MAX: u64 = 8 * 86_400_000;
