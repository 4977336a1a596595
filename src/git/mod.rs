//! git, through libgit2: bases are fetched and pinned here, work directories read and written, and
//! diffs derived. Knows nothing of jobs. All calls block; callers use blocking threads.
//!
//! A work directory is never read through libgit2's index, filters or attributes: a repository's
//! own settings must not decide what we record.

mod base;
mod budget;
mod checkout;
mod error;
mod fetch;
mod head_folder;
mod ignored;
mod init;
mod line;
mod listing;
mod locator;
mod packs;
mod patch;
mod recorded;
mod settings;
mod stat_cache;
mod synthetic;
mod touched;
mod transport;
mod tree_builder;
mod walk;

pub use base::Base;
pub use budget::{WalkBudget, Weight, weigh, weigh_at};
pub use checkout::checkout;
pub use error::GitError;
pub use fetch::{FetchLimits, Resolved, count_uncommitted, fetch, resolve};
pub use head_folder::{FolderFile, FolderLimits, head_folder};
pub use ignored::{MAX_RULES_BYTES, is_build_folder};
pub use init::init_with_commit;
pub use locator::{BadLocator, Locator};
pub use packs::{PackStore, PinnedPack};
pub use patch::{Patch, write_patch};
pub use recorded::{RecordedTree, difference};
pub use settings::isolate;
pub use stat_cache::StatCache;
pub use synthetic::synthetic_git_dir;
pub use touched::{Touched, touched};
pub use walk::{WalkCaps, WalkWarning, Walked, walk};
