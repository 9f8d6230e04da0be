//! The bound of the memory that the process takes. Above it the gateway lets go, step by step, of
//! what costs memory: connections that wait, then requests, then connections that come. Being ended
//! by the kernel would cut them all.

use crate::config::Config;
use crate::edge::{InFlight, Memory, OpenConnections};
use crate::observe::{Event, Observe};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// From how many hundredths of the bound on something is done.
const SHORT: u64 = 92;
const SCARCE: u64 = 95;
const GONE: u64 = 98;

/// How many bytes it may be; 0 where there is no bound.
#[derive(Debug)]
pub(super) struct MemoryBound(AtomicU64);

impl MemoryBound {
    pub(super) fn of(config: &Config) -> Self {
        MemoryBound(AtomicU64::new(written(config)))
    }

    pub(super) fn set(&self, config: &Config) {
        self.0.store(written(config), Ordering::Relaxed);
    }

    fn now(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|bytes| 0 < *bytes)
    }
}

/// The file's bound, or the container's.
fn written(config: &Config) -> u64 {
    let own = config.memory.as_ref().map(|size| size.value.0);
    own.or_else(of_container).unwrap_or_default()
}

/// Looks again and again how much is left, and says so where it is acted on.
pub(super) async fn watch(
    bound: Arc<MemoryBound>,
    (open, in_flight): (OpenConnections, InFlight),
    observe: Observe,
) {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    let mut known = Memory::Enough;
    loop {
        looks.tick().await;
        let Some(bytes) = taken() else { return };
        let now = bound.now().map_or(Memory::Enough, |bound| left(bytes, bound));
        if now != known {
            open.set_memory(now);
            in_flight.suspend(Memory::Scarce <= now);
            let (memory, level) = (name(now), now as i64);
            observe.emit(&Event::MemoryChanged { memory, level, bytes });
            known = now;
        }
    }
}

/// How much is left of `bound`.
fn left(bytes: u64, bound: u64) -> Memory {
    match u128::from(bytes) * 100 / u128::from(bound.max(1)) {
        hundredths if hundredths < u128::from(SHORT) => Memory::Enough,
        hundredths if hundredths < u128::from(SCARCE) => Memory::Short,
        hundredths if hundredths < u128::from(GONE) => Memory::Scarce,
        _ => Memory::Gone,
    }
}

const fn name(memory: Memory) -> &'static str {
    match memory {
        Memory::Enough => "enough",
        Memory::Short => "short",
        Memory::Scarce => "scarce",
        Memory::Gone => "gone",
    }
}

/// What the process takes, in bytes; `None` where the system does not say.
fn taken() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = status.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// What the container may take, where there is one and it has a bound (cgroup v2).
fn of_container() -> Option<u64> {
    fs::read_to_string("/sys/fs/cgroup/memory.max").ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_less_is_left_the_more_is_let_go() {
        for (bytes, expected) in [
            (0, Memory::Enough),
            (919, Memory::Enough),
            (920, Memory::Short),
            (950, Memory::Scarce),
            (980, Memory::Gone),
            (5_000, Memory::Gone),
        ] {
            assert_eq!(left(bytes, 1_000), expected, "{bytes}");
        }
    }

    #[test]
    fn it_is_known_what_the_process_takes() {
        assert!(taken().is_some_and(|bytes| 1 << 20 < bytes));
    }
}
