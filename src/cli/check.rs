//! `fsck`: checks a data folder that nobody serves from.

use std::io::Write;
use std::path::Path;

use super::{CliError, load_identity, print};
use crate::config::Settings;
use crate::fsck::{self, Progress, Report};
use crate::store::rocks::RocksStore;
use crate::store::{Store as _, StoreError};
use crate::telemetry;

pub(super) fn check_data(
    settings: &Settings,
    export: Option<&Path>,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    // On stderr, where it does not disturb: what RocksDB and the store have to say.
    telemetry::start(settings.log_format, &settings.log_filter)?;
    let (keys, arbiter) = load_identity(settings)?;
    let path = &settings.data;
    let store = RocksStore::open_existing(path, &arbiter, keys.vault()).map_err(|source| match source {
        StoreError::Damaged { .. } => CliError::Fault(source.to_string()),
        StoreError::Empty => CliError::NeverServed { path: path.clone() },
        source => CliError::Unchecked { path: path.clone(), source },
    })?;
    // Cut off between making the folder and the first commit. With records it would be a fault.
    if let (Ok(None), Ok([])) = (store.head(), store.exchanges(None, 1).as_deref()) {
        return Err(CliError::NeverServed { path: path.clone() });
    }
    let mut told = 0;
    let report = fsck::check(&store, &arbiter, Some(keys.veil()), &mut |progress| {
        // One line every 10,000: an operator sees that it goes on.
        if let Some(line) = progress_line(progress, &mut told) {
            tracing::info!("{line}");
        }
    });
    let Report { leaves, attestations, verdicts, erased, lost, .. } = report;
    let mut beside = String::new();
    let mut fault = report.fault;
    // Compared with a store that is good: before that it would say nothing.
    if let (None, Some(folder)) = (&fault, settings.journal()) {
        match fsck::check_journal(&store, folder, &arbiter, keys.vault()) {
            Ok(commits) => beside.push_str(&format!(", {commits} commits in the journal")),
            Err(found) => fault = Some(found),
        }
    }
    if let (None, Some(folder)) = (&fault, export.or(settings.export.as_deref())) {
        match fsck::check_export(&store, folder, &arbiter) {
            Ok(leaves) => beside.push_str(&format!(", {leaves} leaves in the export")),
            Err(found) => fault = Some(found),
        }
    }
    if fault.is_none() {
        match fsck::check_anchors(&store, &settings.anchors(), &arbiter) {
            Ok((0, 0)) => {}
            Ok((there, 0)) => beside.push_str(&format!(", {there} time-stamps")),
            Ok((there, gone)) => beside.push_str(&format!(", {there} time-stamps and {gone} that are gone")),
            Err(found) => fault = Some(found),
        }
    }
    if lost > 0 {
        beside.push_str(&format!(", the records of {lost} exchanges are lost"));
    }
    match (fault, report.root) {
        (Some(fault), _) => Err(CliError::Fault(fault.to_string())),
        (None, root) => {
            let root = root.map_or_else(|| "none".to_owned(), |root| root.to_string());
            print(
                out,
                &format!(
                    "clean: {leaves} leaves, {verdicts} verdicts, {attestations} attestations, {erased} erased, root {root}{beside}\n"
                ),
            )
        }
    }
}

fn progress_line(progress: Progress, told: &mut u64) -> Option<String> {
    const STEP: u64 = 10_000;
    let (done, line) = match progress {
        Progress::Leaves { done, total } => (done, format!("checked {done} of {total} leaves")),
        Progress::Records { done } => (done, format!("checked {done} records")),
    };
    // A smaller number than before: the next part of the check has begun.
    let due = done < *told || done.saturating_sub(*told) >= STEP;
    *told = if due { done } else { *told };
    (due && done > 0).then_some(line)
}
