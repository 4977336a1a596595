//! How often somebody may ask. Each has an allowance that refills evenly; a whole minute's may be used
//! at once. Kept in bounded memory: whoever was not seen for longest is forgotten, and starts anew.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lru::LruCache;

/// How many are remembered.
const MOST_KNOWN: NonZeroUsize = NonZeroUsize::MIN.saturating_add(9_999);
const MINUTE: Duration = Duration::from_secs(60);

/// Whose allowance it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Holder {
    Token(String),
    Address(IpAddr),
}

impl Holder {
    /// Whoever comes from `address`. A host has a whole /64 of IPv6, so that is one.
    pub fn at(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => {
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
            }
        })
    }
}

/// The allowances of all.
#[derive(Debug)]
pub struct Allowances {
    /// What one request costs; zero if there is no limit.
    cost: Duration,
    /// When each one's allowance is whole again, by the clock that never jumps.
    whole_at: Mutex<LruCache<Holder, Duration>>,
}

impl Allowances {
    /// So many a minute for each; 0 means any number.
    pub fn a_minute(count: u32) -> Self {
        let cost = MINUTE.checked_div(count).unwrap_or_default();
        Self { cost, whole_at: Mutex::new(LruCache::new(MOST_KNOWN)) }
    }

    /// Takes one from the holder's allowance at `now`, or says how long to wait for it.
    pub fn take(&self, holder: Holder, now: Duration) -> Result<(), Duration> {
        if self.cost.is_zero() {
            return Ok(());
        }
        let mut all = self.whole_at.lock().unwrap_or_else(PoisonError::into_inner);
        let whole_at = all.get_or_insert_mut(holder, || now);
        let after = now.max(*whole_at).saturating_add(self.cost);
        let wait = after.saturating_sub(now).saturating_sub(MINUTE);
        if wait.is_zero() {
            *whole_at = after;
            Ok(())
        } else {
            Err(wait)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(name: &str) -> Holder {
        Holder::Token(name.to_owned())
    }

    #[test]
    fn a_minutes_allowance_may_be_used_at_once_and_refills_evenly() {
        let allowances = Allowances::a_minute(60);
        let start = Duration::from_secs(1_000);
        for _ in 0..60 {
            assert_eq!(allowances.take(token("a"), start), Ok(()));
        }
        assert_eq!(allowances.take(token("a"), start), Err(Duration::from_secs(1)));
        let half = start + Duration::from_millis(500);
        assert_eq!(allowances.take(token("a"), half), Err(Duration::from_millis(500)));
        assert_eq!(allowances.take(token("b"), half), Ok(()));
        let later = start + Duration::from_secs(1);
        assert_eq!(allowances.take(token("a"), later), Ok(()));
        assert_eq!(allowances.take(token("a"), later), Err(Duration::from_secs(1)));
        let much_later = start + Duration::from_secs(3_600);
        let taken = (0..100).filter(|_| allowances.take(token("a"), much_later).is_ok()).count();
        assert_eq!(taken, 60, "what was not used does not add up");
    }

    #[test]
    fn no_limit_is_none() {
        let allowances = Allowances::a_minute(0);
        assert!((0..100_000).all(|_| allowances.take(token("a"), Duration::ZERO).is_ok()));
    }

    #[test]
    fn memory_is_bounded_whoever_comes() {
        let allowances = Allowances::a_minute(1);
        for number in 0..30_000 {
            assert_eq!(allowances.take(token(&number.to_string()), Duration::ZERO), Ok(()));
        }
        assert_eq!(allowances.whole_at.lock().unwrap().len(), MOST_KNOWN.get());
    }

    #[test]
    fn a_network_of_one_host_is_one_holder() {
        let at = |text: &str| Holder::at(text.parse().unwrap());
        assert_eq!(at("2001:db8:1:2::1"), at("2001:db8:1:2:ffff::9"));
        assert_ne!(at("2001:db8:1:2::1"), at("2001:db8:1:3::1"));
        assert_eq!(at("::ffff:192.0.2.1"), at("192.0.2.1"));
        assert_ne!(at("192.0.2.2"), at("192.0.2.1"));
    }
}
