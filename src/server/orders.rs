//! Orders the certificate of a listener when it is time to, and again when that has failed.

use crate::acme::Acme;
use crate::edge::Listener;
use crate::observe::{Event, Observe};
use rand::RngExt;
use std::sync::Arc;
use std::time::Duration;

/// How long the listener has to open before an authority may come to it.
const FIRST_AFTER: Duration = Duration::from_secs(1);

/// How long is waited after the first failure; then twice as long, and so on.
const AGAIN_AFTER: Duration = Duration::from_secs(30);

/// The longest wait after a failure. Authorities count failures, and some refuse for an hour.
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(6 * 3_600);

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
        let mut again_after = AGAIN_AFTER;
        tokio::time::sleep(FIRST_AFTER).await;
        loop {
            let wait = self.acme.due();
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
                continue;
            }
            match self.acme.order().await {
                Ok(()) => {
                    self.observe.emit(&Event::CertificateOrdered { listener, failure: None });
                    again_after = AGAIN_AFTER;
                }
                Err(error) => {
                    let wait = again_after.mul_f64(rand::rng().random_range(0.75..1.25));
                    let why = error.to_string();
                    let failure = Some((why.as_str(), wait));
                    self.observe.emit(&Event::CertificateOrdered { listener, failure });
                    tokio::time::sleep(wait).await;
                    again_after = (again_after * 2).min(AGAIN_AFTER_MAX);
                }
            }
        }
    }
}
