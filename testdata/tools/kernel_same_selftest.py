"""kernel_same_selftest.py COMMAND [GROUP…]: shows that kernel_same.py finds planted differences, and no others.

COMMAND starts a plain kernel, with {connection_file} in it. For each group of plants, or those that are named, it
compares that kernel with one that has them. It prints what was not found, and exits with 1 if there is such a thing.
"""

import json
import os
import shlex
import subprocess
import sys

from kernel_same.plants import GROUPS

here = os.path.dirname(os.path.abspath(__file__))
SAME = ["an expression", "numpy with threads", "end: exit()"]  # rows that no plant touches


def compare(command, group):
    rows = sorted({row for rows in GROUPS[group].values() for row in rows} | set(SAME))
    planted = [sys.executable, os.path.join(here, "kernel_same", "plants.py"), group]
    argv = [sys.executable, os.path.join(here, "kernel_same.py"), "--json", "-", "--limit", "20"]
    argv += ["--plain", command, "--standby", shlex.join(planted) + " " + command]
    done = subprocess.run([*argv, *(a for row in rows for a in ("--row", row))], stdout=subprocess.PIPE, text=True)
    compared = json.loads(done.stdout)["rows"]
    if (done.returncode == 0) != all(one["same"] for one in compared):
        sys.exit(f"{group}: the exit code {done.returncode} does not say what the rows do")
    return {name: any(not one["same"] for one in compared if one["name"] == name) for name in rows}


def main(command, *groups):
    wrong, plants = [], 0
    for group in groups or GROUPS:
        differs = compare(command, group)
        for plant, rows in GROUPS[group].items():
            plants += len(rows)
            wrong += [f"{group}: {plant} is not found by: {row}" for row in rows if not differs[row]]
        wrong += [f"{group}: {row} differs" for row in SAME if differs[row]]
    print("\n".join([*wrong, f"{plants - len(wrong)} of {plants} plants are found"]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
