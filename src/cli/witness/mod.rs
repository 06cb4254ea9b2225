//! `witness`: cosigns checkpoints of logs, a process of its own.
//!
//! ```text
//!  init ─▶ witness.toml, witness.key, witness.mark, witness.redb, logs.txt
//!  add-log ─▶ logs.txt ── SIGHUP ──▶ serve
//!  serve ─▶ config ─▶ keys ─▶ port ─▶ data, mark ─▶ writer ─▶ HTTP
//! ```

mod add_log;
mod init;
mod serve;

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{CliError, Tls, load_tls, print};
use crate::config::ConfigError;
use crate::config::witness::{FILE_NAME, Overrides, Settings};
use crate::keys::witness_file::{self, Kinds};
use crate::witness::logs::Logs;
use crate::witness::names::Names;

/// What can be done with a witness.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a new witness: configuration, keys, and the data that belongs to them
    ///
    /// Writes DIR/witness.toml, witness.key (mode 0600), witness.mark, witness.redb and logs.txt, and prints the verifier keys
    /// that logs and policies name. Nothing that exists is overwritten. Keys and data belong together for ever: a witness that
    /// has lost its data must be made anew, with new keys.
    Init {
        /// Where to make it; made if it is not there
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// Name of the keys, a URL without its scheme that nobody else uses, e.g. witness.example/w1
        #[arg(long, value_name = "NAME")]
        name: String,
        /// Make an ML-DSA-44 key too: every answer then has two cosignatures, and 3 KiB more
        #[cfg(feature = "ml-dsa")]
        #[arg(long)]
        ml_dsa: bool,
    },
    /// Cosign until SIGTERM or SIGINT
    ///
    /// Prints one line that starts with `witness ready` to stdout once requests are served. SIGHUP takes the list of logs again.
    Serve(Source),
    /// Print the verifier keys, the name and the logs
    Info {
        #[command(flatten)]
        files: Files,
        /// One JSON object instead of lines
        #[arg(long)]
        json: bool,
    },
    /// Add a log, or another key of a known log, to the list of logs
    ///
    /// A running `serve` takes it on SIGHUP, or when it is restarted. Nothing is ever signed for a log that is not on the list.
    AddLog {
        #[command(flatten)]
        files: Files,
        /// The log's verifier key, as the log publishes it: NAME+ID+BASE64
        #[arg(value_name = "VERIFIER-KEY")]
        key: String,
    },
}

/// Where settings come from.
#[derive(Debug, Args)]
pub(super) struct Source {
    /// Configuration file, or the folder that `init` made [default: ./witness.toml if there is one]
    #[arg(long, value_name = "FILE", env = "ARBITER_WITNESS_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    overrides: Overrides,
}

impl Source {
    fn load(&self) -> Result<Settings, ConfigError> {
        let file = super::config_file(self.config.as_deref(), FILE_NAME);
        Settings::load(file.as_deref(), &self.overrides)
    }
}

/// The settings that matter where nothing is served.
#[derive(Debug, Args)]
pub(super) struct Files {
    /// Configuration file, or the folder that `init` made [default: ./witness.toml if there is one]
    #[arg(long, value_name = "FILE", env = "ARBITER_WITNESS_CONFIG")]
    config: Option<PathBuf>,
    /// File with the secret keys [default: `witness.key` beside the file]
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// File with one line for each log: log VERIFIER-KEY [default: `logs.txt` beside the file]
    #[arg(long, value_name = "FILE")]
    log_list: Option<PathBuf>,
}

impl Files {
    fn load(self) -> Result<Settings, ConfigError> {
        let Self { config, key_file, log_list } = self;
        Source { config, overrides: Overrides { key_file, log_list, ..Overrides::default() } }.load()
    }
}

/// Carries out a subcommand.
pub(super) fn run(command: Command, out: &mut dyn Write) -> Result<(), CliError> {
    match command {
        #[cfg(feature = "ml-dsa")]
        Command::Init { dir, name, ml_dsa: true } => init::init(&dir, &name, Kinds::Ed25519AndMlDsa, out),
        Command::Init { dir, name, .. } => init::init(&dir, &name, Kinds::Ed25519, out),
        Command::Serve(source) => serve::serve(&source.load()?, out),
        Command::Info { files, json } => info(&files.load()?, json, out),
        Command::AddLog { files, key } => add_log::add_log(&files.load()?, &key, out),
    }
}

fn info(settings: &Settings, json: bool, out: &mut dyn Write) -> Result<(), CliError> {
    let names = Names::of(&settings.name, &witness_file::load(&settings.key_file)?)?;
    let logs = Logs::load(&settings.log_list)?;
    if !json {
        return print(out, &lines(&names, &logs));
    }
    let known = logs.iter().map(|(origin, keys)| {
        let keys: Vec<_> = keys.iter().map(ToString::to_string).collect();
        (origin.to_string(), serde_json::Value::from(keys))
    });
    let keys: Vec<_> = names.keys().map(ToString::to_string).collect();
    let object = serde_json::json!({
        "keys": keys,
        "logs": known.collect::<serde_json::Map<_, _>>(),
        "name": settings.name,
        "version": env!("CARGO_PKG_VERSION"),
    });
    print(out, &format!("{object}\n"))
}

fn lines(names: &Names, logs: &Logs) -> String {
    let mut text = String::new();
    for key in names.keys() {
        text.push_str(&format!("key      {key}\n"));
    }
    for (origin, keys) in logs.iter() {
        let keys = if keys.len() == 1 { String::new() } else { format!(" ({} keys)", keys.len()) };
        text.push_str(&format!("log      {origin}{keys}\n"));
    }
    text
}

fn tls(settings: &Settings) -> Result<Option<Tls>, CliError> {
    let Settings { tls_cert, tls_key, tls_client_ca, .. } = settings;
    load_tls([tls_cert, tls_key, tls_client_ca].map(Option::as_deref))
}
