"""Runs the services of one machine: prefixes their output with their names, and restarts those that exit.

Unlike honcho, which stops everything when one process exits, it restarts a killed worker, as compose and
Kubernetes do. All child processes stop together, and none outlives the supervisor.
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
QUICK_S: Final = 5.0  # for a process that ran shorter, the pause before its restart doubles
LONGEST_PAUSE_S: Final = 10.0
DRAIN_S: Final = 1.0  # for reading the remaining output of an ended process
PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True, slots=True)
class Service:
    """One process to keep running."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


def _terminate_with_parent() -> None:
    """On Linux, have the kernel send SIGTERM to this process when the supervisor dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Supervisor:
    """Starts services and restarts them until `stop` is called."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.processes: dict[str, asyncio.subprocess.Process] = {}
        self._quiet = quiet
        self._stopping = asyncio.Event()
        self._keepers: list[asyncio.Task[None]] = []
        self._order: list[str] = []

    def start(self, service: Service) -> None:
        """Start a service; restart it whenever it exits."""
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
            self.print_line(service.name, f"{ended}; starting it again in {pause:g} s", colour)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()

    async def _run(self, service: Service, colour: int) -> str:
        """Run a service to its end; returns a description of it. Raises `OSError` if it can't be started."""
        async with Output() as output:
            process = await asyncio.create_subprocess_exec(
                *service.command,
                env={**os.environ, **service.environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output.writable,
                stderr=output.writable,
                start_new_session=True,
                preexec_fn=_terminate_with_parent,
            )
            self.processes[service.name] = process
            relaying = asyncio.create_task(
                relay(output.opened(), lambda line: self.print_line(service.name, line, colour))
            )
            try:
                code = await process.wait()
                # child processes of the service may keep the pipe open
                await asyncio.wait([relaying], timeout=DRAIN_S)
            finally:
                relaying.cancel()
                await asyncio.gather(relaying, return_exceptions=True)
        return f"ended with {code}"

    def print_line(self, name: str, line: str, colour: int = 37) -> None:
        """Print a line prefixed with `name`. A line that can't be printed is dropped."""
        if not self._quiet:
            label = f"{name:<16}|"
            with contextlib.suppress(OSError, ValueError):  # stdout is closed, or can't encode the line
                print(
                    f"\033[{colour}m{label}\033[0m {line}" if sys.stdout.isatty() else f"{label} {line}",
                    flush=True,
                )

    async def stop(self) -> None:
        """Stop all services, last started first: SIGTERM, then SIGKILL after `GRACE_S`."""
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
            self.print_line(name, "didn't stop in time; killing it")
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
