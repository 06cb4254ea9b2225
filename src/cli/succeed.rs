//! `succeed`: an arbiter names the one that goes on for it (R-537).
//!
//! ```text
//!  old folder, new folder ─▶ Succession ─▶ leaf `key-rotation` in the old log ─▶ both sign ─▶ KEY_FILE.successor (old)
//!                                                                                            KEY_FILE.predecessor (new)
//!  serve, info ─▶ both files, verified ─▶ published
//! ```
//! The leaf comes first: what is signed is in the log already. A crash before the files are written leaves a leaf for a
//! statement that nobody has; the command is given again and logs another.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use arbiter_protocol::message::agreement::ArbiterIdentity;
use arbiter_protocol::message::succession::{SignedSuccession, Succession};
use arbiter_protocol::statement::{Envelope, Verified, digest_of};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::data::Data;
use super::identity::genesis_lines;
use super::init::write_new;
use super::serve::block_on;
use super::{CliError, config_file, load_identity, print};
use crate::config::{FILE_NAME, Overrides, Settings};
use crate::telemetry;

/// Largest file: two envelopes in base64.
const FILE_BYTES: u64 = 16 * 1024;

pub(super) fn succeed(settings: &Settings, to: &Path, out: &mut dyn Write) -> Result<(), CliError> {
    let new = Settings::load(config_file(Some(to), FILE_NAME).as_deref(), &Overrides::default())?;
    telemetry::start(settings.log_format, &settings.log_filter)?;
    let ((old_keys, old), (new_keys, new_identity)) = (load_identity(settings)?, load_identity(&new)?);
    let files = [successor(&settings.key_file), predecessor(&new.key_file)];
    if let Some(path) = files.iter().find(|path| path.symlink_metadata().is_ok()) {
        return Err(CliError::Exists { path: path.clone() });
    }
    // The engine signs with the old keys; these sign the statement, after it is in the log.
    let (signing, _) = load_identity(settings)?;
    let data = Data::open_existing(settings, &old, old_keys.vault())?;
    block_on(async {
        let engine = data.engine(settings, old_keys, old.clone())?;
        drop(data);
        let statement = Succession { from: old, to: new_identity, time: engine.now() };
        let usable = statement.is_usable().map_err(|_| CliError::SameArbiter { path: to.to_path_buf() });
        let logged = match usable {
            Ok(()) => engine.rotate(digest_of(&statement)).await.map_err(|_| CliError::Engine),
            Err(error) => Err(error),
        };
        engine.stop().await;
        let leaf = logged?;
        let by_old = Verified::sign(statement.clone(), signing.arbiter());
        let by_new = Verified::sign(statement.clone(), new_keys.arbiter());
        let text =
            [by_old.envelope(), by_new.envelope()].map(|it| STANDARD.encode(it.encode()) + "\n").concat();
        for path in &files {
            write_new(path, &text)?;
        }
        let Succession { from, to, .. } = &statement;
        print(out, &format!("old\n{}new\n{}leaf     {}\n", genesis_lines(from), genesis_lines(to), leaf.0))
    })
}

/// The successions that an arbiter publishes: from its predecessor, to its successor.
pub(super) fn published(key_file: &Path, own: &ArbiterIdentity) -> Result<Vec<SignedSuccession>, CliError> {
    let before = read(&predecessor(key_file), |it| it.to == *own)?;
    let after = read(&successor(key_file), |it| it.from == *own)?;
    Ok([before, after].into_iter().flatten().collect())
}

fn read(path: &Path, ours: impl Fn(&Succession) -> bool) -> Result<Option<SignedSuccession>, CliError> {
    let failed = |source| CliError::Io { verb: "read", path: path.to_path_buf(), source };
    let size = match fs::metadata(path) {
        Ok(about) => about.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed(source)),
    };
    let malformed = || CliError::Succession { path: path.to_path_buf() };
    if size > FILE_BYTES {
        return Err(malformed());
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    let envelope = |line: &str| Envelope::decode(&STANDARD.decode(line).ok()?).ok();
    let mut lines = text.lines().map(envelope);
    let (Some(Some(by_old)), Some(Some(by_new)), None) = (lines.next(), lines.next(), lines.next()) else {
        return Err(malformed());
    };
    let signed = SignedSuccession::verify(by_old, by_new).map_err(|_| malformed())?;
    if ours(signed.statement()) { Ok(Some(signed)) } else { Err(malformed()) }
}

fn successor(key_file: &Path) -> PathBuf {
    beside(key_file, "successor")
}

fn predecessor(key_file: &Path) -> PathBuf {
    beside(key_file, "predecessor")
}

fn beside(key_file: &Path, ending: &str) -> PathBuf {
    let mut name = key_file.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}
