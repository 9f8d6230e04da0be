//! How many requests of this process wait for the word of a store at one time. Beyond it a request
//! is told to come back: a queue without a bound would only make all of them late.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Requests that wait, of all policies.
const WAITING_MAX: usize = 10_000;

static WAITING: AtomicUsize = AtomicUsize::new(0);

/// A place among those that wait. Dropping it gives it back.
pub(super) struct Place<'a>(&'a AtomicUsize);

/// A place, if there is one.
pub(super) fn enter() -> Option<Place<'static>> {
    enter_at(&WAITING)
}

fn enter_at(waiting: &AtomicUsize) -> Option<Place<'_>> {
    let place = Place(waiting);
    // Counted first: two that come at once must not both take the last place.
    (waiting.fetch_add(1, Ordering::Relaxed) < WAITING_MAX).then_some(place)
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_so_many_places_and_no_more() {
        let waiting = AtomicUsize::new(0);
        let mut places: Vec<_> = (0..WAITING_MAX).filter_map(|_| enter_at(&waiting)).collect();
        assert_eq!(places.len(), WAITING_MAX);
        assert!(enter_at(&waiting).is_none());
        places.pop();
        assert!(enter_at(&waiting).is_some());
        drop(places);
        assert_eq!(waiting.into_inner(), 0);
    }
}
