//! A world for tests: an arbiter in this process behind a real gRPC server, and two peers with keys.

#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "helpers of tests are tests")]

mod front;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arbiter::clock::Clock;
use arbiter::engine::{Engine, Handle};
use arbiter::grpc::{Api, Server};
use arbiter::keys::escrow::{EpochSeed, EscrowKeys};
use arbiter::keys::{Keys, Seeds};
use arbiter::store::mem::MemStore;
use arbiter::store::{Commit, Store as _, StoreError};
use arbiter_protocol::crypto::{MemorySigner, Opener, SealingSecret, Signer as _};
use arbiter_protocol::escrow::{Escrow, RsaHash, RsaPadding, SignatureKey, Suite};
use arbiter_protocol::evidence::checkpoint::Origin;
use arbiter_protocol::exchange::item::{Description, DetachedSignature, Information, Item, Statement};
use arbiter_protocol::exchange::kind::detached::Place;
use arbiter_protocol::exchange::selection::{Protocol, Role, select};
use arbiter_protocol::ids::Digest;
use arbiter_protocol::message::agreement::{
    Acceptance, Agreement, ArbiterIdentity, EscrowTerms, Offer, Party,
};
use arbiter_protocol::message::escrow_epoch::EscrowEpoch;
use arbiter_protocol::message::request::{Action, Request};
use arbiter_protocol::message::wire;
use arbiter_protocol::role::arbiter::Escrows;
use arbiter_protocol::ruling::receipt::{Proven, Receipt};
use arbiter_protocol::ruling::sequencer::Desk;
use arbiter_protocol::statement::{Envelope, Payload, Verified, pae};
use arbiter_protocol::time::{DurationMillis, UnixMillis};
use arbiter_protocol::wire::arbiter as proto;
use arbiter_protocol::wire::arbiter::arbiter_service_client::ArbiterServiceClient;
use arbiter_protocol::wire::arbiter::evidence_log_service_client::EvidenceLogServiceClient;
use front::{Front, Fronted};
use tokio::net::TcpListener;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use zeroize::Zeroizing;

/// When every test begins: 2026-11-20T00:00:00Z.
pub const START: UnixMillis = UnixMillis(1_795_132_800_000);

pub type Parties = ArbiterServiceClient<Channel>;
pub type Auditors = EvidenceLogServiceClient<Channel>;

/// A clock that tests set.
#[derive(Clone)]
pub struct TestClock(Arc<AtomicU64>);

impl TestClock {
    pub fn set(&self, now: UnixMillis) {
        self.0.store(now.0, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.0.load(Ordering::SeqCst))
    }
}

/// A store whose disk can break.
pub struct TestStore {
    pub inner: MemStore,
    pub broken: AtomicBool,
}

impl TestStore {
    fn writes(&self) -> Result<&MemStore, StoreError> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(StoreError::Io("No space left on device".into()));
        }
        Ok(&self.inner)
    }
}

impl Front for TestStore {
    fn store(&self) -> Result<&MemStore, StoreError> {
        Ok(&self.inner)
    }
    fn commit(&self, commit: &Commit) -> Result<(), StoreError> {
        self.writes()?.commit(commit)
    }
    fn publish(&self, note: &str) -> Result<(), StoreError> {
        self.writes()?.publish(note)
    }
}

/// A party with its secrets.
pub struct Peer {
    pub signer: MemorySigner,
    pub secret: SealingSecret,
    pub party: Party,
}

impl Peer {
    pub fn new(byte: u8, name: &str) -> Self {
        let signer = MemorySigner::from_seed(&Zeroizing::new([byte; 32]));
        let secret = SealingSecret::from_seed(&Zeroizing::new([byte + 100; 32]));
        let party = Party {
            signing_key: signer.public_key(),
            sealing_key: secret.public_key(),
            name: name.to_owned(),
        };
        Self { signer, secret, party }
    }

    /// A detached signature with the own key.
    pub fn detached(&self, text: &str, subject: &Information) -> Item {
        detached(SignatureKey::ed25519(self.signer.public_key()).unwrap(), text, subject)
    }
}

/// A detached signature by `key`.
pub fn detached(key: SignatureKey, text: &str, subject: &Information) -> Item {
    let statement = Statement { title: "Statement".into(), text: text.into(), subject: subject.clone() };
    Item::new(Description::DetachedSignature(DetachedSignature { statement, key, certificate: Vec::new() }))
}

/// Puts `role`'s finished signature into escrow.
pub fn put(agreement: &Agreement, role: Role, signature: &[u8]) -> Escrow {
    let place = Place::of(agreement.offer(), role, agreement.id());
    place.put(signature, &Zeroizing::new(*Digest::of(&[b"coins", signature]).as_bytes())).unwrap()
}

/// An escrow of the same form out of which nothing opens: every sealed seed is changed.
pub fn falsified(escrow: &Escrow, response_bytes: usize) -> Escrow {
    let mut bytes = escrow.to_bytes();
    let hidden = usize::from(escrow.suite().hidden());
    let each = response_bytes + 32 + 16;
    let start = bytes.len() - hidden * each;
    for number in 0..hidden {
        bytes[start + number * each + response_bytes + 32] ^= 1;
    }
    Escrow::from_bytes(&bytes).unwrap()
}

/// What `signer`'s peer gets out of what it fetched.
pub fn unseal(agreement: &Agreement, signer: Role, peer: &Peer, fetched: (Vec<u8>, Vec<Vec<u8>>)) -> Vec<u8> {
    let (key, chunks) = fetched;
    let mut opener = Opener::new(&peer.secret, &agreement.seal_context(signer), &key).unwrap();
    let last = chunks.len() - 1;
    let open = |(n, chunk): (usize, &Vec<u8>)| opener.open(chunk, n == last).unwrap();
    chunks.iter().enumerate().flat_map(open).collect()
}

/// An RSA key that OpenSSL made. `None` on a machine without the program, which CI must not be.
pub struct Rsa {
    folder: tempfile::TempDir,
    pub key: SignatureKey,
}

impl Rsa {
    pub fn new(bits: u32) -> Option<Self> {
        let found = Command::new("openssl").arg("version").output().is_ok_and(|it| it.status.success());
        let ci = std::env::var("CI").is_ok_and(|it| it == "true");
        assert!(found || !ci, "CI needs the program openssl");
        if !found {
            eprintln!("SKIPPED: no openssl program, so no RSA signature");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        openssl(folder.path(), &format!("genrsa -out key.pem {bits}"));
        let modulus = openssl(folder.path(), "rsa -in key.pem -noout -modulus");
        let digits = modulus.trim().strip_prefix("Modulus=").unwrap();
        let modulus = hex::decode(digits).unwrap();
        let key = SignatureKey::rsa(modulus, 65537, RsaPadding::Pkcs1, RsaHash::Sha256).unwrap();
        Some(Self { folder, key })
    }

    pub fn sign(&self, document: &str) -> Vec<u8> {
        std::fs::write(self.folder.path().join("document"), document).unwrap();
        openssl(self.folder.path(), "dgst -sha256 -sign key.pem -out signature document");
        std::fs::read(self.folder.path().join("signature")).unwrap()
    }
}

fn openssl(folder: &Path, line: &str) -> String {
    let output = Command::new("openssl").args(line.split_whitespace()).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "openssl {line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The epoch that a message holds, verified under the arbiter's key.
pub fn epoch(envelope: wire::Envelope, arbiter: &ArbiterIdentity) -> Verified<EscrowEpoch> {
    let envelope = Envelope::from_wire(envelope).unwrap();
    arbiter_protocol::statement::Signed::parse(envelope).unwrap().verify(&arbiter.key).unwrap()
}

/// The parties, and the arbiter that they agree on.
pub struct Cast {
    pub arbiter: ArbiterIdentity,
    /// To which key detached signatures are put into escrow.
    pub terms: Option<EscrowTerms>,
    pub alice: Peer,
    pub bob: Peer,
    pub mallory: Peer,
    nonces: AtomicU64,
}

/// An arbiter that serves, what it runs on, and the cast.
pub struct World {
    pub clock: TestClock,
    pub engine: Handle,
    pub server: Server,
    pub store: Arc<Fronted<TestStore>>,
    pub epochs: Vec<TestEpoch>,
    cast: Cast,
}

/// One epoch of the escrow key: its number, what its seed is made of, when it ends.
#[derive(Clone, Copy, Debug)]
pub struct TestEpoch(pub u64, pub u8, pub UnixMillis);

/// The one epoch that most worlds have.
pub const EPOCH: TestEpoch = TestEpoch(1, 41, UnixMillis(START.0 + 3650 * 86_400_000));

impl std::ops::Deref for World {
    type Target = Cast;

    fn deref(&self) -> &Cast {
        &self.cast
    }
}

impl World {
    pub async fn new() -> Self {
        Self::with(Api::default()).await
    }

    pub async fn with(api: Api) -> Self {
        Self::with_epochs(api, vec![EPOCH]).await
    }

    /// New agreements name the last epoch.
    pub async fn with_epochs(api: Api, epochs: Vec<TestEpoch>) -> Self {
        let arbiter = Self::keys(&[]).identity(Origin::parse("arbiter.example/evidence").unwrap());
        let inner = MemStore::new(&arbiter, Self::keys(&[]).vault()).unwrap();
        let clock = TestClock(Arc::new(AtomicU64::new(START.0)));
        Self::on(inner, clock, Cast::new(arbiter), api, epochs).await
    }

    /// Another arbiter process on the same disk; the cast stays.
    pub async fn restarted(self, api: Api) -> Self {
        let epochs = self.epochs.clone();
        self.restarted_with(api, epochs).await
    }

    /// The same with other escrow keys.
    pub async fn restarted_with(self, api: Api, epochs: Vec<TestEpoch>) -> Self {
        let Self { clock, engine, server, store, cast, .. } = self;
        server.stop().await.unwrap();
        engine.stop().await;
        let inner = MemStore::open(store.inner.disk(), &cast.arbiter, Self::keys(&[]).vault()).unwrap();
        Self::on(inner, clock, cast, api, epochs).await
    }

    pub fn keys(epochs: &[TestEpoch]) -> Keys {
        let seed = |byte| Zeroizing::new([byte; 32]);
        let keys = Keys::from_seeds(&Seeds { arbiter: seed(1), log: seed(2), veil: seed(3) });
        let seeds: Vec<_> = epochs
            .iter()
            .map(|TestEpoch(epoch, byte, until)| EpochSeed {
                epoch: *epoch,
                seed: seed(*byte),
                from: START,
                until: *until,
            })
            .collect();
        let escrow = EscrowKeys::new(keys.arbiter(), &seeds).unwrap();
        keys.with_escrow(escrow)
    }

    async fn on(inner: MemStore, clock: TestClock, mut cast: Cast, api: Api, epochs: Vec<TestEpoch>) -> Self {
        let keys = Self::keys(&epochs);
        cast.terms = keys.escrow().epochs().last().map(|it| EscrowTerms::new(it.clone(), Suite::FAST));
        let store = Arc::new(Fronted(TestStore { inner, broken: AtomicBool::new(false) }));
        let desk = Desk {
            arbiter: cast.arbiter.clone(),
            build: Digest::of(&[b"test"]),
            clock_uncertainty: DurationMillis(1000),
        };
        let engine = Engine::start(desk, keys, store.clone(), Box::new(clock.clone())).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server::start(api, listener, engine.clone()).await.unwrap();
        Self { clock, engine, server, store, epochs, cast }
    }

    /// The same arbiter behind another server as well.
    pub fn behind(self, server: Server) -> Self {
        Self { server, ..self }
    }

    pub async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.server.address())).unwrap();
        endpoint.connect().await.unwrap()
    }

    pub async fn parties(&self) -> Parties {
        ArbiterServiceClient::new(self.channel().await)
    }

    pub async fn auditors(&self) -> Auditors {
        EvidenceLogServiceClient::new(self.channel().await)
    }
}

impl Cast {
    pub fn new(arbiter: ArbiterIdentity) -> Self {
        Self {
            arbiter,
            terms: None,
            alice: Peer::new(11, "Alice"),
            bob: Peer::new(12, "Bob"),
            mallory: Peer::new(13, "Mallory"),
            nonces: AtomicU64::new(0),
        }
    }

    pub fn nonce(&self) -> [u8; 32] {
        let n = self.nonces.fetch_add(1, Ordering::SeqCst);
        *Digest::of(&[b"nonce", &n.to_be_bytes()]).as_bytes()
    }

    /// An offer by Alice to Bob, before it is signed.
    pub fn draft(&self, ours: Item, theirs: Item, complain_by: Option<UnixMillis>) -> Offer {
        Offer {
            nonce: self.nonce(),
            originator: self.alice.party.clone(),
            responder: self.bob.party.clone(),
            arbiter: self.arbiter.clone(),
            selection: select(&ours.properties, &theirs.properties).unwrap(),
            escrow: [&ours, &theirs]
                .iter()
                .any(|item| item.description.detached().is_some())
                .then(|| self.terms.clone().unwrap()),
            originator_item: ours,
            responder_item: theirs,
            complain_by,
            send_by: None,
        }
    }

    /// Signs an offer as Alice and accepts it as Bob.
    pub fn agree(&self, offer: Offer) -> Agreement {
        let offer = Verified::sign(offer, &self.alice.signer);
        let acceptance = Acceptance { exchange_id: offer.exchange_id(), nonce: self.nonce() };
        Agreement::join(offer, Verified::sign(acceptance, &self.bob.signer)).unwrap()
    }

    /// P1: both sign a contract.
    pub fn contract(&self) -> Agreement {
        let subject = describe(b"%PDF-1.7 contract", "application/pdf");
        self.agree(self.draft(signature("We sell.", &subject), signature("We buy.", &subject), None))
    }

    /// P2: Alice sends a file, Bob a receipt.
    pub fn delivery(&self, file: &Information, complain_by: UnixMillis) -> Agreement {
        let item = Item::new(Description::Information(file.clone()));
        self.agree(self.draft(item, signature("Received.", file), Some(complain_by)))
    }

    /// P2 the other way round: Bob sends the file, Alice the receipt.
    pub fn collection(&self, file: &Information, complain_by: UnixMillis) -> Agreement {
        let item = Item::new(Description::Information(file.clone()));
        self.agree(self.draft(signature("Received.", file), item, Some(complain_by)))
    }

    /// P1: both put a detached signature into escrow.
    pub fn signing(&self) -> Agreement {
        let subject = describe(b"%PDF-1.7 contract", "application/pdf");
        let (ours, theirs) =
            (self.alice.detached("We sell.", &subject), self.bob.detached("We buy.", &subject));
        self.agree(self.draft(ours, theirs, None))
    }

    /// P1: the item of `role` is a detached signature, the other can be replaced.
    pub fn mixed(&self, role: Role) -> Agreement {
        let subject = describe(b"%PDF-1.7 contract", "application/pdf");
        let (escrowed, plain) =
            (self.peer(role).detached("We sign.", &subject), signature("We, too.", &subject));
        let (ours, theirs) = if role == Role::Originator { (escrowed, plain) } else { (plain, escrowed) };
        self.agree(self.draft(ours, theirs, None))
    }

    /// P2: Alice sends a file, Bob a detached signature for it.
    pub fn delivery_for_signature(&self, file: &Information, complain_by: UnixMillis) -> Agreement {
        let item = Item::new(Description::Information(file.clone()));
        self.agree(self.draft(item, self.bob.detached("Received.", file), Some(complain_by)))
    }

    /// The detached signature that is `role`'s item.
    pub fn detached_signature(&self, agreement: &Agreement, role: Role) -> Vec<u8> {
        let item = agreement.offer().item(role).description.detached().unwrap();
        self.peer(role).signer.sign(item.statement.document().as_bytes()).to_vec()
    }

    /// `role`'s signature in escrow, as its peer got it.
    pub fn escrow(&self, agreement: &Agreement, role: Role) -> Escrow {
        let signature = self.detached_signature(agreement, role);
        put(agreement, role, &signature)
    }

    /// The escrows that a request to resolve by `role` needs.
    pub fn escrows(&self, agreement: &Agreement, role: Role) -> Escrows {
        let p1 = agreement.offer().selection.protocol == Protocol::ContractSigning;
        let needed = |signer: Role| p1 || signer != role;
        let detached = |signer| agreement.offer().item(signer).description.detached().is_some();
        let escrow =
            |signer| (needed(signer) && detached(signer)).then(|| self.escrow(agreement, signer).into());
        Escrows { originator: escrow(Role::Originator), responder: escrow(Role::Responder) }
    }

    pub fn peer(&self, role: Role) -> &Peer {
        match role {
            Role::Originator => &self.alice,
            Role::Responder => &self.bob,
        }
    }

    pub fn request(&self, agreement: &Agreement, role: Role, action: Action) -> Verified<Request> {
        let request = Request {
            exchange_id: agreement.exchange_id(),
            agreement_id: Some(agreement.id()),
            role,
            action,
        };
        Verified::sign(request, &self.peer(role).signer)
    }

    /// What the party in `role` files.
    pub fn case(&self, agreement: &Agreement, role: Role, action: Action) -> proto::Case {
        let escrows = match action {
            Action::Resolve => self.escrows(agreement, role),
            _ => Escrows::default(),
        };
        self.case_with(agreement, role, action, &escrows)
    }

    /// The same with these escrows.
    pub fn case_with(
        &self,
        agreement: &Agreement,
        role: Role,
        action: Action,
        escrows: &Escrows,
    ) -> proto::Case {
        let request = self.request(agreement, role, action);
        proto::Case::file(&request, agreement.offer(), Some(agreement.acceptance()), escrows)
    }

    /// What the originator files who saw no acceptance.
    pub fn case_without_acceptance(&self, agreement: &Agreement, action: Action) -> proto::Case {
        let request = Request {
            exchange_id: agreement.exchange_id(),
            agreement_id: None,
            role: Role::Originator,
            action,
        };
        let request = Verified::sign(request, &self.alice.signer);
        proto::Case::file(&request, agreement.offer(), None, &Escrows::default())
    }
}

pub fn describe(content: &[u8], media_type: &str) -> Information {
    Information {
        sha256: Digest::of(&[content]),
        size_bytes: u64::try_from(content.len()).unwrap(),
        media_type: media_type.into(),
        name: "file".into(),
    }
}

pub fn signature(text: &str, subject: &Information) -> Item {
    Item::new(Description::Signature(Statement {
        title: "Statement".into(),
        text: text.into(),
        subject: subject.clone(),
    }))
}

/// `size` bytes without a pattern that repeats by chunks, of a type without magic bytes.
pub fn content(size: usize) -> Vec<u8> {
    (0u64..).flat_map(|n| *Digest::of(&[&n.to_be_bytes()]).as_bytes()).take(size).collect()
}

/// An upload in messages of at most `step` bytes.
pub fn upload(case: proto::Case, content: &[u8], step: usize) -> Vec<proto::VerifyTransferRequest> {
    let mut messages = vec![first(case)];
    messages.extend(content.chunks(step).map(chunk));
    messages
}

pub fn first(case: proto::Case) -> proto::VerifyTransferRequest {
    proto::VerifyTransferRequest { part: Some(proto::verify_transfer_request::Part::Case(case)) }
}

pub fn chunk(bytes: &[u8]) -> proto::VerifyTransferRequest {
    proto::VerifyTransferRequest { part: Some(proto::verify_transfer_request::Part::Chunk(bytes.to_vec())) }
}

pub async fn deposit(
    parties: &mut Parties,
    messages: Vec<proto::VerifyTransferRequest>,
) -> Result<proto::Receipt, Status> {
    let reply = parties.verify_transfer(tokio_stream::iter(messages)).await?;
    Ok(reply.into_inner().receipt.unwrap())
}

pub async fn resolve(parties: &mut Parties, case: proto::Case) -> Result<proto::Receipt, Status> {
    let request = proto::GenerateItemRequest { case: Some(case) };
    Ok(parties.generate_item(request).await?.into_inner().receipt.unwrap())
}

pub async fn abort(parties: &mut Parties, case: proto::Case) -> Result<proto::Receipt, Status> {
    let request = proto::AbortExchangeRequest { case: Some(case) };
    Ok(parties.abort_exchange(request).await?.into_inner().receipt.unwrap())
}

pub async fn query(parties: &mut Parties, case: proto::Case) -> Result<proto::Receipt, Status> {
    let request = proto::GetVerdictRequest { case: Some(case) };
    Ok(parties.get_verdict(request).await?.into_inner().receipt.unwrap())
}

/// The encapsulated key and the sealed chunks, or the error.
pub async fn fetch(parties: &mut Parties, case: proto::Case) -> Result<(Vec<u8>, Vec<Vec<u8>>), Status> {
    use proto::fetch_deposit_response::Part;
    let request = proto::FetchDepositRequest { case: Some(case) };
    let mut stream = parties.fetch_deposit(request).await?.into_inner();
    let (mut key, mut chunks) = (Vec::new(), Vec::new());
    while let Some(message) = stream.message().await? {
        match message.part.unwrap() {
            Part::EncapsulatedKey(bytes) => {
                assert!(key.is_empty() && chunks.is_empty(), "the key comes first and once");
                key = bytes;
            }
            Part::SealedChunk(bytes) => chunks.push(bytes),
        }
    }
    Ok((key, chunks))
}

/// Checks a receipt as a stranger would, as the answer to the request in `case`.
pub fn prove(receipt: proto::Receipt, agreement: &Agreement, case: &proto::Case) -> Proven {
    let request = Envelope::from_wire(case.request.clone().unwrap()).unwrap().digest();
    let receipt = Receipt::try_from(receipt).unwrap();
    receipt.verify(agreement.offer(), Some(request)).unwrap()
}

/// An envelope over any bytes, signed by `signer`.
pub fn sign_bytes(signer: &MemorySigner, payload_type: &str, payload: Vec<u8>) -> wire::Envelope {
    let signature = signer.sign(&pae(payload_type, &payload));
    wire::Envelope {
        payload_type: payload_type.to_owned(),
        payload,
        signatures: vec![wire::Signature {
            key_id: signer.public_key().to_vec(),
            signature: signature.to_vec(),
        }],
    }
}

pub fn sign_request(signer: &MemorySigner, payload: Vec<u8>) -> wire::Envelope {
    sign_bytes(signer, Request::TYPE, payload)
}

/// The error's code and reason; every error must have exactly one reason of our domain.
pub fn reason(status: &Status) -> (Code, String) {
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("no reason in {status:?}"));
    assert_eq!(info.domain, "arbiter.v1");
    assert!(!status.message().is_empty());
    (status.code(), info.reason)
}

/// Whether the error has this code and this reason.
#[track_caller]
pub fn assert_reason<T: std::fmt::Debug>(result: Result<T, Status>, code: Code, expected: &str) -> Status {
    let status = result.expect_err(expected);
    assert_eq!(reason(&status), (code, expected.to_owned()), "{}", status.message());
    status
}

/// A value of the error's metadata.
pub fn metadata(status: &Status, name: &str) -> Option<String> {
    status.get_details_error_info()?.metadata.get(name).cloned()
}

/// Waits until `holds`; a state that never comes fails the test.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never: {what}");
}
