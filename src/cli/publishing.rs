//! What `serve` runs to publish the log: the published checkpoint, the tile API, the export, time-stamps.

use std::sync::Arc;
use std::time::Duration;

use arbiter_protocol::evidence::checkpoint::SignedCheckpoint;
use arbiter_protocol::evidence::note::VerifierKey;

use tokio::task::JoinHandle;

use super::CliError;
use crate::anchors::Anchors;
use crate::config::{ConfigError, Settings};
use crate::engine::Handle;
use crate::grpc::{Server, Tls, Transport};
use crate::publish::export::{ExportError, Folder};
use crate::publish::http::{self, Bounds};
use crate::publish::stamps::{Authority, Stamper};
use crate::publish::witnesses::Witnesses;
use crate::publish::{Alone, Cosigners, Pace, Published, Publisher, Sink};

/// Requests at one time on one connection of the tile API: a response is in memory until it is taken.
const STREAMS: u32 = 8;

/// Starts publishing. An export that does not belong to this log, or is ahead of it, refuses the start.
pub(super) async fn begin(
    settings: &Settings,
    engine: &Handle,
    witnesses: Option<Arc<Witnesses>>,
) -> Result<(Publisher, Published), CliError> {
    // Where only reads are served nothing is published, and the export is as it was.
    let sink: Option<Box<dyn Sink>> = match &settings.export {
        _ if engine.read_only().is_some() => None,
        None => None,
        Some(path) => {
            let folder = Folder::open(path, &log_key(engine)?)?;
            folder.check(engine)?;
            Some(Box::new(Exporter { folder, engine: engine.clone(), alarmed: false }))
        }
    };
    let pace = Pace::every(settings.publish_interval());
    let cosigners: Arc<dyn Cosigners> = match witnesses {
        Some(witnesses) => witnesses,
        None => Arc::new(Alone),
    };
    Ok(Publisher::start(engine.clone(), cosigners, pace, sink).await?)
}

/// Serves the tile API, if there is an address for it.
pub(super) async fn tiles(
    settings: &Settings,
    engine: &Handle,
    published: &Published,
    anchors: &Arc<Anchors>,
    tls: Option<Tls>,
) -> Result<Option<Server>, CliError> {
    let Some(listen) = settings.listen_log else { return Ok(None) };
    let bound = |source| CliError::Bind { setting: "listen_log", listen, source };
    let listener = tokio::net::TcpListener::bind(listen).await.map_err(bound)?;
    let bounds = Bounds { max_requests: settings.max_requests, request_timeout: settings.request_timeout() };
    let router = http::router(engine.clone(), published.clone(), Some(Arc::clone(anchors)), bounds);
    let transport = Transport {
        max_connections: settings.max_connections,
        max_requests: settings.max_requests,
        max_streams: STREAMS,
        request_timeout: settings.request_timeout(),
        drain: settings.drain(),
        tls,
    };
    Ok(Some(Server::start_http(transport, listener, router).await?))
}

/// Asks for time-stamps, if there is an authority for them. Ends with the engine, or when it is aborted.
pub(super) fn stamps(
    engine: &Handle,
    published: &Published,
    anchors: &Arc<Anchors>,
    authority: Option<(Authority, Duration)>,
) -> Option<JoinHandle<()>> {
    let (authority, interval) = authority?;
    let (anchors, authority) = (Arc::clone(anchors), Arc::new(authority));
    let stamper = Stamper::new(engine.clone(), published.clone(), anchors, authority, interval);
    Some(tokio::spawn(stamper.run()))
}

/// The authority of the configuration, and how often it is asked.
pub(super) fn authority(settings: &Settings) -> Result<Option<(Authority, Duration)>, ConfigError> {
    let Some(stamp) = &settings.timestamp else { return Ok(None) };
    let authority = Authority::new(&stamp.url, stamp.authorities()?);
    Ok(Some((authority, Duration::from_secs(stamp.interval_seconds))))
}

/// The key that signs checkpoints, named as the log.
pub(super) fn log_key(engine: &Handle) -> Result<VerifierKey, CliError> {
    let arbiter = &engine.desk().arbiter;
    let key = VerifierKey::new(arbiter.log_origin.as_str(), arbiter.log_key);
    key.map_err(|error| CliError::Mirror(format!("the log's key: {error}")))
}

/// Brings the export up to date after each published checkpoint.
struct Exporter {
    folder: Folder,
    engine: Handle,
    alarmed: bool,
}

impl Sink for Exporter {
    fn take(&mut self, published: &SignedCheckpoint) {
        if self.alarmed {
            return;
        }
        match self.folder.export(published, &mut self.engine, &mut |_| {}) {
            Ok(()) => {}
            // A full disk may have room again. Nothing that is served or signed depends on the export.
            Err(error @ (ExportError::Io { .. } | ExportError::Walk(_))) => {
                tracing::error!(%error, "the export is not up to date; it is tried again with the next checkpoint");
            }
            Err(error) => {
                tracing::error!(%error, "the export has ended; nothing is written to it before the next start");
                self.alarmed = true;
            }
        }
    }
}
