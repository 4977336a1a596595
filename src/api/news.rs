//! Tells those who follow one job that something happened to it, and nobody else: one reader of the log
//! stands in for all of them. It passes on no events, so it holds none, and nothing piles up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cody_events::ids::JobId;
use tokio::sync::{OnceCell, watch};
use tokio::task::AbortHandle;

use crate::app::App;
use crate::store::{Cursor, LogError, Subscription};

/// How long a log that cannot be read is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// Who waits for which job.
type Waiting = Mutex<BTreeMap<JobId, watch::Sender<u64>>>;

/// The one reader, which begins with the first follower and ends with this.
pub struct News {
    app: Arc<App>,
    waiting: Arc<Waiting>,
    reader: OnceCell<AbortHandle>,
}

impl std::fmt::Debug for News {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("News").finish_non_exhaustive()
    }
}

impl Drop for News {
    fn drop(&mut self) {
        if let Some(reader) = self.reader.get() {
            reader.abort();
        }
    }
}

impl News {
    /// News of the log of `app`.
    pub fn new(app: Arc<App>) -> Self {
        Self { app, waiting: Arc::default(), reader: OnceCell::new() }
    }

    /// Changes after anything happens to `job` from now on; sometimes for what happened just before.
    pub async fn of(&self, job: JobId) -> Result<watch::Receiver<u64>, LogError> {
        let news = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            // Whoever went away is known by nobody listening.
            waiting.retain(|_, sender| sender.receiver_count() > 0);
            waiting.entry(job).or_insert_with(|| watch::Sender::new(0)).subscribe()
        };
        self.reader.get_or_try_init(|| self.begin()).await?;
        Ok(news)
    }

    async fn begin(&self) -> Result<AbortHandle, LogError> {
        let log = self.app.log();
        let followed = log.subscribe(Cursor::after(log.head().await?.position));
        let reader = tell(Arc::clone(&self.app), followed, Arc::clone(&self.waiting));
        Ok(tokio::spawn(reader).abort_handle())
    }
}

async fn tell(app: Arc<App>, mut followed: Subscription, waiting: Arc<Waiting>) {
    loop {
        let page = match followed.next_page().await {
            Ok(page) => page,
            Err(error) => {
                // Nothing is lost: the next page begins where this one should have.
                tracing::debug!(%error, "news of jobs wait for the log");
                app.clock().sleep(PAUSE).await;
                continue;
            }
        };
        let waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for event in &page {
            let job = JobId::from_stream(&event.stream);
            if let Some(sender) = job.and_then(|job| waiting.get(&job)) {
                sender.send_replace(event.position);
            }
        }
    }
}
