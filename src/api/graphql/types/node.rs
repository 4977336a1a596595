//! Whatever has a global id.

use async_graphql::{Context, Error, ID, Interface};
use cody_events::diff::DiffProduced;
use cody_events::event::{Event as Told, Facts as _};
use cody_events::ids::{JobId, TargetNumber, ThreadNumber};
use cody_events::system::Scope;
use cody_projections::{diffs, threads};

use super::diff::{self, Diff, DiffFile, DiffHunk};
use super::event::Event;
use super::job::Job;
use super::message::{self, Message};
use super::target::{self, Target};
use super::thread::Thread;
use super::{payload_of, shared};
use crate::api::graphql::errors::internal;
use crate::api::graphql::ids::{GlobalId, TokenKey};
use crate::api::graphql::loaders::OverviewOf;
use crate::api::graphql::services::{app, caller, rows, services};
use crate::api::graphql::tokens::Token;
use crate::api::graphql::usage::Usage;
use crate::app::AppError;

/// Whatever has a global id.
#[derive(Interface)]
#[graphql(field(name = "id", ty = "ID", desc = "The global id."))]
pub enum Node {
    Job(Job),
    Target(Target),
    Thread(Thread),
    Message(Message),
    Diff(Diff),
    DiffFile(DiffFile),
    DiffHunk(DiffHunk),
    Event(Event),
    Token(Token),
    Usage(Usage),
}

/// What has this id; nothing if nothing has.
pub async fn find(context: &Context<'_>, id: GlobalId) -> Result<Option<Node>, Error> {
    Ok(match id {
        GlobalId::Job(job) => job_of(context, job).await?.map(Node::Job),
        GlobalId::Target(job, number) => {
            target::find(context, job, number).await?.map(Node::Target)
        }
        GlobalId::Thread(job, number, thread) => {
            thread_of(context, job, number, thread).await?.map(Node::Thread)
        }
        GlobalId::Message(position) => message_at(context, position).await?.map(Node::Message),
        GlobalId::Diff(position) => diff_at(context, position).await?.map(Node::Diff),
        GlobalId::File(position, index) => {
            file_at(context, position, index).await?.map(Node::DiffFile)
        }
        GlobalId::Hunk(position, file, index) => {
            let file = file_at(context, position, file).await?;
            file.and_then(|file| file.all_hunks().nth(index as usize)).map(Node::DiffHunk)
        }
        GlobalId::Event(position) => event_at(context, position).await?.map(Node::Event),
        GlobalId::Token(id) => token_of(context, id)?.map(Node::Token),
    })
}

/// The job with this id.
pub async fn job_of(context: &Context<'_>, job: JobId) -> Result<Option<Job>, Error> {
    Ok(rows(context)?.load_one(OverviewOf(job)).await.map_err(shared)?.map(Job))
}

/// The conversation with this number.
pub async fn thread_of(
    context: &Context<'_>,
    job: JobId,
    target: TargetNumber,
    thread: ThreadNumber,
) -> Result<Option<Thread>, Error> {
    let found = app(context)?.ask(move |views| threads::of_target(views, job, target)).await;
    let mut found = found.map_err(internal)?.into_iter();
    Ok(found.find(|row| row.thread == thread).map(|row| Thread { job, row }))
}

/// The message at this place in the log.
pub async fn message_at(context: &Context<'_>, position: u64) -> Result<Option<Message>, Error> {
    let Some(Event(recorded)) = event_at(context, position).await? else { return Ok(None) };
    let event = Told::decode(&recorded.kind, recorded.schema_version, &recorded.facts);
    let event = event.map_err(|error| internal(AppError::from(error)))?;
    Ok(message::of_event(&event, position))
}

/// The diff at this place in the log.
pub async fn diff_at(context: &Context<'_>, position: u64) -> Result<Option<Diff>, Error> {
    let Some(Event(recorded)) = event_at(context, position).await? else { return Ok(None) };
    let Some(job) = JobId::from_stream(&recorded.stream) else { return Ok(None) };
    if recorded.kind != DiffProduced::KIND {
        return Ok(None);
    }
    let found = app(context)?.ask(move |views| diffs::of_job(views, job)).await;
    let mut found = found.map_err(internal)?.into_iter();
    Ok(found.find(|row| row.position == position).map(|row| Diff::new(job, row)))
}

async fn file_at(
    context: &Context<'_>,
    position: u64,
    index: u32,
) -> Result<Option<DiffFile>, Error> {
    if diff_at(context, position).await?.is_none() {
        return Ok(None);
    }
    let Some(payload) = payload_of::<DiffProduced>(context, position).await? else {
        return Ok(None);
    };
    Ok(diff::files(position, &payload)?.into_iter().nth(index as usize))
}

/// Tokens are for admins; nobody else is told whether there is one.
fn token_of(context: &Context<'_>, id: TokenKey) -> Result<Option<Token>, Error> {
    if !caller(context)?.scopes.allows(Scope::Admin) {
        return Ok(None);
    }
    let known = services(context)?.reception.access.list();
    Ok(known.into_iter().find(|token| TokenKey::of(&token.token_id) == id).map(Token))
}

async fn event_at(context: &Context<'_>, position: u64) -> Result<Option<Event>, Error> {
    let is_place = position > 0 && i64::try_from(position).is_ok();
    if !is_place {
        return Ok(None);
    }
    let found = app(context)?.log().read_log(position - 1, 1).await;
    let mut found = found.map_err(|error| internal(error.into()))?.into_iter();
    Ok(found.next().filter(|event| event.position == position).map(Event))
}
