//! What every schedule shares: two exchanges between the same two parties with swapped roles, of each kind one, and what
//! both can give in them. Signed once.

use std::sync::OnceLock;

use arbiter_protocol::exchange::item::{Description, Item};
use arbiter_protocol::exchange::kind::content::FitContent;
use arbiter_protocol::exchange::kind::detached::Place;
use arbiter_protocol::exchange::kind::pledge::{Pledge, Pledged};
use arbiter_protocol::exchange::selection::{ByRole, Role};
use arbiter_protocol::message::agreement::{Agreement, Offer};
use arbiter_protocol::message::payment::{PaymentState, PaymentTerms};
use arbiter_protocol::ruling::sequencer::Desk;
use arbiter_protocol::statement::{Envelope, Verified};

use crate::common::{Cast, Kind, TestVeil, check_content, hollow, money};

/// Bytes that are not an agreed file.
pub const OTHER_CONTENT: &[u8] = b"%PDF-1.7\nsomething else, not the goods\n";

/// Every protocol, with every kind of item that makes a difference in it. A schedule draws its two exchanges from these.
pub const PLAYED: [Kind; 30] = [
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
    Kind::P1OriginatorReserves,
    Kind::P1ResponderReserves,
    Kind::P1Reservations,
    Kind::P2OriginatorReserves,
    Kind::P2ResponderReserves,
    Kind::P1Package,
    Kind::P2Package,
    Kind::P3Package,
    Kind::P5Package,
    Kind::TFile,
    Kind::TDetached,
    Kind::TSignature,
    Kind::TPayment,
    Kind::TPackage,
];

/// One exchange: the offer and two acceptances of it, of which an honest responder signs only the first.
pub struct Template {
    pub offer: Verified<Offer>,
    pub agreements: [Agreement; 2],
    /// What the peer of a role holds after its check, under each agreement. Of reserved money this is what the ledger says once
    /// it is set aside: filed only if it was.
    pub escrowed: [ByRole<Option<Pledged>>; 2],
    /// Pledges for the right place with nothing behind them: an escrow of nothing, the ledger's word that nothing is set aside.
    pub hollow: [ByRole<Option<Pledge>>; 2],
    /// What follows a transfer: files or a finished signature. What follows a payment is in the ledger's hands.
    pub contents: ByRole<Option<&'static [u8]>>,
    /// The same with another last byte, and without the last leaf of a package, or the last byte.
    pub spoilt: ByRole<Option<[&'static [u8]; 2]>>,
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
                let hollow = match it.as_ref()?.escrow() {
                    Some(escrow) => Pledge::from(hollow(escrow)),
                    None => Pledge::Reservation(not_made(&offer, role)),
                };
                let place = Place::of(&offer, role, agreements[index].id());
                let belongs = place.belongs(&hollow).is_ok() == hollow.escrow().is_some();
                assert!(belongs && place.check(hollow.clone()).is_err());
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
        let spoilt = contents.map(|role, good| {
            let good: &[u8] = (*good)?;
            let (mut other, mut short) = (good.to_vec(), good.to_vec());
            *other.last_mut()? ^= 1;
            short.truncate(good.len() - last_leaf(offer.item(role)));
            Some([other, short].map(|it| &*it.leak()))
        });
        Self { offer, agreements, escrowed, hollow, contents, spoilt, terms }
    }

    /// What the arbiter takes out of the good escrow of `role`.
    pub fn opened(&self, role: Role) -> Option<FitContent> {
        self.offer.item(role).description.detached()?;
        check_content(&self.offer, role, (*self.contents.of(role))?).ok()
    }
}

/// What the ledger says of a payment that was never made.
fn not_made(offer: &Verified<Offer>, payer: Role) -> Envelope {
    let terms = PaymentTerms::of(offer, payer).unwrap();
    money::receipt(&terms, PaymentState::Absent).envelope().clone()
}

/// How many bytes of a content are the last leaf of a package, with its length, or the last byte.
fn last_leaf(item: &Item) -> usize {
    match item.leaves().last().map(|leaf| &leaf.description) {
        Some(Description::Information(file)) if matches!(item.description, Description::Package(_)) => {
            usize::try_from(file.size_bytes).unwrap() + 8
        }
        _ => 1,
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

    /// The terms of the payment of `payer`, if it is money that is set aside first.
    pub fn reserved(&self, exchange: usize, kind: Kind, payer: Role) -> Option<&PaymentTerms> {
        self.template(exchange, kind).terms.of(payer).as_ref().filter(|it| it.payment.is_generatable())
    }

    pub const fn veil(&self) -> &'static TestVeil {
        &TestVeil
    }
}
