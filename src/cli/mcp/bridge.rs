//! Between an assistant's pipe and a server's door: a line in is a request, what is answered are lines
//! out. It understands no more of a message than how to pass it on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};

use super::message::Message;
use crate::cli::client::Client;
use crate::wire::Refusal;

/// The longest line that is taken: as much as a server takes.
const MOST_BYTES: u64 = 4 << 20;
/// Requests that are under way at once; further ones wait.
const MOST_OPEN: usize = 32;
/// Answers that wait to be written.
const MOST_WAITING: usize = 64;

/// How long answers may take when the assistant has gone.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What a client of the older revision agreed on; its later messages do not say.
const OLDER: &str = "2025-11-25";

/// Requests under way, by their ids as text.
type Open = Arc<Mutex<HashMap<String, AbortHandle>>>;

/// Passes messages on until the assistant goes.
pub async fn serve(client: Arc<Client>, route: &'static str) -> Result<(), anyhow::Error> {
    let (out, mut written) = mpsc::channel::<Vec<u8>>(MOST_WAITING);
    let writer = tokio::spawn(async move {
        let mut stdout = tokio::io::stdout();
        while let Some(mut line) = written.recv().await {
            line.push(b'\n');
            stdout.write_all(&line).await?;
            stdout.flush().await?;
        }
        Ok::<_, std::io::Error>(())
    });
    let (open, places) = (Open::default(), Arc::new(Semaphore::new(MOST_OPEN)));
    let (mut stdin, mut under_way) = (BufReader::new(tokio::io::stdin()), JoinSet::new());
    loop {
        let mut line = Vec::new();
        let read = (&mut stdin).take(MOST_BYTES).read_until(b'\n', &mut line).await?;
        if read == 0 {
            break;
        }
        if line.last() != Some(&b'\n') && read as u64 == MOST_BYTES {
            anyhow::bail!("the assistant sent a line of more than {MOST_BYTES} bytes");
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let Some(message) = Message::parse(&line) else {
            let no = error(&Value::Null, -32700, "this is no message that could be passed on");
            let _ = out.send(no).await;
            continue;
        };
        if let Some(id) = &message.cancels {
            // Whoever leaves a request alone has its server stop with it.
            if let Some(request) = taken(&open, id) {
                request.abort();
            }
            continue;
        }
        let place = Arc::clone(&places).acquire_owned().await?;
        while under_way.try_join_next().is_some() {}
        let id = message.id.clone();
        let passing = pass(Arc::clone(&client), route, message, line, out.clone());
        let (kept, known) = (Arc::clone(&open), id.clone());
        // Held, so that a request that is done at once is known before it is forgotten.
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        let request = under_way.spawn(async move {
            passing.await;
            if let Some(id) = known {
                taken(&kept, &id);
            }
            drop(place);
        });
        if let Some(id) = id {
            open.insert(id.to_string(), request);
        }
    }
    drop(out);
    // Whoever goes may still read what was asked for; what has no end is broken off.
    let all = async { while under_way.join_next().await.is_some() {} };
    if tokio::time::timeout(LAST_WORDS, all).await.is_err() {
        under_way.abort_all();
        while under_way.join_next().await.is_some() {}
    }
    Ok(writer.await??)
}

fn taken(open: &Open, id: &Value) -> Option<AbortHandle> {
    open.lock().unwrap_or_else(PoisonError::into_inner).remove(&id.to_string())
}

/// Passes one message on, and what the server says to it back.
async fn pass(
    client: Arc<Client>,
    route: &'static str,
    message: Message,
    line: Vec<u8>,
    out: mpsc::Sender<Vec<u8>>,
) {
    let Err(why) = answered(&client, route, &message, line, &out).await else { return };
    eprintln!("cody-batch: {why:#}");
    if let Some(id) = &message.id {
        let _ = out.send(error(id, -32603, &format!("{why:#}"))).await;
    }
}

async fn answered(
    client: &Client,
    route: &str,
    message: &Message,
    line: Vec<u8>,
    out: &mpsc::Sender<Vec<u8>>,
) -> Result<(), anyhow::Error> {
    let revision = message.revision.as_deref();
    let mut request = client
        .open(route)
        .header("accept", "application/json, text/event-stream")
        .header("content-type", "application/json")
        .header("mcp-method", &message.method);
    if message.method != "initialize" {
        request = request.header("mcp-protocol-version", revision.unwrap_or(OLDER));
    }
    if let Some(name) = &message.name {
        request = request.header("mcp-name", name);
    }
    let mut answer = request.body(line).send().await?;
    let kind = answer.headers().get("content-type").and_then(|kind| kind.to_str().ok());
    if kind.is_some_and(|kind| kind.starts_with("text/event-stream")) {
        let mut rest = Vec::new();
        while let Some(piece) = answer.chunk().await? {
            rest.extend_from_slice(&piece);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                let data = line.trim_ascii().strip_prefix(b"data:").map(<[u8]>::trim_ascii);
                if let Some(data) = data.filter(|data| !data.is_empty()) {
                    out.send(data.to_vec()).await?;
                }
            }
            anyhow::ensure!(rest.len() as u64 <= 4 * MOST_BYTES, "the server's answer has no end");
        }
        return Ok(());
    }
    let status = answer.status();
    let body = answer.bytes().await?;
    if message.id.is_none() {
        anyhow::ensure!(status.is_success(), "the server says {status} to {}", message.method);
        return Ok(());
    }
    match serde_json::from_slice::<Value>(&body) {
        // On one line, whoever wrote it.
        Ok(said) if said.get("jsonrpc").is_some() => out.send(serde_json::to_vec(&said)?).await?,
        Ok(said) => match serde_json::from_value::<Refusal>(said) {
            Ok(refusal) => anyhow::bail!("the server refused: {}", refusal.message),
            Err(_) => anyhow::bail!("the server says {status}"),
        },
        Err(_) => anyhow::bail!("the server says {status}"),
    }
    Ok(())
}

fn error(id: &Value, code: i32, message: &str) -> Vec<u8> {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })
        .to_string()
        .into_bytes()
}
