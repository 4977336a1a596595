//! That the player is no pushover: what the provider would refuse, it refuses, in words that our
//! client puts into the right class.

use cody_batch::claude::blocks::text_block;
use cody_batch::claude::player::{Player, Script};
use cody_events::thread::CallClass;

use crate::support::{self, LOOPBACK, client, player, send};
use crate::{LONG, play_long};

#[tokio::test]
async fn one_changed_byte_of_history_is_refused_as_bound_elsewhere() {
    let (bodies, player) = play_long(LONG).await;
    let client = client(&player);
    for (from, to) in [
        ("You change code", "You review code"),
        ("Fix it", "Fix all"),
        ("README.md", "README.txt"),
        (r#""thinking":"The “tests”"#, r#""thinking":"The tests"#),
        (r#""input":{}"#, r#""input":{"x":1}"#),
        ("/", "//"),
    ] {
        let body = bodies[2].replace(from, to);
        assert_ne!(body, bodies[2], "{from} is not in the body");
        let error = send(&client, &body).await.unwrap_err();
        assert_eq!(
            (error.class, error.status),
            (CallClass::BoundElsewhere, Some(400)),
            "{from}: {error}"
        );
    }
    let marks = bodies[2].replace(r#","cache_control":{"type":"ephemeral"}"#, "");
    assert!(send(&client, &marks).await.is_ok(), "cache marks are no part of the binding");
}

#[tokio::test]
async fn the_player_refuses_what_the_provider_would_refuse() {
    let player = player(LONG).await;
    let client = client(&player);
    let good = support::body("Fix it");
    let tool = r#"{"type":"bash_20250124","name":"bash"}"#;
    let strict =
        |schema: &str| format!(r#"{{"name":"finish","strict":true,"input_schema":{schema}}}"#);
    for (from, to, words) in [
        (
            r#""stream":true"#,
            r#""stream":true,"temperature":1"#.to_owned(),
            "`temperature` is not supported",
        ),
        (r#""stream":true"#, r#""stream":true,"mood":1"#.into(), "mood: Extra inputs"),
        (
            r#""stream":true"#,
            r#""stream":true,"tool_choice":{"type":"any"}"#.into(),
            "tool_choice.type",
        ),
        ("claude-opus-5-5", "claude-3-7-sonnet-20250219".into(), "model: claude-3-7"),
        (r#""max_tokens":8000"#, r#""max_tokens":900000"#.into(), "max_tokens: 900000 > 128000"),
        (r#""type":"adaptive""#, r#""type":"disabled""#.into(), "thinking.type"),
        (r#""effort":"medium""#, r#""effort":"huge""#.into(), "output_config.effort"),
        (tool, format!("{tool},{tool}"), "Tool names must be unique"),
        (tool, tool.replace("\"bash\"", "\"sh\""), "tools.0.name: Input should be 'bash'"),
        (tool, r#"{"name":"finish"}"#.into(), "tools.0.input_schema.type"),
        (tool, strict(r#"{"type":"object","properties":{}}"#), "additionalProperties"),
        (
            tool,
            strict(
                r#"{"type":"object","additionalProperties":false,"properties":{"a":{"type":"string","maxLength":3}}}"#,
            ),
            "'maxLength' is not supported",
        ),
        (r#""role":"user""#, r#""role":"assistant""#.into(), "messages.0: roles"),
        (
            r#""text":"Fix it""#,
            r#""text":"Other""#.into(),
            "no conversation for this request; it has change",
        ),
        (r#""text":"Fix it""#, r#""text":"""#.into(), "text content blocks must be non-empty"),
    ] {
        let body = good.replace(from, &to);
        assert_ne!(body, good, "{from} is not in the body");
        let error = send(&client, &body).await.unwrap_err();
        assert!(error.message.contains(words), "{error} does not say {words}");
    }
    let turns = format!(
        r#"{},{{"role":"assistant","content":[{{"type":"text","text":"x"}}]}},{{"role":"user","content":"y"}}]}}"#,
        good.strip_suffix("]}").unwrap()
    );
    let error = send(&client, &turns).await.unwrap_err();
    assert!(error.message.contains("cannot be modified"), "{error}");
    assert_eq!(error.class, CallClass::BoundElsewhere);
}

#[tokio::test]
async fn a_script_with_a_mistake_is_refused() {
    for text in ["[[conversation]]\nname = 'c'\nturn = [{ contents = [] }]", "conversation = 3"] {
        assert!(Script::from_toml(text).is_err(), "{text}");
    }
    let json = r#"{"conversations":[{"name":"c","turns":[{"content":[{"text":"x"}]}]}]}"#;
    let player = Player::bind(Script::from_json(json).unwrap(), LOOPBACK.parse().unwrap()).await;
    let reply = support::call(&player.unwrap(), "anything").await.unwrap();
    assert_eq!(reply.response.content, [text_block("x").unwrap()]);
}
