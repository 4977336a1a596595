//! `bash`: a command in the sandbox. Each call is a process tree of its own, dead before the next;
//! the directory and exported variables carry over.

use serde::Deserialize;

use super::{Answer, AskedTool, ToolContext, input};
use crate::sandbox::SandboxCommand;

#[derive(Deserialize)]
struct Bash {
    command: Option<String>,
    #[serde(default)]
    restart: bool,
}

/// Runs one command.
pub(super) async fn run(context: &ToolContext, tool: &AskedTool) -> Answer {
    let Some(sandbox) = &context.sandbox else {
        return Answer::Failed(
            "`bash` is not available: no sandbox works here, or the job does not allow commands. \
             Use the other tools."
                .to_owned(),
        );
    };
    let asked = match input::<Bash>(tool) {
        Ok(asked) => asked,
        Err(answer) => return answer,
    };
    if asked.restart
        && let Some(session) = &context.session
        && let Err(error) = session.restart()
    {
        return Answer::Failed(format!("The shell could not be started anew: {error}."));
    }
    let Some(command) = asked.command else {
        return match asked.restart {
            true => Answer::Said("The shell starts anew, in /repo.".to_owned()),
            false => Answer::Failed("Give a `command`, or `restart: true`.".to_owned()),
        };
    };
    let ran = sandbox
        .run(&SandboxCommand {
            script: command,
            repo: context.root.clone(),
            git_dir: context.git_dir.clone(),
            read_only: context.read_only.clone(),
            cache: None,
            session: context.session.clone(),
            env: Vec::new(),
            timeout: context.timeout,
            output_cap: context.output_cap,
        })
        .await;
    match ran {
        Err(error) => Answer::Failed(format!("The command did not run: {error}.")),
        Ok(ran) => {
            let mut text = String::from_utf8_lossy(&ran.output).into_owned();
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            match (ran.timed_out, ran.exit_code) {
                (true, _) => text.push_str(&format!(
                    "[ended after {} s, the limit of one command]\n",
                    context.timeout.as_secs()
                )),
                (false, Some(0)) if text.is_empty() => text.push_str("[no output]\n"),
                (false, Some(0)) => {}
                (false, Some(code)) => text.push_str(&format!("[exit code {code}]\n")),
                (false, None) => text.push_str("[killed by a signal]\n"),
            }
            if ran.exit_code == Some(0) { Answer::Said(text) } else { Answer::Failed(text) }
        }
    }
}
