//! The command line. Data goes to stdout, words to stderr.
//!
//! Exit codes: 0 good, 1 the world broke, 64 usage, 78 the configuration is wrong (sysexits.h).

mod revoke;
mod token;

use crate::config::{self, Loaded};
use crate::denial;
use crate::fetch::{Fetcher, Link};
use crate::gateway::{Gateway, Shared};
use crate::metrics::{self, Metrics};
use crate::problem::Report;
use crate::server::{self, StartError};
use crate::yaml::Environment;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tracing_subscriber::EnvFilter;

/// How a verb ended.
const USAGE: u8 = 64;
const CONFIG: u8 = 78;
const FAILED: u8 = 1;

/// What is logged where `RUST_LOG` does not say. Pingora tells as errors what clients and pooled
/// connections do all day: going away. `observe` tells what an operator can act on.
const LOG_FILTER: &str = "info,pingora_proxy=off,pingora_core::connectors=off";

/// An edge gateway for video platforms: sessions, concurrent-stream leases, YAML routes.
#[derive(Debug, Parser)]
#[command(name = "streamgate", version)]
struct Cli {
    /// The configuration.
    #[arg(long, global = true, default_value = "config/gateway.yaml", value_name = "FILE")]
    config: PathBuf,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the gateway (the default).
    Run(Run),
    /// Check the configuration offline; tells every problem with its line.
    Check,
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
    /// Ask the running gateway whether it is alive; for containers.
    Healthcheck,
}

#[derive(Args, Debug, Default)]
struct Run {
    /// How long requests under way may take to end when the gateway stops, in seconds.
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    drain: u64,
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
    Usage(String),
    Other(String),
}

impl From<Report> for Failure {
    fn from(report: Report) -> Self {
        Failure::Config(report)
    }
}

/// Reads the arguments and does what they say.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { USAGE } else { 0 };
            // If the terminal is gone, nobody can read why.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let done = match &cli.verb {
        None => run(&cli, &Run { drain: 30 }),
        Some(Verb::Run(options)) => run(&cli, options),
        Some(Verb::Check) => check(&cli),
        Some(Verb::Routes(listing)) => routes(&cli, listing.format),
        Some(Verb::Schema) => print(&pretty(&config::schema())),
        Some(Verb::Token(options)) => mint(&cli, options),
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
            let load = || load(&cli).map_err(Failure::Config);
            revoke::revoke(options, load).and_then(|answer| {
                print(&pretty(&answer))?;
                eprintln!("streamgate: revoked, at every gateway that shares the store");
                Ok(())
            })
        }
        Some(Verb::Healthcheck) => healthcheck(&cli),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Config(report)) => {
            eprintln!("{report}");
            ExitCode::from(CONFIG)
        }
        Err(Failure::Usage(why)) => {
            eprintln!("streamgate: {why}");
            ExitCode::from(USAGE)
        }
        Err(Failure::Other(why)) => {
            eprintln!("streamgate: {why}");
            ExitCode::from(FAILED)
        }
    }
}

fn load(cli: &Cli) -> Result<Loaded, Report> {
    config::load(&cli.config, &Environment::of_process())
}

fn compile(loaded: &Loaded) -> Result<(Gateway, Report), Report> {
    Gateway::compile(loaded, &Shared::default(), &Metrics::new())
}

fn pretty(value: &serde_json::Value) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("a value is JSON");
    text.push('\n');
    text
}

fn print(text: &str) -> Result<(), Failure> {
    use std::io::Write;
    let written = std::io::stdout().write_all(text.as_bytes());
    written.map_err(|error| Failure::Other(format!("can't write: {error}")))
}

fn run(cli: &Cli, options: &Run) -> Result<(), Failure> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOG_FILTER));
    tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).init();
    let running = server::start(load(cli)?).map_err(|error| match error {
        StartError::Config(report) => Failure::Config(report),
        other => Failure::Other(other.to_string()),
    })?;
    if !running.warnings.problems.is_empty() {
        eprintln!("{}", running.warnings);
    }
    running.wait_for_signal().map_err(|error| Failure::Other(error.to_string()))?;
    running.stop(Duration::from_secs(options.drain));
    Ok(())
}

fn check(cli: &Cli) -> Result<(), Failure> {
    let (gateway, report) = compile(&load(cli)?)?;
    if !report.problems.is_empty() {
        eprintln!("{report}");
    }
    let (routes, upstreams) = (gateway.table.iter().count(), gateway.upstreams.len());
    eprintln!("{} is good: {routes} routes, {upstreams} upstreams", cli.config.display());
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
    let token = token::mint(&load(cli)?.config, options).map_err(Failure::Other)?;
    print(&format!("{token}\n"))
}

fn healthcheck(cli: &Cli) -> Result<(), Failure> {
    let admin = load(cli)?.config.admin.address.value;
    let failed = |why: String| Failure::Other(format!("{admin} is not well: {why}"));
    let link = Link::parse(&format!("http://{admin}/healthz"), true);
    let link = link.map_err(|why| failed(why.to_owned()))?;
    let fetcher = Fetcher::open(&link).map_err(|error| failed(error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(error.to_string()))?;
    runtime.block_on(fetcher.get(4096)).map_err(|error| failed(error.to_string()))?;
    Ok(())
}
