//! Which repositories are fetched, and by which credential.

use std::time::Duration;

use secrecy::SecretString;

use super::ConfigError;
use super::settings::Settings;

/// Which repositories may be fetched, and how large they may be.
#[derive(Debug, Clone)]
pub struct GitConfig {
    /// `allowed_hosts` / `CODY_ALLOWED_HOSTS`, separated by commas.
    pub allowed_hosts: Vec<String>,
    /// `CODY_GITHUB_TOKEN` or `GITHUB_TOKEN`, never in the file: reads private repositories.
    pub github_token: Option<SecretString>,
    /// `token_host` / `CODY_TOKEN_HOST`: the one host that is shown the token.
    pub token_host: String,
    /// `max_files` / `CODY_MAX_FILES` of a base.
    pub max_files: u64,
    /// `max_bytes` / `CODY_MAX_BYTES` of a base's files.
    pub max_bytes: u64,
    /// `max_file_bytes` / `CODY_MAX_FILE_BYTES` of a single file.
    pub max_file_bytes: u64,
    /// `fetch_bytes` / `CODY_FETCH_BYTES` that a fetch may transfer.
    pub fetch_bytes: u64,
    /// `fetch_timeout_ms` / `CODY_FETCH_TIMEOUT_MS`.
    pub fetch_timeout: Duration,
}

impl GitConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            allowed_hosts: settings.list("allowed_hosts", "CODY_ALLOWED_HOSTS", "github.com", ','),
            github_token: settings.secret(&["CODY_GITHUB_TOKEN", "GITHUB_TOKEN"]),
            token_host: settings.text("token_host", "CODY_TOKEN_HOST", "github.com"),
            max_files: settings.number("max_files", "CODY_MAX_FILES", 200_000)?,
            max_bytes: settings.number("max_bytes", "CODY_MAX_BYTES", 4 << 30)?,
            max_file_bytes: settings.number("max_file_bytes", "CODY_MAX_FILE_BYTES", 256 << 20)?,
            fetch_bytes: settings.number("fetch_bytes", "CODY_FETCH_BYTES", 4 << 30)?,
            fetch_timeout: settings.millis(
                "fetch_timeout_ms",
                "CODY_FETCH_TIMEOUT_MS",
                1_800_000,
            )?,
        })
    }
}
