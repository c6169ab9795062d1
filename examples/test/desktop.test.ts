import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { closeSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { MessageChannel, type MessagePort } from "node:worker_threads";
import { Client } from "runtimed-client";
import { programs, uvCache } from "../../clients/typescript/.test/daemon.js";
import { failure, TempDir, until } from "../../clients/typescript/.test/support.js";
import type { Event, PoolsView } from "../desktop/dist/calls.js";
import { Backend } from "../desktop/dist/main/backend.js";
import { portChannel } from "../desktop/dist/main/ipc.js";
import { Api } from "../desktop/dist/renderer/api.js";

// A home with no daemon in it: the example starts one.
const usual = { ...process.env };
const home = new TempDir();
const socket = join(home.path, "s");
const config = join(home.path, "config.toml");
const bin = programs();
const runt = join(bin, process.platform === "win32" ? "runt.exe" : "runt");

before(() => {
  for (const name of Object.keys(process.env)) if (/^(RUNTIMED_|XDG_|PYTHON|TF_)/.test(name)) delete process.env[name];
  Object.assign(process.env, {
    HOME: home.path,
    LANG: "C.UTF-8", // as a desktop has one; where there is none, the first standby is for front-ends in Python
    PATH: `${bin}:${process.env.PATH}`,
    UV_CACHE_DIR: uvCache,
    RUNTIMED_SOCKET: socket,
    RUNTIMED_CONFIG: config,
  });
  closeInherited();
  writeFileSync(config, '[pools.uv]\nsize = 1\npackages = ["ipykernel"]\n[pools.conda]\nsize = 0\n');
});

/** What the shell of these tests has left open. A kernel would have it, too, so none that stands by could be that. */
function closeInherited(): void {
  const folder = "/proc/self/fdinfo";
  const closesOnExec = 0o2000000; // O_CLOEXEC
  for (const name of existsSync(folder) ? readdirSync(folder) : []) {
    const flags = existsSync(join(folder, name))
      ? /^flags:\s*(\d+)/m.exec(readFileSync(join(folder, name), "utf8"))
      : null;
    if (flags && Number(name) > 2 && !(Number.parseInt(flags[1] ?? "", 8) & closesOnExec)) closeSync(Number(name));
  }
}

after(() => {
  try {
    execFileSync(runt, ["daemon", "stop"], { stdio: "ignore" });
  } catch {} // none was started
  for (const name of Object.keys(process.env)) delete process.env[name];
  Object.assign(process.env, usual);
  home[Symbol.dispose]();
});

const open: MessagePort[] = [];
afterEach(() => {
  for (const port of open.splice(0)) port.close(); // one that is open keeps the process running
});

/** A renderer of this backend, and what it was sent. */
function renderer(backend: Backend) {
  const { port1, port2 } = new MessageChannel();
  backend.serve(portChannel(port1));
  const api = new Api(portChannel(port2));
  const views: PoolsView[] = [];
  api.on("pools", (view) => views.push(view));
  open.push(port2);
  return { api, port: port2, views };
}

/** What the daemon has leased. */
async function leased(): Promise<{ id: string; path: string; lease: { owner_pid: number; alive: boolean } }[]> {
  await using client = await Client.connect({ socket });
  const { envs } = (await client.call("env.list", { state: "leased" })) as { envs: never[] };
  return envs;
}

const uv = (view: PoolsView | undefined) => view?.pools.find(({ name }) => name === "uv");

test("a kernel from nothing: it outlives kill -9 of the daemon, and its environment goes with its window", async () => {
  const backend = new Backend({ socket, runt });
  try {
    const { api, views, port } = renderer(backend);
    const started = await api.call("start", { pool: "uv" }); // the pool is empty still, as it is for any new user
    assert.equal(started.pool, "uv");
    const { kernel } = started;
    assert.deepEqual(await api.call("run", { kernel, code: "1+1" }), { ok: true, text: "2" });
    await until(() => uv(views.at(-1))?.leased === 1);

    const [env] = await leased();
    assert.ok(env?.lease.alive);
    assert.notEqual(env.lease.owner_pid, process.pid); // the kernel has adopted it
    const pid = "import os; os.getpid(), os.environ['VIRTUAL_ENV']";
    const { text } = await api.call("run", { kernel, code: pid });
    assert.equal(text, `(${env.lease.owner_pid}, '${env.path}')`);

    const daemon = await pidOfDaemon();
    process.kill(daemon, "SIGKILL");
    await until(() => views.at(-1)?.problem !== null);
    assert.ok(views.at(-1)?.problem?.message);
    assert.deepEqual(await api.call("run", { kernel, code: "x = 20; x+1" }), { ok: true, text: "21" });

    execFileSync(runt, ["daemon", "start"], { stdio: "ignore" });
    assert.notEqual(await pidOfDaemon(), daemon);
    await until(() => uv(views.at(-1))?.leased === 1); // as before, without a word of the window's
    assert.deepEqual((await leased())[0]?.lease, env.lease);
    assert.deepEqual(await api.call("run", { kernel, code: "x" }), { ok: true, text: "20" });

    port.close();
    while ((await leased()).length > 0);
    await until(() => !existsSync(env.path));
    await until(() => hasEnded(env.lease.owner_pid));
  } finally {
    await backend.close();
  }
});

test("a kernel that stands by is taken", async () => {
  const backend = new Backend({ socket, runt });
  try {
    const { api } = renderer(backend);
    await standbyReady();
    const { kernel } = await api.call("start", { pool: "uv" });
    const { text } = await api.call("run", { kernel, code: "import os; os.getppid()" });
    assert.equal(Number(text), await pidOfDaemon());
    const [env] = await leased();
    assert.equal((await api.call("run", { kernel, code: "os.getpid()" })).text, String(env?.lease.owner_pid));
    await api.call("stop", { kernel });
    assert.deepEqual(await leased(), []);
    await until(() => hasEnded(env?.lease.owner_pid ?? 0));
  } finally {
    await backend.close();
  }
});

async function standbyReady(): Promise<void> {
  await using client = await Client.connect({ socket });
  for await (const { pools } of client.watch()) if (pools.some(({ standby }) => standby?.ready)) return;
}

/** Also without being reaped: who inherits the kernels of a killed daemon may be in no hurry. */
function hasEnded(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return existsSync("/proc/self/stat") && /\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return true;
  }
}

async function pidOfDaemon(): Promise<number> {
  await using client = await Client.connect({ socket });
  return (await client.info()).pid;
}

test("a kernel that ends by itself is told of, and its environment given back", async () => {
  const backend = new Backend({ socket, runt });
  try {
    const { api } = renderer(backend);
    const { kernel } = await api.call("start", { pool: "uv" });
    const ended = new Promise((resolve) => api.on("ended", resolve));
    const lost = failure(api.call("run", { kernel, code: "import os; os._exit(3)" }));
    assert.deepEqual(await ended, { kernel, message: "the kernel ended with 3" });
    assert.equal(((await lost) as Error).message, "the kernel ended with 3");
    assert.deepEqual(await leased(), []);
    assert.match(String(await failure(api.call("run", { kernel, code: "1" }))), /there is no such kernel/);
  } finally {
    await backend.close();
  }
});

test("a window cannot reach past the calls, nor to another's kernels, and reads true errors", async () => {
  const backend = new Backend({ socket, runt });
  try {
    const { port } = renderer(backend);
    const replies: Record<string, string> = {};
    const asked = {
      1: { call: "start", args: { pool: 1 } },
      2: { call: "start", args: { pool: "uv", runt: "/bin/sh" } },
      3: { call: "constructor", args: {} },
      4: { call: "run", args: { kernel: "kernel-1", code: "1" } },
      5: { call: "start", args: { pool: "x".repeat(257) } },
      6: { call: "start" },
      7: { call: "start", args: { pool: "nope" } },
    };
    port.on("message", (message: { id: number; error: { message: string } } | Event) => {
      if ("id" in message) replies[message.id] = message.error.message;
    });
    for (const message of [null, "start", 7, { call: "start" }]) port.postMessage(message); // no answer finds its way
    for (const [id, message] of Object.entries(asked)) port.postMessage({ id: Number(id), ...message });
    await until(() => Object.keys(replies).length === 7);
    const { 7: unknown, ...refused } = replies;
    assert.deepEqual(refused, {
      1: "start: pool is not a text",
      2: "start takes pool",
      3: "there is no such call",
      4: "there is no such kernel",
      5: "start: pool is longer than 256 characters",
      6: "start takes pool",
    });
    assert.match(unknown ?? "", /nope/);
    assert.deepEqual(await leased(), []);
  } finally {
    await backend.close();
  }
});

test("what a browser loads leads to nothing of Node, nor to the client", () => {
  const dist = fileURLToPath(new URL("../desktop/dist", import.meta.url));
  const files = ["calls.js", ...["api.js", "page.js"].map((name) => join("renderer", name))];
  for (const file of files) assert.doesNotMatch(readFileSync(join(dist, file), "utf8"), /(from|import) "(?!\.)/);
});

test("without a daemon and without a runt, the window is told why, and the app ends all the same", async () => {
  const backend = new Backend({ socket: join(home.path, "none"), runt: "/nowhere/runt" });
  const { api, views } = renderer(backend);
  await until(() => views.length > 1);
  assert.match(views[0]?.problem?.message ?? "", /none: ENOENT; starting one failed: \/nowhere\/runt cannot be run/);
  assert.ok(views[0]?.problem?.hint);
  assert.match(String(await failure(api.call("start", { pool: "uv" }))), /cannot be run: ENOENT/);
  await backend.close();
});

test("the same main process, run as a program of its own", async () => {
  const plain = fileURLToPath(new URL("../desktop/dist/main/plain.js", import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [plain]);
  assert.match(stdout, /^uv: \d of 1, conda: 0 of 0$/m);
  assert.match(stdout, /^Python 3\.\S+ says that 1\+1 is 2$/m);
  assert.deepEqual(await leased(), []);
});
