//! `ledger`: the embedded ledger, a process of its own.
//!
//! ```text
//!  init ─▶ ledger.toml, ledger.key
//!  serve ─▶ config ─▶ key ─▶ port ─▶ book ─▶ writer ─▶ API
//!  issue ─▶ an order signed with the ledger's key ─▶ the running ledger
//! ```

mod init;
mod issue;
mod serve;

use std::io::Write;
use std::path::PathBuf;

use arbiter_protocol::crypto::{MemorySigner, Signer as _};
use arbiter_protocol::ids::{Digest, PublicKey};
use clap::{Args, Subcommand};

use super::{CliError, Tls, load_tls, print};
use crate::config::ConfigError;
use crate::config::ledger::{FILE_NAME, Overrides, Settings};
use crate::keys::ledger_file;
use crate::ledger::fsck;
use crate::ledger::store::{Store, StoreError};
use crate::telemetry;

/// What can be done with a ledger.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a new ledger: configuration and key
    ///
    /// Writes DIR/ledger.toml and DIR/ledger.key (mode 0600) and prints the key that agreements name. Nothing that exists is
    /// overwritten.
    Init {
        /// Where to make it; made if it is not there
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// What it is called; shown to everybody
        #[arg(long, value_name = "NAME")]
        name: String,
        /// A currency that it issues: code and digits after the point; may be given more than once
        #[arg(long = "currency", value_name = "CODE/DIGITS", default_value = "EUR/2")]
        currencies: Vec<String>,
    },
    /// Serve until SIGTERM or SIGINT
    ///
    /// Prints one line that starts with `ledger ready` to stdout once requests are served.
    Serve(Source),
    /// Issue money: pay from the ledger's own account, by an order signed with its key
    ///
    /// The ledger must be running and the account open. Prints the reference of the payment first: if no answer comes, run the
    /// same command again with --reference, and nothing is paid twice.
    Issue {
        #[command(flatten)]
        files: Files,
        /// The account, 64 hexadecimal digits
        #[arg(long, value_name = "KEY")]
        to: String,
        /// How much, such as "100.00 EUR"; the digits after the point must be those of the currency
        #[arg(long, value_name = "AMOUNT")]
        amount: String,
        /// Repeat the payment with this reference instead of making a new one
        #[arg(long, value_name = "HEX")]
        reference: Option<String>,
        /// Where the ledger is [default: the address that it listens on]
        #[arg(long, value_name = "URL")]
        address: Option<String>,
        /// Authority of the ledger's certificate (PEM), needed with https
        #[arg(long, value_name = "FILE")]
        ca: Option<PathBuf>,
    },
    /// Print the key that agreements name, the name and the currencies
    Info {
        #[command(flatten)]
        files: Files,
        /// One JSON object instead of lines
        #[arg(long)]
        json: bool,
    },
    /// Check the whole book: every signature, every sum
    ///
    /// Carries out the journal again and compares everything with it. Exit code 0: clean. 1: a fault was found; the first one
    /// is named. 2: nothing was checked. Stop `serve` first.
    Fsck(Files),
}

/// Where settings come from.
#[derive(Debug, Args)]
pub(super) struct Source {
    /// Configuration file, or the folder that `init` made [default: ./ledger.toml if there is one]
    #[arg(long, value_name = "FILE", env = "ARBITER_LEDGER_CONFIG")]
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
    /// Configuration file, or the folder that `init` made [default: ./ledger.toml if there is one]
    #[arg(long, value_name = "FILE", env = "ARBITER_LEDGER_CONFIG")]
    config: Option<PathBuf>,
    /// File of the book [default: `ledger.redb` beside the file]
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// File with the secret key [default: `ledger.key` beside the file]
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

impl Files {
    fn load(self) -> Result<Settings, ConfigError> {
        let Self { config, data, key_file } = self;
        Source { config, overrides: Overrides { data, key_file, ..Overrides::default() } }.load()
    }
}

/// Carries out a subcommand.
pub(super) fn run(command: Command, out: &mut dyn Write) -> Result<(), CliError> {
    match command {
        Command::Init { dir, name, currencies } => init::init(&dir, &name, &currencies, out),
        Command::Serve(source) => serve::serve(&source.load()?, out),
        Command::Issue { files, to, amount, reference, address, ca } => {
            let settings = files.load()?;
            let order = issue::Issue::read(&to, &amount, reference.as_deref())?;
            issue::issue(&settings, &order, address, ca, out)
        }
        Command::Info { files, json } => info(&files.load()?, json, out),
        Command::Fsck(files) => check(&files.load()?, out),
    }
}

fn info(settings: &Settings, json: bool, out: &mut dyn Write) -> Result<(), CliError> {
    let key = load_key(settings)?.public_key();
    if !json {
        return print(out, &lines(key, settings)?);
    }
    let object = serde_json::json!({
        "currencies": settings.currencies,
        "key": key.to_string(),
        "name": settings.name,
        "pin": pin(key),
        "version": env!("CARGO_PKG_VERSION"),
    });
    print(out, &format!("{object}\n"))
}

fn lines(key: PublicKey, settings: &Settings) -> Result<String, CliError> {
    let currencies: Vec<_> = settings.issued()?.iter().map(ToString::to_string).collect();
    let (name, pin, currencies) = (&settings.name, pin(key), currencies.join(" "));
    Ok(format!("key      {key}\npin      {pin}\nname     {name}\nissues   {currencies}\n"))
}

/// The start of the key's hash in four groups: what people compare by eye.
fn pin(key: PublicKey) -> String {
    let digest = Digest::of(&[b"arbiter ledger pin v1\0", key.as_bytes()]);
    let groups: Vec<_> = digest.as_bytes().chunks(2).take(4).map(hex::encode).collect();
    groups.join(" ")
}

fn load_key(settings: &Settings) -> Result<MemorySigner, CliError> {
    Ok(ledger_file::load(&settings.key_file)?)
}

fn check(settings: &Settings, out: &mut dyn Write) -> Result<(), CliError> {
    telemetry::start(settings.log_format, &settings.log_filter)?;
    let key = load_key(settings)?.public_key();
    let fault = |source| match source {
        StoreError::Damaged(damage) => CliError::Fault(damage.to_string()),
        source => CliError::BookUnchecked { path: settings.data.clone(), source },
    };
    let store = Store::open_existing(&settings.data, key).map_err(fault)?;
    let report = fsck::check(&store, key, &mut |done| {
        // One line every 100,000: an operator sees that it goes on.
        if done.is_multiple_of(100_000) {
            tracing::info!("checked {done} entries");
        }
    });
    let fsck::Report { entries, payments, open, circulation } = report.map_err(fault)?;
    if entries == 0 {
        // Cut off between making the file and the first entry; or another file.
        return Err(fault(StoreError::Empty { path: settings.data.clone() }));
    }
    let mut text = format!("clean: {entries} entries, {payments} payments, {open} reserved\n");
    for it in circulation {
        let amount =
            u64::try_from(it.units).map_or_else(|_| it.units.to_string(), |units| it.currency.show(units));
        text.push_str(&format!("{}  {amount} in {} open accounts\n", it.currency, it.accounts));
    }
    print(out, &text)
}

fn tls(settings: &Settings) -> Result<Option<Tls>, CliError> {
    let Settings { tls_cert, tls_key, tls_client_ca, .. } = settings;
    load_tls([tls_cert, tls_key, tls_client_ca].map(Option::as_deref))
}
