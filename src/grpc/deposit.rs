//! Deposits on their way in and out: checked and sealed chunk by chunk, never a whole item in memory.
//!
//! ```text
//!  in   bytes ─▶ check against description ─▶ chunks of 64 KiB ─▶ seal to the peer ─▶ store
//!         │ any error, or the caller goes away                                  │ attested
//!         └──────────────────▶ the draft is removed                             └▶ the draft is kept
//!  out  store ─▶ encapsulated key, sealed chunk, sealed chunk, …
//! ```
//!
//! Invariants
//! - Plain bytes are held for at most one chunk and wiped; what is stored, the arbiter cannot open.
//! - Every chunk but the last has exactly [`limits::CHUNK_BYTES`] plain bytes.
//! - A [`Draft`] that no attestation names is removed, however its upload ends.
//! - These functions block: call them from worker threads only.

use arbiter_protocol::crypto::Sealer;
use arbiter_protocol::error::Invalid;
use arbiter_protocol::exchange::kind::Unfit;
use arbiter_protocol::exchange::kind::content::{ContentCheck, FitContent};
use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::limits;
use arbiter_protocol::message::agreement::Agreement;
use thiserror::Error;
use tonic::Status;
use zeroize::{Zeroize as _, Zeroizing};

use super::status;
use crate::engine::{Draft, EngineError, Handle};
use crate::store::ContentHead;

/// Why an upload ends without a deposit.
#[derive(Debug, Error)]
pub enum UploadError {
    /// The upload ended early; the depositor is at fault, or the network.
    #[error("the upload ended after {found} of {agreed} bytes")]
    Incomplete {
        /// Bytes that arrived.
        found: u64,
        /// Bytes described.
        agreed: u64,
    },
    /// A message or a key is not valid.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The system gives no randomness.
    #[error("the system gives no randomness: {0}")]
    Randomness(getrandom::Error),
    /// The store behind the engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The item is not the one described.
    #[error(transparent)]
    Unfit(#[from] Unfit),
}

impl UploadError {
    /// As a status.
    pub fn status(&self) -> Status {
        match self {
            Self::Incomplete { found, agreed } => status::incomplete(*found, *agreed),
            Self::Invalid(it) => status::invalid(it),
            Self::Randomness(error) => status::randomness(error),
            Self::Engine(it) => status::engine(it),
            Self::Unfit(it) => status::unfit(it),
        }
    }
}

/// How many plain bytes an upload has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// So many, by the description.
    Exactly(u64),
    /// Not more than these, which are less than a chunk: the receipt of a payment.
    AtMost(u64),
}

impl Size {
    const fn most(self) -> u64 {
        match self {
            Self::Exactly(size) | Self::AtMost(size) => size,
        }
    }
}

/// An upload in progress.
pub struct Upload {
    draft: Draft,
    sealer: Sealer,
    check: ContentCheck,
    size: Size,
    plain: Zeroizing<Vec<u8>>,
    chunks: u64,
}

impl Upload {
    /// Starts an upload by `depositor`, sealed to its peer. Fails before anything is read if the peer's key
    /// cannot be sealed to, or if all deposits together would take more than `most_bytes`.
    pub fn begin(
        engine: Handle,
        agreement: &Agreement,
        depositor: Role,
        check: ContentCheck,
        size: Size,
        most_bytes: u64,
    ) -> Result<Self, UploadError> {
        let mut randomness = Zeroizing::new([0; 32]);
        getrandom::fill(randomness.as_mut_slice()).map_err(UploadError::Randomness)?;
        let peer = &agreement.offer().party(depositor.peer()).sealing_key;
        let sealer = Sealer::new(peer, &agreement.seal_context(depositor), &randomness)?;
        let draft = Draft::begin(engine, size.most(), most_bytes)?;
        Ok(Self { sealer, draft, size, check, plain: Zeroizing::new(Vec::new()), chunks: 0 })
    }

    /// Takes the next bytes, at most [`limits::CHUNK_BYTES`] and not none: an upload must come to an end.
    pub fn take(&mut self, mut bytes: Vec<u8>) -> Result<(), UploadError> {
        let taken = self.take_bytes(&bytes);
        bytes.zeroize();
        taken
    }

    /// Ends the upload: the proof that it fits, and the stored draft.
    pub fn finish(mut self) -> Result<(FitContent, Draft), UploadError> {
        match (self.size, self.check.found()) {
            (Size::Exactly(agreed), found) if found < agreed => {
                return Err(UploadError::Incomplete { found, agreed });
            }
            (Size::Exactly(_), _) => {}
            // The caller's end is the end: at most one chunk, still in the buffer.
            (Size::AtMost(_), _) => self.put(true)?,
        }
        let fit = self.check.finish()?;
        let head = ContentHead { encapsulated: *self.sealer.encapsulated(), chunks: self.chunks };
        self.draft.finish(&head)?;
        Ok((fit, self.draft))
    }

    /// How far the upload is: bytes found and agreed.
    pub fn progress(&self) -> (u64, u64) {
        (self.check.found(), self.size.most())
    }

    fn take_bytes(&mut self, mut rest: &[u8]) -> Result<(), UploadError> {
        if rest.is_empty() {
            return Err(Invalid::FieldLength { field: "chunk" }.into());
        }
        if rest.len() > limits::CHUNK_BYTES {
            return Err(Invalid::TooLarge { what: "chunk", maximum: limits::CHUNK_BYTES }.into());
        }
        self.check.update(rest)?;
        while !rest.is_empty() {
            let room = limits::CHUNK_BYTES.saturating_sub(self.plain.len());
            let (now, later) = rest.split_at(room.min(rest.len()));
            // Grown once to a whole chunk: a buffer that moves would leave plain bytes behind.
            self.plain.reserve_exact(room);
            self.plain.extend_from_slice(now);
            rest = later;
            let last = rest.is_empty() && self.size == Size::Exactly(self.check.found());
            if last || self.plain.len() == limits::CHUNK_BYTES {
                self.put(last)?;
            }
        }
        Ok(())
    }

    fn put(&mut self, last: bool) -> Result<(), UploadError> {
        let sealed = self.sealer.seal(&self.plain, last)?;
        self.plain.as_mut_slice().zeroize();
        self.plain.truncate(0);
        self.draft.put(self.chunks, &sealed)?;
        self.chunks = self.chunks.saturating_add(1);
        Ok(())
    }
}
