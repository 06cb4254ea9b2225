//! The thread that asks one witness: it remembers how far the witness is, and how long to leave it alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use arbiter_protocol::evidence::checkpoint::SignedCheckpoint;
use arbiter_protocol::evidence::note::NoteSignature;
use arbiter_protocol::evidence::witness::{AddCheckpoint, Refusal};
use tokio::sync::mpsc::Sender;

use super::call::{Caller, Failure, Said};
use crate::engine::EngineError;
use crate::publish::Prove;

/// After a first failure a witness is left alone for so long; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// At most.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A checkpoint to be cosigned.
pub(super) struct Job {
    pub(super) checkpoint: SignedCheckpoint,
    pub(super) prove: Prove,
    pub(super) found: Sender<NoteSignature>,
}

/// Why there is no cosignature.
enum Trouble {
    /// The witness has seen another history than ours, and how.
    Alarm(String),
    /// The engine cannot prove now.
    Engine(EngineError),
    /// No answer that counts.
    Failure(Failure),
    /// Our own request is none.
    Refused(Refusal),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// Asks one witness, one checkpoint after the other.
pub(super) struct Worker {
    caller: Caller,
    /// Whether a checkpoint is under way.
    busy: Arc<AtomicBool>,
    /// How many leaves it has cosigned, as far as it said.
    size: Option<u64>,
    pause: Duration,
    until: Option<Instant>,
    /// The trouble that was told last: each is one line, not one a second.
    told: Option<String>,
}

impl Worker {
    pub(super) fn new(caller: Caller, busy: Arc<AtomicBool>) -> Self {
        Self { caller, busy, size: None, pause: FIRST_PAUSE, until: None, told: None }
    }

    /// Until the witnesses are dropped.
    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            if self.until.is_none_or(|until| Instant::now() >= until) {
                self.ask(&job);
            }
            self.busy.store(false, Ordering::Release);
        }
    }

    fn ask(&mut self, job: &Job) {
        match self.cosign(job) {
            Ok(lines) => {
                self.back();
                // Too late is no error: the witness remembers, and the next checkpoint has it.
                lines.into_iter().for_each(|line| drop(job.found.blocking_send(line)));
            }
            Err(trouble) => self.away(&trouble),
        }
    }

    /// Asks, and once more if the witness is elsewhere than we thought. Without memory it is asked from 0, to learn.
    fn cosign(&mut self, job: &Job) -> Result<Vec<NoteSignature>, Trouble> {
        let checkpoint = job.checkpoint.checkpoint();
        for _ in 0..2 {
            let old = self.size.unwrap_or(0);
            if old > checkpoint.size {
                // Learned from another start of this program, or from a witness that lies.
                self.size = None;
                let size = checkpoint.size;
                return Err(Trouble::Alarm(format!(
                    "it has cosigned {old} leaves, and this log has only {size}"
                )));
            }
            let known = old == 0 || old == checkpoint.size;
            let proof = if known { Ok(Vec::new()) } else { (job.prove)(old) };
            let proof = proof.map_err(Trouble::Engine)?;
            let request = AddCheckpoint::new(old, proof, &job.checkpoint).map_err(Trouble::Refused)?;
            match self.caller.add_checkpoint(&request, checkpoint)? {
                Said::Cosigned(lines) => {
                    self.size = Some(checkpoint.size);
                    return Ok(lines);
                }
                Said::Has(size) if size == old => {
                    return Err(Trouble::Failure(Failure::Status(409)));
                }
                Said::Has(size) => self.size = Some(size),
                Said::Inconsistent => {
                    self.size = None;
                    let what = "what it has cosigned does not lead to the log of now";
                    return Err(Trouble::Alarm(what.to_owned()));
                }
            }
        }
        // Somebody else moves it: the next checkpoint finds it where it is.
        Ok(Vec::new())
    }

    fn back(&mut self) {
        if self.told.take().is_some() {
            tracing::info!(witness = self.caller.name(), "the witness cosigns again");
        }
        (self.pause, self.until) = (FIRST_PAUSE, None);
    }

    fn away(&mut self, trouble: &Trouble) {
        let witness = self.caller.name();
        self.until = Instant::now().checked_add(self.pause);
        self.pause = self.pause.saturating_mul(2).min(LONGEST_PAUSE);
        let text = match trouble {
            Trouble::Alarm(text) => {
                // Each time: nothing is more urgent.
                return tracing::error!(
                    witness,
                    "ALARM: this witness has seen another history of this log: {text}. The log was rolled back or replaced, or \
                     two arbiters use one key: stop and compare with the newest copy"
                );
            }
            Trouble::Engine(error) => error.to_string(),
            Trouble::Failure(failure) => failure.to_string(),
            Trouble::Refused(refusal) => refusal.to_string(),
        };
        if self.told.as_ref() != Some(&text) {
            tracing::warn!(witness, problem = text, "no cosignature; the log goes on without it");
            self.told = Some(text);
        }
    }
}
