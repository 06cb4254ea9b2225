//! `init`: makes configuration, keys and data folder of a new arbiter. Nothing that exists is overwritten.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use arbiter_protocol::evidence::checkpoint::Origin;

use super::identity::identity_lines;
use super::{CliError, escrow_key, print};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{ConfigError, FILE_NAME};
use crate::keys::{epoch_file, file as key_file};

pub(super) fn init(dir: &Path, origin: Option<&str>, out: &mut dyn Write) -> Result<(), CliError> {
    let (config, keys, data) = (dir.join(FILE_NAME), dir.join("arbiter.key"), dir.join("data"));
    let escrow = epoch_file::path(&keys, 1);
    // Before anything is made: a wrong name leaves nothing behind.
    let origin = origin.map(parse_origin).transpose()?;
    if let Some(path) =
        [&config, &keys, &escrow, &data].into_iter().find(|path| path.symlink_metadata().is_ok())
    {
        return Err(CliError::Exists { path: path.clone() });
    }
    for folder in [dir, &data] {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|source| CliError::Io { verb: "make", path: folder.to_path_buf(), source })?;
    }
    let made = key_file::create(&keys)?;
    let key = made.arbiter().public_key().to_string();
    let own = || parse_origin(&format!("arbiter.local/{}", key.get(..8).unwrap_or(&key)));
    let origin = origin.map_or_else(own, Ok)?;
    write_new(&config, &template(&origin))?;
    let now = SystemClock.now();
    epoch_file::create(&keys, &made.arbiter().public_key(), now, escrow_key::OPENS_FOR, None)?;
    let escrow = epoch_file::load(&keys, made.arbiter(), now)?;
    let identity = identity_lines(&made.identity(origin), &escrow);
    let dir = dir.display();
    print(out, &format!("made     {dir}\n{identity}next     arbiter serve --config {dir}\n"))
}

fn parse_origin(name: &str) -> Result<Origin, ConfigError> {
    Origin::parse(name).map_err(|_| ConfigError::origin(name))
}

fn template(origin: &Origin) -> String {
    let origin = toml::Value::String(origin.to_string());
    format!(
        "# Configuration of an arbiter. Flags and ARBITER_* variables come first.\n\
         # `arbiter check-config` shows all settings, `arbiter serve --help` explains them.\n\
         # Relative paths are relative to this file.\n\
         \n\
         # Part of the identity: agreements name it. Never change it once there is a ruling.\n\
         origin = {origin}\n\
         key_file = \"arbiter.key\"\n\
         data = \"data\"\n\
         # Every commit a second time: name a folder on another disk. Empty: none (docs/durability.md).\n\
         journal = \"journal\"\n\
         listen = \"127.0.0.1:7373\"\n\
         # The evidence log for everybody, over HTTP: checkpoint and tiles.\n\
         listen_log = \"127.0.0.1:7375\"\n\
         \n\
         # To listen beyond this machine, give a certificate:\n\
         # listen = \"0.0.0.0:7373\"\n\
         # tls_cert = \"cert.pem\"\n\
         # tls_key = \"key.pem\"\n\
         \n\
         # A static copy of the log, best on another disk:\n\
         # export = \"export\"\n"
    )
}

pub(super) fn write_new(path: &Path, text: &str) -> Result<(), CliError> {
    let failed = |source| CliError::Io { verb: "write", path: path.to_path_buf(), source };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}
