"""Shared by the REST clients: requests, error responses as exceptions, server-sent events, reconnection."""

import asyncio
import math
import os
import time
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

import httpx
from httpx_sse import EventSource, SSEError

from parlando.client.session import ClientError

WAIT_S: Final = 0.25  # pause after the first failed connection attempt; it doubles up to …
LONGEST_WAIT_S: Final = 1.0
TRIES: Final = 32  # maximum consecutive failed attempts
PATIENCE_S: Final = 60.0
"""`patience_s` of `follow` for a session: if Redis has lost it, its owner has so long to reopen it."""
UNKNOWN: Final = (401, 404)  # responses for a lost session, to a viewer and to the owner
UNREACHABLE: Final = (502, 503, 504)  # responses while a gateway restarts


def refusal(answer: httpx.Response) -> ClientError:
    """The error in a gateway's response, whose body must have been read."""
    try:
        problem = answer.json()
        return ClientError(problem["code"], problem["detail"])
    except (ValueError, KeyError, TypeError):
        return ClientError("http", f"The gateway answered {answer.status_code}")


class RestClient:
    """A client of one gateway. Its calls raise `ClientError` if the gateway refuses or is unreachable.

    `api_key`: an API key, or a token. `read_s`: seconds within which a response must come.
    """

    def __init__(self, url: str, *, api_key: str | None, read_s: float) -> None:
        self._url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._client = httpx.AsyncClient(headers=headers, timeout=httpx.Timeout(60, read=read_s))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _send(self, method: str, path: str, **more: Any) -> httpx.Response:
        try:
            answer = await self._client.request(method, self._url + path, **more)
        except httpx.HTTPError as error:
            raise ClientError("unreachable", f"No gateway answers at {self._url} ({error!r})") from error
        if answer.is_error:
            raise refusal(answer)
        return answer


class Counted:
    """A file that reports the number of bytes read so far to `progress`."""

    def __init__(self, file: BinaryIO, progress: Callable[[int], None]) -> None:
        self._file = file
        self._progress = progress

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes."""
        data = self._file.read(size)
        self._progress(self._file.tell())
        return data

    def fileno(self) -> int:
        """The file descriptor, from which httpx determines the file's length."""
        return self._file.fileno()


def opened(file: str | os.PathLike[str]) -> tuple[Path, BinaryIO]:
    """A file to upload: its path, and the open file."""
    path = Path(file)
    return path, path.open("rb")


async def follow(
    client: httpx.AsyncClient, url: str, *, after: int = 0, patience_s: float = 0
) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the events after number `after`, each once; reconnects after a broken connection.

    Ends if the gateway answers that there will be no further events (204).

    An event `restarted` reports that a session was reopened; all events since then follow.

    `patience_s`: seconds for which the gateway may report the session or job as unknown after it was
    followed.

    Raises
    ------
    ClientError
        if the gateway refuses the request, or is unreachable for half a minute.

    """
    failures, seen_at, position = 0, -math.inf, str(after)
    while failures < TRIES:
        try:
            async with client.stream("GET", url, headers={"Last-Event-ID": position}) as answer:
                patient = answer.status_code in UNKNOWN and time.monotonic() - seen_at < patience_s
                if answer.is_error and answer.status_code not in UNREACHABLE and not patient:
                    await answer.aread()
                    raise refusal(answer)
                if answer.status_code == httpx.codes.NO_CONTENT:
                    return
                if answer.is_success:
                    try:
                        async for event in EventSource(answer).aiter_sse():
                            position = event.id or position
                            if event.data:  # none comes with `retry`
                                failures = 0
                                yield event.json()
                    finally:
                        seen_at = time.monotonic()
        except (httpx.HTTPError, SSEError):
            pass
        await asyncio.sleep(min(WAIT_S * 2**failures, LONGEST_WAIT_S))
        failures += 1
    raise ClientError("unreachable", f"The connection to {url} was lost too often")
