"""Makes outcomes comparable: only what differs by design is replaced. And says where two differ."""

import json
import os
import re

ALWAYS = [
    (re.compile(r"0x[0-9a-f]{6,16}\b"), "<address>"),
    (re.compile(r"(?<![0-9a-f])[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}(?![0-9a-f])"), "<uuid>"),
    (re.compile(r"<uuid>_\d+_\d+"), "<message>"),
    (re.compile(r"ipykernel_\d+"), "ipykernel_<pid>"),
]
LOOK = "look: "  # members of an outcome that are shown where they differ, and never make a difference


def without_times(text):
    return re.sub(r"\d[\d.e+-]* ?(ns|[mμµ]?s)\b", "<time>", text)


class Names:
    """The names that are other ones on each side, and what stands for them."""

    def __init__(self):
        self.texts, self.front_end = {}, str(os.getpid())

    def add(self, text, token):
        if text and len(text) > 3:
            self.texts[text] = token

    def plain(self, value):
        if isinstance(value, str):
            if value == self.front_end:
                return "<front-end's pid>"
            for text in sorted(self.texts, key=len, reverse=True):
                value = value.replace(text, self.texts[text])
            for pattern, token in ALWAYS:
                value = pattern.sub(token, value)
            return value
        if isinstance(value, dict):
            return {self.plain(str(k)): self.plain(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.plain(v) for v in value]
        return value if isinstance(value, (int, float, bool, type(None))) else self.plain(str(value))

    def environment(self, prefix):
        for path in (prefix, os.path.realpath(prefix)):
            self.add(path, "<env>")
        name = os.path.basename(prefix)
        if re.search(r"[0-9a-f]{8}", name):  # the name of an environment in a prompt, such as VIRTUAL_ENV_PROMPT
            self.add(name, "<env>")


def differences(plain, standby, path=""):
    """Where two outcomes differ, as (path, of the plain one, of the standby)."""
    if isinstance(plain, dict) and isinstance(standby, dict):
        found = []
        for key in sorted(plain.keys() | standby.keys()):
            if not key.startswith(LOOK):
                below = f"{path}.{key}" if path else key
                found += differences(plain.get(key, "(none)"), standby.get(key, "(none)"), below)
        return found
    if isinstance(plain, list) and isinstance(standby, list) and len(plain) == len(standby):
        return [d for i, (a, b) in enumerate(zip(plain, standby)) for d in differences(a, b, f"{path}[{i}]")]
    return [] if plain == standby and type(plain) is type(standby) else [(path, plain, standby)]


def looks(plain, standby):
    """What is shown and not compared, where it differs."""
    found = []
    if isinstance(plain, dict) and isinstance(standby, dict):
        for key in sorted(plain.keys() | standby.keys()):
            a, b = plain.get(key), standby.get(key)
            if key.startswith(LOOK) and a != b:
                found.append((key[len(LOOK) :], a, b))
            elif not key.startswith(LOOK):
                found += looks(a, b)
    return found


def short(value, width=300):
    """A value in a line: of long texts the part around the end."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = text.replace("\n", "\\n")
    return text if len(text) <= width else text[: width // 2] + " … " + text[-width // 2 :]


def apart(a, b):
    """Two values from shortly before where they part."""
    a, b = (v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for v in (a, b))
    same = next((n for n, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
    start = max(0, same - 40)
    return tuple(("… " if start else "") + short(v[start:]) for v in (a, b))
