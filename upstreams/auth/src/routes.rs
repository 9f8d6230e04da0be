//! The routes and their handlers: login, refresh, logout, me, keys. Each handler reads from top to
//! bottom in the order in which things are checked; how each is checked is elsewhere.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{CACHE_CONTROL, LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Serialize;

use crate::Service;
use crate::account::Account;
use crate::body::{self, Login};
use crate::credential::{self, Way};
use crate::refusal::Refusal;
use crate::settings::Settings;
use crate::signing::Claims;
use crate::{caller, cookie, origin, session};

/// How long a gateway may keep the key set.
const KEYS_FRESH: &str = "public, max-age=300";

pub(crate) fn routes(service: Arc<Service>) -> Router {
    let mut router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/auth/login", post(login))
        .route("/auth/refresh", post(refresh))
        .route("/auth/logout", post(logout))
        .route("/auth/me", get(me));
    if service.settings.signing.published().is_some() {
        router = router
            .route("/.well-known/jwks.json", get(keys))
            .route("/auth/.well-known/jwks.json", get(keys));
    }
    router
        .method_not_allowed_fallback(|| async { Refusal::MethodNotAllowed })
        .fallback(|| async { Refusal::RouteNotFound })
        .with_state(service)
}

/// Takes a password and gives a session. A wrong password and an unknown account get the same
/// answer, after the same time.
async fn login(State(service): State<Arc<Service>>, request: Request) -> Result<Response, Refusal> {
    let (head, body) = request.into_parts();
    let settings = &service.settings;
    origin::check(&head.headers, &settings.allowed_origins)?;
    let peer = head.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
    let caller = caller::find(&head.headers, peer, settings.trusted_hops);
    let login = body::read(&head.headers, body).await?;
    let taken = service.throttle.take(&login.account, caller);
    taken.map_err(|wait| Refusal::TooManyRequests(wait.as_secs() + 1))?;

    let proven = prove(&service, &login).await;
    // What counts is a wrong password: neither a right one nor a failure of ours.
    if !matches!(proven, Ok(None)) {
        service.throttle.give_back(&login.account, caller);
    }
    let Some(account) = proven? else {
        tracing::info!("a login was refused");
        return Err(Refusal::CredentialsInvalid);
    };

    let claims = claims_at_login(&service, &account);
    settings.sessions.put(&claims.sid, kept(settings, &claims)).await?;
    end_former(&service, &head.headers).await;
    let way = if login.wants_token { Way::Bearer } else { Way::Cookie };
    let mut answer = admitted(&service, &claims, way, &head.headers)?;
    send_on(&mut answer, &login);
    Ok(answer)
}

/// The account whose password this is; none when it is wrong, or there is no such account.
async fn prove(service: &Service, login: &Login) -> Result<Option<Account>, Refusal> {
    let (account, hash) = service.accounts.find(login.account.clone()).await?.unzip();
    let is_right = service.passwords.is_right(login.password.clone(), hash).await?;
    Ok(account.filter(|_| is_right))
}

/// A live session gets a new token: as long as the idle time, never beyond the absolute end.
async fn refresh(
    State(service): State<Arc<Service>>,
    fields: HeaderMap,
) -> Result<Response, Refusal> {
    let settings = &service.settings;
    origin::check(&fields, &settings.allowed_origins)?;
    let (claims, way) = present(&service, &fields)?;
    let now = settings.clock.now();
    let end = claims.auth_time.saturating_add(settings.lifetime.absolute.as_secs());
    if end <= now {
        return Err(Refusal::SessionExpired);
    }
    // Asked again, because tier and limit may have changed, or the account may be gone.
    let name = claims.sub.parse().map_err(|_| Refusal::SessionInvalid)?;
    let (account, _) = service.accounts.find(name).await?.ok_or(Refusal::SessionEnded)?;
    let claims = Claims {
        iat: now,
        exp: now.saturating_add(settings.lifetime.idle.as_secs()).min(end),
        tier: account.tier,
        max_streams: account.max_streams,
        ..claims
    };
    if !settings.sessions.extend(&claims.sid, kept(settings, &claims)).await? {
        return Err(Refusal::SessionEnded);
    }
    admitted(&service, &claims, way, &fields)
}

/// Ends the session everywhere and takes the cookie away. Without a session there is nothing to
/// end, and the answer is the same. While the store is down the cookie stays, so that the viewer
/// can try again: a logout that only looks like one is worse than none.
async fn logout(
    State(service): State<Arc<Service>>,
    fields: HeaderMap,
) -> Result<Response, Refusal> {
    let settings = &service.settings;
    origin::check(&fields, &settings.allowed_origins)?;
    if let Ok((claims, _)) = present(&service, &fields) {
        settings.sessions.delete(&claims.sid).await?;
    }
    let name = &settings.cookie_name;
    let gone = cookie::set(name, "", 0, settings.cookie_secure, &fields);
    let fields = [(SET_COOKIE, gone), (CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((StatusCode::NO_CONTENT, fields).into_response())
}

/// Who the caller is, if the session is still live.
async fn me(State(service): State<Arc<Service>>, fields: HeaderMap) -> Result<Response, Refusal> {
    let (claims, _) = present(&service, &fields)?;
    if !service.settings.sessions.is_live(&claims.sid).await? {
        return Err(Refusal::SessionEnded);
    }
    Ok(unstored(Json(Admission::of(&service.settings, &claims, None))))
}

/// The public keys, for whoever checks our tokens.
async fn keys(State(service): State<Arc<Service>>) -> Response {
    let fresh = [(CACHE_CONTROL, HeaderValue::from_static(KEYS_FRESH))];
    (fresh, Json(service.settings.signing.published())).into_response()
}

/// What the client learns of its session.
#[derive(Serialize)]
struct Admission<'a> {
    account: &'a str,
    tier: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_streams: Option<u32>,
    /// Seconds since the Unix epoch.
    expires_at: u64,
    /// It ends earlier if it is not used for so long.
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
}

impl<'a> Admission<'a> {
    fn of(settings: &Settings, claims: &'a Claims, token: Option<&'a str>) -> Self {
        Self {
            account: &claims.sub,
            tier: &claims.tier,
            max_streams: claims.max_streams,
            expires_at: claims.exp,
            idle_seconds: settings.lifetime.sliding.map(|sliding| sliding.as_secs()),
            token_type: token.map(|_| "Bearer"),
            token,
        }
    }
}

/// The request's claims, if the token is ours and has not expired.
fn present(service: &Service, fields: &HeaderMap) -> Result<(Claims, Way), Refusal> {
    let settings = &service.settings;
    let found = credential::find(fields, &settings.cookie_name)?;
    let claims = settings.signing.read(&found.token, &settings.issuer, &settings.audience);
    let claims = claims.ok_or(Refusal::SessionInvalid)?;
    if claims.exp <= settings.clock.now() {
        return Err(Refusal::SessionExpired);
    }
    Ok((claims, found.way))
}

fn claims_at_login(service: &Service, account: &Account) -> Claims {
    let settings = &service.settings;
    let now = settings.clock.now();
    let lasts = settings.lifetime.idle.min(settings.lifetime.absolute);
    Claims {
        sub: account.name.to_string(),
        sid: session::fresh_sid(),
        iat: now,
        exp: now.saturating_add(lasts.as_secs()),
        auth_time: now,
        iss: settings.issuer.clone(),
        aud: settings.audience.clone(),
        tier: account.tier.clone(),
        max_streams: account.max_streams,
    }
}

/// A browser that logs in anew leaves its former session, whose cookie is replaced; nobody could
/// end it later, so it ends now. If that fails it ends by itself, and the login stands.
async fn end_former(service: &Service, fields: &HeaderMap) {
    let Ok((former, Way::Cookie)) = present(service, fields) else { return };
    if let Err(problem) = service.settings.sessions.delete(&former.sid).await {
        tracing::warn!(%problem, "a former session could not be ended");
    }
}

fn remaining(claims: &Claims) -> Duration {
    Duration::from_secs(claims.exp.saturating_sub(claims.iat))
}

/// How long the store keeps a session that nobody uses.
fn kept(settings: &Settings, claims: &Claims) -> Duration {
    let token = remaining(claims);
    settings.lifetime.sliding.map_or(token, |sliding| sliding.min(token))
}

/// The session as an answer: in a cookie, or in the body for those who came with a bearer.
fn admitted(
    service: &Service,
    claims: &Claims,
    way: Way,
    request: &HeaderMap,
) -> Result<Response, Refusal> {
    let settings = &service.settings;
    let token = settings.signing.sign(claims).map_err(|problem| {
        tracing::error!(%problem, "a token could not be signed");
        Refusal::Internal
    })?;
    if way == Way::Bearer {
        return Ok(unstored(Json(Admission::of(settings, claims, Some(&token)))));
    }
    let lasts = remaining(claims).as_secs();
    let name = &settings.cookie_name;
    let value = cookie::set(name, &token, lasts, settings.cookie_secure, request);
    let mut answer = unstored(Json(Admission::of(settings, claims, None)));
    answer.headers_mut().insert(SET_COOKIE, value);
    Ok(answer)
}

/// A form without a script goes on to its next page, if that is one of ours.
fn send_on(answer: &mut Response, login: &Login) {
    let next = login.next.as_deref().filter(|path| body::is_local(path));
    if let Some(Ok(place)) = next.map(HeaderValue::from_str) {
        *answer.status_mut() = StatusCode::SEE_OTHER;
        answer.headers_mut().insert(LOCATION, place);
        *answer.body_mut() = Body::empty();
        answer.headers_mut().remove(axum::http::header::CONTENT_LENGTH);
        answer.headers_mut().remove(axum::http::header::CONTENT_TYPE);
    }
}

fn unstored(body: impl IntoResponse) -> Response {
    let mut answer = body.into_response();
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
