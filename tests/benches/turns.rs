//! What a turn costs beside the model and the tools, and what a worker takes of the machine, next to
//! mini-swe-agent 2.4.6 doing the same twenty `bash` turns. Both talk to the same foreign mock server,
//! in turns, because a machine is quick one minute and slow the next. `make bench` prints the tables.
//!
//! Our scan and review are off, as the peer has neither.

#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a measurement that fails has nothing to tell"
)]

#[path = "../foreign/peers.rs"]
#[expect(dead_code, reason = "other peers are other tests' affair")]
mod peers;
#[path = "turns/process.rs"]
mod process;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cody_batch::app::{App, Told};
use cody_batch::clock::SystemClock;
use cody_batch::entropy::SystemEntropy;
use cody_batch::store::SqliteLog;
use cody_events::event::Event;
use cody_events::ids::JobId;
use peers::aimock;
use process::{Usage, watch, watch_pid};
use serde_json::{Value, json};
use tempfile::TempDir;

const TURNS: usize = 20;
const ROUNDS: usize = 5;
const PROGRAM: &str = env!("CARGO_BIN_EXE_cody-batch");
const PEER: &str = "tests/benches/turns/.venv/bin/mini";

/// What one run of ours came to.
#[derive(Debug, Default)]
struct Ours {
    overhead_ms: f64,
    /// Of it: from a response to its tools' record, to the next permit, to the next response.
    parts_ms: [f64; 3],
    model_ms: f64,
    tool_ms: f64,
    wall: f64,
    worker: Usage,
    server: Usage,
}

/// What one run of the peer came to.
#[derive(Debug, Default)]
struct Peer {
    wall: f64,
    usage: Usage,
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    println!("load average: {}", std::fs::read_to_string("/proc/loadavg").unwrap().trim());
    let commands = commands();
    let ours_mock = aimock(&fixtures(&commands, &finish()));
    let done = json!({ "name": "bash", "arguments": { "command": "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT" }, "id": "toolu_end" });
    let peer_mock = aimock(&fixtures(&commands, &done));
    let has_peer = Path::new(PEER).exists();
    if !has_peer {
        println!("mini-swe-agent is not installed; `make bench` installs it");
    }
    let (mut ours, mut peer, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(run_ours(&runtime, ours_mock.url.as_str()));
        if has_peer {
            peer.push(run_peer(peer_mock.url.as_str()));
        }
        plain.push(run_plain(&commands));
    }
    print(&ours, &peer, &plain);
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn print(ours: &[Ours], peer: &[Peer], plain: &[f64]) {
    let of = |value: fn(&Ours) -> f64| median(ours.iter().map(value).collect());
    let theirs = |value: fn(&Peer) -> f64| median(peer.iter().map(value).collect());
    let overhead = of(|run| run.overhead_ms);
    println!("\n{TURNS} turns, median of {ROUNDS} runs in turns");
    println!(
        "  overhead a turn, log commit included {overhead:>9.2} ms   aim 5 ms: {}",
        met(overhead, 5.0)
    );
    println!(
        "  of it: response to tools {:.2} ms, tools to permit {:.2} ms, permit to response {:.2} ms",
        of(|run| run.parts_ms[0]),
        of(|run| run.parts_ms[1]),
        of(|run| run.parts_ms[2])
    );
    println!("  the model's time a turn              {:>9.2} ms", of(|run| run.model_ms));
    println!("  the tools' time a turn, in a sandbox {:>9.2} ms", of(|run| run.tool_ms));
    println!("  the same commands without a sandbox  {:>9.2} ms", median(plain.to_vec()));
    let (cpu, memory) = (of(|run| run.worker.cpu_s), of(|run| run.worker.peak_mib));
    println!("  worker: CPU                          {:>9.1} ms", cpu * 1_000.0);
    println!(
        "  worker: its sandboxes' CPU           {:>9.1} ms",
        of(|run| run.worker.children_cpu_s) * 1_000.0
    );
    println!(
        "  worker: peak memory                  {memory:>9.1} MiB  aim 30 MB: {}",
        met(memory * 1.048_576, 30.0)
    );
    println!(
        "  server: CPU                          {:>9.1} ms",
        of(|run| run.server.cpu_s) * 1_000.0
    );
    println!("  server: peak memory                  {:>9.1} MiB", of(|run| run.server.peak_mib));
    println!("  the whole program, start to end      {:>9.2} s", of(|run| run.wall));
    if peer.is_empty() {
        return;
    }
    let their_cpu = theirs(|run| run.usage.cpu_s);
    println!("  mini-swe-agent: CPU                  {:>9.1} ms", their_cpu * 1_000.0);
    println!(
        "  mini-swe-agent: its commands' CPU    {:>9.1} ms",
        theirs(|run| run.usage.children_cpu_s) * 1_000.0
    );
    println!(
        "  mini-swe-agent: peak memory          {:>9.1} MiB",
        theirs(|run| run.usage.peak_mib)
    );
    println!("  mini-swe-agent: start to end         {:>9.2} s", theirs(|run| run.wall));
    let ratio = cpu / their_cpu;
    println!(
        "  worker's CPU / mini-swe-agent's      {ratio:>9.3}      aim 0.1: {}",
        met(ratio, 0.1)
    );
    let whole = (cpu + of(|run| run.server.cpu_s)) / their_cpu;
    println!("  worker's and server's together       {whole:>9.3}");
}

fn met(value: f64, aim: f64) -> &'static str {
    if value <= aim { "met" } else { "MISSED" }
}

/// Twenty commands of the kind that agents use.
fn commands() -> Vec<String> {
    let kinds = ["ls -la", "cat src/a.py", "grep -n def -r src", "seq 1 400", "wc -l src/*.py"];
    (0..TURNS)
        .map(|turn| match turn % 5 {
            4 => format!("echo '# {turn}' >>src/a.py && git status --short | head -3"),
            kind => kinds[kind].to_owned(),
        })
        .collect()
}

fn finish() -> Value {
    let arguments =
        json!({ "outcome": "changed", "title": "T", "summary": "S.", "evidence": ["src/a.py"] });
    json!({ "name": "finish", "arguments": arguments, "id": "toolu_end" })
}

fn fixtures(commands: &[String], end: &Value) -> Value {
    let usage = json!({ "input_tokens": 50, "output_tokens": 90 });
    let turn = |index: usize, call: Value| json!({ "match": { "turnIndex": index }, "response": { "content": "On.", "toolCalls": [call], "usage": usage } });
    let mut all: Vec<Value> = commands
        .iter()
        .enumerate()
        .map(|(index, command)| {
            let id = format!("toolu_{index:02}");
            turn(index, json!({ "id": id, "name": "bash", "arguments": { "command": command } }))
        })
        .collect();
    all.push(turn(commands.len(), end.clone()));
    Value::from(all)
}

/// A repository of five files.
fn repository() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("src")).unwrap();
    for name in ["src/a.py", "src/b.py", "src/c.py", "README.md", "setup.cfg"] {
        std::fs::write(dir.path().join(name), "def one():\n    return 1\n".repeat(20)).unwrap();
    }
    for args in [
        vec!["init", "-q", "-b", "main"],
        vec!["add", "-A"],
        vec!["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "start"],
    ] {
        assert!(
            Command::new("git").arg("-C").arg(dir.path()).args(args).status().unwrap().success()
        );
    }
    dir
}

fn run_ours(runtime: &tokio::runtime::Runtime, url: &str) -> Ours {
    let (repo, data) = (repository(), tempfile::tempdir().unwrap());
    let started = Instant::now();
    let mut run = Command::new(PROGRAM);
    run.args(["run", "--prompt", "Do the work", "--no-checks", "--no-review", "--json", "--repo"])
        .arg(repo.path())
        .env("CODY_DATA_DIR", data.path())
        // By this the worker is found: it inherits where scratch goes, and not where the data is.
        .env("TMPDIR", data.path())
        .env("CODY_SCAN", "off")
        .env("ANTHROPIC_API_KEY", "dummy")
        .env("ANTHROPIC_BASE_URL", url.trim_end_matches('/'))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let data_dir: PathBuf = data.path().to_owned();
    let worker = std::thread::spawn(move || watch_pid(&worker_pid(&data_dir)));
    let server = watch(run);
    let wall = started.elapsed().as_secs_f64();
    let worker = worker.join().unwrap();
    let told = runtime.block_on(events(data.path()));
    Ours { wall, worker, server, ..per_turn(&told) }
}

/// Waits until a worker of the server that holds `data` is there.
fn worker_pid(data: &Path) -> u32 {
    let started = Instant::now();
    let mark = data.display().to_string();
    loop {
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let read = |file: &str| std::fs::read(entry.path().join(file)).unwrap_or_default();
            let is_worker = read("cmdline").windows(8).any(|part| part == b"\0worker\0");
            let is_ours = read("environ").windows(mark.len()).any(|part| part == mark.as_bytes());
            if is_worker && is_ours {
                return pid;
            }
        }
        assert!(started.elapsed() < Duration::from_secs(30), "no worker was started");
        std::thread::sleep(Duration::from_millis(2));
    }
}

async fn events(data: &Path) -> Vec<Told> {
    let log = SqliteLog::open_to_read(data).unwrap();
    let states = std::num::NonZeroUsize::MIN;
    let app = App::new(Arc::new(log), Arc::new(SystemClock), Arc::new(SystemEntropy), states);
    let all = app.log().read_log(0, 1_000).await.unwrap();
    let job = all.iter().find_map(|event| JobId::from_stream(&event.stream)).unwrap();
    app.events(job, 0).await.unwrap()
}

/// From the first response to the last: what is neither the model's nor the tools' time.
#[expect(clippy::cast_precision_loss, reason = "counts this small are exact")]
fn per_turn(told: &[Told]) -> Ours {
    let mut turns = Vec::new();
    let (mut model_ms, mut tool_ms) = (0, 0);
    let mut parts_ms = [0.0; 3];
    let mut latest = 0;
    for one in told {
        let at = one.recorded.recorded_at.as_micros();
        let passed = (at - latest) as f64 / 1_000.0;
        let is_counted = (1..=TURNS).contains(&turns.len());
        match &one.event {
            Event::ClaudeTurn(e) => {
                if is_counted {
                    model_ms += e.ms;
                    parts_ms[2] += passed - e.ms as f64;
                }
                turns.push(at);
            }
            Event::ToolsRan(e) if is_counted => {
                tool_ms += e.tool_ms();
                parts_ms[0] += passed - e.tool_ms() as f64;
            }
            Event::CallPermitted(_) if is_counted => parts_ms[1] += passed,
            _ => {}
        }
        latest = at;
    }
    assert_eq!(turns.len(), TURNS + 1, "every turn was played");
    let all_ms = (turns[TURNS] - turns[0]) as f64 / 1_000.0;
    let count = TURNS as f64;
    Ours {
        overhead_ms: (all_ms - model_ms as f64 - tool_ms as f64) / count,
        model_ms: model_ms as f64 / count,
        tool_ms: tool_ms as f64 / count,
        parts_ms: parts_ms.map(|part| part / count),
        ..Ours::default()
    }
}

fn run_peer(url: &str) -> Peer {
    let (repo, home) = (repository(), tempfile::tempdir().unwrap());
    let started = Instant::now();
    let mut run = Command::new(std::path::absolute(PEER).unwrap());
    run.args([
        "-m",
        "anthropic/claude-opus-5-5",
        "-t",
        "Do the work",
        "-y",
        "--exit-immediately",
        "-o",
    ])
    .arg(home.path().join("trajectory.json"))
    .current_dir(repo.path())
    .env("HOME", home.path())
    .env("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    .env("MSWEA_CONFIGURED", "true")
    .env("MSWEA_COST_TRACKING", "ignore_errors")
    .env("ANTHROPIC_API_KEY", "dummy")
    .env("ANTHROPIC_BASE_URL", url.trim_end_matches('/'))
    .stdout(Stdio::null())
    .stderr(Stdio::null());
    let usage = watch(run);
    let text = std::fs::read_to_string(home.path().join("trajectory.json")).unwrap();
    let trajectory: Value = serde_json::from_str(&text).unwrap();
    let said = trajectory["messages"].as_array().unwrap().iter();
    let turns = said.filter(|message| message["role"] == "assistant").count();
    assert_eq!(turns, TURNS + 1, "the peer played every turn: {}", trajectory["info"]);
    Peer { wall: started.elapsed().as_secs_f64(), usage }
}

/// Milliseconds a command takes in a plain shell.
#[expect(clippy::cast_precision_loss, reason = "counts this small are exact")]
fn run_plain(commands: &[String]) -> f64 {
    let repo = repository();
    let started = Instant::now();
    for command in commands {
        let output = Command::new("bash").args(["-c", command]).current_dir(repo.path()).output();
        assert!(output.unwrap().status.success());
    }
    started.elapsed().as_secs_f64() * 1_000.0 / commands.len() as f64
}
