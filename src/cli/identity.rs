//! `info` and `check-config`: who this arbiter is, and what counts.
//!
//! ```text
//!  key, log key, origin, rules ─▶ SHA-256 (R-502) ─┬─ genesis  the whole hash: token of leaf 0
//!                                                  └─ pin      its first 8 bytes: what `fairx init` shows first
//! ```

use std::io::Write;

use arbiter_protocol::evidence::note::VerifierKey;
use arbiter_protocol::message::agreement::ArbiterIdentity;
use arbiter_protocol::message::escrow_epoch::EscrowEpoch;
use arbiter_protocol::message::succession::SignedSuccession;
use arbiter_protocol::ruling::sequencer::genesis_token;
use arbiter_protocol::statement::Verified;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{CliError, Prepared, load_keys, prepare, print, succeed};
use crate::clock::{Clock as _, SystemClock};
use crate::config::Settings;
use crate::keys::escrow::EscrowKeys;

pub(super) fn check_config(settings: &Settings, out: &mut dyn Write) -> Result<(), CliError> {
    let Prepared { arbiter, keys, .. } = prepare(settings)?;
    let absolute = settings.clone().absolute();
    let absolute = absolute.map_err(|source| CliError::System { what: "the working folder", source })?;
    let effective = toml::to_string(&absolute).expect("invariant: settings are numbers, texts and paths");
    let identity = identity_lines(&arbiter, keys.escrow()).replace('\n', "\n# ");
    print(out, &format!("# {}\n{effective}", identity.trim_end_matches(['#', ' ', '\n'])))
}

pub(super) fn info(settings: &Settings, json: bool, out: &mut dyn Write) -> Result<(), CliError> {
    let (keys, arbiter) = load_keys(settings)?;
    if !json {
        let lines = identity_lines(&arbiter, keys.escrow());
        return print(out, &format!("{lines}{}", succession_lines(settings, &arbiter)?));
    }
    let epochs = keys.escrow().published(SystemClock.now()).map(|epoch| {
        serde_json::json!({
            "epoch": epoch.epoch,
            "from": epoch.from.to_string(),
            "key": hex::encode(epoch.key),
            "statement": encode(epoch),
            "until": epoch.until.to_string(),
        })
    });
    let object = serde_json::json!({
        "escrow_epochs": epochs.collect::<Vec<_>>(),
        "genesis": genesis_token(&arbiter).to_string(),
        "key": arbiter.key.to_string(),
        "log_key": log_key(&arbiter),
        "log_origin": arbiter.log_origin.to_string(),
        "pin": pin(&arbiter),
        "rules": arbiter.rules,
        "successions": succession_lines(settings, &arbiter)?.lines().collect::<Vec<_>>(),
        "version": env!("CARGO_PKG_VERSION"),
    });
    print(out, &format!("{object}\n"))
}

fn log_key(arbiter: &ArbiterIdentity) -> String {
    VerifierKey::new(arbiter.log_origin.as_str(), arbiter.log_key)
        .expect("invariant: the log's own key and origin are well formed")
        .to_string()
}

/// How the line of an epoch begins in a pin file.
const EPOCH_PREFIX: &str = "fairx-escrow:v1:";

/// The signed statement, as it stands on one line.
fn encode(epoch: &Verified<EscrowEpoch>) -> String {
    URL_SAFE_NO_PAD.encode(epoch.envelope().encode())
}

/// Every key that opens now, first the newest in words: new agreements name it (R-412).
fn escrow_lines(escrow: &EscrowKeys) -> String {
    let published: Vec<_> = escrow.published(SystemClock.now()).collect();
    let Some(newest) = published.last() else {
        return "escrow   none: run arbiter escrow-key rotate\n".to_owned();
    };
    let words = format!("escrow   epoch {} until {}\n", newest.epoch, newest.until);
    let lines = published.iter().map(|epoch| format!("{EPOCH_PREFIX}{}\n", encode(epoch)));
    std::iter::once(words).chain(lines).collect()
}

pub(super) fn identity_lines(arbiter: &ArbiterIdentity, escrow: &EscrowKeys) -> String {
    format!("{}{}", lines(arbiter), escrow_lines(escrow))
}

/// Which arbiter, in the two lines that people compare.
pub(super) fn genesis_lines(arbiter: &ArbiterIdentity) -> String {
    format!(
        "origin   {}\ngenesis  {}\npin      {}\n",
        arbiter.log_origin,
        genesis_token(arbiter),
        pin(arbiter)
    )
}

/// Who it was before and who it is from now on, each with both signatures (R-537).
fn succession_lines(settings: &Settings, arbiter: &ArbiterIdentity) -> Result<String, CliError> {
    let line = |it: &SignedSuccession| {
        let [by_old, by_new] = [it.by_old(), it.by_new()].map(|it| URL_SAFE_NO_PAD.encode(it.encode()));
        format!("{SUCCESSION_PREFIX}{by_old}.{by_new}\n")
    };
    Ok(succeed::published(&settings.key_file, arbiter)?.iter().map(line).collect())
}

/// How the line of a succession begins.
const SUCCESSION_PREFIX: &str = "fairx-succession:v1:";

fn lines(arbiter: &ArbiterIdentity) -> String {
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
