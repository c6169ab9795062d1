import assert from "node:assert/strict";
import { delimiter, resolve } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Client, ConnectError, ProtocolError, RequestTimeout, RPCError, type Status } from "runtimed-client";
import { activate } from "../dist/environ.js";
import {
  acquired,
  env,
  FakeDaemon,
  failure,
  here,
  type Message,
  pool,
  type Script,
  until,
  windows,
} from "./support.js";

const unknownEnv = { code: -32004, message: "there is no such environment", data: { kind: "unknown_env" } };

/** Answers everything at once, as a healthy daemon would. */
const willing: Script = (message, peer) => {
  if (message.method === "pool.acquire") peer.result(message, acquired);
  else if (message.method === "pool.status") peer.result(message, { pools: [pool("uv", 3)] });
  else if (message.method === "env.adopt") peer.result(message, { env });
  else if (message.id !== undefined) peer.result(message, {});
};

/** Answers status calls only. */
const busy: Script = (message, peer) => {
  if (message.method === "pool.status") willing(message, peer);
};

test("nobody at the socket: unreachable, with the path and the next step", async () => {
  const socket = windows ? "\\\\.\\pipe\\nonexistent" : "/nonexistent/runtimed.sock";
  const error = (await failure(Client.connect({ socket }))) as ConnectError;
  assert.ok(error instanceof ConnectError);
  assert.equal(error.kind, "unreachable");
  assert.ok(error.message.includes(`${socket}: ENOENT`), error.message);
  assert.match(error.hint ?? "", /runt daemon start/);
});

test("a path too long for a socket is refused by name", { skip: windows && "it has no length" }, async () => {
  const error = (await failure(Client.connect({ socket: `/${"x".repeat(200)}` }))) as ConnectError;
  assert.equal(error.kind, "unreachable");
  assert.match(error.message, /201 bytes.*RUNTIMED_SOCKET/);
});

test("a call that runs out of time is cancelled; the others and the connection live on", async () => {
  await using daemon = await FakeDaemon.start(busy);
  await using client = await Client.connect({ socket: daemon.path, timeoutMs: 5000 });
  const slow = failure(client.call("daemon.ping", {}, { timeoutMs: 30 }));
  const error = (await slow) as RequestTimeout;
  assert.ok(error instanceof RequestTimeout);
  assert.match(error.message, /daemon\.ping within 30 ms/);
  assert.equal((await client.status()).pools[0]?.available, 3);
  assert.deepEqual(daemon.calls("$/cancelRequest")[0]?.params, { id: daemon.calls("daemon.ping")[0]?.id });
  assert.equal(daemon.peers.length, 1);
});

test("a late reply is dropped and never answers another call", async () => {
  const late: (() => void)[] = [];
  await using daemon = await FakeDaemon.start((message, peer) => {
    if (message.method !== "pool.status") return;
    const available = daemon.calls("pool.status").length;
    late.push(() => peer.result(message, { pools: [pool("uv", available)] }));
    if (available === 2) for (const send of late) send();
  });
  await using client = await Client.connect({ socket: daemon.path });
  assert.ok((await failure(client.status({ timeoutMs: 30 }))) instanceof RequestTimeout);
  assert.equal((await client.status()).pools[0]?.available, 2);
});

test("an answer that is there already wins over a limit that passed while the program was busy", async () => {
  await using daemon = await FakeDaemon.start((message, peer) => {
    willing(message, peer);
    const end = Date.now() + 100;
    while (Date.now() < end); // the client is in this same process, and can read the answer only later
  });
  await using client = await Client.connect({ socket: daemon.path, timeoutMs: 50 });
  assert.equal((await client.status()).pools.length, 1);
});

test("abort rejects that call with the signal's reason, and tells the daemon", async () => {
  await using daemon = await FakeDaemon.start(busy);
  await using client = await Client.connect({ socket: daemon.path });
  const control = new AbortController();
  const acquiring = failure(client.acquire({ signal: control.signal }));
  const other = client.status();
  await until(() => daemon.calls("pool.acquire").length === 1);
  control.abort(new Error("enough"));
  assert.equal(((await acquiring) as Error).message, "enough");
  await other;
  await until(() => daemon.calls("$/cancelRequest").length === 1);
  assert.deepEqual(daemon.calls("$/cancelRequest")[0]?.params, { id: daemon.calls("pool.acquire")[0]?.id });
});

test("a signal that is aborted already sends nothing", async () => {
  await using daemon = await FakeDaemon.start(willing);
  await using client = await Client.connect({ socket: daemon.path });
  const error = (await failure(client.acquire({ signal: AbortSignal.abort() }))) as Error;
  assert.equal(error.name, "AbortError");
  await client.status();
  assert.deepEqual(daemon.calls("pool.acquire"), []);
});

test("an environment that arrives after its caller gave up is released at once", async () => {
  await using daemon = await FakeDaemon.start((message, peer) => {
    if (message.method === "$/cancelRequest") peer.result({ ...message, ...message.params }, acquired);
    if (message.method === "pool.release") peer.result(message, {});
  });
  await using client = await Client.connect({ socket: daemon.path });
  assert.ok((await failure(client.acquire({ waitMs: 20, timeoutMs: 20 }))) instanceof RequestTimeout);
  await until(() => daemon.calls("pool.release").length === 1);
  assert.deepEqual(daemon.calls("pool.release")[0]?.params, { env: env.id });
});

test("an environment in an answer that cannot be understood is released at once", async () => {
  await using daemon = await FakeDaemon.start((message, peer) => {
    peer.result(message, message.method === "pool.acquire" ? { env: { id: env.id } } : {});
  });
  await using client = await Client.connect({ socket: daemon.path });
  const error = (await failure(client.acquire())) as ProtocolError;
  assert.ok(error instanceof ProtocolError);
  assert.equal(error.message, "pool.acquire: result.env.pool is missing");
  await until(() => daemon.calls("pool.release").length === 1);
});

test("each acquire has a key of its own, unless it is given one; the wait is sent along", async () => {
  await using daemon = await FakeDaemon.start(willing);
  await using client = await Client.connect({ socket: daemon.path });
  for (const key of [undefined, undefined, "mine"]) await client.acquire({ key, waitMs: 10 });
  const params = daemon.calls("pool.acquire").map((call) => call.params);
  assert.equal(new Set(params.map((one) => one.key)).size, 3);
  assert.equal(params[2]?.key, "mine");
  assert.ok(params.every((one) => one.wait_ms === 10 && !("progress" in one)));
});

test("the path of a project is from our working folder", async () => {
  await using daemon = await FakeDaemon.start(willing);
  await using client = await Client.connect({ socket: daemon.path });
  const asked = { path: "notes", extras: ["plot"], groups: ["dev"], frozen: true };
  for (const project of ["notes", asked, "/p", "", undefined]) await client.acquire({ project });
  assert.equal(asked.path, "notes");
  assert.deepEqual(
    daemon.calls("pool.acquire").map(({ params }) => params.project),
    [resolve("notes"), { ...asked, path: resolve("notes") }, here("/p"), "", undefined],
  );
});

test("an error in onProgress ends that acquire alone", async () => {
  await using daemon = await FakeDaemon.start((message, peer) => {
    if (message.method === "pool.acquire") {
      peer.send({ method: "$/progress", params: { id: message.id, stage: "queued", message: "" } });
    } else willing(message, peer);
  });
  await using client = await Client.connect({ socket: daemon.path });
  const onProgress = () => {
    throw new Error("no screen");
  };
  assert.equal(((await failure(client.acquire({ onProgress }))) as Error).message, "no screen");
  assert.equal((await client.status()).pools.length, 1);
});

test("calls that find the connection lost share the new one", async () => {
  await using daemon = await FakeDaemon.start(willing);
  await using client = await Client.connect({ socket: daemon.path });
  await until(() => daemon.peers.length === 1);
  daemon.peers[0]?.socket.destroy();
  await sleep(20);
  await Promise.all([client.status(), client.status(), client.status()]);
  assert.equal(daemon.peers.length, 2);
});

test("a character may be split between two reads", async () => {
  await using daemon = await FakeDaemon.start((message, peer) => {
    const bytes = Buffer.from(`{"jsonrpc":"2.0","id":${message.id},"result":"größe 😀"}\n`);
    const half = bytes.indexOf("😀") + 2;
    peer.socket.write(bytes.subarray(0, half));
    setTimeout(() => peer.socket.write(bytes.subarray(half)), 20);
  });
  await using client = await Client.connect({ socket: daemon.path });
  assert.equal(await client.call("any.method"), "größe 😀");
});

test("10,000 calls at once, answered in one burst and in reverse order, among 10,000 notifications", async () => {
  const many = 10_000;
  const asked: Message[] = [];
  await using daemon = await FakeDaemon.start((message, peer) => {
    if (asked.push(message) < many) return;
    const lines = asked.reverse().map(({ id, params }) => {
      const noise = { jsonrpc: "2.0", method: "pool.changed", params: { pool: pool("uv", 1) } };
      return `${JSON.stringify(noise)}\n${JSON.stringify({ jsonrpc: "2.0", id, result: params.n })}\n`;
    });
    peer.socket.write(lines.join(""));
  });
  await using client = await Client.connect({ socket: daemon.path, timeoutMs: 60_000 });
  const answers = await Promise.all(Array.from({ length: many }, (_, n) => client.call("echo", { n })));
  assert.deepEqual(
    answers,
    Array.from({ length: many }, (_, n) => n),
  );
});

test("environ activates: variables merged, null taken out, path put in front, the base left alone", async () => {
  await using daemon = await FakeDaemon.start(willing);
  await using client = await Client.connect({ socket: daemon.path });
  const leased = await client.acquire();
  const base = { PATH: "/usr/bin:/bin", PYTHONHOME: "/elsewhere", LANG: "C", NOTHING: undefined };
  assert.deepEqual(leased.environ(base), {
    PATH: ["/envs/uv-0123abcd/bin", "/usr/bin:/bin"].join(delimiter),
    VIRTUAL_ENV: "/envs/uv-0123abcd",
    LANG: "C",
  });
  assert.equal(base.PYTHONHOME, "/elsewhere");
  assert.equal(leased.environ({}).PATH, "/envs/uv-0123abcd/bin");
  assert.equal(leased.environ().HOME, process.env.HOME);
});

test("on Windows a variable replaces its namesake in whatever case, and PATH keeps what it has", () => {
  const base = { Path: "C:\\System32", Virtual_Env: "old", PythonHome: "C:\\Python" };
  const variables = { VIRTUAL_ENV: "E", PYTHONHOME: null };
  const windows = activate(base, variables, ["E\\Scripts"], "win32");
  assert.deepEqual(windows, { Path: "E\\Scripts;C:\\System32", Virtual_Env: "E" });
  assert.deepEqual(activate(base, variables, ["/e"], "linux"), { ...base, VIRTUAL_ENV: "E", PATH: "/e" });
});

test("await using releases an environment at the end of its block, once", async () => {
  await using daemon = await FakeDaemon.start(willing);
  await using client = await Client.connect({ socket: daemon.path });
  {
    await using leased = await client.acquire();
    assert.equal(leased.python, env.python);
  }
  assert.equal(daemon.calls("pool.release").length, 1);
  {
    await using leased = await client.acquire();
    await leased.release();
  }
  assert.equal(daemon.calls("pool.release").length, 2);
});

test("await using leaves an environment alone that another process has adopted", async () => {
  await using daemon = await FakeDaemon.start(willing);
  await using client = await Client.connect({ socket: daemon.path });
  {
    await using leased = await client.acquire();
    assert.equal((await client.adopt(leased, 4711)).pythonVersion, "3.12.4");
  }
  assert.deepEqual(daemon.calls("env.adopt")[0]?.params, { env: env.id, owner_pid: 4711 });
  assert.deepEqual(daemon.calls("pool.release"), []);
});

test("await using does not mind that the environment is gone; release says so", async () => {
  await using daemon = await FakeDaemon.start((message, peer) => {
    if (message.method === "pool.release") peer.send({ id: message.id, error: unknownEnv });
    else willing(message, peer);
  });
  await using client = await Client.connect({ socket: daemon.path });
  {
    await using _leased = await client.acquire();
  }
  const error = (await failure((await client.acquire()).release())) as RPCError;
  assert.ok(error instanceof RPCError);
  assert.equal(error.code, -32004);
  assert.equal(error.data.kind, "unknown_env");
});

test("the end of a client's block rejects its calls and closes its connections", async () => {
  await using daemon = await FakeDaemon.start(() => {});
  let waiting: Promise<unknown>[];
  let closed: Client;
  {
    await using client = await Client.connect({ socket: daemon.path });
    closed = client;
    waiting = [failure(client.status()), failure(client.watch().next())];
    await until(() => daemon.seen.length === 2);
  }
  for (const error of await Promise.all([...waiting, failure(closed.status())])) {
    assert.equal((error as ConnectError).message, "this client is closed");
  }
  await until(() => daemon.peers.length === 2 && daemon.peers.every(({ socket }) => socket.destroyed));
});

/** Answers a watch with the pools uv and conda, then tells these numbers of available environments of uv. */
const changing =
  (...numbers: number[]): Script =>
  (message, peer) => {
    if (message.method !== "pool.watch") return willing(message, peer);
    peer.result(message, { pools: [pool("uv", 0), pool("conda", 0)] });
    for (const n of numbers) peer.send({ method: "pool.changed", params: { pool: pool("uv", n) } });
  };

const counts = ({ pools }: Status) => pools.map(({ name, available }) => `${name} ${available}`).join(", ");

test("a watch gives all pools, then all of them again after each change, until the loop is left", async () => {
  await using daemon = await FakeDaemon.start(changing(1, 2));
  await using client = await Client.connect({ socket: daemon.path });
  const seen: string[] = [];
  for await (const status of client.watch()) if (seen.push(counts(status)) === 3) break;
  assert.deepEqual(seen, ["uv 0, conda 0", "uv 1, conda 0", "uv 2, conda 0"]);
  await until(() => daemon.peers[1]?.socket.destroyed === true); // which ends the watch for the daemon
  assert.equal(daemon.peers[0]?.socket.destroyed, false);
  assert.equal((await client.status()).pools.length, 1);
});

test("its signal ends a watch that waits", async () => {
  await using daemon = await FakeDaemon.start(changing());
  await using client = await Client.connect({ socket: daemon.path });
  const control = new AbortController();
  const watch = client.watch({ signal: control.signal });
  await watch.next();
  const stopped = failure(watch.next());
  control.abort(new Error("enough"));
  assert.equal(((await stopped) as Error).message, "enough");
  assert.deepEqual(await watch.next(), { done: true, value: undefined });
  await until(() => daemon.peers[1]?.socket.destroyed === true);
});

test("a watch that never began opens nothing", async () => {
  await using daemon = await FakeDaemon.start(changing());
  await using client = await Client.connect({ socket: daemon.path });
  await client.watch().return?.();
  await client.status();
  assert.equal(daemon.peers.length, 1);
});

test("a watch whose daemon goes gives what came before, then the error", async () => {
  await using daemon = await FakeDaemon.start((message, peer) => {
    changing(1)(message, peer);
    if (message.method === "pool.watch") peer.socket.end();
  });
  await using client = await Client.connect({ socket: daemon.path });
  const watch = client.watch();
  await watch.next();
  await sleep(20);
  assert.equal(counts((await watch.next()).value), "uv 1, conda 0");
  assert.equal(((await failure(watch.next())) as ConnectError).kind, "closed");
  assert.deepEqual(await watch.next(), { done: true, value: undefined });
});
