//! The gateway's own log: JSON lines on stderr, which no worker waits for.
//!
//! Lines of libraries that speak to the crate `log` come as they are written, but without the
//! place in the source: it would be a path on the machine that built them.

use super::{Failure, arguments, say};
use crate::observe;
use crate::server::LogThread;
use ::log::{Level, LevelFilter, Log, Metadata, Record};
use tracing::{debug, info, trace, warn};

/// What is logged where `RUST_LOG` does not say.
const LOG_FILTER: &str = "info,library=error";

/// Modules that tell as errors what clients and pooled connections do all day: going away. They are
/// heard only if `RUST_LOG` is set; `observe` tells what an operator can act on.
const NOISE: [&str; 2] = ["pingora_proxy", "pingora_core::connectors"];

/// Starts it. It ends with what is returned.
pub(super) fn open() -> Result<LogThread, Failure> {
    let written = std::env::var("RUST_LOG").ok().filter(|text| !text.trim().is_empty());
    let (filter, wrong) = arguments::log_filter(written.as_deref(), LOG_FILTER);
    if let Some(wrong) = wrong {
        say(&format!("streamgate: {wrong}"));
    }
    let lines = observe::own_lines();
    let thread = LogThread::of_stderr(lines);
    let thread =
        thread.map_err(|error| Failure::Other(format!("no thread for the log: {error}")))?;
    let format = tracing_subscriber::fmt().json().with_env_filter(filter);
    let subscriber = format.with_writer(move || lines.clone()).finish();
    // Both fail only if something else was set before, and nothing is.
    let _ = tracing::subscriber::set_global_default(subscriber);
    let _ = ::log::set_logger(if written.is_some() { &ALL } else { &QUIET });
    // What nobody wants to read costs its callers nothing.
    let most = tracing::level_filters::LevelFilter::current().to_string();
    let most = most.to_uppercase().parse().unwrap_or(LevelFilter::Error);
    ::log::set_max_level(if written.is_some() { most } else { LevelFilter::Error });
    Ok(thread)
}

/// Hands on what libraries say.
struct Library {
    is_quiet: bool,
}

static QUIET: Library = Library { is_quiet: true };
static ALL: Library = Library { is_quiet: false };

impl Log for Library {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        !self.is_quiet || !NOISE.iter().any(|module| metadata.target().starts_with(module))
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let module = record.target();
        match record.level() {
            Level::Error => observe::library_failed(module, record.args()),
            Level::Warn => warn!(target: "library", module, "{}", record.args()),
            Level::Info => info!(target: "library", module, "{}", record.args()),
            Level::Debug => debug!(target: "library", module, "{}", record.args()),
            Level::Trace => trace!(target: "library", module, "{}", record.args()),
        }
    }

    fn flush(&self) {}
}
