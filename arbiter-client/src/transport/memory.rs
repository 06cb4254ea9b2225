//! Two peers in one process, with the faults of a network on request.
//!
//! ```text
//!  pair() ─▶ (originator's end, responder's end)      Wire: disconnect, cut after n messages, duplicate, swap
//! ```

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::Notify;

use crate::transport::{Event, NotSent, PeerMessage, Transport, Want};

/// Messages that may be on their way in one direction.
const ROOM: usize = 8;

/// What to do to a message, counted from 0 over both directions and all connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection breaks; this message and all behind it are lost.
    Cut,
    /// The connection breaks, and there is never another.
    Down,
    /// The message arrives twice.
    Duplicate,
    /// The message is overtaken by the next one in its direction.
    Swap,
}

/// Both ends see what the wire does.
#[derive(Clone, Default)]
pub struct Wire {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

#[derive(Default)]
struct State {
    /// Counts connections; an end that has seen a lower number has lost one.
    connection: u64,
    /// While set, no connection is possible.
    down: bool,
    /// Messages to each end.
    queues: [VecDeque<PeerMessage>; 2],
    /// Set by an end that closed.
    closed: [bool; 2],
    sent: u64,
    faults: Vec<(u64, Fault)>,
    swapped: [Option<PeerMessage>; 2],
}

/// One end of a connection in memory.
pub struct Memory {
    wire: Wire,
    end: End,
    seen: u64,
    connected: bool,
    over: bool,
}

/// Which end: the one that dials is first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The originator.
    First,
    /// The responder.
    Second,
}

impl End {
    const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    fn of<T>(self, pair: &mut [T; 2]) -> &mut T {
        let [first, second] = pair;
        match self {
            Self::First => first,
            Self::Second => second,
        }
    }
}

/// Two connected ends.
pub fn pair() -> (Memory, Memory) {
    let wire = Wire::default();
    (wire.end(End::First), wire.end(End::Second))
}

impl Wire {
    /// A wire with faults at the messages with these numbers.
    pub fn with_faults(faults: impl IntoIterator<Item = (u64, Fault)>) -> Self {
        let wire = Self::default();
        wire.state().faults = faults.into_iter().collect();
        wire
    }

    /// An end of the wire, as a process that starts would have it: what was on its way to it is lost.
    pub fn end(&self, end: End) -> Memory {
        let mut state = self.state();
        state.reconnect();
        *end.of(&mut state.closed) = false;
        drop(state);
        self.changed.notify_waiters();
        Memory { wire: self.clone(), end, seen: 0, connected: false, over: false }
    }

    /// Breaks the connection; a new one follows at once.
    pub fn disconnect(&self) {
        self.state().reconnect();
        self.changed.notify_waiters();
    }

    /// Breaks the connection for as long as `down` stays set.
    pub fn set_down(&self, down: bool) {
        let mut state = self.state();
        state.down = down;
        state.reconnect();
        drop(state);
        self.changed.notify_waiters();
    }

    /// How many messages were handed over so far.
    pub fn sent(&self) -> u64 {
        self.state().sent
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Held for short operations that do not panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn reconnect(&mut self) {
        self.connection += 1;
        self.queues = [VecDeque::new(), VecDeque::new()];
        self.swapped = [None, None];
    }

    fn carry(&mut self, to: End, message: PeerMessage) {
        let number = self.sent;
        self.sent += 1;
        let fault = self.faults.iter().find(|(at, _)| *at == number).map(|(_, fault)| *fault);
        let behind = to.of(&mut self.swapped).take();
        let queue = to.of(&mut self.queues);
        match fault {
            None => queue.push_back(message),
            Some(Fault::Cut) => return self.reconnect(),
            Some(Fault::Down) => {
                self.down = true;
                return self.reconnect();
            }
            Some(Fault::Duplicate) => queue.extend([message.clone(), message]),
            Some(Fault::Swap) => *to.of(&mut self.swapped) = Some(message),
        }
        to.of(&mut self.queues).extend(behind);
    }
}

impl Memory {
    fn poll(&mut self, want: Want) -> Option<Event> {
        let mut state = self.wire.state();
        if self.over {
            return None;
        }
        if self.connected && self.seen != state.connection {
            self.connected = false;
            return Some(Event::Lost);
        }
        if !self.connected {
            if state.down {
                return None;
            }
            self.seen = state.connection;
            self.connected = true;
            return Some(Event::Connected);
        }
        if let Some(message) = self.end.of(&mut state.queues).pop_front() {
            return Some(Event::Message(message));
        }
        if *self.end.other().of(&mut state.closed) {
            self.over = true;
            return Some(Event::Closed);
        }
        let room = self.end.other().of(&mut state.queues).len() < ROOM;
        (want == Want::Room && room).then_some(Event::Room)
    }
}

#[async_trait]
impl Transport for Memory {
    async fn next(&mut self, want: Want) -> Event {
        let changed = self.wire.changed.clone();
        loop {
            let notified = changed.notified();
            tokio::pin!(notified);
            // Registered before looking, so that no change is missed.
            notified.as_mut().enable();
            if let Some(event) = self.poll(want) {
                changed.notify_waiters();
                return event;
            }
            notified.await;
        }
    }

    fn is_connected(&self) -> bool {
        self.connected && !self.over
    }

    fn send(&mut self, message: PeerMessage) -> Result<(), NotSent> {
        let mut state = self.wire.state();
        if !self.connected || self.seen != state.connection {
            return Err(NotSent);
        }
        state.carry(self.end.other(), message);
        drop(state);
        self.wire.changed.notify_waiters();
        Ok(())
    }

    async fn close(&mut self) {
        *self.end.of(&mut self.wire.state().closed) = true;
        self.wire.changed.notify_waiters();
    }
}
