//! `streamgate token`: a session token for development.

use super::{Failure, arguments};
use crate::clock;
use crate::config::Config;
use crate::problem::listed;
use crate::session::mint::{Claims, Signer};
use clap::Args;
use serde_json::{Map, Value};
use std::time::Duration;

/// What the token is to say.
#[derive(Args, Debug)]
pub(super) struct Options {
    /// The account (`sub`).
    #[arg(long, default_value = "alice")]
    sub: String,
    /// The session (`sid`); left out, one is made up.
    #[arg(long)]
    sid: Option<String>,
    /// How long it is valid: `1h`, `30m`, or a number of seconds.
    #[arg(long, default_value = "1h", value_name = "TIME", value_parser = arguments::span)]
    ttl: Duration,
    /// The entry of `sessions` to sign for; left out, the first.
    #[arg(long, value_name = "NAME")]
    session: Option<String>,
    /// More claims: `--claim max_streams=3`; numbers and JSON are taken as such.
    #[arg(long, value_name = "NAME=VALUE")]
    claim: Vec<String>,
}

/// Signs it with the first shared secret of the session's keys.
pub(super) fn mint(config: &Config, options: &Options) -> Result<String, Failure> {
    let mut sessions = config.sections.sessions.iter();
    let found = match &options.session {
        None => sessions.next(),
        Some(name) => sessions.find(|(known, _)| known.value == *name),
    };
    let names = config.sections.sessions.places();
    let there = listed(names.iter().map(|name| name.value.as_str()));
    let (name, session) = found.ok_or_else(|| {
        Failure::Usage(format!("`--session`: no such entry of `sessions`; there is: {there}"))
    })?;
    let signer = Signer::of(session).ok_or_else(|| {
        Failure::Other(format!(
            "`{}` has no shared secret to sign with; only its issuer can make tokens",
            name.value
        ))
    })?;
    let iat = clock::unix_seconds();
    let made_up = || format!("dev-{:016x}", rand::random::<u64>());
    let claims = Claims {
        sub: options.sub.clone(),
        sid: Some(options.sid.clone().unwrap_or_else(made_up)),
        iss: session.issuer.as_ref().map(|issuer| issuer.0.clone()),
        aud: session.audience.as_ref().map(|audience| audience.0.clone()),
        iat,
        exp: iat.saturating_add(options.ttl.as_secs()),
        extra: options
            .claim
            .iter()
            .map(|pair| claim(pair))
            .collect::<Result<Map<_, _>, Failure>>()?,
    };
    signer.sign(&claims).map_err(|error| Failure::Other(error.to_string()))
}

fn claim(pair: &str) -> Result<(String, Value), Failure> {
    let wrong = || Failure::Usage(format!("`--claim {pair}`: write NAME=VALUE"));
    let (name, text) = pair.split_once('=').ok_or_else(wrong)?;
    let value = serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
    Ok((name.to_owned(), value))
}
