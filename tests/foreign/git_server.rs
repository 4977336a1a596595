//! git's own server, `git http-backend`, behind a small bridge on loopback: what it says on the wire
//! is what a host says. Between it and the client stand, if a test wants them, a token and faults.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

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

/// What goes wrong on the way.
#[derive(Debug, Clone, Default)]
pub enum Fault {
    #[default]
    None,
    /// Every answer sends the client elsewhere.
    Redirect(String),
    /// A pack stops coming after so many bytes, and the connection stays open.
    Stall(usize),
    /// A pack ends after so many bytes.
    Truncate(usize),
    /// One byte of a pack is another, so many bytes in.
    Corrupt(usize),
    /// Every answer is this status.
    Status(u16),
}

/// A host with repositories.
pub struct GitServer {
    pub root: TempDir,
    pub host: String,
    shared: Arc<Shared>,
}

struct Shared {
    root: PathBuf,
    token: Option<String>,
    fault: Mutex<Fault>,
    requests: AtomicUsize,
    /// Every `authorization` that came.
    credentials: Mutex<Vec<String>>,
    /// Bytes of packs that were sent.
    sent: AtomicUsize,
}

impl GitServer {
    /// Starts a host; with `token`, only who shows it is let in.
    pub async fn start(token: Option<&str>) -> Self {
        let root = tempfile::tempdir().unwrap();
        let shared = Arc::new(Shared {
            root: root.path().to_owned(),
            token: token.map(str::to_owned),
            fault: Mutex::default(),
            requests: AtomicUsize::new(0),
            credentials: Mutex::default(),
            sent: AtomicUsize::new(0),
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

    pub fn fail(&self, fault: Fault) {
        *self.shared.fault.lock().unwrap() = fault;
    }

    pub fn request_count(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }

    pub fn sent_bytes(&self) -> usize {
        self.shared.sent.load(Ordering::SeqCst)
    }

    pub fn credentials(&self) -> Vec<String> {
        self.shared.credentials.lock().unwrap().clone()
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    shared.requests.fetch_add(1, Ordering::SeqCst);
    let fault = shared.fault.lock().unwrap().clone();
    match &fault {
        Fault::Redirect(to) => {
            let to = format!("{to}{}", request.uri());
            return plain(StatusCode::MOVED_PERMANENTLY, &[("location", &to)]);
        }
        Fault::Status(status) => return plain(StatusCode::from_u16(*status).unwrap(), &[]),
        Fault::None | Fault::Stall(_) | Fault::Truncate(_) | Fault::Corrupt(_) => {}
    }
    if let Some(refusal) = authorise(&shared, request.headers()) {
        return refusal;
    }
    backend(&shared, request, fault).await
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

async fn backend(shared: &Arc<Shared>, request: Request, fault: Fault) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let header = |name: HeaderName| {
        parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    };
    let mut child = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", &shared.root)
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
    let is_pack = parts.uri.path().ends_with("/git-upload-pack");
    let fault = if is_pack { fault } else { Fault::None };
    *response.body_mut() =
        Body::from_stream(relay(is_pack.then(|| Arc::clone(shared)), child, output, fault));
    response
}

/// What the backend prints, with the fault that a test asked for.
fn relay(
    counted: Option<Arc<Shared>>,
    child: Child,
    output: BufReader<ChildStdout>,
    fault: Fault,
) -> impl stream::Stream<Item = std::io::Result<Bytes>> {
    stream::unfold((child, output, 0_usize), move |(child, mut output, sent)| {
        let (counted, fault) = (counted.clone(), fault.clone());
        async move {
            let mut buffer = vec![0; 1 << 16];
            let read = output.read(&mut buffer).await.unwrap();
            buffer.truncate(read);
            match fault {
                Fault::Stall(after) if sent + read > after => {
                    tokio::time::sleep(Duration::from_secs(3_600)).await;
                }
                Fault::Truncate(after) if sent + read > after => {
                    buffer.truncate(after.saturating_sub(sent));
                    if buffer.is_empty() {
                        return None;
                    }
                }
                Fault::Corrupt(at) if (sent..sent + read).contains(&at) => {
                    buffer[at - sent] ^= 0x55
                }
                _ => {}
            }
            if read == 0 {
                return None;
            }
            if let Some(shared) = counted {
                shared.sent.fetch_add(buffer.len(), Ordering::SeqCst);
            }
            Some((Ok(Bytes::from(buffer)), (child, output, sent + read)))
        }
    })
}
