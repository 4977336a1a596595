//! What jobs may ask for, and what they get when they ask for nothing.

use std::path::PathBuf;

use super::ConfigError;
use super::settings::Settings;

/// Defaults and caps of jobs.
#[derive(Debug, Clone)]
pub struct JobConfig {
    /// `model` / `CODY_MODEL`: the model of a job that names none.
    pub model: String,
    /// `budget_usd` / `CODY_BUDGET_USD`: micro-dollars a target.
    pub budget_micros: u64,
    /// `max_turns` / `CODY_MAX_TURNS`: Claude's responses a target.
    pub max_turns: u32,
    /// `max_targets` / `CODY_MAX_TARGETS`: repositories a job.
    pub max_targets: usize,
    /// `max_prompt_bytes` / `CODY_MAX_PROMPT_BYTES`.
    pub max_prompt_bytes: usize,
    /// Whether one repository of a job goes first unless the job says otherwise.
    pub pilot: bool,
    /// `max_budget_usd` / `CODY_MAX_BUDGET_USD`: micro-dollars for each target above which a job needs an
    /// approver's word.
    pub max_budget_micros: Option<u64>,
    /// `own_approval` / `CODY_OWN_APPROVAL`: whether whoever created a job may approve its diffs.
    pub own_approval: bool,
    /// `local_roots` / `CODY_LOCAL_ROOTS`: folders below which programs may name local repositories over
    /// a door.
    pub local_roots: Vec<PathBuf>,
}

impl JobConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            model: settings.text("model", "CODY_MODEL", "claude-opus-5-5"),
            budget_micros: settings.dollars("budget_usd", "CODY_BUDGET_USD", "5.00")?,
            max_turns: settings.number("max_turns", "CODY_MAX_TURNS", 60)?,
            max_targets: settings.number("max_targets", "CODY_MAX_TARGETS", 5)?,
            max_prompt_bytes: settings.number(
                "max_prompt_bytes",
                "CODY_MAX_PROMPT_BYTES",
                65_536,
            )?,
            pilot: settings.boolean("pilot", "CODY_PILOT", false)?,
            max_budget_micros: settings
                .optional_dollars("max_budget_usd", "CODY_MAX_BUDGET_USD")?,
            own_approval: settings.boolean("own_approval", "CODY_OWN_APPROVAL", false)?,
            local_roots: settings
                .list("local_roots", "CODY_LOCAL_ROOTS", "", ':')
                .into_iter()
                .map(PathBuf::from)
                .collect(),
        })
    }
}
