//! The subcommands of `arbiter`: what can be said on the command line, and what can go wrong.
//!
//! ```text
//!  init ─▶ arbiter.toml, arbiter.key, arbiter.key.escrow-1, data/
//!  serve ─▶ config ─▶ keys ─▶ port ─▶ store ─▶ engine ─▶ API
//! ```
//!
//! Results go to stdout, logs and errors to stderr. Exit codes: 0 done, 1 failed (or `fsck` found a fault),
//! 2 the command line, the configuration or a key file is wrong.

mod check;
mod data;
mod epochs;
mod escrow_key;
mod export;
mod identity;
mod init;
mod ledger;
mod modules;
mod publishing;
mod records;
mod restore;
mod serve;
mod succeed;
mod witness;
mod witnesses;

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arbiter_protocol::evidence::record::FIELDS;
use arbiter_protocol::ids::ExchangeId;
use arbiter_protocol::message::agreement::ArbiterIdentity;
use arbiter_protocol::ruling::notice::ErasureReason;
use arbiter_protocol::time::DurationMillis;
use clap::{Args, Parser, Subcommand};
use thiserror::Error;

use crate::clock::{Clock as _, SystemClock};
use crate::config::{ConfigError, FILE_NAME, Overrides, Settings, path_or_none};
use crate::engine::{EngineError, StartError, Why};
use crate::grpc::{ServeError, Tls};
use crate::keys::file::{self as key_file, KeyFileError};
use crate::keys::{Keys, epoch_file};
use crate::modules::Modules;
use crate::publish::PublishError;
use crate::publish::export::ExportError;
use crate::publish::stamps::Authority;
use crate::publish::witnesses::Witnesses;
use crate::restore::RestoreError;
use crate::store::StoreError;
use crate::telemetry;

/// A neutral third party for fair exchange of items between two peers.
///
/// It is silent while both peers behave. If one stops, lies or vanishes, the other files its case, and the
/// arbiter restores fairness by fixed rules, at once and without a human. Every ruling is durable and in a
/// public evidence log before it is answered.
#[derive(Debug, Parser)]
#[command(name = "arbiter", version, arg_required_else_help = true, after_help = AFTER_HELP)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Start an arbiter:
  arbiter init --dir my-arbiter
  arbiter serve --config my-arbiter

Start a ledger:
  arbiter ledger init --dir my-ledger --name \"My ledger\"
  arbiter ledger serve --config my-ledger

Start a witness:
  arbiter witness init --dir my-witness --name witness.example/w1
  arbiter witness add-log --config my-witness VERIFIER-KEY
  arbiter witness serve --config my-witness

Settings: flags over ARBITER_* variables over the configuration file over defaults.
`arbiter check-config` shows what counts.

Exit codes: 0 done, 1 failed or fault found, 2 command line, configuration or key file is wrong.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a new arbiter: configuration, keys and data folder
    ///
    /// Writes DIR/arbiter.toml, DIR/arbiter.key, DIR/arbiter.key.escrow-1 (mode 0600) and DIR/data, and prints the
    /// identity that peers pin. Nothing that exists is overwritten.
    Init {
        /// Where to make it; made if it is not there
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// Origin of the evidence log, a name that nobody else uses, e.g. arbiter.example/evidence
        /// [default: arbiter.local/ and the start of the key]
        #[arg(long, value_name = "NAME")]
        origin: Option<String>,
    },
    /// Serve until SIGTERM or SIGINT
    ///
    /// Prints one line that starts with `arbiter ready` to stdout once requests are served. SIGTERM and
    /// SIGINT let requests in flight end first (drain_seconds); a second one ends at once. SIGHUP takes the files of
    /// the escrow keys again, after `escrow-key rotate`; so does every day. Escrow keys that have ended are destroyed
    /// at the start.
    Serve(Source),
    /// Load everything that `serve` needs and print the effective configuration
    ///
    /// Keys and TLS files are read and checked; no secret is printed. The data folder is not touched.
    CheckConfig(Source),
    /// Print the identity that peers pin: key, log key, origin, rules, and the hash over them
    ///
    /// `genesis` is the whole hash; it is the token of leaf 0 of the log. `pin` is its start: `fairx init` shows
    /// the same four groups when it pins this arbiter. Each `escrow-epoch` line is a signed escrow key (base64url), for
    /// parties that cannot reach this arbiter.
    Info {
        #[command(flatten)]
        files: Files,
        /// One JSON object instead of lines
        #[arg(long)]
        json: bool,
    },
    /// Check the data folder against itself, without serving
    ///
    /// Rebuilds the evidence log from its entries and rechecks every ruling and signature. Exit code 0: clean.
    /// 1: a fault was found; the first one is named. 2: nothing was checked, because the folder cannot be read or
    /// holds no log: a folder that is lost must not look clean. The journal is checked too, if there is one. Stop
    /// `serve` first.
    Fsck {
        #[command(flatten)]
        files: Files,
        /// Check this static export of the log as well: every file, against the data folder
        #[arg(long, value_name = "DIR")]
        export: Option<PathBuf>,
    },
    /// Put leaves back that the data folder has lost, from a static export of the log
    ///
    /// For a data folder that `serve` only reads because it was rolled back. The export must be one of this log; every leaf
    /// is checked. The journal adds what it has. An exchange whose ruling came back only as a leaf is never decided again:
    /// its parties are told that its ruling was lost (RULING_LOST). The log gets a leaf that says so. Stop `serve` first.
    Restore {
        #[command(flatten)]
        files: Files,
        /// Folder with `checkpoint` and `tile/`
        #[arg(long, value_name = "DIR")]
        from: PathBuf,
    },
    /// Destroy what is kept about an exchange that is over, and log that
    ///
    /// Removes its record, its key and what is held for its parties, appends the leaf `erasure`, and rewrites the files of
    /// the data folder so that the bytes are gone from them. Whatever is asked about the exchange from then on is refused:
    /// there is no second verdict. Parties keep what they have. Copies of the data folder, snapshots and old blocks of the
    /// disk are not reached: destroy them by hand. Stop `serve` first.
    Erase {
        #[command(flatten)]
        files: Files,
        /// Which exchange: 64 hexadecimal digits
        #[arg(long, value_name = "ID", value_parser = parse_exchange)]
        exchange: ExchangeId,
        /// Why: order (of a court or authority), request (of a person whose data it is) or retention (time is over)
        #[arg(long, value_name = "CODE", default_value = "retention", value_parser = parse_reason)]
        reason: ErasureReason,
    },
    /// Name the arbiter that goes on for this one, with a signature of both
    ///
    /// Make the new one with `init` first: it has other keys and another origin. The log of this arbiter gets the leaf
    /// `key-rotation`; both serve the statement from then on, and whoever has pinned this arbiter can pin the new one by it.
    /// This one goes on serving the agreements that name it: keep it running until the last of them is over. Writes
    /// KEY_FILE.successor here and KEY_FILE.predecessor there. Stop `serve` first.
    Succeed {
        #[command(flatten)]
        files: Files,
        /// Folder or configuration file of the new arbiter
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
    /// Print the record of an exchange for an auditor or a court
    ///
    /// Without --field the whole record, as an evidence bundle that `fairx verify` checks and decides again. With --field only
    /// these fields, each with its salt and its path to the commitment in the public leaf: nothing else of the record is
    /// shown. What is printed is confidential. Stop `serve` first.
    Open {
        #[command(flatten)]
        files: Files,
        /// Which exchange: 64 hexadecimal digits
        #[arg(long, value_name = "ID", value_parser = parse_exchange)]
        exchange: ExchangeId,
        /// Only this field: request, offer, acceptance, originator-attestation, responder-attestation, originator-escrow
        /// or -reservation, responder-escrow or -reservation, statement or receipt; may be given again
        #[arg(long = "field", value_name = "NAME", value_parser = clap::builder::PossibleValuesParser::new(FIELDS))]
        fields: Vec<String>,
    },
    /// Write the evidence log to a folder as plain files: what any web server serves as its tile API
    ///
    /// Without --from it is the log of this arbiter's data folder: stop `serve` first (or let it export by itself, setting
    /// `export`). With --from it is a mirror of any running log, which needs nothing but the log's key. Everything is verified
    /// against the signed checkpoint before it is written, nothing is overwritten, and what was cut off goes on when it is run
    /// again. A log that went back or rewrote its history is refused: exit code 1, with both checkpoints in the folder.
    Export(export::Arguments),
    /// The keys that open escrows: one for each epoch, in files beside the key file
    #[command(subcommand)]
    EscrowKey(EscrowKey),
    /// The embedded ledger: accounts and payments that an arbiter can revoke; a process of its own
    #[command(subcommand)]
    Ledger(ledger::Command),
    /// A witness: cosigns checkpoints of any C2SP log, so that a log cannot show two histories; a process of its own
    #[command(subcommand)]
    Witness(witness::Command),
}

#[derive(Debug, Subcommand)]
enum EscrowKey {
    /// Make the next epoch; new agreements name it once `serve` has taken it
    ///
    /// Writes KEY_FILE.escrow-N (mode 0600). Older keys go on opening what names them, until they end. A running
    /// `serve` takes the new key on SIGHUP, within a day, or when it is restarted. Without any epoch this makes the first.
    Rotate {
        #[command(flatten)]
        files: Files,
        /// How long the new key opens escrows, such as 3650d; agreements without a deadline of their own end then
        #[arg(
            long,
            value_name = "TIME",
            default_value = escrow_key::TEN_YEARS,
            value_parser = escrow_key::parse_duration
        )]
        opens_for: DurationMillis,
        /// Number of the new epoch, if the files of newer ones were lost: parties take two keys of one number for a fraud
        /// [default: one more than the newest file]
        #[arg(long, value_name = "N")]
        epoch: Option<u64>,
    },
    /// Show every epoch: from when, until when, and whether it opens
    List(Files),
    /// Destroy the keys of epochs that have ended
    ///
    /// Overwrites each seed in its file; the file stays, so that its number is not used again. `serve` does the same when
    /// it starts. No program can promise that a modern disk, a snapshot or a backup forgets: destroy copies by hand.
    Retire(Files),
}

/// Where settings come from.
#[derive(Debug, Args)]
struct Source {
    /// Configuration file, or the folder that `init` made [default: ./arbiter.toml if there is one]
    #[arg(long, value_name = "FILE", env = "ARBITER_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    overrides: Overrides,
}

impl Source {
    fn load(&self) -> Result<Settings, ConfigError> {
        let file = config_file(self.config.as_deref(), FILE_NAME);
        Settings::load(file.as_deref(), &self.overrides)
    }
}

fn parse_exchange(text: &str) -> Result<ExchangeId, String> {
    ExchangeId::parse_hex(text, "exchange").map_err(|_| String::from("it must be 64 hexadecimal digits"))
}

fn parse_reason(text: &str) -> Result<ErasureReason, String> {
    let reason = ErasureReason::ALL.into_iter().find(|reason| reason.name() == text);
    reason.ok_or_else(|| String::from("it must be order, request or retention"))
}

/// The file, where a folder is named.
fn config_file(path: Option<&Path>, name: &str) -> Option<PathBuf> {
    path.map(|path| if path.is_dir() { path.join(name) } else { path.to_path_buf() })
}

/// The settings that matter where nothing is served.
#[derive(Debug, Args)]
struct Files {
    /// Configuration file, or the folder that `init` made [default: ./arbiter.toml if there is one]
    #[arg(long, value_name = "FILE", env = "ARBITER_CONFIG")]
    config: Option<PathBuf>,
    /// Folder of the evidence log, records and deposits [default: `data` beside the file]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Folder of the side journal; empty: none [default: `journal` beside `data`]
    #[arg(long, value_name = "DIR", value_parser = path_or_none())]
    journal: Option<PathBuf>,
    /// File with the secret keys [default: `arbiter.key` beside the file]
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Origin of the evidence log, part of the identity [no default]
    #[arg(long, value_name = "NAME")]
    origin: Option<String>,
}

impl Files {
    fn source(self) -> Source {
        let Self { config, data, journal, key_file, origin } = self;
        Source { config, overrides: Overrides { data, journal, key_file, origin, ..Overrides::default() } }
    }
}

/// Why a subcommand failed. One line, with what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CliError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// `fsck` found a folder without a log.
    #[error(
        "this arbiter has never served: there is no log to check in {}. If it has, this is another folder, or the \
         data is lost", path.display()
    )]
    NeverServed {
        /// The folder.
        path: PathBuf,
    },
    /// The port is taken or not ours.
    #[error("cannot listen on {listen}: {source}. Set {setting} to a free address of this machine")]
    Bind {
        /// The setting.
        setting: &'static str,
        /// The address.
        listen: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The book of a ledger.
    #[error("book {}: {source}", path.display())]
    Book {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: crate::ledger::StartError,
    },
    /// `ledger fsck` could not look.
    #[error("the check could not be made: book {}: {source}", path.display())]
    BookUnchecked {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: crate::ledger::store::StoreError,
    },
    /// The ledger did not carry out an order, or nobody knows whether it did.
    #[error("no answer that counts from the ledger at {url}: {problem}")]
    Unanswered {
        /// Where.
        url: String,
        /// Why.
        problem: String,
    },
    /// The engine stopped by itself.
    #[error(
        "the engine stopped: a commit failed, see the log line above. Restore the data folder's disk and start again"
    )]
    Engine,
    /// Something cannot be done with an exchange.
    #[error("exchange {exchange}: {source}")]
    Exchange {
        /// Which.
        exchange: ExchangeId,
        /// Why not.
        source: EngineError,
    },
    /// `init` found something.
    #[error("{} exists already: nothing is overwritten; name another folder, or move it away", path.display())]
    Exists {
        /// What it found.
        path: PathBuf,
    },
    /// The export.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// `export` cannot look at the log that it was told of.
    #[error("{0}")]
    Mirror(String),
    /// Nothing could be published.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// `fsck` found a fault.
    #[error("fault: {0}")]
    Fault(String),
    /// Some file.
    #[error("cannot {verb} {}: {source}", path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The key file.
    #[error("setting key_file: {0}")]
    Keys(#[from] KeyFileError),
    /// An arbiter cannot succeed itself.
    #[error(
        "the arbiter in {} shares a key or its origin with this one: make another with `arbiter init --origin NAME`",
        path.display()
    )]
    SameArbiter {
        /// Where it is.
        path: PathBuf,
    },
    /// A file with a succession is damaged or of another arbiter.
    #[error("{} does not hold a succession of this arbiter that both have signed: restore it, or move it away", path.display())]
    Succession {
        /// The file.
        path: PathBuf,
    },
    /// Others know more of the log than the folder holds.
    #[error("data folder {}: {why}", path.display())]
    ReadOnly {
        /// The folder.
        path: PathBuf,
        /// Who knows what.
        why: Box<Why>,
    },
    /// `restore` put nothing back.
    #[error("nothing was put back: {0}")]
    Restore(#[from] RestoreError),
    /// Serving.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The engine did not start.
    #[error("data folder {}: {source}", path.display())]
    Start {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: StartError,
    },
    /// The machine gives no threads or signals.
    #[error("the system refuses {what}: {source}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The witnesses of the log.
    #[error(transparent)]
    Witnesses(#[from] crate::publish::witnesses::WitnessesError),
    /// The data of a witness.
    #[error("witness {}: {source}", path.display())]
    Witness {
        /// Its data, or its folder.
        path: PathBuf,
        /// Why.
        source: crate::witness::StartError,
    },
    /// The name of a witness.
    #[error(transparent)]
    WitnessName(#[from] crate::witness::names::NameError),
    /// The list of logs of a witness.
    #[error(transparent)]
    WitnessLogs(#[from] crate::witness::logs::LogsError),
    /// A witness stopped by itself.
    #[error("the witness stopped: a commit failed, see the log line above. Repair the disk and start again")]
    WitnessStopped,
    /// The data folder.
    #[error("data folder {}: {source}", path.display())]
    Store {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: StoreError,
    },
    /// `fsck` could not look.
    #[error("the check could not be made: data folder {}: {source}", path.display())]
    Unchecked {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: StoreError,
    },
}

impl CliError {
    /// The exit code of the process.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::BookUnchecked { .. }
            | Self::Config(_)
            | Self::Exists { .. }
            | Self::Keys(_)
            | Self::NeverServed { .. }
            | Self::SameArbiter { .. }
            | Self::Succession { .. }
            | Self::Unchecked { .. }
            | Self::WitnessLogs(_)
            | Self::WitnessName(_) => 2,
            Self::Witnesses(error) if error.is_configuration() => 2,
            _ => 1,
        }
    }
}

impl Cli {
    /// Carries out the subcommand; results go to `out`.
    pub fn run(self, out: &mut dyn Write) -> Result<(), CliError> {
        match self.command {
            Command::Init { dir, origin } => init::init(&dir, origin.as_deref(), out),
            Command::Serve(source) => serve::serve(&source.load()?, out),
            Command::CheckConfig(source) => identity::check_config(&source.load()?, out),
            Command::Info { files, json } => identity::info(&files.source().load()?, json, out),
            Command::EscrowKey(EscrowKey::Rotate { files, opens_for, epoch }) => {
                escrow_key::rotate(&files.source().load()?, opens_for, epoch, out)
            }
            Command::EscrowKey(EscrowKey::List(files)) => escrow_key::list(&files.source().load()?, out),
            Command::EscrowKey(EscrowKey::Retire(files)) => escrow_key::retire(&files.source().load()?, out),
            Command::Export(arguments) => export::run(arguments, out),
            Command::Ledger(command) => ledger::run(command, out),
            Command::Erase { files, exchange, reason } => {
                records::erase(&files.source().load()?, exchange, reason, out)
            }
            Command::Succeed { files, to } => succeed::succeed(&files.source().load()?, &to, out),
            Command::Open { files, exchange, fields } => {
                records::open(&files.source().load()?, exchange, &fields, out)
            }
            Command::Witness(command) => witness::run(command, out),
            Command::Fsck { files, export } => {
                check::check_data(&files.source().load()?, export.as_deref(), out)
            }
            Command::Restore { files, from } => restore::run(&files.source().load()?, &from, out),
        }
    }
}

/// Everything that `serve` needs and that can be checked without touching the data folder.
struct Prepared {
    keys: Keys,
    arbiter: ArbiterIdentity,
    tls: Option<Tls>,
    modules: Arc<Modules>,
    witnesses: Option<Arc<Witnesses>>,
    authority: Option<(Authority, Duration)>,
}

fn prepare(settings: &Settings) -> Result<Prepared, CliError> {
    telemetry::filter(&settings.log_filter)?;
    let Settings { tls_cert, tls_key, tls_client_ca, .. } = settings;
    let tls = load_tls([tls_cert, tls_key, tls_client_ca].map(Option::as_deref))?;
    let (keys, arbiter) = load_keys(settings)?;
    let modules = Arc::new(modules::load(settings)?);
    let witnesses = witnesses::load(settings, &arbiter)?;
    let authority = publishing::authority(settings)?;
    Ok(Prepared { keys, arbiter, tls, modules, witnesses, authority })
}

/// All keys, those that open escrows included.
fn load_keys(settings: &Settings) -> Result<(Keys, ArbiterIdentity), CliError> {
    let (keys, arbiter) = load_identity(settings)?;
    let escrow = epoch_file::load(&settings.key_file, keys.arbiter(), SystemClock.now())?;
    Ok((keys.with_escrow(escrow), arbiter))
}

/// The keys without those that open escrows.
fn load_identity(settings: &Settings) -> Result<(Keys, ArbiterIdentity), CliError> {
    let keys = key_file::load(&settings.key_file)?;
    let arbiter = keys.identity(settings.log_origin()?);
    Ok((keys, arbiter))
}

/// Certificate, key and client authority, as far as they are named.
fn load_tls(files: [Option<&Path>; 3]) -> Result<Option<Tls>, CliError> {
    let [Some(cert), Some(key), client_ca] = files else { return Ok(None) };
    let tls = Tls {
        cert: pem("tls_cert", cert)?,
        key: pem("tls_key", key)?,
        client_ca: client_ca.map(|path| pem("tls_client_ca", path)).transpose()?,
    };
    tls.check().map_err(|error| unusable("tls_cert", cert, &error))?;
    Ok(Some(tls))
}

/// Reads a certificate or key that `setting` names.
fn pem(setting: &'static str, path: &Path) -> Result<Vec<u8>, ConfigError> {
    fs::read(path).map_err(|error| unusable(setting, path, &error))
}

fn unusable(setting: &'static str, path: &Path, reason: &dyn ToString) -> ConfigError {
    ConfigError::TlsFile { setting, path: path.to_path_buf(), reason: reason.to_string() }
}

/// Who reads our output may have gone; that is no reason to fail.
fn print(out: &mut dyn Write, text: &str) -> Result<(), CliError> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(source) if source.kind() != io::ErrorKind::BrokenPipe => {
            Err(CliError::Io { verb: "write to", path: PathBuf::from("stdout"), source })
        }
        _ => Ok(()),
    }
}
