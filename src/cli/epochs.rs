//! The escrow keys of a serving arbiter: taken at the start, taken again on SIGHUP and once a day.
//!
//! ```text
//!  start ─▶ destroy what has ended ─▶ look: missing? ends soon?
//!  SIGHUP, every day ─▶ load and sign again ─▶ look ─▶ replace
//! ```
//! Seeds are destroyed at the start only: by then the time is in the log, so the arbiter can never again be at a time at
//! which they could open (R-409). While serving, what has ended is only forgotten.

use std::sync::Arc;

use arbiter_protocol::time::DurationMillis;

use crate::config::Settings;
use crate::engine::Handle;
use crate::keys::epoch_file;
use crate::keys::escrow::EscrowKeys;
use crate::keys::file as key_file;

/// Parties need time: what they agree on must be opened before the key ends.
const SOON: DurationMillis = DurationMillis(30 * 24 * 60 * 60 * 1000);

/// After the first commit.
pub(super) fn begin(settings: &Settings, engine: &Handle) {
    let (arbiter, now) = (engine.desk().arbiter.key, engine.now());
    match epoch_file::retire(&settings.key_file, &arbiter, now) {
        Ok(retired) => {
            for file in retired {
                tracing::info!(epoch = file.epoch, until = %file.until, "destroyed an escrow key that has ended");
            }
        }
        Err(error) => tracing::error!(%error, "an escrow key that has ended cannot be destroyed"),
    }
    look(settings, engine, &engine.escrow_keys());
}

/// Takes the keys again. What cannot be read, or lost a key, changes nothing.
pub(super) fn reload(settings: &Settings, engine: &Handle) {
    let (arbiter, now) = (engine.desk().arbiter.key, engine.now());
    let load = || {
        let keys = key_file::load(&settings.key_file)?;
        epoch_file::load(&settings.key_file, keys.arbiter(), now)
    };
    let loaded = match load() {
        Ok(loaded) => loaded,
        Err(error) => return tracing::error!(%error, "the escrow keys stay as they were"),
    };
    let before = engine.escrow_keys();
    for epoch in before.published(now) {
        if epoch.signer() != arbiter || loaded.secret(&epoch.escrow_key()).is_none() {
            let epoch = epoch.epoch;
            return tracing::error!(
                epoch,
                "the file of an escrow key in use is gone or another: restore it before the next start; the keys stay \
                 as they were"
            );
        }
    }
    look(settings, engine, &loaded);
    let newest = loaded.epochs().last().map_or(0, |it| it.epoch);
    tracing::info!(count = loaded.epochs().count(), newest, "escrow keys taken");
    engine.replace_escrow_keys(Arc::new(loaded));
}

/// Tells the operator what will need a hand.
fn look(settings: &Settings, engine: &Handle, keys: &EscrowKeys) {
    let (arbiter, now) = (engine.desk().arbiter.key, engine.now());
    if let Ok(files) = epoch_file::list(&settings.key_file, &arbiter) {
        for epoch in epoch_file::missing(&files) {
            tracing::error!(
                epoch,
                "the file of an escrow key is missing: nothing that names it can be opened"
            );
        }
    }
    match keys.published(now).last() {
        None => tracing::warn!(
            "there is no escrow key: parties cannot agree on detached signatures; run arbiter escrow-key rotate, then \
             send SIGHUP"
        ),
        Some(newest) if newest.until <= now.after(SOON) => {
            let (epoch, until) = (newest.epoch, newest.until);
            tracing::warn!(
                epoch, %until,
                "the newest escrow key ends soon: run arbiter escrow-key rotate, then send SIGHUP"
            );
        }
        Some(_) => {}
    }
}
