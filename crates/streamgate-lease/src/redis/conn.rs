//! Connections to one Redis server: how they are made, kept, judged and replaced.
//!
//! [`Node`] is what the other files use. It knows one server (or one name that sentinels resolve)
//! and nothing of clusters, hash slots or leases.

mod node;
mod probe;
mod connector;
mod credentials;
mod connection;
mod breaker;
mod alarm;
mod offset;
mod command;
mod value;
mod reply_error;
mod host_port;
mod patience;
mod deadlines;
mod tls;

pub(super) use alarm::Alarm;
pub(super) use command::Command;
pub(super) use connector::{Connector, Sentinel};
pub(super) use credentials::Credentials;
pub(super) use host_port::HostPort;
pub(super) use node::{Node, Patience};
pub(super) use offset::Reading;
pub(super) use reply_error::{ReplyError, store_error};
pub(super) use value::{array, flag, int, server_time, text, unreadable};

pub use deadlines::Deadlines;
pub use tls::{Tls, TlsInvalid};
