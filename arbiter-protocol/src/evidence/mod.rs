//! Evidence that strangers can check: what is logged, how it is hashed, how it is proved.
//!
//! ```text
//!  statement ─▶ leaf (public) ─▶ merkle tree ─▶ checkpoint (a note) ─▶ cosignature of a witness
//!      │                            └─▶ tile                                │
//!      └──▶ sealed record, committed in the leaf        tlog_proof ◀────────┘ policy: who is enough
//! ```
//! Formats are C2SP's and RFC 6962's, pinned and each read in one form only; `SPEC.md` sections 7 and 7.1.
//!
//! | file | what it is |
//! | --- | --- |
//! | [`leaf`] | what our log says in public, and the commitment to what it does not say |
//! | [`merkle`] | hashes, frontier, inclusion and consistency proofs |
//! | [`tile`] | how hashes and leaves are cut into immutable files, and proofs read from these |
//! | [`note`] | signed texts and the keys that sign them |
//! | [`checkpoint`] | size and root of a log, as a note |
//! | [`cosignature`] | what witnesses sign about a checkpoint, Ed25519 and ML-DSA-44 |
//! | [`witness`] | the request to a witness, its decision, its answer |
//! | [`policy`] | logs, witnesses and quorum that a verifier trusts |
//! | [`anchor`] | a time-stamp of somebody else over a checkpoint |
//! | [`tlog_proof`] | leaf index, inclusion proof and checkpoint in one text file |

pub mod anchor;
pub mod checkpoint;
pub mod cosignature;
mod key;
pub mod leaf;
pub mod merkle;
pub mod note;
pub mod policy;
pub mod record;
mod text;
pub mod tile;
pub mod tlog_proof;
pub mod witness;
