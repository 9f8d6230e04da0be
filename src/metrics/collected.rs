//! Metrics whose figures others count: brought up to date when `/metrics` is read.

use super::All;
use super::upstream::UpstreamMetrics;
use crate::activity;
use crate::quota;
use crate::session::key_set::Figures;
use crate::upstream::BreakerState;
use prometheus::IntCounter;
use streamgate_lease::{Census, Stats};

/// Brings a counter up to a total that is counted elsewhere and only grows.
fn catch_up(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

impl All {
    /// Shows the figures of a policy's leases.
    pub fn show_leases(&self, policy: &str, stats: &Stats, census: Census) {
        let label = &[policy];
        self.stream_leases.with_label_values(label).set(census.playing as i64);
        self.stream_leases_provisional.with_label_values(label).set(stats.provisional as i64);
        self.stream_beat_duration.with_label_values(label).set(stats.last_tick.as_secs_f64());
        self.lease_over_limit.with_label_values(label).set(census.over_limit as i64);
        let degraded_for = stats.degraded_for.unwrap_or_default().as_secs_f64();
        self.lease_degraded_for.with_label_values(label).set(degraded_for);
        self.lease_degraded.with_label_values(label).set(stats.degraded.as_secs_f64());
        let adopted = self.lease_adopted_over_limit.with_label_values(label);
        catch_up(&adopted, stats.adopted_over_limit);
        let started = self.lease_provisional_starts.with_label_values(label);
        catch_up(&started, stats.admitted_locally);
        catch_up(&self.lease_starts_refused.with_label_values(label), stats.starts_refused);
        catch_up(&self.stream_superseded.with_label_values(label), stats.superseded);
        catch_up(&self.starts.failed.with_label_values(label), stats.given_back);
        catch_up(&self.starts.left.with_label_values(label), stats.starts_left);
        catch_up(&self.stream_renewals.with_label_values(label), stats.renewals);
        let skipped = self.stream_renewals_skipped.with_label_values(label);
        catch_up(&skipped, stats.renewals_skipped);
        catch_up(&self.stream_roster_evicted.with_label_values(label), stats.evicted);
        let unreported = self.stream_events_dropped.with_label_values(label);
        catch_up(&unreported, stats.events_dropped);
        catch_up(&self.store_errors.with_label_values(label), stats.store_errors);
        for (reason, total) in [
            ("released", stats.lost.released),
            ("terminated", stats.lost.terminated),
            ("replaced", stats.lost.replaced),
            ("superseded", stats.lost.superseded),
            ("refused", stats.lost.refused),
            ("gone", stats.lost.gone),
        ] {
            catch_up(&self.stream_lease_end.with_label_values(&[policy, reason]), total);
        }
    }

    /// Shows how many requests of an upstream had no retry for want of a budget.
    pub fn show_retries_refused(&self, upstream: &str, total: u64) {
        catch_up(&self.upstream.retries_refused.with_label_values(&[upstream]), total);
    }

    /// Shows how many requests may be under way to an upstream, and the state of its breaker. What
    /// it does not have any more is not shown.
    pub fn show_bounds(&self, upstream: &str, limit: Option<u32>, breaker: Option<BreakerState>) {
        let UpstreamMetrics { in_flight_limit, breaker_state, .. } = &self.upstream;
        match limit {
            Some(limit) => in_flight_limit.with_label_values(&[upstream]).set(limit.into()),
            // An error: there is no such series.
            None => drop(in_flight_limit.remove_label_values(&[upstream])),
        }
        for state in BreakerState::ALL {
            let labels = [upstream, state.name()];
            match breaker {
                Some(now) => {
                    breaker_state.with_label_values(&labels).set(i64::from(now == state));
                }
                None => drop(breaker_state.remove_label_values(&labels)),
            }
        }
    }

    /// Shows what the rates of a route count.
    pub fn show_rates(&self, route: &str, figures: quota::Figures) {
        for (family, total) in [
            (&self.rate_limit_evictions, figures.evicted),
            (&self.rate_limit_store_failures, figures.alone),
        ] {
            if total != 0 {
                catch_up(&family.with_label_values(&[route]), total);
            }
        }
    }

    /// Shows how often a limit's claim could not be used.
    pub fn show_unusable_claims(&self, policy: &str, total: u64) {
        catch_up(&self.limit_claims_unusable.with_label_values(&[policy]), total);
    }

    /// Shows how many lines of the access log, and of the process's own log, were lost.
    pub fn show_logs(&self, access: u64, own: u64) {
        catch_up(&self.access_log_dropped, access);
        catch_up(&self.log_dropped, own);
    }

    /// Shows what became of the session activity that was to be written to a store.
    pub fn show_sessions(&self, store: &str, figures: &activity::Figures) {
        for (result, total) in
            [("written", figures.written), ("failed", figures.failed), ("dropped", figures.dropped)]
        {
            catch_up(&self.session_extensions.with_label_values(&[store, result]), total);
        }
    }

    /// Shows how many reissued tokens were given out for sessions of one kind.
    pub fn show_reissues(&self, provider: &str, made: u64) {
        catch_up(&self.session_reissues.with_label_values(&[provider]), made);
    }

    /// Shows the figures of a key set.
    pub fn show_key_set(&self, provider: &str, figures: &Figures, now_secs: u64) {
        let fetches = |result| self.jwks_fetches.with_label_values(&[provider, result]);
        catch_up(&fetches("success"), figures.refreshes);
        catch_up(&fetches("failure"), figures.failures);
        let unknown = |outcome| self.jwks_unknown_kid.with_label_values(&[provider, outcome]);
        catch_up(&unknown("refetched"), figures.unknown_waited);
        catch_up(&unknown("cooldown"), figures.unknown_cooling);
        catch_up(&unknown("remembered"), figures.unknown_remembered);
        if let Some(age) = figures.age {
            let at = now_secs.saturating_sub(age.as_secs());
            self.jwks_last_success.with_label_values(&[provider]).set(at as i64);
        }
    }
}
