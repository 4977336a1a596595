//! Access tokens of an authorization server (RFC 9068): made by it, for one address of this server, and
//! good nowhere else. Who is let in, and by which means, is that server's business; what its tokens allow
//! here are the scopes in them, by the names that ours have.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use cody_events::system::Scope;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use reqwest::Url;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Caller, Denied, Scopes};
use crate::config::is_private;

/// Signatures that are looked at: none that the public key could make.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];
/// How far the clocks of two servers may be apart.
const LEEWAY_S: u64 = 30;
/// How long keys are good that were read.
const FRESH: Duration = Duration::from_secs(3_600);
/// How long they are used while their server is away.
const STALE: Duration = Duration::from_secs(86_400);
/// How often the keys are asked for at most, whatever keys callers name.
const STEP: Duration = Duration::from_secs(10);
/// An authorization server that takes longer is not there.
const PATIENCE: Duration = Duration::from_secs(5);
/// More than any list of keys needs.
const MOST_BYTES: usize = 256 * 1024;
const MOST_KEYS: usize = 100;
/// Longer names of people are none.
const LONGEST_SUBJECT: usize = 200;
/// Longer tokens are not looked at.
const LONGEST_TOKEN: usize = 16 * 1024;
/// Where an authorization server says what it is (RFC 8414, OpenID Connect Discovery).
const METADATA: [&str; 2] =
    ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"];

/// The authorization server whose tokens are taken, and the addresses that they may be made for.
pub struct Issuer {
    /// As its tokens and its metadata write it.
    name: String,
    /// Whole addresses, each with its path on this server.
    resources: Vec<(String, String)>,
    http: reqwest::Client,
    keys: RwLock<Keys>,
    /// Held by whoever asks for the keys.
    asking: tokio::sync::Mutex<()>,
}

/// The keys that were read last.
#[derive(Default)]
struct Keys {
    known: HashMap<Option<String>, Arc<DecodingKey>>,
    /// On the monotonic clock.
    read_at: Option<Duration>,
    asked_at: Option<Duration>,
}

/// What of a token is looked at.
#[derive(Debug, Deserialize)]
struct Claims {
    sub: String,
    aud: OneOrMany,
    #[serde(default)]
    scope: String,
    /// The same in the manner of some servers.
    scp: Option<OneOrMany>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn words(&self) -> Vec<&str> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many.iter().map(String::as_str).collect(),
        }
    }
}

#[derive(Debug, Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

/// Why the keys could not be read.
#[derive(Debug, thiserror::Error)]
enum Unread {
    #[error("it did not answer")]
    Away(#[from] reqwest::Error),
    #[error("`{0}` answered with status {1}")]
    Status(Url, u16),
    #[error("`{0}` answered with more than {MOST_BYTES} bytes")]
    Long(Url),
    #[error("`{0}` is not of the form that is expected of it")]
    Form(Url, #[source] serde_json::Error),
    #[error("it calls itself `{0}`")]
    OtherName(String),
    #[error("its keys are at `{0}`, which is not https")]
    Open(String),
    #[error("there is no metadata of an authorization server")]
    NoMetadata,
}

impl Issuer {
    /// The authorization server `name`, for the addresses that this server has at `public` and below.
    pub fn new(name: &str, public: &str, paths: &[&str]) -> Result<Self, reqwest::Error> {
        // The second to install a provider is told so; either serves.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE)
            .build()?;
        let resources = paths.iter().map(|path| (format!("{public}{path}"), (*path).to_owned()));
        Ok(Self {
            name: name.to_owned(),
            resources: resources.collect(),
            http,
            keys: RwLock::default(),
            asking: tokio::sync::Mutex::default(),
        })
    }

    /// How the authorization server is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole address of what stands at `path`, if tokens may be made for it.
    pub fn resource(&self, path: &str) -> Option<&str> {
        self.resources.iter().find(|(_, at)| at == path).map(|(resource, _)| resource.as_str())
    }

    /// Whose token `bearer` is, if it was made for `resource`; `now` is on the monotonic clock.
    pub async fn recognise(
        &self,
        bearer: &str,
        resource: &str,
        now: Duration,
    ) -> Result<Caller, Denied> {
        if bearer.len() > LONGEST_TOKEN {
            return Err(Denied::Unknown);
        }
        let header = decode_header(bearer).map_err(|_| Denied::Unknown)?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(Denied::Unknown);
        }
        let key = self.key(header.kid, now).await?;
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[&self.name]);
        validation.set_required_spec_claims(&["exp", "iss", "sub", "aud"]);
        validation.validate_nbf = true;
        validation.leeway = LEEWAY_S;
        // Which address it is for is looked at below, to say so where it is another.
        validation.validate_aud = false;
        let claims = match decode::<Claims>(bearer, &key, &validation) {
            Ok(token) => token.claims,
            Err(error) => {
                return Err(match error.kind() {
                    jsonwebtoken::errors::ErrorKind::ExpiredSignature => Denied::Expired,
                    _ => Denied::Unknown,
                });
            }
        };
        if !claims.aud.words().contains(&resource) {
            return Err(Denied::ForAnother);
        }
        caller(&claims)
    }

    /// The key of this name; of the one key that there is, if the token names none.
    async fn key(&self, name: Option<String>, now: Duration) -> Result<Arc<DecodingKey>, Denied> {
        if let Some(key) = self.known(&name, now, FRESH) {
            return Ok(key);
        }
        let _asking = self.asking.lock().await;
        let is_due = {
            let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
            keys.asked_at.is_none_or(|before| now.saturating_sub(before) >= STEP)
        };
        if is_due {
            let read = self.read().await;
            let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
            keys.asked_at = Some(now);
            match read {
                Ok(known) => *keys = Keys { known, read_at: Some(now), asked_at: Some(now) },
                Err(error) => {
                    let reason = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(%error, reason, "the authorization server's keys cannot be read");
                }
            }
        }
        let is_known =
            |keys: &Keys| keys.read_at.is_some_and(|read| now.saturating_sub(read) < STALE);
        match self.known(&name, now, STALE) {
            Some(key) => Ok(key),
            None if is_known(&self.keys.read().unwrap_or_else(PoisonError::into_inner)) => {
                Err(Denied::Unknown)
            }
            None => Err(Denied::IssuerAway),
        }
    }

    fn known(
        &self,
        name: &Option<String>,
        now: Duration,
        fresh: Duration,
    ) -> Option<Arc<DecodingKey>> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let age = now.saturating_sub(keys.read_at?);
        match (keys.known.get(name), name) {
            _ if age >= fresh => None,
            (Some(key), _) => Some(Arc::clone(key)),
            (None, None) if keys.known.len() == 1 => keys.known.values().next().map(Arc::clone),
            (None, _) => None,
        }
    }

    /// The keys that there are now, by their names.
    async fn read(&self) -> Result<HashMap<Option<String>, Arc<DecodingKey>>, Unread> {
        let metadata = self.metadata().await?;
        if metadata.issuer != self.name {
            return Err(Unread::OtherName(metadata.issuer));
        }
        let place = metadata.jwks_uri.parse().ok().filter(is_private);
        let set: JwkSet = self.fetch(place.ok_or(Unread::Open(metadata.jwks_uri))?).await?;
        let signs = |key: &&Jwk| key.common.public_key_use != Some(PublicKeyUse::Encryption);
        let usable = set.keys.iter().filter(signs).take(MOST_KEYS).filter_map(|key| {
            // What this program cannot check, it does not know.
            let usable = DecodingKey::from_jwk(key).ok()?;
            Some((key.common.key_id.clone(), Arc::new(usable)))
        });
        Ok(usable.collect())
    }

    async fn metadata(&self) -> Result<Metadata, Unread> {
        let name: Url = self.name.parse().map_err(|_| Unread::NoMetadata)?;
        let own = name.path().trim_end_matches('/').to_owned();
        // Before the issuer's own path, as RFC 8414 has it, and behind it, as OpenID Connect does.
        let places =
            METADATA.iter().flat_map(|place| [format!("{place}{own}"), format!("{own}{place}")]);
        let mut failure = Unread::NoMetadata;
        for place in places {
            let mut url = name.clone();
            url.set_path(&place);
            match self.fetch(url).await {
                Ok(metadata) => return Ok(metadata),
                Err(Unread::Status(..)) => {}
                // Some servers answer with a page of theirs to whatever they do not know.
                Err(why @ Unread::Form(..)) => failure = why,
                Err(other) => return Err(other),
            }
        }
        Err(failure)
    }

    async fn fetch<T: DeserializeOwned>(&self, url: Url) -> Result<T, Unread> {
        let mut response = self.http.get(url.clone()).send().await?;
        if response.status().as_u16() != 200 {
            return Err(Unread::Status(url, response.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await? {
            if body.len() + piece.len() > MOST_BYTES {
                return Err(Unread::Long(url));
            }
            body.extend_from_slice(&piece);
        }
        serde_json::from_slice(&body).map_err(|why| Unread::Form(url, why))
    }
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issuer").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Whether `bearer` has the form of such a token, which ours have not.
pub fn may_be_one(bearer: &str) -> bool {
    bearer.bytes().filter(|byte| *byte == b'.').count() == 2
}

/// Whoever these claims are about.
fn caller(claims: &Claims) -> Result<Caller, Denied> {
    let subject = claims.sub.as_str();
    let is_name = !subject.is_empty()
        && subject.len() <= LONGEST_SUBJECT
        && subject.chars().all(|c| !c.is_control() && !c.is_whitespace());
    if !is_name {
        return Err(Denied::Unknown);
    }
    let words = claims.scope.split(' ');
    let more = claims.scp.as_ref().map(OneOrMany::words).unwrap_or_default();
    let words = words.chain(more.into_iter().flat_map(|words| words.split(' ')));
    let scopes = words.filter_map(|word| Scope::ALL.into_iter().find(|scope| scope.name() == word));
    Ok(Caller {
        actor: format!("oauth:{subject}"),
        scopes: Scopes::from_iter(scopes),
        token_id: None,
        is_local_admin: false,
    })
}
