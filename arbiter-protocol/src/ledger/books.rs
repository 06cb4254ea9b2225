//! The books: what can still change, and every way in which it may.
//!
//! ```text
//!  now ─▶ holds that have run out, in order of (until, id) ─▶ the order itself ─▶ Step { changes, answer }
//! ```
//! A change is made here first and returned for the store. A caller that cannot store it must not use the books again.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use crate::exchange::payment::{Currency, Hold, Timeout};
use crate::ids::{PaymentId, PublicKey};
use crate::ledger::account::{Account, AccountName, Mark};
use crate::ledger::check::{self, Circulation, Damage};
use crate::ledger::entry::{Cause, Entry};
use crate::ledger::payment::{Ending, Event, PaymentRecord};
use crate::ledger::refused::{LedgerRefused, Party};
use crate::ledger::{Archive, admit_account, admit_payment};
use crate::limits;
use crate::message::account::{AccountAction, AccountOrder, AccountQuery, AccountState, AccountStatement};
use crate::message::payment::{PaymentAction, PaymentOrder, PaymentReceipt, PaymentTerms};
use crate::statement::Verified;
use crate::time::{DurationMillis, UnixMillis};

/// Accounts and open reservations of one ledger.
#[derive(Clone, Debug)]
pub struct Books {
    ledger: PublicKey,
    longest_hold: DurationMillis,
    grace: UnixMillis,
    entries: u64,
    time: UnixMillis,
    accounts: BTreeMap<AccountName, Account>,
    open: BTreeMap<PaymentId, PaymentRecord>,
    due: BTreeSet<(UnixMillis, PaymentId)>,
}

/// What a store gives back at a start.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// How many entries the journal has.
    pub entries: u64,
    /// The time of the newest.
    pub time: UnixMillis,
    /// All accounts.
    pub accounts: Vec<(AccountName, Account)>,
    /// All open reservations.
    pub open: Vec<PaymentRecord>,
}

/// One entry and what it changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// For the journal.
    pub entry: Entry,
    /// The accounts that changed, as they are now.
    pub accounts: Vec<(AccountName, Account)>,
    /// The payment that changed, as it is now.
    pub payment: Option<PaymentRecord>,
}

/// What an order or a question brought.
#[must_use = "changes must be made durable before anything is answered (R-608)"]
#[derive(Clone, Debug)]
pub struct Step<T> {
    /// Entries in their order: holds that have run out first. There may be some even if the answer is a refusal.
    pub changes: Vec<Change>,
    /// What to sign, once the changes are durable.
    pub answer: Result<T, LedgerRefused>,
}

/// What an order comes to.
enum Decision {
    /// Nothing changes: it had its effect before.
    Told(PaymentReceipt),
    /// The payment becomes this.
    Becomes(PaymentRecord),
}

impl Books {
    /// Books without any account, of the ledger that signs with `ledger`. No hold may end later than `longest_hold` from
    /// the time at which it is made.
    pub const fn new(ledger: PublicKey, longest_hold: DurationMillis) -> Self {
        Self {
            ledger,
            longest_hold,
            grace: UnixMillis(0),
            entries: 0,
            time: UnixMillis(1),
            accounts: BTreeMap::new(),
            open: BTreeMap::new(),
            due: BTreeSet::new(),
        }
    }

    /// Books as a store has them, checked (R-608).
    pub fn restore(ledger: PublicKey, longest_hold: DurationMillis, kept: Kept) -> Result<Self, Damage> {
        let mut books = Self::new(ledger, longest_hold);
        books.entries = kept.entries;
        books.time = kept.time.max(UnixMillis(1));
        for (name, account) in kept.accounts {
            let newest =
                account.closed.map_or(account.opened.entry, |closed| closed.entry).max(account.entry);
            if newest > kept.entries {
                return Err(Damage::Gap { entry: newest });
            }
            books.accounts.insert(name, account);
        }
        for record in kept.open {
            let entry = record.made.map_or(0, |made| made.mark.entry);
            let (Some(hold), true, 1..) = (record.terms.payment.hold, record.is_open(), entry) else {
                return Err(Damage::Index { entry });
            };
            if entry > kept.entries {
                return Err(Damage::Gap { entry });
            }
            let id = record.terms.id();
            books.due.insert((hold.until, id));
            books.open.insert(id, record);
        }
        books.check()?;
        Ok(books)
    }

    /// From now on no hold ends by itself before `until`: after a start, orders that could not come get time (R-607).
    pub const fn give_grace(&mut self, until: UnixMillis) {
        self.grace = until;
    }

    /// The ledger's key.
    pub const fn ledger(&self) -> PublicKey {
        self.ledger
    }

    /// How many entries were made.
    pub const fn entries(&self) -> u64 {
        self.entries
    }

    /// The latest time that was used.
    pub const fn time(&self) -> UnixMillis {
        self.time
    }

    /// An account, if it was ever opened.
    pub fn account_of(&self, name: &AccountName) -> Option<&Account> {
        self.accounts.get(name)
    }

    /// All accounts, in the order of their names.
    pub fn accounts(&self) -> impl Iterator<Item = (&AccountName, &Account)> {
        self.accounts.iter()
    }

    /// The open reservations, in the order of their ids.
    pub fn reservations(&self) -> impl Iterator<Item = &PaymentRecord> {
        self.open.values()
    }

    /// One open reservation.
    pub fn reservation(&self, id: &PaymentId) -> Option<&PaymentRecord> {
        self.open.get(id)
    }

    /// The currencies that can be used: those whose issue is open.
    pub fn currencies(&self) -> impl Iterator<Item = &Currency> {
        self.accounts.iter().filter_map(|(name, account)| match name {
            AccountName::Issue(currency) if account.closed.is_none() => Some(currency),
            _ => None,
        })
    }

    /// When the next hold ends by itself.
    pub fn next_due(&self) -> Option<UnixMillis> {
        self.due.first().map(|(until, _)| self.grace.max(*until))
    }

    /// R-602: checks all sums from scratch.
    pub fn check(&self) -> Result<Vec<Circulation>, Damage> {
        check::check(&self.ledger, &self.accounts, self.open.values())
    }

    /// R-607: ends every hold that has run out at `now`.
    pub fn settle(&mut self, now: UnixMillis) -> Vec<Change> {
        self.time = self.time.max(now);
        let mut changes = Vec::new();
        while let Some((until, id)) = self.due.first().copied()
            && self.grace.max(until) <= self.time
        {
            changes.extend(self.run_out(&id));
        }
        changes
    }

    /// Carries out a payment order (R-603 to R-607).
    pub fn pay<A: Archive>(
        &mut self,
        order: &Verified<PaymentOrder>,
        archive: &A,
        now: UnixMillis,
    ) -> Result<Step<PaymentReceipt>, A::Error> {
        let mut changes = self.settle(now);
        let record = self.record(&order.terms.id(), &changes, archive)?;
        let answer = self.decide(order, record).map(|decision| match decision {
            Decision::Told(receipt) => receipt,
            Decision::Becomes(record) => {
                let answer = record.receipt();
                changes.push(self.carry_out(record, Cause::Payment(order.envelope().clone())));
                answer
            }
        });
        Ok(Step { changes, answer })
    }

    /// How a payment stands (R-611).
    pub fn payment<A: Archive>(
        &mut self,
        terms: &PaymentTerms,
        archive: &A,
        now: UnixMillis,
    ) -> Result<Step<PaymentReceipt>, A::Error> {
        let changes = self.settle(now);
        if terms.payment.ledger != self.ledger {
            return Ok(Step { changes, answer: Err(LedgerRefused::OtherLedger) });
        }
        let record = self.record(&terms.id(), &changes, archive)?;
        let absent = || PaymentRecord::absent(terms.clone(), self.time);
        let answer = Ok(record.map_or_else(absent, |record| record.receipt()));
        Ok(Step { changes, answer })
    }

    /// Opens or closes an account (R-601).
    pub fn order_account(
        &mut self,
        order: &Verified<AccountOrder>,
        now: UnixMillis,
    ) -> Step<AccountStatement> {
        let mut changes = self.settle(now);
        let answer = self.decide_account(order).map(|(statement, account)| {
            changes.extend(account.map(|account| self.keep_account(account, order)));
            statement
        });
        Step { changes, answer }
    }

    /// How an account stands (R-610).
    pub fn account(&mut self, query: &Verified<AccountQuery>, now: UnixMillis) -> Step<AccountStatement> {
        let changes = self.settle(now);
        let name = AccountName::Holder(query.account);
        let answer = self.check_query(query).and_then(|()| {
            let unknown = LedgerRefused::AccountUnknown { party: Party::Holder };
            let account = self.accounts.get(&name).ok_or(unknown)?;
            Ok(account.statement(self.ledger, query.account, self.time))
        });
        Step { changes, answer }
    }

    /// R-610: whether the payments of an account may be told now: settles first, and changes nothing else.
    pub fn query(&mut self, query: &Verified<AccountQuery>, now: UnixMillis) -> Step<()> {
        let changes = self.settle(now);
        Step { changes, answer: self.check_query(query) }
    }

    fn check_query(&self, query: &Verified<AccountQuery>) -> Result<(), LedgerRefused> {
        if query.ledger != self.ledger {
            return Err(LedgerRefused::OtherLedger);
        }
        let (now, time) = (self.time, query.time);
        if time.after(limits::QUERY_FRESH) < now || now.after(limits::QUERY_FRESH) < time {
            return Err(LedgerRefused::QueryStale { now, time });
        }
        let known =
            query.account == self.ledger || self.accounts.contains_key(&AccountName::Holder(query.account));
        if known { Ok(()) } else { Err(LedgerRefused::AccountUnknown { party: Party::Holder }) }
    }

    /// Makes the change of a stored entry again, by the rules of today but for the longest hold (R-608). Time-outs are
    /// entries of their own: nothing else happens.
    pub fn replay<A: Archive<Error = Infallible>>(
        &mut self,
        entry: &Entry,
        archive: &A,
    ) -> Result<Change, Damage> {
        let wrong = |reason| Damage::Replay { entry: entry.number, reason };
        if self.entries.checked_add(1) != Some(entry.number) {
            return Err(Damage::Gap { entry: self.entries.saturating_add(1) });
        }
        if entry.time < self.time {
            return Err(wrong("TIME_WENT_BACK"));
        }
        self.time = entry.time;
        match &entry.cause {
            Cause::TimeOut(id) => {
                let over = self
                    .open
                    .get(id)
                    .and_then(|it| it.terms.payment.hold)
                    .is_some_and(|it| it.until <= entry.time);
                let change = if over { self.run_out(id) } else { None };
                change.ok_or_else(|| wrong("HOLD_NOT_OVER"))
            }
            Cause::Payment(envelope) => {
                let order = admit_payment(envelope.clone()).map_err(|invalid| wrong(invalid.reason()))?;
                let Ok(record) = self.record(&order.terms.id(), &[], archive);
                match self.decide(&order, record).map_err(|refused| wrong(refused.reason()))? {
                    Decision::Told(_) => Err(wrong("NOTHING_CHANGED")),
                    Decision::Becomes(record) => Ok(self.carry_out(record, entry.cause.clone())),
                }
            }
            Cause::Account(envelope) => {
                let order = admit_account(envelope.clone()).map_err(|invalid| wrong(invalid.reason()))?;
                let decided = self.decide_account(&order).map_err(|refused| wrong(refused.reason()))?;
                let account = decided.1.ok_or_else(|| wrong("NOTHING_CHANGED"))?;
                Ok(self.keep_account(account, &order))
            }
        }
    }

    /// The record of a payment: changed a moment ago, open, or archived.
    fn record<A: Archive>(
        &self,
        id: &PaymentId,
        changes: &[Change],
        archive: &A,
    ) -> Result<Option<PaymentRecord>, A::Error> {
        let fresh = changes.iter().rev().filter_map(|change| change.payment.as_ref());
        if let Some(record) = fresh.chain(self.open.get(id)).find(|record| record.terms.id() == *id) {
            return Ok(Some(record.clone()));
        }
        let found = archive.find(id)?;
        let ended = found.as_ref().is_none_or(|record| !record.is_open());
        assert!(ended, "invariant: every open reservation is in the books");
        Ok(found)
    }

    /// What a payment order comes to. Changes nothing.
    fn decide(
        &self,
        order: &Verified<PaymentOrder>,
        record: Option<PaymentRecord>,
    ) -> Result<Decision, LedgerRefused> {
        let PaymentOrder { terms, action } = &**order;
        if terms.payment.ledger != self.ledger {
            return Err(LedgerRefused::OtherLedger);
        }
        if !order.may_be_signed_by(&order.signer()) {
            return Err(LedgerRefused::SignerNotEntitled);
        }
        let mark = Mark { entry: self.entries.saturating_add(1), time: self.time };
        let by = Event { mark, order: Some(order.digest()) };
        let Some(record) = record else { return self.decide_first(terms, *action, by) };
        let ending = |posted| {
            let ended = Some(Ending { posted, by });
            Ok(Decision::Becomes(PaymentRecord { ended, ..record.clone() }))
        };
        match (action, &record.ended) {
            // R-603: the same order has the same receipt, whatever happened since.
            (PaymentAction::Make, _) => {
                record.receipt_of_making().map(Decision::Told).ok_or(LedgerRefused::PaymentVoided)
            }
            (PaymentAction::Post(units), None) => ending(Some(*units)),
            (PaymentAction::Void, None) => ending(None),
            (PaymentAction::Post(units), Some(end)) if end.posted == Some(*units) => {
                Ok(Decision::Told(record.receipt()))
            }
            (PaymentAction::Void, Some(Ending { posted: None, .. })) => Ok(Decision::Told(record.receipt())),
            (_, Some(Ending { posted: Some(units), .. })) => {
                Err(LedgerRefused::PaymentPosted { units: *units })
            }
            (_, Some(Ending { posted: None, .. })) => Err(LedgerRefused::PaymentVoided),
        }
    }

    /// The first order about a payment.
    fn decide_first(
        &self,
        terms: &PaymentTerms,
        action: PaymentAction,
        by: Event,
    ) -> Result<Decision, LedgerRefused> {
        let payment = &terms.payment;
        if matches!(action, PaymentAction::Post(_)) {
            return Err(LedgerRefused::PaymentAbsent);
        }
        if action == PaymentAction::Void {
            // R-606: it never will be made, whatever accounts there are or will be.
            let ended = Some(Ending { posted: None, by });
            return Ok(Decision::Becomes(PaymentRecord { terms: terms.clone(), made: None, ended }));
        }
        let currency = &payment.amount.currency;
        let payer = self.party(&payment.payer, currency, Party::Payer)?;
        let payee = self.party(&payment.payee, currency, Party::Payee)?;
        for (account, party) in [(payer, Party::Payer), (payee, Party::Payee)] {
            if account.closed.is_some() {
                return Err(LedgerRefused::AccountClosed { party });
            }
        }
        if let Some(Hold { until, .. }) = payment.hold {
            let (now, latest) = (self.time, self.time.after(self.longest_hold));
            if until <= now {
                return Err(LedgerRefused::HoldOver { now, until });
            }
            if until > latest {
                return Err(LedgerRefused::HoldTooLong { until, latest });
            }
        }
        let (least, too_little) = match payment.payer == self.ledger {
            true => (-i128::from(limits::CIRCULATION_UNITS), LedgerRefused::CirculationFull),
            false => (0, LedgerRefused::InsufficientFunds),
        };
        let left = payer.available.checked_sub(payment.amount.units.into());
        if left.is_none_or(|left| left < least) {
            return Err(too_little);
        }
        let posted = Some(payment.amount.units);
        let ended = payment.hold.is_none().then_some(Ending { posted, by });
        Ok(Decision::Becomes(PaymentRecord { terms: terms.clone(), made: Some(by), ended }))
    }

    /// An account that a payment names, closed or not, if it holds the currency.
    fn party(&self, key: &PublicKey, currency: &Currency, party: Party) -> Result<&Account, LedgerRefused> {
        let name = AccountName::new(&self.ledger, key, currency);
        let account = self.accounts.get(&name).ok_or_else(|| match name {
            AccountName::Holder(_) => LedgerRefused::AccountUnknown { party },
            AccountName::Issue(_) => LedgerRefused::CurrencyUnknown { currency: currency.clone() },
        })?;
        account.check_currency(currency, party)?;
        Ok(account)
    }

    /// R-601: what an account order comes to: what to tell, and the account if it changes.
    fn decide_account(
        &self,
        order: &Verified<AccountOrder>,
    ) -> Result<(AccountStatement, Option<Account>), LedgerRefused> {
        let AccountOrder { ledger, account: key, currency, action } = &**order;
        if *ledger != self.ledger {
            return Err(LedgerRefused::OtherLedger);
        }
        let mark = Mark { entry: self.entries.saturating_add(1), time: self.time };
        let party = Party::Holder;
        let name = AccountName::new(ledger, key, currency);
        let Some(account) = self.accounts.get(&name) else {
            let issued = matches!(name, AccountName::Issue(_)) || self.currencies().any(|it| it == currency);
            return match action {
                AccountAction::Close => Err(LedgerRefused::AccountUnknown { party }),
                AccountAction::Open if !issued => {
                    Err(LedgerRefused::CurrencyUnknown { currency: currency.clone() })
                }
                AccountAction::Open => {
                    let account = Account::open(currency.clone(), mark);
                    Ok((account.statement_at(*ledger, *key, AccountState::Open, mark), Some(account)))
                }
            };
        };
        account.check_currency(currency, party)?;
        let told = |state, mark| account.statement_at(*ledger, *key, state, mark);
        match (action, account.closed) {
            (AccountAction::Open, None) => Ok((told(AccountState::Open, account.opened), None)),
            (AccountAction::Open, Some(_)) => Err(LedgerRefused::AccountClosed { party }),
            (AccountAction::Close, Some(closed)) => Ok((told(AccountState::Closed, closed), None)),
            (AccountAction::Close, None) if !account.is_empty() => Err(LedgerRefused::AccountNotEmpty),
            (AccountAction::Close, None) => {
                let closed = Account { closed: Some(mark), entry: mark.entry, ..account.clone() };
                Ok((told(AccountState::Closed, mark), Some(closed)))
            }
        }
    }

    /// Puts an account that was opened or closed into the books.
    fn keep_account(&mut self, account: Account, order: &Verified<AccountOrder>) -> Change {
        let name = AccountName::new(&self.ledger, &order.account, &order.currency);
        self.accounts.insert(name.clone(), account.clone());
        let entry = self.enter(Cause::Account(order.envelope().clone()));
        Change { entry, accounts: vec![(name, account)], payment: None }
    }

    /// R-607: ends an open reservation as its hold says.
    fn run_out(&mut self, id: &PaymentId) -> Option<Change> {
        let record = self.open.get(id)?;
        let hold = record.terms.payment.hold?;
        let mark = Mark { entry: self.entries.saturating_add(1), time: self.time };
        let posted = (hold.timeout == Timeout::Post).then_some(record.terms.payment.amount.units);
        let ended = Some(Ending { posted, by: Event { mark, order: None } });
        let record = PaymentRecord { ended, ..record.clone() };
        Some(self.carry_out(record, Cause::TimeOut(*id)))
    }

    /// Makes a decided change: the one place where money moves.
    fn carry_out(&mut self, record: PaymentRecord, cause: Cause) -> Change {
        let (id, payment) = (record.terms.id(), &record.terms.payment);
        let amount = payment.amount.units;
        let was_open = self.open.contains_key(&id);
        // What leaves `available` and enters `reserved` of the payer, and what the payee gets, in units.
        let (leaves, reserves, gets) = match (&record.made, &record.ended, was_open) {
            (Some(_), None, _) => (signed(amount), signed(amount), 0),
            (Some(_), Some(end), true) => {
                let got = signed(end.posted.unwrap_or(0));
                (got.saturating_sub(signed(amount)), signed(amount).saturating_neg(), got)
            }
            (Some(_), Some(_), false) => (signed(amount), 0, signed(amount)),
            (None, ..) => (0, 0, 0),
        };
        assert_eq!(leaves, reserves.saturating_add(gets), "invariant: money is moved, not made");
        let entry = self.enter(cause);
        let mut accounts = Vec::new();
        if record.made.is_some() {
            let currency = &payment.amount.currency;
            let names =
                [payment.payer, payment.payee].map(|key| AccountName::new(&self.ledger, &key, currency));
            let [payer, payee] = names;
            accounts.push(self.shift(payer, entry.number, [leaves.saturating_neg(), reserves, 0]));
            accounts.push(self.shift(payee, entry.number, [gets, 0, reserves]));
        }
        match (record.is_open(), payment.hold) {
            (true, Some(hold)) => {
                self.due.insert((hold.until, id));
                self.open.insert(id, record.clone());
            }
            (_, hold) => {
                self.open.remove(&id);
                self.due.remove(&(hold.map_or(UnixMillis(0), |hold| hold.until), id));
            }
        }
        Change { entry, accounts, payment: Some(record) }
    }

    /// Adds to `available`, `reserved` and `incoming` of an account.
    fn shift(&mut self, name: AccountName, entry: u64, by: [i128; 3]) -> (AccountName, Account) {
        let account =
            self.accounts.get_mut(&name).expect("invariant: the accounts of a payment were looked at");
        let [available, reserved, incoming] = by;
        account.available = account.available.checked_add(available).expect(SUMS);
        account.reserved = account.reserved.checked_add_signed(reserved).expect(SUMS);
        account.incoming = account.incoming.checked_add_signed(incoming).expect(SUMS);
        account.entry = entry;
        (name, account.clone())
    }

    /// The next entry, now.
    fn enter(&mut self, cause: Cause) -> Entry {
        self.entries = self.entries.checked_add(1).expect("invariant: fewer than 2^64 entries");
        Entry { number: self.entries, time: self.time, cause }
    }
}

fn signed(units: u64) -> i128 {
    units.into()
}

const SUMS: &str =
    "invariant: no more is issued than CIRCULATION_UNITS, and nothing is released that was not reserved";
