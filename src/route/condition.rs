//! What a route asks of a request beyond host and path: method, header fields, query parameters.

use crate::request::Request;
use http::{HeaderName, Method};

/// Conditions that must all hold.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    /// Empty: any method.
    pub methods: Vec<Method>,
    /// Header fields and their values.
    pub headers: Vec<(HeaderName, Wanted)>,
    /// Query parameters and their values.
    pub query: Vec<(String, Wanted)>,
}

/// What a header field or query parameter must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// There, with whatever value: written `"*"`.
    Present,
    /// This value.
    Exactly(String),
}

impl Wanted {
    /// Reads `"*"` as any value, and other text as the value itself.
    pub fn parse(text: &str) -> Self {
        match text {
            "*" => Wanted::Present,
            exact => Wanted::Exactly(exact.to_owned()),
        }
    }

    pub(super) fn holds(&self, value: Option<&str>) -> bool {
        match (self, value) {
            (Wanted::Present, value) => value.is_some(),
            (Wanted::Exactly(wanted), Some(value)) => wanted == value,
            (Wanted::Exactly(_), None) => false,
        }
    }

    fn excludes(&self, other: &Wanted) -> bool {
        matches!((self, other), (Wanted::Exactly(a), Wanted::Exactly(b)) if a != b)
    }
}

impl Conditions {
    /// How many there are: of two routes with the same host and path, the one with more is tried
    /// first. A list of methods counts as one.
    pub fn count(&self) -> usize {
        usize::from(!self.methods.is_empty()) + self.headers.len() + self.query.len()
    }

    /// Each in words.
    pub fn describe(&self) -> Vec<String> {
        let methods: Vec<&str> = self.methods.iter().map(Method::as_str).collect();
        let methods = (!methods.is_empty()).then(|| methods.join("|"));
        let shown = |wanted: &Wanted| match wanted {
            Wanted::Present => "any".to_owned(),
            Wanted::Exactly(text) => text.clone(),
        };
        let headers =
            self.headers.iter().map(|(name, wanted)| format!("{name}: {}", shown(wanted)));
        let query = self.query.iter().map(|(name, wanted)| format!("?{name}={}", shown(wanted)));
        methods.into_iter().chain(headers).chain(query).collect()
    }

    /// Whether all but the method fit.
    pub fn hold_but_for_method(&self, request: &Request<'_>) -> bool {
        self.headers.iter().all(|(name, wanted)| wanted.holds(request.header(name)))
            && self.query.iter().all(|(name, wanted)| wanted.holds(request.query_value(name)))
    }

    /// Whether the method fits.
    pub fn allows(&self, method: &Method) -> bool {
        // HEAD is GET without the body (RFC 9110 §9.3.2), so who serves one serves the other.
        let is_head_for_get = *method == Method::HEAD && self.methods.contains(&Method::GET);
        self.methods.is_empty() || self.methods.contains(method) || is_head_for_get
    }

    /// Whether no request can meet both.
    pub fn exclude(&self, other: &Conditions) -> bool {
        let methods_apart = !self.methods.is_empty()
            && !other.methods.is_empty()
            && !self.methods.iter().any(|method| other.methods.contains(method));
        methods_apart || apart(&self.headers, &other.headers) || apart(&self.query, &other.query)
    }
}

fn apart<K: PartialEq>(ours: &[(K, Wanted)], theirs: &[(K, Wanted)]) -> bool {
    ours.iter().any(|(name, wanted)| {
        theirs.iter().any(|(other, theirs)| name == other && wanted.excludes(theirs))
    })
}
