//! Books and oracle side by side, with a store that keeps only what was committed.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use arbiter_protocol::crypto::{MemorySigner, Signer as _};
use arbiter_protocol::exchange::payment::{Amount, Currency, Hold, Payment, Timeout};
use arbiter_protocol::ids::{Digest, PaymentId, PublicKey};
use arbiter_protocol::ledger::{Account, AccountName, Books, Change, Entry, Kept, PaymentRecord, Step};
use arbiter_protocol::message::account::{AccountAction, AccountOrder, AccountState, AccountStatement};
use arbiter_protocol::message::payment::{
    PaymentAction, PaymentOrder, PaymentReceipt, PaymentState, PaymentTerms,
};
use arbiter_protocol::statement::Verified;
use arbiter_protocol::time::{DurationMillis, UnixMillis};
use zeroize::Zeroizing;

use super::oracle::{Deal, Oracle, Told, Verb, Who};

/// The ledger, three holders in EUR/2, one in JPY/0, one in EUR/3, one who never opens anything.
pub const CAST: usize = 7;
pub const LONGEST: u64 = 60;
const START: u64 = 1_000;

pub fn signer(who: Who) -> MemorySigner {
    MemorySigner::from_seed(&Zeroizing::new([u8::try_from(who).unwrap() + 40; 32]))
}

pub fn key(who: Who) -> PublicKey {
    static KEYS: OnceLock<Vec<PublicKey>> = OnceLock::new();
    KEYS.get_or_init(|| (0..CAST).map(|who| signer(who).public_key()).collect())[who]
}

fn deal(payer: Who, payee: Who, units: u64) -> Deal {
    let (code, scale) = ("EUR", 2);
    Deal { here: true, payer, payee, units, code, scale, hold: None, authority: None }
}

pub fn one_deal(posts: bool) -> Deal {
    Deal { hold: Some((START + 10, posts)), authority: Some(3), ..deal(1, 2, 100) }
}

/// A little of everything: issues, payments at once, holds of every kind, and one for each fault.
pub fn deals() -> Vec<Deal> {
    let held = |payer, payee, units, until, posts, authority| Deal {
        hold: Some((START + until, posts)),
        authority: Some(authority),
        ..deal(payer, payee, units)
    };
    vec![
        deal(0, 1, 500),
        deal(0, 2, 300),
        deal(1, 2, 200),
        deal(2, 1, 400),
        deal(2, 3, 1),
        deal(3, 0, 250),
        held(1, 2, 150, 20, true, 3),
        held(1, 2, 150, 20, false, 3),
        held(2, 3, 100, 40, true, 5),
        held(2, 1, 300, 55, false, 2),
        held(3, 1, 50, 20, true, 3),
        held(0, 3, 700, 30, true, 6),
        held(1, 3, 10, 500, true, 3),
        deal(1, 4, 5),
        deal(4, 5, 5),
        deal(1, 6, 5),
        Deal { code: "USD", ..deal(0, 1, 5) },
        Deal { scale: 3, ..deal(0, 5, 7) },
        Deal { code: "JPY", scale: 0, ..deal(0, 4, 7) },
        Deal { scale: 3, ..deal(1, 5, 7) },
        Deal { here: false, ..deal(1, 2, 5) },
        held(1, 6, 5, 30, true, 2),
    ]
}

#[derive(Clone, Debug)]
pub enum Move {
    Order(usize, Verb, Who),
    Look(usize),
    Wait(u64),
    Open(Who, &'static str, u8),
    Close(Who, &'static str, u8),
    CrashWithGrace(u64),
}

/// splitmix64: the same numbers on every machine.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(end).unwrap()).unwrap()
    }

    pub fn pick_move(&mut self, deals: &[Deal]) -> Move {
        let index = self.below(deals.len());
        let deal = &deals[index];
        let who = match self.below(8) {
            0 => self.below(CAST),
            1..4 => deal.payer,
            4..6 => deal.payee,
            _ => deal.authority.unwrap_or(deal.payer),
        };
        let units = [1, deal.units, deal.units][self.below(3)];
        match self.below(20) {
            0..8 => Move::Order(index, Verb::Make, deal.payer),
            8 => Move::Order(index, Verb::Make, who),
            9..12 if deal.hold.is_some() => Move::Order(index, Verb::Post(units), who),
            12..15 if deal.hold.is_some() => Move::Order(index, Verb::Void, who),
            9..15 => Move::Look(index),
            15 | 16 => Move::Wait(u64::try_from(self.below(9)).unwrap()),
            17 => {
                let (code, scale) = [("EUR", 2), ("EUR", 3), ("JPY", 0), ("USD", 2)][self.below(4)];
                Move::Open(self.below(CAST), code, scale)
            }
            18 => {
                let (code, scale) = [("EUR", 2), ("EUR", 3), ("JPY", 0)][self.below(3)];
                // The issues stay open: without them nothing else would happen.
                Move::Close(1 + self.below(CAST - 1), code, scale)
            }
            _ => Move::CrashWithGrace(u64::try_from(self.below(6)).unwrap()),
        }
    }
}

/// What was committed.
#[derive(Clone, Default)]
struct Store {
    journal: Vec<Entry>,
    accounts: BTreeMap<AccountName, Account>,
    payments: BTreeMap<PaymentId, PaymentRecord>,
}

#[derive(Clone)]
pub struct Stage {
    deals: Arc<Vec<Deal>>,
    terms: Arc<Vec<PaymentTerms>>,
    /// Which deal ends first of those that end at one time: the order of the ids.
    rank: Arc<Vec<usize>>,
    books: Books,
    oracle: Oracle,
    store: Store,
    now: u64,
}

impl Stage {
    pub fn new(deals: Vec<Deal>) -> Self {
        let terms: Vec<_> = deals.iter().enumerate().map(|(number, deal)| terms(number, deal)).collect();
        let mut order: Vec<_> = (0..terms.len()).collect();
        order.sort_by_key(|index| terms[*index].id());
        let mut rank = vec![0; terms.len()];
        order.iter().enumerate().for_each(|(place, index)| rank[*index] = place);
        let books = Books::new(key(0), DurationMillis(LONGEST));
        let oracle = Oracle::new(deals.clone(), LONGEST);
        let (deals, terms, rank) = (Arc::new(deals), Arc::new(terms), Arc::new(rank));
        Self { deals, terms, rank, books, oracle, store: Store::default(), now: START }
    }

    pub fn deals(&self) -> &[Deal] {
        &self.deals
    }

    /// Who uses which currency, and some money for the first.
    pub fn open_everything(&mut self) {
        for (who, code, scale) in [
            (0, "EUR", 2),
            (0, "EUR", 3),
            (0, "JPY", 0),
            (1, "EUR", 2),
            (2, "EUR", 2),
            (3, "EUR", 2),
            (4, "JPY", 0),
            (5, "EUR", 3),
        ] {
            assert_eq!(self.play(&Move::Open(who, code, scale)), "open");
        }
        if self.deals.len() == 1 {
            // The one payment needs money: issued by an order that the oracle knows, too.
            let mut issue = self.deals.to_vec();
            issue.push(deal(0, 1, 150));
            *self = self.with_deals(issue);
            assert_eq!(self.play(&Move::Order(1, Verb::Make, 0)), "posted");
        }
    }

    /// The same stage, opened again with more deals.
    fn with_deals(&self, deals: Vec<Deal>) -> Self {
        let mut stage = Self::new(deals);
        stage.open_everything();
        stage
    }

    /// Plays one move on both sides; they must agree. What was answered, in one word.
    pub fn play(&mut self, step: &Move) -> String {
        let (now, rank) = (self.now, Arc::clone(&self.rank));
        if let Move::Wait(millis) = step {
            self.now += millis;
            self.oracle.tick(self.now, &rank);
            let changes = self.books.settle(UnixMillis(self.now));
            self.commit(changes);
            return "waited".to_owned();
        }
        if let Move::CrashWithGrace(grace) = step {
            // Time passes while nobody serves.
            self.now += 3;
            self.crash();
            self.books.give_grace(UnixMillis(self.now + grace));
            self.oracle.give_grace(self.now + grace);
            return "crashed".to_owned();
        }
        self.oracle.tick(now, &rank);
        let (ours, theirs) = match step {
            Move::Order(index, verb, who) => {
                let order = signed_order(&self.terms[*index], *verb, *who);
                let Ok(step) = self.books.pay(&order, &self.store.payments, UnixMillis(now));
                let told = self.told(step, |it| of_receipt(&it));
                (told, self.oracle.order(*index, *verb, *who))
            }
            Move::Look(index) => {
                let Ok(step) = self.books.payment(&self.terms[*index], &self.store.payments, UnixMillis(now));
                (self.told(step, |it| of_receipt(&it)), self.oracle.look(*index))
            }
            Move::Open(who, code, scale) => {
                let step = self.account_order(*who, code, *scale, AccountAction::Open);
                (self.told(step, |it| of_statement(&it)), self.oracle.open(*who, code, *scale))
            }
            Move::Close(who, code, scale) => {
                let step = self.account_order(*who, code, *scale, AccountAction::Close);
                (self.told(step, |it| of_statement(&it)), self.oracle.close(*who, code, *scale))
            }
            Move::Wait(_) | Move::CrashWithGrace(_) => unreachable!("done above"),
        };
        assert_eq!(ours, theirs, "{step:?} at {now}");
        match ours {
            Ok((state, ..)) => state.split(' ').next().unwrap().to_owned(),
            Err(reason) => reason.to_owned(),
        }
    }

    fn account_order(
        &mut self,
        who: Who,
        code: &str,
        scale: u8,
        action: AccountAction,
    ) -> Step<AccountStatement> {
        let (currency, account) = (Currency::new(code, scale).unwrap(), key(who));
        let order = AccountOrder { ledger: key(0), account, currency, action };
        self.books.order_account(&Verified::sign(order, &signer(who)), UnixMillis(self.now))
    }

    fn told<T>(&mut self, step: Step<T>, say: fn(T) -> Told) -> Result<Told, &'static str> {
        self.commit(step.changes);
        step.answer.map(say).map_err(|refused| refused.reason())
    }

    fn commit(&mut self, changes: Vec<Change>) {
        for Change { entry, accounts, payment } in changes {
            // What is stored is bytes.
            let stored = entry.encode();
            let number = u64::try_from(self.store.journal.len()).unwrap() + 1;
            self.store.journal.push(Entry::decode(number, &stored).unwrap());
            self.store.accounts.extend(accounts);
            if let Some(record) = payment {
                let entry = |mark: arbiter_protocol::ledger::Mark| {
                    &self.store.journal[usize::try_from(mark.entry).unwrap() - 1]
                };
                let made = record.made.map(|made| entry(made.mark));
                let ended = record.ended.map(|end| entry(end.by.mark));
                // the journal alone says what a payment is.
                assert_eq!(PaymentRecord::read(made, ended), Ok(record.clone()));
                self.store.payments.insert(record.terms.id(), record);
            }
        }
    }

    /// Only what was committed is left.
    pub fn crash(&mut self) {
        let kept = Kept {
            entries: u64::try_from(self.store.journal.len()).unwrap(),
            time: self.store.journal.last().map_or(UnixMillis(0), |entry| entry.time),
            accounts: self.store.accounts.clone().into_iter().collect(),
            open: self.store.payments.values().filter(|it| it.is_open()).cloned().collect(),
        };
        self.books = Books::restore(key(0), DurationMillis(LONGEST), kept).unwrap();
        self.oracle.give_grace(0);
        self.oracle.tick(self.now, &self.rank);
        let changes = self.books.settle(UnixMillis(self.now));
        self.commit(changes);
        self.compare();
    }

    /// every sum and every balance.
    pub fn compare(&self) {
        self.books.check().unwrap();
        assert_eq!(self.books.entries(), self.oracle.entries);
        let ours: BTreeMap<_, _> = self
            .books
            .accounts()
            .map(|(name, account)| {
                let place = match name {
                    AccountName::Issue(currency) => (0, format!("{}{}", currency.code(), currency.scale())),
                    AccountName::Holder(holder) => {
                        ((1..CAST).find(|who| key(*who) == *holder).unwrap(), String::new())
                    }
                };
                (place, (account.available, account.reserved, account.incoming))
            })
            .collect();
        assert_eq!(ours, self.oracle.balances());
    }

    /// The journal gives the same books again.
    pub fn replay(&self) {
        let mut books = Books::new(key(0), DurationMillis(u64::MAX));
        let mut payments = BTreeMap::new();
        for entry in &self.store.journal {
            let change = books.replay(entry, &payments).unwrap();
            assert_eq!(change.entry, *entry);
            payments.extend(change.payment.map(|it| (it.terms.id(), it)));
        }
        assert_eq!(payments, self.store.payments);
        assert!(books.accounts().eq(self.store.accounts.iter()));
        assert!(books.reservations().eq(self.books.reservations()));
    }
}

fn terms(number: usize, deal: &Deal) -> PaymentTerms {
    let payment = Payment {
        ledger: if deal.here { key(0) } else { key(6) },
        payer: key(deal.payer),
        payee: key(deal.payee),
        amount: Amount::new(deal.units, Currency::new(deal.code, deal.scale).unwrap()).unwrap(),
        hold: deal.hold.map(|(until, posts)| Hold {
            until: UnixMillis(until),
            timeout: if posts { Timeout::Post } else { Timeout::Void },
        }),
    };
    let reference = Digest::of(&[&number.to_be_bytes()]);
    PaymentTerms { payment, authority: deal.authority.map(key), reference }
}

/// Signing costs more than everything else here: each order is signed once.
fn signed_order(terms: &PaymentTerms, verb: Verb, who: Who) -> Arc<Verified<PaymentOrder>> {
    use std::sync::Mutex;
    type Signed = BTreeMap<(PaymentId, u64, Who), Arc<Verified<PaymentOrder>>>;
    static SIGNED: Mutex<Signed> = Mutex::new(BTreeMap::new());
    let (number, action) = match verb {
        Verb::Make => (u64::MAX, PaymentAction::Make),
        Verb::Post(units) => (units, PaymentAction::Post(units)),
        Verb::Void => (0, PaymentAction::Void),
    };
    let mut signed = SIGNED.lock().unwrap();
    let order = signed.entry((terms.id(), number, who)).or_insert_with(|| {
        Arc::new(Verified::sign(PaymentOrder { terms: terms.clone(), action }, &signer(who)))
    });
    Arc::clone(order)
}

fn of_receipt(receipt: &PaymentReceipt) -> Told {
    let state = match receipt.state {
        PaymentState::Absent => "absent".to_owned(),
        PaymentState::Reserved => "reserved".to_owned(),
        PaymentState::Posted(units) => format!("posted {units}"),
        PaymentState::Voided => "voided".to_owned(),
    };
    (state, receipt.entry, receipt.time.0)
}

fn of_statement(statement: &AccountStatement) -> Told {
    assert_eq!((statement.available, statement.reserved, statement.incoming), (0, 0, 0));
    let state = match statement.state {
        AccountState::Open => "open",
        AccountState::Closed => "closed",
    };
    (state.to_owned(), statement.entry, statement.time.0)
}
