//! Where every door of a server hands in wishes: whether the caller may have this one, whether it was
//! carried out before under the same key, and who takes care of the job afterwards.

use std::path::PathBuf;
use std::sync::Arc;

use cody_events::digest::Sha256;
use cody_events::envelope::Door;
use cody_events::ids::JobId;
use cody_events::job::Policy;
use cody_events::system::Scope;

use super::{Control, ControlError, Done, Wish, told};
use crate::api::access::{Access, Caller};
use crate::api::permission;
use crate::app::{App, AppError, Asker, UniqueKey};
use crate::job::command::CreateJob;
use crate::job::{Rejection, RejectionCode};
use crate::plan::{JobRequest, LocalPaths};

pub use crate::api::permission::HouseRules;

/// Longer keys are no keys.
const MAX_KEY_BYTES: usize = 256;

/// Takes the wishes of callers.
#[derive(Clone)]
pub struct Reception {
    pub control: Arc<Control>,
    pub access: Arc<Access>,
    pub rules: HouseRules,
    /// Folders below which whoever is no admin may name local repositories.
    pub local_roots: Vec<PathBuf>,
    /// Takes care of a job from now on. A job that another process left may be asked to go on when
    /// nothing about it changes in the log.
    pub take: Arc<dyn Fn(JobId) + Send + Sync>,
}

impl std::fmt::Debug for Reception {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reception").finish_non_exhaustive()
    }
}

impl Reception {
    /// Carries out `wish`, if `caller` may have it, and once for each `key`. Events name `asker`.
    pub async fn receive(
        &self,
        caller: &Caller,
        asker: &Asker,
        wish: Wish,
        key: Option<&str>,
    ) -> Result<Done, ControlError> {
        self.check(caller, asker.door, &wish).await?;
        let key = unique_key(caller, &wish, key)?;
        let before = match &key {
            Some(key) => self.app().find_key(key).await?,
            None => None,
        };
        let done = match before {
            Some(before) => told(&before),
            None => self.carry_out(caller, asker, wish, key).await?,
        };
        (self.take)(done.job);
        Ok(done)
    }

    /// Whether `caller` could approve a diff of a job with this creator and policy.
    pub fn may_approve(&self, caller: &Caller, door: Door, job: (&str, Policy)) -> bool {
        caller.scopes.allows(Scope::Approve)
            && permission::check_own(caller, door, job, &self.rules).is_ok()
    }

    /// The job that `request` asks for, if `caller` may have it.
    pub async fn planned(
        &self,
        caller: &Caller,
        request: JobRequest,
    ) -> Result<CreateJob, ControlError> {
        let (control, paths) = (Arc::clone(&self.control), self.local_paths(caller));
        // Repositories and recipes are looked for on the disk.
        let planned = tokio::task::spawn_blocking(move || {
            let planned = control.planner(paths).plan(&request)?;
            crate::job::check(&planned)?;
            Ok::<_, Rejection>(planned)
        });
        let planned = planned.await.map_err(|_| ControlError::Interrupted)?;
        let planned = planned.map_err(AppError::from)?;
        permission::check_job(caller, &planned, &self.rules).map_err(AppError::from)?;
        Ok(planned)
    }

    /// Which local repositories `caller` may name.
    pub fn local_paths(&self, caller: &Caller) -> LocalPaths {
        match caller.scopes.allows(Scope::Admin) {
            true => LocalPaths::Any,
            false => LocalPaths::Below(self.local_roots.clone()),
        }
    }

    fn app(&self) -> &App {
        &self.control.app
    }

    /// A job is created as it was planned, and its caller judged by that.
    async fn carry_out(
        &self,
        caller: &Caller,
        asker: &Asker,
        wish: Wish,
        key: Option<UniqueKey>,
    ) -> Result<Done, ControlError> {
        match wish {
            Wish::Create { job, request } => {
                let planned = self.planned(caller, *request).await?;
                self.control.create(job, planned, asker, key).await
            }
            wish => {
                let may_limit =
                    |old: &_, new: &_| permission::check_limits(caller, old, new, &self.rules);
                let paths = self.local_paths(caller);
                self.control.carry_out_once(wish, asker, paths, &may_limit, key).await
            }
        }
    }

    /// Whether `caller` may have `wish`. Who created the job stands in the log; new limits are judged
    /// when they are laid over those that it has.
    async fn check(&self, caller: &Caller, door: Door, wish: &Wish) -> Result<(), AppError> {
        permission::check(caller, wish)?;
        match wish {
            Wish::Approve(review) => {
                let Some((recorded, created)) = self.app().created(review.job).await? else {
                    return Ok(());
                };
                let job = (recorded.actor.as_str(), created.policy);
                Ok(permission::check_own(caller, door, job, &self.rules)?)
            }
            Wish::Create { .. }
            | Wish::Pause { .. }
            | Wish::Resume { .. }
            | Wish::Retry { .. }
            | Wish::Cancel { .. }
            | Wish::Reject(_)
            | Wish::RequestChanges(_)
            | Wish::Archive { .. }
            | Wish::Attend { .. } => Ok(()),
        }
    }
}

/// The key that makes a wish come true once, if the caller gave one.
fn unique_key(
    caller: &Caller,
    wish: &Wish,
    key: Option<&str>,
) -> Result<Option<UniqueKey>, ControlError> {
    let Some(key) = key.filter(|key| !key.is_empty()) else { return Ok(None) };
    if key.len() > MAX_KEY_BYTES {
        let no = Rejection::new(
            RejectionCode::KeyReused,
            format!("The key has {} bytes; the limit is {MAX_KEY_BYTES}.", key.len()),
            "Use a UUID.",
        );
        return Err(AppError::from(no).into());
    }
    let asked = match wish {
        // The id is new with every asking.
        Wish::Create { request, .. } => format!("create {}", serde_json::to_string(request)?),
        wish => serde_json::to_string(wish)?,
    };
    let request_digest = Sha256::of(asked.as_bytes());
    Ok(Some(UniqueKey { actor: caller.actor.clone(), key: key.to_owned(), request_digest }))
}
