//! How long a start takes when much is open: exchanges with their timers at the arbiter, reservations at the ledger.
//!
//! Questions: the arbiter was ended with 100 000 open exchanges, in each of which a request waits for its time: how long
//! until it serves again, and, when their time comes, how many are decided a second? The ledger was ended with 100 000 open
//! reservations: how long until it serves again, and how long does it take when all of them end at once?
//!
//! `OPEN=1000` chooses another number. Beside it: reading the files of the store from one end to the other, as a start could
//! not do without if it looked at everything; and one fsync, as a single decision could not do without.

#![allow(
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a benchmark may fail"
)]
#![allow(missing_docs, reason = "a program")]

mod beside;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arbiter::clock::ManualClock;
use arbiter::engine::{EngineError, Handle};
use arbiter::ledger::store::Store as Book;
use arbiter::ledger::{Handle as Ledger, Options};
use arbiter_protocol::crypto::{MemorySigner, SealingSecret, Signer as _};
use arbiter_protocol::error::Refused;
use arbiter_protocol::exchange::item::{Description, Information, Item, Statement};
use arbiter_protocol::exchange::payment::{Amount, Currency, Hold, Payment, Timeout};
use arbiter_protocol::exchange::selection::{ByRole, Role, select};
use arbiter_protocol::ids::Digest;
use arbiter_protocol::message::account::{AccountAction, AccountOrder};
use arbiter_protocol::message::agreement::{Acceptance, Agreement, ArbiterIdentity, Offer, Party};
use arbiter_protocol::message::payment::{PaymentAction, PaymentOrder, PaymentState, PaymentTerms};
use arbiter_protocol::message::request::{Action, Request};
use arbiter_protocol::role::arbiter::{Case, Escrows};
use arbiter_protocol::statement::{Envelope, Signed, Verified};
use arbiter_protocol::time::{DurationMillis, UnixMillis};
use beside::ours::{arbiter, seed, signer};
use beside::{folder_bytes, fsyncs, load, ours, processor};
use tokio::task::JoinSet;

/// 2026-11-20T00:00:00Z.
const START: UnixMillis = UnixMillis(1_795_132_800_000);
/// When every request can be decided, and every hold ends.
const DUE: UnixMillis = UnixMillis(START.0 + 3_600_000);
/// At the same time.
const CALLERS: u64 = 256;
/// The thread of a writer lets go of its files a moment after it has ended.
const A_MOMENT: Duration = Duration::from_millis(300);

fn start(folder: &Path, clock: &ManualClock) -> Handle {
    ours::engine(ours::keys(), ours::store(folder), Box::new(clock.clone()))
}

/// P2, a file for a receipt: the responder gives up at once, which is too early and stands.
fn early(arbiter: &ArbiterIdentity, number: u64) -> Case {
    let (originator, responder) = (signer(11), signer(12));
    let party = |signer: &MemorySigner, byte, name: &str| Party {
        signing_key: signer.public_key(),
        sealing_key: SealingSecret::from_seed(&seed(byte)).public_key(),
        name: name.into(),
    };
    let subject = Information {
        sha256: Digest::of(&[b"invoice"]),
        size_bytes: 48_213,
        media_type: "application/pdf".into(),
        name: "invoice.pdf".into(),
    };
    let originator_item = Item::new(Description::Information(subject.clone()));
    let receipt = Statement { title: "Receipt".into(), text: String::new(), subject };
    let responder_item = Item::new(Description::Signature(receipt));
    let nonce = *Digest::of(&[&number.to_be_bytes()]).as_bytes();
    let offer = Offer {
        nonce,
        originator: party(&originator, 21, "Northwind Machines GmbH"),
        responder: party(&responder, 22, "Tailspin Tooling ApS"),
        arbiter: arbiter.clone(),
        selection: select(&originator_item.properties, &responder_item.properties).unwrap(),
        originator_item,
        responder_item,
        complain_by: Some(DUE),
        send_by: None,
        escrow: None,
    };
    let offer = Verified::sign(offer, &originator);
    let acceptance = Verified::sign(Acceptance { exchange_id: offer.exchange_id(), nonce }, &responder);
    let agreement = Agreement::join(offer, acceptance).unwrap();
    let (exchange_id, agreement_id) = (agreement.exchange_id(), Some(agreement.id()));
    let request = Request { exchange_id, agreement_id, role: Role::Responder, action: Action::Abort };
    let again = |envelope: &Envelope| envelope.clone();
    Case::admit(
        arbiter,
        Signed::parse(again(Verified::sign(request, &responder).envelope())).unwrap(),
        Signed::parse(again(agreement.offer().envelope())).unwrap(),
        Some(Signed::parse(again(agreement.acceptance().envelope())).unwrap()),
        Escrows::default(),
    )
    .unwrap()
}

/// Calls `work` for every number, so many at a time.
async fn all<F>(count: u64, work: impl Fn(u64) -> F + Clone + Send + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    let next = Arc::new(AtomicU64::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS.min(count) {
        let (next, work) = (Arc::clone(&next), work.clone());
        callers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return;
                }
                work(number).await;
            }
        });
    }
    callers.join_all().await;
}

/// Reads every file of a folder.
fn read(folder: &Path) -> Duration {
    let started = Instant::now();
    for entry in std::fs::read_dir(folder).unwrap() {
        std::hint::black_box(std::fs::read(entry.unwrap().path()).unwrap());
    }
    started.elapsed()
}

async fn exchanges(folder: &Path, count: u64) {
    let clock = ManualClock::new(START);
    let engine = start(folder, &clock);
    let (filer, identity) = (engine.clone(), arbiter());
    all(count, move |number| {
        let (engine, identity) = (filer.clone(), identity.clone());
        async move {
            let filed = engine.file(early(&identity, number), ByRole::default()).await;
            assert!(matches!(filed, Err(EngineError::Refused(Refused::AbortTooEarly { .. }))), "{filed:?}");
        }
    })
    .await;
    engine.stop().await;
    drop(engine);
    tokio::time::sleep(A_MOMENT).await;
    let bytes = folder_bytes(&folder.join("data"));
    let reading = read(&folder.join("data"));

    let started = Instant::now();
    let engine = start(folder, &clock);
    let served = started.elapsed();
    engine.file(early(&arbiter(), count), ByRole::default()).await.unwrap_err();
    let first = started.elapsed();
    println!(
        "arbiter, {count} open exchanges ({bytes} bytes): serves after {:.2} s, its first answer after {:.2} s; reading its \
         files takes {:.2} s",
        served.as_secs_f64(),
        first.as_secs_f64(),
        reading.as_secs_f64()
    );
    let fsync = fsyncs(folder, 4096, 200);
    let (started, commits, before) = (Instant::now(), engine.counters().commits, processor());
    clock.set(DUE);
    let task = tokio::spawn(arbiter::deadlines::run(engine.clone()));
    while engine.counters().verdicts_aborted <= count {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let took = started.elapsed();
    let (rate, commits) = (count as f64 / took.as_secs_f64(), engine.counters().commits - commits);
    let work = (processor() - before).as_secs_f64() * 1e6 / count as f64;
    println!(
        "  when all their timers fire at once: {rate:.0} decided/s in {:.2} s and {commits} commits, {:.1} for each fsync that \
         the disk does one after another; {work:.0} us of a core for each",
        took.as_secs_f64(),
        rate / fsync
    );
    engine.stop().await;
    task.await.unwrap();
}

fn open_ledger(folder: &Path, clock: &ManualClock) -> Ledger {
    let book = Book::open(&folder.join("ledger.redb"), signer(1).public_key()).unwrap();
    let options = Options {
        currencies: vec![Currency::new("EUR", 2).unwrap()],
        grace: DurationMillis(0),
        ..Options::default()
    };
    Ledger::start(Box::new(signer(1)), book, options, Box::new(clock.clone())).unwrap()
}

fn terms(ledger: &Ledger, number: u64) -> PaymentTerms {
    let (payer, payee) = (signer(2).public_key(), signer(3).public_key());
    let amount = Amount::new(100, Currency::new("EUR", 2).unwrap()).unwrap();
    let hold = Some(Hold { until: DUE, timeout: Timeout::Post });
    let payment = Payment { ledger: ledger.key(), payer, payee, amount, hold };
    PaymentTerms {
        payment,
        authority: Some(signer(4).public_key()),
        reference: Digest::of(&[&number.to_be_bytes()]),
    }
}

async fn order(ledger: &Ledger, terms: PaymentTerms, action: PaymentAction) -> PaymentState {
    let order = Verified::sign(PaymentOrder { terms, action }, &signer(2));
    ledger.order_payment(order.envelope().clone()).await.unwrap().state
}

async fn reservations(folder: &Path, count: u64) {
    let clock = ManualClock::new(START);
    let ledger = open_ledger(folder, &clock);
    for byte in [2, 3] {
        let (account, currency) = (signer(byte).public_key(), Currency::new("EUR", 2).unwrap());
        let order = AccountOrder { ledger: ledger.key(), account, currency, action: AccountAction::Open };
        ledger.order_account(Verified::sign(order, &signer(byte)).envelope().clone()).await.unwrap();
    }
    let amount = Amount::new(1 << 40, Currency::new("EUR", 2).unwrap()).unwrap();
    let (payer, payee) = (ledger.key(), signer(2).public_key());
    let payment = Payment { ledger: ledger.key(), payer, payee, amount, hold: None };
    let funds = PaymentTerms { payment, authority: None, reference: Digest::of(&[b"funds"]) };
    let funds = Verified::sign(PaymentOrder { terms: funds, action: PaymentAction::Make }, &signer(1));
    ledger.order_payment(funds.envelope().clone()).await.unwrap();
    let maker = ledger.clone();
    all(count, move |number| {
        let ledger = maker.clone();
        async move {
            let made = order(&ledger, terms(&ledger, number), PaymentAction::Make).await;
            assert_eq!(made, PaymentState::Reserved);
        }
    })
    .await;
    ledger.stop().await;
    tokio::time::sleep(A_MOMENT).await;
    let (bytes, reading) = (folder_bytes(folder), read(folder));

    let started = Instant::now();
    let ledger = open_ledger(folder, &clock);
    let served = started.elapsed();
    assert_eq!(order(&ledger, terms(&ledger, 0), PaymentAction::Post(100)).await, PaymentState::Posted(100));
    let first = started.elapsed();
    println!(
        "ledger, {count} open reservations ({bytes} bytes): serves after {:.2} s, its first answer after {:.2} s; reading its \
         file takes {:.2} s",
        served.as_secs_f64(),
        first.as_secs_f64(),
        reading.as_secs_f64()
    );
    clock.set(DUE);
    let started = Instant::now();
    order(&ledger, terms(&ledger, count - 1), PaymentAction::Post(100)).await;
    let took = started.elapsed();
    println!(
        "  when all of them end at once the next order is answered after {:.2} s: {:.0} posted/s",
        took.as_secs_f64(),
        count as f64 / took.as_secs_f64()
    );
    ledger.stop().await;
}

fn main() {
    // `cargo test` runs benches too, without arguments that say so: then a few show that it works.
    let quick = !std::env::args().any(|argument| argument == "--bench");
    let asked = std::env::var("OPEN").ok().and_then(|it| it.parse().ok());
    let count = asked.unwrap_or(if quick { 300 } else { 100_000 });
    let target = env!("CARGO_TARGET_TMPDIR");
    let folder = tempfile::Builder::new().prefix("recovery-bench").tempdir_in(target).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    println!("\nstarts with much that is open; load of the machine: {}", load());
    let office = folder.path().join("arbiter");
    std::fs::create_dir(&office).unwrap();
    runtime.block_on(exchanges(&office, count));
    let bank = folder.path().join("bank");
    std::fs::create_dir(&bank).unwrap();
    runtime.block_on(reservations(&bank, count));
    println!("load of the machine at the end: {}", load());
}
