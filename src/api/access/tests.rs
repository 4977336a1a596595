//! Tokens over a real log, and the guard before a door that needs a caller. The clock is set by hand.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, HOST, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::response::Response;
use axum::routing::{get, post};
use cody_events::envelope::Door;
use cody_events::event::{Draft, Event};
use cody_events::job::{By, ReasonPayload};
use cody_events::system::{TokenCreated, TokenCreatedPayload, TokenRevoked};
use secrecy::SecretString;
use tower::ServiceExt as _;

use super::*;
use crate::app::Asker;
use crate::clock::Clock;
use crate::config::AccessConfig;
use crate::entropy::SystemEntropy;
use crate::job::RejectionCode;
use crate::store::side::TokenHash;
use crate::store::{Log, SqliteLog};

const LOCAL: &str = "the-local-credential";
/// A secret of the server that looks like none.
const OWN: &str = "plain words of ours";

#[derive(Debug)]
struct SetClock(AtomicI64);

impl SetClock {
    fn pass(&self, duration: Duration) {
        let micros = i64::try_from(duration.as_micros()).unwrap();
        self.0.fetch_add(micros, Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::SeqCst).unsigned_abs())
    }

    async fn sleep(&self, duration: Duration) {
        self.pass(duration);
    }
}

struct World {
    clock: Arc<SetClock>,
    log: Arc<SqliteLog>,
    app: Arc<App>,
    access: Arc<Access>,
}

impl World {
    async fn open(dir: &Path) -> Self {
        let clock = Arc::new(SetClock(AtomicI64::new(1_800_000_000_000_000)));
        let as_clock: Arc<dyn Clock> = Arc::<SetClock>::clone(&clock);
        let log = SqliteLog::open(dir, Arc::clone(&as_clock), Arc::new(SystemEntropy)).unwrap();
        let log = Arc::new(log);
        let as_log: Arc<dyn Log> = Arc::<SqliteLog>::clone(&log);
        let app = App::new(as_log, as_clock, Arc::new(SystemEntropy), NonZeroUsize::MIN);
        let app = Arc::new(app);
        let side: Arc<dyn SideTables> = Arc::<SqliteLog>::clone(&log);
        let own = Some(SecretString::from(OWN));
        let access =
            Access::open(Arc::clone(&app), side, Words::new(&own), Some(LOCAL)).await.unwrap();
        Self { clock, log, app, access: Arc::new(access) }
    }

    /// Gives the log back, once nothing is written to it any more.
    async fn close(self) {
        let log = Arc::downgrade(&self.log);
        drop(self);
        while log.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    }

    async fn create(&self, name: &str, scopes: &[Scope]) -> CreatedToken {
        self.access.create(wish(name, scopes), &ada()).await.unwrap()
    }

    async fn refused(&self, wish: NewToken) -> RejectionCode {
        match self.access.create(wish, &ada()).await {
            Err(AppError::Rejected(no)) => no.code,
            other => panic!("{other:?}"),
        }
    }

    fn authenticate(&self, token: &CreatedToken) -> Result<Caller, Denied> {
        self.access.authenticate(token.token.expose())
    }
}

fn ada() -> Asker {
    Asker { actor: "ada".to_owned(), door: Door::Graphql }
}

fn wish(name: &str, scopes: &[Scope]) -> NewToken {
    NewToken { name: name.to_owned(), scopes: scopes.to_vec(), expires_at: None }
}

#[tokio::test]
async fn a_token_says_who_comes_and_the_log_says_who_made_it() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::open(dir.path()).await;
    let created = world.create(" dashboard ", &[Scope::Run, Scope::Read]).await;
    let text = created.token.expose().to_owned();
    assert!(text.starts_with("cody_") && text.len() == 48, "{text}");
    assert!(!format!("{created:?}").contains(&text));
    let caller = world.authenticate(&created).unwrap();
    let expected = Caller {
        actor: format!("token:{}", created.token_id),
        scopes: Scopes::from_iter([Scope::Read, Scope::Run]),
        token_id: Some(created.token_id.clone()),
        is_local_admin: false,
    };
    assert_eq!(caller, expected);
    assert_eq!(caller.require(Scope::Read), Ok(()));
    assert_eq!(caller.require(Scope::Approve), Err(Denied::LacksScope(Scope::Approve)));
    let told = world.app.system_page(0).await.unwrap().pop().unwrap();
    assert_eq!((told.recorded.actor.as_str(), told.recorded.door), ("ada", Door::Graphql));
    assert_eq!(told.recorded.position, created.position);
    let facts = TokenCreated {
        token_id: created.token_id.clone(),
        scopes: vec![Scope::Read, Scope::Run],
        expires_at: None,
        by: By::Person,
    };
    assert_eq!(told.event, Event::from(facts));
    let payload = world.app.payload_of::<TokenCreated>(created.position).await.unwrap();
    assert_eq!(payload.unwrap().name, "dashboard");
    for stranger in [&text[..47], &text.to_uppercase(), "cody_", "x"] {
        assert_eq!(world.access.authenticate(stranger), Err(Denied::Unknown), "{stranger}");
    }
    assert_eq!(world.access.authenticate(""), Err(Denied::Missing));
    let local = world.access.authenticate(LOCAL).unwrap();
    assert!(local.is_local_admin && local.token_id.is_none());
    assert_eq!(local.require(Scope::Admin), Ok(()));
}

#[tokio::test]
async fn tokens_expire_and_are_revoked_now_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::open(dir.path()).await;
    let end = world.clock.now().plus_millis(60_000);
    let short = NewToken { expires_at: Some(end), ..wish("short", &[Scope::Read]) };
    let short = world.access.create(short, &ada()).await.unwrap();
    let lost = world.create("lost", &[Scope::Admin]).await;
    let good = world.create("good", &[Scope::Read]).await;
    world.clock.pass(Duration::from_millis(59_999));
    assert!(world.authenticate(&short).is_ok());
    world.clock.pass(Duration::from_millis(1));
    assert_eq!(world.authenticate(&short), Err(Denied::Expired));
    let done = world.access.revoke(&lost.token_id, "the laptop was lost", &ada()).await.unwrap();
    assert!(done.is_new);
    assert_eq!(world.authenticate(&lost), Err(Denied::Revoked));
    let again = world.access.revoke(&lost.token_id, "", &ada()).await.unwrap();
    assert!(!again.is_new);
    assert!(world.authenticate(&good).is_ok());
    let before = world.access.list();
    let names: Vec<&str> = before.iter().map(|token| token.name.as_str()).collect();
    assert_eq!(names.len(), 3);
    assert!(names.contains(&"good") && names.contains(&"lost"));
    world.close().await;
    let world = World::open(dir.path()).await;
    world.clock.pass(Duration::from_secs(120));
    assert_eq!(world.authenticate(&short), Err(Denied::Expired));
    assert_eq!(world.authenticate(&lost), Err(Denied::Revoked));
    assert!(world.authenticate(&good).is_ok());
    assert!(world.access.has_live_tokens());
    world.access.revoke(&good.token_id, "", &ada()).await.unwrap();
    assert!(!world.access.has_live_tokens());
    let no = world.access.revoke("tok_none", "", &ada()).await.unwrap_err();
    assert!(matches!(no, AppError::Rejected(no) if no.code == RejectionCode::NoSuchToken));
}

#[tokio::test]
async fn what_is_no_token_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::open(dir.path()).await;
    let bad = RejectionCode::BadToken;
    let read = [Scope::Read];
    assert_eq!(world.refused(wish("  ", &read)).await, bad);
    assert_eq!(world.refused(wish(&"n".repeat(81), &read)).await, bad);
    assert_eq!(world.refused(wish("a\nb", &read)).await, bad);
    assert_eq!(world.refused(wish("a", &[])).await, bad);
    let past = NewToken { expires_at: Some(world.clock.now()), ..wish("a", &read) };
    assert_eq!(world.refused(past).await, bad);
    assert_eq!(world.app.system_page(0).await.unwrap().len(), 0);
    let first = world.create("ci", &read).await;
    assert_eq!(world.refused(wish("ci ", &read)).await, RejectionCode::TokenNameTaken);
    world.access.revoke(&first.token_id, "", &ada()).await.unwrap();
    world.create("ci", &read).await;
}

#[tokio::test]
async fn no_secret_becomes_a_name_or_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::open(dir.path()).await;
    let good = world.create("ci", &[Scope::Read]).await;
    let github = ["ghp_", "0123456789abcdefghijABCDEFGHIJ012345"].concat();
    for secret in [github.as_str(), good.token.expose(), OWN] {
        let code = world.refused(wish(&format!("for {secret}"), &[Scope::Read])).await;
        assert_eq!(code, RejectionCode::SecretInRequest);
        let reason = format!("It is lost:\n{secret}");
        match world.access.revoke(&good.token_id, &reason, &ada()).await {
            Err(AppError::Rejected(no)) => {
                assert_eq!(no.code, RejectionCode::SecretInRequest);
                assert!(
                    no.message.starts_with("The reason holds") && no.message.contains("line 2")
                );
                assert!(!no.to_string().contains(secret), "{no}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(world.authenticate(&good).is_ok());
    assert_eq!(world.app.system_page(0).await.unwrap().len(), 1);
}

/// A crash may come between any two of: a token's event, its hash, a revocation's event.
#[tokio::test]
async fn no_crash_leaves_a_token_that_no_event_tells_of_or_one_that_was_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::open(dir.path()).await;
    let hash = |text: &str, token_id: &str| TokenHash {
        token_hash: Sha256::of(text.as_bytes()),
        token_id: token_id.to_owned(),
        last_used_at: None,
    };
    let created = |token_id: &str| {
        let facts = TokenCreated {
            token_id: token_id.to_owned(),
            scopes: vec![Scope::Read],
            expires_at: None,
            by: By::Person,
        };
        Draft::with(facts, &TokenCreatedPayload { name: token_id.to_owned() }).unwrap()
    };
    world.log.put_token(hash("planted", "tok_planted")).await.unwrap();
    world.app.record_system(created("tok_unfinished"), &ada()).await.unwrap();
    world.app.record_system(created("tok_revoked"), &ada()).await.unwrap();
    world.log.put_token(hash("revoked", "tok_revoked")).await.unwrap();
    let facts = TokenRevoked { token_id: "tok_revoked".to_owned(), by: By::Person };
    let revoked = Draft::with(facts, &ReasonPayload { reason: String::new() }).unwrap();
    world.app.record_system(revoked, &ada()).await.unwrap();
    world.close().await;
    let world = World::open(dir.path()).await;
    assert_eq!(world.access.authenticate("planted"), Err(Denied::Unknown));
    assert_eq!(world.access.authenticate("revoked"), Err(Denied::Revoked));
    let known: Vec<String> = world.access.list().into_iter().map(|token| token.token_id).collect();
    assert_eq!(known, ["tok_revoked"]);
    assert!(!world.access.has_live_tokens());
}

#[tokio::test]
async fn when_a_token_was_used_is_written_down_once_a_minute() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::open(dir.path()).await;
    let token = world.create("ci", &[Scope::Read]).await;
    let first = world.clock.now();
    let mut written = None;
    for (passes, expected) in [(0, first), (59, first), (2, first.plus_millis(61_000))] {
        world.clock.pass(Duration::from_secs(passes));
        world.authenticate(&token).unwrap();
        assert_eq!(world.access.list()[0].last_used_at, Some(expected));
        for _ in 0..10_000 {
            written = world.log.list_tokens().await.unwrap()[0].last_used_at;
            if written == Some(expected) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(written, Some(expected));
    }
}

#[test]
fn of_dead_tokens_the_newest_are_known() {
    let mut register = Register::default();
    for number in 0..10 {
        let token = Token {
            token_id: format!("tok_{number}"),
            name: "n".to_owned(),
            scopes: Scopes::default(),
            created_at: Timestamp(number),
            created_by: "ada".to_owned(),
            expires_at: None,
            revoked_at: (number % 2 == 0).then_some(Timestamp(50)),
            last_used_at: None,
        };
        register.add(Sha256::of(&number.to_be_bytes()), token);
    }
    assert_eq!(register.forget_dead(2, Timestamp(100)), ["tok_4", "tok_2", "tok_0"]);
    assert_eq!(register.list().len(), 7);
    assert!(register.find(&Sha256::of(&4_i64.to_be_bytes())).is_none());
    assert!(register.find(&Sha256::of(&6_i64.to_be_bytes())).is_some());
}

fn config() -> AccessConfig {
    AccessConfig {
        hosts: Vec::new(),
        origins: vec!["https://dash.example".to_owned()],
        requests_a_minute: 60,
        refusals_a_minute: 6,
        connections: 10,
        public_url: None,
        oauth_issuer: None,
        tls_cert: None,
        tls_key: None,
    }
}

fn doors(world: &World, config: &AccessConfig) -> Router {
    async fn who(Authenticated(caller): Authenticated) -> String {
        caller.actor
    }
    async fn long(State(_): State<Arc<Access>>, body: Bytes) -> String {
        body.len().to_string()
    }
    let doors = Router::new()
        .route("/who", get(who))
        .route("/long", post(long))
        .with_state(Arc::clone(&world.access));
    let bound = ["127.0.0.1:8080".parse().unwrap()];
    guarded(doors, Arc::new(Guard::new(Arc::clone(&world.access), config, &bound)))
}

async fn ask(doors: &Router, bearer: &str) -> Response {
    let request = Request::get("/who")
        .header(HOST, "localhost:8080")
        .header(AUTHORIZATION, format!("Bearer {bearer}"))
        .header(ACTOR_HEADER, "grace")
        .body(Body::empty());
    doors.clone().oneshot(request.unwrap()).await.unwrap()
}

async fn text(answer: Response) -> String {
    let bytes = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn only_the_local_admin_says_who_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::open(dir.path()).await;
    let doors = doors(&world, &config());
    let token = world.create("ci", &[Scope::Admin]).await;
    assert_eq!(text(ask(&doors, LOCAL).await).await, "grace");
    let named = text(ask(&doors, token.token.expose()).await).await;
    assert_eq!(named, format!("token:{}", token.token_id));
}

#[tokio::test]
async fn each_caller_has_an_allowance_and_refusals_a_smaller_one() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::open(dir.path()).await;
    let doors = doors(&world, &config());
    let (busy, calm) =
        (world.create("busy", &[Scope::Read]).await, world.create("calm", &[Scope::Read]).await);
    for _ in 0..60 {
        assert_eq!(ask(&doors, busy.token.expose()).await.status(), StatusCode::OK);
    }
    let answer = ask(&doors, busy.token.expose()).await;
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.headers()[RETRY_AFTER], "1");
    assert_eq!(ask(&doors, calm.token.expose()).await.status(), StatusCode::OK);
    for _ in 0..6 {
        let answer = ask(&doors, "cody_wrong").await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        let challenge = r#"Bearer realm="cody-batch", error="invalid_token""#;
        assert_eq!(answer.headers()[WWW_AUTHENTICATE], challenge);
    }
    let answer = ask(&doors, "cody_wrong").await;
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.headers()[RETRY_AFTER], "10");
    // From the same address, all of which the other was refused.
    assert_eq!(ask(&doors, calm.token.expose()).await.status(), StatusCode::OK);
    for _ in 0..200 {
        assert_eq!(ask(&doors, LOCAL).await.status(), StatusCode::OK);
    }
    world.clock.pass(Duration::from_secs(10));
    assert_eq!(ask(&doors, "cody_wrong").await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(ask(&doors, busy.token.expose()).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn every_answer_tells_browsers_to_run_frame_and_keep_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::open(dir.path()).await;
    let doors = doors(&world, &config());
    let nowhere = Request::get("/nowhere").header(HOST, "localhost").body(Body::empty()).unwrap();
    let foreign = Request::get("/who").header(HOST, "evil.example").body(Body::empty()).unwrap();
    let preflight = Request::options("/who")
        .header(HOST, "localhost")
        .header("origin", "https://evil.example")
        .header("access-control-request-method", "POST")
        .body(Body::empty())
        .unwrap();
    let mut answers = vec![ask(&doors, LOCAL).await, ask(&doors, "no").await];
    for request in [nowhere, foreign, preflight] {
        answers.push(doors.clone().oneshot(request).await.unwrap());
    }
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status().as_u16()).collect();
    assert_eq!(statuses, [200, 401, 404, 403, 200]);
    for answer in answers {
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap());
        let policy = Some("default-src 'none'; frame-ancestors 'none'");
        assert_eq!(header("content-security-policy"), policy);
        assert_eq!(header("x-content-type-options"), Some("nosniff"));
        assert_eq!(header("x-frame-options"), Some("DENY"));
        assert_eq!(header("referrer-policy"), Some("no-referrer"));
        assert_eq!(header("cache-control"), Some("no-store"));
        assert_eq!(header("strict-transport-security"), None);
        assert_eq!(header("access-control-allow-origin"), None);
    }
}

#[tokio::test]
async fn other_sites_are_let_in_by_name_only() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::open(dir.path()).await;
    let preflight = |origin: &str| {
        Request::options("/long")
            .header(HOST, "localhost")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization")
            .body(Body::empty())
            .unwrap()
    };
    let allowed = |answer: &Response| answer.headers().get("access-control-allow-origin").cloned();
    let open = doors(&world, &config());
    let answer = open.clone().oneshot(preflight("https://dash.example")).await.unwrap();
    assert_eq!(allowed(&answer).unwrap(), "https://dash.example");
    assert_eq!(answer.headers().get("access-control-allow-credentials"), None);
    let answer = open.clone().oneshot(preflight("https://evil.example")).await.unwrap();
    assert_eq!(allowed(&answer), None);
    let closed = doors(&world, &AccessConfig { origins: Vec::new(), ..config() });
    let answer = closed.oneshot(preflight("https://dash.example")).await.unwrap();
    assert_eq!((allowed(&answer), answer.status()), (None, StatusCode::METHOD_NOT_ALLOWED));
}

#[tokio::test]
async fn bodies_are_bounded_in_bytes_and_in_silence() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::open(dir.path()).await;
    let doors = doors(&world, &config());
    let send = |body: Body| {
        let request = Request::post("/long").header(HOST, "localhost").body(body).unwrap();
        doors.clone().oneshot(request)
    };
    let fits = send(Body::from(vec![b'x'; 1 << 20])).await.unwrap();
    assert_eq!(fits.status(), StatusCode::OK);
    let too_long = send(Body::from(vec![b'x'; (1 << 20) + 1])).await.unwrap();
    assert_eq!(too_long.status(), StatusCode::PAYLOAD_TOO_LARGE);
    tokio::time::pause();
    let silence = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
    let answer = send(Body::from_stream(silence)).await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
}
