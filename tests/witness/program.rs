//! The real program: what `witness init` leaves, what is refused, and SIGKILL again and again: it never signs two roots for one
//! size, nor a smaller size, nor an earlier time.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arbiter_protocol::evidence::checkpoint::SignedCheckpoint;
use arbiter_protocol::evidence::note::VerifierKey;
use arbiter_protocol::ids::Digest;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::support::*;

struct Home(TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::Builder::new().tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap());
        let made = home.run(&["init", "--dir", ".", "--name", NAME]);
        assert!(made.status.success(), "{}", text(&made.stderr));
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_arbiter"));
        command.arg("witness").args(arguments).current_dir(self.0.path()).env_clear();
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn keys(&self) -> Vec<VerifierKey> {
        let info: serde_json::Value = serde_json::from_slice(&self.run(&["info", "--json"]).stdout).unwrap();
        let keys = info["keys"].as_array().unwrap();
        keys.iter().map(|key| VerifierKey::parse(key.as_str().unwrap()).unwrap()).collect()
    }

    fn add(&self, log: &Log) {
        let added = self.run(&["add-log", &log.key().to_string()]);
        assert!(added.status.success(), "{}", text(&added.stderr));
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
        assert!(ready.starts_with("witness ready "), "{ready}");
        Self { address: address.to_owned(), child }
    }

    fn caller(&self) -> Caller {
        Caller::new(&format!("http://{}", self.address))
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    fn stop(mut self) -> Option<i32> {
        self.signal(Signal::SIGTERM);
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

#[test]
fn init_makes_private_files_and_overwrites_nothing() {
    let home = Home(tempfile::tempdir().unwrap());
    let made = home.run(&["init", "--dir", "new/witness", "--name", NAME]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let path = |name: &str| home.path("new/witness").join(name);
    let mode = |name| fs::metadata(path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(""), 0o700);
    let files = ["witness.toml", "witness.key", "witness.mark", "witness.redb", "logs.txt"];
    for file in files {
        assert_eq!(mode(file), 0o600, "{file}");
    }
    let info = text(&home.run(&["info", "--config", "new/witness"]).stdout);
    let next = "next     arbiter witness add-log --config new/witness VERIFIER-KEY\n";
    assert_eq!(text(&made.stdout), format!("made     new/witness\n{info}{next}"));
    let key = info.strip_prefix("key      ").unwrap().trim();
    let key = VerifierKey::parse(key).unwrap();
    assert_eq!(key.name(), NAME);
    assert!(key.to_string().contains("+B"), "an Ed25519 key of type 4: {key}");
    let seed = fs::read_to_string(path("witness.key")).unwrap();
    assert!(!info.contains(seed.split('"').nth(1).unwrap()));

    let before: Vec<_> = files.iter().map(|file| fs::read(path(file)).unwrap()).collect();
    for file in files {
        let kept = home.path("kept");
        fs::rename(path("witness.toml"), &kept).unwrap();
        assert_fails(&home.run(&["init", "--dir", "new/witness", "--name", NAME]), 2, "exists already");
        fs::rename(kept, path("witness.toml")).unwrap();
        assert!(path(file).exists());
    }
    assert_eq!(files.map(|file| fs::read(path(file)).unwrap()).to_vec(), before);
    for bad in ["", "a b", "a+b", "x\ny"] {
        assert_fails(&home.run(&["init", "--dir", "bad", "--name", bad]), 2, "name");
        assert!(!home.path("bad").exists());
    }
}

#[cfg(feature = "ml-dsa")]
#[test]
fn a_witness_with_two_keys_gives_two_cosignatures() {
    let home = Home(tempfile::tempdir().unwrap());
    assert!(home.run(&["init", "--dir", ".", "--name", NAME, "--ml-dsa"]).status.success());
    let log = Log::grown("log.example/a", 1, 5);
    home.add(&log);
    let keys = home.keys();
    assert_eq!(keys.len(), 2);
    let running = Running::start(&home, &[]);
    let lines = running.caller().post(&log.request(0, 5)).expect(200).to_owned();
    assert_eq!(lines.lines().count(), 2);
    assert_eq!(crate::times(&log.checkpoint(5), &lines, &log.key(), &keys).len(), 2);
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn logs_are_added_while_it_serves() {
    let home = Home::new();
    let (one, two) = (Log::grown("log.example/one", 1, 5), Log::grown("log.example/two", 2, 5));
    home.add(&one);
    let list = fs::read_to_string(home.path("logs.txt")).unwrap();
    let again = home.run(&["add-log", &one.key().to_string()]);
    assert_eq!(text(&again.stdout), "known    log.example/one\n");
    assert_eq!(fs::read_to_string(home.path("logs.txt")).unwrap(), list);
    assert_fails(&home.run(&["add-log", "log.example/x+00000000+AAAA"]), 2, "not a verifier key");
    assert_eq!(fs::read_to_string(home.path("logs.txt")).unwrap(), list);

    let running = Running::start(&home, &[]);
    running.caller().post(&one.request(0, 5)).expect(200);
    running.caller().post(&two.request(0, 5)).expect(404);
    home.add(&two);
    running.signal(Signal::SIGHUP);
    let began = Instant::now();
    while running.caller().post(&two.request(0, 5)).status != 200 {
        assert!(began.elapsed() < Duration::from_secs(20), "the list was not taken");
        std::thread::sleep(Duration::from_millis(20));
    }
    // A list that is wrong changes nothing.
    fs::write(home.path("logs.txt"), "nonsense\n").unwrap();
    running.signal(Signal::SIGHUP);
    std::thread::sleep(Duration::from_millis(200));
    running.caller().post(&two.request(5, 5)).expect(200);
    assert_eq!(running.stop(), Some(0));
    assert_fails(&home.run(&["serve"]), 2, "logs.txt line 1");
    let info = home.run(&["info"]);
    assert_fails(&info, 2, "logs.txt line 1");
}

/// R-552, and what else must not be served.
#[test]
fn what_does_not_belong_together_is_refused() {
    let (home, other) = (Home::new(), Home::new());
    let running = Running::start(&home, &[]);
    assert_fails(&home.run(&["serve", "--listen", "127.0.0.1:0"]), 1, "another process has the data open");
    assert_eq!(running.stop(), Some(0));
    let file = |home: &Home, name| home.path(name).display().to_string();
    let (data, mark) = (file(&other, "witness.redb"), file(&other, "witness.mark"));
    assert_fails(&home.run(&["serve", "--data", &data]), 1, "belongs to the witness with key");
    assert_fails(&home.run(&["serve", "--mark", &mark]), 1, "of another witness");
    assert_fails(&home.run(&["serve", "--data", "absent"]), 1, "arbiter witness init");
    assert!(!home.path("absent").exists(), "a witness does not begin again");
    assert_fails(&home.run(&["serve", "--mark", "absent"]), 1, "cannot read the mark");
    assert_fails(&home.run(&["serve", "--listen", "0.0.0.0:0"]), 2, "not loopback");
    assert_fails(&home.run(&["serve", "--prefix", "x/"]), 2, "setting prefix");
    fs::set_permissions(home.path("witness.key"), fs::Permissions::from_mode(0o644)).unwrap();
    assert_fails(&home.run(&["serve"]), 2, "others could read the keys");
}

/// Everything that the witness ever signed, as strangers could collect it.
#[derive(Default)]
struct Collected {
    roots: BTreeMap<u64, Digest>,
    newest: (u64, u64),
}

impl Collected {
    /// Checks one answer against all before it. Answers come in the order in which they were asked for.
    fn take(&mut self, checkpoint: &str, lines: &str, log: &VerifierKey, witness: &[VerifierKey]) {
        let time = crate::times(checkpoint, lines, log, witness)[0];
        let signed = SignedCheckpoint::verify(&format!("{checkpoint}{lines}"), log).unwrap();
        let (size, root) = (signed.checkpoint().size, signed.checkpoint().root);
        assert_eq!(*self.roots.entry(size).or_insert(root), root, "two roots for size {size}");
        assert!(self.newest <= (size, time), "size {size} at {time} after {:?}", self.newest);
        assert!(self.newest.1 <= time, "time goes back");
        self.newest = (size, time);
    }
}

/// R-551, T8: 1,000 successive checkpoints across SIGKILLs, with a log that also tries to cheat. `WITNESS_CHECKPOINTS` sets the
/// number; CI takes a sample.
#[test]
fn kills_never_make_it_sign_two_histories() {
    let wanted: u64 = std::env::var("WITNESS_CHECKPOINTS").map_or(250, |text| text.parse().unwrap());
    let home = Home::new();
    let origin = "log.example/killed";
    // Another history from leaf 100 on, signed with the same key.
    let (log, mut other) = (Log::grown(origin, 1, wanted * 3), Log::grown(origin, 1, 100));
    (100..wanted * 3).for_each(|number| other.append(Digest::of(&[&number.to_be_bytes()])));
    home.add(&log);
    let keys = home.keys();
    let collected = Mutex::new(Collected::default());
    let (mut size, mut cosigned, mut kills, mut forks) = (0_u64, 0_u64, 0_u32, 0_u32);
    let mut dice = 0x5EED_u64;
    let mut roll = |below: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % below
    };
    while cosigned < wanted {
        let mut running = Running::start(&home, &["--max-per-second", "65536"]);
        let caller = running.caller();
        // What it says it has must be what was signed last, or one more: an answer may have been lost.
        let latest = caller.post(&log.request(0, 1.max(size)));
        let known = if latest.status == 409 { latest.body.trim().parse().unwrap() } else { size };
        assert!(known >= collected.lock().unwrap().newest.0, "it has forgotten");
        size = known.max(u64::from(latest.status == 200));
        if latest.status == 200 {
            collected.lock().unwrap().take(&log.checkpoint(size), &latest.body, &log.key(), &keys);
        }
        let (life, dead) = (Duration::from_millis(roll(40)), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let child = &mut running.child;
            scope.spawn(|| {
                std::thread::sleep(life);
                child.kill().unwrap();
                dead.store(true, Ordering::SeqCst);
            });
            while cosigned < wanted {
                if size > 110 && roll(4) == 0 {
                    // The log shows another history.
                    for (old, new) in [(size, size + 1), (size, size), (0, size)] {
                        let proof = if old == 0 { vec![] } else { other.proof(old, new) };
                        match caller.try_post(&body(old, &proof, &other.checkpoint(new))) {
                            Ok(answer) => assert!(matches!(answer.status, 409 | 422), "{answer:?}"),
                            Err(_) => break,
                        }
                        forks += 1;
                    }
                }
                let next = (size + roll(3)).max(1);
                let Ok(answer) = caller.try_post(&log.request(size, next)) else { break };
                collected.lock().unwrap().take(&log.checkpoint(next), answer.expect(200), &log.key(), &keys);
                (size, cosigned) = (next, cosigned + 1);
            }
        });
        assert!(dead.into_inner());
        kills += 1;
        let _ = running.child.wait();
    }
    println!("{cosigned} checkpoints, {kills} kills, {forks} other histories refused");
    assert!(kills > 5 && (wanted < 200 || forks > 10), "{kills} kills, {forks} forks: nothing was tried");
}

fn arbiter(home: &Home, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_arbiter"));
    command.args(arguments).current_dir(home.0.path()).env_clear();
    command
}

/// the real arbiter and the real witness: the published checkpoint is cosigned, and a log that was put in the place of
/// another one is refused at the start.
#[test]
fn an_arbiter_is_witnessed_and_signs_nothing_of_another_log() {
    let home = Home::new();
    let made =
        arbiter(&home, &["init", "--dir", "notary", "--origin", "notary.example/log"]).output().unwrap();
    assert!(made.status.success(), "{}", text(&made.stderr));
    let info = arbiter(&home, &["info", "--config", "notary", "--json"]).output().unwrap();
    let info: serde_json::Value = serde_json::from_slice(&info.stdout).unwrap();
    let log_key = info["log_key"].as_str().unwrap();
    assert!(home.run(&["add-log", log_key]).status.success());
    let witness = Running::start(&home, &[]);
    let key = home.keys().remove(0);
    let policy = format!("log {log_key}\nwitness w {key} http://{}\nquorum w\n", witness.address);
    fs::write(home.path("policy"), &policy).unwrap();

    let serve = |more: &[&str]| {
        let all: [&[&str]; 3] = [
            &["serve", "--config", "notary", "--listen", "127.0.0.1:0", "--listen-log", "127.0.0.1:0"],
            &["--witness-policy", "policy", "--log-filter", "error"],
            more,
        ];
        arbiter(&home, &all.concat()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let mut child = serve(&[]);
    let mut ready = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    let served = ready.split_whitespace().find_map(|word| word.strip_prefix("log_address="));
    let running = Running { address: served.expect("the tile API").to_owned(), child };
    let began = Instant::now();
    let policy = arbiter_protocol::evidence::policy::Policy::parse(&policy).unwrap();
    loop {
        let note = running.caller().get("/checkpoint").body;
        let checkpoint = policy.checkpoint(&note).unwrap();
        if policy.quorum(&checkpoint).unwrap().satisfied {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "not witnessed: {note}");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(running.stop(), Some(0));

    // The same log starts again. Of another one under the same keys only reads are served.
    let mut child = serve(&[]);
    let mut ready = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    assert!(ready.starts_with("arbiter ready"), "{ready}");
    assert_eq!(Running { address: String::new(), child }.stop(), Some(0));
    for name in ["data", "journal"] {
        let path = home.path("notary").join(name);
        if path.exists() {
            fs::rename(&path, path.with_extension("old")).unwrap();
        }
    }
    fs::create_dir(home.path("notary/data")).unwrap();
    let mut child = serve(&[]);
    let mut ready = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    assert!(ready.starts_with("arbiter ready") && ready.contains("log_size=0"), "{ready}");
    let mut stderr = child.stderr.take().unwrap();
    assert_eq!(Running { address: String::new(), child }.stop(), Some(0));
    let mut said = String::new();
    stderr.read_to_string(&mut said).unwrap();
    assert!(said.contains("the log was rolled back: the witness w knows 2 leaves, here are 0"), "{said}");
    assert_eq!(witness.stop(), Some(0));

    // A policy that cannot be used is said before anything is touched.
    fs::write(home.path("policy"), "log x\n").unwrap();
    assert_fails(&serve(&[]).wait_with_output().unwrap(), 2, "witness_policy");
    let far = format!("log {log_key}\nwitness w {key} http://witness.example\nquorum w\n");
    fs::write(home.path("policy"), far).unwrap();
    assert_fails(&serve(&[]).wait_with_output().unwrap(), 2, "https://");
}
