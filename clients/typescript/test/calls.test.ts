import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { Client, type Env, type Progress, RuntimedError } from "runtimed-client";
import { difference, failure, here, joined, type Message, place, TempDir, type Text, vectors } from "./support.js";

interface ClientVector {
  name: string;
  call: { method: string; args: Record<string, unknown>; timeout_ms?: number };
  request: object;
  reply?: Text | null;
  reply_hex?: string;
  /** How many bytes to send at a time. */
  chunk?: number;
  /** Whether the server closes the connection after its reply. */
  close?: boolean;
  progress?: object[];
  result?: unknown;
  error?: { class: string; data?: object };
}

for (const vector of vectors<ClientVector>("client.jsonl")) {
  test(`client.jsonl: ${vector.name}`, async () => {
    using dir = new TempDir();
    const path = place(dir);
    const requests: Message[] = [];
    const server = createServer(async (socket) => {
      socket.on("error", () => {});
      const lines = createInterface(socket).on("error", () => {});
      const [line] = await once(lines, "line");
      const request = JSON.parse(line) as Message;
      requests.push(request);
      await play(vector, request, socket);
    }).listen(path);
    try {
      await using client = await Client.connect({ socket: path, timeoutMs: vector.call.timeout_ms ?? 3000 });
      const progress: Progress[] = [];
      if (vector.error) {
        const error = await failure(perform(client, vector.call, progress));
        assert.ok(error instanceof RuntimedError, String(error));
        const { class: expected, ...members } = vector.error;
        assert.equal(error.name, expected);
        assert.equal(difference(toWire({ ...error, message: error.message }), members), undefined);
      } else {
        const result = await perform(client, vector.call, progress);
        assert.equal(difference(toWire(result), vector.result), undefined);
      }
      if (vector.progress) assert.equal(difference(toWire(progress), vector.progress), undefined);
      assert.equal(difference(requests[0], fromHere(vector.request)), undefined);
      assert.ok(vector.call.method !== "acquire" || requests[0]?.params.key, "an acquire has a key");
    } finally {
      server.close();
    }
  });
}

async function play({ reply, reply_hex, chunk, close }: ClientVector, request: Message, socket: Socket): Promise<void> {
  if (reply === null) return void socket.destroy();
  const text = reply === undefined ? Buffer.from(reply_hex ?? "", "hex") : Buffer.from(joined(reply));
  const bytes = Buffer.from(text.toString("latin1").replaceAll("$ID", String(request.id)), "latin1");
  const size = chunk ?? 1 << 15; // Wine's pipes take no more at once
  for (let at = 0; at < bytes.length; at += size) {
    await new Promise((written) => socket.write(bytes.subarray(at, at + size), written));
    if (chunk) await turn();
  }
  if (close) socket.end();
}

/** Makes the call of a vector, and gives its result the shape it had on the wire. */
async function perform(client: Client, call: ClientVector["call"], seen: Progress[]): Promise<unknown> {
  // biome-ignore lint/suspicious/noExplicitAny: the vectors hold what each method takes
  const { wait_ms: waitMs, owner_pid: ownerPid, linger_ms: lingerMs, ...others } = call.args as any;
  const { env, take, progress, ...args } = others;
  switch (call.method) {
    case "info":
      return client.info();
    case "status":
      return client.status(args);
    case "acquire": {
      const onProgress = progress ? (one: Progress) => seen.push(one) : undefined;
      const { source, stale, waitedMs, added, addedMs, standby, ...rest }: Env = await client.acquire({
        ...args,
        waitMs,
        ownerPid,
        lingerMs,
        onProgress,
      });
      return { env: rest, source, stale, waitedMs, added, addedMs, standby };
    }
    case "release":
      await client.release(env);
      return {};
    case "adopt":
      return { env: await client.adopt(env, ownerPid) };
    case "watch": {
      const states: unknown[] = [];
      for await (const status of client.watch()) if (states.push(status) === take) break;
      return states;
    }
  }
  throw new Error(`no such call: ${call.method}`);
}

/** A request as it is sent from this folder. */
function fromHere(request: object): unknown {
  const { params } = request as Message;
  const project = params?.project as undefined | string | { path: string };
  if (!project) return request;
  const at = typeof project === "string" ? here(project) : { ...project, path: here(project.path) };
  return { ...request, params: { ...params, project: at } };
}

/** A value under the names that its members have on the wire. */
function toWire(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(toWire);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [
      name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      name === "variables" ? member : toWire(member),
    ]),
  );
}
