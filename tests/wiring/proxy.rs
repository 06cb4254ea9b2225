//! A TCP proxy that reads HTTP/2 frames as they pass, and fails on purpose at one gRPC message.
//!
//! ```text
//!  who dials ──There──▶ │ preface │ frame, frame, … │ ──▶ who listens
//!            ◀──Back─── │  messages are counted      │ ◀──
//! ```
//!
//! Invariants
//! - Messages are counted over all connections, each way by itself, from 1. A fault happens once.
//! - A fault takes effect before anything that its message causes can pass: ways are held before the last byte is passed on.
//! - Held bytes are kept and passed on when the line is healed, as after a retransmission. Nothing is ever altered.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A way through the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// From who dials.
    There,
    /// To who dials.
    Back,
}

/// Where in the messages of one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// When so many messages have passed; with 0, when there is a connection and nothing has passed.
    After(u32),
    /// In the middle of this one.
    Within(u32),
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Both ends hear a regular end of the stream.
    Fin,
    /// Nothing passes any more, and nobody is told: a partition of one way or of both.
    Hold {
        /// From who dials.
        there: bool,
        /// To who dials.
        back: bool,
    },
    /// The connection is reset, and so are the next ones, so many.
    Reset(u32),
}

/// Nothing passes in either way.
pub const SILENCE: What = What::Hold { there: true, back: true };

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    pub way: Way,
    pub place: Place,
    pub what: What,
}

/// The line as it is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Line {
    held: [bool; 2],
    refused: u32,
    /// How often it was cut, and whether the last time with a reset.
    cut: u64,
    reset: bool,
}

struct State {
    target: Mutex<SocketAddr>,
    fault: Mutex<Option<Fault>>,
    line: watch::Sender<Line>,
    hit: watch::Sender<bool>,
    messages: [AtomicU32; 2],
    connections: AtomicU32,
    /// Bytes a second from who dials and to who dials; 0 is no limit.
    rate: [AtomicU64; 2],
}

/// A running proxy. Dropping it ends every connection.
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// A line to `target` with at most one fault.
    pub async fn start(target: SocketAddr, fault: Option<Fault>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            target: Mutex::new(target),
            fault: Mutex::new(fault),
            line: watch::Sender::new(Line::default()),
            hit: watch::Sender::new(false),
            messages: [AtomicU32::new(0), AtomicU32::new(0)],
            connections: AtomicU32::new(0),
            rate: [AtomicU64::new(0), AtomicU64::new(0)],
        });
        let task = tokio::spawn(accept(listener, Arc::clone(&state)));
        Self { address, state, task }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on connections lead there.
    pub fn lead_to(&self, target: SocketAddr) {
        *self.state.target.lock().unwrap() = target;
    }

    /// Waits for the fault.
    pub async fn hit(&self) {
        self.state.hit.subscribe().wait_for(|hit| *hit).await.unwrap();
    }

    pub fn was_hit(&self) -> bool {
        *self.state.hit.borrow()
    }

    /// What was held passes.
    pub fn heal(&self) {
        self.state.line.send_modify(|line| line.held = [false, false]);
    }

    /// Holds these ways from now on.
    pub fn hold(&self, there: bool, back: bool) {
        self.state.line.send_modify(|line| line.held = [there, back]);
    }

    /// Resets every connection.
    pub fn reset(&self) {
        self.state.line.send_modify(|line| (line.cut, line.reset) = (line.cut + 1, true));
    }

    /// How many bytes a second pass in a way; 0 is no limit.
    pub fn slow_down(&self, way: Way, rate: u64) {
        self.state.rate[index(way)].store(rate, Ordering::SeqCst);
    }

    /// How many messages have passed in a way.
    pub fn messages(&self, way: Way) -> u32 {
        self.state.messages[index(way)].load(Ordering::SeqCst)
    }

    /// How many connections there were.
    pub fn connections(&self) -> u32 {
        self.state.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.reset();
    }
}

const fn index(way: Way) -> usize {
    match way {
        Way::There => 0,
        Way::Back => 1,
    }
}

impl State {
    /// Takes the fault if this is its place.
    fn take(&self, way: Way, place: Place) -> Option<What> {
        let mut fault = self.fault.lock().unwrap();
        let here = fault.is_some_and(|it| it.way == way && it.place == place);
        if here { fault.take().map(|it| it.what) } else { None }
    }

    /// What must be in effect before the last byte passes.
    fn prepare(&self, what: What) {
        self.line.send_modify(|line| match what {
            What::Hold { there, back } => line.held = [there, back],
            What::Reset(refused) => line.refused = refused,
            What::Fin => {}
        });
    }

    /// What comes after it.
    fn perform(&self, what: What) {
        self.line.send_modify(|line| match what {
            What::Hold { .. } => {}
            What::Reset(_) => (line.cut, line.reset) = (line.cut + 1, true),
            What::Fin => (line.cut, line.reset) = (line.cut + 1, false),
        });
        self.hit.send_replace(true);
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    loop {
        let Ok((mut near, _)) = listener.accept().await else { continue };
        if state.line.borrow().refused > 0 {
            state.line.send_modify(|line| line.refused -= 1);
            let _ = near.set_zero_linger();
            continue;
        }
        state.connections.fetch_add(1, Ordering::SeqCst);
        let (state, target) = (Arc::clone(&state), *state.target.lock().unwrap());
        tokio::spawn(async move {
            let Ok(mut far) = TcpStream::connect(target).await else {
                let _ = near.set_zero_linger();
                return;
            };
            for end in [&near, &far] {
                let _ = end.set_nodelay(true);
            }
            let mut line = state.line.subscribe();
            let before = line.borrow_and_update().cut;
            for way in [Way::There, Way::Back] {
                if let Some(what) = state.take(way, Place::After(0)) {
                    state.prepare(what);
                    state.perform(what);
                }
            }
            {
                let (near_in, near_out) = near.split();
                let (far_in, far_out) = far.split();
                tokio::select! {
                    _ = line.wait_for(|line| line.cut != before) => {}
                    _ = async {
                        tokio::join!(
                            pump(&state, Way::There, near_in, far_out),
                            pump(&state, Way::Back, far_in, near_out),
                        )
                    } => {}
                }
            }
            if state.line.borrow().reset {
                let _ = (near.set_zero_linger(), far.set_zero_linger());
            } else {
                let _ = (near.shutdown().await, far.shutdown().await);
            }
        });
    }
}

/// Carries bytes in one way until its end, stops where the line is held.
async fn pump(state: &State, way: Way, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) {
    let mut line = state.line.subscribe();
    let mut frames = Frames::new(way);
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        if read == 0 {
            let open = line.wait_for(|line| !line.held[index(way)]).await;
            let _ = (open.map(drop), to.shutdown().await);
            return;
        }
        let mut rest = &buffer[..read];
        while !rest.is_empty() {
            // Ends only with the proxy.
            let _ = line.wait_for(|line| !line.held[index(way)]).await.map(drop);
            let (taken, what) = frames.until_fault(rest, state);
            if let Some(what) = what {
                state.prepare(what);
            }
            let (now, later) = rest.split_at(taken);
            rest = later;
            if pass(state, way, &mut to, now).await.is_err() {
                // Who sends hears of it when the other way ends.
                return;
            }
            if let Some(what) = what {
                state.perform(what);
                if matches!(what, What::Fin | What::Reset(_)) {
                    std::future::pending::<()>().await;
                }
            }
        }
    }
}

async fn pass(state: &State, way: Way, to: &mut WriteHalf<'_>, bytes: &[u8]) -> std::io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let rate = state.rate[index(way)].load(Ordering::SeqCst);
        if rate == 0 {
            return to.write_all(rest).await;
        }
        // Twenty times a second a twentieth.
        let part = usize::try_from(rate / 20).unwrap().clamp(1, rest.len());
        to.write_all(&rest[..part]).await?;
        rest = &rest[part..];
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Reads frames: RFC 9113 section 4.1, and inside DATA the length-prefixed messages of gRPC.
struct Frames {
    way: Way,
    preface: usize,
    head: Vec<u8>,
    left: usize,
    data: bool,
    stream: u32,
    messages: BTreeMap<u32, Message>,
}

#[derive(Default)]
struct Message {
    head: Vec<u8>,
    size: usize,
    left: usize,
}

/// Where bytes end that were looked at.
enum Mark {
    Half,
    Whole,
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

impl Frames {
    const fn new(way: Way) -> Self {
        let preface = if matches!(way, Way::There) { PREFACE.len() } else { 0 };
        Self { way, preface, head: Vec::new(), left: 0, data: false, stream: 0, messages: BTreeMap::new() }
    }

    /// Counts messages up to the fault, if it is in these bytes: how many bytes may pass, and the fault.
    fn until_fault(&mut self, bytes: &[u8], state: &State) -> (usize, Option<What>) {
        let mut taken = 0;
        while taken < bytes.len() {
            let (step, mark) = self.step(&bytes[taken..]);
            taken += step;
            let passed = &state.messages[index(self.way)];
            let place = match mark {
                None => continue,
                Some(Mark::Half) => Place::Within(passed.load(Ordering::SeqCst) + 1),
                Some(Mark::Whole) => Place::After(passed.fetch_add(1, Ordering::SeqCst) + 1),
            };
            if let Some(what) = state.take(self.way, place) {
                return (taken, Some(what));
            }
        }
        (taken, None)
    }

    /// The next bytes that belong together.
    fn step(&mut self, bytes: &[u8]) -> (usize, Option<Mark>) {
        if self.preface > 0 {
            let step = self.preface.min(bytes.len());
            self.preface -= step;
            return (step, None);
        }
        if self.left == 0 {
            let step = (9 - self.head.len()).min(bytes.len());
            self.head.extend(&bytes[..step]);
            if let [a, b, c, kind, _flags, d, e, f, g] = self.head[..] {
                self.left = usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap();
                (self.data, self.stream) = (kind == 0, u32::from_be_bytes([d, e, f, g]) & 0x7fff_ffff);
                self.head.clear();
            }
            return (step, None);
        }
        let most = self.left.min(bytes.len());
        let (step, mark) = if self.data {
            self.messages.entry(self.stream).or_default().step(&bytes[..most])
        } else {
            (most, None)
        };
        self.left -= step;
        (step, mark)
    }
}

impl Message {
    fn step(&mut self, bytes: &[u8]) -> (usize, Option<Mark>) {
        if self.left == 0 {
            let step = (5 - self.head.len()).min(bytes.len());
            self.head.extend(&bytes[..step]);
            if let [_compressed, a, b, c, d] = self.head[..] {
                self.size = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap();
                self.left = self.size;
                self.head.clear();
                return (step, (self.size == 0).then_some(Mark::Whole));
            }
            return (step, None);
        }
        let (got, half) = (self.size - self.left, self.size / 2);
        let next = if got < half { half - got } else { self.left };
        let step = next.min(bytes.len());
        self.left -= step;
        let mark = match self.left {
            0 => Some(Mark::Whole),
            _ if got + step == half => Some(Mark::Half),
            _ => None,
        };
        (step, mark)
    }
}

/// The proxy's own reading of frames: a fault in the wrong place would prove nothing.
#[test]
fn messages_are_found_however_the_bytes_arrive() {
    let frame = |kind: u8, stream: u32, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, 0], &stream.to_be_bytes(), payload].concat()
    };
    let message = |size: u8| [&[0, 0, 0, 0, size][..], &vec![7; usize::from(size)]].concat();
    let (long, two) = (message(100), [message(3), message(0)].concat());
    let bytes = [
        PREFACE.to_vec(),
        frame(4, 0, &[1; 12]),
        frame(1, 1, &[2; 30]),
        frame(0, 1, &long[..40]),
        frame(0, 3, &two),
        frame(0, 1, &long[40..]),
    ]
    .concat();
    for step in [1, 2, 7, 40, bytes.len()] {
        let mut frames = Frames::new(Way::There);
        let mut found = Vec::new();
        let mut passed = 0;
        for part in bytes.chunks(step) {
            let mut rest = part;
            while !rest.is_empty() {
                let (taken, mark) = frames.step(rest);
                assert!(taken > 0);
                rest = &rest[taken..];
                passed += taken;
                if let Some(mark) = mark {
                    found.push((passed, matches!(mark, Mark::Whole)));
                }
            }
        }
        let end = bytes.len();
        let other = 24 + (9 + 12) + (9 + 30) + (9 + 40) + 9;
        let expected =
            [(other + 6, false), (other + 8, true), (other + 13, true), (end - 50, false), (end, true)];
        assert_eq!(found, expected, "{step}");
    }
}
