//! How two peers reach each other.
//!
//! ```text
//!  originator ── dials, dials again after a loss ──▶ responder, listens
//!        Connected │ Message … │ Lost ─▶ Connected │ … │ Closed (the peer needs nothing more)
//! ```
//!
//! Invariants
//! - Between `Connected` and the next `Lost` or `Closed`, messages arrive once and in the order sent.
//! - What was sent before a `Lost` may or may not have arrived. The driver says it again after `Connected`.
//! - A transport proves nothing: every statement that arrives is verified by the driver.
//! - Nothing blocks on a slow peer: the driver sends when there is room, and meanwhile listens.

pub mod grpc;
pub mod memory;

use arbiter_protocol::statement::Envelope;
use async_trait::async_trait;

/// What peers say to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerMessage {
    /// A piece of sealed content, after the transfer that announces it.
    Content(Content),
    /// The peer will not go on, and why, e.g. `OFFER_NOT_WANTED`. A courtesy, never evidence.
    Declined(String),
    /// An offer, acceptance or transfer; beside an offer or acceptance the sender's detached signature in escrow, if
    /// it gives one: at most [`ESCROW_BYTES`](arbiter_protocol::limits::ESCROW_BYTES). Nothing is verified.
    Statement(Envelope, Option<Vec<u8>>),
}

/// A piece of sealed content.
#[derive(Clone, PartialEq, Eq)]
pub struct Content {
    /// In the first piece: the HPKE encapsulated key. A piece that has it starts the content anew.
    pub encapsulated: Option<Vec<u8>>,
    /// One sealed chunk.
    pub sealed: Vec<u8>,
    /// Whether it is the last.
    pub last: bool,
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Content({} bytes, last: {})", self.sealed.len(), self.last)
    }
}

/// What a transport reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The peer closed: it needs nothing more.
    Closed,
    /// There is a connection, the first or a new one.
    Connected,
    /// The connection broke; a new one is on its way or awaited.
    Lost,
    /// A message.
    Message(PeerMessage),
    /// There is room for one message. Reported only to who asked for it.
    Room,
}

/// What the caller of [`Transport::next`] wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// What happens.
    Events,
    /// Also when there is room to send.
    Room,
}

/// The message did not leave: there is no connection, or no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message did not leave: no connection, or no room")]
pub struct NotSent;

/// An ordered connection to one peer for one exchange, made again when it breaks.
#[async_trait]
pub trait Transport: Send {
    /// Waits for the next event. Dropping the future loses nothing. Without a peer it waits for ever.
    async fn next(&mut self, want: Want) -> Event;

    /// Whether there is a connection, as far as `next` has reported.
    fn is_connected(&self) -> bool;

    /// Hands over one message. Does not wait: there is room after [`Event::Room`].
    fn send(&mut self, message: PeerMessage) -> Result<(), NotSent>;

    /// Says that we need nothing more, and waits shortly for the peer to have read everything.
    async fn close(&mut self);
}

/// No peer at all: for turning to the arbiter alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nobody;

#[async_trait]
impl Transport for Nobody {
    async fn next(&mut self, _want: Want) -> Event {
        std::future::pending().await
    }

    fn is_connected(&self) -> bool {
        false
    }

    fn send(&mut self, _message: PeerMessage) -> Result<(), NotSent> {
        Err(NotSent)
    }

    async fn close(&mut self) {}
}
