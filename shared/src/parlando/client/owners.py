"""Owners over a gateway's REST API: count, export and delete what they have; for how long it is kept.

async with OwnersClient("https://stt.example", api_key=KEY) as owners:
    await owners.export("mine.zip")
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import httpx

from parlando.client.http import RestClient, refusal
from parlando.client.session import ClientError

Document = dict[str, Any]
DELETE_S: Final = 3600.0
"""Seconds within which a deletion must be answered."""


class OwnersClient(RestClient):
    """The owners of a cluster; see `RestClient`.

    `owner`: the 16 digits that lists show, or `me`. Others than one's own need a key with the scope `admin`,
    and so do `list` and `delete`.
    """

    def __init__(self, url: str = "http://127.0.0.1:8000", *, api_key: str | None = None) -> None:
        super().__init__(url, api_key=api_key, read_s=DELETE_S)

    async def _ask(self, method: str, path: str, **more: Any) -> Document:
        return cast(Document, (await self._send(method, f"/v1/owners{path}", **more)).json())

    async def list(self) -> list[Document]:
        """All owners, with numbers of what they have in Redis."""
        return cast(list[Document], (await self._ask("GET", ""))["owners"])

    async def get(self, owner: str = "me") -> Document:
        """What an owner has, by kind; documents in the archive too."""
        return await self._ask("GET", f"/{owner}")

    async def delete(self, owner: str) -> Document:
        """Delete everything of an owner. `complete`: nothing was left; `deleted`, `remaining`: numbers."""
        return await self._ask("DELETE", f"/{owner}")

    async def export(self, file: str | os.PathLike[str], owner: str = "me") -> Path:
        """Write everything of an owner to a zip archive; an incomplete one is deleted again."""
        path = Path(file)
        try:
            url = f"{self._url}/v1/owners/{owner}/export"
            async with self._client.stream("GET", url) as answer:
                if answer.is_error:
                    await answer.aread()
                    raise refusal(answer)
                with _written(path) as out:
                    async for part in answer.aiter_bytes():
                        out.write(part)
        except httpx.HTTPError as error:
            raise ClientError("unreachable", f"The export from {self._url} broke off ({error!r})") from error
        return path

    async def retention(self, owner: str = "me") -> Document:
        """For how many days an owner's transcripts and audio are kept; None for no limit of its own."""
        return await self._ask("GET", f"/{owner}/retention")

    async def set_retention(
        self, owner: str = "me", *, transcript_days: int | None = None, audio_days: int | None = None
    ) -> Document:
        """Set for how many days they are kept; 0 for the cluster's time, None to leave it as it is."""
        asked = {"transcript_days": transcript_days, "audio_days": audio_days}
        body = {name: days for name, days in asked.items() if days is not None}
        return await self._ask("PUT", f"/{owner}/retention", json=body)


@contextmanager
def _written(path: Path) -> Iterator[BinaryIO]:
    """The open file; it is deleted again if the block fails."""
    with path.open("wb") as out:
        try:
            yield out
        except BaseException:
            path.unlink()
            raise
