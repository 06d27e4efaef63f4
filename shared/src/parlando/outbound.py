"""HTTP to where users want it: not into private networks, unless that's allowed.

The name is resolved once, its addresses are checked, and the connection goes to the address that was
checked; redirects are followed for a GET only.
"""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import httpx

from parlando.errors import ParlandoError

TIMEOUT_S: Final = 10.0
MOST_REDIRECTS: Final = 5


class RefusedAddressError(ParlandoError):
    """Raised when a URL isn't one that this cluster may call."""

    code = "refused_address"


class Outbound:
    """A client for URLs that others have chosen. `setting`: what allows private addresses, for errors."""

    def __init__(self, *, allow_private: bool, setting: str) -> None:
        self._allow_private = allow_private
        self._setting = setting
        self._client = httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False)

    async def check(self, url: str) -> None:
        """Raises `RefusedAddressError` if it's not a URL that may be called."""
        await self._request("GET", _parsed(url), {})

    async def post(
        self, url: str, body: bytes, *, headers: dict[str, str], params: dict[str, str] | None = None
    ) -> httpx.Response:
        """POST a body.

        Raises
        ------
        RefusedAddressError, httpx.HTTPError

        """
        target = _parsed(url).copy_merge_params(params or {})
        request = await self._request("POST", target, headers, body)
        return await self._client.send(request)

    @asynccontextmanager
    async def get(self, url: str) -> AsyncIterator[httpx.Response]:
        """GET an answer whose body isn't read yet. Redirects are followed, to addresses that are checked.

        Raises
        ------
        RefusedAddressError, httpx.HTTPError

        """
        target = _parsed(url)
        for _ in range(MOST_REDIRECTS + 1):
            answer = await self._client.send(await self._request("GET", target, {}), stream=True)
            if not answer.has_redirect_location:
                break
            await answer.aclose()
            target = target.join(answer.headers["location"])
        try:
            yield answer
        finally:
            await answer.aclose()

    async def _request(
        self, method: str, target: httpx.URL, headers: dict[str, str], body: bytes | None = None
    ) -> httpx.Request:
        if target.scheme not in ("http", "https") or not target.host:
            raise RefusedAddressError(f"Expected an http or https URL, but got {str(target)[:80]!r}")
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
        except (OSError, UnicodeError) as error:  # UnicodeError: an empty label, or one of 64 letters
            raise RefusedAddressError(f"{host} can't be resolved: {error}") from error
        addresses = [str(entry[4][0]) for entry in found]
        for address in addresses:
            if not ipaddress.ip_address(address.partition("%")[0]).is_global:
                raise RefusedAddressError(
                    f"{host} is {address}, an address of a private network; {self._setting}=1 allows it"
                )
        return addresses[0]

    async def aclose(self) -> None:
        """Close its connections."""
        await self._client.aclose()


def _parsed(url: str) -> httpx.URL:
    try:
        return httpx.URL(url)
    except httpx.InvalidURL as error:
        raise RefusedAddressError(f"Expected a URL, but got {url[:80]!r}: {error}") from error


def _port(scheme: str) -> int:
    return 443 if scheme == "https" else 80
