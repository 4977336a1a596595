//! One fetch: the programs of an ecosystem on a copy of the manifests, in a sandbox whose only way
//! out is the proxy. Scripts of packages stay off, and nothing of the repository is there to run.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cody_events::evidence::{Ecosystem, FetchWords};
use tempfile::TempDir;

use super::manifests::Manifests;
use super::proxy::{Proxy, Registry, Traffic};
use crate::sandbox::{Sandbox, SandboxCommand};
use crate::worker::WorkerError;

/// Where this program is inside.
const PROGRAM: &str = "/run/cody/program";
/// Where the proxy's socket is inside.
const SOCKET: &str = "/run/cody/proxy";
/// The port of loopback that leads to the proxy.
const PORT: u16 = 3128;
/// Bytes of a program's words that are kept; three times as many when none of them is text.
const OUTPUT_BYTES: u64 = 16 << 10;
/// Certificates of the machine, for programs that bring their own and so do not know those of a
/// company's network.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Fetches into each root. What a target looks like is known by its manifest and the names of files.
const CARGO: &str = r#"for root in "$@"; do (cd "./$root" && cargo fetch); done"#;

/// A lock file that does not fit the manifest any more is brought in line first.
const NPM: &str = r#"for root in "$@"; do (
  cd "./$root"
  if [ -e package-lock.json ] || [ -e npm-shrinkwrap.json ]; then
    npm ci || { npm install --package-lock-only && npm ci; }
  else
    npm install --no-package-lock
  fi
); done"#;

/// Wheels alone: what pip builds, it runs. Then they are laid out for `PYTHONPATH`, offline. The
/// interpreter itself is asked, because what stands for it in `PATH` may want to note what is installed.
const PIP: &str = r#"python=$(python3 -c 'import sys; print(sys.executable)')
"$python" -m pip download --only-binary :all: --dest wheels "$@"
"$python" -m pip install --no-index --find-links wheels --only-binary :all: --target site "$@""#;

/// What every fetch shares.
#[derive(Debug)]
pub(super) struct Fetcher {
    pub(super) registries: Vec<Registry>,
    /// This program, which is the relay inside.
    pub(super) program: PathBuf,
    /// Bytes that may go through the network in one fetch.
    pub(super) most_bytes: u64,
}

/// How a fetch went.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) exit_code: Option<i32>,
    pub(super) ms: u64,
    pub(super) network_bytes: u64,
    pub(super) words: FetchWords,
}

impl Fetched {
    /// A fetch that was never begun, and why.
    pub(super) fn refused(why: &str) -> Self {
        let words =
            FetchWords { output: why.to_owned(), hosts: Vec::new(), refused_hosts: Vec::new() };
        Self { exit_code: None, ms: 0, network_bytes: 0, words }
    }
}

impl Fetcher {
    /// Runs the programs for `manifests`, whose copy is `copy`, with `cache` for what they keep, if they
    /// may keep anything.
    pub(super) async fn fetch(
        &self,
        sandbox: &Sandbox,
        manifests: &Manifests,
        copy: &Path,
        cache: Option<PathBuf>,
        timeout: Duration,
    ) -> Result<Fetched, WorkerError> {
        let failed = |source| WorkerError::Io {
            what: "the way to the registries cannot be made",
            path: copy.to_owned(),
            source,
        };
        let sockets = TempDir::with_prefix("cody-proxy-").map_err(failed)?;
        let proxy = Proxy::start(sockets.path(), "proxy", self.registries.clone(), self.most_bytes)
            .map_err(failed)?;
        let command = SandboxCommand {
            read_only: vec![
                (self.program.clone(), PROGRAM.into()),
                (sockets.path().join("proxy"), SOCKET.into()),
            ],
            cache,
            env: environment(manifests.ecosystem),
            ..SandboxCommand::new(script(manifests), copy, timeout, OUTPUT_BYTES)
        };
        let ran = sandbox.run(&command).await?;
        let Traffic { hosts, refused_hosts, bytes } = proxy.traffic();
        let mut output = String::from_utf8_lossy(&ran.output).into_owned();
        match ran.exceeded {
            Some(limit) => output.push_str(&format!("\n[killed: {limit}]")),
            None if ran.timed_out => {
                output.push_str(&format!("\n[killed after {} s]", timeout.as_secs()));
            }
            None => {}
        }
        Ok(Fetched {
            exit_code: ran.exit_code,
            ms: ran.ms,
            network_bytes: bytes,
            words: FetchWords {
                output,
                hosts: hosts.into_iter().collect(),
                refused_hosts: refused_hosts.into_iter().collect(),
            },
        })
    }
}

fn script(manifests: &Manifests) -> String {
    let (script, arguments) = match manifests.ecosystem {
        Ecosystem::Cargo => (CARGO, manifests.roots()),
        Ecosystem::Npm => (NPM, manifests.roots()),
        Ecosystem::Pip => {
            let files = manifests.requirements().into_iter();
            (PIP, files.flat_map(|file| ["-r".to_owned(), file]).collect())
        }
    };
    let mut words = vec![PROGRAM.to_owned(), "sandbox-relay".to_owned()];
    words.extend(["--socket".to_owned(), SOCKET.to_owned()]);
    words.extend(["--port".to_owned(), PORT.to_string(), "--".to_owned()]);
    words.extend(["/bin/sh", "-ec", script, "sh"].map(str::to_owned));
    words.extend(arguments);
    // Names come from git, which has none with a NUL byte.
    let quoted = shlex::try_join(words.iter().map(String::as_str)).unwrap_or_default();
    format!("exec {quoted}")
}

fn environment(ecosystem: Ecosystem) -> Vec<(String, String)> {
    let proxy = format!("http://127.0.0.1:{PORT}");
    let mut variables: Vec<(&str, &str)> =
        ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"].map(|n| (n, &*proxy)).to_vec();
    match ecosystem {
        Ecosystem::Cargo => variables.extend([
            ("CARGO_HOME", "/cache"),
            ("CARGO_NET_OFFLINE", "false"),
            ("CARGO_NET_RETRY", "2"),
            // Generations are cleaned as a whole: commands that only read leave no trace of use.
            ("CARGO_CACHE_AUTO_CLEAN_FREQUENCY", "never"),
            ("CARGO_TERM_PROGRESS_WHEN", "never"),
        ]),
        Ecosystem::Npm => variables.extend([
            ("npm_config_cache", "/cache"),
            ("npm_config_offline", "false"),
            ("npm_config_ignore_scripts", "true"),
            ("npm_config_audit", "false"),
            ("npm_config_fund", "false"),
            ("npm_config_progress", "false"),
            ("npm_config_loglevel", "error"),
            ("npm_config_fetch_retries", "2"),
        ]),
        Ecosystem::Pip => variables.extend([
            ("PIP_NO_CACHE_DIR", "1"),
            ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
            ("PIP_NO_INPUT", "1"),
            ("PIP_PROGRESS_BAR", "off"),
            ("PIP_RETRIES", "2"),
        ]),
    }
    if Path::new(CERTIFICATES).exists() {
        variables.extend(["NODE_EXTRA_CA_CERTS", "PIP_CERT"].map(|name| (name, CERTIFICATES)));
    }
    variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use cody_events::tree::RepoPath;

    use super::super::manifests;
    use super::*;

    #[test]
    fn names_of_folders_are_no_shell() {
        let path = RepoPath::new("$(touch x); 'a/Cargo.lock").unwrap();
        let files = BTreeMap::from([(path, b"version = 4".to_vec())]);
        let found = manifests::find(files.keys(), |path| files.get(path).cloned());
        let words = shlex::split(&script(&found[0])).unwrap();
        assert_eq!(words.last().unwrap(), "$(touch x); 'a");
    }
}
