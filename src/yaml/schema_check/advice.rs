//! What to say of a key, a name or a value that does not fit.

use super::aliases;
use crate::problem::{LookAlike, Place, listed, nearest};
use crate::yaml::tree::{Kind, Single};

/// What is possible, and what of it was probably meant.
pub(super) fn expectation(written: &str, known: &[&str]) -> String {
    let all = listed(known.iter().copied());
    if let Some((_, advice)) = meant(written, known) {
        return format!("{advice} possible here: {all}");
    }
    match (aliases::absent(written, known), written) {
        (Some(sentence), _) => format!("{sentence}; possible here: {all}"),
        (None, own) if own.starts_with("x-") => {
            format!("keys of your own stand at the top of the file; possible here: {all}")
        }
        (None, variable) if variable.contains("${") => {
            format!("variables are filled in in values, not in keys; possible here: {all}")
        }
        (None, template) if template.contains("{{") => format!("{TEMPLATE}; possible here: {all}"),
        (None, _) => format!("possible here: {all}"),
    }
}

/// Which of `known` was probably meant, and the sentence that says so.
pub(super) fn meant<'s>(written: &str, known: &[&'s str]) -> Option<(&'s str, String)> {
    if let Some((key, advice)) = aliases::meant(written, known) {
        return Some((key, format!("{advice};")));
    }
    // What is tried often and does not exist is no slip of the finger.
    if aliases::absent(written, known).is_some() {
        return None;
    }
    let snake = snake_case(written);
    let exact = known.iter().copied().find(|known| *known == snake);
    let key = exact.or_else(|| nearest(written, known.iter().copied()))?;
    Some((key, format!("did you mean `{key}`?")))
}

/// `maxBody` and `max-body` as `max_body`.
fn snake_case(written: &str) -> String {
    let mut snake = String::new();
    for c in written.chars() {
        if c.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(if c == '-' { '_' } else { c.to_ascii_lowercase() });
    }
    snake
}

/// `max_body:1MiB` or `session: viewers`: one of `known` and its value in one text.
pub(super) fn split_name<'s, 'w>(
    written: &'w str,
    known: &[&'s str],
) -> Option<(&'s str, &'w str)> {
    let (key, rest) = written.split_once(':')?;
    let key = known.iter().copied().find(|known| *known == key.trim())?;
    Some((key, rest.trim()))
}

/// Why a single value is neither `true` nor `false`.
pub(super) fn of_yes_no(single: &Single) -> Option<(String, String)> {
    if single.kind == Kind::YesNo {
        return None;
    }
    let text = single.text.as_str();
    let yes = ["true", "yes", "on", "y", "1", "enabled"];
    let no = ["false", "no", "off", "n", "0", "disabled"];
    let lower = text.to_ascii_lowercase();
    let help = match lower.as_str() {
        word if yes.contains(&word) => "write `true`, without quotes",
        word if no.contains(&word) => "write `false`, without quotes",
        _ => "write `true` or `false`, without quotes",
    };
    let wrong = match lower.as_str() {
        "true" | "false" => format!("`\"{text}\"` is a text, because of its quotes"),
        _ if text.contains("${") => "variables are not filled in here".to_owned(),
        _ => format!("`{text}` is neither `true` nor `false`"),
    };
    Some((wrong, help.to_owned()))
}

/// What a template would have to fill in.
const TEMPLATE: &str = "nothing here fills in `{{ … }}`: write a variable, `${NAME}`, or fill the \
                        template in before";

/// What of a text is not meant as it stands: marks of other languages, and what only looks like a
/// quote. Of secrets their own rules say so.
pub(super) fn of_text(
    single: &Single,
    place: Place,
    expected: Option<&str>,
) -> Option<(String, String)> {
    let text = single.text.as_str();
    if single.kind != Kind::Text || expected.is_some_and(|expected| expected.contains("secret")) {
        return None;
    }
    if let Some(found) = false_quote(single, place) {
        return Some(("this is no quote, but part of the value".to_owned(), found.told()));
    }
    if text.contains("{{") || text.contains("{%") {
        return Some(("a template was not filled in".to_owned(), TEMPLATE.to_owned()));
    }
    let between = |open, close| text.strip_prefix(open)?.strip_suffix(close);
    let name =
        between("$(", ")").or_else(|| between("%", "%")).or_else(|| text.strip_prefix('$'))?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (!name.is_empty() && name.chars().all(is_name)).then(|| {
        let wrong = format!("`{text}` is plain text, and no variable");
        (wrong, format!("write `${{{name}}}`"))
    })
}

/// A value that begins with what only looks like a quote.
fn false_quote(single: &Single, place: Place) -> Option<LookAlike> {
    let found = LookAlike::of(single.text.chars().next()?)?;
    let is_plain = place.length as usize == single.text.chars().count();
    (is_plain && matches!(found.meant, "\"" | "'")).then_some(found)
}
