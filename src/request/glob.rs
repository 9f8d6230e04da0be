//! Patterns over decoded paths: `*` stands for any run of characters, slashes among them and be it
//! none, and all else for itself, whether the letters are large or small.

/// The longest pattern, in bytes.
const BYTES_MAX: usize = 256;

/// Marks of other languages of patterns. None of them stands for itself in what anybody means.
const FOREIGN: [char; 7] = ['\\', '^', '|', '[', ']', '{', '}'];

/// A pattern over a decoded path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Box<[Piece]>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    /// This very byte, in lower case.
    Byte(u8),
    /// One byte or more, and no slash: a parameter of a route's path. Not in what is parsed.
    Segment,
    /// Anything, be it nothing.
    Rest,
}

impl Glob {
    /// Reads `*.m3u8`. Else: what is wrong, and what would be right.
    pub fn parse(text: &str) -> Result<Self, (String, String)> {
        let wrong = |text: String, help: &str| Err((text, help.to_owned()));
        if BYTES_MAX < text.len() {
            let text = format!("a pattern of {} bytes", text.len());
            return Err((text, format!("write at most {BYTES_MAX}; `*` stands for any text")));
        }
        if let Some((path, _)) = text.split_once(['?', '#']) {
            let text = "patterns are over the path, which ends before `?` and `#`".to_owned();
            return Err((text, format!("write `{path}`; the query is not looked at")));
        }
        if let Some(mark) = text.chars().find(|c| FOREIGN.contains(c)) {
            let text =
                format!("only `*` has a meaning here, and `{mark}` is part of no playlist's path");
            return wrong(text, "write one pattern for each way a playlist is called: `*.m3u8`");
        }
        if !text.starts_with(['/', '*']) {
            let wrong = format!("`{text}` matches no path: each begins with `/`");
            return Err((wrong, format!("write `*{text}`")));
        }
        if text.contains(|c: char| c.is_control()) {
            return wrong("no path holds control characters".to_owned(), "remove them");
        }
        if text.contains('%') {
            let text =
                "patterns are over the decoded path, in which a `%` is seldom left".to_owned();
            return wrong(text, "write the character itself, as `(` for `%28`");
        }
        if text.contains("//") || text.split('/').any(|part| part == "." || part == "..") {
            let text = format!("`{text}` can never match: `//`, `/./` and `/../` are resolved");
            return wrong(text, "write the path as it is after that");
        }
        let piece = |byte: u8| match byte {
            b'*' => Piece::Rest,
            byte => Piece::Byte(byte.to_ascii_lowercase()),
        };
        let mut pieces: Vec<Piece> = text.bytes().map(piece).collect();
        pieces.dedup_by(|a, b| *a == Piece::Rest && *b == Piece::Rest);
        Ok(Glob(pieces.into()))
    }

    /// One that nothing matches yet, to be joined from the parts of a route's path.
    pub fn empty() -> Self {
        Glob([].into())
    }

    /// The same, and then this text, decoded.
    pub fn text(self, text: &[u8]) -> Self {
        self.and(text.iter().map(|byte| Piece::Byte(byte.to_ascii_lowercase())))
    }

    /// The same, and then one segment.
    pub fn segment(self) -> Self {
        self.and([Piece::Segment])
    }

    /// The same, and then anything.
    pub fn rest(self) -> Self {
        self.and([Piece::Rest])
    }

    fn and(self, more: impl IntoIterator<Item = Piece>) -> Self {
        Glob(self.0.into_iter().chain(more).collect())
    }

    /// Whether it matches the whole of a decoded path.
    pub fn matches(&self, path: &[u8]) -> bool {
        // Where to go on when the text between two `*` does not fit: one byte further.
        let (mut at, mut next, mut again) = (0, 0, None);
        while at < path.len() {
            match self.0.get(next) {
                Some(Piece::Rest) => {
                    next += 1;
                    again = Some((at, next));
                }
                Some(Piece::Byte(byte)) if *byte == path[at].to_ascii_lowercase() => {
                    (at, next) = (at + 1, next + 1);
                }
                _ => {
                    let Some((from, piece)) = again else { return false };
                    again = Some((from + 1, piece));
                    (at, next) = (from + 1, piece);
                }
            }
        }
        self.0[next..].iter().all(|piece| *piece == Piece::Rest)
    }

    /// Whether there is a path that both match.
    pub fn meets(&self, other: &Glob) -> bool {
        let (ours, theirs) = (&self.0, &other.0);
        // From the end: whether the pieces from here on can match the same text.
        let mut met = vec![vec![false; theirs.len() + 1]; ours.len() + 1];
        for i in (0..=ours.len()).rev() {
            for j in (0..=theirs.len()).rev() {
                met[i][j] = match (ours.get(i), theirs.get(j)) {
                    (None, None) => true,
                    (Some(Piece::Rest), other) => {
                        met[i + 1][j] || (other.is_some() && met[i][j + 1])
                    }
                    (one, Some(Piece::Rest)) => met[i][j + 1] || (one.is_some() && met[i + 1][j]),
                    (Some(Piece::Byte(one)), Some(Piece::Byte(other))) => {
                        one == other && met[i + 1][j + 1]
                    }
                    (Some(Piece::Byte(byte)), Some(Piece::Segment)) => {
                        *byte != b'/' && (met[i + 1][j + 1] || met[i + 1][j])
                    }
                    (Some(Piece::Segment), Some(Piece::Byte(byte))) => {
                        *byte != b'/' && (met[i + 1][j + 1] || met[i][j + 1])
                    }
                    (Some(Piece::Segment), Some(Piece::Segment)) => {
                        met[i + 1][j + 1] || met[i + 1][j] || met[i][j + 1]
                    }
                    (None, Some(_)) | (Some(_), None) => false,
                };
            }
        }
        met[0][0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn glob(text: &str) -> Glob {
        Glob::parse(text).expect(text)
    }

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, path, expected) in [
            ("*.m3u8", "/live/final/a.m3u8", true),
            ("*.m3u8", "/live/final/a.M3U8", true),
            ("*.M3U8", "/a.m3u8", true),
            ("*.m3u8", "/a.m3u8x", false),
            ("*.m3u8", "/.m3u8", true),
            ("*/manifest*", "/x.ism/Manifest(format=m3u8-aapl)", true),
            ("*/manifest*", "/manifest", true),
            ("*/manifest*", "/x.ism/manifes", false),
            ("/live/*/index", "/live/a/b/index", true),
            ("/live/*/index", "/live/index", false),
            ("/live/**", "/live/", true),
            ("*", "/", true),
            ("/a*b*c", "/abbc", true),
            ("/a*b*c", "/abbcd", false),
            ("*aab", "/aaab", true),
            ("/playlist", "/playlist", true),
            ("/playlist", "/playlist/", false),
        ] {
            assert_eq!(glob(pattern).matches(path.as_bytes()), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn what_can_match_nothing_is_told() {
        for wrong in [
            "",
            "playlist",
            ".m3u8",
            "*.m3u8?token=*",
            "*#t",
            "*.{m3u8,mpd}",
            "^/live",
            ".*\\.m3u8",
            "*\\.m3u8",
            "*.(m3u8|mpd)",
            "/a//b",
            "/a/../b",
            "/./*",
            "*%28format*",
            "*\n",
        ] {
            assert!(Glob::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Glob::parse(&format!("/{}", "x".repeat(BYTES_MAX))).is_err());
    }

    #[test]
    fn patterns_and_paths_of_routes_meet_or_do_not() {
        let route = |parts: &str| {
            parts.split('/').skip(1).fold(Glob::empty(), |glob, part| match part {
                "{}" => glob.text(b"/").segment(),
                "{*}" => glob.rest(),
                text => glob.text(b"/").text(text.as_bytes()),
            })
        };
        for (pattern, path, expected) in [
            ("*.mpd", "/live/{}/{*}", true),
            ("*.mpd", "/live/{}", true),
            ("*.mpd", "/live/master.m3u8", false),
            ("*.m3u8", "/live/master.m3u8", true),
            ("/vod/*", "/live/{*}", false),
            ("/LIVE/*", "/live/{*}", true),
            ("/live/*/x", "/live/{}", false),
            ("/live/*/x", "/live/{}/{}", true),
            ("/live", "/live/{*}", true),
            ("*/manifest*", "/{}/manifest", true),
            ("*", "/{}", true),
            ("/a", "/{}/b", false),
        ] {
            assert_eq!(glob(pattern).meets(&route(path)), expected, "{pattern} {path}");
            assert_eq!(route(path).meets(&glob(pattern)), expected, "{path} {pattern}");
        }
    }

    proptest! {
        #[test]
        fn what_matches_a_path_meets_it(pattern in "[/*][ab*/]{0,6}", path in "/[ab/]{0,8}") {
            if let Ok(glob) = Glob::parse(&pattern) {
                let meets = glob.meets(&Glob::empty().text(path.as_bytes()));
                prop_assert_eq!(glob.matches(path.as_bytes()), meets);
            }
        }

        #[test]
        fn no_text_makes_it_panic(text: String, path: Vec<u8>) {
            if let Ok(glob) = Glob::parse(&text) {
                glob.matches(&path);
            }
        }
    }
}
