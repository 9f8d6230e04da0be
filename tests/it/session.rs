//! Who is let in: tokens of every kind, where they are found, and sessions that have ended.

use crate::harness::{Gateway, Login, Redis, environment, outcome, signed, until, with_sessions};
use crate::raw_client::RawClient;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use reqwest::RequestBuilder;
use reqwest::header::{AUTHORIZATION, COOKIE};
use serde_json::{Value, json};

const PATH: &str = "/live/final/master.m3u8";

/// `STANDARD`, with sessions that must be active in the store.
fn active() -> String {
    with_sessions(&["active_in: shared"])
}

#[tokio::test]
async fn a_token_is_taken_from_the_cookie_or_the_header() {
    let gateway = Gateway::standard(None).await;
    let login = Login::of("ann", "s1");
    let bearer = format!("Bearer {}", login.token());
    for (field, value) in [(COOKIE, login.cookie()), (AUTHORIZATION, bearer)] {
        let request = gateway.get(PATH).header(field, value);
        assert_eq!(request.send().await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn broken_tokens_are_told_by_their_code() {
    let gateway = Gateway::standard(None).await;
    let good = Login::of("ann", "s1");
    let (head, rest) =
        good.token().split_once('.').map(|(h, r)| (h.to_owned(), r.to_owned())).unwrap();
    let (claims, signature) = rest.split_once('.').unwrap();
    let none = "eyJhbGciOiJub25lIn0";
    let other = if signature.starts_with('A') { 'B' } else { 'A' };
    let spoiled = format!("{other}{}", &signature[1..]);
    let cases = [
        (String::new(), "session_missing"),
        ("session=".to_owned(), "session_missing"),
        ("other=x".to_owned(), "session_missing"),
        ("session=garbage".to_owned(), "session_invalid"),
        (format!("session={head}.{claims}."), "session_invalid"),
        (format!("session={none}.{claims}."), "session_invalid"),
        (format!("session={head}.{claims}.{}", spoiled), "session_invalid"),
        (format!("session={}", good.token_for(-31)), "session_expired"),
        (format!("session={}", Login::of("", "s").token()), "session_invalid"),
        (
            format!("{}; session={}", good.cookie(), Login::of("bob", "s2").token()),
            "session_ambiguous",
        ),
    ];
    for (cookie, code) in cases {
        let request = gateway.get(PATH).header(COOKIE, &cookie);
        let response = request.try_clone().unwrap().send().await.unwrap();
        assert!(response.headers().contains_key("www-authenticate"), "{cookie}");
        assert_eq!(outcome(request).await, (401, code.to_owned()), "{cookie}");
    }
    let reasons =
        "streamgate_auth_decisions_total{decision=\"refused\",reason=\"expired\",route=\"live\"}";
    assert_eq!(gateway.metric(reasons).await, 2.0);
}

#[tokio::test]
async fn a_token_just_past_its_time_is_within_the_leeway() {
    let gateway = Gateway::standard(None).await;
    let cookie = format!("session={}", Login::of("ann", "s1").token_for(-5));
    assert_eq!(gateway.get(PATH).header(COOKIE, cookie).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_session_must_be_active_in_the_store() {
    let redis = Redis::start().await;
    let gateway = Gateway::start(&active(), &environment(Some(&redis)).await);
    let login = Login::of("ann", "s1");
    let play = || gateway.get(PATH).header(COOKIE, login.cookie());
    assert_eq!(outcome(play()).await, (401, "session_ended".to_owned()));

    // A new login has a new id; nothing that was remembered of the other one stands in its way.
    let login = Login::of("ann", "s2");
    let play = || gateway.get(PATH).header(COOKIE, login.cookie());
    let _: () = redis.ask(&["SET", "sg:session:s2", "1", "EX", "60"]).await.unwrap();
    assert_eq!(play().send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_logout_takes_effect_at_once_where_it_is_published() {
    let redis = Redis::start().await;
    let gateway = Gateway::start(&active(), &environment(Some(&redis)).await);
    let login = Login::of("ann", "s1");
    let _: () = redis.ask(&["SET", "sg:session:s1", "1", "EX", "60"]).await.unwrap();
    let play = || gateway.get(PATH).header(COOKIE, login.cookie());
    assert_eq!(play().send().await.unwrap().status(), 200);
    until("the gateway listens", || async {
        redis.ask::<u64>(&["PUBLISH", "sg:revoked", "nobody"]).await.unwrap() == 1
    })
    .await;
    let _: () = redis.ask(&["DEL", "sg:session:s1"]).await.unwrap();
    // What was remembered still holds, for at most five seconds …
    let _: () = redis.ask(&["PUBLISH", "sg:revoked", "s1"]).await.unwrap();
    // … but for the message, which clears it.
    until("the logout is seen", || async { outcome(play()).await.0 == 401 }).await;
    assert_eq!(outcome(play()).await, (401, "session_ended".to_owned()));
}

#[tokio::test]
async fn a_remembered_session_costs_no_question() {
    let redis = Redis::start().await;
    let gateway = Gateway::start(&active(), &environment(Some(&redis)).await);
    let login = Login::of("ann", "s1");
    let _: () = redis.ask(&["SET", "sg:session:s1", "1", "EX", "60"]).await.unwrap();
    let play = || gateway.get(PATH).header(COOKIE, login.cookie());
    assert_eq!(play().send().await.unwrap().status(), 200);
    let before = redis.commands().await;
    for _ in 0..50 {
        assert_eq!(play().send().await.unwrap().status(), 200);
    }
    // Each question about the number of commands is itself a few; fifty requests would be more.
    assert!(redis.commands().await - before < 25);
}

/// What the upstream got in the fields called `name` in lower case; `None`: it got no request.
async fn upstream_got(request: RequestBuilder, name: &str) -> Option<Value> {
    let response = request.send().await.unwrap();
    if response.status() != 200 {
        assert_eq!(response.status(), 400);
        return None;
    }
    let seen: Value = response.json().await.unwrap();
    Some(seen["headers"][name].clone())
}

#[tokio::test]
async fn no_client_writes_what_a_claim_can_say() {
    let yaml = with_sessions(&["claims_to_headers: { plan: X-Plan, level: X-Level }"]);
    let gateway = Gateway::start(&yaml, &environment(None).await);
    let (open, held) = ("/faults/echo/x", "/faults/echo/held/x");
    let claims = [
        None,
        Some(Value::Null),
        Some(json!(["gold"])),
        Some(json!({ "name": "gold" })),
        Some(json!("gold\r\nx-plan: platinum")),
        Some(json!("gold\u{0}")),
    ];
    for claim in claims {
        let login = match &claim {
            Some(plan) => Login::of("ann", "s1").with("plan", plan.clone()),
            None => Login::of("ann", "s1"),
        };
        for (path, name) in [
            (held, "x-plan"),
            (held, "X-PLAN"),
            (held, "x-level"),
            (open, "X-Plan"),
            (open, "x-level"),
        ] {
            let request = gateway.get(path).header(COOKIE, login.cookie());
            let got = upstream_got(request.header(name, "platinum"), &name.to_lowercase()).await;
            assert_eq!(got, Some(Value::Null), "{claim:?} {path} {name}");
        }
        for name in ["x_plan", "X_Plan"] {
            let request = gateway.get(held).header(COOKIE, login.cookie());
            let got = upstream_got(request.header(name, "platinum"), "x_plan").await;
            assert!(matches!(got, None | Some(Value::Null)), "{claim:?} {name}");
        }
    }
    let login = Login::of("ann", "s1").with("plan", "gold").with("level", 3);
    for twice in ["platinum", "gold"] {
        let request = gateway.get(held).header(COOKIE, login.cookie());
        let request = request.header("x-plan", twice).header("X-Plan", "silver");
        assert_eq!(upstream_got(request, "x-plan").await, Some(json!(["gold"])));
    }
}

#[tokio::test]
async fn connection_takes_no_claim_away() {
    let yaml = with_sessions(&["claims_to_headers: { plan: X-Plan }"]);
    let gateway = Gateway::start(&yaml, &environment(None).await);
    let cookie = Login::of("ann", "s1").with("plan", "gold").cookie();
    for named in ["X-Plan", "close, x-plan", "x-plan, X-Streamgate-Session, upgrade"] {
        let mut raw = RawClient::open(gateway.edge).await;
        let head = format!(
            "GET /faults/echo/held/x HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n\
             X-Plan: platinum\r\nConnection: {named}\r\n\r\n"
        );
        let answer = raw.ask(head).await;
        assert_eq!(answer.status, 200, "{named}");
        let seen: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(seen["headers"]["x-plan"], json!(["gold"]), "{named}: {seen}");
        assert_eq!(seen["headers"]["x-streamgate-session"], json!(["s1"]), "{named}");
        // An upstream that is a proxy itself would drop what `Connection` names.
        let connection = seen["headers"]["connection"].to_string().to_lowercase();
        assert!(!connection.contains("x-"), "{named}: {connection}");
    }
}

#[tokio::test]
async fn the_token_is_found_and_taken_out_in_every_authorization() {
    let gateway = Gateway::standard(None).await;
    let token = Login::of("ann", "s1").token();
    let (bearer, small) = (format!("Bearer {token}"), format!("bearer {token}"));
    for fields in [
        vec!["Basic dTpw", &bearer],
        vec![&bearer, "Basic dTpw"],
        vec!["Basic dTpw", &small, &bearer],
        vec![&format!("Basic dTpw, {bearer}")],
        vec![&format!("{small},Basic dTpw")],
        vec![&format!("Bearer\t{token}, , Basic dTpw")],
    ] {
        let mut request = gateway.get("/faults/echo/held/x");
        for field in &fields {
            request = request.header(AUTHORIZATION, *field);
        }
        let got = upstream_got(request, "authorization").await;
        assert_eq!(got, Some(json!(["Basic dTpw"])), "{fields:?}");
    }
    // Where we find no token, another reader could: the cookie proves the session.
    let hidden = format!("Digest a=\"x, Bearer {token}\"");
    let request = gateway.get("/faults/echo/held/x").header(AUTHORIZATION, hidden);
    let request = request.header(COOKIE, format!("a=1; session={token}"));
    assert_eq!(upstream_got(request, "authorization").await, Some(Value::Null));
    let behind = format!("a=1, session={token}; b=2");
    let request = gateway.get("/faults/echo/held/x").header(AUTHORIZATION, &bearer);
    let got = upstream_got(request.header(COOKIE, behind), "cookie").await;
    assert_eq!(got, Some(json!(["b=2"])));
    for two in [format!("{bearer}, Bearer {token}x"), format!("Bearer x, {bearer}")] {
        let refused = outcome(gateway.get(PATH).header(AUTHORIZATION, two)).await;
        assert_eq!(refused, (401, "session_invalid".to_owned()), "who adds one does not choose");
    }
}

/// Which session the cookies and, if there is one, the bearer token prove; else the refusal's code.
async fn proven(gateway: &Gateway, cookies: &[u8], bearer: Option<&str>) -> String {
    let mut request = gateway.get("/faults/echo/held/x").header(COOKIE, cookies);
    if let Some(token) = bearer {
        request = request.bearer_auth(token);
    }
    let seen: Value = request.send().await.unwrap().json().await.unwrap();
    let others = &seen["headers"]["cookie"];
    assert!(!others.to_string().contains("session="), "no token goes upstream: {seen}");
    let session = &seen["headers"]["x-streamgate-session"][0];
    session.as_str().or(seen["code"].as_str()).unwrap().to_owned()
}

/// A text in the form of a token that nobody signed.
fn unsigned(claims: &Value) -> String {
    let part = |text: String| base64::Engine::encode(&BASE64URL, text);
    let header = part(json!({ "alg": "HS256", "typ": "JWT" }).to_string());
    format!("{header}.{}.{}", part(claims.to_string()), part("a".repeat(32)))
}

#[tokio::test]
async fn a_twin_that_proves_nothing_locks_nobody_out() {
    let gateway = Gateway::standard(None).await;
    let good = Login::of("ann", "good").token();
    let expired = Login::of("ann", "old").token_for(-40);
    let others = unsigned(&json!({ "sub": "x", "exp": 4_102_444_800_u64 }));
    for twin in [expired.as_str(), ".eJwNyEEK", "", "\"\"", "a.b.c", &others] {
        for cookies in
            [format!("session={good}; session={twin}"), format!("session={twin}; session={good}")]
        {
            assert_eq!(proven(&gateway, cookies.as_bytes(), None).await, "good", "{cookies}");
        }
    }
    let plain = format!("session={good}; session={good}; a=1; session=\"{good}\"");
    assert_eq!(proven(&gateway, plain.as_bytes(), None).await, "good");
    let latin = [b"name=J\xf6rg; session=".as_slice(), good.as_bytes(), b"; b=\xff"].concat();
    let seen = upstream_got(
        gateway.get("/faults/echo/held/x").header(COOKIE, &latin[..]),
        "x-streamgate-session",
    );
    assert_eq!(seen.await, Some(json!(["good"])));
    let mut many: Vec<String> = (0..60).map(|n| format!("session=rest-{n}")).collect();
    many.insert(30, format!("session={good}"));
    assert_eq!(proven(&gateway, many.join("; ").as_bytes(), None).await, "good");
    for cookies in
        [format!("session={expired}; session=x"), format!("session=x; session={expired}")]
    {
        assert_eq!(proven(&gateway, cookies.as_bytes(), None).await, "session_expired");
    }
    assert_eq!(proven(&gateway, b"session=x; session=y", None).await, "session_invalid");
}

#[tokio::test]
async fn of_one_account_the_later_login_counts_and_two_accounts_are_refused() {
    let gateway = Gateway::standard(None).await;
    let now = streamgate::clock::unix_seconds();
    let login = |account: &str, session: &str, ago: u64| {
        Login::of(account, session).with("auth_time", now - ago).token()
    };
    let (old, new) = (login("ann", "old", 1_000), login("ann", "new", 10));
    let bob = login("bob", "bobs", 5);
    let check = async |tokens: &[&str], expected: &str| {
        let cookies: Vec<String> = tokens.iter().map(|token| format!("session={token}")).collect();
        let got = proven(&gateway, cookies.join("; ").as_bytes(), None).await;
        assert_eq!(got, expected, "{cookies:?}");
    };
    for _ in 0..2 {
        check(&[&old, &new], "new").await;
        check(&[&new, &old], "new").await;
        check(&[&old, &bob], "session_ambiguous").await;
        check(&[&bob, &old], "session_ambiguous").await;
        check(&["x", &new, &bob], "session_ambiguous").await;
    }
    let several: Vec<String> =
        (0..5_u64).map(|n| login("ann", &format!("s{n}"), 100 - n)).collect();
    let several: Vec<&str> = several.iter().map(String::as_str).collect();
    check(&several[..4], "s3").await;
    check(&several, "session_ambiguous").await;
    let reason = "streamgate_auth_decisions_total{decision=\"refused\",\
                  reason=\"session_ambiguous\",route=\"echo\"}";
    gateway.counts(reason, 7.0).await;
}

#[tokio::test]
async fn a_bearer_token_is_meant_and_a_cookie_may_be_a_rest() {
    let gateway = Gateway::standard(None).await;
    let (good, other) = (Login::of("ann", "good"), Login::of("ann", "other"));
    let younger = good.clone().with("plan", "gold").token();
    let expired = Login::of("ann", "old").token_for(-40);
    let good = good.token();
    for (cookie, bearer, expected) in [
        (good.clone(), &good, "good"),
        (younger, &good, "good"),
        (expired.clone(), &good, "good"),
        ("x".to_owned(), &good, "good"),
        (other.token(), &good, "session_invalid"),
        (Login::of("bob", "good").token(), &good, "session_invalid"),
        (good.clone(), &expired, "session_expired"),
        (good.clone(), &"x".to_owned(), "session_invalid"),
        (
            format!("{}; session={}", other.token(), Login::of("bob", "b").token()),
            &good,
            "session_ambiguous",
        ),
    ] {
        let cookies = format!("session={cookie}");
        let got = proven(&gateway, cookies.as_bytes(), Some(bearer)).await;
        assert_eq!(got, expected, "{cookies}");
    }
}

#[tokio::test]
async fn a_cookie_of_ours_that_proves_nothing_is_forgotten_for_our_own_page_alone() {
    let gateway = Gateway::standard(None).await;
    let expired = Login::of("ann", "old").token_for(-40);
    let ours = json!({ "iss": "streamgate-auth", "aud": "streamgate", "sub": "x", "exp": 1 });
    let theirs = json!({ "iss": "another-app", "aud": "streamgate", "sub": "x", "exp": 1 });
    let soon = streamgate::clock::unix_seconds() + 600;
    let early = Login::of("ann", "soon").with("nbf", soon).token();
    let cleared = "session=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax";
    let (own, cross) = (("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site"));
    let none = ("x-none", "");
    for (cookies, field, expected) in [
        (format!("session={expired}"), none, Some(cleared)),
        (format!("session={expired}"), own, Some(cleared)),
        (format!("session=x; session={expired}"), own, Some(cleared)),
        (format!("session={}", unsigned(&ours)), own, Some(cleared)),
        (format!("session={}", unsigned(&theirs)), own, None),
        ("session=.eJwNyEEK".to_owned(), own, None),
        ("session=".to_owned(), own, None),
        (format!("session={early}"), own, None),
        (format!("session={early}; session={expired}"), own, None),
        (format!("session={expired}"), cross, None),
        (format!("session={expired}"), ("origin", "https://evil.example"), None),
        (
            format!(
                "session={}; session={}",
                Login::of("a", "1").token(),
                Login::of("b", "1").token()
            ),
            own,
            None,
        ),
    ] {
        let request = gateway.get(PATH).header(COOKIE, &cookies).header(field.0, field.1);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 401, "{cookies}");
        let fields: Vec<_> = response.headers().get_all("set-cookie").iter().collect();
        assert_eq!(fields, expected.into_iter().collect::<Vec<_>>(), "{field:?} {cookies}");
    }
    let good = Login::of("ann", "now").token();
    for (bearer, cookie, expected) in [
        (&expired, None, None),
        (&expired, Some(&expired), Some(cleared)),
        (&"x".to_owned(), Some(&expired), Some(cleared)),
        (&expired, Some(&good), None),
        (&expired, Some(&early), None),
    ] {
        let mut request = gateway.get(PATH).bearer_auth(bearer);
        if let Some(token) = cookie {
            request = request.header(COOKIE, format!("session={token}"));
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 401);
        let set = response.headers().get("set-cookie").map(|field| field.to_str().unwrap());
        assert_eq!(set, expected, "{bearer} beside {cookie:?}");
    }
}

#[tokio::test]
async fn claims_are_read_as_issuers_write_them() {
    let gateway = Gateway::standard(None).await;
    let numbers = Gateway::start(&with_sessions(&["numeric_sub: true"]), &environment(None).await);
    let with = |claims: Value| {
        let now = streamgate::clock::unix_seconds();
        let mut all = json!({
            "iss": "streamgate-auth", "aud": "streamgate", "sub": "ann", "sid": "s",
            "iat": now, "exp": now + 600,
        });
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        signed(&all)
    };
    for (gateway, claims, expected) in [
        (&gateway, json!({ "nbf": null, "iat": null, "auth_time": null }), "s"),
        (&gateway, json!({ "sid": null, "jti": "j" }), "j"),
        (&gateway, json!({ "exp": null }), "session_invalid"),
        (&gateway, json!({ "sub": null }), "session_invalid"),
        (&gateway, json!({ "sub": 42 }), "session_invalid"),
        (&numbers, json!({ "sub": 42 }), "s"),
        (&numbers, json!({ "sub": "42" }), "s"),
        (&numbers, json!({ "sub": 4.2 }), "session_invalid"),
        (&numbers, json!({ "sub": 1e40 }), "session_invalid"),
        (&numbers, json!({ "sub": [42] }), "session_invalid"),
    ] {
        let cookie = format!("session={}", with(claims.clone()));
        assert_eq!(proven(gateway, cookie.as_bytes(), None).await, expected, "{claims}");
    }
    // A number and its digits are one account.
    for (n, sub) in [json!(7), json!("7"), json!(7), json!("7")].into_iter().enumerate() {
        let cookie = format!("session={}", with(json!({ "sub": sub, "sid": format!("s{n}") })));
        let status = numbers.get(PATH).header(COOKIE, cookie).send().await.unwrap().status();
        assert_eq!(status, if n < 3 { 200 } else { 409 }, "{n}");
    }
}
