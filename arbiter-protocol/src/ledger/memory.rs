//! A whole ledger in memory: for tests, and for whoever keeps no money over a restart.

use std::collections::BTreeMap;

use crate::crypto::Signer;
use crate::exchange::payment::{Amount, Currency, Payment};
use crate::ids::{Digest, PaymentId, PublicKey};
use crate::ledger::books::{Books, Change, Step};
use crate::ledger::entry::Entry;
use crate::ledger::payment::PaymentRecord;
use crate::ledger::refused::{LedgerRefused, LedgerRejected};
use crate::ledger::{admit_account, admit_payment, admit_query};
use crate::message::account::{AccountAction, AccountOrder, AccountStatement};
use crate::message::payment::{PaymentAction, PaymentOrder, PaymentReceipt, PaymentTerms};
use crate::statement::{Envelope, Payload, Verified};
use crate::time::{DurationMillis, UnixMillis};

/// Books, archive, journal and key in one value. The caller tells the time.
///
/// ```
/// use arbiter_protocol::crypto::{MemorySigner, Signer as _};
/// use arbiter_protocol::exchange::payment::{Amount, Payment};
/// use arbiter_protocol::ids::Digest;
/// use arbiter_protocol::ledger::MemoryLedger;
/// use arbiter_protocol::message::payment::{PaymentAction, PaymentOrder, PaymentState, PaymentTerms};
/// use arbiter_protocol::statement::Verified;
/// use arbiter_protocol::time::UnixMillis;
/// # let key = |byte| MemorySigner::from_seed(&zeroize::Zeroizing::new([byte; 32]));
/// let (alice, bob, now) = (key(1), key(2), UnixMillis(1_000));
/// let mut ledger = MemoryLedger::new(Box::new(key(3)));
/// let price = Amount::parse("12.00 EUR")?;
/// ledger.open(&alice, &price.currency, now)?;
/// ledger.open(&bob, &price.currency, now)?;
/// ledger.issue(alice.public_key(), Amount::parse("20.00 EUR")?, Digest::of(&[b"first"]), now)?;
///
/// let (payer, payee) = (alice.public_key(), bob.public_key());
/// let payment = Payment { ledger: ledger.key(), payer, payee, amount: price, hold: None };
/// let terms = PaymentTerms { payment, authority: None, reference: Digest::of(&[b"bicycle"]) };
/// let order = Verified::sign(PaymentOrder { terms, action: PaymentAction::Make }, &alice);
/// let receipt = ledger.order_payment(order.envelope().clone(), now)?;
/// assert_eq!(receipt.state, PaymentState::Posted(1200));
/// # Ok::<(), arbiter_protocol::ledger::LedgerRejected>(())
/// ```
pub struct MemoryLedger {
    books: Books,
    archive: BTreeMap<PaymentId, PaymentRecord>,
    journal: Vec<Entry>,
    signer: Box<dyn Signer>,
}

impl MemoryLedger {
    /// An empty ledger that signs with `signer` and holds for ten years at most.
    pub fn new(signer: Box<dyn Signer>) -> Self {
        let books = Books::new(signer.public_key(), DurationMillis(3650 * 24 * 60 * 60 * 1000));
        Self { books, archive: BTreeMap::new(), journal: Vec::new(), signer }
    }

    /// Signs the receipts.
    pub fn key(&self) -> PublicKey {
        self.books.ledger()
    }

    /// Accounts and open reservations.
    pub const fn books(&self) -> &Books {
        &self.books
    }

    /// Every entry, in order.
    pub fn journal(&self) -> &[Entry] {
        &self.journal
    }

    /// Carries out a signed payment order.
    pub fn order_payment(
        &mut self,
        order: Envelope,
        now: UnixMillis,
    ) -> Result<Verified<PaymentReceipt>, LedgerRejected> {
        let order = admit_payment(order)?;
        let Ok(step) = self.books.pay(&order, &self.archive, now);
        self.answer(step)
    }

    /// How a payment stands.
    pub fn payment(
        &mut self,
        terms: &PaymentTerms,
        now: UnixMillis,
    ) -> Result<Verified<PaymentReceipt>, LedgerRejected> {
        let Ok(step) = self.books.payment(terms, &self.archive, now);
        self.answer(step)
    }

    /// Carries out a signed account order.
    pub fn order_account(
        &mut self,
        order: Envelope,
        now: UnixMillis,
    ) -> Result<Verified<AccountStatement>, LedgerRejected> {
        let step = self.books.order_account(&admit_account(order)?, now);
        self.answer(step)
    }

    /// Answers a signed account query.
    pub fn account(
        &mut self,
        query: Envelope,
        now: UnixMillis,
    ) -> Result<Verified<AccountStatement>, LedgerRejected> {
        let step = self.books.account(&admit_query(query)?, now);
        self.answer(step)
    }

    /// Ends every hold that has run out at `now`.
    pub fn settle(&mut self, now: UnixMillis) {
        let changes = self.books.settle(now);
        self.keep(changes);
    }

    /// Opens an account for `holder`, and the issue of the currency before, if there is none.
    pub fn open(
        &mut self,
        holder: &dyn Signer,
        currency: &Currency,
        now: UnixMillis,
    ) -> Result<Verified<AccountStatement>, LedgerRejected> {
        let order = |account| {
            let (ledger, currency) = (self.key(), currency.clone());
            AccountOrder { ledger, account, currency, action: AccountAction::Open }
        };
        let issue = Verified::sign(order(self.key()), &*self.signer);
        let own = Verified::sign(order(holder.public_key()), holder);
        self.order_account(issue.envelope().clone(), now)?;
        self.order_account(own.envelope().clone(), now)
    }

    /// Issues money to an open account. The reference makes it a payment of its own.
    pub fn issue(
        &mut self,
        payee: PublicKey,
        amount: Amount,
        reference: Digest,
        now: UnixMillis,
    ) -> Result<Verified<PaymentReceipt>, LedgerRejected> {
        let ledger = self.key();
        let payment = Payment { ledger, payer: ledger, payee, amount, hold: None };
        let terms = PaymentTerms { payment, authority: None, reference };
        let order = Verified::sign(PaymentOrder { terms, action: PaymentAction::Make }, &*self.signer);
        self.order_payment(order.envelope().clone(), now)
    }

    fn answer<T: Payload>(&mut self, step: Step<T>) -> Result<Verified<T>, LedgerRejected> {
        self.keep(step.changes);
        let statement = step.answer.map_err(|refused: LedgerRefused| LedgerRejected::Refused(refused))?;
        Ok(Verified::sign(statement, &*self.signer))
    }

    fn keep(&mut self, changes: Vec<Change>) {
        for Change { entry, payment, .. } in changes {
            self.journal.push(entry);
            self.archive.extend(payment.map(|record| (record.terms.id(), record)));
        }
    }
}
