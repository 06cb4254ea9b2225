//! The ledger as a service: every reason over the wire, restarts, holds that end by themselves, damage.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may fail")]

#[path = "ledger/damage.rs"]
mod damage;
#[path = "ledger/program.rs"]
mod program;
#[path = "ledger/support.rs"]
mod support;

use std::path::Path;
use std::time::Duration;

use arbiter::clock::ManualClock;
use arbiter::grpc::{Server, Transport};
use arbiter::ledger::store::Store;
use arbiter::ledger::{Ended, Handle, Options, StartError, fsck};
use arbiter_protocol::exchange::payment::{Currency, Timeout};
use arbiter_protocol::message::account::{AccountAction, AccountState};
use arbiter_protocol::message::payment::{PaymentAction, PaymentState};
use arbiter_protocol::time::{DurationMillis, UnixMillis};
use arbiter_protocol::wire::ledger as proto;
use support::*;
use tokio::net::TcpListener;
use tonic::Code;

const LEDGER: u8 = 1;
const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
const CAST_SIZE: u64 = 100_000;

fn after(millis: u64) -> UnixMillis {
    NOW.after(DurationMillis(millis))
}

/// A served ledger whose clock the test sets.
struct Bank {
    ledger: Handle,
    server: Server,
    clock: ManualClock,
    cast: Cast,
    caller: Caller,
}

impl Bank {
    /// Its book is in `file`; what was in it before stays.
    async fn at(file: &Path, now: UnixMillis, grace: DurationMillis) -> Self {
        Self::of(Store::open(file, key(LEDGER)).unwrap(), now, grace).await
    }

    async fn of(store: Store, now: UnixMillis, grace: DurationMillis) -> Self {
        let clock = ManualClock::new(now);
        let options = Options {
            name: "Test bank".to_owned(),
            terms: "none".to_owned(),
            currencies: vec![euro(), Currency::new("JPY", 0).unwrap(), Currency::new("EUR", 3).unwrap()],
            longest_hold: DurationMillis(1_000_000),
            grace,
            accept_clock: false,
        };
        let ledger =
            Handle::start(Box::new(signer(LEDGER)), store, options, Box::new(clock.clone())).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server::start_ledger(Transport::default(), listener, ledger.clone()).await.unwrap();
        let client = client(&server.address().to_string()).await;
        let cast = Cast { ledger: key(LEDGER) };
        let caller = Caller { client, ledger: key(LEDGER) };
        Self { ledger, server, clock, cast, caller }
    }

    /// In memory, with accounts of Alice and Bob and 1000.00 EUR in hers.
    async fn funded() -> Self {
        let store = Store::in_memory(key(LEDGER)).unwrap();
        let mut bank = Self::of(store, NOW, DurationMillis(0)).await;
        bank.fund().await;
        bank
    }

    async fn fund(&mut self) {
        for who in [ALICE, BOB] {
            let opened = self.cast.account_order(who, euro(), AccountAction::Open);
            assert_eq!(self.caller.order_account(opened).await.unwrap().state, AccountState::Open);
        }
        let issue = self.cast.issue(&signer(LEDGER), ALICE, CAST_SIZE, "funds");
        assert_eq!(self.caller.order(issue).await.unwrap().state, PaymentState::Posted(CAST_SIZE));
    }

    async fn available(&mut self, who: u8) -> (i64, u64, u64) {
        let query = self.cast.query(who, self.ledger.now());
        let statement = self.caller.account(query).await.unwrap();
        (statement.available, statement.reserved, statement.incoming)
    }

    async fn stop(self) {
        self.server.stop().await.unwrap();
        assert_eq!(self.ledger.stop().await, Ended::Stopped);
    }
}

/// Who it is, and what it takes.
#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_says_who_it_is() {
    let mut bank = Bank::funded().await;
    let info = bank.caller.client.get_ledger_info(proto::GetLedgerInfoRequest {}).await.unwrap().into_inner();
    assert_eq!(
        (info.key, info.name, info.terms),
        (key(LEDGER).to_vec(), "Test bank".to_owned(), "none".to_owned())
    );
    let currencies: Vec<_> = info.currencies.iter().map(|it| (it.code.as_str(), it.scale)).collect();
    assert_eq!(currencies, [("EUR", 2), ("EUR", 3), ("JPY", 0)]);
    assert_eq!(info.limits.unwrap().longest_hold_ms, 1_000_000);
    assert_eq!(info.clock, NOW.0);
    bank.stop().await;
}

/// the two phases, and the same bytes for the same order.
#[tokio::test(flavor = "multi_thread")]
async fn money_is_reserved_posted_in_part_and_never_twice() {
    let mut bank = Bank::funded().await;
    let terms = bank.cast.held(5_000, after(1_000), Timeout::Post, "part");
    assert_eq!(bank.caller.payment(&terms).await.unwrap().state, PaymentState::Absent);
    let made = bank.caller.order(order(&terms, PaymentAction::Make, ALICE)).await.unwrap();
    assert_eq!(made.state, PaymentState::Reserved);
    assert_eq!(bank.available(ALICE).await, (95_000, 5_000, 0));
    assert_eq!(bank.available(BOB).await, (0, 0, 5_000));
    let posted = bank.caller.order(order(&terms, PaymentAction::Post(2_000), ARBITER)).await.unwrap();
    assert_eq!(posted.state, PaymentState::Posted(2_000));
    assert_eq!(bank.available(ALICE).await, (98_000, 0, 0));
    assert_eq!(bank.available(BOB).await, (2_000, 0, 0));
    for _ in 0..2 {
        let again = bank.caller.order(order(&terms, PaymentAction::Make, ALICE)).await.unwrap();
        assert_eq!(again.envelope().encode(), made.envelope().encode());
        let again = bank.caller.order(order(&terms, PaymentAction::Post(2_000), ARBITER)).await.unwrap();
        assert_eq!(again.envelope().encode(), posted.envelope().encode());
    }
    let void = bank.caller.order(order(&terms, PaymentAction::Void, ARBITER)).await;
    let status = assert_reason(void, Code::FailedPrecondition, "PAYMENT_POSTED");
    use tonic_types::StatusExt as _;
    assert_eq!(status.get_details_error_info().unwrap().metadata["units"], "2000");
    bank.stop().await;
}

/// each refusal has its own reason, and changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_has_its_reason() {
    let mut bank = Bank::funded().await;
    let cast = bank.cast;
    let (make, post, void) = (PaymentAction::Make, PaymentAction::Post(100), PaymentAction::Void);
    let good = cast.held(100, after(5_000), Timeout::Post, "good");
    let with = |change: fn(&mut arbiter_protocol::message::payment::PaymentTerms)| {
        let mut terms = good.clone();
        change(&mut terms);
        terms
    };
    let stranger = with(|it| it.payment.payee = key(77));
    let poor = cast.at_once(BOB, ALICE, 1, "poor");
    let other_ledger = with(|it| it.payment.ledger = key(2));
    let yen = with(|it| it.payment.amount.currency = Currency::new("JPY", 0).unwrap());
    let fine = with(|it| it.payment.amount.currency = Currency::new("EUR", 3).unwrap());
    let over = with(|it| it.payment.hold.as_mut().unwrap().until = NOW);
    let far = with(|it| it.payment.hold.as_mut().unwrap().until = after(1_000_001));
    let dollar = with(|it| {
        it.payment.payer = key(LEDGER);
        it.payment.amount.currency = Currency::new("USD", 2).unwrap();
    });
    for (terms, action, by, code, reason) in [
        (&good, make, BOB, Code::PermissionDenied, "SIGNER_NOT_ENTITLED"),
        (&good, make, ARBITER, Code::PermissionDenied, "SIGNER_NOT_ENTITLED"),
        (&good, void, ALICE, Code::PermissionDenied, "SIGNER_NOT_ENTITLED"),
        (&good, post, BOB, Code::PermissionDenied, "SIGNER_NOT_ENTITLED"),
        (&good, PaymentAction::Post(99), ALICE, Code::PermissionDenied, "SIGNER_NOT_ENTITLED"),
        (&good, post, ARBITER, Code::NotFound, "PAYMENT_ABSENT"),
        (&other_ledger, make, ALICE, Code::FailedPrecondition, "OTHER_LEDGER"),
        (&stranger, make, ALICE, Code::NotFound, "ACCOUNT_UNKNOWN"),
        (&poor, make, BOB, Code::FailedPrecondition, "INSUFFICIENT_FUNDS"),
        (&yen, make, ALICE, Code::FailedPrecondition, "CURRENCY_MISMATCH"),
        (&fine, make, ALICE, Code::FailedPrecondition, "SCALE_MISMATCH"),
        (&over, make, ALICE, Code::FailedPrecondition, "HOLD_OVER"),
        (&far, make, ALICE, Code::FailedPrecondition, "HOLD_TOO_LONG"),
        (&dollar, make, LEDGER, Code::FailedPrecondition, "CURRENCY_UNKNOWN"),
    ] {
        let answer = bank.caller.order(order(terms, action, by)).await;
        assert_reason(answer, code, reason);
    }
    let before = bank.caller.payment(&good).await.unwrap();
    assert_eq!((before.state, before.entry), (PaymentState::Absent, 0));

    // Ended one way, it does not end the other.
    bank.caller.order(order(&good, make, ALICE)).await.unwrap();
    bank.caller.order(order(&good, void, BOB)).await.unwrap();
    let answer = bank.caller.order(order(&good, post, ALICE)).await;
    assert_reason(answer, Code::FailedPrecondition, "PAYMENT_VOIDED");
    let early = cast.held(100, after(5_000), Timeout::Post, "early");
    bank.caller.order(order(&early, void, ARBITER)).await.unwrap();
    let answer = bank.caller.order(order(&early, make, ALICE)).await;
    assert_reason(answer, Code::FailedPrecondition, "PAYMENT_VOIDED");
    let twice = cast.held(100, after(5_000), Timeout::Post, "twice");
    bank.caller.order(order(&twice, make, ALICE)).await.unwrap();
    bank.caller.order(order(&twice, PaymentAction::Post(7), ARBITER)).await.unwrap();
    let answer = bank.caller.order(order(&twice, PaymentAction::Post(8), ARBITER)).await;
    assert_reason(answer, Code::FailedPrecondition, "PAYMENT_POSTED");

    // Accounts.
    let orders = [
        (
            cast.account_order(ALICE, euro(), AccountAction::Close),
            Code::FailedPrecondition,
            "ACCOUNT_NOT_EMPTY",
        ),
        (cast.account_order(78, euro(), AccountAction::Close), Code::NotFound, "ACCOUNT_UNKNOWN"),
        (
            cast.account_order(ALICE, Currency::new("JPY", 0).unwrap(), AccountAction::Open),
            Code::FailedPrecondition,
            "CURRENCY_MISMATCH",
        ),
        (
            cast.account_order(ALICE, Currency::new("EUR", 3).unwrap(), AccountAction::Open),
            Code::FailedPrecondition,
            "SCALE_MISMATCH",
        ),
        (
            cast.account_order(78, Currency::new("USD", 2).unwrap(), AccountAction::Open),
            Code::FailedPrecondition,
            "CURRENCY_UNKNOWN",
        ),
        (
            Cast { ledger: key(2) }.account_order(78, euro(), AccountAction::Open),
            Code::FailedPrecondition,
            "OTHER_LEDGER",
        ),
    ];
    for (order, code, reason) in orders {
        let answer = bank.caller.order_account(order).await;
        assert_reason(answer, code, reason);
    }
    for action in [AccountAction::Open, AccountAction::Close] {
        bank.caller.order_account(cast.account_order(79, euro(), action)).await.unwrap();
    }
    let again = bank.caller.order_account(cast.account_order(79, euro(), AccountAction::Open)).await;
    assert_reason(again, Code::FailedPrecondition, "ACCOUNT_CLOSED");
    let to_closed = cast.at_once(ALICE, 79, 1, "closed");
    let answer = bank.caller.order(order(&to_closed, make, ALICE)).await;
    assert_reason(answer, Code::FailedPrecondition, "ACCOUNT_CLOSED");
    bank.stop().await;
}

/// Bytes that are no order at all: whose fault it is, and where.
#[tokio::test(flavor = "multi_thread")]
async fn malformed_calls_are_refused_as_such() {
    let mut bank = Bank::funded().await;
    let bad = Code::InvalidArgument;
    let good = order(&bank.cast.held(1, after(9), Timeout::Post, "x"), PaymentAction::Make, ALICE).to_wire();
    let call = async |bank: &mut Bank, order| {
        bank.caller.client.order_payment(proto::OrderPaymentRequest { order }).await.map(|_| ())
    };
    assert_reason(call(&mut bank, None).await, bad, "FIELD_MISSING");
    let with = |change: fn(&mut arbiter_protocol::message::wire::Envelope)| {
        let mut envelope = good.clone();
        change(&mut envelope);
        Some(envelope)
    };
    for (order, reason) in [
        (with(|it| it.payload_type.push('x')), "PAYLOAD_TYPE_UNEXPECTED"),
        (with(|it| it.payload.push(0)), "STATEMENT_MALFORMED"),
        (with(|it| it.payload.extend([0x98, 0x06, 0x01])), "STATEMENT_NOT_CANONICAL"),
        (with(|it| it.signatures.clear()), "SIGNATURE_COUNT_INVALID"),
        (with(|it| it.signatures[0].signature[0] ^= 1), "SIGNATURE_INVALID"),
        (with(|it| it.signatures[0].key_id = key(BOB).to_vec()), "SIGNATURE_INVALID"),
        (with(|it| it.payload = vec![0; 40_000]), "TOO_LARGE"),
    ] {
        assert_reason(call(&mut bank, order).await, bad, reason);
    }
    let terms = bank.caller.client.get_payment(proto::GetPaymentRequest { terms: None }).await;
    assert_reason(terms, bad, "FIELD_MISSING");
    let mut terms = bank.cast.held(1, after(9), Timeout::Post, "x").to_wire();
    terms.payment.as_mut().unwrap().amount.as_mut().unwrap().units = 0;
    let answer = bank.caller.client.get_payment(proto::GetPaymentRequest { terms: Some(terms) }).await;
    assert_reason(answer, bad, "FIELD_VALUE_INVALID");
    let mut other = bank.cast.held(1, after(9), Timeout::Post, "x");
    other.payment.ledger = key(2);
    assert_reason(bank.caller.payment(&other).await, Code::FailedPrecondition, "OTHER_LEDGER");
    bank.stop().await;
}

/// balances and histories are for the holder of the key, and a query does not live long.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_shown_to_its_holder_only() {
    let mut bank = Bank::funded().await;
    for number in 0..7 {
        let terms = bank.cast.at_once(ALICE, BOB, 1 + number, &number.to_string());
        bank.caller.order(order(&terms, PaymentAction::Make, ALICE)).await.unwrap();
    }
    let held = bank.cast.held(50, after(5_000), Timeout::Void, "held");
    bank.caller.order(order(&held, PaymentAction::Make, ALICE)).await.unwrap();
    let query = bank.cast.query(BOB, NOW);
    let (mut token, mut seen) = (String::new(), Vec::new());
    for expected in [3, 3, 2] {
        let (receipts, next) = bank.caller.page(query.clone(), 3, &token).await.unwrap();
        assert_eq!(receipts.len(), expected);
        seen.extend(receipts);
        token = next;
    }
    assert!(token.is_empty());
    let states: Vec<_> = seen.iter().map(|it| it.state).collect();
    let posted = (1..=7).rev().map(PaymentState::Posted);
    assert_eq!(states, std::iter::once(PaymentState::Reserved).chain(posted).collect::<Vec<_>>());
    // The whole in one page; then what is held has run out, in the same place.
    bank.clock.set(after(5_000));
    let query = bank.cast.query(ALICE, after(5_000));
    let (receipts, next) = bank.caller.page(query.clone(), 0, "").await.unwrap();
    assert_eq!((receipts.len(), next.as_str(), receipts[0].state), (9, "", PaymentState::Voided));
    assert_eq!(receipts[8].state, PaymentState::Posted(CAST_SIZE));

    assert_reason(bank.caller.page(query.clone(), -1, "").await, Code::InvalidArgument, "PAGE_SIZE_INVALID");
    for token in ["x", "payments/1/", "payments/1/+3", "payments/1/03", "entries/1/3"] {
        let answer = bank.caller.page(query.clone(), 1, token).await;
        assert_reason(answer, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
    }
    let stale = bank.cast.query(ALICE, NOW.before(DurationMillis(300_001)));
    assert_reason(bank.caller.account(stale.clone()).await, Code::FailedPrecondition, "QUERY_STALE");
    assert_reason(bank.caller.page(stale, 1, "").await, Code::FailedPrecondition, "QUERY_STALE");
    let unknown = bank.cast.query(77, NOW);
    assert_reason(bank.caller.account(unknown.clone()).await, Code::NotFound, "ACCOUNT_UNKNOWN");
    assert_reason(bank.caller.page(unknown, 1, "").await, Code::NotFound, "ACCOUNT_UNKNOWN");
    let mut forged = bank.cast.query(ALICE, NOW).to_wire();
    forged.signatures = bank.cast.query(BOB, NOW).to_wire().signatures;
    let forged = arbiter_protocol::statement::Envelope::from_wire(forged).unwrap();
    assert_reason(bank.caller.account(forged).await, Code::InvalidArgument, "SIGNER_NOT_ENTITLED");
    bank.stop().await;
}

/// a hold ends by itself, without anybody asking; after a start not before the grace is over.
#[tokio::test(flavor = "multi_thread")]
async fn holds_end_by_themselves_but_not_right_after_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ledger.redb");
    let grace = DurationMillis(60_000);
    let mut bank = Bank::at(&file, NOW, DurationMillis(0)).await;
    bank.fund().await;
    let early = bank.cast.held(100, after(10), Timeout::Post, "early");
    let late = bank.cast.held(200, after(5_000), Timeout::Post, "late");
    for terms in [&early, &late] {
        bank.caller.order(order(terms, PaymentAction::Make, ALICE)).await.unwrap();
    }
    bank.clock.set(after(10));
    // Nobody asks: the timer does it. The file says so.
    let ended = async |ledger: &Handle| {
        for _ in 0..400 {
            let page = ledger.payments(bank.cast.query(BOB, ledger.now()), u64::MAX, 9).await.unwrap();
            if page.receipts.iter().any(|it| it.state == PaymentState::Posted(100)) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        false
    };
    assert!(ended(&bank.ledger).await);
    bank.stop().await;

    // Down over the end of the second hold; the arbiter's void comes in the grace and counts.
    let mut bank = Bank::at(&file, after(9_000), grace).await;
    assert_eq!(bank.caller.payment(&late).await.unwrap().state, PaymentState::Reserved);
    let voided = bank.caller.order(order(&late, PaymentAction::Void, ARBITER)).await.unwrap();
    assert_eq!((voided.state, voided.time), (PaymentState::Voided, after(9_000)));
    let third = bank.cast.held(300, after(10_000), Timeout::Post, "third");
    bank.caller.order(order(&third, PaymentAction::Make, ALICE)).await.unwrap();
    bank.clock.set(after(9_000 + 59_999));
    assert_eq!(bank.caller.payment(&third).await.unwrap().state, PaymentState::Reserved);
    bank.clock.set(after(9_000 + 60_000));
    let posted = bank.caller.payment(&third).await.unwrap();
    assert_eq!((posted.state, posted.order), (PaymentState::Posted(300), None));
    bank.stop().await;
    let report = fsck::check(&Store::open(&file, key(LEDGER)).unwrap(), key(LEDGER), &mut |_| {}).unwrap();
    assert_eq!((report.payments, report.open), (4, 0));
}

/// a restart changes nothing, neither answers nor time.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_changes_no_receipt() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ledger.redb");
    let mut bank = Bank::at(&file, NOW, DurationMillis(0)).await;
    bank.fund().await;
    let cast = bank.cast;
    let mut known = Vec::new();
    for number in 0..12_u64 {
        let terms = cast.held(10 + number, after(900_000), Timeout::Post, &number.to_string());
        let mut orders = vec![order(&terms, PaymentAction::Make, ALICE)];
        match number % 4 {
            0 => orders.push(order(&terms, PaymentAction::Post(1 + number), ARBITER)),
            1 => orders.push(order(&terms, PaymentAction::Void, BOB)),
            2 => orders.insert(0, order(&terms, PaymentAction::Void, ARBITER)),
            _ => {}
        }
        for order in orders {
            let answer = bank.caller.order(order.clone()).await.map_err(|status| status.message().to_owned());
            known.push((order, answer));
        }
    }
    let balances = (bank.available(ALICE).await, bank.available(BOB).await);
    bank.clock.set(after(500));
    bank.caller.order(cast.issue(&signer(LEDGER), BOB, 1, "the newest entry")).await.unwrap();
    bank.stop().await;

    // The machine's clock is behind: the ledger's time stands still.
    let mut bank = Bank::at(&file, NOW, DurationMillis(0)).await;
    assert_eq!(bank.ledger.now(), after(500));
    for (order, before) in &known {
        let now = bank.caller.order(order.clone()).await.map_err(|status| status.message().to_owned());
        assert_eq!(now.map(|it| it.envelope().encode()), before.clone().map(|it| it.envelope().encode()));
    }
    let (alice, bob) = (bank.available(ALICE).await, bank.available(BOB).await);
    assert_eq!((alice, (bob.0 - 1, bob.1, bob.2)), balances);
    bank.stop().await;

    // Another key, and a clock that jumped.
    let error = Store::open(&file, key(2)).map(drop).unwrap_err();
    assert!(error.to_string().contains("belongs to the ledger with key"), "{error}");
    let start = |accept_clock| {
        let year = 366 * 24 * 60 * 60 * 1000;
        let (clock, options) =
            (ManualClock::new(after(year)), Options { accept_clock, ..Options::default() });
        let store = Store::open(&file, key(LEDGER)).unwrap();
        Handle::start(Box::new(signer(LEDGER)), store, options, Box::new(clock))
    };
    assert!(matches!(start(false), Err(StartError::ClockFarAhead { .. })));
    assert_eq!(start(true).unwrap().stop().await, Ended::Stopped);
}

/// After the drain nothing is taken; a stopped ledger says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_stops_says_so() {
    let mut bank = Bank::funded().await;
    bank.server.refuse_new().await;
    let terms = bank.cast.at_once(ALICE, BOB, 1, "late");
    let answer = bank.caller.order(order(&terms, PaymentAction::Make, ALICE)).await;
    assert_reason(answer, Code::Unavailable, "DRAINING");
    let ledger = bank.ledger.clone();
    bank.stop().await;
    let error = ledger.payment(terms).await.unwrap_err();
    assert!(error.to_string().contains("stopped"), "{error}");
}

/// Many at once: one batch commits for all of them, and nobody gets another's answer.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_callers_spend_no_unit_twice() {
    let bank = Bank::funded().await;
    let mut tasks = Vec::new();
    // 150 orders for 1000.00 EUR of 10.00 each: exactly 100 succeed.
    for number in 0..150 {
        let terms = bank.cast.at_once(ALICE, BOB, 1_000, &number.to_string());
        let (ledger, order) = (bank.ledger.clone(), order(&terms, PaymentAction::Make, ALICE));
        tasks.push(tokio::spawn(async move { (terms, ledger.order_payment(order).await) }));
    }
    let mut paid = 0;
    for task in tasks {
        let (terms, answer) = task.await.unwrap();
        match answer {
            Ok(receipt) => {
                assert_eq!(receipt.terms, terms);
                paid += 1;
            }
            Err(error) => assert!(error.to_string().contains("not so much"), "{error}"),
        }
    }
    assert_eq!(paid, 100);
    bank.stop().await;
}
