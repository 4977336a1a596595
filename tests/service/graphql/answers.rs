//! Requests that others make up, good and bad, and what is answered.

use std::process::Command;

use serde_json::{Value, json};

use super::super::served::Served;
use super::programs::{finish, foreign, script, words};
use super::served;

#[tokio::test(flavor = "multi_thread")]
async fn every_audit_of_graphql_over_http_is_kept() {
    let (server, token) = served();
    let url = format!("{}/graphql", server.url);
    let output = finish(script("audits.mjs", &[&url, &token]), String::new()).await;
    assert_eq!(words(&output).trim(), "ok 61 of 61");
    assert!(output.status.success());
}

/// The global ids of what the server has, but for jobs.
async fn ids(server: &Served, token: &str) -> Vec<String> {
    let query = "{ events(first: 100) { edges { node { id } } } jobs(first: 1) { edges { node { targets {
        id threads { id messages(first: 5) { edges { node { id } } } }
        diffs { id files(first: 5) { edges { node { id hunks(first: 5) { edges { node { id } } } } } } }
    } } } } }";
    let answer = server.post("/graphql", token, &json!({ "query": query })).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer.get("errors"), None);
    let mut ids = Vec::new();
    collect(&answer, &mut ids);
    assert!(ids.len() > 50, "{ids:?}");
    ids
}

/// Every `id` in `value`.
fn collect(value: &Value, ids: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(id) if name == "id" => ids.push(id.clone()),
                    other => collect(other, ids),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, ids)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Schemathesis makes requests up from the schema as the server tells it, and takes every top-level
/// error for a fault: what a client can get wrong has to be data.
#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_made_up_find_no_fault() {
    let examples = std::env::var("CODY_CASES").ok().and_then(|text| text.parse::<u32>().ok());
    let examples = examples.unwrap_or(12).min(200).to_string();
    let (server, token) = served();
    let url = format!("{}/graphql", server.url);
    let dir = tempfile::tempdir().unwrap();
    let mut fuzz = Command::new(foreign(".venv/bin/schemathesis"));
    fuzz.args(["run", &url, "--no-color", "--seed", "20261127", "--max-examples", &examples]);
    fuzz.args(["--continue-on-failure", "--request-timeout", "60", "--suppress-health-check"]);
    fuzz.args(["all", "--header", &format!("Authorization: Bearer {token}")]);
    fuzz.current_dir(dir.path()).env("HOME", dir.path());
    fuzz.env("SCHEMATHESIS_HOOKS", "made_up").env("PYTHONPATH", foreign("graphql"));
    fuzz.env("CODY_IDS", serde_json::to_string(&ids(&server, &token).await).unwrap());
    let output = finish(fuzz, String::new()).await;
    let said = words(&output);
    println!("{said}");
    // Among thousands some ask for more than one request may cost, which has to be refused as a whole.
    let found: Vec<&str> = said.split("\n- ST").skip(1).collect();
    let is_refused = |found: &&str| found.contains("\n    Query is too complex.\n");
    let others = found.iter().filter(|found| !is_refused(found)).count();
    println!("{} refused for what they would cost, {others} findings", found.len() - others);
    assert!(others == 0 && (output.status.success() || !found.is_empty()), "{said}");
}
