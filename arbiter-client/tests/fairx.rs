//! The program `fairx` as real processes: two parties, loopback gRPC, and no arbiter running at all.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A test may stop where it likes.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use arbiter_client::bundle::{Bundle, Claim};
use arbiter_client::identity::ArbiterPin;
use arbiter_protocol::crypto::{MemorySigner, Signer as _};
use arbiter_protocol::evidence::checkpoint::Origin;
use arbiter_protocol::message::agreement::ArbiterIdentity;
use arbiter_protocol::role::arbiter::RULES;
use serde_json::Value;
use tempfile::TempDir;
use zeroize::Zeroizing;

const FAIRX: &str = env!("CARGO_BIN_EXE_fairx");
const PDF: &[u8] = b"%PDF-1.7\nA contract of two pages.\n%%EOF\n";

/// A pin of an arbiter that nobody runs: port 9 of loopback answers nobody.
fn pin(byte: u8) -> ArbiterPin {
    let key = |byte| MemorySigner::from_seed(&Zeroizing::new([byte; 32])).public_key();
    let identity = ArbiterIdentity {
        key: key(byte),
        log_key: key(byte + 1),
        log_origin: Origin::parse("arbiter.example/evidence").unwrap(),
        rules: RULES.into(),
    };
    ArbiterPin::new(identity, "http://127.0.0.1:9").unwrap()
}

/// A party: a home folder and files beside it.
struct Party {
    folder: TempDir,
    id: String,
}

impl Party {
    fn new(name: &str) -> Self {
        Self::with_pin(name, &pin(3))
    }

    fn with_pin(name: &str, pin: &ArbiterPin) -> Self {
        let mut party = Self { folder: tempfile::tempdir().unwrap(), id: String::new() };
        let pin_file = party.file("arbiter.pin", format!("# our arbiter\n{pin}\n").as_bytes());
        let made = party.run(&["init", "--name", name, "--arbiter", pin_file.to_str().unwrap()]);
        assert_eq!(made.status.code(), Some(0), "{}", text(&made));
        party.id = text(&party.run(&["id"])).trim().to_owned();
        party
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// A command in a session of its own: it has no controlling terminal, whatever started the tests.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("setsid");
        command.args(["--wait", FAIRX, "--home"]).arg(self.home()).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Starts `accept` and waits until it listens.
    fn accept(&self, arguments: &[&str]) -> Accepting {
        let mut child = self
            .command(
                &[
                    &["accept", "--listen", "127.0.0.1:0", "--linger", "200ms", "--patience", "30s"],
                    arguments,
                ]
                .concat(),
            )
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut accepting = Accepting { child, output, said: String::new(), address: String::new() };
        accepting.read_until("listening on ");
        accepting.address = accepting.said.rsplit("listening on ").next().unwrap().trim().to_owned();
        accepting
    }

    fn offer(&self, to: &str, accepting: &Accepting, arguments: &[&str]) -> Output {
        let common = [
            "--to",
            to,
            "--connect",
            &accepting.address,
            "--yes",
            "--linger",
            "200ms",
            "--retry-for",
            "300ms",
            "--patience",
            "30s",
        ];
        self.run(&[&["offer"], arguments, &common].concat())
    }

    fn bundle(&self) -> PathBuf {
        let mut files = std::fs::read_dir(self.home().join("evidence")).unwrap();
        let file = files.next().expect("a bundle").unwrap().path();
        assert!(files.next().is_none(), "one exchange, one bundle");
        file
    }

    fn received(&self) -> Vec<PathBuf> {
        let Ok(exchanges) = std::fs::read_dir(self.home().join("received")) else { return Vec::new() };
        exchanges
            .flat_map(|exchange| std::fs::read_dir(exchange.unwrap().path()).unwrap())
            .map(|file| file.unwrap().path())
            .collect()
    }
}

/// A running `accept`. Killed when dropped.
struct Accepting {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
    said: String,
    address: String,
}

impl Accepting {
    /// Reads lines until one holds `what`.
    fn read_until(&mut self, what: &str) {
        while !self.said.contains(what) {
            assert_ne!(self.output.read_line(&mut self.said).unwrap(), 0, "ended early: {}", self.said);
        }
    }

    /// Waits for the end.
    fn end(mut self) -> (ExitStatus, String) {
        self.output.read_to_string(&mut self.said).unwrap();
        let mut errors = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        self.said.push_str(&errors);
        (self.child.wait().unwrap(), std::mem::take(&mut self.said))
    }
}

impl Drop for Accepting {
    fn drop(&mut self) {
        // Ended already in the normal case.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a program printed, first to its output, then its errors.
fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

fn verify(verifier: &Party, bundle: &Path, arguments: &[&str]) -> Output {
    let pin = pin(3).to_string();
    let common = ["verify", bundle.to_str().unwrap(), "--offline", "--arbiter", &pin];
    verifier.run(&[&common, arguments].concat())
}

/// The lines of the screen that show what is signed: hex groups, words, whole id.
fn fingerprint(said: &str) -> Vec<String> {
    let mut lines = said.lines().skip_while(|line| !line.contains("What is signed"));
    lines.next().expect("a screen");
    lines.take(3).map(|line| line.trim().to_owned()).collect()
}

/// Both ended well without an arbiter, saw the same fingerprint, and a stranger verifies both bundles.
fn both_good(alice: &Party, bob: &Party, offered: &Output, accepted: &(ExitStatus, String), file: &Path) {
    let (alice_said, (status, bob_said)) = (text(offered), accepted);
    assert_eq!(offered.status.code(), Some(0), "{alice_said}\n---\n{bob_said}");
    assert_eq!(status.code(), Some(0), "{bob_said}");
    for said in [&alice_said, bob_said] {
        assert!(said.contains("outcome  completed"), "{said}");
        assert!(said.contains("approved by --yes: no person was asked"), "{said}");
        assert!(!said.contains("arbiter ->") && !said.contains("\u{1b}"), "{said}");
    }
    let seen = fingerprint(&alice_said);
    assert_eq!(seen, fingerprint(bob_said));
    let stranger = Party::new("Stranger");
    for party in [alice, bob] {
        let bundle = party.bundle();
        let report = verify(&stranger, &bundle, &["--json", "--file", file.to_str().unwrap()]);
        assert_eq!(report.status.code(), Some(0), "{}", text(&report));
        let report: Value = serde_json::from_slice(&report.stdout).unwrap();
        assert_eq!(report["outcome"], "completed");
        assert_eq!(report["exchange_id"], seen[2].as_str());
        assert_eq!(report["fingerprint"], format!("{} · {}", seen[0], seen[1]));
        let story = stranger.run(&["explain", bundle.to_str().unwrap()]);
        assert_eq!(story.status.code(), Some(0));
        assert!(text(&story).contains("Nothing is owed any more"), "{}", text(&story));
    }
}

#[test]
fn two_processes_sign_a_contract_without_an_arbiter() {
    let (alice, bob) = (Party::new("Alice"), Party::new("Bob"));
    let (ours, theirs) = (alice.file("contract.pdf", PDF), bob.file("copy.pdf", PDF));
    let accepting = bob.accept(&["--yes", "--file", theirs.to_str().unwrap()]);
    let contract = ["contract", "--file", ours.to_str().unwrap(), "--title", "Contract of sale"];
    let offered = alice.offer(&bob.id, &accepting, &contract);
    let accepted = accepting.end();
    both_good(&alice, &bob, &offered, &accepted, &ours);
    assert!(accepted.1.contains("| Contract of sale"), "{}", accepted.1);
    assert!(!accepted.1.contains("has not seen the file"), "{}", accepted.1);

    // The journal knows it, and going on with a finished exchange changes nothing.
    let id = &fingerprint(&accepted.1)[2];
    let list = text(&bob.run(&["status"]));
    assert!(list.contains("completed") && list.contains("Alice") && list.contains(&id[..16]), "{list}");
    assert!(text(&bob.run(&["status", &id[..8]])).contains("Contract of sale"));
    let before = std::fs::read(bob.bundle()).unwrap();
    let again = bob.run(&["resume", &id[..8], "--patience", "100ms", "--linger", "100ms"]);
    assert_eq!(again.status.code(), Some(0), "{}", text(&again));
    assert_eq!(std::fs::read(bob.bundle()).unwrap(), before);
}

#[test]
fn two_processes_deliver_a_file_for_a_receipt_without_an_arbiter() {
    let (alice, bob) = (Party::new("Alice"), Party::new("Bob"));
    // More than one chunk, and not a whole number of them.
    let notice: Vec<u8> = PDF.iter().copied().cycle().take(200_001).collect();
    let file = alice.file("notice.pdf", &notice);
    let accepting = bob.accept(&["--yes", "--from", &alice.id]);
    let delivery = ["delivery", "--file", file.to_str().unwrap(), "--complain-by", "10m"];
    let offered = alice.offer(&bob.id, &accepting, &delivery);
    both_good(&alice, &bob, &offered, &accepting.end(), &file);
    let [received] = &bob.received()[..] else { panic!("one file") };
    assert_eq!(std::fs::read(received).unwrap(), notice);
    assert!(alice.received().is_empty());
}

#[test]
fn two_processes_exchange_a_receipt_for_a_described_file_without_an_arbiter() {
    let (alice, bob) = (Party::new("Alice"), Party::new("Bob"));
    let file = bob.file("report, final.pdf", PDF);
    let want = text(&bob.run(&["describe", file.to_str().unwrap()]));
    let accepting = bob.accept(&["--yes", "--give", file.to_str().unwrap()]);
    let offered = alice.offer(&bob.id, &accepting, &["request", "--want", want.trim()]);
    both_good(&alice, &bob, &offered, &accepting.end(), &file);
    let [received] = &alice.received()[..] else { panic!("one file") };
    assert_eq!(std::fs::read(received).unwrap(), PDF);
    assert_eq!(received.file_name().unwrap(), "report, final.pdf");
}

/// Rule 5: without a terminal nothing is approved, whatever a pipe says; nothing is signed.
#[test]
fn without_a_terminal_nothing_is_approved() {
    let (alice, bob) = (Party::new("Alice"), Party::new("Bob"));
    let file = alice.file("contract.pdf", PDF);
    let offer =
        ["offer", "contract", "--file", file.to_str().unwrap(), "--to", &bob.id, "--connect", "127.0.0.1:9"];
    for arguments in [&offer[..], &["accept", "--listen", "127.0.0.1:0"]] {
        let mut child = alice.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        // The program may have ended before it is written to.
        let _ = child.stdin.take().unwrap().write_all("yes\ny\n\n".repeat(100).as_bytes());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        assert!(text(&output).contains("no terminal on which a person could approve"), "{}", text(&output));
    }
    assert!(text(&alice.run(&["status"])).contains("no exchange"));
}

/// Runs an offer on a terminal of its own and types what `answer` makes of the screen.
fn offer_on_a_terminal(
    alice: &Party,
    bob: &Party,
    at: &str,
    answer: impl Fn(&[String]) -> String,
) -> (Option<i32>, String) {
    let file = alice.file("contract.pdf", PDF);
    let line = format!(
        "{FAIRX} --home {} offer contract --file {} --to {} --connect {at} --linger 200ms --retry-for 300ms",
        alice.home().display(),
        file.display(),
        bob.id
    );
    let mut child = Command::new("script")
        .args(["--quiet", "--return", "--echo", "never", "--command", &line, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (mut said, mut buffer) = (Vec::new(), [0; 4096]);
    while !String::from_utf8_lossy(&said).contains("\n  > ") {
        let count = output.read(&mut buffer).unwrap();
        assert_ne!(count, 0, "{}", String::from_utf8_lossy(&said));
        said.extend_from_slice(&buffer[..count]);
    }
    let screen = String::from_utf8_lossy(&said).replace('\r', "");
    input.write_all(answer(&fingerprint(&screen)).as_bytes()).unwrap();
    input.flush().unwrap();
    output.read_to_end(&mut said).unwrap();
    drop(input);
    (child.wait().unwrap().code(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn a_person_approves_by_typing_the_first_word_and_nothing_else() {
    let first = |seen: &[String]| seen[1].split('-').next().unwrap().to_owned();
    let (alice, bob) = (Party::new("Alice"), Party::new("Bob"));
    type Answer<'a> = &'a dyn Fn(&[String]) -> String;
    let refusals: [Answer<'_>; 5] = [
        &|_| "\n".into(),
        &|_| "yes\n".into(),
        &|_| "y\n".into(),
        &|seen| format!("{}\n", seen[1]),
        &|seen| format!("{}x\n", first(seen)),
    ];
    for answer in refusals {
        let (code, said) = offer_on_a_terminal(&alice, &bob, "127.0.0.1:9", answer);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("not approved; nothing was signed"), "{said}");
    }
    assert!(text(&alice.run(&["status"])).contains("no exchange"));

    let accepting = bob.accept(&["--yes"]);
    let (code, said) =
        offer_on_a_terminal(&alice, &bob, &accepting.address, |seen| format!("{}\n", first(seen)));
    let (status, bob_said) = accepting.end();
    assert_eq!((code, status.code()), (Some(0), Some(0)), "{said}\n---\n{bob_said}");
    assert!(said.contains("outcome  completed") && !said.contains("--yes"), "{said}");
    assert!(bob_said.contains("has not seen the file"), "{bob_said}");
}

/// Story B, cheat 3: one altered byte is seen before anything is signed.
#[test]
fn an_offer_about_another_file_is_refused_before_the_screen() {
    let (alice, bob) = (Party::new("Alice"), Party::new("Bob"));
    let mut altered = PDF.to_vec();
    altered[15] ^= 1;
    let (file, copy) = (alice.file("contract.pdf", &altered), bob.file("contract.pdf", PDF));
    let accepting = bob.accept(&["--yes", "--file", copy.to_str().unwrap()]);
    let offered = alice.offer(&bob.id, &accepting, &["contract", "--file", file.to_str().unwrap()]);
    let (status, said) = accepting.end();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("NOT about your file") && !said.contains("You give"), "{said}");
    assert!(text(&bob.run(&["status"])).contains("no exchange"));
    // Alice asks the arbiter to end it; nobody answers; her place is kept.
    assert_eq!(offered.status.code(), Some(4), "{}", text(&offered));
    assert!(text(&offered).contains("declines: OFFER_NOT_AS_EXPECTED"), "{}", text(&offered));
    assert_eq!(Bundle::read(&alice.bundle()).unwrap().outcome, Claim::Open);
    assert!(text(&alice.run(&["status"])).contains("asking the arbiter to end it"));
}

/// A stranger's offer is told and declined, signs nothing, and does not end the waiting.
#[test]
fn offers_for_somebody_else_from_somebody_else_or_under_another_arbiter_are_declined() {
    let (alice, carol) = (Party::new("Alice"), Party::new("Carol"));
    let other = Party::with_pin("Other", &pin(30));
    let file = alice.file("contract.pdf", PDF);
    let contract = ["contract", "--file", file.to_str().unwrap()];
    let bob = Party::new("Bob");
    for (party, to, arguments, reason) in [
        (&bob, &carol.id, &["--yes"][..], "the offer is for somebody else"),
        (&other, &other.id, &["--yes"], "not the one pinned here"),
        (&bob, &bob.id, &["--yes", "--from", &carol.id], "it is from somebody else"),
    ] {
        let mut accepting = party.accept(arguments);
        let _ = alice.offer(to, &accepting, &contract);
        accepting.read_until("; waits on");
        assert!(accepting.said.contains(reason), "{}", accepting.said);
        drop(accepting);
        assert!(text(&party.run(&["status"])).contains("no exchange"));
    }
}

#[test]
fn the_right_offer_is_accepted_after_a_strangers() {
    let (alice, bob, carol) = (Party::new("Alice"), Party::new("Bob"), Party::new("Carol"));
    let file = alice.file("contract.pdf", PDF);
    let contract = ["contract", "--file", file.to_str().unwrap()];
    let mut accepting = bob.accept(&["--yes", "--from", &alice.id]);
    let _ = carol.offer(&bob.id, &accepting, &contract);
    accepting.read_until("; waits on");
    let offered = alice.offer(&bob.id, &accepting, &contract);
    assert_eq!(offered.status.code(), Some(0), "{}", text(&offered));
    let (status, said) = accepting.end();
    assert_eq!(status.code(), Some(0), "{said}");
}

#[test]
fn verify_exits_0_good_1_bad_2_usage() {
    let (alice, bob) = (Party::new("Alice"), Party::new("Bob"));
    let file = alice.file("notice.pdf", PDF);
    let accepting = bob.accept(&["--yes"]);
    let offered = alice.offer(&bob.id, &accepting, &["delivery", "--file", file.to_str().unwrap()]);
    assert_eq!(offered.status.code(), Some(0), "{}", text(&offered));
    assert_eq!(accepting.end().0.code(), Some(0));
    let good = std::fs::read(alice.bundle()).unwrap();
    let code = |output: &Output| (output.status.code(), text(output));

    let (status, said) = code(&verify(&bob, &alice.bundle(), &[]));
    assert_eq!(status, Some(0), "{said}");
    for part in ["GOOD: completed", "This proves", "This does not prove", "true, lawful", "arbiter-pinned"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    // Without --arbiter the home's own pin counts; without any home the report is loud about it.
    assert!(text(&bob.run(&["verify", alice.bundle().to_str().unwrap()])).contains("arbiter-pinned"));
    let nobody =
        Command::new(FAIRX).args(["--home", "/nonexistent", "verify"]).arg(alice.bundle()).output().unwrap();
    assert_eq!(nobody.status.code(), Some(0));
    assert!(text(&nobody).contains("No arbiter was pinned"), "{}", text(&nobody));

    let other = alice.file("other.pdf", b"%PDF-1.7 other");
    assert_eq!(verify(&bob, &alice.bundle(), &["--file", other.to_str().unwrap()]).status.code(), Some(1));
    let wrong_pin = pin(40).to_string();
    let wrong = bob.run(&["verify", alice.bundle().to_str().unwrap(), "--arbiter", &wrong_pin]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(text(&wrong).contains("BAD  arbiter-pinned"), "{}", text(&wrong));

    let mut altered = good.clone();
    let position = altered.windows(9).position(|part| part == b"\"offer\": ").unwrap() + 300;
    altered[position] = if altered[position] == b'A' { b'B' } else { b'A' };
    for (name, bytes, says) in [
        ("altered", altered, "BAD"),
        ("cut", good[..good.len() / 2].to_vec(), "cut off"),
        ("empty", vec![], "cut off"),
        ("garbage", b"%PDF-1.7".to_vec(), "not an evidence bundle"),
        ("large", vec![b' '; 2 << 20], "larger than"),
    ] {
        let bad = alice.file(name, &bytes);
        let (status, said) = code(&verify(&bob, &bad, &[]));
        assert_eq!(status, Some(1), "{name}: {said}");
        assert!(name == "altered" || said.contains(says), "{name}: {said}");
        assert_eq!(bob.run(&["explain", bad.to_str().unwrap()]).status.code(), Some(1));
    }
    for usage in [&["verify"][..], &["verify", "/nonexistent/x.fxe"], &["verify", "x", "--nonsense"]] {
        assert_eq!(bob.run(usage).status.code(), Some(2), "{usage:?}");
    }
    let bundle = alice.bundle();
    let bad_pin = bob.run(&["verify", bundle.to_str().unwrap(), "--arbiter", "fairx-arbiter:v1:AAAA"]);
    assert_eq!(bad_pin.status.code(), Some(2));
}

#[test]
fn an_identity_is_never_overwritten_and_must_be_private() {
    let alice = Party::new("Alice");
    let again = alice.run(&["init", "--name", "Eve"]);
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again).contains("never overwritten"), "{}", text(&again));
    assert_eq!(text(&alice.run(&["id"])).trim(), alice.id);
    let pin_again = alice.run(&["init", "--arbiter", &pin(50).to_string()]);
    assert_eq!(pin_again.status.code(), Some(2), "{}", text(&pin_again));

    let identity = alice.home().join("identity.toml");
    std::fs::set_permissions(&identity, std::fs::Permissions::from_mode(0o644)).unwrap();
    let exposed = alice.run(&["id"]);
    assert_eq!(exposed.status.code(), Some(2));
    assert!(text(&exposed).contains("chmod 600"), "{}", text(&exposed));
    let secret = std::fs::read_to_string(&identity).unwrap();
    let seed = secret.lines().find_map(|line| line.strip_prefix("signing_seed = \"")).unwrap();
    assert!(!text(&exposed).contains(&seed[..16]));
}

#[test]
fn mistakes_of_the_user_are_usage_errors_that_say_what_to_do() {
    let (alice, bob) = (Party::new("Alice"), Party::new("Bob"));
    let file = alice.file("contract.pdf", PDF);
    let file = file.to_str().unwrap();
    let empty = alice.file("empty.pdf", b"");
    let offer = |arguments: &[&str]| {
        let common = ["--connect", "127.0.0.1:9", "--yes"];
        alice.run(&[&["offer"], arguments, &common].concat())
    };
    for (output, says) in [
        (offer(&["contract", "--file", file, "--to", "fairx-id:v1:AAAA"]), "fairx-id"),
        (offer(&["contract", "--file", "/nonexistent.pdf", "--to", &bob.id]), "nonexistent"),
        (offer(&["contract", "--file", empty.to_str().unwrap(), "--to", &bob.id]), "size_bytes"),
        (offer(&["contract", "--file", file, "--to", &alice.id]), "different keys"),
        (offer(&["contract", "--file", file, "--to", &bob.id, "--title", "a\u{202e}b"]), "title"),
        (offer(&["delivery", "--file", file, "--to", &bob.id, "--complain-by", "soon"]), "complain-by"),
        (offer(&["request", "--want", "sha256:00,1", "--to", &bob.id]), "fairx describe"),
        (alice.run(&["resume", "0000"]), "fairx status"),
        (alice.run(&["complain", "zz"]), "fairx status"),
        (alice.run(&["complain"]), "<ID>"),
        (alice.run(&["complain", "--import", "/nonexistent.fxe"]), "nonexistent"),
        (alice.run(&["init"]), "identity"),
    ] {
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
        assert!(text(&output).contains(says), "{says}: {}", text(&output));
    }
    assert!(text(&alice.run(&["status"])).contains("no exchange"));
}

/// One program works on a home at a time; the other is told so.
#[test]
fn a_home_in_use_is_not_shared() {
    let bob = Party::new("Bob");
    let accepting = bob.accept(&["--yes"]);
    let second = bob.run(&["status"]);
    assert_eq!(second.status.code(), Some(1), "{}", text(&second));
    assert!(text(&second).contains("another fairx"), "{}", text(&second));
    drop(accepting);
}

/// Nobody answers: the URL is named, nothing is made, and the advice is to run the same command again.
#[test]
fn init_without_an_arbiter_makes_nothing_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let init = |arguments: &[&str]| {
        Command::new(FAIRX).arg("--home").arg(&home).arg("init").args(arguments).output().unwrap()
    };
    let nobody = init(&["--name", "Alice", "--arbiter", "http://127.0.0.1:9"]);
    assert_eq!(nobody.status.code(), Some(4), "{}", text(&nobody));
    let said = text(&nobody);
    assert!(said.contains("http://127.0.0.1:9") && said.contains("nothing was made"), "{said}");
    assert!(said.contains("run `fairx init` again") && !said.contains("resume"), "{said}");
    assert!(!home.exists());
}

/// Who has no identity hears of that first, not of terminals.
#[test]
fn an_empty_home_asks_for_an_identity_first() {
    let (bob, nobody) =
        (Party::new("Bob"), Party { folder: tempfile::tempdir().unwrap(), id: String::new() });
    let file = bob.file("contract.pdf", PDF);
    let offer =
        ["offer", "contract", "--file", file.to_str().unwrap(), "--to", &bob.id, "--connect", "127.0.0.1:9"];
    for arguments in [&offer[..], &["accept", "--listen", "127.0.0.1:0"]] {
        let output = nobody.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
        assert!(
            text(&output).contains("fairx init") && !text(&output).contains("terminal"),
            "{}",
            text(&output)
        );
    }
}

/// The arbiter's limit is in the pin; a larger file is not offered, not accepted, and nothing is signed.
#[test]
fn a_file_larger_than_the_arbiter_takes_is_refused() {
    let small = pin(3).with_deposit_bytes(20);
    let (alice, bob) = (Party::with_pin("Alice", &small), Party::with_pin("Bob", &small));
    let file = alice.file("notice.pdf", PDF);
    let file = file.to_str().unwrap();
    let common = ["--to", &bob.id, "--connect", "127.0.0.1:9", "--yes"];
    let refused = alice.run(&[&["offer", "delivery", "--file", file], &common[..]].concat());
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
    assert!(text(&refused).contains("at most 20"), "{}", text(&refused));

    let want = text(&bob.run(&["describe", file]));
    let accepting = bob.accept(&["--yes", "--give", file]);
    let _ = alice.offer(&bob.id, &accepting, &["request", "--want", want.trim(), "--complain-by", "1s"]);
    let (status, said) = accepting.end();
    assert_eq!(status.code(), Some(2), "{said}");
    assert!(said.contains("at most 20"), "{said}");
    assert!(text(&bob.run(&["status"])).contains("no exchange"));
}

/// A home that lost its journal, but not its key: the bundle is read, verified, and shows that nothing is owed.
#[test]
fn complaining_from_a_bundle_needs_something_that_is_owed() {
    let (alice, bob) = (Party::new("Alice"), Party::new("Bob"));
    let file = alice.file("contract.pdf", PDF);
    let accepting = bob.accept(&["--yes"]);
    let offered = alice.offer(&bob.id, &accepting, &["contract", "--file", file.to_str().unwrap()]);
    assert_eq!((offered.status.code(), accepting.end().0.code()), (Some(0), Some(0)), "{}", text(&offered));
    let anew = Party { folder: tempfile::tempdir().unwrap(), id: String::new() };
    std::fs::create_dir(anew.home()).unwrap();
    for name in ["identity.toml", "arbiter"] {
        std::fs::copy(alice.home().join(name), anew.home().join(name)).unwrap();
    }
    let bundle = alice.bundle();
    let served = anew.run(&["complain", "--import", bundle.to_str().unwrap()]);
    assert_eq!(served.status.code(), Some(2), "{}", text(&served));
    assert!(text(&served).contains("nothing to complain about"), "{}", text(&served));
    let known = alice.run(&["complain", "--import", bundle.to_str().unwrap()]);
    assert!(text(&known).contains("fairx resume"), "{}", text(&known));
}
