//! Many subscribers at once: those to whom nothing happens, those who do not read, and a few who do and
//! measure how long an event takes to reach them.

use std::time::Duration;

use cody_events::time::Timestamp;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use super::feed::{Feed, Order, feed, job, now_micros};

type Socket = WebSocketStream<TcpStream>;

const BUSY: u128 = 2;
const SLOW: usize = 50;
const READING: usize = 4;
/// Bytes that the kernel keeps for a subscriber. For those who do not read, so few that the server has
/// to wait for them soon.
const KEPT: u32 = 128 * 1024;
const KEPT_FOR_SLOW: u32 = 4 * 1024;

/// A subscriber to what happens to `of`, or to all, for whom the kernel keeps so many bytes.
async fn subscriber(feed: &Feed, of: Option<u128>, kept: u32) -> Socket {
    let address = feed.url.strip_prefix("http://").unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(kept).unwrap();
    let stream = socket.connect(address.parse().unwrap()).await.unwrap();
    let mut request = format!("ws://{address}/graphql").into_client_request().unwrap();
    let protocol = "graphql-transport-ws".parse().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", protocol);
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    let init = json!({ "type": "connection_init",
        "payload": { "authorization": format!("Bearer {}", feed.token) } });
    send(&mut socket, init).await;
    assert_eq!(next(&mut socket).await["type"], "connection_ack");
    let query = "subscription ($job: ID, $after: Position) {
        jobEvents(jobId: $job, after: $after) { position recordedAt type actor facts eventHash } }";
    let variables =
        json!({ "job": of.map(|of| job(of).to_string()), "after": feed.start.to_string() });
    let asked = json!({ "type": "subscribe", "id": "1",
        "payload": { "query": query, "variables": variables } });
    send(&mut socket, asked).await;
    socket
}

async fn send(socket: &mut Socket, message: Value) {
    socket.send(Message::text(message.to_string())).await.unwrap();
}

/// The next message that is no ping.
async fn next(socket: &mut Socket) -> Value {
    loop {
        let message = socket.next().await.unwrap().unwrap();
        let Message::Text(text) = message else { continue };
        let message: Value = serde_json::from_str(&text).unwrap();
        match message["type"].as_str() {
            Some("ping") => send(socket, json!({ "type": "pong" })).await,
            _ => return message,
        }
    }
}

/// An event as it came: its position, when the log took it, and when it was here, in microseconds.
type Came = (u64, u64, u64);

/// Reads until the event at `until`.
async fn read(mut socket: Socket, mut until: tokio::sync::watch::Receiver<u64>) -> Vec<Came> {
    let mut came = Vec::new();
    let mut at = 0;
    while at < *until.borrow_and_update() {
        let message = tokio::select! {
            message = next(&mut socket) => message,
            _ = until.changed() => continue,
        };
        let event = &message["payload"]["data"]["jobEvents"];
        let recorded: Timestamp = event["recordedAt"].as_str().unwrap().parse().unwrap();
        let now = now_micros();
        at = event["position"].as_str().unwrap().parse().unwrap();
        came.push((at, recorded.as_micros().unsigned_abs(), now));
    }
    came
}

/// The one of `sorted` that `percent` are not above.
fn percentile(sorted: &[u64], percent: usize) -> f64 {
    let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted[at] as f64 / 1_000.0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_costs_bounded_memory_and_holds_no_reader_up() {
    let is_proof = std::env::var_os("CODY_PROOF").is_some();
    let (idle, seconds) = if is_proof { (1_000, 30) } else { (200, 4) };
    allow_files();
    let order = Order { busy_jobs: BUSY, quiet_jobs: 10, events_a_job: seconds * 50 };
    let mut feed = feed(order);
    let empty = feed.memory_kib();
    let mut crowd = Vec::new();
    for number in 0..idle {
        crowd.push(subscriber(&feed, Some(BUSY + number % 10), KEPT).await);
    }
    let with_idle = feed.memory_kib();
    // They are never read from again: what the server tells them stays on its way.
    for _ in 0..SLOW {
        crowd.push(subscriber(&feed, None, KEPT_FOR_SLOW).await);
    }
    let (told, until) = tokio::sync::watch::channel(u64::MAX);
    let mut readers = Vec::new();
    for _ in 0..READING {
        readers.push(tokio::spawn(read(subscriber(&feed, None, KEPT).await, until.clone())));
    }
    feed.begin();
    let (feed, fed, rate) = tokio::task::spawn_blocking(move || {
        let (fed, rate) = feed.fed();
        (feed, fed, rate)
    })
    .await
    .unwrap();
    let head = fed.head;
    told.send(head).unwrap();
    let (mut since_taken, mut since_told) = (Vec::new(), Vec::new());
    for reader in readers {
        let read = tokio::time::timeout(Duration::from_secs(120), reader).await.unwrap().unwrap();
        assert_eq!(read.len() as u64, head - feed.start);
        for (position, taken, came) in read {
            since_taken.push(came.saturating_sub(taken));
            // Who reads may know of it before the writer of a batch of events is told.
            since_told.push(came.saturating_sub(fed.told_at[&position]));
        }
    }
    let after = feed.memory_kib();
    println!("{} events, {rate} a second; {idle} idle, {SLOW} slow", head - feed.start);
    for (since, mut took) in
        [("it was on disk", since_told), ("the log took it, so with its commit", since_taken)]
    {
        took.sort_unstable();
        let (p50, p99) = (percentile(&took, 50), percentile(&took, 99));
        println!("to a reader since {since}: p50 {p50:.1} ms, p99 {p99:.1} ms (aim of p99: 10 ms)");
    }
    println!("memory: {empty} KiB, {with_idle} KiB with idle, {after} KiB after the events");
    assert!(with_idle - empty < 64 * idle as u64, "an idle subscriber takes more than 64 KiB");
    let of_slow = after.saturating_sub(with_idle) / SLOW as u64;
    assert!(of_slow < 1_024, "a slow subscriber takes {of_slow} KiB");
    drop(crowd);
}

/// Each subscriber is an open file, here and in the process that the feed is, which inherits this.
fn allow_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}
