"""Processing of requests: register a file, recognise the songs in a file."""

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import Executor
from functools import partial
from hashlib import sha256
from typing import Any, Final

import numpy as np
import structlog

from parlando.domain.audio import SAMPLE_RATE, Pcm16
from parlando.domain.songs import RecognisedSong
from parlando.errors import InvalidAudioError, SongNotFoundError
from parlando.store.requests import Request
from parlando.store.song_index import MAX_FRAMES, SongIndex
from song_recognizer import metrics
from song_recognizer.decoding import Decoder
from song_recognizer.landmarks import DEFAULT, landmarks
from song_recognizer.recognition import Recogniser, parameters_of_index
from song_recognizer.rule import is_silent

SHORTEST_S: Final = 3.0
LONGEST_S: Final = int(MAX_FRAMES * DEFAULT.frame_s // 60) * 60
"""The longest song: its last frame must fit into a record."""
RECOGNISED_S: Final = 60.0
"""Seconds of a file in which songs are recognised."""
WINDOW_S: Final = 10.0
STEP_S: Final = 5.0
LEAST: Final = 20
"""Least landmarks of a song; with fewer it could not be recognised."""

log = structlog.get_logger(part="requests")


class RequestProcessor:
    """See the module. Computes in `thread`."""

    def __init__(self, index: SongIndex, decoder: Decoder, recogniser: Recogniser, thread: Executor) -> None:
        self._index = index
        self._decoder = decoder
        self._recogniser = recogniser
        self._thread = thread

    async def process(self, request: Request) -> dict[str, Any]:
        """The reply to a request. Raises the `ParlandoError`s that are its reply otherwise."""
        outcome = "failed"
        try:
            reply = await (self._register if request.kind == "register" else self._recognise)(request.fields)
            outcome = "done"
            return reply
        finally:
            metrics.REQUESTS.labels(request.kind, outcome).inc()

    async def _register(self, fields: Mapping[str, str]) -> dict[str, Any]:
        blob = fields["blob"]
        pcm = await self._decoder.pcm(blob, limit_s=LONGEST_S, whole=True)
        if len(pcm) < SHORTEST_S * SAMPLE_RATE or is_silent(pcm):
            raise InvalidAudioError(f"Expected a song of at least {SHORTEST_S:.0f} s that is not silent")
        found = await self._in_thread(landmarks, pcm)
        if len(found) < LEAST:
            raise InvalidAudioError(
                "The file has too few landmarks to be recognised: it's not music, or noise"
            )
        await self._index.check(parameters_of_index())
        number, registered = await self._index.begin(
            content=sha256(pcm.tobytes()).hexdigest(),
            file=fields.get("sha256", ""),
            fields={
                **await self._names(blob, fields),
                "duration": round(len(pcm) / SAMPLE_RATE, 2),
                "hashes": len(found),
                "registered_ms": round(time.time() * 1000),
                "filename": fields.get("filename", ""),
            },
        )
        if not registered:
            await self._index.append(number, await self._in_thread(found.by_hash))
            if not await self._index.finish(number):
                raise SongNotFoundError("The song was removed, or registered again, at the same time")
            log.info("song.registered", song=number, hashes=len(found))
        song = await self._index.song(number)
        return {"song": song.model_dump(), "registered": not registered}

    async def _names(self, blob: str, fields: Mapping[str, str]) -> dict[str, str]:
        """Artist, album and title: as given, else from the tags; the title at least from the file's name."""
        tags = await self._decoder.tags(blob)
        names = {name: fields.get(name) or tags.get(name, "") for name in ("artist", "album", "title")}
        names["title"] = names["title"] or fields.get("filename", "").rpartition(".")[0] or "unknown"
        return names

    async def _recognise(self, fields: Mapping[str, str]) -> dict[str, Any]:
        pcm = await self._decoder.pcm(fields["blob"], limit_s=RECOGNISED_S, whole=False)
        if len(pcm) < SHORTEST_S * SAMPLE_RATE:
            raise InvalidAudioError(f"Expected at least {SHORTEST_S:.0f} s of audio")
        song = await self._in_windows(pcm)
        return {
            "song": song.model_dump() if song else None,
            "seconds": round(len(pcm) / SAMPLE_RATE, 2),
        }

    async def _in_windows(self, pcm: Pcm16) -> RecognisedSong | None:
        """The first song that one window shows beyond doubt, or two show together."""
        rule = self._recogniser.rule
        earlier: list[RecognisedSong] = []
        for start in _starts(len(pcm)):
            window = pcm[start : start + int(WINDOW_S * SAMPLE_RATE)]
            if is_silent(window):
                continue
            found = await self._recogniser.candidate(window, start=start / SAMPLE_RATE)
            if found is None:
                continue
            if found.matches >= rule.alone or any(
                each.song_id == found.song_id and abs(each.began - found.began) <= rule.began_s
                for each in earlier
            ):
                return found
            earlier.append(found)
        return None

    async def _in_thread(self, function: Any, *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(function, *args))


def _starts(count: int) -> list[int]:
    """The first samples of the windows of `count` samples; the last window ends with the audio."""
    window, step = int(WINDOW_S * SAMPLE_RATE), int(STEP_S * SAMPLE_RATE)
    if count <= window:
        return [0]
    return sorted({*np.arange(0, count - window, step).tolist(), count - window})
