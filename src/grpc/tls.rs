//! TLS for servers that speak HTTP/1.1, too: what the gRPC library does for HTTP/2 only.
//!
//! ```text
//!  Counted ─▶ handshake, within its time ─▶ h2 or http/1.1, whichever the client offers first of the two ─▶ server
//! ```
//! The library's own acceptor offers `h2` and nothing else, and a client that offers `http/1.1`, as most do, is turned away.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;
use tokio_stream::Stream;

use super::incoming::{Counted, Incoming};
use super::{PATIENCE, ServeError, Tls};

/// Connections after their handshakes. Those that fail are closed, and nobody else waits for them.
pub(super) struct Handshakes {
    incoming: Incoming,
    acceptor: TlsAcceptor,
    under_way: JoinSet<Option<TlsStream<Counted>>>,
}

impl Handshakes {
    pub(super) fn new(incoming: Incoming, tls: &Tls) -> Result<Self, ServeError> {
        let config = config(tls).map_err(|problem| ServeError::Tls(problem.to_string()))?;
        Ok(Self { incoming, acceptor: TlsAcceptor::from(Arc::new(config)), under_way: JoinSet::new() })
    }
}

impl Stream for Handshakes {
    type Item = io::Result<TlsStream<Counted>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match Pin::new(&mut self.incoming).poll_next(context) {
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(Some(Ok(stream))) => {
                    let acceptor = self.acceptor.clone();
                    // Their number is bounded by that of connections.
                    self.under_way
                        .spawn(async move { timeout(PATIENCE, acceptor.accept(stream)).await.ok()?.ok() });
                    continue;
                }
                Poll::Pending => {}
            }
            if self.under_way.is_empty() {
                return Poll::Pending;
            }
            if let Some(Ok(Some(stream))) = ready!(self.under_way.poll_join_next(context)) {
                return Poll::Ready(Some(Ok(stream)));
            }
        }
    }
}

type Problem = Box<dyn std::error::Error>;

fn config(tls: &Tls) -> Result<ServerConfig, Problem> {
    let certificates = |pem| CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let builder = match &tls.client_ca {
        None => ServerConfig::builder().with_no_client_auth(),
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(ca)? {
                roots.add(certificate)?;
            }
            ServerConfig::builder()
                .with_client_cert_verifier(WebPkiClientVerifier::builder(roots.into()).build()?)
        }
    };
    let key = PrivateKeyDer::from_pem_slice(&tls.key)?;
    let mut config = builder.with_single_cert(certificates(&tls.cert)?, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
