//! The party's side of modules (decision D7): who pays, signs and brings files for us, and what we take.
//!
//! ```text
//!  ClientBuilder::module ─▶ manager of payment, signature or information: modules in order of preference
//!     offer, accept ─▶ limits of both items ─▶ prepare ─▶ approval ─▶ give (signature)        before anything is signed
//!     run ──────────▶ give (payment) ─▶ watch, check                                          while it is carried out
//!     capabilities ──▶ the peer's and ours ─▶ negotiate ─▶ the same pair on both sides
//! ```
//!
//! A [`Module`] is one way to give and to take items of one kind: a purse, a key, a folder. Built in are [`LedgerPurse`],
//! [`Detached`], [`Replacement`] and [`Files`]; an application adds its own with
//! [`ClientBuilder::module`](crate::ClientBuilder::module), and tries it with `testing::conformance`. The manual is
//! `docs/modules.md`.
//!
//! Invariants
//! - R-713: what no module of ours gives or takes within its limits is neither offered nor accepted.
//! - R-714: nothing that a module gives counts before it was checked against the agreement; no call to a module is waited
//!   for without end; a module that panics has failed, and nothing else.
//! - What was agreed is carried out also if the limits have changed since.

mod capability;
mod information;
mod list;
pub(crate) mod manager;
mod negotiation;
mod payment;
mod signature;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use arbiter_protocol::exchange::item::{DetachedSignature, Information, Item};
use arbiter_protocol::exchange::kind::Unfit;
use arbiter_protocol::message::payment::{PaymentAction, PaymentTerms};
use arbiter_protocol::statement::Envelope;
use async_trait::async_trait;
use thiserror::Error;
use tokio::io::AsyncRead;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::Instrument as _;
use zeroize::Zeroizing;

use crate::ledger::LedgerError;

pub use capability::{Capability, Format, Means, Misfit, Service};
pub use information::Files;
pub use list::{Capabilities, LIST_BYTES, LIST_MODULES, ListError};
pub use negotiation::{Demand, NoCommon, Otherwise, Pair, What, check_negotiated, negotiate};
pub use payment::{LedgerPurse, payment_properties};
pub use signature::{Detached, Replacement};

/// One way to give and to take items of one kind.
///
/// What it answers is checked (R-714), so a fault of it harms only exchanges that use it. Its contract is R-715.
#[async_trait]
pub trait Module: Send + Sync {
    /// What its owner calls it, for logs and errors of ours: one line, never shown to a peer.
    fn name(&self) -> &str;

    /// What it gives and takes, and within which limits. The same for as long as it lives.
    fn capability(&self) -> Capability;

    /// Whether it can give this item, of which it is known that it is within the limits. Before anything is signed: it
    /// changes nothing, and nothing leaves. `source` is the file that the caller named, if it named one.
    async fn prepare(&self, item: &Item, source: Option<&Path>) -> Result<(), ModuleError>;

    /// Gives. The same order again has no second effect: the same content, a signature that is as good, the same payment.
    async fn give(&self, order: &Order) -> Result<Given, ModuleError>;

    /// Looks at what has arrived, which fits its description. A module that knows better says why not: then it counts as
    /// not received, and the arbiter is asked for it. Default: nothing to say.
    async fn check(&self, arrived: &Arrived) -> Result<(), Unfit> {
        let _ = arrived;
        Ok(())
    }

    /// How a payment of ours or to us stands: the rail's signed receipt. It changes nothing. Default: there is nothing to
    /// be seen.
    async fn watch(&self, terms: &PaymentTerms) -> Result<Envelope, ModuleError> {
        let _ = terms;
        Err(ModuleError::refused("NOTHING_TO_WATCH", "this module makes no payments"))
    }
}

/// What a module is to give.
#[derive(Clone, Debug)]
pub enum Order {
    /// A file, from its first byte to its last. Before anything is signed.
    Content {
        /// Which.
        described: Information,
        /// Where the caller says that it is.
        source: Option<PathBuf>,
    },
    /// A payment order of the payer, to be signed and carried out; again until there is an answer.
    Payment {
        /// Which payment.
        terms: PaymentTerms,
        /// Make it, or post all of it.
        action: PaymentAction,
    },
    /// A signature over the document. After the approval, before anything leaves.
    Signature(DetachedSignature),
}

/// What a module gives. Wiped or public: it has no `Debug` that shows a signature.
pub enum Given {
    /// The content of the file, from its first byte to its last. It is copied before anything is signed.
    Content(Box<dyn AsyncRead + Send + Unpin>),
    /// The content is in this file, and stays there until the exchange has ended.
    File(PathBuf),
    /// The rail's signed receipt.
    Receipt(Envelope),
    /// The signature.
    Signature(Zeroizing<Vec<u8>>),
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Content(_) => "Content(..)",
            Self::File(_) => "File(..)",
            Self::Receipt(_) => "Receipt(..)",
            Self::Signature(_) => "Signature(..)",
        })
    }
}

/// What has arrived from the peer: it fits its description, by the rules that the arbiter goes by as well.
#[derive(Clone, Debug)]
pub struct Arrived {
    /// What was agreed.
    pub item: Item,
    /// The exchange's terms of the payment, if it is one.
    pub terms: Option<PaymentTerms>,
    /// Where the content is.
    pub path: PathBuf,
}

/// Why a module did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ModuleError {
    /// It stopped in the middle of it: a fault of the module.
    #[error("it failed: {0}")]
    Failed(&'static str),
    /// Its ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// It says no, and will say so again.
    #[error("it refused: {reason} ({message})")]
    Refused {
        /// A stable reason, in capitals.
        reason: String,
        /// In words.
        message: String,
    },
    /// What it gave is not what was agreed: nothing was done with it.
    #[error("it gave what was not agreed: {0}")]
    Wrong(String),
    /// Out of reach, or no answer in time: the same may succeed later.
    #[error("it is out of reach: {message}")]
    Unavailable {
        /// What happened.
        message: String,
        /// When to ask again, if it said so.
        retry_after: Option<Duration>,
    },
}

impl ModuleError {
    /// A refusal.
    pub fn refused(reason: &str, message: impl Into<String>) -> Self {
        Self::Refused { reason: reason.to_owned(), message: message.into() }
    }

    /// Out of reach for now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::Unavailable { message: message.into(), retry_after: None }
    }

    /// Whether asking again is of no use: nothing changes unless somebody changes something.
    pub const fn is_final(&self) -> bool {
        match self {
            Self::Ledger(error) => error.is_final(),
            Self::Refused { .. } | Self::Wrong(_) => true,
            Self::Failed(_) | Self::Unavailable { .. } => false,
        }
    }

    /// Whether it says that nothing was done and nothing will be.
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Ledger(LedgerError::Refused { .. }))
    }

    /// When to ask again, if it said so.
    pub(crate) fn retry_after(&self) -> Duration {
        match self {
            Self::Ledger(LedgerError::Unavailable { retry_after, .. })
            | Self::Unavailable { retry_after, .. } => retry_after.unwrap_or_default(),
            _ => Duration::ZERO,
        }
    }

    /// The stable reason for programs.
    pub fn reason(&self) -> &str {
        match self {
            Self::Failed(_) => "MODULE_FAILED",
            Self::Ledger(error) => error.reason(),
            Self::Refused { reason, .. } => reason,
            Self::Unavailable { .. } => "MODULE_UNAVAILABLE",
            Self::Wrong(_) => "MODULE_GAVE_WRONG",
        }
    }
}

/// Asks a module on a task of its own, which ends with the caller: a module that hangs or panics holds nobody (R-714).
pub(crate) async fn ask<T: Send + 'static>(
    time: Duration,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, ModuleError> {
    let mut task = JoinSet::new();
    task.spawn(work.in_current_span());
    match timeout(time, task.join_next()).await {
        Ok(Some(Ok(answer))) => Ok(answer),
        Ok(_) => Err(ModuleError::Failed("it panicked")),
        Err(_) => Err(ModuleError::unavailable(format!("no answer within {} s", time.as_secs()))),
    }
}
