//! The configurations that are in use. A request goes on with the one that it began with, so after
//! a change there are two for a while.

use crate::gateway::Gateway;
use parking_lot::Mutex;
use std::sync::{Arc, Weak};

/// The configurations that requests may still be answered by, the youngest last.
#[derive(Clone, Default)]
pub(super) struct Generations(Arc<Mutex<Vec<Weak<Gateway>>>>);

impl Generations {
    pub(super) fn enter(&self, gateway: &Arc<Gateway>) {
        self.0.lock().push(Arc::downgrade(gateway));
    }

    /// Those that are still in use.
    pub(super) fn live(&self) -> Vec<Arc<Gateway>> {
        self.0.lock().iter().filter_map(Weak::upgrade).collect()
    }

    /// Forgets those that are not in use any more, and says whether there were any.
    pub(super) fn have_ended(&self) -> bool {
        let mut all = self.0.lock();
        let before = all.len();
        all.retain(|gateway| 0 < gateway.strong_count());
        all.len() < before
    }
}
