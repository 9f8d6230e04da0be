//! What begins a playback: the requests for playlists that a player makes first, before all that
//! inherits its address from them.
//!
//! A route may say it, by patterns over the path. Where it says nothing, a playlist is known by how
//! such paths usually end (RFC 8216 §4, DASH, Smooth Streaming), and by the media type of the
//! answer where the path could be anything.

use super::glob::Glob;
use http::HeaderValue;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// Which paths begin a playback on a route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Starts {
    /// Those that playlists usually have.
    #[default]
    Usual,
    /// Those that the route names, and no others.
    Named(Box<[Glob]>),
}

/// What requests have that no route has taken yet.
pub(super) static USUAL: Starts = Starts::Usual;

/// Endings of the paths that a player asks for first.
const PLAYLISTS: [&str; 3] = [".m3u8", ".m3u", ".mpd"];

/// Endings of the folder that stands before `manifest` in Smooth Streaming, recorded and live.
const SMOOTH: [&str; 2] = [".ism", ".isml"];

/// Endings of what playlists name. No such path begins a playback, whatever the answer says of
/// itself: nobody is asked about it.
const MEDIA: [&str; 22] = [
    ".ts", ".m2ts", ".m4s", ".m4f", ".m4v", ".m4a", ".mp4", ".cmfv", ".cmfa", ".cmft", ".aac",
    ".ac3", ".ec3", ".mp3", ".webm", ".vtt", ".webvtt", ".ttml", ".key", ".jpg", ".jpeg", ".png",
];

/// Media types of playlists (RFC 8216 §10, ISO/IEC 23009-1 annex C, MS-SSTR), and what some servers
/// call the first.
const TYPES: [&str; 6] = [
    "application/vnd.apple.mpegurl",
    "application/x-mpegurl",
    "audio/mpegurl",
    "audio/x-mpegurl",
    "application/dash+xml",
    "application/vnd.ms-sstr+xml",
];

impl Starts {
    /// Whether a request for this normalised path begins a playback.
    pub(super) fn take(&self, path: &str) -> bool {
        let path: Cow<'_, [u8]> = percent_decode_str(path).into();
        let bare = without_parameters(&path);
        match self {
            Starts::Usual => has_ending(bare, &PLAYLISTS) || is_smooth(bare),
            Starts::Named(patterns) => {
                patterns.iter().any(|pattern| pattern.matches(&path) || pattern.matches(bare))
            }
        }
    }

    /// Whether the answer may still show that a request for this path, which is not taken, begins a
    /// playback.
    pub(super) fn leave_to_answer(&self, path: &str) -> bool {
        *self == Starts::Usual && !has_ending(without_parameters(path.as_bytes()), &MEDIA)
    }

    /// Whether any path that this pattern matches begins a playback.
    pub fn meet(&self, path: &Glob) -> bool {
        let usual = || {
            let endings = PLAYLISTS.iter().map(|ending| format!("*{ending}"));
            let smooth = SMOOTH.iter().map(|folder| format!("*{folder}/manifest*"));
            endings.chain(smooth).filter_map(|text| Glob::parse(&text).ok())
        };
        match self {
            Starts::Usual => usual().any(|pattern| pattern.meets(path)),
            Starts::Named(patterns) => patterns.iter().any(|pattern| pattern.meets(path)),
        }
    }
}

/// Whether an answer of this `Content-Type` is a playlist.
pub fn is_playlist(media_type: &HeaderValue) -> bool {
    let bytes = media_type.as_bytes();
    let end = bytes.iter().position(|byte| matches!(byte, b';' | b',')).unwrap_or(bytes.len());
    let bare = bytes[..end].trim_ascii();
    TYPES.iter().any(|known| bare.eq_ignore_ascii_case(known.as_bytes()))
}

/// The path without the `;parameters` of its last segment.
fn without_parameters(path: &[u8]) -> &[u8] {
    let last = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    let end = path[last..].iter().position(|byte| *byte == b';');
    end.map_or(path, |end| &path[..last + end])
}

fn has_ending(path: &[u8], endings: &[&str]) -> bool {
    endings.iter().any(|ending| {
        let start = path.len().checked_sub(ending.len());
        start.is_some_and(|start| path[start..].eq_ignore_ascii_case(ending.as_bytes()))
    })
}

/// Whether it is `….ism/manifest`, with what some servers write behind it: `(format=m3u8-aapl)`.
fn is_smooth(path: &[u8]) -> bool {
    const MANIFEST: &[u8] = b"manifest";
    let Some(at) = path.iter().rposition(|byte| *byte == b'/') else { return false };
    let (folder, last) = (&path[..at], &path[at + 1..]);
    let is_called = last.get(..MANIFEST.len()).is_some_and(|it| it.eq_ignore_ascii_case(MANIFEST));
    let behind = last.get(MANIFEST.len()..).unwrap_or_default();
    let is_alone = behind.is_empty() || (behind.starts_with(b"(") && behind.ends_with(b")"));
    is_called && is_alone && has_ending(folder, &SMOOTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(patterns: &[&str]) -> Starts {
        let parsed = patterns.iter().map(|text| Glob::parse(text).expect("a pattern"));
        Starts::Named(parsed.collect())
    }

    #[test]
    fn playlists_are_known_by_how_their_paths_end() {
        for (path, expected) in [
            ("/live/a.m3u8", true),
            ("/live/a.M3U8", true),
            ("/a.m3u", true),
            ("/a.m3u8;v=1", true),
            ("/a.m3u8%3Bv=1", true),
            ("/vod/b.mpd", true),
            ("/.mpd", true),
            ("/x.ism/manifest", true),
            ("/x.isml/Manifest", true),
            ("/x.ism/manifest(format=m3u8-aapl)", true),
            ("/x.ism/manifest%28format=mpd-time-csf%29", true),
            ("/x.ism/Manifest(format=mpd-time-csf);v=1", true),
            ("/x.ism/QualityLevels(1)/Fragments(video=0)", false),
            ("/x.ism/manifests", false),
            ("/x/manifest", false),
            ("/manifest", false),
            ("/live/a.ts", false),
            ("/a.m3u8/b", false),
            ("/a;b.m3u8/c", false),
            ("/live/m3u8", false),
            ("/mpd", false),
            ("/playlist", false),
            ("/", false),
        ] {
            assert_eq!(Starts::Usual.take(path), expected, "{path}");
        }
    }

    #[test]
    fn what_a_route_names_is_all_there_is() {
        let starts = named(&["*/playlist", "*/manifest*"]);
        for (path, expected) in [
            ("/a/playlist", true),
            ("/a/playlist;v=1", true),
            ("/a/Manifest%28x%29", true),
            ("/a/playlists", false),
            ("/a.m3u8", false),
        ] {
            assert_eq!(starts.take(path), expected, "{path}");
            assert!(!starts.leave_to_answer(path), "{path}");
        }
        assert!(named(&["/a;v=*"]).take("/a;v=1"), "parameters may be named");
    }

    #[test]
    fn answers_are_not_asked_about_media() {
        for (path, expected) in [
            ("/playlist", true),
            ("/live/hd", true),
            ("/a.php", true),
            ("/seg-1.ts", false),
            ("/seg-1.TS;x=1", false),
            ("/init.mp4", false),
            ("/k.key", false),
        ] {
            assert_eq!(Starts::Usual.leave_to_answer(path), expected, "{path}");
        }
    }

    #[test]
    fn playlists_are_known_by_their_media_type() {
        for (text, expected) in [
            ("application/vnd.apple.mpegurl", true),
            ("Application/VND.Apple.MpegURL", true),
            ("application/x-mpegURL; charset=utf-8", true),
            (" audio/mpegurl ;charset=UTF-8", true),
            ("application/dash+xml", true),
            ("application/vnd.ms-sstr+xml", true),
            ("application/xml", false),
            ("text/plain", false),
            ("application/vnd.apple.mpegurl2", false),
            ("", false),
        ] {
            let value = HeaderValue::from_str(text).expect("a value");
            assert_eq!(is_playlist(&value), expected, "{text}");
        }
    }
}
