//! Which requests belong together, for upstreams that balance by a hash.

use crate::exchange::{Exchange, Target};
use crate::request::cookie;
use crate::upstream::HashKey;
use pingora::http::RequestHeader;

/// The key of one request; `None` if it has nothing of the kind.
pub(super) fn of(key: &HashKey, exchange: &Exchange, head: &RequestHeader) -> Option<u64> {
    let text = match key {
        HashKey::Capture(_) => return exchange.capture,
        HashKey::Account => exchange.session()?.account().as_bytes(),
        HashKey::Stream => exchange.lease_with_text()?.1.as_ref(),
        HashKey::Header(name) => head.headers.get(name.0.as_str())?.as_bytes(),
        HashKey::Cookie(name) => cookie::values(&head.headers, &name.0).next()?.as_bytes(),
        HashKey::Path => match &exchange.target {
            Target::Rewritten(target) => target.split('?').next().unwrap_or(target).as_bytes(),
            Target::Unread | Target::AsWritten => head.uri.path().as_bytes(),
        },
    };
    Some(HashKey::of(text))
}
