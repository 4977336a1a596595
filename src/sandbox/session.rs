//! What carries over between the commands of one conversation: the directory they stand in and the
//! variables they exported. It lives in files that only the sandbox reads back, and nothing may
//! depend on it.

use std::path::PathBuf;

/// Where the session's files are inside the sandbox.
pub(super) const INSIDE: &str = "/session";

/// A shell's memory between commands.
#[derive(Debug, Clone)]
pub struct ShellSession {
    /// The directory of its files, outside of any work directory.
    pub dir: PathBuf,
}

impl ShellSession {
    /// A session that remembers in `dir`, which is made if it is missing.
    pub fn new(dir: PathBuf) -> std::io::Result<Self> {
        std::fs::create_dir_all(&dir)?;
        Ok(Self { dir })
    }

    /// Forgets everything.
    pub fn restart(&self) -> std::io::Result<()> {
        for name in ["cwd", "env"] {
            match std::fs::remove_file(self.dir.join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// `script`, with what was remembered before it and what is to be remembered after.
pub(super) fn wrapped(script: &str) -> String {
    format!(
        "[ -f {INSIDE}/env ] && . {INSIDE}/env 2>/dev/null\n\
         cd \"$(cat {INSIDE}/cwd 2>/dev/null || echo /repo)\" 2>/dev/null || cd /repo\n\
         trap 'pwd >{INSIDE}/cwd; export -p >{INSIDE}/env' EXIT\n\
         {script}\n"
    )
}
