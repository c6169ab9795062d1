import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { acquired, FakeDaemon, pool, root, until } from "./support.js";

/** Runs a program that has a connected client, as a process of its own. */
function run(daemon: FakeDaemon, program: string) {
  const whole = `import { Client } from "runtimed-client";
    const client = await Client.connect({ timeoutMs: 60_000 });
    ${program}`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", whole], {
    cwd: root,
    env: { ...process.env, RUNTIMED_SOCKET: daemon.path },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const output = text(child.stdout);
  return { child, ended: once(child, "exit").then(async ([code]) => ({ code, output: await output })) };
}

test("an idle client does not keep the process running", async () => {
  await using daemon = await FakeDaemon.start((message, peer) => {
    peer.result(message, { pools: [pool("uv", 3)] });
  });
  const { ended } = run(daemon, "console.log((await client.status()).pools[0].available);");
  assert.deepEqual(await ended, { code: 0, output: "3\n" });
});

test("a waiting call keeps it running", async () => {
  await using daemon = await FakeDaemon.start((message, peer) => {
    setTimeout(() => peer.result(message, acquired), 300);
  });
  const { ended } = run(daemon, "client.acquire().then((env) => console.log(env.id));");
  assert.deepEqual(await ended, { code: 0, output: "uv-0123abcd\n" });
});

test("a loop over changes keeps it running, and no longer once it is left", async () => {
  await using daemon = await FakeDaemon.start((message, peer) => {
    peer.result(message, { pools: [pool("uv", 0)] });
    setTimeout(() => peer.send({ method: "pool.changed", params: { pool: pool("uv", 1) } }), 300);
  });
  const { ended } = run(
    daemon,
    "for await (const { pools } of client.watch()) if (pools[0].available) break; console.log('done');",
  );
  assert.deepEqual(await ended, { code: 0, output: "done\n" });
});

test("a call that was given up does not keep it running", async () => {
  await using daemon = await FakeDaemon.start(() => {});
  const { ended } = run(
    daemon,
    "await client.acquire({ signal: AbortSignal.timeout(50) }).catch((e) => console.log(e.name));",
  );
  assert.deepEqual(await ended, { code: 0, output: "TimeoutError\n" });
  await until(() => daemon.calls("$/cancelRequest").length === 1);
});
