//! The witnesses of the log, from the configuration: a policy file, and the authority of their certificates.

use std::sync::Arc;

use arbiter_protocol::evidence::note::VerifierKey;
use arbiter_protocol::message::agreement::ArbiterIdentity;

use super::{CliError, pem};
use crate::config::{ConfigError, Settings};
use crate::publish::witnesses::{Memory, Witnesses};

/// The witnesses that are asked; none without a policy.
pub(super) fn load(
    settings: &Settings,
    arbiter: &ArbiterIdentity,
) -> Result<Option<Arc<Witnesses>>, CliError> {
    let Some(path) = &settings.witness_policy else { return Ok(None) };
    let key = VerifierKey::new(arbiter.log_origin.as_str(), arbiter.log_key);
    let key = key.map_err(|_| ConfigError::origin(arbiter.log_origin.as_str()))?;
    let policy = Witnesses::read_policy(path, &key)?;
    for witness in policy.witnesses() {
        witness.url.iter().try_for_each(|url| settings.check_url("witness_policy", url))?;
    }
    let ca = settings.witness_ca.as_deref().map(|path| pem("witness_ca", path)).transpose()?;
    let witnesses = Witnesses::start(policy, arbiter.log_origin.clone(), key, ca.as_deref())?;
    Ok(Some(Arc::new(witnesses)))
}

/// What the witnesses know of this log. Asked before anything is signed.
pub(super) async fn seen(witnesses: Option<Arc<Witnesses>>) -> Result<Vec<Memory>, CliError> {
    let Some(witnesses) = witnesses else { return Ok(Vec::new()) };
    tokio::task::spawn_blocking(move || witnesses.high_water()).await.map_err(|_| CliError::Engine)
}
