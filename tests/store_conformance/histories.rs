//! Random histories: every answer and every read of the log in SQLite is the model's.

use std::sync::Arc;

use cody_batch::store::{Append, Expected, Log, LogError, UniqueKey};
use cody_events::digest::Sha256;
use cody_events::envelope::Recorded;
use proptest::prelude::*;

use crate::model::ModelPlace;
use crate::support::{Directory, Place, SetClock, append, cases, event, event_with};

#[derive(Debug, Clone)]
enum Step {
    Append(Box<Append>),
    /// The newest commands once more, all at the same time, so that they share a batch.
    Again(usize),
    Reopen,
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
    let wish = (stream, expected, 0..30u128, prop::collection::vec(new, 0..4), key).prop_map(
        |(stream, expected, id, events, unique_key)| {
            let wish = Append { unique_key, ..append(stream, expected, id, events) };
            Step::Append(Box::new(wish))
        },
    );
    prop_oneof![
        20 => wish,
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

async fn play(steps: Vec<Step>) {
    let (model_place, directory) = (ModelPlace::default(), Directory::new());
    let clock = Arc::new(SetClock::new(0));
    let open = |place: &dyn Place| place.open(Arc::<SetClock>::clone(&clock));
    let (mut model, mut sqlite) = (open(&model_place), open(&directory));
    let mut sent: Vec<Append> = Vec::new();
    for step in steps {
        match step {
            Step::Append(wish) => {
                let answer = sqlite.append((*wish).clone()).await;
                assert_eq!(plain(answer), plain(model.append((*wish).clone()).await), "{wish:?}");
                sent.push(*wish);
            }
            Step::Again(count) => {
                let again: Vec<Append> = sent.iter().rev().take(count).cloned().collect();
                let all = again.iter().cloned().map(|wish| {
                    let sqlite = Arc::clone(&sqlite);
                    tokio::spawn(async move { sqlite.append(wish).await })
                });
                for (wish, answer) in std::iter::zip(&again, all.collect::<Vec<_>>()) {
                    let expected = model.append(wish.clone()).await;
                    assert_eq!(plain(answer.await.unwrap()), plain(expected), "{wish:?}");
                }
            }
            Step::Reopen => {
                drop((model, sqlite));
                (model, sqlite) = (open(&model_place), open(&directory));
            }
            Step::SetClock(now) => clock.set(now),
        }
    }
    let expected = rows(&*model).await;
    assert_eq!(rows(&*sqlite).await, expected);
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
    for mut event in crate::support::read_all(log, 13).await {
        event.payload_commit = event.payload_commit.map(|_| Sha256::ZERO);
        event.event_hash = Sha256::ZERO;
        event.log_hash = Sha256::ZERO;
        let payload = log.payload(event.position).await.unwrap();
        rows.push((event, payload));
    }
    rows
}
