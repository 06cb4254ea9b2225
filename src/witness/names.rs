//! Under which names a witness signs, and what it signs: cosignatures of checkpoints (C2SP tlog-cosignature), nothing else.

use arbiter_protocol::crypto::Signer as _;
#[cfg(feature = "ml-dsa")]
use arbiter_protocol::evidence::cosignature::CosignatureError;
use arbiter_protocol::evidence::cosignature::{line, message};
use arbiter_protocol::evidence::note::{NoteError, VerifierKey};
use arbiter_protocol::ids::PublicKey;
use thiserror::Error;

use super::store::Head;
use crate::keys::witness_file::WitnessKeys;

/// No key can have the name. The operator is at fault.
#[derive(Debug, Error)]
#[error(
    "setting name is {name:?}: it must be a name such as witness.example/w1, of 1 to 255 bytes without spaces and +"
)]
pub struct NameError {
    name: String,
}

/// The verifier keys of a witness.
#[derive(Clone, Debug)]
pub struct Names {
    id: PublicKey,
    ed25519: VerifierKey,
    #[cfg(feature = "ml-dsa")]
    ml_dsa: Option<VerifierKey>,
}

impl Names {
    /// Whether keys can have this name.
    pub fn check(name: &str) -> Result<(), NameError> {
        // The name of any key will do: this one is the base point.
        let mut point = [0x66; 32];
        if let Some(first) = point.first_mut() {
            *first = 0x58;
        }
        VerifierKey::cosigner(name, PublicKey::from_bytes(point)).map(drop).map_err(|_| of(name))
    }

    /// The keys under this name.
    pub fn of(name: &str, keys: &WitnessKeys) -> Result<Self, NameError> {
        let wrong = |_: NoteError| of(name);
        Ok(Self {
            id: keys.ed25519.public_key(),
            ed25519: VerifierKey::cosigner(name, keys.ed25519.public_key()).map_err(wrong)?,
            #[cfg(feature = "ml-dsa")]
            ml_dsa: keys.ml_dsa.as_ref().map(|key| key.verifier_key(name)).transpose().map_err(wrong)?,
        })
    }

    /// To which key data and mark belong.
    pub const fn id(&self) -> PublicKey {
        self.id
    }

    /// All keys, Ed25519 first.
    pub fn keys(&self) -> impl Iterator<Item = &VerifierKey> {
        let keys = std::iter::once(&self.ed25519);
        #[cfg(feature = "ml-dsa")]
        let keys = keys.chain(&self.ml_dsa);
        keys
    }

    /// The cosignatures of a durable head: one line a key, each with its newline. The same head gives the same bytes.
    pub(super) fn cosign(&self, keys: &WitnessKeys, head: &Head) -> String {
        let Head { checkpoint, time, .. } = head;
        let valid = "invariant: names and origins are short enough to be signed";
        let text = message(&self.ed25519, *time, checkpoint).expect(valid);
        let lines = line(&self.ed25519, *time, &keys.ed25519.sign(&text)).expect(valid).to_string() + "\n";
        #[cfg(feature = "ml-dsa")]
        let lines = match (&self.ml_dsa, &keys.ml_dsa) {
            (Some(name), Some(key)) => {
                let second = message(name, *time, checkpoint)
                    .and_then(|text| key.sign(&text))
                    .and_then(|signature| line(name, *time, &signature));
                match second {
                    Ok(second) => format!("{lines}{second}\n"),
                    Err(error) => without_ml_dsa(lines, error),
                }
            }
            _ => lines,
        };
        lines
    }
}

/// FIPS 204 allows that a message cannot be signed; one cosignature is better than none.
#[cfg(feature = "ml-dsa")]
fn without_ml_dsa(lines: String, error: CosignatureError) -> String {
    tracing::error!(%error, "no ML-DSA cosignature for this checkpoint");
    lines
}

fn of(name: &str) -> NameError {
    NameError { name: name.chars().take(300).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_word() {
        for good in ["w", "witness.example/w1", "größe", &"n".repeat(255)] {
            assert!(Names::check(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a+b", "a\nb", &"n".repeat(256)] {
            assert!(Names::check(bad).is_err(), "{bad:?}");
        }
    }
}
