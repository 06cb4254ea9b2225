//! `witness init`: makes a new witness. Nothing that exists is overwritten.

use std::fs::DirBuilder;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use arbiter_protocol::crypto::Signer as _;

use super::lines;
use crate::cli::init::write_new;
use crate::cli::{CliError, print};
use crate::config::witness::{FILE_NAME, Overrides, Settings};
use crate::keys::witness_file::{self, Kinds};
use crate::witness::StartError;
use crate::witness::logs::Logs;
use crate::witness::mark::Mark;
use crate::witness::names::Names;
use crate::witness::store::Store;

pub(super) fn init(dir: &Path, name: &str, kinds: Kinds, out: &mut dyn Write) -> Result<(), CliError> {
    let [config, keys, mark, data, logs] =
        [FILE_NAME, "witness.key", "witness.mark", "witness.redb", "logs.txt"].map(|name| dir.join(name));
    // Before anything is made: a wrong name leaves nothing behind.
    Names::check(name)?;
    if let Some(path) =
        [&config, &keys, &mark, &data, &logs].into_iter().find(|path| path.symlink_metadata().is_ok())
    {
        return Err(CliError::Exists { path: path.clone() });
    }
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|source| CliError::Io { verb: "make", path: dir.to_path_buf(), source })?;
    let made = witness_file::create(&keys, kinds)?;
    let key = made.ed25519.public_key();
    let failed = |source| CliError::Witness { path: dir.to_path_buf(), source };
    Store::create(&data, key).map_err(|source| failed(StartError::Store(source)))?;
    Mark::create(&mark, key).map_err(|source| failed(StartError::Mark(source)))?;
    write_new(&logs, LOGS)?;
    write_new(&config, &template(name))?;
    let settings = Settings::load(Some(&config), &Overrides::default())?;
    let keys = lines(&Names::of(&settings.name, &made)?, &Logs::default());
    let dir = dir.display();
    print(
        out,
        &format!("made     {dir}\n{keys}next     arbiter witness add-log --config {dir} VERIFIER-KEY\n"),
    )
}

const LOGS: &str = "\
# The logs that are cosigned, one line for each key: log VERIFIER-KEY [URL]
# `arbiter witness add-log` adds a line; SIGHUP makes a running witness read it again.
";

fn template(name: &str) -> String {
    let name = toml::Value::String(name.to_owned());
    format!(
        "# Configuration of a witness. Flags and ARBITER_WITNESS_* variables come first.\n\
         # `arbiter witness serve --help` explains the settings. Relative paths are relative to this file.\n\
         \n\
         # Part of the keys: never change it.\n\
         name = {name}\n\
         key_file = \"witness.key\"\n\
         data = \"witness.redb\"\n\
         # Best on another disk than the data, and never in the same backup.\n\
         mark = \"witness.mark\"\n\
         log_list = \"logs.txt\"\n\
         listen = \"127.0.0.1:7376\"\n\
         \n\
         # To listen beyond this machine, give a certificate:\n\
         # listen = \"0.0.0.0:7376\"\n\
         # tls_cert = \"cert.pem\"\n\
         # tls_key = \"key.pem\"\n"
    )
}
