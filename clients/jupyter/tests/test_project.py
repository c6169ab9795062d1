"""Kernels of a notebook's project: what the provisioner asks for, and what it does where there is none."""

import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import Any, Optional

import pytest
from fake import FakeDaemon, Peer, older
from jupyter_client.manager import AsyncKernelManager
from kernels import ARGV, WAIT, client, env_of, of, owner, provisioner, run, spec
from lab import built
from runtimed_client import Project, RuntimedError
from test_standby import is_adopted, until_ready
from traitlets import TraitError

from runtimed_jupyter import RuntimedProvisioner
from runtimed_jupyter.project import folder_of, with_first_line

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("installed", "place")]
NO_PROJECT = {
    "code": -32008,
    "message": "there is no project at /there or above",
    "data": {"kind": "no_project", "hint": "a project has one of: uv.lock, pyproject.toml"},
}
Answer = dict[str, Any]


class Projects:
    """A fake daemon's projects, by their paths. A session gets its environment again while its project's lock is so."""

    def __init__(self, fake: FakeDaemon) -> None:
        self.fake, self.locks = fake, dict[str, str]()
        self.asked: list[Answer] = []
        self.made: dict[tuple[str, str, str], str] = {}  # session, path, lock -> the environment
        fake.hook = self.acquire

    def acquire(self, peer: Peer, request: Answer) -> bool:
        if request["method"] != "pool.acquire":
            return False
        params = request["params"]
        self.asked.append(params)
        project = params.get("project")
        if not project:
            return False
        lock = self.locks.get(project["path"])
        if lock is None:
            peer.send({"id": request["id"], "error": NO_PROJECT})
            return True
        made = (params.get("session", ""), project["path"], lock)
        answer = self.fake.answer("pool.acquire", params)["result"]
        id = self.made.setdefault(made, answer["env"]["id"])
        if id != answer["env"]["id"]:
            self.fake.leases[id] = self.fake.leases.pop(answer["env"]["id"])
        said = {"path": project["path"], "file": f"{project['path']}/uv.lock"}
        peer.send({"id": request["id"], "result": {**answer, "env": {**answer["env"], "id": id, "project": said}}})
        return True


@pytest.fixture
def projects(fake: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> Projects:
    monkeypatch.setenv("RUNTIMED_SOCKET", fake.path)
    return Projects(fake)


async def launched(made: RuntimedProvisioner, **arguments: Any) -> str:
    """Has it get an environment, as a start does; which one."""
    await made.pre_launch(**arguments)
    assert made.lease
    return made.lease.id


# ---- what is asked for


def test_the_folder_of_a_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes" / "deep").mkdir(parents=True)

    def folder(session: Optional[str] = None, **arguments: Any) -> str:
        env = {} if session is None else {"JPY_SESSION_NAME": session}
        return os.path.relpath(folder_of({"env": env, **arguments}), tmp_path)

    notes = tmp_path / "notes"
    assert folder(f"{notes}/a.ipynb") == folder(f"{notes}/a.ipynb", cwd="/") == "notes"
    assert folder("a.ipynb", cwd=notes) == folder("a.ipynb", cwd="notes") == folder("notes/a.ipynb") == "notes"
    assert folder("deep/a.ipynb", cwd=str(notes)) == "notes/deep"
    assert folder("notes/a.ipynb", cwd=str(notes)) == "notes"  # below a server's root
    assert folder("/gone/a.ipynb", cwd=str(notes)) == folder(cwd=os.fsencode(notes)) == "notes"
    assert folder() == folder("") == folder(env=None) == "."


def test_what_is_asked_for(projects: Projects, tmp_path: Path) -> None:
    here = str(tmp_path)
    projects.locks = dict.fromkeys((here, f"{here}/p", "/p"), "1")

    async def main() -> None:
        configs: list[dict[str, Any]] = [
            {"project": "auto"},
            {"project": {"path": "auto", "extras": ["plot"], "groups": ["dev"], "frozen": True}},
            {"project": "p"},
            {"project": {"path": "/p", "groups": ["dev"]}},
            {"project": "/p", "pool": "conda"},
            {"pool": "data"},
            {"project": ""},
            {"project": {}},
        ]
        for config in configs:
            made = provisioner(spec(**config))
            await launched(made, env={}, cwd=here)
            await made.cleanup()

    asyncio.run(main())
    assert [{name: asked.get(name) for name in ("pool", "project")} for asked in projects.asked] == [
        {"pool": None, "project": {"path": here}},  # the daemon knows in which pool a project belongs
        {"pool": None, "project": {"path": here, "extras": ["plot"], "groups": ["dev"], "frozen": True}},
        {"pool": None, "project": {"path": f"{here}/p"}},
        {"pool": None, "project": {"path": "/p", "groups": ["dev"]}},
        {"pool": "conda", "project": {"path": "/p"}},
        {"pool": "data", "project": None},
        {"pool": None, "project": None},
        {"pool": None, "project": None},
    ]


def test_config_of_a_project() -> None:
    def refused(project: Any) -> str:
        with pytest.raises(TraitError) as caught:
            provisioner(spec(project=project))
        return str(caught.value)

    assert refused({"path": "p", "extra": ["a"]}) == "project has path, extras, groups and frozen, not extra"
    assert refused({"extras": ["a"]}) == 'project needs a path, which may be "auto"'
    assert refused({"path": 7}) == 'project needs a path, which may be "auto"'
    assert "project" in refused(7)


# ---- none, and other failures


def test_without_a_project_the_kernel_is_that_of_the_pool_and_says_so(
    projects: Projects, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        made = provisioner(spec(project="auto"))
        made.log = logging.getLogger("provisioner")
        caplog.set_level(logging.INFO)
        env = await launched(made, env={}, cwd=str(tmp_path))
        assert made.lease
        assert made.lease.project is None
        assert made._banner == "Note: there is no project here: this environment has the packages of the pool uv."
        assert made._banner in caplog.messages
        assert await launched(made, env={}, cwd=str(tmp_path)) == env  # a restart keeps it
        assert made._banner
        projects.locks[str(tmp_path)] = "1"  # until there is a project
        assert await launched(made, env={}, cwd=str(tmp_path)) != env
        assert made.lease.project == Project(str(tmp_path), f"{tmp_path}/uv.lock")
        assert not made._banner
        assert list(projects.fake.leases) == [made.lease.id]
        await made.cleanup()
        assert not projects.fake.leases

    asyncio.run(main())
    assert ["project" in asked for asked in projects.asked] == [True, False, True, True]


def failure(made: RuntimedProvisioner) -> str:
    with pytest.raises(RuntimedError) as caught:
        asyncio.run(launched(made, env={}))
    return str(caught.value)


def test_errors_name_the_project(projects: Projects) -> None:
    text = failure(provisioner(spec(project="/there")))
    assert text.startswith("hint: a project has one of: uv.lock, pyproject.toml\nno environment of the project /there ")
    assert " for the kernel: there is no project at /there or " in text
    assert "\nno environment of the " in failure(provisioner(spec(project={"path": "auto", "extras": ["plot"]})))
    assert len(projects.asked) == 2  # no plain pool in its place
    projects.fake.hook = older("project")
    text = failure(provisioner(spec(project="auto")))
    assert text.endswith(f"\nno environment of the project {os.getcwd()} for the kernel: unknown member project")
    assert "the daemon is older than this client" in text
    assert not projects.fake.leases


# ---- restarts


def test_a_changed_lock_wins_over_what_a_restart_keeps(
    projects: Projects, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        made = provisioner(spec(project="auto"))
        made.log = logging.getLogger("provisioner")
        projects.locks[str(tmp_path)] = "1"
        start = {"env": {}, "cwd": str(tmp_path)}
        first = await launched(made, **start)
        await made.cleanup(restart=True)
        assert await launched(made, **start) == first  # with what was installed into it by hand
        assert not caplog.messages
        projects.locks[str(tmp_path)] = "2"
        await made.cleanup(restart=True)
        second = await launched(made, **start)
        assert second != first
        assert list(projects.fake.leases) == [second]
        assert caplog.messages == [f"It is another one than before, without what was installed into {first}."]
        info = await made.get_provisioner_info()
        taken = provisioner(spec(project="auto"))  # another server goes on with the kernel
        await taken.load_provisioner_info(info)
        assert await taken.get_provisioner_info() == info
        assert await launched(taken, **start) == second
        del projects.locks[str(tmp_path)]
        third = await launched(taken, **start)
        assert list(projects.fake.leases) == [third]
        await taken.cleanup()
        assert not projects.fake.leases
        projects.locks[str(tmp_path)] = "2"
        fourth = await launched(taken, **start)
        assert fourth not in (first, second, third)  # a kernel that was shut down leaves nothing to the next
        await taken.cleanup()

    asyncio.run(main())
    sessions = [asked["session"] for asked in projects.asked]
    assert len(set(sessions[:-1])) == 1
    assert sessions[-1] != sessions[0]


def test_where_a_restart_keeps_nothing_there_is_no_session(projects: Projects, tmp_path: Path) -> None:
    async def main() -> None:
        made = provisioner(spec(project="auto", on_restart="fresh"))
        projects.locks[str(tmp_path)] = "1"
        await launched(made, env={}, cwd=str(tmp_path))
        await made.cleanup(restart=True)
        assert not projects.fake.leases
        await launched(made, env={}, cwd=str(tmp_path))
        await made.cleanup()

    asyncio.run(main())
    assert not any({"session", "linger_ms"} & asked.keys() for asked in projects.asked)


def test_what_an_older_version_knew_of_a_kernel(projects: Projects) -> None:
    async def main() -> None:
        made = provisioner(spec())
        await launched(made, env={})
        info = await made.get_provisioner_info()
        del info["session"], info["env"]["project"]
        taken = provisioner(spec())
        await taken.load_provisioner_info(info)
        assert taken.lease
        assert made.lease
        assert (taken.lease.id, taken.lease.packages) == (made.lease.id, made.lease.packages)
        await taken.cleanup()

    asyncio.run(main())


# ---- the banner


def test_a_command_with_a_first_line() -> None:
    cmd = ["python", "-Xfrozen_modules=off", "-m", "ipykernel_launcher", "-f", "f"]
    changed = with_first_line(cmd, 'the "größe" of LINE and MODULE')
    assert [*changed[:3], *changed[4:]] == ["python", "-Xfrozen_modules=off", "-c", "-f", "f"]
    assert ascii('the "größe" of LINE and MODULE') in changed[3]
    compile(changed[3], "", "exec")
    assert "run_module('ipykernel'" in with_first_line(["python", "-m", "ipykernel"], "a")[2]
    assert with_first_line(["sh", "-c", "python -m ipykernel"], "a") == ["sh", "-c", "python -m ipykernel"]


def test_a_kernel_says_that_there_is_no_project(socket: str, tmp_path: Path) -> None:
    """A standby, and a plain one."""
    folder = os.path.realpath(tmp_path)
    line = "Note: there is no project here: this environment has the packages of the pool uv."
    (tmp_path / "ipykernel.py").write_text("raise SystemExit('a file of the notebook folder was imported')")

    async def main() -> None:
        if sys.platform != "win32":
            await until_ready()
        km = AsyncKernelManager()
        km._kernel_spec = spec(project="auto", wait=WAIT)
        await km.start_kernel(cwd=str(tmp_path))
        env = env_of(km)
        assert is_adopted(km) == (sys.platform != "win32")
        for _ in range(2):
            async with client(km) as kc:
                banner = (await kc.kernel_info(reply=True, timeout=60))["content"]["banner"]
                assert banner.startswith(f"{line}\nPython ")
                assert line not in await run(kc, "import os, sys; print(sys.argv[1:], os.environ)")
                assert await run(kc, "sys.argv[1:]") == str(["-f", km.connection_file])
                started = await run(kc, "getattr(sys, 'orig_argv', ['', '-m', 'ipykernel_launcher'])[1:3]")
                assert started == "['-m', 'ipykernel_launcher']"
                assert await run(kc, "os.path.basename(sys.argv[0])") == "'ipykernel_launcher.py'"
                assert await run(kc, "os.getcwd()") == repr(folder)
            await km.restart_kernel()
            assert not is_adopted(km)
            assert env_of(km) == env
            assert owner(env) == of(km).pid
        await km.shutdown_kernel()

    asyncio.run(main())


def test_a_kernel_of_a_project_is_launched_as_ever(projects: Projects, tmp_path: Path) -> None:
    projects.locks[str(tmp_path)] = "1"

    async def main() -> None:
        made = provisioner(spec(project="auto"))
        launch = await made.pre_launch(env={}, cwd=str(tmp_path))
        assert launch["cmd"] == ["/envs/bin/python", *ARGV[1:]]
        await made.cleanup()

    asyncio.run(main())


def test_a_kernel_follows_its_project(socket: str, tmp_path: Path) -> None:
    """A real one. What was installed by hand stays until what the project says has changed."""
    listed = tmp_path / "requirements.txt"
    listed.write_text("iniconfig==2.0.0\n")
    (tmp_path / "notes").mkdir()
    version = "import importlib.metadata as m; m.version('iniconfig')"

    async def main() -> None:
        km = AsyncKernelManager()
        km._kernel_spec = spec(project="auto", wait=WAIT)
        await km.start_kernel(env={**os.environ, "JPY_SESSION_NAME": str(tmp_path / "notes" / "a.ipynb")})
        lease = of(km).lease
        assert lease
        assert lease.project == Project(str(tmp_path), str(listed))
        async with client(km) as kc:
            assert await run(kc, version) == "'2.0.0'"
            await run(kc, "import sysconfig; open(sysconfig.get_path('purelib') + '/by_hand.py', 'w').close()")
        await km.restart_kernel()
        assert env_of(km) == lease.id
        async with client(km) as kc:
            assert await run(kc, "import by_hand") == ""
        listed.write_text("iniconfig==2.1.0\n")
        await km.restart_kernel()
        assert env_of(km) != lease.id
        assert owner(env_of(km)) == of(km).pid
        assert owner(lease.id) is None
        async with client(km) as kc:
            assert await run(kc, version) == "'2.1.0'"
            assert await run(kc, "import by_hand") == "ModuleNotFoundError"
        await km.shutdown_kernel()

    asyncio.run(main())


def test_a_restart_that_fails_is_told_in_each_cell(
    socket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """jupyter_server would only answer 500, which JupyterLab shows to nobody."""
    runt = built(tmp_path_factory.mktemp("bin")) / "runt"
    monkeypatch.setattr("runtimed_jupyter.provisioner.find_runt", lambda: str(runt))
    listed = tmp_path / "requirements.txt"
    listed.write_text("iniconfig==2.0.0\n")

    async def main() -> None:
        km = AsyncKernelManager()
        km._kernel_spec = spec(project="auto", wait=WAIT)
        start: dict[str, Any] = {"env": {**os.environ, "RUNTIMED_NO_START": "1"}, "cwd": str(tmp_path)}
        await km.start_kernel(**start)
        lease = env_of(km)
        listed.write_text("iniconfig==0.0.999\n")
        await km.restart_kernel()
        async with client(km) as kc:
            assert await run(kc, "1 + 1") == "RuntimedError"
        listed.write_text("iniconfig==2.0.0\n")
        await km.restart_kernel()
        assert env_of(km) == lease  # it was kept for that
        async with client(km) as kc:
            assert await run(kc, "1 + 1") == "2"
        await km.shutdown_kernel()

    asyncio.run(main())
