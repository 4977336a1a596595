//! A server that runs as a process of its own, and is asked over HTTP.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cody_events::event::Event;
use serde_json::Value;

use super::harness::{PATIENCE, World, app, http, json};

/// A conversation that edits one file after `delay_ms` and finishes, and a review that accepts.
pub fn script(delay_ms: u64) -> String {
    format!(
        r#"
[[conversation]]
name = "change"
match = {{ system = ["You change one repository"] }}
[[conversation.turn]]
delay_ms = {delay_ms}
content = [{{ tool = "bash", input = {{ command = "sed -i s/hello/hi/ greet.sh" }} }}]
[[conversation.turn]]
content = [{{ tool = "finish", input = {{ outcome = "changed", title = "Greet", summary = "It does.", evidence = ["greet.sh"] }} }}]

[[conversation]]
name = "review"
match = {{ system = ["You review a change"] }}
[[conversation.turn]]
content = [{{ text = '{{"verdict": "accept", "summary": "Good.", "reasons": []}}' }}]
"#
    )
}

/// A running `serve`; ended with its test.
pub struct Running {
    pub child: Child,
    pub url: String,
    words: Arc<Mutex<Vec<String>>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    /// Starts one in `world`, with these variables.
    pub async fn start(world: &World, variables: &[(&str, &str)]) -> Self {
        Self::start_on(world, "127.0.0.1:0", variables).await
    }

    /// The same at this address.
    pub async fn start_on(world: &World, address: &str, variables: &[(&str, &str)]) -> Self {
        let mut command = world.command(&["serve", "--listen", address]);
        command.env("CODY_LEASE_MS", "2000").env("CODY_HEARTBEAT_MS", "300");
        command.envs(variables.iter().copied()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (words, heard) = (Arc::new(Mutex::new(Vec::new())), child.stderr.take().unwrap());
        let kept = Arc::clone(&words);
        std::thread::spawn(move || {
            for line in BufReader::new(heard).lines().map_while(Result::ok) {
                kept.lock().unwrap().push(line);
            }
        });
        let mut running = Self { child, url: String::new(), words };
        let url = running.until("it listens", |running| {
            let words = running.words();
            let line = words.iter().find_map(|line| line.strip_prefix("Serving on "))?.to_owned();
            line.split(' ').next().map(str::to_owned)
        });
        running.url = url.await;
        running
    }

    /// What it said so far.
    pub fn words(&self) -> Vec<String> {
        self.words.lock().unwrap().clone()
    }

    /// Looks again and again until `look` sees something.
    pub async fn until<T>(&mut self, what: &str, look: impl Fn(&Self) -> Option<T>) -> T {
        let started = Instant::now();
        loop {
            if let Some(seen) = look(self) {
                return seen;
            }
            assert!(started.elapsed() < PATIENCE, "never: {what}\n{}", self.words().join("\n"));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The status and body of a page.
    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
        let mut request = http().get(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// Whether it is ready, and what it says of that.
    pub async fn readiness(&self) -> (u16, Value) {
        let (status, text) = self.get("/readyz", &[]).await;
        (status, serde_json::from_str(&text).unwrap())
    }

    /// Sends it a signal by the real `kill`.
    pub fn signal(&self, name: &str) {
        let (name, pid) = (format!("-{name}"), self.child.id().to_string());
        let sent = std::process::Command::new("kill").args([&name, &pid]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits until it has ended.
    pub async fn ended(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < PATIENCE, "it never ended\n{}", self.words().join("\n"));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Gives a running server a job over these repositories, and answers with its id.
pub async fn detach(world: &World, repositories: &[&str]) -> String {
    let mut args = vec!["run", "--detach", "--json", "--no-checks", "--prompt", "Greet whoever"];
    args.extend(repositories.iter().flat_map(|repository| ["--repo", repository]));
    let mut command = world.command(&args);
    command.current_dir(world.dir.path());
    let output = super::harness::finish(command).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    json(&output)["job_id"].as_str().unwrap().to_owned()
}

/// Every event of the whole log, with the stream that it stands in.
pub async fn log(world: &World) -> Vec<(String, Event)> {
    let app = app(&world.path("data"));
    let events = app.log().read_log(0, 100_000).await.unwrap();
    let decoded = events.into_iter().map(|recorded| {
        let event = Event::decode(&recorded.kind, recorded.schema_version, &recorded.facts);
        (recorded.stream, event.unwrap())
    });
    decoded.collect()
}

/// Waits until the log `fits`.
pub async fn log_until(
    world: &World,
    fits: impl Fn(&[(String, Event)]) -> bool,
) -> Vec<(String, Event)> {
    let started = Instant::now();
    loop {
        let events = log(world).await;
        if fits(&events) {
            return events;
        }
        assert!(started.elapsed() < PATIENCE, "the log never came to the point: {events:#?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// How many events `fit`.
pub fn count(events: &[(String, Event)], fit: impl Fn(&Event) -> bool) -> usize {
    events.iter().filter(|(_, event)| fit(event)).count()
}
