//! Lines of a text: counted, numbered, inserted. A line ends with `\n` or `\r\n`; bytes that are no
//! UTF-8 pass through edits and are replaced only where text is shown.

use std::fmt::Write as _;

/// What some editors put at the beginning of a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The text after its byte order mark.
pub(super) fn without_mark(content: &[u8]) -> &[u8] {
    content.strip_prefix(BYTE_ORDER_MARK).unwrap_or(content)
}

/// How many lines there are; one that ends with the text counts.
pub(super) fn count(content: &[u8]) -> usize {
    split(content).count()
}

/// The lines with their endings.
pub(super) fn split(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    content.split_inclusive(|byte| *byte == b'\n')
}

/// The line without its ending.
pub(super) fn without_ending(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// All lines with their numbers.
pub(super) fn numbered(content: &[u8]) -> String {
    numbered_range(content, 1, usize::MAX)
}

/// The lines from `first` to `last`, counted from 1, with their numbers.
pub(super) fn numbered_range(content: &[u8], first: usize, last: usize) -> String {
    let mut text = String::new();
    let wanted = split(content).enumerate().skip(first - 1).take(last.saturating_sub(first - 1));
    for (index, line) in wanted {
        let line = String::from_utf8_lossy(without_ending(line));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:6}\t{line}", index + 1);
    }
    text
}

/// A line in pieces of at most `longest` characters, each on a line of its own.
pub(super) fn broken(line: &str, longest: usize) -> Vec<String> {
    if line.len() <= longest {
        return vec![line.to_owned()];
    }
    let characters: Vec<char> = line.trim_end_matches('\n').chars().collect();
    characters.chunks(longest).map(|piece| piece.iter().chain(['\n'].iter()).collect()).collect()
}

/// The ending of the line that holds the byte at `at`, else of the one before it, else of the first
/// that has one.
pub(super) fn ending_near(content: &[u8], at: usize) -> &'static str {
    let ending_at =
        |newline: usize| if newline > 0 && content[newline - 1] == b'\r' { "\r\n" } else { "\n" };
    let find = |bytes: &[u8]| bytes.iter().position(|byte| *byte == b'\n');
    let after = find(&content[at..]).map(|offset| at + offset);
    let before = || content[..at].iter().rposition(|byte| *byte == b'\n');
    after.or_else(before).map_or("\n", ending_at)
}

/// Puts `text` after line `after`, as lines with the endings of the lines around them. Gives the new
/// content and how many lines were inserted. A text without a last newline stays one.
pub(super) fn insert(content: &[u8], after: usize, text: &str) -> (Vec<u8>, usize) {
    let mark = content.len() - without_mark(content).len();
    let at = mark + split(&content[mark..]).take(after).map(<[u8]>::len).sum::<usize>();
    let ending = ending_near(content, at.saturating_sub(1).max(mark).min(content.len()));
    let text = text.replace("\r\n", "\n");
    let lines: Vec<&str> = text.strip_suffix('\n').unwrap_or(&text).split('\n').collect();
    let mut new = content[..at].to_vec();
    let is_open = at > mark && content[at - 1] != b'\n';
    for line in &lines {
        if is_open {
            new.extend_from_slice(ending.as_bytes());
        }
        new.extend_from_slice(line.as_bytes());
        if !is_open {
            new.extend_from_slice(ending.as_bytes());
        }
    }
    // A text that was empty, or is put before everything, ends as it was given.
    if content.len() == mark && !text.ends_with('\n') {
        new.truncate(new.len() - ending.len());
    }
    new.extend_from_slice(&content[at..]);
    (new, lines.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inserted_lines_take_the_endings_around_them() {
        for (content, after, text, expected) in [
            ("a\nb\n", 1, "x", "a\nx\nb\n"),
            ("a\nb\n", 1, "x\n", "a\nx\nb\n"),
            ("a\nb\n", 0, "x\ny\n", "x\ny\na\nb\n"),
            ("a\nb\n", 2, "x", "a\nb\nx\n"),
            ("a\nb", 2, "x\n", "a\nb\nx"),
            ("a\nb", 1, "x\n", "a\nx\nb"),
            ("a\r\nb\r\n", 1, "x\ny", "a\r\nx\r\ny\r\nb\r\n"),
            ("a\r\nb\n", 1, "x", "a\r\nx\r\nb\n"),
            ("a\r\nb\n", 2, "x", "a\r\nb\nx\n"),
            ("a\r\nb", 2, "x", "a\r\nb\r\nx"),
            ("\u{feff}a\n", 0, "x", "\u{feff}x\na\n"),
            ("", 0, "x\n", "x\n"),
            ("", 0, "x", "x"),
            ("a", 0, "x", "x\na"),
            ("a\n", 1, "", "a\n\n"),
        ] {
            let (new, _) = insert(content.as_bytes(), after, text);
            assert_eq!(String::from_utf8(new).unwrap(), expected, "{content:?} {after} {text:?}");
        }
    }

    #[test]
    fn lines_are_numbered_without_their_endings() {
        assert_eq!(numbered(b"a\r\nb\n\nc"), "     1\ta\n     2\tb\n     3\t\n     4\tc\n");
        assert_eq!(numbered_range(b"a\nb\nc\n", 2, 2), "     2\tb\n");
        assert_eq!((count(b""), count(b"a"), count(b"a\n"), count(b"a\nb")), (0, 1, 1, 2));
    }

    #[test]
    fn long_lines_are_broken_at_characters() {
        assert_eq!(broken("ééééé\n", 2), ["éé\n", "éé\n", "é\n"]);
        assert_eq!(broken("ab\n", 3), ["ab\n"]);
    }
}
