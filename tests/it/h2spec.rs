//! The list of cases of h2spec (`generic`, `http2`, `hpack`; 147 in all), said in frames of our
//! own: no registry has the program. Each case has the number that h2spec knows it by, what is sent
//! and what the RFCs ask for in answer.
//!
//! h2spec takes the end of a connection for a right answer to every error, whatever reason was
//! given. This is stricter: the reason must be the one that is asked for, but for those cases that
//! [`OTHERWISE`] lists, and docs/http2.md says why.

use crate::h2_client::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PING, PREFACE,
    PRIORITY, PUSH_PROMISE, RST_STREAM, RawHttp2, SETTINGS, WINDOW_UPDATE, block, frame,
};
use crate::harness::DEADLINE;
use crate::origin::{proxying_with, replica};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use tokio::time::timeout;

const PADDED: u8 = 8;
const WITH_PRIORITY: u8 = 0x20;

const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE_ERROR: u32 = 6;
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;
const COMPRESSION_ERROR: u32 = 9;

/// Cases that the gateway answers otherwise than the RFC asks, and with what. Each is named in
/// docs/http2.md, and one that is answered as asked must not stand here.
const OTHERWISE: &[(&str, Came)] = &[
    ("http2/4.3/1", BROKEN),
    ("http2/5.1/5", BROKEN),
    ("http2/5.1/6", BROKEN),
    ("http2/5.1/9", BROKEN),
    ("http2/5.1/12", BROKEN),
    ("http2/6.1/2", BROKEN),
    ("http2/6.3/2", BROKEN),
    ("http2/6.4/3", BROKEN),
    ("http2/6.5/1", BROKEN),
    ("http2/6.5.2/2", BROKEN),
    ("http2/6.7/4", BROKEN),
    ("http2/6.9/3", BROKEN),
    ("http2/6.9.2/3", BROKEN),
    ("hpack/2.3.3/1", BROKEN),
    ("hpack/2.3.3/2", BROKEN),
    ("hpack/4.2/1", BROKEN),
    ("hpack/5.2/1", BROKEN),
    ("hpack/5.2/2", BROKEN),
    ("hpack/5.2/3", BROKEN),
    ("hpack/6.1/1", BROKEN),
    ("hpack/6.3/1", BROKEN),
];

/// The library's own answer to most of what it can't read.
const BROKEN: Came = Came::GoAway(PROTOCOL_ERROR);

/// What came back, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    Settings,
    SettingsAck,
    PingAck([u8; 8]),
    Head(u32),
    /// A piece of a body: its bytes.
    Data(usize),
    /// The end of the answer.
    End,
    Reset(u32),
    GoAway(u32),
    Closed,
    /// Nothing, for as long as anything may take.
    Silence,
}

/// What the client does.
enum Step {
    Say(Vec<u8>),
    Hear(Came),
    /// Any piece of a body.
    HearData,
}

/// What has to come.
#[derive(Clone, Copy, Debug)]
enum Asked {
    /// This, before any error.
    This(Came),
    Data,
    /// The connection must not take harm, or must end.
    PingOrClosed([u8; 8]),
    /// The whole connection ends, for one of these reasons.
    Connection(&'static [u32]),
    /// The stream ends, or the whole connection, for one of these reasons.
    Stream(&'static [u32]),
    Closed,
}

struct Case {
    number: String,
    what: &'static str,
    steps: Vec<Step>,
    asked: Asked,
    /// The client says the preface and its settings first, and hears the gateway's.
    greets: bool,
}

type Field<'a> = (&'a str, &'a [u8]);

const GET: [Field<'static>; 4] = [
    (":method", b"GET"),
    (":scheme", b"http"),
    (":authority", b"tv.example"),
    (":path", b"/faults/echo"),
];

fn method(method: &'static str, more: &[Field<'static>]) -> Vec<u8> {
    let mut fields = GET.to_vec();
    fields[0].1 = method.as_bytes();
    fields.extend_from_slice(more);
    block(&fields)
}

fn get() -> Vec<u8> {
    method("GET", &[])
}

/// A field of some length, in a block of its own or among others.
fn dummy(number: usize) -> Vec<u8> {
    let name = ["x-dummy0", "x-dummy1", "x-dummy2", "x-dummy3", "x-dummy4"][number];
    block(&[(name, &[b'x'; 4_000])])
}

/// A whole request.
fn whole(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &get())
}

/// A whole request whose block ends in, or is, these bytes.
fn whole_of(block: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, 1, block)
}

/// A request whose body follows.
fn open() -> Vec<u8> {
    frame(HEADERS, END_HEADERS, 1, &method("POST", &[]))
}

fn data(flags: u8) -> Vec<u8> {
    frame(DATA, flags, 1, b"test")
}

/// An end of a block that does not come from the beginning of it.
fn rest(flags: u8, stream: u32) -> Vec<u8> {
    frame(CONTINUATION, flags, stream, &dummy(0))
}

fn priority(stream: u32, on: u32, weight: u8) -> Vec<u8> {
    frame(PRIORITY, 0, stream, &[&on.to_be_bytes()[..], &[weight]].concat())
}

fn reset(stream: u32, reason: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &reason.to_be_bytes())
}

fn window(stream: u32, bytes: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes())
}

fn settings(all: &[(u16, u32)]) -> Vec<u8> {
    let one = |(id, value): &(u16, u32)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
    frame(SETTINGS, 0, 0, &all.iter().flat_map(one).collect::<Vec<u8>>())
}

/// Of a window at the beginning of a stream.
fn first_window(bytes: u32) -> Vec<u8> {
    settings(&[(4, bytes)])
}

const MARK: [u8; 8] = *b"streams!";

fn ping() -> Vec<u8> {
    frame(PING, 0, 0, &MARK)
}

const PONG: Asked = Asked::This(Came::PingAck(MARK));
const ANSWERED: Asked = Asked::This(Came::Head(1));
const BROKEN_CONNECTION: Asked = Asked::Connection(&[PROTOCOL_ERROR]);
const BROKEN_STREAM: Asked = Asked::Stream(&[PROTOCOL_ERROR]);
const UNDECODABLE: Asked = Asked::Connection(&[COMPRESSION_ERROR]);

/// Numbers the cases of one section.
struct Section<'a> {
    all: &'a mut Vec<Case>,
    name: &'static str,
    count: usize,
}

impl Section<'_> {
    fn case(&mut self, what: &'static str, said: &[Vec<u8>], asked: Asked) {
        self.steps(what, vec![Step::Say(said.concat())], asked);
    }

    fn steps(&mut self, what: &'static str, steps: Vec<Step>, asked: Asked) {
        self.count += 1;
        let number = format!("{}/{}", self.name, self.count);
        self.all.push(Case { number, what, steps, asked, greets: true });
    }

    /// One that begins before the preface.
    fn silent(&mut self, what: &'static str, said: &[u8], asked: Asked) {
        self.steps(what, vec![Step::Say(said.to_vec())], asked);
        self.all.last_mut().unwrap().greets = false;
    }
}

fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    generic(&mut all);
    generic_compression(&mut all);
    frames(&mut all);
    states(&mut all);
    definitions(&mut all);
    flow_control(&mut all);
    messages(&mut all);
    compression(&mut all);
    all
}

fn section<'a>(all: &'a mut Vec<Case>, name: &'static str) -> Section<'a> {
    Section { all, name, count: 0 }
}

/// What every server must take.
fn generic(all: &mut Vec<Case>) {
    let greeting = [PREFACE, &first_window(65_535)].concat();
    let mut of = section(all, "generic/1");
    of.silent("a preface is taken", &greeting, Asked::This(Came::Settings));

    let mut of = section(all, "generic/2");
    of.case("PRIORITY of an idle stream", &[priority(1, 0, 255), ping()], PONG);
    of.case(
        "WINDOW_UPDATE of a stream that is half closed",
        &[first_window(0), whole(1), window(1, 1)],
        Asked::Data,
    );
    of.case(
        "PRIORITY of a stream that is half closed",
        &[first_window(0), whole(1), priority(1, 0, 255), window(1, 1)],
        Asked::Data,
    );
    of.case(
        "RST_STREAM of a stream that is half closed",
        &[whole(1), reset(1, CANCEL), ping()],
        Asked::PingOrClosed(MARK),
    );
    let late = Step::Say([priority(1, 0, 255), ping()].concat());
    let steps = vec![Step::Say(whole(1)), Step::Hear(Came::End), late];
    of.steps("PRIORITY of a closed stream", steps, PONG);

    let mut of = section(all, "generic/3.1");
    of.case("DATA", &[open(), data(END_STREAM)], ANSWERED);
    of.case("several DATA", &[open(), data(0), data(END_STREAM)], ANSWERED);
    let padded = frame(DATA, END_STREAM | PADDED, 1, b"\x05test\0\0\0\0\0");
    of.case("DATA with filling", &[open(), padded], ANSWERED);

    let mut of = section(all, "generic/3.2");
    of.case("HEADERS", &[whole(1)], ANSWERED);
    let padded = [&[8][..], &get(), &[0; 8]].concat();
    let padded = frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, &padded);
    of.case("HEADERS with filling", &[padded], ANSWERED);
    of.case("HEADERS with a priority", &[prioritized(0)], ANSWERED);

    let mut of = section(all, "generic/3.3");
    of.case("PRIORITY with weight 1", &[priority(1, 0, 0), whole(1)], ANSWERED);
    of.case("PRIORITY with weight 256", &[priority(1, 0, 255), whole(1)], ANSWERED);
    of.case("PRIORITY on another stream", &[priority(3, 1, 0), whole(1)], ANSWERED);
    of.case("PRIORITY that is exclusive", &[priority(1, 1 << 31, 0), whole(1)], ANSWERED);
    of.case("PRIORITY of a later stream", &[priority(3, 0, 255), whole(1)], ANSWERED);

    let mut of = section(all, "generic/3.4");
    let steps = [open(), reset(1, CANCEL), ping()];
    of.case("RST_STREAM", &steps, Asked::PingOrClosed(MARK));
    let mut of = section(all, "generic/3.5");
    let some = [(1, 4_096), (2, 1), (3, 100), (4, 65_535), (5, 16_384), (6, 100)];
    of.case("SETTINGS", &[settings(&some)], Asked::This(Came::SettingsAck));
    let mut of = section(all, "generic/3.7");
    of.case("PING", &[ping()], PONG);
    let mut of = section(all, "generic/3.8");
    let goodbye = frame(GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\0bye");
    of.case("GOAWAY", &[goodbye, ping()], Asked::PingOrClosed(MARK));
    let mut of = section(all, "generic/3.9");
    of.case("WINDOW_UPDATE of the connection", &[window(0, 1), ping()], PONG);
    of.case("WINDOW_UPDATE of a stream", &[whole(1), window(1, 1)], ANSWERED);

    let mut of = section(all, "generic/3.10");
    let head = get();
    let begun = frame(HEADERS, END_STREAM, 1, &head[..5]);
    let end = |from: usize| frame(CONTINUATION, END_HEADERS, 1, &head[from..]);
    of.case("CONTINUATION", &[begun.clone(), end(5)], ANSWERED);
    let middle = frame(CONTINUATION, 0, 1, &head[5..10]);
    of.case("several CONTINUATION", &[begun, middle, end(10)], ANSWERED);

    let mut of = section(all, "generic/4");
    of.case("GET", &[whole(1)], ANSWERED);
    of.case("HEAD", &[whole_of(&method("HEAD", &[]))], ANSWERED);
    of.case("POST", &[open(), data(END_STREAM)], ANSWERED);
    let announced = frame(HEADERS, END_HEADERS, 1, &method("POST", &[("trailer", b"x-test")]));
    let trailers = whole_of(&block(&[("x-test", b"ok")]));
    of.case("POST with trailers", &[announced, data(0), trailers], ANSWERED);
}

/// A request that says on which stream it depends.
fn prioritized(on: u32) -> Vec<u8> {
    let payload = [&on.to_be_bytes()[..], &[255], &get()].concat();
    frame(HEADERS, END_HEADERS | END_STREAM | WITH_PRIORITY, 1, &payload)
}

/// `x-test` in the code of Huffman, with its length.
const NAME: [u8; 6] = [0x85, 0xf2, 0xb2, 0x4a, 0x84, 0xff];
/// `ok` in it.
const VALUE: [u8; 3] = [0x82, 0x3f, 0x5f];
const PLAIN_NAME: [u8; 7] = *b"\x06x-test";
const PLAIN_VALUE: [u8; 3] = *b"\x02ok";

/// Every way of writing a field (RFC 7541 §6).
fn generic_compression(all: &mut Vec<Case>) {
    let mut of = section(all, "generic/5");
    let with = |end: &[u8]| vec![whole_of(&[&get()[..], end].concat())];
    // `user-agent` is the 58th entry of the table that everybody has.
    of.case("an entry of the table", &with(&[0xba]), ANSWERED);
    let ways = [
        ("remembered", 0x40, &[0x7a][..]),
        ("not remembered", 0x00, &[0x0f, 0x2b]),
        ("never remembered", 0x10, &[0x1f, 0x2b]),
    ];
    for (way, first, named) in ways {
        let whats: [&str; 4] = match way {
            "remembered" => [
                "a value remembered, its name from the table",
                "the same in Huffman's code",
                "a field remembered",
                "the same in Huffman's code",
            ],
            "not remembered" => [
                "a value not remembered, its name from the table",
                "the same in Huffman's code",
                "a field not remembered",
                "the same in Huffman's code",
            ],
            _ => [
                "a value never remembered, its name from the table",
                "the same in Huffman's code",
                "a field never remembered",
                "the same in Huffman's code",
            ],
        };
        of.case(whats[0], &with(&[named, &PLAIN_VALUE].concat()), ANSWERED);
        of.case(whats[1], &with(&[named, &VALUE].concat()), ANSWERED);
        of.case(whats[2], &with(&[&[first][..], &PLAIN_NAME, &PLAIN_VALUE].concat()), ANSWERED);
        of.case(whats[3], &with(&[&[first][..], &NAME, &VALUE].concat()), ANSWERED);
    }
    let sized = |sizes: &[u8]| vec![whole_of(&[sizes, &get()].concat())];
    of.case("another size of the table", &sized(&[0x3f, 0x61]), ANSWERED);
    of.case("two sizes of the table", &sized(&[0x3f, 0x61, 0x3f, 0xe1, 0x1f]), ANSWERED);
}

/// Beginnings, and frames as such (RFC 9113 §3.4, §4).
fn frames(all: &mut Vec<Case>) {
    let greeting = [PREFACE, &first_window(65_535)].concat();
    let mut of = section(all, "http2/3.5");
    of.silent("settings come first", &greeting, Asked::This(Came::Settings));
    of.silent("no preface", b"INVALID CONNECTION PREFACE\r\n\r\n", Asked::Closed);

    let mut of = section(all, "http2/4.1");
    of.case("a frame of an unknown kind", &[frame(22, 0, 0, &[0; 8]), ping()], PONG);
    of.case("a flag that means nothing", &[frame(PING, 22, 0, &MARK)], PONG);
    of.case("the bit that is kept free", &[frame(PING, 22, 1 << 31, &MARK)], PONG);

    let mut of = section(all, "http2/4.2");
    let full = frame(DATA, END_STREAM, 1, &[b'x'; 1 << 14]);
    of.case("the largest DATA", &[open(), full], ANSWERED);
    let beyond = frame(DATA, END_STREAM, 1, &[b'x'; (1 << 14) + 1]);
    of.case("DATA beyond the largest", &[open(), beyond], Asked::Stream(&[FRAME_SIZE_ERROR]));
    let large = [get(), (0..5).flat_map(dummy).collect()].concat();
    of.case(
        "HEADERS beyond the largest",
        &[whole_of(&large)],
        Asked::Connection(&[FRAME_SIZE_ERROR]),
    );

    let mut of = section(all, "http2/4.3");
    let cut = frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x40]);
    of.case("a block that ends in a field", &[cut], UNDECODABLE);
    of.case("PRIORITY within a block", &interrupted(priority(1, 0, 255)), BROKEN_CONNECTION);
    of.case("another request within a block", &interrupted(whole(3)), BROKEN_CONNECTION);
}

/// A request whose block is interrupted.
fn interrupted(by: Vec<u8>) -> [Vec<u8>; 3] {
    [frame(HEADERS, 0, 1, &get()), by, rest(END_HEADERS, 1)]
}

/// What may be said of a stream at which time (RFC 9113 §5).
fn states(all: &mut Vec<Case>) {
    const CLOSED: Asked = Asked::Stream(&[STREAM_CLOSED]);
    const CLOSED_OR_BROKEN: Asked = Asked::Stream(&[STREAM_CLOSED, PROTOCOL_ERROR]);
    let mut of = section(all, "http2/5.1");
    of.case("idle: DATA", &[data(END_STREAM)], CLOSED_OR_BROKEN);
    of.case("idle: RST_STREAM", &[reset(1, CANCEL)], BROKEN_CONNECTION);
    of.case("idle: WINDOW_UPDATE", &[window(1, 100)], BROKEN_CONNECTION);
    let orphan = frame(CONTINUATION, END_HEADERS, 1, &get());
    of.case("idle: CONTINUATION", std::slice::from_ref(&orphan), BROKEN_CONNECTION);
    of.case("half closed: DATA", &[whole(1), data(END_STREAM)], CLOSED);
    of.case("half closed: HEADERS", &[whole(1), whole(1)], CLOSED);
    of.case("half closed: CONTINUATION", &[whole(1), orphan], CLOSED_OR_BROKEN);
    let broken_off = [open(), reset(1, CANCEL)].concat();
    let after = |late: Vec<u8>| [broken_off.clone(), late];
    of.case("closed by RST_STREAM: DATA", &after(data(END_STREAM)), CLOSED);
    of.case("closed by RST_STREAM: HEADERS", &after(whole(1)), CLOSED);
    of.case("closed by RST_STREAM: CONTINUATION", &after(rest(END_HEADERS, 1)), CLOSED_OR_BROKEN);
    let ended = |late| vec![Step::Say(whole(1)), Step::Hear(Came::End), Step::Say(late)];
    of.steps("closed: DATA", ended(data(END_STREAM)), CLOSED);
    of.steps("closed: HEADERS", ended(whole(1)), Asked::Connection(&[STREAM_CLOSED]));
    of.steps(
        "closed: CONTINUATION",
        ended(rest(END_HEADERS, 1)),
        Asked::Connection(&[STREAM_CLOSED, PROTOCOL_ERROR]),
    );

    let mut of = section(all, "http2/5.1.1");
    of.case("an even stream", &[whole(2)], BROKEN_CONNECTION);
    of.case("a stream that goes back", &[whole(5), whole(3)], BROKEN_CONNECTION);
    let mut of = section(all, "http2/5.1.2");
    let many = (0..=100).map(|number| whole(2 * number + 1));
    let many: Vec<Vec<u8>> = std::iter::once(first_window(0)).chain(many).collect();
    of.case("too many requests", &many, Asked::Stream(&[PROTOCOL_ERROR, REFUSED_STREAM]));
    let mut of = section(all, "http2/5.3.1");
    of.case("HEADERS that depend on themselves", &[prioritized(1)], BROKEN_STREAM);
    of.case("PRIORITY that depends on itself", &[priority(1, 1, 255)], BROKEN_STREAM);
    let mut of = section(all, "http2/5.4.1");
    let misplaced = frame(PING, 0, 3, &MARK);
    of.case("an error closes", std::slice::from_ref(&misplaced), Asked::Closed);
    of.case("an error is told", &[misplaced], BROKEN_CONNECTION);
    let mut of = section(all, "http2/5.5");
    let unknown = frame(22, 0, 0, &[0; 8]);
    of.case("a frame of an unknown kind", &[unknown.clone(), ping()], PONG);
    let begun = frame(HEADERS, END_STREAM, 1, &get());
    of.case("such a frame within a block", &[begun, unknown], BROKEN_CONNECTION);
}

/// Each kind of frame (RFC 9113 §6).
fn definitions(all: &mut Vec<Case>) {
    const WRONG_SIZE: Asked = Asked::Connection(&[FRAME_SIZE_ERROR]);
    let mut of = section(all, "http2/6.1");
    of.case("DATA of the connection", &[frame(DATA, END_STREAM, 0, b"test")], BROKEN_CONNECTION);
    let late = [whole(1), data(END_STREAM)];
    of.case("DATA behind the end", &late, Asked::Stream(&[STREAM_CLOSED]));
    let sized = frame(HEADERS, END_HEADERS, 1, &method("POST", &[("content-length", b"4")]));
    let hollow = frame(DATA, END_STREAM | PADDED, 1, b"\x06Test");
    of.case("DATA with more filling than there is", &[sized, hollow], BROKEN_CONNECTION);

    let mut of = section(all, "http2/6.2");
    of.case("PRIORITY within a block", &interrupted(priority(1, 0, 255)), BROKEN_CONNECTION);
    of.case("another request within a block", &interrupted(whole(3)), BROKEN_CONNECTION);
    let of_connection = frame(HEADERS, END_HEADERS | END_STREAM, 0, &get());
    of.case("HEADERS of the connection", &[of_connection], BROKEN_CONNECTION);
    let head = get();
    let hollow = [&[u8::try_from(head.len()).unwrap() + 2][..], &head].concat();
    let hollow = frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, &hollow);
    of.case("HEADERS with more filling than there is", &[hollow], BROKEN_STREAM);

    let mut of = section(all, "http2/6.3");
    of.case("PRIORITY of the connection", &[priority(0, 0, 255)], BROKEN_CONNECTION);
    let short = frame(PRIORITY, 0, 1, &[0x80, 0, 0, 1]);
    of.case("a short PRIORITY", &[whole(1), short], Asked::Stream(&[FRAME_SIZE_ERROR]));

    let mut of = section(all, "http2/6.4");
    of.case("RST_STREAM of the connection", &[reset(0, CANCEL)], BROKEN_CONNECTION);
    of.case("RST_STREAM of an idle stream", &[reset(1, CANCEL)], BROKEN_CONNECTION);
    let short = frame(RST_STREAM, 0, 1, &[0; 3]);
    of.case("a short RST_STREAM", &[open(), short], Asked::Stream(&[FRAME_SIZE_ERROR]));

    let mut of = section(all, "http2/6.5");
    of.case("SETTINGS that answer and say", &[frame(SETTINGS, ACK, 0, &[0])], WRONG_SIZE);
    let of_stream = frame(SETTINGS, 0, 1, &[0, 3, 0, 0, 0, 100]);
    of.case("SETTINGS of a stream", &[of_stream], BROKEN_CONNECTION);
    let cut = frame(SETTINGS, 0, 0, &[0, 3, 0]);
    of.case("SETTINGS that are cut", &[cut], Asked::Stream(&[PROTOCOL_ERROR, FRAME_SIZE_ERROR]));
    let mut of = section(all, "http2/6.5.2");
    of.case("push that is neither on nor off", &[settings(&[(2, 2)])], BROKEN_CONNECTION);
    let too_wide = Asked::Connection(&[FLOW_CONTROL_ERROR]);
    of.case("a window beyond the largest", &[first_window(1 << 31)], too_wide);
    of.case("frames below the smallest", &[settings(&[(5, 16_383)])], BROKEN_CONNECTION);
    of.case("frames beyond the largest", &[settings(&[(5, 1 << 24)])], BROKEN_CONNECTION);
    of.case("an unknown setting", &[settings(&[(0xff, 1)]), ping()], PONG);
    let mut of = section(all, "http2/6.5.3");
    let steps = vec![
        Step::Say(settings(&[(4, 100), (4, 1)])),
        Step::Hear(Came::SettingsAck),
        Step::Say(whole(1)),
    ];
    of.steps("the last of two values counts", steps, Asked::This(Came::Data(1)));
    of.case("SETTINGS are answered", &[settings(&[(2, 0)])], Asked::This(Came::SettingsAck));

    let mut of = section(all, "http2/6.7");
    of.case("PING is answered", &[ping()], PONG);
    of.case("an answer to PING is not", &[frame(PING, ACK, 0, b"invalid!"), ping()], PONG);
    of.case("PING of a stream", &[frame(PING, 0, 1, &[0; 8])], BROKEN_CONNECTION);
    of.case("a short PING", &[frame(PING, 0, 0, &[0; 6])], WRONG_SIZE);
    let mut of = section(all, "http2/6.8");
    of.case("GOAWAY of a stream", &[frame(GOAWAY, 0, 1, &[0; 8])], BROKEN_CONNECTION);

    let mut of = section(all, "http2/6.10");
    let begun = || frame(HEADERS, END_STREAM, 1, &get());
    let begun_with_body = || frame(HEADERS, 0, 1, &method("POST", &[]));
    let (end, more) = (|| rest(END_HEADERS, 1), || rest(0, 1));
    of.case("several CONTINUATION", &[begun(), more(), end()], ANSWERED);
    of.case(
        "DATA within a block",
        &[begun_with_body(), more(), data(END_STREAM)],
        BROKEN_CONNECTION,
    );
    of.case("CONTINUATION of the connection", &[begun(), rest(END_HEADERS, 0)], BROKEN_CONNECTION);
    of.case("CONTINUATION behind a whole block", &[whole(1), end()], BROKEN_CONNECTION);
    of.case("CONTINUATION behind the last", &[begun(), end(), end()], BROKEN_CONNECTION);
    let spoilt = [begun_with_body(), data(END_STREAM), more(), rest(END_HEADERS, 0)];
    of.case("CONTINUATION behind DATA", &spoilt, BROKEN_CONNECTION);
}

/// Windows (RFC 9113 §6.9), and reasons that nobody knows (§7).
fn flow_control(all: &mut Vec<Case>) {
    let mut of = section(all, "http2/6.9");
    of.case("a window that does not widen", &[window(0, 0)], BROKEN_CONNECTION);
    of.case("that of a stream", &[open(), window(1, 0)], BROKEN_STREAM);
    let short = frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1]);
    of.case("a short WINDOW_UPDATE", &[short], Asked::Connection(&[FRAME_SIZE_ERROR]));
    let mut of = section(all, "http2/6.9.1");
    let acked = || Step::Hear(Came::SettingsAck);
    let one_byte = Asked::This(Came::Data(1));
    let steps = vec![Step::Say(first_window(1)), acked(), Step::Say(whole(1))];
    of.steps("a window of one byte", steps, one_byte);
    let widest = u32::MAX >> 1;
    let twice = [window(0, widest), window(0, widest)];
    of.case("a window that is too wide", &twice, Asked::Connection(&[FLOW_CONTROL_ERROR]));
    let twice = [open(), window(1, widest), window(1, widest)];
    of.case("that of a stream", &twice, Asked::Stream(&[FLOW_CONTROL_ERROR]));
    let mut of = section(all, "http2/6.9.2");
    let steps =
        vec![Step::Say(first_window(0)), acked(), Step::Say([whole(1), first_window(1)].concat())];
    of.steps("a window that widens with the settings", steps, one_byte);
    let steps = vec![
        Step::Say(first_window(3)),
        acked(),
        Step::Say(whole(1)),
        Step::HearData,
        Step::Say(first_window(2)),
        acked(),
        Step::Say(window(1, 2)),
    ];
    of.steps("a window below nothing", steps, one_byte);
    let beyond = Asked::Connection(&[FLOW_CONTROL_ERROR]);
    of.case("a window beyond the largest", &[first_window(1 << 31)], beyond);

    let mut of = section(all, "http2/7");
    let goodbye = frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0xff]);
    of.case("GOAWAY for an unknown reason", &[goodbye, ping()], Asked::PingOrClosed(MARK));
    let broken_off = [open(), reset(1, 0xff), ping()];
    of.case("RST_STREAM for an unknown reason", &broken_off, Asked::PingOrClosed(MARK));
}

/// Requests (RFC 9113 §8).
fn messages(all: &mut Vec<Case>) {
    let mut of = section(all, "http2/8.1");
    let unended = frame(HEADERS, END_HEADERS, 1, &block(&[("x-test", b"ok")]));
    of.case("trailers that are not the end", &[open(), data(0), unended], BROKEN_STREAM);
    let with = |more: &[Field<'static>]| vec![whole_of(&method("GET", more))];
    let mut of = section(all, "http2/8.1.2");
    of.case("a name in upper case", &with(&[("X-TEST", b"ok")]), BROKEN_STREAM);
    let mut of = section(all, "http2/8.1.2.1");
    of.case("an unknown pseudo-field", &with(&[(":test", b"ok")]), BROKEN_STREAM);
    of.case("a pseudo-field of answers", &with(&[(":status", b"200")]), BROKEN_STREAM);
    let trailers = frame(HEADERS, END_HEADERS, 1, &block(&[(":method", b"POST")]));
    of.case("a pseudo-field as a trailer", &[open(), data(0), trailers], BROKEN_STREAM);
    let behind = [&block(&[("x-test", b"ok")])[..], &get()].concat();
    of.case("pseudo-fields behind others", &[whole_of(&behind)], BROKEN_STREAM);
    let mut of = section(all, "http2/8.1.2.2");
    of.case("connection", &with(&[("connection", b"keep-alive")]), BROKEN_STREAM);
    let te: [Field<'static>; 2] = [("trailers", b"test"), ("te", b"trailers, deflate")];
    of.case("te that is more than trailers", &with(&te), BROKEN_STREAM);
    let mut of = section(all, "http2/8.1.2.3");
    let mut empty = GET.to_vec();
    empty[3].1 = b"";
    of.case("an empty path", &[whole_of(&block(&empty))], BROKEN_STREAM);
    let without = |at: usize| {
        let mut fields = GET.to_vec();
        fields.remove(at);
        vec![whole_of(&block(&fields))]
    };
    let twice = |at: usize| with(&[GET[at]]);
    of.case("no method", &without(0), BROKEN_STREAM);
    of.case("no scheme", &without(1), BROKEN_STREAM);
    of.case("no path", &without(3), BROKEN_STREAM);
    of.case("two methods", &twice(0), BROKEN_STREAM);
    of.case("two schemes", &twice(1), BROKEN_STREAM);
    of.case("two paths", &twice(3), BROKEN_STREAM);
    let mut of = section(all, "http2/8.1.2.6");
    let sized = || frame(HEADERS, END_HEADERS, 1, &method("POST", &[("content-length", b"1")]));
    of.case("more than its length", &[sized(), data(END_STREAM)], BROKEN_STREAM);
    of.case("more, in pieces", &[sized(), data(0), data(END_STREAM)], BROKEN_STREAM);
    let mut of = section(all, "http2/8.2");
    let promise = [&[0, 0, 0, 3][..], &get()].concat();
    of.case("a promise", &[frame(PUSH_PROMISE, END_HEADERS, 1, &promise)], BROKEN_CONNECTION);
}

/// Blocks that can't be decoded (RFC 7541).
fn compression(all: &mut Vec<Case>) {
    let with = |end: &[u8]| vec![whole_of(&[&get()[..], end].concat())];
    let mut of = section(all, "hpack/2.3.3");
    of.case("an entry that is not there", &with(&[0xc6]), UNDECODABLE);
    of.case("a name that is not there", &with(&[0x7f, 0x07, 0x00]), UNDECODABLE);
    let mut of = section(all, "hpack/4.2");
    of.case("a size of the table at the end", &with(&[0x21]), UNDECODABLE);
    let mut of = section(all, "hpack/5.2");
    let text = |value: &[u8]| with(&[&[0][..], &NAME, value].concat());
    of.case("more filling than 7 bits", &text(&[0x83, 0x3f, 0x5f, 0xff]), UNDECODABLE);
    of.case("filling of zeros", &text(&[0x82, 0x3f, 0x50]), UNDECODABLE);
    of.case("the end of all texts", &text(&[0x85, 0x3f, 0xff, 0xff, 0xff, 0xff]), UNDECODABLE);
    let mut of = section(all, "hpack/6.1");
    of.case("entry number 0", &with(&[0x80]), UNDECODABLE);
    let mut of = section(all, "hpack/6.3");
    let beyond = whole_of(&[&[0x3f, 0xe2, 0x1f][..], &get()].concat());
    of.case("a table larger than allowed", &[beyond], UNDECODABLE);
}

/// A connection of one case.
struct Connection(RawHttp2);

impl Connection {
    /// What comes next that matters. An answer's end comes with its last frame.
    async fn next(&mut self, end: &mut bool) -> Came {
        if std::mem::take(end) {
            return Came::End;
        }
        loop {
            let Ok(heard) = timeout(DEADLINE / 2, self.0.frame()).await else {
                return Came::Silence;
            };
            let Some(Frame { kind, flags, stream, payload }) = heard else { return Came::Closed };
            let word = |at: usize| u32::from_be_bytes(payload[at..][..4].try_into().unwrap());
            *end = flags & END_STREAM != 0 && matches!(kind, HEADERS | DATA);
            return match kind {
                HEADERS => Came::Head(stream),
                DATA => Came::Data(payload.len()),
                SETTINGS if flags & ACK != 0 => Came::SettingsAck,
                SETTINGS => Came::Settings,
                PING if flags & ACK != 0 => Came::PingAck(payload.try_into().unwrap()),
                RST_STREAM => Came::Reset(word(0)),
                GOAWAY => Came::GoAway(word(4)),
                _ => continue,
            };
        }
    }
}

/// What came of a case: `None` if it is what was asked for.
async fn wrong(gateway: SocketAddr, case: Case) -> Option<Came> {
    let mut raw = Connection(RawHttp2::silent(gateway).await);
    let mut end = false;
    if case.greets {
        raw.0.say([PREFACE, &settings(&[])].concat()).await;
        while raw.next(&mut end).await != Came::SettingsAck {}
        raw.0.say(frame(SETTINGS, ACK, 0, &[])).await;
    }
    for step in case.steps {
        let heard = |came| match step {
            Step::Hear(wanted) => came == wanted,
            Step::HearData => matches!(came, Came::Data(_)),
            Step::Say(_) => true,
        };
        match &step {
            Step::Say(bytes) => raw.0.say(bytes).await,
            Step::Hear(_) | Step::HearData => loop {
                let came = raw.next(&mut end).await;
                if heard(came) {
                    break;
                }
                if matches!(came, Came::Silence | Came::Closed | Came::GoAway(_)) {
                    return Some(came);
                }
            },
        }
    }
    loop {
        let came = raw.next(&mut end).await;
        let (is_right, is_decided) = match (case.asked, came) {
            (Asked::This(wanted), came) => {
                // The very first thing, the first piece of a body: none may come before it.
                let is_other = match wanted {
                    Came::Settings => true,
                    Came::Data(_) => matches!(came, Came::Data(_)),
                    _ => false,
                };
                (came == wanted, came == wanted || is_other)
            }
            (Asked::Data, came) => (matches!(came, Came::Data(_)), matches!(came, Came::Data(_))),
            (Asked::PingOrClosed(_), Came::Closed) | (Asked::Closed, Came::Closed) => (true, true),
            (Asked::PingOrClosed(mark), came) => {
                (came == Came::PingAck(mark), came == Came::PingAck(mark))
            }
            (Asked::Closed, _) => (false, came == Came::Silence),
            (Asked::Connection(reasons), Came::GoAway(reason))
            | (Asked::Stream(reasons), Came::GoAway(reason) | Came::Reset(reason)) => {
                (reasons.contains(&reason), true)
            }
            (Asked::Connection(_), Came::Reset(_)) => (false, true),
            (Asked::Connection(_) | Asked::Stream(_), _) => (false, false),
        };
        let waits_on = matches!(case.asked, Asked::Closed | Asked::PingOrClosed(_));
        let is_over = matches!(came, Came::Silence | Came::Closed)
            || matches!(came, Came::GoAway(_)) && !waits_on;
        match (is_right, is_decided || is_over) {
            (true, _) => return None,
            (false, true) => return Some(came),
            (false, false) => {}
        }
    }
}

#[tokio::test]
async fn every_case_of_h2spec_is_answered_as_the_rfc_asks() {
    let gateway = proxying_with(", http2: true", &format!("endpoints: ['{}']", replica("a").await));
    let page = std::fs::read_to_string("docs/http2.md").unwrap();
    let mut otherwise: BTreeMap<&str, Came> = OTHERWISE.iter().copied().collect();
    let (mut all, mut failed) = (0, Vec::new());
    for case in cases() {
        all += 1;
        let (number, what) = (case.number.clone(), case.what);
        let (asked, known) = (case.asked, otherwise.remove(number.as_str()));
        let came = wrong(gateway.edge, case).await;
        if came != known {
            failed.push(format!("{number} {what}: {came:?}, not {known:?}; asked: {asked:?}"));
        }
        if known.is_some() {
            assert!(page.contains(&format!("`{number}`")), "docs/http2.md tells why of {number}");
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(otherwise.is_empty(), "no such cases: {otherwise:?}");
    assert_eq!(all, 147, "as many as h2spec has");
}
