//! Statements: each has one form, each field is checked, each fault has its own reason, and no bytes at all
//! make the decoders panic (R-101 to R-107, F9).

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may fail by panicking"
)]

mod common;

use arbiter_protocol::crypto::{Opener, Sealer, Signer, verify};
use arbiter_protocol::error::Invalid;
use arbiter_protocol::evidence::checkpoint::Origin;
use arbiter_protocol::evidence::leaf::Leaf;
use arbiter_protocol::evidence::note::Note;
use arbiter_protocol::exchange::kind::{Unfit, content::ContentCheck};
use arbiter_protocol::exchange::selection::Role::{self, Originator, Responder};
use arbiter_protocol::ids::{Digest, LeafIndex};
use arbiter_protocol::limits;
use arbiter_protocol::message::agreement::{Acceptance, Agreement, Offer};
use arbiter_protocol::message::escrow_epoch::EscrowEpoch;
use arbiter_protocol::message::request::{Action, Request};
use arbiter_protocol::message::transfer::Transfer;
use arbiter_protocol::message::verdict::{Answer, Attestation, Verdict};
use arbiter_protocol::message::wire;
use arbiter_protocol::ruling::receipt::sort_evidence;
use arbiter_protocol::statement::{Envelope, Payload, Signed, Verified, pae};
use common::{COMPLAIN_BY, Cast, EARLY, Kind, Notary, described, sealing, signer};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use prost::Message as _;
use zeroize::Zeroizing;

/// One of everything that can be signed.
struct Samples {
    offers: Vec<Verified<Offer>>,
    acceptance: Verified<Acceptance>,
    transfers: Vec<Verified<Transfer>>,
    requests: Vec<Verified<Request>>,
    verdicts: Vec<Signed<Verdict>>,
    attestation: Signed<Attestation>,
    answer: Signed<Answer>,
}

fn samples() -> Samples {
    let cast = Cast::new();
    let kinds = Kind::PLAIN.into_iter().chain([Kind::P1Escrow, Kind::P2ResponderFirstEscrow]);
    let agreements: Vec<_> = kinds.map(|kind| cast.agreement(kind)).collect();
    let mut notary = Notary::new();
    let mut receipts = Vec::new();
    for (kind, role, action) in [
        (0, Originator, Action::Abort),
        (1, Originator, Action::Deposit),
        (1, Originator, Action::Resolve),
        (2, Responder, Action::Abort),
    ] {
        let case = cast.case(&agreements[kind], role, action);
        receipts.push(notary.file(&case, EARLY).unwrap().unwrap());
    }
    let case = cast.case(&agreements[3], Originator, Action::Resolve);
    receipts.push(notary.file(&case, EARLY).unwrap().unwrap());
    let offer = cast.offer(Kind::P1, 71);
    let case = cast.admit(&offer, None, Originator, Action::Abort).unwrap();
    receipts.push(notary.file(&case, EARLY).unwrap().unwrap());
    let request =
        |action| cast.request(agreements[0].exchange_id(), Some(agreements[0].id()), Originator, action);
    let actions = [Action::Abort, Action::Deposit, Action::Fetch, Action::Query, Action::Resolve];
    let mut requests: Vec<_> = actions.into_iter().map(request).collect();
    requests.push(cast.request(agreements[0].exchange_id(), None, Responder, Action::Query));
    let transfer =
        |agreement: &Agreement, role: Role| Verified::sign(Transfer::new(agreement, role), cast.key(role));
    Samples {
        offers: agreements.iter().map(|it| it.offer().clone()).collect(),
        acceptance: agreements[0].acceptance().clone(),
        transfers: agreements
            .iter()
            .flat_map(|it| [transfer(it, Originator), transfer(it, Responder)])
            .collect(),
        requests,
        verdicts: [0, 2, 3, 4, 5].map(|i| Signed::parse(receipts[i].statement.clone()).unwrap()).into(),
        attestation: Signed::parse(receipts[1].statement.clone()).unwrap(),
        answer: Signed::parse(receipts[0].answer.clone()).unwrap(),
    }
}

fn enclosed<T: Payload>(payload: Vec<u8>, key: &dyn Signer) -> Envelope {
    let signature = key.sign(&pae(T::TYPE, &payload));
    Envelope::from_wire(wire::Envelope {
        payload_type: T::TYPE.to_owned(),
        payload,
        signatures: vec![wire::Signature {
            key_id: key.public_key().to_vec(),
            signature: signature.to_vec(),
        }],
    })
    .unwrap()
}

/// Parses a well signed payload: what is wrong with it is in the payload alone.
fn parse<T: Payload>(payload: Vec<u8>) -> Result<Signed<T>, Invalid> {
    Signed::parse(enclosed::<T>(payload, &signer(1)))
}

fn refusal<T: Payload>(payload: Vec<u8>) -> &'static str {
    match parse::<T>(payload) {
        Ok(_) => "accepted",
        Err(invalid) => invalid.reason(),
    }
}

/// Top-level fields of a protobuf message as (key varint, field number, whole bytes).
fn fields(message: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut list = Vec::new();
    let mut rest = message;
    while !rest.is_empty() {
        let start = rest;
        let key = varint(&mut rest);
        match key & 7 {
            0 => {
                varint(&mut rest);
            }
            2 => {
                let length = usize::try_from(varint(&mut rest)).unwrap();
                rest = &rest[length..];
            }
            other => panic!("wire type {other}"),
        }
        list.push((key, start[..start.len() - rest.len()].to_vec()));
    }
    list
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            return value;
        }
    }
}

/// The same varint field with one more byte than it needs.
fn stretched(field: &[u8]) -> Vec<u8> {
    let mut copy = field.to_vec();
    *copy.last_mut().unwrap() |= 0x80;
    copy.push(0);
    copy
}

/// R-102: every other form of the same fields, for one statement.
fn only_one_form<T: Payload>(payload: &[u8]) {
    let name = T::NAME;
    assert!(parse::<T>(payload.to_vec()).is_ok());
    let list = fields(payload);
    let join = |parts: &[Vec<u8>]| parts.concat();
    let all: Vec<_> = list.iter().map(|it| it.1.clone()).collect();
    let not_canonical = |bytes: Vec<u8>, what: &str| {
        let reason = refusal::<T>(bytes);
        assert_eq!(reason, "STATEMENT_NOT_CANONICAL", "{name}: {what}");
    };
    for index in 0..all.len() {
        let number = list[index].0 >> 3;
        let mut repeated = all.clone();
        repeated.insert(index, all[index].clone());
        let reason = refusal::<T>(join(&repeated));
        // A message given twice is merged and a list grows: the field's own check sees it. Only the list of
        // evidence hashes may be longer, and then it is another statement, which nobody signed.
        let longer_list = name == "verdict" && number == 13;
        assert_eq!(reason == "accepted", longer_list, "{name}: field {number} twice: {reason}");
        if index + 1 < all.len() && list[index].0 != list[index + 1].0 {
            let mut swapped = all.clone();
            swapped.swap(index, index + 1);
            not_canonical(join(&swapped), &format!("field {number} after the next"));
        }
        if list[index].0 & 7 == 0 {
            let mut longer = all.clone();
            longer[index] = stretched(&all[index]);
            not_canonical(join(&longer), &format!("field {number} with a longer varint"));
        }
        let mut unknown = all.clone();
        unknown.insert(index, vec![0xa0, 0x06, 0x01]); // Field 100, varint 1.
        not_canonical(join(&unknown), &format!("an unknown field before {number}"));
    }
    not_canonical([payload, &[0xa0, 0x06, 0x01]].concat(), "an unknown field at the end");
    not_canonical([payload, &[0xa2, 0x06, 0x00]].concat(), "an unknown empty field");
    // A default value must not be written out: version 0, and any absent number.
    not_canonical([&[0x08, 0x00], payload].concat(), "version written twice, first as zero");
    for cut in 1..payload.len().min(400) {
        let shorter = &payload[..payload.len() - cut];
        // Cut right before an optional last field it is another statement, which nobody signed.
        if let Ok(other) = parse::<T>(shorter.to_vec()) {
            assert!(
                list.iter()
                    .rev()
                    .scan(0, |sum, it| {
                        *sum += it.1.len();
                        Some(*sum)
                    })
                    .any(|sum| sum == cut)
            );
            assert_eq!(other.unverified().to_wire().encode_to_vec(), shorter, "{name}: cut by {cut}");
        }
    }
    for trailing in [&[0u8][..], &[0x08], &[0xff], &[0x0b], &[0x0c]] {
        let reason = refusal::<T>([payload, trailing].concat());
        assert!(
            ["STATEMENT_MALFORMED", "STATEMENT_NOT_CANONICAL"].contains(&reason),
            "{name}: trailing {trailing:?}: {reason}"
        );
    }
}

/// R-102: every other form of the same fields is refused.
#[test]
fn every_statement_has_one_form() {
    let s = samples();
    s.offers.iter().for_each(|it| only_one_form::<Offer>(it.envelope().payload()));
    only_one_form::<Acceptance>(s.acceptance.envelope().payload());
    s.transfers.iter().for_each(|it| only_one_form::<Transfer>(it.envelope().payload()));
    s.requests.iter().for_each(|it| only_one_form::<Request>(it.envelope().payload()));
    s.verdicts.iter().for_each(|it| only_one_form::<Verdict>(&it.unverified().to_wire().encode_to_vec()));
    only_one_form::<Attestation>(&s.attestation.unverified().to_wire().encode_to_vec());
    only_one_form::<Answer>(&s.answer.unverified().to_wire().encode_to_vec());
}

/// What is signed is what is read, and its name is the digest of what was signed.
#[test]
fn every_statement_survives_the_round_trip() {
    fn round<T: Payload + PartialEq + std::fmt::Debug + Clone>(statement: &T) {
        let signed = Verified::sign(statement.clone(), &signer(1));
        let bytes = signed.envelope().encode();
        let back = Envelope::decode(&bytes).unwrap();
        assert_eq!(&back, signed.envelope());
        let back = Signed::<T>::parse(back).unwrap().verify(&signer(1).public_key()).unwrap();
        assert_eq!(&*back, statement);
        assert_eq!(back.digest(), Digest::of(&[&pae(T::TYPE, signed.envelope().payload())]));
        assert_eq!(back.digest(), arbiter_protocol::statement::digest_of(statement));
        assert_eq!(back.envelope().encode(), bytes);
        let message = pae(back.envelope().payload_type(), back.envelope().payload());
        assert!(verify(&back.envelope().key(), &message, back.envelope().signature()));
    }
    let s = samples();
    s.offers.iter().for_each(|it| round(&**it));
    round(&Cast::new().epoch(COMPLAIN_BY));
    round(&*s.acceptance);
    s.transfers.iter().for_each(|it| round(&**it));
    s.requests.iter().for_each(|it| round(&**it));
    s.verdicts.iter().for_each(|it| round(it.unverified()));
    round(s.attestation.unverified());
    round(s.answer.unverified());
}

type Change<W> = fn(&mut W);

/// Each change makes exactly one field wrong; the reason and the field's name must say so.
fn wrong_fields<T: Payload>(good: &T, changes: &[(&str, &str, Change<T::Wire>)]) {
    for (number, (reason, field, change)) in changes.iter().enumerate() {
        let mut wire = good.to_wire();
        change(&mut wire);
        let bytes = wire.encode_to_vec();
        match parse::<T>(bytes) {
            Ok(_) => panic!("{} change {number} ({reason} {field}) was accepted", T::NAME),
            Err(invalid) => {
                let at = invalid.field().unwrap_or("");
                assert_eq!((invalid.reason(), at), (*reason, *field), "{} change {number}", T::NAME);
            }
        }
    }
}

const LENGTH: &str = "FIELD_LENGTH_INVALID";
const VALUE: &str = "FIELD_VALUE_INVALID";
const MISSING: &str = "FIELD_MISSING";
const VERSION: &str = "VERSION_UNSUPPORTED";
const WEAK: &str = "KEY_WEAK";

fn info(offer: &mut wire::Offer) -> &mut wire::Information {
    match offer.originator_item.as_mut().unwrap().description.as_mut().unwrap() {
        wire::item::Description::Information(it) => it,
        _ => panic!("a file"),
    }
}

fn text(offer: &mut wire::Offer) -> &mut wire::Statement {
    match offer.responder_item.as_mut().unwrap().description.as_mut().unwrap() {
        wire::item::Description::Signature(it) => it,
        _ => panic!("a signature"),
    }
}

/// R-103, R-105, R-107, R-207 and section 3, field by field.
#[test]
fn every_field_of_an_offer_is_checked() {
    let offer = &samples().offers[1];
    wrong_fields::<Offer>(
        offer,
        &[
            (VERSION, "", |w| w.version = 0),
            (VERSION, "", |w| w.version = 2),
            (LENGTH, "nonce", |w| w.nonce.clear()),
            (LENGTH, "nonce", |w| w.nonce.truncate(31)),
            (LENGTH, "nonce", |w| w.nonce.push(0)),
            (MISSING, "originator", |w| w.originator = None),
            (MISSING, "responder", |w| w.responder = None),
            (MISSING, "arbiter", |w| w.arbiter = None),
            (MISSING, "originator_item", |w| w.originator_item = None),
            (MISSING, "responder_item", |w| w.responder_item = None),
            (LENGTH, "signing_key", |w| w.originator.as_mut().unwrap().signing_key.truncate(31)),
            (LENGTH, "signing_key", |w| w.responder.as_mut().unwrap().signing_key.push(1)),
            (WEAK, "signing_key", |w| w.originator.as_mut().unwrap().signing_key = vec![0; 32]),
            (WEAK, "signing_key", |w| w.responder.as_mut().unwrap().signing_key = vec![2; 32]),
            (LENGTH, "sealing_key", |w| w.originator.as_mut().unwrap().sealing_key.clear()),
            (WEAK, "sealing_key", |w| w.originator.as_mut().unwrap().sealing_key = vec![0; 32]),
            (WEAK, "sealing_key", |w| w.responder.as_mut().unwrap().sealing_key = vec![0xff; 32]),
            (LENGTH, "name", |w| w.originator.as_mut().unwrap().name = "n".repeat(limits::NAME_BYTES + 1)),
            (VALUE, "name", |w| w.responder.as_mut().unwrap().name = "two\nlines".into()),
            (VALUE, "name", |w| w.responder.as_mut().unwrap().name = "Bob\u{202e}".into()),
            (LENGTH, "key", |w| w.arbiter.as_mut().unwrap().key.truncate(1)),
            (WEAK, "key", |w| w.arbiter.as_mut().unwrap().key = vec![0; 32]),
            (LENGTH, "log_key", |w| w.arbiter.as_mut().unwrap().log_key.push(0)),
            (WEAK, "log_key", |w| w.arbiter.as_mut().unwrap().log_key = [vec![1], vec![0; 31]].concat()),
            (VALUE, "log_origin", |w| w.arbiter.as_mut().unwrap().log_origin.clear()),
            (VALUE, "log_origin", |w| w.arbiter.as_mut().unwrap().log_origin = "a b".into()),
            (MISSING, "rules", |w| w.arbiter.as_mut().unwrap().rules.clear()),
            (LENGTH, "rules", |w| w.arbiter.as_mut().unwrap().rules = "r".repeat(limits::NAME_BYTES + 1)),
            (MISSING, "originator_item", |w| w.originator_item.as_mut().unwrap().description = None),
            (LENGTH, "sha256", |w| info(w).sha256.truncate(31)),
            (VALUE, "size_bytes", |w| info(w).size_bytes = 0),
            (VALUE, "size_bytes", |w| info(w).size_bytes = limits::ITEM_BYTES + 1),
            (VALUE, "media_type", |w| info(w).media_type = "Application/PDF".into()),
            (LENGTH, "media_type", |w| info(w).media_type = format!("a/{}", "b".repeat(254))),
            (VALUE, "name", |w| info(w).name = "../goods.pdf".into()),
            (VALUE, "name", |w| info(w).name.clear()),
            (LENGTH, "name", |w| info(w).name = "n".repeat(limits::NAME_BYTES + 1)),
            (MISSING, "title", |w| text(w).title.clear()),
            (LENGTH, "title", |w| text(w).title = "t".repeat(limits::TITLE_BYTES + 1)),
            (VALUE, "title", |w| text(w).title = "a\nb".into()),
            (LENGTH, "text", |w| text(w).text = "t".repeat(limits::TEXT_BYTES + 1)),
            (VALUE, "text", |w| text(w).text = "pay 1\u{200b}00".into()),
            (MISSING, "subject", |w| text(w).subject = None),
            // R-207: an item claims no property that its kind does not offer.
            (VALUE, "properties", |w| w.originator_item.as_mut().unwrap().properties = vec![3]),
            (VALUE, "properties", |w| w.originator_item.as_mut().unwrap().properties = vec![2, 2]),
            (VALUE, "properties", |w| w.responder_item.as_mut().unwrap().properties = vec![99]),
            (LENGTH, "properties", |w| {
                w.responder_item.as_mut().unwrap().properties = vec![3; limits::PROPERTIES + 1]
            }),
            (VALUE, "protocol", |w| w.protocol = 0),
            (VALUE, "protocol", |w| w.protocol = 8),
            (VALUE, "protocol", |w| w.protocol = -1),
            (VALUE, "first_sender", |w| w.first_sender = 0),
            (VALUE, "first_sender", |w| w.first_sender = 3),
            (VALUE, "complain_by", |w| w.complain_by = limits::TIME_MILLIS + 1),
        ],
    );
}

/// R-103: and section 3, field by field.
#[test]
fn every_field_of_the_other_statements_is_checked() {
    let s = samples();
    wrong_fields::<Acceptance>(
        &s.acceptance,
        &[
            (VERSION, "", |w| w.version = 2),
            (LENGTH, "exchange_id", |w| w.exchange_id.clear()),
            (LENGTH, "exchange_id", |w| w.exchange_id.push(0)),
            (LENGTH, "nonce", |w| w.nonce.truncate(31)),
        ],
    );
    wrong_fields::<Transfer>(
        &s.transfers[0],
        &[
            (VERSION, "", |w| w.version = 2),
            (LENGTH, "exchange_id", |w| w.exchange_id.truncate(31)),
            (LENGTH, "agreement_id", |w| w.agreement_id.clear()),
            (LENGTH, "agreement_id", |w| w.agreement_id.push(0)),
            (VALUE, "sender", |w| w.sender = 0),
            (VALUE, "sender", |w| w.sender = 7),
            (MISSING, "item", |w| w.item = None),
            (MISSING, "item", |w| w.item.as_mut().unwrap().description = None),
        ],
    );
    wrong_fields::<Request>(
        &s.requests[0],
        &[
            (VERSION, "", |w| w.version = 0),
            (LENGTH, "exchange_id", |w| w.exchange_id.clear()),
            (LENGTH, "agreement_id", |w| w.agreement_id.truncate(31)),
            (VALUE, "role", |w| w.role = 0),
            (VALUE, "role", |w| w.role = 3),
            (VALUE, "action", |w| w.action = 0),
            (VALUE, "action", |w| w.action = 7),
            (VALUE, "action", |w| w.action = i32::MIN),
        ],
    );
    wrong_fields::<Verdict>(
        s.verdicts[1].unverified(),
        &[
            (VERSION, "", |w| w.version = 2),
            (LENGTH, "exchange_id", |w| w.exchange_id.clear()),
            (LENGTH, "agreement_id", |w| w.agreement_id.truncate(31)),
            (LENGTH, "originator_key", |w| w.originator_key.clear()),
            (LENGTH, "responder_key", |w| w.responder_key.push(0)),
            (LENGTH, "originator_item", |w| w.originator_item.clear()),
            (LENGTH, "responder_item", |w| w.responder_item.push(0)),
            (VALUE, "ruling", |w| w.ruling = 0),
            (VALUE, "ruling", |w| w.ruling = 3),
            (VALUE, "ruling", |w| w.ruling = 1),
            (VALUE, "ruling", |w| w.replacements.clear()),
            (VALUE, "ruling", |w| w.replacements = [w.replacements.clone(), w.replacements.clone()].concat()),
            (VALUE, "role", |w| w.replacements[0].role = 0),
            (MISSING, "item", |w| w.replacements[0].item = None),
            (LENGTH, "rule", |w| w.rule = "R".repeat(limits::NAME_BYTES + 1)),
            (VALUE, "rule", |w| w.rule = "R-\n".into()),
            (LENGTH, "rules", |w| w.rules = "r".repeat(limits::NAME_BYTES + 1)),
            (VALUE, "requested_by", |w| w.requested_by = 0),
            (LENGTH, "request", |w| w.request.clear()),
            (LENGTH, "evidence", |w| w.evidence[0].truncate(31)),
            (LENGTH, "evidence", |w| w.evidence = vec![vec![0; 32]; limits::EVIDENCE_HASHES + 1]),
            (VALUE, "time", |w| w.time = 0),
            (VALUE, "time", |w| w.time = limits::TIME_MILLIS + 1),
        ],
    );
    wrong_fields::<Attestation>(
        s.attestation.unverified(),
        &[
            (VERSION, "", |w| w.version = 2),
            (LENGTH, "exchange_id", |w| w.exchange_id.clear()),
            (LENGTH, "agreement_id", |w| w.agreement_id.clear()),
            (VALUE, "depositor", |w| w.depositor = 0),
            (LENGTH, "item", |w| w.item.clear()),
            (LENGTH, "request", |w| w.request.push(1)),
            (VALUE, "time", |w| w.time = 0),
            (LENGTH, "rules", |w| w.rules = "r".repeat(limits::NAME_BYTES + 1)),
        ],
    );
    wrong_fields::<Answer>(
        s.answer.unverified(),
        &[
            (VERSION, "", |w| w.version = 2),
            (LENGTH, "request", |w| w.request.clear()),
            (LENGTH, "statement", |w| w.statement.clear()),
            (LENGTH, "root", |w| w.root.truncate(31)),
        ],
    );
}

/// F9: change any leaf value of a statement to another allowed one: the signature no longer fits.
#[test]
fn no_altered_payload_keeps_its_signature() {
    fn try_all<T: Payload + std::fmt::Debug>(envelope: &Envelope, key: &arbiter_protocol::ids::PublicKey) {
        assert!(Signed::<T>::parse(envelope.clone()).unwrap().verify(key).is_ok());
        for position in 0..envelope.payload().len() {
            for bit in [0, 3, 7] {
                let mut wire = envelope.to_wire();
                wire.payload[position] ^= 1 << bit;
                let changed = Envelope::from_wire(wire).unwrap();
                let verified = Signed::<T>::parse(changed).and_then(|it| it.verify(key));
                assert!(verified.is_err(), "{}: bit {bit} of byte {position}", T::NAME);
            }
        }
        for position in 0..64 {
            let mut wire = envelope.to_wire();
            wire.signatures[0].signature[position] ^= 1;
            let changed = Signed::<T>::parse(Envelope::from_wire(wire).unwrap()).unwrap();
            assert_eq!(changed.verify(key).unwrap_err().reason(), "SIGNATURE_INVALID");
        }
    }
    let (s, cast) = (samples(), Cast::new());
    let (originator, responder) = (cast.originator.public_key(), cast.responder.public_key());
    try_all::<Offer>(s.offers[1].envelope(), &originator);
    try_all::<Acceptance>(s.acceptance.envelope(), &responder);
    try_all::<Transfer>(s.transfers[1].envelope(), &responder);
    try_all::<Request>(s.requests[0].envelope(), &originator);
}

/// R-101, R-104, R-105, R-106: the envelope around the payload.
#[test]
fn every_part_of_an_envelope_is_checked() {
    let s = samples();
    let good = s.acceptance.envelope().to_wire();
    let reason = |change: fn(&mut wire::Envelope)| {
        let mut wire = good.clone();
        change(&mut wire);
        match Envelope::decode(&wire.encode_to_vec()).and_then(Signed::<Acceptance>::parse) {
            Ok(_) => "accepted",
            Err(invalid) => invalid.reason(),
        }
    };
    assert_eq!(reason(|_| {}), "accepted");
    // One is the other only if it is the same envelope; in logs it is a type and a digest, never what it says.
    assert!(s.offers[0] == s.offers[0].clone() && s.offers[0] != s.offers[1]);
    let digest = s.acceptance.digest();
    assert_eq!(format!("{:?}", s.acceptance.envelope()), format!("Envelope({} {digest})", Acceptance::TYPE));
    assert_eq!(format!("{:?}", s.acceptance), format!("Verified({:?})", *s.acceptance));
    assert_eq!(reason(|w| w.signatures.clear()), "SIGNATURE_COUNT_INVALID");
    assert_eq!(reason(|w| w.signatures.push(w.signatures[0].clone())), "SIGNATURE_COUNT_INVALID");
    assert_eq!(reason(|w| w.signatures[0].key_id.truncate(31)), LENGTH);
    assert_eq!(reason(|w| w.signatures[0].signature.truncate(63)), LENGTH);
    assert_eq!(reason(|w| w.signatures[0].signature.push(0)), LENGTH);
    assert_eq!(reason(|w| w.payload_type.clear()), "PAYLOAD_TYPE_UNEXPECTED");
    assert_eq!(reason(|w| w.payload_type.push('x')), "PAYLOAD_TYPE_UNEXPECTED");
    assert_eq!(reason(|w| w.payload_type = Transfer::TYPE.to_owned()), "PAYLOAD_TYPE_UNEXPECTED");
    assert_eq!(reason(|w| w.payload_type = w.payload_type.replace("v1", "v2")), "PAYLOAD_TYPE_UNEXPECTED");
    assert_eq!(reason(|w| w.payload_type = "t".repeat(limits::PAYLOAD_TYPE_BYTES + 1)), "TOO_LARGE");
    assert_eq!(reason(|w| w.payload.push(0)), "STATEMENT_MALFORMED");
    assert_eq!(reason(|w| w.payload.truncate(5)), "STATEMENT_MALFORMED");
    assert_eq!(reason(|w| w.payload.clear()), VERSION);

    let bytes = s.acceptance.envelope().encode();
    let decode = |bytes: &[u8]| Envelope::decode(bytes).map_or_else(|e| e.reason(), |_| "accepted");
    assert_eq!(decode(&[&bytes[..], &[0xa0, 0x06, 0x01]].concat()), "STATEMENT_NOT_CANONICAL");
    assert_eq!(decode(&[&bytes[..], &[0]].concat()), "STATEMENT_MALFORMED");
    assert_eq!(decode(&bytes[..bytes.len() - 1]), "STATEMENT_MALFORMED");
    assert_eq!(decode(&[]), "SIGNATURE_COUNT_INVALID");
    for cut in 1..bytes.len() {
        assert_ne!(decode(&bytes[..cut]), "accepted");
    }

    // The key that signs: another one, a weak one, one that is no point. A signature by a key over the
    // same payload under another type.
    let cast = Cast::new();
    let key = cast.responder.public_key();
    let verify = |envelope: Envelope| match Signed::<Acceptance>::parse(envelope).unwrap().verify(&key) {
        Ok(_) => "verified",
        Err(invalid) => invalid.reason(),
    };
    assert_eq!(verify(s.acceptance.envelope().clone()), "verified");
    let payload = s.acceptance.envelope().payload().to_vec();
    assert_eq!(verify(enclosed::<Acceptance>(payload.clone(), &cast.originator)), "SIGNER_NOT_ENTITLED");
    let mut transplanted = s.acceptance.envelope().to_wire();
    let other = enclosed::<Transfer>(payload, &cast.responder).to_wire();
    transplanted.signatures = other.signatures;
    assert_eq!(verify(Envelope::from_wire(transplanted).unwrap()), "SIGNATURE_INVALID");
    for weak in [[0u8; 32], [2; 32]] {
        let mut wire = s.acceptance.envelope().to_wire();
        wire.signatures[0] = wire::Signature { key_id: weak.to_vec(), signature: vec![0; 64] };
        let signed = Signed::<Acceptance>::parse(Envelope::from_wire(wire).unwrap()).unwrap();
        let weak = arbiter_protocol::ids::PublicKey::from_bytes(weak);
        assert_eq!(signed.verify(&weak).unwrap_err().reason(), "SIGNATURE_INVALID");
    }
}

/// R-201, R-202, R-203, R-208: an offer that is well formed and well signed, and still cannot be carried out.
#[test]
fn an_offer_that_breaks_a_rule_is_refused_by_name() {
    let cast = Cast::new();
    type Break = fn(&mut Offer, &Cast);
    let breaks: [(&str, Kind, Break); 19] = [
        ("PARTIES_NOT_DISTINCT", Kind::P1, |o, _| o.responder.signing_key = o.originator.signing_key),
        ("PARTIES_NOT_DISTINCT", Kind::P1, |o, _| o.responder.signing_key = o.arbiter.key),
        ("PARTIES_NOT_DISTINCT", Kind::P1, |o, _| o.responder.signing_key = o.arbiter.log_key),
        ("PARTIES_NOT_DISTINCT", Kind::P1, |o, _| o.arbiter.log_key = o.arbiter.key),
        ("PARTIES_NOT_DISTINCT", Kind::P1, |o, _| o.responder.sealing_key = o.originator.sealing_key),
        ("SELECTION_MISMATCH", Kind::P1, |o, _| o.selection.first_sender = Responder),
        ("SELECTION_MISMATCH", Kind::P2OriginatorFirst, |o, _| o.selection.first_sender = Responder),
        ("SELECTION_MISMATCH", Kind::P2ResponderFirst, |o, c| o.selection = c.terms(Kind::P1, 1).selection),
        ("SELECTION_MISMATCH", Kind::P1, |o, _| o.originator_item.properties = Default::default()),
        ("DEADLINE_MISMATCH", Kind::P1, |o, _| o.complain_by = Some(arbiter_protocol::time::UnixMillis(1))),
        ("DEADLINE_MISMATCH", Kind::P2OriginatorFirst, |o, _| o.complain_by = None),
        // R-208: escrow terms exactly where something is in escrow, and a key that outlives the deadline.
        ("ESCROW_TERMS_MISMATCH", Kind::P1, |o, c| o.escrow = Some(c.escrow_terms(COMPLAIN_BY))),
        ("ESCROW_TERMS_MISMATCH", Kind::P1Escrow, |o, _| o.escrow = None),
        ("ESCROW_TERMS_MISMATCH", Kind::P1Mixed, |o, _| o.escrow = None),
        ("DEADLINE_MISMATCH", Kind::P2OriginatorFirstEscrow, |o, c| {
            o.escrow = Some(c.escrow_terms(COMPLAIN_BY - 1));
        }),
        // K15, K22: a key of the peer, of the arbiter or of its log does not sign an item.
        ("PARTIES_NOT_DISTINCT", Kind::P1Escrow, |o, c| {
            o.originator_item = common::detached("t", &c.responder)
        }),
        ("PARTIES_NOT_DISTINCT", Kind::P1Escrow, |o, c| o.responder_item = common::detached("t", &c.arbiter)),
        ("PARTIES_NOT_DISTINCT", Kind::P1Escrow, |o, c| o.responder_item = common::detached("t", &c.log)),
        ("PARTIES_NOT_DISTINCT", Kind::P1Escrow, |o, c| {
            o.originator_item = common::detached("t", &c.stranger);
            o.responder_item = common::detached("t", &c.stranger);
        }),
    ];
    for (number, (reason, kind, change)) in breaks.into_iter().enumerate() {
        let mut terms = cast.terms(kind, 1);
        change(&mut terms, &cast);
        let offer = Verified::sign(terms, &cast.originator);
        let refused = common::unverified(&offer).verify_offer().expect_err("refused");
        assert_eq!(refused.reason(), reason, "break {number}");
    }
    let mine = Cast { originator: signer(2), ..Cast::new() };
    let offer = Verified::sign(cast.terms(Kind::P1, 1), &mine.originator);
    assert_eq!(common::unverified(&offer).verify_offer().unwrap_err().reason(), "SIGNER_NOT_ENTITLED");
}

/// R-208: a key that ends exactly at the deadline still serves every complaint that comes in time.
#[test]
fn an_escrow_key_may_end_with_the_deadline() {
    let cast = Cast::new();
    let mut terms = cast.terms(Kind::P2OriginatorFirstEscrow, 1);
    terms.escrow = Some(cast.escrow_terms(COMPLAIN_BY));
    assert!(common::unverified(&Verified::sign(terms, &cast.originator)).verify_offer().is_ok());
}

/// R-402: who signs with which key has which role, and nobody else has one.
#[test]
fn a_key_has_the_role_that_the_offer_gives_it() {
    let cast = Cast::new();
    let offer = cast.offer(Kind::P1, 21);
    let role = |key: &dyn Signer| offer.role_of(&key.public_key());
    assert_eq!((role(&cast.originator), role(&cast.responder)), (Some(Originator), Some(Responder)));
    assert_eq!((role(&cast.arbiter), role(&cast.log), role(&cast.stranger)), (None, None, None));
}

/// F9, K1, K2: content is sealed under its exchange, its agreement and its sender, byte for byte as section 3 says.
#[test]
fn sealed_content_names_where_it_belongs() {
    let cast = Cast::new();
    let agreement = cast.agreement(Kind::P2OriginatorFirst);
    for (sender, last) in [(Originator, 0), (Responder, 1)] {
        let (exchange, id) = (agreement.exchange_id(), agreement.id());
        let expected = [b"arbiter content v1\0", &exchange.as_bytes()[..], id.as_bytes(), &[last]].concat();
        assert_eq!(agreement.seal_context(sender), expected);
    }
}

/// R-207, R-208: what is wrong with a detached signature or with escrow terms, field by field (S24, S28, S30).
#[test]
fn every_field_of_a_detached_signature_and_its_terms_is_checked() {
    fn item(w: &mut wire::Offer) -> &mut wire::DetachedSignature {
        match w.originator_item.as_mut().unwrap().description.as_mut().unwrap() {
            wire::item::Description::DetachedSignature(it) => it,
            _ => panic!("a detached signature"),
        }
    }
    fn key(w: &mut wire::Offer) -> &mut Option<wire::signature_key::Key> {
        &mut item(w).key.as_mut().unwrap().key
    }
    fn rsa(w: &mut wire::Offer, change: fn(&mut wire::RsaKey)) {
        let mut modulus = vec![0xc3; 256];
        modulus[255] = 1;
        let mut rsa = wire::RsaKey { modulus, exponent: 65537, padding: 1, hash: 1 };
        change(&mut rsa);
        *key(w) = Some(wire::signature_key::Key::Rsa(rsa));
    }
    fn terms(w: &mut wire::Offer) -> &mut wire::EscrowTerms {
        w.escrow.as_mut().unwrap()
    }
    fn epoch(w: &mut wire::Offer, seed: u8, change: fn(&mut EscrowEpoch)) {
        let mut epoch = Cast::new().epoch(COMPLAIN_BY);
        change(&mut epoch);
        terms(w).epoch = Some(Verified::sign(epoch, &signer(seed)).envelope().to_wire());
    }
    let offer = Cast::new().terms(Kind::P1Escrow, 1);
    wrong_fields::<Offer>(
        &offer,
        &[
            (MISSING, "statement", |w| item(w).statement = None),
            (MISSING, "title", |w| item(w).statement.as_mut().unwrap().title.clear()),
            (MISSING, "key", |w| item(w).key = None),
            (MISSING, "key", |w| *key(w) = None),
            (LENGTH, "certificate", |w| item(w).certificate = vec![0; limits::CERTIFICATE_BYTES + 1]),
            (LENGTH, "ed25519", |w| *key(w) = Some(wire::signature_key::Key::Ed25519(vec![1; 31]))),
            (WEAK, "key", |w| *key(w) = Some(wire::signature_key::Key::Ed25519(vec![0; 32]))),
            (WEAK, "key", |w| *key(w) = Some(wire::signature_key::Key::Ed25519(vec![2; 32]))),
            (LENGTH, "modulus", |w| rsa(w, |k| k.modulus = vec![0xc3; limits::MODULUS_BYTES + 1])),
            (WEAK, "key", |w| rsa(w, |k| k.modulus.truncate(255))),
            (WEAK, "key", |w| rsa(w, |k| k.modulus[0] = 0)),
            (WEAK, "key", |w| rsa(w, |k| k.modulus[255] = 2)),
            (WEAK, "key", |w| rsa(w, |k| k.exponent = 1)),
            (WEAK, "key", |w| rsa(w, |k| k.exponent = 65536)),
            (VALUE, "padding", |w| rsa(w, |k| k.padding = 0)),
            (VALUE, "hash", |w| rsa(w, |k| k.hash = 4)),
            (VALUE, "properties", |w| w.originator_item.as_mut().unwrap().properties = vec![3]),
            (VALUE, "properties", |w| w.originator_item.as_mut().unwrap().properties = vec![3, 4]),
            (MISSING, "epoch", |w| terms(w).epoch = None),
            (VALUE, "suite", |w| terms(w).suite = 0),
            (VALUE, "suite", |w| terms(w).suite = 4),
            (VALUE, "suite", |w| terms(w).suite = 257),
            (VALUE, "epoch", |w| epoch(w, 3, |e| e.epoch = 0)),
            (WEAK, "key", |w| epoch(w, 3, |e| e.key = [0; 32])),
            (WEAK, "key", |w| epoch(w, 3, |e| e.key = [0xff; 32])),
            (VALUE, "from", |w| epoch(w, 3, |e| e.from.0 = 0)),
            (VALUE, "until", |w| epoch(w, 3, |e| e.until = e.from)),
            (VALUE, "until", |w| epoch(w, 3, |e| e.until.0 = limits::TIME_MILLIS + 1)),
            // S14: an epoch that the arbiter of the offer did not sign.
            ("SIGNER_NOT_ENTITLED", "", |w| epoch(w, 5, |_| ())),
            ("PAYLOAD_TYPE_UNEXPECTED", "", |w| {
                let other = Cast::new().offer(Kind::P1, 3).envelope().to_wire();
                terms(w).epoch = Some(other);
            }),
        ],
    );
    // The RSA key that the faults above start from, and every other that is allowed: read and written alike.
    let same = |change: fn(&mut wire::Offer)| {
        let mut wire = offer.to_wire();
        change(&mut wire);
        let read = parse::<Offer>(wire.encode_to_vec()).unwrap();
        assert_eq!(read.unverified().to_wire(), wire);
    };
    same(|w| rsa(w, |_| ()));
    same(|w| rsa(w, |k| k.hash = 2));
    same(|w| rsa(w, |k| k.hash = 3));
    same(|w| rsa(w, |k| k.padding = 2));
    same(|w| {
        rsa(w, |k| k.modulus = [vec![0xc3; limits::MODULUS_BYTES - 1], vec![1]].concat());
        item(w).certificate = vec![0; limits::CERTIFICATE_BYTES];
    });
    let mut flipped = offer.to_wire();
    flipped.escrow.as_mut().unwrap().epoch.as_mut().unwrap().signatures[0].signature[9] ^= 1;
    assert_eq!(refusal::<Offer>(flipped.encode_to_vec()), "SIGNATURE_INVALID");
}

/// R-108: the document that a detached signature signs: every field is in it, and two statements differ in it.
#[test]
fn a_document_says_everything_and_is_no_statement_of_the_protocol() {
    let offer = Cast::new().terms(Kind::P1Escrow, 1);
    let statement = offer.originator_item.description.detached().unwrap().statement.clone();
    let base = statement.document();
    assert!(base.starts_with("arbiter/signed-statement/v1\ntitle Sale\nfile goods.pdf\n"));
    assert!(base.ends_with("\n\nOne file for one receipt."));
    type Change = fn(&mut arbiter_protocol::exchange::item::Statement);
    let changes: [Change; 8] = [
        |s| s.title.push('x'),
        |s| s.text.push('x'),
        |s| s.text.clear(),
        |s| s.text.insert(0, '\n'),
        |s| s.subject.name.push('x'),
        |s| s.subject.media_type.push('x'),
        |s| s.subject.size_bytes += 1,
        |s| s.subject.sha256 = Digest::of(&[b"other"]),
    ];
    let mut all = std::collections::BTreeSet::from([base]);
    for change in changes {
        let mut other = statement.clone();
        change(&mut other);
        assert!(all.insert(other.document()));
    }
    assert!(all.iter().all(|it| !it.starts_with("DSSEv1")));
}

/// R-311: a detached signature fits if it is valid, of the right size, and the one in escrow (F12).
#[test]
fn a_detached_signature_fits_only_if_it_is_the_one_in_escrow() {
    let cast = Cast::new();
    let agreement = cast.agreement(Kind::P1Escrow);
    let item = agreement.offer().item(Originator).description.detached().unwrap();
    let good = cast.finished(agreement.offer(), Originator).unwrap();
    let escrow = cast.escrow(&agreement, Originator).unwrap();
    let reason = |bytes: &[u8], escrow: Option<&arbiter_protocol::escrow::Escrow>| {
        let mut check = ContentCheck::signature(item.clone(), escrow.cloned());
        for part in bytes.chunks(7) {
            let before = check.found();
            if let Err(unfit) = check.update(part) {
                return unfit.reason();
            }
            assert_eq!(check.found(), before + u64::try_from(part.len()).unwrap());
        }
        check.finish().map_or_else(|e: Unfit| e.reason(), |_| "fits")
    };
    assert_eq!((reason(&good, None), reason(&good, Some(&escrow))), ("fits", "fits"));
    for position in 0..64 {
        let mut altered = good;
        altered[position] ^= 1;
        assert_eq!(reason(&altered, Some(&escrow)), "ITEM_SIGNATURE_INVALID", "byte {position}");
    }
    assert_eq!(reason(&good[..63], None), "ITEM_SIZE_MISMATCH");
    assert_eq!(reason(&[&good[..], &[0]].concat(), None), "ITEM_SIZE_MISMATCH");
    assert_eq!(reason(&[], None), "ITEM_SIZE_MISMATCH");
    // Another valid signature by the same key on the same document: hedged signers make such.
    let other = other_signature(&[1; 32], item.statement.document().as_bytes());
    assert_eq!(reason(&other, None), "fits");
    assert_eq!(reason(&other, Some(&escrow)), "ITEM_NOT_THE_ONE_IN_ESCROW");
}

/// A valid Ed25519 signature with another nonce than RFC 8032 derives.
fn other_signature(seed: &[u8; 32], message: &[u8]) -> [u8; 64] {
    use curve25519_dalek::{EdwardsPoint, Scalar};
    use sha2::{Digest as _, Sha512};
    let hash: [u8; 64] = Sha512::digest(seed).into();
    let key = EdwardsPoint::mul_base_clamped(hash[..32].try_into().unwrap());
    let secret =
        Scalar::from_bytes_mod_order(curve25519_dalek::scalar::clamp_integer(hash[..32].try_into().unwrap()));
    let nonce = Scalar::from(123_456_789u64);
    let point = EdwardsPoint::mul_base(&nonce).compress();
    let hash = Sha512::new().chain_update(point.as_bytes()).chain_update(key.compress().as_bytes());
    let c = Scalar::from_bytes_mod_order_wide(&hash.chain_update(message).finalize().into());
    let s = nonce + c * secret;
    [*point.as_bytes(), s.to_bytes()].concat().try_into().unwrap()
}

/// R-305, S11, K1, K2, K9: a transfer is worth nothing under another agreement, exchange or role.
#[test]
fn a_transfer_is_bound_to_its_agreement() {
    let cast = Cast::new();
    for kind in Kind::ALL.into_iter().chain(Kind::PACKAGES) {
        let agreement = cast.agreement(kind);
        let second =
            Agreement::join(agreement.offer().clone(), cast.acceptance(agreement.offer(), 91)).unwrap();
        let replayed = cast.offer(kind, 92);
        let elsewhere = Agreement::join(replayed.clone(), cast.acceptance(&replayed, 22)).unwrap();
        for role in [Originator, Responder] {
            let sign = |agreement| Verified::sign(Transfer::new(agreement, role), cast.key(role));
            let check = |transfer: &Verified<Transfer>, sender| {
                common::unverified(transfer)
                    .verify_for(&agreement, sender)
                    .map_or_else(|e| e.reason(), |_| "ok")
            };
            assert_eq!(check(&sign(&agreement), role), "ok");
            assert_eq!(check(&sign(&second), role), "ACCEPTANCE_MISMATCH");
            assert_eq!(check(&sign(&elsewhere), role), "OTHER_EXCHANGE");
            assert_eq!(check(&sign(&agreement), role.peer()), "SIGNER_NOT_ENTITLED");
            let crossed = Transfer { sender: role.peer(), ..Transfer::new(&agreement, role) };
            assert_eq!(check(&Verified::sign(crossed, cast.key(role)), role), "NOT_A_PARTY");
        }
    }
}

/// R-105: every constant of `limits`, at the limit and one beyond.
#[test]
fn limits_hold_at_the_limit_and_one_beyond() {
    let offer = samples().offers[1].to_wire();
    let with = |change: &dyn Fn(&mut wire::Offer)| {
        let mut wire = offer.clone();
        change(&mut wire);
        refusal::<Offer>(wire.encode_to_vec())
    };
    let name = |n| with(&|w| w.originator.as_mut().unwrap().name = "n".repeat(n));
    assert_eq!((name(limits::NAME_BYTES), name(limits::NAME_BYTES + 1)), ("accepted", LENGTH));
    let title = |n| with(&|w| text(w).title = "t".repeat(n));
    assert_eq!((title(limits::TITLE_BYTES), title(limits::TITLE_BYTES + 1)), ("accepted", LENGTH));
    let words = |n| with(&|w| text(w).text = "t".repeat(n));
    assert_eq!((words(limits::TEXT_BYTES), words(limits::TEXT_BYTES + 1)), ("accepted", LENGTH));
    let media = |n| with(&|w| info(w).media_type = format!("a/{}", "b".repeat(n - 2)));
    assert_eq!((media(limits::MEDIA_TYPE_BYTES), media(limits::MEDIA_TYPE_BYTES + 1)), ("accepted", LENGTH));
    let size = |n| with(&|w| info(w).size_bytes = n);
    assert_eq!((size(limits::ITEM_BYTES), size(limits::ITEM_BYTES + 1)), ("accepted", VALUE));
    let time = |n| with(&|w| w.complain_by = n);
    assert_eq!((time(limits::TIME_MILLIS), time(limits::TIME_MILLIS + 1)), ("accepted", VALUE));
    let origin = |n| Origin::parse(&"o".repeat(n)).is_ok();
    assert!(origin(limits::ORIGIN_BYTES) && !origin(limits::ORIGIN_BYTES + 1));

    // Properties: eight would fit the list, but there are only seven, so the longest legal list is shorter.
    let listed = |n| with(&|w| w.originator_item.as_mut().unwrap().properties = vec![2; n]);
    assert_eq!(
        (listed(1), listed(limits::PROPERTIES), listed(limits::PROPERTIES + 1)),
        ("accepted", VALUE, LENGTH)
    );
    let verdict = samples().verdicts.remove(0).unverified().to_wire();
    let hashes = |n| {
        let evidence = vec![vec![7; 32]; n];
        refusal::<Verdict>(wire::Verdict { evidence, ..verdict.clone() }.encode_to_vec())
    };
    assert_eq!((hashes(limits::EVIDENCE_HASHES), hashes(limits::EVIDENCE_HASHES + 1)), ("accepted", LENGTH));

    // Payload, payload type and envelope: the largest that the others allow, and one more byte.
    let envelope = |payload: usize, kind: usize| {
        let wire = wire::Envelope {
            payload_type: "t".repeat(kind),
            payload: vec![0; payload],
            signatures: vec![wire::Signature { key_id: vec![1; 32], signature: vec![1; 64] }],
        };
        (
            wire.encoded_len(),
            Envelope::decode(&wire.encode_to_vec()).map_or_else(|e| e.reason(), |_| "decoded"),
        )
    };
    let (most, kind) = (limits::STATEMENT_BYTES, limits::PAYLOAD_TYPE_BYTES);
    assert_eq!(envelope(most, kind).1, "decoded");
    assert!(envelope(most, kind).0 <= limits::ENVELOPE_BYTES, "the limits fit each other");
    assert_eq!(envelope(most + 1, kind).1, "TOO_LARGE");
    assert_eq!(envelope(most, kind + 1).1, "TOO_LARGE");
    let padded = |n: usize| Envelope::decode(&vec![0xff; n]).unwrap_err().reason();
    assert_eq!(padded(limits::ENVELOPE_BYTES), "STATEMENT_MALFORMED");
    assert_eq!(padded(limits::ENVELOPE_BYTES + 1), "TOO_LARGE");

    // The largest offer that the field limits allow is a statement that fits.
    let largest = with(&|w| {
        for party in [&mut w.originator, &mut w.responder] {
            party.as_mut().unwrap().name = "n".repeat(limits::NAME_BYTES);
        }
        let long = wire::Information {
            sha256: vec![1; 32],
            size_bytes: limits::ITEM_BYTES,
            media_type: format!("a/{}", "b".repeat(limits::MEDIA_TYPE_BYTES - 2)),
            name: "n".repeat(limits::NAME_BYTES),
        };
        *info(w) = long.clone();
        text(w).title = "t".repeat(limits::TITLE_BYTES);
        text(w).text = "t".repeat(limits::TEXT_BYTES);
        text(w).subject = Some(long);
        w.originator_item = w.responder_item.clone();
        w.arbiter.as_mut().unwrap().log_origin = "o".repeat(limits::ORIGIN_BYTES);
        w.arbiter.as_mut().unwrap().rules = "r".repeat(limits::NAME_BYTES);
    });
    assert_eq!(largest, "accepted");

    // Chunks, plain and sealed.
    let secret = sealing(1);
    let randomness = Zeroizing::new([3; 32]);
    let mut sealer = Sealer::new(&secret.public_key(), b"c", &randomness).unwrap();
    let sealed = sealer.seal(&vec![0; limits::CHUNK_BYTES], true).unwrap();
    assert_eq!(sealed.len(), limits::SEALED_CHUNK_BYTES);
    assert_eq!(sealer.seal(&vec![0; limits::CHUNK_BYTES + 1], true).unwrap_err().reason(), "TOO_LARGE");
    let mut opener = Opener::new(&secret, b"c", sealer.encapsulated()).unwrap();
    let longer = [&sealed[..], &[0]].concat();
    assert_eq!(opener.open(&longer, true).unwrap_err().reason(), "TOO_LARGE");
    assert_eq!(opener.open(&sealed, true).unwrap().len(), limits::CHUNK_BYTES);

    // Leaf, and evidence beside a verdict.
    assert_eq!(Leaf::decode(&vec![b'a'; limits::LEAF_BYTES]).unwrap_err().reason(), "STATEMENT_MALFORMED");
    assert_eq!(Leaf::decode(&vec![b'a'; limits::LEAF_BYTES + 1]).unwrap_err().reason(), "TOO_LARGE");
    let request = samples().requests.remove(0).envelope().clone();
    let sorted = |n| {
        sort_evidence(vec![request.clone(); n], Default::default()).map_or_else(|e| e.reason(), |_| "sorted")
    };
    assert_eq!((sorted(0), sorted(1)), (MISSING, "sorted"));
    assert_eq!((sorted(limits::EVIDENCE_HASHES), sorted(limits::EVIDENCE_HASHES + 1)), (VALUE, LENGTH));
}

/// `PROOF_HASHES` is the longest proof that a tree can need: the verifier of receipts refuses more on the wire,
/// and a proof of that many hashes for a small tree is refused by the proof check itself.
#[test]
fn no_proof_is_longer_than_its_tree_is_high() {
    use arbiter_protocol::evidence::merkle::{leaf_hash, verify_inclusion};
    let leaf = leaf_hash(b"leaf");
    for length in [1, limits::PROOF_HASHES, limits::PROOF_HASHES + 1] {
        assert!(verify_inclusion(&leaf, 0, 1, &vec![leaf; length], &leaf).is_err());
    }
    let index = LeafIndex(u64::MAX);
    assert!(verify_inclusion(&leaf, index.0, u64::MAX, &vec![leaf; limits::PROOF_HASHES], &leaf).is_err());
}

/// R-305, S15, S16: what does not fit, by one byte, by size, by type, each with its own reason.
#[test]
fn an_item_that_does_not_fit_says_why() {
    let content = common::CONTENT;
    let reason = |agreed: arbiter_protocol::exchange::item::Information, content: &[u8]| {
        let mut check = ContentCheck::file(agreed);
        let updated = check.update(content);
        assert_eq!(check.found(), u64::try_from(content.len()).unwrap());
        updated.and_then(|()| check.finish()).map_or_else(|e: Unfit| e.reason(), |_| "fits")
    };
    assert_eq!(reason(described(content), content), "fits");
    for position in 0..content.len() {
        let mut altered = content.to_vec();
        altered[position] ^= 0x10;
        assert_eq!(reason(described(content), &altered), "ITEM_HASH_MISMATCH", "byte {position}");
    }
    assert_eq!(reason(described(content), &content[1..]), "ITEM_SIZE_MISMATCH");
    assert_eq!(reason(described(content), &[content, b"x"].concat()), "ITEM_SIZE_MISMATCH");
    assert_eq!(reason(described(b"not a pdf"), b"not a pdf"), "ITEM_TYPE_MISMATCH");
    let cast = Cast::new();
    let agreement = cast.agreement(Kind::P1);
    let other = common::signature("Another title");
    let transfer =
        Verified::sign(Transfer { item: other, ..Transfer::new(&agreement, Originator) }, &cast.originator);
    let checked =
        arbiter_protocol::exchange::kind::signature::check(agreement.offer().item(Originator), transfer);
    assert_eq!(checked.unwrap_err().reason(), "ITEM_KIND_MISMATCH");
}

fn decode_everything(bytes: &[u8]) {
    let _ = Envelope::decode(bytes).map(|envelope| {
        let _ = Signed::<Offer>::parse(envelope.clone()).map(Signed::verify_offer);
        let _ = Signed::<Verdict>::parse(envelope);
    });
    let _ = parse::<Offer>(bytes.to_vec());
    let _ = parse::<Acceptance>(bytes.to_vec());
    let _ = parse::<Transfer>(bytes.to_vec());
    let _ = parse::<Request>(bytes.to_vec());
    let _ = parse::<Verdict>(bytes.to_vec());
    let _ = parse::<Attestation>(bytes.to_vec());
    let _ = parse::<Answer>(bytes.to_vec());
    let _ = Leaf::decode(bytes);
    let _ = Note::parse(&String::from_utf8_lossy(bytes));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, rng_seed: RngSeed::Fixed(2_026), failure_persistence: None, ..ProptestConfig::default() })]

    /// Random bytes are refused or read, never a panic.
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        decode_everything(&bytes);
    }

    /// R-102: nor do bytes close to real statements; what is accepted has exactly the form that was given.
    #[test]
    fn almost_statements_never_panic(
        which in 0usize..7,
        edits in proptest::collection::vec((any::<u16>(), any::<u8>(), 0u8..3), 1..6),
    ) {
        thread_local! {
            static SEEDS: Vec<Vec<u8>> = {
                let s = samples();
                vec![
                    s.offers[0].envelope().payload().to_vec(),
                    s.offers[1].envelope().payload().to_vec(),
                    s.acceptance.envelope().payload().to_vec(),
                    s.transfers[0].envelope().payload().to_vec(),
                    s.requests[0].envelope().payload().to_vec(),
                    s.verdicts[1].unverified().to_wire().encode_to_vec(),
                    s.offers[2].envelope().encode(),
                ]
            };
        }
        let mut bytes = SEEDS.with(|seeds| seeds[which].clone());
        for (place, value, how) in edits {
            let place = usize::from(place) % bytes.len().max(1);
            match how {
                0 if !bytes.is_empty() => bytes[place] = value,
                1 => bytes.insert(place, value),
                _ if !bytes.is_empty() => { bytes.remove(place); }
                _ => {}
            }
        }
        decode_everything(&bytes);
        if let Ok(offer) = parse::<Offer>(bytes.clone()) {
            prop_assert_eq!(offer.unverified().to_wire().encode_to_vec(), bytes);
        }
    }
}
