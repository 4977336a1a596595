//! Every verb of the command line against a server on "another machine": a second data directory that
//! stays empty, `CODY_SERVER` and a token. What it prints is what the server's own machine prints.

use std::process::{Command, Output};
use std::time::Duration;

use cody_events::envelope::Door;
use serde_json::Value;

use super::harness::{World, finish, json, repository};
use super::running::{Running, script};

/// A server at work, and a command line elsewhere.
struct Distance {
    world: World,
    server: Running,
}

impl Distance {
    async fn new(script: &str) -> Self {
        let world = World::new(script).await;
        for name in ["app", "web"] {
            repository(&world.path(name), &[("greet.sh", "echo hello\n")]);
        }
        let roots = world.dir.path().display().to_string();
        let server = Running::start(&world, &[("CODY_LOCAL_ROOTS", &roots)]).await;
        Self { world, server }
    }

    /// A token that the server's owner makes.
    async fn token(&self, scopes: &[&str]) -> String {
        let name = scopes.join("-");
        let mut args = vec!["token", "create", "--json", "--name", &name];
        args.extend(scopes.iter().flat_map(|scope| ["--scope", scope]));
        json(&self.world.run(&args).await)["token"].as_str().unwrap().to_owned()
    }

    /// How the program is started.
    fn program(&self) -> String {
        self.world.command(&[]).get_program().to_str().unwrap().to_owned()
    }

    fn command(&self, token: &str, args: &[&str]) -> Command {
        let mut command = self.world.command(args);
        command.env("CODY_DATA_DIR", self.world.path("nothing")).env("CODY_TOKEN", token);
        command.env("CODY_SERVER", &self.server.url).current_dir(self.world.dir.path());
        // Nobody here has a key for Claude.
        command.env_remove("ANTHROPIC_API_KEY");
        command
    }

    async fn far(&self, token: &str, args: &[&str]) -> Output {
        finish(self.command(token, args)).await
    }

    /// The same words and the same exit code, typed here and there.
    async fn is_the_same(&self, token: &str, args: &[&str]) -> String {
        let (far, near) = (self.far(token, args).await, self.world.run(args).await);
        let told =
            |output: &Output| (output.status.code(), text(&output.stdout), text(&output.stderr));
        assert_eq!(told(&far), told(&near), "{args:?}");
        text(&far.stdout)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn told(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stderr)
}

/// The exit code and the words of a no.
fn no(output: &Output) -> (i32, String) {
    (output.status.code().unwrap(), text(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_planned_watched_read_and_judged_from_far_away() {
    let place = Distance::new(&script(300)).await;
    let token = place.token(&["run", "approve"]).await;
    let app = place.world.path("app").display().to_string();
    let job = ["--no-checks", "--prompt", "Greet whoever", "--repo", &app];

    let planned = place.far(&token, &[&["plan", "--json"], &job[..]].concat()).await;
    let planned = json(&planned);
    assert_eq!(
        (&planned["targets"][0]["repository"], &planned["check_source"]),
        (&"app".into(), &"off".into())
    );
    assert_eq!(
        text(&place.far(&token, &["jobs"]).await.stdout),
        place.is_the_same(&token, &["jobs"]).await
    );

    let run = [&["run", "--json", "--out", "patches"], &job[..]].concat();
    let output = place.far(&token, &run).await;
    let done = json(&output);
    assert_eq!(
        (output.status.code(), &done["targets"][0]["outcome"]),
        (Some(0), &"diff-ready".into())
    );
    let patch = std::fs::read_to_string(done["targets"][0]["patch"].as_str().unwrap()).unwrap();
    assert!(patch.contains("+echo hi"), "{patch}");
    let words = text(&output.stderr);
    assert!(words.contains("app: ") && words.contains("diff-ready"), "progress: {words}");

    let id = done["job_id"].as_str().unwrap().to_owned();
    for args in [
        &["jobs"][..],
        &["jobs", "--json"],
        &["show"],
        &["show", &id, "--json"],
        &["report", &id[..13]],
        &["events"],
        &["events", "--json"],
        &["thread"],
        &["thread", &id, "1", "--full"],
        &["thread", &id, "1", "--json"],
        &["thread", &id, "1", "--markdown"],
        &["diff", &id, "1"],
        &["usage"],
        &["usage", "--by", "repository", "--json"],
        &["recipes"],
        &["recipes", "fix-lint"],
        &["recipes", "fix-lint", "--toml"],
        &["inbox"],
    ] {
        let words = place.is_the_same(&token, args).await;
        assert!(!words.is_empty(), "{args:?}");
    }
    // What is wrong is told in the same words as well.
    for args in [
        &["show", "ffffffff"][..],
        &["diff", &id, "7"],
        &["recipes", "no-such-recipe"],
        &["archive", "zzz"],
        &["request-changes", &id, "--target", "1"],
        &["reject", &id, "--target", "1", "--diff", &"0".repeat(64)],
    ] {
        place.is_the_same(&token, args).await;
    }
    let own = no(&place.far(&token, &["approve", &id]).await);
    assert!(own.0 == 2 && own.1.contains("(own-job)"), "{own:?}");
    let other = place.token(&["approve"]).await;
    let said = told(&place.far(&other, &["approve", &id, "--comment", "Good."]).await);
    assert!(said.contains("is approved"), "{said}");
    told(&place.far(&token, &["archive", &id]).await);

    let events = place.world.events().await;
    let doors: Vec<(&str, Door, &str)> = events
        .iter()
        .map(|told| (told.recorded.kind.as_str(), told.recorded.door, told.recorded.actor.as_str()))
        .filter(|(kind, ..)| matches!(*kind, "created" | "diff-approved" | "archived"))
        .collect();
    assert_eq!(doors.len(), 3);
    for (kind, door, actor) in doors {
        assert!(door == Door::Cli && actor.starts_with("token:tok_"), "{kind}: {door:?} {actor}");
    }
    assert!(!place.world.path("nothing").exists(), "the data directory here has no part in it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_steered_from_far_away_as_far_as_the_token_reaches() {
    let place = Distance::new(&script(1_500)).await;
    let (runner, reader) = (place.token(&["run"]).await, place.token(&["read"]).await);
    let (app, web) = (place.world.path("app"), place.world.path("web"));
    let (app, web) = (app.display().to_string(), web.display().to_string());
    let job = ["--no-checks", "--prompt", "Greet whoever", "--repo", &app, "--repo", &web];
    let detached = place.far(&runner, &[&["run", "--detach", "--json"], &job[..]].concat()).await;
    let id = json(&detached)["job_id"].as_str().unwrap().to_owned();

    for wish in [&["pause", &id][..], &["cancel", &id], &["retry", &id], &["resume", &id]] {
        let (code, words) = no(&place.far(&reader, wish).await);
        assert!(
            code == 2 && words.contains("it needs the scope `run`"),
            "{wish:?}: {code} {words}"
        );
    }
    assert!(told(&place.far(&runner, &["pause", &id]).await).contains("is paused"));
    assert!(told(&place.far(&runner, &["pause", &id]).await).contains("was paused already"));
    let resumed = place.far(&runner, &["resume", &id, "--json", "--max-turns", "9"]).await;
    assert_eq!(json(&resumed)["status"], "succeeded");

    let detached = place.far(&runner, &[&["run", "--detach", "--json"], &job[..]].concat()).await;
    let id = json(&detached)["job_id"].as_str().unwrap().to_owned();
    assert!(
        told(&place.far(&runner, &["cancel", &id, "--reason", "no"]).await)
            .contains("is cancelled")
    );
    place.is_the_same(&reader, &["show", &id]).await;

    // What a list is to hold, and what people's machines call them, does nothing strange.
    for list in ["jobs", "inbox"] {
        let (code, words) = no(&place.far(&reader, &[list, "--limit", "0"]).await);
        assert!(code == 2 && words.contains("--limit"), "{code} {words}");
    }
    let mut archive = place.world.command(&["archive", &id]);
    archive.env("USER", "\u{1b}[31mred");
    told(&finish(archive).await);
    let events = place.is_the_same(&reader, &["events", &id]).await;
    assert!(events.contains("[31mred") && !events.contains('\u{1b}'), "{events}");

    // Tokens are the owner's to make.
    let admin = place.token(&["admin"]).await;
    let (code, words) = no(&place.far(&runner, &["token", "list"]).await);
    assert!(code == 2 && words.contains("`admin`"), "{code} {words}");
    place.is_the_same(&admin, &["token", "list"]).await;
    let made = json(
        &place.far(&admin, &["token", "create", "--name", "b", "--scope", "read", "--json"]).await,
    );
    let (token, token_id) = (made["token"].as_str().unwrap(), made["token_id"].as_str().unwrap());
    assert!(place.far(token, &["jobs"]).await.status.success());
    told(&place.far(&admin, &["token", "revoke", token_id]).await);
    let (code, words) = no(&place.far(token, &["jobs"]).await);
    assert!(code == 2 && words.contains("revoked"), "{code} {words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_from_far_away_sees_the_end_though_the_server_was_killed() {
    let mut place = Distance::new(&script(2_500)).await;
    let token = place.token(&["run"]).await;
    let app = place.world.path("app").display().to_string();
    let run = ["run", "--json", "--no-checks", "--prompt", "Greet whoever", "--repo", &app];
    let watching = tokio::spawn(finish(place.command(&token, &run)));
    let has_begun = |events: &[cody_batch::app::Told]| {
        events.iter().any(|told| told.recorded.kind == "call-permitted")
    };
    let data = place.world.path("data");
    super::harness::wait_for(&data, &mut place.server.child, has_begun).await;
    place.server.signal("KILL");
    place.server.ended().await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let address = place.server.url.strip_prefix("http://").unwrap().to_owned();
    place.server = Running::start_on(&place.world, &address, &[]).await;
    let output = watching.await.unwrap();
    let done: Value = json(&output);
    assert_eq!(done["targets"][0]["outcome"], "diff-ready", "{}", text(&output.stderr));
    assert!(
        text(&output.stderr).contains("trying again until it answers")
            && !text(&output.stderr).contains("with the next command"),
        "{}",
        text(&output.stderr)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_the_way_there_is_told() {
    let place = Distance::new(&script(0)).await;
    let token = place.token(&["read"]).await;
    let asked = async |url: &str, token: &str, args: &[&str]| {
        let mut command = place.command(token, args);
        command.env("CODY_SERVER", url);
        no(&finish(command).await)
    };
    let url = place.server.url.clone();
    for (url, token, args, code, words) in [
        ("cody.example.org", token.as_str(), &["jobs"][..], 2, "write it as https://"),
        (&url, "", &["jobs"], 2, "CODY_TOKEN"),
        (&url, "cody_no", &["jobs"], 2, "not one of this server's"),
        ("http://127.0.0.1:9", &token, &["jobs"], 1, "does not answer"),
        (&format!("{url}/graphql"), &token, &["jobs"], 1, "is no server of Cody Batch"),
        (&url, &token, &["--server", &url, "config"], 2, "leave out --server"),
        (&url, &token, &["--server", "http://127.0.0.1:9", "jobs"], 1, "does not answer"),
        (&url, &token, &["--server", "", "jobs"], 2, "write it as https://"),
    ] {
        let (told, said) = asked(url, token, args).await;
        assert!(told == code && said.contains(words), "{url} {args:?}: {told} {said}");
        assert!(token.is_empty() || !said.contains(token), "{said}");
    }
    // What is about this machine does not mind a variable.
    assert_eq!(asked(&url, &token, &["config"]).await.0, 0);
    // The end of a line is not part of a token.
    assert!(place.far(&format!("{token}\n"), &["jobs"]).await.status.success());
    // A directory that is named wins over variables, before the verb and after it.
    let here = place.world.path("here").display().to_string();
    let hint = format!("No job yet. Start with `{} --data-dir {here} demo`", place.program());
    for args in [["--data-dir", &here, "jobs"], ["jobs", "--data-dir", &here]] {
        let without = |mut command: Command| {
            command.env_remove("CODY_DATA_DIR");
            command
        };
        let command = || place.command(&token, &args);
        for command in [command(), without(command())] {
            let said = text(&finish(command).await.stdout);
            assert!(said.starts_with(&hint), "{said}");
        }
    }
}
