//! From names to things: every part of the file compiled, every problem kept.

use super::{End, Gateway, Route, Shared, UNMATCHED};
use super::{
    listener_checks, name, route_checks, secret_checks, start_checks, stream_token_checks,
};
use crate::chain::Chain;
use crate::concurrency::Policy;
use crate::config::{self, Config, Loaded, Service};
use crate::denial::Pages;
use crate::filter::{Fact, Sessions};
use crate::metrics::Metrics;
use crate::part::{Context, Lasting, Parts, carried, with_files};
use crate::problem::{Level, Problem};
use crate::resolve;
use crate::route::{self, Candidate, Table};
use crate::session::{ClaimHeaders, Verifier};
use crate::store::Store;
use crate::units::Fingerprint;
use crate::upstream::Upstream;
use crate::yaml::{At, Named};
use std::sync::Arc;

/// What an entry of `upstreams` is called.
const UPSTREAM: &str = "upstream";

/// Compiles what was loaded. What is returned runs only if no problem is an error.
pub(super) fn gateway(
    loaded: &Loaded,
    shared: &Shared,
    metrics: &Metrics,
) -> (Gateway, Vec<Problem>) {
    let config = &loaded.config;
    let mut problems = name::check_all(config);
    problems.extend(listener_checks::problems(config, loaded.base_dir()));
    let stores = shared.stores(&config.stores, loaded.base_dir(), &mut problems);
    problems.extend(listener_checks::kept(config, &stores));
    let context = Context {
        base_dir: loaded.base_dir(),
        stores: &stores,
        claims: config.sections.claims(),
        lasting: shared,
    };
    let parts = config.sections.compile(&context, &mut problems);
    problems.extend(stream_token_checks::problems(config));
    let upstreams = compile_upstreams(loaded, shared, &mut problems);
    let resolver = config.resolver.compile().unwrap_or_else(|problem| {
        problems.push(problem);
        resolve::Resolver::default()
    });
    let routes =
        Routes { parts: &parts, upstreams: &upstreams, lasting: shared, stores: &stores, metrics };
    let table = Table::new(routes.compile(config, &mut problems));
    problems.extend(start_checks::warnings(config));
    problems.extend(secret_checks::problems(config));
    if problems.iter().all(|problem| problem.level == Level::Warning) {
        // Beside a misspelled name, a hint that nothing names the entry would only distract.
        let unused = [upstreams.unused(), parts.unused(), stores.unused()];
        problems.extend(unused.into_iter().flatten());
        let candidates: Vec<&Candidate> = table.iter().map(|(candidate, _)| candidate).collect();
        problems.extend(route::hidden(&candidates));
    }
    let sessions = || parts.all::<Sessions>().values();
    let verifiers: Vec<Arc<Verifier>> =
        sessions().map(|sessions| sessions.verifier.clone()).collect();
    let claims = verifiers.iter().flat_map(|verifier| verifier.claims_to_headers());
    let claim_headers = ClaimHeaders::new(claims.map(|(_, field)| field));
    let pages = Pages::compile(&config.refusals, loaded.base_dir(), &mut problems);
    let takes_preflights = table.iter().any(|(_, route)| route.chain.takes_preflights());
    let gateway = Gateway {
        table,
        takes_preflights,
        pages,
        stores: stores.values().cloned().collect(),
        upstreams: upstreams.values().cloned().collect(),
        resolver,
        policies: parts.all::<Arc<Policy>>().values().cloned().collect(),
        verifiers,
        claim_headers,
        activities: sessions().filter_map(|sessions| sessions.active_in.clone()).collect(),
        token_cookies: stream_token_checks::withheld_cookies(config),
        own_cookies: stream_token_checks::own_cookies(config),
        takes_path_tokens: config.sections.takes_path_tokens(),
        unmatched: Arc::new(metrics.route(UNMATCHED, None)),
        sources: loaded.sources.clone(),
    };
    (gateway, problems)
}

/// The upstreams of the file; those that are as before keep their state.
fn compile_upstreams(
    loaded: &Loaded,
    shared: &Shared,
    problems: &mut Vec<Problem>,
) -> Named<Arc<Upstream>> {
    let config = &loaded.config;
    let mut upstreams = Named::new(UPSTREAM);
    let resolver_print = serde_json::to_vec(&config.resolver).expect("it is plain data");
    for (name, entry) in config.upstreams.iter() {
        let compile = || {
            let mut upstream = Upstream::compile(name, entry, loaded.base_dir())?;
            let before = shared.kept(UPSTREAM, name);
            if let Some(before) = before.and_then(|it| it.part.downcast::<Arc<Upstream>>().ok()) {
                upstream.take_over(&before);
            }
            Ok(Arc::new(upstream))
        };
        let print = Fingerprint::of(entry).with(&resolver_print);
        let print = with_files(print, entry.files(), loaded.base_dir());
        let compiled = carried(shared, (UPSTREAM, name), print, compile);
        upstreams.enter(name, compiled, problems);
        problems.extend(entry.warnings());
    }
    upstreams.enter_lost(&config.upstreams);
    upstreams
}

/// What routes are compiled from.
struct Routes<'a> {
    parts: &'a Parts,
    upstreams: &'a Named<Arc<Upstream>>,
    lasting: &'a dyn Lasting,
    stores: &'a Named<Arc<Store>>,
    metrics: &'a Metrics,
}

impl Routes<'_> {
    fn chain(&self, route: &config::Route) -> Result<Chain, Vec<Problem>> {
        let filters = (route.name.0.as_str(), route.filters.as_slice());
        Chain::compile(filters, self.parts, (self.lasting, self.stores))
    }

    fn compile(
        &self,
        config: &Config,
        problems: &mut Vec<Problem>,
    ) -> Vec<(Candidate, Arc<Route>)> {
        let (mut routes, mut candidates) = (Vec::new(), Vec::new());
        for route in &config.routes.value {
            let candidate = keep(route.r#match.compile(&route.name.0), problems);
            if candidate.is_some() {
                problems.extend(warnings(route));
            }
            candidates.extend(candidate.clone());
            // The chain is compiled even where the match is wrong: its problems count too.
            let chain = keep(self.chain(route), problems);
            problems.extend(route_checks::problems(route, config));
            let starts = keep(start_checks::compile(route, candidate.as_ref()), problems);
            let template = candidate.as_ref().map(|candidate| &candidate.template);
            let rewrite = route.rewrite.as_ref().zip(template);
            let rewriting = rewrite.and_then(|(rewrite, t)| keep(rewrite.compile(t), problems));
            let end = keep(self.end(route, candidate.as_ref(), chain.as_ref()), problems);
            if let (Some(candidate), Some(chain), Some(starts), Some(end)) =
                (candidate, chain, starts, end)
            {
                problems.extend(route_checks::keyless(route, &end, &chain));
                let capture =
                    keep_one(route_checks::capture(route, &end, &candidate.template), problems);
                let upstream = route.upstream.as_ref().map(|name| name.0.as_str());
                let metrics = Arc::new(self.metrics.route(&route.name.0, upstream));
                let takes_tickets = chain.provides(Fact::Lease)
                    && !route.forward_token
                    && matches!(end, End::Upstream(_));
                let running = Route {
                    name: route.name.0.as_str().into(),
                    chain,
                    end,
                    forward_token: route.forward_token,
                    websocket: route.websocket.value,
                    passes_encoded_slash: passes_encoded_slash(route),
                    takes_tickets,
                    starts,
                    rewriting,
                    capture,
                    read_timeout: route.timeouts.as_ref().map(|timeouts| timeouts.read.0),
                    body_bytes_max: route.max_body.0,
                    metrics,
                };
                routes.push((candidate, Arc::new(running)));
            }
        }
        problems.extend(route::conflicts(&candidates));
        routes
    }

    /// The one end of a route.
    fn end(
        &self,
        route: &At<config::Route>,
        candidate: Option<&Candidate>,
        chain: Option<&Chain>,
    ) -> Result<End, Vec<Problem>> {
        match (&route.upstream, &route.service, &route.redirect, &route.respond) {
            (Some(name), None, None, None) => Ok(End::Upstream(self.upstreams.find(name)?.clone())),
            (None, Some(service), None, None) => self.service(service, candidate, chain),
            (None, None, Some(redirect), None) => {
                let candidate = candidate.ok_or_else(Vec::new)?;
                let target = redirect.compile(redirect.place, &candidate.template);
                target.map(End::Redirect).map_err(|problem| vec![problem])
            }
            (None, None, None, Some(respond)) => respond.compile().map(End::Respond),
            (None, None, None, None) => {
                let text = format!("route `{}` leads nowhere", route.name.value);
                let help = "add one of `upstream`, `service`, `redirect`, `respond`";
                Err(vec![route.name.problem(text).help(help).of_absence()])
            }
            (upstream, service, redirect, respond) => {
                let ends = [
                    upstream.as_ref().map(|end| ("`upstream`", end.place)),
                    service.as_ref().map(|end| ("`service`", end.place)),
                    redirect.as_ref().map(|end| ("`redirect`", end.place)),
                    respond.as_ref().map(|end| ("`respond`", end.place)),
                ];
                let ends = ends.into_iter().flatten();
                let place = ends.clone().map(|(_, place)| place).max().unwrap_or_default();
                let ends: Vec<&str> = ends.map(|(name, _)| name).collect();
                let ends = ends.join(" and ");
                let text = format!("route `{}` has both {ends}", route.name.value);
                Err(vec![Problem::at(place, text).help("a route has one end: keep one of them")])
            }
        }
    }

    fn service(
        &self,
        service: &At<Service>,
        candidate: Option<&Candidate>,
        chain: Option<&Chain>,
    ) -> Result<End, Vec<Problem>> {
        let Service::Streams(name) = &service.value;
        let policy = self.parts.find::<Arc<Policy>, _>(name)?;
        if let Some(candidate) = candidate.filter(|candidate| !candidate.template.is_open()) {
            let text = "`streams` has calls below its path, which this route does not take";
            let help = format!("end the path with `{{*rest}}`: `{}/{{*rest}}`", candidate.path);
            return Err(vec![Problem::at(candidate.place, text).help(help)]);
        }
        if chain.is_some_and(|chain| !chain.provides(Fact::Session)) {
            let text = "`streams` needs a session, and no filter of this route makes one known";
            let problem = service.problem(text);
            let help = "add `filters: [ { session: … } ]`";
            return Err(vec![problem.help(help).of_absence()]);
        }
        Ok(End::Streams(Arc::clone(policy)))
    }
}

/// What a route may mean, and seldom does.
fn warnings(route: &config::Route) -> Vec<Problem> {
    let empty = (route.max_body.0 == 0).then(|| {
        let text = "with `max_body: 0` every request that brings a body is refused";
        let help = "there is no size without end: write one that is large enough, as `8GiB`";
        route.max_body.problem(text).help(help).warning()
    });
    route.r#match.warnings().into_iter().chain(empty).collect()
}

fn passes_encoded_slash(route: &config::Route) -> bool {
    route.encoded_slash.as_ref().is_some_and(|slash| slash.value == route::EncodedSlash::Pass)
}

fn keep_one<T>(compiled: Result<Option<T>, Problem>, problems: &mut Vec<Problem>) -> Option<T> {
    compiled.map_err(|problem| problems.push(problem)).ok().flatten()
}

fn keep<T>(compiled: Result<T, Vec<Problem>>, problems: &mut Vec<Problem>) -> Option<T> {
    compiled.map_err(|wrong| problems.extend(wrong)).ok()
}
