//! Names of repositories: `owner/name`, an https URL, or a local path. Read here once, into one
//! form, so that two spellings of the same repository are seen to be the same.

use std::path::{Path, PathBuf};

use cody_events::job::TargetKind;
use url::{Host, Url};

use super::settings::isolate;

/// The host of `owner/name`.
const GITHUB: &str = "github.com";

/// Where a repository is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Locator {
    /// On a host, by URL.
    Remote { url: Url, host: String, path: String },
    /// On this machine.
    Local { path: PathBuf },
}

/// Why a text names no repository that may be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadLocator {
    #[error("`{text}` names no repository: {why}")]
    Malformed { text: String, why: &'static str },
    #[error("the host `{host}` is not allowed; allowed are: {}", allowed.join(", "))]
    HostNotAllowed { host: String, allowed: Vec<String> },
    #[error("there is nothing at `{}`", .0.display())]
    NoSuchPath(PathBuf),
    #[error("`{}` is no git repository", .0.display())]
    NotARepository(PathBuf),
}

impl Locator {
    /// Reads `text`; `allowed` are the hosts that may be asked, with a port where it is not the usual.
    pub fn parse(text: &str, allowed: &[String]) -> Result<Self, BadLocator> {
        let text = text.trim();
        let bad = |why| BadLocator::Malformed { text: shown(text), why };
        if text.is_empty() {
            return Err(bad("it is empty"));
        }
        if text.contains("://") {
            return Self::parse_url(text, allowed);
        }
        if text.starts_with(['/', '.', '~']) {
            return Self::parse_path(text);
        }
        let parts: Vec<&str> = text.trim_end_matches('/').split('/').collect();
        match parts.as_slice() {
            [owner, name] if is_name(owner) && is_name(name) => {
                Self::parse_url(&format!("https://{GITHUB}/{owner}/{name}"), allowed)
            }
            _ => Err(bad("expected owner/name, an https URL, or a path that starts with / or .")),
        }
    }

    fn parse_url(text: &str, allowed: &[String]) -> Result<Self, BadLocator> {
        let bad = |why| BadLocator::Malformed { text: shown(text), why };
        let mut url = Url::parse(text).map_err(|_| bad("it is no URL"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad("a URL carries no user name or password; configure a token instead"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(bad("a URL carries no query and no fragment"));
        }
        let name = url.host_str().unwrap_or_default().to_lowercase();
        let host = match url.port() {
            Some(port) => format!("{name}:{port}"),
            None => name,
        };
        let is_loopback = match url.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        };
        let is_allowed = allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(&host));
        match url.scheme() {
            "https" => {}
            "http" if is_loopback => {}
            _ => return Err(bad("only https is spoken, and http with this machine itself")),
        }
        if !is_allowed {
            return Err(BadLocator::HostNotAllowed { host, allowed: allowed.to_vec() });
        }
        let path = url.path().trim_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path).to_owned();
        if path.is_empty() || !path.split('/').all(is_name) {
            return Err(bad("its path is no owner/name"));
        }
        if url.host_str() == Some(GITHUB) && path.split('/').count() != 2 {
            return Err(bad("on github.com a repository is owner/name"));
        }
        url.set_path(&format!("{path}.git"));
        Ok(Self::Remote { url, host, path })
    }

    fn parse_path(text: &str) -> Result<Self, BadLocator> {
        let given = match text.strip_prefix("~/") {
            Some(_) => {
                return Err(BadLocator::Malformed {
                    text: shown(text),
                    why: "`~` is the shell's; write the whole path",
                });
            }
            None => PathBuf::from(text),
        };
        let path = given.canonicalize().map_err(|_| BadLocator::NoSuchPath(given.clone()))?;
        Ok(Self::Local { path })
    }

    /// Looks whether a local path holds a repository. Remote ones are asked when they are fetched.
    pub fn check(&self) -> Result<(), BadLocator> {
        match self {
            Self::Remote { .. } => Ok(()),
            Self::Local { path } => match isolate().map(|()| git2::Repository::open(path)) {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(_)) | Err(_) => Err(BadLocator::NotARepository(path.clone())),
            },
        }
    }

    /// What two spellings of one repository have in common.
    pub fn identity(&self) -> String {
        match self {
            Self::Remote { host, path, .. } => format!("{host}/{}", path.to_lowercase()),
            Self::Local { path } => path.display().to_string(),
        }
    }

    /// `owner/name`, or the last component of a local path.
    pub fn display_name(&self) -> String {
        match self {
            Self::Remote { path, .. } => path.clone(),
            Self::Local { path } => path.file_name().map_or_else(
                || "repository".to_owned(),
                |name| name.to_string_lossy().into_owned(),
            ),
        }
    }

    /// The form that the log keeps, and that reads back as the same.
    pub fn normalised(&self) -> String {
        match self {
            Self::Remote { host, path, .. } if host == GITHUB => path.clone(),
            Self::Remote { url, .. } => url.to_string(),
            Self::Local { path } => path.display().to_string(),
        }
    }

    /// What kind of place it is.
    pub fn kind(&self) -> TargetKind {
        match self {
            Self::Remote { host, .. } if host == GITHUB => TargetKind::Github,
            Self::Remote { .. } => TargetKind::Url,
            Self::Local { .. } => TargetKind::Local,
        }
    }

    /// The host, with its port if that is not the usual one; nothing for a local path.
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::Remote { host, .. } => Some(host),
            Self::Local { .. } => None,
        }
    }

    /// The local path, if it is one.
    pub fn local_path(&self) -> Option<&Path> {
        match self {
            Self::Remote { .. } => None,
            Self::Local { path } => Some(path),
        }
    }
}

/// A name as GitHub allows it.
fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 100
        && text != "."
        && text != ".."
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// A text for an error message: short, and without what may be a password.
fn shown(text: &str) -> String {
    let text: String = text.chars().take(200).collect();
    match (text.find("://"), text.find('@')) {
        (Some(scheme), Some(at)) if scheme < at => {
            format!("{}://…{}", &text[..scheme], &text[at..])
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed() -> Vec<String> {
        vec!["github.com".to_owned(), "127.0.0.1:3000".to_owned()]
    }

    #[test]
    fn spellings_of_one_repository_have_one_identity() {
        for text in [
            "Acme/App",
            "acme/app/",
            "https://github.com/acme/app",
            "https://GitHub.com/acme/app.git",
            "https://github.com/ACME/app/",
        ] {
            let locator = Locator::parse(text, &allowed()).unwrap();
            assert_eq!(locator.identity(), "github.com/acme/app", "{text}");
            assert_eq!(Locator::parse(&locator.normalised(), &allowed()), Ok(locator));
        }
    }

    #[test]
    fn what_is_no_repository_is_refused() {
        for text in [
            "",
            "acme",
            "a/b/c",
            "ssh://github.com/a/b",
            "file:///etc",
            "https://user:secret@github.com/a/b",
            "https://github.com/a/b?x=1",
            "https://github.com/a",
            "http://github.com/a/b",
            "~/repo",
            "-oProxyCommand=x/y z",
        ] {
            let error = Locator::parse(text, &allowed()).unwrap_err();
            assert!(matches!(error, BadLocator::Malformed { .. }), "{text}: {error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        for text in [
            "https://evil.example/a/b",
            "https://10.0.0.1/a/b",
            "https://127.0.0.1/a/b",
            "http://127.0.0.1:3001/a/b",
        ] {
            let error = Locator::parse(text, &allowed()).unwrap_err();
            assert!(matches!(error, BadLocator::HostNotAllowed { .. }), "{text}: {error}");
        }
        assert!(Locator::parse("http://127.0.0.1:3000/a/b.git", &allowed()).is_ok());
        let missing = Locator::parse("/no/such/place", &allowed()).unwrap_err();
        assert!(matches!(missing, BadLocator::NoSuchPath(_)));
    }
}
