"""Converts a live container to PCM with FFmpeg, as `conversion` does with raw samples."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Final

import structlog

from audio_processor import command
from audio_processor.conversion import Conversion, Emit, mixed, pieces
from audio_processor.ffmpeg import Ffmpeg
from audio_processor.layout import ContainerLayout, PcmLayout, sniff
from audio_processor.process import NO_SOUND, FfmpegProcess
from audio_processor.timeline import LIVE, Jump, Kind
from parlando.domain.audio import BYTES_PER_SAMPLE, SAMPLE_RATE
from parlando.domain.formats import AudioFormat
from parlando.errors import InvalidAudioError

BURST_S: Final = 30  # seconds of audio that a container may hold in any number of bytes …
MIN_BYTES_PER_S: Final = 25  # … and bytes that it must have for each further second
QUIET_S: Final = 0.06  # seconds without output after which FFmpeg has decoded all bytes of a container …
QUIET_LOOKS: Final = 10  # … and the greatest number of such waits
HEADER: Final = 12  # least bytes by which the WAV that FFmpeg writes is recognised
LATEST_SOUND: Final = 16 << 20  # bytes of an MPEG program stream within which its sound must begin

log = structlog.get_logger(part="conversion")


class ContainerConversion(Conversion):
    """Conversion of formats that must be decoded from their first byte.

    `keep`: bytes of the stream that Redis keeps for a new owner. `reread`: reads all bytes of the session
    once more, for an MP4 whose index is at the end.
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
        reread: Callable[[], AsyncIterator[bytes]],
    ) -> None:
        super().__init__(ffmpeg, form, emit, stopped, emitted)
        self._layout = layout
        self._keep = keep
        self._reread = reread
        self._before = emitted
        self._fed = 0
        self._ended = False  # FFmpeg takes no more bytes
        self._stereo = True  # two channels are kept; FFmpeg mixes more only with another command
        self._probed = 0  # bytes in which FFmpeg has looked for the sound; 0 for as many as usual

    @property
    def converted(self) -> int:
        """See `Conversion`."""
        return self._fed

    @property
    def needed(self) -> int:
        """See `Conversion`: all bytes, unless they are more than `keep`."""
        return 0 if self._fed <= self._keep else self._fed

    def _line(self, **options: object) -> list[str]:
        return command.decode(
            self._ffmpeg.path,
            self._layout,
            channel=self._format.channel,
            normalize=self._format.normalize,
            level="info",
            form="wav",  # its header has the number of channels
            stereo=self._stereo,
            probe=self._probed or None,
            **options,  # type: ignore[arg-type]
        )

    async def _output(self, process: FfmpegProcess) -> AsyncIterator[bytes]:
        """The output of FFmpeg behind the silence before its first timestamp; two channels are mixed."""
        head, layout = b"", None
        while not isinstance(layout, PcmLayout):
            if not (data := await process.read()):
                return
            head += data
            layout = sniff(head, complete=False) if len(head) >= HEADER else None
        await process.reported(lambda: process.report.jumps.first_s is not None)
        for at in range(0, silent := process.report.lead(LIVE), SAMPLE_RATE):
            yield bytes(BYTES_PER_SAMPLE * min(SAMPLE_RATE, silent - at))
        output = pieces(process, head[layout.skip :])
        async for data in mixed(output) if layout.channels == 2 else output:
            yield data

    def _jumps(self, process: FfmpegProcess) -> Sequence[Jump]:
        """See `Conversion`."""
        found, silent = process.report.jumps, process.report.lead(LIVE)
        start = [Jump(Kind.FILLED, 0, silent / SAMPLE_RATE)] if silent else []
        return [*start, *(replace(jump, position=silent + jump.position) for jump in found.found)]

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
        """See `Conversion`; also raises if FFmpeg has ended because it can't decode the input."""
        await super().check()
        if self._pump is not None and self._pump.done():
            await self._finish_process()

    async def _finish_process(self) -> None:
        process = self._process
        failed = await self._end_process() is not None
        if failed and process and self._must_mix(process) and self._may_start_anew:
            self._stereo = False
            await self._start_anew()
            return
        if failed and self._sound_may_follow:
            self._probed = 2 * self._fed
            await self._start_anew()
            return
        self._ended = True
        if failed and not self._may_have_index_at_end:
            raise InvalidAudioError(f"The audio can't be decoded: {self._reason}")

    def _must_mix(self, process: FfmpegProcess) -> bool:
        """Whether a process that has failed was to keep two channels of a track that has more."""
        return self._stereo and any(track.channels > 2 for track in process.report.tracks[:1])

    @property
    def _may_start_anew(self) -> bool:
        """Whether nothing was emitted by this owner, and all bytes so far are kept."""
        return self.emitted == self._before and self._fed <= self._keep

    @property
    def _sound_may_follow(self) -> bool:
        """Whether the sound of an MPEG program stream may begin behind what FFmpeg has looked at."""
        return (
            self._layout.demuxer == "mpeg"
            and self._reason == NO_SOUND
            and self._may_start_anew
            and self._probed < self._fed <= LATEST_SOUND
        )

    async def _start_anew(self) -> None:
        """Start FFmpeg anew on all bytes so far."""
        process = await self._start(self._line(), self._before)
        missing = self._fed
        async for data in self._reread():
            piece = data[:missing]
            missing -= len(piece)
            if not await process.write(piece) or not missing:
                break

    @property
    def _may_have_index_at_end(self) -> bool:
        """Whether the input is an MP4 of which nothing has been decoded yet."""
        return self._layout.demuxer == "mov" and self.emitted == self._before

    def _check_keep(self) -> None:
        if self._may_have_index_at_end and self._fed > self._keep:
            raise InvalidAudioError(
                f"Expected an MP4 with its index (moov) at the beginning, but it isn't in the first "
                f"{self._keep >> 20} MB"
            )

    def _check_rate(self) -> None:
        audio_s = self.emitted / SAMPLE_RATE - self._filled_s
        if audio_s > BURST_S + self._fed / MIN_BYTES_PER_S:
            raise InvalidAudioError(
                f"The audio can't be decoded: {self._fed} bytes expand to more than {audio_s:.0f} s"
            )

    async def cut(self) -> None:
        """See `Conversion`. FFmpeg can't be restarted here: this waits until it has no more output."""
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
        while not self._ended:
            await self._finish_process()
        if self._may_have_index_at_end:
            await self._decode_whole()
        if self.emitted == 0:
            raise InvalidAudioError(f"The audio can't be decoded: {self._reason}")

    async def _decode_whole(self) -> None:
        """Decode all bytes from a seekable file; in memory, because audio is never written to disk."""
        file = os.memfd_create("audio")
        try:
            async for part in self._reread():
                os.write(file, part)
            os.lseek(file, 0, os.SEEK_SET)
            source, descriptor = self._ffmpeg.source(file)
            line = self._line(source=source, descriptor=descriptor)
            process = await self._start(line, self._before, descriptors=(file,))
            failed = await self._end_process() is not None
        finally:
            os.close(file)
        if failed and self._must_mix(process):
            self._stereo = False
            await self._decode_whole()
        elif failed:
            raise InvalidAudioError(f"The audio can't be decoded: {self._reason}")
