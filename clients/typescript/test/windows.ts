// Run on Windows by the Go tests, with RUNTIMED_SOCKET naming the pipe of a daemon that has filled a pool of two.
import assert from "node:assert/strict";
import { dirname } from "node:path";
import { test } from "node:test";
import { Client, type ConnectError, type RPCError } from "runtimed-client";
import { failure, TempDir } from "./support.js";

const { RUNTIMED_SOCKET: pipe = "", RUNTIMED_BIN: bin = "" } = process.env;

test("a real daemon gives, adopts, watches and takes back over its pipe", async () => {
  await using client = await Client.connect();
  assert.equal((await client.info()).socket, pipe);
  const key = `test ${process.pid}`;
  const [one, again, other] = await Promise.all([key, key, undefined].map((key) => client.acquire({ key })));
  assert.equal(one?.id, again?.id);
  assert.notEqual(one?.id, other?.id);
  let seen = 0;
  for await (const { pools } of client.watch()) {
    const uv = pools.find((pool) => pool.name === "uv");
    if (seen++ === 0) {
      assert.equal(uv?.leased, 2);
      await other?.release();
    }
    if (uv?.leased === 1) break;
  }
  await client.adopt(one?.id ?? "", process.pid);
  await client.release(one?.id ?? "");
  const gone = (await failure(client.release(one?.id ?? ""))) as RPCError;
  assert.equal(gone.kind, "unknown_env");
});

test("its errors, and the abort of an acquire", async () => {
  await using client = await Client.connect();
  const error = (await failure(client.acquire({ pool: "nope" }))) as RPCError;
  assert.equal(error.kind, "unknown_pool");
  const lost = await failure(client.acquire({ signal: AbortSignal.abort(new Error("enough")) }));
  assert.equal((lost as Error).message, "enough");
});

test("a daemon is started where none runs", async () => {
  using home = new TempDir(); // or the one that runs would be told of
  for (const name of ["USERPROFILE", "APPDATA", "LOCALAPPDATA"]) process.env[name] = home.path;
  process.env.RUNTIMED_UV_POOL_SIZE = "0";
  const socket = `${pipe}-started`;
  const runt = `${dirname(bin)}/runt.exe`;
  assert.equal(((await failure(Client.connect({ socket }))) as ConnectError).kind, "unreachable");
  await using client = await Client.connect({ socket, autostart: true, runt, timeoutMs: 60_000 });
  assert.equal((await client.info()).socket, socket);
  await client.call("daemon.shutdown");
});
