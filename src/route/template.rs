//! What a route's path and host look like: `/live/{event}/{*file}`, `*.example.com`.

use std::cmp::Ordering;

/// How many parameters one path may have.
pub const PARAMS_MAX: usize = 8;

/// A parsed path template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pub segments: Vec<Segment>,
}

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
    /// Reads `/a/{b}/{*c}`; `Err` says what is wrong and what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err(format!("a path begins with `/`: write `/{text}`"));
        };
        let mut segments = Vec::new();
        let mut names: Vec<&str> = Vec::new();
        for segment in rest.split('/') {
            if matches!(segments.last(), Some(Segment::CatchAll(_))) {
                return Err("`{*…}` takes all the rest, so it must stand at the end".to_owned());
            }
            let parsed = Segment::parse(segment)?;
            if let Some(name) = parsed.name() {
                if names.contains(&name) {
                    return Err(format!("the parameter `{name}` stands here twice"));
                }
                names.push(&segment[segment.len() - 1 - name.len()..segment.len() - 1]);
            }
            segments.push(parsed);
        }
        let is_inner_empty = segments.iter().rev().skip(1).any(|s| *s == Segment::exact(""));
        match () {
            () if names.len() > PARAMS_MAX => {
                Err(format!("{} parameters; at most {PARAMS_MAX} are possible", names.len()))
            }
            () if is_inner_empty => {
                Err("requests are normalised, so `//` can never match: write one `/`".to_owned())
            }
            () => Ok(Template { segments }),
        }
    }

    /// The names of its parameters, in order.
    pub fn params(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(Segment::name)
    }

    /// Whether it takes all the rest of a path.
    pub fn is_open(&self) -> bool {
        matches!(self.segments.last(), Some(Segment::CatchAll(_)))
    }

    /// Whether both match the same paths: parameters may have other names.
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
    fn exact(text: &str) -> Self {
        Segment::Exact(text.to_owned())
    }

    fn name(&self) -> Option<&str> {
        match self {
            Segment::Exact(_) => None,
            Segment::Param(name) | Segment::CatchAll(name) => Some(name),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let Some(inner) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) else {
            return Segment::parse_exact(text);
        };
        let (name, is_catch_all) = match inner.strip_prefix('*') {
            Some(name) => (name, true),
            None => (inner, false),
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(is_name) {
            return Err(format!("`{text}`: a parameter is named like `{{event}}` or `{{*rest}}`"));
        }
        match is_catch_all {
            true => Ok(Segment::CatchAll(name.to_owned())),
            false => Ok(Segment::Param(name.to_owned())),
        }
    }

    fn parse_exact(text: &str) -> Result<Self, String> {
        if text.contains(['{', '}', '*']) {
            return Err(format!(
                "`{text}`: a parameter is a whole segment, `{{name}}`, or the rest, `{{*name}}`"
            ));
        }
        if text.is_empty() {
            return Ok(Segment::exact(""));
        }
        // A literal that normalisation would change could never be met by a request.
        let path = format!("/{text}");
        match crate::request::normalise(&path) {
            Ok(normal) if normal == path => Ok(Segment::exact(text)),
            Ok(normal) => Err(format!(
                "requests are normalised, so `{text}` can never match: write `{}`",
                &normal[1..]
            )),
            Err(why) => Err(format!("`{text}` can never match: {why}")),
        }
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
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, is_wildcard) = match text.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (text, false),
        };
        let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        let is_bracketed = name.starts_with('[') && name.ends_with(']');
        if name.is_empty() || !(is_bracketed || name.chars().all(is_host)) {
            return Err(format!(
                "`{text}` is not a host: write `tv.example.com`, or `*.example.com` for all below \
                 it; no scheme, no port"
            ));
        }
        let name = name.to_ascii_lowercase();
        Ok(if is_wildcard { Host::Below(format!(".{name}")) } else { Host::Exact(name) })
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
            ("/{*a}/b", "at the end"),
            ("/{a}/{a}", "twice"),
            ("/a{b}", "a whole segment"),
            ("/{a-b}", "is named like"),
            ("/a//b", "write one `/`"),
            ("/a/../b", "can never match"),
            ("/%7euser", "write `~user`"),
            ("/a%2fb", "can never match"),
        ] {
            let said = Template::parse(wrong).expect_err(wrong);
            assert!(said.contains(says), "{wrong}: {said}");
        }
    }

    #[test]
    fn hosts_parse() {
        assert_eq!(Host::parse("TV.Example.com"), Ok(Host::Exact("tv.example.com".to_owned())));
        assert_eq!(Host::parse("*.b.c"), Ok(Host::Below(".b.c".to_owned())));
        for wrong in ["", "*", "*.", "a.b:80", "http://a", "a*.b"] {
            assert!(Host::parse(wrong).is_err(), "{wrong}");
        }
    }
}
