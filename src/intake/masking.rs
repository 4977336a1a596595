//! Makes what a worker reports fit to be recorded and shown to Claude: secrets are taken out, and
//! characters that do not show are written out, whether or not the worker has done so. Only words are
//! changed: what a tree is made of is kept as it is, and a diff with a secret is held.

use cody_events::evidence::RepoScannedPayload;
use serde::Deserialize;

use super::{Intake, Story};
use crate::scan::{revealed, secrets};
use crate::tools;
use crate::wire::{ChecksReport, FetchReport, ToolsReport};

/// What is read of a `tool_result` block to write it again.
#[derive(Deserialize)]
struct ResultBlock {
    tool_use_id: String,
    content: String,
    #[serde(default)]
    is_error: bool,
}

impl Intake {
    /// Takes secrets out of `text` and writes out what does not show; whether there was any.
    pub fn mask(&self, text: &mut String) -> bool {
        let shown = revealed(text).into_owned();
        let masked = secrets::mask(&shown, &self.known).map_or(shown, |(masked, _)| masked);
        let is_changed = masked != *text;
        *text = masked;
        is_changed
    }

    /// Masks the results of a turn's tools and their whole outputs.
    pub fn mask_tools(&self, report: &mut ToolsReport) -> Result<(), serde_json::Error> {
        for result in &mut report.results {
            let mut block: ResultBlock = result.read()?;
            if self.mask(&mut block.content) {
                *result = tools::tool_result(&block.tool_use_id, &block.content, block.is_error)?;
            }
        }
        for output in &mut report.outputs {
            self.mask(&mut output.output);
        }
        Ok(())
    }

    /// Masks what `finish` says, which goes into titles and descriptions.
    pub(super) fn mask_story(&self, story: &mut Story) {
        if let Some(finish) = &mut story.finish {
            self.mask(&mut finish.title);
            self.mask(&mut finish.summary);
            finish.evidence.iter_mut().for_each(|item| {
                self.mask(item);
            });
        }
    }

    /// Masks the output of checks.
    pub fn mask_checks(&self, report: &mut ChecksReport) {
        for output in &mut report.outputs {
            self.mask(&mut output.output);
        }
    }

    /// Masks what programs said while they fetched, and the names that they asked for.
    pub fn mask_fetch(&self, report: &mut FetchReport) {
        for words in &mut report.words {
            self.mask(&mut words.output);
            for host in words.hosts.iter_mut().chain(&mut words.refused_hosts) {
                self.mask(host);
            }
        }
    }

    /// Masks what a scan quotes of the repository.
    pub fn mask_scan(&self, found: &mut RepoScannedPayload) {
        self.mask(&mut found.context);
        for candidate in &mut found.candidates {
            self.mask(&mut candidate.why);
        }
    }
}
