//! The settings of a ledger: flags over `ARBITER_LEDGER_*` over `ledger.toml` over defaults.
//!
//! The rules are those of the arbiter's settings: unknown keys are refused, paths in the file are relative to it, plaintext
//! stays on loopback unless `allow_plaintext` says so, no setting is a secret.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use arbiter_protocol::exchange::payment::Currency;
use arbiter_protocol::limits;
use arbiter_protocol::time::DurationMillis;
use clap::Args;
use figment::providers::Env;
use serde::{Deserialize, Serialize};

use super::{
    CommonOverrides, ConfigError, LogFormat, Program, check_ranges, check_tls, gather, resolve_path,
};

/// The file that `ledger init` writes and that is read if no other is named.
pub const FILE_NAME: &str = "ledger.toml";

/// Everything that an operator of a ledger can set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What the ledger is called; shown to everybody, verified by nobody.
    pub name: String,
    /// What the operator promises, in words.
    pub terms: String,
    /// The currencies that are issued, such as `EUR/2`: the code, and the digits after the point.
    pub currencies: Vec<String>,
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// The book.
    pub data: PathBuf,
    /// File with the secret key, mode 0600.
    pub key_file: PathBuf,
    /// No hold may end later than so many days from now.
    pub longest_hold_days: u64,
    /// After a start no hold ends by itself for so many seconds.
    pub grace_seconds: u64,
    /// Start even if the clock is more than a year ahead of the newest entry. For one start.
    pub accept_clock: bool,
    /// Connections at one time; more are closed at once.
    pub max_connections: u32,
    /// Requests served at one time; more are asked to come back.
    pub max_requests: u32,
    /// Requests at one time on one connection.
    pub max_streams: u32,
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

/// Settings given as flags. Each has an `ARBITER_LEDGER_` variable and a key in the file of the same name.
#[derive(Clone, Debug, Default, Args, Serialize)]
pub struct Overrides {
    /// Address and port to listen on [default: 127.0.0.1:7374]
    #[arg(long, value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// File of the book [default: `ledger.redb` beside the file]
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
    /// File with the secret key [default: `ledger.key` beside the file]
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// No hold may end later than so many days from now [default: 366]
    #[arg(long, value_name = "DAYS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longest_hold_days: Option<u64>,
    /// After a start no hold ends by itself for so many seconds: orders that could not come still count [default: 60]
    #[arg(long = "grace", value_name = "S")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace_seconds: Option<u64>,
    /// Start even if the clock is more than a year ahead of the newest entry
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accept_clock: Option<bool>,
    /// Connections at one time; more are closed at once [default: 384]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<u32>,
    /// Requests served at one time [default: 1024]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_requests: Option<u32>,
    /// TLS and log lines.
    #[command(flatten)]
    #[serde(flatten)]
    pub common: CommonOverrides,
}

/// What is left to the program if nobody says anything. `name` and `currencies` have no default: `init` writes them.
#[derive(Serialize)]
struct Defaults {
    terms: &'static str,
    listen: &'static str,
    data: PathBuf,
    key_file: PathBuf,
    longest_hold_days: u64,
    grace_seconds: u64,
    accept_clock: bool,
    max_connections: u32,
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
            terms: "Payments by the published rules. No further promise.",
            // Loopback, beside the arbiter's.
            listen: "127.0.0.1:7374",
            // Beside the file, so that one folder is one ledger.
            data: folder.join("ledger.redb"),
            key_file: folder.join("ledger.key"),
            // Longer than most deliveries take, short enough that a slip of the hand does not lock money for ever.
            longest_hold_days: 366,
            // An arbiter that waits for the ledger asks again every half minute at least.
            grace_seconds: 60,
            // A clock that jumped would end every hold.
            accept_clock: false,
            max_connections: 384,
            // An order is a few hundred bytes: 1024 of them are nothing.
            max_requests: 1024,
            max_streams: 256,
            // An order takes milliseconds.
            request_timeout_seconds: 30,
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
            what: "a ledger",
            make: "arbiter ledger init --dir DIR --name NAME",
            environment: Env::prefixed("ARBITER_LEDGER_").filter(|key| *key != "config"),
        };
        let (mut settings, figment): (Self, _) = gather(program, file, Defaults::beside, overrides)?;
        for (name, path) in settings.paths() {
            resolve_path(&figment, name, path);
        }
        settings.check()?;
        Ok(settings)
    }

    /// The currencies, parsed.
    pub fn issued(&self) -> Result<Vec<Currency>, ConfigError> {
        self.currencies.iter().map(|text| parse_currency(text)).collect()
    }

    /// The longest hold.
    pub const fn longest_hold(&self) -> DurationMillis {
        DurationMillis(self.longest_hold_days.saturating_mul(24 * 60 * 60 * 1000))
    }

    /// The grace after a start.
    pub const fn grace(&self) -> DurationMillis {
        DurationMillis(self.grace_seconds.saturating_mul(1000))
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
        let always = [("data", &mut self.data), ("key_file", &mut self.key_file)];
        let tls = [
            ("tls_cert", &mut self.tls_cert),
            ("tls_key", &mut self.tls_key),
            ("tls_client_ca", &mut self.tls_client_ca),
        ];
        always.into_iter().chain(tls.into_iter().filter_map(|(name, path)| Some((name, path.as_mut()?))))
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.name.is_empty()
            || self.name.len() > limits::NAME_BYTES
            || self.name.chars().any(char::is_control)
        {
            return Err(ConfigError::Value {
                setting: "name",
                found: format!("{:?}", self.name),
                expected: "it must be a line of 1 to 200 bytes",
            });
        }
        self.issued()?;
        check_ranges(&[
            ("longest_hold_days", self.longest_hold_days, 36_500, "it must be 1 to 36500"),
            // Zero is good: whoever sets it has been told.
            ("grace_seconds", self.grace_seconds.max(1), 86_400, "it must be 0 to 86400"),
            ("max_connections", self.max_connections.into(), 1 << 20, "it must be 1 to 1048576"),
            ("max_requests", self.max_requests.into(), 1 << 20, "it must be 1 to 1048576"),
            ("max_streams", self.max_streams.into(), 1 << 16, "it must be 1 to 65536"),
            ("request_timeout_seconds", self.request_timeout_seconds, 3600, "it must be 1 to 3600"),
            ("drain_seconds", self.drain_seconds, 3600, "it must be 1 to 3600"),
        ])?;
        let files = [&self.tls_cert, &self.tls_key, &self.tls_client_ca];
        check_tls(files.map(Option::is_some), ("listen", self.listen), self.allow_plaintext)
    }
}

/// Reads `EUR/2`.
pub fn parse_currency(text: &str) -> Result<Currency, ConfigError> {
    let parse = || {
        let (code, scale) = text.split_once('/')?;
        let currency = Currency::new(code, scale.parse().ok()?).ok()?;
        (currency.to_string() == text).then_some(currency)
    };
    parse().ok_or_else(|| ConfigError::Value {
        setting: "currencies",
        found: format!("{text:?}"),
        expected: "it must be a code and the digits after the point, such as EUR/2",
    })
}
