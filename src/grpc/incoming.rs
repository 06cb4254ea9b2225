//! Connections: at most so many at one time, health and reflection included.
//!
//! ```text
//!  accept ─▶ room? ─┬─ yes ─▶ Counted, until the connection ends, or nothing was read for too long
//!                   └─ no ──▶ closed at once: who connects can try again, and the operator is told
//! ```
//! A connection takes memory and a file descriptor before it says anything; the gate counts requests only.
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
    full: bool,
}

impl Incoming {
    /// At most `maximum` connections of `listener` at one time.
    pub fn new(listener: TcpListener, maximum: u32) -> Self {
        let permits = usize::try_from(maximum).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            accepted: TcpIncoming::from(listener).with_nodelay(Some(true)),
            room: Arc::new(Semaphore::new(permits)),
            maximum,
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
                    return Poll::Ready(Some(Ok(Counted { stream, silence, _room: room })));
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
    _room: OwnedSemaphorePermit,
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
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
