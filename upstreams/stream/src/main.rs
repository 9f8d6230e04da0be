//! The stream service as a program: its settings, from flags and environment. What it serves is in
//! the library, and what every service does as a program is in the crate `program`.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use stream::{Clock, Name, Settings};

const NAME: &str = "stream";

/// Live and on-demand HLS that really plays, behind a gateway.
#[derive(Parser)]
#[command(name = "stream", version)]
struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Where to listen.
    #[arg(long, env = "STREAM_LISTEN", default_value = "127.0.0.1:4002", global = true)]
    listen: SocketAddr,
    /// Live events, by name.
    #[arg(long = "event", env = "STREAM_EVENTS", value_delimiter = ',', global = true)]
    #[arg(default_values = ["final", "derby"])]
    events: Vec<Name>,
    /// On-demand titles, by name.
    #[arg(long = "title", env = "STREAM_TITLES", value_delimiter = ',', global = true)]
    #[arg(default_values = ["replay"])]
    titles: Vec<Name>,
    /// Serve /faults/…, which hangs and breaks on request. For tests only.
    #[arg(long, env = "STREAM_FAULTS", global = true)]
    faults: bool,
    /// What this replica calls itself.
    #[arg(long, env = "STREAM_REPLICA", default_value = "stream", global = true)]
    replica: String,
}

#[derive(Subcommand)]
enum Verb {
    /// Serve (the default).
    Run,
    /// Ask the service at --listen whether it is well; exit 0 or 1.
    Healthcheck,
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(refusal) => return program::refuse(&refusal),
    };
    match arguments.verb {
        Some(Verb::Healthcheck) => program::ask(arguments.listen),
        None | Some(Verb::Run) => program::run(NAME, serve(arguments)),
    }
}

async fn serve(arguments: Arguments) -> Result<(), String> {
    let Arguments { listen, events, titles, faults, replica, .. } = arguments;
    program::on_one_side("--event", events.len())?;
    program::on_one_side("--title", titles.len())?;
    if faults {
        eprintln!("stream: /faults is on: this replica hangs and breaks on request");
    }
    let router = stream::app(Settings { events, titles, faults, replica, clock: Clock::Wall });
    program::serve(NAME, listen, router).await
}
