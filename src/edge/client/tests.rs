use super::*;
use crate::edge::SocketConfig;
use crate::edge::Underscores;
use crate::edge::connections::Connections;
use crate::edge::reader_pace::ReaderBounds;
use crate::edge::{TrustedPeer, TrustedPeers};
use crate::request::head::HeadSizes;
use crate::units::{Count, ListenAddress};
use crate::yaml::Scalar;
use proptest::prelude::*;
use std::time::Duration;

fn listener(trusted: &[&str], trusted_host: bool) -> Listener {
    let peers = trusted.iter().map(|text| TrustedPeer::read(text).expect("a network"));
    let peers: Vec<TrustedPeer> = peers.collect();
    Listener {
        number: 0,
        name: "edge".into(),
        address: ListenAddress::Inet(([127, 0, 0, 1], 0).into()),
        trusted: TrustedPeers::new(&peers),
        trusted_host,
        underscores: Underscores::Drop,
        proxy_protocol: false,
        tls: None,
        http2: None,
        connections: Connections::new(Count(10), None),
        requests_per_connection: 1_000,
        max_age: Duration::from_secs(3_600),
        body_rate: 1_024,
        socket: SocketConfig::default(),
        head_timeout: Duration::from_secs(15),
        idle_timeout: Duration::from_secs(75),
        body_timeout: Duration::from_secs(30),
        head_sizes: HeadSizes::default(),
        reader: ReaderBounds { timeout: Duration::from_secs(60), rate: 0 },
    }
}

fn fields(lines: &[(&'static str, &[u8])]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        map.append(*name, HeaderValue::from_bytes(value).expect("a value"));
    }
    map
}

fn client(peer: &str, lines: &[(&'static str, &[u8])]) -> Client {
    let listener = listener(&["10.0.0.0/8", "2001:db8::/32"], false);
    let socket = SocketAddr::new(peer.parse().expect("an address"), 4000);
    Client::of(&Peer::at(Some(socket)), &fields(lines), &listener)
}

/// The client behind a trusted peer that says this.
fn behind(lines: &[&str]) -> String {
    let lines: Vec<_> = lines.iter().map(|line| (FORWARDED_FOR, line.as_bytes())).collect();
    client("10.0.0.2", &lines).address.expect("an address").to_string()
}

#[test]
fn the_rightmost_address_that_is_not_trusted_is_the_client() {
    for (said, expected) in [
        ("203.0.113.9", "203.0.113.9"),
        ("1.2.3.4, 203.0.113.9", "203.0.113.9"),
        ("1.2.3.4,203.0.113.9 ,\t10.0.0.7", "203.0.113.9"),
        ("10.0.0.9, 203.0.113.9, 10.0.0.7, 10.0.0.8", "203.0.113.9"),
        ("10.0.0.9, 10.0.0.7", "10.0.0.9"),
        ("203.0.113.9:4711", "203.0.113.9"),
        ("203.0.113.9, 10.0.0.7:80", "203.0.113.9"),
        ("2001:db9::7", "2001:db9::7"),
        ("[2001:db9::7]", "2001:db9::7"),
        ("[2001:db9::7]:443, [2001:db8::1]:80", "2001:db9::7"),
        ("2001:DB9:0::7", "2001:db9::7"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("[::ffff:203.0.113.9]:80", "203.0.113.9"),
        ("203.0.113.9, ::ffff:10.0.0.7", "203.0.113.9"),
    ] {
        assert_eq!(behind(&[said]), expected, "{said}");
    }
}

#[test]
fn several_lines_are_one_list() {
    assert_eq!(behind(&["1.2.3.4", "203.0.113.9", "10.0.0.7, 10.0.0.8"]), "203.0.113.9");
    assert_eq!(behind(&["203.0.113.9", "10.0.0.7"]), "203.0.113.9");
    assert_eq!(behind(&["1.2.3.4", ""]), "10.0.0.2", "a hop that says nothing can't be read");
}

#[test]
fn a_hop_that_cant_be_read_ends_the_chain_at_the_last_good_one() {
    for bad in [
        "",
        "unknown",
        "_hidden",
        "-",
        "localhost",
        "1.2.3",
        "1.2.3.4.5",
        "256.1.1.1",
        "010.0.0.1",
        "0x7f.1",
        "1.2.3.4:",
        "1.2.3.4:99999",
        "1.2.3.4:-1",
        "1.2.3.4 5.6.7.8",
        "\"1.2.3.4\"",
        "for=1.2.3.4",
        "[1.2.3.4]",
        "[::1",
        "::1]",
        "[::1]x",
        "[::1]:",
        "::g",
        "1::2::3",
        "%00",
        "fe80::1%eth0",
        "1.2.3.4/32",
        "http://1.2.3.4",
        "1.2.3.4;5.6.7.8",
        "２.2.2.2",
        "\u{fffd}",
    ] {
        assert_eq!(behind(&[bad]), "10.0.0.2", "`{bad}` alone");
        assert_eq!(behind(&[&format!("203.0.113.9, {bad}")]), "10.0.0.2", "`{bad}` at the right");
        let between = format!("203.0.113.9, {bad}, 10.0.0.7");
        assert_eq!(behind(&[&between]), "10.0.0.7", "`{bad}` between");
        let before = format!("{bad}, 203.0.113.9, 10.0.0.7");
        assert_eq!(behind(&[&before]), "203.0.113.9", "`{bad}` is a client's own word");
    }
    let bytes = [(FORWARDED_FOR, &b"203.0.113.9, \xff\xfe, 10.0.0.7"[..])];
    assert_eq!(client("10.0.0.2", &bytes).address, Some([10, 0, 0, 7].into()));
}

#[test]
fn nobody_else_is_believed() {
    let said: &[(&str, &[u8])] = &[
        (FORWARDED_FOR, b"192.0.2.1"),
        (FORWARDED_PROTO, b"https"),
        (FORWARDED_HOST, b"evil.example"),
    ];
    for peer in ["203.0.113.9", "::1", "2001:db9::1"] {
        let expected = peer.parse().expect("an address");
        let client = client(peer, said);
        assert_eq!((client.address, client.scheme), (Some(expected), Scheme::HTTP), "{peer}");
        assert_eq!(client.host, None);
    }
    let mapped = client("::ffff:203.0.113.9", said).address;
    assert_eq!(mapped, Some([203, 0, 113, 9].into()), "told as IPv4");
    let mapped = client("::ffff:10.0.0.2", said).address;
    assert_eq!(mapped, Some([192, 0, 2, 1].into()), "trusted as IPv4");
    let listener = listener(&["10.0.0.0/8"], true);
    let nobody = Client::of(&Peer::at(None), &fields(said), &listener);
    let (address, scheme, host) = (None, Scheme::HTTP, None);
    assert_eq!(nobody, Client { address, scheme, host, is_peer_trusted: false });
}

#[test]
fn the_scheme_is_what_the_clients_own_hop_says() {
    for (addresses, said, is_https) in [
        ("203.0.113.9", "https", true),
        ("203.0.113.9", "HTTPS", true),
        ("203.0.113.9", "wss", true),
        ("203.0.113.9", "http", false),
        ("203.0.113.9", "ws", false),
        ("203.0.113.9", "", false),
        ("203.0.113.9", "ftp", false),
        ("203.0.113.9", "https://", false),
        // The peer appends, and a client wrote what stands before.
        ("203.0.113.9", "https, http", false),
        ("203.0.113.9", "http, https", true),
        // The outer one of two hops ended TLS.
        ("203.0.113.9, 10.0.0.7", "https, http", true),
        ("203.0.113.9, 10.0.0.7", "http, https", false),
        ("203.0.113.9, 10.0.0.7", "https", true),
        ("203.0.113.9, 10.0.0.7", "http, https, http", true),
        ("", "https", true),
    ] {
        let lines: &[(&str, &[u8])] =
            &[(FORWARDED_FOR, addresses.as_bytes()), (FORWARDED_PROTO, said.as_bytes())];
        let scheme = client("10.0.0.2", lines).scheme;
        assert_eq!(scheme == Scheme::HTTPS, is_https, "{addresses} {said}");
    }
    let alone = client("10.0.0.2", &[(FORWARDED_PROTO, b"https")]);
    assert_eq!((alone.scheme, alone.address), (Scheme::HTTPS, Some([10, 0, 0, 2].into())));
}

#[test]
fn the_host_is_told_only_where_the_file_says_so() {
    let lines: &[(&str, &[u8])] =
        &[(FORWARDED_FOR, b"203.0.113.9"), (FORWARDED_HOST, b"evil.example, tv.example")];
    for (is_asked, peer, host) in [
        (true, [10, 0, 0, 2], Some("tv.example")),
        (false, [10, 0, 0, 2], None),
        (true, [203, 0, 113, 9], None),
    ] {
        let listener = listener(&["10.0.0.0/8"], is_asked);
        let peer = Peer::at(Some((peer, 4000).into()));
        let client = Client::of(&peer, &fields(lines), &listener);
        assert_eq!(client.host, host.map(HeaderValue::from_static), "{is_asked} {peer:?}");
    }
}

proptest! {
    /// Whatever stands at the left of an address that is not trusted changes nothing.
    #[test]
    fn a_clients_own_word_names_nobody(word in "[ -~]{0,64}", hops in 0_usize..4) {
        let trusted = ", 10.0.0.7".repeat(hops);
        prop_assert_eq!(behind(&[&format!("{word}, 203.0.113.9{trusted}")]), "203.0.113.9");
        prop_assert_eq!(behind(&[&word, &format!("203.0.113.9{trusted}")]), "203.0.113.9");
    }
}
