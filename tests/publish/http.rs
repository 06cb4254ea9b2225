//! the tile API over real HTTP.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arbiter::grpc::{Api, Server, Transport};
use arbiter::publish::http::{Bounds, router};
use arbiter::publish::{Cosigners, Pace, Prove, Published, Publisher};
use arbiter_protocol::evidence::checkpoint::SignedCheckpoint;
use arbiter_protocol::evidence::note::{NoteSignature, VerifierKey};
use arbiter_protocol::evidence::tile::{TileKind, TilePath, entries};
use arbiter_protocol::exchange::selection::{ByRole, Role};
use arbiter_protocol::message::request::Action;
use flate2::read::GzDecoder;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::common::{World, until};

/// An arbiter with its tile API.
pub struct Site {
    pub world: World,
    pub publisher: Publisher,
    pub published: Published,
    server: Server,
}

/// Nothing is published between the tests' own doings.
pub const SELDOM: Pace = Pace {
    interval: Duration::from_secs(3600),
    refresh: Duration::from_secs(3600),
    retry: Duration::from_secs(3600),
};

const BOUNDS: Bounds = Bounds { max_requests: 64, request_timeout: Duration::from_secs(20) };

/// No witness, but one can see when they would be asked.
#[derive(Default)]
struct Asked(AtomicBool);

#[async_trait::async_trait]
impl Cosigners for Asked {
    async fn cosign(&self, _: &SignedCheckpoint, _: Prove, _: mpsc::Sender<NoteSignature>) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn quorum(&self, _: &SignedCheckpoint) -> bool {
        true
    }
}

impl Site {
    /// With so many leaves, all of them published.
    pub async fn new(leaves: u64) -> Self {
        Self::on(World::new().await, leaves, SELDOM, BOUNDS).await
    }

    pub async fn on(world: World, leaves: u64, pace: Pace, bounds: Bounds) -> Self {
        fill(&world, leaves).await;
        let asked = Arc::new(Asked::default());
        let started = Publisher::start(world.engine.clone(), asked.clone(), pace, None).await;
        let (publisher, published) = started.unwrap();
        // From here on nothing is published before the interval is over.
        until("the first round", || asked.0.load(Ordering::SeqCst)).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let router = router(world.engine.clone(), published.clone(), None, bounds);
        let (max_streams, request_timeout) = (8, bounds.request_timeout);
        let transport = Transport { max_streams, request_timeout, ..Api::default().into() };
        let server = Server::start_http(transport, listener, router).await.unwrap();
        Self { world, publisher, published, server }
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    pub fn key(&self) -> VerifierKey {
        key(&self.world)
    }

    /// Ends the server; the arbiter goes on.
    pub async fn close(self) -> World {
        self.server.stop().await.unwrap();
        self.publisher.stop().await.unwrap();
        self.world
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[]).await
    }

    pub async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: log\r\nconnection: close\r\n");
        headers.iter().for_each(|(name, value)| request += &format!("{name}: {value}\r\n"));
        let mut stream = TcpStream::connect(self.address()).await.unwrap();
        stream.write_all((request + "\r\n").as_bytes()).await.unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        let split = all.windows(4).position(|it| it == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(all[..split].to_vec()).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        Answer { status, headers: lines.map(header).collect(), body: all[split + 4..].to_vec() }
    }
}

pub fn key(world: &World) -> VerifierKey {
    VerifierKey::new(world.arbiter.log_origin.as_str(), world.arbiter.log_key).unwrap()
}

/// Rulings until the log has so many leaves.
pub async fn fill(world: &World, leaves: u64) {
    let mut filing = Vec::new();
    for _ in world.engine.log_size()..leaves {
        let agreement = world.contract();
        let case = world.case(&agreement, Role::Originator, Action::Abort).admit(&world.arbiter).unwrap();
        let engine = world.engine.clone();
        filing.push(tokio::spawn(async move { engine.file(case, ByRole::default()).await.unwrap() }));
    }
    for filed in filing {
        filed.await.unwrap();
    }
    assert_eq!(world.engine.log_size(), leaves);
}

pub struct Answer {
    pub status: u16,
    headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

fn path(kind: TileKind, index: u64, width: u16) -> TilePath {
    TilePath::new(kind, index, width).unwrap()
}

/// every width that the checkpoint covers is there and is cut from the wider one; the next wider one is not.
#[tokio::test(flavor = "multi_thread")]
async fn every_width_of_the_published_size_is_served_and_no_other() {
    let site = Site::new(301).await;
    for kind in [TileKind::Entries, TileKind::Hashes(0), TileKind::Hashes(1)] {
        let count: u64 = if kind == TileKind::Hashes(1) { 1 } else { 301 };
        for index in 0..=count / 256 {
            let widest = u16::try_from((count - index * 256).min(256)).unwrap();
            let whole = site.get(&format!("/{}", path(kind, index, widest))).await;
            assert_eq!(whole.status, 200);
            for width in 1..=widest {
                let asked = path(kind, index, width);
                let part = site.get(&format!("/{asked}")).await;
                assert_eq!(part.status, 200, "{asked}");
                assert_eq!(part.body, asked.cut(&whole.body).unwrap(), "{asked}");
            }
            if widest < 256 {
                for width in [widest + 1, 255, 256] {
                    let beyond = site.get(&format!("/{}", path(kind, index, width))).await;
                    assert_eq!((beyond.status, beyond.header("cache-control")), (404, "no-store"));
                }
            }
        }
    }
    // Leaves come as they are in the log, and hashes as they are in the tree.
    let bundle = path(TileKind::Entries, 1, 45);
    let body = site.get(&format!("/{bundle}")).await.body;
    let leaves = site.world.engine.entries(256, 45).unwrap();
    assert_eq!(entries(&bundle, &body).unwrap(), leaves);
    let tile = site.get("/tile/0/001.p/45").await.body;
    let hashes: Vec<u8> =
        leaves.iter().flat_map(|leaf| arbiter_protocol::evidence::merkle::leaf_hash(leaf).to_vec()).collect();
    assert_eq!(tile, hashes);
    site.close().await.engine.stop().await;
}

///
#[tokio::test(flavor = "multi_thread")]
async fn media_types_caching_compression_and_methods_are_those_of_the_standard() {
    let site = Site::new(20).await;
    let checkpoint = site.get("/checkpoint").await;
    assert_eq!(checkpoint.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(checkpoint.header("cache-control"), "public, max-age=1");
    let verified = SignedCheckpoint::verify(checkpoint.text(), &site.key()).unwrap();
    assert_eq!(verified, *site.published.newest());
    assert_eq!(verified.checkpoint().size, 20);

    let for_ever = "public, max-age=31536000, immutable";
    let plain = site.get("/tile/entries/000.p/20").await;
    assert_eq!(plain.header("content-type"), "application/octet-stream");
    assert_eq!((plain.header("cache-control"), plain.header("vary")), (for_ever, "accept-encoding"));
    assert_eq!(plain.header("content-encoding"), "");
    let zipped = site.ask("GET", "/tile/entries/000.p/20", &[("accept-encoding", "br, gzip;q=0.5")]).await;
    assert_eq!((zipped.header("content-encoding"), zipped.header("cache-control")), ("gzip", for_ever));
    let mut unzipped = Vec::new();
    GzDecoder::new(zipped.body.as_slice()).read_to_end(&mut unzipped).unwrap();
    assert_eq!(unzipped, plain.body);
    assert!(zipped.body.len() < plain.body.len() / 2, "{}", zipped.body.len());
    let refused = site.ask("GET", "/tile/entries/000.p/20", &[("accept-encoding", "gzip;q=0")]).await;
    assert_eq!(refused.body, plain.body);
    // Hashes do not compress.
    let hashes = site.ask("GET", "/tile/0/000.p/20", &[("accept-encoding", "gzip")]).await;
    assert_eq!((hashes.header("content-encoding"), hashes.body.len()), ("", 640));
    assert_eq!(
        (hashes.header("content-type"), hashes.header("cache-control")),
        ("application/octet-stream", for_ever)
    );

    let head = site.ask("HEAD", "/tile/0/000.p/20", &[]).await;
    assert_eq!((head.status, head.body.len(), head.header("content-length")), (200, 0, "640"));
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        for path in ["/checkpoint", "/tile/0/000.p/1", "/"] {
            let answer = site.ask(method, path, &[("content-length", "0")]).await;
            assert_eq!(answer.status, 405, "{method} {path}");
        }
    }
    let page = site.get("/").await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/plain; charset=utf-8"));
    assert!(page.text().contains(&site.key().to_string()) && page.text().contains("fairx audit"));
    site.close().await.engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_paths_are_not_found_and_are_not_cached() {
    let site = Site::new(3).await;
    for path in [
        "/tile/0/000",
        "/tile/0/000.p/4",
        "/tile/0/000.p/03",
        "/tile/0/000.p/0",
        "/tile/0/0",
        "/tile/0/001.p/1",
        "/tile/1/000.p/1",
        "/tile/64/000.p/1",
        "/tile/8/000.p/1",
        "/tile/entries/000.p/4",
        "/tile/entries/x000/000.p/1",
        "/tile/entries/../0/000.p/1",
        "/tile/data/000.p/1",
        "/tile/",
        "/tile/0/000.p/1/",
        "/tile/0/%30%30%30.p/1",
        "//tile/0/000.p/1",
        "/checkpoint/",
        "/checkpoint.txt",
        "/arbiter.v1.EvidenceLogService/GetCheckpoint",
        "/tile/0/x999/x999/x999/x999/x999/x999/999.p/1",
    ] {
        let answer = site.get(path).await;
        assert_eq!((answer.status, answer.header("cache-control")), (404, "no-store"), "{path}");
    }
    let long = format!("/tile/0/{}", "x000/".repeat(4000));
    assert!([404, 414, 431].contains(&site.get(&long).await.status));
    assert_eq!(site.get("/tile/0/000.p/3").await.status, 200);
    site.close().await.engine.stop().await;
}

/// leaves that are durable, but not published yet, are not there.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_served_before_it_is_published() {
    let site = Site::new(3).await;
    fill(&site.world, 5).await;
    assert_eq!(site.get("/tile/0/000.p/4").await.status, 404);
    assert_eq!(site.get("/tile/entries/000.p/4").await.status, 404);
    assert!(site.get("/checkpoint").await.text().contains("\n3\n"));
    let world = site.close().await;
    // Whoever ends publishes what there is.
    let site = Site::on(world, 5, SELDOM, BOUNDS).await;
    assert_eq!(site.get("/tile/0/000.p/5").await.status, 200);
    site.close().await.engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_the_room_are_told_to_come_back() {
    let bounds = Bounds { max_requests: 0, ..BOUNDS };
    let site = Site::on(World::new().await, 1, SELDOM, bounds).await;
    for path in ["/checkpoint", "/tile/0/000.p/1", "/"] {
        let answer = site.get(path).await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, "1"), "{path}");
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    site.close().await.engine.stop().await;
}

/// Who asks for much and takes nothing is cut off, and others are served meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn who_takes_nothing_loses_its_connection() {
    let bounds = Bounds { request_timeout: Duration::from_secs(1), ..BOUNDS };
    let site = Site::on(World::new().await, 256, SELDOM, bounds).await;
    let size = site.get("/tile/entries/000").await.body.len();
    let mut greedy = TcpStream::connect(site.address()).await.unwrap();
    let asked = 2000;
    let requests = "GET /tile/entries/000 HTTP/1.1\r\nhost: log\r\n\r\n".repeat(asked);
    let (mut reads, mut writes) = greedy.split();
    writes.write_all(requests.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(site.get("/checkpoint").await.status, 200);
    let mut taken = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(20), reads.read_to_end(&mut taken)).await;
    assert!(ended.is_ok(), "the connection is still open");
    assert!(taken.len() < asked * size / 2, "{} bytes were sent", taken.len());
    site.close().await.engine.stop().await;
}
