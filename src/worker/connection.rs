//! The worker's line to the server: posts messages, and rides out a server that restarts.

use std::path::PathBuf;
use std::sync::{Mutex as PlainMutex, PoisonError};
use std::time::Duration;

use reqwest::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::wire::{self, BROKEN, Refusal, Secret};

/// How long the worker waits before it tries a server again that did not answer.
const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// The longest that one request may take; `next` is held by the server for less.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    #[error("the server refused: {message} ({code})")]
    Refused { code: String, message: String },
    #[error("no server answered for {} s", .0.as_secs())]
    Away(Duration),
    #[error("the server's answer makes no sense")]
    Garbled(#[source] reqwest::Error),
    #[error("no HTTP client can be made")]
    Client(#[source] reqwest::Error),
}

impl ConnectionError {
    /// Whether this worker has lost its right to the target, for whatever reason.
    pub fn is_dismissal(&self) -> bool {
        match self {
            Self::Refused { code, .. } => code != "out-of-order" && code != BROKEN,
            Self::Away(_) | Self::Garbled(_) | Self::Client(_) => false,
        }
    }
}

/// A line to the server at an address that may change.
#[derive(Debug)]
pub struct Connection {
    http: reqwest::Client,
    server: Mutex<String>,
    /// Where a restarted server leaves its new address.
    address_file: Option<PathBuf>,
    token: Option<Secret>,
    /// How long the server may stay away.
    patience: Duration,
    /// Since when nobody has answered, whoever asked and whatever for.
    away_since: PlainMutex<Option<Instant>>,
}

impl Connection {
    /// A line to `server`.
    pub fn new(
        server: String,
        address_file: Option<PathBuf>,
        patience: Duration,
    ) -> Result<Self, ConnectionError> {
        // The second to install a provider is told so; either serves.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .timeout(REQUEST_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(ConnectionError::Client)?;
        let server = Mutex::new(server);
        let away_since = PlainMutex::default();
        Ok(Self { http, server, address_file, token: None, patience, away_since })
    }

    /// The same line, with the token and the patience of a claim.
    pub fn claimed(self, token: Secret, patience: Duration) -> Self {
        Self { token: Some(token), patience, ..self }
    }

    /// Posts `message` to `route`, again and again while the server is away, up to the patience of
    /// this message and of the whole line. Every message may arrive twice; the server knows them
    /// apart.
    pub async fn post<M: Serialize, A: DeserializeOwned>(
        &self,
        route: &str,
        message: &M,
    ) -> Result<A, ConnectionError> {
        let mut failing_since: Option<Instant> = None;
        loop {
            let tried = self.try_post(route, message).await;
            let is_line_over = self.note(matches!(tried, Err(Failure::Away)));
            match tried {
                Ok(answer) => return Ok(answer),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Away) => {
                    let failing = failing_since.get_or_insert_with(Instant::now).elapsed();
                    if is_line_over || failing >= self.patience {
                        return Err(ConnectionError::Away(self.patience));
                    }
                    tokio::time::sleep(RETRY_PAUSE).await;
                    self.reread_address().await;
                }
            }
        }
    }

    /// Notes whether the server was away just now; whether it has been for too long.
    fn note(&self, is_away: bool) -> bool {
        let mut away_since = self.away_since.lock().unwrap_or_else(PoisonError::into_inner);
        match is_away {
            false => {
                *away_since = None;
                false
            }
            true => away_since.get_or_insert_with(Instant::now).elapsed() >= self.patience,
        }
    }

    async fn try_post<M: Serialize, A: DeserializeOwned>(
        &self,
        route: &str,
        message: &M,
    ) -> Result<A, Failure> {
        let server = self.server.lock().await.clone();
        let mut request = self.http.post(format!("{server}{}/{route}", wire::PREFIX)).json(message);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose());
        }
        let answer = request.send().await.map_err(|_| Failure::Away)?;
        let status = answer.status();
        // What a server that works says of its own mistake is final; the others are about to pass.
        if status.is_server_error() && status != StatusCode::INTERNAL_SERVER_ERROR {
            return Err(Failure::Away);
        }
        if !status.is_success() {
            let refusal = answer.json::<Refusal>().await.unwrap_or_else(|_| Refusal {
                code: "refused".to_owned(),
                message: format!("HTTP {status}"),
            });
            return Err(Failure::Final(ConnectionError::Refused {
                code: refusal.code,
                message: refusal.message,
            }));
        }
        answer.json().await.map_err(|error| match error.is_decode() {
            true => Failure::Final(ConnectionError::Garbled(error)),
            false => Failure::Away,
        })
    }

    /// A restarted server listens elsewhere and says so in its address file.
    async fn reread_address(&self) {
        let Some(file) = &self.address_file else { return };
        let Ok(text) = tokio::fs::read_to_string(file).await else { return };
        if let Ok(address) = serde_json::from_str::<wire::ServerAddress>(&text) {
            *self.server.lock().await = address.url;
        }
    }
}

enum Failure {
    Away,
    Final(ConnectionError),
}
