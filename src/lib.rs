//! streamgate: an edge gateway for video platforms.
//!
//! The rooms, from roof to ground. **A room may import only rooms that stand below it**: the order
//! of these lines is the law, and `crates/tidy` reads it.

// Entrance: the command line, the processes and tasks, the connections.
pub mod cli;
pub mod server;
pub mod edge;

// Motion: what moves while a request is answered.
pub mod admin;
pub mod proxy;
pub mod service;
pub mod forward;

// Plan: the file, what it compiles to, and the routes and filters in it.
pub mod gateway;
pub mod config;
pub mod filter;

// Parts: what filters and routes are made of.
pub mod observe;
pub mod exchange;
pub mod metrics;
pub mod shared;
pub mod concurrency;
pub mod upstream;
pub mod store;
pub mod session;
pub mod route;
pub mod request;

// Ground: refusals, texts, problems, time.
pub mod denial;
pub mod fetch;
pub mod yaml;
pub mod units;
pub mod problem;
pub mod clock;
