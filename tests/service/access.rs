//! Who may come in: tokens, names, limits, TLS.

use std::num::NonZeroUsize;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cody_batch::api::access::{Access, NewToken};
use cody_batch::app::{App, Asker};
use cody_batch::clock::Clock;
use cody_batch::entropy::SystemEntropy;
use cody_batch::plan::Words;
use cody_batch::store::side::SideTables;
use cody_batch::store::{Log, SqliteLog};
use cody_events::envelope::Door;
use cody_events::system::Scope;
use cody_events::time::Timestamp;
use reqwest::header::WWW_AUTHENTICATE;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use super::served::{Place, files, served, served_with};

const TOKENS: &str = "/control/v1/tokens";
const REVOKE: &str = "/control/v1/tokens/revoke";

/// Status, challenge and code of a no.
async fn no(answer: Response) -> (u16, String, String) {
    let status = answer.status().as_u16();
    let challenge = answer.headers().get(WWW_AUTHENTICATE);
    let challenge = challenge.map_or(String::new(), |value| value.to_str().unwrap().to_owned());
    let body: Value = answer.json().await.unwrap();
    assert!(!body["message"].as_str().unwrap().is_empty());
    (status, challenge, body["code"].as_str().unwrap().to_owned())
}

fn refused(status: u16, challenge: &str, code: &str) -> (u16, String, String) {
    (status, format!(r#"Bearer realm="cody-batch"{challenge}"#), code.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_what_its_scopes_allow_until_it_is_revoked() {
    let server = served();
    let health = server.get("/healthz", "").send().await.unwrap();
    assert_eq!((health.status().as_u16(), health.text().await.unwrap().as_str()), (200, "ok"));
    let (admin, admin_id) = server.place.token("admin", &["admin"]);
    let (reader, reader_id) = server.place.token("reader", &["read"]);
    let (doer, _) = server.place.token("doer", &["run", "approve"]);
    let list = async |token: &str| server.get(TOKENS, token).send().await.unwrap();
    assert_eq!(no(list("").await).await, refused(401, "", "token-missing"));
    let invalid = r#", error="invalid_token""#;
    assert_eq!(no(list("cody_x").await).await, refused(401, invalid, "token-unknown"));
    let lacking = r#", error="insufficient_scope", scope="admin""#;
    for token in [&reader, &doer] {
        assert_eq!(no(list(token).await).await, refused(403, lacking, "scope-missing"));
        let wish = json!({ "name": "more", "scopes": ["admin"] });
        let answer = server.post(TOKENS, token, &wish).send().await.unwrap();
        assert_eq!(no(answer).await, refused(403, lacking, "scope-missing"));
    }
    let listed: Value = list(&admin).await.json().await.unwrap();
    let names: Vec<&str> =
        listed["tokens"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 3);
    let wish = json!({ "token_id": admin_id, "reason": "it leaked" });
    let answer = server.post(REVOKE, &admin, &wish).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    assert_eq!(no(list(&admin).await).await, refused(401, invalid, "token-revoked"));
    server.place.told(&["token", "revoke", &reader_id, "--reason", "not needed"]);
    assert_eq!(no(list(&reader).await).await, refused(401, invalid, "token-revoked"));
    let place = server.stop();
    let listed = place.told(&["token", "list"]);
    assert_eq!(listed.matches("revoked").count(), 2, "{listed}");
}

/// The command line without a server: what it makes, the next server takes; and who did it is told.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_made_without_a_server_as_well() {
    let place = Place::new();
    assert!(place.told(&["token", "list"]).contains("No token yet"));
    let (token, _) = place.token("ci", &["admin"]);
    let taken = place.run(&["token", "create", "--name", "ci", "--scope", "read"]);
    assert_eq!(taken.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&taken.stderr).contains("token-name-taken"));
    let (_, gone) = place.token("gone", &["read"]);
    place.told(&["token", "revoke", &gone]);
    let missing = place.run(&["token", "revoke", "tok_000000000000"]);
    assert_eq!(missing.status.code(), Some(2));
    let server = place.serve(&["--listen", "127.0.0.1:0"], &[]);
    let wish = json!({ "name": "by http", "scopes": ["read"], "expires_at": null });
    let answer = server.post(TOKENS, &token, &wish).header("x-cody-actor", "grace").send().await;
    assert_eq!(answer.unwrap().status().as_u16(), 200);
    server.place.token("by cli", &["read"]);
    let listed = server.place.told(&["token", "list", "--json"]);
    let made: Vec<(String, String)> = listed
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|token| (token["name"].to_string(), token["created_by"].to_string()))
        .collect();
    let own_id = &listed.lines().find(|line| line.contains(r#""name":"ci""#)).unwrap();
    let own: Value = serde_json::from_str(own_id).unwrap();
    let by_token = format!("\"token:{}\"", own["token_id"].as_str().unwrap());
    for (name, by) in [("\"by cli\"", "\"ada\""), ("\"by http\"", by_token.as_str())] {
        assert!(made.contains(&(name.to_owned(), by.to_owned())), "{made:?}");
    }
}

/// What is said of a token is recorded for good, so no door takes a secret in it.
#[tokio::test(flavor = "multi_thread")]
async fn no_door_takes_a_secret_as_a_tokens_name_or_as_the_reason_of_its_end() {
    // Not one that any rule knows: the server's own.
    const OWN: &str = "sk-ant-canary";
    let place = Place::new();
    let (admin, id) = place.token("ci", &["admin"]);
    let refused_verb = |place: &Place, args: &[&str]| {
        let output = place.run(args);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains("secret-in-request") && !told.contains(OWN), "{told}");
    };
    let create = ["token", "create", "--scope", "read", "--name", OWN];
    let revoke = ["token", "revoke", &id, "--reason", OWN];
    for args in [&create[..], &revoke] {
        refused_verb(&place, args);
    }
    let server = place.serve(&["--listen", "127.0.0.1:0"], &[]);
    for args in [&create[..], &revoke] {
        refused_verb(&server.place, args);
    }
    let wish = json!({ "name": OWN, "scopes": ["read"] });
    let revocation = json!({ "token_id": id, "reason": OWN });
    for (route, body) in [(TOKENS, wish), (REVOKE, revocation)] {
        let answer = server.post(route, &admin, &body).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 409);
        assert_eq!(answer.json::<Value>().await.unwrap()["code"], "secret-in-request");
    }
    let query = format!(
        "mutation {{ a: createToken(input: {{ name: \"{OWN}\" scopes: [READ] }}) {{
            token userErrors {{ message }} }}
         b: revokeToken(input: {{ tokenId: \"{id}\" reason: \"{OWN}\" }}) {{
            position userErrors {{ message }} }} }}"
    );
    let answer = server.post("/graphql", &admin, &json!({ "query": query })).send().await.unwrap();
    let data = answer.json::<Value>().await.unwrap()["data"].clone();
    for (alias, begins) in [("a", "The token's name holds"), ("b", "The reason holds")] {
        let message = data[alias]["userErrors"][0]["message"].as_str().unwrap();
        assert!(message.starts_with(begins), "{data}");
    }
    let listed = server.place.told(&["token", "list", "--json"]);
    assert_eq!((listed.lines().count(), listed.matches("\"revoked_at\":null").count()), (1, 1));
}

#[derive(Debug)]
struct LongAgo;

#[async_trait]
impl Clock for LongAgo {
    fn now(&self) -> Timestamp {
        Timestamp(1_600_000_000_000_000)
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    async fn sleep(&self, _: Duration) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_has_expired_opens_nothing_and_is_no_reason_to_listen_beyond() {
    let place = Place::new();
    let expired = {
        let clock: Arc<dyn Clock> = Arc::new(LongAgo);
        let log = SqliteLog::open(&place.data(), Arc::clone(&clock), Arc::new(SystemEntropy));
        let log = Arc::new(log.unwrap());
        let side: Arc<dyn SideTables> = Arc::<SqliteLog>::clone(&log);
        let log: Arc<dyn Log> = log;
        let app = Arc::new(App::new(log, clock, Arc::new(SystemEntropy), NonZeroUsize::MIN));
        let access = Access::open(app, side, Words::default(), None).await.unwrap();
        let end = Timestamp(1_600_000_060_000_000);
        let (name, scopes) = ("old".to_owned(), vec![Scope::Admin]);
        let wish = NewToken { name, scopes, expires_at: Some(end) };
        let asker = Asker { actor: "ada".to_owned(), door: Door::Cli };
        access.create(wish, &asker).await.unwrap().token
    };
    let beyond = place.run(&["serve", "--listen", "0.0.0.0:0"]);
    assert_eq!(beyond.status.code(), Some(2));
    let server = place.serve(&["--listen", "127.0.0.1:0"], &[]);
    let answer = server.get(TOKENS, expired.expose()).send().await.unwrap();
    let invalid = r#", error="invalid_token""#;
    assert_eq!(no(answer).await, refused(401, invalid, "token-expired"));
    assert!(server.place.told(&["token", "list"]).contains("expired"));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_names_and_pages_of_other_sites_are_refused() {
    let server = served_with(&[("CODY_HOSTS", "cody.example")]);
    let (admin, _) = server.place.token("admin", &["admin"]);
    let get = |host: &str| server.get(TOKENS, &admin).header("host", host.to_owned());
    for (host, status) in [("evil.example", 403), ("cody.example:99", 200), ("localhost", 200)] {
        assert_eq!(get(host).send().await.unwrap().status().as_u16(), status, "{host}");
    }
    let health = server.get("/healthz", "").header("host", "evil.example").send().await.unwrap();
    assert_eq!(health.status().as_u16(), 403);
    let own = server.url.clone();
    let mut made = 0;
    for (origin, status) in [
        (Some("https://evil.example"), 403),
        (Some("null"), 403),
        (Some("http://localhost:1"), 403),
        (Some(own.as_str()), 200),
        (None, 200),
    ] {
        let wish = json!({ "name": format!("made {made}"), "scopes": ["read"] });
        let mut request = server.post(TOKENS, &admin, &wish);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{origin:?}");
        made += usize::from(status == 200);
        assert_eq!(server.place.told(&["token", "list"]).lines().count(), 1 + made);
    }
    let socket = server
        .get("/healthz", "")
        .header("origin", "https://evil.example")
        .header("connection", "upgrade")
        .header("upgrade", "websocket");
    assert_eq!(socket.send().await.unwrap().status().as_u16(), 403);
    let preflight = server
        .request(Method::OPTIONS, TOKENS, "")
        .header("origin", "https://evil.example")
        .header("access-control-request-method", "POST");
    let preflight = preflight.send().await.unwrap();
    let named = preflight.headers().keys().find(|name| name.as_str().starts_with("access-control"));
    assert_eq!(named, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_often_is_told_when_to_come_again() {
    let settings = [("CODY_REQUESTS_A_MINUTE", "5"), ("CODY_REFUSALS_A_MINUTE", "2")];
    let server = served_with(&settings);
    let (admin, _) = server.place.token("admin", &["admin"]);
    let mut statuses = Vec::new();
    for token in ["cody_x", "cody_x", "cody_x", "cody_x"] {
        statuses.push(server.get(TOKENS, token).send().await.unwrap().status().as_u16());
    }
    assert_eq!(statuses, [401, 401, 429, 429]);
    statuses.clear();
    for _ in 0..6 {
        statuses.push(server.get(TOKENS, &admin).send().await.unwrap().status().as_u16());
    }
    assert_eq!(statuses, [200, 200, 200, 200, 200, 429]);
    let answer = server.get(TOKENS, &admin).send().await.unwrap();
    let wait: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=12).contains(&wait), "{wait}");
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["code"], "too-many-requests");
    for _ in 0..10 {
        server.place.told(&["token", "list"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_its_owner_ever_has_a_tokens_text() {
    let place = Place::new();
    let (first, first_id) = place.token("first", &["admin"]);
    let server = place.serve(&["--listen", "127.0.0.1:0"], &[("CODY_LOG", "trace")]);
    let (second, _) = server.place.token("second", &["read"]);
    let wish = json!({ "name": "third", "scopes": ["read"] });
    let answer = server.post(TOKENS, &first, &wish).send().await.unwrap();
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let third: Value = answer.json().await.unwrap();
    let third = third["token"].as_str().unwrap().to_owned();
    server.get(TOKENS, &second).send().await.unwrap();
    server.place.told(&["token", "revoke", &first_id]);
    server.get(TOKENS, &first).send().await.unwrap();
    let listed = server.place.told(&["token", "list", "--json"]);
    for file in ["cmdline", "environ"] {
        let words = std::fs::read(format!("/proc/{}/{file}", server.pid())).unwrap_or_default();
        for token in [&first, &second, &third] {
            assert!(!contains(&words, token), "{file}");
        }
    }
    assert!(server.words().contains(TOKENS), "{}", server.words());
    assert!(server.words().contains("token-revoked"), "{}", server.words());
    let place = server.stop();
    let found = files(place.dir.path());
    let has = |name: &str| found.iter().any(|file| file.file_name().unwrap() == name);
    assert!(has("log.db") && has("serve.txt") && found.iter().any(|f| is_views(f)), "{found:?}");
    for token in [&first, &second, &third] {
        assert!(!listed.contains(token.as_str()));
        for file in &found {
            assert!(!contains(&std::fs::read(file).unwrap(), token), "{}", file.display());
        }
    }
}

fn is_views(file: &Path) -> bool {
    file.file_name().unwrap().to_string_lossy().starts_with("views-")
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_no_server_listens_beyond_this_machine() {
    let place = Place::new();
    for address in ["0.0.0.0:0", "[::]:0"] {
        let refused = place.run(&["serve", "--listen", address]);
        let words = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{words}");
        assert!(words.contains("token create"), "{words}");
        assert!(!place.data().join("server.json").exists());
    }
    let (token, _) = place.token("first", &["admin"]);
    let server = place.serve(&["--listen", "0.0.0.0:0"], &[]);
    assert!(server.words().contains("WARNING"), "{}", server.words());
    let own = server.address.url.as_str();
    assert!(own.starts_with("http://127.0.0.1:") && own != server.url, "{own}");
    let answer = server.get(TOKENS, &token).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    assert!(server.place.told(&["token", "list"]).contains("first"));
}

fn openssl(dir: &Path, line: &str) {
    let output =
        Command::new("openssl").args(line.split_whitespace()).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "openssl {line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A certificate of our own making for this machine, which vouches for itself.
fn certify(dir: &Path) {
    openssl(
        dir,
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out cert.pem \
         -subj /CN=cody -days 2 -addext subjectAltName=IP:127.0.0.1",
    );
}

/// Asks by Python's own TLS, which trusts what `cafile` names: status, protocol and two headers, or
/// why not.
const FOREIGN: &str = r#"
import http.client, ssl, sys
port, cafile, token = int(sys.argv[1]), sys.argv[2], sys.stdin.read()
context = ssl.create_default_context(cafile=cafile or None)
line = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=20)
try:
    line.request("GET", "/control/v1/tokens", headers={"Authorization": "Bearer " + token})
    answer = line.getresponse()
    print(answer.status, line.sock.version(), answer.getheader("Strict-Transport-Security"))
except ssl.SSLCertVerificationError as error:
    print("not trusted")
"#;

fn foreign(port: &str, cafile: &str, token: &Path) -> String {
    let output = Command::new("/usr/bin/python3")
        .args(["-c", FOREIGN, port, cafile])
        .stdin(std::fs::File::open(token).unwrap())
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{words}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_certificate_it_speaks_tls_and_its_own_programs_need_none() {
    let place = Place::new();
    let (dir, (token, _)) = (place.dir.path().to_owned(), place.token("first", &["admin"]));
    certify(&dir);
    let shown = dir.join("shown.txt");
    std::fs::write(&shown, &token).unwrap();
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    for (bad_cert, bad_key) in [(&key, &key), (&cert, &cert), (&cert, &path("none.pem"))] {
        let bad =
            ["serve", "--listen", "127.0.0.1:0", "--tls-cert", bad_cert, "--tls-key", bad_key];
        assert_eq!(place.run(&bad).status.code(), Some(2), "{bad_cert} {bad_key}");
    }
    let half = place.command(&["serve"]).env("CODY_TLS_CERT", &cert).output().unwrap();
    assert_eq!(half.status.code(), Some(2));
    let args = ["--listen", "127.0.0.1:0", "--tls-cert", &cert, "--tls-key", &key];
    let server = place.serve(&args, &[]);
    let port = server.url.strip_prefix("https://127.0.0.1:").unwrap();
    assert_eq!(foreign(port, &cert, &shown), "200 TLSv1.3 max-age=15552000");
    assert_eq!(foreign(port, "", &shown), "not trusted");
    let plain = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = plain.get(format!("http://127.0.0.1:{port}/healthz")).send().await;
    assert!(answer.is_err(), "{answer:?}");
    let own = &server.address.url;
    assert!(own.starts_with("http://127.0.0.1:") && !own.ends_with(port), "{own}");
    let answer = plain.get(format!("{own}/healthz")).send().await.unwrap();
    assert_eq!(answer.headers().get("strict-transport-security"), None);
    assert!(server.place.told(&["token", "list"]).contains("first"));
    assert!(!server.words().contains("WARNING"), "{}", server.words());
}
