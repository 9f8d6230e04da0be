//! What systemd is told of this process, where it was started by it (`NOTIFY_SOCKET`). Elsewhere
//! nothing happens here.

use super::worker::Pulse;
use sd_notify::NotifyState;
use std::time::Duration;
use tokio::time::timeout;
use tracing::warn;

/// The first lines are read, the listeners are open.
pub(super) fn is_ready() {
    tell(&[NotifyState::Ready]);
}

/// The configuration is being read again, until it is ready again.
pub(super) fn is_reloading() {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now]);
    }
}

pub(super) fn is_stopping() {
    tell(&[NotifyState::Stopping]);
}

/// The process with this number is the service from now on.
pub(super) fn is_replaced_by(pid: u32) {
    tell(&[NotifyState::MainPid(pid), NotifyState::Ready]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "systemd can't be told");
    }
}

/// Tells the watchdog of systemd, if it asks, that every worker does its work: twice as often as it
/// wants to hear, as long as each of them gets round to answering.
pub(super) async fn feed_watchdog(pulse: Pulse) {
    let Some(wanted) = sd_notify::watchdog_enabled() else { return };
    let every = (wanted / 2).max(Duration::from_millis(1));
    let mut beats = tokio::time::interval(every);
    loop {
        beats.tick().await;
        match timeout(every, pulse.all()).await {
            Ok(()) => tell(&[NotifyState::Watchdog]),
            Err(_) => warn!("a worker does not answer, so the watchdog is not told"),
        }
    }
}
