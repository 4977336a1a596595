//! What can be downloaded, as a value: a path and its query say one, and one says its path.

use cody_events::digest::Sha256;
use cody_events::ids::{JobId, TargetNumber, ThreadNumber};

/// One download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Download {
    /// The latest patch of a target, or the one with this hash.
    Patch {
        job: JobId,
        target: TargetNumber,
        diff: Option<Sha256>,
    },
    /// All patches of a job, and its report.
    Archive {
        job: JobId,
    },
    /// The events of a job after a version.
    Events {
        job: JobId,
        after: u64,
        payloads: bool,
    },
    /// The conversations about a target, or one of them.
    ThreadMarkdown {
        job: JobId,
        target: TargetNumber,
        thread: Option<ThreadNumber>,
    },
    ThreadJson {
        job: JobId,
        target: TargetNumber,
        thread: Option<ThreadNumber>,
    },
    Report {
        job: JobId,
    },
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub download: Download,
    /// The secret of a link, instead of a token.
    pub link: Option<String>,
}

/// What a request asks for is nothing that could be there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    #[error("no job, and no part of one, has this address; write ids in full, as lists give them")]
    NoSuchPath,
    #[error("`{0}` is no parameter here, or not in this form; leave it out, or correct it")]
    Parameter(String),
}

/// The paths that the door answers, as axum writes them.
pub const ROUTES: [&str; 6] = [
    "/jobs/{job}/targets/{target}/diff.patch",
    "/jobs/{job}/targets/{target}/thread.md",
    "/jobs/{job}/targets/{target}/thread.json",
    "/jobs/{job}/diffs.tar.gz",
    "/jobs/{job}/events.ndjson",
    "/jobs/{job}/report.md",
];

impl Download {
    /// The job that it is of.
    pub fn job(&self) -> JobId {
        match self {
            Self::Patch { job, .. }
            | Self::Archive { job }
            | Self::Events { job, .. }
            | Self::ThreadMarkdown { job, .. }
            | Self::ThreadJson { job, .. }
            | Self::Report { job } => *job,
        }
    }

    /// Its path, with the query if it has one.
    pub fn path(&self) -> String {
        let thread_query = |thread: &Option<ThreadNumber>| {
            thread.map_or_else(String::new, |thread| format!("?thread={thread}"))
        };
        match self {
            Self::Patch { job, target, diff } => {
                let query = diff.map_or_else(String::new, |diff| format!("?diff={diff}"));
                format!("/jobs/{job}/targets/{target}/diff.patch{query}")
            }
            Self::Archive { job } => format!("/jobs/{job}/diffs.tar.gz"),
            Self::Events { job, after, payloads } => {
                let after = (*after > 0).then(|| format!("after={after}"));
                let payloads = (!payloads).then(|| "payloads=false".to_owned());
                let query: Vec<String> = after.into_iter().chain(payloads).collect();
                let mark = if query.is_empty() { "" } else { "?" };
                format!("/jobs/{job}/events.ndjson{mark}{}", query.join("&"))
            }
            Self::ThreadMarkdown { job, target, thread } => {
                format!("/jobs/{job}/targets/{target}/thread.md{}", thread_query(thread))
            }
            Self::ThreadJson { job, target, thread } => {
                format!("/jobs/{job}/targets/{target}/thread.json{}", thread_query(thread))
            }
            Self::Report { job } => format!("/jobs/{job}/report.md"),
        }
    }

    /// The kind of its content.
    pub fn content_type(&self) -> &'static str {
        match self {
            // What a repository holds may be in any encoding.
            Self::Patch { .. } => "text/x-patch",
            Self::Archive { .. } => "application/gzip",
            Self::Events { .. } => "application/x-ndjson",
            Self::ThreadMarkdown { .. } | Self::Report { .. } => "text/markdown; charset=utf-8",
            Self::ThreadJson { .. } => "application/json",
        }
    }
}

impl Asked {
    /// What `path` and `query` ask for.
    pub fn parse(path: &str, query: &str) -> Result<Self, BadRequest> {
        let mut link = None;
        let mut parameters = Vec::new();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "link" if link.is_none() => link = Some(value.into_owned()),
                _ => parameters.push((name.into_owned(), value.into_owned())),
            }
        }
        let parts: Vec<&str> = path.split('/').collect();
        let download = match parts.as_slice() {
            ["", "jobs", job, "targets", target, part] => {
                let (job, target) = (parse_job(job)?, parse_number(target)?);
                of_target(job, TargetNumber(target), part, &parameters)?
            }
            ["", "jobs", job, part] => of_job(parse_job(job)?, part, &parameters)?,
            _ => return Err(BadRequest::NoSuchPath),
        };
        Ok(Self { download, link })
    }
}

fn of_target(
    job: JobId,
    target: TargetNumber,
    part: &str,
    parameters: &[(String, String)],
) -> Result<Download, BadRequest> {
    let thread = || -> Result<Option<ThreadNumber>, BadRequest> {
        let number = only(parameters, "thread", |text| text.parse().ok())?;
        Ok(number.map(ThreadNumber))
    };
    match part {
        "diff.patch" => {
            let diff = only(parameters, "diff", |text| text.parse().ok())?;
            Ok(Download::Patch { job, target, diff })
        }
        "thread.md" => Ok(Download::ThreadMarkdown { job, target, thread: thread()? }),
        "thread.json" => Ok(Download::ThreadJson { job, target, thread: thread()? }),
        _ => Err(BadRequest::NoSuchPath),
    }
}

fn of_job(job: JobId, part: &str, parameters: &[(String, String)]) -> Result<Download, BadRequest> {
    let bad = |(name, _): &(String, String)| BadRequest::Parameter(name.clone());
    let none = || parameters.first().map_or(Ok(()), |first| Err(bad(first)));
    match part {
        "diffs.tar.gz" => none().map(|()| Download::Archive { job }),
        "report.md" => none().map(|()| Download::Report { job }),
        "events.ndjson" => {
            let (mut after, mut payloads) = (None, None);
            for one @ (name, value) in parameters {
                match name.as_str() {
                    "after" if after.is_none() => {
                        after = Some(value.parse().map_err(|_| bad(one))?);
                    }
                    "payloads" if payloads.is_none() => {
                        payloads = Some(value.parse().map_err(|_| bad(one))?);
                    }
                    _ => return Err(bad(one)),
                }
            }
            let (after, payloads) = (after.unwrap_or(0), payloads.unwrap_or(true));
            Ok(Download::Events { job, after, payloads })
        }
        _ => Err(BadRequest::NoSuchPath),
    }
}

/// The value of the one parameter that there may be.
fn only<T>(
    parameters: &[(String, String)],
    known: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, BadRequest> {
    match parameters {
        [] => Ok(None),
        [(name, value)] if name == known => {
            read(value).map(Some).ok_or_else(|| BadRequest::Parameter(name.clone()))
        }
        [(name, _), ..] => Err(BadRequest::Parameter(name.clone())),
    }
}

/// An id as this program writes it, so that one thing has one address.
fn parse_job(text: &str) -> Result<JobId, BadRequest> {
    let id: Option<JobId> = text.parse().ok();
    id.filter(|id| id.to_string() == text).ok_or(BadRequest::NoSuchPath)
}

fn parse_number(text: &str) -> Result<u32, BadRequest> {
    let number: Option<u32> = text.parse().ok();
    number.filter(|number| number.to_string() == text).ok_or(BadRequest::NoSuchPath)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn parse(path: &str) -> Result<Asked, BadRequest> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        Asked::parse(path, query)
    }

    #[test]
    fn a_path_says_the_download_that_says_the_path() {
        let (job, target) = (JobId(Uuid::from_u128(7)), TargetNumber(3));
        for download in [
            Download::Patch { job, target, diff: None },
            Download::Patch { job, target, diff: Some(Sha256::of(b"x")) },
            Download::Archive { job },
            Download::Events { job, after: 0, payloads: true },
            Download::Events { job, after: 9, payloads: true },
            Download::Events { job, after: 9, payloads: false },
            Download::ThreadMarkdown { job, target, thread: None },
            Download::ThreadMarkdown { job, target, thread: Some(ThreadNumber(2)) },
            Download::ThreadJson { job, target, thread: None },
            Download::Report { job },
        ] {
            let asked = Asked { download: download.clone(), link: None };
            assert_eq!(parse(&download.path()), Ok(asked), "{}", download.path());
            let separator = if download.path().contains('?') { '&' } else { '?' };
            let link = parse(&format!("{}{separator}link=abc", download.path()));
            assert_eq!(link, Ok(Asked { download, link: Some("abc".to_owned()) }));
        }
    }

    #[test]
    fn what_is_not_in_its_form_is_refused() {
        let id = "00000000-0000-0000-0000-00000000000a";
        for path in [
            format!("/jobs/{}/report.md", id.to_uppercase()),
            format!("/jobs/{}/report.md", id.replace('-', "")),
            format!("/jobs/{id}/targets/01/diff.patch"),
            format!("/jobs/{id}/targets/+1/diff.patch"),
            format!("/jobs/{id}/targets/-1/diff.patch"),
            format!("/jobs/{id}/secrets"),
            "/jobs/../report.md".to_owned(),
        ] {
            assert_eq!(parse(&path), Err(BadRequest::NoSuchPath), "{path}");
        }
        for query in ["after=x", "after=1&after=2", "payloads=no", "diff=1", "link=a&link=b"] {
            let asked = parse(&format!("/jobs/{id}/events.ndjson?{query}"));
            assert!(matches!(asked, Err(BadRequest::Parameter(_))), "{query}");
        }
        for path in
            ["diffs.tar.gz?x=1", "targets/1/diff.patch?diff=12", "targets/1/thread.md?thread=a"]
        {
            let asked = parse(&format!("/jobs/{id}/{path}"));
            assert!(matches!(asked, Err(BadRequest::Parameter(_))), "{path}");
        }
    }
}
