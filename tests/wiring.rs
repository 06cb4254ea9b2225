//! Wiring under faults: the real gRPC server, the real clients and peers, and a network that does what networks do.
//!
//! ```text
//!  Alice ── Dialer ──▶ Proxy ──▶ Listener ── Bob          exchanges with escrow, P1 and P2
//!    └─ GrpcArbiter ─▶ Proxy ──▶ Server (in this process, or the real program) ◀── Proxy ◀── Bob
//!                        └ cuts, holds, refuses, slows down: at one message, in one way or both
//! ```
//!
//! Why a proxy in the test and not network namespaces or a simulated network: the faults that decide about fairness happen
//! *between two messages*, or within one. Only who reads the frames can cut there, every time, on every machine. Rules of a
//! firewall act on packets at some time, need root, and test the retransmission of the kernel, which is not ours. A simulated
//! network would replace the sockets, threads and TLS that are to be tested here.
//!
//! What is asserted: after every fault both parties end and the exchange is fair (F1, F4), both hear one verdict (F5), a request
//! that is sent again gets it (F6), and of what broke off nothing is left. A fault comes when a message has passed, not when a
//! time has; no test asserts that something is fast. [`scene::LONG`] only ends a test that hangs.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may fail")]

#[path = "wiring/arbiter.rs"]
mod arbiter_link;
#[path = "wiring/certificates.rs"]
mod certificates;
mod common;
#[path = "wiring/memory.rs"]
mod memory;
#[path = "wiring/overload.rs"]
mod overload;
#[path = "wiring/peers.rs"]
mod peers;
#[path = "wiring/program.rs"]
mod program;
#[path = "wiring/proxy.rs"]
mod proxy;
#[path = "wiring/restarts.rs"]
mod restarts;
#[path = "wiring/scene.rs"]
mod scene;
#[path = "wiring/silence.rs"]
mod silence;
#[path = "wiring/slow.rs"]
mod slow;
