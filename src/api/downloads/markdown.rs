//! Words of people, repositories and Claude in Markdown of ours: nothing in them is hidden, and none of
//! them can end where it stands, become a heading, a row, a link or a picture. What it says is not
//! judged.

use crate::scan::{fenced, on_one_line};

use super::super::words::printable;

/// What means something to Markdown inside a line.
const SIGNS: &str = "\\`*_{}[]<>#|~!&$";

/// Words as part of a line or a cell.
pub fn inline(text: &str) -> String {
    let one_line = text.trim().replace("\r\n", " ").replace(['\n', '\t'], " ");
    let mut out = String::new();
    let mut only_digits = true;
    for (at, c) in on_one_line(&one_line).chars().enumerate() {
        // What begins a list or a heading begins none.
        let begins = at == 0 && "+-=".contains(c);
        let numbers = at > 0 && only_digits && ".)".contains(c);
        only_digits &= c.is_ascii_digit();
        if begins || numbers || SIGNS.contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// A name, a path or a command as code inside a line.
pub fn code(text: &str) -> String {
    let shown = on_one_line(text);
    let longest = shown.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let is_touchy =
        shown.is_empty() || shown.starts_with(['`', ' ']) || shown.ends_with(['`', ' ']);
    let space = if is_touchy { " " } else { "" };
    format!("{fence}{space}{shown}{space}{fence}")
}

/// The same in a cell of a table.
pub fn code_cell(text: &str) -> String {
    code(text).replace('|', "\\|")
}

/// A text of several lines, as it is, between fences that it cannot end. Ends with a line end.
pub fn block(text: &str) -> String {
    fenced(&printable(text))
}

/// Prose of somebody: quoted where nothing in it could be a link, a picture or a tag, else a block.
/// Ends with a line end.
pub fn prose(text: &str) -> String {
    let text = printable(text.trim());
    if text.contains(['<', '[', '&']) {
        return fenced(&text);
    }
    let mut out = String::new();
    for line in text.lines() {
        out.push_str(if line.is_empty() { ">" } else { "> " });
        out.push_str(line);
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_stay_in_their_line() {
        for (text, shown) in [
            ("It greets.", "It greets."),
            ("a | b\n## c", "a \\| b \\#\\# c"),
            ("- no list", "\\- no list"),
            ("12. no list", "12\\. no list"),
            ("![x](https://a.b/c)", "\\!\\[x\\](https://a.b/c)"),
            ("<img src=x>&lt;", "\\<img src=x\\>\\&lt;"),
            ("a\u{202e}b\rc", "a\\<U+202E\\>b\\<U+000D\\>c"),
        ] {
            assert_eq!(inline(text), shown);
        }
    }

    #[test]
    fn code_holds_its_backticks() {
        for (text, shown) in [
            ("a b", "`a b`"),
            ("a`b", "``a`b``"),
            ("``", "``` `` ```"),
            ("", "`  `"),
            ("a\nb", "`a<U+000A>b`"),
        ] {
            assert_eq!(code(text), shown);
        }
        assert_eq!(code_cell("a|b"), "`a\\|b`");
    }

    #[test]
    fn prose_is_quoted_unless_it_could_be_more() {
        assert_eq!(prose("Do it.\n\n# Now\n"), "> Do it.\n>\n> # Now\n");
        assert_eq!(prose("```\n## out"), "> ```\n> ## out\n");
        assert_eq!(prose("[x](y)"), "````text\n[x](y)\n````\n");
        assert_eq!(prose("````\n<b>"), "`````text\n````\n<b>\n`````\n");
    }

    proptest! {
        #[test]
        fn no_sign_of_a_line_is_left_bare(text in "[-`|<>#a1. \n\\\\\\[\\]!_*]{0,40}") {
            let shown = inline(&text);
            prop_assert!(!shown.contains('\n'));
            let mut chars = shown.chars();
            while let Some(c) = chars.next() {
                match c {
                    '\\' => { chars.next(); }
                    c => prop_assert!(!SIGNS.contains(c), "{}", shown),
                }
            }
        }
    }
}
