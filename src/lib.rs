//! streamgate: an edge gateway for video platforms.

pub mod clock;
pub mod problem;
pub mod units;
pub mod yaml;
