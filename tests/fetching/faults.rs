//! Hosts that are slow, broken, or something else than git: a clear word, in time, and no half pack.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use cody_batch::git::{FetchLimits, GitError, fetch};

use super::origin::{LIMITS, Origin, noise, vouched};
use super::server::{At, Fault};
use super::settings::child;

/// A repository whose pack is some 200 kB.
fn origin() -> Origin {
    let origin = Origin::new();
    std::fs::write(origin.app.join("noise.bin"), noise(200_000)).unwrap();
    origin.commit("README.md", "large\n", "large");
    origin
}

/// Fetches from a host that spoils the pack, checks that nothing is left, that the next fetch works,
/// and hands the error out.
fn fetched_with(fault: Fault, limits: &FetchLimits) -> GitError {
    let origin = origin();
    let resolved = origin.resolve(None).unwrap();
    origin.server.spoil(At::Pack, fault);
    let error = fetch(&origin.locator(), None, &resolved, &origin.caches, limits).unwrap_err();
    assert_eq!(origin.pack_files(), Vec::<String>::new(), "after {error}");
    let (resolved, pack) = origin.pin(None, None).unwrap();
    assert_eq!(vouched(&pack, resolved.commit), [1, 2, 3]);
    error
}

#[test]
fn a_stall_ends_at_the_deadline() {
    let limits = FetchLimits { duration: Duration::from_millis(700), ..LIMITS };
    let before = Instant::now();
    let error = fetched_with(Fault::Stall(100_000), &limits);
    assert!(before.elapsed() < Duration::from_secs(10), "{:?}", before.elapsed());
    assert_eq!(
        error.to_string(),
        "acme/app: the host is too slow for the limit of 700 ms; raise `fetch_timeout_ms` in \
         config.toml to allow it"
    );
}

#[test]
fn a_host_that_is_never_quite_silent_ends_at_the_deadline_too() {
    let limits = FetchLimits { duration: Duration::from_millis(700), ..LIMITS };
    let before = Instant::now();
    let error = fetched_with(Fault::Dribble(Duration::from_millis(20)), &limits);
    assert!(before.elapsed() < Duration::from_secs(10), "{:?}", before.elapsed());
    assert!(matches!(error, GitError::TooSlow { .. }), "{error}");
}

#[test]
fn a_truncated_pack_is_damaged_wherever_it_ends() {
    for at in [0, 3, 50, 60, 5_000, 150_000] {
        let error = fetched_with(Fault::Truncate(at), &LIMITS);
        assert!(matches!(error, GitError::Damaged { .. }), "{at}: {error}");
        assert!(error.is_transient());
    }
}

#[test]
fn a_broken_connection_may_be_whole_next_time() {
    for at in [0, 60, 150_000] {
        let error = fetched_with(Fault::Cut(at), &LIMITS);
        assert!(matches!(error, GitError::Network { .. }), "{at}: {error}");
    }
}

#[test]
fn a_corrupt_pack_is_damaged_wherever_it_is() {
    // In the pack's first word, its version, its count, its first object and the large one.
    for at in [1, 7, 11, 14, 40, 100_000] {
        let error = fetched_with(Fault::Corrupt(at), &LIMITS);
        assert!(matches!(error, GitError::Damaged { .. }), "{at}: {error}");
        assert!(error.to_string().contains("damaged ("), "{error}");
    }
}

#[test]
fn more_bytes_than_allowed_are_not_taken() {
    let limits = FetchLimits { bytes: 100_000, ..LIMITS };
    let origin = origin();
    let resolved = origin.resolve(None).unwrap();
    let error = fetch(&origin.locator(), None, &resolved, &origin.caches, &limits).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the repository is too large: its fetch takes more than 100000 bytes; raise the limit in \
         config.toml to allow it"
    );
    assert_eq!(origin.pack_files(), Vec::<String>::new());
}

#[test]
fn what_is_no_git_is_called_so() {
    for at in [At::Refs, At::Want] {
        for (fault, is_transient) in [
            (Fault::Page, false),
            (Fault::Status(418), false),
            (Fault::Status(500), true),
            (Fault::Status(503), true),
            (Fault::Status(429), true),
        ] {
            let origin = origin();
            let resolved = origin.resolve(None).unwrap();
            origin.server.spoil(at, fault.clone());
            let error = origin.fetch(&resolved).unwrap_err();
            assert_eq!(error.is_transient(), is_transient, "{fault:?}: {error}");
            match &error {
                GitError::NotGit { .. } => assert!(!is_transient),
                GitError::Network { what, .. } => assert!(what.contains("it answered"), "{what}"),
                other => panic!("{fault:?}: {other}"),
            }
        }
    }
}

#[test]
fn an_answer_that_is_garbage_or_cut_is_damaged() {
    for fault in [Fault::Truncate(0), Fault::Truncate(100), Fault::Corrupt(65)] {
        let origin = origin();
        origin.server.spoil(At::Refs, fault.clone());
        let error = origin.resolve(None).unwrap_err();
        assert!(matches!(error, GitError::Damaged { .. }), "{fault:?}: {error}");
        assert!(origin.resolve(None).is_ok());
    }
}

#[test]
fn a_number_in_a_name_is_no_status() {
    // `401`, `403` and `404` once decided, wherever in a message they stood.
    let origin = Origin::empty();
    let locator = origin.locator_of("acme/app404");
    origin.server.spoil(At::Refs, Fault::Status(500));
    let error = cody_batch::git::resolve(&locator, None, None).unwrap_err();
    assert!(matches!(error, GitError::Network { .. }), "{error}");
}

#[test]
fn what_a_killed_fetch_left_is_swept() {
    let origin = origin();
    let resolved = origin.resolve(None).unwrap();
    origin.server.spoil(At::Pack, Fault::Truncate(5_000));
    origin.fetch(&resolved).unwrap_err();
    let cache = cache_of(&origin);
    std::fs::create_dir_all(cache.join("refs/cody-batch")).unwrap();
    for left in ["objects/pack/pack_git2_left", "refs/cody-batch/fetched.lock", "shallow.lock"] {
        std::fs::write(cache.join(left), b"half").unwrap();
    }
    origin.fetch(&resolved).unwrap();
    let left = origin.pack_files();
    assert!(left.len() == 2 && !left.iter().any(|name| name.contains("left")), "{left:?}");
}

#[test]
fn trouble_on_this_machine_is_not_blamed_on_the_host() {
    let origin = origin();
    origin.server.require("a-token");
    // No file may grow past 50 kB there, as on a full disk.
    let small = "trap '' XFSZ; ulimit -f 100; exec \"$0\" \"$@\"";
    let output = child(&origin, &["sh", "-c", small]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("Err` value: Git(") && said.contains("File too large"), "{said}");
    assert_eq!(origin.pack_files(), Vec::<String>::new());
}

/// The one cache below the caches.
fn cache_of(origin: &Origin) -> PathBuf {
    std::fs::read_dir(&origin.caches)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.is_dir())
        .unwrap()
}
