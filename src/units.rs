//! Values that are written as text: times, addresses, secrets. Each parses, prints and describes
//! itself to editors; nothing here knows what it will be used for.

mod field_text;
mod file_mode;
mod fingerprint;
mod listen_address;
mod network;
mod origin;
mod rotation;
mod same_site;
mod secret;
mod share;
mod spelling;

pub use field_text::FieldText;
pub use file_mode::FileMode;
pub use fingerprint::Fingerprint;
pub use listen_address::ListenAddress;
pub use network::Network;
pub use origin::Origin;
pub use rotation::rotation_problems;
pub use same_site::SameSite;
pub use secret::{Secret, unfilled};
pub use share::Share;

use crate::yaml::{Scalar, scalars};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A span of time, written `250ms`, `30s`, `5m` or `2h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub Duration);

impl Time {
    /// So many milliseconds.
    pub const fn ms(ms: u64) -> Self {
        Time(Duration::from_millis(ms))
    }

    /// So many seconds.
    pub const fn secs(secs: u64) -> Self {
        Time(Duration::from_secs(secs))
    }
}

impl Scalar for Time {
    const KIND: &'static str = "a time";
    const EXAMPLE: &'static str = "30s";
    const EXPECTED: &'static str = "a time such as `250ms`, `30s`, `5m` or `2h`";

    fn read(text: &str) -> Result<Self, String> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let ms_each = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "" if !number.is_empty() => return Err("a time needs a unit".to_owned()),
            _ => return Err(String::new()),
        };
        let number: u64 = number.parse().map_err(|_| String::new())?;
        match number.checked_mul(ms_each) {
            // Elsewhere it often means *no limit*; here everything has one.
            Some(0) => Err("a time of zero would end everything at once".to_owned()),
            Some(ms) => Ok(Time::ms(ms)),
            None => Err(String::new()),
        }
    }

    fn advice(text: &str) -> Option<String> {
        spelling::time(text)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        match ms {
            _ if ms.is_multiple_of(3_600_000) && ms > 0 => write!(f, "{}h", ms / 3_600_000),
            _ if ms.is_multiple_of(60_000) && ms > 0 => write!(f, "{}m", ms / 60_000),
            _ if ms.is_multiple_of(1_000) => write!(f, "{}s", ms / 1_000),
            _ => write!(f, "{ms}ms"),
        }
    }
}

/// A span of time that may be none at all, written `0s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeOrNone(pub Duration);

impl Scalar for TimeOrNone {
    const KIND: &'static str = "a time";
    const EXAMPLE: &'static str = "15m";
    const EXPECTED: &'static str = "a time such as `30s` or `15m`, or `0s`";

    fn read(text: &str) -> Result<Self, String> {
        match text {
            "0s" => Ok(TimeOrNone(Duration::ZERO)),
            text => Time::read(text).map(|time| TimeOrNone(time.0)),
        }
    }

    fn advice(text: &str) -> Option<String> {
        spelling::time(text)
    }
}

impl fmt::Display for TimeOrNone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Time(self.0).fmt(f)
    }
}

/// An IP address and a port, written `127.0.0.1:8080` or `[::1]:8080`.
///
/// It is where the gateway itself listens, so it is no host name; those are `resolve::Target`.
/// Where clients connect is a [`ListenAddress`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Address(pub SocketAddr);

impl Scalar for Address {
    const KIND: &'static str = "an address";
    const EXAMPLE: &'static str = "127.0.0.1:8080";
    const EXPECTED: &'static str =
        "an IP address and a port such as `127.0.0.1:8080`; a name is no place to listen at";

    fn read(text: &str) -> Result<Self, String> {
        text.parse().map(Address).map_err(|_| String::new())
    }

    fn advice(text: &str) -> Option<String> {
        spelling::address(text)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Plain text with variables filled in.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Text(pub String);

impl Scalar for Text {
    const KIND: &'static str = "a text";
    const EXAMPLE: &'static str = "text";
    const EXPECTED: &'static str = "a text";

    fn read(text: &str) -> Result<Self, String> {
        Ok(Text(text.to_owned()))
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The path of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePath(pub PathBuf);

impl Scalar for FilePath {
    const KIND: &'static str = "the path of a file";
    const EXAMPLE: &'static str = "file";
    const EXPECTED: &'static str = "the path of a file";

    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err(String::new());
        }
        Ok(FilePath(PathBuf::from(text)))
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

/// A number of bytes, written `64KiB`, `1MiB`, `2GiB` or as a plain number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl Scalar for Size {
    const KIND: &'static str = "a size";
    const EXAMPLE: &'static str = "64KiB";
    const EXPECTED: &'static str = "a size such as `64KiB`, `1MiB`, `8GiB` or `4096`";

    fn read(text: &str) -> Result<Self, String> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let bytes_each: u64 = match unit {
            "" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(String::new()),
        };
        let number: u64 = number.parse().map_err(|_| String::new())?;
        number.checked_mul(bytes_each).map(Size).ok_or_else(String::new)
    }

    fn advice(text: &str) -> Option<String> {
        spelling::size(text)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n if n >= 1 << 30 && n % (1 << 30) == 0 => write!(f, "{}GiB", n >> 30),
            n if n >= 1 << 20 && n % (1 << 20) == 0 => write!(f, "{}MiB", n >> 20),
            n if n >= 1 << 10 && n % (1 << 10) == 0 => write!(f, "{}KiB", n >> 10),
            n => write!(f, "{n}"),
        }
    }
}

/// A whole number from 1 to a million, written as a number or as text that a variable fills in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count(pub u32);

/// No limit, weight or number of workers is larger.
const COUNT_MAX: u32 = 1_000_000;

impl Scalar for Count {
    const KIND: &'static str = "a number from 1 to 1000000";
    const EXAMPLE: &'static str = "1";
    const EXPECTED: &'static str = "a whole number such as `3`, from 1 to 1000000";

    fn read(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(n @ 1..=COUNT_MAX) => Ok(Count(n)),
            _ => Err(String::new()),
        }
    }

    fn advice(text: &str) -> Option<String> {
        spelling::count(text)
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How many worker threads: `auto` (one per core) or a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Workers {
    /// One for each core.
    #[default]
    Auto,
    /// So many.
    Exactly(Count),
}

impl Workers {
    /// The number of threads on this machine.
    pub fn number(self) -> usize {
        match self {
            Workers::Auto => std::thread::available_parallelism().map_or(1, usize::from),
            Workers::Exactly(count) => count.0 as usize,
        }
    }
}

impl Scalar for Workers {
    const KIND: &'static str = "a number of threads";
    const EXAMPLE: &'static str = "auto";
    const EXPECTED: &'static str = "`auto`, or a whole number from 1 to 1000000";

    fn read(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Workers::Auto),
            number => Count::read(number).map(Workers::Exactly),
        }
    }
}

impl fmt::Display for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Workers::Auto => f.write_str("auto"),
            Workers::Exactly(count) => count.fmt(f),
        }
    }
}

scalars!(
    Time,
    TimeOrNone,
    Address,
    Network,
    Secret,
    Text,
    FilePath,
    Size,
    Count,
    Share,
    Workers,
    FieldText,
    Origin,
    ListenAddress,
    FileMode
);

/// Printing and the schema of scalars: what is expected, and a pattern by which an editor
/// underlines what can't be right. A text with a variable fits every pattern.
macro_rules! described {
    ($($name:ident: $json:literal $pattern:literal),+ $(,)?) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                // A number stays one, for whoever reads `/api/config`.
                let text = self.to_string();
                match text.parse::<u64>() {
                    Ok(number) if $json.starts_with("integer") => serializer.serialize_u64(number),
                    _ => serializer.serialize_str(&text),
                }
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let types: Vec<&str> = $json.split(' ').collect();
                json_schema!({
                    "type": types,
                    "description": <$name as Scalar>::EXPECTED,
                    "pattern": concat!($pattern, r"|\$\{"),
                })
            }
        }
    )+};
}

described!(
    Time: "string" "^0*[1-9][0-9]*(ms|s|m|h)$",
    TimeOrNone: "string" "^[0-9]+(ms|s|m|h)$",
    Address: "string" r"^([0-9.]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}$",
    ListenAddress: "string"
        r"^([0-9.]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}$|^unix:/.*[^/]$",
    FileMode: "string integer" "^0?[0-7]{3}$",
    Network: "string" r"^[0-9a-fA-F.:]+(/[0-9]{1,3})?$",
    Secret: "string" "",
    Text: "string" "",
    Origin: "string" r"^(\*|[A-Za-z][A-Za-z0-9+.-]*://[^/?#@ ]+)$",
    FieldText: "string" "^[ -~\\t]*$",
    FilePath: "string" ".",
    Size: "integer string" "^[0-9]+(KiB|MiB|GiB)?$",
    Count: "integer string" "^[0-9]{1,7}$",
    Share: "string" "^[0-9]{1,4}%$",
    Workers: "integer string" "^(auto|[0-9]{1,7})$",
);

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: Scalar + fmt::Display>(text: &str, expected: Option<&str>) {
        let read = T::read(text).ok().map(|value| value.to_string());
        assert_eq!(read.as_deref(), expected, "{text}");
    }

    #[test]
    fn every_example_reads() {
        fn reads<T: Scalar>() {
            assert!(T::read(T::EXAMPLE).is_ok(), "{} is {}", T::EXAMPLE, T::KIND);
        }
        reads::<Time>();
        reads::<TimeOrNone>();
        reads::<Address>();
        reads::<ListenAddress>();
        reads::<FileMode>();
        reads::<Network>();
        reads::<Secret>();
        reads::<Text>();
        reads::<FilePath>();
        reads::<Size>();
        reads::<Count>();
        reads::<Share>();
        reads::<Workers>();
        reads::<FieldText>();
        reads::<Origin>();
        reads::<crate::store::Url>();
    }

    #[test]
    fn times_parse_and_print() {
        check::<Time>("250ms", Some("250ms"));
        check::<Time>("60s", Some("1m"));
        check::<Time>("90s", Some("90s"));
        check::<Time>("2h", Some("2h"));
        for wrong in
            ["", "s", "60", "0s", "0ms", "1.5s", "-1s", "1d", "99999999999999999999s", "1 s"]
        {
            check::<Time>(wrong, None);
        }
    }

    #[test]
    fn addresses_are_never_names() {
        check::<Address>("127.0.0.1:8080", Some("127.0.0.1:8080"));
        check::<Address>("[::1]:80", Some("[::1]:80"));
        for wrong in ["localhost:80", "127.0.0.1", ":80", "1.2.3.4:99999"] {
            check::<Address>(wrong, None);
        }
    }

    #[test]
    fn networks_parse_and_print() {
        for (text, printed) in [
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1/32", "192.0.2.1"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::1", "::1"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
        ] {
            check::<Network>(text, Some(printed));
        }
        for wrong in [
            "",
            "10",
            "10/8",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.1/8",
            "::/129",
            "lb.internal",
            "10.0.0.1:80",
            "[::1]",
            "10.0.0.0 /8",
            "010.0.0.1",
            "fe80::1%eth0",
            "2001:db8::1/32",
        ] {
            check::<Network>(wrong, None);
        }
    }

    #[test]
    fn sizes_parse_and_print() {
        check::<Size>("1024", Some("1KiB"));
        check::<Size>("64KiB", Some("64KiB"));
        check::<Size>("1500", Some("1500"));
        check::<Size>("1MB", None);
        check::<Size>("99999999999GiB", None);
    }

    #[test]
    fn shares_are_in_per_cent() {
        check::<Share>("20%", Some("20%"));
        for wrong in ["0%", "20", "0.2", "+5%", "1001%", "%", "20 %"] {
            check::<Share>(wrong, None);
        }
        assert_eq!(Share::advice("0.2").as_deref(), Some("write `20%`"));
        assert_eq!(Share::percent(50).of(3), 1);
    }

    #[test]
    fn counts_are_bounded() {
        check::<Count>("1", Some("1"));
        check::<Count>("0", None);
        check::<Count>("1000001", None);
        check::<Workers>("auto", Some("auto"));
    }
}
