//! Which header fields an operator may write, and why not the others.
//!
//! What frames a message or speaks of one connection is the gateway's own: written by hand it would
//! let two readers see two messages. Who the client is, the gateway says and nobody else. A name
//! with `_` counts as the one with `-`, because some servers read both alike.

use super::reserved;
use crate::problem::Problem;
use crate::yaml::At;
use http::HeaderName;

/// Which message a field stands in, and what is done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It is written into the request that an upstream gets.
    Request,
    /// It is taken out of that request.
    RequestWithout,
    /// It is written into an answer.
    Answer,
    /// It is taken out of an answer.
    AnswerWithout,
}

/// Fields of one connection, and those that say where a message ends (RFC 9110 §7.6.1, RFC 9112).
const FRAMING: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-encoding",
];

/// Whether a field called `name`, in lower case, says where a message ends, how it is coded or how
/// its connection is used.
pub fn is_framing(name: &str) -> bool {
    FRAMING.contains(&name)
}

/// The name in `written`, if such a field may be there.
pub fn name(written: &At<String>, place: Place) -> Result<HeaderName, Problem> {
    let Ok(name) = HeaderName::from_bytes(written.as_bytes()) else {
        let text = format!("`{}` is not the name of a header field", written.value);
        return Err(written.problem(text).help("use letters, digits and `-`"));
    };
    match refusal(&name.as_str().replace('_', "-"), place) {
        None => Ok(name),
        Some((why, help)) => {
            let text = format!("`{}` can't be written here: {why}", written.value);
            Err(written.problem(text).help(help))
        }
    }
}

/// Why a field called `name` may not be written there, and what to do.
fn refusal(name: &str, place: Place) -> Option<(&'static str, &'static str)> {
    let is_answer = matches!(place, Place::Answer | Place::AnswerWithout);
    let is_removed = matches!(place, Place::RequestWithout | Place::AnswerWithout);
    let is_cors = name.starts_with("access-control-") || name == "timing-allow-origin";
    match name {
        "content-encoding" if is_removed => Some((
            "the body stays encoded as it is",
            "leave it out, or take `accept-encoding` out of the request",
        )),
        _ if is_framing(name) => Some((
            "it says where a message ends, how it is coded, or how its connection is used",
            "leave it out: the gateway writes what is true",
        )),
        "host" if !is_answer => {
            Some(("it is how the upstream finds what is meant", "write `rewrite: { host: … }`"))
        }
        // A path that was cut off is told so; it says nothing of the client.
        "x-forwarded-prefix" => None,
        _ if !is_answer && !is_removed && reserved::is_reserved(name) => Some((
            "only the gateway says who the client is, by what it knows",
            "leave it out, or take another name",
        )),
        _ if is_answer
            && (name.starts_with("streamgate-") || name.starts_with("x-streamgate-")) =>
        {
            Some(("it is the gateway's own, and players read it", "take another name"))
        }
        _ if is_answer && !is_removed && is_cors => Some((
            "other sites are a matter of the filter `cors`, which answers preflights, too",
            "write `- cors: { origins: [ … ] }`",
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(place: Place, written: &str, says: &str) {
        let said = name(&At::unwritten(written.to_owned()), place);
        let said = said.err().map(|problem| problem.text).unwrap_or_default();
        match says {
            "" => assert_eq!(said, "", "{place:?} {written}"),
            says => assert!(said.contains(says), "{place:?} {written}: {said}"),
        }
    }

    #[test]
    fn what_frames_a_message_is_not_written_by_hand() {
        let places = [Place::Request, Place::RequestWithout, Place::Answer, Place::AnswerWithout];
        for place in places {
            for written in FRAMING {
                let says = if written == "content-encoding" { "cod" } else { "where a message" };
                check(place, written, says);
                check(place, &written.to_ascii_uppercase(), says);
                check(place, &written.replace('-', "_"), says);
            }
            for written in ["", "a b", "a:b", "a\r\nb", "é", "a\0"] {
                check(place, written, "not the name");
            }
        }
    }

    #[test]
    fn who_the_client_is_is_not_written_by_hand() {
        for written in
            ["X-Forwarded-For", "x_forwarded_for", "forwarded", "X-Streamgate-Account", "X-Real-IP"]
        {
            check(Place::Request, written, "who the client is");
            check(Place::RequestWithout, written, "");
        }
        check(Place::Request, "Host", "how the upstream finds");
        check(Place::RequestWithout, "host", "how the upstream finds");
        check(Place::Answer, "Streamgate-Lease", "the gateway's own");
        check(Place::AnswerWithout, "streamgate_lease", "the gateway's own");
        check(Place::Answer, "Access-Control-Allow-Origin", "`cors`");
        check(Place::AnswerWithout, "Access-Control-Allow-Origin", "");
    }

    #[test]
    fn other_fields_are_free() {
        for written in ["X-Frame-Options", "x_odd", "Authorization", "Cookie", "X-Forwarded-Prefix"]
        {
            check(Place::Request, written, "");
            check(Place::RequestWithout, written, "");
        }
        for written in ["Server", "Set-Cookie", "Content-Type", "Cache-Control", "x_odd"] {
            check(Place::Answer, written, "");
            check(Place::AnswerWithout, written, "");
        }
    }
}
