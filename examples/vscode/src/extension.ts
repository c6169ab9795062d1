// The only file that needs VS Code. Compiled against its types, and not run by the tests.
import {
  commands,
  type ExtensionContext,
  ProgressLocation,
  StatusBarAlignment,
  type Terminal,
  ThemeColor,
  window,
  workspace,
} from "vscode";
import { describe } from "./daemon.js";
import { activation, takeEnvironment, withDaemon } from "./environment.js";
import { choices, rows, status, type View, watchPools } from "./pools.js";

export function activate(context: ExtensionContext): void {
  let view: View = { pools: [] };
  const item = window.createStatusBarItem("runtimed.pools", StatusBarAlignment.Right);
  item.name = "runtimed";
  item.command = "runtimed.showPools";
  const closed = new AbortController();
  watchPools(
    undefined,
    (latest) => {
      view = latest;
      const { text, tooltip, warn } = status(view);
      item.text = text;
      item.tooltip = tooltip;
      item.backgroundColor = warn ? new ThemeColor("statusBarItem.warningBackground") : undefined;
      item.show();
    },
    closed.signal,
  );

  context.subscriptions.push(
    item,
    { dispose: () => closed.abort() },
    commands.registerCommand("runtimed.newEnvironment", () => newEnvironment(choices(view))),
    commands.registerCommand("runtimed.showPools", () => showPools(view)),
  );
}

async function newEnvironment(pools: string[]): Promise<void> {
  const title = "A new environment of which pool?";
  const pool = pools.length > 1 ? await window.showQuickPick(pools, { title }) : (pools[0] ?? "uv");
  if (!pool) return;
  const runt = workspace.getConfiguration("runtimed").get<string>("runt");
  const options = { location: ProgressLocation.Notification, title: `runtimed: ${pool}`, cancellable: true };
  await window.withProgress(options, async (progress, token) => {
    try {
      const env = await takeEnvironment({ runt }, pool, ({ message }) => progress.report({ message }), token);
      await openTerminal(env);
    } catch (error) {
      if (!token.isCancellationRequested) window.showErrorMessage(`runtimed: ${describe(error)}`);
    }
  });
}

/** A terminal in the environment, whose lease then ends with the terminal. */
async function openTerminal(env: Awaited<ReturnType<typeof takeEnvironment>>): Promise<void> {
  // A terminal restored after a reload would have an environment that is gone.
  const terminal = window.createTerminal({ name: env.id, env: activation(env), isTransient: true });
  const closing = window.onDidCloseTerminal((closed: Terminal) => {
    if (closed !== terminal) return;
    closing.dispose();
    withDaemon(undefined, (daemon) => daemon.release(env.id)).catch(() => {}); // else the daemon notices within 10 s
  });
  const shell = await terminal.processId;
  if (shell) await withDaemon(undefined, (daemon) => daemon.adopt(env.id, shell));
  terminal.show();
}

async function showPools(view: View): Promise<void> {
  if ("problem" in view) {
    window.showWarningMessage(`runtimed: ${view.problem}`);
    return;
  }
  await window.showQuickPick(rows(view.pools), { title: "Pools of runtimed" });
}
