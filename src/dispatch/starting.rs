//! Asking for a worker: its base is pinned, its request recorded, its process started, in this order.

use std::sync::Arc;

use cody_events::attempt::{AttemptEnd, Base, Executor as ExecutorKind};
use cody_events::digest::Sha256;
use cody_events::ids::{CommandId, JobId, RequestId};
use cody_events::outcome::Outcome;
use tracing::Instrument as _;

use super::{DispatchError, Dispatcher, Watched, dispatcher, lock};
use crate::job::Command;
use crate::job::state::Target;
use crate::store::side::ClaimNonce;

impl Dispatcher {
    /// Pins the base and starts a worker, beside everything else.
    pub(super) fn prepare(self: &Arc<Self>, job: JobId, target: Target) {
        let key = (job, target.number);
        if !lock(&self.preparing).insert(key) {
            return;
        }
        self.pace.asked(job, &target, self.app.clock().monotonic());
        let dispatcher = Arc::clone(self);
        let span = tracing::info_span!("start-worker", %job, target = %target.number);
        let prepared = async move {
            if let Err(error) = dispatcher.request(job, &target).await {
                tracing::warn!(%job, target = %target.number, %error, "no worker could be asked for");
                if let Err(error) = dispatcher.give_up(job, &target, &error).await {
                    tracing::error!(%job, target = %target.number, %error, "and that not recorded");
                }
            }
            lock(&dispatcher.preparing).remove(&key);
            // If it failed, nothing in the log says so.
            dispatcher.wake(job);
        };
        tokio::spawn(prepared.instrument(span));
    }

    async fn request(&self, job: JobId, target: &Target) -> Result<(), DispatchError> {
        let base = match &target.base {
            Some(base) => base.clone(),
            None => self.pin(job, target).await?,
        };
        let now = self.app.clock().now();
        let request = RequestId(self.app.entropy().uuid_v7(now));
        let nonce = self.app.entropy().secret();
        let row = ClaimNonce {
            request,
            job,
            target: target.number,
            nonce_hash: Sha256::of(nonce.as_bytes()),
            process: None,
            requested_at: now,
        };
        self.side.put_nonce(row.clone()).await?;
        if let Err(error) = self.record_request(job, target, base, request).await {
            // A nonce that stays behind is good for nothing, and is found by the next server.
            let _ = self.leases.forget(request).await;
            return Err(error);
        }
        let watched = Watched { job, target: target.number, process: None, over_since: None };
        lock(&self.watched).insert(request, watched);
        self.leases.expect(request);
        let settings = &self.options.worker;
        match self.executor.start(job, target.number, request, &nonce, settings).await {
            Ok(process) => {
                // It is watched from here on, whether or not its row can be written.
                if let Some(watched) = lock(&self.watched).get_mut(&request) {
                    watched.process = Some(process);
                }
                Ok(self.side.put_nonce(ClaimNonce { process: Some(process), ..row }).await?)
            }
            Err(error) => {
                // Should its end not get into the log now, a request that nobody knows is ended later.
                lock(&self.watched).remove(&request);
                let detail = error.to_string();
                self.end(job, target.number, request, AttemptEnd::Crashed, Some(detail)).await?;
                Err(DispatchError::Start(error))
            }
        }
    }

    async fn record_request(
        &self,
        job: JobId,
        target: &Target,
        base: Base,
        request: RequestId,
    ) -> Result<(), DispatchError> {
        let command = Command::RequestAttempt {
            target: target.number,
            base,
            executor: ExecutorKind::Local,
            why: target.next_attempt,
            request,
        };
        let id = CommandId::derived(&["request", &request.to_string()]);
        self.app.execute(job, id, command, &dispatcher()).await?;
        Ok(())
    }

    /// A base that cannot be had ends the target; a worker that cannot be started is a loss.
    async fn give_up(
        &self,
        job: JobId,
        target: &Target,
        error: &DispatchError,
    ) -> Result<(), DispatchError> {
        let reason = match error {
            // A full disk passes, and the job with it.
            DispatchError::Git(error) if error.lacks_room() => return Ok(()),
            DispatchError::Git(error) => format!("The repository could not be fetched: {error}."),
            DispatchError::Locator(error) => format!("The repository could not be found: {error}."),
            DispatchError::Intake(_) | DispatchError::Gone | DispatchError::Interrupted(_) => {
                format!("The target could not be started: {error}.")
            }
            DispatchError::App(_) | DispatchError::Log(_) | DispatchError::Start(_) => {
                return Ok(());
            }
        };
        Ok(self.intake.conclude(job, target.number, Outcome::Failed, vec![reason]).await?)
    }
}
