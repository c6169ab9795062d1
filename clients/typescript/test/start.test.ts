import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Client, ConnectError, ProtocolError } from "runtimed-client";
import { programs } from "./daemon.js";
import { FakeDaemon, failure, info, TempDir } from "./support.js";

const usual = { ...process.env };
let home: TempDir;

before(programs); // while PATH has the go that may build them

beforeEach(() => {
  home = new TempDir();
  for (const name of Object.keys(process.env)) if (/^(RUNTIMED|XDG)_/.test(name)) delete process.env[name];
  Object.assign(process.env, { HOME: home.path, PATH: "/nowhere" }); // this machine may have a runt in /usr/bin
});

afterEach(() => home[Symbol.dispose]());

after(() => Object.assign(process.env, usual));

function script(path: string, lines: string): string {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `#!/bin/sh\nPATH=/usr/bin:/bin\n${lines}\n`, { mode: 0o755 });
  return path;
}

/** A runt that notes how it was called, and what then is in the notes. */
function noting(folder = "bin") {
  const calls = join(home.path, "calls");
  const runt = script(join(home.path, folder, "runt"), `echo "$0 $@ $RUNTIMED_SOCKET $(cat | wc -c)" >> "${calls}"`);
  return { runt, calls: () => (existsSync(calls) ? readFileSync(calls, "utf8").trim().split("\n") : []) };
}

const fails = async (options: Parameters<typeof Client.connect>[0]) =>
  (await failure(Client.connect(options))) as ConnectError;

test("runt is called without input, and told where the daemon shall listen", async () => {
  const socket = join(home.path, "s");
  const { runt, calls } = noting();
  const error = await fails({ socket, autostart: true, runt });
  assert.equal(error.kind, "unreachable");
  assert.equal(error.hint, "start it with runt daemon start"); // this one said that it had
  await fails({ autostart: true, runt });
  assert.deepEqual(
    calls().map((call) => call.split(/\s+/)),
    [
      [runt, "daemon", "start", "--auto", socket, "0"],
      [runt, "daemon", "start", "--auto", "0"],
    ],
  );
});

test("runt is looked for on PATH and in ~/.local/bin, and in no relative folder", async () => {
  const start = process.cwd();
  const local = noting(".local/bin");
  const here = noting("here");
  mkdirSync(join(home.path, "folders/runt"), { recursive: true });
  writeFileSync(join(home.path, "runt"), "", { mode: 0o644 });
  process.env.PATH = ["", ".", home.path, join(home.path, "folders")].join(":");
  process.chdir(dirname(here.runt));
  try {
    await fails({ autostart: true });
    process.env.PATH = `${process.env.PATH}:${dirname(noting("path").runt)}`;
    await fails({ autostart: true });
  } finally {
    process.chdir(start);
  }
  assert.deepEqual(
    local.calls().map((call) => call.split(" ")[0]),
    [local.runt, join(home.path, "path/runt")],
  );
});

test("nothing is started unasked", async () => {
  const { runt, calls } = noting();
  process.env.PATH = dirname(runt);
  await fails({});
  process.env.RUNTIMED_NO_START = "1";
  assert.equal((await fails({ autostart: true })).hint, "start it with runt daemon start");
  assert.deepEqual(calls(), []);
  process.env.RUNTIMED_NO_START = "";
  await fails({ autostart: true });
  assert.equal(calls().length, 1);
});

test("nothing is started where somebody listens, or once a daemon was met", async () => {
  const { runt, calls } = noting();
  for (const other of [{ name: "other" }, { protocol: 0 }, { protocol: 2 }]) {
    await using daemon = await FakeDaemon.start((message, peer) => peer.result(message, { ...info, ...other }));
    const error = await fails({ socket: daemon.path, autostart: true, runt });
    assert.ok(error instanceof ProtocolError, String(error));
  }
  await using mute = await FakeDaemon.start((_, peer) => peer.socket.destroy());
  assert.equal((await fails({ socket: mute.path, autostart: true, runt })).kind, "closed");

  await using daemon = await FakeDaemon.start((message, peer) => peer.result(message, info));
  await using client = await Client.connect({ socket: daemon.path, autostart: true, runt });
  await daemon.stop();
  for (let i = 0; i < 2; i++) assert.ok((await failure(client.info())) instanceof ConnectError);
  assert.deepEqual(calls(), []);
});

test("what is wrong is said: no runt, none that runs, or what it said", async () => {
  const nobody = await fails({ autostart: true });
  assert.equal(nobody.kind, "unreachable");
  assert.match(
    nobody.message,
    /runtimed\.sock: ENOENT; there is no runt in runtimed-bin-\w+-\w+, on PATH or in ~\/\.local\/bin/,
  );
  assert.match(nobody.hint ?? "", /install runtimed/);
  const absent = await fails({ autostart: true, runt: join(home.path, "nothing") });
  assert.match(absent.message, /nothing cannot be run: ENOENT$/);

  const says = "echo 'runt: error: the disk is full' >&2; echo 'runt: hint: empty it' >&2; exit 1";
  const runt = script(join(home.path, "runt"), `${"echo noise >&2\n".repeat(30)}${says}`);
  const refused = await fails({ autostart: true, runt });
  assert.equal(refused.kind, "unreachable");
  assert.match(refused.message, /; starting one failed: (noise\n){18}the disk is full$/);
  assert.equal(refused.hint, "empty it");
  script(runt, "exit 3");
  assert.match((await fails({ autostart: true, runt })).message, /runt ended with 3$/);
  script(runt, "head -c 5000000 /dev/zero | tr '\\0' x >&2; exit 1");
  const { length } = (await fails({ autostart: true, runt })).message;
  assert.ok(10_000 < length && length < 20_000, `${length} characters`);
});

test("fifty clients at once start one daemon, which ends with none of them", async () => {
  const bin = programs();
  process.env.PATH = bin;
  process.env.RUNTIMED_UV_POOL_SIZE = process.env.RUNTIMED_CONDA_POOL_SIZE = "0";
  try {
    const infos = await Promise.all(
      Array.from({ length: 50 }, async () => {
        await using client = await Client.connect({ autostart: true, timeoutMs: 30_000 });
        return await client.info();
      }),
    );
    assert.equal(new Set(infos.map(({ pid }) => pid)).size, 1);
    assert.equal(infos[0]?.startedBy, "command");
    await using client = await Client.connect();
    assert.equal((await client.info()).pid, infos[0]?.pid);
  } finally {
    while (daemons().length > 1) await sleep(20); // one that came too late has yet to see that, and would take over
    execFileSync(join(bin, "runt"), ["daemon", "stop"]);
  }
});

/** The processes of runtimed in this home, where /proc tells. */
function daemons(): string[] {
  if (!existsSync("/proc")) return [];
  const read = (pid: string, what: string) => readFileSync(join("/proc", pid, what), "utf8");
  return readdirSync("/proc").filter((pid) => {
    try {
      return read(pid, "cmdline").includes("\0run\0--auto") && read(pid, "environ").includes(`HOME=${home.path}\0`);
    } catch {
      return false; // no process, or one that has ended
    }
  });
}
