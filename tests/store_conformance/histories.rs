//! Random histories: every answer and every read of the log in SQLite is the model's.

use std::sync::Arc;

use cody_batch::store::verify::Verdict;
use cody_batch::store::{Append, Appended, Cursor, Expected, Log, LogError, SqliteLog, UniqueKey};
use cody_events::digest::Sha256;
use cody_events::envelope::Recorded;
use proptest::prelude::*;

use crate::model::ModelPlace;
use crate::support::{
    Directory, Place, SetClock, append, cases, command, event, event_with, read_after, read_all,
};

#[derive(Debug, Clone)]
enum Step {
    Append(Box<Append>),
    /// The newest commands once more, all at the same time, so that they share a batch.
    Again(usize),
    Reopen,
    /// The process dies between two commands: what is on disk is all there is.
    Crash,
    /// New commands at the same time, whose answers nobody waits for; then the log is opened anew.
    Lose(Vec<Append>),
    /// A stream from a version on, and the log after a position, at most so many.
    Read(&'static str, u64, u64, usize),
    /// A follower from a place, for as long as there is something.
    Follow(u64),
    SetClock(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let stream = prop::sample::select(vec!["a", "b", "c"]);
    let expected = prop_oneof![
        Just(Expected::Any),
        Just(Expected::NoStream),
        (0..6u64).prop_map(Expected::Exact)
    ];
    let payload = prop_oneof![
        Just(None),
        prop::collection::vec(any::<u32>(), 0..100)
            .prop_map(|numbers| Some(format!("{numbers:?}")))
    ];
    let new = (0..4u64, payload).prop_map(|(number, payload)| match payload {
        Some(payload) => event_with(number, &payload),
        None => event(number),
    });
    let key = prop::option::weighted(0.3, (0..3u8, 0..2u8)).prop_map(|key| {
        key.map(|(key, request)| UniqueKey {
            actor: "ada".to_owned(),
            key: key.to_string(),
            request_digest: Sha256::of(&[request]),
        })
    });
    // Few ids and few facts, so that commands meet earlier ones of the same name and content.
    let names = stream.clone();
    let wish = (stream, expected, 0..30u128, prop::collection::vec(new, 0..4), key).prop_map(
        |(stream, expected, id, events, unique_key)| Append {
            unique_key,
            ..append(stream, expected, id, events)
        },
    );
    let read = (names, 0..8u64, 0..40u64, 1..30usize)
        .prop_map(|(stream, version, after, limit)| Step::Read(stream, version, after, limit));
    let wish = wish.boxed();
    prop_oneof![
        20 => wish.clone().prop_map(|wish| Step::Append(Box::new(wish))),
        4 => read,
        2 => (0..40u64).prop_map(Step::Follow),
        1 => Just(Step::Crash),
        1 => prop::collection::vec(wish, 1..5).prop_map(Step::Lose),
        3 => (1..5usize).prop_map(Step::Again),
        1 => Just(Step::Reopen),
        2 => (0..1_000i64).prop_map(Step::SetClock),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(40), ..ProptestConfig::default() })]

    #[test]
    fn a_random_history_reads_like_the_models(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(play(steps));
    }
}

/// The two logs of one history, and where they live.
struct Both {
    model_place: ModelPlace,
    directory: Directory,
    clock: Arc<SetClock>,
    /// Nothing only while they are opened anew.
    open: Option<(Arc<dyn Log>, Arc<dyn Log>)>,
    sent: Vec<Append>,
}

impl Both {
    fn new() -> Self {
        let (model_place, directory) = (ModelPlace::default(), Directory::new());
        let mut both = Self {
            model_place,
            directory,
            clock: Arc::new(SetClock::new(0)),
            open: None,
            sent: Vec::new(),
        };
        both.reopen();
        both
    }

    fn reopen(&mut self) {
        self.open = None;
        let open = |place: &dyn Place| place.open(Arc::<SetClock>::clone(&self.clock));
        self.open = Some((open(&self.model_place), open(&self.directory)));
    }

    fn logs(&self) -> (&dyn Log, &Arc<dyn Log>) {
        let (model, sqlite) = self.open.as_ref().unwrap();
        (&**model, sqlite)
    }

    async fn append(&mut self, wish: Append) {
        let (model, sqlite) = self.logs();
        let answer = sqlite.append(wish.clone()).await;
        assert_eq!(plain(answer), plain(model.append(wish.clone()).await), "{wish:?}");
        self.sent.push(wish);
    }

    async fn again(&self, count: usize) {
        let (model, sqlite) = self.logs();
        let again: Vec<Append> = self.sent.iter().rev().take(count).cloned().collect();
        let all = again.iter().cloned().map(|wish| {
            let sqlite = Arc::clone(sqlite);
            tokio::spawn(async move { sqlite.append(wish).await })
        });
        for (wish, answer) in std::iter::zip(&again, all.collect::<Vec<_>>()) {
            let expected = model.append(wish.clone()).await;
            assert_eq!(plain(answer.await.unwrap()), plain(expected), "{wish:?}");
        }
    }

    /// What a dead process leaves: its files as the kernel has them, without the shared index.
    fn crash(&mut self) {
        let left = Directory::new();
        for name in ["log.db", "log.db-wal"] {
            std::fs::copy(self.directory.path().join(name), left.path().join(name)).unwrap();
        }
        self.open = None;
        self.directory = left;
        self.reopen();
    }

    /// Which of `wishes` were taken nobody was told; the log itself says it, and in which order.
    async fn lose(&mut self, mut wishes: Vec<Append>) {
        let before = self.logs().0.head().await.unwrap().position;
        for (wish, id) in std::iter::zip(&mut wishes, 1_000 + self.sent.len() as u128 * 10..) {
            wish.command_id = command(id);
            let (wish, sqlite) = (wish.clone(), Arc::clone(self.logs().1));
            let asked = tokio::spawn(async move { sqlite.append(wish).await });
            tokio::task::yield_now().await;
            asked.abort();
            // Until it has let go of the log.
            let _ = asked.await;
        }
        self.reopen();
        let (model, sqlite) = self.logs();
        let mut taken = read_after(&**sqlite, before).await;
        taken.dedup_by_key(|event| event.command_id);
        let mut taken = taken.into_iter().peekable();
        // They came to the writer in their order.
        for wish in &wishes {
            let event = taken.next_if(|event| event.command_id == wish.command_id);
            match event {
                Some(event) => match model.append(wish.clone()).await {
                    Ok(Appended::Appended { first_position, .. }) => {
                        assert_eq!(first_position, event.position);
                    }
                    other => panic!("{wish:?}: {other:?}"),
                },
                None => follow_key(model, &**sqlite, wish).await,
            }
        }
        assert_eq!(taken.next(), None, "in another order");
        self.sent.extend(wishes);
    }

    async fn read(&self, stream: &str, version: u64, after: u64, limit: usize) {
        let (model, sqlite) = self.logs();
        let by_stream = sqlite.read_stream(stream, version, limit).await.unwrap();
        let expected = model.read_stream(stream, version, limit).await.unwrap();
        assert_eq!(bare(by_stream), bare(expected), "{stream} from {version}");
        let by_position = sqlite.read_log(after, limit).await.unwrap();
        let expected = model.read_log(after, limit).await.unwrap();
        assert_eq!(bare(by_position), bare(expected), "after {after}");
    }

    async fn follow(&self, after: u64) {
        let (model, sqlite) = self.logs();
        let head = model.head().await.unwrap().position;
        let mut told = Vec::new();
        let mut follower = sqlite.subscribe(Cursor::after(after));
        while follower.cursor().position() < head {
            told.extend(follower.next_page().await.unwrap());
        }
        let expected = model.read_log(after, 1_000).await.unwrap();
        assert_eq!(bare(told), bare(expected), "a follower from {after}");
    }
}

/// What added nothing may have used its key up where the log ended then.
async fn follow_key(model: &dyn Log, sqlite: &dyn Log, wish: &Append) {
    let Some(key) = wish.unique_key.as_ref().filter(|_| wish.events.is_empty()) else { return };
    let used = sqlite.find_key(&key.actor, &key.key).await.unwrap();
    let end = model.head().await.unwrap().position;
    if used.is_some_and(|used| used.first_position == end && used.last_position == end) {
        // It may have been refused all the same, if another of the same key came later.
        let _ = model.append(wish.clone()).await;
    }
}

async fn play(steps: Vec<Step>) {
    let mut both = Both::new();
    for step in steps {
        match step {
            Step::Append(wish) => both.append(*wish).await,
            Step::Again(count) => both.again(count).await,
            Step::Reopen => both.reopen(),
            Step::Crash => both.crash(),
            Step::Lose(wishes) => both.lose(wishes).await,
            Step::Read(stream, version, after, limit) => {
                both.read(stream, version, after, limit).await;
            }
            Step::Follow(after) => both.follow(after).await,
            Step::SetClock(now) => both.clock.set(now),
        }
    }
    let (model, sqlite) = both.logs();
    let expected = rows(model).await;
    assert_eq!(rows(&**sqlite).await, expected);
    for key in both.sent.iter().filter_map(|wish| wish.unique_key.as_ref()) {
        let used = sqlite.find_key(&key.actor, &key.key).await.unwrap();
        assert_eq!(used, model.find_key(&key.actor, &key.key).await.unwrap(), "{key:?}");
    }
    let reader = SqliteLog::open_to_read(both.directory.path()).unwrap();
    assert!(matches!(reader.verify().await.unwrap(), Verdict::Whole { .. }));
    for (event, _) in &expected {
        let stream = sqlite.read_stream(&event.stream, event.version, 1).await.unwrap();
        assert_eq!(stream.first().map(|e| e.position), Some(event.position));
        let found = sqlite.find_event(event.event_id).await.unwrap();
        assert_eq!(found.map(|e| e.position), Some(event.position));
    }
}

/// An answer without its prose.
fn plain<T: std::fmt::Debug>(answer: Result<T, LogError>) -> String {
    match answer {
        Err(LogError::Rejected { code, .. }) => code.to_owned(),
        other => format!("{other:?}"),
    }
}

/// What a log holds, without what comes from chance: salts, and the hashes that they go into.
async fn rows(log: &dyn Log) -> Vec<(Recorded, Option<Vec<u8>>)> {
    let mut rows = Vec::new();
    for event in bare(read_all(log, 13).await) {
        let payload = log.payload(event.position).await.unwrap();
        rows.push((event, payload));
    }
    rows
}

/// Events without what comes from chance.
fn bare(mut events: Vec<Recorded>) -> Vec<Recorded> {
    for event in &mut events {
        event.payload_commit = event.payload_commit.map(|_| Sha256::ZERO);
        event.event_hash = Sha256::ZERO;
        event.log_hash = Sha256::ZERO;
    }
    events
}
