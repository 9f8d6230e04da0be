//! One's own device makes room first, and a start that failed holds nothing: as a viewer lives it,
//! on memory and on a real Redis, through real sockets.

use crate::harness::{Gateway, Login, Redis, STANDARD, environment, outcome, until};
use crate::origin::{Origin, UnusedPort};
use crate::raw_client::RawClient;
use reqwest::header::{COOKIE, LOCATION};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;
use streamgate::yaml::Environment;

const MASTER: &str = "/live/final/master.m3u8";
/// A request that starts nothing by itself.
const SEGMENT: &str = "/faults/status/200";
const TOKENS: &str = "[ { stream_token: { secret: \"${STREAM_SECRET}\" } }, session ]";
const STREAM_SECRET: &str = "a stream secret of thirty-two bytes or more";

/// A gateway with routes to an upstream that the test plays itself, and to one that is not there.
async fn gateway(redis: Option<&Redis>, policy: &str, origin: Option<&Origin>) -> Gateway {
    let (yaml, environment) = described(redis, policy, origin).await;
    Gateway::start(&yaml, &environment)
}

async fn described(
    redis: Option<&Redis>,
    policy: &str,
    origin: Option<&Origin>,
) -> (String, Environment) {
    let gone = UnusedPort::reserve();
    let origin = origin.map_or(gone.address, |origin| origin.address);
    let upstreams = format!(
        "upstreams:\n  own: {{ endpoints: [\"{origin}\"] }}\n  gone: {{ endpoints: [\"{}\"] }}",
        gone.address
    );
    let guarded = |name: &str, path: &str, upstream: &str| {
        format!(
            "  - name: {name}\n    match: {{ path: \"{path}\" }}\n    \
             filters: [ {{ session: viewers }}, {{ concurrency: standard }} ]\n    \
             upstream: {upstream}\n"
        )
    };
    let yaml = STANDARD
        .replace("upstreams:", &upstreams)
        .replace("    pepper:", &format!("    {policy}\n    pepper:"))
        + &guarded("own", "/own/{*file}", "own")
        + &guarded("gone", "/gone/{*file}", "gone")
        + &guarded("ill", "/faults/status/{code}", "stream")
        + &guarded("closing", "/faults/close", "stream");
    (yaml, environment(redis).await.with("STREAM_SECRET", STREAM_SECRET))
}

const DEFAULT: &str = "same_session: supersede";

/// Runs a promise on memory and on a real Redis alike.
async fn on_both<F: Future<Output = ()>>(policy: &str, promise: impl Fn(Gateway) -> F) {
    promise(gateway(None, policy, None).await).await;
    let redis = Redis::start().await;
    promise(gateway(Some(&redis), policy, None).await).await;
}

fn login(session: &str, limit: u32) -> Login {
    Login::of("ann", session).with("max_streams", limit)
}

fn ask(gateway: &Gateway, login: &Login, path: &str) -> RequestBuilder {
    gateway.get(path).header(COOKIE, login.cookie())
}

/// A request of a playback that its player has an id for.
fn playback(gateway: &Gateway, login: &Login, id: &str, path: &str) -> RequestBuilder {
    ask(gateway, login, path).header("x-playback-session-id", id)
}

async fn send(request: RequestBuilder) -> Response {
    request.send().await.unwrap()
}

async fn status(request: RequestBuilder) -> u16 {
    send(request).await.status().as_u16()
}

async fn active(gateway: &Gateway, login: &Login) -> u64 {
    let list: Value = send(ask(gateway, login, "/streams")).await.json().await.unwrap();
    list["active"].as_u64().unwrap()
}

fn refused() -> (u16, String) {
    (409, "concurrency_limit".to_owned())
}

fn ended() -> (u16, String) {
    (409, "stream_terminated".to_owned())
}

/// Begins a playback with a token, and tells where it goes on.
async fn begin(gateway: &Gateway, login: &Login, path: &str) -> String {
    let response = send(ask(gateway, login, path)).await;
    assert_eq!(response.status(), 307);
    response.headers()[LOCATION].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn zapping_is_never_refused_on_ones_own_device() {
    on_both(DEFAULT, |gateway| async move {
        for limit in [1, 3] {
            let tv = login(&format!("tv {limit}"), limit);
            for n in 0..10 {
                let id = format!("channel {n}");
                assert_eq!(status(playback(&gateway, &tv, &id, MASTER)).await, 200, "{limit} {id}");
                assert_eq!(status(playback(&gateway, &tv, &id, SEGMENT)).await, 200, "{id}");
            }
            assert_eq!(active(&gateway, &tv).await, u64::from(limit));
            let last = playback(&gateway, &tv, "channel 9", SEGMENT);
            assert_eq!(status(last).await, 200, "what it came to plays on");
        }
        assert!(
            gateway.metric("streamgate_stream_superseded_total{policy=\"standard\"}").await > 0.0
        );
    })
    .await;
}

#[tokio::test]
async fn zapping_with_stream_tokens_is_never_refused() {
    on_both(&format!("identity: {TOKENS}"), |gateway| async move {
        let tv = login("tv", 1);
        for n in 0..10 {
            let path = begin(&gateway, &tv, MASTER).await;
            assert_eq!(status(ask(&gateway, &tv, &path)).await, 200, "reload {n}");
        }
        assert_eq!(active(&gateway, &tv).await, 1);
    })
    .await;
}

#[tokio::test]
async fn zapping_never_costs_another_device() {
    for policy in [DEFAULT, "when_full: choose", "when_full: replace_oldest"] {
        on_both(policy, |gateway| async move {
            let (pad, tv) = (login("pad", 2), login("tv", 2));
            assert_eq!(status(ask(&gateway, &pad, MASTER)).await, 200);
            for n in 0..10 {
                let id = format!("channel {n}");
                assert_eq!(
                    status(playback(&gateway, &tv, &id, MASTER)).await,
                    200,
                    "{policy} {id}"
                );
                assert_eq!(status(ask(&gateway, &pad, SEGMENT)).await, 200, "{policy} {id}");
            }
            assert_eq!(active(&gateway, &tv).await, 2);
        })
        .await;
    }
}

#[tokio::test]
async fn what_was_zapped_over_makes_room_for_another_device() {
    on_both(DEFAULT, |gateway| async move {
        let (tv, pad) = (login("tv", 2), login("pad", 2));
        for id in ["one", "two"] {
            assert_eq!(status(playback(&gateway, &tv, id, MASTER)).await, 200);
        }
        assert_eq!(status(ask(&gateway, &pad, MASTER)).await, 200);
        assert_eq!(status(playback(&gateway, &tv, "two", SEGMENT)).await, 200);
        assert_eq!(outcome(playback(&gateway, &tv, "one", SEGMENT)).await, ended());
        let phone = login("phone", 2);
        assert_eq!(outcome(ask(&gateway, &phone, MASTER)).await, refused());
    })
    .await;
}

#[tokio::test]
async fn a_second_tab_that_plays_counts_as_two_from_its_next_request() {
    on_both(DEFAULT, |gateway| async move {
        let (pc, tv) = (login("pc", 2), login("tv", 2));
        for id in ["tab", "other tab"] {
            assert_eq!(status(playback(&gateway, &pc, id, MASTER)).await, 200);
        }
        assert_eq!(status(playback(&gateway, &pc, "tab", SEGMENT)).await, 200);
        assert_eq!(outcome(ask(&gateway, &tv, MASTER)).await, refused());
        for id in ["tab", "other tab"] {
            assert_eq!(status(playback(&gateway, &pc, id, SEGMENT)).await, 200, "{id}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_mark_is_heard_at_every_gateway() {
    let redis = Redis::start().await;
    let one = gateway(Some(&redis), DEFAULT, None).await;
    let other = gateway(Some(&redis), DEFAULT, None).await;
    let (pc, tv) = (login("pc", 2), login("tv", 2));
    assert_eq!(status(playback(&one, &pc, "tab", MASTER)).await, 200);
    assert_eq!(status(playback(&one, &pc, "tab", SEGMENT)).await, 200);
    assert_eq!(status(playback(&other, &pc, "other tab", MASTER)).await, 200);
    // What the first gateway knows of the account is as old as its last question to the store.
    until("the first gateway asks about the first tab", || async {
        let response = send(playback(&one, &pc, "tab", SEGMENT)).await;
        assert_eq!(response.status(), 200);
        response.headers()["streamgate-lease"].to_str().unwrap().contains("active=2")
    })
    .await;
    assert_eq!(outcome(ask(&other, &tv, MASTER)).await, refused());
    assert_eq!(status(playback(&other, &pc, "other tab", SEGMENT)).await, 200);
}

#[tokio::test]
async fn a_superseded_tab_begins_anew_by_a_playlist_and_not_again_at_once() {
    on_both(DEFAULT, |gateway| async move {
        let pc = login("pc", 1);
        for id in ["tab", "other tab"] {
            assert_eq!(status(playback(&gateway, &pc, id, MASTER)).await, 200);
        }
        let response = send(playback(&gateway, &pc, "tab", SEGMENT)).await;
        assert_eq!(response.status(), 409);
        let told: Value = response.json().await.unwrap();
        assert_eq!(
            (&told["code"], &told["why"]),
            (&"stream_terminated".into(), &"superseded".into())
        );
        assert_eq!(status(playback(&gateway, &pc, "tab", MASTER)).await, 200);
        assert_eq!(status(playback(&gateway, &pc, "tab", SEGMENT)).await, 200);
        assert_eq!(outcome(playback(&gateway, &pc, "other tab", SEGMENT)).await, ended());
        assert_eq!(status(playback(&gateway, &pc, "other tab", MASTER)).await, 200);
        // Both have begun anew within ten seconds: from now on one of them plays.
        for _ in 0..3 {
            assert_eq!(outcome(playback(&gateway, &pc, "tab", MASTER)).await, ended());
            assert_eq!(status(playback(&gateway, &pc, "other tab", SEGMENT)).await, 200);
        }
    })
    .await;
}

#[tokio::test]
async fn starts_without_end_count_like_anybodys() {
    on_both(DEFAULT, |gateway| async move {
        let tv = login("tv", 1);
        let mut codes = Vec::new();
        for n in 0..40 {
            codes.push(status(playback(&gateway, &tv, &format!("start {n}"), MASTER)).await);
        }
        assert_eq!(codes[..30], [200; 30]);
        assert_eq!(codes[30..], [409; 10]);
        assert_eq!(status(playback(&gateway, &tv, "start 29", SEGMENT)).await, 200);
    })
    .await;
}

#[tokio::test]
async fn another_site_displaces_nobody() {
    on_both("when_full: replace_oldest", |gateway| async move {
        let pc = login("pc", 1);
        let from = |site: &str, id: &str| {
            playback(&gateway, &pc, id, MASTER).header("sec-fetch-site", site.to_owned())
        };
        assert_eq!(status(from("same-origin", "mine")).await, 200);
        assert_eq!(outcome(from("cross-site", "theirs")).await, refused());
        assert_eq!(status(playback(&gateway, &pc, "mine", SEGMENT)).await, 200);
        assert_eq!(status(from("same-site", "next")).await, 200);
    })
    .await;
}

#[tokio::test]
async fn where_sessions_are_counted_a_session_is_refused() {
    on_both("same_session: count", |gateway| async move {
        let tv = login("tv", 2);
        for (id, expected) in [("one", 200), ("two", 200), ("three", 409)] {
            assert_eq!(status(playback(&gateway, &tv, id, MASTER)).await, expected, "{id}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_start_that_failed_holds_nothing() {
    on_both(DEFAULT, |gateway| async move {
        let (tv, pad) = (login("tv", 1), login("pad", 1));
        for (path, expected) in [
            ("/faults/status/404", 404),
            ("/faults/status/503", 503),
            ("/faults/close", 502),
            ("/gone/master.m3u8", 502),
            ("/faults/status/404", 404),
        ] {
            let response = send(ask(&gateway, &tv, path)).await;
            assert_eq!(response.status().as_u16(), expected, "{path}");
            assert_eq!(active(&gateway, &tv).await, 0, "{path}");
        }
        let failed = "streamgate_stream_starts_failed_total{policy=\"standard\"}";
        assert_eq!(gateway.metric(failed).await, 5.0);
        assert_eq!(status(ask(&gateway, &pad, MASTER)).await, 200);
        // A redirect is an answer, and so is what comes after the first.
        let tv = login("tv", 3);
        assert_eq!(status(ask(&gateway, &tv, "/faults/status/302")).await, 302);
        assert_eq!(active(&gateway, &tv).await, 2);
        assert_eq!(status(ask(&gateway, &tv, "/faults/status/503")).await, 503);
        assert_eq!(active(&gateway, &tv).await, 2);
    })
    .await;
}

#[tokio::test]
async fn a_client_that_goes_before_the_answer_holds_nothing() {
    let origin = Origin::listen().await;
    let gateway = gateway(None, DEFAULT, Some(&origin)).await;
    let tv = login("tv", 1);
    let mut client = RawClient::open(gateway.edge).await;
    let asked = format!("GET /own/a.m3u8 HTTP/1.1\r\nHost: x\r\nCookie: {}\r\n\r\n", tv.cookie());
    client.say(asked).await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    assert_eq!(active(&gateway, &tv).await, 1);
    drop(client);
    until("its slot is given back", || async { active(&gateway, &tv).await == 0 }).await;
}

/// A gateway whose streams have tokens.
async fn with_tokens(redis: &Redis) -> Gateway {
    let gateway = gateway(Some(redis), &format!("identity: {TOKENS}"), None).await;
    // The scripts are known, so a start is one command.
    assert_eq!(status(ask(&gateway, &Login::of("bob", "pad"), MASTER)).await, 307);
    gateway
}

const FAILED: &str = "streamgate_stream_starts_failed_total{policy=\"standard\"}";

#[tokio::test]
async fn a_client_that_is_gone_before_its_redirect_holds_nothing() {
    let redis = Redis::start().await;
    let gateway = with_tokens(&redis).await;
    let pad = login("pad", 1);
    for (n, how) in ["close", "reset", "last request"].into_iter().enumerate() {
        let tv = login(&format!("tv {n}"), 1);
        let last = if how == "last request" { "Connection: close\r\n" } else { "" };
        let get = format!("GET {MASTER} HTTP/1.1\r\nHost: x\r\nCookie: {}\r\n", tv.cookie());
        redis.signal("STOP");
        let mut client = RawClient::open(gateway.edge).await;
        client.say(format!("{get}{last}\r\n")).await;
        gateway.counts("streamgate_requests_in_flight", 1.0).await;
        match how {
            "reset" => client.reset(),
            _ => drop(client),
        }
        redis.signal("CONT");
        gateway.counts(FAILED, n as f64 + 1.0).await;
        assert_eq!(active(&gateway, &pad).await, 0, "{how}");
        begin(&gateway, &pad, MASTER).await;
        let list: Value = send(ask(&gateway, &pad, "/streams")).await.json().await.unwrap();
        let code = list["streams"][0]["code"].as_str().unwrap();
        let end = format!("/streams/{code}/terminate");
        let ended = gateway.request(Method::POST, &end).header(COOKIE, pad.cookie());
        assert_eq!(status(ended).await, 204, "{how}");
    }
}

#[tokio::test]
async fn a_client_that_waits_for_its_redirect_keeps_its_slot() {
    let redis = Redis::start().await;
    let gateway = with_tokens(&redis).await;
    for how in ["keeps its side open", "closes its side", "asks on"] {
        let tv = Login::of(how, "tv").with("max_streams", 1);
        let get = |path: &str| {
            format!("GET {path} HTTP/1.1\r\nHost: x\r\nCookie: {}\r\n\r\n", tv.cookie())
        };
        let mut client = RawClient::open(gateway.edge).await;
        client.say(get(MASTER)).await;
        let to = match how {
            "closes its side" => String::from_utf8(client.rest_after_close().await).unwrap(),
            _ => client.answer().await.head,
        };
        let to = to.lines().find_map(|line| line.strip_prefix("location: ")).unwrap();
        if how == "asks on" {
            assert_eq!(client.ask(get(to)).await.status, 200, "{how}");
        }
        assert_eq!(active(&gateway, &tv).await, 1, "{how}");
        assert_eq!(status(ask(&gateway, &tv, to)).await, 200, "{how}");
    }
    assert_eq!(gateway.metric(FAILED).await, 0.0);
}

#[tokio::test]
async fn nobody_plays_beside_a_provoked_error() {
    for redis in [None, Some(Redis::start().await)] {
        let origin = Origin::listen().await;
        let one = gateway(redis.as_ref(), DEFAULT, Some(&origin)).await;
        // With Redis the second request comes through another gateway.
        let other = match &redis {
            Some(_) => Some(gateway(redis.as_ref(), DEFAULT, None).await),
            None => None,
        };
        let (tv, pad) = (login("tv", 1), login("pad", 1));
        let failing = tokio::spawn(playback(&one, &tv, "p", "/own/a.m3u8").send());
        let mut upstream = origin.accept().await;
        upstream.request().await;
        let beside = other.as_ref().unwrap_or(&one);
        assert_eq!(status(playback(beside, &tv, "p", SEGMENT)).await, 200);
        upstream.say("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n").await;
        assert_eq!(failing.await.unwrap().unwrap().status(), 503);
        assert_eq!(active(&one, &tv).await, 1);
        assert_eq!(outcome(ask(beside, &pad, MASTER)).await, refused());
        assert_eq!(status(playback(beside, &tv, "p", SEGMENT)).await, 200);
    }
}

#[tokio::test]
async fn an_ill_origin_costs_no_slot_and_a_retry_has_the_same_token() {
    let redis = Redis::start().await;
    let policy = format!("identity: {TOKENS}");
    for redis in [None, Some(&redis)] {
        let one = gateway(redis, &policy, None).await;
        let other = match redis {
            Some(_) => Some(gateway(redis, &policy, None).await),
            None => None,
        };
        let other = other.as_ref().unwrap_or(&one);
        let (tv, pad) = (login("tv", 1), login("pad", 1));
        let ill = "/gone/master.m3u8";
        let first = begin(&one, &tv, ill).await;
        for n in 0..5 {
            let through = if n % 2 == 0 { &one } else { other };
            assert_eq!(status(ask(through, &tv, &first)).await, 502, "{n}");
            assert_eq!(active(through, &tv).await, 0, "{n}");
            assert_eq!(begin(other, &tv, ill).await, first, "{n}");
        }
        assert_eq!(status(ask(other, &tv, &first)).await, 502);
        assert_eq!(status(ask(&one, &pad, "/streams")).await, 200);
        let path = begin(&one, &pad, MASTER).await;
        assert_eq!(status(ask(other, &pad, &path)).await, 200);
        // What plays is not started again: the next one is another.
        assert_ne!(begin(&one, &pad, MASTER).await, path);
    }
}

#[tokio::test]
async fn a_start_whose_answer_never_came_leaves_no_ghost() {
    let redis = Redis::start().await;
    let policy = format!("when_store_fails: closed\n    identity: {TOKENS}");
    let (yaml, environment) = described(Some(&redis), &policy, None).await;
    let brief = "timeouts: { connect: 5s, command: 200ms, start: 300ms }";
    let yaml = yaml.replace("timeouts: { connect: 5s, command: 5s }", brief);
    let gateway = Gateway::start(&yaml, &environment);
    let ann = login("pad", 1);
    // A store that answers, and knows the scripts.
    until("the first start", || async { status(ask(&gateway, &ann, MASTER)).await == 307 }).await;
    for (n, (account, method, path)) in
        [("bob", Method::GET, MASTER), ("eve", Method::PUT, "/streams/current")]
            .into_iter()
            .enumerate()
    {
        let other = Login::of(account, "tv").with("max_streams", 1);
        redis.signal("STOP");
        let asked = gateway.request(method, path).header(COOKIE, other.cookie()).body("{}");
        let gave_up = outcome(asked).await;
        redis.signal("CONT");
        assert_eq!(gave_up, (503, "enforcement_unavailable".to_owned()), "{path}");
        gateway.counts(FAILED, n as f64 + 1.0).await;
        let next = Login::of(account, "pad").with("max_streams", 1);
        until("another device plays", || async {
            status(ask(&gateway, &next, MASTER)).await == 307
        })
        .await;
    }
}
