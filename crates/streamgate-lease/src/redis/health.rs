//! Health: how a store is, as its monitor tells it.

use crate::store::StoreError;
use std::time::Duration;

/// How a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Why it does not serve. In a cluster: why one of its servers does not.
    pub failure: Option<StoreError>,
    /// How far away it is, there and back, if that is too far for its deadlines.
    pub too_far: Option<Duration>,
}

impl Health {
    /// Whether it is news: up or down, another word of the server, or far and no longer so.
    pub(super) fn differs(&self, other: &Self) -> bool {
        let word = |health: &Self| health.failure.as_ref().map(StoreError::reason);
        let is_answer = other.failure.as_ref().is_none_or(|error| error.sentence().is_some());
        let is_flip = self.failure.is_some() != other.failure.is_some();
        let is_far = (self.too_far.is_some(), other.too_far.is_some());
        is_flip || (is_answer && word(self) != word(other)) || is_far.0 != is_far.1
    }
}
