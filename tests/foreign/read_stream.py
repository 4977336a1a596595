"""Talks to a server at argv[1] with Anthropic's own client and prints what it understood.

Reads one request body from standard input, streams it, and prints the final message as JSON.
A refusal is printed as `{"error": {"status": ..., "type": ..., "message": ...}}`.
"""

import json
import sys

import anthropic

body = json.load(sys.stdin)
body.pop("stream", None)
client = anthropic.Anthropic(base_url=sys.argv[1], api_key="sk-ant-canary", max_retries=0)
try:
    with client.messages.stream(**body) as stream:
        seen = [event.type for event in stream]
        message = stream.get_final_message()
    print(json.dumps({"message": message.model_dump(mode="json", exclude_unset=True), "events": seen}))
except anthropic.APIStatusError as error:
    inner = (error.body or {}).get("error", {}) if isinstance(error.body, dict) else {}
    print(json.dumps({"error": {
        "status": error.status_code,
        "type": inner.get("type"),
        "message": inner.get("message"),
        "request_id": error.request_id,
    }}))
