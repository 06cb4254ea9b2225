//! R-543: a mirror of a running log, over HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arbiter::publish::export::{ExportError, Folder};
use arbiter::publish::remote::Remote;
use arbiter::publish::walk::{Source as _, SourceError, WalkError};
use arbiter_protocol::evidence::checkpoint::SignedCheckpoint;
use arbiter_protocol::evidence::tile::{TileKind, TilePath, grown};
use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse as _;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::decimal::{files, read_back};
use crate::http::Site;

/// Brings a folder up to date from a log at this address.
async fn mirror(
    url: String,
    folder: std::path::PathBuf,
    key: arbiter_protocol::evidence::note::VerifierKey,
) -> Result<u64, ExportError> {
    let work = move || {
        let mut remote = Remote::new(&url, None).unwrap();
        let note = remote.checkpoint().map_err(WalkError::from)?;
        let newest = SignedCheckpoint::verify(&note, &key).unwrap();
        Folder::open(&folder, &key)?.export(&newest, &mut remote, &mut |_| {})?;
        Ok(newest.checkpoint().size)
    };
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// R-543: it follows a log that grows; it refuses one that has another history, and one that went back.
#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_follows_and_refuses_a_rewritten_log() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::new(40).await;
    let key = site.key();
    let follow = |site: &Site| mirror(site.url(), folder.path().to_path_buf(), site.key());
    assert_eq!(follow(&site).await.unwrap(), 40);
    let site = Site::on(
        site.close().await,
        300,
        crate::http::SELDOM,
        arbiter::publish::http::Bounds {
            max_requests: 8,
            request_timeout: std::time::Duration::from_secs(20),
        },
    )
    .await;
    assert_eq!(follow(&site).await.unwrap(), 300);
    assert_eq!(follow(&site).await.unwrap(), 300);
    let there = files(folder.path());
    for path in grown(0, 300) {
        assert_eq!(there[&path.to_string()], site.get(&format!("/{path}")).await.body, "{path}");
    }
    if let Some((size, root, _)) = read_back(folder.path()) {
        assert_eq!((size, root), (300, site.published.newest().checkpoint().root.to_string()));
    }
    // The same keys, another history.
    for (leaves, ahead) in [(20, true), (301, false), (300, false)] {
        let other = Site::new(leaves).await;
        assert_eq!(other.key(), key);
        match follow(&other).await.unwrap_err() {
            ExportError::Ahead { exported: 300, size: 20, .. } => assert!(ahead),
            ExportError::Forked { exported: 300, size, .. } => assert!(!ahead && size == leaves),
            error => panic!("{error}"),
        }
        let mut now = files(folder.path());
        now.remove("contradicting-checkpoint");
        assert_eq!(now, there);
        other.close().await.engine.stop().await;
    }
    site.close().await.engine.stop().await;
}

/// A server that answers in bad ways yields errors that name the address.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_server_only_yields_errors() {
    let asked = Arc::new(AtomicUsize::new(0));
    let bomb = {
        use std::io::Write as _;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&vec![0; 40 << 20]).unwrap();
        encoder.finish().unwrap()
    };
    let redirected = Arc::clone(&asked);
    let router = Router::new()
        .route(
            "/redirect/tile/{*path}",
            get(|| async { (StatusCode::FOUND, [(header::LOCATION, "/elsewhere")]) }),
        )
        .route(
            "/elsewhere",
            get(move || {
                redirected.fetch_add(1, Ordering::SeqCst);
                async { "x" }
            }),
        )
        .route(
            "/bomb/tile/{*path}",
            get(move || async move { ([(header::CONTENT_ENCODING, "gzip")], bomb).into_response() }),
        )
        .route("/large/tile/{*path}", get(|| async { vec![0_u8; 20 << 20] }))
        .route("/torn/tile/{*path}", get(|| async { ([(header::CONTENT_ENCODING, "gzip")], "x") }))
        .route("/coded/tile/{*path}", get(|| async { ([(header::CONTENT_ENCODING, "br")], "x") }))
        .route("/broken/tile/{*path}", get(|| async { StatusCode::INTERNAL_SERVER_ERROR }))
        // It has dropped the partial tile.
        .route("/full/tile/0/000", get(|| async { vec![5_u8; 8192] }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let hashes = TilePath::new(TileKind::Hashes(0), 0, 17).unwrap();
    let bundle = TilePath::new(TileKind::Entries, 0, 17).unwrap();
    let ask = |prefix: &str, path: TilePath| {
        let mut remote = Remote::new(&format!("http://{address}/{prefix}/"), None).unwrap();
        tokio::task::spawn_blocking(move || remote.tile(path))
    };
    for (prefix, path, what) in [
        ("redirect", "status 302"),
        ("bomb", "too large"),
        ("large", "limit"),
        ("torn", "not gzip"),
        ("coded", "content encoding"),
        ("broken", "status 500"),
        ("missing", "status 404"),
    ]
    .into_iter()
    .flat_map(|(prefix, what)| [(prefix, bundle, what), (prefix, hashes, what)])
    {
        if prefix == "bomb" && path == hashes {
            continue; // Even packed it is larger than a tile can be.
        }
        let error = ask(prefix, path).await.unwrap().unwrap_err();
        let SourceError::Remote { url, problem } = &error else { panic!("{error}") };
        assert!(url.starts_with(&format!("http://{address}/{prefix}/tile/")), "{url}");
        assert!(problem.contains(what), "{prefix}: {problem}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0, "a redirect was followed");
    assert_eq!(ask("full", hashes).await.unwrap().unwrap(), vec![5; 17 * 32]);
    let nobody = Remote::new("http://127.0.0.1:1", None).unwrap();
    assert!(tokio::task::spawn_blocking(move || nobody.checkpoint()).await.unwrap().is_err());
    assert!(Remote::new("ftp://log.example", None).is_err());
    server.abort();
}
