//! The two moments between which requests count.

use crate::clock::nanos;
use crate::generator::{Mark, Plan, ns};

/// Where a run is between its two moments, and whom it tells.
#[derive(Debug)]
pub struct Marks<F> {
    begin: u64,
    end: u64,
    passed: Option<Mark>,
    tell: F,
}

impl<F: FnMut(Mark)> Marks<F> {
    /// The marks of a plan whose first request is asked now.
    pub fn of(plan: &Plan<'_>, tell: F) -> Self {
        let begin = nanos() + ns(plan.warm);
        Self { begin, end: begin + ns(plan.measure), passed: None, tell }
    }

    /// Tells of the moments that have come.
    pub fn pass(&mut self, now: u64) {
        if self.passed.is_none() && now >= self.begin {
            self.passed = Some(Mark::Begin);
            (self.tell)(Mark::Begin);
        }
        if self.passed == Some(Mark::Begin) && now >= self.end {
            self.passed = Some(Mark::End);
            (self.tell)(Mark::End);
        }
    }

    /// When requests cease to count.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Whether what happens at this moment counts.
    pub fn counts(&self, moment: u64) -> bool {
        (self.begin..self.end).contains(&moment)
    }
}
