//! Whether a request that failed at an endpoint may be sent to another one.
//!
//! It may if nobody can notice: its method may be repeated (RFC 9110 §9.2.2), no byte of its body
//! was passed on, and no byte of an answer. That a connection can't be made is another matter:
//! nothing was sent then, and any request may go on.

use super::context::Ctx;
use super::{answer, fault, timeouts};
use crate::observe::{Event, Observe};
use pingora::Error;
use pingora::proxy::Session as Downstream;

/// Marks the error as one to try again after, or not; and reports what has failed if another
/// endpoint is asked because of that. `is_kept`: it came on a connection that was used before.
pub(super) fn decide(
    downstream: &Downstream,
    error: &mut Error,
    ctx: &mut Ctx,
    (is_kept, observe): (bool, &Observe),
) {
    let stream = downstream.as_downstream();
    let has_begun = downstream.response_written().is_some_and(answer::is_final);
    let is_repeatable = downstream.req_header().method.is_idempotent()
        && !stream.retry_buffer_truncated()
        && !has_begun
        && ctx.instead.is_none();
    if !is_repeatable {
        error.set_retry(false);
        return;
    }
    // An upstream may close a kept connection in the moment in which it is used: no fault of it.
    error.retry.decide_reuse(is_kept);
    if error.retry() || ctx.request_bytes != 0 || timeouts::ran_out(downstream) {
        return;
    }
    let fault = fault::of_error(error, ctx.is_tunnel);
    let Some(attempt) = ctx.attempt.as_mut().filter(|_| fault.is_upstreams) else { return };
    if attempt.gave_nothing(fault.message) {
        error.set_retry(true);
        let (upstream, why) = (attempt.upstream(), fault.message);
        let endpoint = attempt.endpoint().map(|(_, endpoint)| endpoint);
        observe.emit(&Event::UpstreamFailed { upstream, endpoint, why });
        observe.emit(&Event::UpstreamRetried { upstream });
    }
}
