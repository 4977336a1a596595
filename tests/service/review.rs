//! Review over GraphQL: jobs are created once for each key, diffs are judged by the hash that was seen,
//! and of two who approve at once one wins and both are told.

use std::time::Duration;

use serde_json::{Value, json};

use super::harness::{World, http, repository};
use super::running::{Running, script};

const CREATE: &str = "mutation($input: CreateJobInput!) { createJob(input: $input) {
    clientMutationId position stale job { jobId status } userErrors { code field message next } } }";
const APPROVE: &str = "mutation($input: ReviewDiffInput!) { approveDiff(input: $input) {
    position job { id } userErrors { code message next } } }";
const JOB: &str = "query($id: ID!) { job(id: $id) { status position targets {
    number outcome delivery diff { hash title judgement { judgement comment actor { name door } }
        files(first: 5) { edges { node { path change hunks(first: 5) { edges { node { lines } } } } } } }
    threads { purpose messages(first: 50) { edges { node { kind blocks { kind text toolName } } } } } } } }";

/// People with tokens, and the server that they share.
pub struct Team {
    pub world: World,
    pub server: Running,
    http: reqwest::Client,
}

impl Team {
    /// A server whose Claude thinks for so long.
    pub async fn new(thinking_ms: u64) -> Self {
        let world = World::new(&script(thinking_ms)).await;
        repository(&world.path("app"), &[("greet.sh", "echo hello\n")]);
        let roots = world.dir.path().display().to_string();
        let server =
            Running::start(&world, &[("CODY_LOCAL_ROOTS", &roots), ("CODY_MAX_BUDGET_USD", "6")])
                .await;
        Self { world, server, http: http() }
    }

    /// A new token with `scopes`.
    pub async fn token(&self, name: &str, scopes: &[&str]) -> String {
        let mut args = vec!["token", "create", "--json", "--name", name];
        args.extend(scopes.iter().flat_map(|scope| ["--scope", scope]));
        let output = self.world.run(&args).await;
        let made: Value = serde_json::from_slice(&output.stdout).unwrap();
        made["token"].as_str().unwrap().to_owned()
    }

    pub async fn ask(&self, token: &str, query: &str, variables: Value) -> Value {
        let body = json!({ "query": query, "variables": variables });
        let request = self.http.post(format!("{}/graphql", self.server.url)).bearer_auth(token);
        let answer: Value = request.json(&body).send().await.unwrap().json().await.unwrap();
        assert_eq!(answer.get("errors"), None, "{answer}");
        answer["data"].clone()
    }

    /// What became of the wish for a job.
    pub async fn create_job(&self, token: &str, key: &str, prompt: &str) -> Value {
        self.ask(token, CREATE, self.create(key, prompt)).await["createJob"].clone()
    }

    fn create(&self, key: &str, prompt: &str) -> Value {
        let repository = self.world.path("app").display().to_string();
        json!({ "input": { "clientMutationId": key, "job": {
            "prompt": prompt, "noChecks": true, "targets": [{ "repository": repository }] } } })
    }

    /// The job when its target has an outcome.
    pub async fn ended(&self, token: &str, id: &str) -> Value {
        for _ in 0..2_000 {
            let job = self.ask(token, JOB, json!({ "id": id })).await["job"].clone();
            if !job["targets"][0]["outcome"].is_null() {
                return job;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the job never ended");
    }
}

/// The code of the first thing that was wrong.
pub fn code(payload: &Value) -> Option<&str> {
    let error = payload["userErrors"].as_array()?.first()?;
    assert!(!error["message"].as_str()?.is_empty() && !error["next"].as_str()?.is_empty());
    error["code"].as_str()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_diff_is_approved_once_by_its_hash_and_not_by_whoever_asked_for_it() {
    let team = Team::new(0).await;
    let asker = team.token("asker", &["run", "approve"]).await;
    let created = team.create_job(&asker, "k1", "Greet").await;
    assert_eq!(code(&created), None, "{created}");
    assert_eq!((&created["clientMutationId"], &created["stale"]), (&json!("k1"), &json!(false)));
    let id = created["job"]["jobId"].as_str().unwrap().to_owned();
    // The same key with the same job is the same job; with another it is a mistake.
    let again = team.create_job(&asker, "k1", "Greet").await;
    assert_eq!((&again["job"]["jobId"], &again["position"]), (&json!(id), &created["position"]));
    let other = team.create_job(&asker, "k1", "Other").await;
    assert_eq!(code(&other), Some("KEY_REUSED"));

    let raise = "mutation($input: RetryTargetsInput!) { retryTargets(input: $input) {
        userErrors { code message next } } }";
    let runner = team.token("runner", &["run"]).await;
    // A budget may come in by two ways, and neither raises a target over the cap by itself.
    for limits in [
        json!({ "budgetMicros": 9_000_000 }),
        json!({ "jobBudgetMicros": 9_000_000, "budgetMicros": 9_000_000 }),
    ] {
        let input = json!({ "input": { "jobId": id, "limits": limits } });
        let refused = team.ask(&runner, raise, input).await["retryTargets"].clone();
        assert_eq!(code(&refused), Some("FORBIDDEN"), "{refused}");
    }
    let job = team.ended(&asker, &id).await;
    let diff = &job["targets"][0]["diff"];
    assert_eq!(diff["title"], "Greet");
    let file = &diff["files"]["edges"][0]["node"];
    assert_eq!((&file["path"], &file["change"]), (&json!("greet.sh"), &json!("MODIFIED")));
    assert_eq!(file["hunks"]["edges"][0]["node"]["lines"], json!(["-echo hello", "+echo hi"]));
    let messages = &job["targets"][0]["threads"][0]["messages"]["edges"];
    assert!(messages.to_string().contains("\"toolName\":\"bash\""), "{messages}");

    let hash = diff["hash"].as_str().unwrap().to_owned();
    let review = |hash: &str, key: &str| {
        json!({ "input": { "jobId": id, "target": 1, "diffHash": hash, "comment": "Good.",
            "clientMutationId": key } })
    };
    let own = team.ask(&asker, APPROVE, review(&hash, "a")).await["approveDiff"].clone();
    assert_eq!(code(&own), Some("OWN_JOB"));
    let (one, two) = (team.token("one", &["approve"]).await, team.token("two", &["approve"]).await);
    let stale = team.ask(&one, APPROVE, review(&"0".repeat(64), "b")).await["approveDiff"].clone();
    assert_eq!(code(&stale), Some("DIFF_MOVED"));
    let (first, second) = tokio::join!(
        team.ask(&one, APPROVE, review(&hash, "c")),
        team.ask(&two, APPROVE, review(&hash, "c")),
    );
    let answers = [first["approveDiff"].clone(), second["approveDiff"].clone()];
    let mut codes: Vec<Option<&str>> = answers.iter().map(code).collect();
    codes.sort_unstable();
    assert_eq!(codes, [None, Some("ALREADY_JUDGED")], "{answers:?}");
    // Whoever won and asks again with the same key is told the same.
    let winner = if code(&answers[0]).is_none() { &one } else { &two };
    let same = team.ask(winner, APPROVE, review(&hash, "c")).await["approveDiff"].clone();
    assert_eq!(code(&same), None, "{same}");
    let judged =
        team.ask(&one, JOB, json!({ "id": id })).await["job"]["targets"][0]["diff"].clone();
    let judgement = &judged["judgement"];
    assert_eq!(
        (&judgement["judgement"], &judgement["comment"]),
        (&json!("APPROVED"), &json!("Good."))
    );
    assert_eq!(judgement["actor"]["door"], "GRAPHQL");
    assert!(judgement["actor"]["name"].as_str().unwrap().starts_with("token:"));
}
