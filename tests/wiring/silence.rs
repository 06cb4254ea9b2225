//! Connections over which nothing comes: each ends by itself, so that they cannot take all the room there is for ever.
//!
//! Time is virtual here: it passes when everybody waits.

use std::time::Duration;

use arbiter::grpc::Api;
use arbiter_protocol::wire::arbiter as proto;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::common::{Parties, World};

/// The beginning of every HTTP/2 connection: the preface, and settings without a setting.
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Whether an honest caller gets in.
async fn gets_in(world: &World) -> bool {
    let url = format!("http://{}", world.server.address());
    let endpoint = tonic::transport::Endpoint::from_shared(url).unwrap();
    let Ok(channel) = endpoint.connect().await else { return false };
    Parties::new(channel).get_arbiter_info(proto::GetArbiterInfoRequest {}).await.is_ok()
}

/// S40, F4: who connects and says nothing, stops in the middle of the preface, or is gone after it without a word, keeps its room for
/// some minutes and not for ever.
#[tokio::test(start_paused = true)]
async fn connections_that_say_nothing_come_to_an_end() {
    let world = World::with(Api { max_connections: 3, ..Api::default() }).await;
    let mut silent = Vec::new();
    for said in [0, 10, HELLO.len()] {
        let mut connection = TcpStream::connect(world.server.address()).await.unwrap();
        connection.write_all(&HELLO[..said]).await.unwrap();
        silent.push((said, connection));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    tokio::time::resume();
    assert!(!gets_in(&world).await, "there was room for three");
    tokio::time::pause();
    for (said, connection) in &mut silent {
        // To the end of what the arbiter says: settings, a question whether somebody is there, and then no more.
        let mut heard = Vec::new();
        let end = tokio::time::timeout(Duration::from_secs(600), connection.read_to_end(&mut heard)).await;
        assert!(end.is_ok(), "after {said} bytes a connection is kept for ever");
    }
    tokio::time::resume();
    let mut tries = 0;
    while !gets_in(&world).await {
        tries += 1;
        assert!(tries < 1000, "the room never comes back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
