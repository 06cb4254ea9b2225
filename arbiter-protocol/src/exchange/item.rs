//! Items and their descriptions: what a peer must get, precise enough for a machine to check (R16).

use prost::Message as _;

use crate::error::Invalid;
use crate::escrow::signature_key::Kind as KeyKind;
use crate::escrow::{RsaHash, RsaPadding, SignatureKey};
use crate::exchange::kind;
use crate::exchange::package;
use crate::exchange::payment::Payment;
use crate::exchange::property::Properties;
use crate::ids::{Digest, PublicKey};
use crate::limits;
use crate::message::wire;

/// An item: what it must be, and what the arbiter can do about its transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What the item must be.
    pub description: Description,
    /// What the arbiter can do. A subset of what the kind of item offers (R-207).
    pub properties: Properties,
}

/// What an item must be, one variant a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Description {
    /// A plain signature over the document of a statement, by a standard key; handed over in escrow first.
    DetachedSignature(DetachedSignature),
    /// A file.
    Information(Information),
    /// Nothing: what the receiver of a one-way transfer gives.
    Nothing,
    /// Several items, all of them or none: as [`Item::package`] makes it.
    Package(Vec<Item>),
    /// Money: the ledger's signed receipt.
    Payment(Payment),
    /// A signature of the sending party over a statement: the signed transfer itself.
    Signature(Statement),
}

/// Describes a plain signature, as any tool makes and checks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetachedSignature {
    /// What is signed: [`Statement::document`].
    pub statement: Statement,
    /// Which key signs, and how.
    pub key: SignatureKey,
    /// X.509 certificate (DER) that is shown for the key, at most [`limits::CERTIFICATE_BYTES`]; may be empty. Parties
    /// read it, the arbiter does not.
    pub certificate: Vec<u8>,
}

/// Describes a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Information {
    /// SHA-256 of the whole file.
    pub sha256: Digest,
    /// Size in bytes, 1 to [`limits::ITEM_BYTES`].
    pub size_bytes: u64,
    /// Media type (RFC 6838), e.g. `application/pdf`. Checked against the file's magic bytes.
    pub media_type: String,
    /// File name without a path, at most [`limits::NAME_BYTES`].
    pub name: String,
}

/// What a signature item signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// One line, e.g. `Contract of sale`, at most [`limits::TITLE_BYTES`].
    pub title: String,
    /// The terms in words, at most [`limits::TEXT_BYTES`]; may be empty.
    pub text: String,
    /// The file that the statement is about: the contract, or the thing received.
    pub subject: Information,
}

impl Item {
    /// An item with every property that its kind offers.
    pub fn new(description: Description) -> Self {
        let properties = kind::properties(&description);
        Self { description, properties }
    }

    /// These items together, with every property that they share (R-220, R-221).
    pub fn package(items: Vec<Self>) -> Result<Self, Invalid> {
        package::check(&items)?;
        Ok(Self::new(Description::Package(items)))
    }

    /// The items that are no packages, depth first: of a lone item itself.
    pub fn leaves(&self) -> Vec<&Self> {
        match &self.description {
            Description::Package(items) => items.iter().flat_map(Self::leaves).collect(),
            _ => vec![self],
        }
    }

    /// SHA-256 over a domain tag and the canonical encoding: the item's name in verdicts.
    pub fn digest(&self) -> Digest {
        Digest::of(&[b"arbiter item v1\0", &self.to_wire().encode_to_vec()])
    }

    pub(crate) fn from_wire(wire: wire::Item, field: &'static str) -> Result<Self, Invalid> {
        let description = match wire.description.ok_or(Invalid::FieldMissing { field })? {
            wire::item::Description::DetachedSignature(it) => {
                Description::DetachedSignature(DetachedSignature::from_wire(it)?)
            }
            wire::item::Description::Information(it) => Description::Information(Information::from_wire(it)?),
            wire::item::Description::Nothing(wire::Nothing {}) => Description::Nothing,
            wire::item::Description::Package(it) => Description::Package(package::from_wire(it)?),
            wire::item::Description::Payment(it) => Description::Payment(Payment::from_wire(it)?),
            wire::item::Description::Signature(it) => Description::Signature(Statement::from_wire(it)?),
        };
        let properties = Properties::from_wire(&wire.properties, "properties")?;
        if !properties.within(&kind::properties(&description)) {
            return Err(Invalid::FieldValue { field: "properties" }); // R-207
        }
        Ok(Self { description, properties })
    }

    pub(crate) fn to_wire(&self) -> wire::Item {
        wire::Item {
            description: Some(match &self.description {
                Description::DetachedSignature(it) => {
                    wire::item::Description::DetachedSignature(it.to_wire())
                }
                Description::Information(it) => wire::item::Description::Information(it.to_wire()),
                Description::Nothing => wire::item::Description::Nothing(wire::Nothing {}),
                Description::Package(it) => wire::item::Description::Package(package::to_wire(it)),
                Description::Payment(it) => wire::item::Description::Payment(it.to_wire()),
                Description::Signature(it) => wire::item::Description::Signature(it.to_wire()),
            }),
            properties: self.properties.to_wire(),
        }
    }
}

impl Description {
    /// Whether bytes follow the transfer: a file, a detached signature, or the receipt of a payment. Otherwise the
    /// transfer is the item.
    pub fn is_content(&self) -> bool {
        match self {
            Self::DetachedSignature(_) | Self::Information(_) | Self::Payment(_) => true,
            Self::Package(items) => items.iter().any(|item| item.description.is_content()),
            Self::Nothing | Self::Signature(_) => false,
        }
    }

    /// Whether it can be sent through the arbiter: a file, a ledger's receipt that a payment took effect, or a package of
    /// files.
    pub fn is_depositable(&self) -> bool {
        match self {
            Self::Information(_) | Self::Payment(_) => true,
            Self::Package(items) => items
                .iter()
                .flat_map(Item::leaves)
                .all(|leaf| leaf.description.payment().is_none() && leaf.description.is_depositable()),
            Self::DetachedSignature(_) | Self::Nothing | Self::Signature(_) => false,
        }
    }

    /// How many bytes of content a file has, or a package of files with the length before each (R-320). `None` of what is
    /// no file.
    pub fn content_bytes(&self) -> Option<u64> {
        let frame = u64::try_from(limits::FRAME_BYTES).unwrap_or(u64::MAX);
        match self {
            Self::Information(it) => Some(it.size_bytes),
            Self::Package(items) => items
                .iter()
                .flat_map(Item::leaves)
                .map(|leaf| leaf.description.content_bytes().map(|size| size.saturating_add(frame)))
                .try_fold(0, |sum: u64, size| Some(sum.saturating_add(size?))),
            Self::DetachedSignature(_) | Self::Nothing | Self::Payment(_) | Self::Signature(_) => None,
        }
    }

    /// The payment, if it is one.
    pub const fn payment(&self) -> Option<&Payment> {
        match self {
            Self::Payment(it) => Some(it),
            _ => None,
        }
    }

    /// The payments, in the order of the leaves: of a lone payment itself.
    pub fn payments(&self) -> Vec<&Payment> {
        match self {
            Self::Payment(it) => vec![it],
            Self::Package(items) => {
                items.iter().flat_map(Item::leaves).filter_map(|leaf| leaf.description.payment()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The payment, if it is one that is set aside before anything leaves, so that the arbiter can post it (R-428).
    pub fn reservation(&self) -> Option<&Payment> {
        self.payment().filter(|payment| payment.is_generatable())
    }

    /// The detached signatures, in the order of the leaves: of a lone one itself.
    pub fn detached_leaves(&self) -> Vec<&DetachedSignature> {
        match self {
            Self::DetachedSignature(it) => vec![it],
            Self::Package(items) => {
                items.iter().flat_map(Item::leaves).filter_map(|leaf| leaf.description.detached()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The detached signature, if it is one.
    pub const fn detached(&self) -> Option<&DetachedSignature> {
        match self {
            Self::DetachedSignature(it) => Some(it),
            _ => None,
        }
    }
}

impl DetachedSignature {
    fn from_wire(wire: wire::DetachedSignature) -> Result<Self, Invalid> {
        let statement = wire.statement.ok_or(Invalid::FieldMissing { field: "statement" })?;
        if wire.certificate.len() > limits::CERTIFICATE_BYTES {
            return Err(Invalid::FieldLength { field: "certificate" });
        }
        let key = wire.key.and_then(|it| it.key).ok_or(Invalid::FieldMissing { field: "key" })?;
        Ok(Self {
            statement: Statement::from_wire(statement)?,
            key: key_from_wire(key)?,
            certificate: wire.certificate,
        })
    }

    fn to_wire(&self) -> wire::DetachedSignature {
        wire::DetachedSignature {
            statement: Some(self.statement.to_wire()),
            key: Some(wire::SignatureKey { key: Some(key_to_wire(&self.key)) }),
            certificate: self.certificate.clone(),
        }
    }
}

/// Sizes first, then what costs arithmetic.
fn key_from_wire(wire: wire::signature_key::Key) -> Result<SignatureKey, Invalid> {
    let weak = |_| Invalid::WeakKey { field: "key" };
    match wire {
        wire::signature_key::Key::Ed25519(bytes) => {
            SignatureKey::ed25519(PublicKey::parse(&bytes, "ed25519")?).map_err(weak)
        }
        wire::signature_key::Key::Rsa(rsa) => {
            if rsa.modulus.len() > limits::MODULUS_BYTES {
                return Err(Invalid::FieldLength { field: "modulus" });
            }
            let padding = match wire::RsaPadding::try_from(rsa.padding) {
                Ok(wire::RsaPadding::Pkcs1) => RsaPadding::Pkcs1,
                Ok(wire::RsaPadding::Pss) => RsaPadding::Pss,
                _ => return Err(Invalid::FieldValue { field: "padding" }),
            };
            let hash = match wire::RsaHash::try_from(rsa.hash) {
                Ok(wire::RsaHash::Sha256) => RsaHash::Sha256,
                Ok(wire::RsaHash::Sha384) => RsaHash::Sha384,
                Ok(wire::RsaHash::Sha512) => RsaHash::Sha512,
                _ => return Err(Invalid::FieldValue { field: "hash" }),
            };
            SignatureKey::rsa(rsa.modulus, rsa.exponent, padding, hash).map_err(weak)
        }
    }
}

fn key_to_wire(key: &SignatureKey) -> wire::signature_key::Key {
    match key.kind() {
        KeyKind::Ed25519(key) => wire::signature_key::Key::Ed25519(key.to_vec()),
        KeyKind::Rsa { modulus, exponent, padding, hash } => {
            let padding = match padding {
                RsaPadding::Pkcs1 => wire::RsaPadding::Pkcs1,
                RsaPadding::Pss => wire::RsaPadding::Pss,
            };
            let hash = match hash {
                RsaHash::Sha256 => wire::RsaHash::Sha256,
                RsaHash::Sha384 => wire::RsaHash::Sha384,
                RsaHash::Sha512 => wire::RsaHash::Sha512,
            };
            wire::signature_key::Key::Rsa(wire::RsaKey {
                modulus: modulus.clone(),
                exponent: *exponent,
                padding: padding.into(),
                hash: hash.into(),
            })
        }
    }
}

impl Information {
    fn from_wire(wire: wire::Information) -> Result<Self, Invalid> {
        let sha256 = Digest::parse(&wire.sha256, "sha256")?;
        if wire.size_bytes == 0 || wire.size_bytes > limits::ITEM_BYTES {
            return Err(Invalid::FieldValue { field: "size_bytes" });
        }
        check_media_type(&wire.media_type)?;
        check_line(&wire.name, limits::NAME_BYTES, "name")?;
        let a_path = wire.name.contains(['/', '\\']) || wire.name.starts_with('.');
        if a_path || wire.name.is_empty() {
            return Err(Invalid::FieldValue { field: "name" });
        }
        Ok(Self { sha256, size_bytes: wire.size_bytes, media_type: wire.media_type, name: wire.name })
    }

    fn to_wire(&self) -> wire::Information {
        wire::Information {
            sha256: self.sha256.to_vec(),
            size_bytes: self.size_bytes,
            media_type: self.media_type.clone(),
            name: self.name.clone(),
        }
    }
}

impl Statement {
    /// R-108: what a detached signature signs, as UTF-8 text. Two different statements never have the same document,
    /// and no document is a statement of this protocol, for it does not begin with `DSSEv1`.
    ///
    /// ```
    /// # use arbiter_protocol::{exchange::item::{Information, Statement}, ids::Digest};
    /// let contract = Information {
    ///     sha256: Digest::from_bytes([0xab; 32]), size_bytes: 9, media_type: "text/plain".into(), name: "sale.txt".into(),
    /// };
    /// let statement = Statement { title: "Sale".into(), text: "One bicycle.\nAs seen.".into(), subject: contract };
    /// assert_eq!(statement.document(), format!("\
    /// arbiter/signed-statement/v1
    /// title Sale
    /// file sale.txt
    /// type text/plain
    /// size 9
    /// sha256 {}
    ///
    /// One bicycle.
    /// As seen.", "ab".repeat(32)));
    /// ```
    pub fn document(&self) -> String {
        let Information { sha256, size_bytes, media_type, name } = &self.subject;
        format!(
            "arbiter/signed-statement/v1\ntitle {}\nfile {name}\ntype {media_type}\nsize {size_bytes}\nsha256 {sha256}\n\n{}",
            self.title, self.text
        )
    }

    fn from_wire(wire: wire::Statement) -> Result<Self, Invalid> {
        check_line(&wire.title, limits::TITLE_BYTES, "title")?;
        if wire.title.is_empty() {
            return Err(Invalid::FieldMissing { field: "title" });
        }
        check_text(&wire.text, limits::TEXT_BYTES, "text")?;
        let subject = wire.subject.ok_or(Invalid::FieldMissing { field: "subject" })?;
        Ok(Self { title: wire.title, text: wire.text, subject: Information::from_wire(subject)? })
    }

    fn to_wire(&self) -> wire::Statement {
        wire::Statement {
            title: self.title.clone(),
            text: self.text.clone(),
            subject: Some(self.subject.to_wire()),
        }
    }
}

/// One line of text: as [`check_text`], and no line feed.
pub fn check_line(text: &str, maximum: usize, field: &'static str) -> Result<(), Invalid> {
    if text.contains('\n') {
        return Err(Invalid::FieldValue { field });
    }
    check_text(text, maximum, field)
}

/// R-107: text that a person will read before signing holds nothing that can lie about itself: no control
/// characters but line feed, no bidirectional overrides or isolates, no zero-width or tag characters.
pub fn check_text(text: &str, maximum: usize, field: &'static str) -> Result<(), Invalid> {
    if text.len() > maximum {
        return Err(Invalid::FieldLength { field });
    }
    let deceptive = |c: char| {
        matches!(c,
            '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
    };
    if text.chars().any(|c| (c.is_control() && c != '\n') || deceptive(c)) {
        return Err(Invalid::FieldValue { field });
    }
    Ok(())
}

fn check_media_type(text: &str) -> Result<(), Invalid> {
    let field = "media_type";
    if text.len() > limits::MEDIA_TYPE_BYTES {
        return Err(Invalid::FieldLength { field });
    }
    let token = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| {
                b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'+' | b'-' | b'_')
            })
    };
    match text.split_once('/') {
        Some((kind, subtype)) if token(kind) && token(subtype) => Ok(()),
        _ => Err(Invalid::FieldValue { field }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R-107: what is shown is what is signed.
    #[test]
    fn text_that_can_lie_about_itself_is_refused() {
        for bad in ["a\u{202e}b", "a\u{200b}b", "a\u{1b}[31mb", "a\rb", "a\u{2066}b", "a\u{0}b", "\u{feff}a"]
        {
            assert!(check_text(bad, 100, "text").is_err(), "{bad:?}");
        }
        assert!(check_text("Zażółć gęślą jaźń\n合同", 100, "text").is_ok());
        assert!(check_line("two\nlines", 100, "title").is_err());
        assert!(check_text("12345", 5, "text").is_ok());
        assert!(check_text("123456", 5, "text").is_err());
    }

    #[test]
    fn names_are_not_paths_and_media_types_are_types() {
        let file = |name: &str, media_type: &str, size_bytes| {
            Information::from_wire(wire::Information {
                sha256: vec![0; 32],
                size_bytes,
                media_type: media_type.into(),
                name: name.into(),
            })
        };
        assert!(file("contract.pdf", "application/pdf", 1).is_ok());
        for name in ["", "../x", "a/b", "a\\b", ".ssh", "a\nb"] {
            assert!(file(name, "application/pdf", 1).is_err(), "{name:?}");
        }
        for media_type in ["", "pdf", "/", "a/", "A/B", "a/b/c", "text/plain; charset=utf-8"] {
            assert!(file("x", media_type, 1).is_err(), "{media_type:?}");
        }
        for media_type in ["a/b", "audio/mp4", "application/vnd.ms-excel.12+xml", "x1_y/z-0"] {
            assert!(file("x", media_type, 1).is_ok(), "{media_type:?}");
        }
        assert!(file("x", "text/plain", 0).is_err());
        assert!(file("x", "text/plain", limits::ITEM_BYTES).is_ok());
        assert!(file("x", "text/plain", limits::ITEM_BYTES + 1).is_err());
    }
}
