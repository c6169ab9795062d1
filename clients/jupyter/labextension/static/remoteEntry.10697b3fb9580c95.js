// The status item of runtimed in JupyterLab: the pools, live, who uses them, and what a person may do about it.
// There is no build step: this is by hand what webpack makes of an extension, a module federation container. It takes
// JupyterLab's modules from the share scope. Browsers cache this file, so its name holds its hash:
// tests/test_jupyter_package.py prints the name after a change.
(() => {
  const SCOPE = "runtimed-status";
  const MOST = 4; // pools in the status bar; the popup shows all
  const TRIES = 3; // if the server never answers, its extension is off
  const PAUSES = { first: 1000, last: 15000 }; // ms until the next try if Jupyter's server does not answer
  const LOST = {
    kind: "lost",
    message: "Jupyter's server does not answer.",
    hint: "it is tried again every few seconds",
  };
  const NAME = "Warm Python environments";
  const ABOUT = "They are made ahead, so that notebooks start at once.";
  const AGAIN = 10000; // ms until it is asked again who uses what, while the popup is open
  const STYLE = `
.runtimed-Item { border: 0; padding: 0 4px; background: none; color: inherit; font: inherit; line-height: 24px;
  cursor: pointer; white-space: nowrap; max-width: 48vw; overflow: hidden; text-overflow: ellipsis; }
.runtimed-Item:focus-visible { outline: 2px solid currentcolor; outline-offset: -2px; }
.runtimed-Popup { box-sizing: border-box; max-width: min(420px, calc(100vw - 16px)); padding: 8px 12px;
  overflow: auto; outline: none; background: var(--jp-layout-color1); color: var(--jp-ui-font-color1);
  font-family: var(--jp-ui-font-family); font-size: var(--jp-ui-font-size1); line-height: 1.4;
  box-shadow: var(--jp-elevation-z6); overflow-wrap: anywhere; }
.runtimed-Popup h2, .runtimed-Popup h3 { margin: 0; font-size: inherit; }
.runtimed-Popup p, .runtimed-Popup ul { margin: 4px 0 0; }
.runtimed-Popup h3 { margin-top: 10px; }
.runtimed-Popup ul { padding: 0; list-style: none; }
.runtimed-Popup li { display: flex; gap: 8px; align-items: start; padding: 4px 0; }
.runtimed-Popup li > :first-child { flex: 1; }
.runtimed-Popup strong { unicode-bidi: isolate; }
.runtimed-Popup .runtimed-mod-error { margin: 0; padding: 2px 0 2px 8px;
  border-left: 3px solid var(--jp-error-color1); }
.runtimed-Popup button { margin: 4px 8px 0 0; padding: 2px 8px; border: 1px solid var(--jp-ui-font-color2);
  border-radius: var(--jp-border-radius); background: var(--jp-layout-color2); color: var(--jp-ui-font-color1);
  font: inherit; cursor: pointer; }
.runtimed-Popup li button { margin: 0; }
.runtimed-Popup button:hover { background: var(--jp-layout-color3); }
.runtimed-Popup button:focus-visible { outline: 2px solid var(--jp-ui-font-color1); outline-offset: 1px; }
.runtimed-Log { max-width: 90vw; max-height: 60vh; margin: 0; overflow: auto; white-space: pre-wrap;
  overflow-wrap: anywhere; color: var(--jp-ui-font-color1); font-family: var(--jp-code-font-family);
  font-size: var(--jp-code-font-size); }`;

  const word = (error) => (error.kind === "unreachable" ? "not running (start it)" : "unknown (see why)");

  // For example "1 of 3 ready, 2 being made".
  function counts(pool) {
    if (pool.state === "off" && !pool.available && !pool.leased) return "off";
    const ready =
      pool.available < pool.target ? `${pool.available} of ${pool.target} ready` : `${pool.available} ready`;
    const more = [
      [pool.warming, "being made"],
      [pool.leased, "in use"],
      [pool.waiting, "waited for"],
    ];
    const failing = pool.state === "failing" ? ["making more fails"] : [];
    return [ready, ...failing, ...more.filter(([count]) => count).map(([count, what]) => `${count} ${what}`)].join(
      ", ",
    );
  }

  // An ellipsis means that more is being made. Some proxies drop the charset, so these are escapes.
  function onText(pool) {
    const ready = `${pool.name} ${pool.available || "none"}${pool.warming ? "\u2026" : ""}`;
    return pool.state === "failing" ? `\u26a0 ${ready} (see why)` : ready;
  }

  // The text in the status bar, which has little room.
  function short(state) {
    const say = (text) => `Warm Python: ${text}`;
    if (state.error) return say(word(state.error));
    const pools = state.pools.filter((pool) => pool.state !== "off");
    if (!pools.length) return say("off");
    const rest = pools.length > MOST ? [`+${pools.length - MOST}`] : [];
    return say([...pools.slice(0, MOST).map(onText), ...rest].join(" \u00b7 "));
  }

  const reason = (error) => [error.message, ...(error.hint ? [`Hint: ${error.hint}`] : [])];

  // All that is known of the pools, in lines.
  function describe(state) {
    if (state.error) return reason(state.error);
    return state.pools.flatMap((pool) => [`${pool.name}: ${counts(pool)}`, ...(pool.error ? reason(pool.error) : [])]);
  }

  // For example "3 h".
  function span(ms) {
    const [unit, size] = [
      ["d", 86400],
      ["h", 3600],
      ["min", 60],
    ].find(([, s]) => ms >= 2 * s * 1000) || ["s", 1];
    return `${Math.floor(ms / 1000 / size)} ${unit}`;
  }

  // The time, with the date unless that is today's.
  function clock(text) {
    const [at, today] = [new Date(text), new Date().toDateString()];
    const time = { hour: "2-digit", minute: "2-digit" };
    return at.toDateString() === today
      ? at.toLocaleTimeString([], time)
      : at.toLocaleString([], { dateStyle: "short", timeStyle: "short" });
  }

  // A lease as a person sees it: its name, the facts, what is odd about it, and what may be done. `limit` is how long the
  // pool allows a kernel of a closed notebook to be idle, in ms; 0: for ever.
  function shown(lease, limit) {
    const name = lease.kernel?.path || lease.label || lease.id;
    const used = lease.memory_bytes ? [`${Math.max(1, Math.round(lease.memory_bytes / 1e6))} MB of memory`] : [];
    const project = lease.project ? [`for the project ${lease.project.path}`] : [];
    const facts = [`${lease.pool}, since ${clock(lease.since)}`, ...used, ...project].join(", ");
    let note = "";
    if (lease.kernel) {
      if (lease.kernel.idle_ms !== null) {
        const end = limit ? ` It ends after ${span(limit)}.` : "";
        note = `Idle for ${span(lease.kernel.idle_ms)}, and no page shows it.${end}`;
      }
      return { name, facts, note, act: "End\u2026", does: `End the kernel of ${name}` };
    }
    if (!lease.unused) {
      note = lease.where ? `Its user is ${lease.where}.` : `Used by process ${lease.owner_pid}, not by this Jupyter.`;
      return { name, facts, note };
    }
    note = lease.kept_until
      ? `Its kernel has ended. Kept for a restart until ${clock(lease.kept_until)}.`
      : "Its user has ended.";
    return { name, facts, note, act: "Give back", does: `Give back the environment of ${name}` };
  }

  // Calls tell() with each state that the server sends, and with null when it is lost. A hidden page asks for nothing.
  function follow(settings, tell) {
    const token = settings.appendToken && settings.token ? `?token=${encodeURIComponent(settings.token)}` : "";
    const url = `${settings.wsUrl.replace(/\/*$/, "")}/runtimed/watch${token}`;
    let socket = null;
    let timer = 0;
    let pause = PAUSES.first;
    let tries = TRIES;
    const open = () => {
      if (socket || document.hidden || !tries) return;
      const mine = new settings.WebSocket(url);
      socket = mine;
      mine.onmessage = (event) => {
        if (socket !== mine) return;
        pause = PAUSES.first;
        tries = Number.POSITIVE_INFINITY;
        tell(JSON.parse(event.data));
      };
      mine.onclose = () => {
        if (socket !== mine) return;
        socket = null;
        tries -= 1; // here, because hiding the page is no failure
        tell(null);
        timer = setTimeout(open, pause);
        pause = Math.min(2 * pause, PAUSES.last);
      };
    };
    document.addEventListener("visibilitychange", () => {
      clearTimeout(timer);
      if (document.hidden) {
        const old = socket;
        socket = null;
        if (old) old.close();
      } else {
        pause = PAUSES.first;
        open();
      }
    });
    open();
  }

  function element(tag, className, text) {
    const made = document.createElement(tag);
    made.className = className;
    made.textContent = text; // never markup: what a daemon sends is text
    return made;
  }

  // Makes the children of a node those, but leaves each that is the same in its place, and with it who reads it or is
  // about to press it.
  function update(node, made) {
    made.forEach((one, i) => {
      const old = node.children[i];
      if (!old) node.append(one);
      else if (!old.isEqualNode(one)) old.replaceWith(one);
    });
    while (node.children.length > made.length) node.lastChild.remove();
  }

  function activate(app, statusBar, { Widget }, showPopup, { Dialog, showDialog }, { ServerConnection }) {
    if (!statusBar) return; // as in Notebook 7
    document.head.append(element("style", "", STYLE));
    const button = element("button", "runtimed-Item jp-StatusBar-TextItem", "");
    button.type = "button";
    button.setAttribute("aria-haspopup", "dialog");
    button.setAttribute("aria-expanded", "false");
    const item = new Widget();
    item.node.append(button);
    const settings = app.serviceManager.serverSettings;
    let state = null;
    let leases = [];
    let popup = null;
    let parts = null;
    let asking = false;
    let changed = false; // since it was asked

    // What Jupyter's server answers. An error has a message, and maybe a hint.
    async function ask(what, body) {
      const init = body ? { method: "POST", body: JSON.stringify(body) } : {};
      const url = `${settings.baseUrl.replace(/\/*$/, "")}/runtimed/${what}`;
      const response = await ServerConnection.makeRequest(url, init, settings);
      const answer = await response.json().catch(() => ({}));
      if (response.ok) return answer;
      throw answer.error || new Error(answer.message || `Jupyter's server answers ${response.status}.`);
    }

    const say = (text) => {
      if (parts) parts.said.textContent = text;
    };
    // Says how it went, and looks again.
    async function doing(text, done, action) {
      say(text);
      try {
        await action();
        say(done);
      } catch (error) {
        say(reason(error).join(" "));
      }
      await refresh();
    }

    const retry = () => doing("Trying again\u2026", "What failed is tried again now.", () => ask("retry", {}));
    const start = () => doing("Starting\u2026", "It runs.", () => ask("start", {}));
    const giveBack = (lease) =>
      doing("Giving it back\u2026", "It is given back.", () => ask("release", { env: lease.id }));

    async function end(lease) {
      const name = shown(lease).name;
      popup.dispose(); // it would close at a click elsewhere
      const { button: chosen } = await showDialog({
        title: `End the kernel of ${name}?`,
        body: "Its variables and its environment, with what was installed there, are lost. Files stay as they are.",
        buttons: [Dialog.cancelButton(), Dialog.warnButton({ label: "End It" })],
        defaultButton: 0,
      });
      await new Promise((resolve) => setTimeout(resolve)); // after the click that closed the dialog
      open(`end ${lease.id}`);
      if (!chosen.accept) return;
      const { id, session } = lease.kernel;
      await doing("Ending it\u2026", `The kernel of ${name} has ended.`, () =>
        session ? app.serviceManager.sessions.shutdown(session) : app.serviceManager.kernels.shutdown(id),
      );
    }

    let reading = false;
    async function showLog() {
      if (reading) return;
      reading = true;
      let text;
      try {
        say("Reading the log\u2026");
        text = (await ask("log")).log;
      } catch (error) {
        say(reason(error).join(" "));
        return;
      } finally {
        reading = false;
      }
      if (!popup) return; // nobody waits for it any more
      popup.dispose();
      const log = element("pre", "runtimed-Log", text || "It is empty.");
      log.tabIndex = 0; // so that arrows scroll it
      log.setAttribute("role", "region");
      log.setAttribute("aria-label", "The last lines of the log");
      const body = new Widget({ node: log });
      const dialog = new Dialog({ title: "The log of runtimed", body, buttons: [Dialog.okButton({ label: "Close" })] });
      const closed = dialog.launch();
      log.scrollTop = log.scrollHeight;
      await closed;
      button.focus();
    }

    function act(key, text, does, action) {
      const made = element("button", "", text);
      made.type = "button";
      made.dataset.key = key;
      if (does) made.setAttribute("aria-label", does);
      made.addEventListener("click", action);
      return made;
    }

    function makePools({ pools, error }) {
      const bad = (lines) => lines.map((text) => element("p", "runtimed-mod-error", text));
      if (error) {
        const missing = error.kind === "unreachable";
        const what = missing ? "Not running. A notebook with a warm kernel starts it." : "Unknown.";
        return [
          element("p", "", what),
          ...bad(reason(error)),
          ...(missing ? [act("start", "Start it now", "", start)] : []),
        ];
      }
      return pools.flatMap((pool) => [
        element("p", "", `${pool.name}: ${counts(pool)}`),
        ...(pool.error ? bad(reason(pool.error)) : []),
        ...(pool.error
          ? [act(`retry ${pool.name}`, "Try again now", `Try again now to make ${pool.name}`, retry)]
          : []),
      ]);
    }

    function makeLease(lease) {
      const limit = state.pools.find((pool) => pool.name === lease.pool)?.idle_ms;
      const { name, facts, note, act: text, does } = shown(lease, limit);
      const row = element("li", "", "");
      const texts = element("div", "", "");
      texts.append(element("strong", "", name), element("div", "", facts));
      if (note) texts.append(element("div", "", note));
      row.append(texts);
      if (text) row.append(act(`end ${lease.id}`, text, does, () => (lease.kernel ? end(lease) : giveBack(lease))));
      return row;
    }

    function fill() {
      if (!parts) return;
      const key = parts.node.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
      const rows = state.error ? [] : leases.map(makeLease);
      update(parts.pools, makePools(state));
      update(parts.leases, rows);
      parts.heading.hidden = !rows.length;
      if (key && !parts.node.contains(document.activeElement)) focus(key);
      popup?.update(); // its position, since it may have grown
    }

    function focus(key) {
      const found = [...parts.node.querySelectorAll("button")].find((one) => one.dataset.key === key);
      (found || parts.node).focus();
    }

    // Who uses what, while the popup is open.
    async function refresh() {
      if (!parts || state.error) return;
      changed = true;
      if (asking) return;
      asking = true;
      while (changed && parts) {
        changed = false;
        try {
          leases = (await ask("leases")).leases;
        } catch {
          leases = []; // the watch says why
        }
        fill();
      }
      asking = false;
    }

    const show = (told) => {
      state = told || (state && { error: LOST }); // a server that never answered may lack the extension: show nothing
      item.setHidden(!state);
      if (!state) return;
      const lines = describe(state);
      button.textContent = short(state);
      button.title = [`${NAME}. ${ABOUT}`, ...lines].join("\n");
      button.setAttribute("aria-label", `${short(state)}. ${lines.join("; ")}`);
      fill();
      refresh();
    };

    // Tab goes round, since the rest of the page is not next to it; the arrows do the same.
    function onKey(event) {
      const step = { ArrowDown: 1, ArrowUp: -1, Tab: event.shiftKey ? -1 : 1 }[event.key];
      const stops = [...parts.node.querySelectorAll("button")];
      const at = stops.indexOf(document.activeElement);
      if (!step || (at < 0 && event.key !== "Tab")) return; // arrows scroll the text
      event.preventDefault();
      stops.at(at < 0 && step > 0 ? 0 : (Math.max(at, 0) + step) % stops.length).focus();
    }

    function open(key) {
      if (popup || !state) return;
      const body = new Widget();
      const said = element("p", "runtimed-Said", "");
      said.setAttribute("role", "status");
      const heading = element("h3", "", "In use");
      const [pools, list] = [element("div", "", ""), element("ul", "", "")];
      pools.setAttribute("aria-live", "polite");
      list.setAttribute("aria-label", "In use");
      parts = { node: body.node, said, pools, leases: list, heading };
      body.addClass("runtimed-Popup");
      body.node.setAttribute("role", "dialog");
      body.node.setAttribute("aria-label", NAME);
      body.node.tabIndex = -1; // so that it gets the Escape key
      body.node.addEventListener("keydown", onKey);
      body.node.addEventListener("click", (event) => event.stopPropagation()); // a button that goes is not elsewhere
      const log = act("log", "Show the log", "", showLog);
      body.node.append(element("h2", "", NAME), element("p", "", ABOUT), pools, heading, list, said, log);
      fill();
      popup = showPopup({ body, anchor: item, align: "left" });
      button.setAttribute("aria-expanded", "true");
      focus(key);
      const timer = setInterval(refresh, AGAIN);
      refresh();
      body.disposed.connect(() => {
        clearInterval(timer);
        popup = parts = null;
        button.setAttribute("aria-expanded", "false");
        if (document.activeElement === document.body) button.focus();
      });
    }
    button.addEventListener("click", () => (popup ? popup.dispose() : open()));

    item.hide();
    statusBar.registerStatusItem(SCOPE, { item, align: "left", rank: 10, isActive: () => state !== null });
    follow(settings, show);
  }

  let shared = {};
  // A module of JupyterLab by webpack's rule for singletons: the one that is loaded, else the newest.
  async function take(name) {
    const [first] = Object.entries(shared[name] || {}).sort(
      ([a, one], [b, other]) =>
        Boolean(other.loaded) - Boolean(one.loaded) || b.localeCompare(a, "en", { numeric: true }),
    );
    return first && (await first[1].get())();
  }

  async function extension() {
    const names = ["@jupyterlab/statusbar", "@lumino/widgets", "@jupyterlab/apputils", "@jupyterlab/services"];
    const [statusbar, widgets, apputils, services] = await Promise.all(names.map(take));
    const plugin = {
      id: `${SCOPE}:plugin`,
      description: "Shows the pools of runtimed in the status bar.",
      autoStart: true,
      optional: statusbar ? [statusbar.IStatusBar] : [],
      activate: (app, bar) => activate(app, bar, widgets, statusbar?.showPopup, apputils, services),
    };
    return () => ({ __esModule: true, default: plugin });
  }

  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB[SCOPE] = {
    init: (scope) => {
      shared = scope;
    },
    get: (module) => (module === "./extension" ? extension() : Promise.reject(new Error(`${SCOPE} has no ${module}`))),
  };
})();
