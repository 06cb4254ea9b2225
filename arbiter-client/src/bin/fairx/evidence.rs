//! Evidence on its way to others: bundles get cosignatures and time-stamps, courts get single fields.
//!
//! ```text
//!  bundle upgrade ─▶ tiles of the log ─▶ tlog-proof     bundle timestamp ─▶ authority ─▶ token     disclose ─▶ .fxd
//! ```

use std::path::{Path, PathBuf};

use arbiter_client::audit::Source;
use arbiter_client::bundle::upgrade::{Upgrade, UpgradeError, anchored, find_anchor, upgrade};
use arbiter_client::bundle::{Bundle, TIMESTAMPS};
use arbiter_client::disclosure::Disclosure;
use arbiter_client::protocol::evidence::anchor::Anchor;
use arbiter_client::protocol::evidence::checkpoint::Checkpoint;
use arbiter_client::protocol::evidence::leaf::Leaf;
use arbiter_client::protocol::evidence::note::Note;
use arbiter_client::protocol::evidence::tile::ReadError;
use arbiter_client::protocol::ids::Digest;
use arbiter_client::protocol::message::verdict::Verdict;
use arbiter_client::timestamp::{self, AskError};

use crate::args::{BundleCommand, Disclose, RulingKind};
use crate::failure::Failure;
use crate::out::say;

/// `fairx bundle`.
pub fn run(command: BundleCommand) -> Result<u8, Failure> {
    match command {
        BundleCommand::Upgrade { bundle, from, out } => upgraded(&bundle, &from, out),
        BundleCommand::Timestamp { bundle, tsa, out } => stamped(&bundle, &tsa, out),
    }
}

fn upgraded(path: &Path, from: &str, out: Option<PathBuf>) -> Result<u8, Failure> {
    let mut bundle = with_rulings(path)?;
    let log = Source::open(from);
    let note = log.checkpoint().map_err(|error| Failure::later(error.to_string()))?;
    // What a server keeps beside the log may be damaged; the log itself is enough.
    let stamp = stamped_by_the_log(&bundle, &note, &log);
    let stamped = stamp.and_then(|it| anchored(&mut bundle, &it, |tile| log.tile(&tile)).ok());
    let has_stamp = stamped.iter().flatten().any(|it| matches!(it, Upgrade::Added { .. }));
    let told = stamped.map_or_else(|| upgrade(&mut bundle, &note, |tile| log.tile(&tile)), Ok);
    let told = told.map_err(|error| match error {
        UpgradeError::Tiles(ReadError::Fetch(error)) => Failure::later(error.to_string()),
        UpgradeError::TooEarly { .. } => Failure::later(error.to_string()),
        _ => Failure::bad(error.to_string()),
    })?;
    for (receipt, told) in bundle.receipts.iter().zip(told) {
        let of = if receipt.statement.holds::<Verdict>() { "verdict" } else { "attestation" };
        match told {
            Upgrade::Added { size, cosignatures } => say!(
                "{of}: in the published tree of {size} leaves, with {cosignatures} cosignatures, which `fairx verify --policy` checks"
            ),
            Upgrade::Kept => say!("{of}: kept the proof that is there, it has more cosignatures"),
            Upgrade::Stamped => say!("{of}: kept the proof that is there, a time-stamp rests on it"),
        }
    }
    if has_stamp {
        say!(
            "with the time-stamp that the arbiter had made of that tree, which `fairx verify --tsa-ca` checks"
        );
    }
    bundle.write(&out.unwrap_or_else(|| path.to_owned()))?;
    Ok(0)
}

/// The first time-stamp over a tree with every ruling of the bundle, unless the published checkpoint has more cosignatures. A copy of
/// the log that has none, or has only what proofs need, is no trouble: nothing is missing without it.
fn stamped_by_the_log(bundle: &Bundle, note: &str, log: &Source) -> Option<Anchor> {
    let leaves = bundle.receipts.iter().filter_map(|it| Leaf::decode(&it.leaf).ok());
    let newest = leaves.map(|leaf| leaf.index).max()?;
    let note = Note::parse(note).ok()?;
    let size = Checkpoint::parse(note.text()).ok()?.size;
    let found = find_anchor(newest, size, |tile| log.tile(&tile), |index| log.anchor(index)).ok().flatten();
    found.filter(|it| it.note().signatures().len() >= note.signatures().len())
}

fn stamped(path: &Path, tsa: &str, out: Option<PathBuf>) -> Result<u8, Failure> {
    let mut bundle = with_rulings(path)?;
    let mut last: Option<(Digest, Vec<u8>)> = None;
    for receipt in &mut bundle.receipts {
        let note = Note::parse(&receipt.checkpoint).map_err(|error| Failure::bad(error.to_string()))?;
        let digest = Digest::of(&[note.text().as_bytes()]);
        if receipt.timestamps.len() >= TIMESTAMPS {
            return Err(Failure::usage(format!("the bundle has {TIMESTAMPS} time-stamps already")));
        }
        // Two rulings of one batch have one checkpoint.
        let token = match &last {
            Some((same, token)) if *same == digest => token.clone(),
            _ => timestamp::ask(tsa, &digest).map_err(|error| match error {
                AskError::Away { .. } => Failure::later(error.to_string()),
                _ => Failure::bad(error.to_string()),
            })?,
        };
        receipt.timestamps.push(token.clone());
        last = Some((digest, token));
    }
    bundle.write(&out.unwrap_or_else(|| path.to_owned()))?;
    say!("{tsa} stamped it; `fairx verify --tsa-ca` with the certificates that you trust checks that");
    Ok(0)
}

/// `fairx disclose`.
pub fn disclose(arguments: &Disclose) -> Result<u8, Failure> {
    let bundle = with_rulings(&arguments.bundle)?;
    let verdict = |it: &&_| holds_verdict(it) == (arguments.of != Some(RulingKind::Attestation));
    let asked = bundle.receipts.iter().find(verdict);
    let receipt = asked.or_else(|| bundle.receipts.last().filter(|_| arguments.of.is_none()));
    let receipt = receipt.ok_or_else(|| Failure::usage("the bundle has no such ruling"))?;
    let shown = Disclosure::new(&bundle.offer, receipt, &arguments.fields).ok_or_else(|| {
        let names = Disclosure::names(receipt, &bundle.offer).join(", ");
        Failure::usage(format!("the record has these fields: {names}"))
    })?;
    shown.write(&arguments.out)?;
    say!(
        "{} shows {} of {} fields; check it with `fairx verify`",
        arguments.out.display(),
        shown.fields.len(),
        shown.fields.first().map_or(0, |it| it.opening.fields)
    );
    Ok(0)
}

fn holds_verdict(receipt: &arbiter_client::bundle::BundledReceipt) -> bool {
    receipt.statement.holds::<Verdict>()
}

fn with_rulings(path: &Path) -> Result<Bundle, Failure> {
    let bundle = Bundle::read(path)?;
    if bundle.receipts.is_empty() {
        return Err(Failure::usage(
            "the arbiter ruled nothing in this exchange: nothing of it is in the log",
        ));
    }
    Ok(bundle)
}
