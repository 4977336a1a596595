//! How a diff differs in shape from the one that a person approved first. What it says stands on
//! facts alone; whoever knows the files' names may add them.

use std::collections::BTreeSet;

use cody_events::diff::DiffProduced;
use cody_events::shape::{DiffShape, KindMark};

use super::state::{ApprovedPilot, Job};

/// A diff is as large as the pilot's up to this many times its files or lines.
const TIMES: u64 = 3;
/// Small numbers differ by chance: so many files or lines more are nothing.
const SPARE_FILES: u64 = 4;
const SPARE_LINES: u64 = 40;

/// Why `diff` has to be looked at although its pilot was approved: what is other about it, in
/// sentences. `names` are the kinds of its files, by which marks are told in words.
pub fn unlike_pilot(job: &Job, diff: &DiffProduced, names: &[String]) -> Vec<String> {
    // Also one of the same target, made anew: what was approved is what was looked at.
    let Some(pilot) = &job.approved_pilot else { return Vec::new() };
    let mut reasons = sizes(pilot, diff);
    if let (Some(approved), Some(shape)) = (&pilot.shape, &diff.shape) {
        reasons.extend(acts(pilot, approved, shape));
        reasons.extend(areas(pilot, approved, shape));
        reasons.extend(kinds(pilot, approved, shape, names));
    }
    reasons
}

fn sizes(pilot: &ApprovedPilot, diff: &DiffProduced) -> Vec<String> {
    let (files, lines) =
        (u64::from(diff.file_count), diff.added_line_count.saturating_add(diff.deleted_line_count));
    let is_more = |count: u64, known: u64, spare: u64| {
        count > known.saturating_mul(TIMES).max(known.saturating_add(spare))
    };
    let mut reasons = Vec::new();
    if is_more(files, pilot.file_count, SPARE_FILES) {
        reasons.push(told(pilot, &format!("changes {files} files"), &pilot.file_count.to_string()));
    }
    if is_more(lines, pilot.line_count, SPARE_LINES) {
        reasons.push(told(pilot, &format!("changes {lines} lines"), &pilot.line_count.to_string()));
    }
    reasons
}

/// What is done to files.
fn acts(pilot: &ApprovedPilot, approved: &DiffShape, shape: &DiffShape) -> Vec<String> {
    let counts = [
        ("adds", approved.added, shape.added),
        ("deletes", approved.deleted, shape.deleted),
        ("changes the mode of", approved.mode_changed, shape.mode_changed),
        ("changes binary", approved.binary, shape.binary),
    ];
    counts
        .into_iter()
        .filter(|(_, known, count)| *known == 0 && *count > 0)
        .map(|(verb, _, count)| {
            let files = if count == 1 { "file" } else { "files" };
            told(pilot, &format!("{verb} {count} {files}"), "none")
        })
        .collect()
}

fn areas(pilot: &ApprovedPilot, approved: &DiffShape, shape: &DiffShape) -> Vec<String> {
    let new = shape.areas.iter().filter(|area| !approved.areas.contains(area));
    let new: Vec<&str> = new.map(|area| area.words()).collect();
    match new.is_empty() {
        true => Vec::new(),
        false => vec![told(pilot, &format!("touches {}", new.join(" and ")), "does not")],
    }
}

/// Kinds of files, among what is neither automation nor manifests: those have areas of their own.
fn kinds(
    pilot: &ApprovedPilot,
    approved: &DiffShape,
    shape: &DiffShape,
    names: &[String],
) -> Vec<String> {
    let is_known = |kind: &KindMark| approved.kinds.contains(kind);
    let new: BTreeSet<&KindMark> = shape.kinds.iter().filter(|kind| !is_known(kind)).collect();
    if new.is_empty() {
        return Vec::new();
    }
    let is_shared = shape.kinds.iter().any(is_known);
    let known: Vec<String> = names
        .iter()
        .filter(|name| new.contains(&KindMark::of(name)))
        .map(|name| format!("`{name}`"))
        .collect();
    let what = match (known.is_empty(), is_shared) {
        (false, _) => format!("changes {} files", known.join(", ")),
        (true, true) => format!("changes {} other kinds of files as well", new.len()),
        (true, false) => "changes other kinds of files".to_owned(),
    };
    vec![told(pilot, &what, "does not")]
}

fn told(pilot: &ApprovedPilot, what: &str, pilots: &str) -> String {
    format!("It {what}, and the approved diff of target {} {pilots}.", pilot.target)
}
