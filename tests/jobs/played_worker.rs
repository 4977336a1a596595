//! A worker that this test plays by hand: the server asks for one as it would for any, and gets an
//! idle program whose secret the test takes.

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
use cody_events::envelope::Door;
use cody_events::ids::JobId;
use serde_json::{Value, json};

use super::harness::{World, create, http, repository};

/// How long the server waits for a silent worker.
pub const LEASE_MS: u64 = 1_500;

/// A worker that does nothing but leave its secret where the test finds it.
const IDLE_WORKER: &str = "#!/bin/sh\nread -r secret\n\
    while [ $# -gt 0 ]; do [ \"$1\" = --request ] && request=$2; shift; done\n\
    printf '%s' \"$secret\" >\"$SECRETS/$request.new\"\nmv \"$SECRETS/$request.new\" \"$SECRETS/$request\"\n\
    exec sleep 600\n";

/// A server with one job, and workers that do nothing by themselves.
pub struct Stage {
    pub world: World,
    pub server: Server,
    pub job: JobId,
}

/// A stage on which `script` plays Claude, for a repository with `files`.
pub async fn stage(script: &str, files: &[(&str, &str)], request: JobRequest) -> Stage {
    let world = World::new(script).await;
    repository(&world.path("app"), files);
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
    let repositories = vec![world.path("app").display().to_string()];
    let request = JobRequest { prompt: "Do it".to_owned(), repositories, ..request };
    let asker = Asker { actor: "ada".to_owned(), door: Door::Cli };
    let wish = create(request);
    let job = server.control.carry_out(wish, &asker).await.unwrap().job;
    Stage { world, server, job }
}

/// A worker played by hand.
pub struct Worker {
    pub url: String,
    pub token: String,
    pub request: String,
    pub nonce: String,
    pub assignment: Option<Assignment>,
}

impl Stage {
    /// The next worker that was asked for, which is none of `known`.
    pub async fn worker(&self, known: &[&str]) -> Worker {
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
                let nonce = secret.nonce.expose().to_owned();
                return Worker { url, token: String::new(), request, nonce, assignment: None };
            }
            assert!(started.elapsed() < Duration::from_secs(20), "no worker was asked for");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The claim of `worker`, with other values for some of its fields.
    pub fn claim_with(&self, worker: &Worker, other: &Value) -> Value {
        let mut claim = self.claim_of(worker, &worker.nonce);
        for (field, value) in other.as_object().unwrap() {
            claim[field] = value.clone();
        }
        claim
    }

    /// Waits until the server saw its worker's process end.
    pub async fn until_its_worker_ended(&self) {
        let started = Instant::now();
        while !self.kinds().await.iter().any(|kind| kind == "attempt-ended") {
            assert!(started.elapsed() < Duration::from_secs(20), "the worker stays");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn claim_of(&self, worker: &Worker, nonce: &str) -> Value {
        json!({
            "job": self.job, "target": 1, "request": worker.request, "nonce": nonce, "worker": "vm:1",
            "pid": 1, "process_start": 1, "app_version": "0", "image": null, "sandbox": "none",
        })
    }

    pub async fn kinds(&self) -> Vec<String> {
        let told = self.server.app.events(self.job, 0).await.unwrap();
        told.into_iter().map(|told| told.recorded.kind).collect()
    }
}

impl Worker {
    /// Says something; the status and the answer.
    pub async fn say(&self, route: &str, body: &Value) -> (u16, Value) {
        let url = format!("{}/worker/v1/{route}", self.url);
        let answer = http().post(url).bearer_auth(&self.token).json(body).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or(Value::Null))
    }

    pub async fn claim(&mut self, stage: &Stage) -> Assignment {
        let claim = stage.claim_of(self, &self.nonce);
        self.claim_as(&claim).await
    }

    /// The base that it works on.
    pub fn base(&self) -> &cody_events::attempt::Base {
        &self.assignment.as_ref().unwrap().base
    }

    /// Claims with these words.
    pub async fn claim_as(&mut self, claim: &Value) -> Assignment {
        let (status, answer) = self.say("claim", claim).await;
        assert_eq!(status, 200, "{answer}");
        let assignment: Assignment = serde_json::from_value(answer).unwrap();
        self.token = assignment.token.expose().to_owned();
        self.assignment = Some(assignment.clone());
        assignment
    }

    pub fn scan(&self) -> Value {
        let base = &self.assignment.as_ref().unwrap().base;
        json!({
            "base_commit": base.commit, "tree": base.tree, "languages": [], "file_count": 1,
            "byte_count": 2,
            "found": { "manifests": [], "checks": [], "candidates": [], "instruction_files": [], "context": "a.txt" },
        })
    }

    pub fn baseline(&self) -> Value {
        let base = &self.assignment.as_ref().unwrap().base;
        json!({ "phase": "baseline", "tree": base.tree, "cache": null, "skipped": "no-commands", "results": [], "outputs": [] })
    }

    pub fn tools(&self, turn: u32, id: &str) -> Value {
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

/// The status and the code of an answer.
pub fn code(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["code"].as_str().unwrap_or_default())
}
