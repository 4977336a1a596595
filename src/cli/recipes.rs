//! `recipes`: what there is to be used again, and how one is filled in.

use clap::Args;
use serde_json::json;

use super::{Context, Exit, planning, text};
use crate::plan::recipes::{Variable, VariableKind};
use crate::plan::{Listed, Recipe};

/// What `recipes` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct RecipesArgs {
    /// Show this one, with its variables and a command to start from
    name: Option<String>,
    /// A local repository whose recipes count too, from .cody-batch/recipes of its last commit (repeat
    /// for more)
    #[arg(long = "repo", value_name = "REPO")]
    repos: Vec<String>,
    /// Print the file of the recipe, to start your own from
    #[arg(long, requires = "name", conflicts_with = "json")]
    toml: bool,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  cody-batch recipes --repo .
      List what there is: of the data directory, of this repository, and shipped.
  cody-batch recipes upgrade-dependency
      Show one, with its variables.
  cody-batch run --recipe upgrade-dependency --var dependency=serde_json --var version=2.1.0 --repo .
      Use it.
  cody-batch recipes fix-lint --toml > our-lint.toml
      Start your own from it: change its name, and put it into recipes/ of the data directory.";

/// Runs the verb.
pub async fn run(context: Context, args: RecipesArgs) -> Result<Exit, anyhow::Error> {
    let Some(name) = &args.name else {
        let listed = planning::recipes(&context, &args.repos).await?;
        put_list(&context, &listed, args.json)?;
        return Ok(Exit::OK);
    };
    let recipe = planning::recipe(&context, name, &args.repos).await?;
    if args.toml {
        text::put(&recipe.text)?;
    } else if args.json {
        text::put(format_args!("{}\n", json!(recipe)))?;
    } else {
        text::put(shown(&recipe, &context.program, args.repos.first().map(String::as_str)))?;
    }
    Ok(Exit::OK)
}

fn put_list(context: &Context, listed: &[Listed], as_json: bool) -> Result<(), anyhow::Error> {
    if as_json {
        for one in listed {
            text::put(format_args!("{}\n", json!(one)))?;
        }
        return Ok(());
    }
    let width = listed.iter().map(|one| one.name.len()).max().unwrap_or(0).min(64);
    for one in listed {
        let what = match (&one.recipe, &one.error) {
            (Some(recipe), _) => recipe.title.clone(),
            (None, error) => {
                format!("cannot be used: {}", error.as_deref().unwrap_or_default())
            }
        };
        let hidden = match &one.hidden_by {
            Some(by) => format!("; not used: {by} has one of this name"),
            None => String::new(),
        };
        let line = format!("{:<width$}  {what} ({}{hidden})", one.name, one.source);
        text::put(format_args!("{}\n", text::printable(&line)))?;
    }
    text::put(format_args!("\nShow one with: {} recipes NAME\n", context.program))?;
    Ok(())
}

/// All of a recipe, for a person.
fn shown(recipe: &Recipe, program: &str, repository: Option<&str>) -> String {
    let mut out = format!(
        "{}: {}\n({}; {})\n\n{}\n",
        recipe.name,
        recipe.title,
        recipe.source,
        &recipe.digest.to_string()[..12],
        recipe.description
    );
    if !recipe.variables.is_empty() {
        out.push_str("\nVariables:\n");
        out.extend(recipe.variables.iter().map(variable));
    }
    let settings = settings(recipe);
    if !settings.is_empty() {
        out.push_str(&format!(
            "\nSettings, where the job gives none:\n  {}\n",
            settings.join("\n  ")
        ));
    }
    out.push_str("\nPrompt:\n");
    out.extend(recipe.prompt.trim_end().lines().map(|line| match line {
        "" => "\n".to_owned(),
        line => format!("  {line}\n"),
    }));
    out.push_str(&format!("\nFor example:\n  {}\n", example(recipe, program, repository)));
    text::printable(&out)
}

fn variable(variable: &Variable) -> String {
    let kind = match variable.kind {
        VariableKind::Text => "text",
        VariableKind::Word => "word",
        VariableKind::Number => "number",
        VariableKind::Boolean => "boolean",
        VariableKind::Choice => "choice",
    };
    let need = match (&variable.default, variable.required) {
        (Some(default), _) => format!("if not given: {default}"),
        (None, true) => "required".to_owned(),
        (None, false) => "may be left out".to_owned(),
    };
    let more = match (variable.kind, &variable.pattern) {
        (VariableKind::Text | VariableKind::Word, Some(pattern)) => {
            format!("; has to match `{pattern}` as a whole")
        }
        (VariableKind::Number | VariableKind::Choice, _) => format!("; {}", variable.wanted()),
        (VariableKind::Text | VariableKind::Word | VariableKind::Boolean, _) => String::new(),
    };
    let description = variable.description.trim_end_matches('.');
    format!("  {} ({kind}, {need})\n      {description}{more}.\n", variable.name)
}

/// What else a job takes of it, as the file spells it.
fn settings(recipe: &Recipe) -> Vec<String> {
    let mut settings: Vec<String> =
        recipe.checks.iter().map(|check| format!("check: {check}")).collect();
    let allow: Vec<&str> = recipe.allow.iter().map(|class| class.name()).collect();
    let flags = [
        ("no checks", recipe.no_checks),
        ("dependencies are fetched, where the server fetches any", recipe.fetch_dependencies),
        ("no commands for Claude", recipe.no_bash),
        ("no independent review", recipe.no_review),
    ];
    settings.extend(flags.iter().filter(|(_, is_so)| *is_so).map(|(what, _)| (*what).to_owned()));
    let values = [
        ("policy", recipe.policy.map(|policy| json!(policy))),
        ("pilot", recipe.pilot.map(|pilot| json!(pilot))),
        ("allow", (!allow.is_empty()).then(|| json!(allow.join(", ")))),
        ("effort", recipe.effort.map(|effort| json!(effort))),
        ("model", recipe.model.as_ref().map(|model| json!(model))),
        ("max_turns", recipe.max_turns.map(|turns| json!(turns))),
        ("budget_usd", recipe.budget_usd.as_ref().map(|budget| json!(budget))),
    ];
    let given = values.into_iter().filter_map(|(name, value)| Some((name, value?)));
    settings.extend(given.map(|(name, value)| match value.as_str() {
        Some(text) => format!("{name}: {text}"),
        None => format!("{name}: {value}"),
    }));
    settings
}

/// A command that uses it.
fn example(recipe: &Recipe, program: &str, repository: Option<&str>) -> String {
    let mut command = format!("{program} run --recipe {}", recipe.name);
    for variable in recipe.variables.iter().filter(|variable| variable.required) {
        let pair = format!("{}={}", variable.name, variable.example);
        command.push_str(&format!(" --var {}", text::quoted(std::path::Path::new(&pair))));
    }
    let repository = std::path::Path::new(repository.unwrap_or("owner/name"));
    command.push_str(&format!(" --repo {}", text::quoted(repository)));
    command
}
