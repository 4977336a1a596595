//! How the tools are described to Claude. These bytes stand in the prefix of every conversation:
//! a change to them makes the caches of all running ones useless.

use cody_events::raw::RawJson;
use serde_json::{Value, json};

use super::result::MAX_CHARACTERS;

/// The definitions, always in the same order and the same bytes; `bash` only if commands can run.
pub fn schemas(bash: bool) -> Result<Vec<RawJson>, serde_json::Error> {
    let mut definitions = vec![json!({
        "type": "text_editor_20250728",
        "name": "str_replace_based_edit_tool",
        "max_characters": MAX_CHARACTERS,
    })];
    if bash {
        definitions.push(json!({"type": "bash_20250124", "name": "bash"}));
    }
    definitions.extend([list_files(), search_files(), finish()]);
    definitions.iter().map(RawJson::render).collect()
}

fn list_files() -> Value {
    strict(
        "list_files",
        "Lists the files below a directory of /repo, in byte order, hidden ones too. Folders of \
         build tools and installed packages are named but not entered, unless `path` is in them.",
        json!({
            "path": {"type": "string", "description": "A directory, such as `/repo` or `src`."},
            "glob": {
                "type": "string",
                "description": "Only files that match, as in a .gitignore and relative to `path`: \
                                `*.rs`, `src/**/test_*.py`. Empty for everything.",
            },
            "depth": {
                "type": "integer",
                "description": "How many levels below `path`: 1 for its own entries, up to 50.",
            },
        }),
    )
}

fn search_files() -> Value {
    strict(
        "search_files",
        "Searches the text files of /repo with a regular expression (Rust syntax), line by line, and \
         gives path, line number and line. Hidden files are searched; binary files, folders of build \
         tools and what a .gitignore names are not, unless `path` leads there.",
        json!({
            "pattern": {"type": "string", "description": "A regular expression, such as `fn \\w+_id`."},
            "path": {
                "type": "string",
                "description": "The directory or file to search, such as `/repo` or `src`.",
            },
            "glob": {
                "type": "string",
                "description": "Only files that match, as in a .gitignore and relative to `path`. \
                                Empty for everything.",
            },
            "context": {"type": "integer", "description": "Lines shown around each match, 0 to 20."},
            "ignore_case": {"type": "boolean", "description": "Whether `a` finds `A`."},
        }),
    )
}

fn finish() -> Value {
    strict(
        "finish",
        "Ends your work on this repository. Call it once, when there is nothing left to do; the \
         checks are run after it, and you are told if they fail.",
        json!({
            "outcome": {
                "type": "string",
                "enum": ["changed", "already-compliant", "not-applicable", "cannot"],
                "description": "`changed`: the files are as they should be now. `already-compliant`: \
                                they were before. `not-applicable`: the request has no meaning here. \
                                `cannot`: it cannot be done; `summary` says why.",
            },
            "title": {
                "type": "string",
                "description": "For `changed`: one line for a pull request. Else it may be empty.",
            },
            "summary": {
                "type": "string",
                "description": "What was done and why, for the person who reviews it.",
            },
            "evidence": {
                "type": "array",
                "items": {"type": "string"},
                "description": "What shows it: files and lines, commands and their results. Needed for \
                                `already-compliant` and `not-applicable`.",
            },
        }),
    )
}

/// A tool whose input the model is held to: every property is required, and there are no others.
fn strict(name: &str, description: &str, properties: Value) -> Value {
    let required: Vec<&String> =
        properties.as_object().map(|properties| properties.keys().collect()).unwrap_or_default();
    json!({
        "name": name,
        "description": description,
        "strict": true,
        "input_schema": {
            "type": "object",
            "required": required,
            "properties": properties,
            "additionalProperties": false,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_the_same_bytes_every_time() {
        assert_eq!(schemas(true).unwrap(), schemas(true).unwrap());
        let names = |bash| -> Vec<String> {
            let definitions = schemas(bash).unwrap();
            let read =
                |one: &RawJson| one.read::<Value>().unwrap()["name"].as_str().unwrap().to_owned();
            definitions.iter().map(read).collect()
        };
        let with = ["str_replace_based_edit_tool", "bash", "list_files", "search_files", "finish"];
        assert_eq!(names(true), with);
        assert_eq!(names(false), [with[0], with[2], with[3], with[4]]);
        assert_eq!(
            schemas(true).unwrap()[0].get(),
            r#"{"type":"text_editor_20250728","name":"str_replace_based_edit_tool","max_characters":30000}"#
        );
        assert_eq!(schemas(true).unwrap()[1].get(), r#"{"type":"bash_20250124","name":"bash"}"#);
    }

    #[test]
    fn strict_tools_require_every_property_and_allow_no_other() {
        for definition in schemas(false).unwrap().iter().skip(1) {
            let value: Value = definition.read().unwrap();
            let schema = &value["input_schema"];
            let properties: Vec<&String> =
                schema["properties"].as_object().unwrap().keys().collect();
            let required: Vec<&str> = schema["required"]
                .as_array()
                .unwrap()
                .iter()
                .map(|v| v.as_str().unwrap())
                .collect();
            assert_eq!(properties, required);
            assert_eq!(
                (&value["strict"], &schema["additionalProperties"]),
                (&json!(true), &json!(false))
            );
            assert!(jsonschema::meta::is_valid(schema));
        }
    }
}
