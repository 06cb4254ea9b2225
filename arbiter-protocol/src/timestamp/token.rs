//! A time-stamp token: CMS SignedData (RFC 5652) around TSTInfo (RFC 3161 section 2.4.2), with one signer.

use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use webpki::{EndEntityCert, KeyUsage, ring as algorithms};
use x509_parser::asn1_rs::FromDer as _;
use x509_parser::certificate::X509Certificate;

use crate::ids::Digest;
use crate::time::UnixMillis;

use super::der::{BOOLEAN, GENERALIZED_TIME, INTEGER, NULL, OCTETS, OID, Reader, SEQUENCE, SET, context};
use super::{Authorities, SHA256, Stamped, TimestampError};

/// A token that was read; nothing in it is verified yet.
#[derive(Clone, Debug)]
pub struct Token<'a> {
    info: Info<'a>,
    info_der: &'a [u8],
    certificates: Vec<&'a [u8]>,
    signer: Signer<'a>,
}

/// TSTInfo: what the authority states.
#[derive(Clone, Debug)]
struct Info<'a> {
    hash: Hash,
    imprint: &'a [u8],
    time: UnixMillis,
    accuracy_millis: Option<u64>,
    nonce: Option<u64>,
}

/// SignerInfo.
#[derive(Clone, Debug)]
struct Signer<'a> {
    id: SignerId<'a>,
    hash: Hash,
    /// As they are signed: a SET.
    attributes: Vec<u8>,
    message_digest: &'a [u8],
    certificate_hash: (Hash, &'a [u8]),
    algorithm: &'a [u8],
    signature: &'a [u8],
}

#[derive(Clone, Copy, Debug)]
enum SignerId<'a> {
    IssuerAndSerial { issuer: &'a [u8], serial: &'a [u8] },
    KeyId(&'a [u8]),
}

/// Hash algorithms; SHA-1 only names a certificate (RFC 2634), as older authorities do, and signs nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    /// An AlgorithmIdentifier with no parameters or NULL.
    fn read(mut algorithm: Reader<'_>) -> Result<Self, TimestampError> {
        let oid = algorithm.take(OID)?;
        no_parameters(algorithm)?;
        match oid {
            SHA256 => Ok(Self::Sha256),
            SHA384 => Ok(Self::Sha384),
            SHA512 => Ok(Self::Sha512),
            _ => Err(TimestampError::Unsupported),
        }
    }

    fn of(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha1 => {
                ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref().to_vec()
            }
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha384 => Sha384::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }
}

fn no_parameters(mut algorithm: Reader<'_>) -> Result<(), TimestampError> {
    if let Some(null) = algorithm.optional(NULL)?
        && !null.content.is_empty()
    {
        return Err(TimestampError::Malformed);
    }
    Ok(algorithm.end()?)
}

impl<'a> Token<'a> {
    /// Reads a token (DER), nothing after it.
    pub fn parse(der: &'a [u8]) -> Result<Self, TimestampError> {
        let mut content = Reader::only(der, SEQUENCE)?;
        if content.take(OID)? != SIGNED_DATA {
            return Err(TimestampError::Malformed);
        }
        let mut inside = content.enter(context(0))?;
        content.end()?;
        let mut data = inside.enter(SEQUENCE)?;
        inside.end()?;
        // Version 3: the content is no plain data (RFC 5652 section 5.1).
        if data.number(INTEGER)? != 3 {
            return Err(TimestampError::Malformed);
        }
        let mut named = data.enter(SET)?;
        let digest = Hash::read(named.enter(SEQUENCE)?)?;
        named.end()?;

        let mut encapsulated = data.enter(SEQUENCE)?;
        if encapsulated.take(OID)? != TST_INFO {
            return Err(TimestampError::Malformed);
        }
        let mut octets = encapsulated.enter(context(0))?;
        let info_der = octets.take(OCTETS)?;
        octets.end()?;
        encapsulated.end()?;

        let mut certificates = Vec::new();
        if let Some(all) = data.optional(context(0))? {
            let mut all = Reader::new(all.content);
            while !all.is_empty() {
                let certificate = all.any()?;
                if certificate.tag != SEQUENCE || certificates.len() >= CERTIFICATES {
                    return Err(TimestampError::Malformed);
                }
                certificates.push(certificate.whole);
            }
        }
        // Revocation lists would come here: nobody signs that they belong to the token.
        let mut signers = data.enter(SET)?;
        data.end()?;
        let signer = Signer::read(signers.enter(SEQUENCE)?)?;
        signers.end()?;
        if signer.hash != digest {
            return Err(TimestampError::Malformed);
        }
        Ok(Self { info: Info::read(info_der)?, info_der, certificates, signer })
    }

    /// Whether it is over the text with this SHA-256 digest, by its own word.
    pub(super) fn covers(&self, sha256: &Digest) -> bool {
        self.info.hash == Hash::Sha256 && self.info.imprint == sha256.as_bytes()
    }

    /// Whether it is over this text, by its own word.
    pub fn is_over(&self, text: &[u8]) -> bool {
        self.info.imprint == self.info.hash.of(text)
    }

    /// The time that it states. Nothing is verified.
    pub const fn claimed_time(&self) -> UnixMillis {
        self.info.time
    }

    /// The nonce of the request, if it fits 64 bits as ours do.
    pub(super) const fn nonce(&self) -> Option<u64> {
        self.info.nonce
    }

    /// Verifies everything, offline: text, signature, certificate, chain at the time stated.
    pub fn verify(&self, text: &[u8], trusted: &Authorities) -> Result<Stamped, TimestampError> {
        if !self.is_over(text) {
            return Err(TimestampError::OtherText);
        }
        let signer = &self.signer;
        let certificate = self.certificates.iter().find(|it| signer.is_named_by(it));
        let certificate = CertificateDer::from(*certificate.ok_or(TimestampError::Signature)?);
        let (hash, named) = signer.certificate_hash;
        if hash.of(&certificate) != named || signer.hash.of(self.info_der) != signer.message_digest {
            return Err(TimestampError::Signature);
        }
        let key = EndEntityCert::try_from(&certificate).map_err(TimestampError::Chain)?;
        let verifies = |algorithm: &&dyn SignatureVerificationAlgorithm| {
            key.verify_signature(*algorithm, &signer.attributes, signer.signature).is_ok()
        };
        if !signer.algorithms()?.iter().any(verifies) {
            return Err(TimestampError::Signature);
        }
        let authority = authority(&certificate)?;
        let others: Vec<_> = self.certificates.iter().map(|it| CertificateDer::from(*it)).collect();
        let at = UnixTime::since_unix_epoch(std::time::Duration::from_millis(self.info.time.0));
        // That the signer's own certificate has it, alone and critical, was checked above.
        let usage = KeyUsage::required_if_present(TIME_STAMPING);
        key.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &trusted.0, &others, at, usage, None, None)
            .map_err(TimestampError::Chain)?;
        Ok(Stamped { time: self.info.time, accuracy_millis: self.info.accuracy_millis, authority })
    }
}

/// The subject of a certificate that is for time-stamping alone (RFC 3161 section 2.3).
fn authority(der: &[u8]) -> Result<String, TimestampError> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| TimestampError::Malformed)?;
    let usage = certificate.extended_key_usage().map_err(|_| TimestampError::Malformed)?;
    let alone = usage.is_some_and(|it| {
        let usage = it.value;
        let more = usage.any
            || usage.server_auth
            || usage.client_auth
            || usage.code_signing
            || usage.email_protection
            || usage.ocsp_signing
            || !usage.other.is_empty();
        it.critical && usage.time_stamping && !more
    });
    if alone { Ok(certificate.subject().to_string()) } else { Err(TimestampError::NotAnAuthority) }
}

impl<'a> Info<'a> {
    fn read(der: &'a [u8]) -> Result<Self, TimestampError> {
        let mut info = Reader::only(der, SEQUENCE)?;
        if info.number(INTEGER)? != 1 {
            return Err(TimestampError::Malformed);
        }
        info.take(OID)?;
        let mut imprint = info.enter(SEQUENCE)?;
        let hash = Hash::read(imprint.enter(SEQUENCE)?)?;
        let hashed = imprint.take(OCTETS)?;
        imprint.end()?;
        info.take(INTEGER)?;
        let time = time(info.take(GENERALIZED_TIME)?)?;
        let accuracy_millis =
            info.optional(SEQUENCE)?.map(|it| accuracy(Reader::new(it.content))).transpose()?;
        info.optional(BOOLEAN)?;
        let mut rest = info;
        let nonce = match info.optional(INTEGER)? {
            Some(_) => rest.number(INTEGER).ok(),
            None => None,
        };
        info.optional(context(0))?;
        info.optional(context(1))?;
        info.end()?;
        Ok(Self { hash, imprint: hashed, time, accuracy_millis, nonce })
    }
}

/// `YYYYMMDDhhmmss[.f…]Z`; finer than milliseconds is cut off.
fn time(content: &[u8]) -> Result<UnixMillis, TimestampError> {
    let text = std::str::from_utf8(content).ok().and_then(|it| it.strip_suffix('Z'));
    let text = text.filter(|it| it.is_ascii()).ok_or(TimestampError::Malformed)?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    // DER: no zeros at the end of the fraction, and no point without one.
    let canonical = !fraction.ends_with('0') && text.contains('.') != fraction.is_empty();
    if !canonical || whole.len() != 14 || !fraction.bytes().all(|it| it.is_ascii_digit()) {
        return Err(TimestampError::Malformed);
    }
    let part = |range: std::ops::Range<usize>| whole.get(range).unwrap_or_default();
    let millis: String = fraction.chars().chain("000".chars()).take(3).collect();
    let rfc3339 = format!(
        "{}-{}-{}T{}:{}:{}.{millis}Z",
        part(0..4),
        part(4..6),
        part(6..8),
        part(8..10),
        part(10..12),
        part(12..14)
    );
    UnixMillis::parse(&rfc3339).ok_or(TimestampError::Malformed)
}

/// Seconds, milliseconds, microseconds, each if it is there; as milliseconds, rounded up.
fn accuracy(mut parts: Reader<'_>) -> Result<u64, TimestampError> {
    let mut number = |tag: u8| {
        let mut at = parts;
        match parts.optional(tag)? {
            Some(_) => at.number(tag),
            None => Ok(0),
        }
    };
    // The tags of IMPLICIT integers are those of primitive elements.
    let (seconds, millis, micros) = (number(INTEGER)?, number(0x80)?, number(0x81)?);
    parts.end()?;
    Ok(seconds.saturating_mul(1000).saturating_add(millis).saturating_add(micros.div_ceil(1000)))
}

impl<'a> Signer<'a> {
    fn read(mut info: Reader<'a>) -> Result<Self, TimestampError> {
        let version = info.number(INTEGER)?;
        let id = match info.optional(0x80)? {
            Some(key_id) if version == 3 => SignerId::KeyId(key_id.content),
            None if version == 1 => {
                let mut names = info.enter(SEQUENCE)?;
                let issuer = names.any()?;
                let serial = names.take(INTEGER)?;
                names.end()?;
                SignerId::IssuerAndSerial { issuer: issuer.whole, serial }
            }
            _ => return Err(TimestampError::Malformed),
        };
        let hash = Hash::read(info.enter(SEQUENCE)?)?;
        let signed = info.optional(context(0))?.ok_or(TimestampError::Malformed)?;
        let attributes = [&[SET], signed.whole.get(1..).unwrap_or_default()].concat();
        let algorithm = info.take(SEQUENCE)?;
        let signature = info.take(OCTETS)?;
        // Unsigned attributes would come here.
        info.end()?;

        let (mut kind, mut digest, mut certificate) = (None, None, None);
        let mut all = Reader::new(signed.content);
        while !all.is_empty() {
            let mut attribute = all.enter(SEQUENCE)?;
            let name = attribute.take(OID)?;
            let mut values = attribute.enter(SET)?;
            attribute.end()?;
            let doubled = match name {
                CONTENT_TYPE => kind.replace(values.take(OID)?).is_some(),
                MESSAGE_DIGEST => digest.replace(values.take(OCTETS)?).is_some(),
                SIGNING_CERTIFICATE_V2 => {
                    certificate = Some(certificate_hash(values.enter(SEQUENCE)?, true)?);
                    false
                }
                SIGNING_CERTIFICATE if certificate.is_none() => {
                    certificate = Some(certificate_hash(values.enter(SEQUENCE)?, false)?);
                    false
                }
                _ => continue,
            };
            if doubled || !values.is_empty() {
                return Err(TimestampError::Malformed);
            }
        }
        match (kind, digest, certificate) {
            (Some(TST_INFO), Some(message_digest), Some(certificate_hash)) => {
                Ok(Self { id, hash, attributes, message_digest, certificate_hash, algorithm, signature })
            }
            _ => Err(TimestampError::Malformed),
        }
    }

    fn is_named_by(&self, der: &[u8]) -> bool {
        let Ok((_, certificate)) = X509Certificate::from_der(der) else { return false };
        match self.id {
            SignerId::IssuerAndSerial { issuer, serial } => {
                certificate.issuer().as_raw() == issuer && certificate.raw_serial() == serial
            }
            SignerId::KeyId(id) => certificate.iter_extensions().any(|extension| {
                matches!(extension.parsed_extension(),
                    x509_parser::extensions::ParsedExtension::SubjectKeyIdentifier(key) if key.0 == id)
            }),
        }
    }

    /// What the signature can be, by its algorithm and hash; the key of the certificate decides among them.
    fn algorithms(&self) -> Result<Vec<&'static dyn SignatureVerificationAlgorithm>, TimestampError> {
        let mut algorithm = Reader::new(self.algorithm);
        let oid = algorithm.take(OID)?;
        no_parameters(algorithm)?;
        Ok(match (oid, self.hash) {
            (RSA | RSA_SHA256, Hash::Sha256) => vec![algorithms::RSA_PKCS1_2048_8192_SHA256],
            (RSA | RSA_SHA384, Hash::Sha384) => vec![algorithms::RSA_PKCS1_2048_8192_SHA384],
            (RSA | RSA_SHA512, Hash::Sha512) => vec![algorithms::RSA_PKCS1_2048_8192_SHA512],
            (ECDSA_SHA256, Hash::Sha256) => {
                vec![algorithms::ECDSA_P256_SHA256, algorithms::ECDSA_P384_SHA256]
            }
            (ECDSA_SHA384, Hash::Sha384) => {
                vec![algorithms::ECDSA_P256_SHA384, algorithms::ECDSA_P384_SHA384]
            }
            (ED25519, Hash::Sha512) => vec![algorithms::ED25519],
            _ => return Err(TimestampError::Unsupported),
        })
    }
}

/// The hash of the signer's certificate: the first ESSCertID (RFC 2634) or ESSCertIDv2 (RFC 5035).
fn certificate_hash(mut attribute: Reader<'_>, second: bool) -> Result<(Hash, &[u8]), TimestampError> {
    let mut first = attribute.enter(SEQUENCE)?.enter(SEQUENCE)?;
    let hash = match first.optional(SEQUENCE)? {
        _ if !second => Hash::Sha1,
        Some(algorithm) => Hash::read(Reader::new(algorithm.content))?,
        None => Hash::Sha256,
    };
    Ok((hash, first.take(OCTETS)?))
}

/// Most certificates in a token.
const CERTIFICATES: usize = 8;

/// id-signedData.
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
/// id-ct-TSTInfo.
const TST_INFO: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x04];
/// id-contentType.
const CONTENT_TYPE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x03];
/// id-messageDigest.
const MESSAGE_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x04];
/// id-aa-signingCertificate.
const SIGNING_CERTIFICATE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x02, 0x0c];
/// id-aa-signingCertificateV2.
const SIGNING_CERTIFICATE_V2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x02, 0x2f];
/// id-kp-timeStamping.
const TIME_STAMPING: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x08];
const SHA384: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02];
const SHA512: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03];
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const RSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
const RSA_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c];
const RSA_SHA512: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d];
const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const ECDSA_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generalized_time_has_one_form() {
        let read = |text: &str| time(text.as_bytes()).ok().map(|it| it.to_string());
        assert_eq!(read("20261120140203Z").unwrap(), "2026-11-20T14:02:03.000Z");
        assert_eq!(read("20261120140203.5Z").unwrap(), "2026-11-20T14:02:03.500Z");
        assert_eq!(read("20261120140203.123456Z").unwrap(), "2026-11-20T14:02:03.123Z");
        for bad in [
            "",
            "Z",
            "20261120140203",
            "20261120140203.Z",
            "20261120140203.50Z",
            "20261320140203Z",
            "202611201402Z",
            "2026112014020éZ",
            "20261120140203.-1Z",
            "20261120140203+0100",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
