//! Trees out of a base tree and changed entries. libgit2's own updater checks too little about
//! directories that become files and files that become directories.

use std::collections::BTreeMap;

use cody_events::tree::Entry;
use git2::{ObjectType, Oid, Repository};

use super::base::oid;
use super::error::GitError;

const DIRECTORY: u32 = 0o040_000;

/// A change below some directory: what is left of its path, and what stands there then.
type Change<'a> = (&'a [&'a [u8]], Option<Entry>);

/// The id of the tree that `changes` make of `base`; its objects go to the repository.
pub(super) fn updated<'a>(
    repository: &Repository,
    base: Option<Oid>,
    changes: &[Change<'a>],
) -> Result<Option<Oid>, GitError> {
    let mut names: BTreeMap<Vec<u8>, (u32, Oid)> = BTreeMap::new();
    if let Some(base) = base {
        for entry in &repository.find_tree(base)? {
            let bits = u32::try_from(entry.filemode_raw()).unwrap_or(0);
            names.insert(entry.name_bytes().to_vec(), (bits, entry.id()));
        }
    }
    let mut below: BTreeMap<&[u8], Vec<Change<'a>>> = BTreeMap::new();
    let mut here: Vec<(&[u8], Option<Entry>)> = Vec::new();
    for (path, entry) in changes {
        match path {
            [] => {}
            [name] => here.push((name, *entry)),
            [name, rest @ ..] => below.entry(name).or_default().push((rest, *entry)),
        }
    }
    // A file goes before a directory takes its name, and comes after one has left it.
    for (name, _) in here.iter().filter(|(_, entry)| entry.is_none()) {
        if names.get(*name).is_some_and(|(bits, _)| *bits != DIRECTORY) {
            names.remove(*name);
        }
    }
    for (name, changes) in below {
        let old = names.get(name).filter(|(bits, _)| *bits == DIRECTORY).map(|(_, id)| *id);
        match updated(repository, old, &changes)? {
            Some(id) => {
                names.insert(name.to_vec(), (DIRECTORY, id));
            }
            None if old.is_some() => {
                names.remove(name);
            }
            None => {}
        }
    }
    for (name, entry) in here {
        if let Some(entry) = entry {
            names.insert(name.to_vec(), (entry.mode.bits(), oid(entry.object)?));
        }
    }
    if names.is_empty() {
        return Ok(None);
    }
    write(repository, names).map(Some)
}

/// Writes one tree object, in git's order: as if directories ended in a slash.
fn write(repository: &Repository, names: BTreeMap<Vec<u8>, (u32, Oid)>) -> Result<Oid, GitError> {
    let mut entries: Vec<(Vec<u8>, u32, Oid)> =
        names.into_iter().map(|(name, (bits, id))| (name, bits, id)).collect();
    let key = |name: &[u8], bits: u32| {
        let mut key = name.to_vec();
        if bits == DIRECTORY {
            key.push(b'/');
        }
        key
    };
    entries.sort_by_cached_key(|(name, bits, _)| key(name, *bits));
    let mut bytes = Vec::new();
    for (name, bits, id) in entries {
        bytes.extend(format!("{bits:o} ").as_bytes());
        bytes.extend(&name);
        bytes.push(0);
        bytes.extend(id.as_bytes());
    }
    Ok(repository.odb()?.write(ObjectType::Tree, &bytes)?)
}
