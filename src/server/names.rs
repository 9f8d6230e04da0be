//! The names of upstreams and of trusted peers: looked up once before the first connection is
//! taken, then followed as long as the gateway runs.

use crate::edge::{Listener, TrustedName};
use crate::gateway::Gateway;
use crate::observe::{Event, Observe};
use crate::upstream::EndpointName;
use futures_util::future::join_all;
use std::sync::Arc;

/// A name that is followed.
pub(super) enum Name {
    Endpoint(EndpointName),
    /// A host that a listener trusts.
    Peer {
        listener: Arc<str>,
        name: TrustedName,
    },
}

/// All names of the gateway and its listeners, none of them looked up.
pub(super) fn all<'a>(
    gateway: &Gateway,
    listeners: impl Iterator<Item = &'a Arc<Listener>>,
) -> Vec<Name> {
    let upstreams = gateway.upstreams.iter();
    let endpoints = upstreams.flat_map(|upstream| upstream.names(&gateway.resolver));
    let peers = listeners.flat_map(|listener| {
        let names = listener.trusted.names(&gateway.resolver).into_iter();
        names.map(|name| Name::Peer { listener: Arc::clone(&listener.name), name })
    });
    endpoints.map(Name::Endpoint).chain(peers).collect()
}

/// Looks all names up once. It takes as long as the slowest, and that is bounded by the resolver's
/// timeout; a name that has no address then is looked up again later.
pub(super) async fn first_answers(mut names: Vec<Name>, observe: Observe) -> Vec<Name> {
    join_all(names.iter_mut().map(|name| look_up(name, &observe))).await;
    names
}

/// Follows one name, for ever.
pub(super) async fn follow(mut name: Name, observe: Observe) {
    loop {
        look_up(&mut name, &observe).await;
    }
}

async fn look_up(name: &mut Name, observe: &Observe) {
    let lookup = match name {
        Name::Endpoint(name) => name.next().await,
        Name::Peer { name, .. } => name.next().await,
    };
    let (whose, name) = match name {
        Name::Endpoint(name) => (format!("upstream {}", name.upstream()), name.written()),
        Name::Peer { listener, name } => (format!("trusted of {listener}"), name.written()),
    };
    observe.emit(&Event::NameLookedUp { whose: &whose, name, lookup: &lookup });
}
