//! What there is to be read. Each type is a row of the views and the payloads that belong to it; none
//! computes what a view or the rules already know.

mod block;
mod cost;
pub mod diff;
pub mod event;
pub mod job;
pub mod message;
pub mod node;
pub mod recipe;
pub mod scalars;
pub mod server;
pub mod target;
pub mod thread;
pub mod words;

use async_graphql::{Context, Error};
use cody_events::event::{Facts, decode_payload};

use super::errors::internal;
use super::loaders::PayloadAt;
use super::services::rows;
use crate::app::AppError;

/// The payload of an `F` at `position`; nothing if there is none, or if it was removed.
pub(super) async fn payload_of<F: Facts>(
    context: &Context<'_>,
    position: u64,
) -> Result<Option<F::Payload>, Error> {
    let Some(bytes) = payload(context, position).await? else { return Ok(None) };
    decode_payload::<F>(&bytes).map(Some).map_err(|error| internal(AppError::from(error)))
}

/// The payload's bytes at `position`.
pub(super) async fn payload(
    context: &Context<'_>,
    position: u64,
) -> Result<Option<std::sync::Arc<Vec<u8>>>, Error> {
    rows(context)?.load_one(PayloadAt(position)).await.map_err(shared)
}

/// A read that several fields waited for failed.
pub(super) fn shared(error: super::loaders::Failed) -> Error {
    match std::sync::Arc::try_unwrap(error) {
        Ok(error) => internal(error),
        Err(error) => super::errors::fault(&*error, error.is_passing()),
    }
}
