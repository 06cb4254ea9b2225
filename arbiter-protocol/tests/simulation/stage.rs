//! What every schedule shares: two exchanges between the same two parties with swapped roles, everything
//! either party can sign in them, and what the verifiers say to it. Signed and verified once, real Ed25519.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use arbiter_protocol::error::Rejected;
use arbiter_protocol::exchange::item::Description;
use arbiter_protocol::exchange::kind::content::{ContentCheck, FitContent};
use arbiter_protocol::exchange::kind::detached::Place;
use arbiter_protocol::exchange::kind::pledge::{Pledge, Pledged};
use arbiter_protocol::exchange::kind::signature;
use arbiter_protocol::exchange::selection::{ByRole, Protocol, Role};
use arbiter_protocol::message::agreement::{Acceptance, Agreement, Offer};
use arbiter_protocol::message::request::{Action, Request};
use arbiter_protocol::message::transfer::Transfer;
use arbiter_protocol::role::Fit;
use arbiter_protocol::role::arbiter::{Case, Escrows};
use arbiter_protocol::ruling::sequencer::Desk;
use arbiter_protocol::statement::{Envelope, Signed, Verified};

use crate::common::{CONTENT, Cast, Kind, TestVeil, described, fit, hollow};

/// Bytes that are not the agreed file.
pub const OTHER_CONTENT: &[u8] = b"%PDF-1.7\nsomething else, not the goods\n";

/// One exchange: the offer and two acceptances of it, of which an honest responder signs only the first.
pub struct Template {
    pub offer: Verified<Offer>,
    pub agreements: [Agreement; 2],
    /// What the peer of a role holds after its check, under each agreement.
    pub escrowed: [ByRole<Option<Pledged>>; 2],
    /// Escrows that belong to their place and have nothing in them.
    hollow: [ByRole<Option<Pledge>>; 2],
    /// The finished signatures.
    pub signatures: ByRole<Option<&'static [u8]>>,
}

impl Template {
    fn new(cast: &Cast, kind: Kind, nonce: u8) -> Self {
        let offer = cast.offer(kind, nonce);
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
        let finished = |role| cast.finished(&offer, role).map(|it| Box::leak(Box::new(it)).as_slice());
        let signatures =
            ByRole { originator: finished(Role::Originator), responder: finished(Role::Responder) };
        Self { offer, agreements, escrowed, hollow, signatures }
    }

    /// What the arbiter takes out of the good escrow of `role`.
    pub fn opened(&self, role: Role) -> Option<FitContent> {
        let item = self.offer.item(role).description.detached()?;
        let mut check = ContentCheck::signature(item.clone(), None);
        check.update((*self.signatures.of(role))?).unwrap();
        check.finish().ok()
    }
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
    fit: FitContent,
}

pub fn role_in(exchange: usize, party: usize) -> Role {
    if exchange == party { Role::Originator } else { Role::Responder }
}

pub fn stage() -> &'static Stage {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    STAGE.get_or_init(|| {
        let casts = [Cast::new(), Cast::swapped()];
        let templates = casts
            .iter()
            .zip([31, 32])
            .map(|(cast, nonce)| Kind::ALL.iter().map(|kind| Template::new(cast, *kind, nonce)).collect())
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
    /// An offer or an acceptance, and whether the escrow beside it, if one is owed, passes the check.
    Statement(Arc<Envelope>, bool),
    /// A transfer and, for a file or a detached signature, its content.
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
    pub escrows: Filed,
}

type Fits = BTreeMap<(usize, usize, Option<usize>), Option<Fit>>;

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
    content: Option<&'static [u8]>,
    agreement: &'static Agreement,
    sender: Role,
) -> Option<Fit> {
    let key = (Arc::as_ptr(envelope).addr(), address(agreement), content.map(|it| it.as_ptr().addr()));
    FITS.with_borrow_mut(|all| {
        all.entry(key)
            .or_insert_with(|| {
                let signed = Signed::<Transfer>::parse((**envelope).clone()).ok()?;
                let transfer = signed.verify_for(agreement, sender).ok()?;
                let item = agreement.offer().item(sender);
                match &item.description {
                    Description::Signature(_) => signature::check(item, transfer).ok().map(Fit::Signature),
                    Description::Information(_) => {
                        let mut check = ContentCheck::file(described(CONTENT));
                        check.update(content?).ok()?;
                        check.finish().ok().map(Fit::Content)
                    }
                    Description::Nothing | Description::Package(_) | Description::Payment(_) => {
                        unreachable!("neither is in this world")
                    }
                    Description::DetachedSignature(it) => {
                        let mut check = ContentCheck::signature(it.clone(), None);
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
