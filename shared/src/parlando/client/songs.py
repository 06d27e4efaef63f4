"""Songs over a gateway's REST API: register, list, remove, and recognise one in a file.

async with SongsClient("http://127.0.0.1:8000") as songs:
    await songs.register("album/first.flac")
    print(await songs.recognise("excerpt.wav"))
"""

import os
from collections.abc import AsyncIterator
from typing import Any, Final, cast

from parlando.client.http import RestClient, opened

Document = dict[str, Any]
PAGE: Final = 500
REGISTERED_WITHIN_S: Final = 180


class SongsClient(RestClient):
    """The songs of a cluster; see `RestClient`."""

    def __init__(self, url: str = "http://127.0.0.1:8000", *, api_key: str | None = None) -> None:
        super().__init__(url, api_key=api_key, read_s=REGISTERED_WITHIN_S)

    async def _ask(self, method: str, path: str, **more: Any) -> Document:
        return cast(Document, (await self._send(method, path, **more)).json())

    async def register(
        self, file: str | os.PathLike[str], *, artist: str = "", album: str = "", title: str = ""
    ) -> Document:
        """Register a file as a song; returns the song. Names that are not given are read from its tags."""
        names = {"artist": artist, "album": album, "title": title}
        fields = {name: value for name, value in names.items() if value}
        path, uploaded = opened(file)
        with uploaded:
            return await self._ask("POST", "/songs", files={"file": (path.name, uploaded)}, data=fields)

    async def registered(self, sha256: str) -> Document | None:
        """The song that was registered from the file with this SHA-256."""
        found = (await self._ask("GET", "/songs", params={"sha256": sha256}))["songs"]
        return cast(Document, found[0]) if found else None

    async def list(self) -> AsyncIterator[Document]:
        """Yield all songs, in the order in which they were registered."""
        after: int | None = 0
        while after is not None:
            page = await self._ask("GET", "/songs", params={"after": after, "limit": PAGE})
            for song in page["songs"]:
                yield song
            after = page["next"]

    async def song(self, number: int) -> Document:
        """A song by its number."""
        return await self._ask("GET", f"/songs/{number}")

    async def remove(self, number: int) -> Document:
        """Remove a song."""
        return await self._ask("DELETE", f"/songs/{number}")

    async def recognise(self, file: str | os.PathLike[str]) -> Document | None:
        """The song in the first minute of a file; None if none is recognised."""
        path, uploaded = opened(file)
        with uploaded:
            return await self.recognise_bytes(uploaded.read(), path.name)

    async def recognise_bytes(self, data: bytes, name: str = "audio.wav") -> Document | None:
        """As `recognise`, for a file in memory."""
        reply = await self._ask("POST", "/songs/recognise", files={"file": (name, data)})
        return cast("Document | None", reply["song"])
