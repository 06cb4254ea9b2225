//! The real program: what `ledger init` leaves, how it serves and issues, what is refused.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use arbiter_protocol::ids::PublicKey;
use arbiter_protocol::message::account::AccountAction;
use arbiter_protocol::time::UnixMillis;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use crate::support::*;

struct Home(TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        let made = home.run(&["init", "--dir", ".", "--name", "Bank \"of\" tests"]);
        assert!(made.status.success(), "{}", text(&made.stderr));
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_arbiter"));
        command.arg("ledger").args(arguments).current_dir(self.0.path()).env_clear();
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn key(&self) -> PublicKey {
        let info: serde_json::Value = serde_json::from_slice(&self.run(&["info", "--json"]).stdout).unwrap();
        PublicKey::parse_hex(info["key"].as_str().unwrap(), "key").unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[track_caller]
fn assert_fails(output: &Output, code: i32, part: &str) {
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stderr.contains(part), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
}

/// A serving process; killed if the test ends before it does.
struct Running {
    child: Child,
    address: String,
}

impl Running {
    fn start(home: &Home, arguments: &[&str]) -> Self {
        let all = [&["serve", "--listen", "127.0.0.1:0", "--log-filter", "error"], arguments].concat();
        let mut child = home.command(&all).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        let Some(address) = ready.split_whitespace().find_map(|word| word.strip_prefix("address=")) else {
            let mut errors = String::new();
            child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
            panic!("it does not serve: {ready}{errors}");
        };
        assert!(ready.starts_with("ledger ready "), "{ready}");
        Self { address: address.to_owned(), child }
    }

    fn stop(mut self) -> Option<i32> {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail if the process has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn now() -> UnixMillis {
    use arbiter::clock::Clock as _;
    arbiter::clock::SystemClock.now()
}

#[test]
fn init_makes_private_files_and_overwrites_nothing() {
    let home = Home(tempfile::tempdir().unwrap());
    let made =
        home.run(&["init", "--dir", "new/bank", "--name", "N", "--currency", "EUR/2", "--currency", "JPY/0"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let mode = |name| fs::metadata(home.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode("new/bank"), mode("new/bank/ledger.key"), mode("new/bank/ledger.toml")),
        (0o700, 0o600, 0o600)
    );
    let info = text(&home.run(&["info", "--config", "new/bank"]).stdout);
    let next = "next     arbiter ledger serve --config new/bank\n";
    assert_eq!(text(&made.stdout), format!("made     new/bank\n{info}{next}"));
    assert!(info.contains("issues   EUR/2 JPY/0\n"), "{info}");
    let seed = fs::read_to_string(home.path("new/bank/ledger.key")).unwrap();
    assert!(!info.contains(seed.split('"').nth(1).unwrap()));

    let key = fs::read(home.path("new/bank/ledger.key")).unwrap();
    assert_fails(&home.run(&["init", "--dir", "new/bank", "--name", "N"]), 2, "exists already");
    assert_eq!(fs::read(home.path("new/bank/ledger.key")).unwrap(), key);
    for bad in ["EUR", "eur/2", "EUR/19", "EUR/02"] {
        let made = home.run(&["init", "--dir", "other", "--name", "N", "--currency", bad]);
        assert_fails(&made, 2, "such as EUR/2");
        assert!(!home.path("other").exists());
    }
    for command in ["info", "serve", "fsck"] {
        assert_fails(&home.run(&[command]), 2, "no ledger.toml here: use --config DIR, or make a ledger");
    }
}

#[test]
fn wrong_settings_are_refused_by_name() {
    let home = Home::new();
    let config = fs::read_to_string(home.path("ledger.toml")).unwrap();
    for (line, part) in [
        ("longest_hold_days = 0\n", "longest_hold_days is 0"),
        ("grace_seconds = 86401\n", "grace_seconds is 86401"),
        ("max_request = 3\n", "max_request"),
        ("tls_cert = \"cert.pem\"\n", "tls_cert needs tls_key"),
    ] {
        fs::write(home.path("ledger.toml"), format!("{config}{line}")).unwrap();
        assert_fails(&home.run(&["serve"]), 2, part);
    }
    fs::write(home.path("ledger.toml"), &config).unwrap();
    assert_fails(&home.run(&["serve", "--listen", "0.0.0.0:0"]), 2, "not loopback");
    fs::set_permissions(home.path("ledger.key"), fs::Permissions::from_mode(0o644)).unwrap();
    assert_fails(&home.run(&["info"]), 2, "chmod 600");
    assert!(!home.path("ledger.redb").exists(), "nothing was opened");
}

/// Accounts are opened, money is issued while it serves, and the book is checked when it does not.
#[tokio::test(flavor = "multi_thread")]
async fn money_is_issued_to_open_accounts_of_a_running_ledger() {
    let home = Home::new();
    assert_fails(&home.run(&["fsck"]), 2, "never served");
    let running = Running::start(&home, &[]);
    let address = format!("http://{}", running.address);
    let issue = |arguments: &[&str]| {
        let to = key(ALICE).to_string();
        home.run(&[&["issue", "--to", &to, "--address", &address], arguments].concat())
    };
    assert_fails(&issue(&["--amount", "100.00 EUR"]), 1, "the payee has no account here");
    assert_fails(&home.run(&["fsck"]), 2, "another process has the book open");
    assert_fails(&home.run(&["serve", "--listen", "127.0.0.1:0"]), 1, "another process has the book open");

    let cast = Cast { ledger: home.key() };
    let mut caller = Caller { client: client(&running.address).await, ledger: cast.ledger };
    caller.order_account(cast.account_order(ALICE, euro(), AccountAction::Open)).await.unwrap();
    let issued = text(&issue(&["--amount", "100.00 EUR"]).stdout);
    assert!(issued.contains("issued   100.00 EUR to "), "{issued}");
    // No answer came? The same reference again is the same payment.
    let reference = issued.split_whitespace().nth(1).unwrap().to_owned();
    let again = text(&issue(&["--amount", "100.00 EUR", "--reference", &reference]).stdout);
    assert_eq!(again, issued);
    assert!(issue(&["--amount", "1.00 EUR"]).status.success());
    assert_eq!(caller.account(cast.query(ALICE, now())).await.unwrap().available, 10_100);
    assert_fails(&issue(&["--amount", "1.000 EUR"]), 1, "this ledger has no EUR/3");
    assert_fails(&issue(&["--amount", "0.00 EUR"]), 2, "--amount");
    assert_fails(&issue(&["--amount", "1.00 EUR", "--reference", "ab"]), 2, "--reference");
    assert_eq!(running.stop(), Some(0));
    assert_fails(&issue(&["--amount", "1.00 EUR"]), 1, "is the ledger running?");

    let clean = home.run(&["fsck"]);
    assert_eq!(
        text(&clean.stdout),
        "clean: 4 entries, 2 payments, 0 reserved\nEUR/2  101.00 EUR in 1 open accounts\n"
    );
    // Another key is another ledger.
    fs::remove_file(home.path("ledger.key")).unwrap();
    fs::remove_file(home.path("ledger.toml")).unwrap();
    fs::rename(home.path("ledger.redb"), home.path("old")).unwrap();
    assert!(home.run(&["init", "--dir", ".", "--name", "Other"]).status.success());
    fs::rename(home.path("old"), home.path("ledger.redb")).unwrap();
    assert_fails(&home.run(&["serve"]), 1, "the book belongs to the ledger with key");
    assert_fails(&home.run(&["fsck"]), 2, "the book belongs to the ledger with key");
}

/// TLS as the arbiter's: with a certificate it serves nothing else, and `issue` checks it.
#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_serves_tls() {
    let home = Home::new();
    let mut authority = CertificateParams::new(Vec::<String>::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let own = KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names).unwrap().signed_by(&own, &authority).unwrap();
    fs::write(home.path("ca.pem"), authority.pem()).unwrap();
    fs::write(home.path("cert.pem"), certificate.pem()).unwrap();
    fs::write(home.path("cert.key"), own.serialize_pem()).unwrap();
    let running = Running::start(&home, &["--tls-cert", "cert.pem", "--tls-key", "cert.key"]);
    let to = key(ALICE).to_string();
    let issue = |scheme: &str, more: &[&str]| {
        let address = format!("{scheme}://{}", running.address);
        let first = ["issue", "--amount", "1.00 EUR", "--to", &to, "--address", &address];
        home.run(&[&first[..], more].concat())
    };
    // It was heard, so TLS works both ways.
    assert_fails(&issue("https", &["--ca", "ca.pem"]), 1, "the payee has no account here");
    assert_fails(&issue("https", &["--ca", "nothing.pem"]), 2, "--ca");
    assert_fails(&issue("https", &[]), 1, "no answer that counts");
    assert_fails(&issue("http", &[]), 1, "no answer that counts");
    assert_eq!(running.stop(), Some(0));
}
