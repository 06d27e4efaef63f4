"""Files from the blob store as 16 kHz mono PCM, decoded by an audio-processor; their tags; their hashes."""

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Final

import httpx
import mutagen
import numpy as np
import orjson
import structlog

from parlando.blobs import Blobs
from parlando.domain.audio import BYTES_PER_SAMPLE, SAMPLE_RATE, Pcm16
from parlando.errors import InvalidAudioError, TooBigError, UnavailableError

PIECE: Final = 1 << 20
HEADER: Final = 44
"""Bytes of the WAV header that the audio-processor sends."""
ATTEMPTS: Final = 3
RETRY_S: Final = 1.0
TIMEOUT_S: Final = 60.0
LONGEST_TAG: Final = 300

log = structlog.get_logger(part="decoding")


class Decoder:
    """Decodes files of the blob store with the audio-processor at `url`."""

    def __init__(self, blobs: Blobs, url: str) -> None:
        self._blobs = blobs
        self._client = httpx.AsyncClient(base_url=url, timeout=TIMEOUT_S)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def pcm(self, blob: str, *, limit_s: float, whole: bool) -> Pcm16:
        """The audio of a file, of at most `limit_s` seconds; what follows is an error if it must be `whole`.

        Raises
        ------
        InvalidAudioError, TooBigError, UnavailableError, StorageError

        """
        for attempt in range(1, ATTEMPTS + 1):
            descriptor = await self._blobs.open(blob)
            if descriptor is None:
                raise InvalidAudioError(
                    "The file is not in the blob store; gateways and song-recognizers must share BLOB_URL"
                )
            try:
                return await self._decoded(descriptor, limit_s=limit_s, whole=whole)
            except httpx.HTTPError as error:
                log.warning(
                    "processor.unreachable", error=f"{type(error).__name__}: {error}", attempt=attempt
                )
                await asyncio.sleep(RETRY_S * attempt)
            finally:
                os.close(descriptor)
        raise UnavailableError(
            f"The audio-processor at {self._client.base_url} can't be reached; PROCESSOR_URL sets its address"
        )

    async def _decoded(self, descriptor: int, *, limit_s: float, whole: bool) -> Pcm16:
        most = int(limit_s * SAMPLE_RATE) * BYTES_PER_SAMPLE
        wav = bytearray()
        async with self._client.stream("POST", "/v1/audio/convert", content=_pieces(descriptor)) as answer:
            if answer.status_code in (413, 415):
                problem = _detail(await answer.aread())
                raise (TooBigError if answer.status_code == 413 else InvalidAudioError)(problem)
            answer.raise_for_status()
            async for part in answer.aiter_bytes():
                wav += part
                if len(wav) > HEADER + most:
                    if whole:
                        raise TooBigError(f"Expected a song of at most {limit_s / 60:.0f} minutes")
                    break
        data = bytes(wav[HEADER : HEADER + most])
        return np.frombuffer(data[: len(data) // BYTES_PER_SAMPLE * BYTES_PER_SAMPLE], "<i2")

    async def tags(self, blob: str) -> dict[str, str]:
        """The tags `artist`, `album` and `title` of a file, as far as it has them."""
        descriptor = await self._blobs.open(blob)
        if descriptor is None:
            return {}
        try:
            return await asyncio.to_thread(_tags, descriptor)
        finally:
            os.close(descriptor)


def _detail(body: bytes) -> str:
    """The reason in an error of the audio-processor."""
    try:
        return str(orjson.loads(body)["detail"])
    except (ValueError, KeyError, TypeError):
        return "The file can't be decoded"


async def _pieces(descriptor: int) -> AsyncIterator[bytes]:
    os.lseek(descriptor, 0, os.SEEK_SET)
    while piece := await asyncio.to_thread(os.read, descriptor, PIECE):
        yield piece


def _tags(descriptor: int) -> dict[str, str]:
    with open(os.dup(descriptor), "rb") as file:
        file.seek(0)
        try:
            found = mutagen.File(file, easy=True)
        except Exception as error:  # mutagen raises many kinds for damaged files
            log.info("tags.unreadable", error=type(error).__name__)
            return {}
    if found is None or found.tags is None:
        return {}
    values = {name: found.tags.get(name) for name in ("artist", "album", "title")}
    return {name: str(value[0])[:LONGEST_TAG] for name, value in values.items() if value}
