"""Who is calling: keys from the header, a WebSocket subprotocol or the query; compared in constant time."""

import ipaddress
from dataclasses import dataclass
from hmac import compare_digest

from starlette.requests import HTTPConnection

from api_gateway.server.header_values import host_name, origin_name
from api_gateway.settings import GatewaySettings
from parlando.errors import NotAllowedError

SUBPROTOCOL = "parlando"
KEY_SUBPROTOCOL = "parlando-key."
_LOCAL_NAMES = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller. `key` is "" where no keys are configured."""

    key: str = ""


def offered_token(connection: HTTPConnection) -> str | None:
    """The key or token that a request carries, in any of the places where it may."""
    headers = connection.headers
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if credentials and scheme.lower() in ("bearer", "token"):
        return credentials.strip()
    if key := headers.get("x-api-key"):
        return key
    for protocol in headers.get("sec-websocket-protocol", "").split(","):
        if protocol.strip().startswith(KEY_SUBPROTOCOL):
            return protocol.strip().removeprefix(KEY_SUBPROTOCOL)
    return connection.query_params.get("token")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def authenticate(
    connection: HTTPConnection, settings: GatewaySettings, *, offered: str | None = None
) -> Principal:
    """The caller of an HTTP request or WebSocket handshake. `offered`: a key that its path carries.

    Raises
    ------
    NotAllowedError
        if keys are configured and none of them is offered, or if none is configured and the caller
        isn't a page or program of this machine.

    """
    if settings.api_keys:
        secret = (offered or offered_token(connection) or "").encode()
        matches = [compare_digest(secret, key.encode()) for key in settings.api_keys]
        if not any(matches):
            raise NotAllowedError("A valid API key is needed: Authorization: Bearer <key>, or ?token=<key>")
        return Principal(settings.api_keys[matches.index(True)])
    check_local(connection, settings)
    return Principal()


def check_local(connection: HTTPConnection, settings: GatewaySettings) -> None:
    """Without keys only programs and pages of this machine are served. Raises `NotAllowedError`."""
    if settings.api_keys:
        return
    peer = connection.client.host if connection.client else ""
    if not _is_loopback(peer):
        raise NotAllowedError("No API_KEYS are configured, so only this machine may connect")
    if (
        host_name(connection.headers.get("host", "")) not in _LOCAL_NAMES
    ):  # a name that a foreign page has pointed at this machine
        raise NotAllowedError("No API_KEYS are configured, so the gateway answers to localhost only")
    origin = connection.headers.get("origin")
    if origin and origin_name(origin) not in _LOCAL_NAMES and origin not in settings.cors_origins:
        raise NotAllowedError(f"Origin {origin[:200]} is not in CORS_ORIGINS")
