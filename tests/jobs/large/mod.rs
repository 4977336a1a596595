//! A repository of 100,000 files and 1 GiB beside one of 10 files: what each stage takes, and how
//! much memory. `make proof` prints the table; the same at a fiftieth of the size runs with the rest.

mod generate;
mod job;
mod stages;

use generate::Size;

/// What a stage took, of one repository.
#[derive(Debug, Clone, Copy)]
pub struct Took {
    pub seconds: f64,
    /// The highest resident memory of the process at work, in MiB.
    pub peak_mib: f64,
}

/// A row of the table: the stage, and what it took of each repository.
type Row = (String, Vec<Took>);

async fn side_by_side(sizes: [Size; 2]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for (column, size) in sizes.into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let made = generate::repository(&dir.path().join("big"), size);
        let mut all = stages::measure(dir.path(), &made).await;
        all.extend(job::measure(&made).await);
        for (index, (name, took)) in all.into_iter().enumerate() {
            if column == 0 {
                rows.push((name, Vec::new()));
            }
            rows[index].1.push(took);
        }
    }
    rows
}

fn print(sizes: [Size; 2], rows: &[Row]) {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap();
    println!("load {}", load.trim());
    println!("{:<26} {:>18} {:>18}", "", sizes[0].to_string(), sizes[1].to_string());
    for (name, took) in rows {
        print!("{name:<26}");
        for Took { seconds, peak_mib } in took {
            print!(" {seconds:>8.3} s {peak_mib:>4.0} MiB");
        }
        println!();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes some GiB and takes minutes: make proof"]
async fn large_and_small_side_by_side() {
    let sizes = [Size { files: 10, bytes: 100 << 10 }, Size { files: 100_000, bytes: 1 << 30 }];
    let rows = side_by_side(sizes).await;
    print(sizes, &rows);
    for (name, took) in &rows {
        let most = took.iter().map(|took| took.peak_mib).fold(0.0, f64::max);
        assert!(most < 200.0, "{name} took {most:.0} MiB");
        // A turn looks at every file and reads next to none; this is several times what it takes.
        let is_a_turns = name == "walk after an edit" || name == "job: a turn's tools";
        let slowest = took.iter().map(|took| took.seconds).fold(0.0, f64::max);
        assert!(!is_a_turns || slowest < 2.0, "{name} took {slowest:.1} s");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fiftieth_of_it_works_the_same() {
    let sizes = [Size { files: 10, bytes: 100 << 10 }, Size { files: 2_000, bytes: 20 << 20 }];
    print(sizes, &side_by_side(sizes).await);
}
