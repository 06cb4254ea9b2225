//! How many rulings a second, how fast one, and how close to what this machine can do at all.
//!
//! Question: for 1, 16, 64 and 256 callers that check every proof, with and without gRPC between them and the
//! engine, what are rulings per second and p50/p99? Server and callers share the machine's cores.
//!
//! The bound counts only what no implementation could leave out: the Ed25519 operations of both sides, spread
//! over all cores, and one fsync per commit that each caller has to wait for. Rows `+ escrow` resolve contracts whose
//! two signatures are taken out of escrow (Ed25519, suite 132/64): their bound counts two openings and two sealings more,
//! each as long as it takes alone on one core. Rows `journal` are the engine with a side journal beside the store, whose fsync
//! runs at the same time. Beside each number of callers, right after them: a PostgreSQL table of rows with as many bytes as a
//! ruling has in the journal, one committed insert a row, as many clients. The first `bound` is about the clock, the second about work:
//! processor time, which other programs on the machine do not change much.

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
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arbiter::clock::SystemClock;
use arbiter::engine::{Filed, Handle};
use arbiter::grpc::{Api, Server};
use arbiter::keys::Keys;
use arbiter::keys::escrow::{EpochSeed, EscrowKeys};
use arbiter::store::Store;
use arbiter_protocol::crypto::{self, MemorySigner, Sealer, SealingSecret, Signer as _};
use arbiter_protocol::escrow::{SignatureKey, Suite};
use arbiter_protocol::exchange::item::{Description, DetachedSignature, Information, Item, Statement};
use arbiter_protocol::exchange::kind::detached::Place;
use arbiter_protocol::exchange::kind::pledge::Pledge;
use arbiter_protocol::exchange::selection::{Role, select};
use arbiter_protocol::ids::Digest;
use arbiter_protocol::message::agreement::{
    Acceptance, Agreement, ArbiterIdentity, EscrowTerms, Offer, Party,
};
use arbiter_protocol::message::request::{Action, Request};
use arbiter_protocol::role::arbiter::{Case, Escrows};
use arbiter_protocol::ruling::receipt::Receipt;
use arbiter_protocol::statement::{Signed, Verified};
use arbiter_protocol::time::UnixMillis;
use arbiter_protocol::wire::arbiter as proto;
use arbiter_protocol::wire::arbiter::arbiter_service_client::ArbiterServiceClient;
use beside::ours::{arbiter, seed, signer};
use beside::{Postgres, folder_bytes, load, ours, processor};
use zeroize::Zeroizing;

/// Callers at the same time.
const CALLERS: [usize; 4] = [1, 16, 64, 256];
/// Signature checks that a ruling cannot do without: request, offer, acceptance at the arbiter …
const ARBITER_VERIFIES: u32 = 3;
/// … and statement, answer, checkpoint, acceptance and causing request at the caller.
const CALLER_VERIFIES: u32 = 5;
/// Verdict and answer; the checkpoint is shared by a batch.
const SIGNS: u32 = 2;
/// Signatures taken out of escrow by one ruling, where there are any.
const OPENED: u32 = 2;
/// Callers of the rows with escrows.
const ESCROW_CALLERS: [usize; 2] = [1, 64];

struct Costs {
    sign: Duration,
    verify: Duration,
    fsync: Duration,
    open: Duration,
    seal: Duration,
    cores: u32,
}

impl Costs {
    fn signatures(&self) -> Duration {
        self.verify * (ARBITER_VERIFIES + CALLER_VERIFIES) + self.sign * (SIGNS + 1)
    }

    /// Rulings per second that signatures and fsync alone allow.
    fn bound(&self, row: &Row) -> f64 {
        let escrow = self.escrow(row);
        let by_cores = f64::from(self.cores) / self.work(row).as_secs_f64();
        // A caller has one ruling under way, and each waits for its signatures and an fsync.
        let by_latency = row.callers as f64 / (self.fsync + self.signatures() + escrow).as_secs_f64();
        by_cores.min(by_latency)
    }

    /// The work on one ruling that signatures and escrows alone need.
    fn work(&self, row: &Row) -> Duration {
        self.verify * (ARBITER_VERIFIES + CALLER_VERIFIES) + self.sign * SIGNS + self.escrow(row)
    }

    /// What a ruling of this row opens and seals.
    fn escrow(&self, row: &Row) -> Duration {
        if row.escrow { (self.open + self.seal) * OPENED } else { Duration::ZERO }
    }
}

struct Row {
    way: &'static str,
    escrow: bool,
    callers: usize,
    per_second: f64,
    /// Processor time of one, arbiter and caller together.
    work: Duration,
    p50: Duration,
    p99: Duration,
    /// Bytes of a ruling in the journal, where there is one.
    bytes: usize,
    /// Inserts a second of PostgreSQL, right after.
    inserts: Option<f64>,
}

impl Row {
    fn name(&self) -> String {
        format!("{}{}", self.way, if self.escrow { " + escrow" } else { "" })
    }
}

fn main() {
    // `cargo test` runs benches too, without arguments that say so: then a few rulings show that it works.
    let quick = !std::env::args().any(|argument| argument == "--bench");
    let folder = tempfile::Builder::new().prefix("arbiter-bench").tempdir_in(target()).unwrap();
    let costs = measure_costs(folder.path(), if quick { 20 } else { 2000 });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut rows = Vec::new();
    // A number among the arguments picks one row, for profiling.
    let asked: Option<usize> = std::env::args().find_map(|argument| argument.parse().ok());
    let postgres = if quick { None } else { Postgres::start() };
    for callers in CALLERS.into_iter().filter(|callers| asked.is_none_or(|asked| asked == *callers)) {
        let rulings = if quick { callers } else { (callers * 250).clamp(1000, 4_000) };
        let [engine, journal, grpc] = [Way::Engine, Way::Journal, Way::Grpc]
            .map(|way| runtime.block_on(run(folder.path(), way, callers, filings(rulings))));
        let inserts = postgres.as_ref().and_then(|it| it.inserts(journal.bytes, callers, 4));
        rows.extend([engine, journal, grpc].map(|row| Row { inserts, ..row }));
    }
    drop(postgres);
    let escrowed = escrowed_filings(if quick { 64 } else { 1000 });
    for callers in ESCROW_CALLERS.into_iter().filter(|callers| asked.is_none_or(|asked| asked == *callers)) {
        for way in [Way::Engine, Way::Grpc] {
            rows.push(runtime.block_on(run(folder.path(), way, callers, Arc::clone(&escrowed))));
        }
    }
    print_table(&costs, &rows);
}

#[derive(Clone, Copy)]
enum Way {
    Engine,
    Grpc,
    /// The engine over a store with a side journal, on the same disk.
    Journal,
}

/// Before the clock runs.
const WARM_UP: usize = 20;

fn keys() -> Keys {
    let keys = ours::keys();
    let epoch = EpochSeed { epoch: 1, seed: seed(4), from: UnixMillis(1), until: UnixMillis(1 << 52) };
    let escrow = EscrowKeys::new(keys.arbiter(), &[epoch]).unwrap();
    keys.with_escrow(escrow)
}

fn filings(rulings: usize) -> Arc<Vec<Filing>> {
    let arbiter = arbiter();
    Arc::new((0..rulings + WARM_UP).map(|number| Filing::new(&arbiter, number, None)).collect())
}

/// On all cores: making two escrows takes longer than ruling.
fn escrowed_filings(rulings: usize) -> Arc<Vec<Filing>> {
    let terms = EscrowTerms::new(keys().escrow().epochs().last().unwrap().clone(), Suite::FAST);
    let (arbiter, numbers) = (arbiter(), (0..rulings + WARM_UP).collect::<Vec<_>>());
    let cores = std::thread::available_parallelism().unwrap().get();
    let make = |numbers: &[usize]| {
        numbers.iter().map(|number| Filing::new(&arbiter, *number, Some(&terms))).collect::<Vec<_>>()
    };
    let make = &make;
    let filings = std::thread::scope(|scope| {
        let parts = numbers.chunks(numbers.len().div_ceil(cores));
        let tasks: Vec<_> = parts.map(|part| scope.spawn(move || make(part))).collect();
        tasks.into_iter().flat_map(|task| task.join().unwrap()).collect()
    });
    Arc::new(filings)
}

async fn run(folder: &Path, way: Way, callers: usize, cases: Arc<Vec<Filing>>) -> Row {
    let data = tempfile::tempdir_in(folder).unwrap();
    let store: Arc<dyn Store> = match way {
        Way::Engine | Way::Grpc => Arc::new(ours::alone(data.path())),
        Way::Journal => ours::store(data.path()),
    };
    let engine = ours::engine(keys(), store, Box::new(SystemClock));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server::start(Api::default(), listener, engine.clone()).await.unwrap();
    let address = format!("http://{}", server.address());

    let next = Arc::new(AtomicUsize::new(WARM_UP));
    let caller = Caller::new(way, &engine, &address).await;
    for filing in &cases[..WARM_UP] {
        caller.clone().rule(filing).await;
    }
    let (started, before) = (Instant::now(), processor());
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let (cases, next, caller) = (Arc::clone(&cases), Arc::clone(&next), caller.clone());
            tokio::spawn(async move {
                let mut times = Vec::new();
                let mut caller = caller.another().await;
                while let Some(filing) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let asked = Instant::now();
                    caller.rule(filing).await;
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
    let (took, work) = (started.elapsed(), processor() - before);
    server.stop().await.unwrap();
    engine.stop().await;
    times.sort();
    Row {
        way: match way {
            Way::Engine => "engine",
            Way::Grpc => "gRPC",
            Way::Journal => "journal",
        },
        escrow: cases[0].escrows.originator.is_some(),
        callers,
        per_second: times.len() as f64 / took.as_secs_f64(),
        work: work / u32::try_from(times.len()).unwrap(),
        p50: times[times.len() / 2],
        p99: times[times.len() * 99 / 100],
        bytes: match way {
            Way::Journal => folder_bytes(&data.path().join("journal")) as usize / cases.len(),
            Way::Engine | Way::Grpc => 0,
        },
        inserts: None,
    }
}

/// Everything a party files to resolve one P1 exchange.
struct Filing {
    request: Verified<Request>,
    agreement: Agreement,
    escrows: Escrows,
}

impl Filing {
    /// With `terms`, both items are detached signatures in escrow.
    fn new(arbiter: &ArbiterIdentity, number: usize, terms: Option<&EscrowTerms>) -> Self {
        let (originator, responder) = (signer(11), signer(12));
        let party = |signer: &MemorySigner, byte, name: &str| Party {
            signing_key: signer.public_key(),
            sealing_key: SealingSecret::from_seed(&seed(byte)).public_key(),
            name: name.into(),
        };
        let statement = Statement {
            title: "Contract of sale".into(),
            text: String::new(),
            subject: Information {
                sha256: Digest::of(&[b"contract"]),
                size_bytes: 48_213,
                media_type: "application/pdf".into(),
                name: "contract.pdf".into(),
            },
        };
        let item = |signer: &MemorySigner| {
            let statement = statement.clone();
            if terms.is_none() {
                return Item::new(Description::Signature(statement));
            }
            let key = SignatureKey::ed25519(signer.public_key()).unwrap();
            let detached = DetachedSignature { statement, key, certificate: Vec::new() };
            Item::new(Description::DetachedSignature(detached))
        };
        let (originator_item, responder_item) = (item(&originator), item(&responder));
        let mut nonce = [0; 32];
        nonce[..8].copy_from_slice(&(number as u64).to_be_bytes());
        let offer = Verified::sign(
            Offer {
                nonce,
                originator: party(&originator, 21, "Northwind Machines GmbH"),
                responder: party(&responder, 22, "Tailspin Tooling ApS"),
                arbiter: arbiter.clone(),
                selection: select(&originator_item.properties, &responder_item.properties).unwrap(),
                originator_item,
                responder_item,
                complain_by: None,
                send_by: None,
                escrow: terms.cloned(),
            },
            &originator,
        );
        let acceptance = Verified::sign(Acceptance { exchange_id: offer.exchange_id(), nonce }, &responder);
        let agreement = Agreement::join(offer, acceptance).unwrap();
        let request = Request {
            exchange_id: agreement.exchange_id(),
            agreement_id: Some(agreement.id()),
            role: Role::Responder,
            action: Action::Resolve,
        };
        let escrow = |role, signer: &MemorySigner| {
            let place = Place::of(agreement.offer(), role, agreement.id());
            let signature = signer.sign(statement.document().as_bytes());
            terms.map(|_| place.put(&signature, &Zeroizing::new(nonce)).unwrap())
        };
        let escrows = Escrows {
            originator: escrow(Role::Originator, &originator).map(Pledge::from),
            responder: escrow(Role::Responder, &responder).map(Pledge::from),
        };
        Self { request: Verified::sign(request, &responder), agreement, escrows }
    }

    fn wire(&self) -> proto::Case {
        let (offer, acceptance) = (self.agreement.offer(), self.agreement.acceptance());
        proto::Case::file(&self.request, offer, Some(acceptance), &self.escrows)
    }

    /// What every caller does with an answer: checks all of it.
    fn check(&self, receipt: &Receipt) {
        receipt.verify(self.agreement.offer(), Some(self.request.digest())).unwrap();
    }
}

#[derive(Clone)]
enum Caller {
    Engine(Handle),
    Grpc(ArbiterServiceClient<tonic::transport::Channel>, String),
}

impl Caller {
    async fn new(way: Way, engine: &Handle, address: &str) -> Self {
        match way {
            Way::Engine | Way::Journal => Self::Engine(engine.clone()),
            Way::Grpc => {
                let channel = tonic::transport::Endpoint::from_shared(address.to_owned()).unwrap();
                let channel = channel.connect().await.unwrap();
                Self::Grpc(ArbiterServiceClient::new(channel), address.to_owned())
            }
        }
    }

    /// A caller of its own, with its own connection.
    async fn another(&self) -> Self {
        match self {
            Self::Engine(engine) => Self::Engine(engine.clone()),
            Self::Grpc(_, address) => {
                let channel = tonic::transport::Endpoint::from_shared(address.clone()).unwrap();
                Self::Grpc(ArbiterServiceClient::new(channel.connect().await.unwrap()), address.clone())
            }
        }
    }

    async fn rule(&mut self, filing: &Filing) {
        let receipt = match self {
            Self::Engine(engine) => {
                // Admission is part of a ruling; without gRPC it happens here.
                let case = Case::admit(
                    &engine.desk().arbiter,
                    Signed::parse(filing.request.envelope().clone()).unwrap(),
                    Signed::parse(filing.agreement.offer().envelope().clone()).unwrap(),
                    Some(Signed::parse(filing.agreement.acceptance().envelope().clone()).unwrap()),
                    filing.escrows.clone(),
                )
                .unwrap();
                match engine.resolve(case).await.unwrap() {
                    Filed::Receipt(receipt) => *receipt,
                    Filed::Content(_) => unreachable!("a resolve is answered with a receipt"),
                }
            }
            Self::Grpc(client, _) => {
                let request = proto::GenerateItemRequest { case: Some(filing.wire()) };
                let response = client.generate_item(request).await.unwrap().into_inner();
                response.receipt.unwrap().try_into().unwrap()
            }
        };
        filing.check(&receipt);
    }
}

fn measure_costs(folder: &Path, rounds: u32) -> Costs {
    use std::io::Write as _;
    let signer = signer(1);
    let message = [7; 512];
    let signature = signer.sign(&message);
    let key = signer.public_key();
    let mut file = std::fs::File::create(folder.join("fsync")).unwrap();
    let escrowed = &escrowed_filings(0)[0];
    let (offer, keys) = (escrowed.agreement.offer(), keys());
    let place = Place::of(offer, Role::Responder, escrowed.agreement.id());
    let escrow = escrowed.escrows.responder.as_ref().and_then(Pledge::escrow).unwrap();
    let secret = keys.escrow().secret(&offer.escrow.as_ref().unwrap().key).unwrap();
    Costs {
        open: median(rounds, || drop(std::hint::black_box(place.open(escrow, secret).unwrap()))),
        seal: median(rounds, || {
            let mut sealer =
                Sealer::new(&offer.originator.sealing_key, b"", &Zeroizing::new([7; 32])).unwrap();
            std::hint::black_box(sealer.seal(&signature, true).unwrap());
        }),
        sign: median(rounds, || {
            std::hint::black_box(signer.sign(&message));
        }),
        verify: median(rounds, || assert!(crypto::verify(&key, &message, &signature))),
        // What a commit of one ruling appends to the write-ahead log, roughly.
        fsync: median(rounds.min(500), || {
            file.write_all(&[9; 6000]).unwrap();
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
    println!("\nRulings, every proof checked by the caller; callers and arbiter share {} cores", costs.cores);
    println!(
        "one operation: sign {:.0} us, verify {:.0} us, fsync {:.0} us, open {:.0} us, seal {:.0} us; \
         one ruling: {} verifies and {} signs at least, with escrow {OPENED} openings and sealings more",
        us(costs.sign),
        us(costs.verify),
        us(costs.fsync),
        us(costs.open),
        us(costs.seal),
        ARBITER_VERIFIES + CALLER_VERIFIES,
        SIGNS,
    );
    println!(
        "{:>16} {:>8} {:>11} {:>10} {:>10} {:>10} {:>7} {:>9} {:>7} {:>12}",
        "way",
        "callers",
        "rulings/s",
        "p50 us",
        "p99 us",
        "bound/s",
        "share",
        "work us",
        "bound",
        "PostgreSQL"
    );
    for row in rows {
        let (bound, work) = (costs.bound(row), costs.work(row));
        println!(
            "{:>16} {:>8} {:>11.0} {:>10.0} {:>10.0} {:>10.0} {:>6.0}% {:>9.0} {:>6.0}% {:>12}",
            row.name(),
            row.callers,
            row.per_second,
            us(row.p50),
            us(row.p99),
            bound,
            100.0 * row.per_second / bound,
            us(row.work),
            100.0 * work.as_secs_f64() / row.work.as_secs_f64(),
            row.inserts.map(|it| format!("{:.2} times", row.per_second / it)).unwrap_or_default(),
        );
    }
    let bytes = rows.iter().map(|row| row.bytes).max().unwrap_or_default();
    println!(
        "a ruling has {bytes} bytes in the journal, and so have PostgreSQL's rows; load of the machine: {}",
        load()
    );
    for row in rows.iter().filter(|row| row.callers == 1) {
        let alone = costs.fsync + costs.signatures() + costs.escrow(row);
        println!(
            "one caller, {}: p50 is {:.1} times one fsync, its signatures and openings ({:.0} us)",
            row.name(),
            row.p50.as_secs_f64() / alone.as_secs_f64(),
            us(alone),
        );
    }
}

/// On the disk that builds are on: a temporary folder in memory would make fsync free.
fn target() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}
