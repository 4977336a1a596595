"""Has MCP's own Python client see a job through, and prints what it saw, a JSON object a line.

Usage: client.py URL MODE PLACE... with two tokens on standard input, a line each: one that asks for jobs
and one that judges diffs. PLACE are repositories of the server's machine.
"""

import asyncio
import json
import sys

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import PromptReference


def told(**fields):
    print(json.dumps(fields), flush=True)


def connected(url, token, mode):
    headers = {"authorization": f"Bearer {token}"}
    http = httpx2.AsyncClient(headers=headers, timeout=70, trust_env=False)
    return Client(streamable_http_client(url, http_client=http), mode=mode)


async def answer(client, tool, **arguments):
    """What a tool gives. The client itself judges it by the tool's output schema."""
    result = await client.call_tool(tool, arguments)
    return result.structured_content, bool(result.is_error)


async def good(client, tool, **arguments):
    value, is_error = await answer(client, tool, **arguments)
    assert not is_error, (tool, value)
    return value


async def settled(client, job):
    after = {}
    for _ in range(200):
        waited = await good(client, "wait_for_job", job_id=job, **after)
        if waited["reason"] in ("finished", "awaits-person"):
            return waited
        after = {"after": waited["position"]}
    raise AssertionError("the job never settled")


async def main():
    url, mode, *places = sys.argv[1:]
    asker, judge = sys.stdin.read().split()
    async with connected(url, asker, mode) as client:
        tools = await client.list_tools()
        told(step="tools", count=len(tools.tools), version=client.protocol_version)
        asked = {"prompt": "Greet whoever", "targets": places, "pilot": True, "checks": ["true"]}
        planned = await good(client, "plan_job", **asked)
        told(step="plan", targets=[one["repository"] for one in planned["targets"]])
        created = await good(client, "create_job", **asked)
        job = created["job_id"]
        waited = await settled(client, job)
        told(step="wait", status=waited["status"], awaiting=waited["awaiting"])
        diff = await good(client, "get_diff", job_id=job, target=1)
        verdict = {"job_id": job, "target": 1, "diff_hash": diff["diff_hash"], "verdict": "approve"}
        own, is_error = await answer(client, "review_diff", **verdict)
        told(step="own", is_error=is_error, code=own["code"])
        async with connected(url, judge, mode) as other:
            judged = await good(other, "review_diff", **verdict)
            told(step="review", is_new=judged["is_new"])
        waited = await settled(client, job)
        told(step="done", status=waited["status"])
        created = await good(client, "create_job", **asked)
        cancelled = await good(client, "cancel_job", job_id=created["job_id"])
        told(step="cancel", status=cancelled["status"])
        listed = await client.list_resources()
        uris = [str(one.uri) for one in listed.resources]
        read = await client.read_resource(f"codybatch://jobs/{job}/report.md")
        told(step="resources", has_job=f"codybatch://jobs/{job}" in uris, report=read.contents[0].text[:5])
        prompts = [one.name for one in (await client.list_prompts()).prompts]
        prompt = await client.get_prompt("review_job", {"job_id": job})
        told(step="prompts", names=prompts, names_job=job in prompt.messages[0].content.text)
        reference = PromptReference(type="ref/prompt", name="review_job")
        fits = await client.complete(reference, {"name": "job_id", "value": job[:8]})
        told(step="complete", fits=job in fits.completion.values)


asyncio.run(main())
