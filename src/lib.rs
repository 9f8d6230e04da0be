//! streamgate: an edge gateway for video platforms.
//!
//! The rooms, from roof to ground. **A room may import only rooms that stand below it**: the order
//! of these lines is the law, and `crates/tidy` reads it.

#![warn(missing_docs)]

// Entrance: the command line; the process, its threads and tasks; the admin port.
pub mod cli;
pub mod server;
pub mod admin;

// Motion: what happens to a request, from its first byte to its last.
pub mod proxy;
pub mod judge;
pub mod streams;

// Plan: what a file compiles to, the file itself, what its listeners and filters do.
pub mod gateway;
pub mod config;
pub mod edge;
pub mod chain;
pub mod filter;
pub mod part;

// Voice: what is reported, and of what.
pub mod observe;
pub mod exchange;
pub mod metrics;

// Parts: what routes and filters are made of.
pub mod concurrency;
pub mod upstream;
pub mod activity;
pub mod quota;
pub mod acme;
pub mod store;
pub mod session;
pub mod route;
pub mod request;

// Ground: refusals, names and their addresses, documents, texts, problems, time.
pub mod denial;
pub mod resolve;
pub mod fetch;
pub mod units;
pub mod yaml;
pub mod problem;
pub mod clock;
