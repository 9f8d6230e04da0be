//! `load`: what a request through the gateway costs, beside a bare Pingora proxy.
//! See benches/README.md for the method.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, Subcommand};
use load::bench::{Bench, Place, Process, free_address};
use load::contest::{self, Contender, Effort, Load};
use load::{report, settings, wire};

#[derive(Debug, Parser)]
struct Arguments {
    /// How often everybody's turn comes.
    #[arg(long, default_value_t = 7, global = true)]
    rounds: usize,
    /// Milliseconds that count of each turn.
    #[arg(long, default_value_t = 1000, global = true)]
    slice_ms: u64,
    /// Ordinary priority, where other programs must not be disturbed.
    #[arg(long, global = true)]
    polite: bool,
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Which allocator, runtime and buffers a proxy on Pingora should have.
    Settings {
        /// Only these families of settings.
        #[arg(long)]
        only: Vec<String>,
    },
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let bench = Bench::find(!arguments.polite);
    bench.take_seat(Place::World)?;
    let effort = Effort {
        rounds: arguments.rounds,
        measure: Duration::from_millis(arguments.slice_ms),
        warm: Duration::from_millis(arguments.slice_ms / 5),
    };
    match arguments.task {
        Task::Settings { only } => compare_settings(bench, effort, &only),
    }
}

fn programs() -> io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    Ok(own.parent().map(Path::to_path_buf).unwrap_or_default())
}

fn start_origin(bench: Bench) -> io::Result<Process> {
    let address = free_address()?;
    let program = programs()?.join("origin");
    bench.start(&program, &[address.to_string()], &[], Place::World, address)
}

fn compare_settings(bench: Bench, effort: Effort, only: &[String]) -> io::Result<()> {
    let origin = start_origin(bench)?;
    let wanted = |family: &&settings::Family| {
        only.is_empty() || only.iter().any(|name| name == family.name)
    };
    for family in settings::FAMILIES.iter().filter(wanted) {
        let place = if family.threads > 1 { Place::Anywhere } else { Place::Contender };
        for path in family.paths {
            let start = |variant: &settings::Variant| -> io::Result<Contender> {
                let address = free_address()?;
                let mut flags = vec![address.to_string(), origin.address.to_string()];
                flags.extend(variant.flags.iter().map(ToString::to_string));
                flags.extend(["--threads".to_owned(), family.threads.to_string()]);
                let program = programs()?.join(variant.program);
                let process = bench.start(&program, &flags, &[], place, address)?;
                let requests = vec![wire::get(address, path, family.headers)];
                Ok(Contender { name: variant.name.to_owned(), process, requests })
            };
            let contenders =
                family.variants.iter().map(start).collect::<io::Result<Vec<_>>>()?;
            let load = Load {
                name: format!("{} {path}", family.name),
                connections: 64,
                reconnect: family.reconnect,
                rate: None,
            };
            let scores = contest::run(&load, &contenders, &[origin.id()], effort)?;
            report::costs(&load, &scores);
        }
    }
    Ok(())
}
