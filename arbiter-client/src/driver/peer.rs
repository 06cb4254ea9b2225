//! What the peer says: verified here, or ignored. Also what we say to it, in order, when there is room.

use std::path::PathBuf;
use std::time::Duration;

use arbiter_protocol::exchange::item::Description;
use arbiter_protocol::exchange::kind::{Unfit, signature};
use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::message::agreement::{Acceptance, Agreement, Offer};
use arbiter_protocol::message::transfer::Transfer;
use arbiter_protocol::role::{self, Fit, Input, Phase};
use arbiter_protocol::statement::{Envelope, Payload as _, Signed, Verified};
use tokio::time::Instant;

use crate::driver::{Arriving, Driver, Out};
use crate::error::{Error, PeerFault};
use crate::items::{Incoming, NotReceived, Source};
use crate::transport::{Content, Event, PeerMessage};

/// A repeated statement is answered at most this often, so that two peers never only repeat themselves.
const ANSWER_AGAIN: Duration = Duration::from_secs(1);
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
                self.input(Input::GiveUp).await
            }
            Event::Room => self.send_next().await,
            Event::Message(PeerMessage::Statement(envelope)) => self.statement(envelope).await,
            Event::Message(PeerMessage::Content(content)) => self.content(content).await,
            Event::Message(PeerMessage::Declined(reason)) => {
                let reason: String = reason.chars().filter(char::is_ascii_graphic).take(63).collect();
                tracing::info!(reason, "the peer declined");
                self.remark(format!("declined by the peer: {reason}")).await?;
                self.input(Input::GiveUp).await
            }
        }
    }

    /// The exchange has ended for us: say so, and give the peer the time to read it.
    pub(super) async fn close(&mut self) {
        let ruled = matches!(self.ended(), Some(role::Outcome::Aborted | role::Outcome::Resolved));
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
            self.tell(session.offer().envelope().clone());
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
                Out::Statement(envelope) => !envelope.holds::<Transfer>(),
            });
        }
        let sent = match self.outbox.front_mut() {
            None => return Ok(()),
            Some(Out::Statement(envelope)) => {
                let envelope = envelope.clone();
                self.outbox.pop_front();
                let sent = self.transport.send(PeerMessage::Statement(envelope.clone()));
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

    async fn statement(&mut self, envelope: Envelope) -> Result<(), Error> {
        let heard = match envelope.payload_type() {
            Offer::TYPE => self.offer(&envelope).await?,
            Acceptance::TYPE => self.acceptance(envelope).await?,
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

    /// The first acceptance makes the agreement; any other is ignored (attack K1).
    async fn acceptance(&mut self, envelope: Envelope) -> Result<Result<(), Ignored>, Error> {
        let session = &self.record.session;
        match (session.role(), session.agreement()) {
            (Role::Originator, None) => {}
            (Role::Originator, Some(agreement)) if *agreement.acceptance().envelope() == envelope => {
                return self.known().await.map(Ok);
            }
            _ => return Ok(Err(Ignored::Unexpected)),
        }
        let agreement = Signed::<Acceptance>::parse(envelope)
            .map_err(PeerFault::from)
            .and_then(|signed| Ok(Agreement::new(session.offer().clone(), signed)?));
        match agreement {
            Err(fault) => Ok(Err(fault.into())),
            Ok(agreement) => {
                self.news.statement(agreement.acceptance().envelope());
                self.input(Input::Accepted(agreement)).await.map(Ok)
            }
        }
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
        match &agreed.description {
            Description::Signature(_) => match signature::check(agreed, transfer.clone()) {
                Ok(fit) => self.received(Fit::Signature(fit), transfer, None).await.map(Ok),
                Err(unfit) => self.unfit(unfit).await.map(Ok),
            },
            Description::Information(_) if transfer.item == *agreed => {
                self.news.statement(transfer.envelope());
                self.incoming = Some(Arriving { transfer, content: None });
                Ok(Ok(()))
            }
            Description::Information(_) => self.unfit(Unfit::Kind).await.map(Ok),
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
            Ok((fit, path)) => self.received(Fit::Content(fit), arriving.transfer, Some(path)).await,
            Err(NotReceived::Here(error)) => Err(error),
            Err(NotReceived::Unfit(unfit)) => self.unfit(unfit).await,
            Err(NotReceived::Sealed(_)) => Ok(()),
        }
    }

    async fn content_piece(&self, arriving: &mut Arriving, piece: &Content) -> Result<(), NotReceived> {
        if let (None, Some(encapsulated)) = (&arriving.content, &piece.encapsulated) {
            let session = &self.record.session;
            let agreement = session.agreement().ok_or(Error::Bug("content without an agreement"))?;
            let peer = session.role().peer();
            let Description::Information(described) = &agreement.offer().item(peer).description else {
                return Err(Unfit::Kind.into());
            };
            let context = agreement.seal_context(peer);
            let seal = (self.inner.identity.sealing(), context.as_slice(), encapsulated.as_slice());
            let id = session.exchange_id();
            let begun = Incoming::begin(&self.inner.folder, id, Source::Peer, described, seal).await?;
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
        path: Option<PathBuf>,
    ) -> Result<(), Error> {
        self.incoming = None;
        let step = self.record.session.handle(self.inner.clock.now(), Input::Received(fit));
        let taken = step.next.phase() == Phase::Done(role::Outcome::Completed);
        if taken {
            self.record.peer_transfer = Some(transfer);
            self.record.received_file = path;
        } else if let Some(path) = path {
            tokio::fs::remove_file(&path).await.map_err(|error| Error::file(&path, error))?;
        }
        self.commit(step, taken).await
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
    #[error("it means nothing here")]
    Unexpected,
}
