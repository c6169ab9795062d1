// The logos of our kernels in Notebook 7's menu New, where every kernel has the same icon whatever its kernelspec says.
// There is no build step: this is by hand what webpack makes of an extension, a module federation container. Browsers
// cache this file, so its name holds its hash: tests/test_jupyter_package.py prints the name after a change.
(() => {
  const SCOPE = "runtimed-new-menu";
  const STYLE = `
.lm-Menu-item[style*="--runtimed-logo"] > .lm-Menu-itemIcon { background: var(--runtimed-logo) center / 16px no-repeat; }
.lm-Menu-item[style*="--runtimed-logo"] > .lm-Menu-itemIcon > svg { visibility: hidden; }`;

  // The logo of the kernel that an entry starts, if it is one of ours.
  function logo(entry, name, spec) {
    const ours = name?.startsWith("runtimed-") || spec?.metadata?.runtimed;
    const shown = entry.querySelector(".lm-Menu-itemLabel")?.textContent === spec?.display_name;
    return ours && shown ? spec.resources["logo-svg"] : undefined;
  }

  // The menu has the kernels in their order. Jupyter changes what is in its elements, and leaves this property alone.
  function dress(menu, specs) {
    const kernels = Object.entries(specs?.kernelspecs || {});
    for (const entry of menu.querySelectorAll(".lm-Menu-item")) {
      const [name, spec] = (entry.dataset.command === "notebook:create-new" && kernels.shift()) || [];
      const url = logo(entry, name, spec);
      if (url) entry.style.setProperty("--runtimed-logo", `url(${JSON.stringify(url)})`);
      else entry.style.removeProperty("--runtimed-logo");
    }
  }

  const plugin = {
    id: `${SCOPE}:plugin`,
    description: "Shows the logos of runtimed's kernels in the menu New of Notebook 7.",
    autoStart: true,
    activate: (app) => {
      const style = document.createElement("style");
      style.textContent = STYLE;
      document.head.append(style);
      // A menu that opens is put into the body.
      new MutationObserver((changes) => {
        for (const node of changes.flatMap((change) => [...change.addedNodes])) {
          if (node.classList?.contains("lm-Menu")) dress(node, app.serviceManager.kernelspecs.specs);
        }
      }).observe(document.body, { childList: true });
    },
  };

  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB[SCOPE] = {
    init: () => {},
    get: (module) =>
      module === "./extension"
        ? Promise.resolve(() => ({ __esModule: true, default: plugin }))
        : Promise.reject(new Error(`${SCOPE} has no ${module}`)),
  };
})();
