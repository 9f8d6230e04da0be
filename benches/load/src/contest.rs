//! Contenders against each other: in every round each runs one slice of the same load, and only
//! slices of the same round are compared. What the machine does to one, it does to the next.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use crate::bench::Process;
use crate::generator::Plan;
use crate::multiplexed::Streams;
use crate::slice::{self, Measured, Slice, median};
use crate::store::Store;

/// Each has many streams, as a browser's has.
const HTTP2_CONNECTIONS: usize = 4;

/// A load, whoever has to bear it.
#[derive(Clone, Debug)]
pub struct Load {
    /// How the report names it.
    pub name: String,
    /// Connections of the generator; by HTTP/2 they are fewer.
    pub connections: usize,
    /// A new connection for every request.
    pub reconnect: bool,
    /// Arrivals per second; none: as fast as answers come.
    pub rate: Option<f64>,
}

/// Somebody who has to bear it.
#[derive(Debug)]
pub struct Contender<'a> {
    /// How the report names it.
    pub name: String,
    /// The running program.
    pub process: &'a Process,
    /// By TLS, as this client.
    pub client: Option<Arc<ClientConfig>>,
    /// By HTTP/2, with so many streams.
    pub streams: Option<Streams>,
    /// What it is asked, in turn.
    pub requests: Vec<Vec<u8>>,
}

/// How long, how often.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// How often everybody's turn comes.
    pub rounds: usize,
    /// What counts of each slice.
    pub measure: Duration,
    /// What goes before it.
    pub warm: Duration,
}

/// One contender's slices, in the order of the rounds.
#[derive(Debug)]
pub struct Score {
    /// The contender.
    pub name: String,
    /// One per round.
    pub slices: Vec<Slice>,
}

impl Score {
    /// The middle of a figure over the rounds.
    pub fn middle(&self, figure: impl Fn(&Slice) -> f64) -> f64 {
        median(&self.slices.iter().map(figure).collect::<Vec<_>>())
    }

    /// This contender's figure over `base`'s of the same round: lower quarter, middle, upper
    /// quarter.
    pub fn ratio(&self, base: &Self, figure: impl Fn(&Slice) -> f64) -> [f64; 3] {
        let pairs = self.slices.iter().zip(&base.slices);
        let mut ratios: Vec<f64> = pairs.map(|(own, base)| figure(own) / figure(base)).collect();
        ratios.sort_unstable_by(f64::total_cmp);
        let at = |quarter: usize| {
            let index = ratios.len().saturating_sub(1) * quarter / 4;
            ratios.get(index).copied().unwrap_or(f64::NAN)
        };
        [at(1), median(&ratios), at(3)]
    }

    /// The figure in this contender's quiet rounds: the lower quarter. Neighbours only ever make
    /// a request dearer, so this is nearer to the truth than the middle when they are many.
    pub fn quiet(&self, figure: impl Fn(&Slice) -> f64) -> f64 {
        let mut figures: Vec<f64> = self.slices.iter().map(figure).collect();
        figures.sort_unstable_by(f64::total_cmp);
        figures.get(figures.len().saturating_sub(1) / 4).copied().unwrap_or(f64::NAN)
    }

    /// Requests that were not answered with 2xx.
    #[must_use]
    pub fn unanswered(&self) -> u64 {
        self.slices.iter().map(|slice| slice.outcome.failed + slice.outcome.refused).sum()
    }
}

/// Runs all rounds. `ours` are all processes of this bench, contenders or not.
pub fn run(
    load: &Load,
    contenders: &[Contender<'_>],
    ours: &[u32],
    store: Option<&Store>,
    effort: Effort,
) -> io::Result<Vec<Score>> {
    let new =
        |contender: &Contender<'_>| Score { name: contender.name.clone(), slices: Vec::new() };
    let mut scores: Vec<Score> = contenders.iter().map(new).collect();
    for round in 0..effort.rounds {
        for turn in 0..contenders.len() {
            // Forth, then back: a drift of the machine meets everybody alike.
            let index = if round % 2 == 0 { turn } else { contenders.len() - 1 - turn };
            let contender = &contenders[index];
            let plan = plan(load, contender, effort, round as u64);
            let slice = slice::run(plan, Measured { contender: contender.process, ours, store })?;
            scores[index].slices.push(slice);
        }
    }
    Ok(scores)
}

fn plan<'a>(load: &Load, contender: &'a Contender<'_>, effort: Effort, seed: u64) -> Plan<'a> {
    Plan {
        target: match contender.process.secure {
            Some(secure) if contender.client.is_some() => secure,
            _ => contender.process.address,
        },
        client: contender.client.as_ref(),
        requests: &contender.requests,
        connections: match contender.streams {
            None => load.connections,
            Some(_) => HTTP2_CONNECTIONS,
        },
        streams: contender.streams,
        reconnect: load.reconnect,
        rate: load.rate,
        warm: effort.warm,
        measure: effort.measure,
        seed,
    }
}
