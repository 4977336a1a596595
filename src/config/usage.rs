//! What usage is measured against.

use super::ConfigError;
use super::settings::Settings;

/// What usage is measured against.
#[derive(Debug, Clone)]
pub struct UsageConfig {
    /// `minutes_saved` / `CODY_MINUTES_SAVED`: what a delivered change would have taken by hand; zero
    /// means that nobody says, and that no time saved is shown.
    pub minutes_saved: u64,
}

impl UsageConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Result<Self, ConfigError> {
        Ok(Self { minutes_saved: settings.number("minutes_saved", "CODY_MINUTES_SAVED", 0)? })
    }
}
