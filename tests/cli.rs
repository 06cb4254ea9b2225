//! The real program: what `init` leaves, which settings count, what is refused, how it starts and ends.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may fail")]

mod common;
#[path = "cli/durability.rs"]
mod durability;
#[path = "cli/escrow.rs"]
mod escrow;
#[path = "common/export.rs"]
mod export;
#[path = "common/issuer.rs"]
mod issuer;
#[path = "cli/records.rs"]
mod records;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::Duration;

use arbiter::store::rocks::RocksStore;
use arbiter::store::schema::{self, Family};
use arbiter_protocol::evidence::checkpoint::Origin;
use arbiter_protocol::evidence::note::VerifierKey;
use arbiter_protocol::exchange::selection::Role::Originator;
use arbiter_protocol::ids::PublicKey;
use arbiter_protocol::message::agreement::ArbiterIdentity;
use arbiter_protocol::message::request::Action::{Deposit, Resolve};
use arbiter_protocol::wire::arbiter as proto;
use arbiter_protocol::wire::arbiter::arbiter_service_client::ArbiterServiceClient;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use common::*;
use issuer::Authority;

/// A folder with an arbiter in it.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        let made = home.run(&["init", "--dir", "."]);
        assert!(made.status.success(), "{}", text(&made.stderr));
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The program in this folder, with no settings from outside.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_arbiter"));
        command.args(arguments).current_dir(self.0.path()).env_clear();
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn append(&self, toml: &str) {
        let path = self.path("arbiter.toml");
        fs::write(&path, fs::read_to_string(&path).unwrap() + toml).unwrap();
    }

    fn serve(&self, arguments: &[&str]) -> Running {
        let all = [&["serve", "--listen", "127.0.0.1:0", "--listen-log", "127.0.0.1:0"], arguments].concat();
        Running::start(self.command(&all))
    }

    fn identity(&self) -> ArbiterIdentity {
        let info: serde_json::Value = serde_json::from_slice(&self.run(&["info", "--json"]).stdout).unwrap();
        let field = |name: &str| info[name].as_str().unwrap().to_owned();
        ArbiterIdentity {
            key: PublicKey::parse_hex(&field("key"), "key").unwrap(),
            log_key: VerifierKey::parse(&field("log_key")).unwrap().public_key().unwrap(),
            log_origin: Origin::parse(&field("log_origin")).unwrap(),
            rules: field("rules"),
        }
    }
}

/// A serving process; killed if the test ends before it does.
struct Running {
    child: Child,
    ready: String,
    stderr: ChildStderr,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut ready = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut stderr = child.stderr.take().unwrap();
        if stdout.read_line(&mut ready).unwrap() == 0 {
            let mut errors = String::new();
            stderr.read_to_string(&mut errors).unwrap();
            panic!("it does not serve: {errors}");
        }
        Self { child, ready, stderr }
    }

    /// A value of the line that says that it serves.
    fn value(&self, name: &str) -> &str {
        let start = format!("{name}=");
        self.ready.split_whitespace().find_map(|word| word.strip_prefix(&start)).unwrap()
    }

    fn address(&self) -> SocketAddr {
        self.value("address").parse().unwrap()
    }

    async fn parties(&self) -> Parties {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address())).unwrap();
        ArbiterServiceClient::new(endpoint.connect().await.unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// Waits for the end: exit code and what it logged.
    fn end(mut self) -> (Option<i32>, String) {
        let mut log = String::new();
        self.stderr.read_to_string(&mut log).unwrap();
        (self.child.wait().unwrap().code(), log)
    }

    fn stop(self) -> (Option<i32>, String) {
        self.signal(Signal::SIGTERM);
        self.end()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail if the process has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// One line on stderr with this text, this exit code, nothing on stdout.
#[track_caller]
fn assert_fails(output: &Output, code: i32, part: &str) {
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    let line =
        stderr.lines().find(|line| line.starts_with("arbiter: ")).unwrap_or_else(|| panic!("{stderr}"));
    assert!(line.contains(part), "{line}");
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
    assert!(!stderr.contains("panicked"), "{stderr}");
}

// ---- init, info, check-config

#[test]
fn init_makes_private_files_and_prints_what_peers_pin() {
    let home = Home(tempfile::tempdir().unwrap());
    let made = home.run(&["init", "--dir", "new/arbiter", "--origin", "arbiter.example/log"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    assert_eq!(mode(&home.path("new/arbiter")), 0o700);
    assert_eq!(mode(&home.path("new/arbiter/data")), 0o700);
    assert_eq!(mode(&home.path("new/arbiter/arbiter.key")), 0o600);
    assert_eq!(mode(&home.path("new/arbiter/arbiter.toml")), 0o600);

    let printed = text(&made.stdout);
    let info = text(&home.run(&["info", "--config", "new/arbiter"]).stdout);
    let next = "next     arbiter serve --config new/arbiter\n";
    assert_eq!(printed, format!("made     new/arbiter\n{info}{next}"));
    let value = |name: &str| {
        let line = info.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    assert_eq!(value("origin"), "arbiter.example/log");
    assert_eq!(value("rules"), "arbiter/rules/v1");
    let log_key = VerifierKey::parse(&value("log_key")).unwrap();
    assert_eq!(log_key.name(), "arbiter.example/log");
    PublicKey::parse_hex(&value("key"), "key").unwrap();

    let json = home.run(&["info", "--json", "--config", "new/arbiter/arbiter.toml"]).stdout;
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["key"], value("key"));
    assert_eq!(json["log_key"], value("log_key"));
    assert_eq!(json["log_origin"], "arbiter.example/log");
    assert_eq!(json["rules"], "arbiter/rules/v1");
    assert_eq!(json["genesis"], value("genesis"));
    // Both are in check-config, too.
    let shown = text(&home.run(&["check-config", "--config", "new/arbiter"]).stdout);
    for line in info.lines() {
        assert!(shown.contains(&format!("# {line}\n")), "{line}\n{shown}");
    }
}

/// What the operator reads out is what the peers see, and what the log begins with.
#[tokio::test(flavor = "multi_thread")]
async fn the_pin_is_what_fairx_shows_and_what_leaf_0_says() {
    let home = Home::new();
    let identity = home.identity();
    let json: serde_json::Value = serde_json::from_slice(&home.run(&["info", "--json"]).stdout).unwrap();
    let pin = arbiter_client::identity::ArbiterPin::new(identity, "http://127.0.0.1:7373").unwrap();
    assert_eq!(json["pin"], pin.fingerprint().groups());
    let info = text(&home.run(&["info"]).stdout);
    assert!(info.contains(&format!("\npin      {}\n", pin.fingerprint().groups())), "{info}");

    let running = home.serve(&[]);
    let endpoint = Endpoint::from_shared(format!("http://{}", running.address())).unwrap();
    let mut auditors = Auditors::new(endpoint.connect().await.unwrap());
    let entry = auditors.get_entry(proto::GetEntryRequest { index: 0 }).await.unwrap().into_inner();
    let leaf = arbiter_protocol::evidence::leaf::Leaf::decode(&entry.entry.unwrap().leaf).unwrap();
    assert_eq!(json["genesis"], leaf.token.to_string());
    assert_eq!(running.stop().0, Some(0));
}

#[test]
fn outside_of_its_folder_an_arbiter_says_what_to_do() {
    let nowhere = Home(tempfile::tempdir().unwrap());
    for command in ["info", "check-config", "serve", "fsck"] {
        assert_fails(
            &nowhere.run(&[command]),
            2,
            "no arbiter.toml here: use --config DIR, or make an arbiter",
        );
    }
    assert_eq!(fs::read_dir(nowhere.0.path()).unwrap().count(), 0);
}

#[test]
fn two_arbiters_have_different_keys_and_origins() {
    let (one, two) = (Home::new().identity(), Home::new().identity());
    assert_ne!(one.key, two.key);
    assert_ne!(one.log_key, two.log_key);
    assert_ne!(one.log_origin, two.log_origin);
    assert!(one.log_origin.as_str().starts_with("arbiter.local/"));
}

#[test]
fn init_overwrites_nothing() {
    let home = Home::new();
    let before = |name| fs::read(home.path(name)).unwrap();
    let (config, key) = (before("arbiter.toml"), before("arbiter.key"));
    assert_fails(&home.run(&["init", "--dir", "."]), 2, "exists already");
    fs::remove_file(home.path("arbiter.toml")).unwrap();
    assert_fails(&home.run(&["init", "--dir", "."]), 2, "arbiter.key");
    assert_eq!(fs::read(home.path("arbiter.key")).unwrap(), key);
    assert!(!home.path("arbiter.toml").exists());
    fs::write(home.path("arbiter.toml"), &config).unwrap();

    let bad = home.run(&["init", "--dir", "other", "--origin", "a b"]);
    assert_fails(&bad, 2, "origin");
    assert!(!home.path("other").exists(), "a wrong name leaves nothing behind");
}

#[test]
fn flags_come_before_variables_before_the_file_before_defaults() {
    let home = Home::new();
    let drain = |arguments: &[&str], variables: &[(&str, &str)]| {
        let arguments = [&["check-config"], arguments].concat();
        let output = home.command(&arguments).envs(variables.iter().copied()).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        let shown: toml::Table = text(&output.stdout).parse().unwrap();
        shown["drain_seconds"].as_integer().unwrap()
    };
    let variable = [("ARBITER_DRAIN_SECONDS", "4")];
    assert_eq!(drain(&[], &[]), 10);
    assert_eq!(drain(&[], &variable), 4);
    home.append("drain_seconds = 3\n");
    assert_eq!(drain(&[], &[]), 3);
    assert_eq!(drain(&[], &variable), 4);
    assert_eq!(drain(&["--drain-seconds", "5"], &variable), 5);
    assert_eq!(drain(&["--drain-seconds", "5"], &[]), 5);
    // What an orchestrator announces about a service called arbiter is no setting.
    let announced =
        [("ARBITER_SERVICE_HOST", "10.0.0.1"), ("ARBITER_PORT_7373_TCP", "x"), ("ARBITER_PORT", "y")];
    assert_eq!(drain(&[], &announced), 3);
}

#[test]
fn check_config_shows_everything_but_secrets() {
    let home = Home::new();
    let output = home.run(&["check-config"]);
    assert!(output.status.success());
    let shown = text(&output.stdout);
    let parsed: toml::Table = shown.parse().unwrap();
    assert_eq!(parsed["listen"].as_str(), Some("127.0.0.1:7373"));
    assert_eq!(parsed["allow_plaintext"].as_bool(), Some(false));
    assert_eq!(parsed["max_uploads"].as_integer(), Some(256));
    let fewer =
        text(&home.run(&["check-config", "--max-requests", "3"]).stdout).parse::<toml::Table>().unwrap();
    assert_eq!(fewer["max_uploads"].as_integer(), Some(1));
    assert!(shown.contains(&home.identity().key.to_string()));
    let key_file = fs::read_to_string(home.path("arbiter.key")).unwrap();
    let seeds: Vec<_> = key_file.split('"').skip(1).step_by(2).collect();
    assert_eq!(seeds.len(), 3);
    let info = text(&home.run(&["info"]).stdout);
    for seed in seeds {
        assert!(!shown.contains(seed) && !info.contains(seed));
    }
    // What is shown can be read back and means the same.
    fs::create_dir(home.path("elsewhere")).unwrap();
    fs::write(home.path("elsewhere/again.toml"), &shown).unwrap();
    assert_eq!(text(&home.run(&["check-config", "--config", "elsewhere/again.toml"]).stdout), shown);
}

#[test]
fn paths_in_the_file_are_relative_to_the_file() {
    let home = Home(tempfile::tempdir().unwrap());
    assert!(home.run(&["init", "--dir", "deep/er"]).status.success());
    for config in ["deep/er", "deep/er/arbiter.toml"] {
        let output = home.run(&["check-config", "--config", config]);
        let shown: toml::Table = text(&output.stdout).parse().unwrap();
        let here = home.0.path().canonicalize().unwrap();
        for (name, path) in [("data", "deep/er/data"), ("key_file", "deep/er/arbiter.key")] {
            assert_eq!(shown[name].as_str(), here.join(path).to_str());
        }
    }
    let output = home.command(&["info"]).env("ARBITER_CONFIG", "deep/er").output().unwrap();
    assert!(output.status.success());
    // Relative to the working folder, where it is not.
    let output = home.run(&["info", "--config", "deep/er", "--key-file", "arbiter.key"]);
    assert_fails(&output, 2, "arbiter.key");
}

#[test]
fn wrong_settings_are_refused_by_name() {
    let home = Home::new();
    let flags: [(&[&str], &str); 16] = [
        (&["--key-file", "nowhere.key"], "cannot read key file nowhere.key"),
        (&["--key-file", "data"], "not a small regular file"),
        (&["--config", "nowhere.toml"], "nowhere.toml"),
        (&["--listen", "0.0.0.0:7373"], "allow_plaintext"),
        (&["--listen", "[::]:7373"], "allow_plaintext"),
        (&["--origin", "a b"], "origin"),
        (&["--drain-seconds", "0"], "drain_seconds"),
        (&["--max-deposit-bytes", "1099511627777"], "max_deposit_bytes"),
        (&["--max-requests", "0"], "max_requests"),
        (&["--max-uploads", "1025"], "max_uploads"),
        (&["--max-connections", "0"], "max_connections"),
        (&["--max-total-deposit-bytes", "0"], "max_total_deposit_bytes"),
        (&["--min-bytes-per-second", "0"], "min_bytes_per_second"),
        (&["--log-filter", "info,=="], "log_filter"),
        (&["--tls-cert", "cert.pem"], "tls_key"),
        (&["--tls-client-ca", "ca.pem"], "tls_cert"),
    ];
    for (arguments, part) in flags {
        // All of them at check-config, and before serve opens a port or the data folder.
        for command in ["check-config", "serve"] {
            assert_fails(&home.run(&[&[command], arguments].concat()), 2, part);
        }
    }
    for (name, value, part) in [
        ("ARBITER_LISTN", "127.0.0.1:1", "listn"),
        ("ARBITER_DRAIN_SECONDS", "soon", "DRAIN_SECONDS"),
        ("ARBITER_LISTEN", "here", "LISTEN"),
    ] {
        let output = home.command(&["check-config"]).env(name, value).output().unwrap();
        assert_fails(&output, 2, part);
    }
    let good = fs::read_to_string(home.path("arbiter.toml")).unwrap();
    for (line, part) in [
        ("listn = \"127.0.0.1:7373\"\n", "listn"),
        ("max_requests = -1\n", "max_requests"),
        ("max_requests = \"many\"\n", "max_requests"),
        ("log_format = \"xml\"\n", "log_format"),
        ("[api]\nlisten = \"127.0.0.1:7373\"\n", "api"),
        ("\nthis is not toml\n", "arbiter.toml line 23 is not TOML"),
    ] {
        fs::write(home.path("arbiter.toml"), format!("{good}{line}")).unwrap();
        assert_fails(&home.run(&["check-config"]), 2, part);
    }
    fs::write(home.path("arbiter.toml"), good.replace("origin = ", "# origin = ")).unwrap();
    assert_fails(&home.run(&["check-config"]), 2, "origin");
    fs::write(home.path("arbiter.toml"), good).unwrap();
    let output = home.run(&["check-config", "--listen", "0.0.0.0:7373", "--allow-plaintext"]);
    assert!(output.status.success(), "by an explicit flag");
    // The command line itself.
    for arguments in [&["serve", "--listn", "x"][..], &["dance"], &[], &["serve", "--listen", "here"]] {
        assert_eq!(home.run(arguments).status.code(), Some(2));
    }
    assert_eq!(home.run(&["--help"]).status.code(), Some(0));
    assert_eq!(home.run(&["--version"]).status.code(), Some(0));
}

#[test]
fn keys_that_others_can_read_are_refused() {
    let home = Home::new();
    fs::set_permissions(home.path("arbiter.key"), fs::Permissions::from_mode(0o640)).unwrap();
    for command in ["check-config", "serve", "info", "fsck"] {
        assert_fails(&home.run(&[command]), 2, "chmod 600");
    }
}

// ---- serve

#[tokio::test(flavor = "multi_thread")]
async fn it_serves_until_a_signal_and_goes_on_where_it_was() {
    let home = Home::new();
    let running = home.serve(&[]);
    let identity = home.identity();
    assert!(running.ready.starts_with("arbiter ready "));
    assert_eq!(running.value("origin"), identity.log_origin.as_str());
    assert_eq!(running.value("key"), identity.key.to_string());
    assert_eq!(running.value("log_size"), "2", "the beginning, and what is declared");

    let cast = Cast::new(identity);
    let agreement = cast.contract();
    let case = cast.case(&agreement, Originator, Resolve);
    let receipt = resolve(&mut running.parties().await, case.clone()).await.unwrap();
    prove(receipt.clone(), &agreement, &case);
    let (code, log) = running.stop();
    assert_eq!(code, Some(0), "{log}");
    let id = agreement.exchange_id().to_string();
    let rulings: Vec<_> = log.lines().filter(|line| line.contains(&id)).collect();
    assert_eq!(rulings.len(), 1, "one line a ruling: {log}");
    for part in ["R-404", "leaf=2", "requested_by=originator"] {
        assert!(rulings[0].contains(part), "{part} in {log}");
    }
    for private in ["Alice", "Bob", "We sell.", "file"] {
        assert!(!log.contains(private), "{private} in {log}");
    }

    let running = home.serve(&["--log-format", "json"]);
    assert_eq!(running.value("log_size"), "3");
    let again = resolve(&mut running.parties().await, case).await.unwrap();
    assert_eq!(again, receipt, "byte for byte, over a restart");
    running.signal(Signal::SIGINT);
    let (code, log) = running.end();
    assert_eq!(code, Some(0));
    assert!(!log.is_empty());
    for line in log.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|_| panic!("{line}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_drain_is_bounded_and_a_second_signal_ends_it() {
    let bytes = content(200_000);
    for (seconds, twice) in [("1", false), ("3600", true)] {
        let home = Home::new();
        let running = home.serve(&["--drain-seconds", seconds]);
        let cast = Cast::new(home.identity());
        // Far from now on any clock: an upload that never ends.
        let complain_by = arbiter_protocol::time::UnixMillis(4_102_444_800_000);
        let agreement = cast.delivery(&describe(&bytes, "text/plain"), complain_by);
        let (sender, receiver) = tokio::sync::mpsc::channel(4);
        sender.send(first(cast.case(&agreement, Originator, Deposit))).await.unwrap();
        sender.send(chunk(&bytes[..1000])).await.unwrap();
        let mut parties = running.parties().await;
        let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
        let call = tokio::spawn(async move { parties.verify_transfer(stream).await });
        // The upload is in once the arbiter has counted it.
        let mut other = running.parties().await;
        loop {
            let counters = other.get_counters(proto::GetCountersRequest {}).await.unwrap().into_inner();
            if counters.counters.iter().any(|it| it.name == "calls/VerifyTransfer" && it.value == 1) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        running.signal(Signal::SIGTERM);
        if twice {
            // The first signal has arrived when new requests are refused.
            while other.get_counters(proto::GetCountersRequest {}).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            running.signal(Signal::SIGTERM);
        }
        let (code, log) = tokio::task::spawn_blocking(|| running.end()).await.unwrap();
        assert_eq!(code, Some(0), "{log}");
        assert!(call.await.unwrap().is_err());
        drop(sender);
        let checked = home.run(&["fsck"]);
        assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stderr));
    }
}

#[test]
fn what_belongs_to_another_is_not_touched() {
    let (home, other) = (Home::new(), Home::new());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = home.run(&["serve", "--listen", &address]);
    assert_fails(&output, 1, &format!("cannot listen on {address}"));

    // Another process on the same data folder: whoever is first stays.
    let running = home.serve(&[]);
    let output = home.run(&["serve", "--listen", "127.0.0.1:0"]);
    assert_fails(&output, 1, "in use by another process");
    assert_fails(&home.run(&["fsck"]), 2, "in use by another process");
    assert_eq!(running.stop().0, Some(0));

    // The data folder of another arbiter.
    let data = home.path("data");
    let output = other.run(&["serve", "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()]);
    assert_fails(&output, 1, "belongs to another arbiter");
    // Its keys under another origin are another arbiter too.
    let output = home.run(&["serve", "--listen", "127.0.0.1:0", "--origin", "arbiter.example/new"]);
    assert_fails(&output, 1, "belongs to another arbiter");
    assert_eq!(home.run(&["fsck"]).status.code(), Some(0), "and it is unharmed");

    // A folder with something else in it.
    fs::create_dir(home.path("pictures")).unwrap();
    fs::write(home.path("pictures/cat.jpg"), "meow").unwrap();
    let output = home.run(&["serve", "--listen", "127.0.0.1:0", "--data", "pictures"]);
    assert_fails(&output, 1, "not empty");
}

#[test]
fn a_data_folder_that_cannot_be_written_is_refused() {
    let home = Home::new();
    fs::set_permissions(home.path("data"), fs::Permissions::from_mode(0o500)).unwrap();
    let may_write_anywhere = fs::write(home.path("data/probe"), "").is_ok();
    // The superuser is not stopped by a mode; nobody can make a folder in sysfs.
    let data = if may_write_anywhere { "/sys/arbiter-data" } else { "data" };
    assert_fails(&home.run(&["serve", "--listen", "127.0.0.1:0", "--data", data]), 1, "data folder");
    fs::set_permissions(home.path("data"), fs::Permissions::from_mode(0o700)).unwrap();
}

/// Changes one stored value while nobody serves.
fn change(data: &Path, family: Family, key: &[u8], change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
    let options = rocksdb::Options::default();
    let names = rocksdb::DB::list_cf(&options, data).unwrap();
    let db = rocksdb::DB::open_cf(&options, data, &names).unwrap();
    let family = db.cf_handle(family.name()).unwrap();
    let stored = db.get_cf(family, key).unwrap().unwrap();
    db.put_cf(family, key, change(stored)).unwrap();
}

#[test]
fn the_data_of_a_newer_version_is_refused_and_left_alone() {
    let home = Home::new();
    assert_eq!(home.serve(&[]).stop().0, Some(0));
    let data = home.path("data");
    let version = |number: u32| {
        change(&data, Family::Meta, schema::FORMAT_KEY, |_| number.to_be_bytes().to_vec());
    };
    version(schema::FORMAT + 1);
    // The newer version has a family that this one does not know.
    let options = rocksdb::Options::default();
    let names = rocksdb::DB::list_cf(&options, &data).unwrap();
    let mut db = rocksdb::DB::open_cf(&options, &data, &names).unwrap();
    db.create_cf("escrows", &options).unwrap();
    db.put_cf(db.cf_handle("escrows").unwrap(), b"key", b"value").unwrap();
    drop(db);
    let part = "it has format version 5, this program reads version 4: upgrade arbiter";
    for _ in 0..2 {
        assert_fails(&home.run(&["serve", "--listen", "127.0.0.1:0"]), 1, part);
        assert_fails(&home.run(&["fsck"]), 2, part);
    }
    let names = rocksdb::DB::list_cf(&options, &data).unwrap();
    let mut db = rocksdb::DB::open_cf(&options, &data, &names).unwrap();
    assert_eq!(db.get_cf(db.cf_handle("escrows").unwrap(), b"key").unwrap().unwrap(), b"value");
    db.drop_cf("escrows").unwrap();
    drop(db);
    version(schema::FORMAT);
    assert_eq!(home.run(&["fsck"]).status.code(), Some(0), "and it is unharmed");
}

#[test]
fn a_clock_far_ahead_of_the_log_needs_the_operators_word() {
    let home = Home::new();
    assert_eq!(home.serve(&[]).stop().0, Some(0));
    // As if the newest ruling were from 2001.
    change(&home.path("data"), Family::Meta, schema::HEAD_KEY, |stored| {
        let value = schema::unprotect(Family::Meta, schema::HEAD_KEY, stored).unwrap();
        let mut head = schema::decode_head(&value).unwrap();
        head.time.0 = 1_000_000_000_000;
        schema::protect(Family::Meta, schema::HEAD_KEY, &schema::encode_head(&head))
    });
    // The journal knows better.
    let output = home.run(&["serve", "--listen", "127.0.0.1:0"]);
    assert_fails(&output, 1, "its commit 2 is another than that of the data folder");
    fs::remove_dir_all(home.path("journal")).unwrap();
    let output = home.run(&["serve", "--listen", "127.0.0.1:0"]);
    assert_fails(&output, 1, "more than a year after the newest time in the log");
    assert_eq!(home.serve(&["--accept-clock"]).stop().0, Some(0));
    assert_eq!(home.serve(&[]).stop().0, Some(0), "once is enough");
}

// ---- TLS

async fn info_over(address: SocketAddr, tls: Option<ClientTlsConfig>) -> Result<String, String> {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}")).unwrap();
    if let Some(tls) = tls {
        endpoint = endpoint.tls_config(tls.domain_name("localhost")).unwrap();
    }
    let channel: Channel = endpoint.connect().await.map_err(|error| format!("{error:?}"))?;
    let mut parties = ArbiterServiceClient::new(channel);
    let info = parties.get_arbiter_info(proto::GetArbiterInfoRequest {}).await;
    info.map(|info| info.into_inner().log_origin).map_err(|status| format!("{status:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_served_and_a_client_authority_is_enforced() {
    let home = Home::new();
    let (authority, clients, strangers) = (Authority::new(), Authority::new(), Authority::new());
    let (cert, key) = authority.server("localhost");
    for (name, pem) in [("cert.pem", &cert), ("key.pem", &key), ("clients.pem", &clients.pem())] {
        fs::write(home.path(name), pem).unwrap();
    }
    let trusting = |ca: &Authority| ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca.pem()));
    let origin = home.identity().log_origin.to_string();

    let tls = ["--tls-cert", "cert.pem", "--tls-key", "key.pem"];
    let running = home.serve(&tls);
    let address = running.address();
    assert_eq!(info_over(address, Some(trusting(&authority))).await, Ok(origin.clone()));
    assert!(info_over(address, Some(trusting(&strangers))).await.is_err(), "another authority");
    assert!(info_over(address, None).await.is_err(), "plaintext");
    assert_eq!(running.stop().0, Some(0));

    let running = home.serve(&[&tls[..], &["--tls-client-ca", "clients.pem"]].concat());
    let address = running.address();
    let known = |ca: &Authority| {
        let (cert, key) = ca.client();
        trusting(&authority).identity(Identity::from_pem(cert, key))
    };
    assert_eq!(info_over(address, Some(known(&clients))).await, Ok(origin));
    assert!(info_over(address, Some(known(&strangers))).await.is_err(), "a stranger's certificate");
    assert!(info_over(address, Some(trusting(&authority))).await.is_err(), "no certificate");
    assert_eq!(running.stop().0, Some(0));
}

#[test]
fn tls_files_that_cannot_be_used_are_refused_by_name() {
    let home = Home::new();
    let (cert, key) = Authority::new().server("localhost");
    let (_, other_key) = Authority::new().server("localhost");
    for (name, pem) in [
        ("cert.pem", cert.as_str()),
        ("key.pem", &key),
        ("other.pem", &other_key),
        ("empty.pem", ""),
        ("text.pem", "no certificate"),
    ] {
        fs::write(home.path(name), pem).unwrap();
    }
    let check = |cert: &str, key: &str, more: &[&str]| {
        home.run(&[&["check-config", "--tls-cert", cert, "--tls-key", key], more].concat())
    };
    assert!(check("cert.pem", "key.pem", &[]).status.success());
    assert_fails(&check("nowhere.pem", "key.pem", &[]), 2, "tls_cert: cannot use nowhere.pem");
    assert_fails(&check("cert.pem", "nowhere.pem", &[]), 2, "tls_key: cannot use nowhere.pem");
    for (cert, key) in [
        ("cert.pem", "empty.pem"),
        ("cert.pem", "text.pem"),
        ("cert.pem", "other.pem"),
        ("empty.pem", "key.pem"),
        ("text.pem", "key.pem"),
    ] {
        assert_fails(&check(cert, key, &[]), 2, "PEM");
    }
    assert!(check("cert.pem", "key.pem", &["--listen", "0.0.0.0:7373"]).status.success());
    let ca = |file| check("cert.pem", "key.pem", &["--tls-client-ca", file]);
    assert!(ca("cert.pem").status.success());
    assert_fails(&ca("nowhere.pem"), 2, "tls_client_ca: cannot use nowhere.pem");
    for file in ["empty.pem", "text.pem"] {
        assert_fails(&ca(file), 2, "PEM");
    }
}

// ---- fsck and broken disks

#[tokio::test(flavor = "multi_thread")]
async fn fsck_tells_clean_from_damaged_from_unchecked() {
    let home = Home::new();
    let never = "this arbiter has never served: there is no log to check in ";
    assert_fails(&home.run(&["fsck"]), 2, never);
    // Cut off before the first commit.
    let keys = arbiter::keys::file::load(&home.path("arbiter.key")).unwrap();
    drop(RocksStore::open(&home.path("data"), &home.identity(), keys.vault()).unwrap());
    assert_fails(&home.run(&["fsck"]), 2, never);
    assert_fails(&home.run(&["fsck", "--data", "nowhere"]), 2, "nowhere");
    assert!(!home.path("nowhere").exists(), "fsck makes nothing");

    let running = home.serve(&[]);
    let cast = Cast::new(home.identity());
    let mut parties = running.parties().await;
    for _ in 0..3 {
        let agreement = cast.contract();
        resolve(&mut parties, cast.case(&agreement, Originator, Resolve)).await.unwrap();
    }
    assert_eq!(running.stop().0, Some(0));
    let clean = home.run(&["fsck"]);
    assert_eq!(clean.status.code(), Some(0), "{}", text(&clean.stderr));
    assert!(text(&clean.stdout).starts_with("clean: 5 leaves, 3 verdicts, 0 attestations, 0 erased, root "));

    // One bit in leaf 2.
    let data = home.path("data");
    change(&data, Family::Leaves, &schema::leaf_key(2), |mut leaf| {
        leaf[20] ^= 1;
        leaf
    });
    assert_fails(&home.run(&["fsck"]), 1, "fault: leaf 2");
    assert_fails(&home.run(&["serve", "--listen", "127.0.0.1:0"]), 1, "data folder");
}

/// S33: a full disk, as far as a process can have one of its own: files may not grow any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_ends_the_process_with_an_error() {
    let home = Home::new();
    let program = env!("CARGO_BIN_EXE_arbiter");
    let mut command = Command::new("/bin/sh");
    let script = format!("trap '' XFSZ; ulimit -f 512; exec {program} serve --listen 127.0.0.1:0");
    command.args(["-c", &script]).current_dir(home.0.path()).env_clear();
    let running = Running::start(command);
    let cast = Cast::new(home.identity());
    let mut parties = running.parties().await;
    let mut acknowledged = vec![];
    // 256 KiB are full after some dozens of rulings.
    loop {
        let agreement = cast.contract();
        let case = cast.case(&agreement, Originator, Resolve);
        match resolve(&mut parties, case.clone()).await {
            Ok(receipt) => acknowledged.push((case, receipt)),
            Err(status) => {
                assert_eq!(status.code(), tonic::Code::Unavailable, "{status:?}");
                break;
            }
        }
        assert!(acknowledged.len() < 5000, "the disk is never full");
    }
    let (code, log) = tokio::task::spawn_blocking(|| running.end()).await.unwrap();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.lines().any(|line| line.starts_with("arbiter: the engine stopped")), "{log}");
    assert!(!log.contains("panicked"), "{log}");

    // With room again it goes on, and nothing acknowledged is lost or changed.
    assert_eq!(home.run(&["fsck"]).status.code(), Some(0));
    let running = home.serve(&[]);
    let mut parties = running.parties().await;
    for (case, receipt) in acknowledged {
        assert_eq!(resolve(&mut parties, case).await.unwrap(), receipt);
    }
    assert_eq!(running.stop().0, Some(0));
}
