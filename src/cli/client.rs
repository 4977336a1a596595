//! The other end of a server's doors for the command line: what it asks, over HTTP, of the server
//! beside it or of one far away.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::desk::person;
use crate::api::access::ACTOR_HEADER;
use crate::api::control::{Done, Letter, ROUTE, Wish};
use crate::api::reading::{self, Question};
use crate::job::Rejection;
use crate::store::MAX_PAYLOAD_BYTES;
use crate::wire::{Refusal, Secret};

/// How long a server may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long an answer may come that ends when who asked has enough.
const NO_END: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// The most bytes of an answer: one large payload, written as JSON.
const MAX_ANSWER_BYTES: usize = 2 * MAX_PAYLOAD_BYTES;
/// How often a job is asked for whose answer did not come; the server makes it once.
const CREATE_TRIES: u32 = 3;
/// How long it is waited between.
const CREATE_PAUSE: Duration = Duration::from_secs(1);

/// Asks one server.
#[derive(Debug, Clone)]
pub struct Client {
    url: String,
    token: Secret,
    http: reqwest::Client,
}

/// Why a server did not do what it was asked. A no of the rules is a [`Rejection`] instead.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("`{0}` is no address of a server; write it as https://cody.example.org")]
    BadUrl(String),
    #[error(
        "the server at {0} asks for a token: set CODY_TOKEN to one that `cody-batch token create` made there"
    )]
    NoToken(String),
    #[error("this verb is about the machine on which it is typed; leave out --server")]
    NotThere,
    #[error(
        "the server at {url} does not answer; see whether it runs, and whether this is its address"
    )]
    Silent {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    /// Proxies say so while the server behind them is on its way back.
    #[error("what stands before the server at {url} says {status}; the server may be away")]
    Away { url: String, status: reqwest::StatusCode },
    /// A wish was sent, and no answer came.
    #[error(
        "the server at {0} did not say what became of it: it may be done all the same; look there before you ask again"
    )]
    Unheard(String, #[source] Box<ClientError>),
    /// It does not know the token, or the token may not do this.
    #[error("{0}")]
    Denied(String),
    #[error("the server at {url} could not do it: {message}")]
    Failed { url: String, message: String, is_passing: bool },
    #[error(
        "what answers at {url} is no server of Cody Batch {version}, which this command line is: {why}",
        version = env!("CARGO_PKG_VERSION")
    )]
    Strange { url: String, why: String },
}

impl ClientError {
    /// Whether other words on the command line, or in the environment, would have helped.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::BadUrl(_) | Self::NoToken(_) | Self::NotThere | Self::Denied(_) => true,
            Self::Silent { .. }
            | Self::Away { .. }
            | Self::Unheard(..)
            | Self::Failed { .. }
            | Self::Strange { .. } => false,
        }
    }

    /// Whether another time would do.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Silent { .. } | Self::Away { .. } => true,
            Self::Failed { is_passing, .. } => *is_passing,
            Self::BadUrl(_)
            | Self::Unheard(..)
            | Self::NoToken(_)
            | Self::NotThere
            | Self::Denied(_)
            | Self::Strange { .. } => false,
        }
    }

    /// Whether a server may have taken what was sent, and did not say so.
    fn is_unheard(&self) -> bool {
        match self {
            Self::Silent { source, .. } => !source.is_connect() && !source.is_builder(),
            // What stands before it may have passed it on.
            Self::Away { .. } => true,
            Self::BadUrl(_)
            | Self::NoToken(_)
            | Self::NotThere
            | Self::Unheard(..)
            | Self::Denied(_)
            | Self::Failed { .. }
            | Self::Strange { .. } => false,
        }
    }
}

impl Client {
    /// A client of the server at `url`, by `token`.
    pub fn new(url: &str, token: Secret) -> Result<Self, ClientError> {
        let bad = || ClientError::BadUrl(url.to_owned());
        let parsed: reqwest::Url = url.parse().map_err(|_| bad())?;
        let is_web = matches!(parsed.scheme(), "http" | "https") && parsed.has_host();
        if !is_web || !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(bad());
        }
        let mut builder = reqwest::Client::builder()
            // A redirect would take the token, and the wish, to somebody else.
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .timeout(PATIENCE);
        if is_loopback(&parsed) {
            builder = builder.no_proxy();
        }
        let http = builder
            .build()
            .map_err(|source| ClientError::Silent { url: url.to_owned(), source })?;
        let url = parsed.as_str().trim_end_matches('/').to_owned();
        Ok(Self { url, token, http })
    }

    /// Where the server listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether the server is on this machine.
    pub fn is_near(&self) -> bool {
        self.url.parse().is_ok_and(|url| is_loopback(&url))
    }

    /// Whether what is said can be heard on the way.
    pub fn is_overheard(&self) -> bool {
        self.url.starts_with("http://") && !self.is_near()
    }

    /// Has it carry out `wish`.
    pub async fn ask(&self, wish: Wish) -> Result<Done, anyhow::Error> {
        let tries = if matches!(wish, Wish::Create { .. }) { CREATE_TRIES } else { 1 };
        let letter = Letter { actor: person().actor, wish };
        let (mut left, mut is_unheard) = (tries, false);
        loop {
            left -= 1;
            let error = match self.post(ROUTE, &letter).await {
                Ok(done) => return Ok(done),
                Err(error) => error.downcast::<ClientError>()?,
            };
            is_unheard |= error.is_unheard();
            match error {
                ClientError::Silent { .. } | ClientError::Away { .. } if left > 0 => {
                    tokio::time::sleep(CREATE_PAUSE).await;
                }
                error if is_unheard => {
                    return Err(ClientError::Unheard(self.url.clone(), error.into()).into());
                }
                error => return Err(error.into()),
            }
        }
    }

    /// What it answers to `question`.
    pub async fn answer<A: DeserializeOwned>(
        &self,
        question: &Question,
    ) -> Result<A, anyhow::Error> {
        self.post(reading::ROUTE, question).await
    }

    /// Reads what is at `route`.
    pub async fn get<A: DeserializeOwned>(&self, route: &str) -> Result<A, anyhow::Error> {
        self.send(self.http.get(format!("{}{route}", self.url))).await
    }

    /// Posts `message` to `route`.
    pub async fn post<M: Serialize, A: DeserializeOwned>(
        &self,
        route: &str,
        message: &M,
    ) -> Result<A, anyhow::Error> {
        self.send(self.http.post(format!("{}{route}", self.url)).json(message)).await
    }

    /// A request that posts to `route`, and whose answer may come for as long as there is something to
    /// say.
    pub fn open(&self, route: &str) -> reqwest::RequestBuilder {
        let request = self.http.post(format!("{}{route}", self.url)).timeout(NO_END);
        request.bearer_auth(self.token.expose()).header(ACTOR_HEADER, name_in_header())
    }

    async fn send<A: DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<A, anyhow::Error> {
        let request = request.bearer_auth(self.token.expose());
        let silent = |source| ClientError::Silent { url: self.url.clone(), source };
        let mut answer =
            request.header(ACTOR_HEADER, name_in_header()).send().await.map_err(silent)?;
        let status = answer.status();
        let strange = |why: String| ClientError::Strange { url: self.url.clone(), why };
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(silent)? {
            if body.len() + piece.len() > MAX_ANSWER_BYTES {
                return Err(strange(format!("its answer is over {MAX_ANSWER_BYTES} bytes")).into());
            }
            body.extend_from_slice(&piece);
        }
        if status.is_success() {
            return Ok(serde_json::from_slice(&body).map_err(|error| strange(error.to_string()))?);
        }
        if let Ok(no) = serde_json::from_slice::<Rejection>(&body) {
            return Err(no.into());
        }
        let Ok(Refusal { message, .. }) = serde_json::from_slice::<Refusal>(&body) else {
            return Err(match status.as_u16() {
                502..=504 => ClientError::Away { url: self.url.clone(), status },
                _ => strange(format!("it says {status}")),
            }
            .into());
        };
        Err(match status.as_u16() {
            401 | 403 => ClientError::Denied(message),
            status => {
                let is_passing = matches!(status, 408 | 429 | 502..=504);
                ClientError::Failed { url: self.url.clone(), message, is_passing }
            }
        }
        .into())
    }
}

/// Whoever sits here, as a header can say it.
fn name_in_header() -> String {
    let plain = |c: char| if matches!(c, ' '..='~') { c } else { '?' };
    person().actor.chars().map(plain).collect()
}

fn is_loopback(url: &reqwest::Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use cody_events::ids::JobId;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::plan::JobRequest;

    /// A server that answers every request with this, or hangs up without a word; and how many it had.
    pub async fn stranger(answer: Option<(u16, &str)>) -> (Client, Arc<AtomicUsize>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answer = answer.map(|(status, body)| {
            let length = body.len();
            format!(
                "HTTP/1.1 {status} x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            )
        });
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut asked = vec![0; 64 * 1024];
                let _ = socket.read(&mut asked).await;
                counted.fetch_add(1, Ordering::SeqCst);
                if let Some(answer) = &answer {
                    let _ = socket.write_all(answer.as_bytes()).await;
                }
            }
        });
        (client(&url).unwrap(), count)
    }

    fn wish_for_a_job() -> Wish {
        let job = JobId(uuid::Uuid::from_u128(7));
        Wish::Create { job, request: Box::new(JobRequest::default()) }
    }

    #[tokio::test]
    async fn a_server_behind_a_proxy_may_come_back() {
        for (status, is_passing) in [(502, true), (503, true), (504, true), (404, false)] {
            let (client, _) = stranger(Some((status, "<html>nginx</html>"))).await;
            let error = client.answer::<u64>(&Question::Head).await.unwrap_err();
            let error = error.downcast::<ClientError>().unwrap();
            assert_eq!((error.is_passing(), error.is_usage()), (is_passing, false), "{error}");
        }
        // Nor does a server itself say the same for ever because its log is damaged.
        let told = r#"{"code": "broken", "message": "the log is damaged"}"#;
        for (status, is_passing) in [(500, false), (503, true), (429, true), (400, false)] {
            let (client, _) = stranger(Some((status, told))).await;
            let error = client.answer::<u64>(&Question::Head).await.unwrap_err();
            let error = error.downcast::<ClientError>().unwrap();
            assert_eq!(error.is_passing(), is_passing, "{status}: {error}");
        }
    }

    #[tokio::test]
    async fn who_had_no_answer_learns_that_it_may_be_done() {
        for (answer, wish, tries) in [
            (None, Wish::Attend { job: JobId(uuid::Uuid::from_u128(7)) }, 1),
            (None, wish_for_a_job(), 3),
            (Some((502, "")), wish_for_a_job(), 3),
        ] {
            let (client, count) = stranger(answer).await;
            let error = client.ask(wish).await.unwrap_err().to_string();
            assert!(error.contains("may be done all the same"), "{error}");
            assert_eq!(count.load(Ordering::SeqCst), tries, "{answer:?}");
        }
        // Nobody took what nobody listened to.
        let error = client("http://127.0.0.1:9").unwrap().ask(wish_for_a_job()).await.unwrap_err();
        assert!(error.to_string().contains("does not answer"), "{error}");
    }

    fn client(url: &str) -> Result<Client, ClientError> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Client::new(url, Secret::new("x"))
    }

    #[test]
    fn addresses_are_of_the_web_and_carry_no_credentials() {
        for url in ["cody.example.org", "cody:8080", "ftp://a", "https://me:it@a", "https://", ""] {
            assert!(matches!(client(url), Err(ClientError::BadUrl(_))), "{url}");
        }
        assert_eq!(client("https://cody.example.org/").unwrap().url(), "https://cody.example.org");
    }

    #[test]
    fn who_could_listen_in_is_known_from_the_address() {
        let cases = [
            ("http://127.0.0.1:8080", true, false),
            ("http://[::1]:8080", true, false),
            ("http://localhost:8080", true, false),
            ("http://10.0.0.7:8080", false, true),
            ("http://127.0.0.1.example.org", false, true),
            ("https://cody.example.org", false, false),
        ];
        for (url, is_near, is_overheard) in cases {
            let client = client(url).unwrap();
            assert_eq!((client.is_near(), client.is_overheard()), (is_near, is_overheard), "{url}");
        }
    }
}
