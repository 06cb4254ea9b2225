//! Fuzz targets of the protocol: each takes any bytes. `fuzz/` looks for bytes that break one, `fuzz_corpus.rs` replays
//! those that were worth keeping.
//!
//! ```text
//!  decoders   bytes ─▶ error | value; value ─▶ the same bytes
//!  forgeries  bytes ─▶ choices of who holds keys: what is signed with them, filed, opened, sealed ─▶ oracle
//!  schedule   bytes ─▶ the choices of the simulation ─▶ its oracle
//! ```
//! A target panics if a property is broken. It returns whether the input got all the way: accepted, ruled, ended.

mod court;
mod decoders;
mod dispute;
mod escrows;
mod forged;
mod formats;
mod schedule;
mod stored;
mod verdicts;
pub mod wire;

/// Takes any bytes. True if they were accepted; panics if something is wrong with us.
pub type Target = fn(&[u8]) -> bool;

/// All targets by name; each has a folder in `fuzz/corpus`.
pub const ALL: [(&str, Target); 45] = [
    ("acceptance", decoders::acceptance),
    ("account-order", decoders::account_order),
    ("account-query", decoders::account_query),
    ("account-statement", decoders::account_statement),
    ("add-checkpoint", formats::add_checkpoint),
    ("amount", stored::amount),
    ("anchor", formats::anchor),
    ("answer", decoders::answer),
    ("attestation", decoders::attestation),
    ("case", wire::case),
    ("checkpoint", decoders::checkpoint),
    ("content", wire::content),
    ("cosigned", formats::cosigned),
    ("dispute", dispute::dispute),
    ("dispute-forged", forged::dispute_forged),
    ("entry-bundle", formats::entry_bundle),
    ("envelope", decoders::envelope),
    ("escrow", escrows::escrow),
    ("escrow-altered", escrows::altered),
    ("escrow-epoch", decoders::escrow_epoch),
    ("leaf", decoders::leaf),
    ("ledger-entry", stored::ledger_entry),
    ("note", decoders::note),
    ("offer", decoders::offer),
    ("package", stored::package),
    ("payment-order", decoders::payment_order),
    ("payment-receipt", decoders::payment_receipt),
    ("peer-message", wire::peer_message),
    ("pledge", stored::pledge),
    ("policy", formats::policy),
    ("proof", decoders::proof),
    ("receipt", wire::receipt),
    ("receipt-forged", verdicts::receipt_forged),
    ("request", decoders::request),
    ("schedule", schedule::schedule),
    ("sealed", wire::sealed),
    ("succession", decoders::succession),
    ("tile-path", formats::tile_path),
    ("time", stored::time),
    ("tlog-proof", formats::tlog_proof),
    ("transfer", decoders::transfer),
    ("verdict", decoders::verdict),
    ("verifier-key", decoders::verifier_key),
    ("walk", stored::walk),
    ("witness-answer", stored::witness_answer),
];
