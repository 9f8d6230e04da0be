//! Hostile requests over HTTP/2, one table: what each says, and what becomes of it. None that is
//! refused gets a byte to the upstream, and its sister on the same connection is answered.

use crate::h2_client::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, Outcome, PING, PRIORITY, PUSH_PROMISE,
    RST_STREAM, RawHttp2, SETTINGS, SOUND, WINDOW_UPDATE, block, frame, request,
};
use crate::harness::Gateway;
use crate::origin::{proxying_with, replica};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::net::{TcpListener, TcpStream};

type Field = (&'static str, &'static [u8]);

/// A relay before an upstream that counts the connections to it.
async fn counted(to: SocketAddr) -> (SocketAddr, Arc<AtomicU32>) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, count) = (socket.local_addr().unwrap(), Arc::new(AtomicU32::new(0)));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = socket.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let mut server = TcpStream::connect(to).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (address, count)
}

/// A gateway whose upstream is told of each connection.
async fn watched() -> (Gateway, Arc<AtomicU32>) {
    let (upstream, count) = counted(replica("one").await).await;
    (proxying_with(", http2: true", &format!("endpoints: ['{upstream}']")), count)
}

/// `SOUND` with these in the place of fields of the same name, and others behind.
fn with(changed: &[Field]) -> Vec<Field> {
    let mut fields = SOUND.to_vec();
    for (name, value) in changed {
        match fields.iter_mut().find(|(known, _)| known == name) {
            Some(known) => known.1 = value,
            None => fields.push((name, value)),
        }
    }
    fields
}

fn without(name: &str) -> Vec<Field> {
    SOUND.into_iter().filter(|(known, _)| *known != name).collect()
}

/// `SOUND` with `field` at this place.
fn inserted(at: usize, field: Field) -> Vec<Field> {
    let mut fields = SOUND.to_vec();
    fields.insert(at, field);
    fields
}

const PROTOCOL_ERROR: Outcome = Outcome::Reset(1);

fn answer(code: &str) -> Outcome {
    Outcome::Answer(code.to_owned())
}

/// What a head is, and what becomes of it.
fn heads() -> Vec<(&'static str, Vec<Field>, Outcome)> {
    let malformed = || answer("request_malformed");
    let (passes, reset) = (|| answer(""), || PROTOCOL_ERROR);
    // The library takes bytes that no name and no value may hold for broken compression.
    let ends = || Outcome::GoAway(1);
    vec![
        ("a sound one", with(&[]), passes()),
        (
            "a host without an authority",
            { [without(":authority"), vec![("host", &b"tv.example"[..])]].concat() },
            passes(),
        ),
        ("a host that says the same", with(&[("host", b"tv.example")]), passes()),
        ("a host in other letters", with(&[("host", b"TV.example")]), passes()),
        ("te: trailers", with(&[("te", b"trailers")]), passes()),
        ("an empty value", with(&[("x", b"")]), passes()),
        ("bytes beyond ASCII", with(&[("x", b"\xc3\xa9\xff")]), passes()),
        ("a tab within a value", with(&[("x", b"a\tb")]), passes()),
        ("a length of nothing", with(&[("content-length", b"0")]), passes()),
        (
            "cookies in crumbs",
            with(&[("cookie", b"a=1"), ("cookie ", b"")])[..5].to_vec(),
            passes(),
        ),
        ("https on a plain connection", with(&[(":scheme", b"https")]), passes()),
        ("OPTIONS", with(&[(":method", b"OPTIONS")]), passes()),
        // Fields of a connection (RFC 9113 §8.2.2).
        ("connection", with(&[("connection", b"close")]), reset()),
        ("connection that names another", with(&[("connection", b"x-user")]), reset()),
        ("keep-alive", with(&[("keep-alive", b"timeout=5")]), reset()),
        ("proxy-connection", with(&[("proxy-connection", b"keep-alive")]), reset()),
        ("transfer-encoding", with(&[("transfer-encoding", b"chunked")]), reset()),
        ("transfer-encoding: identity", with(&[("transfer-encoding", b"identity")]), reset()),
        ("upgrade", with(&[("upgrade", b"websocket")]), reset()),
        ("upgrade: h2c", with(&[("upgrade", b"h2c")]), reset()),
        ("te: gzip", with(&[("te", b"gzip")]), reset()),
        ("te: trailers, gzip", with(&[("te", b"trailers, gzip")]), reset()),
        // Names and values (RFC 9113 §8.2.1).
        ("a name in upper case", with(&[("X-User", b"1")]), ends()),
        ("a name with one upper letter", with(&[("x-useR", b"1")]), ends()),
        ("a space in a name", with(&[("x user", b"1")]), ends()),
        ("a colon in a name", with(&[("x:y", b"1")]), ends()),
        ("a line break in a name", with(&[("x\r\ny", b"1")]), ends()),
        ("NUL in a name", with(&[("x\0", b"1")]), ends()),
        ("an empty name", with(&[("", b"1")]), ends()),
        ("CRLF in a value", with(&[("x", b"1\r\nx-user: root")]), ends()),
        ("LF in a value", with(&[("x", b"1\nx-user: root")]), ends()),
        ("CR in a value", with(&[("x", b"1\rx-user: root")]), ends()),
        (
            "a whole request in a value",
            { with(&[("x", b"1\r\n\r\nGET /admin HTTP/1.1\r\nHost: a\r\n\r\n")]) },
            ends(),
        ),
        ("NUL in a value", with(&[("x", b"1\x002")]), ends()),
        ("DEL in a value", with(&[("x", b"1\x7f")]), ends()),
        ("ESC in a value", with(&[("x", b"\x1b[2J")]), ends()),
        ("a space before a value", with(&[("x", b" 1")]), malformed()),
        ("a space behind a value", with(&[("x", b"1 ")]), malformed()),
        ("a tab before a value", with(&[("x", b"\t1")]), malformed()),
        ("a tab behind a value", with(&[("x", b"1\t")]), malformed()),
        ("a space as the value", with(&[("x", b" ")]), malformed()),
        // Pseudo-fields (RFC 9113 §8.3).
        ("no method", without(":method"), reset()),
        ("no scheme", without(":scheme"), reset()),
        ("no path", without(":path"), reset()),
        ("neither authority nor host", without(":authority"), malformed()),
        ("two methods", inserted(1, (":method", b"POST")), reset()),
        ("two schemes", inserted(2, (":scheme", b"https")), reset()),
        ("two authorities", inserted(3, (":authority", b"other.example")), reset()),
        ("two paths", inserted(4, (":path", b"/admin")), reset()),
        ("a status", inserted(4, (":status", b"200")), reset()),
        ("an unknown one", inserted(4, (":x", b"1")), ends()),
        (
            "an authority behind fields",
            { [without(":authority"), vec![("x", b"1"), (":authority", b"tv.example")]].concat() },
            reset(),
        ),
        (
            "a path behind fields",
            { [without(":path"), vec![("x", b"1"), (":path", b"/admin")]].concat() },
            reset(),
        ),
        ("a protocol without CONNECT", inserted(4, (":protocol", b"websocket")), reset()),
        ("a method in upper case with a space", with(&[(":method", b"GET /admin")]), ends()),
        ("a method with a line break", with(&[(":method", b"GET\r\nx: y")]), ends()),
        ("an empty method", with(&[(":method", b"")]), ends()),
        ("a scheme of another protocol", with(&[(":scheme", b"ftp")]), malformed()),
        ("a scheme with a line break", with(&[(":scheme", b"http\r\n")]), reset()),
        ("a scheme that is an address", with(&[(":scheme", b"http://a/?x=")]), reset()),
        ("an empty scheme", with(&[(":scheme", b"")]), malformed()),
        // Paths.
        ("an empty path", with(&[(":path", b"")]), reset()),
        ("a path without its slash", with(&[(":path", b"faults/status/204")]), reset()),
        ("a whole address", with(&[(":path", b"http://other.example/")]), reset()),
        ("an asterisk", with(&[(":path", b"*")]), malformed()),
        ("a space in the path", with(&[(":path", b"/a b")]), reset()),
        ("a version in the path", with(&[(":path", b"/a HTTP/1.1")]), reset()),
        ("CRLF in the path", with(&[(":path", b"/a\r\nx-user: root")]), reset()),
        ("LF in the path", with(&[(":path", b"/a\nx")]), reset()),
        ("a tab in the path", with(&[(":path", b"/a\tb")]), reset()),
        ("NUL in the path", with(&[(":path", b"/a\0")]), reset()),
        ("a backslash in the path", with(&[(":path", b"/\\..\\admin")]), malformed()),
        ("a slash that is encoded", with(&[(":path", b"/a%2fb")]), malformed()),
        ("NUL that is encoded", with(&[(":path", b"/a%00b")]), malformed()),
        ("dots that are encoded twice", with(&[(":path", b"/a/%252e%252e/admin")]), malformed()),
        ("half an escape", with(&[(":path", b"/a%2")]), malformed()),
        // The host (RFC 9113 §8.3.1).
        ("a host that differs", with(&[("host", b"other.example")]), malformed()),
        ("a host with another port", with(&[("host", b"tv.example:8080")]), malformed()),
        ("an empty host beside an authority", with(&[("host", b"")]), malformed()),
        (
            "two hosts",
            {
                let hosts: [Field; 2] = [("host", b"tv.example"), ("host", b"other.example")];
                [without(":authority"), hosts.to_vec()].concat()
            },
            malformed(),
        ),
        (
            "two hosts that are equal",
            {
                let hosts: [Field; 2] = [("host", b"tv.example"), ("host", b"tv.example")];
                [without(":authority"), hosts.to_vec()].concat()
            },
            malformed(),
        ),
        ("a user in the authority", with(&[(":authority", b"root@tv.example")]), malformed()),
        ("a path in the authority", with(&[(":authority", b"tv.example/a")]), reset()),
        ("a query in the authority", with(&[(":authority", b"tv.example?a")]), reset()),
        ("a space in the authority", with(&[(":authority", b"tv.example a")]), reset()),
        ("a line break in the authority", with(&[(":authority", b"a\r\nx: y")]), reset()),
        ("an empty authority", with(&[(":authority", b"")]), reset()),
        ("a port that is none", with(&[(":authority", b"tv.example:x")]), malformed()),
        ("a port that is too large", with(&[(":authority", b"tv.example:123456")]), malformed()),
        (
            "a list in the host",
            { [without(":authority"), vec![("host", &b"a.example, b.example"[..])]].concat() },
            malformed(),
        ),
        // What the gateway says itself.
        ("a field with an underscore", with(&[("x_user", b"1")]), passes()),
        ("an identity", with(&[("x-streamgate-account", b"root")]), passes()),
        // Methods.
        ("TRACE", with(&[(":method", b"TRACE")]), answer("method_not_allowed")),
        ("CONNECT with a path", with(&[(":method", b"CONNECT")]), reset()),
        (
            "CONNECT",
            { vec![(":method", &b"CONNECT"[..]), (":authority", b"tv.example:443")] },
            answer("method_not_allowed"),
        ),
        (
            "CONNECT for a WebSocket (RFC 8441)",
            { with(&[(":method", b"CONNECT"), (":protocol", b"websocket")]) },
            reset(),
        ),
        // Lengths of a body that does not come.
        ("a length without a body", with(&[("content-length", b"5")]), reset()),
        ("a length that is no number", with(&[("content-length", b"x")]), reset()),
        ("a negative length", with(&[("content-length", b"-1")]), reset()),
        ("a length with a sign", with(&[("content-length", b"+0")]), reset()),
        ("a list of lengths", with(&[("content-length", b"0, 0")]), reset()),
        ("an empty length", with(&[("content-length", b"")]), malformed()),
        (
            "a length beyond all numbers",
            { with(&[("content-length", b"99999999999999999999999")]) },
            reset(),
        ),
        (
            "two lengths",
            {
                let lengths: [Field; 2] = [("content-length", b"0"), ("content-length", b"5")];
                [SOUND.to_vec(), lengths.to_vec()].concat()
            },
            reset(),
        ),
        (
            "two lengths that are equal",
            {
                let lengths: [Field; 2] = [("content-length", b"0"), ("content-length", b"0")];
                [SOUND.to_vec(), lengths.to_vec()].concat()
            },
            malformed(),
        ),
    ]
}

#[tokio::test]
async fn a_head_that_two_readers_could_take_differently_gets_nowhere() {
    let mut wrong = Vec::new();
    for (what, fields, expected) in heads() {
        let (gateway, connections) = watched().await;
        let mut raw = RawHttp2::open(gateway.edge).await;
        raw.say(request(1, &fields)).await;
        let outcome = raw.outcome(1).await;
        if outcome != expected {
            wrong.push(format!("{what}: {outcome:?}, not {expected:?}"));
            continue;
        }
        if outcome != answer("") {
            let came = connections.load(Ordering::Relaxed);
            assert_eq!(came, 0, "{what}: the upstream has heard of it");
        }
        if matches!(outcome, Outcome::GoAway(_)) {
            raw = RawHttp2::open(gateway.edge).await;
        }
        raw.say(request(3, &SOUND)).await;
        assert_eq!(raw.outcome(3).await, answer(""), "{what}: its sister");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Frames after the beginning of a connection, and what becomes of them.
fn exchanges() -> Vec<(&'static str, Vec<u8>, Outcome)> {
    let post = with(&[(":method", b"POST"), (":path", b"/faults/echo")]);
    let open = |fields: &[Field]| frame(HEADERS, END_HEADERS, 1, &block(fields));
    let sized = [post.clone(), vec![("content-length", &b"5"[..])]].concat();
    let whole = || request(1, &SOUND);
    let go_away = Outcome::GoAway;
    vec![
        // Bodies and their lengths (RFC 9113 §8.1.1).
        (
            "less than its length",
            { [open(&sized), frame(DATA, END_STREAM, 1, b"four")].concat() },
            PROTOCOL_ERROR,
        ),
        (
            "more than its length",
            { [open(&sized), frame(DATA, END_STREAM, 1, b"sixsix")].concat() },
            PROTOCOL_ERROR,
        ),
        (
            "more than its length, in pieces",
            {
                [open(&sized), frame(DATA, 0, 1, b"five5"), frame(DATA, END_STREAM, 1, b"GET /")]
                    .concat()
            },
            PROTOCOL_ERROR,
        ),
        (
            "trailers with a pseudo-field: no trailer goes on",
            {
                let trailers =
                    frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[(":path", b"/x")]));
                [open(&sized), frame(DATA, 0, 1, b"five5"), trailers].concat()
            },
            answer(""),
        ),
        (
            "trailers that are not the end",
            {
                let trailers = frame(HEADERS, END_HEADERS, 1, &block(&[("x", b"y")]));
                [open(&sized), frame(DATA, 0, 1, b"five5"), trailers].concat()
            },
            PROTOCOL_ERROR,
        ),
        (
            "trailers with a field of a connection",
            {
                let fields = block(&[("transfer-encoding", b"chunked")]);
                let trailers = frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields);
                [open(&sized), frame(DATA, 0, 1, b"five5"), trailers].concat()
            },
            PROTOCOL_ERROR,
        ),
        // Frames where they have no place (RFC 9113 §5.1, §6).
        ("a piece of a body before its head", frame(DATA, 0, 1, b"x"), go_away(1)),
        ("a piece of a body of the connection", frame(DATA, 0, 0, b"x"), go_away(1)),
        ("a head on the connection", frame(HEADERS, END_HEADERS, 0, &block(&SOUND)), go_away(1)),
        ("an even stream", frame(HEADERS, END_HEADERS | END_STREAM, 2, &block(&SOUND)), go_away(1)),
        (
            "a stream that goes back",
            { [request(5, &SOUND), request(3, &SOUND)].concat() },
            go_away(1),
        ),
        (
            "a stream that depends on itself",
            { frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 9]) },
            PROTOCOL_ERROR,
        ),
        (
            "a piece behind the end",
            { [whole(), frame(DATA, END_STREAM, 1, b"x")].concat() },
            go_away(1),
        ),
        (
            "more of a head without its beginning",
            frame(CONTINUATION, END_HEADERS, 1, b""),
            go_away(1),
        ),
        (
            "another frame within a head",
            {
                [frame(HEADERS, END_STREAM, 1, &block(&SOUND)), frame(PING, 0, 0, &[0; 8])].concat()
            },
            go_away(1),
        ),
        (
            "another stream within a head",
            {
                let rest = frame(CONTINUATION, END_HEADERS, 3, b"");
                [frame(HEADERS, END_STREAM, 1, &block(&SOUND)), rest].concat()
            },
            go_away(1),
        ),
        ("a promise", frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2]), go_away(1)),
        (
            "a reset of a stream that is not there",
            { frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]) },
            go_away(1),
        ),
        ("a reset of the connection", frame(RST_STREAM, 0, 0, &[0, 0, 0, 8]), go_away(1)),
        ("settings of a stream", frame(SETTINGS, 0, 1, &[]), go_away(1)),
        ("a ping of a stream", frame(PING, 0, 1, &[0; 8]), go_away(1)),
        (
            "a window of a stream that is not there",
            { frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]) },
            go_away(1),
        ),
        // Sizes (RFC 9113 §4.2). The library has one reason for most of what it can't read.
        ("a frame that is too large", frame(DATA, 0, 1, &[0; 16_385]), go_away(6)),
        ("settings that are cut", frame(SETTINGS, 0, 0, &[0; 5]), go_away(1)),
        ("an answer to settings with a body", frame(SETTINGS, 1, 0, &[0; 6]), go_away(1)),
        ("a short ping", frame(PING, 0, 0, &[0; 7]), go_away(1)),
        ("a short reset", [whole(), frame(RST_STREAM, 0, 1, &[0; 3])].concat(), go_away(1)),
        ("a short window", frame(WINDOW_UPDATE, 0, 0, &[0; 3]), go_away(1)),
        ("a short priority", frame(PRIORITY, 0, 1, &[0; 4]), go_away(1)),
        (
            "more filling than there is",
            { [open(&sized), frame(DATA, 8, 1, &[9, 0])].concat() },
            go_away(1),
        ),
        // Settings and windows (RFC 9113 §6.5.2, §6.9).
        ("push that is neither on nor off", frame(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2]), go_away(1)),
        (
            "a window beyond the largest",
            { frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0]) },
            go_away(1),
        ),
        (
            "frames smaller than the smallest",
            { frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0x3f, 0xff]) },
            go_away(1),
        ),
        ("a window that does not widen", frame(WINDOW_UPDATE, 0, 0, &[0; 4]), go_away(1)),
        (
            "a window that widens too far",
            { frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]) },
            go_away(3),
        ),
        // HPACK (RFC 7541).
        (
            "an entry that is not in the table",
            { frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff, 0xff, 0x7f]) },
            go_away(1),
        ),
        ("entry number 0", frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x80]), go_away(1)),
        (
            "a text that is cut",
            { frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0, 1, b'x', 9, b'y']) },
            go_away(1),
        ),
        (
            "a table larger than allowed",
            { frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x3f, 0xff, 0xff, 0x7f]) },
            go_away(1),
        ),
        (
            "a number without an end",
            { frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff; 20]) },
            go_away(1),
        ),
        (
            "a code of Huffman with the wrong filling",
            { frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0, 0x81, 0x00, 1, b'x']) },
            go_away(1),
        ),
    ]
}

#[tokio::test]
async fn frames_without_a_meaning_end_the_stream_or_the_connection() {
    let mut wrong = Vec::new();
    for (what, said, expected) in exchanges() {
        let (gateway, _) = watched().await;
        let mut raw = RawHttp2::open(gateway.edge).await;
        raw.say(said).await;
        let outcome = raw.outcome(1).await;
        if outcome != expected {
            wrong.push(format!("{what}: {outcome:?}, not {expected:?}"));
        }
        let mut other = RawHttp2::open(gateway.edge).await;
        other.say(request(1, &SOUND)).await;
        assert_eq!(other.outcome(1).await, answer(""), "{what}: another connection");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
