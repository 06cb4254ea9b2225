//! The settings as flags, and what counts if nobody says anything.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use serde::Serialize;

use super::LogFormat;

/// Settings given as flags. Each has an `ARBITER_` variable and a key in the file of the same name.
#[derive(Clone, Debug, Default, Args, Serialize)]
pub struct Overrides {
    /// Address and port to listen on [default: 127.0.0.1:7373]
    #[arg(long, value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// Address and port of the tile API, the evidence log over HTTP [default: off]
    #[arg(long, value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen_log: Option<SocketAddr>,
    /// At least this long from one published checkpoint to the next [default: 1000]
    #[arg(long, value_name = "MS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publish_interval_ms: Option<u64>,
    /// Folder of a static copy of the evidence log, kept up to date [default: off]
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub export: Option<PathBuf>,
    /// File with the witnesses that cosign each published checkpoint, in C2SP tlog-policy form [default: no witnesses]
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub witness_policy: Option<PathBuf>,
    /// Folder of the evidence log, records and deposits [default: `data` beside the file]
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
    /// Folder of the side journal, ideally on another disk; empty: none [default: `journal` beside `data`]
    #[arg(long, value_name = "DIR", value_parser = path_or_none())]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub journal: Option<PathBuf>,
    /// File with the secret keys; those of escrow epochs are in files of the same name with .escrow-N
    /// [default: `arbiter.key` beside the file]
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
    /// Start even if the clock is more than a year ahead of the log
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accept_clock: Option<bool>,
    /// Largest item taken as a deposit [default: 1073741824]
    #[arg(long, value_name = "BYTES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_deposit_bytes: Option<u64>,
    /// Room for all deposits and opened escrows together, in whole chunks of 64 KiB [default: 68719476736]
    #[arg(long, value_name = "BYTES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_total_deposit_bytes: Option<u64>,
    /// Connections at one time; more are closed at once [default: 384]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<u32>,
    /// Requests served at one time [default: 1024]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_requests: Option<u32>,
    /// Of these, deposits on their way in, and as many on their way out [default: a quarter of max_requests]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_uploads: Option<u32>,
    /// Requests at one time on one connection [default: 256]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_streams: Option<u32>,
    /// Longest request, or pause between two chunks of a deposit [default: 30]
    #[arg(long, value_name = "S")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_timeout_seconds: Option<u64>,
    /// How fast a deposit must move, in or out, once it took request_timeout_seconds [default: 32768]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_bytes_per_second: Option<u64>,
    /// How long the hold of a payment must outlast complain_by [default: 3600000]
    #[arg(long, value_name = "MS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_allowance_ms: Option<u64>,
    /// How many leaves a second are hashed again in the background; 0: none [default: 10000]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scrub_leaves_per_second: Option<u64>,
    /// How long requests in flight may last after SIGTERM [default: 10]
    #[arg(long, value_name = "S")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain_seconds: Option<u64>,
    /// TLS and log lines.
    #[command(flatten)]
    #[serde(flatten)]
    pub common: CommonOverrides,
}

/// A path that may be empty, which clap refuses by itself.
pub(crate) fn path_or_none() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// The flags that whatever serves has: TLS and log lines.
#[derive(Clone, Debug, Default, Args, Serialize)]
pub struct CommonOverrides {
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
pub(super) struct Defaults {
    listen: &'static str,
    publish_interval_ms: u64,
    data: PathBuf,
    key_file: PathBuf,
    terms: &'static str,
    clock_uncertainty_ms: u64,
    accept_clock: bool,
    max_deposit_bytes: u64,
    max_total_deposit_bytes: u64,
    max_connections: u32,
    max_requests: u32,
    max_streams: u32,
    request_timeout_seconds: u64,
    min_bytes_per_second: u64,
    hold_allowance_ms: u64,
    scrub_leaves_per_second: u64,
    drain_seconds: u64,
    allow_plaintext: bool,
    log_format: LogFormat,
    log_filter: &'static str,
}

impl Defaults {
    pub(super) fn beside(folder: &Path) -> Self {
        Self {
            // Loopback: nobody is served by accident. 7373 is not assigned to anybody well known.
            listen: "127.0.0.1:7373",
            // A ruling is covered within two seconds, and signing and witnesses cost nothing that matters.
            publish_interval_ms: 1000,
            // Beside the file, so that one folder is one arbiter.
            data: folder.join("data"),
            key_file: folder.join("arbiter.key"),
            // The rules are the promise; an operator may promise more.
            terms: "Rules by the published rule version. No further promise.",
            // NTP over the public internet keeps well within a second.
            clock_uncertainty_ms: 1000,
            // A clock that jumped would be signed once and stay for ever.
            accept_clock: false,
            // 1 GiB: documents and data sets, and a full upload stays below a usual free disk.
            max_deposit_bytes: 1 << 30,
            // 64 GiB: deposits and signatures out of escrow stay for ever, so this is what strangers can make of the disk.
            max_total_deposit_bytes: 64 << 30,
            // With 512 files of RocksDB it stays below the 1024 descriptors that a process usually has.
            max_connections: 384,
            // Each request holds at most about 512 KiB, a case with two of the largest escrows as message and parsed: 1024
            // of them stay below 512 MiB. Without escrows it is a third.
            max_requests: 1024,
            // One peer with 256 calls in flight still leaves three quarters to others.
            max_streams: 256,
            // A ruling takes milliseconds. Who is silent for half a minute is gone.
            request_timeout_seconds: 30,
            // 256 kbit/s: a slow mobile line. Whoever holds a place must at least send that much.
            min_bytes_per_second: 32 * 1024,
            // An hour: a ledger that is upgraded or restarted is back by then.
            hold_allowance_ms: 60 * 60 * 1000,
            // A few per cent of one core: a million leaves in two minutes.
            scrub_leaves_per_second: 10_000,
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
