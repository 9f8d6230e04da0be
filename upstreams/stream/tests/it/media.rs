//! Bytes over HTTP: ranges, validators, HEAD, caching.

use http::Method;
use stream::sample::RENDITIONS;

use crate::harness::{Answer, BEGIN, Stream};

const SEGMENT: &str = "/vod/replay/360p/3.ts";

async fn with(fields: &[(&str, &str)]) -> Answer {
    Stream::at(BEGIN).await.send(Method::GET, SEGMENT, fields).await
}

fn whole() -> &'static [u8] {
    RENDITIONS[0].segments[3]
}

#[tokio::test]
async fn a_segment_is_immutable_and_says_so() {
    let answer = with(&[]).await;
    assert_eq!((answer.status.as_u16(), &answer.bytes[..]), (200, whole()));
    assert_eq!(answer.field("cache-control"), "public, max-age=86400, immutable");
    assert_eq!(answer.field("accept-ranges"), "bytes");
    assert!(answer.field("etag").starts_with('"'));
}

#[tokio::test]
async fn one_range_is_answered_with_its_part() {
    let total = whole().len();
    let part = with(&[("range", "bytes=188-375")]).await;
    assert_eq!((part.status.as_u16(), &part.bytes[..]), (206, &whole()[188..=375]));
    assert_eq!(part.field("content-range"), format!("bytes 188-375/{total}"));
    assert_eq!(part.field("content-length"), "188");
    let end = with(&[("range", "bytes=-188")]).await;
    assert_eq!((end.status.as_u16(), &end.bytes[..]), (206, &whole()[total - 188..]));
    let beyond = with(&[("range", &format!("bytes={total}-"))]).await;
    assert_eq!((beyond.status.as_u16(), beyond.bytes.len()), (416, 0));
    assert_eq!(beyond.field("content-range"), format!("bytes */{total}"));
    for odd in ["bytes=0-1,5-6", "bytes=9-1", "lines=1-2"] {
        assert_eq!(with(&[("range", odd)]).await.status, 200, "{odd}");
    }
}

#[tokio::test]
async fn a_range_holds_only_for_the_same_bytes() {
    let etag = with(&[]).await.field("etag").to_owned();
    let same = with(&[("range", "bytes=0-9"), ("if-range", &etag)]).await;
    assert_eq!(same.status, 206);
    for other in ["\"other\"", &format!("W/{etag}"), "Sat, 21 Nov 2026 00:00:00 GMT"] {
        let answer = with(&[("range", "bytes=0-9"), ("if-range", other)]).await;
        assert_eq!((answer.status.as_u16(), answer.bytes.len()), (200, whole().len()), "{other}");
    }
}

#[tokio::test]
async fn what_the_client_has_is_not_sent_again() {
    let etag = with(&[]).await.field("etag").to_owned();
    for known in [etag.clone(), format!("W/{etag}"), format!("\"a\", {etag}"), "*".to_owned()] {
        let answer = with(&[("if-none-match", &known), ("range", "bytes=0-9")]).await;
        assert_eq!((answer.status.as_u16(), answer.bytes.len()), (304, 0), "{known}");
        assert_eq!(answer.field("etag"), etag);
        assert!(answer.field("cache-control").contains("immutable"));
    }
    assert_eq!(with(&[("if-none-match", "\"other\"")]).await.status, 200);
}

#[tokio::test]
async fn a_live_playlist_has_a_new_tag_when_it_says_something_new() {
    let path = "/live/final/360p/index.m3u8";
    let (now, later) = (Stream::at(BEGIN).await, Stream::at(BEGIN + 2).await);
    let etag = now.get(path).await.field("etag").to_owned();
    let fields = [("if-none-match", etag.as_str())];
    assert_eq!(now.send(Method::GET, path, &fields).await.status, 304);
    assert_eq!(later.send(Method::GET, path, &fields).await.status, 200);
}

#[tokio::test]
async fn head_tells_of_the_whole_and_sends_nothing() {
    let stream = Stream::at(BEGIN).await;
    let answer = stream.send(Method::HEAD, SEGMENT, &[("range", "bytes=0-9")]).await;
    assert_eq!((answer.status.as_u16(), answer.bytes.len()), (200, 0));
    assert_eq!(answer.field("content-length"), whole().len().to_string());
    let post = stream.send(Method::POST, SEGMENT, &[]).await;
    assert_eq!(post.refused(), (405, "method_not_allowed".to_owned()));
}
