//! What every field may ask for, and who asks.

use std::sync::Arc;

use async_graphql::dataloader::DataLoader;
use async_graphql::{Context, Error};
use cody_events::system::Scope;

use super::errors::forbidden;
use super::loaders::Loaders;
use crate::api::access::Caller;
use crate::api::control::Reception;
use crate::api::downloads::Links;
use crate::api::news::News;
use crate::app::App;

/// What the schema needs of the server.
#[derive(Clone)]
pub struct Services {
    pub reception: Arc<Reception>,
    /// Wakes those who follow a job.
    pub news: Arc<News>,
    /// Minutes that a delivered change would have taken by hand; zero means that nobody says.
    pub minutes_saved: u64,
    /// Links for downloads.
    pub links: Arc<Links>,
}

impl std::fmt::Debug for Services {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Services").finish_non_exhaustive()
    }
}

/// What a request carries: its caller, and rows and payloads that its fields share.
#[derive(Clone)]
pub struct Asking {
    pub caller: Arc<Caller>,
    pub rows: Arc<DataLoader<Loaders>>,
}

impl std::fmt::Debug for Asking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asking").field("caller", &self.caller).finish_non_exhaustive()
    }
}

impl Asking {
    /// A request of `caller`.
    pub fn new(caller: Arc<Caller>, app: Arc<App>) -> Self {
        // Rows are a query away, so that waiting for more keys costs more than it saves.
        let rows = DataLoader::new(Loaders { app }, tokio::spawn)
            .delay(std::time::Duration::ZERO)
            .max_batch_size(MAX_BATCH);
        Self { caller, rows: Arc::new(rows) }
    }
}

/// Rows and payloads that are read together: payloads may be large.
const MAX_BATCH: usize = 16;

/// The server's services.
pub fn services<'a>(context: &Context<'a>) -> Result<&'a Services, Error> {
    context.data::<Services>()
}

/// The shell around the rules.
pub fn app<'a>(context: &Context<'a>) -> Result<&'a Arc<App>, Error> {
    Ok(&services(context)?.reception.control.app)
}

/// Rows and payloads, each read once a request.
pub fn rows<'a>(context: &Context<'a>) -> Result<&'a DataLoader<Loaders>, Error> {
    Ok(&context.data::<Asking>()?.rows)
}

/// Who asks.
pub fn caller<'a>(context: &Context<'a>) -> Result<&'a Caller, Error> {
    Ok(&context.data::<Asking>()?.caller)
}

/// Who asks, if they may do this much.
pub fn allowed<'a>(context: &Context<'a>, scope: Scope) -> Result<&'a Caller, Error> {
    let caller = caller(context)?;
    if caller.scopes.allows(scope) { Ok(caller) } else { Err(forbidden(scope.name())) }
}
