//! Records over the real program: erased, opened, handed over; and the arbiter that goes on for another.

use arbiter::store::raw::Tamper as _;
use arbiter_client::bundle::Bundle;
use arbiter_client::verify::{Trust, verify};
use arbiter_protocol::evidence::leaf::{Event, Leaf};
use arbiter_protocol::ids::Digest;
use arbiter_protocol::message::succession::SignedSuccession;
use arbiter_protocol::statement::Envelope;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::*;

/// Every file below a folder that holds these bytes.
fn files_with(folder: &Path, part: &[u8]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, part));
        } else if fs::read(&path).unwrap().windows(part.len()).any(|window| window == part) {
            found.push(path);
        }
    }
    found
}

fn stored(home: &Home, family: Family, key: &[u8]) -> Vec<u8> {
    let keys = arbiter::keys::file::load(&home.path("arbiter.key")).unwrap();
    let store = RocksStore::open(&home.path("data"), &home.identity(), keys.vault()).unwrap();
    let entry = store.entries(family).into_iter().find(|(found, _)| found == key).unwrap();
    schema::unprotect(family, key, entry.1).unwrap()
}

/// The newest leaf, as the arbiter serves it.
async fn last_leaf(running: &Running) -> Leaf {
    use proto::evidence_log_service_client::EvidenceLogServiceClient;
    let index = running.value("log_size").parse::<u64>().unwrap() - 1;
    let endpoint = Endpoint::from_shared(format!("http://{}", running.address())).unwrap();
    let mut log = EvidenceLogServiceClient::new(endpoint.connect().await.unwrap());
    let entry = log.get_entry(proto::GetEntryRequest { index }).await.unwrap().into_inner();
    Leaf::decode(&entry.entry.unwrap().leaf).unwrap()
}

/// an operator opens one field, hands over a record, and erases another; nothing of it is in any file, and the
/// arbiter says so for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_opened_handed_over_and_erased() {
    let home = Home::new();
    let running = home.serve(&[]);
    let cast = Cast::new(home.identity());
    let mut parties = running.parties().await;
    let [kept, erased] = [cast.contract(), cast.contract()];
    for agreement in [&kept, &erased] {
        resolve(&mut parties, cast.case(agreement, Originator, Resolve)).await.unwrap();
    }
    assert_eq!(running.stop().0, Some(0));
    let (kept_id, id) = (kept.exchange_id().to_string(), erased.exchange_id().to_string());

    // The whole record: a bundle that anybody with the pinned identity decides again.
    let whole = home.run(&["open", "--exchange", &kept_id]);
    assert_eq!(whole.status.code(), Some(0), "{}", text(&whole.stderr));
    let bundle = Bundle::parse(&whole.stdout).unwrap();
    assert!(verify(&bundle, Trust::Pinned(&home.identity()), &[]).good);
    // One field: the acceptance, and nothing else.
    let field = home.run(&["open", "--exchange", &kept_id, "--field", "acceptance"]);
    let opened: serde_json::Value = serde_json::from_slice(&field.stdout).unwrap();
    assert_eq!(opened[0]["format"], "application/vnd.arbiter.openings.v1+json");
    let [one] = &opened[0]["openings"].as_array().unwrap()[..] else { panic!("{opened}") };
    let value = STANDARD.decode(one["value"].as_str().unwrap()).unwrap();
    assert_eq!(value, kept.acceptance().envelope().payload());
    assert!(Leaf::decode(opened[0]["leaf"].as_str().unwrap().as_bytes()).is_ok());
    assert_fails(&home.run(&["open", "--exchange", &"0".repeat(64)]), 1, "nothing is recorded");
    assert_eq!(home.run(&["open", "--exchange", &kept_id, "--field", "price"]).status.code(), Some(2));

    let sealed = [Family::Keys, Family::Records].map(|it| stored(&home, it, &erased.exchange_id().to_vec()));
    let places = ["data", "journal"].map(|name| home.path(name));
    for (place, bytes) in places.iter().flat_map(|place| sealed.iter().map(move |bytes| (place, bytes))) {
        assert!(!files_with(place, bytes).is_empty(), "the test looks where it is: {}", place.display());
    }
    let done = home.run(&["erase", "--exchange", &id, "--reason", "request"]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    assert_eq!(text(&done.stdout), format!("erased   {id}\nleaf     4\n"));
    for place in &places {
        for bytes in &sealed {
            assert_eq!(files_with(place, bytes), Vec::<PathBuf>::new());
        }
        let name = files_with(place, erased.exchange_id().as_bytes());
        assert_eq!(name, Vec::<PathBuf>::new(), "not even its name");
    }
    let again = home.run(&["erase", "--exchange", &id]);
    assert_eq!(text(&again.stdout), format!("erased   {id}\nleaf     4\n"), "again is the same");
    assert_fails(&home.run(&["open", "--exchange", &id]), 1, "was erased");
    assert_eq!(home.run(&["erase", "--exchange", &id, "--reason", "boredom"]).status.code(), Some(2));
    let clean = home.run(&["fsck"]);
    assert!(text(&clean.stdout).starts_with("clean: 5 leaves, 1 verdicts, 0 attestations, 1 erased"));

    let running = home.serve(&[]);
    assert_eq!(last_leaf(&running).await.event, Event::Erasure);
    let mut parties = running.parties().await;
    let refused = resolve(&mut parties, cast.case(&erased, Originator, Resolve)).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition, "{refused:?}");
    assert!(format!("{:?}", tonic_types::StatusExt::get_error_details(&refused)).contains("ERASED"));
    resolve(&mut parties, cast.case(&kept, Originator, Resolve)).await.unwrap();
    assert_eq!(running.stop().0, Some(0));
}

async fn policy_of(running: &Running) -> String {
    let mut parties = running.parties().await;
    parties.get_arbiter_info(proto::GetArbiterInfoRequest {}).await.unwrap().into_inner().policy
}

/// what is declared is published, its hash is in the log, and a change is a leaf before anything else.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_declared_is_in_the_log() {
    let home = Home::new();
    let running = home.serve(&[]);
    let policy = policy_of(&running).await;
    assert!(policy.starts_with("arbiter/policy/v1\nbuild "), "{policy}");
    let leaf = last_leaf(&running).await;
    assert_eq!((leaf.event, leaf.token), (Event::PolicyChange, Digest::of(&[policy.as_bytes()])));
    assert_eq!(running.stop().0, Some(0));
    let running = home.serve(&[]);
    assert_eq!(running.value("log_size"), "2", "nothing has changed");
    assert_eq!(running.stop().0, Some(0));
    home.append("terms = \"Ask us first.\"\n");
    let running = home.serve(&[]);
    let changed = policy_of(&running).await;
    assert_ne!(changed, policy);
    let leaf = last_leaf(&running).await;
    assert_eq!((leaf.index.0, leaf.token), (2, Digest::of(&[changed.as_bytes()])));
    assert_eq!(running.stop().0, Some(0));
    assert_eq!(home.run(&["fsck"]).status.code(), Some(0));
}

/// an arbiter names its successor once, in its log and under both keys; both publish it, and the old one goes on.
#[tokio::test(flavor = "multi_thread")]
async fn an_arbiter_names_the_one_that_goes_on() {
    let home = Home::new();
    let running = home.serve(&[]);
    let old = home.identity();
    let cast = Cast::new(old.clone());
    let agreement = cast.contract();
    assert_eq!(running.stop().0, Some(0));
    assert_fails(&home.run(&["succeed", "--to", "."]), 2, "shares a key or its origin");
    assert!(home.run(&["init", "--dir", "next", "--origin", "next.example/log"]).status.success());
    let done = home.run(&["succeed", "--to", "next"]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    assert_fails(&home.run(&["succeed", "--to", "next"]), 2, "exists already");
    assert_eq!(home.run(&["fsck"]).status.code(), Some(0));

    let published = |arguments: &[&str]| {
        let info = text(&home.run(&[&["info"], arguments].concat()).stdout);
        let line = info.lines().find_map(|it| it.strip_prefix("fairx-succession:v1:").map(str::to_owned));
        let line = line.unwrap_or_else(|| panic!("{info}"));
        let (by_old, by_new) = line.split_once('.').unwrap();
        [by_old, by_new].map(|it| Envelope::decode(&URL_SAFE_NO_PAD.decode(it).unwrap()).unwrap())
    };
    let [by_old, by_new] = published(&[]);
    assert_eq!(published(&["--config", "next"]), [by_old.clone(), by_new.clone()]);
    let signed = SignedSuccession::after(&old, by_old.clone(), by_new.clone()).unwrap();
    assert_eq!(signed.statement().to.log_origin.as_str(), "next.example/log");

    let running = home.serve(&[]);
    let leaf = last_leaf(&running).await;
    assert_eq!((leaf.event, leaf.reason, leaf.token), (Event::KeyRotation, "R-537", signed.digest()));
    let mut parties = running.parties().await;
    let served = parties.get_arbiter_info(proto::GetArbiterInfoRequest {}).await.unwrap().into_inner();
    let [succession] = &served.successions[..] else { panic!("{served:?}") };
    assert_eq!(succession.by_new.as_ref().unwrap(), &by_new.to_wire());
    // It goes on serving the agreements that name it.
    resolve(&mut parties, cast.case(&agreement, Originator, Resolve)).await.unwrap();
    assert_eq!(running.stop().0, Some(0));

    // A file of somebody else is not published.
    fs::copy(home.path("arbiter.key.successor"), home.path("arbiter.key.predecessor")).unwrap();
    assert_fails(&home.run(&["info"]), 2, "succession of this arbiter");
    assert_fails(&home.run(&["serve", "--listen", "127.0.0.1:0"]), 2, "succession of this arbiter");
}
