//! What every schedule shares: two exchanges between the same two parties with swapped roles, everything
//! either party can sign in them, and what the verifiers say to it. Signed and verified once, real Ed25519.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use arbiter_protocol::error::Rejected;
use arbiter_protocol::exchange::item::Description;
use arbiter_protocol::exchange::kind::information::{ContentCheck, FitContent};
use arbiter_protocol::exchange::kind::signature;
use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::message::agreement::{Acceptance, Agreement, Offer};
use arbiter_protocol::message::request::{Action, Request};
use arbiter_protocol::message::transfer::Transfer;
use arbiter_protocol::role::Fit;
use arbiter_protocol::role::arbiter::Case;
use arbiter_protocol::ruling::sequencer::Desk;
use arbiter_protocol::statement::{Envelope, Signed, Verified};

use crate::common::{CONTENT, Cast, Kind, TestVeil, described, fit};

/// Bytes that are not the agreed file.
pub const OTHER_CONTENT: &[u8] = b"%PDF-1.7\nsomething else, not the goods\n";

/// One exchange: the offer and two acceptances of it, of which an honest responder signs only the first.
pub struct Template {
    pub offer: Verified<Offer>,
    pub agreements: [Agreement; 2],
}

/// All exchanges: `[exchange][kind]`. Party 0 is the originator of exchange 0, party 1 of exchange 1.
pub struct Stage {
    pub casts: [Cast; 2],
    pub desk: Desk,
    templates: Vec<Vec<Template>>,
    fit: FitContent,
}

pub fn role_in(exchange: usize, party: usize) -> Role {
    if exchange == party { Role::Originator } else { Role::Responder }
}

pub fn stage() -> &'static Stage {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    STAGE.get_or_init(|| {
        let casts = [Cast::new(), Cast::swapped()];
        let template = |cast: &Cast, kind, nonce| {
            let offer = cast.offer(kind, nonce);
            let agree = |nonce| Agreement::join(offer.clone(), cast.acceptance(&offer, nonce)).unwrap();
            Template { agreements: [agree(1), agree(2)], offer: offer.clone() }
        };
        let templates = casts
            .iter()
            .zip([31, 32])
            .map(|(cast, nonce)| Kind::ALL.iter().map(|kind| template(cast, *kind, nonce)).collect())
            .collect();
        Stage { desk: casts[0].desk(), casts, templates, fit: fit() }
    })
}

impl Stage {
    pub fn template(&self, exchange: usize, kind: Kind) -> &Template {
        let index = Kind::ALL.iter().position(|it| *it == kind).unwrap();
        &self.templates[exchange][index]
    }

    pub fn fit(&self) -> &FitContent {
        &self.fit
    }

    pub const fn veil(&self) -> &'static TestVeil {
        &TestVeil
    }
}

/// What travels between the peers.
#[derive(Clone, Debug)]
pub enum Message {
    /// An offer or an acceptance.
    Statement(Arc<Envelope>),
    /// A transfer and, for a file, its content.
    Item(Arc<Envelope>, Option<&'static [u8]>),
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
}

type Fits = BTreeMap<(usize, usize, bool), Option<Fit>>;

thread_local! {
    static ENVELOPES: RefCell<BTreeMap<(usize, usize), Arc<Envelope>>> = RefCell::default();
    static TRANSFERS: RefCell<BTreeMap<TransferKey, Arc<Envelope>>> = RefCell::default();
    static CASES: RefCell<BTreeMap<CaseKey, Rc<Result<Case, Rejected>>>> = RefCell::default();
    static FITS: RefCell<Fits> = RefCell::default();
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
                Rc::new(Case::admit(&stage().casts[0].identity(), request, offer, acceptance))
            })
            .clone()
    })
}

/// What a party says to an item that arrives while it holds `agreement`: the item, if it verifies and fits.
pub fn fitting(
    envelope: &Arc<Envelope>,
    content: Option<&'static [u8]>,
    agreement: &'static Agreement,
    sender: Role,
) -> Option<Fit> {
    let key = (Arc::as_ptr(envelope).addr(), address(agreement), content == Some(CONTENT));
    FITS.with_borrow_mut(|all| {
        all.entry(key)
            .or_insert_with(|| {
                let signed = Signed::<Transfer>::parse((**envelope).clone()).ok()?;
                let transfer = signed.verify_for(agreement, sender).ok()?;
                let item = agreement.offer().item(sender);
                match &item.description {
                    Description::Signature(_) => signature::check(item, transfer).ok().map(Fit::Signature),
                    Description::Information(_) => {
                        let mut check = ContentCheck::new(described(CONTENT));
                        check.update(content?).ok()?;
                        check.finish().ok().map(Fit::Content)
                    }
                }
            })
            .clone()
    })
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
