//! What looks like a secret in a text. The rules are those of gitleaks, as data; the text is looked
//! through for their keywords first, and a rule's pattern is compiled when its keyword is first met.

mod known;
mod rule;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::OnceLock;

use aho_corasick::AhoCorasick;
use serde::Deserialize;

pub use known::KnownSecrets;
use rule::{Allow, Rule, RuleData};

/// Bytes that a rule looks at around one of its keywords. The longest secrets are private keys.
const BEFORE: usize = 400;
const AFTER: usize = 8 << 10;
/// A text with more findings is no text with secrets in it, but noise.
const MOST_FINDINGS: usize = 1_000;

/// Rules whose name begins like this know least of what they find.
const GENERIC: &str = "generic";

/// Something in a text that looks like a secret. It does not hold the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The name of the rule.
    pub rule: String,
    /// The line, from 1.
    pub line: usize,
    /// Where the secret stands in the text, in bytes.
    pub start: usize,
    pub end: usize,
}

/// The rules, ready for use.
#[derive(Debug)]
struct Rules {
    allow: Allow,
    rules: Vec<Rule>,
    keywords: AhoCorasick,
    /// The rule that each keyword belongs to.
    rule_of: Vec<usize>,
}

/// The file of rules.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RulesData {
    #[expect(dead_code, reason = "for whoever reads the file: where the rules come from")]
    source: String,
    #[expect(dead_code, reason = "for whoever reads the file: when they were taken")]
    taken: String,
    allow: rule::AllowData,
    rules: Vec<RuleData>,
}

fn rules() -> Result<&'static Rules, &'static str> {
    static RULES: OnceLock<Result<Rules, String>> = OnceLock::new();
    let rules = RULES.get_or_init(|| Rules::read().map_err(|error| error.to_string()));
    rules.as_ref().map_err(String::as_str)
}

/// Everything in `text` that looks like a secret, in order, none within another. `path` is where the
/// text stands, if it stands anywhere: some rules hold for some files only.
pub fn find(text: &str, path: Option<&str>) -> Vec<Finding> {
    match rules() {
        Ok(rules) => in_order(text, rules.find(text, path)),
        // A test reads the file of rules; what it accepts is read here.
        Err(error) => {
            tracing::error!(error, "no text can be searched for secrets");
            Vec::new()
        }
    }
}

/// The same, and the secrets of our own.
pub fn find_all(text: &str, path: Option<&str>, known: &KnownSecrets) -> Vec<Finding> {
    let mut findings = known.find(text);
    findings.extend(find(text, path));
    in_order(text, findings)
}

/// `text` with a mark in place of each secret, and how many there were; nothing if there was none.
pub fn mask(text: &str, known: &KnownSecrets) -> Option<(String, usize)> {
    // A character that does not show ends a word, even where it was written out.
    let findings = find_all(&super::hidden::blanked(text), None, known);
    if findings.is_empty() {
        return None;
    }
    let mut masked = String::with_capacity(text.len());
    let mut rest = 0;
    for finding in &findings {
        masked.push_str(&text[rest..finding.start]);
        masked.push_str(&format!("[secret removed: {}]", finding.rule));
        rest = finding.end;
    }
    masked.push_str(&text[rest..]);
    Some((masked, findings.len()))
}

/// Findings by place, without those that reach into an earlier one, and with their lines.
fn in_order(text: &str, mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by_key(|finding| (finding.start, Reverse(finding.end)));
    let mut kept: Vec<Finding> = Vec::new();
    let (mut line, mut counted) = (1, 0);
    for mut finding in findings {
        if let Some(last) = kept.last_mut()
            && finding.start < last.end
        {
            // Two that overlap are one: nothing of either may stay.
            last.end = last.end.max(finding.end);
            if last.rule.starts_with(GENERIC) {
                last.rule = finding.rule;
            }
            continue;
        }
        line += text[counted..finding.start].bytes().filter(|byte| *byte == b'\n').count();
        counted = finding.start;
        finding.line = line;
        kept.push(finding);
    }
    kept
}

impl Rules {
    fn read() -> Result<Self, Box<dyn std::error::Error>> {
        let data: RulesData = serde_json::from_str(include_str!("rules.json"))?;
        let mut words = Vec::new();
        let mut rule_of = Vec::new();
        for (index, rule) in data.rules.iter().enumerate() {
            words.extend(rule.keywords.iter().cloned());
            rule_of.resize(words.len(), index);
        }
        Ok(Self {
            allow: Allow::new(data.allow),
            rules: data.rules.into_iter().map(Rule::new).collect(),
            keywords: AhoCorasick::builder().ascii_case_insensitive(true).build(&words)?,
            rule_of,
        })
    }

    fn find(&self, text: &str, path: Option<&str>) -> Vec<Finding> {
        let mut findings = Vec::new();
        if path.is_some_and(|path| self.allow.takes_path(path)) {
            return findings;
        }
        for (index, windows) in self.windows(text) {
            let rule = &self.rules[index];
            if !rule.holds_for(path) {
                continue;
            }
            for (start, end) in windows {
                for (from, to) in rule.find(&text[start..end], path, &self.allow) {
                    findings.push(Finding {
                        rule: rule.id().to_owned(),
                        line: 0,
                        start: start + from,
                        end: start + to,
                    });
                }
                if findings.len() >= MOST_FINDINGS {
                    return findings;
                }
            }
        }
        findings
    }

    /// Where each rule has to look: around its keywords.
    fn windows(&self, text: &str) -> BTreeMap<usize, Vec<(usize, usize)>> {
        let mut all: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
        for hit in self.keywords.find_overlapping_iter(text) {
            let start = text.floor_char_boundary(hit.start().saturating_sub(BEFORE));
            let end = text.ceil_char_boundary((hit.end() + AFTER).min(text.len()));
            let windows = all.entry(self.rule_of[hit.pattern().as_usize()]).or_default();
            match windows.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => windows.push((start, end)),
            }
        }
        all
    }
}
