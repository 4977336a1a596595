//! What could stand in an argument's place: ids of jobs, repositories, recipes.

use std::collections::BTreeSet;

use rmcp::model::{CompleteRequestParams, CompleteResult, CompletionInfo};

use super::answer::No;
use super::office::Office;
use super::prompts;
use crate::api::access::Caller;

/// Jobs that are looked at.
const JOBS: u32 = 100;

/// What fits what was typed so far.
pub async fn complete(
    office: &Office,
    caller: &Caller,
    request: &CompleteRequestParams,
) -> Result<CompleteResult, No> {
    let typed = request.argument.value.as_str();
    let fits: Vec<String> = match request.argument.name.as_str() {
        "job_id" | "id" => {
            office.catch_up().await?;
            let jobs = office.reader.jobs(JOBS).await?;
            jobs.iter()
                .map(|job| job.job.job.to_string())
                .filter(|id| id.starts_with(typed))
                .collect()
        }
        "n" | "target" => {
            let numbers = (1..=20).map(|number: u32| number.to_string());
            numbers.filter(|number| number.starts_with(typed)).collect()
        }
        "targets" | "repository" => repositories(office, typed).await?,
        "recipe" => {
            let recipes = prompts::recipes(office, caller).await?;
            recipes
                .into_iter()
                .map(|recipe| recipe.name)
                .filter(|name| name.starts_with(typed))
                .collect()
        }
        _ => Vec::new(),
    };
    let total = u32::try_from(fits.len()).ok();
    let has_more = fits.len() > CompletionInfo::MAX_VALUES;
    let shown = fits.into_iter().take(CompletionInfo::MAX_VALUES).collect();
    let info = CompletionInfo::with_pagination(shown, total, has_more);
    let info = info.map_err(|why| No::new("internal", why, "Type it in full."))?;
    Ok(CompleteResult::new(info))
}

/// Repositories of recent jobs, for the last of those that were typed.
async fn repositories(office: &Office, typed: &str) -> Result<Vec<String>, No> {
    office.catch_up().await?;
    let jobs = office.reader.jobs(JOBS).await?;
    let (before, last) = match typed.rfind(',') {
        Some(comma) => typed.split_at(comma + 1),
        None => ("", typed),
    };
    let known: BTreeSet<&str> = jobs
        .iter()
        .flat_map(|job| &job.targets)
        .map(|one| one.target.repository.as_str())
        .filter(|name| name.contains('/') && name.starts_with(last.trim_start()))
        .collect();
    Ok(known.into_iter().map(|name| format!("{before}{name}")).collect())
}
