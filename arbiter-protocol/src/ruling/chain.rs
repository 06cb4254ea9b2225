//! What the public leaves of a log must be to each other: the rules that need no key and no sealed record.
//!
//! ```text
//!  leaf 0 ─ genesis            place, time, issuer, rule version: every leaf against the one before
//!  leaf n ─┬─ seq 0  deposit ◀─┐
//!          ├─ seq 1  deposit ◀─┤ prev        one chain an exchange: deposits ─▶ one verdict ─▶ answers of ledgers
//!          └─ seq 2  verdict ──┘
//! ```
//! [`Walk`] reads all leaves in order; the operator (`arbiter fsck`) and strangers (`fairx audit`) use the same.
//! [`one`] and [`two`] judge leaves that were taken out of a log: what they find convicts the arbiter by itself (R-563).
//!
//! Invariants
//! - A leaf that breaks a rule changes nothing: the walk stands before it.
//! - An exchange takes 32 bytes; nothing else grows with the log.
//! - A leaf of a later version is never called a violation (R-562).

use std::cmp::Ordering;
use std::collections::BTreeMap;

use thiserror::Error;

use crate::error::Invalid;
use crate::evidence::leaf::{Event, Leaf, Pseudonym, issuer_id};
use crate::evidence::record::record_root;
use crate::ids::{Digest, LeafIndex};
use crate::limits;
use crate::message::agreement::ArbiterIdentity;
use crate::ruling::notice::ErasureReason;
use crate::ruling::sequencer::genesis_token;
use crate::time::UnixMillis;

/// What is wrong with a leaf. Who keeps the log is at fault, if the leaf is proven to be in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LeafFault {
    /// A statement that there can be only once is there twice.
    #[error("it is the second {what} of its exchange (R-401)")]
    Again {
        /// `verdict`, `attestation` or `answer of a ledger`.
        what: &'static str,
    },
    /// A leaf of an exchange comes after its erasure, or nothing before it; or the erasure names no reason.
    #[error(
        "it comes after the erasure of its exchange, or is no erasure of an exchange with leaves (R-533)"
    )]
    AfterErasure,
    /// A deposit was attested for an exchange that was ruled.
    #[error("it attests a deposit for an exchange that was ruled already (R-407)")]
    AfterVerdict,
    /// A ledger answers an order that no verdict gives.
    #[error("a ledger answers an order that no verdict before it gives (R-423)")]
    BeforeVerdict,
    /// A leaf does not follow the leaf of the same exchange that it must follow.
    #[error("its sequence number or link does not follow the previous leaf of its exchange")]
    Chain,
    /// Leaf 0 is not the beginning of this arbiter's log, or the beginning is elsewhere.
    #[error("the log does not begin, or begins again, for this arbiter here (R-502)")]
    Genesis,
    /// A leaf names another key or rule version than this arbiter's.
    #[error("it names another key or rule version than this arbiter's")]
    Issuer,
    /// A leaf does not decode.
    #[error("it is not a leaf: {0}")]
    Leaf(#[from] Invalid),
    /// A leaf of a later version: no violation, but nothing about it can be said.
    #[error("it is of a version that is not known to this program: a newer one is needed (R-562)")]
    NotKnown,
    /// A leaf about the log itself names an exchange, another rule than its own, or a record.
    #[error(
        "it is about the log itself, and names an exchange, a record or a rule that is not its own (R-534)"
    )]
    OfTheLog,
    /// A leaf says that it is elsewhere.
    #[error("it says that it is leaf {says}")]
    Place {
        /// What it says.
        says: u64,
    },
    /// The rule that it names never gives this event, or not after what was deposited in its exchange.
    #[error("{event} by {reason} cannot be here: the rules do not give it (R-561)")]
    Reason {
        /// The event.
        event: &'static str,
        /// The rule.
        reason: &'static str,
    },
    /// A leaf is older than the one before it.
    #[error("it is older than the leaf before it (R-409)")]
    Time,
}

/// The leaves of one exchange so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    last: u64,
    count: u32,
    verdict: Option<Event>,
    deposits: u8,
    /// Answers of ledgers; whether the exchange was erased: [`ERASED`]; whether its verdict can give orders: [`ORDERED`].
    answers: u8,
    /// By which rule deposits are taken: it tells the protocol.
    deposited_by: Option<Deposits>,
}

impl Chain {
    const fn is_erased(&self) -> bool {
        self.answers & ERASED != 0
    }

    const fn answers(&self) -> u8 {
        self.answers & ANSWERS
    }

    /// The newest leaf of the exchange.
    pub const fn last(&self) -> LeafIndex {
        LeafIndex(self.last)
    }
}

/// How many of what the leaves tell of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Deposits attested.
    pub deposits: u64,
    /// Exchanges without a verdict.
    pub open: u64,
    /// Abort tokens.
    pub aborted: u64,
    /// Affidavits.
    pub affidavits: u64,
    /// Verdicts that replace.
    pub replaced: u64,
    /// Verdicts that revoke.
    pub revoked: u64,
    /// Answers of ledgers.
    pub answers: u64,
    /// Exchanges of which only the leaves are left.
    pub erased: u64,
}

/// The rules that accept deposits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deposits {
    R407,
    R415,
    R420,
    R425,
}

impl Deposits {
    const ALL: [(Self, &'static str); 4] =
        [(Self::R407, "R-407"), (Self::R415, "R-415"), (Self::R420, "R-420"), (Self::R425, "R-425")];

    fn of(reason: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, name)| *name == reason).map(|(it, _)| it)
    }

    const fn depositors(self) -> u8 {
        match self {
            Self::R407 | Self::R415 => 1,
            Self::R420 | Self::R425 => 2,
        }
    }

    /// Which rules can end an exchange after such deposits. How many each needs is in [`one`]: before a verdict there are
    /// no other leaves.
    const fn verdicts(self) -> &'static [&'static str] {
        match self {
            Self::R407 => &["R-405", "R-406"],
            Self::R415 => &["R-413", "R-416"],
            Self::R420 => &["R-419", "R-421"],
            Self::R425 => &["R-426"],
        }
    }
}

/// R-561: the reasons that an event can have.
const fn reasons(event: Event) -> &'static [&'static str] {
    match event {
        Event::Anchor => &["R-536"],
        Event::DepositAccepted => &["R-407", "R-415", "R-420", "R-425"],
        Event::Erasure => &["R-533"],
        Event::Genesis => &["R-502"],
        Event::KeyRotation => &["R-537"],
        Event::PaymentPosted | Event::PaymentVoided => &["R-423"],
        Event::PolicyChange => &["R-535"],
        Event::Restore => &["R-525"],
        Event::VerdictAborted => &["R-403", "R-405", "R-413", "R-419", "R-422", "R-427"],
        Event::VerdictAffidavit => &["R-426"],
        Event::VerdictReplaced => &["R-404", "R-406", "R-416", "R-421", "R-426"],
        Event::VerdictRevoked => &["R-414", "R-417", "R-418"],
    }
}

/// Reads a leaf by itself: its form, its place, and a reason that its event can have.
pub fn one(bytes: &[u8], index: LeafIndex) -> Result<Leaf, LeafFault> {
    let leaf = Leaf::decode(bytes).map_err(|invalid| {
        if is_later_version(bytes) { LeafFault::NotKnown } else { LeafFault::Leaf(invalid) }
    })?;
    if leaf.index != index {
        return Err(LeafFault::Place { says: leaf.index.0 });
    }
    let unfit = LeafFault::Reason { event: leaf.event.name(), reason: leaf.reason };
    let fits = reasons(leaf.event).contains(&leaf.reason);
    if (leaf.event == Event::Genesis) != (index.0 == 0) {
        return Err(LeafFault::Genesis);
    }
    if leaf.event.is_of_the_log() {
        let bare = leaf.exchange == Pseudonym([0; 16]) && leaf.sequence == 0 && leaf.previous.is_none();
        let good = fits && bare && leaf.record == record_root(&[]);
        return if good { Ok(leaf) } else { Err(LeafFault::OfTheLog) };
    }
    if !fits {
        return Err(unfit);
    }
    if leaf.event == Event::Erasure {
        let names = |reason: ErasureReason| reason.token(&leaf.exchange) == leaf.token;
        let named = ErasureReason::ALL.into_iter().any(names) && leaf.record == record_root(&[]);
        if !named || leaf.sequence == 0 {
            return Err(LeafFault::AfterErasure);
        }
    }
    // A first leaf has no leaf before it, and every other one has an earlier one.
    let linked = match leaf.previous {
        None => leaf.sequence == 0,
        Some(previous) => leaf.sequence > 0 && previous < index,
    };
    if !linked {
        return Err(LeafFault::Chain);
    }
    let needed = match (leaf.event, leaf.reason) {
        (Event::PaymentPosted | Event::PaymentVoided, _) if leaf.sequence == 0 => {
            return Err(LeafFault::BeforeVerdict);
        }
        (Event::VerdictReplaced, "R-406" | "R-416") => 1,
        (Event::VerdictReplaced, "R-421" | "R-426") => 2,
        _ => 0,
    };
    if leaf.sequence >= needed { Ok(leaf) } else { Err(unfit) }
}

/// Judges two leaves of one log, the earlier one first, each of which is good by itself: what no honest log holds
/// together. `None` if they can both be there.
pub fn two(earlier: &Leaf, later: &Leaf) -> Option<LeafFault> {
    if later.time < earlier.time {
        return Some(LeafFault::Time);
    }
    if later.issuer != earlier.issuer || later.policy != earlier.policy {
        return Some(LeafFault::Issuer);
    }
    if later.event.is_of_the_log() {
        return None;
    }
    let linked = later.previous == Some(earlier.index);
    if earlier.exchange != later.exchange {
        return linked.then_some(LeafFault::Chain);
    }
    if earlier.event == Event::Erasure {
        return Some(LeafFault::AfterErasure);
    }
    let unfit = LeafFault::Reason { event: later.event.name(), reason: later.reason };
    match (later.event, Deposits::of(earlier.reason)) {
        // A verdict, or the answer of a ledger to one.
        (Event::DepositAccepted, None) => return Some(LeafFault::AfterVerdict),
        (Event::DepositAccepted, Some(_)) if later.reason != earlier.reason => return Some(unfit),
        (Event::DepositAccepted, Some(rule)) if rule.depositors() == 1 => {
            return Some(LeafFault::Again { what: "attestation" });
        }
        (Event::PaymentPosted | Event::PaymentVoided, _) => {
            let answers = matches!(earlier.event, Event::PaymentPosted | Event::PaymentVoided);
            if linked && !gives_orders(earlier.event, earlier.reason) && !answers {
                return Some(LeafFault::BeforeVerdict);
            }
        }
        (event, _) if event.is_verdict() && earlier.event.is_verdict() => {
            return Some(LeafFault::Again { what: "verdict" });
        }
        (event, Some(rule)) if event.is_verdict() && !rule.verdicts().contains(&later.reason) => {
            return Some(unfit);
        }
        _ => {}
    }
    // Of leaves of one exchange the later one links to the earlier one, or to one between them.
    let follows = later.previous.is_some_and(|previous| match previous.cmp(&earlier.index) {
        Ordering::Less => false,
        Ordering::Equal => earlier.sequence.checked_add(1) == Some(later.sequence),
        Ordering::Greater => later.sequence > earlier.sequence,
    });
    (!follows).then_some(LeafFault::Chain)
}

/// Reads the leaves of one log from the first to the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walk {
    arbiter: Option<ArbiterIdentity>,
    size: u64,
    time: UnixMillis,
    issuer: [u8; 4],
    policy: Digest,
    chains: BTreeMap<[u8; 16], Chain>,
}

impl Walk {
    /// Before leaf 0. Without an arbiter its key is not known: then all leaves must name the one of leaf 0.
    pub fn new(arbiter: Option<ArbiterIdentity>) -> Self {
        let (issuer, policy) = match &arbiter {
            Some(arbiter) => (issuer_id(&arbiter.key), Digest::of(&[arbiter.rules.as_bytes()])),
            None => ([0; 4], Digest::from_bytes([0; 32])),
        };
        Self { arbiter, size: 0, time: UnixMillis(0), issuer, policy, chains: BTreeMap::new() }
    }

    /// How many leaves were read.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The time of the newest leaf.
    pub const fn time(&self) -> UnixMillis {
        self.time
    }

    /// How many exchanges there are.
    pub fn exchanges(&self) -> usize {
        self.chains.len()
    }

    /// What happened in all of them.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for chain in self.chains.values() {
            let place = match chain.verdict {
                None => &mut tally.open,
                Some(Event::VerdictAborted) => &mut tally.aborted,
                Some(Event::VerdictAffidavit) => &mut tally.affidavits,
                Some(Event::VerdictRevoked) => &mut tally.revoked,
                Some(_) => &mut tally.replaced,
            };
            *place = place.saturating_add(1);
            tally.deposits = tally.deposits.saturating_add(chain.deposits.into());
            tally.answers = tally.answers.saturating_add(chain.answers().into());
            tally.erased = tally.erased.saturating_add(chain.is_erased().into());
        }
        tally
    }

    /// The leaves of an exchange.
    pub fn chain(&self, exchange: &[u8; 16]) -> Option<&Chain> {
        self.chains.get(exchange)
    }

    /// Reads the next leaf. After an error the walk stands before it.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Leaf, LeafFault> {
        let leaf = one(bytes, LeafIndex(self.size))?;
        if leaf.time < self.time {
            return Err(LeafFault::Time);
        }
        if leaf.event == Event::Genesis {
            self.begin(&leaf)?;
        } else if leaf.issuer != self.issuer || leaf.policy != self.policy {
            return Err(LeafFault::Issuer);
        } else if !leaf.event.is_of_the_log() {
            let chain = after(self.chains.get(&leaf.exchange.0).copied(), &leaf)?;
            self.chains.insert(leaf.exchange.0, chain);
        }
        self.time = leaf.time;
        self.size = self.size.saturating_add(1);
        Ok(leaf)
    }

    fn begin(&mut self, leaf: &Leaf) -> Result<(), LeafFault> {
        if let Some(arbiter) = &self.arbiter {
            if leaf.issuer != self.issuer || leaf.policy != self.policy {
                return Err(LeafFault::Issuer);
            }
            if leaf.token != genesis_token(arbiter) {
                return Err(LeafFault::Genesis);
            }
        }
        (self.issuer, self.policy) = (leaf.issuer, leaf.policy);
        Ok(())
    }

    /// Everything that reading on needs, in one form: a head of 56 bytes, then 32 bytes an exchange, ascending.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes =
            Vec::with_capacity(self.chains.len().saturating_mul(CHAIN_BYTES).saturating_add(HEAD_BYTES));
        bytes.extend(self.size.to_be_bytes());
        bytes.extend(self.time.0.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(self.issuer);
        bytes.extend(self.policy.as_bytes());
        for (exchange, chain) in &self.chains {
            let deposits =
                chain.deposited_by.and_then(|it| Deposits::ALL.iter().position(|(one, _)| *one == it));
            let verdict = chain.verdict.and_then(|it| VERDICTS.iter().position(|one| *one == it));
            let number =
                |place: Option<usize>| place.map_or(0, |it| u8::try_from(it).unwrap_or(0).saturating_add(1));
            bytes.extend(exchange);
            bytes.extend(chain.last.to_be_bytes());
            bytes.extend(chain.count.to_be_bytes());
            bytes.extend([number(verdict), chain.deposits, chain.answers, number(deposits)]);
        }
        bytes
    }

    /// Reads what [`Walk::encode`] writes, and nothing else.
    pub fn decode(bytes: &[u8], arbiter: Option<ArbiterIdentity>) -> Result<Self, Invalid> {
        let malformed = Invalid::Malformed { what: "state of a walk" };
        let (head, chains) = bytes.split_first_chunk::<HEAD_BYTES>().ok_or(malformed)?;
        let (chains, []) = chains.as_chunks::<CHAIN_BYTES>() else { return Err(malformed) };
        let mut head = Fields(head);
        let (size, time, zero) = (head.u64()?, head.u64()?, head.u32()?);
        let mut walk = Self::new(arbiter);
        (walk.size, walk.time) = (size, UnixMillis(time));
        let (issuer, policy) = (head.take()?, Digest::from_bytes(head.take()?));
        if walk.arbiter.is_none() {
            (walk.issuer, walk.policy) = (issuer, policy);
        }
        // Before leaf 0 nothing was read that tells whose log it is.
        let fits = size == 0 || (walk.issuer, walk.policy) == (issuer, policy);
        if zero != 0 || !fits {
            return Err(malformed);
        }
        for chain in chains {
            let mut fields = Fields(chain);
            let (exchange, last, count) = (fields.take()?, fields.u64()?, fields.u32()?);
            let [verdict, deposits, answers, deposited_by] = fields.take()?;
            let place = |number: u8| usize::from(number).checked_sub(1);
            let chain = Chain {
                last,
                count,
                verdict: place(verdict).map(|it| VERDICTS.get(it).copied().ok_or(malformed)).transpose()?,
                deposits,
                answers,
                deposited_by: place(deposited_by)
                    .map(|it| Deposits::ALL.get(it).map(|(one, _)| *one).ok_or(malformed))
                    .transpose()?,
            };
            let ascending = walk.chains.last_key_value().is_none_or(|(newest, _)| *newest < exchange);
            if !ascending || last >= size || count == 0 {
                return Err(malformed);
            }
            walk.chains.insert(exchange, chain);
        }
        Ok(walk)
    }
}

/// R-401: at most one verdict, and one attestation of each who may deposit, linked to each other; R-423: answers of
/// ledgers only to a verdict that gives orders; R-561: a rule that can follow what was deposited.
fn after(chain: Option<Chain>, leaf: &Leaf) -> Result<Chain, LeafFault> {
    let first = Chain { last: 0, count: 0, verdict: None, deposits: 0, answers: 0, deposited_by: None };
    let mut next = chain.unwrap_or(first);
    if leaf.sequence != next.count || leaf.previous != chain.map(|chain| LeafIndex(chain.last)) {
        return Err(LeafFault::Chain);
    }
    if next.is_erased() {
        return Err(LeafFault::AfterErasure);
    }
    let unfit = LeafFault::Reason { event: leaf.event.name(), reason: leaf.reason };
    match leaf.event {
        Event::Erasure => next.answers = next.answers.saturating_add(ERASED),
        Event::DepositAccepted => {
            if next.verdict.is_some() {
                return Err(LeafFault::AfterVerdict);
            }
            let rule = Deposits::of(leaf.reason).ok_or(unfit)?;
            if next.deposited_by.is_some_and(|known| known != rule) {
                return Err(unfit);
            }
            next.deposited_by = Some(rule);
            next.deposits = next.deposits.saturating_add(1);
            if next.deposits > rule.depositors() {
                return Err(LeafFault::Again { what: "attestation" });
            }
        }
        Event::PaymentPosted | Event::PaymentVoided => {
            let ordered = next.verdict == Some(Event::VerdictRevoked) || next.answers & ORDERED != 0;
            if !ordered {
                return Err(LeafFault::BeforeVerdict);
            }
            next.answers = next.answers.saturating_add(1);
            if next.answers() > most_answers(next.verdict) {
                return Err(LeafFault::Again { what: "answer of a ledger" });
            }
        }
        // No other leaf of an exchange is left than a verdict.
        verdict => {
            if next.verdict.replace(verdict).is_some() {
                return Err(LeafFault::Again { what: "verdict" });
            }
            if !next.deposited_by.is_none_or(|rule| rule.verdicts().contains(&leaf.reason)) {
                return Err(unfit);
            }
            if gives_orders(verdict, leaf.reason) {
                next.answers = next.answers.saturating_add(ORDERED);
            }
        }
    }
    next.count = next.count.saturating_add(1);
    next.last = leaf.index.0;
    Ok(next)
}

/// Whether the first line names another version of the same format.
fn is_later_version(bytes: &[u8]) -> bool {
    let version =
        bytes.strip_prefix(b"arbiter/evidence-leaf/v").and_then(|rest| rest.split(|it| *it == b'\n').next());
    version.is_some_and(|digits| {
        digits != b"1"
            && !digits.starts_with(b"0")
            && !digits.is_empty()
            && digits.iter().all(u8::is_ascii_digit)
    })
}

/// Takes fixed fields off the front.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Invalid> {
        let (field, rest) =
            self.0.split_first_chunk().ok_or(Invalid::Malformed { what: "state of a walk" })?;
        self.0 = rest;
        Ok(*field)
    }

    fn u64(&mut self) -> Result<u64, Invalid> {
        self.take().map(u64::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Invalid> {
        self.take().map(u32::from_be_bytes)
    }
}

/// The bit that tells an exchange that was erased. It is set once, as is the next.
const ERASED: u8 = 0x80;
/// The bit that tells a verdict after which ledgers can answer.
const ORDERED: u8 = 0x40;
/// The bits in which the answers are counted.
const ANSWERS: u8 = 0x3f;

/// How many answers of ledgers can follow a verdict: of each party one for its reserved payment, or for every payment that is
/// revoked one (R-220).
fn most_answers(verdict: Option<Event>) -> u8 {
    if verdict == Some(Event::VerdictRevoked) { MOST_REVOKED } else { 2 }
}

const MOST_REVOKED: u8 = 16;
const _: () = assert!(MOST_REVOKED == 16 && limits::PACKAGE_LEAVES == 8 && MOST_REVOKED < ORDERED);

/// R-423: whether a verdict can be an order to a ledger: to void what it revokes, or what was reserved in P1 and P2, or to
/// post that.
fn gives_orders(event: Event, reason: &str) -> bool {
    event == Event::VerdictRevoked || matches!(reason, "R-403" | "R-404" | "R-405" | "R-406")
}
const VERDICTS: [Event; 4] =
    [Event::VerdictAborted, Event::VerdictAffidavit, Event::VerdictReplaced, Event::VerdictRevoked];
const HEAD_BYTES: usize = 56;
const CHAIN_BYTES: usize = 32;

/// What an exchange takes in memory, beside the tree that orders them.
const _: () = assert!(size_of::<([u8; 16], Chain)>() == CHAIN_BYTES);
