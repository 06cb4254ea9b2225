//! Approval by a person on the controlling terminal (rules 1 and 5).
//!
//! ```text
//!  Screen ──▶ /dev/tty ──▶ a typed word ──▶ yes | no        stdin and pipes cannot approve
//! ```
//! With `--yes` a program has decided; the screen and that fact go to the output.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arbiter_client::clock::{Clock as _, SystemClock};
use arbiter_client::consent::Screen;
use arbiter_client::protocol::escrow::SignatureKey;
use arbiter_client::protocol::exchange::selection::Role;
use arbiter_client::protocol::ids::{ExchangeId, PublicKey};
use arbiter_client::protocol::message::agreement::Offer;
use arbiter_client::verify::FileFacts;
use arbiter_client::{Approver, plain};
use async_trait::async_trait;

use crate::failure::Failure;
use crate::out::say;

/// Asks a person, or says that a program has decided.
pub struct Approval {
    terminal: Option<Arc<Terminal>>,
    files: Vec<FileFacts>,
    show_document: bool,
    known: OnceLock<Vec<(PublicKey, SignatureKey)>>,
}

/// The controlling terminal, held by one question at a time.
struct Terminal(Mutex<File>);

impl Approval {
    /// Fails early if nobody could approve later.
    pub fn prepare(yes: bool, show_document: bool, files: Vec<FileFacts>) -> Result<Self, Failure> {
        if yes {
            return Ok(Self { terminal: None, files, show_document, known: OnceLock::new() });
        }
        let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty").map_err(|_| {
            Failure::bad("there is no terminal on which a person could approve; nothing was signed").next(
                "run fairx in a terminal; or, if a program has decided already, say --yes (input from a pipe never approves)",
            )
        })?;
        let terminal = Some(Arc::new(Terminal(Mutex::new(terminal))));
        Ok(Self { terminal, files, show_document, known: OnceLock::new() })
    }

    /// With which keys other parties signed in earlier exchanges.
    pub fn remember(&self, keys: impl Iterator<Item = (PublicKey, SignatureKey)>) {
        self.known.get_or_init(|| keys.collect());
    }
}

#[async_trait]
impl Approver for Approval {
    async fn approve(&self, offer: &Offer, exchange_id: ExchangeId, role: Role) -> bool {
        let known = self.known.get().map_or(&[][..], Vec::as_slice);
        let screen = Screen::knowing(offer, role, &self.files, known, SystemClock.now());
        if screen.exchange_id != exchange_id {
            return false;
        }
        match self.terminal.clone() {
            None => {
                let documents = if self.show_document { documents(&screen) } else { String::new() };
                let refused = screen.refusal.is_some();
                let end = if refused {
                    "REFUSED although --yes was said"
                } else {
                    "approved by --yes: no person was asked"
                };
                say!("{screen}{documents}  {end}");
                !refused
            }
            // Reading a terminal blocks; other tasks go on meanwhile.
            Some(terminal) => {
                let show = self.show_document;
                tokio::task::spawn_blocking(move || terminal.ask(&screen, show)).await.unwrap_or(false)
            }
        }
    }
}

impl Terminal {
    /// Whether the word was typed. A terminal that fails is a no. The exact text that is signed is shown on request.
    fn ask(&self, screen: &Screen, show_document: bool) -> bool {
        let file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut terminal = &*file;
        let shown = if show_document { documents(screen) } else { String::new() };
        let mut question = format!("{screen}{shown}{}", ask(!show_document && !screen.documents.is_empty()));
        loop {
            if terminal.write_all(question.as_bytes()).and_then(|()| terminal.flush()).is_err() {
                return false;
            }
            let mut typed = String::new();
            let read = BufReader::new(terminal.take(LINE_BYTES)).read_line(&mut typed);
            if read.is_err() || !typed.ends_with('\n') {
                return false;
            }
            if typed.trim() != DOCUMENT || screen.documents.is_empty() {
                return screen.approves(&typed);
            }
            question = format!("{}{}", documents(screen), ask(false));
        }
    }
}

fn ask(offer_document: bool) -> String {
    let more = if offer_document {
        format!("\n  To read the exact text that is signed, type {DOCUMENT}.")
    } else {
        String::new()
    };
    format!("  To approve, type the FIRST WORD of the fingerprint above. Anything else refuses.{more}\n  > ")
}

/// The exact texts that are signed, each line behind a mark of ours.
fn documents(screen: &Screen) -> String {
    let mut shown = String::new();
    for document in &screen.documents {
        shown.push_str("  The exact text that is signed, without the marks\n");
        for line in document.split('\n').flat_map(|line| plain::wrap(line, 72)) {
            shown.push_str(&format!("      | {line}\n"));
        }
    }
    shown
}

/// What to type to read the text; it is no word of any fingerprint.
const DOCUMENT: &str = "document";

/// Longest line that is read from the terminal.
const LINE_BYTES: u64 = 256;
