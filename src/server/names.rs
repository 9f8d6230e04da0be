//! The names of upstreams and of trusted peers: looked up once before the first connection is
//! taken, then followed as long as the gateway runs.

use crate::edge::{Listener, TrustedName};
use crate::observe::{Event, Observe};
use crate::resolve::Resolver;
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

/// The names that a listener trusts, none of them looked up.
pub(super) fn of_listener(listener: &Listener, resolver: &Resolver) -> Vec<Name> {
    let names = listener.trusted.names(resolver).into_iter();
    names.map(|name| Name::Peer { listener: Arc::clone(&listener.name), name }).collect()
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
        Name::Endpoint(name) => (format!("upstream {}", name.upstream().name), name.written()),
        Name::Peer { listener, name } => (format!("trusted of {listener}"), name.written()),
    };
    observe.emit(&Event::NameLookedUp { whose: &whose, name, lookup: &lookup });
}
