//! What many fields of one request need, read once and together.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::dataloader::Loader;
use cody_events::ids::{JobId, TargetNumber};
use cody_projections::diffs::{self, DiffRow};
use cody_projections::overview::{self, JobOverview};

use crate::app::{App, AppError};

/// Reads for the fields of one request.
#[derive(Debug)]
pub struct Loaders {
    pub app: Arc<App>,
}

/// A read that failed, to be told to each field that waited for it.
pub type Failed = Arc<AppError>;

/// A job with its targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OverviewOf(pub JobId);

/// The latest diff of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LatestDiffOf(pub JobId, pub TargetNumber);

/// The payload at a place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PayloadAt(pub u64);

impl Loader<OverviewOf> for Loaders {
    type Value = JobOverview;
    type Error = Failed;

    async fn load(&self, keys: &[OverviewOf]) -> Result<HashMap<OverviewOf, JobOverview>, Failed> {
        let keys = keys.to_vec();
        let found = self.app.ask(move |views| {
            let mut found = HashMap::new();
            for key in keys {
                if let Some(job) = overview::find(views, key.0)? {
                    found.insert(key, job);
                }
            }
            Ok(found)
        });
        Ok(found.await?)
    }
}

impl Loader<LatestDiffOf> for Loaders {
    type Value = DiffRow;
    type Error = Failed;

    async fn load(&self, keys: &[LatestDiffOf]) -> Result<HashMap<LatestDiffOf, DiffRow>, Failed> {
        let keys = keys.to_vec();
        let found = self.app.ask(move |views| {
            let mut found = HashMap::new();
            for key in keys {
                if let Some(diff) = diffs::latest(views, key.0, key.1)? {
                    found.insert(key, diff);
                }
            }
            Ok(found)
        });
        Ok(found.await?)
    }
}

impl Loader<PayloadAt> for Loaders {
    type Value = Arc<Vec<u8>>;
    type Error = Failed;

    async fn load(&self, keys: &[PayloadAt]) -> Result<HashMap<PayloadAt, Arc<Vec<u8>>>, Failed> {
        let mut found = HashMap::new();
        for key in keys {
            if let Some(bytes) = self.app.payload(key.0).await? {
                found.insert(*key, Arc::new(bytes));
            }
        }
        Ok(found)
    }
}
