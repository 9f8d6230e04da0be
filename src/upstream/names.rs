//! The names among an upstream's endpoints, each followed by a task of whoever runs the gateway.

use super::Upstream;
use super::written::Written;
use crate::resolve::{Follower, Found, Lookup, Resolver, Target};
use std::net::IpAddr;
use std::sync::Arc;

/// One name of an upstream that is followed.
#[derive(Debug)]
pub struct EndpointName {
    upstream: Arc<Upstream>,
    /// Its place among the upstream's written endpoints.
    place: usize,
    follower: Follower,
}

impl EndpointName {
    /// Waits until the name is due and looks it up. Requests that come after that see the answer.
    pub async fn next(&mut self) -> Lookup {
        let mut lookup = self.follower.next().await;
        self.upstream.learn(self.place, &lookup);
        if lookup.is_changed {
            lookup.surplus += self.upstream.pool().surplus;
        }
        lookup
    }

    /// The upstream that has the name.
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// The name as it is written.
    pub fn written(&self) -> &str {
        &self.upstream.written[self.place].name
    }
}

/// What is known of one entry of `endpoints`.
#[derive(Clone, Debug, Default)]
pub struct Resolved {
    /// Where it leads; empty for a name that never had an address.
    pub found: Arc<[Found]>,
    /// Why the last look-up gave nothing.
    pub error: Option<String>,
    /// Addresses left out because this machine has no route to them.
    pub unrouted: Vec<IpAddr>,
    /// How many servers were left out because they are too many.
    pub surplus: usize,
}

impl Upstream {
    /// Followers of all names of this upstream.
    pub fn names(self: &Arc<Self>, resolver: &Resolver) -> Vec<EndpointName> {
        let written = self.written.iter().enumerate();
        let names = written.filter(|(_, it)| !matches!(it.target, Target::Address(_)));
        let names = names.map(|(place, written)| EndpointName {
            upstream: Arc::clone(self),
            place,
            follower: Follower::new(
                written.target.clone(),
                resolver.clone(),
                Arc::clone(&self.mould.doubt),
            ),
        });
        names.collect()
    }

    /// Takes over what is known of endpoints that `before` has, too: where names lead, and which
    /// addresses are well; and what holds of the whole.
    pub fn take_over(&mut self, before: &Upstream) {
        let known = before.resolved.lock();
        let mut resolved = self.resolved.lock();
        for (written, entry) in self.written.iter().zip(resolved.iter_mut()) {
            let same = before.written.iter().position(|it| it.target == written.target);
            if let Some(place) = same {
                *entry = known[place].clone();
            }
        }
        let pool = self.mould.pool(servers(&self.written, &resolved), Some(&before.pool()));
        self.pool.store(Arc::new(pool));
        self.budget.take_over(&before.budget);
        if let (Some(breaker), Some(before)) = (&self.breaker, &before.breaker) {
            breaker.take_over(before);
        }
        drop(resolved);
        self.in_flight.take_over(&before.in_flight);
    }

    /// Each name among the endpoints, and what is known of it.
    pub fn resolved(&self) -> Vec<(Arc<str>, Resolved)> {
        let resolved = self.resolved.lock();
        let all = self.written.iter().zip(resolved.iter());
        let names = all.filter(|(it, _)| !matches!(it.target, Target::Address(_)));
        names.map(|(it, resolved)| (Arc::clone(&it.name), resolved.clone())).collect()
    }

    /// Enters what a look-up of the name at `place` gave; a change makes another pool.
    fn learn(&self, place: usize, lookup: &Lookup) {
        let mut resolved = self.resolved.lock();
        let entry = &mut resolved[place];
        entry.error = lookup.error.as_ref().map(ToString::to_string);
        if lookup.error.is_none() {
            (entry.unrouted, entry.surplus) = (lookup.unrouted.clone(), lookup.surplus);
        }
        if lookup.is_changed {
            entry.found = Arc::clone(&lookup.found);
            let pool = self.mould.pool(servers(&self.written, &resolved), Some(&self.pool()));
            self.pool.store(Arc::new(pool));
        }
    }
}

/// All servers that the entries lead to.
pub(super) fn servers<'a>(
    written: &'a [Written],
    resolved: &'a [Resolved],
) -> impl Iterator<Item = (&'a Written, &'a Found)> {
    let all = written.iter().zip(resolved);
    all.flat_map(|(it, known)| known.found.iter().map(move |found| (it, found)))
}
