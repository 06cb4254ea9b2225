//! The dispute path when everybody can sign for everybody: a suite in which one signature is good under every statement. So the
//! fuzzer holds no keys, and chooses among all kinds, money and packages too, all parties and all requests. Without signatures
//! only the arbiter's own rules are left, and they must hold.
//!
//! ```text
//!  bytes ─▶ kind ─▶ up to 16 steps: file a case │ commit │ die │ let time pass (or go back)
//!                     └ every verdict and attestation against the table of section 6, written again
//! ```

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use arbiter_protocol::crypto::Signer;
use arbiter_protocol::exchange::kind::pledge::Pledge;
use arbiter_protocol::exchange::selection::{ByRole, Protocol, Role};
use arbiter_protocol::ids::{AgreementId, ExchangeId, PublicKey};
use arbiter_protocol::message::agreement::{Acceptance, Agreement, Offer};
use arbiter_protocol::message::payment::{PaymentAction, PaymentState, PaymentTerms};
use arbiter_protocol::message::request::{Action, Request};
use arbiter_protocol::message::verdict::{Attestation, Ruling, Verdict};
use arbiter_protocol::role::arbiter::{Case, Escrows, payment_orders};
use arbiter_protocol::ruling::sequencer::Record;
use arbiter_protocol::statement::{Payload, Signed, Verified};
use arbiter_protocol::time::UnixMillis;
use arbiter_protocol::weaken::{FORGED, forging};

use super::court::{Court, Filed};
use super::dispute::open;
use crate::common::money::{SEND_BY, receipt};
use crate::common::{COMPLAIN_BY, Cast, Chooser, Kind, content_of};
use crate::stage::stage;

/// Signs as anybody.
struct Forger(PublicKey);

impl Signer for Forger {
    fn public_key(&self) -> PublicKey {
        self.0
    }

    fn sign(&self, _: &[u8]) -> [u8; 64] {
        FORGED
    }
}

const KINDS: [&[Kind]; 5] = [&Kind::ALL, &Kind::MONEY, &Kind::AFFIDAVIT, &Kind::PACKAGES, &Kind::RESERVED];
const DAY: u64 = 86_400_000;
const TIMES: [u64; 8] = [
    SEND_BY - 1,
    SEND_BY,
    COMPLAIN_BY - 1,
    COMPLAIN_BY,
    COMPLAIN_BY + 1,
    COMPLAIN_BY + 30 * DAY - 1,
    COMPLAIN_BY + 30 * DAY,
    1,
];

struct Dispute<'a> {
    chooser: Chooser,
    cast: &'a Cast,
    kind: Kind,
    court: Court<'a>,
}

pub fn dispute_forged(bytes: &[u8]) -> bool {
    let mut chooser = Chooser::of(bytes);
    let kinds = chooser.pick(&KINDS);
    let kind = chooser.pick(kinds);
    let cast = &stage().casts[0];
    let arbiter = Forger(cast.arbiter.public_key());
    let mut dispute = Dispute { chooser, cast, kind, court: Court::new(cast, &arbiter) };
    forging(|| {
        for _ in 0..16 {
            if !dispute.chooser.has_more() {
                break;
            }
            dispute.step();
        }
        dispute.commit();
    });
    dispute.court.ruled
}

impl Dispute<'_> {
    fn step(&mut self) {
        match self.chooser.below(8) {
            0..=3 => self.file(),
            4 | 5 => self.commit(),
            6 => self.court.die(),
            _ => {
                let now = self.court.now;
                let other = [now + 1, now.saturating_sub(3_600_000)];
                self.court.now = self.chooser.pick(&[&TIMES[..], &other].concat());
            }
        }
    }

    fn file(&mut self) {
        let Some(offer) = self.offer() else { return };
        let acceptance = self.chooser.pick(&[Some(1), None, Some(2)]).map(|nonce| {
            let nonce = [nonce; 32];
            let acceptance = Acceptance { exchange_id: offer.exchange_id(), nonce };
            Verified::sign(acceptance, &Forger(offer.responder.signing_key))
        });
        let agreed = acceptance.as_ref().and_then(|it| Agreement::join(offer.clone(), it.clone()).ok());
        let actions =
            [Action::Resolve, Action::Abort, Action::Revoke, Action::Deposit, Action::Fetch, Action::Query];
        let (role, action) = (self.chooser.pick(&Role::BOTH), self.chooser.pick(&actions));
        let agreement_id = acceptance.as_ref().map(|it| AgreementId::from_bytes(*it.digest().as_bytes()));
        // About the offer filed, or about another; by who has the role, or by somebody else.
        let (wrong_offer, wrong_signer) = (self.chooser.below(16) == 15, self.chooser.below(16) == 15);
        let exchange = if wrong_offer { ExchangeId::from_bytes([9; 32]) } else { offer.exchange_id() };
        let request = Request { exchange_id: exchange, agreement_id, role, action };
        let signer = if wrong_signer { role.peer() } else { role };
        let request = Verified::sign(request, &Forger(offer.party(signer).signing_key));
        let pledges = agreed.as_ref().map(|it| self.pledges(it, role, action)).unwrap_or_default();
        let case = Case::admit(
            &self.cast.identity(),
            signed(&request),
            signed(&offer),
            acceptance.as_ref().map(signed),
            pledges,
        );
        let Ok(case) = case else { return };
        assert!(!wrong_offer, "R-205: a request about another exchange");
        assert_eq!(case.request().signer(), offer.party(role).signing_key, "R-402");
        self.decide(Rc::new(case));
    }

    /// As the kind has it, or with something in it changed; `None` if nobody may offer that.
    fn offer(&mut self) -> Option<Verified<Offer>> {
        let mut offer = self.cast.terms(self.kind, 31);
        match self.chooser.below(16) {
            0 => offer.complain_by = offer.complain_by.map(|_| UnixMillis(COMPLAIN_BY - 1)),
            1 => offer.send_by = offer.send_by.map(|_| UnixMillis(SEND_BY + 1)),
            2 => offer.selection.first_sender = offer.selection.first_sender.peer(),
            3 => std::mem::swap(&mut offer.originator_item, &mut offer.responder_item),
            _ => {}
        }
        let offer = Verified::sign(offer, &Forger(self.cast.originator.public_key()));
        Signed::parse(offer.envelope().clone()).ok()?.verify_offer().ok()
    }

    /// What the arbiter is to open or to post: good, missing, of the other acceptance, or a ledger's word that is another.
    fn pledges(&mut self, agreement: &Agreement, role: Role, action: Action) -> Escrows {
        thread_local! {
            static MADE: RefCell<BTreeMap<(AgreementId, Role), Option<Pledge>>> = RefCell::default();
        }
        let p1 = agreement.offer().selection.protocol == Protocol::ContractSigning;
        ByRole { originator: Role::Originator, responder: Role::Responder }.map(|_, of| {
            let wanted = action == Action::Resolve && (p1 || *of == role.peer());
            let choice = self.chooser.below(8);
            if wanted == (choice == 7) {
                return None;
            }
            if let (6, Some(terms)) = (choice, PaymentTerms::of(agreement.offer(), *of)) {
                let state = self
                    .chooser
                    .pick(&[PaymentState::Voided, PaymentState::Posted(terms.payment.amount.units)]);
                return Some(Pledge::Reservation(receipt(&terms, state).envelope().clone()));
            }
            MADE.with_borrow_mut(|made| {
                if made.len() > 200 {
                    made.clear();
                }
                let make = || self.cast.pledge(agreement, *of);
                made.entry((agreement.id(), *of)).or_insert_with(make).clone()
            })
        })
    }

    fn decide(&mut self, case: Rc<Case>) {
        let record = self.court.record(&case.exchange_id());
        let opened = if record.verdict.is_some() { Ok(ByRole::default()) } else { open(&case, self.cast) };
        let Ok(opened) = opened else { return };
        let mut held = opened.map(|role, fit| fit.as_ref().map(|fit| (fit, content_of(role))));
        let role = case.request().role;
        let brought = if self.chooser.below(8) == 7 { role.peer() } else { role };
        let content = self.cast.fits(case.offer(), brought);
        if let (Action::Deposit, Some(content)) = (case.request().action, &content) {
            held = ByRole::only(role, (content, content_of(role)));
        }
        let Filed { before, after, refused, at } = self.court.file(Rc::clone(&case), held);
        check_step(&case, &before, &after, at);
        let done = (&before.verdict, &before.attestations) != (&after.verdict, &after.attestations);
        assert!(!(refused && done), "refused, and done");
    }

    fn commit(&mut self) {
        self.court.commit(|_, _| {});
    }
}

fn signed<T: Payload>(statement: &Verified<T>) -> Signed<T> {
    Signed::parse(statement.envelope().clone()).expect("signed by us")
}

/// What one case may have changed.
fn check_step(case: &Case, before: &Record, after: &Record, clock: UnixMillis) {
    let verdict = after.verdict.as_ref().map(|it| &it.statement);
    if let Some(earlier) = &before.verdict {
        assert_eq!(after.verdict.as_ref(), Some(earlier), "R-401: a second verdict");
        assert_eq!(before.attestations, after.attestations, "R-407: a deposit after the verdict");
    } else if let Some(verdict) = verdict {
        let deposits = before.attestations.clone().map(|_, it| it.as_ref().map(|it| it.statement.clone()));
        lawful(verdict, case, &deposits);
        assert_eq!(verdict.time, clock, "R-409");
        check_money(verdict, case.offer());
        for role in Role::BOTH {
            let opened = case.to_open().contains(&role) && matches!(verdict.ruling, Ruling::Replaced(_));
            let held = before.held.of(role).is_some() || opened;
            assert_eq!(after.held.of(role).is_some(), held, "R-408, R-411: {role:?}");
        }
    }
    for (role, earlier) in before.attestations.iter() {
        let now = after.attestations.of(role);
        if let Some(earlier) = earlier {
            assert_eq!(now.as_ref(), Some(earlier), "R-407: a second deposit");
        } else if let Some(new) = now {
            lawful_deposit(&new.statement, role, case);
            assert_eq!(*after.held.of(role), Some(content_of(role)), "attested, and nothing is held");
        }
    }
}

/// R-407, R-415, R-420, R-425.
fn lawful_deposit(deposit: &Attestation, role: Role, case: &Case) {
    let offer = case.offer();
    let first = offer.selection.first_sender;
    let allowed = match offer.selection.protocol {
        Protocol::VerifyThenGenerate => role == first,
        Protocol::RevokeOnSilence => role != first,
        Protocol::BothDeposited | Protocol::Affidavit => true,
        Protocol::ContractSigning | Protocol::MutualRollback | Protocol::Transfer => false,
    };
    assert!(allowed, "a deposit of who may not");
    assert_eq!(
        (case.request().action, case.request().role, deposit.depositor),
        (Action::Deposit, role, role)
    );
    assert_eq!(Some(deposit.agreement_id), case.request().agreement_id);
    assert_eq!(deposit.item, offer.item(role).digest());
    let until = offer.send_by.or(offer.complain_by).expect("a deadline");
    assert!(deposit.time < until, "deposited too late");
}

/// The tables of section 6, written again. Panics at a verdict that nobody may cause.
fn lawful(verdict: &Verdict, case: &Case, deposits: &ByRole<Option<Attestation>>) {
    let (offer, cause) = (case.offer(), case.request());
    let first = offer.selection.first_sender;
    let is_first = cause.role == first;
    let late = offer.complain_by.is_some_and(|by| verdict.time >= by);
    let key_is_over = offer.escrow.as_ref().is_some_and(|terms| verdict.time >= terms.epoch.until);
    let may_revoke = offer.send_by.is_some_and(|by| verdict.time >= by);
    let here = |role: Role| deposits.of(role).is_some();
    let under = |role: Role| deposits.of(role).as_ref().map(|it| it.agreement_id);
    let both = Role::BOTH.into_iter().all(here);
    let (replaced, revoked) = match &verdict.ruling {
        Ruling::Replaced(list) => {
            assert!(list.iter().all(|it| it.item == *offer.item(it.role)), "other items");
            (list.iter().map(|it| it.role).collect(), Vec::new())
        }
        Ruling::Revoked(roles) => (Vec::new(), roles.clone()),
        Ruling::Aborted | Ruling::Affidavit(_) => (Vec::new(), Vec::new()),
    };
    let plain = matches!(verdict.ruling, Ruling::Aborted);
    assert_eq!((verdict.exchange_id, verdict.request), (offer.exchange_id(), cause.digest()));
    assert_eq!(verdict.requested_by, cause.role);
    let mut rests_on = cause.agreement_id;
    let rule = match (offer.selection.protocol, cause.action) {
        (Protocol::ContractSigning, Action::Abort) => {
            let over = if offer.complain_by.is_some() { late } else { key_is_over };
            assert!(plain && (cause.role == Role::Originator || over), "R-403");
            "R-403"
        }
        (Protocol::ContractSigning, Action::Resolve) => {
            let opens = Role::BOTH.into_iter().any(|it| offer.is_escrowed(it));
            assert!(rests_on.is_some() && !late && !(opens && key_is_over), "R-404, R-411");
            assert_eq!(replaced, Role::BOTH, "R-404");
            "R-404"
        }
        (Protocol::VerifyThenGenerate, Action::Abort) => {
            assert!(plain && (is_first || late), "R-405");
            "R-405"
        }
        (Protocol::VerifyThenGenerate, Action::Resolve) => {
            assert!(is_first && !late && rests_on.is_some() && under(first) == rests_on, "R-406");
            assert!(!(offer.is_escrowed(first.peer()) && key_is_over), "R-411");
            assert_eq!(replaced, [first.peer()], "R-406");
            "R-406"
        }
        (Protocol::RevokeOnSilence, Action::Abort) if is_first => {
            assert!(plain, "R-413");
            "R-413"
        }
        (Protocol::RevokeOnSilence, Action::Abort) => {
            assert!(!here(first.peer()), "R-414: after its deposit");
            assert_eq!(revoked, [first], "R-414");
            "R-414"
        }
        (Protocol::RevokeOnSilence, Action::Revoke) if here(first.peer()) => {
            assert!(is_first && rests_on.is_some(), "R-416");
            assert_eq!(replaced, [first.peer()], "R-416");
            rests_on = under(first.peer());
            "R-416"
        }
        (Protocol::RevokeOnSilence, Action::Revoke) => {
            assert!(is_first && rests_on.is_some() && may_revoke && !late, "R-417");
            assert_eq!(revoked, [first], "R-417");
            "R-417"
        }
        (Protocol::MutualRollback, Action::Abort) if late => {
            assert!(plain, "R-422");
            "R-422"
        }
        (Protocol::MutualRollback, Action::Abort | Action::Revoke) => {
            assert!(!late, "R-418: too late");
            assert_eq!(revoked, Role::BOTH, "R-418");
            "R-418"
        }
        (Protocol::BothDeposited, Action::Abort) => {
            assert!(plain, "R-419");
            "R-419"
        }
        (Protocol::BothDeposited, Action::Resolve) => {
            assert!(both && Role::BOTH.into_iter().all(|it| under(it) == rests_on), "R-421");
            assert_eq!(replaced, Role::BOTH, "R-421");
            "R-421"
        }
        (Protocol::Affidavit, Action::Abort) if !Role::BOTH.into_iter().any(here) => {
            assert!(plain && (is_first || late), "R-427");
            "R-427"
        }
        (Protocol::Affidavit, Action::Abort | Action::Resolve) => {
            assert!(late || (both && cause.action == Action::Resolve), "R-426, R-427: too early");
            if both {
                assert_eq!(replaced, Role::BOTH, "R-426");
            } else {
                let performed = Role::BOTH.into_iter().filter(|it| here(*it)).collect();
                assert_eq!(verdict.ruling, Ruling::Affidavit(performed), "R-426");
            }
            rests_on = under(Role::Responder).or(under(Role::Originator)).or(rests_on);
            "R-426"
        }
        (protocol, action) => panic!("{action:?} caused a verdict in {protocol:?}"),
    };
    assert_eq!((verdict.rule.as_str(), verdict.agreement_id), (rule, rests_on));
}

/// R-423: what is revoked or aborted is voided, what is replaced is posted, and never a part.
fn check_money(verdict: &Verdict, offer: &Verified<Offer>) {
    for (role, order) in payment_orders(offer, &verdict.ruling) {
        let terms = PaymentTerms::of(offer, role).expect("a payment");
        let expected = match &verdict.ruling {
            Ruling::Replaced(list) if list.iter().any(|it| it.role == role) => {
                PaymentAction::Post(terms.payment.amount.units)
            }
            Ruling::Revoked(roles) if roles.contains(&role) => PaymentAction::Void,
            Ruling::Aborted => PaymentAction::Void,
            ruling => panic!("R-423: an order about {role:?} after {ruling:?}"),
        };
        assert_eq!((order.action, &order.terms), (expected, &terms), "R-423");
    }
}
