//! git's own server, `git http-backend`, behind a small bridge on loopback: what it says on the wire
//! is what a host says, in a stream, however large it is. It may want a token.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use futures_util::stream;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdout, Command};

/// A host with repositories.
pub struct GitServer {
    pub root: TempDir,
    pub host: String,
    shared: Arc<Shared>,
}

struct Shared {
    root: PathBuf,
    token: Option<String>,
    /// Every `authorization` that came.
    credentials: Mutex<Vec<String>>,
}

impl GitServer {
    /// Starts a host; with `token`, only who shows it is let in.
    pub async fn start(token: Option<&str>) -> Self {
        let root = tempfile::tempdir().unwrap();
        let shared = Arc::new(Shared {
            root: root.path().to_owned(),
            token: token.map(str::to_owned),
            credentials: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { root, host, shared }
    }

    /// Where the bare repository `owner/name` is kept.
    pub fn place(&self, path: &str) -> PathBuf {
        self.root.path().join(format!("{path}.git"))
    }

    /// Offers a copy of the repository at `source` as `owner/name`.
    pub fn offer(&self, source: &Path, path: &str) {
        let place = self.place(path);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        let cloned = std::process::Command::new("git")
            .args(["clone", "-q", "--bare", "--no-hardlinks"])
            .args([source, &place])
            .status()
            .unwrap();
        assert!(cloned.success());
    }

    /// Offers the bare repository at `source` itself as `owner/name`.
    pub fn adopt(&self, source: &Path, path: &str) {
        let place = self.place(path);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(source, place).unwrap();
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.host)
    }

    pub fn credentials(&self) -> Vec<String> {
        self.shared.credentials.lock().unwrap().clone()
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    match authorise(&shared, request.headers()) {
        Some(refusal) => refusal,
        None => backend(&shared.root, request).await,
    }
}

fn plain(status: StatusCode, headers: &[(&str, &str)]) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        response.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
    }
    response
}

/// As GitHub: any user name, with the token as the password.
fn authorise(shared: &Shared, headers: &HeaderMap) -> Option<Response> {
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if let Some(shown) = shown {
        shared.credentials.lock().unwrap().push(shown.to_owned());
    }
    let token = shared.token.as_ref()?;
    let expected =
        base64::engine::general_purpose::STANDARD.encode(format!("x-access-token:{token}"));
    if shown.and_then(|shown| shown.strip_prefix("Basic ")) == Some(expected.as_str()) {
        return None;
    }
    Some(plain(StatusCode::UNAUTHORIZED, &[("www-authenticate", "Basic realm=\"git\"")]))
}

async fn backend(root: &Path, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let header = |name: HeaderName| {
        parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    };
    let mut child = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", parts.method.as_str())
        .env("PATH_INFO", parts.uri.path())
        .env("QUERY_STRING", parts.uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", header(header::CONTENT_TYPE))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header(header::CONTENT_ENCODING))
        .env("GIT_PROTOCOL", header(HeaderName::from_static("git-protocol")))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    tokio::spawn(async move {
        // A backend that answers early does not read all.
        let _ = input.write_all(&body).await;
    });
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut response = plain(StatusCode::OK, &[]);
    let mut line = String::new();
    while output.read_line(&mut line).await.unwrap() > 0 && line.trim() != "" {
        let (name, value) = line.trim().split_once(": ").unwrap();
        if name.eq_ignore_ascii_case("status") {
            let code = value.split(' ').next().unwrap();
            *response.status_mut() = code.parse().unwrap();
        } else {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            response.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
        }
        line.clear();
    }
    *response.body_mut() = Body::from_stream(relay(child, output));
    response
}

/// What the backend prints, as it prints it.
fn relay(
    child: Child,
    output: BufReader<ChildStdout>,
) -> impl stream::Stream<Item = std::io::Result<Bytes>> {
    stream::unfold((child, output), async |(child, mut output)| {
        let mut buffer = vec![0; 1 << 16];
        let read = output.read(&mut buffer).await.unwrap();
        buffer.truncate(read);
        (read > 0).then(|| (Ok(Bytes::from(buffer)), (child, output)))
    })
}
