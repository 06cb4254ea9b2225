//! What the peer says: verified here, or ignored. Also what we say to it, in order, when there is room.

use std::path::{Path, PathBuf};
use std::time::Duration;

use arbiter_protocol::exchange::kind::pledge::{self, Pledged};
use arbiter_protocol::exchange::kind::{Unfit, signature};
use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::ids::Digest;
use arbiter_protocol::message::agreement::{Acceptance, Agreement, Offer};
use arbiter_protocol::message::payment::PaymentTerms;
use arbiter_protocol::message::transfer::Transfer;
use arbiter_protocol::role::{self, Fit, Input, Phase};
use arbiter_protocol::statement::{Envelope, Payload as _, Signed, Verified};
use tokio::time::Instant;

use crate::driver::{Arriving, Driver, Out};
use crate::error::{Error, PeerFault};
use crate::give::{check_pledge, nonces};
use crate::items::{Expected, Incoming, NotReceived, Source};
use crate::module::Arrived;
use crate::package;
use crate::transport::{Content, Event, PeerMessage};

/// A repeated statement is answered at most this often, so that two peers never only repeat themselves.
const ANSWER_AGAIN: Duration = Duration::from_secs(1);
/// After this many pledges that are not good, no other is checked in this run: an honest peer sends one, and it is good.
const MOST_BAD_PLEDGES: usize = 8;
/// Told to a peer that still waits when the arbiter has ruled: it need not wait longer.
const RULED: &str = "ARBITER_RULED";

impl Driver<'_> {
    pub(super) async fn peer(&mut self, event: Event) -> Result<(), Error> {
        match event {
            Event::Connected => {
                self.connected = true;
                self.outbox.clear();
                self.greet();
                self.repeat().await
            }
            Event::Lost => {
                self.connected = false;
                self.outbox.clear();
                if let Some(arriving) = &mut self.incoming {
                    arriving.content = None;
                }
                Ok(())
            }
            Event::Closed => {
                self.connected = false;
                self.peer_done = true;
                self.outbox.clear();
                self.peer_stops().await
            }
            Event::Room => self.send_next().await,
            Event::Message(PeerMessage::Statement(envelope, pledge)) => {
                self.statement(envelope, pledge).await
            }
            Event::Message(PeerMessage::Content(content)) => self.content(content).await,
            Event::Message(PeerMessage::Declined(reason)) => {
                let reason: String = reason.chars().filter(char::is_ascii_graphic).take(63).collect();
                tracing::info!(reason, "the peer declined");
                self.remark(format!("declined by the peer: {reason}")).await?;
                self.peer_stops().await
            }
        }
    }

    /// The peer waits for nothing more. While its money settles that is no reason to turn to the arbiter: who is honest
    /// stops when it has posted.
    async fn peer_stops(&mut self) -> Result<(), Error> {
        if self.record.session.phase() == Phase::Settling {
            return self.look_now();
        }
        self.input(Input::GiveUp).await
    }

    /// The exchange has ended for us: say so, and give the peer the time to read it.
    pub(super) async fn close(&mut self) {
        let quiet = [role::Outcome::Abandoned, role::Outcome::Completed];
        let ruled = self.ended().is_some_and(|outcome| !quiet.contains(&outcome));
        if self.connected && ruled {
            // A courtesy that may get lost.
            let _ = self.transport.send(PeerMessage::Declined(RULED.to_owned()));
        }
        if self.connected {
            self.transport.close().await;
        }
    }

    /// The originator opens every connection with its offer, which names the exchange. A session whose
    /// offer is still open says it anyway.
    pub(super) fn greet(&mut self) {
        let session = &self.record.session;
        let open = session.sent() || session.phase() == Phase::Waiting;
        if session.role() == Role::Originator && session.agreement().is_some() && open {
            self.tell(session.offer().envelope().clone(), self.own_pledge());
        }
    }

    /// Says again what the peer may have missed.
    async fn repeat(&mut self) -> Result<(), Error> {
        self.answered = Some(Instant::now());
        self.input(Input::PeerRepeats).await
    }

    /// The peer said something that we know: it may have missed our answer.
    async fn known(&mut self) -> Result<(), Error> {
        if self.answered.is_some_and(|time| time.elapsed() < ANSWER_AGAIN) {
            return Ok(());
        }
        self.repeat().await
    }

    async fn send_next(&mut self) -> Result<(), Error> {
        if !self.record.session.may_send_item(self.inner.clock.now()) {
            // what waited in the outbox for too long does not leave.
            self.outbox.retain(|out| match out {
                Out::Content(_) => false,
                Out::Statement(envelope, _) => !envelope.holds::<Transfer>(),
            });
        }
        let sent = match self.outbox.front_mut() {
            None => return Ok(()),
            Some(Out::Statement(envelope, escrow)) => {
                let (envelope, escrow) = (envelope.clone(), escrow.take());
                self.outbox.pop_front();
                let sent = self.transport.send(PeerMessage::Statement(envelope.clone(), escrow));
                sent.map(|()| self.news.statement(&envelope))
            }
            Some(Out::Content(outgoing)) => match outgoing.next().await? {
                Some(content) => {
                    let bytes = outgoing.sent();
                    self.transport.send(PeerMessage::Content(content)).map(|()| self.news.given(bytes))
                }
                None => {
                    self.outbox.pop_front();
                    return Ok(());
                }
            },
        };
        if sent.is_err() {
            // The transport will report the loss; the next connection is told everything again.
            self.outbox.clear();
        }
        Ok(())
    }

    async fn statement(&mut self, envelope: Envelope, pledge: Option<Vec<u8>>) -> Result<(), Error> {
        let heard = match envelope.payload_type() {
            Offer::TYPE => self.offer(&envelope).await?,
            Acceptance::TYPE => self.acceptance(envelope, pledge).await?,
            Transfer::TYPE => self.transfer(envelope).await?,
            _ => Err(Ignored::Unexpected),
        };
        if let Err(why) = heard {
            tracing::warn!(%why, "ignored a statement on the peer's connection");
        }
        Ok(())
    }

    async fn offer(&mut self, envelope: &Envelope) -> Result<Result<(), Ignored>, Error> {
        let session = &self.record.session;
        if session.role() == Role::Responder && session.offer().envelope() == envelope {
            return self.known().await.map(Ok);
        }
        Ok(Err(Ignored::Unexpected))
    }

    /// The first acceptance with a good pledge, if one is owed, makes the agreement; any other is ignored (attack K1).
    async fn acceptance(
        &mut self,
        envelope: Envelope,
        pledge: Option<Vec<u8>>,
    ) -> Result<Result<(), Ignored>, Error> {
        let session = &self.record.session;
        match (session.role(), session.agreement()) {
            (Role::Originator, None) if session.phase() == Phase::Offered => {}
            (Role::Originator, Some(agreement)) if *agreement.acceptance().envelope() == envelope => {
                return self.known().await.map(Ok);
            }
            _ => return Ok(Err(Ignored::Unexpected)),
        }
        let agreement = Signed::<Acceptance>::parse(envelope)
            .map_err(PeerFault::from)
            .and_then(|signed| Ok(Agreement::new(session.offer().clone(), signed)?));
        let agreement = match agreement {
            Ok(agreement) => agreement,
            Err(fault) => return Ok(Err(fault.into())),
        };
        let pledge = match self.pledge_beside(&agreement, pledge).await? {
            Ok(pledge) => pledge,
            Err(ignored) => return Ok(Err(ignored)),
        };
        self.news.statement(agreement.acceptance().envelope());
        let kept = pledge.as_ref().map(Pledged::pledge);
        let step = self.record.session.handle(self.inner.clock.now(), Input::Accepted(agreement, pledge));
        let taken = step.next.agreement().is_some();
        if taken {
            self.record.peer_pledge = kept;
        }
        self.commit(step, taken).await.map(Ok)
    }

    /// the responder's pledge, fully checked, an escrow by no nonce that was used before (S29). A check costs
    /// milliseconds, so the same bytes are checked once, and after a few that are not good none is any more.
    async fn pledge_beside(
        &mut self,
        agreement: &Agreement,
        pledge: Option<Vec<u8>>,
    ) -> Result<Result<Option<Pledged>, Ignored>, Error> {
        let bytes = match pledge {
            None if pledge::is_owed(agreement.offer(), Role::Responder) => {
                let missing = PeerFault::from(pledge::missing(agreement.offer(), Role::Responder));
                return self.bad_pledge(missing).await.map(Err);
            }
            None => return Ok(Ok(None)),
            Some(bytes) => bytes,
        };
        let both = Digest::of(&[agreement.id().as_bytes(), &bytes]);
        if self.refused.contains(&both) || self.refused.len() >= MOST_BAD_PLEDGES {
            return Ok(Err(Ignored::BadPledge));
        }
        let fault = match check_pledge(agreement.offer(), Some(agreement.id()), bytes).await? {
            Err(rejected) => PeerFault::Rejected(rejected),
            Ok(pledged) => {
                if self.inner.journal.observe_nonces(nonces(Some(&pledged))).await? {
                    return Ok(Ok(Some(pledged)));
                }
                PeerFault::NonceReused
            }
        };
        self.refused.insert(both);
        self.bad_pledge(fault).await.map(Err)
    }

    /// A pledge that is not good counts as silence. The reason is kept for the status, once.
    async fn bad_pledge(&mut self, fault: PeerFault) -> Result<Ignored, Error> {
        tracing::warn!(reason = fault.reason(), "refused the peer's pledge");
        if self.record.remark.as_deref() != Some(fault.reason()) {
            self.remark(fault.reason().to_owned()).await?;
        }
        Ok(fault.into())
    }

    async fn transfer(&mut self, envelope: Envelope) -> Result<Result<(), Ignored>, Error> {
        let session = &self.record.session;
        let (peer, Some(agreement)) = (session.role().peer(), session.agreement()) else {
            return Ok(Err(Ignored::Unexpected));
        };
        if self.record.peer_transfer.as_ref().is_some_and(|known| *known.envelope() == envelope) {
            return self.known().await.map(Ok);
        }
        let transfer = Signed::<Transfer>::parse(envelope)
            .map_err(PeerFault::from)
            .and_then(|signed| Ok(signed.verify_for(agreement, peer)?));
        let transfer = match transfer {
            Ok(transfer) => transfer,
            Err(fault) => return Ok(Err(fault.into())),
        };
        let agreed = agreement.offer().item(peer);
        if !agreed.description.is_content() {
            return match signature::check(agreed, transfer.clone()) {
                Ok(fit) => self.received(Fit::Signature(fit), transfer, None).await.map(Ok),
                Err(unfit) => self.unfit(unfit).await.map(Ok),
            };
        }
        match signature::same(agreed, &transfer.item) {
            Ok(()) => {
                self.news.statement(transfer.envelope());
                self.incoming = Some(Arriving { transfer, content: None });
                Ok(Ok(()))
            }
            Err(unfit) => self.unfit(unfit).await.map(Ok),
        }
    }

    async fn content(&mut self, piece: Content) -> Result<(), Error> {
        let Some(mut arriving) = self.incoming.take() else {
            tracing::warn!("ignored content that no transfer announced");
            return Ok(());
        };
        if piece.encapsulated.is_some() {
            arriving.content = None;
        }
        match self.content_piece(&mut arriving, &piece).await {
            Ok(()) => {}
            Err(NotReceived::Here(error)) => return Err(error),
            Err(NotReceived::Unfit(unfit)) => return self.unfit(unfit).await,
            Err(NotReceived::Sealed(_)) => {
                // Repeated or forged: the piece that belongs here still opens after it.
                tracing::warn!("ignored a piece of content that does not open");
                self.incoming = Some(arriving);
                return Ok(());
            }
        }
        if let Some(incoming) = &arriving.content {
            self.news.got(incoming.got());
        }
        if !piece.last {
            self.incoming = Some(arriving);
            return Ok(());
        }
        let Some(incoming) = arriving.content else { return Ok(()) };
        match incoming.finish().await {
            Ok(received) => {
                let payment = !received.fit.description().payments().is_empty();
                if payment && !self.still_stands().await? {
                    return self.unfit(Unfit::NotPaid).await;
                }
                if let Err(unfit) = self.module_checks(&received.path).await {
                    return self.unfit(unfit).await;
                }
                let place = Some((received.path, received.bytes));
                self.received(Fit::Content(received.fit), arriving.transfer, place).await
            }
            Err(NotReceived::Here(error)) => Err(error),
            Err(NotReceived::Unfit(unfit)) => self.unfit(unfit).await,
            Err(NotReceived::Sealed(_)) => Ok(()),
        }
    }

    /// Takes `self` by itself, not shared: a transport is `Send` only, and a run must be, so that it can be spawned.
    async fn content_piece(&mut self, arriving: &mut Arriving, piece: &Content) -> Result<(), NotReceived> {
        if let (None, Some(encapsulated)) = (&arriving.content, &piece.encapsulated) {
            let session = &self.record.session;
            let agreement = session.agreement().ok_or(Error::Bug("content without an agreement"))?;
            let peer = session.role().peer();
            // only the signature that is in the peer's escrow.
            let expected = Expected::of(agreement.offer(), peer, self.record.peer_pledge.as_ref());
            let context = agreement.seal_context(peer);
            let seal = (self.inner.identity.sealing(), context.as_slice(), encapsulated.as_slice());
            let id = session.exchange_id();
            let begun = Incoming::begin(&self.inner.folder, id, Source::Peer, &expected, seal).await?;
            arriving.content = Some(Box::new(begun));
        }
        match &mut arriving.content {
            Some(incoming) => incoming.write(&piece.sealed, piece.last).await,
            // The middle of a content whose beginning was lost or did not open: wait for a new beginning.
            None => Err(NotReceived::Sealed(arbiter_protocol::error::Invalid::Seal)),
        }
    }

    /// The peer's item is here and fits. It is ours only if the session takes it.
    async fn received(
        &mut self,
        fit: Fit,
        transfer: Verified<Transfer>,
        content: Option<(PathBuf, Option<Vec<u8>>)>,
    ) -> Result<(), Error> {
        self.incoming = None;
        let step = self.record.session.handle(self.inner.clock.now(), Input::Received(fit));
        let ours = [Phase::Done(role::Outcome::Completed), Phase::Settling];
        let taken = ours.contains(&step.next.phase());
        if taken {
            let (path, bytes) = content.unzip();
            self.record.peer_transfer = Some(transfer);
            self.record.received_file = path;
            self.record.got(bytes.flatten());
        } else if let Some((path, _)) =
            content.filter(|(path, _)| self.record.received_file.as_ref() != Some(path))
        {
            package::discard(&path).await?;
        }
        self.commit(step, taken).await
    }

    /// What our module says to what has arrived.
    async fn module_checks(&mut self, path: &Path) -> Result<(), Unfit> {
        let (offer, peer) = (self.record.session.offer(), self.record.session.role().peer());
        let (item, terms) = (offer.item(peer).clone(), PaymentTerms::of(offer, peer));
        self.inner.managers.check(Arrived { item, terms, path: path.to_owned() }, peer).await
    }

    /// an item that does not fit counts as silence. The reason is kept for the status.
    async fn unfit(&mut self, unfit: Unfit) -> Result<(), Error> {
        tracing::warn!(reason = unfit.reason(), "refused the peer's item");
        self.incoming = None;
        self.remark(unfit.reason().to_owned()).await
    }

    async fn remark(&mut self, remark: String) -> Result<(), Error> {
        self.record.remark = Some(remark);
        Ok(self.inner.journal.put(&self.record).await?)
    }
}

/// Why something from the peer's connection was not used.
#[derive(Debug, thiserror::Error)]
enum Ignored {
    #[error(transparent)]
    Fault(#[from] PeerFault),
    #[error("its pledge was refused before, or too many were")]
    BadPledge,
    #[error("it means nothing here")]
    Unexpected,
}
