//! Who has to go so that a newcomer may come in: the one rule, without clock, store or lock.
//!
//! The memory store and a node on its own share it; `redis/acquire.lua` says the same in Lua,
//! and the contract tests hold the two to each other.

use crate::lease::{LeaseId, REPLACE_MAX, Replace};

/// A live slot of somebody else, as far as the rule cares.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seat {
    pub(crate) id: LeaseId,
    pub(crate) started_at: u64,
    /// When it was declared paused, if it still is, on the same clock as `now`.
    pub(crate) paused_since: Option<u64>,
}

/// Who goes. Nobody, if there was room.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Room {
    /// Paused for so long that they merely expire: they may come back if there is room.
    pub(crate) idle: Vec<LeaseId>,
    /// These end.
    pub(crate) replaced: Vec<LeaseId>,
}

/// Makes room for one more beside `others`, or says that there is none.
///
/// Idle ones go first, then those that the newcomer may replace. It is all or nothing.
pub(crate) fn make_room(
    others: &[Seat],
    limit: u32,
    replace: &Replace,
    now: u64,
    idle_after: u64,
) -> Option<Room> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if limit == 0 {
        return None;
    }
    let excess = (others.len() + 1).saturating_sub(limit);
    if excess == 0 {
        return Some(Room::default());
    }
    let idle = idle_first(others, now, idle_after);
    if excess <= idle.len() {
        return Some(Room { idle: idle[..excess].to_vec(), replaced: Vec::new() });
    }
    match replace {
        Replace::Nobody => None,
        Replace::Oldest => {
            let replaced = oldest(others, &idle, excess - idle.len());
            Some(Room { idle, replaced })
        }
        Replace::These(named) => these(others, idle, named, excess),
    }
}

fn idle_first(others: &[Seat], now: u64, idle_after: u64) -> Vec<LeaseId> {
    let since =
        |seat: &Seat| seat.paused_since.filter(|since| idle_after < now.saturating_sub(*since));
    let mut idle: Vec<_> =
        others.iter().filter_map(|seat| since(seat).map(|at| (at, seat.id))).collect();
    idle.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.cmp_as_text(&b.1)));
    idle.into_iter().map(|(_, id)| id).collect()
}

fn oldest(others: &[Seat], spared: &[LeaseId], count: usize) -> Vec<LeaseId> {
    let mut seats: Vec<_> = others.iter().filter(|seat| !spared.contains(&seat.id)).collect();
    seats.sort_by(|a, b| a.started_at.cmp(&b.started_at).then_with(|| a.id.cmp_as_text(&b.id)));
    seats.into_iter().take(count).map(|seat| seat.id).collect()
}

fn these(others: &[Seat], idle: Vec<LeaseId>, named: &[LeaseId], excess: usize) -> Option<Room> {
    let all_live = named.iter().all(|id| others.iter().any(|seat| seat.id == *id));
    if REPLACE_MAX < named.len() || !all_live {
        return None;
    }
    let mut replaced = named.to_vec();
    replaced.sort();
    replaced.dedup();
    let mut idle = idle;
    idle.retain(|id| !replaced.contains(id));
    let more = excess.saturating_sub(replaced.len());
    if idle.len() < more {
        return None;
    }
    idle.truncate(more);
    Some(Room { idle, replaced })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> LeaseId {
        LeaseId::of(name, None)
    }

    /// `a 5` started at 5; `b 7 p9` started at 7 and is paused since 9.
    fn seats(text: &str) -> Vec<Seat> {
        let seat = |line: &str| {
            let mut words = line.split_whitespace();
            let name = words.next().expect("a name");
            let started_at = words.next().and_then(|n| n.parse().ok()).expect("a time");
            let paused = words.next().map(|p| p.trim_start_matches('p').parse().expect("a time"));
            Seat { id: id(name), started_at, paused_since: paused }
        };
        text.split(',').filter(|line| !line.trim().is_empty()).map(seat).collect()
    }

    fn names(ids: &[LeaseId]) -> String {
        let known = ["a", "b", "c", "d"];
        ids.iter().flat_map(|got| known.iter().filter(|name| id(name) == *got)).copied().collect()
    }

    /// It is 100 o'clock and idle means paused for more than 60.
    fn check(others: &str, limit: u32, replace: Replace, expected: &str) {
        let got = match make_room(&seats(others), limit, &replace, 100, 60) {
            None => "full".into(),
            Some(room) => format!("idle:{} replaced:{}", names(&room.idle), names(&room.replaced)),
        };
        assert_eq!(got, expected, "{others} limit {limit} {replace:?}");
    }

    fn named(names: &[&str]) -> Replace {
        Replace::These(names.iter().map(|name| id(name)).collect())
    }

    #[test]
    fn there_is_room_below_the_limit() {
        check("", 1, Replace::Nobody, "idle: replaced:");
        check("a 1, b 2", 3, Replace::Oldest, "idle: replaced:");
        check("a 1, b 2", 2, Replace::Nobody, "full");
        check("", 0, Replace::Oldest, "full");
    }

    #[test]
    fn idle_ones_go_first_and_only_as_many_as_needed() {
        check("a 1, b 2 p39, c 3 p38", 3, Replace::Oldest, "idle:c replaced:");
        check("a 1, b 2 p40", 2, Replace::Nobody, "full");
        check("a 1, b 2 p39, c 3 p38", 2, Replace::Nobody, "idle:cb replaced:");
        check("a 1, b 2 p39, c 3", 2, Replace::Oldest, "idle:b replaced:a");
    }

    #[test]
    fn the_oldest_goes() {
        check("b 2, a 1, c 3", 3, Replace::Oldest, "idle: replaced:a");
        check("b 2, a 1, c 3", 1, Replace::Oldest, "idle: replaced:abc");
    }

    #[test]
    fn those_named_go_all_or_none() {
        check("a 1, b 2", 2, named(&["b"]), "idle: replaced:b");
        check("a 1, b 2", 2, named(&["b", "d"]), "full");
        check("a 1, b 2, c 3", 2, named(&["b", "b"]), "full");
        check("a 1, b 2, c 3 p1", 2, named(&["b"]), "idle:c replaced:b");
        check("a 1, b 2, c 3 p1", 2, named(&["c"]), "full");
        check("a 1, b 2", 2, named(&[]), "full");
    }
}
