//! How a server ends.

use std::time::Duration;

use super::ConfigError;
use super::settings::Settings;

/// How a server ends.
#[derive(Debug, Clone)]
pub struct StopConfig {
    /// `stop_timeout_ms` / `CODY_STOP_TIMEOUT_MS`: how long calls under way may take to end once the
    /// server was asked to stop.
    pub timeout: Duration,
}

impl StopConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Result<Self, ConfigError> {
        Ok(Self { timeout: settings.millis("stop_timeout_ms", "CODY_STOP_TIMEOUT_MS", 900_000)? })
    }
}
