//! Who may use whom: the table of rooms.

use super::Breach;
use super::files::File;
use super::lexer::{Token, tokens};

/// Rooms that may be used by each; a room may always use itself and `events`. Who may use `app`
/// may name the wishes and states of `job`, and who may use `app` reads what `store` calls its
/// records.
const TABLE: &[(&str, &[&str])] = &[
    ("events", &[]),
    ("projections", &[]),
    ("job", &[]),
    ("clock", &[]),
    ("entropy", &[]),
    ("config", &[]),
    ("histogram", &[]),
    ("wire", &[]),
    ("store", &["projections", "config", "clock", "entropy", "histogram"]),
    ("app", &["store", "job", "projections", "clock", "entropy", "config"]),
    ("claude", &["config"]),
    ("git", &["config"]),
    ("github", &["config"]),
    ("aws", &["config"]),
    ("sandbox", &["config"]),
    ("scan", &["config", "git", "sandbox"]),
    ("tools", &["config", "git", "sandbox"]),
    ("worker", &["scan", "tools", "git", "sandbox", "wire", "config", "clock", "entropy"]),
    ("converse", &["app", "job", "claude", "tools", "projections", "config", "clock"]),
    ("intake", &["app", "job", "git", "scan", "config"]),
    ("plan", &["app", "job", "github", "git", "claude", "config"]),
    ("dispatch", ROOMS),
    ("pulse", &["app", "store", "projections", "dispatch", "converse", "clock", "histogram"]),
    ("deliver", ROOMS),
    ("relay", ROOMS),
    (
        "audit",
        &[
            "app",
            "job",
            "store",
            "projections",
            "claude",
            "git",
            "github",
            "aws",
            "sandbox",
            "config",
            "clock",
            "entropy",
            "intake",
            "converse",
            "tools",
        ],
    ),
    (
        "api",
        &[
            "app",
            "job",
            "plan",
            "converse",
            "intake",
            "audit",
            "pulse",
            "projections",
            "wire",
            "config",
            "github",
        ],
    ),
];

/// What the rooms of the second half have in common.
const ROOMS: &[&str] = &[
    "app",
    "job",
    "store",
    "projections",
    "claude",
    "git",
    "github",
    "aws",
    "sandbox",
    "config",
    "clock",
    "entropy",
    "intake",
];

/// Rooms at the top, which may use all.
const TOP: &[&str] = &["serve", "cli", "main", "lib"];

/// Where the table is bent on purpose: file or folder, room used, why.
pub const BENT: &[(&str, &str, &str)] = &[
    ("src/dispatch/", "wire", "what a worker is told at its start is a message to it"),
    ("src/converse/feedback.rs", "wire", "it judges the checks that a worker reports"),
    ("src/tools/", "scan", "what does not show is written out in one way"),
    ("src/converse/prompts.rs", "scan", "texts of others are fenced and shown in one way"),
    ("src/plan/words.rs", "scan", "a text that holds a secret is refused before it is recorded"),
    ("src/plan/recipes/", "scan", "a recipe that holds what does not show is refused"),
    ("src/intake/", "wire", "it examines what workers report"),
    ("src/intake/", "tools", "what a response claims follows from it; results are written one way"),
    ("src/api/graphql/subscription.rs", "store", "live events follow the log from a cursor"),
    ("src/api/news.rs", "store", "one reader follows the log for all who follow a job"),
    ("src/api/graphql/types/block.rs", "claude", "what was said stands in Claude's blocks"),
    ("src/api/access/", "store", "hashes of tokens are a side table, and the door looks them up"),
    ("src/api/reading/mod.rs", "store", "a job at a glance stands in the views, which live there"),
    ("src/api/words.rs", "scan", "what does not show is written out in one way"),
    ("src/api/mcp/answer.rs", "scan", "texts of others are fenced and shown in one way"),
    ("src/api/downloads/markdown.rs", "scan", "texts of others are fenced and shown in one way"),
    (
        "src/api/downloads/thread/",
        "claude",
        "what was said and which tools were called stand in Claude's blocks",
    ),
    ("src/api/worker/", "store", "leases are a side table, and the door checks them"),
    ("src/api/worker/mod.rs", "git", "a claim is answered with the pack's place"),
    ("src/api/worker/steps.rs", "claude", "the tools that a response asks for stand in its blocks"),
];

/// Every use of a room that neither the table nor a bend of it allows.
pub fn breaches(file: &File) -> Vec<Breach> {
    if file.path.starts_with("tests/") || file.path.contains("/tests/") || file.is_test() {
        return Vec::new();
    }
    let room = file.room();
    if TOP.contains(&room) {
        return Vec::new();
    }
    let Some((_, allowed)) = TABLE.iter().find(|(known, _)| *known == room) else {
        let rule = format!("`{room}` is no room of the table: add it, or move the file");
        return vec![Breach::at(file, 1, rule)];
    };
    uses(file)
        .into_iter()
        .filter(|(_, used)| used != room && used != "events" && !allowed.contains(&used.as_str()))
        .filter(|(_, used)| !BENT.iter().any(|bend| is_bent(bend, file, used)))
        .map(|(line, used)| {
            let may =
                if allowed.is_empty() { "no other room".to_owned() } else { allowed.join(", ") };
            Breach::at(
                file,
                line,
                format!("`{room}` uses `{used}`; besides events it may use {may}"),
            )
        })
        .collect()
}

/// Whether `bend` is about a use of `used` in `file`.
pub fn is_bent((place, room, _): &(&str, &str, &str), file: &File, used: &str) -> bool {
    file.path.starts_with(place) && used == *room
}

/// Every room that a file names, and where: by `crate::`, `cody_batch::`, a crate's name, or as many
/// `super::` as lead to the root.
pub fn uses(file: &File) -> Vec<(usize, String)> {
    let tokens = tokens(&file.source);
    let depth = file.module().len();
    let mut uses = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let token = &tokens[at];
        let after_path = at >= 1 && tokens[at - 1].is(':');
        match token.word().filter(|_| !after_path) {
            Some("cody_events") => uses.push((token.line, "events".to_owned())),
            Some("cody_projections") => uses.push((token.line, "projections".to_owned())),
            Some("crate") if file.path.starts_with("src/") => heads(&tokens, at + 1, &mut uses),
            Some("cody_batch") => heads(&tokens, at + 1, &mut uses),
            Some("super") if file.path.starts_with("src/") => {
                let mut supers = 1;
                let mut next = at + 1;
                while is_separator(&tokens, next)
                    && tokens.get(next + 2).and_then(Token::word) == Some("super")
                {
                    supers += 1;
                    next += 3;
                }
                if supers == depth {
                    heads(&tokens, next, &mut uses);
                }
                at = next;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    uses
}

fn is_separator(tokens: &[Token], at: usize) -> bool {
    tokens.get(at).is_some_and(|t| t.is(':')) && tokens.get(at + 1).is_some_and(|t| t.is(':'))
}

/// The names that follow `::` at `at`: one, or the first of each path in braces.
fn heads(tokens: &[Token], at: usize, uses: &mut Vec<(usize, String)>) {
    if !is_separator(tokens, at) {
        return;
    }
    let Some(next) = tokens.get(at + 2) else { return };
    if let Some(word) = next.word() {
        // A name in capitals is an item of the root, and the root has modules only.
        uses.push((next.line, word.to_owned()));
        return;
    }
    if !next.is('{') {
        return;
    }
    let (mut depth, mut is_head) = (0, false);
    for token in &tokens[at + 2..] {
        if token.is('{') {
            depth += 1;
            is_head = depth == 1;
        } else if token.is('}') {
            depth -= 1;
            if depth == 0 {
                return;
            }
        } else if token.is(',') {
            is_head = depth == 1;
        } else if let (true, Some(word)) = (is_head, token.word()) {
            uses.push((token.line, word.to_owned()));
            is_head = false;
        }
    }
}
