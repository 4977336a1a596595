//! Takes secrets out of what a worker reports, before any of it is recorded and shown to Claude. Only
//! words are masked: what a tree is made of is kept as it is, and a diff with a secret is held.

use cody_events::evidence::RepoScannedPayload;
use serde::Deserialize;

use super::{Intake, Story};
use crate::scan::secrets;
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
    /// `text` without secrets, and how many there were.
    pub fn masked(&self, text: &mut String) -> usize {
        match secrets::mask(text, &self.known) {
            Some((masked, count)) => {
                *text = masked;
                count
            }
            None => 0,
        }
    }

    /// Masks the results of a turn's tools and their whole outputs; how many secrets there were.
    pub fn mask_tools(&self, report: &mut ToolsReport) -> Result<usize, serde_json::Error> {
        let mut count = 0;
        for result in &mut report.results {
            let mut block: ResultBlock = result.read()?;
            let found = self.masked(&mut block.content);
            if found > 0 {
                *result = tools::tool_result(&block.tool_use_id, &block.content, block.is_error)?;
                count += found;
            }
        }
        for output in &mut report.outputs {
            count += self.masked(&mut output.output);
        }
        Ok(count)
    }

    /// Masks what `finish` says, which goes into titles and descriptions.
    pub(super) fn mask_story(&self, story: &mut Story) {
        if let Some(finish) = &mut story.finish {
            self.masked(&mut finish.title);
            self.masked(&mut finish.summary);
            finish.evidence.iter_mut().for_each(|item| {
                self.masked(item);
            });
        }
    }

    /// Masks the output of checks.
    pub fn mask_checks(&self, report: &mut ChecksReport) {
        for output in &mut report.outputs {
            self.masked(&mut output.output);
        }
    }

    /// Masks what programs said while they fetched, and the names that they asked for.
    pub fn mask_fetch(&self, report: &mut FetchReport) {
        for words in &mut report.words {
            self.masked(&mut words.output);
            for host in words.hosts.iter_mut().chain(&mut words.refused_hosts) {
                self.masked(host);
            }
        }
    }

    /// Masks what a scan quotes of the repository.
    pub fn mask_scan(&self, found: &mut RepoScannedPayload) {
        self.masked(&mut found.context);
        for candidate in &mut found.candidates {
            self.masked(&mut candidate.why);
        }
    }
}
