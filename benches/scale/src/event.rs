//! An event of millions, simulated: a kick-off, and an outage of every Redis in the middle of it.
//!
//! Each stream is followed by itself, with the library's own rules: a renewal every third of a ttl
//! ± 20 %, taken along at the next tick of its gateway's renewer, and at most a quarter of what a
//! gateway has in one tick. What a Redis does in a tenth of a second is counted per shard.
//! Simplified: no stream ends, requests are frequent enough to touch every lease, and a gateway's
//! tick falls into one tenth of a second.

use crate::curve;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::error::Error;
use std::path::Path;
use std::thread;

/// How many there are of each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fleet {
    pub(crate) streams: usize,
    pub(crate) shards: usize,
    pub(crate) gateways: usize,
}

/// What happens to the fleet. Times are milliseconds.
struct Scenario {
    name: &'static str,
    file: &'static str,
    /// All streams start within this time.
    ramp: u32,
    /// No Redis answers between these two.
    outage: Option<(u32, u32)>,
    end: u32,
}

const TTL: u32 = 60_000;
const THIRD: u32 = TTL / 3;
const BEAT: u32 = TTL / 30;
/// The share of a gateway's leases that one tick may ask for, as in the renewer.
const BEAT_SHARE: usize = 4;
const TICK: u32 = 100;
const TICKS_PER_SECOND: u32 = 1000 / TICK;
/// What Redis spends on each, in microseconds: measured by `scale redis`, see docs/scale.md.
const ACQUIRE_US: f64 = 33.0;
const RENEWAL_US: f64 = 4.0;
/// Every run is the same.
const SEED: u64 = 0x5ca1e;

const SCENARIOS: [Scenario; 2] = [
    Scenario {
        name: "kick-off: all start within a minute",
        file: "kick-off.svg",
        ramp: 60_000,
        outage: None,
        end: 180_000,
    },
    Scenario {
        name: "outage: no Redis answers for two minutes, 1 % start meanwhile",
        file: "outage.svg",
        ramp: 60_000,
        outage: Some((150_000, 270_000)),
        end: 390_000,
    },
];

/// Commands per tick and shard.
#[derive(Clone)]
struct Commands {
    shards: usize,
    acquires: Vec<u32>,
    renewals: Vec<u32>,
}

/// Simulates both and prints the peaks.
pub(crate) fn tell(fleet: Fleet, curves: Option<&Path>) -> Result<(), Box<dyn Error>> {
    println!("| {fleet:?} | acquires/s | renewals/s | busiest shard, 1 s | its CPU |");
    println!("|---|---|---|---|---|");
    for scenario in &SCENARIOS {
        let commands = run(&fleet, scenario);
        let seconds = scenario.end / 1000;
        let second = |counts: &[u32], at: u32| commands.second(counts, at);
        let sum = |counts: &[u32]| {
            (0..seconds).map(|at| second(counts, at).iter().sum::<u64>()).max().unwrap_or(0)
        };
        let (operations, cpu) = (0..seconds)
            .flat_map(|at| commands.load(at))
            .fold((0, 0.0_f64), |(most, busiest), (operations, cpu)| {
                (most.max(operations), busiest.max(cpu))
            });
        let (acquires, renewals) = (sum(&commands.acquires), sum(&commands.renewals));
        println!(
            "| {} | {acquires} | {renewals} | {operations} commands | {:.0} % |",
            scenario.name,
            cpu * 100.0
        );
        if let Some(folder) = curves {
            let series = [&commands.acquires, &commands.renewals].map(|counts| {
                (0..seconds).map(|at| second(counts, at).iter().sum::<u64>() as f64).collect()
            });
            curve::draw(&folder.join(scenario.file), scenario.name, &series)?;
        }
    }
    Ok(())
}

/// All gateways, on all cores.
fn run(fleet: &Fleet, scenario: &Scenario) -> Commands {
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
    let share = fleet.gateways.div_ceil(cores);
    thread::scope(|scope| {
        let parts: Vec<_> = (0..cores)
            .map(|core| {
                let last = fleet.gateways.min((core + 1) * share);
                let mine = core * share..last.max(core * share);
                scope.spawn(move || {
                    let mut commands = Commands::new(fleet.shards, scenario.end);
                    mine.for_each(|gateway| {
                        Gateway::new(fleet, scenario, gateway).live(scenario, &mut commands)
                    });
                    commands
                })
            })
            .collect();
        let mut sum = Commands::new(fleet.shards, scenario.end);
        for part in parts {
            sum.add(&part.join().expect("a simulation has no way to fail"));
        }
        sum
    })
}

/// One gateway's streams.
struct Gateway {
    rng: StdRng,
    /// When its renewer first ticks.
    phase: u32,
    streams: Vec<Stream>,
    /// Where the next tick begins, so that none is always the last.
    cursor: usize,
}

struct Stream {
    starts_at: u32,
    renew_at: u32,
    shard: u16,
    /// Started while no Redis answered.
    is_provisional: bool,
}

impl Gateway {
    fn new(fleet: &Fleet, scenario: &Scenario, number: usize) -> Self {
        let mut rng = StdRng::seed_from_u64(SEED + number as u64);
        let phase = rng.random_range(0..BEAT);
        let streams = fleet.streams / fleet.gateways;
        let streams = (0..streams).map(|_| Stream::new(fleet, scenario, &mut rng)).collect();
        Self { rng, phase, streams, cursor: 0 }
    }

    fn live(mut self, scenario: &Scenario, commands: &mut Commands) {
        for stream in &mut self.streams {
            match scenario.is_out(stream.starts_at) {
                false => {
                    commands.acquire(stream.starts_at, stream.shard);
                    stream.renew_at = stream.starts_at + jittered(&mut self.rng);
                }
                true => {
                    stream.is_provisional = true;
                    stream.renew_at = stream.starts_at + self.rng.random_range(0..THIRD);
                }
            }
        }
        let mut now = self.phase;
        while now < scenario.end {
            if !scenario.is_out(now) {
                self.tick(now, commands);
            }
            now += BEAT;
        }
    }

    fn tick(&mut self, now: u32, commands: &mut Commands) {
        let mut left = self.streams.len() / BEAT_SHARE;
        for step in 0..self.streams.len() {
            let at = (self.cursor + step) % self.streams.len();
            let stream = &mut self.streams[at];
            if now < stream.starts_at || now < stream.renew_at {
                continue;
            }
            if left == 0 {
                self.cursor = at;
                return;
            }
            left -= 1;
            match std::mem::take(&mut stream.is_provisional) {
                true => commands.acquire(now, stream.shard),
                false => commands.renew(now, stream.shard),
            }
            stream.renew_at = now + jittered(&mut self.rng);
        }
    }
}

impl Stream {
    fn new(fleet: &Fleet, scenario: &Scenario, rng: &mut StdRng) -> Self {
        let starts_at = match scenario.outage {
            Some((from, to)) if rng.random_ratio(1, 100) => rng.random_range(from..to),
            _ => rng.random_range(0..scenario.ramp),
        };
        let shard = rng.random_range(0..fleet.shards) as u16;
        Self { starts_at, renew_at: 0, shard, is_provisional: false }
    }
}

fn jittered(rng: &mut StdRng) -> u32 {
    rng.random_range(THIRD - THIRD / 5..THIRD + THIRD / 5)
}

impl Scenario {
    fn is_out(&self, now: u32) -> bool {
        self.outage.is_some_and(|(from, to)| (from..to).contains(&now))
    }
}

impl Commands {
    fn new(shards: usize, end: u32) -> Self {
        let cells = (end / TICK) as usize * shards;
        Self { shards, acquires: vec![0; cells], renewals: vec![0; cells] }
    }

    fn cell(&self, now: u32, shard: u16) -> usize {
        (now / TICK) as usize * self.shards + usize::from(shard)
    }

    fn acquire(&mut self, now: u32, shard: u16) {
        let cell = self.cell(now, shard);
        self.acquires[cell] += 1;
    }

    fn renew(&mut self, now: u32, shard: u16) {
        let cell = self.cell(now, shard);
        self.renewals[cell] += 1;
    }

    fn add(&mut self, other: &Commands) {
        let pairs = self.acquires.iter_mut().zip(&other.acquires);
        pairs.for_each(|(sum, more)| *sum += more);
        let pairs = self.renewals.iter_mut().zip(&other.renewals);
        pairs.for_each(|(sum, more)| *sum += more);
    }

    /// What each shard did in one second.
    fn second(&self, counts: &[u32], at: u32) -> Vec<u64> {
        let ticks = (at * TICKS_PER_SECOND) as usize..((at + 1) * TICKS_PER_SECOND) as usize;
        let of_shard = |shard: usize| {
            ticks.clone().map(|tick| u64::from(counts[tick * self.shards + shard])).sum()
        };
        (0..self.shards).map(of_shard).collect()
    }

    /// Each shard's commands in one second, and the share of a core that they take.
    fn load(&self, at: u32) -> Vec<(u64, f64)> {
        let acquires = self.second(&self.acquires, at);
        let renewals = self.second(&self.renewals, at);
        let load = |(acquires, renewals): (&u64, &u64)| {
            let us = *acquires as f64 * ACQUIRE_US + *renewals as f64 * RENEWAL_US;
            (acquires + renewals, us / 1e6)
        };
        acquires.iter().zip(&renewals).map(load).collect()
    }
}
