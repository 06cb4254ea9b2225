//! `info` and `check-config`: who this arbiter is, and what counts.
//!
//! ```text
//!  key, log key, origin, rules ─▶ SHA-256 (R-502) ─┬─ genesis  the whole hash: token of leaf 0
//!                                                  └─ pin      its first 8 bytes: what `fairx init` shows first
//! ```

use std::io::Write;

use arbiter_protocol::evidence::note::VerifierKey;
use arbiter_protocol::message::agreement::ArbiterIdentity;
use arbiter_protocol::ruling::sequencer::genesis_token;

use super::{CliError, load_keys, prepare, print};
use crate::config::Settings;

pub(super) fn check_config(settings: &Settings, out: &mut dyn Write) -> Result<(), CliError> {
    let arbiter = prepare(settings)?.arbiter;
    let absolute = settings.clone().absolute();
    let absolute = absolute.map_err(|source| CliError::System { what: "the working folder", source })?;
    let effective = toml::to_string(&absolute).expect("invariant: settings are numbers, texts and paths");
    let identity = identity_lines(&arbiter).replace('\n', "\n# ");
    print(out, &format!("# {}\n{effective}", identity.trim_end_matches(['#', ' ', '\n'])))
}

pub(super) fn info(settings: &Settings, json: bool, out: &mut dyn Write) -> Result<(), CliError> {
    let arbiter = load_keys(settings)?.1;
    if !json {
        return print(out, &identity_lines(&arbiter));
    }
    let object = serde_json::json!({
        "genesis": genesis_token(&arbiter).to_string(),
        "key": arbiter.key.to_string(),
        "log_key": log_key(&arbiter),
        "log_origin": arbiter.log_origin.to_string(),
        "pin": pin(&arbiter),
        "rules": arbiter.rules,
        "version": env!("CARGO_PKG_VERSION"),
    });
    print(out, &format!("{object}\n"))
}

fn log_key(arbiter: &ArbiterIdentity) -> String {
    VerifierKey::new(arbiter.log_origin.as_str(), arbiter.log_key)
        .expect("invariant: the log's own key and origin are well formed")
        .to_string()
}

pub(super) fn identity_lines(arbiter: &ArbiterIdentity) -> String {
    format!(
        "key      {}\nlog_key  {}\norigin   {}\nrules    {}\ngenesis  {}\npin      {}\n",
        arbiter.key,
        log_key(arbiter),
        arbiter.log_origin,
        arbiter.rules,
        genesis_token(arbiter),
        pin(arbiter)
    )
}

/// The start of the genesis hash in four groups: what operator and peers compare by eye.
fn pin(arbiter: &ArbiterIdentity) -> String {
    let genesis = genesis_token(arbiter);
    let groups: Vec<_> = genesis.as_bytes().chunks(2).take(4).map(hex::encode).collect();
    groups.join(" ")
}
