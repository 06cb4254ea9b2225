//! Connections: at most so many at one time, health and reflection included.
//!
//! ```text
//!  accept ─▶ room? ─┬─ yes ─▶ Counted, until the connection ends, or nothing was read for too long
//!                   └─ no ──▶ closed at once: who connects can try again, and the operator is told
//! ```
//! A connection takes memory and a file descriptor before it says anything; the gate counts requests only.
//! Of a server that also speaks HTTP/1.1, where nobody pings, who does not take a response within its time is cut off, too.
//! Whoever is there answers a ping in time. Before the preface of HTTP/2 nobody asks, so who never sends one is noticed here.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};
use tokio_stream::Stream;
use tonic::transport::server::{Connected, TcpConnectInfo, TcpIncoming};

/// No living connection is silent for so long: a ping is due after [`KEEPALIVE`](super::KEEPALIVE), and its answer within
/// [`PATIENCE`](super::PATIENCE).
const SILENCE: Duration = Duration::from_secs(super::KEEPALIVE.as_secs() + 2 * super::PATIENCE.as_secs());

/// Accepts connections while there is room.
pub struct Incoming {
    accepted: TcpIncoming,
    room: Arc<Semaphore>,
    maximum: u32,
    taken_within: Option<Duration>,
    full: bool,
}

impl Incoming {
    /// At most `maximum` connections of `listener` at one time. With `taken_within`, what is being sent must be taken
    /// whole within that time.
    pub fn new(listener: TcpListener, maximum: u32, taken_within: Option<Duration>) -> Self {
        let permits = usize::try_from(maximum).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            accepted: TcpIncoming::from(listener).with_nodelay(Some(true)),
            room: Arc::new(Semaphore::new(permits)),
            maximum,
            taken_within,
            full: false,
        }
    }

    /// One log line when the room is full, not one a connection.
    fn refuse(&mut self) {
        if !self.full {
            tracing::warn!(
                max_connections = self.maximum,
                "no room for more connections: new ones are closed"
            );
        }
        self.full = true;
    }
}

impl Stream for Incoming {
    type Item = io::Result<Counted>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let next = ready!(Pin::new(&mut self.accepted).poll_next(context));
            let Some(accepted) = next else { return Poll::Ready(None) };
            let stream = match accepted {
                Ok(stream) => stream,
                Err(error) => return Poll::Ready(Some(Err(error))),
            };
            match Arc::clone(&self.room).try_acquire_owned() {
                Ok(room) => {
                    self.full = false;
                    let silence = Box::pin(sleep(SILENCE));
                    let (taken_within, sending) = (self.taken_within, None);
                    let counted = Counted { stream, silence, taken_within, sending, _room: room };
                    return Poll::Ready(Some(Ok(counted)));
                }
                Err(_) => self.refuse(),
            }
        }
    }
}

/// A connection with its room.
pub struct Counted {
    stream: TcpStream,
    /// Ends when nothing was read for [`SILENCE`].
    silence: Pin<Box<Sleep>>,
    taken_within: Option<Duration>,
    /// There from the first byte of what is being sent to its last; ends when it took too long.
    sending: Option<Pin<Box<Sleep>>>,
    _room: OwnedSemaphorePermit,
}

impl Counted {
    /// What comes of a write: an error if what is being sent has been under way for too long.
    fn written<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let Some(taken_within) = self.taken_within else { return written };
        let sending = self.sending.get_or_insert_with(|| Box::pin(sleep(taken_within)));
        match sending.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => written,
        }
    }
}

impl Connected for Counted {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(context, buffer) {
            self.silence.as_mut().reset(Instant::now() + SILENCE);
            return Poll::Ready(read);
        }
        ready!(self.silence.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(context));
        self.sending = None;
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.written(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
