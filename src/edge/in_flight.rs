//! Counts the requests that are being answered, and says whether there is room for one more. Each
//! counts until its guard is dropped, however it ends.

use crate::exchange::Room;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use tokio::sync::Notify;

/// The number of requests that are being answered; a drain waits until it is 0. Clones share it.
#[derive(Clone, Debug)]
pub struct InFlight(Arc<Count>);

/// Both counts in one number, so that a request costs one step of it.
#[derive(Debug)]
struct Count {
    /// In the lower half all requests, in the upper half those that were admitted.
    now: AtomicU64,
    /// Below this many there is room for every request.
    plenty_max: AtomicU32,
    admitted_max: AtomicU32,
    /// There is room for none, whatever the bound.
    is_suspended: AtomicBool,
    changed: Notify,
}

/// So much of the room is kept for streams that play: playbacks begin in four fifths of it.
const KEPT_FROM_STARTS: u32 = 5;

/// All that holds no stream has nine tenths of it.
const KEPT_FROM_OTHERS: u32 = 10;

impl Count {
    /// The room for one more, where so many were admitted.
    fn room(&self, admitted: u64) -> Room {
        match admitted < u64::from(self.plenty_max.load(Ordering::Relaxed)) {
            true => Room::Plenty,
            false => self.tight(admitted),
        }
    }

    #[cold]
    fn tight(&self, admitted: u64) -> Room {
        let max = self.admitted_max.load(Ordering::Relaxed);
        let below = |bound: u32| admitted < u64::from(bound);
        match () {
            () if self.is_suspended.load(Ordering::Relaxed) || !below(max) => Room::None,
            () if below(max - max / KEPT_FROM_STARTS) => Room::Plenty,
            () if below(max - max / KEPT_FROM_OTHERS) => Room::NoStarts,
            () => Room::HoldersOnly,
        }
    }
}

const ONE: u64 = 1;
const ONE_ADMITTED: u64 = 1 << 32;

/// One request that is being answered.
#[derive(Debug)]
pub struct Guard {
    count: Arc<Count>,
    room: Room,
}

impl InFlight {
    /// Counts no request yet; so many may be admitted at once.
    pub fn new(admitted_max: u32) -> Self {
        let all = InFlight(Arc::new(Count {
            now: AtomicU64::new(0),
            plenty_max: AtomicU32::new(0),
            admitted_max: AtomicU32::new(0),
            is_suspended: AtomicBool::new(false),
            changed: Notify::new(),
        }));
        all.set_max(admitted_max);
        all
    }

    /// From now on so many may be admitted at once.
    pub fn set_max(&self, admitted_max: u32) {
        self.0.admitted_max.store(admitted_max, Ordering::Relaxed);
        self.set_plenty();
    }

    /// There is room for no request from now on, or there is again.
    pub fn suspend(&self, is_suspended: bool) {
        self.0.is_suspended.store(is_suspended, Ordering::Relaxed);
        self.set_plenty();
    }

    fn set_plenty(&self) {
        let max = self.0.admitted_max.load(Ordering::Relaxed);
        let is_suspended = self.0.is_suspended.load(Ordering::Relaxed);
        let plenty = if is_suspended { 0 } else { max - max / KEPT_FROM_STARTS };
        self.0.plenty_max.store(plenty, Ordering::Relaxed);
    }

    /// Counts one more request, until the guard is dropped. One that is not admitted is answered,
    /// too: it is told that there is no room.
    pub fn enter(&self) -> Guard {
        let before = self.0.now.fetch_add(ONE + ONE_ADMITTED, Ordering::AcqRel);
        let room = self.0.room(before / ONE_ADMITTED);
        if room == Room::None {
            self.0.now.fetch_sub(ONE_ADMITTED, Ordering::AcqRel);
        }
        Guard { count: Arc::clone(&self.0), room }
    }

    /// How many requests are being answered.
    pub fn now(&self) -> u64 {
        self.0.now.load(Ordering::Acquire) % ONE_ADMITTED
    }

    /// Waits until no request is being answered.
    pub async fn none(&self) {
        none_left(&self.0.changed, || self.now() == 0).await;
    }
}

/// Waits until a count `is_none`, of which `changed` is notified when it may have become so.
pub(super) async fn none_left(changed: &Notify, is_none: impl Fn() -> bool) {
    loop {
        let notified = changed.notified();
        if is_none() {
            return;
        }
        notified.await;
    }
}

impl Guard {
    /// Whether there was room for the request.
    pub fn is_admitted(&self) -> bool {
        self.room != Room::None
    }

    /// How much room there was.
    pub fn room(&self) -> Room {
        self.room
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let counted = if self.is_admitted() { ONE + ONE_ADMITTED } else { ONE };
        let before = self.count.now.fetch_sub(counted, Ordering::AcqRel);
        if before % ONE_ADMITTED == 1 {
            self.count.changed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_admitted_takes_no_room() {
        let all = InFlight::new(2);
        let (one, two) = (all.enter(), all.enter());
        let refused = all.enter();
        let is_admitted = [&one, &two, &refused].map(Guard::is_admitted);
        assert_eq!((is_admitted, all.now()), ([true, true, false], 3), "all are answered");
        drop(one);
        assert!(all.enter().is_admitted(), "the refused one is still there, and in nobody's way");
        drop((two, refused));
        assert_eq!(all.now(), 0);
    }

    #[test]
    fn the_last_room_is_for_those_who_play() {
        let all = InFlight::new(20);
        let guards: Vec<Guard> = (0..21).map(|_| all.enter()).collect();
        let rooms: Vec<Room> = guards.iter().map(Guard::room).collect();
        assert!(rooms[..16].iter().all(|room| *room == Room::Plenty), "{rooms:?}");
        assert_eq!(rooms[16..18], [Room::NoStarts; 2]);
        assert_eq!(rooms[18..20], [Room::HoldersOnly; 2]);
        assert_eq!(rooms[20], Room::None);
    }

    #[test]
    fn what_is_suspended_has_room_for_nobody() {
        let all = InFlight::new(20);
        all.suspend(true);
        assert_eq!(all.enter().room(), Room::None);
        all.set_max(30);
        assert_eq!(all.enter().room(), Room::None, "another bound changes nothing about it");
        all.suspend(false);
        assert_eq!(all.enter().room(), Room::Plenty);
    }
}
