//! Patches and what their files are called.

use std::collections::{BTreeMap, BTreeSet};

use cody_events::diff::{DiffProduced, DiffProducedPayload};
use cody_events::ids::{JobId, TargetNumber};

use super::DownloadError;
use crate::api::reading::ReadJob;
use crate::app::App;

/// The most bytes that a name has before its ending; file systems end at 255.
const MAX_NAME_BYTES: usize = 200;

/// What is called how, for the targets of a job that have a patch: `<owner>-<name>.patch`, with a
/// number where two would be called the same.
pub fn names<'a>(
    targets: impl Iterator<Item = (TargetNumber, &'a str)>,
) -> BTreeMap<TargetNumber, String> {
    let mut taken = BTreeSet::new();
    let mut names = BTreeMap::new();
    for (number, repository) in targets {
        let name = plain(repository);
        let free = (1_u64..)
            .map(|times| match times {
                1 => format!("{name}.patch"),
                again => format!("{name}-{again}.patch"),
            })
            .find(|name| !taken.contains(name));
        if let Some(name) = free {
            taken.insert(name.clone());
            names.insert(number, name);
        }
    }
    names
}

/// The names of the patches that `job` has; none for an empty diff.
pub fn names_of(job: &ReadJob) -> BTreeMap<TargetNumber, String> {
    let has_patch = |number| job.diff_facts(number).is_some_and(|(_, facts)| facts.byte_count > 0);
    let targets = job.state.targets.values().filter(|target| has_patch(target.number));
    names(targets.map(|target| (target.number, target.repository.as_str())))
}

/// A repository's name as part of a file's: whoever named it had no files of ours in mind.
fn plain(repository: &str) -> String {
    let mut name = String::new();
    for c in repository.chars() {
        let c = match c {
            '/' => '-',
            '-' if name.is_empty() => '_',
            c if c.is_alphanumeric() || "._-+@=,~ ".contains(c) => c,
            _ => '_',
        };
        if name.len() + c.len_utf8() > MAX_NAME_BYTES {
            break;
        }
        name.push(c);
    }
    name
}

/// The bytes of the patch that stands at `position`.
pub async fn bytes(app: &App, job: JobId, position: u64) -> Result<Vec<u8>, DownloadError> {
    let payload: Option<DiffProducedPayload> = app.payload_of::<DiffProduced>(position).await?;
    let payload = payload.ok_or(DownloadError::Removed { job })?;
    payload.patch.bytes().map_err(|_| DownloadError::Damaged { job, position })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(repositories: &[&str]) -> Vec<String> {
        let targets = repositories.iter().zip(1..).map(|(name, n)| (TargetNumber(n), *name));
        names(targets).into_values().collect()
    }

    #[test]
    fn patches_are_called_after_their_repositories() {
        assert_eq!(
            named(&["acme/api", "acme/web", "acme/api"]),
            ["acme-api.patch", "acme-web.patch", "acme-api-2.patch"]
        );
        // A name that is itself the second of another.
        assert_eq!(named(&["a-2", "a", "a"]), ["a-2.patch", "a.patch", "a-3.patch"]);
    }

    #[test]
    fn no_name_leads_anywhere() {
        assert_eq!(
            named(&["../../etc/passwd", "-rf", "a\nb\"c;\\d", "\u{202e}x", "größe"]),
            ["..-..-etc-passwd.patch", "_rf.patch", "a_b_c__d.patch", "_x.patch", "größe.patch"]
        );
        let long = named(&["ß".repeat(500).as_str()]);
        assert_eq!(long[0].len(), MAX_NAME_BYTES + ".patch".len());
    }
}
