//! `serve`: starts everything in order, and ends it in the other.
//!
//! ```text
//!  config ─▶ keys ─▶ port ─▶ store, journal ─▶ clock ─▶ engine ─▶ publisher ─▶ API, tiles ─▶ "arbiter ready" ─▶ signal ─▶ drain ─▶ exit code
//!                                                                  SIGHUP, every day ─▶ escrow keys again
//!        a high-water mark (journal, export, witness) knows more ─▶ reads only, an error line every minute (R-523)
//! ```

use std::fs::File;
use std::io::{Read as _, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arbiter_protocol::ids::Digest;
use arbiter_protocol::ruling::sequencer::Desk;
use sha2::{Digest as _, Sha256};

use super::data::Data;
use super::witnesses::seen;
use super::{CliError, Prepared, epochs, prepare, print, publishing, succeed};
use crate::anchors::Anchors;
use crate::clock::SystemClock;
use crate::config::Settings;
use crate::deadlines;
use crate::engine::{Ended, Engine, Handle, HighWater};
use crate::grpc::shutdown::{Hangup, Signals};
use crate::grpc::{Api, Server, Tls};
use crate::modules::Modules;
use crate::outbox::{Outbox, Pause};
use crate::policy;
use crate::publish::Published;
use crate::scrub;
use crate::telemetry;

/// Threads for signatures, the store and deposits. Signatures use one a core; the rest waits for the disk.
const WORKERS: usize = 64;
/// How long what is being told to a ledger may take when the arbiter ends: it is told again after the next start.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How often it is said that only reads are served.
const ALARM: Duration = Duration::from_secs(60);
/// How often escrow keys are looked at without being asked.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) fn serve(settings: &Settings, out: &mut dyn Write) -> Result<(), CliError> {
    let prepared = prepare(settings)?;
    telemetry::start(settings.log_format, &settings.log_filter)?;
    block_on(serve_until_stopped(settings, prepared, out))
}

/// Runs a server, or a call of one, to its end.
pub(super) fn block_on(work: impl Future<Output = Result<(), CliError>>) -> Result<(), CliError> {
    end_on_panic();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(WORKERS)
        .build()
        .map_err(|source| CliError::System { what: "threads", source })?;
    let served = runtime.block_on(work);
    // A worker that still waits for the disk must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
}

async fn serve_until_stopped(
    settings: &Settings,
    prepared: Prepared,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let listen = settings.listen;
    let bound = |source| CliError::Bind { setting: "listen", listen, source };
    let listener = tokio::net::TcpListener::bind(listen).await.map_err(bound)?;
    let refused = |source| CliError::System { what: "signals", source };
    let mut signals = Signals::catch().map_err(refused)?;
    let mut hangup = Hangup::catch().map_err(refused)?;

    let Prepared { keys, arbiter, tls, modules, witnesses, authority } = prepared;
    let anchors = Arc::new(Anchors::new(&settings.anchors(), &arbiter));
    let data = Data::open(settings, &arbiter, keys.vault())?;
    let desk = Desk {
        arbiter: arbiter.clone(),
        build: program_digest()?,
        clock_uncertainty: settings.clock_uncertainty(),
    };
    let failed = |source| CliError::Start { path: settings.data.clone(), source };
    if !settings.accept_clock {
        Engine::check_clock(&*data.store, &SystemClock).map_err(failed)?;
    }
    let successions = succeed::published(&settings.key_file, &arbiter)?;
    let seen = seen(witnesses.clone()).await?;
    let mut marks = data.marks();
    marks.extend(seen.iter().map(|mark| -> &dyn HighWater { mark }));
    let store = Arc::clone(&data.store);
    let engine = Engine::start_below(desk, keys, store, Box::new(SystemClock), &marks).map_err(failed)?;
    drop(data);
    epochs::begin(settings, &engine);
    let file = settings.witness_policy.as_ref().map(|path| {
        let unread = |source| CliError::Io { verb: "read", path: path.clone(), source };
        std::fs::read(path).map_err(unread)
    });
    let policy = policy::declared(engine.desk(), &settings.terms, file.transpose()?.as_deref());
    if engine.read_only().is_none() {
        let declared = engine.declare(Digest::of(&[policy.as_bytes()])).await;
        if let Some(leaf) = declared.map_err(|_| CliError::Engine)? {
            // R-535
            tracing::info!(leaf = leaf.0, "what is declared is new or has changed");
        }
    }
    let size = engine.log_size();
    let outbox = tokio::spawn(Outbox::new(engine.clone(), modules.all(), Pause::default()).run());
    let alarm = tokio::spawn(repeat_alarm(engine.clone()));
    let rate = settings.scrub_leaves_per_second;
    let scrub = (rate > 0).then(|| tokio::spawn(scrub::run(engine.clone(), rate)));
    let watch = tokio::spawn(Arc::clone(&modules).watch());
    let deadlines = tokio::spawn(deadlines::run(engine.clone()));
    let (mut publisher, published) = publishing::begin(settings, &engine, witnesses).await?;
    let stamps = publishing::stamps(&engine, &published, &anchors, authority);
    let tiles = publishing::tiles(settings, &engine, &published, &anchors, tls.clone()).await?;
    let anchors = Some(anchors);
    let api = Api { policy, successions, anchors, ..api(settings, tls, modules, published) };
    let mut server = Server::start(api, listener, engine.clone()).await?;

    let address = server.address();
    let (origin, key) = (&arbiter.log_origin, arbiter.key);
    let log = tiles.as_ref().map(|tiles| format!(" log_address={}", tiles.address())).unwrap_or_default();
    tracing::info!(%address, %origin, %key, log_size = size, log, "ready");
    print(out, &format!("arbiter ready address={address} origin={origin} key={key} log_size={size}{log}\n"))?;

    let mut turned = false;
    let mut daily = tokio::time::interval(DAY);
    daily.reset();
    let failed = loop {
        tokio::select! {
            signal = signals.next() => {
                tracing::info!(signal, "draining");
                break None;
            }
            error = server.failed() => break Some(CliError::Serve(error)),
            error = publisher.failed() => break Some(error.into()),
            _ = engine.ended() => break Some(CliError::Engine),
            _ = engine.turned_read_only(), if !turned => {
                turned = true;
                server.read_only().await;
            }
            () = hangup.next() => epochs::reload(settings, &engine),
            _ = daily.tick() => epochs::reload(settings, &engine),
        }
    };
    let stopped = tokio::select! {
        stopped = server.stop() => stopped.map_err(CliError::Serve),
        signal = signals.next() => {
            tracing::warn!(signal, "second signal: ending at once");
            Ok(())
        }
    };
    watch.abort();
    alarm.abort();
    scrub.inspect(tokio::task::JoinHandle::abort);
    stamps.inspect(tokio::task::JoinHandle::abort);
    if let Err(error) = publisher.stop().await {
        tracing::error!(%error, "the last checkpoint was not published");
    }
    if let Some(tiles) = tiles {
        // Nothing but reads were under way.
        let _ = tiles.stop().await;
    }
    let ended = engine.stop().await;
    // They end with the engine; a ledger that is just being told must not hold up the end.
    let _ = tokio::time::timeout(LAST_WORDS, outbox).await;
    deadlines.abort();
    tracing::info!(?ended, "stopped");
    match (failed, ended) {
        (Some(error), _) => Err(error),
        (None, Ended::Failed) => Err(CliError::Engine),
        (None, Ended::Stopped) => stopped,
    }
}

/// Says it again until somebody acts.
async fn repeat_alarm(engine: Handle) {
    let why = engine.turned_read_only().await.why.clone();
    let mut minutes = tokio::time::interval(ALARM);
    loop {
        minutes.tick().await;
        tracing::error!(%why, rule = "R-523", "ALARM: nothing is decided or signed, only reads are served");
    }
}

fn api(settings: &Settings, tls: Option<Tls>, modules: Arc<Modules>, published: Published) -> Api {
    Api {
        terms: settings.terms.clone(),
        policy: String::new(),
        successions: Vec::new(),
        max_deposit_bytes: settings.max_deposit_bytes,
        max_total_deposit_bytes: settings.max_total_deposit_bytes,
        max_connections: settings.max_connections,
        max_requests: settings.max_requests,
        max_uploads: settings.max_uploads(),
        max_streams: settings.max_streams,
        request_timeout: settings.request_timeout(),
        min_bytes_per_second: settings.min_bytes_per_second,
        drain: settings.drain(),
        modules,
        hold_allowance: Duration::from_millis(settings.hold_allowance_ms),
        published: Some(published),
        anchors: None,
        tls,
    }
}

/// SHA-256 of the running program: leaves name the build that decided.
pub(super) fn program_digest() -> Result<Digest, CliError> {
    let failed = |source| CliError::Io { verb: "read", path: PathBuf::from("/proc/self/exe"), source };
    let mut program = std::env::current_exe().and_then(File::open).map_err(failed)?;
    let mut hasher = Sha256::new();
    let mut part = vec![0; 1 << 20];
    loop {
        let read = program.read(&mut part).map_err(failed)?;
        match part.get(..read) {
            None | Some([]) => return Ok(Digest::from_bytes(hasher.finalize().into())),
            Some(bytes) => hasher.update(bytes),
        }
    }
}

/// A panic is a bug of ours. No state can be trusted after it: end the process, and start again.
fn end_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}
