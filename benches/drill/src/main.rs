//! `drill`: takes Redis away from two real gateways under load, in every way that a Redis goes, and
//! says what viewers noticed. Ends with an error when a promise was broken.
//!
//! It judges promises, not speed; what a request costs is `benches/load`'s subject. What it said,
//! and on what machine, is in docs/failure.md.

mod busy;
mod clients;
mod fault;
mod fleet;
mod gateway;
mod heal;
mod node;
mod report;
mod scenario;
mod verdict;

use clap::{Parser, ValueEnum};
use fleet::Kind;
use load::bench::{Bench, free_address};
use std::error::Error;
use std::path::PathBuf;

/// What viewers notice while a store fails.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only these kinds of store; by default all.
    #[arg(long, value_enum)]
    only: Vec<Kind>,
    /// Accounts; each has one player at either gateway and so is full.
    #[arg(long, default_value_t = 500)]
    accounts: usize,
    /// Third devices that try to start all the time.
    #[arg(long, default_value_t = 100)]
    third_devices: usize,
    /// A gateway that is built already, instead of this workspace's.
    #[arg(long)]
    gateway: Option<PathBuf>,
    /// A gateway of another version, which is the second of the two.
    #[arg(long)]
    other_gateway: Option<PathBuf>,
    /// Instead: a machine that is busy and a Redis that is well; then take-overs.
    #[arg(long, conflicts_with = "only")]
    busy: bool,
    /// Instead: one of three endpoints of an upstream falls ill; the picture goes here.
    #[arg(long, value_name = "SVG", conflicts_with_all = ["only", "busy"])]
    heal: Option<PathBuf>,
}

/// A folder of this run, gone with it.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // A leftover folder of a few kilobytes in the temporary directory harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let program = match arguments.gateway {
        Some(program) => program,
        None => {
            load::environment::build(&["streamgate"], &[])?;
            load::environment::programs()?.join("streamgate")
        }
    };
    let folder = Folder(std::env::temp_dir().join(format!("drill-{}", std::process::id())));
    let origin = free_address()?;
    std::thread::spawn(move || load::origin::run(origin));
    let kinds = match arguments.only.as_slice() {
        [] => Kind::value_variants().to_vec(),
        some => some.to_vec(),
    };
    let setup = scenario::Setup {
        bench: Bench::find(false),
        other_program: arguments.other_gateway.unwrap_or_else(|| program.clone()),
        program,
        folder: folder.0.clone(),
        origin,
        accounts: arguments.accounts,
        third_devices: arguments.third_devices.min(arguments.accounts),
    };
    let mut broken = Vec::new();
    if let Some(picture) = &arguments.heal {
        report::machine();
        broken.extend(heal::run(&setup, picture).await?);
    } else if arguments.busy {
        report::machine();
        broken.extend(busy::run(&setup).await?);
    } else {
        report::head(&setup);
        for kind in kinds {
            broken.extend(scenario::run(&setup, kind).await?);
        }
    }
    report::end(&broken);
    if broken.is_empty() { Ok(()) } else { Err("promises were broken".into()) }
}
