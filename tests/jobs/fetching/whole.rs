//! What comes, and what does not.

use cody_batch::git::{Base, GitError};
use cody_events::digest::ObjectId;

use super::world::{BUDGET, LIMITS, World, commit, files, run};
use crate::git_server::Fault;

#[tokio::test(flavor = "multi_thread")]
async fn the_tip_of_the_default_branch_comes_without_its_history() {
    let world = World::new().await;
    let app = world.offer_app();
    let (resolved, pack) = world.pin("acme/app").await.unwrap();
    assert_eq!(resolved.branch, "main");
    assert_eq!(resolved.commit.to_string(), run(&app, &["rev-parse", "HEAD"]));
    // One commit, one tree, one file; by the real git's reading, and it finds nothing wrong.
    let found = files(&pack.dir);
    let packed = found.iter().find(|path| path.extension().is_some_and(|e| e == "pack")).unwrap();
    let copy = world.dir.path().join("copy.pack");
    std::fs::copy(packed, &copy).unwrap();
    run(&app, &["index-pack", "--strict", copy.to_str().unwrap()]);
    let index = copy.with_extension("idx");
    let listed = run(&app, &["verify-pack", "-v", index.to_str().unwrap()]);
    let objects = listed.lines().filter(|line| line.len() > 40 && line.as_bytes()[40] == b' ');
    assert_eq!(objects.count(), 3, "{listed}");
    let base = Base::open(&pack.dir, resolved.commit).unwrap();
    let (path, entry) = base.entries().unwrap().pop_first().unwrap();
    assert_eq!(path.as_bytes(), b"file.txt");
    assert_eq!(base.content(entry.object).unwrap(), b"version 2\n".repeat(500));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_can_be_named() {
    let world = World::new().await;
    let app = world.offer_app();
    let (resolved, _) = world.pin_as("acme/app", Some("old"), None, LIMITS, BUDGET).await.unwrap();
    assert_eq!(resolved.commit.to_string(), run(&app, &["rev-parse", "HEAD~1"]));
    let missing = world.pin_as("acme/app", Some("new"), None, LIMITS, BUDGET).await;
    let missing = missing.unwrap_err().to_string();
    assert!(missing.starts_with("acme/app has no branch `new`;"), "{missing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_stays_when_its_branch_moves() {
    let world = World::new().await;
    let app = world.offer_app();
    let (first, first_pack) = world.pin("acme/app").await.unwrap();
    std::fs::write(app.join("file.txt"), "rewritten\n").unwrap();
    run(&app, &["add", "-A"]);
    run(&app, &["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "--amend", "-m", "x"]);
    let place = world.server.place("acme/app");
    run(&app, &["push", "-qf", place.to_str().unwrap(), "main"]);
    let (second, second_pack) = world.pin("acme/app").await.unwrap();
    assert_ne!((first.commit, first_pack.hash), (second.commit, second_pack.hash));
    let content = |commit: ObjectId, dir: &std::path::Path| {
        let base = Base::open(dir, commit).unwrap();
        let (_, entry) = base.entries().unwrap().pop_first().unwrap();
        base.content(entry.object).unwrap()
    };
    assert_eq!(content(first.commit, &first_pack.dir), b"version 2\n".repeat(500));
    assert_eq!(content(second.commit, &second_pack.dir), b"rewritten\n");
    // The new base is whole by itself: the old one's pack may go.
    std::fs::remove_dir_all(&first_pack.dir).unwrap();
    assert_eq!(content(second.commit, &second_pack.dir), b"rewritten\n");
    // What is there is not fetched again.
    let sent = world.server.sent_bytes();
    assert_eq!(world.pin("acme/app").await.unwrap(), (second, second_pack));
    assert_eq!(world.server.sent_bytes(), sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_said_so() {
    let world = World::new().await;
    world.offer_app();
    let error = world.pin("acme/none").await.unwrap_err();
    assert!(matches!(error, GitError::NotFound { .. }), "{error:?}");
    assert!(error.to_string().starts_with("acme/none: no such repository"), "{error}");
    let empty = world.dir.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    run(&empty, &["init", "-q", "-b", "main"]);
    world.server.offer(&empty, "acme/empty");
    let error = world.pin("acme/empty").await.unwrap_err();
    assert_eq!(error.to_string(), "acme/empty has no commit yet; push one first");
    world.server.fail(Fault::Status(503));
    let error = world.pin("acme/app").await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_away_may_be_back_later() {
    let world = World::new().await;
    let locator = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        cody_batch::git::Locator::parse(&format!("http://{host}/acme/app"), &[host]).unwrap()
    };
    let error = tokio::task::spawn_blocking(move || cody_batch::git::resolve(&locator, None, None))
        .await
        .unwrap()
        .unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    assert_eq!(world.server.request_count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_that_is_cut_short_or_damaged_leaves_nothing_and_can_be_fetched_again() {
    let world = World::new().await;
    let app = world.dir.path().join("app");
    std::fs::create_dir(&app).unwrap();
    run(&app, &["init", "-q", "-b", "main"]);
    let mut seed = 7_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        seed.to_be_bytes()[0]
    })
    .take(300_000)
    .collect();
    std::fs::write(app.join("noise"), noise).unwrap();
    commit(&app, "noise");
    world.server.offer(&app, "acme/app");
    for fault in [Fault::Truncate(150_000), Fault::Corrupt(150_000)] {
        world.server.fail(fault.clone());
        let error = world.pin("acme/app").await.unwrap_err();
        assert!(error.is_transient(), "{fault:?}: {error:?}");
        assert_eq!(files(&world.packs()), Vec::<std::path::PathBuf>::new(), "{fault:?}");
    }
    world.server.fail(Fault::None);
    let (resolved, pack) = world.pin("acme/app").await.unwrap();
    assert_eq!(Base::open(&pack.dir, resolved.commit).unwrap().entries().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_stalls_is_given_up() {
    let world = World::new().await;
    world.offer_app();
    world.server.fail(Fault::Stall(0));
    let limits =
        cody_batch::git::FetchLimits { duration: std::time::Duration::from_secs(2), ..LIMITS };
    let started = std::time::Instant::now();
    let error = world.pin_as("acme/app", None, None, limits, BUDGET).await.unwrap_err();
    assert!(started.elapsed() < std::time::Duration::from_secs(60), "{:?}", started.elapsed());
    assert!(error.to_string().contains("acme/app"), "{error}");
}
