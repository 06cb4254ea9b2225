//! Where a peer, an arbiter or a ledger is reached over gRPC: one way to read the URL and the authority of its certificate.

use std::time::Duration;

use tonic::transport::Endpoint;

use crate::error::{Error, Usage};

/// For `http://…`, or `https://…` with the authority (PEM) that the certificate must come from. Nothing is connected yet.
pub(crate) fn endpoint(url: &str, ca: Option<Vec<u8>>) -> Result<Endpoint, Error> {
    let unusable = |why: tonic::transport::Error| Usage::Url(why.to_string());
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(unusable)?;
    let endpoint = endpoint.connect_timeout(Duration::from_secs(5));
    #[cfg(feature = "tls")]
    let endpoint = match ca {
        Some(ca) => {
            let ca = tonic::transport::Certificate::from_pem(ca);
            let tls = tonic::transport::ClientTlsConfig::new().ca_certificate(ca);
            endpoint.tls_config(tls).map_err(unusable)?
        }
        None => endpoint,
    };
    #[cfg(not(feature = "tls"))]
    if ca.is_some() {
        return Err(Usage::Url("this build has no TLS".to_owned()).into());
    }
    Ok(endpoint)
}
