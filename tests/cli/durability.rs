//! A data folder that was put back from an old copy, over the real program: brought up to date by the journal, or only read,
//! restored, and served again.

use std::time::Instant;

use arbiter_protocol::message::request::Action::Abort;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt as _;

use super::*;

impl Home {
    fn copy(&self, from: &str, to: &str) {
        let _ = fs::remove_dir_all(self.path(to));
        fs::create_dir(self.path(to)).unwrap();
        for entry in fs::read_dir(self.path(from)).unwrap().map(Result::unwrap) {
            fs::copy(entry.path(), self.path(to).join(entry.file_name())).unwrap();
        }
    }
}

impl Running {
    fn endpoint(&self) -> Endpoint {
        Endpoint::from_shared(format!("http://{}", self.address())).unwrap()
    }

    async fn health(&self, service: &str) -> ServingStatus {
        let mut health = HealthClient::new(self.endpoint().connect().await.unwrap());
        let request = HealthCheckRequest { service: service.into() };
        health.check(request).await.unwrap().into_inner().status()
    }

    async fn auditors(&self) -> Auditors {
        Auditors::new(self.endpoint().connect().await.unwrap())
    }
}

struct Ruled(proto::Case, proto::Receipt);

async fn rule(parties: &mut Parties, cast: &Cast) -> Ruled {
    let agreement = cast.contract();
    let case = cast.case_without_acceptance(&agreement, Abort);
    let receipt = abort(parties, case.clone()).await.unwrap();
    Ruled(case, receipt)
}

/// the journal brings an old copy up to date, and says so.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_copy_of_the_data_folder_is_brought_up_to_date() {
    let home = Home::new();
    let cast = Cast::new(home.identity());
    let running = home.serve(&[]);
    let before = rule(&mut running.parties().await, &cast).await;
    assert_eq!(running.stop().0, Some(0));
    home.copy("data", "copy");
    let running = home.serve(&[]);
    let after = rule(&mut running.parties().await, &cast).await;
    assert_eq!(running.stop().0, Some(0));
    home.copy("copy", "data");
    let clean = text(&home.run(&["fsck"]).stdout);
    assert!(clean.starts_with("clean: 3 leaves") && clean.contains("5 commits in the journal"), "{clean}");
    let running = home.serve(&[]);
    assert_eq!(running.value("log_size"), "4");
    for Ruled(case, receipt) in [before, after] {
        assert_eq!(abort(&mut running.parties().await, case).await.unwrap(), receipt);
    }
    let (code, log) = running.stop();
    assert_eq!(code, Some(0));
    assert!(log.contains("carried out again"), "{log}");
}

/// the whole way of an operator whose disk was put back.
#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_that_was_rolled_back_is_read_restored_and_served() {
    let home = Home::new();
    let cast = Cast::new(home.identity());
    let mut ruled = Vec::new();
    let serve = async |count: usize, ruled: &mut Vec<Ruled>| {
        let running = home.serve(&[]);
        for _ in 0..count {
            ruled.push(rule(&mut running.parties().await, &cast).await);
        }
        running
    };
    assert_eq!(serve(2, &mut ruled).await.stop().0, Some(0));
    home.copy("data", "copy");
    assert_eq!(serve(2, &mut ruled).await.stop().0, Some(0));
    // The journal is lost and begins anew: it does not reach back to the copy.
    fs::remove_dir_all(home.path("journal")).unwrap();
    let running = serve(1, &mut ruled).await;
    let request = proto::ListEntriesRequest::default();
    let entries = running.auditors().await.list_entries(request).await.unwrap().into_inner().entries;
    let leaves: Vec<_> = entries.into_iter().map(|entry| entry.leaf).collect();
    let request = proto::GetCheckpointRequest::default();
    let note = running.auditors().await.get_checkpoint(request).await.unwrap().into_inner().checkpoint;
    export::write(&leaves, &note, &home.path("export"));
    ruled.push(rule(&mut running.parties().await, &cast).await);
    assert_eq!(running.stop().0, Some(0));
    let clean = text(&home.run(&["fsck", "--export", "export"]).stdout);
    assert!(clean.contains("7 leaves in the export"), "{clean}");

    home.copy("copy", "data");
    let running = home.serve(&[]);
    assert_eq!(running.value("log_size"), "4");
    let asked = Instant::now();
    while running.health("arbiter.v1.ArbiterService").await != ServingStatus::NotServing {
        assert!(asked.elapsed() < Duration::from_secs(20), "health never says it");
    }
    assert_eq!(running.health("arbiter.v1.EvidenceLogService").await, ServingStatus::Serving);
    for Ruled(case, _) in &ruled {
        let refused = abort(&mut running.parties().await, case.clone()).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable, "{refused}");
        assert_eq!(refused.get_details_error_info().unwrap().reason, "READ_ONLY");
        assert!(refused.get_details_retry_info().is_some());
    }
    let request = proto::ListEntriesRequest::default();
    let entries = running.auditors().await.list_entries(request).await.unwrap().into_inner().entries;
    assert_eq!(entries.len(), 4, "the log is read");
    let request = proto::GetCheckpointRequest::default();
    assert_eq!(running.auditors().await.get_checkpoint(request).await.unwrap_err().code(), Code::Unavailable);
    let mut parties = running.parties().await;
    let counters = parties.get_counters(proto::GetCountersRequest {}).await.unwrap().into_inner().counters;
    let count = |name: &str| counters.iter().find(|it| it.name == name).unwrap().value;
    assert_eq!((count("read_only"), count("refused_read_only") >= 6), (1, true));
    let (code, log) = running.stop();
    assert_eq!(code, Some(0));
    assert!(log.contains("ALARM") && log.contains("the log was rolled back"), "{log}");

    assert_fails(&home.run(&["fsck"]), 1, "the journal knows 8 leaves: the data folder is older");
    assert_fails(
        &home.run(&["restore", "--from", "nowhere"]),
        1,
        "nothing was put back: cannot read nowhere",
    );
    let restored = home.run(&["restore", "--from", "export"]);
    assert!(restored.status.success(), "{}", text(&restored.stderr));
    let said = text(&restored.stdout);
    assert!(
        said.starts_with("restored: 4 leaves before, 9 now, 2 records from the journal; the records of 2"),
        "{said}"
    );
    let clean = text(&home.run(&["fsck", "--export", "export"]).stdout);
    assert!(clean.contains("the records of 2 exchanges are lost"), "{clean}");
    let running = home.serve(&[]);
    assert_eq!(running.value("log_size"), "9");
    assert_eq!(running.health("arbiter.v1.ArbiterService").await, ServingStatus::Serving);
    for (n, Ruled(case, receipt)) in ruled.iter().enumerate() {
        let again = abort(&mut running.parties().await, case.clone()).await;
        if [2, 3].contains(&n) {
            let lost = again.unwrap_err();
            assert_eq!(lost.code(), Code::DataLoss, "{lost}");
            let info = lost.get_details_error_info().unwrap().clone();
            assert_eq!((info.reason.as_str(), &info.metadata["leaf"]), ("RULING_LOST", &(n + 2).to_string()));
        } else {
            assert_eq!(again.unwrap(), *receipt, "ruling {n}");
        }
    }
    rule(&mut running.parties().await, &cast).await;
    assert_eq!(running.stop().0, Some(0));
    assert_fails(&home.run(&["restore", "--from", "export"]), 1, "nothing is missing");
}

/// a journal of a wrong arbiter, and one that is damaged, are named; without a journal it serves, and says so.
#[tokio::test(flavor = "multi_thread")]
async fn journals_that_cannot_be_used_are_named() {
    let (home, other) = (Home::new(), Home::new());
    for one in [&home, &other] {
        assert_eq!(one.serve(&[]).stop().0, Some(0));
    }
    let foreign = other.path("journal").display().to_string();
    let output = home.run(&["serve", "--listen", "127.0.0.1:0", "--journal", &foreign]);
    assert_fails(&output, 1, "it belongs to another arbiter");
    let (code, log) = home.serve(&["--journal", ""]).stop();
    assert_eq!(code, Some(0));
    assert!(log.contains("there is no journal"), "{log}");
    for _ in 0..3 {
        assert_eq!(home.serve(&[]).stop().0, Some(0));
    }
    let newest = fs::read_dir(home.path("journal")).unwrap().map(|it| it.unwrap().path()).max().unwrap();
    let mut bytes = fs::read(&newest).unwrap();
    bytes[30] ^= 1;
    fs::write(&newest, bytes).unwrap();
    let part = ".journal: byte 0 begins an item whose checksum does not fit";
    assert_fails(&home.run(&["serve", "--listen", "127.0.0.1:0"]), 1, part);
    assert_fails(&home.run(&["fsck"]), 1, part);
    let shown = text(&home.run(&["check-config"]).stdout);
    assert!(shown.contains(&format!("journal = \"{}\"", home.path("journal").display())), "{shown}");
}
