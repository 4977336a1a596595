//! A job's events as they were logged, one JSON envelope a line: what `events --json` prints.

use cody_events::ids::JobId;

use super::DownloadError;
use super::outlet::Outlet;
use crate::api::reading::PAGE;
use crate::app::{App, AppError};

/// Which events of a job, and how much of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extract {
    pub job: JobId,
    /// Those with a higher version.
    pub after: u64,
    /// Those up to this version.
    pub until: u64,
    /// Whether their payloads are read; else each is null.
    pub payloads: bool,
}

/// Writes the events of `extract`, a page and a payload at a time.
pub async fn write(app: &App, extract: Extract, out: &mut dyn Outlet) -> Result<(), DownloadError> {
    let stream = extract.job.stream();
    let mut after = extract.after;
    while after < extract.until {
        let left = usize::try_from(extract.until - after).unwrap_or(PAGE).min(PAGE);
        let page = app.log().read_stream(&stream, after + 1, left).await.map_err(AppError::from)?;
        let Some(last) = page.last() else { break };
        after = last.version;
        for recorded in &page {
            let payload = match recorded.payload_len {
                Some(_) if extract.payloads => app.payload(recorded.position).await?,
                Some(_) | None => None,
            };
            let mut line = recorded.to_json(payload.as_deref())?;
            line.push('\n');
            out.put(line.as_bytes()).await.map_err(DownloadError::Write)?;
        }
    }
    Ok(())
}

/// The version of the last event of `job`, which has at least `known` of them.
pub async fn end(app: &App, job: JobId, known: u64) -> Result<u64, DownloadError> {
    let stream = job.stream();
    let has = async |version: u64| -> Result<bool, AppError> {
        Ok(!app.log().read_stream(&stream, version, 1).await?.is_empty())
    };
    let (mut there, mut step) = (known, 1);
    // Views are behind by little, if at all: nearly always the first question is the last.
    while has(there + step).await? {
        there += step;
        step *= 2;
    }
    while step > 1 {
        step /= 2;
        if has(there + step).await? {
            there += step;
        }
    }
    Ok(there)
}
