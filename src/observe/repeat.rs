//! Lines that would repeat: the first of a kind is told at once, then one a second with a count.
//!
//! A dead upstream fails thousands of requests a second, each for the same reason. The metrics
//! count them all; a log that has a line for each hides whatever else happens.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// How often one kind of line is told at most.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// What happened lately, by kind. Kinds come from the configuration, which bounds their number.
#[derive(Debug)]
pub(super) struct Repeats<T>(Mutex<BTreeMap<String, Repeat<T>>>);

#[derive(Debug)]
struct Repeat<T> {
    told: Instant,
    /// What was not told yet: how often it happened, and what it was like last.
    untold: Option<(u64, T)>,
}

impl<T> Default for Repeats<T> {
    fn default() -> Self {
        Repeats(Mutex::default())
    }
}

impl<T> Repeats<T> {
    /// Whether to tell of `kind` now. If not, it is counted, and `due` will tell of it.
    pub(super) fn is_first(&self, kind: &str, what: T) -> bool {
        let now = Instant::now();
        let mut kinds = self.0.lock();
        let Some(repeat) = kinds.get_mut(kind) else {
            kinds.insert(kind.to_owned(), Repeat { told: now, untold: None });
            return true;
        };
        // What was counted is told by `due`, so that no line is without its count.
        if repeat.untold.is_none() && TOLD_EVERY <= now - repeat.told {
            repeat.told = now;
            return true;
        }
        let times = repeat.untold.as_ref().map_or(0, |(times, _)| *times);
        repeat.untold = Some((times + 1, what));
        false
    }

    /// What was counted and may be told by now: the kind, how often, and what it was like last. All
    /// of it, if there is no next time.
    pub(super) fn due(&self, is_last: bool) -> Vec<(String, u64, T)> {
        let now = Instant::now();
        let mut kinds = self.0.lock();
        let due = kinds.iter_mut().filter_map(|(kind, repeat)| {
            if !is_last && now - repeat.told < TOLD_EVERY {
                return None;
            }
            let (times, what) = repeat.untold.take()?;
            repeat.told = now;
            Some((kind.clone(), times, what))
        });
        due.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_kind_is_told_once_a_second_with_a_count() {
        let repeats = Repeats::default();
        assert!(repeats.is_first("a", 1));
        assert!(repeats.is_first("b", 1), "each kind by itself");
        for what in 2..=9 {
            assert!(!repeats.is_first("a", what));
        }
        assert!(repeats.due(false).is_empty(), "not before a second is over");
        tokio::time::advance(TOLD_EVERY).await;
        assert!(!repeats.is_first("a", 10), "what was counted comes first");
        assert_eq!(repeats.due(false), [("a".to_owned(), 9, 10)]);
        assert!(repeats.due(false).is_empty());
        assert!(!repeats.is_first("a", 11), "the second began anew");
        tokio::time::advance(TOLD_EVERY).await;
        assert_eq!(repeats.due(false), [("a".to_owned(), 1, 11)], "what is left is told, too");
        tokio::time::advance(TOLD_EVERY).await;
        assert!(repeats.is_first("a", 12));
        assert!(!repeats.is_first("a", 13));
        assert_eq!(repeats.due(true), [("a".to_owned(), 1, 13)], "nothing is lost at the end");
    }
}
