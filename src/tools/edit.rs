//! `str_replace_based_edit_tool`: view, create, replace, insert. A file keeps its line endings, its
//! byte-order mark and its missing last newline, whatever an edit writes them with.

use serde::Deserialize;

use super::{Answer, AskedTool, ToolContext, input, list_files, place};

#[derive(Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
enum Edit {
    View {
        path: String,
        view_range: Option<(i64, i64)>,
    },
    Create {
        path: String,
        #[serde(default)]
        file_text: String,
    },
    StrReplace {
        path: String,
        old_str: String,
        #[serde(default)]
        new_str: String,
    },
    Insert {
        path: String,
        insert_line: usize,
        #[serde(alias = "new_str")]
        insert_text: String,
    },
}

/// Runs one edit.
pub(super) async fn run(context: &ToolContext, tool: &AskedTool) -> Answer {
    let edit = match input::<Edit>(tool) {
        Ok(edit) => edit,
        Err(answer) => return answer,
    };
    let done = match edit {
        Edit::View { path, view_range } => view(context, &path, view_range).await.map(Answer::Said),
        Edit::Create { path, file_text } => create(context, &path, &file_text),
        Edit::StrReplace { path, old_str, new_str } => replace(context, &path, &old_str, &new_str),
        Edit::Insert { path, insert_line, insert_text } => {
            insert(context, &path, insert_line, &insert_text)
        }
    };
    done.unwrap_or_else(Answer::Failed)
}

async fn view(
    context: &ToolContext,
    text: &str,
    range: Option<(i64, i64)>,
) -> Result<String, String> {
    if let Some(output) = text.strip_prefix("/outputs/") {
        let missing = || format!("There is no output at {text}.");
        let (turn, id) = output.split_once('/').ok_or_else(missing)?;
        let turn = turn.parse().map_err(|_| missing())?;
        let whole = context.outputs.output(turn, id).await.ok_or_else(missing)?;
        return numbered(&whole, range);
    }
    let path = place::parse(text)?;
    if place::is_dir(&context.root, path.as_ref()) {
        return Ok(list_files::listing(&context.root, path.as_ref(), None, 2));
    }
    let path = place::parse_file(text)?;
    numbered(&place::read_text(&context.root, &path)?, range)
}

/// Lines with their numbers, all or those from the first to the second of `range`.
fn numbered(text: &str, range: Option<(i64, i64)>) -> Result<String, String> {
    let lines: Vec<&str> = text.lines().collect();
    let (first, last) = match range {
        None => (1, lines.len()),
        Some((first, last)) => {
            let count = i64::try_from(lines.len()).unwrap_or(i64::MAX);
            let last = if last == -1 { count } else { last.min(count) };
            if first < 1 || first > count.max(1) || last < first.min(count) {
                return Err(format!(
                    "view_range must lie within 1 to {count}; use -1 for the end."
                ));
            }
            (usize::try_from(first).unwrap_or(1), usize::try_from(last).unwrap_or(0))
        }
    };
    let mut shown = String::new();
    for (index, line) in lines.iter().enumerate().take(last).skip(first - 1) {
        shown.push_str(&format!("{:>6}\t{line}\n", index + 1));
    }
    if shown.is_empty() {
        shown.push_str("(the file is empty)\n");
    }
    Ok(shown)
}

fn create(context: &ToolContext, text: &str, content: &str) -> Result<Answer, String> {
    let path = place::parse_file(text)?;
    let existed = place::read(&context.root, &path).is_ok();
    place::write(&context.root, &path, content.as_bytes())?;
    let what = if existed { "Replaced" } else { "Created" };
    let said = format!("{what} /repo/{path} ({} lines).", content.lines().count());
    Ok(Answer::Wrote(said, path))
}

fn replace(context: &ToolContext, text: &str, old: &str, new: &str) -> Result<Answer, String> {
    let path = place::parse_file(text)?;
    let content = place::read_text(&context.root, &path)?;
    if old.is_empty() {
        return Err("old_str is empty; use `insert` or `create`.".to_owned());
    }
    let file = Lines::of(&content);
    let (old, new) = (unix(old), unix(new));
    let found: Vec<usize> = file.text.match_indices(&old).map(|(at, _)| at).collect();
    let [at] = found.as_slice() else {
        return Err(match found.as_slice() {
            [] => format!("old_str is not in /repo/{path}.{}", nearest(&file.text, &old)),
            many => format!(
                "old_str is in /repo/{path} {} times, at lines {}; add lines around it until it is unique.",
                many.len(),
                many.iter()
                    .take(10)
                    .map(|at| line_of(&file.text, *at).to_string())
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        });
    };
    let edited = file.splice(*at, old.len(), &new);
    place::write(&context.root, &path, edited.as_bytes())?;
    Ok(Answer::Wrote(changed(&path, &unix(&edited), *at, new.len()), path))
}

fn insert(context: &ToolContext, text: &str, after: usize, new: &str) -> Result<Answer, String> {
    let path = place::parse_file(text)?;
    let content = place::read_text(&context.root, &path)?;
    let file = Lines::of(&content);
    let count = file.text.lines().count();
    if after > count {
        return Err(format!("insert_line is {after}, but /repo/{path} has {count} lines."));
    }
    let mut new = unix(new);
    let at = nth_line_start(&file.text, after);
    if !new.ends_with('\n') && at < file.text.len() {
        new.push('\n');
    }
    if at == file.text.len() && !file.text.is_empty() && !file.text.ends_with('\n') {
        new.insert(0, '\n');
    }
    let edited = file.splice(at, 0, &new);
    place::write(&context.root, &path, edited.as_bytes())?;
    Ok(Answer::Wrote(changed(&path, &unix(&edited), at, new.len()), path))
}

/// A text with its line ends made one, and where they were two characters.
struct Lines {
    text: String,
    /// For each line end in `text`, whether the file has CR LF there.
    is_crlf: Vec<bool>,
}

impl Lines {
    fn of(content: &str) -> Self {
        let mut is_crlf = Vec::new();
        let mut text = String::with_capacity(content.len());
        let mut rest = content;
        while let Some(end) = rest.find('\n') {
            let line = &rest[..end];
            let crlf = line.ends_with('\r');
            text.push_str(line.strip_suffix('\r').unwrap_or(line));
            text.push('\n');
            is_crlf.push(crlf);
            rest = &rest[end + 1..];
        }
        text.push_str(rest);
        Self { text, is_crlf }
    }

    /// The file with `length` bytes at `at` replaced. Old lines keep their own ends; new ones get
    /// the end of the line they replace, or what most of the file has.
    fn splice(&self, at: usize, length: usize, new: &str) -> String {
        let first = self.text[..at].matches('\n').count();
        let replaced = self.text[at..at + length].matches('\n').count();
        let mostly = self.is_crlf.iter().filter(|crlf| **crlf).count() * 2 > self.is_crlf.len();
        let mut ends: Vec<bool> = self.is_crlf[..first].to_vec();
        for index in 0..new.matches('\n').count() {
            let old = (index < replaced).then(|| self.is_crlf.get(first + index)).flatten();
            ends.push(old.copied().unwrap_or(mostly));
        }
        ends.extend(&self.is_crlf[first + replaced..]);
        let text = format!("{}{new}{}", &self.text[..at], &self.text[at + length..]);
        let mut out = String::with_capacity(text.len() + ends.len());
        let mut ends = ends.into_iter();
        for part in text.split_inclusive('\n') {
            match part.strip_suffix('\n') {
                Some(line) => {
                    out.push_str(line);
                    out.push_str(if ends.next() == Some(true) { "\r\n" } else { "\n" });
                }
                None => out.push_str(part),
            }
        }
        out
    }
}

/// `text` with LF line ends.
fn unix(text: &str) -> String {
    text.replace("\r\n", "\n")
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// Where the line after the first `count` lines starts.
fn nth_line_start(text: &str, count: usize) -> usize {
    if count == 0 {
        // A byte-order mark stays in front.
        return if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    }
    text.match_indices('\n').nth(count - 1).map_or(text.len(), |(at, _)| at + 1)
}

/// The lines around an edit.
fn changed(path: &cody_events::tree::RepoPath, text: &str, at: usize, length: usize) -> String {
    const AROUND: usize = 3;
    const MOST: usize = 60;
    let first = line_of(text, at.min(text.len()));
    let last = first + text[at..(at + length).min(text.len())].matches('\n').count();
    let from = first.saturating_sub(AROUND).max(1);
    let mut shown = format!("Edited /repo/{path}:\n");
    for (index, line) in
        text.lines().enumerate().skip(from - 1).take((last + AROUND + 1 - from).min(MOST))
    {
        shown.push_str(&format!("{:>6}\t{line}\n", index + 1));
    }
    shown
}

/// Where the file has something like the first line of what was looked for.
fn nearest(text: &str, old: &str) -> String {
    let Some(wanted) = old.lines().map(str::trim).find(|line| !line.is_empty()) else {
        return String::new();
    };
    let squeezed = |line: &str| line.split_whitespace().collect::<String>();
    let key = squeezed(wanted);
    let hit = text.lines().enumerate().find(|(_, line)| {
        let line = squeezed(line);
        !line.is_empty() && (line == key || (key.len() > 8 && line.contains(&key)))
    });
    match hit {
        Some((index, line)) => {
            format!(" Line {} is similar, mind the white space:\n{line}", index + 1)
        }
        None => " View the file first; it may have changed.".to_owned(),
    }
}
