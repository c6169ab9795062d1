"""Writes the man pages from what runt and runtimed print as help: python3 packaging/man.py BIN OUT

BIN is the folder of both programs. The date in the pages is SOURCE_DATE_EPOCH. What no help says, such as the exit
codes of runtimed, comes from docs/operations.md.
"""

import os
import re
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

BIN, OUT = map(Path, sys.argv[1:])
MANUAL = (Path(__file__).resolve().parent.parent / "docs/operations.md").read_text()
DATE = datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), timezone.utc).date()
COMMON = ("-h, --help", "--json", "--version")  # flags that every command has
SIGNALS = """It runs in the foreground; runt daemon start starts it in the background.
SIGTERM and SIGINT stop it, SIGHUP makes it read its configuration again."""
CONFIG = """\
log_level = "info"

[pools.uv]
size = 4

[pools.science]
kind = "uv"
size = 2
python = "3.12"
packages = ["pip", "numpy>=2", "matplotlib"]
max_age = "24h"
"""
pages = {}  # by name and chapter


def ask(program, *words):
    """What a program prints, unwrapped."""
    wide = {**os.environ, "COLUMNS": "10000"}
    return subprocess.run([BIN / program, *words], env=wide, stdout=subprocess.PIPE, text=True, check=True).stdout


def sections(text):
    """The parts of a help text by title: their lines. What comes first has no title."""
    parts, title = {"": []}, ""
    for line in text.splitlines():
        if re.fullmatch(r"[A-Z]\w*:", line):
            title = line[:-1]
            parts[title] = []
        else:
            parts[title].append(line)
    return parts


def rows(lines, flags=False):
    """Terms, and what each means: behind it, or below it and further in."""
    found = []
    for line in lines:
        if re.match(r"  \S", line) or flags and re.match(" +-", line):
            term, _, text = re.sub(" {2,}", "\0", line.strip(), count=1).partition("\0")
            found.append([term, text])
        elif line.startswith("  ") and found:
            found[-1][1] = f"{found[-1][1]} {line.strip()}".strip()
    return found


def table(head):
    """The rows of a table of the manual."""
    lines = MANUAL.split(f"\n{head}\n", 1)[1].split("\n\n", 1)[0].replace("`", "").splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def roff(text):
    """Text that is printed as it is: a plain - would become a hyphen, which no shell takes."""
    special = {"\\": r"\(rs", "-": r"\-", "'": r"\(aq", '"': r"\(dq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti"}
    text = "".join(special.get(c, c if c < "\x7f" else rf"\[u{ord(c):04X}]") for c in text)
    return re.sub(r"(?m)^(?=\.|\\\(aq)", r"\&", text)


def items(pairs):
    return "".join(f".TP\n\\fB{roff(term)}\\fR\n{roff(text)}\n" for term, text in pairs)


def code(text):
    return ".RS 4\n.EX\n" + re.sub("(?m)^$", r"\&", roff(text.strip("\n"))) + "\n.EE\n.RE\n"


def prose(lines):
    """The paragraphs among the lines; what is set in by four is code."""
    out = ""
    for part in re.split(r"\n{2,}", "\n".join(lines).strip("\n")):
        if part.startswith("    "):
            out += code(re.sub("(?m)^    ", "", part))
        elif part and not re.match('  |Usage: |Run "', part):
            out += f".PP\n{roff(part)}\n"
    return out


def usage(text):
    words = re.match("Usage: (.*)", text)[1].replace(" [flags]", "")
    return f".PP\n\\fB{roff(words)}\\fR [\\fIflags\\fR]\n"


def examples(parts):
    return "".join(f".PP\n{roff(text)}\n{code(line)}" for line, text in rows(parts.get("Examples", [])))


def command(name, text, below=(), what=None):
    """The page of a command, or of one with others below it: their help texts. `what` is for the first line."""
    parts = sections(text)
    out = ".SH SYNOPSIS\n" + "".join(map(usage, below or [text]))
    out += ".SH DESCRIPTION\n" + prose(parts[""])
    if "Arguments" in parts:
        out += ".SH ARGUMENTS\n" + items(rows(parts["Arguments"]))
    if below:
        out += ".SH COMMANDS\n"
    elif "Commands" in parts:
        out += ".SH COMMANDS\n" + items(rows(parts["Commands"]))
    for leaf in below:
        leaf_parts = sections(leaf)
        flags = [row for row in rows(leaf_parts["Flags"], flags=True) if row[0] not in COMMON]
        out += f'.SS "{roff(re.match("Usage: ([a-z -]+[a-z])", leaf)[1])}"\n' + prose(leaf_parts[""])
        out += items(rows(leaf_parts.get("Arguments", [])) + flags) + examples(leaf_parts)
    out += ".SH OPTIONS\n" + items(rows(parts["Flags"], flags=True))
    if "Examples" in parts and not below:
        out += ".SH EXAMPLES\n" + examples(parts)
    page(name, 1, what or parts[""][2], out)


def topic(name, title):
    """A table of runt help, and the words around it."""
    lines = ask("runt", "help", name).splitlines()[1:]
    return f".SH {title}\n{prose(lines)}{items(rows(lines))}"


def page(name, chapter, what, text):
    what = what.rstrip(".")
    if not what.startswith("Python "):
        what = what[0].lower() + what[1:]
    about = "User Commands" if chapter == 1 else "File Formats"
    head = f'.TH "{roff(name.upper())}" {chapter} {DATE} "{roff(VERSION)}" "{about}"\n'
    pages[name, chapter] = f"{head}.SH NAME\n{roff(name)} \\- {roff(what)}\n{text}"


VERSION = "runtimed " + ask("runt", "version").split()[1]
CONFIG_FILE = [
    ["~/.config/runt/config.toml", "the configuration; it may be missing"],
    ["/etc/runt/config.toml", "an administrator's defaults for every user, and the most that users may ask for"],
]
state = [[f"~/.cache/runt/{name}", text] for name, _, text in table("| name | there | what it is |")]
files = ".SH FILES\n" + items(CONFIG_FILE + [row for row in state if re.fullmatch("~/.cache/runt/[^/]+/?", row[0])])
environment = topic("environment", "ENVIRONMENT")

main = ask("runt", "--help")
command("runt", main)
pages["runt", 1] += topic("exit-codes", "EXIT STATUS") + environment + files
for name, _ in rows(sections(main)["Commands"]):
    text = ask("runt", name, "--help") if name == "config" else ask("runt", "help", name)  # help config is a topic
    below = rows(sections(text).get("Commands", []))
    command(f"runt-{name}", text, [ask("runt", "help", *words.split()) for words, _ in below])

text = ask("runtimed", "run", "--help").replace("(the default).\n", f"(the default).\n\n{SIGNALS}\n")
command("runtimed", text, what=ask("runtimed", "--help").splitlines()[2])
pages["runtimed", 1] += ".SH EXIT STATUS\n" + items(table("| `runtimed` | when |")) + environment + files

keys = topic("config", "KEYS") + ".SH FILES\n" + items(CONFIG_FILE) + ".SH EXAMPLES\n" + code(CONFIG)
page("runtimed-config", 5, "the configuration of runtimed", keys)

OUT.mkdir(parents=True, exist_ok=True)
for (name, chapter), text in pages.items():
    others = [o for o in pages if o[0] != name and (name == "runt" or not o[0].startswith("runt-"))]
    text += ".SH SEE ALSO\n" + ",\n".join(f".BR {roff(other)} ({number})" for other, number in others) + "\n"
    text = re.sub(r"(\.S[HS] .*\n)\.PP\n", r"\1", text)  # a heading begins a paragraph itself
    (OUT / f"{name}.{chapter}").write_text(text)
