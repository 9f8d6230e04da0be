//! What makes a service a program: exit codes, one listener, a clean stop, and the question of a
//! container whether it is well. What a service serves and how it is set is its own.

mod healthcheck;

pub use healthcheck::ask;

use axum::Router;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Bad settings: `EX_CONFIG` of sysexits.h.
const EXIT_SETTINGS: u8 = 78;
/// A command line that cannot be understood: `EX_USAGE`.
const EXIT_USAGE: u8 = 64;
/// How long open requests may take to end after a signal.
const DRAIN: Duration = Duration::from_secs(10);

/// Help goes out with 0; a value that cannot be is a bad setting; the rest is bad usage.
pub fn refuse(refusal: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind as Kind;
    // Nothing can be done about a terminal that went away.
    let _ = refusal.print();
    match refusal.kind() {
        Kind::DisplayHelp | Kind::DisplayVersion => ExitCode::SUCCESS,
        Kind::ValueValidation | Kind::InvalidValue => ExitCode::from(EXIT_SETTINGS),
        _ => ExitCode::from(EXIT_USAGE),
    }
}

/// Whether an option that may be repeated was `heard` as often as it was written. Options stand
/// before the verb or after it, and of a list on both sides clap keeps one.
pub fn on_one_side(option: &str, heard: usize) -> Result<(), String> {
    let with_value = format!("{option}=");
    let is_it = |word: &String| word == option || word.starts_with(&with_value);
    match std::env::args().filter(is_it).count() <= heard {
        true => Ok(()),
        false => Err(format!("write every {option} on the same side of the verb")),
    }
}

/// Runs `work` to its end; what went wrong is one sentence of the service `name`.
pub fn run(name: &str, work: impl Future<Output = Result<(), String>>) -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("the machine can start threads");
    match runtime.block_on(work) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{name}: {problem}");
            ExitCode::from(EXIT_SETTINGS)
        }
    }
}

/// Listens, says so in the name of the service `name`, and serves until a signal comes.
pub async fn serve(name: &str, listen: SocketAddr, router: Router) -> Result<(), String> {
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|problem| format!("cannot listen on {listen}: {problem}"))?;
    let address = listener.local_addr().map_err(|problem| problem.to_string())?;
    eprintln!("{name}: listening on http://{address}");
    let stopping = stop_signal().map_err(|problem| format!("cannot hear signals: {problem}"))?;
    let heard = |mut stopping: watch::Receiver<bool>| async move {
        // An error means that nobody can stop us any more; then nobody has.
        let _ = stopping.wait_for(|is_stopping| *is_stopping).await;
    };
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let drained = axum::serve(listener, service).with_graceful_shutdown(heard(stopping.clone()));
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
