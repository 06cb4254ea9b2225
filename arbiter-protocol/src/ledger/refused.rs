//! Why a ledger does not do what it is asked.

use std::fmt;

use thiserror::Error;

use crate::error::Invalid;
use crate::exchange::payment::Currency;
use crate::limits;
use crate::time::UnixMillis;

/// Which account of an order is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// The one the order is about.
    Holder,
    /// The one that is paid.
    Payee,
    /// The one that pays.
    Payer,
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Holder => "account",
            Self::Payee => "payee",
            Self::Payer => "payer",
        })
    }
}

/// The order is well formed and signed, but a rule forbids it. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LedgerRefused {
    /// the account was closed, for ever.
    #[error("the {party}'s account is closed for ever: open one under another key")]
    AccountClosed {
        /// Whose.
        party: Party,
    },
    /// only an empty account is closed.
    #[error("the account is not empty: pay out what is in it, and end what is reserved in it or for it")]
    AccountNotEmpty,
    /// there is no such account.
    #[error("the {party} has no account here: its holder must open one first")]
    AccountUnknown {
        /// Whose.
        party: Party,
    },
    /// so much of one currency cannot be issued.
    #[error("at most {} units of a currency are issued: issue less", limits::CIRCULATION_UNITS)]
    CirculationFull,
    /// the account holds another currency.
    #[error("the {party}'s account holds {held}: order in that currency, or use another account")]
    CurrencyMismatch {
        /// Whose.
        party: Party,
        /// What it holds.
        held: Currency,
    },
    /// nobody issues this currency here.
    #[error("this ledger has no {currency}: ask for its currencies (GetLedgerInfo)")]
    CurrencyUnknown {
        /// What was asked for.
        currency: Currency,
    },
    /// the hold would have run out already.
    #[error("the hold ended at {until}, and now it is {now}: agree on a later one")]
    HoldOver {
        /// The ledger's time.
        now: UnixMillis,
        /// The end of the hold.
        until: UnixMillis,
    },
    /// the hold would last too long.
    #[error(
        "the hold ends at {until}, and this ledger holds until {latest} at most: agree on an earlier end"
    )]
    HoldTooLong {
        /// The end of the hold.
        until: UnixMillis,
        /// The latest end that is allowed now.
        latest: UnixMillis,
    },
    /// the payer does not have so much.
    #[error("the payer has not so much available: pay in first, or pay less")]
    InsufficientFunds,
    /// the statement names another ledger.
    #[error("the statement is for another ledger: send it there")]
    OtherLedger,
    /// there is nothing to post.
    #[error("there is no such payment: the payer must make it first")]
    PaymentAbsent,
    /// the payment has ended the other way, or with another amount.
    #[error("the payment is posted already, with {units} units: a payment ends once")]
    PaymentPosted {
        /// What the payee got.
        units: u64,
    },
    /// the payment has ended the other way, or was voided before it was made.
    #[error("the payment is voided: make another one, with another reference")]
    PaymentVoided,
    /// the query is old, or from the future.
    #[error("the query is of {time}, and now it is {now}: set the clock, sign a new one")]
    QueryStale {
        /// The ledger's time.
        now: UnixMillis,
        /// The time in the query.
        time: UnixMillis,
    },
    /// the account holds the currency at another scale.
    #[error("the {party}'s account holds {held}: order with so many digits after the point")]
    ScaleMismatch {
        /// Whose.
        party: Party,
        /// What it holds.
        held: Currency,
    },
    /// this key may not give this order.
    #[error(
        "the order is signed by a key that may not give it: the payer makes and posts the whole, the authority posts any part, \
         payee or authority void"
    )]
    SignerNotEntitled,
}

impl LedgerRefused {
    /// The stable reason for programs.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::AccountClosed { .. } => "ACCOUNT_CLOSED",
            Self::AccountNotEmpty => "ACCOUNT_NOT_EMPTY",
            Self::AccountUnknown { .. } => "ACCOUNT_UNKNOWN",
            Self::CirculationFull => "CIRCULATION_FULL",
            Self::CurrencyMismatch { .. } => "CURRENCY_MISMATCH",
            Self::CurrencyUnknown { .. } => "CURRENCY_UNKNOWN",
            Self::HoldOver { .. } => "HOLD_OVER",
            Self::HoldTooLong { .. } => "HOLD_TOO_LONG",
            Self::InsufficientFunds => "INSUFFICIENT_FUNDS",
            Self::OtherLedger => "OTHER_LEDGER",
            Self::PaymentAbsent => "PAYMENT_ABSENT",
            Self::PaymentPosted { .. } => "PAYMENT_POSTED",
            Self::PaymentVoided => "PAYMENT_VOIDED",
            Self::QueryStale { .. } => "QUERY_STALE",
            Self::ScaleMismatch { .. } => "SCALE_MISMATCH",
            Self::SignerNotEntitled => "SIGNER_NOT_ENTITLED",
        }
    }
}

/// An order that a ledger does not carry out: bad bytes, or against a rule.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LedgerRejected {
    /// The bytes or a signature.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// A rule.
    #[error(transparent)]
    Refused(#[from] LedgerRefused),
}

impl LedgerRejected {
    /// The stable reason for programs.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(invalid) => invalid.reason(),
            Self::Refused(refused) => refused.reason(),
        }
    }
}
