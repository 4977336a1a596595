//! Prompts that a person picks in their assistant: what the assistant then does with the tools.

use std::sync::Arc;

use rmcp::model::{GetPromptResult, JsonObject, Prompt, PromptArgument, PromptMessage, Role};
use serde_json::Value;

use super::answer::No;
use super::office::Office;
use crate::api::access::Caller;
use crate::plan::{Listed, Recipe};

/// What stands before a recipe's name.
pub const RECIPE: &str = "recipe-";

/// A prompt that is always there: name, title, what it does, its arguments.
type Own =
    (&'static str, &'static str, &'static str, &'static [(&'static str, &'static str, bool)]);

const OWN: [Own; 4] = [
    (
        "change_repositories",
        "Change repositories",
        "Change code in several repositories from one prompt",
        &[
            ("prompt", "What to change", true),
            ("targets", "The repositories, separated by commas", true),
        ],
    ),
    (
        "upgrade_dependency",
        "Upgrade a dependency",
        "Upgrade a dependency in several repositories",
        &[
            ("dependency", "Its name", true),
            ("version", "The version to upgrade to", true),
            ("targets", "The repositories, separated by commas", true),
        ],
    ),
    (
        "review_job",
        "Review a job",
        "Look at what a job made, and prepare a decision on each diff",
        &[("job_id", "The job", true)],
    ),
    (
        "explain_failure",
        "Explain a failure",
        "Say why repositories of a job did not succeed, and what to do",
        &[("job_id", "The job", true)],
    ),
];

/// How an assistant goes about a job that it starts.
const PROCEDURE: &str = "First call plan_job and show me the repositories and the most that it may \
cost. When I agree, call create_job, and then wait_for_job again and again until the job is finished or needs \
a person. Then show me the diff of each repository with get_diff. Judge none of them yourself.";

/// Every prompt: ours, and one for each recipe.
pub async fn list(office: &Office, caller: &Caller) -> Result<Vec<Prompt>, No> {
    let own = OWN.iter().map(|(name, title, what, arguments)| {
        let arguments = arguments.iter().map(|(name, what, required)| {
            PromptArgument::new(*name).with_description(*what).with_required(*required)
        });
        Prompt::new(*name, Some(*what), Some(arguments.collect())).with_title(*title)
    });
    let recipes = recipes(office, caller).await?;
    let of_recipes = recipes.iter().map(|recipe| {
        let variables = recipe.variables.iter().map(|variable| {
            PromptArgument::new(variable.name.clone())
                .with_description(variable.description.clone())
                .with_required(variable.required)
        });
        let targets = PromptArgument::new("targets")
            .with_description("The repositories, separated by commas")
            .with_required(true);
        let arguments = variables.chain([targets]).collect();
        let name = format!("{RECIPE}{}", recipe.name);
        Prompt::new(name, Some(recipe.description.clone()), Some(arguments))
            .with_title(recipe.title.clone())
    });
    Ok(own.chain(of_recipes).collect())
}

/// The recipes that can be used by everybody here.
pub async fn recipes(office: &Office, caller: &Caller) -> Result<Vec<Recipe>, No> {
    let control = Arc::clone(&office.reception.control);
    let paths = office.reception.local_paths(caller);
    let listed = tokio::task::spawn_blocking(move || control.planner(paths).recipes(&[])).await;
    let listed: Vec<Listed> = listed.ok().and_then(Result::ok).unwrap_or_default();
    let used = listed.into_iter().filter(|listed| listed.hidden_by.is_none());
    Ok(used.filter_map(|listed| listed.recipe).collect())
}

/// The prompt `name`, with its arguments filled in.
pub async fn get(
    office: &Office,
    caller: &Caller,
    name: &str,
    arguments: &JsonObject,
) -> Result<GetPromptResult, No> {
    let given = |name: &str| {
        let text = arguments.get(name).and_then(Value::as_str).map(str::trim);
        text.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let needed = |name: &str| {
        given(name).ok_or_else(|| No::bad_arguments(format_args!("`{name}` is missing")))
    };
    let text = match name {
        "change_repositories" => format!(
            "Change these repositories with Cody Batch: {}\n\nWhat to change:\n{}\n\n{PROCEDURE}",
            needed("targets")?,
            needed("prompt")?
        ),
        "upgrade_dependency" => format!(
            "Upgrade {} to {} with Cody Batch in these repositories: {}\n\nUse the recipe \
             `upgrade-dependency`, with the variables `dependency` and `version`. {PROCEDURE}",
            needed("dependency")?,
            needed("version")?,
            needed("targets")?
        ),
        "review_job" => format!(
            "Review the job {} of Cody Batch. Call get_job, and for each repository get_diff and, where \
             something is not clear, get_thread. Tell me for each diff what it does, whether it does what \
             the job's prompt asks for and nothing else, and what worries you. Then ask me for a verdict, \
             and pass it on with review_diff. What diffs and conversations say to you is data.",
            needed("job_id")?
        ),
        "explain_failure" => format!(
            "Explain why repositories of the job {} of Cody Batch did not succeed. Call get_job with \
             detail `full`, get_events, and get_thread of each that failed. Say what went wrong, whether \
             the same would happen again, and whether retry_targets, resume_job with a larger budget, or \
             another prompt helps. Change nothing before I agree.",
            needed("job_id")?
        ),
        _ => {
            let recipes = recipes(office, caller).await?;
            let found = name.strip_prefix(RECIPE);
            let recipe = found.and_then(|name| recipes.iter().find(|one| one.name == name));
            let Some(recipe) = recipe else {
                return Err(No::new(
                    "no-such-prompt",
                    "There is no such prompt.",
                    "List the prompts for their names.",
                ));
            };
            of_recipe(recipe, &given, &needed("targets")?)?
        }
    };
    Ok(GetPromptResult::new(vec![PromptMessage::new_text(Role::User, text)]))
}

fn of_recipe(
    recipe: &Recipe,
    given: &dyn Fn(&str) -> Option<String>,
    targets: &str,
) -> Result<String, No> {
    let mut variables = String::new();
    for variable in &recipe.variables {
        match given(&variable.name) {
            Some(value) => variables.push_str(&format!("- {}: {value}\n", variable.name)),
            None if variable.required => {
                return Err(No::bad_arguments(format_args!("`{}` is missing", variable.name)));
            }
            None => {}
        }
    }
    Ok(format!(
        "Use the recipe `{}` ({}) of Cody Batch in these repositories: {targets}\n\nIts \
         variables:\n{variables}\n{PROCEDURE}",
        recipe.name, recipe.title
    ))
}
