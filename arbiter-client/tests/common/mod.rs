//! What the tests share: the three kinds of exchange, and the judgement whether one ended fair.
#![allow(dead_code)] // Each test program uses a part.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A test may stop where it likes.

use std::path::{Path, PathBuf};

use arbiter_client::protocol::crypto::Signer as _;
use arbiter_client::protocol::escrow::{SignatureKey, Suite};
use arbiter_client::protocol::exchange::item::{Description, Information, Item};
use arbiter_client::protocol::exchange::kind::package as frames;
use arbiter_client::protocol::exchange::kind::pledge::Pledge;
use arbiter_client::protocol::exchange::selection::{Role, select};
use arbiter_client::protocol::ids::{Digest, ExchangeId};
use arbiter_client::protocol::message::agreement::{EscrowTerms, Offer};
use arbiter_client::protocol::message::verdict::Ruling;
use arbiter_client::protocol::time::DurationMillis;
use arbiter_client::testing::{Bench, identity, signer};
use arbiter_client::{Client, Error, Evidence, Give, OfferTerms, Outcome, Proposal, items};

/// The kinds of exchange. *Signature* is the kind that the arbiter replaces, *detached* the one that it opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deal {
    /// P1: signature for signature.
    Contract,
    /// P2: the originator's file for the responder's signature.
    FileForSignature,
    /// P2: the originator's signature for the responder's file.
    SignatureForFile,
    /// P1: detached for detached.
    Detached,
    /// P1: the originator's detached for the responder's signature.
    DetachedForSignature,
    /// P1: the originator's signature for the responder's detached.
    SignatureForDetached,
    /// P2: the originator's file for the responder's detached.
    FileForDetached,
    /// P2: the originator's detached for the responder's file.
    DetachedForFile,
    /// P1: a package of signatures for a package of signatures.
    Contracts,
    /// P2: the originator's package of files for the responder's package of signatures.
    FilesForSignatures,
    /// P1: a package of detached signatures for another.
    SealedContracts,
    /// P2: the originator's package of files for the responder's package of detached signatures.
    FilesForSealed,
}

/// Packages.
pub const PACKAGE_DEALS: [Deal; 4] =
    [Deal::Contracts, Deal::FilesForSignatures, Deal::SealedContracts, Deal::FilesForSealed];

/// Without escrow.
pub const DEALS: [Deal; 3] = [Deal::Contract, Deal::FileForSignature, Deal::SignatureForFile];

/// With escrow.
pub const ESCROW_DEALS: [Deal; 5] = [
    Deal::Detached,
    Deal::DetachedForSignature,
    Deal::SignatureForDetached,
    Deal::FileForDetached,
    Deal::DetachedForFile,
];

pub fn all_deals() -> impl Iterator<Item = Deal> {
    DEALS.into_iter().chain(ESCROW_DEALS).chain(PACKAGE_DEALS)
}

impl Deal {
    /// Who sends first.
    pub fn first(self) -> Role {
        match self {
            Self::SignatureForFile | Self::DetachedForFile => Role::Responder,
            _ => Role::Originator,
        }
    }

    /// Whether a file changes hands: P2.
    pub fn has_file(self) -> bool {
        matches!(
            self,
            Self::FileForSignature
                | Self::SignatureForFile
                | Self::FileForDetached
                | Self::DetachedForFile
                | Self::FilesForSealed
                | Self::FilesForSignatures
        )
    }

    /// Whether the party in `role` gives a detached signature.
    pub fn is_detached(self, role: Role) -> bool {
        match self {
            Self::Detached | Self::SealedContracts => true,
            Self::DetachedForSignature | Self::DetachedForFile => role == Role::Originator,
            Self::SignatureForDetached | Self::FileForDetached | Self::FilesForSealed => {
                role == Role::Responder
            }
            Self::Contract
            | Self::Contracts
            | Self::FileForSignature
            | Self::FilesForSignatures
            | Self::SignatureForFile => false,
        }
    }
}

/// Several chunks, the last one short.
pub fn content() -> Vec<u8> {
    b"All work and no play makes Jack a dull boy.\n".repeat(4_000)
}

pub fn described() -> Information {
    Information {
        sha256: Digest::of(&[&content()]),
        size_bytes: u64::try_from(content().len()).unwrap(),
        media_type: "text/plain".into(),
        name: "notice.txt".into(),
    }
}

/// A package of files, where they are, and a file with all of it as it is deposited.
pub struct Package {
    pub item: Item,
    pub files: Vec<PathBuf>,
    pub whole: PathBuf,
}

/// Four files on two levels: one of several chunks, one of a byte, one that ends where a chunk ends, one in between.
pub fn package(folder: &Path, tag: &str) -> Package {
    let first = content();
    // The second file, with the length before it, ends with the third chunk.
    let to_the_edge = 3 * 65_536 - 8 - first.len() - 8;
    let contents = [first, vec![b'-'; to_the_edge], b"!".to_vec(), format!("the last of {tag}").into_bytes()];
    let mut whole = Vec::new();
    let mut files = Vec::new();
    let mut leaves = Vec::new();
    for (number, content) in contents.iter().enumerate() {
        let name = format!("{tag}{number}.txt");
        files.push(folder.join(&name));
        std::fs::write(&files[number], content).unwrap();
        whole.extend(u64::try_from(content.len()).unwrap().to_be_bytes());
        whole.extend(content);
        leaves.push(items::file(Information {
            sha256: Digest::of(&[content]),
            size_bytes: u64::try_from(content.len()).unwrap(),
            media_type: "text/plain".into(),
            name,
        }));
    }
    let inner = items::package(leaves.split_off(2)).unwrap();
    let item = items::package(leaves.into_iter().chain([inner]).collect()).unwrap();
    let path = folder.join(format!("{tag}.package"));
    std::fs::write(&path, whole).unwrap();
    // In another order than the package has: which is which is found out.
    files.rotate_left(1);
    Package { item, files, whole: path }
}

/// Three signatures on two levels.
pub fn signatures(title: &str) -> Item {
    let one = |part| items::signature(format!("{title}, {part}"), "I agree.", described());
    let inner = items::package(vec![one("second"), one("third")]).unwrap();
    items::package(vec![one("first"), inner]).unwrap()
}

/// A detached signature by the key of `name`.
pub fn sealed(title: &str, name: &str) -> Item {
    let key = SignatureKey::ed25519(signer(name).public_key()).unwrap();
    items::detached_signature(title, "I agree.", described(), key, Vec::new())
}

/// Three of them on two levels.
pub fn sealed_package(title: &str, name: &str) -> Item {
    let one = |part| sealed(&format!("{title}, {part}"), name);
    let inner = items::package(vec![one("second"), one("third")]).unwrap();
    items::package(vec![one("first"), inner]).unwrap()
}

/// Terms between `alice` and `bob`, and whose file is where.
pub struct Setting {
    pub terms: OfferTerms,
    pub originator: Give,
    pub responder: Give,
    pub originator_file: Option<PathBuf>,
    pub responder_file: Option<PathBuf>,
}

pub fn setting(bench: &Bench, deal: Deal, folder: &Path) -> Setting {
    let path = folder.join("notice.txt");
    std::fs::write(&path, content()).unwrap();
    let signature = |title: &str| items::signature(title, "I agree.", described());
    let detached = sealed;
    let file = || items::file(described());
    let package = package(folder, "annex");
    let (originator_item, responder_item) = match deal {
        Deal::Contract => (signature("Contract"), signature("Contract")),
        Deal::FileForSignature => (file(), signature("Receipt")),
        Deal::SignatureForFile => (signature("Receipt"), file()),
        Deal::Detached => (detached("Contract", "alice"), detached("Contract", "bob")),
        Deal::DetachedForSignature => (detached("Contract", "alice"), signature("Contract")),
        Deal::SignatureForDetached => (signature("Contract"), detached("Contract", "bob")),
        Deal::FileForDetached => (file(), detached("Receipt", "bob")),
        Deal::DetachedForFile => (detached("Receipt", "alice"), file()),
        Deal::Contracts => (signatures("Contract"), signatures("Contract")),
        Deal::FilesForSignatures => (package.item.clone(), signatures("Receipt")),
        Deal::SealedContracts => (sealed_package("Contract", "alice"), sealed_package("Contract", "bob")),
        Deal::FilesForSealed => (package.item.clone(), sealed_package("Receipt", "bob")),
    };
    let deadline = bench.clock.now().after(DurationMillis(3_600_000));
    let file_of = |role| (deal.has_file() && deal.first() == role).then(|| path.clone());
    let (originator_file, responder_file) = (file_of(Role::Originator), file_of(Role::Responder));
    let (originator_file, given) = match deal {
        Deal::FilesForSealed | Deal::FilesForSignatures => {
            (Some(package.whole), Some(Give::Files(package.files)))
        }
        _ => (originator_file, None),
    };
    let give = |file: &Option<PathBuf>| file.clone().map_or(Give::Nothing, Give::File);
    Setting {
        terms: OfferTerms {
            responder: identity("bob").party(),
            originator_item,
            responder_item,
            complain_by: deal.has_file().then_some(deadline),
            send_by: None,
            suite: Suite::FAST,
        },
        originator: given.unwrap_or_else(|| give(&originator_file)),
        responder: give(&responder_file),
        originator_file,
        responder_file,
    }
}

/// What `client` makes of the offer in a record.
pub async fn review(client: &Client, evidence: &Evidence) -> Result<Proposal, Error> {
    let pledge = evidence.escrows.originator.as_ref().map(Pledge::to_bytes);
    client.review(evidence.offer.envelope().clone(), pledge).await
}

/// The offer that a cheating originator makes of the same terms.
pub fn offer_of(bench: &Bench, terms: OfferTerms, nonce: u8) -> Offer {
    let detached = [&terms.originator_item, &terms.responder_item];
    let detached = detached.into_iter().any(|item| !item.description.detached_leaves().is_empty());
    Offer {
        escrow: detached.then(|| EscrowTerms::new(bench.arbiter.escrow_epoch(), terms.suite)),
        nonce: [nonce; 32],
        originator: identity("alice").party(),
        responder: terms.responder,
        arbiter: bench.arbiter.identity(),
        selection: select(&terms.originator_item.properties, &terms.responder_item.properties).unwrap(),
        originator_item: terms.originator_item,
        responder_item: terms.responder_item,
        complain_by: terms.complain_by,
        send_by: terms.send_by,
    }
}

/// Whether the verdict in `outcome`'s evidence replaces the item of `role`.
fn replaced(outcome: &Outcome, role: Role) -> bool {
    let evidence = outcome.evidence();
    evidence.receipts.iter().any(|receipt| {
        let proven = receipt.verify(&evidence.offer, None).expect("kept receipts verify offline");
        match proven.ruled.verdict().map(|verdict| verdict.ruling.clone()) {
            Some(Ruling::Replaced(list)) => list.iter().any(|it| it.role == role),
            _ => false,
        }
    })
}

/// Whether the party really has what the peer gives: looked at from outside, not asked of the outcome's name.
pub fn has_peers_item(outcome: &Outcome) -> bool {
    let evidence = outcome.evidence();
    let peer = evidence.role.peer();
    let item = evidence.offer.item(peer);
    match &item.description {
        Description::Nothing => true,
        several if !several.detached_leaves().is_empty() && item.leaves().len() > 1 => {
            let leaves = several.detached_leaves();
            let Some(content) = evidence.signatures.of(peer) else {
                assert_eq!(evidence.received_file, None, "what is not ours has no file");
                return false;
            };
            let folder = evidence.received_file.as_ref().expect("signatures are files as well");
            assert_eq!(std::fs::read_dir(folder).unwrap().count(), leaves.len(), "a package is there whole");
            let parts = frames::split(content, leaves.len()).expect("all of them");
            leaves.into_iter().zip(parts).enumerate().all(|(place, (leaf, bytes))| {
                let name = format!("{}.{}.{peer}.sig", place + 1, leaf.statement.subject.name);
                assert_eq!(std::fs::read(folder.join(name)).unwrap(), bytes);
                leaf.key.verify(leaf.statement.document().as_bytes(), bytes)
            })
        }
        Description::Package(_) if item.description.is_content() => {
            let Some(folder) = &evidence.received_file else { return false };
            let named = |leaf: &Item| match &leaf.description {
                Description::Information(file) => {
                    let bytes = std::fs::read(folder.join(&file.name));
                    bytes.is_ok_and(|bytes| Digest::of(&[&bytes]) == file.sha256)
                }
                _ => false,
            };
            let leaves = item.leaves();
            // All of them, and nothing beside.
            let there = std::fs::read_dir(folder).unwrap().count();
            assert_eq!(there, leaves.len(), "a package is there whole");
            leaves.into_iter().all(named)
        }
        Description::Package(_) | Description::Signature(_) => {
            let signed = evidence.peer_transfer.as_ref();
            signed.is_some_and(|transfer| transfer.item == *evidence.offer.item(peer))
                || replaced(outcome, peer)
        }
        Description::DetachedSignature(item) => {
            let Some(bytes) = evidence.signatures.of(peer) else {
                assert_eq!(evidence.received_file, None, "what is not ours has no file");
                return false;
            };
            let path = evidence.received_file.as_ref().expect("a signature is a file as well");
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            assert_eq!(name, format!("{}.{peer}.sig", item.statement.subject.name));
            assert_eq!(std::fs::read(path).unwrap(), *bytes);
            item.key.verify(item.statement.document().as_bytes(), bytes)
        }
        Description::Payment(_) => evidence.payments.of(peer).iter().any(|it| it.is_effective()),
        Description::Information(_) => {
            evidence.received_file.as_ref().is_some_and(|path| std::fs::read(path).unwrap() == content())
        }
    }
}

/// Whether the verdict gives both parties what they are owed: P1 replaces both items, P2 replaces the second
/// sender's and releases the first sender's deposit.
pub fn arbiter_gave(bench: &Bench, id: &ExchangeId) -> bool {
    let verdict = bench.arbiter.verdict(id);
    verdict.is_some_and(|verdict| matches!(verdict.ruling, Ruling::Replaced(_)))
}
