//! Peers over gRPC: the originator dials and dials again, the responder listens.
//!
//! ```text
//!  Dialer ── Exchange(stream) ──▶ Listener ──first message: the offer──▶ Peer of that exchange
//!     └ lost: back-off, dial again ──────────────▶ the new connection replaces the old one
//! ```
//!
//! Invariants
//! - The offer opens every connection: it names the exchange, so one listener serves many.
//! - `CLOSED` as the reason of a `Declined` message ends a connection on purpose; a stream that ends without
//!   it was lost.
//!
//! Limits: whoever knows an offer can open a connection for it and so replace the peer's; statements are
//! verified all the same, so this costs time, never fairness.

mod dial;
mod listen;

use arbiter_protocol::limits;
use arbiter_protocol::statement::Envelope;
use arbiter_protocol::wire::peer as proto;
use tokio::sync::mpsc;

pub use dial::Dialer;
pub use listen::{Listener, Peer};

use crate::transport::{Content, PeerMessage};

/// Messages that may wait to be sent.
const ROOM: usize = 4;
/// Largest message: a sealed chunk, or an envelope and an escrow; and what surrounds them. A longer one is refused before
/// it is read.
const MESSAGE_BYTES: usize = limits::ESCROW_BYTES + limits::ENVELOPE_BYTES + 1024;
const _: () = assert!(limits::SEALED_CHUNK_BYTES + 1024 < MESSAGE_BYTES);
/// The reason that ends a connection on purpose.
const CLOSED: &str = "CLOSED";
/// Window of a stream: several chunks, so that a file does not wait for every acknowledgement.
const WINDOW_BYTES: u32 = 1 << 20;
/// Send a ping after this long, so that a dead peer is noticed.
const KEEP_ALIVE: std::time::Duration = std::time::Duration::from_secs(10);
/// How long `close` waits for the peer to have read everything.
const CLOSING: std::time::Duration = std::time::Duration::from_secs(2);

fn to_wire(message: PeerMessage) -> proto::Message {
    let mut beside = Vec::new();
    let kind = match message {
        PeerMessage::Statement(envelope, escrow) => {
            beside = escrow.unwrap_or_default();
            proto::message::Kind::Statement(envelope.to_wire())
        }
        PeerMessage::Content(content) => proto::message::Kind::Content(proto::Content {
            encapsulated_key: content.encapsulated.unwrap_or_default(),
            sealed_chunk: content.sealed,
            last: content.last,
        }),
        PeerMessage::Declined(reason) => proto::message::Kind::Declined(proto::Declined { reason }),
    };
    proto::Message { kind: Some(kind), escrow: beside }
}

/// What a connection brought.
enum Heard {
    Closed,
    Message(PeerMessage),
    Nonsense,
}

fn from_wire(message: Option<proto::Message>) -> Heard {
    let (kind, escrow) = message.map(|message| (message.kind, message.escrow)).unwrap_or_default();
    if escrow.len() > limits::ESCROW_BYTES {
        tracing::warn!("ignored a message with more than any escrow beside it");
        return Heard::Nonsense;
    }
    match kind {
        Some(proto::message::Kind::Statement(envelope)) => match Envelope::from_wire(envelope) {
            Ok(envelope) => {
                let escrow = Some(escrow).filter(|escrow| !escrow.is_empty());
                Heard::Message(PeerMessage::Statement(envelope, escrow))
            }
            Err(why) => {
                tracing::warn!(%why, "ignored a malformed envelope");
                Heard::Nonsense
            }
        },
        Some(proto::message::Kind::Content(content)) => Heard::Message(PeerMessage::Content(Content {
            encapsulated: Some(content.encapsulated_key).filter(|key| !key.is_empty()),
            sealed: content.sealed_chunk,
            last: content.last,
        })),
        Some(proto::message::Kind::Declined(declined)) if declined.reason == CLOSED => Heard::Closed,
        Some(proto::message::Kind::Declined(declined)) => {
            Heard::Message(PeerMessage::Declined(declined.reason))
        }
        None => Heard::Nonsense,
    }
}

/// Waits until there is room in a channel; for ever, if nobody wants to know or the other end is gone.
async fn room<T>(sender: &mpsc::Sender<T>, wanted: bool) {
    if !wanted || sender.reserve().await.is_err() {
        // A channel whose other end is gone is noticed by the receiving side.
        std::future::pending::<()>().await;
    }
}

fn closing() -> PeerMessage {
    PeerMessage::Declined(CLOSED.to_owned())
}
