//! What a recorded tree changes of its base, as somebody sees it who judges paths and kinds.

use cody_events::tree::{Entry, EntryMode, RepoPath};

use super::base::oid;
use super::error::GitError;
use super::recorded::RecordedTree;

/// One path that differs from the base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    pub path: RepoPath,
    pub before: Option<Entry>,
    pub after: Option<Entry>,
    /// Bytes of what stands there now.
    pub size: u64,
    /// The text of a symbolic link that stands there now.
    pub link: Option<Vec<u8>>,
}

/// The longest text of a link that Linux takes.
const MAX_LINK: u64 = 4_096;

/// Every path that differs from the base.
pub fn touched(recorded: &RecordedTree) -> Result<Vec<Touched>, GitError> {
    let odb = recorded.base.repository.odb()?;
    let mut all = Vec::new();
    for (path, after) in recorded.changed() {
        let (mut size, mut link) = (0, None);
        if let Some(entry) = after.filter(|entry| entry.mode != EntryMode::Gitlink) {
            size = odb.read_header(oid(entry.object)?)?.0 as u64;
            if entry.mode == EntryMode::Symlink && size <= MAX_LINK {
                link = Some(recorded.base.content(entry.object)?);
            }
        }
        let before = recorded.base.entry(path)?;
        all.push(Touched { path: path.clone(), before, after: *after, size, link });
    }
    Ok(all)
}
