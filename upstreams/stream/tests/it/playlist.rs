//! Playlists, read by a reader that somebody else wrote.

use std::collections::BTreeMap;

use m3u8_rs::{MasterPlaylist, MediaPlaylist, MediaPlaylistType, MediaSegment};
use stream::sample::{RENDITIONS, TURN_SEGMENTS};

use crate::harness::{Answer, BEGIN, Stream};

fn master(answer: &Answer) -> MasterPlaylist {
    m3u8_rs::parse_master_playlist_res(&answer.bytes).unwrap()
}

fn media(answer: &Answer) -> MediaPlaylist {
    assert_eq!(answer.field("content-type"), "application/vnd.apple.mpegurl");
    m3u8_rs::parse_media_playlist_res(&answer.bytes).unwrap()
}

/// Each segment with its media sequence number and its discontinuity sequence number.
fn numbered(playlist: &MediaPlaylist) -> Vec<(u64, u64, &MediaSegment)> {
    let mut discontinuity = playlist.discontinuity_sequence;
    let numbers = playlist.media_sequence..;
    let numbered = numbers.zip(&playlist.segments).map(|(number, segment)| {
        discontinuity += u64::from(segment.discontinuity);
        (number, discontinuity, segment)
    });
    numbered.collect()
}

#[tokio::test]
async fn the_master_playlist_lists_every_rendition_by_a_relative_address() {
    let stream = Stream::at(BEGIN).await;
    for path in ["/live/final/master.m3u8", "/live/derby/master.m3u8", "/vod/replay/master.m3u8"] {
        let answer = stream.get(path).await;
        assert_eq!(answer.status, 200);
        let variants = master(&answer).variants;
        assert_eq!(variants.len(), RENDITIONS.len());
        for (variant, rendition) in variants.iter().zip(&RENDITIONS) {
            assert_eq!(variant.uri, format!("{}/index.m3u8", rendition.name));
            let size = variant.resolution.unwrap();
            assert_eq!((size.width, size.height), (640, 360).min((size.width, size.height)));
            assert!(variant.average_bandwidth.unwrap() <= variant.bandwidth);
            assert_eq!(variant.codecs.as_deref(), Some(rendition.codecs));
            let base = path.strip_suffix("master.m3u8").unwrap();
            media(&stream.get(&format!("{base}{}", variant.uri)).await);
        }
    }
}

#[tokio::test]
async fn a_live_window_ends_with_what_has_just_happened_and_all_of_it_is_served() {
    let stream = Stream::at(BEGIN).await;
    let answer = stream.get("/live/final/360p/index.m3u8").await;
    assert_eq!(answer.field("cache-control"), "public, max-age=1", "half a segment");
    let playlist = media(&answer);
    assert!(!playlist.end_list && playlist.independent_segments);
    assert_eq!((playlist.target_duration, playlist.segments.len()), (2, 10));
    for (number, discontinuity, segment) in numbered(&playlist) {
        assert_eq!(segment.duration, 2.0);
        assert_eq!(segment.uri, format!("{number}.ts"));
        assert_eq!(discontinuity, number / TURN_SEGMENTS, "the tag stands where a turn begins");
        let began = u64::try_from(segment.program_date_time.unwrap().timestamp()).unwrap();
        assert_eq!(began, number * 2, "the number is the date");
        assert!(began + 2 <= BEGIN, "it has wholly happened");

        let bytes = stream.get(&format!("/live/final/360p/{number}.ts")).await;
        assert_eq!((bytes.status.as_u16(), bytes.field("content-type")), (200, "video/mp2t"));
        let index = usize::try_from(number % TURN_SEGMENTS).unwrap();
        assert_eq!(bytes.bytes, RENDITIONS[0].segments[index]);
    }
    let last = playlist.media_sequence + 9;
    assert_eq!(last * 2 + 2, BEGIN - 1, "no complete segment is held back");
}

#[tokio::test]
async fn replicas_and_moments_agree_about_every_segment() {
    let mut seen = BTreeMap::new();
    for second in 0..40 {
        let (one, other) = (Stream::at(BEGIN + second).await, Stream::at(BEGIN + second).await);
        let answer = one.get("/live/final/180p/index.m3u8").await;
        let twin = other.get("/live/final/180p/index.m3u8").await;
        assert_eq!((&answer.bytes, answer.field("etag")), (&twin.bytes, twin.field("etag")));
        let playlist = media(&answer);
        for (number, discontinuity, segment) in numbered(&playlist) {
            let listed = (discontinuity, segment.discontinuity, segment.program_date_time);
            let before = seen.insert(number, listed);
            assert!(before.is_none_or(|before| before == listed), "{number} changed");
        }
    }
    let tags = seen.values().filter(|(_, tagged, _)| *tagged).count();
    assert!((4..=6).contains(&tags), "the sample began anew several times: {tags}");
}

#[tokio::test]
async fn the_first_seconds_of_the_epoch_are_no_special_case() {
    for second in 0..60 {
        let stream = Stream::at(second).await;
        let playlist = media(&stream.get("/live/final/180p/index.m3u8").await);
        assert!(!playlist.segments.is_empty());
        for (number, discontinuity, _) in numbered(&playlist) {
            assert_eq!(discontinuity, number / TURN_SEGMENTS, "at {second}");
        }
    }
}

#[tokio::test]
async fn a_title_has_an_end() {
    let stream = Stream::at(BEGIN).await;
    let answer = stream.get("/vod/replay/180p/index.m3u8").await;
    let playlist = media(&answer);
    assert!(playlist.end_list);
    assert_eq!(playlist.playlist_type, Some(MediaPlaylistType::Vod));
    assert_eq!((playlist.media_sequence, playlist.segments.len()), (0, 30));
    for (number, discontinuity, segment) in numbered(&playlist) {
        assert_eq!(discontinuity, number / TURN_SEGMENTS);
        let segment = stream.get(&format!("/vod/replay/180p/{}", segment.uri)).await;
        assert_eq!(segment.status, 200);
    }
    let beyond = stream.get("/vod/replay/180p/30.ts").await;
    assert_eq!(beyond.refused(), (404, "segment_not_found".to_owned()));
}

#[tokio::test]
async fn what_is_not_there_is_told_by_its_code() {
    let stream = Stream::at(BEGIN).await;
    let now = BEGIN / 2;
    let cases = [
        ("/live/other/master.m3u8".to_owned(), "event_not_found"),
        ("/live/other/360p/index.m3u8".to_owned(), "event_not_found"),
        ("/vod/other/master.m3u8".to_owned(), "title_not_found"),
        ("/live/final/720p/index.m3u8".to_owned(), "rendition_not_found"),
        ("/live/final/360p/other.m3u8".to_owned(), "route_not_found"),
        ("/live/final/360p/x.ts".to_owned(), "segment_not_found"),
        (format!("/live/final/360p/0{}.ts", now - 2), "segment_not_found"),
        (format!("/live/final/360p/{}.ts", now + 1), "segment_not_yet"),
        ("/live/final/360p/18446744073709551615.ts".to_owned(), "segment_not_yet"),
        (format!("/live/final/360p/{}.ts", now - 50), "segment_gone"),
        ("/live/final/360p/0.ts".to_owned(), "segment_gone"),
        ("/faults/hang".to_owned(), "route_not_found"),
        ("/".to_owned(), "route_not_found"),
    ];
    for (path, code) in cases {
        assert_eq!(stream.get(&path).await.refused(), (404, code.to_owned()), "{path}");
    }
    let lingers = stream.get(&format!("/live/final/360p/{}.ts", now - 20)).await;
    assert_eq!(lingers.status, 200, "a player that is late still gets what the playlist listed");
    let ahead = stream.get(&format!("/live/final/360p/{now}.ts")).await;
    assert_eq!(ahead.status, 200, "another replica's clock may be ahead");
}
