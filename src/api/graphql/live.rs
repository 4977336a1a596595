//! Answers that keep coming: `graphql-transport-ws` over WebSockets, and server-sent events. Neither
//! holds more than one page of the log for a slow reader: what is next is read when it can be sent.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_graphql::{Request, Variables};
use axum::extract::WebSocketUpgrade;
use axum::extract::ws::{CloseFrame, Message, WebSocket};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::{BoxStream, SelectAll, StreamExt as _};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tokio::time::MissedTickBehavior;

use super::front::{GraphqlDoor, written};
use crate::api::access::Caller;
use crate::api::listening::Visitor;

/// The protocol that clients have to speak.
const PROTOCOL: &str = "graphql-transport-ws";
/// How long a client may take to say who it is.
const INIT_PATIENCE: Duration = Duration::from_secs(10);
/// How often the other end is asked whether it is there.
const PING: Duration = Duration::from_secs(12);
/// How long one message may take to be sent.
const SEND_PATIENCE: Duration = Duration::from_secs(60);
/// How long the last one may, which says why the connection is closed.
const FAREWELL_PATIENCE: Duration = Duration::from_millis(500);
/// How many pings in a row may be without an answer.
const MAX_SILENT_PINGS: u32 = 3;
/// Operations that one connection may have open: each may hold a page of the log.
const MAX_OPEN: usize = 50;
/// What a client sends is a document and its variables.
const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// What is read at once. Clients say little, and each of them keeps a buffer of this size.
const READ_BUFFER_BYTES: usize = 4 * 1024;

/// A token that was shown, and whose it is.
pub type Known = (String, Caller);

/// A message of the client.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum FromClient {
    ConnectionInit {
        payload: Option<Map<String, Value>>,
    },
    Ping {
        payload: Option<Value>,
    },
    Pong {
        #[serde(rename = "payload")]
        _payload: Option<Value>,
    },
    Subscribe {
        id: String,
        payload: Asked,
    },
    Complete {
        id: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    query: String,
    operation_name: Option<String>,
    variables: Option<Map<String, Value>>,
}

/// A message of ours.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ToClient<'a> {
    ConnectionAck,
    Ping,
    Pong {
        #[serde(skip_serializing_if = "Option::is_none")]
        payload: Option<Value>,
    },
    Next {
        id: &'a str,
        payload: &'a RawValue,
    },
    Error {
        id: &'a str,
        payload: &'a RawValue,
    },
    Complete {
        id: &'a str,
    },
}

/// Why a connection is closed, by the numbers of the protocol.
struct Closed(u16, &'static str);

/// Something an operation says.
enum Said {
    /// An answer's JSON, and whether the request was one.
    Answer(String, bool),
    End,
}

/// Accepts a WebSocket, whose caller may have shown a token already.
pub fn accept(
    upgrade: WebSocketUpgrade,
    door: GraphqlDoor,
    known: Option<Known>,
    visitor: Option<Visitor>,
) -> Response {
    upgrade
        .protocols([PROTOCOL])
        .max_message_size(MAX_MESSAGE_BYTES)
        .max_frame_size(MAX_MESSAGE_BYTES)
        .read_buffer_size(READ_BUFFER_BYTES)
        .on_upgrade(move |socket| async move {
            let is_spoken = socket.protocol().is_some_and(|protocol| protocol == PROTOCOL);
            let mut connection = Connection { socket, door, known, visitor };
            let closed = match is_spoken {
                true => connection.serve().await,
                false => Err(Closed(4406, "Subprotocol not acceptable")),
            };
            if let Err(Closed(code, reason)) = closed {
                let frame = CloseFrame { code, reason: reason.into() };
                let farewell = connection.send(Message::Close(Some(frame)));
                // Whoever is gone does not hear it, and whoever takes nothing is not waited for.
                let _ = tokio::time::timeout(FAREWELL_PATIENCE, farewell).await;
            }
        })
}

/// One client.
struct Connection {
    socket: WebSocket,
    door: GraphqlDoor,
    known: Option<Known>,
    visitor: Option<Visitor>,
}

type Operations = SelectAll<BoxStream<'static, (String, Said)>>;

impl Connection {
    /// Serves the client until it goes, which is well, or until it has to be closed.
    async fn serve(&mut self) -> Result<(), Closed> {
        let late = Closed(4408, "Connection initialisation timeout");
        let begun = tokio::time::timeout(INIT_PATIENCE, self.begin()).await.map_err(|_| late)??;
        let Some((token, caller)) = begun else { return Ok(()) };
        self.follow(&token, &Arc::new(caller)).await
    }

    /// The first message, and who sent it; nothing if the client went.
    async fn begin(&mut self) -> Result<Option<Known>, Closed> {
        let payload = loop {
            match self.receive().await? {
                None => return Ok(None),
                Some(FromClient::ConnectionInit { payload }) => break payload,
                Some(FromClient::Ping { payload }) => {
                    self.tell(&ToClient::Pong { payload }).await?
                }
                Some(FromClient::Pong { .. } | FromClient::Complete { .. }) => {}
                Some(FromClient::Subscribe { .. }) => return Err(Closed(4401, "Unauthorized")),
            }
        };
        let known = match (self.known.take(), payload.as_ref().and_then(token_of)) {
            (_, Some(token)) => match self.door.access.authenticate(&token) {
                Ok(caller) => Some((token, caller)),
                Err(_) => None,
            },
            (known, None) => known,
        };
        let Some(known) = known else {
            if let Some(visitor) = &self.visitor {
                // It is closed either way; the next one waits if this was once too often.
                let _ = self.door.guard.note_refusal(visitor.address.ip());
            }
            return Err(Closed(4403, "Forbidden"));
        };
        self.tell(&ToClient::ConnectionAck).await?;
        Ok(Some(known))
    }

    /// Serves operations until the client goes, the server stops or the token is good no longer, also
    /// while something is being sent to a client that takes nothing.
    async fn follow(&mut self, token: &str, caller: &Arc<Caller>) -> Result<(), Closed> {
        let (pulse, access) = (Arc::clone(&self.door.pulse), Arc::clone(&self.door.access));
        tokio::select! {
            () = pulse.stopping() => Err(Closed(1001, "The server stops")),
            () = access.ended(token) => Err(Closed(4403, "Forbidden")),
            done = self.serve_operations(token, caller) => done,
        }
    }

    /// Starts and ends operations as the client wishes, and sends what they say.
    async fn serve_operations(&mut self, token: &str, caller: &Arc<Caller>) -> Result<(), Closed> {
        let mut open: Vec<(String, tokio_util::sync::CancellationToken)> = Vec::new();
        let mut operations = Operations::new();
        let mut ping = tokio::time::interval(PING);
        // Who is slow to take what was sent is not asked twice at once.
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ping.tick().await;
        let mut silent_pings = 0;
        loop {
            tokio::select! {
                received = self.receive() => match received? {
                    None => return Ok(()),
                    Some(message) => {
                        silent_pings = 0;
                        self.take(message, token, caller, &mut open, &mut operations).await?;
                    }
                },
                Some((id, said)) = operations.next(), if !operations.is_empty() => {
                    // What was ended while it was on its way is not sent.
                    if open.iter().any(|(known, _)| *known == id) {
                        self.pass_on(&id, said, &mut open).await?;
                        // Whoever takes what is sent is there.
                        silent_pings = 0;
                    }
                }
                _ = ping.tick() => {
                    if silent_pings >= MAX_SILENT_PINGS {
                        return Err(Closed(4408, "No answer to a ping"));
                    }
                    silent_pings += 1;
                    self.tell(&ToClient::Ping).await?;
                }
            }
        }
    }

    async fn take(
        &mut self,
        message: FromClient,
        token: &str,
        caller: &Arc<Caller>,
        open: &mut Vec<(String, tokio_util::sync::CancellationToken)>,
        operations: &mut Operations,
    ) -> Result<(), Closed> {
        match message {
            FromClient::ConnectionInit { .. } => {
                return Err(Closed(4429, "Too many initialisation requests"));
            }
            FromClient::Ping { payload } => self.tell(&ToClient::Pong { payload }).await?,
            FromClient::Pong { .. } => {}
            FromClient::Complete { id } => {
                if let Some(at) = open.iter().position(|(known, _)| *known == id) {
                    open.swap_remove(at).1.cancel();
                }
            }
            FromClient::Subscribe { id, .. } if open.iter().any(|(known, _)| *known == id) => {
                return Err(Closed(4409, "Subscriber already exists"));
            }
            FromClient::Subscribe { .. } if open.len() >= MAX_OPEN => {
                return Err(Closed(4429, "Too many subscriptions"));
            }
            FromClient::Subscribe { id, payload } => {
                // A revocation holds from its event on, and each operation counts as a request.
                if self.door.access.authenticate(token).is_err() {
                    return Err(Closed(4403, "Forbidden"));
                }
                if self.door.guard.note_request(caller).is_err() {
                    return Err(Closed(4429, "Too many requests"));
                }
                let ended = tokio_util::sync::CancellationToken::new();
                open.push((id.clone(), ended.clone()));
                let request = request(payload).data(self.door.asking(caller));
                operations.push(said(&self.door, id, request, ended));
            }
        }
        Ok(())
    }

    async fn pass_on(
        &mut self,
        id: &str,
        said: Said,
        open: &mut Vec<(String, tokio_util::sync::CancellationToken)>,
    ) -> Result<(), Closed> {
        let is_over = match said {
            Said::Answer(text, true) => {
                let payload = raw(text)?;
                self.tell(&ToClient::Next { id, payload: &payload }).await?;
                false
            }
            Said::Answer(text, false) => {
                let payload = errors_of(&text)?;
                self.tell(&ToClient::Error { id, payload: &payload }).await?;
                true
            }
            Said::End => {
                self.tell(&ToClient::Complete { id }).await?;
                true
            }
        };
        if is_over && let Some(at) = open.iter().position(|(known, _)| known == id) {
            open.swap_remove(at).1.cancel();
        }
        Ok(())
    }

    /// The client's next message; nothing if it went.
    async fn receive(&mut self) -> Result<Option<FromClient>, Closed> {
        loop {
            match self.socket.recv().await {
                None | Some(Err(_)) | Some(Ok(Message::Close(_))) => return Ok(None),
                Some(Ok(Message::Text(text))) => {
                    let message = serde_json::from_str(&text);
                    return message.map(Some).map_err(|_| Closed(4400, "Invalid message"));
                }
                Some(Ok(Message::Binary(_))) => return Err(Closed(4400, "Invalid message")),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            }
        }
    }

    async fn tell(&mut self, message: &ToClient<'_>) -> Result<(), Closed> {
        let text = serde_json::to_string(message).map_err(|_| Closed(4500, "Internal error"))?;
        self.send(Message::Text(text.into())).await
    }

    async fn send(&mut self, message: Message) -> Result<(), Closed> {
        let sent = tokio::time::timeout(SEND_PATIENCE, self.socket.send(message)).await;
        match sent {
            Ok(Ok(())) => Ok(()),
            // It takes nothing, or is gone; either way nothing more can be said.
            Ok(Err(_)) | Err(_) => Err(Closed(1001, "Gone")),
        }
    }
}

/// The bearer token in the first message's payload.
fn token_of(payload: &Map<String, Value>) -> Option<String> {
    let value = payload.iter().find(|(name, _)| name.eq_ignore_ascii_case("authorization"))?.1;
    let text = value.as_str()?;
    Some(text.strip_prefix("Bearer ").unwrap_or(text).to_owned())
}

fn request(asked: Asked) -> Request {
    let request = Request::new(asked.query);
    let request = match asked.operation_name {
        Some(name) => request.operation_name(name),
        None => request,
    };
    let variables = asked.variables.unwrap_or_default();
    request.variables(Variables::from_json(Value::Object(variables)))
}

/// What `request` says, until it ends or is ended.
fn said(
    door: &GraphqlDoor,
    id: String,
    request: Request,
    ended: tokio_util::sync::CancellationToken,
) -> BoxStream<'static, (String, Said)> {
    let answers = door.schema.execute_stream(request).map(|answer| {
        let (text, is_executed) = written(answer, None);
        Said::Answer(text, is_executed)
    });
    let end = futures_util::stream::once(async { Said::End });
    let open = door.pulse.traffic().subscribe();
    let all = answers.chain(end).map(move |said| {
        let _counted = &open;
        (id.clone(), said)
    });
    all.take_until(ended.cancelled_owned()).boxed()
}

fn raw(text: String) -> Result<Box<RawValue>, Closed> {
    RawValue::from_string(text).map_err(|_| Closed(4500, "Internal error"))
}

/// The errors of an answer that has nothing else.
fn errors_of(text: &str) -> Result<Box<RawValue>, Closed> {
    #[derive(Deserialize)]
    struct Answer {
        errors: Box<RawValue>,
    }
    let answer: Result<Answer, _> = serde_json::from_str(text);
    answer.map(|answer| answer.errors).map_err(|_| Closed(4500, "Internal error"))
}

/// Where a reader of server-sent events goes on.
#[derive(Debug, Clone, Copy)]
pub struct ResumeAfter(pub u64);

/// What `request` says as server-sent events, an answer an event. An answer that tells its position has
/// that as its id, so that a reader that comes back with `Last-Event-ID` goes on after it.
pub fn events(door: &GraphqlDoor, request: Request, headers: &HeaderMap) -> Response {
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok()?.parse().ok());
    let request = match last {
        Some(position) => request.data(ResumeAfter(position)),
        None => request,
    };
    let answers = door.schema.execute_stream(request).map(|answer| {
        let position = position_of(&answer.data);
        let event = Event::default().event("next").data(written(answer, None).0);
        match position {
            Some(position) => event.id(position),
            None => event,
        }
    });
    let end = futures_util::stream::once(async { Event::default().event("complete").data("") });
    let pulse = Arc::clone(&door.pulse);
    let open = pulse.traffic().subscribe();
    let (access, token) =
        (Arc::clone(&door.access), crate::api::bearer(headers).map(str::to_owned));
    let stops = async move {
        tokio::select! {
            () = pulse.stopping() => {}
            // A token that is good no longer follows nothing any more.
            () = access.ended(token.as_deref().unwrap_or_default()) => {}
        }
    };
    // A stream that is broken off is gone on with at the next server; one that ended is not.
    let all = answers.chain(end).take_until(Box::pin(stops)).map(move |event| {
        let _counted = &open;
        Ok::<_, Infallible>(event)
    });
    Sse::new(all).keep_alive(KeepAlive::new().interval(PING)).into_response()
}

/// The position that the one field of an answer tells.
fn position_of(data: &async_graphql::Value) -> Option<String> {
    use async_graphql::Value;
    let Value::Object(fields) = data else { return None };
    let Value::Object(field) = fields.values().next()? else { return None };
    match field.get("position")? {
        // Whatever else is asked for under this name is no position, and may be no line.
        Value::String(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => Some(text.clone()),
        _ => None,
    }
}
