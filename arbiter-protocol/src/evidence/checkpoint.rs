//! Checkpoints: what the log commits to, C2SP tlog-checkpoint v1.0.0, as the text of a signed note.
//!
//! ```text
//! arbiter.example/evidence                        origin: names the log, also the name of its key
//! 8                                               size: number of leaves, decimal
//! XcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=    root of these leaves, base64
//! ```
//!
//! Invariants:
//! * Parsing and printing a checkpoint gives the same bytes. There are no extension lines:
//!   ML-DSA cosignatures do not cover them and witnesses reject them.
//! * A [`SignedCheckpoint`] exists only where the log's key verified and is named as the origin.
//! * An honest log never signs two checkpoints that [`SignedCheckpoint::contradicts`] accepts.
//!
//! ```
//! use arbiter_protocol::evidence::{checkpoint::SignedCheckpoint, note::VerifierKey};
//!
//! let log = VerifierKey::parse(
//!     "arbiter.example/evidence+fa13fc67+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4",
//! )?;
//! let note = "arbiter.example/evidence\n8\nXcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=\n\n\
//!     — arbiter.example/evidence +hP8Z08IZCZHcG5nh8PbtoazduHT7GYpOVmPTA8ZFDkZganfg95FMEMXObo3Tgp8T\
//!     SILSvEEhwcRn1rlwEHvlNZXQQw=\n";
//! assert_eq!(SignedCheckpoint::verify(note, &log)?.checkpoint().size, 8);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::{fmt, slice};

use thiserror::Error;

use crate::evidence::cosignature::Cosignature;
use crate::evidence::note::{KeyKind, Note, NoteError, NoteSignature, VerifierKey};
use crate::evidence::text;
use crate::ids::Digest;
use crate::limits;

/// The name of a log (tlog-checkpoint, "Note text", first line), such as `arbiter.example/evidence`.
/// It is also the name of the key that signs the log's checkpoints.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Origin(String);

impl Origin {
    /// Takes a name of 1 to [`limits::ORIGIN_BYTES`] bytes without `://`, spaces, control characters and `+`.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let allowed = |c: char| c != '+' && !c.is_whitespace() && !c.is_control();
        let length_fits = (1..=limits::ORIGIN_BYTES).contains(&text.len());
        if length_fits && text.chars().all(allowed) && !text.contains("://") {
            Ok(Self(text.to_owned()))
        } else {
            Err(CheckpointError::OriginMalformed)
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a log commits to: its leaves up to `size` have this root (tlog-checkpoint, "Note text").
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// The log.
    pub origin: Origin,
    /// The number of leaves.
    pub size: u64,
    /// The Merkle root of the leaves (RFC 6962 section 2.1).
    pub root: Digest,
}

impl Checkpoint {
    /// The three lines that the log signs, with the final newline.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, text::print_hash(&self.root))
    }

    /// Reads what [`Checkpoint::text`] writes and nothing else.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text.strip_suffix('\n').ok_or(CheckpointError::LineCount)?.split('\n');
        let (Some(origin), Some(size), Some(root), None) =
            (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(CheckpointError::LineCount);
        };
        let size = text::decimal(size).ok_or(CheckpointError::SizeMalformed);
        let root = text::hash(root).ok_or(CheckpointError::RootMalformed);
        Ok(Self { origin: Origin::parse(origin)?, size: size?, root: root? })
    }
}

/// A checkpoint that the log's key signed, together with its note and every other signature on it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    note: Note,
}

impl SignedCheckpoint {
    /// Reads a note and checks the signature of the log. `log_key` is named as the log's origin, as
    /// tlog-checkpoint recommends; a key of another name cannot sign for it. Signatures by others,
    /// such as witnesses, are kept unchecked.
    pub fn verify(note_text: &str, log_key: &VerifierKey) -> Result<Self, CheckpointError> {
        let note = Note::parse(note_text)?;
        note.verify(slice::from_ref(log_key))?;
        let checkpoint = Checkpoint::parse(note.text())?;
        if checkpoint.origin.as_str() == log_key.name() {
            Ok(Self { checkpoint, note })
        } else {
            Err(CheckpointError::OtherOrigin)
        }
    }

    /// As [`SignedCheckpoint::verify`], with several keys: those named as the origin count. One of them signed,
    /// and no signature that claims to be of one of them is bad.
    pub fn verify_any(note: Note, log_keys: &[VerifierKey]) -> Result<Self, CheckpointError> {
        let checkpoint = Checkpoint::parse(note.text())?;
        let named = |key: &&VerifierKey| key.name() == checkpoint.origin.as_str();
        let keys: Vec<_> = log_keys.iter().filter(named).cloned().collect();
        if keys.is_empty() {
            return Err(CheckpointError::OtherOrigin);
        }
        note.verify(&keys)?;
        Ok(Self { checkpoint, note })
    }

    /// Who of these cosigners, such as witnesses, signed this checkpoint and when, in the order of the lines
    /// (R-512). Lines of other keys are ignored; a line of one of these that does not verify rejects the
    /// whole note. Keys of type 1 cosign nothing and are passed over.
    pub fn cosignatures(&self, cosigners: &[VerifierKey]) -> Result<Vec<Cosignature>, CheckpointError> {
        let mut found = Vec::new();
        for line in self.note.signatures() {
            let known = |key: &&VerifierKey| key.kind() != KeyKind::Note && key.made(line);
            let mut known = cosigners.iter().filter(known).peekable();
            if known.peek().is_some() {
                let good = known.find_map(|key| Cosignature::verify(key, &self.checkpoint, line).ok());
                found.push(good.ok_or(CheckpointError::Note(NoteError::SignatureInvalid))?);
            }
        }
        Ok(found)
    }

    /// The checkpoint with these lines added to its note, each at most once. Lines that would be more than a
    /// note may have are an error.
    pub fn with_lines(&self, lines: &[NoteSignature]) -> Result<Self, CheckpointError> {
        let mut signatures = self.note.signatures().to_vec();
        for line in lines {
            if !signatures.contains(line) {
                signatures.push(line.clone());
            }
        }
        let note = Note::new(self.note.text().to_owned(), signatures)?;
        Ok(Self { checkpoint: self.checkpoint.clone(), note })
    }

    /// What the log signed.
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The note as it was read; it prints as the same bytes.
    pub const fn note(&self) -> &Note {
        &self.note
    }

    /// Whether the two together convict the log: it signed two roots for one size. Of checkpoints
    /// with different sizes only a consistency proof can tell.
    pub fn contradicts(&self, other: &Self) -> bool {
        let (one, two) = (&self.checkpoint, &other.checkpoint);
        one.origin == two.origin && one.size == two.size && one.root != two.root
    }
}

/// Why a checkpoint is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// There are fewer or more than three lines; extension lines are not accepted.
    #[error("a checkpoint has exactly three lines: origin, size and root")]
    LineCount,
    /// The note is malformed or the log's key does not verify it.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The origin is empty, too long, has a scheme, or characters that are not allowed.
    #[error("the origin is empty, too long, has a scheme or characters that are not allowed")]
    OriginMalformed,
    /// The key that signed has another name than the origin.
    #[error("the checkpoint is of another log than the key")]
    OtherOrigin,
    /// The root is not the canonical base64 of 32 bytes.
    #[error("the root is not the base64 of 32 bytes")]
    RootMalformed,
    /// The size is not a decimal number below 2^64 without sign and leading zeroes.
    #[error("the size is not a decimal number without leading zeroes")]
    SizeMalformed,
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use ed25519_dalek::{Signer as _, SigningKey};

    use super::*;
    use crate::evidence::{merkle::leaf_hash, note::signature_line};
    use crate::ids::PublicKey;

    const ROOT: &str = "XcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=";

    fn checkpoint(size: u64, leaf: &[u8]) -> Checkpoint {
        Checkpoint { origin: Origin::parse("log.example/a").unwrap(), size, root: leaf_hash(leaf) }
    }

    /// Signs a text with the key `name` and verifies it with that key.
    fn signed(text: String, name: &str) -> Result<SignedCheckpoint, CheckpointError> {
        let secret = SigningKey::from_bytes(&[1; 32]);
        let public = PublicKey::from_bytes(secret.verifying_key().to_bytes());
        let key = VerifierKey::new(name, public).unwrap();
        let line = signature_line(&key, secret.sign(text.as_bytes()).to_bytes());
        SignedCheckpoint::verify(&Note::new(text, vec![line]).unwrap().to_string(), &key)
    }

    #[test]
    fn a_checkpoint_prints_as_it_was_read() {
        for size in [0, 1, 10, u64::MAX] {
            let checkpoint = checkpoint(size, b"x");
            assert_eq!(Checkpoint::parse(&checkpoint.text()), Ok(checkpoint.clone()));
            let signed = signed(checkpoint.text(), "log.example/a").unwrap();
            assert_eq!(signed.checkpoint(), &checkpoint);
            assert_eq!(signed.note().text(), checkpoint.text());
        }
    }

    #[test]
    fn every_other_form_is_refused() {
        use CheckpointError::*;
        assert!(Checkpoint::parse(&format!("o\n8\n{ROOT}\n")).is_ok());
        for (text, error) in [
            (String::new(), LineCount),
            (format!("o\n8\n{ROOT}"), LineCount),
            ("o\n8\n".to_owned(), LineCount),
            (format!("o\n8\n{ROOT}\nextension\n"), LineCount),
            (format!("o\n8\n{ROOT}\n\n"), LineCount),
            (format!("\n8\n{ROOT}\n"), OriginMalformed),
            (format!("o\r\n8\n{ROOT}\n"), OriginMalformed),
            (format!("o\n\n{ROOT}\n"), SizeMalformed),
            (format!("o\n08\n{ROOT}\n"), SizeMalformed),
            (format!("o\n00\n{ROOT}\n"), SizeMalformed),
            (format!("o\n+8\n{ROOT}\n"), SizeMalformed),
            (format!("o\n-0\n{ROOT}\n"), SizeMalformed),
            (format!("o\n 8\n{ROOT}\n"), SizeMalformed),
            (format!("o\n8 \n{ROOT}\n"), SizeMalformed),
            (format!("o\n0x8\n{ROOT}\n"), SizeMalformed),
            (format!("o\n18446744073709551616\n{ROOT}\n"), SizeMalformed),
            ("o\n8\n\n".to_owned(), RootMalformed),
            (format!("o\n8\n{ROOT} \n"), RootMalformed),
            (format!("o\n8\n{}\n", ROOT.trim_end_matches('=')), RootMalformed),
            // The last character carries two bits that are not part of the root.
            (format!("o\n8\n{}\n", ROOT.replace("yg=", "yh=")), RootMalformed),
            (format!("o\n8\n{}\n", ROOT.replace('+', "-").replace('/', "_")), RootMalformed),
            (format!("o\n8\n{}\n", STANDARD.encode([0; 31])), RootMalformed),
            (format!("o\n8\n{}\n", STANDARD.encode([0; 33])), RootMalformed),
        ] {
            assert_eq!(Checkpoint::parse(&text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn an_origin_is_a_short_name_without_scheme() {
        let longest = "o".repeat(limits::ORIGIN_BYTES);
        for good in ["o", "log.example/a", "log.example:8443/a", "größe.example", &longest] {
            assert_eq!(Origin::parse(good).unwrap().as_str(), good);
        }
        let too_long = format!("{longest}o");
        for bad in ["", "a b", "a+b", "a\u{a0}b", "a\nb", "a\tb", "a\u{7f}", "https://a", &too_long] {
            assert_eq!(Origin::parse(bad), Err(CheckpointError::OriginMalformed), "{bad:?}");
        }
    }

    #[test]
    fn a_key_of_another_name_cannot_sign_for_the_log() {
        let text = checkpoint(8, b"x").text();
        assert_eq!(signed(text, "log.example/b"), Err(CheckpointError::OtherOrigin));
        let signed_text = signed("hello\n".to_owned(), "log.example/a");
        assert_eq!(signed_text, Err(CheckpointError::LineCount));
    }

    /// S36: two roots for one size convict the log.
    #[test]
    fn two_roots_for_one_size_of_one_log_contradict() {
        let of = |size, leaf| signed(checkpoint(size, leaf).text(), "log.example/a").unwrap();
        assert!(of(8, b"x").contradicts(&of(8, b"y")));
        assert!(!of(8, b"x").contradicts(&of(8, b"x")));
        assert!(!of(8, b"x").contradicts(&of(9, b"y")));
        let other = Checkpoint { origin: Origin::parse("log.example/b").unwrap(), ..checkpoint(8, b"y") };
        assert!(!of(8, b"x").contradicts(&signed(other.text(), "log.example/b").unwrap()));
    }
}
