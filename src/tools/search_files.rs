//! `search_files`: lines that match a regular expression, by file and number, in byte order.

use std::os::unix::ffi::OsStrExt as _;

use grep_regex::RegexMatcherBuilder;
use grep_searcher::{BinaryDetection, Searcher, SearcherBuilder, Sink, SinkContext, SinkMatch};
use serde::Deserialize;
use serde_json::{Value, json};

use super::list_files::{closed_walk, overrides};
use super::{Answer, AskedTool, ToolContext, input, place};

const MAX_MATCHES: usize = 500;
const MAX_CONTEXT: usize = 20;
/// Longer lines are cut: they are data, or minified.
const MAX_LINE_BYTES: usize = 400;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    pattern: String,
    path: Option<String>,
    glob: Option<String>,
    ignore_case: Option<bool>,
    context: Option<usize>,
}

/// The tool's definition.
pub(super) fn schema() -> Value {
    json!({
        "name": "search_files",
        "description": "Finds lines that match a regular expression (Rust syntax), with file and \
            line number. Binary files are left out.",
        "strict": true,
        "input_schema": {
            "type": "object",
            "properties": {
                "pattern": {"type": "string"},
                "path": {"type": ["string", "null"], "description": "Where to look; /repo if null."},
                "glob": {
                    "type": ["string", "null"],
                    "description": "Only files that match, for instance **/*.py.",
                },
                "ignore_case": {"type": ["boolean", "null"]},
                "context": {
                    "type": ["integer", "null"],
                    "description": "Lines around each match; 0 if null.",
                },
            },
            "required": ["pattern", "path", "glob", "ignore_case", "context"],
            "additionalProperties": false,
        },
    })
}

/// Searches.
pub(super) fn run(context: &ToolContext, tool: &AskedTool) -> Answer {
    let asked = match input::<Input>(tool) {
        Ok(asked) => asked,
        Err(answer) => return answer,
    };
    search(context, &asked).map_or_else(Answer::Failed, Answer::Said)
}

fn search(context: &ToolContext, asked: &Input) -> Result<String, String> {
    let path = place::parse(asked.path.as_deref().unwrap_or("/repo"))?;
    let matcher = RegexMatcherBuilder::new()
        .case_insensitive(asked.ignore_case.unwrap_or(false))
        .line_terminator(Some(b'\n'))
        .build(&asked.pattern)
        .map_err(|error| {
            format!(
                "The pattern does not parse: {error}. Escape characters such as ( [ {{ . * with \\."
            )
        })?;
    let glob = asked
        .glob
        .as_deref()
        .map(|glob| overrides(&context.root, glob))
        .transpose()
        .map_err(|error| format!("The glob does not parse: {error}."))?;
    let around = asked.context.unwrap_or(0).min(MAX_CONTEXT);
    let mut searcher = SearcherBuilder::new()
        .line_number(true)
        .binary_detection(BinaryDetection::quit(0))
        .before_context(around)
        .after_context(around)
        .build();
    let mut found = Found { lines: String::new(), file: String::new(), count: 0 };
    for entry in closed_walk(&context.root, path.as_ref()).build().flatten() {
        let Ok(below) = entry.path().strip_prefix(&context.root) else { continue };
        let is_file = entry.file_type().is_some_and(|kind| kind.is_file());
        let is_wanted =
            glob.as_ref().is_none_or(|glob| glob.matched(entry.path(), false).is_whitelist());
        if !is_file || !is_wanted || below.as_os_str().as_bytes().starts_with(b".git/") {
            continue;
        }
        found.file = below.to_string_lossy().into_owned();
        // A file that cannot be read has no lines to show.
        let _ = searcher.search_path(&matcher, entry.path(), &mut found);
        if found.count > MAX_MATCHES {
            found.lines.push_str("[… more matches; narrow the pattern, the path or the glob …]\n");
            break;
        }
    }
    if found.count == 0 {
        return Ok("No line matches.\n".to_owned());
    }
    Ok(found.lines)
}

struct Found {
    lines: String,
    file: String,
    count: usize,
}

impl Found {
    fn push(&mut self, number: Option<u64>, separator: char, bytes: &[u8]) {
        let line = String::from_utf8_lossy(bytes);
        let line = line.trim_end_matches(['\n', '\r']);
        let mut end = line.len().min(MAX_LINE_BYTES);
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        let cut = if end < line.len() { " […]" } else { "" };
        let number = number.unwrap_or(0);
        let shown = &line[..end];
        self.lines.push_str(&format!("{}{separator}{number}{separator}{shown}{cut}\n", self.file));
    }
}

impl Sink for Found {
    type Error = std::io::Error;

    fn matched(&mut self, _: &Searcher, found: &SinkMatch<'_>) -> Result<bool, Self::Error> {
        self.count += 1;
        self.push(found.line_number(), ':', found.bytes());
        Ok(self.count <= MAX_MATCHES)
    }

    fn context(&mut self, _: &Searcher, context: &SinkContext<'_>) -> Result<bool, Self::Error> {
        self.push(context.line_number(), '-', context.bytes());
        Ok(true)
    }
}
