//! What may stand where: SQL, foreign crates, impure and unsafe things, names, the first line of a
//! file.

use super::Breach;
use super::files::File;
use super::lexer::{Kind, Token, all_tokens, tokens};

/// Crates that belong into one folder each.
const ONE_FOLDER: &[(&str, &[&str])] = &[
    ("git2", &["src/git/"]),
    ("octocrab", &["src/github/"]),
    ("async_graphql", &["src/api/graphql/", "src/api/graphql.rs"]),
    ("rmcp", &["src/api/mcp/", "src/api/mcp.rs"]),
    ("aws_", &["src/aws/"]),
    ("rusqlite", &["src/store/", "projections/"]),
];

/// Where SQL may stand.
const SQL: &[&str] = &["src/store/", "projections/"];

/// How a statement begins, in the capitals in which we write it.
const STATEMENTS: &[&str] = &[
    "SELECT ",
    "INSERT INTO ",
    "INSERT OR ",
    "UPDATE ",
    "DELETE FROM ",
    "CREATE TABLE ",
    "CREATE INDEX ",
    "CREATE UNIQUE INDEX ",
    "CREATE TRIGGER ",
    "DROP TABLE ",
    "PRAGMA ",
    "ALTER TABLE ",
    "BEGIN IMMEDIATE",
    "SAVEPOINT ",
];

/// Where the compiler may be told to trust us: what a child does before it becomes a command, and
/// settings that libgit2 has for a whole process.
const UNSAFE: &[&str] = &["src/sandbox/", "src/git/settings.rs"];

/// Rooms that are functions of what they are given.
const PURE: &[&str] = &["events", "projections", "job"];

/// Names that say nothing.
const EMPTY_WORDS: &[&str] = &[
    "util",
    "utils",
    "helper",
    "helpers",
    "common",
    "misc",
    "manager",
    "engine",
    "task",
    "tasks",
    "changeset",
];

/// Names in which such a word is the thing itself: npm and its kin are called so.
const NAMES_OF_THINGS: &[&str] = &["PackageManager"];

/// Every breach of these rules in a file.
pub fn breaches(file: &File) -> Vec<Breach> {
    let mut breaches: Vec<Breach> = opening(file).into_iter().collect();
    breaches.extend(names(file));
    breaches.extend(unsafe_words(file));
    if !file.is_test() && !file.path.starts_with("tests/") && !file.path.contains("/tests/") {
        let tokens = tokens(&file.source);
        breaches.extend(foreign(file, &tokens));
        breaches.extend(sql(file, &tokens));
        if PURE.contains(&file.room()) {
            breaches.extend(impure(file, &tokens));
        }
    }
    breaches
}

fn opening(file: &File) -> Option<Breach> {
    let opens = file.source.starts_with("//! ");
    (!opens).then(|| Breach::at(file, 1, "a file opens with `//!`: what it is and is not".into()))
}

fn starts_with_any(path: &str, folders: &[&str]) -> bool {
    folders.iter().any(|folder| path.starts_with(folder))
}

fn foreign(file: &File, tokens: &[Token]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let Some(word) = token.word() else { continue };
        let is_path = tokens.get(index + 1).is_some_and(|next| next.is(':') || next.is(';'));
        let is_inner = index >= 1 && tokens[index - 1].is(':');
        let rule = ONE_FOLDER.iter().find(|(name, _)| match name.ends_with('_') {
            true => word.starts_with(name),
            false => word == *name,
        });
        if let Some((name, folders)) = rule
            && is_path
            && !is_inner
            && !starts_with_any(&file.path, folders)
        {
            let rule = format!("`{name}` belongs into {}", folders.join(" and "));
            breaches.push(Breach::at(file, token.line, rule));
        }
    }
    breaches
}

fn sql(file: &File, tokens: &[Token]) -> Vec<Breach> {
    if starts_with_any(&file.path, SQL) {
        return Vec::new();
    }
    let is_sql = |text: &str| {
        let text = text.trim_start();
        STATEMENTS.iter().any(|statement| text.starts_with(statement))
    };
    tokens
        .iter()
        .filter(|token| matches!(&token.kind, Kind::Text(text) if is_sql(text)))
        .map(|token| {
            Breach::at(file, token.line, format!("SQL belongs into {}", SQL.join(" and ")))
        })
        .collect()
}

/// Code that is unsafe, or allowed to be; tests count as well.
fn unsafe_words(file: &File) -> Vec<Breach> {
    if starts_with_any(&file.path, UNSAFE) {
        return Vec::new();
    }
    let tokens = all_tokens(&file.source);
    let is_forbidden = |index: usize| {
        index >= 2 && tokens[index - 1].is('(') && tokens[index - 2].word() == Some("forbid")
    };
    let breaches = tokens.iter().enumerate().filter(|(index, token)| match token.word() {
        Some("unsafe") => true,
        Some("unsafe_code") => !is_forbidden(*index),
        _ => false,
    });
    let rule = format!("what is unsafe belongs into {}", UNSAFE.join(" and "));
    breaches.map(|(_, token)| Breach::at(file, token.line, rule.clone())).collect()
}

fn impure(file: &File, tokens: &[Token]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let what = match &token.kind {
            Kind::Word(word) => match word.as_str() {
                "HashMap" | "HashSet" => Some("an order that changes from run to run"),
                "async" | "await" => Some("waiting"),
                "f32" | "f64" => Some("floats"),
                "Instant" | "SystemTime" => Some("a clock"),
                "time" | "env" if follows_std(tokens, index) => Some("a clock or an environment"),
                "fs" | "net" | "process" | "thread" if follows_std(tokens, index) => {
                    Some("the world outside")
                }
                _ => None,
            },
            Kind::Number(number) => number.contains('.').then_some("floats"),
            Kind::Text(_) | Kind::Sign(_) => None,
        };
        if let Some(what) = what {
            let rule = format!("`{}` is pure and has no place for {what}", file.room());
            breaches.push(Breach::at(file, token.line, rule));
        }
    }
    breaches
}

/// Whether the token at `index` stands behind `std::`.
fn follows_std(tokens: &[Token], index: usize) -> bool {
    index >= 3
        && tokens[index - 1].is(':')
        && tokens[index - 2].is(':')
        && tokens[index - 3].word() == Some("std")
}

fn names(file: &File) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for part in file.path.split('/') {
        let stem = part.strip_suffix(".rs").unwrap_or(part);
        if let Some(word) = stem.split(['_', '-']).find(|word| EMPTY_WORDS.contains(word)) {
            breaches.push(Breach::at(
                file,
                1,
                format!("`{word}` in the name of a file says nothing"),
            ));
        }
    }
    let tokens = tokens(&file.source);
    for pair in tokens.windows(2) {
        let (Some(keyword), Some(name)) = (pair[0].word(), pair[1].word()) else { continue };
        if !matches!(keyword, "struct" | "enum" | "trait" | "type" | "union" | "mod")
            || NAMES_OF_THINGS.contains(&name)
        {
            continue;
        }
        if let Some(word) = words_of(name).into_iter().find(|w| EMPTY_WORDS.contains(&w.as_str())) {
            let rule = format!("`{word}` in the name `{name}` says nothing");
            breaches.push(Breach::at(file, pair[1].line, rule));
        }
    }
    breaches
}

/// The words of `CamelCase` or `snake_case`, in lower case.
fn words_of(name: &str) -> Vec<String> {
    let mut words: Vec<String> = vec![String::new()];
    for c in name.chars() {
        if c == '_' || c.is_uppercase() {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| c != '_') {
            word.extend(c.to_lowercase());
        }
    }
    words
}
