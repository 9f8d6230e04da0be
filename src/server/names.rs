//! The names of upstreams: looked up once before the first connection is taken, then followed as
//! long as the gateway runs.

use crate::gateway::Gateway;
use crate::observe::{Event, Observe};
use crate::upstream::EndpointName;
use futures_util::future::join_all;

/// The names of all upstreams, none of them looked up.
pub(super) fn all(gateway: &Gateway) -> Vec<EndpointName> {
    let upstreams = gateway.upstreams.iter();
    upstreams.flat_map(|upstream| upstream.names(&gateway.resolver)).collect()
}

/// Looks all names up once. It takes as long as the slowest, and that is bounded by the resolver's
/// timeout; a name that has no address then is looked up again later.
pub(super) async fn first_answers(
    mut names: Vec<EndpointName>,
    observe: Observe,
) -> Vec<EndpointName> {
    join_all(names.iter_mut().map(|name| look_up(name, &observe))).await;
    names
}

/// Follows one name, for ever.
pub(super) async fn follow(mut name: EndpointName, observe: Observe) {
    loop {
        look_up(&mut name, &observe).await;
    }
}

async fn look_up(name: &mut EndpointName, observe: &Observe) {
    let lookup = name.next().await;
    let whose = format!("upstream {}", name.upstream());
    let (whose, name) = (whose.as_str(), name.written());
    observe.emit(&Event::NameLookedUp { whose, name, lookup: &lookup });
}
