//! Tools, at work on real jobs: planned, created, waited for, looked at, judged, controlled; in both of
//! the protocol's eras, and always in the shape that they say.

use serde_json::{Value, json};

use super::client::{Client, Era};
use super::harness::{World, repository};
use super::running::{Running, script};

/// A world with a server, and whoever may do what there.
pub struct Team {
    pub world: World,
    pub server: Running,
}

impl Team {
    pub async fn new(delay_ms: u64) -> Self {
        let world = World::new(&script(delay_ms)).await;
        for name in ["app", "web"] {
            repository(&world.path(name), &[("greet.sh", "echo hello\n")]);
        }
        let roots = world.dir.path().display().to_string();
        let settings = [("CODY_LOCAL_ROOTS", roots.as_str()), ("CODY_REQUESTS_A_MINUTE", "0")];
        let server = Running::start(&world, &settings).await;
        Self { world, server }
    }

    /// A client with a new token that has `scopes`.
    pub async fn client(&self, name: &str, scopes: &[&str], era: Era) -> Client {
        let mut args = vec!["token", "create", "--json", "--name", name];
        args.extend(scopes.iter().flat_map(|scope| ["--scope", scope]));
        let output = self.world.run(&args).await;
        let made: Value = serde_json::from_slice(&output.stdout).unwrap();
        let url = format!("{}/mcp", self.server.url);
        Client::new(&url, made["token"].as_str().unwrap(), era)
    }

    /// Makes the token of this name good for nothing.
    pub async fn revoke(&self, name: &str) {
        let output = self.world.run(&["token", "list", "--json"]).await;
        let listed = String::from_utf8(output.stdout).unwrap();
        let mut tokens = listed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let token = tokens.find(|token| token["name"] == name).unwrap();
        let id = token["token_id"].as_str().unwrap();
        let output = self.world.run(&["token", "revoke", id]).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// A job of these repositories.
    pub fn job_of(&self, names: &[&str]) -> Value {
        let places = names.iter().map(|name| self.world.path(name).display().to_string());
        let places: Vec<String> = places.collect();
        json!({ "prompt": "Greet whoever", "targets": places, "checks": ["true"] })
    }

    /// A job of one repository.
    pub fn job(&self) -> Value {
        self.job_of(&["app"])
    }

    /// A job whose second repository waits until a person has looked at the first one's diff.
    pub fn piloted(&self) -> Value {
        let mut job = self.job_of(&["app", "web"]);
        job["pilot"] = true.into();
        job
    }
}

/// Waits by the tool until the job has ended or awaits a person.
pub async fn settled(client: &Client, job: &Value) -> Value {
    let mut after = Value::Null;
    for _ in 0..200 {
        let mut arguments = json!({ "job_id": job });
        if !after.is_null() {
            arguments["after"] = after;
        }
        let waited = client.told("wait_for_job", arguments).await;
        if waited["reason"] == "finished" || waited["reason"] == "awaits-person" {
            return waited;
        }
        assert_eq!(waited["reason"], "changed", "{waited}");
        after = waited["position"].clone();
    }
    panic!("the job never settled");
}

/// The tools as they are listed, each with a judge of its answers.
async fn judges(client: &Client) -> impl Fn(&str, &Value) {
    let listed = client.ask("tools/list", json!({})).await;
    move |name, answer| {
        let tools = listed["tools"].as_array().unwrap();
        let tool = tools.iter().find(|tool| tool["name"] == name).unwrap();
        let judge = jsonschema::validator_for(&tool["outputSchema"]).unwrap();
        let wrong: Vec<String> = judge.iter_errors(answer).map(|one| one.to_string()).collect();
        assert!(wrong.is_empty(), "{name}: {wrong:?} in {answer}");
        assert!(answer["position"].as_u64().unwrap() > 0, "{name}: {answer}");
        assert!(!answer["next"].as_str().unwrap().is_empty(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_planned_created_waited_for_looked_at_and_judged_in_both_eras() {
    let team = Team::new(0).await;
    for era in Era::BOTH {
        let asker = team.client(&format!("asker-{era:?}"), &["run", "approve"], era).await;
        let judge = judges(&asker).await;
        let mut arguments = team.piloted();
        let mut full = arguments.clone();
        full["detail"] = "full".into();
        for arguments in [&arguments, &full] {
            let planned = asker.told("plan_job", arguments.clone()).await;
            judge("plan_job", &planned);
            assert_eq!(planned["targets"][0]["repository"], "app");
        }
        arguments["idempotency_key"] = format!("key-{era:?}").into();
        let created = asker.told("create_job", arguments.clone()).await;
        judge("create_job", &created);
        let job = created["job_id"].clone();
        let again = asker.told("create_job", arguments.clone()).await;
        assert_eq!((&again["job_id"], &again["is_new"]), (&job, &json!(false)));
        arguments["prompt"] = "Other".into();
        assert_eq!(asker.refused("create_job", arguments).await["code"], "key-reused");

        let waited = settled(&asker, &job).await;
        judge("wait_for_job", &waited);
        assert_eq!(
            (&waited["reason"], &waited["status"]),
            (&json!("awaits-person"), &json!("awaiting-review")),
            "{waited}"
        );
        assert_eq!(waited["awaiting"], json!([1]));
        assert!(waited["next"].as_str().unwrap().starts_with("get_diff"), "{waited}");
        for detail in ["concise", "full"] {
            let asked = json!({ "job_id": job, "detail": detail });
            let shown = asker.told("get_job", asked.clone()).await;
            judge("get_job", &shown);
            assert_eq!(shown["targets"][0]["outcome"], "diff-ready");
            assert_eq!(shown.get("prompt").is_some(), detail == "full");
            let events = asker.told("get_events", asked.clone()).await;
            judge("get_events", &events);
            assert_eq!(events["events"][0]["type"], "created");
            let listed = asker.told("list_jobs", json!({ "detail": detail })).await;
            judge("list_jobs", &listed);
            assert_eq!(listed["jobs"][0]["job_id"], job);
            let said = asker
                .told("get_thread", json!({ "job_id": job, "target": 1, "detail": detail }))
                .await;
            judge("get_thread", &said);
            let text = said["text"].as_str().unwrap();
            assert!(text.starts_with("Untrusted text") && text.contains("sed -i"), "{text}");
            let diff = asker
                .told("get_diff", json!({ "job_id": job, "target": 1, "detail": detail }))
                .await;
            judge("get_diff", &diff);
            let patch = diff["patch"].as_str().unwrap();
            assert!(patch.starts_with("Untrusted text") && patch.contains("+echo hi"), "{patch}");
        }
        let hash = asker.told("get_diff", json!({ "job_id": job, "target": 1 })).await["diff_hash"]
            .clone();
        let verdict = |hash: &Value, verdict: &str| json!({ "job_id": job, "target": 1, "diff_hash": hash, "verdict": verdict, "comment": "Seen." });
        // Neither its token nor even an admin's makes an assistant the second pair of eyes.
        assert_eq!(
            asker.refused("review_diff", verdict(&hash, "approve")).await["code"],
            "own-job"
        );
        let other = team.client(&format!("other-{era:?}"), &["approve"], era).await;
        let stale = json!("0".repeat(64));
        assert_eq!(
            other.refused("review_diff", verdict(&stale, "approve")).await["code"],
            "diff-moved"
        );
        let judged = other.told("review_diff", verdict(&hash, "approve")).await;
        judge("review_diff", &judged);
        assert_eq!(judged["is_new"], true);
        let no = other.refused("review_diff", verdict(&hash, "reject")).await;
        assert!(
            ["already-judged", "not-reviewable"].contains(&no["code"].as_str().unwrap()),
            "{no}"
        );
        // The second one goes on, and is done without anybody: it looks like the first.
        assert_eq!(settled(&asker, &job).await["status"], "succeeded");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_paused_resumed_cancelled_and_its_targets_start_over() {
    let team = Team::new(1_000).await;
    let client = team.client("runner", &["run"], Era::Newer).await;
    let judge = judges(&client).await;
    let job = client.told("create_job", team.job()).await["job_id"].clone();
    let paused = client.told("pause_job", json!({ "job_id": job })).await;
    judge("pause_job", &paused);
    // What rests is not waited for: nothing happens until somebody says so.
    let waited = client.told("wait_for_job", json!({ "job_id": job, "detail": "full" })).await;
    judge("wait_for_job", &waited);
    assert_eq!(waited["reason"], "paused", "{waited}");
    assert!(waited["about"].as_str().unwrap().starts_with("1 app: "), "{waited}");
    let resumed = client.told("resume_job", json!({ "job_id": job, "max_turns": 9 })).await;
    judge("resume_job", &resumed);
    let cancelled = client.told("cancel_job", json!({ "job_id": job, "reason": "Enough." })).await;
    judge("cancel_job", &cancelled);
    assert_eq!(cancelled["status"], "cancelled");
    let no = client.refused("pause_job", json!({ "job_id": job })).await;
    assert_eq!(no["code"], "job-cancelled", "{no}");
    assert_eq!(settled(&client, &job).await["reason"], "finished");
    let other = client.told("create_job", team.job()).await["job_id"].clone();
    settled(&client, &other).await;
    let retried = client.told("retry_targets", json!({ "job_id": other, "targets": [1] })).await;
    judge("retry_targets", &retried);
    assert_eq!(retried["is_new"], true);
    // Two jobs, a page of one each.
    let first = client.told("list_jobs", json!({ "first": 1 })).await;
    let second =
        client.told("list_jobs", json!({ "first": 1, "after": first["end_cursor"] })).await;
    assert_eq!((&first["jobs"][0]["job_id"], &second["jobs"][0]["job_id"]), (&other, &job));
    assert_eq!(second["end_cursor"], Value::Null);
    // Events by page are all events.
    let (mut after, mut count) = (json!(0), 0);
    loop {
        let page =
            client.told("get_events", json!({ "job_id": job, "after": after, "first": 3 })).await;
        count += page["events"].as_array().unwrap().len();
        after = page["after"].clone();
        if page["has_more"] == false {
            break;
        }
    }
    let all = client.told("get_events", json!({ "job_id": job, "first": 100 })).await;
    assert_eq!(all["events"].as_array().unwrap().len(), count);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_hears_that_the_wait_goes_on() {
    let team = Team::new(8_000).await;
    let client = team.client("runner", &["run"], Era::Newer).await;
    let job = client.told("create_job", team.job()).await["job_id"].clone();
    let mut after = json!(0);
    // Until the one event that is awaited is Claude's slow response.
    let events = loop {
        let arguments = json!({ "job_id": job, "after": after });
        let params = json!({ "name": "wait_for_job", "arguments": arguments });
        let mut request = client.request("tools/call", params).build().unwrap();
        let mut body: Value =
            serde_json::from_slice(request.body().unwrap().as_bytes().unwrap()).unwrap();
        body["params"]["_meta"]["progressToken"] = "p1".into();
        *request.body_mut() = Some(body.to_string().into());
        request.headers_mut().remove("content-length");
        let text = super::harness::http().execute(request).await.unwrap().text().await.unwrap();
        if text.contains("notifications/progress") {
            break text;
        }
        let answer: Value = serde_json::from_str(&text).unwrap();
        after = answer["result"]["structuredContent"]["position"].clone();
    };
    assert!(events.contains("\"progressToken\":\"p1\""), "{events}");
    assert!(events.lines().filter(|line| line.starts_with("data:")).count() >= 2, "{events}");
}
