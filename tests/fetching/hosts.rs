//! Which host is asked, and who gets the token.

use std::io::Read as _;
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cody_batch::git::{BadLocator, GitError, Locator, fetch, resolve};
use secrecy::SecretString;

use super::origin::{LIMITS, Origin, vouched};
use super::server::{At, Fault};

const TOKEN: &str = "github_pat_CANARY0123456789";

fn token() -> SecretString {
    TOKEN.into()
}

/// Somebody else's host: counts who comes, keeps what they say, answers nothing.
pub struct Stranger {
    pub address: String,
    visits: Arc<AtomicUsize>,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Stranger {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (visits, heard) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (count, ears) = (Arc::clone(&visits), Arc::clone(&heard));
        std::thread::spawn(move || {
            for mut visitor in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::SeqCst);
                let mut said = [0; 4096];
                let _ = visitor.set_read_timeout(Some(Duration::from_millis(200)));
                let read = visitor.read(&mut said).unwrap_or(0);
                ears.lock().unwrap().extend(&said[..read]);
            }
        });
        Self { address, visits, heard }
    }

    pub fn visits(&self) -> usize {
        self.visits.load(Ordering::SeqCst)
    }
}

#[test]
fn a_host_that_is_not_allowed_is_never_asked() {
    let stranger = Stranger::new();
    for scheme in ["http", "https"] {
        let url = format!("{scheme}://{}/acme/app", stranger.address);
        let error = Locator::parse(&url, &["github.com".to_owned()]).unwrap_err();
        assert!(matches!(error, BadLocator::HostNotAllowed { .. }), "{error}");
        assert_eq!(
            error.to_string(),
            format!("the host `{}` is not allowed; allowed are: github.com", stranger.address)
        );
    }
    assert_eq!(stranger.visits(), 0);
}

#[test]
fn plain_http_is_for_this_machine_alone() {
    for host in ["10.0.0.1:80", "host.example", "127.0.0.1.example", "[2001:db8::1]:3000"] {
        let url = format!("http://{host}/acme/app");
        let error = Locator::parse(&url, &[host.to_owned()]).unwrap_err();
        assert!(matches!(error, BadLocator::Malformed { .. }), "{host}: {error}");
    }
    for host in ["127.0.0.1:3000", "localhost:3000", "[::1]:3000"] {
        let url = format!("http://{host}/acme/app");
        assert!(Locator::parse(&url, &[host.to_owned()]).is_ok(), "{host}");
    }
}

#[test]
fn a_server_that_is_down_may_be_back_later() {
    let origin = Origin::new();
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let locator =
        Locator::parse(&format!("http://{closed}/acme/app"), std::slice::from_ref(&closed))
            .unwrap();
    let before = Instant::now();
    let error = resolve(&locator, None, None).unwrap_err();
    assert!(before.elapsed() < Duration::from_secs(5));
    assert!(matches!(error, GitError::Network { .. }) && error.is_transient(), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");

    // It goes down between the question and the fetch.
    let (resolved, locator) = (origin.resolve(None).unwrap(), origin.locator());
    let Origin { server, caches, .. } = origin;
    drop(server);
    let error = fetch(&locator, None, &resolved, &caches, &LIMITS).unwrap_err();
    assert!(error.is_transient(), "{error}");
}

#[test]
fn a_redirect_is_reported_and_not_followed() {
    let stranger = Stranger::new();
    let origin = Origin::new();
    origin.server.require(TOKEN);
    let place = format!("http://user:pw@{}/new/home.git", stranger.address);
    for at in [At::Refs, At::Want] {
        let resolved = resolve(&origin.locator(), Some(&token()), None).unwrap();
        let to = match at {
            At::Refs => format!("{place}/info/refs?service=git-upload-pack"),
            At::Want | At::Pack => format!("{place}/git-upload-pack"),
        };
        origin.server.spoil(at, Fault::Redirect(to));
        let error = fetch(&origin.locator(), Some(&token()), &resolved, &origin.caches, &LIMITS)
            .unwrap_err();
        let home = format!("http://{}/new/home", stranger.address);
        assert_eq!(
            error.to_string(),
            format!("acme/app: the host says that it is now at {home}; name it there instead")
        );
    }
    // When branches are asked for, too.
    origin.server.spoil(At::Refs, Fault::Redirect(format!("{place}/info/refs")));
    let error = resolve(&origin.locator(), Some(&token()), None).unwrap_err();
    assert!(matches!(error, GitError::Moved { .. }), "{error}");
    // Not even to another place on the same host.
    origin.server.spoil(At::Refs, Fault::Redirect("/acme/other.git/info/refs".to_owned()));
    let asked = origin.server.seen().len();
    let error = resolve(&origin.locator(), Some(&token()), None).unwrap_err();
    assert!(error.to_string().contains("/acme/other;"), "{error}");
    assert!(origin.server.seen()[asked..].iter().all(|seen| !seen.target.contains("other")));
    assert_eq!((stranger.visits(), stranger.heard.lock().unwrap().len()), (0, 0));
}

#[test]
fn the_right_token_opens_a_private_repository() {
    let origin = Origin::new();
    origin.server.require(TOKEN);
    let (resolved, pack) = origin.pin(None, Some(&token())).unwrap();
    assert_eq!(vouched(&pack, resolved.commit), [1, 2, 2]);
    // It is shown only once it is asked for, and nothing on disk has it.
    let seen = origin.server.seen();
    assert_eq!(seen[0].authorization, None);
    assert!(seen[1].authorization.as_ref().unwrap().starts_with("Basic "));
    let found = std::process::Command::new("grep")
        .args(["-rl", TOKEN])
        .arg(origin.room.path().join("data"))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
}

#[test]
fn a_public_repository_is_read_without_the_token() {
    let origin = Origin::new();
    origin.pin(None, Some(&token())).unwrap();
    assert!(origin.server.seen().iter().all(|seen| seen.authorization.is_none()));
}

#[test]
fn a_wrong_token_is_tried_once_and_not_repeated_to_anyone() {
    let origin = Origin::new();
    origin.server.require("another");
    let error = origin.pin(None, Some(&token())).unwrap_err();
    assert_eq!(
        error.to_string(),
        "acme/app: the host refused the token; check that it is valid and what it may read"
    );
    assert!(!error.is_transient());
    assert!(!format!("{error:?}").contains("CANARY"));
    let shown = origin.server.seen().iter().filter(|seen| seen.authorization.is_some()).count();
    assert_eq!(shown, 1);
    // A host that says no without a question, as GitHub does where an organisation wants more.
    origin.server.spoil(At::Refs, Fault::Status(403));
    origin.server.require(TOKEN);
    let error = origin.pin(None, Some(&token())).unwrap_err();
    assert!(matches!(error, GitError::Authentication { .. }), "{error}");
}

#[test]
fn a_private_repository_without_a_token_says_what_to_set() {
    let origin = Origin::new();
    origin.server.require(TOKEN);
    let error = origin.pin(None, None).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "acme/app: no such repository, or one that wants a token; set CODY_GITHUB_TOKEN (or \
             GITHUB_TOKEN) to one that may read it, with CODY_TOKEN_HOST={}",
            origin.server.host()
        )
    );
}

#[test]
fn what_a_host_says_with_a_token_in_it_is_not_passed_on() {
    let origin = Origin::new();
    origin.server.require(TOKEN);
    let resolved = resolve(&origin.locator(), Some(&token()), None).unwrap();
    let said = format!("ERR no {TOKEN}\u{1b}[2J here\n");
    let packet = format!("{:04x}{said}", said.len() + 4);
    let refs = format!("001e# service=git-upload-pack\n0000{packet}0000");
    origin.server.spoil(At::Refs, Fault::Say(refs.into_bytes()));
    origin.server.spoil(At::Want, Fault::Say(packet.into_bytes()));
    let error = resolve(&origin.locator(), Some(&token()), None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "acme/app: the host does not serve it as git: it says: no …[2J here; check the address"
    );
    let error =
        fetch(&origin.locator(), Some(&token()), &resolved, &origin.caches, &LIMITS).unwrap_err();
    assert!(matches!(error, GitError::Damaged { .. }), "{error}");
    assert!(!error.to_string().contains(TOKEN), "{error}");
    origin.server.spoil(At::Refs, Fault::Redirect(format!("/new/{TOKEN}")));
    let error = resolve(&origin.locator(), Some(&token()), None).unwrap_err();
    assert!(!error.to_string().contains(TOKEN), "{error}");
}
