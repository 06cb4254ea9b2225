//! The party's side of the kinds of items: describing, sending and receiving files and packages of files in bounded memory, and
//! detached signatures and receipts of payments, which travel as files do.
//!
//! ```text
//!  own file ──read, check──▶ seal ──64 KiB──▶ peer ──open, check──▶ part file ──fsync, rename──▶ received file
//! ```
//!
//! Invariants
//! - A received file has its name only after every byte of it was checked and is durable.
//! - A file of ours that is no longer what was agreed is never sent whole.

use std::path::{Path, PathBuf};

use arbiter_protocol::crypto::{Opener, Sealer, SealingSecret};
use arbiter_protocol::error::Invalid;
use arbiter_protocol::escrow::{EscrowError, SignatureKey};
use arbiter_protocol::exchange::item::{Description, DetachedSignature, Information, Item, Statement};
use arbiter_protocol::exchange::kind::Unfit;
use arbiter_protocol::exchange::kind::content::{ContentCheck, FitContent};
use arbiter_protocol::exchange::kind::pledge::Pledge;
use arbiter_protocol::exchange::payment::Payment;
use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::ids::{Digest, ExchangeId, SealingKey};
use arbiter_protocol::limits;
use arbiter_protocol::message::agreement::{Offer, Party};
use arbiter_protocol::message::payment::PaymentReceipt;
use arbiter_protocol::statement::Verified;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tokio::fs::{self, File};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use zeroize::Zeroizing;

use crate::error::Error;
use crate::ledger::till;
use crate::package::{Folder, Frames, kept};
use crate::transport::Content;
use crate::{plain, random};

/// Describes a file. Without `media_type`, the type is the one that its first bytes show, or
/// `application/octet-stream`.
pub async fn describe(path: &Path, media_type: Option<&str>) -> Result<Information, Error> {
    let (mut hasher, mut head, mut size_bytes) = (Sha256::new(), Vec::new(), 0u64);
    read_all(path, |bytes| {
        if head.is_empty() {
            head = bytes.to_vec();
        }
        hasher.update(bytes);
        size_bytes = size_bytes.saturating_add(length(bytes));
        Ok(())
    })
    .await?;
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| Error::file(path, "the file's name is not text"))?;
    let shown = infer::get(&head).map_or("application/octet-stream", |kind| kind.mime_type());
    Ok(Information {
        sha256: Digest::from_bytes(hasher.finalize().into()),
        size_bytes,
        media_type: media_type.unwrap_or(shown).to_owned(),
        name: name.to_owned(),
    })
}

/// The item "this file".
pub fn file(described: Information) -> Item {
    Item::new(Description::Information(described))
}

/// The item "a signature over this title and text about this file".
pub fn signature(title: impl Into<String>, text: impl Into<String>, subject: Information) -> Item {
    Item::new(Description::Signature(Statement { title: title.into(), text: text.into(), subject }))
}

/// The item "a plain signature by this key over this title and text about this file", as any tool makes and checks it.
/// It is handed over in escrow first. `certificate` (X.509, DER) is shown to the peer beside the key; it may be empty.
pub fn detached_signature(
    title: impl Into<String>,
    text: impl Into<String>,
    subject: Information,
    key: SignatureKey,
    certificate: Vec<u8>,
) -> Item {
    let statement = Statement { title: title.into(), text: text.into(), subject };
    Item::new(Description::DetachedSignature(DetachedSignature { statement, key, certificate }))
}

/// A [`detached_signature`] by the identity key of `party`. Refuses a key with torsion: such a key is no honest one.
pub fn signed_by(
    party: &Party,
    title: impl Into<String>,
    text: impl Into<String>,
    subject: Information,
) -> Result<Item, EscrowError> {
    Ok(detached_signature(title, text, subject, SignatureKey::ed25519(party.signing_key)?, Vec::new()))
}

/// The item "nothing": what the receiver of a one-way transfer gives.
pub fn nothing() -> Item {
    Item::new(Description::Nothing)
}

/// The item "all of these, or none of them". Refuses items that do not make a package (R-220).
pub fn package(items: Vec<Item>) -> Result<Item, Invalid> {
    Item::package(items)
}

/// The item "this payment". What is handed over is the ledger's receipt.
pub fn payment(payment: Payment) -> Item {
    Item::new(Description::Payment(payment))
}

/// Checks that a file of ours is what an agreement says (R-305).
pub async fn check_file(path: &Path, described: &Information) -> Result<(), Error> {
    let mut check = ContentCheck::file(described.clone());
    read_all(path, |bytes| check.update(bytes).map_err(|unfit| Error::file(path, unfit))).await?;
    check.finish().map_err(|unfit| Error::file(path, unfit))?;
    Ok(())
}

async fn read_all(path: &Path, mut take: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
    let mut file = File::open(path).await.map_err(|error| Error::file(path, error))?;
    let mut buffer = Vec::with_capacity(limits::CHUNK_BYTES);
    while fill(&mut file, &mut buffer).await.map_err(|error| Error::file(path, error))? {
        take(&buffer)?;
    }
    Ok(())
}

/// Reads one full chunk, or what is left. Whether there was anything.
async fn fill(file: &mut File, buffer: &mut Vec<u8>) -> std::io::Result<bool> {
    buffer.clear();
    file.take(length_limit()).read_to_end(buffer).await?;
    Ok(!buffer.is_empty())
}

fn length_limit() -> u64 {
    u64::try_from(limits::CHUNK_BYTES).unwrap_or(u64::MAX)
}

/// How the names of the files of one signature of a package begin: with its place from 1, for two may be about one file.
pub fn signed_about(place: usize, item: &DetachedSignature) -> String {
    format!("{}.{}", place.saturating_add(1), item.statement.subject.name)
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Content on its way to the peer.
pub(crate) struct Outgoing {
    from: Origin,
    size: u64,
    check: Option<ContentCheck>,
    sealer: Sealer,
    first: bool,
    sent: u64,
}

enum Origin {
    File(PathBuf, File),
    Package(Frames),
    Receipt(Vec<u8>),
    Signature(Zeroizing<Vec<u8>>),
}

impl Outgoing {
    /// A file of ours.
    pub(crate) async fn file(
        path: &Path,
        described: &Information,
        seal: (&SealingKey, &[u8]),
    ) -> Result<Self, Error> {
        let file = File::open(path).await.map_err(|error| Error::file(path, error))?;
        let check = ContentCheck::file(described.clone());
        Self::new(Origin::File(path.to_owned(), file), described.size_bytes, check, seal)
    }

    /// A package of ours: its files, in the order of its leaves.
    pub(crate) fn package(
        paths: &[PathBuf],
        items: &[Item],
        seal: (&SealingKey, &[u8]),
    ) -> Result<Self, Error> {
        let package = Description::Package(items.to_vec());
        let check = ContentCheck::package(items.to_vec()).zip(package.content_bytes());
        let (check, size) = check.ok_or(Error::Bug("a package without content is to be sent"))?;
        Self::new(Origin::Package(Frames::new(items, paths)), size, check, seal)
    }

    /// A detached signature of ours, the one that is in escrow; of a package all of them.
    pub(crate) fn signature(
        signature: &Zeroizing<Vec<u8>>,
        offer: &Verified<Offer>,
        signer: Role,
        pledge: Option<&Pledge>,
        seal: (&SealingKey, &[u8]),
    ) -> Result<Self, Error> {
        let check =
            ContentCheck::of(offer, signer, pledge).ok_or(Error::Bug("no signature is to be given"))?;
        Self::new(Origin::Signature(signature.clone()), length(signature), check, seal)
    }

    /// The ledgers' receipts for our payments, all of them.
    pub(crate) fn receipts(
        receipts: &[Verified<PaymentReceipt>],
        offer: &Verified<Offer>,
        payer: Role,
        seal: (&SealingKey, &[u8]),
    ) -> Result<Self, Error> {
        let bytes = till::content(receipts);
        let check = ContentCheck::of(offer, payer, None).ok_or(Error::Bug("nothing is to be paid"))?;
        Self::new(Origin::Receipt(bytes.clone()), length(&bytes), check, seal)
    }

    fn new(
        from: Origin,
        size: u64,
        check: ContentCheck,
        (recipient, context): (&SealingKey, &[u8]),
    ) -> Result<Self, Error> {
        let sealer = Sealer::new(recipient, context, &random::secret()?)
            .map_err(|_| Error::Bug("a sealing key of a verified offer is weak"))?;
        Ok(Self { from, size, check: Some(check), sealer, first: true, sent: 0 })
    }

    /// How many bytes were taken.
    pub(crate) const fn sent(&self) -> u64 {
        self.sent
    }

    /// The next piece; none after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Content>, Error> {
        let Some(mut check) = self.check.take() else { return Ok(None) };
        let chunk = self.from.chunk().await?;
        check.update(&chunk).map_err(|unfit| self.from.is_unfit(unfit))?;
        self.sent = check.found();
        let last = check.found() >= self.size || chunk.is_empty();
        if last {
            check.finish().map_err(|unfit| self.from.is_unfit(unfit))?;
        } else {
            self.check = Some(check);
        }
        let sealed = self.sealer.seal(&chunk, last).map_err(|_| Error::Bug("a chunk cannot be sealed"))?;
        let encapsulated = self.first.then(|| self.sealer.encapsulated().to_vec());
        self.first = false;
        Ok(Some(Content { encapsulated, sealed, last }))
    }
}

impl Origin {
    async fn chunk(&mut self) -> Result<Zeroizing<Vec<u8>>, Error> {
        match self {
            Self::File(path, file) => {
                let mut chunk = Vec::with_capacity(limits::CHUNK_BYTES);
                fill(file, &mut chunk).await.map_err(|error| Error::file(path, error))?;
                Ok(Zeroizing::new(chunk))
            }
            Self::Package(frames) => {
                let mut chunk = Vec::with_capacity(limits::CHUNK_BYTES);
                frames.fill(&mut chunk).await?;
                Ok(Zeroizing::new(chunk))
            }
            // Shorter than a chunk: one piece.
            Self::Receipt(receipt) => Ok(Zeroizing::new(std::mem::take(receipt))),
            Self::Signature(signature) => Ok(std::mem::take(signature)),
        }
    }

    fn is_unfit(&self, unfit: Unfit) -> Error {
        match self {
            Self::File(path, _) => Error::file(path, unfit),
            Self::Package(frames) => frames.is_unfit(unfit),
            Self::Receipt(_) => Error::Bug("our receipt is not for what was agreed"),
            Self::Signature(_) => Error::Bug("our signature is not the one in escrow"),
        }
    }
}

/// Why a file that arrives is not accepted.
#[derive(Debug, Error)]
pub(crate) enum NotReceived {
    #[error(transparent)]
    Unfit(#[from] Unfit),
    #[error(transparent)]
    Sealed(#[from] Invalid),
    #[error(transparent)]
    Here(#[from] Error),
}

/// Where content comes from: each source has its own part file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Arbiter,
    Peer,
}

/// What is to arrive, and under which name it is kept.
#[derive(Clone)]
pub(crate) struct Expected {
    offer: Verified<Offer>,
    sender: Role,
    pledge: Option<Pledge>,
}

impl Expected {
    /// The content that `sender` gives. A signature must be the one in escrow (R-311).
    pub(crate) fn of(offer: &Verified<Offer>, sender: Role, pledge: Option<&Pledge>) -> Self {
        Self { offer: offer.clone(), sender, pledge: pledge.cloned() }
    }

    fn check(&self) -> Option<ContentCheck> {
        ContentCheck::of(&self.offer, self.sender, self.pledge.as_ref())
    }

    /// What is kept in a folder: the name and size of each leaf, in their order.
    fn leaves(&self) -> Option<Vec<(String, u64)>> {
        kept(self.offer.item(self.sender), self.sender)
    }

    /// Whether the bytes are kept as evidence: they are short. Of a file they are not.
    fn is_evidence(&self) -> bool {
        plain::files(self.offer.item(self.sender)).is_empty()
    }

    fn name(&self) -> String {
        let (item, sender) = (self.offer.item(self.sender), self.sender);
        match &item.description {
            Description::Information(described) => described.name.clone(),
            Description::DetachedSignature(agreed) => {
                format!("{}.{sender}.sig", agreed.statement.subject.name)
            }
            Description::Payment(_) => format!("payment.{sender}.receipt"),
            several if !several.payments().is_empty() => format!("payments.{sender}.receipts"),
            several if !several.detached_leaves().is_empty() => format!("signatures.{sender}"),
            Description::Nothing | Description::Package(_) | Description::Signature(_) => {
                "package".to_owned()
            }
        }
    }
}

/// Content that is here: it fits, and is durable under its name.
pub(crate) struct Received {
    pub fit: FitContent,
    pub path: PathBuf,
    /// The bytes, if it is detached signatures or receipts.
    pub bytes: Option<Vec<u8>>,
}

/// Content that arrives: opened, checked and written while it does.
pub(crate) struct Incoming {
    check: ContentCheck,
    opener: Opener,
    sink: Sink,
    part: PathBuf,
    whole: PathBuf,
    /// Signatures and receipts are short, and their bytes are evidence.
    kept: Option<Vec<u8>>,
}

enum Sink {
    File(File),
    Folder(Folder),
}

impl Incoming {
    pub(crate) async fn begin(
        folder: &Path,
        exchange_id: ExchangeId,
        source: Source,
        expected: &Expected,
        (secret, context, encapsulated): (&SealingSecret, &[u8], &[u8]),
    ) -> Result<Self, NotReceived> {
        let opener = Opener::new(secret, context, encapsulated)?;
        let folder = folder.join("received").join(exchange_id.to_string());
        fs::create_dir_all(&folder).await.map_err(|error| Error::file(&folder, error))?;
        // Names in offers never begin with a dot, so no received file can have this name.
        let part = folder.join(match source {
            Source::Arbiter => ".arbiter.part",
            Source::Peer => ".peer.part",
        });
        let sink = match expected.leaves() {
            Some(leaves) => Sink::Folder(Folder::begin(&part, leaves).await?),
            None => Sink::File(File::create(&part).await.map_err(|error| Error::file(&part, error))?),
        };
        let whole = folder.join(expected.name());
        let kept = expected.is_evidence().then(Vec::new);
        let check = expected.check().ok_or(Unfit::Kind)?;
        Ok(Self { check, opener, sink, part, whole, kept })
    }

    pub(crate) async fn write(&mut self, sealed: &[u8], last: bool) -> Result<(), NotReceived> {
        let chunk = self.opener.open(sealed, last)?;
        self.check.update(&chunk)?;
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(&chunk);
        }
        match &mut self.sink {
            Sink::File(file) => {
                Ok(file.write_all(&chunk).await.map_err(|error| Error::file(&self.part, error))?)
            }
            Sink::Folder(folder) => Ok(folder.write(&chunk).await?),
        }
    }

    /// How many bytes are here.
    pub(crate) fn got(&self) -> u64 {
        self.check.found()
    }

    /// It fits: make it durable under its name.
    pub(crate) async fn finish(self) -> Result<Received, NotReceived> {
        let fit = self.check.finish()?;
        let mut file = match self.sink {
            Sink::File(file) => file,
            Sink::Folder(folder) => {
                folder.finish(&self.whole).await?;
                return Ok(Received { fit, path: self.whole, bytes: self.kept });
            }
        };
        let durable = async {
            file.flush().await?;
            file.sync_all().await?;
            fs::rename(&self.part, &self.whole).await?;
            let folder = self.whole.parent().unwrap_or(Path::new("."));
            File::open(folder).await?.sync_all().await
        };
        durable.await.map_err(|error| Error::file(&self.whole, error))?;
        Ok(Received { fit, path: self.whole, bytes: self.kept })
    }
}
