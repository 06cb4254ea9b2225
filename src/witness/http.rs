//! The witness over HTTP: statuses and media types of tlog-witness, and nothing else.
//!
//! | what happened | status |
//! | --- | --- |
//! | cosigned | 200, signature lines |
//! | malformed, or old size above the checkpoint's | 400 |
//! | no valid signature of a known key | 403 |
//! | unknown log | 404 |
//! | the old size is not the newest cosigned one | 409, `text/x.tlog.size`, the newest size |
//! | not sent in time | 408 |
//! | larger than [`limits::ADD_CHECKPOINT_BYTES`] | 413 |
//! | wrong proof or root | 422 |
//! | too many of one log, or of all | 429, 503 with `Retry-After` |

use std::sync::Arc;
use std::time::Duration;

use arbiter_protocol::evidence::witness::{AddCheckpoint, Refusal};
use arbiter_protocol::limits;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::sync::Semaphore;

use super::{Handle, WitnessError};

/// How many requests are served at one time, and how long one may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Requests at one time; more are told to come back.
    pub max_requests: u32,
    /// For one request, its body included.
    pub request_timeout: Duration,
}

/// The paths below `prefix`.
pub fn router(witness: Handle, prefix: &str, bounds: Bounds) -> Router {
    let routes = Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/{hash}/checkpoint", get(checkpoint))
        .with_state(witness.clone());
    let about = Router::new().route("/", get(about)).with_state(witness);
    let routes = if prefix.is_empty() { routes } else { Router::new().nest(prefix, routes) };
    let permits = usize::try_from(bounds.max_requests).unwrap_or(Semaphore::MAX_PERMITS);
    let room = Room { free: Arc::new(Semaphore::new(permits)), time: bounds.request_timeout };
    routes.merge(about).layer(from_fn_with_state(room, within))
}

#[derive(Clone)]
struct Room {
    free: Arc<Semaphore>,
    time: Duration,
}

/// Room and time for every request.
async fn within(State(room): State<Room>, request: Request, next: Next) -> Response {
    let Ok(_permit) = room.free.try_acquire() else {
        return later(StatusCode::SERVICE_UNAVAILABLE, "too many requests at this time: try again\n");
    };
    let served = tokio::time::timeout(room.time, next.run(request)).await;
    served.unwrap_or_else(|_| plain(StatusCode::REQUEST_TIMEOUT, "the request took too long\n"))
}

async fn add_checkpoint(State(witness): State<Handle>, body: Body) -> Response {
    let Ok(body) = to_bytes(body, limits::ADD_CHECKPOINT_BYTES).await else {
        return plain(StatusCode::PAYLOAD_TOO_LARGE, "a request has at most 16 KiB\n");
    };
    let parsed = std::str::from_utf8(&body).map_err(|_| Refusal::Malformed).and_then(AddCheckpoint::parse);
    let cosigned = match parsed {
        Ok(request) => witness.add_checkpoint(request).await,
        Err(refusal) => Err(refusal.into()),
    };
    match cosigned {
        Ok(lines) => plain(StatusCode::OK, lines),
        Err(error) => refused(&error),
    }
}

fn refused(error: &WitnessError) -> Response {
    let text = format!("{error}\n");
    match error {
        WitnessError::Refused(refusal) => {
            let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
            (status, [(header::CONTENT_TYPE, refusal.content_type())], refusal.body()).into_response()
        }
        WitnessError::TooMany => later(StatusCode::TOO_MANY_REQUESTS, text),
        WitnessError::Overloaded | WitnessError::Stopped => later(StatusCode::SERVICE_UNAVAILABLE, text),
    }
}

async fn checkpoint(State(witness): State<Handle>, Path(hash): Path<String>) -> Response {
    match witness.checkpoint(&hash) {
        Some(note) => {
            let mut answer = plain(StatusCode::OK, note);
            answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=1"));
            answer
        }
        None => plain(StatusCode::NOT_FOUND, "nothing is cosigned for this log\n"),
    }
}

/// For people who open the address in a browser.
async fn about(State(witness): State<Handle>) -> Response {
    let logs = witness.logs().len();
    let mut text =
        String::from("This is a witness of transparency logs (https://c2sp.org/tlog-witness).\n\n");
    for key in witness.names().keys() {
        text.push_str(&format!("{key}\n"));
    }
    text.push_str(&format!("\n{logs} logs.\n"));
    plain(StatusCode::OK, text)
}

fn later(status: StatusCode, text: impl Into<String>) -> Response {
    let mut answer = plain(status, text);
    answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    answer
}

fn plain(status: StatusCode, text: impl Into<String>) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text.into()).into_response()
}
