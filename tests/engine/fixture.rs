//! What the engine tests share: two stores to run on, an arbiter, and parties that file cases.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arbiter::clock::ManualClock;
use arbiter::engine::{Engine, EngineError, Filed, Handle, Held, Precheck, StartError};
use arbiter::keys::escrow::{EpochSeed, EscrowKeys};
use arbiter::keys::{Keys, Seeds};
use arbiter::store::mem::{Disk, MemStore};
use arbiter::store::rocks::RocksStore;
use arbiter::store::{ContentHead, Store, StoreError};
use arbiter_protocol::crypto::{MemorySigner, Opener, Sealer, SealingSecret, Signer as _};
use arbiter_protocol::escrow::{SignatureKey, Suite};
use arbiter_protocol::evidence::checkpoint::Origin;
use arbiter_protocol::exchange::item::{Description, DetachedSignature, Information, Item, Statement};
use arbiter_protocol::exchange::kind::content::{ContentCheck, FitContent};
use arbiter_protocol::exchange::kind::pledge::Pledge;
use arbiter_protocol::exchange::kind::{detached, package};
use arbiter_protocol::exchange::payment::{Amount, Hold, Payment, Timeout};
use arbiter_protocol::exchange::property::{Properties, Property};
use arbiter_protocol::exchange::selection::{self, Role};
use arbiter_protocol::ids::{Digest, ExchangeId};
use arbiter_protocol::limits;
use arbiter_protocol::message::agreement::{
    Acceptance, Agreement, ArbiterIdentity, EscrowTerms, Offer, Party,
};
use arbiter_protocol::message::payment::{PaymentReceipt, PaymentState, PaymentTerms};
use arbiter_protocol::message::request::{Action, Request};
use arbiter_protocol::role::arbiter::{Case, Escrows};
use arbiter_protocol::ruling::receipt::{Proven, Receipt};
use arbiter_protocol::ruling::sequencer::{ContentId, Desk};
use arbiter_protocol::statement::{Payload, Signed, Verified};
use arbiter_protocol::time::{DurationMillis, UnixMillis};
use zeroize::Zeroizing;

/// When every test begins: 2026-11-20T00:00:00Z.
pub const START: u64 = 1_795_132_800_000;
/// Until when complaints are in time.
pub const DEADLINE: u64 = START + 60_000;

fn seed(byte: u8) -> Zeroizing<[u8; 32]> {
    Zeroizing::new([byte; 32])
}

/// With one epoch, which ends ten years after [`START`].
pub fn keys() -> Keys {
    let keys = Keys::from_seeds(&Seeds { arbiter: seed(101), log: seed(102), veil: seed(103) });
    let until = UnixMillis(START + 3650 * 86_400_000);
    let epoch = EpochSeed { epoch: 1, seed: seed(104), from: UnixMillis(START), until };
    let escrow = EscrowKeys::new(keys.arbiter(), &[epoch]).unwrap();
    keys.with_escrow(escrow)
}

pub fn arbiter() -> ArbiterIdentity {
    keys().identity(Origin::parse("arbiter.test/log").unwrap())
}

pub fn desk() -> Desk {
    Desk { arbiter: arbiter(), build: Digest::of(&[b"test build"]), clock_uncertainty: DurationMillis(500) }
}

/// A place where a store can be opened again after its process ended.
pub trait Place: Send + Sync {
    type Store: Store;
    fn open(&self) -> Self::Store;
}

pub struct Memory(pub Disk);

impl Place for Memory {
    type Store = MemStore;
    fn open(&self) -> MemStore {
        self.0.crash();
        MemStore::open(&self.0, &arbiter(), keys().vault()).unwrap()
    }
}

pub struct Folder(pub tempfile::TempDir);

impl Place for Folder {
    type Store = RocksStore;
    fn open(&self) -> RocksStore {
        // A task that was ended lets go of its store a moment after whoever ended it goes on.
        for _ in 0..400 {
            match RocksStore::open(self.0.path(), &arbiter(), keys().vault()) {
                Err(StoreError::InUse) => std::thread::sleep(Duration::from_millis(5)),
                other => return other.unwrap(),
            }
        }
        panic!("the store is still in use");
    }
}

pub fn memory() -> Memory {
    Memory(Disk::default())
}

pub fn folder() -> Folder {
    Folder(tempfile::tempdir().unwrap())
}

/// A running engine and its clock.
pub struct World {
    pub engine: Handle,
    pub clock: ManualClock,
}

pub fn try_start(store: impl Store, now: u64) -> Result<World, StartError> {
    let clock = ManualClock::new(UnixMillis(now));
    let engine = Engine::start(desk(), keys(), Arc::new(store), Box::new(clock.clone()))?;
    Ok(World { engine, clock })
}

pub fn start(place: &impl Place) -> World {
    try_start(place.open(), START).unwrap()
}

/// Which protocol, and who holds the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    P1,
    /// Both give a detached signature.
    P1Escrow,
    /// Both give a package of detached signatures.
    P1Package,
    /// The responder's money is reserved, the originator gives a detached signature.
    P1Reserved,
    /// The originator gives a file.
    P2,
    /// The responder gives a file.
    P2Swapped,
    /// The responder gives a file, for a detached signature.
    P2SwappedEscrow,
    /// The originator pays, the responder gives a signature.
    P2Paid,
    /// The originator pays, the responder gives a file.
    P3,
    /// The originator pays in two payments, the responder gives a file.
    P3Parts,
    /// Both pay, and only what can be revoked counts.
    P4,
    /// Both give a file.
    P5,
    /// The originator pays at once, the responder gives a file: weak.
    P6,
}

/// P3: until when the second sender has time.
pub const SEND_BY: u64 = START + 30_000;
/// When the holds end.
pub const HOLD: u64 = DEADLINE + 3_600_000;

/// The ledger that everybody uses.
pub fn ledger() -> MemorySigner {
    MemorySigner::from_seed(&seed(55))
}

fn payment(payer: u8, payee: u8, timeout: Option<Timeout>) -> Payment {
    let account = |byte| MemorySigner::from_seed(&seed(byte)).public_key();
    Payment {
        ledger: ledger().public_key(),
        payer: account(payer),
        payee: account(payee),
        amount: Amount::parse("12.50 EUR").unwrap(),
        hold: timeout.map(|timeout| Hold { until: UnixMillis(HOLD), timeout }),
    }
}

/// What people write into an agreement.
#[derive(Clone)]
pub struct Words {
    pub names: [String; 2],
    pub file: String,
    pub titles: [String; 2],
    pub text: String,
    pub media_type: String,
    pub certificate: Vec<u8>,
}

impl Default for Words {
    fn default() -> Self {
        Self {
            names: ["Ada", "Bob"].map(str::to_owned),
            file: "goods.txt".into(),
            titles: ["Sale, seller", "Sale, buyer"].map(str::to_owned),
            text: String::new(),
            media_type: "text/plain".into(),
            certificate: Vec::new(),
        }
    }
}

/// An agreement with everybody's keys.
pub struct Exchange {
    pub agreement: Agreement,
    pub content: Vec<u8>,
    words: Words,
    originator: MemorySigner,
    responder: MemorySigner,
}

fn information(content: &[u8], words: &Words) -> Information {
    Information {
        sha256: Digest::of(&[content]),
        size_bytes: u64::try_from(content.len()).unwrap(),
        media_type: words.media_type.clone(),
        name: words.file.clone(),
    }
}

fn party(signer: &MemorySigner, byte: u8, name: &str) -> Party {
    let sealing_key = SealingSecret::from_seed(&seed(byte)).public_key();
    Party { signing_key: signer.public_key(), sealing_key, name: name.into() }
}

impl Exchange {
    /// Exchange number `n`; its file is a bit longer than one chunk.
    pub fn new(kind: Kind, n: u64) -> Self {
        let content = format!("goods number {n} ").into_bytes().repeat(limits::CHUNK_BYTES / 14);
        Self::with_content(kind, n, content)
    }

    pub fn with_content(kind: Kind, n: u64, content: Vec<u8>) -> Self {
        Self::worded(kind, n, content, Words::default())
    }

    /// The same in other words.
    pub fn worded(kind: Kind, n: u64, content: Vec<u8>, words: Words) -> Self {
        let information = |content: &[u8]| information(content, &words);
        let [first_title, second_title] = words.titles.each_ref().map(String::as_str);
        let originator = MemorySigner::from_seed(&seed(1));
        let responder = MemorySigner::from_seed(&seed(2));
        let file = || Item::new(Description::Information(information(&content)));
        let signature = |title: &str| {
            let subject = information(&content);
            Item::new(Description::Signature(Statement {
                title: title.into(),
                text: words.text.clone(),
                subject,
            }))
        };
        let detached = |title: &str, signer: &MemorySigner| {
            let subject = information(&content);
            let statement = Statement { title: title.into(), text: words.text.clone(), subject };
            let key = SignatureKey::ed25519(signer.public_key()).unwrap();
            let certificate = words.certificate.clone();
            Item::new(Description::DetachedSignature(DetachedSignature { statement, key, certificate }))
        };
        let pay = |payer, payee, timeout| Item::new(Description::Payment(payment(payer, payee, timeout)));
        let revocable = |payer, payee| {
            let description = Description::Payment(payment(payer, payee, Some(Timeout::Post)));
            Item { description, properties: Properties::new([Property::Revocable]) }
        };
        let parts = |payer, payee| {
            let part = |units| {
                let mut part = payment(payer, payee, Some(Timeout::Post));
                part.amount.units = units;
                Item::new(Description::Payment(part))
            };
            Item::package(vec![part(1_000), part(250)]).unwrap()
        };
        let (originator_item, responder_item) = match kind {
            Kind::P1Escrow => (detached(first_title, &originator), detached(second_title, &responder)),
            Kind::P1Package => {
                let both = |title: &str, signer| {
                    let leaves = [title.to_owned(), format!("{title}, annex")];
                    Item::package(leaves.map(|title| detached(&title, signer)).to_vec()).unwrap()
                };
                (both(first_title, &originator), both(second_title, &responder))
            }
            Kind::P2SwappedEscrow => (detached(first_title, &originator), file()),
            Kind::P1 => (signature(first_title), signature(second_title)),
            Kind::P1Reserved => (detached(first_title, &originator), pay(22, 21, Some(Timeout::Void))),
            Kind::P2 => (file(), signature(second_title)),
            Kind::P2Swapped => (signature(first_title), file()),
            Kind::P2Paid => (pay(21, 22, None), signature(second_title)),
            Kind::P3 => (pay(21, 22, Some(Timeout::Post)), file()),
            Kind::P3Parts => (parts(21, 22), file()),
            Kind::P4 => (revocable(21, 22), revocable(22, 21)),
            Kind::P5 => {
                let other = Item::new(Description::Information(information(&[&content[..], b"!"].concat())));
                (file(), other)
            }
            Kind::P6 => (pay(21, 22, None), file()),
        };
        let weak = kind == Kind::P6;
        let select = if weak { selection::select_affidavit } else { selection::select };
        let selected = select(&originator_item.properties, &responder_item.properties);
        let mut nonce = [0; 32];
        nonce[..8].copy_from_slice(&n.to_be_bytes());
        let offer = Offer {
            nonce,
            originator: party(&originator, 11, &words.names[0]),
            responder: party(&responder, 12, &words.names[1]),
            arbiter: arbiter(),
            originator_item,
            responder_item,
            selection: selected.unwrap(),
            send_by: [Kind::P3, Kind::P3Parts].contains(&kind).then_some(UnixMillis(SEND_BY)),
            complain_by: (![Kind::P1, Kind::P1Escrow, Kind::P1Package].contains(&kind))
                .then_some(UnixMillis(DEADLINE)),
            escrow: [Kind::P1Escrow, Kind::P1Package, Kind::P1Reserved, Kind::P2SwappedEscrow]
                .contains(&kind)
                .then(|| {
                    let epoch = keys().escrow().epochs().last().unwrap().clone();
                    EscrowTerms::new(epoch, Suite::FAST)
                }),
        };
        let offer = Verified::sign(offer, &originator);
        let acceptance = Acceptance { exchange_id: offer.exchange_id(), nonce };
        let acceptance = Verified::sign(acceptance, &responder);
        let agreement = Agreement::join(offer, acceptance).unwrap();
        Self { agreement, content, words, originator, responder }
    }

    pub fn id(&self) -> ExchangeId {
        self.agreement.exchange_id()
    }

    fn signer(&self, role: Role) -> &MemorySigner {
        if role == Role::Originator { &self.originator } else { &self.responder }
    }

    /// The detached signature that is `role`'s item, if it is one; of a package its content.
    pub fn detached(&self, role: Role) -> Option<Vec<u8>> {
        let signatures = self.signatures(role);
        (!signatures.is_empty()).then(|| package::joined(&signatures))
    }

    fn signatures(&self, role: Role) -> Vec<Vec<u8>> {
        let leaves = self.agreement.offer().item(role).description.detached_leaves().into_iter();
        leaves.map(|it| self.signer(role).sign(it.statement.document().as_bytes()).to_vec()).collect()
    }

    /// The escrows that a request to resolve by `role` needs.
    pub fn escrows(&self, role: Role) -> Escrows {
        let p1 = self.agreement.offer().selection.protocol == selection::Protocol::ContractSigning;
        let escrow = |signer: Role| {
            let terms = PaymentTerms::of(self.agreement.offer(), signer).filter(|_| p1 || signer != role);
            if let Some(terms) = terms.filter(|terms| terms.payment.is_generatable()) {
                let reserved = receipt(terms, PaymentState::Reserved);
                return Some(Pledge::Reservation(reserved.envelope().clone()));
            }
            let place = detached::Place::of(self.agreement.offer(), signer, self.agreement.id());
            let all = self.signatures(signer).into_iter().enumerate().filter(|_| p1 || signer != role);
            let put = |(leaf, it): (usize, Vec<u8>)| place.put_leaf(leaf, &it, &seed(77)).unwrap();
            Some(all.map(put).collect::<Vec<_>>()).filter(|it| !it.is_empty()).map(Pledge::Escrows)
        };
        Escrows { originator: escrow(Role::Originator), responder: escrow(Role::Responder) }
    }

    /// What `role` fetches, opened with its key.
    pub fn unseal(&self, engine: &Handle, role: Role, content: ContentId) -> Vec<u8> {
        let head = engine.content(content).unwrap();
        let secret = SealingSecret::from_seed(&seed(if role == Role::Originator { 11 } else { 12 }));
        let context = self.agreement.seal_context(role.peer());
        let mut opener = Opener::new(&secret, &context, &head.encapsulated).unwrap();
        let mut plain = Vec::new();
        for n in 0..head.chunks {
            plain.extend(opener.open(&engine.chunk(content, n).unwrap(), n + 1 == head.chunks).unwrap());
        }
        plain
    }

    /// What the party in `role` files.
    pub fn case(&self, role: Role, action: Action) -> Case {
        let escrows = if action == Action::Resolve { self.escrows(role) } else { Escrows::default() };
        self.case_with(role, action, escrows)
    }

    /// The same with these escrows.
    pub fn case_with(&self, role: Role, action: Action, escrows: Escrows) -> Case {
        let signer = self.signer(role);
        let request =
            Request { exchange_id: self.id(), agreement_id: Some(self.agreement.id()), role, action };
        let again = |envelope: &arbiter_protocol::statement::Envelope| envelope.clone();
        Case::admit(
            &arbiter(),
            Signed::parse(again(Verified::sign(request, signer).envelope())).unwrap(),
            Signed::parse(again(self.agreement.offer().envelope())).unwrap(),
            Some(Signed::parse(again(self.agreement.acceptance().envelope())).unwrap()),
            escrows,
        )
        .unwrap()
    }

    /// The role that gives the file.
    pub fn first(&self) -> Role {
        self.agreement.offer().selection.first_sender
    }

    /// Verifies a receipt in full, as the answer to `case`.
    pub fn prove(&self, receipt: &Receipt, case: &Case) -> Proven {
        receipt.verify(self.agreement.offer(), Some(case.request().digest())).unwrap()
    }

    /// The bytes that `role` gives: its file, or the receipt of its payment.
    pub fn goods(&self, role: Role) -> Vec<u8> {
        let offer = self.agreement.offer();
        match PaymentTerms::of(offer, role) {
            Some(terms) => {
                let held = terms.payment.hold.is_some();
                let units = terms.payment.amount.units;
                let state = if held { PaymentState::Reserved } else { PaymentState::Posted(units) };
                receipt(terms, state).envelope().encode()
            }
            None if offer.item(role).description
                == Description::Information(information(&self.content, &self.words)) =>
            {
                self.content.clone()
            }
            None => [&self.content[..], b"!"].concat(),
        }
    }

    pub fn fit(&self, role: Role) -> FitContent {
        let offer = self.agreement.offer();
        let mut check = match (PaymentTerms::of(offer, role), &offer.item(role).description) {
            (Some(terms), _) => ContentCheck::payment(terms),
            (None, Description::Information(file)) => ContentCheck::file(file.clone()),
            _ => panic!("nothing to deposit"),
        };
        check.update(&self.goods(role)).unwrap();
        check.finish().unwrap()
    }

    /// Puts the file as sealed chunks, as the API does while it streams in.
    pub fn upload(&self, engine: &Handle, role: Role) -> ContentId {
        static RANDOM: AtomicU64 = AtomicU64::new(0);
        let content = self.goods(role);
        let size = u64::try_from(content.len()).unwrap();
        let id = engine.new_content_id(size, u64::MAX).unwrap();
        let mut random = seed(0);
        random[..8].copy_from_slice(&RANDOM.fetch_add(1, Ordering::SeqCst).to_be_bytes());
        let recipient = self.agreement.offer().party(role.peer()).sealing_key;
        let context = self.agreement.seal_context(role);
        let mut sealer = Sealer::new(&recipient, &context, &random).unwrap();
        let parts: Vec<_> = content.chunks(limits::CHUNK_BYTES).collect();
        let mut chunks = 0;
        for part in &parts {
            let last = chunks + 1 == u64::try_from(parts.len()).unwrap();
            engine.put_chunk(id, chunks, &sealer.seal(part, last).unwrap()).unwrap();
            chunks += 1;
        }
        let encapsulated = *sealer.encapsulated();
        engine.put_content(id, &ContentHead { encapsulated, chunks }).unwrap();
        id
    }

    /// Files a case that gets a receipt, and verifies it.
    pub async fn file(&self, engine: &Handle, role: Role, action: Action) -> Result<Receipt, EngineError> {
        let case = self.case(role, action);
        let filed = match action {
            Action::Deposit if engine.precheck(&case)? == Precheck::ContentWanted => {
                let held = Held::only(role, (self.fit(role), self.upload(engine, role)));
                engine.file(case.clone(), held).await
            }
            Action::Resolve => engine.resolve(case.clone()).await,
            _ => engine.file(case.clone(), Held::default()).await,
        };
        match filed? {
            Filed::Receipt(receipt) => {
                self.prove(&receipt, &case);
                Ok(*receipt)
            }
            Filed::Content(_) => panic!("no receipt"),
        }
    }
}

/// What the ledger signs.
pub fn receipt(terms: PaymentTerms, state: PaymentState) -> Verified<PaymentReceipt> {
    let absent = state == PaymentState::Absent;
    let order = (!absent).then(|| Digest::of(&[b"order"]));
    let entry = u64::from(!absent);
    Verified::sign(PaymentReceipt { terms, state, entry, time: UnixMillis(START), order }, &ledger())
}

/// The statement's digest: the same digest is the same verdict.
pub fn statement<T: Payload>(receipt: &Receipt) -> Digest {
    assert!(receipt.statement.holds::<T>());
    receipt.statement.digest()
}
