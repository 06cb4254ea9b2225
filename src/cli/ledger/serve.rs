//! `ledger serve`: starts everything in order, and ends it in the other.

use std::io::Write;

use arbiter_protocol::crypto::{MemorySigner, Signer as _};

use super::{load_key, tls};
use crate::cli::serve::block_on;
use crate::cli::{CliError, Tls, print};
use crate::clock::SystemClock;
use crate::config::ledger::Settings;
use crate::grpc::shutdown::Signals;
use crate::grpc::{Server, Transport};
use crate::ledger::store::Store;
use crate::ledger::{Ended, Handle, Options, StartError};
use crate::telemetry;

pub(super) fn serve(settings: &Settings, out: &mut dyn Write) -> Result<(), CliError> {
    telemetry::filter(&settings.log_filter)?;
    let (tls, key) = (tls(settings)?, load_key(settings)?);
    telemetry::start(settings.log_format, &settings.log_filter)?;
    block_on(serve_until_stopped(settings, key, tls, out))
}

async fn serve_until_stopped(
    settings: &Settings,
    signer: MemorySigner,
    tls: Option<Tls>,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let listen = settings.listen;
    let bound = |source| CliError::Bind { setting: "listen", listen, source };
    let listener = tokio::net::TcpListener::bind(listen).await.map_err(bound)?;
    let mut signals = Signals::catch().map_err(|source| CliError::System { what: "signals", source })?;

    let failed = |source| CliError::Book { path: settings.data.clone(), source };
    let key = signer.public_key();
    let store = Store::open(&settings.data, key).map_err(|source| failed(StartError::Store(source)))?;
    let options = Options {
        name: settings.name.clone(),
        terms: settings.terms.clone(),
        currencies: settings.issued()?,
        longest_hold: settings.longest_hold(),
        grace: settings.grace(),
        accept_clock: settings.accept_clock,
    };
    let ledger = Handle::start(Box::new(signer), store, options, Box::new(SystemClock)).map_err(failed)?;
    let mut server = Server::start_ledger(transport(settings, tls), listener, ledger.clone()).await?;

    let (address, entries) = (server.address(), ledger.entries_at_start());
    tracing::info!(%address, %key, entries, "ready");
    print(out, &format!("ledger ready address={address} key={key} entries={entries}\n"))?;

    let failed = tokio::select! {
        signal = signals.next() => {
            tracing::info!(signal, "draining");
            None
        }
        error = server.failed() => Some(CliError::Serve(error)),
        _ = ledger.ended() => Some(CliError::Engine),
    };
    let stopped = tokio::select! {
        stopped = server.stop() => stopped.map_err(CliError::Serve),
        signal = signals.next() => {
            tracing::warn!(signal, "second signal: ending at once");
            Ok(())
        }
    };
    let ended = ledger.stop().await;
    tracing::info!(?ended, "stopped");
    match (failed, ended) {
        (Some(error), _) => Err(error),
        (None, Ended::Failed) => Err(CliError::Engine),
        (None, Ended::Stopped) => stopped,
    }
}

fn transport(settings: &Settings, tls: Option<Tls>) -> Transport {
    Transport {
        max_connections: settings.max_connections,
        max_requests: settings.max_requests,
        max_streams: settings.max_streams,
        request_timeout: settings.request_timeout(),
        drain: settings.drain(),
        tls,
    }
}
