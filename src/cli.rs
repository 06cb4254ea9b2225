//! The subcommands of `arbiter`.
//!
//! ```text
//!  init ─▶ arbiter.toml, arbiter.key, data/        serve ─▶ config ─▶ keys ─▶ port ─▶ store ─▶ engine ─▶ API
//! ```
//!
//! Results go to stdout, logs and errors to stderr. Exit codes: 0 done, 1 failed (or `fsck` found a fault),
//! 2 the command line, the configuration or a key file is wrong.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arbiter_protocol::evidence::checkpoint::Origin;
use arbiter_protocol::evidence::note::VerifierKey;
use arbiter_protocol::ids::Digest;
use arbiter_protocol::message::agreement::ArbiterIdentity;
use arbiter_protocol::ruling::sequencer::Desk;
use clap::{Args, Parser, Subcommand};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::clock::SystemClock;
use crate::config::{ConfigError, FILE_NAME, Overrides, Settings};
use crate::engine::{Ended, Engine, StartError};
use crate::fsck::{self, Progress, Report};
use crate::grpc::shutdown::Signals;
use crate::grpc::{Api, ServeError, Server, Tls};
use crate::keys::Keys;
use crate::keys::file::{self as key_file, KeyFileError};
use crate::store::StoreError;
use crate::store::rocks::RocksStore;
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

Settings: flags over ARBITER_* variables over the configuration file over defaults.
`arbiter check-config` shows what counts.

Exit codes: 0 done, 1 failed or fault found, 2 command line, configuration or key file is wrong.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a new arbiter: configuration, keys and data folder
    ///
    /// Writes DIR/arbiter.toml, DIR/arbiter.key (mode 0600) and DIR/data, and prints the identity that peers
    /// pin. Nothing that exists is overwritten.
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
    /// SIGINT let requests in flight end first (drain_seconds); a second one ends at once.
    Serve(Source),
    /// Load everything that `serve` needs and print the effective configuration
    ///
    /// Keys and TLS files are read and checked; no secret is printed. The data folder is not touched.
    CheckConfig(Source),
    /// Print the identity that peers pin: key, log key, origin, rules
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
    /// 1: a fault was found; the first one is named. 2: the check could not be made. Stop `serve` first.
    Fsck(Files),
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
        let file = self.config.as_ref().map(|path| match path.is_dir() {
            true => path.join(FILE_NAME),
            false => path.clone(),
        });
        Settings::load(file.as_deref(), &self.overrides)
    }
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
    /// File with the secret keys [default: `arbiter.key` beside the file]
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Origin of the evidence log, part of the identity [no default]
    #[arg(long, value_name = "NAME")]
    origin: Option<String>,
}

impl Files {
    fn source(self) -> Source {
        let Self { config, data, key_file, origin } = self;
        Source { config, overrides: Overrides { data, key_file, origin, ..Overrides::default() } }
    }
}

/// Why a subcommand failed. One line, with what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CliError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The port is taken or not ours.
    #[error("cannot listen on {listen}: {source}. Set listen to a free address of this machine")]
    Bind {
        /// The address.
        listen: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The engine stopped by itself.
    #[error(
        "the engine stopped: a commit failed, see the log line above. Restore the data folder's disk and start again"
    )]
    Engine,
    /// `init` found something.
    #[error("{} exists already: nothing is overwritten; name another folder, or move it away", path.display())]
    Exists {
        /// What it found.
        path: PathBuf,
    },
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
            Self::Config(_) | Self::Exists { .. } | Self::Keys(_) | Self::Unchecked { .. } => 2,
            _ => 1,
        }
    }
}

impl Cli {
    /// Carries out the subcommand; results go to `out`.
    pub fn run(self, out: &mut dyn Write) -> Result<(), CliError> {
        match self.command {
            Command::Init { dir, origin } => init(&dir, origin.as_deref(), out),
            Command::Serve(source) => serve(&source.load()?, out),
            Command::CheckConfig(source) => check_config(&source.load()?, out),
            Command::Info { files, json } => info(&files.source().load()?, json, out),
            Command::Fsck(files) => check_data(&files.source().load()?, out),
        }
    }
}

fn init(dir: &Path, origin: Option<&str>, out: &mut dyn Write) -> Result<(), CliError> {
    let (config, keys, data) = (dir.join(FILE_NAME), dir.join("arbiter.key"), dir.join("data"));
    // Before anything is made: a wrong name leaves nothing behind.
    let origin = origin.map(parse_origin).transpose()?;
    if let Some(path) = [&config, &keys, &data].into_iter().find(|path| path.symlink_metadata().is_ok()) {
        return Err(CliError::Exists { path: path.clone() });
    }
    for folder in [dir, &data] {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|source| CliError::Io { verb: "make", path: folder.to_path_buf(), source })?;
    }
    let made = key_file::create(&keys)?;
    let key = made.arbiter().public_key().to_string();
    let own = || parse_origin(&format!("arbiter.local/{}", key.get(..8).unwrap_or(&key)));
    let origin = origin.map_or_else(own, Ok)?;
    write_new(&config, &template(&origin))?;
    print(out, &format!("made     {}\n{}", dir.display(), identity_lines(&made.identity(origin))))
}

fn check_config(settings: &Settings, out: &mut dyn Write) -> Result<(), CliError> {
    let arbiter = prepare(settings)?.arbiter;
    let absolute = settings.clone().absolute();
    let absolute = absolute.map_err(|source| CliError::System { what: "the working folder", source })?;
    let effective = toml::to_string(&absolute).expect("invariant: settings are numbers, texts and paths");
    let identity = identity_lines(&arbiter).replace('\n', "\n# ");
    print(out, &format!("# {}\n{effective}", identity.trim_end_matches(['#', ' ', '\n'])))
}

fn info(settings: &Settings, json: bool, out: &mut dyn Write) -> Result<(), CliError> {
    let arbiter = load_keys(settings)?.1;
    if !json {
        return print(out, &identity_lines(&arbiter));
    }
    let object = serde_json::json!({
        "key": arbiter.key.to_string(),
        "log_key": log_key(&arbiter),
        "log_origin": arbiter.log_origin.to_string(),
        "rules": arbiter.rules,
        "version": env!("CARGO_PKG_VERSION"),
    });
    print(out, &format!("{object}\n"))
}

fn serve(settings: &Settings, out: &mut dyn Write) -> Result<(), CliError> {
    let prepared = prepare(settings)?;
    telemetry::start(settings.log_format, &settings.log_filter)?;
    end_on_panic();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(WORKERS)
        .build()
        .map_err(|source| CliError::System { what: "threads", source })?;
    let served = runtime.block_on(serve_until_stopped(settings, prepared, out));
    // A worker that still waits for the disk must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    served
}

async fn serve_until_stopped(
    settings: &Settings,
    prepared: Prepared,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let listen = settings.listen;
    let bound = |source| CliError::Bind { listen, source };
    let listener = tokio::net::TcpListener::bind(listen).await.map_err(bound)?;
    let mut signals = Signals::catch().map_err(|source| CliError::System { what: "signals", source })?;

    let Prepared { keys, arbiter, tls } = prepared;
    let store = RocksStore::open(&settings.data, &arbiter)
        .map_err(|source| CliError::Store { path: settings.data.clone(), source })?;
    let store = Arc::new(store);
    let desk = Desk {
        arbiter: arbiter.clone(),
        build: program_digest()?,
        clock_uncertainty: settings.clock_uncertainty(),
    };
    let engine = Engine::start(desk, keys, store, Box::new(SystemClock))
        .map_err(|source| CliError::Start { path: settings.data.clone(), source })?;
    let size = engine.log_size();
    let mut server = Server::start(api(settings, tls), listener, engine.clone()).await?;

    let address = server.address();
    let (origin, key) = (&arbiter.log_origin, arbiter.key);
    tracing::info!(%address, %origin, %key, log_size = size, "ready");
    print(out, &format!("arbiter ready address={address} origin={origin} key={key} log_size={size}\n"))?;

    let failed = tokio::select! {
        signal = signals.next() => {
            tracing::info!(signal, "draining");
            None
        }
        error = server.failed() => Some(CliError::Serve(error)),
        _ = engine.ended() => Some(CliError::Engine),
    };
    let stopped = tokio::select! {
        stopped = server.stop() => stopped.map_err(CliError::Serve),
        signal = signals.next() => {
            tracing::warn!(signal, "second signal: ending at once");
            Ok(())
        }
    };
    let ended = engine.stop().await;
    tracing::info!(?ended, "stopped");
    match (failed, ended) {
        (Some(error), _) => Err(error),
        (None, Ended::Failed) => Err(CliError::Engine),
        (None, Ended::Stopped) => stopped,
    }
}

fn check_data(settings: &Settings, out: &mut dyn Write) -> Result<(), CliError> {
    // On stderr, where it does not disturb: what RocksDB and the store have to say.
    telemetry::start(settings.log_format, &settings.log_filter)?;
    let (keys, arbiter) = load_keys(settings)?;
    let path = &settings.data;
    let store = RocksStore::open_existing(path, &arbiter).map_err(|source| match source {
        StoreError::Damaged { .. } => CliError::Fault(source.to_string()),
        source => CliError::Unchecked { path: path.clone(), source },
    })?;
    let mut told = 0;
    let report = fsck::check(&store, &arbiter, Some(keys.veil()), &mut |progress| {
        // One line every 10,000: an operator sees that it goes on.
        if let Some(line) = progress_line(progress, &mut told) {
            tracing::info!("{line}");
        }
    });
    let Report { leaves, attestations, verdicts, .. } = report;
    match (report.fault, report.root) {
        (Some(fault), _) => Err(CliError::Fault(fault.to_string())),
        (None, root) => {
            let root = root.map_or_else(|| "none".to_owned(), |root| root.to_string());
            print(
                out,
                &format!(
                    "clean: {leaves} leaves, {verdicts} verdicts, {attestations} attestations, root {root}\n"
                ),
            )
        }
    }
}

fn progress_line(progress: Progress, told: &mut u64) -> Option<String> {
    const STEP: u64 = 10_000;
    let (done, line) = match progress {
        Progress::Leaves { done, total } => (done, format!("checked {done} of {total} leaves")),
        Progress::Records { done } => (done, format!("checked {done} records")),
    };
    // A smaller number than before: the next part of the check has begun.
    let due = done < *told || done.saturating_sub(*told) >= STEP;
    *told = if due { done } else { *told };
    (due && done > 0).then_some(line)
}

/// Everything that `serve` needs and that can be checked without touching the data folder.
struct Prepared {
    keys: Keys,
    arbiter: ArbiterIdentity,
    tls: Option<Tls>,
}

fn prepare(settings: &Settings) -> Result<Prepared, CliError> {
    telemetry::filter(&settings.log_filter)?;
    let tls = load_tls(settings)?;
    let (keys, arbiter) = load_keys(settings)?;
    Ok(Prepared { keys, arbiter, tls })
}

fn load_keys(settings: &Settings) -> Result<(Keys, ArbiterIdentity), CliError> {
    let keys = key_file::load(&settings.key_file)?;
    let arbiter = keys.identity(settings.log_origin()?);
    Ok((keys, arbiter))
}

fn load_tls(settings: &Settings) -> Result<Option<Tls>, CliError> {
    let (Some(cert), Some(key)) = (&settings.tls_cert, &settings.tls_key) else { return Ok(None) };
    let read = |setting, path: &PathBuf| {
        fs::read(path).map_err(|error| ConfigError::TlsFile {
            setting,
            path: path.clone(),
            reason: error.to_string(),
        })
    };
    let tls = Tls {
        cert: read("tls_cert", cert)?,
        key: read("tls_key", key)?,
        client_ca: settings.tls_client_ca.as_ref().map(|path| read("tls_client_ca", path)).transpose()?,
    };
    tls.check().map_err(|error| ConfigError::TlsFile {
        setting: "tls_cert",
        path: cert.clone(),
        reason: error.to_string(),
    })?;
    Ok(Some(tls))
}

fn api(settings: &Settings, tls: Option<Tls>) -> Api {
    Api {
        terms: settings.terms.clone(),
        max_deposit_bytes: settings.max_deposit_bytes,
        max_requests: settings.max_requests,
        max_streams: settings.max_streams,
        request_timeout: settings.request_timeout(),
        drain: settings.drain(),
        tls,
    }
}

/// SHA-256 of the running program: leaves name the build that decided.
fn program_digest() -> Result<Digest, CliError> {
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

fn parse_origin(name: &str) -> Result<Origin, ConfigError> {
    Origin::parse(name).map_err(|_| ConfigError::origin(name))
}

fn log_key(arbiter: &ArbiterIdentity) -> String {
    VerifierKey::new(arbiter.log_origin.as_str(), arbiter.log_key)
        .expect("invariant: the log's own key and origin are well formed")
        .to_string()
}

fn identity_lines(arbiter: &ArbiterIdentity) -> String {
    format!(
        "key      {}\nlog_key  {}\norigin   {}\nrules    {}\n",
        arbiter.key,
        log_key(arbiter),
        arbiter.log_origin,
        arbiter.rules
    )
}

fn template(origin: &Origin) -> String {
    let origin = toml::Value::String(origin.to_string());
    format!(
        "# Configuration of an arbiter. Flags and ARBITER_* variables come first.\n\
         # `arbiter check-config` shows all settings, `arbiter serve --help` explains them.\n\
         # Relative paths are relative to this file.\n\
         \n\
         # Part of the identity: agreements name it. Never change it once there is a ruling.\n\
         origin = {origin}\n\
         key_file = \"arbiter.key\"\n\
         data = \"data\"\n\
         listen = \"127.0.0.1:7373\"\n\
         \n\
         # To listen beyond this machine, give a certificate:\n\
         # listen = \"0.0.0.0:7373\"\n\
         # tls_cert = \"cert.pem\"\n\
         # tls_key = \"key.pem\"\n"
    )
}

fn write_new(path: &Path, text: &str) -> Result<(), CliError> {
    let failed = |source| CliError::Io { verb: "write", path: path.to_path_buf(), source };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
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

/// Threads for signatures, the store and deposits. Signatures use one a core; the rest waits for the disk.
const WORKERS: usize = 64;
