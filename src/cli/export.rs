//! `export`: the log as plain files, from the own data folder or from a running log anywhere.
//!
//! ```text
//!  data folder ─▶ engine ─▶ published checkpoint ─┐
//!  URL ─▶ checkpoint, verified with --log-key ────┴─▶ Folder::export ─▶ files        --watch: again and again
//! ```

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arbiter_protocol::evidence::checkpoint::SignedCheckpoint;
use arbiter_protocol::evidence::note::VerifierKey;
use clap::Args;

use super::data::Data;
use super::publishing::log_key;
use super::serve::block_on;
use super::{CliError, Files, load_keys, pem, print};
use crate::config::Settings;
use crate::publish::export::{ExportError, Folder};
use crate::publish::remote::Remote;
use crate::publish::walk::{Source, WalkError};
use crate::publish::{Alone, Pace, Publisher};
use crate::telemetry;

/// What is exported where.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Folder of the export; made if it is not there
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Mirror the log with its tile API at this address, instead of the log of the data folder
    #[arg(long, value_name = "URL", requires = "log_key")]
    from: Option<String>,
    /// Verifier key of the log at --from, as `arbiter info` prints it: name+id+key
    #[arg(long, value_name = "VKEY", requires = "from")]
    log_key: Option<String>,
    /// Go on until SIGTERM or SIGINT, and look for more every so many seconds
    #[arg(
        long,
        value_name = "SECONDS",
        requires = "from",
        num_args = 0..=1,
        default_missing_value = "2",
        value_parser = clap::value_parser!(u64).range(1..=86_400)
    )]
    watch: Option<u64>,
    /// Authority of the certificate at --from (PEM), if it is not a public one
    #[arg(long, value_name = "FILE", requires = "from")]
    ca: Option<PathBuf>,
    #[command(flatten)]
    files: Files,
}

pub(super) fn run(arguments: Arguments, out: &mut dyn Write) -> Result<(), CliError> {
    let Arguments { to, from, log_key, watch, ca, files } = arguments;
    match (from, log_key) {
        (Some(from), Some(key)) => mirror(&to, &from, &key, watch, ca.as_deref(), out),
        _ => own(&files.source().load()?, &to, out),
    }
}

/// The log of a data folder that nobody serves from.
fn own(settings: &Settings, to: &Path, out: &mut dyn Write) -> Result<(), CliError> {
    telemetry::start(settings.log_format, &settings.log_filter)?;
    let (keys, arbiter) = load_keys(settings)?;
    let data = Data::open_existing(settings, &arbiter, keys.vault())?;
    block_on(async {
        let mut engine = data.engine(settings, keys, arbiter)?;
        drop(data);
        let (publisher, published) =
            Publisher::start(engine.clone(), Arc::new(Alone), Pace::default(), None).await?;
        let newest = published.newest();
        let mut folder = Folder::open(to, &log_key(&engine)?)?;
        folder.check(&engine)?;
        let exported = export(&mut folder, &newest, &mut engine, out);
        publisher.stop().await?;
        engine.stop().await;
        exported
    })
}

/// The log of somebody else.
fn mirror(
    to: &Path,
    from: &str,
    key: &str,
    watch: Option<u64>,
    ca: Option<&Path>,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let key = VerifierKey::parse(key).map_err(|error| CliError::Mirror(format!("--log-key: {error}")))?;
    let ca = ca.map(|path| pem("--ca", path)).transpose()?;
    let mut remote = Remote::new(from, ca.as_deref()).map_err(|error| CliError::Mirror(error.to_string()))?;
    let mut folder = Folder::open(to, &key)?;
    loop {
        let done = once(&mut folder, &mut remote, &key, out);
        let Some(seconds) = watch else { return done };
        match done {
            Ok(()) => {}
            // The log or the way to it may be back soon; an older checkpoint may come out of a cache.
            Err(
                error @ (CliError::Mirror(_)
                | CliError::Export(
                    ExportError::Walk(WalkError::Source(_)) | ExportError::Ahead { .. },
                )),
            ) => eprintln!("arbiter: {error}; trying again"),
            Err(error) => return Err(error),
        }
        std::thread::sleep(Duration::from_secs(seconds));
    }
}

fn once(
    folder: &mut Folder,
    remote: &mut Remote,
    key: &VerifierKey,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let note = remote.checkpoint().map_err(|error| CliError::Mirror(error.to_string()))?;
    let newest = SignedCheckpoint::verify(&note, key).map_err(|error| {
        CliError::Mirror(format!(
            "the checkpoint at {} does not verify with --log-key: {error}",
            remote.prefix()
        ))
    })?;
    export(folder, &newest, remote, out)
}

/// Exports, with progress on stderr, and says how far it is if it is further than before.
fn export(
    folder: &mut Folder,
    newest: &SignedCheckpoint,
    source: &mut dyn Source,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let before = folder.checkpoint().map(|it| it.checkpoint().clone());
    let (total, mut told) = (newest.checkpoint().size, Instant::now());
    folder.export(newest, source, &mut |done| {
        if told.elapsed() >= Duration::from_secs(1) {
            told = Instant::now();
            eprintln!("exported {done} of {total} leaves");
        }
    })?;
    let now = newest.checkpoint();
    if before.as_ref() == Some(now) {
        return Ok(());
    }
    let from = before.map_or(0, |it| it.size);
    print(out, &format!("exported leaves {from} to {}, root {}\n", now.size, now.root))
}
