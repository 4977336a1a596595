//! Folds identifiers into words: `camelCase` and `snake_case` apart, lower case, plurals as
//! singulars. Prompts, paths and files are folded alike; nothing folded is ever shown.

use super::WORD_MAX;

/// Folds runs into words without allocating for each.
#[derive(Debug, Default)]
pub struct Folder {
    word: String,
}

impl Folder {
    /// Calls `found` with each part of `run` and then with the whole, folded and as it stands.
    pub fn each(&mut self, run: &str, mut found: impl FnMut(&str, &str)) {
        if run.len() > WORD_MAX {
            return;
        }
        let mut parts = 0;
        for part in parts_of(run) {
            parts += 1;
            if part.len() < run.len() {
                self.fold(part);
                found(&self.word, part);
            }
        }
        if parts > 0 {
            self.fold(run);
            found(&self.word, run);
        }
    }

    fn fold(&mut self, text: &str) {
        self.word.clear();
        if text.is_ascii() {
            self.word.extend(text.bytes().map(|byte| byte.to_ascii_lowercase() as char));
        } else {
            self.word.extend(text.chars().flat_map(char::to_lowercase));
        }
        strip_plural(&mut self.word);
    }
}

/// `text` in lower case, a plural as its singular.
pub fn fold(text: &str) -> String {
    let mut folder = Folder::default();
    folder.fold(text);
    folder.word
}

/// `retries` and `retry` become `retri`, `files` becomes `file`; `class`, `status` and `this`
/// keep their `s`, or lose it everywhere alike.
fn strip_plural(word: &mut String) {
    let bytes = word.as_bytes();
    let len = bytes.len();
    if len < 4 || !word.is_ascii() {
        return;
    }
    if bytes.ends_with(b"ies") {
        word.truncate(len - 2);
    } else if bytes.ends_with(b"y") && !b"aeiou".contains(&bytes[len - 2]) {
        word.truncate(len - 1);
        word.push('i');
    } else if bytes.ends_with(b"s") && !b"suia".contains(&bytes[len - 2]) {
        word.truncate(len - 1);
    }
}

/// The parts of an identifier: at `_`, from small to big, and before the last big letter of an
/// acronym (`HTTPServer`).
fn parts_of(run: &str) -> impl Iterator<Item = &str> {
    run.split('_').flat_map(|piece| {
        let mut rest = piece;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let (part, after) = rest.split_at(next_part_end(rest));
            rest = after;
            Some(part)
        })
    })
}

fn next_part_end(text: &str) -> usize {
    if !text.is_ascii() {
        return text.len();
    }
    let bytes = text.as_bytes();
    for at in 1..bytes.len() {
        let (before, here) = (bytes[at - 1], bytes[at]);
        let starts_word = here.is_ascii_uppercase()
            && (!before.is_ascii_uppercase()
                || bytes.get(at + 1).is_some_and(u8::is_ascii_lowercase));
        if starts_word {
            return at;
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_fall_into_words() {
        let words = |run: &str| {
            let mut words = Vec::new();
            Folder::default().each(run, |word, _| words.push(word.to_owned()));
            words
        };
        assert_eq!(words("parseHTTPHeaders"), ["parse", "http", "header", "parsehttpheader"]);
        assert_eq!(words("MAX_RETRIES"), ["max", "retri", "max_retri"]);
        assert_eq!(words("retry"), ["retri"]);
        assert_eq!(words("_"), [""; 0]);
        assert_eq!(words("Größe"), ["größe"]);
    }
}
