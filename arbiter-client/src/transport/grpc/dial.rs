//! The originator's end: dials, and dials again.

use std::pin::Pin;
use std::time::Duration;

use arbiter_protocol::wire::peer as proto;
use arbiter_protocol::wire::peer::peer_service_client::PeerServiceClient;
use async_trait::async_trait;
use backon::{BackoffBuilder as _, ExponentialBuilder};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Endpoint;

use crate::endpoint::endpoint;
use crate::error::Error;
use crate::transport::grpc::{
    CLOSING, Heard, KEEP_ALIVE, MESSAGE_BYTES, ROOM, WINDOW_BYTES, closing, from_wire, room, to_wire,
};
use crate::transport::{Event, NotSent, PeerMessage, Transport, Want};

/// Dials a listening peer. Connects when first used.
pub struct Dialer {
    endpoint: Endpoint,
    delays: Box<dyn Iterator<Item = Duration> + Send>,
    line: Line,
}

type Sender = mpsc::Sender<proto::ExchangeRequest>;
type Dialing = Pin<Box<dyn Future<Output = Result<Connection, String>> + Send>>;

struct Connection {
    sender: Sender,
    receiver: Streaming<proto::ExchangeResponse>,
}

enum Line {
    Down,
    Dialing(Dialing),
    Up(Connection),
    Over,
}

impl Dialer {
    /// Dials `http://host:port`.
    pub fn new(url: &str) -> Result<Self, Error> {
        Self::over(url, None)
    }

    /// Dials `https://host:port`, whose certificate must come from this authority (PEM).
    #[cfg(feature = "tls")]
    pub fn with_ca(url: &str, ca: &[u8]) -> Result<Self, Error> {
        Self::over(url, Some(ca.to_vec()))
    }

    fn over(url: &str, ca: Option<Vec<u8>>) -> Result<Self, Error> {
        let endpoint = endpoint(url, ca)?
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES);
        Ok(Self { endpoint, delays: delays(), line: Line::Down })
    }

    fn dial(&mut self) -> Dialing {
        let endpoint = self.endpoint.clone();
        let delay = self.delays.next().unwrap_or(LONGEST);
        Box::pin(async move {
            sleep(delay).await;
            let channel = endpoint.connect().await.map_err(|why| why.to_string())?;
            let (sender, outgoing) = mpsc::channel(ROOM);
            let mut client = PeerServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES);
            let answer = client.exchange(ReceiverStream::new(outgoing)).await;
            let receiver = answer.map_err(|status| status.message().to_owned())?.into_inner();
            Ok(Connection { sender, receiver })
        })
    }
}

const LONGEST: Duration = Duration::from_secs(5);

/// None before the first attempt, then longer and longer.
fn delays() -> Box<dyn Iterator<Item = Duration> + Send> {
    let later = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(LONGEST)
        .without_max_times()
        .with_jitter()
        .build();
    Box::new(std::iter::once(Duration::ZERO).chain(later))
}

#[async_trait]
impl Transport for Dialer {
    async fn next(&mut self, want: Want) -> Event {
        loop {
            match &mut self.line {
                Line::Over => std::future::pending::<()>().await,
                Line::Down => self.line = Line::Dialing(self.dial()),
                Line::Dialing(dialing) => match dialing.await {
                    Ok(connection) => {
                        self.line = Line::Up(connection);
                        return Event::Connected;
                    }
                    Err(why) => {
                        tracing::debug!(why, "the peer cannot be reached, dialing again");
                        self.line = Line::Down;
                    }
                },
                Line::Up(connection) => {
                    let heard = tokio::select! {
                        biased;
                        heard = connection.receiver.message() => heard,
                        () = room(&connection.sender, want == Want::Room) => return Event::Room,
                    };
                    match heard {
                        Ok(Some(response)) => match from_wire(response.message) {
                            Heard::Closed => {
                                self.line = Line::Over;
                                return Event::Closed;
                            }
                            Heard::Message(message) => {
                                self.delays = delays();
                                return Event::Message(message);
                            }
                            Heard::Nonsense => {}
                        },
                        Ok(None) | Err(_) => {
                            self.line = Line::Down;
                            return Event::Lost;
                        }
                    }
                }
            }
        }
    }

    fn is_connected(&self) -> bool {
        matches!(self.line, Line::Up(_))
    }

    fn send(&mut self, message: PeerMessage) -> Result<(), NotSent> {
        let Line::Up(connection) = &self.line else { return Err(NotSent) };
        let request = proto::ExchangeRequest { message: Some(to_wire(message)) };
        connection.sender.try_send(request).map_err(|_| NotSent)
    }

    async fn close(&mut self) {
        let Line::Up(mut connection) = std::mem::replace(&mut self.line, Line::Over) else { return };
        let request = proto::ExchangeRequest { message: Some(to_wire(closing())) };
        let finish = async {
            // What cannot be delivered need not be: closing is a courtesy.
            let _ = connection.sender.send(request).await;
            drop(connection.sender);
            while let Ok(Some(_)) = connection.receiver.message().await {}
        };
        let _ = timeout(CLOSING, finish).await;
    }
}
