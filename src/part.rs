//! Parts: what filters name. A filter that needs more settings than fit into a route brings a
//! section of the file with it, as `session` brings `sessions`. Each entry of a section compiles to
//! a part.
//!
//! A part tells everything that the gateway has to know of it, so no other room has to be changed
//! for a new one: how it is compiled, which of a token's claims it reads, where it keeps tokens.
//! That an entry is never named is noticed where names are looked up.

mod address_list;

pub use address_list::{AddressList, AddressSet};

use crate::activity::SessionStore;
use crate::fetch;
use crate::problem::{Place, Problem};
use crate::store::Store;
use crate::units::{Fingerprint, Secret};
use crate::yaml::{At, Entries, Named};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::any::Any;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use streamgate_lease::{Bounds, Leases, Timing};

/// The most that is read of a file to see whether it has changed, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// An entry of a filter's section, compiled.
pub trait Part: Clone + Send + Sync + 'static {
    /// The entry as the file has it.
    type Config: DeserializeOwned + Serialize + JsonSchema + Debug;

    /// What an entry is called in messages: "session".
    const KIND: &'static str;

    /// What the section is for, as editors show it.
    const ABOUT: &'static str;

    /// Compiles the entry `name`. Warnings go to `problems`.
    fn compile(
        name: &At<String>,
        config: &Self::Config,
        context: &Context<'_>,
        problems: &mut Vec<Problem>,
    ) -> Result<Self, Vec<Problem>>;

    /// The files that the entry is compiled from, beside what the entry says.
    fn files(_config: &Self::Config) -> Vec<&Path> {
        Vec::new()
    }

    /// What is wrong between the entries of the section.
    fn check_all(_all: &Entries<Self::Config>) -> Vec<Problem> {
        Vec::new()
    }

    /// The claims of a token that the entry reads, which sessions have to keep.
    fn claims(_config: &Self::Config) -> Vec<&str> {
        Vec::new()
    }

    /// The cookies in which the entry keeps tokens.
    fn cookies(_config: &Self::Config) -> Vec<TokenCookie<'_>> {
        Vec::new()
    }

    /// The secrets of the entry, each with what it is.
    fn secrets(_config: &Self::Config) -> Vec<(&'static str, &At<Secret>)> {
        Vec::new()
    }

    /// Whether paths may begin with a token of this entry.
    fn takes_path_tokens(_config: &Self::Config) -> bool {
        false
    }
}

/// A cookie that holds a token.
#[derive(Clone, Copy, Debug)]
pub struct TokenCookie<'a> {
    /// The cookie's name.
    pub name: &'a str,
    /// Where its name was written, if the cookie holds a stream's token. Such a token is for the
    /// gateway alone, and no other token may be kept in a cookie of the same name.
    pub of_stream: Option<Place>,
}

/// What parts are compiled from, beside their entries.
pub struct Context<'a> {
    /// Files that the configuration names are looked for here.
    pub base_dir: &'a Path,
    /// The stores of the file.
    pub stores: &'a Named<Arc<Store>>,
    /// The claims that any part reads.
    pub claims: Vec<&'a str>,
    /// What was compiled before and must not be forgotten.
    pub lasting: &'a dyn Lasting,
}

impl Context<'_> {
    /// The part that the entry `name` was before this compilation.
    pub fn before<P: Part>(&self, name: &str) -> Option<P> {
        let kept = self.lasting.kept(P::KIND, name)?;
        kept.part.downcast_ref::<P>().cloned()
    }

    /// What a part is compiled from. A part that names no store is compiled again with a changed
    /// store, too: which stores it names, only the part knows.
    fn fingerprint<P: Part>(&self, config: &P::Config) -> Fingerprint {
        let mut print = Fingerprint::of(config).with(self.claims.join(" ").as_bytes());
        for (name, store) in self.stores.iter() {
            // A kept part keeps its stores, so no other store gets this address meanwhile.
            let address = Arc::as_ptr(store).addr().to_ne_bytes();
            print = print.with(name.as_bytes()).with(&address);
        }
        with_files(print, P::files(config), self.base_dir)
    }
}

/// The fingerprint of an entry and of these files, which it is compiled from.
pub fn with_files(print: Fingerprint, files: Vec<&Path>, base_dir: &Path) -> Fingerprint {
    // One that can't be read is told where the entry is compiled.
    let read = |file| fetch::file(&base_dir.join(file), FILE_BYTES_MAX).unwrap_or_default();
    files.into_iter().fold(print, |print, file: &Path| print.with(&read(file)))
}

/// What an entry was compiled to, and what from.
#[derive(Clone)]
pub struct Compiled {
    /// What it was compiled from.
    pub print: Fingerprint,
    /// What it was compiled to.
    pub part: Arc<dyn Any + Send + Sync>,
}

/// Compiles the entry `name` of a `kind`, if it is not what it was before. What stays the same
/// keeps its state: tokens that were verified, the health of endpoints, counters.
pub fn carried<T: Clone + Send + Sync + 'static>(
    lasting: &dyn Lasting,
    (kind, name): (&'static str, &str),
    print: Fingerprint,
    compile: impl FnOnce() -> Result<T, Vec<Problem>>,
) -> Result<T, Vec<Problem>> {
    let kept = lasting.kept(kind, name).filter(|kept| kept.print == print);
    if let Some(part) = kept.as_ref().and_then(|kept| kept.part.downcast_ref::<T>()) {
        return Ok(part.clone());
    }
    let part = compile()?;
    lasting.keep(kind, name, Compiled { print, part: Arc::new(part.clone()) });
    Ok(part)
}

/// What a change of the configuration must not forget.
pub trait Lasting {
    /// What the entry `name` of a `kind` was compiled to last.
    fn kept(&self, kind: &'static str, name: &str) -> Option<Compiled>;

    /// Remembers what the entry `name` of a `kind` was compiled to.
    fn keep(&self, kind: &'static str, name: &str, kept: Compiled);

    /// The sessions at `store`.
    fn session_store(&self, store: &Arc<Store>) -> Arc<SessionStore>;

    /// The leases of the policy `name` at `store`.
    fn leases(&self, name: &str, store: &Arc<Store>, timing: Timing, bounds: Bounds) -> Leases;
}

/// The parts of one file, section by section.
#[derive(Default)]
pub struct Parts {
    sections: Vec<Box<dyn Section>>,
    base_dir: PathBuf,
}

/// The compiled entries of one section, whatever their kind.
trait Section: Any {
    fn unused(&self) -> Vec<Problem>;
}

impl<P: Part> Section for Named<P> {
    fn unused(&self) -> Vec<Problem> {
        Named::unused(self)
    }
}

impl Parts {
    /// None yet. Files that filters name are looked for in `base_dir`.
    pub fn new(base_dir: &Path) -> Self {
        Parts { sections: Vec::new(), base_dir: base_dir.to_owned() }
    }

    /// Where files are looked for that filters name.
    pub fn base_dir(&self) -> &Path {
        &self.base_dir
    }

    /// Compiles a section and adds its parts.
    pub fn compile<P: Part>(
        &mut self,
        entries: &Entries<P::Config>,
        context: &Context<'_>,
        problems: &mut Vec<Problem>,
    ) {
        let mut named = Named::<P>::new(P::KIND);
        for (name, config) in entries.iter() {
            let print = context.fingerprint::<P>(config);
            let compile = || P::compile(name, config, context, problems);
            let compiled = carried(context.lasting, (P::KIND, name), print, compile);
            named.enter(name, compiled, problems);
        }
        named.enter_lost(entries);
        problems.extend(P::check_all(entries));
        self.sections.push(Box::new(named));
    }

    /// All parts of one kind.
    pub fn all<P: Part>(&self) -> &Named<P> {
        let mut sections = self.sections.iter().map(|section| section.as_ref() as &dyn Any);
        let found = sections.find_map(|section| section.downcast_ref());
        found.expect("each section of the roster is compiled before its parts are named")
    }

    /// The part that `name` means.
    pub fn find<P: Part, N: AsRef<str>>(&self, name: &At<N>) -> Result<&P, Vec<Problem>> {
        self.all::<P>().find(name)
    }

    /// A warning for each part that nothing named.
    pub fn unused(&self) -> Vec<Problem> {
        self.sections.iter().flat_map(|section| section.unused()).collect()
    }
}
