//! Landlock's rules: which files a command may touch, and that it reaches no process outside.

use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

use super::spec::Spec;

/// What is relied on: the first that keeps signals in, of Linux 6.12. With less, nothing runs.
const RELIED_ON: ABI = ABI::V6;
/// What is asked for beyond that where the kernel has it: rules for sockets that have a path.
const WELCOME: ABI = ABI::V9;

/// Puts this process, and all that it will start, into a world from which no signal reaches out.
/// Files may be moved in it as ever: what a ruleset does not speak of, that it forbids.
pub(super) fn keep_signals_in() -> Result<(), String> {
    let ruleset = || {
        Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::Refer)?
            .scope(Scope::from_all(RELIED_ON))?
            .create()
    };
    let ruleset = ruleset().map_err(needs)?;
    enforce(allow(ruleset, Path::new("/"), AccessFs::Refer.into())?)
}

/// Restricts this process, and all that it will start, to the files that `spec` names.
pub(super) fn keep_files_out(spec: &Spec) -> Result<(), String> {
    let handled = || {
        Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_all(RELIED_ON))?
            .handle_access(AccessNet::from_all(RELIED_ON))?
            .scope(Scope::from_all(RELIED_ON))?
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(WELCOME))?
            .create()
    };
    let read = AccessFs::from_read(RELIED_ON);
    let devices = AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev;
    let all = AccessFs::from_all(RELIED_ON) & !devices;
    let write = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate;

    let mut ruleset = handled().map_err(needs)?;
    for path in &spec.readable {
        // Machines differ in what they have.
        if path.exists() {
            ruleset = allow(ruleset, path, read)?;
        }
    }
    for path in &spec.writable {
        ruleset = allow(ruleset, path, all)?;
    }
    for path in spec.writable_files.iter().chain(&spec.devices) {
        ruleset = allow(ruleset, path, write)?;
    }
    enforce(ruleset)
}

fn allow(
    ruleset: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, String> {
    let told = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let place = PathFd::new(path).map_err(|error| told(&error))?;
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(RELIED_ON) };
    ruleset.add_rule(PathBeneath::new(place, access)).map_err(|error| told(&error))
}

fn enforce(ruleset: RulesetCreated) -> Result<(), String> {
    let status = ruleset.restrict_self().map_err(|error| error.to_string())?;
    // Best effort where more is welcome shows as partly enforced; what is relied on was required.
    match status.ruleset {
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
        RulesetStatus::NotEnforced => Err("the kernel enforces nothing".to_owned()),
    }
}

fn needs(error: RulesetError) -> String {
    format!("landlock that keeps signals in is needed (Linux 6.12 has it): {error}")
}
