//! What the worker tells its launcher: one line of JSON on the standard input, where nobody else
//! can read it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One command, and the world that it is to see.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::sandbox) struct Spec {
    /// The program and its arguments.
    pub(super) argv: Vec<String>,
    /// All of its environment.
    pub(super) env: Vec<(String, String)>,
    /// Where it starts.
    pub(super) cwd: PathBuf,
    /// Files and directories that it may read and run; those that are not there are passed over.
    pub(super) readable: Vec<PathBuf>,
    /// Directories that it may do anything in. They have to be there.
    pub(super) writable: Vec<PathBuf>,
    /// Files that it may write; as a user of its own, it owns them.
    pub(super) writable_files: Vec<PathBuf>,
    /// Devices that it may read and write.
    pub(super) devices: Vec<PathBuf>,
    /// The user that it becomes, if the launcher may become another.
    pub(super) user: Option<u32>,
    /// Processes and threads of that user.
    pub(super) processes: u64,
}
