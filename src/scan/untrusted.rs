//! Makes text of strangers fit to be shown to a model as data: nothing hidden in it, and no way
//! for it to end the fence around it. It does not judge what the text says.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::hidden::is_hidden;

/// What was taken out of a text because a reader of the rendered page would not see it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hidden {
    /// Control, invisible and direction-changing characters.
    pub characters: u64,
    /// HTML comments and Markdown lines that render as nothing.
    pub comments: u64,
}

impl Hidden {
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// `text` without what hides: control and invisible characters, HTML comments, and Markdown's
/// `[//]: # (…)` comments. Line ends become `\n`.
pub fn clean(text: &str) -> (String, Hidden) {
    let mut hidden = Hidden::default();
    let mut visible = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\r' if chars.peek() == Some(&'\n') => {}
            '\r' | '\u{2028}' | '\u{2029}' => visible.push('\n'),
            c if is_hidden(c) => hidden.characters += 1,
            c => visible.push(c),
        }
    }
    // A removed comment can leave the opening of another behind; the text only ever shrinks, and
    // no opening is left when this ends.
    while visible.contains("<!--") {
        visible = without_html_comments(&visible, &mut hidden);
    }
    (without_markdown_comments(&visible, &mut hidden), hidden)
}

/// One pass over `text` that leaves out HTML comments. As in HTML, `<!-->` and `<!--->` are whole
/// comments, and one that never ends hides all the rest.
fn without_html_comments(text: &str, hidden: &mut Hidden) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("<!--") {
        hidden.comments += 1;
        shown.push_str(&rest[..start]);
        let inside = &rest[start + 4..];
        rest = if let Some(after) = inside.strip_prefix('>').or(inside.strip_prefix("->")) {
            after
        } else {
            inside.find("-->").map_or("", |end| &inside[end + 3..])
        };
    }
    shown.push_str(rest);
    shown
}

/// Leaves out link definitions that point nowhere, the usual way to comment in Markdown.
fn without_markdown_comments(text: &str, hidden: &mut Hidden) -> String {
    let mut shown = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        if is_markdown_comment(line) {
            hidden.comments += 1;
        } else {
            shown.push_str(line);
        }
    }
    shown
}

fn is_markdown_comment(line: &str) -> bool {
    let Some(label) = line.trim_start().strip_prefix('[') else { return false };
    let Some((_, target)) = label.split_once("]:") else { return false };
    let target = target.trim_start();
    target.starts_with("# ") || target.trim_end() == "#" || target.starts_with("<>")
}

/// `text` between two fences of backticks, each longer than any run of backticks in the text, so
/// that no line of it can be the closing one. Ends with a line feed.
pub fn fenced(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(4.max(longest + 1));
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("{fence}text\n{text}{end}{fence}\n")
}

/// A path on one line: as it is if it is plain, else quoted with escapes. At most about 240
/// characters, the middle left out.
pub fn shown_path(path: &cody_events::tree::RepoPath) -> String {
    let text = path.display();
    let is_plain = |c: char| is_readable(c) || "/._-+@#=,~()[]{}$%&!^".contains(c);
    let shown = if std::str::from_utf8(path.as_bytes()).is_ok() && text.chars().all(is_plain) {
        text.into_owned()
    } else {
        let bytes = path.as_bytes().escape_ascii().to_string();
        let readable = match std::str::from_utf8(path.as_bytes()) {
            Ok(text) => text.chars().flat_map(escaped).collect(),
            Err(_) => bytes,
        };
        format!("\"{readable}\"")
    };
    shortened(&shown)
}

/// Letters and digits that show. Some fillers count as letters and show nothing.
fn is_readable(c: char) -> bool {
    c.is_alphanumeric() && !is_hidden(c)
}

fn escaped(c: char) -> impl Iterator<Item = char> {
    let plain = is_readable(c) || (c.is_ascii_graphic() && c != '`' && c != '"') || c == ' ';
    let (kept, code) =
        if plain && c != '\\' { (Some(c), None) } else { (None, Some(c.escape_unicode())) };
    kept.into_iter().chain(code.into_iter().flatten())
}

fn shortened(text: &str) -> String {
    const KEPT: usize = 120;
    let count = text.chars().count();
    if count <= 2 * KEPT {
        return text.to_owned();
    }
    let head = text.chars().take(KEPT);
    let tail = text.chars().skip(count - KEPT);
    head.chain(['…']).chain(tail).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cody_events::tree::RepoPath;
    use proptest::prelude::*;

    #[test]
    fn what_hides_is_taken_out_and_counted() {
        for (text, shown, characters, comments) in [
            ("plain\r\ntext\r", "plain\ntext\n", 0, 0),
            ("a\u{200b}b\u{202e}c\u{e0041}\u{1b}[31m", "abc[31m", 4, 0),
            ("a<!-- evil -->b", "ab", 0, 1),
            ("a<!-->b<!--->c", "abc", 0, 2),
            ("a<!-<!-- x -->- evil -->b", "ab", 0, 2),
            ("a<!\u{200b}-- evil", "a", 1, 1),
            ("[//]: # (evil)\nb\n[x]: https://a.b/\n", "b\n[x]: https://a.b/\n", 0, 1),
        ] {
            assert_eq!(clean(text), (shown.to_owned(), Hidden { characters, comments }), "{text}");
        }
    }

    #[test]
    fn odd_paths_are_quoted() {
        for (bytes, shown) in [
            (&b"src/a-b.rs"[..], "src/a-b.rs"),
            ("src/größe.rs".as_bytes(), "src/größe.rs"),
            (b"a b\n```", r#""a b\u{a}\u{60}\u{60}\u{60}""#),
            (b"a\xff", r#""a\xff""#),
        ] {
            assert_eq!(shown_path(&RepoPath::new(bytes).unwrap()), shown);
        }
        let long = RepoPath::new("a".repeat(5000)).unwrap();
        assert_eq!(shown_path(&long).chars().count(), 241);
    }

    proptest! {
        #[test]
        fn nothing_closes_its_own_fence(text in "[`~a \n]{0,60}") {
            let fenced = fenced(&text);
            let fence = fenced.split("text\n").next().unwrap().to_owned();
            let inside = fenced.strip_prefix(&format!("{fence}text\n")).unwrap();
            let inside = inside.strip_suffix(&format!("{fence}\n")).unwrap();
            prop_assert!(!inside.contains(&fence));
            prop_assert_eq!(inside.trim_end_matches('\n'), text.trim_end_matches('\n'));
        }

        #[test]
        fn cleaning_twice_finds_nothing_more(text in "(<!--|-->|<!-|-|>|\u{200b}|a|\n|\\[//\\]: # x){0,20}") {
            let (once, _) = clean(&text);
            let (twice, hidden) = clean(&once);
            prop_assert_eq!(&twice, &once);
            prop_assert!(hidden.is_nothing());
        }
    }
}
