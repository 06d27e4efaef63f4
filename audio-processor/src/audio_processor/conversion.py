"""From a session's bytes to its PCM, through FFmpeg. Says nothing of Redis: `emit` gets the PCM.

What comes out depends on the bytes alone, not on their pieces or on who converts them: a conversion that
begins anew in the middle puts out exactly what the one before it would have.
"""

import asyncio
import os
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final

import structlog

from audio_processor import command
from audio_processor.ffmpeg import Ffmpeg
from audio_processor.layout import ContainerLayout, PcmLayout
from audio_processor.process import REAP_S, FfmpegProcess
from parlando.domain.audio import BYTES_PER_SAMPLE, SAMPLE_RATE
from parlando.domain.formats import AudioFormat
from parlando.errors import InvalidAudioError
from parlando.tasks import end, finish

WARM_UP_S: Final = 2  # of input before the first sample that is put out
KEEP_S: Final = 2 * WARM_UP_S + 1  # of input that a restart may want
BURST_S: Final = 30  # of audio that a container may hold for nothing …
MIN_BYTES_PER_S: Final = 25  # … and what each further second must weigh, or it's no recording
QUIET_S: Final = 0.06  # without output, until a container's FFmpeg has nothing more to say for now …
QUIET_LOOKS: Final = 10  # … and how often that is looked at
MAX_ATTEMPTS: Final = 3  # with an FFmpeg that somebody kills

Emit = Callable[[bytes], Awaitable[None]]
"""Takes whole samples; waits while there's no room for them."""

log = structlog.get_logger(part="conversion")


class Conversion(ABC):
    """One owner's conversion of one session. `emitted` counts samples, those of owners before included.

    `stopped` is called when FFmpeg's output has ended, perhaps between two calls; `check` tells why.
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
        self._complaint = ""

    @property
    @abstractmethod
    def converted(self) -> int:
        """Bytes of the input that are done with."""

    @property
    @abstractmethod
    def needed(self) -> int:
        """The first byte that a new owner would want."""

    @abstractmethod
    async def write(self, start: int, data: bytes) -> None:
        """Take the bytes from `start` on, which follow those before. Raises `InvalidAudioError`."""

    @abstractmethod
    async def cut(self) -> None:
        """Put out what came so far, as far as the format allows."""

    @abstractmethod
    async def finish(self) -> None:
        """No more bytes will come: put out everything. Raises `InvalidAudioError`."""

    async def close(self) -> None:
        """End the process, whatever it does; it is gone even if the caller is cancelled meanwhile."""
        await finish(self._close(), within_s=2 * REAP_S)

    async def _close(self) -> None:
        if self._pump is not None:
            await end(self._pump)
        if self._process is not None:
            await self._process.kill()
        self._process = self._pump = None

    async def _start(self, line: list[str], drop: int, *, descriptors: Sequence[int] = ()) -> FfmpegProcess:
        """Start FFmpeg; its first `drop` samples are already there."""
        self._process = await FfmpegProcess.start(line, descriptors=descriptors)
        self._pump = asyncio.create_task(self._deliver(self._process, drop * BYTES_PER_SAMPLE))
        return self._process

    async def _deliver(self, process: FfmpegProcess, drop: int) -> None:
        try:
            await self._deliver_all(process, drop)
        except BaseException:
            process.stop()  # nobody reads its output any more
            raise
        finally:
            self._stopped()

    async def _deliver_all(self, process: FfmpegProcess, drop: int) -> None:
        carry = b""
        while data := await process.read():
            if drop >= len(data):
                drop -= len(data)
                continue
            data, drop = carry + data[drop:], 0
            whole = len(data) - len(data) % BYTES_PER_SAMPLE
            carry = data[whole:]
            if whole:
                self._check_rate()
                await self._emit(data[:whole])
                self.emitted += whole // BYTES_PER_SAMPLE
                process.progressed(self.emitted / SAMPLE_RATE)

    def _check_rate(self) -> None:  # noqa: B027 only containers can
        """Refuse audio that grows out of nothing."""

    async def _end_process(self) -> str | None:
        """Let the process finish; why it failed, else None."""
        process, pump = self._process, self._pump
        if process is None or pump is None:
            return None
        process.close_input()
        await pump
        status = await process.wait()
        self._process = self._pump = None
        self._complaint = process.reason()
        return self._complaint if status else None

    async def check(self) -> None:
        """Raise what went wrong since the last call."""
        if self._pump is not None and self._pump.done():
            self._pump.result()


class PcmConversion(Conversion):
    """Of plain samples. FFmpeg may be started at any second; what it needs for that is kept at hand."""

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
        self._line = command.decode(ffmpeg.path, layout, channel=form.channel, normalize=form.normalize)
        self._recent = bytearray()
        self._recent_from = self.needed  # offset of its first byte
        self._attempts = 0

    def _byte(self, second: int) -> int:
        return self._layout.skip + second * self._layout.second

    @property
    def converted(self) -> int:
        """See `Conversion`; to the sample."""
        layout = self._layout
        return layout.skip + self.emitted * layout.rate // SAMPLE_RATE * layout.frame

    @property
    def needed(self) -> int:
        """See `Conversion`; the second at which a new FFmpeg would begin."""
        return self._byte(max(0, self.emitted // SAMPLE_RATE - WARM_UP_S))

    async def write(self, start: int, data: bytes) -> None:
        """See `Conversion`. What lies before the samples or behind them is left out."""
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
            await self._again()

    def _samples(self, start: int, data: bytes) -> bytes:
        """The part of `data` that is to be fed, and is not there yet."""
        have = self._recent_from + len(self._recent)
        data = data[max(0, have - start) :]
        if self._layout.size is not None:
            data = data[: max(0, self._layout.skip + self._layout.size - have)]
        return data

    def _forget(self) -> None:
        gone = max(0, min(self.needed - self._recent_from, len(self._recent)))
        del self._recent[:gone]
        self._recent_from += gone

    async def _restart(self) -> None:
        """Begin two seconds before the first sample that is missing."""
        second = max(0, self.emitted // SAMPLE_RATE - WARM_UP_S)
        process = await self._start(self._line, self.emitted - second * SAMPLE_RATE)
        if not await process.write(bytes(self._recent[self._byte(second) - self._recent_from :])):
            await self._again()

    async def _again(self) -> None:
        """FFmpeg has ended in the middle: somebody killed it, or it can't do what it's asked for."""
        process = self._process
        assert process is not None
        why = await self._end_process()
        self._attempts += 1
        if self._attempts >= MAX_ATTEMPTS:
            raise InvalidAudioError(f"The audio can't be converted: {why}")
        log.warning("ffmpeg.ended", why=why, attempt=self._attempts)
        await self._restart()

    async def cut(self) -> None:
        """See `Conversion`: everything to the last sample comes out; what follows begins anew."""
        while self._process is not None and (why := await self._end_process()) is not None:
            self._attempts += 1
            if self._attempts >= MAX_ATTEMPTS:
                raise InvalidAudioError(f"The audio can't be converted: {why}")
            await self._restart()
        self._forget()

    async def finish(self) -> None:
        """See `Conversion`."""
        await self.cut()


class ContainerConversion(Conversion):
    """Of anything that must be read from its beginning.

    `again` reads all bytes of the session once more: an MP4 may have its index at its end, and can only
    then be opened.
    """

    def __init__(
        self,
        ffmpeg: Ffmpeg,
        form: AudioFormat,
        emit: Emit,
        stopped: Callable[[], None],
        emitted: int,
        layout: ContainerLayout,
        *,
        keep: int,
        again: Callable[[], AsyncIterator[bytes]],
    ) -> None:
        super().__init__(ffmpeg, form, emit, stopped, emitted)
        self._layout = layout
        self._keep = keep
        self._again = again
        self._before = emitted
        self._fed = 0
        self._ended = False  # FFmpeg takes no more

    @property
    def converted(self) -> int:
        """See `Conversion`."""
        return self._fed

    @property
    def needed(self) -> int:
        """See `Conversion`: all of it, unless it's too much."""
        return 0 if self._fed <= self._keep else self._fed

    def _line(self, **more: object) -> list[str]:
        return command.decode(
            self._ffmpeg.path,
            self._layout,
            channel=self._format.channel,
            normalize=self._format.normalize,
            **more,  # type: ignore[arg-type]
        )

    async def write(self, start: int, data: bytes) -> None:
        """See `Conversion`."""
        data = data[max(0, self._fed - start) :]
        if not data:
            return
        self._fed += len(data)
        await self.check()
        if self._ended:
            self._check_keep()
            return
        if self._process is None:
            before = self.emitted
            await self._start(self._line(), before)
        assert self._process is not None
        if not await self._process.write(data):
            await self._finish_process()

    async def check(self) -> None:
        """See `Conversion`; FFmpeg may have ended because it can't decode what came."""
        await super().check()
        if self._pump is not None and self._pump.done():
            await self._finish_process()

    async def _finish_process(self) -> None:
        self._ended = True
        if await self._end_process() is not None and not self._may_need_its_end:
            raise InvalidAudioError(f"The audio can't be decoded: {self._complaint}")

    @property
    def _may_need_its_end(self) -> bool:
        """Whether it's an MP4 of which nothing could be decoded yet."""
        return self._layout.demuxer == "mov" and self.emitted == self._before

    def _check_keep(self) -> None:
        if self._may_need_its_end and self._fed > self._keep:
            raise InvalidAudioError(
                f"Expected an MP4 with its index (moov) at the beginning, but it isn't in the first "
                f"{self._keep >> 20} MB"
            )

    def _check_rate(self) -> None:
        audio_s = self.emitted / SAMPLE_RATE
        if audio_s > BURST_S + self._fed / MIN_BYTES_PER_S:
            raise InvalidAudioError(
                f"The audio can't be decoded: {self._fed} bytes expand to more than {audio_s:.0f} s"
            )

    async def cut(self) -> None:
        """See `Conversion`. A container can't be cut: this waits until FFmpeg has put out what it can."""
        for _ in range(QUIET_LOOKS):
            await self.check()
            before = self.emitted
            await asyncio.sleep(QUIET_S)
            if self.emitted == before:
                return

    async def finish(self) -> None:
        """See `Conversion`."""
        if not self._fed:
            raise InvalidAudioError("Expected audio, but no bytes came")
        if not self._ended:
            await self._finish_process()
        if self._may_need_its_end:
            await self._decode_whole()
        if self.emitted == 0:
            raise InvalidAudioError(f"The audio can't be decoded: {self._complaint}")

    async def _decode_whole(self) -> None:
        """Give FFmpeg a file that it can seek in; in memory, for audio never goes to disk."""
        file = os.memfd_create("audio")
        try:
            async for part in self._again():
                os.write(file, part)
            os.lseek(file, 0, os.SEEK_SET)
            source, descriptor = self._ffmpeg.source(file)
            line = self._line(source=source, descriptor=descriptor)
            await self._start(line, self._before, descriptors=(file,))
            failed = await self._end_process() is not None
        finally:
            os.close(file)
        if failed:
            raise InvalidAudioError(f"The audio can't be decoded: {self._complaint}")
