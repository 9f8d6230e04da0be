//! How a gateway stops: away from the load balancers first, then from its sockets, and only then
//! from those whom it still answers.

use super::Running;
use super::service_manager;
use super::signal::{Signal, Signals};
use crate::admin::{ReloadRequest, UpgradeRequest};
use crate::edge::LAST_REQUEST_WITHIN;
use futures_util::future::{join_all, pending};
use std::pin::pin;
use std::time::Duration;
use tracing::{info, warn};

/// How long background tasks may take to end: a client may be connected to the admin port.
const TASKS_END_WITHIN: Duration = Duration::from_secs(1);

/// How a gateway ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// How many requests were cut off, because they were not answered in time.
    pub cut: u64,
}

impl Running {
    /// Runs until a signal asks it to end, then stops in order, as the configuration says; requests
    /// under way may take `timeout`, if that is given.
    pub fn run(self, mut signals: Signals, timeout: Option<Duration>) -> Stopped {
        self.wait(&mut signals);
        let drain = self.reloader.drain();
        let delay = match *self.is_replaced.borrow() {
            // Nobody has to look elsewhere: the other process is at the same addresses.
            true => Duration::ZERO,
            false => {
                service_manager::is_stopping();
                drain.delay.0
            }
        };
        self.end(Some(signals), delay, timeout.unwrap_or(drain.timeout.0))
    }

    /// Waits until a signal asks it to end, or another process has taken its place; does meanwhile
    /// what other signals ask for.
    pub fn wait(&self, signals: &mut Signals) {
        let why = self.runtimes.wait(async {
            let mut is_replaced = self.is_replaced.clone();
            let replaced = async {
                // Without anybody who could replace it, it is never replaced.
                if is_replaced.wait_for(|is_replaced| *is_replaced).await.is_err() {
                    pending().await
                }
            };
            let mut replaced = pin!(replaced);
            loop {
                let signal = tokio::select! {
                    signal = signals.next() => signal,
                    () = &mut replaced => return "another process is in its place",
                };
                match signal {
                    Signal::Stop(signal) => return signal,
                    other => self.heed(other),
                }
            }
        });
        info!(signal = why, "asked to stop");
    }

    /// Stops in order and at once: requests under way end or are cut after `timeout`.
    pub fn stop(self, timeout: Duration) -> Stopped {
        self.end(None, Duration::ZERO, timeout)
    }

    fn end(self, mut signals: Option<Signals>, delay: Duration, timeout: Duration) -> Stopped {
        self.reloader.admin.is_ready.set(false);
        // Who stops it from within waits for requests under way alone.
        let is_asked = signals.is_some();
        let (under_way, delay_ms) = (self.reloader.in_flight.now(), delay.as_millis() as u64);
        info!(under_way, delay_ms, timeout_ms = timeout.as_millis() as u64, "stopping");
        self.runtimes.wait(async {
            // Load balancers look away before anybody is refused.
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = self.until_stopped_again(&mut signals) => info!("the delay is cut short"),
            }
            self.reloader.close();
            // The receiver is gone only if the admin port is.
            let _ = self.stop.send(true);
            info!(
                under_way = self.reloader.in_flight.now(),
                "listeners and the admin port are closed"
            );
            let still = async {
                loop {
                    self.until_stopped_again(&mut signals).await;
                    warn!("it is stopping already; only SIGKILL cuts what is under way");
                }
            };
            tokio::select! {
                () = self.last_answered(is_asked) => {}
                () = tokio::time::sleep(timeout) => {}
                _ = still => {}
            }
        });
        let cut = self.reloader.in_flight.now();
        self.reloader.end_workers();
        self.reloader.observe.tell_repeated(true);
        // Until here leases are renewed.
        let _ = self.end.send(true);
        let tasks = join_all(self.tasks.into_iter().chain(self.reloader.end_tasks()));
        self.runtimes.wait(async {
            let _ = tokio::time::timeout(TASKS_END_WITHIN, tasks).await;
        });
        self.runtimes.end();
        drop(self.log);
        match cut {
            0 => info!("stopped: every request was answered"),
            _ => warn!(cut, "stopped: requests were cut, as `drain.timeout` was over"),
        }
        Stopped { cut }
    }

    /// Waits until nobody is answered any more, and until those have closed their connections, or
    /// have had the time for one last request, who did not know that the gateway stops.
    async fn last_answered(&self, waits_for_connections: bool) {
        if waits_for_connections {
            // Those that are answered for longer are waited for below.
            let closed = self.reloader.open.none();
            let _ = tokio::time::timeout(2 * LAST_REQUEST_WITHIN, closed).await;
        }
        self.reloader.in_flight.none().await;
    }

    /// Waits for another wish to stop; does meanwhile what other signals ask for.
    async fn until_stopped_again(&self, signals: &mut Option<Signals>) {
        let Some(signals) = signals else { return pending().await };
        loop {
            match signals.next().await {
                Signal::Stop(_) => return,
                other => self.heed(other),
            }
        }
    }

    fn heed(&self, signal: Signal) {
        match signal {
            Signal::Reload(signal) => {
                info!(signal, "the access log is to be opened, and the configuration to be read");
                self.log.reopen();
                // A full queue holds reloads that were not begun yet.
                let _ = self.reloads.try_send(ReloadRequest { cause: signal, answer: None });
            }
            Signal::Reopen(signal) => {
                info!(signal, "the access log is to be opened again");
                self.log.reopen();
            }
            Signal::Upgrade(signal) => {
                // One is under way, or there is nobody who could.
                let request = UpgradeRequest { cause: signal, answer: None };
                if self.upgrades.try_send(request).is_err() {
                    warn!(signal, "an upgrade is under way already, or can't be");
                }
            }
            Signal::Refuse(signal) => {
                warn!(signal, "it has no meaning here: SIGTERM stops, SIGHUP reloads");
            }
            Signal::Stop(_) | Signal::Ignore => {}
        }
    }
}
