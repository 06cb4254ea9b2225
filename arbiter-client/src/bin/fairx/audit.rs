//! `fairx audit`: follows the log of an arbiter as a stranger. The work is in the library; here are arguments, a progress
//! bar and the report.

use std::io::{IsTerminal as _, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use arbiter_client::audit::{AuditError, PolicyFault, Progress, Report, Settings, Source, run};
use arbiter_client::identity::ArbiterPin;
use arbiter_client::protocol::evidence::note::VerifierKey;
use arbiter_client::protocol::evidence::policy::Policy;
use arbiter_client::protocol::message::agreement::ArbiterIdentity;

use crate::args::Audit;
use crate::failure::Failure;
use crate::home::Home;
use crate::report::print;

/// How often a terminal, and a file, is told how far it is.
const BAR_EVERY: Duration = Duration::from_millis(100);
const LINE_EVERY: Duration = Duration::from_secs(10);
/// Larger than any policy.
const POLICY_BYTES: u64 = 1024 * 1024;

/// `fairx audit`.
pub fn audit(home: &Home, arguments: &Audit) -> Result<u8, Failure> {
    let (policy, pin) = trust(home, arguments)?;
    let here = PathBuf::from(".");
    let settings = Settings {
        policy: &policy,
        arbiter: pin.as_ref(),
        state: arguments.state.as_deref(),
        proofs: arguments.proofs.as_ref().unwrap_or(&here),
        records: arguments.records.as_deref(),
    };
    let source = Source::open(&arguments.place);
    let mut teller = Teller::new();
    let report = run(&source, &settings, &mut |progress| teller.tell(progress));
    teller.end();
    let report = report?;
    if let Some(path) = &arguments.report {
        write(path, &report)?;
    }
    print(&if arguments.json { report.to_json() } else { report.to_string() });
    Ok(report.outcome.code())
}

/// The policy that the user names; or one with the log of the arbiter that is pinned, and no witness. And that arbiter, if the
/// policy is about its log.
fn trust(home: &Home, arguments: &Audit) -> Result<(Policy, Option<ArbiterIdentity>), Failure> {
    let named =
        arguments.arbiter.as_deref().map(ArbiterPin::line_or_file).transpose()?.map(|pin| pin.identity);
    let pinned = || home.arbiter().ok().map(|pin| pin.identity);
    let Some(path) = &arguments.policy else {
        let pin = named.or_else(pinned).ok_or_else(|| {
            Failure::usage("there is nothing to check the log against")
                .next("name a tlog-policy with --policy, or the arbiter with --arbiter")
        })?;
        let policy = Policy::parse(&format!("log {}\nquorum none\n", log_key(&pin)?));
        let policy = policy.map_err(|why| Failure::usage(format!("the pin gives no policy: {why}")))?;
        return Ok((policy, Some(pin)));
    };
    let too_long = std::fs::metadata(path).is_ok_and(|it| it.len() > POLICY_BYTES);
    if too_long {
        return Err(Failure::usage(format!("{}: it is too long for a policy", path.display())));
    }
    let text = std::fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?;
    let policy = Policy::parse(&text);
    let policy = policy.map_err(|why| Failure::usage(format!("{}: {why}", path.display())))?;
    let of_log =
        |pin: &ArbiterIdentity| policy.logs().iter().any(|log| log_key(pin).is_ok_and(|key| key == log.key));
    if named.as_ref().is_some_and(|pin| !of_log(pin)) {
        return Err(Failure::usage("the policy does not name the log of the arbiter given by --arbiter"));
    }
    let pin = named.or_else(|| pinned().filter(|pin| of_log(pin)));
    Ok((policy, pin))
}

fn log_key(pin: &ArbiterIdentity) -> Result<VerifierKey, Failure> {
    let key = VerifierKey::new(pin.log_origin.as_str(), pin.log_key);
    key.map_err(|why| Failure::usage(format!("the pin's log has no usable key: {why}")))
}

/// The report as JSON, and as text beside it.
fn write(path: &Path, report: &Report) -> Result<(), Failure> {
    let text = path.with_extension("txt");
    let files = [(path, report.to_json()), (&text, report.to_string())];
    files.iter().try_for_each(|(path, content)| {
        std::fs::write(path, content).map_err(|error| Failure::file(path, &error))
    })
}

impl From<AuditError> for Failure {
    fn from(error: AuditError) -> Self {
        let next = match &error {
            AuditError::Policy(PolicyFault::OtherLog) => {
                "check the URL, and the vkey in the policy with the arbiter's operator"
            }
            AuditError::Policy(_) => "check the pin with the arbiter's operator",
            AuditError::Records { .. } => {
                "name the folder with the bundles that you were handed with --records"
            }
            AuditError::State(_) => "nothing was changed; name another file with --state to begin at leaf 0",
            _ => "name a folder that can be written with --proofs, and audit again",
        };
        Self::usage(error.to_string()).next(next)
    }
}

/// A bar on a terminal, else a line now and then; on the error output, so that the report stays alone.
struct Teller {
    begun: Instant,
    last: Option<Instant>,
    first: Option<u64>,
    terminal: bool,
}

impl Teller {
    fn new() -> Self {
        Self { begun: Instant::now(), last: None, first: None, terminal: std::io::stderr().is_terminal() }
    }

    fn tell(&mut self, progress: Progress) -> ControlFlow<()> {
        let first = *self.first.get_or_insert(progress.done);
        let every = if self.terminal { BAR_EVERY } else { LINE_EVERY };
        let due = self.last.unwrap_or(self.begun).elapsed() >= every;
        if due || (self.terminal && progress.done >= progress.total) {
            self.last = Some(Instant::now());
            let Progress { done, total } = progress;
            let millis = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
            let rate = done.saturating_sub(first).saturating_mul(1_000) / millis;
            let percent = done.saturating_mul(100) / total.max(1);
            let mut error = std::io::stderr();
            // Who reads may be gone: the audit goes on.
            let _ = if self.terminal {
                let full = usize::try_from(percent / 4).unwrap_or(25).min(25);
                write!(
                    error,
                    "\r[{:<25}] {percent:>3} %  {done} of {total} leaves, {rate}/s   ",
                    "#".repeat(full)
                )
            } else {
                writeln!(error, "audit: {done} of {total} leaves, {rate}/s")
            };
        }
        ControlFlow::Continue(())
    }

    fn end(&self) {
        if self.terminal && self.last.is_some() {
            let _ = writeln!(std::io::stderr());
        }
    }
}
