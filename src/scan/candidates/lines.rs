//! Finds the lines of a candidate that say why it is one.

use grep_regex::RegexMatcher;
use grep_searcher::{BinaryDetection, Searcher, SearcherBuilder, Sink, SinkMatch};

use super::super::ReadHead;
use super::super::listing::File;
use super::super::terms::{Folder, Terms, runs};

/// The most lines a candidate shows.
const LINE_MAX: usize = 5;

/// The most matching lines that are weighed; a file with more has said enough.
const WEIGHED_MAX: usize = 2000;

/// At most five line numbers, from 1 and in order: those with the most and rarest terms,
/// identifiers spelled as in the prompt counting double. `rarity` has the weight of each term.
pub fn telling(
    file: &File<'_>,
    terms: &Terms,
    rarity: &[u32],
    any_term: &RegexMatcher,
    max: usize,
    read_head: &ReadHead<'_>,
) -> Vec<u64> {
    let Ok(mut head) = read_head(file.path, max) else { return Vec::new() };
    head.truncate(max);
    let mut weighed = Weighed { terms, rarity, lines: Vec::new() };
    let mut searcher =
        SearcherBuilder::new().line_number(true).binary_detection(BinaryDetection::quit(0)).build();
    if searcher.search_slice(any_term, &head, &mut weighed).is_err() {
        return Vec::new();
    }
    let mut lines = weighed.lines;
    lines.sort_by(|(a, a_line), (b, b_line)| b.cmp(a).then(a_line.cmp(b_line)));
    let mut lines = lines.into_iter().take(LINE_MAX).map(|(_, line)| line).collect::<Vec<_>>();
    lines.sort_unstable();
    lines
}

struct Weighed<'a> {
    terms: &'a Terms,
    rarity: &'a [u32],
    /// Weight and number of each line.
    lines: Vec<(u32, u64)>,
}

impl Sink for Weighed<'_> {
    type Error = std::io::Error;

    fn matched(&mut self, _: &Searcher, found: &SinkMatch<'_>) -> Result<bool, Self::Error> {
        let text = String::from_utf8_lossy(found.bytes());
        let (mut words, mut exact) = (0u128, 0u128);
        let mut folder = Folder::default();
        for run in runs(&text) {
            folder.each(run, |word, _| {
                words |= self.terms.number_of(word).map_or(0, |number| 1 << number);
            });
            exact |= self.terms.identifier(run).map_or(0, |number| 1 << number);
        }
        let weigh = |set: u128| {
            let weights = self.rarity.iter().enumerate();
            weights.filter(|(n, _)| (set >> n) & 1 == 1).map(|(_, weight)| *weight).sum::<u32>()
        };
        let weight = weigh(words) + weigh(exact);
        if let (true, Some(line)) = (weight > 0, found.line_number()) {
            self.lines.push((weight, line));
        }
        Ok(self.lines.len() < WEIGHED_MAX)
    }
}
