//! The conformance suite: every rule that a payment module keeps, tried over its own interface.
//!
//! Each part uses payments of its own, so a rail can be tested again and again. `keep` names the part that fails.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arbiter::modules::{ModuleError, Power, check_receipt};
use arbiter_protocol::crypto::{MemorySigner, Signer as _};
use arbiter_protocol::exchange::payment::{Amount, Hold, Payment, Timeout};
use arbiter_protocol::ids::{Digest, PublicKey};
use arbiter_protocol::message::payment::{
    PaymentAction, PaymentOrder, PaymentReceipt, PaymentState, PaymentTerms,
};
use arbiter_protocol::message::wire;
use arbiter_protocol::statement::{Envelope, Payload, Verified, pae};
use arbiter_protocol::time::DurationMillis;
use prost::Message as _;
use tonic::Code;

use super::now;
use super::rails::{Rail, Way};

const HOUR: DurationMillis = DurationMillis(60 * 60 * 1000);

/// Tries every rule.
pub async fn keep(rail: &Rail) {
    let suite = Suite::new(rail).await;
    suite.an_unknown_payment_is_absent_and_stays_so().await;
    suite.a_payment_at_once_is_posted().await;
    suite.a_reservation_is_told_in_the_same_bytes().await;
    suite.what_is_revoked_stays_so().await;
    suite.what_is_revoked_before_it_was_made_is_never_made().await;
    suite.what_is_generated_is_not_revoked().await;
    suite.what_is_revoked_is_not_generated().await;
    suite.the_authority_may_post_a_part().await;
    suite.the_payee_may_void_and_the_payer_post_all().await;
    suite.who_may_not_order_changes_nothing().await;
    suite.bytes_that_are_no_order_change_nothing().await;
    suite.a_payment_is_for_one_exchange().await;
    suite.holds_end_by_themselves().await;
    suite.what_cannot_be_held_is_refused().await;
    suite.one_order_given_many_times_at_once_counts_once().await;
}

static PAYMENTS: AtomicU64 = AtomicU64::new(0);

struct Suite<'a> {
    rail: &'a Rail,
    amount: Amount,
}

impl<'a> Suite<'a> {
    /// the module says who it is, and takes some currency.
    async fn new(rail: &'a Rail) -> Self {
        let about = rail.module.about().await.unwrap();
        assert_eq!(about.key, rail.key);
        for power in [Power::Make, Power::Verify, Power::Revoke, Power::Generate] {
            assert!(about.can(power), "{power:?}: the suite needs it, and {:?} are there", about.powers);
        }
        let accepts = about.currencies.first().expect("a currency");
        let units = accepts.least.max(2);
        assert!(units <= accepts.most && about.longest_hold >= HOUR);
        let amount = Amount::new(units, accepts.currency.clone()).unwrap();
        Self { rail, amount }
    }

    /// Terms that nobody had before.
    fn terms(&self, hold: Option<Hold>) -> PaymentTerms {
        let Rail { key, payer, payee, authority, .. } = self.rail;
        let number = PAYMENTS.fetch_add(1, Ordering::SeqCst);
        let fresh = [now().0.to_be_bytes(), number.to_be_bytes()].concat();
        let payment = Payment {
            ledger: *key,
            payer: payer.public_key(),
            payee: payee.public_key(),
            amount: self.amount.clone(),
            hold,
        };
        let authority = hold.map(|_| authority.public_key());
        PaymentTerms { payment, authority, reference: Digest::of(&[b"suite", &fresh]) }
    }

    fn held(&self) -> PaymentTerms {
        self.terms(Some(Hold { until: now().after(HOUR), timeout: Timeout::Post }))
    }

    fn check(&self, terms: &PaymentTerms, envelope: Envelope) -> Verified<PaymentReceipt> {
        check_receipt(&self.rail.key, terms, envelope)
            .expect("R-701: a receipt under the key, for these terms")
    }

    async fn verify(&self, terms: &PaymentTerms) -> Verified<PaymentReceipt> {
        self.check(terms, self.rail.module.verify(terms).await.unwrap())
    }

    async fn make(&self, terms: &PaymentTerms) -> Verified<PaymentReceipt> {
        let order = order(terms, PaymentAction::Make, &self.rail.payer);
        let envelope = self.rail.orders.give(Way::Make, order.envelope().to_wire()).await.unwrap();
        self.check(terms, envelope)
    }

    async fn revoke(&self, terms: &PaymentTerms) -> Verified<PaymentReceipt> {
        let order = order(terms, PaymentAction::Void, &self.rail.authority);
        self.check(terms, self.rail.module.revoke(&order).await.unwrap())
    }

    async fn generate(&self, terms: &PaymentTerms, units: u64) -> Verified<PaymentReceipt> {
        let order = order(terms, PaymentAction::Post(units), &self.rail.authority);
        self.check(terms, self.rail.module.generate(&order).await.unwrap())
    }

    async fn refused(&self, way: Way, order: wire::Envelope, code: &[Code]) {
        let error = self.rail.orders.give(way, order).await.expect_err("refused");
        assert!(code.contains(&error.code()), "{error:?}, not {code:?}");
    }

    fn all(&self) -> PaymentState {
        PaymentState::Posted(self.amount.units)
    }

    ///
    async fn an_unknown_payment_is_absent_and_stays_so(&self) {
        let terms = self.held();
        for _ in 0..2 {
            let receipt = self.verify(&terms).await;
            assert_eq!((receipt.state, receipt.entry), (PaymentState::Absent, 0));
            assert!(!receipt.is_effective() && !receipt.is_final());
        }
        let early = order(&terms, PaymentAction::Post(1), &self.rail.authority);
        match self.rail.module.generate(&early).await {
            Ok(receipt) => assert_eq!(self.check(&terms, receipt).state, PaymentState::Absent),
            Err(error) => assert!(matches!(error, ModuleError::Refused(_)), "{error}"),
        }
        assert_eq!(self.verify(&terms).await.state, PaymentState::Absent);
    }

    ///
    async fn a_payment_at_once_is_posted(&self) {
        let terms = self.terms(None);
        let made = self.make(&terms).await;
        assert_eq!(made.state, self.all());
        assert!(made.is_effective() && made.is_final());
        assert_eq!(self.verify(&terms).await, made);
        assert_eq!(self.make(&terms).await, made, "the same order, the same bytes");
    }

    ///
    async fn a_reservation_is_told_in_the_same_bytes(&self) {
        let terms = self.held();
        let made = self.make(&terms).await;
        assert_eq!(made.state, PaymentState::Reserved);
        assert!(made.is_effective() && !made.is_final() && made.entry > 0);
        let order = order(&terms, PaymentAction::Make, &self.rail.payer);
        assert_eq!(made.order, Some(order.digest()));
        for _ in 0..2 {
            assert_eq!(self.verify(&terms).await, made);
            assert_eq!(self.make(&terms).await, made);
        }
    }

    ///
    async fn what_is_revoked_stays_so(&self) {
        let terms = self.held();
        self.make(&terms).await;
        let voided = self.revoke(&terms).await;
        assert_eq!(voided.state, PaymentState::Voided);
        assert!(voided.is_final() && !voided.is_effective());
        assert_eq!(self.revoke(&terms).await, voided);
        let again = order(&terms, PaymentAction::Make, &self.rail.payer);
        // Refused, or told what became of it then: never a new reservation.
        let _ = self.rail.orders.give(Way::Make, again.envelope().to_wire()).await;
        assert_eq!(self.verify(&terms).await, voided);
    }

    ///
    async fn what_is_revoked_before_it_was_made_is_never_made(&self) {
        let terms = self.held();
        let voided = self.revoke(&terms).await;
        assert_eq!(voided.state, PaymentState::Voided);
        let late = order(&terms, PaymentAction::Make, &self.rail.payer);
        self.refused(Way::Make, late.envelope().to_wire(), &[Code::FailedPrecondition]).await;
        assert_eq!(self.verify(&terms).await, voided);
        assert_eq!(self.revoke(&terms).await, voided);
    }

    ///
    async fn what_is_generated_is_not_revoked(&self) {
        let terms = self.held();
        self.make(&terms).await;
        let posted = self.generate(&terms, self.amount.units).await;
        assert_eq!(posted.state, self.all());
        assert_eq!(self.revoke(&terms).await, posted, "too late: the final state is the answer");
        assert_eq!(self.generate(&terms, self.amount.units).await, posted);
        assert_eq!(self.generate(&terms, 1).await, posted);
        assert_eq!(self.verify(&terms).await, posted);
    }

    ///
    async fn what_is_revoked_is_not_generated(&self) {
        let terms = self.held();
        self.make(&terms).await;
        let voided = self.revoke(&terms).await;
        assert_eq!(self.generate(&terms, self.amount.units).await, voided);
        assert_eq!(self.verify(&terms).await, voided);
    }

    ///
    async fn the_authority_may_post_a_part(&self) {
        let terms = self.held();
        self.make(&terms).await;
        let posted = self.generate(&terms, 1).await;
        assert_eq!(posted.state, PaymentState::Posted(1));
        assert!(posted.is_final() && !posted.is_effective(), "a part is no full payment");
        assert_eq!(self.generate(&terms, self.amount.units).await, posted, "a payment ends once");
    }

    ///
    async fn the_payee_may_void_and_the_payer_post_all(&self) {
        let Rail { payer, payee, orders, .. } = self.rail;
        let terms = self.held();
        self.make(&terms).await;
        let back = order(&terms, PaymentAction::Void, payee).envelope().to_wire();
        let voided = self.check(&terms, orders.give(Way::Void, back).await.unwrap());
        assert_eq!(voided.state, PaymentState::Voided);
        let terms = self.held();
        self.make(&terms).await;
        let all = order(&terms, PaymentAction::Post(self.amount.units), payer).envelope().to_wire();
        let posted = self.check(&terms, orders.give(Way::Post, all).await.unwrap());
        assert_eq!(posted.state, self.all());
    }

    /// an order counts only from who may give it.
    async fn who_may_not_order_changes_nothing(&self) {
        const NOT_ENTITLED: &[Code] = &[Code::PermissionDenied, Code::FailedPrecondition];
        let Rail { payer, payee, authority, .. } = self.rail;
        let stranger = super::key(99);
        let terms = self.held();
        for signer in [payee, authority, &stranger] {
            let make = order(&terms, PaymentAction::Make, signer).envelope().to_wire();
            self.refused(Way::Make, make, NOT_ENTITLED).await;
        }
        assert_eq!(self.verify(&terms).await.state, PaymentState::Absent);
        for signer in [payer, &stranger] {
            let void = order(&terms, PaymentAction::Void, signer).envelope().to_wire();
            self.refused(Way::Void, void, NOT_ENTITLED).await;
        }
        let made = self.make(&terms).await;
        for signer in [payer, &stranger] {
            let void = order(&terms, PaymentAction::Void, signer).envelope().to_wire();
            self.refused(Way::Void, void, NOT_ENTITLED).await;
        }
        let all = PaymentAction::Post(self.amount.units);
        for (action, signer) in [(all, payee), (all, &stranger), (PaymentAction::Post(1), payer)] {
            let post = order(&terms, action, signer).envelope().to_wire();
            self.refused(Way::Post, post, NOT_ENTITLED).await;
        }
        assert_eq!(self.verify(&terms).await, made);
    }

    /// signature, form, type, ledger. Nothing that is not exactly an order is carried out.
    async fn bytes_that_are_no_order_change_nothing(&self) {
        const BAD: &[Code] = &[Code::InvalidArgument, Code::FailedPrecondition, Code::PermissionDenied];
        let terms = self.held();
        let made = self.make(&terms).await;
        let good = order(&terms, PaymentAction::Void, &self.rail.authority).envelope().to_wire();
        let resigned = |payload_type: &str, payload: Vec<u8>| {
            let signature = self.rail.authority.sign(&pae(payload_type, &payload)).to_vec();
            let signatures =
                vec![wire::Signature { key_id: self.rail.authority.public_key().to_vec(), signature }];
            wire::Envelope { payload_type: payload_type.to_owned(), payload, signatures }
        };
        let changed = |change: &dyn Fn(&mut wire::Envelope)| {
            let mut envelope = good.clone();
            change(&mut envelope);
            envelope
        };
        let unknown_field = [good.payload.clone(), vec![0xf8, 0x07, 1]].concat();
        let mut other_version = PaymentOrder { terms: terms.clone(), action: PaymentAction::Void }.to_wire();
        other_version.version = 2;
        let mut with_units = other_version.clone();
        (with_units.version, with_units.units) = (1, 1);
        let mut no_action = other_version.clone();
        (no_action.version, no_action.action) = (1, 9);
        for bad in [
            changed(&|it| it.signatures[0].signature[5] ^= 1),
            changed(&|it| it.signatures[0].signature.truncate(63)),
            changed(&|it| it.signatures.push(it.signatures[0].clone())),
            changed(&|it| it.signatures.clear()),
            changed(&|it| it.payload[0] ^= 1),
            changed(&|it| it.payload.clear()),
            changed(&|it| it.payload_type.push('x')),
            resigned(PaymentReceipt::TYPE, good.payload.clone()),
            resigned(PaymentOrder::TYPE, unknown_field),
            resigned(PaymentOrder::TYPE, b"rubbish".to_vec()),
            resigned(PaymentOrder::TYPE, other_version.encode_to_vec()),
            resigned(PaymentOrder::TYPE, with_units.encode_to_vec()),
            resigned(PaymentOrder::TYPE, no_action.encode_to_vec()),
            wire::Envelope::default(),
        ] {
            self.refused(Way::Void, bad, BAD).await;
            assert_eq!(self.verify(&terms).await, made);
        }
        let mut elsewhere = terms.clone();
        elsewhere.payment.ledger = PublicKey::from_bytes(*super::key(98).public_key().as_bytes());
        let other = order(&elsewhere, PaymentAction::Void, &self.rail.authority).envelope().to_wire();
        self.refused(Way::Void, other, BAD).await;
        assert!(self.rail.module.verify(&elsewhere).await.is_err(), "a payment of another ledger");
    }

    /// the reference binds a payment to its exchange and its payer.
    async fn a_payment_is_for_one_exchange(&self) {
        let terms = self.held();
        self.make(&terms).await;
        let mut other = terms.clone();
        other.reference = Digest::of(&[b"other exchange", terms.reference.as_bytes()]);
        assert_eq!(self.verify(&other).await.state, PaymentState::Absent);
        let voided = self.revoke(&other).await;
        assert_eq!(voided.state, PaymentState::Voided);
        assert_eq!(self.verify(&terms).await.state, PaymentState::Reserved, "the other one is untouched");
    }

    /// a hold ends as its terms say, and the end is final.
    async fn holds_end_by_themselves(&self) {
        let soon = DurationMillis(1_200);
        let hold = |timeout| Some(Hold { until: now().after(soon), timeout });
        let (paid, back) = (self.terms(hold(Timeout::Post)), self.terms(hold(Timeout::Void)));
        assert!(self.make(&paid).await.is_effective());
        assert!(!self.make(&back).await.is_effective(), "it goes back by itself");
        let wait = async {
            loop {
                let (paid, back) = (self.verify(&paid).await, self.verify(&back).await);
                if paid.is_final() && back.is_final() {
                    return (paid, back);
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let (posted, voided) = tokio::time::timeout(Duration::from_secs(90), wait).await.expect("an end");
        assert_eq!((posted.state, voided.state), (self.all(), PaymentState::Voided));
        assert_eq!((posted.order, voided.order), (None, None), "nobody ordered it");
        assert_eq!(self.revoke(&paid).await, posted);
        assert_eq!(self.generate(&back, self.amount.units).await, voided);
    }

    /// what is outside its limits is refused, and absent.
    async fn what_cannot_be_held_is_refused(&self) {
        let longest = self.rail.module.about().await.unwrap().longest_hold;
        let hold = |until| Some(Hold { until, timeout: Timeout::Post });
        let over = self.terms(hold(now().before(HOUR)));
        let too_long = self.terms(hold(now().after(longest).after(HOUR)));
        let mut unknown = self.held();
        let currency = arbiter_protocol::exchange::payment::Currency::new("ZZZ9", 7).unwrap();
        unknown.payment.amount = Amount::new(1, currency).unwrap();
        for terms in [over, too_long, unknown] {
            let make = order(&terms, PaymentAction::Make, &self.rail.payer).envelope().to_wire();
            self.refused(Way::Make, make, &[Code::FailedPrecondition, Code::InvalidArgument]).await;
        }
    }

    ///
    async fn one_order_given_many_times_at_once_counts_once(&self) {
        let terms = self.held();
        let order = order(&terms, PaymentAction::Make, &self.rail.payer).envelope().to_wire();
        let all = (0..8).map(|_| self.rail.orders.give(Way::Make, order.clone()));
        let mut answers = Vec::new();
        for answer in join(all.collect()).await {
            answers.push(self.check(&terms, answer.unwrap()));
        }
        assert!(answers.iter().all(|it| *it == answers[0]));
        assert_eq!(self.verify(&terms).await, answers[0]);
    }
}

/// Waits for all, polled together.
async fn join<T>(futures: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut futures: Vec<_> = futures.into_iter().map(|it| (Box::pin(it), None)).collect();
    std::future::poll_fn(move |context| {
        for (future, done) in &mut futures {
            if done.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(it) => *done = Some(it),
                    std::task::Poll::Pending => {}
                }
            }
        }
        if futures.iter().any(|(_, done)| done.is_none()) {
            return std::task::Poll::Pending;
        }
        std::task::Poll::Ready(futures.iter_mut().filter_map(|(_, done)| done.take()).collect())
    })
    .await
}

pub fn order(terms: &PaymentTerms, action: PaymentAction, signer: &MemorySigner) -> Verified<PaymentOrder> {
    Verified::sign(PaymentOrder { terms: terms.clone(), action }, signer)
}
