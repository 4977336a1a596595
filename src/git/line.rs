//! One conversation with the host of one repository, over HTTP: a deadline holds at every byte, no
//! redirect is followed, and a token goes to that host only. Knows nothing of git but its addresses.

use std::error::Error as _;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue, LOCATION, USER_AGENT};
use reqwest::{Method, Response, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

/// How long a host may take to answer a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// The longest silence of a host; one that is at work on a pack says so every few seconds.
const SILENCE: Duration = Duration::from_secs(20);
/// Hosts know git's programs by how this begins.
const AGENT: &str = concat!("git/2.0 (cody-batch ", env!("CARGO_PKG_VERSION"), ")");

/// Why a host gave nothing of use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// It wants a token, and there is none for it.
    TokenNeeded,
    /// It refuses the token.
    TokenRefused,
    NotFound,
    /// It points to another place, which is not asked.
    Moved(String),
    TooMuch(u64),
    TooSlow(Duration),
    /// Its answer is no git, and will not be at another time.
    NotGit(String),
    /// Nobody that this machine trusts vouches for it.
    Distrusted(String),
    /// It cannot be reached, or broke off.
    Away(String),
}

/// What one conversation with a host may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowance {
    pub bytes: u64,
    pub duration: Duration,
}

/// One conversation with the host of one repository.
pub(super) struct Line {
    pub(super) url: Url,
    token: Option<SecretString>,
    /// The host asked for the token, so that it goes with every further request.
    is_asked: AtomicBool,
    allowance: Allowance,
    deadline: Instant,
    received: AtomicU64,
    failure: Mutex<Option<Failure>>,
    http: reqwest::Client,
    /// Always there, until it is dropped.
    runtime: Option<tokio::runtime::Runtime>,
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Without this, a name server that does not answer would hold us up after the deadline.
            runtime.shutdown_background();
        }
    }
}

impl Line {
    /// Opens nothing yet. `token` is for the host of `url` alone.
    pub fn new(
        url: &Url,
        token: Option<&SecretString>,
        allowance: Allowance,
    ) -> Result<Arc<Self>, Failure> {
        // The second to install a provider is told so; either serves.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let away = |error: String| Failure::Away(error);
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(|error| away(error.to_string()))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| away(error.to_string()))?;
        Ok(Arc::new(Self {
            url: url.clone(),
            token: token.filter(|token| !token.expose_secret().is_empty()).cloned(),
            is_asked: AtomicBool::new(false),
            allowance,
            deadline: Instant::now() + allowance.duration,
            received: AtomicU64::new(0),
            failure: Mutex::new(None),
            http,
            runtime: Some(runtime),
        }))
    }

    /// Why it failed, if the line is to blame.
    pub fn failure(&self) -> Option<Failure> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether there is time left; libgit2 asks while it works on what it has received.
    pub fn has_time(&self) -> bool {
        let has_time = Instant::now() < self.deadline;
        if !has_time {
            self.fail(Failure::TooSlow(self.allowance.duration));
        }
        has_time
    }

    /// `text` of a host, fit for a message: short, of one line, and without the token.
    pub fn fit(&self, text: &str) -> String {
        let mut text = text.to_owned();
        if let Some(token) = &self.token {
            text = text.replace(token.expose_secret(), "…");
        }
        text.chars().filter(|c| !c.is_control()).take(200).collect()
    }

    fn fail(&self, failure: Failure) -> io::Error {
        let mut kept = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get_or_insert(failure);
        io::Error::other("the line to the host failed")
    }

    /// Waits for `step`, but neither past the deadline nor through a long silence.
    fn wait<T>(&self, step: impl Future<Output = reqwest::Result<T>>) -> io::Result<T> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        // The timer must be made inside of the runtime.
        let timed = async { tokio::time::timeout(left.min(SILENCE), step).await };
        let Some(runtime) = &self.runtime else {
            return Err(self.fail(Failure::Away("the line is closed".to_owned())));
        };
        match runtime.block_on(timed) {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => {
                let is_distrusted = is_distrusted(&error);
                let what = self.fit(&chain(error));
                Err(self.fail(if is_distrusted {
                    Failure::Distrusted(what)
                } else {
                    Failure::Away(what)
                }))
            }
            Err(_) if left < SILENCE => Err(self.fail(Failure::TooSlow(self.allowance.duration))),
            Err(_) => {
                let what = format!("it was silent for {} s", SILENCE.as_secs());
                Err(self.fail(Failure::Away(what)))
            }
        }
    }

    /// The next piece of an answer; nothing at its end.
    pub fn piece(&self, answer: &mut Response) -> io::Result<Option<Bytes>> {
        let piece = self.wait(answer.chunk())?;
        let length = piece.as_ref().map_or(0, Bytes::len) as u64;
        let received = self.received.fetch_add(length, Ordering::Relaxed).saturating_add(length);
        if received > self.allowance.bytes {
            return Err(self.fail(Failure::TooMuch(self.allowance.bytes)));
        }
        Ok(piece)
    }

    /// One request, and once more with the token if the host asks for one.
    pub fn request(&self, ask: &Ask, body: &Bytes) -> io::Result<Response> {
        loop {
            let is_presented = self.is_asked.load(Ordering::Relaxed);
            let mut request = self
                .http
                .request(ask.method.clone(), ask.url.clone())
                .header(USER_AGENT, AGENT)
                .header(ACCEPT, ask.expected);
            if let Some(sent) = ask.sent {
                request = request.header(CONTENT_TYPE, sent).body(body.clone());
            }
            if let (true, Some(token)) = (is_presented, &self.token) {
                request = request.basic_auth("x-access-token", Some(token.expose_secret()));
            }
            let answer = self.wait(request.send())?;
            if answer.status() == StatusCode::UNAUTHORIZED && !is_presented && self.token.is_some()
            {
                self.is_asked.store(true, Ordering::Relaxed);
                continue;
            }
            return match self.refusal(&answer, ask, is_presented) {
                Some(failure) => Err(self.fail(failure)),
                None => Ok(answer),
            };
        }
    }

    fn refusal(&self, answer: &Response, ask: &Ask, is_presented: bool) -> Option<Failure> {
        let status = answer.status();
        match status {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if is_presented => {
                return Some(Failure::TokenRefused);
            }
            StatusCode::UNAUTHORIZED => return Some(Failure::TokenNeeded),
            StatusCode::NOT_FOUND | StatusCode::GONE => return Some(Failure::NotFound),
            _ if status.is_redirection() => {
                let location = answer.headers().get(LOCATION);
                return Some(Failure::Moved(self.place(location)));
            }
            _ if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                return Some(Failure::Away(format!("it answered {status}")));
            }
            _ => return Some(Failure::NotGit(format!("it answered {status}"))),
        }
        let kind = answer.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        (kind != Some(ask.expected.as_bytes())).then(|| {
            Failure::NotGit("what it answered is no git; is this a repository's address?".into())
        })
    }

    /// Where a redirect leads, without what may be a secret.
    fn place(&self, location: Option<&HeaderValue>) -> String {
        let to = location
            .and_then(|location| location.to_str().ok())
            .and_then(|location| self.url.join(location).ok());
        let Some(mut to) = to else { return "an unnamed place".to_owned() };
        to.set_query(None);
        to.set_fragment(None);
        if to.set_username("").is_err() || to.set_password(None).is_err() {
            return "an unnamed place".to_owned();
        }
        let text = self.fit(to.as_str());
        let text = text.trim_end_matches("/info/refs").trim_end_matches("/git-upload-pack");
        text.trim_end_matches(".git").to_owned()
    }
}

/// What is asked of a host.
pub(super) struct Ask {
    pub method: Method,
    pub url: Url,
    /// The content type of the request's body, if it has one.
    pub sent: Option<&'static str>,
    /// The content type of a good answer.
    pub expected: &'static str,
}

/// Whether a certificate is to blame, somewhere below.
fn is_distrusted(error: &reqwest::Error) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = error.source();
    while let Some(error) = next {
        if matches!(error.downcast_ref(), Some(rustls::Error::InvalidCertificate(_))) {
            return true;
        }
        // An error in an error of the file system is no source of it.
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    false
}

/// An error and what lies below it, without the address.
fn chain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(below) = source {
        text = format!("{text}: {below}");
        source = below.source();
    }
    text
}
