//! Characters that a reader does not see and a model does: where text of strangers is shown as it is,
//! each of them is written out. Nothing is taken out here, and what the text says is not judged.

use std::borrow::Cow;

/// How a mark begins: `<U+200B>` stands for one character.
const MARK: &str = "<U+";

/// Characters that show nothing, or change the order in which others are shown. Line feed and tab
/// stay. After Unicode's `Default_Ignorable_Code_Point`, `Bidi_Control`, `Cc`, `Zl`, `Zp` and the tag
/// block.
pub(super) fn is_hidden(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' => true,
        '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' => true,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => true,
        '\u{fe00}'..='\u{fe0f}' | '\u{fff0}'..='\u{fffb}' => true,
        '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' => true,
        '\u{e0000}'..='\u{e0fff}' => true,
        c => c.is_control(),
    }
}

/// `text` with a mark such as `<U+200B>` in place of each hidden character. All else stays byte for
/// byte, and so do `\r\n`, and joiners and emoji styles where they make what is seen: `❤️`, `👩‍💻`,
/// Persian and Hindi words. Doing it twice changes nothing more.
pub fn revealed(text: &str) -> Cow<'_, str> {
    with_marks(text, shows)
}

/// [`revealed`], with marks for line ends too: for a name that stands inside a line of ours.
pub fn on_one_line(text: &str) -> Cow<'_, str> {
    with_marks(text, |before, c, next| !matches!(c, '\n' | '\r') && shows(before, c, next))
}

fn with_marks(text: &str, shows: impl Fn(char, char, Option<char>) -> bool) -> Cow<'_, str> {
    let (mut shown, mut copied) = (String::new(), 0);
    // What was hidden joins nothing.
    let mut before = '\0';
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if shows(before, c, chars.peek().map(|(_, next)| *next)) {
            before = c;
            continue;
        }
        shown.push_str(&text[copied..at]);
        shown.push_str(&format!("{MARK}{:04X}>", u32::from(c)));
        copied = at + c.len_utf8();
        before = '\0';
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    shown.push_str(&text[copied..]);
    Cow::Owned(shown)
}

/// Whether a reader can see `c`, or what it does to its neighbours.
fn shows(before: char, c: char, next: Option<char>) -> bool {
    let is_next = |is: fn(char) -> bool| next.is_some_and(is);
    let is_between_letters = || has_joiners(before) && is_next(has_joiners);
    match c {
        '\r' => next == Some('\n'),
        '\u{fe0e}' | '\u{fe0f}' => {
            let is_keycap = matches!(before, '0'..='9' | '#' | '*') && next == Some('\u{20e3}');
            is_pictograph(before) || is_keycap
        }
        '\u{200c}' => is_between_letters(),
        '\u{200d}' => {
            let is_emoji = is_pictograph(before) || before == '\u{fe0f}';
            (is_emoji && is_next(is_pictograph)) || is_between_letters()
        }
        c => !is_hidden(c),
    }
}

/// Symbols that have an emoji style or are parts of emoji; some more of their blocks, which all show.
fn is_pictograph(c: char) -> bool {
    matches!(
        c,
        '\u{a9}' | '\u{ae}' | '\u{203c}' | '\u{2049}' | '\u{2122}' | '\u{2139}' | '\u{24c2}'
        | '\u{2190}'..='\u{21ff}' | '\u{2300}'..='\u{23ff}' | '\u{25a0}'..='\u{27bf}'
        | '\u{2900}'..='\u{297f}' | '\u{2b00}'..='\u{2bff}'
        | '\u{3030}' | '\u{303d}' | '\u{3297}' | '\u{3299}' | '\u{1f000}'..='\u{1faff}'
    )
}

/// What shows of the scripts in which a joiner between two characters is spelling: Arabic and its
/// kin, those of India and South-East Asia, Mongolian.
fn has_joiners(c: char) -> bool {
    let is_of_such = matches!(
        c,
        '\u{600}'..='\u{dff}' | '\u{f00}'..='\u{109f}' | '\u{1780}'..='\u{18af}'
        | '\u{a840}'..='\u{abff}' | '\u{fb50}'..='\u{fdff}' | '\u{fe70}'..='\u{fefc}'
    );
    is_of_such && !is_hidden(c)
}

/// Where marks stand in `text`, as ranges of bytes.
fn marks(text: &str) -> impl Iterator<Item = std::ops::Range<usize>> {
    text.match_indices(MARK).filter_map(|(start, _)| {
        let digits = &text[start + MARK.len()..];
        let digits = &digits[..digits.find('>').filter(|length| (4..=6).contains(length))?];
        let marked = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32)?;
        let is_mark = is_hidden(marked) || marked == '\n';
        is_mark.then(|| start..start + MARK.len() + digits.len() + 1)
    })
}

/// Whether marks stand in `text`: it may have been copied from where hidden characters were shown.
pub fn has_marks(text: &str) -> bool {
    marks(text).next().is_some()
}

/// `text` without hidden characters, and without the marks of such.
pub fn without_hidden(text: &str) -> String {
    let (mut plain, mut copied) = (String::with_capacity(text.len()), 0);
    for mark in marks(text) {
        plain.extend(text[copied..mark.start].chars().filter(|c| !is_hidden(*c)));
        copied = mark.end;
    }
    plain.extend(text[copied..].chars().filter(|c| !is_hidden(*c)));
    plain
}

/// `text` with spaces for marks and for what a terminal takes as one with them (`<U+001B>[31m`), byte
/// for byte as long: a word ends beside a hidden character, for whoever looks for words.
pub(super) fn blanked(text: &str) -> Cow<'_, str> {
    let mut blanked = Cow::Borrowed(text);
    for mark in marks(text) {
        let end = mark.end + sequence_length(&text[mark.start..mark.end], &text[mark.end..]);
        blanked.to_mut().replace_range(mark.start..end, &" ".repeat(end - mark.start));
    }
    blanked
}

/// How much of `rest` belongs to the control sequence that `mark` begins, in bytes.
fn sequence_length(mark: &str, rest: &str) -> usize {
    let start = match mark {
        "<U+001B>" if rest.starts_with('[') => 1,
        "<U+009B>" => 0,
        _ => return 0,
    };
    let is_parameter = |c: char| matches!(c, '0'..='?');
    let parameters = rest[start..].find(|c| !is_parameter(c)).unwrap_or(0);
    let is_final = rest[start + parameters..].starts_with(|c: char| matches!(c, '@'..='~'));
    if is_final { start + parameters + 1 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use regex::Regex;

    fn all(class: &str) -> Vec<char> {
        let class = Regex::new(&format!("^[{class}]$")).unwrap();
        let is_meant = |c: &char| class.is_match(c.encode_utf8(&mut [0; 4]));
        ('\0'..=char::MAX).filter(is_meant).collect()
    }

    /// Unicode's own tables, as the regex crate has them.
    #[test]
    fn all_that_unicode_hides_is_hidden_and_no_letter_or_mark_is() {
        for c in all(r"\p{Default_Ignorable_Code_Point}\p{Bidi_Control}\p{Cc}\p{Zl}\p{Zp}") {
            assert_eq!(is_hidden(c), c != '\n' && c != '\t', "{c:?}");
        }
        let visible = r"\p{L}\p{M}\p{N}\p{P}\p{S}\p{Zs}--\p{Default_Ignorable_Code_Point}";
        for c in all(visible) {
            assert_eq!(revealed(c.encode_utf8(&mut [0; 4])), c.to_string(), "{c:?}");
        }
        let emoji = all(r"\p{Emoji}--[0-9#*]");
        assert!(emoji.len() > 1_000);
        assert!(emoji.into_iter().all(is_pictograph));
    }

    #[test]
    fn ordinary_text_stays_byte_for_byte() {
        for text in [
            "tabs\tand lines\r\nof a file\n\n",
            "e\u{301}, ä, Größe, 日本語, ひらがな, 한국어, NBSP\u{a0}and ideographic\u{3000}space",
            "שלום עולם, مرحبا بالعالم, \u{627}\u{64e}",
            "می\u{200c}خواهم, क्\u{200d}ष, ක්\u{200d}ර",
            "❤\u{fe0f} ✔\u{fe0e} 1\u{fe0f}\u{20e3} ©\u{fe0f}",
            "👩\u{200d}💻 👩🏽\u{200d}🚀 👨\u{200d}👩\u{200d}👧 🏳\u{fe0f}\u{200d}🌈 🏴\u{200d}☠\u{fe0f} 🇩🇪",
            "literally \\u{202e} and &#x202e; and <U+202E>",
            "\u{e0b0} icons of terminals",
        ] {
            assert!(matches!(revealed(text), Cow::Borrowed(same) if same == text), "{text:?}");
        }
    }

    #[test]
    fn what_hides_is_written_out() {
        for (text, shown) in [
            ("a\u{200b}b", "a<U+200B>b"),
            ("if (\u{202e}x\u{2066}", "if (<U+202E>x<U+2066>"),
            ("hi\u{e0041}\u{e007f}", "hi<U+E0041><U+E007F>"),
            ("\u{1b}[2J\u{9b}31m\u{7}\u{7f}\0", "<U+001B>[2J<U+009B>31m<U+0007><U+007F><U+0000>"),
            ("safe\rEVIL\r\n", "safe<U+000D>EVIL\r\n"),
            ("\u{fff9}a\u{fffa}b\u{fffb}", "<U+FFF9>a<U+FFFA>b<U+FFFB>"),
            ("a\u{2028}b\u{85}c", "a<U+2028>b<U+0085>c"),
            // Bytes in variation selectors: one shows what it does, the rest nothing.
            ("😀\u{fe0f}\u{fe0f}\u{e0101}", "😀\u{fe0f}<U+FE0F><U+E0101>"),
            ("a\u{fe0f}", "a<U+FE0F>"),
            ("日\u{e0100}", "日<U+E0100>"),
            // Joiners that join nothing.
            ("a\u{200d}b", "a<U+200D>b"),
            ("👩\u{200d}\u{200d}💻", "👩<U+200D><U+200D>💻"),
            ("a\u{fe0f}\u{200d}💻", "a<U+FE0F><U+200D>💻"),
            ("می\u{200c} \u{200c}خ", "می<U+200C> <U+200C>خ"),
            ("م\u{200c}\u{200d}خ", "م<U+200C><U+200D>خ"),
            ("1\u{fe0f}2", "1<U+FE0F>2"),
        ] {
            assert_eq!(revealed(text), shown, "{text:?}");
        }
        assert_eq!(on_one_line("a\r\n\tb\u{200b}"), "a<U+000D><U+000A>\tb<U+200B>");
    }

    #[test]
    fn marks_are_told_from_what_only_looks_like_them() {
        assert!(has_marks("a<U+200B>") && has_marks("<U+E0041>") && has_marks("<U+000A>"));
        for text in ["<U+0041>", "<U+20>", "<U+200B", "U+200B", "<U+11200B>", "<U+D800>", "<U+😀>"]
        {
            assert!(!has_marks(text), "{text}");
        }
        assert_eq!(without_hidden("a<U+200B>b\u{200b}c <U+0041>"), "abc <U+0041>");
        for (text, blank) in [
            ("é<U+E0041>b<U+0041>", "é         b<U+0041>"),
            ("<U+001B>[1;31mred<U+001B>[0m", "              red           "),
            ("<U+009B>2Jx<U+001B>]0;x", "          x        ]0;x"),
            ("<U+001B>[", "        ["),
            ("<U+001B>[3é", "        [3é"),
        ] {
            assert_eq!(blanked(text), blank, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_revealed_has_nothing_hidden_alone_and_stays_so(
            text in "(a|👩|❤|م|क|1|\n|\r|\u{200b}|\u{200c}|\u{200d}|\u{fe0f}|\u{e0041}|\u{202e}|<U|>|.){0,24}"
        ) {
            let shown = revealed(&text);
            prop_assert_eq!(revealed(&shown), shown.as_ref());
            let plain = |text: &str| without_hidden(text).replace('\r', "");
            prop_assert_eq!(plain(&shown), plain(&text));
            // No two characters that do not show stand side by side, but for an emoji's style and joiner.
            let chars: Vec<char> = shown.chars().collect();
            for pair in chars.windows(2) {
                let is_styled = pair[0] == '\u{fe0f}' && pair[1] == '\u{200d}';
                prop_assert!(is_styled || !(is_hidden(pair[0]) && is_hidden(pair[1])), "{:?}", shown);
            }
            prop_assert!(!on_one_line(&text).contains(['\n', '\r']));
        }
    }
}
