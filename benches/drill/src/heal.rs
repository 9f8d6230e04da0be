//! An upstream that heals: one of three endpoints dies, hangs, slows down or talks nonsense under
//! load, and comes back. What clients notice, and how much of the traffic it has before, meanwhile
//! and after.

mod client;
mod endpoint;
mod picture;

use crate::gateway::{Addresses, Gateway};
use crate::scenario::Setup;
use crate::verdict::Broken;
use client::Seen;
use endpoint::{Endpoint, Mood};
use std::error::Error;
use std::path::Path;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Of which the first is the one that breaks.
const ENDPOINTS: usize = 3;
const CLIENTS: usize = 40;
/// Each client asks so often.
const EVERY: Duration = Duration::from_millis(200);
/// All is well for so long, then one is not, then it is again.
const BEFORE: Duration = Duration::from_secs(6);
const MEANWHILE: Duration = Duration::from_secs(12);
const AFTER: Duration = Duration::from_secs(18);
/// One point of the picture.
pub(crate) const STEP: Duration = Duration::from_millis(500);
/// The share that an endpoint may have at most while it is ill, once that was noticed.
const ILL_SHARE_MAX: f64 = 0.05;
/// And at least when it is back.
const BACK_SHARE_MIN: f64 = 0.20;

const MOODS: [(Mood, &str); 4] = [
    (Mood::Dead, "dies"),
    (Mood::Hanging, "hangs"),
    (Mood::Slow, "takes 500 ms more"),
    (Mood::Mad, "talks nonsense"),
];

/// What happened with one kind of fault.
struct Row {
    words: &'static str,
    seen: Seen,
    /// Requests that reached each endpoint, step by step.
    reached: Vec<Vec<u32>>,
}

impl Row {
    /// The ill endpoint's share of the requests between these times, of all.
    fn share(&self, from: Duration, to: Duration) -> f64 {
        let step = |at: Duration| (at.as_millis() / STEP.as_millis()) as usize;
        let sum = |steps: &Vec<u32>| -> u32 { steps.iter().take(step(to)).skip(step(from)).sum() };
        let all: u32 = self.reached.iter().map(sum).sum();
        f64::from(sum(&self.reached[0])) / f64::from(all.max(1))
    }

    fn broken(&self) -> Vec<Broken> {
        let back = BEFORE + MEANWHILE;
        let ill = self.share(BEFORE + MEANWHILE / 2, back);
        let well = self.share(back + AFTER * 2 / 3, back + AFTER);
        let mut broken = Vec::new();
        let mut tell = |what| broken.push(Broken(what));
        if self.seen.failed != 0 {
            tell(format!("{}: {} requests failed", self.words, self.seen.failed));
        }
        if ILL_SHARE_MAX < ill {
            tell(format!("{}: the ill one has {:.0} %", self.words, ill * 100.0));
        }
        if well < BACK_SHARE_MIN {
            tell(format!("{}: the healed one has {:.0} %", self.words, well * 100.0));
        }
        broken
    }
}

fn configuration((edge, admin): Addresses, endpoints: &[Endpoint]) -> String {
    let all: Vec<String> = endpoints.iter().map(|it| format!("\"{}\"", it.address)).collect();
    let all = all.join(", ");
    format!(
        r#"listeners: [ {{ name: edge, address: "{edge}" }} ]
admin: {{ address: "{admin}" }}
workers: 2
access_log: {{ to: off }}
upstreams:
  three:
    endpoints: [ {all} ]
    timeouts: {{ connect: 500ms, read: 1s }}
    eject: {{ slower: 5, for: 3s, for_max: 5s }}
routes: [ {{ name: all, match: {{ path: "/{{*rest}}" }}, upstream: three }} ]
"#
    )
}

/// Runs all faults, prints a table and draws `picture`. Returns promises that were broken.
pub(crate) async fn run(setup: &Setup, picture: &Path) -> Result<Vec<Broken>, Box<dyn Error>> {
    println!(
        "{ENDPOINTS} endpoints, {CLIENTS} clients that ask every {} ms; ill for {} s.\n",
        EVERY.as_millis(),
        MEANWHILE.as_secs()
    );
    println!("| one of three | answers | failed | share before | meanwhile | after | slowest |");
    println!("|---|---|---|---|---|---|---|");
    let (mut rows, mut broken) = (Vec::new(), Vec::new());
    for (mood, words) in MOODS {
        let row = one(setup, mood, words).await?;
        let back = BEFORE + MEANWHILE;
        println!(
            "| {} | {} | {} | {:.0} % | {:.1} % | {:.0} % | {} ms |",
            row.words,
            row.seen.answers,
            row.seen.failed,
            row.share(Duration::ZERO, BEFORE) * 100.0,
            row.share(BEFORE, back) * 100.0,
            row.share(back + AFTER * 2 / 3, back + AFTER) * 100.0,
            row.seen.slowest.as_millis(),
        );
        broken.extend(row.broken());
        rows.push(row);
    }
    picture::draw(picture, &rows)?;
    Ok(broken)
}

async fn one(setup: &Setup, mood: Mood, words: &'static str) -> Result<Row, Box<dyn Error>> {
    let began = Instant::now();
    let mut endpoints = Vec::new();
    for _ in 0..ENDPOINTS {
        endpoints.push(Endpoint::start(began).await?);
    }
    let text = |addresses| configuration(addresses, &endpoints);
    let gateway = Gateway::start_with(setup.bench, &setup.program, &setup.folder, text)?;
    // The gateway took its time to start.
    let began = Instant::now();
    endpoints.iter().for_each(|endpoint| endpoint.begin(began));
    let end = began + BEFORE + MEANWHILE + AFTER;
    let edge = gateway.edge;
    let clients = (0..CLIENTS).map(|number| {
        let first = began + EVERY * number as u32 / CLIENTS as u32;
        tokio::spawn(client::ask(edge, first, EVERY, end))
    });
    let clients: Vec<_> = clients.collect();
    sleep(BEFORE).await;
    endpoints[0].is(mood);
    sleep(MEANWHILE).await;
    endpoints[0].is(Mood::Well);
    let mut seen = Seen::default();
    for client in clients {
        seen.add(&client.await?);
    }
    let steps = ((end - began).as_millis() / STEP.as_millis()) as usize;
    let reached = endpoints.iter().map(|endpoint| endpoint.reached(steps)).collect();
    drop(gateway);
    Ok(Row { words, seen, reached })
}
