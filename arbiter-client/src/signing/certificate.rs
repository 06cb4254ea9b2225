//! X.509 certificates: which name goes with which key, according to an issuer whom nobody here has checked.
//!
//! Chains, revocation and trust are not decided here. A certificate is shown to a person and compared with a key.

use std::path::Path;

use arbiter_protocol::escrow::SignatureKey;
use arbiter_protocol::exchange::item::check_line;
use arbiter_protocol::limits::CERTIFICATE_BYTES;
use arbiter_protocol::time::UnixMillis;
use sha2::{Digest as _, Sha256};
use x509_parser::asn1_rs::FromDer as _;
use x509_parser::certificate::X509Certificate;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::time::ASN1Time;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use super::algorithm::Algorithm;
use super::error::KeyError;
use super::pem;
use super::public::{from_spki, public_der};

/// A certificate that was read, not one that is trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    spki: Vec<u8>,
    subject: String,
    issuer: String,
    not_before: UnixMillis,
    not_after: UnixMillis,
}

impl Certificate {
    /// Reads a certificate from a file, PEM or DER.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let bytes = pem::read_file(path, false)?;
        let parsed = if pem::is_pem(&bytes) {
            pem::only_block(&bytes).and_then(|block| match block.label.as_str() {
                "CERTIFICATE" | "X509 CERTIFICATE" => Self::parse(&block.der),
                _ => Err(KeyError::OtherPem { expected: "CERTIFICATE" }),
            })
        } else {
            Self::parse(&bytes)
        };
        parsed.map_err(|error| error.at(path))
    }

    /// Reads a certificate from DER, nothing after it.
    pub fn parse(der: &[u8]) -> Result<Self, KeyError> {
        let malformed = || KeyError::Malformed { what: "the certificate" };
        if der.len() > CERTIFICATE_BYTES {
            return Err(KeyError::TooLong { most: CERTIFICATE_BYTES });
        }
        let (rest, parsed) = X509Certificate::from_der(der).map_err(|_| malformed())?;
        if !rest.is_empty() {
            return Err(malformed());
        }
        let validity = parsed.validity();
        let time = |time: ASN1Time| {
            let seconds = u64::try_from(time.timestamp()).ok()?;
            seconds.checked_mul(1000).map(UnixMillis)
        };
        Ok(Self {
            der: der.to_vec(),
            spki: parsed.public_key().raw.to_vec(),
            subject: name(parsed.subject()),
            issuer: name(parsed.issuer()),
            not_before: time(validity.not_before).ok_or_else(malformed)?,
            not_after: time(validity.not_after).ok_or_else(malformed)?,
        })
    }

    /// The certificate itself.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Its public key: SPKI in DER, of whatever kind.
    pub fn public_der(&self) -> &[u8] {
        &self.spki
    }

    /// The key as one that signs, when it is Ed25519 or RSA.
    pub fn signature_key(&self, algorithm: Option<Algorithm>) -> Result<SignatureKey, KeyError> {
        from_spki(&self.spki, algorithm)
    }

    /// Whether it is about this key. The algorithm is not compared: a certificate names the kind of key only.
    pub fn matches(&self, key: &SignatureKey) -> bool {
        self.spki == public_der(key)
    }

    /// Whom it names, as one line that can be shown: `C=DE, O=Example, CN=Alice` (RFC 4514 escapes, in the order of
    /// the certificate). What could lie about itself on a screen is escaped.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Who says so, in the same form.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The first time at which it is valid.
    pub const fn not_before(&self) -> UnixMillis {
        self.not_before
    }

    /// The last second in which it is valid.
    pub const fn not_after(&self) -> UnixMillis {
        self.not_after
    }

    /// Whether it is valid at that time.
    pub fn is_valid_at(&self, time: UnixMillis) -> bool {
        (self.not_before.0..=self.not_after.0.saturating_add(999)).contains(&time.0)
    }

    /// SHA-256 of the certificate: what `openssl x509 -fingerprint -sha256` shows.
    pub fn fingerprint(&self) -> [u8; 32] {
        Sha256::digest(&self.der).into()
    }
}

fn name(name: &X509Name<'_>) -> String {
    let set = |attributes: Vec<String>| attributes.join(" + ");
    let parts: Vec<_> = name.iter().map(|it| set(it.iter().map(attribute).collect())).collect();
    parts.join(", ")
}

/// `CN=Alice`, so that no value can look like another attribute.
fn attribute(it: &AttributeTypeAndValue<'_>) -> String {
    let oid = it.attr_type();
    let short = oid2abbrev(oid, oid_registry()).map_or_else(|_| oid.to_id_string(), str::to_owned);
    let value = match it.as_str() {
        Ok(text) => escaped(text),
        Err(_) => format!("#{}", hex::encode(it.as_slice())),
    };
    format!("{short}={value}")
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (position, c) in text.char_indices() {
        let last = position + c.len_utf8() == text.len();
        if check_line(c.encode_utf8(&mut [0; 4]), 4, "name").is_err() {
            out.extend(c.escape_unicode());
            continue;
        }
        let edge = (c == ' ' && (position == 0 || last)) || (c == '#' && position == 0);
        if edge || ",+\"\\<>;=".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
