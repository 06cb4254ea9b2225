//! What the tests share: the three kinds of exchange, and the judgement whether one ended fair.
#![allow(dead_code)] // Each test program uses a part.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A test may stop where it likes.

use std::path::{Path, PathBuf};

use arbiter_client::items;
use arbiter_client::protocol::exchange::item::{Description, Information};
use arbiter_client::protocol::exchange::selection::{Role, select};
use arbiter_client::protocol::ids::{Digest, ExchangeId};
use arbiter_client::protocol::message::agreement::Offer;
use arbiter_client::protocol::message::verdict::Ruling;
use arbiter_client::protocol::time::DurationMillis;
use arbiter_client::testing::{Bench, identity};
use arbiter_client::{OfferTerms, Outcome};

/// The kinds of exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deal {
    /// P1: signature for signature.
    Contract,
    /// P2: the originator's file for the responder's signature.
    FileForSignature,
    /// P2: the originator's signature for the responder's file.
    SignatureForFile,
}

pub const DEALS: [Deal; 3] = [Deal::Contract, Deal::FileForSignature, Deal::SignatureForFile];

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

/// Terms between `alice` and `bob`, and whose file is where.
pub struct Setting {
    pub terms: OfferTerms,
    pub originator_file: Option<PathBuf>,
    pub responder_file: Option<PathBuf>,
}

pub fn setting(bench: &Bench, deal: Deal, folder: &Path) -> Setting {
    let path = folder.join("notice.txt");
    std::fs::write(&path, content()).unwrap();
    let signature = |title: &str| items::signature(title, "I agree.", described());
    let file = || items::file(described());
    let (originator_item, responder_item) = match deal {
        Deal::Contract => (signature("Contract"), signature("Contract")),
        Deal::FileForSignature => (file(), signature("Receipt")),
        Deal::SignatureForFile => (signature("Receipt"), file()),
    };
    let deadline = bench.clock.now().after(DurationMillis(3_600_000));
    Setting {
        terms: OfferTerms {
            responder: identity("bob").party(),
            originator_item,
            responder_item,
            complain_by: (deal != Deal::Contract).then_some(deadline),
        },
        originator_file: (deal == Deal::FileForSignature).then(|| path.clone()),
        responder_file: (deal == Deal::SignatureForFile).then_some(path),
    }
}

/// The offer that a cheating originator makes of the same terms.
pub fn offer_of(bench: &Bench, terms: OfferTerms, nonce: u8) -> Offer {
    Offer {
        nonce: [nonce; 32],
        originator: identity("alice").party(),
        responder: terms.responder,
        arbiter: bench.arbiter.identity(),
        selection: select(&terms.originator_item.properties, &terms.responder_item.properties).unwrap(),
        originator_item: terms.originator_item,
        responder_item: terms.responder_item,
        complain_by: terms.complain_by,
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
    match &evidence.offer.item(peer).description {
        Description::Signature(_) => {
            let signed = evidence.peer_transfer.as_ref();
            signed.is_some_and(|transfer| transfer.item == *evidence.offer.item(peer))
                || replaced(outcome, peer)
        }
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
