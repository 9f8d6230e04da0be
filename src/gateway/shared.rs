//! What a change of the configuration must not forget: open stores, and leases with their table.
//!
//! Things are kept by name and settings, so the same entry compiled again is the same thing.

use super::Gateway;
use crate::activity::SessionStore;
use crate::part::{Compiled, Lasting};
use crate::problem::Problem;
use crate::store::{self, Store};
use crate::yaml::{Entries, Named};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use streamgate_lease::{Bounds, Leases, Renewer, Timing};

/// Lives as long as the process. It starts nothing: whoever runs the gateway takes the tasks.
#[derive(Default)]
pub struct Shared {
    stores: Mutex<HashMap<store::Settings, Arc<Store>>>,
    session_stores: Mutex<HashMap<store::Settings, Arc<SessionStore>>>,
    /// By policy, store, timing and bounds: a changed limit or pepper forgets nobody.
    leases: Mutex<HashMap<(String, store::Settings, Timing, Bounds), Leases>>,
    renewers: Mutex<Vec<(Leases, Renewer)>>,
    /// What each entry of the file was compiled to last, by kind and name.
    parts: Mutex<HashMap<(&'static str, String), Compiled>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("stores", &self.stores.lock().len()).finish_non_exhaustive()
    }
}

impl Shared {
    /// The stores that the file names; their own files are beside it, in `base_dir`.
    pub fn stores(
        &self,
        configs: &Entries<store::Config>,
        base_dir: &Path,
        problems: &mut Vec<Problem>,
    ) -> Named<Arc<Store>> {
        let mut named = Named::new("store");
        for (name, config) in configs.iter() {
            let settings = store::Settings::compile(name, config, base_dir);
            let store = settings.and_then(|settings| self.store(settings));
            named.enter(name, store.map_err(|problem| vec![problem]), problems);
        }
        named.enter_lost(configs);
        named
    }

    fn store(&self, settings: store::Settings) -> Result<Arc<Store>, Problem> {
        let mut stores = self.stores.lock();
        if let Some(open) = stores.get(&settings) {
            return Ok(Arc::clone(open));
        }
        let store = Arc::new(Store::open(settings.clone())?);
        stores.insert(settings, Arc::clone(&store));
        Ok(store)
    }

    /// Every store that is open.
    pub fn open_stores(&self) -> Vec<Arc<Store>> {
        self.stores.lock().values().cloned().collect()
    }

    /// The renewers that nobody runs yet, each with the leases that it renews.
    pub fn take_renewers(&self) -> Vec<(Leases, Renewer)> {
        std::mem::take(&mut self.renewers.lock())
    }

    /// Forgets what none of these gateways uses any more: its store is closed when the last who
    /// holds it lets go.
    pub fn retain(&self, live: &[Arc<Gateway>]) {
        let stores = || live.iter().flat_map(|gateway| &gateway.stores);
        let policies = || live.iter().flat_map(|gateway| &gateway.policies);
        self.stores.lock().retain(|_, open| stores().any(|used| Arc::ptr_eq(used, open)));
        let is_used = |settings: &store::Settings| stores().any(|s| s.settings() == settings);
        self.session_stores.lock().retain(|settings, _| is_used(settings));
        self.leases.lock().retain(|_, known| policies().any(|p| p.leases().is_same(known)));
        // An entry of which no gateway has the name is not carried on.
        let names: Vec<&str> = live.iter().flat_map(|gateway| gateway.names()).collect();
        self.parts.lock().retain(|(_, name), _| names.contains(&name.as_str()));
    }
}

impl Lasting for Shared {
    fn kept(&self, kind: &'static str, name: &str) -> Option<Compiled> {
        self.parts.lock().get(&(kind, name.to_owned())).cloned()
    }

    fn keep(&self, kind: &'static str, name: &str, kept: Compiled) {
        self.parts.lock().insert((kind, name.to_owned()), kept);
    }

    fn session_store(&self, store: &Arc<Store>) -> Arc<SessionStore> {
        let mut all = self.session_stores.lock();
        let new = || Arc::new(SessionStore::new(Arc::clone(store)));
        Arc::clone(all.entry(store.settings().clone()).or_insert_with(new))
    }

    fn leases(&self, policy: &str, store: &Arc<Store>, timing: Timing, bounds: Bounds) -> Leases {
        let key = (policy.to_owned(), store.settings().clone(), timing, bounds);
        let mut all = self.leases.lock();
        let leases = all.entry(key).or_insert_with(|| {
            let (leases, renewer) = Leases::bounded(store.leases(), timing, bounds);
            self.renewers.lock().push((leases.clone(), renewer));
            leases
        });
        leases.clone()
    }
}
