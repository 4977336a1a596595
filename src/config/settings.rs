//! How settings are read: a key of the file, under a variable of the environment, under a default. What
//! is read is noted, for people to see; what the settings mean is told by each group's own file.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;

use super::{ConfigError, ConfigRow};

pub(super) fn read_file(path: &Path) -> Result<BTreeMap<String, String>, ConfigError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(source) => return Err(ConfigError::Read { path: path.to_owned(), source }),
    };
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| ConfigError::Toml {
        path: path.to_owned(),
        message: error.message().to_owned(),
    })?;
    Ok(table.into_iter().map(|(key, value)| (key, plain(&value))).collect())
}

/// A value as it would stand in a variable.
fn plain(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// Settings while they are read: each key is taken out of the file.
pub(super) struct Settings<'a> {
    pub file: BTreeMap<String, String>,
    pub env: &'a dyn Fn(&str) -> Option<String>,
    pub rows: Vec<ConfigRow>,
}

impl Settings<'_> {
    /// The setting's text and where it comes from.
    fn take(&mut self, key: &str, variable: &str) -> Option<(String, &'static str)> {
        let in_file = self.file.remove(key);
        match (self.env)(variable).filter(|value| !value.is_empty()) {
            Some(value) => Some((value, "environment")),
            None => in_file.map(|value| (value, "file")),
        }
    }

    fn note(&mut self, key: &str, variable: &str, value: String, source: &'static str) {
        let (key, variable) = (key.to_owned(), variable.to_owned());
        self.rows.push(ConfigRow { key, value, source, variable });
    }

    pub fn optional(&mut self, key: &str, variable: &str) -> Option<String> {
        let taken = self.take(key, variable);
        let (shown, source) = match &taken {
            Some((value, source)) => (value.clone(), *source),
            None => ("(none)".to_owned(), "default"),
        };
        self.note(key, variable, shown, source);
        taken.map(|(value, _)| value)
    }

    pub fn text(&mut self, key: &str, variable: &str, default: &str) -> String {
        let (value, source) =
            self.take(key, variable).unwrap_or_else(|| (default.to_owned(), "default"));
        self.note(key, variable, value.clone(), source);
        value
    }

    pub fn list(
        &mut self,
        key: &str,
        variable: &str,
        default: &str,
        separator: char,
    ) -> Vec<String> {
        let text = self.text(key, variable, default).replace(',', &separator.to_string());
        text.split(separator)
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(str::to_owned)
            .collect()
    }

    pub fn parsed<T>(
        &mut self,
        key: &'static str,
        variable: &str,
        default: String,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, ConfigError> {
        let (value, source) = self.take(key, variable).unwrap_or((default, "default"));
        let Some(parsed) = parse(&value) else {
            return Err(ConfigError::BadValue { key, value, source_name: source, expected });
        };
        self.note(key, variable, value, source);
        Ok(parsed)
    }

    pub fn number<T: FromStr + std::fmt::Display>(
        &mut self,
        key: &'static str,
        variable: &str,
        default: T,
    ) -> Result<T, ConfigError> {
        let parse = |text: &str| text.replace('_', "").parse().ok();
        self.parsed(key, variable, default.to_string(), "a whole number", parse)
    }

    pub fn boolean(
        &mut self,
        key: &'static str,
        variable: &str,
        default: bool,
    ) -> Result<bool, ConfigError> {
        let parse = |text: &str| match text {
            "true" | "on" | "1" | "yes" => Some(true),
            "false" | "off" | "0" | "no" => Some(false),
            _ => None,
        };
        self.parsed(key, variable, default.to_string(), "true or false", parse)
    }

    pub fn millis(
        &mut self,
        key: &'static str,
        variable: &str,
        default: u64,
    ) -> Result<Duration, ConfigError> {
        self.number(key, variable, default).map(Duration::from_millis)
    }

    pub fn dollars(
        &mut self,
        key: &'static str,
        variable: &str,
        default: &str,
    ) -> Result<u64, ConfigError> {
        self.parsed(key, variable, default.to_owned(), "an amount of dollars such as 2.50", micros)
    }

    pub fn optional_dollars(
        &mut self,
        key: &'static str,
        variable: &str,
    ) -> Result<Option<u64>, ConfigError> {
        let expected = "an amount of dollars such as 2.50, or none";
        self.parsed(key, variable, "none".to_owned(), expected, |text| match text {
            "none" => Some(None),
            amount => micros(amount).map(Some),
        })
    }

    /// A secret: only ever from the environment, and shown as set or not.
    pub fn secret(&mut self, variables: &[&str]) -> Option<SecretString> {
        let found = variables
            .iter()
            .find_map(|variable| (self.env)(variable).filter(|value| !value.trim().is_empty()));
        let (shown, source) = match found {
            Some(_) => ("(set)", "environment"),
            None => ("(not set)", "default"),
        };
        self.note("", &variables.join(" or "), shown.to_owned(), source);
        found.map(|value| SecretString::from(value.trim().to_owned()))
    }
}

/// An amount of dollars in micro-dollars, without rounding: at most six decimals, no sign.
pub fn micros(text: &str) -> Option<u64> {
    let (whole, decimals) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && decimals.is_empty()) || !digits(whole) || !digits(decimals) {
        return None;
    }
    if decimals.len() > 6 {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let decimals: u64 = format!("{decimals:0<6}").parse().ok()?;
    whole.checked_mul(1_000_000)?.checked_add(decimals)
}
