//! An adapter that keeps the contract until it is told to lie.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arbiter::modules::{Entry, GrpcAdapter, PROTOCOL_VERSION, Reach};
use arbiter_protocol::crypto::Signer as _;
use arbiter_protocol::ids::{Digest, PublicKey};
use arbiter_protocol::ledger::{LedgerRefused, LedgerRejected, MemoryLedger};
use arbiter_protocol::message::payment::{PaymentOrder, PaymentReceipt, PaymentState, PaymentTerms};
use arbiter_protocol::message::wire;
use arbiter_protocol::statement::{Envelope, Signed, Verified};
use arbiter_protocol::wire::adapter as proto;
use arbiter_protocol::wire::adapter::adapter_service_server::{AdapterService, AdapterServiceServer};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::ServerTlsConfig;
use tonic::{Request, Response, Status};

use super::rails::{self, Rail, books, envelope, status, terms};
use super::{key, now};

/// What is wrong with every answer. Orders are carried out as they should, or not at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lie {
    #[default]
    None,
    /// No receipt in the answer.
    Empty,
    /// Never answers.
    Hangs,
    /// Says what is not final, to an order.
    NotFinal,
    /// Says that it speaks another version.
    OldVersion,
    /// A receipt, and 16 MiB.
    Oversize,
    /// For another exchange: the reference differs.
    OtherExchange,
    /// Signed by a stranger.
    OtherKey,
    /// For another amount.
    OtherPayment,
    /// Says that every payment is posted, whatever was ordered or said before.
    Posted,
    /// An envelope with bytes that are no receipt.
    Rubbish,
    /// Has none of the methods.
    Unknown,
}

/// Each of them is no answer at all, to a question.
pub const LIES: [Lie; 9] = [
    Lie::Empty,
    Lie::Hangs,
    Lie::OldVersion,
    Lie::Oversize,
    Lie::OtherExchange,
    Lie::OtherKey,
    Lie::OtherPayment,
    Lie::Rubbish,
    Lie::Unknown,
];

/// Who is being served, and how.
pub struct State {
    books: Mutex<MemoryLedger>,
    lie: Mutex<Lie>,
    seed: u8,
    /// Questions and orders that arrived.
    pub calls: AtomicUsize,
    /// Of these, on their way now.
    pub hanging: AtomicUsize,
    token: Option<&'static str>,
}

/// The adapter, served until the test ends.
pub struct Liar {
    pub address: SocketAddr,
    pub key: PublicKey,
    pub state: Arc<State>,
}

impl Liar {
    pub async fn start(seed: u8) -> Self {
        Self::start_with(seed, None, None).await
    }

    /// With TLS and a token that callers must show.
    pub async fn start_with(seed: u8, tls: Option<ServerTlsConfig>, token: Option<&'static str>) -> Self {
        let state = Arc::new(State {
            books: Mutex::new(books(seed)),
            lie: Mutex::default(),
            seed,
            calls: AtomicUsize::new(0),
            hanging: AtomicUsize::new(0),
            token,
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = tonic::transport::Server::builder();
        if let Some(tls) = tls {
            server = server.tls_config(tls).unwrap();
        }
        let server = server.add_service(AdapterServiceServer::new(Served(Arc::clone(&state))));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Self { address, key: key(seed).public_key(), state }
    }

    pub fn lie(&self, lie: Lie) {
        *self.state.lie.lock().unwrap() = lie;
    }

    pub fn calls(&self) -> usize {
        self.state.calls.load(Ordering::SeqCst)
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn rail(&self) -> Rail {
        rails::adapter(&self.url(), self.key, "card", None)
    }

    /// As an arbiter has it, with this much patience and so many calls at one time.
    pub fn entry(&self, timeout: Duration, calls: usize) -> Entry {
        let reach = Reach::plain(self.url(), timeout);
        let module = GrpcAdapter::new(self.key, "card".into(), &reach).unwrap();
        Entry { key: self.key, kind: "card".into(), module: Arc::new(module), calls, timeout }
    }

    /// What it says truly.
    pub fn state_of(&self, terms: &PaymentTerms) -> PaymentState {
        self.state.books.lock().unwrap().payment(terms, now()).unwrap().state
    }

    /// Has the payer's order carried out, past all lies.
    pub fn make(&self, order: &Verified<PaymentOrder>) -> Verified<PaymentReceipt> {
        self.state.books.lock().unwrap().order_payment(order.envelope().clone(), now()).unwrap()
    }
}

struct Hanging<'a>(&'a AtomicUsize);

impl Drop for Hanging<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Served(Arc<State>);

impl Served {
    fn lie(&self) -> Lie {
        *self.0.lie.lock().unwrap()
    }

    /// The answer as it is told.
    async fn tell(&self, truth: Verified<PaymentReceipt>) -> Result<Option<wire::Envelope>, Status> {
        let own = key(self.0.seed);
        let terms = truth.terms.clone();
        let say = |receipt: PaymentReceipt| Ok(Some(Verified::sign(receipt, &own).envelope().to_wire()));
        match self.lie() {
            Lie::None | Lie::OldVersion => Ok(Some(truth.envelope().to_wire())),
            Lie::Empty => Ok(None),
            Lie::Hangs => {
                self.0.hanging.fetch_add(1, Ordering::SeqCst);
                let _hanging = Hanging(&self.0.hanging);
                std::future::pending().await
            }
            Lie::NotFinal => {
                let order = Some(truth.order.unwrap_or(truth.digest()));
                let entry = truth.entry.max(1);
                say(PaymentReceipt { state: PaymentState::Reserved, order, entry, ..(*truth).clone() })
            }
            Lie::Oversize => {
                let payload = vec![b'x'; 16 << 20];
                Ok(Some(wire::Envelope { payload, ..truth.envelope().to_wire() }))
            }
            Lie::OtherExchange => {
                let reference = Digest::of(&[b"another exchange"]);
                say(PaymentReceipt { terms: PaymentTerms { reference, ..terms }, ..(*truth).clone() })
            }
            Lie::OtherKey => Ok(Some(Verified::sign((*truth).clone(), &key(99)).envelope().to_wire())),
            Lie::OtherPayment => {
                let mut terms = terms;
                terms.payment.amount.units += 1;
                say(PaymentReceipt { terms, ..(*truth).clone() })
            }
            Lie::Posted => {
                let state = PaymentState::Posted(terms.payment.amount.units);
                say(PaymentReceipt { state, order: None, entry: 1, ..(*truth).clone() })
            }
            Lie::Rubbish => {
                let payload = b"\xff\xfe rubbish".to_vec();
                Ok(Some(wire::Envelope { payload, ..truth.envelope().to_wire() }))
            }
            Lie::Unknown => Err(Status::unimplemented("no such method")),
        }
    }

    fn enter<T>(&self, request: Request<T>) -> Result<T, Status> {
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        self.may(&request)?;
        Ok(request.into_inner())
    }

    fn may<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let shown = request.metadata().get("authorization").and_then(|it| it.to_str().ok());
        match self.0.token {
            Some(token) if shown != Some(&format!("Bearer {token}")) => {
                Err(Status::unauthenticated("no token"))
            }
            _ => Ok(()),
        }
    }

    /// Carries out an order for one method; one that comes too late is answered with what is there.
    fn carry_out(&self, order: Envelope, late_is_answered: bool) -> Result<Verified<PaymentReceipt>, Status> {
        let mut books = self.0.books.lock().unwrap();
        match books.order_payment(order.clone(), now()) {
            Ok(receipt) => Ok(receipt),
            Err(LedgerRejected::Refused(
                LedgerRefused::PaymentPosted { .. } | LedgerRefused::PaymentVoided,
            )) if late_is_answered => {
                let order = Signed::<PaymentOrder>::parse(order).unwrap();
                books.payment(&order.unverified().terms, now()).map_err(|it| status(&it))
            }
            Err(rejected) => Err(status(&rejected)),
        }
    }
}

#[tonic::async_trait]
impl AdapterService for Served {
    async fn get_adapter_info(
        &self,
        request: Request<proto::GetAdapterInfoRequest>,
    ) -> Result<Response<proto::GetAdapterInfoResponse>, Status> {
        self.may(&request)?;
        let old = match self.lie() {
            Lie::OldVersion => 1,
            Lie::Unknown => return Err(Status::unimplemented("no such method")),
            _ => 0,
        };
        Ok(Response::new(proto::GetAdapterInfoResponse {
            protocol_version: PROTOCOL_VERSION - old,
            key: key(self.0.seed).public_key().to_vec(),
            kind: "card".into(),
            name: "Liar".into(),
            powers: vec![1, 2, 3, 5],
            currencies: vec![proto::CurrencyLimits {
                code: "EUR".into(),
                scale: 2,
                least_units: 1,
                most_units: 1 << 40,
            }],
            longest_hold_ms: 1 << 40,
            clock: now().0,
        }))
    }

    async fn verify_payment(
        &self,
        request: Request<proto::VerifyPaymentRequest>,
    ) -> Result<Response<proto::VerifyPaymentResponse>, Status> {
        let terms = terms(self.enter(request)?.terms)?;
        let truth = self.0.books.lock().unwrap().payment(&terms, now()).map_err(|it| status(&it))?;
        Ok(Response::new(proto::VerifyPaymentResponse { receipt: self.tell(truth).await? }))
    }

    async fn revoke_payment(
        &self,
        request: Request<proto::RevokePaymentRequest>,
    ) -> Result<Response<proto::RevokePaymentResponse>, Status> {
        let truth = self.carry_out(envelope(self.enter(request)?.order)?, true)?;
        Ok(Response::new(proto::RevokePaymentResponse { receipt: self.tell(truth).await? }))
    }

    async fn generate_payment(
        &self,
        request: Request<proto::GeneratePaymentRequest>,
    ) -> Result<Response<proto::GeneratePaymentResponse>, Status> {
        let truth = self.carry_out(envelope(self.enter(request)?.order)?, true)?;
        Ok(Response::new(proto::GeneratePaymentResponse { receipt: self.tell(truth).await? }))
    }

    async fn make_payment(
        &self,
        request: Request<proto::MakePaymentRequest>,
    ) -> Result<Response<proto::MakePaymentResponse>, Status> {
        let truth = self.carry_out(envelope(self.enter(request)?.order)?, false)?;
        Ok(Response::new(proto::MakePaymentResponse { receipt: self.tell(truth).await? }))
    }
}
