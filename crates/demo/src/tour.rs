//! A short tour in lines that can be pasted into a shell as they stand. A test runs them.

use std::fmt::Write;
use std::net::SocketAddr;

/// One stop: what it shows and the command that shows it.
#[derive(Debug)]
pub struct Stop {
    pub says: &'static str,
    pub command: String,
}

/// The tour for a gateway on `edge` with its admin port on `admin`. Cookies are kept in `jars`.
pub fn stops(edge: SocketAddr, admin: SocketAddr, jars: &str) -> Vec<Stop> {
    let gate = format!("http://{edge}");
    let live = format!("{gate}/live/final/master.m3u8");
    let stop = |says, command| Stop { says, command };
    vec![
        stop(
            "Log in on four devices; each gets a session cookie.",
            format!(
                "for d in tv phone tablet laptop; do \
                 curl -s -o /dev/null -w \"$d %{{http_code}}\\n\" \
                 -c {jars}/$d -d 'account=alice&password=wonderland' {gate}/auth/login; done"
            ),
        ),
        stop(
            "Play on three of them: a media request is all it takes to hold a slot.",
            format!(
                "for d in tv phone tablet; do curl -s -o /dev/null -w \"$d %{{http_code}}\\n\" \
                 -b {jars}/$d {live}; done"
            ),
        ),
        stop(
            "The fourth is refused, with the list of what plays.",
            format!("curl -s -w '\\n' -b {jars}/laptop {live}"),
        ),
        stop("What is playing?", format!("curl -s -w '\\n' -b {jars}/tv {gate}/streams")),
        stop(
            "Stop the tablet; its slot is free at once …",
            format!(
                "curl -s -o /dev/null -w '%{{http_code}}\\n' -X DELETE -b {jars}/tablet \
                 {gate}/streams/current"
            ),
        ),
        stop(
            "… and the laptop plays.",
            format!("curl -si -b {jars}/laptop {live} | grep -iE '^HTTP|^streamgate-lease'"),
        ),
        stop(
            "Take over the oldest slot from the tablet; the TV learns it from its next request.",
            format!(
                "curl -s -o /dev/null -w 'tablet %{{http_code}}\\n' -b {jars}/tablet \
                 '{live}?streamgate-replace=oldest'; curl -s -w '\\n' -b {jars}/tv {live}"
            ),
        ),
        stop(
            "What the gateway counted.",
            format!("curl -s http://{admin}/metrics | grep -E '^streamgate_stream_(dec|leases)'"),
        ),
    ]
}

/// The tour as it is printed.
pub fn text(edge: SocketAddr, admin: SocketAddr, jars: &str) -> String {
    let mut text = format!(
        "\nstreamgate answers on http://{edge}, its admin port on http://{admin}.\n\
         Two accounts can log in: alice (password wonderland, 3 streams) and bob (builder, 1).\n\
         Paste these lines into another shell, one after the other:\n\n"
    );
    for (number, stop) in stops(edge, admin, jars).iter().enumerate() {
        // Writing to a string can't fail.
        let _ = write!(text, "{}. {}\n\n    {}\n\n", number + 1, stop.says, stop.command);
    }
    let _ = write!(
        text,
        "Watch it: ffplay -headers \"$(awk '/session/ {{print \"Cookie: session=\"$7}}' \
         {jars}/laptop)\" http://{edge}/live/final/master.m3u8\n\n\
         A device that vanishes frees its slot within 60 s. Ctrl-C stops the demo. Below is the \
         access log.\n\n"
    );
    text
}
