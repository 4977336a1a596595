//! Ends attempts whose worker is gone: its process ended without a word, its lease ran out, or its
//! target needs it no more.

use std::time::Duration;

use cody_events::attempt::AttemptEnd;
use cody_events::ids::RequestId;

use crate::store::side::Process;

use super::{DispatchError, Dispatcher, LocalExecutor, Watched, is_alive, lock};

/// How long a worker may take to end after its request did.
const LEAVING: Duration = Duration::from_secs(10);

impl Dispatcher {
    /// Learns of the workers that an earlier server started. Those that live go on; those whose
    /// process was never noted cannot be told apart, and are fenced by ending their request. A job that
    /// cannot be read keeps no other from being adopted.
    pub(super) async fn adopt(&self) -> Result<(), DispatchError> {
        let nonces = self.side.list_nonces().await?;
        let known: Vec<RequestId> = nonces.iter().map(|nonce| nonce.request).collect();
        self.executor.sweep_all_but(&known).await;
        for nonce in nonces {
            let watched = Watched {
                job: nonce.job,
                target: nonce.target,
                process: nonce.process,
                over_since: None,
            };
            match nonce.process {
                Some(process) if is_alive(process) => {
                    // Nobody could hear it while there was no server.
                    self.leases.expect(nonce.request);
                    lock(&self.watched).insert(nonce.request, watched);
                }
                _ => {
                    let detail = "its process was gone when the server started again".to_owned();
                    let how = AttemptEnd::Crashed;
                    let ended =
                        self.end(nonce.job, nonce.target, nonce.request, how, Some(detail)).await;
                    if let Err(error) = ended {
                        tracing::error!(job = %nonce.job, %error, "a lost worker is not recorded");
                    }
                }
            }
        }
        Ok(())
    }

    /// Looks at every worker once; tells whether that went well for all. A job that cannot be read
    /// hides no other's workers.
    pub(super) async fn watch(&self) -> bool {
        let watched: Vec<(RequestId, Watched)> =
            lock(&self.watched).iter().map(|(request, watched)| (*request, *watched)).collect();
        let mut is_well = true;
        for (request, watched) in watched {
            if let Err(error) = self.watch_one(request, watched).await {
                tracing::error!(job = %watched.job, %error, "a worker could not be watched");
                is_well = false;
            }
        }
        is_well
    }

    async fn watch_one(&self, request: RequestId, watched: Watched) -> Result<(), DispatchError> {
        // Its process is about to be noted.
        let Some(process) = watched.process else { return Ok(()) };
        let state = self.app.state(watched.job).await?;
        let is_cancelled = state.job.as_ref().is_none_or(|job| job.cancelled);
        let target = state.job.as_ref().and_then(|job| job.targets.get(&watched.target));
        let is_open = target
            .and_then(|target| target.request.as_ref())
            .is_some_and(|open| open.request == request);
        let is_wanted = !is_cancelled && target.is_some_and(|target| target.outcome.is_none());
        let end = |how, detail: &str| {
            self.end(watched.job, watched.target, request, how, Some(detail.to_owned()))
        };
        if !is_alive(process) {
            return if is_open && is_wanted {
                end(AttemptEnd::Crashed, "its process ended without a word").await
            } else {
                end(AttemptEnd::Interrupted, "its process ended").await
            };
        }
        if is_cancelled {
            LocalExecutor::kill(process);
            return Ok(());
        }
        if !is_open {
            self.see_off(request, process, watched);
        } else if self.leases.has_expired(request) {
            LocalExecutor::kill(process);
            return end(AttemptEnd::Lost, "its lease ran out without a heartbeat").await;
        }
        Ok(())
    }

    /// A worker whose request is over cleans up and leaves; one that stays is ended.
    fn see_off(&self, request: RequestId, process: Process, watched: Watched) {
        let now = self.app.clock().monotonic();
        match watched.over_since {
            Some(since) if now.saturating_sub(since) > LEAVING => LocalExecutor::kill(process),
            Some(_) => {}
            None => {
                if let Some(watched) = lock(&self.watched).get_mut(&request) {
                    watched.over_since = Some(now);
                }
            }
        }
    }
}
