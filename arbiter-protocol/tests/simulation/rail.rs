//! The ledger in the simulation: the books that ship, in memory, and what may be wrong with them on purpose.
//!
//! ```text
//!  order │ look ─▶ holds that have run out ─▶ Books ─▶ receipt, signed          every entry ─▶ oracle
//! ```

use std::cell::OnceCell;
use std::collections::BTreeMap;

use arbiter_protocol::exchange::payment::Currency;
use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::ids::{Digest, PaymentId};
use arbiter_protocol::ledger::{AccountName, Books, Entry, LedgerRefused, MemoryLedger, PaymentRecord, Step};
use arbiter_protocol::message::payment::{
    PaymentAction, PaymentOrder, PaymentReceipt, PaymentState, PaymentTerms,
};
use arbiter_protocol::statement::Verified;
use arbiter_protocol::time::UnixMillis;

use crate::common::money::{ledger, payment};
use crate::signed::{account, account_key};

/// What a ledger does wrong on purpose, to see that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It says that it has voided, and does nothing.
    Deaf,
    /// It forgets that it has voided what was not made yet (R-606).
    Forgets,
    /// It says that a payment is made before that is durable, and then loses its power (R-608).
    Unsynced,
}

pub type Answer = Result<Verified<PaymentReceipt>, LedgerRefused>;

#[derive(Clone)]
struct Kept {
    books: Books,
    archive: BTreeMap<PaymentId, PaymentRecord>,
}

pub struct Rail {
    kept: Kept,
    fault: Option<Fault>,
    /// Out of reach for everybody.
    pub down: bool,
    /// Entries that nobody has looked at yet.
    entries: Vec<Entry>,
    /// The first receipt of each payment that took effect: as well signed as a newer one.
    effective: BTreeMap<PaymentId, Verified<PaymentReceipt>>,
    /// The receipt of each payment that was set aside for the arbiter to post.
    set_aside: BTreeMap<PaymentId, Verified<PaymentReceipt>>,
}

/// How much each person has at first, if it is enough for one payment only.
pub fn price() -> u64 {
    payment(Role::Originator, None).amount.units
}

fn currency() -> Currency {
    payment(Role::Originator, None).amount.currency
}

/// Books in which everybody has enough for so many payments.
fn opened(payments: u64) -> Kept {
    let mut memory = MemoryLedger::new(Box::new(ledger()));
    for person in 0..2 {
        let now = UnixMillis(1);
        memory.open(&account(person), &currency(), now).unwrap();
        let mut amount = payment(Role::Originator, None).amount;
        amount.units *= payments;
        memory.issue(account_key(person), amount, Digest::of(&[b"cash"]), now).unwrap();
    }
    Kept { books: memory.books().clone(), archive: BTreeMap::new() }
}

impl Rail {
    pub fn new(poor: bool, fault: Option<Fault>) -> Self {
        thread_local! {
            static BOOKS: [OnceCell<Kept>; 2] = const { [OnceCell::new(), OnceCell::new()] };
        }
        let payments = if poor { 1 } else { 2 };
        let kept = BOOKS.with(|all| all[usize::from(poor)].get_or_init(|| opened(payments)).clone());
        Self {
            kept,
            fault,
            down: false,
            entries: Vec::new(),
            effective: BTreeMap::new(),
            set_aside: BTreeMap::new(),
        }
    }

    /// What an account can pay with, and what is set aside in it.
    pub fn balance(&self, person: usize) -> (i128, u128) {
        let name = AccountName::Holder(account_key(person));
        let account = self.kept.books.account_of(&name).expect("opened");
        (account.available, account.reserved)
    }

    /// R-602, as the ledger checks itself.
    pub fn checks(&self) -> bool {
        self.kept.books.check().is_ok()
    }

    pub fn order(&mut self, order: &Verified<PaymentOrder>, now: u64) -> Answer {
        let before = (self.fault.is_some()).then(|| self.kept.clone());
        let known = self.kept.books.reservation(&order.terms.id()).is_some();
        let made = known || self.kept.archive.contains_key(&order.terms.id());
        let Ok(step) = self.kept.books.pay(order, &self.kept.archive, UnixMillis(now));
        let answer = self.keep(step);
        let undone = match (self.fault, order.action) {
            (Some(Fault::Deaf), PaymentAction::Void) => known,
            (Some(Fault::Forgets), PaymentAction::Void) => !made,
            (Some(Fault::Unsynced), PaymentAction::Make) => !made,
            _ => false,
        };
        if let Some(before) = before.filter(|_| undone && answer.is_ok()) {
            self.kept = before;
            self.entries.clear();
        }
        answer
    }

    pub fn look(&mut self, terms: &PaymentTerms, now: u64) -> Answer {
        let Ok(step) = self.kept.books.payment(terms, &self.kept.archive, UnixMillis(now));
        self.keep(step)
    }

    /// R-607.
    pub fn settle(&mut self, now: u64) {
        let changes = self.kept.books.settle(UnixMillis(now));
        let _ = self.keep(Step { changes, answer: Err(LedgerRefused::OtherLedger) });
    }

    /// How a payment stands, for who looks at the ledger from outside.
    pub fn state(&self, terms: &PaymentTerms) -> PaymentState {
        let id = terms.id();
        let open = self.kept.books.reservation(&id).or_else(|| self.kept.archive.get(&id));
        open.map_or(PaymentState::Absent, |it| it.receipt().state)
    }

    /// The first receipt that says that the payment took effect, if there ever was one.
    pub fn effective(&self, terms: &PaymentTerms) -> Option<&Verified<PaymentReceipt>> {
        self.effective.get(&terms.id())
    }

    /// The receipt that says that the payment is set aside, if there ever was one.
    pub fn set_aside(&self, terms: &PaymentTerms) -> Option<&Verified<PaymentReceipt>> {
        self.set_aside.get(&terms.id())
    }

    pub fn entries(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.entries)
    }

    fn keep(&mut self, step: Step<PaymentReceipt>) -> Answer {
        for change in step.changes {
            self.entries.push(change.entry);
            self.kept.archive.extend(change.payment.map(|it| (it.terms.id(), it)));
        }
        let receipt = Verified::sign(step.answer?, &ledger());
        if receipt.is_effective() {
            self.effective.entry(receipt.terms.id()).or_insert_with(|| receipt.clone());
        } else if receipt.state == PaymentState::Reserved {
            self.set_aside.entry(receipt.terms.id()).or_insert_with(|| receipt.clone());
        }
        Ok(receipt)
    }
}
