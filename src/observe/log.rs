//! The lines of the operator's log. No line has a token or an account's name in it.
//!
//! This log is the process's: several gateways in one process share it. What may happen with every
//! request has one line a second, with a count.

use super::event::Event;
use super::repeat::Repeats;
use super::writer::Lines;
use crate::problem::{self, Report};
use crate::resolve::{Found, Lookup};
use crate::session::key_set::Refresh;
use crate::session::{KeySet, Skipped};
use crate::upstream::{BreakerChange, Ejection};
use std::fmt::Arguments;
use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::Duration;
use streamgate_lease::redis::Deadlines;
use streamgate_lease::{Change, LeaseEvent, StoreError};
use tracing::{Level, debug, error, info, warn};

static OWN: LazyLock<Lines> = LazyLock::new(Lines::default);

/// Upstreams that gave no answer, by name: the endpoint that was asked last, and why.
static UPSTREAMS: LazyLock<Repeats<(Option<SocketAddr>, String)>> = LazyLock::new(Repeats::default);

/// What libraries told as errors, by module: the last message.
static LIBRARIES: LazyLock<Repeats<String>> = LazyLock::new(Repeats::default);

/// Where the process leaves the lines of its own log.
pub fn own_lines() -> &'static Lines {
    &OWN
}

/// How many mistakes of one file have a line each.
const PROBLEMS_MAX: usize = 20;

/// Lines for what can run and is probably not meant, and for what can't run.
pub fn config_problems(report: &Report) {
    for problem in report.foremost(PROBLEMS_MAX) {
        let ((file, line), help) = (report.line(problem), problem.help.as_deref());
        match problem.level {
            problem::Level::Error => {
                error!(file, line, help, "the configuration: {}", problem.text)
            }
            problem::Level::Warning => {
                warn!(file, line, help, "the configuration: {}", problem.text)
            }
        }
    }
}

fn refused(listener: &str, reason: &str, why: Option<&std::io::Error>) {
    match why {
        Some(why) => debug!(listener, reason, %why, "a connection was refused"),
        None => debug!(listener, reason, "a connection was refused"),
    }
}

fn memory_left(memory: &str, level: i64, bytes: u64) {
    match level {
        0 => info!(memory, bytes, "there is enough memory again"),
        _ => warn!(memory, bytes, "the process comes near what `memory` allows"),
    }
}

fn restart(needed: &[&str]) {
    if !needed.is_empty() {
        let needed = needed.join(", ");
        warn!(needed, "what was changed there holds only after a restart");
    }
}

fn config_rejected(cause: &str, report: &Report) {
    let errors = report.errors();
    error!(cause, errors, "the configuration has mistakes, so nothing was changed");
    config_problems(report);
}

/// Tells of an error that a library speaks of, such as a connection that can't be accepted.
pub fn library_failed(module: &str, message: &Arguments<'_>) {
    if LIBRARIES.is_first(module, message.to_string()) {
        tell_library(module, &message.to_string(), 1);
    }
}

fn tell_library(module: &str, message: &str, times: u64) {
    error!(target: "library", module, message, times, "a library reports an error");
}

fn tell_upstream(upstream: &str, endpoint: Option<SocketAddr>, why: &str, times: u64) {
    let endpoint = endpoint.map(tracing::field::display);
    warn!(upstream, endpoint, why, times, "an upstream gave no answer");
}

/// Tells what was counted and not told.
pub(super) fn tell_repeated(is_last: bool) {
    for (upstream, times, (endpoint, why)) in UPSTREAMS.due(is_last) {
        tell_upstream(&upstream, endpoint, &why, times);
    }
    for (module, times, message) in LIBRARIES.due(is_last) {
        tell_library(&module, &message, times);
    }
}

/// Writes a line about `event`, if it deserves one.
pub(super) fn write(event: &Event<'_>) {
    match event {
        // The access log has a line for each exchange, and metrics count the rest.
        Event::ExchangeEnded(_)
        | Event::ConnectionOpened { .. }
        | Event::ConnectionClosed { .. }
        | Event::ConnectionRecycled { .. }
        | Event::FieldsDropped { .. }
        | Event::HandshakeDone { .. }
        | Event::HeadRefused { .. }
        | Event::HeadTimedOut { .. }
        | Event::ClientTimedOut { .. }
        | Event::Http2 { .. }
        | Event::RequestDecided { .. }
        | Event::UpstreamAnswered { .. }
        | Event::UpstreamRetried { .. } => {}
        Event::MemoryChanged { memory, level, bytes } => memory_left(memory, *level, *bytes),
        // Anybody can have it written, so it is for those who look for it.
        Event::ConnectionRefused { listener, reason, why } => refused(listener, reason, *why),
        Event::CertificatesShown { before: None, .. } => {}
        Event::CertificatesShown { listener, now, .. } => certificates_shown(listener, now),
        Event::CertificatesKept { listener, why } => {
            warn!(listener, why, "changed certificates can't be used; those before are kept");
        }
        Event::CertificateOrdered { listener, failure } => ordered(listener, *failure),
        Event::CertificateDoubtful { listener, why } => {
            warn!(listener, why, "a certificate may fail clients");
        }
        Event::UpstreamFailed { upstream, endpoint, why } => {
            if UPSTREAMS.is_first(upstream, (*endpoint, (*why).to_owned())) {
                tell_upstream(upstream, *endpoint, why, 1);
            }
        }
        Event::Stream { policy, event } => stream(policy, event),
        Event::LimitClaimUnusable { policy, claim } => {
            warn!(
                policy,
                claim,
                "a token's limit can't be used, so the default applies: a whole number is wanted, \
                 as 3, 3.0 or \"3\""
            );
        }
        Event::EndpointChanged { upstream, change } => {
            let (endpoint, answer) = (change.endpoint, change.answer);
            match change.is_well {
                true => info!(upstream, %endpoint, %answer, "an endpoint is well again"),
                false => warn!(upstream, %endpoint, %answer, "an endpoint is unwell"),
            }
        }
        Event::EndpointEjected { upstream, ejection } => ejected(upstream, ejection),
        Event::BreakerChanged { upstream, change } => breaker_changed(upstream, *change),
        Event::NameLookedUp { whose, name, lookup } => looked_up(whose, name, lookup),
        Event::StoreChanged { store, failure } => store_changed(store, *failure),
        Event::ConfigApplied { cause, generation, hash, restart_needed, warnings } => {
            info!(cause, generation, hash, "another configuration answers new requests");
            config_problems(warnings);
            restart(restart_needed);
        }
        Event::ConfigRejected { cause, report } => config_rejected(cause, report),
        Event::StoreTooFar { store, round_trip, deadlines } => {
            too_far(store, *round_trip, deadlines);
        }
        Event::SessionsRevoked { store, whose, is_done } => revoked(store, whose, *is_done),
        Event::KeySetRefreshed { key_set, refresh } => key_set_refreshed(key_set, refresh),
    }
}

fn revoked(store: &str, whose: &str, is_done: bool) {
    match is_done {
        true => info!(store, whose, "sessions were revoked"),
        false => warn!(store, whose, "sessions could not be revoked: the store failed"),
    }
}

fn ejected(upstream: &str, ejection: &Ejection) {
    let (endpoint, why) = (ejection.endpoint, ejection.why.sentence());
    let seconds = ejection.time.as_secs_f64();
    warn!(upstream, %endpoint, why, seconds, "an endpoint is not asked for a while");
}

fn breaker_changed(upstream: &str, change: BreakerChange) {
    match change {
        BreakerChange::Closed => info!(upstream, "an upstream is asked again"),
        BreakerChange::Opened(why, time) => {
            let (why, seconds) = (why.sentence(), time.as_secs_f64());
            warn!(upstream, why, seconds, "an upstream is not asked for a while");
        }
    }
}

fn certificates_shown(listener: &str, now: &[(String, i64)]) {
    let names: Vec<&str> = now.iter().map(|(name, _)| name.as_str()).collect();
    info!(listener, certificates = names.join(", "), "other certificates are shown");
}

fn ordered(listener: &str, failure: Option<(&str, Duration)>) {
    match failure {
        None => info!(listener, "a certificate was ordered and is shown from now on"),
        Some((why, again)) => {
            let again_in_s = again.as_secs();
            warn!(listener, why, again_in_s, "no certificate could be ordered");
        }
    }
}

fn key_set_refreshed(key_set: &KeySet, refresh: &Refresh) {
    let provider = key_set.name();
    match refresh {
        Refresh::Changed { keys, skipped } => {
            info!(provider, keys, skipped = skipped.len(), "the key set changed");
            for Skipped { position, why } in skipped {
                warn!(provider, position, why, "a key of the set is not used");
            }
        }
        Refresh::Same => {}
        Refresh::Failed(error) => {
            warn!(provider, %error, "the key set can't be read; the last good one stays");
        }
    }
}

/// A line when an answer changes, and when look-ups begin or cease to fail.
fn looked_up(whose: &str, name: &str, lookup: &Lookup) {
    // A peer has no port that matters.
    let shown = |found: &Found| match found.address.port() {
        0 => found.address.ip().to_string(),
        _ => found.address.to_string(),
    };
    let addresses: Vec<String> = lookup.found.iter().map(shown).collect();
    match &lookup.error {
        None if lookup.is_changed => info!(whose, name, ?addresses, "a name leads here now"),
        None if lookup.is_news => info!(whose, name, "a name is found again"),
        Some(error) if lookup.is_news && addresses.is_empty() => {
            warn!(whose, name, %error, "a name has no address yet; it is looked up again");
        }
        Some(error) if lookup.is_news => {
            warn!(whose, name, %error, "a name can't be looked up; the last good answer stays");
        }
        _ => {}
    }
    if lookup.is_changed && 0 < lookup.surplus {
        warn!(whose, name, left_out = lookup.surplus, "a name has more addresses than are used");
    }
}

/// Whether lines about streams are written: one per start and end is only for a close look.
pub(super) fn takes_streams() -> bool {
    tracing::enabled!(Level::DEBUG)
}

/// What the store said of itself is told by its first word; the whole of it is for a close look.
fn store_changed(store: &str, failure: Option<&StoreError>) {
    let Some(error) = failure else { return info!(store, "the store answers") };
    let why = error.reason();
    match error.sentence() {
        Some(said) => {
            warn!(store, why, "the store answers with an error; policies say what holds now");
            debug!(store, said, "what the store said");
        }
        None => warn!(store, why, "the store does not answer; policies say what holds now"),
    }
}

fn too_far(store: &str, round_trip: Duration, deadlines: &Deadlines) {
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let (command, connect) = (ms(deadlines.command), ms(deadlines.connect));
    let right = ms(round_trip) + 1;
    warn!(
        store,
        round_trip_ms = ms(round_trip),
        command_ms = command,
        connect_ms = connect,
        "the store is too far away for its timeouts; write at least \
         `timeouts: {{ connect: {}ms, command: {}ms }}`",
        connect.max(right * 4),
        command.max(right * 2),
    );
}

fn stream(policy: &str, event: &LeaseEvent) {
    let lease = event.id;
    match event.change {
        Change::Started { how, .. } => {
            debug!(policy, %lease, how = how.as_str(), "a stream started");
        }
        Change::Adopted { over_limit } => {
            debug!(policy, %lease, over_limit, "the store has taken over a stream");
        }
        Change::Ended { why, .. } => debug!(policy, %lease, why = why.as_str(), "a stream ended"),
        Change::Refused { why } => debug!(policy, %lease, ?why, "a stream was refused"),
    }
}
