//! `bash`: runs a script in the sandbox, never anywhere else.

use cody_events::attempt::SandboxBackend;
use cody_events::raw::RawJson;
use serde::Deserialize;

use super::place::REPO;
use super::result::{Answer, Complaint, complain};
use super::{ToolContext, read_input};
use crate::sandbox::{Ran, Sandbox, SandboxCommand, SandboxError};

/// The longest script that the kernel passes on as one argument, with room for what is put around it.
const MAX_SCRIPT_BYTES: usize = 120_000;

#[derive(Deserialize)]
struct Input {
    command: Option<String>,
    restart: Option<bool>,
}

pub(super) async fn run(context: &ToolContext, input: &RawJson) -> Answer {
    let Input { command, restart } = read_input(input)?;
    let sandbox = match &context.sandbox {
        Some(sandbox) if sandbox.backend() != SandboxBackend::None => sandbox,
        _ => {
            return complain(
                "bash: no sandbox works on this machine, so no command is run. Use \
                 str_replace_based_edit_tool, list_files and search_files.",
            );
        }
    };
    if restart == Some(true) {
        if let Some(session) = &context.session {
            session.restart().map_err(|error| {
                tracing::error!(%error, "a shell session could not be restarted");
                Complaint("bash: the shell could not be restarted.".to_owned())
            })?;
        }
        return Ok(
            "The shell was restarted: it is in /repo, and exported variables are gone.".to_owned()
        );
    }
    match command {
        Some(script) if !script.trim().is_empty() => run_script(context, sandbox, script).await,
        _ => complain("bash: give a `command`, or `restart: true`."),
    }
}

async fn run_script(context: &ToolContext, sandbox: &Sandbox, script: String) -> Answer {
    if script.contains('\0') {
        return complain("bash: the command has a NUL byte, which no shell can be given.");
    }
    if script.len() > MAX_SCRIPT_BYTES {
        return complain(format!(
            "bash: the command is {} bytes long; at most {MAX_SCRIPT_BYTES} can be run. Write long texts \
             with str_replace_based_edit_tool, then run what uses them.",
            script.len()
        ));
    }
    let env = [("TERM", "dumb"), ("NO_COLOR", "1"), ("PAGER", "cat"), ("GIT_PAGER", "cat")];
    let command = SandboxCommand {
        git_dir: context.git_dir.clone(),
        read_only: context.read_only.clone(),
        session: context.session.clone(),
        env: env
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into_iter()
            .chain(context.env.iter().cloned())
            .collect(),
        ..SandboxCommand::new(script, &context.root, context.time_left(), context.output_cap)
    };
    match sandbox.run(&command).await {
        Ok(ran) => told(context, &ran, sandbox.hint(&command.script)),
        Err(error @ (SandboxError::None(_) | SandboxError::Start(_))) => {
            tracing::error!(?error, "a command could not be run");
            complain(
                "bash: the sandbox did not start, so nothing was run. Go on with the other tools.",
            )
        }
    }
}

/// What Claude is told of a run. An exit code of 0 goes without saying; every other end is an error.
fn told(context: &ToolContext, ran: &Ran, hint: Option<&str>) -> Answer {
    let mut text = String::from_utf8_lossy(&ran.output).into_owned();
    // A mount table names the directory on this machine; Claude knows it as /repo.
    if let Some(root) = context.root.to_str().filter(|root| root.len() > 1) {
        text = text.replace(root, REPO);
    }
    let note = match (ran.exit_code, ran.exceeded) {
        (Some(0), _) => return Ok(text),
        (Some(code), _) => {
            let hint = hint.map_or(String::new(), |hint| format!(" [{hint}]"));
            format!("[exit code {code}]{hint}")
        }
        (None, Some(limit)) => format!("[killed with all that it started: {limit}]"),
        (None, None) if ran.timed_out => format!(
            "[killed after {} seconds, and all that it started; try something that ends sooner]",
            context.timeout.as_secs_f64()
        ),
        (None, None) => "[killed by a signal]".to_owned(),
    };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&note);
    complain(text)
}
