//! What commands of a repository may use.

use std::path::PathBuf;

use cody_events::attempt::SandboxBackend;

use super::ConfigError;
use super::settings::Settings;

/// How commands of a repository run.
#[derive(Debug, Clone)]
pub struct SandboxConfig {
    /// `sandbox` / `CODY_SANDBOX`: `auto`, `bubblewrap`, `landlock`, or `off`, which means that no
    /// check and no `bash` runs. The first of these that works is used.
    pub backends: Vec<SandboxBackend>,
    /// `mounts` / `CODY_MOUNTS`, separated by colons: more directories to read.
    pub extra_mounts: Vec<PathBuf>,
    /// `check_timeout_ms` / `CODY_CHECK_TIMEOUT_MS`, each command.
    pub check_timeout_ms: u64,
    /// `tool_timeout_ms` / `CODY_TOOL_TIMEOUT_MS`, each `bash` call.
    pub tool_timeout_ms: u64,
    /// `output_bytes` / `CODY_OUTPUT_BYTES`: how much of a command's output is kept.
    pub output_bytes: u64,
    /// `command_memory_bytes` / `CODY_COMMAND_MEMORY_BYTES`: what a command may use with all that it
    /// starts; never more than three quarters of the machine's.
    pub command_memory_bytes: u64,
    /// `command_processes` / `CODY_COMMAND_PROCESSES`: processes and threads at once, likewise.
    pub command_processes: u64,
    /// `command_disk_bytes` / `CODY_COMMAND_DISK_BYTES`: what it may write to the disk, likewise.
    pub command_disk_bytes: u64,
}

impl SandboxConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            backends: backends(settings)?,
            extra_mounts: settings
                .list("mounts", "CODY_MOUNTS", "", ':')
                .into_iter()
                .map(PathBuf::from)
                .collect(),
            check_timeout_ms: settings.number(
                "check_timeout_ms",
                "CODY_CHECK_TIMEOUT_MS",
                900_000,
            )?,
            tool_timeout_ms: settings.number("tool_timeout_ms", "CODY_TOOL_TIMEOUT_MS", 120_000)?,
            output_bytes: settings.number("output_bytes", "CODY_OUTPUT_BYTES", 1 << 20)?,
            command_memory_bytes: settings.number(
                "command_memory_bytes",
                "CODY_COMMAND_MEMORY_BYTES",
                8 << 30,
            )?,
            command_processes: settings.number(
                "command_processes",
                "CODY_COMMAND_PROCESSES",
                4_096,
            )?,
            command_disk_bytes: settings.number(
                "command_disk_bytes",
                "CODY_COMMAND_DISK_BYTES",
                8 << 30,
            )?,
        })
    }
}

fn backends(settings: &mut Settings<'_>) -> Result<Vec<SandboxBackend>, ConfigError> {
    let parse = |text: &str| match text {
        "auto" | "true" | "on" => Some(vec![SandboxBackend::Bubblewrap, SandboxBackend::Landlock]),
        "bubblewrap" => Some(vec![SandboxBackend::Bubblewrap]),
        "landlock" => Some(vec![SandboxBackend::Landlock]),
        "off" | "false" => Some(Vec::new()),
        _ => None,
    };
    let expected = "auto, bubblewrap, landlock or off";
    settings.parsed("sandbox", "CODY_SANDBOX", "auto".to_owned(), expected, parse)
}
