//! Every *no* of this service, in one table, as RFC 9457 bodies. None of them tells whether an
//! account exists.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::account::AccountsError;
use crate::password::PasswordError;
use crate::session::StoreDown;

/// A refusal. Clients switch on its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    RequestMalformed(&'static str),
    BodyTooLarge,
    BodyTooSlow,
    MediaTypeUnsupported,
    OriginRefused,
    CredentialsInvalid,
    /// Seconds until the next attempt.
    TooManyRequests(u64),
    SessionMissing,
    SessionInvalid,
    SessionExpired,
    SessionEnded,
    SessionStoreUnavailable,
    AccountsUnavailable,
    Overloaded,
    RouteNotFound,
    MethodNotAllowed,
    Internal,
}

#[derive(Serialize)]
struct Body {
    r#type: &'static str,
    status: u16,
    code: &'static str,
    title: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
}

/// When to come back to something that failed, in seconds.
const RETRY_SECONDS: u64 = 2;

impl Refusal {
    fn row(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::RequestMalformed(_) => {
                (S::BAD_REQUEST, "request_malformed", "The request cannot be read")
            }
            Self::BodyTooLarge => (S::PAYLOAD_TOO_LARGE, "body_too_large", "The body is too large"),
            Self::BodyTooSlow => (S::REQUEST_TIMEOUT, "body_too_slow", "The body came too slowly"),
            Self::MediaTypeUnsupported => {
                (S::UNSUPPORTED_MEDIA_TYPE, "media_type_unsupported", "Send JSON or a form")
            }
            Self::OriginRefused => {
                (S::FORBIDDEN, "origin_refused", "Another site may not send this")
            }
            Self::CredentialsInvalid => {
                (S::UNAUTHORIZED, "credentials_invalid", "Account or password is wrong")
            }
            Self::TooManyRequests(_) => {
                (S::TOO_MANY_REQUESTS, "too_many_requests", "Too many failed logins")
            }
            Self::SessionMissing => (S::UNAUTHORIZED, "session_missing", "Nobody is logged in"),
            Self::SessionInvalid => (S::UNAUTHORIZED, "session_invalid", "The session is not ours"),
            Self::SessionExpired => (S::UNAUTHORIZED, "session_expired", "The session has expired"),
            Self::SessionEnded => (S::UNAUTHORIZED, "session_ended", "The session has been ended"),
            Self::SessionStoreUnavailable => {
                (S::SERVICE_UNAVAILABLE, "session_store_unavailable", "Sessions cannot be reached")
            }
            Self::AccountsUnavailable => {
                (S::SERVICE_UNAVAILABLE, "accounts_unavailable", "Accounts cannot be reached")
            }
            Self::Overloaded => (S::SERVICE_UNAVAILABLE, "overloaded", "Too many are logging in"),
            Self::RouteNotFound => (S::NOT_FOUND, "route_not_found", "Nothing is served here"),
            Self::MethodNotAllowed => {
                (S::METHOD_NOT_ALLOWED, "method_not_allowed", "This path does not take the method")
            }
            Self::Internal => (S::INTERNAL_SERVER_ERROR, "internal", "This is our mistake"),
        }
    }

    fn retry_after(self) -> Option<u64> {
        match self {
            Self::TooManyRequests(seconds) => Some(seconds),
            Self::SessionStoreUnavailable | Self::AccountsUnavailable | Self::Overloaded => {
                Some(RETRY_SECONDS)
            }
            _ => None,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, code, title) = self.row();
        let detail = if let Self::RequestMalformed(why) = self { Some(why) } else { None };
        let retry_after = self.retry_after();
        let body = Body {
            r#type: "about:blank",
            status: status.as_u16(),
            code,
            title,
            detail,
            retry_after,
        };
        let mut answer = (status, axum::Json(body)).into_response();
        let fields = answer.headers_mut();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = retry_after {
            fields.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer realm=\"streamgate\"");
            fields.insert(WWW_AUTHENTICATE, scheme);
        }
        answer
    }
}

impl From<StoreDown> for Refusal {
    fn from(problem: StoreDown) -> Self {
        tracing::warn!(%problem, "a session could not be written or read");
        Self::SessionStoreUnavailable
    }
}

impl From<AccountsError> for Refusal {
    fn from(problem: AccountsError) -> Self {
        tracing::error!(%problem, "an account could not be looked up");
        Self::AccountsUnavailable
    }
}

impl From<PasswordError> for Refusal {
    fn from(problem: PasswordError) -> Self {
        match problem {
            PasswordError::Busy => Self::Overloaded,
            PasswordError::Length => Self::RequestMalformed("a password has 1 to 1024 bytes"),
            PasswordError::Argon2(_) => {
                tracing::error!(%problem, "a password could not be checked");
                Self::Internal
            }
        }
    }
}
