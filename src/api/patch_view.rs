//! A patch taken apart for those who read it: its files, and in each the runs of lines that changed.
//! It reads only what the server's own writer makes, and never decides anything.

/// A run of changed lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hunk {
    /// `@@ -1,2 +1,3 @@ …`
    pub header: String,
    pub old_start: u64,
    pub new_start: u64,
    /// Each with a blank, `+`, `-` or a backslash in front.
    pub lines: Vec<String>,
}

/// The parts of `patch`, one a file, in order. Within a part every line of a file's content has a mark
/// in front, so that none can pass for the beginning of another part.
pub fn sections(patch: &str) -> Vec<&str> {
    const BEGINNING: &str = "diff --git ";
    let mut starts: Vec<usize> =
        patch.match_indices(&format!("\n{BEGINNING}")).map(|(at, _)| at + 1).collect();
    if patch.starts_with(BEGINNING) {
        starts.insert(0, 0);
    }
    let ends = starts.iter().skip(1).copied().chain([patch.len()]);
    starts.iter().zip(ends).filter_map(|(start, end)| patch.get(*start..end)).collect()
}

/// The hunks of one file's part; none of a binary one.
pub fn hunks(section: &str) -> Vec<Hunk> {
    let mut hunks: Vec<Hunk> = Vec::new();
    for line in section.lines() {
        if let Some((old_start, new_start)) = starts(line) {
            let header = line.to_owned();
            hunks.push(Hunk { header, old_start, new_start, lines: Vec::new() });
        } else if let Some(hunk) = hunks.last_mut()
            && line.starts_with([' ', '+', '-', '\\'])
        {
            hunk.lines.push(line.to_owned());
        }
    }
    hunks
}

/// The first lines that `@@ -3,4 +5 @@` names; nothing for any other line.
fn starts(line: &str) -> Option<(u64, u64)> {
    let ranges = line.strip_prefix("@@ -")?;
    let (old, rest) = ranges.split_once(" +")?;
    let (new, _) = rest.split_once(" @@")?;
    let first = |range: &str| range.split(',').next()?.parse().ok();
    Some((first(old)?, first(new)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: &str = "\
diff --git a/a b/a
index 1..2 100644
--- a/a
+++ b/a
@@ -1,2 +1,2 @@ fn x
 same
-diff --git a/x b/x
+@@ -9 +9 @@
@@ -10 +10 @@
-old
\\ No newline at end of file
+new
diff --git a/b.bin b/b.bin
GIT binary patch
literal 3
Kc$
";

    #[test]
    fn a_patch_comes_apart_at_its_own_seams_only() {
        let sections = sections(PATCH);
        assert_eq!(sections.len(), 2);
        let found = hunks(sections[0]);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].old_start, found[0].lines.len()), (1, 3));
        assert_eq!((found[1].new_start, found[1].lines.len()), (10, 3));
        assert_eq!(hunks(sections[1]), []);
        assert_eq!(super::sections(""), Vec::<&str>::new());
    }
}
