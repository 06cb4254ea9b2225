//! How this program asks the servers of others: logs, witnesses, time-stamping authorities.

use std::time::Duration;

use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// Largest block of headers.
const HEADER_BYTES: usize = 16 * 1024;

/// Whose certificates count: of the authority in `ca` (PEM), or of the public ones. The error says what is wrong with the PEM.
pub(super) fn roots(ca: Option<&[u8]>) -> Result<RootCerts, String> {
    let Some(pem) = ca else { return Ok(RootCerts::WebPki) };
    let authority = Certificate::from_pem(pem).map_err(|error| error.to_string())?;
    Ok(RootCerts::new_with_certs(&[authority]))
}

/// An answer takes at most `patience`, from connecting to its last byte; redirects are not followed, and a status is no error
/// by itself.
pub(super) fn agent(patience: Duration, roots: RootCerts) -> Agent {
    let config = Agent::config_builder()
        .timeout_global(Some(patience))
        .max_redirects(0)
        .http_status_as_error(false)
        .max_response_header_size(HEADER_BYTES)
        .max_idle_connections_per_host(1)
        .user_agent(concat!("arbiter/", env!("CARGO_PKG_VERSION")))
        .tls_config(TlsConfig::builder().root_certs(roots).build())
        .build();
    config.new_agent()
}
