"""One FFmpeg process: bytes in, PCM out, its complaints kept, its means limited."""

import asyncio
import contextlib
import re
import signal
import sys
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

import structlog

from parlando.tasks import finish

if sys.platform == "linux":
    import resource

READ: Final = 32_000  # bytes read at a time: a second, the largest entry of a stream
MAX_MEMORY: Final = 1 << 30  # bytes of address space
CPU_BASE_S: Final = 20  # CPU time that a process gets in advance …
CPU_SHARE: Final = 0.5  # … and of each second of audio it makes
MAX_LINES: Final = 20  # of complaints
MAX_LOGGED: Final = 3  # … that go to the log
LONGEST_LINE: Final = 4096
REAP_S: Final = 10.0  # seconds that a process may take to be gone after SIGKILL
GONE: Final = (BrokenPipeError, ConnectionResetError)

log = structlog.get_logger(part="ffmpeg")

_REASONS: Final = (
    (r"not on whitelist", "its container is none of those that are decoded here"),
    (r"moov atom not found", "its index (moov) is missing"),
    (r"matches no streams|does not contain any stream", "it holds no audio stream"),
    (r"no decoder found for|Decoder \(codec \S+\) not found", "there is no decoder for its codec"),
    (r"Cannot allocate memory", "decoding took more memory than such audio may need"),
    (r"Invalid data found|Invalid argument|Input/output error", "it is no known audio format, or damaged"),
    (r"End of file", "it ends before its first audio"),
)
"""Patterns of what FFmpeg (any version) prints, the most telling first, and what a client is told then.

Nothing that FFmpeg prints goes to a client: its lines hold paths, addresses and options of ours.
"""


class FfmpegProcess:
    """Start it with `start`; it's gone when `kill` has returned, or the `async with` block has ended."""

    def __init__(self, process: asyncio.subprocess.Process, watch: re.Pattern[str] | None = None) -> None:
        self.found: re.Match[str] | None = None
        """Where `watch` matched first in what it printed."""
        self._watch = watch
        self._process = process
        self._complaints: deque[str] = deque(maxlen=MAX_LINES)
        self._earned_s = 0.0
        self._draining = asyncio.create_task(self._drain())
        self._allow(0.0)

    @classmethod
    async def start(
        cls, command: Sequence[str], *, descriptors: Sequence[int] = (), watch: re.Pattern[str] | None = None
    ) -> "FfmpegProcess":
        """Run `command`; `descriptors` stay open in it, `watch` is looked for in what it prints."""
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=tuple(descriptors),
        )
        return cls(process, watch)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.kill()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def _allow(self, audio_s: float) -> None:
        """Limit what the process may use, having made `audio_s` seconds of audio."""
        if sys.platform != "linux":
            return
        cpu = int(CPU_BASE_S + CPU_SHARE * audio_s)
        with contextlib.suppress(ProcessLookupError, PermissionError, ValueError):
            resource.prlimit(self.pid, resource.RLIMIT_CPU, (cpu, resource.RLIM_INFINITY))
            if not audio_s:
                for what, limit in (
                    (resource.RLIMIT_AS, MAX_MEMORY),
                    (resource.RLIMIT_FSIZE, 0),
                    (resource.RLIMIT_CORE, 0),
                    (resource.RLIMIT_NOFILE, 32),
                ):
                    resource.prlimit(self.pid, what, (limit, limit))

    def progressed(self, audio_s: float) -> None:
        """Say how many seconds of audio it has made: they earn it CPU time."""
        if audio_s >= self._earned_s + CPU_BASE_S:
            self._earned_s = audio_s
            self._allow(audio_s)

    def stop(self) -> None:
        """Have it killed; `wait` or `kill` waits for it."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def write(self, data: bytes) -> bool:
        """Give it bytes, as fast as it takes them; False if it doesn't take any more."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(data)
            await self._process.stdin.drain()
        except GONE:
            return False
        return self._process.returncode is None

    def close_input(self) -> None:
        """Say that no more bytes come; it puts out what it holds, and ends."""
        assert self._process.stdin is not None
        with contextlib.suppress(*GONE):
            self._process.stdin.close()

    async def read(self) -> bytes:
        """Some of its output; b"" when there will be no more."""
        assert self._process.stdout is not None
        return await self._process.stdout.read(READ)

    async def _drain(self) -> None:
        assert self._process.stderr is not None
        rest = ""
        while printed := await self._process.stderr.read(LONGEST_LINE):
            *lines, rest = (rest + printed.decode("utf-8", "replace")).split("\n")
            self._note(lines)
            rest = rest[-LONGEST_LINE:]
        self._note([rest])

    def _note(self, lines: list[str]) -> None:
        # Indented lines describe the input at level "info": its title and the like, which no log needs.
        self._complaints.extend(line for line in lines if line.strip() and not line.startswith(" "))
        if self._watch is not None and self.found is None:
            self.found = next((match for line in lines if (match := self._watch.search(line))), None)

    async def wait(self) -> int:
        """Wait until it has ended; its exit status, negative for a signal."""
        status = await self._process.wait()
        await asyncio.wait([self._draining])
        return status

    async def kill(self) -> None:
        """End it, whatever it does; it is gone even if the caller is cancelled meanwhile."""
        self.stop()
        self.close_input()
        await finish(self._reap(), within_s=REAP_S)

    async def _reap(self) -> None:
        await self.wait()
        assert self._process.stdout is not None
        while await self._process.stdout.read(1 << 20):
            pass  # a pipe is closed when its end has been read

    def reason(self) -> str:
        """Why it couldn't go on: a sentence for clients. What FFmpeg itself says goes to the log."""
        status = self._process.returncode
        log.info("ffmpeg.failed", status=status, said=list(self._complaints)[-MAX_LOGGED:])
        if status == -signal.SIGXCPU:
            return "decoding took more computing time than such audio may need"
        said = "\n".join(self._complaints)
        for pattern, meaning in _REASONS:
            if re.search(pattern, said):
                return meaning
        if status is not None and status < 0:
            return f"FFmpeg was ended by signal {-status}"
        return "no audio was found in it"
