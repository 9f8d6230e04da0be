//! When requests are due: at once, or at random moments of a fixed rate whatever the answers do.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// Poisson arrivals: exponential gaps, as among viewers who do not know each other.
#[derive(Debug)]
pub struct Arrivals {
    timer: TimerFd,
    random: SmallRng,
    gap_ns: f64,
    next: u64,
    due: VecDeque<u64>,
}

impl Arrivals {
    /// Arrivals from `start` on (the clock's nanoseconds), `rate` per second on average.
    /// The same `seed` gives every contender the same moments.
    pub fn new(rate: f64, seed: u64, start: u64) -> io::Result<Self> {
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK)?;
        let random = SmallRng::seed_from_u64(seed);
        let gap_ns = 1e9 / rate;
        let arrivals = Self { timer, random, gap_ns, next: start, due: VecDeque::new() };
        arrivals.arm()?;
        Ok(arrivals)
    }

    /// The descriptor that becomes readable when the next request is due.
    #[must_use]
    pub fn descriptor(&self) -> RawFd {
        self.timer.as_fd().as_raw_fd()
    }

    /// Notes every arrival up to `now`, and sets the timer for the next.
    pub fn advance(&mut self, now: u64) -> io::Result<()> {
        if self.next > now {
            return Ok(());
        }
        while self.next <= now {
            self.due.push_back(self.next);
            self.next += self.gap();
        }
        self.arm()
    }

    /// The oldest arrival that nobody asked yet.
    pub fn take(&mut self) -> Option<u64> {
        self.due.pop_front()
    }

    /// Arrivals that wait for a free connection.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.due.len()
    }

    fn gap(&mut self) -> u64 {
        let unit: f64 = self.random.random();
        let gap = Duration::from_secs_f64(-(1.0 - unit).ln() * self.gap_ns / 1e9);
        u64::try_from(gap.as_nanos()).unwrap_or(u64::MAX)
    }

    fn arm(&self) -> io::Result<()> {
        let at = TimeSpec::from_duration(Duration::from_nanos(self.next));
        self.timer.set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
        Ok(())
    }
}
