//! A demonstration's job, taken home over HTTP by the programs that people have, beside what the
//! command line prints of it.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use cody_batch::api::downloads::Links;
use cody_projections::overview;

use super::ground::{ALONE, http, reader_of, serve};

const PROGRAM: &str = env!("CARGO_BIN_EXE_cody-batch");

/// Runs `command` to its end, which has to be good, without holding up the server in this process.
async fn finish(mut command: Command) -> Vec<u8> {
    let said = format!("{command:?}");
    let Output { status, stdout, stderr } =
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(status.success(), "{said}: {}", String::from_utf8_lossy(&stderr));
    stdout
}

async fn program(args: &[&str], dir: &Path) -> Vec<u8> {
    let mut command = Command::new(PROGRAM);
    command.args(args).env("CODY_DATA_DIR", dir).env_remove("ANTHROPIC_API_KEY");
    finish(command).await
}

fn command(program: &str, dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(dir);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_downloaded_is_what_the_command_line_prints() {
    let _shared = ALONE.read().await;
    let dir = tempfile::tempdir().unwrap();
    let demo = dir.path().join("demo");
    program(&["demo", "--dir", demo.to_str().unwrap()], dir.path()).await;
    let data = demo.join("data");
    let reader = reader_of(&data).await;
    let jobs = reader.views.read(|views| overview::page(views, None, 9)).await.unwrap();
    let [job] = jobs.as_slice() else { panic!("one job: {jobs:?}") };
    let links = Arc::new(Links::new(Arc::clone(&reader.app)));
    let base = format!("http://{}/jobs/{}", serve(reader, links).await, job.job.job);
    let get = async |path: &str| {
        let url = format!("{base}/{path}");
        let answer = http().get(url).bearer_auth("good").send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.bytes().await.unwrap().to_vec()
    };
    for (path, args) in [
        ("events.ndjson", &["events", "--json"][..]),
        ("report.md", &["report"]),
        ("targets/1/diff.patch", &["diff", "latest", "1"]),
        ("targets/2/diff.patch", &["diff", "latest", "2"]),
        ("targets/2/thread.md", &["thread", "latest", "2", "--markdown"]),
    ] {
        let (here, there) = (get(path).await, program(args, &data).await);
        assert!(!here.is_empty());
        assert!(here == there, "{path} is what `{}` prints", args.join(" "));
    }
    let said = program(&["thread", "latest", "1", "--json"], &data).await;
    let said = String::from_utf8(said).unwrap();
    let json = String::from_utf8(get("targets/1/thread.json").await).unwrap();
    let (_, events) = json.split_once("\"events\":[\n").unwrap();
    let events = events.strip_suffix("\n]}\n").unwrap();
    assert!(events.lines().map(|line| line.trim_end_matches(',')).eq(said.lines()));
    serde_json::from_str::<serde_json::Value>(&json).unwrap();

    // The archive, by the system's tar: the patches as `--out` left them, and the report.
    std::fs::write(dir.path().join("a.tar.gz"), get("diffs.tar.gz").await).unwrap();
    assert!(get("diffs.tar.gz").await == std::fs::read(dir.path().join("a.tar.gz")).unwrap());
    let out = dir.path().join("out");
    std::fs::create_dir(&out).unwrap();
    finish(command("tar", &out, &["xzf", "../a.tar.gz"])).await;
    for name in ["billing-py.patch", "slug-js.patch"] {
        let left = std::fs::read(demo.join("patches").join(name)).unwrap();
        assert!(std::fs::read(out.join(name)).unwrap() == left, "{name}");
    }
    assert!(std::fs::read(out.join("report.md")).unwrap() == get("report.md").await);
    let patch = out.join("slug-js.patch");
    let check = ["apply", "--check", patch.to_str().unwrap()];
    finish(command("git", &demo.join("slug-js"), &check)).await;

    // Broken off and taken up again, as curl does it.
    let whole = get("report.md").await;
    std::fs::write(out.join("part.md"), &whole[..whole.len() / 3]).unwrap();
    let url = format!("{base}/report.md");
    let token = "authorization: Bearer good";
    let resume = ["-sS", "--fail", "--noproxy", "*", "-C", "-", "-H", token, "-o", "part.md", &url];
    finish(command("curl", &out, &resume)).await;
    assert!(std::fs::read(out.join("part.md")).unwrap() == whole);
    let named = [
        "-sS",
        "--fail",
        "--noproxy",
        "*",
        "-OJ",
        "-H",
        token,
        &format!("{base}/targets/1/diff.patch"),
    ];
    std::fs::remove_file(out.join("billing-py.patch")).unwrap();
    finish(command("curl", &out, &named)).await;
    assert!(out.join("billing-py.patch").exists());
}
