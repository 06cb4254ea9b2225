//! `witness add-log`: one line more in the list of logs, all of it or nothing.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt as _;

use crate::cli::{CliError, print};
use crate::config::witness::Settings;
use crate::keys::file::sync_folder;
use crate::witness::logs::Logs;

pub(super) fn add_log(settings: &Settings, key: &str, out: &mut dyn Write) -> Result<(), CliError> {
    let list = &settings.log_list;
    let io = |verb| move |source| CliError::Io { verb, path: list.clone(), source };
    // What is there must be good, and what is added alone too.
    let before = Logs::load(list)?;
    let line = format!("log {key}\n");
    let added = Logs::parse(&line)?;
    let known = added.iter().all(|(origin, keys)| {
        before.keys(origin).is_some_and(|known| keys.iter().all(|key| known.contains(key)))
    });
    let origins: Vec<_> = added.iter().map(|(origin, _)| origin.to_string()).collect();
    let origin = origins.concat();
    if known {
        return print(out, &format!("known    {origin}\n"));
    }
    let mut text = fs::read_to_string(list).map_err(io("read"))?;
    if Logs::is_network(&text) {
        let published =
            "it is a list of the logs/v0 form, which others publish: put your own logs into another file";
        return Err(io("change")(io::Error::other(published)));
    }
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&line);
    let new = list.with_extension("new");
    let write = || -> io::Result<()> {
        let mode = fs::metadata(list)?.permissions().mode();
        fs::write(&new, &text)?;
        fs::set_permissions(&new, fs::Permissions::from_mode(mode))?;
        fs::File::open(&new)?.sync_all()?;
        fs::rename(&new, list)?;
        sync_folder(list)
    };
    write().map_err(io("change"))?;
    print(out, &format!("added    {origin}\nnext     restart serve, or send it SIGHUP\n"))
}
