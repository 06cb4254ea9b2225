//! What every schedule shares: two exchanges between the same two parties with swapped roles, everything
//! either party can sign in them, and what the verifiers say to it. Signed and verified once, real Ed25519.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use arbiter_protocol::crypto::{MemorySigner, Signer as _};
use arbiter_protocol::error::Rejected;
use arbiter_protocol::exchange::item::Description;
use arbiter_protocol::exchange::kind::content::FitContent;
use arbiter_protocol::exchange::kind::detached::Place;
use arbiter_protocol::exchange::kind::pledge::{Pledge, Pledged};
use arbiter_protocol::exchange::kind::signature;
use arbiter_protocol::exchange::selection::{ByRole, Protocol, Role};
use arbiter_protocol::ids::PublicKey;
use arbiter_protocol::message::agreement::{Acceptance, Agreement, Offer};
use arbiter_protocol::message::payment::{PaymentAction, PaymentOrder, PaymentTerms};
use arbiter_protocol::message::request::{Action, Request};
use arbiter_protocol::message::transfer::Transfer;
use arbiter_protocol::role::Fit;
use arbiter_protocol::role::arbiter::{Case, Escrows};
use arbiter_protocol::ruling::sequencer::Desk;
use arbiter_protocol::statement::{Envelope, Signed, Verified};

use crate::common::{Cast, Kind, TestVeil, check_content, hollow, money};

/// Bytes that are not an agreed file.
pub const OTHER_CONTENT: &[u8] = b"%PDF-1.7\nsomething else, not the goods\n";

/// Every protocol, with every kind of item that makes a difference in it.
pub const PLAYED: [Kind; 16] = [
    Kind::P1,
    Kind::P1Escrow,
    Kind::P1Mixed,
    Kind::P2OriginatorFirst,
    Kind::P2OriginatorFirstEscrow,
    Kind::P2ResponderFirst,
    Kind::P2ResponderFirstEscrow,
    Kind::P2Payment,
    Kind::P2PaymentEscrow,
    Kind::P3OriginatorPays,
    Kind::P3ResponderPays,
    Kind::P3Payments,
    Kind::P4,
    Kind::P5,
    Kind::P6PaidForFile,
    Kind::P6SignatureForHeld,
];

/// One exchange: the offer and two acceptances of it, of which an honest responder signs only the first.
pub struct Template {
    pub offer: Verified<Offer>,
    pub agreements: [Agreement; 2],
    /// What the peer of a role holds after its check, under each agreement.
    pub escrowed: [ByRole<Option<Pledged>>; 2],
    /// Escrows that belong to their place and have nothing in them.
    hollow: [ByRole<Option<Pledge>>; 2],
    /// What follows a transfer: a file or a finished signature. What follows a payment is in the ledger's hands.
    pub contents: ByRole<Option<&'static [u8]>>,
    /// What is paid.
    pub terms: ByRole<Option<PaymentTerms>>,
}

impl Template {
    fn new(exchange: usize, cast: &Cast, kind: Kind, nonce: u8) -> Self {
        let offer = Verified::sign(by_person(exchange, cast.terms(kind, nonce)), &cast.originator);
        let agree = |nonce| Agreement::join(offer.clone(), cast.acceptance(&offer, nonce)).unwrap();
        let agreements = [agree(1), agree(2)];
        let both = |f: &dyn Fn(Role) -> Option<Pledged>| ByRole {
            originator: f(Role::Originator),
            responder: f(Role::Responder),
        };
        let escrowed = [0, 1].map(|index| both(&|role| cast.escrowed(&agreements[index], role)));
        let hollow = [0, 1].map(|index: usize| {
            escrowed[index].map(|role, it| {
                let hollow = Pledge::from(hollow(it.as_ref()?.escrow()?));
                let place = Place::of(&offer, role, agreements[index].id());
                assert!(place.belongs(&hollow).is_ok() && place.check(hollow.clone()).is_err());
                Some(hollow)
            })
        });
        let terms = ByRole {
            originator: PaymentTerms::of(&offer, Role::Originator),
            responder: PaymentTerms::of(&offer, Role::Responder),
        };
        let contents = terms.map(|role, payment| match payment {
            Some(_) => None,
            None => cast.content(&offer, role).map(|it| &*it.leak()),
        });
        Self { offer, agreements, escrowed, hollow, contents, terms }
    }

    /// What the arbiter takes out of the good escrow of `role`.
    pub fn opened(&self, role: Role) -> Option<FitContent> {
        self.offer.item(role).description.detached()?;
        check_content(&self.offer, role, (*self.contents.of(role))?).ok()
    }
}

/// An account belongs to a person, whichever role it has.
fn by_person(exchange: usize, mut offer: Offer) -> Offer {
    for item in [&mut offer.originator_item, &mut offer.responder_item] {
        if let (Description::Payment(payment), 1) = (&mut item.description, exchange) {
            std::mem::swap(&mut payment.payer, &mut payment.payee);
        }
    }
    offer
}

/// What a party files beside a request to resolve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Filed {
    /// What an honest party files.
    Good,
    /// The same, but there is nothing in the escrow of the own signature.
    Hollow,
    /// The same, but there is nothing in the peer's: only who went on without checking it has no other.
    HollowPeer,
    /// None.
    Missing,
    /// Those of the other acceptance.
    Strange,
}

/// All exchanges: `[exchange][kind]`. Party 0 is the originator of exchange 0, party 1 of exchange 1.
pub struct Stage {
    pub casts: [Cast; 2],
    pub desk: Desk,
    templates: Vec<Vec<Template>>,
}

pub fn role_in(exchange: usize, party: usize) -> Role {
    if exchange == party { Role::Originator } else { Role::Responder }
}

pub fn stage() -> &'static Stage {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    STAGE.get_or_init(|| {
        let casts = [Cast::new(), Cast::swapped()];
        let templates = |(exchange, nonce): (usize, u8)| {
            let cast = &casts[exchange];
            PLAYED.iter().map(|kind| Template::new(exchange, cast, *kind, nonce)).collect()
        };
        let templates = [(0, 31), (1, 32)].into_iter().map(templates).collect();
        Stage { desk: casts[0].desk(), casts, templates }
    })
}

impl Stage {
    pub fn template(&self, exchange: usize, kind: Kind) -> &Template {
        let index = PLAYED.iter().position(|it| *it == kind).unwrap();
        &self.templates[exchange][index]
    }

    pub const fn veil(&self) -> &'static TestVeil {
        &TestVeil
    }
}

/// What follows a transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    Known(&'static [u8]),
    /// A ledger's receipt.
    Receipt(Arc<Vec<u8>>),
}

impl Content {
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Known(bytes) => bytes,
            Self::Receipt(bytes) => bytes,
        }
    }
}

/// What travels between the peers.
#[derive(Clone, Debug)]
pub enum Message {
    /// An offer or an acceptance, and whether the escrow beside it, if one is owed, passes the check.
    Statement(Arc<Envelope>, bool),
    /// A transfer and, for all but a signature that is the transfer itself, its content.
    Item(Arc<Envelope>, Option<Content>),
    /// "I will not go on", for one exchange.
    Declined(usize),
    /// "I am back", for one exchange.
    Hello(usize),
}

/// A transfer as one party can sign it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TransferKey {
    pub exchange: usize,
    pub kind: Kind,
    pub agreement: usize,
    pub sender: Role,
    pub signer: usize,
}

/// A request as one party can sign and file it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CaseKey {
    pub kinds: [Kind; 2],
    pub exchange: usize,
    /// The exchange whose offer is filed beside the request: an honest party files the same.
    pub filed: usize,
    pub agreement: Option<usize>,
    pub role: Role,
    pub action: Action,
    pub signer: usize,
    pub escrows: Filed,
}

/// What is ordered about a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ordered {
    Make,
    PostAll,
    /// One unit: the rest goes back.
    PostPart,
    Void,
}

/// An order as somebody can sign it. `signer`: the person whose account it is; `None`: the arbiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OrderKey {
    pub exchange: usize,
    pub kind: Kind,
    pub payer: Role,
    pub ordered: Ordered,
    pub signer: Option<usize>,
}

type Fits = BTreeMap<(usize, usize, Option<usize>), Option<Fit>>;

thread_local! {
    static ENVELOPES: RefCell<BTreeMap<(usize, usize), Arc<Envelope>>> = RefCell::default();
    static TRANSFERS: RefCell<BTreeMap<TransferKey, Arc<Envelope>>> = RefCell::default();
    static CASES: RefCell<BTreeMap<CaseKey, Rc<Result<Case, Rejected>>>> = RefCell::default();
    static FITS: RefCell<Fits> = RefCell::default();
    static ORDERS: RefCell<BTreeMap<OrderKey, Rc<Verified<PaymentOrder>>>> = RefCell::default();
    static AGREEMENTS: RefCell<BTreeMap<(usize, usize), Option<usize>>> = RefCell::default();
}

fn address<T>(value: &T) -> usize {
    std::ptr::from_ref(value).addr()
}

/// The envelope of a template's offer (0) or acceptance (1, 2), always the same allocation.
pub fn opening(template: &'static Template, which: usize) -> Arc<Envelope> {
    let envelope = || match which {
        0 => template.offer.envelope().clone(),
        n => template.agreements[n - 1].acceptance().envelope().clone(),
    };
    ENVELOPES.with_borrow_mut(|all| {
        all.entry((address(template), which)).or_insert_with(|| Arc::new(envelope())).clone()
    })
}

pub fn transfer(key: TransferKey) -> Arc<Envelope> {
    TRANSFERS.with_borrow_mut(|all| {
        all.entry(key)
            .or_insert_with(|| {
                let agreement = &stage().template(key.exchange, key.kind).agreements[key.agreement];
                let signer = stage().casts[0].key(role_in(0, key.signer));
                Arc::new(Verified::sign(Transfer::new(agreement, key.sender), signer).envelope().clone())
            })
            .clone()
    })
}

/// `None`: nothing like that can be ordered about such a payment.
pub fn order(key: OrderKey) -> Option<Rc<Verified<PaymentOrder>>> {
    let terms = stage().template(key.exchange, key.kind).terms.of(key.payer).as_ref()?;
    if key.ordered != Ordered::Make && terms.payment.hold.is_none() {
        return None;
    }
    let sign = || {
        let action = match key.ordered {
            Ordered::Make => PaymentAction::Make,
            Ordered::PostAll => PaymentAction::Post(terms.payment.amount.units),
            Ordered::PostPart => PaymentAction::Post(money::PART),
            Ordered::Void => PaymentAction::Void,
        };
        match key.signer {
            Some(person) => Rc::new(money::order(terms, action, &account(person))),
            None => Rc::new(money::order(terms, action, &stage().casts[0].arbiter)),
        }
    };
    Some(ORDERS.with_borrow_mut(|all| Rc::clone(all.entry(key).or_insert_with(sign))))
}

/// The key of a person's account.
pub fn account(person: usize) -> MemorySigner {
    money::account(role_in(0, person))
}

pub fn account_key(person: usize) -> PublicKey {
    static KEYS: OnceLock<[PublicKey; 2]> = OnceLock::new();
    KEYS.get_or_init(|| [0, 1].map(|it| account(it).public_key()))[person]
}

/// What the arbiter's admission says to a filed case.
pub fn admitted(key: CaseKey) -> Rc<Result<Case, Rejected>> {
    CASES.with_borrow_mut(|all| {
        all.entry(key)
            .or_insert_with(|| {
                let named = stage().template(key.exchange, key.kinds[key.exchange]);
                let filed = stage().template(key.filed, key.kinds[key.filed]);
                let request = Request {
                    exchange_id: named.offer.exchange_id(),
                    agreement_id: key.agreement.map(|index| named.agreements[index].id()),
                    role: key.role,
                    action: key.action,
                };
                let signer = stage().casts[0].key(role_in(0, key.signer));
                let request = Signed::parse(Verified::sign(request, signer).envelope().clone()).unwrap();
                let offer = Signed::parse(filed.offer.envelope().clone()).unwrap();
                let acceptance = key.agreement.map(|index| {
                    Signed::parse(filed.agreements[index].acceptance().envelope().clone()).unwrap()
                });
                let escrows = escrows(filed, key);
                Rc::new(Case::admit(&stage().casts[0].identity(), request, offer, acceptance, escrows))
            })
            .clone()
    })
}

fn escrows(filed: &Template, key: CaseKey) -> Escrows {
    let Some(agreement) = key.agreement.filter(|_| key.action == Action::Resolve) else {
        return Escrows::default();
    };
    let p1 = filed.offer.selection.protocol == Protocol::ContractSigning;
    let wanted = |role: Role| p1 || role == key.role.peer();
    filed.escrowed[agreement].map(|role, good| {
        let good = good.as_ref().filter(|_| wanted(role))?.pledge();
        match key.escrows {
            Filed::Good => Some(good),
            Filed::Hollow if role == key.role || !p1 => filed.hollow[agreement].of(role).clone(),
            Filed::HollowPeer if role != key.role => filed.hollow[agreement].of(role).clone(),
            Filed::Hollow | Filed::HollowPeer => Some(good),
            Filed::Missing => None,
            Filed::Strange => filed.escrowed[1 - agreement].of(role).as_ref().map(Pledged::pledge),
        }
    })
}

/// What a party says to an item that arrives while it holds `agreement`: the item, if it verifies and fits.
pub fn fitting(
    envelope: &Arc<Envelope>,
    content: Option<&Content>,
    agreement: &'static Agreement,
    sender: Role,
) -> Option<Fit> {
    let known = match content {
        Some(Content::Receipt(receipt)) => {
            return fits(envelope, Some(receipt.as_slice()), agreement, sender);
        }
        Some(Content::Known(bytes)) => Some(*bytes),
        None => None,
    };
    let key = (Arc::as_ptr(envelope).addr(), address(agreement), known.map(|it| it.as_ptr().addr()));
    FITS.with_borrow_mut(|all| {
        all.entry(key).or_insert_with(|| fits(envelope, known, agreement, sender)).clone()
    })
}

fn fits(envelope: &Envelope, content: Option<&[u8]>, agreement: &Agreement, sender: Role) -> Option<Fit> {
    let signed = Signed::<Transfer>::parse(envelope.clone()).ok()?;
    let transfer = signed.verify_for(agreement, sender).ok()?;
    let item = agreement.offer().item(sender);
    match &item.description {
        Description::Signature(_) => signature::check(item, transfer).ok().map(Fit::Signature),
        _ => check_content(agreement.offer(), sender, content?).ok().map(Fit::Content),
    }
}

/// Which of the template's agreements an envelope makes, if it is an acceptance of its offer.
pub fn agreed(envelope: &Arc<Envelope>, template: &'static Template) -> Option<usize> {
    AGREEMENTS.with_borrow_mut(|all| {
        *all.entry((Arc::as_ptr(envelope).addr(), address(template))).or_insert_with(|| {
            let signed = Signed::<Acceptance>::parse((**envelope).clone()).ok()?;
            let agreement = Agreement::new(template.offer.clone(), signed).ok()?;
            template.agreements.iter().position(|it| it.id() == agreement.id())
        })
    })
}
