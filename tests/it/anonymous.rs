//! Sessions that a route takes and does not require.

use crate::harness::{Gateway, Login, SECRET, outcome};
use crate::origin::mirror;
use serde_json::Value;
use streamgate::yaml::Environment;

const YAML: &str = r#"
listeners: [ { name: edge, address: "127.0.0.1:0" } ]
admin: { address: "127.0.0.1:0" }
workers: 2
access_log: { to: off }
sessions:
  viewers:
    issuer: streamgate-auth
    audience: streamgate
    keys: [ { hs256: "${SECRET}" } ]
    claims_to_headers: { plan: X-Plan }
upstreams: { all: { endpoints: [ "${UPSTREAM}" ] } }
routes:
  - name: page
    match: { path: "/page/{*rest}" }
    filters: [ { session: { name: viewers, required: false } } ]
    upstream: all
  - name: strict
    match: { path: "/strict/{*rest}" }
    filters: [ { session: { name: viewers } } ]
    upstream: all
"#;

async fn gateway() -> Gateway {
    let upstream = mirror(&[]).await.to_string();
    let environment = Environment::default().with("UPSTREAM", upstream).with("SECRET", SECRET);
    Gateway::start(YAML, &environment)
}

#[tokio::test]
async fn nobody_is_somebody_only_by_a_good_token() {
    let gateway = gateway().await;
    let login = Login::of("ada", "one").with("plan", "gold");
    let told = async |cookie: Option<String>| {
        let request = gateway.get("/page/a").header("x-plan", "forged");
        let request = cookie.iter().fold(request, |request, it| request.header("cookie", it));
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200, "{cookie:?}");
        let body: Value = answer.json().await.unwrap();
        (body["fields"]["x-plan"].clone(), body["fields"]["x-streamgate-session"].clone())
    };
    assert_eq!(told(None).await, (Value::Null, Value::Null));
    assert_eq!(told(Some("theme=dark".to_owned())).await, (Value::Null, Value::Null));
    // A cookie of that name which is no token at all is another application's.
    assert_eq!(told(Some("session=".to_owned())).await, (Value::Null, Value::Null));
    assert_eq!(told(Some("session=abc".to_owned())).await, (Value::Null, Value::Null));
    assert_eq!(told(Some(login.cookie())).await, ("gold".into(), "one".into()));
    let expired = format!("session={}", login.token_for(-3_600));
    let (cookie, with_bearer) = (login.cookie(), gateway.get("/page/a").bearer_auth("abc"));
    let (head, signature) = cookie.rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { "B" } else { "A" };
    let forged = format!("{head}.{other}{}", &signature[1..]);
    for (request, code) in [
        (gateway.get("/page/a").header("cookie", expired), "session_expired"),
        (gateway.get("/page/a").header("cookie", forged), "session_invalid"),
        (with_bearer, "session_invalid"),
        (gateway.get("/strict/a"), "session_missing"),
    ] {
        assert_eq!(outcome(request).await, (401, code.to_owned()));
    }
}
