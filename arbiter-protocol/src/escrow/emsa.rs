//! How RSA encodes a message before the key is used: EMSA-PKCS1-v1_5 and EMSA-PSS of RFC 8017 section 9.
//!
//! Nothing is parsed to be trusted. Both sides compute the one encoding EM and compare it as a whole. Only the
//! signer takes something out of an EM, its own PSS salt, and then computes EM again to compare.

use sha2::{Sha256, Sha384, Sha512};

use super::error::EscrowError;

/// The hash of an RSA signature; PSS uses the same one for its masks (MGF1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RsaHash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl RsaHash {
    /// Its number in encodings.
    pub(super) fn id(self) -> u8 {
        match self {
            Self::Sha256 => 1,
            Self::Sha384 => 2,
            Self::Sha512 => 3,
        }
    }

    pub(super) fn digest(self, parts: &[&[u8]]) -> Vec<u8> {
        fn run<D: sha2::Digest>(parts: &[&[u8]]) -> Vec<u8> {
            parts.iter().fold(D::new(), |hash, part| hash.chain_update(part)).finalize().to_vec()
        }
        match self {
            Self::Sha256 => run::<Sha256>(parts),
            Self::Sha384 => run::<Sha384>(parts),
            Self::Sha512 => run::<Sha512>(parts),
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// DigestInfo without the digest (RFC 8017 section 9.2, note 1).
    fn digest_info(self) -> [u8; 19] {
        let bytes = [32, 48, 64];
        let [algorithm, length] = match (self, bytes) {
            (Self::Sha256, [length, ..]) => [1, length],
            (Self::Sha384, [_, length, _]) => [2, length],
            (Self::Sha512, [.., length]) => [3, length],
        };
        [
            0x30,
            length + 17,
            0x30,
            0x0d,
            0x06,
            0x09,
            0x60,
            0x86,
            0x48,
            0x01,
            0x65,
            0x03,
            0x04,
            0x02,
            algorithm,
            0x05,
            0x00,
            0x04,
            length,
        ]
    }
}

/// How the digest is padded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RsaPadding {
    /// RSASSA-PKCS1-v1_5.
    Pkcs1,
    /// RSASSA-PSS with MGF1 over the same hash and a salt of any length.
    Pss,
}

/// EM, as many bytes as the modulus: a leading zero byte where PSS needs one less.
pub(super) fn encode(
    padding: RsaPadding,
    hash: RsaHash,
    digest: &[u8],
    salt: &[u8],
    bits: usize,
) -> Result<Vec<u8>, EscrowError> {
    let too_long = EscrowError::SaltSize { got: salt.len() };
    match padding {
        RsaPadding::Pkcs1 if salt.is_empty() => {
            let info = hash.digest_info();
            let padding = bits.div_ceil(8).checked_sub(3 + info.len() + digest.len()).ok_or(too_long)?;
            let mut em = vec![0, 1];
            em.resize(2 + padding, 0xff);
            em.push(0);
            em.extend(info.iter().chain(digest));
            Ok(em)
        }
        RsaPadding::Pkcs1 => Err(too_long),
        RsaPadding::Pss => {
            let length = (bits - 1).div_ceil(8);
            let block = length.checked_sub(hash.bytes() + 1).ok_or(too_long.clone())?;
            let zeros = block.checked_sub(salt.len() + 1).ok_or(too_long)?;
            let h = hash.digest(&[&[0; 8], digest, salt]);
            let mut data = vec![0; zeros];
            data.push(1);
            data.extend(salt);
            mask(hash, &h, &mut data, bits);
            let mut em = vec![0; bits.div_ceil(8) - length];
            em.extend(data.iter().chain(&h));
            em.push(0xbc);
            Ok(em)
        }
    }
}

/// The salt in a PSS encoding, if there is one. The caller encodes again and compares.
pub(super) fn pss_salt(hash: RsaHash, em: &[u8], bits: usize) -> Option<Vec<u8>> {
    let length = (bits - 1).div_ceil(8);
    let em = em.get(em.len().checked_sub(length)?..)?;
    let (data, rest) = em.split_at_checked(length.checked_sub(hash.bytes() + 1)?)?;
    let h = rest.get(..hash.bytes())?;
    let mut data = data.to_vec();
    mask(hash, h, &mut data, bits);
    let one = data.iter().position(|byte| *byte != 0)?;
    data.get(one + 1..).map(<[u8]>::to_vec)
}

/// Exclusive or with MGF1, then the bits above the modulus cleared.
fn mask(hash: RsaHash, seed: &[u8], data: &mut [u8], bits: usize) {
    for (counter, block) in (0u32..).zip(data.chunks_mut(hash.bytes())) {
        let pad = hash.digest(&[seed, &counter.to_be_bytes()]);
        block.iter_mut().zip(pad).for_each(|(to, from)| *to ^= from);
    }
    let unused = 8 * (bits - 1).div_ceil(8) - (bits - 1);
    if let Some(first) = data.first_mut() {
        *first &= 0xff >> unused;
    }
}
