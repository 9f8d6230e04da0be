//! The auth service as a program: its verbs. What it serves is in the library, how settings are
//! read is in `arguments.rs`, and what every service does as a program is in the crate `program`.

mod arguments;

use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;

use auth::AccountsAt;
use auth::account::{Account, Accounts};
use auth::password::{HashCost, Password, Passwords};
use clap::Parser;

use crate::arguments::{AddAccount, Arguments, Verb};

const NAME: &str = "auth";

fn main() -> ExitCode {
    let mut arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(refusal) => return program::refuse(&refusal),
    };
    match arguments.verb.take() {
        Some(Verb::Healthcheck) => program::ask(arguments.listen),
        Some(Verb::AddAccount(asked)) => program::run(NAME, add_account(asked, arguments)),
        None | Some(Verb::Run) => program::run(NAME, serve(arguments)),
    }
}

async fn serve(arguments: Arguments) -> Result<(), String> {
    tracing_subscriber::fmt().json().with_writer(std::io::stderr).init();
    let listen = arguments.listen;
    let settings = arguments.settings()?;
    let router = auth::app(settings).await.map_err(|problem| problem.to_string())?;
    program::serve(NAME, listen, router).await
}

/// Adds an account to a file database; the running service sees it at once.
async fn add_account(asked: AddAccount, arguments: Arguments) -> Result<(), String> {
    let text = |problem: &dyn std::error::Error| problem.to_string();
    let at = match arguments.accounts_at() {
        AccountsAt::Memory => return Err("name the file: --accounts FILE".to_owned()),
        file => file,
    };
    let name = asked.name.parse().map_err(|problem| text(&problem))?;
    let account = Account::new(name, &asked.tier, asked.max_streams).map_err(|e| text(&e))?;
    let password = match asked.password {
        Some(password) => password,
        None => first_line()?,
    };
    let password = Password::parse(password).map_err(|e| text(&e))?;
    let passwords = Passwords::open(HashCost::default()).await.map_err(|e| text(&e))?;
    let hash = passwords.hash(password).await.map_err(|e| text(&e))?;
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
