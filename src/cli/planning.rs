//! Planning for the verbs that plan or start a job: by the server that was named, or else by what the
//! data directory says.

use super::Context;
use super::client::Client;
use crate::api::reading::Question;
use crate::clock::{Clock as _, SystemClock};
use crate::job::{Rejection, RejectionCode};
use crate::plan::recipes::{Source, Written};
use crate::plan::{JobRequest, Listed, LocalPaths, PlannedJob, Planning, Recipe};

/// What would become of `request`, and the recipe that it is made from.
pub async fn planned(
    context: &Context,
    request: &JobRequest,
) -> Result<(PlannedJob, Option<Recipe>), anyhow::Error> {
    if let Some(client) = &context.far {
        let question = Question::Plan { request: Box::new(request.clone()) };
        let planned = client.answer(&question).await?;
        return Ok((planned, far_recipe(client, request).await?));
    }
    let planning = planning(context)?;
    let planner = planning.planner(SystemClock.now().date(), LocalPaths::Any);
    let command = planner.plan(request)?;
    crate::job::check(&command)?;
    Ok((PlannedJob::of(&command), planner.recipe_of(request)?))
}

/// The recipes that there are, also of these local repositories.
pub async fn recipes(
    context: &Context,
    repositories: &[String],
) -> Result<Vec<Listed>, anyhow::Error> {
    if let Some(client) = &context.far {
        let question = Question::Recipes { repositories: repositories.to_owned() };
        let written: Vec<Written> = client.answer(&question).await?;
        return Ok(written.into_iter().map(Written::read_listed).collect());
    }
    let planning = planning(context)?;
    let planner = planning.planner(SystemClock.now().date(), LocalPaths::Any);
    Ok(planner.recipes(repositories)?)
}

/// One of them.
pub async fn recipe(
    context: &Context,
    name: &str,
    repositories: &[String],
) -> Result<Recipe, anyhow::Error> {
    if let Some(client) = &context.far {
        return named(client, name, repositories).await;
    }
    let planning = planning(context)?;
    let planner = planning.planner(SystemClock.now().date(), LocalPaths::Any);
    Ok(planner.recipe(name, repositories)?)
}

async fn far_recipe(
    client: &Client,
    request: &JobRequest,
) -> Result<Option<Recipe>, anyhow::Error> {
    if let Some(text) = &request.recipe_text {
        return Ok(Some(Recipe::parse(text, Source::Text)?));
    }
    match &request.recipe {
        Some(name) => Ok(Some(named(client, name, &request.repositories).await?)),
        None => Ok(None),
    }
}

async fn named(
    client: &Client,
    name: &str,
    repositories: &[String],
) -> Result<Recipe, anyhow::Error> {
    let (name, repositories) = (name.to_owned(), repositories.to_owned());
    let written: Written = client.answer(&Question::Recipe { name, repositories }).await?;
    written.read().map_err(|bad| {
        let next = "The server and this command line may be of two versions; update the older one.";
        Rejection::new(RejectionCode::BadRecipe, bad.to_string(), next).into()
    })
}

fn planning(context: &Context) -> Result<Planning, anyhow::Error> {
    let models = std::sync::Arc::new(crate::serve::models(&context.config)?);
    Ok(crate::serve::planning(&context.config, models))
}
