//! Making a repository of a directory, for samples.

use std::path::Path;

use git2::{IndexAddOption, Repository, RepositoryInitOptions, Signature};

use super::error::GitError;

/// Makes `dir` a repository with one commit of all its files.
pub fn init_with_commit(dir: &Path, message: &str) -> Result<(), GitError> {
    super::isolate()?;
    let mut options = RepositoryInitOptions::new();
    options.initial_head("main").external_template(false);
    let repository = Repository::init_opts(dir, &options)?;
    let mut index = repository.index()?;
    index.add_all(["*"], IndexAddOption::DEFAULT, None)?;
    index.write()?;
    let tree = repository.find_tree(index.write_tree()?)?;
    let who = Signature::now("cody-batch", "cody-batch@localhost")?;
    repository.commit(Some("HEAD"), &who, &who, message, &tree, &[])?;
    Ok(())
}
