//! Entries of the section `concurrency`: what the policies of a file mean beside each other, and
//! to the rest of the gateway.

use crate::concurrency::{self, Carry, Policy, SourceConfig};
use crate::part::{Context, Part, TokenCookie};
use crate::problem::{Place, Problem};
use crate::units::Secret;
use crate::yaml::{At, Entries};
use std::sync::Arc;

impl Part for Arc<Policy> {
    type Config = concurrency::Config;

    const KIND: &'static str = "policy";
    const ABOUT: &'static str = "How many streams an account may play.";

    fn compile(
        name: &At<String>,
        config: &concurrency::Config,
        context: &Context<'_>,
        _problems: &mut Vec<Problem>,
    ) -> Result<Self, Vec<Problem>> {
        let store = context.stores.find(&config.store)?;
        let leases = |timing, bounds| context.lasting.leases(name, store, timing, bounds);
        Policy::compile(name, config, leases).map(Arc::new)
    }

    /// Policies that would count the same leases without saying so: an account's key in the store
    /// is made of the pepper and the account alone.
    fn check_all(all: &Entries<concurrency::Config>) -> Vec<Problem> {
        let policies: Vec<_> = all.iter().collect();
        let shared = policies.iter().enumerate().filter_map(|(i, (name, policy))| {
            let (first, pepper) = policies[..i].iter().find_map(|(first, earlier)| {
                let pepper = same_pepper(policy, earlier)?;
                (earlier.store.value == policy.store.value).then_some((first, pepper))
            })?;
            let text = format!(
                "policies `{}` and `{}` have the same store and pepper, so they would count the \
                 same leases",
                first.value, name.value
            );
            Some(pepper.problem(text).help("give one of them another pepper"))
        });
        shared.collect()
    }

    fn claims(config: &concurrency::Config) -> Vec<&str> {
        config.limit_claims().collect()
    }

    fn cookies(config: &concurrency::Config) -> Vec<TokenCookie<'_>> {
        let cookies = sources(config).filter_map(|source| {
            let token = source.token()?;
            let name = token.cookie_name()?;
            let written = token.cookie.as_ref().map(|cookie| cookie.name.place);
            let written = written.filter(|place| *place != Place::default());
            Some(TokenCookie { name, of_stream: Some(written.unwrap_or(source.place)) })
        });
        cookies.collect()
    }

    fn secrets(config: &concurrency::Config) -> Vec<(&'static str, &At<Secret>)> {
        let peppers = config.pepper.all().into_iter().map(|pepper| ("a pepper", pepper));
        let tokens = sources(config).filter_map(|source| source.token());
        let secrets = tokens.flat_map(|token| [Some(&token.secret), token.also.as_ref()]);
        let secrets = secrets.flatten().map(|secret| ("a secret of stream tokens", secret));
        peppers.chain(secrets).collect()
    }

    fn takes_path_tokens(config: &concurrency::Config) -> bool {
        let mut tokens = sources(config).filter_map(|source| source.token());
        config.tickets.is_some() || tokens.any(|token| token.carry == Carry::Path)
    }
}

fn sources(config: &concurrency::Config) -> impl Iterator<Item = &At<SourceConfig>> {
    config.identity.iter().flat_map(|sources| sources.iter())
}

/// The pepper of `policy` that `earlier` has, too.
fn same_pepper<'p>(
    policy: &'p concurrency::Config,
    earlier: &concurrency::Config,
) -> Option<&'p At<Secret>> {
    let there = earlier.pepper.all();
    let is_there = |pepper: &&At<Secret>| there.iter().any(|one| one.value == pepper.value);
    policy.pepper.all().into_iter().find(is_there)
}
