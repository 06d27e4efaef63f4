"""What a client sends when it connects, before its first message. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

KEY_SUBPROTOCOL: Final = "parlando-key."
"""Prefix of the WebSocket subprotocol in which a browser sends its API key."""
SCHEMES: Final = ("bearer", "token")
"""Schemes of the header `Authorization`, in lower case, whose credentials are a key."""


@dataclass(frozen=True, slots=True)
class Handshake:
    """`peer`: the client's address. `headers`: names in lower case. `path`: the route's parameters.

    `query`: of a repeated name the last value; `pairs` has all. `url`: the whole URL of the request.
    `over_http`: whether there was an HTTP request. A TCP connection has only a peer.
    """

    peer: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    path: Mapping[str, str] = field(default_factory=dict)
    over_http: bool = True
    pairs: Sequence[tuple[str, str]] = ()
    url: str = ""

    def many(self, name: str) -> list[str]:
        """All values of a name in the query, in their order."""
        pairs = self.pairs or self.query.items()
        return [value for key, value in pairs if key == name]

    @property
    def subprotocols(self) -> list[str]:
        """The WebSocket subprotocols that the client offers, in its order."""
        offered = self.headers.get("sec-websocket-protocol", "").split(",")
        return [name.strip() for name in offered if name.strip()]

    @property
    def token(self) -> str | None:
        """The key or token that the client sends: in a header, a subprotocol, or the query."""
        scheme, _, credentials = self.headers.get("authorization", "").strip().partition(" ")
        if scheme.lower() in SCHEMES:
            if credentials:
                return credentials.strip()
        elif scheme and not credentials:  # a bare key, as AssemblyAI's clients send it
            return scheme
        if key := self.headers.get("x-api-key"):
            return key
        for name in self.subprotocols:
            if name.startswith(KEY_SUBPROTOCOL):
                return name.removeprefix(KEY_SUBPROTOCOL)
        return self.query.get("token")
