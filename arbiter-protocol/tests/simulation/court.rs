//! The arbiter in the simulation: the real `admit`, `decide` and sequencer over a durable and a pending half.

use std::rc::Rc;

use arbiter_protocol::error::{Refused, Rejected};
use arbiter_protocol::exchange::kind::content::FitContent;
use arbiter_protocol::exchange::kind::detached::Place;
use arbiter_protocol::exchange::kind::pledge::Pledge;
use arbiter_protocol::exchange::selection::ByRole;
use arbiter_protocol::ids::Digest;
use arbiter_protocol::message::request::Action;
use arbiter_protocol::role::arbiter::Case;
use arbiter_protocol::ruling::receipt::Receipt;
use arbiter_protocol::ruling::sequencer::{Batch, Closed, ContentId, Record, Reply, Seals};
use arbiter_protocol::time::UnixMillis;

use crate::common::{Durable, EARLY, Notary, content_of};
use crate::stage::{CaseKey, admitted, stage};

/// A request on its way to the arbiter. It is never lost; a crash of the arbiter makes the caller ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    pub key: CaseKey,
}

/// What the arbiter answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Reply(Reply),
    Refused(Refused),
    Rejected(Rejected),
}

pub struct Court {
    pub durable: Durable,
    batch: Option<Batch<'static>>,
    pending: Vec<(Call, Answer)>,
}

impl Court {
    pub fn new() -> Self {
        thread_local! {
            static GENESIS: Durable = Notary::new().durable;
        }
        let durable = GENESIS.with(Clone::clone);
        assert!(durable.head.time < UnixMillis(EARLY));
        Self { durable, batch: None, pending: Vec::new() }
    }

    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Decides a call into the pending batch. Nothing is shown yet.
    pub fn take(&mut self, call: Call, now: u64) {
        let durable = &self.durable;
        let batch =
            self.batch.get_or_insert_with(|| Batch::new(&stage().desk, stage().veil(), durable.head.clone()));
        let answer = match &*admitted(call.key) {
            Err(rejected) => Answer::Rejected(*rejected),
            Ok(case) => {
                let record = batch.record(&case.exchange_id()).cloned();
                let record = record.unwrap_or_else(|| durable.record(&case.exchange_id()));
                match open(case, call.key, &record) {
                    Err(refused) => Answer::Refused(refused),
                    Ok(opened) => {
                        let mut held =
                            opened.map(|role, fit| fit.as_ref().map(move |fit| (fit, content_of(role))));
                        if case.request().action == Action::Deposit {
                            held = ByRole::only(call.key.role, (stage().fit(), ContentId(7)));
                        }
                        match batch.file(case, record, UnixMillis(now), held) {
                            Ok(reply) => Answer::Reply(reply),
                            Err(refused) => Answer::Refused(refused),
                        }
                    }
                }
            }
        };
        self.pending.push((call, answer));
    }

    /// Ends the batch: what is to be committed and what may be answered once it is.
    pub fn close(&mut self) -> (Option<Closed>, Vec<(Call, Answer)>) {
        (self.batch.take().map(Batch::close), std::mem::take(&mut self.pending))
    }

    /// The process dies: what was not committed never was. The callers will ask again.
    pub fn crash(&mut self) -> Vec<Call> {
        self.batch = None;
        std::mem::take(&mut self.pending).into_iter().map(|(call, _)| call).collect()
    }

    /// A receipt from the durable half alone.
    pub fn receipt(&self, case: &Case, reply: Reply) -> Option<Receipt> {
        let cast = &stage().casts[0];
        let seals = Seals { arbiter: &cast.arbiter, log: &cast.log };
        let record = self.durable.records.get(&case.exchange_id())?;
        let request: Digest = case.request().digest();
        macro_rules! issue {
            ($logged:expr) => {{
                let logged = $logged.as_ref()?;
                let leaf = logged.statement.leaf_index;
                let proof = self.durable.proof(leaf, logged.tree_size);
                seals.issue(&stage().desk, record, logged, request, leaf, proof).ok()
            }};
        }
        match reply {
            Reply::Attestation(depositor) => issue!(record.attestations.of(depositor)),
            Reply::Verdict => issue!(record.verdict),
            Reply::Content(_) => None,
        }
    }
}

/// Opens what the case needs, unless there is a verdict to be replayed.
fn open(case: &Case, key: CaseKey, record: &Record) -> Result<ByRole<Option<FitContent>>, Refused> {
    let mut opened = ByRole::default();
    let template = stage().template(key.filed, key.kinds[key.filed]);
    for role in case.to_open().into_iter().filter(|_| record.verdict.is_none()) {
        let Some(escrow) = case.escrows().of(role).as_ref().and_then(Pledge::escrow) else { continue };
        let good = key.agreement.and_then(|index| template.escrowed[index].of(role).as_ref());
        // The good ones open: the stage has seen it. The others are really tried.
        let fit = if good.is_some_and(|good| good.escrow() == Some(escrow)) {
            template.opened(role).expect("a good escrow opens")
        } else {
            let agreement = case.agreement().expect("admitted").id();
            match Place::of(case.offer(), role, agreement).open(escrow, &stage().casts[0].escrow_secret()) {
                Ok((fit, _)) => fit,
                Err(Rejected::Refused(refused)) => return Err(refused),
                Err(Rejected::Invalid(invalid)) => panic!("admitted, and then {invalid}"),
            }
        };
        *opened.of_mut(role) = Some(fit);
    }
    Ok(opened)
}

pub fn case_of(call: Call) -> Rc<Result<Case, Rejected>> {
    admitted(call.key)
}
