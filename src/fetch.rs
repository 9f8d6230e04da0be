//! One small document over HTTP, fetched or sent, or from a file: bounded, without surprises.
//!
//! For key sets, certificates and the admin port of another process. Not for traffic of viewers,
//! which is proxied, and not for anything large.

mod caller;
mod file;

pub use caller::Caller;
pub use file::{file, is_for_everybody, put_secret};

use bytes::{Bytes, BytesMut};
use http::header;
use reqwest::{Client, Response, Url, redirect};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How long connecting may take, in milliseconds.
const CONNECT_MS_MAX: u64 = 2_000;

/// How long the whole may take, in milliseconds.
pub const FETCH_MS_MAX: u64 = 5_000;

/// How many redirects within one origin are followed.
const REDIRECTS_MAX: usize = 3;

/// Makes AWS-LC the cryptography of every TLS connection that does not choose its own.
///
/// Two providers are in the program (Pingora brings ring), so rustls can't choose by itself and
/// panics unless this is called before the first TLS configuration is made. `main` does so first;
/// calling it again changes nothing.
pub fn install_crypto_provider() {
    if CryptoProvider::get_default().is_none() {
        // An error means that another thread was quicker, which is as good.
        let _ = aws_lc_rs::default_provider().install_default();
    }
}

/// Where a document is: an `https:` URL, or an `http:` one that may be.
#[derive(Clone, PartialEq, Eq)]
pub struct Link(Url);

impl Link {
    /// Reads a URL. Plain HTTP is accepted to loopback, and elsewhere only if `allow_http`, since
    /// whoever can answer it decides what is true. `Err` says what is wrong.
    pub fn parse(text: &str, allow_http: bool) -> Result<Self, &'static str> {
        let url = Url::parse(text).map_err(|_| "this is no URL")?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("a URL must not hold a password");
        }
        if url.fragment().is_some() {
            return Err("a URL that is fetched has no `#…`");
        }
        let address = address(&url);
        if address.is_some_and(is_link_local) {
            return Err("link-local addresses are not fetched: cloud metadata lives there");
        }
        let is_loopback = match address {
            Some(address) => address.is_loopback(),
            None => url.host_str() == Some("localhost"),
        };
        match url.scheme() {
            "https" => Ok(Link(url)),
            "http" if is_loopback || allow_http => Ok(Link(url)),
            "http" => Err("plain HTTP leaves it to the network what the answer is"),
            _ => Err("only https: and http: are fetched"),
        }
    }
}

impl Link {
    /// This path at an address of this machine, which the operator named: nothing is forbidden.
    pub fn of_own(address: SocketAddr, path: &str) -> Result<Self, &'static str> {
        let url = Url::parse(&format!("http://{address}{path}"));
        url.map(Link).map_err(|_| "an address with a zone can't be asked")
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The host, if it is written as an IP address.
fn address(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    let address: IpAddr = host.trim_matches(['[', ']']).parse().ok()?;
    Some(address.to_canonical())
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// Why there is no document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The certificates of this host cannot be read.
    #[error("TLS cannot be used here: {0}")]
    Tls(String),
    /// The answer did not come in time.
    #[error("no answer in {FETCH_MS_MAX} ms")]
    Timeout,
    /// No connection, or it broke.
    #[error("the host cannot be reached: {0}")]
    Unreachable(String),
    /// A redirect that is not followed.
    #[error("it redirects to another host, or too often")]
    Redirect,
    /// An answer without the document.
    #[error("the answer has status {0}")]
    Status(u16),
    /// An answer beyond the bound.
    #[error("the answer has more than {0} bytes")]
    TooLarge(usize),
}

/// Fetches one document, again and again.
#[derive(Clone, Debug)]
pub struct Fetcher {
    client: Client,
    link: Link,
}

impl Fetcher {
    /// Reads the host's root certificates (`SSL_CERT_FILE` names others); no network.
    pub fn open(link: &Link) -> Result<Self, FetchError> {
        install_crypto_provider();
        let mut builder = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::custom(within_origin))
            .referer(false)
            .connect_timeout(Duration::from_millis(CONNECT_MS_MAX))
            .timeout(Duration::from_millis(FETCH_MS_MAX))
            .pool_max_idle_per_host(0)
            .user_agent(concat!("streamgate/", env!("CARGO_PKG_VERSION")));
        if link.0.scheme() == "http" {
            // A host without any root certificate can still fetch from loopback.
            builder = builder.tls_certs_only([]);
        }
        let client = builder.build().map_err(|error| FetchError::Tls(root_cause(&error)))?;
        Ok(Fetcher { client, link: link.clone() })
    }

    /// The document as it is now, of at most `bytes_max` bytes.
    pub async fn get(&self, bytes_max: usize) -> Result<Bytes, FetchError> {
        self.ask(None, bytes_max).await
    }

    /// The same for who has this bearer token. It is sent to this origin and no other.
    pub async fn ask(&self, token: Option<&str>, bytes_max: usize) -> Result<Bytes, FetchError> {
        let request = self.client.get(self.link.0.clone());
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let mut response = request.send().await.map_err(|error| cause(&error))?;
        if response.status() != 200 {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        body(&mut response, bytes_max).await
    }

    /// Sends `document` with a bearer token: the status and the answer, of at most `bytes_max`
    /// bytes, which may take `within`. It is sent to this origin and no other.
    pub async fn post(
        &self,
        document: &serde_json::Value,
        token: &str,
        (bytes_max, within): (usize, Duration),
    ) -> Result<(u16, Bytes), FetchError> {
        let request = self.client.post(self.link.0.clone()).bearer_auth(token);
        let request = request.header(header::CONTENT_TYPE, "application/json").timeout(within);
        let sent = request.body(document.to_string()).send().await;
        let mut response = sent.map_err(|error| cause(&error))?;
        Ok((response.status().as_u16(), body(&mut response, bytes_max).await?))
    }
}

async fn body(response: &mut Response, bytes_max: usize) -> Result<Bytes, FetchError> {
    let too_large = FetchError::TooLarge(bytes_max);
    if response.content_length().is_some_and(|bytes| bytes > bytes_max as u64) {
        return Err(too_large);
    }
    let mut all = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| cause(&error))? {
        if all.len() + chunk.len() > bytes_max {
            return Err(too_large);
        }
        all.extend_from_slice(&chunk);
    }
    Ok(all.freeze())
}

/// Follows a redirect only to where the operator's own URL already points: scheme, host and port.
fn within_origin(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let is_same = attempt.previous().iter().all(|url| url.origin() == attempt.url().origin());
    if is_same && attempt.previous().len() <= REDIRECTS_MAX {
        attempt.follow()
    } else {
        attempt.error(FetchError::Redirect)
    }
}

fn cause(error: &reqwest::Error) -> FetchError {
    match error {
        _ if error.is_timeout() => FetchError::Timeout,
        _ if error.is_redirect() => FetchError::Redirect,
        _ => FetchError::Unreachable(root_cause(error)),
    }
}

/// The last in the chain of causes: the one that an operator can act on.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

#[cfg(test)]
mod tests;
