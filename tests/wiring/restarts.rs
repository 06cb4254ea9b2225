//! The real program ends in the middle of calls, by SIGTERM or by SIGKILL, and comes back.
//!
//! ```text
//!  one exchange for each message of a complaint ─▶ every line held at its message ─▶ signal ─▶ lines cut ─▶ new process
//!     ─▶ the same clients go on: every exchange ends fair, with one verdict
//! ```

use std::sync::Arc;

use arbiter_client::Outcome;
use nix::sys::signal::Signal;
use tokio::task::JoinSet;
use tonic::Code;

use super::arbiter_link::{parting, places};
use super::common::{assert_reason, resolve};
use super::program::Home;
use super::proxy::{Fault, Proxy, SILENCE};
use super::scene::{Counted, Deal, FOR_EVER, Manner, Meeting, SHORTLY, in_time};
use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::message::request::Action;
use tonic_types::StatusExt as _;

/// D6, F1, F5, R-401, R-504, S32: whatever a call was doing when the arbiter ended, its client gets the verdict afterwards, and
/// there is one for each exchange.
#[tokio::test(flavor = "multi_thread")]
async fn a_complaint_survives_the_end_of_the_arbiter_at_every_message() {
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        in_time(signal.as_str(), end_in_the_middle(signal)).await;
    }
}

async fn end_in_the_middle(signal: Signal) {
    let home = Home::new().await;
    let mut server = home.serve(&["--drain-seconds", "1"]).await;
    let (scene, cast) = (Arc::new(server.scene().await), server.cast().await);
    let mut parts = Vec::new();
    let mut meetings = JoinSet::new();
    for deal in [Deal::Signing, Deal::Delivery] {
        for (way, place) in places(deal) {
            let fault = Fault { way, place, what: SILENCE };
            let faulty = Arc::new(Proxy::start(server.address, Some(fault)).await);
            let other = Arc::new(Proxy::start(server.address, None).await);
            parts.push((Arc::clone(&faulty), Arc::clone(&other)));
            let scene = Arc::clone(&scene);
            meetings.spawn(async move {
                let manner = Manner { patience: FOR_EVER, linger: SHORTLY };
                let alice = scene.party("alice", Counted::at(&faulty.url()), manner).await;
                let bob = scene.party("bob", Counted::at(&other.url()), manner).await;
                let meeting = Meeting::arrange(&scene, deal, alice, bob, Some(parting(deal))).await;
                let part = async {
                    meeting.part().await;
                    std::future::pending::<()>().await;
                };
                let (ours, theirs) = tokio::select! {
                    ended = meeting.hold(|_| {}) => ended,
                    () = part => unreachable!(),
                };
                assert!(meeting.judge(&ours, theirs.as_ref()).await, "{deal:?} {fault:?}");
                assert!(matches!(ours, Outcome::Resolved(_)), "{deal:?} {fault:?}: {ours:?}");
            });
        }
    }
    let count = parts.len();
    for (faulty, _) in &parts {
        faulty.hit().await;
    }

    if signal == Signal::SIGKILL {
        server.child.kill().await.unwrap();
    } else {
        // One more upload keeps it busy, so that who comes now hears why it is sent away (R-407).
        let mut parties = server.parties().await;
        let agreement = cast.contract();
        let case = cast.case(&agreement, Role::Originator, Action::Resolve);
        server.terminate();
        // Uploads that are held at their middle keep it from ending for as long as it drains.
        let refused = loop {
            match resolve(&mut parties, case.clone()).await {
                Ok(_) => {}
                refused => break refused,
            }
        };
        let status = assert_reason(refused, Code::Unavailable, "DRAINING");
        assert!(status.get_details_retry_info().unwrap().retry_delay.is_some());
        // What is in flight may end: half of the lines are back before the process is gone.
        parts.iter().step_by(2).for_each(|(faulty, _)| faulty.heal());
        assert_eq!(server.end().await, Some(0));
    }

    let server = home.serve(&[]).await;
    for (faulty, other) in &parts {
        for line in [faulty, other] {
            line.lead_to(server.address);
            line.reset();
            line.heal();
        }
    }
    assert_eq!(meetings.join_all().await.len(), count);
    server.terminate();
    assert_eq!(server.end().await, Some(0));
    let clean = home.run(&["fsck", "--config", "."]).await;
    // SIGTERM: one contract by hand as well.
    let verdicts = count + usize::from(signal == Signal::SIGTERM);
    println!("{signal}: {count} complaints, {clean}");
    assert!(clean.starts_with("clean"), "{clean}");
    let said = |number: usize| clean.contains(&format!(" {number} verdicts"));
    assert!(said(count) || said(verdicts), "one verdict an exchange: {clean}");
}
