//! `config`: every setting, and where it comes from; and which sandbox works here.

use clap::Args;
use cody_events::attempt::SandboxBackend;
use rustix::process::geteuid;
use serde_json::json;

use super::{Context, Exit, text};
use crate::config::Config;
use crate::sandbox::{Sandbox, SandboxOptions};

/// What `config` takes.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub async fn run(context: Context, args: ConfigArgs) -> Result<Exit, anyhow::Error> {
    let sandboxes = sandboxes(&context.config).await;
    if args.json {
        for row in &context.config.rows {
            text::put(format_args!("{}\n", serde_json::to_string(row)?))?;
        }
        for SandboxRow { backend, why_not, is_used } in &sandboxes {
            let row = json!({
                "sandbox": backend,
                "works": why_not.is_none(),
                "used": is_used,
                "why_not": why_not,
            });
            text::put(format_args!("{row}\n"))?;
        }
        return Ok(Exit::OK);
    }
    put_settings(&context.config)?;
    put_sandboxes(&sandboxes)?;
    Ok(Exit::OK)
}

fn put_settings(config: &Config) -> Result<(), anyhow::Error> {
    let rows = &config.rows;
    text::put(format_args!("# {}\n", config.data_dir.join(crate::config::FILE).display()))?;
    let key = rows.iter().map(|row| row.key.len()).max().unwrap_or(0);
    let value = rows.iter().map(|row| row.value.len()).max().unwrap_or(0).min(40);
    for row in rows {
        text::put(format_args!(
            "{:<key$}  {:<value$}  {:<11}  {}\n",
            row.key, row.value, row.source, row.variable
        ))?;
    }
    Ok(())
}

/// A sandbox, and how it does on this machine.
#[derive(Debug)]
struct SandboxRow {
    backend: SandboxBackend,
    why_not: Option<String>,
    /// Whether commands of jobs run in it.
    is_used: bool,
}

/// Tries both, whatever is configured: who looks here wants to know what could be.
async fn sandboxes(config: &Config) -> Vec<SandboxRow> {
    let options = SandboxOptions {
        extra_mounts: config.sandbox.extra_mounts.clone(),
        ..SandboxOptions::default()
    };
    let found = Sandbox::probe_all(&options).await;
    let wanted = config.sandbox.backends.iter();
    let works = |wanted: &SandboxBackend| found.contains(&(*wanted, Ok(())));
    let used = wanted.copied().find(works);
    let row = |(backend, found): (SandboxBackend, Result<(), String>)| SandboxRow {
        backend,
        why_not: found.err(),
        is_used: used == Some(backend),
    };
    found.clone().into_iter().map(row).collect()
}

fn put_sandboxes(sandboxes: &[SandboxRow]) -> Result<(), anyhow::Error> {
    text::put(format_args!("\n# Sandboxes on this machine\n"))?;
    for SandboxRow { backend, why_not, is_used } in sandboxes {
        let name = match backend {
            SandboxBackend::Bubblewrap => "bubblewrap",
            SandboxBackend::Landlock => "landlock",
            SandboxBackend::None => "none",
        };
        let verdict = match (why_not, is_used) {
            (None, true) => "works, and is used".to_owned(),
            (None, false) => "works".to_owned(),
            (Some(why), _) => why.clone(),
        };
        text::put(format_args!("{name:<10}  {verdict}\n"))?;
    }
    if sandboxes.iter().any(|row| row.is_used && row.backend == SandboxBackend::Landlock) {
        let more = match geteuid().is_root() {
            true => "",
            false => " They can change modes and times of files that are yours.",
        };
        text::put(format_args!(
            "Landlock holds less than bubblewrap: commands see the arguments of this machine's \
             processes, and learn whether a file is there, how large and how old it is.{more}\n"
        ))?;
    }
    if !sandboxes.iter().any(|row| row.is_used) {
        text::put(format_args!(
            "None is used: no check and no command of Claude runs, and every diff is held.\n"
        ))?;
    }
    Ok(())
}
