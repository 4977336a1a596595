//! What the log's benchmarks measure with: processor time, medians over rounds, and a table that says
//! of each figure what it was to be.

use std::path::Path;
use std::time::Duration;

/// The processor time of the threads with this name, or of none.
pub fn thread_cpu(name: &str) -> Duration {
    let named = |task: &std::path::PathBuf| {
        std::fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name)
    };
    tasks().filter(named).map(|task| cpu_of(&task)).sum()
}

/// The processor time of all threads that live.
pub fn process_cpu() -> Duration {
    tasks().map(|task| cpu_of(&task)).sum()
}

/// The processor time of this thread.
pub fn own_cpu() -> Duration {
    cpu_of(Path::new("/proc/thread-self"))
}

fn tasks() -> impl Iterator<Item = std::path::PathBuf> {
    std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path())
}

fn cpu_of(task: &Path) -> Duration {
    let text = std::fs::read_to_string(task.join("schedstat")).unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

pub fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// A count as a divisor.
#[expect(clippy::cast_precision_loss, reason = "counts this small are exact")]
pub fn number(count: u64) -> f64 {
    count as f64
}

/// How busy the machine is besides us.
pub fn print_load() {
    println!("load average: {}", std::fs::read_to_string("/proc/loadavg").unwrap().trim());
}

/// The median of `value` over all rounds.
pub fn median<R>(rounds: &[R], value: impl Fn(&R) -> f64) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A figure that nothing was asked of.
pub fn print(what: &str, figure: f64, unit: &str) {
    println!("  {what:<46} {figure:>10.1} {unit}");
}

/// A figure that was to be at most `aim`.
pub fn print_at_most(what: &str, figure: f64, unit: &str, aim: f64) {
    print_aim(what, figure, unit, "at most", aim, figure <= aim);
}

/// A figure that was to be at least `aim`.
pub fn print_at_least(what: &str, figure: f64, unit: &str, aim: f64) {
    print_aim(what, figure, unit, "at least", aim, figure >= aim);
}

fn print_aim(what: &str, figure: f64, unit: &str, word: &str, aim: f64, is_met: bool) {
    let (ratio, verdict) = (figure / aim, if is_met { "met" } else { "MISSED" });
    let figure = if figure < 100.0 { format!("{figure:.2}") } else { format!("{figure:.0}") };
    println!(
        "  {what:<46} {figure:>10} {unit:<5} aim {word} {aim:.2}, ratio {ratio:.2}: {verdict}"
    );
}
