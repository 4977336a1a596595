//! The shape of a repository: its languages, its first two levels of folders, its biggest files.

use std::collections::BTreeMap;

use cody_events::tree::RepoPath;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::languages::{self, HEADER, Language, Role};
use super::listing::{File, Listing};
use super::sorts::{Sort, extension_of};
use super::{ReadHead, ScanLimits};

/// How much of a repository is written in one language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LanguageShare {
    pub name: String,
    pub bytes: u64,
    pub files: u64,
}

/// A folder of the first two levels, with all that stands below it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Folder {
    pub path: RepoPath,
    pub files: u64,
    pub bytes: u64,
}

/// One of the biggest files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BigFile {
    pub path: RepoPath,
    pub bytes: u64,
}

/// All languages, programming languages first, then by bytes, then by name.
pub fn languages(
    listing: &Listing<'_>,
    read_head: &ReadHead<'_>,
    limits: &ScanLimits,
) -> Vec<LanguageShare> {
    let mut shares = BTreeMap::<Language, (u64, u64)>::new();
    let mut shebangs_left = limits.shebangs_read;
    for file in listing.files().iter().filter(|file| file.sort == Sort::Own) {
        let language = languages::by_path(file.path.as_bytes())
            .or_else(|| by_first_line(file, read_head, &mut shebangs_left));
        if let Some(language) = language {
            let (bytes, files) = shares.entry(language).or_default();
            *bytes = bytes.saturating_add(file.size);
            *files += 1;
        }
    }
    give_headers_away(&mut shares);

    let mut shares = shares.into_iter().collect::<Vec<_>>();
    let is_code = |role: Role| matches!(role, Role::Code | Role::Markup);
    shares.sort_by(|((a, a_role), (a_bytes, _)), ((b, b_role), (b_bytes, _))| {
        (is_code(*b_role), b_bytes).cmp(&(is_code(*a_role), a_bytes)).then(a.cmp(b))
    });
    shares
        .into_iter()
        .map(|((name, _), (bytes, files))| LanguageShare { name: name.to_owned(), bytes, files })
        .collect()
}

/// A script without extension tells its language in its first line; a bounded number is read.
fn by_first_line(
    file: &File<'_>,
    read_head: &ReadHead<'_>,
    shebangs_left: &mut usize,
) -> Option<Language> {
    if !file.executable || extension_of(file.path.as_bytes()).is_some() || *shebangs_left == 0 {
        return None;
    }
    *shebangs_left -= 1;
    languages::by_shebang(&read_head(file.path, 128).ok()?)
}

/// `.h` is C++ where C++ outweighs C, else C.
fn give_headers_away(shares: &mut BTreeMap<Language, (u64, u64)>) {
    let Some((bytes, files)) = shares.remove(&HEADER) else { return };
    let weight = |name| shares.get(&(name, Role::Code)).map_or(0, |(bytes, _)| *bytes);
    let owner = if weight("C++") > weight("C") { "C++" } else { "C" };
    let share = shares.entry((owner, Role::Code)).or_default();
    share.0 = share.0.saturating_add(bytes);
    share.1 += files;
}

/// The folders of the first two levels in path order.
pub fn folders(listing: &Listing<'_>) -> Vec<Folder> {
    let mut folders = BTreeMap::<&[u8], (u64, u64)>::new();
    for file in listing.files().iter().filter(|file| file.is_listable()) {
        let path = file.path.as_bytes();
        // What a folder of vendored or generated files holds is nobody's outline.
        let levels = if matches!(file.sort, Sort::Vendored | Sort::Generated) { 1 } else { 2 };
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').take(levels);
        for (at, _) in slashes {
            let (files, bytes) = folders.entry(&path[..at]).or_default();
            *files += 1;
            *bytes = bytes.saturating_add(file.size);
        }
    }
    folders
        .into_iter()
        .filter_map(|(path, (files, bytes))| {
            Some(Folder { path: RepoPath::new(path).ok()?, files, bytes })
        })
        .collect()
}

/// The files of the root in path order, at most `max`.
pub fn root_files(listing: &Listing<'_>, max: usize) -> Vec<RepoPath> {
    let in_root = listing.files().iter().filter(|file| file.is_listable() && file.depth() == 0);
    in_root.take(max).map(|file| file.path.clone()).collect()
}

/// The biggest files, at most `max`.
pub fn biggest(listing: &Listing<'_>, max: usize) -> Vec<BigFile> {
    let mut files = listing.files().iter().filter(|file| file.is_listable()).collect::<Vec<_>>();
    files.sort_by(|a, b| b.size.cmp(&a.size).then(a.path.cmp(b.path)));
    files
        .into_iter()
        .take(max)
        .map(|file| BigFile { path: file.path.clone(), bytes: file.size })
        .collect()
}
