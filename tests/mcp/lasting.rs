//! What a client holds on to outlives the server that gave it: a call that goes on is answered from the
//! log by whichever process is asked, and each time by whoever may ask.

use serde_json::{Value, json};

use super::client::{Client, Era};
use super::running::Running;
use super::tools::Team;

const TASKS: &str = "io.modelcontextprotocol/tasks";

/// A client that knows calls that go on, and can ask its person.
async fn asking(team: &Team, name: &str, scopes: &[&str]) -> Client {
    let mut client = team.client(name, scopes, Era::Newer).await;
    client.capabilities = json!({ "extensions": { TASKS: {} }, "elicitation": { "form": {} } });
    client
}

/// Begins a call that goes on: its handle.
async fn begun(client: &Client, tool: &str, arguments: Value) -> String {
    let task = client.ask("tools/call", json!({ "name": tool, "arguments": arguments })).await;
    assert_eq!(
        (&task["resultType"], &task["status"]),
        (&json!("task"), &json!("working")),
        "{task}"
    );
    task["taskId"].as_str().unwrap().to_owned()
}

/// Asks again and again until the call is in one of these states.
async fn until(client: &Client, handle: &str, states: &[&str]) -> Value {
    for _ in 0..1_500 {
        let task = client.ask("tasks/get", json!({ "taskId": handle })).await;
        if states.contains(&task["status"].as_str().unwrap()) {
            return task;
        }
        assert_eq!(task["status"], "working", "{task}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("never {states:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_goes_on_after_its_server_was_killed() {
    let mut team = Team::new(1_500).await;
    let mut client = asking(&team, "runner", &["run"]).await;
    let handle = begun(&client, "create_job", team.job()).await;
    assert_eq!(until(&client, &handle, &["working"]).await["taskId"], *handle);
    team.server.child.kill().unwrap();
    team.server.child.wait().unwrap();
    let roots = team.world.dir.path().display().to_string();
    let settings = [("CODY_LOCAL_ROOTS", roots.as_str()), ("CODY_REQUESTS_A_MINUTE", "0")];
    team.server = Running::start(&team.world, &settings).await;
    client.url = format!("{}/mcp", team.server.url);
    let done = until(&client, &handle, &["completed"]).await;
    let result = &done["result"]["structuredContent"];
    assert_eq!(result["status"], "succeeded", "{done}");
    // And by one that asks later still: what is over stays as it is.
    assert_eq!(until(&client, &handle, &["completed"]).await["result"], done["result"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_waits_for_a_person_asks_and_takes_the_answer() {
    let team = Team::new(0).await;
    let asker = asking(&team, "asker", &["run", "approve"]).await;
    let handle = begun(&asker, "create_job", team.piloted()).await;
    // Whoever may not say anything of a diff is not asked.
    let reader = asking(&team, "reader", &["read"]).await;
    let over = until(&reader, &handle, &["completed"]).await;
    assert_eq!(over["result"]["structuredContent"]["status"], "awaiting-review", "{over}");
    let task = until(&asker, &handle, &["input_required"]).await;
    let questions = task["inputRequests"].as_object().unwrap();
    assert_eq!(questions.len(), 1, "{task}");
    let (question, asked) = questions.iter().next().unwrap();
    assert_eq!(asked["method"], "elicitation/create");
    let verdicts =
        |asked: &Value| asked["params"]["requestedSchema"]["properties"]["verdict"]["enum"].clone();
    assert_eq!(verdicts(asked), json!(["reject", "request-changes"]), "{asked}");
    let said = |verdict: &str| {
        let answer =
            json!({ "action": "accept", "content": { "verdict": verdict, "comment": "Seen." } });
        json!({ "taskId": handle, "inputResponses": { question: answer } })
    };
    // The one who asked for it is not the second pair of eyes.
    let own = asker.answer("tasks/update", said("approve")).await;
    assert!(own["error"].to_string().contains("own-job"), "{own}");
    // Neither may somebody who only reads, however well they know the handle.
    let no = reader.answer("tasks/update", said("approve")).await;
    assert!(no["error"].to_string().contains("forbidden"), "{no}");
    let judge = asking(&team, "judge", &["approve"]).await;
    let task = until(&judge, &handle, &["input_required"]).await;
    assert_eq!(
        verdicts(&task["inputRequests"][question]),
        json!(["approve", "reject", "request-changes"])
    );
    judge.ask("tasks/update", said("approve")).await;
    let done = until(&asker, &handle, &["completed"]).await;
    assert_eq!(done["result"]["structuredContent"]["status"], "succeeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_cancelled_by_who_may_and_a_wait_ends_with_news() {
    let team = Team::new(3_000).await;
    let client = asking(&team, "runner", &["run"]).await;
    let reader = asking(&team, "reader", &["read"]).await;
    let handle = begun(&client, "create_job", team.job()).await;
    let created = client.told("list_jobs", json!({})).await["jobs"][0].clone();
    let job = created["job_id"].clone();
    let wait = begun(&client, "wait_for_job", json!({ "job_id": job })).await;
    let no = reader.answer("tasks/cancel", json!({ "taskId": handle })).await;
    assert!(no["error"].is_object(), "{no}");
    client.ask("tasks/cancel", json!({ "taskId": handle })).await;
    until(&client, &handle, &["cancelled"]).await;
    let news = until(&client, &wait, &["completed"]).await;
    assert_eq!(news["result"]["structuredContent"]["job_id"], job);
    for bad in ["", "nonsense", "job.0198c5a2-0000-7000-8000-000000000001"] {
        let answer = client.answer("tasks/get", json!({ "taskId": bad })).await;
        assert_eq!(answer["error"]["code"], -32602, "{bad}: {answer}");
    }
    // Who does not say that it knows such calls gets none, and may not ask for one.
    let plain = team.client("plain", &["run"], Era::Newer).await;
    assert!(plain.told("create_job", team.job()).await["job_id"].is_string());
    let answer = plain.answer("tasks/get", json!({ "taskId": handle })).await;
    assert_eq!(answer["error"]["code"], -32021, "{answer}");
}
