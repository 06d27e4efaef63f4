"""Authentication by API key or access token. Without keys only this machine is served."""

import ipaddress
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Any, Final

from starlette.requests import HTTPConnection

from api_gateway.access_tokens import Grant, is_access_token, signed, verified
from api_gateway.handshake import Handshake
from api_gateway.server.header_values import host_name, origin_name
from api_gateway.settings import GatewaySettings
from parlando.errors import NotAllowedError
from parlando.store.token_secret import TokenSecret

NO_KEY: Final = ""
"""The key of all callers where no keys are configured."""

_LOCAL_NAMES = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller. `key` is "" where no keys are configured.

    `by_token`: whether it sent an access token. `claims`: those of the token; see `access_tokens.Grant`.
    """

    key: str = ""
    by_token: bool = False
    claims: Mapping[str, Any] = field(default_factory=dict)


def handshake_of(connection: HTTPConnection) -> Handshake:
    """The `Handshake` of an HTTP request or of a WebSocket."""
    return Handshake(
        peer=connection.client.host if connection.client else "",
        headers=connection.headers,
        query=connection.query_params,
        path=connection.path_params,
        pairs=connection.query_params.multi_items(),
        url=str(connection.url),
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Access:
    """Recognises callers by their API keys and access tokens, and issues access tokens."""

    def __init__(self, settings: GatewaySettings, secret: TokenSecret) -> None:
        self._settings = settings
        self._secret = secret

    async def authenticate(self, handshake: Handshake, *, offered: str | None = None) -> Principal:
        """Return the caller. `offered`: a key from elsewhere than `Handshake.token`, for example the path.

        Keys are compared in constant time. An access token stands for the key it was issued with.

        Raises
        ------
        NotAllowedError
            if keys are configured and the client sends none of them, or if none is configured and the client
            isn't a program or page of this machine.
        UnavailableError
            if the client sends an access token, and Redis can't be reached to read the secret.

        """
        credential = offered or handshake.token or ""
        keys = self._settings.api_keys
        if keys:
            matches = [compare_digest(credential.encode(), key.encode()) for key in keys]
            if any(matches):
                return Principal(keys[matches.index(True)])
            if is_access_token(credential):
                return _caller_by(await self._grant(credential, keys))
            raise NotAllowedError("Expected a valid API key: Authorization: Bearer <key>, or ?token=<key>")
        check_local(handshake, self._settings)
        if is_access_token(credential):
            try:
                return _caller_by(await self._grant(credential, (NO_KEY,)))
            except NotAllowedError:
                pass  # without keys any credential is accepted
        return Principal()

    async def issue(
        self, caller: Principal, seconds: int, *, prefix: str = "at_", claims: Mapping[str, Any] | None = None
    ) -> tuple[str, int]:
        """Issue an access token that stands for the caller's key for `seconds`: the token, and its expiry.

        `prefix`: see `access_tokens.signed`. `claims`: the `Principal` of whoever sends the token has them.

        Raises
        ------
        NotAllowedError
            if the caller itself was recognised by a token.
        InvalidRequestError, UnavailableError

        """
        if caller.by_token:
            raise NotAllowedError("Expected an API key: an access token can't be used to make another one")
        grant = Grant(caller.key, int(time.time()) + seconds, claims or {})
        return signed(await self._secret.stored(), grant, prefix=prefix), grant.expires_at

    async def _grant(self, token: str, keys: tuple[str, ...]) -> Grant:
        try:
            return verified(await self._secret.get(), token, keys=keys, now=time.time())
        except NotAllowedError:
            if (other := await self._secret.other()) is None:
                raise
        return verified(other, token, keys=keys, now=time.time())


def _caller_by(grant: Grant) -> Principal:
    return Principal(grant.key, by_token=True, claims=grant.claims)


def authenticate_address(handshake: Handshake, settings: GatewaySettings) -> Principal:
    """Return the caller of a protocol without keys, admitted by its address: the first of the keys, if any.

    Raises
    ------
    NotAllowedError
        if the address isn't in `KEYLESS_NETWORKS`.

    """
    try:
        address = ipaddress.ip_address(handshake.peer.partition("%")[0])
    except ValueError as error:
        raise NotAllowedError("Expected a client with an IP address") from error
    mapped = getattr(address, "ipv4_mapped", None)
    if not any((mapped or address) in network for network in settings.keyless_networks):
        raise NotAllowedError(f"The address {handshake.peer} is not in KEYLESS_NETWORKS")
    return Principal(settings.api_keys[0] if settings.api_keys else "")


def check_local(handshake: Handshake, settings: GatewaySettings) -> None:
    """If no keys are configured, refuse clients that aren't on this machine. Raises `NotAllowedError`."""
    if settings.api_keys:
        return
    if not _is_loopback(handshake.peer):
        raise NotAllowedError("No API_KEYS are configured, so only this machine may connect")
    if not handshake.over_http:
        return
    # DNS rebinding: a foreign page may have pointed its own host name at this machine.
    host = handshake.headers.get("host")
    if host is None:  # HTTP/1.0
        raise NotAllowedError(
            "Expected the header Host, as HTTP/1.1 has it: without API_KEYS it must name localhost"
        )
    if host_name(host) not in _LOCAL_NAMES:
        raise NotAllowedError("No API_KEYS are configured, so the gateway answers to localhost only")
    origin = handshake.headers.get("origin")
    if origin and origin_name(origin) not in _LOCAL_NAMES and origin not in settings.cors_origins:
        raise NotAllowedError(f"Origin {origin[:200]} is not in CORS_ORIGINS")
