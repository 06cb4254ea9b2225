//! Encryption of stored records, each exchange under a key of its own (R-530, R-531).
//!
//! ```text
//!  veil seed ─▶ Vault ─ wraps ─▶ family `keys`:    exchange id ─▶ nonce, sealed ExchangeKey
//!                                                                            │
//!               ExchangeKey ───▶ family `records`: exchange id ─▶ nonce, sealed record
//! ```
//!
//! The wrapped keys are in the same store as the records: a record and its key are committed, and destroyed, in one
//! atomic write, and no crash leaves one without the other. So a backup of the data folder holds both, and opens
//! nothing without the key file: the wrapping key follows from its `veil_seed`, so that older key files go on working.
//! Whoever has the key file and a backup from before an erasure can open what was erased: destroy such backups.
//!
//! Sealing is XChaCha20-Poly1305 with the family and key of the entry as associated data, so that no entry can stand in
//! for another. The nonce is a keyed hash of everything that is sealed (a synthetic nonce): the same content has the same
//! bytes each time, nothing here can run out of randomness, and two contents never share a nonce.

use arbiter_protocol::evidence::record::ExchangeKey;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use super::keyed;

/// Wraps the keys of exchanges. It has no `Debug` and no `Clone`, and is wiped when dropped.
pub struct Vault(Zeroizing<[u8; 32]>);

impl Vault {
    /// Derives the wrapping key from the seed of the veil.
    pub fn new(veil_seed: &Zeroizing<[u8; 32]>) -> Self {
        Self(Zeroizing::new(keyed(veil_seed, &[b"arbiter veil v1 vault"])))
    }

    /// A value by which a store knows its vault again; nothing follows from it.
    pub fn fingerprint(&self) -> [u8; 32] {
        keyed(&self.0, &[b"arbiter fingerprint v1"])
    }

    /// Wraps the key of an exchange. `place` is the entry that will hold it.
    pub fn wrap(&self, place: Place<'_>, key: &ExchangeKey) -> Vec<u8> {
        seal(&self.0, place, key.secret().as_slice())
    }

    /// Unwraps what [`Vault::wrap`] wrapped for the same place with the same seed; `None` for anything else.
    pub fn unwrap(&self, place: Place<'_>, wrapped: &[u8]) -> Option<ExchangeKey> {
        let secret = open(&self.0, place, wrapped)?;
        Some(ExchangeKey::new(Zeroizing::new(secret.as_slice().try_into().ok()?)))
    }
}

/// An entry of the store: what is sealed for one does not open as another.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The family's name.
    pub family: &'static str,
    /// The entry's key.
    pub key: &'a [u8],
}

impl Place<'_> {
    fn associated_data(&self) -> Vec<u8> {
        // No family name holds a zero byte.
        [self.family.as_bytes(), &[0], self.key].concat()
    }
}

/// Seals the record of an exchange under its key.
pub fn seal_record(key: &ExchangeKey, place: Place<'_>, record: &[u8]) -> Vec<u8> {
    seal(&record_key(key), place, record)
}

/// Opens what [`seal_record`] sealed for the same place under the same key; `None` for anything else.
pub fn open_record(key: &ExchangeKey, place: Place<'_>, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    open(&record_key(key), place, sealed)
}

/// Salts and record are under independent keys.
fn record_key(key: &ExchangeKey) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(keyed(key.secret(), &[b"arbiter record v1"]))
}

fn seal(key: &Zeroizing<[u8; 32]>, place: Place<'_>, plain: &[u8]) -> Vec<u8> {
    let aad = place.associated_data();
    let nonces = Zeroizing::new(keyed(key, &[b"arbiter nonce v1"]));
    let length = u64::try_from(aad.len()).unwrap_or(u64::MAX).to_be_bytes();
    let synthetic = keyed(&nonces, &[&length, &aad, plain]);
    let mut nonce = [0; NONCE_BYTES];
    nonce.iter_mut().zip(synthetic).for_each(|(to, from)| *to = from);
    let sealed = cipher(key).encrypt(&XNonce::from(nonce), Payload { msg: plain, aad: &aad });
    let sealed = sealed.expect("invariant: a record is far smaller than the cipher's limit of 256 GiB");
    [&nonce[..], &sealed].concat()
}

fn open(key: &Zeroizing<[u8; 32]>, place: Place<'_>, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>()?;
    let aad = place.associated_data();
    let plain = cipher(key).decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: &aad });
    plain.ok().map(Zeroizing::new)
}

fn cipher(key: &Zeroizing<[u8; 32]>) -> XChaCha20Poly1305 {
    let cipher_key = Zeroizing::new(keyed(key, &[b"arbiter cipher v1"]));
    XChaCha20Poly1305::new(&(*cipher_key).into())
}

const NONCE_BYTES: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'static> = Place { family: "records", key: b"one" };

    fn seed(byte: u8) -> Zeroizing<[u8; 32]> {
        Zeroizing::new([byte; 32])
    }

    /// R-530: what is sealed opens in its place under its key, and nowhere else; no byte of it can be changed.
    #[test]
    fn what_is_sealed_opens_only_where_it_belongs() {
        let (vault, key) = (Vault::new(&seed(1)), ExchangeKey::new(seed(2)));
        let wrapped = vault.wrap(PLACE, &key);
        let sealed = seal_record(&key, PLACE, b"a record");
        assert_eq!(vault.unwrap(PLACE, &wrapped), Some(key.clone()));
        assert_eq!(open_record(&key, PLACE, &sealed).unwrap().as_slice(), b"a record");
        for place in [Place { family: "keys", ..PLACE }, Place { key: b"other", ..PLACE }] {
            assert_eq!(vault.unwrap(place, &wrapped), None);
            assert!(open_record(&key, place, &sealed).is_none());
        }
        assert_eq!(Vault::new(&seed(3)).unwrap(PLACE, &wrapped), None);
        assert!(open_record(&ExchangeKey::new(seed(3)), PLACE, &sealed).is_none());
        for position in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[position] ^= 1;
            assert!(open_record(&key, PLACE, &altered).is_none(), "byte {position}");
            assert!(open_record(&key, PLACE, &sealed[..position]).is_none(), "cut at {position}");
        }
        assert!(vault.unwrap(PLACE, &seal(&vault.0, PLACE, b"not 32 bytes")).is_none());
    }

    /// R-530: the same content has the same bytes, another content another nonce; nothing shows what is inside.
    #[test]
    fn nonces_follow_from_the_content() {
        let key = ExchangeKey::new(seed(2));
        let [one, again, two] =
            [b"record 1", b"record 1", b"record 2"].map(|it| seal_record(&key, PLACE, it));
        assert_eq!(one, again);
        assert_ne!(one[..NONCE_BYTES], two[..NONCE_BYTES]);
        let elsewhere = seal_record(&key, Place { key: b"two", ..PLACE }, b"record 1");
        assert_ne!(one[..NONCE_BYTES], elsewhere[..NONCE_BYTES]);
        assert!(!one.windows(8).any(|it| it == b"record 1"));
        let wrapped = Vault::new(&seed(1)).wrap(PLACE, &key);
        assert!(!wrapped.windows(32).any(|it| it == key.secret().as_slice()));
    }
}
