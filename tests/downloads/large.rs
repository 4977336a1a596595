//! A job with very many events (a hundred thousand where `CODY_PROOF` is set): its events are sent in bounded memory, no faster than they are
//! read, and not to somebody who left.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use cody_batch::store::{Append, Appended, Cursor, Head, Log, LogError, Subscription, UsedKey};
use cody_events::envelope::{Door, Recorded};
use cody_events::event::Draft;
use cody_events::ids::EventId;
use cody_events::job::{By, Paused, ReasonPayload, Resumed};

use super::ground::{ALONE, World};
use super::report::created;

/// How many events, and how many bytes more this process may take while it sends them.
fn scale() -> (u64, u64) {
    match std::env::var_os("CODY_PROOF") {
        Some(_) => (100_000, 32 << 20),
        None => (20_000, 8 << 20),
    }
}

/// A log that counts what is read of it.
struct Counted {
    log: Arc<dyn Log>,
    read: Arc<AtomicU64>,
    largest_page: Arc<AtomicU64>,
}

#[async_trait]
impl Log for Counted {
    async fn append(&self, append: Append) -> Result<Appended, LogError> {
        self.log.append(append).await
    }

    async fn read_stream(
        &self,
        stream: &str,
        from_version: u64,
        limit: usize,
    ) -> Result<Vec<Recorded>, LogError> {
        let page = self.log.read_stream(stream, from_version, limit).await?;
        self.read.fetch_add(page.len() as u64, Ordering::SeqCst);
        self.largest_page.fetch_max(page.len() as u64, Ordering::SeqCst);
        Ok(page)
    }

    async fn read_log(&self, after: u64, limit: usize) -> Result<Vec<Recorded>, LogError> {
        self.log.read_log(after, limit).await
    }

    async fn payload(&self, position: u64) -> Result<Option<Vec<u8>>, LogError> {
        self.log.payload(position).await
    }

    async fn head(&self) -> Result<Head, LogError> {
        self.log.head().await
    }

    async fn find_event(&self, id: EventId) -> Result<Option<Recorded>, LogError> {
        self.log.find_event(id).await
    }

    async fn find_key(&self, actor: &str, key: &str) -> Result<Option<UsedKey>, LogError> {
        self.log.find_key(actor, key).await
    }

    fn subscribe(&self, cursor: Cursor) -> Subscription {
        self.log.subscribe(cursor)
    }
}

/// Bytes that this process has in memory.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// A job that somebody pauses and resumes, with many words.
async fn write(world: &World, count: u64) {
    world.append("ada", Door::Cli, vec![created(&["acme/api"])]).await;
    let reason = ReasonPayload { reason: "because ".repeat(60) };
    let (target, by) = (None, By::Person);
    let paused = Draft::with(Paused { target, by }, &reason).unwrap();
    let resumed = Draft::with(Resumed { target, by }, &reason).unwrap();
    let forty: Vec<Draft> = [paused, resumed].into_iter().cycle().take(40).collect();
    // Together, because each waits for the disk.
    for _ in 0..count / (40 * 50) {
        let appends = (0..50).map(|_| world.append("ada", Door::Cli, forty.clone()));
        futures_util::future::join_all(appends).await;
    }
}

/// Waits until `fits`, which takes no long.
async fn until(what: &str, fits: impl Fn() -> bool) {
    let started = Instant::now();
    while !fits() {
        assert!(started.elapsed() < Duration::from_secs(60), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn very_many_events_go_through_a_small_window() {
    let _alone = ALONE.write().await;
    let (read, largest_page) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
    let world = World::over(|log| {
        let (read, largest_page) = (Arc::clone(&read), Arc::clone(&largest_page));
        Arc::new(Counted { log, read, largest_page })
    })
    .await;
    let (count, most_growth) = scale();
    write(&world, count).await;
    let askers = Arc::strong_count(&world.reader.app);

    // The first page warms up what stays; somebody who takes a piece and leaves ends the making.
    let mut left = world.get("events.ndjson").send().await.unwrap();
    let first = left.chunk().await.unwrap().unwrap();
    assert!(first.starts_with(b"{\"position\":1,"));
    let (seen, still) = (AtomicU64::new(0), AtomicU64::new(0));
    until("nothing more is read for a reader that takes nothing", || {
        let now = read.load(Ordering::SeqCst);
        let is_same = seen.swap(now, Ordering::SeqCst) == now;
        still.store(if is_same { still.load(Ordering::SeqCst) + 1 } else { 0 }, Ordering::SeqCst);
        still.load(Ordering::SeqCst) > 60
    })
    .await;
    let ahead = read.load(Ordering::SeqCst);
    // Sockets hold some as well, a few megabytes at most.
    println!("{ahead} events were read ahead of a reader that takes nothing");
    assert!(ahead < 10_000, "{ahead} events are read ahead");
    drop(left);
    until("who left is sent nothing more", || Arc::strong_count(&world.reader.app) <= askers).await;
    assert!(read.load(Ordering::SeqCst) < ahead + 1_000, "what is left is not read to its end");

    let (before, mut most) = (resident(), 0);
    let mut body = world.get("events.ndjson").send().await.unwrap();
    let (mut bytes, mut lines) = (0_usize, 0_usize);
    while let Some(piece) = body.chunk().await.unwrap() {
        bytes += piece.len();
        lines += piece.iter().filter(|byte| **byte == b'\n').count();
        most = most.max(resident());
    }
    let growth = most.saturating_sub(before);
    println!("{lines} events, {bytes} bytes, {} MiB more in memory", growth >> 20);
    assert_eq!(lines as u64, count + 1);
    assert!(bytes as u64 > 2 * most_growth, "{bytes}");
    assert!(growth < most_growth, "{growth} bytes more");
    assert!(largest_page.load(Ordering::SeqCst) <= 200);
}
