//! Pinning a target's base: resolve the branch, fetch, weigh, keep a pack of our own.

use std::time::Duration;

use cody_events::attempt::Base as PinnedBase;
use cody_events::digest::Sha256;
use cody_events::ids::JobId;
use cody_events::job::{Created, Location};

use secrecy::SecretString;

use super::{DispatchError, Dispatcher};
use crate::git::{self, Base, GitError, Locator};
use crate::job::state::Target;
use crate::store::side::PackRow;

/// How often a host that does not answer is asked again.
const MAX_TRIES: u32 = 4;

impl Dispatcher {
    /// The commit that `target` starts from, with its pack.
    pub(super) async fn pin(
        &self,
        job: JobId,
        target: &Target,
    ) -> Result<PinnedBase, DispatchError> {
        let location = self.location(job, target).await?;
        let mut pause = Duration::from_secs(1);
        let mut tries = 1;
        loop {
            match self.pin_once(&location).await {
                Err(DispatchError::Git(error)) if error.is_transient() && tries < MAX_TRIES => {
                    tracing::warn!(%job, target = %target.number, %error, tries, "fetching again");
                    self.app.clock().sleep(pause).await;
                    pause *= 2;
                    tries += 1;
                }
                other => return other,
            }
        }
    }

    async fn location(&self, job: JobId, target: &Target) -> Result<Location, DispatchError> {
        let events = self.app.events(job, 0).await?;
        let first = events.first().ok_or(DispatchError::Gone)?;
        let created = self
            .app
            .payload_of::<Created>(first.recorded.position)
            .await?
            .ok_or(DispatchError::Gone)?;
        let index = target.number.0 as usize - 1;
        created.locations.into_iter().nth(index).ok_or(DispatchError::Gone)
    }

    async fn pin_once(&self, location: &Location) -> Result<PinnedBase, DispatchError> {
        let locator = Locator::parse(&location.locator, &self.options.allowed_hosts)?;
        let branch = location.branch.clone();
        let token = self.token(&locator);
        let asked = locator.clone();
        let resolved = tokio::task::spawn_blocking(move || {
            git::resolve(&asked, token.as_ref(), branch.as_deref())
        })
        .await??;
        let repository = locator.identity();
        let kept = self.side.find_pack(repository.clone(), resolved.commit).await?;
        let pack = match kept.filter(|row| self.packs.dir(&row.pack_hash).is_dir()) {
            Some(row) => row.pack_hash,
            None => self.fetch(&locator, &resolved, repository).await?,
        };
        let (dir, commit) = (self.packs.dir(&pack), resolved.commit);
        let tree = tokio::task::spawn_blocking(move || {
            Ok::<_, GitError>(Base::open(&dir, commit)?.tree_id())
        })
        .await??;
        Ok(PinnedBase { commit: resolved.commit, tree, branch: resolved.branch, pack })
    }

    /// The token, for its own host alone.
    fn token(&self, locator: &Locator) -> Option<SecretString> {
        let is_its_host =
            locator.host().is_some_and(|host| host.eq_ignore_ascii_case(&self.options.token_host));
        self.options.github_token.clone().filter(|_| is_its_host)
    }

    /// Fetches, weighs before anything is checked out, and keeps the pack.
    async fn fetch(
        &self,
        locator: &Locator,
        resolved: &git::Resolved,
        repository: String,
    ) -> Result<Sha256, DispatchError> {
        let (locator, base_commit) = (locator.clone(), resolved.commit);
        let resolved = resolved.clone();
        let token = self.token(&locator);
        let caches = self.options.data_dir.join("cache");
        let (limits, budget) = (self.options.fetch_limits, self.options.walk_budget);
        let packs = self.packs.clone();
        let pack = tokio::task::spawn_blocking(move || {
            let path = git::fetch(&locator, token.as_ref(), &resolved, &caches, &limits)?;
            git::weigh_at(&path, resolved.commit, &budget)?;
            packs.store(&path, resolved.commit)
        })
        .await??;
        self.side
            .put_pack(PackRow {
                repository,
                base_commit,
                pack_hash: pack.hash,
                bytes: pack.bytes,
                last_used_at: self.app.clock().now(),
            })
            .await?;
        Ok(pack.hash)
    }
}
