//! The ledger's book, kept by hand from the orders alone, as section 13 says.

use std::collections::BTreeMap;

use arbiter_protocol::exchange::payment::Timeout;
use arbiter_protocol::ids::{PaymentId, PublicKey};
use arbiter_protocol::ledger::{Cause, Entry};
use arbiter_protocol::message::payment::{
    PaymentAction, PaymentOrder, PaymentReceipt, PaymentState, PaymentTerms,
};
use arbiter_protocol::statement::Signed;

use crate::rail::{Rail, price};
use crate::signed::account_key;

struct Line {
    terms: PaymentTerms,
    state: PaymentState,
    made: bool,
}

/// What everybody has, and how every payment stands.
pub struct Book {
    cash: [i128; 2],
    lines: BTreeMap<PaymentId, Line>,
    all: i128,
    /// The first thing in it that is against a rule.
    wrong: Option<String>,
}

fn person(key: &PublicKey) -> usize {
    (0..2).find(|it| account_key(*it) == *key).expect("an account of this world")
}

impl Book {
    pub fn new(poor: bool) -> Self {
        let each = i128::from(price()) * if poor { 1 } else { 2 };
        Self { cash: [each; 2], lines: BTreeMap::new(), all: 2 * each, wrong: None }
    }

    pub fn entered(&mut self, entries: &[Entry]) {
        for entry in entries {
            let written = match &entry.cause {
                Cause::Account(_) => Err("an account that nobody ordered".to_owned()),
                Cause::Payment(envelope) => {
                    let order = Signed::<PaymentOrder>::parse(envelope.clone()).unwrap();
                    self.ordered(order.unverified(), &envelope.key(), entry.time.0)
                }
                Cause::TimeOut(id) => self.timed_out(id, entry.time.0),
            };
            if let (Err(why), None) = (written, &self.wrong) {
                self.wrong = Some(why);
            }
        }
    }

    ///
    fn ordered(&mut self, order: &PaymentOrder, by: &PublicKey, now: u64) -> Result<(), String> {
        let PaymentOrder { terms, action } = order;
        let payment = &terms.payment;
        let (payer, payee) = (person(&payment.payer), person(&payment.payee));
        let all = payment.amount.units;
        let line = self.lines.entry(terms.id());
        let line =
            line.or_insert_with(|| Line { terms: terms.clone(), state: PaymentState::Absent, made: false });
        let authority = terms.authority.as_ref() == Some(by);
        let ends = payment.hold.map(|it| it.until.0);
        let (next, payers, payees) = match (*action, line.state) {
            (PaymentAction::Make, PaymentState::Absent) if *by == payment.payer => {
                if ends.is_some_and(|end| end <= now) {
                    return Err("R-604: made after its hold has ended".to_owned());
                }
                match ends {
                    Some(_) => (PaymentState::Reserved, -i128::from(all), 0),
                    None => (PaymentState::Posted(all), -i128::from(all), i128::from(all)),
                }
            }
            (PaymentAction::Post(units), PaymentState::Reserved)
                if authority || (*by == payment.payer && units == all) =>
            {
                (PaymentState::Posted(units), i128::from(all - units), i128::from(units))
            }
            (PaymentAction::Void, PaymentState::Absent) if authority || *by == payment.payee => {
                (PaymentState::Voided, 0, 0)
            }
            (PaymentAction::Void, PaymentState::Reserved) if authority || *by == payment.payee => {
                (PaymentState::Voided, i128::from(all), 0)
            }
            (action, state) => return Err(format!("R-603, R-605: {action:?} was done while {state:?}")),
        };
        line.state = next;
        line.made |= *action == PaymentAction::Make;
        self.cash[payer] += payers;
        self.cash[payee] += payees;
        if self.cash[payer] < 0 { Err("R-604: paid with what it does not have".to_owned()) } else { Ok(()) }
    }

    /// as its terms say.
    fn timed_out(&mut self, id: &PaymentId, now: u64) -> Result<(), String> {
        let line = self.lines.get_mut(id).ok_or("R-607: a hold of no payment has ended")?;
        let payment = &line.terms.payment;
        let over = payment.hold.is_some_and(|it| it.until.0 <= now);
        if !over || line.state != PaymentState::Reserved {
            return Err("R-607: a hold ended that is none, or too early".to_owned());
        }
        let posted = payment.hold.is_some_and(|it| it.timeout == Timeout::Post);
        line.state = if posted { PaymentState::Posted(payment.amount.units) } else { PaymentState::Voided };
        let to = if posted { &payment.payee } else { &payment.payer };
        self.cash[person(to)] += i128::from(payment.amount.units);
        Ok(())
    }

    /// Whether a payment was ever made.
    pub fn made(&self, terms: &PaymentTerms) -> bool {
        self.lines.get(&terms.id()).is_some_and(|it| it.made)
    }

    /// Whether a payment stands so.
    pub fn stands(&self, receipt: &PaymentReceipt) -> bool {
        let now = self.lines.get(&receipt.terms.id()).map_or(PaymentState::Absent, |it| it.state);
        now == receipt.state
    }

    /// what the ledger says otherwise than this book. `receipt`: what it has just signed, and whether it was
    /// asked to make the payment: then it may say how that was.
    pub fn differs(&self, rail: &Rail, receipt: Option<(&PaymentReceipt, bool)>) -> Option<String> {
        if let Some(wrong) = &self.wrong {
            return Some(wrong.clone());
        }
        if let Some((receipt, make)) = receipt {
            let line = self.lines.get(&receipt.terms.id());
            let as_made = make && receipt.state == PaymentState::Reserved && line.is_some_and(|it| it.made);
            if !self.stands(receipt) && !as_made {
                return Some(format!("R-603: a receipt says {:?}, and the book does not", receipt.state));
            }
        }
        let mut all = 0;
        for (person, cash) in self.cash.iter().enumerate() {
            let (available, reserved) = rail.balance(person);
            let open = self.lines.values().filter(|it| {
                it.state == PaymentState::Reserved && self::person(&it.terms.payment.payer) == person
            });
            let held: u128 = open.map(|it| u128::from(it.terms.payment.amount.units)).sum();
            if (available, reserved) != (*cash, held) {
                return Some(format!(
                    "R-602: an account has {available} and {reserved}, not {cash} and {held}"
                ));
            }
            all += available + i128::try_from(reserved).unwrap();
        }
        (all != self.all || !rail.checks()).then(|| "R-602: money is not conserved".to_owned())
    }
}
