"""compare.py DIR PLAIN STANDBY: runs the tests of jupyter_client, nbclient and ipykernel with two kinds of kernels.

Each test that passes with PLAIN must pass with STANDBY. Both are the argv of a kernelspec in JSON, up to where further
arguments for ipykernel follow. DIR is what make.py has made. With --all these are all tests that start kernels, else a
few dozen. With --standbys most kernels of the second kind must have been standbys. RUNTIMED_SOCKET names the daemon
whose environments they run in.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile

from selection import ALL, EXCLUDED, OPTIONS, SHORT, specs

HERE = os.path.dirname(os.path.abspath(__file__))
ONCE_MORE = 2  # times that a test is repeated with both if only the standby fails
ENDED = (0, 1)  # exit codes of pytest: all tests ran


class Kind:
    """The tests with one kind of kernels: where they run, and what they came to."""

    def __init__(self, name, argv, folder, work):
        self.name, self.folder, self.work = name, folder, os.path.join(work, name)
        self.counts = {"kernels": 0, "seen": 0, "standbys": 0}
        for kernel, spec in specs(argv).items():
            path = os.path.join(self.work, "jupyter", "kernels", kernel)
            os.makedirs(path)
            with open(os.path.join(path, "kernel.json"), "w", encoding="utf-8") as file:
                json.dump(spec, file)
        foreign = ("PYTHON", "JUPYTER", "PYTEST")
        self.env = {
            **{variable: value for variable, value in os.environ.items() if not variable.startswith(foreign)},
            "JUPYTER_PATH": os.path.join(self.work, "jupyter"),
            "PATH": os.path.join(folder, "venv", "bin") + os.pathsep + os.environ["PATH"],
        }

    def run(self, suite, tests):
        """Runs tests, or files of tests, and returns the results by test."""
        results, done = {}, []
        while True:
            code, said = self.once(suite, tests, done, results)
            if code in ENDED:
                return results
            begun = [test for test in results if results[test]["outcome"] == "began"]
            if not begun:
                raise SystemExit("%s's tests cannot run: %s" % (suite, said[-4000:]))
            for test in begun:  # it took pytest with it, or hung
                results[test].update(outcome="failed", why="pytest ended with %s: %s" % (code, said[-300:]))
            done = list(results)

    def once(self, suite, tests, done, results):
        out = os.path.join(self.work, "results")
        python = os.path.join(self.folder, "venv", "bin", "python")
        line = [python, os.path.join(HERE, "onesuite.py"), out, "-q", "-p", "no:cacheprovider", *OPTIONS[suite]]
        line += ["--timeout", "120", "--timeout-method", "signal"]
        for test in done:
            line += ["--deselect", test]
        with contextlib.suppress(FileNotFoundError):
            os.remove(out)
        process = subprocess.Popen(
            line + tests,
            cwd=os.path.join(self.folder, "src", suite),
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        try:
            said, _ = process.communicate(timeout=3600)
        finally:
            process.kill()
        with contextlib.suppress(FileNotFoundError), open(out, encoding="utf-8") as lines:
            for row in map(json.loads, lines):
                for what in self.counts:
                    self.counts[what] += row.get(what, 0)
                if row.get("began"):
                    results[row["began"]] = {"outcome": "began", "why": "", "kernels": 0}
                elif row["test"]:
                    results[row["test"]] = row
        return process.returncode, said


class Comparison:
    """One suite, with both."""

    def __init__(self, suite, plain, standby, tests):
        self.suite, self.kinds = suite, (plain, standby)
        self.plain, self.standby = plain.run(suite, tests), standby.run(suite, tests)
        self.flaky, self.late, self.different = [], [], []
        passed = [test for test, row in self.plain.items() if row["outcome"] == "passed"]
        bad = [test for test in passed if not self.passes(self.standby, test)]
        for _ in range(ONCE_MORE):
            if not bad:
                break
            plain_again, standby_again = (kind.run(suite, bad) for kind in self.kinds)
            self.flaky += [test for test in bad if not self.passes(plain_again, test)]
            good = [test for test in bad if self.passes(standby_again, test)]
            self.late += [test for test in good if test not in self.flaky]
            bad = [test for test in bad if test not in self.flaky and test not in good]
        self.different = bad

    @staticmethod
    def passes(results, test):
        return results.get(test, {}).get("outcome") == "passed"

    def why(self, test):
        return self.standby.get(test, {}).get("why") or "it did not run"

    def tell(self):
        print(LAYOUT % (self.suite, *self.row()))
        for test, row in self.plain.items():
            if row["outcome"] != "passed":
                print("  %s with plain: %s: %s" % (row["outcome"], test, row["why"][:160]))
        for test in self.flaky:
            print("  not counted, since it fails with plain too when repeated: %s: %s" % (test, self.why(test)[:160]))
        for test in self.late:
            print("  passed when repeated: %s: %s" % (test, self.why(test)[:160]))
        for test in self.different:
            print("  WORSE: %s: %s" % (test, self.why(test)))
        sys.stdout.flush()

    def row(self):
        ran = [row for row in self.plain.values() if row["outcome"] not in ("skipped", "xfailed")]
        passed = [sum(row["outcome"] == "passed" for row in one.values()) for one in (self.plain, self.standby)]
        took = [round(sum(row.get("seconds", 0) for row in one.values())) for one in (self.plain, self.standby)]
        return len(ran), *passed, len(self.flaky), len(self.late), len(self.different), *took


LAYOUT = "%-16s" + "%9s" * 8


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("plain", type=json.loads)
    parser.add_argument("standby", type=json.loads)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--standbys", action="store_true")
    args = parser.parse_args()
    tests = ALL if args.all else SHORT
    total = [0] * 8
    print(LAYOUT % ("", "ran", "plain", "standby", "flaky", "repeated", "worse", "plain s", "standby s"))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as work:
        plain = Kind("plain", args.plain, args.folder, work)
        standby = Kind("standby", args.standby, args.folder, work)
        for suite in sorted(tests):
            one = Comparison(suite, plain, standby, tests[suite])
            one.tell()
            total = [sum(column) for column in zip(total, one.row())]
    print(LAYOUT % ("together", *total))
    for kind in (plain, standby):
        print("%s: %s" % (kind.name, ", ".join("%d %s" % (n, what) for what, n in kind.counts.items())))
    for what, why in EXCLUDED.items() if args.all else ():
        print("not run: %s: %s" % (what, why))
    faults = []
    if total[5]:
        faults.append("%d of the tests that pass with plain do not pass with standby" % total[5])
    if total[1] < total[0] * 0.9:
        faults.append("only %d of %d tests pass with plain, which proves little" % (total[1], total[0]))
    seen, standbys = standby.counts["seen"], standby.counts["standbys"]
    if args.standbys and not 0 < seen <= 2 * standbys:
        faults.append("only %d of %d kernels that were looked at were standbys" % (standbys, seen))
    sys.exit("; ".join(faults) or None)


if __name__ == "__main__":
    main()
