//! The label: everything about the exchange for which an escrow may be opened, and nothing else.
//!
//! ```text
//!   version · suite · N · n · arbiter · epoch · exchange · protocol · first · signer
//!   · originator · responder · agreement · item · counter_item · expires · complain_by
//! ```
//!
//! All fields have a fixed width, so a label has one encoding. It is never sent with an escrow: every party
//! builds it from the agreement that it holds. An escrow is valid for one label only (F9).

use super::suite::Suite;

/// Which of the two parties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The party that made the offer.
    Originator,
    /// The party that accepted it.
    Responder,
}

impl Side {
    /// Its number in encodings.
    fn id(self) -> u8 {
        match self {
            Self::Originator => 1,
            Self::Responder => 2,
        }
    }
}

/// The context of one escrow. Times are milliseconds of Unix time on the arbiter's clock; 0 means none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// How many instances there are, how many are hidden.
    pub suite: Suite,
    /// The arbiter's identity key.
    pub arbiter: [u8; 32],
    /// The epoch of the arbiter's escrow key.
    pub epoch: u64,
    /// The id of the exchange, which both parties' fresh values went into.
    pub exchange: [u8; 32],
    /// The number of the exchange protocol.
    pub protocol: u8,
    /// Who sends first.
    pub first: Side,
    /// Whose signature is in escrow.
    pub signer: Side,
    /// The originator's identity key.
    pub originator: [u8; 32],
    /// The responder's identity key.
    pub responder: [u8; 32],
    /// The hash of the agreement.
    pub agreement: [u8; 32],
    /// The hash of the description of the item that the signer gives.
    pub item: [u8; 32],
    /// The hash of the description of the item that the signer expects.
    pub counter_item: [u8; 32],
    /// After this time the exchange cannot be committed to.
    pub expires: u64,
    /// After this time nobody can complain.
    pub complain_by: u64,
}

impl Label {
    /// Length of the encoding.
    pub const BYTES: usize = 1 + 1 + 2 + 2 + 32 + 8 + 32 + 3 + 5 * 32 + 8 + 8;

    /// The one encoding. Integers are big endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::BYTES);
        out.extend([super::VERSION, self.suite.id()]);
        out.extend(self.suite.total().to_be_bytes());
        out.extend(self.suite.hidden().to_be_bytes());
        out.extend(self.arbiter);
        out.extend(self.epoch.to_be_bytes());
        out.extend(self.exchange);
        out.extend([self.protocol, self.first.id(), self.signer.id()]);
        out.extend(self.originator);
        out.extend(self.responder);
        out.extend(self.agreement);
        out.extend(self.item);
        out.extend(self.counter_item);
        out.extend(self.expires.to_be_bytes());
        out.extend(self.complain_by.to_be_bytes());
        out
    }
}
