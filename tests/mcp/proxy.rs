//! What stands before a server for programs that cannot show a token: it adds one to each request, and
//! passes everything else on as it came, both ways, while it comes.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use axum::response::Response;

/// A proxy, ended with its test.
pub struct Proxy {
    pub url: String,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

struct Behind {
    url: String,
    token: String,
    http: reqwest::Client,
}

impl Proxy {
    /// A proxy before the server at `url`.
    pub async fn new(url: &str, token: &str) -> Self {
        let http = super::harness::http();
        let behind = Arc::new(Behind { url: url.to_owned(), token: token.to_owned(), http });
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", socket.local_addr().unwrap());
        let doors = Router::new().fallback(pass).with_state(behind);
        let serving = tokio::spawn(async move { axum::serve(socket, doors).await.unwrap() });
        Self { url, serving }
    }
}

async fn pass(State(behind): State<Arc<Behind>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 16 << 20).await.unwrap();
    let path = parts.uri.path_and_query().unwrap().as_str();
    let mut headers = parts.headers;
    headers.remove(CONTENT_LENGTH);
    headers.remove(CONNECTION);
    headers.insert(AUTHORIZATION, format!("Bearer {}", behind.token).parse().unwrap());
    let asked = behind.http.request(parts.method, format!("{}{path}", behind.url));
    let answer = asked.headers(headers).body(body).send().await.unwrap();
    let mut response = Response::new(Body::empty());
    *response.status_mut() = answer.status();
    *response.headers_mut() = answer.headers().clone();
    response.headers_mut().remove(TRANSFER_ENCODING);
    response.headers_mut().remove(CONTENT_LENGTH);
    *response.body_mut() = Body::from_stream(answer.bytes_stream());
    response
}
