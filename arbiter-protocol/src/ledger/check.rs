//! What must hold of every book, and what is wrong if it does not.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::exchange::payment::Currency;
use crate::ids::{PaymentId, PublicKey};
use crate::ledger::account::{Account, AccountName};
use crate::ledger::payment::PaymentRecord;

/// A book or its journal is not what this ledger has written. The machine is at fault, or somebody who wrote to its files.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Damage {
    /// An account is stored otherwise than its entries say.
    #[error("account {account} is stored otherwise than the journal says")]
    Account {
        /// Whose; the ledger's key for an issue.
        account: PublicKey,
    },
    /// A holder's account is below zero.
    #[error("account {account} is below zero")]
    BelowZero {
        /// Whose.
        account: PublicKey,
    },
    /// An entry cannot be read, or has another number than its place.
    #[error("entry {entry} of the journal cannot be read")]
    Entry {
        /// Which.
        entry: u64,
    },
    /// An entry is missing, or an account or payment names one that is not there.
    #[error("entry {entry} of the journal is missing")]
    Gap {
        /// Which.
        entry: u64,
    },
    /// A payment's index leads to entries that are not its own.
    #[error("the index of a payment leads to entry {entry}, which is about something else")]
    Index {
        /// Which.
        entry: u64,
    },
    /// A payment is stored otherwise than its entries say.
    #[error("payment {payment} is stored otherwise than the journal says")]
    Payment {
        /// Which.
        payment: PaymentId,
    },
    /// An entry would not have been made by these rules.
    #[error("entry {entry} cannot have been written by this ledger: {reason}")]
    Replay {
        /// Which.
        entry: u64,
        /// Why not, a stable reason.
        reason: &'static str,
    },
    /// What is reserved in or for an account is not the sum of the open reservations.
    #[error("what is reserved in or for the account {account} is not the sum of its reservations")]
    Reserved {
        /// Whose; the ledger's key for an issue.
        account: PublicKey,
    },
    /// There are payments, or lines of histories, that no entry made.
    #[error("there are payments that are not in the journal")]
    Surplus,
    /// The accounts of a currency do not add up to zero.
    #[error("the accounts of {currency} do not add up to zero: money was made or lost")]
    Unbalanced {
        /// Which.
        currency: Currency,
    },
}

/// One currency of a ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Circulation {
    /// Which.
    pub currency: Currency,
    /// Units in the accounts of holders, what they have reserved included.
    pub units: u128,
    /// Accounts of holders that are open.
    pub accounts: u64,
}

/// checks sums and reservations from scratch.
pub(super) fn check<'a>(
    ledger: &PublicKey,
    accounts: &BTreeMap<AccountName, Account>,
    open: impl Iterator<Item = &'a PaymentRecord>,
) -> Result<Vec<Circulation>, Damage> {
    let (mut reserved, mut incoming) = (BTreeMap::new(), BTreeMap::new());
    for record in open {
        let payment = &record.terms.payment;
        let currency = &payment.amount.currency;
        for (sums, key) in [(&mut reserved, payment.payer), (&mut incoming, payment.payee)] {
            let sum: &mut u128 = sums.entry(AccountName::new(ledger, &key, currency)).or_default();
            *sum = sum.saturating_add(payment.amount.units.into());
        }
    }
    let mut sums: BTreeMap<&Currency, (i128, Circulation)> = BTreeMap::new();
    for (name, account) in accounts {
        let key = name.key(ledger);
        let expected = [reserved.remove(name), incoming.remove(name)].map(Option::unwrap_or_default);
        if expected != [account.reserved, account.incoming] {
            return Err(Damage::Reserved { account: key });
        }
        let unbalanced = || Damage::Unbalanced { currency: account.currency.clone() };
        let holder = matches!(name, AccountName::Holder(_));
        if holder && account.available < 0 {
            return Err(Damage::BelowZero { account: key });
        }
        let own = i128::try_from(account.reserved).ok().and_then(|it| it.checked_add(account.available));
        let own = own.ok_or_else(unbalanced)?;
        let none = || (0, Circulation { currency: account.currency.clone(), units: 0, accounts: 0 });
        let (sum, circulation) = sums.entry(&account.currency).or_insert_with(none);
        *sum = sum.checked_add(own).ok_or_else(unbalanced)?;
        if holder {
            circulation.units = circulation.units.saturating_add(own.unsigned_abs());
            circulation.accounts = circulation.accounts.saturating_add(account.closed.is_none().into());
        }
    }
    // A reservation in or for an account that is not there.
    if let Some(name) = reserved.keys().chain(incoming.keys()).next() {
        return Err(Damage::Reserved { account: name.key(ledger) });
    }
    sums.into_values()
        .map(|(sum, circulation)| match sum {
            0 => Ok(circulation),
            _ => Err(Damage::Unbalanced { currency: circulation.currency }),
        })
        .collect()
}
