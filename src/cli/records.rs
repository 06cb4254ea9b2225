//! `erase` and `open`: what an operator does with the record of one exchange, in a folder that nobody serves from.
//!
//! ```text
//!  folder ─▶ engine (checks the log, commits once) ─┬─ erase ─▶ leaf, no record ─▶ every file forgets ─▶ read again
//!                                                   └─ open  ─▶ receipts or openings ─▶ stdout
//! ```

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use arbiter_protocol::error::Refused;
use arbiter_protocol::ids::{ExchangeId, LeafIndex};
use arbiter_protocol::ruling::notice::{ErasureReason, NotErasable};
use arbiter_protocol::ruling::opening::commitments;
use arbiter_protocol::ruling::sequencer::Veil as _;

use super::data::Data;
use super::serve::block_on;
use super::{CliError, load_identity, print};
use crate::config::Settings;
use crate::disclosure;
use crate::engine::{EngineError, Handle};
use crate::store::rocks::RocksStore;
use crate::store::{Store, StoreError};
use crate::telemetry;

/// An engine over the data folder that serves nobody.
struct Desktop {
    engine: Handle,
    store: Arc<dyn Store>,
    /// Where the log says that the exchange asked about was erased.
    erased: Option<LeafIndex>,
}

impl Desktop {
    fn begin(settings: &Settings, exchange: &ExchangeId) -> Result<Self, CliError> {
        telemetry::start(settings.log_format, &settings.log_filter)?;
        let (keys, arbiter) = load_identity(settings)?;
        let failed = |source| CliError::Store { path: settings.data.clone(), source };
        let data = Data::open_existing(settings, &arbiter, keys.vault())?;
        let erased = data.store.erased(&keys.veil().pseudonym(exchange)).map_err(failed)?;
        let engine = data.engine(settings, keys, arbiter)?;
        Ok(Self { engine, store: data.store, erased })
    }
}

/// R-533: destroys what is kept about an exchange, logs that, and has every file forget it. Again is the same: files that a
/// crash left are cleaned then.
pub(super) fn erase(
    settings: &Settings,
    exchange: ExchangeId,
    reason: ErasureReason,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    block_on(async {
        let desktop = Desktop::begin(settings, &exchange)?;
        let failed = |source| CliError::Exchange { exchange, source };
        let leaf = match desktop.erased {
            Some(leaf) => leaf,
            None => desktop.engine.erase(exchange, reason).await.map_err(failed)?,
        };
        desktop.engine.stop().await;
        let store = |source| CliError::Store { path: settings.data.clone(), source };
        desktop.store.forget_history().map_err(store)?;
        drop(desktop);
        open_again(settings).await.map_err(store)?;
        print(out, &format!("erased   {exchange}\nleaf     {}\n", leaf.0))
    })
}

/// The list of files that a database keeps names keys that are gone, until it is opened again.
async fn open_again(settings: &Settings) -> Result<(), StoreError> {
    let (keys, arbiter) = load_identity(settings).map_err(|error| StoreError::Io(error.to_string()))?;
    for _ in 0..500 {
        match RocksStore::open_existing(&settings.data, &arbiter, keys.vault()) {
            // The writer's thread lets go of the store a moment after it has ended.
            Err(StoreError::InUse) => tokio::time::sleep(Duration::from_millis(10)).await,
            other => return other.map(drop),
        }
    }
    Err(StoreError::InUse)
}

/// R-532: prints the whole record as an evidence bundle, or the openings of these fields.
pub(super) fn open(
    settings: &Settings,
    exchange: ExchangeId,
    fields: &[String],
    out: &mut dyn Write,
) -> Result<(), CliError> {
    block_on(async {
        let desktop = Desktop::begin(settings, &exchange)?;
        let printed = show(&desktop, exchange, fields);
        desktop.engine.stop().await;
        print(out, &String::from_utf8_lossy(&printed?))
    })
}

fn show(desktop: &Desktop, exchange: ExchangeId, fields: &[String]) -> Result<Vec<u8>, CliError> {
    let failed = |source| CliError::Exchange { exchange, source };
    if desktop.erased.is_some() {
        return Err(failed(Refused::Erased.into()));
    }
    let damaged = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, "the record cannot be read; run arbiter fsck");
        failed(EngineError::Damaged)
    };
    let record = desktop.store.record(&exchange).map_err(|error| damaged(&error))?;
    let unknown = || failed(NotErasable::Unknown.into());
    if fields.is_empty() {
        let receipts = desktop.engine.receipts(&exchange).map_err(failed)?;
        return disclosure::bundle(&record, &receipts).ok_or_else(unknown);
    }
    let commitments = commitments(&record).map_err(|error| damaged(&error))?;
    let mut shown = Vec::new();
    for commitment in &commitments {
        let opened: Vec<_> = fields.iter().filter_map(|name| commitment.open(name).ok()).collect();
        if !opened.is_empty() {
            shown.push(disclosure::openings(&commitment.leaf.encode(), &opened));
        }
    }
    if shown.is_empty() {
        return Err(unknown());
    }
    Ok(disclosure::printed(&serde_json::Value::Array(shown)))
}
