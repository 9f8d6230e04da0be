//! One slice: one contender under one load for about a second, and what it cost meanwhile.

use std::io;
use std::time::Duration;

use crate::bench::Process;
use crate::clock::nanos;
use crate::cpu_time::{Machine, Spent};
use crate::generator::{self, Mark, Outcome, Plan};
use crate::multiplexed;
use crate::store::{Commands, Store, calls_between};

/// What one slice showed.
#[derive(Clone, Debug)]
pub struct Slice {
    /// Answers and their latencies.
    pub outcome: Outcome,
    /// The contender's processor time per answered request.
    pub cpu_us: f64,
    /// Answered requests per second.
    pub per_second: f64,
    /// Share of one core that the contender used; below 0.9 something else was the limit.
    pub core_used: f64,
    /// Share of the time in which the contender waited for a core that others had.
    pub kept_waiting: f64,
    /// Cores that programs outside this bench used.
    pub others: f64,
    /// Cores that the hypervisor gave to other guests.
    pub stolen: f64,
    /// Commands that the store was sent per answered request; 0 without a store.
    pub store_calls: f64,
}

/// Every process of this bench, to tell our own use of the machine from others'.
#[derive(Clone, Copy, Debug)]
pub struct Measured<'a> {
    /// The one that is measured.
    pub contender: &'a Process,
    /// All of them: origin, store, and contenders that have nothing to do now.
    pub ours: &'a [u32],
    /// Where commands are counted.
    pub store: Option<&'a Store>,
}

struct Reading {
    at: u64,
    contender: Spent,
    ours_ns: u64,
    machine: Machine,
    commands: Commands,
}

impl Measured<'_> {
    fn read(&self) -> io::Result<Reading> {
        let contender = Spent::of(self.contender.id())?;
        let own = Spent::of(std::process::id())?;
        let mut ours_ns = contender.busy_ns + own.busy_ns;
        for id in self.ours.iter().filter(|id| **id != self.contender.id()) {
            ours_ns += Spent::of(*id)?.busy_ns;
        }
        let commands = self.store.map_or_else(|| Ok(Commands::new()), Store::commands)?;
        Ok(Reading { at: nanos(), contender, ours_ns, machine: Machine::now()?, commands })
    }
}

/// Runs `plan` against the contender of `measured`.
pub fn run(plan: Plan<'_>, measured: Measured<'_>) -> io::Result<Slice> {
    let mut begin = None;
    let mut end = None;
    let mark = |mark| match mark {
        Mark::Begin => begin = Some(measured.read()),
        Mark::End => end = Some(measured.read()),
    };
    let outcome = match plan.streams {
        None => generator::run(plan, mark),
        Some(streams) => multiplexed::run(plan, streams, mark),
    }?;
    let missing = || io::Error::other("the slice ended before it began");
    let begin = begin.ok_or_else(missing)??;
    let end = end.ok_or_else(missing)??;
    Ok(weigh(&begin, &end, outcome))
}

fn weigh(begin: &Reading, end: &Reading, outcome: Outcome) -> Slice {
    let span = end.at.saturating_sub(begin.at).max(1) as f64;
    let spent = end.contender.since(begin.contender);
    let machine = end.machine.since(begin.machine);
    let ours = end.ours_ns.saturating_sub(begin.ours_ns);
    let done = outcome.done as f64;
    Slice {
        cpu_us: spent.busy_ns as f64 / 1e3 / done.max(1.0),
        per_second: done / Duration::from_nanos(span as u64).as_secs_f64(),
        core_used: spent.busy_ns as f64 / span,
        kept_waiting: spent.waited_ns as f64 / span,
        others: machine.busy_ns.saturating_sub(ours) as f64 / span,
        stolen: machine.stolen_ns as f64 / span,
        store_calls: calls_between(&begin.commands, &end.commands) as f64 / done.max(1.0),
        outcome,
    }
}

/// The middle of some numbers; of an even count, the mean of the two in the middle.
#[must_use]
pub fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[half],
        _ => f64::midpoint(sorted[half - 1], sorted[half]),
    }
}

/// The nanoseconds that `share` of the sorted latencies do not exceed.
#[must_use]
pub fn quantile(sorted: &[u64], share: f64) -> u64 {
    let last = sorted.len().saturating_sub(1);
    let index = (sorted.len() as f64 * share) as usize;
    sorted.get(index.min(last)).copied().unwrap_or(0)
}
