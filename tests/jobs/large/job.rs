//! A whole job by the program: seconds a turn as the log tells them, and the memory of server and
//! worker as the kernel does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use cody_events::event::Event;

use super::Took;
use super::generate::Made;
use super::stages::peak_mib;
use crate::harness::{World, json};

const TURNS: usize = 7;

fn script() -> String {
    let mut script = String::from(
        "[[conversation]]\nname = \"change\"\nmatch = { system = [\"You change one repository\"] }\n",
    );
    for number in 1..TURNS {
        script.push_str(&format!(
            "[[conversation.turn]]\ncontent = [{{ tool = \"str_replace_based_edit_tool\", input = {{ \
             command = \"str_replace\", path = \"/repo/{}\", old_str = \"THE_LINE = {}\", \
             new_str = \"THE_LINE = {number}\" }} }}]\n",
            Made::edited(),
            number - 1,
        ));
    }
    script.push_str(
        "[[conversation.turn]]\ncontent = [{ tool = \"finish\", input = { outcome = \"changed\", \
         title = \"t\", summary = \"s\", evidence = [\"e\"] } }]\n\
         [[conversation]]\nname = \"review\"\nmatch = { system = [\"You review a change\"] }\n\
         [[conversation.turn]]\n\
         content = [{ text = '{\"verdict\": \"accept\", \"summary\": \"g\", \"reasons\": []}' }]\n",
    );
    script
}

/// Runs the job and tells what it took.
pub async fn measure(made: &Made) -> Vec<(String, Took)> {
    let world = World::new(&script()).await;
    let bare = made.bare.to_str().unwrap().to_owned();
    let args = ["run", "--prompt", "Raise the line", "--repo", &bare, "--json", "--check", "true"];
    let mut command = world.command(&args);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let started = Instant::now();
    let child = command.spawn().unwrap();
    let peaks: Arc<Mutex<BTreeMap<&'static str, f64>>> = Arc::default();
    let watched = tokio::spawn(watch(child.id(), Arc::clone(&peaks)));
    let output =
        tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    let whole = started.elapsed().as_secs_f64();
    watched.await.unwrap();
    assert_eq!(json(&output)["targets"][0]["outcome"], "diff-ready");
    let (mut turns, mut asked) = (Vec::new(), 0);
    for told in world.events().await {
        let at = told.recorded.recorded_at.as_micros();
        match told.event {
            Event::ClaudeTurn(_) => asked = at,
            Event::ToolsRan(_) => turns.push((at - asked) as f64 / 1e6),
            _ => {}
        }
    }
    assert_eq!(turns.len(), TURNS);
    // The first turn's includes the checkout.
    let first = turns.remove(0);
    turns.sort_by(f64::total_cmp);
    let peaks = peaks.lock().unwrap().clone();
    let [server, worker] = ["server", "worker"].map(|name| peaks.get(name).copied().unwrap());
    vec![
        ("job: first turn's tools".to_owned(), Took { seconds: first, peak_mib: worker }),
        (
            "job: a turn's tools".to_owned(),
            Took { seconds: turns[turns.len() / 2], peak_mib: worker },
        ),
        ("job: all of it (server)".to_owned(), Took { seconds: whole, peak_mib: server }),
    ]
}

/// Looks at the program and its workers until it is gone; the kernel keeps each one's highest mark.
async fn watch(server: u32, peaks: Arc<Mutex<BTreeMap<&'static str, f64>>>) {
    while let Some(peak) = peak_mib(server) {
        let mut found = vec![("server", peak)];
        let children = std::fs::read_dir(format!("/proc/{server}/task")).into_iter().flatten();
        for thread in children.flatten() {
            let listed = std::fs::read_to_string(thread.path().join("children"));
            for pid in listed.unwrap_or_default().split_whitespace() {
                found.extend(peak_mib(pid.parse().unwrap()).map(|peak| ("worker", peak)));
            }
        }
        note(&peaks, &found);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn note(peaks: &Mutex<BTreeMap<&'static str, f64>>, found: &[(&'static str, f64)]) {
    let mut peaks = peaks.lock().unwrap();
    for (name, peak) in found {
        let highest = peaks.entry(name).or_insert(0.0);
        *highest = highest.max(*peak);
    }
}
