//! The real program, killed with SIGKILL a hundred times under load: nothing that it acknowledged is lost or changed.
//!
//! ```text
//!  round: start ─▶ ready ─▶ callers file cases ─▶ SIGKILL after a random time ─▶ start …
//!                                └ every receipt that came is remembered, and asked for again later
//! ```
//!
//! What is asserted
//! - D6, R-401: a receipt that a caller has got comes again, byte for byte: statement, leaf, proof, checkpoint.
//! - A case whose call broke off gets one verdict afterwards, the same for both parties.
//! - R-411: every verdict that opened escrows comes with both signatures, byte for byte, whenever they are fetched; S32.
//! - The log only grows: the newest checkpoint is consistent with every earlier one.
//! - `arbiter fsck` finds nothing.
//!
//! The times of the kills come from a pinned seed; what they hit differs from machine to machine.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A test may stop where it likes.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arbiter_protocol::escrow::Suite;
use arbiter_protocol::evidence::checkpoint::{Origin, SignedCheckpoint};
use arbiter_protocol::evidence::merkle::verify_consistency;
use arbiter_protocol::evidence::note::VerifierKey;
use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::ids::{Digest, PublicKey};
use arbiter_protocol::message::agreement::{Agreement, ArbiterIdentity, EscrowTerms};
use arbiter_protocol::message::request::Action;
use arbiter_protocol::message::verdict::Ruling;
use arbiter_protocol::statement::{Envelope, Signed};
use arbiter_protocol::wire::arbiter as proto;
use arbiter_protocol::wire::arbiter::arbiter_service_client::ArbiterServiceClient;
use arbiter_protocol::wire::arbiter::evidence_log_service_client::EvidenceLogServiceClient;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::{Auditors, Cast, Parties, abort, fetch, prove, resolve, unseal};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};
use tonic::transport::Endpoint;

/// `ARBITER_KILLS` asks for another number; 1,000 take about ten minutes.
const KILLS: u32 = 104;
const CALLERS: usize = 6;
/// Exchanges with escrows, made before: making one takes longer than ruling dozens.
const ESCROWED: usize = 160;
/// Of so many exchanges one has escrows, while there are any.
const EVERY: usize = 4;
/// Every so many kills all receipts are asked for again; between, those of the round before.
const EVERYTHING: u32 = 13;
/// Every so many kills the data folder is checked.
const FSCK: u32 = 26;
/// Of so many starts one is killed before it is ready.
const EARLY: u64 = 8;
/// Longest life of a server, from being ready.
const LIFE: u64 = 60;
const LONG: Duration = Duration::from_secs(30);

/// One exchange that two parties disagree about: whoever is first decides, and both get the same.
struct Case {
    agreement: Agreement,
    abort: proto::Case,
    resolve: proto::Case,
}

impl Case {
    fn new(cast: &Cast, agreement: Agreement) -> Self {
        Self {
            abort: cast.case_without_acceptance(&agreement, Action::Abort),
            resolve: cast.case(&agreement, Role::Responder, Action::Resolve),
            agreement,
        }
    }
}

/// What a caller knows of a case: the receipts that came.
#[derive(Default)]
struct Known {
    aborted: Option<proto::Receipt>,
    resolved: Option<proto::Receipt>,
}

/// R-401, S32: see above.
#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_ruling_is_lost_or_changed_by_kills() {
    let folder = tempfile::Builder::new().prefix("crash").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    arbiter(folder.path(), &["init", "--dir", ".", "--origin", "crash.example/log"]).await;
    let identity = identity(folder.path()).await;
    let mut cast = Cast::new(identity.clone());
    cast.terms = Some(terms(folder.path(), &identity).await);
    let cast = Arc::new(cast);
    let pool: Vec<_> = (0..ESCROWED).map(|_| Case::new(&cast, cast.signing())).collect();
    let pool = Arc::new(Mutex::new(pool));
    let log_key = VerifierKey::new(identity.log_origin.as_str(), identity.log_key).unwrap();

    let mut dice = Dice(0x5EED_C4A5);
    let mut known: BTreeMap<usize, (Arc<Case>, Known)> = BTreeMap::new();
    let mut roots: BTreeMap<u64, Digest> = BTreeMap::new();
    let (mut address, mut killed, mut early, mut broken_off) = ("127.0.0.1:0".to_owned(), 0, 0, 0);
    let (mut replayed, mut fetched, mut round) = (0_usize, 0_usize, Vec::new());
    let next = Arc::new(AtomicUsize::new(0));
    let kills = std::env::var("ARBITER_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    while killed < kills {
        if dice.below(EARLY) == 0 && killed > 0 {
            // Killed while it opens and checks its data.
            let mut child = spawn(folder.path(), &address);
            sleep(Duration::from_millis(dice.below(150))).await;
            child.kill().await.unwrap();
            (killed, early) = (killed + 1, early + 1);
            continue;
        }
        let mut server = Server::start(folder.path(), &address).await;
        address.clone_from(&server.address);

        // What was acknowledged before the kill must be there now, unchanged; what broke off is asked again.
        let everything = killed % EVERYTHING == 0;
        let chosen: Vec<usize> = if everything { known.keys().copied().collect() } else { round.clone() };
        let mut parties = server.parties().await;
        for number in &chosen {
            let (case, receipts) = known.get_mut(number).unwrap();
            replayed += replay(&mut parties, case, receipts, &mut roots).await;
            fetched += fetch_both(&mut parties, &cast, case, receipts).await;
        }
        check_log(&mut server.auditors().await, &log_key, &roots, everything).await;

        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                let pool = Arc::clone(&pool);
                tokio::spawn(call(server.parties_later(), cast.clone(), next.clone(), pool))
            })
            .collect();
        sleep(Duration::from_millis(dice.below(LIFE))).await;
        server.child.kill().await.unwrap();
        killed += 1;
        round.clear();
        for caller in callers {
            for (number, case, receipts) in timeout(LONG, caller).await.expect("a caller hangs").unwrap() {
                broken_off += usize::from(receipts.aborted.is_none() || receipts.resolved.is_none());
                round.push(number);
                known.insert(number, (case, receipts));
            }
        }
        if killed % FSCK == 0 {
            let clean = arbiter(folder.path(), &["fsck", "--config", "."]).await;
            assert!(clean.starts_with("clean"), "{clean}");
        }
    }

    // The last word: everything once more, and a clean end.
    let mut server = Server::start(folder.path(), &address).await;
    let mut parties = server.parties().await;
    for (case, receipts) in known.values_mut() {
        replayed += replay(&mut parties, case, receipts, &mut roots).await;
        fetched += fetch_both(&mut parties, &cast, case, receipts).await;
    }
    check_log(&mut server.auditors().await, &log_key, &roots, true).await;
    server.child.kill().await.unwrap();
    let clean = arbiter(folder.path(), &["fsck", "--config", "."]).await;
    println!(
        "{killed} kills, {early} of them during start; {} exchanges, {broken_off} calls broken off, {replayed} \
         receipts and {fetched} opened signatures compared, {} checkpoints\n{clean}",
        known.len(),
        roots.len()
    );
    assert!(clean.starts_with("clean"), "{clean}");
    assert!(clean.contains(&format!(" {} verdicts", known.len())), "one verdict an exchange: {clean}");
    // Otherwise this test has tested nothing.
    assert!(early >= 4 && broken_off >= 20 && replayed >= 500, "the load was too small for the kills to hit");
    assert!(fetched >= 100, "too few escrows were opened: {fetched}");
}

/// Files cases until the server is gone. What came back, and what did not.
async fn call(
    parties: Parties,
    cast: Arc<Cast>,
    next: Arc<AtomicUsize>,
    pool: Arc<Mutex<Vec<Case>>>,
) -> Vec<(usize, Arc<Case>, Known)> {
    let mut done = Vec::new();
    loop {
        let number = next.fetch_add(1, Ordering::SeqCst);
        let made = if number.is_multiple_of(EVERY) { pool.lock().unwrap().pop() } else { None };
        let case = made.unwrap_or_else(|| Case::new(&cast, cast.contract()));
        let (mut one, mut other) = (parties.clone(), parties.clone());
        // An abort is faster than an opening and would win every race: most escrows are resolved first.
        let in_turn = case.agreement.offer().escrow.is_some() && !number.is_multiple_of(4 * EVERY);
        let aborting = timeout(LONG, abort(&mut one, case.abort.clone()));
        let resolving = timeout(LONG, resolve(&mut other, case.resolve.clone()));
        let (aborted, resolved) = if in_turn {
            let resolved = resolving.await;
            (aborting.await, resolved)
        } else {
            tokio::join!(aborting, resolving)
        };
        let known = Known { aborted: aborted.unwrap().ok(), resolved: resolved.unwrap().ok() };
        let gone = known.aborted.is_none() || known.resolved.is_none();
        done.push((number, Arc::new(case), known));
        if gone {
            return done;
        }
    }
}

/// Asks again. What came before must come again as it was; what broke off must come now. How many were compared.
async fn replay(
    parties: &mut Parties,
    case: &Case,
    known: &mut Known,
    roots: &mut BTreeMap<u64, Digest>,
) -> usize {
    let aborted = abort(parties, case.abort.clone()).await.unwrap();
    let resolved = resolve(parties, case.resolve.clone()).await.unwrap();
    let mut compared = 0;
    for (before, now) in [(&known.aborted, &aborted), (&known.resolved, &resolved)] {
        if let Some(before) = before {
            assert_eq!(before, now, "an acknowledged receipt changed");
            compared += 1;
        }
    }
    assert_eq!(aborted.statement, resolved.statement, "two verdicts for one exchange");
    for (receipt, asked) in [(aborted.clone(), &case.abort), (resolved.clone(), &case.resolve)] {
        let proven = prove(receipt, &case.agreement, asked);
        let checkpoint = proven.checkpoint.checkpoint();
        let root = *roots.entry(checkpoint.size).or_insert(checkpoint.root);
        assert_eq!(root, checkpoint.root, "two logs of one size");
    }
    *known = Known { aborted: Some(aborted), resolved: Some(resolved) };
    compared
}

/// Both parties fetch what the verdict took out of escrow: the very signatures. How many were compared.
async fn fetch_both(parties: &mut Parties, cast: &Cast, case: &Case, known: &Known) -> usize {
    let agreement = &case.agreement;
    if agreement.offer().escrow.is_none() {
        return 0;
    }
    let proven = prove(known.resolved.clone().unwrap(), agreement, &case.resolve);
    if proven.ruled.verdict().unwrap().ruling == Ruling::Aborted {
        return 0;
    }
    for role in Role::BOTH {
        let fetched = fetch(parties, cast.case(agreement, role, Action::Fetch)).await.unwrap();
        let got = unseal(agreement, role.peer(), cast.peer(role), fetched);
        assert!(
            got == cast.detached_signature(agreement, role.peer()),
            "an opened signature was lost or changed"
        );
    }
    2
}

/// The newest checkpoint must continue every earlier one; or, for speed, the newest earlier ones.
async fn check_log(auditors: &mut Auditors, key: &VerifierKey, roots: &BTreeMap<u64, Digest>, all: bool) {
    let newest = auditors.get_checkpoint(proto::GetCheckpointRequest {}).await.unwrap().into_inner();
    let newest = SignedCheckpoint::verify(&newest.checkpoint, key).unwrap();
    let newest = newest.checkpoint();
    let some = if all { roots.len() } else { 5 };
    for (&old_size, root) in roots.iter().rev().take(some) {
        assert!(
            old_size <= newest.size,
            "the log lost leaves: {old_size} were signed, {} are there",
            newest.size
        );
        let request = proto::GetConsistencyProofRequest { old_size, new_size: newest.size };
        let proof = auditors.get_consistency_proof(request).await.unwrap().into_inner();
        let proof: Vec<_> = proof.hashes.iter().map(|hash| Digest::parse(hash, "hash").unwrap()).collect();
        verify_consistency(old_size, newest.size, &proof, root, &newest.root).unwrap();
    }
}

/// A serving process; killed if the test ends before it does.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    async fn start(folder: &Path, address: &str) -> Self {
        let mut child = spawn(folder, address);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = timeout(LONG, lines.next_line()).await.expect("it is never ready").unwrap();
        let line = line.expect("it ended instead of serving");
        let address = line.split_whitespace().find_map(|word| word.strip_prefix("address=")).unwrap();
        Self { child, address: address.to_owned() }
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap()
    }

    async fn parties(&self) -> Parties {
        ArbiterServiceClient::new(self.endpoint().connect().await.unwrap())
    }

    /// Connects with the first call.
    fn parties_later(&self) -> Parties {
        ArbiterServiceClient::new(self.endpoint().connect_lazy())
    }

    async fn auditors(&self) -> Auditors {
        EvidenceLogServiceClient::new(self.endpoint().connect().await.unwrap())
    }
}

fn program(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_arbiter"));
    command.args(arguments).current_dir(folder).env_clear().stdin(Stdio::null()).kill_on_drop(true);
    command
}

fn spawn(folder: &Path, address: &str) -> Child {
    let mut command = program(
        folder,
        &[
            "serve",
            "--config",
            ".",
            "--listen",
            address,
            "--listen-log",
            "127.0.0.1:0",
            "--log-filter",
            "error",
        ],
    );
    command.stdout(Stdio::piped()).spawn().unwrap()
}

/// Runs a subcommand that must succeed: what it says.
async fn arbiter(folder: &Path, arguments: &[&str]) -> String {
    let output = timeout(LONG, program(folder, arguments).output()).await.expect("it hangs").unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}{errors}");
    said
}

async fn identity(folder: &Path) -> ArbiterIdentity {
    let info: serde_json::Value = serde_json::from_str(&arbiter_info(folder).await).unwrap();
    let field = |name: &str| info[name].as_str().unwrap().to_owned();
    let log_key = VerifierKey::parse(&field("log_key")).unwrap();
    ArbiterIdentity {
        key: PublicKey::parse_hex(&field("key"), "key").unwrap(),
        log_key: log_key.public_key().unwrap(),
        log_origin: Origin::parse(&field("log_origin")).unwrap(),
        rules: field("rules"),
    }
}

/// The escrow key that agreements name.
async fn terms(folder: &Path, arbiter: &ArbiterIdentity) -> EscrowTerms {
    let info: serde_json::Value = serde_json::from_str(&arbiter_info(folder).await).unwrap();
    let line = info["escrow_epochs"][0]["statement"].as_str().unwrap();
    let envelope = Envelope::decode(&URL_SAFE_NO_PAD.decode(line).unwrap()).unwrap();
    EscrowTerms::new(Signed::parse(envelope).unwrap().verify(&arbiter.key).unwrap(), Suite::FAST)
}

async fn arbiter_info(folder: &Path) -> String {
    arbiter(folder, &["info", "--config", ".", "--json"]).await
}

/// splitmix64: the same numbers on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }
}
