//! An anchor: what a time-stamping authority signed about a checkpoint of the log, with that checkpoint, in one text (R-546).
//!
//! ```text
//! arbiter/anchor/v1
//! MIIV3AYJKoZIhvcNAQ…          the token of RFC 3161 (DER), base64; its SHA-256 is the token of the leaf `anchor`
//!                              an empty line
//! arbiter.example/evidence     the checkpoint as it was published then, with the cosignatures of witnesses
//! 8
//! …
//! ```
//! The token is over the text of the checkpoint: its three lines, without the signatures. So `sed -n 2p`, `base64 -d` and
//! `openssl ts -verify` are enough to check one.
//!
//! Invariants: parsing and printing gives the same bytes, and nothing else parses to that anchor. Nothing in it is verified.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use thiserror::Error;

use crate::evidence::note::{Note, NoteError};
use crate::ids::{Digest, LeafIndex};
use crate::limits;

/// An anchor that was read. Nothing in it is verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Anchor {
    token: Vec<u8>,
    checkpoint: Note,
}

/// Why a text is no anchor. Who serves it is at fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AnchorError {
    /// The text has another form.
    #[error("it is no anchor: another first line, no token in base64, or no checkpoint")]
    Malformed,
    /// The part that is a note.
    #[error("its checkpoint: {0}")]
    Note(#[from] NoteError),
    /// It is longer than any, or its token is.
    #[error("it is too long")]
    TooLong,
}

impl Anchor {
    /// Puts a token, 1 to [`limits::TIMESTAMP_BYTES`] bytes, beside the checkpoint that it is over.
    pub fn new(token: Vec<u8>, checkpoint: Note) -> Result<Self, AnchorError> {
        let fits = (1..=limits::TIMESTAMP_BYTES).contains(&token.len());
        if fits { Ok(Self { token, checkpoint }) } else { Err(AnchorError::TooLong) }
    }

    /// Where the anchor of the leaf at `index` is, beside the tiles.
    pub fn path(index: LeafIndex) -> String {
        format!("anchor/{}", index.0)
    }

    /// Reads an anchor.
    pub fn parse(text: &str) -> Result<Self, AnchorError> {
        if text.len() > limits::ANCHOR_BYTES {
            return Err(AnchorError::TooLong);
        }
        let rest = text.strip_prefix(FIRST_LINE).ok_or(AnchorError::Malformed)?;
        let (token, note) = rest.split_once("\n\n").ok_or(AnchorError::Malformed)?;
        let token = STANDARD.decode(token).map_err(|_| AnchorError::Malformed)?;
        Self::new(token, Note::parse(note)?)
    }

    /// The token (DER).
    pub fn token(&self) -> &[u8] {
        &self.token
    }

    /// What the leaf says of it (R-536).
    pub fn digest(&self) -> Digest {
        Digest::of(&[&self.token])
    }

    /// The checkpoint with its signatures.
    pub const fn note(&self) -> &Note {
        &self.checkpoint
    }
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{FIRST_LINE}{}\n\n{}", STANDARD.encode(&self.token), self.checkpoint)
    }
}

const FIRST_LINE: &str = "arbiter/anchor/v1\n";
const _: () = assert!(
    limits::TIMESTAMP_BYTES / 3 * 4 + 1024 + limits::NOTE_TEXT_BYTES + limits::NOTE_SIGNATURES * 4096
        <= limits::ANCHOR_BYTES
);

#[cfg(test)]
mod tests {
    use super::*;

    const NOTE: &str = "arbiter.example/evidence\n8\nXcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=\n\n\
        \u{2014} arbiter.example/evidence +hP8Z08IZCZHcG5nh8PbtoazduHT7GYpOVmPTA8ZFDkZganfg95FMEMXObo3Tgp8TSILSvEEhwcRn1rlwEHvlNZXQQw=\n";

    /// R-546: one form; every other text is refused.
    #[test]
    fn an_anchor_has_one_form() {
        let anchor = Anchor::new(b"token".to_vec(), Note::parse(NOTE).unwrap()).unwrap();
        let text = anchor.to_string();
        assert_eq!(text, format!("arbiter/anchor/v1\ndG9rZW4=\n\n{NOTE}"));
        assert_eq!(Anchor::parse(&text).as_ref(), Ok(&anchor));
        assert_eq!(anchor.digest(), Digest::of(&[b"token"]));
        assert_eq!(Anchor::path(LeafIndex(70_000)), "anchor/70000");
        for (from, to) in [
            ("anchor/v1", "anchor/v2"),
            ("dG9rZW4=", "dG9rZW4"),
            ("dG9rZW4=", ""),
            ("dG9rZW4=\n\n", "dG9rZW4=\n"),
            ("dG9rZW4=\n", "dG9r\nZW4=\n"),
            ("QQw=\n", "QQw="),
        ] {
            assert!(Anchor::parse(&text.replacen(from, to, 1)).is_err(), "{from:?} for {to:?}");
        }
        assert!(Anchor::parse(&format!("{text}x")).is_err());
        // At the limits and one beyond.
        let note = || Note::parse(NOTE).unwrap();
        let longest = Anchor::new(vec![7; limits::TIMESTAMP_BYTES], note()).unwrap();
        assert_eq!(Anchor::parse(&longest.to_string()).as_ref(), Ok(&longest));
        assert_eq!(Anchor::new(vec![7; limits::TIMESTAMP_BYTES + 1], note()), Err(AnchorError::TooLong));
        assert_eq!(Anchor::new(Vec::new(), note()), Err(AnchorError::TooLong));
        assert_eq!(Anchor::parse(&" ".repeat(limits::ANCHOR_BYTES + 1)), Err(AnchorError::TooLong));
    }
}
