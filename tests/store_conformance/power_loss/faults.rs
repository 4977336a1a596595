//! Disks that fail for a while: full, read-only, broken, or unable to sync. What is asked meanwhile is
//! refused with a reason, reads go on, nothing answered is lost, also not by a power cut, and the
//! same open log goes on when the disk does.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cody_batch::clock::SystemClock;
use cody_batch::store::{Expected, Log, LogError};

use super::disk::Syncs;
use super::{burst, cut_power, events_of, goes_on};
use crate::children::as_child;
use crate::support::{append, cases, open_sqlite};

/// What fails, with which error of the system, and a word of what a person is told to do.
const FAULTS: [(&str, &str); 4] = [
    ("write 28", "make room on the disk"),
    ("write 30", "mounted read-only"),
    ("write 5", "failing"),
    ("sync 5", "failing"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs only as the child of another test"]
async fn child_meets_faults() {
    let Some((directory, _)) = as_child() else { return };
    let fault = PathBuf::from(std::env::var_os("CODY_DISK_FAULT").unwrap());
    let acks = File::options().append(true).create(true).open(directory.join("acks")).unwrap();
    let log = Arc::new(open_sqlite(&directory, Arc::new(SystemClock)));
    let mut id = 0;
    for round in 0..4 {
        for (what, word) in FAULTS {
            burst(&log, &acks, id, id + 12).await;
            id += 12;
            std::fs::write(&fault, what).unwrap();
            if round % 2 == 1 {
                // Longer than the writer's patience, so that copying the WAL meets the fault.
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            let head = log.head().await.unwrap();
            for _ in 0..3 {
                id += 1;
                let refused =
                    log.append(append("s", Expected::Any, id.into(), events_of(id))).await;
                match refused {
                    Err(LogError::Unavailable(told)) => assert!(told.contains(word), "{told}"),
                    other => panic!("{what}: {other:?}"),
                }
                assert_eq!(log.head().await.unwrap(), head);
                let last = log.read_log(head.position - 1, 10).await.unwrap();
                assert_eq!(last.len(), 1);
            }
            std::fs::remove_file(&fault).unwrap();
            id += 1;
            burst(&log, &acks, id, id + 1).await;
            id += 1;
        }
    }
}

#[test]
fn a_disk_that_fails_for_a_while_costs_nothing_that_was_answered() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (mut cuts, mut answered) = (0u32, 0);
    cut_power("power_loss::faults::child_meets_faults", Syncs::Obeyed, cases(60), |left, acked| {
        runtime.block_on(goes_on(left, acked)).unwrap_or_else(|lost| {
            panic!("cut {cuts}, after {} answers: {lost}", acked.len());
        });
        cuts += 1;
        answered += acked.len();
    });
    println!("{cuts} power cuts beside failing disks, {answered} answered commands found");
}
