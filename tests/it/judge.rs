//! The judgement without a connection: `judge` is asked about requests that were never sent, tells
//! how it came to its verdict, and agrees with the gateway that gets the same requests by a socket.

use crate::access::Logged;
use crate::harness::{Login, PEPPER, SECRET};
use crate::raw_client::RawClient;
use http::request::Parts;
use pingora::http::ResponseHeader;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use std::collections::HashSet;
use std::path::Path;
use streamgate::config;
use streamgate::denial::Code;
use streamgate::exchange::{Exchange, Target};
use streamgate::filter::{FilterVerdict, Halt};
use streamgate::gateway::{Gateway, Shared};
use streamgate::judge::{Trace, Verdict, judge, judge_answer};
use streamgate::metrics::Metrics;
use streamgate::route::Lost;
use streamgate::yaml::Environment;
use tokio::net::TcpListener;

const PAIRS: usize = 1_000;

const YAML: &str = r#"
listeners: [ { name: edge, address: "127.0.0.1:0", underscores: refuse } ]
admin: { address: "127.0.0.1:0" }
workers: 2
access_log: { to: off }
stores: { here: { url: "memory:" } }
sessions:
  viewers: { issuer: streamgate-auth, audience: streamgate, keys: [ { hs256: "${SECRET}" } ] }
concurrency:
  two: { store: here, pepper: "${PEPPER} a", limit: { default: 2 } }
  tried: { store: here, pepper: "${PEPPER} b", limit: { default: 1 } }
  shown:
    store: here
    pepper: "${PEPPER} c"
    limit: { default: 1 }
    identity: [ { stream_token: { secret: "${SECRET}", carry: path } } ]
upstreams: { all: { endpoints: [ "${UPSTREAM}" ] } }
routes:
  - { name: any, match: { path: "/{*rest}", method: [GET, POST] }, upstream: all, max_body: 20 }
  - { name: file, match: { path: "/live/{name}" }, upstream: all }
  - { name: beta, match: { path: "/live/{name}", header: { x-beta: "1" } }, upstream: all }
  - name: tv
    match: { host: tv.example.com, path: "/live/{event}/{*file}" }
    filters: [ { session: viewers }, { concurrency: two } ]
    upstream: all
  - name: below
    match: { host: "*.example.com", path: "/live/{*rest}", query: { a: "1" } }
    filters: [ { session: viewers } ]
    upstream: all
  - name: tried
    match: { path: "/tried/{*rest}" }
    filters: [ { session: viewers }, { shadow: { concurrency: tried } } ]
    upstream: all
  - name: doubted
    match: { path: "/doubted/{*rest}" }
    filters: [ { shadow: { session: viewers } } ]
    upstream: all
  - name: shown
    match: { path: "/shown/{*file}" }
    filters: [ { session: viewers }, { concurrency: shown } ]
    upstream: all
  - name: streams
    match: { path: "/streams/{*rest}" }
    filters: [ { session: viewers } ]
    service: { streams: two }
  - { name: moved, match: { path: "/moved/{*rest}" }, redirect: { to: "/live/{rest}" } }
  - name: said
    match: { path: "/said/{*rest}" }
    filters:
      - cors: { origins: "https://app.example" }
      - headers: { presets: [ security ] }
    respond: { status: 418, text: "no" }
  - name: near
    match: { path: "/near/{*rest}", method: GET }
    filters:
      - cors: { origins: "https://app.example" }
      - deny: { addresses: "10.0.0.0/8" }
      - shadow: { allow: { addresses: "10.0.0.0/8" } }
    rewrite: { strip: /near }
    upstream: all
"#;

/// One request as it is written.
#[derive(Clone, Debug)]
struct Written {
    method: &'static str,
    target: String,
    fields: Vec<(&'static str, String)>,
    body: String,
}

/// What became of a request: in the words of the access log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Told {
    route: String,
    path: String,
    status: u64,
    code: String,
}

/// Chooses requests by chance: related ones, so that they meet.
struct Chance {
    rng: StdRng,
    tokens: Vec<String>,
}

impl Chance {
    fn of(seed: u64) -> Self {
        let logins = ["a", "b", "c"].map(|session| Login::of("ann", session));
        let mut tokens: Vec<String> = logins.iter().map(Login::token).collect();
        tokens.extend([
            logins[0].token_for(-600),
            format!("{}x", tokens[0]),
            "no-token".to_owned(),
        ]);
        Chance { rng: StdRng::seed_from_u64(seed), tokens }
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of.choose(&mut self.rng).unwrap().clone()
    }

    fn target(&mut self) -> String {
        let begin = [
            "live",
            "tried",
            "doubted",
            "shown",
            "streams",
            "moved",
            "said",
            "near",
            "s/token/live",
            "..",
        ];
        let segments = [
            "final",
            "a.ts",
            "a.m3u8",
            "current",
            "heartbeat",
            "..",
            ".",
            "",
            "%2e%2e",
            "%7e",
            "%2f",
            "%zz",
            "a%20b",
        ];
        let mut target = format!("/{}", self.one(&begin));
        for _ in 0..self.rng.random_range(0..4) {
            target += &format!("/{}", self.one(&segments));
        }
        target + self.one(&["", "", "?a=1", "?streamgate-replace=oldest"])
    }

    fn request(&mut self) -> Written {
        let method = self.one(&[
            "GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "OPTIONS", "OPTIONS",
        ]);
        let target = self.target();
        let hosts = ["tv.example.com", "TV.example.com:80", "a.example.com", "b.org", "a,b"];
        let mut fields = vec![("host", self.one(&hosts).to_owned())];
        for (one_in, name, value) in [
            (4, "x-beta", "1"),
            (30, "x_odd", "1"),
            (4, "origin", "https://app.example"),
            (9, "origin", "https://evil.example"),
            (2, "access-control-request-method", "GET"),
        ] {
            if self.rng.random_range(0..one_in) == 0 {
                fields.push((name, value.to_owned()));
            }
        }
        for (one_in, name, before) in
            [(2, "cookie", "x=1; session="), (4, "authorization", "Bearer ")]
        {
            if self.rng.random_range(0..one_in) == 0 {
                let tokens = self.tokens.clone();
                fields.push((name, format!("{before}{}", self.one(&tokens))));
            }
        }
        let body = match method {
            "POST" | "PUT" => "x".repeat(self.one(&[0, 2, 30])),
            _ => String::new(),
        };
        if !body.is_empty() {
            fields.push(("content-length", body.len().to_string()));
        }
        Written { method, target, fields, body }
    }
}

impl Written {
    fn head(&self) -> Parts {
        let mut head = http::Request::builder().method(self.method).uri(self.target.as_str());
        for (name, value) in &self.fields {
            head = head.header(*name, value);
        }
        head.body(()).unwrap().into_parts().0
    }

    fn bytes(&self) -> String {
        let fields: String =
            self.fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("{} {} HTTP/1.1\r\n{fields}\r\n{}", self.method, self.target, self.body)
    }

    /// What the gateway answers it.
    async fn send(&self, gateway: &crate::harness::Gateway) -> (u64, Option<String>) {
        let mut client = RawClient::open(gateway.edge).await;
        client.say(self.bytes()).await;
        if self.method == "HEAD" {
            return (client.head().await.status.into(), None);
        }
        let answer = client.answer().await;
        // A stream that the streams API starts has a code, too.
        let is_refusal = 400 <= answer.status;
        (answer.status.into(), is_refusal.then(|| answer.code()))
    }

    /// What `judge` says of it.
    async fn judge(&self, gateway: &Gateway) -> Told {
        let (head, mut exchange) = (self.head(), Exchange::new(None));
        let mut trace = Trace::default();
        let judged = judge(gateway, &head, &mut exchange, Some(&mut trace)).await;
        let judged = match judged {
            Ok(Verdict::Streams(call)) => call.answer(self.body.as_bytes()).await.map(Some),
            Ok(Verdict::Answer(reply)) => Ok(Some(reply)),
            Ok(Verdict::Proxy { .. }) => {
                let mut answer = ResponseHeader::build(200, None).unwrap();
                answer.insert_header("content-type", "text/plain; charset=utf-8").unwrap();
                judge_answer(gateway, &head, &answer, &mut exchange).await.map(|()| None)
            }
            Err(halt) => Err(halt),
        };
        let (status, code) = match judged {
            Ok(None) => (200, None),
            Ok(Some(reply)) | Err(Halt::Reply(reply) | Halt::Answered(reply, _)) => {
                (reply.status.as_u16(), None)
            }
            Err(Halt::Deny(denial, _)) => (denial.reply("").status.as_u16(), Some(denial.code())),
        };
        check(gateway, &exchange, &trace, code);
        let path = match &exchange.target {
            Target::Unread => "(unread)",
            Target::AsWritten => head.uri.path(),
            Target::Rewritten(target) => target.split('?').next().unwrap(),
        };
        let route = gateway.metrics_of(&exchange).name().to_owned();
        let code = code.map(Code::name).unwrap_or_default().to_owned();
        Told { route, path: path.to_owned(), status: status.into(), code }
    }
}

/// Whether the trace tells what came out.
fn check(gateway: &Gateway, exchange: &Exchange, trace: &Trace, code: Option<Code>) {
    let Some(route) = gateway.route_of(exchange) else {
        let is_lost = |considered: &streamgate::route::Considered| considered.lost.is_some();
        assert!(trace.routes.iter().all(is_lost) && trace.filters.is_empty(), "{trace:?}");
        return;
    };
    assert_eq!(trace.routes.len(), gateway.table.iter().count(), "each route is considered");
    let taken: Vec<&str> = trace
        .routes
        .iter()
        .filter(|considered| considered.lost.is_none())
        .map(|considered| considered.route.as_str())
        .collect();
    assert_eq!(taken, [&*route.name], "{trace:?}");
    let names: Vec<&str> = route.chain.names().take(trace.filters.len()).collect();
    let asked: Vec<&str> = trace.filters.iter().map(|(name, _)| *name).collect();
    assert_eq!(asked, names, "filters are asked in order");
    let verdicts = || trace.filters.iter().map(|(_, verdict)| *verdict);
    let shadows: Vec<FilterVerdict> =
        exchange.shadows().iter().map(|(_, code)| FilterVerdict::WouldRefuse(*code)).collect();
    let would_refuse = |verdict: &FilterVerdict| matches!(verdict, FilterVerdict::WouldRefuse(_));
    assert_eq!(verdicts().filter(would_refuse).collect::<Vec<_>>(), shadows, "{trace:?}");
    if let Some(FilterVerdict::Refuses(refused)) = verdicts().next_back() {
        assert_eq!(Some(refused), code, "{trace:?}");
    }
}

/// The variables of `YAML`, with an upstream that answers everything with 200.
async fn environment() -> Environment {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = socket.local_addr().unwrap();
    let app = axum::Router::new().fallback(|| async { "here" });
    tokio::spawn(async move { axum::serve(socket, app).await });
    let environment = Environment::default().with("SECRET", SECRET).with("PEPPER", PEPPER);
    environment.with("UPSTREAM", upstream.to_string())
}

fn compiled(environment: &Environment) -> Gateway {
    let loaded = config::read(Path::new("gateway.yaml"), YAML.to_owned(), environment);
    let loaded = loaded.unwrap_or_else(|report| panic!("{report}"));
    let compiled = Gateway::compile(&loaded, &Shared::default(), &Metrics::new());
    compiled.unwrap_or_else(|report| panic!("{report}")).0
}

#[tokio::test]
async fn it_agrees_with_the_socket() {
    let seed = std::env::var("SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("SEED={seed}");
    let (environment, mut chance) = (environment().await, Chance::of(seed));
    let (asked, logged) = (compiled(&environment), Logged::start_with(YAML, &environment));
    let mut all = Vec::new();
    for i in 0..PAIRS {
        let request = chance.request();
        let judged = request.judge(&asked).await;
        let (status, code) = request.send(&logged.gateway).await;
        assert_eq!(judged.status, status, "SEED={seed}, pair {i}: {request:?}, {judged:?}");
        if let Some(code) = code {
            assert_eq!(judged.code, code, "SEED={seed}, pair {i}: {request:?}");
        }
        all.push(judged);
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let told = |line: &Value| Told {
        route: text(&line["route"]),
        path: text(&line["path"]),
        status: line["status"].as_u64().unwrap(),
        code: text(&line["code"]),
    };
    let mut there: Vec<Told> = logged.lines(PAIRS).await.iter().map(told).collect();
    all.sort();
    there.sort();
    assert_eq!(all, there, "SEED={seed}");
    let routes: HashSet<&str> = all.iter().map(|told| told.route.as_str()).collect();
    assert!(8 <= routes.len(), "SEED={seed}: requests met these routes only: {routes:?}");
}

#[tokio::test]
async fn it_tells_how_it_came_about() {
    let gateway = compiled(&environment().await);
    let token = Login::of("bob", "a").cookie();
    let head = http::Request::get("/live/final/a.ts").header("host", "tv.example.com");
    let head = head.header("cookie", &token).body(()).unwrap().into_parts().0;
    let mut trace = Trace::default();
    let mut exchange = Exchange::new(None);
    let verdict = judge(&gateway, &head, &mut exchange, Some(&mut trace)).await.unwrap();
    assert!(matches!(verdict, Verdict::Proxy { route, .. } if &*route.name == "tv"));
    let lost = |name: &str| {
        let route = trace.routes.iter().find(|considered| considered.route == name).unwrap();
        route.lost.clone()
    };
    assert_eq!(lost("tv"), None);
    assert_eq!(lost("any"), Some(Lost::LessSpecific));
    assert_eq!(lost("below"), Some(Lost::Query("a".to_owned())));
    assert_eq!(lost("moved"), Some(Lost::Path));
    let passes = FilterVerdict::Passes;
    assert_eq!(trace.filters, [("session", passes), ("concurrency", passes)]);

    let (mut trace, mut exchange) = (Trace::default(), Exchange::new(None));
    let head = http::Request::get("/tried/x").header("host", "b.org").body(()).unwrap();
    let refused = judge(&gateway, &head.into_parts().0, &mut exchange, Some(&mut trace)).await;
    assert!(matches!(refused, Err(Halt::Deny(denial, _)) if denial.code() == Code::SessionMissing));
    assert_eq!(trace.filters, [("session", FilterVerdict::Refuses(Code::SessionMissing))]);
}
