//! What a token opened ends with it: live streams of a token that is revoked or expires end at once, also
//! those of a client that reads nothing, and nobody else's do.

use std::time::{Duration, Instant};

use cody_events::time::Timestamp;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use super::served::{Served, served};

const TOKENS: &str = "/control/v1/tokens";
const REVOKE: &str = "/control/v1/tokens/revoke";
/// A stream may go on for so long after its token's end.
const AT_ONCE: Duration = Duration::from_secs(1);
/// Nothing here takes longer, but a stream that does not end.
const PATIENCE: Duration = Duration::from_secs(30);
/// Follows all jobs from now on.
const FOLLOW: &str = "subscription { jobEvents { position } }";

type Socket = WebSocketStream<TcpStream>;

/// A WebSocket of whoever has `token`, who follows all jobs.
async fn socket(server: &Served, token: &str) -> Socket {
    let address = server.url.strip_prefix("http://").unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    // So few that a server whose client reads nothing has to wait for it soon.
    socket.set_recv_buffer_size(4 * 1024).unwrap();
    let stream = socket.connect(address.parse().unwrap()).await.unwrap();
    let mut request = format!("ws://{address}/graphql").into_client_request().unwrap();
    let protocol = "graphql-transport-ws".parse().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", protocol);
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    let init = json!({ "type": "connection_init", "payload": { "authorization": token } });
    socket.send(Message::text(init.to_string())).await.unwrap();
    let answer = socket.next().await.unwrap().unwrap();
    assert_eq!(answer.into_text().unwrap().as_str(), r#"{"type":"connection_ack"}"#);
    let wish = json!({ "type": "subscribe", "id": "1", "payload": { "query": FOLLOW } });
    socket.send(Message::text(wish.to_string())).await.unwrap();
    socket
}

/// By what number the server closes the connection, and when.
async fn closed(mut socket: Socket) -> (Option<u16>, Instant) {
    let reading = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Close(frame))) => break frame.map(|frame| frame.code.into()),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break None,
            }
        }
    };
    let code = tokio::time::timeout(PATIENCE, reading).await.expect("it is closed");
    (code, Instant::now())
}

/// Server-sent events for whoever has `token`, which follow all jobs.
async fn events(server: &Served, token: &str) -> reqwest::Response {
    let request = server.post("/graphql", token, &json!({ "query": FOLLOW }));
    let answer = request.header("accept", "text/event-stream").send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    answer
}

/// When the stream ends.
async fn ended(mut answer: reqwest::Response) -> Instant {
    let reading = async { while answer.chunk().await.unwrap().is_some() {} };
    tokio::time::timeout(PATIENCE, reading).await.expect("it ends");
    Instant::now()
}

async fn revoke(server: &Served, admin: &str, token_id: &str) -> Instant {
    let wish = json!({ "token_id": token_id });
    let answer = server.post(REVOKE, admin, &wish).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    Instant::now()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_streams_of_a_token_end_when_it_is_revoked() {
    let server = served();
    let (admin, _) = server.place.token("admin", &["admin"]);
    let (reader, reader_id) = server.place.token("reader", &["read"]);
    let (other, other_id) = server.place.token("other", &["read"]);
    let by_socket = tokio::spawn(closed(socket(&server, &reader).await));
    let by_events = tokio::spawn(ended(events(&server, &reader).await));
    let by_other_socket = tokio::spawn(closed(socket(&server, &other).await));
    let by_other_events = tokio::spawn(ended(events(&server, &other).await));
    let revoked = revoke(&server, &admin, &reader_id).await;
    let (code, at) = by_socket.await.unwrap();
    assert_eq!(code, Some(4403));
    assert!(at < revoked + AT_ONCE, "{:?}", at - revoked);
    let at = by_events.await.unwrap();
    assert!(at < revoked + AT_ONCE, "{:?}", at - revoked);
    tokio::time::sleep_until((revoked + AT_ONCE).into()).await;
    assert!(!by_other_socket.is_finished() && !by_other_events.is_finished());
    let revoked = revoke(&server, &admin, &other_id).await;
    assert_eq!(by_other_socket.await.unwrap().0, Some(4403));
    assert!(by_other_events.await.unwrap() < revoked + AT_ONCE);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_streams_of_a_token_end_when_it_expires() {
    let server = served();
    let (admin, _) = server.place.token("admin", &["admin"]);
    const LIFE: Duration = Duration::from_secs(2);
    let made = Instant::now();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let end = Timestamp(i64::try_from((now + LIFE).as_micros()).unwrap());
    let wish = json!({ "name": "short", "scopes": ["read"], "expires_at": end });
    let answer = server.post(TOKENS, &admin, &wish).send().await.unwrap();
    let token = answer.json::<Value>().await.unwrap()["token"].as_str().unwrap().to_owned();
    let by_socket = tokio::spawn(closed(socket(&server, &token).await));
    let by_events = tokio::spawn(ended(events(&server, &token).await));
    let (code, at) = by_socket.await.unwrap();
    assert_eq!(code, Some(4403));
    for at in [at, by_events.await.unwrap()] {
        let lived = at - made;
        assert!(lived >= LIFE && lived < LIFE + AT_ONCE, "{lived:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_nothing_is_not_waited_for() {
    const ASKED: usize = 40;
    let server = served();
    let (admin, _) = server.place.token("admin", &["admin"]);
    let (reader, reader_id) = server.place.token("reader", &["read"]);
    let (mut sink, mut answers) = socket(&server, &reader).await.split();
    // Each is answered with as much, until nothing more fits in between.
    let large = json!({ "type": "ping", "payload": "x".repeat(900_000) }).to_string();
    let asking = tokio::spawn(async move {
        for _ in 0..ASKED {
            if sink.send(Message::text(large.clone())).await.is_err() {
                break;
            }
        }
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!asking.is_finished(), "the server waits for its client");
    revoke(&server, &admin, &reader_id).await;
    tokio::time::sleep(AT_ONCE).await;
    let mut pongs = 0;
    let reading = async {
        while let Some(Ok(message)) = answers.next().await {
            pongs += usize::from(message.is_text());
        }
    };
    // What was on its way is all that comes.
    tokio::time::timeout(Duration::from_secs(5), reading).await.expect("it is closed");
    assert!(pongs < ASKED / 2, "{pongs}");
    asking.abort();
}
