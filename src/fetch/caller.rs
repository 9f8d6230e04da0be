//! Questions to one service that asks for more than documents: methods, fields and statuses are the
//! caller's, and bounds and trust are those of every document.

use super::{CONNECT_MS_MAX, FETCH_MS_MAX, FetchError, cause, install_crypto_provider, root_cause};
use bytes::Bytes;
use http::{Request, Response};
use reqwest::{Certificate, Client, redirect};
use std::time::Duration;

/// Asks one service.
#[derive(Clone, Debug)]
pub struct Caller(Client);

impl Caller {
    /// Whom to trust: those whose certificates are in `ca` (PEM), or the host's. No network.
    pub fn open(ca: Option<&[u8]>) -> Result<Self, FetchError> {
        install_crypto_provider();
        let wrong = |error: reqwest::Error| FetchError::Tls(root_cause(&error));
        let mut builder = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .referer(false)
            .https_only(true)
            .connect_timeout(Duration::from_millis(CONNECT_MS_MAX))
            .timeout(Duration::from_millis(FETCH_MS_MAX));
        if let Some(ca) = ca {
            builder = builder.tls_certs_only(Certificate::from_pem_bundle(ca).map_err(wrong)?);
        }
        builder.build().map(Caller).map_err(wrong)
    }

    /// Its answer, whatever the status, with a body of at most `bytes_max` bytes.
    pub async fn call(
        &self,
        request: Request<Bytes>,
        bytes_max: usize,
    ) -> Result<Response<Bytes>, FetchError> {
        let request = request.try_into().map_err(|error| cause(&error))?;
        let mut response = self.0.execute(request).await.map_err(|error| cause(&error))?;
        let body = super::body(&mut response, bytes_max).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut answer = Response::new(body);
        (*answer.status_mut(), *answer.headers_mut()) = (status, headers);
        Ok(answer)
    }
}
