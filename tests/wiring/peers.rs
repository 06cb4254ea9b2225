//! Faults between the peers: at every message of every kind of exchange, in both ways and in each.
//!
//! ```text
//!  healed early      nobody loses patience: both complete, and the arbiter hears nothing (F3)
//!  not healed        both turn to the arbiter: fair, one verdict (F1, F4, F5)
//!  healed after it   the line comes back when the first sender has its verdict: nothing changes
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arbiter_client::Outcome;
use arbiter_client::protocol::exchange::selection::Role;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::common::{START, World};
use super::proxy::Way::{Back, There};
use super::proxy::{Fault, Place, SILENCE, What};
use super::scene::{Counted, Deal, FOR_EVER, HOUR, LONG, Manner, Meeting, SHORTLY, Scene, in_time};

/// Every place in an exchange, the messages that close it included.
fn places(deal: Deal) -> impl Iterator<Item = (super::proxy::Way, Place)> {
    let [there, back] = deal.messages();
    [(There, there), (Back, back)].into_iter().flat_map(|(way, count)| {
        let after = (0..=count).map(Place::After);
        let within = (1..=count + 1).map(Place::Within);
        after.chain(within).map(move |place| (way, place))
    })
}

/// Whether both parties need what passes here or later. The last signature needs nobody who stays, and what closes may be lost.
fn is_needed(deal: Deal, fault: Fault) -> bool {
    let count = deal.messages()[usize::from(fault.way == Back)];
    let last = (fault.way == Back) == (deal.first() == Role::Originator);
    match fault.place {
        Place::After(number) => number < count || !last,
        Place::Within(number) => number <= count,
    }
}

fn faults(deal: Deal, whats: &[What], within: bool) -> Vec<Fault> {
    let place = |place: &Place| within || matches!(place, Place::After(_));
    places(deal)
        .filter(|(_, it)| place(it))
        .flat_map(|(way, place)| whats.iter().map(move |what| Fault { way, place, what: *what }))
        .collect()
}

const ONE_WAY: [What; 2] = [What::Hold { there: true, back: false }, What::Hold { there: false, back: true }];

/// F3, S1, R-301: a line that comes back in time. Cut in the middle of a frame or between two, with a reset or an end,
/// refused when dialed again, silent in one way or in both: the exchange completes, and the arbiter is never called.
#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_healed_in_time_costs_nothing() {
    let world = World::new().await;
    let scene = Arc::new(Scene::of(&world));
    let url = format!("http://{}", world.server.address());
    let mut cases = Vec::new();
    for deal in Deal::ALL {
        let between = [What::Fin, What::Reset(2), SILENCE, ONE_WAY[0], ONE_WAY[1]];
        let all = [faults(deal, &[What::Reset(0)], true), faults(deal, &between, false)].concat();
        cases.extend(all.into_iter().filter(|fault| is_needed(deal, *fault)).map(|fault| (deal, fault)));
    }
    let (room, count) = (Arc::new(Semaphore::new(24)), cases.len());
    let mut meetings = JoinSet::new();
    for (deal, fault) in cases {
        let (scene, url, room) = (Arc::clone(&scene), url.clone(), Arc::clone(&room));
        meetings.spawn(async move {
            let _room = room.acquire_owned().await.unwrap();
            // Who sent last stays for a peer that dials again.
            let manner = Manner { patience: FOR_EVER, linger: FOR_EVER };
            let alice = scene.party("alice", Counted::at(&url), manner).await;
            let bob = scene.party("bob", Counted::at(&url), manner).await;
            let meeting = Meeting::arrange(&scene, deal, alice, bob, Some(fault)).await;
            let heal = async {
                meeting.line.hit().await;
                tokio::time::sleep(Duration::from_millis(20)).await;
                meeting.line.heal();
                std::future::pending::<()>().await;
            };
            let what = format!("{deal:?} {fault:?}");
            let (ours, theirs) = tokio::select! {
                ended = in_time(&what, meeting.hold(|_| {})) => ended,
                () = heal => unreachable!(),
            };
            for outcome in [&ours, theirs.as_ref().unwrap()] {
                assert!(matches!(outcome, Outcome::Completed(_)), "{deal:?} {fault:?}: {outcome:?}");
            }
            assert!(meeting.line.was_hit(), "{deal:?} {fault:?}");
            (meeting, ours, theirs)
        });
    }
    let ended = meetings.join_all().await;
    let mut parties = world.parties().await;
    let request = arbiter_protocol::wire::arbiter::GetCountersRequest {};
    for counter in parties.get_counters(request).await.unwrap().into_inner().counters {
        let expected = u64::from(counter.name == "calls/GetCounters");
        assert_eq!(counter.value, expected, "{}: honest peers that meet again call nobody", counter.name);
    }
    for (meeting, ours, theirs) in ended {
        assert!(meeting.judge(&ours, theirs.as_ref()).await);
    }
    println!("{count} faults, healed");
}

/// F1, S1: the last signature, or what says that nothing more is needed, is lost when its sender has stayed long enough and its
/// receiver dials again or not. Both have what they are owed, if need be from the arbiter.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_word_may_be_lost() {
    let world = World::new().await;
    let scene = Scene::of(&world);
    let url = format!("http://{}", world.server.address());
    for deal in Deal::ALL {
        let endings =
            [faults(deal, &[What::Reset(0)], true), faults(deal, &[What::Fin, SILENCE], false)].concat();
        let mut meetings = Vec::new();
        for fault in endings.into_iter().filter(|fault| !is_needed(deal, *fault)) {
            let manner = Manner { patience: Duration::from_secs(2), linger: SHORTLY };
            let alice = scene.party("alice", Counted::at(&url), manner).await;
            let bob = scene.party("bob", Counted::at(&url), manner).await;
            meetings.push((fault, Meeting::arrange(&scene, deal, alice, bob, Some(fault)).await));
        }
        assert!(meetings.len() >= 4, "{deal:?}");
        for (fault, meeting) in meetings {
            let what = format!("{deal:?} {fault:?}");
            let (ours, theirs) = in_time(&what, meeting.hold(|_| {})).await;
            assert!(meeting.judge(&ours, theirs.as_ref()).await, "{what}");
        }
    }
}

/// F1, F4, F5, S1, S20: the line fails at a message, and both parties lose patience. Whatever had passed, the exchange ends
/// fair; a second sender waits until `complain_by` (R-405).
#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_fails_for_good_ends_fair() {
    let world = World::new().await;
    let scene = Arc::new(Scene::of(&world));
    let url = format!("http://{}", world.server.address());
    let mut cases = Vec::new();
    for deal in Deal::ALL {
        let whats = [SILENCE, ONE_WAY[0], ONE_WAY[1], What::Reset(u32::MAX)];
        for fault in faults(deal, &whats, false) {
            let heals = matches!(fault.what, What::Hold { .. }) && cases.len() % 2 == 0;
            cases.push((deal, fault, heals));
        }
    }
    // A first sender has ended, or there can be none: its acceptance is not made without an offer.
    let firsts: BTreeSet<_> = cases.iter().map(|(deal, fault, _)| format!("{deal:?} {fault:?}")).collect();
    let firsts = Arc::new(watch::Sender::new(firsts));
    let mut meetings = JoinSet::new();
    for (deal, fault, heals) in cases {
        let (scene, url, firsts) = (Arc::clone(&scene), url.clone(), Arc::clone(&firsts));
        meetings.spawn(async move {
            let what = format!("{deal:?} {fault:?}");
            let manner = Manner { patience: FOR_EVER, linger: SHORTLY };
            let alice = scene.party("alice", Counted::at(&url), manner).await;
            let bob = scene.party("bob", Counted::at(&url), manner).await;
            let meeting = Meeting::arrange(&scene, deal, alice, bob, Some(fault)).await;
            let first_ended = || {
                firsts.send_modify(|waited_for| {
                    waited_for.remove(&what);
                })
            };
            // The offer itself may have been lost: then there is no acceptance, and nobody who would send a file.
            // Who dials speaks when it was answered.
            let offer_lost = match (fault.place, fault.what) {
                (Place::After(0), _) => true,
                (Place::After(1), What::Reset(_)) => fault.way == There,
                _ => false,
            };
            if offer_lost && deal.first() == Role::Responder {
                first_ended();
            }
            let give_up = async {
                meeting.line.hit().await;
                tokio::time::sleep(Duration::from_millis(20)).await;
                meeting.lose_patience().await;
                std::future::pending::<()>().await;
            };
            let ended = |role| {
                if role == deal.first() {
                    first_ended();
                    if heals {
                        meeting.line.heal();
                    }
                }
            };
            let (ours, theirs) = tokio::select! {
                ended = in_time(&what, meeting.hold(ended)) => ended,
                () = give_up => unreachable!(),
            };
            assert!(meeting.line.was_hit(), "{deal:?} {fault:?}");
            meeting.judge(&ours, theirs.as_ref()).await;
            (deal, ours)
        });
    }
    // Before that no first sender may be late: the margin of A2.
    let mut waited_for = firsts.subscribe();
    let all = tokio::time::timeout(LONG / 2, waited_for.wait_for(BTreeSet::is_empty)).await;
    assert!(all.is_ok(), "first senders hang: {:#?}", firsts.borrow());
    world.clock.set(START.after(HOUR).after(HOUR));
    let ended = meetings.join_all().await;
    for deal in Deal::ALL {
        let count = |is: fn(&Outcome) -> bool| {
            ended.iter().filter(|(it, outcome)| *it == deal && is(outcome)).count()
        };
        let aborted = count(|it| matches!(it, Outcome::Aborted(_)));
        let resolved = count(|it| matches!(it, Outcome::Resolved(_)));
        let completed = count(|it| matches!(it, Outcome::Completed(_)));
        println!("{deal:?}: {aborted} aborted, {resolved} resolved, {completed} completed");
        assert!(aborted > 0 && resolved > 0 && completed > 0, "every kind of end must occur");
    }
}
