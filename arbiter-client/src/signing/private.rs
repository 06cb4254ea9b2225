//! Private keys: PKCS#8 (RFC 5958, RFC 8410) in PEM, as `openssl genpkey` writes them.

use std::path::Path;

use arbiter_protocol::crypto::{MemorySigner, Signer as _};
use arbiter_protocol::escrow::signature_key::Kind;
use arbiter_protocol::escrow::{RsaHash, RsaPadding, SignatureKey};
use ring::rand::SystemRandom;
use ring::signature as ring_signature;
use ring::signature::RsaKeyPair;
use x509_parser::asn1_rs::{Any, Class, FromDer as _, Tag};
use zeroize::Zeroizing;

use super::algorithm::Algorithm;
use super::error::KeyError;
use super::pem;
use super::public::{ED25519, RSA, positive, rsa_key, unsupported};

/// A key that signs. It has no `Debug` and no `Clone`. Ed25519 keys wipe themselves; RSA keys are in the hands of
/// `ring`, which does not.
pub struct PrivateKey {
    secret: Secret,
    public: SignatureKey,
}

enum Secret {
    Ed25519(Box<MemorySigner>),
    Rsa(Box<RsaKeyPair>),
}

impl PrivateKey {
    /// Reads an unencrypted PKCS#8 PEM file (`PRIVATE KEY`) that only its owner can use. Without `algorithm`, an RSA
    /// key signs with [`Algorithm::RSA_DEFAULT`].
    pub fn read(path: &Path, algorithm: Option<Algorithm>) -> Result<Self, KeyError> {
        let text = pem::read_file(path, true)?;
        Self::from_pem(&text, algorithm).map_err(|error| error.at(path))
    }

    /// The same from the file's content. The caller wipes the text.
    pub fn from_pem(text: &[u8], algorithm: Option<Algorithm>) -> Result<Self, KeyError> {
        let block = pem::only_block(text)?;
        match block.label.as_str() {
            "PRIVATE KEY" => Self::from_pkcs8(&block.der, algorithm),
            "ENCRYPTED PRIVATE KEY" => Err(KeyError::Encrypted),
            "RSA PRIVATE KEY" => Err(KeyError::Pkcs1Private),
            "OPENSSH PRIVATE KEY" => Err(KeyError::OpenSsh),
            "PUBLIC KEY" | "RSA PUBLIC KEY" | "CERTIFICATE" => Err(KeyError::NotPrivate),
            _ => Err(KeyError::OtherPem { expected: "PRIVATE KEY" }),
        }
    }

    fn from_pkcs8(der: &[u8], algorithm: Option<Algorithm>) -> Result<Self, KeyError> {
        let info = Info::parse(der).ok_or(MALFORMED)?;
        match info.oid {
            ED25519 => {
                Algorithm::only_ed25519(algorithm)?;
                Self::ed25519(&info)
            }
            RSA => Self::rsa(der, info.key, algorithm),
            other => Err(unsupported(other)),
        }
    }

    fn ed25519(info: &Info<'_>) -> Result<Self, KeyError> {
        // CurvePrivateKey is an OCTET STRING inside of the OCTET STRING (RFC 8410 section 7).
        let (rest, inner) = Any::from_der(info.key).map_err(|_| MALFORMED)?;
        if !rest.is_empty() || inner.tag() != Tag::OctetString || inner.data.len() != 32 {
            return Err(MALFORMED);
        }
        let mut seed = Zeroizing::new([0; 32]);
        seed.copy_from_slice(inner.data);
        let signer = MemorySigner::from_seed(&seed);
        let key = signer.public_key();
        if info.public.is_some_and(|public| public != key.as_bytes()) {
            return Err(KeyError::Halves);
        }
        Ok(Self { secret: Secret::Ed25519(Box::new(signer)), public: SignatureKey::ed25519(key)? })
    }

    fn rsa(pkcs8: &[u8], key: &[u8], algorithm: Option<Algorithm>) -> Result<Self, KeyError> {
        // The public parts first: their faults have better names here than in `ring`.
        let (rest, all) = Any::from_der(key).map_err(|_| MALFORMED)?;
        let (after, _version) = positive(all.data).ok_or(MALFORMED)?;
        let (after, modulus) = positive(after).ok_or(MALFORMED)?;
        let (_, exponent) = positive(after).ok_or(MALFORMED)?;
        if !rest.is_empty() {
            return Err(MALFORMED);
        }
        let public = rsa_key(modulus, exponent, algorithm)?;
        if modulus.len() > RING_MODULUS_BYTES {
            return Err(KeyError::SignElsewhere { bits: modulus.len().saturating_mul(8) });
        }
        let pair = RsaKeyPair::from_pkcs8(pkcs8)
            .map_err(|reason| KeyError::RsaRefused { reason: reason.to_string() })?;
        Ok(Self { secret: Secret::Rsa(Box::new(pair)), public })
    }

    /// The public half, with the algorithm of its signatures.
    pub const fn public(&self) -> &SignatureKey {
        &self.public
    }

    /// Signs. The signature is secret until it is given to somebody, so it wipes itself; it is verified before it
    /// leaves. Ed25519 and PKCS#1 v1.5 are deterministic, PSS takes a fresh salt as long as the hash.
    pub fn sign(&self, message: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let signature = match &self.secret {
            Secret::Ed25519(signer) => Zeroizing::new(signer.sign(message).to_vec()),
            Secret::Rsa(pair) => {
                let mut signature = Zeroizing::new(vec![0; pair.public().modulus_len()]);
                let scheme = scheme(&self.public);
                pair.sign(scheme, &SystemRandom::new(), message, &mut signature)
                    .map_err(|_| KeyError::Signing)?;
                signature
            }
        };
        if self.public.verify(message, &signature) { Ok(signature) } else { Err(KeyError::Signing) }
    }
}

/// The largest modulus that `ring` signs with: 4096 bits.
const RING_MODULUS_BYTES: usize = 512;

const MALFORMED: KeyError = KeyError::Malformed { what: "the private key" };

fn scheme(key: &SignatureKey) -> &'static dyn ring_signature::RsaEncoding {
    match key.kind() {
        Kind::Rsa { padding: RsaPadding::Pkcs1, hash: RsaHash::Sha384, .. } => {
            &ring_signature::RSA_PKCS1_SHA384
        }
        Kind::Rsa { padding: RsaPadding::Pkcs1, hash: RsaHash::Sha512, .. } => {
            &ring_signature::RSA_PKCS1_SHA512
        }
        Kind::Rsa { padding: RsaPadding::Pss, hash: RsaHash::Sha256, .. } => &ring_signature::RSA_PSS_SHA256,
        Kind::Rsa { padding: RsaPadding::Pss, hash: RsaHash::Sha384, .. } => &ring_signature::RSA_PSS_SHA384,
        Kind::Rsa { padding: RsaPadding::Pss, hash: RsaHash::Sha512, .. } => &ring_signature::RSA_PSS_SHA512,
        // An RSA secret has an RSA key.
        Kind::Rsa { padding: RsaPadding::Pkcs1, hash: RsaHash::Sha256, .. } | Kind::Ed25519(_) => {
            &ring_signature::RSA_PKCS1_SHA256
        }
    }
}

/// `OneAsymmetricKey ::= SEQUENCE { version, algorithm, privateKey, [0] attributes OPTIONAL, [1] publicKey OPTIONAL }`
struct Info<'a> {
    oid: &'a [u8],
    key: &'a [u8],
    public: Option<&'a [u8]>,
}

impl<'a> Info<'a> {
    fn parse(der: &'a [u8]) -> Option<Self> {
        let (rest, all) = Any::from_der(der).ok().filter(|(_, it)| it.tag() == Tag::Sequence)?;
        let (after, version) = Any::from_der(all.data).ok().filter(|(_, it)| it.tag() == Tag::Integer)?;
        let (after, algorithm) = Any::from_der(after).ok().filter(|(_, it)| it.tag() == Tag::Sequence)?;
        let (mut after, key) = Any::from_der(after).ok().filter(|(_, it)| it.tag() == Tag::OctetString)?;
        let (_, oid) = Any::from_der(algorithm.data).ok().filter(|(_, it)| it.tag() == Tag::Oid)?;
        let mut public = None;
        while !after.is_empty() {
            let (next, extra) = Any::from_der(after).ok()?;
            match (extra.class(), extra.tag().0) {
                (Class::ContextSpecific, 0) if public.is_none() => {}
                // A BIT STRING with implicit tag: its first byte counts the unused bits.
                (Class::ContextSpecific, 1) if public.is_none() => {
                    public = Some(extra.data.strip_prefix(&[0])?)
                }
                _ => return None,
            }
            after = next;
        }
        // Version 1 has no public key, version 2 may have one.
        let known = match version.data {
            [0] => public.is_none(),
            [1] => true,
            _ => false,
        };
        (known && rest.is_empty()).then_some(Self { oid: oid.data, key: key.data, public })
    }
}
