//! Secrets of our own, known by their values: they are found whatever they look like, also in the
//! forms in which programs print them.

use std::fmt;

use aho_corasick::AhoCorasick;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret as _, SecretString};

use super::Finding;

/// A shorter value is no secret, and would be found everywhere.
const SHORTEST: usize = 8;

/// Values that are found wherever they stand.
#[derive(Clone, Default)]
pub struct KnownSecrets {
    values: Option<AhoCorasick>,
}

impl KnownSecrets {
    /// These values, and the forms that they take in base64, in URLs and in JSON.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a SecretString>) -> Self {
        let mut forms: Vec<String> = Vec::new();
        for value in values {
            let value = value.expose_secret();
            if value.len() < SHORTEST {
                continue;
            }
            forms.push(value.to_owned());
            forms.push(url::form_urlencoded::byte_serialize(value.as_bytes()).collect());
            forms.push(serde_json::Value::from(value).to_string().trim_matches('"').to_owned());
            forms.push(hex::encode(value));
            // Within something longer, base64 has one of three forms; the edges of each depend on
            // what stands beside it.
            for lead in 0..3 {
                let padded = [&b"\0\0"[..lead], value.as_bytes()].concat();
                for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
                    let text = engine.encode(&padded);
                    let from = if lead == 0 { 0 } else { lead + 1 };
                    let to = text.len() - usize::from(padded.len() % 3 != 0);
                    forms.push(text[from..to].to_owned());
                }
            }
            forms.push(STANDARD.encode(value));
        }
        forms.retain(|form| form.len() >= SHORTEST);
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        forms.dedup();
        let builder = || {
            let mut builder = AhoCorasick::builder();
            builder.match_kind(aho_corasick::MatchKind::LeftmostLongest).build(&forms).ok()
        };
        Self { values: (!forms.is_empty()).then(builder).flatten() }
    }

    /// Where they stand in `text`.
    pub(super) fn find(&self, text: &str) -> Vec<Finding> {
        let Some(values) = &self.values else { return Vec::new() };
        let hits = values.find_iter(text);
        hits.map(|hit| Finding {
            rule: "our-own".to_owned(),
            line: 0,
            start: hit.start(),
            end: hit.end(),
        })
        .filter(|hit| text.is_char_boundary(hit.start) && text.is_char_boundary(hit.end))
        .collect()
    }
}

impl fmt::Debug for KnownSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnownSecrets").finish_non_exhaustive()
    }
}
