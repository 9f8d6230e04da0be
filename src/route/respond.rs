//! A route's end that answers by itself, always the same: `/healthz` for a load balancer, a
//! `robots.txt`, a 403 for what nobody may see.

use crate::denial::Reply;
use crate::problem::Problem;
use crate::request::written_field::{self, Place};
use crate::units::{Count, FieldText, Text};
use crate::yaml::{At, Entries};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is answered.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Respond {
    /// The status, from 200 to 599.
    #[serde(default = "status")]
    status: At<Count>,
    /// Header fields. Without a `cache-control` among them, no cache keeps the answer.
    #[serde(default)]
    headers: Entries<At<FieldText>>,
    /// The body, as plain text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<At<Text>>,
    /// The body, as JSON in quotes: `'{ "status": "up" }'`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    json: Option<At<Text>>,
}

fn status() -> At<Count> {
    At::unwritten(Count(200))
}

impl Respond {
    /// The answer; all problems of it.
    pub fn compile(&self) -> Result<Reply, Vec<Problem>> {
        let mut problems = Vec::new();
        let status = self.status().map_err(|problem| problems.push(problem)).ok();
        let (body, kind) = self.body(&mut problems);
        let mut reply = Reply::new(status.unwrap_or_default());
        if is_bodiless(reply.status) && !body.is_empty() {
            let text = format!("an answer with {} has no body", reply.status.as_u16());
            problems
                .push(self.status.problem(text).help("leave out `text` and `json`, or say 200"));
        }
        reply
            .headers
            .extend(kind.map(|kind| (header::CONTENT_TYPE, HeaderValue::from_static(kind))));
        reply.body = body;
        let mut named = Vec::new();
        for (written, value) in self.headers.iter() {
            match written_field::name(written, Place::Answer) {
                Ok(name) if named.contains(&name) => {
                    let text = format!("the header field `{name}` stands here twice");
                    problems.push(written.problem(text).help("remove one of the two"));
                }
                Ok(name) => {
                    // What is written counts more than what is usual.
                    reply.headers.retain(|(usual, _)| *usual != name);
                    reply.headers.push((name.clone(), value.value.value().clone()));
                    named.push(name);
                }
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(reply) } else { Err(problems) }
    }

    fn status(&self) -> Result<StatusCode, Problem> {
        let number = u16::try_from(self.status.0).unwrap_or_default();
        // 206 and 304 answer what was asked for of something that there is none of here.
        match number {
            200..=205 | 207..=303 | 305..=599 => {
                Ok(StatusCode::from_u16(number).expect("a number of three digits"))
            }
            _ => {
                let text = format!("{} is no status of a whole answer", self.status.value);
                Err(self.status.problem(text).help("write one from 200 to 599, such as 200 or 403"))
            }
        }
    }

    fn body(&self, problems: &mut Vec<Problem>) -> (Bytes, Option<&'static str>) {
        match (&self.text, &self.json) {
            (None, None) => (Bytes::new(), None),
            (Some(text), None) => (Bytes::from(text.0.clone()), Some("text/plain; charset=utf-8")),
            (None, Some(json)) => {
                if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&json.0) {
                    // The parser's words repeat nothing of the text.
                    let text = format!("this is not JSON: {error}");
                    problems
                        .push(json.problem(text).help("write it as in '{ \"status\": \"up\" }'"));
                }
                (Bytes::from(json.0.clone()), Some("application/json"))
            }
            (Some(_), Some(json)) => {
                let text = "an answer has one body: `text` or `json`";
                problems.push(json.problem(text).help("remove one of the two"));
                (Bytes::new(), None)
            }
        }
    }
}

fn is_bodiless(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT)
}
