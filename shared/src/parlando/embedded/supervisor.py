"""Runs the services of one machine: their output with a name in front, a restart for what dies.

honcho stops everything when one process dies; here a killed worker must come back, as it would
under compose or Kubernetes. All children stop together, and none outlives the supervisor.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from parlando.embedded.relayed import Output, relay

COLOURS: Final = (36, 33, 32, 35, 34, 31)
GRACE_S: Final = 12.0  # between SIGTERM and SIGKILL
QUICK_S: Final = 5.0  # a process that lived shorter waits before its next start
LONGEST_PAUSE_S: Final = 10.0
LAST_WORDS_S: Final = 1.0  # for reading what a process wrote before it ended
PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True, slots=True)
class Service:
    """One process to keep alive."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


def _die_with_parent() -> None:
    """On Linux, ask for SIGTERM when the supervisor is gone, however it went."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Supervisor:
    """Start services, one after another, and keep them until `stop`."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.processes: dict[str, asyncio.subprocess.Process] = {}
        self._quiet = quiet
        self._stopping = asyncio.Event()
        self._keepers: list[asyncio.Task[None]] = []
        self._order: list[str] = []

    def start(self, service: Service) -> None:
        """Start a service and start it again whenever it dies."""
        colour = COLOURS[len(self._order) % len(COLOURS)]
        self._order.append(service.name)
        self._keepers.append(asyncio.create_task(self._keep(service, colour)))

    async def _keep(self, service: Service, colour: int) -> None:
        pause = 0.5
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                ended = await self._run(service, colour)
            except OSError as error:  # no memory, no process ids, no such program
                ended = f"can't be started ({error})"
            if self._stopping.is_set():
                return
            pause = 0.5 if time.monotonic() - started > QUICK_S else min(2 * pause, LONGEST_PAUSE_S)
            self.say(service.name, f"{ended}; starting it again in {pause:g} s", colour)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()

    async def _run(self, service: Service, colour: int) -> str:
        """Run a service to its end; how it ended. Raises `OSError` if it can't be started."""
        async with Output() as output:
            process = await asyncio.create_subprocess_exec(
                *service.command,
                env={**os.environ, **service.environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output.writable,
                stderr=output.writable,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
            self.processes[service.name] = process
            relaying = asyncio.create_task(
                relay(output.opened(), lambda line: self.say(service.name, line, colour))
            )
            try:
                code = await process.wait()
                # a process that it has started may hold the pipe open for as long as it likes
                await asyncio.wait([relaying], timeout=LAST_WORDS_S)
            finally:
                relaying.cancel()
                await asyncio.gather(relaying, return_exceptions=True)
        return f"ended with {code}"

    def say(self, name: str, line: str, colour: int = 37) -> None:
        """Print a line with a name in front. If that isn't possible the line is lost, and nothing else."""
        if not self._quiet:
            label = f"{name:<16}|"
            with contextlib.suppress(OSError, ValueError):  # a closed stdout, or letters it doesn't have
                print(
                    f"\033[{colour}m{label}\033[0m {line}" if sys.stdout.isatty() else f"{label} {line}",
                    flush=True,
                )

    async def stop(self) -> None:
        """Stop everything, last started first: SIGTERM, then SIGKILL for what doesn't listen."""
        self._stopping.set()
        *first, last = [*reversed(self._order)] or [""]
        for group in (first, [last]):  # Redis was started first and goes last: the others still need it
            await asyncio.gather(*(self._end(name) for name in group if name in self.processes))
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)

    async def _end(self, name: str) -> None:
        process = self.processes[name]
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), GRACE_S)
        except TimeoutError:
            self.say(name, "didn't stop in time; killing it")
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
