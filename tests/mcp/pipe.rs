//! The program as an assistant starts it, spoken with over a pipe: it is the server where none runs, and
//! speaks for the one that does, as whoever started it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::client::Era;
use super::tools::Team;

/// A program that is spoken with.
struct Pipe {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    last: u64,
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Pipe {
    fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.env("USER", "ada").spawn().unwrap();
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output, last: 0 }
    }

    fn send(&mut self, message: &Value) {
        let input = self.input.as_mut().unwrap();
        input.write_all(format!("{message}\n").as_bytes()).unwrap();
        input.flush().unwrap();
    }

    fn receive(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("no message: {line:?}"))
    }

    fn request(&mut self, method: &str, mut params: Value, era: Era) -> u64 {
        if era == Era::Newer {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": era.version(),
                "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
                "io.modelcontextprotocol/clientCapabilities": {},
            });
        }
        self.last += 1;
        self.send(
            &json!({ "jsonrpc": "2.0", "id": self.last, "method": method, "params": params }),
        );
        self.last
    }

    /// What a method gives; nothing else is under way.
    fn ask(&mut self, method: &str, params: Value, era: Era) -> Value {
        let id = self.request(method, params, era);
        let answer = self.receive();
        assert_eq!(answer["id"], id, "{answer}");
        assert_eq!(answer.get("error"), None, "{answer}");
        answer["result"].clone()
    }

    fn call(&mut self, tool: &str, arguments: Value, era: Era) -> Value {
        let params = json!({ "name": tool, "arguments": arguments });
        self.ask("tools/call", params, era)["structuredContent"].clone()
    }

    fn settled(&mut self, job: &Value, era: Era) -> Value {
        let mut arguments = json!({ "job_id": job });
        loop {
            let waited = self.call("wait_for_job", arguments.clone(), era);
            if waited["reason"] == "finished" || waited["reason"] == "awaits-person" {
                return waited;
            }
            arguments["after"] = waited["position"].clone();
        }
    }

    /// Goes, and waits until the program has gone as well.
    fn leave(mut self) {
        drop(self.input.take());
        assert!(self.child.wait().unwrap().success());
    }
}

fn hello(pipe: &mut Pipe) {
    let hello = json!({ "protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": { "name": "test", "version": "1" } });
    let said = pipe.ask("initialize", hello, Era::Older);
    assert_eq!(said["serverInfo"]["name"], "cody-batch");
    pipe.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_server_runs_the_program_is_one_as_long_as_it_is_spoken_with() {
    let mut team = Team::new(0).await;
    team.server.child.kill().unwrap();
    team.server.child.wait().unwrap();
    let (command, arguments) = (team.world.command(&["mcp"]), team.job());
    tokio::task::spawn_blocking(move || {
        let mut pipe = Pipe::start(command);
        hello(&mut pipe);
        for era in Era::BOTH {
            let job = pipe.call("create_job", arguments.clone(), era)["job_id"].clone();
            assert_eq!(pipe.settled(&job, era)["status"], "succeeded");
            let created = pipe.call("get_events", json!({ "job_id": job, "detail": "full" }), era);
            assert_eq!(created["events"][0]["actor"], "ada");
        }
        pipe.leave();
    })
    .await
    .unwrap();
    assert!(!team.world.path("data/server.json").exists(), "the server is gone with it");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_server_runs_the_program_speaks_for_it() {
    let team = Team::new(10_000).await;
    let url = team.server.url.clone();
    let token = team.client("far", &["read"], Era::Newer).await.token;
    let (command, reading) =
        (team.world.command(&["mcp"]), team.world.command(&["mcp", "--read-only"]));
    let mut far = team.world.command(&["mcp", "--server", &url]);
    far.env("CODY_TOKEN", token);
    let arguments = team.job();
    tokio::task::spawn_blocking(move || {
        let (mut pipe, era) = (Pipe::start(command), Era::Newer);
        let job = pipe.call("create_job", arguments.clone(), era)["job_id"].clone();
        // A wait is left alone, and another request is answered meanwhile.
        let head = pipe.call("get_events", json!({ "job_id": job }), era)["position"].clone();
        let wait = json!({ "name": "wait_for_job", "arguments": { "job_id": job, "after": head.as_u64().unwrap() + 1_000 } });
        let waiting = pipe.request("tools/call", wait, era);
        assert_eq!(pipe.call("get_job", json!({ "job_id": job }), era)["job_id"], job);
        pipe.send(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled",
            "params": { "requestId": waiting } }));
        assert_eq!(pipe.call("cancel_job", json!({ "job_id": job }), era)["status"], "cancelled");
        pipe.send(&json!("nonsense"));
        assert_eq!(pipe.receive()["error"]["code"], -32700);
        pipe.leave();

        let mut pipe = Pipe::start(reading);
        assert_eq!(pipe.ask("tools/list", json!({}), era)["tools"].as_array().unwrap().len(), 7);
        pipe.leave();

        // Far away, a token says what may be done.
        let mut pipe = Pipe::start(far);
        assert_eq!(pipe.call("get_job", json!({ "job_id": job }), era)["status"], "cancelled");
        assert_eq!(pipe.call("create_job", arguments, era)["code"], "forbidden");
        pipe.leave();
    })
    .await
    .unwrap();
}
