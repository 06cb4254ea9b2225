//! Rails to test: a real ledger behind its API, and the sample adapter in a process of its own.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use arbiter::clock::SystemClock;
use arbiter::grpc::{Server, Transport};
use arbiter::ledger::store::Store;
use arbiter::ledger::{Handle, Options};
use arbiter::modules::{GrpcAdapter, GrpcLedger, PaymentModule, Reach};
use arbiter_protocol::crypto::{MemorySigner, Signer as _};
use arbiter_protocol::exchange::payment::{Amount, Currency, Payment};
use arbiter_protocol::ids::{Digest, PublicKey};
use arbiter_protocol::ledger::{LedgerRefused, LedgerRejected, MemoryLedger};
use arbiter_protocol::message::account::{AccountAction, AccountOrder};
use arbiter_protocol::message::payment::{PaymentAction, PaymentOrder, PaymentReceipt, PaymentTerms};
use arbiter_protocol::message::wire;
use arbiter_protocol::statement::{Envelope, Verified};
use arbiter_protocol::time::DurationMillis;
use arbiter_protocol::wire::adapter as adapter_proto;
use arbiter_protocol::wire::adapter::adapter_service_client::AdapterServiceClient;
use arbiter_protocol::wire::ledger as proto;
use arbiter_protocol::wire::ledger::ledger_service_client::LedgerServiceClient;
use tokio::net::TcpListener;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use zeroize::Zeroizing;

use super::{key, now};

/// Every call of a test ends.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What a tester needs of a rail: the module as the arbiter has it, and the way of payers to it.
pub struct Rail {
    pub key: PublicKey,
    pub module: Arc<dyn PaymentModule>,
    pub orders: Box<dyn Orders>,
    pub payer: MemorySigner,
    pub payee: MemorySigner,
    /// May end holds: an arbiter's key.
    pub authority: MemorySigner,
}

/// Which order a method takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Make,
    Post,
    Void,
}

/// Gives an order as it is, good or bad.
#[async_trait::async_trait]
pub trait Orders: Send + Sync {
    async fn give(&self, way: Way, order: wire::Envelope) -> Result<Envelope, Status>;
}

fn answer(receipt: Option<wire::Envelope>) -> Result<Envelope, Status> {
    Ok(Envelope::from_wire(receipt.expect("a receipt")).unwrap())
}

fn channel(url: &str) -> Channel {
    Endpoint::from_shared(url.to_owned()).unwrap().timeout(PATIENCE).connect_lazy()
}

fn rail(key: PublicKey, module: Arc<dyn PaymentModule>, orders: Box<dyn Orders>) -> Rail {
    let [payer, payee, authority] = [11, 12, 13].map(super::key);
    Rail { key, module, orders, payer, payee, authority }
}

// ---- adapters

type Shown = InterceptedService<Channel, Token>;

#[derive(Clone)]
pub struct Token(Option<String>);

impl tonic::service::Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        Ok(request)
    }
}

struct AdapterOrders(AdapterServiceClient<Shown>);

#[async_trait::async_trait]
impl Orders for AdapterOrders {
    async fn give(&self, way: Way, order: wire::Envelope) -> Result<Envelope, Status> {
        let (mut client, order) = (self.0.clone(), Some(order));
        answer(match way {
            Way::Make => {
                let request = adapter_proto::MakePaymentRequest { order };
                client.make_payment(request).await?.into_inner().receipt
            }
            Way::Post => {
                let request = adapter_proto::GeneratePaymentRequest { order };
                client.generate_payment(request).await?.into_inner().receipt
            }
            Way::Void => {
                let request = adapter_proto::RevokePaymentRequest { order };
                client.revoke_payment(request).await?.into_inner().receipt
            }
        })
    }
}

/// The rail behind an adapter somewhere.
pub fn adapter(url: &str, key: PublicKey, kind: &str, token: Option<&str>) -> Rail {
    let token = token.map(str::to_owned);
    let reach = Reach { token: token.clone().map(Zeroizing::new), ..Reach::plain(url, PATIENCE) };
    let module = GrpcAdapter::new(key, kind.to_owned(), &reach).unwrap();
    let client = AdapterServiceClient::with_interceptor(channel(url), Token(token));
    rail(key, Arc::new(module), Box::new(AdapterOrders(client)))
}

// ---- the sample

/// The sample adapter, running. It ends with this value.
pub struct Sample {
    child: Child,
    pub url: String,
    pub key: PublicKey,
    token: Option<String>,
    /// Holds the seed and the token.
    _folder: tempfile::TempDir,
}

impl Sample {
    /// `None` on a machine without grpcio for Python, which CI must not be.
    pub fn start(seed: u8, token: Option<&str>) -> Option<Self> {
        let knows = |python: &&str| {
            let check =
                Command::new(python).args(["-c", "import grpc, google.protobuf, cryptography"]).output();
            check.is_ok_and(|it| it.status.success())
        };
        let Some(python) = ["python3", "/usr/bin/python3"].into_iter().find(knows) else {
            let ci = std::env::var("CI").is_ok_and(|it| it == "true");
            assert!(!ci, "CI needs python3 with grpcio, protobuf and cryptography");
            eprintln!("SKIPPED: no python3 with grpcio, protobuf and cryptography, so no sample adapter");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let root = env!("CARGO_MANIFEST_DIR");
        std::fs::write(folder.path().join("seed"), hex::encode([seed; 32])).unwrap();
        let mut command = Command::new(python);
        command
            .arg(format!("{root}/tests/modules/adapter.py"))
            .arg("--descriptors")
            .arg(format!("{root}/arbiter-protocol/src/wire/gen/descriptors.bin"))
            .arg("--seed")
            .arg(folder.path().join("seed"));
        if let Some(token) = token {
            let path = folder.path().join("token");
            std::fs::write(&path, format!("{token}\n")).unwrap();
            command.arg("--token").arg(path);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let word = |name: &str| {
            let found = line.split_whitespace().find_map(|word| word.strip_prefix(name));
            found.unwrap_or_else(|| panic!("{name} in {line:?}")).to_owned()
        };
        let url = format!("http://{}", word("address="));
        assert_eq!(word("key="), key(seed).public_key().to_string());
        let key = key(seed).public_key();
        Some(Self { child, url, key, token: token.map(str::to_owned), _folder: folder })
    }

    pub fn rail(&self) -> Rail {
        adapter(&self.url, self.key, "card", self.token.as_deref())
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// ---- the ledger

/// Real books with accounts that have money.
pub fn books(seed: u8) -> MemoryLedger {
    let mut books = MemoryLedger::new(Box::new(key(seed)));
    let currency = Currency::new("EUR", 2).unwrap();
    for holder in [11, 12].map(key) {
        books.open(&holder, &currency, now()).unwrap();
        let (amount, first) = (Amount::parse("1000.00 EUR").unwrap(), Digest::of(&[b"first"]));
        books.issue(holder.public_key(), amount, first, now()).unwrap();
    }
    books
}

pub fn status(rejected: &LedgerRejected) -> Status {
    let text = rejected.to_string();
    match rejected {
        LedgerRejected::Invalid(_) => Status::invalid_argument(text),
        LedgerRejected::Refused(LedgerRefused::SignerNotEntitled) => Status::permission_denied(text),
        LedgerRejected::Refused(_) => Status::failed_precondition(text),
    }
}

pub fn envelope(wire: Option<wire::Envelope>) -> Result<Envelope, Status> {
    let wire = wire.ok_or_else(|| Status::invalid_argument("an envelope is missing"))?;
    Envelope::from_wire(wire).map_err(|error| Status::invalid_argument(error.to_string()))
}

pub fn terms(wire: Option<wire::PaymentTerms>) -> Result<PaymentTerms, Status> {
    let wire = wire.ok_or_else(|| Status::invalid_argument("terms are missing"))?;
    PaymentTerms::from_wire(wire).map_err(|error| Status::invalid_argument(error.to_string()))
}

/// A ledger in this process behind its API.
pub struct Ledger {
    pub address: SocketAddr,
    pub key: PublicKey,
    handle: Handle,
    _server: Server,
}

impl Ledger {
    pub async fn start(seed: u8) -> Self {
        let key = key(seed).public_key();
        let currency = Currency::new("EUR", 2).unwrap();
        let options = Options {
            currencies: vec![currency.clone()],
            // A book that begins now missed no orders.
            grace: DurationMillis(0),
            ..Options::default()
        };
        let store = Store::in_memory(key).unwrap();
        let handle =
            Handle::start(Box::new(super::key(seed)), store, options, Box::new(SystemClock)).unwrap();
        for holder in [11, 12].map(super::key) {
            let (account, action) = (holder.public_key(), AccountAction::Open);
            let order = AccountOrder { ledger: key, account, currency: currency.clone(), action };
            handle.order_account(Verified::sign(order, &holder).envelope().clone()).await.unwrap();
            let amount = Amount::parse("1000.00 EUR").unwrap();
            let payment = Payment { ledger: key, payer: key, payee: account, amount, hold: None };
            let terms = PaymentTerms { payment, authority: None, reference: Digest::of(&[b"first"]) };
            let order = PaymentOrder { terms, action: PaymentAction::Make };
            let order = Verified::sign(order, &super::key(seed));
            handle.order_payment(order.envelope().clone()).await.unwrap();
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server::start_ledger(Transport::default(), listener, handle.clone()).await.unwrap();
        Self { address: server.address(), key, handle, _server: server }
    }

    /// Has the payer's order carried out.
    pub async fn make(&self, order: &Verified<PaymentOrder>) -> Verified<PaymentReceipt> {
        self.handle.order_payment(order.envelope().clone()).await.unwrap()
    }

    pub fn module(&self) -> Arc<dyn PaymentModule> {
        let reach = Reach::plain(format!("http://{}", self.address), PATIENCE);
        Arc::new(GrpcLedger::new(self.key, &reach).unwrap())
    }

    pub fn rail(&self) -> Rail {
        let url = format!("http://{}", self.address);
        rail(self.key, self.module(), Box::new(LedgerOrders(LedgerServiceClient::new(channel(&url)))))
    }
}

struct LedgerOrders(LedgerServiceClient<Channel>);

#[async_trait::async_trait]
impl Orders for LedgerOrders {
    async fn give(&self, _way: Way, order: wire::Envelope) -> Result<Envelope, Status> {
        let request = proto::OrderPaymentRequest { order: Some(order) };
        answer(self.0.clone().order_payment(request).await?.into_inner().receipt)
    }
}
