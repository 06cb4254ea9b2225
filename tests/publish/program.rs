//! The real program: serves tiles, exports while it serves and after, and mirrors.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::decimal::{files, read_back};

fn program(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_arbiter"));
    command.args(arguments).current_dir(folder).env_clear().stdin(Stdio::null());
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    program(folder, arguments).output().unwrap()
}

#[track_caller]
fn good(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Ended if the test ends before it does.
struct Running(Child, String);

impl Running {
    fn serve(folder: &Path, more: &[&str]) -> Self {
        let all = ["serve", "--config", "home", "--listen", "127.0.0.1:0", "--listen-log", "127.0.0.1:0"];
        let mut command = program(folder, &[&all, more].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.split_whitespace().find_map(|word| word.strip_prefix("log_address="));
        let url = address.map(|address| format!("http://{address}"));
        Self(child, url.unwrap_or_else(|| panic!("it does not serve: {line}")))
    }

    /// Exit code and log.
    fn stop(mut self) -> (Option<i32>, String) {
        kill(Pid::from_raw(self.0.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
        let mut log = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (self.0.wait().unwrap().code(), log)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn log_key(folder: &Path) -> String {
    let info: serde_json::Value =
        serde_json::from_str(&good(run(folder, &["info", "--json", "--config", "home"]))).unwrap();
    info["log_key"].as_str().unwrap().to_owned()
}

#[test]
fn the_program_serves_exports_and_mirrors() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    good(run(folder, &["init", "--dir", "home", "--origin", "arbiter.example/log"]));
    let key = log_key(folder);
    let serving = Running::serve(folder, &["--export", "copy", "--publish-interval-ms", "50"]);
    let url = serving.1.clone();
    let mirror = ["export", "--from", &url, "--log-key", &key, "--to", "mirror"];
    let said = good(run(folder, &mirror));
    assert!(said.starts_with("exported leaves 0 to "), "{said}");
    assert_eq!(good(run(folder, &mirror)), "", "nothing new");
    // A mirror that goes on, until it is told to end.
    let watching = program(folder, &[&mirror[..6], &["watched", "--watch", "1"]].concat());
    let mut watching = { watching }.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    for _ in 0..200 {
        if folder.join("watched/checkpoint").exists() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(watching.try_wait().unwrap().is_none(), "it goes on");
    watching.kill().unwrap();
    watching.wait().unwrap();
    let (code, log) = serving.stop();
    assert_eq!(code, Some(0), "{log}");
    good(run(folder, &["export", "--config", "home", "--to", "after"]));
    let copy = files(&folder.join("copy"));
    assert_eq!(copy.len(), 3, "{:?}", copy.keys());
    for other in ["mirror", "watched", "after"] {
        assert_eq!(files(&folder.join(other)), copy, "{other}");
        read_back(&folder.join(other));
    }
    // Another key, another log, a log that is not there.
    let fail = |arguments: &[&str], part: &str| {
        let output = run(folder, arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(part), "{said}");
    };
    fail(&mirror, "http://127.0.0.1");
    let serving = Running::serve(folder, &[]);
    let other = "other.example/log+fa13fc67+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4";
    fail(&["export", "--from", &serving.1, "--log-key", other, "--to", "x"], "--log-key");
    drop(serving);
    good(run(folder, &["init", "--dir", "other", "--origin", "arbiter.example/other"]));
    let rival = ["serve", "--config", "other", "--listen", "127.0.0.1:0", "--listen-log", "127.0.0.1:0"];
    fail(&[&rival[..], &["--export", "copy"]].concat(), "it cannot be used: checkpoint");
}

/// of a data folder that is older than its own export only reads are served, nothing is published and
/// the export is left alone.
#[test]
fn a_folder_that_is_older_than_its_export_publishes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    good(run(folder, &["init", "--dir", "home"]));
    let serving = Running::serve(folder, &["--export", "copy"]);
    assert_eq!(serving.stop().0, Some(0));
    let copy = files(&folder.join("copy"));
    // The data is lost, and a new log would be begun with the same keys.
    for lost in ["home/data", "home/journal"] {
        std::fs::remove_dir_all(folder.join(lost)).unwrap();
    }
    let serving = Running::serve(folder, &["--export", "copy"]);
    let (code, said) = serving.stop();
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("the log was rolled back: the export folder copy knows 2 leaves, here are 0"),
        "{said}"
    );
    assert_eq!(files(&folder.join("copy")), copy);
}

/// the program asks the authority of its configuration, keeps the token beside its data, and fsck reads it; settings that cannot
/// be are refused by name.
#[test]
fn the_program_is_stamped_by_its_authority() {
    let authority = std::sync::Arc::new(crate::authority::Authority::new(crate::authority::Kind::P256));
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    good(run(folder, &["init", "--dir", "home"]));
    let settings = std::fs::read_to_string(folder.join("home/arbiter.toml")).unwrap();
    let set = |url: &str, file: &str, more: &str| {
        let text = format!("{settings}\n[timestamp]\nurl = \"{url}\"\nauthority = \"{file}\"\n{more}\n");
        std::fs::write(folder.join("home/arbiter.toml"), text).unwrap();
    };
    for (url, file, more, part) in [
        ("ftp://127.0.0.1/tsa", "tsa.pem", "", "timestamp.url"),
        ("http://127.0.0.1/tsa", "nowhere.pem", "", "home/nowhere.pem"),
        ("http://127.0.0.1/tsa", "arbiter.toml", "", "timestamp.authority"),
        ("http://127.0.0.1/tsa", "tsa.pem", "interval_seconds = 0", "timestamp.interval_seconds"),
        ("http://127.0.0.1/tsa", "tsa.pem", "interval = 7", "interval"),
    ] {
        std::fs::write(folder.join("home/tsa.pem"), authority.root()).unwrap();
        set(url, file, more);
        let output = run(folder, &["serve", "--config", "home"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(part), "{part}: {said}");
    }
    set(&authority.serve(), "tsa.pem", "");
    let serving = Running::serve(folder, &["--publish-interval-ms", "50"]);
    let anchors = folder.join("home/anchors");
    let there = || std::fs::read_dir(&anchors).map_or(0, Iterator::count);
    for _ in 0..400 {
        if there() == 1 {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    // Its leaf is logged a moment later.
    std::thread::sleep(Duration::from_millis(300));
    let (code, log) = serving.stop();
    assert_eq!((code, there()), (Some(0), 1), "{log}");
    assert!(log.contains("the log has a time-stamp"), "{log}");
    let said = good(run(folder, &["fsck", "--config", "home"]));
    assert!(said.starts_with("clean: 3 leaves") && said.contains(", 1 time-stamps"), "{said}");
    let name = std::fs::read_dir(&anchors).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&name).unwrap();
    bytes[200] ^= 1;
    std::fs::write(&name, bytes).unwrap();
    let output = run(folder, &["fsck", "--config", "home"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("fault: leaf 2: ") && said.contains("is not the anchor that it was"), "{said}");
}
