//! What a client may do so many times in a while, and what it has done. A budget that is used up
//! fills again with time, evenly.

use std::time::Duration;
use tokio::time::Instant;

/// So many in a while.
#[derive(Debug)]
pub(super) struct Budget {
    max: u32,
    over: Duration,
    left: u32,
    filled_at: Instant,
}

impl Budget {
    /// `max` at once, and as many again `over` this time.
    pub(super) fn new(max: u32, over: Duration) -> Self {
        Budget { max, over, left: max, filled_at: Instant::now() }
    }

    /// Takes one; `false` when none is left. The clock is read only when it seems so.
    pub(super) fn take(&mut self) -> bool {
        if self.left == 0 {
            self.fill();
        }
        let is_left = 0 < self.left;
        self.left = self.left.saturating_sub(1);
        is_left
    }

    /// Gives back so many, up to all.
    pub(super) fn give(&mut self, number: u32) {
        self.left = self.left.saturating_add(number).min(self.max);
    }

    fn fill(&mut self) {
        let since = self.filled_at.elapsed().min(self.over);
        let share = since.as_secs_f64() / self.over.as_secs_f64();
        let earned = (f64::from(self.max) * share) as u32;
        if 0 < earned {
            self.left = earned;
            self.filled_at = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_used_up_and_fills_with_time() {
        let second = Duration::from_secs(1);
        let mut budget = Budget::new(30, 30 * second);
        let mut taken = |wanted: usize| (0..wanted).take_while(|_| budget.take()).count();
        assert_eq!(taken(40), 30);
        tokio::time::advance(5 * second).await;
        assert_eq!(taken(40), 5);
        tokio::time::advance(1_000 * second).await;
        assert_eq!(taken(40), 30, "no more than all");
        budget.give(2);
        budget.give(1_000);
        assert_eq!((0..99).take_while(|_| budget.take()).count(), 30);
    }
}
