//! Whose log it is: one server a directory, fenced predecessors, readers beside it, and files that
//! are no log of ours.

use std::sync::Arc;

use cody_batch::entropy::SystemEntropy;
use cody_batch::store::side::{ClaimNonce, Lease, PackRow, Process, SideTables, TokenHash};
use cody_batch::store::sqlite::OpenError;
use cody_batch::store::verify::Verdict;
use cody_batch::store::{
    Append, Appended, Expected, LockError, Log, LogError, SqliteLog, UniqueKey,
};
use cody_events::digest::{ObjectId, Sha256};
use cody_events::ids::{AttemptNumber, JobId, RequestId, TargetNumber};
use cody_events::time::Timestamp;
use uuid::Uuid;

use crate::children::{as_child, say, start};
use crate::support::{Directory, SetClock, append, event, read_all};

fn try_open(directory: &Directory) -> Result<SqliteLog, OpenError> {
    SqliteLog::open(directory.path(), Arc::new(SetClock::new(1)), Arc::new(SystemEntropy))
}

#[tokio::test]
async fn a_second_server_is_told_who_holds_the_directory() {
    let directory = Directory::new();
    let first = directory.sqlite();
    match try_open(&directory) {
        Err(OpenError::Lock(LockError::Held { holder, .. })) => {
            assert_eq!(holder, std::process::id().to_string());
        }
        other => panic!("{other:?}"),
    }
    drop(first);
    assert_eq!(try_open(&directory).unwrap().epoch(), 2);
}

#[tokio::test]
#[ignore = "runs only as the child of another test"]
async fn child_opens_what_is_taken() {
    let Some((directory, _)) = as_child() else { return };
    match SqliteLog::open(&directory, Arc::new(SetClock::new(1)), Arc::new(SystemEntropy)) {
        Err(error @ OpenError::Lock(LockError::Held { .. })) => say(&format!("refused: {error}")),
        other => panic!("{other:?}"),
    }
    let log = SqliteLog::open_to_read(&directory).unwrap();
    assert_eq!(read_all(&log, 10).await.len(), 1);
    let refused = log.append(append("a", Expected::Any, 2, vec![event(2)])).await;
    assert!(matches!(refused, Err(LogError::Unavailable(_))), "{refused:?}");
    say("done");
}

#[tokio::test]
async fn a_second_process_is_refused_and_may_read() {
    let directory = Directory::new();
    let log = directory.sqlite();
    log.append(append("a", Expected::Any, 1, vec![event(1)])).await.unwrap();
    let child = start("ownership::child_opens_what_is_taken", directory.path(), 0);
    let told = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    let refused = format!("refused: another cody-batch (process {}) works", std::process::id());
    assert!(told.contains(&refused) && told.lines().any(|line| line == "done"), "{told}");
    let next = log.append(append("a", Expected::Exact(1), 3, vec![event(3)])).await.unwrap();
    assert_eq!(
        next,
        Appended::Appended { first_position: 2, last_position: 2, last_version: 2 },
        "who tried has fenced nobody"
    );
}

#[tokio::test]
async fn a_log_that_somebody_opened_after_us_takes_nothing_more_from_us() {
    let directory = Directory::new();
    let old = directory.sqlite();
    old.append(append("a", Expected::Any, 1, vec![event(1)])).await.unwrap();
    // Who removes the lock's file can start a second server. The epoch stops the first.
    std::fs::remove_file(directory.path().join("lock")).unwrap();
    let new = directory.sqlite();
    let late = append("a", Expected::Any, 2, vec![event(2)]);
    assert_eq!(old.append(late.clone()).await.unwrap(), Appended::Fenced { current_epoch: 2 });
    let done = new.append(late).await.unwrap();
    assert_eq!(done, Appended::Appended { first_position: 2, last_position: 2, last_version: 2 });
    let again = old.append(append("a", Expected::Any, 3, vec![event(3)])).await.unwrap();
    assert_eq!(again, Appended::Fenced { current_epoch: 2 });
    // Nor does a key that is used for nothing get in.
    let key =
        UniqueKey { actor: "ada".to_owned(), key: "k".to_owned(), request_digest: Sha256::ZERO };
    let nothing = Append { unique_key: Some(key), ..append("a", Expected::Any, 4, vec![]) };
    assert_eq!(old.append(nothing).await.unwrap(), Appended::Fenced { current_epoch: 2 });
    assert_eq!(new.find_key("ada", "k").await.unwrap(), None);
    assert_eq!(read_all(&new, 10).await.len(), 2);
}

#[tokio::test]
async fn a_log_can_be_read_beside_its_server_and_without_one() {
    let directory = Directory::new();
    let missing = SqliteLog::open_to_read(directory.path());
    assert!(matches!(missing, Err(OpenError::Missing(_))));
    let server = directory.sqlite();
    server.append(append("a", Expected::Any, 1, vec![event(1)])).await.unwrap();
    let reader = SqliteLog::open_to_read(directory.path()).unwrap();
    server.append(append("a", Expected::Any, 2, vec![event(2)])).await.unwrap();
    assert_eq!(read_all(&reader, 10).await, read_all(&server, 10).await);
    assert_eq!(reader.head().await.unwrap(), server.head().await.unwrap());
    let refused = reader.append(append("a", Expected::Any, 3, vec![event(3)])).await;
    assert!(matches!(refused, Err(LogError::Unavailable(_))));
    assert!(matches!(reader.switch_views(7).await, Err(LogError::Unavailable(_))));
    drop((server, reader));
    let alone = SqliteLog::open_to_read(directory.path()).unwrap();
    assert_eq!(alone.head().await.unwrap().position, 2);
    assert!(matches!(alone.verify().await.unwrap(), Verdict::Whole { events: 2, .. }));
}

#[tokio::test]
async fn files_of_others_and_of_later_versions_are_left_alone() {
    let statements = [
        "CREATE TABLE mine (x); INSERT INTO mine VALUES (1);",
        "PRAGMA application_id = 7",
        "PRAGMA application_id = 0x434f4459; PRAGMA user_version = 2; CREATE TABLE events (x)",
    ];
    for statement in statements {
        let directory = Directory::new();
        let path = directory.path().join("log.db");
        rusqlite::Connection::open(&path).unwrap().execute_batch(statement).unwrap();
        let before = std::fs::read(&path).unwrap();
        assert!(matches!(try_open(&directory), Err(OpenError::Schema { .. })), "{statement}");
        let reader = SqliteLog::open_to_read(directory.path());
        assert!(matches!(reader, Err(OpenError::Schema { .. })), "{statement}");
        assert_eq!(std::fs::read(&path).unwrap(), before, "{statement}");
    }
    let directory = Directory::new();
    std::fs::write(
        directory.path().join("log.db"),
        "no database at all, but long enough".repeat(40),
    )
    .unwrap();
    assert!(matches!(try_open(&directory), Err(OpenError::Schema { .. })));
}

#[tokio::test]
async fn side_tables_hold_what_was_put_last() {
    let directory = Directory::new();
    let log = directory.sqlite();
    let request = RequestId(Uuid::from_u128(1));
    let (job, target) = (JobId(Uuid::from_u128(2)), TargetNumber(3));
    let nonce_hash = Sha256::of(b"nonce");
    let process = Some(Process { pid: 7, start: u64::MAX });
    let nonce =
        ClaimNonce { request, job, target, nonce_hash, process: None, requested_at: Timestamp(4) };
    log.put_nonce(nonce.clone()).await.unwrap();
    assert_eq!(log.find_nonce(request).await.unwrap(), Some(nonce.clone()));
    let nonce = ClaimNonce { process, ..nonce };
    log.put_nonce(nonce.clone()).await.unwrap();
    assert_eq!(log.list_nonces().await.unwrap(), [nonce]);
    let lease = Lease {
        request,
        job,
        target,
        attempt: AttemptNumber(1),
        token_hash: Sha256::of(b"token"),
        worker: "w".to_owned(),
        process: Process { pid: 7, start: 8 },
    };
    log.put_lease(lease.clone()).await.unwrap();
    assert_eq!(log.find_lease(lease.token_hash).await.unwrap(), Some(lease.clone()));
    log.forget_request(request).await.unwrap();
    assert_eq!(log.find_lease(lease.token_hash).await.unwrap(), None);
    assert_eq!(log.find_nonce(request).await.unwrap(), None);
    let pack = PackRow {
        repository: "acme/app".to_owned(),
        base_commit: ObjectId([1; 20]),
        pack_hash: Sha256::of(b"pack"),
        bytes: 5,
        last_used_at: Timestamp(6),
    };
    log.put_pack(pack.clone()).await.unwrap();
    let found = |base| log.find_pack("acme/app".to_owned(), ObjectId([base; 20]));
    assert_eq!(found(1).await.unwrap(), Some(pack));
    assert_eq!(found(2).await.unwrap(), None);
    log.switch_views(5).await.unwrap();
    drop(log);
    assert_eq!(directory.sqlite().views_generation().await.unwrap(), 5);
}

#[tokio::test]
async fn hashes_of_tokens_are_kept_until_they_are_forgotten() {
    let directory = Directory::new();
    let log = directory.sqlite();
    let token = |name: &str| TokenHash {
        token_hash: Sha256::of(name.as_bytes()),
        token_id: name.to_owned(),
        last_used_at: None,
    };
    for name in ["c", "a", "b"] {
        log.put_token(token(name)).await.unwrap();
    }
    let twin = TokenHash { token_hash: Sha256::of(b"d"), ..token("a") };
    assert!(log.put_token(twin).await.is_err(), "an id is given once");
    assert!(log.put_token(TokenHash { token_id: "d".to_owned(), ..token("a") }).await.is_err());
    log.note_token_used("b".to_owned(), Timestamp(9)).await.unwrap();
    log.forget_tokens(vec!["a".to_owned(), "none".to_owned()]).await.unwrap();
    drop(log);
    let kept = directory.sqlite().list_tokens().await.unwrap();
    assert_eq!(kept, [TokenHash { last_used_at: Some(Timestamp(9)), ..token("b") }, token("c")]);
}
