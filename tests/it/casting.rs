//! Casting: a device that gets an address and nothing else plays by a ticket, on memory and on a
//! real Redis with two gateways, through real sockets.

use crate::access::Logged;
use crate::harness::{Gateway, Login, Redis, environment, outcome, until, with_sessions};
use reqwest::header::{AUTHORIZATION, COOKIE, REFERER};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use std::time::Duration;
use streamgate::yaml::Environment;
use tokio::time::{Instant, interval_at};

const MASTER: &str = "/live/final/master.m3u8";
const TOKEN: &str = "the admin's token";
/// The shortest that may be set.
const USE_WITHIN: Duration = Duration::from_secs(5);

/// `STANDARD` with tickets, sessions that can be ended where that can be seen, and routes that take
/// no ticket.
fn yaml(is_shared: bool) -> String {
    let pepper = "revocation_pepper: \"${ACCOUNT_PEPPER}\"";
    let lines = ["active_in: shared", "absolute: 24h", pepper];
    let forwarding = "  - name: forwarding\n    \
                      match: { path: \"/faults/echo/forwarded/{*rest}\" }\n    \
                      filters: [ { session: viewers }, { concurrency: standard } ]\n    \
                      upstream: stream\n    forward_token: true\n";
    with_sessions(if is_shared { &lines } else { &[] })
        .replace(
            "    pepper:",
            "    tickets: { secret: \"${TICKET_SECRET}\", use_within: 5s }\n    pepper:",
        )
        .replace(
            "admin: { address: \"127.0.0.1:0\" }",
            &format!("admin: {{ address: \"127.0.0.1:0\", token: \"{TOKEN}\" }}"),
        )
        + forwarding
}

async fn variables(redis: Option<&Redis>) -> Environment {
    environment(redis).await.with("TICKET_SECRET", "a ticket's secret of thirty-two bytes or more")
}

/// A phone that is logged in, the gateway that it talks to, and the one that its TV talks to.
struct Home {
    phone: Login,
    gateways: Vec<Gateway>,
    _redis: Option<Redis>,
}

impl Home {
    async fn on_memory() -> Self {
        let gateway = Gateway::start(&yaml(false), &variables(None).await);
        Home { phone: phone(), gateways: vec![gateway], _redis: None }
    }

    async fn on_redis() -> Self {
        let redis = Redis::start().await;
        for session in ["phone", "pad", "pc"] {
            let key = format!("sg:session:{session}");
            let _: () = redis.ask(&["SET", &key, "1", "EX", "600"]).await.unwrap();
        }
        let variables = variables(Some(&redis)).await;
        let gateways =
            vec![Gateway::start(&yaml(true), &variables), Gateway::start(&yaml(true), &variables)];
        until("both gateways listen", || async {
            redis.ask::<usize>(&["PUBLISH", "sg:revoked", "nobody"]).await.unwrap() == 2
        })
        .await;
        Home { phone: phone(), gateways, _redis: Some(redis) }
    }

    fn at_phone(&self, method: Method, path: &str) -> RequestBuilder {
        self.gateways[0].request(method, path).header(COOKIE, self.phone.cookie())
    }

    /// The device has no cookie and no header.
    fn at_tv(&self, path: &str) -> RequestBuilder {
        self.gateways.last().unwrap().get(path)
    }

    async fn ticket(&self, path: &str) -> Value {
        let asked = json!({ "path": path, "device": "Living room" });
        let call = self.at_phone(Method::POST, "/streams/tickets").body(asked.to_string());
        let answer = call.send().await.unwrap();
        assert_eq!(answer.status(), 201);
        assert_eq!(answer.headers()["cache-control"], "no-store");
        answer.json().await.unwrap()
    }

    async fn prefix(&self, path: &str) -> String {
        self.ticket(path).await["path_prefix"].as_str().unwrap().to_owned()
    }

    async fn streams(&self) -> Vec<Value> {
        let list = self.at_phone(Method::GET, "/streams").send().await.unwrap();
        let list: Value = list.json().await.unwrap();
        list["streams"].as_array().unwrap().clone()
    }
}

fn phone() -> Login {
    Login::of("ann", "phone").with("max_streams", 2)
}

/// Runs a promise on memory and on a real Redis alike.
async fn on_both<F: Future<Output = ()>>(promise: impl Fn(Home) -> F) {
    promise(Home::on_memory().await).await;
    promise(Home::on_redis().await).await;
}

fn ok() -> (u16, String) {
    (200, String::new())
}

fn told(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

async fn lasts(time: Duration) {
    interval_at(Instant::now() + time, time).tick().await;
}

#[tokio::test]
async fn a_device_plays_by_an_address_alone() {
    on_both(|home| async move {
        let ticket = home.ticket("/live/final/").await;
        assert!(home.streams().await.is_empty(), "it takes no slot before it is used");
        let prefix = ticket["path_prefix"].as_str().unwrap();
        assert_eq!(ticket["path"], format!("{prefix}/live/final/"));
        let playlist = home.at_tv(&format!("{prefix}{MASTER}")).send().await.unwrap();
        assert_eq!(playlist.status(), 200);
        assert_eq!(playlist.headers()["referrer-policy"], "no-referrer");
        assert!(playlist.headers().contains_key("streamgate-lease"));
        assert!(!playlist.headers().contains_key("set-cookie"));
        let streams = home.streams().await;
        assert_eq!(streams.len(), 1, "{streams:?}");
        assert_eq!(
            (&streams[0]["code"], &streams[0]["device"]),
            (&ticket["code"], &"Living room".into())
        );
        for file in ["360p/playlist.m3u8", "master.m3u8"] {
            let status = home.at_tv(&format!("{prefix}/live/final/{file}")).send().await.unwrap();
            assert!(status.status().as_u16() < 500 && status.status() != 401, "{file}");
        }
        assert_eq!(home.streams().await.len(), 1, "all of it is one stream");
        let end = format!("/streams/{}/terminate", ticket["code"].as_str().unwrap());
        assert_eq!(outcome(home.at_phone(Method::POST, &end)).await.0, 204);
        until("the device hears of it", || async {
            outcome(home.at_tv(&format!("{prefix}{MASTER}"))).await
                == told(409, "stream_terminated")
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn it_is_good_in_its_own_place_and_nowhere_else() {
    on_both(|home| async move {
        let prefix = home.prefix("/live/final/").await;
        let echo = home.prefix("/faults/echo/").await;
        let refused = told(403, "ticket_refused");
        for path in
            ["/live/other/master.m3u8", "/live/finals/a.ts", "/streams", "/faults/status/200"]
        {
            assert_eq!(outcome(home.at_tv(&format!("{prefix}{path}"))).await, refused, "{path}");
        }
        let forwarded = home.at_tv(&format!("{echo}/faults/echo/forwarded/x"));
        assert_eq!(outcome(forwarded).await, refused);
        assert_eq!(outcome(home.at_tv(&format!("{echo}/faults/echo/open"))).await, refused);
        let last = home.gateways.last().unwrap();
        for (method, path) in [
            (Method::POST, "/streams/tickets"),
            (Method::PUT, "/streams/current"),
            (Method::DELETE, "/streams/current"),
        ] {
            let call = last.request(method, &format!("{prefix}{path}"));
            assert_eq!(outcome(call).await, refused, "{path}");
        }
        let wish = home.at_tv(&format!("{prefix}{MASTER}?streamgate-replace=oldest"));
        assert_eq!(outcome(wish).await, refused);
        assert_eq!(outcome(home.at_tv(&format!("{prefix}/nowhere"))).await.0, 404);
        assert!(home.streams().await.is_empty());
        assert_eq!(outcome(home.at_tv(&format!("{prefix}{MASTER}"))).await, ok());
    })
    .await;
}

#[tokio::test]
async fn it_is_good_for_streams_of_its_own_policy() {
    let films = "  films:\n    store: shared\n    pepper: \"${FILM_PEPPER}\"\n    \
                 limit: { default: 3 }\n    tickets: { secret: \"${FILM_TICKETS}\" }\nupstreams:\n";
    let route = "  - name: films\n    match: { path: \"/faults/echo/films/{*rest}\" }\n    \
                 filters: [ { session: viewers }, { concurrency: films } ]\n    upstream: stream\n";
    let yaml = yaml(false).replace("upstreams:\n", films) + route;
    let variables = variables(None).await.with("FILM_PEPPER", "another pepper of thirty-two bytes");
    let variables = variables.with("FILM_TICKETS", "the secret of films, thirty-two bytes or more");
    let gateway = Gateway::start(&yaml, &variables);
    let asked = gateway.request(Method::POST, "/streams/tickets").header(COOKIE, phone().cookie());
    let asked = asked.body("{\"path\":\"/faults/echo/\"}");
    let ticket: Value = asked.send().await.unwrap().json().await.unwrap();
    let prefix = ticket["path_prefix"].as_str().unwrap();
    let at = |path: &str| outcome(gateway.get(&format!("{prefix}/faults/echo/{path}")));
    assert_eq!(at("held/x").await.0, 200);
    assert_eq!(at("films/x").await, told(403, "ticket_refused"), "another policy counts there");
}

#[tokio::test]
async fn nobody_can_make_one_or_change_it() {
    on_both(|home| async move {
        let prefix = home.prefix("/live/").await;
        let (begin, last) = prefix.split_at(prefix.len() - 1);
        let other = if last == "A" { "B" } else { "A" };
        let invalid = told(401, "ticket_invalid");
        for forged in [
            format!("{begin}{other}"),
            begin.to_owned(),
            format!("{prefix}A"),
            "/s/tk1~".to_owned(),
            "/s/tk1~AAAA".to_owned(),
        ] {
            assert_eq!(outcome(home.at_tv(&format!("{forged}{MASTER}"))).await, invalid);
        }
        let stranger = Login::of("bob", "b");
        let with = home.at_tv(&format!("{prefix}{MASTER}")).header(COOKIE, stranger.cookie());
        assert_eq!(outcome(with).await, ok(), "whose cookie it is does not matter");
        let bearer = format!("Bearer {}", stranger.token());
        let with = home.at_tv(&format!("{prefix}{MASTER}")).header(AUTHORIZATION, bearer);
        assert_eq!(outcome(with).await, told(401, "session_invalid"));
        for body in [
            json!({}),
            json!({ "path": "live" }),
            json!({ "path": "/live/../x" }),
            json!({ "path": "/live/?x" }),
            json!({ "path": "/live/", "more": 1 }),
            json!({ "path": "/live/", "device": "x".repeat(600) }),
        ] {
            let call = home.at_phone(Method::POST, "/streams/tickets").body(body.to_string());
            assert_eq!(outcome(call).await, told(400, "request_malformed"), "{body}");
        }
        let cross = home.at_phone(Method::POST, "/streams/tickets").body("{\"path\":\"/live/\"}");
        let cross = cross.header("sec-fetch-site", "cross-site");
        assert_eq!(outcome(cross).await, told(403, "origin_refused"));
    })
    .await;
}

#[tokio::test]
async fn it_is_used_in_time_or_never() {
    on_both(|home| async move {
        let [used, unused] = [home.prefix("/live/").await, home.prefix("/live/").await];
        assert_eq!(outcome(home.at_tv(&format!("{used}{MASTER}"))).await, ok());
        lasts(USE_WITHIN).await;
        // Through the gateway that does not know it, too: the store knows that it was used.
        for gateway in &home.gateways {
            assert_eq!(outcome(gateway.get(&format!("{used}{MASTER}"))).await, ok());
            let late = outcome(gateway.get(&format!("{unused}{MASTER}"))).await;
            assert_eq!(late, told(401, "ticket_expired"));
        }
        assert_eq!(home.streams().await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn it_needs_room_and_is_one_of_the_accounts_streams() {
    on_both(|home| async move {
        let prefix = home.prefix("/live/").await;
        for session in ["pad", "pc"] {
            let other = Login::of("ann", session).with("max_streams", 2);
            let plays = home.gateways[0].get(MASTER).header(COOKIE, other.cookie());
            assert_eq!(outcome(plays).await, ok(), "{session}");
        }
        let full = told(409, "concurrency_limit");
        assert_eq!(outcome(home.at_tv(&format!("{prefix}{MASTER}"))).await, full);
        let code = home.streams().await[0]["code"].as_str().unwrap().to_owned();
        let end = home.at_phone(Method::POST, &format!("/streams/{code}/terminate"));
        assert_eq!(outcome(end).await.0, 204);
        assert_eq!(outcome(home.at_tv(&format!("{prefix}{MASTER}"))).await, ok());
        // What the phone begins next makes room by what it had cast.
        let next = home.at_phone(Method::GET, MASTER);
        assert_eq!(outcome(next).await, ok());
        until("the device hears of it", || async {
            outcome(home.at_tv(&format!("{prefix}/live/final/360p/0.ts"))).await
                == told(409, "stream_terminated")
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn it_is_dead_with_logout_at_every_gateway() {
    let home = Home::on_redis().await;
    let prefix = home.prefix("/live/").await;
    for gateway in &home.gateways {
        assert_eq!(outcome(gateway.get(&format!("{prefix}{MASTER}"))).await, ok());
    }
    let wish = json!({ "session": "phone" });
    let (status, _) = home.gateways[0].post_admin("/api/sessions/revoke", TOKEN, &wish).await;
    assert_eq!(status, 200);
    for gateway in &home.gateways {
        until("the ticket is dead", || async {
            outcome(gateway.get(&format!("{prefix}{MASTER}"))).await == told(401, "session_ended")
        })
        .await;
    }
    let asked = home.at_phone(Method::POST, "/streams/tickets").body("{\"path\":\"/live/\"}");
    assert_eq!(outcome(asked).await, told(401, "session_ended"));
}

#[tokio::test]
async fn it_is_no_longer_than_its_session() {
    let home = Home::on_memory().await;
    let token = home.phone.token_for(3_600);
    let asked = home.gateways[0].request(Method::POST, "/streams/tickets");
    let asked =
        asked.header(AUTHORIZATION, format!("Bearer {token}")).body("{\"path\":\"/live/\"}");
    let ticket: Value = asked.send().await.unwrap().json().await.unwrap();
    let ends_at = ticket["ends_at"].as_str().unwrap();
    assert!(ticket["use_by"].as_str().unwrap() < ends_at, "{ticket}");
    let prefix = ticket["path_prefix"].as_str().unwrap();
    assert_eq!(outcome(home.at_tv(&format!("{prefix}{MASTER}"))).await, ok());
}

#[tokio::test]
async fn no_log_and_no_upstream_sees_it() {
    let logged = Logged::start_with(&yaml(false), &variables(None).await);
    let gateway = &logged.gateway;
    let asked = gateway.request(Method::POST, "/streams/tickets").header(COOKIE, phone().cookie());
    let asked = asked.body("{\"path\":\"/faults/echo/held/\"}");
    let ticket: Value = asked.send().await.unwrap().json().await.unwrap();
    let (text, prefix) =
        (ticket["ticket"].as_str().unwrap(), ticket["path_prefix"].as_str().unwrap());
    let request = gateway.get(&format!("{prefix}/faults/echo/held/x?q=1"));
    let request = request.header(REFERER, format!("http://tv.example{prefix}/faults/echo/held/"));
    let seen: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!((&seen["path"], &seen["query"]), (&"/faults/echo/held/x".into(), &"q=1".into()));
    let seen = seen.to_string();
    assert!(!seen.contains("tk1~") && !seen.contains(&phone().token()[..20]), "{seen}");
    assert!(seen.contains("x-streamgate-lease"), "{seen}");
    for path in ["/faults/echo/other", "/nowhere", "/%zz"] {
        gateway.get(&format!("{prefix}{path}")).send().await.unwrap();
    }
    // Where it is not taken off the path it would be passed on and logged.
    let encoded = text.replace('~', "%7E");
    for path in [
        format!("{prefix}{prefix}/faults/echo/held/x"),
        format!("/faults/echo{prefix}/held/x"),
        format!("/faults/echo/{text}"),
        format!("/faults/echo/{encoded}?q=1"),
        format!("{prefix}/faults/echo/held/{text}"),
    ] {
        let refused = outcome(gateway.get(&path)).await;
        assert_eq!(refused, told(400, "request_malformed"), "{path}");
    }
    let lines = logged.lines(10).await;
    let played = lines.iter().find(|line| line["path"] == "/faults/echo/held/x").unwrap();
    assert_eq!(played["rung"], "ticket");
    assert!(!logged.text().contains("tk1~") && !logged.text().contains(text), "{lines:?}");
    assert!(!logged.text().contains(&text[4..]), "not in another spelling either: {lines:?}");
}
