"""Resumable uploads (tus 1.0.0): they continue after a lost connection, or in the next run of a program."""

import asyncio
import base64
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import BinaryIO, Final

import httpx

from parlando.client.http import UNREACHABLE, WAIT_S, refusal
from parlando.client.session import ClientError
from parlando.client.upload_journal import UploadJournal

RESUMABLE_FROM: Final = 32 << 20
"""Bytes from which on files are uploaded in this way unless the caller says otherwise."""
REQUEST: Final = 32 << 20  # bytes per request; proxies often refuse bodies of more than 100 MB
BLOCK: Final = 1 << 18  # bytes that are read at a time
TRIES: Final = 40  # maximum consecutive attempts without a byte stored: about five minutes
LONGEST_WAIT_S: Final = 10.0
RETRIED: Final = (
    *UNREACHABLE,
    httpx.codes.REQUEST_TIMEOUT,
    httpx.codes.CONFLICT,
    httpx.codes.TOO_MANY_REQUESTS,
)
GONE: Final = (httpx.codes.NOT_FOUND, httpx.codes.GONE)


class ResumableUpload:
    """One file on its way to a gateway. `sent` is called with the number of bytes that have been sent.

    `journal`: remembers where the upload is, for a later run of the program; None for not.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        url: str,
        path: Path,
        file: BinaryIO,
        *,
        sent: Callable[[int], None] | None = None,
        journal: UploadJournal | None = None,
    ) -> None:
        self._client = client
        self._url = url
        self._path = path
        self._file = file
        self._size = os.fstat(file.fileno()).st_size
        self._sent = sent or (lambda _: None)
        self._journal = journal
        self._address: str | None = journal.address(path) if journal else None
        self.continued = self._address is not None
        """Whether it was begun by an earlier run of the program."""

    async def run(self) -> str:
        """Upload what the gateway doesn't have yet. Returns the upload's id.

        Raises
        ------
        ClientError
            if the gateway refuses it, or stores nothing for about five minutes.

        """
        failures, stored = 0, -1
        while True:
            try:
                address = self._address or await self._create()
                offset = await self._offset(address)
                self._sent(offset)
                if offset > stored:
                    failures, stored = 0, offset
                while offset < self._size:
                    offset = await self._patch(address, offset)
                    failures, stored = 0, offset
                return address.rpartition("/")[2]
            except httpx.HTTPStatusError as error:
                answer = error.response
                if answer.status_code in GONE and self._address:
                    self._remember(None)  # it has expired, or Redis has lost its data
                elif answer.status_code not in RETRIED:
                    raise refusal(answer) from None
                reason = refusal(answer).reason
            except httpx.HTTPError as error:
                reason = f"No gateway answers at {self._url} ({error!r})"
            failures += 1
            if failures >= TRIES:
                raise ClientError("unreachable", f"The upload of {self._path} doesn't advance: {reason}")
            await asyncio.sleep(min(WAIT_S * 2 ** (failures - 1), LONGEST_WAIT_S))

    def finished(self) -> None:
        """Forget the upload: a job has the file, or it can't be used any more."""
        self._remember(None)

    def _remember(self, address: str | None) -> None:
        self._address = address
        if self._journal:
            self._journal.keep(self._path, address)

    async def _ask(self, method: str, address: str, **more: object) -> httpx.Response:
        headers = {"Tus-Resumable": "1.0.0", **more.pop("headers", {})}  # type: ignore[dict-item]
        answer = await self._client.request(method, address, headers=headers, **more)  # type: ignore[arg-type]
        if not answer.is_success:
            answer.raise_for_status()
            raise httpx.RemoteProtocolError(f"the answer is {answer.status_code}")
        return answer

    async def _create(self) -> str:
        name = base64.b64encode(self._path.name.encode(errors="replace")).decode()
        headers = {"Upload-Length": str(self._size), "Upload-Metadata": f"filename {name}"}
        answer = await self._ask("POST", f"{self._url}/v1/uploads", headers=headers)
        location = answer.headers.get("Location", "").rpartition("/")[2]
        address = f"{self._url}/v1/uploads/{location}"
        self._remember(address)
        self.continued = False
        return address

    async def _offset(self, address: str) -> int:
        return _offset_in(await self._ask("HEAD", address))

    async def _patch(self, address: str, offset: int) -> int:
        length = min(REQUEST, self._size - offset)
        headers = {
            "Upload-Offset": str(offset),
            "Content-Type": "application/offset+octet-stream",
            "Content-Length": str(length),
        }
        return _offset_in(
            await self._ask("PATCH", address, headers=headers, content=self._blocks(offset, length))
        )

    async def _blocks(self, offset: int, length: int) -> AsyncIterator[bytes]:
        await asyncio.to_thread(self._file.seek, offset)
        while length:
            block = await asyncio.to_thread(self._file.read, min(BLOCK, length))
            if not block:
                raise ClientError("file_changed", f"{self._path} became shorter during its upload")
            offset, length = offset + len(block), length - len(block)
            yield block
            self._sent(offset)


def _offset_in(answer: httpx.Response) -> int:
    try:
        return int(answer.headers["Upload-Offset"])
    except (KeyError, ValueError) as error:
        raise httpx.RemoteProtocolError("the answer has no Upload-Offset") from error
