//! The command line. Data goes to stdout, words to stderr.
//!
//! Exit codes: 0 good, 1 the world broke, 64 usage, 75 a stop cut requests off, 78 the
//! configuration is wrong (sysexits.h).

mod arguments;
mod ask_admin;
mod log;
mod reload;
mod revoke;
mod token;
mod upgrade;

use crate::config::{self, Loaded};
use crate::denial;
use crate::fetch::{Fetcher, Link};
use crate::gateway::{self, Gateway, Shared};
use crate::metrics::{self, Metrics};
use crate::observe::access;
use crate::problem::Report;
use crate::server::{
    self, Inherited, ProcessContext, Program, Running, Signals, Source, StartError,
};
use crate::yaml::Environment;
use clap::parser::ValueSource;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// How a verb ended.
const USAGE: u8 = 64;
const CONFIG: u8 = 78;
const CUT: u8 = 75;

/// The longest answer of a health check that is read, in bytes.
const HEALTH_BYTES_MAX: usize = 4 * 1024;
const FAILED: u8 = 1;

/// An edge gateway for video platforms: sessions, concurrent-stream leases, YAML routes.
#[derive(Debug, Parser)]
#[command(name = "streamgate", version, after_help = arguments::MORE)]
struct Cli {
    /// The configuration.
    #[arg(
        short = 'c',
        short_alias = 'f',
        long,
        global = true,
        env = "STREAMGATE_CONFIG",
        default_value = "config/gateway.yaml",
        value_name = "FILE"
    )]
    config: PathBuf,
    /// Check the configuration; the same as the verb `check`.
    #[arg(short = 't', long = "test-config")]
    is_test: bool,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the gateway (the default).
    Run(Run),
    /// Check the configuration offline; tells every problem with its line.
    #[command(alias = "validate", alias = "configtest")]
    Check(Check),
    /// List the routes in the order in which they are preferred.
    Routes(Listing),
    /// Print the JSON Schema of the configuration, for editors.
    Schema,
    /// Mint a session token for development, signed with the configuration's secret.
    Token(token::Options),
    /// List every refusal that a client can get.
    Denials(Listing),
    /// List every metric.
    Metrics(Listing),
    /// End a session, or all of an account, at every gateway that shares the store.
    Revoke(revoke::Options),
    /// Have the running gateway read its configuration again; says what is wrong with it.
    Reload(ask_admin::AdminOptions),
    /// Have another process take the place of the running gateway, without a connection lost: the
    /// program that stands where it was started from.
    Upgrade(ask_admin::AdminOptions),
    /// Ask the running gateway whether it is alive; for containers.
    Healthcheck,
    /// Print the version; the same as `--version`.
    #[command(hide = true)]
    Version,
}

impl Verb {
    /// What a verb is called that reads no configuration.
    fn reading_none(&self) -> Option<&'static str> {
        match self {
            Verb::Schema => Some("schema"),
            Verb::Denials(_) => Some("denials"),
            Verb::Metrics(_) => Some("metrics"),
            Verb::Version => Some("version"),
            _ => None,
        }
    }
}

#[derive(Args, Debug, Default)]
struct Check {
    /// `json`: what is wrong as data on stdout, for pipelines and editors.
    #[arg(long, value_enum, default_value_t = Words::Text)]
    format: Words,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Words {
    #[default]
    Text,
    Json,
}

#[derive(Args, Debug)]
struct Run {
    /// How long requests under way may take to end when the gateway stops: `30s`, `5m`, or a number
    /// of seconds; left out, `drain.timeout` of the configuration.
    #[arg(long, value_name = "TIME", value_parser = arguments::span)]
    drain: Option<Duration>,
}

#[derive(Args, Debug)]
struct Listing {
    #[arg(long, value_enum, default_value_t = Format::Markdown)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Markdown,
    Json,
}

/// Why a verb failed, with what is printed.
enum Failure {
    Config(Report),
    /// The configuration is wrong, and that was printed.
    Told,
    Usage(String),
    Other(String),
    /// The gateway stopped and cut requests off; the log has said so.
    Cut,
}

impl Failure {
    /// What is printed.
    fn words(&self) -> String {
        match self {
            Failure::Config(report) => report.to_string(),
            Failure::Usage(why) | Failure::Other(why) => why.clone(),
            Failure::Told | Failure::Cut => String::new(),
        }
    }
}

impl From<Report> for Failure {
    fn from(report: Report) -> Self {
        Failure::Config(report)
    }
}

/// Reads the arguments and does what they say.
pub fn main() -> ExitCode {
    let read = Cli::command().try_get_matches();
    let read = read.and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
    let (cli, matches) = match read {
        Ok(read) => read,
        Err(error) => {
            let code = if error.use_stderr() { USAGE } else { 0 };
            match arguments::no_verb(&error) {
                Some(told) => say(&told.to_string()),
                // If the terminal is gone, nobody can read why.
                None => drop(error.print()),
            }
            return ExitCode::from(code);
        }
    };
    let is_named = matches.value_source("config") == Some(ValueSource::CommandLine);
    exit(match cli.verb.as_ref().and_then(Verb::reading_none).filter(|_| is_named) {
        Some(verb) => {
            let why = format!("`{verb}` reads no configuration: leave `--config` out");
            Err(Failure::Usage(why))
        }
        None => do_verb(&cli),
    })
}

/// Does what the arguments say.
fn do_verb(cli: &Cli) -> Result<(), Failure> {
    match &cli.verb {
        Some(Verb::Check(options)) => check(cli, options.format),
        _ if cli.is_test => check(cli, Words::Text),
        None => run(cli, None),
        Some(Verb::Run(options)) => run(cli, options.drain),
        Some(Verb::Version) => print(concat!("streamgate ", env!("CARGO_PKG_VERSION"), "\n")),
        Some(Verb::Routes(listing)) => routes(cli, listing.format),
        Some(Verb::Schema) => print(&pretty(&config::schema())),
        Some(Verb::Token(options)) => mint(cli, options),
        Some(Verb::Denials(listing)) => match listing.format {
            Format::Markdown => print(&denial::as_markdown()),
            Format::Json => print(&pretty(&denial::as_json())),
        },
        Some(Verb::Metrics(listing)) => {
            let families = &Metrics::new().families;
            match listing.format {
                Format::Markdown => print(&metrics::as_markdown(families)),
                Format::Json => print(&pretty(&metrics::as_json(families))),
            }
        }
        Some(Verb::Revoke(options)) => {
            let load = || load(cli).map_err(Failure::Config);
            revoke::revoke(options, load).and_then(|answer| {
                print(&pretty(&answer))?;
                say("streamgate: revoked, at every gateway that shares the store");
                Ok(())
            })
        }
        Some(Verb::Reload(options)) => {
            let load = || load(cli).map_err(Failure::Config);
            print(&pretty(&reload::reload(options, load)?))
        }
        Some(Verb::Upgrade(options)) => {
            let load = || load(cli).map_err(Failure::Config);
            print(&pretty(&upgrade::upgrade(options, load)?))
        }
        Some(Verb::Healthcheck) => healthcheck(cli),
    }
}

/// Says why a verb failed, and how the process ends.
fn exit(done: Result<(), Failure>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Told) => ExitCode::from(CONFIG),
        Err(Failure::Config(report)) => {
            say(&report.to_string());
            ExitCode::from(CONFIG)
        }
        Err(Failure::Usage(why)) => {
            say(&format!("streamgate: {why}"));
            ExitCode::from(USAGE)
        }
        Err(Failure::Other(why)) => {
            say(&format!("streamgate: {why}"));
            ExitCode::from(FAILED)
        }
        Err(Failure::Cut) => ExitCode::from(CUT),
    }
}

fn load(cli: &Cli) -> Result<Loaded, Report> {
    gateway::load(&cli.config, &Environment::of_process())
}

/// Reads the same file as [`load`], for a gateway that runs.
fn load_again(file: PathBuf) -> Box<dyn Fn() -> Result<Loaded, Report> + Send + Sync> {
    Box::new(move || gateway::load(&file, &Environment::of_process()))
}

fn compile(loaded: &Loaded) -> Result<(Gateway, Report), Report> {
    Gateway::compile(loaded, &Shared::default(), &Metrics::new())
}

fn pretty(value: &serde_json::Value) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("a value is JSON");
    text.push('\n');
    text
}

/// Words for people. If the terminal is gone, nobody can read them, and nothing else is wrong.
fn say(words: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{words}");
}

fn print(text: &str) -> Result<(), Failure> {
    use std::io::Write;
    let written = std::io::stdout().write_all(text.as_bytes());
    written.map_err(|error| Failure::Other(format!("can't write: {error}")))
}

fn run(cli: &Cli, timeout: Option<Duration>) -> Result<(), Failure> {
    // Dropped last: then the last line is written.
    let _log = log::open()?;
    // Before anything runs: a signal that comes early must not end the process by itself either.
    let signals = Signals::open();
    let signals = signals.map_err(|error| Failure::Other(format!("no signals: {error}")))?;
    let version = std::env::var(server::CHANNEL_VARIABLE).ok();
    let inherited = Inherited::of_process(version.as_deref());
    let mut inherited = inherited.map_err(|error| {
        Failure::Other(format!("the sockets that this process was given: {error}"))
    })?;
    let running = match start(cli, &mut inherited) {
        Ok(running) => running,
        Err(failure) => {
            inherited.tell_failed(&failure.words());
            return Err(failure);
        }
    };
    inherited.tell_ready().map_err(|error| {
        Failure::Other(format!("the gateway whose place this one was to take has gone: {error}"))
    })?;
    match running.run(signals, timeout).cut {
        0 => Ok(()),
        _ => Err(Failure::Cut),
    }
}

fn start(cli: &Cli, inherited: &mut Inherited) -> Result<Running, Failure> {
    let source = Source::new(cli.config.clone(), load_again(cli.config.clone()));
    let process = ProcessContext { program: Program::new(std::env::args_os()), inherited };
    server::start_process(load(cli)?, source, process).map_err(|error| match error {
        StartError::Config(report) => Failure::Config(report),
        other => Failure::Other(other.to_string()),
    })
}

fn check(cli: &Cli, format: Words) -> Result<(), Failure> {
    let loaded = load(cli);
    let checked = loaded.and_then(|loaded| Ok((compile(&loaded)?, loaded)));
    if format == Words::Json {
        let report = checked.as_ref().map_or_else(|report| report, |((_, report), _)| report);
        print(&pretty(&report.as_json()))?;
        return checked.map(|_| ()).map_err(|_| Failure::Told);
    }
    let ((gateway, report), loaded) = checked?;
    if !report.problems.is_empty() {
        say(&report.to_string());
    }
    if let access::Target::File(path) = &loaded.config.access_log.to {
        // A relative path begins at the configuration, which is easy to get wrong.
        let path = loaded.base_dir().join(&path.0);
        say(&format!("lines of the access log go to {}", path.display()));
    }
    for listener in loaded.config.listeners.iter() {
        // Whatever is wrong with it was told already.
        let compiled = listener.compile(0, loaded.base_dir()).ok();
        let tls = compiled.and_then(|(listener, _)| listener.tls);
        for line in tls.iter().flat_map(|tls| tls.describe()) {
            say(&format!("{}: {line}", listener.name.0));
        }
    }
    let (routes, upstreams) = (gateway.table.iter().count(), gateway.upstreams.len());
    let file = cli.config.display();
    say(&format!("{file} is good: {routes} routes, {upstreams} upstreams"));
    Ok(())
}

fn routes(cli: &Cli, format: Format) -> Result<(), Failure> {
    let (gateway, _) = compile(&load(cli)?)?;
    let rows = gateway.route_summaries();
    match format {
        Format::Json => print(&pretty(&rows.iter().map(|row| row.as_json()).collect())),
        Format::Markdown => {
            let mut table = String::from(
                "| route | line | hosts | path | conditions | filters | leads to |\n\
                 |---|---|---|---|---|---|---|\n",
            );
            for row in rows {
                table += &row.as_markdown();
            }
            print(&table)
        }
    }
}

fn mint(cli: &Cli, options: &token::Options) -> Result<(), Failure> {
    let token = token::mint(&load(cli)?.config, options)?;
    print(&format!("{token}\n"))
}

fn healthcheck(cli: &Cli) -> Result<(), Failure> {
    let loaded = load(cli)?;
    let admin = &loaded.config.admin;
    let (address, token) = (ask_admin::reachable(admin.address.0), admin.token.as_ref());
    let failed = |why: String| Failure::Other(format!("{address} is not well: {why}"));
    let link = Link::of_own(address, "/healthz").map_err(|why| failed(why.to_owned()))?;
    let fetcher = Fetcher::open(&link).map_err(|error| failed(error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(error.to_string()))?;
    // It answers without a token, too; one of another version may not.
    let asked = fetcher.ask(token.map(|token| token.reveal()), HEALTH_BYTES_MAX);
    runtime.block_on(asked).map_err(|error| failed(error.to_string()))?;
    Ok(())
}
