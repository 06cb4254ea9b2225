//! Two exchanges between the same people, of every kind, with the roles as they are and swapped: nothing that is said in one
//! means anything in the other. So two at once are each as if it were alone, and what a search found of one holds of both.
//! They share the arbiter's clock, its log and the accounts, and no more.
//!
//! ```text
//!  first exchange: acceptance, transfers, requests, receipts, money, escrows ──▶ whoever could take them in the second: refused
//! ```

use arbiter_protocol::exchange::kind::detached::Place;
use arbiter_protocol::exchange::kind::pledge::is_owed;
use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::message::agreement::Agreement;
use arbiter_protocol::message::payment::PaymentTerms;
use arbiter_protocol::message::request::Action;
use arbiter_protocol::message::transfer::Transfer;
use arbiter_protocol::role::arbiter::Case;
use arbiter_protocol::role::{Input, Phase, Session};
use arbiter_protocol::ruling::receipt::Receipt;
use arbiter_protocol::statement::Verified;
use arbiter_protocol::time::UnixMillis;
use arbiter_protocol::weaken::Countermeasure::{self, *};

use crate::common::money::SEND_BY;
use crate::common::{COMPLAIN_BY, Cast, EARLY, Kind, Notary, check_content, unverified};
use crate::tables::TIMING;

/// What keeps two exchanges apart. Without any of these something of one counts in the other.
pub const NEEDED: [Countermeasure; 5] =
    [AnswerForThisRequest, EscrowContext, ExchangeInRequest, ExchangeInTransfer, PaymentForThisExchange];

pub fn kinds() -> impl Iterator<Item = Kind> + Clone {
    Kind::ALL.into_iter().chain(Kind::MONEY).chain(Kind::AFFIDAVIT).chain(Kind::RESERVED)
}

struct One {
    swapped: bool,
    cast: Cast,
    agreement: Agreement,
}

fn cast(swapped: bool) -> Cast {
    if swapped { Cast::swapped() } else { Cast::new() }
}

impl One {
    fn new(kind: Kind, swapped: bool, nonce: u8) -> Self {
        let cast = cast(swapped);
        let offer = cast.offer(kind, nonce);
        let acceptance = cast.acceptance(&offer, nonce);
        Self { swapped, agreement: Agreement::join(offer, acceptance).unwrap(), cast }
    }

    /// Everything that the arbiter can state about it.
    fn receipts(&self) -> Vec<Receipt> {
        let mut receipts = Vec::new();
        for now in [EARLY, SEND_BY, COMPLAIN_BY] {
            for (role, action) in Role::BOTH.map(|role| ACTIONS.map(|action| (role, action))).concat() {
                let mut notary = Notary::of(cast(self.swapped));
                for role in Role::BOTH {
                    let deposit = notary.cast.case(&self.agreement, role, Action::Deposit);
                    receipts.extend(notary.file(&deposit, EARLY).ok().flatten());
                }
                let case = notary.cast.case(&self.agreement, role, action);
                receipts.extend(notary.file(&case, now).ok().flatten());
            }
        }
        receipts
    }

    /// Both parties' sessions, as far as they can ask the arbiter for something.
    fn asking(&self) -> Vec<Session> {
        let offer = self.agreement.offer();
        let escrow = self.cast.escrowed(&self.agreement, Role::Originator);
        let accepted = Session::accept(self.agreement.clone(), escrow.as_ref(), UnixMillis(EARLY), TIMING);
        let sessions = [Session::open(offer.clone(), TIMING), accepted.unwrap()];
        let asks = sessions.map(|it| it.next.handle(UnixMillis(COMPLAIN_BY), Input::GiveUp).next);
        asks.into_iter().filter(|it| matches!(it.phase(), Phase::Asking(_))).collect()
    }
}

const ACTIONS: [Action; 3] = [Action::Abort, Action::Resolve, Action::Revoke];
const REQUESTS: [Action; 6] =
    [Action::Abort, Action::Deposit, Action::Fetch, Action::Query, Action::Resolve, Action::Revoke];

/// What of the first exchange is taken in the second, in sentences.
pub fn taken(first: Kind, second: Kind, swapped: bool) -> Vec<String> {
    let (said, heard) = (One::new(first, false, 41), One::new(second, swapped, 42));
    let mut taken = Vec::new();
    let offer = heard.agreement.offer();
    let mut note = |yes: bool, what: String| taken.extend(yes.then_some(what));
    let acceptance = unverified(said.agreement.acceptance());
    note(Agreement::new(offer.clone(), acceptance).is_ok(), "the acceptance makes an agreement".to_owned());
    for (role, as_role) in Role::BOTH.map(|role| Role::BOTH.map(|other| (role, other))).concat() {
        let transfer = Verified::sign(Transfer::new(&said.agreement, role), said.cast.key(role));
        let transfer = unverified(&transfer).verify_for(&heard.agreement, as_role);
        note(transfer.is_ok(), format!("the transfer of the {role} counts as that of the {as_role}"));
        let terms = [PaymentTerms::of(said.agreement.offer(), role), PaymentTerms::of(offer, as_role)];
        if let [Some(paid), Some(owed)] = &terms {
            note(paid.id() == owed.id(), format!("the payment of the {role} is that of the {as_role}"));
            let receipt = said.cast.content(said.agreement.offer(), role).unwrap();
            let counts = check_content(offer, as_role, &receipt).is_ok();
            note(
                counts,
                format!("the receipt for the payment of the {role} counts as the item of the {as_role}"),
            );
        }
        let pledge = said.cast.pledge(&said.agreement, role);
        let place = Place::of(offer, as_role, heard.agreement.id());
        let passes = pledge.is_some_and(|it| is_owed(offer, as_role) && place.check(it).is_ok());
        note(passes, format!("the pledge of the {role} passes as that of the {as_role}"));
        let context = said.agreement.seal_context(role) == heard.agreement.seal_context(as_role);
        note(context, format!("what the {role} sealed opens as from the {as_role}"));
    }
    for (role, action) in Role::BOTH.map(|role| REQUESTS.map(|action| (role, action))).concat() {
        for acceptance in [None, Some(said.agreement.acceptance()), Some(heard.agreement.acceptance())] {
            let agreement = acceptance.map(|_| said.agreement.id());
            let request = said.cast.request(said.agreement.exchange_id(), agreement, role, action);
            let (request, filed) = (unverified(&request), acceptance.map(unverified));
            let case =
                Case::admit(&heard.cast.identity(), request, unverified(offer), filed, Default::default());
            note(case.is_ok(), format!("the request of the {role} to {action:?} is taken"));
        }
    }
    let sessions = heard.asking();
    for receipt in said.receipts() {
        note(receipt.verify(offer, None).is_ok(), "a receipt is verified".to_owned());
        let proven = receipt.verify(said.agreement.offer(), None).unwrap();
        let Some(verdict) = proven.ruled.verdict() else { continue };
        for session in &sessions {
            let after = session.handle(UnixMillis(COMPLAIN_BY), Input::Ruled((**verdict).clone())).next;
            let (role, phase) = (session.role(), after.phase());
            note(
                after != *session,
                format!("a verdict of rule {} ends it for the {role}: {phase:?}", verdict.rule),
            );
        }
    }
    taken.sort();
    taken.dedup();
    taken
}
