//! Where the fuzzer starts: good statements, receipts, escrows, files. Written once, and again when a format changes:
//! `FUZZ_TARGET=--seeds` writes them into a folder for each target.

use std::fs;
use std::path::Path;

use arbiter_client::bundle::Bundle;
use arbiter_client::module::{Capabilities, Files, Module as _, Replacement};
use arbiter_client::pin::ArbiterPin;
use arbiter_protocol::crypto::Sealer;
use arbiter_protocol::evidence::note::VerifierKey;
use arbiter_protocol::exchange::kind::pledge::Pledge;
use arbiter_protocol::exchange::selection::{ByRole, Role};
use arbiter_protocol::message::agreement::Agreement;
use arbiter_protocol::message::payment::{PaymentAction, PaymentState, PaymentTerms};
use arbiter_protocol::message::request::Action;
use arbiter_protocol::message::transfer::Transfer;
use arbiter_protocol::message::verdict::Verdict;
use arbiter_protocol::statement::{Payload, Verified};
use arbiter_protocol::wire::arbiter as proto;
use arbiter_protocol::wire::peer;
use prost::Message as _;
use zeroize::Zeroizing;

use crate::common::{COMPLAIN_BY, CONTENT, Cast, Chooser, Kind, money, party, sealing};

pub fn write(folder: &Path) {
    let mut count = 0;
    let mut put = |target: &str, bytes: &[u8]| {
        let folder = folder.join(target);
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join(format!("seed-{count:03}")), bytes).expect("written");
        count += 1;
    };
    let cast = Cast::new();
    statements(&cast, &mut put);
    rulings(&cast, &mut put);
    escrows(&mut put);
    streams(&mut put);
    client(&cast, &mut put);
    formats(&mut put);
    for seed in 0..24 {
        let mut chooser = Chooser::new(seed);
        let bytes = |chooser: &mut Chooser, count: usize| -> Vec<u8> {
            (0..count).map(|_| u8::try_from(chooser.below(256)).expect("a byte")).collect()
        };
        put("schedule", &bytes(&mut chooser, 1_000));
        put("dispute", &bytes(&mut chooser, 300));
        put("dispute-forged", &bytes(&mut chooser, 300));
        put(
            "receipt-forged",
            &[u8::try_from(seed).expect("small") % 7, u8::try_from(seed / 7).expect("small"), 0],
        );
        put("receipt-forged", &bytes(&mut chooser, 40));
        let few = usize::try_from(seed % 4).expect("small");
        put("escrow-altered", &bytes(&mut chooser, 4 * few));
    }
}

fn statements(cast: &Cast, put: &mut impl FnMut(&str, &[u8])) {
    for kind in Kind::ALL.into_iter().chain(Kind::MONEY).chain(Kind::RESERVED) {
        let agreement = cast.agreement(kind);
        let offer = agreement.offer().envelope();
        put("offer", offer.payload());
        put("offer-shown", offer.payload());
        put("envelope", &offer.encode());
        put("acceptance", agreement.acceptance().envelope().payload());
        put("envelope", &agreement.acceptance().envelope().encode());
        for role in Role::BOTH {
            let transfer = Verified::sign(Transfer::new(&agreement, role), cast.key(role));
            put("transfer", transfer.envelope().payload());
            let escrow = cast.escrow(&agreement, role).map(|it| it.to_bytes()).unwrap_or_default();
            let statement = [offer, transfer.envelope()][usize::from(escrow.is_empty())].to_wire();
            let message = peer::Message { kind: Some(peer::message::Kind::Statement(statement)), escrow };
            put("peer-message", &message.encode_to_vec());
            for action in [Action::Abort, Action::Resolve, Action::Deposit, Action::Fetch, Action::Query] {
                let request = cast.request(agreement.exchange_id(), Some(agreement.id()), role, action);
                put("request", request.envelope().payload());
                let escrows = cast.escrows(&agreement, role, action);
                let case =
                    proto::Case::file(&request, agreement.offer(), Some(agreement.acceptance()), &escrows);
                put("case", &case.encode_to_vec());
            }
        }
        money(&agreement, put);
        put("escrow-epoch", &cast.epoch(crate::common::until(kind)).to_wire().encode_to_vec());
    }
}

/// What is ordered about the payments of an agreement, and what their ledger says.
fn money(agreement: &Agreement, put: &mut impl FnMut(&str, &[u8])) {
    for role in Role::BOTH {
        let Some(terms) = PaymentTerms::of(agreement.offer(), role) else { continue };
        let units = terms.payment.amount.units;
        put("amount", terms.payment.amount.to_string().as_bytes());
        for action in [PaymentAction::Make, PaymentAction::Post(units), PaymentAction::Void] {
            let order = money::order(&terms, action, &money::account(role));
            put("payment-order", order.envelope().payload());
        }
        for state in [PaymentState::Absent, PaymentState::Posted(units), money::effective(&terms.payment)] {
            let receipt = money::receipt(&terms, state);
            put("payment-receipt", receipt.envelope().payload());
            put("pledge", &receipt.envelope().encode());
        }
    }
}

/// Two receipts of two arbiters with the same keys, and a statement about other evidence.
fn charges(cast: &Cast, put: &mut impl FnMut(&str, &[u8])) {
    use arbiter_client::charge::{Accused, Charge, ChargeFile, TreeHead};
    let receipts = crate::fuzz::wire::receipts();
    let mut file =
        |charge| put("charge", &ChargeFile::new(Accused::from(&cast.identity()), charge).to_json());
    for ((offer, one), (_, other)) in receipts.iter().zip(receipts.iter().skip(1)) {
        file(Charge::Statements { first: one.statement.clone(), second: other.statement.clone() });
        let head = |note: &str| TreeHead::Checkpoint(note.to_owned());
        let (first, second) = (head(&one.checkpoint), head(&other.checkpoint));
        file(Charge::Unjoined { older: first.clone(), newer: second.clone(), shown: Vec::new() });
        file(Charge::Rewritten { older: first, newer: second, path: one.inclusion_proof.clone() });
        if one.evidence.escrows.iter().all(|(_, it)| it.is_none()) {
            let (offer, evidence) = (offer.envelope().clone(), Box::new(one.evidence.clone()));
            file(Charge::Ruling { offer, statement: other.statement.clone(), evidence });
        }
    }
}

fn rulings(cast: &Cast, put: &mut impl FnMut(&str, &[u8])) {
    charges(cast, put);
    for (offer, receipt) in crate::fuzz::wire::receipts() {
        put("receipt", &proto::Receipt::from(receipt).encode_to_vec());
        put("leaf", &receipt.leaf);
        put("note", receipt.checkpoint.as_bytes());
        put("checkpoint", receipt.checkpoint.as_bytes());
        let text = receipt.checkpoint.split("\n\n").next().expect("a text");
        put("checkpoint", format!("{text}\n").as_bytes());
        put("answer", receipt.answer.payload());
        put("envelope", &receipt.statement.encode());
        let name = if receipt.statement.holds::<Verdict>() { "verdict" } else { "attestation" };
        put(name, receipt.statement.payload());
        proof(receipt, put);
        if receipt.evidence.acceptance.is_none() {
            let receipts = vec![receipt.clone()];
            put("bundle", &Bundle::new(offer.envelope().clone(), None, [None, None], receipts).to_json());
        }
    }
    for kind in Kind::ALL {
        let id = cast.offer(kind, 21).exchange_id();
        let of = crate::fuzz::wire::receipts().iter().filter(|(offer, _)| offer.exchange_id() == id);
        bundles(cast, kind, of.map(|(_, receipt)| receipt.clone()).collect(), put);
    }
}

fn proof(receipt: &arbiter_protocol::ruling::receipt::Receipt, put: &mut impl FnMut(&str, &[u8])) {
    let leaf = arbiter_protocol::evidence::leaf::Leaf::decode(&receipt.leaf).expect("good");
    let text = receipt.checkpoint.lines().nth(1).expect("a size");
    let size: u64 = text.parse().expect("a size");
    let signed = arbiter_protocol::statement::Signed::<arbiter_protocol::message::verdict::Answer>::parse(
        receipt.answer.clone(),
    );
    let root = signed.expect("good").unverified().root;
    let hash = arbiter_protocol::evidence::merkle::leaf_hash(&receipt.leaf);
    let mut bytes = [leaf.index.0.to_be_bytes(), size.to_be_bytes(), 1u64.to_be_bytes()].concat();
    bytes.extend(hash.as_bytes());
    bytes.extend(root.as_bytes());
    receipt.inclusion_proof.iter().for_each(|hash| bytes.extend(hash.as_bytes()));
    put("proof", &bytes);
}

fn bundles(
    cast: &Cast,
    kind: Kind,
    receipts: Vec<arbiter_protocol::ruling::receipt::Receipt>,
    put: &mut impl FnMut(&str, &[u8]),
) {
    let agreement = cast.agreement(kind);
    let transfer =
        |role| Some(Verified::sign(Transfer::new(&agreement, role), cast.key(role)).envelope().clone());
    let both = [transfer(Role::Originator), transfer(Role::Responder)];
    let (offer, acceptance) = (agreement.offer().envelope(), agreement.acceptance().envelope());
    let new = |transfers, receipts| Bundle::new(offer.clone(), Some(acceptance.clone()), transfers, receipts);
    let escrow = |role| cast.escrow(&agreement, role);
    let signature = |role| cast.finished(agreement.offer(), role).map(|it| it.to_vec());
    let of = |bundle: Bundle| {
        let escrows = ByRole { originator: escrow(Role::Originator), responder: escrow(Role::Responder) };
        let escrows = escrows.map(|_, it| it.clone().map(Pledge::from));
        let signatures =
            ByRole { originator: signature(Role::Originator), responder: signature(Role::Responder) };
        bundle.with_signatures(escrows, signatures).to_json()
    };
    // Small ones: those with escrows are long, and few of them are enough.
    if Kind::PLAIN.contains(&kind) {
        put("bundle", &new(both, Vec::new()).to_json());
        put("bundle", &new([None, None], receipts).to_json());
    } else if kind == Kind::P2OriginatorFirstEscrow {
        put("bundle", &of(new(both, Vec::new())));
    }
}

fn escrows(put: &mut impl FnMut(&str, &[u8])) {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../arbiter-protocol/tests/vectors/escrow/escrow.json");
    let all: serde_json::Value =
        serde_json::from_slice(&fs::read(path).expect("vectors")).expect("vectors are JSON");
    for vector in all["vectors"].as_array().expect("a list") {
        // The vectors that are no escrows at all have other fields.
        let Some(Ok(bytes)) = vector["escrow"].as_str().map(hex::decode) else { continue };
        if bytes.len() < 12_000 {
            put("escrow", &bytes);
        }
    }
}

fn streams(put: &mut impl FnMut(&str, &[u8])) {
    let recipient = sealing(12).public_key();
    for parts in [&[CONTENT][..], &[b"one", b"two", b""], &[b""]] {
        let sealer = Sealer::new(&recipient, b"fuzz", &Zeroizing::new([4; 32]));
        let mut sealer = sealer.expect("a good key");
        let mut bytes = sealer.encapsulated().to_vec();
        for (at, part) in parts.iter().enumerate() {
            let last = at + 1 == parts.len();
            let chunk = sealer.seal(part, last).expect("short");
            bytes.push(u8::from(last));
            bytes.extend(u16::try_from(chunk.len()).expect("short").to_be_bytes());
            bytes.extend(&chunk);
            if parts.len() == 1 {
                let content = peer::Content {
                    encapsulated_key: sealer.encapsulated().to_vec(),
                    sealed_chunk: chunk,
                    last,
                };
                let kind = peer::message::Kind::Content(content);
                let message = peer::Message { kind: Some(kind), escrow: Vec::new() };
                put("peer-message", &message.encode_to_vec());
            }
        }
        put("sealed", &bytes);
    }
    let heads: [&[u8]; 8] = [
        CONTENT,
        b"PK\x03\x04\x14\x00\x06\x00\x08\x00\x00\x00!\x00mimetypeapplication/epub+zip",
        b"PK\x03\x04\x14\x00\x06\x00\x08\x00\x00\x00!\x00\0\0\0\0\0\0\0\0\0\0\0\0\x13\x00\0\0[Content_Types].xml",
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        b"\xff\xd8\xff\xe0\x00\x10JFIF",
        b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41",
        b"plain text",
        b"II*\x00\x10\0\0\0CR\x02\x00",
    ];
    for (number, head) in (0u8..).zip(heads) {
        put("content", &[&[number], head].concat());
    }
}

fn client(cast: &Cast, put: &mut impl FnMut(&str, &[u8])) {
    let identity = cast.identity();
    let key = VerifierKey::new(identity.log_origin.as_str(), identity.log_key).expect("a good key");
    put("verifier-key", key.to_string().as_bytes());
    let pin = ArbiterPin::new(identity, "http://127.0.0.1:7373").expect("a good pin");
    put("fairx-arbiter", pin.to_string().as_bytes());
    put("fairx-arbiter", pin.clone().with_deposit_bytes(1 << 20).to_string().as_bytes());
    let epoch = Verified::sign(cast.epoch(COMPLAIN_BY), &cast.arbiter);
    let (pin, _) = pin.with_epochs([epoch]).expect("signed");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pin");
    pin.create(&path).expect("written");
    put("pin-file", &fs::read(path).expect("written"));
    let seeds = (Zeroizing::new([1; 32]), Zeroizing::new([2; 32]));
    let path = folder.path().join("identity");
    let made = arbiter_client::identity::KeyFile::create(&path, "Ada", &seeds.0, &seeds.1).expect("written");
    put("identity-file", &fs::read(path).expect("written"));
    put("fairx-id", made.public().to_string().as_bytes());
    let modules = vec![Files::default().capability(), Replacement.capability()];
    put("capabilities", Capabilities { party: made.party().signing_key, modules }.to_json().as_bytes());
    assert_eq!(made.party().signing_key, party(&cast.originator, 11, "Ada").signing_key);
    keys(folder.path(), put);
}

/// Throw-away keys and certificates of the `openssl` program.
fn keys(folder: &Path, put: &mut impl FnMut(&str, &[u8])) {
    let run = |command: &str| {
        let output = std::process::Command::new("sh").args(["-c", command]).current_dir(folder).output();
        let output = output.expect("a shell");
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    for kind in [
        "-algorithm ed25519",
        "-algorithm RSA -pkeyopt rsa_keygen_bits:2048",
        "-algorithm EC -pkeyopt ec_paramgen_curve:P-256",
    ] {
        run(&format!("openssl genpkey {kind} -out key.pem"));
        let pem = run("cat key.pem");
        put("private-key", &pem);
        put("public-key", &run("openssl pkey -in key.pem -pubout"));
        for subject in ["/C=DE/O=Example/CN=Ada", "/CN=Ada\\, Bob + \u{202e}x/emailAddress=ada@example.org"] {
            let request = format!("openssl req -new -x509 -utf8 -key key.pem -days 365 -subj '{subject}'");
            put("public-key", &run(&request));
            put("certificate", &run(&format!("{request} -outform DER")));
        }
    }
}

/// What logs, witnesses and verifiers exchange, from the vectors.
fn formats(put: &mut impl FnMut(&str, &[u8])) {
    let vectors = include_str!("../../arbiter-protocol/tests/vectors/evidence-log.json");
    let vectors: serde_json::Value = serde_json::from_str(vectors).expect("JSON");
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    let note = &vectors["note"];
    put("add-checkpoint", text(&vectors["add_checkpoint"]["request_3_to_8"]).as_bytes());
    put("add-checkpoint", format!("old 0\n\n{}", text(&note["cosigned_checkpoint"])).as_bytes());
    put("tlog-proof", text(&note["tlog_proof_leaf5"]).as_bytes());
    put(
        "anchor",
        format!("arbiter/anchor/v1\ndG9rZW4=\n\n{}", text(&note["cosigned_checkpoint"])).as_bytes(),
    );
    let (log, witness) = (text(&note["log_vkey"]), text(&note["witness_vkey"]));
    let policy =
        format!("# who\nlog {log} https://a.example\nwitness w {witness}\ngroup g any w\nquorum g\n");
    put("policy", policy.as_bytes());
    let cosigned = text(&note["cosigned_checkpoint"]);
    let (checkpoint, _) = cosigned.split_once("\n\n").expect("a note");
    put("cosigned", &[&1_700_000_000_u64.to_be_bytes(), checkpoint.as_bytes(), b"\n"].concat());
    put("cosigned", &[&5_u64.to_be_bytes(), cosigned.as_bytes()].concat());
    for path in ["tile/0/x001/x234/067.p/17", "tile/entries/000", "tile/63/999.p/255"] {
        put("tile-path", path.as_bytes());
    }
    put("entry-bundle", b"\x01\0\x01a\0\0");
    put("entry-bundle", &[[255].as_slice(), &[0; 512]].concat());
}
