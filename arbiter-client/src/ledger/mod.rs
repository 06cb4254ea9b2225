//! Ledgers as a party sees them: it orders its own payments, and looks how payments stand.
//!
//! ```text
//!  PaymentOrder (signed by the purse's key) ──LedgerPort──▶ PaymentReceipt ──Till──▶ checked: signature, terms, state
//! ```
//!
//! [`LedgerPort`] only carries. [`LedgerPurse`](crate::module::LedgerPurse) signs with the key of its account. `Till` asks
//! the modules, and believes nothing that is not signed by the ledger that the agreement names.
//!
//! # What fairness needs of a receipt (F1)
//!
//! A receipt is true when it is signed, and may be old when it arrives. What can have happened since?
//!
//! | protocol | a true receipt that the payment took effect | so a receiver |
//! | --- | --- | --- |
//! | P2, no hold | is true for ever: nothing undoes it | needs no look |
//! | P2, held | can be undone by the payee alone: no verdict of P2 revokes | needs no look |
//! | P3 | can be undone by a verdict that only the payee causes, or that rests on `send_by` being over (R-413 to R-417) | is safe while it sends before `send_by` (R-313); after sending it watches the money and deposits in time |
//! | P4 | can be undone by either party's rollback, which undoes the payment of the other as well (R-418) | is safe whatever it sends |
//!
//! So the receipt is enough while the arbiter follows its rules. A look at the ledger before the own item leaves costs
//! little and saves a dispute when the receipt is old, so the driver looks if the ledger answers at once, and goes by the
//! receipt if it does not: waiting for a ledger that is away would be less fair, not more.

pub mod grpc;
mod powers;
pub(crate) mod till;

pub use powers::Powers;

use std::collections::BTreeMap;
use std::time::Duration;

use arbiter_protocol::error::Rejected;
use arbiter_protocol::message::payment::PaymentTerms;
use arbiter_protocol::statement::Envelope;
use async_trait::async_trait;
use thiserror::Error;

/// A way to a ledger. It carries and neither checks nor repeats.
#[async_trait]
pub trait LedgerPort: Send + Sync {
    /// `OrderPayment`: a signed `PaymentOrder` in, the ledger's `PaymentReceipt` out.
    async fn order(&self, order: &Envelope) -> Result<Envelope, LedgerError>;
    /// `GetPayment`: the `PaymentReceipt` of how the payment stands now, also of one that was never made.
    async fn payment(&self, terms: &PaymentTerms) -> Result<Envelope, LedgerError>;
    /// `OrderAccount`: a signed `AccountOrder` in, the `AccountStatement` out.
    async fn order_account(&self, order: &Envelope) -> Result<Envelope, LedgerError>;
    /// `GetAccount`: a signed `AccountQuery` in, the `AccountStatement` out.
    async fn account(&self, query: &Envelope) -> Result<Envelope, LedgerError>;
    /// `ListPayments`: a signed `AccountQuery` in, a page of `PaymentReceipt`s out; the first page is the empty text.
    async fn payments(&self, query: &Envelope, page: &str) -> Result<Page, LedgerError>;
}

/// A page of a list.
#[derive(Clone, Debug)]
pub struct Page {
    /// The receipts, newest first.
    pub receipts: Vec<Envelope>,
    /// Asks for the next page, if there is one.
    pub next: Option<String>,
}

/// Why a ledger gave no receipt that can be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The answer is no statement of this ledger about this payment.
    #[error("the ledger's answer cannot be used: {0}")]
    Malformed(Rejected),
    /// The ledger says no, and will say so again: correct what it names.
    #[error("the ledger refused: {reason} ({message})")]
    Refused {
        /// The stable reason.
        reason: String,
        /// In words.
        message: String,
        /// Every value in the words.
        metadata: BTreeMap<String, String>,
    },
    /// Out of reach, overloaded or too slow: the same order may succeed later.
    #[error("the ledger is out of reach: {message}")]
    Unavailable {
        /// What happened.
        message: String,
        /// When to ask again, if the ledger said so.
        retry_after: Option<Duration>,
    },
}

impl LedgerError {
    /// Whether asking again is of no use: nothing changes unless somebody changes something.
    pub const fn is_final(&self) -> bool {
        !matches!(self, Self::Unavailable { .. })
    }

    /// The stable reason for programs.
    pub fn reason(&self) -> &str {
        match self {
            Self::Malformed(_) => "LEDGER_ANSWER_MALFORMED",
            Self::Refused { reason, .. } => reason,
            Self::Unavailable { .. } => "LEDGER_UNAVAILABLE",
        }
    }
}
