//! Attacks while dependencies are fetched, which is the one time that something has a way out.

use std::process::Command;

use cody_events::event::Event;
use cody_events::evidence::{DependenciesFetched, Ecosystem, Fetch, FetchOutcome, FetchWords};

use super::{After, CANARY, Victim, bash};

/// What a manifest, a script or a setting leaves when it got to run something.
const PLANTED: &str = "planted-by-a-fetch";
const LOCK: &str = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"0.1.0\"\n";
const CARGO: &str = "[package]\nname = \"a\"\nversion = \"0.1.0\"\nedition = \"2021\"\n";

/// A victim whose job fetches, from a host that is not there.
async fn fetching(files: &[(&str, &str)]) -> Victim {
    let mut victim = Victim::with(files).await;
    victim.more = vec!["--fetch-dependencies".to_owned()];
    victim.under = vec!["env".to_owned(), "CODY_REGISTRIES=registry.invalid".to_owned()];
    victim
}

/// What was fetched, in order, and what was said meanwhile.
async fn fetches(after: &After) -> Vec<(Fetch, FetchWords)> {
    let app = super::super::harness::app(&after.data(""));
    let mut all = Vec::new();
    for told in &after.told {
        if let Event::DependenciesFetched(facts) = &told.event {
            let payload = app.payload_of::<DependenciesFetched>(told.recorded.position).await;
            let words = payload.unwrap().unwrap().fetches;
            all.extend(facts.fetches.iter().cloned().zip(words));
        }
    }
    all
}

/// Asserts that the first fetch was made, or that this sandbox makes none.
async fn was_fetched(after: &After) {
    let fetches = fetches(after).await;
    let (first, words) = fetches.first().expect("something was fetched");
    let expected = match std::env::var("CODY_SANDBOX").as_deref() {
        Ok("landlock") => FetchOutcome::NoNamespaces,
        _ => FetchOutcome::Fetched,
    };
    assert_eq!(first.outcome, expected, "{words:?}");
}

/// Asserts that no file of this name is anywhere in the world.
fn nothing_was_planted(after: &After) {
    let world = after.victim.world.dir.path();
    let found = Command::new("find").arg(world).args(["-name", PLANTED]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn fetches_from_a_host_that_nobody_allowed() {
    let victim = fetching(&[("README", "")]).await;
    let port = victim.listeners.tcp.local_addr().unwrap().port();
    let manifest =
        format!(r#"{{"name": "a", "dependencies": {{"x": "https://127.0.0.1:{port}/x.tgz"}}}}"#);
    std::fs::write(victim.app.join("package.json"), manifest).unwrap();
    super::super::harness::commit(&victim.app);
    let after = victim.suffers(&[bash("echo tried")]).await;
    after.was_held().saw("tried");
    let fetches = fetches(&after).await;
    let (fetch, words) = &fetches[0];
    assert_eq!(fetch.ecosystem, Ecosystem::Npm);
    if fetch.outcome != FetchOutcome::NoNamespaces {
        assert_eq!(fetch.outcome, FetchOutcome::Failed);
        assert_eq!((&words.hosts[..], fetch.network_bytes), (&[][..], 0));
        assert_eq!(words.refused_hosts, [format!("127.0.0.1:{port}")]);
        after.saw("Hosts that nothing may be fetched from here: 127.0.0.1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn has_scripts_of_packages_run_while_they_are_fetched() {
    let script = format!(
        r#"{{"preinstall": "touch {PLANTED} /cache/{PLANTED}", "postinstall": "touch {PLANTED}", "prepare": "touch {PLANTED}"}}"#
    );
    let after = fetching(&[
        (
            "package.json",
            &format!(
                r#"{{"name": "a", "scripts": {script}, "dependencies": {{"x": "file:./x"}}}}"#
            ),
        ),
        ("x/package.json", &format!(r#"{{"name": "x", "version": "1.0.0", "scripts": {script}}}"#)),
    ])
    .await
    .suffers(&[bash("ls -A . node_modules 2>&1; echo tried")])
    .await;
    after.was_held().saw("tried");
    was_fetched(&after).await;
    assert!(!after.seen.contains(PLANTED));
    nothing_was_planted(&after);
}

#[tokio::test(flavor = "multi_thread")]
async fn has_its_own_settings_heard_while_dependencies_are_fetched() {
    let program = format!("#!/bin/sh\ntouch /cache/{PLANTED} /repo/{PLANTED}\nexec \"$@\"\n");
    let victim = fetching(&[
        ("Cargo.toml", CARGO),
        ("Cargo.lock", LOCK),
        ("src/lib.rs", ""),
        ("wrap.sh", &program),
        ("toolchain/bin/cargo", &program),
        (".cargo/config.toml", "[build]\nrustc-wrapper = \"./wrap.sh\"\n"),
        ("rust-toolchain.toml", "[toolchain]\npath = \"toolchain\"\n"),
        (".npmrc", "script-shell=./wrap.sh\nignore-scripts=false\n"),
    ])
    .await;
    for path in ["wrap.sh", "toolchain/bin/cargo"] {
        let place = victim.app.join(path);
        assert!(Command::new("chmod").arg("755").arg(place).status().unwrap().success());
    }
    super::super::harness::commit(&victim.app);
    let after = victim.suffers(&[bash("echo tried")]).await;
    after.was_held().saw("tried");
    was_fetched(&after).await;
    nothing_was_planted(&after);
}

#[tokio::test(flavor = "multi_thread")]
async fn has_a_lock_file_written_and_read_through_a_link() {
    let victim = fetching(&[("Cargo.toml", CARGO), ("Cargo.lock", LOCK), ("src/lib.rs", "")]).await;
    let netrc = victim.world.path("home/.netrc");
    // What a fetch writes is put where a link leads out, and what it reads comes from there.
    let plant = format!(
        "ln -sf {} Cargo.lock; sed -i s/0.1.0/0.2.0/ Cargo.toml; echo tried",
        netrc.display()
    );
    let after = victim.suffers(&[bash(&plant), bash("cat Cargo.lock; echo again")]).await;
    after.was_held().saw("tried").saw("again");
    was_fetched(&after).await;
    assert_eq!(std::fs::read_to_string(netrc).unwrap(), CANARY);
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_into_what_other_jobs_will_find() {
    let after = fetching(&[("Cargo.toml", CARGO), ("Cargo.lock", LOCK), ("src/lib.rs", "")])
        .await
        .suffers(&[bash(&format!(
            "for place in /dependencies /dependencies/cargo /dependencies/npm /dependencies/pip; do \
             (echo x >$place/{PLANTED}) && echo REACHED; (rm -rf $place/*) 2>/dev/null; done; echo tried"
        ))])
        .await;
    after.was_held().saw("tried");
    was_fetched(&after).await;
    nothing_was_planted(&after);
}
