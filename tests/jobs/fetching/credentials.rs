//! Who is shown the token, and who is not.

use cody_batch::git::{GitError, Locator};

use super::world::{BUDGET, LIMITS, World};
use crate::git_server::Fault;

const TOKEN: &str = "ghp_canary";

#[tokio::test(flavor = "multi_thread")]
async fn a_private_repository_opens_to_the_token_alone() {
    let world = World::with_token(Some(TOKEN)).await;
    world.offer_app();
    world.pin_as("acme/app", None, Some(TOKEN), LIMITS, BUDGET).await.unwrap();
    for token in [None, Some("ghp_wrong")] {
        let error = world.pin_as("acme/app", None, token, LIMITS, BUDGET).await.unwrap_err();
        assert!(matches!(error, GitError::Authentication { .. }), "{token:?}: {error:?}");
        let text = format!("{error} {error:?}");
        assert!(!text.contains("ghp_"), "{text}");
        assert!(text.contains("token"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed_and_takes_no_token_along() {
    let world = World::with_token(Some(TOKEN)).await;
    world.offer_app();
    let other = World::new().await;
    other.offer_app();
    let elsewhere = other.server.host.replace("127.0.0.1", "localhost");
    world.server.fail(Fault::Redirect(format!("http://{elsewhere}")));
    let error = world.pin_as("acme/app", None, Some(TOKEN), LIMITS, BUDGET).await.unwrap_err();
    assert!(error.to_string().contains("acme/app"), "{error}");
    assert_eq!(other.server.request_count(), 0);
    assert_eq!(other.server.credentials(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_not_allowed_is_not_even_asked() {
    let world = World::new().await;
    world.offer_app();
    let parsed = Locator::parse(&world.server.url("acme/app"), &["github.com".to_owned()]);
    assert!(parsed.is_err());
    assert_eq!(world.server.request_count(), 0);
}
