//! What trades with money cost: exchanges a second, honest and disputed, beside the ledger's own payments.
//!
//! Questions: how many purchases (money held, a file, the money posted) and payments with receipt (money, a signature on its
//! receipt) a second do so many pairs of parties finish, each party with its journal on the disk; how many a second are
//! restored when the peer takes what it gets and says nothing more; how long is it from the complaint to both sides whole.
//! Arbiter (store, side journal, outbox, deadlines) and ledger serve over gRPC, the peers' line is in memory; everything shares
//! the machine's cores.
//!
//! A complaint begins with the first call to the arbiter, of a purchase not before `send_by`: earlier it only stands. Both
//! are whole when the client has its outcome and, if money goes back, the ledger says so. What is beside: payments that
//! the same ledger reserves and posts for as many callers, in turns with the exchanges. The bound of an honest exchange
//! are the fsyncs that nobody can leave out: one for each order to the ledger, one after the other.

#![allow(
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a benchmark may fail"
)]
#![allow(missing_docs, reason = "a program")]

mod beside;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arbiter::clock::{Clock as _, SystemClock};
use arbiter::engine::Handle as Arbiter;
use arbiter::grpc::{Api, Server, Transport};
use arbiter::ledger::store::Store as Book;
use arbiter::ledger::{Handle as Ledger, Options};
use arbiter::modules::{Entry, GrpcLedger as Module, Modules, Reach};
use arbiter::outbox::{Outbox, Pause};
use arbiter_client::arbiter::grpc::GrpcArbiter;
use arbiter_client::arbiter::{ArbiterPort, Deposit, Filing, PortError};
use arbiter_client::ledger::grpc::GrpcLedger;
use arbiter_client::testing::{Cheat, Cheater, identity, purse};
use arbiter_client::transport::memory;
use arbiter_client::{Client, Give, OfferTerms, Outcome, items};
use arbiter_protocol::crypto::Signer as _;
use arbiter_protocol::escrow::Suite;
use arbiter_protocol::exchange::item::Information;
use arbiter_protocol::exchange::payment::{Amount, Currency, Hold, Payment, Timeout};
use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::ids::Digest;
use arbiter_protocol::message::account::{AccountAction, AccountOrder};
use arbiter_protocol::message::agreement::ArbiterIdentity;
use arbiter_protocol::message::payment::{PaymentAction, PaymentOrder, PaymentState, PaymentTerms};
use arbiter_protocol::role::Timing;
use arbiter_protocol::ruling::receipt::Receipt;
use arbiter_protocol::statement::Verified;
use arbiter_protocol::time::{DurationMillis, UnixMillis};
use async_trait::async_trait;
use beside::ours::signer;
use beside::{fsyncs, load, median, ours, percentile};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Pairs of parties at the same time.
const PAIRS: usize = 16;
/// Turns of every measurement.
const ROUNDS: usize = 5;
/// Exchanges of each pair in a turn; of the disputed ones it is one.
const EACH: usize = 8;
/// How long a seller has in a purchase that is disputed, until which the buyer must wait.
const SEND_BY: DurationMillis = DurationMillis(12_000);
/// After so much silence a party whose peer is silent complains: on a busy machine an honest answer may take long.
const PATIENCE: Duration = Duration::from_secs(4);
const HOUR: DurationMillis = DurationMillis(3_600_000);
/// Bytes of the file that is bought.
const FILE_BYTES: usize = 16 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// P2: money at once for a signature.
    PaymentWithReceipt,
    /// P3: money held for a file.
    Purchase,
}

impl Kind {
    /// Orders to the ledger, one after the other: make, of a purchase also post.
    const fn orders(self) -> f64 {
        match self {
            Self::PaymentWithReceipt => 1.0,
            Self::Purchase => 2.0,
        }
    }
}

fn euro() -> Currency {
    Currency::new("EUR", 2).unwrap()
}

/// Arbiter and ledger, served.
struct Street {
    folder: PathBuf,
    ledger: Ledger,
    ledger_url: String,
    arbiter: Arbiter,
    arbiter_url: String,
}

impl Street {
    async fn open(folder: &Path) -> Self {
        let book = Book::open(&folder.join("ledger.redb"), signer(1).public_key()).unwrap();
        let options = Options { currencies: vec![euro()], ..Options::default() };
        let ledger = Ledger::start(Box::new(signer(1)), book, options, Box::new(SystemClock)).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let served = Server::start_ledger(Transport::default(), listener, ledger.clone()).await.unwrap();
        let ledger_url = format!("http://{}", served.address());
        std::mem::forget(served); // Until the process ends, like all servers here.

        let arbiter = ours::engine(ours::keys(), ours::store(folder), Box::new(SystemClock));
        let timeout = Duration::from_secs(10);
        let module = Arc::new(Module::new(ledger.key(), &Reach::plain(&ledger_url, timeout)).unwrap());
        let entry = Entry { key: ledger.key(), kind: "ledger".into(), module, calls: 256, timeout };
        let modules = Arc::new(Modules::new([entry], 256));
        tokio::spawn(Outbox::new(arbiter.clone(), modules.all(), Pause::default()).run());
        tokio::spawn(arbiter::deadlines::run(arbiter.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = Api { modules, ..Api::default() };
        let served = Server::start(api, listener, arbiter.clone()).await.unwrap();
        let arbiter_url = format!("http://{}", served.address());
        std::mem::forget(served);
        Self { folder: folder.to_owned(), ledger, ledger_url, arbiter, arbiter_url }
    }

    fn identity(&self) -> ArbiterIdentity {
        self.arbiter.desk().arbiter.clone()
    }

    /// Opens the account of a party, with money in it.
    async fn fund(&self, name: &str) {
        let (ledger, account) = (self.ledger.key(), purse(name).public_key());
        let order = AccountOrder { ledger, account, currency: euro(), action: AccountAction::Open };
        let order = Verified::sign(order, &purse(name));
        self.ledger.order_account(order.envelope().clone()).await.unwrap();
        let amount = Amount::new(1 << 30, euro()).unwrap();
        let payment = Payment { ledger, payer: ledger, payee: account, amount, hold: None };
        let terms = PaymentTerms { payment, authority: None, reference: Digest::of(&[name.as_bytes()]) };
        let order = Verified::sign(PaymentOrder { terms, action: PaymentAction::Make }, &signer(1));
        self.ledger.order_payment(order.envelope().clone()).await.unwrap();
    }

    /// So many payments, reserved and posted, for each of so many callers, over gRPC; payments a second.
    async fn transfers(&self, each: usize, round: usize) -> f64 {
        use arbiter_protocol::wire::ledger::{
            OrderPaymentRequest, ledger_service_client::LedgerServiceClient,
        };
        let until = Some(Hold { until: SystemClock.now().after(HOUR), timeout: Timeout::Post });
        let mut orders = Vec::new();
        for number in 0..PAIRS * each {
            let (payer, payee) = (format!("alice{}", number % PAIRS), format!("bob{}", number % PAIRS));
            let payment = self.payment(&payer, &payee, until);
            let reference = Digest::of(&[b"beside", &[round as u8], &number.to_be_bytes()]);
            let terms = PaymentTerms { payment, authority: Some(self.identity().key), reference };
            orders.push([PaymentAction::Make, PaymentAction::Post(100)].map(|action| {
                Verified::sign(PaymentOrder { terms: terms.clone(), action }, &purse(&payer))
                    .envelope()
                    .to_wire()
            }));
        }
        let mut calls = JoinSet::new();
        let started = Instant::now();
        for part in orders.chunks(each) {
            let (part, url) = (part.to_vec(), self.ledger_url.clone());
            calls.spawn(async move {
                let endpoint = tonic::transport::Endpoint::from_shared(url).unwrap();
                let mut client = LedgerServiceClient::new(endpoint.connect().await.unwrap());
                for order in part.into_iter().flatten() {
                    client.order_payment(OrderPaymentRequest { order: Some(order) }).await.unwrap();
                }
            });
        }
        calls.join_all().await;
        (PAIRS * each) as f64 / started.elapsed().as_secs_f64()
    }

    fn payment(&self, payer: &str, payee: &str, hold: Option<Hold>) -> Payment {
        let amount = Amount::new(100, euro()).unwrap();
        let (payer, payee) = (purse(payer).public_key(), purse(payee).public_key());
        Payment { ledger: self.ledger.key(), payer, payee, amount, hold }
    }
}

/// The way to the arbiter, and when it was first taken.
struct Timed {
    inner: GrpcArbiter,
    first: Mutex<Option<Instant>>,
}

impl Timed {
    fn called(&self) -> &GrpcArbiter {
        self.first.lock().unwrap().get_or_insert_with(Instant::now);
        &self.inner
    }
}

#[async_trait]
impl ArbiterPort for Timed {
    async fn abort(&self, filing: &Filing) -> Result<Receipt, PortError> {
        self.called().abort(filing).await
    }
    async fn resolve(&self, filing: &Filing) -> Result<Receipt, PortError> {
        self.called().resolve(filing).await
    }
    async fn query(&self, filing: &Filing) -> Result<Receipt, PortError> {
        self.called().query(filing).await
    }
    async fn revoke(&self, filing: &Filing) -> Result<Receipt, PortError> {
        self.called().revoke(filing).await
    }
    async fn deposit(&self, filing: &Filing, content: &Path) -> Result<Receipt, PortError> {
        self.called().deposit(filing, content).await
    }
    async fn fetch(&self, filing: &Filing) -> Result<Deposit, PortError> {
        self.called().fetch(filing).await
    }
    async fn consistency(&self, old_size: u64, new_size: u64) -> Result<Vec<Digest>, PortError> {
        self.called().consistency(old_size, new_size).await
    }
}

/// Two parties that trade with each other. Alice pays.
struct Pair {
    names: [String; 2],
    alice: Client,
    /// Alice when she has no patience.
    hasty: Client,
    bob: Client,
    port: Arc<Timed>,
    file: PathBuf,
    about: Information,
}

impl Pair {
    async fn new(street: &Street, number: usize) -> Self {
        let names = [format!("alice{number}"), format!("bob{number}")];
        let inner = GrpcArbiter::new(&street.arbiter_url, None).unwrap();
        let port = Arc::new(Timed { inner, first: Mutex::new(None) });
        let party = |name: &str, folder: &str, patience| {
            Client::builder()
                .arbiter_port(Arc::clone(&port) as Arc<dyn ArbiterPort>)
                .arbiter_identity(street.identity())
                .identity(identity(name))
                .store(street.folder.join(folder))
                .ledger(street.ledger.key(), Arc::new(GrpcLedger::new(&street.ledger_url, None).unwrap()))
                .account(Arc::new(purse(name)))
                .timing(Timing { complain_margin: DurationMillis(500) })
                .patience(patience)
                .build()
        };
        let long = Duration::from_secs(600);
        let alice = party(&names[0], &names[0], long).await.unwrap();
        let hasty = party(&names[0], &format!("hasty{number}"), PATIENCE).await.unwrap();
        let bob = party(&names[1], &names[1], long).await.unwrap();
        for name in &names {
            street.fund(name).await;
        }
        let file = street.folder.join(format!("file{number}"));
        let content: Vec<u8> = (0..FILE_BYTES).map(|i| (i * 31 % 251) as u8).collect();
        std::fs::write(&file, content).unwrap();
        let about = items::describe(&file, None).await.unwrap();
        Self { names, alice, hasty, bob, port, file, about }
    }

    fn terms(&self, street: &Street, kind: Kind, send_by: UnixMillis) -> (OfferTerms, Give) {
        let complain_by = send_by.after(HOUR);
        let hold = Hold { until: complain_by.after(HOUR), timeout: Timeout::Post };
        let [alice, bob] = &self.names;
        let pay = |hold| items::payment(street.payment(alice, bob, hold));
        let (originator_item, responder_item, give) = match kind {
            Kind::Purchase => {
                (pay(Some(hold)), items::file(self.about.clone()), Give::File(self.file.clone()))
            }
            Kind::PaymentWithReceipt => {
                (pay(None), items::signature("Receipt", "Paid.", self.about.clone()), Give::Nothing)
            }
        };
        let terms = OfferTerms {
            responder: self.bob.party(),
            originator_item,
            responder_item,
            complain_by: Some(complain_by),
            send_by: (kind == Kind::Purchase).then_some(send_by),
            suite: Suite::DEFAULT,
        };
        (terms, give)
    }

    async fn honest(&self, street: &Street, kind: Kind) {
        let (mut a, mut b) = memory::pair();
        let (terms, give) = self.terms(street, kind, SystemClock.now().after(HOUR));
        let id = self.alice.offer(terms, Give::Nothing).await.unwrap();
        let bob = async {
            let offer = self.bob.next_offer(&mut b).await.unwrap();
            let id = self.bob.accept(&offer, give).await.unwrap();
            self.bob.run(id, &mut b).await.unwrap()
        };
        let (ours, theirs) = tokio::join!(self.alice.run(id, &mut a), bob);
        assert!(matches!((ours.unwrap(), theirs), (Outcome::Completed(_), Outcome::Completed(_))));
    }

    /// Bob takes the money and is silent. When Alice called the arbiter, and when both were whole.
    async fn disputed(&self, street: &Street, kind: Kind, send_by: UnixMillis) -> (Instant, Instant) {
        let (mut a, mut b) = memory::pair();
        *self.port.first.lock().unwrap() = None;
        let (terms, _) = self.terms(street, kind, send_by);
        let due = Instant::now() + Duration::from_millis(send_by.0.saturating_sub(SystemClock.now().0));
        let id = self.hasty.offer(terms, Give::Nothing).await.unwrap();
        let cheater = Cheater::new(identity(&self.names[1]), Cheat::WithholdItem, Some(self.file.clone()));
        let alice = async {
            let ended = self.hasty.run(id, &mut a).await;
            drop(a);
            ended
        };
        let (ours, _) = tokio::join!(alice, cheater.respond(&mut b));
        let ours = ours.unwrap();
        let called = self.port.first.lock().unwrap().unwrap();
        if kind == Kind::PaymentWithReceipt {
            assert!(matches!(ours, Outcome::Resolved(_)), "{ours:?}");
            return (called, Instant::now());
        }
        assert!(matches!(ours, Outcome::Aborted(_)), "{ours:?}");
        let paid = PaymentTerms::of(&ours.evidence().offer, Role::Originator).unwrap();
        while street.ledger.payment(paid.clone()).await.unwrap().state != PaymentState::Voided {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        (called.max(due), Instant::now())
    }
}

/// Honest exchanges a second.
async fn honest(street: &Arc<Street>, pairs: &[Arc<Pair>], kind: Kind, each: usize) -> f64 {
    let mut all = JoinSet::new();
    let started = Instant::now();
    for pair in pairs {
        let (street, pair) = (Arc::clone(street), Arc::clone(pair));
        all.spawn(async move {
            for _ in 0..each {
                pair.honest(&street, kind).await;
            }
        });
    }
    all.join_all().await;
    (pairs.len() * each) as f64 / started.elapsed().as_secs_f64()
}

/// Every pair has a dispute at the same time: restored exchanges a second, and how long each took.
async fn disputed(street: &Arc<Street>, pairs: &[Arc<Pair>], kind: Kind) -> (f64, Vec<Duration>) {
    let wait = if kind == Kind::Purchase { SEND_BY } else { HOUR };
    let send_by = SystemClock.now().after(wait);
    let mut all = JoinSet::new();
    for pair in pairs {
        let (street, pair) = (Arc::clone(street), Arc::clone(pair));
        all.spawn(async move { pair.disputed(&street, kind, send_by).await });
    }
    let times = all.join_all().await;
    let begun = times.iter().map(|(called, _)| *called).min().unwrap();
    let over = times.iter().map(|(_, whole)| *whole).max().unwrap();
    let each = times.iter().map(|(called, whole)| whole.duration_since(*called)).collect();
    (times.len() as f64 / over.duration_since(begun).as_secs_f64(), each)
}

fn main() {
    // `cargo test` runs benches too, without arguments that say so: then a few trades show that it works.
    let quick = !std::env::args().any(|argument| argument == "--bench");
    let (pairs, rounds, each) = if quick { (1, 1, 1) } else { (PAIRS, ROUNDS, EACH) };
    let target = env!("CARGO_TARGET_TMPDIR");
    let folder = tempfile::Builder::new().prefix("trades-bench").tempdir_in(target).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let street = Arc::new(Street::open(folder.path()).await);
        let mut parties = Vec::new();
        for number in 0..PAIRS {
            parties.push(Arc::new(Pair::new(&street, number).await));
        }
        let parties = &parties[..pairs];
        println!("\ntrades of {pairs} pairs at a time, arbiter and ledger over gRPC, every journal on the disk; {rounds} turns");
        println!("median of the turns; load of the machine at the beginning: {}", load());
        println!(
            "{:>22} {:>10} {:>9} {:>12} {:>11} {:>11} {:>22}",
            "", "honest/s", "payments", "fsyncs", "disputed/s", "payments", "complaint to whole"
        );
        for kind in [Kind::PaymentWithReceipt, Kind::Purchase] {
            let (mut rates, mut besides, mut bounds) = (Vec::new(), Vec::new(), Vec::new());
            let (mut restored, mut restored_besides, mut times) = (Vec::new(), Vec::new(), Vec::new());
            for round in 0..rounds {
                // Turn and turn about, so that a slow moment of the machine meets all.
                let alone = street.transfers(each, 100 * usize::from(kind == Kind::Purchase) + round).await;
                let bound = pairs as f64 * fsyncs(folder.path(), 4096, 100) / kind.orders();
                let rate = honest(&street, parties, kind, each).await;
                let (again, took) = disputed(&street, parties, kind).await;
                rates.push(rate);
                besides.push(rate / alone);
                bounds.push(rate / bound);
                restored.push(again);
                restored_besides.push(again / alone);
                times.extend(took);
            }
            times.sort();
            println!(
                "{:>22} {:>10.0} {:>7.0} % {:>10.1} % {:>11.0} {:>9.0} % {:>12.1} ms, p95 {:.1} ms",
                if kind == Kind::Purchase { "purchase" } else { "payment with receipt" },
                median(rates),
                100.0 * median(besides),
                100.0 * median(bounds),
                median(restored),
                100.0 * median(restored_besides),
                percentile(&times, 50).as_secs_f64() * 1e3,
                percentile(&times, 95).as_secs_f64() * 1e3,
            );
        }
        println!("load of the machine at the end: {}", load());
    });
    // Servers of both go on until the process ends.
    std::mem::forget(runtime);
}
