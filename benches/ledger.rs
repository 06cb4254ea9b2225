//! How many payments a second, how fast one, and how close to what this machine can do at all.
//!
//! Question: for 1, 16 and 64 callers that check every receipt, with and without gRPC between them and the ledger, how many
//! payments are reserved and then posted in a second, and what are p50/p99 of the two orders together? Ledger and callers
//! share the machine's cores; orders are signed before the clock runs.
//!
//! The bound counts only what no implementation could leave out: the Ed25519 operations of both sides, spread over all
//! cores, and for each order one fsync that its caller has to wait for. Many callers share one.

#![allow(
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a benchmark may fail"
)]
#![allow(missing_docs, reason = "a program")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arbiter::clock::SystemClock;
use arbiter::grpc::{Server, Transport};
use arbiter::ledger::store::Store;
use arbiter::ledger::{Handle, Options};
use arbiter_protocol::crypto::{self, MemorySigner, Signer as _};
use arbiter_protocol::exchange::payment::{Amount, Currency, Hold, Payment, Timeout};
use arbiter_protocol::ids::{Digest, PublicKey};
use arbiter_protocol::message::account::{AccountAction, AccountOrder};
use arbiter_protocol::message::payment::{PaymentAction, PaymentOrder, PaymentReceipt, PaymentTerms};
use arbiter_protocol::statement::{Envelope, Signed, Verified};
use arbiter_protocol::time::{DurationMillis, UnixMillis};
use arbiter_protocol::wire::ledger as proto;
use arbiter_protocol::wire::ledger::ledger_service_client::LedgerServiceClient;
use zeroize::Zeroizing;

/// Callers at the same time.
const CALLERS: [usize; 3] = [1, 16, 64];
/// Orders of one payment: make and post.
const ORDERS: u32 = 2;
/// Of each order: its own signature at the ledger, the receipt's at the caller …
const VERIFIES: u32 = 2;
/// … and the receipt.
const SIGNS: u32 = 1;
/// Before the clock runs.
const WARM_UP: usize = 20;

struct Costs {
    sign: Duration,
    verify: Duration,
    fsync: Duration,
    cores: u32,
}

impl Costs {
    fn signatures(&self) -> Duration {
        (self.verify * VERIFIES + self.sign * SIGNS) * ORDERS
    }

    /// What one caller waits for.
    fn alone(&self) -> Duration {
        self.signatures() + self.fsync * ORDERS
    }

    /// Payments a second that signatures and fsync alone allow.
    fn bound(&self, callers: usize) -> f64 {
        let by_cores = f64::from(self.cores) / self.signatures().as_secs_f64();
        by_cores.min(callers as f64 / self.alone().as_secs_f64())
    }
}

struct Row {
    way: &'static str,
    callers: usize,
    per_second: f64,
    p50: Duration,
    p99: Duration,
}

fn main() {
    // `cargo test` runs benches too, without arguments that say so: then a few payments show that it works.
    let quick = !std::env::args().any(|argument| argument == "--bench");
    let folder = tempfile::Builder::new().prefix("ledger-bench").tempdir_in(target()).unwrap();
    let costs = measure_costs(folder.path(), if quick { 20 } else { 2000 });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut rows = Vec::new();
    for callers in CALLERS {
        let payments = if quick { callers } else { (callers * 250).clamp(500, 8_000) };
        for way in [Way::Engine, Way::Grpc] {
            rows.push(runtime.block_on(run(folder.path(), way, callers, payments)));
        }
    }
    print_table(&costs, &rows);
}

#[derive(Clone, Copy)]
enum Way {
    Engine,
    Grpc,
}

fn signer(byte: u8) -> MemorySigner {
    MemorySigner::from_seed(&Zeroizing::new([byte; 32]))
}

fn euro() -> Currency {
    Currency::new("EUR", 2).unwrap()
}

/// The two orders of each payment, signed.
fn orders(ledger: PublicKey, payments: usize, until: UnixMillis) -> Arc<Vec<[Envelope; 2]>> {
    let (payer, payee) = (signer(2), signer(3).public_key());
    let make = |number: usize| {
        let amount = Amount::new(100, euro()).unwrap();
        let hold = Some(Hold { until, timeout: Timeout::Post });
        let payment = Payment { ledger, payer: payer.public_key(), payee, amount, hold };
        let reference = Digest::of(&[&number.to_be_bytes()]);
        let terms = PaymentTerms { payment, authority: Some(signer(4).public_key()), reference };
        [PaymentAction::Make, PaymentAction::Post(100)].map(|action| {
            Verified::sign(PaymentOrder { terms: terms.clone(), action }, &payer).envelope().clone()
        })
    };
    Arc::new((0..payments + WARM_UP).map(make).collect())
}

/// Accounts of both, and more in the payer's than it will need.
async fn fund(ledger: &Handle) {
    for byte in [2, 3] {
        let (account, action) = (signer(byte).public_key(), AccountAction::Open);
        let order = AccountOrder { ledger: ledger.key(), account, currency: euro(), action };
        ledger.order_account(Verified::sign(order, &signer(byte)).envelope().clone()).await.unwrap();
    }
    let (payer, payee) = (ledger.key(), signer(2).public_key());
    let amount = Amount::new(1 << 40, euro()).unwrap();
    let payment = Payment { ledger: ledger.key(), payer, payee, amount, hold: None };
    let terms = PaymentTerms { payment, authority: None, reference: Digest::of(&[b"funds"]) };
    let order = Verified::sign(PaymentOrder { terms, action: PaymentAction::Make }, &signer(1));
    ledger.order_payment(order.envelope().clone()).await.unwrap();
}

async fn run(folder: &Path, way: Way, callers: usize, payments: usize) -> Row {
    let data = tempfile::tempdir_in(folder).unwrap();
    let key = signer(1).public_key();
    let store = Store::open(&data.path().join("ledger.redb"), key).unwrap();
    let options = Options { currencies: vec![euro()], ..Options::default() };
    let ledger = Handle::start(Box::new(signer(1)), store, options, Box::new(SystemClock)).unwrap();
    fund(&ledger).await;
    let orders = orders(key, payments, ledger.now().after(DurationMillis(3_600_000)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server::start_ledger(Transport::default(), listener, ledger.clone()).await.unwrap();
    let address = format!("http://{}", server.address());

    let next = Arc::new(AtomicUsize::new(WARM_UP));
    let mut first = Caller::new(way, &ledger, &address).await;
    for orders in &orders[..WARM_UP] {
        first.pay(orders).await;
    }
    let started = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let (orders, next) = (Arc::clone(&orders), Arc::clone(&next));
            let (ledger, address) = (ledger.clone(), address.clone());
            tokio::spawn(async move {
                let mut times = Vec::new();
                let mut caller = Caller::new(way, &ledger, &address).await;
                while let Some(orders) = orders.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let asked = Instant::now();
                    caller.pay(orders).await;
                    times.push(asked.elapsed());
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.unwrap());
    }
    let took = started.elapsed();
    server.stop().await.unwrap();
    ledger.stop().await;
    times.sort();
    Row {
        way: match way {
            Way::Engine => "engine",
            Way::Grpc => "gRPC",
        },
        callers,
        per_second: times.len() as f64 / took.as_secs_f64(),
        p50: times[times.len() / 2],
        p99: times[times.len() * 99 / 100],
    }
}

enum Caller {
    Engine(Handle),
    Grpc(LedgerServiceClient<tonic::transport::Channel>, PublicKey),
}

impl Caller {
    /// A caller of its own, with its own connection.
    async fn new(way: Way, ledger: &Handle, address: &str) -> Self {
        match way {
            Way::Engine => Self::Engine(ledger.clone()),
            Way::Grpc => {
                let endpoint = tonic::transport::Endpoint::from_shared(address.to_owned()).unwrap();
                Self::Grpc(LedgerServiceClient::new(endpoint.connect().await.unwrap()), ledger.key())
            }
        }
    }

    /// Makes and posts one payment, and checks both receipts.
    async fn pay(&mut self, orders: &[Envelope; 2]) {
        for order in orders {
            let (receipt, key) = match self {
                Self::Engine(ledger) => {
                    (ledger.order_payment(order.clone()).await.unwrap().envelope().clone(), ledger.key())
                }
                Self::Grpc(client, key) => {
                    let request = proto::OrderPaymentRequest { order: Some(order.to_wire()) };
                    let answer = client.order_payment(request).await.unwrap().into_inner();
                    (Envelope::from_wire(answer.receipt.unwrap()).unwrap(), *key)
                }
            };
            let receipt = Signed::<PaymentReceipt>::parse(receipt).unwrap().verify(&key).unwrap();
            assert!(receipt.is_effective());
        }
    }
}

fn measure_costs(folder: &Path, rounds: u32) -> Costs {
    use std::io::Write as _;
    let signer = signer(1);
    let message = [7; 512];
    let signature = signer.sign(&message);
    let key = signer.public_key();
    let mut file = std::fs::File::create(folder.join("fsync")).unwrap();
    Costs {
        sign: median(rounds, || {
            std::hint::black_box(signer.sign(&message));
        }),
        verify: median(rounds, || assert!(crypto::verify(&key, &message, &signature))),
        // One page of each of the six tables, roughly.
        fsync: median(rounds.min(500), || {
            file.write_all(&[9; 6 * 4096]).unwrap();
            file.sync_data().unwrap();
        }),
        cores: u32::try_from(std::thread::available_parallelism().unwrap().get()).unwrap(),
    }
}

fn median(rounds: u32, mut work: impl FnMut()) -> Duration {
    let mut times: Vec<_> = (0..rounds.max(1))
        .map(|_| {
            let started = Instant::now();
            work();
            started.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}

fn print_table(costs: &Costs, rows: &[Row]) {
    let us = |duration: Duration| duration.as_secs_f64() * 1e6;
    println!(
        "\nPayments reserved and posted, every receipt checked; callers and ledger share {} cores",
        costs.cores
    );
    println!(
        "one operation: sign {:.0} us, verify {:.0} us, fsync {:.0} us; one payment: {ORDERS} orders, {} verifies and {} \
         signs at least",
        us(costs.sign),
        us(costs.verify),
        us(costs.fsync),
        VERIFIES * ORDERS,
        SIGNS * ORDERS,
    );
    println!(
        "{:>16} {:>8} {:>11} {:>10} {:>10} {:>10} {:>7}",
        "way", "callers", "payments/s", "p50 us", "p99 us", "bound/s", "share"
    );
    for row in rows {
        let bound = costs.bound(row.callers);
        println!(
            "{:>16} {:>8} {:>11.0} {:>10.0} {:>10.0} {:>10.0} {:>6.0}%",
            row.way,
            row.callers,
            row.per_second,
            us(row.p50),
            us(row.p99),
            bound,
            100.0 * row.per_second / bound,
        );
    }
    for row in rows.iter().filter(|row| row.callers == 1) {
        println!(
            "one caller, {}: p50 is {:.1} times two fsyncs and its signatures ({:.0} us)",
            row.way,
            row.p50.as_secs_f64() / costs.alone().as_secs_f64(),
            us(costs.alone()),
        );
    }
}

/// On the disk that builds are on: a temporary folder in memory would make fsync free.
fn target() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}
