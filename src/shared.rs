//! What a change of the configuration must not forget: open stores, and leases with their roster.
//!
//! Things are kept by name and settings, so the same entry compiled again is the same thing.

use crate::concurrency::{self, Policy};
use crate::problem::Problem;
use crate::store::{self, Store, Timeouts, Url};
use crate::yaml::{At, Entries, Named};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use streamgate_lease::{Keeper, Leases};

/// Lives as long as the process. Starts nothing: who runs the gateway takes the tasks.
#[derive(Default)]
pub struct Shared {
    stores: Mutex<HashMap<(String, Url, Timeouts), Arc<Store>>>,
    /// By policy, store and ttl: a changed limit forgets nobody.
    leases: Mutex<HashMap<(String, String, Duration), Leases>>,
    keepers: Mutex<Vec<(String, Keeper)>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("stores", &self.stores.lock().len()).finish_non_exhaustive()
    }
}

impl Shared {
    /// The stores that the file names.
    pub fn stores(
        &self,
        configs: &Entries<store::Config>,
        problems: &mut Vec<Problem>,
    ) -> Named<Arc<Store>> {
        let mut named = Named::new("store");
        for (name, config) in configs.iter() {
            let key = (name.value.clone(), config.url.value.clone(), config.timeouts);
            let mut stores = self.stores.lock();
            let store = stores.entry(key).or_insert_with_key(|(name, url, timeouts)| {
                Arc::new(Store::new(name, url, timeouts))
            });
            named.enter(name, Ok(Arc::clone(store)), problems);
        }
        named
    }

    /// Every store that is open.
    pub fn open_stores(&self) -> Vec<Arc<Store>> {
        self.stores.lock().values().cloned().collect()
    }

    /// The policy `name` on `store`.
    pub fn policy(
        &self,
        name: &At<String>,
        config: &concurrency::Config,
        store: &Arc<Store>,
    ) -> Result<Arc<Policy>, Vec<Problem>> {
        Policy::compile(name, config, |timing| {
            let key = (name.value.clone(), store.key(), timing.ttl());
            let mut all = self.leases.lock();
            let leases = all.entry(key).or_insert_with(|| {
                let (leases, keeper) = Leases::new(store.leases(), timing);
                self.keepers.lock().push((name.value.clone(), keeper));
                leases
            });
            leases.clone()
        })
        .map(Arc::new)
    }

    /// The keepers that nobody runs yet, with their policies' names.
    pub fn take_keepers(&self) -> Vec<(String, Keeper)> {
        std::mem::take(&mut self.keepers.lock())
    }
}
