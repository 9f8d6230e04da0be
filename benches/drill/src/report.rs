//! What is printed: Markdown, ready for docs/failure.md.

use crate::fault::Fault;
use crate::fleet::Kind;
use crate::gateway::TTL;
use crate::scenario::Setup;
use crate::verdict::{Broken, Summary};
use std::collections::BTreeMap;
use std::time::Duration;

const COLUMNS: [&str; 13] = [
    "store",
    "what happened",
    "away",
    "answers",
    "holders interrupted",
    "third devices let in",
    "healed after",
    "longest answer",
    "over 50 ms",
    "origin alone",
    "most provisional",
    "accounts over the limit at the end",
    "degraded",
];

/// On what.
pub(crate) fn machine() {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map_or("unknown processor", |(_, name)| name.trim());
    let load = read("/proc/loadavg");
    let cores = load::bench::cores();
    let load = load.split(' ').next().unwrap_or_default();
    println!("{model}, {cores} cores, load before {load}.");
}

/// On what, and the head of the table.
pub(crate) fn head(setup: &Setup) {
    machine();
    let ttl = TTL.as_secs();
    println!(
        "2 gateways, {} accounts with 2 players each, {} third devices, a request a second each; \
         ttl {ttl} s.\n",
        setup.accounts, setup.third_devices,
    );
    println!("| {} |", COLUMNS.join(" | "));
    println!("|{}", "---|".repeat(COLUMNS.len()));
}

/// One fault.
pub(crate) fn row(kind: Kind, fault: Fault, row: &Summary) {
    let store = match kind {
        Kind::Durable => "one, AOF",
        Kind::Forgetful => "one, no disk",
        Kind::Sentinel => "Sentinel",
        Kind::Cluster => "Cluster",
    };
    let let_in = match row.let_in_healthy {
        0 => row.let_in.to_string(),
        late => format!("{}, {late} late ({} started alone)", row.let_in, row.alone_late),
    };
    let cells = [
        store.to_owned(),
        fault.words().to_owned(),
        seconds(row.away),
        counts(&row.answers),
        if row.interrupted.is_empty() { "0".to_owned() } else { counts(&row.interrupted) },
        let_in,
        seconds(row.healed),
        millis(row.longest),
        row.waited.to_string(),
        millis(row.origin_longest),
        row.provisional.to_string(),
        row.over.to_string(),
        format!("{:.1} s", row.degraded_s),
    ];
    println!("| {} |", cells.join(" | "));
}

/// What did not hold.
pub(crate) fn end(broken: &[Broken]) {
    println!();
    for Broken(what) in broken {
        println!("- broken: {what}");
    }
}

fn counts(of: &BTreeMap<u16, usize>) -> String {
    let all = of.iter().map(|(status, count)| match status {
        0 => format!("none: {count}"),
        status => format!("{status}: {count}"),
    });
    all.collect::<Vec<_>>().join(", ")
}

fn seconds(of: Duration) -> String {
    format!("{:.1} s", of.as_secs_f64())
}

fn millis(of: Duration) -> String {
    format!("{} ms", of.as_millis())
}
