//! Connections: accepted, bounded in number and in how long each may take to say what it wants, plain
//! or over TLS, and let go when the server stops. HTTP/1.1 is spoken; what is asked is for the doors.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// How long a handshake may take, and the head of a request: the first, or the next one.
const HANDSHAKE: Duration = Duration::from_secs(10);
const HEAD: Duration = Duration::from_secs(30);
/// The most of a request's head, and of what waits to be written.
const BUFFER_BYTES: usize = 64 << 10;
/// How long requests under way may go on when the server stops.
pub const GRACE: Duration = Duration::from_secs(3);
/// How long to wait when the system has no more sockets for us.
const NO_SOCKET_PAUSE: Duration = Duration::from_millis(200);

/// Where a request comes from. Every request has one as its extension.
#[derive(Debug, Clone)]
pub struct Visitor {
    pub address: SocketAddr,
    pub is_tls: bool,
    /// Whether the server stops: what would go on for ever ends then.
    pub stopping: watch::Receiver<bool>,
}

/// Connections that are accepted until this is closed or dropped.
#[derive(Debug)]
pub struct Listening {
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
    places: Arc<Semaphore>,
    most: u32,
}

impl Listening {
    /// Has `doors` answer whoever comes to `listener`, at most `most` at once.
    pub fn start(
        listener: TcpListener,
        tls: Option<TlsAcceptor>,
        doors: Router,
        most: usize,
    ) -> Self {
        let most = u32::try_from(most.clamp(1, Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        let places = Arc::new(Semaphore::new(most as usize));
        let (stop, stopping) = watch::channel(false);
        let reception = Reception { listener, tls, doors, places: Arc::clone(&places), stopping };
        Self { stop, accepting: tokio::spawn(reception.accept()), places, most }
    }

    /// Accepts nobody from now on, and waits a moment for requests under way.
    pub async fn close(&self) {
        self.stop.send_replace(true);
        let all_gone = self.places.acquire_many(self.most);
        // Whoever is still there is cut off when the process ends.
        let _ = tokio::time::timeout(GRACE, all_gone).await;
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.accepting.abort();
    }
}

/// What accepts connections.
struct Reception {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    doors: Router,
    places: Arc<Semaphore>,
    stopping: watch::Receiver<bool>,
}

impl Reception {
    async fn accept(self) {
        let mut stopping = self.stopping.clone();
        loop {
            // Nobody is accepted without a place: who waits, waits outside.
            let next = async {
                let place = Arc::clone(&self.places).acquire_owned().await.ok()?;
                Some((place, self.listener.accept().await))
            };
            let next = tokio::select! {
                _ = stopping.wait_for(|stops| *stops) => return,
                next = next => next,
            };
            match next {
                Some((place, Ok((stream, address)))) => self.receive(stream, address, place),
                Some((_, Err(error))) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(NO_SOCKET_PAUSE).await;
                }
                None => return,
            }
        }
    }

    fn receive(&self, stream: TcpStream, address: SocketAddr, place: OwnedSemaphorePermit) {
        // An answer in several pieces would wait for the other side's word on each.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection is gone already");
        }
        let is_tls = self.tls.is_some();
        let visitor = Visitor { address, is_tls, stopping: self.stopping.clone() };
        let (tls, doors) = (self.tls.clone(), self.doors.clone());
        tokio::spawn(async move {
            let Some(tls) = tls else {
                return attend(Placed { stream, _place: place }, visitor, doors).await;
            };
            match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
                Ok(Ok(stream)) => attend(Placed { stream, _place: place }, visitor, doors).await,
                Ok(Err(error)) => tracing::debug!(%address, %error, "no TLS was agreed upon"),
                Err(_) => tracing::debug!(%address, "no TLS was agreed upon in time"),
            }
        });
    }
}

/// Answers what comes over one connection.
async fn attend<S>(stream: Placed<S>, visitor: Visitor, doors: Router)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut stopping = visitor.stopping.clone();
    let doors = TowerToHyperService::new(doors);
    let answer = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(visitor.clone());
        let answering = doors.call(request);
        async move { Ok::<Response, Infallible>(answering.await.unwrap_or_else(|no| match no {})) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), answer)
        .with_upgrades();
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        _ = stopping.wait_for(|stops| *stops) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            // Whoever takes longer asks the next server.
            tokio::time::timeout(GRACE, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
}

/// A connection and its place, which is free again when the connection is closed; also one that
/// became something else, such as a WebSocket.
struct Placed<S> {
    stream: S,
    _place: OwnedSemaphorePermit,
}

impl<S: AsyncRead + Unpin> AsyncRead for Placed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Placed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use axum::Extension;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::Notify;

    use super::*;

    const ASK: &[u8] = b"GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n";
    const FIND: &[u8] = b"GET /who HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

    struct Place {
        listening: Arc<Listening>,
        address: SocketAddr,
        begun: Arc<Notify>,
        go_on: Arc<Notify>,
    }

    async fn place(most: usize) -> Place {
        let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (tell, wait) = (Arc::clone(&begun), Arc::clone(&go_on));
        let slow = move || async move {
            tell.notify_one();
            wait.notified().await;
            "slow"
        };
        let who = |Extension(visitor): Extension<Visitor>| async move {
            format!("{} {}", visitor.address.ip(), visitor.is_tls)
        };
        let doors = Router::new().route("/slow", get(slow)).route("/who", get(who));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let listening = Arc::new(Listening::start(listener, None, doors, most));
        Place { listening, address, begun, go_on }
    }

    async fn connect(place: &Place, text: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(place.address).await.unwrap();
        stream.write_all(text).await.unwrap();
        stream
    }

    async fn rest(mut stream: TcpStream) -> String {
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn requests_know_where_they_come_from() {
        let place = place(10).await;
        let answer = rest(connect(&place, FIND).await).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("127.0.0.1 false"));
    }

    /// The clock is put forward whenever everybody waits, so a timeout takes no time.
    #[tokio::test(start_paused = true)]
    async fn who_does_not_say_what_it_wants_is_let_go() {
        let place = place(10).await;
        for begun in [&b""[..], b"GET /who HTTP/1.1\r\nhost: loc"] {
            assert_eq!(rest(connect(&place, begun).await).await, "");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_accepted_without_a_place() {
        let place = place(1).await;
        let first = connect(&place, ASK).await;
        place.begun.notified().await;
        let mut second = connect(&place, FIND).await;
        let mut byte = [0];
        let early = tokio::time::timeout(Duration::from_secs(60), second.read(&mut byte)).await;
        assert!(early.is_err(), "{early:?}");
        drop(first);
        assert!(rest(second).await.starts_with("HTTP/1.1 200 OK"));
    }

    #[tokio::test]
    async fn a_head_that_is_too_large_is_refused() {
        let place = place(10).await;
        let head = format!("GET /who HTTP/1.1\r\nhost: localhost\r\nx: {}", "x".repeat(80 << 10));
        let answer = rest(connect(&place, head.as_bytes()).await).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }

    #[tokio::test]
    async fn who_closes_lets_requests_under_way_end_and_accepts_nobody() {
        let place = place(10).await;
        let asked = connect(&place, ASK).await;
        place.begun.notified().await;
        let closing = tokio::spawn({
            let listening = Arc::clone(&place.listening);
            async move { listening.close().await }
        });
        while TcpStream::connect(place.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        assert!(!closing.is_finished());
        place.go_on.notify_one();
        let answer = rest(asked).await;
        assert!(answer.contains("connection: close") && answer.ends_with("slow"), "{answer}");
        closing.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_takes_too_long_does_not_hold_up_the_end() {
        let place = place(10).await;
        let asked = connect(&place, ASK).await;
        place.begun.notified().await;
        place.listening.close().await;
        assert_eq!(rest(asked).await, "");
    }
}
