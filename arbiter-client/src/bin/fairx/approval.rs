//! Approval by a person on the controlling terminal (rules 1 and 5).
//!
//! ```text
//!  Screen ──▶ /dev/tty ──▶ a typed word ──▶ yes | no        stdin and pipes cannot approve
//! ```
//! With `--yes` a program has decided; the screen and that fact go to the output.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use arbiter_client::Approver;
use arbiter_client::clock::{Clock as _, SystemClock};
use arbiter_client::consent::Screen;
use arbiter_client::protocol::exchange::selection::Role;
use arbiter_client::protocol::ids::ExchangeId;
use arbiter_client::protocol::message::agreement::Offer;
use arbiter_client::verify::FileFacts;
use async_trait::async_trait;

use crate::failure::Failure;
use crate::out::say;

/// Asks a person, or says that a program has decided.
pub struct Approval {
    terminal: Option<Arc<Terminal>>,
    files: Vec<FileFacts>,
}

/// The controlling terminal, held by one question at a time.
struct Terminal(Mutex<File>);

impl Approval {
    /// Fails early if nobody could approve later.
    pub fn prepare(yes: bool, files: Vec<FileFacts>) -> Result<Self, Failure> {
        if yes {
            return Ok(Self { terminal: None, files });
        }
        let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty").map_err(|_| {
            Failure::bad("there is no terminal on which a person could approve; nothing was signed").next(
                "run fairx in a terminal; or, if a program has decided already, say --yes (input from a pipe never approves)",
            )
        })?;
        Ok(Self { terminal: Some(Arc::new(Terminal(Mutex::new(terminal)))), files })
    }
}

#[async_trait]
impl Approver for Approval {
    async fn approve(&self, offer: &Offer, exchange_id: ExchangeId, role: Role) -> bool {
        let screen = Screen::new(offer, role, &self.files, SystemClock.now());
        if screen.exchange_id != exchange_id {
            return false;
        }
        match self.terminal.clone() {
            None => {
                say!("{screen}  approved by --yes: no person was asked");
                true
            }
            // Reading a terminal blocks; other tasks go on meanwhile.
            Some(terminal) => {
                tokio::task::spawn_blocking(move || terminal.ask(&screen)).await.unwrap_or(false)
            }
        }
    }
}

impl Terminal {
    /// Whether the word was typed. A terminal that fails is a no.
    fn ask(&self, screen: &Screen) -> bool {
        let file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut terminal = &*file;
        let question = format!(
            "{screen}  To approve, type the FIRST WORD of the fingerprint above. Anything else refuses.\n  > "
        );
        if terminal.write_all(question.as_bytes()).and_then(|()| terminal.flush()).is_err() {
            return false;
        }
        let mut typed = String::new();
        let read = BufReader::new(terminal.take(LINE_BYTES)).read_line(&mut typed);
        read.is_ok() && typed.ends_with('\n') && screen.approves(&typed)
    }
}

/// Longest line that is read from the terminal.
const LINE_BYTES: u64 = 256;
