"""kernel_same.py: run the same rows on two kernels, a plain one and a standby, and say where they differ.

Run it with any Python that has jupyter_client. Each kernel is given as a command line in which {connection_file} and
{args} are replaced, or as the name of a kernelspec. It prints a line for each difference and a summary, and exits with
1 if there is one. The folder kernel_same has the rows.
"""

import argparse
import dataclasses
import fnmatch
import importlib
import json
import multiprocessing
import multiprocessing.connection
import os
import shutil
import sys
import tempfile
import time

from kernel_same.front import run_job
from kernel_same.normal import apart, differences, looks, short
from kernel_same.table import OWN, TABLE

SIDES = ("plain", "standby")
# They fill the table. What a kernel has inherited comes first: later rows import and open much.
for name in ("inherit", "cells", "python", "talk", "stop", "ends", "starts"):
    importlib.import_module("kernel_same.rows_" + name)

fork = multiprocessing.get_context("fork")  # each front-end is a process that has imported all it needs


@dataclasses.dataclass
class Job:
    scene: str
    rows: list = dataclasses.field(default_factory=list)


def jobs_of(rows):
    """What runs in a process of its own: a scene, or a row with a kernel of its own."""
    jobs, scenes = [], {}
    for row in rows:
        if row.scene == OWN:
            jobs.append(Job(OWN, [row]))
        elif row.scene not in scenes:
            jobs.append(scenes.setdefault(row.scene, Job(row.scene, [row])))
        else:
            scenes[row.scene].rows.append(row)
    return jobs


class Lane:
    """Runs the jobs of one side, one after the other: a standby for each kernel is more than a pool may have."""

    def __init__(self, name, side, jobs, root, before):
        self.name, self.side, self.jobs, self.root, self.before = name, side, list(jobs), root, before
        self.results, self.process, self.pipe, self.job, self.at = {}, None, None, None, 0

    def next(self):
        if not self.jobs:
            return False
        self.job = self.jobs.pop(0)
        self.at += 1
        self.pipe, out = fork.Pipe(duplex=False)
        place = os.path.join(self.root, "ab"[SIDES.index(self.name)], str(self.at))  # of the same length for both
        os.makedirs(place)
        self.process = fork.Process(target=work, args=(self.job, self.side, place, self.before, out))
        self.process.start()
        out.close()
        self.until = time.monotonic() + 300 + sum(row.limit + 5 for row in self.job.rows)
        return True

    def hear(self):
        """Takes a result. False when the job has ended."""
        try:
            key, result = self.pipe.recv()
        except EOFError:
            return self.finish("its front-end ended with the code {code}")
        self.results[key] = result
        return True

    def finish(self, why):
        self.process.join(10)
        self.pipe.close()
        for row in self.job.rows:
            outcome = {"not run": why.format(code=self.process.exitcode)}
            self.results.setdefault((row.scene, row.name), {"outcome": outcome, "seconds": 0, "adopted": None})
        return False

    def late(self):
        if time.monotonic() < self.until:
            return False
        self.process.kill()
        self.finish("its front-end hangs")
        return True


def work(job, side, place, before, out):
    def tell(row, outcome, seconds, adopted):
        out.send(((row.scene, row.name), {"outcome": outcome, "seconds": round(seconds, 2), "adopted": adopted}))

    run_job(job, side, place, before, tell)


def run_lanes(lanes, done):
    """Runs the jobs of both sides at the same time. Calls done after each result."""
    active = [lane for lane in lanes if lane.next()]
    while active:
        ready = multiprocessing.connection.wait([lane.pipe for lane in active], timeout=1)
        for lane in list(active):
            ended = lane.pipe in ready and not lane.hear()
            if (ended or lane.late()) and not lane.next():
                active.remove(lane)
        done()


def compare(row, a, b, adopt):
    """What two outcomes of a row have in common, and what differs."""
    outcomes = a["outcome"], b["outcome"]
    differ = row.judge(*outcomes) if row.judge else differences(*outcomes)
    if any(isinstance(o, dict) and o.keys() & {"failed", "not run"} for o in outcomes) and not differ:
        differ = [("", *outcomes)]  # nothing was compared
    if adopt and row.standby and b["adopted"] and b["adopted"][0] != b["adopted"][1]:
        differ.append(("kernels", "all were to be adopted", "{1} of {0} were".format(*b["adopted"])))
    one = {"scene": row.scene, "name": row.name, "same": not differ, "differences": differ}
    one.update(plain=outcomes[0], standby=outcomes[1], looks=looks(*outcomes), adopted=b["adopted"])
    return {**one, "seconds": [a["seconds"], b["seconds"]]}


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for side in SIDES:
        which = p.add_mutually_exclusive_group(required=True)
        which.add_argument(f"--{side}", metavar="COMMAND", help=f"starts the {side} kernel")
        which.add_argument(f"--{side}-spec", metavar="NAME", help="its kernelspec")
    p.add_argument("--before-standby", metavar="COMMAND", help="runs before each start of the standby kernel")
    p.add_argument("--adopt", action="store_true", help="rows differ where the standby kernel was none")
    p.add_argument("--row", action="append", metavar="PATTERN", help="only rows with such a name or scene")
    p.add_argument("--limit", type=float, metavar="SECONDS", help="how long a row may take, if less than its own limit")
    p.add_argument("--json", metavar="FILE", help="all outcomes, - for stdout")
    p.add_argument("--list", action="store_true", help="print the rows")
    p.add_argument("--keep", metavar="FOLDER", help="work there, and leave it")
    return p


def main():
    sys.stdout.reconfigure(errors="backslashreplace")
    parser = arguments()
    if "--list" in sys.argv:
        for row in TABLE.rows:
            print(f"{row.scene}: {row.name}")
        return 0
    args = parser.parse_args()
    wanted = args.row or ["*"]
    rows = [r for r in TABLE.rows if any(fnmatch.fnmatch(t, p) for t in (r.name, r.scene) for p in wanted)]
    if args.limit:
        rows = [dataclasses.replace(row, limit=min(row.limit, args.limit)) for row in rows]
    if not rows:
        parser.error("no such row; see --list")
    root = args.keep or tempfile.mkdtemp(prefix="ks")
    began = time.monotonic()
    lanes = []
    for name in SIDES:
        line, spec = getattr(args, name), getattr(args, name + "_spec")
        side = {"kind": "command", "start": line} if line else {"kind": "spec", "start": spec}
        before = args.before_standby if name == "standby" else None
        lanes.append(Lane(name, side, jobs_of(rows), root, before))
    compared, left = [], list(rows)

    def done():
        """Compares the rows that both sides have run."""
        for row in list(left):
            key = row.scene, row.name
            if all(key in lane.results for lane in lanes):
                left.remove(row)
                compared.append(compare(row, *(lane.results[key] for lane in lanes), args.adopt))
                if args.json != "-":
                    print("".join(line + "\n" for line in lines_of(compared[-1])), end="", flush=True)

    try:
        run_lanes(lanes, done)
    finally:
        if not args.keep:
            shutil.rmtree(root, ignore_errors=True)
    if args.json == "-":
        print(json.dumps({"rows": compared}, indent=1))
    else:
        different = sum(not one["same"] for one in compared)
        adopted = sum(bool(one["adopted"] and one["adopted"][1]) for one in compared)
        seconds = time.monotonic() - began
        print(f"{len(compared)} rows, {different} differ; {adopted} rows had an adopted kernel; {seconds:.0f} s")
    if args.json not in (None, "-"):
        with open(args.json, "w") as f:
            json.dump({"rows": compared}, f, indent=1)
    return 0 if all(one["same"] for one in compared) and not left else 1


def only(a, b):
    """What is in one of two lists, or all of it if they are something else."""
    if not isinstance(a, list) or not isinstance(b, list):
        return a
    other = {json.dumps(v) for v in b}
    return [v for v in a if json.dumps(v) not in other]


def lines_of(one):
    title = f"{one['scene']}: {one['name']}"
    for what, a, b in one["looks"]:
        plain, standby = short(only(a, b)), short(only(b, a), 3000)
        yield f"look: {title}: {what}: the plain kernel has {plain}, the standby {standby}"
    if not one["same"]:
        path, a, b = one["differences"][0]
        a, b = apart(a, b)
        also = f" (and {len(one['differences']) - 1} more)" if len(one["differences"]) > 1 else ""
        yield f"DIFFERENT: {title}: {path or 'it'} is {a} on the plain kernel, {b} on the standby{also}"


if __name__ == "__main__":
    sys.exit(main())
