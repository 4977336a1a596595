//! Where a server leaves its address for workers and the command line of its machine.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::ServeError;
use crate::wire::{Secret, ServerAddress};

/// The file in which a server leaves its address.
pub const ADDRESS_FILE: &str = "server.json";

/// Writes the address for workers and the command line, readable by the owner alone. Written beside
/// and renamed, so that nobody reads half of it.
pub(super) fn leave_address(
    file: &Path,
    url: &str,
    stays: bool,
    token: &str,
) -> Result<(), ServeError> {
    let failed = |source| ServeError::Io {
        what: "the server's address cannot be written",
        path: file.to_owned(),
        source,
    };
    let address = ServerAddress {
        url: url.to_owned(),
        pid: std::process::id(),
        process_start: crate::wire::process_start(std::process::id()).unwrap_or(0),
        stays,
        token: Secret::new(token),
    };
    let text = serde_json::to_vec(&address).map_err(|error| failed(error.into()))?;
    let new = file.with_extension("json.new");
    let write = || -> std::io::Result<()> {
        let mut options = std::fs::OpenOptions::new();
        let mut out = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        out.write_all(&text)?;
        std::fs::rename(&new, file)
    };
    write().map_err(failed)
}
