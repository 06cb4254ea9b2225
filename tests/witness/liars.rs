//! witnesses that answer something else than a cosignature. Beside an honest one they change nothing.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arbiter_protocol::crypto::Signer as _;
use arbiter_protocol::evidence::checkpoint::Checkpoint;
use arbiter_protocol::evidence::cosignature::{PosixSeconds, line, message};
use arbiter_protocol::evidence::note::VerifierKey;
use arbiter_protocol::evidence::witness::AddCheckpoint;
use arbiter_protocol::ids::Digest;
use tokio::runtime::Runtime;

use crate::client::{fill, log_key, policy, publish};
use crate::common::World;
use crate::support::*;

/// What a liar says to a request, byte for byte.
type Lie = fn(&AddCheckpoint, &mut TcpStream) -> std::io::Result<()>;

const SEED: u8 = 0x77;

fn key() -> VerifierKey {
    VerifierKey::cosigner("liar.example", signer(SEED).public_key()).unwrap()
}

/// Any cosignature, well formed.
fn cosign(seed: u8, checkpoint: &Checkpoint, time: u64) -> String {
    let (key, time) = (key(), PosixSeconds::new(time).unwrap());
    let signature = signer(seed).sign(&message(&key, time, checkpoint).unwrap());
    format!("{}\n", line(&key, time, &signature).unwrap())
}

fn answer(stream: &mut TcpStream, status: &str, media_type: &str, body: &str) -> std::io::Result<()> {
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: {media_type}\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

fn ok(stream: &mut TcpStream, body: &str) -> std::io::Result<()> {
    answer(stream, "200 OK", "text/plain", body)
}

fn endless(stream: &mut TcpStream, head: &[u8], part: &[u8]) -> std::io::Result<()> {
    stream.write_all(head)?;
    loop {
        stream.write_all(part)?;
    }
}

/// Serves lies, and counts the requests. Ends with the process.
fn liar(lie: Lie) -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (url, asked) = (format!("http://{}", listener.local_addr().unwrap()), Arc::new(AtomicU64::new(0)));
    let counter = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let counter = Arc::clone(&counter);
            std::thread::spawn(move || -> std::io::Result<()> {
                let mut reader = BufReader::new(stream?);
                loop {
                    let mut length = 0;
                    loop {
                        let mut header = String::new();
                        if reader.read_line(&mut header)? == 0 {
                            return Ok(());
                        }
                        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
                            length = value.trim().parse().unwrap();
                        }
                        if header == "\r\n" {
                            break;
                        }
                    }
                    let mut body = vec![0; length];
                    reader.read_exact(&mut body)?;
                    counter.fetch_add(1, Ordering::SeqCst);
                    let request = AddCheckpoint::parse(std::str::from_utf8(&body).unwrap()).unwrap();
                    assert_eq!(request.note().signatures().len(), 1, "only the log's own signature is sent");
                    lie(&request, reader.get_mut())?;
                }
            });
        }
    });
    (url, asked)
}

const LIES: [(&str, Lie); 19] = [
    ("another key signed", |it, to| ok(to, &cosign(SEED + 1, it.claimed(), 1_700_000_000))),
    ("an old root", |it, to| {
        let old = Checkpoint { size: 1, ..it.claimed().clone() };
        ok(to, &cosign(SEED, &old, 1_700_000_000))
    }),
    ("another checkpoint", |it, to| {
        let other = Checkpoint { root: Digest::of(&[b"other"]), ..it.claimed().clone() };
        ok(to, &cosign(SEED, &other, 1_700_000_000))
    }),
    ("one good line and one bad one", |it, to| {
        let other = Checkpoint { root: Digest::of(&[b"other"]), ..it.claimed().clone() };
        ok(to, &(cosign(SEED, it.claimed(), 1_700_000_000) + &cosign(SEED, &other, 1_700_000_000)))
    }),
    ("the time zero", |it, to| {
        let line = cosign(SEED, it.claimed(), 1);
        let (head, encoded) = line.trim().rsplit_once(' ').unwrap();
        use base64::Engine as _;
        let mut bytes = base64::engine::general_purpose::STANDARD.decode(encoded).unwrap();
        bytes[11] = 0;
        ok(to, &format!("{head} {}\n", base64::engine::general_purpose::STANDARD.encode(bytes)))
    }),
    ("nothing", |_, to| ok(to, "")),
    ("garbage", |_, to| ok(to, "\u{0}\u{1}garbage\n\n\n")),
    ("a page", |_, to| answer(to, "200 OK", "text/html", &"<html>".repeat(1000))),
    ("no HTTP", |_, to| to.write_all(b"no HTTP at all\r\n\r\n")),
    ("it hangs up", |_, to| to.shutdown(std::net::Shutdown::Both)),
    ("it never answers", |_, _| {
        std::thread::sleep(Duration::from_secs(60));
        Ok(())
    }),
    ("headers without end", |_, to| {
        endless(to, b"HTTP/1.1 200 OK\r\n", b"x-more: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n")
    }),
    ("a body without end", |_, to| {
        endless(to, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"5\r\naaaa\n\r\n")
    }),
    ("a redirect", |_, to| {
        to.write_all(
            b"HTTP/1.1 307 x\r\nlocation: http://127.0.0.1:1/add-checkpoint\r\ncontent-length: 0\r\n\r\n",
        )
    }),
    ("sizes without end", |it, to| {
        answer(to, "409 x", "text/x.tlog.size", &format!("{}\n", (it.old() + 1).min(it.claimed().size)))
    }),
    ("a size above ours", |_, to| answer(to, "409 x", "text/x.tlog.size", "18446744073709551615\n")),
    ("a conflict without a size", |_, to| answer(to, "409 x", "text/plain", "conflict\n")),
    ("another history", |_, to| answer(to, "422 x", "text/plain", "no\n")),
    ("an error", |_, to| answer(to, "500 x", "text/plain", "no\n")),
];

/// each liar alone beside an honest witness.
#[test]
fn witnesses_that_lie_change_nothing() {
    let runtime = Runtime::new().unwrap();
    let world = runtime.block_on(World::new());
    let folder = tempfile::tempdir().unwrap();
    let mut made = Made::new(folder.path(), &[]);
    made.list = format!("log {}\n", log_key(&world));
    let honest = made.serve();
    let honest_key = &honest.keys[0];
    let honest_url = format!("http://{}", honest.address());
    let liars: Vec<_> = LIES.iter().map(|(name, lie)| (*name, liar(*lie))).collect();
    let key = key();
    let mut size = 1;
    let mut publish_beside = |names: &str, members: Vec<(&VerifierKey, String)>| {
        let text = policy(&world, 1, &members);
        let (publisher, published) = runtime.block_on(publish(&world, &text));
        for _ in 0..3 {
            size += 1;
            runtime.block_on(fill(&world, size));
            let began = Instant::now();
            let (found, good) =
                runtime.block_on(
                    published.covering(size - 1, Duration::from_secs(20), |it| published.quorum(it)),
                );
            assert!(good, "{names}: the honest witness is not heard");
            assert!(began.elapsed() < Duration::from_secs(4), "{names}: {:?}", began.elapsed());
            assert!(
                found.cosignatures(std::slice::from_ref(&key)).unwrap().is_empty(),
                "{names}: a lie counts"
            );
            assert_eq!(found.cosignatures(std::slice::from_ref(honest_key)).unwrap().len(), 1, "{names}");
            assert!(found.note().signatures().iter().all(|it| it.name() != "liar.example"), "{names}");
        }
        runtime.block_on(publisher.stop()).unwrap();
    };
    for (name, (url, asked)) in &liars {
        publish_beside(name, vec![(honest_key, honest_url.clone()), (&key, url.clone())]);
        assert!(asked.load(Ordering::SeqCst) > 0, "{name} was not asked");
        // Left alone after a failure: not asked at every checkpoint.
        assert!(asked.load(Ordering::SeqCst) < 40, "{name} was asked again and again");
    }
    honest.stop();
    runtime.block_on(world.engine.stop());
}

/// The key that the liars have is good: an honest answer under it counts.
#[test]
fn the_liars_key_would_count() {
    let runtime = Runtime::new().unwrap();
    let world = runtime.block_on(World::new());
    let (url, _) = liar(|it, to| ok(to, &cosign(SEED, it.claimed(), 1_700_000_000)));
    let key = key();
    let (publisher, published) = runtime.block_on(publish(&world, &policy(&world, 1, &[(&key, url)])));
    let found = runtime.block_on(published.covering(0, Duration::from_secs(20), |it| published.quorum(it)));
    assert!(found.1, "no quorum");
    runtime.block_on(publisher.stop()).unwrap();
    runtime.block_on(world.engine.stop());
}
