//! A proof that something is in a log, in one text file: C2SP tlog-proof, usually named `….tlog-proof`.
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! extra <base64>                                  may be there; authenticated by nobody
//! index 5
//! vBoGQ7EuTS18d5GPROD095qDi2z57FtcKD4fTYhZnms=    inclusion proof, from the leaf's sibling up
//! …
//!                                                 an empty line
//! arbiter.example/evidence                        the checkpoint, with the signatures of log and witnesses
//! 8
//! …
//! ```
//! The leaf itself is not in it: who verifies has it.
//!
//! Invariants:
//! * Parsing and printing gives the same bytes, and nothing else parses to that proof (R-515).
//! * Size and root come from the verified checkpoint of this very proof.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use thiserror::Error;

use crate::evidence::checkpoint::{CheckpointError, SignedCheckpoint};
use crate::evidence::merkle::{self, ProofError};
use crate::evidence::note::{Note, NoteError};
use crate::evidence::policy::{Policy, Quorum};
use crate::evidence::text;
use crate::ids::{Digest, LeafIndex};
use crate::limits;

/// A proof that was read and not yet verified (R-515).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlogProof {
    extra: Option<Vec<u8>>,
    index: LeafIndex,
    hashes: Vec<Digest>,
    checkpoint: Note,
}

/// What a proof proves: it was verified (R-515, R-517).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProvedLeaf {
    /// The place of the leaf in the log.
    pub index: LeafIndex,
    /// The checkpoint that covers it, signed by a log of the policy.
    pub checkpoint: SignedCheckpoint,
    /// The witnesses that saw the checkpoint. They are enough.
    pub quorum: Quorum,
}

impl TlogProof {
    /// Puts a proof together: the inclusion proof of the leaf at `index` in the tree of this checkpoint, and,
    /// if wanted, 1 to [`limits::PROOF_EXTRA_BYTES`] bytes that nobody authenticates.
    pub fn new(
        index: LeafIndex,
        hashes: Vec<Digest>,
        checkpoint: &SignedCheckpoint,
        extra: Option<Vec<u8>>,
    ) -> Result<Self, TlogProofError> {
        Self::within_limits(index, hashes, checkpoint.note().clone(), extra)
    }

    fn within_limits(
        index: LeafIndex,
        hashes: Vec<Digest>,
        checkpoint: Note,
        extra: Option<Vec<u8>>,
    ) -> Result<Self, TlogProofError> {
        let extra_fits = extra.as_ref().is_none_or(|it| (1..=limits::PROOF_EXTRA_BYTES).contains(&it.len()));
        if hashes.len() <= limits::PROOF_HASHES && extra_fits {
            Ok(Self { extra, index, hashes, checkpoint })
        } else {
            Err(TlogProofError::TooLong)
        }
    }

    /// Reads a proof.
    pub fn parse(proof: &str) -> Result<Self, TlogProofError> {
        if proof.len() > limits::TLOG_PROOF_BYTES {
            return Err(TlogProofError::TooLong);
        }
        let (head, note) = proof.split_once("\n\n").ok_or(TlogProofError::Malformed)?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(FIRST_LINE) {
            return Err(TlogProofError::Malformed);
        }
        let extra = lines.next_if(|line| line.starts_with(EXTRA)).and_then(|line| line.strip_prefix(EXTRA));
        let extra = extra.map(|encoded| STANDARD.decode(encoded).map_err(|_| TlogProofError::Malformed));
        let index = lines.next().and_then(|line| line.strip_prefix(INDEX)).and_then(text::decimal);
        let index = LeafIndex(index.ok_or(TlogProofError::Malformed)?);
        // One line more than allowed is enough to refuse.
        let lines = lines.take(limits::PROOF_HASHES + 1);
        let hashes = lines.map(text::hash).collect::<Option<_>>().ok_or(TlogProofError::Malformed)?;
        Self::within_limits(index, hashes, Note::parse(note)?, extra.transpose()?)
    }

    /// The place of the leaf that it claims.
    pub const fn index(&self) -> LeafIndex {
        self.index
    }

    /// The inclusion proof, from the leaf's sibling up.
    pub fn hashes(&self) -> &[Digest] {
        &self.hashes
    }

    /// The checkpoint with its signatures, not verified.
    pub const fn note(&self) -> &Note {
        &self.checkpoint
    }

    /// What an application put beside the proof. Nobody authenticates it.
    pub fn extra(&self) -> Option<&[u8]> {
        self.extra.as_deref()
    }

    /// The same proof with more cosignatures on its checkpoint.
    pub fn with_checkpoint(self, checkpoint: &SignedCheckpoint) -> Result<Self, TlogProofError> {
        if checkpoint.note().text() == self.checkpoint.text() {
            Ok(Self { checkpoint: checkpoint.note().clone(), ..self })
        } else {
            Err(TlogProofError::OtherCheckpoint)
        }
    }

    /// Checks that these bytes are a leaf of a log of the policy, under a checkpoint that enough of its
    /// witnesses saw (R-515, R-517). The same bytes may stand at several places: the index that is proved
    /// is part of the result.
    pub fn verify(&self, leaf: &[u8], policy: &Policy) -> Result<ProvedLeaf, TlogProofError> {
        let checkpoint = policy.checkpoint(&self.checkpoint.to_string())?;
        let quorum = policy.quorum(&checkpoint)?;
        if !quorum.satisfied {
            return Err(TlogProofError::Quorum);
        }
        let (size, root) = (checkpoint.checkpoint().size, checkpoint.checkpoint().root);
        merkle::verify_inclusion(&merkle::leaf_hash(leaf), self.index.0, size, &self.hashes, &root)?;
        Ok(ProvedLeaf { index: self.index, checkpoint, quorum })
    }
}

impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST_LINE}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "{EXTRA}{}", STANDARD.encode(extra))?;
        }
        let hashes = text::print_hashes(&self.hashes);
        write!(f, "{INDEX}{}\n{hashes}\n{}", self.index.0, self.checkpoint)
    }
}

/// Why a proof is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TlogProofError {
    /// No log of the policy signed the checkpoint, or a signature of a known key is bad.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The leaf is not at that place in the tree of the checkpoint.
    #[error(transparent)]
    Inclusion(#[from] ProofError),
    /// Not the lines of a proof.
    #[error("the text is not a tlog-proof: first line, index, hashes, an empty line, checkpoint")]
    Malformed,
    /// The checkpoint in it is not a note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The caller's checkpoint is not the one that was proved against.
    #[error("this is another checkpoint than that of the proof")]
    OtherCheckpoint,
    /// The checkpoint is good; fewer witnesses cosigned it than the policy asks for. Later there may be more.
    #[error("the checkpoint has not enough cosignatures for the policy")]
    Quorum,
    /// More than [`limits::TLOG_PROOF_BYTES`], [`limits::PROOF_HASHES`] or [`limits::PROOF_EXTRA_BYTES`].
    #[error(
        "the proof, its extra data or its list of hashes is longer than allowed, or the extra data is empty"
    )]
    TooLong,
}

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";
const EXTRA: &str = "extra ";
const INDEX: &str = "index ";

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer as _, SigningKey};

    use super::*;
    use crate::evidence::checkpoint::{Checkpoint, Origin};
    use crate::evidence::merkle::{leaf_hash, node_hash};
    use crate::evidence::note::{VerifierKey, signature_line};
    use crate::ids::PublicKey;

    const LOG: &str = "log.example/a";

    fn log(seed: u8, name: &str) -> (SigningKey, VerifierKey) {
        let secret = SigningKey::from_bytes(&[seed; 32]);
        let public = PublicKey::from_bytes(secret.verifying_key().to_bytes());
        let key = VerifierKey::new(name, public).unwrap();
        (secret, key)
    }

    fn signed(seed: u8, name: &str, size: u64, root: Digest) -> SignedCheckpoint {
        let (secret, key) = log(seed, name);
        let text = Checkpoint { origin: Origin::parse(name).unwrap(), size, root }.text();
        let line = signature_line(&key, secret.sign(text.as_bytes()).to_bytes());
        SignedCheckpoint::verify(&Note::new(text, vec![line]).unwrap().to_string(), &key).unwrap()
    }

    fn policy(seed: u8, name: &str) -> Policy {
        Policy::parse(&format!("log {}\nquorum none\n", log(seed, name).1)).unwrap()
    }

    /// Leaf 1 of three.
    fn proof(extra: Option<Vec<u8>>) -> TlogProof {
        let [a, b, c] = [b"a", b"b", b"c"].map(|leaf| leaf_hash(leaf));
        let head = signed(1, LOG, 3, node_hash(&node_hash(&a, &b), &c));
        TlogProof::new(LeafIndex(1), vec![a, c], &head, extra).unwrap()
    }

    /// R-515: nothing near a proof is the same proof, and nothing but the extra data and lines of unknown keys can
    /// be changed so that it still holds.
    #[test]
    fn a_proof_has_one_form_and_every_part_counts() {
        let (original, policy) = (proof(Some(b"extra".to_vec())), policy(1, LOG));
        assert_eq!(original.verify(b"b", &policy).unwrap().index, LeafIndex(1));
        let text = original.to_string();
        assert_eq!(TlogProof::parse(&text), Ok(original.clone()));
        let insertions = ["", "\n", " ", "+", "A", "=", "0", "\u{2014}", "\r", "index 1\n", "extra AA==\n"];
        for (place, old) in text.char_indices().chain([(text.len(), '\n')]) {
            let (before, rest) = text.split_at(place);
            for replaced in [0, old.len_utf8().min(rest.len())] {
                for insertion in insertions {
                    let changed = [before, insertion, &rest[replaced..]].concat();
                    let Ok(parsed) = TlogProof::parse(&changed) else { continue };
                    assert_eq!(parsed.to_string(), changed);
                    assert_eq!(parsed == original, changed == text);
                    let same = TlogProof { extra: original.extra.clone(), ..parsed.clone() } == original;
                    assert_eq!(parsed.verify(b"b", &policy).is_ok(), same, "{changed}");
                }
            }
        }
    }

    /// R-515: the leaf, the place, the log and the quorum.
    #[test]
    fn a_proof_is_for_one_leaf_of_a_log_of_the_policy() {
        let (good, known) = (proof(None), policy(1, LOG));
        let proved = good.verify(b"b", &known).unwrap();
        assert_eq!((proved.checkpoint.checkpoint().size, proved.quorum.seen), (3, vec![]));
        let mismatch = Err(TlogProofError::Inclusion(ProofError::RootMismatch));
        assert_eq!(good.verify(b"a", &known), mismatch);
        let moved = TlogProof { index: LeafIndex(0), ..good.clone() };
        assert_eq!(moved.verify(b"b", &known), mismatch);
        let outside = TlogProof { index: LeafIndex(3), ..good.clone() };
        assert_eq!(outside.verify(b"b", &known), Err(ProofError::IndexOutOfRange.into()));
        let other_log = CheckpointError::OtherOrigin.into();
        assert_eq!(good.verify(b"b", &policy(1, "log.example/b")), Err(other_log));
        let other_key = CheckpointError::Note(NoteError::SignatureUnknown).into();
        assert_eq!(good.verify(b"b", &policy(2, LOG)), Err(other_key));
        let (_, key) = log(1, LOG);
        let (_, public) = log(9, "w");
        let witness = VerifierKey::cosigner("w", public.public_key().unwrap()).unwrap();
        let asked = Policy::parse(&format!("log {key}\nwitness w {witness}\nquorum w\n")).unwrap();
        assert_eq!(good.verify(b"b", &asked), Err(TlogProofError::Quorum));
        let another = signed(1, LOG, 4, leaf_hash(b"x"));
        assert_eq!(good.clone().with_checkpoint(&another), Err(TlogProofError::OtherCheckpoint));
        let same = signed(1, LOG, 3, proved.checkpoint.checkpoint().root);
        assert_eq!(good.clone().with_checkpoint(&same), Ok(good));
    }

    /// R-515.
    #[test]
    fn limits_hold_at_the_limit_and_not_beyond() {
        let head = signed(1, LOG, 3, leaf_hash(b"x"));
        let built = |hashes, extra| {
            let extra = Some(vec![0; extra]);
            TlogProof::new(LeafIndex(0), vec![leaf_hash(b"x"); hashes], &head, extra)
        };
        let largest = built(limits::PROOF_HASHES, limits::PROOF_EXTRA_BYTES).unwrap();
        assert_eq!(TlogProof::parse(&largest.to_string()), Ok(largest.clone()));
        assert_eq!(built(limits::PROOF_HASHES + 1, 1), Err(TlogProofError::TooLong));
        assert_eq!(built(0, limits::PROOF_EXTRA_BYTES + 1), Err(TlogProofError::TooLong));
        assert_eq!(built(0, 0), Err(TlogProofError::TooLong));
        let line = text::print_hash(&leaf_hash(b"x"));
        let longer = largest.to_string().replacen("\n\n", &format!("\n{line}\n\n"), 1);
        assert_eq!(TlogProof::parse(&longer), Err(TlogProofError::TooLong));
        let text = |bytes| "x".repeat(bytes);
        assert_eq!(TlogProof::parse(&text(limits::TLOG_PROOF_BYTES + 1)), Err(TlogProofError::TooLong));
        assert_eq!(TlogProof::parse(&text(limits::TLOG_PROOF_BYTES)), Err(TlogProofError::Malformed));
        assert_eq!(largest.hashes(), vec![leaf_hash(b"x"); limits::PROOF_HASHES]);
        assert_eq!(largest.extra(), Some(&[0; limits::PROOF_EXTRA_BYTES][..]));
        // What a note of 16 ML-DSA lines, the extra data and the hashes take fits.
        let lines = 16 * (3_244 + limits::NOTE_KEY_NAME_BYTES + 8);
        let extra = limits::PROOF_EXTRA_BYTES * 4 / 3 + 16;
        assert!(limits::NOTE_TEXT_BYTES + lines + extra + 64 * 45 + 64 < limits::TLOG_PROOF_BYTES);
        assert!(limits::NOTE_TEXT_BYTES + lines + 63 * 45 + 32 < limits::ADD_CHECKPOINT_BYTES);
    }
}
