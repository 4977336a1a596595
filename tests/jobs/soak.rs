//! Hundreds of jobs through one server: its memory stays, its files are closed, nothing is left.
//!
//! `CODY_PROOF` makes it 500 jobs and holds the slope of memory to its bound; else there are 40.

use std::collections::BTreeMap;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use cody_batch::api::control::{Done, Letter, ROUTE};
use cody_batch::plan::JobRequest;
use cody_batch::wire::ServerAddress;

use super::harness::{World, create, http, processes_of, repository};

/// Jobs that are at work at once.
const AT_ONCE: usize = 6;
/// Jobs after which memory is looked at.
const WARM: usize = 100;
/// Calls to Claude at once, by default.
const CALLS_AT_ONCE: usize = 8;
/// What a job may add to the server's memory, in bytes.
const MOST_A_JOB: f64 = 10_000.0;

const SCRIPT: &str = r#"
[[conversation]]
name = "change"
match = { system = ["You change one repository"] }
[[conversation.turn]]
content = [{ tool = "bash", input = { command = "echo b >>a.txt; seq 2000" } }]
[[conversation.turn]]
content = [{ tool = "finish", input = { outcome = "changed", title = "T", summary = "S.", evidence = ["a.txt"] } }]
[[conversation]]
name = "review"
match = { system = ["You review a change"] }
[[conversation.turn]]
content = [{ text = '{"verdict": "accept", "summary": "Good.", "reasons": []}' }]
"#;

/// A server that ends with its test.
struct Serving {
    child: Child,
    address: ServerAddress,
    http: reqwest::Client,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Serving {
    async fn start(world: &World) -> Self {
        let mut serve = world.command(&["serve", "--listen", "127.0.0.1:0"]);
        let serve = serve.stdout(Stdio::null()).stderr(Stdio::null());
        // From here on it ends with the test, also if it never answers.
        let unknown = ServerAddress {
            url: String::new(),
            pid: 0,
            process_start: 0,
            stays: true,
            token: cody_batch::wire::Secret::new(""),
        };
        let mut serving = Self { child: serve.spawn().unwrap(), address: unknown, http: http() };
        let started = Instant::now();
        while serving.address.url.is_empty() {
            assert!(started.elapsed() < Duration::from_secs(20));
            tokio::time::sleep(Duration::from_millis(20)).await;
            if let Ok(text) = std::fs::read_to_string(world.path("data/server.json")) {
                serving.address = serde_json::from_str(&text).unwrap();
            }
        }
        serving
    }

    async fn create(&self, world: &World) {
        let request = JobRequest {
            prompt: "Add a line".to_owned(),
            repositories: vec![world.path("app").display().to_string()],
            no_checks: true,
            ..JobRequest::default()
        };
        let letter = Letter { actor: "ada".to_owned(), wish: create(request) };
        let url = format!("{}{ROUTE}", self.address.url);
        let asked =
            self.http.post(url).bearer_auth(self.address.token.expose()).json(&letter).send().await;
        asked.unwrap().error_for_status().unwrap().json::<Done>().await.unwrap();
    }

    /// What it has open, by what that is.
    fn open(&self) -> BTreeMap<String, usize> {
        let mut open = BTreeMap::new();
        for entry in std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().flatten() {
            let Ok(link) = std::fs::read_link(entry.path()) else { continue };
            let name = link.display().to_string();
            let kind = name.split(":[").next().unwrap_or_default();
            *open.entry(kind.rsplit('/').next().unwrap_or_default().to_owned()).or_default() += 1;
        }
        open
    }

    /// Bytes in memory.
    fn memory(&self) -> f64 {
        let proc = std::path::PathBuf::from(format!("/proc/{}", self.child.id()));
        let status = std::fs::read_to_string(proc.join("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kib: f64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kib * 1024.0
    }
}

/// How many jobs have ended, as the server's views tell.
fn finished(world: &World) -> usize {
    let log = rusqlite::Connection::open_with_flags(
        world.path("data/log.db"),
        rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY,
    );
    let count = log.and_then(|log| {
        log.query_row("SELECT COUNT(*) FROM events WHERE type = 'finished'", [], |row| {
            row.get::<_, i64>(0)
        })
    });
    usize::try_from(count.unwrap_or_default()).unwrap()
}

/// Waits until no worker is left.
async fn rest(world: &World) {
    let mark = world.dir.path().display().to_string();
    let started = Instant::now();
    let workers = || {
        let mut all = processes_of(&mark);
        all.retain(|process| process.contains("\0worker\0"));
        all
    };
    while !workers().is_empty() {
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", workers());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Connections that nobody uses are closed after a while.
    tokio::time::sleep(Duration::from_secs(3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_jobs_leave_a_server_as_it_was() {
    let is_proof = std::env::var_os("CODY_PROOF").is_some();
    let (jobs, warm) = if is_proof { (500, WARM) } else { (40, 20) };
    let world = World::new(SCRIPT).await;
    repository(&world.path("app"), &[("a.txt", "a\n")]);
    let server = Serving::start(&world).await;
    let started = Instant::now();
    let mut sizes = Vec::new();
    let mut files = BTreeMap::new();
    for created in 0..jobs {
        while created - finished(&world) >= AT_ONCE {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if created == warm {
            while finished(&world) < created {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            rest(&world).await;
            files = server.open();
        }
        if created >= warm {
            sizes.push((created, server.memory()));
        }
        server.create(&world).await;
    }
    while finished(&world) < jobs {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let took = started.elapsed();
    rest(&world).await;
    let slope = slope(&sizes);
    for (job, size) in sizes.iter().step_by(50) {
        println!("after {job} jobs {:.1} MiB", size / 1_048_576.0);
    }
    println!(
        "{jobs} jobs in {} s; memory {:.1} MiB after {warm} jobs, {:.1} MiB at the end, {slope:.0} bytes \
         a job; open then {files:?}, now {:?}",
        took.as_secs(),
        sizes[0].1 / 1_048_576.0,
        server.memory() / 1_048_576.0,
        server.open(),
    );
    let (mut then, mut now) = (files, server.open());
    // Connections to Claude are kept for a while, at most as many as there are calls at once.
    let sockets = [&mut then, &mut now].map(|open| open.remove("socket").unwrap_or_default());
    assert!(sockets[1] <= sockets[0] + CALLS_AT_ONCE, "{sockets:?}");
    assert_eq!(now, then);
    assert!(!is_proof || slope < MOST_A_JOB, "{slope} bytes a job");
    for folder in ["data/work", "data/tmp", "data/workers", "tmp"] {
        let left = std::fs::read_dir(world.path(folder)).unwrap().count();
        assert_eq!(left, 0, "{folder}");
    }
}

/// The slope of the line that fits best, in bytes a job.
fn slope(sizes: &[(usize, f64)]) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts this small are exact")]
    let points: Vec<(f64, f64)> = sizes.iter().map(|(job, size)| (*job as f64, *size)).collect();
    #[expect(clippy::cast_precision_loss, reason = "counts this small are exact")]
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let over: f64 = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
    let under: f64 = points.iter().map(|p| (p.0 - x).powi(2)).sum();
    over / under
}
