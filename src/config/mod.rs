//! Configuration: `config.toml` in the data directory, under `CODY_*` variables, under flags. Read
//! once, at the start, into one plain struct a room.

mod access;
mod claude;
mod dependencies;
mod dispatch;
mod git;
mod job;
mod sandbox;
mod settings;
mod stop;
mod tree;
mod usage;

use std::path::{Path, PathBuf};

pub use access::{AccessConfig, is_private};
pub use claude::ClaudeConfig;
pub use dependencies::DependenciesConfig;
pub use dispatch::DispatchConfig;
pub use git::GitConfig;
pub use job::JobConfig;
pub use sandbox::SandboxConfig;
pub use settings::micros;
use settings::{Settings, read_file};
pub use stop::StopConfig;
pub use tree::TreeConfig;
pub use usage::UsageConfig;

/// The name of the file in the data directory.
pub const FILE: &str = "config.toml";

/// Everything that can be configured.
#[derive(Debug, Clone)]
pub struct Config {
    pub data_dir: PathBuf,
    pub job: JobConfig,
    pub claude: ClaudeConfig,
    pub git: GitConfig,
    pub dispatch: DispatchConfig,
    pub sandbox: SandboxConfig,
    pub dependencies: DependenciesConfig,
    pub tree: TreeConfig,
    pub access: AccessConfig,
    pub stop: StopConfig,
    pub usage: UsageConfig,
    /// Each setting as it stands: key, value as shown, where it comes from.
    pub rows: Vec<ConfigRow>,
}

/// One setting, for people.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ConfigRow {
    pub key: String,
    pub value: String,
    /// `default`, `file` or `environment`.
    pub source: &'static str,
    pub variable: String,
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{path} cannot be read")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} is no TOML: {message}")]
    Toml { path: PathBuf, message: String },
    #[error("{path} has the unknown key `{key}`; known are: {known}")]
    UnknownKey { path: PathBuf, key: String, known: String },
    #[error("`{key}` (from the {source_name}) is `{value}`, which is not {expected}")]
    BadValue { key: &'static str, value: String, source_name: &'static str, expected: &'static str },
    #[error("no home directory is known; set CODY_DATA_DIR to where the log is to be kept")]
    NoHome,
}

/// Where the data directory is: `CODY_DATA_DIR`, else below the user's data home.
pub fn data_dir(env: &dyn Fn(&str) -> Option<String>) -> Result<PathBuf, ConfigError> {
    if let Some(dir) = env("CODY_DATA_DIR").filter(|dir| !dir.is_empty()) {
        return Ok(PathBuf::from(dir));
    }
    let data_home = match env("XDG_DATA_HOME").filter(|dir| !dir.is_empty()) {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(env("HOME").ok_or(ConfigError::NoHome)?).join(".local/share"),
    };
    Ok(data_home.join("cody-batch"))
}

impl Config {
    /// Reads the file in `data_dir` and the environment.
    pub fn load(
        data_dir: &Path,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let path = data_dir.join(FILE);
        let file = read_file(&path)?;
        let mut settings = Settings { file, env, rows: Vec::new() };
        let config = Self {
            data_dir: data_dir.to_owned(),
            job: JobConfig::read(&mut settings)?,
            claude: ClaudeConfig::read(&mut settings)?,
            git: GitConfig::read(&mut settings)?,
            dispatch: DispatchConfig::read(&mut settings)?,
            sandbox: SandboxConfig::read(&mut settings)?,
            dependencies: DependenciesConfig::read(&mut settings)?,
            tree: TreeConfig::read(&mut settings)?,
            access: AccessConfig::read(&mut settings)?,
            stop: StopConfig::read(&mut settings)?,
            usage: UsageConfig::read(&mut settings)?,
            rows: std::mem::take(&mut settings.rows),
        };
        if let Some(key) = settings.file.keys().next() {
            let known: Vec<&str> = config
                .rows
                .iter()
                .map(|row| row.key.as_str())
                .filter(|key| !key.is_empty())
                .collect();
            return Err(ConfigError::UnknownKey {
                path,
                key: key.clone(),
                known: known.join(", "),
            });
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn load(file: &str, env: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), file).unwrap();
        let env: BTreeMap<&str, &str> = env.iter().copied().collect();
        Config::load(dir.path(), &|name| env.get(name).map(|value| (*value).to_owned()))
    }

    #[test]
    fn the_environment_wins_over_the_file_and_the_file_over_the_default() {
        let config = load("max_turns = 7\nparallel = 2\n", &[("CODY_MAX_TURNS", "9")]).unwrap();
        assert_eq!((config.job.max_turns, config.dispatch.parallel), (9, 2));
        assert_eq!(config.job.budget_micros, 5_000_000);
        let row = config.rows.iter().find(|row| row.key == "max_turns").unwrap();
        assert_eq!((row.value.as_str(), row.source), ("9", "environment"));
    }

    #[test]
    fn registries_are_hosts_with_or_without_a_port() {
        let config = load("registries = \"r.example, s.example:8443\"\n", &[]).unwrap();
        assert_eq!(config.dependencies.registries, ["r.example", "s.example:8443"]);
    }

    #[test]
    fn mistakes_are_named() {
        let error = load("max_turn = 7\n", &[]).unwrap_err().to_string();
        assert!(error.contains("unknown key `max_turn`"), "{error}");
        let error = load("", &[("CODY_BUDGET_USD", "five")]).unwrap_err().to_string();
        assert!(error.contains("`budget_usd` (from the environment) is `five`"), "{error}");
        for registries in ["https://r.example/", "r.example:0", "r.example/x", "*", "-"] {
            assert!(load("", &[("CODY_REGISTRIES", registries)]).is_err(), "{registries}");
        }
    }

    #[test]
    fn an_authorization_server_needs_an_address_of_ours() {
        let issuer = ("CODY_OAUTH_ISSUER", "https://login.example/realm/");
        let public = |url| load("", &[issuer, ("CODY_PUBLIC_URL", url)]);
        let config = public("https://Cody.example/").unwrap().access;
        assert_eq!(config.public_url.as_deref(), Some("https://cody.example"));
        assert_eq!(config.oauth_issuer.as_deref(), Some("https://login.example/realm/"));
        assert_eq!(config.hosts, ["cody.example"]);
        let error = load("", &[issuer]).unwrap_err().to_string();
        assert!(error.contains("`public_url` (from the default) is `none`"), "{error}");
        for url in ["http://cody.example", "https://a.example/x", "https://me@a.example", "cody"] {
            assert!(public(url).is_err(), "{url}");
        }
        for issuer in ["http://login.example", "https://login.example/?x=1", "login.example"] {
            let settings =
                [("CODY_OAUTH_ISSUER", issuer), ("CODY_PUBLIC_URL", "https://a.example")];
            assert!(load("", &settings).is_err(), "{issuer}");
        }
        assert!(public("http://127.0.0.1:8080").is_ok(), "nobody is in between");
    }

    #[test]
    fn secrets_are_never_shown() {
        let config = load("", &[("ANTHROPIC_API_KEY", "sk-canary")]).unwrap();
        assert!(config.claude.api_key.is_some());
        assert!(!format!("{config:?}").contains("canary"));
    }

    #[test]
    fn dollars_are_read_exactly() {
        let cases = [("5", 5_000_000), ("0.1", 100_000), (".25", 250_000), ("1.000001", 1_000_001)];
        for (text, expected) in cases {
            assert_eq!(micros(text), Some(expected), "{text}");
        }
        for text in ["", ".", "-1", "1e3", "0.0000001", "five"] {
            assert_eq!(micros(text), None, "{text}");
        }
    }
}
