//! Verifying a disclosure: fields of one record, and the leaf that commits to it (R-566).
//!
//! ```text
//!  pin ─▶ leaf of this arbiter ─▶ log signed, leaf in it ─▶ witnesses, time-stamps
//!  field ─▶ path to the record in the leaf ─▶ of a statement: its signature, and whose key it is
//! ```
//!
//! Invariants
//! - A field counts only by its path to a leaf that is proven; a signature only under the key that must have signed,
//!   or by name if nothing shown says which key that is.
//! - Nothing is decided again: that needs the whole record.

use arbiter_protocol::error::Invalid;
use arbiter_protocol::evidence::checkpoint::SignedCheckpoint;
use arbiter_protocol::evidence::leaf::{Leaf, issuer_id};
use arbiter_protocol::evidence::merkle;
use arbiter_protocol::evidence::note::VerifierKey;
use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::ids::{Digest, ExchangeId, PublicKey};
use arbiter_protocol::message::agreement::{Acceptance, ArbiterIdentity, Offer};
use arbiter_protocol::message::request::Request;
use arbiter_protocol::message::verdict::{Attestation, Verdict};
use arbiter_protocol::statement::{Envelope, Payload, Signed};

use super::outside::Logged;
use super::{Desk, Finding, Report, Verifier};
use crate::disclosure::{Disclosed, Disclosure};
use crate::fingerprint::Fingerprint;
use crate::{explain, plain};

impl Verifier<'_> {
    /// Verifies a disclosure; `files` are not looked at.
    pub fn disclosed(&self, disclosure: &Disclosure) -> Report {
        let mut desk = Desk::new(*self);
        let exchange = desk.disclosed(disclosure);
        let mut report = desk.report(exchange.is_some());
        let id = exchange.flatten();
        report.exchange_id = id.map(|id| id.to_string());
        report.fingerprint = id.map(|id| Fingerprint::of(id.as_bytes()).to_string());
        if report.finding != Finding::Bad {
            report.does_not_prove = vec![
                "What the other fields of the record say: their salted hashes show nothing.".to_owned(),
                "That the rules give this ruling: only the whole bundle can be decided again.".to_owned(),
                "That the arbiter's clock was right. Names of parties are what they call themselves."
                    .to_owned(),
            ];
        }
        report
    }
}

impl Desk<'_> {
    /// `None` if something is bad that others rest on; the exchange, if what is shown names it.
    fn disclosed(&mut self, disclosure: &Disclosure) -> Option<Option<ExchangeId>> {
        let arbiter = &disclosure.arbiter;
        self.arbiter(arbiter, true);
        let leaf = self.record("leaf", Leaf::decode(&disclosure.leaf), |leaf| {
            format!("leaf {}: {}, at {}", leaf.index, leaf.event.name(), plain::time(leaf.time))
        })?;
        let ours =
            leaf.issuer == issuer_id(&arbiter.key) && leaf.policy == Digest::of(&[arbiter.rules.as_bytes()]);
        if !ours {
            self.fail("leaf-issuer", "the leaf is of another arbiter, or of other rules".to_owned());
            return None;
        }
        self.pass("leaf-issuer", "the leaf names this arbiter's key and rules".to_owned());
        let signed = VerifierKey::new(arbiter.log_origin.as_str(), arbiter.log_key)
            .map_err(|error| error.to_string())
            .and_then(|key| {
                SignedCheckpoint::verify(&disclosure.checkpoint, &key).map_err(|error| error.to_string())
            });
        let signed = self.record("log", signed, |_| "the log's key signed the checkpoint".to_owned())?;
        let checkpoint = signed.checkpoint();
        let hash = merkle::leaf_hash(&disclosure.leaf);
        let included = merkle::verify_inclusion(
            &hash,
            leaf.index.0,
            checkpoint.size,
            &disclosure.inclusion_proof,
            &checkpoint.root,
        );
        self.record("inclusion", included, |()| {
            format!(
                "leaf {} is in the tree of size {} of log {}",
                leaf.index, checkpoint.size, checkpoint.origin
            )
        })?;
        self.proves.push(format!(
            "{} logged this as leaf {}: {}, by rule {}, at {} on its clock.",
            explain::arbiter(arbiter),
            leaf.index,
            leaf.event.name(),
            leaf.reason,
            plain::time(leaf.time)
        ));
        self.logged(&Logged {
            of: leaf.event.name(),
            leaf: &leaf,
            bytes: &disclosure.leaf,
            path: &disclosure.inclusion_proof,
            checkpoint: &signed,
            tlog_proof: disclosure.tlog_proof.as_deref(),
            timestamps: &disclosure.timestamps,
            arbiter,
        });
        let shown = Shown::of(disclosure);
        let mut exchange = None;
        let mut last = None;
        for field in &disclosure.fields {
            // One form: in the order of the record, each once, all of one record.
            let place = Some(field.opening.index);
            if place <= last {
                self.fail("fields", "a field is shown twice or out of order".to_owned());
                return None;
            }
            last = place;
            exchange = exchange.or(self.field(field, &leaf, arbiter, &shown)?);
        }
        Some(exchange)
    }

    fn field(
        &mut self,
        field: &Disclosed,
        leaf: &Leaf,
        arbiter: &ArbiterIdentity,
        shown: &Shown,
    ) -> Option<Option<ExchangeId>> {
        let opening = &field.opening;
        let name = format!("field-{}", opening.name);
        self.record(&name, opening.verify(leaf), |()| {
            format!(
                "field {} of {} in the record that the leaf commits to, {} bytes",
                opening.index + 1,
                opening.fields,
                opening.value.len()
            )
        })?;
        let Some(envelope) = &field.envelope else {
            self.proves.push(format!(
                "The record of leaf {} holds these {} bytes as {}.",
                leaf.index,
                opening.value.len(),
                opening.name
            ));
            return Some(None);
        };
        if envelope.payload() != opening.value {
            self.fail(&name, "the envelope beside it is another statement".to_owned());
            return None;
        }
        if opening.name == "statement" && envelope.digest() != leaf.token {
            self.fail(&name, "it is not the statement that the leaf names".to_owned());
            return None;
        }
        let signed = signed(&opening.name, envelope, arbiter, shown);
        let Signer { exchange, known, text } =
            self.record(&format!("{name}-signature"), signed, |it| match it.known {
                true => format!("signed by {}", it.text),
                false => format!("signed by key {}, which nothing shown here names", envelope.key()),
            })?;
        self.proves.push(format!(
            "The record of leaf {} holds this {}, {}.",
            leaf.index,
            opening.name,
            if known { format!("signed by {text}") } else { format!("signed by key {}", envelope.key()) }
        ));
        Some(Some(exchange))
    }
}

/// The keys of the parties, as far as what is shown names them.
#[derive(Default)]
struct Shown {
    originator: Option<PublicKey>,
    responder: Option<PublicKey>,
}

impl Shown {
    fn of(disclosure: &Disclosure) -> Self {
        let mut shown = Self::default();
        for envelope in disclosure.fields.iter().filter_map(|it| it.envelope.clone()) {
            if let Ok(offer) = Signed::<Offer>::parse(envelope.clone()) {
                shown.originator = Some(offer.unverified().originator.signing_key);
                shown.responder = Some(offer.unverified().responder.signing_key);
            } else if let Ok(verdict) = Signed::<Verdict>::parse(envelope) {
                shown.originator = shown.originator.or(Some(verdict.unverified().originator));
                shown.responder = shown.responder.or(Some(verdict.unverified().responder));
            }
        }
        shown
    }

    const fn key(&self, role: Role) -> Option<PublicKey> {
        match role {
            Role::Originator => self.originator,
            Role::Responder => self.responder,
        }
    }
}

/// Who signed a shown statement.
struct Signer {
    exchange: ExchangeId,
    known: bool,
    text: String,
}

fn signed(
    name: &str,
    envelope: &Envelope,
    arbiter: &ArbiterIdentity,
    shown: &Shown,
) -> Result<Signer, Invalid> {
    fn check<T: Payload + Clone>(envelope: &Envelope, key: Option<PublicKey>) -> Result<T, Invalid> {
        let signed = Signed::<T>::parse(envelope.clone())?.verify(&key.unwrap_or_else(|| envelope.key()))?;
        Ok((*signed).clone())
    }
    let of = |exchange, role: Role| {
        let known = shown.key(role).is_some();
        Signer { exchange, known, text: format!("the {role} (key {})", envelope.key()) }
    };
    let by_arbiter =
        |exchange| Signer { exchange, known: true, text: "the arbiter that the leaf names".to_owned() };
    match name {
        "request" => {
            let role = Signed::<Request>::parse(envelope.clone())?.unverified().role;
            check::<Request>(envelope, shown.key(role)).map(|it| of(it.exchange_id, role))
        }
        "offer" => {
            check::<Offer>(envelope, shown.originator)?;
            Ok(of(ExchangeId::from_bytes(*envelope.digest().as_bytes()), Role::Originator))
        }
        "acceptance" => {
            check::<Acceptance>(envelope, shown.responder).map(|it| of(it.exchange_id, Role::Responder))
        }
        "statement" if envelope.holds::<Verdict>() => {
            check::<Verdict>(envelope, Some(arbiter.key)).map(|it| by_arbiter(it.exchange_id))
        }
        _ => check::<Attestation>(envelope, Some(arbiter.key)).map(|it| by_arbiter(it.exchange_id)),
    }
}
