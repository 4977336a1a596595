//! GraphQL over HTTP, as its specification says and no more: one operation a request, `GET` for queries
//! alone, no batches, no uploads. What is wrong with a request is an answer of the same form.

use std::sync::Arc;
use std::time::Duration;

use async_graphql::parser::types::{ExecutableDocument, OperationType};
use async_graphql::{Request, Response as Answer, ServerError, Variables};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, FromRequest as _, State, WebSocketUpgrade};
use axum::http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, UPGRADE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use serde::Serialize;
use serde_json::{Map, Value};

use super::live;
use super::services::Asking;
use super::{Schema, Services, schema};
use crate::api::access::{Access, Caller, Denied, Guard};
use crate::api::listening::Visitor;
use crate::app::App;
use crate::pulse::Pulse;

/// The route.
pub const ROUTE: &str = "/graphql";
/// A request: a document of some kilobytes, and a prompt among its variables.
const MAX_BODY_BYTES: usize = 1 << 20;
/// How long a request may be worked on.
const PATIENCE: Duration = Duration::from_secs(30);
/// By what a client and the server's log can speak of the same request.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the door needs.
#[derive(Clone)]
pub struct GraphqlDoor {
    pub schema: Schema,
    pub app: Arc<App>,
    pub access: Arc<Access>,
    /// Counts those who show no good token in a message.
    pub guard: Arc<Guard>,
    /// Counts live streams, and says when they have to end.
    pub pulse: Arc<Pulse>,
}

impl std::fmt::Debug for GraphqlDoor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GraphqlDoor").finish_non_exhaustive()
    }
}

impl GraphqlDoor {
    /// A door over `services`, for those whom `access` knows.
    pub fn new(
        services: Services,
        access: Arc<Access>,
        guard: Arc<Guard>,
        pulse: Arc<Pulse>,
    ) -> Self {
        let app = Arc::clone(&services.reception.control.app);
        Self { schema: schema(services), app, access, guard, pulse }
    }

    /// What a request of `caller` carries.
    pub(super) fn asking(&self, caller: &Arc<Caller>) -> Asking {
        Asking::new(Arc::clone(caller), Arc::clone(&self.app))
    }
}

/// The door's route: `POST`, `GET` for queries, WebSockets and server-sent events.
pub fn router(door: GraphqlDoor) -> Router {
    Router::new()
        .route(ROUTE, any(serve))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(door)
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Media {
    /// `application/graphql-response+json`: the status tells whether the request was one.
    Response,
    /// `application/json`: whatever is a GraphQL answer comes with 200.
    Json,
    /// `text/event-stream`: an answer an event.
    Events,
}

/// Why a request is none.
struct Bad {
    status: StatusCode,
    message: String,
    /// What a refused method is told to use.
    allow: Option<&'static str>,
}

impl Bad {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), allow: None }
    }

    fn request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }
}

async fn serve(State(door): State<GraphqlDoor>, request: axum::extract::Request) -> Response {
    let request_id = door.app.entropy().uuid_v7(door.app.clock().now()).to_string();
    let mut response = match is_websocket(request.headers()) {
        true => upgrade(door, request).await,
        false => answer(&door, request, &request_id).await,
    };
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

fn is_websocket(headers: &HeaderMap) -> bool {
    headers.get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// A WebSocket may show its token in a header, or later in its first message.
async fn upgrade(door: GraphqlDoor, request: axum::extract::Request) -> Response {
    let visitor = request.extensions().get::<Visitor>().cloned();
    let caller = match crate::api::bearer(request.headers()) {
        Some(token) => match door.access.authenticate(token) {
            Ok(caller) => Some((token.to_owned(), caller)),
            Err(denied) => return denied.into_response(),
        },
        None => None,
    };
    match WebSocketUpgrade::from_request(request, &()).await {
        Ok(upgrade) => live::accept(upgrade, door, caller, visitor),
        Err(refused) => refused.into_response(),
    }
}

async fn answer(door: &GraphqlDoor, request: axum::extract::Request, request_id: &str) -> Response {
    let headers = request.headers().clone();
    let caller = match authenticate(door, &headers) {
        Ok(caller) => Arc::new(caller),
        Err(denied) => return denied.into_response(),
    };
    let Some(media) = negotiate(&headers) else {
        let bad = Bad::new(
            StatusCode::NOT_ACCEPTABLE,
            "Accept application/graphql-response+json, application/json or text/event-stream.",
        );
        return refuse(Media::Json, &bad, request_id);
    };
    let mut asked = match read(request).await.and_then(|asked| permitted(asked, media)) {
        Ok(asked) => asked,
        Err(bad) => return refuse(media, &bad, request_id),
    };
    asked = asked.data(door.asking(&caller));
    if media == Media::Events {
        return live::events(door, asked, &headers);
    }
    let done = tokio::time::timeout(PATIENCE, door.schema.execute(asked)).await;
    let done = done.unwrap_or_else(|_| {
        let message = "The request took too long; ask for less at once.";
        Answer::from_errors(vec![ServerError::new(message, None)])
    });
    render(media, done, request_id)
}

fn authenticate(door: &GraphqlDoor, headers: &HeaderMap) -> Result<Caller, Denied> {
    door.access.identify(headers)
}

/// The way of writing that the client likes best among ours; nothing if it takes none of them.
fn negotiate(headers: &HeaderMap) -> Option<Media> {
    let mut accepted: Vec<(u16, Media)> = Vec::new();
    let mut has_any = false;
    for value in headers.get_all(ACCEPT) {
        for part in value.to_str().ok()?.split(',') {
            has_any = true;
            let mut pieces = part.split(';').map(str::trim);
            let media = match pieces.next()?.to_ascii_lowercase().as_str() {
                "application/graphql-response+json" => Media::Response,
                "application/json" | "application/*" | "*/*" => Media::Json,
                "text/event-stream" => Media::Events,
                _ => continue,
            };
            let quality =
                pieces.find_map(|piece| piece.strip_prefix("q=")).map_or(1_000, thousandths);
            if quality > 0 {
                accepted.push((quality, media));
            }
        }
    }
    if !has_any {
        return Some(Media::Json);
    }
    // Of those that are liked as well, the one that says most.
    let rank = |media: Media| match media {
        Media::Events => 2,
        Media::Response => 1,
        Media::Json => 0,
    };
    accepted.into_iter().max_by_key(|(quality, media)| (*quality, rank(*media))).map(|(_, m)| m)
}

/// A quality from 0 to 1 in thousandths; what is none counts as 1.
fn thousandths(text: &str) -> u16 {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let decimals = format!("{decimals:0<3}");
    match (whole, decimals.get(..3).and_then(|digits| digits.parse().ok())) {
        ("0", Some(thousandths)) => thousandths,
        _ => 1_000,
    }
}

/// The GraphQL request in an HTTP request.
async fn read(request: axum::extract::Request) -> Result<Request, Bad> {
    match *request.method() {
        Method::GET | Method::HEAD => {
            let mut asked = from_query(request.uri().query().unwrap_or_default())?;
            if operation(&mut asked) == Some(OperationType::Mutation) {
                let message = "GET is for queries; send a mutation with POST.";
                let bad = Bad::new(StatusCode::METHOD_NOT_ALLOWED, message);
                return Err(Bad { allow: Some("POST"), ..bad });
            }
            Ok(asked)
        }
        Method::POST => {
            let kind = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
            if !kind.is_some_and(is_json) {
                let message = "Send the request as application/json.";
                return Err(Bad::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
            }
            let body = Bytes::from_request(request, &()).await;
            from_body(&body.map_err(|error| Bad::new(error.status(), error.body_text()))?)
        }
        _ => {
            let bad = Bad::new(StatusCode::METHOD_NOT_ALLOWED, "Use POST, or GET for queries.");
            Err(Bad { allow: Some("GET, POST"), ..bad })
        }
    }
}

fn is_json(kind: &str) -> bool {
    let mut parts = kind.split(';').map(|part| part.trim().to_ascii_lowercase());
    parts.next().is_some_and(|media| media == "application/json")
        && parts.all(|part| match part.split_once('=') {
            Some(("charset", charset)) => charset.trim_matches('"') == "utf-8",
            Some(_) | None => true,
        })
}

fn from_body(body: &[u8]) -> Result<Request, Bad> {
    if body.is_empty() {
        return Err(Bad::request("The request has no body."));
    }
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| Bad::request(format!("The body is no JSON: {error}.")))?;
    match value {
        Value::Object(members) => from_members(members),
        Value::Array(_) => Err(Bad::request("Batches are not taken; send one request at a time.")),
        _ => Err(Bad::request("The body has to be a JSON object with `query`.")),
    }
}

fn from_query(query: &str) -> Result<Request, Bad> {
    let mut members = Map::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let value = match name.as_ref() {
            "variables" | "extensions" if !value.is_empty() => serde_json::from_str(&value)
                .map_err(|error| Bad::request(format!("`{name}` is no JSON: {error}.")))?,
            _ => Value::String(value.into_owned()),
        };
        members.insert(name.into_owned(), value);
    }
    from_members(members)
}

fn from_members(mut members: Map<String, Value>) -> Result<Request, Bad> {
    let query = match members.remove("query") {
        Some(Value::String(query)) if !query.trim().is_empty() => query,
        Some(Value::String(_)) | None | Some(Value::Null) => {
            return Err(Bad::request("The request has no `query`."));
        }
        Some(_) => return Err(Bad::request("`query` has to be a string.")),
    };
    let mut request = Request::new(query);
    match members.remove("operationName") {
        None | Some(Value::Null) => {}
        Some(Value::String(name)) if name.is_empty() => {}
        Some(Value::String(name)) => request = request.operation_name(name),
        Some(_) => return Err(Bad::request("`operationName` has to be a string.")),
    }
    match members.remove("variables") {
        None | Some(Value::Null) => {}
        Some(variables @ Value::Object(_)) => {
            request = request.variables(Variables::from_json(variables));
        }
        Some(Value::String(text)) if text.is_empty() => {}
        Some(_) => return Err(Bad::request("`variables` has to be an object.")),
    }
    match members.remove("extensions") {
        None | Some(Value::Null | Value::Object(_)) => Ok(request),
        Some(Value::String(text)) if text.is_empty() => Ok(request),
        Some(_) => Err(Bad::request("`extensions` has to be an object.")),
    }
}

/// What the request would do; nothing if that cannot be told, as its answer will say.
fn operation(request: &mut Request) -> Option<OperationType> {
    let name = request.operation_name.clone();
    let document: &ExecutableDocument = request.parsed_query().ok()?;
    let mut operations = document.operations.iter();
    let found = match name {
        Some(name) => operations.find(|(known, _)| known.is_some_and(|known| *known == name))?,
        None => operations.next()?,
    };
    Some(found.1.node.ty)
}

/// Subscriptions need a way on which more than one answer can come.
fn permitted(mut asked: Request, media: Media) -> Result<Request, Bad> {
    match operation(&mut asked) {
        Some(OperationType::Subscription) if media != Media::Events => Err(Bad::request(
            "Subscriptions come over a WebSocket, or as server-sent events: accept text/event-stream.",
        )),
        Some(_) | None => Ok(asked),
    }
}

/// An answer as its specification orders it: errors first, and no data where nothing was executed.
#[derive(Serialize)]
struct Written<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [ServerError],
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a async_graphql::Value>,
}

/// The answer's JSON, and whether the request was one.
pub(super) fn written(mut answer: Answer, request_id: Option<&str>) -> (String, bool) {
    let is_executed = answer.errors.iter().all(|error| !error.path.is_empty());
    for error in &mut answer.errors {
        let extensions = error.extensions.get_or_insert_default();
        if extensions.get("code").is_none() {
            extensions.set("code", if is_executed { "INTERNAL" } else { "BAD_REQUEST" });
        }
        if let Some(id) = request_id {
            extensions.set("requestId", id);
        }
    }
    let data = is_executed.then_some(&answer.data);
    let written = Written { errors: &answer.errors, data };
    let text = serde_json::to_string(&written).unwrap_or_else(|error| {
        tracing::error!(%error, "an answer could not be written");
        r#"{"errors":[{"message":"The answer could not be written."}]}"#.to_owned()
    });
    (text, is_executed)
}

fn render(media: Media, answer: Answer, request_id: &str) -> Response {
    let (text, is_executed) = written(answer, Some(request_id));
    let status = match (media, is_executed) {
        (Media::Response, false) => StatusCode::BAD_REQUEST,
        _ => StatusCode::OK,
    };
    respond(media, status, text)
}

fn refuse(media: Media, bad: &Bad, request_id: &str) -> Response {
    let answer = Answer::from_errors(vec![ServerError::new(&bad.message, None)]);
    let (text, _) = written(answer, Some(request_id));
    let mut response = respond(media, bad.status, text);
    if let Some(allow) = bad.allow {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    }
    response
}

fn respond(media: Media, status: StatusCode, text: String) -> Response {
    let kind = match media {
        Media::Response => "application/graphql-response+json; charset=utf-8",
        Media::Json | Media::Events => "application/json; charset=utf-8",
    };
    let headers = [(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-store")];
    (status, headers, Body::from(text)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepting(accept: &str) -> Option<Media> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_str(accept).unwrap());
        negotiate(&headers)
    }

    #[test]
    fn the_best_liked_way_of_writing_is_taken() {
        assert_eq!(negotiate(&HeaderMap::new()), Some(Media::Json));
        for (accept, media) in [
            ("*/*", Some(Media::Json)),
            ("application/json", Some(Media::Json)),
            ("application/graphql-response+json, application/json;q=0.9", Some(Media::Response)),
            ("application/graphql-response+json;q=0.1, application/json", Some(Media::Json)),
            ("text/event-stream", Some(Media::Events)),
            ("text/html", None),
            ("application/json;q=0", None),
        ] {
            assert_eq!(accepting(accept), media, "{accept}");
        }
    }

    #[test]
    fn what_is_no_request_is_said_to_be_none() {
        let bad = |body: &str| from_body(body.as_bytes()).err().map(|bad| bad.status.as_u16());
        assert_eq!(bad(r#"{"query":"{ a }","variables":{"a":1},"extensions":{}}"#), None);
        for body in [
            "",
            "[]",
            "1",
            "{",
            "{}",
            r#"{"query":1}"#,
            r#"{"query":"{a}","operationName":1}"#,
            r#"{"query":"{a}","variables":[]}"#,
            r#"{"query":"{a}","extensions":"x"}"#,
        ] {
            assert_eq!(bad(body), Some(400), "{body}");
        }
    }
}
