//! The running form of a configuration: everything resolved, nothing left to ask.
//!
//! Compiling touches no network and starts nothing, so a configuration can be checked anywhere.
//! After it, nothing asks whether the configuration is valid.

mod compile;
mod listener_checks;
mod name;
mod route_checks;
mod secret_checks;
mod route_summary;
mod shared;
mod start_checks;
mod stream_token_checks;

pub use route_summary::RouteSummary;
pub use shared::Shared;

use crate::activity::Activity;
use crate::chain::Chain;
use crate::concurrency::Policy;
use crate::config::{self, Loaded};
use crate::denial::{Code, Denial, Pages, Reply};
use crate::exchange::Exchange;
use crate::metrics::{Metrics, RouteMetrics};
use crate::problem::{Report, Sources};
use crate::request::{Request, Starts, Ticket};
use crate::resolve::Resolver;
use crate::route::{Rewriting, Table, Target};
use crate::session::{ClaimHeaders, KeySet, Session, Verifier};
use crate::store::Store;
use crate::upstream::Upstream;
use crate::yaml::Environment;
use http::header;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A configuration that runs. Further methods: `route_summary.rs` (routes for people to read).
#[derive(Debug)]
pub struct Gateway {
    /// The routes.
    pub table: Table<Arc<Route>>,
    /// The stores.
    pub stores: Vec<Arc<Store>>,
    /// The upstreams.
    pub upstreams: Vec<Arc<Upstream>>,
    /// The policies of concurrency.
    pub policies: Vec<Arc<Policy>>,
    /// Looks the names of upstreams up.
    pub resolver: Resolver,
    /// The verifiers of sessions.
    pub verifiers: Vec<Arc<Verifier>>,
    /// Kinds of sessions that must be active in a store.
    pub activities: Vec<Arc<Activity>>,
    /// Fields that a claim can set: no request brings one along, on whatever route.
    pub claim_headers: ClaimHeaders,
    /// Cookies that hold a token, be it a session's or a stream's, and those below.
    pub token_cookies: Vec<String>,
    /// Those that pass nowhere: what they hold is for the gateway alone.
    pub own_cookies: Vec<String>,
    /// Paths may begin with a stream's token.
    pub takes_path_tokens: bool,
    /// Some route answers preflights.
    pub takes_preflights: bool,
    /// Bodies of refusals that the operator has written.
    pub pages: Pages,
    /// Where a request is counted that met no route.
    pub unmatched: Arc<RouteMetrics>,
    /// Where its routes were written.
    sources: Sources,
}

/// A route that runs.
#[derive(Debug)]
pub struct Route {
    /// The name of the route.
    pub name: Arc<str>,
    /// The filters.
    pub chain: Chain,
    /// What happens after the filters.
    pub end: End,
    /// Whether the upstream gets the session token.
    pub forward_token: bool,
    /// Whether a client may make a WebSocket of it.
    pub websocket: bool,
    /// Whether `%2F` may stand in the path.
    pub passes_encoded_slash: bool,
    /// Whether a casting ticket is taken.
    pub takes_tickets: bool,
    /// What begins a playback.
    pub starts: Starts,
    /// What the upstream is asked for, if that is not what the client asked for.
    pub rewriting: Option<Rewriting>,
    /// The part of the path by which the upstream tells requests apart, where it does.
    pub capture: Option<usize>,
    /// How long the upstream may be silent, where the route says it.
    pub read_timeout: Option<Duration>,
    /// The largest body a request may bring, in bytes.
    body_bytes_max: u64,
    /// The counters of this route.
    pub metrics: Arc<RouteMetrics>,
}

impl Route {
    /// Refuses a body of this size, announced or received, if it is too large.
    pub fn check_body(&self, bytes: u64) -> Result<(), Code> {
        match bytes <= self.body_bytes_max {
            true => Ok(()),
            false => Err(Code::BodyTooLarge),
        }
    }
}

/// Where a route leads.
#[derive(Debug)]
pub enum End {
    /// The request goes to an upstream.
    Upstream(Arc<Upstream>),
    /// The streams API of this policy answers.
    Streams(Arc<Policy>),
    /// The client is sent elsewhere.
    Redirect(Target),
    /// The gateway answers, always the same.
    Respond(Reply),
}

impl End {
    /// What kind of end this is, for people.
    pub fn describe(&self) -> String {
        match self {
            End::Upstream(upstream) => format!("upstream {}", upstream.name),
            End::Streams(policy) => format!("streams of {}", policy.name),
            End::Redirect(target) => format!("redirect {}", target.status()),
            End::Respond(reply) => format!("respond {}", reply.status.as_u16()),
        }
    }
}

/// What requests without a route are called in metrics and logs.
pub const UNMATCHED: &str = "_unmatched";

/// Reads the file at `path`; tells all that is wrong with it, also what would be found only when
/// it is compiled.
pub fn load(path: &Path, environment: &Environment) -> Result<Loaded, Report> {
    config::draft(path, environment)?
        .finish(|loaded| compile::gateway(loaded, &Shared::default(), &Metrics::new()).1)
}

impl Gateway {
    /// The route that an exchange entered, if it was judged by this gateway and met one.
    pub fn route_of(&self, exchange: &Exchange) -> Option<&Arc<Route>> {
        exchange.route().map(|index| self.table.get(index))
    }

    /// The route whose filters edit an answer of the gateway's own: the one that the exchange
    /// entered, or the one that it missed by its method alone.
    pub fn answering(&self, exchange: &Exchange) -> Option<&Arc<Route>> {
        let index = exchange.route().or(exchange.nearest())?;
        Some(self.table.get(index))
    }

    /// The ticket of this text, if any policy gave it.
    pub fn open_ticket(&self, text: &str) -> Result<Ticket, Denial> {
        let opened = self.policies.iter().find_map(|policy| policy.open_ticket(text));
        opened.ok_or_else(|| Code::TicketInvalid.into())
    }

    /// The token by which a request proved this session, if it is still remembered.
    pub fn token_of(&self, request: &Request<'_>, session: &Session) -> Option<String> {
        let fields = request.headers.get_all(header::AUTHORIZATION).into_iter();
        let bearers = fields.filter_map(|field| field.to_str().ok()?.split_once(' '));
        let bearers = bearers.map(|(_, token)| token.trim());
        let cookies = self.token_cookies.iter().flat_map(|name| request.cookies(name));
        let proves = |token: &&str| {
            let proven = self.verifiers.iter().find_map(|verifier| verifier.remembered(token));
            proven.is_some_and(|proven| *proven == *session)
        };
        bearers.chain(cookies).find(proves).map(str::to_owned)
    }

    /// The key sets of all verifiers.
    pub fn key_sets(&self) -> Vec<Arc<KeySet>> {
        let verifiers = self.verifiers.iter();
        verifiers.flat_map(|verifier| verifier.key_sets()).cloned().collect()
    }

    /// The names of all that keeps a state over a change of the configuration.
    fn names(&self) -> impl Iterator<Item = &str> {
        let upstreams = self.upstreams.iter().map(|upstream| &*upstream.name);
        let policies = self.policies.iter().map(|policy| &*policy.name);
        let verifiers = self.verifiers.iter().map(|verifier| verifier.name());
        let routes = self.table.iter().map(|(_, route)| &*route.name);
        upstreams.chain(policies).chain(verifiers).chain(routes)
    }

    /// Where the exchange is counted.
    pub fn metrics_of(&self, exchange: &Exchange) -> &RouteMetrics {
        self.route_of(exchange).map_or(&self.unmatched, |route| &route.metrics)
    }

    /// Compiles what was loaded. `Ok` may come with warnings; `Err` tells all problems at once.
    pub fn compile(
        loaded: &Loaded,
        shared: &Shared,
        metrics: &Metrics,
    ) -> Result<(Gateway, Report), Report> {
        let (gateway, problems) = compile::gateway(loaded, shared, metrics);
        let report = loaded.report(problems);
        if report.is_runnable() { Ok((gateway, report)) } else { Err(report) }
    }
}
