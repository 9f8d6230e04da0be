//! Which path is which playlist or segment, live and on demand. How bytes are answered is
//! `media.rs`, what a playlist says is `playlist.rs`.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use axum::routing::get;

use crate::Service;
use crate::media::{self, Media};
use crate::playlist::{self, TITLE_SEGMENTS, WINDOW_SEGMENTS};
use crate::problem::Problem;
use crate::sample::{self, Rendition, SEGMENT_SECONDS, TURN_SEGMENTS};

/// Segments that stay after they left the playlist: RFC 8216 §6.2.2 asks for the length of the
/// longest playlist that listed them and their own.
const LINGER_SEGMENTS: u64 = WINDOW_SEGMENTS + 1;

/// Segments that are served before this replica would list them, because another replica, whose
/// clock is a little ahead, may have listed them already.
const SKEW_SEGMENTS: u64 = 1;

/// A playlist may be reused for half a segment; what it lists changes once in a segment.
const FRESH_LIVE: &str = "public, max-age=1";
/// A multivariant playlist and a whole title change only with a release.
const FRESH_STATIC: &str = "public, max-age=60";
/// A segment never changes.
const FRESH_SEGMENT: &str = "public, max-age=86400, immutable";

const TYPE_PLAYLIST: &str = "application/vnd.apple.mpegurl";
const TYPE_SEGMENT: &str = "video/mp2t";

pub(crate) fn routes() -> Router<Arc<Service>> {
    Router::new()
        .route("/live/{event}/master.m3u8", get(live_master))
        .route("/live/{event}/{rendition}/{file}", get(live_file))
        .route("/vod/{title}/master.m3u8", get(title_master))
        .route("/vod/{title}/{rendition}/{file}", get(title_file))
}

/// What the last part of a path asks for.
enum File {
    Playlist,
    Segment(u64),
}

impl File {
    /// `index.m3u8`, or a segment's number as this service writes it: no sign, no leading zeros,
    /// so that a segment has one address and a cache one copy.
    fn parse(text: &str) -> Result<Self, Problem> {
        if text == "index.m3u8" {
            return Ok(Self::Playlist);
        }
        let digits = text.strip_suffix(".ts").ok_or(Problem::RouteNotFound)?;
        let number: u64 = digits.parse().map_err(|_| Problem::SegmentNotFound)?;
        if number.to_string() != digits {
            return Err(Problem::SegmentNotFound);
        }
        Ok(Self::Segment(number))
    }
}

async fn live_master(
    State(service): State<Arc<Service>>,
    Path(event): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    event_exists(&service, &event)?;
    Ok(media::answer(master(), &method, &headers))
}

async fn live_file(
    State(service): State<Arc<Service>>,
    Path((event, rendition, file)): Path<(String, String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    event_exists(&service, &event)?;
    let rendition = sample::find(&rendition).ok_or(Problem::RenditionNotFound)?;
    let last = last_complete(service.settings.clock.now().as_secs());
    let media = match File::parse(&file)? {
        File::Playlist => {
            let tag = format!("live-{}-{last}", rendition.name);
            playlist(playlist::live(last), &tag, FRESH_LIVE)
        }
        File::Segment(number) if number > last + SKEW_SEGMENTS => {
            return Err(Problem::SegmentNotYet);
        }
        File::Segment(number) if number + WINDOW_SEGMENTS + LINGER_SEGMENTS <= last => {
            return Err(Problem::SegmentGone);
        }
        File::Segment(number) => segment(rendition, number),
    };
    Ok(media::answer(media, &method, &headers))
}

async fn title_master(
    State(service): State<Arc<Service>>,
    Path(title): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    title_exists(&service, &title)?;
    Ok(media::answer(master(), &method, &headers))
}

async fn title_file(
    State(service): State<Arc<Service>>,
    Path((title, rendition, file)): Path<(String, String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    title_exists(&service, &title)?;
    let rendition = sample::find(&rendition).ok_or(Problem::RenditionNotFound)?;
    let media = match File::parse(&file)? {
        File::Playlist => playlist(playlist::title(), "title", FRESH_STATIC),
        File::Segment(number) if number < TITLE_SEGMENTS => segment(rendition, number),
        File::Segment(_) => return Err(Problem::SegmentNotFound),
    };
    Ok(media::answer(media, &method, &headers))
}

fn event_exists(service: &Service, event: &str) -> Result<(), Problem> {
    let known = service.settings.events.iter().any(|name| name == event);
    known.then_some(()).ok_or(Problem::EventNotFound)
}

fn title_exists(service: &Service, title: &str) -> Result<(), Problem> {
    let known = service.settings.titles.iter().any(|name| name == title);
    known.then_some(()).ok_or(Problem::TitleNotFound)
}

/// The newest segment that has wholly happened at that second.
fn last_complete(now_seconds: u64) -> u64 {
    (now_seconds / SEGMENT_SECONDS).saturating_sub(1)
}

fn master() -> Media {
    playlist(playlist::master(), "master", FRESH_STATIC)
}

fn playlist(text: String, tag: &str, fresh: &'static str) -> Media {
    Media {
        bytes: text.into(),
        etag: format!("\"{}-{tag}\"", sample::fingerprint()),
        content_type: TYPE_PLAYLIST,
        cache_control: fresh,
    }
}

fn segment(rendition: &'static Rendition, number: u64) -> Media {
    let index = usize::try_from(number % TURN_SEGMENTS).expect("a remainder of 6 fits");
    Media {
        bytes: bytes::Bytes::from_static(rendition.segments[index]),
        etag: format!("\"{}-{}-{index}\"", sample::fingerprint(), rendition.name),
        content_type: TYPE_SEGMENT,
        cache_control: FRESH_SEGMENT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_has_one_address() {
        assert!(matches!(File::parse("7.ts"), Ok(File::Segment(7))));
        for odd in ["07.ts", "+7.ts", "-7.ts", ".ts", "7.TS.ts", "99999999999999999999.ts"] {
            assert!(matches!(File::parse(odd), Err(Problem::SegmentNotFound)), "{odd}");
        }
    }

    #[test]
    fn a_segment_is_listed_only_when_it_has_happened() {
        assert_eq!(last_complete(3), 0);
        assert_eq!(last_complete(4), 1);
        assert_eq!(last_complete(5), 1);
    }
}
