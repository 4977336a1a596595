//! The GraphQL door, judged by programs that no one here wrote.

mod answers;
mod crowd;
mod feed;
mod lists;
mod programs;
mod resuming;
mod schema;

use super::served::{Place, Served};

/// A server that has done the demonstration's job, and a token that may do everything.
fn served() -> (Served, String) {
    let place = Place::new();
    let demo = place.dir.path().join("demo");
    place.told(&["demo", "--dir", demo.to_str().unwrap()]);
    std::fs::rename(demo.join("data"), place.data()).unwrap();
    let (token, _) = place.token("judge", &["admin"]);
    let settings = [
        // The judges ask more often than people do.
        ("CODY_REQUESTS_A_MINUTE", "0"),
        ("CODY_ALLOWED_HOSTS", "127.0.0.1"),
    ];
    (place.serve(&["--listen", "127.0.0.1:0"], &settings), token)
}
