//! The background tasks of the gateway, each as one future. `background.rs` runs them.

use super::generations::Generations;
use crate::activity::Revocations;
use crate::admin::{Admin, StoreService};
use crate::concurrency::Policy;
use crate::observe::{Event, Observe};
use crate::session::KeySet;
use crate::session::key_set::Refresh;
use crate::store::{Endings, Store};
use crate::upstream::{BreakerChange, Ejection, Probe};
use axum::Router;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use streamgate_lease::redis::{Health, Monitor};
use streamgate_lease::{Events, StoreError};
use tokio::sync::{mpsc, watch};

/// Serves the admin port, until the listeners close: the next process needs it, too.
pub(super) async fn serve_admin(
    socket: TcpListener,
    router: Router,
    is_closing: watch::Receiver<bool>,
) {
    let served = match tokio::net::TcpListener::from_std(socket) {
        Ok(socket) => {
            let stop = until_true(is_closing);
            axum::serve(socket, router).with_graceful_shutdown(stop).await
        }
        Err(error) => Err(error),
    };
    if let Err(error) = served {
        tracing::error!(%error, "the admin port is closed");
    }
}

pub(super) async fn until_true(mut changes: watch::Receiver<bool>) {
    // An error means that the gateway is gone, which is as final.
    let _ = changes.wait_for(|is_true| *is_true).await;
}

/// Runs a task that has no end of its own until the gateway stops.
pub(super) async fn until(stop: impl Future<Output = ()>, task: impl Future<Output = ()>) {
    tokio::select! { () = stop => {}, () = task => {} }
}

/// Where it is told how a store is.
#[derive(Clone)]
pub(super) struct StoreReport {
    pub(super) store: Arc<Store>,
    pub(super) admin: Arc<Admin>,
    pub(super) observe: Observe,
}

impl StoreReport {
    /// One side of the store serves, or why it does not. It is told once, whichever side finds out.
    fn tell(&self, service: StoreService, failure: Option<&StoreError>) {
        if self.admin.stores.enter(&self.store.name, service, failure) {
            self.observe.emit(&Event::StoreChanged { store: &self.store.name, failure });
        }
    }
}

pub(super) async fn follow_health(mut monitor: Monitor, report: StoreReport) {
    loop {
        let Health { failure, too_far } = monitor.next().await;
        report.tell(StoreService::Commands, failure.as_ref());
        if let Some(round_trip) = too_far {
            let deadlines = report.store.deadlines();
            let store = &report.store.name;
            report.observe.emit(&Event::StoreTooFar { store, round_trip, deadlines });
        }
    }
}

pub(super) async fn follow_revocations(mut revocations: Revocations, report: StoreReport) {
    loop {
        let failure = revocations.until_changed().await.err();
        report.tell(StoreService::Messages, failure.as_ref());
    }
}

pub(super) async fn tell_repeated(observe: Observe) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    loop {
        seconds.tick().await;
        observe.tell_repeated(false);
    }
}

pub(super) async fn follow_endings(mut endings: Endings, generations: Generations) {
    loop {
        let ended = endings.next().await;
        let live = generations.live();
        for policy in live.iter().flat_map(|gateway| &gateway.policies) {
            match ended.is_mark {
                false => policy.leases().mark_stale(&ended.holder, &ended.id),
                true => policy.leases().mark_older(&ended.holder, &ended.id),
            }
        }
    }
}

pub(super) async fn report_claims(policy: Arc<Policy>, observe: Observe) {
    loop {
        let claim = policy.unusable_claims.next().await;
        observe.emit(&Event::LimitClaimUnusable { policy: &policy.name, claim: &claim });
    }
}

pub(super) async fn report_streams(mut events: Events, policy: Arc<str>, observe: Observe) {
    while let Some(event) = events.recv().await {
        observe.emit(&Event::Stream { policy: &policy, event: &event });
    }
}

pub(super) async fn report_ejections(
    mut ejections: mpsc::Receiver<Ejection>,
    upstream: Arc<str>,
    observe: Observe,
) {
    while let Some(ejection) = ejections.recv().await {
        observe.emit(&Event::EndpointEjected { upstream: &upstream, ejection: &ejection });
    }
}

pub(super) async fn report_breaker(
    mut changes: mpsc::Receiver<BreakerChange>,
    upstream: Arc<str>,
    observe: Observe,
) {
    while let Some(change) = changes.recv().await {
        observe.emit(&Event::BreakerChanged { upstream: &upstream, change });
    }
}

pub(super) async fn check_health(probe: Probe, observe: Observe) {
    loop {
        for change in probe.round().await {
            let upstream = &probe.upstream().name;
            observe.emit(&Event::EndpointChanged { upstream, change: &change });
        }
        tokio::time::sleep(probe.pause()).await;
    }
}

pub(super) async fn refresh(
    key_set: Arc<KeySet>,
    stopped: watch::Receiver<bool>,
    observe: Observe,
) {
    let report = |key_set: &KeySet, refresh: &Refresh| {
        observe.emit(&Event::KeySetRefreshed { key_set, refresh });
    };
    key_set.run(stopped, report).await;
}

#[cfg(test)]
mod tests;
