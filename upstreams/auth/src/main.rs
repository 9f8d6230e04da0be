//! The auth service as a program: verbs, one listener, a clean stop. What it serves is in the
//! library, how settings are read is in `arguments.rs`.

mod arguments;
mod healthcheck;

use std::io::{BufRead, IsTerminal};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use auth::AccountsAt;
use auth::account::{Account, Accounts};
use auth::password::{HashCost, Password, Passwords};
use clap::Parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::arguments::{AddAccount, Arguments, Verb};

/// Bad settings: `EX_CONFIG` of sysexits.h.
const EXIT_SETTINGS: u8 = 78;
/// A command line that cannot be understood: `EX_USAGE`.
const EXIT_USAGE: u8 = 64;
/// How long open requests may take to end after a signal.
const DRAIN: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(refusal) => return refuse(&refusal),
    };
    let listen = arguments.listen;
    let runtime = tokio::runtime::Runtime::new().expect("the machine can start threads");
    let done = match arguments.verb {
        Some(Verb::Healthcheck) => return healthcheck::ask(listen),
        Some(Verb::AddAccount(asked)) => runtime.block_on(add_account(asked)),
        None | Some(Verb::Run) => runtime.block_on(serve(arguments)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("auth: {problem}");
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
    tracing_subscriber::fmt().json().with_writer(std::io::stderr).init();
    let listen = arguments.listen;
    let settings = arguments.settings()?;
    let router = auth::app(settings).await.map_err(|problem| problem.to_string())?;
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|problem| format!("cannot listen on {listen}: {problem}"))?;
    let address = listener.local_addr().map_err(|problem| problem.to_string())?;
    eprintln!("auth: listening on http://{address}");
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

/// Adds an account to a file database; the running service sees it at once.
async fn add_account(asked: AddAccount) -> Result<(), String> {
    let text = |problem: &dyn std::error::Error| problem.to_string();
    let name = asked.name.parse().map_err(|problem| text(&problem))?;
    let account = Account::new(name, &asked.tier, asked.max_streams).map_err(|e| text(&e))?;
    let password = match asked.password {
        Some(password) => password,
        None => first_line()?,
    };
    let password = Password::parse(password).map_err(|e| text(&e))?;
    let passwords = Passwords::open(HashCost::default()).await.map_err(|e| text(&e))?;
    let hash = passwords.hash(password).await.map_err(|e| text(&e))?;
    let at = AccountsAt::File(asked.accounts);
    let accounts = Accounts::open(&at).await.map_err(|e| text(&e))?;
    let name = account.name.clone();
    let added = if asked.replace {
        accounts.replace(account, hash).await
    } else {
        accounts.add(account, hash).await
    };
    added.map_err(|e| text(&e))?;
    eprintln!("auth: the account {name} can log in");
    Ok(())
}

/// The password, from standard input: arguments can be read by everybody on the machine.
fn first_line() -> Result<String, String> {
    let input = std::io::stdin();
    if input.is_terminal() {
        eprintln!("auth: the password, then Enter (it is shown as you type):");
    }
    let mut line = String::new();
    input.lock().read_line(&mut line).map_err(|problem| format!("no password: {problem}"))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
