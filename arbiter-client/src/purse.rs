//! Purses: accounts of ours on ledgers, each with its key, a name for people and limits.
//!
//! ```text
//!  ~/.fairx/purses.toml   secret seeds, names, limits, mode 0600       ─▶ PurseBook ─┬─▶ ClientBuilder::purses
//!  fairx-account:v1:...   ledger, account, currency, where, one line   ◀─▶ AccountLine  ├─▶ pick: ledger, currency, amount
//!                                                                                      └─▶ history, report
//! ```
//!
//! Invariants
//! - One account, one key, one currency: a key never signs for two purses.
//! - Seeds are wiped when dropped; nothing here prints them. A file that others may read or write is refused.
//! - A closed purse stays in the book: its key may still have to be shown to own what it once received.
//! - A payment above a purse's limit is not made from it, whoever asks.

mod account;
mod book;
mod history;
mod report;

use std::fmt;
use std::path::PathBuf;

use arbiter_protocol::error::Invalid;
use arbiter_protocol::exchange::payment::{Amount, Currency, Payment};
use arbiter_protocol::ids::PublicKey;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::ledger::LedgerError;

pub use account::AccountLine;
pub use book::PurseBook;
pub use history::{Entry, Stand, entries};
pub use report::{csv, json};

/// A purse. Its `Debug` shows no secret.
#[derive(Clone)]
pub struct Purse {
    /// What its owner calls it.
    pub name: String,
    /// The ledger's key.
    pub ledger: PublicKey,
    /// Where the ledger is.
    pub url: String,
    /// The currency that is in it.
    pub currency: Currency,
    /// No payment is larger, in units; absent: no limit.
    pub limit: Option<u64>,
    /// Taken first among those that fit.
    pub preferred: bool,
    /// Closed for ever.
    pub closed: bool,
    pub(crate) seed: Zeroizing<[u8; 32]>,
    account: PublicKey,
}

impl fmt::Debug for Purse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Purse")
            .field("name", &self.name)
            .field("account", &self.account)
            .field("currency", &self.currency)
            .finish_non_exhaustive()
    }
}

impl Purse {
    /// Names the account on its ledger.
    pub const fn account(&self) -> PublicKey {
        self.account
    }

    /// Whether it may make this payment: its account, its ledger, its currency, within its limit.
    pub fn may_make(&self, payment: &Payment) -> Result<(), PurseError> {
        let name = || self.name.clone();
        if self.closed {
            return Err(PurseError::Closed(name()));
        }
        if payment.payer != self.account || payment.ledger != self.ledger {
            return Err(PurseError::OtherAccount(name()));
        }
        self.may_give(&payment.amount)
    }

    fn may_give(&self, amount: &Amount) -> Result<(), PurseError> {
        if amount.currency != self.currency {
            return Err(PurseError::OtherCurrency { purse: self.name.clone(), holds: self.currency.clone() });
        }
        match self.limit {
            Some(limit) if amount.units > limit => {
                Err(PurseError::AboveLimit { purse: self.name.clone(), limit: self.currency.show(limit) })
            }
            _ => Ok(()),
        }
    }
}

/// What goes wrong with purses, and what to do about it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PurseError {
    /// The purse's owner has set a limit.
    #[error("purse {purse} pays at most {limit} at a time: raise its limit, or use another purse")]
    AboveLimit {
        /// The purse.
        purse: String,
        /// Its limit.
        limit: String,
    },
    /// It was closed.
    #[error("purse {0} is closed: use another")]
    Closed(String),
    /// There is one of that name, or of that account.
    #[error("there is a purse {0} already: use another name")]
    Exists(String),
    /// Others can read or write the file.
    #[error("{path} can be used by others (mode {mode:o}); if it never left your control: chmod 600 {path}")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A field is not acceptable.
    #[error("{what}: {source}")]
    Field {
        /// What was read.
        what: &'static str,
        /// What is wrong.
        source: Invalid,
    },
    /// The file system.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The ledger at the URL is another one.
    #[error("what answers at {0} is ANOTHER ledger than this purse's: nothing was done; ask its operator")]
    LedgerChanged(String),
    /// The file or line does not have the expected form.
    #[error("{what} is not in the form this program writes: {why}")]
    Malformed {
        /// What was read.
        what: &'static str,
        /// What is wrong.
        why: &'static str,
    },
    /// No purse fits.
    #[error("no open purse holds {currency} on the ledger {ledger}: make one with `fairx purse create`")]
    NoneFits {
        /// What is needed.
        currency: String,
        /// Where, the start of its key.
        ledger: String,
    },
    /// The purse has another account.
    #[error("purse {0} is not the account that is meant")]
    OtherAccount(String),
    /// The purse holds another currency.
    #[error("purse {purse} holds {holds}: write the amount with its digits, or use another purse")]
    OtherCurrency {
        /// The purse.
        purse: String,
        /// What it holds.
        holds: Currency,
    },
    /// There is no such purse.
    #[error("there is no purse {0}: `fairx purse list` shows all")]
    Unknown(String),
}

/// Which purse is meant: by name, or the first that fits, preferred ones first.
#[derive(Clone, Debug)]
pub struct Choice<'a> {
    /// The name, if the user said one.
    pub name: Option<&'a str>,
    /// On this ledger, if only one will do.
    pub ledger: Option<PublicKey>,
    /// It holds this currency.
    pub currency: &'a Currency,
    /// It will pay so much; absent if it will be paid.
    pub pays: Option<u64>,
}
