//! The small files of one folder of a local repository's last commit, read without a checkout. The
//! repository may be anybody's: what is too large is not read, and links lead nowhere.

use std::path::Path;

use cody_events::tree::EntryMode;
use git2::{ErrorCode, ObjectType, Odb, Oid, Repository};

use super::error::GitError;
use super::settings::isolate;

/// The largest commit or tree that is read on the way to the folder.
const MAX_OBJECT_BYTES: usize = 8 << 20;

/// How much of a folder is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FolderLimits {
    /// Files; those after the first so many, in git's order, are left out.
    pub files: usize,
    /// Bytes of a single file.
    pub file_bytes: usize,
}

/// A file of the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderFile {
    pub name: String,
    /// Nothing if it is larger than the limit.
    pub content: Option<Vec<u8>>,
}

/// The files in `folder` of the commit that is checked out at `path`, as far as `is_wanted` says yes to
/// their names. No commit, and no such folder, mean none.
///
/// # Errors
/// [`GitError::Hostile`] if something on the way is no honest size or kind, and what git itself says.
pub fn head_folder(
    path: &Path,
    folder: &str,
    limits: FolderLimits,
    is_wanted: &dyn Fn(&str) -> bool,
) -> Result<Vec<FolderFile>, GitError> {
    isolate()?;
    let repository = Repository::open(path)?;
    let head = match repository.head() {
        Ok(head) => head.target(),
        Err(error) if matches!(error.code(), ErrorCode::UnbornBranch | ErrorCode::NotFound) => None,
        Err(error) => return Err(error.into()),
    };
    let Some(head) = head else { return Ok(Vec::new()) };
    let odb = repository.odb()?;
    check(&odb, head, ObjectType::Commit)?;
    let mut tree = repository.find_commit(head)?.tree_id();
    for component in folder.split('/') {
        check(&odb, tree, ObjectType::Tree)?;
        let found = repository.find_tree(tree)?;
        match found.get_name(component) {
            Some(entry) if entry.kind() == Some(ObjectType::Tree) => tree = entry.id(),
            Some(_) | None => return Ok(Vec::new()),
        }
    }
    check(&odb, tree, ObjectType::Tree)?;
    let mut files = Vec::new();
    for entry in &repository.find_tree(tree)? {
        if files.len() == limits.files {
            break;
        }
        let Ok(name) = std::str::from_utf8(entry.name_bytes()) else { continue };
        let mode = u32::try_from(entry.filemode_raw()).ok().and_then(EntryMode::from_bits);
        let is_file = matches!(mode, Some(EntryMode::File | EntryMode::Executable));
        if is_file && is_wanted(name) {
            let content = small_blob(&odb, entry.id(), limits.file_bytes)?;
            files.push(FolderFile { name: name.to_owned(), content });
        }
    }
    Ok(files)
}

/// Whether `object` is what it should be, before all of it is read.
fn check(odb: &Odb<'_>, object: Oid, expected: ObjectType) -> Result<(), GitError> {
    let (size, kind) = odb.read_header(object)?;
    if kind != expected {
        return Err(GitError::Hostile {
            what: format!("{object} should be a {expected} and is a {kind}"),
        });
    }
    if size > MAX_OBJECT_BYTES {
        return Err(GitError::Hostile { what: format!("the {kind} {object} has {size} bytes") });
    }
    Ok(())
}

fn small_blob(odb: &Odb<'_>, object: Oid, most: usize) -> Result<Option<Vec<u8>>, GitError> {
    let (size, kind) = odb.read_header(object)?;
    if kind != ObjectType::Blob || size > most {
        return Ok(None);
    }
    Ok(Some(odb.read(object)?.data().to_vec()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::git::init_with_commit;

    const LIMITS: FolderLimits = FolderLimits { files: 3, file_bytes: 10 };

    fn names(path: &Path) -> Vec<(String, bool)> {
        let files = head_folder(path, "a/b", LIMITS, &|name| name.ends_with(".toml")).unwrap();
        files.into_iter().map(|file| (file.name, file.content.is_some())).collect()
    }

    #[test]
    fn committed_small_files_are_read_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a/b");
        std::fs::create_dir_all(folder.join("folder.toml")).unwrap();
        std::fs::write(folder.join("folder.toml/x"), "x").unwrap();
        std::fs::write(folder.join("one.toml"), "0123456789").unwrap();
        std::fs::write(folder.join("large.toml"), "01234567890").unwrap();
        std::fs::write(folder.join("two.txt"), "").unwrap();
        symlink("/etc/passwd", folder.join("link.toml")).unwrap();
        init_with_commit(dir.path(), "as it was").unwrap();
        std::fs::write(folder.join("later.toml"), "").unwrap();
        let expected = [("large.toml".to_owned(), false), ("one.toml".to_owned(), true)];
        assert_eq!(names(dir.path()), expected);
    }

    #[test]
    fn a_folder_that_is_not_there_or_too_full_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a")).unwrap();
        std::fs::write(dir.path().join("a/b"), "a file").unwrap();
        init_with_commit(dir.path(), "as it was").unwrap();
        assert_eq!(names(dir.path()), []);
        let full = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(full.path().join("a/b")).unwrap();
        for number in 0..9 {
            std::fs::write(full.path().join(format!("a/b/{number}.toml")), "").unwrap();
        }
        init_with_commit(full.path(), "as it was").unwrap();
        assert_eq!(names(full.path()).len(), 3);
        let empty = tempfile::tempdir().unwrap();
        git2::Repository::init(empty.path()).unwrap();
        assert_eq!(names(empty.path()), []);
        assert!(head_folder(Path::new("/no/such"), "a", LIMITS, &|_| true).is_err());
    }
}
