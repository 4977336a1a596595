//! The committed schema, before two linters, and before the one that was released last.

use std::path::{Path, PathBuf};

use super::programs::{finish, foreign, npm, words};

const SCHEMA: &str = "docs/schema.graphql";
const RELEASED: &str = "docs/schema.released.graphql";

fn ours(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A copy of the schema in which each of `changes` was made, which it has a place for.
fn changed(dir: &Path, changes: &[(&str, &str)]) -> PathBuf {
    let mut text = std::fs::read_to_string(ours(SCHEMA)).unwrap();
    for (from, to) in changes {
        assert_eq!(text.matches(from).count(), 1, "{from}");
        text = text.replace(from, to);
    }
    let path = dir.join("schema.graphql");
    std::fs::write(&path, text).unwrap();
    path
}

/// Whether `schema` has a finding of graphql-schema-linter, and what it says.
async fn schema_linter(schema: &Path) -> (bool, String) {
    let mut lint = npm("graphql-schema-linter");
    lint.arg("--config-directory").arg(foreign("graphql")).args(["--format", "compact"]);
    lint.arg(schema);
    let output = finish(lint, String::new()).await;
    (!output.status.success(), words(&output))
}

#[tokio::test(flavor = "multi_thread")]
async fn two_linters_have_no_finding() {
    let (is_found, said) = schema_linter(&ours(SCHEMA)).await;
    assert!(!is_found, "graphql-schema-linter:\n{said}");
    let mut lint = npm("eslint");
    lint.args(["--max-warnings", "0", "--config"]).arg(foreign("graphql/eslint.config.mjs"));
    lint.arg(SCHEMA).current_dir(ours("."));
    let output = finish(lint, String::new()).await;
    assert!(output.status.success(), "@graphql-eslint:\n{}", words(&output));
    // A linter that finds nothing anywhere says nothing about us.
    let dir = tempfile::tempdir().unwrap();
    let bare = "\t\"\"\"\n\tWhether it rests as a whole.\n\t\"\"\"\n";
    let (is_found, said) = schema_linter(&changed(dir.path(), &[(bare, "")])).await;
    assert!(is_found && said.contains("Job.isPaused"), "{said}");
}

/// Whether whoever uses `released` would be broken by `new`, by graphql-inspector's word.
async fn breaks(released: &Path, new: &Path) -> (bool, String) {
    let mut diff = npm("graphql-inspector");
    diff.arg("diff").args([released, new]);
    let output = finish(diff, String::new()).await;
    (!output.status.success(), words(&output))
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_released_is_broken() {
    let (is_broken, said) = breaks(&ours(RELEASED), &ours(SCHEMA)).await;
    assert!(!is_broken, "a release may add and deprecate; what it broke:\n{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gate_closes_for_what_breaks_clients_and_for_nothing_else() {
    let field = "\tisPaused: Boolean!\n";
    let described = format!("\t\"\"\"\n\tWhether it rests as a whole.\n\t\"\"\"\n{field}");
    let deprecated = "\tisPaused: Boolean! @deprecated(reason: \"Read `status`.\")\n";
    let argument = "\tplanJob(\n";
    for (what, change, is_breaking, word) in [
        ("a field is gone", (described.as_str(), ""), true, "isPaused was removed"),
        (
            "a new argument has to be given",
            (argument, "\tplanJob(\n\t\tsecret: String!,\n"),
            true,
            "secret: String!",
        ),
        ("a field is deprecated", (field, deprecated), false, "isPaused"),
        (
            "a new argument may be given",
            (argument, "\tplanJob(\n\t\thint: String,\n"),
            false,
            "hint: String",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (is_broken, said) = breaks(&ours(SCHEMA), &changed(dir.path(), &[change])).await;
        assert_eq!(is_broken, is_breaking, "{what}: {said}");
        assert!(said.contains(word), "{what}: {said}");
    }
}
