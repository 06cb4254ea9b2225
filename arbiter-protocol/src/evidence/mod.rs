//! Evidence that strangers can check: what is logged, how it is hashed, how it is proved.
//!
//! ```text
//!  statement ─▶ Leaf (public) ─▶ RFC 6962 tree ─▶ Checkpoint (signed note)
//!      └──▶ sealed record, committed in the leaf
//! ```
//! Formats are C2SP's (signed-note, tlog-checkpoint) and RFC 6962's; `SPEC.md` section 7.

pub mod checkpoint;
pub mod cosignature;
mod key;
pub mod leaf;
pub mod merkle;
pub mod note;
pub mod record;
mod text;
pub mod tile;
pub mod witness;
