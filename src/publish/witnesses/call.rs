//! One question to one witness. Nothing that it says is believed.

use std::time::Duration;

use arbiter_protocol::evidence::checkpoint::{Checkpoint, CheckpointError, Origin, SignedCheckpoint};
use arbiter_protocol::evidence::note::{NoteError, NoteSignature, VerifierKey};
use arbiter_protocol::evidence::witness::{
    AddCheckpoint, AnswerError, SIZE_MEDIA_TYPE, parse_answer, parse_conflict,
};
use arbiter_protocol::limits;
use thiserror::Error;
use ureq::Agent;
use ureq::http::Response;

use crate::publish::agent::{agent, roots};
use crate::witness::logs::origin_hash;

/// For one answer, from connecting to its last byte.
const PATIENCE: Duration = Duration::from_secs(1);
/// A checkpoint with 16 ML-DSA cosignatures has less.
const NOTE_BYTES: u64 = 64 * 1024;

/// What a witness answered that means something to a log.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Cosignatures that verify.
    Cosigned(Vec<NoteSignature>),
    /// It has cosigned so many leaves.
    Has(u64),
    /// It refuses the proof or the root: it has seen another history.
    Inconsistent,
}

/// No answer that counts. The witness, its operator or the network is at fault.
#[derive(Debug, Error)]
pub(super) enum Failure {
    /// The answer does not hold what it must.
    #[error("its answer does not count: {0}")]
    Answer(#[from] AnswerError),
    /// What it shows as our checkpoint is not one.
    #[error("what it shows is not a checkpoint of this log: {0}")]
    NotOurs(#[from] CheckpointError),
    /// Nothing came, or too much, or too late.
    #[error("it cannot be reached: {0}")]
    Away(String),
    /// It does not know this log or its key.
    #[error(
        "it does not know this log or its key (status {0}): ask its operator to add the log's verifier key"
    )]
    Unknown(u16),
    /// Any other status.
    #[error("it answers with status {0}")]
    Status(u16),
}

/// Asks one witness. Clones share its connections.
#[derive(Clone)]
pub(super) struct Caller {
    name: String,
    url: String,
    keys: Vec<VerifierKey>,
    agent: Agent,
}

impl Caller {
    pub(super) fn new(
        name: String,
        url: &str,
        keys: Vec<VerifierKey>,
        ca: Option<&[u8]>,
    ) -> Result<Self, String> {
        Ok(Self { name, url: url.to_owned(), keys, agent: agent(PATIENCE, roots(ca)?) })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Asks to cosign.
    pub(super) fn add_checkpoint(
        &self,
        request: &AddCheckpoint,
        checkpoint: &Checkpoint,
    ) -> Result<Said, Failure> {
        let url = format!("{}/add-checkpoint", self.url);
        let request =
            self.agent.post(url).content_type("text/plain; charset=utf-8").send(request.to_string());
        let mut answer = request.map_err(|error| Failure::Away(error.to_string()))?;
        match answer.status().as_u16() {
            200 => {
                let body = body(&mut answer, NOTE_BYTES)?;
                let cosigned = parse_answer(&body, checkpoint, &self.keys)?;
                Ok(Said::Cosigned(cosigned.into_iter().map(|(line, _)| line).collect()))
            }
            409 => {
                let media_type = answer.headers().get("content-type").and_then(|it| it.to_str().ok());
                if media_type != Some(SIZE_MEDIA_TYPE) {
                    return Ok(Said::Inconsistent);
                }
                Ok(Said::Has(parse_conflict(&body(&mut answer, 64)?)?))
            }
            422 => Ok(Said::Inconsistent),
            status @ (403 | 404) => Err(Failure::Unknown(status)),
            status => Err(Failure::Status(status)),
        }
    }

    /// The newest checkpoint of this log that it has cosigned.
    pub(super) fn newest(
        &self,
        origin: &Origin,
        log_key: &VerifierKey,
        within: Duration,
    ) -> Result<Option<SignedCheckpoint>, Failure> {
        let url = format!("{}/{}/checkpoint", self.url, origin_hash(origin));
        let request = self.agent.get(url).config().timeout_global(Some(within)).build().call();
        let mut answer = request.map_err(|error| Failure::Away(error.to_string()))?;
        match answer.status().as_u16() {
            200 => {}
            404 => return Ok(None),
            status => return Err(Failure::Status(status)),
        }
        let signed = SignedCheckpoint::verify(&body(&mut answer, NOTE_BYTES)?, log_key)?;
        // Our own signature says that the tree was ours; that of the witness is what makes it a mark of this witness.
        if signed.cosignatures(&self.keys)?.is_empty() {
            return Err(CheckpointError::Note(NoteError::SignatureUnknown).into());
        }
        Ok(Some(signed))
    }
}

fn body(answer: &mut Response<ureq::Body>, most: u64) -> Result<String, Failure> {
    const _: () = assert!(limits::NOTE_SIGNATURES * 4096 <= 64 * 1024);
    let read = answer.body_mut().with_config().limit(most).read_to_vec();
    let bytes = read.map_err(|error| Failure::Away(error.to_string()))?;
    String::from_utf8(bytes).map_err(|_| AnswerError::Malformed.into())
}
