//! One rule: a pattern, how random a secret of its kind is, and what looks like one and is none. The
//! patterns are written for RE2, where classes mean ASCII, so they are matched against bytes.

use std::sync::OnceLock;

use aho_corasick::AhoCorasick;
use regex::bytes::{Regex, RegexBuilder};
use serde::Deserialize;

/// The largest program that a pattern may become. The repetitions of the largest need a few megabytes.
const MAX_PROGRAM_BYTES: usize = 32 << 20;

/// A rule, as the file has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleData {
    id: String,
    pattern: String,
    /// One of them, in any case, is in every text that the rule can match.
    pub(super) keywords: Vec<String>,
    /// The group of the pattern that is the secret; else the first that matches anything.
    group: Option<usize>,
    /// A secret has more than these thousandths of a bit of entropy a byte.
    #[serde(default)]
    entropy_milli: u32,
    /// The rule is for files whose path matches.
    path: Option<String>,
    #[serde(default)]
    allow: Vec<AllowData>,
}

/// What is no secret, as the file has it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AllowData {
    target: Target,
    /// Whether path and text have to fit both.
    all: bool,
    regexes: Vec<String>,
    paths: Vec<String>,
    stopwords: Vec<String>,
}

/// What patterns of the allowed are matched against.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Target {
    #[default]
    Secret,
    Match,
    Line,
}

/// A rule that can be asked.
#[derive(Debug)]
pub(super) struct Rule {
    data: RuleData,
    pattern: OnceLock<Option<Regex>>,
    path: OnceLock<Option<Regex>>,
    allow: Vec<Allow>,
}

/// What is no secret.
#[derive(Debug)]
pub(super) struct Allow {
    data: AllowData,
    regexes: OnceLock<Vec<Regex>>,
    paths: OnceLock<Vec<Regex>>,
    stopwords: OnceLock<Option<AhoCorasick>>,
}

/// A match, as the allowed are asked about it.
struct Seen<'a> {
    secret: &'a [u8],
    whole: &'a [u8],
    line: &'a [u8],
    path: Option<&'a str>,
}

pub(super) fn compile(pattern: &str) -> Option<Regex> {
    let mut builder = RegexBuilder::new(pattern);
    builder.unicode(false).size_limit(MAX_PROGRAM_BYTES).dfa_size_limit(4 << 20);
    match builder.build() {
        Ok(regex) => Some(regex),
        // A test compiles them all.
        Err(error) => {
            tracing::error!(%error, "a rule for secrets cannot be used");
            None
        }
    }
}

impl Rule {
    pub(super) fn new(mut data: RuleData) -> Self {
        let allow = std::mem::take(&mut data.allow).into_iter().map(Allow::new).collect();
        Self { data, pattern: OnceLock::new(), path: OnceLock::new(), allow }
    }

    pub(super) fn id(&self) -> &str {
        &self.data.id
    }

    #[cfg(test)]
    pub(super) fn compiles(&self) -> bool {
        let path = self.data.path.as_ref();
        compile(&self.data.pattern).is_some()
            && path.is_none_or(|path| compile(path).is_some())
            && self.allow.iter().all(Allow::compiles)
    }

    /// Whether the rule is for a text that stands there. Where that is unknown, it may be.
    pub(super) fn holds_for(&self, path: Option<&str>) -> bool {
        let (Some(wanted), Some(path)) = (&self.data.path, path) else { return true };
        let wanted = self.path.get_or_init(|| compile(wanted));
        wanted.as_ref().is_none_or(|wanted| wanted.is_match(path.as_bytes()))
    }

    /// Where secrets stand in `text`.
    pub(super) fn find(
        &self,
        text: &str,
        path: Option<&str>,
        allow: &Allow,
    ) -> Vec<(usize, usize)> {
        let pattern = self.pattern.get_or_init(|| compile(&self.data.pattern));
        let Some(pattern) = pattern else { return Vec::new() };
        let bytes = text.as_bytes();
        let mut found = Vec::new();
        for captures in pattern.captures_iter(bytes) {
            let Some(whole) = captures.get(0) else { continue };
            let secret = match self.data.group {
                Some(group) => captures.get(group),
                None => captures.iter().skip(1).flatten().find(|group| !group.is_empty()),
            };
            let secret = secret.unwrap_or(whole);
            let seen = Seen {
                secret: secret.as_bytes(),
                whole: whole.as_bytes(),
                line: line_of(bytes, whole.start(), whole.end()),
                path,
            };
            let is_allowed = || allow.takes(&seen) || self.allow.iter().any(|one| one.takes(&seen));
            // A match within a character of the text would be cut out of it.
            let is_whole =
                text.is_char_boundary(secret.start()) && text.is_char_boundary(secret.end());
            if is_whole && self.is_random(seen.secret) && !is_allowed() {
                found.push((secret.start(), secret.end()));
            }
        }
        found
    }

    fn is_random(&self, secret: &[u8]) -> bool {
        let least = f64::from(self.data.entropy_milli) / 1_000.0;
        let has_enough = least == 0.0 || entropy(secret) > least;
        // What could be anything is a secret only with a digit, as gitleaks itself has it.
        let is_generic = self.data.id.starts_with(super::GENERIC);
        has_enough && (!is_generic || secret.iter().any(u8::is_ascii_digit))
    }
}

impl Allow {
    pub(super) fn new(data: AllowData) -> Self {
        let (regexes, paths, stopwords) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Self { data, regexes, paths, stopwords }
    }

    #[cfg(test)]
    fn compiles(&self) -> bool {
        self.data.regexes.iter().chain(&self.data.paths).all(|pattern| compile(pattern).is_some())
    }

    /// Whether nothing at this path is a secret.
    pub(super) fn takes_path(&self, path: &str) -> bool {
        let paths = self.paths.get_or_init(|| all(&self.data.paths));
        paths.iter().any(|regex| regex.is_match(path.as_bytes()))
    }

    fn takes(&self, seen: &Seen<'_>) -> bool {
        let text = match self.data.target {
            Target::Secret => seen.secret,
            Target::Match => seen.whole,
            Target::Line => seen.line,
        };
        let regexes = self.regexes.get_or_init(|| all(&self.data.regexes));
        let fits = regexes.iter().any(|regex| regex.is_match(text));
        if self.data.all {
            return fits && seen.path.is_some_and(|path| self.takes_path(path));
        }
        fits || self.has_stopword(seen.secret)
            || (!self.data.paths.is_empty() && seen.path.is_some_and(|path| self.takes_path(path)))
    }

    fn has_stopword(&self, secret: &[u8]) -> bool {
        let words = &self.data.stopwords;
        let stopwords = self.stopwords.get_or_init(|| {
            let builder = || AhoCorasick::builder().ascii_case_insensitive(true).build(words).ok();
            (!words.is_empty()).then(builder).flatten()
        });
        stopwords.as_ref().is_some_and(|stopwords| stopwords.is_match(secret))
    }
}

fn all(patterns: &[String]) -> Vec<Regex> {
    patterns.iter().filter_map(|pattern| compile(pattern)).collect()
}

/// The lines that a match stands on.
fn line_of(text: &[u8], start: usize, end: usize) -> &[u8] {
    let from = text[..start].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let to = text[end..].iter().position(|byte| *byte == b'\n').map_or(text.len(), |at| end + at);
    &text[from..to]
}

/// Shannon's entropy, in bits a byte.
fn entropy(bytes: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    bytes.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    let length = f64::from(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    let shares = counts.iter().filter(|count| **count > 0).map(|count| f64::from(*count) / length);
    shares.map(|share| -share * share.log2()).sum()
}
