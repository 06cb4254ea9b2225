//! A module that lies, hangs or returns rubbish harms only exchanges that use it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arbiter::modules::{
    Accepts, Entry, GrpcAdapter, ModuleError, Modules, PaymentModule as _, Reach, Unobserved, check_receipt,
};
use arbiter_protocol::crypto::Signer as _;
use arbiter_protocol::evidence::leaf::{Event, Leaf};
use arbiter_protocol::exchange::selection::Role::{Originator, Responder};
use arbiter_protocol::message::payment::PaymentState;
use arbiter_protocol::message::request::Action::{Deposit, Resolve, Revoke};
use arbiter_protocol::wire::arbiter as proto;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tonic::Code;
use tonic::transport::{Certificate, Identity, ServerTlsConfig};
use tonic_types::StatusExt as _;
use zeroize::Zeroizing;

use super::issuer::Authority;
use super::key;
use super::liar::{LIES, Liar, Lie};
use super::rails::Ledger;
use super::scene::*;

const SHORT: Duration = Duration::from_millis(400);
const LONG: Duration = Duration::from_secs(20);

fn good(ledger: &Ledger, timeout: Duration) -> Entry {
    Entry { key: ledger.key, kind: "ledger".into(), module: ledger.module(), calls: 16, timeout }
}

/// An exchange on the good rail from payment to verdict, with nothing brought to the arbiter.
async fn honest_purchase(scene: &Scene, parties: &mut Parties, ledger: &Ledger) {
    let agreement = scene.cast.purchase(ledger.key);
    ledger.make(&make(&agreement, Originator)).await;
    observe(parties, scene.cast.case(&agreement, Originator, Deposit)).await.unwrap();
    resolve(parties, scene.cast.case(&agreement, Originator, Resolve)).await.unwrap();
}

fn events(scene: &Scene) -> Vec<Event> {
    let leaves = scene.engine.entries(0, 1_000).unwrap();
    leaves.iter().map(|leaf| Leaf::decode(leaf).unwrap().event).collect()
}

/// R-709, D6: the arbiter looks for itself, once there is something to be seen; what it saw is a deposit like any other.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_observed() {
    let (ledger, liar) = (Ledger::start(3).await, Liar::start(4).await);
    let scene = Scene::new(vec![good(&ledger, LONG), liar.entry(LONG, 4)], 8, 4).await;
    let mut parties = scene.parties().await;
    for rail in [ledger.key, liar.key] {
        let agreement = scene.cast.purchase(rail);
        let case = || scene.cast.case(&agreement, Originator, Deposit);
        assert_reason(observe(&mut parties, case()).await, Code::FailedPrecondition, "ITEM_NOT_PAID");
        let order = make(&agreement, Originator);
        let receipt = match rail == ledger.key {
            true => ledger.make(&order).await,
            false => liar.make(&order),
        };
        let attested = observe(&mut parties, case()).await.unwrap();
        let calls = liar.calls();
        let again = observe(&mut parties, case()).await.unwrap();
        assert_eq!(again.statement, attested.statement, "attested once, and not looked at again");
        let brought = deposit(&mut parties, case(), &receipt.envelope().encode()).await.unwrap();
        assert_eq!(brought.statement, attested.statement);
        assert_eq!(liar.calls(), calls);
        resolve(&mut parties, scene.cast.case(&agreement, Originator, Resolve)).await.unwrap();
    }
    // Who is not reached is not asked; a receipt that is brought needs nobody.
    let stranger = Liar::start(5).await;
    let agreement = scene.cast.purchase(stranger.key);
    let receipt = stranger.make(&make(&agreement, Originator));
    let case = || scene.cast.case(&agreement, Originator, Deposit);
    assert_reason(observe(&mut parties, case()).await, Code::FailedPrecondition, "RAIL_UNKNOWN");
    deposit(&mut parties, case(), &receipt.envelope().encode()).await.unwrap();
    scene.end().await;
}

/// no lie is filed, none is a ruling, and meanwhile others are ruled.
#[tokio::test(flavor = "multi_thread")]
async fn lies_are_no_answers_and_hurt_nobody_else() {
    let (ledger, liar) = (Ledger::start(3).await, Liar::start(4).await);
    for lie in LIES {
        liar.lie(lie);
        let scene = Scene::new(vec![good(&ledger, LONG), liar.entry(SHORT, 4)], 8, 4).await;
        let mut parties = scene.parties().await;
        let agreement = scene.cast.purchase(liar.key);
        liar.make(&make(&agreement, Originator));
        let case = || scene.cast.case(&agreement, Originator, Deposit);
        let calls = liar.calls();
        let (mut other, asked) = (parties.clone(), case());
        let hurt = tokio::spawn(async move { observe(&mut other, asked).await });
        honest_purchase(&scene, &mut parties, &ledger).await;
        let error = assert_reason(hurt.await.unwrap(), Code::Unavailable, "RAIL_UNAVAILABLE");
        assert!(error.get_details_retry_info().is_some_and(|it| it.retry_delay.is_some()), "{lie:?}");
        let asked = liar.calls() - calls;
        let expected = usize::from(![Lie::OldVersion, Lie::Unknown].contains(&lie));
        assert_eq!(asked, expected, "{lie:?}: another version is asked nothing");
        assert_eq!(scene.engine.counters().attestations, 1, "{lie:?}");
        // Nothing is remembered against the payment: the truth counts when it is told.
        liar.lie(Lie::None);
        observe(&mut parties, case()).await.unwrap();
        resolve(&mut parties, scene.cast.case(&agreement, Originator, Resolve)).await.unwrap();
        scene.end().await;
    }
}

/// a module that hangs takes its own places, whoever else comes: other rails are seen, files are taken.
#[tokio::test(flavor = "multi_thread")]
async fn a_hung_module_takes_only_its_own_places() {
    let (ledger, liar) = (Ledger::start(3).await, Liar::start(4).await);
    let scene = Scene::new(vec![good(&ledger, LONG), liar.entry(Duration::from_secs(4), 2)], 8, 4).await;
    liar.lie(Lie::Hangs);
    let mut parties = scene.parties().await;
    let mut hurt = JoinSet::new();
    let first = scene.cast.purchase(liar.key);
    for _ in 0..2 {
        let (mut other, asked) = (parties.clone(), scene.cast.case(&first, Originator, Deposit));
        hurt.spawn(async move { observe(&mut other, asked).await });
    }
    until("both places are taken", || liar.state.hanging.load(Ordering::SeqCst) == 2).await;
    // Who comes now is told at once.
    for _ in 0..20 {
        let agreement = scene.cast.purchase(liar.key);
        let asked = observe(&mut parties, scene.cast.case(&agreement, Originator, Deposit)).await;
        assert_reason(asked, Code::Unavailable, "RAIL_UNAVAILABLE");
    }
    for _ in 0..5 {
        honest_purchase(&scene, &mut parties, &ledger).await;
    }
    assert_eq!(liar.state.hanging.load(Ordering::SeqCst), 2, "and all that while they hung");
    for hung in hurt.join_all().await {
        assert_reason(hung, Code::Unavailable, "RAIL_UNAVAILABLE");
    }
    until("the places are free", || liar.state.hanging.load(Ordering::SeqCst) == 0).await;
    liar.lie(Lie::None);
    liar.make(&make(&first, Originator));
    observe(&mut parties, scene.cast.case(&first, Originator, Deposit)).await.unwrap();
    scene.end().await;
}

/// orders to a rail that lies stay open and are told again; those to other rails are heard meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn orders_to_a_liar_stay_open_and_others_are_heard() {
    let (ledger, liar) = (Ledger::start(3).await, Liar::start(4).await);
    for lie in LIES.into_iter().chain([Lie::NotFinal]) {
        let scene = Scene::new(vec![good(&ledger, LONG), liar.entry(SHORT, 4)], 8, 4).await;
        let mut parties = scene.parties().await;
        let agreement = scene.cast.change(ledger.key, liar.key);
        ledger.make(&make(&agreement, Originator)).await;
        liar.make(&make(&agreement, Responder));
        liar.lie(lie);
        let verdict = revoke(&mut parties, scene.cast.case(&agreement, Responder, Revoke)).await.unwrap();
        until("the good rail is heard", || scene.engine.counters().orders_answered == 1).await;
        // Long enough for some more tries.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let open = scene.engine.open_orders(None, 10).unwrap();
        assert_eq!(open.len(), 1, "{lie:?}");
        assert_eq!(open[0].ledger, liar.key);
        honest_purchase(&scene, &mut parties, &ledger).await;
        liar.lie(Lie::None);
        until("the liar is heard once it tells the truth", || scene.engine.counters().orders_answered == 2)
            .await;
        assert!(scene.engine.open_orders(None, 10).unwrap().is_empty());
        assert_eq!(liar.state_of(&terms(&agreement, Responder)), PaymentState::Voided);
        let voided = events(&scene).into_iter().filter(|it| *it == Event::PaymentVoided).count();
        assert_eq!(voided, 2, "{lie:?}");
        let again = revoke(&mut parties, scene.cast.case(&agreement, Originator, Revoke)).await.unwrap();
        assert_eq!(again.statement, verdict.statement);
        scene.end().await;
    }
}

/// a rail that says voided and then posted convicts itself: two final receipts under one key. The verdict stands, and
/// nothing is logged twice.
#[tokio::test(flavor = "multi_thread")]
async fn who_says_voided_and_then_posted_has_signed_both() {
    let (ledger, liar) = (Ledger::start(3).await, Liar::start(4).await);
    let scene = Scene::new(vec![good(&ledger, LONG), liar.entry(LONG, 4)], 8, 4).await;
    let mut parties = scene.parties().await;
    let agreement = scene.cast.change(ledger.key, liar.key);
    liar.make(&make(&agreement, Responder));
    let verdict = revoke(&mut parties, scene.cast.case(&agreement, Originator, Revoke)).await.unwrap();
    until("both are heard", || scene.engine.counters().orders_answered == 2).await;
    let terms = terms(&agreement, Responder);
    let ask = || async { scene.modules.observe(&terms).await.unwrap() };
    let voided = ask().await;
    liar.lie(Lie::Posted);
    let posted = ask().await;
    assert_eq!((voided.state, posted.state), (PaymentState::Voided, PaymentState::Posted(500)));
    for receipt in [&voided, &posted] {
        let proof = check_receipt(&liar.key, &terms, receipt.envelope().clone()).unwrap();
        assert!(proof.is_final(), "a stranger can check it");
    }
    let size = scene.engine.log_size();
    let again = revoke(&mut parties, scene.cast.case(&agreement, Responder, Revoke)).await.unwrap();
    assert_eq!(again.statement, verdict.statement);
    assert_eq!(scene.engine.log_size(), size);
    honest_purchase(&scene, &mut parties, &ledger).await;
    scene.end().await;
}

/// answers that are too large are refused before they are read: memory stays where it is.
#[tokio::test(flavor = "multi_thread")]
async fn large_answers_are_not_read() {
    let liar = Liar::start(4).await;
    let modules = Modules::new([liar.entry(LONG, 4)], 4);
    let scene = Scene::new(Vec::new(), 8, 4).await;
    let agreement = scene.cast.purchase(liar.key);
    liar.lie(Lie::Oversize);
    let terms = terms(&agreement, Originator);
    let ask = || async {
        match modules.observe(&terms).await {
            Err(Unobserved::Module(ModuleError::Nonsense(words))) => assert!(words.len() < 400, "{words}"),
            other => panic!("{other:?}"),
        }
    };
    for _ in 0..4 {
        ask().await;
    }
    let before = resident_kib();
    for _ in 0..60 {
        ask().await;
    }
    // 960 MiB were offered. The liar is in this process, too, and makes one answer at a time.
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 128 * 1024, "{grown} KiB more");
    scene.end().await;
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// who answers with something else than gRPC, or accepts and says nothing, is out of reach.
#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_something_else_is_out_of_reach() {
    for words in [&b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"[..], &[0xff; 4096], b""] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let _ = stream.write_all(words).await;
                    let mut sink = vec![0; 4096];
                    while stream.read(&mut sink).await.is_ok_and(|read| read > 0) {}
                });
            }
        });
        let reach = Reach::plain(format!("http://{address}"), SHORT);
        let own = key(4).public_key();
        let module = Arc::new(GrpcAdapter::new(own, "card".into(), &reach).unwrap());
        let entry = Entry { key: own, kind: "card".into(), module, calls: 1, timeout: SHORT };
        let scene = Scene::new(vec![entry], 8, 4).await;
        let agreement = scene.cast.purchase(own);
        let asked =
            observe(&mut scene.parties().await, scene.cast.case(&agreement, Originator, Deposit)).await;
        assert_reason(asked, Code::Unavailable, "RAIL_UNAVAILABLE");
        scene.end().await;
    }
}

/// what a module says is published and decides whether it is asked; a payment outside its limits is not.
#[tokio::test(flavor = "multi_thread")]
async fn what_modules_say_is_published_and_their_limits_are_kept() {
    let (ledger, liar) = (Ledger::start(3).await, Liar::start(4).await);
    let scene = Scene::new(vec![good(&ledger, LONG), liar.entry(LONG, 4)], 8, 4).await;
    let mut parties = scene.parties().await;
    let info = async |parties: &mut Parties| {
        parties.get_arbiter_info(proto::GetArbiterInfoRequest {}).await.unwrap().into_inner()
    };
    let before = info(&mut parties).await;
    assert!(before.modules.iter().all(|it| !it.ready && !it.can_verify), "nobody was asked yet");
    Arc::clone(&scene.modules).ask().await;
    let after = info(&mut parties).await;
    assert_eq!(after.ledgers, after.modules.iter().map(|it| it.key.clone()).collect::<Vec<_>>());
    let card = after.modules.iter().find(|it| it.key == liar.key.to_vec()).unwrap();
    assert!(card.ready && card.can_verify && card.can_revoke && card.can_generate);
    assert_eq!((card.kind.as_str(), card.name.as_str()), ("card", "Liar"));
    assert_eq!(card.currencies[0].code, "EUR");
    assert_eq!(after.modules.iter().filter(|it| it.kind == "ledger" && it.ready).count(), 1);
    let mut agreed = terms(&scene.cast.purchase(liar.key), Originator);
    agreed.payment.amount.units = 1 << 41;
    let calls = liar.calls();
    assert!(matches!(scene.modules.observe(&agreed).await, Err(Unobserved::Unserved(_))));
    assert_eq!(liar.calls(), calls);
    // Another version is no module any more, and says so.
    liar.lie(Lie::OldVersion);
    Arc::clone(&scene.modules).ask().await;
    let old = info(&mut parties).await;
    let card = old.modules.iter().find(|it| it.key == liar.key.to_vec()).unwrap();
    assert!(!card.ready && !card.can_verify && card.currencies.is_empty());
    scene.end().await;
}

/// key, kind and version are those of the configuration, or nothing is asked.
#[tokio::test(flavor = "multi_thread")]
async fn another_module_than_configured_is_not_used() {
    let liar = Liar::start(4).await;
    let reach = Reach::plain(liar.url(), LONG);
    let with = |own, kind: &str| GrpcAdapter::new(own, kind.into(), &reach).unwrap();
    let about = with(liar.key, "card").about().await.unwrap();
    let euros = arbiter_protocol::exchange::payment::Currency::new("EUR", 2).unwrap();
    assert_eq!(about.currencies, [Accepts { currency: euros, least: 1, most: 1 << 40 }]);
    for (own, kind, words) in [(key(9).public_key(), "card", "its key is"), (liar.key, "bank", "of the kind")]
    {
        let error = with(own, kind).about().await.unwrap_err();
        assert!(matches!(&error, ModuleError::Unfit(text) if text.contains(words)), "{error}");
    }
    liar.lie(Lie::OldVersion);
    let error = with(liar.key, "card").about().await.unwrap_err();
    assert!(matches!(&error, ModuleError::Unfit(text) if text.contains("version 0")), "{error}");
    liar.lie(Lie::Unknown);
    let error = with(liar.key, "card").about().await.unwrap_err();
    assert!(matches!(&error, ModuleError::Unfit(text) if text.contains("does not speak")), "{error}");
}

/// certificate and token are shown; without either, or to another authority, nothing is said. No secret is in any text.
#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_shown_and_never_told() {
    const TOKEN: &str = "hunter2-hunter2";
    let (right, wrong) = (Authority::new(), Authority::new());
    let (cert, secret) = right.server("127.0.0.1");
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(cert, secret))
        .client_ca_root(Certificate::from_pem(right.pem()));
    let liar = Liar::start_with(4, Some(tls), Some(TOKEN)).await;
    let (cert, secret) = right.client();
    let full = Reach {
        ca: Some(right.pem().into()),
        identity: Some((cert.into(), Zeroizing::new(secret.clone().into_bytes()))),
        token: Some(Zeroizing::new(format!("{TOKEN}\n"))),
        ..Reach::plain(format!("https://{}", liar.address), Duration::from_secs(5))
    };
    let ask = async |reach: &Reach| GrpcAdapter::new(liar.key, "card".into(), reach).unwrap().about().await;
    ask(&full).await.unwrap();
    let no_token = Reach { token: None, ..full.clone() };
    let other_token = Reach { token: Some(Zeroizing::new("hunter3".to_owned())), ..full.clone() };
    for reach in [no_token, other_token] {
        let error = ask(&reach).await.unwrap_err();
        assert!(matches!(error, ModuleError::Refused(_)), "{error}");
        assert!(!error.to_string().contains("hunter"), "{error}");
    }
    for reach in
        [Reach { identity: None, ..full.clone() }, Reach { ca: Some(wrong.pem().into()), ..full.clone() }]
    {
        let error = ask(&reach).await.unwrap_err();
        assert!(matches!(error, ModuleError::Unreachable(_)), "{error}");
    }
    let shown = format!("{full:?}");
    assert!(!shown.contains("hunter2") && !shown.contains(&secret[30..60]), "{shown}");
    let no_authority = Reach { ca: None, ..full.clone() };
    assert!(GrpcAdapter::new(liar.key, "card".into(), &no_authority).is_err());
    let unspeakable = Reach { token: Some(Zeroizing::new("hunter2\nx: y".to_owned())), ..full };
    let error = GrpcAdapter::new(liar.key, "card".into(), &unspeakable).err().unwrap();
    assert!(!error.contains("hunter2"), "{error}");
}
