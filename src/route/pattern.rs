//! Paths as other gateways and frameworks write them, and what they are called here.
//!
//! Only to help an operator who moves a file here: nothing of it ever matches a request.

/// What is wrong with a path, and what would be right.
type Told = (String, String);

/// Marks that no client sends in a path, so they can only be meant as a pattern.
const MARKS: [&str; 14] =
    ["^", "<", ">", "|", "\\", "`", "\"", "(?", ".*", ".+", "[", "]", ")+", ")*"];

/// What nginx and HAProxy write before a pattern.
const MODIFIERS: [&str; 5] = ["~*", "^~", "~", "=", "^"];

/// Why `text` is a pattern of another language, and how it is written here, if that `is_path`.
pub(super) fn foreign(text: &str, is_path: impl Fn(&str) -> bool) -> Option<Told> {
    let modifier = MODIFIERS.into_iter().find(|modifier| text.starts_with(modifier));
    let mark = modifier.map(str::to_owned).or_else(|| sign(text))?;
    let mark = if mark == "`" { "a backquote".to_owned() } else { format!("`{mark}`") };
    let help = match translated(text).filter(|path| is_path(path)) {
        Some(path) => format!("`{{name}}` takes one segment, `{{*rest}}` the rest: write `{path}`"),
        None => "`{name}` takes one segment, and `{*rest}` all the rest".to_owned(),
    };
    Some((format!("patterns are not known here, and {mark} is part of one"), help))
}

/// A text that may stand in a path and is seldom meant, and what may have been meant.
pub(super) fn doubtful(text: &str) -> Option<Told> {
    let is_doubtful = |segment: &&str| {
        let is_variable = segment.strip_prefix('$').is_some_and(is_name);
        is_variable || (segment.starts_with('(') && segment.ends_with(')'))
    };
    let segment = text.split('/').find(is_doubtful)?;
    let name = segment.trim_matches(['$', '(', ')']);
    let name = if is_name(name) { name } else { "name" };
    let text = format!("`{segment}` stands for these very characters");
    Some((text, format!("a parameter is written `{{{name}}}`")))
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The part of `text` that shows that it is a pattern.
fn sign(text: &str) -> Option<String> {
    if let Some(mark) = MARKS.into_iter().find(|mark| text.contains(mark)) {
        return Some(mark.to_owned());
    }
    if text.len() > 1 && text.ends_with('$') {
        return Some("$".to_owned());
    }
    let segment = text.split('/').find(|segment| is_foreign(segment))?;
    Some(segment.to_owned())
}

fn is_foreign(segment: &str) -> bool {
    if let Some(inner) = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        return inner.contains([':', '=']) || inner.ends_with("...") || inner.ends_with('*');
    }
    segment.contains('*') || segment.strip_prefix(':').is_some_and(|name| !name.is_empty())
}

/// One segment in our words.
enum Step {
    Text(String),
    One(String),
    Rest(String),
}

/// `text` as it is written here; of what can't be said, only the beginning.
fn translated(text: &str) -> Option<String> {
    let mut path = text.trim();
    if let Some((_, quoted)) = path.split_once('`') {
        path = quoted.split('`').next().unwrap_or(quoted);
    }
    for prefix in MODIFIERS.into_iter().chain(["(?i)", "^"]) {
        path = path.strip_prefix(prefix).unwrap_or(path).trim_start();
    }
    let path = path.trim_end_matches('$').replace("[^/]+", "*").replace("[^/]*", "*");
    let path = path.replace("(*)", "*").replace("\\.", ".");
    let (mut whole, mut count) = (String::new(), 0);
    let rest = path.trim_start_matches('/');
    let segments: Vec<&str> = rest.split('/').collect();
    for (i, segment) in segments.iter().enumerate() {
        let is_last = i + 1 == segments.len();
        whole.push('/');
        match step(segment, is_last) {
            Step::Text(text) => whole.push_str(&text),
            Step::One(name) if name.is_empty() => {
                count += 1;
                whole.push_str(&format!("{{part{count}}}"));
            }
            Step::One(name) => whole.push_str(&format!("{{{name}}}")),
            Step::Rest(name) => {
                whole.push_str(&format!("{{*{name}}}"));
                break;
            }
        }
    }
    // What still looks like a pattern would be translated again, without an end.
    sign(&whole).is_none().then_some(whole)
}

fn step(segment: &str, is_last: bool) -> Step {
    let rest = || Step::Rest("rest".to_owned());
    let named = |name: &str, takes_all: bool| match (is_name(name), takes_all) {
        (true, true) => Step::Rest(name.to_owned()),
        (true, false) => Step::One(name.to_owned()),
        (false, _) => Step::Rest("rest".to_owned()),
    };
    if let Some(name) = segment.strip_prefix(':') {
        let plain = name.trim_end_matches(['*', '+', '?']);
        return named(plain.split('(').next().unwrap_or(plain), name.ends_with(['*', '+']));
    }
    if let Some(inner) = inner(segment, "<", ">") {
        let (kind, name) = inner.rsplit_once(':').unwrap_or(("", inner));
        return named(name, kind == "path");
    }
    if let Some(inner) = inner(segment, "[", "]") {
        return named(inner.trim_start_matches('.'), inner.starts_with("..."));
    }
    if let Some(inner) = inner(segment, "{", "}").filter(|inner| !inner.starts_with('*')) {
        let ends = inner.find([':', '=', '.', '*']).unwrap_or(inner.len());
        let (name, kind) = inner.split_at(ends);
        let all = ["**", "...", "*", ":.*", ":.+", ":path"];
        return named(name, all.contains(&kind) || kind.ends_with("**"));
    }
    match segment {
        "*" if !is_last => Step::One(String::new()),
        "" if is_last => Step::Text(String::new()),
        text if text.contains(['*', '(', ')', '|', '\\', '[', ']', '^', '$', '<', '>']) => rest(),
        text if text.contains(".+") || (text.starts_with('{') && !text.ends_with('}')) => rest(),
        text => Step::Text(text.to_owned()),
    }
}

fn inner<'s>(segment: &'s str, open: &str, close: &str) -> Option<&'s str> {
    segment.strip_prefix(open)?.strip_suffix(close)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, written: &str) {
        let told = foreign(text, |_| true);
        let (_, help) = told.unwrap_or_else(|| panic!("{text} is a pattern"));
        assert!(help.ends_with(&format!("write `{written}`")), "{text}: {help}");
    }

    #[test]
    fn patterns_of_others_are_translated_at_once() {
        check("^/live/.*\\.ts$", "/live/{*rest}");
        check("~ ^/live/", "/live/");
        check("~* \\.(ts|m3u8)$", "/{*rest}");
        check("^~ /live/", "/live/");
        check("= /healthz", "/healthz");
        check("*", "/{*rest}");
        check("/*", "/{*rest}");
        check("/live/:event/*", "/live/{event}/{*rest}");
        check("/live/<event>/x", "/live/{event}/x");
        check("/live/<int:event>/<path:file>", "/live/{event}/{*file}");
        check("/live/(.+)", "/live/{*rest}");
        check("/live/([^/]+)/x", "/live/{part1}/x");
        check("/live/{id:[0-9]+}", "/live/{id}");
        check("/live/{file:.*}", "/live/{*file}");
        check("/live/{path...}", "/live/{*path}");
        check("/v1/{name=shelves/**}", "/v1/{*rest}");
        check("/live/[event]/[...file]", "/live/{event}/{*file}");
        check("PathPrefix(`/live`)", "/live");
        check("/live/*.m3u8", "/live/{*rest}");
        check("/live**", "/{*rest}");
        check("/a/*/b", "/a/{part1}/b");
    }

    #[test]
    fn what_can_not_be_translated_is_still_told() {
        for text in ["/a/{b:c}d", "/\"", "/:a:b", "/{*a*}/*", "/:", "/^", "/<>", "/[", "`"] {
            let said = super::super::Template::parse(text).err();
            assert!(said.is_none_or(|said| !said.help.is_empty()), "{text}");
        }
    }

    #[test]
    fn what_may_be_meant_is_no_pattern() {
        for text in ["/", "/a", "/{a}/{*b}", "/~user", "/x.ism/manifest(format=mpd)", "/a:b", "/$m"]
        {
            assert_eq!(foreign(text, |_| true), None, "{text}");
        }
        for (text, meant) in [("/live/$event", "{event}"), ("/(live)/x", "{live}")] {
            let (_, help) = doubtful(text).unwrap_or_else(|| panic!("{text} is doubtful"));
            assert!(help.contains(meant), "{text}: {help}");
        }
        assert_eq!(doubtful("/x.ism/manifest(format=mpd)"), None);
    }
}
