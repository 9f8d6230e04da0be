//! What a route asks of a request beyond host and path: method, header fields, query parameters.

use super::scheme::UrlScheme;
use super::shape::Shape;
use super::value;
use crate::request::Request;
use http::{HeaderName, Method};

/// Conditions that must all hold.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    /// Empty: any method.
    pub methods: Vec<Method>,
    /// What parts of the path must look like.
    pub shape: Shape,
    /// `None`: any.
    pub scheme: Option<UrlScheme>,
    /// What the path may end with, in lower case; empty: anything.
    pub extensions: Vec<String>,
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
    /// This very text, which is shown to nobody if it `is_secret`.
    Exactly {
        /// The text.
        text: String,
        /// Whether it is masked where routes are listed.
        is_secret: bool,
    },
}

impl Wanted {
    /// Reads `"*"` as any value, and other text as the value itself.
    pub fn parse(text: &str, is_secret: bool) -> Self {
        match text {
            value::ANY => Wanted::Present,
            exact => Wanted::Exactly { text: exact.to_owned(), is_secret },
        }
    }

    fn shown(&self) -> &str {
        match self {
            Wanted::Present => "any",
            Wanted::Exactly { text, is_secret } => value::shown(text, *is_secret),
        }
    }

    pub(super) fn holds(&self, value: Option<&str>) -> bool {
        match (self, value) {
            (Wanted::Present, value) => value.is_some(),
            (Wanted::Exactly { text, .. }, Some(value)) => text == value,
            (Wanted::Exactly { .. }, None) => false,
        }
    }

    fn excludes(&self, other: &Wanted) -> bool {
        match (self, other) {
            (Wanted::Exactly { text: ours, .. }, Wanted::Exactly { text: theirs, .. }) => {
                ours != theirs
            }
            _ => false,
        }
    }
}

impl Conditions {
    /// How many there are: of two routes with the same host and path, the one with more is tried
    /// first. A list of methods counts as one.
    pub fn count(&self) -> usize {
        usize::from(!self.methods.is_empty())
            + usize::from(self.scheme.is_some())
            + self.shape.count()
            + usize::from(!self.extensions.is_empty())
            + self.headers.len()
            + self.query.len()
    }

    /// Each in words. What may be a secret is masked.
    pub fn describe(&self) -> Vec<String> {
        let methods: Vec<&str> = self.methods.iter().map(Method::as_str).collect();
        let methods = (!methods.is_empty()).then(|| methods.join("|"));
        let extensions: Vec<String> = self.extensions.iter().map(|one| format!(".{one}")).collect();
        let extensions = (!extensions.is_empty()).then(|| extensions.join("|"));
        let headers =
            self.headers.iter().map(|(name, wanted)| format!("{name}: {}", wanted.shown()));
        let query = self.query.iter().map(|(name, wanted)| format!("?{name}={}", wanted.shown()));
        let scheme = self.scheme.map(|scheme| format!("{}://", scheme.as_str()));
        methods.into_iter().chain(scheme).chain(extensions).chain(headers).chain(query).collect()
    }

    /// Whether all but the method fit.
    pub fn hold_but_for_method(&self, request: &Request<'_>) -> bool {
        self.is_asked_by(request)
            && self.ends(&request.path)
            && self.headers.iter().all(|(name, wanted)| wanted.holds(request.header(name)))
            && self.query.iter().all(|(name, wanted)| wanted.holds(request.query_value(name)))
    }

    /// Whether the scheme is the right one.
    pub(super) fn is_asked_by(&self, request: &Request<'_>) -> bool {
        self.scheme.is_none_or(|scheme| scheme == UrlScheme::asked(request.is_https))
    }

    /// Whether the path ends as it should.
    pub(super) fn ends(&self, path: &str) -> bool {
        if self.extensions.is_empty() {
            return true;
        }
        let name = path.rsplit('/').next().unwrap_or(path);
        let Some((_, end)) = name.rsplit_once('.') else { return false };
        self.extensions.iter().any(|extension| end.eq_ignore_ascii_case(extension))
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
        let extensions_apart = !self.extensions.is_empty()
            && !other.extensions.is_empty()
            && !self.extensions.iter().any(|one| other.extensions.contains(one));
        let schemes = self.scheme.zip(other.scheme);
        methods_apart
            || schemes.is_some_and(|(one, other)| one != other)
            || self.shape.excludes(&other.shape)
            || self.shape.excludes_all(&other.extensions)
            || other.shape.excludes_all(&self.extensions)
            || extensions_apart
            || apart(&self.headers, &other.headers)
            || apart(&self.query, &other.query)
    }
}

fn apart<K: PartialEq>(ours: &[(K, Wanted)], theirs: &[(K, Wanted)]) -> bool {
    ours.iter().any(|(name, wanted)| {
        theirs.iter().any(|(other, theirs)| name == other && wanted.excludes(theirs))
    })
}
