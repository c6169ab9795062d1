"""What to install: the part of the helper that solves and reads lock files. helper.py follows, and has the rest."""

KERNEL = "ipykernel"


async def reached(req, config, client, channels, specs, platforms):
    """A gateway that knows what the channels have for the specs."""
    formats = config.repodata_config

    async def read(action):
        source = rattler.SourceConfig(
            cache_action=action,
            zstd_enabled=not formats.get("disable-zstd"),
            bz2_enabled=not formats.get("disable-bzip2"),
            sharded_enabled=not formats.get("disable-sharded"),
        )
        gateway = rattler.Gateway(cache_dir=Path(req["cache"]) / "repodata", default_config=source, client=client)
        found = await asyncio.wait_for(gateway.query(channels, platforms, specs), req["fetch_timeout"])
        return gateway, sum(map(len, found))

    bases = ", ".join(c.base_url for c in channels)
    tell("stage", name="resolving", text=f"reading {bases}")
    try:
        gateway, candidates = await read("no-cache" if req["renew"] else "cache-or-fetch")
    except Exception as error:
        silent = isinstance(error, TimeoutError | asyncio.TimeoutError)
        if req["renew"] or not (silent or UNREACHABLE.search(str(error))):
            raise
        try:
            gateway, candidates = await read("force-cache-only")
            makeshift.append(True)
        except Exception:
            if silent:
                fail("Timeout", f"{bases} did not answer in full within {req['fetch_timeout']:g} s")
            raise error from None
        tell("stage", name="resolving", text="the channels cannot be reached: what is known of them serves")
    tell("stage", name="resolving", text=f"solving with {candidates} candidates")
    return gateway


async def solved(req, gateway, channels, specs, platforms, **records):
    """What the channels have for the specs. records are those whose versions are preferred, or must not change."""
    try:
        return await rattler.solve(
            channels,
            specs,
            gateway=gateway,
            platforms=platforms,
            virtual_packages=rattler.VirtualPackage.detect(rattler.VirtualPackageOverrides.from_env()),
            timeout=datetime.timedelta(seconds=req["fetch_timeout"]),
            **records,
        )
    except SolverError as error:
        if "has been cancelled" in str(error):
            fail("SolverTimeout", f"rattler found no solution within {req['fetch_timeout']:g} s")
        raise


async def unsolvable(error, gateway, channels, specs, platforms):
    missing = []
    for name in dict.fromkeys(s.name.normalized for s in specs):
        if not name.startswith("__") and not any(await gateway.query(channels, platforms, [name], recursive=False)):
            missing.append(name)
    fail("SolverError", str(error), missing=missing)


async def extended(req, reach, channels, specs, platforms, records):
    """The records, with packages for the extra specs, and with the kernel if that can be. None of the records changes.

    Why the kernel cannot be added is the second result.
    """
    extra = [s for s in parsed(req["extra"]) if not any(s.matches(r) for r in records)]
    kernel = [rattler.MatchSpec(KERNEL)] if req["kernel"] and not any(r.name.normalized == KERNEL for r in records) else []
    if not extra and not kernel:
        return records, ""
    gateway = await reach(extra + kernel)
    here = [rattler.MatchSpec(r.name.normalized) for r in records]  # all of them, also those that nothing asks for
    why = ""
    if kernel:
        try:
            return await solved(req, gateway, channels, here + extra + kernel, platforms, pinned_packages=records), ""
        except SolverError as error:
            why = str(error)
    if not extra:
        return records, why
    try:
        return await solved(req, gateway, channels, here + extra, platforms, pinned_packages=records), why
    except SolverError as error:
        await unsolvable(error, gateway, channels, extra, platforms)


def parsed(texts):
    specs = []
    for spec in texts:
        try:
            specs.append(rattler.MatchSpec(spec))
        except InvalidMatchSpecError as error:
            fail("InvalidMatchSpecError", str(error), spec=spec)
    return specs


def locked(path, subdir):
    """The records in a lock file of the daemon's."""
    return rattler.LockFile.from_path(Path(path)).default_environment().conda_repodata_records().get(subdir) or []


class Pixi:
    """The default environment in a pixi.lock, for this platform."""

    def __init__(self, pixi, subdir):
        self.pixi, self.file = pixi, pixi["file"]
        try:
            environment = rattler.LockFile.from_path(Path(pixi["lock"])).environment("default")
        except Exception as error:
            fail("PixiLockError", f"{self.file} cannot be read: {error}")
        if environment is None:
            fail("PixiLockError", f"{self.file} has no environment named default")
        platforms = {str(p.subdir): p for p in reversed(environment.platforms())}
        if subdir not in platforms:
            fail("PixiPlatformError", f"{self.file} has nothing for {subdir}, but for {', '.join(sorted(platforms)) or 'no platform'}")
        packages = environment.packages(platforms[subdir]) or []
        built = [p.name for p in packages if isinstance(p, rattler.lock.CondaLockedSourcePackage)]
        if built:
            fail("PixiSourceError", f"{self.file} has {', '.join(built)}, which pixi builds from source, and nothing else does")
        self.channels = [str(c) for c in environment.channels()]
        self.records = environment.conda_repodata_records_for_platform(platforms[subdir]) or []
        self.pypi = [p for p in packages if isinstance(p, rattler.lock.PypiLockedPackage)]

    def check(self):
        """Sees that the lock file has what the manifest wants."""
        names = {r.name.normalized for r in self.records}
        paths = {self.path(p.location) for p in self.pypi}
        for text in self.pixi["specs"]:
            [spec] = parsed([text.rpartition("::")[2]])  # a record of a lock file does not know its channel by that name
            if not any(spec.matches(r) for r in self.records):
                self.outdated(text)
        for requirement in self.pixi["requirements"]:
            # pixi takes a conda package for one of PyPI
            if requirement["name"] not in names and not any(self.meets(p, requirement) for p in self.pypi):
                self.outdated(requirement["text"])
        for path in self.pixi["paths"]:
            if self.path(path) not in paths:
                self.outdated(path)

    @staticmethod
    def meets(package, requirement):
        try:
            return package.satisfies(requirement["text"])
        except Exception:  # it is written in a way of pixi's own, so the name has to do
            return package.satisfies(requirement["name"])

    def path(self, location):
        return os.path.normpath(os.path.join(os.path.dirname(self.file), unquote(location.removeprefix("file://"))))

    def outdated(self, what):
        fail("PixiLockOutdated", f"{self.file} is older than {self.pixi['manifest']}: it has nothing for {what}")

    def distributions(self):
        # rattler reads this, and does not tell it
        editable = set()
        for entry in re.split(r"^- ", Path(self.pixi["lock"]).read_text(encoding="utf-8"), flags=re.MULTILINE):
            place = re.search(r"^(?:  )?(?:pypi|path|url): *['\"]?([^'\"\n]+)", entry, re.MULTILINE)
            if place and re.search(r"^  editable: true\s*$", entry, re.MULTILINE):
                editable.add(self.path(place[1].strip()))
        for p in self.pypi:
            sha256 = getattr(p.hashes, "sha256", None)  # without any hash there is no such attribute
            yield {
                "name": p.name,
                "location": p.location,
                "sha256": sha256.hex() if sha256 else "",
                "editable": self.path(p.location) in editable,
            }
