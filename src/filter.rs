//! Filters: the steps of a route's chain, and the order in which they may stand.
//!
//! A filter *decides*; it changes nothing. Its decision is a value: a `Finding` that the chain
//! enters into the exchange, or a `Halt`. So the same code can judge a request that was never sent,
//! or be counted without refusing. It never sees Pingora's session and writes no response, no
//! metric and no log line.
//!
//! A new filter is one file, its `mod` line and one line in the roster below; so is one that has a
//! section of its own in the file. What such a section provides is in the room `part`.

mod allow;
mod concurrency;
mod cors;
mod deny;
mod headers;
mod rate_limit;
mod session;
mod shadow;

pub use session::Sessions;

use crate::denial::{Code, Denial, Reply};
use crate::exchange::{Cause, Exchange, Finding};
use crate::part::{Context, Lasting, Part, Parts, TokenCookie};
use crate::problem::Problem;
use crate::quota::Figures;
use crate::request::Request;
use crate::store::Store;
use crate::units::Secret;
use crate::yaml::{At, Entries, Keys, Named};
use async_trait::async_trait;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use pingora::http::ResponseHeader;
use schemars::JsonSchema;
use serde::de::MapAccess;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Makes the YAML variants, their construction, the index of filters and the sections of the file
/// from one line each.
macro_rules! filters {
    ($($(#[doc = $doc:literal])+ $module:ident => $variant:ident $(in $section:ident)?,)+) => {
        /// One step as the file has it: `- name: settings`.
        #[derive(Debug, Deserialize, Serialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        #[schemars(rename = "Filter")]
        pub enum Config { $($(#[doc = $doc])+ $variant($module::Config),)+ }

        impl Config {
            /// Every filter's name in the file.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($module)),+];

            pub(crate) fn name(&self) -> &'static str {
                match self { $(Config::$variant(_) => stringify!($module),)+ }
            }

            /// How it is called where the routes are listed.
            pub(crate) fn label(&self) -> &'static str {
                match self {
                    Config::Shadow(inner) => match &inner.value {
                        $(Config::$variant(_) => concat!("shadow ", stringify!($module)),)+
                    },
                    plain => plain.name(),
                }
            }

            /// The running filter that this entry describes.
            pub(crate) fn build(
                &self,
                parts: &Parts,
                stance: Stance,
            ) -> Result<Box<dyn Filter>, Vec<Problem>> {
                match self {
                    $(Config::$variant(config) => $module::build(config, parts, stance),)+
                }
            }
        }

        /// The sections of the file that filters bring with them.
        #[derive(Debug, Default, Serialize, JsonSchema)]
        pub struct Sections {$($(
            #[doc = concat!("The section `", stringify!($section), "`.")]
            #[serde(default)]
            #[schemars(extend("description" = <$module::Entry as Part>::ABOUT))]
            pub $section: Entries<<$module::Entry as Part>::Config>,
        )?)+}

        impl Keys for Sections {
            fn read<'de, A>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error>
            where
                A: MapAccess<'de>,
            {
                $($(if key == stringify!($section) {
                    self.$section = map.next_value()?;
                    return Ok(true);
                })?)+
                Ok(false)
            }
        }

        impl Sections {
            /// The names of all entries, with their places.
            pub fn places(&self) -> Vec<&At<String>> {
                [$($(self.$section.places(),)?)+].concat()
            }

            /// The claims of a token that any entry reads.
            pub fn claims(&self) -> Vec<&str> {
                let mut all = Vec::new();
                $($(all.extend(self.$section.values().flat_map($module::Entry::claims));)?)+
                all
            }

            /// The cookies in which any entry keeps tokens.
            pub fn cookies(&self) -> Vec<TokenCookie<'_>> {
                let mut all = Vec::new();
                $($(all.extend(self.$section.values().flat_map($module::Entry::cookies));)?)+
                all
            }

            /// The secrets of all entries, each with what it is.
            pub fn secrets(&self) -> Vec<(&'static str, &At<Secret>)> {
                let mut all = Vec::new();
                $($(all.extend(self.$section.values().flat_map($module::Entry::secrets));)?)+
                all
            }

            /// Whether paths may begin with a token of any entry.
            pub fn takes_path_tokens(&self) -> bool {
                false $($(|| self.$section.values().any($module::Entry::takes_path_tokens))?)+
            }

            /// Compiles every section, in the order of the roster.
            pub fn compile(&self, context: &Context<'_>, problems: &mut Vec<Problem>) -> Parts {
                let mut parts = Parts::new(context.base_dir);
                $($(parts.compile::<$module::Entry>(&self.$section, context, problems);)?)+
                parts
            }
        }
    };
}

filters! {
    /// Verifies the session token and makes the session known. Value: an entry of `sessions`, or
    /// that as `name`, and `required: false` where a request without a token passes, too.
    session => Session in sessions,
    /// Makes sure that the stream holds a lease. Value: an entry of `concurrency`, or that as
    /// `policy` and its `classes` that the route's streams belong to.
    concurrency => Concurrency in concurrency,
    /// Says how often a client, an account, a session or the holder of a key may ask.
    rate_limit => RateLimit,
    /// Lets only clients at these addresses pass.
    allow => Allow,
    /// Refuses clients at these addresses.
    deny => Deny,
    /// Says whose pages may ask from another site, and answers their preflights.
    cors => Cors,
    /// Sets, adds and removes header fields: of the request to the upstream, and of every answer,
    /// refusals and redirects too.
    headers => Headers,
    /// Has the filter in it decide, counts what it would refuse, and refuses nothing.
    shadow => Shadow,
}

impl Config {
    /// The filter itself, whether or not it stands in a shadow.
    pub fn bare(&self) -> &Config {
        match self {
            Config::Shadow(inner) => inner.bare(),
            plain => plain,
        }
    }
}

impl Config {
    /// Whether it is asked before all others, wherever it is written.
    pub(crate) fn comes_first(&self) -> bool {
        matches!(self.bare(), Config::Cors(_))
    }
}

/// When a filter edits every answer, be it the upstream's, a refusal or a redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// What is left of a rate.
    Quota,
    /// Any fields.
    Headers,
    /// What a page of another site may read: the last word.
    Cors,
}

/// An answer on its way to the client.
#[derive(Debug)]
pub struct Answer<'a> {
    /// The fields of the request.
    pub asked: &'a HeaderMap,
    /// The head, as it will be sent.
    pub head: &'a mut ResponseHeader,
    /// The gateway itself gives it: a refusal, a redirect, an answer of the route.
    pub is_own: bool,
}

/// Where a filter stands.
pub struct Placement<'a> {
    /// Its route.
    pub route: &'a str,
    /// Its number in the chain.
    pub index: usize,
    /// What a change of the configuration must not forget.
    pub lasting: &'a dyn Lasting,
    /// The stores of the file.
    pub stores: &'a Named<Arc<Store>>,
}

/// Whether what a filter decides is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stance {
    /// It refuses whom it refuses.
    Enforcing,
    /// It is only counted: it refuses nobody, and a session that it accepts is not kept alive.
    Shadow,
}

/// Something that must be known before a filter can decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// Whether there is a session is known: the request may be anonymous.
    Login,
    /// The session is verified.
    Session,
    /// The stream is admitted.
    Lease,
}

impl Fact {
    /// What a message calls it.
    pub fn name(self) -> &'static str {
        match self {
            Fact::Login | Fact::Session => "session",
            Fact::Lease => "lease",
        }
    }
}

/// A filter's no, or its own answer.
#[derive(Debug)]
pub enum Halt {
    /// The request is refused.
    Deny(Denial, Cause),
    /// The request is answered.
    Reply(Reply),
    /// The filter's own answer, and what it found out.
    Answered(Reply, Box<Finding>),
}

impl<D: Into<Denial>> From<D> for Halt {
    fn from(denial: D) -> Self {
        Halt::Deny(denial.into(), Cause::Plain)
    }
}

/// What a filter says of a request.
pub type Decision = Result<Finding, Halt>;

/// What a filter says of a request, for people who ask why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterVerdict {
    /// The request goes on.
    Passes,
    /// The filter stands in a shadow, and the request goes on; otherwise it would be refused.
    WouldRefuse(Code),
    /// It refuses with this code.
    Refuses(Code),
    /// The filter answers the request itself, with this status.
    Answers(StatusCode),
}

impl FilterVerdict {
    /// What a decision comes to.
    pub fn of(decision: &Decision) -> Self {
        match decision {
            Ok(Finding::Shadow(_, code)) => FilterVerdict::WouldRefuse(*code),
            Ok(_) => FilterVerdict::Passes,
            Err(Halt::Deny(denial, _)) => FilterVerdict::Refuses(denial.code()),
            Err(Halt::Reply(reply) | Halt::Answered(reply, _)) => Self::Answers(reply.status),
        }
    }
}

/// A step in a route's chain.
#[async_trait]
pub trait Filter: Send + Sync {
    /// What must be known before; checked when the chain is compiled.
    fn needs(&self) -> &'static [Fact] {
        &[]
    }

    /// What is known afterwards.
    fn provides(&self) -> &'static [Fact] {
        &[]
    }

    /// What would be known afterwards, if the filter did not stand in a shadow.
    fn would_provide(&self) -> &'static [Fact] {
        self.provides()
    }

    /// Takes up what it was on this route before a change of the configuration. Called once, before
    /// it is asked anything; all problems of what it names.
    fn settle(&mut self, _place: &Placement<'_>) -> Result<(), Vec<Problem>> {
        Ok(())
    }

    /// Judges a request by what this node knows, without waiting. `None`: only waiting can tell.
    /// A media request of a stream that plays is decided here, by look-ups alone.
    fn decide_at_once(&self, _request: &Request<'_>, _known: &Exchange) -> Option<Decision> {
        None
    }

    /// Judges a request by what is known of it. May wait on a store, within the store's deadline.
    async fn decide(&self, request: &Request<'_>, known: &Exchange) -> Decision;

    /// Judges the head of an answer to a request of which only that tells what it begins. What it
    /// refuses or answers takes the place of the upstream's answer, of which no byte is sent then.
    async fn decide_by_answer(
        &self,
        _request: &Request<'_>,
        _answer: &ResponseHeader,
        _known: &Exchange,
    ) -> Decision {
        Ok(Finding::Nothing)
    }

    /// Sets the header fields of the request to the upstream.
    fn upstream_request(&self, _fields: &mut HeaderMap, _known: &Exchange) {}

    /// Asked now and then while a long answer flows: whether it may go on. Looks up, never waits.
    fn during(&self, _known: &Exchange) -> Result<(), Denial> {
        Ok(())
    }

    /// The request that it let pass is answered with an error, or not at all. May wait on a store.
    async fn failed(&self, _known: &Exchange) {}

    /// What the client, who `asked` with these fields, gets beside the upstream's answer.
    fn response(&self, _asked: &HeaderMap, _head: &mut ResponseHeader, _known: &Exchange) {}

    /// Whether it edits every answer, and when. Checked when the chain is compiled.
    fn finishes(&self) -> Option<Stage> {
        None
    }

    /// Edits the head of an answer, whoever gives it. Only asked where the filter `finishes`.
    fn finish(&self, _answer: &mut Answer<'_>, _known: &Exchange) {}

    /// What its rates count beside refusals, since the start.
    fn rates(&self) -> Figures {
        Figures::default()
    }

    /// Whether it answers the question whether a page of another site may ask (a preflight).
    fn takes_preflights(&self) -> bool {
        false
    }
}

/// Has an answer bring a cookie. No cache may keep it then, or the next viewer got it.
pub fn set_cookie(head: &mut ResponseHeader, cookie: HeaderValue) {
    let _ = head.append_header(header::SET_COOKIE, cookie);
    let _ = head.insert_header(header::CACHE_CONTROL, "no-store");
}
