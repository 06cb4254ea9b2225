//! Sealing content to one recipient: HPKE (RFC 9180) base mode, X25519-HKDF-SHA256, ChaCha20-Poly1305.
//!
//! ```text
//! Sealer::new(recipient, context, randomness) ─▶ 32-byte encapsulated key, then chunk, chunk, … last chunk
//! ```
//!
//! Chunks are sealed in order under HPKE's own counter; the additional data says whether a chunk is
//! the last, so a stream cut short, reordered or extended does not open. `context` binds the exchange,
//! the agreement and the role (F9, K8): content transplanted to another exchange does not open.

use hpke::aead::{AeadCtxR, AeadCtxS, ChaCha20Poly1305};
use hpke::kdf::HkdfSha256;
use hpke::kem::{Kem, X25519HkdfSha256};
use hpke::rand_core::SeedableRng as _;
use hpke::{Deserializable as _, OpModeR, OpModeS, Serializable as _};
use zeroize::Zeroizing;

use crate::error::Invalid;
use crate::ids::SealingKey;
use crate::limits;

/// The secret half of a [`SealingKey`], wiped when dropped. It has no `Debug` and no `Clone`.
pub struct SealingSecret(Zeroizing<[u8; 32]>);

impl SealingSecret {
    /// Takes 32 random bytes; the X25519 key is derived from them (RFC 9180 `DeriveKeyPair`).
    pub fn from_seed(seed: &Zeroizing<[u8; 32]>) -> Self {
        Self(seed.clone())
    }

    /// The public half.
    pub fn public_key(&self) -> SealingKey {
        let (_, public) = X25519HkdfSha256::derive_keypair(self.0.as_slice());
        SealingKey::from_bytes(public.to_bytes().into())
    }
}

/// Seals one stream of chunks to one recipient.
pub struct Sealer {
    context: AeadCtxS<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>,
    encapsulated: [u8; 32],
}

impl Sealer {
    /// Starts a stream. `randomness` must be 32 fresh random bytes, never used for anything else.
    pub fn new(
        recipient: &SealingKey,
        context: &[u8],
        randomness: &Zeroizing<[u8; 32]>,
    ) -> Result<Self, Invalid> {
        let weak = Invalid::WeakKey { field: "sealing_key" };
        let key = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(recipient.as_bytes()).map_err(|_| weak)?;
        let mut rng = chacha20::ChaCha20Rng::from_seed(**randomness);
        let (encapsulated, context) =
            hpke::setup_sender_with_rng(&OpModeS::Base, &key, context, &mut rng).map_err(|_| weak)?;
        Ok(Self { context, encapsulated: encapsulated.to_bytes().into() })
    }

    /// What the recipient needs to open the stream, 32 bytes.
    pub const fn encapsulated(&self) -> &[u8; 32] {
        &self.encapsulated
    }

    /// Seals the next chunk, at most [`limits::CHUNK_BYTES`]; adds 16 bytes.
    pub fn seal(&mut self, chunk: &[u8], last: bool) -> Result<Vec<u8>, Invalid> {
        if chunk.len() > limits::CHUNK_BYTES {
            return Err(Invalid::TooLarge { what: "chunk", maximum: limits::CHUNK_BYTES });
        }
        self.context.seal(chunk, &[u8::from(last)]).map_err(|_| Invalid::Seal)
    }
}

/// Opens a stream made by [`Sealer`].
pub struct Opener(AeadCtxR<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>);

impl Opener {
    /// Starts opening with the sealer's encapsulated key and the same context.
    pub fn new(secret: &SealingSecret, context: &[u8], encapsulated: &[u8]) -> Result<Self, Invalid> {
        let (key, _) = X25519HkdfSha256::derive_keypair(secret.0.as_slice());
        let encapsulated = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(encapsulated)
            .map_err(|_| Invalid::FieldLength { field: "encapsulated_key" })?;
        hpke::setup_receiver(&OpModeR::Base, &key, &encapsulated, context)
            .map(Self)
            .map_err(|_| Invalid::Seal)
    }

    /// Opens the next chunk; `last` must be what the sealer said.
    pub fn open(&mut self, sealed: &[u8], last: bool) -> Result<Vec<u8>, Invalid> {
        if sealed.len() > limits::SEALED_CHUNK_BYTES {
            return Err(Invalid::TooLarge { what: "sealed chunk", maximum: limits::SEALED_CHUNK_BYTES });
        }
        self.0.open(sealed, &[u8::from(last)]).map_err(|_| Invalid::Seal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(context: &[u8]) -> (SealingSecret, Sealer) {
        let secret = SealingSecret::from_seed(&Zeroizing::new([9; 32]));
        let sealer = Sealer::new(&secret.public_key(), context, &Zeroizing::new([4; 32])).unwrap();
        (secret, sealer)
    }

    /// S43: altered, in another order, or cut short, a stream does not open.
    #[test]
    fn a_stream_opens_in_order_and_only_whole() {
        let (secret, mut sealer) = pair(b"exchange");
        let first = sealer.seal(b"one", false).unwrap();
        let second = sealer.seal(b"two", true).unwrap();
        let open = || Opener::new(&secret, b"exchange", sealer.encapsulated()).unwrap();

        let mut opener = open();
        assert_eq!(opener.open(&first, false).unwrap(), b"one");
        assert_eq!(opener.open(&second, true).unwrap(), b"two");
        assert!(open().open(&second, true).is_err(), "reordered");
        assert!(open().open(&first, true).is_err(), "cut short");
        let mut altered = first.clone();
        altered[0] ^= 1;
        assert!(open().open(&altered, false).is_err(), "altered");
    }

    /// S44: content for another exchange, or for somebody else, does not open.
    #[test]
    fn content_of_another_exchange_or_another_recipient_does_not_open() {
        let (secret, mut sealer) = pair(b"exchange");
        let chunk = sealer.seal(b"one", true).unwrap();
        let mut other = Opener::new(&secret, b"another", sealer.encapsulated()).unwrap();
        assert_eq!(other.open(&chunk, true), Err(Invalid::Seal));
        let stranger = SealingSecret::from_seed(&Zeroizing::new([8; 32]));
        let mut other = Opener::new(&stranger, b"exchange", sealer.encapsulated()).unwrap();
        assert_eq!(other.open(&chunk, true), Err(Invalid::Seal));
        assert!(Sealer::new(&SealingKey::from_bytes([0; 32]), b"", &Zeroizing::new([4; 32])).is_err());
    }
}
