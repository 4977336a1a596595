//! One text in place of another that stands exactly once. Claude writes `\n`; a file may end its
//! lines with `\r\n`, or with both, and keeps what it has.

use super::lines::ending_near;

/// What became of a replacement.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Replaced {
    Once {
        content: Vec<u8>,
        /// The first and the last line of the new text, from 1.
        first_line: usize,
        last_line: usize,
    },
    Nowhere,
    /// The lines that the matches start on, from 1.
    Ambiguous {
        lines: Vec<usize>,
    },
}

/// Replaces `old`, if it stands in `content` exactly once.
pub(super) fn replace(content: &[u8], old: &str, new: &str) -> Replaced {
    let exact = matches(content, old.as_bytes());
    if exact.is_empty() && content.windows(2).any(|pair| pair == b"\r\n") {
        return replace_lines(content, &old.replace("\r\n", "\n"), &new.replace("\r\n", "\n"));
    }
    match exact[..] {
        [] => Replaced::Nowhere,
        [at] if old.contains('\r') => splice(content, at, old.len(), new.as_bytes()),
        [at] => {
            let (start, end, middle) = narrowed(content, at..at + old.len(), old, new);
            splice(content, start, end - start, &with_endings(content, start, middle))
        }
        _ => Replaced::Ambiguous { lines: exact.iter().map(|at| line_of(content, *at)).collect() },
    }
}

/// Replaces in a content whose line endings are not those of `old`.
fn replace_lines(content: &[u8], old: &str, new: &str) -> Replaced {
    let (plain, offsets) = without_returns(content);
    let found = matches(&plain, old.as_bytes());
    match found[..] {
        [] => Replaced::Nowhere,
        [at] => {
            let (start, end, middle) = narrowed(&plain, at..at + old.len(), old, new);
            let (start, end) = (offsets[start], offsets[end]);
            splice(content, start, end - start, &with_endings(content, start, middle))
        }
        _ => Replaced::Ambiguous { lines: found.iter().map(|at| line_of(&plain, *at)).collect() },
    }
}

/// The part of a match that really changes, and what takes its place: lines that `old` and `new`
/// share at either side stay as they are, whatever they end with.
fn narrowed<'a>(
    content: &[u8],
    found: std::ops::Range<usize>,
    old: &str,
    new: &'a str,
) -> (usize, usize, &'a str) {
    let same = |(a, b): &(u8, u8)| a == b;
    let pairs = || old.bytes().zip(new.bytes());
    let shared = pairs().take_while(same).count();
    let head =
        old.as_bytes()[..shared].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let left = old.len().min(new.len()) - head;
    let shared = old.bytes().rev().zip(new.bytes().rev()).take(left).take_while(same).count();
    let tail_bytes = &old.as_bytes()[old.len() - shared..];
    let tail = tail_bytes.iter().position(|byte| *byte == b'\n').map_or(0, |at| shared - at);
    debug_assert!(found.end <= content.len());
    (found.start + head, found.end - tail, &new[head..new.len() - tail])
}

/// `text` with the line ending that the content has around `at`.
fn with_endings(content: &[u8], at: usize, text: &str) -> Vec<u8> {
    match ending_near(content, at) {
        "\n" => text.as_bytes().to_vec(),
        ending => text.replace('\n', ending).into_bytes(),
    }
}

fn splice(content: &[u8], at: usize, length: usize, new: &[u8]) -> Replaced {
    let content = [&content[..at], new, &content[at + length..]].concat();
    let first_line = line_of(&content, at);
    let last_line = line_of(&content, at + new.len().saturating_sub(1));
    Replaced::Once { content, first_line, last_line: last_line.max(first_line) }
}

/// Where `wanted` starts, overlapping matches too.
fn matches(content: &[u8], wanted: &[u8]) -> Vec<usize> {
    let Some(first) = wanted.first() else { return Vec::new() };
    let starts = content.iter().enumerate().filter(|(_, byte)| *byte == first);
    starts.map(|(at, _)| at).filter(|at| content[*at..].starts_with(wanted)).collect()
}

/// The content with `\n` for `\r\n`, and where each of its bytes, and its end, stood before.
fn without_returns(content: &[u8]) -> (Vec<u8>, Vec<usize>) {
    let kept = (0..content.len()).filter(|at| !content[*at..].starts_with(b"\r\n"));
    let mut offsets: Vec<usize> = kept.collect();
    let plain: Vec<u8> = offsets.iter().map(|at| content[*at]).collect();
    // A newline stands where its `\r` stood, so that a match takes both or neither.
    for (offset, byte) in offsets.iter_mut().zip(&plain) {
        if *byte == b'\n' && *offset > 0 && content[*offset - 1] == b'\r' {
            *offset -= 1;
        }
    }
    offsets.push(content.len());
    (plain, offsets)
}

fn line_of(content: &[u8], at: usize) -> usize {
    content[..at.min(content.len())].iter().filter(|byte| **byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_replaced_keeps_its_bytes() {
        for (content, old, new, expected) in [
            ("a\nb\nc\n", "b", "x", Some("a\nx\nc\n")),
            ("a\nb\nc", "c", "x", Some("a\nb\nx")),
            ("a\r\nb\r\nc\r\n", "a\nb\n", "a\nx\ny\n", Some("a\r\nx\r\ny\r\nc\r\n")),
            ("a\r\nb\r\nc\r\n", "b", "x\ny", Some("a\r\nx\r\ny\r\nc\r\n")),
            ("a\r\nb\r\nc\r\n", "b\n", "", Some("a\r\nc\r\n")),
            ("a\r\nb\r\n", "a\r\nb", "x\r\ny", Some("x\r\ny\r\n")),
            ("a\nb\n", "a\r\nb", "x", None),
            // Lines that old and new share keep their own ending.
            ("a\r\nb\nc\r\n", "a\nb\nc", "a\nx\nc", Some("a\r\nx\nc\r\n")),
            ("a\r\nb\nc\r\nd\n", "b\nc\nd", "b\nc1\nc2\nd", Some("a\r\nb\nc1\r\nc2\r\nd\n")),
            ("\u{feff}a\n", "a", "x", Some("\u{feff}x\n")),
            ("a\r\n", "a\r\n", "a\n", Some("a\n")),
            ("héé\n", "é", "x", None),
            ("abab", "ab\n", "x", None),
            ("x\n\ny", "x\n\ny", "x\ny", Some("x\ny")),
            ("aXa", "aXa", "a", Some("a")),
            ("a\r\na\r\n", "a\na", "a", Some("a\r\n")),
        ] {
            let replaced = replace(content.as_bytes(), old, new);
            match (replaced, expected) {
                (Replaced::Once { content, .. }, Some(expected)) => {
                    assert_eq!(String::from_utf8(content).unwrap(), expected);
                }
                (Replaced::Nowhere | Replaced::Ambiguous { .. }, None) => {}
                (replaced, _) => panic!("{content:?} {old:?} {new:?}: {replaced:?}"),
            }
        }
    }

    #[test]
    fn matches_that_overlap_are_ambiguous() {
        assert_eq!(replace(b"aaa\nb\naa", "aa", "x"), Replaced::Ambiguous { lines: vec![1, 1, 3] });
        assert_eq!(
            replace(b"a\r\nb\r\na\r\nb", "a\nb", "x"),
            Replaced::Ambiguous { lines: vec![1, 3] }
        );
    }

    #[test]
    fn bytes_that_are_no_text_stay() {
        let Replaced::Once { content, .. } = replace(b"\xff\nb\n\xfe", "b", "x") else { panic!() };
        assert_eq!(content, b"\xff\nx\n\xfe");
    }
}
