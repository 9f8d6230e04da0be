//! Parts: what filters name. A filter that needs more settings than fit into a route brings a
//! section of the file with it, as `session` brings `sessions`. Each entry of a section compiles to
//! a part.
//!
//! A part tells everything that the gateway has to know of it, so no other room has to be changed
//! for a new one: how it is compiled, which of a token's claims it reads, where it keeps tokens.
//! That an entry is never named is noticed where names are looked up.

use crate::activity::SessionStore;
use crate::problem::{Place, Problem};
use crate::store::Store;
use crate::units::Secret;
use crate::yaml::{At, Entries, Named};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::any::Any;
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;
use streamgate_lease::{Bounds, Leases, Timing};

/// An entry of a filter's section, compiled.
pub trait Part: Sized + 'static {
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

/// What a change of the configuration must not forget.
pub trait Lasting {
    /// The sessions at `store`.
    fn session_store(&self, store: &Arc<Store>) -> Arc<SessionStore>;

    /// The leases of the policy `name` at `store`.
    fn leases(&self, name: &str, store: &Arc<Store>, timing: Timing, bounds: Bounds) -> Leases;
}

/// The parts of one file, section by section.
#[derive(Default)]
pub struct Parts(Vec<Box<dyn Section>>);

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
    /// Compiles a section and adds its parts.
    pub fn compile<P: Part>(
        &mut self,
        entries: &Entries<P::Config>,
        context: &Context<'_>,
        problems: &mut Vec<Problem>,
    ) {
        let mut named = Named::<P>::new(P::KIND);
        for (name, config) in entries.iter() {
            let compiled = P::compile(name, config, context, problems);
            named.enter(name, compiled, problems);
        }
        named.enter_lost(entries);
        problems.extend(P::check_all(entries));
        self.0.push(Box::new(named));
    }

    /// All parts of one kind.
    pub fn all<P: Part>(&self) -> &Named<P> {
        let mut sections = self.0.iter().map(|section| section.as_ref() as &dyn Any);
        let found = sections.find_map(|section| section.downcast_ref());
        found.expect("each section of the roster is compiled before its parts are named")
    }

    /// The part that `name` means.
    pub fn find<P: Part, N: AsRef<str>>(&self, name: &At<N>) -> Result<&P, Vec<Problem>> {
        self.all::<P>().find(name)
    }

    /// A warning for each part that nothing named.
    pub fn unused(&self) -> Vec<Problem> {
        self.0.iter().flat_map(|section| section.unused()).collect()
    }
}
