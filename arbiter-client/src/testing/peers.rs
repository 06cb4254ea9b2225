//! Peers that cheat on request, over any transport, with real signatures.
//!
//! ```text
//!  Cheater ── offer or acceptance, then the cheat ──▶ honest party        Loot: what it got out of it
//! ```
//! A cheater knows no patience: it takes what comes until its connection ends or its time is over.

mod money;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arbiter_protocol::crypto::{Opener, Sealer};
use arbiter_protocol::escrow::Escrow;
use arbiter_protocol::exchange::item::{Description, DetachedSignature, Item};
use arbiter_protocol::exchange::kind::content::ContentCheck;
use arbiter_protocol::exchange::kind::detached::Place;
use arbiter_protocol::exchange::kind::package;
use arbiter_protocol::exchange::kind::pledge::Pledge;
use arbiter_protocol::exchange::selection::{ByRole, Protocol, Role};
use arbiter_protocol::ids::{AgreementId, Digest, ExchangeId};
use arbiter_protocol::limits;
use arbiter_protocol::message::agreement::{Acceptance, Agreement, Offer};
use arbiter_protocol::message::request::{Action, Request};
use arbiter_protocol::message::transfer::Transfer;
use arbiter_protocol::role::arbiter::{Escrows, to_file};
use arbiter_protocol::ruling::receipt::Receipt;
use arbiter_protocol::statement::{Envelope, Payload as _, Signed, Verified};
use tokio::time::{Instant, interval, sleep_until};

use crate::arbiter::{ArbiterPort, Filing};
use crate::client::Identity;
use crate::error::Error;
use crate::random;
use crate::transport::{Content, Event, PeerMessage, Transport, Want};

/// How often [`Cheat::RepeatsForever`] repeats itself.
const REPEATS: Duration = Duration::from_secs(5);

/// How a peer cheats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cheat {
    /// Asks the arbiter to abort although the offer was accepted. For an originator with an arbiter.
    AbortAfterAcceptance,
    /// Sends its item with one byte, or the text, changed.
    AlteredItem,
    /// Sends bytes that are no pledge beside its offer or acceptance. For who gives a detached signature, as the next four;
    /// this one and the next two also for who reserves a payment.
    EscrowGarbage,
    /// Sends nothing there.
    EscrowMissing,
    /// Sends the escrows of all signatures of its package but the first. For who gives a package of them, as the next one.
    EscrowMissingOne,
    /// Sends the escrows of its package in another order.
    EscrowsSwapped,
    /// Sends an escrow of its signature that was made for another exchange or agreement, or the true receipt of another
    /// reservation.
    EscrowOfOther,
    /// Sends an escrow for this exchange in which nothing can be opened.
    EscrowUnopenable,
    /// Sends a good escrow, and in place of the signature in it another one that is valid (R-311). Needs
    /// [`Cheater::with_signatures`].
    OtherSignature,
    /// Pays, or has the money held, and tells nobody. For who pays, as the next three; all need [`Cheater::with_account`].
    PayAndVanish,
    /// Sends a receipt that is as good as the ledger's, but signed by itself: of a reserved payment already beside its offer
    /// or acceptance.
    ForgedReceipt,
    /// Sends the ledger's true word that nothing was paid, there as well.
    UnpaidReceipt,
    /// Pays and sends the receipt; takes the peer's item, and then asks to have the money back.
    RevokeAfterReceiving,
    /// Says nothing after its acceptance. For a responder.
    QuietAfterAcceptance,
    /// Says nothing after its offer. For an originator.
    QuietAfterOffer,
    /// Takes the peer's item and says nothing more.
    QuietAfterReceiving,
    /// Sends, in place of its item, statements of another exchange and the peer's own statements.
    ReplayOldStatements,
    /// Withholds its item, and says what it has said before again and again, also on new connections.
    RepeatsForever,
    /// Signs a second acceptance, and turns to its arbiter with that one (attack K1). For a responder.
    SecondAcceptance,
    /// Does everything but send its item.
    WithholdItem,
}

impl Cheat {
    /// Every cheat with an escrow.
    pub const ESCROW: [Self; 5] = [
        Self::EscrowGarbage,
        Self::EscrowMissing,
        Self::EscrowOfOther,
        Self::EscrowUnopenable,
        Self::OtherSignature,
    ];

    /// Those that take more than one.
    pub const ESCROWS: [Self; 2] = [Self::EscrowMissingOne, Self::EscrowsSwapped];

    /// Every cheat with money.
    pub const MONEY: [Self; 4] =
        [Self::ForgedReceipt, Self::PayAndVanish, Self::RevokeAfterReceiving, Self::UnpaidReceipt];

    /// Every other cheat.
    pub const ALL: [Self; 9] = [
        Self::AbortAfterAcceptance,
        Self::AlteredItem,
        Self::QuietAfterAcceptance,
        Self::QuietAfterOffer,
        Self::QuietAfterReceiving,
        Self::ReplayOldStatements,
        Self::RepeatsForever,
        Self::SecondAcceptance,
        Self::WithholdItem,
    ];

    /// Whether it does something again and again.
    const fn insists(self) -> bool {
        matches!(self, Self::RepeatsForever | Self::RevokeAfterReceiving)
    }

    /// Whether a party in this role, sending first or second, has the occasion.
    pub fn suits(self, role: Role, sends_first: bool) -> bool {
        match self {
            Self::AbortAfterAcceptance | Self::QuietAfterOffer => role == Role::Originator,
            Self::QuietAfterAcceptance | Self::SecondAcceptance => role == Role::Responder,
            Self::QuietAfterReceiving => !sends_first,
            Self::EscrowGarbage
            | Self::EscrowMissing
            | Self::EscrowMissingOne
            | Self::EscrowOfOther
            | Self::EscrowUnopenable
            | Self::EscrowsSwapped
            | Self::OtherSignature
            | Self::ForgedReceipt
            | Self::PayAndVanish
            | Self::RevokeAfterReceiving
            | Self::UnpaidReceipt
            | Self::AlteredItem
            | Self::ReplayOldStatements
            | Self::RepeatsForever
            | Self::WithholdItem => true,
        }
    }
}

/// A party that cheats.
pub struct Cheater {
    identity: Identity,
    cheat: Cheat,
    file: Option<PathBuf>,
    /// The detached signature that it puts into escrow, and the one that it sends.
    signatures: Option<[Vec<u8>; 2]>,
    arbiter: Option<Arc<dyn ArbiterPort>>,
    account: Option<money::Account>,
    time: Duration,
}

/// What a cheater holds in the end.
#[derive(Debug, Default)]
pub struct Loot {
    /// The offer.
    pub offer: Option<Verified<Offer>>,
    /// The agreement that the peer knows.
    pub agreement: Option<Agreement>,
    /// The peer's transfer. With a signature item this is the item.
    pub transfer: Option<Verified<Transfer>>,
    /// The peer's file, detached signature or receipt, whole and fitting.
    pub content: Option<Vec<u8>>,
    /// What came and was sent as escrows.
    pub escrows: ByRole<Option<Vec<u8>>>,
    /// What its own arbiter calls gave.
    pub receipts: Vec<Receipt>,
}

impl Loot {
    /// Whether it holds the item that the honest party gives.
    pub fn has_item(&self) -> bool {
        let Some(transfer) = &self.transfer else { return false };
        !transfer.item.description.is_content() || self.content.is_some()
    }
}

impl Cheater {
    /// A cheater; `file` is its item, if that is a file.
    pub const fn new(identity: Identity, cheat: Cheat, file: Option<PathBuf>) -> Self {
        Self {
            identity,
            cheat,
            file,
            signatures: None,
            arbiter: None,
            account: None,
            time: Duration::from_secs(600),
        }
    }

    /// Gives it a detached signature for the escrow, and one to send, instead of the one that its identity makes.
    #[must_use]
    pub fn with_signatures(mut self, escrowed: Vec<u8>, sent: Vec<u8>) -> Self {
        self.signatures = Some([escrowed, sent]);
        self
    }

    /// Gives it a way to the arbiter, for cheats that use it.
    #[must_use]
    pub fn with_arbiter(mut self, arbiter: Arc<dyn ArbiterPort>) -> Self {
        self.arbiter = Some(arbiter);
        self
    }

    /// Takes what comes for this long.
    #[must_use]
    pub const fn for_time(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }

    /// Makes an offer, and cheats.
    pub async fn originate(&self, offer: Offer, transport: &mut dyn Transport) -> Result<Loot, Error> {
        let offer = Verified::sign(offer, self.identity.signer());
        let mut loot = Loot::default();
        loot.escrows.originator = self.pledge(&offer, None).await?;
        loot.offer = Some(offer);
        self.play(Role::Originator, loot, transport).await
    }

    /// Waits for an offer, accepts it, and cheats.
    pub async fn respond(&self, transport: &mut dyn Transport) -> Result<Loot, Error> {
        self.play(Role::Responder, Loot::default(), transport).await
    }

    /// The detached signature that it puts into escrow, and the one that it sends; of a package all of them, as its content.
    fn signatures(&self, offer: &Offer, role: Role) -> Option<[Vec<u8>; 2]> {
        let items = offer.item(role).description.detached_leaves();
        let sign = |it: &&DetachedSignature| {
            self.identity.signer().sign(it.statement.document().as_bytes()).to_vec()
        };
        let own = || package::joined(&items.iter().map(sign).collect::<Vec<_>>());
        (!items.is_empty()).then(|| self.signatures.clone().unwrap_or_else(|| [own(), own()]))
    }

    /// What it sends beside its offer or acceptance, if it owes something there.
    async fn pledge(
        &self,
        offer: &Verified<Offer>,
        agreement: Option<&Agreement>,
    ) -> Result<Option<Vec<u8>>, Error> {
        let role = if agreement.is_some() { Role::Responder } else { Role::Originator };
        match offer.item(role).description.reservation() {
            Some(_) => self.reservation(offer, role).await,
            None => self.escrow(offer, agreement),
        }
    }

    /// What it sends as the escrow of its signature, if it gives a detached one.
    fn escrow(
        &self,
        offer: &Verified<Offer>,
        agreement: Option<&Agreement>,
    ) -> Result<Option<Vec<u8>>, Error> {
        let role = if agreement.is_some() { Role::Responder } else { Role::Originator };
        // Where none is owed, one is a lie.
        let escrowed = offer.is_escrowed(role) || self.cheat == Cheat::EscrowGarbage;
        let Some([signature, _]) = self.signatures(offer, role).filter(|_| escrowed) else {
            return Ok(None);
        };
        let leaves = offer.item(role).description.detached_leaves().len();
        let put = |place: Place<'_>| -> Result<Vec<Vec<u8>>, Error> {
            let parts =
                package::split(&signature, leaves).ok_or(Error::Bug("a cheater lacks a signature"))?;
            let put = |(leaf, part): (usize, &[u8])| -> Result<Vec<u8>, Error> {
                let escrow = place.put_leaf(leaf, part, &random::secret()?);
                Ok(escrow.map_err(|_| Error::Bug("a cheater's signature is not even valid"))?.to_bytes())
            };
            parts.into_iter().enumerate().map(put).collect()
        };
        let whole = |escrows: Vec<Vec<u8>>| Some(package::joined(&escrows));
        let another = Offer { nonce: random::bytes()?, ..(**offer).clone() };
        let another = Verified::sign(another, self.identity.signer());
        let elsewhere = AgreementId::from_bytes(random::bytes()?);
        let here = match agreement {
            None => Place::originator(offer),
            Some(agreement) => Place::responder(offer, agreement.id()),
        };
        Ok(match self.cheat {
            Cheat::EscrowMissing => None,
            Cheat::EscrowGarbage => Some(random::bytes()?.repeat(100)),
            Cheat::EscrowOfOther if role == Role::Originator => whole(put(Place::originator(&another))?),
            Cheat::EscrowOfOther => whole(put(Place::responder(offer, elsewhere))?),
            // One that does not open is enough, the last.
            Cheat::EscrowUnopenable => {
                let mut escrows = put(here)?;
                if let Some(last) = escrows.last_mut() {
                    *last = unopenable(std::mem::take(last))?;
                }
                whole(escrows)
            }
            // The escrows of a package, and one of them is missing.
            Cheat::EscrowMissingOne => whole(put(here)?.into_iter().skip(1).collect()),
            // Each is a good one of this exchange, and not of the signature in its place.
            Cheat::EscrowsSwapped => whole(put(here)?.into_iter().rev().collect()),
            _ => whole(put(here)?),
        })
    }

    async fn play(&self, role: Role, loot: Loot, transport: &mut dyn Transport) -> Result<Loot, Error> {
        let mut game =
            Game { cheater: self, role, loot, outbox: VecDeque::new(), arriving: None, sent: false };
        let mut again = interval(REPEATS);
        let end = Instant::now() + self.time;
        loop {
            let want = if game.outbox.is_empty() { Want::Events } else { Want::Room };
            let event = tokio::select! {
                () = sleep_until(end) => break,
                event = transport.next(want) => event,
                _ = again.tick(), if self.cheat.insists() && game.outbox.is_empty() => {
                    if self.cheat == Cheat::RevokeAfterReceiving { game.revoke().await } else { game.repeat() }
                    continue;
                }
            };
            match event {
                Event::Closed => break,
                Event::Connected => game.connected(),
                Event::Lost => game.outbox.clear(),
                Event::Room => {
                    if let Some(message) = game.outbox.pop_front() {
                        // A loss is reported next; a cheater does not insist.
                        let _ = transport.send(message);
                    }
                }
                Event::Message(PeerMessage::Statement(envelope, escrow)) => {
                    game.statement(envelope, escrow).await?;
                }
                Event::Message(PeerMessage::Content(content)) => game.content(&content).await?,
                Event::Message(PeerMessage::Declined(_)) => {}
            }
        }
        Ok(game.loot)
    }
}

/// The same escrow with a bit changed in every sealed seed: its statement, label and hashes of them are right, and nothing
/// in it opens.
fn unopenable(mut bytes: Vec<u8>) -> Result<Vec<u8>, Error> {
    let read = |bytes: &[u8]| Escrow::from_bytes(bytes).map_err(|_| Error::Bug("an escrow that is none"));
    let hidden = usize::from(read(&bytes)?.suite().hidden());
    // Instances are at the end, all of one length: response, point, sealed seed. Ed25519: 32, 32 and 16 bytes.
    let each = 32 + 32 + 16;
    bytes.iter_mut().rev().step_by(each).take(hidden).for_each(|byte| *byte ^= 1);
    read(&bytes).map(|_| bytes)
}

struct Game<'a> {
    cheater: &'a Cheater,
    role: Role,
    loot: Loot,
    outbox: VecDeque<PeerMessage>,
    arriving: Option<(Opener, Vec<u8>)>,
    sent: bool,
}

impl Game<'_> {
    fn say(&mut self, envelope: &Envelope) {
        let opening = envelope.holds::<Offer>() || envelope.holds::<Acceptance>();
        let escrow = self.loot.escrows.of(self.role).clone().filter(|_| opening);
        self.outbox.push_back(PeerMessage::Statement(envelope.clone(), escrow));
    }

    /// Everything said so far, once more.
    fn repeat(&mut self) {
        let offer = self.loot.offer.as_ref().map(|offer| offer.envelope().clone());
        let acceptance = self.loot.agreement.as_ref().map(|it| it.acceptance().envelope().clone());
        let said = if self.role == Role::Originator { offer } else { acceptance };
        said.iter().for_each(|envelope| self.say(envelope));
    }

    fn connected(&mut self) {
        if self.role == Role::Originator
            && let Some(offer) = self.loot.offer.clone()
        {
            self.say(offer.envelope());
        }
    }

    async fn statement(&mut self, envelope: Envelope, escrow: Option<Vec<u8>>) -> Result<(), Error> {
        if escrow.is_some() {
            *self.loot.escrows.of_mut(self.role.peer()) = escrow;
        }
        match (envelope.payload_type(), self.role) {
            (Offer::TYPE, Role::Responder) if self.loot.offer.is_none() => self.accept(envelope).await,
            (Acceptance::TYPE, Role::Originator) if self.loot.agreement.is_none() => {
                self.agree(envelope).await
            }
            (Transfer::TYPE, _) if self.loot.transfer.is_none() => self.take(envelope).await,
            _ => Ok(()),
        }
    }

    async fn accept(&mut self, envelope: Envelope) -> Result<(), Error> {
        let Ok(offer) = Signed::<Offer>::parse(envelope) else { return Ok(()) };
        let Ok(offer) = offer.verify_offer() else { return Ok(()) };
        let accept = || -> Result<Verified<Acceptance>, Error> {
            let acceptance = Acceptance { exchange_id: offer.exchange_id(), nonce: random::bytes()? };
            Ok(Verified::sign(acceptance, self.cheater.identity.signer()))
        };
        let (first, second) = (accept()?, accept()?);
        self.loot.agreement = Agreement::join(offer.clone(), first.clone()).ok();
        self.loot.offer = Some(offer.clone());
        self.loot.escrows.responder = self.cheater.pledge(&offer, self.loot.agreement.as_ref()).await?;
        self.say(first.envelope());
        if self.cheater.cheat == Cheat::SecondAcceptance {
            let second = Agreement::join(offer.clone(), second).ok();
            let first = self.loot.escrows.responder.clone();
            self.loot.escrows.responder = self.cheater.pledge(&offer, second.as_ref()).await?;
            second.iter().for_each(|second| self.say(second.acceptance().envelope()));
            // In P3 who sends second leaves its item there under the acceptance that the peer does not know.
            let deposits = offer.selection.protocol == Protocol::RevokeOnSilence && !self.is_first();
            let action = if deposits { Action::Deposit } else { Action::Resolve };
            self.turn_to_arbiter(action, second).await;
            self.loot.escrows.responder = first;
        }
        self.maybe_send(self.begins()).await
    }

    async fn agree(&mut self, envelope: Envelope) -> Result<(), Error> {
        let (Some(offer), Ok(acceptance)) = (self.loot.offer.clone(), Signed::<Acceptance>::parse(envelope))
        else {
            return Ok(());
        };
        self.loot.agreement = Agreement::new(offer, acceptance).ok();
        if self.cheater.cheat == Cheat::AbortAfterAcceptance {
            self.turn_to_arbiter(Action::Abort, None).await;
            return Ok(());
        }
        self.maybe_send(self.begins()).await
    }

    async fn take(&mut self, envelope: Envelope) -> Result<(), Error> {
        let (Some(agreement), Ok(signed)) = (&self.loot.agreement, Signed::<Transfer>::parse(envelope))
        else {
            return Ok(());
        };
        let Ok(transfer) = signed.verify_for(agreement, self.role.peer()) else { return Ok(()) };
        let whole = !transfer.item.description.is_content();
        self.loot.transfer = Some(transfer);
        self.maybe_send(whole && !self.is_first()).await
    }

    async fn content(&mut self, piece: &Content) -> Result<(), Error> {
        let (Some(agreement), Some(_)) = (&self.loot.agreement, &self.loot.transfer) else {
            return Ok(());
        };
        if let Some(encapsulated) = &piece.encapsulated {
            let context = agreement.seal_context(self.role.peer());
            let opener = Opener::new(self.cheater.identity.sealing(), &context, encapsulated);
            self.arriving = opener.ok().map(|opener| (opener, Vec::new()));
        }
        let Some((opener, bytes)) = &mut self.arriving else { return Ok(()) };
        let Ok(chunk) = opener.open(&piece.sealed, piece.last) else { return Ok(()) };
        bytes.extend(chunk);
        let check = ContentCheck::of(agreement.offer(), self.role.peer(), None);
        if let (true, Some(mut check)) = (piece.last, check)
            && check.update(bytes).and_then(|()| check.finish()).is_ok()
        {
            self.loot.content = Some(bytes.clone());
            self.maybe_send(!self.is_first()).await?;
        }
        Ok(())
    }

    fn is_first(&self) -> bool {
        self.loot.offer.as_ref().is_some_and(|offer| offer.selection.first_sender == self.role)
    }

    /// Whether it sends as soon as both have signed.
    fn begins(&self) -> bool {
        let one_way = |offer: &Verified<Offer>| offer.selection.protocol == Protocol::Transfer;
        self.is_first() != self.loot.offer.as_ref().is_some_and(one_way)
    }

    /// It would be its turn to send: what does it send instead?
    async fn maybe_send(&mut self, turn: bool) -> Result<(), Error> {
        let Some(agreement) = self.loot.agreement.clone() else { return Ok(()) };
        if !turn || self.sent {
            return Ok(());
        }
        let pays = !agreement.offer().item(self.role).description.payments().is_empty();
        match self.cheater.cheat {
            Cheat::AlteredItem if pays => self.send_money(&agreement).await,
            Cheat::ForgedReceipt
            | Cheat::PayAndVanish
            | Cheat::RevokeAfterReceiving
            | Cheat::UnpaidReceipt => self.send_money(&agreement).await,
            Cheat::AlteredItem => {
                self.sent = true;
                self.send_altered(&agreement).await
            }
            Cheat::ReplayOldStatements => {
                self.sent = true;
                self.replay(&agreement);
                Ok(())
            }
            Cheat::OtherSignature => {
                self.sent = true;
                let sent = self.cheater.signatures(agreement.offer(), self.role);
                let [_, signature] = sent.ok_or(Error::Bug("a cheater without a detached signature"))?;
                let transfer = Transfer::new(&agreement, self.role);
                self.say(Verified::sign(transfer, self.cheater.identity.signer()).envelope());
                self.send_content(&agreement, &signature)
            }
            Cheat::EscrowGarbage
            | Cheat::EscrowMissing
            | Cheat::EscrowMissingOne
            | Cheat::EscrowOfOther
            | Cheat::EscrowUnopenable
            | Cheat::EscrowsSwapped
            | Cheat::AbortAfterAcceptance
            | Cheat::QuietAfterAcceptance
            | Cheat::QuietAfterOffer
            | Cheat::QuietAfterReceiving
            | Cheat::RepeatsForever
            | Cheat::SecondAcceptance
            | Cheat::WithholdItem => Ok(()),
        }
    }

    async fn send_altered(&mut self, agreement: &Agreement) -> Result<(), Error> {
        let mut transfer = Transfer::new(agreement, self.role);
        match &transfer.item.description {
            Description::Package(_) | Description::Signature(_)
                if !transfer.item.description.is_content() =>
            {
                alter(&mut transfer.item);
                let transfer = Verified::sign(transfer, self.cheater.identity.signer());
                self.say(transfer.envelope());
            }
            signed if !signed.detached_leaves().is_empty() => {
                let sent = self.cheater.signatures(agreement.offer(), self.role);
                let [_, mut bytes] = sent.ok_or(Error::Bug("a cheater without a detached signature"))?;
                if let Some(byte) = bytes.last_mut() {
                    *byte ^= 1;
                }
                let transfer = Verified::sign(transfer, self.cheater.identity.signer());
                self.say(transfer.envelope());
                self.send_content(agreement, &bytes)?;
            }
            Description::DetachedSignature(_) | Description::Nothing => {}
            Description::Payment(_) => {
                let transfer = Verified::sign(transfer, self.cheater.identity.signer());
                self.say(transfer.envelope());
                self.send_content(agreement, b"no receipt at all")?;
            }
            Description::Information(_) | Description::Package(_) | Description::Signature(_) => {
                let path = self.cheater.file.clone().ok_or(Error::Bug("a cheater without its file"))?;
                let mut bytes = tokio::fs::read(&path).await.map_err(|why| Error::file(&path, why))?;
                if let Some(byte) = bytes.last_mut() {
                    *byte ^= 1;
                }
                let transfer = Verified::sign(transfer, self.cheater.identity.signer());
                self.say(transfer.envelope());
                self.send_content(agreement, &bytes)?;
            }
        }
        Ok(())
    }

    fn send_content(&mut self, agreement: &Agreement, bytes: &[u8]) -> Result<(), Error> {
        let recipient = agreement.offer().party(self.role.peer()).sealing_key;
        let context = agreement.seal_context(self.role);
        let weak = |_| Error::Bug("a sealing key of a verified offer is weak");
        let mut sealer = Sealer::new(&recipient, &context, &random::secret()?).map_err(weak)?;
        let mut encapsulated = Some(sealer.encapsulated().to_vec());
        let mut plain = bytes.chunks(limits::CHUNK_BYTES).peekable();
        while let Some(chunk) = plain.next() {
            let last = plain.peek().is_none();
            let sealed = sealer.seal(chunk, last).map_err(weak)?;
            let content = Content { encapsulated: encapsulated.take(), sealed, last };
            self.outbox.push_back(PeerMessage::Content(content));
        }
        Ok(())
    }

    /// Statements that are all well signed, and all worth nothing here (attacks K1, K9).
    fn replay(&mut self, agreement: &Agreement) {
        let transfer = Transfer::new(agreement, self.role);
        let other_exchange = Transfer {
            exchange_id: ExchangeId::from_bytes(*Digest::of(&[b"an earlier exchange"]).as_bytes()),
            ..transfer.clone()
        };
        let other_agreement = Transfer {
            agreement_id: AgreementId::from_bytes(*Digest::of(&[b"an earlier agreement"]).as_bytes()),
            ..transfer.clone()
        };
        let other_role = Transfer { sender: self.role.peer(), ..transfer };
        for old in [other_exchange, other_agreement, other_role] {
            let old = Verified::sign(old, self.cheater.identity.signer());
            self.say(old.envelope());
        }
        let echo = self.loot.transfer.as_ref().map(|theirs| theirs.envelope().clone());
        for envelope in
            [Some(agreement.offer().envelope().clone()), echo].into_iter().flatten().collect::<Vec<_>>()
        {
            self.say(&envelope);
        }
    }

    /// Has the peer's item, and wants the money back as well.
    async fn revoke(&mut self) {
        if self.loot.has_item() && self.loot.receipts.is_empty() {
            let agreement = self.loot.agreement.clone();
            self.turn_to_arbiter(Action::Revoke, agreement).await;
        }
    }

    /// Asks the arbiter, if there is a way to it; a refusal is its risk.
    async fn turn_to_arbiter(&mut self, action: Action, agreement: Option<Agreement>) {
        let (Some(arbiter), Some(offer)) = (&self.cheater.arbiter, &self.loot.offer) else { return };
        let request = Request {
            exchange_id: offer.exchange_id(),
            agreement_id: agreement.as_ref().map(Agreement::id),
            role: self.role,
            action,
        };
        let needed = to_file(offer, self.role, action);
        let escrows = self.loot.escrows.map(|role, bytes| {
            let bytes = bytes.as_deref().filter(|_| needed.contains(&role));
            bytes.and_then(|bytes| Pledge::from_bytes(bytes).ok())
        });
        let filing = Filing {
            request: Verified::sign(request, self.cheater.identity.signer()),
            offer: offer.clone(),
            acceptance: agreement.map(|agreement| agreement.acceptance().clone()),
            escrows,
        };
        if let (Action::Resolve, true, Some(file)) = (action, self.is_first(), &self.cheater.file) {
            let request = Request { action: Action::Deposit, ..(*filing.request).clone() };
            let request = Verified::sign(request, self.cheater.identity.signer());
            let deposit = Filing { request, escrows: Escrows::default(), ..filing.clone() };
            match arbiter.deposit(&deposit, file).await {
                Ok(receipt) => self.loot.receipts.push(receipt),
                Err(why) => tracing::info!(%why, "the arbiter did not take the cheater's deposit"),
            }
        }
        let file = self.cheater.file.clone();
        let receipt = match (action, file) {
            (Action::Abort, _) => arbiter.abort(&filing).await,
            (Action::Revoke, _) => arbiter.revoke(&filing).await,
            (Action::Deposit, Some(file)) => arbiter.deposit(&filing, &file).await,
            _ => arbiter.resolve(&filing).await,
        };
        match receipt {
            Ok(receipt) => self.loot.receipts.push(receipt),
            Err(why) => tracing::info!(%why, "the arbiter did not help the cheater"),
        }
    }
}

/// Changes one signature, in a package the last one: all others are as agreed.
fn alter(item: &mut Item) {
    match &mut item.description {
        Description::Package(items) => {
            if let Some(last) = items.last_mut() {
                alter(last);
            }
        }
        Description::Signature(statement) => statement.text.push_str(" Not."),
        _ => {}
    }
}
