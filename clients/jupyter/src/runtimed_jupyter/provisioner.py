"""The kernel provisioner `runtimed` of jupyter_client: it starts kernels in warm environments."""

import contextlib
import dataclasses
import functools
import json
import os
import pathlib
import secrets
import sys
from typing import Any, Optional, Union, cast

from jupyter_client.multikernelmanager import MultiKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from runtimed_client import AsyncClient, Env, Progress, RPCError, RuntimedError, Standby
from runtimed_client._start import find_runt
from runtimed_client._values import decode
from traitlets import Bool, Dict, Enum, Float, TraitError, Unicode, default, validate
from traitlets import Union as Either

from .project import AUTO, checked, falls_back, located, options, with_first_line
from .running import Adopted, Running
from .standby import Refused, adopt, is_python, why_plain

FAILING_WAIT = 5.0  # seconds, for a pool that has nothing and whose last build failed
unreleased: set[str] = set()  # environments that no daemon has taken back yet


def is_plain(argv: list[str]) -> bool:
    """Whether it starts ipykernel in Jupyter's own Python. Any other Python was chosen for what is installed in it."""
    if not is_python(argv) or not {("-m", "ipykernel_launcher"), ("-m", "ipykernel")} & set(zip(argv, argv[1:])):
        return False
    folder = os.path.dirname(argv[0])
    if not folder:  # jupyter_client knows these three names
        major, minor = sys.version_info[:2]
        return argv[0] in ("python", f"python{major}", f"python{major}.{minor}")
    with contextlib.suppress(OSError):  # virtual environments share one Python by links, so the folder decides
        return os.path.samefile(folder, os.path.dirname(sys.executable)) and os.path.samefile(argv[0], sys.executable)
    return False


def label_of(session: str) -> str:
    """The label in `runt env list`."""
    name = "".join(char for char in os.path.basename(session) if char.isprintable())
    return "Jupyter: " + name.encode()[:200].decode(errors="ignore")


def explain(error: RuntimedError, of: str) -> str:
    """All that is known about a failure: a front-end shows this text only, and what to do comes first."""
    lines = [f"hint: {error.hint}"] if error.hint else []
    lines.append(f"no environment of the {of} for the kernel: {error.message}")
    if isinstance(error, RPCError):
        lines.append(str(error.data.get("output") or ""))
    return "\n".join(lines).strip()


class RuntimedProvisioner(LocalProvisioner):
    """Runs a kernel in an environment of a pool. Its traits are `config` in a kernelspec, or `c.RuntimedProvisioner`.

    A kernelspec that names this provisioner always gets an environment. If it is Jupyter's default provisioner, so does
    a kernelspec that starts ipykernel in Jupyter's own Python; all others start as with LocalProvisioner.
    """

    pool = Unicode(config=True, help="The pool that the environment comes from; default: uv, or what a project needs.")
    project = Either(
        [Unicode(), Dict()],
        config=True,
        help="The project that it is made for: a path, or a dict of path, extras, groups and frozen. The path may be"
        ' "auto": what is at the notebook\'s folder or above, and the plain pool if nothing is.',
    )
    wait_time = Float(60.0, min=0.0, config=True, help="Seconds to wait for one; `wait` in a kernelspec.")
    autostart = Bool(True, config=True, help="Start a daemon if none runs.")
    on_restart = Enum(["keep", "fresh"], "keep", config=True, help="Whether a restarted kernel keeps its environment.")
    linger = Float(60.0, min=0.0, max=3600.0, config=True, help="Seconds to keep a dead kernel's environment.")
    outlive = Bool(config=True, help="The kernel survives a crash of Jupyter; default: if a server started it.")

    def __init__(self, **kwargs: Any) -> None:
        if "wait" in kwargs:  # the name of a method here, so no trait can have it
            kwargs["wait_time"] = kwargs.pop("wait")
        if unknown := kwargs.keys() - set(self.class_trait_names()):  # traitlets would only warn
            names = ", ".join(sorted(unknown))
            known = "pool, project, wait, autostart, on_restart, linger and outlive"
            raise TraitError(f"runtimed's kernel_provisioner config has {known}, not {names}")
        super().__init__(**kwargs)
        self.lease: Optional[Env] = None
        self._standby: Optional[Standby] = None  # of the lease, for the next start
        self._adopted: Optional[Adopted] = None
        self._last_progress = ""
        self._ran = False  # a kernel was started before
        self._session: Optional[str] = None  # only this provisioner gets the environment of a kernel that died
        self._banner = ""  # the first line of the kernel's

    @validate("project")
    def _checked_project(self, proposal: dict[str, Any]) -> Union[str, dict[str, Any]]:
        return checked(proposal["value"])

    @default("outlive")
    def _outlive_default(self) -> bool:
        return isinstance(getattr(self.parent, "parent", None), MultiKernelManager)

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Get an environment, unless a restarted kernel still has one. Every failure is a RuntimedError."""
        argv = self.kernel_spec.argv
        named = "provisioner_name" in self.kernel_spec.metadata.get("kernel_provisioner", {})
        if not named and not is_plain(argv):
            return await super().pre_launch(**kwargs)
        self._standby, self._banner = None, ""
        why = why_plain(argv, kwargs, kwargs.get("env"), self.kernel_spec.env)
        try:
            env = await self._environment(kwargs, not why)
        except RuntimedError as error:
            runt = find_runt() if self._ran else None
            if runt is None:
                raise
            # jupyter_server tells nobody why a restart failed. This kernel does, in each cell, unless it can start now.
            self.log.error("%s", error)
            launch = await super().pre_launch(**kwargs)
            launch["cmd"] = [runt, "kernel", "-f", cast(Any, self.parent).connection_file, *self._options(kwargs)]
            launch.setdefault("independent", self.outlive)
            return launch
        if self._standby is None:
            self.log.debug("A plain kernel: %s", why or "its environment has no standby")
        try:
            await self._release_all()
            launch = await super().pre_launch(**kwargs)
        except BaseException:
            await self._release()
            raise
        if is_python(argv):
            launch["cmd"] = [env.python, *launch["cmd"][1:]]
        launch["env"] = env.environ(launch["env"])
        if launch.setdefault("independent", self.outlive):
            launch["env"].pop("JPY_PARENT_PID", None)  # set if Jupyter was started in a kernel
        return launch

    def _options(self, arguments: dict[str, Any]) -> list[str]:
        """What asks `runt kernel` for the same environment."""
        args = [f"--wait={self.wait_time}s", "--on-restart", self.on_restart]
        if self.pool:
            args += ["--pool", self.pool]
        if not self.autostart:
            args.append("--no-start")
        if not self.project:
            return args
        return args + (["--project", AUTO] if falls_back(self.project) else options(located(self.project, arguments)))

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        try:
            if await self._become(cmd, kwargs):
                return self.connection_info
            if self._banner:
                cmd = with_first_line(cmd, self._banner)
            return await super().launch_kernel(cmd, **kwargs)
        except BaseException:
            await self._release()
            raise

    async def _become(self, cmd: list[str], arguments: dict[str, Any]) -> bool:
        """Whether the standby, if there is one, is the kernel now."""
        standby, self._standby = self._standby, None
        if standby is None:
            return False
        try:
            self._adopted = await adopt(standby, cmd, arguments, self.connection_info, self._banner)
        except (Refused, OSError, ValueError) as why:
            self.log.debug("A plain kernel: %s", why)
            return False
        self.process = cast(Any, self._adopted)
        self.pid = self.pgid = standby.pid
        self.cwd = arguments.get("cwd", pathlib.Path.cwd())
        return True

    async def post_launch(self, **kwargs: Any) -> None:
        """Give the lease to the kernel, which may outlive this process."""
        await super().post_launch(**kwargs)
        self._ran = True
        await self._adopt(self.pid)

    async def cleanup(self, restart: bool = False) -> None:
        """Give the environment back, unless the kernel is restarted in it."""
        try:
            await super().cleanup(restart=restart)
        finally:
            if self._adopted:
                self._adopted.close()
                self._adopted = None
            if not restart or self.on_restart == "fresh":
                await self._release()

    async def get_provisioner_info(self) -> dict[str, Any]:
        env = None
        if self.lease is not None:
            members = dataclasses.asdict(self.lease)
            env = json.loads(json.dumps({member.name: members[member.name] for member in dataclasses.fields(Env)}))
        return {**await super().get_provisioner_info(), "env": env, "session": self._session}

    async def load_provisioner_info(self, provisioner_info: dict[str, Any]) -> None:
        """Take over a kernel that another process started. If it lives, it can be signalled and restarted."""
        await super().load_provisioner_info(provisioner_info)
        env = provisioner_info.get("env")
        self.lease = None if env is None else decode(Env, env, "env")
        self._session, self._ran = provisioner_info.get("session"), True
        if self.pid and await self._adopt(self.pid) and sys.platform != "win32":
            self.process = cast(Any, Running(self.pid))

    async def _kept(self) -> Optional[Env]:
        """The environment of the kernel that is restarted, if it still has one."""
        if self.lease is not None:
            await self._adopt(os.getpid())
            if self.lease is None:
                self.log.warning("The kernel's environment is gone. It gets a fresh one, without what was installed.")
        return self.lease

    async def _environment(self, arguments: dict[str, Any], standby: bool) -> Env:
        """The environment for a kernel of these arguments."""
        session = (arguments.get("env") or {}).get("JPY_SESSION_NAME")  # the notebook's path
        label = label_of(session or self.kernel_id or "")
        if not self.project:
            return await self._kept() or await self._acquire(label, standby)
        try:
            # Not what is kept: the project may have changed. If it has not, the session gets the same one again.
            return await self._acquire(label, standby, located(self.project, arguments))
        except RuntimedError as error:
            if error.kind != "no_project" or not falls_back(self.project):
                raise
        kept = await self._kept() if self.lease is None or self.lease.project is None else None
        env = kept or await self._acquire(label, standby)
        self._banner = f"Note: there is no project here: this environment has the packages of the pool {env.pool}."
        self.log.info(self._banner)
        return env

    async def _acquire(self, label: str, standby: bool, project: Optional[dict[str, Any]] = None) -> Env:
        """Lease an environment, instead of the one that a restarted kernel had."""
        of = f"project {project['path']}" if project else f"pool {self.pool or 'uv'}"
        if self.on_restart == "keep":
            self._session = self._session or secrets.token_hex(16)
        try:
            async with AsyncClient(autostart=self.autostart) as client:
                env = await client.acquire(
                    self.pool or None,
                    wait=self.wait_time if project else await self._patience(client),
                    progress=functools.partial(self._log_progress, of),
                    label=label,
                    session=self._session if self.on_restart == "keep" else None,
                    linger=self.linger if self.on_restart == "keep" else None,
                    standby=standby,
                    project=project,
                )
        except RuntimedError as error:
            raise RuntimedError(explain(error, of), kind=error.kind) from error
        waited = env.waited_ms / 1000
        self.log.info("The kernel gets the environment %s (%s, after %.1f s).", env.id, env.source, waited)
        if self.lease is not None and self.lease.id != env.id:
            self.log.warning("It is another one than before, without what was installed into %s.", self.lease.id)
            unreleased.add(self.lease.id)
        unreleased.discard(env.id)  # the session may get again what was to be released
        self.lease, self._standby = env, env.standby
        return env

    async def _patience(self, client: AsyncClient) -> float:
        """How long to wait. If builds fail, whoever opened the notebook should hear of it soon."""
        try:
            status = next((pool for pool in (await client.status()).pools if pool.name == (self.pool or "uv")), None)
        except RuntimedError:
            return self.wait_time  # the acquire says why, or finds the next daemon
        if status and status.error and not status.available and not status.warming:
            return min(self.wait_time, FAILING_WAIT)
        return self.wait_time

    def _log_progress(self, of: str, progress: Progress) -> None:
        text = f"{progress.stage}: {progress.message}" if progress.message else progress.stage
        if text != self._last_progress:
            self.log.info("The kernel waits for an environment of the %s: %s", of, text)
        self._last_progress = text

    async def _adopt(self, pid: Optional[int]) -> bool:
        """Hand the lease, if there still is one, to a process. False if that failed."""
        if self.lease is None or pid is None:
            return False
        try:
            async with AsyncClient() as client:
                await client.adopt(self.lease, pid)
            return True
        except RuntimedError as error:
            if error.kind == "unknown_env":
                self.lease = None
            else:
                self.log.warning("The lease of %s could not be handed to process %d: %s", self.lease.id, pid, error)
            return False

    async def _release(self) -> None:
        if self.lease is not None:
            unreleased.add(self.lease.id)
            self.lease = self._session = None
        await self._release_all()

    async def _release_all(self) -> None:
        """Release what is no longer needed, also what no daemon answered for before. A server lives long."""
        for id in list(unreleased):
            try:
                async with AsyncClient() as client:
                    await client.release(id)
            except RuntimedError as error:
                if error.kind != "unknown_env":  # that lease ended with its kernel
                    self.log.warning("The environment %s cannot be given back yet: %s", id, error)
                    return
            unreleased.discard(id)
