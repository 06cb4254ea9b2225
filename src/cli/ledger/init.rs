//! `ledger init`: makes configuration and key of a new ledger. Nothing that exists is overwritten.

use std::fs::DirBuilder;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use arbiter_protocol::crypto::Signer as _;

use super::lines;
use crate::cli::init::write_new;
use crate::cli::{CliError, print};
use crate::config::ledger::{FILE_NAME, Overrides, Settings, parse_currency};
use crate::keys::ledger_file;

pub(super) fn init(
    dir: &Path,
    name: &str,
    currencies: &[String],
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let (config, keys, data) = (dir.join(FILE_NAME), dir.join("ledger.key"), dir.join("ledger.redb"));
    // Before anything is made: a wrong currency leaves nothing behind.
    for currency in currencies {
        parse_currency(currency)?;
    }
    if let Some(path) = [&config, &keys, &data].into_iter().find(|path| path.symlink_metadata().is_ok()) {
        return Err(CliError::Exists { path: path.clone() });
    }
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|source| CliError::Io { verb: "make", path: dir.to_path_buf(), source })?;
    let key = ledger_file::create(&keys)?.public_key();
    write_new(&config, &template(name, currencies))?;
    let settings = Settings::load(Some(&config), &Overrides::default())?;
    let (dir, lines) = (dir.display(), lines(key, &settings)?);
    print(out, &format!("made     {dir}\n{lines}next     arbiter ledger serve --config {dir}\n"))
}

fn template(name: &str, currencies: &[String]) -> String {
    let name = toml::Value::String(name.to_owned());
    let currencies = toml::Value::Array(currencies.iter().cloned().map(toml::Value::String).collect());
    format!(
        "# Configuration of a ledger. Flags and ARBITER_LEDGER_* variables come first.\n\
         # `arbiter ledger serve --help` explains the settings. Relative paths are relative to this file.\n\
         \n\
         name = {name}\n\
         # Code and digits after the point. A currency that was issued once stays.\n\
         currencies = {currencies}\n\
         key_file = \"ledger.key\"\n\
         data = \"ledger.redb\"\n\
         listen = \"127.0.0.1:7374\"\n\
         \n\
         # To listen beyond this machine, give a certificate:\n\
         # listen = \"0.0.0.0:7374\"\n\
         # tls_cert = \"cert.pem\"\n\
         # tls_key = \"key.pem\"\n"
    )
}
