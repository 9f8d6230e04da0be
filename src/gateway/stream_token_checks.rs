//! What stream tokens take up in the addresses and cookies of a whole gateway: a prefix that no
//! route may want for itself, and names that no two may share.

use crate::concurrency::{Carry, SourceConfig};
use crate::config::Config;
use crate::filter;
use crate::problem::{Place, Problem};
use crate::request::PATH_TOKEN_PREFIX;
use crate::yaml::At;

/// Whether some policy carries its tokens in the path.
pub(super) fn in_path(config: &Config) -> bool {
    sources(config).any(|source| source.token().is_some_and(|token| token.carry == Carry::Path))
}

/// The cookies of stream tokens.
pub(super) fn stream_cookies(config: &Config) -> Vec<String> {
    named(config).map(|(name, _)| name.to_owned()).collect()
}

/// Every cookie that holds a token.
pub(super) fn token_cookies(config: &Config) -> Vec<String> {
    let sessions = config.sessions.iter().map(|(_, session)| session.cookie.0.clone());
    sessions.chain(stream_cookies(config)).collect()
}

/// Routes below the prefix of tokens, and cookies with one name.
pub(super) fn problems(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    if in_path(config) {
        let paths = config.routes.iter().map(|route| route.r#match.path());
        let taken = paths.filter(|path| path.0.starts_with(PATH_TOKEN_PREFIX));
        problems.extend(taken.map(|path| {
            let text = "`/s/…` holds stream tokens, so no request ever has this path";
            path.problem(text).help("choose another path, or `carry: cookie` in the policy")
        }));
    }
    let mut known: Vec<String> =
        config.sessions.iter().map(|(_, session)| session.cookie.0.clone()).collect();
    for (name, place) in named(config) {
        if known.iter().any(|other| other == name) {
            let text = format!("another token is kept in the cookie `{name}` already");
            let help = "give this one a name of its own: `cookie: { name: … }`";
            problems.push(Problem::at(place, text).help(help));
        }
        known.push(name.to_owned());
    }
    problems
}

/// Policies that hold on one route and are only tried on another: their counts are one.
pub(super) fn warnings(config: &Config) -> Vec<Problem> {
    let filters = || config.routes.iter().flat_map(|route| &route.filters);
    let policy = |filter: &At<filter::Config>| match filter.bare() {
        filter::Config::Concurrency(config) => Some(config.policy().0.clone()),
        _ => None,
    };
    let enforced: Vec<String> =
        filters().filter(|filter| !filter.is_shadow()).filter_map(policy).collect();
    let tried = filters().filter(|filter| filter.is_shadow());
    let both = tried.filter_map(|filter| {
        let name = policy(filter).filter(|name| enforced.contains(name))?;
        let text = format!("`{name}` holds on another route, where streams of this one count too");
        Some(filter.problem(text).help("try a policy of its own name and pepper").warning())
    });
    both.collect()
}

fn sources(config: &Config) -> impl Iterator<Item = &At<SourceConfig>> {
    let lists = config.concurrency.iter().filter_map(|(_, policy)| policy.identity.as_ref());
    lists.flat_map(|list| list.iter())
}

/// Each cookie of a stream token, with the place to complain at.
fn named(config: &Config) -> impl Iterator<Item = (&str, Place)> {
    sources(config).filter_map(|source| {
        let token = source.token()?;
        let name = token.cookie_name()?;
        let written = token.cookie.as_ref().map(|cookie| cookie.name.place);
        let place = written.filter(|place| *place != Place::default()).unwrap_or(source.place);
        Some((name, place))
    })
}
