//! The program `fairx` as real processes: two parties, loopback gRPC, and no arbiter running at all.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A test may stop where it likes.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use arbiter_client::bundle::{BUNDLE_BYTES, Bundle, Claim};
use arbiter_client::identity::ArbiterPin;
use arbiter_protocol::crypto::{MemorySigner, Signer as _};
use arbiter_protocol::escrow::EscrowSecret;
use arbiter_protocol::evidence::checkpoint::Origin;
use arbiter_protocol::message::agreement::ArbiterIdentity;
use arbiter_protocol::message::escrow_epoch::EscrowEpoch;
use arbiter_protocol::role::arbiter::RULES;
use arbiter_protocol::statement::Verified;
use arbiter_protocol::time::UnixMillis;
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
    let pin = ArbiterPin::new(identity, "http://127.0.0.1:9").unwrap();
    pin.with_epochs([epoch(byte, 1, UnixMillis(1), UnixMillis(9_000_000_000_000))]).unwrap().0
}

/// An escrow key of that arbiter.
fn epoch(byte: u8, epoch: u64, from: UnixMillis, until: UnixMillis) -> Verified<EscrowEpoch> {
    let signer = MemorySigner::from_seed(&Zeroizing::new([byte; 32]));
    let seed = Zeroizing::new([byte + 2; 32]);
    let secret = EscrowSecret::from_seed(&seed, *signer.public_key().as_bytes(), epoch).unwrap();
    let key = *secret.public().as_bytes();
    Verified::sign(EscrowEpoch { epoch, key, from, until }, &signer)
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
        let pin_file = party.folder.path().join("arbiter.pin");
        pin.create(&pin_file).unwrap();
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

impl Party {
    /// A received file of this name, wherever its exchange put it.
    fn received_file(&self, name: &str) -> PathBuf {
        let all = self.received();
        let found = all.iter().find(|path| path.file_name().unwrap() == name);
        found.unwrap_or_else(|| panic!("{name} is not among {all:?}")).clone()
    }

    /// Makes a private key with OpenSSL, and its public half; gives both.
    fn key(&self, name: &str, kind: &[&str]) -> [PathBuf; 2] {
        let [private, public] = ["pem", "pub"].map(|end| self.folder.path().join(format!("{name}.{end}")));
        openssl(&[&["genpkey", "-out", private.to_str().unwrap()], kind].concat());
        std::fs::set_permissions(&private, std::fs::Permissions::from_mode(0o600)).unwrap();
        let (from, to) = (private.to_str().unwrap(), public.to_str().unwrap());
        openssl(&["pkey", "-in", from, "-pubout", "-out", to]);
        [private, public]
    }

    /// Makes a certificate that a key signs for itself.
    fn certificate(&self, key: &Path, name: &str) -> PathBuf {
        let path = self.folder.path().join(format!("{name}.crt"));
        let subject = format!("/C=DE/O=Example/CN={name}");
        let (key, out) = (key.to_str().unwrap(), path.to_str().unwrap());
        openssl(&["req", "-x509", "-new", "-key", key, "-subj", &subject, "-days", "3650", "-out", out]);
        path
    }
}

const ED25519: &[&str] = &["-algorithm", "ed25519"];
const RSA: &[&str] = &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];

fn openssl(arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).output().unwrap();
    assert!(output.status.success(), "openssl {arguments:?}: {}", text(&output));
}

/// The command for OpenSSL that the program printed: it accepts the signature, and no other text.
fn assert_openssl(said: &str) {
    let mut lines = said.lines().skip_while(|line| !line.contains("or with OpenSSL:"));
    let command = lines.nth(1).unwrap_or_else(|| panic!("no command: {said}"));
    let run = |command: &str| Command::new("sh").args(["-c", command]).output().unwrap();
    let checked = run(command);
    assert!(checked.status.success(), "{command}: {}", text(&checked));
    let altered = run(&command.replace(".document.txt", ".responder.sig"));
    assert!(!altered.status.success(), "another text passed: {command}");
}

/// The names of what was received, sorted.
fn names(party: &Party) -> Vec<String> {
    let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let mut names: Vec<_> = party.received().into_iter().map(name).collect();
    names.sort();
    names
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

    // Each holds both signatures as files that OpenSSL accepts; they are the same at both, and in the bundle.
    assert_openssl(&text(&offered));
    assert_openssl(&accepted.1);
    for role in ["originator", "responder"] {
        let name = format!("contract.pdf.{role}.sig");
        let [a, b] = [&alice, &bob].map(|party| std::fs::read(party.received_file(&name)).unwrap());
        assert_eq!((a.len(), &a), (64, &b), "{role}");
        let in_bundle = Bundle::read(&bob.bundle()).unwrap().signatures;
        assert!([in_bundle.originator, in_bundle.responder].contains(&Some(a)), "{role}");
    }

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

/// several files in one exchange, by either party: all are there in one folder, a receipt for each.
#[test]
fn two_processes_exchange_packages_without_an_arbiter() {
    let contents = [PDF.repeat(3_000), b"plain words\n".to_vec(), vec![0, 1, 2]];
    let names = ["notice.pdf", "annex.txt", "data.bin"];
    let ways = [&[][..], &["--replacement"]];
    for (request, seal) in [false, true].into_iter().flat_map(|request| ways.map(|seal| (request, seal))) {
        let (alice, bob) = (Party::new("Alice"), Party::new("Bob"));
        let giver = if request { &bob } else { &alice };
        let paths: Vec<_> = names.iter().zip(&contents).map(|(name, it)| giver.file(name, it)).collect();
        let paths: Vec<_> = paths.iter().map(|path| path.to_str().unwrap()).collect();
        let wanted = paths.iter().map(|path| text(&bob.run(&["describe", path])).trim().to_owned());
        let wanted: Vec<_> = wanted.collect();
        let (kind, option, values) = match request {
            true => ("request", "--want", wanted.iter().map(String::as_str).collect()),
            false => ("delivery", "--file", paths.clone()),
        };
        let several: Vec<_> = values.into_iter().flat_map(|value: &str| [option, value]).collect();
        // In another order than the offer has them.
        let give: Vec<_> = paths.iter().rev().flat_map(|path| ["--give", path]).collect();
        let give = if request { give } else { Vec::new() };
        let accepting = bob.accept(&[&["--yes"], &give[..]].concat());

        let twice = [&[kind], seal, &several[..], &several[..2]].concat();
        let twice = alice.offer(&bob.id, &accepting, &twice);
        assert_eq!(twice.status.code(), Some(2), "{}", text(&twice));
        assert!(text(&twice).contains("no item twice"), "{}", text(&twice));

        let offered = alice.offer(&bob.id, &accepting, &[&[kind], seal, &several[..]].concat());
        let accepted = accepting.end();
        both_good(&alice, &bob, &offered, &accepted, Path::new(paths[1]));
        assert!(accepted.1.contains("3 items together, all of them or none:"), "{}", accepted.1);
        if seal.is_empty() {
            // Ordinary signature files, each with its command.
            assert_openssl(&if request { accepted.1.clone() } else { text(&offered) });
            let signed = if request { &bob } else { &alice };
            let role = if request { "originator" } else { "responder" };
            let folder = signed.received_file(&format!("signatures.{role}"));
            for (place, name) in (1..).zip(names) {
                assert_eq!(
                    std::fs::read(folder.join(format!("{place}.{name}.{role}.sig"))).unwrap().len(),
                    64
                );
            }
        }
        let receiver = if request { &alice } else { &bob };
        let folder = receiver.received_file("package");
        for (name, content) in names.iter().zip(&contents) {
            assert_eq!(std::fs::read(folder.join(name)).unwrap(), *content, "{name}");
        }
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), names.len());
        let other = receiver.file("other.txt", b"another file");
        let report = verify(receiver, &giver.bundle(), &["--file", other.to_str().unwrap()]);
        assert_eq!(report.status.code(), Some(1), "{}", text(&report));
    }
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
    // The receipt is an ordinary signature file.
    assert_eq!(
        names(&alice),
        ["notice.pdf.document.txt", "notice.pdf.responder.pem", "notice.pdf.responder.sig"]
    );
    assert_openssl(&text(&offered));
    assert!(!text(&offered).contains("verdict that stands"), "{}", text(&offered));
}

#[test]
fn two_processes_exchange_a_receipt_for_a_described_file_without_an_arbiter() {
    let (alice, bob) = (Party::new("Alice"), Party::new("Bob"));
    let file = bob.file("report, final.pdf", PDF);
    let want = text(&bob.run(&["describe", file.to_str().unwrap()]));
    let accepting = bob.accept(&["--yes", "--give", file.to_str().unwrap()]);
    let offered = alice.offer(&bob.id, &accepting, &["request", "--want", want.trim()]);
    let accepted = accepting.end();
    both_good(&alice, &bob, &offered, &accepted, &file);
    let [received] = &alice.received()[..] else { panic!("one file") };
    assert_eq!(std::fs::read(received).unwrap(), PDF);
    assert_eq!(received.file_name().unwrap(), "report, final.pdf");
    assert_openssl(&accepted.1);
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

    // The exact text can be read first.
    let accepting = bob.accept(&["--yes"]);
    let answer = |seen: &[String]| format!("document\n{}\n", first(seen));
    let (code, said) = offer_on_a_terminal(&alice, &bob, &accepting.address, answer);
    assert!(said.contains("| arbiter/signed-statement/v1"), "{said}");
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
        ("large", vec![b' '; BUNDLE_BYTES + 1], "larger than"),
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

/// Issue 3, 4: RSA keys from files and certificates; each side names the key that it will see.
#[test]
fn a_contract_with_rsa_keys_and_certificates() {
    let (alice, bob) = (Party::new("Alice"), Party::new("Bob"));
    let file = alice.file("contract.pdf", PDF);
    let [alice_key, _] = alice.key("alice", RSA);
    let [bob_key, _] = bob.key("bob", RSA);
    let [alice_crt, bob_crt] =
        [alice.certificate(&alice_key, "Alice Ltd"), bob.certificate(&bob_key, "Bob Ltd")];
    let path = |path: &PathBuf| path.to_str().unwrap().to_owned();
    let contract = [
        "contract",
        "--file",
        &path(&file),
        "--key",
        &path(&alice_key),
        "--algorithm",
        "rsa-pss-sha384",
        "--cert",
        &path(&alice_crt),
        "--their-key",
        &path(&bob_crt),
        "--suite",
        "fast",
        "--show-document",
    ];
    let accepting = bob.accept(&["--yes", "--key", &path(&bob_key)]);
    let offered = alice.offer(&bob.id, &accepting, &contract);
    let accepted = accepting.end();
    both_good(&alice, &bob, &offered, &accepted, &file);
    for said in [&text(&offered), &accepted.1] {
        for part in [
            "RSA of 2048 bits, PSS with SHA-384",
            "RSA of 2048 bits, PKCS#1 v1.5 with SHA-256",
            "CN=Alice Ltd",
            "CN=Bob Ltd",
            "not checked against any authority",
            "signed by itself",
            "another key than that of your fairx identity",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(screen(said).lines().all(|line| line.chars().count() <= 80), "{said}");
        assert_openssl(said);
    }
    assert!(text(&offered).contains("| arbiter/signed-statement/v1"), "{}", text(&offered));
    let report = verify(&bob, &alice.bundle(), &["--json"]);
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    let signatures = report["signatures"].as_array().unwrap();
    assert_eq!(signatures.len(), 2);
    assert_eq!(signatures[0]["algorithm"], "RSA of 2048 bits, PSS with SHA-384");
    assert_eq!(signatures[1]["certificate_subject"], "C=DE, O=Example, CN=Bob Ltd");
    for signature in signatures {
        assert_eq!((&signature["sealed"], &signature["opened"]), (&Value::Bool(true), &Value::Bool(false)));
    }
    assert!(names(&alice).contains(&"contract.pdf.responder.crt".to_owned()), "{:?}", names(&alice));

    // The next time Bob signs with his identity's key: Alice is told that it is another one.
    let accepting = bob.accept(&["--yes"]);
    let again = alice.offer(&bob.id, &accepting, &["contract", "--file", &path(&file)]);
    assert_eq!(again.status.code(), Some(0), "{}", text(&again));
    assert!(text(&again).contains("They signed with ANOTHER key in earlier"), "{}", text(&again));
    assert_eq!(accepting.end().0.code(), Some(0));
}

/// The screen in what a program printed.
fn screen(said: &str) -> String {
    let lines =
        said.lines().skip_while(|line| !line.starts_with("====")).take_while(|line| !line.contains("--yes"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Issue 3, 4: signatures made elsewhere, here by OpenSSL, over what `fairx document` and `--document-out` write.
#[test]
fn a_contract_with_signatures_made_elsewhere() {
    let (alice, bob) = (Party::new("Alice"), Party::new("Bob"));
    let (ours, theirs) = (alice.file("contract.pdf", PDF), bob.file("contract.pdf", PDF));
    let [alice_key, alice_pub] = alice.key("token", ED25519);
    let [bob_key, bob_pub] = bob.key("token", RSA);
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let document = alice.folder.path().join("statement.txt");
    let words = ["--title", "Contract of sale", "--text", "One bicycle.\nAs seen."];
    let written = alice.run(
        &[&["document", "contract", "--file", &path(&ours), "--out", &path(&document)], &words[..]].concat(),
    );
    assert_eq!(written.status.code(), Some(0), "{}", text(&written));
    let shown = bob.run(&[&["document", "contract", "--file", &path(&theirs)], &words[..]].concat());
    assert_eq!(shown.stdout, std::fs::read(&document).unwrap(), "the same bytes on both sides");
    assert!(
        text(&shown).starts_with("arbiter/signed-statement/v1\ntitle Contract of sale\nfile contract.pdf\n")
    );
    let signature = alice.folder.path().join("statement.sig");
    let (key, text_, out) = (path(&alice_key), path(&document), path(&signature));
    openssl(&["pkeyutl", "-sign", "-inkey", &key, "-rawin", "-in", &text_, "-out", &out]);

    let contract = |signature: &Path| {
        let common = ["contract", "--file", &path(&ours), "--public", &path(&alice_pub), "--their-key"];
        let more = [path(&bob_pub), "--signature-from".to_owned(), path(signature)];
        let all = common.iter().map(|it| (*it).to_owned()).chain(more);
        all.chain(words.iter().map(|it| (*it).to_owned())).collect::<Vec<_>>()
    };
    // Bob has not signed yet: he gets the text, nothing is signed, and Alice is told.
    let to_sign = bob.folder.path().join("to-sign.txt");
    let accepting = bob.accept(&["--yes", "--document-out", &path(&to_sign)]);
    let arguments = contract(&signature);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let early = alice.offer(&bob.id, &accepting, &arguments);
    let (status, said) = accepting.end();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("not this identity's") && said.contains("--signature-from"), "{said}");
    assert!(text(&early).contains("declines: OFFER_NOT_WANTED"), "{}", text(&early));
    assert_eq!(std::fs::read(&to_sign).unwrap(), std::fs::read(&document).unwrap());
    assert!(text(&bob.run(&["status"])).contains("no exchange"));

    let receipt = bob.folder.path().join("to-sign.sig");
    openssl(&["dgst", "-sha256", "-sign", &path(&bob_key), "-out", &path(&receipt), &path(&to_sign)]);
    // Another home: the first offer is still in Alice's journal.
    let alice_anew = Party { folder: tempfile::tempdir().unwrap(), id: alice.id.clone() };
    std::fs::create_dir(alice_anew.home()).unwrap();
    for name in ["identity.toml", "arbiter"] {
        std::fs::copy(alice.home().join(name), alice_anew.home().join(name)).unwrap();
    }
    let out = bob.folder.path().join("out");
    let accepting = bob.accept(&["--yes", "--signature-from", &path(&receipt), "--out", &path(&out)]);
    let offered = alice_anew.offer(&bob.id, &accepting, &arguments);
    let accepted = accepting.end();
    both_good(&alice_anew, &bob, &offered, &accepted, &ours);
    assert_openssl(&text(&offered));
    assert_openssl(&accepted.1);
    // What each ends with is, byte for byte, what the other's tool made.
    let released = alice_anew.received_file("contract.pdf.responder.sig");
    assert_eq!(std::fs::read(released).unwrap(), std::fs::read(&receipt).unwrap());
    let released = std::fs::read(out.join("contract.pdf.originator.sig")).unwrap();
    assert_eq!(released, std::fs::read(&signature).unwrap());

    // A stranger compares the signature file and the text with the bundle.
    let bundle = bob.bundle();
    for (file, good, says) in [
        (&signature, true, "the originator's signature in this bundle"),
        (&receipt, true, "the responder's signature in this bundle"),
        (&document, true, "the text that the originator signs"),
        (&alice_pub, false, "NOT a file of this agreement"),
    ] {
        let output = verify(&bob, &bundle, &["--file", &path(file)]);
        assert_eq!(output.status.success(), good, "{}", text(&output));
        assert!(text(&output).contains(says), "{says}: {}", text(&output));
    }
}

/// For keys without escrow, and who wants it: the old kind, in which the arbiter's verdict stands for a signature.
#[test]
fn a_contract_with_replacement_needs_no_escrow_key() {
    let bare = ArbiterPin::new(pin(3).identity, "http://127.0.0.1:9").unwrap();
    let (alice, bob) = (Party::with_pin("Alice", &bare), Party::with_pin("Bob", &bare));
    let file = alice.file("contract.pdf", PDF);
    let accepting = bob.accept(&["--yes"]);
    let contract = ["contract", "--file", file.to_str().unwrap(), "--replacement"];
    let offered = alice.offer(&bob.id, &accepting, &contract);
    let accepted = accepting.end();
    both_good(&alice, &bob, &offered, &accepted, &file);
    let said = text(&offered);
    let flat = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains("verdict that stands for your signature") && !said.contains("sealed"), "{said}");
    assert!(!said.contains("OpenSSL") && names(&alice).is_empty(), "{said}");
}

/// What does not fit is refused before anything is shown, signed or sent, and the message says what to do.
#[test]
fn keys_signatures_and_certificates_that_do_not_fit_are_refused() {
    let (alice, bob) = (Party::new("Alice"), Party::new("Bob"));
    let file = alice.file("contract.pdf", PDF);
    let [rsa, rsa_pub] = alice.key("rsa", RSA);
    let [ed, ed_pub] = alice.key("ed", ED25519);
    let [ec, ec_pub] = alice.key("ec", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let encrypted = alice.folder.path().join("encrypted.pem");
    openssl(&["pkcs8", "-topk8", "-in", &path(&ed), "-passout", "pass:secret", "-out", &path(&encrypted)]);
    std::fs::set_permissions(&encrypted, std::fs::Permissions::from_mode(0o600)).unwrap();
    let open = alice.folder.path().join("open.pem");
    std::fs::copy(&ed, &open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::set_permissions(&ed_pub, std::fs::Permissions::from_mode(0o600)).unwrap();
    let certificate = alice.certificate(&rsa, "Alice Ltd");
    let other_text = alice.file("other.txt", b"another text");
    let other = alice.folder.path().join("other.sig");
    openssl(&[
        "pkeyutl",
        "-sign",
        "-inkey",
        &path(&ed),
        "-rawin",
        "-in",
        &path(&other_text),
        "-out",
        &path(&other),
    ]);
    let offer = |arguments: &[&str]| {
        let common = [
            "offer",
            "contract",
            "--file",
            &path(&file),
            "--to",
            &bob.id,
            "--connect",
            "127.0.0.1:9",
            "--yes",
        ];
        alice.run(&[&common, arguments].concat())
    };
    for (output, says) in [
        (offer(&["--key", &path(&encrypted)]), "encrypted"),
        (offer(&["--key", &path(&open)]), "chmod 600"),
        (offer(&["--key", &path(&ec)]), "--replacement"),
        (offer(&["--their-key", &path(&ec_pub)]), "--replacement"),
        (offer(&["--key", &path(&ed_pub)]), "private key is needed"),
        (offer(&["--their-key", &path(&ed)]), "private key"),
        (
            offer(&["--key", &path(&ed), "--cert", &path(&certificate)]),
            "of another key than the one that signs",
        ),
        (offer(&["--cert", &path(&certificate)]), "of another key than the one that signs"),
        (offer(&["--key", &path(&rsa), "--algorithm", "ed25519"]), "cannot do ed25519"),
        (offer(&["--algorithm", "rsa-pss-sha256"]), "--key FILE"),
        (offer(&["--algorithm", "md5", "--key", &path(&rsa)]), "no such algorithm"),
        (offer(&["--signature-from", &path(&other)]), "--public FILE"),
        (offer(&["--signature-from", &path(&other), "--public", &path(&ed_pub)]), "fairx document"),
        (offer(&["--signature-from", &path(&rsa), "--public", &path(&ed_pub)]), "no signature file"),
        (offer(&["--signature-from", &path(&other), "--public", &path(&rsa_pub)]), "fairx document"),
        (offer(&["--key", &path(&ed), "--replacement"]), "leave out --replacement"),
        (offer(&["--key", &path(&ed), "--signature-from", &path(&other)]), "cannot be used with"),
        (offer(&["--their-key", bob.home().join("identity.toml").to_str().unwrap()]), "no PEM block"),
        // The other party's key for ours, and the same key for both.
        (offer(&["--key", &path(&ed), "--their-key", &path(&ed_pub)]), "different keys"),
        (
            alice.run(&["document", "contract", "--file", &path(&file), "--out", &path(&other)]),
            "not overwritten",
        ),
        (alice.run(&["document", "contract"]), "--file"),
    ] {
        assert_eq!(output.status.code(), Some(2), "{says}: {}", text(&output));
        assert!(text(&output).contains(says), "{says}: {}", text(&output));
    }
    assert!(text(&alice.run(&["status"])).contains("no exchange"));

    // Who accepts with another key than the offer names.
    let [bob_key, _] = bob.key("bob", ED25519);
    let [_, named] = bob.key("named", RSA);
    let accepting = bob.accept(&["--yes", "--key", &path(&bob_key)]);
    let offered =
        alice.offer(&bob.id, &accepting, &["contract", "--file", &path(&file), "--their-key", &path(&named)]);
    let (status, said) = accepting.end();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("asks for a signature by another key") && said.contains("--their-key"), "{said}");
    assert!(text(&offered).contains("declines: OFFER_NOT_WANTED"), "{}", text(&offered));
    assert!(text(&bob.run(&["status"])).contains("no exchange"));
}

/// A pin without an escrow key, or with one that is over, makes no offers of detached signatures, and says what to do.
#[test]
fn without_an_escrow_key_the_way_to_one_is_said() {
    let bare = ArbiterPin::new(pin(3).identity, "http://127.0.0.1:9").unwrap();
    let over = bare.clone().with_epochs([epoch(3, 1, UnixMillis(1), UnixMillis(2))]).unwrap().0;
    for pin in [bare, over] {
        let (alice, bob) = (Party::with_pin("Alice", &pin), Party::with_pin("Bob", &pin));
        let file = alice.file("contract.pdf", PDF);
        let file = file.to_str().unwrap();
        let common = ["--file", file, "--to", &bob.id, "--connect", "127.0.0.1:9", "--yes"];
        let output = alice.run(&[&["offer", "contract"], &common[..]].concat());
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
        assert!(text(&output).contains("fairx pin refresh"), "{}", text(&output));
        assert!(text(&alice.run(&["pin"])).contains("escrow key  none"));
        let refresh = alice.run(&["pin", "refresh"]);
        assert_eq!(refresh.status.code(), Some(4), "{}", text(&refresh));
        assert!(text(&alice.run(&["status"])).contains("no exchange"));
    }
    // Rerunning init with newer keys adds them to the pin, and only them.
    let alice = Party::new("Alice");
    let newer = pin(3).with_epochs([epoch(3, 2, UnixMillis(2), UnixMillis(9_000_000_000_000))]).unwrap().0;
    let file = alice.folder.path().join("newer.pin");
    newer.create(&file).unwrap();
    let again = alice.run(&["init", "--arbiter", file.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(0), "{}", text(&again));
    assert!(text(&alice.run(&["pin"])).contains("escrow key  2 until"), "{}", text(&alice.run(&["pin"])));
    assert_eq!(ArbiterPin::load(&alice.home().join("arbiter")).unwrap(), newer);
}

/// with the list of the other side nobody names a key: each signs with the key that its own list has first, in a format
/// that the other takes.
#[test]
fn a_contract_by_what_both_can_do() {
    let (alice, bob) = (Party::new("Alice"), Party::new("Bob"));
    let file = alice.file("contract.pdf", PDF);
    let [bob_key, _] = bob.key("bob", RSA);
    let bob_crt = bob.certificate(&bob_key, "Bob Ltd");
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let listed = |party: &Party, name: &str, arguments: &[&str]| {
        let out = path(&party.folder.path().join(name));
        let made = party.run(&[&["capabilities", "--out", &out], arguments].concat());
        assert_eq!(made.status.code(), Some(0), "{}", text(&made));
        out
    };
    let his = listed(&bob, "list.json", &["--key", &path(&bob_key), "--cert", &path(&bob_crt)]);
    let hers = listed(&alice, "list.json", &[]);
    let contract = ["contract", "--file", &path(&file), "--suite", "fast", "--peer-capabilities", &his];
    let accepting = bob.accept(&["--yes", "--key", &path(&bob_key), "--peer-capabilities", &hers]);
    let offered = alice.offer(&bob.id, &accepting, &contract);
    let accepted = accepting.end();
    both_good(&alice, &bob, &offered, &accepted, &file);
    for said in [&text(&offered), &accepted.1] {
        for part in ["RSA of 2048 bits, PKCS#1 v1.5 with SHA-256", "CN=Bob Ltd", "Ed25519"] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }

    // Alice takes no RSA from now on: what is left in common is the key of Bob's identity.
    std::fs::write(alice.home().join("preferences.toml"), "signatures = [\"detached/ed25519\"]").unwrap();
    let hers = listed(&alice, "newer.json", &[]);
    let accepting = bob.accept(&["--yes", "--peer-capabilities", &hers]);
    let again = alice.offer(&bob.id, &accepting, &contract);
    let (status, said) = accepting.end();
    assert_eq!((again.status.code(), status.code()), (Some(0), Some(0)), "{}\n{said}", text(&again));
    assert!(!said.contains("RSA of 2048 bits"), "{said}");
}
