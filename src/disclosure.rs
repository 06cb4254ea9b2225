//! What an operator hands to an auditor or a court: the whole record of an exchange, or single fields of it.
//!
//! ```text
//!  Record ─┬─ Receipts, signed as for the parties ──▶ evidence bundle (.fxe): `fairx verify` decides the case again
//!          └─ Openings of named fields (R-532) ─────▶ one JSON object with the leaf
//! ```
//! The bundle has the form that parties write: JSON, statements as base64 of their exact envelopes. What only the parties
//! have, transfers and what was handed over, is not in it.

use arbiter_protocol::evidence::record::Opening;
use arbiter_protocol::exchange::kind::package;
use arbiter_protocol::exchange::selection::ByRole;
use arbiter_protocol::message::verdict::{Ruling, Verdict};
use arbiter_protocol::role::arbiter::Escrows;
use arbiter_protocol::ruling::receipt::Receipt;
use arbiter_protocol::ruling::sequencer::{LedgerAnswer, Record};
use arbiter_protocol::statement::Envelope;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// The media type of a bundle, also its `format` field.
pub const BUNDLE_TYPE: &str = "application/vnd.arbiter.evidence-bundle.v1+json";
/// The media type of openings, also their `format` field.
pub const OPENINGS_TYPE: &str = "application/vnd.arbiter.openings.v1+json";
/// Receipts in one bundle: an attestation and a verdict. A verdict carries the attestations that it rests on itself.
const RECEIPTS: usize = 2;
const NOTE: &str = "The summary is not authenticated. Only `fairx verify` says what this file proves.";

/// The evidence bundle of an exchange, from what the arbiter has: `receipts` are those of [`Record`], in its order. `None` if
/// nothing was ever stated about it.
pub fn bundle(record: &Record, receipts: &[Receipt]) -> Option<Vec<u8>> {
    let attested = record.attestations.iter().find_map(|(_, it)| it.as_ref().map(|it| &it.offer));
    let offer = record.verdict.as_ref().map(|it| &it.offer).or(attested)?;
    let acceptance = receipts.iter().rev().find_map(|it| it.evidence.acceptance.as_ref());
    let attestations = receipts.iter().filter(|it| !it.statement.holds::<Verdict>());
    let verdict = receipts.iter().filter(|it| it.statement.holds::<Verdict>());
    let receipts: Vec<_> =
        attestations.take(RECEIPTS.saturating_sub(1)).chain(verdict).map(receipt).collect();
    let encoded = |answers: &[LedgerAnswer]| answers.iter().map(|it| it.receipt.encode()).collect::<Vec<_>>();
    let joined = |answers: &Vec<LedgerAnswer>| STANDARD.encode(package::joined(&encoded(answers)));
    let answers = record.answers.map(|_, it| (!it.is_empty()).then(|| joined(it)));
    let mut file = Map::new();
    let mut put = |name: &str, value: Value| file.insert(name.to_owned(), value);
    put("format", json!(BUNDLE_TYPE));
    put("note", json!(NOTE));
    put("outcome", json!(outcome(record)));
    put("summary", json!(["Handed over by the arbiter."]));
    put("offer", json!(text(offer)));
    if let Some(acceptance) = acceptance {
        put("acceptance", json!(text(acceptance)));
    }
    put("transfers", json!({}));
    if answers != ByRole::default() {
        put("payments", json!(Pair::of(answers)));
    }
    put("receipts", json!(receipts));
    Some(printed(&Value::Object(file)))
}

/// The opened fields of one leaf.
pub fn openings(leaf: &[u8], openings: &[Opening]) -> Value {
    let opened = openings.iter().map(|it| {
        json!({
            "field": it.name,
            "index": it.index,
            "fields": it.fields,
            "salt": hex::encode(it.salt),
            "value": STANDARD.encode(&it.value),
            "path": it.path.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    });
    json!({
        "format": OPENINGS_TYPE,
        "leaf": String::from_utf8_lossy(leaf),
        "openings": opened.collect::<Vec<_>>(),
    })
}

/// JSON as a file has it.
pub fn printed(value: &Value) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).expect("invariant: a JSON value always prints");
    bytes.push(b'\n');
    bytes
}

/// How the exchange ended, as far as the arbiter knows.
const fn outcome(record: &Record) -> &'static str {
    match &record.verdict {
        None => "open",
        Some(logged) => match logged.statement.ruling {
            Ruling::Aborted => "aborted",
            Ruling::Affidavit(_) => "affidavit",
            Ruling::Replaced(_) => "resolved",
            Ruling::Revoked(_) => "revoked",
        },
    }
}

fn receipt(receipt: &Receipt) -> Value {
    let mut file = Map::new();
    let mut put = |name: &str, value: Value| file.insert(name.to_owned(), value);
    let hashes: Vec<_> = receipt.inclusion_proof.iter().map(ToString::to_string).collect();
    let attestations = receipt.evidence.attestations.map(|_, it| it.as_ref().map(text));
    let escrows = escrows(&receipt.evidence.escrows);
    put("statement", json!(text(&receipt.statement)));
    put("answer", json!(text(&receipt.answer)));
    put("leaf", json!(String::from_utf8_lossy(&receipt.leaf)));
    put("inclusion_proof", json!(hashes));
    put("checkpoint", json!(receipt.checkpoint));
    put("request", json!(text(&receipt.evidence.request)));
    if let Some(acceptance) = &receipt.evidence.acceptance {
        put("acceptance", json!(text(acceptance)));
    }
    if attestations != ByRole::default() {
        put("attestations", json!(Pair::of(attestations)));
    }
    if escrows != ByRole::default() {
        put("escrows", json!(Pair::of(escrows)));
    }
    put("record_salts", json!(receipt.record_salts.iter().map(hex::encode).collect::<Vec<_>>()));
    Value::Object(file)
}

/// One text for each party, as far as there is one.
#[derive(Serialize)]
struct Pair {
    #[serde(skip_serializing_if = "Option::is_none")]
    originator: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    responder: Option<String>,
}

impl Pair {
    fn of(texts: ByRole<Option<String>>) -> Self {
        Self { originator: texts.originator, responder: texts.responder }
    }
}

fn text(envelope: &Envelope) -> String {
    STANDARD.encode(envelope.encode())
}

fn escrows(escrows: &Escrows) -> ByRole<Option<String>> {
    escrows.map(|_, it| it.as_ref().map(|escrow| STANDARD.encode(escrow.to_bytes())))
}
