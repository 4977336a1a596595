//! Removes what commands left. They may have closed directories of theirs against it; who owns a
//! directory may open it again.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

/// Removes `dir` and all below it. No link is followed.
///
/// # Errors
///
/// What could not be removed, even after directories were opened: others own it, or the disk fails.
pub fn remove_all(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(dir)?;
            fs::remove_dir_all(dir)
        }
        ended => ended,
    }
}

/// Gives us back the right to change each directory below `dir`.
fn open_up(dir: &Path) -> io::Result<()> {
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        let metadata = fs::symlink_metadata(&dir)?;
        if metadata.mode() & 0o700 != 0o700 {
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o700))?;
        }
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                dirs.push(entry.path());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_directories_are_removed() {
        let outer = tempfile::tempdir().unwrap();
        let dir = outer.path().join("left");
        fs::create_dir_all(dir.join("a/b/c")).unwrap();
        fs::write(dir.join("a/b/c/f"), "x").unwrap();
        std::os::unix::fs::symlink("/", dir.join("a/link")).unwrap();
        for closed in ["a/b/c", "a/b", "a"] {
            fs::set_permissions(dir.join(closed), fs::Permissions::from_mode(0o000)).unwrap();
        }
        remove_all(&dir).unwrap();
        assert!(!dir.exists());
    }
}
