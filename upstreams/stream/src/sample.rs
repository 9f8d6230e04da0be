//! The pictures: a table of the embedded segments. Made by `sample/make.sh`; not for your video.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::LazyLock;

/// How long a segment lasts, in seconds, in every rendition.
pub const SEGMENT_SECONDS: u64 = 2;

/// Segments in one turn of the sample; after these its timestamps begin again.
pub const TURN_SEGMENTS: u64 = 6;

type Turn = [&'static [u8]; TURN_SEGMENTS as usize];

/// One quality of the sample.
#[derive(Debug)]
pub struct Rendition {
    /// Its name in paths.
    pub name: &'static str,
    /// Width and height in pixels.
    pub resolution: (u32, u32),
    /// RFC 6381 codecs: video, audio.
    pub codecs: &'static str,
    /// The MPEG-TS segments of one turn, in order.
    pub segments: Turn,
}

impl Rendition {
    /// The busiest segment's bit rate, in bits per second.
    pub fn peak_bits_per_second(&self) -> u64 {
        let largest = self.segments.iter().map(|s| s.len()).max().unwrap_or(0);
        largest as u64 * 8 / SEGMENT_SECONDS
    }

    /// The bit rate over a whole turn, in bits per second.
    pub fn mean_bits_per_second(&self) -> u64 {
        let total: usize = self.segments.iter().map(|s| s.len()).sum();
        total as u64 * 8 / (SEGMENT_SECONDS * TURN_SEGMENTS)
    }
}

macro_rules! turn {
    ($name:literal) => {
        [
            include_bytes!(concat!("../sample/", $name, "/0.ts")),
            include_bytes!(concat!("../sample/", $name, "/1.ts")),
            include_bytes!(concat!("../sample/", $name, "/2.ts")),
            include_bytes!(concat!("../sample/", $name, "/3.ts")),
            include_bytes!(concat!("../sample/", $name, "/4.ts")),
            include_bytes!(concat!("../sample/", $name, "/5.ts")),
        ]
    };
}

/// Every rendition, best first: players begin with the first that the playlist lists.
pub static RENDITIONS: [Rendition; 2] = [
    Rendition {
        name: "360p",
        resolution: (640, 360),
        codecs: "avc1.4D401F,mp4a.40.2",
        segments: turn!("360p"),
    },
    Rendition {
        name: "180p",
        resolution: (320, 180),
        codecs: "avc1.4D4015,mp4a.40.2",
        segments: turn!("180p"),
    },
];

/// The rendition of that name.
pub fn find(name: &str) -> Option<&'static Rendition> {
    RENDITIONS.iter().find(|rendition| rendition.name == name)
}

/// A fingerprint of all the pictures: the part of every entity tag that changes with them.
/// The same in every replica that runs the same build.
pub fn fingerprint() -> &'static str {
    static FINGERPRINT: LazyLock<String> = LazyLock::new(|| {
        let mut hasher = DefaultHasher::new();
        for rendition in &RENDITIONS {
            rendition.segments.hash(&mut hasher);
        }
        format!("{:016x}", hasher.finish())
    });
    &FINGERPRINT
}
