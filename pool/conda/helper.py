"""Make a conda environment with rattler. One JSON object on stdin says what; stdout gets one a line:

{"event": "stage", "name": ..., and what is known of it}, and at the end {"event": "done", "pypi", "no_kernel"} or
{"event": "error", "type", "text", ...}.
Without "done" and exit code 0, what is at the prefix is no environment. What is in solving.py comes before this.
"""

import asyncio
import datetime
import hashlib
import json
import os
import re
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

out = os.dup(1)  # for events alone: link scripts and panics print too
os.dup2(2, 1)
telling = threading.Lock()


def tell(event, **fields):
    try:
        with telling:
            os.write(out, json.dumps({"event": event, **fields}).encode() + b"\n")
    except OSError:
        os._exit(1)  # nobody listens


def fail(kind, text, **fields):
    tell("error", type=kind, text=text, **fields)
    os._exit(1)  # not sys.exit: rattler's threads crash an interpreter that winds down


try:
    import rattler
    import rattler.lock
    from rattler import InstallerReporter
    from rattler.exceptions import InvalidMatchSpecError, SolverError
    from rattler.package_cache import ValidationMode
except Exception as error:  # a crash of the machine may have left files without an end, or empty
    fail("ImportError", f"{type(error).__name__}: {error}")

makeshift = []  # not empty: what was known of the channels had to do
tell_at_end = {}
UNREACHABLE = re.compile(r"error sending request|dns error|connection (refused|reset|closed)|timed out|status server error", re.IGNORECASE)


class Progress(InstallerReporter):
    """Counts what rattler's threads report. The integers that they are given come back with later calls on the same package."""

    def __init__(self, records, lacking):
        self.lock = threading.Lock()
        self.total, self.linked, self.fetched = len(records), 0, 0
        self.files = {r.name.normalized: r for r in records}
        self.sizes = {r.name.normalized: r.size or 0 for r in lacking}
        self.bytes, self.names, self.flowing, self.failed = {}, [], {}, []
        self.heard = self.shown = 0.0

    def begin(self, name):
        with self.lock:
            self.heard = time.monotonic()
            self.names.append(name)
            return len(self.names) - 1

    def show(self, whole=False):
        self.heard = now = time.monotonic()
        if now - self.shown < 0.2 and not whole:
            return
        self.shown = now
        if self.fetched < len(self.sizes):
            counts = {"bytes": sum(self.bytes.values()), "bytes_total": sum(self.sizes.values())}
            tell("stage", name="downloading", done=self.fetched, total=len(self.sizes), **counts)
        else:
            tell("stage", name="installing", done=self.linked, total=self.total)

    def on_populate_cache_start(self, operation, package_name):
        return self.begin(package_name)

    def on_download_start(self, cache_entry):
        token = self.begin(self.names[cache_entry])
        self.flowing[token] = self.names[cache_entry]
        return token

    def on_download_progress(self, download_idx, progress, total):
        name = self.names[download_idx]
        with self.lock:
            if name in self.sizes:  # else a damaged one is fetched again while others are installed
                self.bytes[name] = max(self.bytes.get(name, 0), min(progress, self.sizes[name]))
            self.show()

    def on_download_completed(self, download_idx):
        self.flowing.pop(download_idx, None)

    def on_populate_cache_complete(self, cache_entry):
        name = self.names[cache_entry]
        with self.lock:
            if name in self.sizes:
                self.fetched, self.bytes[name] = self.fetched + 1, self.sizes[name]
                self.show(whole=self.fetched == len(self.sizes))

    def on_link_start(self, operation, package_name):
        return self.begin(package_name)

    def on_link_complete(self, index):
        with self.lock:
            self.linked += 1
            self.show(whole=self.linked == self.total)

    def on_post_link_start(self, package_name, script_path):
        return self.begin(package_name)

    def on_post_link_complete(self, index, success):
        if not success:
            self.failed.append(self.names[index])


def watch(req, progress):
    """Runs beside the rest: nothing may go on for ever, nor without the daemon."""
    while True:
        time.sleep(0.1)
        if os.name != "nt" and os.getppid() != req["parent"]:  # there a venv's python.exe is in between, and a job object ends us
            os._exit(1)
        flowing = list(progress[-1].flowing.values()) if progress else []
        if flowing and time.monotonic() - progress[-1].heard > req["stall_timeout"]:
            hosts = sorted({urlsplit(progress[-1].files[name].url).netloc for name in flowing})
            fail("Timeout", f"{' and '.join(hosts)} sent nothing of {', '.join(flowing[:3])} for {req['stall_timeout']:g} s")


def settings(req):
    """The user's rattler configuration and a client after it, and the channels without their credentials.

    Those go to rattler as it gets them from the user's own login, by host: as part of a URL they would be written into every
    environment and lock file.
    """
    config = rattler.Config.load_from_default_locations("rattler")
    channels, logins = [], {}
    for url in req["channels"]:
        parts = urlsplit(url) if "://" in url else None
        if parts and parts.username is not None:
            login = {"BasicHTTP": {"username": unquote(parts.username), "password": unquote(parts.password or "")}}
            if logins.setdefault(parts.hostname, login) != login:
                fail("CredentialsError", f"the channels at {parts.hostname} have different credentials, and rattler knows one a host")
            url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        channels.append(rattler.Channel(url))
    if not logins:
        return config, rattler.Client.from_config(config, max_retries=2), channels
    theirs = config.authentication_override_file or os.environ.get("RATTLER_AUTH_FILE")
    if theirs and Path(theirs).exists():
        try:
            logins = json.loads(Path(theirs).read_bytes()) | logins
        except (OSError, ValueError, TypeError) as error:
            fail("AuthenticationStorageError", f"{theirs}: {error}")
    file, name = tempfile.mkstemp(prefix=".auth-", dir=req["cache"])
    try:
        with os.fdopen(file, "w") as file:
            json.dump(logins, file)
        if config.authentication_override_file:
            config.set("authentication-override-file", name)
        else:
            os.environ["RATTLER_AUTH_FILE"] = name
        return config, rattler.Client.from_config(config, max_retries=2), channels
    finally:
        os.unlink(name)  # the client has read it


def unchanged(record):
    """What comes from a server is compared by rattler itself."""
    if not record.url.startswith("file://") or not record.sha256:
        return
    path = unquote(urlsplit(record.url).path)
    with open(path[1:] if os.name == "nt" else path, "rb") as file:
        got = hashlib.sha256()
        while chunk := file.read(1 << 20):
            got.update(chunk)
    if got.digest() != record.sha256:
        fail("HashMismatch", f"hash mismatch of {record.url}: expected {record.sha256.hex()}, got {got.hexdigest()}")


async def make(req, progress):
    subdir = rattler.Subdir.current()
    platforms = [subdir, rattler.Subdir("noarch")]
    specs, pixi, why, gateways = parsed(req["specs"]), None, "", []
    if req["pixi"]:
        pixi = Pixi(req["pixi"], str(subdir))
        if not req["pixi"]["frozen"]:
            pixi.check()
        req["channels"] = req["channels"] or pixi.channels
    config, client, channels = settings(req)

    async def reach(wanted):
        if not gateways:
            gateways.append(await reached(req, config, client, channels, wanted, platforms))
        return gateways[0]

    if req["from"]:
        records = locked(req["from"], str(subdir))
        if not records:
            fail("ParseCondaLockError", f"the lock file has no packages for {subdir}")
    else:
        if pixi:
            records = pixi.records
        else:
            prefer = locked(req["prefer"], str(subdir)) if req["prefer"] else []
            gateway = await reach(specs)
            try:
                records = await solved(req, gateway, channels, specs, platforms, locked_packages=prefer)
            except SolverError as error:
                await unsolvable(error, gateway, channels, specs, platforms)
        before = len(records)
        records, why = await extended(req, reach, channels, specs, platforms, records)
        if pixi and len(records) == before:
            req["to"] = ""  # the project's own lock file says it all
    tell_at_end.update(pypi=list(pixi.distributions()) if pixi else [], no_kernel=why)
    if req["to"]:
        platform = rattler.LockPlatform(str(subdir))
        lock = rattler.LockFile([platform])
        lock.set_channels("default", [rattler.LockChannel(c.base_url) for c in channels])
        for record in records:
            lock.add_conda_package("default", platform, record)
        lock.to_path(Path(req["to"]))
        os.chmod(req["to"], 0o600)
        if makeshift:
            os.utime(req["to"], (1, 1))  # it is to be renewed soon
    if not req["prefix"]:
        return
    # in full: environments are hard links into the cache, so that what is edited in one of them is edited in the cache
    cache = rattler.PackageCache.new_layered([Path(req["cache"]) / "pkgs"], validation_mode=ValidationMode.full())
    index = await cache.index()
    lacking = [r for r in records if not index.contains_record(r)]
    progress.append(Progress(records, lacking))
    progress[-1].show(whole=True)
    for record in lacking:
        unchanged(record)
    if req["copy"]:
        config.set("allow-hard-links", "false")
    await rattler.install(
        records,
        req["prefix"],
        package_cache=cache,
        platform=subdir,
        client=client,
        config=config,
        reporter=progress[-1],
        show_progress=False,
        execute_link_scripts=config.run_post_link_scripts != "false",
        requested_specs=[s._match_spec for s in specs + parsed(req["extra"])],  # 0.28 takes the inner objects alone
    )
    if progress[-1].failed:
        fail("ScriptError", f"the post-link script of {', '.join(progress[-1].failed)} failed")
    there = set(os.listdir(Path(req["prefix"], "conda-meta")))
    absent = [f for r in records if (f := f"{r.name.normalized}-{r.version}-{r.build}.json") not in there]
    if absent:
        fail("Incomplete", f"not in conda-meta after the installation: {', '.join(absent)}")


def main():
    req, progress = json.load(sys.stdin), []
    for part, names in (req, ("specs", "extra", "channels")), (req["pixi"] or {}, ("specs", "requirements", "paths")):
        part.update({name: part.get(name) or [] for name in names})  # Go has null for an empty list
    threading.Thread(target=watch, args=(req, progress), daemon=True).start()
    try:
        asyncio.run(make(req, progress))
    except BaseException as error:  # a panic of rattler's is no Exception
        fail(type(error).__name__, str(error) or repr(error))
    tell("done", **tell_at_end)
    os._exit(0)


main()
