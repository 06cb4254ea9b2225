//! The client: one party with its key, its journal and its arbiter.
//!
//! ```text
//!  originator: offer ─▶ run ─▶ Outcome          responder: next_offer ─▶ accept ─▶ run ─▶ Outcome
//!                        └ crash ─▶ resume                                  └ crash ─▶ resume
//! ```
//!
//! Invariants
//! - The approver sees the exact statement before it is signed.
//! - Nothing leaves before the journal holds it (R-301).
//! - An exchange is carried out by one call at a time.
//! - No file is promised that could not be deposited with a complaint.
//! - Nothing is accepted whose pledge was not checked (R-310).
//! - No payment is agreed to that could not be made, seen or undone in time (R5).
//! - No item is agreed to that no module of ours gives or takes within its limits (R-713).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arbiter_protocol::crypto::{SealingSecret, Signer};
use arbiter_protocol::error::Refused;
use arbiter_protocol::escrow::Suite;
use arbiter_protocol::exchange::item::Item;
use arbiter_protocol::exchange::kind::pledge::{self, Pledged};
use arbiter_protocol::exchange::selection::{Protocol, Role, Selection, select_affidavit, select_for};
use arbiter_protocol::ids::ExchangeId;
use arbiter_protocol::message::agreement::{
    Acceptance, Agreement, ArbiterIdentity, EscrowTerms, Offer, Party,
};
use arbiter_protocol::message::escrow_epoch::EscrowEpoch;
use arbiter_protocol::message::verdict::Verdict;
use arbiter_protocol::role::Session;
use arbiter_protocol::statement::{Envelope, Payload as _, Signed, Verified, digest_of};
use arbiter_protocol::time::UnixMillis;
use async_trait::async_trait;
use tokio::sync::Notify;

use crate::arbiter::counsel::{Answer, Answered, Counsel};
use crate::arbiter::{Misbehaviour, Reason};
use crate::builder::{ClientBuilder, Settings};
use crate::charge::{Accused, ChargeFile};
use crate::clock::Clock;
use crate::driver::Driver;
use crate::error::{Error, PeerFault, Usage};
use crate::give::{check_pledge, nonces};
use crate::journal::{Journal, Record};
use crate::ledger::till::Till;
use crate::module::Capabilities;
use crate::module::manager::Managers;
use crate::outcome::{Outcome, Status};
use crate::random;
use crate::transport::{Event, Nobody, PeerMessage, Transport, Want};

pub use crate::give::Give;

/// Who we are: a signing key, a sealing key and what we call ourselves.
#[derive(Clone)]
pub struct Identity {
    signer: Arc<dyn Signer>,
    sealing: Arc<SealingSecret>,
    name: String,
}

impl Identity {
    /// Puts the parts together. `name` is shown to the peer and verified by nobody.
    pub fn new(signer: Arc<dyn Signer>, sealing: SealingSecret, name: impl Into<String>) -> Self {
        Self { signer, sealing: Arc::new(sealing), name: name.into() }
    }

    /// The public part, as an agreement names it.
    pub fn party(&self) -> Party {
        Party {
            signing_key: self.signer.public_key(),
            sealing_key: self.sealing.public_key(),
            name: self.name.clone(),
        }
    }

    pub(crate) fn signer(&self) -> &dyn Signer {
        &*self.signer
    }

    pub(crate) fn shared_signer(&self) -> Arc<dyn Signer> {
        self.signer.clone()
    }

    pub(crate) fn sealing(&self) -> &SealingSecret {
        &self.sealing
    }
}

/// What the originator proposes. Protocol and order of sending follow from the items.
#[derive(Clone, Debug)]
pub struct OfferTerms {
    /// Who is asked.
    pub responder: Party,
    /// What we give.
    pub originator_item: Item,
    /// What we get.
    pub responder_item: Item,
    /// For protocols with a deadline: until when the first sender may complain, on the arbiter's clock.
    pub complain_by: Option<UnixMillis>,
    /// P3: until when the second sender's item is due, before `complain_by`. Absent: halfway from now to there. Other
    /// protocols have none.
    pub send_by: Option<UnixMillis>,
    /// How detached signatures are put into escrow, if an item is one: [`Suite::DEFAULT`] for who has no reason for
    /// another.
    pub suite: Suite,
}

/// An offer that was checked and can be accepted.
#[derive(Clone, Debug)]
pub struct Proposal {
    offer: Verified<Offer>,
    pledge: Option<Pledged>,
}

impl Proposal {
    /// The offer.
    pub const fn offer(&self) -> &Verified<Offer> {
        &self.offer
    }

    /// The originator's pledge, fully checked (R-310), if it owes one: its signature in escrow, or its money reserved.
    pub const fn pledge(&self) -> Option<&Pledged> {
        self.pledge.as_ref()
    }
}

/// Is asked before anything is signed: the trusted user interface.
#[async_trait]
pub trait Approver: Send + Sync {
    /// Whether the party in `role` wants to be bound by exactly this offer, which `exchange_id` names: it is
    /// the hash that is signed.
    async fn approve(&self, offer: &Offer, exchange_id: ExchangeId, role: Role) -> bool;
}

/// For programs that decide before they call: the call itself is the approval.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unattended;

#[async_trait]
impl Approver for Unattended {
    async fn approve(&self, _offer: &Offer, _exchange_id: ExchangeId, _role: Role) -> bool {
        true
    }
}

/// One party. Cheap to clone; every clone is the same party.
#[derive(Clone)]
pub struct Client(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub pinned: ArbiterIdentity,
    pub epoch: Option<Verified<EscrowEpoch>>,
    pub identity: Identity,
    pub folder: PathBuf,
    pub journal: Journal,
    pub clock: Arc<dyn Clock>,
    pub counsel: Counsel,
    pub till: Till,
    pub managers: Managers,
    pub settings: Settings,
    pub approver: Arc<dyn Approver>,
    pub active: Mutex<BTreeMap<ExchangeId, Arc<Notify>>>,
}

impl Client {
    /// Starts putting a client together.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// Who we are.
    pub fn party(&self) -> Party {
        self.0.identity.party()
    }

    /// The pinned arbiter.
    pub fn arbiter(&self) -> &ArbiterIdentity {
        &self.0.pinned
    }

    /// What we give and take, in order of preference: to be handed to the peer (see [`crate::module::negotiate`]).
    pub fn capabilities(&self) -> Capabilities {
        self.0.managers.capabilities(self.party().signing_key)
    }

    /// Signs an offer and keeps it; nothing is sent until [`Client::run`]. `give` is what our item needs from
    /// outside: a file, or a signature that was made elsewhere.
    pub async fn offer(&self, terms: OfferTerms, give: Give) -> Result<ExchangeId, Error> {
        let selection = select_for(&terms.originator_item, &terms.responder_item);
        self.offer_selected(terms, give, selection.map_err(Usage::Unfair)?).await
    }

    /// As [`Client::offer`], for items that have no strongly fair protocol: at best the arbiter signs, at the deadline, which
    /// of them it had (P6). Refused where something better is possible.
    pub async fn offer_with_affidavit(&self, terms: OfferTerms, give: Give) -> Result<ExchangeId, Error> {
        let selection = select_affidavit(&terms.originator_item.properties, &terms.responder_item.properties);
        self.offer_selected(terms, give, selection.map_err(Usage::Unfair)?).await
    }

    async fn offer_selected(
        &self,
        terms: OfferTerms,
        give: Give,
        selection: Selection,
    ) -> Result<ExchangeId, Error> {
        self.check_give(&terms.originator_item, &give)?;
        let send_by = match (selection.protocol, terms.complain_by) {
            (Protocol::RevokeOnSilence, Some(by)) => {
                Some(terms.send_by.unwrap_or_else(|| halfway(self.0.clock.now(), by)))
            }
            _ => terms.send_by,
        };
        let mut offer = Offer {
            nonce: random::bytes()?,
            originator: self.party(),
            responder: terms.responder,
            arbiter: self.0.pinned.clone(),
            originator_item: terms.originator_item,
            responder_item: terms.responder_item,
            selection,
            complain_by: terms.complain_by,
            send_by,
            escrow: None,
        };
        offer.escrow = self.escrow_terms(&offer, terms.suite)?;
        offer.check().map_err(Usage::Terms)?;
        let settings = &self.0.settings;
        self.0.till.check(&offer, Role::Originator).map_err(Usage::Money)?;
        self.check_modules(&offer, Role::Originator, &give).map_err(Usage::Module)?;
        settings.check_holds(&offer).map_err(Usage::Money)?;
        settings.check_deposit(&offer, Role::Originator)?;
        settings.check_deadline(&offer, Role::Originator, self.0.clock.now())?;
        let timing = settings.timing_for(&offer, Role::Originator);
        self.prepare(&offer.originator_item, &give).await?;
        let own = self.own(&offer.originator_item, give).await?;
        let exchange_id = ExchangeId::from_bytes(*digest_of(&offer).as_bytes());
        if !self.0.approver.approve(&offer, exchange_id, Role::Originator).await {
            return Err(Usage::NotApproved.into());
        }
        let offer = Verified::sign(offer, self.0.identity.signer());
        // What the peer will refuse to read must not be sent: read it as the peer will.
        let offer = Signed::<Offer>::parse(offer.envelope().clone())
            .map_err(Usage::Field)?
            .verify_offer()
            .map_err(|_| Error::Bug("an offer of ours does not verify"))?;
        let own = self.sign(&offer.originator_item, own).await?;
        let own = self.put_into_escrow(&offer, None, own).await?;
        let step = Session::open(offer, timing);
        let record = Record::new(step.next, own, self.0.clock.now());
        self.0.journal.put(&record).await?;
        Ok(record.session.exchange_id())
    }

    /// To which key detached signatures go, if there are any.
    fn escrow_terms(&self, offer: &Offer, suite: Suite) -> Result<Option<EscrowTerms>, Usage> {
        if Role::BOTH.into_iter().all(|role| !offer.is_escrowed(role)) {
            return Ok(None);
        }
        let epoch = self.0.epoch.clone().ok_or(Usage::NoEscrowKey)?;
        Ok(Some(EscrowTerms::new(epoch, suite)))
    }

    /// Checks an offer that came from somewhere, and the pledge beside it: well formed, signed, by the rules, for us,
    /// under the arbiter pinned here; the originator's signature in escrow, if it gives a detached one, or its money
    /// reserved (R-310). Signs nothing.
    pub async fn review(&self, offer: Envelope, pledge: Option<Vec<u8>>) -> Result<Proposal, Error> {
        let offer = Signed::<Offer>::parse(offer).map_err(PeerFault::from)?;
        self.concerns_us(offer.unverified())?;
        let offer = offer.verify_offer().map_err(PeerFault::from)?;
        let pledge = match pledge {
            None if pledge::is_owed(&offer, Role::Originator) => {
                return Err(PeerFault::from(pledge::missing(&offer, Role::Originator)).into());
            }
            None => None,
            Some(bytes) => Some(check_pledge(&offer, None, bytes).await?.map_err(PeerFault::from)?),
        };
        if !self.0.journal.nonces_are_new(&nonces(pledge.as_ref())).await? {
            return Err(PeerFault::NonceReused.into());
        }
        Ok(Proposal { offer, pledge })
    }

    fn concerns_us(&self, offer: &Offer) -> Result<(), PeerFault> {
        if offer.arbiter != self.0.pinned {
            return Err(PeerFault::OtherArbiter);
        }
        if offer.responder != self.party() {
            return Err(PeerFault::NotForUs);
        }
        Ok(())
    }

    /// Waits for an offer on a connection, and reviews it.
    pub async fn next_offer(&self, transport: &mut dyn Transport) -> Result<Proposal, Error> {
        loop {
            match transport.next(Want::Events).await {
                Event::Closed => return Err(PeerFault::NoOffer.into()),
                Event::Message(PeerMessage::Statement(envelope, pledge))
                    if envelope.payload_type() == Offer::TYPE =>
                {
                    return self.review(envelope, pledge).await;
                }
                Event::Connected | Event::Lost | Event::Message(_) | Event::Room => {}
            }
        }
    }

    /// Tells the peer that its offer is not wanted. A courtesy: saying nothing is as good.
    pub async fn decline(&self, transport: &mut dyn Transport, reason: &str) {
        // Not delivered is as good as not said.
        let _ = transport.send(PeerMessage::Declined(reason.to_owned()));
        transport.close().await;
    }

    /// Signs the acceptance and keeps it; nothing is sent until [`Client::run`]. `give` is what our item needs from
    /// outside: a file, or a signature that was made elsewhere. An offer accepted before is not signed again.
    pub async fn accept(&self, proposal: &Proposal, give: Give) -> Result<ExchangeId, Error> {
        let Proposal { offer, pledge } = proposal;
        // A proposal may have been reviewed by another client.
        self.concerns_us(offer)?;
        self.check_give(&offer.responder_item, &give)?;
        let exchange_id = offer.exchange_id();
        if self.0.journal.find(&exchange_id).await?.is_some() {
            return Err(Usage::Known(exchange_id).into());
        }
        let settings = &self.0.settings;
        self.0.till.check(offer, Role::Responder).map_err(PeerFault::Money)?;
        self.check_modules(offer, Role::Responder, &give).map_err(PeerFault::Module)?;
        settings.check_holds(offer).map_err(PeerFault::Money)?;
        settings.check_deposit(offer, Role::Responder)?;
        settings.has_time(offer, Role::Responder, self.0.clock.now())?;
        let timing = settings.timing_for(offer, Role::Responder);
        self.prepare(&offer.responder_item, &give).await?;
        let own = self.own(&offer.responder_item, give).await?;
        if !self.0.approver.approve(offer, exchange_id, Role::Responder).await {
            return Err(Usage::NotApproved.into());
        }
        if !self.0.journal.observe_nonces(nonces(pledge.as_ref())).await? {
            return Err(PeerFault::NonceReused.into());
        }
        let own = self.sign(&offer.responder_item, own).await?;
        let acceptance =
            Verified::sign(Acceptance { exchange_id, nonce: random::bytes()? }, self.0.identity.signer());
        let agreement = Agreement::join(offer.clone(), acceptance)
            .map_err(|_| Error::Bug("an acceptance of ours does not fit its offer"))?;
        let own = self.put_into_escrow(offer, Some(agreement.id()), own).await?;
        let now = self.0.clock.now();
        let step = Session::accept(agreement, pledge.as_ref(), now, timing).map_err(|why| match why {
            Refused::DeadlineMismatch => PeerFault::too_late(offer),
            other => other.into(),
        })?;
        let mut record = Record::new(step.next, own, now);
        record.peer_pledge = pledge.as_ref().map(Pledged::pledge);
        record.sign_transfer(self.0.identity.signer());
        self.0.journal.put(&record).await?;
        Ok(exchange_id)
    }

    /// Carries an exchange to its end.
    ///
    /// Waits for the peer as long as it makes progress, then turns to the arbiter. [`Error::Retry`] means that
    /// the arbiter is out of reach too; the journal keeps the place. Dropping the future is a crash: it is safe.
    pub async fn run(&self, id: ExchangeId, transport: &mut dyn Transport) -> Result<Outcome, Error> {
        let active = self.activate(id)?;
        let record = self.record(&id).await?;
        Driver::new(&self.0, record, transport, active.stop.clone()).run().await
    }

    /// Goes on after a crash, a restart or an error. The same as [`Client::run`]; a finished exchange tells
    /// the peer once more what it may have missed.
    pub async fn resume(&self, id: ExchangeId, transport: &mut dyn Transport) -> Result<Outcome, Error> {
        self.run(id, transport).await
    }

    /// Stops waiting for the peer and turns to the arbiter, without any connection to the peer.
    ///
    /// The second sender of a protocol with a deadline may not abort before it; then this waits until then.
    pub async fn complain(&self, id: ExchangeId) -> Result<Outcome, Error> {
        let active = self.activate(id)?;
        let record = self.record(&id).await?;
        active.stop.notify_one();
        Driver::new(&self.0, record, &mut Nobody, active.stop.clone()).run().await
    }

    /// Tells a call of [`Client::run`] on the same client to stop waiting for the peer. Whether there is one.
    pub fn stop_waiting(&self, id: ExchangeId) -> bool {
        let active = self.0.active();
        active.get(&id).inspect(|stop| stop.notify_one()).is_some()
    }

    /// Asks the arbiter for the verdict on an exchange, if there is one, and compares it with everything that
    /// it said before. Never causes a verdict. The receipt is kept: it is evidence.
    /// While the exchange is being carried out this is [`Usage::Busy`].
    pub async fn query(&self, id: ExchangeId) -> Result<Option<Verified<Verdict>>, Error> {
        // The record must not change meanwhile, and it will hold the receipt.
        let _active = self.activate(id)?;
        let mut record = self.record(&id).await?;
        match self.0.counsel.query(&record, &self.0.identity).await {
            Ok(Answer { result: Answered::Ruled(verdict, agreement), receipts }) => {
                if record.keep(receipts) {
                    // A party that never saw the acceptance learns it from the verdict's evidence.
                    agreement.iter().for_each(|agreement| record.adopt(agreement));
                    self.0.journal.put(&record).await?;
                }
                Ok(Some(verdict))
            }
            Ok(_) => Err(Error::Bug("a query was answered by something else")),
            Err(Error::Arbiter { reason: Reason::VerdictNotFound, .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// How far an exchange has come.
    pub async fn status(&self, id: ExchangeId) -> Result<Status, Error> {
        Ok(self.record(&id).await?.status())
    }

    /// Every exchange in the journal, in order of their ids.
    pub async fn list(&self) -> Result<Vec<Status>, Error> {
        Ok(self.0.journal.list().await?.iter().map(Record::status).collect())
    }

    /// What the arbiter was caught at.
    pub async fn misbehaviours(&self) -> Result<Vec<Misbehaviour>, Error> {
        Ok(self.0.journal.misbehaviours().await?)
    }

    /// The proofs of misbehaviour that follow from what the arbiter was caught at, for others to judge; each says who is
    /// accused. Fewer than [`Client::misbehaviours`], if what it did shows only to who asked.
    pub async fn charges(&self) -> Result<Vec<ChargeFile>, Error> {
        let mut files = Vec::new();
        for misbehaviour in self.misbehaviours().await? {
            let Some(record) = self.0.journal.find(&misbehaviour.exchange_id).await? else { continue };
            let offer = record.session.offer();
            let charge = misbehaviour.charge(offer);
            files.extend(charge.map(|charge| ChargeFile::new(Accused::from(&offer.arbiter), charge)));
        }
        Ok(files)
    }

    async fn record(&self, id: &ExchangeId) -> Result<Record, Error> {
        let record = self.0.journal.find(id).await?.ok_or(Usage::UnknownExchange(*id))?;
        let timing = self.0.settings.timing_for(record.session.offer(), record.session.role());
        Ok(record.with_timing(timing))
    }

    fn activate(&self, id: ExchangeId) -> Result<Active<'_>, Error> {
        let stop = Arc::new(Notify::new());
        let mut active = self.0.active();
        if active.contains_key(&id) {
            return Err(Usage::Busy(id).into());
        }
        active.insert(id, stop.clone());
        Ok(Active { inner: &self.0, id, stop })
    }
}

/// The time in the middle.
const fn halfway(now: UnixMillis, by: UnixMillis) -> UnixMillis {
    UnixMillis(now.0.saturating_add(by.0.saturating_sub(now.0) / 2))
}

impl Inner {
    fn active(&self) -> MutexGuard<'_, BTreeMap<ExchangeId, Arc<Notify>>> {
        // Held for single map operations that do not panic.
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Marks an exchange as being carried out, until dropped.
struct Active<'a> {
    inner: &'a Inner,
    id: ExchangeId,
    stop: Arc<Notify>,
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.inner.active().remove(&self.id);
    }
}
