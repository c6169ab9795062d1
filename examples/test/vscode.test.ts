import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import {
  CancellationTokenSource,
  createMessageConnection,
  type ResponseError,
  StreamMessageReader,
  StreamMessageWriter,
} from "vscode-jsonrpc/node";
import { Daemon, waiting } from "../../clients/typescript/.test/daemon.js";
import { failure, TempDir, until } from "../../clients/typescript/.test/support.js";
import { Daemon as Connection, describe, type Pool } from "../vscode/dist/daemon.js";
import { activation, takeEnvironment, withDaemon } from "../vscode/dist/environment.js";
import { choices, rows, status, type View, watchPools } from "../vscode/dist/pools.js";

test("the pools over a restart of the daemon", async () => {
  await using daemon = new Daemon();
  await daemon.start();
  const views: View[] = [];
  const closed = new AbortController();
  const watching = watchPools(daemon.socket, (view) => views.push(view), closed.signal);
  const known = () => {
    const view = views.at(-1);
    return view !== undefined && "pools" in view;
  };
  await until(known);
  assert.deepEqual(choices(views[0] as View), []); // both are off
  await daemon.stop();
  await until(() => views.length > 1 && !known());
  assert.match(status(views.at(-1) as View).tooltip, /closed the connection|ENOENT/);
  await daemon.start();
  await until(known);
  closed.abort();
  await watching;
});

test("an acquire that waits tells progress, and a cancel ends it in the daemon too", async () => {
  await using daemon = waiting();
  await daemon.start();
  const views: Pool[] = [];
  const closed = new AbortController();
  const watching = watchPools(
    daemon.socket,
    (view) => {
      if ("pools" in view) views.push(view.pools.find(({ name }) => name === "uv") as Pool);
    },
    closed.signal,
  );
  const source = new CancellationTokenSource();
  const stages: string[] = [];
  const where = { socket: daemon.socket };
  const taking = failure(takeEnvironment(where, "uv", ({ stage }) => stages.push(stage), source.token));
  await until(() => stages.length > 0);
  const line = () =>
    withDaemon(daemon.socket, (connection) => connection.ask<{ pools: (Pool & { waiting: number })[] }>("pool.status"));
  while ((await line()).pools[0]?.waiting !== 1);
  source.cancel();
  assert.equal(((await taking) as ResponseError<unknown>).code, -32800);
  assert.equal((await line()).pools[0]?.waiting, 0);
  assert.equal(views.at(-1)?.state, "warming");
  closed.abort();
  await watching;
});

test("an environment: built with progress, activated, adopted, released", async () => {
  await using daemon = new Daemon(() => '[pools.uv]\nsize = 1\npackages = ["ipykernel"]\n[pools.conda]\nsize = 0\n');
  await daemon.start();
  const stages = new Set<string>();
  const env = await takeEnvironment({ socket: daemon.socket }, "uv", ({ stage }) => stages.add(stage));
  assert.ok(stages.size > 0, "no progress was sent");
  const { PATH, VIRTUAL_ENV, PYTHONHOME } = activation(env, "/bin");
  assert.equal(PATH, `${env.path_prepend[0]}:/bin`);
  assert.ok(VIRTUAL_ENV?.endsWith(env.id));
  assert.equal(PYTHONHOME, null); // out of the terminal's variables

  const release = () => withDaemon(daemon.socket, (connection) => connection.release(env.id));
  await withDaemon(daemon.socket, (connection) => connection.adopt(env.id, process.ppid));
  await release();
  assert.match(describe(await failure(release())), /not leased.*: /);
});

/** What listens where a daemon should: it answers each request by this, or not at all, or hangs up. */
class OtherProgram {
  readonly #dir = new TempDir();
  readonly path = join(this.#dir.path, "s");
  readonly #server = createServer((socket) => {
    if (this.answer === "hangs up") socket.destroy();
    if (typeof this.answer !== "object" || !this.answer) return;
    const connection = createMessageConnection(new StreamMessageReader(socket), new StreamMessageWriter(socket));
    connection.onRequest(() => this.answer);
    connection.listen();
  }).listen(this.path);

  constructor(readonly answer: object | string | null) {}

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    this.#dir[Symbol.dispose]();
  }
}

test("a daemon that hangs, goes, or is another program is said to be so", async () => {
  for (const [answer, problem] of [
    [null, "the daemon did not answer daemon.info within 200 ms"],
    [{ name: "other" }, "what answers at PATH is not runtimed"],
    [{ name: "runtimed", protocol: 2 }, "the daemon speaks protocol 2, and this extension 1"],
  ] as const) {
    await using other = new OtherProgram(answer);
    const error = await failure(Connection.dial(other.path, 200));
    assert.equal(describe(error), problem.replace("PATH", other.path));
  }
  await using gone = new OtherProgram("hangs up");
  assert.match(describe(await failure(Connection.dial(gone.path))), /closed/);
});

test("what the status bar and the quick pick say", () => {
  const pool = { target: 3, warming: 1, leased: 2, error: null };
  const pools: Pool[] = [
    { ...pool, name: "uv", state: "ready", available: 2 },
    { ...pool, name: "conda", state: "off", available: 0 },
    {
      ...pool,
      name: "data",
      state: "failing",
      available: 0,
      error: { message: "no route", hint: "plug it in" },
    },
  ];
  const { text, tooltip, warn } = status({ pools });
  assert.equal(text, "$(vm) uv 2/3 · data 0/3");
  assert.match(tooltip, /^data: failing, 0 of 3 ready, 1 warming, 2 leased\nno route: plug it in$/m);
  assert.equal(warn, true);
  assert.deepEqual(choices({ pools }), ["uv", "data"]);
  assert.equal(rows(pools)[1]?.description, "off");
  assert.deepEqual(status({ problem: "gone" }), {
    text: "$(circle-slash) runtimed",
    tooltip: "gone",
    warn: false,
  });
});

test("the extension registers the commands that its manifest tells", () => {
  const folder = fileURLToPath(new URL("../vscode/", import.meta.url));
  const { contributes, main } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const code = readFileSync(join(folder, main), "utf8");
  const registered = [...code.matchAll(/registerCommand\("(.*?)"/g)].map(([, name]) => name);
  assert.deepEqual(
    contributes.commands.map(({ command }: { command: string }) => command),
    registered,
  );
});
