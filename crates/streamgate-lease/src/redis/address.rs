//! Address: the URL of a store. It names one server, a master that sentinels watch over, or a
//! cluster, with TLS or without.
//!
//! It connects to nothing. Its password is never printed: not by `Display`, not by `Debug`, not by
//! an error.

use ::redis::{ConnectionInfo, IntoConnectionInfo};
use std::fmt;
use std::hash::{Hash, Hasher};

/// Servers or sentinels that one address may name.
const HOSTS_MAX: usize = 32;
/// The port of sentinels, if the address names none.
const SENTINEL_PORT: u16 = 26379;

/// The servers of a store, with user, password and database.
#[derive(Clone)]
pub struct Address {
    text: String,
    pub(super) shape: Shape,
    /// The hosts that the address names; user, password and database are the same in all.
    pub(super) hosts: Vec<ConnectionInfo>,
}

/// How many servers there are, and how the right one is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    /// The server that the address names.
    One,
    /// The server that the sentinels call the master of this name.
    Sentinel(String),
    /// Many servers, each with a part of the hash slots.
    Cluster,
}

/// Why a text is no address. The text is not repeated: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressInvalid {
    /// An unknown scheme.
    #[error("this is not the address of a store")]
    Scheme,
    /// A host, a port, a user, a password or a database cannot be read.
    #[error("a host, a port or a database of this address cannot be read")]
    Host,
    /// Several hosts after `redis://`.
    #[error("one server is one host: several are a `redis+cluster://` or `redis+sentinel://`")]
    ManyHosts,
    /// Too many hosts.
    #[error("an address names at most {HOSTS_MAX} hosts: a few of them find all the others")]
    HostsMax,
    /// A cluster with a path.
    #[error("a cluster has one database and no name: end the address after the last port")]
    ClusterPath,
    /// Sentinels without a name.
    #[error("sentinels watch over masters by name: end the address with `/name` or `/name/db`")]
    SentinelName,
    /// `#insecure`, which turns the verification of certificates off.
    #[error("`#insecure` would trust any server: give its authority as `tls: {{ ca: … }}` instead")]
    Insecure,
    /// A socket without a whole path, or with anything but its three words behind it.
    #[error("a socket is a whole path, with `db`, `user` and `pass` behind a `?`, once each")]
    Socket,
    /// Something after `?` or `#`.
    #[error("the address of a store has nothing after a `?` or a `#`")]
    Rest,
}

impl Address {
    /// Reads `redis://`, `rediss://`, `redis+cluster://`, `redis+sentinel://`, the latter two with
    /// `rediss` as well, or `unix://`, which may be written `redis+unix://`.
    ///
    /// # Errors
    /// [`AddressInvalid`] says what would be right.
    pub fn parse(text: &str) -> Result<Self, AddressInvalid> {
        let (scheme, rest) = text.split_once("://").ok_or(AddressInvalid::Scheme)?;
        let (plain, kind) = match scheme {
            "unix" | "redis+unix" => ("", "unix"),
            "redis" | "rediss" => (scheme, ""),
            _ => scheme.split_once('+').ok_or(AddressInvalid::Scheme)?,
        };
        let (shape, hosts) = match (plain, kind) {
            (_, "unix") => (Shape::One, vec![socket(text, rest)?]),
            ("redis" | "rediss", _) if rest.ends_with("#insecure") => {
                return Err(AddressInvalid::Insecure);
            }
            ("redis" | "rediss", _) if rest.contains(['?', '#']) => {
                return Err(AddressInvalid::Rest);
            }
            ("redis" | "rediss", "") => one(plain, rest)?,
            ("redis" | "rediss", "cluster") => cluster(plain, rest)?,
            ("redis" | "rediss", "sentinel") => sentinel(plain, rest)?,
            _ => return Err(AddressInvalid::Scheme),
        };
        Ok(Self { text: text.to_owned(), shape, hosts })
    }

    /// Whether connections use TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.text.starts_with("rediss")
    }
}

fn one(scheme: &str, rest: &str) -> Result<(Shape, Vec<ConnectionInfo>), AddressInvalid> {
    let (user, hosts, _) = split(rest);
    if hosts.contains(',') {
        return Err(AddressInvalid::ManyHosts);
    }
    // The redis crate reads an empty host as the loopback; a typing error should not connect there.
    if hosts.is_empty() || hosts.starts_with(':') || user.is_some_and(|user| user.contains('/')) {
        return Err(AddressInvalid::Host);
    }
    Ok((Shape::One, vec![info(format!("{scheme}://{rest}"))?]))
}

/// The redis crate ignores what it does not know, and takes the first part of a path for a host if
/// the path is not whole.
fn socket(text: &str, rest: &str) -> Result<ConnectionInfo, AddressInvalid> {
    let (path, words) = rest.split_once('?').unwrap_or((rest, ""));
    let keys = words.split('&').filter(|_| !words.is_empty());
    let mut keys: Vec<_> = keys.map(|word| word.split('=').next().unwrap_or_default()).collect();
    let count = keys.len();
    keys.sort_unstable();
    keys.dedup();
    let are_known = keys.iter().all(|key| matches!(*key, "db" | "user" | "pass"));
    if !path.starts_with('/') || path.len() < 2 || rest.contains('#') || !are_known {
        return Err(AddressInvalid::Socket);
    }
    if count != keys.len() {
        return Err(AddressInvalid::Socket);
    }
    info(text.to_owned())
}

fn cluster(scheme: &str, rest: &str) -> Result<(Shape, Vec<ConnectionInfo>), AddressInvalid> {
    let (user, hosts, path) = split(rest);
    if !matches!(path, "" | "/") {
        return Err(AddressInvalid::ClusterPath);
    }
    Ok((Shape::Cluster, many(scheme, user, hosts, "", None)?))
}

fn sentinel(scheme: &str, rest: &str) -> Result<(Shape, Vec<ConnectionInfo>), AddressInvalid> {
    let (user, hosts, path) = split(rest);
    let (name, db) = match path.trim_start_matches('/').split_once('/') {
        Some((name, db)) => (name, format!("/{db}")),
        None => (path.trim_start_matches('/'), String::new()),
    };
    // The characters that sentinels themselves allow in a name.
    let may_be = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if name.is_empty() || !name.bytes().all(may_be) {
        return Err(AddressInvalid::SentinelName);
    }
    let hosts = many(scheme, user, hosts, &db, Some(SENTINEL_PORT))?;
    Ok((Shape::Sentinel(name.to_owned()), hosts))
}

/// Splits into user and password (if there are any), hosts, and path. A password may hold an `@`.
fn split(rest: &str) -> (Option<&str>, &str, &str) {
    let (user, rest) = match rest.rsplit_once('@') {
        Some((user, rest)) => (Some(user), rest),
        None => (None, rest),
    };
    let path = rest.find('/').unwrap_or(rest.len());
    (user, &rest[..path], &rest[path..])
}

fn many(
    scheme: &str,
    user: Option<&str>,
    hosts: &str,
    path: &str,
    port: Option<u16>,
) -> Result<Vec<ConnectionInfo>, AddressInvalid> {
    if HOSTS_MAX < hosts.split(',').count() {
        return Err(AddressInvalid::HostsMax);
    }
    let user = user.map(|user| format!("{user}@")).unwrap_or_default();
    let read = |host: &str| {
        if host.is_empty() || host.starts_with(':') {
            return Err(AddressInvalid::Host);
        }
        let has_port = host.rsplit(']').next().is_some_and(|end| end.contains(':'));
        let port = port.filter(|_| !has_port).map(|port| format!(":{port}")).unwrap_or_default();
        info(format!("{scheme}://{user}{host}{port}{path}"))
    };
    hosts.split(',').map(read).collect()
}

fn info(url: String) -> Result<ConnectionInfo, AddressInvalid> {
    url.into_connection_info().map_err(|_| AddressInvalid::Host)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.text.split('?').next().unwrap_or_default();
        match (shown.find("://"), shown.rfind('@')) {
            (Some(scheme), Some(at)) => write!(f, "{}://***{}", &shown[..scheme], &shown[at..]),
            _ => f.write_str(shown),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Address {}

impl Hash for Address {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(text: &str) -> (Shape, Vec<String>) {
        let address = Address::parse(text).expect(text);
        let all = address.hosts.iter().map(|host| {
            let who = host.redis_settings();
            let (user, password) = (who.username(), who.password());
            format!("{:?} {user:?} {password:?} {}", host.addr().to_string(), who.db())
        });
        (address.shape, all.collect())
    }

    #[test]
    fn every_form_is_read() {
        let shape = |text: &str| hosts(text).0;
        assert_eq!(shape("redis://10.0.0.5"), Shape::One);
        assert_eq!(shape("redis://10.0.0.5:1/3"), Shape::One);
        assert_eq!(shape("redis+unix:///run/redis.sock"), Shape::One);
        assert_eq!(
            hosts("unix:///run/redis.sock?db=2&user=gate&pass=p%40ss").1,
            [r#""/run/redis.sock" Some("gate") Some("p@ss") 2"#]
        );
        assert_eq!(shape("rediss+cluster://a:1,b:2,[::1]:3"), Shape::Cluster);
        assert_eq!(shape("redis+sentinel://a/main"), Shape::Sentinel("main".into()));
        assert!(Address::parse("rediss+cluster://a:1").is_ok_and(|address| address.is_tls()));
        assert_eq!(
            hosts("redis+sentinel://gate:p%40ss@a,b:7,[::1]/main/4").1,
            [
                r#""a:26379" Some("gate") Some("p@ss") 4"#,
                r#""b:7" Some("gate") Some("p@ss") 4"#,
                r#""::1:26379" Some("gate") Some("p@ss") 4"#,
            ]
        );
        assert_eq!(
            hosts("redis+cluster://:secret@a,b:7").1,
            [r#""a:6379" None Some("secret") 0"#, r#""b:7" None Some("secret") 0"#]
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_reason() {
        use AddressInvalid::*;
        for (text, why) in [
            ("localhost:6379", Scheme),
            ("http://a", Scheme),
            ("redis+ring://a", Scheme),
            ("redis://", Host),
            ("redis://:6379", Host),
            ("redis://u:very-secret@a:port", Host),
            ("redis://a:1/x", Host),
            ("redis+cluster://a:1,,b:2", Host),
            ("redis+cluster://a:99999", Host),
            ("redis+sentinel://a:1/main/x", Host),
            ("redis://a:1,b:2", ManyHosts),
            ("redis+cluster://a:1/0", ClusterPath),
            ("redis+sentinel://a:1,b:2", SentinelName),
            ("redis+sentinel://a:1/my master", SentinelName),
            ("rediss://a:1/#insecure", Insecure),
            ("rediss+cluster://a:1#insecure", Insecure),
            ("redis://a:1?protocol=resp3", Rest),
            ("unix://run/redis.sock", Socket),
            ("unix://", Socket),
            ("unix:///", Socket),
            ("redis+unix:///run/redis.sock?dbb=1", Socket),
            ("unix:///run/redis.sock?db=1&db=2", Socket),
            ("unix:///run/redis.sock#db", Socket),
            ("unix:///run/redis.sock?db=x", Host),
        ] {
            assert_eq!(Address::parse(text).err(), Some(why), "{text}");
        }
        let many = format!("redis+cluster://{}", vec!["a:1"; HOSTS_MAX + 1].join(","));
        assert_eq!(Address::parse(&many).err(), Some(HostsMax));
    }

    #[test]
    fn no_password_is_shown() {
        for text in [
            "redis://u:secret@a:1",
            "redis+cluster://u:secret%40@a:1,b:2",
            "rediss+sentinel://:se@cret@a:1,b:2/main",
            "redis+unix:///run/redis.sock?user=u&pass=secret",
        ] {
            let address = Address::parse(text).expect(text);
            let shown = format!("{address} {address:?}");
            assert!(!shown.contains("cret"), "{shown}");
        }
    }
}
