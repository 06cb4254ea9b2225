//! What decodes encodes to the same bytes: statements, leaves, notes, checkpoints.

use arbiter_protocol::crypto::Signer;
use arbiter_protocol::evidence::checkpoint::{Checkpoint, Origin, SignedCheckpoint};
use arbiter_protocol::evidence::leaf::Leaf;
use arbiter_protocol::evidence::merkle;
use arbiter_protocol::evidence::note::{Note, NoteSignature, VerifierKey, signature_line};
use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::ids::Digest;
use arbiter_protocol::limits;
use arbiter_protocol::message::account::{AccountOrder, AccountQuery, AccountStatement};
use arbiter_protocol::message::agreement::{Acceptance, Offer};
use arbiter_protocol::message::escrow_epoch::EscrowEpoch;
use arbiter_protocol::message::payment::{PaymentOrder, PaymentReceipt};
use arbiter_protocol::message::request::Request;
use arbiter_protocol::message::succession::Succession;
use arbiter_protocol::message::transfer::Transfer;
use arbiter_protocol::message::verdict::{Answer, Attestation, Verdict};
use arbiter_protocol::message::wire;
use arbiter_protocol::statement::{Envelope, Payload, Signed, Verified, digest_of, pae};
use prost::Message as _;

use crate::common::signer;

pub fn envelope(bytes: &[u8]) -> bool {
    let Ok(envelope) = Envelope::decode(bytes) else { return false };
    assert_eq!(envelope.encode(), bytes, "an envelope has one form");
    assert!(bytes.len() <= limits::ENVELOPE_BYTES);
    assert_eq!(Envelope::from_wire(envelope.to_wire()), Ok(envelope.clone()));
    assert_eq!(envelope.digest(), Digest::of(&[&pae(envelope.payload_type(), envelope.payload())]));
    any_statement(&envelope);
    true
}

/// Reads an envelope as what it says it is. The signature need not be good.
pub fn any_statement(envelope: &Envelope) {
    fn read<T: Payload>(envelope: &Envelope) {
        let Ok(signed) = Signed::<T>::parse(envelope.clone()) else { return };
        let key = envelope.key();
        if let Ok(verified) = signed.verify(&key) {
            assert_eq!(verified.envelope(), envelope);
        }
    }
    match envelope.payload_type() {
        Acceptance::TYPE => read::<Acceptance>(envelope),
        AccountOrder::TYPE => read::<AccountOrder>(envelope),
        AccountQuery::TYPE => read::<AccountQuery>(envelope),
        AccountStatement::TYPE => read::<AccountStatement>(envelope),
        Answer::TYPE => read::<Answer>(envelope),
        Attestation::TYPE => read::<Attestation>(envelope),
        EscrowEpoch::TYPE => read::<EscrowEpoch>(envelope),
        Offer::TYPE => read::<Offer>(envelope),
        PaymentOrder::TYPE => read::<PaymentOrder>(envelope),
        PaymentReceipt::TYPE => read::<PaymentReceipt>(envelope),
        Request::TYPE => read::<Request>(envelope),
        Succession::TYPE => read::<Succession>(envelope),
        Transfer::TYPE => read::<Transfer>(envelope),
        Verdict::TYPE => read::<Verdict>(envelope),
        _ => {}
    }
}

/// An envelope around any payload, signed with the key that all offers of the corpus name as their originator's.
fn signed(payload_type: &str, payload: &[u8], signature: [u8; 64]) -> wire::Envelope {
    let signature =
        wire::Signature { key_id: signer(1).public_key().to_vec(), signature: signature.to_vec() };
    wire::Envelope {
        payload_type: payload_type.to_owned(),
        payload: payload.to_vec(),
        signatures: vec![signature],
    }
}

/// A payload whose only faults are its own: the signature is good.
fn statement<T: Payload>(payload: &[u8]) -> Option<Verified<T>> {
    let unsigned = Envelope::from_wire(signed(T::TYPE, payload, [0; 64])).ok()?;
    let parsed = Signed::<T>::parse(unsigned).ok()?;
    assert_eq!(parsed.unverified().to_wire().encode_to_vec(), payload, "{} has one form", T::NAME);
    assert!(parsed.verify(&signer(1).public_key()).is_err(), "a signature of zeros");

    let signature = signer(1).sign(&pae(T::TYPE, payload));
    let envelope = Envelope::from_wire(signed(T::TYPE, payload, signature)).expect("as before");
    assert_eq!(Envelope::decode(&envelope.encode()).as_ref(), Ok(&envelope));
    let parsed = Signed::<T>::parse(envelope).expect("as before");
    let verified = parsed.verify(&signer(1).public_key()).expect("signed");
    assert_eq!(verified.digest(), digest_of(&*verified));
    Some(verified)
}

macro_rules! statements {
    ($($name:ident: $type:ty),*) => {
        $(pub fn $name(payload: &[u8]) -> bool {
            statement::<$type>(payload).is_some()
        })*
    };
}

statements!(
    acceptance: Acceptance, account_order: AccountOrder, account_query: AccountQuery,
    account_statement: AccountStatement, answer: Answer, attestation: Attestation, escrow_epoch: EscrowEpoch,
    payment_order: PaymentOrder, payment_receipt: PaymentReceipt, request: Request, succession: Succession,
    transfer: Transfer, verdict: Verdict
);

pub fn offer(payload: &[u8]) -> bool {
    let Some(offer) = statement::<Offer>(payload) else { return false };
    for role in Role::BOTH {
        let item = offer.item(role);
        let _ = item.digest();
        if let Some(detached) = item.description.detached() {
            assert!(!detached.key.verify(detached.statement.document().as_bytes(), &[0; 64]));
        }
    }
    let _ = offer.deadline();
    Signed::<Offer>::parse(offer.envelope().clone()).expect("as before").verify_offer().is_ok()
}

pub fn leaf(bytes: &[u8]) -> bool {
    let Ok(leaf) = Leaf::decode(bytes) else { return false };
    assert_eq!(leaf.encode(), bytes, "a leaf has one form");
    true
}

pub fn note(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    if let Ok(line) = NoteSignature::parse(text) {
        assert_eq!(line.to_string(), text, "a signature line has one form");
    }
    let Ok(note) = Note::parse(text) else { return false };
    assert_eq!(note.to_string(), text, "a note has one form");
    let log = VerifierKey::new("arbiter.test/log", signer(4).public_key()).expect("a good key");
    note.verify(&[log]).is_ok()
}

/// The text of a checkpoint, signed by the log; and the bytes as a whole signed note.
pub fn checkpoint(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let log = VerifierKey::new("arbiter.test/log", signer(4).public_key()).expect("a good key");
    let whole = SignedCheckpoint::verify(text, &log);
    if let Ok(signed) = &whole {
        assert_eq!(signed.note().to_string(), text);
        assert_eq!(signed.note().text(), signed.checkpoint().text());
    }
    let Ok(checkpoint) = Checkpoint::parse(text) else { return whole.is_ok() };
    assert_eq!(checkpoint.text(), text, "a checkpoint has one form");
    assert_eq!(Origin::parse(checkpoint.origin.as_str()).as_ref(), Ok(&checkpoint.origin));
    let Ok(key) = VerifierKey::new(checkpoint.origin.as_str(), signer(4).public_key()) else { return false };
    let line = signature_line(&key, signer(4).sign(bytes));
    let note = Note::new(text.to_owned(), vec![line]).expect("a checkpoint is the text of a note");
    let signed = SignedCheckpoint::verify(&note.to_string(), &key).expect("signed");
    assert_eq!(signed.checkpoint(), &checkpoint);
    true
}

pub fn verifier_key(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(key) = VerifierKey::parse(text) else { return false };
    assert_eq!(key.to_string(), text, "a verifier key has one form");
    true
}

/// `index · size · old size · leaf hash · root · proof…`, all big endian. A proof that holds, holds for one leaf only.
pub fn proof(bytes: &[u8]) -> bool {
    let Some((numbers, hashes)) = bytes.split_first_chunk::<24>() else { return false };
    let number = |at: usize| u64::from_be_bytes(numbers[at..at + 8].try_into().expect("eight"));
    let (index, size, old) = (number(0), number(8), number(16));
    let hashes: Vec<_> = hashes.as_chunks::<32>().0.iter().map(|it| Digest::from_bytes(*it)).collect();
    let [leaf, root, proof @ ..] = hashes.as_slice() else { return false };
    let included = merkle::verify_inclusion(leaf, index, size, proof, root).is_ok();
    if included {
        let other = Digest::of(&[leaf.as_bytes()]);
        assert!(merkle::verify_inclusion(&other, index, size, proof, root).is_err());
        assert!(index < size && proof.len() <= limits::PROOF_HASHES);
    }
    let consistent = merkle::verify_consistency(old, size, proof, leaf, root).is_ok();
    if consistent {
        assert!(old <= size && (old < size || leaf == root));
        let other = Digest::of(&[root.as_bytes()]);
        assert!(merkle::verify_consistency(old, size, proof, leaf, &other).is_err());
    }
    included || consistent
}
