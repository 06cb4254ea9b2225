//! Errors by what to do next.
//!
//! | error | whose fault | what to do |
//! | --- | --- | --- |
//! | `Retry` | nobody's: something is out of reach | run the same call again after `after` |
//! | `Peer` | the peer | nothing was signed; talk to the peer, or do not |
//! | `Arbiter` | the request | read `reason`; asking the same again gives the same |
//! | `Misbehaviour` | the arbiter | keep the proof, it is in the journal; use another arbiter |
//! | `Store`, `File` | this computer | repair it, then `resume`: nothing is lost |
//! | `Module` | a module of ours | repair it, or use another; nothing of it was used |
//! | `Usage` | the caller | correct the call |
//! | `Bug` | this software | report it |

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use arbiter_protocol::error::{Invalid, Refused, Rejected};
use arbiter_protocol::exchange::selection::Unfair;
use arbiter_protocol::ids::{ExchangeId, PublicKey};
use arbiter_protocol::message::agreement::Offer;
use arbiter_protocol::time::UnixMillis;
use thiserror::Error;

use crate::arbiter::{Misbehaviour, Reason};
use crate::module::{Misfit, ModuleError, Service};

/// Why a call did not succeed, sorted by what to do next.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The arbiter or a ledger is out of reach. The journal keeps the place: call `resume`.
    #[error("{what}; try again in {} s", after.as_secs().max(1))]
    Retry {
        /// Wait at least this long.
        after: Duration,
        /// What is out of reach.
        what: String,
    },
    /// The peer's offer or statement cannot be used. Nothing of ours was signed because of it.
    #[error("the peer is at fault: {0}")]
    Peer(#[from] PeerFault),
    /// The arbiter refused a request, by a rule or because the request is malformed.
    #[error("the arbiter refused: {reason} ({message})")]
    Arbiter {
        /// The stable reason.
        reason: Reason,
        /// The arbiter's words.
        message: String,
        /// Every value in the words, by name.
        metadata: BTreeMap<String, String>,
    },
    /// The arbiter said what an honest arbiter never says. The proof is in the journal.
    #[error("the arbiter misbehaves: {0}")]
    Misbehaviour(Box<Misbehaviour>),
    /// The journal cannot be read or written. Nothing was sent that is not in it.
    #[error("journal: {0}")]
    Store(#[from] StoreError),
    /// A file cannot be read or written, or is not what was agreed.
    #[error("file {path}: {what}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A module of ours failed, or gave what was not agreed: nothing of it was used.
    #[error("module {module}: {error}")]
    Module {
        /// What its owner calls it.
        module: String,
        /// What happened.
        error: ModuleError,
    },
    /// The call makes no sense here.
    #[error(transparent)]
    Usage(#[from] Usage),
    /// A fault of this software.
    #[error("fault in this software, please report: {0}")]
    Bug(&'static str),
}

impl Error {
    /// Whether the same call can succeed later without anybody changing anything.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Retry { .. })
    }

    pub(crate) fn file(path: &std::path::Path, what: impl ToString) -> Self {
        Self::File { path: path.to_owned(), what: what.to_string() }
    }
}

/// What is wrong with what the peer sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PeerFault {
    /// The connection ended before there was an offer.
    #[error("the connection ended before an offer came")]
    NoOffer,
    /// The offer names another arbiter than the one pinned here.
    #[error("the offer names an arbiter that is not the one pinned here")]
    OtherArbiter,
    /// The offer is not for us.
    #[error("the offer is for somebody else")]
    NotForUs,
    /// A statement is malformed, wrongly signed or against a rule.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// Too little time is left before the complaint deadline.
    #[error("too little time is left before the complaint deadline in the offer")]
    TooLate,
    /// Too little time is left before the end of the escrow key.
    #[error(
        "the arbiter's escrow key that the offer names ends too soon: afterwards the arbiter could not open anything; ask \
         for an offer under its newest key"
    )]
    EscrowEndsTooSoon,
    /// The offer's payments cannot be carried out here.
    #[error(transparent)]
    Money(#[from] MoneyFault),
    /// No module of ours gives or takes what the offer is about.
    #[error(transparent)]
    Module(#[from] ModuleFault),
    /// The nonce of the peer's signature was used for another message (S29).
    #[error(
        "the peer's signature uses a nonce that the same key has used for another message: who has both signatures knows \
         the peer's key, so neither proves anything"
    )]
    NonceReused,
}

impl PeerFault {
    /// Too little time is left, and why.
    pub(crate) fn too_late(offer: &Offer) -> Self {
        if offer.complain_by.is_some() { Self::TooLate } else { Self::EscrowEndsTooSoon }
    }

    /// The stable reason for programs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::EscrowEndsTooSoon => "ESCROW_ENDS_TOO_SOON",
            Self::Module(fault) => fault.reason(),
            Self::Money(fault) => fault.reason(),
            Self::NoOffer => "NO_OFFER",
            Self::NonceReused => "SIGNATURE_NONCE_REUSED",
            Self::NotForUs => "NOT_FOR_US",
            Self::OtherArbiter => "OTHER_ARBITER",
            Self::Rejected(rejected) => rejected.reason(),
            Self::TooLate => "TOO_LATE",
        }
    }
}

impl From<Invalid> for PeerFault {
    fn from(invalid: Invalid) -> Self {
        Self::Rejected(invalid.into())
    }
}

impl From<Refused> for PeerFault {
    fn from(refused: Refused) -> Self {
        Self::Rejected(refused.into())
    }
}

/// How the caller misused the client.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Usage {
    /// The approver said no. Nothing was signed.
    #[error("not approved; nothing was signed")]
    NotApproved,
    /// The builder lacks a part.
    #[error("the client needs {0}")]
    Missing(&'static str),
    /// The URL of the arbiter or a peer cannot be used.
    #[error("the URL cannot be used: {0}")]
    Url(String),
    /// The items allow no fair exchange.
    #[error("these items cannot be exchanged fairly: {0}")]
    Unfair(#[from] Unfair),
    /// The terms break a rule for offers.
    #[error("these terms break a rule: {0}")]
    Terms(Refused),
    /// A field of the terms is too long or holds what is not allowed.
    #[error("these terms cannot be signed: {0}")]
    Field(Invalid),
    /// The item to give is a file, and no file was named; or the other way round.
    #[error("{0}")]
    Content(&'static str),
    /// Our file would leave first, and the arbiter takes no deposit of its size: we could not complain.
    #[error(
        "the file has {size} bytes and the arbiter takes deposits of at most {limit}: without a deposit a peer that \
         keeps what it owes could not be complained about; use a smaller file, or an arbiter that takes more"
    )]
    TooLargeToComplain {
        /// Size of the file.
        size: u64,
        /// What the arbiter takes.
        limit: u64,
    },
    /// Our file would leave first, and its upload with a complaint would not be done in time.
    #[error("the complaint deadline is too close: to give this file takes at least {0} s until then")]
    DeadlineTooClose(u64),
    /// The first item would leave, and the escrow key ends before a complaint could be sure.
    #[error(
        "the arbiter's escrow key that is pinned here ends too soon: at least {0} s must be left; pin its newest key"
    )]
    EscrowEndsTooSoon(u64),
    /// The escrow key is signed by somebody else.
    #[error("the escrow key is not signed by the pinned arbiter")]
    EscrowKeyOfOther,
    /// An item is a detached signature, and there is no key to put it into escrow for.
    #[error(
        "an item is a detached signature, and no escrow key of the arbiter is pinned here: ask the arbiter for its newest \
         one (GetArbiterInfo) and give it with the pin"
    )]
    NoEscrowKey,
    /// Our signature uses a nonce that its key has used before (S29).
    #[error(
        "this signature uses a nonce that its key has used for another message: with both anybody could compute the key; \
         nothing was escrowed; repair the signing tool and do not use the key any more"
    )]
    NonceReused,
    /// Our item is a detached signature by a key that this client does not have.
    #[error(
        "the item to give is a detached signature by another key than this identity's: sign its document with that key and \
         give the finished signature"
    )]
    SignatureNeeded,
    /// A finished signature is not what the item says.
    #[error(
        "the signature given is not one by the item's key, in the item's algorithm, over the item's document: nothing was \
         done with it"
    )]
    SignatureUnfit,
    /// No module of ours gives or takes what these terms are about.
    #[error(transparent)]
    Module(#[from] ModuleFault),
    /// The payments of these terms cannot be carried out here.
    #[error(transparent)]
    Money(#[from] MoneyFault),
    /// The identity is none of the two in the bundle.
    #[error("this identity is no party of the exchange in the bundle")]
    NotAParty,
    /// A bundle without an acceptance: it does not say whether ours left afterwards.
    #[error("the bundle holds no acceptance: there is nothing yet to complain about")]
    NotAgreed,
    /// The peer's signature is in the bundle.
    #[error("the bundle holds what the peer owes: there is nothing to complain about")]
    Served,
    /// Nothing was to be given in return.
    #[error("the bundle is of an item that was given for nothing: there is nothing to complain about")]
    Given,
    /// A receipt in the bundle does not verify.
    #[error("a receipt in the bundle does not verify")]
    BadBundle,
    /// There is no such exchange in the journal.
    #[error("no exchange {0} in the journal")]
    UnknownExchange(ExchangeId),
    /// The exchange is being carried out by another call of this client.
    #[error("exchange {0} is being carried out by another call")]
    Busy(ExchangeId),
    /// The offer was accepted before, with another acceptance.
    #[error("exchange {0} is in the journal already; use resume")]
    Known(ExchangeId),
}

/// Why the payments of an offer cannot be carried out.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MoneyFault {
    /// The arbiter does not reach the ledger: it could not undo the payment.
    #[error("the arbiter does not reach ledger {0}: it could undo no payment there")]
    ArbiterCannotReach(PublicKey),
    /// The arbiter reaches the ledger, and what stands before that rail cannot do what its verdict might order.
    #[error(
        "the arbiter cannot end such a hold on ledger {0}: verdicts about the money could not be carried out there; choose \
         another purse or protocol, or run `fairx pin refresh` if its operator says that it can now"
    )]
    ArbiterCannotEnd(PublicKey),
    /// The hold ends so soon after the last decision that the arbiter could not reach the ledger in time (R5).
    #[error(
        "the money is held until {until}, and the arbiter decides until {decide_by}: its orders need {allowance_ms} ms more \
         to reach the ledger; ask for a longer hold"
    )]
    HoldTooShort {
        /// The end of the hold.
        until: UnixMillis,
        /// The last decision.
        decide_by: UnixMillis,
        /// What the arbiter asks for, in milliseconds.
        allowance_ms: u64,
    },
    /// We would be paid into an account that is not ours.
    #[error("the money would go to account {0}, which is in no purse of ours")]
    NotOurAccount(PublicKey),
    /// We would pay from an account that is not ours.
    #[error("the money would come from account {0}, which is in no purse of ours")]
    NotOurPurse(PublicKey),
    /// The ledger does not set the money aside. Nothing was said to the peer: correct what it names and run again.
    #[error("the money is not reserved, and nothing was said to the peer: {0}")]
    NotReserved(crate::module::ModuleError),
    /// No way to the ledger is known.
    #[error("no way to ledger {0} is known here: nothing could be paid or seen there")]
    UnknownLedger(PublicKey),
}

impl MoneyFault {
    /// The stable reason for programs.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::ArbiterCannotEnd(_) => "HOLD_NOT_ENDED_BY_ARBITER",
            Self::ArbiterCannotReach(_) => "LEDGER_OUT_OF_ARBITERS_REACH",
            Self::HoldTooShort { .. } => "HOLD_TOO_SHORT",
            Self::NotOurAccount(_) => "ACCOUNT_NOT_OURS",
            Self::NotOurPurse(_) => "PURSE_NOT_OURS",
            Self::NotReserved(_) => "NOT_RESERVED",
            Self::UnknownLedger(_) => "LEDGER_UNKNOWN",
        }
    }
}

/// No module gives an item, or takes one, within its limits. Nothing was signed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("no module here {} this {service}{}", if *.gives { "gives" } else { "takes" }, told(.why))]
pub struct ModuleFault {
    /// The kind of item.
    pub service: Service,
    /// Whether we would give it; otherwise we would take it.
    pub gives: bool,
    /// Each module with the reason why not, the ones first that come closest.
    pub why: Vec<(String, Misfit)>,
}

fn told(why: &[(String, Misfit)]) -> String {
    let all: Vec<_> = why.iter().map(|(name, misfit)| format!("{name}: {misfit}")).collect();
    if all.is_empty() { String::new() } else { format!(": {}", all.join("; ")) }
}

impl ModuleFault {
    /// The stable reason for programs: that of the module that comes closest.
    pub fn reason(&self) -> &'static str {
        self.why.first().map_or("NO_MODULE", |(_, misfit)| misfit.reason())
    }
}

/// The journal's fault.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has it open.
    #[error("{0} is in use by another process")]
    InUse(PathBuf),
    /// The disk or the database.
    #[error("{0}")]
    Io(String),
    /// An entry is not what this software writes: another version, or damage.
    #[error("entry {0} is damaged or of a newer version")]
    Damaged(String),
}
