//! Who has to go so that a newcomer may come in: the one rule, without clock, store or lock.
//!
//! The memory store and a node on its own share it; `redis/scripts/acquire.lua` says the same in
//! Lua, and the contract tests hold the two to each other.

use crate::lease::{
    Claim, Class, ClassLimit, Classes, DisplacePolicy, LeaseId, REPLACE_MAX, Replace,
};

/// A renewal that is so much younger than a mark has voided it, in milliseconds: its player has
/// played on since. Gateways tell a server's time less exactly than to the millisecond.
const VOID_AFTER_MS: u64 = 1000;
/// A login's starts that displace its older streams, in a minute.
pub(crate) const STARTS_MAX: usize = 30;
pub(crate) const STARTS_WITHIN_MS: u64 = 60_000;
/// A superseded id begins anew once in this time, in milliseconds.
pub(crate) const ANEW_EVERY_MS: u64 = 10_000;

/// A live slot of somebody else, as far as the rule cares.
#[derive(Debug, Clone)]
pub(crate) struct Seat {
    pub(crate) id: LeaseId,
    pub(crate) started_at: u64,
    /// When it was declared paused, if it still is, on the same clock as `now`.
    pub(crate) paused_since: Option<u64>,
    pub(crate) classes: Vec<Class>,
    /// One too many, for now.
    pub(crate) over_limit: bool,
    /// Its player's last sign of life, on the same clock as `now`.
    pub(crate) alive_at: u64,
    pub(crate) mark: Option<Mark>,
}

/// Why one has to go before anybody is refused, in the order in which they go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mark {
    /// It has been silent since a later playback of its login began.
    Passed,
    /// A later playback of its login begins with this claim.
    Older,
}

impl Mark {
    /// Of one that was marked then, and was last heard of then.
    pub(crate) fn of(marked_at: Option<u64>, alive_at: u64, is_older: bool) -> Option<Self> {
        match marked_at {
            Some(at) if alive_at <= at.saturating_add(VOID_AFTER_MS) => Some(Self::Passed),
            _ => is_older.then_some(Self::Older),
        }
    }
}

/// What there has to be room in: one more of a class, or one more of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Want {
    pub(crate) class: Option<Class>,
    pub(crate) limit: u32,
}

/// What a claim wants: its classes first, because whoever makes room in a class makes room in all.
#[derive(Debug)]
pub(crate) struct Wants(Vec<Want>);

/// Who goes. Nobody, if there was room.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Room {
    /// Marked: these end, and may begin anew.
    pub(crate) superseded: Vec<LeaseId>,
    /// Paused for so long that they merely expire: they may come back if there is room.
    pub(crate) idle: Vec<LeaseId>,
    /// These end.
    pub(crate) replaced: Vec<LeaseId>,
}

/// Those who are there, in the order in which they would have to go.
struct Queue<'a> {
    marked: Vec<&'a Seat>,
    idle: Vec<&'a Seat>,
    busy: Vec<&'a Seat>,
}

impl Wants {
    /// Of a claim without a slot: room in all its classes, and in all.
    ///
    /// # Errors
    /// The limit of 0 that refuses everybody.
    pub(crate) fn of_newcomer(claim: &Claim) -> Result<Self, Want> {
        let all = Want { class: None, limit: claim.limit };
        let classes = claim.classes.iter().map(Want::from);
        if claim.limit == 0 { Err(all) } else { Ok(Self(classes.chain([all]).collect())) }
    }

    /// Of a claim that has a slot with these classes: room in those that it lacks.
    ///
    /// # Errors
    /// The class that would be one too many for a lease.
    pub(crate) fn of_holder(claim: &Claim, held: &[Class]) -> Result<Self, Want> {
        let lacking = claim.classes.iter().filter(|of| !held.contains(&of.class));
        let wants: Vec<_> = lacking.map(Want::from).collect();
        match wants.first() {
            Some(one) if Classes::MAX < held.len() + wants.len() => Err(*one),
            _ => Ok(Self(wants)),
        }
    }
}

/// Makes room for one more beside `others`, or says where there is none.
///
/// Marked ones go first, then idle ones, then those that the newcomer may replace. It is all or
/// nothing.
pub(crate) fn make_room(
    others: &[Seat],
    wants: &Wants,
    claim: &Claim,
    now: u64,
    idle_after: u64,
) -> Result<Room, Want> {
    if claim.displaces == DisplacePolicy::Nobody {
        return Queue::of_the_busy(others).clear(wants, Room::default(), false);
    }
    let queue = Queue::new(others, now, idle_after);
    let unasked = queue.clear(wants, Room::default(), false);
    match (unasked, &claim.replace) {
        (Err(_), Replace::Oldest) => queue.clear(wants, Room::default(), true),
        (Err(full), Replace::These(named)) => {
            let all_live = named.iter().all(|id| others.iter().any(|seat| seat.id == *id));
            if REPLACE_MAX < named.len() || !all_live {
                return Err(full);
            }
            let mut replaced = named.clone();
            replaced.sort();
            replaced.dedup();
            queue.clear(wants, Room { replaced, ..Room::default() }, false)
        }
        (decided, _) => decided,
    }
}

/// What a lease of these classes that is over the limit still has no place in. It has one beside
/// those who are within the limit: of several that are over it, the first to ask gets it.
pub(crate) fn lacks_place(others: &[Seat], claim: &Claim, classes: &[Class]) -> Option<Want> {
    let all = Want { class: None, limit: claim.limit };
    let known = |class: &Class| claim.classes.iter().find(|of| of.class == *class);
    if classes.iter().any(|class| known(class).is_none()) {
        // Without their limits nobody can tell.
        return Some(all);
    }
    let limits = classes.iter().filter_map(known).map(Want::from).chain([all]);
    let within: Vec<_> = others.iter().filter(|seat| !seat.over_limit).collect();
    let has_no_place = |want: &Want| {
        let limit = usize::try_from(want.limit).unwrap_or(usize::MAX);
        limit <= want.counted(&within, &Room::default()).len()
    };
    limits.into_iter().find(has_no_place)
}

impl<'a> Queue<'a> {
    fn new(others: &'a [Seat], now: u64, idle_after: u64) -> Self {
        let is_idle = |seat: &&Seat| {
            seat.paused_since.is_some_and(|since| idle_after < now.saturating_sub(since))
        };
        let (mut marked, rest): (Vec<_>, Vec<_>) =
            others.iter().partition(|seat| seat.mark.is_some());
        let (mut idle, mut busy): (Vec<_>, Vec<_>) = rest.into_iter().partition(is_idle);
        let by_id = |a: &Seat, b: &Seat| a.id.cmp_as_text(&b.id);
        let by_silence = |a: &Seat, b: &Seat| (a.mark, a.alive_at).cmp(&(b.mark, b.alive_at));
        marked.sort_by(|a, b| by_silence(a, b).then_with(|| by_id(a, b)));
        idle.sort_by(|a, b| a.paused_since.cmp(&b.paused_since).then_with(|| by_id(a, b)));
        busy.sort_by(|a, b| a.started_at.cmp(&b.started_at).then_with(|| by_id(a, b)));
        Self { marked, idle, busy }
    }

    /// Nobody has to go.
    fn of_the_busy(others: &'a [Seat]) -> Self {
        Self { marked: Vec::new(), idle: Vec::new(), busy: others.iter().collect() }
    }

    /// Adds to `room` who has to go for all wants; the oldest, too, if they may be replaced.
    fn clear(&self, wants: &Wants, mut room: Room, replaces: bool) -> Result<Room, Want> {
        for want in &wants.0 {
            let marked = want.counted(&self.marked, &room);
            let idle = want.counted(&self.idle, &room);
            let busy = want.counted(&self.busy, &room);
            let limit = usize::try_from(want.limit).unwrap_or(usize::MAX);
            let excess = (marked.len() + idle.len() + busy.len() + 1).saturating_sub(limit);
            let of_idle = excess.saturating_sub(marked.len());
            let of_busy = of_idle.saturating_sub(idle.len());
            if limit == 0 || (0 < of_busy && !replaces) {
                return Err(*want);
            }
            room.superseded.extend(marked.into_iter().take(excess));
            room.idle.extend(idle.into_iter().take(of_idle));
            room.replaced.extend(busy.into_iter().take(of_busy));
        }
        Ok(room)
    }
}

impl Want {
    /// Those that this limit counts and that are not on their way out already.
    fn counted(&self, seats: &[&Seat], room: &Room) -> Vec<LeaseId> {
        let is_counted = |seat: &&&Seat| {
            self.class.is_none_or(|class| seat.classes.contains(&class))
                && !room.superseded.contains(&seat.id)
                && !room.idle.contains(&seat.id)
                && !room.replaced.contains(&seat.id)
        };
        seats.iter().filter(is_counted).map(|seat| seat.id).collect()
    }
}

impl From<&ClassLimit> for Want {
    fn from(of: &ClassLimit) -> Self {
        Self { class: Some(of.class), limit: of.limit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::holder::{Holder, Pepper};

    fn id(name: &str) -> LeaseId {
        LeaseId::of(name, None)
    }

    /// `a 5` started at 5; `b 7 p9` started at 7 and is paused since 9; `c 8 k` is of class k;
    /// `d 9 M12` was marked and last heard of at 12, `d 9 N12` is older than the newcomer.
    fn seats(text: &str) -> Vec<Seat> {
        let seat = |line: &str| {
            let mut words = line.split_whitespace();
            let name = words.next().expect("a name");
            let started_at = words.next().and_then(|n| n.parse().ok()).expect("a time");
            let (paused, rest): (Vec<_>, Vec<_>) = words.partition(|word| word.starts_with('p'));
            let is_mark = |word: &&str| word.starts_with(['M', 'N']);
            let (marks, classes): (Vec<_>, Vec<_>) = rest.into_iter().partition(is_mark);
            let since = |word: &&str| word[1..].parse().expect("a time");
            let mark = |word: &&str| if word.starts_with('M') { Mark::Passed } else { Mark::Older };
            Seat {
                id: id(name),
                started_at,
                paused_since: paused.first().map(since),
                classes: classes.iter().map(|word| word.parse().expect("a class")).collect(),
                over_limit: false,
                alive_at: marks.first().map_or(99, since),
                mark: marks.first().map(mark),
            }
        };
        text.split(',').filter(|line| !line.trim().is_empty()).map(seat).collect()
    }

    fn names(ids: &[LeaseId]) -> String {
        let known = ["a", "b", "c", "d"];
        ids.iter().flat_map(|got| known.iter().filter(|name| id(name) == *got)).copied().collect()
    }

    fn claim(limit: u32, classes: &str) -> Claim {
        let pepper = Pepper::new([1; 32]).expect("32 bytes");
        let limits = classes.split_whitespace().map(|pair| {
            let (class, limit) = pair.split_once('=').expect("a pair");
            let limit = limit.parse().expect("a limit");
            ClassLimit { class: class.parse().expect("a class"), limit }
        });
        let classes = Classes::new(limits).expect("few classes");
        Claim { classes, ..Claim::new(Holder::of(&pepper, "alice"), id("new"), limit) }
    }

    fn verdict(others: &str, wants: Result<Wants, Want>, replace: &Replace) -> String {
        let claim = Claim { replace: replace.clone(), ..claim(0, "") };
        made(others, wants, &claim)
    }

    fn made(others: &str, wants: Result<Wants, Want>, claim: &Claim) -> String {
        // It is 100 o'clock and idle means paused for more than 60.
        match wants.and_then(|wants| make_room(&seats(others), &wants, claim, 100, 60)) {
            Err(Want { class: None, .. }) => "full".into(),
            Err(Want { class: Some(class), limit }) => format!("full:{class}={limit}"),
            Ok(Room { superseded, idle, replaced }) => {
                let gone = format!("idle:{} replaced:{}", names(&idle), names(&replaced));
                match names(&superseded).as_str() {
                    "" => gone,
                    names => format!("superseded:{names} {gone}"),
                }
            }
        }
    }

    fn check(others: &str, limit: u32, replace: Replace, expected: &str) {
        let got = verdict(others, Wants::of_newcomer(&claim(limit, "")), &replace);
        assert_eq!(got, expected, "{others} limit {limit} {replace:?}");
    }

    fn check_classes(others: &str, classes: &str, replace: Replace, expected: &str) {
        let got = verdict(others, Wants::of_newcomer(&claim(3, classes)), &replace);
        assert_eq!(got, expected, "{others} classes {classes} {replace:?}");
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
    fn marked_ones_go_before_all_others() {
        let nobody = || Replace::Nobody;
        check("a 1 M9, b 2", 2, nobody(), "superseded:a idle: replaced:");
        check("a 1 M9, b 2", 3, nobody(), "idle: replaced:");
        check("a 1 N9, b 2 M10, c 3", 3, nobody(), "superseded:b idle: replaced:");
        check("a 1 M11, b 2 M10, c 3 N1", 3, nobody(), "superseded:b idle: replaced:");
        check("a 1 M11, b 2 M10, c 3 N1", 1, nobody(), "superseded:bac idle: replaced:");
        check("a 1 p1, b 2 N10", 2, nobody(), "superseded:b idle: replaced:");
        check("a 1 p1, b 2 N10, c 3", 2, nobody(), "superseded:b idle:a replaced:");
        check("a 1, b 2 N10", 2, Replace::Oldest, "superseded:b idle: replaced:");
        check("a 1, b 2 N10, c 3", 2, Replace::Oldest, "superseded:b idle: replaced:a");
        check("a 1, b 2 M9, c 3", 2, named(&["a"]), "superseded:b idle: replaced:a");
        check("a 1 M9, b 2", 1, nobody(), "full");
        check_classes("a 1 M9, b 2 k", "k=1", nobody(), "full:k=1");
        check_classes("a 1 M9, b 2 k N9", "k=1", nobody(), "superseded:b idle: replaced:");
    }

    #[test]
    fn who_displaces_nobody_takes_free_room_only() {
        for replace in [Replace::Nobody, Replace::Oldest, named(&["a"])] {
            for (others, expected) in [("a 1 M9, b 2 p1", "full"), ("a 1 M9", "idle: replaced:")] {
                let displaces = DisplacePolicy::Nobody;
                let claim = Claim { displaces, replace: replace.clone(), ..claim(2, "") };
                let got = made(others, Wants::of_newcomer(&claim), &claim);
                assert_eq!(got, expected, "{others} {replace:?}");
            }
        }
    }

    #[test]
    fn a_mark_is_void_when_its_stream_played_on() {
        for (marked_at, alive_at, is_older, expected) in [
            (None, 5, false, None),
            (None, 5, true, Some(Mark::Older)),
            (Some(5), 5 + VOID_AFTER_MS, false, Some(Mark::Passed)),
            (Some(5), 5 + VOID_AFTER_MS, true, Some(Mark::Passed)),
            (Some(5), 6 + VOID_AFTER_MS, false, None),
            (Some(5), 6 + VOID_AFTER_MS, true, Some(Mark::Older)),
        ] {
            let got = Mark::of(marked_at, alive_at, is_older);
            assert_eq!(got, expected, "{marked_at:?} {alive_at} {is_older}");
        }
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

    #[test]
    fn a_class_has_a_limit_of_its_own() {
        check_classes("a 1 k, b 2", "k=1", Replace::Nobody, "full:k=1");
        check_classes("a 1 k, b 2", "k=2", Replace::Nobody, "idle: replaced:");
        check_classes("a 1 k, b 2", "l=1", Replace::Nobody, "idle: replaced:");
        check_classes("a 1, b 2", "k=0", Replace::Oldest, "full:k=0");
        check_classes("a 1, b 2, c 3", "k=1", Replace::Nobody, "full");
        check_classes("a 1 k, b 2, c 3", "k=1", Replace::Nobody, "full:k=1");
    }

    #[test]
    fn who_goes_is_of_the_class_that_is_full() {
        check_classes("a 1 p1, b 2 p2 k", "k=1", Replace::Nobody, "idle:b replaced:");
        check_classes("a 1, b 2 k", "k=1", Replace::Oldest, "idle: replaced:b");
        check_classes("a 1, b 2, c 3 k", "k=1", Replace::Oldest, "idle: replaced:c");
        check_classes("a 1, b 2, c 3", "k=1", Replace::Oldest, "idle: replaced:a");
        check_classes("a 1 k, b 2 l", "k=1 l=1", Replace::Oldest, "idle: replaced:ab");
        check_classes("a 1 k l, b 2", "k=1 l=1", Replace::Oldest, "idle: replaced:a");
        check_classes("a 1, b 2 k", "k=1", named(&["a"]), "full:k=1");
        check_classes("a 1, b 2 k", "k=1", named(&["b"]), "idle: replaced:b");
        check_classes("a 1 p1, b 2, c 3 k", "k=1", named(&["c"]), "idle: replaced:c");
        check_classes("a 1 p1 l, b 2, c 3 k", "k=1 l=1", named(&["c"]), "idle:a replaced:c");
    }

    #[test]
    fn a_holder_wants_only_what_it_lacks() {
        let check = |held: &[&str], classes: &str, expected: &str| {
            let held: Vec<Class> = held.iter().map(|name| name.parse().expect("a class")).collect();
            let wants = Wants::of_holder(&claim(0, classes), &held);
            assert_eq!(verdict("a 1 k, b 2 k", wants, &Replace::Nobody), expected, "{held:?}");
        };
        check(&["k"], "k=1", "idle: replaced:");
        check(&[], "k=1", "full:k=1");
        check(&[], "k=3", "idle: replaced:");
        check(&["k"], "k=1 l=1", "idle: replaced:");
        check(&["m", "n", "o", "p"], "l=1", "full:l=1");
    }
}
