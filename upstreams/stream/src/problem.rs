//! Every *no* of this service, in one table, as RFC 9457 bodies. Not for faults asked for.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

/// A refusal. Clients switch on its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Problem {
    RouteNotFound,
    MethodNotAllowed,
    EventNotFound,
    TitleNotFound,
    RenditionNotFound,
    SegmentNotFound,
    SegmentNotYet,
    SegmentGone,
    FaultMalformed,
}

impl Problem {
    fn row(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::RouteNotFound => (S::NOT_FOUND, "route_not_found", "Nothing is served here"),
            Self::MethodNotAllowed => {
                (S::METHOD_NOT_ALLOWED, "method_not_allowed", "This path does not take the method")
            }
            Self::EventNotFound => (S::NOT_FOUND, "event_not_found", "No such event"),
            Self::TitleNotFound => (S::NOT_FOUND, "title_not_found", "No such title"),
            Self::RenditionNotFound => (S::NOT_FOUND, "rendition_not_found", "No such rendition"),
            Self::SegmentNotFound => (S::NOT_FOUND, "segment_not_found", "No such segment"),
            Self::SegmentNotYet => (S::NOT_FOUND, "segment_not_yet", "It has not happened yet"),
            Self::SegmentGone => (S::NOT_FOUND, "segment_gone", "It has left the window"),
            Self::FaultMalformed => (S::BAD_REQUEST, "fault_malformed", "No such fault"),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, code, title) = self.row();
        let body = format!(
            r#"{{"type":"about:blank","status":{},"code":"{code}","title":"{title}"}}"#,
            status.as_u16()
        );
        // A cache that kept "not yet" would keep the segment from everybody when it is there.
        let fields = [
            (CONTENT_TYPE, HeaderValue::from_static("application/problem+json")),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        (status, fields, body).into_response()
    }
}
