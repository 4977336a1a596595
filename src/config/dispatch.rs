//! How many workers there are, and for how long each may be silent.

use std::path::PathBuf;

use super::ConfigError;
use super::settings::Settings;

/// Workers.
#[derive(Debug, Clone)]
pub struct DispatchConfig {
    /// `parallel` / `CODY_PARALLEL`: workers at once.
    pub parallel: usize,
    /// `lease_ms` / `CODY_LEASE_MS`: how long a worker may be silent.
    pub lease_ms: u64,
    /// `heartbeat_ms` / `CODY_HEARTBEAT_MS`.
    pub heartbeat_ms: u64,
    /// `worker_program` / `CODY_WORKER_PROGRAM`: what is started as `… worker`; by default this
    /// very program.
    pub worker_program: Option<PathBuf>,
    /// `scan` / `CODY_SCAN`: off means that Claude is told only what the repository weighs.
    pub scan: bool,
}

impl DispatchConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            parallel: settings.number("parallel", "CODY_PARALLEL", 5)?,
            lease_ms: settings.number("lease_ms", "CODY_LEASE_MS", 15_000)?,
            heartbeat_ms: settings.number("heartbeat_ms", "CODY_HEARTBEAT_MS", 3_000)?,
            worker_program: settings
                .optional("worker_program", "CODY_WORKER_PROGRAM")
                .map(PathBuf::from),
            scan: settings.boolean("scan", "CODY_SCAN", true)?,
        })
    }
}
