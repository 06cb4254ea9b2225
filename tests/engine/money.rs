//! Money: revocations with their orders to ledgers, requests that stand, affidavits; over both stores and restarts.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arbiter::deadlines;
use arbiter::modules::{About, ModuleError, PaymentModule};
use arbiter::outbox::{Outbox, Pause};
use arbiter_protocol::crypto::{MemorySigner, Signer as _};
use arbiter_protocol::evidence::leaf::{Event, Leaf};
use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::message::payment::{PaymentAction, PaymentOrder, PaymentState, PaymentTerms};
use arbiter_protocol::message::verdict::Ruling;
use arbiter_protocol::statement::{Envelope, Verified};
use fixture::{SEND_BY, ledger, receipt};

use super::*;

/// A ledger that does whatever it is told to, unless it is posted already; it can be down, and it can lie.
#[derive(Default)]
struct Bank {
    down: AtomicBool,
    posted: AtomicBool,
    calls: AtomicUsize,
    lie: Mutex<Option<Lie>>,
    orders: Mutex<Vec<Vec<u8>>>,
}

#[derive(Clone, Copy, Debug)]
enum Lie {
    Hangs,
    NotFinal,
    OtherKey,
    OtherPayment,
}

#[async_trait::async_trait]
impl PaymentModule for Bank {
    async fn about(&self) -> Result<About, ModuleError> {
        panic!("the outbox asks nobody who it is")
    }

    async fn verify(&self, _: &PaymentTerms) -> Result<Envelope, ModuleError> {
        panic!("the outbox asks no questions")
    }

    async fn generate(&self, order: &Verified<PaymentOrder>) -> Result<Envelope, ModuleError> {
        assert!(
            matches!(order.action, PaymentAction::Post(units) if units == order.terms.payment.amount.units)
        );
        self.told(order).await
    }

    async fn revoke(&self, order: &Verified<PaymentOrder>) -> Result<Envelope, ModuleError> {
        assert_eq!(order.action, PaymentAction::Void);
        self.told(order).await
    }
}

impl Bank {
    async fn told(&self, order: &Verified<PaymentOrder>) -> Result<Envelope, ModuleError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.down.load(Ordering::SeqCst) {
            return Err(ModuleError::Unreachable("down".to_owned()));
        }
        assert_eq!(order.signer(), arbiter().key, "orders are signed by the authority");
        self.orders.lock().unwrap().push(order.envelope().encode());
        let terms = order.terms.clone();
        let posts = order.action != PaymentAction::Void || self.posted.load(Ordering::SeqCst);
        let state = match posts {
            true => PaymentState::Posted(terms.payment.amount.units),
            false => PaymentState::Voided,
        };
        let lie = *self.lie.lock().unwrap();
        Ok(match lie {
            None => receipt(terms, state).envelope().clone(),
            Some(Lie::Hangs) => std::future::pending().await,
            Some(Lie::NotFinal) => receipt(terms, PaymentState::Reserved).envelope().clone(),
            Some(Lie::OtherPayment) => {
                let reference = arbiter_protocol::ids::Digest::of(&[b"other"]);
                receipt(PaymentTerms { reference, ..terms }, state).envelope().clone()
            }
            Some(Lie::OtherKey) => {
                let stranger = MemorySigner::from_seed(&Zeroizing::new([99; 32]));
                Verified::sign((*receipt(terms, state)).clone(), &stranger).envelope().clone()
            }
        })
    }
}

const QUICK: Pause = Pause {
    first: Duration::from_millis(2),
    longest: Duration::from_millis(10),
    patience: Duration::from_millis(50),
};

fn tell(world: &World, bank: &Arc<Bank>) -> tokio::task::JoinHandle<()> {
    let known: Arc<dyn PaymentModule> = bank.clone();
    let ledgers = BTreeMap::from([(ledger().public_key(), known)]);
    tokio::spawn(Outbox::new(world.engine.clone(), ledgers, QUICK).run())
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never: {what}");
}

fn open(world: &World) -> usize {
    world.engine.open_orders(None, 1_000).unwrap().len()
}

fn verdict(receipt: &Receipt) -> Verdict {
    let wire = arbiter_protocol::statement::Signed::<Verdict>::parse(receipt.statement.clone());
    wire.unwrap().unverified().clone()
}

fn events(world: &World) -> Vec<Event> {
    let leaves = world.engine.entries(0, 1_000).unwrap();
    leaves.iter().map(|leaf| Leaf::decode(leaf).unwrap().event).collect()
}

/// D6: the verdict is durable with its orders; the ledger may be down for as long as it likes, the process
/// may be killed in between; each order is told until it is heard, in the same bytes, and each answer is a leaf.
async fn orders_outlive_everything(place: &impl Place<Store: Tamper>) {
    let world = start(place);
    let bank = Arc::new(Bank::default());
    bank.down.store(true, Ordering::SeqCst);
    let outbox = tell(&world, &bank);
    let (sale, change) = (Exchange::new(Kind::P3, 1), Exchange::new(Kind::P4, 2));
    let parts = Exchange::new(Kind::P3Parts, 3);
    let early = change.file(&world.engine, Responder, Action::Revoke).await.unwrap();
    assert_eq!(verdict(&early).ruling, Ruling::Revoked(vec![Originator, Responder]));
    world.clock.set(UnixMillis(SEND_BY));
    let revoked = sale.file(&world.engine, Originator, Action::Revoke).await.unwrap();
    assert_eq!(
        (verdict(&revoked).ruling, verdict(&revoked).rule.as_str()),
        (Ruling::Revoked(vec![Originator]), "R-417")
    );
    let both = parts.file(&world.engine, Originator, Action::Revoke).await.unwrap();
    assert_eq!(verdict(&both).ruling, Ruling::Revoked(vec![Originator]));
    assert_eq!(open(&world), 5, "as durable as the verdict, each payment of a package by itself");
    until("asked while down", || bank.calls.load(Ordering::SeqCst) > 5).await;
    end(world).await;
    outbox.await.unwrap();

    clean(&place.open());
    let world = try_start(place.open(), SEND_BY).unwrap();
    assert_eq!(open(&world), 5, "a restart forgets nothing");
    // One of two is heard, and the other is told after the next restart.
    let second = PaymentTerms::all(parts.agreement.offer(), Originator).pop().unwrap();
    let heard = receipt(second, PaymentState::Voided);
    assert_eq!(world.engine.hear(parts.id(), Originator, heard.clone()).await, Ok(true));
    assert_eq!(world.engine.hear(parts.id(), Originator, heard).await, Ok(false), "twice");
    assert_eq!(open(&world), 4);
    end(world).await;
    clean(&place.open());
    let world = try_start(place.open(), SEND_BY).unwrap();
    assert_eq!(open(&world), 4);
    let outbox = tell(&world, &bank);
    bank.down.store(false, Ordering::SeqCst);
    // Counted last: what is open is read from the store, which a reader sees before the log and the counts.
    until("heard", || world.engine.counters().orders_answered == 4).await;
    assert_eq!(open(&world), 0);
    let answers = events(&world).into_iter().filter(|event| *event == Event::PaymentVoided).count();
    assert_eq!(answers, 5);
    let log = world.engine.log_size();
    assert_eq!(sale.file(&world.engine, Originator, Action::Revoke).await.unwrap(), revoked, "F6");
    assert_eq!(world.engine.log_size(), log);
    end(world).await;
    outbox.await.unwrap();

    let report = clean(&place.open());
    assert_eq!((report.verdicts, report.answers), (3, 5));
    let mut told = bank.orders.lock().unwrap().clone();
    told.sort();
    told.dedup();
    assert_eq!(told.len(), 4, "one order a payment, however often it is told");
    // What is open follows from the records: one entry more or less is found.
    let store = place.open();
    for (exchange, leaf) in [(sale.id(), 0), (parts.id(), 1)] {
        let key = schema::order_key(&arbiter::store::OpenOrder {
            ledger: ledger().public_key(),
            exchange,
            role: Originator,
            leaf,
        });
        let extra = schema::protect(Family::Orders, &key, &[]);
        store.replace(Family::Orders, &key, Some(extra));
        let report = fsck::check(&store, &arbiter(), Some(keys().veil()), &mut |_| {});
        assert!(matches!(report.fault.unwrap().problem, fsck::Problem::Orders), "leaf {leaf}");
        store.replace(Family::Orders, &key, None);
    }
}

/// a verdict that replaces has reserved money posted, one that aborts has it voided, whatever becomes of ledger
/// and process meanwhile; without the reservation nothing is ruled and nothing opened.
async fn reserved_money_is_posted_or_goes_back(place: &impl Place<Store: Tamper>) {
    let world = start(place);
    let bank = Arc::new(Bank::default());
    bank.down.store(true, Ordering::SeqCst);
    let outbox = tell(&world, &bank);
    let (sale, ended) = (Exchange::new(Kind::P1Reserved, 7), Exchange::new(Kind::P1Reserved, 8));
    let mut bare = sale.escrows(Originator);
    bare.responder = None;
    let refused = world.engine.resolve(sale.case_with(Originator, Action::Resolve, bare)).await;
    assert!(matches!(refused, Err(EngineError::Refused(Refused::ReservationRequired { .. }))), "{refused:?}");
    assert_eq!((open(&world), world.engine.log_size()), (0, 1));
    let resolved = sale.file(&world.engine, Originator, Action::Resolve).await.unwrap();
    assert_eq!(verdict(&resolved).rule, "R-404");
    resolved.verify(sale.agreement.offer(), None).unwrap();
    ended.file(&world.engine, Originator, Action::Abort).await.unwrap();
    assert_eq!(open(&world), 2, "as durable as the verdicts");
    until("asked while down", || bank.calls.load(Ordering::SeqCst) > 5).await;
    end(world).await;
    outbox.await.unwrap();

    clean(&place.open());
    let world = try_start(place.open(), SEND_BY).unwrap();
    assert_eq!(open(&world), 2, "a restart forgets nothing");
    let outbox = tell(&world, &bank);
    bank.down.store(false, Ordering::SeqCst);
    until("heard", || world.engine.counters().orders_answered == 2).await;
    assert_eq!(open(&world), 0);
    let mut answers = events(&world);
    answers.retain(|it| matches!(it, Event::PaymentPosted | Event::PaymentVoided));
    answers.sort_by_key(|it| it.name());
    assert_eq!(answers, [Event::PaymentPosted, Event::PaymentVoided]);
    end(world).await;
    outbox.await.unwrap();
    let report = clean(&place.open());
    assert_eq!((report.verdicts, report.answers), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn reserved_money_is_posted_or_goes_back_in_memory() {
    reserved_money_is_posted_or_goes_back(&memory()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reserved_money_is_posted_or_goes_back_in_rocksdb() {
    reserved_money_is_posted_or_goes_back(&folder()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_outlive_everything_in_memory() {
    orders_outlive_everything(&memory()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_outlive_everything_in_rocksdb() {
    orders_outlive_everything(&folder()).await;
}

/// what is not the ledger's final answer about this payment counts for nothing, holds up nobody else's orders, and
/// is asked again; that the money is gone already is an answer like any other.
#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_lies_or_hangs_harms_nobody_else() {
    for lie in [Lie::Hangs, Lie::NotFinal, Lie::OtherKey, Lie::OtherPayment] {
        let world = start(&memory());
        let bank = Arc::new(Bank::default());
        *bank.lie.lock().unwrap() = Some(lie);
        let outbox = tell(&world, &bank);
        let change = Exchange::new(Kind::P4, 3);
        change.file(&world.engine, Originator, Action::Abort).await.unwrap();
        until("asked again", || bank.calls.load(Ordering::SeqCst) > 4).await;
        assert_eq!((open(&world), world.engine.counters().orders_answered), (2, 0), "{lie:?}");
        // Rulings go on meanwhile.
        let other = Exchange::with_content(Kind::P1, 4, b"contract".to_vec());
        other.file(&world.engine, Originator, Action::Abort).await.unwrap();
        bank.posted.store(true, Ordering::SeqCst);
        *bank.lie.lock().unwrap() = None;
        until("heard", || world.engine.counters().orders_answered == 2).await;
        assert_eq!(open(&world), 0);
        let gone = events(&world).into_iter().filter(|event| *event == Event::PaymentPosted).count();
        assert_eq!(gone, 2, "already gone is a normal answer");
        end(world).await;
        outbox.await.unwrap();
    }
}

/// the engine takes no receipt that nobody asked for, and no second answer.
#[tokio::test]
async fn only_answers_to_open_orders_are_heard() {
    let world = start(&memory());
    let (change, sale) = (Exchange::new(Kind::P4, 5), Exchange::new(Kind::P3, 6));
    let terms = |exchange: &Exchange, role| PaymentTerms::of(exchange.agreement.offer(), role).unwrap();
    let voided = |exchange: &Exchange, role| receipt(terms(exchange, role), PaymentState::Voided);
    let hear = |exchange: &Exchange, role, said: Role| {
        world.engine.hear(exchange.id(), role, voided(exchange, said))
    };
    assert_eq!(hear(&change, Originator, Originator).await, Ok(false), "before the verdict");
    change.file(&world.engine, Originator, Action::Revoke).await.unwrap();
    assert_eq!(hear(&change, Originator, Responder).await, Ok(false), "of the other payment");
    let other = world.engine.hear(change.id(), Originator, voided(&sale, Originator)).await;
    assert_eq!(other, Ok(false), "of another exchange");
    assert_eq!(hear(&change, Originator, Originator).await, Ok(true));
    let log = world.engine.log_size();
    assert_eq!(hear(&change, Originator, Originator).await, Ok(false), "twice");
    assert_eq!((world.engine.log_size(), open(&world)), (log, 1));
    end(world).await;
}

/// a second sender that was not confirmed deposits; then there is no revocation, the payer gets the item, and
/// what it fetches is sealed under the agreement that the verdict names.
async fn what_is_deposited_cannot_be_revoked(place: &impl Place) {
    let world = start(place);
    let sale = Exchange::new(Kind::P3, 7);
    sale.file(&world.engine, Responder, Action::Deposit).await.unwrap();
    let refused = sale.file(&world.engine, Responder, Action::Abort).await;
    assert_eq!(refused, Err(EngineError::Refused(Refused::AbortNotAllowed)));
    world.clock.set(UnixMillis(DEADLINE + 5));
    let given = sale.file(&world.engine, Originator, Action::Revoke).await.unwrap();
    assert_eq!(verdict(&given).rule, "R-416");
    assert_eq!(open(&world), 0, "nothing is revoked");
    let filed = world.engine.file(sale.case(Originator, Action::Fetch), Held::default()).await.unwrap();
    let Filed::Content(content) = filed else { panic!("no content") };
    assert_eq!(sale.unseal(&world.engine, Originator, content), sale.goods(Responder));
    end(world).await;
    clean(&place.open());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deposited_cannot_be_revoked_in_memory() {
    what_is_deposited_cannot_be_revoked(&memory()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deposited_cannot_be_revoked_in_rocksdb() {
    what_is_deposited_cannot_be_revoked(&folder()).await;
}

/// asked once and too early, decided in time, by an engine that was started again in between.
async fn a_request_stands_until_its_time(place: &impl Place<Store: Tamper>) {
    let world = start(place);
    let sale = Exchange::new(Kind::P3, 8);
    let delivery = Exchange::new(Kind::P2, 9);
    let send_by = UnixMillis(SEND_BY);
    let early = sale.file(&world.engine, Originator, Action::Revoke).await;
    assert_eq!(early, Err(EngineError::Refused(Refused::RevokeTooEarly { send_by })));
    let again = sale.file(&world.engine, Originator, Action::Revoke).await;
    assert_eq!(again, early, "the same answer, and it stands once");
    let complain_by = UnixMillis(DEADLINE);
    let abort = delivery.file(&world.engine, Responder, Action::Abort).await;
    assert_eq!(abort, Err(EngineError::Refused(Refused::AbortTooEarly { complain_by })));
    let standing = world.engine.standing(None, 10).unwrap();
    assert_eq!(standing.iter().map(|due| due.at.0).collect::<Vec<_>>(), [SEND_BY, DEADLINE]);
    assert_eq!(world.engine.log_size(), 1, "no leaf tells of it");
    end(world).await;

    clean(&place.open());
    let world = try_start(place.open(), SEND_BY - 1).unwrap();
    let task = tokio::spawn(deadlines::run(world.engine.clone()));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(world.engine.log_size(), 1, "not a millisecond early");
    world.clock.set(send_by);
    until("decided", || world.engine.counters().verdicts_revoked == 1).await;
    let revoked = sale.file(&world.engine, Originator, Action::Revoke).await.unwrap();
    assert_eq!(verdict(&revoked).time, send_by);
    assert_eq!(open(&world), 1);
    end(world).await;
    task.await.unwrap();
    clean(&place.open());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_stands_until_its_time_in_memory() {
    a_request_stands_until_its_time(&memory()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_stands_until_its_time_in_rocksdb() {
    a_request_stands_until_its_time(&folder()).await;
}

/// what can never be granted any more stands no longer, and keeps nobody else waiting.
#[tokio::test(flavor = "multi_thread")]
async fn what_came_too_late_while_nobody_served_is_let_go() {
    let place = memory();
    let world = start(&place);
    let sale = Exchange::new(Kind::P3, 11);
    sale.file(&world.engine, Originator, Action::Revoke).await.unwrap_err();
    end(world).await;
    let world = try_start(place.open(), DEADLINE).unwrap();
    let task = tokio::spawn(deadlines::run(world.engine.clone()));
    until("let go", || world.engine.standing(None, 10).unwrap().is_empty()).await;
    assert_eq!(world.engine.counters().verdicts_revoked, 0);
    let gone = sale.file(&world.engine, Originator, Action::Revoke).await;
    assert!(matches!(gone, Err(EngineError::Refused(Refused::ComplaintTooLate { .. }))));
    end(world).await;
    task.await.unwrap();
    clean(&place.open());
}

/// requests whose records are damaged wait for the operator, and nobody waits for them, however many they are.
#[tokio::test(flavor = "multi_thread")]
async fn damaged_requests_keep_nobody_waiting() {
    let place = memory();
    let world = start(&place);
    let early = async |exchange: &Exchange, role, action| {
        exchange.file(&world.engine, role, action).await.unwrap_err();
    };
    for n in 0..600 {
        early(&Exchange::with_content(Kind::P3, n, b"goods".to_vec()), Originator, Action::Revoke).await;
    }
    early(&Exchange::with_content(Kind::P2, 600, b"goods".to_vec()), Responder, Action::Abort).await;
    end(world).await;
    let store = place.open();
    for due in store.standing(None, 600).unwrap() {
        store.replace(Family::Records, due.exchange.as_bytes(), Some(b"damaged".to_vec()));
    }
    drop(store);
    let world = try_start(place.open(), DEADLINE).unwrap();
    let task = tokio::spawn(deadlines::run(world.engine.clone()));
    until("decided", || world.engine.counters().verdicts_aborted == 1).await;
    assert_eq!(world.engine.standing(None, 1_000).unwrap().len(), 600, "they still stand");
    end(world).await;
    task.await.unwrap();
}

/// in line; nobody gets anything before both items are there.
#[tokio::test(flavor = "multi_thread")]
async fn both_are_given_out_or_none() {
    let place = memory();
    let world = start(&place);
    let swap = Exchange::new(Kind::P5, 12);
    let engine = &world.engine;
    swap.file(engine, Originator, Action::Deposit).await.unwrap();
    let alone = swap.file(engine, Originator, Action::Resolve).await;
    assert_eq!(alone, Err(EngineError::Refused(Refused::DepositRequired)));
    swap.file(engine, Responder, Action::Deposit).await.unwrap();
    let both = swap.file(engine, Responder, Action::Resolve).await.unwrap();
    let Ruling::Replaced(list) = verdict(&both).ruling else { panic!("not given out") };
    assert_eq!((list.len(), verdict(&both).rule.as_str()), (2, "R-421"));
    for role in Role::BOTH {
        let filed = engine.file(swap.case(role, Action::Fetch), Held::default()).await.unwrap();
        let Filed::Content(content) = filed else { panic!("no content") };
        assert_eq!(swap.unseal(engine, role, content), swap.goods(role.peer()));
    }
    let given_up = Exchange::new(Kind::P5, 13);
    given_up.file(engine, Originator, Action::Deposit).await.unwrap();
    let aborted = given_up.file(engine, Responder, Action::Abort).await.unwrap();
    assert_eq!((verdict(&aborted).ruling, verdict(&aborted).rule.as_str()), (Ruling::Aborted, "R-419"));
    let fetched = engine.file(given_up.case(Responder, Action::Fetch), Held::default()).await;
    assert_eq!(fetched, Err(EngineError::Refused(Refused::DepositNotReleased)));
    end(world).await;
    clean(&place.open());
}

/// F2: who performed has it in writing at the deadline; who has both gets both.
#[tokio::test(flavor = "multi_thread")]
async fn an_affidavit_says_what_was_there() {
    let place = memory();
    let world = start(&place);
    let engine = &world.engine;
    let (alone, both, nobody) =
        (Exchange::new(Kind::P6, 14), Exchange::new(Kind::P6, 15), Exchange::new(Kind::P6, 16));
    alone.file(engine, Originator, Action::Deposit).await.unwrap();
    let complain_by = UnixMillis(DEADLINE);
    let early = alone.file(engine, Originator, Action::Resolve).await;
    assert_eq!(early, Err(EngineError::Refused(Refused::AffidavitTooEarly { complain_by })));
    let abort = alone.file(engine, Responder, Action::Abort).await;
    assert_eq!(abort, Err(EngineError::Refused(Refused::AbortTooEarly { complain_by })), "F2");
    for role in Role::BOTH {
        both.file(engine, role, Action::Deposit).await.unwrap();
    }
    let given = both.file(engine, Responder, Action::Resolve).await.unwrap();
    assert!(matches!(verdict(&given).ruling, Ruling::Replaced(list) if list.len() == 2));
    // Never asked about by who deposited; who waits for its item has the end all the same.
    let left = Exchange::new(Kind::P6, 18);
    left.file(engine, Originator, Action::Deposit).await.unwrap();
    let aborted = nobody.file(engine, Originator, Action::Abort).await.unwrap();
    assert_eq!((verdict(&aborted).ruling, verdict(&aborted).rule.as_str()), (Ruling::Aborted, "R-427"));
    world.clock.set(complain_by);
    let affidavit = alone.file(engine, Originator, Action::Resolve).await.unwrap();
    assert_eq!(verdict(&affidavit).ruling, Ruling::Affidavit(vec![Originator]));
    assert_eq!(alone.file(engine, Responder, Action::Query).await.unwrap().statement, affidavit.statement);
    let over = left.file(engine, Responder, Action::Abort).await.unwrap();
    assert_eq!(
        (verdict(&over).ruling, verdict(&over).requested_by),
        (Ruling::Affidavit(vec![Originator]), Responder)
    );
    let fetched = engine.file(alone.case(Responder, Action::Fetch), Held::default()).await;
    assert_eq!(fetched, Err(EngineError::Refused(Refused::DepositNotReleased)), "nothing for nothing");
    assert_eq!(engine.counters().affidavits, 2);
    end(world).await;
    clean(&place.open());
}

/// R-407 with money: a payment with receipt is complained about with the ledger's receipt, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_deposited_as_its_receipt() {
    let place = memory();
    let world = start(&place);
    let paid = Exchange::new(Kind::P2Paid, 17);
    paid.file(&world.engine, Originator, Action::Deposit).await.unwrap();
    let replaced = paid.file(&world.engine, Originator, Action::Resolve).await.unwrap();
    assert_eq!(verdict(&replaced).rule, "R-406");
    let filed = world.engine.file(paid.case(Responder, Action::Fetch), Held::default()).await.unwrap();
    let Filed::Content(content) = filed else { panic!("no content") };
    assert_eq!(paid.unseal(&world.engine, Responder, content), paid.goods(Originator));
    end(world).await;
    clean(&place.open());
}
