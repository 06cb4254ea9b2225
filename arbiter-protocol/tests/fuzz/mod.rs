//! Fuzz targets of the protocol: each takes any bytes. `fuzz/` looks for bytes that break one, `fuzz_corpus.rs` replays
//! those that were worth keeping.
//!
//! ```text
//!  decoders   bytes ─▶ error | value; value ─▶ the same bytes
//!  forgeries  bytes ─▶ choices of who holds keys: what is signed with them, filed, opened, sealed ─▶ oracle
//!  schedule   bytes ─▶ the choices of the simulation ─▶ its oracle
//! ```
//! A target panics if a property is broken. It returns whether the input got all the way: accepted, ruled, ended.

mod decoders;
mod dispute;
mod escrows;
mod formats;
mod schedule;
mod verdicts;
pub mod wire;

/// Takes any bytes. True if they were accepted; panics if something is wrong with us.
pub type Target = fn(&[u8]) -> bool;

/// All targets by name; each has a folder in `fuzz/corpus`.
pub const ALL: [(&str, Target); 31] = [
    ("acceptance", decoders::acceptance),
    ("add-checkpoint", formats::add_checkpoint),
    ("anchor", formats::anchor),
    ("answer", decoders::answer),
    ("attestation", decoders::attestation),
    ("case", wire::case),
    ("checkpoint", decoders::checkpoint),
    ("content", wire::content),
    ("cosigned", formats::cosigned),
    ("dispute", dispute::dispute),
    ("entry-bundle", formats::entry_bundle),
    ("envelope", decoders::envelope),
    ("escrow", escrows::escrow),
    ("escrow-altered", escrows::altered),
    ("escrow-epoch", decoders::escrow_epoch),
    ("leaf", decoders::leaf),
    ("note", decoders::note),
    ("offer", decoders::offer),
    ("peer-message", wire::peer_message),
    ("policy", formats::policy),
    ("proof", decoders::proof),
    ("receipt", wire::receipt),
    ("receipt-forged", verdicts::receipt_forged),
    ("request", decoders::request),
    ("schedule", schedule::schedule),
    ("sealed", wire::sealed),
    ("tile-path", formats::tile_path),
    ("tlog-proof", formats::tlog_proof),
    ("transfer", decoders::transfer),
    ("verdict", decoders::verdict),
    ("verifier-key", decoders::verifier_key),
];
