//! Turning to the arbiter, and believing nothing that it says.
//!
//! ```text
//!  Filing (signed request, offer, acceptance) ──ArbiterPort──▶ Receipt ──Counsel──▶ Proven | Misbehaviour
//! ```
//!
//! [`ArbiterPort`] only carries; `Counsel` asks again while the arbiter is out of reach, always with
//! the same signed request, and checks every answer: signatures, binding to the request, the rules, inclusion
//! in the log, and the log against the newest checkpoint seen.

pub(crate) mod counsel;
pub mod grpc;
mod misbehaviour;
mod reason;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use arbiter_protocol::error::Rejected;
use arbiter_protocol::ids::Digest;
use arbiter_protocol::message::agreement::{Acceptance, Offer};
use arbiter_protocol::message::request::Request;
use arbiter_protocol::role::arbiter::Escrows;
use arbiter_protocol::ruling::receipt::Receipt;
use arbiter_protocol::statement::Verified;
use arbiter_protocol::time::DurationMillis;
use async_trait::async_trait;
use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use futures_core::Stream;
use thiserror::Error;

use crate::error::Error;

pub use misbehaviour::{Misbehaviour, Offence};
pub use reason::Reason;

/// What a party files: its signed request and what it rests on.
#[derive(Clone, Debug)]
pub struct Filing {
    /// The request. Asking again sends the same bytes.
    pub request: Verified<Request>,
    /// The offer.
    pub offer: Verified<Offer>,
    /// The acceptance, unless the requester never saw one.
    pub acceptance: Option<Verified<Acceptance>>,
    /// The escrows that are to be opened: for a request to generate only, and nothing else.
    pub escrows: Escrows,
}

/// What the peer deposited, still sealed. The stream's last chunk is the content's last.
pub struct Deposit {
    /// Opens the chunks, 32 bytes.
    pub encapsulated: Vec<u8>,
    /// The sealed chunks in order.
    pub chunks: Pin<Box<dyn Stream<Item = Result<Vec<u8>, PortError>> + Send>>,
}

/// A way to the arbiter. It carries and neither checks nor repeats.
#[async_trait]
pub trait ArbiterPort: Send + Sync {
    /// `AbortExchange`.
    async fn abort(&self, filing: &Filing) -> Result<Receipt, PortError>;
    /// `GenerateItem`.
    async fn resolve(&self, filing: &Filing) -> Result<Receipt, PortError>;
    /// `GetVerdict`.
    async fn query(&self, filing: &Filing) -> Result<Receipt, PortError>;
    /// `RevokeTransfer`.
    async fn revoke(&self, filing: &Filing) -> Result<Receipt, PortError>;
    /// `VerifyTransfer` with the content of a file; of a payment the file holds the ledger's receipt.
    async fn deposit(&self, filing: &Filing, content: &Path) -> Result<Receipt, PortError>;
    /// `FetchDeposit`.
    async fn fetch(&self, filing: &Filing) -> Result<Deposit, PortError>;
    /// `GetConsistencyProof`.
    async fn consistency(&self, old_size: u64, new_size: u64) -> Result<Vec<Digest>, PortError>;
    /// The C2SP tlog-proof of the leaf in a receipt that came this way, under a checkpoint that the witnesses asked for have
    /// cosigned: verified, or there is none (R-555).
    fn proof(&self, _receipt: &Receipt) -> Option<String> {
        None
    }
}

/// Why the arbiter gave no answer that can be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PortError {
    /// The content to deposit cannot be read.
    #[error("the content cannot be read: {0}")]
    Content(String),
    /// The answer is not a receipt at all.
    #[error("the answer is malformed: {0}")]
    Malformed(Rejected),
    /// The arbiter says no.
    #[error("refused: {reason}: {message}")]
    Refused {
        /// The stable reason.
        reason: Reason,
        /// In words.
        message: String,
        /// Every value in the words.
        metadata: BTreeMap<String, String>,
    },
    /// Out of reach, overloaded or too slow: the same request may succeed later.
    #[error("the arbiter is out of reach: {message}")]
    Unavailable {
        /// What happened.
        message: String,
        /// When to ask again, if the arbiter said so.
        retry_after: Option<Duration>,
    },
}

impl From<PortError> for Error {
    fn from(error: PortError) -> Self {
        match error {
            PortError::Content(what) => Self::File { path: PathBuf::from("item to deposit"), what },
            PortError::Malformed(why) => Self::Arbiter {
                reason: Reason::Unknown("ANSWER_MALFORMED".to_owned()),
                message: why.to_string(),
                metadata: BTreeMap::new(),
            },
            PortError::Refused { reason, message, metadata } => Self::Arbiter { reason, message, metadata },
            PortError::Unavailable { message, retry_after } => {
                Self::Retry { after: retry_after.unwrap_or(Duration::from_secs(1)), what: message }
            }
        }
    }
}

/// How fast a deposit is assumed to reach the arbiter and to be durable there, 1 MiB/s: slower than any office
/// line, so that a complaint begins early enough.
pub const UPLOAD_BYTES_PER_SECOND: u64 = 1 << 20;

/// The time kept for a deposit of this size.
pub(crate) const fn upload_time(bytes: u64) -> DurationMillis {
    DurationMillis(bytes.saturating_mul(1000).div_ceil(UPLOAD_BYTES_PER_SECOND))
}

/// How long to go on asking an arbiter that is out of reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Before the second attempt; doubles from then on, with jitter.
    pub first: Duration,
    /// Never wait longer than this.
    pub longest: Duration,
    /// Give up after this time altogether; the journal keeps the place.
    pub total: Duration,
}

impl Retry {
    /// Longer and longer, without an end.
    pub(crate) fn delays(self) -> ExponentialBackoff {
        ExponentialBuilder::default()
            .with_min_delay(self.first)
            .with_max_delay(self.longest)
            .without_max_times()
            .with_jitter()
            .build()
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(100),
            longest: Duration::from_secs(10),
            total: Duration::from_secs(300),
        }
    }
}
