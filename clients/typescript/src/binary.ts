import { accessSync, constants, statSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

/** The npm packages with the programs, one of which npm installs with this one (packaging/platform.go). */
export const binaryPackages = [
  "runtimed-bin-darwin-arm64",
  "runtimed-bin-darwin-x64",
  "runtimed-bin-linux-arm64",
  "runtimed-bin-linux-x64",
  "runtimed-bin-win32-arm64",
  "runtimed-bin-win32-x64",
];

/** The one for this platform, where there is one. */
export const binaryPackage = `runtimed-bin-${process.platform}-${process.arch}`;

export const runtName = process.platform === "win32" ? "runt.exe" : "runt";

/** The runt of that package, if it is installed. */
export function packagedRunt(): string | undefined {
  try {
    const manifest = createRequire(import.meta.url).resolve(`${binaryPackage}/package.json`);
    // Electron packs modules into an archive, from which nothing can be run, and leaves programs beside it.
    const folder = dirname(manifest).replace(/app\.asar(?=[\\/])/, "app.asar.unpacked");
    const path = join(folder, "bin", runtName);
    return isProgram(path) ? path : undefined;
  } catch {
    return undefined; // not installed, or this module is part of a bundle
  }
}

export function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
