//! The tile API over TLS, for clients of either HTTP.

use std::sync::Arc;
use std::time::Duration;

use arbiter::grpc::{Api, Server, Tls, Transport};
use arbiter::publish::http::{Bounds, router};
use arbiter::publish::remote::Remote;
use arbiter::publish::{Alone, Publisher};
use arbiter_protocol::evidence::checkpoint::SignedCheckpoint;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::common::World;
use crate::http::SELDOM;
use crate::issuer::Authority;

async fn serve(world: &World, tls: Tls) -> (Publisher, Server) {
    let (publisher, published) =
        Publisher::start(world.engine.clone(), Arc::new(Alone), SELDOM, None).await.unwrap();
    let bounds = Bounds { max_requests: 8, request_timeout: Duration::from_secs(20) };
    let router = router(world.engine.clone(), published, None, bounds);
    let transport = Transport { tls: Some(tls), max_streams: 8, ..Api::default().into() };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (publisher, Server::start_http(transport, listener, router).await.unwrap())
}

/// What a client that offers these protocols gets: the one that was chosen, and the answer over HTTP/1.1.
async fn ask(
    server: &Server,
    authority: &Authority,
    offers: &[&str],
    identity: Option<(String, String)>,
) -> std::io::Result<(Option<String>, String)> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots);
    let mut config = match identity {
        None => config.with_no_client_auth(),
        Some((cert, key)) => {
            let cert = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            config.with_client_auth_cert(vec![cert], key).unwrap()
        }
    };
    config.alpn_protocols = offers.iter().map(|offer| offer.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(server.address()).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let chosen = stream.get_ref().1.alpn_protocol().map(|it| String::from_utf8(it.to_vec()).unwrap());
    let mut answer = Vec::new();
    if chosen.as_deref() != Some("h2") {
        stream.write_all(b"GET /checkpoint HTTP/1.1\r\nhost: log\r\nconnection: close\r\n\r\n").await?;
        let read = stream.read_to_end(&mut answer).await;
        if answer.is_empty() {
            read?;
        }
    }
    Ok((chosen, String::from_utf8(answer).unwrap()))
}

/// Most tools offer `http/1.1`; some nothing at all.
#[tokio::test(flavor = "multi_thread")]
async fn either_http_is_spoken_over_tls() {
    let (world, authority) = (World::new().await, Authority::new());
    let (cert, key) = authority.server("localhost");
    let tls = Tls { cert: cert.into(), key: key.into(), client_ca: None };
    let (publisher, server) = serve(&world, tls).await;
    // One that says nothing holds up nobody.
    let silent = TcpStream::connect(server.address()).await.unwrap();
    for (offers, chosen) in [
        (&["http/1.1"][..], Some("http/1.1")),
        (&[], None),
        (&["h2", "http/1.1"], Some("h2")),
        (&["h2"], Some("h2")),
    ] {
        let (got, answer) = ask(&server, &authority, offers, None).await.unwrap();
        assert_eq!(got.as_deref(), chosen);
        assert!(chosen == Some("h2") || answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }
    assert!(ask(&server, &Authority::new(), &["http/1.1"], None).await.is_err(), "another authority");
    let url = format!("https://localhost:{}", server.address().port());
    let ca = authority.pem();
    let note =
        tokio::task::spawn_blocking(move || Remote::new(&url, Some(ca.as_bytes())).unwrap().checkpoint());
    let note = note.await.unwrap().unwrap();
    assert_eq!(SignedCheckpoint::verify(&note, &crate::http::key(&world)).unwrap().checkpoint().size, 1);
    drop(silent);
    server.stop().await.unwrap();
    publisher.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_authority_is_enforced() {
    let (world, authority, clients) = (World::new().await, Authority::new(), Authority::new());
    let (cert, key) = authority.server("localhost");
    let client_ca = Some(clients.pem().into_bytes());
    let tls = Tls { cert: cert.into(), key: key.into(), client_ca };
    let (publisher, server) = serve(&world, tls).await;
    let known = ask(&server, &authority, &["http/1.1"], Some(clients.client())).await.unwrap();
    assert!(known.1.starts_with("HTTP/1.1 200 OK\r\n"));
    for identity in [None, Some(Authority::new().client())] {
        let answer = ask(&server, &authority, &["http/1.1"], identity).await;
        assert!(!answer.is_ok_and(|(_, answer)| answer.contains("200 OK")));
    }
    server.stop().await.unwrap();
    publisher.stop().await.unwrap();
}
