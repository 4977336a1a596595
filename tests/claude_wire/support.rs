//! What the wire tests share: a thread, clients, players. No tests.

use std::time::Duration;

use cody_batch::claude::blocks::text_block;
use cody_batch::claude::client::{Client, ClientOptions, Reply};
use cody_batch::claude::failure::CallError;
use cody_batch::claude::models::{DEFAULT_MODEL, ModelTable};
use cody_batch::claude::player::{Player, Script};
use cody_batch::claude::prefix::PrefixBuilder;
use cody_batch::claude::request::{History, compose};
use cody_events::raw::RawJson;
use cody_events::thread::ThreadStartedPayload;
use url::Url;

pub const LOOPBACK: &str = "127.0.0.1:0";
/// The key of every client here: a text that must never show.
pub const CANARY: &str = "sk-ant-canary-1234567890";

pub fn thread(first: &str) -> ThreadStartedPayload {
    let table = ModelTable::shipped().unwrap();
    let offer = table.lookup(DEFAULT_MODEL, "2026-11-22".parse().unwrap()).unwrap();
    PrefixBuilder::new(offer.model)
        .system("You change code in acme/app.")
        .tool(RawJson::parse(r#"{"type":"bash_20250124","name":"bash"}"#).unwrap())
        .build(&[text_block(first).unwrap()])
        .unwrap()
}

/// The body of a thread's first request.
pub fn body(first: &str) -> String {
    let thread = thread(first);
    let body = compose(&thread, &History::new(&thread.first_message), 8_000).unwrap();
    String::from_utf8(body.bytes.to_vec()).unwrap()
}

pub async fn player(script: &str) -> Player {
    Player::bind(Script::from_toml(script).unwrap(), LOOPBACK.parse().unwrap()).await.unwrap()
}

/// A script whose first answer has a fault, and whose second is right.
pub fn faulty(fault: &str) -> String {
    format!(
        r#"
        [[conversation]]
        name = "c"
        [[conversation.turn]]
        content = [{{ text = "It works, in two pieces of text." }}]
        usage = {{ output_tokens = 20 }}
        before = [{{ {fault} }}]
        "#
    )
}

pub fn options(base_url: Url) -> ClientOptions {
    ClientOptions::new(base_url, CANARY.into())
}

pub fn client(player: &Player) -> Client {
    Client::new(options(player.base_url().unwrap())).unwrap()
}

/// A client that bears no silence to speak of.
pub fn impatient(player: &Player) -> Client {
    let mut options = options(player.base_url().unwrap());
    options.idle_timeout = Duration::from_millis(300);
    Client::new(options).unwrap()
}

pub async fn send(client: &Client, body: &str) -> Result<Reply, CallError> {
    client.send(body.to_owned().into(), &[], |_| {}).await
}

pub async fn call(player: &Player, first: &str) -> Result<Reply, CallError> {
    send(&client(player), &body(first)).await
}
