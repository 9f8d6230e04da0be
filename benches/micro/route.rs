//! Finding the route: ten, a thousand, ten thousand of them.

use crate::fixture::{gateway, head};
use divan::Bencher;
use std::fmt::Write;
use streamgate::request::Request;

fn routes(count: usize) -> String {
    let mut yaml = "listeners: [ { name: edge, address: \"127.0.0.1:0\" } ]\n\
        admin: { address: \"127.0.0.1:0\" }\n\
        upstreams:\n  origin: { endpoints: [\"127.0.0.1:9\"] }\nroutes:\n"
        .to_owned();
    for number in 0..count {
        let path = format!("/channel-{number}/{{event}}/{{*file}}");
        let line =
            format!("  - {{ name: r{number}, match: {{ path: \"{path}\" }}, upstream: origin }}");
        writeln!(yaml, "{line}").expect("a String takes everything");
    }
    yaml
}

/// Reading the head and finding the last of the routes.
#[divan::bench(args = [10, 1_000, 10_000])]
fn find(bencher: Bencher<'_, '_>, count: usize) {
    let gateway = gateway(&routes(count));
    let path = format!("/channel-{}/final/video/720p/segment-00042.m4s", count - 1);
    let head = head(&path, None);
    bencher.bench_local(|| {
        let request = Request::read(divan::black_box(&head)).expect("a sound head");
        gateway.table.find(&request).is_ok()
    });
}
