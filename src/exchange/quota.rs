//! What is left of rates, as answers tell it.

use http::HeaderValue;
use std::sync::Arc;

/// What is left of the limits of one filter, as answers tell it.
#[derive(Clone, Debug)]
pub struct Quota {
    /// What is left.
    pub left: HeaderValue,
    /// What holds: the same for all requests of the filter.
    pub policy: Arc<HeaderValue>,
}
