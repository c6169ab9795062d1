"""What a person does in JupyterLab and Notebook 7, done in a headless Chromium by Playwright."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab import Jupyter, chromium

LONG = 60_000  # ms, for what a kernel or a busy machine takes
ITEM = "button.runtimed-Item"


@contextmanager
def browser(venv: Path) -> Iterator[Any]:
    """Playwright is in the venv of JupyterLab: it is too large to be had by all who work on the client."""
    (packages,) = venv.glob("lib/python*/site-packages")
    sys.path.append(str(packages))
    try:
        from playwright.sync_api import sync_playwright

        with sync_playwright() as playwright:
            args = [
                "--no-sandbox",
                "--disable-dev-shm-usage",
            ]  # for root, and for a container with little shared memory
            made = playwright.chromium.launch(executable_path=chromium(), args=args)
            yield made
            made.close()
    finally:
        sys.path.remove(str(packages))
        for name in [name for name in sys.modules if name.partition(".")[0] == "playwright"]:
            del sys.modules[name]  # its files go with the venv, and the next one has its own


class Front:
    """A page with JupyterLab or Notebook 7."""

    def __init__(self, browser: Any, server: Jupyter, shots: Path) -> None:
        self.server, self._shots = server, shots
        self.context = browser.new_context(viewport={"width": 1200, "height": 760})
        self.page = self.context.new_page()
        self.page.set_default_timeout(LONG)
        self._errors: list[str] = []
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self._errors.append(f"{error} {error.stack}"))

    def _on_console(self, said: Any) -> None:
        if said.type == "error":
            self._errors.append(f"{said.text} {said.location}")

    def errors(self) -> list[str]:
        """Errors in the browser that are ours. Notebook 7.6 has one of its own (reading 'schema')."""
        return [error for error in self._errors if "runtimed" in error]

    def open(self, path: str) -> None:
        """The token makes a cookie, as when a person follows the server's link; reset forgets what was open before."""
        self.page.goto(f"{self.server.url}{path}?reset&token={self.server.token}")

    def shot(self, name: str) -> None:
        self.page.screenshot(path=str(self._shots / f"{name}.png"))

    def see(self, selector: str, text: "str | re.Pattern[str]" = "") -> Any:
        """An element that is there, or comes."""
        found = self.page.locator(selector).filter(has_text=text).last
        found.wait_for()
        return found

    def notebook(self, kernel: str) -> None:
        """A new one, by the launcher."""
        card = self.see('.jp-LauncherCard[data-category="Notebook"]', kernel)
        with self.connects():
            card.click()

    def file(self, path: str) -> None:
        """A notebook that is there."""
        self.menu("File", "Open from Path")
        self.see(".jp-Dialog input").fill(path)
        with self.connects():
            self.answer("Open")

    def shut(self) -> None:
        """Close the only notebook. JupyterLab asks whether to save it if its last output came after the last save."""
        self.menu("File", "Close Tab")
        asked = self.page.locator(".jp-Dialog")
        asked.or_(self.page.locator("body:not(:has(.jp-NotebookPanel))")).wait_for()
        if asked.count():
            self.answer("Discard")
        self.page.locator(".jp-NotebookPanel").wait_for(state="detached")

    @contextmanager
    def connects(self) -> Iterator[None]:
        """Wait for the kernel of what is opened. A notebook says "idle" for a moment before it knows of any."""
        with self.page.expect_websocket(lambda made: made.url.partition("?")[0].endswith("/channels"), timeout=LONG):
            yield
        self.idle()

    def restart(self) -> None:
        self.menu("Kernel", "Restart Kernel")
        self.answer("Restart")
        self.see('.jp-Notebook-ExecutionIndicator:not([data-status="idle"]):visible')
        self.idle()

    def idle(self) -> None:
        self.see('.jp-Notebook-ExecutionIndicator[data-status="idle"]:visible')

    def menu(self, menu: str, entry: str) -> None:
        self.page.locator("#jp-MainMenu, #jp-menu-panel").get_by_text(menu, exact=True).first.click()
        self.see(".lm-Menu-itemLabel", re.compile(f"^{re.escape(entry)}…?$")).click()

    def answer(self, button: str) -> None:
        self.see(".jp-Dialog-button", re.compile(f"^{button}$")).click()

    def run(self, code: str, wait: bool = True) -> str:
        """Run a cell at the end of the notebook; what it says."""
        cell = self.page.locator(".jp-Notebook:visible .jp-CodeCell").last
        cell.locator(".cm-content").click()
        if code:
            self.page.keyboard.insert_text(code)
        before = self.page.locator(".jp-Notebook:visible .jp-CodeCell").count()
        self.page.keyboard.press("Shift+Enter")
        done = self.page.locator(".jp-Notebook:visible .jp-CodeCell").nth(before - 1)
        return self.said(done) if wait else ""

    def said(self, cell: Any) -> str:
        cell.locator(".jp-InputPrompt").filter(has_text=re.compile(r"\[\d+\]")).wait_for()
        return "\n".join(cell.locator(".jp-OutputArea-output").all_inner_texts()).strip()

    def item(self, text: "str | re.Pattern[str]") -> Any:
        """The status item, once it says so."""
        return self.see(ITEM, text)

    def close(self) -> None:
        """Leave, and end what kernels a failed test has left."""
        self.context.close()
        for kernel in self.server.get("api/kernels"):
            self.server.get(f"api/kernels/{kernel['id']}", "DELETE")


def shots(folder: Path) -> Path:
    """Where screenshots go."""
    kept = Path(os.environ.get("RUNTIMED_SCREENSHOTS") or folder)
    kept.mkdir(parents=True, exist_ok=True)
    return kept
