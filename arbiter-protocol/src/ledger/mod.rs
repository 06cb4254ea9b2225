//! A ledger of accounts and two-phase payments: double entry, pure.
//!
//! ```text
//!  order ──verify──▶ Books::pay ──▶ Step { changes, answer }
//!                                      │        └─ receipt to sign, or a refusal
//!                                      └─ entries for the journal: durable first, then anything is signed
//! ```
//! [`Books`] holds what can still change: accounts and open reservations. What is over is in an [`Archive`], which the
//! caller keeps: a database, or the memory of [`MemoryLedger`]. Every change is one numbered [`Entry`]; the entries in
//! their order give the same books again, which is how they are checked ([`Books::replay`]).
//!
//! Invariants
//! - Money is conserved: over all accounts of a currency, the issue included, available and reserved add up to zero (R-602).
//! - What is reserved in an account is the sum of the open reservations that it pays (R-602).
//! - A payment is made at most once, ends at most once, and never changes otherwise (R-603).
//! - Time is an argument and never goes back (R-609). Holds that have run out end before anything else happens (R-607).

mod account;
mod books;
mod check;
mod entry;
mod memory;
mod payment;
mod refused;

pub use account::{Account, AccountName, Mark};
pub use books::{Books, Change, Kept, Step};
pub use check::{Circulation, Damage};
pub use entry::{Cause, Entry};
pub use memory::MemoryLedger;
pub use payment::{Ending, Event, PaymentRecord};
pub use refused::{LedgerRefused, LedgerRejected, Party};

use std::convert::Infallible;

use crate::error::Invalid;
use crate::ids::PaymentId;
use crate::message::account::{AccountOrder, AccountQuery};
use crate::message::payment::PaymentOrder;
use crate::statement::{Envelope, Signed, Verified};

/// Every payment that was ever made, or voided before. [`Books`] forgets payments that have ended.
pub trait Archive {
    /// Why a record could not be looked up.
    type Error;
    /// The record of a payment, open or ended; `None` if there is none.
    fn find(&self, id: &PaymentId) -> Result<Option<PaymentRecord>, Self::Error>;
}

/// An archive in memory.
impl Archive for std::collections::BTreeMap<PaymentId, PaymentRecord> {
    type Error = Infallible;

    fn find(&self, id: &PaymentId) -> Result<Option<PaymentRecord>, Infallible> {
        Ok(self.get(id).cloned())
    }
}

/// Verifies a payment order under the key that claims to have signed it. Whether that key may is asked by [`Books::pay`].
pub fn admit_payment(envelope: Envelope) -> Result<Verified<PaymentOrder>, Invalid> {
    let key = envelope.key();
    Signed::parse(envelope)?.verify(&key)
}

/// Verifies an account order under the key that names the account.
pub fn admit_account(envelope: Envelope) -> Result<Verified<AccountOrder>, Invalid> {
    let order = Signed::<AccountOrder>::parse(envelope)?;
    let key = order.unverified().account;
    order.verify(&key)
}

/// Verifies an account query under the key that names the account.
pub fn admit_query(envelope: Envelope) -> Result<Verified<AccountQuery>, Invalid> {
    let query = Signed::<AccountQuery>::parse(envelope)?;
    let key = query.unverified().account;
    query.verify(&key)
}
