//! What a store owes one account, written down as plainly as it can be said: the specification.
//!
//! It shares no code with the library. `model` holds the memory store and Redis to it, history by
//! history; `sim` uses it as a store whose clock may jump and which may be set back. It knows no
//! pepper, no keys and no lock, and nothing of it is fast.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use streamgate_lease::{
    About, Admitted, Answer, Attempt, Claim, ClaimSource, Class, Classes, DisplacePolicy, Ending,
    Full, LeaseId, Live, Replace, State, Tag, Timing,
};

/// A login's starts that displace its older streams, in a minute.
const STARTS_MAX: usize = 30;
const MINUTE: u64 = 60_000;
/// A superseded id begins anew once in this time.
const ANEW_EVERY: u64 = 10_000;
/// A renewal that is so much younger than a mark has voided it.
const VOID_AFTER: u64 = 1000;

/// One account at one moment. Times are milliseconds of the store's clock.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spec {
    ids: BTreeMap<LeaseId, Record>,
    ties: BTreeMap<LeaseId, Tie>,
    /// When each login displaced what it had.
    starts: BTreeMap<Tag, Vec<u64>>,
    /// By login and path.
    tries: BTreeMap<(Tag, Tag), Try>,
    /// Streams that began by a ticket, and until when that is known.
    tickets: BTreeMap<LeaseId, u64>,
}

/// What ties an id to its login; it outlives the slot.
#[derive(Debug, Clone, Default)]
struct Tie {
    login: Option<Tag>,
    path: Option<Tag>,
    ttl: u64,
    /// Requests that were let pass: none, one, or more.
    passes: u32,
    marked_at: Option<u64>,
    anew_at: Option<u64>,
}

/// The last start of a login at a path.
#[derive(Debug, Clone)]
struct Try {
    id: LeaseId,
    born_at: u64,
    until: u64,
}

#[derive(Debug, Clone)]
enum Record {
    /// It plays, or it played and nobody has needed its slot since.
    Seated(Stream),
    /// Out of its slot; what is known of it stays, in case it comes back.
    Known(Stream),
    Ended {
        why: Ending,
        until: u64,
        reusable: bool,
    },
}

#[derive(Debug, Clone)]
struct Stream {
    expires_at: u64,
    started_at: u64,
    paused_since: Option<u64>,
    reusable: bool,
    classes: Vec<Class>,
    over_until: Option<u64>,
    about: About,
}

/// One more of a class, or of all.
type Want = (Option<Class>, u32);

impl Spec {
    pub(crate) fn acquire(&mut self, claim: &Claim, timing: &Timing, now: u64) -> Answer {
        let retried = self.retried(claim, now);
        let id = retried.as_ref().map_or(claim.id, |it| it.id);
        let claim = &Claim { id, ..claim.clone() };
        let mut is_anew = false;
        if let Some(Record::Ended { why, until, reusable }) = self.ids.get(&claim.id)
            && now < *until
        {
            is_anew = *why == Ending::Superseded && claim.starts && self.may_begin_anew(&id, now);
            let is_again = *why != Ending::Superseded && *reusable && claim.explicit_start;
            if !is_anew && !is_again {
                return Answer::Ended(*why, Duration::from_millis(until - now));
            }
        }
        self.clear_the_expired(now);
        let mine = self.seated(&claim.id).cloned();
        if mine.is_none() && self.comes_too_late(claim, now) {
            return Answer::Ended(Ending::Unused, Duration::ZERO);
        }
        if let Some(mine) = &mine
            && mine.over_until.is_some_and(|until| until <= now)
            && let Some(want) = self.has_no_place_for(mine, claim)
        {
            self.unseat(claim.id);
            return self.full(want, claim, now);
        }
        let held = mine.as_ref().map(|mine| mine.classes.clone());
        // A stream keeps the longest ttl that it was given.
        let wanted = claim.ttl.map_or(ms(timing.ttl()), ms);
        let ttl = if mine.is_some() { wanted.max(self.ties[&id].ttl) } else { wanted };
        let is_start = mine.is_none() && claim.by != ClaimSource::Node;
        let displaces = is_start && self.may_displace(claim, now);
        let room = self.make_room(claim, held.as_deref(), displaces, timing, now);
        let (gone, over) = match room {
            Ok(gone) => (gone, None),
            Err((want, may_adopt)) => {
                let window = ms(timing.grandfather());
                if !claim.adopt || !may_adopt || claim.limit == 0 || window == 0 {
                    return self.full(want, claim, now);
                }
                (Gone::default(), Some(now + window))
            }
        };
        for id in &gone.idle {
            self.unseat(*id);
        }
        for id in &gone.replaced {
            self.end(*id, Ending::Replaced, timing, now);
        }
        for id in &gone.superseded {
            self.end(*id, Ending::Superseded, timing, now);
        }
        let marked = if displaces { self.mark(claim, now) } else { Vec::new() };
        let was_passed = mine.is_some() && self.is_passed(&id);
        self.admit(claim, mine.is_none(), now + ttl, now, over);
        self.tie(claim, mine.is_none(), was_passed, ttl, now);
        if let Some(ticket) = claim.ticket.filter(|_| mine.is_none()) {
            self.tickets.insert(id, ticket.ends_at);
        }
        let tie = self.ties.get_mut(&id).unwrap();
        tie.anew_at = is_anew.then_some(now).or(tie.anew_at);
        let mut born_at = None;
        if let (Some(login), Some(path)) = (claim.login, claim.path) {
            let born = retried.map_or(now, |it| it.born_at);
            self.tries.insert((login, path), Try { id, born_at: born, until: now + ttl });
            born_at = Some(born);
        }
        let held = self.held(claim, mine.is_none(), gone, now);
        Answer::Held(Admitted { marked, born_at, ..held })
    }

    /// The start that this one is a retry of: it was given back.
    fn retried(&self, claim: &Claim, now: u64) -> Option<Try> {
        let found = self.tries.get(&(claim.login?, claim.path?))?;
        let is_open = !self.ids.contains_key(&found.id);
        let is_young = now < found.until;
        (is_open && is_young && claim.by != ClaimSource::Node).then(|| found.clone())
    }

    /// A player begins by a ticket that was not used in time.
    fn comes_too_late(&self, claim: &Claim, now: u64) -> bool {
        let was_used = self.tickets.get(&claim.id).is_some_and(|until| now < *until);
        let ticket = claim.ticket.filter(|_| claim.by != ClaimSource::Node);
        ticket.is_some_and(|ticket| !was_used && ticket.use_by <= now)
    }

    fn may_begin_anew(&self, id: &LeaseId, now: u64) -> bool {
        let last = self.ties.get(id).and_then(|tie| tie.anew_at);
        last.is_none_or(|last| last + ANEW_EVERY <= now)
    }

    fn may_displace(&self, claim: &Claim, now: u64) -> bool {
        let Some(login) = claim.login.filter(|_| claim.displaces == DisplacePolicy::Older) else {
            return false;
        };
        let starts = self.starts.get(&login).into_iter().flatten();
        starts.filter(|at| now < **at + MINUTE).count() < STARTS_MAX
    }

    /// A later playback of their login begins. Tells those for whom that is news.
    fn mark(&mut self, claim: &Claim, now: u64) -> Vec<LeaseId> {
        self.starts.entry(claim.login.unwrap()).or_default().push(now);
        let older = self.all_seated().map(|(id, _)| *id).filter(|id| self.is_older(claim, id));
        let marked: Vec<_> = older.filter(|id| !self.is_passed(id)).collect();
        for id in &marked {
            self.ties.get_mut(id).unwrap().marked_at = Some(now);
        }
        marked
    }

    fn is_older(&self, claim: &Claim, id: &LeaseId) -> bool {
        *id != claim.id && self.ties[id].login == claim.login
    }

    fn alive_at(&self, id: &LeaseId) -> u64 {
        self.seated(id).unwrap().expires_at.saturating_sub(self.ties[id].ttl)
    }

    /// Silent since a later playback of its login began.
    fn is_passed(&self, id: &LeaseId) -> bool {
        let marked_at = self.ties[id].marked_at;
        marked_at.is_some_and(|at| self.alive_at(id) <= at + VOID_AFTER)
    }

    fn tie(&mut self, claim: &Claim, is_new: bool, was_passed: bool, ttl: u64, now: u64) {
        let tie = self.ties.entry(claim.id).or_default();
        tie.login = claim.login.or(tie.login);
        tie.path = claim.path.or(tie.path);
        if is_new {
            tie.passes = if claim.by == ClaimSource::Node { 2 } else { 0 };
            tie.marked_at = None;
        }
        match claim.by {
            ClaimSource::Request => {
                tie.passes = 2.min(tie.passes + 1);
                tie.marked_at = None;
            }
            ClaimSource::Node if was_passed => tie.marked_at = Some(now),
            ClaimSource::Node | ClaimSource::Reservation => {}
        }
        if let Some(Record::Seated(stream)) = self.ids.get(&claim.id)
            && stream.expires_at == now + ttl
        {
            tie.ttl = ttl;
        }
    }

    /// True if it was the start of this version and nothing else of its stream was let pass.
    /// Where nobody had an answer, nothing was let pass but what the claim itself was.
    pub(crate) fn give_back(&mut self, id: LeaseId, attempt: Attempt, now: u64) -> bool {
        let (version, passes) = match attempt {
            Attempt::Versioned(version) => (Some(version), 1),
            Attempt::Unanswered(ClaimSource::Request) => (None, 1),
            Attempt::Unanswered(_) => (None, 0),
        };
        let is_it = |stream: &Stream| version.is_none_or(|version| stream.expires_at == version);
        let is_alone = self.seated(&id).is_some_and(is_it) && self.ties[&id].passes == passes;
        if is_alone {
            self.ids.remove(&id);
            let tie = &self.ties[&id];
            if let (Some(login), Some(path)) = (tie.login, tie.path)
                && let Some(found) = self.tries.get_mut(&(login, path))
                && found.id == id
            {
                found.until = now + tie.ttl;
            }
        }
        is_alone
    }

    /// True if the expiry moved. Only who has a slot, or whose slot nobody has cleared away.
    pub(crate) fn renew(&mut self, id: LeaseId, silent: Duration, ttl: Duration, now: u64) -> bool {
        let expires_at = now + ms(ttl.saturating_sub(silent));
        match self.ids.get_mut(&id) {
            Some(Record::Seated(stream)) if stream.expires_at < expires_at => {
                stream.expires_at = expires_at;
                true
            }
            _ => false,
        }
    }

    pub(crate) fn release(&mut self, id: LeaseId, timing: &Timing, now: u64) {
        match self.stream(&id) {
            Some(stream) if stream.reusable => drop(self.ids.remove(&id)),
            Some(_) => self.end(id, Ending::Released, timing, now),
            None => {}
        }
    }

    pub(crate) fn terminate(&mut self, id: LeaseId, timing: &Timing, now: u64) -> bool {
        let is_there = self.stream(&id).is_some();
        if is_there {
            self.end(id, Ending::Terminated, timing, now);
        }
        is_there
    }

    pub(crate) fn declare(&mut self, id: LeaseId, state: State, now: u64) -> bool {
        let Some(Record::Seated(stream)) = self.ids.get_mut(&id) else {
            return false;
        };
        if stream.expires_at <= now {
            return false;
        }
        stream.paused_since = match state {
            State::Paused => stream.paused_since.or(Some(now)),
            State::Playing => None,
        };
        true
    }

    pub(crate) fn list(&self, now: u64) -> Vec<Live> {
        let live = self.all_seated().filter(|(_, stream)| now < stream.expires_at);
        let mut live: Vec<_> = live.map(|(id, stream)| stream.shown(*id, now)).collect();
        live.sort_by_key(|live| (live.started_at, live.id.to_string()));
        live
    }

    /// What its expiry is counted by.
    pub(crate) fn ttl_of(&self, id: &LeaseId) -> Option<Duration> {
        self.ties.get(id).map(|tie| Duration::from_millis(tie.ttl))
    }

    /// Its slot was lost a ttl ago and nobody took it: no renewer would renew it any more.
    pub(crate) fn is_long_gone(&self, id: &LeaseId, ttl: Duration, now: u64) -> bool {
        self.seated(id).is_some_and(|stream| stream.expires_at + ms(ttl) <= now)
    }

    fn stream(&self, id: &LeaseId) -> Option<&Stream> {
        match self.ids.get(id)? {
            Record::Seated(stream) | Record::Known(stream) => Some(stream),
            Record::Ended { .. } => None,
        }
    }

    fn seated(&self, id: &LeaseId) -> Option<&Stream> {
        match self.ids.get(id)? {
            Record::Seated(stream) => Some(stream),
            _ => None,
        }
    }

    fn all_seated(&self) -> impl Iterator<Item = (&LeaseId, &Stream)> {
        self.ids.keys().filter_map(|id| Some((id, self.seated(id)?)))
    }

    fn unseat(&mut self, id: LeaseId) {
        if let Some(stream) = self.seated(&id).cloned() {
            self.ids.insert(id, Record::Known(stream));
        }
    }

    fn clear_the_expired(&mut self, now: u64) {
        let expired = self.all_seated().filter(|(_, stream)| stream.expires_at <= now);
        for id in expired.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.unseat(id);
        }
    }

    fn end(&mut self, id: LeaseId, why: Ending, timing: &Timing, now: u64) {
        let reusable = self.stream(&id).is_some_and(|stream| stream.reusable);
        let is_brief = reusable || why == Ending::Superseded;
        let life = if is_brief { self.ties[&id].ttl } else { ms(timing.tombstone()) };
        self.ids.insert(id, Record::Ended { why, until: now + life, reusable });
    }

    fn full(&self, (class, limit): Want, claim: &Claim, now: u64) -> Answer {
        let live = self.list(now);
        let counts = |live: &&Live| class.is_none_or(|class| live.classes.contains(&class));
        let others = live.iter().filter(counts).filter(|live| live.id != claim.id);
        let retry_after = others.map(|live| live.expires_in).min().unwrap_or_default();
        Answer::Full(Full { limit, class, live, retry_after })
    }

    /// A stream over the limit is within it when, beside those who are, there is room for it.
    fn has_no_place_for(&self, mine: &Stream, claim: &Claim) -> Option<Want> {
        let limit_of = |class: &Class| claim.classes.iter().find(|of| of.class == *class);
        if mine.classes.iter().any(|class| limit_of(class).is_none()) {
            return Some((None, claim.limit));
        }
        let classes = mine.classes.iter().filter_map(limit_of);
        let mut wants: Vec<Want> = classes.map(|of| (Some(of.class), of.limit)).collect();
        wants.push((None, claim.limit));
        let others = self.all_seated().filter(|(id, _)| **id != claim.id);
        let within: Vec<_> = others.filter(|(_, other)| other.over_until.is_none()).collect();
        wants.into_iter().find(|(class, limit)| {
            let is_counted = |(_, other): &&(&LeaseId, &Stream)| other.is_of(*class);
            *limit as usize <= within.iter().filter(is_counted).count()
        })
    }

    /// Who goes, or what has no room, and whether that is a matter of room at all.
    fn make_room(
        &self,
        claim: &Claim,
        held: Option<&[Class]>,
        displaces: bool,
        timing: &Timing,
        now: u64,
    ) -> Result<Gone, (Want, bool)> {
        if held.is_none() && claim.limit == 0 {
            return Err(((None, 0), false));
        }
        let lacks = |class: &Class| held.is_none_or(|held| !held.contains(class));
        let lacking = claim.classes.iter().filter(|of| lacks(&of.class));
        let mut wants: Vec<Want> = lacking.map(|of| (Some(of.class), of.limit)).collect();
        if let Some(first) = wants.first()
            && Classes::MAX < held.map_or(0, <[Class]>::len) + wants.len()
        {
            return Err((*first, false));
        }
        if held.is_none() {
            wants.push((None, claim.limit));
        }
        let others: Vec<_> = self.all_seated().filter(|(id, _)| **id != claim.id).collect();
        let is_kind = claim.displaces == DisplacePolicy::Nobody;
        let mut marked: Vec<_> = others.iter().map(|(id, _)| **id).collect();
        marked
            .retain(|id| !is_kind && (self.is_passed(id) || displaces && self.is_older(claim, id)));
        marked.sort_by_key(|id| (!self.is_passed(id), self.alive_at(id), id.to_string()));
        let idle_after = if is_kind { u64::MAX } else { ms(timing.idle_after()) };
        let rule = Rule { others, marked, now, idle_after };
        let cleared = match &claim.replace {
            _ if is_kind => rule.clear(&wants, Gone::default(), false),
            Replace::Nobody => rule.clear(&wants, Gone::default(), false),
            Replace::Oldest => rule.clear(&wants, Gone::default(), true),
            Replace::These(named) => match rule.clear(&wants, Gone::default(), false) {
                Err(_) if named.iter().all(|id| rule.others.iter().any(|(it, _)| *it == id)) => {
                    let once: BTreeSet<_> = named.iter().copied().collect();
                    let replaced = once.into_iter().collect();
                    let gone = Gone { replaced, ..Gone::default() };
                    rule.clear(&wants, gone, false)
                }
                cleared => cleared,
            },
        };
        cleared.map_err(|want| (want, true))
    }

    fn admit(&mut self, claim: &Claim, is_new: bool, expires_at: u64, now: u64, over: Option<u64>) {
        let known = self.stream(&claim.id).cloned();
        let mut stream = known.unwrap_or_else(|| Stream {
            expires_at,
            started_at: now,
            paused_since: None,
            reusable: claim.reusable,
            classes: Vec::new(),
            over_until: None,
            about: About::default(),
        });
        if is_new {
            stream.started_at = now;
            stream.expires_at = expires_at;
            stream.classes.clear();
            stream.over_until = None;
        }
        stream.expires_at = stream.expires_at.max(expires_at);
        stream.classes.extend(claim.classes.iter().map(|of| of.class));
        stream.classes.sort();
        stream.classes.dedup();
        if !claim.about.is_empty() {
            stream.about = claim.about.clone();
        }
        if claim.explicit_start {
            stream.paused_since = None;
        }
        stream.over_until = stream.over_until.or(over);
        if self.has_no_place_for(&stream, claim).is_none() {
            stream.over_until = None;
        }
        self.ids.insert(claim.id, Record::Seated(stream));
    }

    fn held(&self, claim: &Claim, is_new: bool, gone: Gone, now: u64) -> Admitted {
        let mine = self.seated(&claim.id).unwrap();
        let is_first = claim.by == ClaimSource::Request && self.ties[&claim.id].passes == 1;
        Admitted {
            is_new,
            id: claim.id,
            first: is_first.then_some(mine.expires_at),
            born_at: None,
            superseded: gone.superseded,
            marked: Vec::new(),
            active: u32::try_from(self.all_seated().count()).unwrap(),
            started_at: mine.started_at,
            ttl: Duration::from_millis(self.ties[&claim.id].ttl),
            expires_in: Duration::from_millis(mine.expires_at - now),
            replaced: gone.replaced,
            idle: gone.idle,
            over_limit: mine.over_until.is_some(),
        }
    }
}

#[derive(Default)]
struct Gone {
    superseded: Vec<LeaseId>,
    idle: Vec<LeaseId>,
    replaced: Vec<LeaseId>,
}

/// Who has to go: whoever is marked, then whoever has been idle the longest, then whoever started
/// first, if he may be.
struct Rule<'a> {
    others: Vec<(&'a LeaseId, &'a Stream)>,
    /// In the order in which they go.
    marked: Vec<LeaseId>,
    now: u64,
    idle_after: u64,
}

impl Rule<'_> {
    fn clear(&self, wants: &[Want], mut gone: Gone, replaces: bool) -> Result<Gone, Want> {
        for (class, limit) in wants {
            if *limit == 0 {
                return Err((*class, *limit));
            }
            loop {
                let counted: Vec<_> = self.left(&gone, *class).collect();
                if counted.len() < *limit as usize {
                    break;
                }
                let text = |id: &LeaseId| id.to_string();
                let is_there = |id: &&LeaseId| counted.iter().any(|(other, _)| other == id);
                if let Some(id) = self.marked.iter().find(is_there) {
                    gone.superseded.push(*id);
                    continue;
                }
                let idle = counted.iter().filter(|(_, other)| self.is_idle(other));
                if let Some((id, _)) = idle.min_by_key(|(id, it)| (it.paused_since, text(id))) {
                    gone.idle.push(**id);
                } else if replaces {
                    let oldest = counted.iter().min_by_key(|(id, it)| (it.started_at, text(id)));
                    gone.replaced.push(*oldest.unwrap().0);
                } else {
                    return Err((*class, *limit));
                }
            }
        }
        Ok(gone)
    }

    fn left<'a>(
        &'a self,
        gone: &Gone,
        class: Option<Class>,
    ) -> impl Iterator<Item = &'a (&'a LeaseId, &'a Stream)> {
        let all = [&gone.idle, &gone.replaced, &gone.superseded];
        let stays = move |id: &LeaseId| !all.iter().any(|some| some.contains(id));
        self.others.iter().filter(move |(id, other)| stays(id) && other.is_of(class))
    }

    fn is_idle(&self, other: &Stream) -> bool {
        other.paused_since.is_some_and(|since| self.idle_after < self.now.saturating_sub(since))
    }
}

impl Stream {
    fn is_of(&self, class: Option<Class>) -> bool {
        class.is_none_or(|class| self.classes.contains(&class))
    }

    fn shown(&self, id: LeaseId, now: u64) -> Live {
        Live {
            id,
            about: self.about.clone(),
            started_at: self.started_at,
            expires_in: Duration::from_millis(self.expires_at - now),
            state: if self.paused_since.is_some() { State::Paused } else { State::Playing },
            classes: self.classes.clone(),
            over_limit: self.over_until.is_some(),
        }
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap()
}
