//! What this process takes of the machine, as the kernel tells.

/// What the process takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Process {
    pub resident_bytes: u64,
    pub cpu_seconds: f64,
}

/// What this process takes now; nothing where there is no `/proc`.
pub(super) fn read() -> Option<Process> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let page = u64::try_from(rustix::param::page_size()).ok()?;
    let ticks = rustix::param::clock_ticks_per_second();
    parse(&statm, &stat, page, ticks)
}

fn parse(statm: &str, stat: &str, page: u64, ticks_a_second: u64) -> Option<Process> {
    let resident: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    // The name before may hold anything but this.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    let (user, system) = (times.next()?.ok()?, times.next()?.ok()?);
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let cpu_seconds = (user + system) as f64 / ticks_a_second.max(1) as f64;
    Some(Process { resident_bytes: resident.saturating_mul(page), cpu_seconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strange_name_hides_nothing() {
        let stat = "7 (a) b ( c) S 1 7 7 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 4 0 9 1 2 3";
        let expected = Process { resident_bytes: 300 * 4_096, cpu_seconds: 2.0 };
        assert_eq!(parse("1000 300 5 1 0 9 0", stat, 4_096, 100), Some(expected));
        assert_eq!(parse("", stat, 4_096, 100), None);
    }

    #[test]
    fn this_process_takes_something() {
        assert!(read().is_some_and(|process| process.resident_bytes > 1 << 20));
    }
}
