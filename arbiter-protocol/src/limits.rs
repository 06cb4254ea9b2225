//! Every maximum in one place. All sizes in bytes.
//!
//! A limit is part of the protocol: two programs that disagree on one disagree on what is valid.

use crate::time::DurationMillis;

/// Largest payload of a statement.
pub const STATEMENT_BYTES: usize = 32 * 1024;
/// Largest encoded envelope: a payload, its type, one key and one signature.
pub const ENVELOPE_BYTES: usize = STATEMENT_BYTES + 512;
/// Longest payload type.
pub const PAYLOAD_TYPE_BYTES: usize = 96;
/// Longest name of a party or file.
pub const NAME_BYTES: usize = 200;
/// Longest media type (RFC 6838 allows 127 + 1 + 127).
pub const MEDIA_TYPE_BYTES: usize = 255;
/// Longest title of a statement to sign.
pub const TITLE_BYTES: usize = 200;
/// Longest text of a statement to sign.
pub const TEXT_BYTES: usize = 8 * 1024;
/// Longest X.509 certificate beside a signature key.
pub const CERTIFICATE_BYTES: usize = 4 * 1024;
/// Longest modulus of an RSA key: 8192 bits. A signature is as long.
pub const MODULUS_BYTES: usize = 1024;
/// Largest escrow: 8192-bit RSA in the suite with the most hidden instances, and its nodes. Of a package all escrows
/// together, each after its length.
pub const ESCROW_BYTES: usize = 72 * 1024;
/// Longest log origin (it is also the key name in signed notes).
pub const ORIGIN_BYTES: usize = 128;
/// Largest file that can be exchanged: 1 TiB.
pub const ITEM_BYTES: u64 = 1 << 40;
/// Plain bytes in one chunk of a file; only the last chunk may be shorter.
pub const CHUNK_BYTES: usize = 64 * 1024;
/// Sealed bytes in one chunk: the plain bytes and the 16-byte tag.
pub const SEALED_CHUNK_BYTES: usize = CHUNK_BYTES + 16;
/// Longest code of a currency.
pub const CURRENCY_BYTES: usize = 12;
/// Most digits after the decimal point of a currency.
pub const CURRENCY_SCALE: u8 = 18;
/// Largest amount, 2^53 units: exact in every JSON reader, and sums of a million of them fit 128 bits easily.
pub const AMOUNT_UNITS: u64 = 1 << 53;
/// Most units of one currency that a ledger issues, 2^62: every balance fits 64 bits, with its sign.
pub const CIRCULATION_UNITS: u64 = 1 << 62;
/// How far the time of an account query may be from the ledger's clock.
pub const QUERY_FRESH: DurationMillis = DurationMillis(5 * 60 * 1000);
/// How long after the last decision of the arbiter a hold must last at least. An arbiter asks for more (`hold_allowance`).
pub const HOLD_MARGIN: DurationMillis = DurationMillis(1000);
/// Items of a package in all, nested ones included.
pub const PACKAGE_LEAVES: usize = 8;
/// Packages in one another: a package of packages of packages.
pub const PACKAGE_LEVELS: usize = 3;
/// Longest description of a package: a verdict holds those of both items, and fits a statement.
pub const PACKAGE_BYTES: usize = 14_336;
/// The length before each leaf in the content of a package.
pub const FRAME_BYTES: usize = 8;
/// Properties one item can offer.
pub const PROPERTIES: usize = 8;
/// Hashes of evidence in one verdict; envelopes of evidence in one receipt.
pub const EVIDENCE_HASHES: usize = 6;
/// Hashes in an inclusion or consistency proof: a tree of 2^64 leaves needs no more.
pub const PROOF_HASHES: usize = 64;
/// Fields that a sealed record can have.
pub const RECORD_FIELDS: usize = 11;
/// Largest leaf of the log: well below the 65,535 of tlog-tiles.
pub const LEAF_BYTES: usize = 1024;
/// Hashes or leaves in a full tile (tlog-tiles).
pub const TILE_WIDTH: u16 = 256;
/// Hashes in a consistency proof for a witness (tlog-witness).
pub const WITNESS_PROOF_HASHES: usize = 63;
/// Longest request to a witness, and answer: the proof and a note of [`NOTE_SIGNATURES`] ML-DSA signatures.
pub const ADD_CHECKPOINT_BYTES: usize = 64 * 1024;
/// Longest tlog-proof: extra data, hashes, and a note of [`NOTE_SIGNATURES`] ML-DSA signatures.
pub const TLOG_PROOF_BYTES: usize = 128 * 1024;
/// Largest RFC 3161 time-stamp token: some certificates and two signatures.
pub const TIMESTAMP_BYTES: usize = 16 * 1024;
/// Longest anchor: a token, and a note of [`NOTE_SIGNATURES`] ML-DSA signatures.
pub const ANCHOR_BYTES: usize = 96 * 1024;
/// Most extra data in a tlog-proof.
pub const PROOF_EXTRA_BYTES: usize = 32 * 1024;
/// Logs, witnesses and groups of a policy, each: tlog-policy asks for 32.
pub const POLICY_ENTRIES: usize = 64;
/// Longest policy: every log and witness with an ML-DSA key and a long URL.
pub const POLICY_BYTES: usize = 512 * 1024;
/// Longest text of a signed note; a checkpoint has less than 200 bytes.
pub const NOTE_TEXT_BYTES: usize = 4096;
/// Signatures on one note: the number that signed-note asks every verifier to accept.
pub const NOTE_SIGNATURES: usize = 16;
/// Longest key name in a note: tlog-cosignature gives its length one byte.
pub const NOTE_KEY_NAME_BYTES: usize = 255;
/// Latest time a statement may name, 2^53 ms (year 287396): exact in every JSON reader.
pub const TIME_MILLIS: u64 = 1 << 53;

const _: () = assert!(
    2 * (TEXT_BYTES + TITLE_BYTES + 2 * NAME_BYTES + MEDIA_TYPE_BYTES + CERTIFICATE_BYTES + MODULUS_BYTES)
        + 2048
        < STATEMENT_BYTES
);
const _: () = assert!(2 * PACKAGE_BYTES + 2048 < STATEMENT_BYTES);
const _: () = assert!(STATEMENT_BYTES < ENVELOPE_BYTES);
