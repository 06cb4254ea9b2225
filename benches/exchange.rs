//! What fairness costs when nobody cheats: a 1 MiB file for a signed receipt, against sending the bytes twice.
//!
//! Question: how long does an honest exchange take end to end (offer, acceptance, sealed file, receipt, both
//! journals durable), and how does that compare with sending the same bytes over the same transport twice?
//! Both peers run in this process on loopback. The arbiter does not run at all.

#![allow(
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a benchmark may fail"
)]
#![allow(missing_docs, reason = "a program")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arbiter_client::clock::{Clock as _, SystemClock};
use arbiter_client::protocol::crypto::{MemorySigner, SealingSecret, Signer as _};
use arbiter_client::protocol::escrow::Suite;
use arbiter_client::protocol::evidence::checkpoint::Origin;
use arbiter_client::protocol::exchange::item::Item;
use arbiter_client::protocol::limits;
use arbiter_client::protocol::message::agreement::ArbiterIdentity;
use arbiter_client::protocol::role::arbiter::RULES;
use arbiter_client::protocol::time::DurationMillis;
use arbiter_client::transport::grpc::{Dialer, Listener};
use arbiter_client::transport::{Content, Event, PeerMessage, Transport, Want};
use arbiter_client::{Client, Give, Identity, OfferTerms, Outcome, items};
use zeroize::Zeroizing;

/// The file that is delivered.
const FILE_BYTES: usize = 1 << 20;

fn main() {
    // `cargo test` runs benches too, without arguments that say so: then once shows that it works.
    let rounds = if std::env::args().any(|argument| argument == "--bench") { 40 } else { 1 };
    let folder = tempfile::Builder::new().prefix("arbiter-bench").tempdir_in(target()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (mut exchanges, mut sends) = runtime.block_on(async {
        let peers = Peers::new(folder.path()).await;
        let (mut exchanges, mut sends) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            // Turn and turn about, so that a slow moment of the machine meets both.
            exchanges.push(peers.exchange(round).await);
            sends.push(peers.send_twice().await);
        }
        (exchanges, sends)
    });
    exchanges.sort();
    sends.sort();
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    let (exchange, send) = (exchanges[exchanges.len() / 2], sends[sends.len() / 2]);
    println!(
        "\nHonest exchange of a 1 MiB file for a receipt, both peers and journals, no arbiter; {rounds} rounds"
    );
    println!("{:<44} {:>10} {:>10}", "", "p50 ms", "worst ms");
    println!(
        "{:<44} {:>10.1} {:>10.1}",
        "exchange, offer to both outcomes",
        ms(exchange),
        ms(exchanges[exchanges.len() - 1])
    );
    println!(
        "{:<44} {:>10.1} {:>10.1}",
        "the same bytes, same transport, twice",
        ms(send),
        ms(sends[sends.len() - 1])
    );
    println!("the exchange takes {:.1} times the sending", exchange.as_secs_f64() / send.as_secs_f64());
}

struct Peers {
    alice: Client,
    bob: Client,
    file: PathBuf,
    receipt: Item,
    delivery: Item,
}

impl Peers {
    async fn new(folder: &Path) -> Self {
        let file = folder.join("file.bin");
        let content: Vec<u8> = (0..FILE_BYTES).map(|i| (i * 31 % 251) as u8).collect();
        tokio::fs::write(&file, content).await.unwrap();
        let described = items::describe(&file, None).await.unwrap();
        let key = |byte| MemorySigner::from_seed(&Zeroizing::new([byte; 32])).public_key();
        let arbiter = ArbiterIdentity {
            key: key(1),
            log_key: key(2),
            log_origin: Origin::parse("bench.example/log").unwrap(),
            rules: RULES.to_owned(),
        };
        Self {
            alice: client(&folder.join("alice"), &arbiter, 11, "Alice").await,
            bob: client(&folder.join("bob"), &arbiter, 21, "Bob").await,
            file,
            receipt: items::signature("Receipt", "", described.clone()),
            delivery: items::file(described),
        }
    }

    async fn exchange(&self, _round: usize) -> Duration {
        let mut listener = Listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let mut dialer = Dialer::new(&format!("http://{}", listener.local_addr())).unwrap();
        let started = Instant::now();
        let terms = OfferTerms {
            responder: self.bob.party(),
            originator_item: self.delivery.clone(),
            responder_item: self.receipt.clone(),
            complain_by: Some(SystemClock.now().after(DurationMillis(3_600_000))),
            send_by: None,
            suite: Suite::DEFAULT,
        };
        let id = self.alice.offer(terms, Give::File(self.file.clone())).await.unwrap();
        let bob = async {
            let mut peer = listener.accept().await;
            let offer = self.bob.next_offer(&mut peer).await.unwrap();
            let id = self.bob.accept(&offer, Give::Nothing).await.unwrap();
            self.bob.run(id, &mut peer).await.unwrap()
        };
        let (one, other) = tokio::join!(self.alice.run(id, &mut dialer), bob);
        let took = started.elapsed();
        assert!(matches!((one.unwrap(), other), (Outcome::Completed(_), Outcome::Completed(_))));
        took
    }

    /// The bytes of the file in chunks of the same size, twice over one connection, until all have arrived.
    async fn send_twice(&self) -> Duration {
        let mut listener = Listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let mut dialer = Dialer::new(&format!("http://{}", listener.local_addr())).unwrap();
        // A connection is routed by the offer that comes first; this one is known to both sides.
        let terms = OfferTerms {
            responder: self.bob.party(),
            originator_item: self.receipt.clone(),
            responder_item: self.receipt.clone(),
            complain_by: None,
            send_by: None,
            suite: Suite::DEFAULT,
        };
        let id = self.alice.offer(terms, Give::Nothing).await.unwrap();
        let offer = self.alice.status(id).await.unwrap().evidence.offer;
        let content = tokio::fs::read(&self.file).await.unwrap();
        let started = Instant::now();
        let sender = async {
            deliver(&mut dialer, PeerMessage::Statement(offer.envelope().clone(), None)).await;
            for _ in 0..2 {
                for (number, chunk) in content.chunks(limits::CHUNK_BYTES).enumerate() {
                    let content = Content {
                        encapsulated: (number == 0).then(|| vec![0; 32]),
                        sealed: chunk.to_vec(),
                        last: (number + 1) * limits::CHUNK_BYTES >= FILE_BYTES,
                    };
                    deliver(&mut dialer, PeerMessage::Content(content)).await;
                }
            }
            dialer.close().await;
        };
        let receiver = async {
            let mut peer = listener.accept().await;
            let mut bytes = 0;
            while bytes < 2 * FILE_BYTES {
                if let Event::Message(PeerMessage::Content(content)) = peer.next(Want::Events).await {
                    bytes += content.sealed.len();
                }
            }
            let took = started.elapsed();
            peer.close().await;
            took
        };
        tokio::join!(sender, receiver).1
    }
}

async fn deliver(transport: &mut dyn Transport, message: PeerMessage) {
    loop {
        match transport.next(Want::Room).await {
            Event::Room => break transport.send(message).unwrap(),
            Event::Lost => panic!("a loopback connection was lost"),
            _ => {}
        }
    }
}

async fn client(folder: &Path, arbiter: &ArbiterIdentity, seed: u8, name: &str) -> Client {
    let signer = MemorySigner::from_seed(&Zeroizing::new([seed; 32]));
    let sealing = SealingSecret::from_seed(&Zeroizing::new([seed + 1; 32]));
    Client::builder()
        .arbiter("http://127.0.0.1:9") // Nobody is there, and nobody asks.
        .arbiter_identity(arbiter.clone())
        .identity(Identity::new(Arc::new(signer), sealing, name))
        .store(folder)
        .build()
        .await
        .unwrap()
}

/// On the disk that builds are on: journals in memory would make durability free.
fn target() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}
