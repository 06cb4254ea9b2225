//! The task that publishes: one checkpoint after the other.

use std::sync::Arc;
use std::time::Duration;

use arbiter_protocol::evidence::checkpoint::SignedCheckpoint;
use arbiter_protocol::evidence::note::{Note, NoteSignature, VerifierKey};
use arbiter_protocol::limits;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::{Cosigners, PATIENCE, Pace, Prove, PublishError, Published, Sink};
use crate::engine::{EngineError, Handle, blocking};

pub(super) struct Task {
    engine: Handle,
    key: VerifierKey,
    cosigners: Arc<dyn Cosigners>,
    pace: Pace,
    newest: watch::Sender<Arc<SignedCheckpoint>>,
    sink: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
}

/// How long a sink may take for the last checkpoint when the arbiter ends. It goes on after the next start.
const LAST: Duration = Duration::from_secs(5);

/// Compares what was published before with the log, publishes what there is now, and makes the task.
pub(super) async fn begin(
    engine: Handle,
    cosigners: Arc<dyn Cosigners>,
    pace: Pace,
    sink: Option<Box<dyn Sink>>,
) -> Result<(Task, Published), PublishError> {
    let arbiter = &engine.desk().arbiter;
    let key = VerifierKey::new(arbiter.log_origin.as_str(), arbiter.log_key)
        .expect("invariant: the log's own key and origin are well formed");
    let (asked, log_key) = (engine.clone(), key.clone());
    let first = tokio::task::spawn_blocking(move || first(&asked, &log_key));
    let first = first.await.map_err(|_| EngineError::Stopped)??;
    let newest = watch::Sender::new(Arc::new(first));
    let published = Published { newest: newest.subscribe(), cosigners: Arc::clone(&cosigners) };
    let sink = sink.map(|sink| pour(sink, newest.subscribe()));
    Ok((Task { engine, key, cosigners, pace, newest, sink }, published))
}

/// What is published before anybody is asked: the stored note, if the log has not grown since.
fn first(engine: &Handle, key: &VerifierKey) -> Result<SignedCheckpoint, PublishError> {
    let kept = engine.published()?;
    let kept = kept.map(|note| SignedCheckpoint::verify(&note, key)).transpose();
    let kept = kept.map_err(PublishError::NotOurs)?;
    if engine.read_only().is_some() {
        // what others know to be the newest, else what was published here last; nothing is signed or stored.
        return signed(engine, key).ok().or(kept).ok_or(PublishError::Engine(EngineError::ReadOnly));
    }
    if let Some(kept) = &kept {
        let (size, published) = (engine.log_size(), kept.checkpoint().size);
        if published > size || engine.root(published)? != kept.checkpoint().root {
            return Err(PublishError::RolledBack { published, size });
        }
    }
    match (signed(engine, key), kept) {
        // Nothing can be signed, but what was published can be shown.
        (Err(_), Some(kept)) => Ok(kept),
        (Ok(own), Some(kept)) if kept.checkpoint() == own.checkpoint() => Ok(kept),
        (own, _) => {
            let own = own?;
            engine.publish(&own.note().to_string())?;
            Ok(own)
        }
    }
}

/// The newest durable tree, signed through the guard.
fn signed(engine: &Handle, key: &VerifierKey) -> Result<SignedCheckpoint, EngineError> {
    SignedCheckpoint::verify(&engine.checkpoint()?, key).map_err(|error| {
        tracing::error!(%error, "the log's own checkpoint does not verify");
        EngineError::Damaged
    })
}

/// Passes what is published on to a sink, which may be slow: it gets the newest when it is done with the one before. Ends
/// when the other side of the channel is dropped, after the last one.
fn pour(
    sink: Box<dyn Sink>,
    mut newest: watch::Receiver<Arc<SignedCheckpoint>>,
) -> (mpsc::Sender<()>, JoinHandle<()>) {
    let (told, mut news) = mpsc::channel(1);
    newest.mark_changed();
    let task = tokio::spawn(async move {
        let mut sink = Some(sink);
        loop {
            let open = news.recv().await.is_some();
            if newest.has_changed().unwrap_or(true)
                && let Some(mut taker) = sink.take()
            {
                let published = Arc::clone(&newest.borrow_and_update());
                let work = tokio::task::spawn_blocking(move || {
                    taker.take(&published);
                    taker
                });
                sink = work.await.ok();
            }
            if !open {
                return;
            }
        }
    });
    // A new sink gets what is there.
    let _ = told.try_send(());
    (told, task)
}

impl Task {
    /// Until the engine ends or is told to `stop`; then what is newest is published once more, without witnesses.
    pub(super) async fn run(mut self, mut stop: oneshot::Receiver<()>) -> Result<(), PublishError> {
        let mut grown = self.engine.grown();
        loop {
            let began = Instant::now();
            let done = self.publish(true).await?;
            let interval = if done { self.pace.interval } else { self.pace.retry };
            let (known, enough) = {
                let newest = self.newest.borrow();
                (newest.checkpoint().size, self.cosigners.quorum(&newest))
            };
            let quiet = if enough { self.pace.refresh } else { self.pace.retry };
            let next = async {
                sleep_until(began + interval).await;
                tokio::select! {
                    // An error is an engine that is gone, which is noticed below.
                    Ok(_) = grown.wait_for(|size| *size > known) => {}
                    () = sleep_until(began + quiet.max(interval)) => {}
                }
            };
            tokio::select! {
                () = next => {}
                _ = self.engine.ended() => return Ok(()),
                _ = &mut stop => return self.last().await,
            }
        }
    }

    async fn last(&mut self) -> Result<(), PublishError> {
        let _ = self.publish(false).await?;
        let Some((told, pouring)) = self.sink.take() else { return Ok(()) };
        drop(told);
        if timeout(LAST, pouring).await.is_err() {
            tracing::warn!("the export is not up to date: it took too long");
        }
        Ok(())
    }

    /// Publishes the newest tree; `false` if it cannot be read or signed now, which is tried again. Only a write that failed
    /// is an error.
    async fn publish(&mut self, ask: bool) -> Result<bool, PublishError> {
        if self.engine.read_only().is_some() {
            return Ok(true);
        }
        let (engine, key) = (self.engine.clone(), self.key.clone());
        let own = match blocking(move || signed(&engine, &key)).await {
            Ok(own) => own,
            Err(error) => {
                tracing::warn!(%error, "nothing can be published now");
                return Ok(false);
            }
        };
        let old = Arc::clone(&self.newest.borrow());
        let same = old.checkpoint() == own.checkpoint();
        let mut signatures = Signatures::of(&own);
        if same {
            old.note().signatures().iter().for_each(|it| signatures.merge(it.clone()));
        }
        if ask {
            self.ask(&own, &mut signatures).await;
        }
        let merged = Note::new(own.note().text().to_owned(), signatures.0).map(|note| note.to_string());
        let merged = merged.ok().and_then(|note| SignedCheckpoint::verify(&note, &self.key).ok());
        let newest = merged.unwrap_or(own);
        if newest == *old {
            return Ok(true);
        }
        assert!(newest.checkpoint().size >= old.checkpoint().size, "invariant R-540: it never goes back");
        let (engine, note) = (self.engine.clone(), newest.note().to_string());
        blocking(move || engine.publish(&note)).await?;
        self.newest.send_replace(Arc::new(newest));
        if let Some((sink, _)) = &self.sink {
            // Full: it was told already and has not looked yet.
            let _ = sink.try_send(());
        }
        Ok(true)
    }

    /// Takes what witnesses give within their time.
    async fn ask(&self, own: &SignedCheckpoint, signatures: &mut Signatures) {
        let (engine, size) = (self.engine.clone(), own.checkpoint().size);
        let prove: Prove = Arc::new(move |old| engine.consistency_proof(old, size));
        let (found, mut cosignatures) = mpsc::channel(limits::NOTE_SIGNATURES);
        let merging = async {
            while let Some(cosignature) = cosignatures.recv().await {
                signatures.merge(cosignature);
            }
        };
        let asking = self.cosigners.cosign(own, prove, found);
        let _ = timeout(PATIENCE, async { tokio::join!(asking, merging) }).await;
    }
}

/// The signatures of a note that grows: the log's own first, one a key, the newest of each.
struct Signatures(Vec<NoteSignature>);

impl Signatures {
    fn of(own: &SignedCheckpoint) -> Self {
        Self(own.note().signatures().to_vec())
    }

    fn merge(&mut self, new: NoteSignature) {
        let key = |it: &NoteSignature| (it.name().to_owned(), it.key_id());
        match self.0.iter().position(|it| key(it) == key(&new)) {
            Some(0) => {}
            Some(place) => {
                if let Some(known) = self.0.get_mut(place) {
                    *known = new;
                }
            }
            None if self.0.len() < limits::NOTE_SIGNATURES => self.0.push(new),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, byte: u8) -> NoteSignature {
        use base64::Engine as _;
        let bytes = [&[1, 2, 3, 4][..], &[byte; 72]].concat();
        let encoded = base64::engine::general_purpose::STANDARD.encode(bytes);
        NoteSignature::parse(&format!("\u{2014} {name} {encoded}")).unwrap()
    }

    /// one signature a key, the newest; the log's own stays; at most 16.
    #[test]
    fn cosignatures_are_merged_by_key_and_bounded() {
        let mut signatures = Signatures(vec![line("log", 0)]);
        signatures.merge(line("log", 9));
        signatures.merge(line("w1", 1));
        signatures.merge(line("w2", 2));
        signatures.merge(line("w1", 3));
        assert_eq!(signatures.0, [line("log", 0), line("w1", 3), line("w2", 2)]);
        for n in 0..40 {
            signatures.merge(line(&format!("more{n}"), 5));
        }
        assert_eq!(signatures.0.len(), limits::NOTE_SIGNATURES);
        assert_eq!(signatures.0[0], line("log", 0));
    }
}
