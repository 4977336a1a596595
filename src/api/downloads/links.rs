//! Links for browsers, which send no token with a download: each is good once, for one download, for a
//! minute. They live in memory; a server that starts again has none.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cody_events::digest::Sha256;

use super::Download;
use crate::app::App;

/// How long a link is good.
pub const LIFE: Duration = Duration::from_secs(60);
/// Links that are good at once, and those of one caller.
const MAX_LINKS: usize = 10_000;
const MAX_LINKS_EACH: usize = 500;

/// There are as many links as there may be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "too many links wait to be used; use those, wait a minute, or download with a token instead"
)]
pub struct TooManyLinks;

/// The links that are good.
pub struct Links {
    app: Arc<App>,
    /// By the hash of what is secret in them.
    good: Mutex<BTreeMap<Sha256, Good>>,
}

#[derive(Debug)]
struct Good {
    download: Download,
    caller: String,
    /// By the clock that never jumps.
    until: Duration,
}

impl Links {
    /// No links yet; clock and chance are those of `app`.
    pub fn new(app: Arc<App>) -> Self {
        Self { app, good: Mutex::default() }
    }

    /// The path and query of a link to `download` for `caller`, who may read it.
    pub fn create(&self, download: &Download, caller: &str) -> Result<String, TooManyLinks> {
        let now = self.app.clock().monotonic();
        let secret = self.app.entropy().secret();
        let mut good = self.good();
        good.retain(|_, link| link.until > now);
        let own = good.values().filter(|link| link.caller == caller).count();
        if good.len() >= MAX_LINKS || own >= MAX_LINKS_EACH {
            return Err(TooManyLinks);
        }
        let (download, caller) = (download.clone(), caller.to_owned());
        let path = download.path();
        let separator = if path.contains('?') { '&' } else { '?' };
        let link = Good { download, caller, until: now.saturating_add(LIFE) };
        good.insert(Sha256::of(secret.as_bytes()), link);
        Ok(format!("{path}{separator}link={secret}"))
    }

    /// Whether `secret` is good for `download`; it is not any more.
    pub fn redeem(&self, secret: &str, download: &Download) -> bool {
        let now = self.app.clock().monotonic();
        let hash = Sha256::of(secret.as_bytes());
        let mut good = self.good();
        // Tried for another download, it stays good for its own.
        let fits = good.get(&hash).is_some_and(|link| link.download == *download);
        fits && good.remove(&hash).is_some_and(|link| link.until > now)
    }

    /// Whether it is good, without using it up: for who only asks how large the download is.
    pub fn is_good(&self, secret: &str, download: &Download) -> bool {
        let now = self.app.clock().monotonic();
        let link = Sha256::of(secret.as_bytes());
        self.good().get(&link).is_some_and(|link| link.download == *download && link.until > now)
    }

    fn good(&self) -> MutexGuard<'_, BTreeMap<Sha256, Good>> {
        self.good.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Links {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Links").finish_non_exhaustive()
    }
}
