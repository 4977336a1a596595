//! Jobs.

use async_graphql::{Context, Error, ID, Object, SimpleObject};
use cody_events::job::{Created, CreatedPayload};
use cody_projections::overview::JobOverview;

use super::cost::Cost;
use super::event::{Event, page_of_job};
use super::payload_of;
use super::scalars::{DateTime, Long, Position};
use super::target::Target;
use super::words::{Door, Effort, JobStatus, Policy};
use crate::api::graphql::errors::internal;
use crate::api::graphql::ids::GlobalId;
use crate::api::graphql::pages::Page;
use crate::api::graphql::pages_of;
use crate::api::graphql::services::app;
use crate::job::state::Job as JobState;

/// One request: prompt, policy, targets.
#[derive(Debug, Clone)]
pub struct Job(pub JobOverview);

/// Who did something, and through which door.
#[derive(Debug, Clone, SimpleObject)]
pub struct Actor {
    /// A person's or a token's name in the log, such as `token:3f9a…`.
    pub name: String,
    /// By which way it came.
    pub door: Door,
}

/// The recipe that a job was made from.
#[derive(Debug, Clone, SimpleObject)]
pub struct RecipeUse {
    /// As it is called in the list of recipes.
    pub name: String,
    /// The SHA-256 of the recipe's text at that time.
    pub digest: String,
    /// What stood in the places of its variables.
    pub variables: Vec<Variable>,
}

/// A variable of a recipe, and its value.
#[derive(Debug, Clone, SimpleObject)]
pub struct Variable {
    /// As the recipe names it.
    pub name: String,
    /// What stood in its place.
    pub value: String,
}

/// How far a job, or each of its targets, may go. Money is in millionths of a US dollar.
#[derive(Debug, Clone, SimpleObject)]
pub struct Limits {
    /// For each target.
    pub budget_micros: Long,
    /// For all targets together.
    pub job_budget_micros: Option<Long>,
    /// Claude's responses for each target; reviews are not counted.
    pub max_turns: Long,
    /// Tokens in and out for each target.
    pub max_tokens: Option<Long>,
    /// Milliseconds that workers may hold each target.
    pub max_wall_ms: Option<Long>,
    /// Milliseconds that tools and checks of each target may take.
    pub max_tool_ms: Option<Long>,
    /// Bytes of each target's patch.
    pub max_diff_bytes: Option<Long>,
}

/// One request: prompt, policy, targets.
#[Object]
impl Job {
    /// The global id.
    pub async fn id(&self) -> ID {
        GlobalId::Job(self.0.job.job).into()
    }

    /// The id as it is written everywhere else.
    async fn job_id(&self) -> String {
        self.0.job.job.to_string()
    }

    /// Where it stands; derived from its targets.
    async fn status(&self) -> JobStatus {
        self.0.status().into()
    }

    /// What was asked for; nothing if the text was removed.
    async fn prompt(&self, context: &Context<'_>) -> Result<Option<String>, Error> {
        Ok(self.payload(context).await?.map(|payload| payload.prompt))
    }

    /// Words for the people who read the job; Claude does not see them.
    async fn notes(&self, context: &Context<'_>) -> Result<Option<String>, Error> {
        Ok(self.payload(context).await?.and_then(|payload| payload.notes))
    }

    /// Commands that must pass afterwards; none means that the scan finds some.
    async fn checks(&self, context: &Context<'_>) -> Result<Vec<String>, Error> {
        Ok(self.payload(context).await?.map(|payload| payload.checks).unwrap_or_default())
    }

    /// What becomes of an accepted diff.
    async fn policy(&self) -> Policy {
        self.0.job.policy.into()
    }

    /// Whether one target goes first, and the others wait until its diff is approved.
    async fn pilot(&self) -> bool {
        self.0.job.is_pilot
    }

    /// The recipe that it was made from, if it was.
    async fn recipe(&self, context: &Context<'_>) -> Result<Option<RecipeUse>, Error> {
        if self.0.job.recipe.is_none() {
            return Ok(None);
        }
        let created = app(context)?.created(self.0.job.job).await.map_err(internal)?;
        let Some(recipe) = created.and_then(|(_, created)| created.recipe) else { return Ok(None) };
        let variables = self.payload(context).await?.map(|payload| payload.variables);
        let variables = variables.unwrap_or_default().into_iter();
        Ok(Some(RecipeUse {
            name: recipe.name,
            digest: recipe.digest.to_string(),
            variables: variables.map(|(name, value)| Variable { name, value }).collect(),
        }))
    }

    /// The model.
    async fn model(&self) -> &str {
        &self.0.job.model
    }

    /// How hard Claude thinks; nothing means as the model does by itself.
    async fn effort(&self) -> Option<Effort> {
        self.0.job.effort.map(Effort::from)
    }

    /// How far it, and each of its targets, may go now.
    async fn limits(&self, context: &Context<'_>) -> Result<Option<Limits>, Error> {
        let state = app(context)?.state(self.0.job.job).await.map_err(internal)?;
        Ok(state.job.as_ref().map(Limits::of))
    }

    /// What it cost so far.
    async fn cost(&self) -> Cost {
        Cost::sum(self.0.targets.iter().map(|target| target.cost))
    }

    /// When it was created.
    async fn created_at(&self) -> DateTime {
        DateTime(self.0.job.created_at)
    }

    /// When something happened to it last.
    async fn updated_at(&self) -> DateTime {
        DateTime(self.0.job.updated_at)
    }

    /// Who asked for it.
    async fn created_by(&self) -> Actor {
        Actor { name: self.0.job.actor.clone(), door: self.0.job.door.into() }
    }

    /// Whether it rests as a whole.
    async fn is_paused(&self) -> bool {
        self.0.job.is_paused
    }

    /// Whether lists leave it out.
    async fn is_archived(&self) -> bool {
        self.0.job.is_archived
    }

    /// The place in the log of its latest event.
    async fn position(&self) -> Position {
        Position(self.0.job.position)
    }

    /// Its repositories, in the order of their numbers; at most 20.
    #[graphql(complexity = "5 * child_complexity")]
    async fn targets(&self) -> Vec<Target> {
        let row = &self.0.job;
        self.0.targets.iter().map(|target| Target::of(row, target)).collect()
    }

    /// What happened to it, oldest first.
    #[graphql(complexity = "pages_of(first) * child_complexity")]
    async fn events(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How many: 1 to 100.")] first: i32,
        #[graphql(desc = "After which: the `endCursor` of the page before.")] after: Option<String>,
    ) -> Result<Page<Event>, Error> {
        page_of_job(app(context)?, self.0.job.job, first, after.as_deref()).await
    }
}

impl Job {
    async fn payload(&self, context: &Context<'_>) -> Result<Option<CreatedPayload>, Error> {
        payload_of::<Created>(context, self.0.job.created_position).await
    }
}

impl Limits {
    fn of(job: &JobState) -> Self {
        let limits = &job.limits;
        Self {
            budget_micros: Long(limits.budget_micros),
            job_budget_micros: limits.job_budget_micros.map(Long),
            max_turns: Long(limits.max_turns.into()),
            max_tokens: limits.max_tokens.map(Long),
            max_wall_ms: limits.max_wall_ms.map(Long),
            max_tool_ms: limits.max_tool_ms.map(Long),
            max_diff_bytes: limits.max_diff_bytes.map(Long),
        }
    }
}
