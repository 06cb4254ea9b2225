//! Cosignatures: what a witness, or the log with a second key, signs about a checkpoint, C2SP tlog-cosignature.
//!
//! ```text
//! cosignature/v1                                  Ed25519 signs this text, type 4
//! time 1700000000
//! arbiter.example/evidence                        the checkpoint
//! 8
//! XcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=
//!
//! — witness.example/w1 base64(key id || time || signature)
//! ```
//! ML-DSA-44 (type 6) signs the same in binary, with the name of the cosigner in it.
//!
//! It says: "at this time, the largest consistent tree that I have seen of this log has this root".
//!
//! Invariants:
//! * A [`Cosignature`] exists only where the key verified, for a time from 1 to 2^63 - 1 seconds (R-512).
//! * Nothing here signs with Ed25519: the holder of the key signs [`message`] and wraps the result with [`line()`].

use std::fmt;

use thiserror::Error;

use crate::evidence::checkpoint::Checkpoint;
use crate::evidence::note::{KeyKind, NoteSignature, VerifierKey};
use crate::time::UnixMillis;

/// A time in whole seconds since 1970-01-01T00:00:00Z, leap seconds ignored (POSIX): 1 to 2^63 - 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PosixSeconds(u64);

impl PosixSeconds {
    /// Takes 1 to 2^63 - 1 seconds.
    pub const fn new(seconds: u64) -> Result<Self, CosignatureError> {
        if seconds == 0 || seconds > MAX_SECONDS { Err(CosignatureError::Time) } else { Ok(Self(seconds)) }
    }

    /// The second that has begun at this time; none in the first second of 1970.
    pub const fn at(time: UnixMillis) -> Result<Self, CosignatureError> {
        Self::new(time.0 / 1000)
    }

    /// The seconds.
    pub const fn seconds(self) -> u64 {
        self.0
    }

    /// The same time in milliseconds; stops at the largest.
    pub const fn to_millis(self) -> UnixMillis {
        UnixMillis(self.0.saturating_mul(1000))
    }
}

impl fmt::Display for PosixSeconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Who cosigned a checkpoint and when: a cosignature that was verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cosignature {
    key: VerifierKey,
    time: PosixSeconds,
}

impl Cosignature {
    /// Checks the line of a cosigner for this checkpoint (R-512).
    pub fn verify(
        key: &VerifierKey,
        checkpoint: &Checkpoint,
        line: &NoteSignature,
    ) -> Result<Self, CosignatureError> {
        if !key.made(line) {
            return Err(CosignatureError::OtherKey);
        }
        let (time, signature) = line.signature().split_first_chunk().ok_or(CosignatureError::Length)?;
        let time = PosixSeconds::new(u64::from_be_bytes(*time))?;
        if key.verifies_cosigned(&message(key, time, checkpoint)?, signature) {
            Ok(Self { key: key.clone(), time })
        } else {
            Err(CosignatureError::Invalid)
        }
    }

    /// The key that verified.
    pub const fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// The time that the cosigner stated.
    pub const fn time(&self) -> PosixSeconds {
        self.time
    }
}

/// What the holder of `key` signs to cosign this checkpoint at this time.
pub fn message(
    key: &VerifierKey,
    time: PosixSeconds,
    checkpoint: &Checkpoint,
) -> Result<Vec<u8>, CosignatureError> {
    match key.kind() {
        KeyKind::Note => Err(CosignatureError::NotACosigner),
        KeyKind::Cosigner => Ok(format!("cosignature/v1\ntime {time}\n{}", checkpoint.text()).into_bytes()),
        KeyKind::MlDsaCosigner => {
            let mut message = b"subtree/v1\n\0".to_vec();
            named(&mut message, key.name())?;
            message.extend_from_slice(&time.seconds().to_be_bytes());
            named(&mut message, checkpoint.origin.as_str())?;
            // A checkpoint is the subtree of all leaves: it starts at 0.
            message.extend_from_slice(&0_u64.to_be_bytes());
            message.extend_from_slice(&checkpoint.size.to_be_bytes());
            message.extend_from_slice(checkpoint.root.as_bytes());
            Ok(message)
        }
    }
}

/// The line for a signature over [`message`]: 64 bytes of Ed25519 or 2,420 of ML-DSA-44.
pub fn line(
    key: &VerifierKey,
    time: PosixSeconds,
    signature: &[u8],
) -> Result<NoteSignature, CosignatureError> {
    match (key.kind(), signature.len()) {
        (KeyKind::Note, _) => Err(CosignatureError::NotACosigner),
        (KeyKind::Cosigner, ED25519_SIGNATURE_BYTES) | (KeyKind::MlDsaCosigner, ML_DSA_SIGNATURE_BYTES) => {
            Ok(key.cosigned_line(time, signature))
        }
        _ => Err(CosignatureError::Length),
    }
}

/// For notes of any text: only the text of a checkpoint can be cosigned.
pub(super) fn verify_text(
    key: &VerifierKey,
    text: &str,
    line: &NoteSignature,
) -> Result<Cosignature, CosignatureError> {
    let checkpoint = Checkpoint::parse(text).map_err(|_| CosignatureError::NotACheckpoint)?;
    Cosignature::verify(key, &checkpoint, line)
}

/// A length in one byte and the bytes.
fn named(message: &mut Vec<u8>, name: &str) -> Result<(), CosignatureError> {
    message.push(u8::try_from(name.len()).map_err(|_| CosignatureError::Length)?);
    message.extend_from_slice(name.as_bytes());
    Ok(())
}

/// An encoded ML-DSA-44 public key (FIPS 204).
#[cfg(feature = "ml-dsa")]
pub type MlDsaKey = [u8; 1312];

/// Verifies with the empty context, as tlog-cosignature asks.
#[cfg(feature = "ml-dsa")]
pub(super) fn ml_dsa_verifies(key: &MlDsaKey, message: &[u8], signature: &[u8]) -> bool {
    use ml_dsa::Verifier as _;
    let key = ml_dsa::VerifyingKey::<ml_dsa::MlDsa44>::decode(&(*key).into());
    ml_dsa::Signature::try_from(signature).is_ok_and(|signature| key.verify(message, &signature).is_ok())
}

/// The secret of an ML-DSA-44 cosigner. It signs deterministically: the same message gives the same bytes.
/// The seed and everything made from it is erased from memory when dropped.
#[cfg(feature = "ml-dsa")]
pub struct MlDsaSigner(Box<ml_dsa::SigningKey<ml_dsa::MlDsa44>>);

#[cfg(feature = "ml-dsa")]
impl MlDsaSigner {
    /// Makes the key pair of a seed (FIPS 204, `ML-DSA.KeyGen_internal`). Who holds the seed holds the key.
    pub fn from_seed(seed: &zeroize::Zeroizing<[u8; 32]>) -> Self {
        let seed = zeroize::Zeroizing::new(ml_dsa::Seed::from(**seed));
        Self(Box::new(ml_dsa::SigningKey::from_seed(&seed)))
    }

    /// The key that verifies what this one signs, under a name.
    pub fn verifier_key(&self, name: &str) -> Result<VerifierKey, crate::evidence::note::NoteError> {
        use ml_dsa::Keypair as _;
        VerifierKey::ml_dsa_cosigner(name, self.0.verifying_key().encode().into())
    }

    /// Signs the [`message`] of a cosignature, with the empty context.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CosignatureError> {
        use ml_dsa::Signer as _;
        let signature = self.0.try_sign(message).map_err(|_| CosignatureError::SigningFailed)?;
        Ok(signature.encode().to_vec())
    }
}

/// Why something is no cosignature of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CosignatureError {
    /// The cosigner's fault, or the checkpoint is another one: the signature does not verify.
    #[error("the cosignature does not verify for this checkpoint")]
    Invalid,
    /// The bytes of the signature are too few or too many for the type of the key.
    #[error("the cosignature has the wrong length for its type")]
    Length,
    /// The signed text is not that of a checkpoint.
    #[error("only checkpoints are cosigned")]
    NotACheckpoint,
    /// The caller's key is of type 1, which signs notes only.
    #[error("the key does not cosign: its type is 1")]
    NotACosigner,
    /// The line is by a key of another name or key id.
    #[error("the signature is by another key")]
    OtherKey,
    /// ML-DSA found no signature for this message; FIPS 204 allows it, it does not happen by chance.
    #[error("the key could not sign this message")]
    SigningFailed,
    /// The time is 0 or above 2^63 - 1.
    #[error("the time of a cosignature is 1 to 2^63 - 1 seconds")]
    Time,
}

const MAX_SECONDS: u64 = i64::MAX.cast_unsigned();
const ED25519_SIGNATURE_BYTES: usize = 64;
const ML_DSA_SIGNATURE_BYTES: usize = 2_420;

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer as _, SigningKey};

    use super::*;
    use crate::evidence::checkpoint::{CheckpointError, Origin, SignedCheckpoint};
    use crate::evidence::merkle::leaf_hash;
    use crate::evidence::note::{Note, NoteError, signature_line};
    use crate::ids::PublicKey;

    fn checkpoint(size: u64) -> Checkpoint {
        Checkpoint { origin: Origin::parse("log.example/a").unwrap(), size, root: leaf_hash(b"x") }
    }

    fn secret(seed: u8) -> (SigningKey, PublicKey) {
        let secret = SigningKey::from_bytes(&[seed; 32]);
        let public = PublicKey::from_bytes(secret.verifying_key().to_bytes());
        (secret, public)
    }

    fn witness(seed: u8, name: &str) -> VerifierKey {
        VerifierKey::cosigner(name, secret(seed).1).unwrap()
    }

    fn cosigned(seed: u8, name: &str, time: u64, checkpoint: &Checkpoint) -> NoteSignature {
        let (key, time) = (witness(seed, name), PosixSeconds::new(time).unwrap());
        let message = message(&key, time, checkpoint).unwrap();
        line(&key, time, &secret(seed).0.sign(&message).to_bytes()).unwrap()
    }

    fn signed(checkpoint: &Checkpoint, lines: &[NoteSignature]) -> SignedCheckpoint {
        let log = VerifierKey::new(checkpoint.origin.as_str(), secret(1).1).unwrap();
        let text = checkpoint.text();
        let own = signature_line(&log, secret(1).0.sign(text.as_bytes()).to_bytes());
        let note = Note::new(text, vec![own]).unwrap();
        SignedCheckpoint::verify(&note.to_string(), &log).unwrap().with_lines(lines).unwrap()
    }

    /// R-512: every byte of a cosignature counts, and so do checkpoint, name and type.
    #[test]
    fn a_cosignature_is_for_one_key_one_time_and_one_checkpoint() {
        let (key, head) = (witness(2, "w"), checkpoint(8));
        let good = cosigned(2, "w", 1_700_000_000, &head);
        let found = Cosignature::verify(&key, &head, &good).unwrap();
        assert_eq!((found.key(), found.time().seconds()), (&key, 1_700_000_000));
        assert_eq!(NoteSignature::parse(&good.to_string()).as_ref(), Ok(&good));

        let judge = |bytes: Vec<u8>| Cosignature::verify(&key, &head, &NoteSignature::of(&key, bytes)).err();
        for place in 0..good.signature().len() {
            let mut bytes = good.signature().to_vec();
            bytes[place] ^= 1 << (place % 8);
            assert_eq!(judge(bytes), Some(CosignatureError::Invalid), "byte {place}");
        }
        assert_eq!(judge(vec![0; 7]), Some(CosignatureError::Length));
        assert_eq!(judge(good.signature()[..71].to_vec()), Some(CosignatureError::Invalid));
        for time in [0, 1 << 63, u64::MAX] {
            let bytes = [&time.to_be_bytes(), &good.signature()[8..]].concat();
            assert_eq!(judge(bytes), Some(CosignatureError::Time));
            assert_eq!(PosixSeconds::new(time), Err(CosignatureError::Time));
        }
        assert!(PosixSeconds::new(1).is_ok() && PosixSeconds::new(MAX_SECONDS).is_ok());

        let other = Checkpoint { root: leaf_hash(b"y"), ..checkpoint(8) };
        for head in [checkpoint(9), other] {
            assert_eq!(Cosignature::verify(&key, &head, &good), Err(CosignatureError::Invalid));
        }
        let as_note = VerifierKey::new("w", secret(2).1).unwrap();
        for key in [witness(2, "v"), witness(3, "w"), as_note.clone()] {
            assert_eq!(Cosignature::verify(&key, &head, &good), Err(CosignatureError::OtherKey));
        }
        // A plain signature of the same key over the very message of a cosignature, and a key of type 1.
        let time = PosixSeconds::new(1_700_000_000).unwrap();
        assert_eq!(message(&as_note, time, &head), Err(CosignatureError::NotACosigner));
        assert_eq!(line(&as_note, time, &[0; 64]), Err(CosignatureError::NotACosigner));
        assert_eq!(line(&key, time, &[0; 63]), Err(CosignatureError::Length));
        let plain = NoteSignature::of(&as_note, good.signature().to_vec());
        assert_eq!(Cosignature::verify(&as_note, &head, &plain), Err(CosignatureError::NotACosigner));
    }

    #[test]
    fn known_cosigners_are_found_and_a_bad_line_of_one_rejects_the_note() {
        let head = checkpoint(8);
        let (one, two) = (cosigned(2, "one", 5, &head), cosigned(3, "two", 6, &head));
        let both = signed(&head, &[one.clone(), two.clone()]);
        let keys = [witness(3, "two"), witness(2, "one"), witness(4, "absent")];
        let names = |found: Vec<Cosignature>| -> Vec<_> {
            found.iter().map(|it| (it.key().name().to_owned(), it.time().seconds())).collect()
        };
        let all = names(both.cosignatures(&keys).unwrap());
        assert_eq!(all, [("one".to_owned(), 5), ("two".to_owned(), 6)]);
        assert_eq!(names(both.cosignatures(&keys[..1]).unwrap()), [("two".to_owned(), 6)]);
        assert_eq!(both.cosignatures(&[]), Ok(vec![]));
        assert_eq!(both.with_lines(&[one, two]).unwrap(), both, "each line once");
        let crowd: Vec<_> = (1..=16).map(|time| cosigned(2, "one", time, &head)).collect();
        let full = CheckpointError::Note(NoteError::SignatureCount);
        assert_eq!(signed(&head, &crowd[..15]).cosignatures(&keys).unwrap().len(), 15);
        assert_eq!(both.with_lines(&crowd), Err(full));

        let lie = cosigned(3, "two", 6, &checkpoint(9));
        let spoiled = signed(&head, &[lie]);
        let rejected = Err(CheckpointError::Note(NoteError::SignatureInvalid));
        assert_eq!(spoiled.cosignatures(&keys), rejected);
        assert_eq!(spoiled.cosignatures(&keys[1..]), Ok(vec![]));
    }

    /// R-512: a note with another text than a checkpoint's is not cosigned.
    #[test]
    fn only_checkpoints_are_cosigned() {
        let (key, head) = (witness(2, "w"), checkpoint(8));
        let text = format!("{}extension\n", head.text());
        let message = format!("cosignature/v1\ntime 5\n{text}");
        let time = PosixSeconds::new(5).unwrap();
        let good = line(&key, time, &secret(2).0.sign(message.as_bytes()).to_bytes()).unwrap();
        assert_eq!(verify_text(&key, &text, &good), Err(CosignatureError::NotACheckpoint));
        let note = Note::new(text, vec![good]).unwrap();
        assert_eq!(note.verify(std::slice::from_ref(&key)), Err(NoteError::SignatureInvalid));
        let note = Note::new(head.text(), vec![cosigned(2, "w", 5, &head)]).unwrap();
        assert_eq!(note.verify(&[key]), Ok(()));
    }

    /// R-512: the same of type 6, and no key answers for another type.
    #[cfg(feature = "ml-dsa")]
    #[test]
    fn an_ml_dsa_cosignature_is_for_one_key_one_time_and_one_checkpoint() {
        let signer = MlDsaSigner::from_seed(&zeroize::Zeroizing::new([7; 32]));
        let (key, head) = (signer.verifier_key("w").unwrap(), checkpoint(8));
        assert_eq!(VerifierKey::parse(&key.to_string()).as_ref(), Ok(&key));
        assert_eq!(key.public_key(), None);
        let time = PosixSeconds::new(1_700_000_000).unwrap();
        let of = |key: &VerifierKey| signer.sign(&message(key, time, &head).unwrap()).unwrap();
        let good = line(&key, time, &of(&key)).unwrap();
        assert_eq!(NoteSignature::parse(&good.to_string()).as_ref(), Ok(&good));
        let bytes = good.signature();
        assert_eq!(Cosignature::verify(&key, &head, &good).unwrap().time(), time);
        assert!(Cosignature::verify(&key, &checkpoint(9), &good).is_err());
        for place in (0..bytes.len()).step_by(97).chain([7, bytes.len() - 1]) {
            let mut bytes = bytes.to_vec();
            bytes[place] ^= 1;
            assert!(Cosignature::verify(&key, &head, &NoteSignature::of(&key, bytes)).is_err(), "{place}");
        }
        // The name is in the message: the same key under another name signs another one.
        let renamed = signer.verifier_key("v").unwrap();
        let moved = NoteSignature::of(&renamed, bytes.to_vec());
        assert_eq!(Cosignature::verify(&renamed, &head, &moved), Err(CosignatureError::Invalid));
        assert_eq!(line(&key, time, &[0; 64]), Err(CosignatureError::Length));
        let keys = [key, witness(2, "one")];
        let both = signed(&head, &[cosigned(2, "one", 5, &head), good]);
        assert_eq!(both.cosignatures(&keys).unwrap().len(), 2);
    }
}
