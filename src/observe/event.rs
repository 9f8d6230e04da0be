//! What happens in the gateway, as one enum.
//!
//! Whoever reports an event does not know who listens: metrics, the operator's log and the access
//! log take the same value, and so will every later sink. An event borrows its values, so
//! reporting one copies and allocates nothing.

use crate::denial::Code;
use crate::exchange::{ClientIdentity, Exchange};
use crate::metrics::RouteMetrics;
use crate::problem::Report;
use crate::resolve::Lookup;
use crate::session::KeySet;
use crate::session::key_set::Refresh;
use crate::upstream::{BreakerChange, Change, Ejection};
use http::request::Parts;
use std::net::SocketAddr;
use std::time::Duration;
use streamgate_lease::redis::Deadlines;
use streamgate_lease::{LeaseEvent, StoreError};

/// Something that happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// A client has connected, and there is room for it.
    ConnectionOpened {
        /// The listener's name.
        listener: &'a str,
    },
    /// Such a connection is over.
    ConnectionClosed {
        /// The listener's name.
        listener: &'a str,
    },
    /// The next answer on a connection is its last.
    ConnectionRecycled {
        /// The listener's name.
        listener: &'a str,
        /// Why: `requests`, `age` or `memory`.
        reason: &'static str,
    },
    /// How much memory there is left has changed.
    MemoryChanged {
        /// `enough`, `short`, `scarce` or `gone`.
        memory: &'static str,
        /// As a number, for the gauge.
        level: i64,
        /// What the process takes, in bytes.
        bytes: u64,
    },
    /// A connection was closed before a request was read on it.
    ConnectionRefused {
        /// The listener's name.
        listener: &'a str,
        /// Why, from a closed set.
        reason: &'static str,
        /// What was wrong with a handshake, in the library's words.
        why: Option<&'a std::io::Error>,
    },
    /// A connection was secured.
    HandshakeDone {
        /// The listener's name.
        listener: &'a str,
        /// The version of TLS.
        version: &'static str,
        /// The client has come back with a ticket.
        is_resumed: bool,
    },
    /// These certificates are shown from now on; each by name, with its end in seconds since 1970.
    CertificatesShown {
        /// The listener's name.
        listener: &'a str,
        /// Those that were shown so far; `None` at the start.
        before: Option<&'a [(String, i64)]>,
        /// Those that are shown now.
        now: &'a [(String, i64)],
    },
    /// The files of certificates have changed, and can't be used: nothing else has changed.
    CertificatesKept {
        /// The listener's name.
        listener: &'a str,
        /// What is wrong with one of them.
        why: &'a str,
    },
    /// A certificate was ordered from an authority (ACME).
    CertificateOrdered {
        /// The listener's name.
        listener: &'a str,
        /// Why there is none, and how long it takes until it is ordered again.
        failure: Option<(&'a str, Duration)>,
    },
    /// A certificate ends soon, or has ended, or is otherwise seldom meant.
    CertificateDoubtful {
        /// The listener's name.
        listener: &'a str,
        /// What is to be known of it.
        why: &'a str,
    },
    /// Header fields of a request were dropped for a `_` in their name.
    FieldsDropped {
        /// The listener's name.
        listener: &'a str,
        /// How many.
        number: u64,
    },
    /// The head of a request could not be read, so there is no exchange.
    HeadRefused {
        /// The listener's name.
        listener: &'a str,
        /// What the client was answered.
        code: Code,
    },
    /// A client took too long to send the head of a request.
    HeadTimedOut {
        /// The listener's name.
        listener: &'a str,
    },
    /// A connection is closed, because its client took too long between two requests, or to begin
    /// the first, or takes nothing of what is sent to it.
    ClientTimedOut {
        /// The listener's name.
        listener: &'a str,
        /// The bound that has acted, by its name in the file.
        bound: &'static str,
    },
    /// Something happened on a connection that speaks HTTP/2.
    Http2 {
        /// The listener's name.
        listener: &'a str,
        /// What it was.
        what: Http2Event,
    },
    /// Routing and filters have decided on a request.
    RequestDecided {
        /// Its route.
        route: &'a RouteMetrics,
        /// Since the request's head was read.
        took: Duration,
    },
    /// An upstream's answer began.
    UpstreamAnswered {
        /// The route of the request.
        route: &'a RouteMetrics,
        /// The answer's status.
        status: u16,
        /// Since an endpoint was chosen.
        took: Duration,
    },
    /// An endpoint took no connection, and another one is tried.
    UpstreamRetried {
        /// The upstream's name.
        upstream: &'a str,
    },
    /// An upstream gave no answer, or no whole one.
    UpstreamFailed {
        /// The upstream's name.
        upstream: &'a str,
        /// The endpoint that was asked last; `None` if none has an address.
        endpoint: Option<SocketAddr>,
        /// What broke, in a few words of ours.
        why: &'a str,
    },
    /// A request was answered, or its client went away.
    ExchangeEnded(&'a Ended<'a>),
    /// A stream started or ended on this gateway, or was refused. A gateway that subscribes to
    /// these at all does so because a sink takes them: [`Observe::takes_streams`].
    ///
    /// [`Observe::takes_streams`]: super::Observe::takes_streams
    Stream {
        /// The policy's name.
        policy: &'a str,
        /// Which stream, and what happened to it.
        event: &'a LeaseEvent,
    },
    /// A token states a limit in a form that can't be used, so the default applies. Told once for
    /// each claim; the policy counts how often it happens.
    LimitClaimUnusable {
        /// The policy's name.
        policy: &'a str,
        /// The claim's name in the file.
        claim: &'a str,
    },
    /// Health checks changed their verdict on an endpoint.
    EndpointChanged {
        /// The upstream's name.
        upstream: &'a str,
        /// Which endpoint, and the new verdict.
        change: &'a Change,
    },
    /// Requests to an endpoint failed or took too long, so it is not asked for a while.
    EndpointEjected {
        /// The upstream's name.
        upstream: &'a str,
        /// Which endpoint, why and for how long.
        ejection: &'a Ejection,
    },
    /// The breaker of an upstream refuses requests from now on, or lets them through again.
    BreakerChanged {
        /// The upstream's name.
        upstream: &'a str,
        /// What became of it.
        change: BreakerChange,
    },
    /// A name was looked up.
    NameLookedUp {
        /// Who needs it, for people: `upstream stream`.
        whose: &'a str,
        /// The name as the file has it.
        name: &'a str,
        /// What came of it.
        lookup: &'a Lookup,
    },
    /// A store came within reach or was lost.
    StoreChanged {
        /// The store's name.
        store: &'a str,
        /// Why it does not serve; none: it does.
        failure: Option<&'a StoreError>,
    },
    /// New requests are answered by another configuration.
    ConfigApplied {
        /// Who or what asked for it.
        cause: &'a str,
        /// How many configurations have run, this one included.
        generation: u64,
        /// The beginning of the SHA-256 of the file's text.
        hash: &'a str,
        /// What of it holds only after a restart.
        restart_needed: &'a [&'static str],
        /// What can run and is probably not meant.
        warnings: &'a Report,
    },
    /// The configuration was read again, and nothing has changed because of mistakes in it.
    ConfigRejected {
        /// Who or what asked for it.
        cause: &'a str,
        /// What is wrong.
        report: &'a Report,
    },
    /// A store is too far away for its deadlines.
    StoreTooFar {
        /// The store's name.
        store: &'a str,
        /// How far: there and back.
        round_trip: Duration,
        /// What its questions may take.
        deadlines: Deadlines,
    },
    /// The admin port was asked to end one session, or all sessions of an account. Whose they were
    /// is not part of the event.
    SessionsRevoked {
        /// The store's name.
        store: &'a str,
        /// `session` or `account`.
        whose: &'static str,
        /// Whether the store has done it.
        is_done: bool,
    },
    /// A key set was fetched, or could not be.
    KeySetRefreshed {
        /// The key set.
        key_set: &'a KeySet,
        /// What came of it.
        refresh: &'a Refresh,
    },
}

/// What happens on connections that speak HTTP/2.
#[derive(Clone, Copy, Debug)]
pub enum Http2Event {
    /// A request came.
    Request,
    /// Streams were broken off.
    StreamsReset {
        /// `client` or `gateway`.
        by: &'static str,
        /// The reason that was given, from a closed set.
        reason: &'static str,
        /// How many.
        number: u32,
    },
    /// A connection is over.
    ConnectionEnded {
        /// From a closed set.
        how: &'static str,
    },
}

/// What is told of the connection of an exchange, where TLS ends here.
#[derive(Clone, Copy, Debug)]
pub struct Tls<'a> {
    /// `1.2` or `1.3`.
    pub version: &'static str,
    /// The name that the client asked for (SNI).
    pub sni: Option<&'a str>,
    /// Who the client is by its certificate, which was verified.
    pub client: Option<&'a ClientIdentity>,
}

/// An exchange that is over.
#[derive(Debug)]
pub struct Ended<'a> {
    /// The listener's place in the file, and its name.
    pub listener: (usize, &'a str),
    /// The series of its route, or of requests that no route matched.
    pub route: &'a RouteMetrics,
    /// What filters found out, and what was refused.
    pub exchange: &'a Exchange,
    /// From the request's head to the end of the answer.
    pub took: Duration,
    /// What client and gateway agreed on, where TLS ends here.
    pub tls: Option<Tls<'a>>,
    /// The request's head as the client wrote it. A sink that tells a field of it looks it up
    /// itself: where nobody tells it, it costs nothing.
    pub head: &'a Parts,
    /// Whether the peer is believed, and with it the id that it gave the request.
    pub is_peer_trusted: bool,
    /// Without a token and without the query.
    pub path: &'a str,
    /// 0 when nothing was sent.
    pub status: u16,
    /// Body bytes from the client.
    pub request_bytes: u64,
    /// Body bytes to the client.
    pub response_bytes: u64,
    /// The upstream's name, and the endpoint that was asked last.
    pub upstream: Option<(&'a str, SocketAddr)>,
    /// What broke, in a few words of ours; never anything that a client sent.
    pub fault: Option<&'a str>,
    /// The bound on the client's time that has ended it, by its name in the file, if one has.
    pub bound: Option<&'static str>,
}
