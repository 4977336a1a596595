//! The only way to chance: ids, salts, nonces, jitter.

use cody_events::time::Timestamp;
use rand::{RngCore as _, TryRngCore as _};
use uuid::Uuid;

/// Makes what nobody can guess.
pub trait Entropy: Send + Sync + std::fmt::Debug {
    /// Fills `bytes` with random ones.
    fn fill(&self, bytes: &mut [u8]);

    /// A UUIDv7 of the instant `now`.
    fn uuid_v7(&self, now: Timestamp) -> Uuid {
        let mut random = [0; 10];
        self.fill(&mut random);
        let millis = u64::try_from(now.as_micros() / 1_000).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }

    /// 32 random bytes as lowercase hexadecimal digits.
    fn secret(&self) -> String {
        let mut bytes = [0; 32];
        self.fill(&mut bytes);
        hex::encode(bytes)
    }

    /// A number from 0 to below 1.
    fn fraction(&self) -> f64 {
        let mut bytes = [0; 4];
        self.fill(&mut bytes);
        f64::from(u32::from_be_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
    }
}

/// The operating system's randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        // Where the system gives none, a generator seeded at start is the best there is.
        if rand::rngs::OsRng.try_fill_bytes(bytes).is_err() {
            rand::rng().fill_bytes(bytes);
        }
    }
}
