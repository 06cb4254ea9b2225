//! An arbiter that lies is caught, and the proof is kept (F13, F14, scenario S38).
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A test may stop where it likes.

mod common;

use std::path::Path;
use std::sync::{Arc, Mutex};

use arbiter_client::arbiter::{ArbiterPort, Deposit, Filing, Misbehaviour, Offence, PortError};
use arbiter_client::bundle::Bundle;
use arbiter_client::charge::{ChargeFile, Finding, Offence as Convicted};
use arbiter_client::journal::{MemoryStore, Shelf, Store as _};
use arbiter_client::protocol::evidence::checkpoint::SignedCheckpoint;
use arbiter_client::protocol::evidence::note::VerifierKey;
use arbiter_client::protocol::exchange::selection::Role;
use arbiter_client::protocol::ids::{Digest, ExchangeId};
use arbiter_client::protocol::message::request::{Action, Request};
use arbiter_client::protocol::role::arbiter::Escrows;
use arbiter_client::protocol::ruling::receipt::Receipt;
use arbiter_client::protocol::statement::Verified;
use arbiter_client::testing::{Bench, Lie, signer};
use arbiter_client::transport::memory::{End, Fault, Wire};
use arbiter_client::transport::{Event, Nobody, PeerMessage, Transport as _, Want};
use arbiter_client::{Client, Error, Give, Outcome};
use common::{Deal, review, setting};

async fn alice(bench: &Bench) -> Client {
    bench.builder("alice").build().await.unwrap()
}

/// An offer that nobody answers: patience, then an abort.
async fn offered(bench: &Bench, alice: &Client, folder: &std::path::Path) -> ExchangeId {
    alice.offer(setting(bench, Deal::Contract, folder).terms, Give::Nothing).await.unwrap()
}

async fn caught(alice: &Client, result: Result<Outcome, Error>) -> Misbehaviour {
    let Err(Error::Misbehaviour(proof)) = result else { panic!("believed: {result:?}") };
    assert_eq!(alice.misbehaviours().await.unwrap(), [(*proof).clone()], "the proof is in the journal");
    *proof
}

/// what the client makes of it for others, and what they find.
async fn judged(alice: &Client) -> Option<Finding> {
    let charges = alice.charges().await.unwrap();
    let file = charges.first()?;
    assert_eq!(ChargeFile::parse(&file.to_json()).unwrap(), *file);
    Some(file.charge.judge(alice.arbiter()).finding)
}

/// an answer that names another request than ours is no answer.
#[tokio::test(start_paused = true)]
async fn an_answer_to_another_request_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let alice = alice(&bench).await;
    let id = offered(&bench, &alice, folder.path()).await;
    bench.arbiter.lie(Lie::OtherRequest);
    let proof = caught(&alice, alice.run(id, &mut Nobody).await).await;
    assert!(matches!(&proof.offence, Offence::Unproven(why) if why.contains("another request")), "{proof}");
    assert_eq!(proof.receipts.len(), 1);
    assert_eq!(judged(&alice).await, None, "nobody else can know what was asked");
}

/// The arbiter signs that both items are replaced; nobody ever accepted. The rules are applied again.
#[tokio::test(start_paused = true)]
async fn a_verdict_that_the_rules_do_not_give_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let alice = alice(&bench).await;
    let id = offered(&bench, &alice, folder.path()).await;
    bench.arbiter.lie(Lie::ForgedVerdict);
    let proof = caught(&alice, alice.run(id, &mut Nobody).await).await;
    assert!(matches!(&proof.offence, Offence::Unproven(why) if why.contains("F13")), "{proof}");
    // The kept receipt convicts the arbiter by itself: its signature is on it.
    let offer = alice.status(id).await.unwrap().evidence.offer;
    let receipt = proof.receipts.first().unwrap();
    assert_eq!(receipt.statement.key(), offer.arbiter.key);
    assert!(receipt.verify(&offer, None).is_err());
    assert_eq!(judged(&alice).await, Some(Finding::Guilty(Convicted::RuleBroken(id))));
}

/// S34, S38: aborted for alice, replaced for bob: whoever sees both has the proof.
#[tokio::test(start_paused = true)]
async fn two_verdicts_convict() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let alice = alice(&bench).await;
    let id = offered(&bench, &alice, folder.path()).await;
    assert_eq!(alice.query(id).await.unwrap(), None);
    assert!(matches!(alice.run(id, &mut Nobody).await.unwrap(), Outcome::Aborted(_)));
    let first = alice.query(id).await.unwrap().expect("there is a verdict");
    bench.arbiter.lie(Lie::SecondVerdict);

    let bob = bench.builder("bob").build().await.unwrap();
    let offer = alice.status(id).await.unwrap().evidence.offer;
    let proposal = review(&bob, &alice.status(id).await.unwrap().evidence).await.unwrap();
    bob.accept(&proposal, Give::Nothing).await.unwrap();
    assert!(matches!(bob.complain(id).await.unwrap(), Outcome::Resolved(_)), "bob cannot know");

    let result = alice.query(id).await;
    let Err(Error::Misbehaviour(proof)) = result else { panic!("believed: {result:?}") };
    assert_eq!(alice.misbehaviours().await.unwrap(), [(*proof).clone()]);
    assert_eq!(proof.offence, Offence::TwoVerdicts);
    let verdicts: Vec<_> = proof
        .receipts
        .iter()
        .map(|receipt| receipt.verify(&offer, None).unwrap().ruled.verdict().unwrap().digest())
        .collect();
    assert_eq!(verdicts.len(), 2);
    assert_eq!(verdicts[0], first.digest());
    assert_ne!(verdicts[0], verdicts[1]);
    assert_eq!(judged(&alice).await, Some(Finding::Guilty(Convicted::TwoVerdicts(id))));
}

/// S38: what the arbiter said to a question counts as much as what it said to a complaint: it is kept, and compared.
#[tokio::test(start_paused = true)]
async fn a_verdict_that_was_only_asked_for_is_kept_and_convicts() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let alice = alice(&bench).await;
    let id = offered(&bench, &alice, folder.path()).await;
    let offer = alice.status(id).await.unwrap().evidence.offer;
    let bob = bench.builder("bob").build().await.unwrap();
    let proposal = review(&bob, &alice.status(id).await.unwrap().evidence).await.unwrap();
    bob.accept(&proposal, Give::Nothing).await.unwrap();
    assert!(matches!(bob.complain(id).await.unwrap(), Outcome::Resolved(_)));

    let first = alice.query(id).await.unwrap().expect("there is a verdict");
    let evidence = alice.status(id).await.unwrap().evidence;
    assert_eq!(evidence.receipts.len(), 1, "kept");
    assert!(evidence.acceptance.is_some(), "learnt from the verdict's evidence");
    assert_eq!(alice.query(id).await.unwrap().map(|it| it.digest()), Some(first.digest()));
    assert_eq!(alice.status(id).await.unwrap().evidence.receipts.len(), 1, "once is enough");

    bench.arbiter.lie(Lie::SecondVerdict);
    let request =
        Request { exchange_id: id, agreement_id: None, role: Role::Originator, action: Action::Abort };
    let request = Verified::sign(request, &signer("alice"));
    bench
        .arbiter
        .abort(&Filing { request, offer: offer.clone(), acceptance: None, escrows: Escrows::default() })
        .await
        .unwrap();

    let result = alice.query(id).await;
    let Err(Error::Misbehaviour(proof)) = result else { panic!("believed: {result:?}") };
    assert_eq!(proof.offence, Offence::TwoVerdicts);
    assert_eq!(proof.receipts.len(), 2);
    assert_eq!(
        proof.receipts[0].verify(&offer, None).unwrap().ruled.verdict().unwrap().digest(),
        first.digest()
    );
    assert_eq!(alice.misbehaviours().await.unwrap(), [*proof]);
}

/// S34, S36, R-563: the log is begun anew under the same keys: the newest checkpoint seen gives it away, in another exchange
/// too.
#[tokio::test(start_paused = true)]
async fn a_rewritten_log_convicts() {
    // With a proof that the arbiter itself offers, and that leads from another tree, anybody can see it; else it is a claim.
    for (before, longer, seen) in [(3, false, false), (3, true, false), (4, true, true)] {
        let folder = tempfile::tempdir().unwrap();
        let bench = Bench::new(folder.path());
        let alice = alice(&bench).await;
        for _ in 0..before {
            let id = offered(&bench, &alice, folder.path()).await;
            assert!(matches!(alice.complain(id).await.unwrap(), Outcome::Aborted(_)));
        }
        bench.arbiter.lie(Lie::ForkedLog);
        if longer {
            let other = bench.builder("carol").build().await.unwrap();
            for _ in 0..5 {
                let id = offered(&bench, &other, folder.path()).await;
                assert!(matches!(other.complain(id).await.unwrap(), Outcome::Aborted(_)), "new to carol");
            }
        }
        let id = offered(&bench, &alice, folder.path()).await;
        let proof = caught(&alice, alice.complain(id).await).await;
        assert_eq!(proof.offence, Offence::InconsistentLog);
        let key = VerifierKey::new(alice.arbiter().log_origin.as_str(), alice.arbiter().log_key).unwrap();
        let [old, new] = proof.checkpoints.as_slice() else { panic!("two checkpoints") };
        for note in [old, new] {
            SignedCheckpoint::verify(note, &key).expect("both are signed by the log");
        }
        assert_ne!(old, new);
        let expected = if seen { Finding::Guilty(Convicted::Rewritten { size: 5 }) } else { Finding::Claim };
        assert_eq!(judged(&alice).await, Some(expected));
    }
}

/// R-311, S39: the verdict is good, and what comes out of the escrow, or of the deposit, is not what it was for.
#[tokio::test(start_paused = true)]
async fn content_that_was_changed_convicts() {
    for (deal, role) in [(Deal::Detached, Role::Originator), (Deal::FileForDetached, Role::Originator)] {
        let folder = tempfile::tempdir().unwrap();
        let bench = Bench::new(folder.path());
        let alice = alice(&bench).await;
        let setting = setting(&bench, deal, folder.path());
        let id = alice.offer(setting.terms, setting.originator).await.unwrap();
        let bob = bench.builder("bob").build().await.unwrap();
        let proposal = review(&bob, &alice.status(id).await.unwrap().evidence).await.unwrap();
        bob.accept(&proposal, setting.responder).await.unwrap();
        let evidence = bob.status(id).await.unwrap().evidence;
        bench.arbiter.lie(Lie::AlteredContent);

        // Alice hears the acceptance, and then nothing more.
        let wire = Wire::with_faults([(2, Fault::Down)]);
        let (mut a, mut b) = (wire.end(End::First), wire.end(End::Second));
        let says = async {
            while b.next(Want::Room).await != Event::Room {}
            let escrow = evidence.escrows.of(role.peer()).as_ref().map(|it| it.to_bytes());
            b.send(PeerMessage::Statement(evidence.acceptance.unwrap().envelope().clone(), escrow)).unwrap();
            std::future::pending::<()>().await;
        };
        let result = tokio::select! {
            result = alice.run(id, &mut a) => result,
            () = says => unreachable!(),
        };
        let proof = caught(&alice, result).await;
        let Offence::Unproven(why) = &proof.offence else { panic!("{proof}") };
        assert!(why.contains("what it held for us does not fit"), "{deal:?}: {why}");
        let status = alice.status(id).await.unwrap();
        assert_eq!(status.evidence.received_file, None);
        assert!(status.evidence.signatures.of(role.peer()).is_none());
    }
}

/// The arbiter, with witnesses that may have vouched for what it answers.
struct Vouched {
    arbiter: Arc<dyn ArbiterPort>,
    proof: Arc<Mutex<Option<String>>>,
}

#[async_trait::async_trait]
impl ArbiterPort for Vouched {
    async fn abort(&self, filing: &Filing) -> Result<Receipt, PortError> {
        self.arbiter.abort(filing).await
    }
    async fn resolve(&self, filing: &Filing) -> Result<Receipt, PortError> {
        self.arbiter.resolve(filing).await
    }
    async fn query(&self, filing: &Filing) -> Result<Receipt, PortError> {
        self.arbiter.query(filing).await
    }
    async fn revoke(&self, filing: &Filing) -> Result<Receipt, PortError> {
        self.arbiter.revoke(filing).await
    }
    async fn deposit(&self, filing: &Filing, content: &Path) -> Result<Receipt, PortError> {
        self.arbiter.deposit(filing, content).await
    }
    async fn fetch(&self, filing: &Filing) -> Result<Deposit, PortError> {
        self.arbiter.fetch(filing).await
    }
    async fn consistency(&self, old_size: u64, new_size: u64) -> Result<Vec<Digest>, PortError> {
        self.arbiter.consistency(old_size, new_size).await
    }
    fn proof(&self, _: &Receipt) -> Option<String> {
        self.proof.lock().unwrap().clone()
    }
}

/// the proof under witnesses that came with a ruling, or with a later answer to the same question, is kept over restarts and
/// is in the bundle.
#[tokio::test(start_paused = true)]
async fn a_witnessed_proof_is_kept_with_its_receipt() {
    for comes_at_once in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let bench = Bench::new(folder.path());
        let proof = Arc::new(Mutex::new(comes_at_once.then(|| "the first proof".to_owned())));
        let port = Vouched { arbiter: Arc::new(bench.arbiter.clone()), proof: proof.clone() };
        let store = Arc::new(MemoryStore::default());
        let port: Arc<dyn ArbiterPort> = Arc::new(port);
        let client = async || {
            bench.builder("alice").arbiter_port(port.clone()).journal(store.clone()).build().await.unwrap()
        };
        let alice = client().await;
        let id = offered(&bench, &alice, folder.path()).await;
        let Outcome::Aborted(evidence) = alice.run(id, &mut Nobody).await.unwrap() else { panic!("aborted") };
        let kept = |evidence: &arbiter_client::Evidence| {
            let [receipt] = evidence.receipts.as_slice() else { panic!("one receipt") };
            let bundle = Bundle::of(evidence);
            assert_eq!(bundle.receipts[0].tlog_proof, receipt.tlog_proof);
            receipt.tlog_proof.clone()
        };
        assert_eq!(kept(&evidence).is_some(), comes_at_once);
        *proof.lock().unwrap() = Some("the second proof".to_owned());
        alice.query(id).await.unwrap().unwrap();
        let expected = if comes_at_once { "the first proof" } else { "the second proof" };
        assert_eq!(kept(&alice.status(id).await.unwrap().evidence).as_deref(), Some(expected));
        drop(alice);
        assert_eq!(kept(&client().await.status(id).await.unwrap().evidence).as_deref(), Some(expected));
        // Damage of it is noticed as damage of everything else.
        let good = store.get(Shelf::Exchanges, id.as_bytes()).unwrap().unwrap();
        let at = good.windows(expected.len()).position(|it| it == expected.as_bytes()).unwrap();
        let mut bad = good.clone();
        bad[at] ^= 1;
        store.put(Shelf::Exchanges, id.as_bytes(), &bad).unwrap();
        assert!(matches!(client().await.status(id).await, Err(Error::Store(_))));
    }
}
