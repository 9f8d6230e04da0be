use super::*;
use proptest::prelude::*;

/// What is read of a connection that begins with `bytes`, and how many of them belong to the
/// header.
fn read_all(bytes: &[u8]) -> (Beginning, usize) {
    let mut read = 0;
    loop {
        match Beginning::of(&bytes[..read]) {
            Beginning::Part(missing) if missing <= bytes.len() - read => read += missing,
            clear => return (clear, read),
        }
    }
}

/// What a header says; the byte behind it must not be touched.
fn said(header: &[u8]) -> Option<ProxyHeader> {
    let followed = [header, b"G"].concat();
    assert_eq!(read_all(&followed), (Beginning::Whole, header.len()), "{}", header.escape_ascii());
    ProxyHeader::parse(header)
}

fn from(address: &str, is_tls: bool) -> Option<ProxyHeader> {
    Some(ProxyHeader { source: Some(address.parse().expect("an address")), is_tls })
}

/// A header of version 2.
fn v2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("a short payload").to_be_bytes();
    [V2_START, &[command, family], &length, payload].concat()
}

const V4: [u8; 12] = [203, 0, 113, 9, 10, 0, 0, 1, 0x12, 0x34, 1, 0xbb];

/// The client came by TLS 1.3, without a certificate.
const TLS: [u8; 15] = [0x20, 0, 12, 1, 0, 0, 0, 1, 0x21, 0, 4, b'1', b'.', b'3', b' '];

/// It is not said whose connection it is, but that it came by TLS.
const BY_TLS: Option<ProxyHeader> = Some(ProxyHeader { source: None, is_tls: true });

#[test]
fn lines_of_version_1() {
    let nobody = Some(ProxyHeader::default());
    for (line, expected) in [
        ("PROXY TCP4 203.0.113.9 10.0.0.1 56324 443\r\n", from("203.0.113.9", false)),
        ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", {
            from("255.255.255.255", false)
        }),
        ("PROXY TCP4 203.0.113.9 10.0.0.1 0 0\r\n", from("203.0.113.9", false)),
        ("PROXY TCP6 2001:db8::9 2001:db8::1 4124 443\r\n", from("2001:db8::9", false)),
        ("PROXY TCP6 ::ffff:203.0.113.9 ::1 4124 443\r\n", from("::ffff:203.0.113.9", false)),
        ("PROXY UNKNOWN\r\n", nobody),
        ("PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", nobody),
        ("PROXY UNKNOWN whatever it may be\r\n", nobody),
    ] {
        assert_eq!(said(line.as_bytes()), expected, "{line}");
    }
    let longest = format!("PROXY TCP6 {0} {0} 65535 65535\r\n", ["ffff"; 8].join(":"));
    assert_eq!(said(longest.as_bytes()), from(&["ffff"; 8].join(":"), false));
}

#[test]
fn lines_that_are_none_of_version_1() {
    for line in [
        "PROXY \r\n",
        "PROXY  TCP4 203.0.113.9 10.0.0.1 1 2\r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP4 203.0.113.9\r\n",
        "PROXY TCP4 203.0.113.9 10.0.0.1 1\r\n",
        "PROXY TCP4 203.0.113.9 10.0.0.1 1 2 3\r\n",
        "PROXY TCP4 203.0.113.9 10.0.0.1 1 2 \r\n",
        "PROXY TCP4 203.0.113.9 10.0.0.1 1 65536\r\n",
        "PROXY TCP4 203.0.113.9 10.0.0.1 -1 2\r\n",
        "PROXY TCP4 203.0.113.9 10.0.0.1 01 2\r\n",
        "PROXY TCP4 203.0.113 10.0.0.1 1 2\r\n",
        "PROXY TCP4 010.0.0.1 10.0.0.1 1 2\r\n",
        "PROXY TCP4 ::1 ::2 1 2\r\n",
        "PROXY TCP6 203.0.113.9 10.0.0.1 1 2\r\n",
        "PROXY TCP6 [::1] ::2 1 2\r\n",
        "PROXY TCP5 203.0.113.9 10.0.0.1 1 2\r\n",
        "PROXY UDP4 203.0.113.9 10.0.0.1 1 2\r\n",
        "PROXY tcp4 203.0.113.9 10.0.0.1 1 2\r\n",
        "PROXY TCP4 203.0.113.9 10.0.0.1 1 2\n",
        "PROXY TCP4 203.0.113.9\r10.0.0.1 1 2\r\n",
        "PROXY UNKNOWN\n",
        "PROXY UNKNOWNX\r\n",
        "PROXY / HTTP/1.1\r\n",
    ] {
        assert_eq!(said(line.as_bytes()), None, "{line}");
    }
    let of_length = |bytes: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(bytes - 16));
    assert_eq!(said(of_length(V1_BYTES_MAX).as_bytes()), Some(ProxyHeader::default()));
    let longer = of_length(V1_BYTES_MAX + 1);
    assert_eq!(read_all(longer.as_bytes()), (Beginning::Malformed, V1_BYTES_MAX));
    let endless = format!("PROXY UNKNOWN {}", "x".repeat(V1_BYTES_MAX));
    assert_eq!(read_all(endless.as_bytes()), (Beginning::Malformed, V1_BYTES_MAX));
    assert_eq!(said(b"PROXY TCP4 \xff\xfe 10.0.0.1 1 2\r\n"), None);
}

#[test]
fn headers_of_version_2() {
    let v6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[9], &[0; 16], &[0x12, 0x34, 1, 0xbb]].concat();
    let mapped = [&[0; 10][..], &[0xff, 0xff, 203, 0, 113, 9], &v6[16..]].concat();
    let with = |fields: &[&[u8]]| [&V4[..], &fields.concat()].concat();
    for (what, header, expected) in [
        ("TCP over IPv4", v2(V2_PROXY, 0x11, &V4), from("203.0.113.9", false)),
        ("UDP over IPv4", v2(V2_PROXY, 0x12, &V4), from("203.0.113.9", false)),
        ("TCP over IPv6", v2(V2_PROXY, 0x21, &v6), from("2001:db8::9", false)),
        ("a client by TLS", v2(V2_PROXY, 0x11, &with(&[&TLS])), from("203.0.113.9", true)),
        (
            "other fields around",
            v2(V2_PROXY, 0x11, &with(&[&[4, 0, 3, 0, 0, 0], &TLS, &[0xea, 0, 1, 7]])),
            from("203.0.113.9", true),
        ),
        (
            "a client that has no TLS",
            v2(V2_PROXY, 0x11, &with(&[&[0x20, 0, 5, 0, 0, 0, 0, 0]])),
            from("203.0.113.9", false),
        ),
        (
            "a certificate alone is no TLS",
            v2(V2_PROXY, 0x11, &with(&[&[0x20, 0, 5, 2, 0, 0, 0, 0]])),
            from("203.0.113.9", false),
        ),
        ("not said whose", v2(V2_PROXY, 0, &[]), Some(ProxyHeader::default())),
        ("not said whose, by TCP", v2(V2_PROXY, 1, &[]), Some(ProxyHeader::default())),
        ("not said whose, by TLS", v2(V2_PROXY, 0, &TLS), BY_TLS),
        ("not said whose, and no fields", v2(V2_PROXY, 0, &V4), Some(ProxyHeader::default())),
        ("a socket of Unix, by TLS", v2(V2_PROXY, 0x31, &[&[0; 216], &TLS[..]].concat()), BY_TLS),
        ("TCP over IPv6, mapped", v2(V2_PROXY, 0x21, &mapped), from("::ffff:203.0.113.9", false)),
        (
            "as long as may be",
            v2(V2_PROXY, 0x11, &with(&[&[4, 0x1f, 0xe1], &[0; 0x1fe1]])),
            from("203.0.113.9", false),
        ),
        ("a socket of Unix", v2(V2_PROXY, 0x31, &[b'/'; 216]), Some(ProxyHeader::default())),
        ("its own", v2(V2_LOCAL, 0, &[]), Some(ProxyHeader::default())),
        ("its own, with addresses", v2(V2_LOCAL, 0x11, &V4), Some(ProxyHeader::default())),
        ("its own, with a piece", v2(V2_LOCAL, 0x11, &[1, 2]), Some(ProxyHeader::default())),
        ("its own, by TLS", v2(V2_LOCAL, 0, &TLS), Some(ProxyHeader::default())),
    ] {
        assert_eq!(said(&header), expected, "{what}");
    }
}

#[test]
fn headers_that_are_none_of_version_2() {
    for (what, header) in [
        ("too short for its addresses", v2(V2_PROXY, 0x11, &V4[..11])),
        ("IPv4 where IPv6 is said", v2(V2_PROXY, 0x21, &V4)),
        ("an unknown family", v2(V2_PROXY, 0x41, &V4)),
        ("an unknown transport", v2(V2_PROXY, 0x13, &V4)),
        ("a field that goes on", v2(V2_PROXY, 0x11, &[&V4[..], &[0x20, 0, 9, 1]].concat())),
        ("a field without a length", v2(V2_PROXY, 0x11, &[&V4[..], &[0x20]].concat())),
        ("TLS, and nothing of it", v2(V2_PROXY, 0x11, &[&V4[..], &[0x20, 0, 0]].concat())),
        ("TLS, and half of it", v2(V2_PROXY, 0x11, &[&V4[..], &[0x20, 0, 4, 1, 0, 0, 0]].concat())),
        ("IPv6 that is cut", v2(V2_PROXY, 0x21, &[7; 35])),
        ("a socket of Unix that is cut", v2(V2_PROXY, 0x31, &[b'/'; 215])),
    ] {
        assert_eq!(said(&header), None, "{what}");
    }
    for (what, bytes) in [
        ("version 1 in it", v2(0x11, 0x11, &V4)),
        ("version 3", v2(0x31, 0x11, &V4)),
        ("an unknown command", v2(0x22, 0x11, &V4)),
        ("longer than anybody means", v2(V2_PROXY, 0x11, &vec![0; V2_BYTES_MAX - 15])),
        ("endless", [V2_START, &[V2_PROXY, 0x11, 0xff, 0xff]].concat()),
    ] {
        assert_eq!(read_all(&bytes), (Beginning::Malformed, V2_FIXED_BYTES), "{what}");
    }
}

/// The sums were made by another program.
#[test]
fn a_header_with_a_checksum_is_intact_or_none() {
    let sum = |value: u32| [&[3, 0, 4][..], &value.to_be_bytes()].concat();
    let noop = [4, 0, 3, 0, 0, 0];
    let around = |value: u32| [&V4[..], &noop, &sum(value), &TLS].concat();
    let alone = |value: u32| [&V4[..], &sum(value)].concat();
    let nobody = |value: u32| [&sum(value)[..], &TLS].concat();
    for (what, good, bad, expected) in [
        ("alone", alone(0x81fc_948f), alone(0x81fc_948e), from("203.0.113.9", false)),
        ("among others", around(0xd18f_186d), around(0), from("203.0.113.9", true)),
        ("twice", alone(0x81fc_948f), [alone(0x81fc_948f), sum(0)].concat(), {
            from("203.0.113.9", false)
        }),
        ("of two bytes", alone(0x81fc_948f), [&V4[..], &[3, 0, 2, 0x81, 0xfc]].concat(), {
            from("203.0.113.9", false)
        }),
    ] {
        assert_eq!(said(&v2(V2_PROXY, 0x11, &good)), expected, "{what}");
        assert_eq!(said(&v2(V2_PROXY, 0x11, &bad)), None, "{what}, wrong");
    }
    assert_eq!(said(&v2(V2_PROXY, 0, &nobody(0xa8c8_cad7))), BY_TLS);
    assert_eq!(said(&v2(V2_PROXY, 0, &nobody(0xa8c8_cad8))), None);
    // Of a header of the balancer's own nothing is read.
    assert_eq!(said(&v2(V2_LOCAL, 0, &nobody(7))), Some(ProxyHeader::default()));
    let header = v2(V2_PROXY, 0x11, &around(0xd18f_186d));
    for at in V2_FIXED_BYTES..header.len() {
        for bit in 0..8 {
            let mut other = header.clone();
            other[at] ^= 1 << bit;
            // The kind of the checksum itself may become another; then there is none to be wrong.
            let is_kind = at == V2_FIXED_BYTES + V4.len() + noop.len();
            assert!(is_kind || ProxyHeader::parse(&other).is_none(), "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn other_protocols_begin_otherwise_and_lose_no_byte() {
    for (bytes, read) in [
        (&b"GET / HTTP/1.1\r\n"[..], 1),
        (b"POST / HTTP/1.1\r\n", 2),
        (b"PROXYX / HTTP/1.1\r\n", 6),
        (b"\r\nGET / HTTP/1.1\r\n", 3),
        (b"\r\n\r\nGET / HTTP/1.1\r\n", 5),
        (b"\x16\x03\x01", 1),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 3),
    ] {
        assert_eq!(read_all(bytes), (Beginning::Other, read), "{}", bytes.escape_ascii());
    }
    assert_eq!(read_all(b""), (Beginning::Part(1), 0));
    assert_eq!(read_all(b"PROXY TCP4 "), (Beginning::Part(1), 11));
}

proptest! {
    /// However a header is cut into pieces, it is asked for to its last byte and not beyond.
    #[test]
    fn nothing_panics_and_nothing_beyond_is_read(
        start in prop_oneof![Just(V1_START), Just(V2_START), Just(&b""[..])],
        rest in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let bytes = [start, &rest].concat();
        let (beginning, read) = read_all(&bytes);
        prop_assert!(read <= bytes.len());
        if beginning == Beginning::Whole {
            let _ = ProxyHeader::parse(&bytes[..read]);
        }
    }
}
