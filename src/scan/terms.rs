//! What a prompt asks about, as terms to look for: paths and identifiers that it mentions, and
//! plain words. Splits identifiers (`camelCase`, `snake_case`) and folds case and plurals alike
//! in prompts, paths and files.

use std::collections::BTreeMap;

mod fold;

pub use fold::{Folder, fold};

/// The most terms a prompt gives; a set of them is one `u128`.
pub const TERM_MAX: usize = 128;

/// The most paths or file names a prompt mentions.
const PATH_MENTION_MAX: usize = 64;

/// Runs longer than this are data, not words.
const WORD_MAX: usize = 64;

/// Words that say nothing about where to look: English, and what every prompt of this trade says.
const STOP_WORDS: &[&str] = &[
    "a",
    "about",
    "add",
    "after",
    "all",
    "also",
    "an",
    "and",
    "any",
    "are",
    "as",
    "at",
    "be",
    "before",
    "but",
    "by",
    "can",
    "change",
    "code",
    "do",
    "does",
    "each",
    "every",
    "file",
    "for",
    "from",
    "has",
    "have",
    "how",
    "if",
    "in",
    "instead",
    "into",
    "is",
    "it",
    "its",
    "make",
    "may",
    "more",
    "must",
    "need",
    "new",
    "no",
    "not",
    "of",
    "on",
    "one",
    "only",
    "or",
    "our",
    "out",
    "please",
    "project",
    "repo",
    "repository",
    "should",
    "so",
    "than",
    "that",
    "the",
    "their",
    "them",
    "then",
    "there",
    "these",
    "they",
    "thi",
    "this",
    "to",
    "update",
    "use",
    "using",
    "we",
    "when",
    "where",
    "which",
    "will",
    "with",
    "without",
    "you",
    "your",
];

/// The terms of one prompt.
#[derive(Debug, Default)]
pub struct Terms {
    /// Folded text of each term, by its number.
    texts: Vec<String>,
    /// Each term as the prompt first spells it.
    spelled: Vec<String>,
    numbers: BTreeMap<String, usize>,
    /// Identifiers as the prompt spells them, with their term's number.
    identifiers: BTreeMap<String, usize>,
    /// Paths and file names as the prompt spells them.
    paths: Vec<String>,
}

impl Terms {
    pub fn of(prompt: &str) -> Self {
        let mut terms = Self::default();
        // What is mentioned outright comes first, so that a long prompt does not crowd it out.
        for token in prompt.split_whitespace() {
            terms.take_path(token);
            // `(src/a.rs)`, `[a](src/a.rs)`, `修改src/a.rs文件`: a path may stand inside a token.
            let is_of_paths = |c: char| c.is_ascii_alphanumeric() || "._-+@/:".contains(c);
            for piece in token.split(|c| !is_of_paths(c)) {
                terms.take_path(piece);
            }
        }
        let mut in_backticks = false;
        for piece in prompt.split_inclusive('`') {
            for run in runs(piece) {
                if in_backticks || looks_like_an_identifier(run) {
                    terms.take_identifier(run);
                }
            }
            in_backticks ^= piece.ends_with('`');
        }
        let mut folder = Folder::default();
        for run in runs(prompt) {
            folder.each(run, |word, spelled| {
                if word.chars().count() > 2 && !STOP_WORDS.contains(&word) {
                    terms.number(word, spelled);
                }
            });
        }
        terms
    }

    pub fn is_empty(&self) -> bool {
        self.texts.is_empty() && self.paths.is_empty()
    }

    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    pub fn paths(&self) -> &[String] {
        &self.paths
    }

    /// The number of the term with this folded text.
    pub fn number_of(&self, folded: &str) -> Option<usize> {
        self.numbers.get(folded).copied()
    }

    /// The number of the identifier spelled exactly so.
    pub fn identifier(&self, run: &str) -> Option<usize> {
        self.identifiers.get(run).copied()
    }

    /// The terms of this set as the prompt spells them, by falling `rarity` (the weight of each
    /// term by its number), at most `max`.
    pub fn named(&self, set: u128, rarity: &[u32], max: usize) -> Vec<String> {
        let mut chosen = self
            .spelled
            .iter()
            .zip(rarity)
            .enumerate()
            .filter(|(number, _)| (set >> number) & 1 == 1)
            .map(|(_, (spelled, rarity))| (*rarity, spelled))
            .collect::<Vec<_>>();
        chosen.sort_by_key(|(rarity, _)| std::cmp::Reverse(*rarity));
        chosen.into_iter().take(max).map(|(_, spelled)| spelled.clone()).collect()
    }

    fn number(&mut self, folded: &str, spelled: &str) -> Option<usize> {
        if let Some(number) = self.number_of(folded) {
            return Some(number);
        }
        if self.texts.len() == TERM_MAX {
            return None;
        }
        self.numbers.insert(folded.to_owned(), self.texts.len());
        self.texts.push(folded.to_owned());
        self.spelled.push(spelled.to_owned());
        Some(self.texts.len() - 1)
    }

    fn take_identifier(&mut self, run: &str) {
        let plain = run.trim_matches('_');
        if plain.chars().count() < 3
            || run.len() > WORD_MAX
            || plain.chars().all(|c| c.is_numeric())
        {
            return;
        }
        if let Some(number) = self.number(&fold(run), run) {
            self.identifiers.insert(run.to_owned(), number);
        }
    }

    /// Takes a word of the prompt that is a path or a file name: with a `/` between names, or a
    /// dot and an extension that is no number.
    fn take_path(&mut self, token: &str) {
        let token = token.trim_start_matches(|c: char| !c.is_alphanumeric() && !"._/".contains(c));
        let token = token.trim_end_matches(|c: char| !c.is_alphanumeric() && c != '_');
        // `src/a.rs:12` names a line of a file.
        let token = token.split(':').next().unwrap_or(token);
        let token = token.strip_prefix("./").unwrap_or(token).trim_start_matches('/');
        let name = token.rsplit('/').next().unwrap_or(token);
        let has_extension = name.rsplit_once('.').is_some_and(|(_, extension)| {
            // `e.g.` is no file, `a.c` is.
            let is_known = super::languages::by_path(name.as_bytes()).is_some();
            (2..=10).contains(&(extension.len() + usize::from(is_known)))
                && extension.chars().all(char::is_alphanumeric)
                && extension.chars().any(char::is_alphabetic)
        });
        let is_path = token.contains('/') || has_extension;
        let is_url = token.contains("//");
        if is_path
            && !is_url
            && (3..=256).contains(&token.len())
            && self.paths.len() < PATH_MENTION_MAX
            && !self.paths.iter().any(|path| path == token)
        {
            self.paths.push(token.to_owned());
        }
    }
}

/// Whether a run of letters is no plain word: `snake_case`, `camelCase`, `HTTPServer`, `utf8Len`.
fn looks_like_an_identifier(run: &str) -> bool {
    let inner = run.trim_matches('_');
    let small_then_big = inner
        .as_bytes()
        .windows(2)
        .any(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase());
    inner.contains('_') || small_then_big
}

/// The runs of letters, digits and `_` of a text. ASCII and other letters never share a run, so
/// that a name inside a sentence without spaces is still found.
pub fn runs(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let start = rest.find(is_run_char)?;
        rest = &rest[start..];
        let is_ascii = rest.starts_with(|c: char| c.is_ascii());
        let end = rest.find(|c| !is_run_char(c) || is_ascii != c.is_ascii()).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        rest = after;
        Some(run)
    })
}

fn is_run_char(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// At most `max` bytes of `text`, cut between characters.
pub fn head_of(text: &str, max: usize) -> &str {
    if text.len() <= max {
        return text;
    }
    let end = (0..=max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_break_between_scripts() {
        assert_eq!(
            runs("请把parse_config改名, a-b").collect::<Vec<_>>(),
            ["请把", "parse_config", "改名", "a", "b"]
        );
    }

    #[test]
    fn a_prompt_gives_paths_identifiers_and_words() {
        let terms = Terms::of(
            "Make `retry` in src/net/client.rs:12 (see [./README.md], https://x.y/z) honour \
             maxRetries; version 1.2, e.g. the headers.",
        );
        assert_eq!(terms.paths(), ["src/net/client.rs", "README.md"]);
        assert_eq!(
            terms.identifiers.keys().map(String::as_str).collect::<Vec<_>>(),
            ["maxRetries", "retry"]
        );
        assert_eq!(
            terms.texts(),
            [
                "retri", "maxretri", "src", "net", "client", "see", "readme", "http", "honour",
                "max", "version", "header"
            ]
        );
    }
}
