// Follows `jobEvents` through a connection that breaks again and again, with a client that no one here
// wrote, and goes on after the last position that came. Prints the positions as they came.
//
// node follow.mjs CLIENT URL TOKEN JOB AFTER BREAK_MS
//
// CLIENT is `ws` (graphql-ws), `sse` (graphql-sse) or `last-event-id` (an EventSource's own way, by
// hand). JOB is a job's id, or `-` for the whole log. A line on standard input tells the last position
// there will be.

import { once } from "node:events";
import { createConnection, createServer } from "node:net";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

import { createClient as createSseClient } from "graphql-sse";
import { createClient as createWsClient } from "graphql-ws";
import WebSocket from "ws";

const [client, address, token, job, start, breakMs] = process.argv.slice(2);
const query =
  "subscription ($job: ID, $after: Position) { jobEvents(jobId: $job, after: $after) { position } }";
const authorization = `Bearer ${token}`;

const positions = [];
let breaks = 0;
let until = Infinity;

const last = () => positions.at(-1) ?? start;
const isOver = () => Number(last()) >= until;
const variables = () => ({ job: job === "-" ? null : job, after: last() });

// The way to the server: cut, in both directions and with whatever is on it, every so often.
const open = new Set();
const target = new URL(address);
const way = createServer((near) => {
  const far = createConnection(Number(target.port), target.hostname);
  const both = { near, far };
  const cut = () => {
    open.delete(both);
    near.destroy();
    far.destroy();
  };
  for (const end of [near, far]) {
    end.on("error", cut);
    end.on("close", cut);
  }
  near.pipe(far);
  far.pipe(near);
  open.add(both);
});
way.listen(0, "127.0.0.1");
await once(way, "listening");
const url = `http://127.0.0.1:${way.address().port}${target.pathname}`;
const breaking = setInterval(() => {
  for (const { near, far } of open) {
    breaks += 1;
    near.destroy();
    far.destroy();
  }
}, Number(breakMs));

// One subscription, until it ends, breaks or has brought everything.
const followers = {
  async ws() {
    const subscriber = createWsClient({
      url: url.replace("http", "ws"),
      webSocketImpl: WebSocket,
      connectionParams: { authorization },
      retryAttempts: 0,
    });
    try {
      await take(subscriber.iterate({ query, variables: variables() }));
    } finally {
      await subscriber.dispose();
    }
  },
  async sse() {
    const subscriber = createSseClient({ url, headers: { authorization }, retryAttempts: 0 });
    try {
      await take(subscriber.iterate({ query, variables: variables() }));
    } finally {
      subscriber.dispose();
    }
  },
  async "last-event-id"() {
    const asked = new URLSearchParams({
      query,
      // As an EventSource asks: the same each time, and the header tells where it is.
      variables: JSON.stringify({ job: job === "-" ? null : job, after: start }),
    });
    const headers = { accept: "text/event-stream", authorization };
    if (positions.length > 0) {
      headers["last-event-id"] = lastId;
    }
    const answer = await fetch(`${url}?${asked}`, { headers });
    if (!answer.ok) {
      throw new Refused(await answer.text());
    }
    let rest = "";
    for await (const part of answer.body.pipeThrough(new TextDecoderStream())) {
      const blocks = (rest + part).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        record(block);
      }
      if (isOver()) {
        return;
      }
    }
  },
};

class Refused extends Error {}
let lastId = "";

function record(block) {
  const field = (name) =>
    block
      .split("\n")
      .find((line) => line.startsWith(`${name}:`))
      ?.slice(name.length + 1)
      .trimStart();
  if (field("event") !== "next") {
    return;
  }
  keep(JSON.parse(field("data")));
  lastId = field("id");
}

function keep(answer) {
  if (answer.errors !== undefined) {
    throw new Refused(JSON.stringify(answer.errors));
  }
  positions.push(answer.data.jobEvents.position);
}

async function take(answers) {
  for await (const answer of answers) {
    keep(answer);
    if (isOver()) {
      return;
    }
  }
}

// Whoever waits for news is waked by a break at the latest, and sees then that it is over.
createInterface({ input: process.stdin }).once("line", (line) => {
  until = Number(line);
});

while (!isOver()) {
  try {
    await followers[client]();
  } catch (error) {
    // A break is what this is about; a no of the server's is not.
    const isNo = error instanceof Refused || Array.isArray(error) || error?.response !== undefined;
    if (isNo || error?.code >= 4400) {
      throw error;
    }
    await sleep(5);
  }
}
clearInterval(breaking);
// A pipe takes so much at once; leaving earlier would cut the rest off.
process.stdout.write(`${JSON.stringify({ breaks, positions })}\n`, () => process.exit(0));
