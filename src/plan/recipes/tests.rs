//! The form of a recipe: what is one and what is none, how it is filled in, and what a job takes of it.

use std::collections::BTreeMap;

use cody_events::digest::Sha256;
use cody_events::job::{Effort, Policy};
use cody_events::policy::PathClass;
use serde_json::json;

use super::{Recipe, RecipeForm, Source};
use crate::job::command::{Checks, CreateJob};
use crate::job::{Rejection, RejectionCode};
use crate::plan::JobRequest;
use crate::plan::tests::{Server, asking};

const GREET: &str = r#"
name = "greet"
title = "Greet somebody"
description = "Makes the program greet."
prompt = '''
Greet {{whom}} {{times}} times, {{tone}}; loud: {{loud}}.{{more}}
'''
checks = ["grep {{whom}} greet.sh", "{{check}}"]

[variables.times]
type = "number"
description = "How often"
default = 2
min = 1
max = 9

[variables.whom]
type = "word"
description = "Who is greeted."
pattern = "[a-z]+|[A-Z]+"
example = "world"

[variables.tone]
type = "choice"
description = "How"
choices = ["kindly", "as ever"]
default = "as ever"

[variables.loud]
type = "boolean"
description = "Whether it shouts"
default = false

[variables.more]
type = "text"
description = "What else to say"
required = false

[variables.check]
type = "text"
description = "A command"
required = false
"#;

/// Values of variables, as somebody gives them.
type Values<'a> = &'a [(&'a str, &'a str)];
/// Something that a request can ask for itself.
type Asking = fn(&mut JobRequest);

fn parse(text: &str) -> Recipe {
    Recipe::parse(text, Source::DataDirectory).unwrap_or_else(|bad| panic!("{bad}"))
}

/// A request with the recipe `text`, and these values.
fn using(text: &str, values: Values<'_>) -> JobRequest {
    let variables = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    JobRequest {
        prompt: String::new(),
        recipe_text: Some(text.to_owned()),
        variables: variables.collect(),
        ..asking(&["a/b"])
    }
}

fn plan(request: &JobRequest) -> Result<CreateJob, Rejection> {
    Server::new().plan(request)
}

/// The greeting, with more lines at its top.
fn greet_with(lines: &str) -> String {
    format!("{lines}\n{GREET}")
}

#[test]
fn a_recipe_is_filled_in_and_recorded() {
    let values =
        [("whom", "world"), ("loud", "true"), ("more", "\nBe {{tone}}."), ("times", " 3 ")];
    let wish = plan(&using(GREET, &values)).unwrap();
    // What stands in a value is never taken for a place.
    assert_eq!(wish.prompt, "Greet world 3 times, as ever; loud: true.\nBe {{tone}}.\n");
    // The check that is one empty place is left out.
    assert_eq!(wish.checks, Checks::Given(vec!["grep world greet.sh".to_owned()]));
    let (used, recorded) = wish.recipe.unwrap();
    assert_eq!((used.name.as_str(), used.digest), ("greet", Sha256::of(GREET.as_bytes())));
    let expected = [
        ("check", ""),
        ("loud", "true"),
        ("more", "\nBe {{tone}}."),
        ("times", "3"),
        ("tone", "as ever"),
        ("whom", "world"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(recorded, BTreeMap::from(expected));
}

#[test]
fn a_prompt_beside_a_recipe_is_added_to_it() {
    let request =
        JobRequest { prompt: " Mind Bob. ".to_owned(), ..using(GREET, &[("whom", "all")]) };
    let prompt = plan(&request).unwrap().prompt;
    assert_eq!(prompt, "Greet all 2 times, as ever; loud: false.\n\nIn addition:\n\nMind Bob.\n");
}

#[test]
fn a_value_in_a_check_is_one_word_and_alone_the_command() {
    let recipe = r#"
name = "r"
title = "T"
description = "D"
prompt = "P"
checks = ["grep -F {{what}} a.txt", "{{command}}", "printf '\\{{x}}'"]
[variables.what]
type = "text"
description = "D"
[variables.command]
type = "text"
description = "D"
"#;
    let values = [("what", "a'; rm -rf b $(c)"), ("command", "npm test && npm run lint")];
    let Checks::Given(checks) = plan(&using(recipe, &values)).unwrap().checks else { panic!() };
    let words = shlex::split(&checks[0]).unwrap();
    assert_eq!(words, ["grep", "-F", "a'; rm -rf b $(c)", "a.txt"]);
    assert_eq!(checks[1..], ["npm test && npm run lint", "printf '{{x}}'"]);
}

#[test]
fn what_the_request_says_wins() {
    let server = Server { may_fetch: true, ..Server::new() };
    let settings = "policy = \"patch-only\"\npilot = true\neffort = \"high\"\nmax_turns = 9\n\
                    budget_usd = 1.5\nfetch_dependencies = true\nno_bash = true\n\
                    model = \"claude-sonnet-5-5\"";
    let plain = using(&greet_with(settings), &[("whom", "world")]);
    let wish = server.plan(&plain).unwrap();
    assert_eq!(
        (wish.policy, wish.pilot, wish.effort),
        (Policy::PatchOnly, true, Some(Effort::High))
    );
    assert_eq!((wish.limits.max_turns, wish.limits.budget_micros), (9, 1_500_000));
    assert_eq!((wish.fetch_dependencies, wish.bash), (true, false));
    assert_eq!(wish.model, "claude-sonnet-5-5");
    let own = JobRequest {
        policy: Some(Policy::Review),
        pilot: Some(false),
        effort: Some(Effort::Low),
        max_turns: Some(3),
        budget_usd: Some("2".to_owned()),
        model: Some("claude-opus-5-5".to_owned()),
        checks: vec!["true".to_owned()],
        ..plain.clone()
    };
    let wish = server.plan(&own).unwrap();
    assert_eq!((wish.policy, wish.pilot, wish.effort), (Policy::Review, false, Some(Effort::Low)));
    assert_eq!((wish.limits.max_turns, wish.limits.budget_micros), (3, 2_000_000));
    assert_eq!(wish.checks, Checks::Given(vec!["true".to_owned()]));
    assert_eq!(wish.model, "claude-opus-5-5");
    let off = JobRequest { no_checks: true, ..plain.clone() };
    assert_eq!(server.plan(&off).unwrap().checks, Checks::Off);
    let offline = Server::new().plan(&plain).unwrap();
    assert!(!offline.fetch_dependencies, "a recipe is for servers that fetch nothing as well");
}

#[test]
fn checks_of_the_request_win_over_a_recipe_that_wants_none() {
    let silent =
        "name = \"r\"\ntitle = \"T\"\ndescription = \"D\"\nprompt = \"P\"\nno_checks = true";
    let request = using(silent, &[]);
    assert_eq!(plan(&request).unwrap().checks, Checks::Off);
    let request = JobRequest { checks: vec!["true".to_owned()], ..request };
    assert_eq!(plan(&request).unwrap().checks, Checks::Given(vec!["true".to_owned()]));
}

#[test]
fn values_that_do_not_fit_are_told_by_name() {
    let cases: [(Values<'_>, &str, &str); 12] = [
        (&[], "The recipe `greet` needs a value for `whom` (Who is greeted).", "`whom=world`"),
        (&[("whom", " ")], "needs a value for `whom`", "`whom=world`"),
        (&[("whom", "two words")], "`whom` has to be one word", "`whom=world`"),
        (&[("whom", "w0rld")], "match `[a-z]+|[A-Z]+` as a whole", "`whom=world`"),
        (&[("whom", "aB")], "match `[a-z]+|[A-Z]+` as a whole", "`whom=world`"),
        (&[("times", "10")], "`times` has to be a whole number from 1 to 9", "`times=2`"),
        (&[("times", "1.5")], "`times` has to be a whole number from 1 to 9", "`times=2`"),
        (&[("loud", "yes")], "`loud` has to be `true` or `false`", "`loud=false`"),
        (&[("tone", "rudely")], "one of `kindly`, `as ever`", "`tone=as ever`"),
        (&[("more", "a\tb")], "`more` has to be a text of at most 4096 bytes", "`more=some words`"),
        (&[("more", "a\u{1b}[2J")], "without control characters", "`more=some words`"),
        (&[("who", "world")], "The recipe `greet` has no variable `who`.", "times"),
    ];
    for (values, message, next) in cases {
        let mut all = vec![("whom", "world")];
        all.extend(values);
        let mut request = using(GREET, &all);
        if values.is_empty() {
            request.variables.clear();
        }
        assert_eq!(Server::new().refuses(&request), RejectionCode::BadVariable, "{values:?}");
        let no = plan(&request).unwrap_err();
        assert!(no.message.contains(message), "{values:?}: {no}");
        assert!(no.next_step.contains(next), "{values:?}: {no}");
    }
    let long = "x".repeat(4097);
    let request = using(GREET, &[("whom", "world"), ("more", &long)]);
    assert_eq!(Server::new().refuses(&request), RejectionCode::BadVariable);
    let fits = using(GREET, &[("whom", "world"), ("more", &long[1..])]);
    assert!(plan(&fits).is_ok());
    let alone = JobRequest { recipe_text: None, prompt: "x".to_owned(), ..fits };
    assert_eq!(Server::new().refuses(&alone), RejectionCode::BadVariable);
}

#[test]
fn a_secret_is_seen_wherever_it_stands() {
    let key = ["ghp_", "0123456789abcdefghijABCDEFGHIJ012345"].concat();
    let in_value = using(GREET, &[("whom", "world"), ("more", &key)]);
    assert_eq!(Server::new().refuses(&in_value), RejectionCode::SecretInRequest);
    let in_check = using(GREET, &[("whom", "world"), ("check", &key)]);
    assert_eq!(Server::new().refuses(&in_check), RejectionCode::SecretInRequest);
    let in_recipe = GREET.replace("Greet {{whom}}", &format!("{key} {{{{whom}}}}"));
    let in_recipe = using(&in_recipe, &[("whom", "world")]);
    assert_eq!(Server::new().refuses(&in_recipe), RejectionCode::SecretInRequest);
}

#[test]
fn every_wrong_form_is_told_with_a_next_step() {
    let replaced = |from: &str, to: &str| {
        assert!(GREET.contains(from), "{from}");
        GREET.replacen(from, to, 1)
    };
    let cases = [
        ("promt = 1".to_owned() + GREET, "unknown field `promt`"),
        (replaced("type = \"word\"", "type = \"world\""), "unknown variant `world`"),
        ("name = ".to_owned(), "line 1"),
        (replaced("\"greet\"", "\"Greet\""), "Its name is none"),
        (replaced("\"greet\"", "\"../greet\""), "Its name is none"),
        (replaced("\"greet\"", &format!("\"{}\"", "a".repeat(65))), "Its name is none"),
        (replaced("\"Greet somebody\"", "\" \""), "Its title is empty"),
        (replaced("Greet somebody", "a\\nb"), "several lines"),
        (replaced("Makes", "Makes \u{202e}"), "description has a character that does not show"),
        (replaced("Makes", "\\u200b"), "description has a character that does not show"),
        (replaced("{{whom}}", "{{who}}"), "The place `{{who}}` has no variable"),
        (replaced("{{more}}", ""), "The variable `more` has no place"),
        (replaced("{{more}}", "{{more"), "is not followed by"),
        (replaced("{{more}}", "{{a-b}}"), "names no variable"),
        (replaced("variables.more", "variables.More"), "is no name of a variable"),
        (replaced("min = 1", "min = 10"), "bounds that do not fit"),
        (replaced("default = 2", "default = 12"), "default that it does not take itself"),
        (replaced("default = false", "default = \"no\""), "default that it does not take itself"),
        (
            replaced("example = \"world\"", "example = \"w 1\""),
            "example that it does not take itself",
        ),
        (replaced("example = \"world\"", "example = \"wor1d\""), "example that it does not take"),
        (replaced("[a-z]+|[A-Z]+", "[0-9]+|\\\\d{2}"), "example that it does not take itself"),
        (
            replaced("[a-z]+|[A-Z]+\"\nexample = \"world\"", "[0-9]+\""),
            "has a pattern and no example",
        ),
        (replaced("[a-z]+|[A-Z]+", "a)|(b"), "no regular expression"),
        (replaced("[a-z]+|[A-Z]+", "(\\\\w{100}){100}"), "too large"),
        (replaced("default = \"as ever\"", "required = false"), "has no default"),
        (
            replaced("default = \"as ever\"", "default = \"kindly\"\nrequired = true"),
            "has a default",
        ),
        (replaced("choices = [\"kindly\", \"as ever\"]", ""), "choices that do not fit"),
        (replaced("required = false", "choices = [\"a\"]"), "choices that do not fit"),
        (replaced("required = false", "min = 1"), "bounds that do not fit"),
        (replaced("default = false", "default = false\npattern = \"x\""), "does not fit its type"),
        (replaced("\"How often\"", "\"\""), "has no description"),
        (greet_with("no_checks = true"), "has checks and wants none"),
        (greet_with("budget_usd = \"much\""), "no amount of dollars"),
        (replaced("\"{{check}}\"", "\"{{check}}\", \" \""), "or an empty one"),
        (format!("{GREET}#{}", "x".repeat(70_000)), "more than 65536 bytes"),
    ];
    for (text, words) in cases {
        let Err(bad) = Recipe::parse(&text, Source::Shipped) else {
            panic!("{words}: it is taken")
        };
        assert!(bad.what.contains(words), "{words}: {bad}");
        assert!(bad.what.ends_with('.') && bad.next_step.ends_with('.'), "{bad}");
        let request = using(&text, &[("whom", "world")]);
        assert_eq!(Server::new().refuses(&request), RejectionCode::BadRecipe, "{words}");
    }
}

#[test]
fn a_recipe_of_anybodys_widens_nothing_by_itself() {
    let values = [("whom", "world")];
    let cases: [(&str, Asking); 6] = [
        ("policy = \"auto\"", |request| request.policy = Some(Policy::Auto)),
        ("allow = [\"workflows\"]", |request| request.allow = vec![PathClass::Workflows]),
        ("no_review = true", |request| request.no_review = true),
        ("pilot = false", |request| request.pilot = Some(false)),
        ("budget_usd = 5.01", |request| request.budget_usd = Some("5.01".to_owned())),
        ("max_turns = 61", |request| request.max_turns = Some(61)),
    ];
    let mut server = Server::new();
    server.config.job.pilot = true;
    let data_dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(data_dir.path().join("recipes")).unwrap();
    server.config.data_dir = data_dir.path().to_owned();
    for (line, ask) in cases {
        let text = greet_with(line);
        let mut request = using(&text, &values);
        assert_eq!(server.refuses(&request), RejectionCode::RecipeNotAllowed, "{line}");
        ask(&mut request);
        assert!(server.plan(&request).is_ok(), "{line}, asked for");
        std::fs::write(data_dir.path().join("recipes/greet.toml"), &text).unwrap();
        let owned = JobRequest {
            recipe: Some("greet".to_owned()),
            recipe_text: None,
            ..using(&text, &values)
        };
        assert!(server.plan(&owned).is_ok(), "{line}, of the owner");
    }
    let harmless = "policy = \"patch-only\"\npilot = true\nbudget_usd = 5\nmax_turns = 60";
    assert!(server.plan(&using(&greet_with(harmless), &values)).is_ok());
}

#[test]
fn a_text_comes_through_doors_of_this_machine_only() {
    let mut server = Server::new();
    server.local_paths = crate::plan::LocalPaths::Below(Vec::new());
    let request = using(GREET, &[("whom", "world")]);
    assert_eq!(server.refuses(&request), RejectionCode::RecipeNotAllowed);
    let both = JobRequest { recipe: Some("fix-lint".to_owned()), ..request };
    assert_eq!(Server::new().refuses(&both), RejectionCode::BadRecipe);
}

#[test]
fn the_form_of_a_recipe_is_committed_and_true() {
    let schema = serde_json::to_value(schemars::schema_for!(RecipeForm)).unwrap();
    let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
    expect_test::expect_file!["../../../docs/recipe.schema.json"].assert_eq(&text);
    let validator = jsonschema::validator_for(&schema).unwrap();
    let whole: serde_json::Value = toml::from_str(GREET).unwrap();
    let with = |name: &str, value: serde_json::Value| {
        let mut recipe = whole.clone();
        recipe[name] = value;
        recipe
    };
    let variable = |variable: serde_json::Value| with("variables", json!({ "a": variable }));
    for (is_good, recipe) in [
        (true, whole.clone()),
        (true, with("budget_usd", json!(2.5))),
        (true, with("pilot", json!(true))),
        (true, variable(json!({ "type": "number", "description": "A", "default": 1 }))),
        (false, json!({})),
        (false, with("promt", json!("x"))),
        (false, with("policy", json!("maybe"))),
        (false, variable(json!({ "type": "number" }))),
        (false, variable(json!({ "type": "number", "description": "A", "least": 1 }))),
        (false, variable(json!({ "type": "date", "description": "A" }))),
        (false, variable(json!({ "type": "number", "description": "A", "default": [1] }))),
    ] {
        assert_eq!(validator.is_valid(&recipe), is_good, "{recipe}");
        assert_eq!(
            serde_json::from_value::<RecipeForm>(recipe.clone()).is_ok(),
            is_good,
            "{recipe}"
        );
    }
}

#[test]
fn a_door_gets_everything_that_a_page_asks_for() {
    let told = serde_json::to_value(parse(GREET)).unwrap();
    let names: Vec<&str> =
        told["variables"].as_array().unwrap().iter().filter_map(|v| v["name"].as_str()).collect();
    assert_eq!(names, ["whom", "times", "tone", "loud", "more", "check"], "by their first places");
    assert_eq!(
        told["variables"][1],
        json!({
            "name": "times", "type": "number", "description": "How often", "required": false,
            "default": "2", "example": "2", "choices": [], "pattern": null, "min": 1, "max": 9
        })
    );
    assert_eq!(told["source"], json!({ "kind": "data-directory" }));
    assert_eq!(told["digest"], json!(Sha256::of(GREET.as_bytes()).to_string()));
}
