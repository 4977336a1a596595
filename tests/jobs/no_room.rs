//! The disk is full while a response arrives that was paid for: nothing is lost, nothing is asked for
//! again, and the job goes on when there is room, without a restart.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::harness::{World, json, repository, wait_for};

/// A disk of its own, small; gone with its test.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    /// Nothing where one may not mount.
    fn mount(place: std::path::PathBuf) -> Option<Self> {
        std::fs::create_dir(&place).unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"])
            .arg(&place)
            .stderr(Stdio::null())
            .status();
        mount.is_ok_and(|status| status.success()).then_some(Self(place))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A response that does not fit into what the log has set aside on the disk.
fn script() -> String {
    let noise: String = (0..3_000_000_u64)
        .map(|n| char::from(b'a' + u8::try_from((n * n * 31 + n / 7) % 1_009 % 26).unwrap()))
        .collect();
    format!(
        r#"
[[conversation]]
name = "change"
match = {{ system = ["You change one repository"] }}
[[conversation.turn]]
content = [{{ tool = "bash", input = {{ command = "echo b >>a.txt" }} }}]
[[conversation.turn]]
delay_ms = 1500
content = [
    {{ text = "{noise}" }},
    {{ tool = "finish", input = {{ outcome = "changed", title = "T", summary = "S.", evidence = ["a.txt"] }} }},
]
"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_holds_a_job_up_and_costs_it_nothing() {
    let world = World::new(&script()).await;
    let Some(disk) = SmallDisk::mount(world.path("data")) else {
        return println!("no disk may be mounted here; the log's own tests fill files instead");
    };
    let app = world.path("app");
    repository(&app, &[("a.txt", "a\n")]);
    let mut run =
        world.command(&["run", "--prompt", "x", "--json", "--no-checks", "--no-review", "--repo"]);
    let mut run = run.arg(&app).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(&disk.0, &mut run, |told| {
        told.iter().filter(|told| told.recorded.kind == "call-permitted").count() == 2
    })
    .await;
    let ballast = disk.0.join("ballast");
    let mut file = std::fs::File::create(&ballast).unwrap();
    let block = vec![1; 4096];
    while file.write_all(&block).is_ok() {}
    // The response comes, and cannot be written.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let turns = |told: &[cody_batch::app::Told]| {
        told.iter().filter(|told| told.recorded.kind == "claude-turn").count()
    };
    assert_eq!(turns(&world.events().await), 1);
    assert_eq!(run.try_wait().unwrap(), None, "the program still runs");
    drop(file);
    std::fs::remove_file(&ballast).unwrap();
    let output =
        tokio::task::spawn_blocking(move || run.wait_with_output().unwrap()).await.unwrap();
    assert_eq!(json(&output)["status"], "succeeded", "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(turns(&world.events().await), 2);
    assert_eq!(world.player.heard().len(), 2, "each turn was asked for once");
}
