//! What a log and a witness say to each other, and how a witness decides: C2SP tlog-witness, `add-checkpoint`.
//!
//! ```text
//!  log                                                witness, for each log the latest size and root
//!   │  old 3                                             │
//!   │  <consistency proof, a hash on each line>          │
//!   │                                                    │
//!   │  <checkpoint of size 8, signed by the log> ──────▶ │ judge: 404 403 400 409 422, or accepted
//!   │                                                    │ compare again and keep it, atomic and durable
//!   │ ◀──────────────── — witness.example/w1 … ───────── │ then sign and answer
//! ```
//!
//! Invariants:
//! * Parsing and printing gives the same bytes, and nothing else parses to that request (R-513).
//! * An [`Accepted`] exists only where [`judge`] found nothing to refuse (R-514). It was true for the latest
//!   checkpoint given: the witness compares and keeps under one lock, before it signs.

use std::fmt;

use thiserror::Error;

use crate::evidence::checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint};
use crate::evidence::cosignature::{Cosignature, CosignatureError};
use crate::evidence::merkle::{ProofError, empty_root, verify_consistency};
use crate::evidence::note::{Note, NoteError, NoteSignature, VerifierKey};
use crate::evidence::text;
use crate::ids::Digest;
use crate::limits;

/// The body of an `add-checkpoint` request (R-513), nothing in it verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddCheckpoint {
    old: u64,
    proof: Vec<Digest>,
    checkpoint: Checkpoint,
    note: Note,
}

impl AddCheckpoint {
    /// Asks a witness that has cosigned `old` leaves to cosign this checkpoint; 0 if it never cosigned one, or
    /// to learn how many it has. `proof` shows that nothing before `old` was changed.
    pub fn new(old: u64, proof: Vec<Digest>, checkpoint: &SignedCheckpoint) -> Result<Self, Refusal> {
        if proof.len() > limits::WITNESS_PROOF_HASHES {
            return Err(Refusal::Malformed);
        }
        let (note, checkpoint) = (checkpoint.note().clone(), checkpoint.checkpoint().clone());
        Ok(Self { old, proof, checkpoint, note })
    }

    /// Reads a request. What is not one is answered with 400.
    pub fn parse(body: &str) -> Result<Self, Refusal> {
        if body.len() > limits::ADD_CHECKPOINT_BYTES {
            return Err(Refusal::Malformed);
        }
        let (head, note) = body.split_once("\n\n").ok_or(Refusal::Malformed)?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old ")).and_then(text::decimal);
        // One line more than allowed is enough to refuse.
        let lines = lines.take(limits::WITNESS_PROOF_HASHES + 1);
        let proof = lines.map(text::hash).collect::<Option<Vec<_>>>();
        let (Some(old), Some(proof)) = (old, proof) else { return Err(Refusal::Malformed) };
        if proof.len() > limits::WITNESS_PROOF_HASHES {
            return Err(Refusal::Malformed);
        }
        let note = Note::parse(note).map_err(|why| Refusal::Checkpoint(why.into()))?;
        let checkpoint = Checkpoint::parse(note.text()).map_err(Refusal::Checkpoint)?;
        Ok(Self { old, proof, checkpoint, note })
    }

    /// The size that the log believes the witness to have.
    pub const fn old(&self) -> u64 {
        self.old
    }

    /// The consistency proof from the old size.
    pub fn proof(&self) -> &[Digest] {
        &self.proof
    }

    /// What the note says; not verified. The witness looks its state and keys up by this origin.
    pub const fn claimed(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The checkpoint with its signatures, not verified.
    pub const fn note(&self) -> &Note {
        &self.note
    }
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "old {}\n{}\n{}", self.old, text::print_hashes(&self.proof), self.note)
    }
}

/// A checkpoint that a witness may keep and then cosign. Only [`judge`] makes one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Accepted {
    checkpoint: SignedCheckpoint,
    grows: bool,
}

impl Accepted {
    /// What is kept, and signed.
    pub const fn checkpoint(&self) -> &SignedCheckpoint {
        &self.checkpoint
    }

    /// Whether there is something new to keep; otherwise it is the latest checkpoint once more, which is
    /// cosigned again with the time of now.
    pub const fn grows(&self) -> bool {
        self.grows
    }
}

/// Decides as a witness (R-514). `latest` is size and root of what it cosigned last for this origin, `None` if
/// it never did; `log_keys` are all keys it trusts, each named as the origin of its log.
pub fn judge(
    latest: Option<(u64, Digest)>,
    request: &AddCheckpoint,
    log_keys: &[VerifierKey],
) -> Result<Accepted, Refusal> {
    let (latest_size, latest_root) = latest.unwrap_or_else(|| (0, empty_root()));
    let checkpoint = match SignedCheckpoint::verify_any(request.note.clone(), log_keys) {
        Err(CheckpointError::OtherOrigin) => return Err(Refusal::UnknownOrigin),
        Err(CheckpointError::Note(why)) => return Err(Refusal::Unsigned(why)),
        other => other.map_err(Refusal::Checkpoint)?,
    };
    let Checkpoint { size, root, .. } = *checkpoint.checkpoint();
    if request.old > size {
        return Err(Refusal::OldTooLarge);
    }
    if request.old != latest_size {
        return Err(Refusal::Conflict { size: latest_size });
    }
    if size == 0 && root != empty_root() {
        return Err(Refusal::EmptyRoot);
    }
    if request.old == 0 {
        if !request.proof.is_empty() {
            return Err(Refusal::Proof(ProofError::Length));
        }
    } else {
        verify_consistency(request.old, size, &request.proof, &latest_root, &root).map_err(Refusal::Proof)?;
    }
    // A witness that never cosigned keeps even the empty tree.
    let grows = latest.is_none() || size > latest_size;
    Ok(Accepted { checkpoint, grows })
}

/// Why a witness does not cosign, with the status of its answer (R-514).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// 400: the log's fault, the checkpoint is not one of three lines with signatures.
    #[error("the checkpoint is malformed: {0}")]
    Checkpoint(CheckpointError),
    /// 409: the log is behind or ahead; it asks again with a proof from this size.
    #[error("the latest checkpoint cosigned here has size {size}")]
    Conflict {
        /// What the witness has.
        size: u64,
    },
    /// 422: a tree without leaves has one root only.
    #[error("a checkpoint of size 0 must have the root of the empty tree")]
    EmptyRoot,
    /// 400: not the lines of an `add-checkpoint` request, or too many.
    #[error(
        "the request is not an old size, at most {} hashes, an empty line and a checkpoint",
        limits::WITNESS_PROOF_HASHES
    )]
    Malformed,
    /// 400: the old tree is larger than the new one.
    #[error("the old size is larger than that of the checkpoint")]
    OldTooLarge,
    /// 422: the proof does not lead from what was cosigned to this checkpoint. Of a checkpoint that is well
    /// signed this can be evidence against the log.
    #[error("the checkpoint is not consistent with the latest one: {0}")]
    Proof(ProofError),
    /// 404: no key is named as this origin.
    #[error("no log of this origin is known here")]
    UnknownOrigin,
    /// 403: none of the keys trusted for this origin signed, or a signature of one is bad.
    #[error("the checkpoint is not signed by a trusted key: {0}")]
    Unsigned(NoteError),
}

impl Refusal {
    /// The HTTP status.
    pub const fn status(&self) -> u16 {
        match self {
            Self::Checkpoint(_) | Self::Malformed | Self::OldTooLarge => 400,
            Self::Unsigned(_) => 403,
            Self::UnknownOrigin => 404,
            Self::Conflict { .. } => 409,
            Self::EmptyRoot | Self::Proof(_) => 422,
        }
    }

    /// The media type of [`Refusal::body`].
    pub const fn content_type(&self) -> &'static str {
        match self {
            Self::Conflict { .. } => SIZE_MEDIA_TYPE,
            _ => "text/plain; charset=utf-8",
        }
    }

    /// What is sent with the status: the size of a conflict, else the reason; one line.
    pub fn body(&self) -> String {
        match self {
            Self::Conflict { size } => format!("{size}\n"),
            other => format!("{other}\n"),
        }
    }
}

/// Writes the answer of a witness that cosigned: a line for each of its keys.
pub fn print_answer(lines: &[NoteSignature]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Reads the answer 200 of a witness: the cosignatures of the checkpoint by these keys, each with its line, to
/// be added to the note ([`SignedCheckpoint::with_lines`]). Lines of other keys are ignored.
pub fn parse_answer(
    body: &str,
    checkpoint: &Checkpoint,
    cosigners: &[VerifierKey],
) -> Result<Vec<(NoteSignature, Cosignature)>, AnswerError> {
    if body.len() > limits::ADD_CHECKPOINT_BYTES {
        return Err(AnswerError::Malformed);
    }
    let mut found = Vec::new();
    let lines = body.strip_suffix('\n').ok_or(AnswerError::Malformed)?.split('\n');
    for (count, line) in lines.enumerate() {
        let line = NoteSignature::parse(line).map_err(|_| AnswerError::Malformed)?;
        if count >= limits::NOTE_SIGNATURES {
            return Err(AnswerError::Malformed);
        }
        for key in cosigners.iter().filter(|key| key.made(&line)) {
            found.push((line.clone(), Cosignature::verify(key, checkpoint, &line)?));
        }
    }
    if found.is_empty() { Err(AnswerError::Unknown) } else { Ok(found) }
}

/// Reads the answer 409 of a witness: the size of what it cosigned last.
pub fn parse_conflict(body: &str) -> Result<u64, AnswerError> {
    body.strip_suffix('\n').and_then(text::decimal).ok_or(AnswerError::Malformed)
}

/// Why the answer of a witness is not accepted: always the witness's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// A line of a known key does not verify for the checkpoint.
    #[error(transparent)]
    Cosignature(#[from] CosignatureError),
    /// Not one to [`limits::NOTE_SIGNATURES`] signature lines, or not a size.
    #[error("the answer is not signature lines, or not a size")]
    Malformed,
    /// None of the known keys cosigned.
    #[error("the answer has no cosignature by a known key")]
    Unknown,
}

/// The media type of the size in an answer 409.
pub const SIZE_MEDIA_TYPE: &str = "text/x.tlog.size";

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ed25519_dalek::{Signer as _, SigningKey};

    use super::*;
    use crate::evidence::checkpoint::Origin;
    use crate::evidence::cosignature::{self, PosixSeconds};
    use crate::evidence::merkle::{Frontier, NodeId, consistency_proof, leaf_hash};
    use crate::evidence::note::signature_line;
    use crate::ids::PublicKey;

    const LOG: &str = "log.example/a";

    fn secret(seed: u8) -> (SigningKey, PublicKey) {
        let secret = SigningKey::from_bytes(&[seed; 32]);
        let public = PublicKey::from_bytes(secret.verifying_key().to_bytes());
        (secret, public)
    }

    fn log_key() -> VerifierKey {
        VerifierKey::new(LOG, secret(1).1).unwrap()
    }

    /// A tree with the roots of all its sizes.
    struct Tree {
        nodes: BTreeMap<NodeId, Digest>,
        roots: Vec<Digest>,
    }

    fn tree(salt: u8) -> Tree {
        let mut frontier = Frontier::new();
        let mut tree = Tree { nodes: BTreeMap::new(), roots: vec![frontier.root()] };
        for leaf in 0..20 {
            tree.nodes.extend(frontier.append(leaf_hash(&[salt, leaf])));
            tree.roots.push(frontier.root());
        }
        tree
    }

    fn signed(origin: &str, size: u64, root: Digest, seed: u8) -> Note {
        let text = Checkpoint { origin: Origin::parse(origin).unwrap(), size, root }.text();
        let key = VerifierKey::new(origin, secret(seed).1).unwrap();
        let line = signature_line(&key, secret(seed).0.sign(text.as_bytes()).to_bytes());
        Note::new(text, vec![line]).unwrap()
    }

    impl Tree {
        fn root(&self, size: u64) -> Digest {
            self.roots[usize::try_from(size).unwrap()]
        }

        fn proof(&self, old: u64, new: u64) -> Vec<Digest> {
            consistency_proof(old, new, |id| self.nodes.get(&id).copied().ok_or(id)).unwrap()
        }

        fn request(&self, old: u64, size: u64) -> AddCheckpoint {
            let note = signed(LOG, size, self.root(size), 1).to_string();
            let checkpoint = SignedCheckpoint::verify(&note, &log_key()).unwrap();
            AddCheckpoint::new(old, self.proof(old, size), &checkpoint).unwrap()
        }
    }

    fn refused(
        latest: Option<(u64, Digest)>,
        request: &AddCheckpoint,
        log_keys: &[VerifierKey],
    ) -> (u16, Refusal) {
        let refusal = judge(latest, request, log_keys).unwrap_err();
        (refusal.status(), refusal)
    }

    /// R-514: from every state a request is accepted exactly if it continues the tree that was cosigned.
    #[test]
    fn a_witness_follows_one_history() {
        let (tree, fork, keys) = (tree(0), tree(9), [log_key()]);
        for latest in (0..=20).map(Some).chain([None]) {
            let state = latest.map(|size| (size, tree.root(size)));
            let known = latest.unwrap_or(0);
            for old in 0..=20 {
                for size in 0..=20 {
                    let request = tree.request(old.min(size), size);
                    let request = AddCheckpoint { old, ..request };
                    let verdict = judge(state, &request, &keys);
                    let expected = if old > size {
                        Err(Refusal::OldTooLarge)
                    } else if old != known {
                        Err(Refusal::Conflict { size: known })
                    } else {
                        Ok(latest.is_none_or(|latest| size > latest))
                    };
                    assert_eq!(verdict.map(|it| it.grows()), expected, "{latest:?} {old} {size}");
                    // Another tree is never accepted once there is something to contradict.
                    let other = AddCheckpoint { old, ..fork.request(old.min(size), size) };
                    let accepted = judge(state, &other, &keys).is_ok();
                    assert_eq!(
                        accepted,
                        old == known && known == 0 && size >= old,
                        "{latest:?} {old} {size}"
                    );
                }
            }
        }
    }

    /// R-514: each refusal, its status, and that the earlier one wins.
    #[test]
    fn a_witness_refuses_with_the_status_of_the_standard() {
        let (tree, fork, keys) = (tree(0), tree(9), [log_key()]);
        let state = Some((3, tree.root(3)));
        let good = tree.request(3, 8);
        assert!(judge(state, &good, &keys).unwrap().grows());

        let stranger = VerifierKey::new("log.example/b", secret(1).1).unwrap();
        assert_eq!(refused(state, &good, &[]), (404, Refusal::UnknownOrigin));
        assert_eq!(refused(state, &good, std::slice::from_ref(&stranger)), (404, Refusal::UnknownOrigin));
        let other_key = VerifierKey::new(LOG, secret(2).1).unwrap();
        let unsigned = Refusal::Unsigned(NoteError::SignatureUnknown);
        assert_eq!(refused(state, &good, &[other_key.clone(), stranger]), (403, unsigned));
        assert!(judge(state, &good, &[other_key.clone(), log_key()]).is_ok());
        // One good signature beside one that claims to be of a trusted key and is not.
        let claimed = signature_line(&other_key, [7; 64]);
        let note = Note::new(good.note.text().to_owned(), vec![good.note.signatures()[0].clone(), claimed]);
        let forged = AddCheckpoint { note: note.unwrap(), ..good.clone() };
        let invalid = Refusal::Unsigned(NoteError::SignatureInvalid);
        assert_eq!(refused(state, &forged, &[other_key, log_key()]), (403, invalid));
        assert!(judge(state, &forged, &keys).is_ok());

        let behind = AddCheckpoint { old: 9, ..good.clone() };
        assert_eq!(refused(state, &behind, &keys), (400, Refusal::OldTooLarge));
        let ahead = tree.request(5, 8);
        let conflict = refused(state, &ahead, &keys);
        assert_eq!(conflict, (409, Refusal::Conflict { size: 3 }));
        assert_eq!((conflict.1.body().as_str(), conflict.1.content_type()), ("3\n", "text/x.tlog.size"));
        assert_eq!(parse_conflict(&conflict.1.body()), Ok(3));

        let forked = refused(state, &fork.request(3, 8), &keys);
        assert_eq!(forked, (422, Refusal::Proof(ProofError::RootMismatch)));
        assert!(forked.1.body().ends_with('\n') && forked.1.body().lines().count() == 1);
        let unproved = AddCheckpoint { proof: vec![], ..good.clone() };
        assert_eq!(refused(state, &unproved, &keys), (422, Refusal::Proof(ProofError::Length)));
        let same_size = refused(state, &fork.request(3, 3), &keys);
        assert_eq!(same_size, (422, Refusal::Proof(ProofError::RootMismatch)));
        let proof_of_nothing = AddCheckpoint { proof: good.proof.clone(), ..tree.request(3, 3) };
        assert_eq!(refused(state, &proof_of_nothing, &keys), (422, Refusal::Proof(ProofError::Length)));
        let proof_from_nothing = AddCheckpoint { old: 0, ..good };
        assert_eq!(refused(None, &proof_from_nothing, &keys), (422, Refusal::Proof(ProofError::Length)));
        let text = format!("old 0\n\n{}", signed(LOG, 0, tree.root(1), 1));
        let odd = AddCheckpoint::parse(&text).unwrap();
        assert_eq!(refused(None, &odd, &keys), (422, Refusal::EmptyRoot));
    }

    /// R-513: every change of one character is another request or none, and limits hold.
    #[test]
    fn a_request_has_one_form() {
        let original = tree(0).request(3, 8).to_string();
        let parsed = AddCheckpoint::parse(&original).unwrap();
        assert_eq!((parsed.old(), parsed.proof().len(), parsed.claimed().size), (3, 4, 8));
        for (place, old) in original.char_indices().chain([(original.len(), ' ')]) {
            let (before, rest) = original.split_at(place);
            for replaced in [0, old.len_utf8().min(rest.len())] {
                for insertion in ["", "\n", "\r", " ", "0", "A", "=", "+", "old 3\n"] {
                    let changed = [before, insertion, &rest[replaced..]].concat();
                    let Ok(other) = AddCheckpoint::parse(&changed) else { continue };
                    assert_eq!(other.to_string(), changed);
                    assert_eq!(other == parsed, changed == original);
                }
            }
        }
        let note = signed(LOG, 8, tree(0).root(8), 1);
        let with = |hashes: usize| {
            let line = text::print_hash(&tree(0).root(1)) + "\n";
            format!("old 3\n{}\n{note}", line.repeat(hashes))
        };
        assert_eq!(AddCheckpoint::parse(&with(63)).unwrap().proof().len(), 63);
        assert_eq!(AddCheckpoint::parse(&with(64)), Err(Refusal::Malformed));
        let long = |bytes: usize| format!("old 3\n\n{}", "x".repeat(bytes - 7));
        assert_eq!(AddCheckpoint::parse(&long(limits::ADD_CHECKPOINT_BYTES + 1)), Err(Refusal::Malformed));
        let no_note = AddCheckpoint::parse(&long(limits::ADD_CHECKPOINT_BYTES));
        assert!(matches!(no_note, Err(Refusal::Checkpoint(CheckpointError::Note(_)))), "{no_note:?}");
        for bad in ["", "old 3\n", "old 03\n\n", "old -1\n\n", "old\n\n", "3\n\n", "\n\n", "old 3\n\n\n"] {
            assert_eq!(AddCheckpoint::parse(&format!("{bad}{note}")).unwrap_err().status(), 400, "{bad:?}");
        }
        let extended = Note::new(format!("{}x\n", note.text()), note.signatures().to_vec()).unwrap();
        let refusal = AddCheckpoint::parse(&format!("old 3\n\n{extended}")).unwrap_err();
        assert_eq!(refusal, Refusal::Checkpoint(CheckpointError::LineCount));
    }

    /// R-513: a client takes the lines of keys it knows, and all of these must be good.
    #[test]
    fn an_answer_holds_cosignatures_of_this_checkpoint() {
        let (request, time) = (tree(0).request(3, 8), PosixSeconds::new(5).unwrap());
        let key = |seed, name| VerifierKey::cosigner(name, secret(seed).1).unwrap();
        let line = |seed: u8, name, checkpoint: &Checkpoint| {
            let message = cosignature::message(&key(seed, name), time, checkpoint).unwrap();
            cosignature::line(&key(seed, name), time, &secret(seed).0.sign(&message).to_bytes()).unwrap()
        };
        let head = request.claimed();
        let lines = [line(2, "w", head), line(3, "v", head)];
        let body = print_answer(&lines);
        let known = [key(3, "v")];
        let found = parse_answer(&body, head, &known).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((&found[0].0, found[0].1.key()), (&lines[1], &known[0]));
        assert_eq!(parse_answer(&body, head, &[key(2, "w"), key(3, "v")]).unwrap().len(), 2);
        assert_eq!(parse_answer(&body, head, &[key(4, "u")]), Err(AnswerError::Unknown));
        let other = Checkpoint { size: 9, ..head.clone() };
        let invalid = Err(AnswerError::Cosignature(CosignatureError::Invalid));
        assert_eq!(parse_answer(&body, &other, &known), invalid);
        let many = print_answer(&vec![lines[1].clone(); limits::NOTE_SIGNATURES + 1]);
        for bad in ["", "\n", "x\n", body.trim_end(), &format!("{body}\n"), &many] {
            assert_eq!(parse_answer(bad, head, &known), Err(AnswerError::Malformed), "{bad:?}");
        }
        // Sixteen lines of somebody else, as long as an answer may be and one byte longer.
        let long = |name: &str| {
            let line = |name: &str| format!("— {name} {}\n", "A".repeat(4_088));
            [line(name), line("nn").repeat(limits::NOTE_SIGNATURES - 1)].concat()
        };
        assert_eq!(long("nn").len(), limits::ADD_CHECKPOINT_BYTES);
        assert_eq!(parse_answer(&long("nn"), head, &known), Err(AnswerError::Unknown));
        assert_eq!(parse_answer(&long("nnn"), head, &known), Err(AnswerError::Malformed));
        for bad in ["", "3", "03\n", "3\n\n", "-1\n", "18446744073709551616\n"] {
            assert_eq!(parse_conflict(bad), Err(AnswerError::Malformed), "{bad:?}");
        }
    }
}
