//! Jobs from recipes: what Claude is asked, what the log keeps, and what is refused.

use cody_events::digest::Sha256;
use cody_events::event::Event;
use cody_events::job::{CheckSource, Created, RecipeUse};
use serde_json::json;

use super::harness::{World, app, commit, json as printed, repository};

const GREET: &str = r#"
name = "greet"
title = "Greet somebody"
description = "Makes the program greet."
prompt = "Make greet.sh greet {{whom}}."
checks = ["grep -q {{whom}} greet.sh"]

[variables.whom]
type = "word"
description = "Who is greeted"
example = "world"
"#;

const SCRIPT: &str = r#"
[[conversation]]
name = "change"
match = { system = ["You change one repository"] }
[[conversation.turn]]
content = [{ tool = "str_replace_based_edit_tool", input = { command = "str_replace", path = "/repo/greet.sh", old_str = "hello", new_str = "hello world" } }]
[[conversation.turn]]
content = [{ tool = "finish", input = { outcome = "changed", title = "Greet the world", summary = "It does.", evidence = ["greet.sh"] } }]

[[conversation]]
name = "review"
match = { system = ["You review a change"] }
[[conversation.turn]]
content = [{ text = '{"verdict": "accept", "summary": "Good.", "reasons": []}' }]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_recipe_of_a_repository_is_asked_recorded_and_checked() {
    let world = World::new(SCRIPT).await;
    let app_dir = world.path("app");
    let own = ".cody-batch/recipes/greet.toml";
    repository(&app_dir, &[("greet.sh", "echo hello\n"), (own, GREET)]);
    let path = app_dir.to_str().unwrap();
    let note = format!("{path}=Mind the shell.");
    let output = world
        .run(&[
            "run",
            "--recipe",
            "greet",
            "--var",
            "whom=world",
            "--repo",
            path,
            "--note",
            &note,
            "--prompt",
            "Keep it short.",
            "--json",
        ])
        .await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains(&format!("Recipe greet: Greet somebody (the repository {path})")),
        "{said}"
    );
    assert_eq!(printed(&output)["targets"][0]["outcome"], "diff-ready");

    let prompt = "Make greet.sh greet world.\n\nIn addition:\n\nKeep it short.\n";
    let heard = world.player.heard();
    let first: serde_json::Value = serde_json::from_slice(&heard[0].body).unwrap();
    let system = first["system"].as_array().unwrap().last().unwrap()["text"].as_str().unwrap();
    assert!(system.ends_with(prompt), "{system}");
    assert!(first["messages"][0].to_string().contains("Mind the shell."));

    let told = world.events().await;
    let Event::Created(created) = &told[0].event else { panic!("the first event") };
    let used = RecipeUse { name: "greet".to_owned(), digest: Sha256::of(GREET.as_bytes()) };
    assert_eq!((created.recipe.as_ref(), created.checks), (Some(&used), CheckSource::Given));
    let log = app(&world.path("data"));
    let payload = log.payload_of::<Created>(told[0].recorded.position).await.unwrap().unwrap();
    assert_eq!(payload.prompt, prompt);
    assert_eq!(payload.checks, ["grep -q world greet.sh"]);
    assert_eq!(json!(payload.variables), json!({ "whom": "world" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn recipes_that_may_not_be_used_leave_nothing() {
    let world = World::new(SCRIPT).await;
    let app_dir = world.path("app");
    let with = |line: &str| format!("{line}{}", GREET.replace("\"greet\"", "\"evil\""));
    let evil = with("policy = \"auto\"\nno_review = true\nallow = [\"workflows\"]");
    repository(
        &app_dir,
        &[
            (".cody-batch/recipes/evil.toml", &evil),
            (".cody-batch/recipes/greet.toml", GREET),
            (".cody-batch/recipes/torn.toml", "name = \"torn\"\nprompt = \"{{x}}\"\n"),
        ],
    );
    let file = world.path("mine.toml");
    std::fs::write(&file, with("no_review = true")).unwrap();
    let (path, file) = (app_dir.to_str().unwrap(), file.to_str().unwrap());
    let cases: [(&[&str], &str, &str); 7] = [
        (
            &["evil", "--var", "whom=world"],
            "which only a recipe of the server's owner may",
            "(recipe-not-allowed)",
        ),
        (&[file, "--var", "whom=world"], "says `no_review = true`", "(recipe-not-allowed)"),
        (&["greet"], "needs a value for `whom` (Who is greeted)", "(bad-variable)"),
        (&["greet", "--var", "whom=two words"], "has to be one word", "(bad-variable)"),
        (&["greet", "--var", "who=world"], "no variable `who`", "(bad-variable)"),
        (&["torn"], "missing field `title`", "(bad-recipe)"),
        (&["gone"], "Choose one of evil, fix-lint, greet", "(no-such-recipe)"),
    ];
    for (args, words, code) in cases {
        let mut all = vec!["run", "--repo", path, "--recipe"];
        all.extend(args);
        let output = world.run(&all).await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(words) && said.trim_end().ends_with(code), "{args:?}: {said}");
        assert!(!world.path("data/log.db").exists(), "{args:?} left a log");
    }
    assert!(world.player.heard().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn recipes_are_listed_and_shown() {
    let world = World::new(SCRIPT).await;
    let app_dir = world.path("app");
    let folder = app_dir.join(".cody-batch/recipes");
    repository(&app_dir, &[(".cody-batch/recipes/greet.toml", GREET)]);
    let hidden = GREET.replace("Greet somebody", "Greet nobody");
    std::fs::create_dir_all(world.path("data/recipes")).unwrap();
    std::fs::write(world.path("data/recipes/greet.toml"), &hidden).unwrap();
    std::fs::write(world.path("data/recipes/torn.toml"), "name").unwrap();
    std::fs::write(folder.join("second.toml"), GREET.replace("\"greet\"", "\"second\"")).unwrap();
    commit(&app_dir);
    let path = app_dir.to_str().unwrap();
    let text = |output: &std::process::Output| String::from_utf8_lossy(&output.stdout).into_owned();
    let list = text(&world.run(&["recipes", "--repo", path]).await);
    for line in [
        "Greet nobody (the data directory)",
        &format!("Greet somebody (the repository {path}; not used: the data directory has one of"),
        "cannot be used: It does not fit the form of a recipe",
        "Upgrade a dependency (shipped with the program)",
    ] {
        assert!(list.contains(line), "{line}: {list}");
    }
    let lines = text(&world.run(&["recipes", "--repo", path, "--json"]).await);
    let listed: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let sources: Vec<&str> =
        listed.iter().filter_map(|one| one["source"]["kind"].as_str()).collect();
    let expected = [["data-directory"; 2], ["repository"; 2], ["shipped"; 2], ["shipped"; 2]];
    assert_eq!(sources, expected.concat());
    let shown = text(&world.run(&["recipes", "second", "--repo", path]).await);
    for line in
        ["whom (word, required)", "check: grep -q {{whom}} greet.sh", "--recipe second --var"]
    {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    assert_eq!(text(&world.run(&["recipes", "greet", "--toml"]).await), hidden);
    let gone = world.run(&["recipes", "second"]).await;
    assert_eq!(gone.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_file_and_flags_fill_in_a_recipe_together() {
    let world = World::new(SCRIPT).await;
    let app_dir = world.path("app");
    repository(&app_dir, &[("greet.sh", "echo hello\n")]);
    let recipe = world.path("ours.toml");
    std::fs::write(&recipe, GREET.replace("prompt = \"", "prompt = \"{{how}}: "))
        .and_then(|()| {
            let more = "\n[variables.how]\ntype = \"choice\"\ndescription = \"How\"\n\
                        choices = [\"Now\", \"Later\"]\n";
            let text = std::fs::read_to_string(&recipe)?;
            std::fs::write(&recipe, text + more)
        })
        .unwrap();
    let job = world.path("job.toml");
    let text = format!(
        "recipe = '{}'\nrepositories = ['{}']\n[variables]\nhow = 'Now'\nwhom = 'nobody'\n",
        recipe.display(),
        app_dir.display()
    );
    std::fs::write(&job, text).unwrap();
    let output =
        world.run(&["run", "--file", job.to_str().unwrap(), "--var", "whom=world", "--json"]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let body = String::from_utf8_lossy(&world.player.heard()[0].body).into_owned();
    assert!(body.contains("Now: Make greet.sh greet world."), "{body}");
}
