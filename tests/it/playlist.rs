//! What a playlist is: by its path, by what a route says, and by the media type of the answer, on
//! memory and on a real Redis, through real sockets.

use crate::harness::{Gateway, Login, Redis, STANDARD, environment, outcome};
use axum::extract::Request;
use axum::response::IntoResponse;
use reqwest::header::{CONTENT_TYPE, COOKIE, ETAG, IF_NONE_MATCH, LOCATION, SET_COOKIE};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use tokio::net::TcpListener;

const HLS: &str = "type=application/vnd.apple.mpegurl";
const DASH: &str = "type=application/dash%2Bxml;charset=utf-8";
const TOKENS: &str = "identity: [ { stream_token: { secret: \"${STREAM_SECRET}\" } } ]";
const AND_SESSION: &str =
    "identity: [ { stream_token: { secret: \"${STREAM_SECRET}\" } }, session ]";
const COOKIES: &str = "identity: [ { stream_token: { secret: \"${STREAM_SECRET}\", carry: cookie, \
                       cookie: { secure: false } } } ]";

/// Answers with the status and the media type that the query names, and counts what it was asked.
async fn typed(asked: Arc<AtomicUsize>) -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let answer = move |request: Request| {
        asked.fetch_add(1, SeqCst);
        let query = request.uri().query().unwrap_or_default().replace("%2B", "+");
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let pairs: HashMap<String, String> =
            pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let is_known = request.headers().contains_key(IF_NONE_MATCH);
        let status = pairs.get("status").map(|status| status.parse().unwrap());
        let status = if is_known { 304 } else { status.unwrap_or(200) };
        let kind = pairs.get("type").cloned().unwrap_or("text/plain".to_owned());
        let fields = [(CONTENT_TYPE, kind), (ETAG, "\"1\"".to_owned())];
        async move { (StatusCode::from_u16(status).unwrap(), fields, "what it is").into_response() }
    };
    let service = axum::Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(socket, service).await });
    address
}

/// A gateway with such an upstream, and how often that was asked.
struct Stage {
    gateway: Gateway,
    asked: Arc<AtomicUsize>,
}

impl Stage {
    async fn new(redis: Option<&Redis>, policy: &str, route: &str) -> Self {
        let asked = Arc::new(AtomicUsize::new(0));
        let upstream =
            format!("upstreams:\n  own: {{ endpoints: [\"{}\"] }}", typed(asked.clone()).await);
        let yaml = STANDARD
            .replace("upstreams:", &upstream)
            .replace("    pepper:", &format!("    {policy}\n    pepper:"))
            + "  - name: own\n    match: { path: \"/own/{*file}\" }\n    \
               filters: [ { session: viewers }, { concurrency: standard } ]\n    \
               upstream: own\n"
            + route;
        let secret = "a stream secret of thirty-two bytes or more";
        let environment = environment(redis).await.with("STREAM_SECRET", secret);
        Stage { gateway: Gateway::start(&yaml, &environment), asked }
    }

    fn ask(&self, login: &Login, path: &str) -> RequestBuilder {
        self.gateway.get(path).header(COOKIE, login.cookie())
    }

    async fn get(&self, login: &Login, path: &str) -> Response {
        self.ask(login, path).send().await.unwrap()
    }

    /// Begins a playback by a redirect, follows it, and tells where it goes on.
    async fn begin(&self, login: &Login, path: &str) -> String {
        let response = self.get(login, path).await;
        assert_eq!(response.status(), 307, "{path}");
        let to = response.headers()[LOCATION].to_str().unwrap().to_owned();
        assert!(to.starts_with("/s/") && to.ends_with(path), "{to}");
        assert_eq!(response.text().await.unwrap(), "", "no byte of the answer went out");
        let followed = self.get(login, &to).await;
        assert_eq!(followed.status(), 200, "{path}");
        assert_eq!(followed.text().await.unwrap(), "what it is");
        to
    }

    async fn active(&self, login: &Login) -> u64 {
        let list: Value = self.get(login, "/streams").await.json().await.unwrap();
        list["active"].as_u64().unwrap()
    }

    fn times_asked(&self) -> usize {
        self.asked.swap(0, SeqCst)
    }
}

async fn on_both<F: Future<Output = ()>>(policy: &str, route: &str, promise: impl Fn(Stage) -> F) {
    promise(Stage::new(None, policy, route).await).await;
    let redis = Redis::start().await;
    promise(Stage::new(Some(&redis), policy, route).await).await;
}

fn login(session: &str, limit: u32) -> Login {
    Login::of("ann", session).with("max_streams", limit)
}

fn missing() -> (u16, String) {
    (409, "stream_token_missing".to_owned())
}

#[tokio::test]
async fn a_playlist_is_known_by_its_path_before_anybody_is_asked() {
    on_both(TOKENS, "", |stage| async move {
        let paths = [
            "/own/x.ism/manifest(format=m3u8-aapl)",
            "/own/x.ism/Manifest(format=mpd-time-csf)",
            "/own/x.isml/manifest",
            "/own/a.m3u",
            "/own/a.m3u8;v=1",
            "/own/a.MPD",
        ];
        for (n, path) in paths.iter().enumerate() {
            let tab = login(&format!("tab {n}"), 10);
            stage.begin(&tab, path).await;
            assert_eq!(stage.times_asked(), 1, "{path}: behind the redirect alone");
        }
        assert_eq!(stage.active(&login("tab 0", 10)).await, paths.len() as u64);
    })
    .await;
}

#[tokio::test]
async fn a_playlist_is_known_by_the_type_of_the_answer() {
    on_both(TOKENS, "", |stage| async move {
        let tv = login("tv", 10);
        for (n, (path, kind)) in [
            ("/own/playlist?format=m3u8", HLS),
            ("/own/live/hd?x", DASH),
            ("/own/a.php?x", "type=Application/X-MpegURL"),
            ("/own/b?x", "type=audio/mpegurl"),
            ("/own/c/manifest?x", "type=application/vnd.ms-sstr%2Bxml"),
        ]
        .iter()
        .enumerate()
        {
            let path = format!("{path}&{kind}");
            let first = stage.begin(&tv, &path).await;
            assert_eq!(stage.times_asked(), 2, "{path}");
            let again = stage.ask(&tv, &first).header(IF_NONE_MATCH, "\"1\"");
            assert_eq!(again.send().await.unwrap().status(), 304, "behind the redirect as ever");
            assert_eq!(stage.active(&tv).await, n as u64 + 1, "{path}");
            stage.times_asked();
        }
        // A copy that the player has from elsewhere would begin nothing.
        let path = format!("/own/known?{HLS}");
        let known = stage.ask(&tv, &path).header(IF_NONE_MATCH, "\"1\"");
        assert_eq!(known.send().await.unwrap().status(), 307);
    })
    .await;
}

#[tokio::test]
async fn what_is_no_playlist_begins_nothing() {
    on_both(TOKENS, "", |stage| async move {
        let tv = login("tv", 3);
        let page = stage.get(&tv, "/own/page").await;
        assert_eq!(page.status(), 409);
        let told: Value = page.json().await.unwrap();
        assert_eq!(told["code"], "stream_token_missing");
        assert_eq!(stage.times_asked(), 1);
        for (status, expected) in [(503, 503), (404, 404), (302, 302), (204, 409)] {
            let path = format!("/own/playlist?{HLS}&status={status}");
            assert_eq!(stage.get(&tv, &path).await.status().as_u16(), expected);
        }
        stage.times_asked();
        for path in ["/own/a.ts", "/own/init.mp4", "/own/k.key"] {
            assert_eq!(outcome(stage.ask(&tv, &format!("{path}?{HLS}"))).await, missing());
        }
        for method in [Method::HEAD, Method::POST] {
            let request = stage.gateway.request(method, &format!("/own/playlist?{HLS}"));
            let answer = request.header(COOKIE, tv.cookie()).send().await.unwrap();
            assert_eq!(answer.status(), 409);
        }
        assert_eq!(stage.times_asked(), 0);
        assert_eq!(stage.active(&tv).await, 0);
    })
    .await;
}

#[tokio::test]
async fn two_tabs_are_two_streams_where_the_session_would_be_one() {
    on_both(AND_SESSION, "", |stage| async move {
        let pc = login("pc", 2);
        let path = format!("/own/playlist?{HLS}");
        let tabs = [stage.begin(&pc, &path).await, stage.begin(&pc, &path).await];
        assert_ne!(tabs[0], tabs[1]);
        assert_eq!(stage.active(&pc).await, 2, "and none of the session beside them");
        for tab in &tabs {
            assert_eq!(stage.get(&pc, tab).await.status(), 200);
        }
        // What is none goes by the session, as ever.
        let tv = login("tv", 3);
        assert_eq!(stage.get(&tv, "/own/page").await.status(), 200);
        assert_eq!(stage.active(&tv).await, 3);
        stage.times_asked();
        let full = stage.ask(&login("pad", 3), &path);
        assert_eq!(outcome(full).await, (409, "concurrency_limit".to_owned()));
        assert_eq!(stage.times_asked(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_full_account_is_told_in_the_place_of_the_playlist() {
    on_both(TOKENS, "", |stage| async move {
        let path = format!("/own/playlist?{HLS}");
        let (tv, pad) = (login("tv", 1), login("pad", 1));
        let first = stage.begin(&tv, &path).await;
        let refused = outcome(stage.ask(&pad, &path)).await;
        assert_eq!(refused, (409, "concurrency_limit".to_owned()));
        let wish = stage.get(&pad, &format!("{path}&streamgate-replace=oldest")).await;
        assert_eq!(wish.status(), 307);
        let to = wish.headers()[LOCATION].to_str().unwrap();
        assert!(to.ends_with(&path), "the wish is carried out: {to}");
        assert_eq!(stage.get(&pad, to).await.status(), 200);
        let ended = outcome(stage.ask(&tv, &first)).await;
        assert_eq!(ended, (409, "stream_terminated".to_owned()));
    })
    .await;
}

#[tokio::test]
async fn a_route_names_its_playlists_and_no_others() {
    let route = "    starts: [ \"*/index\", \"*/manifest*\" ]\n";
    on_both(TOKENS, route, |stage| async move {
        let tv = login("tv", 10);
        for path in ["/own/index", "/own/a/INDEX", "/own/x/manifest%28y%29"] {
            let response = stage.get(&tv, path).await;
            assert_eq!(response.status(), 307, "{path}");
        }
        for path in ["/own/a.m3u8", "/own/playlist", "/own/index/x"] {
            let refused = outcome(stage.ask(&tv, &format!("{path}?{HLS}"))).await;
            assert_eq!(refused, missing(), "{path}");
        }
        assert_eq!(stage.times_asked(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_token_in_a_cookie_comes_with_the_playlist() {
    on_both(COOKIES, "", |stage| async move {
        let tv = login("tv", 2);
        let path = format!("/own/playlist?{HLS}");
        let playlist = stage.get(&tv, &path).await;
        assert_eq!(playlist.status(), 200);
        assert!(playlist.headers().contains_key("streamgate-lease"));
        let cookie = playlist.headers()[SET_COOKIE].to_str().unwrap();
        let token = cookie.split(';').next().unwrap().to_owned();
        assert!(token.starts_with("streamgate-stream="), "{token}");
        assert_eq!(playlist.text().await.unwrap(), "what it is");
        let with = |path: &str| {
            let both = format!("{}; {token}", tv.cookie());
            stage.gateway.get(path).header(COOKIE, both)
        };
        for path in [path.as_str(), "/own/a.ts", "/own/page"] {
            assert_eq!(with(path).send().await.unwrap().status(), 200, "{path}");
        }
        assert_eq!(stage.active(&tv).await, 1);
        assert_eq!(outcome(stage.ask(&tv, "/own/page")).await, missing());
    })
    .await;
}

#[tokio::test]
async fn what_was_superseded_begins_anew_by_what_the_answer_is() {
    on_both("same_session: supersede", "", |stage| async move {
        let pc = login("pc", 1);
        let path = format!("/own/playlist?{HLS}");
        let tab = |id: &str, path: &str| stage.ask(&pc, path).header("x-playback-session-id", id);
        for id in ["one", "two"] {
            assert_eq!(tab(id, &path).send().await.unwrap().status(), 200, "{id}");
        }
        let ended = (409, "stream_terminated".to_owned());
        assert_eq!(outcome(tab("one", "/own/page")).await, ended);
        assert_eq!(outcome(tab("one", "/own/a.ts")).await, ended);
        assert_eq!(tab("one", &path).send().await.unwrap().status(), 200);
        assert_eq!(tab("one", "/own/a.ts").send().await.unwrap().status(), 200);
        assert_eq!(outcome(tab("two", "/own/a.ts")).await, ended);
    })
    .await;
}
