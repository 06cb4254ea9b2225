//! Entries: what the journal of a ledger consists of. An entry holds its cause, signature included, so the whole book can be
//! computed again from the journal, by anybody who has it.
//!
//! ```text
//!  01 │ number, 8 bytes │ time, 8 bytes │ kind │ 1 payment order, 2 account order: envelope; 3 time-out: payment id
//! ```

use crate::ids::PaymentId;
use crate::ledger::account::Mark;
use crate::ledger::check::Damage;
use crate::statement::Envelope;
use crate::time::UnixMillis;

/// What brought a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// An account order.
    Account(Envelope),
    /// A payment order.
    Payment(Envelope),
    /// The hold of a payment has run out.
    TimeOut(PaymentId),
}

/// One change of the book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// From 1, without gaps.
    pub number: u64,
    /// On the ledger's clock; never less than of an earlier entry.
    pub time: UnixMillis,
    /// What brought it.
    pub cause: Cause,
}

impl Entry {
    /// Where it is in the journal.
    pub const fn mark(&self) -> Mark {
        Mark { entry: self.number, time: self.time }
    }

    /// The bytes that are stored.
    pub fn encode(&self) -> Vec<u8> {
        let (kind, cause) = match &self.cause {
            Cause::Payment(envelope) => (PAYMENT, envelope.encode()),
            Cause::Account(envelope) => (ACCOUNT, envelope.encode()),
            Cause::TimeOut(id) => (TIME_OUT, id.to_vec()),
        };
        [&[FORMAT], &self.number.to_be_bytes()[..], &self.time.0.to_be_bytes(), &[kind], &cause].concat()
    }

    /// Reads the one form that [`Entry::encode`] writes. `number` is the place where the bytes were found.
    pub fn decode(number: u64, bytes: &[u8]) -> Result<Self, Damage> {
        let damage = Damage::Entry { entry: number };
        let read = || -> Option<Self> {
            let (head, rest) = bytes.split_at_checked(HEAD)?;
            let (number, time) = (head.get(1..9)?.try_into().ok()?, head.get(9..17)?.try_into().ok()?);
            let cause = match *head.last()? {
                PAYMENT => Cause::Payment(Envelope::decode(rest).ok()?),
                ACCOUNT => Cause::Account(Envelope::decode(rest).ok()?),
                TIME_OUT => Cause::TimeOut(PaymentId::parse(rest, "id").ok()?),
                _ => return None,
            };
            let (number, time) = (u64::from_be_bytes(number), UnixMillis(u64::from_be_bytes(time)));
            (head.first() == Some(&FORMAT)).then_some(Self { number, time, cause })
        };
        read().filter(|entry| entry.number == number && number > 0).ok_or(damage)
    }
}

const FORMAT: u8 = 1;
const HEAD: usize = 1 + 8 + 8 + 1;
const PAYMENT: u8 = 1;
const ACCOUNT: u8 = 2;
const TIME_OUT: u8 = 3;
