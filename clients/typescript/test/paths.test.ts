import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, realpathSync, symlinkSync, writeFileSync } from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { ConnectError, socketPath } from "runtimed-client";
import { joined, TempDir, type Text, vectors } from "./support.js";

interface PathVector {
  name: string;
  platform: string;
  env: Record<string, Text>;
  home?: Text;
  folders?: string[];
  links?: Record<string, string>;
  mountinfo?: string[];
  path?: Text;
  error?: { names?: string; contains?: string[] };
}

for (const { name, platform, env, home = "", path, error, ...disk } of vectors<PathVector>("paths.jsonl")) {
  test(`paths.jsonl: ${platform}: ${name}`, () => {
    using temporary = new TempDir();
    const root = realpathSync(temporary.path);
    const here = (text: Text) => joined(text).replaceAll("$ROOT", root).replaceAll("$UID", `${process.geteuid?.()}`);
    for (const folder of disk.folders ?? []) mkdirSync(join(root, folder), { recursive: true });
    for (const [at, to] of Object.entries(disk.links ?? {})) symlinkSync(here(to), join(root, at));
    const mounts = join(root, "mountinfo");
    if (disk.mountinfo) writeFileSync(mounts, disk.mountinfo.map((line) => `${here(line)}\n`).join("")); // else it cannot be read
    const find = () =>
      socketPath(
        platform === "windows" ? "win32" : platform,
        Object.fromEntries(Object.entries(env).map(([name, value]) => [name, here(value)])),
        () => joined(home),
        mounts,
      );
    if (path !== undefined) return assert.equal(find(), here(path));
    assert.throws(find, (refusal) => {
      assert.ok(refusal instanceof ConnectError);
      assert.equal(refusal.kind, "unreachable");
      for (const part of [error?.names ?? assert.fail("no error"), ...(error?.contains ?? [])]) {
        assert.ok(refusal.message.includes(part), `${refusal.message} lacks ${part}`);
      }
      return true;
    });
  });
}

test("a path that is not UTF-8 is refused", () => {
  const env = { HOME: Buffer.from("/tmp/\xe9", "latin1").toString() }; // as Node has it in process.env
  assert.throws(() => socketPath("linux", env), {
    name: "ConnectError",
    kind: "unreachable",
    message: /is not UTF-8/,
  });
});

test("by default it is asked of this process", () => {
  assert.equal(socketPath(), socketPath(process.platform, process.env));
});

const ask = `
import { findRunt, socketPath } from ${JSON.stringify(import.meta.resolve("runtimed-client"))};
if (process.argv[1]) process.setuid(Number(process.argv[1]));
try { console.log(socketPath("linux")) } catch (error) { console.log(error.name, error.message) }
findRunt();
`;

/** What a process of its own says, with these variables and perhaps as another user. */
function asked(env: NodeJS.ProcessEnv, ...user: string[]): string {
  const argv = ["--input-type=module", "--eval", ask, ...user];
  return execFileSync(process.execPath, argv, { env, cwd: "/", encoding: "utf8" }).trim();
}

test("without HOME it is what the user database has", () => {
  const home = userInfo().homedir.replace(/\/+$/, "");
  for (const env of [{}, { HOME: "" }]) assert.equal(asked(env), `${home}/.cache/runt/runtimed.sock`);
});

const skip = process.geteuid?.() !== 0 && !process.env.CI && "only root can be a user that no database has";
test("a user that no database has is told to set HOME", { skip }, () => {
  const says = "ConnectError HOME is not set, and the user database has no home for this user";
  assert.equal(asked({}, "4000111"), says);
});
