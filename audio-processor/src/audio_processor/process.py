"""One FFmpeg process: bytes in, PCM out, with limited resources; its error messages are classified."""

import asyncio
import contextlib
import errno
import re
import signal
import sys
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, Self

import structlog

from audio_processor.report import Report
from parlando.tasks import finish

if sys.platform == "linux":
    import resource

READ: Final = 32_000  # bytes per read: one second, the largest entry of a stream
MAX_MEMORY: Final = 1 << 30  # bytes of address space
CPU_BASE_S: Final = 20  # seconds of CPU time that a process may use …
CPU_SHARE: Final = 0.5  # … plus this for each second of audio decoded
MAX_LINES: Final = 20  # last lines of standard error that are kept …
MAX_LOGGED: Final = 3  # … and that are logged
LONGEST_LINE: Final = 4096
REAP_S: Final = 10.0  # time-out for the process to end after SIGKILL
INPUT_CLOSED: Final = (BrokenPipeError, ConnectionResetError)

log = structlog.get_logger(part="ffmpeg")

NO_SOUND: Final = "it holds no audio stream"

_REASONS: Final = (
    (
        r"not on whitelist",
        "its format is not one of those that are decoded; convert it to WAV, FLAC, MP3, M4A, Ogg or WebM",
    ),
    (r"moov atom not found", "its index (moov) is missing"),
    (r"matches no streams|does not contain any stream", NO_SOUND),
    (r"no decoder found for|Decoder \(codec \S+\) not found", "there is no decoder for its codec"),
    (r"Cannot allocate memory", "decoding took more memory than such audio may need"),
    (r"Invalid data found|Invalid argument|Input/output error", "it is no known audio format, or damaged"),
    (r"End of file", "it ends before its first audio"),
)
"""Patterns of FFmpeg's error messages (any version), the most specific first, and the reason sent to clients.

FFmpeg's own messages are never sent to clients: they contain internal paths, addresses and options.
"""


_REMEDIES: Final = {
    errno.ENOENT: "install FFmpeg again, and restart the audio-processor",
    errno.EACCES: "allow this user to run it",
    errno.ENOEXEC: "install an FFmpeg for this machine, and restart the audio-processor",
    errno.EMFILE: "raise the limit of open files (ulimit -n), or lower PROCESSOR_SESSIONS",
    errno.ENFILE: "raise the machine's limit of open files, or lower PROCESSOR_SESSIONS",
    errno.ENOMEM: "give the audio-processor more memory, or lower PROCESSOR_SESSIONS",
    errno.EAGAIN: "raise the limit of processes (ulimit -u), or lower PROCESSOR_SESSIONS",
}


class FfmpegStartError(OSError):
    """FFmpeg can't be started on this machine; its message says what to do. Another machine may do it."""

    def __init__(self, program: str, error: OSError) -> None:
        remedy = _REMEDIES.get(error.errno or 0, "run it by hand to find the reason")
        super().__init__(f"FFmpeg at {program} can't be started ({error.strerror or error}): {remedy}")


class FfmpegProcess:
    """A process started by `start`. It has ended after `kill`, or after the `async with` block."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.report = Report()
        """What it has printed about its input so far."""
        self._noted = asyncio.Event()
        self._printed_all = False
        self._process = process
        self._errors: deque[str] = deque(maxlen=MAX_LINES)
        self._decoded_s = 0.0  # seconds of audio at the last change of the CPU limit
        self._draining = asyncio.create_task(self._drain())
        self._allow(0.0)

    @classmethod
    async def start(cls, command: Sequence[str], *, descriptors: Sequence[int] = ()) -> "FfmpegProcess":
        """Run `command`. `descriptors`: files that stay open in it.

        Raises
        ------
        FfmpegStartError

        """
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=tuple(descriptors),
            )
        except OSError as error:
            raise FfmpegStartError(command[0], error) from error
        return cls(process)

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
        """Set the resource limits of a process that has decoded `audio_s` seconds of audio."""
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
        """Raise the CPU limit after `audio_s` seconds of decoded audio."""
        if audio_s >= self._decoded_s + CPU_BASE_S:
            self._decoded_s = audio_s
            self._allow(audio_s)

    def stop(self) -> None:
        """Send SIGKILL; `wait` or `kill` waits for the end."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def write(self, data: bytes) -> bool:
        """Write bytes to its input, as fast as it reads them; False if it has closed its input or ended."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(data)
            await self._process.stdin.drain()
        except INPUT_CLOSED:
            return False
        return self._process.returncode is None

    def close_input(self) -> None:
        """Close its input; it then writes its remaining output and ends."""
        assert self._process.stdin is not None
        with contextlib.suppress(*INPUT_CLOSED):
            self._process.stdin.close()

    async def read(self) -> bytes:
        """Up to `READ` bytes of its output; b"" at the end."""
        assert self._process.stdout is not None
        return await self._process.stdout.read(READ)

    async def _drain(self) -> None:
        assert self._process.stderr is not None
        rest = ""
        try:
            while printed := await self._process.stderr.read(LONGEST_LINE):
                *lines, rest = (rest + printed.decode("utf-8", "replace")).split("\n")
                self._note(lines)
                rest = rest[-LONGEST_LINE:]
            self._note([rest])
        finally:
            self._printed_all = True
            self._noted.set()

    def _note(self, lines: list[str]) -> None:
        # The description of the input, with its title, must not be logged.
        self._errors.extend(line for line in lines if not self.report.note(line))
        self._noted.set()

    async def reported(self, known: Callable[[], bool]) -> bool:
        """Wait until it has printed what makes `known` true; False if it ends without that."""
        while not known():
            if self._printed_all:
                return False
            self._noted.clear()
            await self._noted.wait()
        return True

    async def wait(self) -> int:
        """Wait for the end. Returns the exit status, negative for a signal."""
        status = await self._process.wait()
        await asyncio.wait([self._draining])
        return status

    async def kill(self) -> None:
        """Kill the process. It has ended on return, even if the caller is cancelled meanwhile."""
        self.stop()
        self.close_input()
        await finish(self._reap(), within_s=REAP_S)

    async def _reap(self) -> None:
        await self.wait()
        assert self._process.stdout is not None
        while await self._process.stdout.read(1 << 20):
            pass  # asyncio closes a pipe when it has been read to its end

    def reason(self) -> str:
        """Why decoding failed, as a clause for clients. FFmpeg's own messages are logged."""
        status = self._process.returncode
        log.info("ffmpeg.failed", status=status, printed=list(self._errors)[-MAX_LOGGED:])
        if status == -signal.SIGXCPU:
            return "decoding took more computing time than such audio may need"
        printed = "\n".join(self._errors)
        for pattern, reason in _REASONS:
            if re.search(pattern, printed):
                return reason
        if status is not None and status < 0:
            return f"FFmpeg was ended by signal {-status}"
        return "no audio was found in it"
