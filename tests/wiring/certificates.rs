//! Certificates that change: the arbiter comes back with one of another authority, and again with the right one.

use std::sync::atomic::Ordering;
use std::time::Duration;

use arbiter::grpc::{Api, Tls};
use arbiter_client::arbiter::PortError;
use arbiter_client::arbiter::grpc::GrpcArbiter;
use arbiter_client::{Error, Outcome};

use super::arbiter_link::parting;
use super::common::World;
use super::issuer::Authority;
use super::proxy::Proxy;
use super::scene::{Counted, Deal, FOR_EVER, Manner, Meeting, SHORTLY, Scene, in_time};

/// TLS material of a server with this name.
fn server(by: &Authority, name: &str) -> Tls {
    let (cert, key) = by.server(name);
    Tls { cert: cert.into(), key: key.into(), client_ca: None }
}

fn api(tls: Tls) -> Api {
    Api { tls: Some(tls), ..Api::default() }
}

/// A2, F1, F4: during a complaint the arbiter has a certificate of another authority, then none, then one for another name. The
/// client refuses each, says why, and goes on asking; with the right one again it gets its verdict, on the same client.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_certificate_is_refused_until_the_right_one_is_back() {
    let (right, wrong) = (Authority::new(), Authority::new());
    let mut world = World::with(api(server(&right, "127.0.0.1"))).await;
    let scene = Scene::of(&world);
    let line = Proxy::start(world.server.address(), None).await;
    let url = format!("https://{}", line.address());
    let trusting = || GrpcArbiter::new(&url, Some(right.pem().into())).unwrap();
    let kept = trusting();
    assert_eq!(kept.info().await.unwrap().identity, world.arbiter);

    let arbiter = Counted::new(trusting());
    let manner = Manner { patience: FOR_EVER, linger: SHORTLY };
    let alice = scene.party("alice", arbiter.clone(), manner).await;
    let bob = scene.party("bob", Counted::new(trusting()), manner).await;
    let meeting = Meeting::arrange(&scene, Deal::Signing, alice, bob, Some(parting(Deal::Signing))).await;
    let work = meeting.hold(|_| {});
    let mut work = std::pin::pin!(work);
    for (change, tls, why) in [
        ("another authority", Some(server(&wrong, "127.0.0.1")), "invalid peer certificate"),
        (
            "another name",
            Some(server(&right, "10.0.0.1")),
            "invalid peer certificate: certificate not valid for name",
        ),
        ("plaintext", None, ""),
    ] {
        let tls = Api { tls, ..Api::default() };
        world = world.restarted(tls).await;
        line.lead_to(world.server.address());
        line.reset();
        for client in [&kept, &trusting()] {
            let error = in_time(change, client.info()).await.unwrap_err();
            let PortError::Unavailable { message, .. } = &error else { panic!("{change}: {error:?}") };
            assert!(message.contains(why), "{change} is not told: {message}");
            let error = Error::from(error);
            assert!(error.is_retryable(), "{change}: {error}");
        }
        let before = arbiter.failures.load(Ordering::SeqCst);
        let refused = async {
            if change == "another authority" {
                meeting.part().await;
            }
            while arbiter.failures.load(Ordering::SeqCst) == before {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            ended = &mut work => panic!("{change}: ended without an arbiter: {ended:?}"),
            () = in_time(change, refused) => {}
        }
        assert_eq!(world.engine.log_size(), 1, "{change}: nothing was ruled");
    }
    // A new certificate of the same authority is fine.
    let world = world.restarted(api(server(&right, "127.0.0.1"))).await;
    line.lead_to(world.server.address());
    line.reset();
    let (ours, theirs) = in_time("the right certificate", work).await;
    assert!(meeting.judge(&ours, theirs.as_ref()).await);
    assert!(matches!(ours, Outcome::Resolved(_)), "{ours:?}");
    assert_eq!(kept.info().await.unwrap().identity, world.arbiter, "the client of the beginning");
}

/// F4: a TLS server that accepts a connection and never shakes hands is out of reach, for no longer than the client's bound.
#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_never_ends_is_given_up() {
    let authority = Authority::new();
    let world = World::with(api(server(&authority, "127.0.0.1"))).await;
    let line = Proxy::start(world.server.address(), None).await;
    line.hold(true, true);
    let client = GrpcArbiter::new(&format!("https://{}", line.address()), Some(authority.pem().into()));
    let client = client.unwrap().answer_within(Duration::from_millis(300));
    let error = in_time("the handshake", client.info()).await.unwrap_err();
    assert!(matches!(error, PortError::Unavailable { .. }), "{error:?}");
    line.heal();
    line.reset();
    let mut tries = 0;
    while client.info().await.is_err() {
        tries += 1;
        assert!(tries < 200, "it never recovers");
    }
}
