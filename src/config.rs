//! Configuration: `config.toml` in the data directory, under `CODY_*` variables, under flags. Read
//! once, at the start, into one plain struct a room.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use cody_events::attempt::SandboxBackend;
use secrecy::SecretString;

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
    /// Each setting as it stands: key, value as shown, where it comes from.
    pub rows: Vec<ConfigRow>,
}

/// Defaults and caps of jobs.
#[derive(Debug, Clone)]
pub struct JobConfig {
    /// `model` / `CODY_MODEL`: the model of a job that names none.
    pub model: String,
    /// `budget_usd` / `CODY_BUDGET_USD`: micro-dollars a target.
    pub budget_micros: u64,
    /// `max_turns` / `CODY_MAX_TURNS`: Claude's responses a target.
    pub max_turns: u32,
    /// `max_targets` / `CODY_MAX_TARGETS`: repositories a job.
    pub max_targets: usize,
    /// `max_prompt_bytes` / `CODY_MAX_PROMPT_BYTES`.
    pub max_prompt_bytes: usize,
    /// Whether one repository of a job goes first unless the job says otherwise.
    pub pilot: bool,
    /// Micro-dollars for each repository above which a job needs an approver's word.
    pub max_budget_micros: Option<u64>,
    /// Whether whoever created a job may approve its diffs.
    pub own_approval: bool,
    /// Folders below which programs may name local repositories over a door.
    pub local_roots: Vec<PathBuf>,
}

/// How Claude is reached. Only the server reads this.
#[derive(Debug, Clone)]
pub struct ClaudeConfig {
    /// `ANTHROPIC_API_KEY`, never in the file.
    pub api_key: Option<SecretString>,
    /// `base_url` / `ANTHROPIC_BASE_URL`.
    pub base_url: String,
    /// `extra_models` / `CODY_EXTRA_MODELS`: a file of more models and prices.
    pub extra_models: Option<PathBuf>,
    /// `concurrent_calls` / `CODY_CONCURRENT_CALLS`.
    pub concurrent_calls: usize,
    /// `idle_timeout_ms` / `CODY_IDLE_TIMEOUT_MS`: the longest silence of a stream.
    pub idle_timeout: Duration,
}

/// Which repositories may be fetched, and how large they may be.
#[derive(Debug, Clone)]
pub struct GitConfig {
    /// `allowed_hosts` / `CODY_ALLOWED_HOSTS`, separated by commas.
    pub allowed_hosts: Vec<String>,
    /// `CODY_GITHUB_TOKEN` or `GITHUB_TOKEN`, never in the file: reads private repositories.
    pub github_token: Option<SecretString>,
    /// `token_host` / `CODY_TOKEN_HOST`: the one host that is shown the token.
    pub token_host: String,
    /// `max_files` / `CODY_MAX_FILES` of a base.
    pub max_files: u64,
    /// `max_bytes` / `CODY_MAX_BYTES` of a base's files.
    pub max_bytes: u64,
    /// `max_file_bytes` / `CODY_MAX_FILE_BYTES` of a single file.
    pub max_file_bytes: u64,
    /// `fetch_bytes` / `CODY_FETCH_BYTES` that a fetch may transfer.
    pub fetch_bytes: u64,
    /// `fetch_timeout_ms` / `CODY_FETCH_TIMEOUT_MS`.
    pub fetch_timeout: Duration,
}

/// Workers.
#[derive(Debug, Clone)]
pub struct DispatchConfig {
    /// `parallel` / `CODY_PARALLEL`: workers at once.
    pub parallel: usize,
    /// `lease_ms` / `CODY_LEASE_MS`: how long a worker may be silent.
    pub lease_ms: u64,
    /// `heartbeat_ms` / `CODY_HEARTBEAT_MS`.
    pub heartbeat_ms: u64,
    /// `worker_program` / `CODY_WORKER_PROGRAM`: what is started as `… worker`; by default this
    /// very program.
    pub worker_program: Option<PathBuf>,
    /// `scan` / `CODY_SCAN`: off means that Claude is told only what the repository weighs.
    pub scan: bool,
}

/// How commands of a repository run.
#[derive(Debug, Clone)]
pub struct SandboxConfig {
    /// `sandbox` / `CODY_SANDBOX`: `auto`, `bubblewrap`, `landlock`, or `off`, which means that no
    /// check and no `bash` runs. The first of these that works is used.
    pub backends: Vec<SandboxBackend>,
    /// `mounts` / `CODY_MOUNTS`, separated by colons: more directories to read.
    pub extra_mounts: Vec<PathBuf>,
    /// `check_timeout_ms` / `CODY_CHECK_TIMEOUT_MS`, each command.
    pub check_timeout_ms: u64,
    /// `tool_timeout_ms` / `CODY_TOOL_TIMEOUT_MS`, each `bash` call.
    pub tool_timeout_ms: u64,
    /// `output_bytes` / `CODY_OUTPUT_BYTES`: how much of a command's output is kept.
    pub output_bytes: u64,
    /// `command_memory_bytes` / `CODY_COMMAND_MEMORY_BYTES`: what a command may use with all that it
    /// starts; never more than three quarters of the machine's.
    pub command_memory_bytes: u64,
    /// `command_processes` / `CODY_COMMAND_PROCESSES`: processes and threads at once, likewise.
    pub command_processes: u64,
    /// `command_disk_bytes` / `CODY_COMMAND_DISK_BYTES`: what it may write to the disk, likewise.
    pub command_disk_bytes: u64,
}

/// What repositories depend on.
#[derive(Debug, Clone)]
pub struct DependenciesConfig {
    /// `registries` / `CODY_REGISTRIES`, separated by commas: hosts that dependencies are fetched
    /// from; none means that nothing is fetched. One that names its port may be a private address.
    pub registries: Vec<String>,
    /// `dependencies_bytes` / `CODY_DEPENDENCIES_BYTES`: how much of them is kept for other jobs.
    pub bytes: u64,
}

/// What one turn may add to a tree.
#[derive(Debug, Clone)]
pub struct TreeConfig {
    /// `new_entries_a_turn` / `CODY_NEW_ENTRIES_A_TURN`.
    pub new_entries_a_turn: u64,
    /// `new_bytes_a_turn` / `CODY_NEW_BYTES_A_TURN`.
    pub new_bytes_a_turn: u64,
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

/// Whether a text is a host's name or IPv4 address, with or without a port.
fn is_host(text: &str) -> bool {
    let (name, port) = text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port)));
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    name.contains(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(is_name)
        && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
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
        let config = settings.read(data_dir)?;
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

fn read_file(path: &Path) -> Result<BTreeMap<String, String>, ConfigError> {
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
struct Settings<'a> {
    file: BTreeMap<String, String>,
    env: &'a dyn Fn(&str) -> Option<String>,
    rows: Vec<ConfigRow>,
}

impl Settings<'_> {
    fn read(&mut self, data_dir: &Path) -> Result<Config, ConfigError> {
        let job = JobConfig {
            model: self.text("model", "CODY_MODEL", "claude-opus-5-5"),
            budget_micros: self.dollars("budget_usd", "CODY_BUDGET_USD", "5.00")?,
            max_turns: self.number("max_turns", "CODY_MAX_TURNS", 60)?,
            max_targets: self.number("max_targets", "CODY_MAX_TARGETS", 5)?,
            max_prompt_bytes: self.number("max_prompt_bytes", "CODY_MAX_PROMPT_BYTES", 65_536)?,
            pilot: self.boolean("pilot", "CODY_PILOT", false)?,
            max_budget_micros: self.optional_dollars("max_budget_usd", "CODY_MAX_BUDGET_USD")?,
            own_approval: self.boolean("own_approval", "CODY_OWN_APPROVAL", false)?,
            local_roots: self
                .list("local_roots", "CODY_LOCAL_ROOTS", "", ':')
                .into_iter()
                .map(PathBuf::from)
                .collect(),
        };
        let claude = ClaudeConfig {
            api_key: self.secret(&["ANTHROPIC_API_KEY"]),
            base_url: self.text("base_url", "ANTHROPIC_BASE_URL", "https://api.anthropic.com"),
            extra_models: self.optional("extra_models", "CODY_EXTRA_MODELS").map(PathBuf::from),
            concurrent_calls: self.number("concurrent_calls", "CODY_CONCURRENT_CALLS", 8)?,
            idle_timeout: self.millis("idle_timeout_ms", "CODY_IDLE_TIMEOUT_MS", 120_000)?,
        };
        let git = GitConfig {
            allowed_hosts: self.list("allowed_hosts", "CODY_ALLOWED_HOSTS", "github.com", ','),
            github_token: self.secret(&["CODY_GITHUB_TOKEN", "GITHUB_TOKEN"]),
            token_host: self.text("token_host", "CODY_TOKEN_HOST", "github.com"),
            max_files: self.number("max_files", "CODY_MAX_FILES", 200_000)?,
            max_bytes: self.number("max_bytes", "CODY_MAX_BYTES", 4 << 30)?,
            max_file_bytes: self.number("max_file_bytes", "CODY_MAX_FILE_BYTES", 256 << 20)?,
            fetch_bytes: self.number("fetch_bytes", "CODY_FETCH_BYTES", 4 << 30)?,
            fetch_timeout: self.millis("fetch_timeout_ms", "CODY_FETCH_TIMEOUT_MS", 1_800_000)?,
        };
        let dispatch = DispatchConfig {
            parallel: self.number("parallel", "CODY_PARALLEL", 5)?,
            lease_ms: self.number("lease_ms", "CODY_LEASE_MS", 15_000)?,
            heartbeat_ms: self.number("heartbeat_ms", "CODY_HEARTBEAT_MS", 3_000)?,
            worker_program: self
                .optional("worker_program", "CODY_WORKER_PROGRAM")
                .map(PathBuf::from),
            scan: self.boolean("scan", "CODY_SCAN", true)?,
        };
        let sandbox = SandboxConfig {
            backends: self.backends()?,
            extra_mounts: self
                .list("mounts", "CODY_MOUNTS", "", ':')
                .into_iter()
                .map(PathBuf::from)
                .collect(),
            check_timeout_ms: self.number("check_timeout_ms", "CODY_CHECK_TIMEOUT_MS", 900_000)?,
            tool_timeout_ms: self.number("tool_timeout_ms", "CODY_TOOL_TIMEOUT_MS", 120_000)?,
            output_bytes: self.number("output_bytes", "CODY_OUTPUT_BYTES", 1 << 20)?,
            command_memory_bytes: self.number(
                "command_memory_bytes",
                "CODY_COMMAND_MEMORY_BYTES",
                8 << 30,
            )?,
            command_processes: self.number("command_processes", "CODY_COMMAND_PROCESSES", 4_096)?,
            command_disk_bytes: self.number(
                "command_disk_bytes",
                "CODY_COMMAND_DISK_BYTES",
                8 << 30,
            )?,
        };
        let dependencies = DependenciesConfig {
            registries: self.registries()?,
            bytes: self.number("dependencies_bytes", "CODY_DEPENDENCIES_BYTES", 10 << 30)?,
        };
        let tree = TreeConfig {
            new_entries_a_turn: self.number(
                "new_entries_a_turn",
                "CODY_NEW_ENTRIES_A_TURN",
                2_000,
            )?,
            new_bytes_a_turn: self.number("new_bytes_a_turn", "CODY_NEW_BYTES_A_TURN", 32 << 20)?,
        };
        let rows = std::mem::take(&mut self.rows);
        Ok(Config {
            data_dir: data_dir.to_owned(),
            job,
            claude,
            git,
            dispatch,
            sandbox,
            dependencies,
            tree,
            rows,
        })
    }

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

    fn optional(&mut self, key: &str, variable: &str) -> Option<String> {
        let taken = self.take(key, variable);
        let (shown, source) = match &taken {
            Some((value, source)) => (value.clone(), *source),
            None => ("(none)".to_owned(), "default"),
        };
        self.note(key, variable, shown, source);
        taken.map(|(value, _)| value)
    }

    fn text(&mut self, key: &str, variable: &str, default: &str) -> String {
        let (value, source) =
            self.take(key, variable).unwrap_or_else(|| (default.to_owned(), "default"));
        self.note(key, variable, value.clone(), source);
        value
    }

    fn list(&mut self, key: &str, variable: &str, default: &str, separator: char) -> Vec<String> {
        let text = self.text(key, variable, default).replace(',', &separator.to_string());
        text.split(separator)
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(str::to_owned)
            .collect()
    }

    fn parsed<T>(
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

    fn number<T: FromStr + std::fmt::Display>(
        &mut self,
        key: &'static str,
        variable: &str,
        default: T,
    ) -> Result<T, ConfigError> {
        let parse = |text: &str| text.replace('_', "").parse().ok();
        self.parsed(key, variable, default.to_string(), "a whole number", parse)
    }

    fn boolean(
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

    fn registries(&mut self) -> Result<Vec<String>, ConfigError> {
        let expected = "a list of hosts, such as `index.example.org, files.example.org:8443`";
        self.parsed("registries", "CODY_REGISTRIES", String::new(), expected, |text| {
            let hosts = text.split(',').map(str::trim).filter(|host| !host.is_empty());
            hosts.map(|host| is_host(host).then(|| host.to_owned())).collect()
        })
    }

    fn backends(&mut self) -> Result<Vec<SandboxBackend>, ConfigError> {
        let parse = |text: &str| match text {
            "auto" | "true" | "on" => {
                Some(vec![SandboxBackend::Bubblewrap, SandboxBackend::Landlock])
            }
            "bubblewrap" => Some(vec![SandboxBackend::Bubblewrap]),
            "landlock" => Some(vec![SandboxBackend::Landlock]),
            "off" | "false" => Some(Vec::new()),
            _ => None,
        };
        let expected = "auto, bubblewrap, landlock or off";
        self.parsed("sandbox", "CODY_SANDBOX", "auto".to_owned(), expected, parse)
    }

    fn millis(
        &mut self,
        key: &'static str,
        variable: &str,
        default: u64,
    ) -> Result<Duration, ConfigError> {
        self.number(key, variable, default).map(Duration::from_millis)
    }

    fn dollars(
        &mut self,
        key: &'static str,
        variable: &str,
        default: &str,
    ) -> Result<u64, ConfigError> {
        self.parsed(key, variable, default.to_owned(), "an amount of dollars such as 2.50", micros)
    }

    fn optional_dollars(
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
    fn secret(&mut self, variables: &[&str]) -> Option<SecretString> {
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

#[cfg(test)]
mod tests {
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
