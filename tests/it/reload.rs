//! Another configuration takes the place of the one that runs: nothing is refused, cut or
//! forgotten.

use crate::harness::{
    DEADLINE, Gateway, Login, STANDARD, environment, outcome, stream_service, until,
};
use crate::origin::{Origin, proxying_yaml};
use crate::process::Process;
use crate::raw_client::RawClient;
use reqwest::Method;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use streamgate::yaml::Environment;
use tokio::time::timeout;

const TOKEN: &str = "an admin token of thirty-two bytes or more";

/// A gateway and the text that it is configured by.
pub(crate) struct Reloadable {
    pub(crate) gateway: Gateway,
    pub(crate) text: Arc<Mutex<String>>,
}

impl Reloadable {
    pub(crate) fn start(yaml: &str, environment: &Environment) -> Self {
        let yaml = yaml.replace(
            "admin: { address: \"127.0.0.1:0\" }",
            &format!("admin: {{ address: \"127.0.0.1:0\", token: \"{TOKEN}\" }}"),
        );
        let text = Arc::new(Mutex::new(yaml));
        let gateway = Gateway::start_from(&text, environment);
        Reloadable { gateway, text }
    }

    /// Replaces text in the configuration and has it read again.
    pub(crate) async fn replace(&self, from: &str, to: &str) -> (u16, Value) {
        {
            let mut text = self.text.lock().unwrap();
            assert!(text.contains(from), "{from}");
            *text = text.replace(from, to);
        }
        self.reload().await
    }

    pub(crate) async fn reload(&self) -> (u16, Value) {
        self.gateway.post_admin("/api/reload", TOKEN, &json!({})).await
    }

    async fn config(&self) -> Value {
        self.gateway.admin("/api/config").await.json().await.unwrap()
    }
}

async fn play(gateway: &Gateway, login: &Login, path: &str) -> (u16, String) {
    outcome(gateway.get(path).bearer_auth(login.token())).await
}

#[tokio::test]
async fn a_good_file_is_taken_and_a_mistake_changes_nothing() {
    let all = Reloadable::start(STANDARD, &environment(None).await);
    let status =
        |path: &'static str| async { all.gateway.get(path).send().await.unwrap().status() };
    assert_eq!(status("/faults/echo").await, 200);
    let (from, to) = ("path: \"/faults/{*rest}\"", "path: \"/faults/status/{*rest}\"");
    let (code, said) = all.replace(from, to).await;
    assert_eq!((code, &said["generation"]), (200, &json!(2)), "{said}");
    assert_eq!(said["restart_needed"], json!([]));
    assert_eq!(status("/faults/echo").await, 404);
    assert_eq!(status("/faults/status/204").await, 204);

    let (code, said) = all.replace("upstream: stream }", "upstream: strem }").await;
    assert_eq!(code, 422, "{said}");
    assert!(said["problems"][0]["help"].as_str().unwrap().contains("`stream`"), "{said}");
    let config = all.config().await;
    assert_eq!(
        (&config["generation"], &config["last_rejected"]["cause"]),
        (&json!(2), &json!("POST /api/reload"))
    );
    assert_eq!(status("/faults/status/204").await, 204);
    assert_eq!(all.gateway.metric("streamgate_config_last_reload_successful").await, 0.0);
    assert_eq!(
        all.gateway.metric("streamgate_config_reloads_total{result=\"rejected\"}").await,
        1.0
    );

    let (code, _) = all.replace("upstream: strem }", "upstream: stream }").await;
    assert_eq!(code, 200);
    let config = all.config().await;
    assert_eq!((&config["generation"], &config["last_rejected"]), (&json!(3), &Value::Null));
    assert_eq!(all.gateway.metric("streamgate_config_generation").await, 3.0);
}

#[tokio::test]
async fn only_who_has_the_token_reloads() {
    let all = Reloadable::start(STANDARD, &environment(None).await);
    let (code, _) = all.gateway.post_admin("/api/reload", "another token", &json!({})).await;
    assert_eq!(code, 401);
    assert_eq!(all.config().await["generation"], 1);
    let other = "another admin token of thirty-two bytes";
    assert_eq!(all.replace(TOKEN, other).await.0, 200);
    assert_eq!(all.reload().await.0, 401, "the old token is none any more");
    assert_eq!(all.gateway.post_admin("/api/reload", other, &json!({})).await.0, 200);
}

#[tokio::test]
async fn streams_sessions_and_counters_are_carried_over() {
    let all = Reloadable::start(STANDARD, &environment(None).await);
    let logins: Vec<Login> = (0..5).map(|n| Login::of("ann", &format!("tv{n}"))).collect();
    let live = "/live/final/master.m3u8";
    for login in &logins[..3] {
        assert_eq!(play(&all.gateway, login, live).await.0, 200);
    }
    assert_eq!(play(&all.gateway, &logins[3], live).await.1, "concurrency_limit");
    let passed =
        "streamgate_requests_total{code=\"200\",listener=\"edge\",method=\"GET\",route=\"live\"}";
    all.gateway.counts(passed, 3.0).await;

    assert_eq!(all.replace("default: 3", "default: 4").await.0, 200);
    assert_eq!(play(&all.gateway, &logins[3], live).await.0, 200, "the limit is another one");
    assert_eq!(play(&all.gateway, &logins[4], live).await.1, "concurrency_limit");
    for login in &logins[..4] {
        assert_eq!(play(&all.gateway, login, live).await.0, 200, "it holds its slot");
    }
    all.gateway.counts(passed, 8.0).await;
    all.gateway.counts("streamgate_stream_leases{policy=\"standard\"}", 4.0).await;
}

#[tokio::test]
async fn an_answer_goes_on_whose_route_and_upstream_are_gone() {
    let origin = Origin::listen().await;
    let yaml = proxying_yaml("", &format!("endpoints: ['{}']", origin.address));
    let all = Reloadable::start(&yaml, &Environment::default());
    let mut client = RawClient::open(all.gateway.edge).await;
    client.say("GET /long HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut behind = origin.accept().await;
    behind.request().await;
    behind.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst").await;
    assert_eq!(client.head().await.status, 200);
    assert_eq!(client.bytes(5).await, b"first");

    let elsewhere = stream_service().await.to_string();
    let there = origin.address.to_string();
    assert_eq!(all.replace(&there, &elsewhere).await.0, 200);
    behind.say("later").await;
    assert_eq!(client.bytes(5).await, b"later");
    let answer = client.ask("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(
        answer.status, 200,
        "the same connection, by the new configuration: {}",
        answer.body
    );
}

#[tokio::test]
async fn listeners_are_opened_closed_and_renamed() {
    let all = Reloadable::start(STANDARD, &environment(None).await);
    let mut kept = RawClient::open(all.gateway.edge).await;
    let ask = "GET /faults/echo HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(kept.ask(ask).await.status, 200);
    let one = "  - { name: edge, address: \"127.0.0.1:0\" }\n";
    let two = format!("{one}  - {{ name: more, address: \"127.0.0.1:0\" }}\n");
    assert_eq!(all.replace(one, &two).await.0, 200);
    assert_eq!(kept.ask(ask).await.status, 200, "the first is as it was");

    // A listener with other settings takes over the socket: nobody is refused.
    let other = one.replace(" }", ", head_timeout: 7s }");
    assert_eq!(all.replace(one, &other).await.0, 200);
    let answer = RawClient::open(all.gateway.edge).await.ask(ask).await;
    assert_eq!(answer.status, 200);
    // Whoever was connected before is told to connect again, after an answer or between two.
    kept.say(ask).await;
    let rest = timeout(DEADLINE, kept.rest()).await.expect("the old connection is closed");
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 200"), "{rest:?}");

    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let held = std::net::TcpListener::bind(&taken);
    let (code, said) = all
        .replace(
            "name: more, address: \"127.0.0.1:0\"",
            &format!("name: more, address: \"{taken}\""),
        )
        .await;
    match held {
        Ok(_held) => assert_eq!(code, 422, "{said}"),
        Err(_) => assert!(code == 200 || code == 422),
    }
    assert_eq!(RawClient::open(all.gateway.edge).await.ask(ask).await.status, 200);
}

#[tokio::test]
async fn what_holds_only_after_a_restart_is_said() {
    let all = Reloadable::start(STANDARD, &environment(None).await);
    let (code, said) = all.replace("workers: 2", "workers: 3").await;
    assert_eq!((code, &said["restart_needed"]), (200, &json!(["workers"])), "{said}");
    assert_eq!(all.config().await["restart_needed"], json!(["workers"]));
}

#[tokio::test]
async fn what_no_configuration_has_any_more_is_let_go() {
    let store = "  other: { url: \"redis://127.0.0.1:1\" }\n";
    let yaml = STANDARD.replace("sessions:\n", &format!("{store}sessions:\n"));
    let all = Reloadable::start(&yaml, &environment(None).await);
    let ready = || async { all.gateway.admin("/readyz").await.text().await.unwrap() };
    assert_eq!(ready().await, "degraded", "a store is not there");
    assert_eq!(all.replace(store, "").await.0, 200);
    until("the store is forgotten", || async { ready().await == "ready" }).await;
    let text = || async { all.gateway.admin("/metrics").await.text().await.unwrap() };
    assert!(text().await.contains("route=\"echo\""));
    assert_eq!(all.replace("name: echo\n", "name: mirror\n").await.0, 200);
    until("its series are gone", || async { !text().await.contains("route=\"echo\"") }).await;
    assert!(text().await.contains("route=\"mirror\""));
    assert!(text().await.contains("route=\"_unmatched\""));
}

/// Requests on four connections that are kept, while the configuration changes all the time.
#[tokio::test]
async fn no_request_fails_while_the_configuration_changes() {
    const RELOADS: u64 = 60;
    let all = Reloadable::start(STANDARD, &environment(None).await);
    let (is_over, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let clients = (0..4).map(|n| {
        let (login, edge) = (Login::of("ann", &format!("tv{}", n % 3)), all.gateway.edge);
        let (is_over, asked) = (Arc::clone(&is_over), Arc::clone(&asked));
        tokio::spawn(async move {
            let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
            while !is_over.load(Ordering::Relaxed) {
                let url = format!("http://{edge}/live/final/master.m3u8");
                let sent = client.get(url).bearer_auth(login.token()).send().await;
                assert_eq!(sent.expect("it is answered").status(), 200);
                asked.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    let clients: Vec<_> = clients.collect();
    for n in 0..RELOADS {
        let (from, to) = match n % 2 {
            0 => ("default: 3", "default: 4"),
            _ => ("default: 4", "default: 3"),
        };
        let before = asked.load(Ordering::Relaxed);
        assert_eq!(all.replace(from, to).await.0, 200);
        until("requests go on", || async { before < asked.load(Ordering::Relaxed) }).await;
    }
    is_over.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("no request failed");
    }
    assert_eq!(all.config().await["generation"], RELOADS + 1);
}

fn of_process(route: &str) -> String {
    format!(
        "listeners: [ {{ name: edge, address: \"127.0.0.1:0\" }} ]\n\
         admin: {{ address: \"127.0.0.1:0\", token: \"{TOKEN}\" }}\n\
         access_log: {{ to: off }}\n\
         routes:\n\
         - {{ name: {route}, match: {{ path: \"/{route}\" }}, redirect: {{ to: \"/x\" }} }}\n"
    )
}

#[tokio::test]
async fn a_changed_file_is_noticed_and_a_hangup_reads_it_again() {
    let mut gateway = Process::start(&of_process("one")).await;
    let file = gateway.directory.file("gateway.yaml");
    let status = |path: &str| {
        let (ask, edge) = (format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"), gateway.edge);
        async move { RawClient::open(edge).await.ask(&ask).await.status }
    };
    assert_eq!((status("/one").await, status("/two").await), (308, 404));
    // Renamed over it, as editors and deployments do.
    let next = gateway.directory.file("next.yaml");
    std::fs::write(&next, of_process("two")).unwrap();
    std::fs::rename(&next, &file).unwrap();
    let line = gateway.says("another configuration answers new requests").await;
    assert!(line.contains("the file has changed"), "{line}");
    let status = |path: &str| {
        let (ask, edge) = (format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"), gateway.edge);
        async move { RawClient::open(edge).await.ask(&ask).await.status }
    };
    assert_eq!((status("/one").await, status("/two").await), (404, 308));
    // A link that leads elsewhere, as a ConfigMap of Kubernetes changes.
    for route in ["three", "four"] {
        std::fs::write(gateway.directory.file(route), of_process(route)).unwrap();
    }
    let link = gateway.directory.file("link");
    for route in ["three", "four"] {
        std::os::unix::fs::symlink(gateway.directory.file(route), &link).unwrap();
        std::fs::rename(&link, &file).unwrap();
        gateway.says("another configuration answers new requests").await;
    }
    let idle = "sessions: { v: { keys: [ { hs256: \"a secret of thirty-two bytes or more\" } ], \
                active_in: m } }\nstores: { m: { url: \"memory:\" } }\n";
    let twin = "- { name: four, match: { path: \"/x\" }, filters: [ { session: v } ], \
                redirect: { to: \"/y\" } }\n";
    let mistaken = of_process("four") + twin + idle;
    std::fs::write(gateway.directory.file("four"), mistaken).unwrap();
    let line = gateway.says("route `four` has the name").await;
    assert!(line.contains("ERROR"), "{line}");
    let line = gateway.says("a memory store has no writer").await;
    assert!(line.contains("WARN"), "what can run is no error: {line}");
    std::fs::write(gateway.directory.file("four"), "listeners: [").unwrap();
    let line = gateway.says("so nothing was changed").await;
    assert!(line.contains("the file has changed"), "{line}");
    gateway.signal("HUP");
    let line = gateway.says("so nothing was changed").await;
    assert!(line.contains("SIGHUP"), "{line}");
    gateway.terminate();
    assert_eq!(gateway.ended().await.0, Some(0));
}

#[tokio::test]
async fn the_verb_says_what_is_wrong() {
    let gateway = Process::start(&of_process("one")).await;
    let file = gateway.directory.file("gateway.yaml");
    let reload = || async {
        let mut verb = tokio::process::Command::new(env!("CARGO_BIN_EXE_streamgate"));
        verb.args(["reload", "--admin", &format!("http://{}", gateway.admin)]);
        verb.env("STREAMGATE_ADMIN_TOKEN", TOKEN).kill_on_drop(true);
        let output = timeout(DEADLINE, verb.output()).await.expect("it ends").unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, out, said) = reload().await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["generation"], 2);
    std::fs::write(&file, of_process("one").replace("redirect", "redirekt")).unwrap();
    let (code, _, said) = reload().await;
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("redirekt") && said.contains("gateway.yaml:5"), "{said}");
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let url = format!("http://{}/one", gateway.edge);
    assert_eq!(client.request(Method::GET, url).send().await.unwrap().status(), 404);
}

/// A file that changes while the gateway stops opens nothing again.
#[tokio::test]
async fn a_gateway_that_stops_takes_no_other_configuration() {
    let origin = Origin::listen().await;
    let yaml = proxying_yaml("", &format!("endpoints: ['{}']", origin.address));
    let mut gateway = Process::start(&yaml).await;
    let mut client = RawClient::open(gateway.edge).await;
    client.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut behind = origin.accept().await;
    behind.request().await;
    gateway.terminate();
    gateway.says("listeners and the admin port are closed").await;
    let file = gateway.directory.file("gateway.yaml");
    std::fs::write(&file, yaml.replace("name: edge", "name: other")).unwrap();
    gateway.signal("HUP");
    let line = gateway.says("so nothing was changed").await;
    assert!(line.contains("SIGHUP"), "{line}");
    behind.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(gateway.ended().await.0, Some(0));
}
