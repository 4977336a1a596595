//! Planning and creating jobs.

use cody_events::ids::JobId;
use rmcp::model::JsonObject;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Call, Detail, taken};
use crate::api::control::Wish;
use crate::api::mcp::answer::{Answer, No};
use crate::plan::{JobRequest, PlannedJob};

/// What of a job's form is here; all of it is in the form of a job, which says what fits.
const FIELDS: [&str; 13] = [
    "prompt",
    "targets",
    "recipe",
    "variables",
    "checks",
    "policy",
    "pilot",
    "model",
    "effort",
    "branch",
    "budget_usd",
    "job_budget_usd",
    "max_turns",
];

#[derive(Debug, Deserialize)]
struct Telling {
    #[serde(default)]
    detail: Detail,
}

#[derive(Debug, Deserialize)]
struct Creating {
    idempotency_key: Option<String>,
}

impl Call<'_> {
    pub(super) async fn plan_job(&self, mut arguments: JsonObject) -> Result<Answer, No> {
        let detail = detail(&mut arguments)?;
        let planned = self.office.reception.planned(self.caller, request(arguments)?).await?;
        let planned = PlannedJob::of(&planned);
        let targets: Vec<Value> = planned
            .targets
            .iter()
            .map(|target| {
                json!({ "number": target.number, "repository": target.repository, "locator": target.locator })
            })
            .collect();
        let answer = Answer::new(self.office.head().await?, "create_job with the same arguments")
            .with("targets", targets)
            .with("model", planned.model)
            .with("most_micros", planned.most_micros)
            .with("floor_call_micros", planned.floor_call_micros);
        Ok(match detail {
            Detail::Concise => answer,
            Detail::Full => answer.with("prompt", planned.prompt),
        })
    }

    pub(super) async fn create_job(&self, mut arguments: JsonObject) -> Result<Answer, No> {
        let detail = detail(&mut arguments)?;
        let (wish, key) = created(self.office.app().new_job_id(), arguments)?;
        self.wish(wish, key.as_deref(), detail).await
    }
}

/// The wish for the job that these arguments of `create_job` ask for, and its key.
pub fn created(job: JobId, mut arguments: JsonObject) -> Result<(Wish, Option<String>), No> {
    let key = without(&mut arguments, "idempotency_key");
    let Creating { idempotency_key } = taken(key)?;
    let request = Box::new(request(arguments)?);
    Ok((Wish::Create { job, request }, idempotency_key))
}

/// How much is to be told.
pub fn detail(arguments: &mut JsonObject) -> Result<Detail, No> {
    let Telling { detail } = taken(without(arguments, "detail"))?;
    Ok(detail)
}

/// Takes one field out, as an object of its own.
fn without(arguments: &mut JsonObject, name: &str) -> JsonObject {
    arguments.remove_entry(name).into_iter().collect()
}

/// The job that the arguments ask for.
fn request(mut arguments: JsonObject) -> Result<JobRequest, No> {
    if let Some(field) = arguments.keys().find(|field| !FIELDS.contains(&field.as_str())) {
        return Err(No::bad_arguments(format_args!(
            "`{}` is no argument; there are {}",
            field.escape_debug(),
            FIELDS.join(", ")
        )));
    }
    let Some(targets) = arguments.remove("targets") else {
        return Err(No::bad_arguments("`targets` is missing: the repositories, in a list"));
    };
    arguments.insert("repositories".to_owned(), targets);
    taken(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::mcp::tools;

    #[test]
    fn the_definitions_name_what_is_taken() {
        for (tool, more) in
            [("plan_job", &["detail"][..]), ("create_job", &["detail", "idempotency_key"])]
        {
            let schema = &tools::find(tool, false).unwrap().input_schema;
            let mut told: Vec<&str> =
                schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
            let mut taken: Vec<&str> = FIELDS.into_iter().chain(more.iter().copied()).collect();
            told.sort_unstable();
            taken.sort_unstable();
            assert_eq!(told, taken, "{tool}");
        }
    }

    #[test]
    fn arguments_become_a_job_or_an_error_that_helps() {
        let asked = |arguments: Value| request(arguments.as_object().unwrap().clone());
        let job = asked(json!({ "prompt": "x", "targets": ["a/b"], "budget_usd": "2.50",
            "policy": "patch-only", "effort": "high", "variables": { "a": "b" } }));
        let job = job.unwrap();
        assert_eq!(
            (job.repositories, job.budget_usd),
            (vec!["a/b".to_owned()], Some("2.50".into()))
        );
        for bad in [
            json!({ "prompt": "x" }),
            json!({ "targets": ["a/b"], "recipe_text": "x" }),
            json!({ "targets": "a/b" }),
            json!({ "targets": ["a/b"], "policy": "yolo" }),
        ] {
            assert!(asked(bad.clone()).is_err(), "{bad}");
        }
    }
}
