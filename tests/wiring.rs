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

//! | what happens to the wire | test |
//! | --- | --- |
//! | partition, of one way or of both, for good or healed | `peers::a_line_that_fails_for_good_ends_fair`, `peers::a_line_that_is_healed_in_time_costs_nothing`, `arbiter_link::a_complaint_survives_a_fault_at_every_message` |
//! | half-open connection | the same with `What::Hold` of one way; `arbiter_link::an_arbiter_that_only_accepts_connections_is_out_of_reach`, `silence::connections_that_say_nothing_come_to_an_end` |
//! | slow link | `slow::an_upload_below_the_limit_is_cut_off_and_above_it_goes_through`, `slow::a_slow_line_above_the_limit_carries_a_deposit_and_a_release`, `slow::a_release_below_the_limit_is_cut_off_and_fetched_again` |
//! | restart, by SIGKILL and by SIGTERM | `restarts::a_complaint_survives_the_end_of_the_arbiter_at_every_message` |
//! | deadline of a call | `arbiter_link::a_deadline_of_a_call_decides_nothing`, `arbiter_link::a_ruling_whose_answer_was_lost_is_the_answer` |
//! | change of the certificate | `certificates::a_wrong_certificate_is_refused_until_the_right_one_is_back`, `certificates::a_handshake_that_never_ends_is_given_up` |
//! | overload: RESOURCE_EXHAUSTED with RetryInfo, bounded memory, honest work at ten times the load | `overload::honest_work_gets_through_ten_times_overload`; by itself in `tests/api/limits.rs` |
//! | upload given up, large items, bounded memory | `arbiter_link::who_vanishes_during_an_upload_leaves_its_place_and_its_room`, `memory::a_large_deposit_and_its_release_take_no_memory` |

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may fail")]

#[path = "wiring/arbiter.rs"]
mod arbiter_link;
#[path = "wiring/certificates.rs"]
mod certificates;
mod common;
#[path = "common/issuer.rs"]
mod issuer;
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
