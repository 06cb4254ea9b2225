//! Settings: data only, no behaviour. Flags over `ARBITER_*` over the file over defaults.
//!
//! ```text
//!  defaults ◀─ arbiter.toml ◀─ ARBITER_LISTEN=… ◀─ --listen …      the rightmost that is given counts
//! ```
//!
//! Invariants
//! - A key that is not known is refused wherever it stands: a misspelt limit must not be silently ignored.
//! - Relative paths in the file are relative to the file; in flags and environment, to the working folder.
//! - Plaintext is served on loopback only, or because `allow_plaintext` says so.
//! - `tls_client_ca` given means enforced: there is no state "configured but not checked".
//! - No setting is a secret. Secrets are in files that settings name.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use arbiter_protocol::evidence::checkpoint::Origin;
use arbiter_protocol::ids::PublicKey;
use arbiter_protocol::limits;
use arbiter_protocol::time::DurationMillis;
use clap::ValueEnum;
use figment::error::Kind;
use figment::providers::{Env, Format as _, Serialized, Toml};
use figment::{Figment, Source};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

mod adapters;
mod flags;
pub mod ledger;
mod timestamp;
pub mod witness;

pub use adapters::{AdapterSettings, SecretRef};
pub(crate) use flags::path_or_none;
pub use flags::{CommonOverrides, Overrides};
pub use timestamp::TimestampSettings;

use flags::Defaults;

/// The file that `init` writes and that is read if no other is named.
pub const FILE_NAME: &str = "arbiter.toml";

/// Everything that an operator can set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// Address and port of the tile API: the evidence log over HTTP, for everybody. Off if it is not set. Public and
    /// verified by who reads it, but TLS and `allow_plaintext` count as for `listen`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen_log: Option<SocketAddr>,
    /// At least this long, in milliseconds, from one published checkpoint to the next.
    pub publish_interval_ms: u64,
    /// Folder of a static copy of the log, brought up to date after each published checkpoint. Off if it is not set. On
    /// another disk it survives this one, and tells at the next start whether the log was rolled back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export: Option<PathBuf>,
    /// File with the witnesses that cosign each published checkpoint, and which of them are enough: a C2SP tlog-policy with
    /// the addresses of the witnesses. Off if it is not set. Publish the same file: who verifies needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness_policy: Option<PathBuf>,
    /// The authority of the witnesses' certificates (PEM), if it is not a public one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness_ca: Option<PathBuf>,
    /// Folder of the time-stamps that a time-stamping authority gave: public, a file each. `anchors` beside `data` if it is
    /// not set.
    #[serde(default)]
    pub anchors: Option<PathBuf>,
    /// The authority that stamps the published checkpoint (RFC 3161). Off if it is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<TimestampSettings>,
    /// Folder of the evidence log, the records and the deposits.
    pub data: PathBuf,
    /// Folder of the side journal: every commit a second time, ideally on another disk. Without it a data folder that loses
    /// its newest part is noticed only from outside. Empty: none. `journal` beside `data` if it is not set.
    #[serde(default)]
    pub journal: Option<PathBuf>,
    /// File with the secret keys, mode 0600. The keys that open escrows are beside it, one file for each epoch: its name
    /// with `.escrow-1`, `.escrow-2` and so on.
    pub key_file: PathBuf,
    /// Origin of the evidence log. Part of the arbiter's identity: agreements name it.
    pub origin: String,
    /// What the operator promises, in words; shown to every party.
    pub terms: String,
    /// How far the clock may be off; stands in every leaf.
    pub clock_uncertainty_ms: u64,
    /// Start even if the clock is more than a year ahead of the newest time in the log. For one start.
    pub accept_clock: bool,
    /// Largest item that is taken as a deposit.
    pub max_deposit_bytes: u64,
    /// Room for all deposits and signatures out of escrow together, stored or on their way, each in whole chunks of
    /// 64 KiB.
    pub max_total_deposit_bytes: u64,
    /// Connections at one time; more are closed at once. Health and reflection are limited by this and by
    /// `max_streams` only: they answer while `max_requests` is reached. RocksDB keeps up to 512 files open: raise
    /// the process's limit of open files together with this.
    pub max_connections: u32,
    /// Requests served at one time; more are asked to come back.
    pub max_requests: u32,
    /// Of these, deposits on their way in, and as many on their way out, so that however many of them are slow,
    /// rulings are answered. A quarter of `max_requests` if it is not set.
    #[serde(default)]
    pub max_uploads: Option<u32>,
    /// Requests at one time on one connection.
    pub max_streams: u32,
    /// A request, or the pause between two chunks of a deposit, may last this long.
    pub request_timeout_seconds: u64,
    /// A deposit of `size` bytes, in or out, may keep the arbiter waiting for
    /// `request_timeout_seconds + size / min_bytes_per_second` in all, and at any time for what it has moved.
    pub min_bytes_per_second: u64,
    /// How long the hold of a payment must outlast `complain_by`, in milliseconds: the time that there is, after the last
    /// ruling, to reach the ledger. Published; parties refuse agreements that leave less (R-209).
    pub hold_allowance_ms: u64,
    /// The ledgers that this arbiter gives orders to. Agreements on money can name no others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ledgers: Vec<LedgerSettings>,
    /// The adapters that this arbiter gives orders to, as to ledgers: each stands before a payment rail of another kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adapters: Vec<AdapterSettings>,
    /// How many leaves a second are hashed again in the background; 0: none.
    pub scrub_leaves_per_second: u64,
    /// After SIGTERM requests in flight may last this long.
    pub drain_seconds: u64,
    /// Certificate chain (PEM). With `tls_key` it turns TLS on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert: Option<PathBuf>,
    /// Secret key of the certificate (PEM).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<PathBuf>,
    /// Clients must show a certificate of this authority (PEM).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_client_ca: Option<PathBuf>,
    /// Serve plaintext beyond loopback.
    pub allow_plaintext: bool,
    /// Form of the log lines on stderr.
    pub log_format: LogFormat,
    /// Which log lines, in the syntax of `tracing`, e.g. `info,arbiter=debug`.
    pub log_filter: String,
}

/// One ledger, under `[[ledgers]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerSettings {
    /// The key that signs its receipts, 64 hexadecimal digits.
    pub key: String,
    /// Where it is: `http://` on loopback, else `https://`; host and port.
    pub url: String,
    /// The authority of its certificate (PEM), needed with `https://`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// How long one call may take, in seconds.
    #[serde(default = "ledger_timeout")]
    pub timeout_seconds: u64,
}

const fn ledger_timeout() -> u64 {
    10
}

impl LedgerSettings {
    /// The key, parsed.
    pub fn public_key(&self) -> Result<PublicKey, ConfigError> {
        PublicKey::parse_hex(&self.key, "key").map_err(|_| ConfigError::Value {
            setting: "ledgers.key",
            found: self.key.clone(),
            expected: "it must be the key that `arbiter ledger info` prints: 64 hexadecimal digits",
        })
    }
}

/// Form of the log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One line of text an event.
    #[default]
    Text,
    /// One JSON object an event.
    Json,
}

/// A setting is wrong. The operator is at fault, and the text says what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file named does not exist or cannot be read.
    #[error("cannot read the configuration {path}: {source}. Name it with --config, or make one: {make}")]
    File {
        /// The file.
        path: PathBuf,
        /// How to make one.
        make: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// No file was named, there is none here, and nothing else says which arbiter or ledger this is.
    #[error("no {name} here: use --config DIR, or make {what}: {make}")]
    Nowhere {
        /// The file that was looked for.
        name: &'static str,
        /// What it would be for.
        what: &'static str,
        /// How to make one.
        make: &'static str,
    },
    /// The file is not TOML.
    #[error("{} line {line} is not TOML: {problem}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What the parser says.
        problem: String,
    },
    /// An unknown, missing or malformed setting, named in the text together with its source.
    #[error("configuration: {0}")]
    Setting(Box<figment::Error>),
    /// A value outside its range.
    #[error("setting {setting} is {found}: {expected}")]
    Value {
        /// The setting.
        setting: &'static str,
        /// The value.
        found: String,
        /// What it must be.
        expected: &'static str,
    },
    /// Half a TLS configuration.
    #[error("setting {given} needs {missing} too: TLS takes a certificate and its key")]
    TlsIncomplete {
        /// The setting given.
        given: &'static str,
        /// The setting missing.
        missing: &'static str,
    },
    /// A file of the TLS configuration.
    #[error("setting {setting}: cannot use {path}: {reason}. It must be a readable PEM file")]
    TlsFile {
        /// The setting.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A ledger that cannot be reached as it is described.
    #[error("the ledger at {url} cannot be used: {reason}")]
    Ledger {
        /// Its address.
        url: String,
        /// Why not.
        reason: String,
    },
    /// An adapter that cannot be reached as it is described, or whose credentials cannot be read.
    #[error("the adapter at {url} cannot be used: {reason}")]
    Adapter {
        /// Its address.
        url: String,
        /// Why not. Names a secret by its reference only.
        reason: String,
    },
    /// The certificates of the time-stamping authority.
    #[error("setting timestamp.authority: cannot use {}: {reason}", path.display())]
    Timestamp {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// Plaintext beyond loopback.
    #[error(
        "setting {setting} is {listen}, which is not loopback, and TLS is not configured: set tls_cert and \
         tls_key, or allow_plaintext if a proxy in front speaks TLS"
    )]
    Plaintext {
        /// The setting.
        setting: &'static str,
        /// The address.
        listen: SocketAddr,
    },
}

impl ConfigError {
    /// A name that no log can have.
    pub fn origin(name: &str) -> Self {
        Self::Value {
            setting: "origin",
            found: format!("{name:?}"),
            expected: "it must be a name such as arbiter.example/evidence: 1 to 128 bytes without spaces, + and ://",
        }
    }
}

impl From<figment::Error> for ConfigError {
    fn from(error: figment::Error) -> Self {
        Self::Setting(Box::new(error))
    }
}

impl Settings {
    /// Reads all sources. With no `file`, [`FILE_NAME`] in the working folder is read if it is there.
    pub fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Self, ConfigError> {
        let program = Program {
            file: FILE_NAME,
            what: "an arbiter",
            make: "arbiter init --dir DIR",
            environment: environment(),
        };
        let (mut settings, figment): (Self, _) = gather(program, file, Defaults::beside, overrides)?;
        for (name, path) in settings.paths() {
            resolve_path(&figment, name, path);
        }
        if settings.journal.is_none() {
            settings.journal = Some(settings.data.with_file_name("journal"));
        }
        settings.anchors.get_or_insert_with(|| settings.data.with_file_name("anchors"));
        settings.max_uploads.get_or_insert((settings.max_requests / 4).max(1));
        settings.check()?;
        Ok(settings)
    }

    /// The origin, parsed.
    pub fn log_origin(&self) -> Result<Origin, ConfigError> {
        Origin::parse(&self.origin).map_err(|_| ConfigError::origin(&self.origin))
    }

    /// How far the clock may be off.
    pub const fn clock_uncertainty(&self) -> DurationMillis {
        DurationMillis(self.clock_uncertainty_ms)
    }

    /// How long a request may last.
    pub const fn request_timeout(&self) -> Duration {
        Duration::from_secs(self.request_timeout_seconds)
    }

    /// The folder of the side journal, if there is to be one.
    pub fn journal(&self) -> Option<&Path> {
        self.journal.as_deref().filter(|path| !path.as_os_str().is_empty())
    }

    /// The folder of time-stamps.
    pub fn anchors(&self) -> PathBuf {
        self.anchors.clone().unwrap_or_else(|| self.data.with_file_name("anchors"))
    }

    /// Deposits on their way in, and as many on their way out.
    pub fn max_uploads(&self) -> u32 {
        self.max_uploads.unwrap_or(self.max_requests)
    }

    /// At least this long from one published checkpoint to the next.
    pub const fn publish_interval(&self) -> Duration {
        Duration::from_millis(self.publish_interval_ms)
    }

    /// How long draining may last.
    pub const fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds)
    }

    /// The same settings with absolute paths: they mean the same in every folder.
    pub fn absolute(mut self) -> std::io::Result<Self> {
        for (_, path) in self.paths() {
            *path = std::path::absolute(&*path)?;
        }
        Ok(self)
    }

    fn paths(&mut self) -> impl Iterator<Item = (&'static str, &mut PathBuf)> {
        let always = [("data", &mut self.data), ("key_file", &mut self.key_file)];
        // Empty means none, and is no path.
        let journal = self.journal.as_mut().filter(|path| !path.as_os_str().is_empty());
        let journal = journal.map(|path| ("journal", path));
        let tls = [
            ("tls_cert", &mut self.tls_cert),
            ("tls_key", &mut self.tls_key),
            ("tls_client_ca", &mut self.tls_client_ca),
        ];
        let export = self.export.iter_mut().map(|path| ("export", path));
        let policy = self.witness_policy.iter_mut().map(|path| ("witness_policy", path));
        let ca = self.witness_ca.iter_mut().map(|path| ("witness_ca", path));
        let anchors = self.anchors.iter_mut().map(|path| ("anchors", path));
        let stamp = self.timestamp.iter_mut().map(|stamp| ("timestamp", &mut stamp.authority));
        let ledgers = self.ledgers.iter_mut().filter_map(|ledger| Some(("ledgers", ledger.ca.as_mut()?)));
        let adapters = self.adapters.iter_mut().flat_map(AdapterSettings::paths);
        let adapters = adapters.map(|path| ("adapters", path));
        let tls = tls.into_iter().filter_map(|(name, path)| Some((name, path.as_mut()?)));
        let beside = export.chain(journal).chain(policy).chain(ca).chain(anchors).chain(stamp);
        always.into_iter().chain(beside).chain(tls).chain(ledgers).chain(adapters)
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.log_origin()?;
        check_ranges(&[
            ("max_deposit_bytes", self.max_deposit_bytes, limits::ITEM_BYTES, "it must be 1 to 2^40"),
            ("max_total_deposit_bytes", self.max_total_deposit_bytes, 1 << 60, "it must be 1 to 2^60"),
            ("max_connections", self.max_connections.into(), 1 << 20, "it must be 1 to 1048576"),
            ("max_requests", self.max_requests.into(), 1 << 20, "it must be 1 to 1048576"),
            (
                "max_uploads",
                self.max_uploads().into(),
                self.max_requests.into(),
                "it must be 1 to max_requests",
            ),
            ("max_streams", self.max_streams.into(), 1 << 16, "it must be 1 to 65536"),
            ("request_timeout_seconds", self.request_timeout_seconds, 3600, "it must be 1 to 3600"),
            ("min_bytes_per_second", self.min_bytes_per_second, 1 << 40, "it must be 1 to 2^40"),
            ("drain_seconds", self.drain_seconds, 3600, "it must be 1 to 3600"),
            ("hold_allowance_ms", self.hold_allowance_ms, 31 * 86_400_000, "it must be 1 to 2678400000"),
            ("publish_interval_ms", self.publish_interval_ms, 60_000, "it must be 1 to 60000"),
            ("clock_uncertainty_ms", self.clock_uncertainty_ms, 3_600_000, "it must be 1 to 3600000"),
        ])?;
        if self.scrub_leaves_per_second > 1 << 30 {
            let found = self.scrub_leaves_per_second.to_string();
            let expected = "it must be 0 to 1073741824";
            return Err(ConfigError::Value { setting: "scrub_leaves_per_second", found, expected });
        }
        self.check_modules()?;
        self.timestamp.as_ref().map_or(Ok(()), TimestampSettings::check)?;
        let files = [&self.tls_cert, &self.tls_key, &self.tls_client_ca];
        let files = files.map(Option::is_some);
        check_tls(files, ("listen", self.listen), self.allow_plaintext)?;
        let log =
            self.listen_log.map(|listen| check_tls(files, ("listen_log", listen), self.allow_plaintext));
        log.unwrap_or(Ok(()))
    }
}

/// What a program reads its settings from.
struct Program {
    file: &'static str,
    what: &'static str,
    make: &'static str,
    environment: Env,
}

/// Flags over environment over the file over defaults.
fn gather<S: DeserializeOwned, D: Serialize>(
    program: Program,
    file: Option<&Path>,
    defaults: impl FnOnce(&Path) -> D,
    overrides: &impl Serialize,
) -> Result<(S, Figment), ConfigError> {
    let Program { file: name, what, make, environment } = program;
    let path = file.map_or_else(|| PathBuf::from(name), Path::to_path_buf);
    let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
    let mut figment = Figment::from(Serialized::defaults(defaults(&folder)));
    let mut here = true;
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            check_syntax(&path, &text)?;
            figment = figment.merge(Toml::file_exact(&path));
        }
        Err(error) if file.is_none() && error.kind() == std::io::ErrorKind::NotFound => here = false,
        Err(source) => return Err(ConfigError::File { path, make, source }),
    }
    let figment = figment.merge(environment).merge(Serialized::defaults(overrides));
    let settings = figment.extract().map_err(|error| match error.kind {
        Kind::MissingField(_) if !here => ConfigError::Nowhere { name, what, make },
        _ => error.into(),
    })?;
    Ok((settings, figment))
}

/// A path from the file is relative to the file.
fn resolve_path(figment: &Figment, name: &str, path: &mut PathBuf) {
    let source = figment.find_metadata(name).and_then(|metadata| metadata.source.as_ref());
    if let Some(Source::File(file)) = source
        && let Some(folder) = file.parent()
    {
        *path = folder.join(&*path);
    }
}

/// Refuses numbers below 1 or above their maximum.
fn check_ranges(numbers: &[(&'static str, u64, u64, &'static str)]) -> Result<(), ConfigError> {
    for (setting, value, maximum, expected) in numbers {
        if *value == 0 || value > maximum {
            return Err(ConfigError::Value { setting, found: value.to_string(), expected });
        }
    }
    Ok(())
}

/// TLS whole or not at all, and plaintext only where nobody listens in. `files`: certificate, key, client authority.
fn check_tls(
    files: [bool; 3],
    (setting, listen): (&'static str, SocketAddr),
    allow_plaintext: bool,
) -> Result<(), ConfigError> {
    let (given, missing) = match files {
        [true, false, _] => ("tls_cert", "tls_key"),
        [false, true, _] => ("tls_key", "tls_cert"),
        [false, false, true] => ("tls_client_ca", "tls_cert"),
        [false, false, false] if !listen.ip().is_loopback() && !allow_plaintext => {
            return Err(ConfigError::Plaintext { setting, listen });
        }
        _ => return Ok(()),
    };
    Err(ConfigError::TlsIncomplete { given, missing })
}

/// Names file and line, which the error of the provider does not.
fn check_syntax(path: &Path, text: &str) -> Result<(), ConfigError> {
    let Err(error) = text.parse::<toml::Table>() else { return Ok(()) };
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count().saturating_add(1);
    let problem = error.message().replace('\n', " ");
    Err(ConfigError::Syntax { path: path.to_path_buf(), line, problem })
}

/// `ARBITER_*` without what is not a setting: `ARBITER_CONFIG` names the file, and orchestrators announce a
/// service called `arbiter` as `ARBITER_SERVICE_…` and `ARBITER_PORT…`. `ARBITER_LEDGER_…` is for a ledger,
/// `ARBITER_WITNESS_…` but `ARBITER_WITNESS_POLICY` for a witness.
fn environment() -> Env {
    Env::prefixed("ARBITER_").filter(|key| {
        let key = key.as_str().to_ascii_lowercase();
        let other = ["ledger_", "port", "service_"];
        let witness = key.starts_with("witness_") && key != "witness_policy";
        key != "config" && !witness && !other.iter().any(|start| key.starts_with(start))
    })
}
