//! How the words of a text reach the ranking: a matcher that skips texts without any term, and a
//! tokenizer and an embedding of our own, since identifiers are no prose.

use bm25::{Embedder, EmbedderBuilder, Embedding, TokenEmbedder, Tokenizer};
use grep_regex::{RegexMatcher, RegexMatcherBuilder};

use super::super::terms::{Folder, Terms, runs};

/// A matcher for any term, to skip files without one. Nothing if it would grow too large.
pub fn any_term(terms: &Terms) -> Option<RegexMatcher> {
    // A folded `retri` stands for `retry` and `retries`: look for what they share.
    let shared = terms.texts().iter().map(|text| text.strip_suffix('i').unwrap_or(text));
    let literals = shared.filter(|text| !text.is_empty()).collect::<Vec<_>>();
    RegexMatcherBuilder::new().case_insensitive(true).fixed_strings(true).build_many(&literals).ok()
}

/// Numbers the words of a text that are terms; all other words only count for its length.
pub struct TermTokens<'a>(&'a Terms);

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
pub struct TermNumber;

const NO_TERM: u16 = u16::MAX;

impl TokenEmbedder for TermNumber {
    type EmbeddingSpace = u16;

    fn embed(token: &str) -> u16 {
        token.parse().unwrap_or(NO_TERM)
    }
}

pub fn embedder(terms: &Terms, average_words: f32) -> Embedder<TermNumber, TermTokens<'_>> {
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
pub fn known(embedding: Embedding<u16>) -> Embedding<u16> {
    let mut kept = embedding.0;
    kept.retain(|token| token.index != NO_TERM);
    kept.sort_by_key(|token| token.index);
    kept.dedup_by_key(|token| token.index);
    kept.shrink_to_fit();
    Embedding(kept)
}

pub fn set_of(embedding: &Embedding<u16>) -> u128 {
    embedding.indices().fold(0, |set, number| set | 1 << number)
}
