//! The data folder as the subcommands open it: the store with its side journal, and what remembers how far it was.
//!
//! ```text
//!  serve ─────────────────────────────┐
//!  erase, open, export, succeed ──────┴─▶ Data { store, marks } ─▶ Engine::start_below
//! ```
//!
//! Invariant: whoever commits to the folder does it through the journal, so that the two never part (R-520).

use std::sync::Arc;

use arbiter_protocol::message::agreement::ArbiterIdentity;
use arbiter_protocol::ruling::sequencer::Desk;

use super::CliError;
use super::serve::program_digest;
use crate::clock::SystemClock;
use crate::config::Settings;
use crate::engine::{Engine, Handle, HighWater};
use crate::high_water::{ExportMark, JournalMark};
use crate::keys::Keys;
use crate::keys::vault::Vault;
use crate::store::journal::Journaled;
use crate::store::rocks::RocksStore;
use crate::store::{Store, StoreError};

/// A data folder that is open.
pub(super) struct Data {
    /// The store, with its journal if there is to be one.
    pub(super) store: Arc<dyn Store>,
    journal: Option<JournalMark>,
    export: Option<ExportMark>,
}

impl Data {
    /// Opens the folder; makes it if it is not there.
    pub(super) fn open(
        settings: &Settings,
        arbiter: &ArbiterIdentity,
        vault: &Arc<Vault>,
    ) -> Result<Self, CliError> {
        let store = RocksStore::open_unswept(&settings.data, arbiter, vault);
        Self::beside(settings, arbiter, store)
    }

    /// Opens a folder that must hold a log.
    pub(super) fn open_existing(
        settings: &Settings,
        arbiter: &ArbiterIdentity,
        vault: &Arc<Vault>,
    ) -> Result<Self, CliError> {
        let store = RocksStore::open_existing(&settings.data, arbiter, vault);
        Self::beside(settings, arbiter, store)
    }

    fn beside(
        settings: &Settings,
        arbiter: &ArbiterIdentity,
        store: Result<RocksStore, StoreError>,
    ) -> Result<Self, CliError> {
        let failed = |source| match source {
            StoreError::Empty => CliError::NeverServed { path: settings.data.clone() },
            source => CliError::Store { path: settings.data.clone(), source },
        };
        let store = store.map_err(failed)?;
        let export = settings.export.as_ref().map(|folder| ExportMark::new(folder, arbiter));
        let Some(folder) = settings.journal() else {
            tracing::warn!("there is no journal: setting journal is empty");
            crate::store::raw::Unswept::sweep(&store).map_err(failed)?;
            return Ok(Self { store: Arc::new(store), journal: None, export });
        };
        let store = Journaled::open(store, folder, arbiter).map_err(failed)?;
        let journal = Some(JournalMark::new(folder, &store));
        Ok(Self { store: Arc::new(store), journal, export })
    }

    /// What is kept beside the folder and remembers how far the log was.
    pub(super) fn marks(&self) -> Vec<&dyn HighWater> {
        let journal = self.journal.iter().map(|mark| -> &dyn HighWater { mark });
        journal.chain(self.export.iter().map(|mark| -> &dyn HighWater { mark })).collect()
    }

    /// An engine for a command of the operator, which serves nobody. A folder that can only be read is refused.
    pub(super) fn engine(
        &self,
        settings: &Settings,
        keys: Keys,
        arbiter: ArbiterIdentity,
    ) -> Result<Handle, CliError> {
        let start = |source| CliError::Start { path: settings.data.clone(), source };
        if !settings.accept_clock {
            Engine::check_clock(&*self.store, &SystemClock).map_err(start)?;
        }
        let desk =
            Desk { arbiter, build: program_digest()?, clock_uncertainty: settings.clock_uncertainty() };
        let store = Arc::clone(&self.store);
        let engine = Engine::start_below(desk, keys, store, Box::new(SystemClock), &self.marks());
        let engine = engine.map_err(start)?;
        match engine.read_only() {
            None => Ok(engine),
            Some(read_only) => {
                let why = Box::new(read_only.why.clone());
                Err(CliError::ReadOnly { path: settings.data.clone(), why })
            }
        }
    }
}
