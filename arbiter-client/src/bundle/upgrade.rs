//! Adds a newer, cosigned checkpoint to the receipts of a bundle, from the log's own tiles (R-565), and the time-stamp that the log
//! had for it, if there is one (R-546).
//!
//! ```text
//!  checkpoint (signed by the log) ─┐
//!  tiles ── hashes ────────────────┴─▶ inclusion proof of each leaf, checked ─▶ tlog_proof
//! ```
//!
//! Invariants
//! - Only proofs that verify get into the bundle; the server is believed nothing.
//! - What is there is replaced only by what has as many signatures, and never if a time-stamp rests on it.

use arbiter_protocol::error::Invalid;
use arbiter_protocol::evidence::anchor::Anchor;
use arbiter_protocol::evidence::checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint};
use arbiter_protocol::evidence::leaf::{Event, Leaf};
use arbiter_protocol::evidence::merkle::{self, ProofError};
use arbiter_protocol::evidence::note::{NoteError, VerifierKey};
use arbiter_protocol::evidence::tile::{self, ReadError, TileKind, TilePath, TileReader};
use arbiter_protocol::evidence::tlog_proof::{TlogProof, TlogProofError};
use arbiter_protocol::ids::LeafIndex;
use arbiter_protocol::limits;
use arbiter_protocol::message::agreement::Offer;
use arbiter_protocol::statement::Signed;
use thiserror::Error;

use super::{Bundle, BundledReceipt, TIMESTAMPS};
use crate::timestamp::Token;

/// What became of one receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgrade {
    /// A proof was added, or put in the place of an older one: the size of its tree, and the signatures on its checkpoint beside
    /// the log's.
    Added {
        /// Leaves.
        size: u64,
        /// Signatures, checked by nobody here.
        cosignatures: usize,
    },
    /// The proof that is there has more signatures.
    Kept,
    /// A time-stamp rests on the proof that is there.
    Stamped,
}

/// Why no proof could be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UpgradeError<E> {
    /// The bundle does not parse so far: verify it.
    #[error("the bundle cannot be read so far: {0}; `fairx verify` says more")]
    Bundle(#[from] Invalid),
    /// The log's checkpoint is not one, or not of this log.
    #[error("the checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The log's key.
    #[error("the log's key in the bundle: {0}")]
    Key(#[from] NoteError),
    /// The published checkpoint is from before the ruling. Try again later.
    #[error("the published checkpoint has {size} leaves: it does not cover leaf {leaf} yet; try again later")]
    TooEarly {
        /// Leaves of the published tree.
        size: u64,
        /// The leaf.
        leaf: u64,
    },
    /// A tile could not be had, or is none.
    #[error(transparent)]
    Tiles(ReadError<E>),
    /// The tiles do not lead from the leaf to the root that the log signed: the server, or the log, is at fault.
    #[error("the tiles do not prove that the leaf is in the log: {0}")]
    Unproven(#[from] ProofError),
    /// The proof does not fit its limits.
    #[error(transparent)]
    Proof(#[from] TlogProofError),
}

/// Adds or renews the tlog-proof of every receipt. `note` is the log's published checkpoint; `fetch` returns exactly the
/// bytes of a tile. What became of each receipt is told in their order.
pub fn upgrade<E>(
    bundle: &mut Bundle,
    note: &str,
    mut fetch: impl FnMut(TilePath) -> Result<Vec<u8>, E>,
) -> Result<Vec<Upgrade>, UpgradeError<E>> {
    let arbiter = Signed::<Offer>::parse(bundle.offer.clone())?.unverified().arbiter.clone();
    let key = VerifierKey::new(arbiter.log_origin.as_str(), arbiter.log_key)?;
    let published = SignedCheckpoint::verify(note, &key)?;
    let mut told = Vec::new();
    let mut receipts = bundle.receipts.clone();
    for receipt in &mut receipts {
        told.push(one(receipt, &published, &key, &mut fetch)?);
    }
    bundle.receipts = receipts;
    Ok(told)
}

/// The same under the checkpoint of an anchor, whose token goes into every receipt that has its proof there (R-546). Who signed the
/// token is checked by who verifies the bundle.
pub fn anchored<E>(
    bundle: &mut Bundle,
    anchor: &Anchor,
    fetch: impl FnMut(TilePath) -> Result<Vec<u8>, E>,
) -> Result<Vec<Upgrade>, UpgradeError<E>> {
    let told = upgrade(bundle, &anchor.note().to_string(), fetch)?;
    for (receipt, told) in bundle.receipts.iter_mut().zip(&told) {
        let token = anchor.token().to_vec();
        let fits = matches!(told, Upgrade::Added { .. }) && receipt.timestamps.len() < TIMESTAMPS;
        if fits && !receipt.timestamps.contains(&token) {
            receipt.timestamps.push(token);
        }
    }
    Ok(told)
}

/// Looks for the first time-stamp that the log had after a leaf, among the next 16,384: `entries` returns the bytes of a bundle of
/// leaves, `anchor` what is kept for a leaf `anchor`, if it is. Nothing of it is verified.
pub fn find_anchor<E>(
    after: LeafIndex,
    size: u64,
    mut entries: impl FnMut(TilePath) -> Result<Vec<u8>, E>,
    mut anchor: impl FnMut(LeafIndex) -> Result<Option<Anchor>, E>,
) -> Result<Option<Anchor>, E> {
    let width = u64::from(limits::TILE_WIDTH);
    let first = after.0 / width;
    for bundle in first..first.saturating_add(LOOKED_AT) {
        let Some(path) = TilePath::at(TileKind::Entries, bundle, size) else { break };
        let bytes = entries(path)?;
        let Ok(leaves) = tile::entries(&path, &bytes) else { break };
        let leaves = leaves.into_iter().filter_map(|leaf| Leaf::decode(leaf).ok());
        for leaf in leaves.filter(|it| it.event == Event::Anchor && it.index > after) {
            let Some(found) = anchor(leaf.index)? else { continue };
            let covers = Checkpoint::parse(found.note().text()).is_ok_and(|it| it.size > after.0);
            if covers && found.digest() == leaf.token {
                return Ok(Some(found));
            }
        }
    }
    Ok(None)
}

/// Bundles of leaves that are looked at for a time-stamp.
const LOOKED_AT: u64 = 64;

fn one<E>(
    receipt: &mut BundledReceipt,
    published: &SignedCheckpoint,
    key: &VerifierKey,
    fetch: impl FnMut(TilePath) -> Result<Vec<u8>, E>,
) -> Result<Upgrade, UpgradeError<E>> {
    let leaf = Leaf::decode(&receipt.leaf)?;
    let own = SignedCheckpoint::verify(&receipt.checkpoint, key)?;
    let (size, root) = (published.checkpoint().size, published.checkpoint().root);
    if size < own.checkpoint().size || size <= leaf.index.0 {
        return Err(UpgradeError::TooEarly { size, leaf: leaf.index.0 });
    }
    let mut checkpoint = published.clone();
    if let Some(there) = receipt.tlog_proof.as_deref().and_then(|text| TlogProof::parse(text).ok()) {
        let text = there.note().text();
        if text == published.note().text() {
            checkpoint = published.with_lines(there.note().signatures())?;
        } else if is_stamped(receipt, text, own.note().text()) {
            return Ok(Upgrade::Stamped);
        } else if there.note().signatures().len() > published.note().signatures().len() {
            return Ok(Upgrade::Kept);
        }
    }
    let mut tiles = TileReader::new(size, fetch);
    let path =
        merkle::inclusion_proof(leaf.index.0, size, |id| tiles.node(id)).map_err(UpgradeError::Tiles)?;
    merkle::verify_inclusion(&merkle::leaf_hash(&receipt.leaf), leaf.index.0, size, &path, &root)?;
    let cosignatures = checkpoint.note().signatures().len().saturating_sub(1);
    receipt.tlog_proof = Some(TlogProof::new(leaf.index, path, &checkpoint, None)?.to_string());
    Ok(Upgrade::Added { size, cosignatures })
}

/// Whether a time-stamp is over this text and not over the receipt's own checkpoint.
fn is_stamped(receipt: &BundledReceipt, text: &str, own: &str) -> bool {
    let tokens = receipt.timestamps.iter().filter_map(|der| Token::parse(der).ok());
    tokens.into_iter().any(|token| token.is_over(text.as_bytes()) && !token.is_over(own.as_bytes()))
}
