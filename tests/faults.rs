//! The real program with faults in its system calls: an error or a kill at the n-th write, sync or rename of each thread.
//!
//! ```text
//!  strace injects ─▶ serve ─▶ rulings until it breaks ─▶ SIGKILL ─▶ serve without faults ─▶ every answer again, fsck clean
//! ```
//!
//! What is asserted: R-505, R-520, S33: whatever fails, an acknowledged ruling comes again byte for byte, a case whose call broke off
//! gets one verdict, and `arbiter fsck` finds nothing.
//!
//! `ARBITER_FAULTS=40` tries every n up to 40; without it some are tried.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // A test may stop where it likes.

mod common;

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use arbiter_protocol::evidence::checkpoint::Origin;
use arbiter_protocol::evidence::note::VerifierKey;
use arbiter_protocol::ids::PublicKey;
use arbiter_protocol::message::agreement::{Agreement, ArbiterIdentity};
use arbiter_protocol::message::request::Action;
use arbiter_protocol::wire::arbiter as proto;
use arbiter_protocol::wire::arbiter::arbiter_service_client::ArbiterServiceClient;
use common::{Cast, Parties, abort, prove};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tonic::transport::Endpoint;

const LONG: Duration = Duration::from_secs(60);
/// Rulings while faults are injected.
const RULINGS: usize = 5;

/// One ruling: what is asked, and what came back.
struct Asked {
    agreement: Agreement,
    case: proto::Case,
    answer: Option<proto::Receipt>,
}

/// R-505, R-520, S33: see above.
#[tokio::test(flavor = "multi_thread")]
async fn no_fault_in_a_system_call_loses_an_answer() {
    if !can_inject().await {
        let skipped = "faults in system calls need strace and the right to trace";
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "not tested: {skipped}");
        eprintln!("skipped: {skipped}");
        return;
    }
    let place = tempfile::Builder::new().prefix("faults").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let template = place.path().join("template");
    fs::create_dir(&template).unwrap();
    run(&template, &["init", "--dir", ".", "--origin", "faults.example/log"]).await;
    let cast = Cast::new(identity(&template).await);
    // A log that is there already, so that faults hit more than the first start.
    let mut known = asked(&cast);
    let mut server = Server::start(command(&template, &[])).await.unwrap();
    rule(&mut server.parties().await, &mut known).await;
    assert!(known.iter().all(|it| it.answer.is_some()));
    server.child.kill().await.unwrap();

    let most = std::env::var("ARBITER_FAULTS").ok().and_then(|it| it.parse::<u32>().ok());
    let mut trial = Trial { place: place.path(), cast: &cast, known, ended: 0, compared: 0 };
    for (when, calls) in [
        (
            When::Start,
            &[("write", &[1, 4, 11][..]), ("fdatasync", &[1, 3]), ("fsync", &[1, 4]), ("rename", &[1])][..],
        ),
        (When::Load, &[("write", &[1, 2, 3, 5]), ("fdatasync", &[1, 2, 4])]),
    ] {
        let (mut tried, before) = (0, trial.ended);
        for (call, usual) in calls {
            for n in most.map_or(usual.to_vec(), |most| (1..=most).collect()) {
                for fault in ["error=EIO", "error=ENOSPC", "signal=KILL"] {
                    trial.run(when, &format!("inject={call}:{fault}:when={n}")).await;
                    tried += 1;
                }
            }
        }
        let ended = trial.ended - before;
        println!("{when:?}: {tried} faults, {ended} of them ended the program");
        // Otherwise this test has tested nothing. With many numbers most are beyond what there is to hit.
        assert!(most.is_some() || ended * 2 > tried, "the faults did not hit");
    }
    println!("{} answers compared", trial.compared);
}

/// When faults are injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// From the first instruction on.
    Start,
    /// Once it is ready, in every thread.
    Load,
}

struct Trial<'a> {
    place: &'a Path,
    cast: &'a Cast,
    /// What the template's log holds.
    known: Vec<Asked>,
    ended: usize,
    compared: usize,
}

impl Trial<'_> {
    async fn run(&mut self, when: When, inject: &str) {
        let folder = self.place.join("tried");
        let _ = fs::remove_dir_all(&folder);
        copy(&self.place.join("template"), &folder);
        let mut fresh = asked(self.cast);
        let injected: &[&str] = if when == When::Start { &[inject] } else { &[] };
        match Server::start(command(&folder, injected)).await {
            None => self.ended += 1,
            Some(mut server) => {
                let tracer = if when == When::Load { Some(server.attach(inject).await) } else { None };
                rule(&mut server.parties().await, &mut fresh).await;
                self.ended += usize::from(fresh.iter().any(|it| it.answer.is_none()));
                let _ = server.child.kill().await;
                drop(tracer);
            }
        }
        let mut server = Server::start(command(&folder, &[]))
            .await
            .unwrap_or_else(|| panic!("{when:?} {inject}: it does not start any more"));
        let mut parties = server.parties().await;
        for asked in self.known.iter().chain(&fresh) {
            let again = abort(&mut parties, asked.case.clone()).await.unwrap();
            if let Some(before) = &asked.answer {
                assert_eq!(again, *before, "{when:?} {inject}: an answer was lost or changed");
                self.compared += 1;
            }
            prove(again, &asked.agreement, &asked.case);
        }
        server.child.kill().await.unwrap();
        let clean = run(&folder, &["fsck", "--config", "."]).await;
        let verdicts = self.known.len() + fresh.len();
        assert!(clean.contains(&format!(" {verdicts} verdicts")), "{when:?} {inject}: {clean}");
    }
}

fn asked(cast: &Cast) -> Vec<Asked> {
    let one = |_| {
        let agreement = cast.contract();
        let case = cast.case_without_acceptance(&agreement, Action::Abort);
        Asked { agreement, case, answer: None }
    };
    (0..RULINGS).map(one).collect()
}

/// Files cases one after the other, until one breaks off.
async fn rule(parties: &mut Parties, asked: &mut [Asked]) {
    for one in asked {
        match timeout(Duration::from_secs(10), abort(parties, one.case.clone())).await {
            Ok(Ok(receipt)) => one.answer = Some(receipt),
            _ => return,
        }
    }
}

async fn can_inject() -> bool {
    let mut probe = Command::new("strace");
    probe.args(["-D", "-f", "-qq", "-o", "/dev/null", "-e", "inject=fsync:error=EIO:when=1", "true"]);
    probe.stderr(Stdio::null()).status().await.is_ok_and(|status| status.success())
}

/// Serves a folder, with faults if any are named. The program is our own child; the tracer hangs on it.
fn command(folder: &Path, injected: &[&str]) -> Command {
    let any = "127.0.0.1:0";
    let serve = ["serve", "--config", ".", "--listen", any, "--listen-log", any, "--log-filter", "error"];
    let program = env!("CARGO_BIN_EXE_arbiter");
    let mut command = if injected.is_empty() { Command::new(program) } else { Command::new("strace") };
    for inject in injected {
        command.args(["-D", "-f", "-qq", "-o", "/dev/null", "-e", inject, program]);
    }
    command.args(serve).current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
    // What tells this test how much to try is no setting of the program.
    command.env_remove("ARBITER_FAULTS");
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

struct Server {
    child: Child,
    address: String,
}

impl Server {
    /// `None` if it ends before it is ready.
    async fn start(mut command: Command) -> Option<Self> {
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = timeout(LONG, lines.next_line()).await.expect("it is never ready").unwrap();
        let Some(line) = line else {
            timeout(LONG, child.wait()).await.expect("it does not end").unwrap();
            return None;
        };
        let address = line.split_whitespace().find_map(|word| word.strip_prefix("address=")).unwrap();
        Some(Self { address: address.to_owned(), child })
    }

    /// Injects faults from now on.
    async fn attach(&self, inject: &str) -> Child {
        let mut tracer = Command::new("strace");
        let id = self.child.id().unwrap().to_string();
        tracer.args(["-f", "-p", &id, "-o", "/dev/null", "-e", inject]).kill_on_drop(true);
        let mut tracer = tracer.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(tracer.stderr.take().unwrap()).lines();
        let line = timeout(LONG, lines.next_line()).await.expect("it does not attach").unwrap();
        assert!(line.as_deref().is_some_and(|line| line.contains("attached")), "{line:?}");
        // What it says later must not stop it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        tracer
    }

    async fn parties(&self) -> Parties {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        ArbiterServiceClient::new(endpoint.connect_lazy())
    }
}

/// Runs a subcommand that must succeed: what it says.
async fn run(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_arbiter"));
    command.args(arguments).current_dir(folder).env_clear().stdin(Stdio::null());
    let output = timeout(LONG, command.output()).await.expect("it hangs").unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

async fn identity(folder: &Path) -> ArbiterIdentity {
    let info = run(folder, &["info", "--config", ".", "--json"]).await;
    let info: serde_json::Value = serde_json::from_str(&info).unwrap();
    let field = |name: &str| info[name].as_str().unwrap().to_owned();
    ArbiterIdentity {
        key: PublicKey::parse_hex(&field("key"), "key").unwrap(),
        log_key: VerifierKey::parse(&field("log_key")).unwrap().public_key().unwrap(),
        log_origin: Origin::parse(&field("log_origin")).unwrap(),
        rules: field("rules"),
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}
