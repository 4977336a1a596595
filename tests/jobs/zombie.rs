//! What workers may say, when, and how often: this test is the worker. Reports that come twice, too
//! early, too late, or from an attempt that another has taken over, never make a wrong state.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cody_batch::app::Asker;
use cody_batch::clock::SystemClock;
use cody_batch::config::Config;
use cody_batch::plan::JobRequest;
use cody_batch::serve::Server;
use cody_batch::wire::{Assignment, WorkerSecret};
use cody_events::attempt::AttemptEnd;
use cody_events::envelope::Door;
use cody_events::event::Event;
use cody_events::ids::JobId;
use serde_json::{Value, json};

use super::harness::{World, create, http, repository};

const LEASE_MS: u64 = 1_500;

/// A worker that does nothing but leave its secret where the test finds it.
const IDLE_WORKER: &str = "#!/bin/sh\nread -r secret\n\
    while [ $# -gt 0 ]; do [ \"$1\" = --request ] && request=$2; shift; done\n\
    printf '%s' \"$secret\" >\"$SECRETS/$request.new\"\nmv \"$SECRETS/$request.new\" \"$SECRETS/$request\"\n\
    exec sleep 600\n";

struct Stage {
    world: World,
    server: Server,
    job: JobId,
}

async fn stage() -> Stage {
    let world = World::new(
        "[[conversation]]\nname = \"c\"\n[[conversation.turn]]\ncontent = [{ tool = \"list_files\", input = { path = \"/repo\" } }]\n",
    )
    .await;
    repository(&world.path("app"), &[("a.txt", "a\n")]);
    let (program, secrets) = (world.path("idle-worker"), world.path("secrets"));
    std::fs::create_dir(&secrets).unwrap();
    let text = IDLE_WORKER.replace("$SECRETS", secrets.to_str().unwrap());
    std::fs::write(&program, text).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let base_url = world.player.base_url().unwrap().to_string();
    let lease = LEASE_MS.to_string();
    let settings: BTreeMap<&str, &str> = BTreeMap::from([
        ("ANTHROPIC_API_KEY", "sk-ant-canary"),
        ("ANTHROPIC_BASE_URL", &base_url),
        ("CODY_WORKER_PROGRAM", program.to_str().unwrap()),
        ("CODY_LEASE_MS", &lease),
    ]);
    let data = world.path("data");
    let config = Config::load(&data, &|name| settings.get(name).map(|v| (*v).to_owned())).unwrap();
    let server = Server::start_at(&config, None, Arc::new(SystemClock)).await.unwrap();
    let request = JobRequest {
        prompt: "Do it".to_owned(),
        repositories: vec![world.path("app").display().to_string()],
        no_checks: true,
        ..JobRequest::default()
    };
    let asker = Asker { actor: "ada".to_owned(), door: Door::Cli };
    let wish = create(request);
    let job = server.control.carry_out(wish, &asker).await.unwrap().job;
    Stage { world, server, job }
}

/// A worker played by hand.
struct Worker {
    url: String,
    token: String,
    request: String,
    nonce: String,
    assignment: Option<Assignment>,
}

impl Stage {
    /// The next worker that was asked for, which is none of `known`.
    async fn worker(&self, known: &[&str]) -> Worker {
        let started = Instant::now();
        loop {
            let fresh = names(&self.world.path("secrets"))
                .into_iter()
                .find(|name| !known.contains(&name.as_str()) && !name.ends_with(".new"));
            if let Some(request) = fresh {
                let text =
                    std::fs::read_to_string(self.world.path("secrets").join(&request)).unwrap();
                let secret: WorkerSecret = serde_json::from_str(&text).unwrap();
                let url = format!("http://{}", self.server.address);
                let nonce = secret.nonce;
                return Worker { url, token: String::new(), request, nonce, assignment: None };
            }
            assert!(started.elapsed() < Duration::from_secs(20), "no worker was asked for");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn claim_of(&self, worker: &Worker, nonce: &str) -> Value {
        json!({
            "job": self.job, "target": 1, "request": worker.request, "nonce": nonce, "worker": "vm:1",
            "pid": 1, "process_start": 1, "app_version": "0", "image": null, "sandbox": "none",
        })
    }

    async fn kinds(&self) -> Vec<String> {
        let told = self.server.app.events(self.job, 0).await.unwrap();
        told.into_iter().map(|told| told.recorded.kind).collect()
    }
}

impl Worker {
    /// Says something; the status and the answer.
    async fn say(&self, route: &str, body: &Value) -> (u16, Value) {
        let url = format!("{}/worker/v1/{route}", self.url);
        let answer = http().post(url).bearer_auth(&self.token).json(body).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or(Value::Null))
    }

    async fn claim(&mut self, stage: &Stage) -> Assignment {
        let (status, answer) = self.say("claim", &stage.claim_of(self, &self.nonce)).await;
        assert_eq!(status, 200, "{answer}");
        let assignment: Assignment = serde_json::from_value(answer).unwrap();
        self.token.clone_from(&assignment.token);
        self.assignment = Some(assignment.clone());
        assignment
    }

    fn scan(&self) -> Value {
        let base = &self.assignment.as_ref().unwrap().base;
        json!({
            "base_commit": base.commit, "tree": base.tree, "languages": [], "file_count": 1,
            "byte_count": 2,
            "found": { "manifests": [], "checks": [], "candidates": [], "instruction_files": [], "context": "a.txt" },
        })
    }

    fn baseline(&self) -> Value {
        let base = &self.assignment.as_ref().unwrap().base;
        json!({ "phase": "baseline", "tree": base.tree, "cache": null, "skipped": "no-commands", "results": [], "outputs": [] })
    }

    fn tools(&self, turn: u32, id: &str) -> Value {
        let tree = &self.assignment.as_ref().unwrap().base.tree;
        json!({
            "thread": 1, "turn": turn,
            "tools": [{ "id": id, "name": "list_files", "is_error": false, "ms": 1 }],
            "results": [{ "type": "tool_result", "tool_use_id": id, "content": "a.txt" }],
            "finish": null, "outputs": [], "tree_before": tree, "tree_after": tree, "changed": [], "blobs": [],
        })
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn code(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["code"].as_str().unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_that_are_late_early_doubled_or_a_zombies_change_nothing() {
    let stage = stage().await;
    let mut first = stage.worker(&[]).await;
    // Only who was asked for may claim, and whoever lost the answer claims again.
    let wrong = first.say("claim", &stage.claim_of(&first, "guessed")).await;
    assert_eq!(code(&wrong), (401, "fenced"));
    let before = first.claim(&stage).await;
    let old_token = first.token.clone();
    let again = first.claim(&stage).await;
    assert_eq!((before.attempt, again.attempt), (again.attempt, before.attempt));
    assert_ne!(old_token, first.token);
    // Too early, in any order.
    assert_eq!(code(&first.say("checks", &first.baseline()).await), (409, "out-of-order"));
    assert_eq!(code(&first.say("tools", &first.tools(1, "x")).await), (409, "out-of-order"));
    let (status, receipt) = first.say("scan", &first.scan()).await;
    assert_eq!((status, receipt), (200, json!({ "recorded": true })));
    // Twice is once.
    let (status, receipt) = first.say("scan", &first.scan()).await;
    assert_eq!((status, receipt), (200, json!({ "recorded": false })));
    assert_eq!(first.say("checks", &first.baseline()).await.0, 200);
    let (status, step) = first.say("next", &json!({})).await;
    assert_eq!(status, 200, "{step}");
    let id = step["run-tools"]["tools"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(code(&first.say("tools", &first.tools(2, &id)).await), (409, "out-of-order"));

    // It falls silent, its lease runs out, and another is asked for.
    let silent = Instant::now();
    let mut second = stage.worker(&[&first.request]).await;
    assert!(silent.elapsed() >= Duration::from_millis(LEASE_MS - 200), "{:?}", silent.elapsed());
    // The zombie is fenced in whatever it says, before the other claims and after.
    for route in ["heartbeat", "next", "tree", "output"] {
        let body = json!({ "turn": 1, "tool": id });
        assert_eq!(code(&first.say(route, &body).await), (401, "fenced"), "{route}");
    }
    assert_eq!(code(&first.say("tools", &first.tools(1, &id)).await), (401, "fenced"));
    assert_eq!(
        code(&first.say("claim", &stage.claim_of(&first, &first.nonce)).await),
        (401, "fenced")
    );
    let count = stage.kinds().await.len();
    second.claim(&stage).await;
    assert_eq!(second.assignment.as_ref().unwrap().attempt, before.attempt.next());
    let end = json!({ "how": "completed", "detail": null });
    assert_eq!(code(&first.say("end", &end).await), (401, "fenced"));
    assert_eq!(code(&first.say("scan", &first.scan()).await), (401, "fenced"));
    assert_eq!(stage.kinds().await.len(), count + 1);

    // The second gets the same response to work on, and its report is taken once.
    let (_, step) = second.say("next", &json!({})).await;
    assert_eq!(step["run-tools"]["tools"][0]["id"], id.as_str());
    assert_eq!(second.say("tools", &second.tools(1, &id)).await.1, json!({ "recorded": true }));
    assert_eq!(second.say("tools", &second.tools(1, &id)).await.1, json!({ "recorded": false }));
    let told = stage.server.app.events(stage.job, 0).await.unwrap();
    let ends: Vec<AttemptEnd> = told
        .iter()
        .filter_map(|told| match &told.event {
            Event::AttemptEnded(e) => Some(e.how),
            _ => None,
        })
        .collect();
    assert_eq!(ends, [AttemptEnd::Lost]);
    assert_eq!(stage.kinds().await.iter().filter(|kind| *kind == "tools-ran").count(), 1);
    assert_eq!(stage.world.player.heard().len(), 1, "the response was asked for once");
}
