//! `load`: what a request through the gateway costs, beside a bare Pingora proxy.
//! See benches/README.md for the method.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use load::bench::{Bench, Place};
use load::contest::Effort;
use load::environment::{self, Environment};
use load::{report, tuning, versus};

/// What a request through the gateway costs, beside a bare Pingora proxy in the same run.
#[derive(Debug, Parser)]
struct Arguments {
    /// How often everybody's turn comes: often, and a busy neighbour is in few of the rounds.
    #[arg(long, default_value_t = 25, global = true)]
    rounds: usize,
    /// Milliseconds that count of each turn. The kernel takes 50 ms of each second from programs at
    /// a real-time priority, from whoever runs just then: longer turns are hit more often.
    #[arg(long, default_value_t = 200, global = true)]
    slice_ms: u64,
    /// Only these scenarios (or families of settings); by default all.
    #[arg(long, global = true)]
    only: Vec<String>,
    /// Ordinary priority, where other programs must not be disturbed.
    #[arg(long, global = true)]
    polite: bool,
    /// Use the programs as they were built.
    #[arg(long, global = true)]
    no_build: bool,
    /// A gateway that is built already, instead of this workspace's.
    #[arg(long)]
    gateway: Option<PathBuf>,
    /// A gateway that was built before a change, to stand beside today's in every round.
    #[arg(long)]
    before: Option<PathBuf>,
    #[command(subcommand)]
    task: Option<Task>,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Which allocator, runtime and buffers a proxy on Pingora should have.
    Settings {
        /// Only these bodies: /64b, /64k, /1m.
        #[arg(long)]
        body: Vec<String>,
    },
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    if !arguments.no_build {
        build(&arguments)?;
    }
    let bench = Bench::find(!arguments.polite);
    bench.pin(Place::Rest)?;
    report::place(bench.real_time);
    let effort = Effort {
        rounds: arguments.rounds,
        measure: Duration::from_millis(arguments.slice_ms),
        warm: Duration::from_millis(arguments.slice_ms / 5),
    };
    let environment = Environment::start(bench)?;
    if let Some(Task::Settings { body }) = &arguments.task {
        return tuning::run(&environment, effort, &arguments.only, body);
    }
    let own = || environment::programs().map(|folder| folder.join("streamgate"));
    let gateway = arguments.gateway.map_or_else(own, Ok)?;
    let programs = versus::Programs { gateway, before: arguments.before };
    versus::run(&environment, &programs, effort, &arguments.only)
}

fn build(arguments: &Arguments) -> io::Result<()> {
    if arguments.task.is_some() {
        return environment::build(&["load", "floor"], &["floor/allocators"]);
    }
    environment::build(&["load", "floor"], &[])?;
    // Apart, so that the floor's features stay its own.
    if arguments.gateway.is_none() { environment::build(&["streamgate"], &[]) } else { Ok(()) }
}
