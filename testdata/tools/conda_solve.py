"""What rattler alone makes of match specs, for tests to compare with. Run it with a Python that has py-rattler.

    conda_solve.py solve CHANNEL SPEC…                 prints a name and a version a line
    conda_solve.py lock CHANNEL PLATFORM OUT SPECS PYPI…  writes a pixi.lock; PYPI is name|version|location
"""

import asyncio
import os
import pathlib
import sys

import rattler


async def solved(channel, specs):
    here = rattler.VirtualPackage.detect()
    return await rattler.solve([rattler.Channel(channel)], specs, virtual_packages=here)


async def solve(channel, *specs):
    for record in await solved(channel, list(specs)):
        print(record.name.normalized, record.version)


async def lock(channel, platform, out, specs, *pypi):
    there = rattler.LockPlatform(platform)
    file = rattler.LockFile([there])
    file.set_channels("default", [rattler.LockChannel(channel)])
    for record in await solved(channel, specs.split()):
        file.add_conda_package("default", there, record)
    for package in pypi:
        file.add_pypi_package("default", there, *package.split("|"))
    file.to_path(pathlib.Path(out))


asyncio.run({"solve": solve, "lock": lock}[sys.argv[1]](*sys.argv[2:]))
sys.stdout.flush()
os._exit(0)  # rattler's threads crash an interpreter that winds down
