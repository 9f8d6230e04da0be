//! One secret for two purposes: who may have it for the one can do the other with it.

use crate::config::Config;
use crate::problem::Problem;
use crate::units::Secret;
use crate::yaml::At;
use std::collections::HashMap;

/// A warning for each secret that was written before for another purpose.
pub(super) fn problems(config: &Config) -> Vec<Problem> {
    let admin = config.admin.token.as_ref().map(|token| ("the admin token", token));
    let tls = || config.listeners.iter().filter_map(|listener| listener.tls.as_ref());
    let tickets = tls().flat_map(|tls| tls.ticket_secrets());
    let tickets = tickets.map(|secret| ("a secret of tickets", secret));
    let acme = tls().filter_map(|tls| tls.acme.as_ref()).flat_map(|acme| acme.secrets());
    let acme = acme.map(|secret| ("a secret of ordered certificates", secret));
    let upstreams = config.upstreams.values().flat_map(|upstream| upstream.secrets());
    let all = config.sections.secrets().into_iter().chain(admin).chain(tickets);
    let all = all.chain(acme).chain(upstreams);
    let mut known: HashMap<&str, (&str, &At<Secret>)> = HashMap::new();
    let mut problems = Vec::new();
    for (purpose, secret) in all {
        let (first, earlier) = *known.entry(secret.reveal()).or_insert((purpose, secret));
        if first != purpose {
            let line = earlier.place.line_in_words();
            let text = format!("this is {purpose}, and {first} on line {line} is the same secret");
            let help = "make one for each purpose: `openssl rand -hex 32`";
            problems.push(secret.problem(text).help(help).warning());
        }
    }
    problems
}
