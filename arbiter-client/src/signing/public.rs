//! Public keys: SPKI (RFC 5280 section 4.1.2.7) in PEM, or inside of a certificate.

use std::path::Path;

use arbiter_protocol::escrow::SignatureKey;
use arbiter_protocol::escrow::signature_key::Kind;
use arbiter_protocol::ids::PublicKey;
use arbiter_protocol::limits::CERTIFICATE_BYTES;
use x509_parser::asn1_rs::{Any, FromDer as _, Tag};
use x509_parser::x509::SubjectPublicKeyInfo;

use super::algorithm::Algorithm;
use super::certificate::Certificate;
use super::error::KeyError;
use super::pem;

/// A public key as a file gave it.
#[derive(Clone, Debug)]
pub struct Public {
    /// The key and how it signs.
    pub key: SignatureKey,
    /// The certificate that it came from, if it did. Nobody has checked who issued it.
    pub certificate: Option<Certificate>,
}

impl Public {
    /// Reads a public key (PEM) or a certificate (PEM or DER) from a file.
    pub fn read(path: &Path, algorithm: Option<Algorithm>) -> Result<Self, KeyError> {
        let bytes = pem::read_file(path, false)?;
        Self::parse(&bytes, algorithm).map_err(|error| error.at(path))
    }

    /// The same from bytes.
    pub fn parse(bytes: &[u8], algorithm: Option<Algorithm>) -> Result<Self, KeyError> {
        if !pem::is_pem(bytes) && bytes.first() != Some(&0x30) {
            return Err(KeyError::NoPem);
        }
        let certificate = if pem::is_pem(bytes) {
            let block = pem::only_block(bytes)?;
            match block.label.as_str() {
                "PUBLIC KEY" => {
                    let key = from_spki(&block.der, algorithm)?;
                    return Ok(Self { key, certificate: None });
                }
                "CERTIFICATE" | "X509 CERTIFICATE" => Certificate::parse(&block.der)?,
                "RSA PUBLIC KEY" => return Err(KeyError::Pkcs1Public),
                label if label.ends_with("PRIVATE KEY") => return Err(KeyError::NotPublic),
                _ => return Err(KeyError::OtherPem { expected: "PUBLIC KEY or CERTIFICATE" }),
            }
        } else {
            Certificate::parse(bytes)?
        };
        Ok(Self { key: certificate.signature_key(algorithm)?, certificate: Some(certificate) })
    }
}

/// Reads a public key (PEM `PUBLIC KEY`) or the key of a certificate (PEM or DER). Without `algorithm`, an RSA key is
/// for [`Algorithm::RSA_DEFAULT`].
pub fn read_public(path: &Path, algorithm: Option<Algorithm>) -> Result<SignatureKey, KeyError> {
    Public::read(path, algorithm).map(|it| it.key)
}

/// The key as PEM (`PUBLIC KEY`), which OpenSSL reads. The algorithm is not in it, only the kind of key.
pub fn public_pem(key: &SignatureKey) -> String {
    pem::write("PUBLIC KEY", &public_der(key))
}

/// The key as DER (SPKI).
pub fn public_der(key: &SignatureKey) -> Vec<u8> {
    let (algorithm, bits) = match key.kind() {
        Kind::Ed25519(key) => (element(OID, ED25519), key.as_bytes().to_vec()),
        Kind::Rsa { modulus, exponent, .. } => {
            let algorithm = [element(OID, RSA), element(NULL, &[])].concat();
            let key = [integer(modulus), integer(&exponent.to_be_bytes())].concat();
            (algorithm, element(SEQUENCE, &key))
        }
    };
    let bits = [&[0], bits.as_slice()].concat();
    element(SEQUENCE, &[element(SEQUENCE, &algorithm), element(BIT_STRING, &bits)].concat())
}

/// Reads SPKI. Only the form that [`public_der`] writes is taken, so a key has one form.
pub(crate) fn from_spki(der: &[u8], algorithm: Option<Algorithm>) -> Result<SignatureKey, KeyError> {
    let malformed = || KeyError::Malformed { what: "the public key" };
    if der.len() > CERTIFICATE_BYTES {
        return Err(KeyError::TooLong { most: CERTIFICATE_BYTES });
    }
    let (_, spki) = SubjectPublicKeyInfo::from_der(der).map_err(|_| malformed())?;
    let bits = spki.subject_public_key.data.as_ref();
    let key = match spki.algorithm.algorithm.as_bytes() {
        ED25519 => {
            Algorithm::only_ed25519(algorithm)?;
            let bytes = <[u8; 32]>::try_from(bits).map_err(|_| malformed())?;
            SignatureKey::ed25519(PublicKey::from_bytes(bytes))?
        }
        RSA => {
            let (modulus, exponent) = rsa_parts(bits).ok_or_else(malformed)?;
            rsa_key(modulus, exponent, algorithm)?
        }
        other => return Err(unsupported(other)),
    };
    if public_der(&key) == der { Ok(key) } else { Err(malformed()) }
}

/// An RSA key from big-endian numbers without leading zero bytes.
pub(super) fn rsa_key(
    modulus: &[u8],
    exponent: &[u8],
    algorithm: Option<Algorithm>,
) -> Result<SignatureKey, KeyError> {
    let (padding, hash) = Algorithm::rsa(algorithm)?;
    if exponent.len() > 4 {
        return Err(arbiter_protocol::escrow::EscrowError::ExponentSize.into());
    }
    let exponent = exponent.iter().fold(0u32, |value, byte| value << 8 | u32::from(*byte));
    Ok(SignatureKey::rsa(modulus.to_vec(), exponent, padding, hash)?)
}

/// What to say about a key that is neither Ed25519 nor RSA.
pub(super) fn unsupported(oid: &[u8]) -> KeyError {
    match oid {
        EC => KeyError::Elliptic,
        RSA_PSS => KeyError::PssOnly,
        _ => KeyError::OtherKind,
    }
}

/// Modulus and exponent of an RSAPublicKey (RFC 8017 appendix A.1.1), without the zero byte of the sign.
fn rsa_parts(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, all) = Any::from_der(der).ok().filter(|(_, it)| it.tag() == Tag::Sequence)?;
    let (rest, modulus) = positive(all.data)?;
    let (_, exponent) = positive(rest)?;
    Some((modulus, exponent))
}

/// A positive INTEGER: what follows it, and its bytes.
pub(super) fn positive(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (rest, number) = Any::from_der(der).ok().filter(|(_, it)| it.tag() == Tag::Integer)?;
    match number.data {
        [0, after @ ..] => Some((rest, after)),
        [first, ..] if *first < 0x80 => Some((rest, number.data)),
        _ => None,
    }
}

/// id-Ed25519 (RFC 8410).
pub(super) const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
/// rsaEncryption (RFC 8017).
pub(super) const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// id-RSASSA-PSS (RFC 8017).
const RSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a];
/// id-ecPublicKey (RFC 5480).
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const NULL: u8 = 0x05;
const OID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

/// Tag, length, content.
pub(crate) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let length = significant(&length);
    let mut out = vec![tag];
    match length {
        [] => out.push(0),
        [short] if *short < 0x80 => out.push(*short),
        _ => {
            // At most eight bytes of length: a usize has no more.
            out.push(0x80 | u8::try_from(length.len()).unwrap_or(0x7f));
            out.extend(length);
        }
    }
    out.extend(content);
    out
}

pub(crate) fn integer(bytes: &[u8]) -> Vec<u8> {
    let bytes = significant(bytes);
    let sign: &[u8] = if bytes.first().is_none_or(|first| *first >= 0x80) { &[0] } else { &[] };
    element(INTEGER, &[sign, bytes].concat())
}

fn significant(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.get(zeros..).unwrap_or_default()
}
