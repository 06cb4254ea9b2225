//! The witnesses of this log: each has a thread that asks it, over HTTP (C2SP tlog-witness, client side).
//!
//! ```text
//!  publisher ── checkpoint ──▶ one thread a witness ── POST add-checkpoint ──▶ witness
//!      ▲                              │  200: cosignature, verified           409 with a size: once more from there
//!      └──────── signature lines ◀────┘  422, 409 without a size, or a size above ours: ALARM
//!
//!  start ── GET <hash of origin>/checkpoint ──▶ every witness ─▶ how far this log was, signed by ourselves: high-water marks
//! ```
//!
//! Invariants
//! - What a witness answers is read up to a limit and within a time, never followed elsewhere, and counts only if it verifies
//!   under the key of the policy (R-553).
//! - No witness holds up another, the publisher or a ruling: a thread that is busy is passed over, one that failed waits longer
//!   each time (R-553).
//! - Only our own signature is sent: requests stay small.

mod call;
mod worker;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use arbiter_protocol::evidence::checkpoint::{Checkpoint, Origin, SignedCheckpoint};
use arbiter_protocol::evidence::note::{NoteSignature, VerifierKey};
use arbiter_protocol::evidence::policy::{Policy, PolicyError};
use arbiter_protocol::limits;
use thiserror::Error;
use tokio::sync::mpsc;

use super::{Cosigners, Prove};
use crate::engine::{HighWater, Mark, MarkError};
use call::Caller;
use worker::{Job, Worker};

/// Witnesses that are asked at most: beside the log's own signature a note has room for so many.
pub const MOST: usize = limits::NOTE_SIGNATURES - 1;
/// For all witnesses together, when they are asked at the start how far the log was.
const MARKS_WITHIN: Duration = Duration::from_secs(2);
/// Largest policy file.
const POLICY_BYTES: u64 = 1 << 20;

/// Why a policy cannot be used. The operator is at fault.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WitnessesError {
    /// The authority of the witnesses' certificates.
    #[error("setting witness_ca: {0}")]
    Ca(String),
    /// The policy is for other logs.
    #[error("setting witness_policy: the policy has log lines, but none is of this log: add\n  log {key}")]
    OtherLog {
        /// The line that is missing.
        key: String,
    },
    /// The text.
    #[error("setting witness_policy: {0}")]
    Policy(#[from] PolicyError),
    /// The file.
    #[error("setting witness_policy: cannot read {path}: {reason}")]
    Read {
        /// The file.
        path: String,
        /// Why not.
        reason: String,
    },
    /// The system gives no thread.
    #[error("no thread for a witness: {0}")]
    Thread(std::io::Error),
    /// More witnesses than a note has room for.
    #[error(
        "setting witness_policy: {count} witness keys have an address; a checkpoint has room for {MOST} of them"
    )]
    TooMany {
        /// Keys with an address.
        count: usize,
    },
}

impl WitnessesError {
    /// Whether a setting is wrong, not the log or the machine.
    pub const fn is_configuration(&self) -> bool {
        !matches!(self, Self::Thread(_))
    }
}

/// All witnesses of the policy that have an address.
pub struct Witnesses {
    policy: Policy,
    origin: Origin,
    log_key: VerifierKey,
    callers: Vec<Caller>,
    queues: Vec<(SyncSender<Job>, Arc<AtomicBool>)>,
}

/// What a witness knows of this log.
#[derive(Clone, Debug)]
pub struct Memory {
    /// The witness.
    pub name: String,
    /// The newest checkpoint that it has cosigned, with our signature, verified. `None` if it has none of this log. The text says
    /// why nothing is known.
    pub newest: Result<Option<SignedCheckpoint>, String>,
}

impl HighWater for Memory {
    fn name(&self) -> String {
        format!("the witness {}", self.name)
    }

    fn newest(&self) -> Result<Option<Mark>, MarkError> {
        let known = self.newest.clone().map_err(MarkError::Away)?;
        Ok(known.map(|signed| {
            let Checkpoint { size, root, .. } = signed.checkpoint();
            let (size, root) = (*size, *root);
            Mark { size, root: Some(root), commits: None, note: Some(signed.note().to_string()) }
        }))
    }
}

impl Witnesses {
    /// Reads a policy file for the log with this key.
    pub fn read_policy(path: &Path, log_key: &VerifierKey) -> Result<Policy, WitnessesError> {
        let failed = |reason: String| WitnessesError::Read { path: path.display().to_string(), reason };
        let about = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?;
        if !about.is_file() || about.len() > POLICY_BYTES {
            return Err(failed("it is not a file of at most 1 MiB".to_owned()));
        }
        let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        let policy = Policy::parse(&text)?;
        let mut logs = policy.logs().iter().peekable();
        if logs.peek().is_some() && !logs.any(|log| log.key == *log_key) {
            return Err(WitnessesError::OtherLog { key: log_key.to_string() });
        }
        Ok(policy)
    }

    /// Starts a thread for each witness. `ca` is the authority of their certificates (PEM), if it is not a public one.
    pub fn start(
        policy: Policy,
        origin: Origin,
        log_key: VerifierKey,
        ca: Option<&[u8]>,
    ) -> Result<Self, WitnessesError> {
        // One with two keys is asked once.
        let mut by_url: BTreeMap<String, (String, Vec<VerifierKey>)> = BTreeMap::new();
        let mut count = 0_usize;
        for witness in policy.witnesses() {
            let Some(url) = &witness.url else { continue };
            count = count.saturating_add(1);
            let known = by_url.entry(url.trim_end_matches('/').to_owned());
            let (_, keys) = known.or_insert_with(|| (witness.name.clone(), Vec::new()));
            keys.push(witness.key.clone());
        }
        if count > MOST {
            return Err(WitnessesError::TooMany { count });
        }
        let mut callers = Vec::new();
        for (url, (name, keys)) in by_url {
            callers.push(Caller::new(name, &url, keys, ca).map_err(WitnessesError::Ca)?);
        }
        let mut queues = Vec::new();
        for caller in &callers {
            let (queue, jobs): (_, Receiver<Job>) = sync_channel(1);
            let busy = Arc::new(AtomicBool::new(false));
            let worker = Worker::new(caller.clone(), Arc::clone(&busy));
            let thread = std::thread::Builder::new().name(format!("witness {}", caller.name()));
            thread.spawn(move || worker.run(&jobs)).map_err(WitnessesError::Thread)?;
            queues.push((queue, busy));
        }
        Ok(Self { policy, origin, log_key, callers, queues })
    }

    /// The policy.
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Asks every witness what it knows of this log, at the same time, for two seconds in all. It blocks.
    pub fn high_water(&self) -> Vec<Memory> {
        let (found, memories) = std::sync::mpsc::channel();
        for caller in &self.callers {
            let (caller, origin, key, found) =
                (caller.clone(), self.origin.clone(), self.log_key.clone(), found.clone());
            let ask = move || {
                let newest = caller.newest(&origin, &key, MARKS_WITHIN).map_err(|why| why.to_string());
                let _ = found.send(Memory { name: caller.name().to_owned(), newest });
            };
            // Without a thread there is no answer, which is told below.
            let _ = std::thread::Builder::new().spawn(ask);
        }
        drop(found);
        let until = std::time::Instant::now() + MARKS_WITHIN;
        let mut known = Vec::new();
        while let Ok(memory) =
            memories.recv_timeout(until.saturating_duration_since(std::time::Instant::now()))
        {
            known.push(memory);
        }
        let silent = self.callers.iter().filter(|it| known.iter().all(|memory| memory.name != it.name()));
        let silent = silent.map(|it| Memory {
            name: it.name().to_owned(),
            newest: Err("it did not answer within two seconds".to_owned()),
        });
        let silent: Vec<_> = silent.collect();
        known.into_iter().chain(silent).collect()
    }
}

#[async_trait::async_trait]
impl Cosigners for Witnesses {
    async fn cosign(&self, checkpoint: &SignedCheckpoint, prove: Prove, found: mpsc::Sender<NoteSignature>) {
        for (queue, busy) in &self.queues {
            // One that is still at the one before is passed over: the next one is newer.
            if busy.swap(true, Ordering::AcqRel) {
                continue;
            }
            let job = Job { checkpoint: checkpoint.clone(), prove: prove.clone(), found: found.clone() };
            // A thread that is gone stays busy.
            let _ = queue.try_send(job);
        }
    }

    fn quorum(&self, checkpoint: &SignedCheckpoint) -> bool {
        self.policy.quorum(checkpoint).is_ok_and(|quorum| quorum.satisfied)
    }
}
