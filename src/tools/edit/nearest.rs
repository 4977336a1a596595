//! What to say when a text is not in a file: the lines that look most like it.

use std::collections::BTreeMap;

use super::MARKS_ARE_NOT_CHARACTERS;
use super::lines::{numbered_range, split, without_ending, without_mark};
use crate::scan::{has_marks, without_hidden};

/// Lines compared; what stands after them is not looked at.
const MAX_LINES: usize = 50_000;
/// Lines shown.
const MAX_SHOWN: usize = 30;

/// How lines that are near differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Difference {
    Spaces,
    /// Characters that do not show, or the marks by which they are shown.
    Hidden,
    More,
}

/// The complaint, with the nearest lines of `content` if any are near.
pub(super) fn not_found(name: &str, content: &[u8], old: &str) -> String {
    let mut text = format!(
        "str_replace: `old_str` is not in {name}. Nothing was changed. It must match exactly, with \
         spaces and tabs."
    );
    if has_line_numbers(old) {
        text.push_str(" Leave out the line numbers that view puts before the lines.");
    }
    let content = without_mark(content);
    let found = nearest(content, old);
    if has_marks(old) || matches!(found, Some((_, Difference::Hidden))) {
        text.push(' ');
        text.push_str(MARKS_ARE_NOT_CHARACTERS);
    }
    if let Some((first, difference)) = found {
        let last = first + old.lines().count().clamp(1, MAX_SHOWN) - 1;
        let how = match difference {
            Difference::Spaces => "These lines differ from it only in spaces or tabs",
            Difference::Hidden => {
                "These lines differ from it only in such characters; a part without any can be \
                 replaced as it is shown"
            }
            Difference::More => "The most similar lines",
        };
        text.push_str(&format!("\n{how}:\n{}", numbered_range(content, first, last)));
    }
    text
}

/// Whether every line looks as if it was copied from a view.
fn has_line_numbers(old: &str) -> bool {
    old.lines().all(|line| {
        let number = line.trim_start().split_once('\t').map(|(number, _)| number);
        number
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
    })
}

/// The line, from 1, where something like `old` starts, and how it differs.
fn nearest(content: &[u8], old: &str) -> Option<(usize, Difference)> {
    let wanted: Vec<String> = old.lines().map(squeezed).collect();
    let lines: Vec<String> = split(content)
        .take(MAX_LINES)
        .map(|line| squeezed(&String::from_utf8_lossy(without_ending(line))))
        .collect();
    if let Some(at) = lines.windows(wanted.len().max(1)).position(|window| window == wanted) {
        return Some((at + 1, Difference::Spaces));
    }
    let (plain, plain_old) =
        (without_hidden(&String::from_utf8_lossy(content)), without_hidden(old));
    if let Some(at) = plain.find(&plain_old).filter(|_| !plain_old.is_empty()) {
        return Some((plain[..at].matches('\n').count() + 1, Difference::Hidden));
    }
    // Empty lines look like each other everywhere, so the first with something on it is compared.
    let (skipped, first) = wanted.iter().enumerate().find(|(_, line)| !line.is_empty())?;
    let wanted_pairs = pairs(first);
    let score = |line: &String| likeness(&wanted_pairs, &pairs(line));
    let best =
        lines.iter().map(score).enumerate().max_by_key(|(at, score)| (*score, usize::MAX - at));
    let (at, score) = best?;
    (score >= 500).then(|| ((at + 1).saturating_sub(skipped).max(1), Difference::More))
}

/// The line with one space for each run of them, and none at its ends.
fn squeezed(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// How often each pair of neighbouring characters is in a line.
fn pairs(line: &str) -> BTreeMap<(char, char), usize> {
    let mut pairs = BTreeMap::new();
    for pair in line.chars().take(1000).zip(line.chars().skip(1)) {
        *pairs.entry(pair).or_default() += 1;
    }
    pairs
}

/// What share of the pairs two lines have in common (Dice's coefficient), in thousandths.
fn likeness(a: &BTreeMap<(char, char), usize>, b: &BTreeMap<(char, char), usize>) -> usize {
    let common: usize =
        a.iter().map(|(pair, count)| b.get(pair).map_or(0, |other| *count.min(other))).sum();
    let all = a.values().sum::<usize>() + b.values().sum::<usize>();
    (2000 * common).checked_div(all).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_lines_are_found() {
        let content = b"fn one() {\n    two(1, 2);\n}\n\nfn three() {}\n";
        for (old, expected) in [
            ("two(1,  2);\n}", Some((2, Difference::Spaces))),
            ("fn one() {\n\ttwo(1, 2);", Some((1, Difference::Spaces))),
            ("two(1,\u{200b} 2);\n}<U+200B>\n\nfn", Some((2, Difference::Hidden))),
            ("fn three( {}", Some((5, Difference::More))),
            ("\nfn thre() {}", Some((4, Difference::More))),
            ("completely else", None),
            ("", None),
        ] {
            assert_eq!(nearest(content, old), expected, "{old:?}");
        }
        let text = not_found("/repo/a.rs", content, "     2\t    two(1, 2);\n     3\t}");
        assert!(text.contains("Leave out the line numbers"), "{text}");
    }
}
