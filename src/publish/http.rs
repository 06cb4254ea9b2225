//! The tile API over HTTP: the log for anybody with standard tools, C2SP tlog-tiles (R-542).
//!
//! ```text
//!  GET /checkpoint              the published checkpoint               text/plain, cached for a second
//!  GET /tile/<L>/<N>[.p/<W>]    hashes                                 application/octet-stream, for ever
//!  GET /tile/entries/<N>[.p/<W>]  leaves, gzipped for who takes it     application/octet-stream, for ever
//!  GET /anchor/<leaf>           what an authority stamped             text/plain, for ever (R-546)
//!  GET /                        what this is, for people
//! ```
//!
//! Invariants
//! - Only what the published checkpoint covers is served; everything else does not exist yet, and is not cached.
//! - A partial tile is cut from what is stored: every width that the checkpoint covers is there.
//! - Requests are bounded in number and time; nothing that a client sends is read but the path and two headers.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use arbiter_protocol::evidence::note::VerifierKey;
use arbiter_protocol::evidence::tile::{TileKind, TilePath};
use arbiter_protocol::ids::LeafIndex;
use axum::Router;
use axum::extract::{Path as UrlPath, Request, State};
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::sync::Semaphore;

use super::Published;
use crate::anchors::Anchors;
use crate::engine::{EngineError, Handle, blocking};

const TEXT: &str = "text/plain; charset=utf-8";
const BYTES: &str = "application/octet-stream";
/// The published checkpoint changes once a second at most.
const FRESH: &str = "public, max-age=1";
/// A tile never changes.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// What is not there now may be there in a second.
const NOT_KEPT: &str = "no-store";

/// How many requests are served at one time, and how long one may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Requests at one time; more are told to come back.
    pub max_requests: u32,
    /// For one request, without the time its reader takes.
    pub request_timeout: Duration,
}

struct Log {
    engine: Handle,
    published: Published,
    anchors: Option<Arc<Anchors>>,
    room: Semaphore,
    timeout: Duration,
}

/// The routes of the tile API.
pub fn router(engine: Handle, published: Published, anchors: Option<Arc<Anchors>>, bounds: Bounds) -> Router {
    let room = Semaphore::new(usize::try_from(bounds.max_requests).unwrap_or(Semaphore::MAX_PERMITS));
    let log = Arc::new(Log { engine, published, anchors, room, timeout: bounds.request_timeout });
    Router::new()
        .route("/", get(about))
        .route("/checkpoint", get(checkpoint))
        .route("/tile/{*path}", get(tile))
        .route("/anchor/{leaf}", get(anchor))
        .fallback(|| async {
            plain(StatusCode::NOT_FOUND, "not found: this is the tile API of an evidence log\n")
        })
        .layer(middleware::from_fn_with_state(Arc::clone(&log), bounded))
        .with_state(log)
}

/// Room and time for every request.
async fn bounded(State(log): State<Arc<Log>>, request: Request, next: Next) -> Response {
    let Ok(_room) = log.room.try_acquire() else {
        return later("too many requests at this time: try again\n");
    };
    match tokio::time::timeout(log.timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => later("the log did not answer in time: try again\n"),
    }
}

async fn checkpoint(State(log): State<Arc<Log>>) -> Response {
    let note = log.published.newest().note().to_string();
    answer(StatusCode::OK, &[(CONTENT_TYPE, TEXT), (CACHE_CONTROL, FRESH)], note)
}

async fn tile(State(log): State<Arc<Log>>, uri: Uri, headers: HeaderMap) -> Response {
    let text = uri.path().strip_prefix('/').unwrap_or_default();
    let size = log.published.newest().checkpoint().size;
    let path = TilePath::parse(text).ok().filter(|path| path.is_within(size));
    let Some(path) = path else {
        return plain(StatusCode::NOT_FOUND, "not found: no such tile in the published checkpoint\n");
    };
    let is_bundle = path.kind() == TileKind::Entries;
    let zip = is_bundle && takes_gzip(&headers);
    let engine = log.engine.clone();
    let read = blocking(move || {
        let bytes = engine.tile(path)?;
        if zip { gzip(&bytes) } else { Ok(bytes) }
    });
    let bytes = match read.await {
        Ok(bytes) => bytes,
        Err(error) => return unread(&error),
    };
    let mut with = vec![(CONTENT_TYPE, BYTES), (CACHE_CONTROL, FOR_EVER)];
    if is_bundle {
        with.push((VARY, "accept-encoding"));
    }
    if zip {
        with.push((CONTENT_ENCODING, "gzip"));
    }
    answer(StatusCode::OK, &with, bytes)
}

/// The anchor that a leaf names, if it is kept here.
async fn anchor(State(log): State<Arc<Log>>, UrlPath(leaf): UrlPath<String>) -> Response {
    let size = log.published.newest().checkpoint().size;
    // One form of each number.
    let index = leaf.parse().ok().filter(|index: &u64| *index < size && index.to_string() == leaf);
    let (Some(index), Some(anchors)) = (index, log.anchors.clone()) else { return no_anchor() };
    let engine = log.engine.clone();
    match blocking(move || anchors.at(&engine, LeafIndex(index))).await {
        Ok(Some(found)) => {
            let with = [(CONTENT_TYPE, TEXT), (CACHE_CONTROL, FOR_EVER)];
            answer(StatusCode::OK, &with, found.anchor.to_string())
        }
        Ok(None) => no_anchor(),
        Err(error) => unread(&error),
    }
}

fn no_anchor() -> Response {
    plain(StatusCode::NOT_FOUND, "not found: no time-stamp is kept here for such a leaf\n")
}

/// For people who look with a browser.
async fn about(State(log): State<Arc<Log>>) -> Response {
    let arbiter = &log.engine.desk().arbiter;
    let origin = arbiter.log_origin.as_str();
    let key = VerifierKey::new(origin, arbiter.log_key).map(|key| key.to_string()).unwrap_or_default();
    let size = log.published.newest().checkpoint().size;
    let page = format!(
        "This is the evidence log of an arbiter, a neutral third party for fair exchange.\n\
         Every ruling is a leaf here before it is answered. Leaves name no party and no secret.\n\
         \n\
         origin      {origin}\n\
         key         {key}\n\
         rules       {}\n\
         leaves      {size}\n\
         \n\
         checkpoint  /checkpoint             signed note; with the cosignatures of witnesses, if there are any\n\
         hashes      /tile/<level>/<n>       C2SP tlog-tiles\n\
         leaves      /tile/entries/<n>\n\
         \n\
         Audit it with a policy file that has the line\n\
         \n\
         log {key}\n\
         quorum none\n\
         \n\
         by: fairx audit <the address of this page> --policy FILE\n",
        arbiter.rules
    );
    answer(StatusCode::OK, &[(CONTENT_TYPE, TEXT), (CACHE_CONTROL, FRESH)], page)
}

/// Whether the client says that it takes gzip (RFC 9110, 12.5.3).
fn takes_gzip(headers: &HeaderMap) -> bool {
    let offers = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    offers.flat_map(|value| value.split(',')).any(|offer| {
        let (coding, weight) = offer.split_once(';').unwrap_or((offer, ""));
        let refused = weight.trim().strip_prefix("q=").is_some_and(|q| q.trim_matches(['0', '.']).is_empty());
        coding.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>, EngineError> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let zipped = encoder.write_all(bytes).and_then(|()| encoder.finish());
    zipped.map_err(|error| {
        tracing::error!(%error, "a bundle could not be compressed");
        EngineError::Damaged
    })
}

fn answer(status: StatusCode, with: &[(HeaderName, &'static str)], body: impl IntoResponse) -> Response {
    let mut response = body.into_response();
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in with {
        headers.insert(name, axum::http::HeaderValue::from_static(value));
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, axum::http::HeaderValue::from_static("nosniff"));
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    answer(status, &[(CONTENT_TYPE, TEXT), (CACHE_CONTROL, NOT_KEPT)], text)
}

/// Whatever it is, the operator was told.
fn unread(error: &EngineError) -> Response {
    match error {
        EngineError::Stopped => later("the log is about to stop: try again\n"),
        _ => plain(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the log cannot read what it stored: tell its operator\n",
        ),
    }
}

fn later(text: &'static str) -> Response {
    let with = [(CONTENT_TYPE, TEXT), (CACHE_CONTROL, NOT_KEPT), (RETRY_AFTER, "1")];
    answer(StatusCode::SERVICE_UNAVAILABLE, &with, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_for_who_takes_it() {
        for (value, takes) in [
            ("gzip", true),
            ("deflate, gzip;q=1.0, *;q=0.5", true),
            ("GZIP", true),
            ("br;q=1, gzip; q=0.2", true),
            ("gzip;q=0", false),
            ("gzip;q=0.000", false),
            ("identity", false),
            ("xgzip", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, value.parse().unwrap())]);
            assert_eq!(takes_gzip(&headers), takes, "{value:?}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
