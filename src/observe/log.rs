//! Which events the operator's log tells, and in which words. Tokens and accounts are in none.

use super::event::Event;
use crate::session::key_set::Refresh;
use tracing::{info, warn};

/// Writes a line about `event`, if it deserves one.
pub(super) fn write(event: &Event<'_>) {
    match event {
        // The access log has a line for each exchange, and metrics count the rest.
        Event::ExchangeEnded(_)
        | Event::HeadRefused { .. }
        | Event::HeadTimedOut { .. }
        | Event::RequestDecided { .. }
        | Event::UpstreamAnswered { .. }
        | Event::UpstreamRetried { .. } => {}
        Event::UpstreamFailed { upstream, endpoint, why } => {
            warn!(upstream, %endpoint, why, "an upstream gave no answer");
        }
        Event::EndpointChanged { upstream, change } => {
            let endpoint = change.endpoint;
            match change.is_well {
                true => info!(upstream, %endpoint, "an endpoint is well again"),
                false => warn!(upstream, %endpoint, "an endpoint is unwell"),
            }
        }
        Event::StoreChanged { store, is_up: true } => info!(store, "the store answers"),
        Event::StoreChanged { store, is_up: false } => {
            warn!(store, "the store does not answer; policies say what holds now");
        }
        Event::SessionsRevoked { store, whose, is_done: true } => {
            info!(store, whose, "sessions were revoked");
        }
        Event::SessionsRevoked { store, whose, is_done: false } => {
            warn!(store, whose, "sessions could not be revoked: the store failed");
        }
        Event::KeySetRefreshed { key_set, refresh } => {
            let provider = key_set.name();
            match refresh {
                Refresh::Changed { keys, skipped } => {
                    info!(provider, keys, skipped = skipped.len(), "the key set changed");
                }
                Refresh::Same => {}
                Refresh::Failed(error) => {
                    warn!(provider, %error, "the key set can't be read; the last good one stays");
                }
            }
        }
    }
}
