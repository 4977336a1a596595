//! What every call may ask for: wishes are handed in here, jobs are read here.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::api::control::Reception;
use crate::api::mcp::answer::No;
use crate::api::news::News;
use crate::api::reading::JobReader;
use crate::app::{App, AppError};

/// What the door needs of the server.
#[derive(Debug)]
pub struct Office {
    pub reception: Arc<Reception>,
    pub reader: JobReader,
    pub news: Arc<News>,
    /// Cancelled when the server is asked to stop: waits end then, and what is short is finished.
    pub stopping: CancellationToken,
}

impl Office {
    /// The shell around the rules.
    pub fn app(&self) -> &Arc<App> {
        &self.reception.control.app
    }

    /// Where the log ends.
    pub async fn head(&self) -> Result<u64, No> {
        Ok(self.app().log().head().await.map_err(AppError::from)?.position)
    }

    /// Waits a little until the views show all that was recorded until now; answers where the log ended.
    pub async fn catch_up(&self) -> Result<u64, No> {
        let head = self.head().await?;
        self.app().shows(head).await;
        Ok(head)
    }
}
