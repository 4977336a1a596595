//! Who may do what: every operation of the schema, for each scope, for nobody, and for tokens that are
//! good no longer. An operation that is new and not in the table fails the test.

use std::collections::{BTreeMap, BTreeSet};

use cody_batch::clock::Clock as _;
use cody_events::system::Scope;
use cody_events::time::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};

use super::served::{Served, served, served_with};

const JOB: &str = "00000000-0000-7000-8000-000000000000";

/// Every operation, with a document that asks for it, and the scope that it needs.
fn operations() -> BTreeMap<&'static str, (String, Option<Scope>)> {
    let read = |document: &str| (document.to_owned(), Some(Scope::Read));
    let page = "pageInfo { hasNextPage } userErrors { code }";
    let mutation = |name: &str, input: &str, answer: &str, scope: Scope| {
        let document = format!(
            "mutation {{ {name}(input: {{ {input} }}) {{ {answer} userErrors {{ code }} }} }}"
        );
        (document, Some(scope))
    };
    let of_job = |name: &str, more: &str, scope: Scope| {
        mutation(name, &format!("jobId: \"{JOB}\" {more}"), "position", scope)
    };
    let hash = format!("target: 1 diffHash: \"{}\"", "0".repeat(64));
    let review = format!("{hash} comment: \"x\"");
    let job = "job: { prompt: \"x\" targets: [{ repository: \"acme/app\" }] }";
    BTreeMap::from([
        ("node", read("{ node(id: \"x\") { id } }")),
        ("job", read(&format!("{{ job(id: \"{JOB}\") {{ id }} }}"))),
        ("jobs", read(&format!("{{ jobs(first: 1) {{ {page} }} }}"))),
        ("target", read("{ target(id: \"x\") { id } }")),
        ("thread", read("{ thread(id: \"x\") { id } }")),
        ("message", read("{ message(id: \"x\") { id } }")),
        ("diff", read("{ diff(id: \"x\") { id } }")),
        ("events", read(&format!("{{ events(first: 1, jobId: \"{JOB}\") {{ {page} }} }}"))),
        ("usage", read(&format!("{{ usage(groupBy: TOTAL, first: 1) {{ {page} }} }}"))),
        ("models", read("{ models { name } }")),
        ("recipes", read("{ recipes { name } }")),
        ("serverInfo", read("{ serverInfo { version } }")),
        ("viewer", ("{ viewer { name } }".to_owned(), None)),
        ("planJob", read("{ planJob(input: { targets: [] }) { userErrors { code } } }")),
        ("tokens", (format!("{{ tokens(first: 1) {{ {page} }} }}"), Some(Scope::Admin))),
        ("createJob", mutation("createJob", job, "position", Scope::Run)),
        ("pauseJob", of_job("pauseJob", "", Scope::Run)),
        ("resumeJob", of_job("resumeJob", "", Scope::Run)),
        ("cancelJob", of_job("cancelJob", "", Scope::Run)),
        ("retryTargets", of_job("retryTargets", "", Scope::Run)),
        ("archiveJob", of_job("archiveJob", "", Scope::Run)),
        ("approveDiff", of_job("approveDiff", &hash, Scope::Approve)),
        ("rejectDiff", of_job("rejectDiff", &hash, Scope::Approve)),
        ("requestChanges", of_job("requestChanges", &review, Scope::Approve)),
        (
            "createDownload",
            mutation(
                "createDownload",
                &format!("jobId: \"{JOB}\" kind: REPORT"),
                "path",
                Scope::Read,
            ),
        ),
        ("createToken", mutation("createToken", "name: \"\" scopes: []", "tokenId", Scope::Admin)),
        ("revokeToken", mutation("revokeToken", "tokenId: \"x\"", "position", Scope::Admin)),
        ("jobEvents", read("subscription { jobEvents { position } }")),
        ("jobsChanged", read("subscription { jobsChanged { position } }")),
    ])
}

/// Everything on the first level of the schema.
async fn fields(server: &Served, admin: &str) -> BTreeSet<String> {
    let query = "{ __schema { queryType { fields { name } } mutationType { fields { name } } \
                 subscriptionType { fields { name } } } }";
    let answer = ask(server, admin, query).await.1;
    ["queryType", "mutationType", "subscriptionType"]
        .iter()
        .flat_map(|kind| answer["data"]["__schema"][kind]["fields"].as_array().unwrap().clone())
        .map(|field| field["name"].as_str().unwrap().to_owned())
        .collect()
}

/// Status and answer of a document. A subscription's answer is its first event, or nothing if none
/// comes soon.
async fn ask(server: &Served, token: &str, document: &str) -> (u16, Value) {
    let is_subscription = document.starts_with("subscription");
    let accept = if is_subscription { "text/event-stream" } else { "application/json" };
    let body = json!({ "query": document });
    let request = server.post("/graphql", token, &body).header("accept", accept);
    let mut answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    if !is_subscription || status != 200 {
        return (status, answer.json().await.unwrap_or_default());
    }
    let chunk = tokio::time::timeout(std::time::Duration::from_millis(300), answer.chunk()).await;
    let text = match chunk {
        Ok(chunk) => String::from_utf8(chunk.unwrap().unwrap_or_default().to_vec()).unwrap(),
        Err(_) => String::new(),
    };
    let data = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap_or("null");
    (status, serde_json::from_str(data).unwrap())
}

/// Whether the answer says that the caller may not.
fn is_forbidden(answer: &Value) -> bool {
    let errors = answer["errors"].as_array().cloned().unwrap_or_default();
    let in_errors = errors.iter().any(|error| error["extensions"]["code"] == "FORBIDDEN");
    let fields = answer["data"].as_object().cloned().unwrap_or_default();
    let in_data = fields.values().any(|field| {
        let errors = field["userErrors"].as_array().cloned().unwrap_or_default();
        errors.iter().any(|error| error["code"] == "FORBIDDEN")
    });
    in_errors || in_data
}

fn allows(held: Scope, needed: Scope) -> bool {
    match needed {
        Scope::Read => true,
        Scope::Run | Scope::Approve | Scope::Admin => held == needed || held == Scope::Admin,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_needs_its_scope_and_nothing_is_open_to_strangers() {
    let many = [("CODY_REFUSALS_A_MINUTE", "100000"), ("CODY_REQUESTS_A_MINUTE", "100000")];
    let server = served_with(&many);
    let (admin, _) = server.place.token("admin", &["admin"]);
    let operations = operations();
    let known: BTreeSet<String> = operations.keys().map(|name| (*name).to_owned()).collect();
    assert_eq!(fields(&server, &admin).await, known, "the table has every operation");

    let (revoked, revoked_id) = server.place.token("revoked", &["admin"]);
    server.place.told(&["token", "revoke", &revoked_id]);
    let soon = Timestamp(cody_batch::clock::SystemClock.now().0 + 1_500_000);
    let made = format!(
        "mutation {{ createToken(input: {{ name: \"short\" scopes: [ADMIN] expiresAt: \"{soon}\" }}) \
         {{ token userErrors {{ message }} }} }}"
    );
    let made = ask(&server, &admin, &made).await.1;
    let expired = made["data"]["createToken"]["token"].as_str().unwrap().to_owned();
    let viewer = "{ viewer { name } }";
    while ask(&server, &expired, viewer).await.0 == 200 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    for (name, (document, _)) in &operations {
        for token in ["", "cody_unknown", &revoked, &expired] {
            let (status, answer) = ask(&server, token, document).await;
            assert_eq!(status, 401, "{name}: {answer}");
        }
    }
    for held in Scope::ALL {
        let (token, _) = server.place.token(&format!("holds {}", held.name()), &[held.name()]);
        for (name, (document, needed)) in &operations {
            let (status, answer) = ask(&server, &token, document).await;
            assert_eq!(status, 200, "{name}: {answer}");
            let is_allowed = needed.is_none_or(|needed| allows(held, needed));
            assert_eq!(is_forbidden(&answer), !is_allowed, "{name} with {}: {answer}", held.name());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_people_out_of_the_loop_needs_an_approver() {
    let server = served_with(&[("CODY_MAX_BUDGET_USD", "3"), ("CODY_PILOT", "true")]);
    let (runner, _) = server.place.token("runner", &["run"]);
    let (approver, _) = server.place.token("approver", &["run", "approve"]);
    let job = |more: &str| {
        format!(
            "{{ planJob(input: {{ prompt: \"x\" targets: [{{ repository: \"acme/app\" }}] budgetMicros: \
             2000000 {more} }}) {{ model userErrors {{ code message }} }} }}"
        )
    };
    let plain = ask(&server, &runner, &job("")).await.1;
    assert_eq!(plain["data"]["planJob"]["userErrors"], json!([]), "{plain}");
    let removed = ["policy: AUTO", "pilot: false", "allow: [LOCKFILES]"];
    let over = job("").replace("2000000", "4000000");
    for document in removed.iter().map(|more| job(more)).chain([over]) {
        let refused = ask(&server, &runner, &document).await.1;
        assert!(is_forbidden(&refused), "{document}: {refused}");
        let taken = ask(&server, &approver, &document).await.1;
        assert_eq!(taken["data"]["planJob"]["userErrors"], json!([]), "{document}: {taken}");
    }
}

/// Each of two wishes for more is within the cap by itself, and both together are not.
#[tokio::test(flavor = "multi_thread")]
async fn wishes_at_the_same_time_do_not_add_up_to_more_than_one_may_have() {
    const ROUNDS: usize = 150;
    let settings = [("CODY_MAX_BUDGET_USD", "3"), ("CODY_REQUESTS_A_MINUTE", "1000000")];
    let server = served_with(&settings);
    let (runner, _) = server.place.token("runner", &["run"]);
    let letter = |wish: Value| {
        server.post("/control/v1", &runner, &json!({ "actor": "", "wish": wish })).send()
    };
    let request = json!({ "prompt": "x", "repositories": ["acme/app"], "budget_usd": "2" });
    let made = letter(json!({ "create": { "job": JOB, "request": request } })).await.unwrap();
    assert_eq!(made.status(), 200);
    let more = |limits: Value| {
        letter(json!({ "resume": { "job": JOB, "target": null, "limits": limits } }))
    };
    let mut version = 1;
    for round in 0..ROUNDS {
        let small = more(json!({ "budget_usd": "2", "job_budget_usd": "2" })).await.unwrap();
        assert_eq!(small.status(), 200, "{round}");
        let each = || more(json!({ "budget_usd": "9" }));
        let all = || more(json!({ "job_budget_usd": "9" }));
        let (a, b, c, d) = tokio::join!(each(), all(), each(), all());
        for answer in [a, b, c, d] {
            let status = answer.unwrap().status().as_u16();
            assert!(matches!(status, 200 | 403), "{round}: {status}");
        }
        let question = json!({ "events": { "job": JOB, "from_version": version, "limit": 200 } });
        let answer = server.post("/reading/v1", &runner, &question).send().await.unwrap();
        for event in answer.json::<Vec<Value>>().await.unwrap() {
            version = event["version"].as_u64().unwrap() + 1;
            if event["kind"] == "budget-changed" {
                let facts: Value = serde_json::from_str(event["facts"].as_str().unwrap()).unwrap();
                let is_over = |name: &str| facts["limits"][name].as_u64().unwrap() > 3_000_000;
                let both = is_over("budget_micros") && is_over("job_budget_micros");
                assert!(!both, "round {round}: {facts}");
            }
        }
    }
    assert!(version > ROUNDS as u64, "the limits changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_doors_ask_for_scopes_as_well() {
    let server = served();
    let (reader, _) = server.place.token("reader", &["read"]);
    for route in [
        "report.md",
        "events.ndjson",
        "diffs.tar.gz",
        "targets/1/diff.patch",
        "targets/1/thread.md",
    ] {
        let route = format!("/jobs/{JOB}/{route}");
        assert_eq!(server.get(&route, "").send().await.unwrap().status(), 401, "{route}");
        assert_eq!(server.get(&route, &reader).send().await.unwrap().status(), 404, "{route}");
    }
    let answer = server.post("/control/v1/tokens", &reader, &json!({})).send().await.unwrap();
    assert_eq!(answer.status(), 403);
    // A token of the server's is none of a worker's.
    let (admin, _) = server.place.token("admin", &["admin"]);
    for route in ["next", "heartbeat", "tools", "checks", "scan", "end", "tree", "output"] {
        let answer = server.request(Method::POST, &format!("/worker/v1/{route}"), &admin);
        let status = answer.json(&json!({})).send().await.unwrap().status().as_u16();
        assert!(matches!(status, 401 | 429), "{route}: {status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_lines_door_asks_for_the_same_scopes() {
    let server = served();
    let scopes: Vec<(&str, String)> = ["read", "run", "approve", "admin"]
        .iter()
        .map(|scope| (*scope, server.place.token(scope, &[*scope]).0))
        .collect();
    let review = json!({ "job": JOB, "target": 1, "diff_hash": "0".repeat(64), "comment": "no" });
    let wishes = [
        (json!({ "pause": { "job": JOB, "target": null } }), "run"),
        (json!({ "resume": { "job": JOB, "target": null, "limits": {} } }), "run"),
        (json!({ "retry": { "job": JOB, "targets": [], "limits": {} } }), "run"),
        (json!({ "cancel": { "job": JOB, "reason": "" } }), "run"),
        (json!({ "archive": { "job": JOB, "archived": true } }), "run"),
        (json!({ "attend": { "job": JOB } }), "run"),
        (json!({ "approve": review }), "approve"),
        (json!({ "reject": review }), "approve"),
        (json!({ "request-changes": review }), "approve"),
    ];
    for (wish, needed) in &wishes {
        let letter = json!({ "actor": "somebody else", "wish": wish });
        let ask = async |token: &str| {
            server.post("/control/v1", token, &letter).send().await.unwrap().status().as_u16()
        };
        assert_eq!(ask("").await, 401, "{wish}");
        for (scope, token) in &scopes {
            // There is no such job, which only those learn who may have the wish.
            let wanted = if scope == needed || *scope == "admin" { 404 } else { 403 };
            assert_eq!(ask(token).await, wanted, "{wish} with {scope}");
        }
    }
    // Words that nobody understands are told as that.
    let answer = server.post("/control/v1", &scopes[3].1, &json!({})).send().await.unwrap();
    assert_eq!(answer.status(), 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_reads_jobs_and_nothing_else() {
    let server = served();
    let questions = [
        json!("head"),
        json!({ "jobs": { "limit": 1_000_000 } }),
        json!({ "inbox": { "limit": 5 } }),
        json!({ "named": { "text": "latest" } }),
        json!({ "glance": { "job": JOB } }),
        json!("uncounted"),
        json!({ "events": { "job": JOB, "from_version": 1, "limit": 9 } }),
        json!({ "recipes": { "repositories": [] } }),
        json!({ "recipe": { "name": "fix-lint", "repositories": [] } }),
    ];
    let ask = async |token: &str, question: &Value| {
        server.post("/reading/v1", token, question).send().await.unwrap()
    };
    for question in &questions {
        assert_eq!(ask("", question).await.status(), 401, "{question}");
    }
    for scope in ["read", "run", "approve", "admin"] {
        let (token, _) = server.place.token(scope, &[scope]);
        for question in &questions {
            assert_eq!(ask(&token, question).await.status(), 200, "{question} with {scope}");
        }
    }
    let (reader, _) = server.place.token("reader", &["read"]);
    // Whoever only reads plans nothing, and lists nothing of the server's disk.
    let plan = json!({ "plan": { "request": { "prompt": "x", "repositories": ["a/b"] } } });
    let refused: Value = ask(&reader, &plan).await.json().await.unwrap();
    assert_eq!(refused["code"], "forbidden");
    let elsewhere = json!({ "recipes": { "repositories": ["/"] } });
    let refused: Value = ask(&reader, &elsewhere).await.json().await.unwrap();
    assert_eq!(refused["code"], "path-not-allowed");
    // The log holds tokens and epochs as well, and none of their payloads comes out here.
    let all: Vec<u64> = (0..40).collect();
    let answer = ask(&reader, &json!({ "payloads": { "positions": all } })).await;
    let payloads: Vec<Option<String>> = answer.json().await.unwrap();
    assert_eq!(payloads, vec![None; 40]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_is_not_many_and_costs_what_it_asks_for() {
    let server = served();
    let (token, _) = server.place.token("admin", &["admin"]);
    let recipes = "recipes { name } ".repeat(21);
    let spread = "...F ".repeat(21);
    let deep = (0..40).fold("name".to_owned(), |inner, _| format!("... on Query {{ {inner} }}"));
    let many = [
        format!("{{ ... on Query {{ {recipes} }} }}"),
        format!("{{ {spread} }} fragment F on Query {{ recipes {{ name }} }}"),
        format!("{{ recipes {{ {} }} }}", "name ".repeat(1_000)),
        format!("{{ {} }}", (0..31).map(|n| format!("a{n}: viewer {{ name }} ")).collect::<String>()),
        format!("{{ {deep} }}"),
        // Fragments that multiply are not counted to the end.
        "{ ...A } fragment A on Query { ...B ...B } fragment B on Query { ...A ...A }".to_owned(),
        "{ jobs(first: 100) { edges { node { targets { diff { title summary files(first: 100) { edges \
         { node { path } } } } } } } } }"
            .to_owned(),
    ];
    for document in many {
        let (status, answer) = ask(&server, &token, &document).await;
        assert_eq!((status, answer.get("data")), (200, None), "{document:.80}: {answer}");
    }
    let fair = "{ jobs(first: 20) { edges { node { status targets { repository outcome } } } } }";
    assert!(ask(&server, &token, fair).await.1["data"]["jobs"].is_object());
}
