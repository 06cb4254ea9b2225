//! Modules of the party's side: the conformance suite over all that are built in and over made-up ones, wrong modules that
//! it finds and that harm only their own exchanges, limits, and exchanges with modules of an application.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A test may stop where it likes.

mod common;
#[path = "party_modules/made_up.rs"]
mod made_up;
mod trades;
#[path = "party_modules/wrong.rs"]
mod wrong;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use arbiter_client::error::{PeerFault, Usage};
use arbiter_client::module::{
    Capability, Demand, Detached, Files, Format, Given, LedgerPurse, Misfit, Module, ModuleError, Order,
    Replacement, Service, What, negotiate,
};
use arbiter_client::protocol::crypto::Signer as _;
use arbiter_client::protocol::escrow::{SignatureKey, Suite};
use arbiter_client::protocol::exchange::item::Item;
use arbiter_client::protocol::exchange::payment::{Amount, Currency, Hold, Payment, Timeout};
use arbiter_client::protocol::exchange::property::Properties;
use arbiter_client::protocol::time::DurationMillis;
use arbiter_client::signing::{Algorithm, PrivateKey};
use arbiter_client::testing::conformance::{Broken, Promise, Samples, conforms};
use arbiter_client::testing::{Bench, identity, purse, signer};
use arbiter_client::transport::memory;
use arbiter_client::{Client, Error, Give, OfferTerms, Outcome, items};
use common::{content, described};
use made_up::{Shop, Token, Vault};
use tempfile::TempDir;
use trades::{Trade, has, trade};
use wrong::{Fault, Wrong};

struct Scene {
    bench: Bench,
    folder: TempDir,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bench = Bench::new(folder.path());
        for name in ["alice", "bob", "other"] {
            bench.ledger.open(&purse(name), "1000.00 EUR").unwrap();
        }
        std::fs::write(folder.path().join("notice.txt"), content()).unwrap();
        Self { bench, folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn samples(&self, gives: Vec<(Item, bool)>, others: Vec<Item>) -> Samples {
        let source = |named: bool| named.then(|| self.path().join("notice.txt"));
        Samples {
            gives: gives.into_iter().map(|(item, named)| (item, source(named))).collect(),
            others,
            authority: self.bench.arbiter.identity().key,
            folder: self.path().to_owned(),
            patience: Duration::from_secs(10),
        }
    }

    fn hold(&self, timeout: Timeout) -> Option<Hold> {
        Some(Hold { until: self.bench.clock.now().after(DurationMillis(3_600_000)), timeout })
    }

    fn paid(&self, from: &str, to: &str, hold: Option<Hold>) -> Item {
        items::payment(trades::payment(&self.bench, from, to, "25.00 EUR", hold))
    }

    fn purse(&self, name: &str) -> LedgerPurse {
        let ledger = Arc::new(self.bench.ledger.clone());
        LedgerPurse::new(name, self.bench.ledger.key(), ledger, Arc::new(purse(name)))
            .only(Currency::new("EUR", 2).unwrap(), Some(2_500))
    }

    /// Good modules of every kind, each with samples.
    fn good(&self) -> Vec<(&'static str, Arc<dyn Module>, Samples)> {
        let mut all: Vec<(&'static str, Arc<dyn Module>, Samples)> = Vec::new();
        let statement = items::signature("Sale", "", described());
        let other_key = by(signature_key("somebody"));
        let payments = [None, self.hold(Timeout::Post), self.hold(Timeout::Void)]
            .map(|hold| (self.paid("alice", "bob", hold), false));
        let others = vec![self.paid("bob", "alice", None), statement.clone(), items::file(described())];
        all.push(("purse", Arc::new(self.purse("alice")), self.samples(payments.to_vec(), others)));
        let named = vec![(items::file(described()), true)];
        let nothing = vec![other_key.clone(), self.paid("alice", "bob", None)];
        all.push(("files", Arc::new(Files::default()), self.samples(named, nothing)));
        let signed = vec![(statement, false)];
        let others = vec![other_key.clone(), items::file(described())];
        all.push(("replacement", Arc::new(Replacement), self.samples(signed, others.clone())));
        let own = Detached::with_signer("own", Arc::new(signer("alice"))).unwrap();
        let signed = vec![(by(signature_key("alice")), false)];
        all.push(("own key", Arc::new(own), self.samples(signed, others.clone())));
        let only_takes = Detached::takes(Algorithm::Ed25519);
        all.push(("takes only", Arc::new(only_takes), self.samples(Vec::new(), others.clone())));
        let rsa = self.path().join("rsa.pem");
        if !rsa.exists() {
            let made = Command::new("openssl")
                .args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out"])
                .arg(&rsa)
                .output();
            assert!(made.unwrap().status.success());
        }
        for algorithm in Algorithm::ALL.into_iter().filter(|it| *it != Algorithm::Ed25519) {
            let text = std::fs::read(&rsa).unwrap();
            let key = PrivateKey::from_pem(&text, Some(algorithm)).unwrap();
            let signed = vec![(by(key.public().clone()), false)];
            let module = Detached::with_key(algorithm.name(), key, None);
            all.push((algorithm.name(), Arc::new(module), self.samples(signed, others.clone())));
        }
        let token = Token::of("alice");
        let signed = vec![(by(token.key()), false)];
        all.push(("token", Arc::new(token), self.samples(signed, others.clone())));
        let mut another = described();
        another.sha256 = arbiter_client::protocol::ids::Digest::of(&[b"not there"]);
        let kept = vec![(items::file(described()), false)];
        let others = vec![items::file(another), other_key];
        all.push(("vault", Arc::new(Vault::with(content())), self.samples(kept, others)));
        let shop = Shop::new(self.bench.clock.clone());
        shop.issue(purse("alice").public_key(), 1_000);
        let vouchers = shop.vouchers(purse("alice").public_key(), 10);
        let sold = vec![(in_vouchers(&shop, "alice", "bob", 10), false)];
        let others = vec![in_vouchers(&shop, "bob", "alice", 10), items::file(described())];
        all.push(("vouchers", Arc::new(vouchers), self.samples(sold, others)));
        all
    }
}

fn signature_key(name: &str) -> SignatureKey {
    SignatureKey::ed25519(signer(name).public_key()).unwrap()
}

fn by(key: SignatureKey) -> Item {
    items::detached_signature("Receipt", "I have it.", described(), key, Vec::new())
}

fn in_vouchers(shop: &Shop, from: &str, to: &str, units: u64) -> Item {
    items::payment(Payment {
        ledger: shop.key(),
        payer: purse(from).public_key(),
        payee: purse(to).public_key(),
        amount: Amount::new(units, Currency::new("VOUCHER", 0).unwrap()).unwrap(),
        hold: None,
    })
}

/// whatever is built in keeps every promise, and so can what others write.
#[tokio::test]
async fn every_module_keeps_its_promises() {
    let scene = Scene::new();
    let all = scene.good();
    assert!(all.len() >= 14);
    for (name, module, samples) in all {
        assert_eq!(conforms(module, &samples).await, Ok(()), "{name}");
    }
    assert!(scene.bench.ledger.is_sound());
}

/// the suite finds each fault in each kind of module, and names the promise that is broken.
#[tokio::test(start_paused = true)]
async fn the_suite_finds_what_is_wrong() {
    let faults = [
        (Fault::Changes, Promise::Capability, "purse token vault vouchers"),
        (Fault::Claims, Promise::Capability, "purse token vault vouchers files"),
        (Fault::PreparesNothing, Promise::Prepare, "purse token vault vouchers files replacement"),
        (Fault::HangsPreparing, Promise::Prepare, "purse token vault vouchers"),
        (Fault::PanicsPreparing, Promise::Prepare, "purse token vault vouchers"),
        (Fault::HangsGiving, Promise::Give, "purse token vault vouchers"),
        (Fault::PanicsGiving, Promise::Give, "purse token vault vouchers"),
        (Fault::GivesWrong, Promise::Give, "purse token vault vouchers files"),
        (Fault::GivesOtherKind, Promise::Give, "purse token vouchers"),
        (Fault::GivesOtherKind, Promise::Refuse, "purse token vault vouchers files"),
        (Fault::GivesOnce, Promise::Again, "purse token vault vouchers files"),
        (Fault::Obeys, Promise::Refuse, "token vault files purse"),
        (Fault::HangsChecking, Promise::Check, "purse token vault vouchers files"),
        (Fault::PanicsChecking, Promise::Check, "purse token vault vouchers files"),
        (Fault::ChecksNothing, Promise::Check, "purse token vault vouchers files"),
        (Fault::HangsWatching, Promise::Watch, "purse vouchers"),
        (Fault::Blind, Promise::Watch, "purse vouchers"),
    ];
    for (fault, promise, kinds) in faults {
        let scene = Scene::new();
        for (name, module, samples) in scene.good() {
            if !kinds.split(' ').any(|kind| kind == name) {
                continue;
            }
            let wrong = Arc::new(Wrong::new(module, fault));
            let broken = conforms(wrong, &samples).await.expect_err("a wrong module");
            let named = broken.iter().any(|Broken { promise: it, .. }| *it == promise);
            assert!(named, "{name} {fault:?}: {broken:?}");
        }
    }
}

/// What an exchange is about: alice gives `hers`, bob `his`.
fn deal(scene: &Scene, hers: Item, his: Item) -> OfferTerms {
    let by = scene.bench.clock.now().after(DurationMillis(1_800_000));
    OfferTerms {
        responder: identity("bob").party(),
        originator_item: hers,
        responder_item: his,
        complain_by: Some(by),
        send_by: None,
        suite: Suite::FAST,
    }
}

async fn exchange(
    (alice, bob): (&Client, &Client),
    terms: OfferTerms,
    (hers, his): (Give, Give),
) -> (Result<Outcome, Error>, Result<Outcome, Error>) {
    let (mut a, mut b) = memory::pair();
    let id = match alice.offer(terms, hers).await {
        Ok(id) => id,
        Err(error) => return (Err(error), Err(PeerFault::NoOffer.into())),
    };
    let bobs = async {
        let proposal = bob.next_offer(&mut b).await?;
        let id = bob.accept(&proposal, his).await?;
        bob.run(id, &mut b).await
    };
    tokio::join!(alice.run(id, &mut a), bobs)
}

fn completed(outcome: &Result<Outcome, Error>) -> bool {
    matches!(outcome, Ok(Outcome::Completed(_)))
}

/// An application's own modules in real exchanges: money of a rail that nobody here knows for a signature by a token, and
/// a file out of a vault for the same. What is exchanged is what both sides negotiate.
#[tokio::test(start_paused = true)]
async fn an_application_brings_its_own_modules() {
    let scene = Scene::new();
    let shop = Shop::new(scene.bench.clock.clone());
    let (hers, his) = (purse("alice").public_key(), purse("bob").public_key());
    shop.issue(hers, 100);
    let alice = scene.bench.builder("alice").module(Arc::new(shop.vouchers(hers, 50)));
    let alice = alice.module(Arc::new(Vault::with(content()))).build().await.unwrap();
    let bob = scene.bench.builder("bob").module(Arc::new(shop.vouchers(his, 1_000)));
    let bob = bob.module(Arc::new(Token::of("bob"))).build().await.unwrap();

    // Both sides come to the same, each from its own list and what the other handed over.
    let (list_a, list_b) = (alice.capabilities(), bob.capabilities());
    let amount = Amount::parse("40 VOUCHER").unwrap();
    let money = Demand { what: What::Payment(amount.clone()), needs: Properties::default() };
    let rail = negotiate(&list_a, &list_b, &money).unwrap();
    assert_eq!((rail.giver, rail.taker), (&list_a.modules[0], &list_b.modules[0]));
    let signed = Demand { what: What::Signature(None), needs: Properties::default() };
    let pair = negotiate(&list_b, &list_a, &signed).unwrap();
    let key = match &pair.giver.means {
        arbiter_client::module::Means::Signature { key: Some(key), .. } => key.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(key, Token::of("bob").key(), "the token comes before the built-in key");

    let terms = deal(&scene, in_vouchers(&shop, "alice", "bob", 40), by(key.clone()));
    let (a, b) = exchange((&alice, &bob), terms, (Give::Nothing, Give::Nothing)).await;
    assert!(completed(&a) && completed(&b), "{a:?} {b:?}");
    assert_eq!((shop.left(hers), shop.left(his)), (60, 40));
    assert!(common::has_peers_item(&a.unwrap()));

    let terms = deal(&scene, items::file(described()), by(key));
    let (a, b) = exchange((&alice, &bob), terms, (Give::Nothing, Give::Nothing)).await;
    assert!(completed(&a) && completed(&b), "{a:?} {b:?}");
    assert!(common::has_peers_item(&a.unwrap()) && common::has_peers_item(&b.unwrap()));
    assert_eq!(scene.bench.arbiter.calls(), 0);

    // more than one module allows is not even offered, and one that comes is not accepted.
    let too_much = in_vouchers(&shop, "alice", "bob", 51);
    let refused = alice.offer(deal(&scene, too_much, by(signature_key("bob"))), Give::Nothing).await;
    let Err(Error::Usage(Usage::Module(fault))) = refused else { panic!("{refused:?}") };
    assert_eq!((fault.service, fault.gives, fault.reason()), (Service::Payment, true, "ABOVE_LIMIT"));
    assert_eq!(alice.list().await.unwrap().len(), 2, "nothing was signed");
}

/// limits of both, for what is given and for what is taken, before anything is signed.
#[tokio::test(start_paused = true)]
async fn limits_are_checked_before_anything_is_signed() {
    let scene = Scene::new();
    let small = || Files::only(1_000, ["text/plain"]);
    let only_rsa = Detached::takes(Algorithm::RSA_DEFAULT);
    let strict = |name: &str| {
        let builder = scene.bench.builder(name).only_own_modules(Service::Information);
        builder
            .only_own_modules(Service::Signature)
            .module(Arc::new(small()))
            .module(Arc::new(only_rsa.clone()))
    };
    let (alice, bob) = (strict("alice").build().await.unwrap(), strict("bob").build().await.unwrap());
    let free = scene.bench.builder("alice").build().await.unwrap();
    let notice = || Give::File(scene.path().join("notice.txt"));
    let file = || items::file(described());
    let statement = || items::signature("Receipt", "", described());
    let of = |result: Result<_, Error>| match result {
        Err(Error::Usage(Usage::Module(fault)) | Error::Peer(PeerFault::Module(fault))) => fault,
        other => panic!("{other:?}"),
    };
    // Given: a file above the limit. Taken: a format that is not wanted.
    let fault = of(alice.offer(deal(&scene, file(), by(signature_key("bob"))), notice()).await.map(|_| ()));
    assert!(fault.gives && matches!(fault.why[0].1, Misfit::AboveLimit(_)), "{fault}");
    let ours = by(signature_key("alice"));
    let theirs = || free.offer(deal(&scene, file(), statement()), notice());
    let no_key = alice.offer(deal(&scene, ours, statement()), Give::Nothing).await;
    assert!(matches!(no_key, Err(Error::Usage(Usage::SignatureNeeded))), "the key is no module: {no_key:?}");
    // An offer that comes is refused for the same reasons, and nothing is kept of it.
    let id = theirs().await.unwrap();
    let evidence = free.status(id).await.unwrap().evidence;
    let proposal = common::review(&bob, &evidence).await.unwrap();
    let fault = of(bob.accept(&proposal, Give::Nothing).await.map(|_| ()));
    assert!(fault.gives && fault.service == Service::Signature, "no replaceable signatures here: {fault}");
    let terms = deal(&scene, file(), by(signature_key("bob")));
    let id = free.offer(terms, notice()).await.unwrap();
    let proposal = common::review(&bob, &free.status(id).await.unwrap().evidence).await.unwrap();
    let refused = bob.accept(&proposal, Give::Nothing).await;
    assert!(matches!(refused, Err(Error::Usage(Usage::SignatureNeeded))), "{refused:?}");
    assert!(bob.list().await.unwrap().is_empty() && alice.list().await.unwrap().is_empty());
    // Taken: a file above the limit, by who is offered one and by who asks for one.
    let taker = |name: &str| {
        let builder = scene.bench.builder(name).only_own_modules(Service::Information);
        builder.module(Arc::new(small()))
    };
    let (asks, gets) = (taker("alice").build().await.unwrap(), taker("bob").build().await.unwrap());
    let id = theirs().await.unwrap();
    let proposal = common::review(&gets, &free.status(id).await.unwrap().evidence).await.unwrap();
    for fault in [
        of(gets.accept(&proposal, Give::Nothing).await.map(|_| ())),
        of(asks.offer(deal(&scene, statement(), file()), Give::Nothing).await.map(|_| ())),
    ] {
        assert!(!fault.gives && fault.service == Service::Information, "{fault}");
        assert_eq!(fault.reason(), "ABOVE_LIMIT");
    }
    assert!(gets.list().await.unwrap().is_empty() && asks.list().await.unwrap().is_empty());

    // Money above the purse's limit, of another currency, from a purse that is closed.
    let bare = || {
        let builder = Client::builder().arbiter_port(Arc::new(scene.bench.arbiter.clone()));
        let builder = builder.arbiter_identity(scene.bench.arbiter.identity()).identity(identity("alice"));
        builder.store(scene.bench.folder("alice")).clock(scene.bench.clock.clone()).in_memory()
    };
    let limited = bare().module(Arc::new(scene.purse("alice"))).build().await.unwrap();
    let closed = bare().module(Arc::new(scene.purse("alice").closed())).build().await.unwrap();
    let pay = |amount: &str| {
        let payment = trades::payment(&scene.bench, "alice", "bob", amount, None);
        deal(&scene, items::payment(payment), statement())
    };
    limited.offer(pay("25.00 EUR"), Give::Nothing).await.unwrap();
    for (client, amount, reason) in [
        (&limited, "25.01 EUR", "ABOVE_LIMIT"),
        (&limited, "25.00 USD", "OTHER_CURRENCY"),
        (&limited, "2.500 EUR", "OTHER_CURRENCY"),
        (&closed, "1.00 EUR", "GIVES_NOTHING"),
    ] {
        let fault = of(client.offer(pay(amount), Give::Nothing).await.map(|_| ()));
        assert_eq!(fault.reason(), reason, "{amount}: {fault}");
    }
    assert_eq!(limited.list().await.unwrap().len(), 1);
}

/// a wrong module harms only exchanges that use it. What it gives before the signature is refused there; nothing was
/// signed.
#[tokio::test(start_paused = true)]
async fn what_a_wrong_module_gives_is_never_signed() {
    let scene = Scene::new();
    let terms = || deal(&scene, by(Token::of("alice").key()), by(signature_key("bob")));
    let signing = || OfferTerms { complain_by: None, ..terms() };
    let sending = || deal(&scene, items::file(described()), by(signature_key("bob")));
    for (fault, reason) in [
        (Fault::HangsPreparing, "MODULE_UNAVAILABLE"),
        (Fault::PanicsPreparing, "MODULE_FAILED"),
        (Fault::HangsGiving, "MODULE_UNAVAILABLE"),
        (Fault::PanicsGiving, "MODULE_FAILED"),
        (Fault::GivesWrong, "MODULE_GAVE_WRONG"),
    ] {
        let token = Arc::new(Wrong::new(Arc::new(Token::of("alice")), fault));
        let vault = Arc::new(Wrong::new(Arc::new(Vault::with(content())), fault));
        let alice = scene.bench.builder("alice").module(token).module(vault).build().await.unwrap();
        let bob = scene.bench.builder("bob").build().await.unwrap();
        let nothing = || (Give::Nothing, Give::Nothing);
        // The exchange beside them goes its way meanwhile.
        let good = OfferTerms {
            complain_by: None,
            ..deal(&scene, by(signature_key("alice")), by(signature_key("bob")))
        };
        let begun = scene.bench.clock.now();
        let beside = async {
            let ended = exchange((&alice, &bob), good, nothing()).await;
            (ended, scene.bench.clock.now().0 - begun.0)
        };
        let (signed, sent, ((a, b), took)) = tokio::join!(
            exchange((&alice, &bob), signing(), nothing()),
            exchange((&alice, &bob), sending(), nothing()),
            beside
        );
        assert!(completed(&a) && completed(&b) && took < 1_000, "{fault:?}: {a:?} {b:?} after {took} ms");
        for (error, _) in [signed, sent] {
            let Err(Error::Module { module, error }) = error else { panic!("{fault:?}: {error:?}") };
            assert_eq!((module.as_str(), error.reason()), ("wrong", reason), "{fault:?}");
        }
        assert_eq!(alice.list().await.unwrap().len(), 1, "{fault:?}: only the good one was signed");
    }
    assert_eq!(scene.bench.arbiter.calls(), 0);
}

/// a store that hangs keeps a file waiting that another module has, for seconds and not longer; one that is ready is
/// taken before one that is liked less, whoever is faster.
#[tokio::test(start_paused = true)]
async fn a_module_that_hangs_does_not_hold_up_the_others() {
    let scene = Scene::new();
    let hangs = Arc::new(Wrong::new(Arc::new(Vault::with(content())), Fault::HangsPreparing));
    let alice = scene.bench.builder("alice").module(hangs.clone()).build().await.unwrap();
    let bob = scene.bench.builder("bob").build().await.unwrap();
    let terms = || deal(&scene, items::file(described()), by(signature_key("bob")));
    let file = || Give::File(scene.path().join("notice.txt"));
    let begun = scene.bench.clock.now();
    let (a, b) = exchange((&alice, &bob), terms(), (file(), Give::Nothing)).await;
    let took = scene.bench.clock.now().0 - begun.0;
    assert!(completed(&a) && completed(&b) && took < 5_000, "{took} ms: {a:?} {b:?}");

    let slow = Slow(Vault::with(content()));
    let alice = scene.bench.builder("alice").module(hangs).module(Arc::new(slow)).build().await.unwrap();
    let id = alice.offer(terms(), file()).await.unwrap();
    let given = scene.bench.folder("alice").join("given").join(described().sha256.to_string());
    assert_eq!(std::fs::read(&given).unwrap(), content(), "out of the slow vault, not the named file: {id}");
}

/// A vault that takes a second for everything.
struct Slow(Vault);

#[async_trait::async_trait]
impl Module for Slow {
    fn name(&self) -> &'static str {
        "slow"
    }

    fn capability(&self) -> Capability {
        self.0.capability()
    }

    async fn prepare(&self, item: &Item, source: Option<&Path>) -> Result<(), ModuleError> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.0.prepare(item, source).await
    }

    async fn give(&self, order: &Order) -> Result<Given, ModuleError> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.0.give(order).await
    }
}

/// a purse that does not pay, or whose receipts are none, ends its own exchange as if nothing was paid, with
/// nothing lost; a purse beside it pays at once.
#[tokio::test(start_paused = true)]
async fn a_wrong_purse_harms_only_its_exchange() {
    for fault in [Fault::HangsGiving, Fault::PanicsGiving, Fault::GivesOtherKind, Fault::HangsWatching] {
        let folder = tempfile::tempdir().unwrap();
        let bench = Bench::new(folder.path());
        let setting = trade(&bench, Trade::Purchase, folder.path());
        bench.ledger.open(&purse("other"), "100.00 EUR").unwrap();
        let ledger = Arc::new(bench.ledger.clone());
        let other = LedgerPurse::new("other", bench.ledger.key(), ledger, Arc::new(purse("other")));
        let alice = bench.builder("alice").module(Arc::new(Wrong::new(Arc::new(other), fault)));
        let alice = alice.build().await.unwrap();
        let bob = bench.builder("bob").build().await.unwrap();
        let good = setting.terms.clone();
        let mut wrong = good.clone();
        let hold = wrong.originator_item.description.payment().unwrap().hold;
        wrong.originator_item = items::payment(trades::payment(&bench, "other", "bob", "25.00 EUR", hold));
        let gives = || (Give::Nothing, setting.responder.clone());
        let begun = bench.clock.now();
        let beside = async {
            let ended = exchange((&alice, &bob), good, gives()).await;
            (ended, bench.clock.now().0 - begun.0)
        };
        let ((a, b), ((good_a, good_b), took)) =
            tokio::join!(exchange((&alice, &bob), wrong, gives()), beside);
        assert!(completed(&good_a) && completed(&good_b), "{fault:?}: {good_a:?} {good_b:?}");
        assert!(took < 60_000, "{fault:?}: {took} ms");
        trades::until_all_is_over(&bench, &setting).await;
        let left = bench.ledger.available(&purse("other").public_key());
        let paid = left != 10_000;
        let got = a.as_ref().is_ok_and(|outcome| has(&bench, outcome));
        assert_eq!(paid, got, "{fault:?}: {a:?} {b:?}");
        if fault == Fault::HangsWatching {
            assert!(got, "a purse that only sees nothing pays: {a:?}");
        } else {
            assert!(!paid, "{fault:?}");
        }
        assert!(bench.ledger.is_sound());
    }
}

/// A module that finds fault with what fits has the arbiter asked, and both have what was agreed; one that hangs or panics
/// over it has nothing to say.
#[tokio::test(start_paused = true)]
async fn a_module_that_takes_nothing_loses_nothing() {
    for (fault, asked) in
        [(Fault::ChecksNothing, true), (Fault::HangsChecking, false), (Fault::PanicsChecking, false)]
    {
        let scene = Scene::new();
        let files = Wrong::new(Arc::new(Files::default()), fault);
        let alice = scene.bench.builder("alice").build().await.unwrap();
        let bob = scene.bench.builder("bob").module(Arc::new(files)).build().await.unwrap();
        let terms = deal(&scene, items::file(described()), items::signature("Receipt", "", described()));
        let file = Give::File(scene.path().join("notice.txt"));
        let (a, b) = exchange((&alice, &bob), terms, (file, Give::Nothing)).await;
        let (a, b) = (a.unwrap(), b.unwrap());
        assert!(common::has_peers_item(&a) && common::has_peers_item(&b), "{fault:?}: {a:?} {b:?}");
        assert_eq!(scene.bench.arbiter.calls() > 0, asked, "{fault:?}");
    }
}

/// What is handed to a peer says what is there, in order of preference, and reads back.
#[tokio::test]
async fn a_list_says_what_a_client_can_do() {
    let scene = Scene::new();
    let builder =
        scene.bench.builder("alice").module(Arc::new(scene.purse("alice").at("http://127.0.0.1:1")));
    let alice = builder.module(Arc::new(Token::of("alice"))).build().await.unwrap();
    let list = alice.capabilities();
    assert_eq!(arbiter_client::module::Capabilities::parse(&list.to_json()).unwrap(), list);
    assert_eq!(list.party, alice.party().signing_key);
    let formats: Vec<_> = list
        .modules
        .iter()
        .filter_map(|it| match &it.means {
            arbiter_client::module::Means::Signature { format, key, .. } => Some((*format, key.is_some())),
            _ => None,
        })
        .collect();
    let ed25519 = Format::Detached(Algorithm::Ed25519);
    assert_eq!(formats[..2], [(ed25519, true), (ed25519, true)], "the token, then the identity");
    assert_eq!(formats.last(), Some(&(Format::Replacement, false)));
    assert_eq!(formats.len(), 1 + Algorithm::ALL.len() + 1);
}
