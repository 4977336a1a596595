//! A patch read line by line, as one who judges it needs it.

use cody_events::tree::RepoPath;

use crate::git::Patch;

/// A line that a patch adds or takes away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ChangedLine<'a> {
    pub(super) path: &'a RepoPath,
    /// Its number in the new file, or where it stood there.
    pub(super) number: usize,
    pub(super) is_added: bool,
    pub(super) text: &'a [u8],
}

/// The lines that `patch` adds and takes away, in order. Contents of binary files are none.
pub(super) fn changed_lines(patch: &Patch) -> Vec<ChangedLine<'_>> {
    let mut lines = Vec::new();
    let mut files = patch.files.iter();
    let mut file = None;
    let mut number = None;
    for line in patch.bytes.split(|byte| *byte == b'\n') {
        // Inside a hunk no line begins with a letter, so no file can fake this one.
        if line.starts_with(b"diff --git ") {
            (file, number) = (files.next(), None);
            continue;
        }
        if line.starts_with(b"@@ ") {
            number = first_new_line(line);
            continue;
        }
        let (Some(file), Some(at)) = (file, number) else { continue };
        let is_added = match line.first() {
            Some(b'+') => true,
            Some(b'-') => false,
            Some(b' ') => {
                number = Some(at + 1);
                continue;
            }
            _ => continue,
        };
        lines.push(ChangedLine { path: &file.path, number: at, is_added, text: &line[1..] });
        number = Some(at + usize::from(is_added));
    }
    lines
}

/// The first line of a hunk in the new file: `@@ -1,2 +3,4 @@` says 3.
fn first_new_line(head: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(head).ok().or_else(|| {
        // What follows the second mark is a line of the file.
        let end = head.windows(3).skip(1).position(|three| three == b" @@")?;
        std::str::from_utf8(&head[..=end]).ok()
    })?;
    let new = text.split(' ').find_map(|word| word.strip_prefix('+'))?;
    new.split(',').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cody_events::diff::{ChangedFile, FileChange};

    #[test]
    fn lines_are_numbered_as_in_the_new_file() {
        let file = |name: &str| ChangedFile {
            path: RepoPath::new(name).unwrap(),
            change: FileChange::Modified,
            binary: false,
            added_line_count: 0,
            deleted_line_count: 0,
        };
        let bytes =
            b"diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -3,3 +3,4 @@ \xff\n c\n-d\n+D\n+E\n f\n\
            @@ -20 +21 @@\n-x\n+y\ndiff --git a/b b/b\n@@ -0,0 +1 @@\n+++ b/z\n\\ No newline\n";
        let patch = Patch { bytes: bytes.to_vec(), files: vec![file("a"), file("b")] };
        let lines: Vec<(String, usize, bool, &[u8])> = changed_lines(&patch)
            .into_iter()
            .map(|line| (line.path.to_string(), line.number, line.is_added, line.text))
            .collect();
        let expected: [(&str, usize, bool, &[u8]); 6] = [
            ("a", 4, false, b"d"),
            ("a", 4, true, b"D"),
            ("a", 5, true, b"E"),
            ("a", 21, false, b"x"),
            ("a", 21, true, b"y"),
            ("b", 1, true, b"++ b/z"),
        ];
        assert_eq!(lines, expected.map(|(p, n, a, t)| (p.to_owned(), n, a, t)));
    }
}
