"""Ends kernels that nobody needs any more: idle, of a closed notebook, and for as long as their pool allows.

A front-end that closes a notebook leaves its kernel, and so the kernel's environment, for ever. How long such a kernel
may be idle is `idle` of its pool, which the daemon tells in pool.status. By default, and without a daemon, none ends.
"""

import datetime
import logging
from time import monotonic
from typing import Any, Optional

from jupyter_core.utils import ensure_async
from runtimed_client import AsyncClient, RuntimedError

from .leases import holds, is_warm, leased

PERIOD = 5.0  # seconds between two looks at the kernels, which cost nothing
JUMP = datetime.timedelta(seconds=2)  # of the clock between two looks; less is its being corrected
LEAST = datetime.timedelta(seconds=10)  # the least `idle`


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)


class Idle:
    """The kernels of a server of which no front-end has any use."""

    def __init__(self, kernels: Any, sessions: Any, log: logging.Logger) -> None:
        self._kernels, self._sessions, self._log = kernels, sessions, log
        self._closed: dict[str, datetime.datetime] = {}  # since when no front-end is connected to a kernel
        self._booted = self._boot()

    def _boot(self) -> datetime.datetime:
        return now() - datetime.timedelta(seconds=monotonic())

    def _follow_clock(self) -> None:
        """Where the clock was set, or the machine slept, nobody was away for so long."""
        before, self._booted = self._booted, self._boot()
        jump = self._booted - before
        if abs(jump) > JUMP:
            self._closed = {id: since + jump for id, since in self._closed.items()}

    def since(self, id: str) -> Optional[datetime.datetime]:
        """Since when a kernel has run nothing with nobody connected. None: it has not, or is none of ours."""
        if id not in self._kernels or not is_warm(kernel := self._kernels.get_kernel(id)):
            return None
        active: Optional[datetime.datetime] = getattr(kernel, "last_activity", None)
        if active is None:  # it is being started
            return None
        model = self._kernels.kernel_model(id)
        if model["connections"] or model["execution_state"] != "idle":
            self._closed.pop(id, None)
            return None
        # Whoever looks at a notebook for hours and then closes it has not been away for hours.
        return max(self._closed.setdefault(id, now()), active)

    async def look(self) -> None:
        """End the kernels whose time is up."""
        self._follow_clock()
        ids = self._kernels.list_kernel_ids()
        for gone in self._closed.keys() - set(ids):
            del self._closed[gone]
        idle = {id: since for id in ids if (since := self.since(id)) and now() - since >= LEAST}
        if not idle:
            return
        try:
            async with AsyncClient() as client:
                limits = {pool.name: pool.idle_ms / 1000 for pool in (await client.status()).pools if pool.idle_ms}
            longest = max((now() - since).total_seconds() for since in idle.values())
            envs = await leased() if limits and longest >= min(limits.values()) else []
        except RuntimedError as error:
            self._log.debug("No kernel is ended for being idle: %s", error)
            return
        for id, since in idle.items():
            pools = [env["pool"] for env in envs if id in self._kernels and holds(self._kernels.get_kernel(id), env)]
            if pools and pools[0] in limits and (now() - since).total_seconds() >= limits[pools[0]]:
                try:
                    await self._end(id, since, pools[0])
                except Exception:  # one that cannot be ended keeps no other
                    self._log.exception("The kernel %s, which is idle, cannot be ended", id)

    async def _end(self, id: str, since: datetime.datetime, pool: str) -> None:
        """Through its session, so that no notebook still refers to it."""
        sessions = [session for session in await self._sessions.list_sessions() if session["kernel"]["id"] == id]
        if self.since(id) != since:  # somebody has come back, or something runs
            return
        of = sessions[0]["path"] if sessions else id
        self._log.info(
            "The kernel of %s is ended: idle for %d s, and no page shows it (idle of the pool %s)",
            *(of, (now() - since).total_seconds(), pool),
        )
        if sessions:
            await ensure_async(self._sessions.delete_session(sessions[0]["id"]))
            await self._sessions.list_sessions()  # which forgets the others of this kernel
        else:
            await ensure_async(self._kernels.shutdown_kernel(id))
