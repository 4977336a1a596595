//! `str_replace_based_edit_tool`: views, makes and edits text files. Whatever an edit does not
//! touch keeps its bytes: line endings, a byte order mark, a missing last newline, the mode.

mod lines;
mod nearest;
mod replace;

use std::path::Path;

use cody_events::raw::RawJson;
use cody_events::tree::RepoPath;
use serde::Deserialize;

use super::place::{Found, Place, Root, read_whole, shown};
use super::result::{Answer, Complaint, complain};
use super::{list_files, read_input};
use crate::scan::has_marks;
use lines::{insert, numbered, numbered_range};
use replace::{Replaced, replace};

/// The largest file that is viewed or edited, in bytes.
const MAX_FILE_BYTES: u64 = 8 * 1024 * 1024;
/// The largest file that is viewed without a range: the whole view is kept in the log.
const MAX_WHOLE_VIEW_BYTES: usize = 1024 * 1024;
/// The longest line of an output; longer ones are broken, so that a range can reach every part.
const MAX_OUTPUT_LINE: usize = 10_000;
/// The mode of a new file.
const NEW_FILE: u32 = 0o644;

#[derive(Deserialize)]
struct Input {
    command: String,
    path: String,
    file_text: Option<String>,
    old_str: Option<String>,
    new_str: Option<String>,
    insert_line: Option<u64>,
    insert_text: Option<String>,
    view_range: Option<Range>,
}

/// First line and last, from 1; -1 for the end.
pub(super) type Range = [i64; 2];

/// The output that a view asks for, if it asks for one, and which of its lines.
pub(super) fn output_asked(input: &RawJson) -> Option<(Place, Option<Range>)> {
    let input: Input = input.read().ok()?;
    let place = Place::read(&input.path).ok()?;
    let is_view = input.command == "view" && matches!(place, Place::Output { .. });
    is_view.then_some((place, input.view_range))
}

/// The path of the output that a view asks for, as Claude knows it.
pub(super) fn output_path(input: &RawJson) -> Option<String> {
    match output_asked(input)? {
        (Place::Output { turn, id }, _) => Some(format!("/outputs/{turn}/{id}")),
        (Place::Repo(_), _) => None,
    }
}

/// Shows lines of a whole output.
pub(super) fn view_text(text: &str, range: Option<Range>) -> Answer {
    let broken: String = text
        .split_inclusive('\n')
        .flat_map(|line| lines::broken(line, MAX_OUTPUT_LINE))
        .collect::<Vec<_>>()
        .join("");
    view_content(broken.as_bytes(), range, "This output")
}

/// Does what is asked; gives the path too if it was written.
pub(super) fn run(root: &Path, input: &RawJson) -> Result<(String, Option<RepoPath>), Complaint> {
    let input: Input = read_input(input)?;
    let path = Place::in_repo(&input.path)?;
    let folder = Root::open(root)?;
    if input.command == "view" {
        return view(root, &folder, path.as_ref(), input.view_range).map(|text| (text, None));
    }
    let Some(path) = path else {
        return complain(format!("{}: /repo is a directory; name a file in it.", input.command));
    };
    let text = match input.command.as_str() {
        "create" => create(&folder, &path, input.file_text)?,
        "str_replace" => str_replace(&folder, &path, input.old_str, input.new_str)?,
        "insert" => {
            insert_lines(&folder, &path, input.insert_line, input.insert_text.or(input.new_str))?
        }
        other => {
            return complain(format!(
                "There is no command {other:?}. There are view, create, str_replace and insert."
            ));
        }
    };
    Ok((text, Some(path)))
}

fn view(root: &Path, folder: &Root, path: Option<&RepoPath>, range: Option<Range>) -> Answer {
    let name = shown(path);
    match folder.find(path)? {
        Found::Nothing => complain(nothing_at(&name)),
        Found::Directory if range.is_some() => {
            complain(format!("{name} is a directory; view_range is for files."))
        }
        Found::Directory => list_files::two_levels(root, path),
        Found::File { file, size, .. } => {
            let content = read_whole(file, size, MAX_FILE_BYTES, &name)?;
            if is_binary(&content) {
                return complain(format!(
                    "{name} is a binary file of {size} bytes and cannot be viewed."
                ));
            }
            if range.is_none() && content.len() > MAX_WHOLE_VIEW_BYTES {
                let count = lines::count(&content);
                return complain(format!("{name} has {count} lines; view it with a view_range."));
            }
            view_content(&content, range, &name)
        }
    }
}

fn view_content(content: &[u8], range: Option<Range>, name: &str) -> Answer {
    let content = lines::without_mark(content);
    if content.is_empty() {
        return Ok("(empty)".to_owned());
    }
    match range {
        None => Ok(numbered(content)),
        Some([first, last]) => {
            let count = lines::count(content);
            let last =
                if last == -1 { count } else { usize::try_from(last).unwrap_or(0).min(count) };
            match usize::try_from(first) {
                Ok(first) if first >= 1 && first <= last => {
                    Ok(numbered_range(content, first, last))
                }
                _ => complain(format!(
                    "{name} has lines 1 to {count}. view_range is [first, last], counted from 1, with -1 \
                     for the end."
                )),
            }
        }
    }
}

fn create(folder: &Root, path: &RepoPath, text: Option<String>) -> Answer {
    let name = shown(Some(path));
    let Some(text) = text else {
        return complain("create: give the content as `file_text`.");
    };
    let (mode, was_there) = match folder.find(Some(path))? {
        Found::Directory => return complain(format!("{name} is a directory.")),
        Found::File { mode, .. } => (mode, true),
        Found::Nothing => (NEW_FILE, false),
    };
    folder.write(path, text.as_bytes(), mode)?;
    let note = marks_note(&text);
    Ok(match was_there {
        true => format!("{name} was overwritten.{note}"),
        false => format!("{name} was created.{note}"),
    })
}

fn str_replace(folder: &Root, path: &RepoPath, old: Option<String>, new: Option<String>) -> Answer {
    let name = shown(Some(path));
    let (content, mode) = editable(folder, path)?;
    let Some(old) = old.filter(|old| !old.is_empty()) else {
        return complain(
            "str_replace: `old_str` is empty. Use insert to add text, create for a new file.",
        );
    };
    let new = new.unwrap_or_default();
    if old == new {
        return complain(
            "str_replace: `old_str` and `new_str` are the same; nothing would change.",
        );
    }
    match replace(&content, &old, &new) {
        Replaced::Once { content, first_line, last_line } => {
            folder.write(path, &content, mode)?;
            let note = if has_marks(&old) { "" } else { marks_note(&new) };
            Ok(edited(&name, note, &content, first_line, last_line))
        }
        Replaced::Nowhere => complain(nearest::not_found(&name, &content, &old)),
        Replaced::Ambiguous { lines } => {
            let count = lines.len();
            let lines: Vec<String> = lines.iter().take(20).map(usize::to_string).collect();
            complain(format!(
                "str_replace: `old_str` stands {count} times in {name}, from lines {}{}. Nothing was \
                 changed. Add lines around it until it is unique.",
                lines.join(", "),
                if count > lines.len() { ", …" } else { "" },
            ))
        }
    }
}

fn insert_lines(folder: &Root, path: &RepoPath, line: Option<u64>, text: Option<String>) -> Answer {
    let name = shown(Some(path));
    let (Some(line), Some(text)) = (line, text) else {
        return complain("insert: give `insert_line` (0 for the beginning) and `insert_text`.");
    };
    let (content, mode) = editable(folder, path)?;
    let count = lines::count(lines::without_mark(&content));
    let after = usize::try_from(line).unwrap_or(usize::MAX);
    if after > count {
        return complain(format!(
            "insert: {name} has {count} lines, so `insert_line` is 0 to {count}: the text goes after that \
             line."
        ));
    }
    let (content, inserted) = insert(&content, after, &text);
    folder.write(path, &content, mode)?;
    Ok(edited(&name, marks_note(&text), &content, after + 1, after + inserted))
}

/// The content and mode of a text file.
fn editable(folder: &Root, path: &RepoPath) -> Result<(Vec<u8>, u32), Complaint> {
    let name = shown(Some(path));
    match folder.find(Some(path))? {
        Found::Nothing => complain(nothing_at(&name)),
        Found::Directory => complain(format!("{name} is a directory; only files can be edited.")),
        Found::File { file, mode, size } => {
            let content = read_whole(file, size, MAX_FILE_BYTES, &name)?;
            if is_binary(&content) {
                return complain(format!("{name} is a binary file and cannot be edited as text."));
            }
            Ok((content, mode))
        }
    }
}

/// What is said after an edit: the lines that changed, with a few around them.
fn edited(name: &str, note: &str, content: &[u8], first: usize, last: usize) -> String {
    let content = lines::without_mark(content);
    let count = lines::count(content);
    let (from, to) = (first.saturating_sub(4).max(1), (last + 4).min(count));
    match from <= to {
        true => {
            format!("{name} was edited.{note} It now reads:\n{}", numbered_range(content, from, to))
        }
        false => format!("{name} was edited.{note} It is empty now."),
    }
}

fn nothing_at(name: &str) -> String {
    let hint = if has_marks(name) { format!(" {MARKS_ARE_NOT_CHARACTERS}") } else { String::new() };
    format!("{name} is not there. list_files shows what is.{hint}")
}

/// How to name a character that results show by a mark.
const MARKS_ARE_NOT_CHARACTERS: &str = "Where a result has a mark such as <U+200B>, there is a \
character that does not show: give the character itself, in JSON as \\u200b.";

/// What is said of marks in a text that was written: they were copied from a result, or are meant.
fn marks_note(text: &str) -> &'static str {
    match has_marks(text) {
        true => {
            " The marks in it, such as <U+200B>, were written as they are, as the characters <, U, + \
             and so on; if the characters that they stand for are meant, give those, in JSON as \\u200b."
        }
        false => "",
    }
}

fn is_binary(content: &[u8]) -> bool {
    content.contains(&0)
}
