//! streamgate: an edge gateway for video platforms.

pub mod clock;
pub mod fetch;
pub mod problem;
pub mod session;
pub mod units;
pub mod yaml;
