"""Print the path of the tests' conda channel; make it first if it is missing or of an earlier version.

It is kept in the user's cache, since making it takes ten seconds. If something that it needs is missing, the exit code
is 77 and one line on stderr says what.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "runtimed-tests"


def run(*argv):
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        if os.environ.get("CI"):
            sys.stderr.write(done.stderr)
        last = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]
        lacking(f"{Path(argv[0]).name} failed: {last.strip()}")
    return done.stdout.strip()


def lacking(what):
    print(f"no conda channel to test with: {what}", file=sys.stderr)
    sys.exit(77)


def find_uv():
    own = CACHE / "uv"
    found = shutil.which("uv") or shutil.which("uv", path=own / "bin")
    if not found:
        run(sys.executable, "-m", "venv", "--clear", own)
        requirements = HERE.parents[1] / "pool" / "uv" / "requirements.txt"
        run(own / "bin/python", "-m", "pip", "install", "-q", "--require-hashes", "-r", requirements)
        found = own / "bin/uv"
    return found


def main():
    CACHE.mkdir(parents=True, exist_ok=True)
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        lacking("it is made for Linux on x86-64 only")
    if not shutil.which("strip"):
        lacking("strip is missing (Debian: binutils)")
    with open(CACHE / "conda-channel.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several packages' tests ask at once
        uv = find_uv()
        find = [uv, "python", "find", "--no-project", "--no-python-downloads", ">=3.11,<3.14"]
        found = subprocess.run(find, capture_output=True, text=True)
        if found.returncode:
            lacking("it needs a Python from 3.11 to 3.13")
        python, channel = found.stdout.strip(), CACHE / "conda-channel"
        run(
            uv,
            "run",
            "--no-project",
            "--quiet",
            "--python",
            python,
            HERE / "make_conda_channel.py",
            channel,
            "--python",
            python,
        )
        print(channel)


main()
