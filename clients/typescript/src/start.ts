import { spawn } from "node:child_process";
import { homedir } from "node:os";
import { delimiter, isAbsolute, join } from "node:path";
import { binaryPackage, isProgram, packagedRunt, runtName } from "./binary.js";
import { ConnectError } from "./errors.js";

const limitMs = 30_000; // runt itself gives up after 10 s
const toldMost = 16_384; // of what it says
const errorMark = "runt: error: ";
const hintMark = "runt: hint: ";

/**
 * The runt that npm installed with this client, of the same version: the two were tested together, and what an app ships
 * should not depend on the PATH that it happens to be started with. Else the one on PATH, else in ~/.local/bin, which not
 * every PATH has. A relative folder does not count: anybody's file may lie there.
 */
function findRunt(): string | undefined {
  const packaged = packagedRunt();
  if (packaged) return packaged;
  const folders = [...(process.env.PATH ?? "").split(delimiter), join(homedir(), ".local", "bin")];
  return folders
    .filter((folder) => isAbsolute(folder))
    .map((folder) => join(folder, runtName))
    .find(isProgram);
}

/**
 * Resolves when a daemon answers, whoever started it. `nobody` says that none did; `socket` is where it shall listen, if
 * not as usual.
 */
export async function startDaemon(
  nobody: ConnectError,
  { socket, runt = findRunt() }: { socket?: string | undefined; runt?: string | undefined },
): Promise<void> {
  const failed = (problem: string, hint: string) =>
    new ConnectError(nobody.kind, `${nobody.message}; ${problem}`, { hint, cause: nobody });
  if (!runt) {
    const hint = 'install runtimed, or say where its runt is: {autostart: true, runt: "/path/to/runt"}';
    throw failed(`there is no runt in ${binaryPackage}, on PATH or in ~/.local/bin that could start one`, hint);
  }
  const { problem, said, hint } = await run(runt, socket);
  if (!problem) return;
  const lines = said.split(/\r?\n/).filter(Boolean).slice(-20);
  const told = lines.find((line) => line.startsWith(hintMark))?.slice(hintMark.length);
  const errors = lines
    .filter((line) => !line.startsWith(hintMark))
    .map((line) => (line.startsWith(errorMark) ? line.slice(errorMark.length) : line));
  throw failed(`starting one failed: ${errors.join("\n") || problem}`, told ?? hint);
}

interface Outcome {
  /** Empty if there is none. */
  problem: string;
  said: string;
  hint: string;
}

function run(runt: string, socket: string | undefined): Promise<Outcome> {
  return new Promise((resolve) => {
    const child = spawn(runt, ["daemon", "start", "--auto"], {
      env: socket ? { ...process.env, RUNTIMED_SOCKET: socket } : process.env,
      stdio: ["ignore", "ignore", "pipe"],
      detached: process.platform !== "win32", // a Ctrl-C that is meant for us must not end a start that others wait for
      windowsHide: true,
    });
    let said = "";
    child.stderr.setEncoding("utf8").on("data", (text) => {
      said = (said + text).slice(-toldMost);
    });
    const end = (problem: string, hint = "see for yourself with: runt daemon start") => {
      clearTimeout(timer);
      resolve({ problem, said, hint });
    };
    const timer = setTimeout(() => {
      child.kill("SIGKILL");
      child.stderr.destroy(); // a child of its own may hold it, and we would not end before that
      end(`${runt} did not end within ${limitMs / 1000} s`);
    }, limitMs);
    child.on("error", (error: NodeJS.ErrnoException) => {
      end(`${runt} cannot be run: ${error.code}`, "install runtimed, or correct the path of runt");
    });
    child.on("close", (code, signal) => end(code === 0 ? "" : `${runt} ended with ${code ?? signal}`));
  });
}
