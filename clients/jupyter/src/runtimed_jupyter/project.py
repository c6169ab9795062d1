"""The project that a kernel's environment is made for, and the kernel that says that it has none."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Union

from traitlets import TraitError

AUTO = "auto"

# python -m MODULE, with a line in front of the kernel's banner. Neither sys.argv nor a variable tells of it.
FIRST_LINE = """\
import sys
at_cwd = sys.path[:1] == [""]
if at_cwd: del sys.path[0]
import os, runpy
from ipykernel.ipkernel import IPythonKernel
plain = IPythonKernel.banner
IPythonKernel.banner = property(lambda self: LINE + "\\n" + (plain.fget(self) or ""))
sys.argv[0] = "-m"
if "-c" in getattr(sys, "orig_argv", ()):
    at = sys.orig_argv.index("-c")
    sys.orig_argv[at : at + 2] = ["-m", MODULE]
if at_cwd: sys.path.insert(0, os.getcwd())
runpy.run_module(MODULE, run_name="__main__", alter_sys=True)"""


def checked(project: Union[str, dict[str, Any]]) -> Union[str, dict[str, Any]]:
    """The trait `project`, unless a member of it is unknown or missing."""
    if isinstance(project, dict) and project:
        if unknown := project.keys() - {"path", "extras", "groups", "frozen"}:
            raise TraitError(f"project has path, extras, groups and frozen, not {', '.join(sorted(unknown))}")
        if not isinstance(project.get("path"), str) or not project["path"]:
            raise TraitError('project needs a path, which may be "auto"')
    return project


def folder_of(arguments: Mapping[str, Any]) -> str:
    """Where the notebook is that a kernel is started for with these arguments."""
    cwd = os.path.join(os.getcwd(), os.fsdecode(arguments.get("cwd") or os.getcwd()))
    session = (arguments.get("env") or {}).get("JPY_SESSION_NAME")
    folder = os.path.dirname(os.path.join(cwd, session or ""))
    return folder if os.path.isdir(folder) else cwd  # a server may tell the path below its own root


def located(project: Union[str, dict[str, Any]], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What to acquire for the trait `project`, unless that is empty."""
    asked = project if isinstance(project, dict) else {"path": project}
    folder = folder_of(arguments)
    return {**asked, "path": folder if is_auto(project) else os.path.join(folder, os.path.expanduser(asked["path"]))}


def options(project: Mapping[str, Any]) -> list[str]:
    """What asks `runt` for a project."""
    args = ["--project", project["path"]]
    for name in ("extra", "group"):
        args += [arg for value in project.get(name + "s", ()) for arg in ("--" + name, value)]
    return args + ["--frozen"] * bool(project.get("frozen"))


def is_auto(project: Union[str, dict[str, Any]]) -> bool:
    return (project["path"] if isinstance(project, dict) else project) == AUTO


def falls_back(project: Union[str, dict[str, Any]]) -> bool:
    """Whether the plain pool will do where there is no project. It has no extras and groups."""
    return is_auto(project) and (isinstance(project, str) or project.keys() == {"path"})


def with_first_line(cmd: Sequence[str], line: str) -> list[str]:
    """The command of an ipykernel whose banner begins with a line. Any other command is as it was."""
    for at, pair in enumerate(zip(cmd, cmd[1:])):
        if pair in (("-m", "ipykernel_launcher"), ("-m", "ipykernel")):
            program = FIRST_LINE.replace("MODULE", repr(pair[1])).replace("LINE", ascii(line))
            return [*cmd[:at], "-c", program, *cmd[at + 2 :]]
    return list(cmd)
