//! The gateway as its users meet it: real sockets, real upstreams, a real Redis.

#![allow(clippy::unwrap_used)]

mod authority;
mod harness;
mod origin;
mod process;
mod raw_client;

mod access;
mod acme;
mod admin;
mod balance;
mod bounds;
mod casting;
mod check;
mod churn;
mod cli;
mod client;
mod compose;
mod concurrency;
mod docs;
mod drain;
mod edge;
mod framing;
mod heal;
mod health;
mod http1;
mod identity;
mod include;
mod judge;
mod limits;
mod names;
mod outage;
mod own_device;
mod playlist;
mod proxy_protocol;
mod reissue;
mod reload;
mod revocation;
mod session;
mod shadow;
mod signal;
mod sliding;
mod store;
mod streaming;
mod tls;
mod tls_clients;
mod tls_tickets;
mod trusted;
mod ttl;
mod upgrade;
mod upstream;
mod upstream_tls;
