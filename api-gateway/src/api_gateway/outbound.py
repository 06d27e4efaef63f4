"""HTTP to where users want it: not into private networks, unless that's allowed.

The name is resolved once, its addresses are checked, and the connection goes to the address that was
checked; redirects aren't followed.
"""

import asyncio
import ipaddress
import socket
from typing import Final
from urllib.parse import urlsplit

import httpx

from parlando.errors import ParlandoError

TIMEOUT_S: Final = 10.0


class RefusedAddressError(ParlandoError):
    """Raised when a URL isn't one that this cluster may call."""

    code = "refused_address"


class Outbound:
    """A client for URLs that others have chosen."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._client = httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False)

    async def post(
        self, url: str, body: bytes, *, headers: dict[str, str], params: dict[str, str] | None = None
    ) -> httpx.Response:
        """POST a body.

        Raises
        ------
        RefusedAddressError, httpx.HTTPError

        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise RefusedAddressError(f"Expected an http or https URL, but got {url[:80]!r}")
        target = httpx.URL(url).copy_merge_params(params or {})
        if self._allow_private:
            return await self._client.post(target, content=body, headers=headers)
        address = await _public_address(parts.hostname, parts.port or _port(parts.scheme))
        pinned = target.copy_with(host=address)
        host = parts.hostname if parts.port is None else f"{parts.hostname}:{parts.port}"
        return await self._client.post(
            pinned,
            content=body,
            headers={**headers, "Host": host},
            extensions={"sni_hostname": parts.hostname},
        )

    async def aclose(self) -> None:
        """Close its connections."""
        await self._client.aclose()


def _port(scheme: str) -> int:
    return 443 if scheme == "https" else 80


async def _public_address(host: str, port: int) -> str:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise RefusedAddressError(f"{host} can't be resolved: {error}") from error
    addresses = [str(entry[4][0]) for entry in found]
    for address in addresses:
        if not ipaddress.ip_address(address.partition("%")[0]).is_global:
            raise RefusedAddressError(
                f"{host} is {address}, an address of a private network; OMI_WEBHOOK_ALLOW_PRIVATE=1 allows it"
            )
    return addresses[0]
