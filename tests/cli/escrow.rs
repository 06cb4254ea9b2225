//! The keys that open escrows, over the real program: made, rotated, taken, lost, destroyed; and what nobody may find.

use std::collections::BTreeSet;

use arbiter::keys::epoch_file::EpochFile;
use arbiter_protocol::escrow::Suite;
use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::exchange::selection::Role::Responder;
use arbiter_protocol::message::agreement::EscrowTerms;
use arbiter_protocol::message::escrow_epoch::EscrowEpoch;
use arbiter_protocol::message::request::Action::Fetch;
use arbiter_protocol::statement::{Envelope, Signed, Verified};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::*;

type Epoch = Verified<EscrowEpoch>;

impl Home {
    fn escrow_file(&self, epoch: u64) -> PathBuf {
        self.path(&format!("arbiter.key.escrow-{epoch}"))
    }

    /// What `info` prints for parties that cannot reach the arbiter.
    fn epochs(&self) -> Vec<Epoch> {
        let info = text(&self.run(&["info"]).stdout);
        let lines = info.lines().filter_map(|line| line.strip_prefix("fairx-escrow:v1:"));
        lines.map(|line| read_epoch(line, &self.identity())).collect()
    }

    fn cast(&self) -> Cast {
        let mut cast = Cast::new(self.identity());
        cast.terms = self.epochs().last().map(|it| EscrowTerms::new(it.clone(), Suite::FAST));
        cast
    }

    fn rotate(&self, arguments: &[&str]) -> Output {
        self.run(&[&["escrow-key", "rotate"], arguments].concat())
    }
}

fn read_epoch(line: &str, arbiter: &ArbiterIdentity) -> Epoch {
    let envelope = Envelope::decode(&URL_SAFE_NO_PAD.decode(line).unwrap()).unwrap();
    Signed::parse(envelope).unwrap().verify(&arbiter.key).unwrap()
}

fn numbers(epochs: &[Epoch]) -> Vec<u64> {
    epochs.iter().map(|it| it.epoch).collect()
}

async fn published(running: &Running, arbiter: &ArbiterIdentity) -> Vec<Epoch> {
    let info = running.parties().await.get_arbiter_info(proto::GetArbiterInfoRequest {}).await.unwrap();
    info.into_inner().escrow_epochs.into_iter().map(|it| epoch(it, arbiter)).collect()
}

fn seed_of(path: &Path) -> String {
    fs::read_to_string(path).unwrap().rsplit('"').nth(1).unwrap().to_owned()
}

/// a new arbiter has a key for ten years; everything says the same about it.
#[tokio::test(flavor = "multi_thread")]
async fn init_makes_the_first_epoch_and_everything_names_it() {
    let home = Home::new();
    assert_eq!(mode(&home.escrow_file(1)), 0o600);
    let epochs = home.epochs();
    assert_eq!(numbers(&epochs), [1]);
    let epoch = &epochs[0];
    assert_eq!(epoch.until.0 - epoch.from.0, 3650 * 86_400_000);
    let info = text(&home.run(&["info"]).stdout);
    assert!(info.contains(&format!("\nescrow   epoch 1 until {}\n", epoch.until)), "{info}");
    let json: serde_json::Value = serde_json::from_slice(&home.run(&["info", "--json"]).stdout).unwrap();
    let of = &json["escrow_epochs"][0];
    assert_eq!((of["epoch"].as_u64(), of["key"].as_str()), (Some(1), Some(hex::encode(epoch.key).as_str())));
    assert_eq!(read_epoch(of["statement"].as_str().unwrap(), &home.identity()), *epoch);
    let shown = text(&home.run(&["check-config"]).stdout);
    assert!(shown.contains("# escrow   epoch 1 until ") && shown.contains("# fairx-escrow:v1:"), "{shown}");
    let list = text(&home.run(&["escrow-key", "list"]).stdout);
    assert_eq!(list.lines().count(), 1);
    assert!(list.starts_with("epoch 1  from ") && list.trim_end().ends_with("opens"), "{list}");
    // The seed is nowhere but in its file.
    let seed = seed_of(&home.escrow_file(1));
    assert_eq!(seed.len(), 64);
    for output in [info, json.to_string(), shown, list] {
        assert!(!output.contains(&seed));
    }
    let running = home.serve(&[]);
    assert_eq!(published(&running, &home.identity()).await, epochs);
    let (code, log) = running.stop();
    assert_eq!(code, Some(0));
    assert!(!log.contains(&seed) && !log.contains("WARN") && !log.contains("ERROR"), "{log}");
    // And `init` overwrites none.
    for gone in ["arbiter.toml", "arbiter.key"] {
        fs::remove_file(home.path(gone)).unwrap();
    }
    fs::rename(home.path("data"), home.path("moved")).unwrap();
    assert_fails(&home.run(&["init", "--dir", "."]), 2, "arbiter.key.escrow-1 exists already");
    assert_eq!(seed_of(&home.escrow_file(1)), seed);
}

/// R-412, S41: a key made while the arbiter serves is taken on SIGHUP; both epochs open.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_is_taken_on_sighup_and_both_keys_open() {
    let home = Home::new();
    let old = home.cast();
    let (running, identity) = (home.serve(&[]), home.identity());
    let first = old.signing();
    let made = home.rotate(&["--opens-for", "400d"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let said = text(&made.stdout);
    assert!(said.contains("epoch    2\n") && said.contains("SIGHUP"), "{said}");
    assert_eq!(mode(&home.escrow_file(2)), 0o600);
    assert_ne!(seed_of(&home.escrow_file(1)), seed_of(&home.escrow_file(2)));
    assert_eq!(numbers(&published(&running, &identity).await), [1], "not before it is told");
    running.signal(Signal::SIGHUP);
    for _ in 0..2000 {
        if published(&running, &identity).await.len() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let epochs = published(&running, &identity).await;
    assert_eq!(numbers(&epochs), [1, 2]);
    assert_eq!(epochs, home.epochs(), "what info prints is what is published");
    let new = home.cast();
    let second = new.signing();
    assert_eq!(second.offer().escrow.as_ref().unwrap().epoch.epoch, 2);
    let mut parties = running.parties().await;
    for (cast, agreement) in [(&old, &first), (&new, &second)] {
        resolve(&mut parties, cast.case(agreement, Originator, Resolve)).await.unwrap();
        let fetched = fetch(&mut parties, cast.case(agreement, Responder, Fetch)).await.unwrap();
        let got = unseal(agreement, Originator, &cast.bob, fetched);
        assert!(got == cast.detached_signature(agreement, Originator));
    }
    // A file that is gone is missed at the next SIGHUP: the operator is told, and the key stays in use.
    fs::rename(home.escrow_file(1), home.path("lost")).unwrap();
    running.signal(Signal::SIGHUP);
    let third = old.signing();
    resolve(&mut parties, old.case(&third, Originator, Resolve)).await.unwrap();
    let list = text(&home.run(&["escrow-key", "list"]).stdout);
    assert!(list.starts_with("epoch 1  missing"), "{list}");
    assert_eq!(published(&running, &identity).await.len(), 2);
    let (code, log) = running.stop();
    assert_eq!(code, Some(0), "SIGHUP ends nothing");
    assert!(log.contains("escrow keys taken"), "{log}");
    assert!(log.contains("restore it before the next start"), "{log}");
    // After a restart it is lost: what names it cannot be opened, and the operator is told so twice.
    let running = home.serve(&[]);
    let fourth = old.signing();
    let mut parties = running.parties().await;
    let lost = resolve(&mut parties, old.case(&fourth, Originator, Resolve)).await;
    assert_reason(lost, tonic::Code::Internal, "ESCROW_KEY_UNKNOWN");
    let (_, log) = running.stop();
    assert!(log.contains("the file of an escrow key is missing") && log.contains("ALARM"), "{log}");
    fs::rename(home.path("lost"), home.escrow_file(1)).unwrap();
    let running = home.serve(&[]);
    resolve(&mut running.parties().await, old.case(&fourth, Originator, Resolve)).await.unwrap();
    assert_eq!(running.stop().0, Some(0));
}

/// An arbiter of before, or one whose files were lost: it serves, says what to do, and `rotate` makes the first epoch.
#[tokio::test(flavor = "multi_thread")]
async fn without_any_epoch_it_serves_and_says_what_to_run() {
    let home = Home::new();
    fs::remove_file(home.escrow_file(1)).unwrap();
    let info = text(&home.run(&["info"]).stdout);
    assert!(info.contains("escrow   none: run arbiter escrow-key rotate\n"), "{info}");
    assert!(text(&home.run(&["escrow-key", "list"]).stdout).contains("run arbiter escrow-key rotate"));
    let running = home.serve(&[]);
    assert!(published(&running, &home.identity()).await.is_empty());
    let cast = Cast::new(home.identity());
    let contract = cast.contract();
    resolve(&mut running.parties().await, cast.case(&contract, Originator, Resolve)).await.unwrap();
    let (_, log) = running.stop();
    assert!(log.contains("there is no escrow key") && log.contains("escrow-key rotate"), "{log}");
    assert!(home.rotate(&[]).status.success());
    assert_eq!(numbers(&home.epochs()), [1]);
}

/// what has ended is destroyed by `retire` and at the start, what has not stays.
#[tokio::test(flavor = "multi_thread")]
async fn ended_epochs_are_destroyed_by_retire_and_at_the_start() {
    let home = Home::new();
    for (bad, part) in
        [("1", "number and a unit"), ("0d", "number and a unit"), ("999999d", "at most 36500d")]
    {
        let output = home.rotate(&["--opens-for", bad]);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains(part), "{}", text(&output.stderr));
    }
    assert!(home.rotate(&["--opens-for", "1s"]).status.success());
    assert!(home.rotate(&["--opens-for", "20d"]).status.success());
    let seeds = [1, 2, 3].map(|epoch| seed_of(&home.escrow_file(epoch)));
    assert_eq!(BTreeSet::from(seeds.clone()).len(), 3);
    let list = || text(&home.run(&["escrow-key", "list"]).stdout);
    until("the second has ended", || list().contains("ended, run arbiter escrow-key retire")).await;
    assert_eq!(numbers(&home.epochs()), [1, 3]);
    let said = text(&home.run(&["escrow-key", "retire"]).stdout);
    assert!(said.starts_with("destroyed epoch 2") && said.contains("backups"), "{said}");
    let files = [1, 2, 3].map(|epoch| fs::read_to_string(home.escrow_file(epoch)).unwrap());
    assert!(files[0].contains(&seeds[0]) && files[2].contains(&seeds[2]));
    assert!(!files[1].contains(&seeds[1]) && files[1].contains(&"0".repeat(64)));
    assert!(list().lines().nth(1).unwrap().ends_with("destroyed"));
    assert!(text(&home.run(&["escrow-key", "retire"]).stdout).starts_with("nothing to destroy"));
    // At the start; and the newest that is left ends soon.
    assert!(home.rotate(&["--opens-for", "1s"]).status.success());
    let fourth = seed_of(&home.escrow_file(4));
    until("the fourth has ended", || list().lines().last().unwrap().contains("ended")).await;
    let (code, log) = home.serve(&[]).stop();
    assert_eq!(code, Some(0));
    assert!(log.contains("destroyed an escrow key that has ended"), "{log}");
    assert!(log.contains("the newest escrow key ends soon"), "20 days are less than 30: {log}");
    assert!(!fs::read_to_string(home.escrow_file(4)).unwrap().contains(&fourth));
    assert_eq!(seed_of(&home.escrow_file(3)), seeds[2]);
}

#[test]
fn escrow_keys_that_cannot_be_used_are_refused_by_name() {
    let home = Home::new();
    let file = home.escrow_file(1);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    for command in ["info", "check-config", "serve"] {
        assert_fails(&home.run(&[command]), 2, "chmod 600");
    }
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let good = fs::read_to_string(&file).unwrap();
    let seed = seed_of(&file);
    fs::write(&file, good.replace(&seed, &seed.chars().rev().collect::<String>())).unwrap();
    let output = home.run(&["serve", "--listen", "127.0.0.1:0"]);
    assert_fails(&output, 2, "its seed is not that of its key");
    // Of another arbiter.
    let other = Home::new();
    fs::copy(other.escrow_file(1), &file).unwrap();
    assert_fails(&home.run(&["serve", "--listen", "127.0.0.1:0"]), 2, "belongs to another arbiter");
    fs::write(&file, good).unwrap();
    assert!(home.run(&["info"]).status.success());
    // The public view of a file has no secret to show.
    let arbiter = home.identity().key;
    let listed = arbiter::keys::epoch_file::list(&home.path("arbiter.key"), &arbiter).unwrap();
    let EpochFile { epoch, key, .. } = &listed[0];
    assert_eq!((*epoch, key.to_vec()), (1, home.epochs()[0].key.to_vec()));
}

/// Everything below a folder.
fn bytes_below(folder: &Path, all: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            bytes_below(&path, all);
        } else {
            all.push((path.clone(), fs::read(path).unwrap()));
        }
    }
}

/// Every form in which bytes may have been written by accident. In base64 a run of bytes has three forms.
fn forms(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut forms =
        vec![bytes.to_vec(), hex::encode(bytes).into_bytes(), hex::encode_upper(bytes).into_bytes()];
    for shift in 0..3 {
        let whole = (bytes.len() - shift) / 3 * 3;
        let run = &bytes[shift..shift + whole];
        forms.push(STANDARD.encode(run).into_bytes());
        forms.push(URL_SAFE_NO_PAD.encode(run).into_bytes());
    }
    // As a list of numbers, as `Debug` prints it.
    forms.push(format!("{bytes:?}").trim_matches(['[', ']']).as_bytes().to_vec());
    forms
}

fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// R-411, F9, S39: what is taken out of escrow is nowhere in the clear: no file of the data folder, no leaf, no log
/// line at the most talkative level, no counter, no receipt. Neither the signature nor its secret half.
#[tokio::test(flavor = "multi_thread")]
async fn an_opened_signature_is_nowhere_in_the_clear() {
    let home = Home::new();
    let cast = home.cast();
    let log = home.path("log");
    let line = "exec \"$0\" serve --listen 127.0.0.1:0 --log-filter trace 2>log";
    let mut command = Command::new("sh");
    command.args(["-c", line, env!("CARGO_BIN_EXE_arbiter")]).current_dir(home.0.path()).env_clear();
    let running = Running::start(command);
    let mut parties = running.parties().await;
    let agreements = [(); 3].map(|()| cast.signing());
    let mut seen: Vec<(PathBuf, Vec<u8>)> = Vec::new();
    for agreement in &agreements {
        let receipt = resolve(&mut parties, cast.case(agreement, Responder, Resolve)).await.unwrap();
        seen.push((PathBuf::from("receipt"), prost::Message::encode_to_vec(&receipt)));
        for role in [Originator, Responder] {
            let fetched = fetch(&mut parties, cast.case(agreement, role, Fetch)).await.unwrap();
            seen.extend(fetched.1.iter().map(|chunk| (PathBuf::from("sealed"), chunk.clone())));
            let got = unseal(agreement, role.peer(), cast.peer(role), fetched);
            assert!(got == cast.detached_signature(agreement, role.peer()));
        }
    }
    let counters = parties.get_counters(proto::GetCountersRequest {}).await.unwrap().into_inner();
    seen.push((PathBuf::from("counters"), prost::Message::encode_to_vec(&counters)));
    let endpoint = Endpoint::from_shared(format!("http://{}", running.address())).unwrap();
    let mut auditors = Auditors::new(endpoint.connect().await.unwrap());
    for index in 0..4 {
        let entry = auditors.get_entry(proto::GetEntryRequest { index }).await.unwrap().into_inner();
        seen.push((PathBuf::from("leaf"), entry.entry.unwrap().leaf));
    }
    // While it runs, and after it has ended: data folder, keys, log.
    bytes_below(home.0.path(), &mut seen);
    running.signal(Signal::SIGTERM);
    assert_eq!(running.end().0, Some(0));
    bytes_below(home.0.path(), &mut seen);

    let secrets: Vec<Vec<u8>> = agreements
        .iter()
        .flat_map(|agreement| [Originator, Responder].map(|role| cast.detached_signature(agreement, role)))
        .flat_map(|signature| [signature[32..].to_vec(), signature])
        .collect();
    for secret in &secrets {
        for form in forms(secret) {
            for (path, bytes) in &seen {
                assert!(!holds(bytes, &form), "{} holds an opened signature", path.display());
            }
        }
    }
    // the escrow is in the data folder, but sealed.
    let escrow = cast.escrow(&agreements[0], Role::Originator).to_bytes();
    let data = home.path("data");
    let in_data =
        |part: &[u8]| seen.iter().any(|(path, bytes)| path.starts_with(&data) && holds(bytes, part));
    assert!(!in_data(&escrow));
    // The search finds what is there: the exchange in a file of the data folder, and in the log.
    let id = agreements[0].exchange_id();
    assert!(in_data(id.as_bytes()));
    let id = id.to_string();
    assert!(seen.iter().any(|(path, bytes)| *path == log && holds(bytes, id.as_bytes())));
    assert!(fs::metadata(&log).unwrap().len() > 10_000, "it was talkative");
    assert!(text(&home.run(&["fsck"]).stdout).starts_with("clean"));
}
