use super::*;

#[test]
fn targets_are_read_as_they_are_meant() {
    let host = |name: &str, port| Target::Host(HostName::parse(name).expect(name), port);
    let service = |name: &str| Target::Service(HostName::parse(name).expect(name));
    let address = |text: &str| Target::Address(text.parse().expect(text));
    for (text, expected) in [
        ("127.0.0.1:80", address("127.0.0.1:80")),
        ("[::1]:80", address("[::1]:80")),
        ("localhost:4002", host("localhost", 4002)),
        ("Stream.Internal:4002", host("stream.internal", 4002)),
        ("my_app_1:80", host("my_app_1", 80)),
        ("stream.internal.:80", host("stream.internal.", 80)),
        ("stream.service.consul", service("stream.service.consul")),
        ("_stream._tcp.internal", service("_stream._tcp.internal")),
        ("stream", service("stream")),
        ("[fe80::1%2]:80", address("[fe80::1%2]:80")),
        ("0x7f.example:80", host("0x7f.example", 80)),
    ] {
        assert_eq!(Target::parse(text), Ok(expected), "{text}");
    }
}

#[test]
fn misfits_lead_to_what_is_right() {
    let label = format!("{}:80", "a".repeat(64));
    let long = format!("{}:80", "a.".repeat(130));
    for (text, says) in [
        ("", "`name:8080`"),
        (":8080", "`127.0.0.1:8080` if it is this machine"),
        ("8080", "`127.0.0.1:8080` if it is this machine"),
        ("127.0.0.1", "add the port: `127.0.0.1:8080`"),
        ("::1", "stands in brackets"),
        ("[::1]", "add the port: `[::1]:8080`"),
        ("fe80::1:2:8080", "stands in brackets"),
        ("1:2:3", "stands in brackets"),
        ("1.2.3.4.5:80", "an IP address and a port"),
        ("127.0.0.1:80800", "an IP address and a port"),
        ("a:0", "from 1 to 65535"),
        ("a:http", "from 1 to 65535"),
        ("*:8080", "one host"),
        ("unix:/run/a.sock", "sockets in the file system"),
        ("/run/a.sock", "sockets in the file system"),
        ("[fe80::1%eth0]:4002", "a number: `[fe80::1%2]:4002` if `ip link`"),
        ("[fe80::1]:80", "`[fe80::1%2]:80` if `ip link`"),
        ("a%b:80", "letters, digits"),
        ("127.0.0.1:0", "write `127.0.0.1:8080`"),
        ("[::1]:0", "write `[::1]:8080`"),
        ("[::1]:99999", "write `[::1]:8080`"),
        ("stream:", "write `stream:8080`"),
        ("stream:99999", "write `stream:8080`"),
        ("0x7f.1:80", "four numbers"),
        ("2130706433:80", "four numbers"),
        ("bücher.example:80", "xn--"),
        ("a..b:80", "no part of a host name is empty"),
        ("-bad-.example:80", "`bad`, not `-bad-`"),
        ("a.-:80", "begins or ends with `-`"),
        (&label, "at most 63"),
        ("a b:80", "letters, digits"),
        (&long, "at most 253"),
    ] {
        let why = Target::parse(text).expect_err(text);
        assert!(why.contains(says), "{text}: {why}");
    }
}

#[test]
fn a_floor_above_the_ceiling_is_refused() {
    let config = Config { ttl_min: At::unwritten(Time::secs(60)), ..Config::default() };
    let problem = config.compile().expect_err("30 s is less");
    assert!(problem.text.contains("`ttl_max` (30s) is less than `ttl_min` (1m)"), "{problem:?}");
}
