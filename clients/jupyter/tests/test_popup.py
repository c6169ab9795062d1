"""The popup of the status item in JupyterLab, by the keyboard alone: who uses what, and what may be done about it."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import ITEM, Front
from fake import wait_until
from lab import built
from runtimed_client import Client, ConnectError
from test_lab import OURS, TORN, House, house, write

__all__ = ["house"]

pytestmark = pytest.mark.timeout(600)
POPUP = ".runtimed-Popup"
LEAST = 4.5  # the contrast that WCAG's level AA asks of text
# The texts below a node that is selected, each with its contrast, as they are drawn: colours may be see-through.
CONTRASTS = """selector => {
  const parse = (color) => {
    const [r, g, b, a = 1] = color.match(/[\\d.]+/g).map(Number);
    return { rgb: color.startsWith("color(") ? [r, g, b].map((c) => c * 255) : [r, g, b], a };
  };
  const over = (above, below) => above.rgb.map((c, i) => c * above.a + below[i] * (1 - above.a));
  const ground = (node) => {
    if (!node) return [255, 255, 255];
    const own = parse(getComputedStyle(node).backgroundColor);
    return own.a === 1 ? own.rgb : over(own, ground(node.parentElement));
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((c) => c / 255).map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  for (const root of document.querySelectorAll(selector)) {
    const texts = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      const node = texts.currentNode.parentElement;
      if (!texts.currentNode.data.trim() || !node.checkVisibility()) continue;
      const below = ground(node);
      const both = [over(parse(getComputedStyle(node).color), below), below].map(light);
      found.push([(Math.max(...both) + 0.05) / (Math.min(...both) + 0.05), texts.currentNode.data]);
    }
  }
  return found;
}"""


@pytest.fixture
def lab(house: House) -> Iterator[Front]:
    """JupyterLab, just opened, with no kernel running."""
    front = house.front(house.lab)
    front.open("lab")
    front.item("Warm Python: ")
    front.see(".jp-LauncherCard", OURS)
    yield front
    front.shot("popup-last")
    assert not front.errors()
    front.close()


def press(front: Front, *keys: str) -> None:
    for key in keys:
        front.page.keyboard.press(key)


def opened(front: Front) -> Any:
    """The popup, opened as somebody does who has no mouse."""
    front.page.locator(ITEM).press("Enter")
    return front.see(POPUP)


def focused(front: Front) -> str:
    """What a screen reader says of what has the focus."""
    js = "(it => it.getAttribute('aria-label') || it.innerText)(document.activeElement)"
    return str(front.page.evaluate(js))


def reach(front: Front, name: str) -> None:
    """Tab to it."""
    for _ in range(20):
        press(front, "Tab")
        if re.search(name, focused(front)):
            return
    raise AssertionError(f"Tab reaches no {name}: {focused(front)}")


def away(front: Front) -> None:
    """Escape closes the popup, and the focus is where it was before."""
    press(front, "Escape")
    front.page.locator(POPUP).wait_for(state="detached")
    assert focused(front).startswith("Warm Python: ")


def test_a_kernel_is_ended_by_the_keyboard(house: House, lab: Front) -> None:
    lab.notebook(OURS)
    lab.run("1+1")
    path = "Untitled.ipynb"
    opened(lab)
    row = lab.see(f"{POPUP} li", path)
    row.filter(has_text=re.compile(r"uv, since .*, \d+ MB of memory")).wait_for()
    assert "closed" not in row.inner_text()
    reach(lab, f"^End the kernel of {path}$")
    press(lab, "Space")
    lab.see(".jp-Dialog", f"End the kernel of {path}?")
    press(lab, "Escape")
    lab.see(POPUP, path)
    wait_until(lambda: focused(lab) == f"End the kernel of {path}")
    assert len(house.daemon.leased()) == 1
    press(lab, "Enter")
    lab.see(".jp-Dialog", f"End the kernel of {path}?")
    reach(lab, "^End It$")
    press(lab, "Enter")
    lab.see(f"{POPUP} [role=status]", f"The kernel of {path} has ended.")
    wait_until(lambda: not house.daemon.leased(), 30)
    lab.page.locator(f"{POPUP} li").wait_for(state="detached")
    assert house.lab.get("api/sessions") == []
    away(lab)


def test_the_kernel_of_a_closed_notebook_is_named(house: House, lab: Front) -> None:
    path = "forgotten.ipynb"
    write(house.base / "lab/notes" / path, "1+1")
    lab.file(path)
    lab.run("")
    lab.shut()
    lab.see(".jp-LauncherCard", OURS)
    opened(lab)
    lab.see(
        f"{POPUP} li",
        re.compile(rf"{path}.*Idle for \d+ s, and no page shows it\. It ends after 8 h\.", re.DOTALL),
    )
    lab.shot("popup-closed-notebook")
    reach(lab, f"^End the kernel of {path}$")
    press(lab, "Enter")
    reach(lab, "^End It$")
    press(lab, "Enter")
    wait_until(lambda: not house.daemon.leased(), 30)
    lab.see(f"{POPUP} [role=status]", f"The kernel of {path} has ended.")


def test_what_is_not_of_this_jupyter_is_told_apart(house: House, lab: Front) -> None:
    """One that another program uses, and one that waits for an owner who has ended."""
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with Client(house.daemon.socket) as client, other:
        client.acquire(owner_pid=other.pid, label="of another", session="of a test", linger=600)
        opened(lab)
        row = lab.see(f"{POPUP} li", f"Used by process {other.pid}, not by this Jupyter.")
        assert row.locator("button").count() == 0
        other.kill()
        other.wait()
        lab.see(f"{POPUP} li", "Its kernel has ended. Kept for a restart until ")
        reach(lab, "^Give back the environment of of another$")
        press(lab, "Enter")
        lab.see(f"{POPUP} [role=status]", "It is given back.")
        assert not house.daemon.leased()


def test_a_long_name_does_not_make_the_popup_wide(house: House, lab: Front) -> None:
    with Client(house.daemon.socket) as client, client.acquire(label="of another " * 20):
        opened(lab)
        lab.see(f"{POPUP} li", "of another")
        assert lab.page.locator(POPUP).bounding_box()["width"] <= 420
        lab.shot("popup-long-name")
        away(lab)


def reads(house: House) -> int:
    """How often the daemon has read its configuration. It then tries again what failed."""
    with Client(house.daemon.socket) as client:
        return Path(client.info().log).read_text().count("configuration read")


def test_a_pool_that_fails_is_tried_again(house: House, lab: Front) -> None:
    house.daemon.configure(2, TORN)
    lab.item("⚠ torn none (see why)")
    opened(lab)
    lab.see(POPUP, "the packages cannot be installed together")
    before = reads(house)
    reach(lab, "^Try again now to make torn$")
    press(lab, "Enter")
    lab.see(f"{POPUP} [role=status]", "What failed is tried again now.")
    assert reads(house) == before + 1
    press(lab, "ArrowDown")
    assert focused(lab) == "Show the log"
    press(lab, "ArrowDown", "ArrowUp")
    assert focused(lab) == "Show the log"
    away(lab)
    house.daemon.configure(2)


def test_a_daemon_is_started_and_its_log_is_read(house: House, lab: Front) -> None:
    for name in ("runt", "runtimed"):
        (house.venv / "bin" / name).symlink_to(built(house.base) / name)
    config = house.base / "lab/.config/runt/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text("pools.uv.size = 0\npools.conda.size = 0\n")
    house.daemon.end()
    lab.item("Warm Python: not running (start it)")
    opened(lab)
    reach(lab, "^Start it now$")
    press(lab, "Enter")
    try:
        lab.item(re.compile("^Warm Python: off$"))
        lab.see(f"{POPUP} [role=status]", "It runs.")
        reach(lab, "^Show the log$")
        press(lab, "Enter")
        lab.see(".jp-Dialog pre", "socket")
        lab.shot("popup-log")
        assert min(lab.page.evaluate(CONTRASTS, ".jp-Dialog pre"))[0] >= LEAST
        press(lab, "Escape")
        lab.page.locator(".jp-Dialog").wait_for(state="detached")
        assert focused(lab).startswith("Warm Python: off")
    finally:
        with Client(house.daemon.socket) as client:
            if answers(client):
                client.call("daemon.shutdown")
            wait_until(lambda: not answers(client), 30)
        house.daemon.start()


def answers(client: Client) -> bool:
    try:
        return bool(client.info())
    except ConnectError:
        return False


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_every_text_can_be_read_in_each_theme(house: House, lab: Front, theme: str) -> None:
    """In all states, and at half the width of a small screen."""
    light = str(theme == "Light").lower()
    lab.menu("Settings", "Theme")
    lab.see(".lm-Menu-itemLabel", re.compile(f"^JupyterLab {theme}$")).click()
    lab.page.wait_for_selector(f'body[data-jp-theme-light="{light}"]', state="attached")

    def looked_at(state: str) -> None:
        for width in (1280, 640):
            lab.page.set_viewport_size({"width": width, "height": 720})
            texts = lab.page.evaluate(CONTRASTS, f"{POPUP}, {ITEM}")
            opened(lab)
            texts += lab.page.evaluate(CONTRASTS, f"{POPUP}, {ITEM}")  # the item has another colour now
            for key in lab.page.locator(f"{POPUP} button").all():
                key.hover()
                texts += lab.page.evaluate(CONTRASTS, POPUP)
            lab.page.mouse.move(0, 0)
            reach(lab, "")
            lab.shot(f"popup-{state}-{theme.lower()}-{width}")
            box = lab.page.locator(POPUP).bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width
            assert box["y"] >= 0
            assert texts
            assert not [(round(ratio, 2), text) for ratio, text in texts if ratio < LEAST]
            away(lab)

    lab.notebook(OURS)
    lab.run("1+1")
    lab.item(re.compile("uv 2$"))
    looked_at("in-use")
    house.daemon.configure(2, TORN)
    lab.item("⚠ torn none (see why)")
    looked_at("failing")
    house.daemon.configure(2)
    house.daemon.end()
    lab.item("Warm Python: not running (start it)")
    looked_at("no-daemon")
    house.daemon.start()
    lab.item(re.compile("uv 2$"))
