//! Accounts: one currency each, what is available, what is set aside.
//!
//! ```text
//!             reserve           post (part)
//!  available ─────────▶ reserved ─────────▶ available of the payee
//!      ▲───────────────────┘ void, rest
//! ```

use crate::exchange::payment::Currency;
use crate::ids::PublicKey;
use crate::ledger::refused::{LedgerRefused, Party};
use crate::message::account::{AccountState, AccountStatement};
use crate::time::UnixMillis;

/// Names an account (R-601).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AccountName {
    /// The holder's key.
    Holder(PublicKey),
    /// The ledger's own key: where the money of a currency comes from. One for each currency.
    Issue(Currency),
}

impl AccountName {
    /// The account of `key` in the ledger `ledger`.
    pub fn new(ledger: &PublicKey, key: &PublicKey, currency: &Currency) -> Self {
        if key == ledger { Self::Issue(currency.clone()) } else { Self::Holder(*key) }
    }

    /// The key that signs for it in the ledger `ledger`.
    pub const fn key(&self, ledger: &PublicKey) -> PublicKey {
        match self {
            Self::Holder(key) => *key,
            Self::Issue(_) => *ledger,
        }
    }
}

/// A place in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Number of the entry, from 1.
    pub entry: u64,
    /// Its time.
    pub time: UnixMillis,
}

/// What a ledger knows of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// What is in it.
    pub currency: Currency,
    /// What it can pay with. Below zero only in the account of an issue.
    pub available: i128,
    /// Set aside in it for others.
    pub reserved: u128,
    /// Set aside in others for it.
    pub incoming: u128,
    /// When it was opened.
    pub opened: Mark,
    /// When it was closed, if it was.
    pub closed: Option<Mark>,
    /// The newest entry that changed it.
    pub entry: u64,
}

impl Account {
    pub(super) const fn open(currency: Currency, opened: Mark) -> Self {
        let (available, reserved, incoming) = (0, 0, 0);
        Self { currency, available, reserved, incoming, opened, closed: None, entry: opened.entry }
    }

    /// Whether nothing is in it, reserved in it or reserved for it.
    pub const fn is_empty(&self) -> bool {
        self.available == 0 && self.reserved == 0 && self.incoming == 0
    }

    /// Refuses another currency, or the same with another scale.
    pub(super) fn check_currency(&self, currency: &Currency, party: Party) -> Result<(), LedgerRefused> {
        let held = &self.currency;
        if held.code() != currency.code() {
            return Err(LedgerRefused::CurrencyMismatch { party, held: held.clone() });
        }
        if held.scale() != currency.scale() {
            return Err(LedgerRefused::ScaleMismatch { party, held: held.clone() });
        }
        Ok(())
    }

    /// How it stands at `time`.
    pub(super) fn statement(
        &self,
        ledger: PublicKey,
        account: PublicKey,
        time: UnixMillis,
    ) -> AccountStatement {
        AccountStatement {
            ledger,
            account,
            currency: self.currency.clone(),
            state: if self.closed.is_some() { AccountState::Closed } else { AccountState::Open },
            available: i64::try_from(self.available).expect(CIRCULATION),
            reserved: u64::try_from(self.reserved).expect(CIRCULATION),
            incoming: u64::try_from(self.incoming).expect(CIRCULATION),
            entry: self.entry,
            time,
        }
    }

    /// How it stood right after it was opened or closed: empty.
    pub(super) fn statement_at(
        &self,
        ledger: PublicKey,
        account: PublicKey,
        state: AccountState,
        mark: Mark,
    ) -> AccountStatement {
        AccountStatement {
            ledger,
            account,
            currency: self.currency.clone(),
            state,
            available: 0,
            reserved: 0,
            incoming: 0,
            entry: mark.entry,
            time: mark.time,
        }
    }
}

const CIRCULATION: &str = "invariant: no more is issued than CIRCULATION_UNITS, so no balance is larger";
