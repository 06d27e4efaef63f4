"""Authentication by API key, compared in constant time. Without keys only this machine is served."""

import ipaddress
from dataclasses import dataclass
from hmac import compare_digest

from starlette.requests import HTTPConnection

from api_gateway.handshake import Handshake
from api_gateway.server.header_values import host_name, origin_name
from api_gateway.settings import GatewaySettings
from parlando.errors import NotAllowedError

_LOCAL_NAMES = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller. `key` is "" where no keys are configured."""

    key: str = ""


def handshake_of(connection: HTTPConnection) -> Handshake:
    """The `Handshake` of an HTTP request or of a WebSocket."""
    return Handshake(
        peer=connection.client.host if connection.client else "",
        headers=connection.headers,
        query=connection.query_params,
        path=connection.path_params,
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def authenticate(handshake: Handshake, settings: GatewaySettings, *, offered: str | None = None) -> Principal:
    """Return the caller. `offered`: a key from a place that `Handshake.token` doesn't read, such as the path.

    Raises
    ------
    NotAllowedError
        if keys are configured and the client sends none of them, or if none is configured and the client
        isn't a program or page of this machine.

    """
    if settings.api_keys:
        secret = (offered or handshake.token or "").encode()
        matches = [compare_digest(secret, key.encode()) for key in settings.api_keys]
        if not any(matches):
            raise NotAllowedError("Expected a valid API key: Authorization: Bearer <key>, or ?token=<key>")
        return Principal(settings.api_keys[matches.index(True)])
    check_local(handshake, settings)
    return Principal()


def check_local(handshake: Handshake, settings: GatewaySettings) -> None:
    """If no keys are configured, refuse clients that aren't on this machine. Raises `NotAllowedError`."""
    if settings.api_keys:
        return
    if not _is_loopback(handshake.peer):
        raise NotAllowedError("No API_KEYS are configured, so only this machine may connect")
    if not handshake.over_http:
        return
    # DNS rebinding: a foreign page may have pointed its own host name at this machine.
    if host_name(handshake.headers.get("host", "")) not in _LOCAL_NAMES:
        raise NotAllowedError("No API_KEYS are configured, so the gateway answers to localhost only")
    origin = handshake.headers.get("origin")
    if origin and origin_name(origin) not in _LOCAL_NAMES and origin not in settings.cors_origins:
        raise NotAllowedError(f"Origin {origin[:200]} is not in CORS_ORIGINS")
