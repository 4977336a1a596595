//! A real git server on loopback: `git http-backend`, a CGI program, behind a small bridge that can
//! ask for a token, send people elsewhere, and spoil what it sends. Knows nothing of our client.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, Uri};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::oneshot;

/// What a server does other than to answer.
#[derive(Debug, Clone)]
pub enum Fault {
    Status(u16),
    Redirect(String),
    /// A page of HTML with status 200.
    Page,
    /// Silence after so many bytes of the pack.
    Stall(usize),
    /// A byte of the answer every few milliseconds, so that it is never silent.
    Dribble(Duration),
    /// Ends well after so many bytes.
    Truncate(usize),
    /// Breaks off after so many bytes of the promised length.
    Cut(usize),
    /// Another byte at so far from the pack's start, or without a pack, from the answer's end.
    Corrupt(usize),
    /// These bytes in place of the answer.
    Say(Vec<u8>),
}

/// When a fault shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Asked which branches there are.
    Refs,
    /// Asked for commits, before any is sent.
    Want,
    /// Once a pack is in the answer.
    Pack,
}

/// One request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub method: String,
    pub target: String,
    pub authorization: Option<String>,
}

#[derive(Default)]
struct Shared {
    root: PathBuf,
    token: Mutex<Option<String>>,
    faults: Mutex<VecDeque<(At, Fault)>>,
    seen: Mutex<Vec<Seen>>,
    sent: Mutex<usize>,
}

pub struct Server {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    /// Serves the repositories below `root`.
    pub fn start(root: &Path) -> Self {
        let shared = Arc::new(Shared { root: root.to_owned(), ..Shared::default() });
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let state = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                let router = Router::new().fallback(answer).with_state(state);
                tokio::select! {
                    served = axum::serve(listener, router).into_future() => served.unwrap(),
                    _ = stopped => {}
                }
            });
        });
        let address = told.recv().unwrap();
        Self { address, shared, stop: Some(stop), thread: Some(thread) }
    }

    /// As `allowed_hosts` names it.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    pub fn url(&self, repository: &str) -> String {
        format!("http://{}/{repository}", self.address)
    }

    pub fn require(&self, token: &str) {
        *self.shared.token.lock().unwrap() = Some(token.to_owned());
    }

    /// Spoils one answer; several are spoiled in turn.
    pub fn spoil(&self, at: At, fault: Fault) {
        self.shared.faults.lock().unwrap().push_back((at, fault));
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// Bytes of all answers so far.
    pub fn sent(&self) -> usize {
        *self.shared.sent.lock().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let authorization = headers
        .get("authorization")
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    shared.seen.lock().unwrap().push(Seen {
        method: method.to_string(),
        target: uri.to_string(),
        authorization: authorization.clone(),
    });
    let user = {
        let token = shared.token.lock().unwrap();
        match &*token {
            Some(token) if !is_right(authorization.as_deref(), token) => {
                return Response::builder()
                    .status(401)
                    .header("www-authenticate", "Basic realm=\"git\"")
                    .body(Body::from("no"))
                    .unwrap();
            }
            Some(_) => Some("x-access-token"),
            None => None,
        }
    };
    let here = if method == Method::POST { At::Want } else { At::Refs };
    let plain = |status: u16| Response::builder().status(status);
    match shared.due(here) {
        Some(Fault::Status(status)) => return plain(status).body(Body::empty()).unwrap(),
        Some(Fault::Redirect(to)) => {
            return plain(301).header("location", to).body(Body::empty()).unwrap();
        }
        Some(Fault::Page) => {
            return plain(200).header("content-type", "text/html").body("<p>hi".into()).unwrap();
        }
        Some(fault) => {
            let (builder, said) =
                cgi(git_for(&shared, &method, &uri, &headers, &body, user), &body).await;
            return spoiled(builder, said, Some(&fault));
        }
        None => {}
    }
    let (builder, said) = cgi(git_for(&shared, &method, &uri, &headers, &body, user), &body).await;
    *shared.sent.lock().unwrap() += said.len();
    let has_pack = said.windows(4).any(|four| four == b"PACK");
    let fault = if has_pack { shared.due(At::Pack) } else { None };
    spoiled(builder, said, fault.as_ref())
}

impl Shared {
    /// The next fault, if it shows here.
    fn due(&self, here: At) -> Option<Fault> {
        let mut faults = self.faults.lock().unwrap();
        let is_due = faults.front().is_some_and(|(at, _)| *at == here);
        if is_due { faults.pop_front().map(|(_, fault)| fault) } else { None }
    }
}

/// The CGI program with what it is told of a request.
fn git_for(
    shared: &Shared,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: &Bytes,
    user: Option<&str>,
) -> Command {
    let mut git = Command::new("git");
    git.arg("http-backend")
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", &shared.root)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_PROJECT_ROOT", &shared.root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REMOTE_ADDR", "127.0.0.1")
        .env("REQUEST_METHOD", method.as_str())
        .env("PATH_INFO", uri.path())
        .env("QUERY_STRING", uri.query().unwrap_or_default())
        .env("CONTENT_LENGTH", body.len().to_string());
    for (name, header_name) in [
        ("CONTENT_TYPE", "content-type"),
        ("HTTP_CONTENT_ENCODING", "content-encoding"),
        ("GIT_PROTOCOL", "git-protocol"),
    ] {
        if let Some(value) = headers.get(header_name) {
            git.env(name, value.to_str().unwrap());
        }
    }
    if let Some(user) = user {
        git.env("REMOTE_USER", user);
    }
    git
}

fn is_right(authorization: Option<&str>, token: &str) -> bool {
    let Some((scheme, value)) = authorization.and_then(|text| text.split_once(' ')) else {
        return false;
    };
    match scheme {
        "Bearer" => value == token,
        "Basic" => STANDARD
            .decode(value)
            .is_ok_and(|pair| pair == format!("x-access-token:{token}").into_bytes()),
        _ => false,
    }
}

/// Runs a CGI program to its end: its status and headers, and its body.
async fn cgi(mut program: Command, body: &[u8]) -> (axum::http::response::Builder, Vec<u8>) {
    let mut child =
        program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let write = async move {
        // It may have read enough and gone.
        let _ = stdin.write_all(body).await;
    };
    let (output, ()) = tokio::join!(child.wait_with_output(), write);
    let output = output.unwrap().stdout;
    let end = output.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(output.len() - 4);
    let mut builder = Response::builder();
    for line in String::from_utf8_lossy(&output[..end]).lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        if name.eq_ignore_ascii_case("status") {
            builder = builder.status(value[..3].parse::<u16>().unwrap());
        } else {
            builder = builder.header(name, value);
        }
    }
    (builder, output[end + 4..].to_vec())
}

/// The answer as it is sent.
fn spoiled(
    builder: axum::http::response::Builder,
    mut body: Vec<u8>,
    fault: Option<&Fault>,
) -> Response<Body> {
    let body = match fault {
        Some(Fault::Truncate(at)) => {
            body.truncate(*at);
            Body::from(body)
        }
        Some(Fault::Corrupt(at)) => {
            let pack = body.windows(4).position(|four| four == b"PACK");
            let place = pack.map_or(body.len() - at, |start| start + at);
            body[place] ^= 0x55;
            Body::from(body)
        }
        Some(Fault::Stall(at)) => {
            body.truncate(*at);
            let first = stream::iter([Ok::<_, Infallible>(Bytes::from(body))]);
            Body::from_stream(futures_util::StreamExt::chain(first, stream::pending()))
        }
        Some(Fault::Cut(at)) => {
            body.truncate(*at);
            let pieces = [Ok(Bytes::from(body)), Err(std::io::Error::other("cut"))];
            Body::from_stream(stream::iter(pieces))
        }
        Some(Fault::Dribble(pause)) => {
            let pause = *pause;
            Body::from_stream(stream::unfold((body, 0), move |(body, at)| async move {
                tokio::time::sleep(pause).await;
                let byte = Bytes::copy_from_slice(body.get(at..=at)?);
                Some((Ok::<_, Infallible>(byte), (body, at + 1)))
            }))
        }
        Some(Fault::Say(bytes)) => Body::from(bytes.clone()),
        _ => Body::from(body),
    };
    builder.body(body).unwrap()
}
