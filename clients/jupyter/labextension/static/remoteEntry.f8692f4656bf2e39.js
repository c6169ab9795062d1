// The status item of runtimed in JupyterLab: the pools, live.
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
  const STYLE = `
.runtimed-Item { border: 0; padding: 0 4px; background: none; color: inherit; font: inherit; line-height: 24px;
  cursor: pointer; white-space: nowrap; }
.runtimed-Item:focus-visible { outline: 1px solid var(--jp-brand-color1); outline-offset: -1px; }
.runtimed-Popup { box-sizing: border-box; max-width: 420px; min-width: 220px; padding: 8px 12px; overflow: auto;
  outline: none; background: var(--jp-layout-color1); color: var(--jp-ui-font-color1);
  font-family: var(--jp-ui-font-family); font-size: var(--jp-ui-font-size1); line-height: 1.4;
  box-shadow: var(--jp-elevation-z6); overflow-wrap: anywhere; }
.runtimed-Popup h2 { margin: 0 0 4px; font-size: inherit; }
.runtimed-Popup p { margin: 4px 0 0; }
.runtimed-Popup .runtimed-mod-error { margin: 0; padding: 2px 0 2px 8px;
  border-left: 3px solid var(--jp-error-color1); }`;

  const word = (error) => `runtimed: ${error.kind === "unreachable" ? "no daemon" : "pools unknown"}`;

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
    return [ready, ...more.filter(([count]) => count).map(([count, what]) => `${count} ${what}`)].join(", ");
  }

  // A warning sign means that builds fail, an ellipsis that more is being made. Some proxies drop the charset, so these
  // are escapes.
  function onText(pool) {
    const sign = pool.state === "failing" ? "\u26a0 " : "";
    return `${sign}${pool.name} ${pool.available}${pool.warming ? "\u2026" : ""}`;
  }

  // The text in the status bar, which has little room.
  function short(state) {
    if (state.error) return word(state.error);
    const pools = state.pools.filter((pool) => pool.state !== "off");
    if (!pools.length) return "runtimed: pools off";
    const rest = pools.length > MOST ? [`+${pools.length - MOST}`] : [];
    return [...pools.slice(0, MOST).map(onText), ...rest].join(" \u00b7 ");
  }

  // All that is known, as paragraphs: [text, whether it is an error].
  function describe(state) {
    const reason = (error) => [[error.message, true], ...(error.hint ? [[`Hint: ${error.hint}`, true]] : [])];
    if (state.error) return [[word(state.error), false], ...reason(state.error)];
    return state.pools.flatMap((pool) => [
      [`${pool.name}: ${pool.state === "failing" ? "failing, " : ""}${counts(pool)}`, false],
      ...(pool.error ? reason(pool.error) : []),
    ]);
  }

  // Calls tell() with each state that the server sends, and with null when it is lost. A hidden page asks for nothing.
  function follow(settings, tell) {
    const token =
      settings.appendToken && settings.token ? `?token=${encodeURIComponent(settings.token)}` : "";
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

  function activate(app, statusBar, Widget, showPopup) {
    if (!statusBar) return; // as in Notebook 7
    document.head.append(element("style", "", STYLE));
    const button = element("button", "runtimed-Item jp-StatusBar-TextItem", "");
    button.type = "button";
    button.setAttribute("aria-haspopup", "dialog");
    button.setAttribute("aria-expanded", "false");
    const item = new Widget();
    item.node.append(button);
    let state = null;
    let body = null;
    let popup = null;

    const fill = () => {
      const paragraphs = describe(state).map(([text, bad]) =>
        element("p", bad ? "runtimed-mod-error" : "", text),
      );
      body.node.replaceChildren(element("h2", "", "Warm Python environments"), ...paragraphs);
    };
    const show = (told) => {
      state = told || (state && { error: LOST }); // a server that never answered may lack the extension: show nothing
      item.setHidden(!state);
      if (!state) return;
      const title = describe(state).map(([text]) => text);
      button.textContent = short(state);
      button.title = title.join("\n");
      button.setAttribute("aria-label", `Warm Python environments: ${title.join("; ")}`);
      if (body) {
        fill();
        popup.update(); // its position, since it may have grown
      }
    };
    button.addEventListener("click", () => {
      if (body) {
        popup.dispose();
        return;
      }
      body = new Widget();
      body.addClass("runtimed-Popup");
      body.node.setAttribute("role", "dialog");
      body.node.setAttribute("aria-label", "Warm Python environments");
      body.node.tabIndex = -1; // so that it gets the Escape key
      fill();
      popup = showPopup({ body, anchor: item, align: "left" });
      button.setAttribute("aria-expanded", "true");
      body.node.focus();
      body.disposed.connect(() => {
        body = null;
        button.setAttribute("aria-expanded", "false");
        if (document.activeElement === document.body) button.focus();
      });
    });

    item.hide();
    statusBar.registerStatusItem(SCOPE, { item, align: "left", rank: 10, isActive: () => state !== null });
    follow(app.serviceManager.serverSettings, show);
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
    const [statusbar, widgets] = await Promise.all([take("@jupyterlab/statusbar"), take("@lumino/widgets")]);
    const plugin = {
      id: `${SCOPE}:plugin`,
      description: "Shows the pools of runtimed in the status bar.",
      autoStart: true,
      optional: statusbar ? [statusbar.IStatusBar] : [],
      activate: (app, bar) => activate(app, bar, widgets.Widget, statusbar?.showPopup),
    };
    return () => ({ __esModule: true, default: plugin });
  }

  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB[SCOPE] = {
    init: (scope) => {
      shared = scope;
    },
    get: (module) =>
      module === "./extension" ? extension() : Promise.reject(new Error(`${SCOPE} has no ${module}`)),
  };
})();
