//! The addresses of a gateway: at least one to be reached at, none used twice, and no admin port
//! that strangers can read.

use crate::config::Config;
use crate::edge::{self, TrustedPeer};
use crate::problem::Problem;
use crate::store::Store;
use crate::units::ListenAddress;
use crate::yaml::{At, Named};
use std::path::Path;
use std::sync::Arc;

/// What is wrong with listeners, the admin port, and there being routes at all.
pub(super) fn problems(config: &Config, base_dir: &Path) -> Vec<Problem> {
    let mut problems = taken_twice(config);
    if config.listeners.is_empty() {
        let problem = config.listeners.problem("there is no listener");
        let help = "write `- { name: edge, address: \"127.0.0.1:8080\" }`";
        problems.push(problem.help(help).of_absence());
    }
    if config.routes.is_empty() {
        let problem = config.routes.problem("there are no routes");
        let help = "write at least one: `name`, `match` and `upstream`";
        problems.push(problem.help(help).of_absence());
    }
    problems.extend(config.listeners.iter().flat_map(|listener| trust(listener)));
    problems.extend(config.listeners.iter().flat_map(|listener| socket(listener)));
    // What it compiles to is thrown away: whoever binds the address makes its own.
    let compiled = config.listeners.iter().map(|listener| listener.compile(0, base_dir));
    problems.extend(compiled.flat_map(|made| made.map_or_else(|wrong| wrong, |(_, told)| told)));
    let admin = &config.admin;
    if !admin.address.0.ip().is_loopback() && admin.token.is_none() {
        let text = format!("the admin port on `{}` has no token", admin.address.value);
        let help = "add `token: \"${ADMIN_TOKEN:?}\"`, or listen on 127.0.0.1";
        problems.push(admin.address.problem(text).help(help).of_absence());
    }
    if let Some(token) = admin.token.as_ref().filter(|token| token.reveal().is_empty()) {
        let problem = token.problem("an empty token opens the admin port to everyone");
        problems.push(problem.help("make one: `openssl rand -hex 32`"));
    }
    problems
}

/// Stores that listeners keep certificates in, and can't.
pub(super) fn kept(config: &Config, stores: &Named<Arc<Store>>) -> Vec<Problem> {
    let acme = config.listeners.iter().filter_map(|it| it.tls.as_ref()?.acme.as_ref());
    let mut problems = Vec::new();
    for sealed in acme.filter_map(|acme| acme.sealed_store()) {
        match stores.find(&sealed.store) {
            Ok(store) if store.is_in_process() => {
                let text = format!("the store `{}` is memory of this process", store.name);
                let help = "name a store in Redis, or a folder: a restart would order again";
                problems.push(sealed.store.problem(text).help(help));
            }
            Ok(_) => {}
            Err(wrong) => problems.extend(wrong),
        }
    }
    problems
}

/// What a listener says of those in front of it, and can't mean.
fn trust(listener: &edge::Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    let whom = if listener.address.is_unix() { "unix:" } else { "10.0.0.0/8" };
    if listener.trusted_host && listener.trusted.is_empty() {
        let text = format!("`{}` trusts nobody, so `trusted_host` has no effect", listener.name.0);
        let help = format!("name who is in front: `trusted: [\"{whom}\"]`");
        problems.push(listener.name.problem(text).help(help));
    }
    if listener.proxy_protocol && listener.trusted.is_empty() {
        let text = format!("`{}` trusts nobody, so no header would be taken", listener.name.0);
        let help =
            format!("name who sends it: `trusted: [\"{whom}\"]`, or leave `proxy_protocol` out");
        problems.push(listener.name.problem(text).help(help));
    }
    let per_client = listener.connections_per_client.as_ref();
    if let Some(count) = per_client.filter(|count| listener.connections.0 < count.value.0) {
        let text = format!("one client may have more than all, who have {}", listener.connections);
        problems.push(count.problem(text).help("lower it, or raise `connections`").warning());
    }
    let everybody = listener.trusted.iter().filter(|peer| peer.is_everybody());
    problems.extend(everybody.map(|peer| {
        let text = "everybody is trusted, so a client can name any address as its own";
        peer.problem(text).help("name the networks of your proxies alone").warning()
    }));
    problems
}

/// What is said of a socket of Unix and can't hold for one, or of one that is none.
fn socket(listener: &edge::Config) -> Vec<Problem> {
    let sockets = |peer: &&At<TrustedPeer>| matches!(peer.value, TrustedPeer::Socket);
    if !listener.address.is_unix() {
        let text = format!("`{}` listens on no socket of Unix", listener.name.0);
        let mode = listener.socket.mode.as_ref();
        let mode = mode.map(|mode| mode.problem(&*text).help("leave `mode` out"));
        let peers = listener.trusted.iter().filter(sockets);
        let peers = peers.map(|peer| peer.problem(&*text).help("leave `unix:` out"));
        return mode.into_iter().chain(peers).collect();
    }
    let mut problems: Vec<Problem> = listener.socket.of_tcp().collect();
    if let Some(first) =
        listener.trusted.first().filter(|_| !listener.trusted.iter().any(|peer| sockets(&peer)))
    {
        let text = "who connects to a socket of Unix has no address, so nobody is trusted here";
        problems.push(first.problem(text).help("add `unix:`: whoever may connect is believed"));
    }
    let per_client = listener.connections_per_client.as_ref();
    if let Some(count) = per_client.filter(|_| !listener.proxy_protocol) {
        let text = "who connects to a socket of Unix has no address, so clients can't be counted";
        let help = "leave it out, or have whoever connects say it: `proxy_protocol: true`";
        problems.push(count.problem(text).help(help));
    }
    problems
}

/// Addresses that would be bound twice, which the kernel refuses. Port 0 is a new one each time.
fn taken_twice(config: &Config) -> Vec<Problem> {
    let listeners = config.listeners.iter();
    let mut all: Vec<(&str, At<ListenAddress>)> =
        listeners.map(|listener| (listener.name.0.as_str(), listener.address.clone())).collect();
    let admin = &config.admin.address;
    all.push(("admin", At { value: admin.0.into(), place: admin.place }));
    let twice = all.iter().enumerate().filter_map(|(i, (name, address))| {
        let (first, _) = all[..i].iter().find(|(_, other)| overlap(address, other))?;
        let text = format!("`{name}` and `{first}` listen on the same address");
        let help = match address.is_unix() {
            true => "give one of them another path",
            false => "give one of them another port",
        };
        Some(address.problem(text).help(help))
    });
    twice.collect()
}

fn overlap(one: &ListenAddress, other: &ListenAddress) -> bool {
    let (Some(one), Some(other)) = (one.inet(), other.inet()) else { return one == other };
    let is_either_any = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0
        && one.port() == other.port()
        && one.is_ipv4() == other.is_ipv4()
        && (one.ip() == other.ip() || is_either_any)
}
