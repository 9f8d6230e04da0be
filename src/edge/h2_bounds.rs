//! `http2` of a listener in `gateway.yaml`: `true`, `false`, or its bounds.

use crate::problem::Problem;
use crate::units::{Count, Size};
use crate::yaml::{At, Scalar, ScalarOr, scalars};
use h2::server::Builder;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// What a client begins with (RFC 9113 §3.4).
pub(in crate::edge) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The time in which `resets` and `control_frames` are counted.
pub(in crate::edge) const COUNTED_OVER: Duration = Duration::from_secs(30);

/// The largest window that HTTP/2 knows (RFC 9113 §6.9.1), in bytes.
const WINDOW_BYTES_MAX: u64 = (1 << 31) - 1;

/// The smallest window, in bytes: less would make a body come in crumbs.
const WINDOW_BYTES_MIN: u64 = 1 << 10;

/// What a connection begins with (RFC 9113 §6.9.2); it can't be made smaller.
const CONNECTION_WINDOW_BYTES_MIN: u64 = (1 << 16) - 1;

/// Streams that the gateway has reset for faults, in the life of a connection. The faults of a
/// short time are counted with `resets`.
const FAULTS_MAX: usize = 1_024;

/// Whether a listener speaks HTTP/2, and the bounds of its connections.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Config(ScalarOr<Spoken, Settings>);

/// `true` or `false`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spoken(bool);

/// The bounds of one connection that speaks HTTP/2.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Http2")]
pub struct Settings {
    /// How many requests may be under way at once.
    #[serde(default = "streams")]
    pub(in crate::edge) streams: Count,
    /// How large the head of a request may be, in bytes, with 32 for each field. What is larger
    /// gets a bare 431; what is four times as large ends the connection. Left out: 48 KiB, or what
    /// `head` of the listener allows, if that is more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    header_list: Option<At<Size>>,
    /// How many bytes of one request's body may come before they are read.
    #[serde(default = "window")]
    window: At<Size>,
    /// The same of all requests of a connection together.
    #[serde(default = "connection_window")]
    connection_window: At<Size>,
    /// How many bytes of an answer are held for a client that does not take them yet.
    #[serde(default = "send_buffer")]
    send_buffer: At<Size>,
    /// How many requests a client may break off in 30 seconds. One that breaks off more is told to
    /// be calm, and its connection ends; so is one whose requests are as often malformed.
    #[serde(default = "resets")]
    pub(in crate::edge) resets: Count,
    /// How many frames a client may send in 30 seconds that carry nothing: `SETTINGS`, `PING`,
    /// `PRIORITY`, `CONTINUATION`, `WINDOW_UPDATE`, empty `DATA`. Each request allows for 4 more,
    /// and each KiB of an answer for one. Beyond that the connection ends.
    #[serde(default = "control_frames")]
    pub(in crate::edge) control_frames: Count,
}

fn streams() -> Count {
    Count(100)
}

/// The least that `header_list` is where it is left out, in bytes.
const HEADER_LIST_BYTES: u64 = 48 << 10;

fn window() -> At<Size> {
    At::unwritten(Size(64 << 10))
}

fn connection_window() -> At<Size> {
    At::unwritten(Size(1 << 20))
}

fn send_buffer() -> At<Size> {
    At::unwritten(Size(64 << 10))
}

fn resets() -> Count {
    Count(200)
}

fn control_frames() -> Count {
    Count(1_000)
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            streams: streams(),
            header_list: None,
            window: window(),
            connection_window: connection_window(),
            send_buffer: send_buffer(),
            resets: resets(),
            control_frames: control_frames(),
        }
    }
}

impl Config {
    /// The bounds; `None`: HTTP/2 is not spoken.
    pub fn compile(&self) -> Result<Option<Settings>, Vec<Problem>> {
        match &self.0 {
            ScalarOr::Value(spoken) => Ok(spoken.value.0.then(Settings::default)),
            ScalarOr::Full(settings) => {
                let problems: Vec<Problem> = settings.problems().collect();
                if problems.is_empty() { Ok(Some(settings.clone())) } else { Err(problems) }
            }
        }
    }
}

impl Settings {
    fn problems(&self) -> impl Iterator<Item = Problem> {
        let connection_min = CONNECTION_WINDOW_BYTES_MIN.max(self.window.value.0);
        let header_list = self.header_list.as_ref();
        let header_list = header_list.map(|size| (size, "header_list", WINDOW_BYTES_MIN, 1 << 20));
        let others = [
            (&self.window, "window", WINDOW_BYTES_MIN, WINDOW_BYTES_MAX),
            (&self.connection_window, "connection_window", connection_min, WINDOW_BYTES_MAX),
            (&self.send_buffer, "send_buffer", WINDOW_BYTES_MIN, WINDOW_BYTES_MAX),
        ];
        let all = header_list.into_iter().chain(others);
        all.filter(|(size, _, min, max)| !(*min..=*max).contains(&size.value.0)).map(
            |(size, name, min, max)| {
                let text = format!("`{name}` of HTTP/2 can't be {}", size.value);
                let (min, max) = (Size(min), Size(max));
                size.problem(text).help(format!("write a size from {min} to {max}"))
            },
        )
    }

    /// The same, where a head may be counted for so many bytes.
    pub(in crate::edge) fn fitting(mut self, head_bytes: u64) -> Self {
        let least = Size(HEADER_LIST_BYTES.max(head_bytes));
        self.header_list.get_or_insert(At::unwritten(least));
        self
    }

    /// A handshake with these bounds.
    pub(in crate::edge) fn builder(&self) -> Builder {
        let bytes = |size: &At<Size>| u32::try_from(size.value.0).unwrap_or(u32::MAX);
        let mut builder = Builder::new();
        builder
            .max_concurrent_streams(self.streams.0)
            .max_header_list_size(self.header_list.as_ref().map_or(u32::MAX, bytes))
            .initial_window_size(bytes(&self.window))
            .initial_connection_window_size(bytes(&self.connection_window))
            .max_send_buffer_size(bytes(&self.send_buffer) as usize)
            // Those that were reset before they were looked at: no more than there may be at once.
            .max_pending_accept_reset_streams(self.streams.0 as usize)
            .max_local_error_reset_streams(Some(FAULTS_MAX));
        builder
    }
}

impl Scalar for Spoken {
    const KIND: &'static str = "true or false, or bounds";
    const EXAMPLE: &'static str = "true";
    const EXPECTED: &'static str = "`true`, `false`, or bounds such as `{ streams: 100 }`";

    fn read(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "true" => Ok(Spoken(true)),
            "false" => Ok(Spoken(false)),
            _ => Err(String::new()),
        }
    }
}

impl fmt::Display for Spoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

scalars!(Spoken);

impl Serialize for Spoken {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(self.0)
    }
}

impl JsonSchema for Spoken {
    fn schema_name() -> Cow<'static, str> {
        "Http2Spoken".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "boolean" })
    }
}
