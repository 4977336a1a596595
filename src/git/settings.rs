//! libgit2's settings for the whole process, made once, before any other call. They are the only
//! unsafe calls of this room: libgit2 guards them with no lock, so whoever makes them has to.

#![expect(unsafe_code, reason = "git2 has libgit2's process-wide settings as unsafe functions")]

use std::sync::OnceLock;

use git2::ConfigLevel::{Global, ProgramData, System, XDG};

use super::error::GitError;
use super::transport;

/// How much of a pack is mapped at a time, and of all packs together. By default it is all of
/// them, and then they are resident as well.
const WINDOW_BYTES: usize = 2 << 20;
const MAPPED_BYTES: usize = 32 << 20;

/// Keeps libgit2 from the machine's own configuration (no user's `insteadOf`, proxy or helper), from
/// mapping whole packs, and from its own client for HTTP.
/// Affects the whole process; called again, it does nothing.
pub fn isolate() -> Result<(), GitError> {
    static DONE: OnceLock<Result<(), String>> = OnceLock::new();
    let done = DONE.get_or_init(|| isolate_once().map_err(|error| error.to_string()));
    done.clone().map_err(|error| GitError::Git(git2::Error::from_str(&error)))
}

fn isolate_once() -> Result<(), git2::Error> {
    // A pack that was damaged since it was indexed must not become a diff.
    git2::opts::strict_hash_verification(true);
    // SAFETY: no other thread uses libgit2 yet; the one initialiser is behind a lock.
    unsafe {
        git2::opts::set_mwindow_size(WINDOW_BYTES)?;
        git2::opts::set_mwindow_mapped_limit(MAPPED_BYTES)?;
    }
    for level in [System, Global, XDG, ProgramData] {
        // SAFETY: no other thread uses libgit2 yet; the one initialiser is behind a lock.
        unsafe { git2::opts::set_search_path(level, "")? };
    }
    for scheme in ["http", "https"] {
        // SAFETY: the one initialiser is behind a lock, and no transport is made before it returns.
        unsafe { git2::transport::register(scheme, transport::of_this_thread)? };
    }
    Ok(())
}
