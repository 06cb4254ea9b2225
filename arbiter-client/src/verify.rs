//! Offline verification of evidence bundles: no network, no clock, no key of ours.
//!
//! ```text
//!  Bundle + pinned arbiter + files ──verify──▶ Report { checks, proves, does not prove, warnings }
//!
//!  offer ▶ acceptance ▶ transfers ▶ certificates, escrows ▶ each receipt: answer, statement, rule again, leaf, record,
//!  log, witnesses, time-stamps ▶ detached signatures ▶ payments ▶ outcome
//! ```
//!
//! Invariants
//! - A bundle is good exactly if every check that could be made passed; a check that could not be made
//!   because an earlier one failed is reported as such and never counts as passed.
//! - The arbiter's key comes from the caller. A key that only the bundle names is used with a loud warning.
//! - Witnesses and authorities count only if the caller names them; without them their signatures are shown as unchecked.
//! - The verdict is decided again from the evidence (requirement R17): the arbiter's signature alone is not enough.

mod detached;
mod disclosed;
mod facts;
mod outside;
mod payments;
mod report;

use arbiter_protocol::error::Rejected;
use arbiter_protocol::evidence::leaf::Leaf;
use arbiter_protocol::evidence::policy::Policy;
use arbiter_protocol::exchange::item::{Description, Information};
use arbiter_protocol::exchange::selection::{ByRole, Protocol, Role};
use arbiter_protocol::message::agreement::{Acceptance, Agreement, ArbiterIdentity, Offer};
use arbiter_protocol::message::payment::PaymentReceipt;
use arbiter_protocol::message::transfer::Transfer;
use arbiter_protocol::message::verdict::{Answer, Attestation, Verdict};
use arbiter_protocol::role::arbiter::RULES;
use arbiter_protocol::ruling::receipt::{Proven, Receipt, Unproven, contradict};
use arbiter_protocol::statement::{Signed, Verified};

use crate::bundle::Bundle;
use crate::fingerprint::Fingerprint;
use crate::timestamp::Authorities;
use crate::{explain, plain};

pub use facts::FileFacts;
pub use report::{Check, Clock, FORMAT, Finding, PaymentReport, Report, SignatureReport, Status, Time};

/// Which arbiter the verifier trusts.
#[derive(Clone, Copy, Debug)]
pub enum Trust<'a> {
    /// The one that the caller pinned.
    Pinned(&'a ArbiterIdentity),
    /// None: the bundle's own word is taken, and the report says so.
    BundleOnly,
}

/// The statements of a good bundle, verified.
#[derive(Clone, Debug)]
pub struct Statements {
    /// The offer.
    pub offer: Verified<Offer>,
    /// The agreement, if there was an acceptance.
    pub agreement: Option<Agreement>,
    /// Whether the originator's transfer, and the responder's, are there.
    pub transferred: [bool; 2],
    /// What the arbiter said.
    pub proven: Vec<Proven>,
    /// Whose detached signature was sealed so that the arbiter could open it: the whole proof was checked (R-310).
    pub sealed: ByRole<bool>,
    /// Whose detached signature is there: strictly valid and, if it was sealed, the one that was (R-311).
    pub signed: ByRole<bool>,
    /// The ledgers' receipts.
    pub paid: ByRole<Vec<Verified<PaymentReceipt>>>,
}

impl Statements {
    /// Whether the transfer by `role` is there.
    pub const fn transferred(&self, role: Role) -> bool {
        let [originator, responder] = self.transferred;
        match role {
            Role::Originator => originator,
            Role::Responder => responder,
        }
    }

    /// The verdict with its proof.
    pub fn verdict(&self) -> Option<(&Verified<Verdict>, &Proven)> {
        self.proven.iter().find_map(|proven| Some((proven.ruled.verdict()?, proven)))
    }
}

/// What a verifier brings: whom it trusts, and what it has beside the bundle. All of it comes from the caller.
#[derive(Clone, Copy, Debug)]
pub struct Verifier<'a> {
    /// The arbiter.
    pub trust: Trust<'a>,
    /// Files; each must be one that the agreement describes.
    pub files: &'a [FileFacts],
    /// Logs and witnesses (C2SP tlog-policy). With it, every ruling must have cosignatures that make its quorum.
    pub policy: Option<&'a Policy>,
    /// Time-stamping authorities. With them, every ruling must have a time-stamp by one of them.
    pub authorities: Option<&'a Authorities>,
}

impl<'a> Verifier<'a> {
    /// Trusts an arbiter, or none; no witness and no authority.
    pub const fn new(trust: Trust<'a>) -> Self {
        Self { trust, files: &[], policy: None, authorities: None }
    }

    /// Verifies a bundle.
    pub fn verify(&self, bundle: &Bundle) -> Report {
        let mut desk = Desk::new(*self);
        let statements = desk.statements(bundle);
        if let Some(statements) = &statements {
            desk.files(bundle, statements, self.files);
        }
        let id = bundle.offer.digest();
        let mut report = desk.report(statements.is_some());
        report.exchange_id = Some(id.to_string());
        report.fingerprint = Some(Fingerprint::of(id.as_bytes()).to_string());
        report.signatures = statements.iter().flat_map(|it| detached::summary(bundle, it)).collect();
        report.payments = statements.iter().flat_map(payments::summary).collect();
        if let Some(statements) = statements.filter(|_| report.finding != Finding::Bad) {
            report.outcome = Some(bundle.outcome);
            let first = explain::proves(&statements, self.files);
            report.proves.splice(0..0, first);
            report.does_not_prove = explain::does_not_prove(&statements, self.files);
            if !statements.proven.is_empty() {
                report.rules_applied = Some(RULES.to_owned());
            }
        }
        report
    }
}

/// Verifies a bundle, without witnesses and time-stamps. With `files`, each must be one that the agreement describes.
pub fn verify(bundle: &Bundle, trust: Trust<'_>, files: &[FileFacts]) -> Report {
    Verifier { files, ..Verifier::new(trust) }.verify(bundle)
}

/// The verified statements of a bundle, for telling its story; `None` if any check fails.
pub fn statements(bundle: &Bundle, trust: Trust<'_>) -> Option<Statements> {
    let mut desk = Desk::new(Verifier::new(trust));
    let statements = desk.statements(bundle)?;
    (desk.finding() != Finding::Bad).then_some(statements)
}

struct Desk<'a> {
    verifier: Verifier<'a>,
    checks: Vec<Check>,
    times: Vec<Time>,
    proves: Vec<String>,
    warnings: Vec<String>,
}

impl<'a> Desk<'a> {
    const fn new(verifier: Verifier<'a>) -> Self {
        Self { verifier, checks: Vec::new(), times: Vec::new(), proves: Vec::new(), warnings: Vec::new() }
    }

    /// R-568.
    fn finding(&self) -> Finding {
        let any = |status| self.checks.iter().any(|check| check.status == status);
        match (any(Status::Failed) || any(Status::Skipped), any(Status::Missing)) {
            (true, _) => Finding::Bad,
            (false, true) => Finding::Incomplete,
            (false, false) => Finding::Good,
        }
    }

    /// What the checks say; `whole` if nothing was in the way of any of them.
    fn report(self, whole: bool) -> Report {
        let finding = if whole { self.finding() } else { Finding::Bad };
        let bad = finding == Finding::Bad;
        Report {
            format: report::FORMAT,
            finding,
            good: finding == Finding::Good,
            exchange_id: None,
            fingerprint: None,
            outcome: None,
            arbiter_pinned: matches!(self.verifier.trust, Trust::Pinned(_)),
            signatures: Vec::new(),
            payments: Vec::new(),
            rules_applied: None,
            times: if bad { Vec::new() } else { self.times },
            checks: self.checks,
            proves: if bad { Vec::new() } else { self.proves },
            does_not_prove: Vec::new(),
            warnings: self.warnings,
        }
    }

    fn statements(&mut self, bundle: &Bundle) -> Option<Statements> {
        let offer = self.offer(bundle)?;
        self.arbiter(&offer.arbiter, !bundle.receipts.is_empty());
        let agreement = match &bundle.acceptance {
            None => None,
            Some(_) => Some(self.agreement(bundle, &offer)?),
        };
        let mut transferred = [false; 2];
        for (role, there) in [Role::Originator, Role::Responder].into_iter().zip(&mut transferred) {
            *there = self.transfer(bundle, agreement.as_ref(), role)?;
        }
        self.certificates(&offer);
        let sealed = self.escrows(bundle, &offer, agreement.as_ref())?;
        let mut proven = Vec::new();
        for receipt in &bundle.receipts {
            let one = self.receipt(receipt, &offer)?;
            self.opened(bundle, receipt, &one, &offer);
            self.outside(receipt, &one, &offer.arbiter);
            proven.push(one);
        }
        self.consistent(bundle, agreement.as_ref(), &proven);
        let signed = self.signatures(bundle, &offer)?;
        let paid = self.payments(bundle, &offer)?;
        self.outcome(bundle);
        Some(Statements { offer, agreement, transferred, proven, sealed, signed, paid })
    }

    fn offer(&mut self, bundle: &Bundle) -> Option<Verified<Offer>> {
        let verified = Signed::<Offer>::parse(bundle.offer.clone()).and_then(|signed| {
            let key = signed.unverified().originator.signing_key;
            signed.verify(&key)
        });
        let offer = self.record("offer-signature", verified, |offer| {
            format!("offer signed by the originator, {}", explain::who(&offer.originator))
        })?;
        self.record("offer-rules", offer.check(), |()| {
            format!(
                "parties distinct; protocol, order and deadline are what the items select: {}",
                offer.selection.protocol
            )
        })?;
        Some(offer)
    }

    fn arbiter(&mut self, arbiter: &ArbiterIdentity, ruled: bool) {
        let who = explain::arbiter(arbiter);
        match self.verifier.trust {
            Trust::Pinned(pin) if pin == arbiter => {
                self.pass("arbiter-pinned", format!("the agreement names the arbiter that you pinned, {who}"));
            }
            Trust::Pinned(_) => {
                self.fail("arbiter-pinned", format!("the agreement names ANOTHER arbiter than you pinned: {who}"));
            }
            Trust::BundleOnly if ruled => self.warnings.push(format!(
                "THE ARBITER'S KEY WAS TAKEN FROM THE BUNDLE ITSELF ({who}). Whoever made the bundle could have made \
                 that key. Verify again with --arbiter and a key that you got from the arbiter."
            )),
            Trust::BundleOnly => self.warnings.push(format!(
                "No arbiter was pinned. Nothing here rests on one; the agreement names {who}."
            )),
        }
    }

    fn agreement(&mut self, bundle: &Bundle, offer: &Verified<Offer>) -> Option<Agreement> {
        let envelope = bundle.acceptance.clone()?;
        let key = offer.responder.signing_key;
        let verified = Signed::<Acceptance>::parse(envelope).and_then(|signed| signed.verify(&key));
        let acceptance = self.record("acceptance-signature", verified, |_| {
            format!("acceptance signed by the responder, {}", explain::who(&offer.responder))
        })?;
        self.record("acceptance-binding", Agreement::join(offer.clone(), acceptance), |agreement| {
            format!("the acceptance is for exactly this offer; agreement {}", agreement.id())
        })
    }

    /// Whether there is a transfer; `None` if it is bad.
    fn transfer(&mut self, bundle: &Bundle, agreement: Option<&Agreement>, role: Role) -> Option<bool> {
        let Some(envelope) = bundle.transfer(role).cloned() else { return Some(false) };
        let name = format!("transfer-{role}");
        let Some(agreement) = agreement else {
            self.fail(
                &name,
                "there is a transfer but no acceptance: there is no agreement it could be under".into(),
            );
            return None;
        };
        let verified = Signed::<Transfer>::parse(envelope)
            .map_err(Rejected::from)
            .and_then(|signed| signed.verify_for(agreement, role));
        let item = agreement.offer().item(role);
        let transfer = self.record(&name, verified, |_| {
            let party = explain::who(agreement.offer().party(role));
            format!("transfer of {} signed by the {role}, {party}, under this agreement", plain::item(item))
        })?;
        let name = format!("item-{role}");
        if transfer.item != *item {
            self.fail(&name, format!("the {role} handed over another item than agreed"));
            return None;
        }
        self.pass(&name, format!("the {role}'s item is the one agreed: {}", plain::item(item)));
        Some(true)
    }

    fn receipt(&mut self, receipt: &Receipt, offer: &Verified<Offer>) -> Option<Proven> {
        let of = if receipt.statement.holds::<Attestation>() { "attestation" } else { "verdict" };
        let key = offer.arbiter.key;
        let answer = Signed::<Answer>::parse(receipt.answer.clone()).and_then(|signed| signed.verify(&key));
        self.record(&format!("{of}-answer"), answer, |_| {
            "the arbiter signed the answer that carries it".into()
        })?;
        let signed = if of == "attestation" {
            Signed::<Attestation>::parse(receipt.statement.clone()).and_then(|it| it.verify(&key)).map(|_| ())
        } else {
            Signed::<Verdict>::parse(receipt.statement.clone()).and_then(|it| it.verify(&key)).map(|_| ())
        };
        self.record(&format!("{of}-signature"), signed, |()| format!("{of} signed by the arbiter"))?;

        // `Receipt::verify` stops at the first fault; what it checks before that has passed.
        let result = receipt.verify(offer, None);
        let (reached, fault) = match &result {
            Ok(_) => (STAGES.len(), String::new()),
            Err(unproven) => (stage_of(unproven, receipt), unproven.to_string()),
        };
        for (place, (stage, what)) in STAGES.into_iter().enumerate() {
            let name = format!("{of}-{stage}");
            match place.cmp(&reached) {
                std::cmp::Ordering::Less => {
                    let protocol = offer.selection.protocol;
                    self.pass(&name, stage_detail(what, protocol, result.as_ref().ok()));
                }
                std::cmp::Ordering::Equal => self.fail(&name, fault.clone()),
                std::cmp::Ordering::Greater => {
                    self.add(&name, Status::Skipped, "an earlier check failed".into())
                }
            }
        }
        result.ok()
    }

    /// The statements of the arbiter fit each other and the agreement beside them.
    fn consistent(&mut self, bundle: &Bundle, agreement: Option<&Agreement>, proven: &[Proven]) {
        if proven.is_empty() {
            return;
        }
        let verdicts = proven.iter().filter(|it| it.ruled.verdict().is_some()).count();
        let agreed: Vec<_> = proven.iter().filter_map(|it| it.agreement.as_ref()).collect();
        let contradiction = match proven {
            [one, other] => contradict(one, other) || (verdicts != 1),
            _ => false,
        };
        let ordered = bundle
            .receipts
            .first()
            .is_none_or(|it| bundle.receipts.len() < 2 || it.statement.holds::<Attestation>());
        if contradiction || !ordered {
            self.fail(
                "receipts-agree",
                "the arbiter's statements contradict each other, repeat or are out of order".into(),
            );
        } else if agreement.is_none() && !agreed.is_empty() {
            self.fail(
                "receipts-agree",
                "the arbiter ruled on an acceptance that is missing from the bundle".into(),
            );
        } else {
            self.pass("receipts-agree", "the arbiter's statements fit each other and the agreement".into());
        }
        if let Some(agreement) = agreement
            && agreed.iter().any(|other| other.id() != agreement.id())
        {
            self.warnings.push(
                "The responder signed two different acceptances of this offer; the arbiter ruled on another one than \
                 the one in this bundle."
                    .into(),
            );
        }
    }

    fn outcome(&mut self, bundle: &Bundle) {
        let shown = bundle.shown();
        if shown == bundle.outcome {
            self.pass("outcome", format!("the statements show what the bundle claims: {shown}"));
        } else {
            self.fail(
                "outcome",
                format!("the bundle claims {}, its statements show {shown}", bundle.outcome),
            );
        }
    }

    /// A file beside the bundle is one that the agreement describes, the document of a signature, or a signature.
    fn files(&mut self, bundle: &Bundle, statements: &Statements, files: &[FileFacts]) {
        let described = described(&statements.offer);
        for file in files {
            match described.iter().find(|it| file.is(it)) {
                Some(it) => self.pass(
                    "file",
                    format!(
                        "{} is the file that the agreement calls {} (hash, size, type)",
                        file.label,
                        plain::clip(&it.name, 60)
                    ),
                ),
                None => match self.signature_file(bundle, &statements.offer, file) {
                    Ok(what) => self.pass("file", what),
                    Err(Some(why)) => self.fail("file", why),
                    Err(None) => self.fail(
                        "file",
                        format!(
                            "{} is NOT a file of this agreement: its SHA-256 is {}",
                            file.label, file.sha256
                        ),
                    ),
                },
            }
        }
    }

    fn record<T, E: std::fmt::Display>(
        &mut self,
        name: &str,
        result: Result<T, E>,
        detail: impl FnOnce(&T) -> String,
    ) -> Option<T> {
        match result {
            Ok(value) => {
                self.pass(name, detail(&value));
                Some(value)
            }
            Err(error) => {
                self.fail(name, error.to_string());
                None
            }
        }
    }

    fn pass(&mut self, name: &str, detail: String) {
        self.add(name, Status::Passed, detail);
    }

    fn fail(&mut self, name: &str, detail: String) {
        self.add(name, Status::Failed, detail);
    }

    fn add(&mut self, name: &str, status: Status, detail: String) {
        self.checks.push(Check { name: name.to_owned(), status, detail });
    }
}

/// The files that an offer describes: items, and what signatures are about; each once.
pub fn described(offer: &Offer) -> Vec<Information> {
    let mut files: Vec<Information> = Vec::new();
    for leaf in Role::BOTH.into_iter().flat_map(|role| offer.item(role).leaves()) {
        let file = match &leaf.description {
            Description::DetachedSignature(it) => &it.statement.subject,
            Description::Information(it) => it,
            Description::Nothing | Description::Package(_) | Description::Payment(_) => continue,
            Description::Signature(it) => &it.subject,
        };
        if !files.contains(file) {
            files.push(file.clone());
        }
    }
    files
}

/// Whether the offer in a bundle names this arbiter. Only to choose a pin: nothing is verified.
pub fn names(bundle: &Bundle, arbiter: &ArbiterIdentity) -> bool {
    Signed::<Offer>::parse(bundle.offer.clone()).is_ok_and(|offer| offer.unverified().arbiter == *arbiter)
}

/// The stages of `Receipt::verify` in its order.
const STAGES: [(&str, &str); 6] = [
    ("binding", "the answer, the statement and the request belong together"),
    ("rule", "request, evidence and signatures checked; the rules, applied again, give the same decision"),
    ("leaf", "the public leaf describes exactly this statement"),
    ("record", "the sealed record matches the commitment in the leaf"),
    ("log", "the log's key signed the checkpoint"),
    ("inclusion", "the leaf is in the tree of that checkpoint"),
];

fn stage_of(unproven: &Unproven, receipt: &Receipt) -> usize {
    let leaf_fault = Leaf::decode(&receipt.leaf).err().map(Rejected::from);
    let stage = match unproven {
        Unproven::OtherRequest => "binding",
        Unproven::Statement(rejected) if leaf_fault == Some(*rejected) => "leaf",
        Unproven::Statement(_) | Unproven::RuleNotFollowed => "rule",
        Unproven::LeafMismatch => "leaf",
        Unproven::RecordMismatch => "record",
        Unproven::Checkpoint(_) => "log",
        Unproven::Inclusion(_) => "inclusion",
        // Answer against statement, and answer against checkpoint, are one check for the reader.
        _ => "binding",
    };
    STAGES.iter().position(|(name, _)| *name == stage).unwrap_or(0)
}

fn stage_detail(what: &str, protocol: Protocol, proven: Option<&Proven>) -> String {
    let Some(proven) = proven else { return what.to_owned() };
    match what {
        _ if what.contains("rules") => {
            format!("{what} ({} of {RULES})", proven.ruled.rule(protocol))
        }
        _ if what.contains("tree") => {
            let checkpoint = proven.checkpoint.checkpoint();
            format!(
                "leaf {} is in the tree of size {} of log {}",
                proven.leaf.index, checkpoint.size, checkpoint.origin
            )
        }
        _ => what.to_owned(),
    }
}
