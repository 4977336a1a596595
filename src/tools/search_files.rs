//! `search_files`: lines that match a regular expression, in byte order of their files. The world
//! is closed: only the repository's own `.gitignore` files count, not those above it or the user's.

use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use cody_events::raw::RawJson;
use grep_matcher::LineTerminator;
use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use grep_searcher::{
    BinaryDetection, Searcher, SearcherBuilder, Sink, SinkContext, SinkContextKind, SinkMatch,
};
use ignore::gitignore::Gitignore;
use ignore::{DirEntry, WalkBuilder};
use serde::Deserialize;

use super::ignore_rules::IgnoreRules;
use super::list_files::{glob_of, is_dot_git, is_match};
use super::place::{Found, Place, Root, on_this_machine, shown, shown_bytes};
use super::read_input;
use super::result::{Answer, Complaint, complain};
use crate::git::is_build_folder;

/// Matches shown.
const MAX_MATCHES: usize = 1_000;
/// Bytes of text gathered.
const MAX_BYTES: usize = 256 * 1024;
/// Characters shown of a line.
const MAX_LINE: usize = 400;
/// Files larger than this are not searched, in bytes.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes that a compiled expression may take.
const MAX_REGEX_BYTES: usize = 16 * 1024 * 1024;

#[derive(Deserialize)]
struct Input {
    pattern: String,
    path: Option<String>,
    glob: Option<String>,
    context: Option<i64>,
    ignore_case: Option<bool>,
}

pub(super) fn run(root: &Path, input: &RawJson) -> Answer {
    let Input { pattern, path, glob, context, ignore_case } = read_input(input)?;
    if pattern.is_empty() {
        return complain("search_files: `pattern` is empty; list_files lists files.");
    }
    let path = Place::in_repo(path.as_deref().unwrap_or_default())?;
    let matcher = compile(&pattern, ignore_case.unwrap_or(false))?;
    let context = usize::try_from(context.unwrap_or(0).clamp(0, 20)).unwrap_or(0);
    let mut search = Search::new(root, matcher, context);
    let top = on_this_machine(root, path.as_ref());
    match Root::open(root)?.find(path.as_ref())? {
        Found::Nothing => {
            return complain(format!("search_files: {} is not there.", shown(path.as_ref())));
        }
        Found::File { .. } => {
            search.file(&top);
        }
        Found::Directory => {
            search.below(&top, glob_of(glob.as_deref().unwrap_or_default())?.as_ref())
        }
    }
    Ok(search.told(&shown(path.as_ref())))
}

fn compile(pattern: &str, ignore_case: bool) -> Result<RegexMatcher, Complaint> {
    RegexMatcherBuilder::new()
        .case_insensitive(ignore_case)
        .multi_line(true)
        .crlf(true)
        .size_limit(MAX_REGEX_BYTES)
        .build(pattern)
        .map_err(|error| {
            Complaint(format!(
                "search_files: `pattern` cannot be read: {error}. It is searched line by line; write a \
                 literal `(`, `[`, `{{`, `.` or `*` with a backslash before it."
            ))
        })
}

/// A search under way.
struct Search<'a> {
    root: &'a Path,
    matcher: RegexMatcher,
    searcher: Searcher,
    text: String,
    match_count: usize,
    file_count: usize,
    unread_count: usize,
    is_full: bool,
}

impl<'a> Search<'a> {
    fn new(root: &'a Path, matcher: RegexMatcher, context: usize) -> Self {
        let searcher = SearcherBuilder::new()
            .line_number(true)
            .line_terminator(LineTerminator::crlf())
            .before_context(context)
            .after_context(context)
            .binary_detection(BinaryDetection::quit(0))
            .build();
        let (text, match_count, file_count, unread_count) = (String::new(), 0, 0, 0);
        Self {
            root,
            matcher,
            searcher,
            text,
            match_count,
            file_count,
            unread_count,
            is_full: false,
        }
    }

    /// Searches the files below `top`. If rules hide all of `top` itself, it was asked for by name,
    /// and they do not count.
    fn below(&mut self, top: &Path, glob: Option<&Gitignore>) {
        if !self.walk(self.root, top, true, glob) {
            self.walk(top, top, false, glob);
        }
    }

    /// Whether the walk came to `top` at all.
    fn walk(
        &mut self,
        from: &Path,
        top: &Path,
        with_rules: bool,
        glob: Option<&Gitignore>,
    ) -> bool {
        let mut has_seen_top = false;
        let mut files: Vec<PathBuf> = Vec::new();
        let wanted = top.to_owned();
        let rules = with_rules.then(|| IgnoreRules::from(self.root));
        let walk = WalkBuilder::new(from)
            .standard_filters(false)
            .follow_links(false)
            .filter_entry(move |entry| {
                let is_folder = entry.file_type().is_some_and(|kind| kind.is_dir());
                is_wanted(entry, &wanted)
                    && rules.as_ref().is_none_or(|rules| rules.pass(entry.path(), is_folder))
            })
            .build();
        // The builder's own limit of size would keep files from the filter.
        for entry in walk.flatten() {
            has_seen_top = has_seen_top || entry.path() == top;
            let Ok(below) = entry.path().strip_prefix(top) else { continue };
            let is_file = entry.file_type().is_some_and(|kind| kind.is_file());
            let is_small = || entry.metadata().is_ok_and(|about| about.len() <= MAX_FILE_BYTES);
            if is_file && glob.is_none_or(|glob| is_match(glob, below)) && is_small() {
                files.push(entry.into_path());
            }
        }
        files.sort_by(|a, b| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
        for file in files {
            if !self.file(&file) {
                break;
            }
        }
        has_seen_top
    }

    /// Searches one file; false once there is enough.
    fn file(&mut self, path: &Path) -> bool {
        let before = self.text.len();
        let mut found = FileMatches { search_text: String::new(), count: 0, room: self.room() };
        // What cannot be read is counted; a binary file just matches no further.
        let searched = File::open(path)
            .and_then(|file| self.searcher.search_file(&self.matcher, &file, &mut found));
        if let Err(error) = searched {
            tracing::debug!(%error, "a file could not be searched");
            self.unread_count += 1;
        }
        if found.count > 0 {
            let below = path.strip_prefix(self.root).unwrap_or(path);
            let gap = if before > 0 { "\n" } else { "" };
            let name = shown_bytes(below.as_os_str().as_bytes());
            let _ = write!(self.text, "{gap}{name}\n{}", found.search_text);
            self.match_count += found.count;
            self.file_count += 1;
        }
        self.is_full = self.match_count >= MAX_MATCHES || self.text.len() >= MAX_BYTES;
        !self.is_full
    }

    fn room(&self) -> (usize, usize) {
        (MAX_MATCHES.saturating_sub(self.match_count), MAX_BYTES.saturating_sub(self.text.len()))
    }

    fn told(self, name: &str) -> String {
        let Self { mut text, match_count, file_count, is_full, .. } = self;
        if match_count == 0 {
            text = format!("No line below {name} matches.");
        } else {
            let more = if is_full { "; there may be more, so narrow the search" } else { "" };
            let _ = write!(text, "\n[matching lines: {match_count}, files: {file_count}{more}]");
        }
        if self.unread_count > 0 {
            let _ = write!(text, "\n[files that could not be read: {}]", self.unread_count);
        }
        text
    }
}

/// The matches of one file, as text.
struct FileMatches {
    search_text: String,
    count: usize,
    /// How many more matches, and bytes, are taken.
    room: (usize, usize),
}

impl FileMatches {
    fn add(&mut self, number: Option<u64>, sign: char, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let line = line.trim_end_matches(['\n', '\r']);
        let cut = line.char_indices().nth(MAX_LINE).map(|(at, _)| at);
        let (line, more) = cut.map_or((line, ""), |at| (&line[..at], " [...]"));
        // Writing to a string cannot fail.
        let _ = writeln!(self.search_text, "{}{sign} {line}{more}", number.unwrap_or(0));
    }
}

impl Sink for FileMatches {
    type Error = io::Error;

    fn matched(&mut self, _: &Searcher, found: &SinkMatch<'_>) -> Result<bool, io::Error> {
        self.add(found.line_number(), ':', found.bytes());
        self.count += 1;
        Ok(self.count < self.room.0 && self.search_text.len() < self.room.1)
    }

    fn context(&mut self, _: &Searcher, line: &SinkContext<'_>) -> Result<bool, io::Error> {
        match line.kind() {
            SinkContextKind::Before | SinkContextKind::After | SinkContextKind::Other => {
                self.add(line.line_number(), '-', line.bytes());
            }
        }
        Ok(true)
    }

    fn context_break(&mut self, _: &Searcher) -> Result<bool, io::Error> {
        self.search_text.push_str("--\n");
        Ok(true)
    }
}

/// What is on the way to `wanted`, or below it and open.
fn is_wanted(entry: &DirEntry, wanted: &Path) -> bool {
    if is_dot_git(entry.file_name().as_bytes()) {
        return false;
    }
    match entry.path().strip_prefix(wanted) {
        Ok(below) => {
            let is_folder = entry.file_type().is_some_and(|kind| kind.is_dir());
            let is_top = below == Path::new("");
            is_top || !is_folder || !is_build_folder(entry.file_name().as_bytes())
        }
        Err(_) => wanted.starts_with(entry.path()),
    }
}
