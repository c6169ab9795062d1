"""The kernel provisioner `runtimed` of jupyter_client: kernels in warm environments. README.md says how Jupyter is told to use it."""

import contextlib
import dataclasses
import json
import os
import re
import secrets
import signal
import sys
from typing import Any, Optional, cast

from jupyter_client.multikernelmanager import MultiKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from runtimed_client import AsyncClient, Env, Progress, RPCError, RuntimedError
from traitlets import Bool, Enum, Float, TraitError, Unicode, default

PYTHON = re.compile(r"pythonw?(\d+(\.\d+)?)?(\.exe)?", re.IGNORECASE)
OURS = (
    "python",
    f"python{sys.version_info[0]}",
    f"python{sys.version_info[0]}.{sys.version_info[1]}",
)  # as jupyter_client has them
owed: set[str] = set()  # environments that could not be given back, since no daemon answered


def is_python(argv: list[str]) -> bool:
    return bool(argv) and PYTHON.fullmatch(os.path.basename(argv[0])) is not None


def is_plain(argv: list[str]) -> bool:
    """Whether these start ipykernel in the Python that runs Jupyter. Any other was chosen for what is installed there."""
    if not is_python(argv) or not {("-m", "ipykernel_launcher"), ("-m", "ipykernel")} & set(zip(argv, argv[1:])):
        return False
    folder = os.path.dirname(argv[0])
    if not folder:
        return argv[0] in OURS
    with contextlib.suppress(
        OSError
    ):  # a venv's Python is a link to one that others link to as well, so the folder decides
        return os.path.samefile(folder, os.path.dirname(sys.executable)) and os.path.samefile(argv[0], sys.executable)
    return False


def label_of(session: str) -> str:
    """What `runt env list` shows."""
    name = "".join(char for char in os.path.basename(session) if char.isprintable())
    return "Jupyter: " + name.encode()[:200].decode(errors="ignore")


def told(error: RuntimedError, pool: str) -> str:
    """All that the daemon said of a failure. A front-end shows this text and no more."""
    lines = [f"no environment of the pool {pool} for the kernel: {error.message}"]
    if error.hint:
        lines.append(f"hint: {error.hint}")
    if isinstance(error, RPCError):
        lines.append(str(error.data.get("output") or ""))
    return "\n".join(lines).strip()


FAILING_WAIT = 5.0  # seconds, for a pool that has nothing and whose last build failed


def is_zombie(pid: int) -> bool:
    """Whether it has ended and its parent does not care, as in many a container. Known on Linux alone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rpartition(b") ")[2][:1] in (b"Z", b"X")
    except OSError:
        return False


class Running:
    """A kernel that another process started, as LocalProvisioner would see its Popen. Its exit code is nobody's to know: 0."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def poll(self) -> Optional[int]:
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(self.pid) == self.pid and not is_zombie(self.pid):
                return None  # Jupyter gives each kernel a session; a stranger with its number has another
        return 0

    def wait(self) -> int:
        return 0  # it is asked after poll() told the end

    def send_signal(self, signum: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, signum)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


class RuntimedProvisioner(LocalProvisioner):
    """Has a kernel run in an environment of a pool. The traits are the `config` of a kernelspec, or `c.RuntimedProvisioner`.

    A kernelspec that names this provisioner always gets an environment. Where this is Jupyter's default, one gets it that starts
    ipykernel in Jupyter's own Python, and the others are started as by LocalProvisioner.
    """

    pool = Unicode("uv", config=True, help="The pool that the environment comes from.")
    wait_time = Float(
        60.0, min=0.0, config=True, help="Seconds to wait for an environment; a kernelspec may call it wait."
    )
    autostart = Bool(True, config=True, help="Have a daemon started where none runs.")
    on_restart = Enum(["keep", "fresh"], "keep", config=True, help="Whether a restarted kernel keeps its environment.")
    linger = Float(
        60.0, min=0.0, max=3600.0, config=True, help="Seconds that it is kept for, from the end of the kernel on."
    )
    outlive = Bool(
        config=True, help="The kernel goes on when Jupyter crashes: that of a server by default, that of a script not."
    )

    def __init__(self, **kwargs: Any) -> None:
        if "wait" in kwargs:  # that is a method here, so no trait can have the name
            kwargs["wait_time"] = kwargs.pop("wait")
        if unknown := kwargs.keys() - set(
            self.class_trait_names()
        ):  # traitlets would only warn, and start another kernel than was meant
            names = ", ".join(sorted(unknown))
            known = "pool, wait, autostart, on_restart, linger and outlive"
            raise TraitError(f"runtimed's kernel_provisioner config has {known}, and no {names}")
        super().__init__(**kwargs)
        self.lease: Optional[Env] = None
        self._told = ""

    @default("outlive")
    def _outlive_default(self) -> bool:
        return isinstance(getattr(self.parent, "parent", None), MultiKernelManager)

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Get an environment, unless a restarted kernel has one still. Failures are RuntimedErrors that say everything."""
        argv = self.kernel_spec.argv
        named = "provisioner_name" in self.kernel_spec.metadata.get("kernel_provisioner", {})
        if not named and not is_plain(argv):
            return await super().pre_launch(**kwargs)
        session = (kwargs.get("env") or {}).get("JPY_SESSION_NAME")  # the notebook's path
        env = await self._kept() or await self._acquire(label_of(session or self.kernel_id or ""))
        try:
            await self._settle()
            launch = await super().pre_launch(**kwargs)
        except BaseException:
            await self._give_back()
            raise
        if is_python(argv):
            launch["cmd"] = [env.python, *launch["cmd"][1:]]
        launch["env"] = env.environ(launch["env"])
        if launch.setdefault("independent", self.outlive):
            launch["env"].pop("JPY_PARENT_PID", None)  # that of a kernel in which Jupyter was started
        return launch

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        try:
            return await super().launch_kernel(cmd, **kwargs)
        except BaseException:
            await self._give_back()
            raise

    async def post_launch(self, **kwargs: Any) -> None:
        """Have the lease belong to the kernel, whatever becomes of this process."""
        await super().post_launch(**kwargs)
        await self._hand_to(self.pid)

    async def cleanup(self, restart: bool = False) -> None:
        """Give the environment back, unless the kernel is restarted in it."""
        try:
            await super().cleanup(restart=restart)
        finally:
            if not restart or self.on_restart == "fresh":
                await self._give_back()

    async def get_provisioner_info(self) -> dict[str, Any]:
        env = None
        if self.lease is not None:
            members = dataclasses.asdict(self.lease)
            env = json.loads(json.dumps({member.name: members[member.name] for member in dataclasses.fields(Env)}))
        return {**await super().get_provisioner_info(), "env": env}

    async def load_provisioner_info(self, provisioner_info: dict[str, Any]) -> None:
        """Take over a kernel that another process started and left: if it lives, it can be polled, signalled, shut down and restarted."""
        await super().load_provisioner_info(provisioner_info)
        env = provisioner_info.get("env")
        self.lease = None if env is None else Env(**env)
        if self.pid and await self._hand_to(self.pid) and sys.platform != "win32":
            self.process = cast(Any, Running(self.pid))

    async def _kept(self) -> Optional[Env]:
        """The environment of the kernel that was there before, if it is there still."""
        if self.lease is not None:
            await self._hand_to(os.getpid())
            if self.lease is None:
                self.log.warning(
                    "The kernel's environment was given back meanwhile: it gets a fresh one, without what was installed."
                )
        return self.lease

    async def _acquire(self, label: str) -> Env:
        # The session is for the time that the environment stays after the kernel: nobody else can know its name.
        session, linger = (secrets.token_hex(16), self.linger) if self.on_restart == "keep" else (None, None)
        try:
            async with AsyncClient(autostart=self.autostart) as client:
                wait = await self._patience(client)
                env = await client.acquire(
                    self.pool, wait=wait, label=label, session=session, linger=linger, progress=self._tell
                )
        except RuntimedError as error:
            raise RuntimedError(told(error, self.pool), kind=error.kind) from error
        self.log.info(
            "The kernel gets the environment %s (%s, after %.1f s).", env.id, env.source, env.waited_ms / 1000
        )
        self.lease = env
        return env

    async def _patience(self, client: AsyncClient) -> float:
        """Whoever has opened a notebook wants to know at once that builds fail, and not after the next try."""
        status = next((pool for pool in (await client.status()).pools if pool.name == self.pool), None)
        if status and status.error and not status.available and not status.warming:
            return min(self.wait_time, FAILING_WAIT)
        return self.wait_time

    def _tell(self, progress: Progress) -> None:
        said = f"{progress.stage}: {progress.message}" if progress.message else progress.stage
        if said != self._told:
            self.log.info("The kernel waits for an environment of the pool %s: %s", self.pool, said)
        self._told = said

    async def _hand_to(self, pid: Optional[int]) -> bool:
        """Have the lease, if there is one still, belong to that process; whether it does."""
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

    async def _give_back(self) -> None:
        if self.lease is not None:
            owed.add(self.lease.id)
            self.lease = None
        await self._settle()

    async def _settle(self) -> None:
        """End the leases that this process has no use for. One that no daemon hears of now is told to the next: a server lives long."""
        for id in list(owed):
            try:
                async with AsyncClient() as client:
                    await client.release(id)
            except RuntimedError as error:
                if error.kind != "unknown_env":  # that one has ended already, with its kernel
                    self.log.warning("The environment %s cannot be given back yet: %s", id, error)
                    return
            owed.discard(id)
