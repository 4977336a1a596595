//! The first call with a prefix goes alone, so that the others read what it put into the provider's
//! cache: an entry can be read once the response that wrote it began. Knows prefixes by hash alone.

use std::collections::BTreeMap;
use std::time::Duration;

use cody_events::digest::Sha256;
use tokio::time::Instant;

use super::pace::Ready;

/// Others wait no longer than this for a first response to begin.
pub const LONGEST_LEAD: Duration = Duration::from_secs(30);
/// How long the provider keeps what nobody reads.
const CACHE_LIFE: Duration = Duration::from_secs(5 * 60);

/// What is known of each prefix in use.
#[derive(Debug, Default)]
pub(super) struct Firsts {
    known: BTreeMap<Sha256, Known>,
}

#[derive(Debug, Clone, Copy)]
enum Known {
    /// Its first call is under way.
    Leading { call: u64, until: Instant },
    /// It was last used then, and needs no first call.
    Open { used_at: Instant },
}

impl Firsts {
    /// Whether a call with `prefix` may start.
    pub fn ready(&self, prefix: &Sha256, now: Instant) -> Ready {
        match self.known.get(prefix) {
            Some(Known::Leading { until, .. }) if *until > now => Ready::At(*until),
            _ => Ready::Now,
        }
    }

    /// A call with `prefix` starts.
    pub fn started(&mut self, prefix: Sha256, call: u64, now: Instant) {
        self.known.retain(|_, known| match known {
            Known::Leading { .. } => true,
            Known::Open { used_at } => *used_at + CACHE_LIFE > now,
        });
        let next = match self.known.get(&prefix) {
            None => Known::Leading { call, until: now + LONGEST_LEAD },
            Some(_) => Known::Open { used_at: now },
        };
        self.known.insert(prefix, next);
    }

    /// The response to a call with `prefix` began.
    pub fn began(&mut self, prefix: Sha256, now: Instant) {
        self.known.insert(prefix, Known::Open { used_at: now });
    }

    /// A call with `prefix` is over. If it was the first and never began, another is the first.
    pub fn ended(&mut self, prefix: &Sha256, call: u64) {
        if matches!(self.known.get(prefix), Some(Known::Leading { call: first, .. }) if *first == call)
        {
            self.known.remove(prefix);
        }
    }
}
