//! A throw-away `.git` with one made-up commit of the base, for programs that ask git where they
//! are. Nothing of ours ever reads it.

use std::fs;
use std::path::Path;

use git2::{Repository, RepositoryInitOptions, Signature, Time};

use super::base::{Base, oid};
use super::error::{GitError, io};

/// Makes it at `dir`. Objects come from `packs_as_seen`, the path of the base's pack as the programs
/// will see it; `pack_dir` is where it is now.
pub fn synthetic_git_dir(
    base: &Base,
    pack_dir: &Path,
    packs_as_seen: &Path,
    dir: &Path,
) -> Result<(), GitError> {
    let mut options = RepositoryInitOptions::new();
    options.bare(true).external_template(false).initial_head("main");
    let repository = Repository::init_opts(dir, &options)?;
    let alternates = dir.join("objects/info/alternates");
    let info = dir.join("objects/info");
    fs::create_dir_all(&info).map_err(io("a directory cannot be made", &info))?;
    let write = |path: &Path| {
        fs::write(&alternates, format!("{}\n", path.display()))
            .map_err(io("a file cannot be written", &alternates))
    };
    write(pack_dir)?;
    drop(repository);
    let repository = Repository::open_bare(dir)?;
    let tree = repository.find_tree(oid(base.tree_id())?)?;
    let who = Signature::new("cody-batch", "cody-batch@localhost", &Time::new(0, 0))?;
    repository.commit(Some("refs/heads/main"), &who, &who, "The base.\n", &tree, &[])?;
    let mut index = repository.index()?;
    index.read_tree(&tree)?;
    index.write()?;
    repository.config()?.set_bool("core.bare", false)?;
    write(packs_as_seen)
}
