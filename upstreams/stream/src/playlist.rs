//! Playlists as text (RFC 8216), written from numbers. Not a parser, and not the one who decides
//! what time it is.

use std::fmt::Write;

use jiff::Timestamp;

use crate::sample::{RENDITIONS, Rendition, SEGMENT_SECONDS, TURN_SEGMENTS};

/// Segments that a live playlist lists.
pub const WINDOW_SEGMENTS: u64 = 10;

/// Turns of the sample that an on-demand title lasts.
pub const TITLE_TURNS: u64 = 5;

/// Segments of an on-demand title.
pub const TITLE_SEGMENTS: u64 = TITLE_TURNS * TURN_SEGMENTS;

/// The multivariant playlist: one entry for each rendition. The same for live and on demand.
pub fn master() -> String {
    let mut text = String::from("#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-INDEPENDENT-SEGMENTS\n");
    for rendition in &RENDITIONS {
        let Rendition { name, resolution: (width, height), codecs, .. } = rendition;
        push(
            &mut text,
            format_args!(
                "#EXT-X-STREAM-INF:BANDWIDTH={},AVERAGE-BANDWIDTH={},RESOLUTION={width}x{height},\
                 FRAME-RATE=25.000,CODECS=\"{codecs}\"\n{name}/index.m3u8\n",
                rendition.peak_bits_per_second(),
                rendition.mean_bits_per_second(),
            ),
        );
    }
    text
}

/// A window of a live event: the [`WINDOW_SEGMENTS`] segments that end with number `last`.
///
/// Segment `n` shows the two seconds that began `2n` seconds after the Unix epoch, so its number,
/// its place in the sample, its discontinuity number and its date all follow from `n`, and two
/// playlists agree wherever they overlap, whoever wrote them.
pub fn live(last: u64) -> String {
    let first = (last + 1).saturating_sub(WINDOW_SEGMENTS);
    let mut text = head(first);
    push(
        &mut text,
        format_args!("#EXT-X-DISCONTINUITY-SEQUENCE:{}\n", discontinuities_before(first)),
    );
    for number in first..=last {
        segment(&mut text, number, Some(number * SEGMENT_SECONDS));
    }
    text
}

/// A whole title, from beginning to end.
pub fn title() -> String {
    let mut text = head(0);
    text.push_str("#EXT-X-PLAYLIST-TYPE:VOD\n");
    for number in 0..TITLE_SEGMENTS {
        segment(&mut text, number, None);
    }
    text.push_str("#EXT-X-ENDLIST\n");
    text
}

fn head(first: u64) -> String {
    format!(
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-INDEPENDENT-SEGMENTS\n\
         #EXT-X-TARGETDURATION:{SEGMENT_SECONDS}\n#EXT-X-MEDIA-SEQUENCE:{first}\n"
    )
}

/// One entry. A discontinuity tag stands before each segment that begins a new turn, because the
/// sample's timestamps begin again there; the date is repeated after it, as players ask.
fn segment(text: &mut String, number: u64, date_seconds: Option<u64>) {
    if number > 0 && begins_a_turn(number) {
        text.push_str("#EXT-X-DISCONTINUITY\n");
    }
    if let Some(date) = date_seconds.and_then(date) {
        push(text, format_args!("#EXT-X-PROGRAM-DATE-TIME:{date:.3}\n"));
    }
    push(text, format_args!("#EXTINF:{SEGMENT_SECONDS}.000,\n{number}.ts\n"));
}

fn begins_a_turn(number: u64) -> bool {
    number.is_multiple_of(TURN_SEGMENTS)
}

/// Discontinuity tags that have left the playlist when `first` is its first segment: those of the
/// segments before it. Its own tag, if it has one, is still written.
fn discontinuities_before(first: u64) -> u64 {
    first.saturating_sub(1) / TURN_SEGMENTS
}

fn date(seconds: u64) -> Option<Timestamp> {
    Timestamp::from_second(i64::try_from(seconds).ok()?).ok()
}

fn push(text: &mut String, line: std::fmt::Arguments<'_>) {
    text.write_fmt(line).expect("writing to a String cannot fail");
}
