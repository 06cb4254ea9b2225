//! The command line for purses and for offers with money.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::duration;

/// What to do with purses.
#[derive(Subcommand)]
pub enum PurseCommand {
    /// Make a key, and open an account with it on a ledger.
    Create {
        /// What to call it.
        name: String,
        /// Where the ledger is, e.g. http://127.0.0.1:7374.
        #[arg(long, value_name = "URL")]
        ledger: String,
        /// The ledger's key as its operator told it, 64 hex digits: another ledger is refused.
        #[arg(long, value_name = "KEY")]
        ledger_key: Option<String>,
        /// What is in it: code and digits after the point.
        #[arg(long, value_name = "CODE/DIGITS", default_value = "EUR/2")]
        currency: String,
        #[command(flatten)]
        ca: LedgerCa,
    },
    /// Show all purses with what is in them, by their ledgers' word.
    List {
        #[command(flatten)]
        ca: LedgerCa,
    },
    /// Show one purse.
    Show {
        /// The purse.
        name: String,
        #[command(flatten)]
        ca: LedgerCa,
    },
    /// Print the line by which others pay into this purse, or ask to be paid from it.
    Account {
        /// The purse.
        name: String,
    },
    /// Rename a purse, limit its payments, or have it taken first.
    Configure {
        /// The purse.
        name: String,
        /// The new name.
        #[arg(long, value_name = "NAME")]
        rename: Option<String>,
        /// No payment above this, e.g. "100.00 EUR"; "none" for no limit.
        #[arg(long, value_name = "AMOUNT")]
        limit: Option<String>,
        /// Take it first among those that fit.
        #[arg(long, value_name = "BOOL")]
        preferred: Option<bool>,
    },
    /// Show the payments of a purse: how each stands, what it was for, what can still be done.
    History {
        /// The purse.
        name: String,
        #[command(flatten)]
        ca: LedgerCa,
    },
    /// Give an incoming payment back that is still held. What you pay yourself is returned by `complain` only.
    Cancel {
        /// The purse.
        name: String,
        /// The payment: its id or the first digits of it, as `history` shows it.
        payment: String,
        #[command(flatten)]
        ca: LedgerCa,
    },
    /// Close an empty account, for ever.
    Close {
        /// The purse.
        name: String,
        #[command(flatten)]
        ca: LedgerCa,
    },
    /// Write what was paid and why, for other programs.
    Export {
        /// The purse.
        name: String,
        /// JSON instead of CSV.
        #[arg(long)]
        json: bool,
        /// Where to write it. Default: the output. What is there is not overwritten.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        #[command(flatten)]
        ca: LedgerCa,
    },
}

/// How an https ledger is known.
#[derive(Args, Clone, Default)]
pub struct LedgerCa {
    /// PEM certificates that an https ledger's certificate must come from.
    #[arg(long, value_name = "FILE")]
    pub ledger_ca: Option<PathBuf>,
}

/// When money is due, and when it is final.
#[derive(Args)]
pub struct MoneyDeadlines {
    /// Until when the item is due for which the money is held, from now on. Default: half of --complain-by.
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub deliver_by: Option<Duration>,
    /// Until when the arbiter can return held money, or help a party that has paid, from now on: 90s, 10m, 2h, 3d.
    #[arg(long, value_parser = duration, default_value = "1h", value_name = "TIME")]
    pub complain_by: Duration,
}

/// Which purse.
#[derive(Args)]
pub struct FromPurse {
    /// Your purse. Default: the preferred one that fits.
    #[arg(long, value_name = "NAME")]
    pub purse: Option<String>,
}

/// Less than fair, asked for by name.
#[derive(Args, Default)]
pub struct Weak {
    /// WEAK. The money is paid at once instead of held, and can never be returned: if somebody stops, the arbiter only
    /// signs, at --complain-by, whose item it had. For payees who take no held money.
    #[arg(long)]
    pub affidavit: bool,
}

/// Money that the arbiter can have paid.
#[derive(Args, Default)]
pub struct Reserve {
    /// Set the money aside before anything is handed over, and pay it for the item. If who pays stops, the arbiter has it
    /// paid; if the exchange is ended, it goes back at once. One deadline, --complain-by.
    #[arg(long)]
    pub reserve: bool,
}
