import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { isAbsolute } from "node:path";
import { createInterface } from "node:readline";
import { buffer } from "node:stream/consumers";
import { after, before, test } from "node:test";
import { Client, ConnectError, RPCError } from "runtimed-client";
import {
  CancellationTokenSource,
  createMessageConnection,
  type ResponseError,
  StreamMessageReader,
  StreamMessageWriter,
} from "vscode-jsonrpc/node";
import { Daemon, waiting } from "./daemon.js";
import { difference, failure, joined, type Text, vectors } from "./support.js";

const idle = new Daemon();
before(() => idle.start());
after(() => idle[Symbol.asyncDispose]());

type Reply = { id: Text; result?: unknown; error?: unknown } | { batch: Reply[] };

interface ServerVector {
  name: string;
  send?: Text;
  send_hex?: string;
  framing: "lines" | "headers";
  expect: Reply[];
  closes?: boolean;
}

for (const { name, send, send_hex, framing, expect, closes } of vectors<ServerVector>("server.jsonl")) {
  test(`server.jsonl: ${name}`, async () => {
    const socket = connect({ path: idle.socket, allowHalfOpen: true });
    socket.on("error", () => {}); // the daemon may close while we still send
    await once(socket, "connect");
    socket.write(send_hex === undefined ? joined(send ?? "") : Buffer.from(send_hex, "hex"));
    if (!closes) socket.end(); // else the daemon hangs up by itself
    const replies = split(await buffer(socket), framing);
    socket.destroy();
    assert.equal(mismatch(replies, expect), undefined);
  });
}

function split(bytes: Buffer, framing: ServerVector["framing"]): string[] {
  if (framing === "lines") return bytes.toString().split("\n").filter(Boolean);
  const replies: string[] = [];
  for (let rest = bytes; rest.length > 0; ) {
    const [head, length] = /^Content-Length: (\d+)\r\n\r\n/.exec(rest.toString("latin1")) ?? [];
    assert.ok(head, `no header: ${rest}`);
    const end = head.length + Number(length);
    replies.push(rest.toString("utf8", head.length, end));
    rest = rest.subarray(end);
  }
  return replies;
}

/** Pairs replies with what is expected, in any order, and says what is left over. */
function mismatch(replies: string[], expected: Reply[]): string | undefined {
  const left = [...replies];
  for (const one of expected) {
    const at = left.findIndex((reply) => fits(reply, one));
    if (at < 0) return `no ${JSON.stringify(one)} among ${left.join("\n")}`;
    left.splice(at, 1);
  }
  return left.length > 0 ? `not expected: ${left.join("\n")}` : undefined;
}

function fits(reply: string, expected: Reply): boolean {
  const value = JSON.parse(reply);
  if ("batch" in expected) return Array.isArray(value) && mismatch(elements(reply), expected.batch) === undefined;
  const { id, ...members } = expected;
  const member = `"id":${joined(id)}`;
  return [",", "}"].some((end) => reply.includes(member + end)) && difference(value, members) === undefined;
}

/** The texts of the elements of a list of objects, as they stand in it. */
function elements(list: string): string[] {
  const texts: string[] = [];
  for (let rest = list.slice(1); rest.length > 0; ) {
    let end = rest.indexOf("}") + 1;
    while (end > 0 && !parses(rest.slice(0, end))) end = rest.indexOf("}", end) + 1;
    if (end === 0) break;
    texts.push(rest.slice(0, end));
    rest = rest.slice(end + 1);
  }
  return texts;
}

function parses(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

test("info, status and the daemon's errors, from the daemon itself", async () => {
  await using client = await Client.connect({ socket: idle.socket });
  const info = await client.info();
  assert.equal(info.protocol, 1);
  assert.equal(info.socket, idle.socket);
  assert.deepEqual([info.startedBy, info.replaced], ["hand", false]);
  assert.ok(isAbsolute(info.program) && isAbsolute(info.log), JSON.stringify(info));
  assert.deepEqual((await client.status()).pools.map(({ name, state, tool }) => [name, state, tool]).sort(), [
    ["conda", "off", null],
    ["uv", "off", null],
  ]);
  assert.equal((await client.status({ pool: "conda" })).pools.length, 1);

  const errors = await Promise.all(
    [
      client.acquire(),
      client.acquire({ pool: "nope" }),
      client.acquire({ waitMs: -1 }),
      client.release("uv-00000000"),
      client.adopt("uv-00000000", process.pid),
      client.call("no.such"),
    ].map(failure),
  );
  assert.deepEqual(
    errors.map((error) => (error instanceof RPCError ? [error.code, error.kind] : error)),
    [
      [-32007, "pool_off"],
      [-32002, "unknown_pool"],
      [-32602, "invalid_params"],
      [-32004, "unknown_env"],
      [-32004, "unknown_env"],
      [-32601, "method_not_found"],
    ],
  );
  assert.deepEqual([...((errors[1] as RPCError).data.pools ?? [])].sort(), ["conda", "uv"]);
  assert.equal((errors[2] as RPCError).data.param, "wait_ms");
});

test("a client and its watch when the daemon is restarted", async () => {
  await using daemon = new Daemon();
  await daemon.start();
  await using client = await Client.connect({ socket: daemon.socket });
  const first = await client.info();
  const watch = client.watch();
  assert.equal((await watch.next()).value?.pools.length, 2);
  const lost = failure(watch.next());
  await daemon.stop();
  assert.equal(((await lost) as ConnectError).kind, "closed");
  let error = await failure(client.info());
  if ((error as ConnectError).kind === "closed") error = await failure(client.info()); // its end was not seen before
  assert.ok(error instanceof ConnectError);
  assert.equal(error.kind, "unreachable");
  await daemon.start();
  assert.notEqual((await client.info()).pid, first.pid);
});

test("an abort ends the wait in the daemon too, and the watch shows it", async () => {
  await using daemon = waiting();
  await daemon.start();
  await using client = await Client.connect({ socket: daemon.socket });
  const control = new AbortController();
  const acquiring = failure(client.acquire({ signal: control.signal }));
  const line: number[] = [];
  for await (const { pools } of client.watch()) {
    const { waiting } = pools.find(({ name }) => name === "uv") ?? assert.fail("no pool uv");
    if (waiting !== line.at(-1)) line.push(waiting);
    if (waiting === 1) control.abort();
    if (waiting === 0 && line.includes(1)) break;
  }
  assert.equal(((await acquiring) as Error).name, "AbortError");
});

test("a real environment: built, run, handed to a child, released, replaced", async () => {
  await using daemon = new Daemon(() => '[pools.uv]\nsize = 1\npackages = ["ipykernel"]\n[pools.conda]\nsize = 0\n');
  await daemon.start();
  await using client = await Client.connect({ socket: daemon.socket });
  const stages = new Set<string>();
  const env = await client.acquire({
    waitMs: 280_000,
    label: "größe",
    onProgress: ({ stage }) => stages.add(stage),
  });
  assert.ok(stages.size > 0, "no progress was sent");
  const { tool } = (await client.status({ pool: "uv" })).pools[0] ?? assert.fail("no pool uv");
  assert.equal(tool?.name, "uv");
  assert.ok(isAbsolute(tool.path) && tool.why, JSON.stringify(tool));

  const code = "import ipykernel, os, sys; print(sys.prefix, os.environ['VIRTUAL_ENV'], flush=True); sys.stdin.read()";
  const child = spawn(env.python, ["-c", code], { env: env.environ(), stdio: ["pipe", "pipe", "inherit"] });
  const [line] = await once(createInterface(child.stdout), "line");
  assert.equal(line, `${env.path} ${env.path}`);
  await client.adopt(env, child.pid ?? assert.fail("no pid"));
  const { envs } = (await client.call("env.list", { state: "leased" })) as {
    envs: { id: string; lease: object }[];
  };
  assert.equal(difference(envs, [{ id: env.id, lease: { owner_pid: child.pid, label: "größe" } }]), undefined);

  await env.release(); // before the child ends, since the lease is the child's now
  child.stdin.end();
  await once(child, "exit");
  await using next = await client.acquire({ waitMs: 280_000, session: "größe", lingerMs: 5000 });
  assert.notEqual(next.id, env.id);
  await using more = await client.acquire({
    waitMs: 280_000,
    packages: ["iniconfig"],
    requirements: "ipykernel\n",
  });
  assert.deepEqual(more.needs, ["iniconfig", "ipykernel"]);
  assert.ok(more.packages.some(({ name }) => name === "iniconfig"));
  const added = more.source === "extended" ? ["iniconfig"] : []; // where none was ready it is built
  assert.deepEqual(
    more.added.map(({ name }) => name),
    added,
  );
  const refused = (await failure(client.acquire({ packages: ["."] }))) as RPCError;
  assert.deepEqual([refused.kind, refused.data.param], ["invalid_params", "packages"]);
});

test("vscode-jsonrpc connects as it is, in its own framing", async () => {
  await using daemon = waiting();
  await daemon.start();
  const socket = connect(daemon.socket);
  await once(socket, "connect");
  const connection = createMessageConnection(new StreamMessageReader(socket), new StreamMessageWriter(socket));
  connection.listen();
  try {
    const info = await connection.sendRequest<{ name: string }>("daemon.info");
    assert.equal(info.name, "runtimed");
    const status = () => connection.sendRequest<{ pools: { name: string; waiting: number }[] }>("pool.status");
    const uv = async () => (await status()).pools.find(({ name }) => name === "uv")?.waiting;
    assert.equal(await uv(), 0);

    const source = new CancellationTokenSource();
    const acquiring = failure(connection.sendRequest("pool.acquire", { pool: "uv" }, source.token));
    while ((await uv()) !== 1);
    source.cancel();
    assert.equal(((await acquiring) as ResponseError<unknown>).code, -32800);
    assert.equal(await uv(), 0);
  } finally {
    connection.dispose();
    socket.destroy();
  }
});
