//! Ranks the files that a prompt probably means. A file that the prompt names comes first, then
//! one that defines or uses an identifier of it, then BM25 over the words of paths and contents.
//! It reads within a budget, and the same bytes in give the same list out.

use bm25::{Embedder, EmbedderBuilder, Embedding, Scorer, TokenEmbedder, Tokenizer};
use cody_events::tree::RepoPath;
use grep_matcher::Matcher as _;
use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::languages::{self, Role};
use super::listing::{File, Listing, name_of};
use super::sorts::{self, NoProse, Sort};
use super::terms::{Folder, Terms, runs};
use super::{ReadHead, ScanLimits};

mod lines;
mod plan;

/// A file that the prompt may be about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    pub path: RepoPath,
    pub mention: Mention,
    /// BM25 of path and content, in thousandths; comparable within one scan only.
    pub score_milli: u64,
    /// The prompt's terms found in path or content, as the prompt spells them, at most 16.
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

/// A name that this many files have points at none of them.
const SAME_NAME_MAX: usize = 20;
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
    let reading = marks.read_contents(listing, &terms, &plan, read_head);
    let chosen = marks.best(listing, &terms, limits.candidate_count);
    let candidates = chosen
        .into_iter()
        .map(|(index, score_milli)| {
            let (file, mark) = (&listing.files()[index], &marks.files[index]);
            let mut named = terms.named(mark.terms);
            named.truncate(TERMS_SHOWN);
            Candidate {
                path: file.path.clone(),
                mention: mark.mention.unwrap_or(Mention::Words),
                score_milli,
                terms: named,
                lines: lines::telling(file, &terms, plan.bytes_of(file), read_head),
            }
        })
        .collect();
    Ranked { candidates, reading }
}

/// What is known of one file.
#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    mention: Option<Mention>,
    /// The set of terms found.
    terms: u128,
    /// Its content says that it is not for ranking.
    left_out: bool,
}

/// What is known of all files, and the two indexes over their words.
struct Marks {
    files: Vec<Mark>,
    by_path: Scorer<u32, u16>,
    by_content: Scorer<u32, u16>,
}

impl Marks {
    fn of_paths(listing: &Listing<'_>, terms: &Terms) -> Self {
        let mut marks = Self {
            files: vec![Mark::default(); listing.files().len()],
            by_path: Scorer::new(),
            by_content: Scorer::new(),
        };
        // A path has about eight words; a fixed average keeps one pass enough.
        let embedder = embedder(terms, 8.0);
        for (index, file) in listing.files().iter().enumerate() {
            if !file.is_listable() || file.sort != Sort::Own {
                continue;
            }
            let embedding = known(embedder.embed(&file.path.display()));
            marks.files[index].terms |= set_of(&embedding);
            marks.by_path.upsert(&(index as u32), embedding);
        }
        for mention in terms.paths() {
            marks.take_path_mention(listing, mention.as_bytes());
        }
        marks
    }

    /// Marks the files that `mention` names. Also those that are otherwise left out: what the
    /// prompt says outright counts.
    fn take_path_mention(&mut self, listing: &Listing<'_>, mention: &[u8]) {
        let kind = if mention.contains(&b'/') { Mention::Path } else { Mention::Name };
        let named = |file: &File<'_>| {
            let path = file.path.as_bytes();
            match kind {
                Mention::Name => name_of(path).eq_ignore_ascii_case(mention),
                _ => {
                    let start = path.len().checked_sub(mention.len());
                    start.is_some_and(|at| {
                        path[at..].eq_ignore_ascii_case(mention)
                            && (at == 0 || path[at - 1] == b'/')
                    })
                }
            }
        };
        let hits = listing
            .files()
            .iter()
            .enumerate()
            .filter(|(_, file)| file.is_listable() && named(file))
            .map(|(index, file)| (index, file.path.as_bytes() == mention))
            .take(SAME_NAME_MAX + 1)
            .collect::<Vec<_>>();
        let many = hits.len() > SAME_NAME_MAX;
        for (index, whole) in hits {
            if whole {
                self.files[index].raise(Mention::Path);
            } else if !many {
                self.files[index].raise(kind);
            }
        }
    }

    /// Reads what the plan allows, in its order, and indexes the words of what has any.
    fn read_contents(
        &mut self,
        listing: &Listing<'_>,
        terms: &Terms,
        plan: &plan::Plan,
        read_head: &ReadHead<'_>,
    ) -> Reading {
        let mut reading = Reading { files_not_reached: plan.not_reached, ..Reading::default() };
        let matcher = any_term(terms);
        let embedder = embedder(terms, 400.0);
        for index in &plan.order {
            let file = &listing.files()[*index];
            let max = plan.bytes_of(file);
            let Ok(mut head) = read_head(file.path, max) else {
                reading.unreadable += 1;
                continue;
            };
            head.truncate(max);
            reading.files_read += 1;
            reading.bytes_read += head.len() as u64;
            reading.files_cut += u64::from(file.size > head.len() as u64);
            if let Some(why) = sorts::by_content(&head) {
                *match why {
                    NoProse::Binary => &mut reading.binary,
                    NoProse::LfsPointer => &mut reading.lfs_pointers,
                    NoProse::Generated => &mut reading.generated,
                    NoProse::Minified => &mut reading.minified,
                } += 1;
                self.files[*index].left_out = true;
                continue;
            }
            let may_match = |matcher: &RegexMatcher| matcher.is_match(&head).unwrap_or(true);
            let embedding = if matcher.as_ref().is_none_or(may_match) {
                let text = String::from_utf8_lossy(&head);
                self.files[*index].take_identifiers(&text, terms);
                known(embedder.embed(&text))
            } else {
                Embedding(Vec::new())
            };
            self.files[*index].terms |= set_of(&embedding);
            self.by_content.upsert(&(*index as u32), embedding);
        }
        reading
    }

    /// The best files with their scores in thousandths.
    fn best(&self, listing: &Listing<'_>, terms: &Terms, max: usize) -> Vec<(usize, u64)> {
        let query = Embedding(
            (0..terms.texts().len())
                .map(|number| bm25::TokenEmbedding { index: number as u16, value: 1.0 })
                .collect(),
        );
        let mut scores = vec![0u64; self.files.len()];
        for found in self.by_content.matches(&query) {
            let index = found.id as usize;
            scores[index] += milli(found.score) * trust(&listing.files()[index]) / 100;
        }
        for found in self.by_path.matches(&query) {
            scores[found.id as usize] += milli(found.score);
        }
        let mut best = (0..self.files.len())
            .filter(|index| {
                let mark = &self.files[*index];
                let named = matches!(mark.mention, Some(Mention::Path | Mention::Name));
                named || (scores[*index] > 0 && !mark.left_out)
            })
            .collect::<Vec<_>>();
        best.sort_by_key(|index| {
            let mention = self.files[*index].mention.unwrap_or(Mention::Words);
            (mention, std::cmp::Reverse(scores[*index]), *index)
        });
        best.truncate(max);
        best.into_iter().map(|index| (index, scores[index])).collect()
    }
}

impl Mark {
    fn raise(&mut self, mention: Mention) {
        self.mention = Some(self.mention.map_or(mention, |known| known.min(mention)));
    }

    /// Looks for the prompt's identifiers, spelled as there, and for the words before them that
    /// make a definition in most languages.
    fn take_identifiers(&mut self, text: &str, terms: &Terms) {
        const DEFINES: &[&str] = &[
            "class",
            "const",
            "def",
            "define",
            "defp",
            "enum",
            "fn",
            "fun",
            "func",
            "function",
            "interface",
            "let",
            "macro_rules",
            "module",
            "object",
            "protocol",
            "record",
            "static",
            "struct",
            "trait",
            "type",
            "union",
            "val",
            "var",
        ];
        let mut before = "";
        for run in runs(text) {
            if let Some(number) = terms.identifier(run) {
                self.terms |= 1 << number;
                self.raise(if DEFINES.contains(&before) {
                    Mention::Definition
                } else {
                    Mention::Identifier
                });
            }
            before = run;
        }
    }
}

/// How far the words of a file are trusted, in percent: prose and data share many words with
/// every prompt and are seldom what has to change.
fn trust(file: &File<'_>) -> u64 {
    match languages::by_path(file.path.as_bytes()) {
        Some((_, Role::Code)) => 100,
        Some((_, Role::Markup)) => 90,
        Some((_, Role::Data)) => 60,
        Some((_, Role::Prose)) | None => 50,
    }
}

/// Thousandths, rounded; the only place where a float becomes something that is kept.
fn milli(score: f32) -> u64 {
    (score * 1000.0).round().clamp(0.0, 1e9) as u64
}

/// A matcher for any term, to skip files without one. Nothing if it would grow too large.
fn any_term(terms: &Terms) -> Option<RegexMatcher> {
    // A folded `retri` stands for `retry` and `retries`: look for what they share.
    let shared = terms.texts().iter().map(|text| text.strip_suffix('i').unwrap_or(text));
    let literals = shared.filter(|text| !text.is_empty()).collect::<Vec<_>>();
    RegexMatcherBuilder::new().case_insensitive(true).fixed_strings(true).build_many(&literals).ok()
}

/// Numbers the words of a text that are terms; all other words only count for its length.
struct TermTokens<'a>(&'a Terms);

impl Tokenizer for TermTokens<'_> {
    fn tokenize(&self, text: &str) -> Vec<String> {
        let mut folder = Folder::default();
        let mut tokens = Vec::new();
        for run in runs(text) {
            folder.each(run, |word, _| {
                // An empty string costs no allocation, and embeds as "no term".
                tokens.push(self.0.number_of(word).map_or_else(String::new, |n| n.to_string()));
            });
        }
        tokens
    }
}

/// Terms embed as their own numbers, so two of them never share an index as hashes might.
struct TermNumber;

const NO_TERM: u16 = u16::MAX;

impl TokenEmbedder for TermNumber {
    type EmbeddingSpace = u16;

    fn embed(token: &str) -> u16 {
        token.parse().unwrap_or(NO_TERM)
    }
}

fn embedder(terms: &Terms, average_words: f32) -> Embedder<TermNumber, TermTokens<'_>> {
    // `b` below the usual 0.75: only heads of large files are seen, so length says less.
    EmbedderBuilder::<TermNumber, TermTokens<'_>>::with_tokenizer_and_fit_to_corpus(
        TermTokens(terms),
        &[],
    )
    .avgdl(average_words)
    .b(0.5)
    .build()
}

/// Keeps each term of an embedding once; the words that are none have done their part in its
/// length, and one vector a word is what would cost memory.
fn known(embedding: Embedding<u16>) -> Embedding<u16> {
    let mut kept = embedding.0;
    kept.retain(|token| token.index != NO_TERM);
    kept.sort_by_key(|token| token.index);
    kept.dedup_by_key(|token| token.index);
    kept.shrink_to_fit();
    Embedding(kept)
}

fn set_of(embedding: &Embedding<u16>) -> u128 {
    embedding.indices().fold(0, |set, number| set | 1 << number)
}
