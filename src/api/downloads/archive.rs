//! All patches of a job and its report in one `tar.gz`. The same stand of a job gives the same bytes:
//! no times, no owners, and one order.

use std::io;

use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};

use super::outlet::Outlet;
use super::{DownloadError, patch, report};
use crate::api::reading::ReadJob;
use crate::app::App;

/// The report's name in the archive.
const REPORT: &str = "report.md";

/// What is packed and not handed on yet is in memory: at most one file.
type Archive = tar::Builder<GzEncoder<Vec<u8>>>;

/// Writes the archive of `job`, a file at a time.
pub async fn write(app: &App, job: &ReadJob, out: &mut dyn Outlet) -> Result<(), DownloadError> {
    // A head without a time or a name.
    let packer = GzBuilder::new().mtime(0).write(Vec::new(), Compression::default());
    let mut archive = tar::Builder::new(packer);
    for (target, name) in patch::names_of(job) {
        let Some((position, _)) = job.diff_facts(target) else { continue };
        match patch::bytes(app, job.id, position).await {
            Ok(bytes) => archive = add(archive, name, bytes, out).await?,
            // The report says that it was.
            Err(DownloadError::Removed { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let mut text = Vec::new();
    report::write(app, job, &mut text).await?;
    archive = add(archive, REPORT.to_owned(), text, out).await?;
    let end = beside(move || archive.into_inner()?.finish()).await?;
    out.put(&end).await.map_err(DownloadError::Write)
}

/// Adds a file, and hands on what is packed by then.
async fn add(
    mut archive: Archive,
    name: String,
    bytes: Vec<u8>,
    out: &mut dyn Outlet,
) -> Result<Archive, DownloadError> {
    let (archive, packed) = beside(move || {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        archive.append_data(&mut header, name, bytes.as_slice())?;
        let packed = std::mem::take(archive.get_mut().get_mut());
        Ok((archive, packed))
    })
    .await?;
    out.put(&packed).await.map_err(DownloadError::Write)?;
    Ok(archive)
}

/// Runs `work` on a thread that may take its time.
async fn beside<R: Send + 'static>(
    work: impl FnOnce() -> io::Result<R> + Send + 'static,
) -> Result<R, DownloadError> {
    let done = tokio::task::spawn_blocking(work).await.map_err(io::Error::other);
    done.and_then(|done| done).map_err(DownloadError::Write)
}
