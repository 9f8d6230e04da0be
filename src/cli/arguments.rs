//! What the command line says beyond its verbs: times with units, hints for those who come from
//! other gateways, and `RUST_LOG`.

use super::Cli;
use crate::problem::nearest;
use crate::units::Time;
use crate::yaml::Scalar;
use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::path::Path;
use std::time::Duration;
use tracing_subscriber::EnvFilter;

/// What stands at the end of `--help`.
pub(super) const MORE: &str = "\
Exit codes:
  0   it ended as asked; the configuration is good
  1   the world broke: a port is taken, a file can't be written, nobody answered
  64  wrong arguments
  78  the configuration is wrong

Environment:
  RUST_LOG                what the gateway's own log says: `warn`, `info` (the default), `debug`
  STREAMGATE_CONFIG       the configuration, where `--config` names none
  STREAMGATE_ADMIN_TOKEN  the admin token, for `revoke`
  and every variable that the configuration names as ${NAME}

Data goes to stdout, words to stderr. More: README.md, and docs/operations.md for running it.";

/// A span of time: `30s`, `5m`, `1h`, or a number of seconds.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    if text == "0s" {
        return Ok(Duration::ZERO);
    }
    Time::read(text)
        .map(|time| time.0)
        .map_err(|_| Time::advice(text).unwrap_or_else(|| format!("write {}", Time::EXPECTED)))
}

/// A hint for a word that is no verb; `None`: clap's own words are good enough.
pub(super) fn no_verb(error: &clap::Error) -> Option<String> {
    let ErrorKind::InvalidSubcommand = error.kind() else { return None };
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else {
        return None;
    };
    let is_file = word.contains(['.', '/']) || Path::new(word).exists();
    let command = Cli::command();
    let verbs: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
    let hint = match nearest(word, verbs.iter().copied()) {
        _ if is_file => format!("a configuration is named by `--config {word}`"),
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("there is: {}", verbs.join(", ")),
    };
    Some(format!("error: `{word}` is not a verb; {hint}\n\nFor more information, try '--help'."))
}

/// The levels of the log.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// The filter that `written` asks for, or the default one; and what is wrong with `written`.
pub(super) fn log_filter(written: Option<&str>, default: &str) -> (EnvFilter, Option<String>) {
    let Some(written) = written.filter(|written| !written.trim().is_empty()) else {
        return (EnvFilter::new(default), None);
    };
    let read = match EnvFilter::try_new(written) {
        Ok(filter) => filter,
        Err(error) => {
            let why = format!("RUST_LOG can't be read, and `info` holds: {error}");
            return (EnvFilter::new(default), Some(why));
        }
    };
    // A word that is no level is taken for a module, and then nothing else is logged.
    let words = written.split(',').map(str::trim).filter(|word| !word.contains(['=', '[', ':']));
    let misspelled = words.filter_map(|word| {
        let lower = word.to_ascii_lowercase();
        let meant = nearest(&lower, LEVELS.into_iter())?;
        (meant != lower).then(|| {
            format!("RUST_LOG: `{word}` names a module, and no level; did you mean `{meant}`?")
        })
    });
    let misspelled: Vec<String> = misspelled.collect();
    (read, misspelled.into_iter().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units_or_are_seconds() {
        for (text, seconds) in [("30", 30), ("30s", 30), ("1h", 3600), ("0", 0), ("0s", 0)] {
            assert_eq!(span(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(span("1d"), Err("write `24h`".to_owned()));
        assert!(span("soon").is_err_and(|why| why.contains("such as")));
    }

    #[test]
    fn what_is_no_level_is_told() {
        let told = |written| log_filter(Some(written), "info").1;
        for good in ["", "info", "warn,streamgate=debug", "WARN", "streamgate", "off", "hyper=off"]
        {
            assert_eq!(told(good), None, "{good}");
        }
        assert!(told("inof").is_some_and(|why| why.contains("did you mean `info`?")));
        assert!(told("streamgate=lots").is_some_and(|why| why.contains("can't be read")));
    }
}
