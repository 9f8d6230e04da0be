//! The stream service as a program: settings from flags and environment, one listener, a clean
//! stop. What it serves is in the library.

mod healthcheck;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use stream::{Clock, Name, Settings};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Bad settings: `EX_CONFIG` of sysexits.h.
const EXIT_SETTINGS: u8 = 78;
/// A command line that cannot be understood: `EX_USAGE`.
const EXIT_USAGE: u8 = 64;
/// How long open requests may take to end after a signal.
const DRAIN: Duration = Duration::from_secs(10);

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
    #[arg(long = "event", env = "STREAM_EVENTS", value_delimiter = ',')]
    #[arg(default_values = ["final", "derby"])]
    events: Vec<Name>,
    /// On-demand titles, by name.
    #[arg(long = "title", env = "STREAM_TITLES", value_delimiter = ',')]
    #[arg(default_values = ["replay"])]
    titles: Vec<Name>,
    /// Serve /faults/…, which hangs and breaks on request. For tests only.
    #[arg(long, env = "STREAM_FAULTS")]
    faults: bool,
    /// What this replica calls itself.
    #[arg(long, env = "STREAM_REPLICA", default_value = "stream")]
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
        Err(refusal) => return refuse(&refusal),
    };
    if let Some(Verb::Healthcheck) = arguments.verb {
        return healthcheck::ask(arguments.listen);
    }
    let runtime = tokio::runtime::Runtime::new().expect("the machine can start threads");
    match runtime.block_on(serve(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("stream: {problem}");
            ExitCode::from(EXIT_SETTINGS)
        }
    }
}

/// Help goes out with 0; a value that cannot be is a bad setting; the rest is bad usage.
fn refuse(refusal: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind as Kind;
    // Nothing can be done about a terminal that went away.
    let _ = refusal.print();
    match refusal.kind() {
        Kind::DisplayHelp | Kind::DisplayVersion => ExitCode::SUCCESS,
        Kind::ValueValidation | Kind::InvalidValue => ExitCode::from(EXIT_SETTINGS),
        _ => ExitCode::from(EXIT_USAGE),
    }
}

async fn serve(arguments: Arguments) -> Result<(), String> {
    let Arguments { listen, events, titles, faults, replica, .. } = arguments;
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|problem| format!("cannot listen on {listen}: {problem}"))?;
    let address = listener.local_addr().map_err(|problem| problem.to_string())?;
    eprintln!("stream: listening on http://{address}");
    if faults {
        eprintln!("stream: /faults is on: this replica hangs and breaks on request");
    }
    let router = stream::app(Settings { events, titles, faults, replica, clock: Clock::Wall });
    let stopping = stop_signal().map_err(|problem| format!("cannot hear signals: {problem}"))?;
    let heard = |mut stopping: watch::Receiver<bool>| async move {
        // An error means that nobody can stop us any more; then nobody has.
        let _ = stopping.wait_for(|is_stopping| *is_stopping).await;
    };
    let drained = axum::serve(listener, router).with_graceful_shutdown(heard(stopping.clone()));
    tokio::select! {
        ended = async { drained.await } => ended.map_err(|problem| problem.to_string()),
        () = async { heard(stopping).await; tokio::time::sleep(DRAIN).await } => Ok(()),
    }
}

/// Becomes true at SIGTERM or Ctrl-C.
fn stop_signal() -> std::io::Result<watch::Receiver<bool>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        // Nobody listening any more means that the program is ending anyway.
        let _ = sender.send(true);
    });
    Ok(receiver)
}
