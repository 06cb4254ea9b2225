//! The settings of a witness: flags over `ARBITER_WITNESS_*` over `witness.toml` over defaults.
//!
//! The rules are those of the arbiter's settings: unknown keys are refused, paths in the file are relative to it, plaintext
//! stays on loopback unless `allow_plaintext` says so, no setting is a secret.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use figment::providers::Env;
use serde::{Deserialize, Serialize};

use super::{
    CommonOverrides, ConfigError, LogFormat, Program, check_ranges, check_tls, gather, resolve_path,
};

/// The file that `witness init` writes and that is read if no other is named.
pub const FILE_NAME: &str = "witness.toml";

/// Everything that an operator of a witness can set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Name of the keys, such as `witness.example/w1`. Cosignatures carry it: never change it.
    pub name: String,
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// Path before `/add-checkpoint`: empty, or begins with a slash.
    pub prefix: String,
    /// What was cosigned.
    pub data: PathBuf,
    /// File with the secret keys, mode 0600.
    pub key_file: PathBuf,
    /// Counts what was signed, to notice data that is older than the signatures; best on another disk than `data`.
    pub mark: PathBuf,
    /// File with one line for each key of a log: `log VERIFIER-KEY`.
    pub log_list: PathBuf,
    /// Start even if the clock is more than a year ahead of the newest cosignature. For one start.
    pub accept_clock: bool,
    /// Connections at one time; more are closed at once.
    pub max_connections: u32,
    /// Requests served at one time; more are asked to come back.
    pub max_requests: u32,
    /// Cosignatures for one log in a second; more are asked to come back.
    pub max_per_second: u32,
    /// A request may last this long.
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
    /// Which log lines, in the syntax of `tracing`.
    pub log_filter: String,
}

/// Settings given as flags. Each has an `ARBITER_WITNESS_` variable and a key in the file of the same name.
#[derive(Clone, Debug, Default, Args, Serialize)]
pub struct Overrides {
    /// Address and port to listen on [default: 127.0.0.1:7376]
    #[arg(long, value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// Path before /add-checkpoint [default: none]
    #[arg(long, value_name = "PATH")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// File of what was cosigned [default: `witness.redb` beside the file]
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
    /// File with the secret keys [default: `witness.key` beside the file]
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// File that counts what was signed [default: `witness.mark` beside the file]
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mark: Option<PathBuf>,
    /// File with one line for each log: log VERIFIER-KEY [default: `logs.txt` beside the file]
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_list: Option<PathBuf>,
    /// Start even if the clock is more than a year ahead of the newest cosignature
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accept_clock: Option<bool>,
    /// Connections at one time; more are closed at once [default: 384]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<u32>,
    /// Requests served at one time [default: 256]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_requests: Option<u32>,
    /// Cosignatures for one log in a second [default: 100]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_per_second: Option<u32>,
    /// TLS and log lines.
    #[command(flatten)]
    #[serde(flatten)]
    pub common: CommonOverrides,
}

/// What is left to the program if nobody says anything. `name` has no default: it is who the witness is.
#[derive(Serialize)]
struct Defaults {
    listen: &'static str,
    prefix: &'static str,
    data: PathBuf,
    key_file: PathBuf,
    mark: PathBuf,
    log_list: PathBuf,
    accept_clock: bool,
    max_connections: u32,
    max_requests: u32,
    max_per_second: u32,
    request_timeout_seconds: u64,
    drain_seconds: u64,
    allow_plaintext: bool,
    log_format: LogFormat,
    log_filter: &'static str,
}

impl Defaults {
    fn beside(folder: &Path) -> Self {
        Self {
            // Loopback, beside the arbiter's and the ledger's.
            listen: "127.0.0.1:7376",
            prefix: "",
            // Beside the file, so that one folder is one witness.
            data: folder.join("witness.redb"),
            key_file: folder.join("witness.key"),
            mark: folder.join("witness.mark"),
            log_list: folder.join("logs.txt"),
            // A time that was signed once stays.
            accept_clock: false,
            max_connections: 384,
            // A request has at most 16 KiB: 256 of them are 4 MiB.
            max_requests: 256,
            // Logs publish once a second; the rest is for a log that catches up, and for retries.
            max_per_second: 100,
            // A request takes milliseconds; log clients give up much earlier.
            request_timeout_seconds: 10,
            // Within the 30 s that supervisors usually wait before SIGKILL.
            drain_seconds: 10,
            allow_plaintext: false,
            log_format: LogFormat::Text,
            log_filter: "info",
        }
    }
}

impl Settings {
    /// Reads all sources. With no `file`, [`FILE_NAME`] in the working folder is read if it is there.
    pub fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Self, ConfigError> {
        let program = Program {
            file: FILE_NAME,
            what: "a witness",
            make: "arbiter witness init --dir DIR --name NAME",
            // `ARBITER_WITNESS_POLICY` is a setting of an arbiter.
            environment: Env::prefixed("ARBITER_WITNESS_").filter(|key| *key != "config" && *key != "policy"),
        };
        let (mut settings, figment): (Self, _) = gather(program, file, Defaults::beside, overrides)?;
        for (name, path) in settings.paths() {
            resolve_path(&figment, name, path);
        }
        settings.check()?;
        Ok(settings)
    }

    /// How long a request may last.
    pub const fn request_timeout(&self) -> Duration {
        Duration::from_secs(self.request_timeout_seconds)
    }

    /// How long draining may last.
    pub const fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds)
    }

    fn paths(&mut self) -> impl Iterator<Item = (&'static str, &mut PathBuf)> {
        let always = [
            ("data", &mut self.data),
            ("key_file", &mut self.key_file),
            ("mark", &mut self.mark),
            ("log_list", &mut self.log_list),
        ];
        let tls = [
            ("tls_cert", &mut self.tls_cert),
            ("tls_key", &mut self.tls_key),
            ("tls_client_ca", &mut self.tls_client_ca),
        ];
        always.into_iter().chain(tls.into_iter().filter_map(|(name, path)| Some((name, path.as_mut()?))))
    }

    fn check(&self) -> Result<(), ConfigError> {
        if !is_prefix(&self.prefix) {
            return Err(ConfigError::Value {
                setting: "prefix",
                found: format!("{:?}", self.prefix),
                expected: "it must be empty, or a path such as /witness without a slash at its end",
            });
        }
        check_ranges(&[
            ("max_connections", self.max_connections.into(), 1 << 20, "it must be 1 to 1048576"),
            ("max_requests", self.max_requests.into(), 1 << 16, "it must be 1 to 65536"),
            ("max_per_second", self.max_per_second.into(), 1 << 16, "it must be 1 to 65536"),
            ("request_timeout_seconds", self.request_timeout_seconds, 3600, "it must be 1 to 3600"),
            ("drain_seconds", self.drain_seconds, 3600, "it must be 1 to 3600"),
        ])?;
        let files = [&self.tls_cert, &self.tls_key, &self.tls_client_ca];
        check_tls(files.map(Option::is_some), ("listen", self.listen), self.allow_plaintext)
    }
}

/// Plain path segments only: the router gives other characters a meaning.
fn is_prefix(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let segment = |part: &str| !part.is_empty() && part != "." && part != ".." && part.bytes().all(plain);
    text.is_empty()
        || text.len() <= 128 && text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(segment))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_plain_path() {
        for good in ["", "/w", "/witness/v1", "/a.b-c_d"] {
            assert!(is_prefix(good), "{good}");
        }
        for bad in ["w", "/", "/w/", "//w", "/{w}", "/w?", "/..", "/a/./b", "/é", "/*w"] {
            assert!(!is_prefix(bad), "{bad}");
        }
    }
}
