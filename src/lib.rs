//! streamgate: an edge gateway for video platforms.

pub mod session;

pub mod fetch;

pub mod units;
pub mod yaml;

pub mod clock;
pub mod problem;
