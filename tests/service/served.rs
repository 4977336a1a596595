//! A server of the real program, in a directory of its own, and its command line.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use cody_batch::wire::ServerAddress;
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_cody-batch");
/// Nothing in these tests takes longer unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A data directory, and the program in it.
pub struct Place {
    pub dir: TempDir,
}

impl Place {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("tmp")).unwrap();
        Self { dir }
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The program with `args` in this place.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(args)
            .env("CODY_DATA_DIR", self.data())
            .env("TMPDIR", self.dir.path().join("tmp"))
            .env("USER", "ada")
            .env("ANTHROPIC_API_KEY", "sk-ant-canary")
            .env("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// What the program prints with `args`, which it takes.
    pub fn told(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{args:?}: {words}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// A new token with `scopes`: its text and its id.
    pub fn token(&self, name: &str, scopes: &[&str]) -> (String, String) {
        let mut args = vec!["token", "create", "--json", "--name", name];
        args.extend(scopes.iter().flat_map(|scope| ["--scope", scope]));
        let made: Value = serde_json::from_str(&self.told(&args)).unwrap();
        assert_eq!(made.as_object().unwrap().len(), 2, "the keys only");
        let text = |key: &str| made[key].as_str().unwrap().to_owned();
        (text("token"), text("token_id"))
    }

    /// Starts `serve` with `args` and `env`, and waits until it listens.
    pub fn serve(self, args: &[&str], env: &[(&str, &str)]) -> Served {
        let words = self.dir.path().join("serve.txt");
        let mut command = self.command(&["serve"]);
        command.args(args).envs(env.iter().copied()).stdout(Stdio::null());
        command.stderr(std::fs::File::create(&words).unwrap());
        let child = Stopped(command.spawn().unwrap());
        let started = Instant::now();
        let url = loop {
            let said = std::fs::read_to_string(&words).unwrap();
            let line = said.lines().find_map(|line| line.strip_prefix("Serving on "));
            if let Some((url, _)) = line.and_then(|line| line.split_once(" with ")) {
                break url.to_owned();
            }
            assert!(started.elapsed() < PATIENCE, "it never listened: {said}");
            std::thread::sleep(Duration::from_millis(5));
        };
        let text = std::fs::read_to_string(self.data().join("server.json")).unwrap();
        let address = serde_json::from_str(&text).unwrap();
        // The second to install a provider is told so; either serves.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Served { place: self, url, address, words, http, child }
    }
}

/// A server at work.
pub struct Served {
    pub place: Place,
    /// Where it says that it listens.
    pub url: String,
    /// What it left in its data directory.
    pub address: ServerAddress,
    /// What it says to people.
    words: PathBuf,
    http: reqwest::Client,
    child: Stopped,
}

/// A server on a free port of this machine.
pub fn served() -> Served {
    served_with(&[])
}

/// The same, with settings.
pub fn served_with(env: &[(&str, &str)]) -> Served {
    Place::new().serve(&["--listen", "127.0.0.1:0"], env)
}

impl Served {
    /// A request for `route` by whoever has `token`.
    pub fn request(&self, method: Method, route: &str, token: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{route}", self.url));
        if token.is_empty() { request } else { request.bearer_auth(token) }
    }

    pub fn get(&self, route: &str, token: &str) -> RequestBuilder {
        self.request(Method::GET, route, token)
    }

    pub fn post(&self, route: &str, token: &str, body: &Value) -> RequestBuilder {
        self.request(Method::POST, route, token).json(body)
    }

    /// What it said so far.
    pub fn words(&self) -> String {
        std::fs::read_to_string(&self.words).unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.child.0.id()
    }

    /// Asks it to stop and waits until it is gone.
    pub fn stop(mut self) -> Place {
        let pid = rustix::process::Pid::from_child(&self.child.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(self.child.0.wait().unwrap().success(), "{}", self.words());
        self.place
    }
}

/// A process that ends with its test.
struct Stopped(Child);

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Every file below `dir`.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else if entry.file_type().unwrap().is_file() {
            found.push(entry.path());
        }
    }
    found
}
