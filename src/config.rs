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
use arbiter_protocol::limits;
use arbiter_protocol::time::DurationMillis;
use clap::{Args, ValueEnum};
use figment::providers::{Env, Format as _, Serialized, Toml};
use figment::{Figment, Source};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The file that `init` writes and that is read if no other is named.
pub const FILE_NAME: &str = "arbiter.toml";

/// Everything that an operator can set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// Folder of the evidence log, the records and the deposits.
    pub data: PathBuf,
    /// File with the secret keys, mode 0600.
    pub key_file: PathBuf,
    /// Origin of the evidence log. Part of the arbiter's identity: agreements name it.
    pub origin: String,
    /// What the operator promises, in words; shown to every party.
    pub terms: String,
    /// How far the clock may be off; stands in every leaf.
    pub clock_uncertainty_ms: u64,
    /// Largest item that is taken as a deposit.
    pub max_deposit_bytes: u64,
    /// Requests served at one time; more are asked to come back.
    pub max_requests: u32,
    /// Requests at one time on one connection.
    pub max_streams: u32,
    /// A request, or the pause between two chunks of a deposit, may last this long.
    pub request_timeout_seconds: u64,
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

/// Settings given as flags. Each has an `ARBITER_` variable and a key in the file of the same name.
#[derive(Clone, Debug, Default, Args, Serialize)]
pub struct Overrides {
    /// Address and port to listen on [default: 127.0.0.1:7373]
    #[arg(long, value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// Folder of the evidence log, records and deposits [default: `data` beside the file]
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
    /// File with the secret keys [default: `arbiter.key` beside the file]
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// Origin of the evidence log, part of the identity [no default]
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// What the operator promises, in words
    #[arg(long, value_name = "TEXT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terms: Option<String>,
    /// How far the clock may be off [default: 1000]
    #[arg(long, value_name = "MS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_uncertainty_ms: Option<u64>,
    /// Largest item taken as a deposit [default: 1073741824]
    #[arg(long, value_name = "BYTES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_deposit_bytes: Option<u64>,
    /// Requests served at one time [default: 1024]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_requests: Option<u32>,
    /// Requests at one time on one connection [default: 256]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_streams: Option<u32>,
    /// Longest request, or pause between two chunks of a deposit [default: 30]
    #[arg(long, value_name = "S")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_timeout_seconds: Option<u64>,
    /// How long requests in flight may last after SIGTERM [default: 10]
    #[arg(long, value_name = "S")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain_seconds: Option<u64>,
    /// Certificate chain (PEM); with --tls-key it turns TLS on
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert: Option<PathBuf>,
    /// Secret key of the certificate (PEM)
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<PathBuf>,
    /// Clients must show a certificate of this authority (PEM)
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_client_ca: Option<PathBuf>,
    /// Serve plaintext beyond loopback; only behind a proxy that speaks TLS
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_plaintext: Option<bool>,
    /// Form of the log lines on stderr [default: text]
    #[arg(long, value_name = "FORM")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_format: Option<LogFormat>,
    /// Which log lines, e.g. `info,arbiter=debug` [default: info]
    #[arg(long, value_name = "FILTER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_filter: Option<String>,
}

/// What is left to the program if nobody says anything. `origin` has no default: it is who the arbiter is.
#[derive(Serialize)]
struct Defaults {
    listen: &'static str,
    data: PathBuf,
    key_file: PathBuf,
    terms: &'static str,
    clock_uncertainty_ms: u64,
    max_deposit_bytes: u64,
    max_requests: u32,
    max_streams: u32,
    request_timeout_seconds: u64,
    drain_seconds: u64,
    allow_plaintext: bool,
    log_format: LogFormat,
    log_filter: &'static str,
}

impl Defaults {
    fn beside(folder: &Path) -> Self {
        Self {
            // Loopback: nobody is served by accident. 7373 is not assigned to anybody well known.
            listen: "127.0.0.1:7373",
            // Beside the file, so that one folder is one arbiter.
            data: folder.join("data"),
            key_file: folder.join("arbiter.key"),
            // The rules are the promise; an operator may promise more.
            terms: "Rules by the published rule version. No further promise.",
            // NTP over the public internet keeps well within a second.
            clock_uncertainty_ms: 1000,
            // 1 GiB: documents and data sets, and a full upload stays below a usual free disk.
            max_deposit_bytes: 1 << 30,
            // Each request holds at most about 150 KiB: 1024 of them stay below 160 MiB.
            max_requests: 1024,
            // One peer with 256 calls in flight still leaves three quarters to others.
            max_streams: 256,
            // A ruling takes milliseconds. Who is silent for half a minute is gone.
            request_timeout_seconds: 30,
            // Within the 30 s that supervisors usually wait before SIGKILL.
            drain_seconds: 10,
            // Statements are not secret to the arbiter, but they are to the network.
            allow_plaintext: false,
            log_format: LogFormat::Text,
            // One line a ruling, and what an operator must know.
            log_filter: "info",
        }
    }
}

/// A setting is wrong. The operator is at fault, and the text says what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file named does not exist or cannot be read.
    #[error(
        "cannot read the configuration {path}: {source}. Name it with --config, or make one: arbiter init --dir DIR"
    )]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
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
    /// Plaintext beyond loopback.
    #[error(
        "setting listen is {listen}, which is not loopback, and TLS is not configured: set tls_cert and \
         tls_key, or allow_plaintext if a proxy in front speaks TLS"
    )]
    Plaintext {
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
        let path = file.map_or_else(|| PathBuf::from(FILE_NAME), Path::to_path_buf);
        let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
        let mut figment = Figment::from(Serialized::defaults(Defaults::beside(&folder)));
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                check_syntax(&path, &text)?;
                figment = figment.merge(Toml::file_exact(&path));
            }
            Err(error) if file.is_none() && error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(ConfigError::File { path, source }),
        }
        let figment = figment.merge(environment()).merge(Serialized::defaults(overrides));
        let mut settings: Self = figment.extract()?;
        settings.resolve_paths(&figment);
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

    /// A path from the file is relative to the file.
    fn resolve_paths(&mut self, figment: &Figment) {
        for (name, path) in self.paths() {
            let source = figment.find_metadata(name).and_then(|metadata| metadata.source.as_ref());
            if let Some(Source::File(file)) = source
                && let Some(folder) = file.parent()
            {
                *path = folder.join(&*path);
            }
        }
    }

    fn paths(&mut self) -> impl Iterator<Item = (&'static str, &mut PathBuf)> {
        let always = [("data", &mut self.data), ("key_file", &mut self.key_file)];
        let tls = [
            ("tls_cert", &mut self.tls_cert),
            ("tls_key", &mut self.tls_key),
            ("tls_client_ca", &mut self.tls_client_ca),
        ];
        always.into_iter().chain(tls.into_iter().filter_map(|(name, path)| Some((name, path.as_mut()?))))
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.log_origin()?;
        for (setting, value, maximum, expected) in [
            ("max_deposit_bytes", self.max_deposit_bytes, limits::ITEM_BYTES, "it must be 1 to 2^40"),
            ("max_requests", self.max_requests.into(), 1 << 20, "it must be 1 to 1048576"),
            ("max_streams", self.max_streams.into(), 1 << 16, "it must be 1 to 65536"),
            ("request_timeout_seconds", self.request_timeout_seconds, 3600, "it must be 1 to 3600"),
            ("drain_seconds", self.drain_seconds, 3600, "it must be 1 to 3600"),
            ("clock_uncertainty_ms", self.clock_uncertainty_ms, 3_600_000, "it must be 1 to 3600000"),
        ] {
            if value == 0 || value > maximum {
                return Err(ConfigError::Value { setting, found: value.to_string(), expected });
            }
        }
        match (&self.tls_cert, &self.tls_key, &self.tls_client_ca) {
            (Some(_), None, _) => {
                return Err(ConfigError::TlsIncomplete { given: "tls_cert", missing: "tls_key" });
            }
            (None, Some(_), _) => {
                return Err(ConfigError::TlsIncomplete { given: "tls_key", missing: "tls_cert" });
            }
            (None, None, Some(_)) => {
                return Err(ConfigError::TlsIncomplete { given: "tls_client_ca", missing: "tls_cert" });
            }
            _ => {}
        }
        if self.tls_cert.is_none() && !self.listen.ip().is_loopback() && !self.allow_plaintext {
            return Err(ConfigError::Plaintext { listen: self.listen });
        }
        Ok(())
    }
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
/// service called `arbiter` as `ARBITER_SERVICE_…` and `ARBITER_PORT…`.
fn environment() -> Env {
    Env::prefixed("ARBITER_").filter(|key| {
        let key = key.as_str().to_ascii_lowercase();
        key != "config" && !key.starts_with("service_") && !key.starts_with("port")
    })
}
