//! The player: a small server that plays Claude from a script, over the real wire protocol, on
//! this machine only. It serves the demo and the tests, and refuses what the real API would
//! refuse. It never thinks: what no script says, it answers with an honest error.

pub mod binding;
pub mod rules;
pub mod script;
pub mod stage;
pub mod stream;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode};
use bytes::Bytes;
use futures_util::stream as futures;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::Url;

use self::rules::Refusal;
pub use self::script::Script;
use self::script::{Break, Fault, Wire};
pub use self::stage::Heard;
use self::stage::{Answer, Stage};
use super::model_file::BadModelFile;
use super::models::ModelTable;

/// A player that listens. Dropping it ends it.
#[derive(Debug)]
pub struct Player {
    address: SocketAddr,
    stage: Arc<Stage>,
    serving: JoinHandle<()>,
}

/// Why no player listens.
#[derive(Debug, thiserror::Error)]
pub enum BadPlayer {
    #[error("the player cannot listen on {address}; choose another port")]
    Listen {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Models(#[from] BadModelFile),
}

/// The provider's own limit on a body.
const MOST_BODY_BYTES: usize = 32 * 1024 * 1024;

impl Player {
    /// Listens on `address` (port 0 for any) and plays `script` from then on.
    pub async fn bind(script: Script, address: SocketAddr) -> Result<Self, BadPlayer> {
        Self::bind_with_models(script, address, ModelTable::shipped()?).await
    }

    /// As `bind`, for models of another table.
    pub async fn bind_with_models(
        script: Script,
        address: SocketAddr,
        models: ModelTable,
    ) -> Result<Self, BadPlayer> {
        let listen = |source| BadPlayer::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let stage = Arc::new(Stage { script, models, heard: Mutex::default() });
        let routes = Router::new()
            .route("/v1/messages", axum::routing::post(messages))
            .fallback(unknown_route)
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(Arc::clone(&stage));
        let serving = tokio::spawn(async move {
            // An accept error ends the player; the client then sees a refused connection.
            let _ = axum::serve(listener, routes).await;
        });
        Ok(Self { address, stage, serving })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base URL for a client.
    pub fn base_url(&self) -> Result<Url, url::ParseError> {
        Url::parse(&format!("http://{}", self.address))
    }

    /// The requests so far, oldest first; at most the last 10,000.
    pub fn heard(&self) -> Vec<Heard> {
        self.stage.memory(|memory| memory.requests.iter().cloned().collect())
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn messages(
    State(stage): State<Arc<Stage>>,
    headers: HeaderMap,
    body: Body,
) -> Response<Body> {
    let Ok(body) = axum::body::to_bytes(body, MOST_BODY_BYTES).await else {
        let refusal = Refusal {
            status: 413,
            kind: "request_too_large",
            message: "Request exceeds the maximum size".into(),
        };
        return refuse(0, &refusal, None);
    };
    let mut played = None;
    let (answer, delay_ms) = match stage::decide(&stage, &headers, &body, &mut played) {
        Ok(decided) => decided,
        Err(refusal) => (Answer::Refuse { refusal, retry_after: None }, 0),
    };
    let betas = headers.get("anthropic-beta").and_then(|value| value.to_str().ok()).unwrap_or("");
    let (status, refusal) = match &answer {
        Answer::Say { .. } => (200, None),
        Answer::Refuse { refusal, .. } => (refusal.status, Some(refusal.message.clone())),
    };
    let number = stage.remember(Heard {
        body,
        betas: betas.split(',').map(str::trim).filter(|b| !b.is_empty()).map(Into::into).collect(),
        played,
        status,
        refusal,
    });
    // A request that came is answered, and would be charged, also if nobody waits to the end.
    tokio::time::sleep(Duration::from_millis(delay_ms)).await;
    match answer {
        Answer::Say { performance, streamed: false, fault: None } => {
            let text = performance.document().to_string();
            respond(number, 200, "application/json", None, Body::from(text))
        }
        Answer::Say { performance, fault, .. } => {
            let wire = &stage.script.wire;
            let body = stream_body(&performance, fault.as_ref(), wire);
            respond(number, 200, "text/event-stream; charset=utf-8", None, body)
        }
        Answer::Refuse { refusal, retry_after } => refuse(number, &refusal, retry_after.as_deref()),
    }
}

/// The pieces of a streamed body, broken off where the fault says.
fn stream_body(performance: &stream::Performance, fault: Option<&Fault>, wire: &Wire) -> Body {
    let mut events = performance.events(wire);
    let mut breaks = None;
    if let Some(fault) = fault {
        events.truncate(fault.after_events);
        breaks = fault.breaks;
        if breaks == Some(Break::Error) {
            let kind = fault.kind.as_deref().unwrap_or("overloaded_error");
            let message = fault.message.as_deref().unwrap_or("Overloaded");
            events.push(json!({ "type": "error", "error": { "type": kind, "message": message } }));
        }
    }
    let frames: Vec<String> = events.iter().map(|event| stream::frame(event, wire)).collect();
    let pieces: VecDeque<Bytes> = match wire.piece_bytes {
        Some(size) => {
            let bytes = frames.concat().into_bytes();
            bytes.chunks(size.max(1)).map(Bytes::copy_from_slice).collect()
        }
        None => frames.into_iter().map(Bytes::from).collect(),
    };
    Body::from_stream(futures::unfold((pieces, breaks), |(mut pieces, breaks)| async move {
        if let Some(piece) = pieces.pop_front() {
            return Some((Ok(piece), (pieces, breaks)));
        }
        match breaks {
            Some(Break::Drop) => {
                // Giving way once lets the pieces before the cut leave the process.
                tokio::task::yield_now().await;
                let cut = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
                Some((Err(cut), (pieces, None)))
            }
            Some(Break::Idle) => std::future::pending().await,
            Some(Break::Truncate | Break::Error) | None => None,
        }
    }))
}

fn refuse(number: u64, refusal: &Refusal, retry_after: Option<&str>) -> Response<Body> {
    let text = json!({
        "type": "error",
        "error": { "type": refusal.kind, "message": refusal.message },
        "request_id": request_id(number),
    });
    respond(number, refusal.status, "application/json", retry_after, Body::from(text.to_string()))
}

fn request_id(number: u64) -> String {
    format!("req_player_{number:06}")
}

/// Frames an answer with the headers that the provider sends. All instants hang on one fixed day,
/// so equal requests get equal answers.
fn respond(
    number: u64,
    status: u16,
    kind: &str,
    retry_after: Option<&str>,
    body: Body,
) -> Response<Body> {
    let mut response = Response::builder()
        .status(status)
        .header("content-type", kind)
        .header("date", "Sun, 22 Nov 2026 00:00:00 GMT")
        .header("request-id", request_id(number))
        .header("anthropic-organization-id", "the-player");
    let spent = status == 429 && retry_after.is_some();
    for (kind, limit) in
        [("requests", 1_000), ("input-tokens", 2_000_000), ("output-tokens", 400_000)]
    {
        let remaining = if spent && kind == "requests" { 0 } else { limit - 1 };
        response = response
            .header(format!("anthropic-ratelimit-{kind}-limit"), limit)
            .header(format!("anthropic-ratelimit-{kind}-remaining"), remaining)
            .header(format!("anthropic-ratelimit-{kind}-reset"), "2026-11-22T00:00:00Z");
    }
    if let Some(seconds) = retry_after {
        response = response.header("retry-after", seconds);
    }
    response.body(body).unwrap_or_else(|_| {
        // Only a script with an impossible status or header value comes here.
        let mut response = Response::new(Body::from("the script asks for an impossible answer"));
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

async fn unknown_route(State(stage): State<Arc<Stage>>) -> Response<Body> {
    let refusal = Refusal {
        status: 404,
        kind: "not_found_error",
        message: "the player only knows POST /v1/messages".into(),
    };
    refuse(stage.memory(|memory| memory.request_count), &refusal, None)
}
