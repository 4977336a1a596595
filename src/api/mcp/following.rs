//! Telling an assistant that a job changed which it has as a resource.

use cody_events::ids::JobId;
use futures_util::StreamExt as _;
use futures_util::stream::SelectAll;
use rmcp::model::{
    ResourceUpdatedNotification, ResourceUpdatedNotificationParam, ServerNotification,
    SubscriptionFilter,
};
use rmcp::service::SubscriptionContext;

use super::office::Office;
use super::resources::Place;

/// Addresses that one request may follow; each is a wait of its own.
const MOST: usize = 50;

/// What of a request can be followed: jobs, and what belongs to them.
pub fn accepted(requested: &SubscriptionFilter) -> SubscriptionFilter {
    let wanted = requested.resource_subscriptions.iter().flatten();
    let jobs = wanted.filter(|uri| Place::parse(uri).is_some_and(|place| place.job().is_some()));
    let uris: Vec<String> = jobs.take(MOST).cloned().collect();
    SubscriptionFilter::builder().resource_subscriptions(uris).build()
}

/// Tells of every change, until the request ends, the server stops, or `token` is good no longer at
/// `path`.
pub async fn follow(office: &Office, context: &SubscriptionContext, path: &str, token: &str) {
    let ended = office.reception.access.ended_at(path, token);
    tokio::pin!(ended);
    let mut changes = SelectAll::new();
    for uri in context.accepted().resource_subscriptions.iter().flatten() {
        let Some(job) = Place::parse(uri).and_then(Place::job) else { continue };
        match changes_of(office, job, uri.clone()).await {
            Some(of_one) => changes.push(of_one.boxed()),
            None => return,
        }
    }
    loop {
        let uri = tokio::select! {
            () = context.cancelled() => return,
            () = office.stopping.cancelled() => return,
            _ = &mut ended => return,
            // Where nothing that can be followed was asked for, only the end is waited for.
            Some(uri) = changes.next(), if !changes.is_empty() => uri,
        };
        let update = ResourceUpdatedNotification::new(ResourceUpdatedNotificationParam::new(uri));
        let told = ServerNotification::ResourceUpdatedNotification(update);
        if context.sink().send(told).await.is_err() {
            return;
        }
    }
}

/// `uri`, each time when something happened to `job`.
async fn changes_of(
    office: &Office,
    job: JobId,
    uri: String,
) -> Option<impl futures_util::Stream<Item = String> + Send + use<>> {
    let mut news = office.news.of(job).await.ok()?;
    news.mark_unchanged();
    Some(futures_util::stream::unfold((news, uri), |(mut news, uri)| async move {
        news.changed().await.ok()?;
        Some((uri.clone(), (news, uri)))
    }))
}
