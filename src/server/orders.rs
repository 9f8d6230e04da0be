//! Orders the certificate of a listener when it is time to, and again when that has failed.

use crate::acme::{Acme, Outcome};
use crate::edge::Listener;
use crate::observe::{Event, Observe};
use crate::store::Store;
use rand::RngExt;
use std::sync::Arc;
use std::time::Duration;

/// How long the listener has to open before an authority may come to it.
const FIRST_AFTER: Duration = Duration::from_secs(1);

/// How long is waited after the first failure; then twice as long, and so on.
const AGAIN_AFTER: Duration = Duration::from_secs(30);

/// The longest wait after a failure. Authorities count failures, and some refuse for an hour.
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(6 * 3_600);

/// How long another gateway of a fleet is left alone that has the turn.
const ANOTHER_LEFT_FOR: Duration = Duration::from_secs(5);

/// Gives these listeners the stores that they keep their certificates in.
pub(super) fn attach<'a>(
    listeners: impl Iterator<Item = &'a Arc<Listener>>,
    stores: &[Arc<Store>],
) {
    for acme in listeners.filter_map(|listener| listener.tls.as_ref()?.acme()) {
        let store = stores.iter().find(|store| Some(&*store.name) == acme.store());
        if let Some(store) = store {
            acme.attach(store);
        }
    }
}

/// Lets listeners that are not open yet show what is kept for them.
pub(super) async fn first_looks<'a>(
    listeners: impl Iterator<Item = &'a Arc<Listener>>,
    observe: &Observe,
) {
    for listener in listeners {
        let Some(tls) = listener.tls.as_ref() else { continue };
        let Some(acme) = tls.acme().filter(|acme| acme.store().is_some()) else { continue };
        // What is wrong, the order tells that is due then.
        let _ = acme.look().await;
        if let Some(Err(problems)) = tls.look_again() {
            for problem in problems {
                let (listener, why) = (&*listener.name, problem.text.as_str());
                observe.emit(&Event::CertificatesKept { listener, why });
            }
        }
    }
}

/// Looks after the order of one listener.
pub(super) struct Orders {
    listener: Arc<Listener>,
    acme: Arc<Acme>,
    observe: Observe,
}

impl Orders {
    /// Those of a listener that orders its certificate.
    pub(super) fn of(listener: &Arc<Listener>, observe: &Observe) -> Option<Self> {
        let acme = listener.tls.as_ref()?.acme()?.clone();
        Some(Orders { listener: Arc::clone(listener), acme, observe: observe.clone() })
    }

    /// Orders again and again, each time that it is due.
    pub(super) async fn run(self) {
        let listener = &*self.listener.name;
        let mut failures = 0;
        tokio::time::sleep(FIRST_AFTER).await;
        loop {
            let wait = self.acme.due();
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
                continue;
            }
            match self.acme.order().await {
                Ok(Outcome::Ordered) => {
                    self.observe.emit(&Event::CertificateOrdered { listener, failure: None });
                    failures = 0;
                }
                Ok(Outcome::LeftToAnother) => tokio::time::sleep(ANOTHER_LEFT_FOR).await,
                Err(error) => {
                    failures = self.acme.count_failure(&error, failures + 1).await;
                    let wait = again_after(failures);
                    let why = error.to_string();
                    let failure = Some((why.as_str(), wait));
                    self.observe.emit(&Event::CertificateOrdered { listener, failure });
                    self.acme.rest(wait).await;
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }
}

/// How long is waited after so many failures in a row, give or take a quarter.
fn again_after(failures: u32) -> Duration {
    let doubled = 2_u32.checked_pow(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    let wait = AGAIN_AFTER.checked_mul(doubled).unwrap_or(AGAIN_AFTER_MAX).min(AGAIN_AFTER_MAX);
    wait.mul_f64(rand::rng().random_range(0.75..1.25))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_doubles_the_wait_up_to_a_bound() {
        for (failures, secs) in [(0, 30), (1, 30), (2, 60), (5, 480), (20, 21_600), (99, 21_600)] {
            let (wait, secs) = (again_after(failures), Duration::from_secs(secs));
            assert!(
                secs.mul_f64(0.75) <= wait && wait <= secs.mul_f64(1.25),
                "{failures}: {wait:?}"
            );
        }
    }
}
