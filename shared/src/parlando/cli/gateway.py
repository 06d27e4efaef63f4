"""A gateway's job API, as the command line uses it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, cast

import httpx
import orjson

from parlando.errors import ParlandoError

WAIT_S: Final = 0.5  # until a connection that broke is tried again …
TRIES: Final = 20  # … so many times
ENDS: Final = ("completed", "failed", "cancelled")


class GatewayError(ParlandoError):
    """Raised when a gateway refuses, or can't be reached."""

    code = "gateway"


class _Counted:
    """A file that tells how much of it was read."""

    def __init__(self, file: BinaryIO, told: Callable[[int], None]) -> None:
        self._file = file
        self._told = told

    def read(self, size: int = -1) -> bytes:
        """Some of it."""
        data = self._file.read(size)
        self._told(self._file.tell())
        return data

    def fileno(self) -> int:
        """For whoever wants to know how long it is."""
        return self._file.fileno()


class Gateway:
    """Connections to one gateway."""

    def __init__(self, url: str, key: str | None) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._url = url.rstrip("/")
        self._jobs = f"{self._url}/v1/stt/jobs"
        self._client = httpx.AsyncClient(headers=headers, timeout=httpx.Timeout(60, read=120))

    async def __aenter__(self) -> "Gateway":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def _ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        try:
            answer = await self._client.request(method, self._jobs + path, **more)
        except httpx.HTTPError as error:
            raise GatewayError(
                f"No gateway answers at {self._url} ({error or type(error).__name__}); "
                "start one with: make run"
            ) from error
        if answer.is_error:
            raise GatewayError(_reason(answer))
        return answer

    async def submit(self, file: Path, fields: dict[str, str], sent: Callable[[int], None]) -> dict[str, Any]:
        """Upload a file; `sent` is told how many of its bytes have gone."""
        with file.open("rb") as opened:
            counted = cast(BinaryIO, _Counted(opened, sent))
            answer = await self._ask("POST", "", files={"file": (file.name, counted)}, data=fields)
        return cast(dict[str, Any], answer.json())

    async def follow(self, job: str) -> AsyncIterator[dict[str, Any]]:
        """A job's events up to the last one, over broken connections."""
        seen = 0
        for _ in range(TRIES):
            try:
                async with self._client.stream(
                    "GET", f"{self._jobs}/{job}/events", headers={"Last-Event-ID": str(seen)}
                ) as answer:
                    if answer.is_error:
                        await answer.aread()
                        raise GatewayError(_reason(answer))
                    async for line in answer.aiter_lines():
                        if line.startswith("data: "):
                            event = orjson.loads(line[6:])
                            seen = event["seq"]
                            yield event
                            if event["type"] in ENDS:
                                return
            except httpx.HTTPError:
                await asyncio.sleep(WAIT_S)
        raise GatewayError(f"The connection to {self._url} broke too often")

    async def result(self, job: str, form: str) -> str:
        """A completed job's result."""
        return (await self._ask("GET", f"/{job}/result", params={"format": form})).text

    async def cancel(self, job: str) -> dict[str, Any]:
        """Cancel a job, or delete one that has ended."""
        return cast(dict[str, Any], (await self._ask("DELETE", f"/{job}")).json())

    async def job(self, job: str) -> dict[str, Any]:
        """Where a job stands."""
        return cast(dict[str, Any], (await self._ask("GET", f"/{job}")).json())

    async def jobs(self, limit: int) -> list[dict[str, Any]]:
        """The newest jobs of this key."""
        return cast(
            list[dict[str, Any]], (await self._ask("GET", "", params={"limit": limit})).json()["jobs"]
        )


def _reason(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError):
        return f"The gateway answered {answer.status_code}"
