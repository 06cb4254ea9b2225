//! What a ledger knows of one payment: when it was made and when it ended.
//!
//! ```text
//!  made  ended     state
//!  no    voided    voided before it was made: it never will be
//!  yes   no        reserved
//!  yes   yes       posted or voided; without a hold by the same entry
//! ```

use crate::exchange::payment::Timeout;
use crate::ids::Digest;
use crate::ledger::account::Mark;
use crate::ledger::check::Damage;
use crate::ledger::entry::{Cause, Entry};
use crate::message::payment::{PaymentAction, PaymentOrder, PaymentReceipt, PaymentState, PaymentTerms};
use crate::statement::Signed;
use crate::time::UnixMillis;

/// Something that happened to a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Which entry, and when.
    pub mark: Mark,
    /// Digest of the order; absent where a hold has run out.
    pub order: Option<Digest>,
}

/// How a payment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// What the payee got; `None` of a voided payment.
    pub posted: Option<u64>,
    /// By what.
    pub by: Event,
}

/// A payment as the book has it. At least one of `made` and `ended` is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentRecord {
    /// Which payment.
    pub terms: PaymentTerms,
    /// Absent if it was voided before it was made.
    pub made: Option<Event>,
    /// Absent while the money is reserved.
    pub ended: Option<Ending>,
}

impl PaymentRecord {
    /// Whether the money is reserved.
    pub const fn is_open(&self) -> bool {
        self.ended.is_none()
    }

    /// How it stands now.
    pub fn receipt(&self) -> PaymentReceipt {
        match (&self.ended, &self.made) {
            (Some(Ending { posted, by }), _) => {
                self.receipt_of(posted.map_or(PaymentState::Voided, PaymentState::Posted), by)
            }
            (None, Some(made)) => self.receipt_of(PaymentState::Reserved, made),
            (None, None) => Self::absent(self.terms.clone(), UnixMillis(1)),
        }
    }

    /// How it stood when it was made, if it was.
    pub fn receipt_of_making(&self) -> Option<PaymentReceipt> {
        let made = self.made?;
        match self.terms.payment.hold {
            Some(_) => Some(self.receipt_of(PaymentState::Reserved, &made)),
            None => Some(self.receipt()),
        }
    }

    /// Of a payment that the ledger does not know at `time`.
    pub const fn absent(terms: PaymentTerms, time: UnixMillis) -> PaymentReceipt {
        PaymentReceipt { terms, state: PaymentState::Absent, entry: 0, time, order: None }
    }

    fn receipt_of(&self, state: PaymentState, event: &Event) -> PaymentReceipt {
        let Mark { entry, time } = event.mark;
        PaymentReceipt { terms: self.terms.clone(), state, entry, time, order: event.order }
    }

    /// Reads a record back from the entries that made and ended the payment. Without a hold they are the same one.
    pub fn read(made: Option<&Entry>, ended: Option<&Entry>) -> Result<Self, Damage> {
        let wrong = |entry: &Entry| Damage::Index { entry: entry.number };
        let order = |entry: &Entry| match &entry.cause {
            Cause::Payment(envelope) => {
                let signed = Signed::<PaymentOrder>::parse(envelope.clone()).map_err(|_| wrong(entry))?;
                Ok((signed.unverified().clone(), Some(envelope.digest())))
            }
            _ => Err(wrong(entry)),
        };
        let event = |entry: &Entry, order| Event { mark: entry.mark(), order };
        let made_by = match made {
            None => None,
            Some(entry) => {
                let (order, digest) = order(entry)?;
                if order.action != PaymentAction::Make {
                    return Err(wrong(entry));
                }
                Some((order.terms, event(entry, digest)))
            }
        };
        let Some(end) = ended else {
            let (terms, made) = made_by.ok_or(Damage::Index { entry: 0 })?;
            return Ok(Self { terms, made: Some(made), ended: None });
        };
        let (terms, made) = made_by.map_or((None, None), |(terms, made)| (Some(terms), Some(made)));
        if let (Cause::TimeOut(id), Some(terms)) = (&end.cause, &terms)
            && terms.id() == *id
            && let Some(hold) = terms.payment.hold
        {
            let posted = (hold.timeout == Timeout::Post).then_some(terms.payment.amount.units);
            let ending = Ending { posted, by: event(end, None) };
            return Ok(Self { terms: terms.clone(), made, ended: Some(ending) });
        }
        let (order, digest) = order(end)?;
        let same = terms.as_ref().is_none_or(|terms| *terms == order.terms);
        let posted = match (order.action, order.terms.payment.hold) {
            (PaymentAction::Make, None) => Some(order.terms.payment.amount.units),
            (PaymentAction::Post(units), Some(_)) => Some(units),
            (PaymentAction::Void, Some(_)) => None,
            _ => return Err(wrong(end)),
        };
        if !same || (posted.is_some() && made.is_none()) {
            return Err(wrong(end));
        }
        Ok(Self { terms: order.terms, made, ended: Some(Ending { posted, by: event(end, digest) }) })
    }
}
