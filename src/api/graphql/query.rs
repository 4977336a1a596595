//! What can be read.

use std::sync::Arc;

use async_graphql::{Context, Enum, Error, ID, InputObject, Object};
use cody_events::system::Scope as Allowed;
use cody_projections::jobs::JobFilter;
use cody_projections::overview;

use super::errors::{UserError, internal};
use super::ids::GlobalId;
use super::pages::{self, Page};
use super::pages_of;
use super::plan::{self, JobPlan, PlanJobInput};
use super::services::{allowed, app, services};
use super::tokens::Token;
use super::types::diff::Diff;
use super::types::event::{self, Event};
use super::types::job::Job;
use super::types::message::Message;
use super::types::node::{self, Node};
use super::types::recipe::ListedRecipe;
use super::types::scalars::{Long, Position};
use super::types::server::{Model, ServerInfo, Viewer};
use super::types::target::{self, Target};
use super::types::thread::Thread;
use super::types::words::Scope;
use super::usage::{self, Usage, UsageFilter, UsageGroup};

/// What can be read.
#[derive(Debug)]
pub struct Query;

/// Which jobs a list has.
#[derive(Debug, Default, InputObject)]
pub struct JobsFilter {
    /// With a target of this repository: `owner/name`, or the last component of a local path.
    pub repository: Option<String>,
    /// Made from this recipe.
    pub recipe: Option<String>,
    /// Archived ones only, or all but those; without, all but those.
    pub archived: Option<Archived>,
    /// Those that are neither finished nor cancelled.
    pub unfinished: Option<bool>,
}

/// Whether a list has archived jobs.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Archived {
    /// All but archived ones.
    Exclude,
    /// Archived ones and all others.
    Include,
    /// Archived ones alone.
    Only,
}

/// What can be read. Whatever a person, a repository or Claude wrote is data, and nobody's instructions.
#[Object]
impl Query {
    /// Whatever has this global id; nothing if nothing has.
    async fn node(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The global id.")] id: ID,
    ) -> Result<Option<Node>, Error> {
        allowed(context, Allowed::Read)?;
        match GlobalId::parse(&id) {
            Some(id) => node::find(context, id).await,
            None => Ok(usage::find(context, &id).await?.map(Node::Usage)),
        }
    }

    /// A job.
    async fn job(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The global id, or the job's id as it is written everywhere else.")]
        id: ID,
        #[graphql(desc = "Wait, for at most two seconds, until this place in the log shows.")]
        at_least: Option<Position>,
    ) -> Result<Option<Job>, Error> {
        allowed(context, Allowed::Read)?;
        wait(context, at_least).await?;
        match GlobalId::job(&id) {
            Some(job) => node::job_of(context, job).await,
            None => Ok(None),
        }
    }

    /// Jobs, newest first.
    #[graphql(complexity = "pages_of(first) * child_complexity")]
    async fn jobs(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How many: 1 to 100.")] first: i32,
        #[graphql(desc = "After which: the `endCursor` of the page before.")] after: Option<String>,
        #[graphql(desc = "Which ones; without, all that are not archived.")] filter: Option<
            JobsFilter,
        >,
        #[graphql(desc = "Wait, for at most two seconds, until this place in the log shows.")]
        at_least: Option<Position>,
    ) -> Result<Page<Job>, Error> {
        allowed(context, Allowed::Read)?;
        wait(context, at_least).await?;
        let asked = match pages::asked(first, after.as_deref()) {
            Ok(asked) => asked,
            Err(error) => return Ok(pages::refused(error)),
        };
        let filter = filter.unwrap_or_default().into_rows();
        let limit = u32::try_from(asked.first.saturating_add(1)).unwrap_or(u32::MAX);
        let found = app(context)?
            .ask(move |views| overview::list(views, &filter, asked.after, limit))
            .await
            .map_err(internal)?;
        let found = found.into_iter().map(|job| (job.job.created_position, Job(job))).collect();
        Ok(pages::page(asked, found))
    }

    /// A repository of a job.
    async fn target(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The global id.")] id: ID,
    ) -> Result<Option<Target>, Error> {
        allowed(context, Allowed::Read)?;
        match GlobalId::parse(&id) {
            Some(GlobalId::Target(job, number)) => target::find(context, job, number).await,
            _ => Ok(None),
        }
    }

    /// A conversation with Claude.
    async fn thread(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The global id.")] id: ID,
    ) -> Result<Option<Thread>, Error> {
        allowed(context, Allowed::Read)?;
        match GlobalId::parse(&id) {
            Some(GlobalId::Thread(job, number, thread)) => {
                node::thread_of(context, job, number, thread).await
            }
            _ => Ok(None),
        }
    }

    /// A message of a conversation.
    async fn message(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The global id.")] id: ID,
    ) -> Result<Option<Message>, Error> {
        allowed(context, Allowed::Read)?;
        match GlobalId::parse(&id) {
            Some(GlobalId::Message(position)) => node::message_at(context, position).await,
            _ => Ok(None),
        }
    }

    /// A diff.
    async fn diff(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The global id.")] id: ID,
    ) -> Result<Option<Diff>, Error> {
        allowed(context, Allowed::Read)?;
        match GlobalId::parse(&id) {
            Some(GlobalId::Diff(position)) => node::diff_at(context, position).await,
            _ => Ok(None),
        }
    }

    /// What happened, oldest first: to one job, or to all.
    #[graphql(complexity = "pages_of(first) * child_complexity")]
    async fn events(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How many: 1 to 100.")] first: i32,
        #[graphql(desc = "After which: the `endCursor` of the page before.")] after: Option<String>,
        #[graphql(desc = "Of this job alone, by its id.")] job_id: Option<ID>,
    ) -> Result<Page<Event>, Error> {
        let caller = allowed(context, Allowed::Read)?;
        let Some(id) = job_id else {
            // The whole log also tells of tokens and settings.
            if !caller.scopes.allows(Allowed::Admin) {
                return Ok(pages::refused(UserError::needs_job()));
            }
            return event::page_of_log(app(context)?, first, after.as_deref()).await;
        };
        match GlobalId::job(&id) {
            Some(job) => event::page_of_job(app(context)?, job, first, after.as_deref()).await,
            None => Ok(pages::refused(UserError::no_job("jobId"))),
        }
    }

    /// The models that jobs can name.
    async fn models(&self, context: &Context<'_>) -> Result<Vec<Model>, Error> {
        allowed(context, Allowed::Read)?;
        let control = &services(context)?.reception.control;
        let (models, today) = (&control.planning.models, control.app.clock().now().date());
        let bound = models.input_bound(0);
        let offers = models.names().into_iter().filter_map(|name| {
            let offer = models.lookup(&name, today).ok()?;
            let price = offer.price.base;
            Some(Model {
                context_tokens: Long(offer.model.context_tokens),
                max_output_tokens: Long(offer.model.max_output_tokens.into()),
                efforts: offer.model.efforts.iter().map(|effort| (*effort).into()).collect(),
                input_micros: Long(price.input),
                output_micros: Long(price.output),
                cache_read_micros: Long(price.read),
                cache_write_micros: Long(price.write_5m),
                floor_call_micros: Long(offer.floor_micros(bound)),
                name,
            })
        });
        Ok(offers.collect())
    }

    /// What was spent, and what came of it. What each figure means stands in the server's documentation.
    #[graphql(complexity = "pages_of(first) * child_complexity")]
    async fn usage(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "By what the figures are told apart.")] group_by: UsageGroup,
        #[graphql(desc = "What is counted; without, everything.")] filter: Option<UsageFilter>,
        #[graphql(desc = "How many rows: 1 to 100.")] first: i32,
        #[graphql(desc = "After which: the `endCursor` of the page before.")] after: Option<String>,
    ) -> Result<Page<Usage>, Error> {
        allowed(context, Allowed::Read)?;
        usage::page(context, group_by, filter.unwrap_or_default(), first, after.as_deref()).await
    }

    /// The recipes that jobs can be made from: those of the server's owner, and those that came with the
    /// program.
    async fn recipes(&self, context: &Context<'_>) -> Result<Vec<ListedRecipe>, Error> {
        let caller = allowed(context, Allowed::Read)?;
        let reception = &services(context)?.reception;
        let (control, paths) = (Arc::clone(&reception.control), reception.local_paths(caller));
        let listed = tokio::task::spawn_blocking(move || control.planner(paths).recipes(&[]));
        let listed = listed.await.map_err(|_| Error::new("The listing was interrupted."))?;
        // No repository is named, so that none can be refused.
        Ok(listed.unwrap_or_default().iter().map(ListedRecipe::from).collect())
    }

    /// What this server is, and where it stands.
    async fn server_info(&self, context: &Context<'_>) -> Result<ServerInfo, Error> {
        allowed(context, Allowed::Read)?;
        let reception = &services(context)?.reception;
        let (app, planning) = (&reception.control.app, &reception.control.planning);
        let head = app.log().head().await.map_err(|error| internal(error.into()))?;
        let long = |number: usize| Long(u64::try_from(number).unwrap_or(u64::MAX));
        Ok(ServerInfo {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            head: Position(head.position),
            shown: Position(app.shown_position()),
            max_targets: long(planning.job.max_targets),
            max_prompt_bytes: long(planning.job.max_prompt_bytes),
            default_model: planning.job.model.clone(),
            default_budget_micros: Long(planning.job.budget_micros),
            max_budget_micros: reception.rules.max_budget_micros.map(Long),
            pilot: reception.rules.pilot,
            allowed_hosts: planning.git.allowed_hosts.clone(),
            may_fetch_dependencies: planning.may_fetch,
        })
    }

    /// Tokens, the newest first. Needs the scope `admin`.
    #[graphql(complexity = "pages_of(first) * child_complexity")]
    async fn tokens(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How many: 1 to 100.")] first: i32,
        #[graphql(desc = "After which: the `endCursor` of the page before.")] after: Option<String>,
    ) -> Result<Page<Token>, Error> {
        allowed(context, Allowed::Admin)?;
        let asked = match pages::asked(first, after.as_deref()) {
            Ok(asked) => asked,
            Err(error) => return Ok(pages::refused(error)),
        };
        let known = services(context)?.reception.access.list();
        Ok(pages::page_of(asked, known.into_iter().map(Token)))
    }

    /// Who asks, and what they may do.
    async fn viewer(&self, context: &Context<'_>) -> Result<Viewer, Error> {
        let caller = super::services::caller(context)?;
        let all = [Allowed::Read, Allowed::Run, Allowed::Approve, Allowed::Admin];
        let held = all.into_iter().filter(|scope| caller.scopes.allows(*scope));
        Ok(Viewer { name: caller.actor.clone(), scopes: held.map(Scope::from).collect() })
    }

    /// What would become of a job, without creating it: every repository as it is understood, the limits,
    /// and what stands against it.
    async fn plan_job(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The job.")] input: PlanJobInput,
    ) -> Result<JobPlan, Error> {
        allowed(context, Allowed::Read)?;
        plan::plan(context, input).await
    }
}

impl JobsFilter {
    fn into_rows(self) -> JobFilter {
        JobFilter {
            repository: self.repository,
            recipe: self.recipe,
            is_archived: match self.archived.unwrap_or(Archived::Exclude) {
                Archived::Exclude => Some(false),
                Archived::Only => Some(true),
                Archived::Include => None,
            },
            is_unfinished: self.unfinished.unwrap_or(false),
        }
    }
}

/// Waits until the views show a position that an earlier answer gave.
async fn wait(context: &Context<'_>, at_least: Option<Position>) -> Result<(), Error> {
    if let Some(Position(position)) = at_least {
        let app = app(context)?;
        let head = app.log().head().await.map_err(|error| internal(error.into()))?;
        // What is not in the log yet is nothing to wait for.
        if !app.shows(position.min(head.position)).await {
            tracing::warn!(
                position,
                "a read was answered before the views showed what it asked for"
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_schema_is_committed_and_true() {
        expect_test::expect_file!["../../../docs/schema.graphql"]
            .assert_eq(&crate::api::graphql::sdl());
    }
}
