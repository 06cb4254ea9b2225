//! How a module is reached: one connection with its own limits and credentials, made when it is first needed.
//!
//! Invariants
//! - Nothing that is secret here is ever shown: not by `Debug`, not in errors, not in logs.
//! - A message larger than [`Reach::max_message_bytes`] is refused before it is read into memory.

use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};
use zeroize::Zeroizing;

/// Largest answer of a module unless the configuration says otherwise: a signed receipt, and what it says about itself.
pub const MESSAGE_BYTES: usize = 64 * 1024;
/// Largest block of headers or trailers that a module may send.
const HEADER_BYTES: u32 = 16 * 1024;

/// How to reach a module.
#[derive(Clone)]
pub struct Reach {
    /// `http://` or `https://`, host and port.
    pub url: String,
    /// Authority of the module's certificate (PEM): needed with `https://`.
    pub ca: Option<Vec<u8>>,
    /// Certificate and secret key to show to the module (PEM).
    pub identity: Option<(Vec<u8>, Zeroizing<Vec<u8>>)>,
    /// Sent with every call as `authorization: Bearer …`.
    pub token: Option<Zeroizing<String>>,
    /// How long it may take to connect, and until an answer begins.
    pub timeout: Duration,
    /// Largest answer that is read.
    pub max_message_bytes: usize,
}

impl Reach {
    /// Without credentials, with the usual limits.
    pub fn plain(url: impl Into<String>, timeout: Duration) -> Self {
        let (ca, identity, token) = (None, None, None);
        Self { url: url.into(), ca, identity, token, timeout, max_message_bytes: MESSAGE_BYTES }
    }

    /// Prepares the connection; the text of an error says what is wrong with the address or the credentials.
    pub(super) fn link(&self) -> Result<Link, String> {
        let endpoint = Endpoint::from_shared(self.url.clone()).map_err(|error| error.to_string())?;
        let mut endpoint = endpoint
            .timeout(self.timeout)
            .connect_timeout(self.timeout)
            .http2_max_header_list_size(HEADER_BYTES);
        if self.url.starts_with("https://") {
            let ca = self.ca.as_ref().ok_or("https needs the certificate of an authority (ca)")?;
            let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
            if let Some((cert, key)) = &self.identity {
                tls = tls.identity(Identity::from_pem(cert, key.as_slice()));
            }
            endpoint = endpoint.tls_config(tls).map_err(|error| error.to_string())?;
        } else if self.identity.is_some() {
            return Err(String::from("a client certificate needs https"));
        }
        let bearer = |token: &Zeroizing<String>| {
            let line = Zeroizing::new(["Bearer ", token.trim()].concat());
            let mut value = MetadataValue::try_from(line.as_str())
                .map_err(|_| String::from("the token has characters that cannot be sent"))?;
            value.set_sensitive(true);
            Ok::<_, String>(value)
        };
        let bearer = Bearer(self.token.as_ref().map(bearer).transpose()?);
        Ok(Link { endpoint, bearer, channel: OnceLock::new(), max_message_bytes: self.max_message_bytes })
    }
}

impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reach")
            .field("url", &self.url)
            .field("identity", &self.identity.is_some())
            .field("token", &self.token.is_some())
            .finish_non_exhaustive()
    }
}

/// A module that may not be connected yet.
pub(super) struct Link {
    endpoint: Endpoint,
    bearer: Bearer,
    channel: OnceLock<Channel>,
    /// Largest answer that is read.
    pub(super) max_message_bytes: usize,
}

impl Link {
    /// The connection. Call it where futures run: what connects in the background is started here, once.
    pub(super) fn connection(&self) -> Connection {
        let channel = self.channel.get_or_init(|| self.endpoint.connect_lazy());
        InterceptedService::new(channel.clone(), self.bearer.clone())
    }
}

/// A connection with its credentials.
pub(super) type Connection = InterceptedService<Channel, Bearer>;

/// Shows the token.
#[derive(Clone)]
pub(super) struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}
