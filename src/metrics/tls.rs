//! What is counted of TLS at listeners: handshakes, certificates, and where these come from.

use super::family::Families;
use prometheus::{IntCounterVec, IntGaugeVec};

/// The families of TLS at listeners.
#[derive(Debug)]
pub(crate) struct TlsMetrics {
    handshakes: IntCounterVec,
    certificate_not_after: IntGaugeVec,
    reloads: IntCounterVec,
    acme_orders: IntCounterVec,
}

impl TlsMetrics {
    pub(super) fn new(f: &mut Families) -> Self {
        TlsMetrics {
            handshakes: f.counters(
                "tls_handshakes_total",
                "Connections secured, by version and kind: full, or resumed with a ticket.",
                &["listener", "version", "kind"],
            ),
            certificate_not_after: f.gauges(
                "tls_certificate_not_after_seconds",
                "When a certificate ends, in seconds since 1970; its name is its first host.",
                &["listener", "name"],
            ),
            reloads: f.counters(
                "tls_reloads_total",
                "Changes of certificates' files: done, or refused because they can't be used.",
                &["listener", "result"],
            ),
            acme_orders: f.counters(
                "tls_acme_orders_total",
                "Certificates that were ordered from an authority: done, or failed.",
                &["listener", "result"],
            ),
        }
    }

    /// A handshake was made.
    pub(crate) fn shook_hands(&self, listener: &str, version: &str, is_resumed: bool) {
        let kind = if is_resumed { "resumed" } else { "full" };
        self.handshakes.with_label_values(&[listener, version, kind]).inc();
    }

    /// These certificates are shown `now`, in place of those before.
    pub(crate) fn shows(
        &self,
        listener: &str,
        before: Option<&[(String, i64)]>,
        now: &[(String, i64)],
    ) {
        for (name, _) in before.into_iter().flatten() {
            // An error means that it was not shown, which is as good.
            let _ = self.certificate_not_after.remove_label_values(&[listener, name]);
        }
        if before.is_some() {
            self.reloads.with_label_values(&[listener, "done"]).inc();
        }
        for (name, end) in now {
            self.certificate_not_after.with_label_values(&[listener, name]).set(*end);
        }
    }

    /// Changed files can't be used.
    pub(crate) fn keeps(&self, listener: &str) {
        self.reloads.with_label_values(&[listener, "refused"]).inc();
    }

    /// A certificate was ordered.
    pub(crate) fn ordered(&self, listener: &str, has_failed: bool) {
        let result = if has_failed { "failed" } else { "done" };
        self.acme_orders.with_label_values(&[listener, result]).inc();
    }
}
