//! streamgate: an edge gateway for video platforms.
//!
//! The rooms, from roof to ground. **A room may import only rooms that stand below it**: the order
//! of these lines is the law, and `crates/tidy` reads it.

// Entrance: the command line, the processes and tasks, the connections.
pub mod cli;
pub mod edge;
pub mod server;

// Motion: what moves while a request is answered.
pub mod admin;
pub mod forward;
pub mod proxy;
pub mod service;

// Plan: the file, what it compiles to, and the routes and filters in it.
pub mod config;
pub mod filter;
pub mod gateway;

// Parts: what filters and routes are made of.
pub mod concurrency;
pub mod exchange;
pub mod metrics;
pub mod observe;
pub mod request;
pub mod route;
pub mod session;
pub mod shared;
pub mod store;
pub mod upstream;

// Ground: refusals, texts, problems, time.
pub mod clock;
pub mod denial;
pub mod fetch;
pub mod problem;
pub mod units;
pub mod yaml;
