import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Client, type ConnectError, type RPCError } from "runtimed-client";
import { waiting } from "./daemon.js";
import { acquired, env, FakeDaemon, failure, info, pool, type Script, TempDir, until, windows } from "./support.js";

const willing: Script = (message, peer) => {
  if (message.method === "pool.acquire") peer.result(message, acquired);
  else if (message.method === "pool.status") peer.result(message, { pools: [pool("uv", 3)] });
  else if (message.method === "daemon.info") peer.result(message, info);
  else if (message.id !== undefined) peer.result(message, {});
};
const silent: Script = () => {};
const closing: Script = (_, peer) => peer.socket.destroy();

const kindOf = async (call: Promise<unknown>) => ((await failure(call)) as ConnectError).kind;

test("calls whose daemon is replaced are answered by the next one, an acquire with the same key", async () => {
  await using daemon = await FakeDaemon.start(silent);
  await using client = await Client.connect({ socket: daemon.path });
  const calls = [client.acquire({ waitMs: 30_000 }), client.status()] as const;
  await until(() => daemon.seen.length === 2);
  await daemon.stop();
  await sleep(300);
  await using again = await FakeDaemon.start(willing, daemon.path);
  const [leased, status] = await Promise.all(calls);
  assert.equal(leased.id, env.id);
  assert.equal(status.pools[0]?.available, 3);
  const [before, after] = [daemon, again].map((one) => one.calls("pool.acquire")[0]?.params);
  assert.ok(before?.key && before.key === after?.key);
  const left = after?.wait_ms as number;
  assert.ok(left > 0 && left <= 29_700, String(left));
});

test("a daemon that is stopping is asked until the next one is there", async () => {
  const stopping = { code: -32005, message: "the daemon is stopping", data: { kind: "shutting_down" } };
  await using daemon = await FakeDaemon.start((message, peer) => {
    if (daemon.seen.length < 8) peer.send({ id: message.id, error: stopping });
    else willing(message, peer);
  });
  await using client = await Client.connect({ socket: daemon.path });
  await client.acquire({ key: "mine" });
  assert.deepEqual(new Set(daemon.seen.map(({ params }) => params.key)), new Set(["mine"]));
});

test("a release that was done before its answer was lost is done", async () => {
  const unknown = { code: -32004, message: "there is no such environment", data: { kind: "unknown_env" } };
  await using daemon = await FakeDaemon.start((message, peer) => {
    if (daemon.seen.length === 1) peer.socket.destroy();
    else peer.send({ id: message.id, error: unknown });
  });
  await using client = await Client.connect({ socket: daemon.path });
  await client.release(env.id);
  assert.equal(((await failure(client.release(env.id))) as RPCError).kind, "unknown_env");
});

test("what would do something twice is not asked again, and who always hangs up is given up", async () => {
  await using daemon = await FakeDaemon.start(closing);
  await using client = await Client.connect({ socket: daemon.path });
  for (const method of ["pool.flush", "daemon.shutdown", "pool.acquire"])
    assert.equal(await kindOf(client.call(method)), "closed"); // this acquire has no key
  assert.equal(daemon.seen.length, 3);
  assert.equal(await kindOf(client.acquire({ waitMs: 600_000 })), "closed");
  assert.equal(daemon.seen.length, 9);
});

test("following ends with the call's time, its signal, and its client", async () => {
  await using daemon = await FakeDaemon.start(silent);
  await using client = await Client.connect({ socket: daemon.path });
  const control = new AbortController();
  const late = kindOf(client.acquire({ waitMs: 500, timeoutMs: 500 }));
  const aborted = failure(client.acquire({ waitMs: 600_000, signal: control.signal }));
  const closed = failure(client.acquire({ waitMs: 600_000 }));
  await until(() => daemon.seen.length === 3);
  await daemon.stop();
  await sleep(300);
  control.abort(new Error("enough"));
  assert.equal(((await aborted) as Error).message, "enough");
  assert.equal(await late, "unreachable");
  await client.close();
  assert.equal(((await closed) as ConnectError).message, "this client is closed");
});

const unix = { skip: windows && "it starts a script of Unix" };

for (const autostart of [true, false])
  test(`an acquire starts the next daemon where that is allowed: ${autostart}`, unix, async () => {
    using dir = new TempDir();
    const runt = join(dir.path, "runt");
    writeFileSync(runt, `#!/bin/sh\necho "$@" >>${dir.path}/calls\necho 'runt: error: no' >&2\nexit 1\n`, {
      mode: 0o755,
    });
    await using daemon = await FakeDaemon.start((message, peer) => {
      if (message.method === "daemon.info") peer.result(message, info);
    });
    await using client = await Client.connect({ socket: daemon.path, autostart, runt });
    const acquiring = failure(client.acquire({ waitMs: 500, timeoutMs: 500 }));
    await until(() => daemon.calls("pool.acquire").length === 1);
    await daemon.stop();
    const error = (await acquiring) as ConnectError;
    assert.equal(error.kind, "unreachable");
    assert.equal(error.message.includes("starting one failed: no"), autostart);
    assert.equal(existsSync(join(dir.path, "calls")), autostart);
    if (autostart) assert.equal(readFileSync(join(dir.path, "calls"), "utf8"), "daemon start --auto\n");
  });

test("its signal ends an acquire while the next daemon is started", unix, async () => {
  using dir = new TempDir();
  const runt = join(dir.path, "runt");
  writeFileSync(runt, `#!/bin/sh\ntouch ${dir.path}/started\nsleep 5\ntouch ${dir.path}/ended\n`, {
    mode: 0o755,
  });
  await using daemon = await FakeDaemon.start((message, peer) => {
    if (message.method === "daemon.info") peer.result(message, info);
  });
  await using client = await Client.connect({ socket: daemon.path, autostart: true, runt });
  const control = new AbortController();
  const acquiring = failure(client.acquire({ signal: control.signal }));
  await until(() => daemon.calls("pool.acquire").length === 1);
  await daemon.stop();
  await until(() => existsSync(join(dir.path, "started")));
  control.abort(new Error("enough"));
  assert.equal(((await acquiring) as Error).message, "enough");
  assert.equal(existsSync(join(dir.path, "ended")), false);
});

test("a real acquire waits on through a kill and a stop of its daemon", unix, async () => {
  await using daemon = waiting();
  await daemon.start();
  await using client = await Client.connect({ socket: daemon.socket });
  const control = new AbortController();
  const acquiring = failure(client.acquire({ waitMs: 60_000, signal: control.signal }));
  const inLine = async () => {
    while ((await client.status({ pool: "uv" })).pools[0]?.waiting !== 1) await sleep(20);
  };
  for (const signal of ["SIGKILL", "SIGTERM"] as const) {
    await inLine();
    await daemon.stop(signal);
    await daemon.start();
  }
  await inLine();
  control.abort(new Error("enough"));
  assert.equal(((await acquiring) as Error).message, "enough");
});
