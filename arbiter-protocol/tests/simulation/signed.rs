//! Everything that either party can sign or file in the exchanges of the stage, and what the verifiers say to it: signed and
//! verified once in a thread, real Ed25519.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use arbiter_protocol::crypto::{MemorySigner, Signer as _};
use arbiter_protocol::error::Rejected;
use arbiter_protocol::exchange::item::{Description, Information, Item, Statement};
use arbiter_protocol::exchange::kind::pledge::{Pledge, Pledged};
use arbiter_protocol::exchange::kind::signature;
use arbiter_protocol::exchange::selection::{Protocol, Role};
use arbiter_protocol::ids::PublicKey;
use arbiter_protocol::message::agreement::{Acceptance, Agreement};
use arbiter_protocol::message::payment::{PaymentAction, PaymentOrder, PaymentReceipt};
use arbiter_protocol::message::request::{Action, Request};
use arbiter_protocol::message::transfer::Transfer;
use arbiter_protocol::role::Fit;
use arbiter_protocol::role::arbiter::{Case, Escrows};
use arbiter_protocol::statement::{Envelope, Signed, Verified};
use arbiter_protocol::weaken::Countermeasure;

use crate::common::{Kind, check_content, money};
use crate::stage::{Template, role_in, stage};
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

/// What stands beside an offer or an acceptance.
#[derive(Clone, Debug)]
pub enum Beside {
    /// An escrow, if one is owed, and whether it passes the check. Without one: nothing.
    Escrow(bool),
    /// A ledger's receipt.
    Receipt(Arc<Verified<PaymentReceipt>>),
}

/// What travels between the peers.
#[derive(Clone, Debug)]
pub enum Message {
    /// An offer or an acceptance, and what is shown with it.
    Statement(Arc<Envelope>, Beside),
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
    /// It names another item than was agreed: of a package, one leaf is another.
    pub altered: bool,
}

/// What a party files beside a request to resolve: the pledges; or brings as its deposit, unless that is a ledger's receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Filed {
    /// What an honest party files.
    Good,
    /// The same, but there is nothing behind the own pledge; a content that differs in its last leaf.
    Hollow,
    /// The same, but there is nothing behind the peer's: only who went on without checking it has no other.
    HollowPeer,
    /// None.
    Missing,
    /// Escrows of the other acceptance, reservations of the other exchange; a content without its last leaf.
    Strange,
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
    /// By role: whether who files it has the ledger's word that this money is set aside.
    pub set_aside: [bool; 2],
}

impl CaseKey {
    /// The same without what makes no difference to the admission.
    fn alone(self) -> Self {
        let kind = self.kinds[self.exchange];
        let kinds = if self.filed == self.exchange { [kind; 2] } else { self.kinds };
        match self.action {
            Action::Resolve => Self { kinds, ..self },
            _ => Self { kinds, escrows: Filed::Good, set_aside: [true; 2], ..self },
        }
    }
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

type Fits = BTreeMap<(usize, usize, Role, Option<usize>), Option<Fit>>;

thread_local! {
    static ENVELOPES: RefCell<BTreeMap<(usize, usize), Arc<Envelope>>> = RefCell::default();
    static TRANSFERS: RefCell<BTreeMap<TransferKey, Arc<Envelope>>> = RefCell::default();
    static CASES: RefCell<BTreeMap<CaseKey, Rc<Result<Case, Rejected>>>> = RefCell::default();
    static FITS: RefCell<Fits> = RefCell::default();
    static ORDERS: RefCell<BTreeMap<OrderKey, Rc<Verified<PaymentOrder>>>> = RefCell::default();
    static AGREEMENTS: RefCell<BTreeMap<(usize, usize), Option<usize>>> = RefCell::default();
}

/// From now on the verifiers are asked with this rule switched off: what they have said before does not count.
pub fn ask_again_without(weakness: Option<Countermeasure>) {
    thread_local! {
        static ASKED: Cell<Option<Countermeasure>> = const { Cell::new(None) };
    }
    if ASKED.replace(weakness) != weakness {
        CASES.with_borrow_mut(BTreeMap::clear);
        FITS.with_borrow_mut(BTreeMap::clear);
    }
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
                let mut transfer = Transfer::new(agreement, key.sender);
                if key.altered {
                    transfer.item = altered(transfer.item);
                }
                Arc::new(Verified::sign(transfer, signer).envelope().clone())
            })
            .clone()
    })
}

/// Another item of the same kind: of a package the last leaf is another.
fn altered(item: Item) -> Item {
    let description = match item.description {
        Description::Package(mut items) => {
            let last = items.pop().map(altered);
            items.extend(last);
            Description::Package(items)
        }
        Description::Signature(it) => {
            Description::Signature(Statement { title: it.title + ", altered", ..it })
        }
        Description::Information(it) => {
            Description::Information(Information { name: it.name + ".pdf", ..it })
        }
        other => other,
    };
    Item { description, ..item }
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
    let key = key.alone();
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
        let good = good.as_ref().filter(|_| wanted(role))?;
        let reserved = filed.offer.item(role).description.reservation().is_some();
        // Nobody has a receipt that the ledger never gave.
        let there = !reserved || key.set_aside[usize::from(role == Role::Responder)];
        match key.escrows {
            Filed::Hollow if role == key.role || !p1 => filed.hollow[agreement].of(role).clone(),
            Filed::HollowPeer if role != key.role => filed.hollow[agreement].of(role).clone(),
            Filed::Good | Filed::Hollow | Filed::HollowPeer => there.then(|| good.pledge()),
            Filed::Missing => None,
            Filed::Strange if reserved => Some(of_the_other(key, role)),
            Filed::Strange => filed.escrowed[1 - agreement].of(role).as_ref().map(Pledged::pledge),
        }
    })
}

/// The ledger's word that money of the same kind is set aside, for the exchange that is not filed.
fn of_the_other(key: CaseKey, payer: Role) -> Pledge {
    let other = stage().template(1 - key.filed, key.kinds[key.filed]);
    Pledge::Reservation(money::reservation(&other.offer, payer))
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
    let key = (Arc::as_ptr(envelope).addr(), address(agreement), sender, known.map(|it| it.as_ptr().addr()));
    FITS.with_borrow_mut(|all| {
        all.entry(key).or_insert_with(|| fits(envelope, known, agreement, sender)).clone()
    })
}

fn fits(envelope: &Envelope, content: Option<&[u8]>, agreement: &Agreement, sender: Role) -> Option<Fit> {
    let signed = Signed::<Transfer>::parse(envelope.clone()).ok()?;
    let transfer = signed.verify_for(agreement, sender).ok()?;
    let item = agreement.offer().item(sender);
    if !item.description.is_content() {
        return signature::check(item, transfer).ok().map(Fit::Signature);
    }
    signature::same(item, &transfer.item).ok()?;
    check_content(agreement.offer(), sender, content?).ok().map(Fit::Content)
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
