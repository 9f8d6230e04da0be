//! What a route's path and host look like: `/live/{event}/{*file}`, `*.example.com`.

use super::misfit::{Misfit, misfit};
use super::shape::Shape;
use crate::request::Glob;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;
use std::cmp::Ordering;

/// How many parameters one path may have.
pub const PARAMS_MAX: usize = 8;

/// A parsed path template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// The parts between the slashes.
    pub segments: Vec<Segment>,
    /// What its parameters must look like.
    pub shape: Shape,
}

/// One part of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// These very characters.
    Exact(String),
    /// Any one segment that is not empty.
    Param(String),
    /// All that is left, be it nothing. Only at the end.
    CatchAll(String),
}

impl Template {
    /// Reads `/a/{b}/{*c}`.
    pub fn parse(text: &str) -> Result<Self, Misfit> {
        if let Some((_, path)) = text.split_once("://") {
            let path = path.find('/').map_or("/", |at| &path[at..]);
            let help = format!("write `{path}`, and the host under `host`");
            return misfit("this is a URL, and no path", help);
        }
        let (plain, shape) = Shape::split(text)?;
        let text = plain.as_ref();
        let is_path = |path: &str| Template::parse(path).is_ok();
        if let Some((text, help)) = super::pattern::foreign(text, is_path) {
            return Err(Misfit { text, help });
        }
        let Some(rest) = text.strip_prefix('/') else {
            return misfit("a path begins with `/`", format!("write `/{text}`"));
        };
        check_reachable(text)?;
        let mut segments = Vec::new();
        let mut names: Vec<String> = Vec::new();
        for segment in rest.split('/') {
            if matches!(segments.last(), Some(Segment::CatchAll(_))) {
                let text = "`{*…}` takes all the rest, so nothing can follow it";
                return misfit(text, "write `{…}` for one segment, and `{*…}` only at the end");
            }
            let parsed = Segment::parse(segment)?;
            if let Some(name) = parsed.name() {
                if names.iter().any(|known| known == name) {
                    let text = format!("the parameter `{name}` stands here twice");
                    return misfit(text, "give one of them another name");
                }
                names.push(name.to_owned());
            }
            segments.push(parsed);
        }
        match names.len() {
            0..=PARAMS_MAX => Ok(Template { segments, shape }),
            n => misfit(
                format!("{n} parameters; at most {PARAMS_MAX} are possible"),
                "let the last one take the rest: `{*rest}`",
            ),
        }
    }

    /// The names of its parameters, in order.
    pub fn params(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(Segment::name)
    }

    /// Whether it takes all the rest of a path.
    pub fn is_open(&self) -> bool {
        matches!(self.segments.last(), Some(Segment::CatchAll(_))) && self.shape.is_plain()
    }

    /// Whether all that is no fixed text is the rest, at the end.
    pub fn is_prefix(&self) -> bool {
        self.is_open() && self.params().count() == 1
    }

    /// The paths that it matches, decoded, as a pattern. It may match a few more.
    pub fn as_glob(&self) -> Glob {
        self.segments.iter().fold(Glob::empty(), |glob, segment| match segment {
            Segment::Exact(text) => {
                let text: Cow<'_, [u8]> = percent_decode_str(text).into();
                glob.text(b"/").text(&text)
            }
            Segment::Param(_) => glob.text(b"/").segment(),
            Segment::CatchAll(_) => glob.rest(),
        })
    }

    /// Whether it matches the whole of a normalised path.
    pub fn matches(&self, path: &str) -> bool {
        // One past the end when no segment is left, as `/a` has none behind `a`.
        let mut start = 1;
        for segment in &self.segments {
            if matches!(segment, Segment::CatchAll(_)) {
                return true;
            }
            let Some(rest) = path.get(start..) else { return false };
            let text = rest.split('/').next().unwrap_or(rest);
            let is_met = match segment {
                Segment::Exact(exact) => exact == text,
                Segment::Param(_) | Segment::CatchAll(_) => !text.is_empty(),
            };
            if !is_met {
                return false;
            }
            start += text.len() + 1;
        }
        path.len() < start
    }

    /// Whether the parts of a path that it matches look as they should.
    pub fn fits(&self, path: &str) -> bool {
        if self.shape.is_plain() {
            return true;
        }
        let (mut start, mut param) = (1, 0);
        for segment in &self.segments {
            let rest = path.get(start..).unwrap_or_default();
            let text = rest.split('/').next().unwrap_or(rest);
            match segment {
                Segment::CatchAll(_) => return self.shape.stem(rest).is_some(),
                Segment::Param(_) if !self.shape.takes(param, text) => return false,
                Segment::Param(_) => param += 1,
                Segment::Exact(_) => {}
            }
            start += text.len() + 1;
        }
        true
    }

    /// Whether both match the same paths, but for their shapes: parameters may have other names.
    pub fn is_same_shape(&self, other: &Template) -> bool {
        self.cmp_shape(other) == Ordering::Equal
    }

    /// More specific first: exact before parameter before catch-all, segment by segment.
    pub fn cmp_shape(&self, other: &Template) -> Ordering {
        let rank = |segment: &Segment| match segment {
            Segment::Exact(text) => (0, text.clone()),
            Segment::Param(_) => (1, String::new()),
            Segment::CatchAll(_) => (2, String::new()),
        };
        self.segments.iter().map(rank).cmp(other.segments.iter().map(rank))
    }
}

impl Segment {
    fn name(&self) -> Option<&str> {
        match self {
            Segment::Exact(_) => None,
            Segment::Param(name) | Segment::CatchAll(name) => Some(name),
        }
    }

    fn parse(text: &str) -> Result<Self, Misfit> {
        let Some(inner) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) else {
            return Segment::parse_exact(text);
        };
        let (name, is_catch_all) = match inner.strip_prefix('*') {
            Some(name) => (name, true),
            None => (inner, false),
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(is_name) {
            let text = format!("`{text}` is not a parameter");
            return misfit(text, "name it with letters, digits and `_`: `{event}` or `{*rest}`");
        }
        match is_catch_all {
            true => Ok(Segment::CatchAll(name.to_owned())),
            false => Ok(Segment::Param(name.to_owned())),
        }
    }

    fn parse_exact(text: &str) -> Result<Self, Misfit> {
        match text {
            text if text.contains(['{', '}']) => misfit(
                format!("`{text}` is half text, half parameter"),
                "a parameter is a whole segment, `{name}`, or the rest, `{*name}`",
            ),
            text => Ok(Segment::Exact(text.to_owned())),
        }
    }
}

/// A path that normalisation would change, or refuse, could never be met by a request.
fn check_reachable(text: &str) -> Result<(), Misfit> {
    if let Some((path, _)) = text.split_once('?') {
        let help = format!("write `{path}`, and the parameters under `query`");
        return misfit("the query is no part of a path", help);
    }
    if let Some((path, _)) = text.split_once('#') {
        return misfit("a browser keeps `#…` to itself", format!("write `{path}`"));
    }
    let never = || format!("`{text}` can never match");
    match crate::request::normalise(&text.replace(' ', "%20")) {
        Ok(normal) if normal == text => Ok(()),
        Ok(normal) => misfit(never(), format!("requests are normalised: write `{normal}`")),
        Err(why) => misfit(never(), format!("{why}; such requests are refused")),
    }
}

/// Which hosts a route serves.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// This very host.
    Exact(String),
    /// Any host below this suffix, which begins with a dot: `*.example.com` → `.example.com`.
    Below(String),
}

impl Host {
    /// Reads `tv.example.com` or `*.example.com`.
    pub fn parse(text: &str) -> Result<Self, Misfit> {
        if text == "*" {
            return misfit("`*` is not a host", "leave `host` out to take any");
        }
        let (name, is_wildcard) = match text.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (text, false),
        };
        let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        let is_bracketed = name.starts_with('[') && name.ends_with(']');
        if let Some(bare) = text.strip_suffix('.').filter(|bare| !bare.ends_with('.')) {
            let help = format!("requests are read without the dot at the end: write `{bare}`");
            return misfit(format!("`{text}` can never match"), help);
        }
        let has_empty_label = name.starts_with('.') || name.contains("..");
        if name.is_empty() || has_empty_label || !(is_bracketed || name.chars().all(is_host)) {
            let help = "write `tv.example.com`, or `*.example.com` for all below it; without \
                        scheme and port";
            return misfit(format!("`{text}` is not a host"), help);
        }
        let name = name.to_ascii_lowercase();
        Ok(if is_wildcard { Host::Below(format!(".{name}")) } else { Host::Exact(name) })
    }
}

impl Host {
    /// Whether it serves this host, which is in lower case.
    pub fn serves(&self, host: &str) -> bool {
        match self {
            Host::Exact(name) => name == host,
            Host::Below(suffix) => host.ends_with(suffix.as_str()),
        }
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Host::Exact(name) => f.write_str(name),
            Host::Below(suffix) => write!(f, "*{suffix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_parse_or_say_what_would_be_right() {
        let good = Template::parse("/live/{event}/{*file}").expect("a good template");
        assert_eq!(good.params().collect::<Vec<_>>(), ["event", "file"]);
        for (wrong, says) in [
            ("live", "write `/live`"),
            ("/{*a}/b", "nothing can follow"),
            ("/{a}/{a}", "twice"),
            ("/a{b}", "a whole segment"),
            ("/{a-b}", "is not a parameter"),
            ("/a//b", "write `/a/b`"),
            ("/a/../b", "write `/b`"),
            ("/a b", "write `/a%20b`"),
            ("/a?b=c", "write `/a`"),
            ("/a/*", "write `/a/{*rest}`"),
            ("https://tv.example.com/a", "write `/a`"),
            ("*", "write `/{*rest}`"),
            ("/%7euser", "write `/~user`"),
            ("/a%2fb", "can never match"),
        ] {
            let said = Template::parse(wrong).expect_err(wrong);
            let said = format!("{}: {}", said.text, said.help);
            assert!(said.contains(says), "{wrong}: {said}");
        }
    }

    #[test]
    fn hosts_parse() {
        assert_eq!(Host::parse("TV.Example.com"), Ok(Host::Exact("tv.example.com".to_owned())));
        assert_eq!(Host::parse("*.b.c"), Ok(Host::Below(".b.c".to_owned())));
        for wrong in ["", "*", "*.", "a.b:80", "http://a", "a*.b", "a.b.", "*.a.", "a..b", ".a"] {
            assert!(Host::parse(wrong).is_err(), "{wrong}");
        }
    }
}
