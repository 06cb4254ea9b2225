//! Evidence on its way to others: bundles get cosignatures and time-stamps, courts get single fields.
//!
//! ```text
//!  bundle upgrade ─▶ tiles of the log ─▶ tlog-proof     bundle timestamp ─▶ authority ─▶ token     disclose ─▶ .fxd
//! ```

use std::path::{Path, PathBuf};

use arbiter_client::bundle::upgrade::{Upgrade, UpgradeError, upgrade};
use arbiter_client::bundle::{Bundle, TIMESTAMPS};
use arbiter_client::disclosure::Disclosure;
use arbiter_client::protocol::evidence::note::Note;
use arbiter_client::protocol::evidence::tile::{ReadError, TilePath};
use arbiter_client::protocol::ids::Digest;
use arbiter_client::protocol::limits::TLOG_PROOF_BYTES;
use arbiter_client::protocol::message::verdict::Verdict;
use arbiter_client::timestamp::{self, QUERY, REPLY_BYTES};
use arbiter_client::web::{self, WebError};

use crate::args::{BundleCommand, Disclose, RulingKind};
use crate::failure::Failure;
use crate::out::say;

/// A tile of hashes.
const TILE_BYTES: usize = 256 * 32;

/// `fairx bundle`.
pub fn run(command: BundleCommand) -> Result<u8, Failure> {
    match command {
        BundleCommand::Upgrade { bundle, from, out } => upgraded(&bundle, &from, out),
        BundleCommand::Timestamp { bundle, tsa, out } => stamped(&bundle, &tsa, out),
    }
}

/// Reads files of a log that is published somewhere.
struct Published {
    place: String,
    agent: Option<web::Agent>,
}

impl Published {
    fn at(place: &str) -> Self {
        let over_http = place.starts_with("http://") || place.starts_with("https://");
        let place = place.trim_end_matches('/').to_owned();
        Self { place, agent: over_http.then(web::agent) }
    }

    fn get(&self, path: &str, most: usize) -> Result<Vec<u8>, WebError> {
        let url = format!("{}/{path}", self.place);
        match &self.agent {
            Some(agent) => web::get(agent, &url, most),
            None => std::fs::read(&url).map_err(|error| WebError { url, why: error.to_string() }),
        }
    }

    /// A partial tile that is not there any more is cut from the full one.
    fn tile(&self, path: TilePath) -> Result<Vec<u8>, WebError> {
        let exact = self.get(&path.to_string(), TILE_BYTES);
        if exact.is_ok() || path.is_full() {
            return exact;
        }
        let bytes = self.get(&path.full().to_string(), TILE_BYTES)?;
        let cut = path.cut(&bytes).map(<[u8]>::to_vec);
        cut.map_err(|error| WebError { url: path.full().to_string(), why: error.to_string() })
    }
}

fn upgraded(path: &Path, from: &str, out: Option<PathBuf>) -> Result<u8, Failure> {
    let mut bundle = with_rulings(path)?;
    let published = Published::at(from);
    let note = published.get("checkpoint", TLOG_PROOF_BYTES).map_err(away)?;
    let note = String::from_utf8(note).map_err(|_| Failure::bad("the checkpoint is not text"))?;
    let told = upgrade(&mut bundle, &note, |tile| published.tile(tile)).map_err(|error| match error {
        UpgradeError::Tiles(ReadError::Fetch(error)) => away(error),
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
    bundle.write(&out.unwrap_or_else(|| path.to_owned()))?;
    Ok(0)
}

fn stamped(path: &Path, tsa: &str, out: Option<PathBuf>) -> Result<u8, Failure> {
    let mut bundle = with_rulings(path)?;
    let agent = web::agent();
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
            _ => {
                let nonce = timestamp::nonce()?;
                let query = timestamp::query(&digest, nonce);
                let reply = web::post(&agent, tsa, QUERY, &query, REPLY_BYTES).map_err(away)?;
                let granted = timestamp::granted(&reply, &digest, nonce);
                granted.map_err(|error| Failure::bad(format!("{tsa}: {error}")))?
            }
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

fn away(error: WebError) -> Failure {
    Failure::later(error.to_string())
}
