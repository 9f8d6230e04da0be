//! What HTTP/1 clients may send, well-formed or hostile: each case of `tests/cases/http1` on a
//! connection of its own, with what the client gets and what the upstream saw. What reaches an
//! upstream must be understood in one way only, so this one guesses nothing.

use crate::harness::{DEADLINE, Gateway, until};
use crate::origin::proxying_yaml;
use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use streamgate::yaml::Environment;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// One case, as its file has it.
#[derive(Default)]
struct Case {
    proves: String,
    bytes: Vec<u8>,
    later: Vec<u8>,
    answers: String,
    upstream: Vec<String>,
}

/// The bytes that a line stands for.
fn bytes(text: &str) -> Vec<u8> {
    let mut all = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '\\' => escape(&rest[1..], &mut all) + 1,
            '{' => {
                let end = rest.find('}').unwrap_or_else(|| panic!("`{{` is not closed: {text}"));
                all.extend(word(&rest[1..end]));
                end + 1
            }
            c => {
                all.extend(c.to_string().as_bytes());
                c.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    all
}

fn escape(text: &str, all: &mut Vec<u8>) -> usize {
    let byte = match text.as_bytes()[0] {
        b'r' => b'\r',
        b'n' => b'\n',
        b't' => b'\t',
        b'0' => 0,
        b'\\' => b'\\',
        b'x' => {
            all.push(u8::from_str_radix(&text[1..3], 16).unwrap_or_else(|_| panic!("{text}")));
            return 3;
        }
        _ => panic!("no such escape: {text}"),
    };
    all.push(byte);
    1
}

fn word(word: &str) -> Vec<u8> {
    match word {
        "G" => b"GET /a HTTP/1.1\r\nHost: a\r\n".to_vec(),
        "P" => b"POST /a HTTP/1.1\r\nHost: a\r\n".to_vec(),
        "E" => b"\r\n".to_vec(),
        _ => {
            let (what, times) = word.rsplit_once('*').unwrap_or_else(|| panic!("{word}"));
            bytes(what).repeat(times.parse().unwrap_or_else(|_| panic!("{word}")))
        }
    }
}

/// The cases of all files, each with its place.
fn cases() -> Vec<(String, Case)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/http1");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        files.filter(|file| file.extension().is_some_and(|e| e == "txt")).collect();
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for block in text.split("\n\n").filter(|block| !block.trim().is_empty()) {
            let case = case(block);
            let name = file.file_stem().unwrap().to_string_lossy();
            all.push((format!("{name}: {}", case.proves), case));
        }
    }
    all
}

fn case(block: &str) -> Case {
    let mut case = Case::default();
    for line in block.lines().filter(|line| !line.is_empty()) {
        let (kind, rest) = line.split_at(1);
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        match kind {
            "#" => case.proves = rest.to_owned(),
            ">" => case.bytes.extend(bytes(rest)),
            "~" => case.later.extend(bytes(rest)),
            "<" => case.answers = rest.trim().to_owned(),
            "=" => case.upstream.push(rest.to_owned()),
            _ => panic!("no such line: {line}"),
        }
    }
    assert!(!case.proves.is_empty() && !case.upstream.is_empty(), "{block}");
    case
}

/// What an upstream saw: a request, or why what came is none.
#[derive(Clone, Debug)]
struct Seen {
    line: String,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
    /// It ended before its end.
    is_broken: bool,
}

type Log = Arc<Mutex<Vec<Result<Seen, String>>>>;

/// An upstream that reads strictly, and answers `ok`.
async fn upstream() -> (SocketAddr, Log) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let log = Log::default();
    let seen = Arc::clone(&log);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&seen)));
        }
    });
    (address, log)
}

async fn serve(mut stream: TcpStream, log: Log) {
    let mut heard = Vec::new();
    loop {
        match request(&mut stream, &mut heard).await {
            Ok(None) => return,
            Ok(Some(seen)) => {
                let (is_broken, is_head) = (seen.is_broken, seen.line.starts_with("HEAD "));
                log.lock().unwrap().push(Ok(seen));
                if is_broken {
                    return;
                }
                let body = if is_head { "" } else { "ok" };
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{body}");
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
            Err(why) => {
                log.lock().unwrap().push(Err(why));
                return;
            }
        }
    }
}

/// Reads until `end` is there; `None`: the other side has gone.
async fn line_end(stream: &mut TcpStream, heard: &mut Vec<u8>, end: &[u8]) -> Option<Vec<u8>> {
    loop {
        if let Some(at) = heard.windows(end.len()).position(|window| window == end) {
            return Some(heard.drain(..at + end.len()).take(at).collect());
        }
        if stream.read_buf(heard).await.unwrap_or(0) == 0 {
            return None;
        }
    }
}

async fn exactly(stream: &mut TcpStream, heard: &mut Vec<u8>, length: usize) -> Option<Vec<u8>> {
    while heard.len() < length {
        if stream.read_buf(heard).await.unwrap_or(0) == 0 {
            return None;
        }
    }
    Some(heard.drain(..length).collect())
}

/// The next request, or why it could be understood in two ways.
async fn request(stream: &mut TcpStream, heard: &mut Vec<u8>) -> Result<Option<Seen>, String> {
    let Some(head) = line_end(stream, heard, b"\r\n\r\n").await else {
        let rest = String::from_utf8_lossy(heard).into_owned();
        return if heard.is_empty() { Ok(None) } else { Err(format!("half a head: {rest:?}")) };
    };
    let mut seen = understood(&head)?;
    let values = |name: &str| {
        let all = seen.fields.iter().filter(|(field, _)| field == name);
        all.map(|(_, value)| value.clone()).collect::<Vec<_>>()
    };
    let (length, coding) = (values("content-length"), values("transfer-encoding"));
    let waits = seen.fields.iter().any(|(name, value)| name == "expect" && !value.is_empty());
    if waits && stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.is_err() {
        return Ok(None);
    }
    let body = match (length.as_slice(), coding.as_slice()) {
        ([], []) => Some(Vec::new()),
        ([length], []) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
            exactly(stream, heard, length.parse().map_err(|_| format!("a length: {length}"))?).await
        }
        ([], [coding]) if coding == "chunked" => chunks(stream, heard).await?,
        _ => return Err(format!("where does it end? {length:?} {coding:?}")),
    };
    seen.is_broken = body.is_none();
    seen.body = body.unwrap_or_default();
    Ok(Some(seen))
}

/// A head in which nothing is left to guess.
fn understood(head: &[u8]) -> Result<Seen, String> {
    let wrong = |what: &str| Err(format!("{what}: {:?}", String::from_utf8_lossy(head)));
    let text = String::from_utf8_lossy(head).into_owned();
    let mut lines = text.split("\r\n");
    let line = lines.next().unwrap_or_default().to_owned();
    let parts: Vec<&str> = line.split(' ').collect();
    let [method, target, "HTTP/1.1"] = parts.as_slice() else { return wrong("a request line") };
    let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    if method.is_empty() || !is_plain(method) || !target.starts_with('/') || !is_plain(target) {
        return wrong("a request line");
    }
    let mut fields = Vec::new();
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { return wrong("a field") };
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_token) {
            return wrong("a field's name");
        }
        if value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
            return wrong("a field's value");
        }
        fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    if fields.iter().filter(|(name, _)| name == "host").count() != 1 {
        return wrong("not one Host");
    }
    Ok(Seen { line, fields, body: Vec::new(), is_broken: false })
}

/// A body in chunks; `Ok(None)`: it ended before its end.
async fn chunks(stream: &mut TcpStream, heard: &mut Vec<u8>) -> Result<Option<Vec<u8>>, String> {
    let mut whole = Vec::new();
    loop {
        let Some(line) = line_end(stream, heard, b"\r\n").await else { return Ok(None) };
        let text = String::from_utf8_lossy(&line).into_owned();
        let is_size = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let size = usize::from_str_radix(&text, 16).ok().filter(|_| is_size);
        let size = size.ok_or_else(|| format!("a chunk's size: {text:?}"))?;
        let Some(chunk) = exactly(stream, heard, size).await else { return Ok(None) };
        whole.extend(chunk);
        let Some(end) = exactly(stream, heard, 2).await else { return Ok(None) };
        if end != b"\r\n" {
            return Err(format!("a chunk's end: {end:?}"));
        }
        if size == 0 {
            return Ok(Some(whole));
        }
    }
}

/// Sends a case and hears everything until the gateway hangs up.
async fn send(edge: SocketAddr, case: &Case) -> Vec<u8> {
    let mut stream = TcpStream::connect(edge).await.unwrap();
    let mut heard = Vec::new();
    // Who has been refused may find the connection closed.
    let _ = stream.write_all(&case.bytes).await;
    if !case.later.is_empty() {
        let first = timeout(DEADLINE, stream.read_buf(&mut heard)).await;
        first.expect("there is a first answer").unwrap();
        let _ = stream.write_all(&case.later).await;
    }
    let _ = stream.shutdown().await;
    loop {
        let read = timeout(DEADLINE, stream.read_buf(&mut heard)).await;
        if read.expect("the gateway hangs up").unwrap_or(0) == 0 {
            return heard;
        }
    }
}

/// The statuses of all answers, and the code of a refusal behind its own.
fn answers(heard: &[u8], is_head: bool) -> String {
    let mut told = String::new();
    let mut rest = heard;
    while let Some(end) = rest.windows(4).position(|window| window == b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&rest[..end]).into_owned();
        rest = &rest[end + 4..];
        let Some(status) = head.split(' ').nth(1).filter(|_| head.starts_with("HTTP/1.")) else {
            return format!("{told} and no answer: {head:?}");
        };
        let field = |name: &str| {
            let lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
            let mut found = lines.filter(|(field, _)| field.eq_ignore_ascii_case(name));
            found.next().map(|(_, value)| value.trim().to_owned())
        };
        let length = field("content-length").map_or(0, |length| length.parse().unwrap());
        let length = if is_head || status.starts_with('1') { 0 } else { length };
        let body: serde_json::Value =
            serde_json::from_slice(&rest[..length.min(rest.len())]).unwrap_or_default();
        rest = &rest[length.min(rest.len())..];
        let _ = write!(told, " {status}");
        if let Some(code) = body["code"].as_str() {
            let _ = write!(told, " {code}");
        }
    }
    if !rest.is_empty() {
        let _ = write!(told, " and {:?}", String::from_utf8_lossy(rest));
    }
    told.trim().to_owned()
}

/// Whether a request is as a case says.
fn is_as(seen: &Seen, expected: &str) -> bool {
    if expected == "broken" {
        return seen.is_broken;
    }
    let mut parts = expected.split(" | ");
    let line = parts.next().unwrap_or_default();
    let has = |part: &str| {
        if let Some(body) = part.strip_prefix("body ") {
            return seen.body == bytes(body);
        }
        if part == "body" {
            return seen.body.is_empty();
        }
        if let Some(name) = part.strip_prefix('!') {
            return seen.fields.iter().all(|(field, _)| field != name);
        }
        let (name, value) = part.split_once(':').unwrap_or_else(|| panic!("{part}"));
        let field = (name.to_owned(), value.trim().to_owned());
        seen.fields.contains(&field)
    };
    !seen.is_broken && seen.line == format!("{line} HTTP/1.1") && parts.all(has)
}

#[tokio::test]
async fn what_is_not_understood_is_refused_and_what_passes_has_one_meaning() {
    let (address, log) = upstream().await;
    let yaml = proxying_yaml("", &format!("endpoints: ['{address}']"));
    let gateway = Gateway::start(&yaml, &Environment::default());
    let (cases, mut wrong) = (cases(), Vec::new());
    for (name, case) in &cases {
        log.lock().unwrap().clear();
        let heard = send(gateway.edge, case).await;
        let is_head = case.bytes.starts_with(b"HEAD ");
        let answered = answers(&heard, is_head);
        // What the upstream sees last may come after the answer: an end before the end.
        let expected: Vec<&str> =
            case.upstream.iter().map(String::as_str).filter(|what| *what != "nothing").collect();
        if case.upstream.iter().any(|what| what == "broken") {
            let is_there = || async { !log.lock().unwrap().is_empty() };
            let _ = timeout(DEADLINE / 10, until("it is there", is_there)).await;
        }
        let seen = log.lock().unwrap().clone();
        let is_right = seen.len() == expected.len()
            && seen.iter().zip(&expected).all(|(seen, expected)| match seen {
                Ok(seen) => is_as(seen, expected),
                Err(_) => false,
            });
        if answered != case.answers || !is_right {
            wrong.push(format!(
                "{name}\n  answered: {answered}\n  expected: {}\n  upstream: {seen:?}\n  expected: \
                 {expected:?}",
                case.answers
            ));
        }
    }
    let unresolved = wrong.len();
    assert!(wrong.is_empty(), "{}\n{unresolved} of {}", wrong.join("\n"), cases.len());
    assert!(150 <= cases.len(), "{}", cases.len());
}
