//! Which key signs: of this identity, from a file, or somewhere else.
//!
//! ```text
//!  nothing said ─────────────────▶ the identity's Ed25519 key     the client signs, after the approval
//!  --key FILE ───────────────────▶ that key                       signed here, in memory
//!  --signature-from, --public ───▶ that key                       signed elsewhere, checked here
//! ```
//!
//! Invariant: a key, a signature or a certificate that does not belong to the others is refused before anything is
//! shown or sent.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use arbiter_client::Give;
use arbiter_client::explain::keys::fingerprint;
use arbiter_client::plain;
use arbiter_client::protocol::escrow::SignatureKey;
use arbiter_client::protocol::escrow::signature_key::Kind;
use arbiter_client::protocol::exchange::item::DetachedSignature;
use arbiter_client::protocol::ids::PublicKey;
use arbiter_client::protocol::limits;
use arbiter_client::protocol::message::agreement::Offer;
use arbiter_client::signing::{Algorithm, Certificate, KeyError, PrivateKey, Public};
use zeroize::Zeroizing;

use crate::args::{Accept, SigningKey, TheirKey};
use crate::failure::Failure;
use crate::files;

/// A key as an offer names it.
pub struct Named {
    /// The key and how it signs.
    pub key: SignatureKey,
    /// Its certificate (DER), or nothing.
    pub certificate: Vec<u8>,
}

/// Where a signature comes from.
pub enum Source {
    /// The client makes it with the identity's key.
    Identity,
    /// Made here with this key.
    Key(Box<PrivateKey>),
    /// Made elsewhere, in this file.
    Finished(PathBuf),
}

impl SigningKey {
    /// Whether anything was said.
    pub const fn is_named(&self) -> bool {
        self.key.is_some()
            || self.signature_from.is_some()
            || self.public.is_some()
            || self.cert.is_some()
            || self.algorithm.is_some()
    }
}

/// With which key we sign, and where the signature comes from.
pub fn ours(options: &SigningKey, identity: PublicKey) -> Result<(Named, Source), Failure> {
    let certificate = options.cert.as_deref().map(Certificate::read).transpose()?;
    let (key, source) = match (&options.key, &options.signature_from) {
        (Some(path), _) => {
            let key = PrivateKey::read(path, options.algorithm)?;
            (key.public().clone(), Source::Key(Box::new(key)))
        }
        (None, Some(path)) => {
            let key = match (&options.public, &certificate) {
                (Some(public), _) => Public::read(public, options.algorithm)?.key,
                (None, Some(certificate)) => certificate.signature_key(options.algorithm)?,
                (None, None) => {
                    return Err(Failure::usage(
                        "--signature-from needs the public key that it is checked with",
                    )
                    .next("name it with --public FILE (PEM), or its certificate with --cert FILE"));
                }
            };
            (key, Source::Finished(path.clone()))
        }
        (None, None) => {
            if options.algorithm.is_some_and(|it| it != Algorithm::Ed25519) {
                return Err(Failure::usage(
                    "--algorithm is for an RSA key: this identity has an Ed25519 key",
                )
                .next("name the RSA key with --key FILE"));
            }
            (ed25519(identity)?, Source::Identity)
        }
    };
    if let (Some(certificate), Some(path)) = (&certificate, &options.cert)
        && !certificate.matches(&key)
    {
        return Err(Failure::usage(format!(
            "{}: this certificate, of {}, is of another key than the one that signs",
            path.display(),
            plain::clip(certificate.subject(), 100)
        ))
        .next("name the certificate that was issued for this key, or leave out --cert"));
    }
    let certificate = certificate.map_or_else(Vec::new, |it| it.der().to_vec());
    Ok((Named { key, certificate }, source))
}

/// With which key they sign.
pub fn theirs(options: &TheirKey, identity: PublicKey) -> Result<Named, Failure> {
    let Some(path) = &options.their_key else {
        return Ok(Named { key: ed25519(identity)?, certificate: Vec::new() });
    };
    let Public { key, certificate } = Public::read(path, options.their_algorithm)?;
    Ok(Named { key, certificate: certificate.map_or_else(Vec::new, |it| it.der().to_vec()) })
}

fn ed25519(key: PublicKey) -> Result<SignatureKey, Failure> {
    SignatureKey::ed25519(key).map_err(|error| Failure::usage(error.to_string()))
}

impl Source {
    /// What we give: a signature over each document, if the client cannot make it.
    pub fn sign_all(self, key: &SignatureKey, documents: &[String]) -> Result<Give, Failure> {
        match (self, documents) {
            (source, [document]) => source.sign(key, document),
            (Self::Identity, _) => Ok(Give::Nothing),
            (Self::Key(private), _) => {
                let sign = |document: &String| Ok(private.sign(document.as_bytes())?);
                Ok(Give::Signatures(documents.iter().map(sign).collect::<Result<_, Failure>>()?))
            }
            (Self::Finished(_), _) => Err(Failure::usage("--signature-from is for one signature")
                .next("name the key with --key, or make one exchange for each file")),
        }
    }

    /// The same for one document.
    fn sign(self, key: &SignatureKey, document: &str) -> Result<Give, Failure> {
        match self {
            Self::Identity => Ok(Give::Nothing),
            Self::Key(private) => Ok(Give::Signature(private.sign(document.as_bytes())?)),
            Self::Finished(path) => {
                let signature = read_signature(&path)?;
                if key.verify(document.as_bytes(), &signature) {
                    return Ok(Give::Signature(signature));
                }
                Err(Failure::usage(format!(
                    "{}: this is no signature by the {} key with SHA-256 {} over the text of this offer",
                    path.display(),
                    plain::key(key),
                    fingerprint(key)
                ))
                .next(
                    "sign exactly the bytes that `fairx document` writes for the same title, text and file; an RSA \
                     signature also needs the right --algorithm; a signature file has only the signature, not base64",
                ))
            }
        }
    }
}

/// How `fairx accept` answers an offer that asks for a detached signature.
pub struct Answer {
    key: Option<PathBuf>,
    signature_from: Option<PathBuf>,
    document_out: Option<PathBuf>,
    files: Vec<PathBuf>,
}

impl Answer {
    /// From the command line. A key that cannot be used is said before anybody waits for an offer.
    pub fn new(accept: &Accept) -> Result<Self, Failure> {
        if let Some(path) = &accept.key {
            PrivateKey::read(path, None)?;
        }
        if let Some(path) = &accept.signature_from {
            read_signature(path)?;
        }
        Ok(Self {
            key: accept.key.clone(),
            signature_from: accept.signature_from.clone(),
            document_out: accept.document_out.clone(),
            files: accept.give.clone(),
        })
    }

    /// What we give for this offer. Refuses a key that is not the one that the offer names.
    pub fn give(&self, offer: &Offer) -> Result<Give, Failure> {
        let items = offer.responder_item.description.detached_leaves();
        let Some(item) = items.first() else {
            if self.key.is_some() || self.signature_from.is_some() {
                return Err(Failure::bad("the offer asks for no signature by a key of its own")
                    .next("accept without --key and --signature-from, or ask for another offer"));
            }
            return Ok(given(&self.files));
        };
        if !self.files.is_empty() {
            return Ok(given(&self.files)); // Refused by the client: a signature is asked for, not a file.
        }
        if items.iter().any(|it| it.key != item.key) {
            return Err(Failure::bad("the offer asks for signatures by different keys in one exchange")
                .next("nothing was signed; ask for an exchange for each key"));
        }
        let documents: Vec<_> = items.iter().map(|it| it.statement.document()).collect();
        if let (Some(path), [document]) = (&self.document_out, documents.as_slice()) {
            files::write_new(path, document.as_bytes())?;
        }
        let source = match (&self.key, &self.signature_from) {
            (Some(path), _) => {
                let private = match PrivateKey::read(path, Some(Algorithm::of(&item.key))) {
                    Ok(private) if private.public() == &item.key => private,
                    Ok(private) => return Err(other_key(item, private.public())),
                    Err(KeyError::In { reason, .. }) if matches!(*reason, KeyError::Mismatch { .. }) => {
                        return Err(other_key(item, PrivateKey::read(path, None)?.public()));
                    }
                    Err(error) => return Err(error.into()),
                };
                Source::Key(Box::new(private))
            }
            (None, Some(path)) => Source::Finished(path.clone()),
            (None, None) if *item.key.kind() == Kind::Ed25519(offer.responder.signing_key) => {
                Source::Identity
            }
            (None, None) => {
                let text = match &self.document_out {
                    Some(path) => format!("the text to sign is in {}", path.display()),
                    None => "--document-out FILE writes the text to sign".to_owned(),
                };
                return Err(Failure::bad(format!(
                    "the offer asks for a signature by the {} key with SHA-256 {}, which is not this identity's",
                    plain::key(&item.key),
                    fingerprint(&item.key)
                ))
                .next(format!(
                    "nothing was signed; accept again with --key FILE, or sign elsewhere ({text}) and accept again with \
                     --signature-from FILE"
                )));
            }
        };
        source.sign_all(&item.key, &documents)
    }
}

/// What these files are to an exchange.
pub fn given(files: &[PathBuf]) -> Give {
    match files {
        [] => Give::Nothing,
        [file] => Give::File(file.clone()),
        files => Give::Files(files.to_vec()),
    }
}

fn other_key(item: &DetachedSignature, ours: &SignatureKey) -> Failure {
    Failure::bad(format!(
        "the offer asks for a signature by another key: it names {} with SHA-256 {}, --key is {} with SHA-256 {}",
        plain::key(&item.key),
        fingerprint(&item.key),
        plain::key(ours),
        fingerprint(ours)
    ))
    .next("nothing was signed; use the key that the offer names, or give the other party your public key for --their-key")
}

/// A signature file, at most as long as a signature can be.
fn read_signature(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let limit = u64::try_from(limits::MODULUS_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(limits::MODULUS_BYTES + 1));
    let read = std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    read.map_err(|error| Failure::file(path, &error))?;
    if bytes.is_empty() || bytes.len() > limits::MODULUS_BYTES {
        return Err(Failure::usage(format!(
            "{}: this is no signature file: it has {} bytes",
            path.display(),
            if bytes.is_empty() { "no".to_owned() } else { format!("more than {}", limits::MODULUS_BYTES) }
        ))
        .next("a signature file has 64 bytes for Ed25519, and as many as the modulus for RSA"));
    }
    Ok(bytes)
}
