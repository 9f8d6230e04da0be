//! The lifetime settings of sessions (`idle`, `absolute`, `revocation_pepper`) and what may be
//! wrong with them. Writing expiries to a store is the work of the room `activity`.

use super::config::Config;
use crate::problem::Problem;
use crate::units::Time;
use crate::yaml::At;
use std::time::Duration;
use streamgate_lease::Pepper;

/// The range of `idle`. A shorter time would be over before a cached answer is; a longer one makes
/// the key in the store meaningless.
const IDLE_MIN: Time = Time::secs(3);
const IDLE_MAX: Time = Time::secs(168 * 3600);

/// The range of `absolute`: up to a year.
const ABSOLUTE_MIN: Time = Time::secs(60);
const ABSOLUTE_MAX: Time = Time::secs(8_760 * 3600);

/// How all sessions of an account are ended.
#[derive(Clone, Debug)]
pub struct Revocation {
    /// What the account's name is hashed with.
    pub pepper: Pepper,
    /// How long the end is remembered: no session lives longer than this.
    pub remembered: Duration,
}

impl Config {
    /// How the sessions of an account can be ended at once; `None` when that is not set up.
    pub fn revocation(&self) -> Option<Revocation> {
        let pepper = Pepper::new(self.revocation_pepper.as_ref()?.reveal().as_bytes()).ok()?;
        Some(Revocation { pepper, remembered: self.absolute.as_ref()?.0 })
    }
}

/// What is wrong with these settings.
pub(super) fn problems(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut check = |name: &str, time: &Option<At<Time>>, min: Time, max: Time| {
        let Some(time) = time.as_ref().filter(|time| !(min..=max).contains(&time.value)) else {
            return;
        };
        let text = format!("`{name}` of {} is out of range", time.value);
        problems.push(time.problem(text).help(format!("write {min} to {max}")));
    };
    check("idle", &config.idle, IDLE_MIN, IDLE_MAX);
    check("absolute", &config.absolute, ABSOLUTE_MIN, ABSOLUTE_MAX);
    if let (Some(idle), Some(absolute)) = (&config.idle, &config.absolute)
        && absolute.value < idle.value
    {
        let text = format!(
            "no session could be idle for {}: none lives longer than `absolute`, {}",
            idle.value, absolute.value
        );
        problems.push(idle.problem(text).help("make `idle` shorter, or `absolute` longer"));
    }
    problems.extend(missing_parts(config));
    problems
}

/// Settings that lack another setting which they need.
fn missing_parts(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    let store = "add `active_in: …` with a store that all gateways share";
    if let Some(idle) = config.idle.as_ref().filter(|_| config.active_in.is_none()) {
        let text = "`idle` needs a store in which the time of the last use is kept";
        problems.push(idle.problem(text).help(store));
    }
    let Some(pepper) = &config.revocation_pepper else { return problems };
    if Pepper::new(pepper.reveal().as_bytes()).is_err() {
        let text = "the `revocation_pepper` is shorter than 32 bytes";
        problems.push(pepper.problem(text).help("make one: `openssl rand -hex 32`").hidden());
    }
    if config.active_in.is_none() {
        let text = "`revocation_pepper` needs a store in which revocations are kept";
        problems.push(pepper.problem(text).help(store).hidden());
    }
    if config.absolute.is_none() {
        let text = "`revocation_pepper` needs to know how long a session lives at most";
        let help = "add `absolute: 168h`: so long is the end of an account's sessions remembered";
        problems.push(pepper.problem(text).help(help).hidden());
    }
    problems
}
