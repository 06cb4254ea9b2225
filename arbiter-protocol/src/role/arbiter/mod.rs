//! The arbiter: what a party files, what is known, and what may follow. [`decide`] is the whole of its power.
//!
//! ```text
//!  request, offer, acceptance, pledges ──Case::admit──▶ Case ──decide(known, now)──▶ Replay | Rule | Attest | Release
//!                                                                                      │
//!                                       orders to ledgers ◀── payment_orders(verdict) ─┘  after the commit (D6)
//! ```
//! The caller makes a decision durable before anything of it leaves, and never lets `now` go back (R-409).

mod decide;

pub use decide::decide;

use crate::error::{Invalid, Refused, Rejected};
use crate::exchange::kind::detached::Place;
use crate::exchange::kind::pledge::{self, Pledge};
use crate::exchange::selection::{ByRole, Protocol, Role};
use crate::ids::{Digest, ExchangeId};
use crate::message::agreement::{Acceptance, Agreement, ArbiterIdentity, Offer};
use crate::message::payment::{PaymentAction, PaymentOrder, PaymentTerms};
use crate::message::request::{Action, Request};
use crate::message::verdict::{Attestation, Ruling, Verdict};
use crate::statement::{Signed, Verified};
use crate::weaken::{Countermeasure, off};

/// The version of the rules below. A verdict names it; an agreement fixes it.
pub const RULES: &str = "arbiter/rules/v1";

/// What a party filed: verified, and about one exchange of this arbiter.
#[derive(Clone, Debug)]
pub struct Case {
    request: Verified<Request>,
    terms: Terms,
    escrows: Escrows,
}

/// The pledges filed with a case, by the role whose item they are for.
pub type Escrows = ByRole<Option<Pledge>>;

#[derive(Clone, Debug)]
enum Terms {
    Offered(Verified<Offer>),
    Agreed(Agreement),
}

impl Case {
    /// Verifies what a party filed. Cheap checks come before signatures.
    pub fn admit(
        this: &ArbiterIdentity,
        request: Signed<Request>,
        offer: Signed<Offer>,
        acceptance: Option<Signed<Acceptance>>,
        escrows: Escrows,
    ) -> Result<Self, Rejected> {
        if offer.unverified().arbiter != *this {
            return Err(Refused::OtherArbiter.into()); // R-204
        }
        let request = verify_request(request, offer.unverified())?;
        Self::assemble(request, offer.verify_offer()?, acceptance, escrows)
    }

    /// As [`Case::admit`], for who holds the verified offer already.
    pub fn reopen(
        request: Signed<Request>,
        offer: Verified<Offer>,
        acceptance: Option<Signed<Acceptance>>,
        escrows: Escrows,
    ) -> Result<Self, Rejected> {
        Self::assemble(verify_request(request, &offer)?, offer, acceptance, escrows)
    }

    fn assemble(
        request: Verified<Request>,
        offer: Verified<Offer>,
        acceptance: Option<Signed<Acceptance>>,
        escrows: Escrows,
    ) -> Result<Self, Rejected> {
        if request.exchange_id != offer.exchange_id() && !off(Countermeasure::ExchangeInRequest) {
            return Err(Refused::OtherExchange.into());
        }
        let terms = match acceptance {
            None => Terms::Offered(offer),
            Some(acceptance) => Terms::Agreed(Agreement::new(offer, acceptance)?),
        };
        let case = Self { request, terms, escrows };
        if case.request.agreement_id != case.agreement().map(Agreement::id) {
            return Err(Refused::AcceptanceMismatch.into()); // R-205
        }
        case.check_escrows()?;
        Ok(case)
    }

    /// R-411, R-428: a pledge is filed only to be used, and only one of this agreement.
    fn check_escrows(&self) -> Result<(), Rejected> {
        let wanted = to_file(self.offer(), self.request.role, self.request.action);
        for (role, pledge) in self.escrows.iter() {
            match (pledge, self.agreement()) {
                (None, _) => {}
                (Some(pledge), Some(agreement)) if wanted.contains(&role) => {
                    Place::of(self.offer(), role, agreement.id()).belongs(pledge)?;
                }
                (Some(Pledge::Escrows(_)), _) => return Err(Refused::EscrowNotAgreed.into()),
                (Some(Pledge::Reservation(_)), _) => return Err(Refused::ReservationNotAgreed.into()),
            }
        }
        Ok(())
    }

    /// Whose signatures a verdict on this case takes out of escrow.
    pub fn to_open(&self) -> Vec<Role> {
        to_open(self.offer(), self.request.role, self.request.action)
    }

    /// Whose content a request to fetch asks for: the peer's (R-408).
    pub fn fetches(&self) -> Role {
        let role = self.request.role;
        if off(Countermeasure::FetchByThePeer) { role } else { role.peer() }
    }

    /// The pledges.
    pub const fn escrows(&self) -> &Escrows {
        &self.escrows
    }

    /// The request.
    pub const fn request(&self) -> &Verified<Request> {
        &self.request
    }

    /// The offer.
    pub const fn offer(&self) -> &Verified<Offer> {
        match &self.terms {
            Terms::Offered(offer) => offer,
            Terms::Agreed(agreement) => agreement.offer(),
        }
    }

    /// The agreement, if the requester filed the acceptance.
    pub const fn agreement(&self) -> Option<&Agreement> {
        match &self.terms {
            Terms::Offered(_) => None,
            Terms::Agreed(agreement) => Some(agreement),
        }
    }

    /// The exchange.
    pub const fn exchange_id(&self) -> ExchangeId {
        self.offer().exchange_id()
    }

    fn is_first_sender(&self) -> bool {
        self.request.role == self.offer().selection.first_sender
    }

    /// Whether a deposit was made under the acceptance that the requester filed.
    fn agrees_with(&self, deposit: &Attestation) -> bool {
        self.agreement().map(Agreement::id) == Some(deposit.agreement_id)
    }

    fn evidence(&self, attestations: ByRole<Option<Digest>>) -> Vec<Digest> {
        let acceptance = self.agreement().map(|agreement| agreement.acceptance().digest());
        let pledge = |role| self.escrows.of(role).as_ref().map(Pledge::digest);
        let ByRole { originator, responder } = attestations;
        let [by_originator, by_responder] = Role::BOTH.map(pledge);
        let all =
            [Some(self.offer().digest()), acceptance, originator, responder, by_originator, by_responder];
        all.into_iter().flatten().collect()
    }
}

/// R-402: the party whose role the request names has signed it.
fn verify_request(request: Signed<Request>, offer: &Offer) -> Result<Verified<Request>, Rejected> {
    let role = request.unverified().role;
    if off(Countermeasure::RequestBySigner)
        && let Ok(by_the_peer) = request.clone().verify(&offer.party(role.peer()).signing_key)
    {
        return Ok(by_the_peer);
    }
    let party = offer.party(role).signing_key;
    request.verify(&party).map_err(|invalid| match invalid {
        Invalid::Signer { .. } => Refused::NotAParty.into(),
        other => other.into(),
    })
}

/// R-411, R-428: whose pledges are to be filed if `requester` asks for `action`, and no others.
pub fn to_file(offer: &Offer, requester: Role, action: Action) -> Vec<Role> {
    let owed = |role: &Role| pledge::is_owed(offer, *role);
    generated(offer, requester, action).into_iter().filter(owed).collect()
}

/// R-411: whose signatures a verdict takes out of escrow if `requester` asks for `action`.
pub fn to_open(offer: &Offer, requester: Role, action: Action) -> Vec<Role> {
    let in_escrow = |role: &Role| !offer.item(*role).description.detached_leaves().is_empty();
    generated(offer, requester, action).into_iter().filter(in_escrow).collect()
}

/// Whose items a verdict produces if `requester` asks for `action`.
fn generated(offer: &Offer, requester: Role, action: Action) -> Vec<Role> {
    match (action, offer.selection.protocol) {
        (Action::Resolve, Protocol::ContractSigning) => Role::BOTH.to_vec(),
        (Action::Resolve, Protocol::VerifyThenGenerate) => vec![requester.peer()],
        _ => Vec::new(),
    }
}

/// What the arbiter orders ledgers to do after a verdict (R-423), of each role in the order of its payments: it follows from
/// offer and verdict alone, so it can be told again at any time. A void order also keeps a payment from being made later under the same terms.
pub fn payment_orders(offer: &Verified<Offer>, ruling: &Ruling) -> Vec<(Role, PaymentOrder)> {
    let reserved = |role: &Role| offer.item(*role).description.reservation().is_some();
    let (roles, posts): (Vec<Role>, bool) = match ruling {
        Ruling::Affidavit(_) => return Vec::new(),
        Ruling::Aborted if off(Countermeasure::AbortVoidsReserved) => return Vec::new(),
        Ruling::Replaced(_) if off(Countermeasure::ReplacementIsPosted) => return Vec::new(),
        // Made or not: what was set aside goes back, and nothing is set aside any more.
        Ruling::Aborted => (Role::BOTH.into_iter().filter(reserved).collect(), false),
        Ruling::Replaced(list) => (list.iter().map(|it| it.role).filter(reserved).collect(), true),
        Ruling::Revoked(roles) => (roles.clone(), false),
    };
    let order = |terms: PaymentTerms| {
        let all = PaymentAction::Post(terms.payment.amount.units);
        PaymentOrder { action: if posts { all } else { PaymentAction::Void }, terms }
    };
    let held = |role| PaymentTerms::all(offer, role).into_iter().filter(|terms| terms.authority.is_some());
    roles.into_iter().flat_map(|role| held(role).map(move |terms| (role, order(terms)))).collect()
}

/// What is durable about an exchange.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// Its verdict.
    pub verdict: Option<&'a Verdict>,
    /// Its attestations with their digests, by who deposited.
    pub attestations: ByRole<Option<(&'a Attestation, Digest)>>,
}

/// What the arbiter does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Make this attestation durable, log it, and answer with it.
    Attest(Attestation),
    /// Answer with the durable attestation.
    ReplayAttestation,
    /// Answer with the durable verdict.
    ReplayVerdict,
    /// Give the deposit to the requester.
    Release,
    /// Make this verdict durable, log it, and answer with it.
    Rule(Verdict),
}
