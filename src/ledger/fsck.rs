//! Checks a whole book again: every entry is verified and carried out anew, and everything else must follow from them.
//!
//! ```text
//!  journal ─▶ signatures ─▶ Books::replay ─▶ accounts, payments, open, history: the same as stored?
//! ```

use std::collections::{BTreeMap, BTreeSet};

use arbiter_protocol::ids::{PaymentId, PublicKey};
use arbiter_protocol::ledger::{Archive as _, Books, Circulation, Damage, PaymentRecord};
use arbiter_protocol::time::DurationMillis;

use super::store::{Store, StoreError, View};

/// What a clean book holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Entries of the journal.
    pub entries: u64,
    /// Payments that were made, or voided before.
    pub payments: u64,
    /// Of these, how many are reserved.
    pub open: u64,
    /// Each currency.
    pub circulation: Vec<Circulation>,
}

/// Checks everything. The first fault ends it (R-608).
pub fn check(store: &Store, ledger: PublicKey, progress: &mut dyn FnMut(u64)) -> Result<Report, StoreError> {
    let view = store.view()?;
    let entries = view.last_entry()?.map_or(0, |entry| entry.number);
    // How long a hold may last is a setting that may have changed since.
    let mut books = Books::new(ledger, DurationMillis(u64::MAX));
    let mut payments = BTreeMap::new();
    for number in 1..=entries {
        let change = books.replay(&view.entry(number)?, &payments)?;
        payments.extend(change.payment.map(|record| (record.terms.id(), record)));
        progress(number);
    }
    compare_accounts(&view, &books)?;
    compare_payments(&view, &payments)?;
    let open: BTreeSet<_> = books.reservations().map(|record| record.terms.id()).collect();
    let stored: BTreeSet<_> = view.open_payments()?.into_iter().collect();
    if let Some(id) = open.symmetric_difference(&stored).next() {
        return Err(Damage::Payment { payment: *id }.into());
    }
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let circulation = books.check()?;
    Ok(Report { entries, payments: count(payments.len()), open: count(open.len()), circulation })
}

fn compare_accounts(view: &View, books: &Books) -> Result<(), StoreError> {
    let stored: BTreeMap<_, _> = view.accounts()?.into_iter().collect();
    let names = books.accounts().map(|(name, _)| name).chain(stored.keys());
    for name in names {
        if books.account_of(name) != stored.get(name) {
            return Err(Damage::Account { account: name.key(&books.ledger()) }.into());
        }
    }
    Ok(())
}

fn compare_payments(view: &View, payments: &BTreeMap<PaymentId, PaymentRecord>) -> Result<(), StoreError> {
    let mut lines = 0_u64;
    for (id, record) in payments {
        let mut same = view.find(id)?.as_ref() == Some(record);
        if let Some(made) = record.made {
            let entry = made.mark.entry;
            for account in [record.terms.payment.payer, record.terms.payment.payee] {
                same &= view.history(&account, entry.saturating_add(1), 1)? == [(entry, *id)];
                lines = lines.saturating_add(1);
            }
        }
        if !same {
            return Err(Damage::Payment { payment: *id }.into());
        }
    }
    let count = u64::try_from(payments.len()).unwrap_or(u64::MAX);
    if view.payment_count()? != count || view.history_count()? != lines {
        return Err(Damage::Surplus.into());
    }
    Ok(())
}
