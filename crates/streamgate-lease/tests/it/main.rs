//! All that this library promises, in one binary: `contract` on every store, `redis` on what only
//! a server can do, `model` on random histories, `renewer` on one node, `sim` on many.

#![allow(clippy::unwrap_used)]

mod before;
mod boundary;
mod busy;
mod contract;
mod distance;
mod events;
mod fleet;
mod renewer;
mod load;
mod mixed;
mod model;
mod outage;
mod redis;
mod relay;
mod routing;
mod secure;
mod server;
mod sim;
mod spec;
mod faults;
mod world;
