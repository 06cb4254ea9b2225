//! `restore`: puts leaves back that the data folder has lost, from an export. Nobody may serve from it.

use std::io::Write;
use std::path::Path;

use arbiter_protocol::ruling::sequencer::Desk;

use super::serve::program_digest;
use super::{CliError, load_identity, print};
use crate::clock::{Clock as _, SystemClock};
use crate::config::Settings;
use crate::engine::Engine;
use crate::restore::{self, Restored};
use crate::store::StoreError;
use crate::store::journal::Remains;
use crate::store::rocks::RocksStore;
use crate::telemetry;

pub(super) fn run(settings: &Settings, from: &Path, out: &mut dyn Write) -> Result<(), CliError> {
    telemetry::start(settings.log_format, &settings.log_filter)?;
    let (keys, arbiter) = load_identity(settings)?;
    let path = &settings.data;
    let failed = |source: StoreError| CliError::Store { path: path.clone(), source };
    let store = RocksStore::open_unswept(path, &arbiter, keys.vault()).map_err(failed)?;
    if !settings.accept_clock {
        Engine::check_clock(&store, &SystemClock)
            .map_err(|source| CliError::Start { path: path.clone(), source })?;
    }
    let journal = settings.journal().map(|folder| Remains::read(folder, &arbiter, keys.vault()));
    let journal = journal.transpose().map_err(failed)?;
    let desk = Desk { arbiter, build: program_digest()?, clock_uncertainty: settings.clock_uncertainty() };
    let done = restore::restore(&store, journal, &desk, keys.veil(), from, SystemClock.now())?;
    let Restored { before, leaves, records, lost } = done;
    print(
        out,
        &format!(
            "restored: {before} leaves before, {leaves} now, {records} records from the journal; the records of {lost} \
             exchanges are lost\nnext      arbiter fsck, then arbiter serve\n"
        ),
    )
}
