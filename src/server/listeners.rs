//! The listeners that are open. A change of the configuration opens and closes them one by one; a
//! socket that another listener goes on with is never closed, so nobody is refused in between.

use super::StartError;
use super::bind;
use super::inherited::{GivenSocket, Inherited};
use super::listener::ListenerFactory;
use super::names::{self, Name};
use super::socket::ListeningSocket;
use super::worker::Workers;
use crate::config::Loaded;
use crate::edge::{Listener, TrustedPeers};
use crate::resolve::Resolver;
use crate::units::{Fingerprint, ListenAddress};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::watch;
use tracing::info;

/// All listeners of the gateway.
pub(super) struct Listeners {
    factory: ListenerFactory,
    open: Vec<Open>,
    /// The number of the next one; a number means one listener for as long as the process lives.
    next_number: usize,
}

/// A listener that takes connections.
struct Open {
    listener: Arc<Listener>,
    print: Fingerprint,
    socket: ListeningSocket,
    /// Set to true: no new connections, and no further request on those that are open.
    stop: watch::Sender<bool>,
}

/// The listeners of another configuration, bound and not open yet.
pub(super) struct Plan(Vec<Step>);

enum Step {
    /// Nothing about it has changed.
    Keep(usize),
    Open(Open),
}

impl Plan {
    /// The names that new listeners trust, none of them looked up.
    pub(super) fn names(&self, resolver: &Resolver) -> Vec<Name> {
        self.opened().flat_map(|open| names::of_listener(&open.listener, resolver)).collect()
    }

    /// The new listeners, each with what turns true when it is closed.
    pub(super) fn listeners(
        &self,
    ) -> impl Iterator<Item = (&Arc<Listener>, watch::Receiver<bool>)> {
        self.opened().map(|open| (&open.listener, open.stop.subscribe()))
    }

    /// Turns true when the new listener of this name is closed.
    pub(super) fn stopped(&self, name: &str) -> Option<watch::Receiver<bool>> {
        self.listeners().find(|(listener, _)| *listener.name == *name).map(|(_, stop)| stop)
    }

    fn opened(&self) -> impl Iterator<Item = &Open> {
        self.0.iter().filter_map(|step| match step {
            Step::Open(open) => Some(open),
            Step::Keep(_) => None,
        })
    }
}

/// The listeners of another configuration, all of them open.
pub(super) struct Opened(Vec<Place>);

enum Place {
    /// It was open before, at this place.
    Kept(usize),
    New(Open),
}

impl Opened {
    /// Closes what was opened: the other configuration is not taken.
    fn close(self) {
        for place in self.0 {
            if let Place::New(open) = place {
                open.close();
            }
        }
    }
}

impl Listeners {
    pub(super) fn new(factory: ListenerFactory) -> Self {
        Listeners { factory, open: Vec::new(), next_number: 0 }
    }

    /// Binds what `config` names and is not bound yet, unless it is among `inherited`. It opens and
    /// closes nothing.
    pub(super) fn plan(
        &mut self,
        loaded: &Loaded,
        inherited: &mut Inherited,
    ) -> Result<Plan, StartError> {
        let config = &loaded.config;
        let all = config.listeners.iter().filter_map(|listener| listener.address.inet());
        let all: Vec<SocketAddr> = all.chain([config.admin.address.0]).collect();
        // Names that it trusts are looked up by the resolver that there was when it was opened.
        let resolver = serde_json::to_vec(&config.resolver).expect("it is plain data");
        let steps = config.listeners.iter().map(|written| {
            let print = Fingerprint::of(&written.value).with(&resolver);
            if let Some(same) = self.open.iter().position(|open| open.print == print) {
                return Ok(Step::Keep(same));
            }
            let compiled = written.compile(self.next_number, loaded.base_dir());
            // Its warnings are told when all of the file is compiled.
            let compiled = compiled.map_err(|all| StartError::Config(loaded.report(all)))?;
            let listener = Arc::new(compiled.0);
            if let Some(open) = self.open.iter().find(|open| open.listener.name == listener.name) {
                listener.take_over(&open.listener);
            }
            self.next_number += 1;
            // A port that the system has chosen stays with its name.
            let is_its = |open: &&Open| {
                let is_chosen_late = listener.address.is_chosen_late();
                open.listener.address == listener.address
                    && (!is_chosen_late || open.listener.name == listener.name)
            };
            let (name, address) = (&*listener.name, &listener.address);
            let inherited = inherited.take(name, address);
            let socket = match (self.open.iter().find(is_its), inherited) {
                (Some(open), _) => bind::again(name, address, &open.socket)?,
                (None, Some(socket)) => socket,
                (None, None) => bind::bind(name, address, &all, &listener.socket)?,
            };
            bind::set_options(name, address, &socket, &listener.socket)?;
            let (stop, _) = watch::channel(false);
            Ok(Step::Open(Open { listener, print, socket, stop }))
        });
        steps.collect::<Result<_, _>>().map(Plan)
    }

    /// Opens what is new in the plan. What was open stays so until [`Self::settle`].
    pub(super) fn open(&self, plan: Plan, workers: &Workers) -> io::Result<Opened> {
        let mut opened = Opened(Vec::new());
        for step in plan.0 {
            opened.0.push(match step {
                Step::Keep(at) => Place::Kept(at),
                Step::Open(open) => {
                    let stopped = open.stop.subscribe();
                    let job = || self.factory.job(&open.listener, &open.socket, &stopped);
                    if let Err(error) = workers.give(job) {
                        opened.close();
                        return Err(error);
                    }
                    Place::New(open)
                }
            });
        }
        Ok(opened)
    }

    /// Closes what is open and not among `opened`.
    pub(super) fn settle(&mut self, opened: Opened) {
        let mut before: Vec<Option<Open>> = self.open.drain(..).map(Some).collect();
        self.open.extend(opened.0.into_iter().filter_map(|place| match place {
            Place::Kept(at) => before[at].take(),
            Place::New(open) => {
                open.tell("listening");
                Some(open)
            }
        }));
        for open in before.into_iter().flatten() {
            open.tell("closed: its connections end after their next answer");
            open.close();
        }
    }

    /// Each listener's name and the address that it really has.
    pub(super) fn addresses(&self) -> io::Result<Vec<(String, ListenAddress)>> {
        let address = |open: &Open| Ok((open.listener.name.to_string(), open.socket.address()?));
        self.open.iter().map(address).collect()
    }

    /// Another handle of each socket, to be given away.
    pub(super) fn sockets(&self) -> io::Result<Vec<GivenSocket>> {
        let socket = |open: &Open| {
            let (name, address) = (open.listener.name.to_string(), open.listener.address.clone());
            Ok(GivenSocket { name, address, socket: open.socket.again()? })
        };
        self.open.iter().map(socket).collect()
    }

    /// The name of each.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.open.iter().map(|open| &*open.listener.name)
    }

    /// Whom they trust.
    pub(super) fn trusted(&self) -> Vec<TrustedPeers> {
        self.open.iter().map(|open| open.listener.trusted.clone()).collect()
    }

    /// All that are open.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Listener>> {
        self.open.iter().map(|open| &open.listener)
    }

    /// Closes all of them.
    pub(super) fn close(&mut self) {
        self.open.drain(..).for_each(Open::close);
    }
}

impl Open {
    fn tell(&self, what: &str) {
        let address = self.socket.address().unwrap_or_else(|_| self.listener.address.clone());
        info!(listener = %self.listener.name, %address, "{what}");
    }

    fn close(self) {
        // The receivers are gone only if the workers are.
        let _ = self.stop.send(true);
    }
}
