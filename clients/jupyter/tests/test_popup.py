"""The popup of the status item in JupyterLab, by the keyboard alone: who uses what, and what may be done about it."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from browser import ITEM, Front
from fake import wait_until
from test_lab import OURS, House, house

__all__ = ["house"]

pytestmark = pytest.mark.timeout(600)
POPUP = ".runtimed-Popup"
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}


@pytest.fixture
def lab(house: House) -> Iterator[Front]:
    """JupyterLab, just opened, with no kernel running."""
    front = house.front(house.lab)
    front.open("lab")
    front.item("Warm Python: ")
    yield front
    front.shot("popup-last")
    assert not front.errors()
    front.close()


def press(front: Front, *keys: str) -> None:
    for key in keys:
        front.page.keyboard.press(key)


def opened(front: Front) -> Any:
    """The popup, opened as somebody does who has no mouse."""
    front.page.locator(ITEM).focus()
    press(front, "Enter")
    return front.see(POPUP)


def focused(front: Front) -> str:
    """What a screen reader says of what has the focus."""
    js = "(it => it.getAttribute('aria-label') || it.innerText)(document.activeElement)"
    return str(front.page.evaluate(js))


def reach(front: Front, name: "str | re.Pattern[str]") -> None:
    """Tab to it."""
    for _ in range(20):
        press(front, "Tab")
        if re.search(name, focused(front)):
            return
    raise AssertionError(f"Tab reaches no {name}: {focused(front)}")


def test_a_kernel_is_ended_by_the_keyboard(house: House, lab: Front) -> None:
    lab.notebook(OURS)
    lab.run("1+1")
    path = "Untitled.ipynb"
    opened(lab)
    row = lab.see(f"{POPUP} li", path)
    row.filter(has_text=re.compile(r"uv, since .*, \d+ MB of memory")).wait_for()
    reach(lab, f"^End the kernel of {path}$")
    lab.shot("popup-in-use")
    press(lab, "Space")
    lab.see(".jp-Dialog", f"End the kernel of {path}?")
    press(lab, "Escape")
    lab.see(POPUP, path)
    assert focused(lab) == f"End the kernel of {path}"
    assert len(house.daemon.leased()) == 1
    press(lab, "Enter")
    reach(lab, "^End It$")
    press(lab, "Enter")
    lab.see(f"{POPUP} .runtimed-Said", f"The kernel of {path} has ended.")
    wait_until(lambda: not house.daemon.leased(), 30)
    assert house.lab.get("api/sessions") == []
    press(lab, "Escape")
    lab.page.locator(POPUP).wait_for(state="detached")
    assert focused(lab).startswith("Warm Python: uv")
