//! The keys of detached signatures and the certificates that are shown for them.
//!
//! ```text
//!  item ── key ──────────▶ kind, SHA-256 of the public key            what the signature is checked with
//!       └─ certificate? ─▶ whom it names, who says so, since when     shown by its owner, checked by nobody here
//! ```
//!
//! Invariant: a certificate is shown only if it is of the key that signs.

use arbiter_protocol::escrow::SignatureKey;
use arbiter_protocol::exchange::item::DetachedSignature;
use arbiter_protocol::ids::Digest;
use arbiter_protocol::time::UnixMillis;

use crate::plain;
use crate::signing::{Certificate, public_der};

/// SHA-256 of the public key in its standard encoding, as `openssl pkey -pubin -outform DER | sha256sum` gives it.
pub fn fingerprint(key: &SignatureKey) -> Digest {
    Digest::of(&[&public_der(key)])
}

/// The certificate that is shown for the key, if there is one; or why it must not be believed.
pub fn certificate(item: &DetachedSignature) -> Result<Option<Certificate>, String> {
    if item.certificate.is_empty() {
        return Ok(None);
    }
    let certificate = Certificate::parse(&item.certificate)
        .map_err(|error| format!("the certificate beside the key cannot be read: {error}"))?;
    if !certificate.matches(&item.key) {
        return Err(format!(
            "the certificate of \"{}\" is of ANOTHER key than the one that signs",
            plain::clip(certificate.subject(), 100)
        ));
    }
    Ok(Some(certificate))
}

/// Key and certificate of a detached signature, none of the lines longer than a screen has.
pub fn lines(item: &DetachedSignature) -> Vec<String> {
    let mut lines = vec![
        format!("by this key: {}", plain::key(&item.key)),
        format!("  SHA-256 {}", fingerprint(&item.key)),
    ];
    match certificate(item) {
        Ok(None) => {}
        Ok(Some(certificate)) => {
            lines.push("certificate, shown by its owner, not checked against any authority:".to_owned());
            let valid = format!(
                "{} to {}",
                plain::time(certificate.not_before()),
                plain::time(certificate.not_after())
            );
            for (name, value) in
                [("for", certificate.subject()), ("from", certificate.issuer()), ("valid", &valid)]
            {
                let mut name = name;
                for part in plain::wrap(value, COLUMNS) {
                    lines.push(format!("| {name:<5} {part}"));
                    name = "";
                }
            }
        }
        Err(why) => lines.extend(plain::wrap(&format!("BAD CERTIFICATE: {why}"), COLUMNS)),
    }
    lines
}

/// What a reader should know about a certificate before relying on its name.
pub fn doubts(whose: &str, certificate: &Certificate, now: UnixMillis) -> Vec<String> {
    let mut doubts = Vec::new();
    if now < certificate.not_before() {
        doubts.push(format!(
            "{whose} certificate is NOT YET VALID: it begins on {}.",
            plain::time(certificate.not_before())
        ));
    } else if !certificate.is_valid_at(now) {
        doubts.push(format!(
            "{whose} certificate HAS EXPIRED: it ended on {}.",
            plain::time(certificate.not_after())
        ));
    }
    if certificate.subject() == certificate.issuer() {
        doubts.push(format!("{whose} certificate is signed by itself: anybody can make one with any name."));
    }
    doubts
}

/// So that a line fits a screen of 80 columns behind the margins of ours.
const COLUMNS: usize = 62;
