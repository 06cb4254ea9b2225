//! Each rule of a ledger by itself, and the refusals that random schedules do not reach.

use std::collections::BTreeMap;

use arbiter_protocol::crypto::MemorySigner;
use arbiter_protocol::error::Invalid;
use arbiter_protocol::exchange::payment::{Amount, Currency, Hold, Payment, Timeout};
use arbiter_protocol::ids::Digest;
use arbiter_protocol::ledger::{
    AccountName, Books, Cause, Circulation, Damage, Entry, Kept, LedgerRejected, MemoryLedger, PaymentRecord,
};
use arbiter_protocol::limits;
use arbiter_protocol::message::account::{AccountAction, AccountOrder, AccountQuery, AccountState};
use arbiter_protocol::message::payment::{PaymentAction, PaymentOrder, PaymentState, PaymentTerms};
use arbiter_protocol::statement::{Envelope, Signed, Verified};
use arbiter_protocol::time::{DurationMillis, UnixMillis};

use super::stage::{key, signer};

const NOW: UnixMillis = UnixMillis(1_000);
const UNTIL: UnixMillis = UnixMillis(2_000);

fn euro() -> Currency {
    Currency::new("EUR", 2).unwrap()
}

/// Accounts of 1, 2 and 3, with 100.00 EUR in that of 1.
fn ledger() -> MemoryLedger {
    let mut ledger = MemoryLedger::new(Box::new(signer(0)));
    for who in 1..=3 {
        ledger.open(&signer(who), &euro(), NOW).unwrap();
    }
    let issued = ledger.issue(key(1), Amount::parse("100.00 EUR").unwrap(), Digest::of(&[b"first"]), NOW);
    assert_eq!(issued.unwrap().state, PaymentState::Posted(10_000));
    ledger
}

/// From 1 to 2, under the authority of 3.
fn held(units: u64, until: UnixMillis, timeout: Timeout, reference: &str) -> PaymentTerms {
    let amount = Amount::new(units, euro()).unwrap();
    let hold = Some(Hold { until, timeout });
    let payment = Payment { ledger: key(0), payer: key(1), payee: key(2), amount, hold };
    PaymentTerms { payment, authority: Some(key(3)), reference: Digest::of(&[reference.as_bytes()]) }
}

fn order(terms: &PaymentTerms, action: PaymentAction, by: usize) -> Envelope {
    Verified::sign(PaymentOrder { terms: terms.clone(), action }, &signer(by)).envelope().clone()
}

fn account_order(account: usize, action: AccountAction) -> AccountOrder {
    AccountOrder { ledger: key(0), account: key(account), currency: euro(), action }
}

fn query(account: usize, time: UnixMillis, by: &MemorySigner) -> Envelope {
    let query = AccountQuery { ledger: key(0), account: key(account), time };
    Verified::sign(query, by).envelope().clone()
}

fn available(ledger: &MemoryLedger, who: usize) -> (i128, u128, u128) {
    let name = AccountName::Holder(key(who));
    let account = ledger.books().account_of(&name).unwrap();
    (account.available, account.reserved, account.incoming)
}

fn reason<T: std::fmt::Debug>(result: Result<T, LedgerRejected>) -> &'static str {
    result.unwrap_err().reason()
}

/// byte for byte, whatever happened since, whoever of those who may gives the order.
#[test]
fn the_same_order_has_the_same_receipt_for_ever() {
    let mut ledger = ledger();
    let terms = held(4_000, UNTIL, Timeout::Post, "bicycle");
    let make = order(&terms, PaymentAction::Make, 1);
    let made = ledger.order_payment(make.clone(), NOW).unwrap();
    assert_eq!((made.state, made.order), (PaymentState::Reserved, Some(make.digest())));
    assert!(made.is_effective() && !made.is_final());
    assert_eq!(available(&ledger, 1), (6_000, 4_000, 0));
    assert_eq!(available(&ledger, 2), (0, 0, 4_000));

    let later = UnixMillis(1_500);
    let posted = ledger.order_payment(order(&terms, PaymentAction::Post(1_500), 3), later).unwrap();
    assert_eq!((posted.state, posted.time), (PaymentState::Posted(1_500), later));
    assert!(!posted.is_effective() && posted.is_final());
    assert_eq!(available(&ledger, 1), (8_500, 0, 0));
    assert_eq!(available(&ledger, 2), (1_500, 0, 0));

    let entries = ledger.journal().len();
    for (again, expected) in [(make, &made), (order(&terms, PaymentAction::Post(1_500), 3), &posted)] {
        let answer = ledger.order_payment(again, UnixMillis(9_000)).unwrap();
        assert_eq!(answer.envelope().encode(), expected.envelope().encode());
    }
    let now = ledger.payment(&terms, UnixMillis(9_000)).unwrap();
    assert_eq!(now.envelope().encode(), posted.envelope().encode());
    assert_eq!(ledger.journal().len(), entries, "nothing was entered");
    // Anybody can check it offline.
    let receipt = Envelope::decode(&posted.envelope().encode()).unwrap();
    assert!(Signed::parse(receipt).unwrap().verify(&key(0)).unwrap() == posted);

    for (action, by, expected) in [
        (PaymentAction::Post(1_499), 3, "PAYMENT_POSTED"),
        (PaymentAction::Post(4_000), 1, "PAYMENT_POSTED"),
        (PaymentAction::Void, 2, "PAYMENT_POSTED"),
        (PaymentAction::Void, 3, "PAYMENT_POSTED"),
    ] {
        assert_eq!(reason(ledger.order_payment(order(&terms, action, by), UNTIL)), expected);
    }
}

/// who may do what.
#[test]
fn only_who_may_gives_an_order() {
    let mut ledger = ledger();
    let terms = held(10, UNTIL, Timeout::Post, "who");
    for (action, may) in [
        (PaymentAction::Make, vec![1]),
        (PaymentAction::Post(10), vec![1, 3]),
        // A part would take the rest back.
        (PaymentAction::Post(9), vec![3]),
        (PaymentAction::Void, vec![2, 3]),
    ] {
        for who in (0..=5).filter(|who| !may.contains(who)) {
            let answer = ledger.order_payment(order(&terms, action, who), NOW);
            assert_eq!(reason(answer), "SIGNER_NOT_ENTITLED", "{action:?} by {who}");
        }
    }
    // A signature of somebody else under the right name.
    let wire = order(&terms, PaymentAction::Make, 2).to_wire();
    let mut forged = wire.clone();
    forged.signatures[0].key_id = key(1).to_vec();
    let forged = ledger.order_payment(Envelope::from_wire(forged).unwrap(), NOW);
    assert_eq!(reason(forged), "SIGNATURE_INVALID");
    assert_eq!(ledger.payment(&terms, NOW).unwrap().state, PaymentState::Absent);
}

/// after a void nothing is posted, and the other way round; after a time-out neither, unless it is what was
/// asked for.
#[test]
fn a_payment_ends_once() {
    for (timeout, ended) in [(Timeout::Post, PaymentState::Posted(50)), (Timeout::Void, PaymentState::Voided)]
    {
        let mut ledger = ledger();
        let terms = held(50, UNTIL, timeout, "once");
        ledger.order_payment(order(&terms, PaymentAction::Make, 1), NOW).unwrap();
        // One moment before its end nothing happens by itself.
        ledger.settle(UnixMillis(UNTIL.0 - 1));
        assert_eq!(ledger.books().next_due(), Some(UNTIL));
        let receipt = ledger.payment(&terms, UNTIL).unwrap();
        assert_eq!((receipt.state, receipt.time, receipt.order), (ended, UNTIL, None));
        let post = ledger.order_payment(order(&terms, PaymentAction::Post(50), 3), UNTIL);
        let void = ledger.order_payment(order(&terms, PaymentAction::Void, 3), UNTIL);
        let (same, refused, expected) = match timeout {
            Timeout::Post => (post, void, "PAYMENT_POSTED"),
            Timeout::Void => (void, post, "PAYMENT_VOIDED"),
        };
        assert!(same.unwrap() == receipt);
        assert_eq!(reason(refused), expected);
    }
}

/// at one time the earlier hold ends first, and of equal ones that with the lower id; then comes the order itself.
#[test]
fn holds_end_in_a_fixed_order_before_anything_else() {
    let mut ledger = ledger();
    let all: Vec<_> =
        (0..6).map(|n| held(7, UnixMillis(1_500 + n % 2 * 100), Timeout::Post, &n.to_string())).collect();
    for terms in &all {
        ledger.order_payment(order(terms, PaymentAction::Make, 1), NOW).unwrap();
    }
    let first = ledger.journal().len();
    let late = order(&all[3], PaymentAction::Void, 2);
    assert_eq!(reason(ledger.order_payment(late, UnixMillis(1_700))), "PAYMENT_POSTED");
    let ended: Vec<_> = ledger.journal()[first..]
        .iter()
        .map(|entry| match entry.cause {
            Cause::TimeOut(id) => id,
            _ => panic!("{entry:?}"),
        })
        .collect();
    let mut expected: Vec<_> = all.iter().map(|it| (it.payment.hold.unwrap().until, it.id())).collect();
    expected.sort();
    assert_eq!(ended, expected.into_iter().map(|(_, id)| id).collect::<Vec<_>>());
}

/// the arbiter's void may come before the payment, and then the payment never comes.
#[test]
fn a_payment_that_was_voided_before_it_was_made_never_is() {
    let mut ledger = ledger();
    let terms = held(10, UNTIL, Timeout::Post, "early");
    let voided = ledger.order_payment(order(&terms, PaymentAction::Void, 3), NOW).unwrap();
    assert_eq!(voided.state, PaymentState::Voided);
    assert_eq!(reason(ledger.order_payment(order(&terms, PaymentAction::Make, 1), NOW)), "PAYMENT_VOIDED");
    assert_eq!(
        reason(ledger.order_payment(order(&terms, PaymentAction::Post(10), 1), NOW)),
        "PAYMENT_VOIDED"
    );
    // The payee's void is the same order.
    assert!(ledger.order_payment(order(&terms, PaymentAction::Void, 2), UNTIL).unwrap() == voided);
    assert_eq!(available(&ledger, 1), (10_000, 0, 0));
}

/// nor one between accounts that do not exist yet, or have another currency: the arbiter's order always has an end.
#[test]
fn a_void_does_not_wait_for_accounts() {
    let mut ledger = ledger();
    let terms = held(10, UNTIL, Timeout::Post, "strange");
    let mut strange = terms.clone();
    strange.payment.payer = key(6);
    let mut other = terms;
    other.payment.amount = Amount::parse("1 JPY").unwrap();
    for terms in [&strange, &other] {
        let voided = ledger.order_payment(order(terms, PaymentAction::Void, 3), NOW).unwrap();
        assert_eq!((voided.state, &voided.terms), (PaymentState::Voided, terms));
    }
    // The account is opened, and the payment stays what it is.
    ledger.open(&signer(6), &euro(), NOW).unwrap();
    ledger.issue(key(6), Amount::new(100, euro()).unwrap(), Digest::of(&[b"late"]), NOW).unwrap();
    assert_eq!(reason(ledger.order_payment(order(&strange, PaymentAction::Make, 6), NOW)), "PAYMENT_VOIDED");
    assert_eq!(available(&ledger, 6), (100, 0, 0));
}

/// what is issued stays below a limit, so no sum overflows anywhere.
#[test]
fn no_more_is_issued_than_fits() {
    let mut ledger = ledger();
    let most = Amount::new(limits::AMOUNT_UNITS, euro()).unwrap();
    let rounds = limits::CIRCULATION_UNITS / limits::AMOUNT_UNITS;
    for round in 0..rounds {
        let issued = ledger.issue(key(2), most.clone(), Digest::of(&[&round.to_be_bytes()]), NOW);
        // 100.00 EUR are out already.
        assert_eq!(issued.is_ok(), round + 1 < rounds, "{round}");
        if round + 1 == rounds {
            assert_eq!(reason(issued), "CIRCULATION_FULL");
        }
    }
    let rest = Amount::new(limits::AMOUNT_UNITS - 10_000, euro()).unwrap();
    ledger.issue(key(2), rest, Digest::of(&[b"rest"]), NOW).unwrap();
    let one = Amount::parse("0.01 EUR").unwrap();
    assert_eq!(reason(ledger.issue(key(2), one, Digest::of(&[b"one"]), NOW)), "CIRCULATION_FULL");
    let units = limits::CIRCULATION_UNITS.into();
    assert_eq!(ledger.books().check(), Ok(vec![Circulation { currency: euro(), units, accounts: 3 }]));
    let statement = ledger.account(query(2, NOW, &signer(2)), NOW).unwrap();
    assert_eq!(u64::try_from(statement.available), Ok(limits::CIRCULATION_UNITS - 10_000));
}

/// an account is opened once and closed at most once; nothing in it is lost by that.
#[test]
fn an_account_is_closed_empty_and_for_ever() {
    let mut ledger = ledger();
    let signed = |who, action| Verified::sign(account_order(who, action), &signer(who)).envelope().clone();
    let terms = held(10, UNTIL, Timeout::Void, "keeps it open");
    ledger.order_payment(order(&terms, PaymentAction::Make, 1), NOW).unwrap();
    // Something in it, and something coming.
    for who in [1, 2] {
        let closed = ledger.order_account(signed(who, AccountAction::Close), NOW);
        assert_eq!(reason(closed), "ACCOUNT_NOT_EMPTY");
    }
    ledger.settle(UNTIL);
    let closed = ledger.order_account(signed(2, AccountAction::Close), UNTIL).unwrap();
    assert_eq!((closed.state, closed.time), (AccountState::Closed, UNTIL));
    assert!(ledger.order_account(signed(2, AccountAction::Close), UnixMillis(5_000)).unwrap() == closed);
    assert_eq!(reason(ledger.order_account(signed(2, AccountAction::Open), UNTIL)), "ACCOUNT_CLOSED");
    let late = held(10, UnixMillis(9_000), Timeout::Post, "late");
    assert_eq!(reason(ledger.order_payment(order(&late, PaymentAction::Make, 1), UNTIL)), "ACCOUNT_CLOSED");

    // Opening again tells nothing new: who overhears the order must not learn the balance.
    let opened = ledger.order_account(signed(1, AccountAction::Open), UnixMillis(5_000)).unwrap();
    assert_eq!((opened.state, opened.available, opened.time), (AccountState::Open, 0, NOW));
    let mut other = account_order(1, AccountAction::Open);
    other.ledger = key(5);
    let other = Verified::sign(other, &signer(1)).envelope().clone();
    assert_eq!(reason(ledger.order_account(other, NOW)), "OTHER_LEDGER");
    let forged = Verified::sign(account_order(1, AccountAction::Close), &signer(2)).envelope().clone();
    assert_eq!(reason(ledger.order_account(forged, NOW)), "SIGNER_NOT_ENTITLED");
}

/// what is in an account is told to its holder only, and only now.
#[test]
fn only_the_holder_reads_an_account_and_no_query_lives_long() {
    let mut ledger = ledger();
    let fresh = limits::QUERY_FRESH;
    let now = NOW.after(fresh).after(fresh);
    let statement = ledger.account(query(1, now, &signer(1)), now).unwrap();
    assert_eq!((statement.available, statement.time, statement.entry), (10_000, now, 5));
    assert_eq!(reason(ledger.account(query(1, now, &signer(2)), now)), "SIGNER_NOT_ENTITLED");
    assert_eq!(reason(ledger.account(query(6, now, &signer(6)), now)), "ACCOUNT_UNKNOWN");
    let mut other = AccountQuery { ledger: key(5), account: key(1), time: now };
    let signed = Verified::sign(other.clone(), &signer(1)).envelope().clone();
    assert_eq!(reason(ledger.account(signed, now)), "OTHER_LEDGER");
    for (time, good) in [
        (now.before(fresh), true),
        (now.before(DurationMillis(fresh.0 + 1)), false),
        (now.after(fresh), true),
        (now.after(DurationMillis(fresh.0 + 1)), false),
    ] {
        other = AccountQuery { ledger: key(0), account: key(1), time };
        let answer = ledger.account(Verified::sign(other, &signer(1)).envelope().clone(), now);
        assert_eq!(answer.is_ok(), good, "{time}");
        if !good {
            assert_eq!(reason(answer), "QUERY_STALE");
        }
    }
}

/// the first and the last end that a hold may have, and one moment beyond each.
#[test]
fn a_hold_ends_after_now_and_not_after_the_longest() {
    let mut ledger = ledger();
    let latest = NOW.after(DurationMillis(3650 * 24 * 60 * 60 * 1000));
    for (until, expected) in [
        (NOW, Err("HOLD_OVER")),
        (UnixMillis(NOW.0 + 1), Ok(PaymentState::Reserved)),
        (latest, Ok(PaymentState::Reserved)),
        (UnixMillis(latest.0 + 1), Err("HOLD_TOO_LONG")),
    ] {
        let terms = held(1, until, Timeout::Post, &until.to_string());
        let answer = ledger.order_payment(order(&terms, PaymentAction::Make, 1), NOW);
        assert_eq!(answer.map(|it| it.state).map_err(|it| it.reason()), expected, "{until}");
    }
}

/// time that goes back stands still.
#[test]
fn the_books_time_never_goes_back() {
    let mut ledger = ledger();
    let terms = held(10, UNTIL, Timeout::Post, "time");
    ledger.settle(UnixMillis(1_800));
    let made = ledger.order_payment(order(&terms, PaymentAction::Make, 1), UnixMillis(5)).unwrap();
    assert_eq!(made.time, UnixMillis(1_800));
    assert!(ledger.journal().windows(2).all(|pair| pair[0].time <= pair[1].time));
}

/// stored bytes have one form; damage is found.
#[test]
fn damaged_entries_and_books_are_found() {
    let mut ledger = ledger();
    let terms = held(10, UNTIL, Timeout::Post, "damage");
    ledger.order_payment(order(&terms, PaymentAction::Make, 1), NOW).unwrap();
    ledger.settle(UNTIL);
    for entry in ledger.journal() {
        let bytes = entry.encode();
        let number = entry.number;
        assert_eq!(Entry::decode(number, &bytes), Ok(entry.clone()));
        assert_eq!(Entry::decode(number + 1, &bytes), Err(Damage::Entry { entry: number + 1 }));
        for cut in 0..bytes.len() {
            assert_eq!(Entry::decode(number, &bytes[..cut]), Err(Damage::Entry { entry: number }));
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(Entry::decode(number, &longer).is_err());
        for (at, byte) in [(0, 2), (8, 99), (17, 4), (17, 0)] {
            let mut other = bytes.clone();
            other[at] = byte;
            assert!(Entry::decode(number, &other).is_err(), "{at}");
        }
    }

    let replay = |journal: &[Entry]| {
        let mut books = Books::new(key(0), DurationMillis(u64::MAX));
        let mut payments = BTreeMap::new();
        for entry in journal {
            let change = books.replay(entry, &payments)?;
            payments.extend(change.payment.map(|it: PaymentRecord| (it.terms.id(), it)));
        }
        Ok::<_, Damage>(books.entries())
    };
    let journal = ledger.journal().to_vec();
    assert_eq!(replay(&journal), Ok(7));
    let with = |change: fn(&mut Vec<Entry>)| {
        let mut copy = journal.clone();
        change(&mut copy);
        replay(&copy).unwrap_err()
    };
    let wrong = |entry, reason| Damage::Replay { entry, reason };
    assert_eq!(with(|it| drop(it.remove(2))), Damage::Gap { entry: 3 });
    assert_eq!(with(|it| it[6].time = UnixMillis(1_999)), wrong(7, "HOLD_NOT_OVER"));
    assert_eq!(with(|it| it[6].time = UnixMillis(1)), wrong(7, "TIME_WENT_BACK"));
    assert_eq!(with(|it| it[6].cause = it[5].cause.clone()), wrong(7, "NOTHING_CHANGED"));
    assert_eq!(with(|it| it[4].cause = it[0].cause.clone()), wrong(5, "NOTHING_CHANGED"));
    // Money from nowhere: the payer's order in place of the issue.
    assert_eq!(with(|it| it[4].cause = it[5].cause.clone()), wrong(5, "INSUFFICIENT_FUNDS"));

    let open = |units| {
        let mut ledger = self::ledger();
        let terms = held(units, UNTIL, Timeout::Post, "open");
        ledger.order_payment(order(&terms, PaymentAction::Make, 1), NOW).unwrap();
        let books = ledger.books();
        Kept {
            entries: books.entries(),
            time: books.time(),
            accounts: books.accounts().map(|(name, it)| (name.clone(), it.clone())).collect(),
            open: books.reservations().cloned().collect(),
        }
    };
    let restore = |kept| Books::restore(key(0), DurationMillis(9_999), kept).map(|_| ());
    assert_eq!(restore(open(10)), Ok(()));
    let lost = Kept { open: Vec::new(), ..open(10) };
    assert_eq!(restore(lost), Err(Damage::Reserved { account: key(1) }.either(key(2))));
    let mut more = open(10);
    more.accounts.iter_mut().for_each(|(_, it)| it.available += 1);
    assert_eq!(restore(more), Err(Damage::Unbalanced { currency: euro() }));
    let short = Kept { entries: 5, ..open(10) };
    assert_eq!(restore(short), Err(Damage::Gap { entry: 6 }));
}

/// Which of two accounts is named depends on the order of the keys.
trait Either {
    fn either(self, other: arbiter_protocol::ids::PublicKey) -> Self;
}

impl Either for Damage {
    fn either(self, other: arbiter_protocol::ids::PublicKey) -> Self {
        match self {
            Self::Reserved { account } => Self::Reserved { account: account.min(other) },
            it => it,
        }
    }
}

/// an amount of nothing, or of too much, is no order at all.
#[test]
fn amounts_out_of_range_do_not_arrive() {
    let bad = Err(Invalid::FieldValue { field: "units" });
    for units in [0, limits::AMOUNT_UNITS + 1, u64::MAX] {
        assert_eq!(Amount::new(units, euro()), bad);
    }
    let terms = held(10, UNTIL, Timeout::Post, "too much");
    for units in [0, 11] {
        let order = PaymentOrder { terms: terms.clone(), action: PaymentAction::Post(units) };
        let parsed = Signed::<PaymentOrder>::parse(Verified::sign(order, &signer(1)).envelope().clone());
        assert_eq!(parsed.map(drop), Err(Invalid::FieldValue { field: "units" }), "{units}");
    }
    // Nothing but a hold can be posted or voided.
    let mut at_once = terms;
    (at_once.payment.hold, at_once.authority) = (None, None);
    for action in [PaymentAction::Post(1), PaymentAction::Void] {
        let order = PaymentOrder { terms: at_once.clone(), action };
        let parsed = Signed::<PaymentOrder>::parse(Verified::sign(order, &signer(1)).envelope().clone());
        assert_eq!(parsed.map(drop), Err(Invalid::FieldValue { field: "action" }));
    }
}
