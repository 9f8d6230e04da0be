//! `scale`: measures what a lease costs a Redis and a gateway, and works out from it what an event
//! of millions asks of both. Prints Markdown; `docs/scale.md` has what it said and the method.
//!
//! It measures parts and simulates the whole; what a request costs is `benches/load`'s subject.

mod curve;
mod event;
mod node_cost;
mod redis_cost;
mod server;

use clap::{Parser, Subcommand};
use std::error::Error;
use std::path::PathBuf;

/// As in the gateway: what a lease takes in memory depends on who hands it out.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What a lease costs, and what an event of millions asks for.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Redis: processor time of an acquire and a renewal, memory of an account.
    Redis {
        /// Accounts.
        #[arg(long, default_value_t = 100_000)]
        accounts: usize,
    },
    /// One gateway: memory of a lease, the renewer's tick, and whom it delays.
    Node {
        /// Leases.
        #[arg(long, default_value_t = 1_000_000)]
        leases: usize,
    },
    /// A kick-off and an outage, simulated.
    Event {
        /// Streams that play at once.
        #[arg(long, default_value_t = 10_000_000)]
        streams: usize,
        /// Redis primaries.
        #[arg(long, default_value_t = 8)]
        shards: usize,
        /// Gateways.
        #[arg(long, default_value_t = 200)]
        gateways: usize,
        /// Where the curves are written.
        #[arg(long)]
        curves: Option<PathBuf>,
    },
}

fn main() -> Result<(), Box<dyn Error>> {
    match Arguments::parse().task {
        Task::Redis { accounts } => redis_cost::measure(accounts),
        Task::Node { leases } => node_cost::measure(leases),
        Task::Event { streams, shards, gateways, curves } => {
            event::tell(event::Fleet { streams, shards, gateways }, curves.as_deref())
        }
    }
}
