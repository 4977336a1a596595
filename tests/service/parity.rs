//! One table of what people do to jobs, and three doors: the command line (from another machine), GraphQL
//! and MCP. Each line of the table is done through each door to a job of its own, and has the same events
//! in the log, or the same no, whichever door it was. A verb that a door has not is named as such.

use std::time::Duration;

use serde_json::{Value, json};

use super::harness::{World, finish, http, json as parsed, repository};
use super::running::{Running, script};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    Cli,
    Graphql,
    Mcp,
}

const DOORS: [Door; 3] = [Door::Cli, Door::Graphql, Door::Mcp];

/// What a job was brought to before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    /// Its one target ended with a diff.
    Ended,
    /// Claude is at work on it.
    AtWork,
    Paused,
    Cancelled,
}

/// What is done.
#[derive(Debug, Clone, Copy)]
enum Verb {
    Approve { is_stale: bool },
    Reject,
    RequestChanges { comment: &'static str },
    Pause { target: Option<u32> },
    Resume { max_turns: Option<u32> },
    Retry,
    Cancel { reason: &'static str },
    Archive,
}

/// What comes of it.
#[derive(Debug, Clone, Copy)]
enum Outcome {
    /// Events of these kinds, before any other.
    Events(&'static [&'static str]),
    /// A no with these words.
    No(&'static str),
}

use Outcome::{Events, No};
use Stand::{AtWork, Cancelled, Ended, Paused};

/// The table. Later verbs get lines here.
const TABLE: &[(Stand, Verb, Outcome)] = &[
    (Ended, Verb::Approve { is_stale: false }, Events(&["diff-approved"])),
    (Ended, Verb::Approve { is_stale: true }, No("is another by now")),
    (Ended, Verb::Reject, Events(&["diff-rejected"])),
    (Ended, Verb::RequestChanges { comment: "" }, No("has to say what to change")),
    (
        Ended,
        Verb::RequestChanges { comment: "Greet louder." },
        Events(&["changes-requested", "target-reopened"]),
    ),
    (Ended, Verb::Pause { target: None }, No("The job is finished")),
    (Ended, Verb::Retry, No("ended without success")),
    (Ended, Verb::Archive, Events(&["archived"])),
    (AtWork, Verb::Pause { target: None }, Events(&["paused"])),
    (AtWork, Verb::Pause { target: Some(1) }, Events(&["paused"])),
    (AtWork, Verb::Pause { target: Some(7) }, No("no target 7")),
    (AtWork, Verb::Archive, No("The job is not finished")),
    (AtWork, Verb::Cancel { reason: "wrong branch" }, Events(&["cancelled", "target-finished"])),
    (AtWork, Verb::Cancel { reason: SECRET }, No("looks like a secret")),
    (Paused, Verb::Resume { max_turns: None }, Events(&["resumed"])),
    (Paused, Verb::Resume { max_turns: Some(70) }, Events(&["budget-changed", "resumed"])),
    (Paused, Verb::Resume { max_turns: Some(0) }, No("turn")),
    // Without anything new the command line tells how such a job ended, and resumes nothing.
    (Cancelled, Verb::Resume { max_turns: Some(70) }, No("cancelled")),
    (Cancelled, Verb::Retry, No("cancelled")),
];

/// It has the form of a token, and opens nothing.
const SECRET: &str = "ghp_kB8jDZ2nFk7cLgZwH1Q7Y6A9w4s3mYpevR4D";

impl Verb {
    /// Whether the door has it: assistants have no business with lists.
    fn is_at(self, door: Door) -> bool {
        !matches!((self, door), (Self::Archive, Door::Mcp))
    }

    /// Its arguments on the command line.
    fn words(self, job: &str, hash: &str) -> Vec<String> {
        let words: Vec<&str> = match self {
            Self::Approve { .. } => vec!["approve", job, "--target", "1", "--diff", hash],
            Self::Reject => vec!["reject", job, "--target", "1", "--diff", hash],
            Self::RequestChanges { comment } => {
                vec!["request-changes", job, "--target", "1", "--diff", hash, "--comment", comment]
            }
            Self::Pause { target: None } => vec!["pause", job],
            Self::Pause { target: Some(number) } => {
                return vec!["pause".into(), job.into(), "--target".into(), number.to_string()];
            }
            Self::Resume { max_turns: None } => vec!["resume", job],
            Self::Resume { max_turns: Some(turns) } => {
                return vec!["resume".into(), job.into(), "--max-turns".into(), turns.to_string()];
            }
            Self::Retry => vec!["retry", job],
            Self::Cancel { reason } => vec!["cancel", job, "--reason", reason],
            Self::Archive => vec!["archive", job],
        };
        words.into_iter().map(str::to_owned).collect()
    }

    /// Its mutation and the input.
    fn mutation(self, job: &str, hash: &str) -> (&'static str, &'static str, Value) {
        let review = |comment: &str| json!({ "jobId": job, "target": 1, "diffHash": hash, "comment": comment });
        match self {
            Self::Approve { .. } => ("approveDiff", "ReviewDiffInput", review("")),
            Self::Reject => ("rejectDiff", "ReviewDiffInput", review("")),
            Self::RequestChanges { comment } => {
                ("requestChanges", "ReviewDiffInput", review(comment))
            }
            Self::Pause { target } => {
                ("pauseJob", "PauseJobInput", json!({ "jobId": job, "target": target }))
            }
            Self::Resume { max_turns } => {
                let limits = max_turns.map(|turns| json!({ "maxTurns": turns }));
                ("resumeJob", "ResumeJobInput", json!({ "jobId": job, "limits": limits }))
            }
            Self::Retry => ("retryTargets", "RetryTargetsInput", json!({ "jobId": job })),
            Self::Cancel { reason } => {
                ("cancelJob", "CancelJobInput", json!({ "jobId": job, "reason": reason }))
            }
            Self::Archive => ("archiveJob", "ArchiveJobInput", json!({ "jobId": job })),
        }
    }

    /// Its tool and the arguments.
    fn tool(self, job: &str, hash: &str) -> (&'static str, Value) {
        let review = |verdict: &str, comment: &str| {
            json!({ "job_id": job, "target": 1, "diff_hash": hash, "verdict": verdict,
                "comment": comment })
        };
        match self {
            Self::Approve { .. } => ("review_diff", review("approve", "")),
            Self::Reject => ("review_diff", review("reject", "")),
            Self::RequestChanges { comment } => ("review_diff", review("request-changes", comment)),
            Self::Pause { target: None } => ("pause_job", json!({ "job_id": job })),
            Self::Pause { target } => ("pause_job", json!({ "job_id": job, "target": target })),
            Self::Resume { max_turns } => {
                ("resume_job", json!({ "job_id": job, "max_turns": max_turns }))
            }
            Self::Retry => ("retry_targets", json!({ "job_id": job })),
            Self::Cancel { reason } => ("cancel_job", json!({ "job_id": job, "reason": reason })),
            Self::Archive => unreachable!("there is no such tool"),
        }
    }
}

/// A server, whoever makes jobs, and whoever says something of them.
struct House {
    world: World,
    server: Running,
    maker: String,
    judge: String,
    reader: String,
    http: reqwest::Client,
}

impl House {
    async fn new() -> Self {
        let world = World::new(&script(400)).await;
        repository(&world.path("app"), &[("greet.sh", "echo hello\n")]);
        let roots = world.dir.path().display().to_string();
        let server = Running::start(
            &world,
            &[("CODY_LOCAL_ROOTS", &roots), ("CODY_REQUESTS_A_MINUTE", "0")],
        )
        .await;
        let mut tokens = Vec::new();
        for (name, scopes) in
            [("maker", &["run"][..]), ("judge", &["run", "approve"]), ("reader", &["read"])]
        {
            let mut args = vec!["token", "create", "--json", "--name", name];
            args.extend(scopes.iter().flat_map(|scope| ["--scope", scope]));
            let made = parsed(&world.run(&args).await);
            tokens.push(made["token"].as_str().unwrap().to_owned());
        }
        let [maker, judge, reader] = tokens.try_into().unwrap();
        Self { world, server, maker, judge, reader, http: http() }
    }

    fn repository(&self) -> String {
        self.world.path("app").display().to_string()
    }

    /// The command line of another machine.
    async fn cli(&self, token: &str, args: &[String]) -> (Option<Value>, String) {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut command = self.world.command(&args);
        command.env("CODY_DATA_DIR", self.world.path("nothing"));
        command.env("CODY_TOKEN", token).env("CODY_SERVER", &self.server.url);
        let output = finish(command).await;
        let words = String::from_utf8(output.stderr.clone()).unwrap();
        let said = serde_json::from_slice(&output.stdout).ok();
        (said.filter(|_| output.status.success()), words)
    }

    async fn graphql(&self, token: &str, query: &str, variables: Value) -> Value {
        let request = self.http.post(format!("{}/graphql", self.server.url)).bearer_auth(token);
        let body = json!({ "query": query, "variables": variables });
        let answer: Value = request.json(&body).send().await.unwrap().json().await.unwrap();
        assert_eq!(answer.get("errors"), None, "{answer}");
        answer["data"].clone()
    }

    /// A tool's structured answer, and whether it is an error.
    async fn tool(&self, token: &str, name: &str, arguments: Value) -> (Value, bool) {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
            "name": name, "arguments": arguments, "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientInfo": { "name": "parity", "version": "1" },
                "io.modelcontextprotocol/clientCapabilities": {} } } });
        let request = self.http.post(format!("{}/mcp", self.server.url)).bearer_auth(token);
        let request = request
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", "tools/call")
            .header("mcp-name", name);
        let answer: Value = request.json(&body).send().await.unwrap().json().await.unwrap();
        let result = &answer["result"];
        assert!(result.is_object(), "{answer}");
        (result["structuredContent"].clone(), result["isError"] == true)
    }

    /// A new job through `door`: its id.
    async fn create(&self, door: Door) -> String {
        let (repository, prompt) = (self.repository(), "Greet whoever");
        let id = match door {
            Door::Cli => {
                let args =
                    ["run", "--detach", "--json", "--no-review", "--prompt", prompt, "--repo"];
                let mut args = args.map(str::to_owned).to_vec();
                args.push(repository);
                let (said, words) = self.cli(&self.maker, &args).await;
                said.unwrap_or_else(|| panic!("{words}"))["job_id"].clone()
            }
            Door::Graphql => {
                let input = json!({ "job": { "prompt": prompt, "noReview": true,
                    "targets": [{ "repository": repository }] } });
                let query = "mutation($input: CreateJobInput!) { createJob(input: $input) {
                    job { jobId } userErrors { message } } }";
                let made = self.graphql(&self.maker, query, json!({ "input": input })).await;
                made["createJob"]["job"]["jobId"].clone()
            }
            Door::Mcp => {
                // What a job is reviewed by is no assistant's to choose.
                let arguments = json!({ "prompt": prompt, "targets": [repository] });
                let (made, is_error) = self.tool(&self.maker, "create_job", arguments).await;
                assert!(!is_error, "{made}");
                made["job_id"].clone()
            }
        };
        id.as_str().unwrap().to_owned()
    }

    /// The events of a job: kind, facts, door.
    async fn events(&self, job: &str) -> Vec<(String, Value, String)> {
        let job: cody_events::ids::JobId = job.parse().unwrap();
        let app = super::harness::app(&self.world.path("data"));
        let read = app.log().read_stream(&job.stream(), 1, 10_000).await.unwrap();
        let told = |event: cody_events::envelope::Recorded| {
            let facts = serde_json::from_str(&event.facts).unwrap();
            (event.kind, facts, event.door.name().to_owned())
        };
        read.into_iter().map(told).collect()
    }

    async fn until(&self, job: &str, kind: &str) -> Vec<(String, Value, String)> {
        for _ in 0..3_000 {
            let events = self.events(job).await;
            if events.iter().any(|(found, ..)| found == kind) {
                return events;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{job} never had {kind}");
    }

    /// Brings a new job to where the line begins, by the command line.
    async fn bring(&self, door: Door, stand: Stand) -> (String, String) {
        let job = self.create(door).await;
        let hash = match stand {
            Ended => {
                let events = self.until(&job, "finished").await;
                let diff = events.iter().find(|(kind, ..)| kind == "diff-produced").unwrap();
                diff.1["diff_hash"].as_str().unwrap().to_owned()
            }
            AtWork | Paused | Cancelled => {
                self.until(&job, "call-permitted").await;
                String::new()
            }
        };
        let verb = match stand {
            Ended | AtWork => None,
            Paused => Some("pause"),
            Cancelled => Some("cancel"),
        };
        if let Some(verb) = verb {
            let args = [verb.to_owned(), job.clone()];
            self.cli(&self.judge, &args).await;
            self.until(&job, if verb == "pause" { "paused" } else { "cancelled" }).await;
        }
        (job, hash)
    }

    /// Does it; the no, if it is one.
    async fn carry_out(
        &self,
        door: Door,
        token: &str,
        verb: Verb,
        job: &str,
        hash: &str,
    ) -> Option<String> {
        match door {
            Door::Cli => {
                // Whoever goes on with a job watches it; here the log is watched.
                let mut command = self.world.command(&[]);
                command.args(verb.words(job, hash));
                command.env("CODY_DATA_DIR", self.world.path("nothing"));
                command.env("CODY_TOKEN", token).env("CODY_SERVER", &self.server.url);
                let output = finish(command).await;
                let words = String::from_utf8(output.stderr).unwrap();
                (output.status.code() == Some(2)).then_some(words)
            }
            Door::Graphql => {
                let (name, input_type, input) = verb.mutation(job, hash);
                let query = format!(
                    "mutation($input: {input_type}!) {{ {name}(input: $input) {{ userErrors {{ message }} }} }}"
                );
                let answer = self.graphql(token, &query, json!({ "input": input })).await;
                let error = answer[name]["userErrors"].get(0)?;
                Some(error["message"].as_str().unwrap().to_owned())
            }
            Door::Mcp => {
                let (name, arguments) = verb.tool(job, hash);
                let (answer, is_error) = self.tool(token, name, arguments).await;
                is_error.then(|| answer["message"].as_str().unwrap().to_owned())
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_verb_does_the_same_through_every_door() {
    let house = House::new().await;
    for (stand, verb, outcome) in TABLE {
        let mut before_any: Option<Vec<(String, Value)>> = None;
        for door in DOORS.into_iter().filter(|door| verb.is_at(*door)) {
            let (job, hash) = house.bring(door, *stand).await;
            let hash = match verb {
                Verb::Approve { is_stale: true } => "0".repeat(64),
                _ => hash,
            };
            let known = house.events(&job).await.len();
            let no = house.carry_out(door, &house.judge, *verb, &job, &hash).await;
            let place = format!("{stand:?}, {verb:?}, {door:?}");
            let events = house.events(&job).await.split_off(known);
            let ours = events.iter().filter(|(.., door)| door != "server" && door != "worker");
            let ours: Vec<&(String, Value, String)> = ours.collect();
            match outcome {
                No(words) => {
                    let no = no.unwrap_or_else(|| panic!("{place} is no no: {events:?}"));
                    assert!(no.contains(words), "{place}: {no}");
                    assert!(ours.is_empty(), "{place}: {ours:?}");
                }
                Events(kinds) => {
                    assert_eq!(no, None, "{place}");
                    let told: Vec<&str> = ours.iter().map(|(kind, ..)| kind.as_str()).collect();
                    assert_eq!(&told[..kinds.len().min(told.len())], *kinds, "{place}");
                    let name = format!("{door:?}").to_lowercase();
                    assert!(ours.iter().all(|(.., door)| *door == name), "{place}: {ours:?}");
                    // The same facts, whichever door it was.
                    let facts: Vec<(String, Value)> = ours
                        .iter()
                        .take(kinds.len())
                        .map(|(kind, facts, _)| (kind.clone(), facts.clone()))
                        .collect();
                    // What was done until a cancel is a matter of milliseconds.
                    if *stand == Ended {
                        let first = before_any.get_or_insert_with(|| facts.clone());
                        assert_eq!(*first, facts, "{place}");
                    }
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_planned_and_created_alike_and_refused_alike() {
    let house = House::new().await;
    let mut created: Option<Value> = None;
    for door in [Door::Cli, Door::Graphql] {
        let job = house.create(door).await;
        let facts = house.events(&job).await[0].1.clone();
        assert_eq!(*created.get_or_insert_with(|| facts.clone()), facts, "{door:?}");
    }
    let of_mcp = house.create(Door::Mcp).await;
    let mut facts = house.events(&of_mcp).await[0].1.clone();
    // An assistant cannot do without the review; all else is the same.
    facts["skip_review"] = true.into();
    assert_eq!(created.unwrap(), facts);

    let (repository, prompt) = (house.repository(), "Greet whoever");
    let args: Vec<String> =
        ["plan", "--json", "--prompt", prompt, "--repo", &repository].map(str::to_owned).to_vec();
    let (planned, words) = house.cli(&house.maker, &args).await;
    let cli = planned.unwrap_or_else(|| panic!("{words}"));
    let query =
        "query($job: PlanJobInput!) { planJob(input: $job) { mostMicros floorCallMicros } }";
    let job = json!({ "prompt": prompt, "targets": [{ "repository": repository }] });
    let graphql =
        house.graphql(&house.maker, query, json!({ "job": job })).await["planJob"].clone();
    let arguments = json!({ "prompt": prompt, "targets": [repository] });
    let (mcp, _) = house.tool(&house.maker, "plan_job", arguments).await;
    for (of_cli, of_graphql) in
        [("most_micros", "mostMicros"), ("floor_call_micros", "floorCallMicros")]
    {
        assert!(cli[of_cli].as_u64().unwrap() > 0);
        assert_eq!((&cli[of_cli], &cli[of_cli]), (&graphql[of_graphql], &mcp[of_cli]), "{of_cli}");
    }

    // Whoever only reads steers nothing, through no door, and is told which scope it takes.
    let (job, _) = house.bring(Door::Cli, AtWork).await;
    for door in DOORS {
        let verb = Verb::Cancel { reason: "" };
        let no = house.carry_out(door, &house.reader, verb, &job, "").await;
        let no = no.unwrap_or_else(|| panic!("{door:?} let a reader cancel"));
        assert!(no.contains("needs the scope `run`"), "{door:?}: {no}");
    }
    // And the maker of a job approves none of its diffs.
    for door in DOORS {
        let (job, hash) = house.bring(door, Ended).await;
        let verb = Verb::Approve { is_stale: false };
        let no = house.carry_out(door, &house.judge, verb, &job, &hash).await;
        assert_eq!(no, None, "{door:?}");
        let no = house.carry_out(door, &house.maker, verb, &job, &hash).await;
        assert!(no.is_some_and(|no| no.contains("needs the scope `approve`")), "{door:?}");
    }
}
