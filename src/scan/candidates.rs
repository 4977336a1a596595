//! Ranks the files that a prompt probably means. A file that the prompt names comes first, then
//! one that defines or uses an identifier of it, then BM25 over the words of paths and contents.
//! It reads within a budget, and the same bytes in give the same list out.

use cody_events::tree::RepoPath;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::listing::Listing;
use super::terms::Terms;
use super::{ReadHead, ScanLimits};

mod lines;
mod marks;
mod plan;
mod words;

use marks::Marks;

/// A file that the prompt may be about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    pub path: RepoPath,
    pub mention: Mention,
    /// BM25 of path and content, in thousandths; comparable within one scan only.
    pub score_milli: u64,
    /// The prompt's terms found in path or content, as the prompt spells them: the rarest
    /// first, at most 16.
    pub terms: Vec<String>,
    /// Lines, from 1, with the most of the terms: at most 5, in order.
    pub lines: Vec<u64>,
}

/// How directly a prompt points at a file; the most direct first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Mention {
    /// The prompt has its path, or the end of its path from a folder on.
    Path,
    /// The prompt has its name.
    Name,
    /// It defines an identifier of the prompt.
    Definition,
    /// It has an identifier of the prompt.
    Identifier,
    /// It shares words with the prompt.
    Words,
}

/// What the ranking read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reading {
    pub files_read: u64,
    pub bytes_read: u64,
    /// Files of the repository's own that the budget did not reach.
    pub files_not_reached: u64,
    /// Files of which only the start was read.
    pub files_cut: u64,
    pub unreadable: u64,
    /// Left out once their content was seen.
    pub binary: u64,
    pub lfs_pointers: u64,
    pub generated: u64,
    pub minified: u64,
}

/// The candidates and what it took to find them.
#[derive(Debug)]
pub struct Ranked {
    pub candidates: Vec<Candidate>,
    pub reading: Reading,
}

const TERMS_SHOWN: usize = 16;

/// Ranks the files of `listing` for `prompt`.
pub fn rank(
    listing: &Listing<'_>,
    prompt: &str,
    read_head: &ReadHead<'_>,
    limits: &ScanLimits,
) -> Ranked {
    let terms = Terms::of(prompt);
    if terms.is_empty() {
        return Ranked { candidates: Vec::new(), reading: Reading::default() };
    }
    let mut marks = Marks::of_paths(listing, &terms);
    let plan = plan::Plan::new(listing, &marks, limits);
    let any_term = words::any_term(&terms);
    let reading = marks.read_contents(listing, &terms, &plan, any_term.as_ref(), read_head);
    marks.weigh_identifiers(&terms, reading.files_read);
    let rarity = marks.rarity(&terms);
    let chosen = marks.best(listing, &terms, limits.candidate_count);
    let candidates = chosen
        .into_iter()
        .map(|(index, score_milli)| {
            let (file, mark) = (&listing.files()[index], &marks.files[index]);
            let telling = any_term.as_ref().map(|any_term| {
                lines::telling(file, &terms, &rarity, any_term, plan.bytes_of(file), read_head)
            });
            Candidate {
                path: file.path.clone(),
                mention: mark.mention.unwrap_or(Mention::Words),
                score_milli,
                terms: terms.named(mark.terms, &rarity, TERMS_SHOWN),
                lines: telling.unwrap_or_default(),
            }
        })
        .collect();
    Ranked { candidates, reading }
}
