//! The responder's end: listens, and sorts connections by the exchange that their first message names.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arbiter_protocol::ids::ExchangeId;
use arbiter_protocol::message::agreement::Offer;
use arbiter_protocol::wire::peer as proto;
use arbiter_protocol::wire::peer::peer_service_server::{PeerService, PeerServiceServer};
use async_trait::async_trait;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use crate::error::{Error, Usage};
use crate::transport::grpc::{
    CLOSING, Heard, KEEP_ALIVE, MESSAGE_BYTES, ROOM, WINDOW_BYTES, closing, from_wire, room, to_wire,
};
use crate::transport::{Event, NotSent, PeerMessage, Transport, Want};

/// Connections that may wait for [`Listener::accept`], or to replace another.
const WAITING: usize = 16;
/// A connection must name its exchange within this time.
const FIRST_MESSAGE: Duration = Duration::from_secs(10);

/// Listens for peers. Dropping it ends every connection.
pub struct Listener {
    shared: Arc<Shared>,
    local: SocketAddr,
    server: JoinHandle<()>,
}

type Outbound = mpsc::Sender<Result<proto::ExchangeResponse, Status>>;

#[derive(Default)]
struct Shared {
    routes: Mutex<Routes>,
    arrived: Notify,
}

/// Where connections go. Looked up and changed under one lock: a connection that comes while its exchange begins to be carried
/// out must not wait where nobody looks any more.
#[derive(Default)]
struct Routes {
    /// Exchanges that are being carried out here.
    slots: BTreeMap<ExchangeId, mpsc::Sender<Connection>>,
    /// For other exchanges: the newest connection of each, the first exchange first.
    waiting: VecDeque<Arrival>,
}

struct Arrival(ExchangeId, Connection);

struct Connection {
    /// The message that named the exchange, not yet reported.
    first: Option<PeerMessage>,
    sender: Outbound,
    receiver: Streaming<proto::ExchangeRequest>,
}

impl Listener {
    /// Listens on an address; port 0 takes a free one.
    pub async fn bind(address: SocketAddr) -> Result<Self, Error> {
        let unusable = |why: std::io::Error| Usage::Url(format!("cannot listen on {address}: {why}"));
        let socket = TcpListener::bind(address).await.map_err(unusable)?;
        let local = socket.local_addr().map_err(unusable)?;
        let shared = Arc::new(Shared::default());
        let service = PeerServiceServer::new(Door(shared.clone())).max_decoding_message_size(MESSAGE_BYTES);
        let server = Server::builder()
            .http2_keepalive_interval(Some(KEEP_ALIVE))
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(socket));
        let server = tokio::spawn(async move {
            if let Err(error) = server.await {
                tracing::error!(%error, "listening for peers ended");
            }
        });
        Ok(Self { shared, local, server })
    }

    /// Where it listens.
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Waits for a connection for an exchange that is not being carried out here. Its offer is the first
    /// message that the result reports.
    pub async fn accept(&mut self) -> Peer {
        loop {
            let next = self.shared.routes().waiting.front().map(|Arrival(id, _)| *id);
            match next {
                Some(id) => return self.exchange(id),
                None => self.shared.arrived.notified().await,
            }
        }
    }

    /// The end for an exchange known already: for `resume`. The peer may be there before it.
    pub fn exchange(&self, id: ExchangeId) -> Peer {
        let (sender, connections) = mpsc::channel(WAITING);
        let mut routes = self.shared.routes();
        routes.slots.insert(id, sender);
        let there = routes.waiting.iter().position(|Arrival(other, _)| *other == id);
        let replacement =
            there.and_then(|at| routes.waiting.remove(at)).map(|Arrival(_, connection)| connection);
        Peer { connections, current: None, replacement, over: false }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Shared {
    fn routes(&self) -> MutexGuard<'_, Routes> {
        // Held for single map operations that do not panic.
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a connection to its exchange, or to `accept`.
    async fn route(&self, receiver: Streaming<proto::ExchangeRequest>, sender: Outbound) {
        let Ok(Some((id, connection))) = timeout(FIRST_MESSAGE, first(receiver, sender)).await else {
            tracing::warn!("ignored a connection that does not begin with an offer");
            return;
        };
        // A full queue drops the connection: the peer dials again.
        if !self.routes().take(id, connection) {
            tracing::warn!(%id, "too many connections are waiting");
        }
        self.arrived.notify_one();
    }
}

impl Routes {
    /// Whether there was room.
    fn take(&mut self, id: ExchangeId, connection: Connection) -> bool {
        self.slots.retain(|_, slot| !slot.is_closed());
        if let Some(slot) = self.slots.get(&id) {
            return slot.try_send(connection).is_ok();
        }
        // Of two connections for one exchange the newer replaces.
        if let Some(Arrival(_, older)) = self.waiting.iter_mut().find(|Arrival(other, _)| *other == id) {
            *older = connection;
            return true;
        }
        let room = self.waiting.len() < WAITING;
        if room {
            self.waiting.push_back(Arrival(id, connection));
        }
        room
    }
}

async fn first(
    mut receiver: Streaming<proto::ExchangeRequest>,
    sender: Outbound,
) -> Option<(ExchangeId, Connection)> {
    let request = receiver.message().await.ok()??;
    let Heard::Message(PeerMessage::Statement(envelope, escrow)) = from_wire(request.message) else {
        return None;
    };
    if !envelope.holds::<Offer>() {
        return None;
    }
    let id = ExchangeId::from_bytes(*envelope.digest().as_bytes());
    let first = Some(PeerMessage::Statement(envelope, escrow));
    Some((id, Connection { first, sender, receiver }))
}

/// The gRPC service: answers at once, sorts later.
struct Door(Arc<Shared>);

#[async_trait]
impl PeerService for Door {
    type ExchangeStream =
        Pin<Box<dyn futures_core::Stream<Item = Result<proto::ExchangeResponse, Status>> + Send>>;

    async fn exchange(
        &self,
        request: Request<Streaming<proto::ExchangeRequest>>,
    ) -> Result<Response<Self::ExchangeStream>, Status> {
        let (sender, outgoing) = mpsc::channel(ROOM);
        let (shared, receiver) = (self.0.clone(), request.into_inner());
        tokio::spawn(async move { shared.route(receiver, sender).await });
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
    }
}

/// One exchange's end at a [`Listener`].
pub struct Peer {
    connections: mpsc::Receiver<Connection>,
    current: Option<Connection>,
    replacement: Option<Connection>,
    over: bool,
}

#[async_trait]
impl Transport for Peer {
    async fn next(&mut self, want: Want) -> Event {
        loop {
            if self.over {
                std::future::pending::<()>().await;
            }
            if self.replacement.is_some() {
                if self.current.take().is_some() {
                    return Event::Lost;
                }
                self.current = self.replacement.take();
                return Event::Connected;
            }
            let Some(connection) = &mut self.current else {
                match self.connections.recv().await {
                    Some(connection) => self.replacement = Some(connection),
                    None => std::future::pending().await,
                }
                continue;
            };
            if let Some(first) = connection.first.take() {
                return Event::Message(first);
            }
            let heard = tokio::select! {
                biased;
                Some(newer) = self.connections.recv() => {
                    self.replacement = Some(newer);
                    continue;
                }
                heard = connection.receiver.message() => heard,
                () = room(&connection.sender, want == Want::Room) => return Event::Room,
            };
            match heard {
                Ok(Some(request)) => match from_wire(request.message) {
                    Heard::Closed => {
                        self.current = None;
                        self.over = true;
                        return Event::Closed;
                    }
                    Heard::Message(message) => return Event::Message(message),
                    Heard::Nonsense => {}
                },
                Ok(None) | Err(_) => {
                    self.current = None;
                    return Event::Lost;
                }
            }
        }
    }

    fn is_connected(&self) -> bool {
        self.current.is_some()
    }

    fn send(&mut self, message: PeerMessage) -> Result<(), NotSent> {
        let connection = self.current.as_ref().ok_or(NotSent)?;
        let response = proto::ExchangeResponse { message: Some(to_wire(message)) };
        connection.sender.try_send(Ok(response)).map_err(|_| NotSent)
    }

    async fn close(&mut self) {
        self.over = true;
        let Some(mut connection) = self.current.take() else { return };
        let response = proto::ExchangeResponse { message: Some(to_wire(closing())) };
        let finish = async {
            // What cannot be delivered need not be: closing is a courtesy.
            let _ = connection.sender.send(Ok(response)).await;
            drop(connection.sender);
            while let Ok(Some(_)) = connection.receiver.message().await {}
        };
        let _ = timeout(CLOSING, finish).await;
    }
}
