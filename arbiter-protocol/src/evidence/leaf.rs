//! The public leaf: what the log says about one event, without a party's identity or secret (R-501).
//!
//! ```text
//! arbiter/evidence-leaf/v1
//! id 17
//! event verdict-replaced
//! reason R-404
//! time 2026-11-20T02:53:43.290Z
//! clock 500
//! exchange 9d3c…            32 hex digits: a pseudonym that only the arbiter can link to the exchange
//! seq 1
//! prev 16                   or `-`: the previous leaf of the same exchange
//! policy <sha256>           of the rule version
//! build <sha256>            of the program that decided
//! issuer <8 hex>            first bytes of SHA-256 of the arbiter's key
//! token <sha256>            digest of the signed statement
//! record <sha256>           root of the sealed record
//! ```
//!
//! One `key value` a line in this order, values of `[A-Za-z0-9+/=:._-]`, so there is exactly one form.
//! A leaf is made only from ids, digests and closed sets: no field can hold text of a party.

use std::fmt::Write as _;

use crate::error::Invalid;
use crate::ids::{Digest, LeafIndex, PublicKey};
use crate::limits;
use crate::time::{DurationMillis, UnixMillis};

const HEADER: &str = "arbiter/evidence-leaf/v1";
const KEYS: [&str; 13] = [
    "id", "event", "reason", "time", "clock", "exchange", "seq", "prev", "policy", "build", "issuer",
    "token", "record",
];

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Somebody else confirmed a time or a state of the log: the token is the digest of what they signed.
    Anchor,
    /// A deposit fits its description and is kept for the peer.
    DepositAccepted,
    /// What was kept about an exchange is destroyed.
    Erasure,
    /// The log begins: origin, keys and rules are fixed.
    Genesis,
    /// The arbiter goes on under other keys: the token is the digest of the statement that both identities signed.
    KeyRotation,
    /// A ledger says that a payment which the arbiter revoked is paid for good: it was too late, or already posted.
    PaymentPosted,
    /// A ledger says that a payment which the arbiter revoked went back, or was never made and never will be.
    PaymentVoided,
    /// What the operator declares has changed: the token is the digest of the new declaration.
    PolicyChange,
    /// Leaves that the store had lost were put back; what else it held about them is gone.
    Restore,
    /// Verdict: abort token.
    VerdictAborted,
    /// Verdict: an affidavit.
    VerdictAffidavit,
    /// Verdict: items replaced.
    VerdictReplaced,
    /// Verdict: transfers revoked.
    VerdictRevoked,
}

impl Event {
    /// Every event, in the order of their names.
    pub const ALL: [Self; 13] = [
        Self::Anchor,
        Self::DepositAccepted,
        Self::Erasure,
        Self::Genesis,
        Self::KeyRotation,
        Self::PaymentPosted,
        Self::PaymentVoided,
        Self::PolicyChange,
        Self::Restore,
        Self::VerdictAborted,
        Self::VerdictAffidavit,
        Self::VerdictReplaced,
        Self::VerdictRevoked,
    ];

    /// The name in the leaf.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Anchor => "anchor",
            Self::DepositAccepted => "deposit-accepted",
            Self::Erasure => "erasure",
            Self::Genesis => "genesis",
            Self::KeyRotation => "key-rotation",
            Self::PaymentPosted => "payment-posted",
            Self::PaymentVoided => "payment-voided",
            Self::PolicyChange => "policy-change",
            Self::Restore => "restore",
            Self::VerdictAborted => "verdict-aborted",
            Self::VerdictAffidavit => "verdict-affidavit",
            Self::VerdictReplaced => "verdict-replaced",
            Self::VerdictRevoked => "verdict-revoked",
        }
    }

    /// The event of ETSI EN 319 522-1 that says the same to the users of a delivery service, if one does (R-534). Its URI
    /// is `http://uri.etsi.org/19522/Event/` and this name.
    pub const fn etsi(self) -> Option<&'static str> {
        match self {
            Self::DepositAccepted => Some("SubmissionAcceptance"),
            Self::VerdictReplaced => Some("ContentConsignment"),
            // A delivery that failed for good; an affidavit delivers nothing and decides nothing.
            Self::VerdictAborted => Some("ContentConsignmentFailure"),
            // The registry knows no money, no decision between parties, and no event of a log itself.
            Self::Anchor
            | Self::Erasure
            | Self::Genesis
            | Self::KeyRotation
            | Self::PaymentPosted
            | Self::PaymentVoided
            | Self::PolicyChange
            | Self::Restore
            | Self::VerdictAffidavit
            | Self::VerdictRevoked => None,
        }
    }

    /// Whether it is about the arbiter and its log, and not about an exchange. Such a leaf has the pseudonym of zeros,
    /// sequence 0, no previous leaf and an empty record.
    pub const fn is_of_the_log(self) -> bool {
        matches!(self, Self::Anchor | Self::Genesis | Self::KeyRotation | Self::PolicyChange | Self::Restore)
    }

    /// The event with this name in leaves.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.name() == name)
    }

    /// Whether an exchange can have only one such event (R-401).
    pub const fn is_verdict(self) -> bool {
        matches!(
            self,
            Self::VerdictAborted | Self::VerdictAffidavit | Self::VerdictReplaced | Self::VerdictRevoked
        )
    }
}

/// A pseudonym of an exchange, 16 bytes: keyed, so that nobody but the arbiter can compute it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pseudonym(pub [u8; 16]);

/// The names of the rules that a leaf may give as its reason.
pub const REASONS: [&str; 25] = [
    "R-403", "R-404", "R-405", "R-406", "R-407", "R-413", "R-414", "R-415", "R-416", "R-417", "R-418",
    "R-419", "R-420", "R-421", "R-422", "R-423", "R-425", "R-426", "R-427", "R-502", "R-525", "R-533",
    "R-535", "R-536", "R-537",
];

/// One public leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Its place in the log.
    pub index: LeafIndex,
    /// What happened.
    pub event: Event,
    /// The rule that made it happen: one of [`REASONS`].
    pub reason: &'static str,
    /// When, by the arbiter's clock.
    pub time: UnixMillis,
    /// How far that clock may be off, as the operator declares it.
    pub clock_uncertainty: DurationMillis,
    /// Which exchange.
    pub exchange: Pseudonym,
    /// The how-manieth leaf of the exchange, from 0.
    pub sequence: u32,
    /// The previous leaf of the exchange.
    pub previous: Option<LeafIndex>,
    /// SHA-256 of the rule version.
    pub policy: Digest,
    /// SHA-256 of the program.
    pub build: Digest,
    /// Short id of the arbiter's key.
    pub issuer: [u8; 4],
    /// Digest of the signed statement.
    pub token: Digest,
    /// Root of the sealed record.
    pub record: Digest,
}

/// What can stand in a public leaf (R-501, R-538): numbers, times, names that this program's text has, and what comes out of
/// SHA-256. Nothing that people fill in is of such a type.
///
/// It is implemented here and can be implemented nowhere else, so a leaf with a field of any other type does not compile:
///
/// ```compile_fail
/// fn stands_in_a_leaf(_: impl arbiter_protocol::evidence::leaf::PublicSafe) {}
/// stands_in_a_leaf(String::from("Alice"));
/// ```
/// ```compile_fail
/// # fn stands_in_a_leaf(_: impl arbiter_protocol::evidence::leaf::PublicSafe) {}
/// stands_in_a_leaf(arbiter_protocol::ids::PublicKey::from_bytes([1; 32]));
/// ```
/// ```
/// # fn stands_in_a_leaf(_: impl arbiter_protocol::evidence::leaf::PublicSafe) {}
/// stands_in_a_leaf(arbiter_protocol::ids::LeafIndex(7));
/// ```
pub trait PublicSafe: sealed::Sealed {
    /// Appends its one form.
    #[doc(hidden)]
    fn write(&self, leaf: &mut String);
}

mod sealed {
    pub trait Sealed {}
}

/// Lists the types, and how each is written: without a string for each field, since whoever reads a leaf writes it too.
macro_rules! public_safe {
    ($($type:ty: $value:ident => $format:literal $(, $argument:expr)*;)*) => {$(
        impl sealed::Sealed for $type {}
        impl PublicSafe for $type {
            fn write(&self, leaf: &mut String) {
                let $value = self;
                // Writing to a String does not fail.
                let _ = write!(leaf, $format $(, $argument)*);
            }
        }
    )*};
}

public_safe! {
    LeafIndex: index => "{}", index.0;
    Event: event => "{}", event.name();
    // One of [`REASONS`]: who made it static wrote it into the program.
    &'static str: reason => "{reason}";
    UnixMillis: time => "{time}";
    DurationMillis: duration => "{}", duration.0;
    Pseudonym: pseudonym => "{}", hex::encode(pseudonym.0);
    u32: count => "{count}";
    // Of a key of the arbiter, a program, a rule version, a statement with its nonce, or a record with its salts.
    [u8; 4]: id => "{}", hex::encode(id);
    Digest: digest => "{digest}";
}

impl sealed::Sealed for Option<LeafIndex> {}
impl PublicSafe for Option<LeafIndex> {
    fn write(&self, leaf: &mut String) {
        match self {
            Some(index) => index.write(leaf),
            None => leaf.push('-'),
        }
    }
}

/// The short key id of `issuer`: the first 4 bytes of SHA-256 of the key.
pub fn issuer_id(key: &PublicKey) -> [u8; 4] {
    let digest = Digest::of(&[key.as_bytes()]);
    let [a, b, c, d, ..] = *digest.as_bytes();
    [a, b, c, d]
}

impl Leaf {
    /// The one form of the leaf, at most [`limits::LEAF_BYTES`].
    pub fn encode(&self) -> Vec<u8> {
        let values: [&dyn PublicSafe; 13] = [
            &self.index,
            &self.event,
            &self.reason,
            &self.time,
            &self.clock_uncertainty,
            &self.exchange,
            &self.sequence,
            &self.previous,
            &self.policy,
            &self.build,
            &self.issuer,
            &self.token,
            &self.record,
        ];
        let mut text = String::with_capacity(limits::LEAF_BYTES);
        text.push_str(HEADER);
        for (key, value) in KEYS.iter().zip(values) {
            text.push('\n');
            text.push_str(key);
            text.push(' ');
            value.write(&mut text);
        }
        text.push('\n');
        text.into_bytes()
    }

    /// Reads exactly what `encode` writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Invalid> {
        let malformed = Invalid::Malformed { what: "leaf" };
        if bytes.len() > limits::LEAF_BYTES {
            return Err(Invalid::TooLarge { what: "leaf", maximum: limits::LEAF_BYTES });
        }
        let text = std::str::from_utf8(bytes).map_err(|_| malformed)?;
        let mut lines = text.lines();
        if lines.next() != Some(HEADER) {
            return Err(malformed);
        }
        let mut value = |key: &'static str| {
            lines
                .next()
                .and_then(|line| line.strip_prefix(key)?.strip_prefix(' '))
                .ok_or(Invalid::FieldMissing { field: key })
        };
        let number = |text: &str, field| text.parse::<u64>().map_err(|_| Invalid::FieldValue { field });
        let leaf = Self {
            index: LeafIndex(number(value("id")?, "id")?),
            event: named(value("event")?, &Event::ALL, |event| event.name(), "event")?,
            reason: named(value("reason")?, &REASONS, |reason| reason, "reason")?,
            time: UnixMillis::parse(value("time")?).ok_or(Invalid::FieldValue { field: "time" })?,
            clock_uncertainty: DurationMillis(number(value("clock")?, "clock")?),
            exchange: Pseudonym(fixed(value("exchange")?, "exchange")?),
            sequence: u32::try_from(number(value("seq")?, "seq")?)
                .map_err(|_| Invalid::FieldValue { field: "seq" })?,
            previous: match value("prev")? {
                "-" => None,
                text => Some(LeafIndex(number(text, "prev")?)),
            },
            policy: Digest::parse_hex(value("policy")?, "policy")?,
            build: Digest::parse_hex(value("build")?, "build")?,
            issuer: fixed(value("issuer")?, "issuer")?,
            token: Digest::parse_hex(value("token")?, "token")?,
            record: Digest::parse_hex(value("record")?, "record")?,
        };
        if leaf.encode() == bytes { Ok(leaf) } else { Err(Invalid::NotCanonical { what: "leaf" }) }
    }
}

fn named<T: Copy>(
    text: &str,
    all: &[T],
    name: impl Fn(T) -> &'static str,
    field: &'static str,
) -> Result<T, Invalid> {
    all.iter().copied().find(|it| name(*it) == text).ok_or(Invalid::FieldValue { field })
}

fn fixed<const N: usize>(text: &str, field: &'static str) -> Result<[u8; N], Invalid> {
    hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(Invalid::FieldValue { field })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf() -> Leaf {
        Leaf {
            index: LeafIndex(17),
            event: Event::VerdictReplaced,
            reason: "R-404",
            time: UnixMillis(1_700_000_000_123),
            clock_uncertainty: DurationMillis(500),
            exchange: Pseudonym([3; 16]),
            sequence: 1,
            previous: Some(LeafIndex(16)),
            policy: Digest::of(&[b"p"]),
            build: Digest::of(&[b"b"]),
            issuer: [1, 2, 3, 4],
            token: Digest::of(&[b"t"]),
            record: Digest::of(&[b"r"]),
        }
    }

    /// R-501: exactly one form; every single-byte change is refused or is another leaf.
    #[test]
    fn a_leaf_has_one_form() {
        let bytes = leaf().encode();
        assert_eq!(Leaf::decode(&bytes), Ok(leaf()));
        for position in 0..bytes.len() {
            for flip in [1, 2, 0x20, 0x80] {
                let mut altered = bytes.clone();
                altered[position] ^= flip;
                if let Ok(other) = Leaf::decode(&altered) {
                    assert_ne!(other, leaf(), "byte {position}");
                    assert_eq!(other.encode(), altered);
                }
            }
            assert!(Leaf::decode(&bytes[..position]).is_err(), "cut at {position}");
        }
        for bad in [[&bytes[..], b"\n"].concat(), [&bytes[..], b"x 1\n"].concat(), vec![b'a'; 2000]] {
            assert!(Leaf::decode(&bad).is_err());
        }
    }

    /// R-401, R-501: every event and every reason has its leaf; the verdicts are those events that say so.
    #[test]
    fn every_event_and_reason_is_read_back() {
        assert!(Event::ALL.is_sorted_by_key(|event| event.name()));
        for event in Event::ALL {
            for reason in REASONS {
                let leaf = Leaf { event, reason, ..leaf() };
                assert_eq!(Leaf::decode(&leaf.encode()), Ok(leaf));
            }
            assert_eq!(event.is_verdict(), event.name().starts_with("verdict-"), "{event:?}");
            assert_eq!(Event::named(event.name()), Some(event));
        }
        assert_eq!(Event::named("verdict"), None);
    }

    /// R-534: the names that ETSI gives are events of its registry, and no two of ours mean the same there.
    #[test]
    fn names_of_etsi_are_those_of_its_registry() {
        let registry = [
            "SubmissionAcceptance",
            "SubmissionRejection",
            "RelayAcceptance",
            "RelayRejection",
            "RelayFailure",
            "NotificationForAcceptance",
            "NotificationForAcceptanceFailure",
            "ConsignmentAcceptance",
            "ConsignmentRejection",
            "AcceptanceRejectionExpiry",
            "ContentConsignment",
            "ContentConsignmentFailure",
            "ConsignmentNotification",
            "ConsignmentNotificationFailure",
            "NotificationDelivered",
            "NotificationAccessTracking",
            "ContentAccessTracking",
            "ContentHandover",
            "ContentHandoverFailure",
            "RelayToNonERDS",
            "RelayToNonERDSFailure",
            "ReceivedFromNonERDS",
        ];
        let mut named: Vec<_> = Event::ALL.into_iter().filter_map(Event::etsi).collect();
        assert!(named.iter().all(|name| registry.contains(name)));
        named.sort_unstable();
        named.dedup();
        assert_eq!(named.len(), 3);
        assert!(Event::ALL.iter().all(|it| !it.is_of_the_log() || it.etsi().is_none()));
    }

    /// R-501: whoever holds the arbiter's key finds its leaves.
    #[test]
    fn an_issuer_is_named_by_the_hash_of_its_key() {
        let key = PublicKey::from_bytes([7; 32]);
        assert_eq!(issuer_id(&key)[..], Digest::of(&[&[7; 32]]).as_bytes()[..4]);
    }
}
