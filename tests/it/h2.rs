//! HTTP/2 to clients, with a real client: what is the same as over HTTP/1, request beside request,
//! and how a connection ends.

use crate::access::Logged;
use crate::authority::{Authority, connect};
use crate::h2_client::{Http2Client, get, head, whole};
use crate::harness::{Gateway, Login, STANDARD, environment, until};
use crate::origin::{Origin, proxying_with, proxying_yaml, replica};
use crate::process::{Directory, Process};
use crate::reload::Reloadable;
use bytes::Bytes;
use http::{Request, header};
use rustls::version::{TLS12, TLS13};
use serde_json::json;
use streamgate::yaml::Environment;

/// A listener without TLS that takes HTTP/2 by prior knowledge.
const H2C: &str = ", http2: true";

async fn to(origin: &Origin) -> Gateway {
    proxying_with(H2C, &format!("endpoints: ['{}']", origin.address))
}

#[tokio::test]
async fn the_handshake_agrees_on_the_protocol() {
    let both: &[&[u8]] = &[b"h2", b"http/1.1"];
    for (listener, offered, agreed, told) in [
        ("", both, Some(&b"h2"[..]), "HTTP/2"),
        (", http2: true", both, Some(b"h2"), "HTTP/2"),
        (", http2: { streams: 10 }", &both[..1], Some(b"h2"), "HTTP/2"),
        (", http2: false", both, Some(b"http/1.1"), "HTTP/1.1"),
        ("", &both[1..], Some(b"http/1.1"), "HTTP/1.1"),
        ("", &[], None, "HTTP/1.1"),
    ] {
        for version in [&TLS12, &TLS13] {
            let (authority, directory) = (Authority::new("Test Root"), Directory::new());
            let shown = authority.issue(&["tv.example"]).write(&directory, "tv");
            let fields = format!("{listener}, tls: {{ certificates: [{shown}] }}");
            let upstream = format!("endpoints: [\"{}\"]", replica("one").await);
            let yaml = proxying_yaml(&fields, &upstream);
            let logged = Logged::start_with(&yaml, &Environment::default());
            let mut client = authority.client(&[version]);
            client.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
            let mut stream = connect(logged.gateway.edge, client, "tv.example").await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), agreed, "{listener} {offered:?}");
            if agreed == Some(b"h2") {
                let answer = Http2Client::over(stream).await.get("/faults/status/204").await;
                assert_eq!(answer.status, 204);
            } else {
                let ask = "GET /faults/status/204 HTTP/1.1\r\nHost: tv.example\r\n\r\n";
                let head = crate::authority::ask(&mut stream, ask).await;
                assert!(head.starts_with("HTTP/1.1 204"), "{head}");
            }
            let line = logged.lines(1).await.remove(0);
            assert_eq!(line["protocol"], told, "{line}");
            assert_eq!(line["sni"], "tv.example", "{line}");
            assert_eq!(line["tls"], if *version == TLS12 { "1.2" } else { "1.3" }, "{line}");
        }
    }
}

#[tokio::test]
async fn without_tls_both_protocols_are_taken_where_the_operator_says_so() {
    let origin = replica("one").await;
    let gateway = proxying_with(H2C, &format!("endpoints: ['{origin}']"));
    assert_eq!(Http2Client::open(gateway.edge).await.get("/faults/status/204").await.status, 204);
    for method in ["GET", "POST", "PROPFIND", "PRI"] {
        let path = "/faults/status/204";
        let method = method.parse().unwrap();
        let answer = gateway.request(method, path).send().await.unwrap();
        assert!([204, 405].contains(&answer.status().as_u16()), "{}", answer.status());
    }
    gateway.counts("streamgate_http2_requests_total{listener=\"edge\"}", 1.0).await;
    let plain = proxying_with("", &format!("endpoints: ['{origin}']"));
    let stream = tokio::net::TcpStream::connect(plain.edge).await.unwrap();
    let client = h2::client::Builder::new().handshake::<_, Bytes>(stream).await;
    let (_requests, connection) = client.unwrap();
    assert!(connection.await.is_err(), "it is not spoken where nobody has allowed it");
}

#[tokio::test]
async fn an_upstream_gets_the_request_that_it_would_get_over_http_1() {
    let origin = Origin::listen().await;
    let gateway = to(&origin).await;
    let mut client = Http2Client::open(gateway.edge).await;
    let request = Request::get("https://tv.example/a/../b?x=%22{1}|")
        .header(header::COOKIE, "a=1")
        .header(header::COOKIE, "b=2")
        .header("x-forwarded-for", "192.0.2.1")
        .header(header::TE, "trailers");
    let (answer, _) = client.send(request.body(()).unwrap(), true).await;
    let sent = origin.answer_once(
        "HTTP/1.1 200 OK\r\nConnection: close, x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
         Content-Length: 2\r\n\r\nok",
    );
    let sent = sent.await.to_lowercase();
    assert!(sent.starts_with("get /b?x=%22{1}| http/1.1\r\n"), "{sent}");
    for field in ["host: tv.example", "cookie: a=1; b=2", "x-forwarded-for: 127.0.0.1"] {
        assert!(sent.contains(&format!("\r\n{field}\r\n")), "{field}: {sent}");
    }
    for field in ["transfer-encoding", "te:", ":authority", "content-length", "upgrade"] {
        assert!(!sent.contains(field), "{field}: {sent}");
    }
    let answer = whole(answer).await.unwrap();
    assert_eq!((answer.status, &answer.body[..]), (200, &b"ok"[..]));
    assert!(answer.fields.contains_key("date"));
    for name in ["connection", "keep-alive", "x-hop", "transfer-encoding"] {
        assert!(!answer.fields.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn a_body_goes_up_with_its_length_or_in_chunks() {
    for (length, framed) in [(Some(11), "content-length: 11"), (None, "transfer-encoding: chunked")]
    {
        let origin = Origin::listen().await;
        let gateway = to(&origin).await;
        let mut client = Http2Client::open(gateway.edge).await;
        let mut request = Request::post("https://tv.example/up");
        if let Some(length) = length {
            request = request.header(header::CONTENT_LENGTH, length);
        }
        let (answer, mut body) = client.send(request.body(()).unwrap(), false).await;
        body.send_data("hello ".into(), false).unwrap();
        let mut upstream = origin.accept().await;
        let head = upstream.request().await.to_lowercase();
        assert!(head.contains(framed), "{head}");
        body.send_data("world".into(), true).unwrap();
        let came = match length {
            Some(_) => upstream.bytes(11).await,
            None => upstream.bytes(26).await,
        };
        let came = String::from_utf8(came).unwrap();
        assert_eq!(came.replace("\r\n", "").replace(['5', '6', '0'], ""), "hello world");
        upstream.say("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(whole(answer).await.unwrap().status, 204);
    }
}

#[tokio::test]
async fn requests_are_answered_side_by_side_and_none_waits_for_another() {
    let origin = Origin::listen().await;
    let gateway = to(&origin).await;
    let mut client = Http2Client::open(gateway.edge).await;
    let (slow, _) = client.send(get("/slow"), true).await;
    let mut held = origin.accept().await;
    held.request().await;
    for number in 0..20 {
        let (quick, _) = client.send(get("/quick"), true).await;
        let said = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n";
        let said = format!("{said}{number:02}");
        let (answer, _) = tokio::join!(whole(quick), origin.answer_once(&said));
        assert_eq!(answer.unwrap().body, format!("{number:02}"));
    }
    held.say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow").await;
    assert_eq!(whole(slow).await.unwrap().body, "slow");
    let open = gateway.metric("streamgate_connections{listener=\"edge\"}").await;
    assert_eq!(open, 1.0, "all on one connection");
}

#[tokio::test]
async fn trailers_and_interim_answers_pass() {
    let upstream = grpc_like().await;
    let gateway = proxying_with(H2C, &format!("endpoints: ['{upstream}'], protocol: h2c"));
    let mut client = Http2Client::open(gateway.edge).await;
    let request = Request::post("https://tv.example/package.Service/Method")
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers");
    let (answer, mut body) = client.send(request.body(()).unwrap(), false).await;
    body.send_data("asked".into(), true).unwrap();
    let answer = whole(answer).await.unwrap();
    assert_eq!((answer.status, &answer.body[..]), (200, &b"asked"[..]));
    assert_eq!(answer.fields["te-told"], "trailers", "gRPC insists on it");
    assert_eq!(answer.trailers.expect("trailers")["grpc-status"], "0");

    let origin = Origin::listen().await;
    let gateway = to(&origin).await;
    let mut client = Http2Client::open(gateway.edge).await;
    let (mut answer, _) = client.send(get("/hinted"), true).await;
    let hinted = "HTTP/1.1 103 Early Hints\r\nLink: </a.js>\r\n\r\n\
                  HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let interim = std::future::poll_fn(|task| answer.poll_informational(task));
    let (interim, _) = tokio::join!(interim, origin.answer_once(hinted));
    let interim = interim.expect("an interim answer").unwrap();
    assert_eq!(
        (interim.status().as_u16(), &interim.headers()["link"]),
        (103, &"</a.js>".parse().unwrap())
    );
    assert_eq!(whole(answer).await.unwrap().status, 200);
}

/// An upstream that answers with what it was asked, and ends as gRPC does.
async fn grpc_like() -> std::net::SocketAddr {
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = socket.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((request, mut answer))) = connection.accept().await {
            tokio::spawn(async move {
                let te = request.headers()[header::TE].clone();
                let head = http::Response::builder().header("te-told", te).body(()).unwrap();
                let mut sending = answer.send_response(head, false).unwrap();
                let mut body = request.into_body();
                while let Some(Ok(piece)) = body.data().await {
                    sending.send_data(piece, false).unwrap();
                }
                let mut trailers = http::HeaderMap::new();
                trailers.insert("grpc-status", "0".parse().unwrap());
                sending.send_trailers(trailers).unwrap();
            });
        }
    });
    address
}

#[tokio::test]
async fn a_stream_plays_with_its_session_and_its_slot() {
    let yaml =
        STANDARD.replace("\"127.0.0.1:0\" }\nadmin", "\"127.0.0.1:0\", http2: true }\nadmin");
    let logged = Logged::start_with(&yaml, &environment(None).await);
    let mut client = Http2Client::open(logged.gateway.edge).await;
    let mut play = async |name: &str, cookie: Option<String>| {
        let path = format!("https://tv.example/live/{name}/master.m3u8");
        let mut request = Request::get(path);
        if let Some(cookie) = cookie {
            request = request.header(header::COOKIE, cookie);
        }
        let (answer, _) = client.send(request.body(()).unwrap(), true).await;
        whole(answer).await.unwrap()
    };
    let refused = play("final", None).await;
    assert_eq!((refused.status, refused.code().as_str()), (401, "session_missing"));
    assert_eq!(refused.fields[header::CONTENT_TYPE], "application/problem+json");
    for number in 0..3 {
        let login = Login::of("ann", &format!("s-{number}"));
        assert_eq!(play("final", Some(login.cookie())).await.status, 200);
    }
    let full = play("final", Some(Login::of("ann", "s-9").cookie())).await;
    assert_eq!((full.status, full.code().as_str()), (409, "concurrency_limit"));
    let lines = logged.lines(5).await;
    assert_eq!(lines[0]["code"], "session_missing");
    assert_eq!(
        (&lines[1]["decision"], &lines[1]["protocol"]),
        (&json!("admitted"), &json!("HTTP/2"))
    );
    let series =
        "streamgate_requests_total{code=\"200\",listener=\"edge\",method=\"GET\",route=\"live\"}";
    logged.gateway.counts(series, 3.0).await;
}

#[tokio::test]
async fn a_client_that_breaks_a_request_off_takes_the_upstreams_request_with_it() {
    let origin = Origin::listen().await;
    let gateway = to(&origin).await;
    let mut client = Http2Client::open(gateway.edge).await;
    let (answer, mut asked) = client.send(get("/long"), true).await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    asked.send_reset(h2::Reason::CANCEL);
    drop(answer);
    assert_eq!(upstream.rest().await, b"", "its connection is closed");
    until("nothing is under way", || async {
        gateway.metric("streamgate_requests_in_flight").await == 0.0
    })
    .await;
    let reset =
        "streamgate_http2_streams_reset_total{by=\"client\",listener=\"edge\",reason=\"cancel\"}";
    gateway.counts(reset, 1.0).await;
    let (other, _) = client.send(get("/other"), true).await;
    let sent = origin.answer_once("HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(tokio::join!(whole(other), sent).0.unwrap().status, 204, "its sisters go on");
}

#[tokio::test]
async fn an_answer_that_breaks_is_never_taken_for_a_whole_one() {
    let origin = Origin::listen().await;
    let gateway = to(&origin).await;
    let mut client = Http2Client::open(gateway.edge).await;
    for broken in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ] {
        let (answer, _) = client.send(get("/broken"), true).await;
        let (answer, _) = tokio::join!(whole(answer), origin.answer_once(broken));
        let reason = answer.expect_err("it is broken").reason();
        assert_eq!(reason, Some(h2::Reason::INTERNAL_ERROR));
    }
    for (broken, status, code) in [
        ("", 502, "upstream_invalid"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: x\r\n\r\n", 502, "upstream_invalid"),
        ("HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", 502, "upstream_invalid"),
    ] {
        let (answer, _) = client.send(get("/broken"), true).await;
        let (answer, _) = tokio::join!(whole(answer), origin.answer_once(broken));
        let answer = answer.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{broken:?}");
    }
}

#[tokio::test]
async fn a_drain_says_goodbye_and_ends_what_is_under_way() {
    let origin = Origin::listen().await;
    let process =
        Process::start(&proxying_yaml(H2C, &format!("endpoints: ['{}']", origin.address))).await;
    let mut idle = Http2Client::open(process.edge).await;
    let (first, _) = idle.send(get("/a"), true).await;
    let sent = origin.answer_once("HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(tokio::join!(whole(first), sent).0.unwrap().status, 204);
    let mut busy = Http2Client::open(process.edge).await;
    let (answer, _) = busy.send(get("/download"), true).await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    upstream.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
    let mut body = head(answer).await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "hello");
    process.terminate();
    idle.ended().await.expect("a gentle end");
    upstream.say("5\r\nworld\r\n0\r\n\r\n").await;
    let mut rest = Vec::new();
    while let Some(piece) = body.data().await {
        rest.extend_from_slice(&piece.unwrap());
    }
    assert_eq!(rest, b"world", "the whole answer");
    busy.ended().await.expect("a gentle end");
    let (code, said) = process.ended().await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.lines().last().unwrap().contains("every request was answered"), "{said}");
}

#[tokio::test]
async fn a_request_sees_one_configuration_and_a_listener_that_changes_says_goodbye() {
    let origin = Origin::listen().await;
    let yaml = proxying_yaml(H2C, &format!("endpoints: ['{}']", origin.address));
    let all = Reloadable::start(&yaml, &Environment::default());
    let mut client = Http2Client::open(all.gateway.edge).await;
    let (before, _) = client.send(get("/before"), true).await;
    let mut held = origin.accept().await;
    held.request().await;
    assert_eq!(all.replace("path: \"/{*rest}\"", "path: \"/only/{*rest}\"").await.0, 200);
    assert_eq!(client.get("/before").await.code(), "route_not_found", "the same connection");
    held.say("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold").await;
    assert_eq!(whole(before).await.unwrap().body, "old");

    let (under_way, _) = client.send(get("/only/a"), true).await;
    held.request().await;
    let (code, said) = all.replace("http2: true", "http2: { streams: 5 }").await;
    assert_eq!(code, 200, "{said}");
    let mut next = Http2Client::open(all.gateway.edge).await;
    assert_eq!(next.get("/other").await.code(), "route_not_found", "it listens on");
    held.say("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold").await;
    assert_eq!(whole(under_way).await.unwrap().body, "old");
    client.ended().await.expect("a gentle end");
    assert_eq!(next.get("/other").await.status, 404, "the new one goes on");
    let (_, _) = all.replace("http2: { streams: 5 }", "http2: false").await;
    next.ended().await.expect("a gentle end");
    let ended = "streamgate_http2_connections_ended_total{how=\"stopping\",listener=\"edge\"}";
    all.gateway.counts(ended, 2.0).await;
}
