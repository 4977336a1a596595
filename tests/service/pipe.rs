//! MCP over standard input and output: the same answers whether a server runs on the data directory, on
//! another machine, or not at all.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::harness::{World, json as parsed, repository};
use super::running::{Running, script};

/// A client on the other end of the pipe.
struct Pipe {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Pipe {
    fn open(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take(), child.stdout.take().unwrap());
        Self { child, input, output: BufReader::new(output) }
    }

    fn send(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    fn next(&mut self) -> Value {
        let mut line = String::new();
        assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "the pipe ended");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    fn ask(&mut self, id: u64, method: &str, mut params: Value) -> Value {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": { "name": "pipe", "version": "1" },
            "io.modelcontextprotocol/clientCapabilities": {} });
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        self.send(&message.to_string());
        let answer = self.next();
        assert_eq!(answer["id"], id, "{answer}");
        answer
    }

    fn tool(&mut self, id: u64, name: &str, arguments: Value) -> Value {
        let answer = self.ask(id, "tools/call", json!({ "name": name, "arguments": arguments }));
        answer["result"]["structuredContent"].clone()
    }

    /// Ends the input, and waits for the program.
    fn end(mut self) -> Option<i32> {
        self.input = None;
        self.child.wait().unwrap().code()
    }
}

async fn world() -> World {
    let world = World::new(&script(0)).await;
    repository(&world.path("app"), &[("greet.sh", "echo hello\n")]);
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assistant_works_alone_on_a_data_directory() {
    let world = world().await;
    let app = world.path("app").display().to_string();
    let command = world.command(&["mcp"]);
    let ended = tokio::task::spawn_blocking(move || {
        let mut pipe = Pipe::open(command);
        let created = pipe.tool(1, "create_job", json!({ "prompt": "Greet", "targets": [app] }));
        let job = created["job_id"].as_str().unwrap().to_owned();
        let (mut after, mut id) = (created["position"].clone(), 2);
        let done = loop {
            let waited = pipe.tool(id, "wait_for_job", json!({ "job_id": job, "after": after }));
            if waited["reason"] == "finished" {
                break waited;
            }
            assert_eq!(waited["reason"], "changed", "{waited}");
            assert!(waited["position"].as_u64() > after.as_u64());
            (after, id) = (waited["position"].clone(), id + 1);
        };
        assert_eq!(done["status"], "succeeded");
        let diff = pipe.tool(900, "get_diff", json!({ "job_id": "latest" }));
        assert!(diff["patch"].as_str().unwrap().contains("+echo hi"), "{diff}");
        pipe.end()
    });
    assert_eq!(ended.await.unwrap(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_carries_both_eras_to_servers_near_and_far() {
    let world = world().await;
    let server = Running::start(&world, &[]).await;
    let made = world.run(&["token", "create", "--json", "--name", "a", "--scope", "read"]).await;
    let token = parsed(&made)["token"].as_str().unwrap().to_owned();
    let near = world.command(&["mcp"]);
    let mut far = world.command(&["--server", &server.url, "mcp", "--read-only"]);
    far.env("CODY_DATA_DIR", world.path("nothing")).env("CODY_TOKEN", &token);
    let mut stranger = world.command(&["--server", &server.url, "mcp"]);
    stranger.env("CODY_TOKEN", "cody_no");
    let asked = tokio::task::spawn_blocking(move || {
        let mut tools = Vec::new();
        for command in [near, far] {
            let mut pipe = Pipe::open(command);
            pipe.send("no JSON");
            assert_eq!(pipe.next()["error"]["code"], -32_700);
            let list = pipe.ask(1, "tools/list", json!({}));
            tools.push(list["result"]["tools"].as_array().unwrap().len());
            // Older clients agree upon a revision once, and say it no more.
            let hello = json!({ "jsonrpc": "2.0", "id": 2, "method": "initialize", "params": {
                "protocolVersion": "2025-11-25", "capabilities": {},
                "clientInfo": { "name": "old", "version": "1" } } });
            pipe.send(&hello.to_string());
            let told = pipe.next()["result"].clone();
            assert_eq!(told["protocolVersion"], "2025-11-25");
            // What needs a session is not promised.
            assert_eq!(told["capabilities"]["resources"], json!({}), "{told}");
            pipe.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
            pipe.send(
                r#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"list_jobs","arguments":{}}}"#,
            );
            let answer = pipe.next();
            assert_eq!(answer["result"]["structuredContent"]["jobs"], json!([]), "{answer}");
            assert_eq!(pipe.end(), Some(0));
        }
        assert_eq!(tools, [13, 7]);
        // A no of the server is an answer as well.
        let mut pipe = Pipe::open(stranger);
        let refused = pipe.ask(1, "tools/list", json!({}));
        let words = refused["error"]["message"].as_str().unwrap().to_owned();
        assert!(words.contains("not one of this server's"), "{words}");
    });
    asked.await.unwrap();
}
