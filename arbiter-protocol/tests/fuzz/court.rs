//! The arbiter of a dispute, and what holds for it whoever can sign what: one verdict (R-401), time never goes back (R-409), the
//! same question gets the same bytes (R-410), content goes only to who may have it (R-408), and every receipt verifies (R-506).
//!
//! ```text
//!  case ─▶ Batch::file ─▶ planned ──commit──▶ durable ─▶ receipt
//!                            └──die──▶ gone, and nobody has seen it
//! ```

use std::collections::BTreeMap;
use std::rc::Rc;

use arbiter_protocol::crypto::Signer;
use arbiter_protocol::exchange::kind::content::FitContent;
use arbiter_protocol::exchange::selection::ByRole;
use arbiter_protocol::ids::{Digest, ExchangeId, LeafIndex};
use arbiter_protocol::message::request::Action;
use arbiter_protocol::message::verdict::Ruling;
use arbiter_protocol::role::arbiter::Case;
use arbiter_protocol::ruling::sequencer::{Batch, ContentId, Record, Reply, Seals};
use arbiter_protocol::time::UnixMillis;
use prost::Message as _;

use crate::common::{Cast, Durable, EARLY, Notary, TestVeil};
use crate::stage::stage;

pub struct Court<'a> {
    cast: &'a Cast,
    arbiter: &'a dyn Signer,
    pub durable: Durable,
    batch: Option<Batch<'static>>,
    pending: Vec<(Rc<Case>, Reply)>,
    pub now: u64,
    /// The first answer to each request, as bytes.
    answers: BTreeMap<Digest, Vec<u8>>,
    /// The requests that caused what is planned or durable.
    causes: BTreeMap<Digest, Rc<Case>>,
    /// Whether anybody was shown a verdict.
    pub ruled: bool,
}

/// What one case did to the record of its exchange.
pub struct Filed {
    pub before: Record,
    pub after: Record,
    pub refused: bool,
    /// By the arbiter's clock.
    pub at: UnixMillis,
}

impl<'a> Court<'a> {
    pub fn new(cast: &'a Cast, arbiter: &'a dyn Signer) -> Self {
        thread_local! {
            static GENESIS: Durable = Notary::new().durable;
        }
        Self {
            cast,
            arbiter,
            durable: GENESIS.with(Clone::clone),
            batch: None,
            pending: Vec::new(),
            now: EARLY,
            answers: BTreeMap::new(),
            causes: BTreeMap::new(),
            ruled: false,
        }
    }

    /// The arbiter dies: nobody has seen what was only planned.
    pub fn die(&mut self) {
        (self.batch, self.pending) = (None, Vec::new());
    }

    /// As the next case will find it.
    pub fn record(&self, exchange: &ExchangeId) -> Record {
        let planned = self.batch.as_ref().and_then(|batch| batch.record(exchange).cloned());
        planned.unwrap_or_else(|| self.durable.record(exchange))
    }

    pub fn file(&mut self, case: Rc<Case>, held: ByRole<Option<(&FitContent, ContentId)>>) -> Filed {
        let (exchange, now) = (case.exchange_id(), UnixMillis(self.now));
        let before = self.record(&exchange);
        let (desk, head) = (&stage().desk, self.durable.head.clone());
        let batch = self.batch.get_or_insert_with(|| Batch::new(desk, &TestVeil, head));
        let reply = batch.file(&case, before.clone(), now, held);
        let after = batch.record(&exchange).cloned().unwrap_or_else(|| before.clone());
        let (at, refused) = (batch.clamp(now), reply.is_err());
        if let Ok(reply) = reply {
            self.causes.entry(case.request().digest()).or_insert_with(|| Rc::clone(&case));
            self.pending.push((case, reply));
        }
        Filed { before, after, refused, at }
    }

    /// Makes durable what is planned, and answers. `ruled` sees the case and the record of each new verdict.
    pub fn commit(&mut self, ruled: impl Fn(&Case, &Record)) {
        let Some(batch) = self.batch.take() else { return };
        let closed = batch.close();
        assert!(closed.head.time >= self.durable.head.time, "R-409: time went back");
        for (exchange, record) in &closed.records {
            let earlier = self.durable.record(exchange);
            assert!(earlier.verdict.is_none() || earlier.verdict == record.verdict, "R-401: overwritten");
            if let (Some(verdict), None) = (&record.verdict, &earlier.verdict) {
                ruled(&self.causes[&verdict.statement.request], record);
            }
        }
        self.durable.apply(closed);
        for (case, reply) in std::mem::take(&mut self.pending) {
            self.answer(&case, reply);
        }
    }

    fn answer(&mut self, case: &Case, reply: Reply) {
        let record = self.durable.record(&case.exchange_id());
        let request = case.request();
        let shown = match reply {
            Reply::Content(id) => {
                let verdict = record.verdict.as_ref().expect("R-408: before a verdict");
                let replaced = matches!(verdict.statement.ruling, Ruling::Replaced(_));
                assert!(replaced, "R-408: nothing was replaced");
                assert_eq!(*record.held.of(request.role.peer()), Some(id), "R-408: the own item");
                assert_eq!(request.action, Action::Fetch);
                id.0.to_be_bytes().to_vec()
            }
            Reply::Attestation(_) | Reply::Verdict => self.receipt(case, &record, reply),
        };
        self.ruled |= reply == Reply::Verdict;
        let earlier = self.answers.entry(request.digest()).or_insert_with(|| shown.clone());
        assert_eq!(*earlier, shown, "R-410: the same question, another answer");
    }

    fn receipt(&self, case: &Case, record: &Record, reply: Reply) -> Vec<u8> {
        let seals = Seals { arbiter: self.arbiter, log: &self.cast.log };
        let (desk, request) = (&stage().desk, case.request().digest());
        let proof = |leaf: LeafIndex, size| self.durable.proof(leaf, size);
        macro_rules! issue {
            ($logged:expr) => {{
                let logged = $logged.as_ref().expect("R-504: shown before it was durable");
                let leaf = logged.statement.leaf_index;
                seals.issue(desk, record, logged, request, leaf, proof(leaf, logged.tree_size))
            }};
        }
        let receipt = match reply {
            Reply::Attestation(depositor) => issue!(record.attestations.of(depositor)),
            Reply::Content(_) | Reply::Verdict => issue!(record.verdict),
        };
        let receipt = receipt.expect("a good log origin");
        // Signatures are checked once for each request: they are the slow part.
        if !self.answers.contains_key(&request) {
            let proven = receipt.verify(case.offer(), Some(request));
            assert_eq!(proven.expect("R-506: an honest receipt verifies").request, request);
        }
        arbiter_protocol::wire::arbiter::Receipt::from(&receipt).encode_to_vec()
    }
}
