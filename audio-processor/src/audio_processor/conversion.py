"""Converts a session's bytes to PCM with FFmpeg. Independent of Redis: `emit` gets the PCM.

The output depends only on the bytes, not on how they are divided or on the process that converts them: a
conversion restarted in the middle gives exactly the samples that the previous one would have given.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final

import structlog

from audio_processor import command
from audio_processor.ffmpeg import Ffmpeg
from audio_processor.layout import PcmLayout
from audio_processor.mixing import LiveMixer
from audio_processor.process import REAP_S, FfmpegProcess
from audio_processor.timeline import Jump, Kind
from parlando.domain.audio import BYTES_PER_SAMPLE, SAMPLE_RATE, WholeFrames
from parlando.domain.formats import AudioFormat
from parlando.errors import InvalidAudioError
from parlando.tasks import end, finish

WARM_UP_S: Final = 2  # seconds of input decoded before the first sample that is emitted after a restart
KEEP_S: Final = 2 * WARM_UP_S + 1  # seconds of input kept for a restart
MAX_ATTEMPTS: Final = 3  # failures of FFmpeg after which the conversion fails

Emit = Callable[[bytes, Sequence[Jump]], Awaitable[None]]
"""Takes whole samples, and jumps of the timestamps in them; waits while there is no room for them."""

log = structlog.get_logger(part="conversion")


async def pieces(process: FfmpegProcess, first: bytes = b"") -> AsyncIterator[bytes]:
    """The output of FFmpeg, behind the bytes `first` of it."""
    if first:
        yield first
    while data := await process.read():
        yield data


async def mixed(output: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """One channel from the samples of two."""
    mixer = LiveMixer()
    async for data in output:
        if samples := mixer.push(data):
            yield samples
    if rest := mixer.finish():
        yield rest


class Conversion(ABC):
    """The conversion of one session by one owner. `emitted`: samples, including those of earlier owners.

    `stopped` is called when FFmpeg's output has ended, which may be between two calls; `check` then raises
    the reason.
    """

    def __init__(
        self, ffmpeg: Ffmpeg, form: AudioFormat, emit: Emit, stopped: Callable[[], None], emitted: int
    ) -> None:
        self.emitted = emitted
        self._ffmpeg = ffmpeg
        self._format = form
        self._emit = emit
        self._stopped = stopped
        self._process: FfmpegProcess | None = None
        self._pump: asyncio.Task[None] | None = None
        self._reason = ""  # why the last FFmpeg failed
        self._filled_s = 0.0  # silence for timestamps so far

    @property
    @abstractmethod
    def converted(self) -> int:
        """Bytes of the input that have been converted."""

    @property
    @abstractmethod
    def needed(self) -> int:
        """The first byte that a new owner needs."""

    @abstractmethod
    async def write(self, start: int, data: bytes) -> None:
        """Convert the next bytes, from offset `start` on. Raises `InvalidAudioError`."""

    @abstractmethod
    async def cut(self) -> None:
        """Emit all samples of the bytes received so far, as far as the format allows."""

    @abstractmethod
    async def finish(self) -> None:
        """Emit all remaining samples; no more bytes follow. Raises `InvalidAudioError`."""

    async def close(self) -> None:
        """Kill the process. It has ended on return, even if the caller is cancelled meanwhile."""
        await finish(self._close(), within_s=2 * REAP_S)

    async def _close(self) -> None:
        if self._pump is not None:
            await end(self._pump)
        if self._process is not None:
            await self._process.kill()
        self._process = self._pump = None

    async def _start(self, line: list[str], drop: int, *, descriptors: Sequence[int] = ()) -> FfmpegProcess:
        """Start FFmpeg with command `line`; its first `drop` samples were emitted before."""
        self._process = await FfmpegProcess.start(line, descriptors=descriptors)
        self._pump = asyncio.create_task(self._deliver(self._process, drop * BYTES_PER_SAMPLE))
        return self._process

    async def _deliver(self, process: FfmpegProcess, drop: int) -> None:
        try:
            await self._deliver_all(process, drop)
        except BaseException:
            process.stop()  # its output is not read any more
            raise
        finally:
            self._stopped()

    async def _deliver_all(self, process: FfmpegProcess, drop: int) -> None:
        frames, decoded, reported = WholeFrames(BYTES_PER_SAMPLE), 0, 0
        async for data in self._output(process):
            decoded += len(data) // BYTES_PER_SAMPLE
            jumps = self._jumps(process)
            passed = sum(jump.position < decoded for jump in jumps)
            self._filled_s = sum(jump.length for jump in jumps[:passed] if jump.kind is Kind.FILLED)
            if drop >= len(data):
                drop, reported = drop - len(data), passed
                continue
            whole, drop = frames.push(data[drop:]), 0
            if whole:
                self._check_rate()
                await self._emit(whole, jumps[reported:passed])
                self.emitted += len(whole) // BYTES_PER_SAMPLE
                reported = passed
                process.progressed(self.emitted / SAMPLE_RATE)

    def _output(self, process: FfmpegProcess) -> AsyncIterator[bytes]:
        """The samples of one channel in the output of FFmpeg, in pieces that aren't empty."""
        return pieces(process)

    def _jumps(self, process: FfmpegProcess) -> Sequence[Jump]:
        """The jumps of the timestamps so far, in samples of `_output`."""
        return ()

    def _check_rate(self) -> None:  # noqa: B027 only containers are compressed enough
        """Refuse input that decodes to far more audio than its size allows."""

    async def _end_process(self) -> str | None:
        """Let the process finish. Returns why it failed, or None."""
        process, pump = self._process, self._pump
        if process is None or pump is None:
            return None
        process.close_input()
        await pump
        status = await process.wait()
        self._process = self._pump = None
        self._reason = process.reason()
        return self._reason if status else None

    async def check(self) -> None:
        """Raise the error that ended the output since the last call, if any."""
        if self._pump is not None and self._pump.done():
            self._pump.result()


class PcmConversion(Conversion):
    """Conversion of PCM. FFmpeg may be restarted at any second; the bytes needed for that are kept."""

    def __init__(
        self,
        ffmpeg: Ffmpeg,
        form: AudioFormat,
        emit: Emit,
        stopped: Callable[[], None],
        emitted: int,
        layout: PcmLayout,
    ) -> None:
        super().__init__(ffmpeg, form, emit, stopped, emitted)
        self._layout = layout
        self._mixes = layout.channels == 2 and form.channel is None
        self._line = command.decode(
            ffmpeg.path, layout, channel=form.channel, normalize=form.normalize, split=self._mixes
        )
        self._recent = bytearray()
        self._recent_from = self.needed  # offset of its first byte
        self._attempts = 0

    def _output(self, process: FfmpegProcess) -> AsyncIterator[bytes]:
        """See `Conversion`. Two channels are mixed here."""
        output = super()._output(process)
        return mixed(output) if self._mixes else output

    def _byte(self, second: int) -> int:
        return self._layout.skip + second * self._layout.second

    @property
    def converted(self) -> int:
        """See `Conversion`; exact to the sample."""
        layout = self._layout
        return layout.skip + self.emitted * layout.rate // SAMPLE_RATE * layout.frame

    @property
    def needed(self) -> int:
        """See `Conversion`; the second at which a new FFmpeg begins."""
        return self._byte(max(0, self.emitted // SAMPLE_RATE - WARM_UP_S))

    async def write(self, start: int, data: bytes) -> None:
        """See `Conversion`. Bytes before the first sample and behind the last one are ignored."""
        data = self._samples(start, data)
        if not data:
            return
        self._recent += data
        if len(self._recent) > 2 * KEEP_S * self._layout.second:
            self._forget()
        await self.check()
        if self._process is None:
            await self._restart()
        elif not await self._process.write(data):
            await self._retry()

    def _samples(self, start: int, data: bytes) -> bytes:
        """The part of `data` that holds samples and wasn't received before."""
        have = self._recent_from + len(self._recent)
        data = data[max(0, have - start) :]
        if self._layout.size is not None:
            data = data[: max(0, self._layout.skip + self._layout.size - have)]
        return data

    def _forget(self) -> None:
        freed = max(0, min(self.needed - self._recent_from, len(self._recent)))
        del self._recent[:freed]
        self._recent_from += freed

    async def _restart(self) -> None:
        """Start FFmpeg `WARM_UP_S` seconds before the next sample to emit."""
        second = max(0, self.emitted // SAMPLE_RATE - WARM_UP_S)
        process = await self._start(self._line, self.emitted - second * SAMPLE_RATE)
        if not await process.write(bytes(self._recent[self._byte(second) - self._recent_from :])):
            await self._retry()

    async def _retry(self) -> None:
        """Restart an FFmpeg that has ended early: it was killed, or it failed."""
        process = self._process
        assert process is not None
        why = await self._end_process()
        self._attempts += 1
        if self._attempts >= MAX_ATTEMPTS:
            raise InvalidAudioError(f"The audio can't be converted: {why}")
        log.warning("ffmpeg.ended", why=why, attempt=self._attempts)
        await self._restart()

    async def cut(self) -> None:
        """See `Conversion`: emits everything to the last sample; the next bytes start a new FFmpeg."""
        while self._process is not None and (why := await self._end_process()) is not None:
            self._attempts += 1
            if self._attempts >= MAX_ATTEMPTS:
                raise InvalidAudioError(f"The audio can't be converted: {why}")
            await self._restart()
        self._forget()

    async def finish(self) -> None:
        """See `Conversion`."""
        await self.cut()
