//! Which stream a request belongs to: stream tokens in the path and in a cookie, and the sources
//! below them.

use crate::access::Logged;
use crate::harness::{Gateway, Login, PEPPER, Redis, STANDARD, environment, outcome};
use crate::raw_client::RawClient;
use reqwest::header::{COOKIE, LOCATION};
use reqwest::{Method, RequestBuilder, Response, Url};
use serde_json::{Value, json};
use streamgate::clock::unix_seconds;
use streamgate::concurrency::{StreamTokenKey, Subject};
use streamgate::yaml::Environment;
use streamgate_lease::{Holder, LeaseId, Pepper};

const PLAYLIST: &str = "/live/final/master.m3u8";
const SEGMENT: &str = "/live/final/180p/1.ts";
const ECHO: &str = "/faults/echo/held/a.m3u8";
const STREAM_SECRET: &str = "a stream secret of thirty-two bytes or more";

const IN_PATH: &str =
    "[ { stream_token: { secret: \"${STREAM_SECRET}\" } }, playback_id, session ]";
const ALONE: &str = "[ { stream_token: { secret: \"${STREAM_SECRET}\" } } ]";
const IN_COOKIE: &str =
    "[ { stream_token: { secret: \"${STREAM_SECRET}\", carry: cookie } }, session ]";

async fn variables(redis: Option<&Redis>) -> Environment {
    environment(redis).await.with("STREAM_SECRET", STREAM_SECRET)
}

/// `STANDARD` with these sources of identity.
fn yaml(identity: &str) -> String {
    STANDARD.replace("    pepper:", &format!("    identity: {identity}\n    pepper:"))
}

async fn gateway(identity: &str) -> Gateway {
    Gateway::start(&yaml(identity), &variables(None).await)
}

fn ask(gateway: &Gateway, login: &Login, path: &str) -> RequestBuilder {
    gateway.get(path).header(COOKIE, login.cookie())
}

fn call(gateway: &Gateway, login: &Login, method: Method, path: &str) -> RequestBuilder {
    gateway.request(method, path).header(COOKIE, login.cookie())
}

async fn send(request: RequestBuilder) -> Response {
    request.send().await.unwrap()
}

async fn status(request: RequestBuilder) -> u16 {
    send(request).await.status().as_u16()
}

async fn body(request: RequestBuilder) -> Value {
    send(request).await.json().await.unwrap()
}

fn location(response: &Response) -> String {
    response.headers()[LOCATION].to_str().unwrap().to_owned()
}

/// Begins a stream and tells where it goes on.
async fn begin(gateway: &Gateway, login: &Login, path: &str) -> String {
    let response = send(ask(gateway, login, path)).await;
    assert_eq!(response.status(), 307);
    location(&response)
}

fn token_of(path: &str) -> &str {
    path.strip_prefix("/s/").unwrap().split('/').next().unwrap()
}

/// The lease that an answer tells.
fn lease(response: &Response) -> String {
    let field = response.headers()["streamgate-lease"].to_str().unwrap();
    field.split('"').nth(1).unwrap().to_owned()
}

async fn active(gateway: &Gateway, login: &Login) -> Value {
    body(call(gateway, login, Method::GET, "/streams")).await["active"].clone()
}

/// A token as the gateway would sign it, but with an end of our choice.
fn forged(secret: &str, account: &str, session: &str, expires_at: u64) -> String {
    let holder = Holder::of(&Pepper::new(PEPPER).unwrap(), account).to_string();
    let subject = Subject { account: holder.as_bytes(), session };
    let lease = LeaseId::from_bytes([7; 16]);
    StreamTokenKey::new(secret.as_bytes(), None).sign(&lease, expires_at, subject)
}

/// The first address in a playlist, resolved as every player does.
async fn first_address(response: Response) -> String {
    let base: Url = response.url().clone();
    let text = response.text().await.unwrap();
    let line = text.lines().find(|line| !line.is_empty() && !line.starts_with('#'));
    base.join(line.unwrap_or_else(|| panic!("an address in {text}"))).unwrap().path().to_owned()
}

#[tokio::test]
async fn a_playlist_begins_a_stream_and_all_that_is_relative_to_it_is_the_same_stream() {
    let redis = Redis::start().await;
    let gateway = Gateway::start(&yaml(ALONE), &variables(Some(&redis)).await);
    let ann = Login::of("ann", "s");
    let response = send(ask(&gateway, &ann, &format!("{PLAYLIST}?a=1"))).await;
    assert_eq!(response.status(), 307);
    assert_eq!(response.headers()["cache-control"], "no-store");
    let to = location(&response);
    assert_eq!(token_of(&to).len(), 50, "{to}");
    assert!(to.ends_with("/live/final/master.m3u8?a=1"), "{to}");

    let master = send(ask(&gateway, &ann, &to)).await;
    assert_eq!(master.status(), 200);
    let held = lease(&master);
    let index = send(ask(&gateway, &ann, &first_address(master).await)).await;
    assert_eq!((index.status().as_u16(), lease(&index)), (200, held.clone()));
    let segment = send(ask(&gateway, &ann, &first_address(index).await)).await;
    assert_eq!((segment.status().as_u16(), lease(&segment)), (200, held));
    assert!(segment.url().path().starts_with(&format!("/s/{}/", token_of(&to))));
    assert_eq!(active(&gateway, &ann).await, json!(1));
    let rungs = "streamgate_stream_identity_total{route=\"live\",rung=\"stream_token\"}";
    gateway.counts(rungs, 4.0).await;
}

#[tokio::test]
async fn two_tabs_are_two_streams() {
    let yaml = yaml(IN_PATH).replace("    pepper:", "    same_session: count\n    pepper:");
    let gateway = Gateway::start(&yaml, &variables(None).await);
    let ann = Login::of("ann", "s").with("max_streams", 2);
    let one = begin(&gateway, &ann, PLAYLIST).await;
    let two = begin(&gateway, &ann, PLAYLIST).await;
    assert_ne!(token_of(&one), token_of(&two));
    let (first, second) =
        (send(ask(&gateway, &ann, &one)).await, send(ask(&gateway, &ann, &two)).await);
    assert_ne!(lease(&first), lease(&second));
    assert_eq!(active(&gateway, &ann).await, json!(2));
    let third = outcome(ask(&gateway, &ann, PLAYLIST)).await;
    assert_eq!(third, (409, "concurrency_limit".to_owned()));
    // The id that a player sends is a weaker word than the token.
    let named = ask(&gateway, &ann, &one).header("x-playback-session-id", "p");
    assert_eq!(lease(&send(named).await), lease(&first));
    assert_eq!(active(&gateway, &ann).await, json!(2));
}

#[tokio::test]
async fn the_head_of_a_playlist_begins_a_stream_too() {
    let gateway = gateway(ALONE).await;
    let ann = Login::of("ann", "s");
    let response = send(call(&gateway, &ann, Method::HEAD, "/live/final/MASTER.M3U8")).await;
    assert_eq!(response.status(), 307);
    let segment = location(&response).replace("MASTER.M3U8", "180p/index.m3u8");
    assert_eq!(status(call(&gateway, &ann, Method::HEAD, &segment)).await, 200);
}

#[tokio::test]
async fn a_token_is_good_for_its_own_login_only() {
    let gateway = gateway(IN_PATH).await;
    let ann = Login::of("ann", "s");
    let to = begin(&gateway, &ann, PLAYLIST).await;
    let token = token_of(&to);
    let invalid = (401, "stream_token_invalid".to_owned());
    for other in [Login::of("bob", "s"), Login::of("ann", "t"), Login::of("s", "ann")] {
        assert_eq!(outcome(ask(&gateway, &other, &to)).await, invalid);
        let call = call(&gateway, &other, Method::DELETE, &format!("/s/{token}/streams/current"));
        assert_eq!(outcome(call).await, invalid);
    }
    let last = if token.ends_with('A') { "Q" } else { "A" };
    let long = "A".repeat(4_000);
    for bad in [
        "",
        "x",
        &token[1..],
        &token[..49],
        &token.to_lowercase(),
        &long,
        "%F0%9F%98%80",
        "a:*{}",
        &format!("{token}A"),
        &format!("{token}="),
        &format!("{}{last}", &token[..49]),
        &"A".repeat(50),
        &forged("another secret of thirty-two bytes", "ann", "s", u64::MAX),
    ] {
        let path = format!("/s/{bad}{PLAYLIST}");
        // An empty segment is no segment: `/s//live` is `/s/live`.
        let expected =
            if bad.is_empty() { (404, "route_not_found".to_owned()) } else { invalid.clone() };
        assert_eq!(outcome(ask(&gateway, &ann, &path)).await, expected, "{bad}");
    }
    let none = outcome(gateway.get(&to)).await;
    assert_eq!(none, (401, "session_missing".to_owned()), "it opens nothing by itself");
    assert_eq!(active(&gateway, &Login::of("bob", "s")).await, json!(0));
    assert_eq!(status(ask(&gateway, &ann, &to)).await, 200, "nobody was disturbed");
    assert_eq!(active(&gateway, &ann).await, json!(1));
}

#[tokio::test]
async fn a_token_that_expired_sends_the_player_back_to_the_start() {
    let gateway = gateway(IN_PATH).await;
    let ann = Login::of("ann", "s");
    let now = unix_seconds();
    let good = forged(STREAM_SECRET, "ann", "s", now + 60);
    assert_eq!(status(ask(&gateway, &ann, &format!("/s/{good}{PLAYLIST}"))).await, 200);
    let old = forged(STREAM_SECRET, "ann", "s", now - 1);
    let expired = outcome(ask(&gateway, &ann, &format!("/s/{old}{PLAYLIST}"))).await;
    assert_eq!(expired, (409, "stream_expired".to_owned()));
    let call = call(&gateway, &ann, Method::GET, &format!("/s/{old}/streams"));
    assert_eq!(outcome(call).await, (410, "stream_expired".to_owned()));
}

#[tokio::test]
async fn a_secret_is_replaced_while_streams_play() {
    let redis = Redis::start().await;
    let variables = variables(Some(&redis)).await;
    let before = Gateway::start(&yaml(ALONE), &variables);
    let new = "secret: \"a new secret of thirty-two bytes or more\", also: \"${STREAM_SECRET}\"";
    let yaml_after = yaml(ALONE).replace("secret: \"${STREAM_SECRET}\"", new);
    let after = Gateway::start(&yaml_after, &variables);
    let ann = Login::of("ann", "s");
    let to = begin(&before, &ann, PLAYLIST).await;
    assert_eq!(status(ask(&after, &ann, &to)).await, 200);
    let newer = begin(&after, &ann, PLAYLIST).await;
    assert_eq!(outcome(ask(&before, &ann, &newer)).await.1, "stream_token_invalid");
}

#[tokio::test]
async fn a_pepper_is_changed_while_streams_play() {
    let redis = Redis::start().await;
    let variables =
        variables(Some(&redis)).await.with("NEXT_PEPPER", "next-pepper-that-nobody-guesses-1");
    let turned = |current: &str, also: &str| {
        let both = format!("pepper: {{ current: \"${{{current}}}\", also: \"${{{also}}}\" }}");
        let yaml = yaml(ALONE).replace("pepper: \"${ACCOUNT_PEPPER}\"", &both);
        assert!(yaml.contains(&both), "{yaml}");
        Gateway::start(&yaml, &variables)
    };
    let one = turned("ACCOUNT_PEPPER", "NEXT_PEPPER");
    let two = turned("NEXT_PEPPER", "ACCOUNT_PEPPER");
    let ann = Login::of("ann", "s");
    for (begun, played) in [(&one, &two), (&two, &one)] {
        let to = begin(begun, &ann, PLAYLIST).await;
        let before = lease(&send(ask(begun, &ann, &to)).await);
        assert_eq!(lease(&send(ask(played, &ann, &to)).await), before, "one stream by two names");
    }
    assert_eq!(active(&one, &ann).await, 2, "none was lost and none doubled");
}

#[tokio::test]
async fn without_a_token_the_next_source_identifies_or_none_does() {
    let ann = Login::of("ann", "s");
    let both = gateway(IN_PATH).await;
    let named = |id: &'static str| {
        ask(&both, &ann, "/live/final/180p/index").header("x-playback-session-id", id)
    };
    let (one, again, two) =
        (send(named("a")).await, send(named("a")).await, send(named("b")).await);
    assert_eq!(lease(&one), lease(&again));
    assert_ne!(lease(&one), lease(&two));
    let rung = |rung| format!("streamgate_stream_identity_total{{route=\"live\",rung=\"{rung}\"}}");
    both.counts(&rung("playback_id"), 3.0).await;
    let own = send(ask(&both, &ann, "/live/final/180p/index")).await;
    assert_ne!(lease(&own), lease(&one));
    both.counts(&rung("session"), 1.0).await;

    let strict = gateway(ALONE).await;
    let missing = (409, "stream_token_missing".to_owned());
    assert_eq!(outcome(ask(&strict, &ann, SEGMENT)).await, missing);
    let post = call(&strict, &ann, Method::POST, PLAYLIST);
    assert_eq!(outcome(post).await, missing, "what is posted begins nothing");
    let end = call(&strict, &ann, Method::DELETE, "/streams/current");
    assert_eq!(outcome(end).await, missing);
    assert_eq!(active(&strict, &ann).await, json!(0));
}

#[tokio::test]
async fn strange_ids_of_playbacks_are_ids_like_others_or_none() {
    let gateway = Gateway::standard(None).await;
    let ann = Login::of("ann", "s").with("max_streams", 100);
    let mut leases = Vec::new();
    let long = "x".repeat(10_000);
    for id in ["a:b", "*", "{}", "{a}:{b}", "a b", "😀", "%00", "'; DROP", "../..", &long] {
        let request = ask(&gateway, &ann, SEGMENT).header("x-playback-session-id", id.as_bytes());
        let held = lease(&send(request).await);
        let own = lease(&send(ask(&gateway, &ann, SEGMENT)).await);
        // No visible ASCII, or too long: then it is no id, and the session is the stream.
        assert_eq!(held == own, id == "😀" || id == long, "{id}");
        leases.push(held);
    }
    leases.sort();
    leases.dedup();
    assert_eq!(leases.len(), 9, "each its own, and the session's for two");
    let put = call(&gateway, &ann, Method::PUT, "/streams/%F0%9F%98%80%3A%2A");
    assert_eq!(status(put).await, 201);
}

#[tokio::test]
async fn who_was_stopped_stays_stopped_and_may_begin_anew() {
    let gateway = gateway(ALONE).await;
    let ann = Login::of("ann", "s");
    let to = begin(&gateway, &ann, PLAYLIST).await;
    let code = lease(&send(ask(&gateway, &ann, &to)).await);
    let end = call(&gateway, &ann, Method::POST, &format!("/streams/{code}/terminate"));
    assert_eq!(status(end).await, 204);
    let stopped = (409, "stream_terminated".to_owned());
    assert_eq!(outcome(ask(&gateway, &ann, &to)).await, stopped);
    let wished = format!("{to}?streamgate-replace=oldest");
    assert_eq!(outcome(ask(&gateway, &ann, &wished)).await, stopped, "a token is for one playback");
    let anew = begin(&gateway, &ann, PLAYLIST).await;
    assert_eq!(status(ask(&gateway, &ann, &anew)).await, 200);
}

#[tokio::test]
async fn the_streams_api_knows_the_stream_by_its_token() {
    let gateway = gateway(IN_PATH).await;
    let ann = Login::of("ann", "s");
    let to = begin(&gateway, &ann, PLAYLIST).await;
    let below = |rest: &str| format!("/s/{}{rest}", token_of(&to));
    let list = body(call(&gateway, &ann, Method::GET, &below("/streams"))).await;
    assert_eq!(list["streams"][0]["current"], json!(true), "{list}");
    let beat = call(&gateway, &ann, Method::POST, &below("/streams/current/heartbeat"));
    assert_eq!(status(beat).await, 200);
    let end = call(&gateway, &ann, Method::DELETE, &below("/streams/current"));
    assert_eq!(status(end).await, 204);
    assert_eq!(outcome(ask(&gateway, &ann, &to)).await, (409, "stream_expired".to_owned()));

    // An app that begins by the API is handed the token.
    for id in ["a-uuid", "current"] {
        let begun = send(call(&gateway, &ann, Method::PUT, &format!("/streams/{id}"))).await;
        assert_eq!(begun.status(), 201);
        let begun: Value = begun.json().await.unwrap();
        let prefix = begun["path_prefix"].as_str().unwrap();
        assert_eq!(prefix, format!("/s/{}", begun["token"].as_str().unwrap()));
        let played = send(ask(&gateway, &ann, &format!("{prefix}{PLAYLIST}"))).await;
        assert_eq!((played.status().as_u16(), json!(lease(&played))), (200, begun["code"].clone()));
    }
    assert_eq!(active(&gateway, &ann).await, json!(2));
}

#[tokio::test]
async fn a_full_account_is_offered_the_choice() {
    let settings = "    when_full: choose\n    same_session: count\n    pepper:";
    let yaml = yaml(ALONE).replace("    pepper:", settings);
    let gateway = Gateway::start(&yaml, &variables(None).await);
    let ann = Login::of("ann", "s").with("max_streams", 2);
    let one = begin(&gateway, &ann, PLAYLIST).await;
    let two = begin(&gateway, &ann, PLAYLIST).await;
    let refused = send(ask(&gateway, &ann, PLAYLIST)).await;
    assert_eq!(refused.status(), 409);
    let refused: Value = refused.json().await.unwrap();
    assert_eq!(
        (&refused["code"], &refused["actions"][0]),
        (&json!("concurrency_limit"), &json!("replace"))
    );
    let streams = refused["streams"].as_array().unwrap();
    for stream in streams {
        let query = format!("streamgate-replace={}", stream["code"].as_str().unwrap());
        assert_eq!(stream["replace"], json!(query));
    }
    let wish = streams[0]["replace"].as_str().unwrap();
    let to = begin(&gateway, &ann, &format!("{PLAYLIST}?{wish}&a=1")).await;
    assert!(to.ends_with("/master.m3u8?a=1"), "{to}");
    assert_eq!(status(ask(&gateway, &ann, &to)).await, 200);
    assert_eq!(outcome(ask(&gateway, &ann, &one)).await.1, "stream_terminated");
    assert_eq!(status(ask(&gateway, &ann, &two)).await, 200);
    // The offer is gone: the code is unknown now, like one that never was and one of another's.
    let bob = Login::of("bob", "s");
    let foreign = begin(&gateway, &bob, PLAYLIST).await;
    let foreign = lease(&send(ask(&gateway, &bob, &foreign)).await);
    for code in [&wish["streamgate-replace=".len()..], "AAAAAAAAAAAAAAAAAAAAAA", &foreign, "x"] {
        let take = ask(&gateway, &ann, &format!("{PLAYLIST}?streamgate-replace={code}"));
        assert_eq!(outcome(take).await, (404, "stream_not_found".to_owned()), "{code}");
        let put = call(&gateway, &ann, Method::PUT, "/streams/p").json(&json!({"replace": [code]}));
        assert_eq!(outcome(put).await, (404, "stream_not_found".to_owned()), "{code}");
    }
    assert_eq!(active(&gateway, &bob).await, json!(1));
    assert_eq!(status(ask(&gateway, &ann, &to)).await, 200);
}

#[tokio::test]
async fn a_redirect_of_a_route_keeps_the_stream() {
    let moved = "routes:\n  - { name: moved, match: { path: \"/old/{*file}\" }, redirect: { to: \
                 \"/live/{file}\", status: 302 } }\n";
    let yaml = yaml(ALONE).replace("routes:\n", moved);
    let gateway = Gateway::start(&yaml, &variables(None).await);
    let ann = Login::of("ann", "s");
    let to = begin(&gateway, &ann, PLAYLIST).await;
    let old = to.replace("/live/", "/old/");
    let response = send(ask(&gateway, &ann, &format!("{old}?a=1"))).await;
    assert_eq!((response.status().as_u16(), location(&response)), (302, format!("{to}?a=1")));
}

#[tokio::test]
async fn where_no_policy_wants_it_the_prefix_is_a_path_like_others() {
    let yaml = STANDARD.replace("\"/live/{event}", "\"/s/{event}");
    let gateway = Gateway::start(&yaml, &environment(None).await);
    let response = outcome(gateway.get("/s/final/master.m3u8")).await;
    assert_eq!(response, (401, "session_missing".to_owned()));
}

/// The value of the cookie that an answer sets, with its attributes.
fn set_cookie(response: &Response) -> Option<(String, String)> {
    let field = response.headers().get("set-cookie")?.to_str().unwrap();
    let (pair, attributes) = field.split_once("; ").unwrap();
    let value = pair.strip_prefix("streamgate-stream=").unwrap();
    Some((value.to_owned(), attributes.to_owned()))
}

#[tokio::test]
async fn a_cookie_carries_the_token_where_the_policy_says_so() {
    let gateway = gateway(IN_COOKIE).await;
    let ann = Login::of("ann", "s");
    let response = send(ask(&gateway, &ann, PLAYLIST)).await;
    assert_eq!(response.status(), 200);
    let (token, attributes) = set_cookie(&response).unwrap();
    assert_eq!(attributes, "Max-Age=43200; Path=/; HttpOnly; SameSite=Lax; Secure");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let held = lease(&response);
    let with = |login: &Login, path: &str| {
        gateway.get(path).header(COOKIE, format!("{}; streamgate-stream={token}", login.cookie()))
    };
    let again = send(with(&ann, PLAYLIST)).await;
    assert_eq!((lease(&again), set_cookie(&again)), (held.clone(), None));
    // A rest of another setting beside it does no harm.
    for twins in [
        format!("x; streamgate-stream={token}"),
        format!("; streamgate-stream={token}; streamgate-stream=x"),
    ] {
        let cookies = format!("{}; streamgate-stream={twins}", ann.cookie());
        let twin = send(gateway.get(PLAYLIST).header(COOKIE, cookies)).await;
        assert_eq!((lease(&twin), set_cookie(&twin)), (held.clone(), None), "{twins}");
    }
    let echo = send(with(&ann, &format!("{ECHO}?a=1"))).await;
    assert_eq!(lease(&echo), held);
    let seen: Value = echo.json().await.unwrap();
    assert!(!seen.to_string().contains(&token), "{seen}");
    assert_eq!(seen["headers"]["cookie"], Value::Null, "{seen}");
    assert_eq!(active(&gateway, &ann).await, json!(1));

    // Another login in the same browser: the cookie is refused once, and forgotten.
    let bob = Login::of("bob", "s");
    let foreign = send(with(&bob, PLAYLIST)).await;
    assert_eq!(foreign.status(), 401);
    let (value, attributes) = set_cookie(&foreign).unwrap();
    assert!(value.is_empty() && attributes.starts_with("Max-Age=0; Path=/"), "{attributes}");

    // A segment without a cookie is the session's, and sets none.
    let segment = send(ask(&gateway, &bob, SEGMENT)).await;
    assert_eq!(set_cookie(&segment), None);

    // Who wishes to take over starts anew.
    let wish = send(with(&ann, &format!("{PLAYLIST}?streamgate-replace=oldest"))).await;
    assert_ne!(lease(&wish), held);
    let end = gateway.request(Method::DELETE, "/streams/current");
    let end = end.header(COOKIE, format!("{}; streamgate-stream={token}", ann.cookie()));
    let end = send(end).await;
    assert_eq!((end.status().as_u16(), set_cookie(&end).unwrap().0), (204, String::new()));
    let begun = send(call(&gateway, &ann, Method::PUT, "/streams/current")).await;
    assert_eq!(set_cookie(&begun).unwrap().0.len(), 50);
    let shown: Value = begun.json().await.unwrap();
    assert_eq!(shown["token"], Value::Null);
}

#[tokio::test]
async fn a_stream_cookie_passes_nowhere() {
    let yaml = yaml(IN_COOKIE)
        .replace("    upstream: stream\n", "    forward_token: true\n    upstream: stream\n");
    let gateway = Gateway::start(&yaml, &variables(None).await);
    let ann = Login::of("ann", "s");
    let (token, _) = set_cookie(&send(ask(&gateway, &ann, ECHO)).await).unwrap();
    for path in [ECHO, "/faults/echo/open"] {
        let cookies = format!("a=1; streamgate-stream={token}; {}", ann.cookie());
        let seen = body(gateway.get(path).header(COOKIE, cookies)).await;
        assert!(!seen.to_string().contains(&token), "{seen}");
        assert!(seen.to_string().contains("a=1"), "{seen}");
    }
}

#[tokio::test]
async fn nobody_is_told_the_token() {
    let logged = Logged::start_with(&yaml(IN_PATH), &variables(None).await);
    let gateway = &logged.gateway;
    let ann = Login::of("ann", "s");
    let to = begin(gateway, &ann, ECHO).await;
    let token = token_of(&to).to_owned();

    // Not the upstream: neither by the path nor by the address that a page was at.
    let referer = format!("https://tv.example{to}");
    let seen = body(ask(gateway, &ann, &format!("{to}?a=1")).header("referer", &referer)).await;
    assert_eq!(seen["path"], json!(ECHO), "{seen}");
    assert_eq!(seen["query"], json!("a=1"), "{seen}");
    assert!(!seen.to_string().contains(&token), "{seen}");

    // Not a refusal, and not the log, whatever became of the request.
    let mut refusals = String::new();
    for path in [
        format!("/s/{token}/nowhere"),
        format!("/s/{token}"),
        format!("/s/{token}/live/%zz"),
        format!("/%73/{token}/%2f"),
        format!("/s/../s/{token}/live/final/a.ts"),
        format!("/live/final/../../s/{token}/live/final/b.ts"),
    ] {
        let mut raw = RawClient::open(gateway.edge).await;
        let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\nCookie: {}\r\n\r\n", ann.cookie());
        refusals += &raw.ask(head).await.body;
    }
    let bob = Login::of("bob", "b");
    refusals += &send(ask(gateway, &bob, &to)).await.text().await.unwrap();
    let lines = logged.lines(9).await;
    let metrics = gateway.admin("/metrics").await.text().await.unwrap();
    let streams = gateway.admin("/api/streams").await.text().await.unwrap();
    for text in [&refusals, &logged.text(), &metrics, &streams] {
        assert!(!text.contains(&token), "{text}");
    }
    // Lines come in the order of the ends.
    let mut paths: Vec<&str> = lines.iter().map(|line| line["path"].as_str().unwrap()).collect();
    paths.sort();
    let (a, b) = ("/live/final/a.ts", "/live/final/b.ts");
    let unread = "(unread)";
    assert_eq!(paths, [unread, unread, "/", ECHO, ECHO, ECHO, a, b, "/nowhere"]);
    let line = |status: u16| lines.iter().find(|line| line["status"] == status).unwrap();
    let begun = line(307);
    assert_eq!((&begun["decision"], &begun["rung"]), (&json!("admitted"), &json!("stream_token")));
    assert_eq!(line(200)["lease"], begun["lease"]);
    assert_eq!(line(401)["code"], "stream_token_invalid");
}
