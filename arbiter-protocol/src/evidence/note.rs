//! Signed notes: a short text and the signatures on it, in the one form of C2SP signed-note v1.0.0.
//!
//! ```text
//! arbiter.example/evidence                        \
//! 8                                                | text, signed with its final newline
//! XcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=    /
//!                                                   the last empty line ends the text
//! — arbiter.example/evidence +hP8Z08IZC…          — name, base64(key id || signature)
//! — witness.example/w1 IDJKvgAAAABlU/E…
//! ```
//!
//! Invariants:
//! * Parsing and printing a note gives the same bytes, and nothing else parses to that note.
//! * A note that only unknown keys signed is not verified; one bad signature by a known key rejects it.
//! * Nothing here signs: the holder of the key does, and wraps the result with [`signature_line`].

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use thiserror::Error;

pub use crate::evidence::key::{KeyKind, VerifierKey};
use crate::limits;

/// A text and 1 to [`limits::NOTE_SIGNATURES`] signatures, not yet verified (signed-note, "Format").
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl Note {
    /// Puts a note together. The text ends with a newline and has no other control characters.
    pub fn new(text: String, signatures: Vec<NoteSignature>) -> Result<Self, NoteError> {
        if text.len() > limits::NOTE_TEXT_BYTES {
            return Err(NoteError::TextTooLong);
        }
        if !text.ends_with('\n') || text.chars().any(|c| c < ' ' && c != '\n') {
            return Err(NoteError::TextMalformed);
        }
        if signatures.is_empty() || signatures.len() > limits::NOTE_SIGNATURES {
            return Err(NoteError::SignatureCount);
        }
        Ok(Self { text, signatures })
    }

    /// Reads a note. The text may hold empty lines: the last one separates the signatures.
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        let (text, lines) = note.rsplit_once("\n\n").ok_or(NoteError::Malformed)?;
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Malformed)?;
        // One line more than allowed is enough for `new` to refuse.
        let lines = lines.split('\n').take(limits::NOTE_SIGNATURES + 1);
        let signatures = lines.map(NoteSignature::parse).collect::<Result<_, _>>()?;
        Self::new(format!("{text}\n"), signatures)
    }

    /// The signed text, with its final newline.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures, in the order of the note.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Checks the note against the keys that the caller trusts (signed-note, "Verification"):
    /// signatures of other (name, key id) pairs are ignored, each one of a known pair must verify,
    /// and there must be at least one of these. A key of a cosigner verifies only the text of a checkpoint.
    pub fn verify(&self, keys: &[VerifierKey]) -> Result<(), NoteError> {
        let mut verified = false;
        for signature in &self.signatures {
            let mut known = keys.iter().filter(|key| key.made(signature)).peekable();
            if known.peek().is_none() {
                continue;
            }
            if !known.any(|key| key.verifies(&self.text, signature)) {
                return Err(NoteError::SignatureInvalid);
            }
            verified = true;
        }
        if verified { Ok(()) } else { Err(NoteError::SignatureUnknown) }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

/// One signature line, not yet verified (signed-note, "Format"). The signature may be of any type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NoteSignature {
    name: String,
    key_id: u32,
    signature: Vec<u8>,
}

impl NoteSignature {
    /// Reads one line without its newline: em dash, space, key name, space, base64.
    pub fn parse(line: &str) -> Result<Self, NoteError> {
        let (name, encoded) = line
            .strip_prefix(SIGNATURE_PREFIX)
            .and_then(|rest| rest.split_once(' '))
            .ok_or(NoteError::SignatureMalformed)?;
        let name = parse_name(name)?;
        if encoded.len() > MAX_SIGNATURE_BASE64_BYTES {
            return Err(NoteError::SignatureMalformed);
        }
        let bytes = STANDARD.decode(encoded).map_err(|_| NoteError::SignatureMalformed)?;
        match bytes.split_first_chunk() {
            Some((key_id, signature)) if !signature.is_empty() => {
                Ok(Self { name, key_id: u32::from_be_bytes(*key_id), signature: signature.to_vec() })
            }
            _ => Err(NoteError::SignatureMalformed),
        }
    }

    /// The line of `key` with these bytes after the key id.
    pub(super) fn of(key: &VerifierKey, signature: Vec<u8>) -> Self {
        Self { name: key.name().to_owned(), key_id: key.key_id(), signature }
    }

    /// The name of the key.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first four bytes of the hash of name, type and key, big endian.
    pub const fn key_id(&self) -> u32 {
        self.key_id
    }

    /// The bytes after the key id; their meaning depends on the type of the key.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [self.key_id.to_be_bytes().as_slice(), &self.signature].concat();
        write!(f, "{SIGNATURE_PREFIX}{} {}", self.name, STANDARD.encode(bytes))
    }
}

/// The line for an Ed25519 signature of type 0x01 by `key` over the text of a note.
pub fn signature_line(key: &VerifierKey, ed25519_signature: [u8; 64]) -> NoteSignature {
    NoteSignature::of(key, ed25519_signature.to_vec())
}

/// Why a note or a verifier key is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NoteError {
    /// Not `name+id+base64`, or the id is not that of the key.
    #[error("the verifier key is malformed or its key id is wrong")]
    KeyMalformed,
    /// The key is of another type than 1, 4 and, with the feature `ml-dsa`, 6.
    #[error("the verifier key is of a type that is not supported")]
    KeyUnsupported,
    /// The key is of small order or not a curve point.
    #[error("the verifier key is weak or not a key at all")]
    KeyWeak,
    /// There is no empty line between text and signatures, or no final newline.
    #[error("the note is not a text, an empty line and signature lines")]
    Malformed,
    /// A key name is empty, too long, or has spaces, control characters or `+`.
    #[error("the key name is empty, too long or has characters that are not allowed")]
    NameMalformed,
    /// There is no signature, or more than [`limits::NOTE_SIGNATURES`].
    #[error("the note has no signature or more than {}", limits::NOTE_SIGNATURES)]
    SignatureCount,
    /// A signature of a known key does not verify: the whole note is rejected.
    #[error("a signature by a known key does not verify")]
    SignatureInvalid,
    /// A signature line is not em dash, name and canonical base64 of key id and signature.
    #[error("a signature line is malformed")]
    SignatureMalformed,
    /// No known key signed the note.
    #[error("no known key signed the note")]
    SignatureUnknown,
    /// The text has no final newline, or has other control characters.
    #[error("the text does not end with a newline or has control characters")]
    TextMalformed,
    /// The text is longer than [`limits::NOTE_TEXT_BYTES`].
    #[error("the text is longer than {} bytes", limits::NOTE_TEXT_BYTES)]
    TextTooLong,
}

pub(super) fn parse_name(name: &str) -> Result<String, NoteError> {
    let allowed = |c: char| c >= ' ' && c != '+' && !c.is_whitespace();
    if (1..=limits::NOTE_KEY_NAME_BYTES).contains(&name.len()) && name.chars().all(allowed) {
        Ok(name.to_owned())
    } else {
        Err(NoteError::NameMalformed)
    }
}

/// Longest base64 of a key id and signature; the largest known, ML-DSA-44, has 3,244.
const MAX_SIGNATURE_BASE64_BYTES: usize = 4_096;
/// Em dash and space.
const SIGNATURE_PREFIX: &str = "\u{2014} ";

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer as _, SigningKey};

    use super::*;
    use crate::ids::PublicKey;

    const TEXT: &str = "first\n\nthird, with an — em dash\n\n";

    fn keys(seed: u8, name: &str) -> (SigningKey, VerifierKey) {
        let secret = SigningKey::from_bytes(&[seed; 32]);
        let public = PublicKey::from_bytes(secret.verifying_key().to_bytes());
        (secret, VerifierKey::new(name, public).unwrap())
    }

    fn signed(text: &str, seed: u8, name: &str) -> NoteSignature {
        let (secret, public) = keys(seed, name);
        signature_line(&public, secret.sign(text.as_bytes()).to_bytes())
    }

    fn note(signatures: &[NoteSignature]) -> Note {
        Note::new(TEXT.to_owned(), signatures.to_vec()).unwrap()
    }

    #[test]
    fn a_note_and_a_key_print_as_they_were_read() {
        let note = note(&[signed(TEXT, 1, "a.example/log"), signed(TEXT, 2, "w")]);
        assert_eq!(Note::parse(&note.to_string()), Ok(note));
        let (_, key) = keys(1, "a.example/log");
        assert_eq!(VerifierKey::parse(&key.to_string()), Ok(key));
    }

    #[test]
    fn no_change_of_one_character_is_the_same_note_or_verifies() {
        let (_, key) = keys(1, "log");
        let original = note(&[signed(TEXT, 1, "log")]).to_string();
        assert_eq!(Note::parse(&original).unwrap().verify(std::slice::from_ref(&key)), Ok(()));
        let insertions = ["", "\n", " ", "+", "A", "=", "\u{2014}", "\r", "\0", "\u{a0}"];
        for (place, old) in original.char_indices().chain([(original.len(), '\n')]) {
            let (before, rest) = original.split_at(place);
            for replaced in [0, old.len_utf8().min(rest.len())] {
                for insertion in insertions {
                    let changed = [before, insertion, &rest[replaced..]].concat();
                    let Ok(parsed) = Note::parse(&changed) else { continue };
                    assert_eq!(parsed.to_string(), changed);
                    let verified = parsed.verify(std::slice::from_ref(&key)).is_ok();
                    assert_eq!(verified, changed == original, "{changed:?}");
                }
            }
        }
    }

    #[test]
    fn unknown_signatures_are_ignored_and_a_known_bad_one_rejects_the_note() {
        let ((_, log), (_, witness)) = (keys(1, "log"), keys(2, "witness"));
        let good = signed(TEXT, 1, "log");
        let forged = NoteSignature { signature: vec![7; 64], ..signed(TEXT, 2, "witness") };
        let short = NoteSignature { signature: vec![7; 63], ..forged.clone() };
        let renamed = NoteSignature { name: "witness".to_owned(), ..good.clone() };
        let only_log = std::slice::from_ref(&log);
        let both = [log.clone(), witness];
        assert_eq!(note(&[forged.clone(), good.clone()]).verify(only_log), Ok(()));
        for bad in [forged.clone(), short] {
            let rejected = Err(NoteError::SignatureInvalid);
            assert_eq!(note(&[good.clone(), bad]).verify(&both), rejected);
        }
        // Only one half of the pair is known.
        assert_eq!(note(&[renamed.clone(), good]).verify(&both), Ok(()));
        assert_eq!(note(&[renamed]).verify(&both), Err(NoteError::SignatureUnknown));
        assert_eq!(note(&[forged]).verify(only_log), Err(NoteError::SignatureUnknown));
    }

    #[test]
    fn limits_hold_at_the_limit_and_not_beyond() {
        let line = signed(TEXT, 1, "log");
        let lines = |count| format!("x\n\n{}", format!("{line}\n").repeat(count));
        assert!(Note::parse(&lines(limits::NOTE_SIGNATURES)).is_ok());
        assert_eq!(Note::parse(&lines(limits::NOTE_SIGNATURES + 1)), Err(NoteError::SignatureCount));
        assert_eq!(Note::parse("x\n\n"), Err(NoteError::Malformed));
        assert_eq!(Note::new("x\n".to_owned(), vec![]), Err(NoteError::SignatureCount));
        for bad in ["", "x", "x\r\n", "x\ty\n"] {
            assert_eq!(Note::new(bad.to_owned(), vec![line.clone()]), Err(NoteError::TextMalformed));
        }
        let text = |length: usize| format!("{}\n", "x".repeat(length - 1));
        assert!(Note::new(text(limits::NOTE_TEXT_BYTES), vec![line.clone()]).is_ok());
        assert_eq!(Note::new(text(limits::NOTE_TEXT_BYTES + 1), vec![line]), Err(NoteError::TextTooLong));
        let name = |length| parse_name(&"n".repeat(length)).is_ok();
        assert!(
            name(1)
                && name(limits::NOTE_KEY_NAME_BYTES)
                && !name(0)
                && !name(limits::NOTE_KEY_NAME_BYTES + 1)
        );
        assert!(["a b", "a\u{a0}b", "a+b", "a\u{1}b"].iter().all(|bad| parse_name(bad).is_err()));
        let signature = |length: usize| NoteSignature::parse(&format!("— n {}", "A".repeat(length))).is_ok();
        assert!(signature(8) && signature(MAX_SIGNATURE_BASE64_BYTES));
        assert!(!signature(4) && !signature(MAX_SIGNATURE_BASE64_BYTES + 4));
        assert_eq!(NoteSignature::parse("— n AAAAAA=="), Err(NoteError::SignatureMalformed));
    }

    #[test]
    fn a_malformed_or_weak_verifier_key_is_refused() {
        let good = keys(1, "log").1.to_string();
        let (_, rest) = good.split_once('+').unwrap();
        let (id, encoded) = rest.split_once('+').unwrap();
        assert_ne!(id, id.to_uppercase());
        let (small_order, no_point) = ([0; 32], [2; 32]);
        for key in [small_order, no_point] {
            assert_eq!(VerifierKey::new("log", PublicKey::from_bytes(key)), Err(NoteError::KeyWeak));
        }
        for (text, error) in [
            (format!("log+{}+{encoded}", id.to_uppercase()), NoteError::KeyMalformed),
            (format!("other+{id}+{encoded}"), NoteError::KeyMalformed),
            (format!("+{id}+{encoded}"), NoteError::NameMalformed),
            (format!("a b+{id}+{encoded}"), NoteError::NameMalformed),
            (format!("log+{id}"), NoteError::KeyMalformed),
            (format!("log+{id}+"), NoteError::KeyMalformed),
            (format!("log+{id}+{encoded}\n"), NoteError::KeyMalformed),
            (format!("log+{id}+{}", STANDARD.encode([1; 32])), NoteError::KeyMalformed),
            (format!("log+{id}+{}", STANDARD.encode([2; 33])), NoteError::KeyUnsupported),
            (format!("log+{id}+{}", STANDARD.encode([4; 32])), NoteError::KeyMalformed),
            (format!("log+{id}+{}", "A".repeat(2_048)), NoteError::KeyMalformed),
        ] {
            assert_eq!(VerifierKey::parse(&text), Err(error), "{text}");
        }
    }
}
