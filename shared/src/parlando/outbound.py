"""HTTP client for URLs chosen by users. Refuses private-network addresses unless they are allowed.

The host name is resolved once, all its addresses are checked, and the connection is made to a checked address
(no DNS rebinding). Only a GET follows redirects. Time and memory of a call are bounded whatever the server
sends.
"""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final

import httpx

from parlando.errors import ParlandoError
from parlando.public_addresses import is_public

TIMEOUT_S: Final = 10.0  # for connecting, and for each read and write
POST_S: Final = 15.0  # for a whole POST
HEAD_S: Final = 30.0  # for a GET until the response headers, redirects included
GRACE_S: Final = 30.0  # of a download, before the minimum rate applies
MAX_REDIRECTS: Final = 5
MAX_ANSWER: Final = 4096  # bytes read of the response to a POST


class RefusedAddressError(ParlandoError):
    """Raised when the cluster must not call a URL."""

    code = "refused_address"


class SendError(ParlandoError):
    """Raised when a call fails. `code`: `timeout`, `unreachable`, `too_slow` or `http_<status>`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Download:
    """A response whose body has not been read yet."""

    status: int
    _answer: httpx.Response
    _min_rate: float

    async def parts(self) -> AsyncIterator[bytes]:
        """Stream the body.

        Raises
        ------
        SendError
            if the connection breaks, or its average rate is below the minimum.

        """
        began, size = time.monotonic(), 0
        with _failures():
            async for part in self._answer.aiter_bytes():
                size += len(part)
                counted_s = time.monotonic() - began - GRACE_S
                if counted_s > 0 and size < self._min_rate * counted_s:
                    raise SendError(
                        "too_slow", f"The server sends less than {self._min_rate / 1000:g} kB per second"
                    )
                yield part


class Outbound:
    """A client for URLs chosen by users. `setting`: name of the setting that allows private addresses."""

    def __init__(self, *, allow_private: bool, setting: str) -> None:
        self._allow_private = allow_private
        self._setting = setting
        self._client = httpx.AsyncClient(
            timeout=TIMEOUT_S,
            follow_redirects=False,
            headers={"Accept-Encoding": "identity"},
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
        )

    async def check(self, url: str) -> None:
        """Check a URL without calling it. Raises `RefusedAddressError` if it must not be called."""
        await self._request("GET", _parsed(url), {})

    async def post(
        self,
        url: str,
        body: bytes,
        *,
        headers: dict[str, str],
        params: dict[str, str] | None = None,
        within_s: float = POST_S,
    ) -> None:
        """POST a body; returns after a 2xx response. Reads at most `MAX_ANSWER` bytes of the response.

        Raises
        ------
        RefusedAddressError, SendError

        """
        target = _parsed(url).copy_merge_params(params or {})
        try:
            async with asyncio.timeout(within_s):
                request = await self._request("POST", target, headers, body)
                with _failures():
                    answer = await self._client.send(request, stream=True)
                    try:
                        beginning = await _beginning(answer)
                    finally:
                        await answer.aclose()
        except TimeoutError as error:
            raise SendError("timeout", f"{target.host} didn't answer within {within_s:g} s") from error
        if not answer.is_success:
            raise SendError(
                f"http_{answer.status_code}", f"{target.host} answered {answer.status_code}: {beginning}"
            )

    @asynccontextmanager
    async def get(self, url: str, *, min_bytes_per_s: float) -> AsyncIterator[Download]:
        """GET a response. Follows redirects; the address of each target is checked.

        `min_bytes_per_s`: minimum average rate of the body, after `GRACE_S`.

        Raises
        ------
        RefusedAddressError, SendError

        """
        target = _parsed(url)
        answer: httpx.Response | None = None
        try:
            try:
                async with asyncio.timeout(HEAD_S):
                    for _ in range(MAX_REDIRECTS + 1):
                        request = await self._request("GET", target, {})
                        with _failures():
                            answer = await self._client.send(request, stream=True)
                        if not answer.has_redirect_location:
                            break
                        await answer.aclose()
                        target = _parsed(target, answer.headers["location"])
            except TimeoutError as error:
                raise SendError("timeout", f"{target.host} didn't answer within {HEAD_S:g} s") from error
            assert answer is not None
            yield Download(answer.status_code, answer, min_bytes_per_s)
        finally:
            if answer is not None:
                await answer.aclose()

    async def _request(
        self, method: str, target: httpx.URL, headers: dict[str, str], body: bytes | None = None
    ) -> httpx.Request:
        if target.scheme not in ("http", "https") or not target.host:
            raise RefusedAddressError(f"Expected an http or https URL, but got {str(target)[:80]!r}")
        if target.port is not None and not 0 < target.port < 1 << 16:
            raise RefusedAddressError(f"Expected a port from 1 to 65535, but got {target.port}")
        if self._allow_private:
            return self._client.build_request(method, target, content=body, headers=headers)
        address = await self._public_address(target.host, target.port or _port(target.scheme))
        host = target.host if target.port is None else f"{target.host}:{target.port}"
        return self._client.build_request(
            method,
            target.copy_with(host=address),
            content=body,
            headers={**headers, "Host": host},
            extensions={"sni_hostname": target.host},
        )

    async def _public_address(self, host: str, port: int) -> str:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, ValueError, OverflowError) as error:  # invalid label or port
            raise RefusedAddressError(f"{host[:80]} can't be resolved: {error}") from error
        addresses = [str(entry[4][0]) for entry in found]
        for address in addresses:
            if not is_public(address):
                raise RefusedAddressError(
                    f"{host} is {address}, an address of a private network; {self._setting}=1 allows it"
                )
        return addresses[0]

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


@contextmanager
def _failures() -> Iterator[None]:
    """Convert exceptions of httpx and the socket to `SendError`."""
    try:
        yield
    except httpx.TimeoutException as error:
        raise SendError("timeout", f"The server took too long: {type(error).__name__}") from error
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, OverflowError) as error:
        raise SendError("unreachable", f"{type(error).__name__}: {error}") from error


async def _beginning(answer: httpx.Response) -> str:
    """The first bytes of a response. Reading up to its end allows httpx to reuse the connection."""
    body = b""
    async for part in answer.aiter_raw():
        body += part
        if len(body) >= MAX_ANSWER:
            break
    return body[:200].decode("utf-8", "replace")


def destination_of(url: str) -> str:
    """The host of a URL, with the port if it is not the default; "" if the URL is invalid."""
    try:
        return httpx.URL(url).netloc.decode().lower()
    except (httpx.InvalidURL, ValueError):
        return ""


def _parsed(url: str | httpx.URL, location: str = "") -> httpx.URL:
    try:
        return httpx.URL(url).join(location) if location else httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise RefusedAddressError(
            f"Expected a URL, but got {str(location or url)[:80]!r}: {error}"
        ) from error


def _port(scheme: str) -> int:
    return 443 if scheme == "https" else 80
