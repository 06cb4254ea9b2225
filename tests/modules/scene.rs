//! An arbiter in this process with payment modules, two parties, and their agreements on money.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arbiter::clock::SystemClock;
use arbiter::engine::{Engine, Handle};
use arbiter::grpc::{Api, Server};
use arbiter::keys::{Keys, Seeds};
use arbiter::modules::{Entry, Modules};
use arbiter::outbox::{Outbox, Pause};
use arbiter::store::mem::MemStore;
use arbiter_protocol::crypto::{MemorySigner, SealingSecret, Signer as _};
use arbiter_protocol::evidence::checkpoint::Origin;
use arbiter_protocol::exchange::item::{Description, Information, Item, Statement};
use arbiter_protocol::exchange::payment::{Amount, Hold, Payment, Timeout};
use arbiter_protocol::exchange::property::{Properties, Property};
use arbiter_protocol::exchange::selection::{Protocol, Role, select};
use arbiter_protocol::ids::{Digest, PublicKey};
use arbiter_protocol::message::agreement::{Acceptance, Agreement, ArbiterIdentity, Offer, Party};
use arbiter_protocol::message::payment::{PaymentAction, PaymentOrder, PaymentTerms};
use arbiter_protocol::message::request::{Action, Request};
use arbiter_protocol::role::arbiter::Escrows;
use arbiter_protocol::ruling::sequencer::Desk;
use arbiter_protocol::statement::Verified;
use arbiter_protocol::time::{DurationMillis, UnixMillis};
use arbiter_protocol::wire::arbiter as proto;
use arbiter_protocol::wire::arbiter::arbiter_service_client::ArbiterServiceClient;
use tokio::net::TcpListener;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use zeroize::Zeroizing;

use super::{key, now};

pub const HOUR: DurationMillis = DurationMillis(60 * 60 * 1000);
pub type Parties = ArbiterServiceClient<Channel>;

/// The arbiter.
pub struct Scene {
    pub engine: Handle,
    pub modules: Arc<Modules>,
    pub server: Server,
    pub cast: Cast,
    outbox: tokio::task::JoinHandle<()>,
}

/// Who agrees on what.
pub struct Cast {
    pub arbiter: ArbiterIdentity,
    alice: MemorySigner,
    bob: MemorySigner,
    nonces: AtomicU64,
}

fn seeded(byte: u8) -> Zeroizing<[u8; 32]> {
    Zeroizing::new([byte; 32])
}

impl Scene {
    /// An arbiter with these modules, asked at most `together` questions, that takes `uploads` deposits at one time.
    pub async fn new(entries: Vec<Entry>, uploads: u32, together: usize) -> Self {
        let keys = Keys::from_seeds(&Seeds { arbiter: seeded(1), log: seeded(2), veil: seeded(3) });
        let arbiter = keys.identity(Origin::parse("arbiter.example/evidence").unwrap());
        let store = Arc::new(MemStore::new(&arbiter, keys.vault()).unwrap());
        let build = Digest::of(&[b"test"]);
        let desk = Desk { arbiter: arbiter.clone(), build, clock_uncertainty: DurationMillis(1000) };
        let engine = Engine::start(desk, keys, store, Box::new(SystemClock)).unwrap();
        let modules = Arc::new(Modules::new(entries, together));
        let pause = Pause {
            first: Duration::from_millis(5),
            longest: Duration::from_millis(50),
            patience: Duration::from_millis(300),
        };
        let outbox = tokio::spawn(Outbox::new(engine.clone(), modules.all(), pause).run());
        let api = Api { max_uploads: uploads, modules: Arc::clone(&modules), ..Api::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server::start(api, listener, engine.clone()).await.unwrap();
        Self { engine, modules, server, cast: Cast::new(arbiter), outbox }
    }

    pub async fn parties(&self) -> Parties {
        parties(&format!("http://{}", self.server.address())).await
    }

    pub async fn end(self) {
        self.outbox.abort();
        self.server.stop().await.unwrap();
        self.engine.stop().await;
    }
}

pub async fn parties(url: &str) -> Parties {
    ArbiterServiceClient::new(Endpoint::from_shared(url.to_owned()).unwrap().connect().await.unwrap())
}

/// 5.00 EUR from `payer` to `payee`.
pub fn payment(
    ledger: PublicKey,
    payer: &MemorySigner,
    payee: &MemorySigner,
    hold: Option<UnixMillis>,
) -> Item {
    Item::new(Description::Payment(Payment {
        ledger,
        payer: payer.public_key(),
        payee: payee.public_key(),
        amount: Amount::parse("5.00 EUR").unwrap(),
        hold: hold.map(|until| Hold { until, timeout: Timeout::Post }),
    }))
}

impl Cast {
    pub fn new(arbiter: ArbiterIdentity) -> Self {
        Self { arbiter, alice: key(21), bob: key(22), nonces: AtomicU64::new(now().0) }
    }

    fn nonce(&self) -> [u8; 32] {
        let number = self.nonces.fetch_add(1, Ordering::SeqCst);
        *Digest::of(&[b"nonce", &number.to_be_bytes()]).as_bytes()
    }

    fn agree(&self, ours: Item, theirs: Item, protocol: Protocol) -> Agreement {
        let party = |signer: &MemorySigner, byte, name: &str| Party {
            signing_key: signer.public_key(),
            sealing_key: SealingSecret::from_seed(&seeded(byte)).public_key(),
            name: name.to_owned(),
        };
        let selection = select(&ours.properties, &theirs.properties).unwrap();
        assert_eq!(selection.protocol, protocol);
        let offer = Offer {
            nonce: self.nonce(),
            originator: party(&self.alice, 31, "Alice"),
            responder: party(&self.bob, 32, "Bob"),
            arbiter: self.arbiter.clone(),
            selection,
            escrow: None,
            originator_item: ours,
            responder_item: theirs,
            complain_by: Some(now().after(HOUR)),
            send_by: None,
        };
        let offer = Verified::sign(offer, &self.alice);
        let acceptance = Acceptance { exchange_id: offer.exchange_id(), nonce: self.nonce() };
        Agreement::join(offer, Verified::sign(acceptance, &self.bob)).unwrap()
    }

    /// P2: Alice pays at once, Bob signs that he has it.
    pub fn purchase(&self, ledger: PublicKey) -> Agreement {
        let content = b"invoice 7";
        let subject = Information {
            sha256: Digest::of(&[content]),
            size_bytes: 9,
            media_type: "text/plain".into(),
            name: "invoice".into(),
        };
        let (title, text) = ("Receipt".into(), "Paid.".into());
        let receipt = Item::new(Description::Signature(Statement { title, text, subject }));
        let paid = payment(ledger, &key(11), &key(12), None);
        self.agree(paid, receipt, Protocol::VerifyThenGenerate)
    }

    /// P4: money for money, on two rails.
    pub fn change(&self, alices: PublicKey, bobs: PublicKey) -> Agreement {
        let until = Some(now().after(HOUR).after(HOUR));
        // Both could be seen, too, and then P3 would be selected.
        let only = |item| Item { properties: Properties::new([Property::Revocable]), ..item };
        let ours = only(payment(alices, &key(11), &key(12), until));
        let theirs = only(payment(bobs, &key(12), &key(11), until));
        self.agree(ours, theirs, Protocol::MutualRollback)
    }

    pub fn case(&self, agreement: &Agreement, role: Role, action: Action) -> proto::Case {
        let (exchange_id, agreement_id) = (agreement.exchange_id(), Some(agreement.id()));
        let signer = if role == Role::Originator { &self.alice } else { &self.bob };
        let request = Verified::sign(Request { exchange_id, agreement_id, role, action }, signer);
        proto::Case::file(&request, agreement.offer(), Some(agreement.acceptance()), &Escrows::default())
    }
}

pub fn terms(agreement: &Agreement, role: Role) -> PaymentTerms {
    PaymentTerms::of(agreement.offer(), role).unwrap()
}

/// The payer's order.
pub fn make(agreement: &Agreement, role: Role) -> Verified<PaymentOrder> {
    let payer = key(if role == Role::Originator { 11 } else { 12 });
    Verified::sign(PaymentOrder { terms: terms(agreement, role), action: PaymentAction::Make }, &payer)
}

/// a deposit without content.
pub async fn observe(parties: &mut Parties, case: proto::Case) -> Result<proto::Receipt, Status> {
    deposit(parties, case, &[]).await
}

pub async fn deposit(
    parties: &mut Parties,
    case: proto::Case,
    content: &[u8],
) -> Result<proto::Receipt, Status> {
    use proto::verify_transfer_request::Part;
    let mut messages = vec![proto::VerifyTransferRequest { part: Some(Part::Case(case)) }];
    if !content.is_empty() {
        messages.push(proto::VerifyTransferRequest { part: Some(Part::Chunk(content.to_vec())) });
    }
    let answer = parties.verify_transfer(tokio_stream::iter(messages)).await?;
    Ok(answer.into_inner().receipt.unwrap())
}

pub async fn resolve(parties: &mut Parties, case: proto::Case) -> Result<proto::Receipt, Status> {
    let request = proto::GenerateItemRequest { case: Some(case) };
    Ok(parties.generate_item(request).await?.into_inner().receipt.unwrap())
}

pub async fn revoke(parties: &mut Parties, case: proto::Case) -> Result<proto::Receipt, Status> {
    let request = proto::RevokeTransferRequest { case: Some(case) };
    Ok(parties.revoke_transfer(request).await?.into_inner().receipt.unwrap())
}

/// The error's code and reason.
#[track_caller]
pub fn assert_reason<T: std::fmt::Debug>(result: Result<T, Status>, code: Code, expected: &str) -> Status {
    let status = result.expect_err(expected);
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("no reason in {status:?}"));
    assert_eq!((status.code(), info.reason.as_str()), (code, expected), "{}", status.message());
    status
}

/// Waits until `holds`; a state that never comes fails the test.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..4000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never: {what}");
}
