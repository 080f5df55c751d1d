//! What speaks HTTPS to an authority, and takes no more from it than an order needs.

use std::pin::Pin;

use http::header::RETRY_AFTER;
use http::{HeaderMap, Request, Response};
use http_body_util::Limited;
use hyper::body::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{self, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::OrderError;
use crate::access::certificates::provider;

/// The largest answer: a chain of certificates has a few kilobytes.
const LARGEST_ANSWER: usize = 256 * 1024;
/// The longest wait that an authority may ask for, in seconds. An order takes less.
const LONGEST_WAIT: u64 = 3600;

/// A client of an authority's HTTPS.
pub(super) struct Client(legacy::Client<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>);

impl Client {
    /// Trusts the roots in this PEM text, or those that this host trusts.
    pub(super) fn trusting(roots: Option<&[u8]>) -> Result<Self, OrderError> {
        let builder = HttpsConnectorBuilder::new();
        let builder = match roots {
            Some(text) => builder.with_tls_config(config(text)?),
            None => builder
                .with_provider_and_native_roots(provider())
                .map_err(|error| OrderError::Roots(format!("this host's own: {error}")))?,
        };
        let connector = builder.https_only().enable_http1().build();
        let client = legacy::Client::builder(TokioExecutor::new());
        Ok(Self(client.build(connector)))
    }
}

fn config(text: &[u8]) -> Result<ClientConfig, OrderError> {
    let unusable = |error: &dyn std::fmt::Display| OrderError::Roots(error.to_string());
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(text) {
        let root = root.map_err(|error| unusable(&error))?;
        roots.add(root).map_err(|error| unusable(&error))?;
    }
    if roots.is_empty() {
        return Err(unusable(&"the file holds no certificate"));
    }
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let asked = self.0.request(request);
        Box::pin(async move {
            let response = asked.await.map_err(|error| Error::Other(error.into()))?;
            let (mut parts, body) = response.into_parts();
            if !is_sensible_wait(&parts.headers) {
                parts.headers.remove(RETRY_AFTER);
            }
            let body = Limited::new(body, LARGEST_ANSWER);
            Ok(Response::from_parts(parts, body).into())
        })
    }
}

/// Whether an authority asks for a wait that the library can count with.
fn is_sensible_wait(headers: &HeaderMap) -> bool {
    let wait = headers.get(RETRY_AFTER).and_then(|wait| wait.to_str().ok());
    let seconds = wait.and_then(|wait| wait.trim().parse::<u64>().ok());
    seconds.is_some_and(|seconds| seconds <= LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_that_nobody_could_sit_out_is_not_believed() {
        let asks = |wait: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, wait.parse().unwrap());
            is_sensible_wait(&headers)
        };
        assert!(asks("5") && asks(" 3600 "));
        for wait in [
            "3601",
            "18446744073709551615",
            "-1",
            "Fri, 31 Dec 9999 23:59:59 GMT",
            "",
        ] {
            assert!(!asks(wait), "{wait}");
        }
    }

    #[test]
    fn roots_are_certificates() {
        assert!(Client::trusting(Some(b"no certificate")).is_err());
        assert!(
            Client::trusting(Some(
                b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
            ))
            .is_err()
        );
    }
}
