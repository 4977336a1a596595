//! `demo`: the real pipeline on two small repositories, against a script that plays Claude over the
//! real wire protocol. Nothing but the words of the model is made up.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use clap::Args;
use cody_events::time::took_ms;
use secrecy::SecretString;

use super::run::run_request;
use super::{Context, Exit, text};
use crate::claude::player::{Player, Script};
use crate::plan::JobRequest;

const SCRIPT: &str = include_str!("demo/script.toml");
const PROMPT: &str = "The tests of this repository fail. Find the defect and fix it in the code, \
without changing what the tests expect. Add one test for the edge next to it.";

/// The sample repositories: name, and files with their content.
const SAMPLES: [(&str, &[(&str, &str)]); 2] = [
    (
        "billing-py",
        &[
            (".gitignore", include_str!("demo/billing-py/gitignore")),
            ("billing.py", include_str!("demo/billing-py/billing.py")),
            ("pyproject.toml", include_str!("demo/billing-py/pyproject.toml")),
            ("tests/__init__.py", ""),
            ("tests/test_billing.py", include_str!("demo/billing-py/tests/test_billing.py")),
        ],
    ),
    (
        "slug-js",
        &[
            ("package.json", include_str!("demo/slug-js/package.json")),
            ("slug.js", include_str!("demo/slug-js/slug.js")),
            ("test/slug.test.js", include_str!("demo/slug-js/test/slug.test.js")),
        ],
    ),
];

/// What `demo` takes.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Where to put the samples, the log and the patches [default: demo/ in the data directory]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Runs the verb.
pub async fn run(mut context: Context, args: DemoArgs) -> Result<Exit, anyhow::Error> {
    let started = Instant::now();
    let dir =
        std::path::absolute(args.dir.unwrap_or_else(|| context.config.data_dir.join("demo")))?;
    clear(&dir)?;
    let repositories = make_samples(&dir)?;
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let player = Player::bind(Script::from_toml(SCRIPT)?, loopback).await?;
    eprintln!(
        "This is a demonstration. A script written by hand plays Claude, over the real wire protocol;\n\
         everything else is real: git, the sandbox, the checks, the log, the patches.\n"
    );
    let program = context.program.clone();
    context.config.data_dir = dir.join("data");
    context.program =
        format!("{} --data-dir {}", first_word(&program), text::quoted(&dir.join("data")));
    context.config.claude.base_url = player.base_url()?.to_string();
    context.config.claude.api_key = Some(SecretString::from("no-key-is-needed"));
    context.config.claude.extra_models = None;
    context.config.job.model = "claude-opus-5-5".to_owned();
    let request = JobRequest {
        prompt: PROMPT.to_owned(),
        repositories: repositories.iter().map(|path| path.display().to_string()).collect(),
        ..JobRequest::default()
    };
    let patches = dir.join("patches");
    let exit = run_request(&context, &request, Some(&patches), false).await?;
    let ms = took_ms(started.elapsed());
    text::put(format_args!("{}\n", next_steps(&program, &dir, &patches, ms)))?;
    Ok(exit)
}

/// What a newcomer can type now.
fn next_steps(program: &str, dir: &Path, patches: &Path, ms: u64) -> String {
    format!(
        "\nTake a patch:\n  git -C {} apply --index {}\n\n\
         Done in {}. No key was used and nothing was spent: the costs are what Claude would have cost.\n\
         With a key, on your own repositories:\n  \
         export ANTHROPIC_API_KEY=sk-ant-…\n  \
         {program} run --prompt \"Replace print by logging\" --repo ~/src/app --repo owner/name --out patches",
        text::quoted(&dir.join("billing-py")),
        text::quoted(&patches.join("billing-py.patch")),
        text::duration(ms),
    )
}

/// The program without the flags that follow its name.
fn first_word(program: &str) -> &str {
    program.split(" --data-dir ").next().unwrap_or(program)
}

/// Empties the directory of an earlier demonstration, and only of one.
fn clear(dir: &Path) -> Result<(), anyhow::Error> {
    const MARK: &str = ".cody-batch-demo";
    if dir.exists() {
        let is_empty = std::fs::read_dir(dir)?.next().is_none();
        anyhow::ensure!(
            is_empty || dir.join(MARK).exists(),
            "{} is not empty and no earlier demonstration; choose another --dir",
            dir.display()
        );
        std::fs::remove_dir_all(dir)
            .with_context(|| format!("{} cannot be emptied", dir.display()))?;
    }
    std::fs::create_dir_all(dir).with_context(|| format!("{} cannot be made", dir.display()))?;
    std::fs::write(dir.join(MARK), "made by cody-batch demo\n")?;
    Ok(())
}

fn make_samples(dir: &Path) -> Result<Vec<PathBuf>, anyhow::Error> {
    let mut repositories = Vec::new();
    for (name, files) in SAMPLES {
        let root = dir.join(name);
        for (path, content) in files {
            let place = root.join(path);
            if let Some(parent) = place.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::write(&place, content)?;
        }
        crate::git::init_with_commit(&root, "The sample as it was found")?;
        repositories.push(root);
    }
    Ok(repositories)
}
