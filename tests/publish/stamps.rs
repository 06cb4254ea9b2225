//! the arbiter has its log stamped by an authority, and is held up by none.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use arbiter::anchors::{Anchors, AnchorsError};
use arbiter::fsck::{Problem, check_anchors};
use arbiter::grpc::{Api, Server, Transport};
use arbiter::publish::http::{Bounds, router};
use arbiter::publish::stamps::{Authority as Asked, Stamper};
use arbiter::publish::{Alone, Pace, Published, Publisher};
use arbiter_client::audit::Source;
use arbiter_client::bundle::Bundle;
use arbiter_client::bundle::upgrade::{Upgrade, anchored, find_anchor};
use arbiter_client::verify::{Finding, Trust, Verifier};
use arbiter_protocol::evidence::anchor::Anchor;
use arbiter_protocol::evidence::leaf::{Event, Leaf};
use arbiter_protocol::evidence::tlog_proof::TlogProof;
use arbiter_protocol::exchange::selection::Role::Originator;
use arbiter_protocol::ids::{Digest, LeafIndex};
use arbiter_protocol::message::request::Action::{Abort, Query};
use arbiter_protocol::ruling::receipt::Receipt;
use arbiter_protocol::timestamp::{Authorities, Token};
use arbiter_protocol::wire::arbiter as proto;
use tokio::task::JoinHandle;

use crate::authority::{Authority, Kind};
use crate::common::{World, abort, until};
use crate::http::fill;
use crate::queries::{policy, serve};

const OFTEN: Pace = Pace {
    interval: Duration::from_millis(20),
    refresh: Duration::from_secs(3600),
    retry: Duration::from_secs(3600),
};
const HOUR: Duration = Duration::from_secs(3600);

fn start(
    world: &World,
    published: &Published,
    anchors: &Arc<Anchors>,
    url: &str,
    trusted: &[u8],
    every: Duration,
) -> JoinHandle<()> {
    let asked = Arc::new(Asked::new(url, Authorities::parse(trusted).unwrap()));
    let (engine, anchors) = (world.engine.clone(), Arc::clone(anchors));
    tokio::spawn(Stamper::new(engine, published.clone(), anchors, asked, every).run())
}

/// The leaves `anchor` of the log.
fn anchor_leaves(world: &World) -> Vec<Leaf> {
    let leaves = world.engine.entries(0, usize::MAX).unwrap();
    let leaves = leaves.iter().map(|leaf| Leaf::decode(leaf).unwrap());
    leaves.filter(|leaf| leaf.event == Event::Anchor).collect()
}

/// T1: stamped without being asked, found by leaf and over HTTP, checked by OpenSSL, and in the evidence that
/// parties get.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_stamped_and_evidence_carries_it() {
    let authority = Arc::new(Authority::new(Kind::P256));
    let (trusted, url) = (authority.root(), authority.clone().serve());
    let place = tempfile::tempdir().unwrap();
    let world = World::new().await;
    fill(&world, 5).await;
    let anchors = Arc::new(Anchors::new(&place.path().join("anchors"), &world.arbiter));
    let (publisher, published) =
        Publisher::start(world.engine.clone(), Arc::new(Alone), OFTEN, None).await.unwrap();
    let api =
        Api { published: Some(published.clone()), anchors: Some(Arc::clone(&anchors)), ..Api::default() };
    let world = serve(world, api).await;
    let stamper = start(&world, &published, &anchors, &url, &trusted, Duration::from_millis(1));
    until("an anchor", || anchors.counts() == (1, 0)).await;
    let leaves = anchor_leaves(&world);
    let [leaf] = leaves.as_slice() else { panic!("{leaves:?}") };
    assert_eq!((leaf.index, leaf.reason), (LeafIndex(5), "R-536"));
    let found = anchors.at(&world.engine, leaf.index).unwrap().unwrap();
    assert_eq!((found.checkpoint.checkpoint().size, leaf.token), (5, found.anchor.digest()));
    assert!(authority.openssl_verifies(found.anchor.token(), found.checkpoint.note().text()));
    for other in [0, 4, 6, u64::MAX] {
        assert_eq!(anchors.at(&world.engine, LeafIndex(other)).unwrap(), None);
    }
    // A log with nothing new but its anchor is left alone, now and after a restart.
    assert!(published.covers(5).await);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((world.engine.log_size(), anchors.counts()), (6, (1, 0)));
    stamper.abort();
    let _ = stamper.await;
    let stamper = start(&world, &published, &anchors, &url, &trusted, Duration::from_millis(1));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(world.engine.log_size(), 6);

    // A ruling is stamped in its turn, and its party gets the token with a proof under the checkpoint that it is over.
    let contract = world.contract();
    abort(&mut world.parties().await, world.case(&contract, Originator, Abort)).await.unwrap();
    until("the ruling is stamped", || anchors.counts() == (2, 0)).await;
    let ask = async |min_witnesses| {
        let case = Some(world.case(&contract, Originator, Query));
        let request = proto::GetEvidenceRequest { case, min_witnesses, wait_millis: 1 };
        world.parties().await.get_evidence(request).await.unwrap().into_inner()
    };
    let reply = ask(0).await;
    assert!(reply.witnessed);
    let [evidence] = reply.evidence.as_slice() else { panic!("{reply:?}") };
    let [token] = evidence.timestamps.as_slice() else { panic!("no token") };
    let proof = TlogProof::parse(&evidence.tlog_proof).unwrap();
    let leaf = evidence.receipt.as_ref().unwrap().leaf.clone();
    assert_eq!(proof.verify(&leaf, &policy(&world)).unwrap().index, LeafIndex(6));
    let text = proof.note().text().as_bytes().to_vec();
    let said = Token::parse(token).unwrap().verify(&text, &Authorities::parse(&trusted).unwrap());
    assert_eq!(said.unwrap().authority, "CN=tsa");
    // Nor need anybody ask for it: it is beside the tiles, and goes into a bundle from there.
    let bounds = Bounds { max_requests: 8, request_timeout: Duration::from_secs(20) };
    let router = router(world.engine.clone(), published.clone(), Some(Arc::clone(&anchors)), bounds);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let transport = Transport { max_streams: 8, ..Api::default().into() };
    let tiles = Server::start_http(transport, listener, router).await.unwrap();
    let log = Source::open(&format!("http://{}", tiles.address()));
    let receipt = Receipt::try_from(evidence.receipt.clone().unwrap()).unwrap();
    let bundle = {
        let acceptance = Some(contract.acceptance().envelope().clone());
        Bundle::new(contract.offer().envelope().clone(), acceptance, [None, None], vec![receipt])
    };
    let (identity, size) = (world.arbiter.clone(), world.engine.log_size());
    // What is read below is served from the checkpoint on that covers it.
    assert!(published.covers(size - 1).await);
    let found = tokio::task::spawn_blocking(move || {
        for nothing in [0, 6, 8, 900] {
            assert_eq!(log.anchor(LeafIndex(nothing)).unwrap(), None, "{nothing}");
        }
        let find =
            |after| find_anchor(LeafIndex(after), size, |it| log.tile(&it), |it| log.anchor(it)).unwrap();
        assert_eq!(find(7), None);
        assert_eq!(find(0).unwrap().digest(), find(4).unwrap().digest());
        let (anchor, mut bundle) = (find(6).unwrap(), bundle);
        for _ in 0..2 {
            let told = anchored(&mut bundle, &anchor, |it| log.tile(&it)).unwrap();
            assert!(matches!(told[..], [Upgrade::Added { size: 7, cosignatures: 0 }]), "{told:?}");
        }
        let trusted = Authorities::parse(&trusted).unwrap();
        let verifier = Verifier { authorities: Some(&trusted), ..Verifier::new(Trust::Pinned(&identity)) };
        let report = verifier.verify(&bundle);
        assert_eq!(report.finding, Finding::Good, "{:#?}", report.checks);
        assert!(report.proves.iter().any(|it| it.contains("time-stamping authority CN=tsa")));
        bundle.receipts[0].timestamps.clone()
    });
    assert_eq!(found.await.unwrap(), evidence.timestamps, "once");
    tiles.stop().await.unwrap();
    // A time-stamp is no witness.
    let reply = ask(1).await;
    assert!(!reply.witnessed && reply.evidence[0].timestamps.is_empty());
    stamper.abort();
    publisher.stop().await.unwrap();
}

/// What an authority answers.
#[derive(Clone, Copy, Debug)]
enum Lie {
    Nothing,
    Status,
    Endless,
    Garbage,
    Refusal,
    OtherText,
    Replay,
    Stranger,
}

/// Answers every request with this.
fn lying(lie: Lie, authority: Arc<Authority>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/tsa", listener.local_addr().unwrap());
    let other = Authority::new(Kind::P256);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut bytes = vec![0; 4096];
            let mut length = 0;
            // A query is 59 bytes or a few more, in one or two pieces.
            let query = loop {
                length += stream.read(&mut bytes[length..]).unwrap();
                let end = bytes[..length].windows(4).position(|it| it == b"\r\n\r\n");
                match end.map(|end| bytes[end + 4..length].to_vec()) {
                    Some(query) if query.len() > 2 && query.len() == usize::from(query[1]) + 2 => {
                        break query;
                    }
                    _ => {}
                }
            };
            let place = query.windows(2).position(|it| it == [4, 32]).unwrap() + 2;
            let mut altered = query.clone();
            let reply = match lie {
                Lie::Nothing => continue,
                Lie::Status | Lie::Garbage => b"<html>sorry</html>".to_vec(),
                Lie::Endless => vec![0x30; 1 << 20],
                // PKIStatus rejection.
                Lie::Refusal => vec![0x30, 5, 0x30, 3, 2, 1, 2],
                Lie::OtherText => {
                    altered[place] ^= 1;
                    authority.reply(&altered)
                }
                Lie::Replay => {
                    // The last byte of the nonce.
                    altered[query.len() - 4] ^= 1;
                    authority.reply(&altered)
                }
                Lie::Stranger => other.reply(&query),
            };
            let status = if matches!(lie, Lie::Status) { "503 Busy" } else { "200 OK" };
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/timestamp-reply\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                reply.len()
            );
            let _ = stream.write_all(&[head.as_bytes(), &reply].concat());
        }
    });
    url
}

/// whatever an authority does, nothing of it is logged, and rulings and publishing go on.
#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_is_away_or_lies_holds_up_nothing() {
    let authority = Arc::new(Authority::new(Kind::P256));
    let trusted = authority.root();
    let place = tempfile::tempdir().unwrap();
    let world = World::new().await;
    let (publisher, published) =
        Publisher::start(world.engine.clone(), Arc::new(Alone), OFTEN, None).await.unwrap();
    let lies = [
        Lie::Nothing,
        Lie::Status,
        Lie::Endless,
        Lie::Garbage,
        Lie::Refusal,
        Lie::OtherText,
        Lie::Replay,
        Lie::Stranger,
    ];
    let urls = lies.map(|lie| (format!("{lie:?}"), lying(lie, Arc::clone(&authority))));
    for (lie, url) in urls.into_iter().chain([("away".to_owned(), "http://127.0.0.1:1".to_owned())]) {
        let anchors = Arc::new(Anchors::new(place.path(), &world.arbiter));
        let stamper = start(&world, &published, &anchors, &url, &trusted, Duration::from_millis(1));
        until(&lie, || anchors.counts().1 > 0).await;
        let contract = world.contract();
        let case = world.case(&contract, Originator, Abort);
        abort(&mut world.parties().await, case).await.unwrap();
        let size = world.engine.log_size();
        assert!(published.covers(size - 1).await, "{lie}: publishing goes on");
        assert_eq!((anchors.counts().0, anchor_leaves(&world).len()), (0, 0), "{lie}");
        assert!(anchors.tokens().unwrap().is_empty(), "{lie}");
        stamper.abort();
        let _ = stamper.await;
    }
    // When it is good again, it is taken.
    let anchors = Arc::new(Anchors::new(place.path(), &world.arbiter));
    let stamper = start(&world, &published, &anchors, &authority.serve(), &trusted, HOUR);
    until("an anchor", || anchors.counts() == (1, 0)).await;
    stamper.abort();
    publisher.stop().await.unwrap();
}

/// T7: a file that is not what was written is never used, and found with its leaf.
#[tokio::test(flavor = "multi_thread")]
async fn an_anchor_that_was_altered_is_found() {
    let authority = Arc::new(Authority::new(Kind::P256));
    let (trusted, url) = (authority.root(), authority.serve());
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("anchors");
    let world = World::new().await;
    fill(&world, 5).await;
    let anchors = Arc::new(Anchors::new(&folder, &world.arbiter));
    let (publisher, published) =
        Publisher::start(world.engine.clone(), Arc::new(Alone), OFTEN, None).await.unwrap();
    let stamper = start(&world, &published, &anchors, &url, &trusted, HOUR);
    until("an anchor", || anchors.counts() == (1, 0)).await;
    stamper.abort();
    publisher.stop().await.unwrap();
    let leaf = anchor_leaves(&world).pop().unwrap();
    let store = &world.store.inner;
    assert_eq!(check_anchors(store, &folder, &world.arbiter).unwrap(), (1, 0));
    let path = folder.join(leaf.token.to_string());
    let good = std::fs::read(&path).unwrap();
    let step = if std::env::var_os("ARBITER_TRIALS").is_some() { 1 } else { 29 };
    for at in (0..good.len()).step_by(step) {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        std::fs::write(&path, &bad).unwrap();
        let read = anchors.read(&leaf.token);
        assert!(matches!(read, Err(AnchorsError::Damaged { .. })), "byte {at}: {read:?}");
        assert_eq!(anchors.at(&world.engine, leaf.index).unwrap(), None);
        let fault = check_anchors(store, &folder, &world.arbiter).unwrap_err();
        assert_eq!(fault.index, Some(5), "byte {at}: {fault}");
    }
    std::fs::write(&path, &good).unwrap();
    // A checkpoint of ours over another tree: only who has the log's key can make it.
    let other = World::new().await;
    fill(&other, 6).await;
    let note = arbiter_protocol::evidence::note::Note::parse(&other.engine.checkpoint().unwrap()).unwrap();
    let digest = Digest::of(&[note.text().as_bytes()]);
    let authority = Authority::new(Kind::P256);
    let reply = authority.reply(&arbiter_protocol::timestamp::query(&digest, 7));
    let token = arbiter_protocol::timestamp::granted(&reply, &digest, 7).unwrap();
    anchors.keep(&Anchor::new(token, note).unwrap()).unwrap();
    let fault = check_anchors(store, &folder, &world.arbiter).unwrap_err();
    assert!(matches!(fault.problem, Problem::AnchorTree), "{fault}");
    // What is gone is counted.
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(check_anchors(store, &folder, &world.arbiter).unwrap(), (0, 1));
}
