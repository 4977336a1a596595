//! How Claude is reached.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::ConfigError;
use super::settings::Settings;

/// How Claude is reached. Only the server reads this.
#[derive(Debug, Clone)]
pub struct ClaudeConfig {
    /// `ANTHROPIC_API_KEY`, never in the file.
    pub api_key: Option<SecretString>,
    /// `base_url` / `ANTHROPIC_BASE_URL`.
    pub base_url: String,
    /// `extra_models` / `CODY_EXTRA_MODELS`: a file of more models and prices.
    pub extra_models: Option<PathBuf>,
    /// `concurrent_calls` / `CODY_CONCURRENT_CALLS`.
    pub concurrent_calls: usize,
    /// `idle_timeout_ms` / `CODY_IDLE_TIMEOUT_MS`: the longest silence of a stream.
    pub idle_timeout: Duration,
}

impl ClaudeConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            api_key: settings.secret(&["ANTHROPIC_API_KEY"]),
            base_url: settings.text("base_url", "ANTHROPIC_BASE_URL", "https://api.anthropic.com"),
            extra_models: settings.optional("extra_models", "CODY_EXTRA_MODELS").map(PathBuf::from),
            concurrent_calls: settings.number("concurrent_calls", "CODY_CONCURRENT_CALLS", 8)?,
            idle_timeout: settings.millis("idle_timeout_ms", "CODY_IDLE_TIMEOUT_MS", 120_000)?,
        })
    }
}
