//! `witness serve`: starts everything in order, and ends it in the other.

use std::io::Write;

use super::tls;
use crate::cli::serve::block_on;
use crate::cli::{CliError, Tls, print};
use crate::clock::SystemClock;
use crate::config::witness::Settings;
use crate::grpc::shutdown::{Hangup, Signals};
use crate::grpc::{Server, Transport};
use crate::keys::witness_file::{self, WitnessKeys};
use crate::telemetry;
use crate::witness::logs::Logs;
use crate::witness::mark::Mark;
use crate::witness::store::Store;
use crate::witness::{Ended, Handle, Options, StartError, http, names::Names};

pub(super) fn serve(settings: &Settings, out: &mut dyn Write) -> Result<(), CliError> {
    telemetry::filter(&settings.log_filter)?;
    let (tls, keys) = (tls(settings)?, witness_file::load(&settings.key_file)?);
    Names::of(&settings.name, &keys)?;
    telemetry::start(settings.log_format, &settings.log_filter)?;
    let logs = Logs::load(&settings.log_list)?;
    block_on(serve_until_stopped(settings, keys, logs, tls, out))
}

async fn serve_until_stopped(
    settings: &Settings,
    keys: WitnessKeys,
    logs: Logs,
    tls: Option<Tls>,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let listen = settings.listen;
    let bound = |source| CliError::Bind { setting: "listen", listen, source };
    let listener = tokio::net::TcpListener::bind(listen).await.map_err(bound)?;
    let refused = |source| CliError::System { what: "signals", source };
    let mut signals = Signals::catch().map_err(refused)?;
    let mut hangup = Hangup::catch().map_err(refused)?;

    let failed = |source| CliError::Witness { path: settings.data.clone(), source };
    let names = Names::of(&settings.name, &keys)?;
    let known = logs.len();
    let store =
        Store::open(&settings.data, names.id()).map_err(|source| failed(StartError::Store(source)))?;
    let mark = Mark::open(&settings.mark, names.id()).map_err(|source| failed(StartError::Mark(source)))?;
    let options = Options { accept_clock: settings.accept_clock, max_per_second: settings.max_per_second };
    let witness =
        Handle::start(names, keys, logs, store, mark, options, Box::new(SystemClock)).map_err(failed)?;
    let bounds =
        http::Bounds { max_requests: settings.max_requests, request_timeout: settings.request_timeout() };
    let router = http::router(witness.clone(), &settings.prefix, bounds);
    let mut server = Server::start_http(transport(settings, tls), listener, router).await?;

    let (address, name) = (server.address(), &settings.name);
    tracing::info!(%address, name, logs = known, "ready");
    print(out, &format!("witness ready address={address} name={name} logs={known}\n"))?;

    let failed = loop {
        tokio::select! {
            signal = signals.next() => {
                tracing::info!(signal, "draining");
                break None;
            }
            error = server.failed() => break Some(CliError::Serve(error)),
            _ = witness.ended() => break Some(CliError::WitnessStopped),
            () = hangup.next() => match Logs::load(&settings.log_list) {
                Ok(logs) => {
                    tracing::info!(logs = logs.len(), "the list of logs is taken again");
                    witness.set_logs(logs);
                }
                Err(error) => tracing::error!(%error, "the list of logs cannot be taken: the old one stays"),
            },
        }
    };
    let stopped = tokio::select! {
        stopped = server.stop() => stopped.map_err(CliError::Serve),
        signal = signals.next() => {
            tracing::warn!(signal, "second signal: ending at once");
            Ok(())
        }
    };
    let ended = witness.stop().await;
    tracing::info!(?ended, "stopped");
    match (failed, ended) {
        (Some(error), _) => Err(error),
        (None, Ended::Failed) => Err(CliError::WitnessStopped),
        (None, Ended::Stopped) => stopped,
    }
}

fn transport(settings: &Settings, tls: Option<Tls>) -> Transport {
    Transport {
        max_connections: settings.max_connections,
        max_requests: settings.max_requests,
        // One log needs one at a time.
        max_streams: 64,
        request_timeout: settings.request_timeout(),
        drain: settings.drain(),
        tls,
    }
}
