//! What clients noticed of one fault, and whether it is what docs/failure.md promises.

use crate::clients::{Role, Sample};
use crate::fault::Fault;
use crate::fleet::Kind;
use crate::gateway::{COMMAND_MAX, CONNECT_MAX, Figures, LIMIT, TTL};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// The breaker lets a server rest for a second ± 20 %, and the renewer ticks 30 times per ttl.
const NOTICED_MS: u64 = 1_200;
/// A third of a ttl, once the gateways have noticed that there is a store again.
pub(crate) const HEALED_MAX: Duration =
    Duration::from_millis(TTL.as_secs() * 1_000 / 3 + TTL.as_secs() * 1_000 / 30 + NOTICED_MS);
/// Beside the deadlines and what the origin was slow itself: thousands of timers on few cores.
const SLACK: Duration = Duration::from_millis(100);

/// What happened, when, and what was seen.
pub(crate) struct Observation {
    pub(crate) began: Instant,
    /// The store answers everybody again.
    pub(crate) back: Instant,
    pub(crate) ended: Instant,
    pub(crate) before: Figures,
    pub(crate) seen: Vec<(Instant, Figures)>,
    pub(crate) after: Figures,
    /// How many streams the store has of each account, at the end.
    pub(crate) streams: Vec<usize>,
}

/// One line of the report.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) away: Duration,
    pub(crate) answers: BTreeMap<u16, usize>,
    /// Holders that were answered otherwise than with what they asked for, and how.
    pub(crate) interrupted: BTreeMap<u16, usize>,
    /// Third devices that were let in until the store was back and all was to be healed.
    pub(crate) let_in: usize,
    /// Those that were served when all should have been as before.
    pub(crate) let_in_healthy: usize,
    /// What gateways started alone in that time: an answer of the store came past its deadline,
    /// because somebody else had the processor.
    pub(crate) alone_late: f64,
    /// How long after the store was back the last one too many was served or provisional.
    pub(crate) healed: Duration,
    pub(crate) longest: Duration,
    /// Answers that took longer than the command deadline.
    pub(crate) waited: usize,
    /// The longest that the origin itself took, asked directly.
    pub(crate) origin_longest: Duration,
    pub(crate) provisional: f64,
    pub(crate) degraded_s: f64,
    /// Accounts that have more streams in the store than they may, at the end; and the missing.
    pub(crate) over: usize,
    pub(crate) streams: usize,
    pub(crate) expected: usize,
}

/// What was promised and did not hold.
pub(crate) struct Broken(pub(crate) String);

impl Summary {
    pub(crate) fn of(run: &Observation, samples: &[Sample], accounts: usize) -> Self {
        let players = || samples.iter().filter(|sample| sample.role != Role::Probe);
        let mut answers = BTreeMap::new();
        players().for_each(|sample| *answers.entry(sample.status).or_default() += 1);
        let mut interrupted = BTreeMap::new();
        let holders = players().filter(|sample| sample.role == Role::Holder && !sample.is_yes());
        holders.for_each(|sample| *interrupted.entry(sample.status).or_default() += 1);
        let is_fault = run.began < run.back;
        let healthy_from = if is_fault { run.back + HEALED_MAX } else { run.began };
        let served =
            || players().filter(|sample| sample.role == Role::ThirdDevice && sample.is_yes());
        let who = |late: bool| -> usize {
            let of = served().filter(|sample| (healthy_from <= sample.at) == late);
            of.map(|sample| sample.account).collect::<BTreeSet<_>>().len()
        };
        let provisional =
            |figures: &Figures| figure(figures, "streamgate_stream_leases_provisional");
        let started = |of: &Figures| figure(of, "streamgate_lease_provisional_starts_total");
        let mut in_time = run.seen.iter().rev().filter(|(at, _)| *at < healthy_from);
        let before_late = in_time.next().map_or(&run.before, |(_, seen)| seen);
        let alone = run.seen.iter().filter(|(_, figures)| 0.0 < provisional(figures));
        let last_alone = alone.map(|(at, _)| *at).max();
        let last = served().map(|sample| sample.at).max().max(last_alone).unwrap_or(run.began);
        let longest = |of: &mut dyn Iterator<Item = &Sample>| {
            of.map(|sample| sample.took).max().unwrap_or_default()
        };
        let degraded = "streamgate_lease_degraded_seconds";
        Self {
            away: run.back - run.began,
            interrupted,
            let_in: who(false),
            let_in_healthy: who(true),
            alone_late: started(&run.after) - started(before_late),
            healed: last.saturating_duration_since(run.back),
            longest: longest(&mut players()),
            waited: players().filter(|sample| COMMAND_MAX < sample.took).count(),
            origin_longest: longest(&mut samples.iter().filter(|s| s.role == Role::Probe)),
            provisional: run.seen.iter().map(|(_, seen)| provisional(seen)).fold(0.0, f64::max),
            degraded_s: figure(&run.after, degraded) - figure(&run.before, degraded),
            over: run.streams.iter().filter(|count| LIMIT < **count).count(),
            streams: run.streams.iter().sum(),
            expected: accounts * LIMIT,
            answers,
        }
    }

    /// Every promise that did not hold.
    pub(crate) fn broken(&self, kind: Kind, fault: Fault) -> Vec<Broken> {
        let mut broken = Vec::new();
        let mut check = |holds: bool, what: String| {
            if !holds {
                broken.push(Broken(format!("{kind:?}, {}: {what}", fault.words())));
            }
        };
        let interrupted = &self.interrupted;
        check(interrupted.is_empty(), format!("holders were answered {interrupted:?}"));
        let most = CONNECT_MAX + COMMAND_MAX + self.origin_longest + SLACK;
        check(self.longest <= most, format!("an answer took {:?}", self.longest));
        if kind == Kind::Forgetful {
            // It gives slots to whoever comes first, and adopts the others beyond the limit.
            return broken;
        }
        let (late, alone) = (self.let_in_healthy, self.alone_late);
        let is_disturbed = 0.0 < alone;
        check(late as f64 <= alone, format!("{late} third devices were let in by a healthy store"));
        let is_healed = is_disturbed || self.healed <= HEALED_MAX;
        check(is_healed, format!("healed only after {:?}", self.healed));
        check(self.over == 0, format!("{} accounts have too many streams", self.over));
        let (there, expected) = (self.streams, self.expected);
        check(there == expected, format!("the store has {there} streams, not {expected}"));
        broken
    }
}

fn figure(figures: &Figures, name: &str) -> f64 {
    figures.get(name).copied().unwrap_or(0.0)
}
