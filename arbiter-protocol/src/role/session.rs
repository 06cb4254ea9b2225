//! One party's side of one exchange, from the agreement to the end.
//!
//! Originator and responder differ in how they open ([`super::originator`], [`super::responder`]); from the
//! agreement on only the order of sending and the protocol matter. When depends on `deadlines`.
//!
//! ```text
//!  first sender    SendItem, Waiting ──item──▶ Done(Completed), in P4 Settling
//!                     │ peer silent: P1 Resolve, P2 Complain (deposit, then resolve), P3 from send_by on and P4: Revoke
//!                     ▼
//!                  Asking ──verdict──▶ Done(Aborted), or Fetch what the arbiter holds ──▶ Done(Resolved)
//!
//!  second sender   Waiting ──item──▶ SendItem, Done(Completed), in P3 and P4 Settling
//!                     │ peer silent: P1 Resolve; P2 from complain_by on, P3, P4: Abort
//!                     ▼
//!                  Asking ──verdict──▶ Done(Aborted), or Fetch what the arbiter holds ──▶ Done(Resolved)
//!
//!  Settling        ──the peer's money is final──▶ Done(Completed), in P1 and P2 Done(Resolved)
//!                  ──it went back──▶ Asking(Abort): there is a verdict        ──P3, in time──▶ Asking(Deposit)
//!                  In P1 and P2 only after a verdict that has the peer's reserved money posted.
//!
//!  P5              agreed ──▶ Asking(Complain) ──both are there──▶ Fetch ──▶ Done(Resolved)
//!
//!  T               giver: agreed ──▶ SendItem, Done(Completed)      receiver: Waiting ──item──▶ Done(Completed)
//!                  peer silent ──▶ Done(Abandoned): nobody has to ask anybody
//! ```
//!
//! Invariants
//! - A second sender's item leaves only after the first sender's item fits (R-303).
//! - Nothing is sent once an abort has been asked for without having sent (R-302).
//! - An item leaves only while its sender can still turn to the arbiter about it (R-304), also after an outage, and the
//!   sender does so in time (R-308, R-313).
//! - A first sender that may have sent asks for an abort only when its time to complain is over for certain (R-308).
//! - Only the peer's item of this agreement, and only a verdict on this exchange, ends the exchange (R-305, R-309).

use crate::error::Refused;
use crate::exchange::kind::content::FitContent;
use crate::exchange::kind::detached::Place;
use crate::exchange::kind::pledge::{self, Pledged};
use crate::exchange::kind::signature::FitSignature;
use crate::exchange::selection::{Protocol, Role};
use crate::ids::ExchangeId;
use crate::message::agreement::{Acceptance, Agreement, Offer};
use crate::message::verdict::{Ruling, Verdict};
use crate::statement::Verified;
use crate::time::{DurationMillis, UnixMillis};
use crate::weaken::{Countermeasure, off};

/// A party's side of an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub(super) role: Role,
    pub(super) opening: Opening,
    pub(super) sent: bool,
    pub(super) phase: Phase,
    pub(super) timing: Timing,
}

/// What the parties have signed so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    Offer(Verified<Offer>),
    Agreement(Agreement),
}

/// How far the exchange has come. Durable before any output of the step that reached it is performed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The originator's offer is out; no acceptance yet.
    Offered,
    /// Agreed; waiting for the peer's item.
    Waiting,
    /// Both items are out, and the peer's is money that can still go back (P3 second sender, P4); or the arbiter has ruled
    /// that the peer's reserved money is ours, and the ledger has not posted it yet (P1, P2).
    Settling,
    /// A request to the arbiter may be out; waiting for its answer.
    Asking(Ask),
    /// Finished.
    Done(Outcome),
}

/// What a party asks of the arbiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// `AbortExchange`.
    Abort,
    /// `VerifyTransfer` with the own item, then `GenerateItem`.
    Complain,
    /// `VerifyTransfer` with the own item, and no more.
    Deposit,
    /// `FetchDeposit`.
    Fetch,
    /// `GenerateItem`.
    Resolve,
    /// `RevokeTransfer`.
    Revoke,
}

/// How an exchange ended for a party. Every way is fair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// T: this party waits no longer for an acceptance, or for a gift. It gave nothing.
    Abandoned,
    /// Neither party gets an item: the arbiter's verdict says so, an abort token or a revocation.
    Aborted,
    /// P6: the arbiter has signed what it had, and what not, at the deadline.
    Affidavit,
    /// Both items changed hands between the peers; the arbiter was not needed for ours.
    Completed,
    /// The arbiter's verdict gave what the peer withheld.
    Resolved,
}

/// What happens to a party. Statements are verified and items checked before they get here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The responder's acceptance, and its pledge if it owes one (R-310).
    Accepted(Agreement, Option<Pledged>),
    /// The peer's item arrived and fits.
    Received(Fit),
    /// What the arbiter held for us arrived and fits: the peer's deposit, or its signature out of escrow.
    Fetched(FitContent),
    /// The peer repeated itself or came back: say again what it may have missed.
    PeerRepeats,
    /// Stop waiting for the peer: patience is over, it declined, or the user says so.
    GiveUp,
    /// A time asked for by `WakeAt` has come.
    Wake,
    /// The arbiter's verdict, verified for this exchange.
    Ruled(Verdict),
    /// The arbiter refused the request that is out.
    Refused,
    /// The arbiter attests that it holds the own item for the peer.
    Attested,
    /// The ledger says that the peer's payment is final: the money is here.
    Settled,
    /// The ledger says that the peer's payment went back.
    Reversed,
}

/// An item that fits its description (R-305).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fit {
    /// A file, a detached signature, or a ledger's receipt.
    Content(FitContent),
    /// A signature that is the transfer itself.
    Signature(FitSignature),
}

/// What the driver must do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send the signed offer to the peer.
    SendOffer,
    /// Send the signed acceptance to the peer.
    SendAcceptance,
    /// Send the own item: the signed transfer, and the content if there is one.
    SendItem,
    /// Send this request to the arbiter, again until it answers.
    Ask(Ask),
    /// Give `Input::Wake` at this time or soon after.
    WakeAt(UnixMillis),
    /// Watch the peer's payment until it is final, then give `Input::Settled` or `Input::Reversed`.
    Observe,
    /// Post the own held payment: nothing can come of holding it. A courtesy, tried again until the ledger has heard it.
    Release,
    /// The exchange has ended.
    Done(Outcome),
}

/// Result of a transition: make `next` durable, then perform `outputs` in order (R-301).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The state after the transition.
    pub next: Session,
    /// What to do then.
    pub outputs: Vec<Output>,
}

/// How much time a party keeps for complaints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// The first sender complains this long before `complain_by`, and sends only if at least twice this
    /// long remains: enough for clock difference, network and upload.
    pub complain_margin: DurationMillis,
}

impl Session {
    /// Rebuilds a session from durable parts.
    pub fn restore(
        role: Role,
        offer: Verified<Offer>,
        acceptance: Option<Verified<Acceptance>>,
        sent: bool,
        phase: Phase,
        timing: Timing,
    ) -> Result<Self, Refused> {
        let needs_acceptance = role == Role::Responder
            || match phase {
                Phase::Waiting | Phase::Done(Outcome::Completed) => true,
                Phase::Asking(ask) => !matches!(ask, Ask::Abort | Ask::Fetch),
                // In P1 and P2 the arbiter has ruled, maybe on an acceptance that never came here.
                Phase::Settling => !offer.selection.protocol.generates(),
                Phase::Offered | Phase::Done(_) => false,
            };
        let opening = match acceptance {
            None if needs_acceptance => return Err(Refused::AcceptanceRequired),
            None => Opening::Offer(offer),
            Some(acceptance) => Opening::Agreement(Agreement::join(offer, acceptance)?),
        };
        Ok(Self { role, opening, sent, phase, timing })
    }

    /// The same session with another timing: the margin is the driver's setting, not part of what is durable.
    #[must_use]
    pub fn with_timing(self, timing: Timing) -> Self {
        Self { timing, ..self }
    }

    /// Learns the agreement from elsewhere than the peer, e.g. from a receipt (R-309). One that is known already
    /// stays, and one on another offer is ignored.
    #[must_use]
    pub fn with_agreement(self, agreement: &Agreement) -> Self {
        if self.agreement().is_some() || agreement.offer() != self.offer() {
            return self;
        }
        Self { opening: Opening::Agreement(agreement.clone()), ..self }
    }

    /// The own role.
    pub const fn role(&self) -> Role {
        self.role
    }

    /// Whether the own item may have left.
    pub const fn sent(&self) -> bool {
        self.sent
    }

    /// How far the exchange has come.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// The offer.
    pub const fn offer(&self) -> &Verified<Offer> {
        match &self.opening {
            Opening::Offer(offer) => offer,
            Opening::Agreement(agreement) => agreement.offer(),
        }
    }

    /// The agreement, once there is one.
    pub const fn agreement(&self) -> Option<&Agreement> {
        match &self.opening {
            Opening::Offer(_) => None,
            Opening::Agreement(agreement) => Some(agreement),
        }
    }

    /// Names the exchange.
    pub const fn exchange_id(&self) -> ExchangeId {
        self.offer().exchange_id()
    }

    /// Whether this party sends first.
    pub fn is_first(&self) -> bool {
        self.offer().selection.first_sender == self.role
    }

    /// The transition function. Inputs that mean nothing in the current phase change nothing.
    pub fn handle(&self, now: UnixMillis, input: Input) -> Step {
        match (self.phase, input) {
            (phase, Input::Accepted(agreement, pledge)) if hears_acceptances(phase) => {
                self.accepted(now, agreement, pledge.as_ref())
            }
            (Phase::Waiting | Phase::Asking(_), Input::Received(fit)) if self.is_peers_item(&fit) => {
                self.received(now)
            }
            (Phase::Offered | Phase::Waiting | Phase::Settling, Input::GiveUp) => self.give_up(now),
            (Phase::Offered | Phase::Waiting | Phase::Settling, Input::Wake)
                if self.deadline_is_near(now) =>
            {
                self.give_up(now)
            }
            // Not yet: the clock was stepped back, or the driver is early.
            (Phase::Offered | Phase::Waiting | Phase::Settling, Input::Wake) => {
                self.stay(self.told_to_peer(now).into_iter().chain(self.alarm()))
            }
            // After a verdict there is nothing else to wait for: what the ledger says is the end, whatever it says.
            (Phase::Settling, Input::Settled | Input::Reversed) if self.protocol().generates() => {
                self.done(Outcome::Resolved)
            }
            (Phase::Settling | Phase::Asking(Ask::Deposit), Input::Settled) => self.done(Outcome::Completed),
            // Only the arbiter can have done that: there is a verdict, and it is ours to keep.
            (Phase::Settling | Phase::Asking(Ask::Deposit), Input::Reversed) => self.ask(Ask::Abort),
            (Phase::Asking(Ask::Deposit), Input::Attested) => self.done(Outcome::Completed),
            (Phase::Asking(ask), Input::Wake) => self.stay([Output::Ask(ask)]),
            (Phase::Asking(_), Input::Ruled(verdict))
                if verdict.exchange_id == self.exchange_id() || off(Countermeasure::AnswerForThisRequest) =>
            {
                self.ruled(&verdict)
            }
            (Phase::Asking(ask), Input::Refused) => self.refused(now, ask),
            (Phase::Asking(Ask::Fetch), Input::Fetched(content)) if self.is_peers_content(&content) => {
                self.done(Outcome::Resolved)
            }
            (_, Input::PeerRepeats) => self.stay(self.told_to_peer(now)),
            // A first item repeated says that our second one was lost; a second item repeated says nothing.
            (Phase::Settling, Input::Received(fit)) if self.is_peers_item(&fit) => {
                self.stay(self.told_to_peer(now))
            }
            (Phase::Done(Outcome::Completed), Input::Received(fit))
                if !self.is_first() && self.is_peers_item(&fit) =>
            {
                self.stay([Output::SendItem])
            }
            _ => self.stay([]),
        }
    }

    /// What to do after a restart, or to start: everything the current phase may have left undone.
    ///
    /// It knows no time, so an item that may only leave before a deadline is not among it: `WakeAt` a time
    /// that has passed asks for `Input::Wake` at once, and that decides (R-304).
    pub fn resume(&self) -> Vec<Output> {
        match self.phase {
            Phase::Offered => self.opening_said().into_iter().chain(self.alarm()).collect(),
            Phase::Waiting if self.sent && self.wake_time().is_some() => {
                self.opening_said().into_iter().chain([Output::WakeAt(AT_ONCE)]).collect()
            }
            Phase::Waiting => {
                let item = self.sent.then_some(Output::SendItem);
                self.opening_said().into_iter().chain(item).chain(self.alarm()).collect()
            }
            Phase::Settling => {
                let alarm = self.wake_time().map(|_| Output::WakeAt(AT_ONCE));
                let opening = self.opening_said().filter(|_| !self.protocol().generates());
                opening.into_iter().chain([Output::Observe]).chain(alarm).collect()
            }
            Phase::Asking(Ask::Deposit) => vec![Output::Observe, Output::Ask(Ask::Deposit)],
            Phase::Asking(ask) => vec![Output::Ask(ask)],
            Phase::Done(outcome) => {
                // The peer may have missed it: nobody knows what was sent before the restart.
                let gave = outcome == Outcome::Completed && !self.is_first();
                // Who gives for nothing was done before it had heard anything of the peer.
                let alone = gave && self.protocol() == Protocol::Transfer;
                let opening = if alone { self.opening_said() } else { None };
                let item = gave.then_some(Output::SendItem);
                opening.into_iter().chain(item).chain(self.last_words(outcome)).collect()
            }
        }
    }

    /// Waiting for the peer's item after the agreement; sends first if it is our turn and safe (R-304).
    pub(super) fn agreed(&self, now: UnixMillis, agreement: Agreement) -> Step {
        let mut next = Self { opening: Opening::Agreement(agreement), ..self.clone() };
        if next.protocol() == Protocol::Transfer {
            return next.one_way();
        }
        let in_line = next.protocol() == Protocol::BothDeposited;
        if next.is_first() || in_line {
            if !next.has_time_to_complain(now) {
                return next.ask(Ask::Abort);
            }
            next.sent = true;
        }
        if in_line {
            next.phase = Phase::Asking(Ask::Complain);
            let outputs = next.opening_said().into_iter().chain([Output::Ask(Ask::Complain)]).collect();
            return Step { next, outputs };
        }
        next.sent |= off(Countermeasure::SecondSendsSecond); // R-303
        next.phase = Phase::Waiting;
        let outputs = next.told_to_peer(now).into_iter().chain(next.alarm()).collect();
        Step { next, outputs }
    }

    /// R-316: who gives for nothing gives at once and is done; who gets only waits.
    fn one_way(self) -> Step {
        if self.is_first() {
            let next = Self { phase: Phase::Waiting, ..self };
            return Step { outputs: next.opening_said().into_iter().collect(), next };
        }
        let opening = self.opening_said();
        let Step { next, outputs } = Self { sent: true, ..self }.done(Outcome::Completed);
        Step { next, outputs: opening.into_iter().chain([Output::SendItem]).chain(outputs).collect() }
    }

    /// R-310: whether the peer's item is in the arbiter's hands, if it owes a pledge.
    pub(super) fn is_safe_with(&self, agreement: &Agreement, pledge: Option<&Pledged>) -> bool {
        let (offer, peer) = (agreement.offer(), self.role.peer());
        let place = Place::of(offer, peer, agreement.id());
        !pledge::is_owed(offer, peer)
            || pledge.is_some_and(|it| it.is_for(&place))
            || off(Countermeasure::EscrowCheck)
    }

    /// The peer's item is here. A second sender now owes its own: in P1 and P2 however late it is (R-303), in P3 and P4
    /// only while it can still protect itself; otherwise it gives back what it got (R-313).
    fn received(&self, now: UnixMillis) -> Step {
        let first = self.is_first();
        if first && !self.sent && self.protocol() != Protocol::Transfer {
            return self.stay([]); // R-302: an abort is asked for and nothing was given.
        }
        match (self.protocol(), self.phase) {
            (Protocol::BothDeposited, _) => self.stay([]),
            (Protocol::MutualRollback, _) if first && self.phase == Phase::Waiting => self.settle(),
            (Protocol::RevokeOnSilence, _) if first => self.done(Outcome::Completed),
            (Protocol::MutualRollback | Protocol::RevokeOnSilence, Phase::Waiting) => {
                if !self.is_in_time(now) {
                    return self.ask(Ask::Abort);
                }
                let Step { next, outputs } = Self { sent: true, ..self.clone() }.settle();
                let outputs = [Output::SendItem].into_iter().chain(outputs).chain(next.alarm()).collect();
                Step { next, outputs }
            }
            (Protocol::MutualRollback | Protocol::RevokeOnSilence, _) => self.stay([]),
            (Protocol::Transfer, _) => self.done(Outcome::Completed),
            (Protocol::Affidavit | Protocol::ContractSigning | Protocol::VerifyThenGenerate, _) => {
                let Step { next, outputs } = Self { sent: true, ..self.clone() }.done(Outcome::Completed);
                let item = (!first).then_some(Output::SendItem);
                Step { next, outputs: item.into_iter().chain(outputs).collect() }
            }
        }
    }

    /// From now on only the end of the peer's payment counts.
    fn settle(&self) -> Step {
        let next = Self { phase: Phase::Settling, ..self.clone() };
        Step { next, outputs: vec![Output::Observe] }
    }

    /// R-305, once more: the driver has checked it, and a mistake there must not end an exchange.
    fn is_peers_item(&self, fit: &Fit) -> bool {
        let peer = self.role.peer();
        match (self.agreement(), fit) {
            (None, _) => false, // Without an agreement there is nothing that the own item could be bound to.
            (Some(_), Fit::Content(content)) => self.is_peers_content(content),
            (Some(agreement), Fit::Signature(signature)) => {
                let transfer = signature.transfer();
                transfer.is_bound_to(agreement).is_ok()
                    && transfer.sender == peer
                    && transfer.item == *self.offer().item(peer)
            }
        }
    }

    fn is_peers_content(&self, content: &FitContent) -> bool {
        content.fits(self.offer(), self.role.peer())
    }

    /// Waiting makes no more sense: turn to the arbiter, as far as the protocol allows now.
    fn give_up(&self, now: UnixMillis) -> Step {
        match (self.protocol(), self.is_first()) {
            // The verdict is there: only the ledger counts.
            (Protocol::ContractSigning | Protocol::VerifyThenGenerate, _)
                if self.phase == Phase::Settling =>
            {
                self.stay([])
            }
            (Protocol::ContractSigning, _) if self.phase == Phase::Offered => self.ask(Ask::Abort),
            (Protocol::ContractSigning, _) => self.ask(Ask::Resolve),
            (Protocol::Affidavit, true) if self.sent && !self.is_own_item_depositable() => {
                self.ask(Ask::Resolve)
            }
            (Protocol::Affidavit | Protocol::VerifyThenGenerate, true) if self.sent => {
                self.ask(Ask::Complain)
            }
            (Protocol::Affidavit | Protocol::VerifyThenGenerate, true) => self.ask(Ask::Abort),
            // R-308: the second sender must wait for the first sender's last chance to complain.
            (Protocol::Affidavit | Protocol::VerifyThenGenerate, false) if self.deadline_is_near(now) => {
                self.ask(Ask::Abort)
            }
            (Protocol::Affidavit | Protocol::VerifyThenGenerate, false) => self.stay(self.alarm()),
            // R-313: the peer may still send its item, or have it sent through the arbiter.
            (Protocol::RevokeOnSilence, true) if self.sent && !self.deadline_is_near(now) => {
                self.stay(self.alarm())
            }
            (Protocol::RevokeOnSilence, true) if self.sent => self.ask(Ask::Revoke),
            (Protocol::RevokeOnSilence, false) if self.sent => {
                let Step { next, mut outputs } = self.ask(Ask::Deposit);
                outputs.insert(0, Output::Observe);
                Step { next, outputs }
            }
            (Protocol::MutualRollback, _) if self.phase == Phase::Settling => self.stay([]),
            (Protocol::MutualRollback, _) if self.sent => self.ask(Ask::Revoke),
            (Protocol::BothDeposited | Protocol::MutualRollback | Protocol::RevokeOnSilence, _) => {
                self.ask(Ask::Abort)
            }
            (Protocol::Transfer, _) => self.done(Outcome::Abandoned),
        }
    }

    /// R-309: the verdict ends it, whichever acceptance it rests on (attack K1): the items are in the offer.
    fn ruled(&self, verdict: &Verdict) -> Step {
        let other =
            verdict.agreement_id.is_some() && verdict.agreement_id != self.agreement().map(Agreement::id);
        if other && off(Countermeasure::VerdictOnAnyAcceptance) {
            return self.stay([]);
        }
        match &verdict.ruling {
            // What the peer paid stands, and what we gave it is with it or with the arbiter.
            Ruling::Aborted | Ruling::Replaced(_) if self.phase == Phase::Asking(Ask::Deposit) => {
                self.done(Outcome::Completed)
            }
            Ruling::Aborted | Ruling::Revoked(_) => self.done(Outcome::Aborted),
            Ruling::Affidavit(_) => self.done(Outcome::Affidavit),
            // R-428: the arbiter has the ledger post it.
            Ruling::Replaced(_)
                if self.offer().item(self.role.peer()).description.reservation().is_some() =>
            {
                self.settle()
            }
            // The arbiter holds it: a deposit, or a signature out of escrow.
            Ruling::Replaced(_) if self.offer().item(self.role.peer()).description.is_content() => {
                self.ask(Ask::Fetch)
            }
            Ruling::Replaced(_) => self.done(Outcome::Resolved),
        }
    }

    /// What is refused is asked again: an abort can be too early by the arbiter's clock. A claim is given up only when
    /// it is too late by the own clock and the margin for clock difference (R-308, R-312): refusals are not signed, and
    /// an abort asked for on a forged one would end the own claim.
    fn refused(&self, now: UnixMillis, ask: Ask) -> Step {
        if !self.claim_is_over(now, ask) {
            return self.stay([Output::WakeAt(self.ask_again(now, ask).max(now.after(ASK_AGAIN)))]);
        }
        match ask {
            // Too late for a deposit: the affidavit says what the arbiter has seen without it.
            Ask::Complain if self.protocol() == Protocol::Affidavit => self.ask(Ask::Resolve),
            // The item is out, and the payment is not final yet: there is nothing left to do but to see.
            Ask::Deposit => self.settle(),
            _ => self.ask(Ask::Abort),
        }
    }

    /// Everything said to the peer so far, in order, as far as it may be said at this time.
    fn told_to_peer(&self, now: UnixMillis) -> Vec<Output> {
        let silent = match self.phase {
            Phase::Asking(_) => !self.sent,
            Phase::Done(outcome) => outcome != Outcome::Completed,
            // In P1 and P2 the arbiter has ruled.
            Phase::Settling => self.protocol().generates(),
            Phase::Offered | Phase::Waiting => false,
        };
        if silent {
            return Vec::new();
        }
        let item = self.may_send_item(now).then_some(Output::SendItem);
        self.opening_said().into_iter().chain(item).collect()
    }

    fn opening_said(&self) -> Option<Output> {
        match (self.role, &self.opening) {
            (Role::Originator, Opening::Offer(_)) => Some(Output::SendOffer),
            (Role::Originator, Opening::Agreement(_)) => None,
            (Role::Responder, _) => Some(Output::SendAcceptance),
        }
    }

    fn ask(&self, ask: Ask) -> Step {
        let next = Self { phase: Phase::Asking(ask), ..self.clone() };
        Step { next, outputs: vec![Output::Ask(ask)] }
    }

    fn done(&self, outcome: Outcome) -> Step {
        let next = Self { phase: Phase::Done(outcome), ..self.clone() };
        let outputs = next.last_words(outcome).collect();
        Step { next, outputs }
    }

    /// What is left to do at the end.
    fn last_words(&self, outcome: Outcome) -> impl Iterator<Item = Output> + use<> {
        let release = (outcome != Outcome::Aborted && self.may_release()).then_some(Output::Release);
        release.into_iter().chain([Output::Done(outcome)])
    }

    pub(super) fn stay(&self, outputs: impl IntoIterator<Item = Output>) -> Step {
        Step { next: self.clone(), outputs: outputs.into_iter().collect() }
    }
}

/// R-302: after an abort was asked for no acceptance makes an agreement.
fn hears_acceptances(phase: Phase) -> bool {
    phase == Phase::Offered
        || (phase == Phase::Asking(Ask::Abort) && off(Countermeasure::NothingAfterAnAbort))
}

/// A time that has always passed.
const AT_ONCE: UnixMillis = UnixMillis(0);
/// How long to wait before asking again for what the arbiter refused.
const ASK_AGAIN: DurationMillis = DurationMillis(500);
