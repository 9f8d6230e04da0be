//! Ending sessions from outside: one or all of an account, at every gateway, by the admin port and
//! by the command line.

use crate::harness::{DEADLINE, Gateway, Login, Redis, environment, outcome, until, with_sessions};
use crate::process::{Directory, Process};
use reqwest::Method;
use reqwest::header::COOKIE;
use serde_json::{Value, json};
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

const PATH: &str = "/live/final/master.m3u8";
const REVOKE: &str = "/api/sessions/revoke";
const TOKEN: &str = "the admin's token";

/// What is promised for every gateway.
const WITHIN: Duration = Duration::from_secs(1);

/// `STANDARD` with sessions that can be ended, and a route whose answers flow for as long as asked.
fn yaml() -> String {
    let pepper = "revocation_pepper: \"${ACCOUNT_PEPPER}\"";
    let slow = "routes:\n  - name: slow\n    match: { path: \"/faults/slow\" }\n    \
                filters: [ { session: viewers } ]\n    upstream: stream\n";
    let admin = format!("admin: {{ address: \"127.0.0.1:0\", token: \"{TOKEN}\" }}");
    with_sessions(&["active_in: shared", "absolute: 24h", pepper])
        .replace("routes:\n", slow)
        .replace("admin: { address: \"127.0.0.1:0\" }", &admin)
}

/// Gateways on one Redis that all listen to revocations.
async fn gateways<const N: usize>(redis: &Redis) -> [Gateway; N] {
    let environment = environment(Some(redis)).await;
    let gateways = std::array::from_fn(|_| Gateway::start(&yaml(), &environment));
    until("all gateways listen", || async {
        redis.ask::<usize>(&["PUBLISH", "sg:revoked", "nobody"]).await.unwrap() == N
    })
    .await;
    gateways
}

/// Writes what the auth service writes at a login.
async fn login(redis: &Redis, account: &str, session: &str) -> Login {
    let key = format!("sg:session:{session}");
    let _: () = redis.ask(&["SET", &key, "1", "EX", "600"]).await.unwrap();
    Login::of(account, session)
}

async fn play(gateway: &Gateway, login: &Login) -> (u16, String) {
    outcome(gateway.get(PATH).header(COOKIE, login.cookie())).await
}

fn ok() -> (u16, String) {
    (200, String::new())
}

fn ended() -> (u16, String) {
    (401, "session_ended".to_owned())
}

/// Plays at every gateway until each refuses, and tells how long that took.
async fn refused_everywhere(gateways: &[Gateway], login: &Login) -> Duration {
    let began = Instant::now();
    for gateway in gateways {
        until("the session is refused", || async {
            let answer = play(gateway, login).await;
            println!("{:?} after the wish: {answer:?}", began.elapsed());
            answer == ended()
        })
        .await;
    }
    began.elapsed()
}

#[tokio::test]
async fn one_session_ends_at_every_gateway_and_no_other_does() {
    let redis = Redis::start().await;
    let gateways: [Gateway; 2] = gateways(&redis).await;
    let (tv, phone) = (login(&redis, "ann", "tv").await, login(&redis, "ann", "phone").await);
    for gateway in &gateways {
        assert_eq!(play(gateway, &tv).await, ok());
        assert_eq!(play(gateway, &phone).await, ok());
    }
    let began = Instant::now();
    let (status, reply) = gateways[0].post_admin(REVOKE, TOKEN, &json!({ "session": "tv" })).await;
    assert_eq!(status, 200, "{reply}");
    let expected = json!({ "revoked": "session", "was_active": true, "stores": ["shared"] });
    assert_eq!(reply, expected);
    refused_everywhere(&gateways, &tv).await;
    let took = began.elapsed();
    println!("one session was refused at two gateways {took:?} after the wish");
    assert!(took < WITHIN, "{took:?}");
    for gateway in &gateways {
        assert_eq!(play(gateway, &phone).await, ok());
    }
    let (status, reply) = gateways[1].post_admin(REVOKE, TOKEN, &json!({ "session": "tv" })).await;
    assert_eq!((status, &reply["was_active"]), (200, &json!(false)), "twice is no error");
    let done = "streamgate_session_revocations_total{result=\"done\",store=\"shared\",\
                whose=\"session\"}";
    assert_eq!(gateways[0].metric(done).await, 1.0);
}

#[tokio::test]
async fn all_sessions_of_an_account_end_and_no_other_accounts_do() {
    let redis = Redis::start().await;
    let gateways: [Gateway; 2] = gateways(&redis).await;
    let anns = [
        login(&redis, "ann@example.com", "a1").await,
        login(&redis, "ann@example.com", "a2").await,
    ];
    let bob = login(&redis, "bob", "b1").await;
    for gateway in &gateways {
        for login in anns.iter().chain([&bob]) {
            assert_eq!(play(gateway, login).await, ok());
        }
    }
    let began = Instant::now();
    let wish = json!({ "account": "ann@example.com" });
    let (status, reply) = gateways[0].post_admin(REVOKE, TOKEN, &wish).await;
    assert_eq!((status, reply), (200, json!({ "revoked": "account", "stores": ["shared"] })));
    for login in &anns {
        refused_everywhere(&gateways, login).await;
    }
    let took = began.elapsed();
    println!("all of an account were refused at two gateways {took:?} after the wish");
    assert!(took < WITHIN, "{took:?}");
    for gateway in &gateways {
        assert_eq!(play(gateway, &bob).await, ok());
    }
    let keys: Vec<String> = redis.ask(&["KEYS", "*"]).await.unwrap();
    assert!(!keys.iter().any(|key| key.contains("ann")), "{keys:?}");
    let marks: Vec<&String> = keys.iter().filter(|key| key.starts_with("sg:revoked:")).collect();
    let left: u64 = redis.ask(&["TTL", marks[0]]).await.unwrap();
    assert!((86_000..=86_400).contains(&left) && marks.len() == 1, "{left} {marks:?}");
}

#[tokio::test]
async fn a_login_after_the_end_counts_and_a_refreshed_token_of_before_does_not() {
    let redis = Redis::start().await;
    let [gateway] = gateways(&redis).await;
    assert_eq!(play(&gateway, &login(&redis, "ann", "a1").await).await, ok());
    let (status, reply) = gateway.post_admin(REVOKE, TOKEN, &json!({ "account": "ann" })).await;
    assert_eq!(status, 200, "{reply}");
    let keys: Vec<String> = redis.ask(&["KEYS", "sg:revoked:*"]).await.unwrap();
    let at: u64 = redis.ask(&["GET", &keys[0]]).await.unwrap();

    let same_second = login(&redis, "ann", "a2").await.with("auth_time", at);
    assert_eq!(play(&gateway, &same_second).await, ended(), "in doubt it is over");
    // A new session for each try, because what was answered is remembered for seconds.
    let tries = std::sync::atomic::AtomicU32::new(0);
    until("a login of a later second counts", || async {
        let number = tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let anew = login(&redis, "ann", &format!("later-{number}")).await;
        play(&gateway, &anew).await == ok()
    })
    .await;
    // Its `iat` is new, as after a refresh; the login that it comes from is not.
    let refreshed = login(&redis, "ann", "a3").await.with("auth_time", at - 10);
    assert_eq!(play(&gateway, &refreshed).await, ended());
    let odd = login(&redis, "ann", "a4").await.with("auth_time", "yesterday");
    assert_eq!(play(&gateway, &odd).await, ended(), "when it began is not known");
}

#[tokio::test]
async fn the_end_is_never_moved_back() {
    let redis = Redis::start().await;
    let [gateway] = gateways(&redis).await;
    let wish = json!({ "account": "ann" });
    assert_eq!(gateway.post_admin(REVOKE, TOKEN, &wish).await.0, 200);
    let keys: Vec<String> = redis.ask(&["KEYS", "sg:revoked:*"]).await.unwrap();
    // As a server would have left it whose clock was ahead.
    let _: () = redis.ask(&["SET", &keys[0], "9000000000", "EX", "60"]).await.unwrap();
    assert_eq!(gateway.post_admin(REVOKE, TOKEN, &wish).await.0, 200);
    assert_eq!(redis.ask::<u64>(&["GET", &keys[0]]).await.unwrap(), 9_000_000_000);
    let _: () = redis.ask(&["SET", &keys[0], "nonsense", "EX", "60"]).await.unwrap();
    let anew = login(&redis, "ann", "a").await;
    assert_eq!(play(&gateway, &anew).await, ended(), "what can't be read ends all");
}

#[tokio::test]
async fn nothing_more_is_asked_while_nobody_is_revoked() {
    let redis = Redis::start().await;
    let [gateway] = gateways(&redis).await;
    let ann = login(&redis, "ann", "a1").await;
    assert_eq!(play(&gateway, &ann).await, ok());
    let before = redis.commands().await;
    for _ in 0..50 {
        assert_eq!(play(&gateway, &ann).await, ok());
    }
    assert!(redis.commands().await - before < 25);
}

#[tokio::test]
async fn a_long_answer_is_cut_when_its_session_ends() {
    let redis = Redis::start().await;
    let gateways: [Gateway; 2] = gateways(&redis).await;
    let ann = login(&redis, "ann", "a1").await;
    let slow = "/faults/slow?bytes=60000000&chunk_bytes=1000&chunk_ms=100&chunked=true";
    let request = gateways[1].get(slow).header(COOKIE, ann.cookie()).timeout(DEADLINE * 3);
    let mut answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.chunk().await.unwrap().is_some());
    let (status, reply) = gateways[0].post_admin(REVOKE, TOKEN, &json!({ "account": "ann" })).await;
    assert_eq!(status, 200, "{reply}");
    // Counted in what its upstream sends, a thousand bytes in 100 ms: a machine that is busy holds
    // that up, too.
    let mut bytes = 0;
    while let Ok(Some(chunk)) = answer.chunk().await {
        bytes += chunk.len();
    }
    println!("a long answer was cut after {bytes} more bytes");
    assert!(bytes < 150_000, "within 15 s: {bytes}");
}

#[tokio::test]
async fn a_wish_needs_the_token_and_sense() {
    let gateway = Gateway::start(&yaml(), &environment(None).await);
    let one = json!({ "session": "s" });
    let url = format!("http://{}{REVOKE}", gateway.admin);
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let bare = client.post(&url).json(&one).send().await.unwrap();
    assert_eq!(bare.status(), 401, "reading is open here, changing is not");
    assert_eq!(gateway.post_admin(REVOKE, "another token", &one).await.0, 401);
    assert_eq!(gateway.admin(REVOKE).await.status(), 405);
    let put = client.request(Method::PUT, &url).bearer_auth(TOKEN).json(&one).send().await.unwrap();
    assert_eq!(put.status(), 405);
    for wish in [
        json!({}),
        json!([]),
        json!({ "session": "s", "account": "a" }),
        json!({ "session": "" }),
        json!({ "session": "x".repeat(129) }),
        json!({ "session": "a\nb" }),
        json!({ "account": "x".repeat(257) }),
        json!({ "session": "s", "all": true }),
        json!({ "session": 5 }),
    ] {
        let (status, reply) = gateway.post_admin(REVOKE, TOKEN, &wish).await;
        assert_eq!(status, 400, "{wish}: {reply}");
        assert!(reply["error"].is_string(), "{reply}");
    }
    let (status, reply) =
        gateway.post_admin(REVOKE, TOKEN, &json!({ "session": "x".repeat(9_000) })).await;
    assert_eq!(status, 413, "{reply}");
    let other = json!({ "session": "s", "sessions": "staff" });
    let (status, reply) = gateway.post_admin(REVOKE, TOKEN, &other).await;
    assert_eq!(status, 404);
    assert!(reply.to_string().contains("viewers"), "{reply}");
    let named = json!({ "session": "s", "sessions": "viewers" });
    assert_eq!(gateway.post_admin(REVOKE, TOKEN, &named).await.0, 200);
}

#[tokio::test]
async fn what_is_not_set_up_is_refused_and_nothing_is_done() {
    let line = "    revocation_pepper: \"${ACCOUNT_PEPPER}\"\n";
    let peppers = yaml().replace(line, "");
    let gateway = Gateway::start(&peppers, &environment(None).await);
    let (status, reply) = gateway.post_admin(REVOKE, TOKEN, &json!({ "account": "ann" })).await;
    assert_eq!(status, 409);
    assert!(reply.to_string().contains("nothing was done"), "{reply}");
    assert_eq!(gateway.post_admin(REVOKE, TOKEN, &json!({ "session": "s" })).await.0, 200);
    let tokens_only = peppers.replace("    active_in: shared\n", "");
    let gateway = Gateway::start(&tokens_only, &environment(None).await);
    assert_eq!(gateway.post_admin(REVOKE, TOKEN, &json!({ "session": "s" })).await.0, 409);
    let no_token = peppers.replace(&format!(", token: \"{TOKEN}\""), "");
    let gateway = Gateway::start(&no_token, &environment(None).await);
    let (status, reply) = gateway.post_admin(REVOKE, TOKEN, &json!({ "session": "s" })).await;
    assert_eq!(status, 401);
    assert!(reply.to_string().contains("admin.token"), "{reply}");
}

#[tokio::test]
async fn a_store_that_is_gone_does_nothing_and_says_so() {
    let redis = Redis::start().await;
    let [gateway] = gateways(&redis).await;
    redis.kill();
    for wish in [json!({ "account": "ann" }), json!({ "session": "s" })] {
        let (status, reply) = gateway.post_admin(REVOKE, TOKEN, &wish).await;
        assert_eq!(status, 503, "{reply}");
        let reply = reply.to_string();
        assert!(reply.contains("nothing was done") && reply.contains("shared"), "{reply}");
        assert!(!reply.contains("ann"), "{reply}");
    }
}

/// `streamgate revoke` with these arguments, and `input` to read.
async fn run(arguments: &[&str], variables: &[(&str, &str)], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_streamgate"));
    command.arg("revoke").args(arguments).env_clear().envs(variables.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // One that reads nothing may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap()
}

fn said(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8(output.stderr.clone()).unwrap())
}

#[tokio::test]
async fn the_command_line_ends_sessions() {
    let redis = Redis::start().await;
    let gateways: [Gateway; 2] = gateways(&redis).await;
    let admin = format!("http://{}", gateways[0].admin);
    let token = [("STREAMGATE_ADMIN_TOKEN", TOKEN)];
    let (one, all) = (login(&redis, "ann", "a1").await, login(&redis, "bob", "b1").await);
    assert_eq!(play(&gateways[1], &one).await, ok());
    assert_eq!(play(&gateways[1], &all).await, ok());

    let output = run(&["--session", "a1", "--admin", &admin], &token, "").await;
    assert_eq!(said(&output).0, Some(0), "{:?}", said(&output));
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed["was_active"], json!(true));
    refused_everywhere(&gateways, &one).await;

    let folder = Directory::new();
    let file = folder.file("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let with_file = ["--account", "-", "--admin", &admin, "--token-file", file.to_str().unwrap()];
    let output = run(&with_file, &[], "bob\n").await;
    assert_eq!(said(&output).0, Some(0), "{:?}", said(&output));
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed, json!({ "revoked": "account", "stores": ["shared"] }));
    refused_everywhere(&gateways, &all).await;
}

/// Arguments, variables, how it ends and what it says.
type Failing<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], Option<i32>, &'a str);

#[tokio::test]
async fn the_command_line_says_why_it_failed() {
    let gateway = Gateway::start(&yaml(), &environment(None).await);
    let admin = format!("http://{}", gateway.admin);
    let one = ["--session", "s", "--admin", admin.as_str()];
    let token = [("STREAMGATE_ADMIN_TOKEN", TOKEN)];
    let gone = "http://127.0.0.1:1";
    let (usage, failed, config) = (Some(64), Some(1), Some(78));
    let wrong = [("STREAMGATE_ADMIN_TOKEN", "wrong")];
    let cases: [Failing<'_>; 9] = [
        (&one, &wrong, failed, "admin.token"),
        (&["--session", "s", "--admin", gone], &token, failed, "cannot be reached"),
        (&["--session", "s", "--sessions", "staff", "--admin", &admin], &token, failed, "viewers"),
        (&["--session", "s", "--admin", "ftp://x"], &token, usage, "https: and http:"),
        (&["--admin", &admin], &token, usage, "--session"),
        (&["--session", "s", "--account", "a"], &token, usage, "cannot be used with"),
        (&["--session", "s", "--config", "/nowhere.yaml"], &token, config, "nowhere.yaml"),
        (&["--session", "s", "--token-file", "/nowhere"], &token, failed, "/nowhere"),
        (&["--session", "", "--admin", &admin], &token, failed, "no session has such an id"),
    ];
    for (arguments, variables, code, words) in cases {
        let output = run(arguments, variables, "").await;
        let (ended, reply) = said(&output);
        assert_eq!(ended, code, "{arguments:?}: {reply}");
        assert!(reply.contains(words), "{arguments:?}: {reply}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert!(!reply.contains(TOKEN) && !reply.contains("wrong"), "{reply}");
    }
}

#[tokio::test]
async fn a_log_tells_that_sessions_ended_and_never_whose() {
    let literal = [
        ("${REDIS_URL:-memory:}", "memory:"),
        ("${SESSION_SECRET}", crate::harness::SECRET),
        ("${ACCOUNT_PEPPER}", "a pepper of thirty-two bytes or more"),
        ("${STREAM_ADDR}", "127.0.0.1:1"),
    ];
    let fill = |text: String, (name, value): &(&str, &str)| text.replace(name, value);
    let yaml = literal.iter().fold(yaml(), fill);
    let gateway = Process::start(&yaml).await;
    // Where the port is and what opens it, the configuration says.
    let folder = Directory::new();
    let file = folder.file("gateway.yaml");
    let address = format!("admin: {{ address: \"{}\"", gateway.admin);
    std::fs::write(&file, yaml.replace("admin: { address: \"127.0.0.1:0\"", &address)).unwrap();
    let arguments = ["--account", "ann@example.com", "--config", file.to_str().unwrap()];
    let output = run(&arguments, &[], "").await;
    assert_eq!(said(&output).0, Some(0), "{:?}", said(&output));
    let words = format!("{}{}", said(&output).1, String::from_utf8_lossy(&output.stdout));
    gateway.terminate();
    let (code, log) = gateway.ended().await;
    assert_eq!(code, Some(0));
    assert!(log.contains("sessions were revoked"), "{log}");
    for secret in ["ann@example.com", TOKEN, "thirty-two bytes"] {
        assert!(!log.contains(secret) && !words.contains(secret), "{secret}: {log} {words}");
    }
}

/// Leads to a Redis, and cuts the connection on which the first `DEL` came when it is done there:
/// whoever sent it never gets the answer.
async fn cut_at_the_first_del(redis: &Redis) -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, port) = (socket.local_addr().unwrap(), redis.port());
    let is_cut = Arc::new(AtomicBool::new(false));
    tokio::spawn(async move {
        while let Ok((client, _)) = socket.accept().await {
            tokio::spawn(carry(client, port, Arc::clone(&is_cut)));
        }
    });
    address
}

async fn carry(mut client: TcpStream, port: u16, is_cut: Arc<AtomicBool>) {
    let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut asked, mut said) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(n @ 1..) = read else { return };
                server.write_all(&asked[..n]).await.unwrap();
                let is_del = asked[..n].windows(5).any(|part| part == b"DEL\r\n");
                if is_del && !is_cut.swap(true, Ordering::SeqCst) {
                    assert_ne!(server.read(&mut said).await.unwrap(), 0);
                    return;
                }
            }
            read = server.read(&mut said) => {
                let Ok(n @ 1..) = read else { return };
                if client.write_all(&said[..n]).await.is_err() {
                    return;
                }
            }
        }
    }
}

#[tokio::test]
async fn a_session_that_a_cut_connection_ended_was_active() {
    let redis = Redis::start().await;
    let relay = cut_at_the_first_del(&redis).await;
    let environment = environment(Some(&redis)).await.with("REDIS_URL", format!("redis://{relay}"));
    let gateway = Gateway::start(&yaml(), &environment);
    let tv = login(&redis, "ann", "tv").await;
    assert_eq!(play(&gateway, &tv).await, ok());
    let wish = json!({ "session": "tv" });
    let (status, reply) = gateway.post_admin(REVOKE, TOKEN, &wish).await;
    assert_eq!((status, &reply["was_active"]), (200, &json!(true)), "{reply}");
    assert_eq!(redis.ask::<u64>(&["EXISTS", "sg:session:tv"]).await.unwrap(), 0);
    let (status, reply) = gateway.post_admin(REVOKE, TOKEN, &wish).await;
    assert_eq!((status, &reply["was_active"]), (200, &json!(false)), "{reply}");
}
