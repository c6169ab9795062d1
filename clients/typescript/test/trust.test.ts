import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, chownSync, existsSync, mkdirSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { type TestContext, test } from "node:test";
import { Client, type ConnectError } from "runtimed-client";
import { hold } from "../dist/socket.js";
import { FakeDaemon, failure, info, TempDir } from "./support.js";

const nobody = 65534;

/** A test that needs root, to make what another user has made. */
function asRoot(name: string, body: (t: TestContext) => Promise<void>): void {
  const skip = process.geteuid?.() !== 0 && !process.env.CI && "only root can make what another user has made";
  test(name, { skip }, body);
}

const answering = (path?: string) => FakeDaemon.start((message, peer) => peer.result(message, info), path);

async function refusal(socket: string, options: object = {}): Promise<string> {
  const error = (await failure(Client.connect({ socket, ...options }))) as ConnectError;
  assert.equal(error.kind, "untrusted", String(error));
  assert.match(error.hint ?? "", /RUNTIMED_SOCKET/);
  return error.message;
}

asRoot("a daemon of another user is refused, told nothing, and none is started in its place", async () => {
  using dir = new TempDir();
  chmodSync(dir.path, 0o711);
  mkdirSync(join(dir.path, "x"));
  chownSync(join(dir.path, "x"), nobody, nobody);
  const socket = join(dir.path, "x/s");
  const runt = join(dir.path, "runt");
  writeFileSync(runt, `#!/bin/sh\ntouch ${dir.path}/started\n`, { mode: 0o755 });
  const program = `
    process.setgroups([]); process.setgid(${nobody}); process.setuid(${nobody});
    require("net").createServer(() => console.log("connected")).listen(process.argv[1], () => console.log("listens"));`;
  const stranger = spawn(process.execPath, ["-e", program, socket], { stdio: ["ignore", "pipe", "inherit"] });
  const lines = createInterface(stranger.stdout)[Symbol.asyncIterator]();
  assert.equal((await lines.next()).value, "listens");
  const message = await refusal(socket, { autostart: true, runt });
  assert.ok(
    message.includes(`${dir.path}/x belongs to another user (uid ${nobody})`) || message.includes("it belongs"),
    message,
  );
  stranger.kill();
  await once(stranger, "exit");
  assert.equal((await lines.next()).done, true, "it was connected to");
  assert.match(await refusal(socket, { autostart: true, runt }), /another user/); // his socket is there still
  assert.equal(existsSync(join(dir.path, "started")), false);
});

asRoot("whose the socket, its folder, each folder above and each link are decides", async () => {
  using dir = new TempDir();
  const [above, folder] = [join(dir.path, "above"), join(dir.path, "above/folder")];
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const path = join(folder, "s");
  await using daemon = await answering(path);
  const works = async (socket = path) => (await Client.connect({ socket })).close();
  await works();

  chownSync(path, nobody, nobody);
  assert.match(await refusal(path), /it belongs to another user \(uid 65534\)/);
  chownSync(path, 0, 0);
  chownSync(folder, nobody, nobody);
  assert.match(await refusal(path), /folder \S+\/folder belongs to another user/);
  chownSync(folder, 0, 0);
  chownSync(above, nobody, nobody);
  assert.match(await refusal(path), /folder \S+\/above belongs to another user/);
  chmodSync(above, 0o1777);
  await works();
  chownSync(above, 0, 0);

  const link = join(dir.path, "link");
  symlinkSync("above/../above", link);
  await works(join(link, "folder/s"));
  chownSync(above, nobody, nobody);
  chmodSync(above, 0o755);
  assert.match(await refusal(join(link, "folder/s")), /above belongs/);
  chownSync(above, 0, 0);
  symlinkSync(folder, join(dir.path, "theirs"));
  (await import("node:fs")).lchownSync(join(dir.path, "theirs"), nobody, nobody);
  assert.match(await refusal(join(dir.path, "theirs/s")), /link \S+\/theirs belongs/);
  symlinkSync(path, join(dir.path, "s"));
  await works(join(dir.path, "s"));
  assert.ok(daemon.peers.length > 0);
});

test("a folder that is open to others is refused, with its mode", async () => {
  using dir = new TempDir();
  await using _daemon = await answering(join(dir.path, "s"));
  for (const mode of [0o755, 0o770, 0o1777, 0o701]) {
    chmodSync(dir.path, mode);
    assert.match(await refusal(join(dir.path, "s")), /is open to others \(mode 1?0?7\d\d\)/);
  }
  chmodSync(dir.path, 0o700);
  await (await Client.connect({ socket: join(dir.path, "s") })).close();
});

test("a folder that is exchanged between the check and the connection leads to nobody else", async () => {
  using dir = new TempDir();
  const folder = join(dir.path, "mine");
  const path = join(folder, "s");
  const answers: string[] = [];
  const listen = async (name: string) => {
    mkdirSync(folder, { mode: 0o700 });
    const server = createServer((socket) => {
      answers.push(name);
      socket.end();
    }).listen(path);
    await once(server, "listening");
    return server;
  };
  const servers = [await listen("mine")];
  const held = hold(path);
  renameSync(folder, join(dir.path, "away"));
  servers.push(await listen("theirs"));
  const socket = connect(held.path).resume();
  await once(socket, "close");
  held[Symbol.dispose]();
  assert.deepEqual(answers, [process.platform === "linux" ? "mine" : "theirs"]); // elsewhere the later check refuses
  assert.throws(() => hold(join(dir.path, "nothing")), { code: "ENOENT" });
  for (const server of servers) server.close();
});

test("a socket that is exchanged while the client connects is not used", async () => {
  using dir = new TempDir();
  const path = join(dir.path, "s");
  const sent: Buffer[] = [];
  const server = createServer((socket) => {
    socket.on("data", (data) => sent.push(data));
  }).listen(path);
  await once(server, "listening");
  const connecting = failure(Client.connect({ socket: path }));
  renameSync(path, `${path}.away`); // the check before was right, and the system has connected by now
  assert.equal(((await connecting) as ConnectError).kind, "closed");
  assert.deepEqual(sent, []);
  server.close();
});
