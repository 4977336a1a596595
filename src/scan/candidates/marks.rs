//! What is known of each file while the ranking goes on: mentions, terms, identifiers, and the two
//! indexes over the words of paths and contents.

use bm25::{Embedding, Scorer, TokenEmbedding};
use grep_matcher::Matcher as _;
use grep_regex::RegexMatcher;

use super::super::ReadHead;
use super::super::languages::{self, Role};
use super::super::listing::{File, Listing, name_of};
use super::super::sorts::{self, NoProse, Sort};
use super::super::terms::{Terms, runs};
use super::plan::Plan;
use super::words::{embedder, known, set_of};
use super::{Mention, Reading};

/// A name that this many files have points at none of them.
const SAME_NAME_MAX: usize = 20;

/// An identifier in no more files than this is never called common.
const COMMON_MIN: u64 = 5;

/// What is known of one file.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mark {
    pub mention: Option<Mention>,
    /// The set of terms found.
    pub terms: u128,
    /// Those of them that are identifiers of the prompt, spelled as there, and those it defines.
    identifiers: u128,
    definitions: u128,
    /// Its content says that it is not for ranking.
    left_out: bool,
}

/// What is known of all files of a listing, by their index there.
pub struct Marks {
    pub files: Vec<Mark>,
    by_path: Scorer<u32, u16>,
    by_content: Scorer<u32, u16>,
}

impl Marks {
    pub fn of_paths(listing: &Listing<'_>, terms: &Terms) -> Self {
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
    pub fn read_contents(
        &mut self,
        listing: &Listing<'_>,
        terms: &Terms,
        plan: &Plan,
        any_term: Option<&RegexMatcher>,
        read_head: &ReadHead<'_>,
    ) -> Reading {
        let mut reading = Reading { files_not_reached: plan.not_reached, ..Reading::default() };
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
            let embedding = if any_term.is_none_or(may_match) {
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

    /// Lets identifiers point at the files that have them, unless a quarter of all files do: then
    /// they are words like others.
    pub fn weigh_identifiers(&mut self, terms: &Terms, files_read: u64) {
        let common = files_read / 4;
        let telling = |set: fn(&Mark) -> u128| {
            (0..terms.texts().len()).map(|number| 1u128 << number).fold(0, |telling, bit| {
                let count = self.files.iter().filter(|mark| set(mark) & bit != 0).count();
                if count as u64 > common.max(COMMON_MIN) { telling } else { telling | bit }
            })
        };
        let (used, defined) = (telling(|mark| mark.identifiers), telling(|mark| mark.definitions));
        for mark in &mut self.files {
            mark.terms |= mark.identifiers;
            if mark.definitions & defined != 0 {
                mark.raise(Mention::Definition);
            } else if mark.identifiers & used != 0 {
                mark.raise(Mention::Identifier);
            }
        }
    }

    /// How much each term tells, by its number: 1, and one more for each time that the files
    /// having it must be doubled to make all that have any.
    pub fn rarity(&self, terms: &Terms) -> Vec<u32> {
        let having =
            |set: u128| self.files.iter().filter(|mark| mark.terms & set != 0).count().max(1);
        let all = having(u128::MAX);
        (0..terms.texts().len()).map(|number| 1 + (all / having(1 << number)).ilog2()).collect()
    }

    /// The best files with their scores in thousandths.
    pub fn best(&self, listing: &Listing<'_>, terms: &Terms, max: usize) -> Vec<(usize, u64)> {
        let query = Embedding(
            (0..terms.texts().len())
                .map(|number| TokenEmbedding { index: number as u16, value: 1.0 })
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
                self.identifiers |= 1 << number;
                if DEFINES.contains(&before) {
                    self.definitions |= 1 << number;
                }
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
        Some((_, Role::Markup)) => 80,
        Some((_, Role::Data)) => 60,
        Some((_, Role::Prose)) | None => 50,
    }
}

/// Thousandths, rounded; the only place where a float becomes something that is kept.
fn milli(score: f32) -> u64 {
    (score * 1000.0).round().clamp(0.0, 1e9) as u64
}
