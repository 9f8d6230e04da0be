//! The addresses of a gateway: at least one to be reached at, none used twice, and no admin port
//! that strangers can read.

use crate::config::Config;
use crate::edge;
use crate::problem::Problem;
use crate::store::Store;
use crate::units::Address;
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
    if listener.trusted_host && listener.trusted.is_empty() {
        let text = format!("`{}` trusts nobody, so `trusted_host` has no effect", listener.name.0);
        let help = "name who is in front: `trusted: [\"10.0.0.0/8\"]`";
        problems.push(listener.name.problem(text).help(help));
    }
    if listener.proxy_protocol && listener.trusted.is_empty() {
        let text = format!("`{}` trusts nobody, so no header would be taken", listener.name.0);
        let help = "name who sends it: `trusted: [\"10.0.0.0/8\"]`, or leave `proxy_protocol` out";
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

/// Addresses that would be bound twice, which the kernel refuses. Port 0 is a new one each time.
fn taken_twice(config: &Config) -> Vec<Problem> {
    let listeners = config.listeners.iter();
    let mut all: Vec<(&str, &At<Address>)> =
        listeners.map(|listener| (listener.name.0.as_str(), &listener.address)).collect();
    all.push(("admin", &config.admin.address));
    let twice = all.iter().enumerate().filter_map(|(i, (name, address))| {
        let overlaps = |other: &Address| {
            let is_either_any = address.0.ip().is_unspecified() || other.0.ip().is_unspecified();
            other.0.port() == address.0.port()
                && other.0.is_ipv4() == address.0.is_ipv4()
                && (other.0.ip() == address.0.ip() || is_either_any)
        };
        let (first, _) = all[..i].iter().find(|(_, other)| overlaps(other))?;
        (address.0.port() != 0).then(|| {
            let text = format!("`{name}` and `{first}` listen on the same address");
            address.problem(text).help("give one of them another port")
        })
    });
    twice.collect()
}
