//! Texts with places. `{{name}}` is a place, spaces inside the braces allowed; `\{{` stands for the
//! braces themselves. Places are found once: what is put into one is never looked at again.

/// More places than this make a text that nobody reads, and a value could grow it without end.
const MAX_PLACES: usize = 256;
const OPEN: &str = "{{";
const CLOSE: &str = "}}";

/// A text and its places, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Place(String),
}

/// Why a text's places cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadPlace {
    #[error("the `{{{{` in line {line} is not followed by `}}}}`")]
    Unclosed { line: usize },
    #[error("`{{{{{shown}}}}}` in line {line} names no variable")]
    NoName { shown: String, line: usize },
    #[error("there are more than {MAX_PLACES} places")]
    TooMany,
}

impl Template {
    /// Reads `text`.
    pub fn parse(text: &str) -> Result<Self, BadPlace> {
        let (mut parts, mut plain, mut at, mut count) = (Vec::new(), String::new(), 0, 0);
        while let Some(found) = text[at..].find(OPEN) {
            let open = at + found;
            if let Some(before) = text[at..open].strip_suffix('\\') {
                plain.push_str(before);
                plain.push_str(OPEN);
                at = open + OPEN.len();
                continue;
            }
            plain.push_str(&text[at..open]);
            let line = text[..open].matches('\n').count() + 1;
            let inside = &text[open + OPEN.len()..];
            let end = inside.find(CLOSE).ok_or(BadPlace::Unclosed { line })?;
            let name = inside[..end].trim();
            if !is_variable_name(name) {
                let shown = inside[..end].chars().take(40).collect();
                return Err(BadPlace::NoName { shown, line });
            }
            count += 1;
            if count > MAX_PLACES {
                return Err(BadPlace::TooMany);
            }
            parts.push(Part::Text(std::mem::take(&mut plain)));
            parts.push(Part::Place(name.to_owned()));
            at = open + OPEN.len() + end + CLOSE.len();
        }
        plain.push_str(&text[at..]);
        parts.push(Part::Text(plain));
        Ok(Self { parts })
    }

    /// The names in its places, in order; some may stand more than once.
    pub fn places(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Place(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// The name of the one place that it is made of, if it is nothing else.
    pub fn only_place(&self) -> Option<&str> {
        let is_blank = |part: &Part| matches!(part, Part::Text(text) if text.trim().is_empty());
        let mut rest = self.parts.iter().filter(|part| !is_blank(part));
        match (rest.next(), rest.next()) {
            (Some(Part::Place(name)), None) => Some(name),
            _ => None,
        }
    }

    /// The text with `value_of` each name in its place.
    pub fn fill(&self, value_of: impl Fn(&str) -> String) -> String {
        let parts = self.parts.iter().map(|part| match part {
            Part::Text(text) => text.clone(),
            Part::Place(name) => value_of(name),
        });
        parts.collect()
    }
}

/// Whether `text` can be the name of a variable: a lowercase letter, then letters, digits and `_`.
pub(super) fn is_variable_name(text: &str) -> bool {
    text.len() <= 40
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> String {
        Template::parse(text).unwrap().fill(|name| format!("<{name}>"))
    }

    #[test]
    fn places_are_filled_and_braces_can_be_written() {
        assert_eq!(filled("no place { } }}"), "no place { } }}");
        assert_eq!(filled("{{a}} and {{ b_2 }}{{a}}"), "<a> and <b_2><a>");
        assert_eq!(filled(r"${\{{ github.token }} {{a}}"), "${{{ github.token }} <a>");
        assert_eq!(filled(r"\{{a}}"), "{{a}}");
        let template = Template::parse("{{b}} {{a}} {{b}}").unwrap();
        assert_eq!(template.places().collect::<Vec<_>>(), ["b", "a", "b"]);
        assert_eq!(template.fill(|_| "{{a}}".to_owned()), "{{a}} {{a}} {{a}}");
    }

    #[test]
    fn a_lone_place_is_known() {
        let only = |text| Template::parse(text).unwrap().only_place().map(str::to_owned);
        assert_eq!(only(" {{a}}\n").as_deref(), Some("a"));
        for text in ["", "x", "{{a}} x", "{{a}}{{b}}", r"\{{a}}"] {
            assert_eq!(only(text), None, "{text}");
        }
    }

    #[test]
    fn a_place_that_is_none_is_told_with_its_line() {
        let bad = |text: &str| Template::parse(text).unwrap_err();
        assert_eq!(bad("a\nb {{c"), BadPlace::Unclosed { line: 2 });
        for inside in ["", " ", "A", "a-b", "a.b", "1a", "{a", "a b", &"a".repeat(41)] {
            let error = bad(&format!("\n\n{{{{{inside}}}}}"));
            assert!(matches!(&error, BadPlace::NoName { line: 3, .. }), "{inside}: {error}");
        }
        assert_eq!(bad("{{a b}}").to_string(), "`{{a b}}` in line 1 names no variable");
        assert_eq!(bad(&"{{a}}".repeat(257)), BadPlace::TooMany);
        assert!(Template::parse(&"{{a}}".repeat(256)).is_ok());
    }
}
