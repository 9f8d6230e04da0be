//! How long one lease lives after its last sign of life, and so when it is renewed. Leases of one
//! policy may differ.

use crate::clock::millis;
use crate::lease::LeaseId;
use std::time::Duration;

/// A ttl in an entry; ten minutes at most, so it has room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ttl {
    ms: u32,
}

impl Ttl {
    pub(super) fn of(ttl: Duration) -> Self {
        Self { ms: u32::try_from(millis(ttl)).unwrap_or(u32::MAX) }
    }

    pub(super) fn ms(self) -> u64 {
        self.ms.into()
    }

    pub(super) fn duration(self) -> Duration {
        Duration::from_millis(self.ms())
    }

    /// A third of it ± 20 %, in milliseconds. It is derived from the id and the time and not drawn
    /// at random, so that a simulation replays; over many leases it is as even as a draw.
    pub(super) fn renew_after(self, id: &LeaseId, now: u64) -> u64 {
        let third = self.ms() / 3;
        let span = (third * 2 / 5).max(1);
        third - third / 5 + scatter(id, now) % span
    }

    /// Any moment within a third of it, in milliseconds, derived in the same way.
    pub(super) fn soon(self, id: &LeaseId, now: u64) -> u64 {
        scatter(id, now) % (self.ms() / 3).max(1)
    }
}

fn scatter(id: &LeaseId, now: u64) -> u64 {
    // splitmix64's finaliser.
    let mut x = id.spread() ^ now.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
