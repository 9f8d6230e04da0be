//! Follows the files of a listener's certificates: what is renewed is shown without a restart.

use crate::acme::PLACEHOLDER_END;
use crate::clock;
use crate::edge::Listener;
use crate::edge::tls::{EXPIRY_WARNED_BEFORE, Tls};
use crate::observe::{Event, Observe};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How often the files are looked at. Their bytes are read, not their dates: a link to another
/// folder, as Kubernetes makes it, changes no date.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(2);

/// How often one certificate is warned of.
const WARNED_EVERY: Duration = Duration::from_secs(24 * 3_600);

/// Looks after the certificates of one listener.
pub(super) struct CertificateFollower {
    listener: Arc<Listener>,
    tls: Arc<Tls>,
    observe: Observe,
    /// Who was warned of, and when.
    warned: HashMap<String, Instant>,
}

impl CertificateFollower {
    /// The follower of a listener that speaks TLS.
    pub(super) fn of(listener: &Arc<Listener>, observe: &Observe) -> Option<Self> {
        let tls = listener.tls.clone()?;
        let (listener, observe) = (Arc::clone(listener), observe.clone());
        Some(CertificateFollower { listener, tls, observe, warned: HashMap::new() })
    }

    /// Looks again and again.
    pub(super) async fn run(mut self) {
        let listener = Arc::clone(&self.listener);
        let listener = &*listener.name;
        let now = self.tls.ends();
        self.observe.emit(&Event::CertificatesShown { listener, before: None, now: &now });
        loop {
            self.warn();
            tokio::time::sleep(LOOKED_AT_EVERY).await;
            if let Some(acme) = self.tls.acme() {
                // What is wrong, the order tells that is due then; what was shown is shown on.
                let _ = acme.look().await;
            }
            let tls = Arc::clone(&self.tls);
            // A disk that hangs holds up nobody else.
            let looked = tokio::task::spawn_blocking(move || tls.look_again()).await;
            match looked.ok().flatten() {
                None => {}
                Some(Ok(change)) => {
                    let (before, now) = (Some(change.before.as_slice()), change.now.as_slice());
                    self.observe.emit(&Event::CertificatesShown { listener, before, now });
                    for problem in &change.warnings {
                        let why = &problem.text;
                        self.observe.emit(&Event::CertificateDoubtful { listener, why });
                    }
                    // Those that end soon are among them.
                    let shown = self.tls.ends().into_iter();
                    self.warned = shown.map(|(name, _)| (name, Instant::now())).collect();
                }
                Some(Err(problems)) => {
                    for problem in problems {
                        let why = &problem.text;
                        self.observe.emit(&Event::CertificatesKept { listener, why });
                    }
                }
            }
        }
    }

    /// Warns of certificates that end soon, of each once a day.
    fn warn(&mut self) {
        let now = i64::try_from(clock::unix_seconds()).unwrap_or(i64::MAX);
        let soon = i64::try_from(EXPIRY_WARNED_BEFORE.as_secs()).unwrap_or(i64::MAX);
        // Of one that is still ordered, the log says why it is not there.
        let is_due = |end: i64| end <= now + soon && end != PLACEHOLDER_END;
        for (name, end) in self.tls.ends().into_iter().filter(|(_, end)| is_due(*end)) {
            let is_fresh = |told: &Instant| told.elapsed() < WARNED_EVERY;
            if self.warned.get(&name).is_some_and(is_fresh) {
                continue;
            }
            let day = 24 * 3_600;
            let why = match (end - now) / day {
                _ if end <= now => format!("the certificate of `{name}` has expired: renew it"),
                0 => format!("the certificate of `{name}` expires within a day: renew it"),
                days => format!("the certificate of `{name}` expires in {days} days: renew it"),
            };
            let listener = &*self.listener.name;
            self.observe.emit(&Event::CertificateDoubtful { listener, why: &why });
            self.warned.insert(name, Instant::now());
        }
    }
}
