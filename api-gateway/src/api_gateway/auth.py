"""Authentication by API key or access token. Without keys only this machine is served."""

import ipaddress
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from hmac import compare_digest
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from starlette.requests import HTTPConnection

from api_gateway.access_tokens import Grant, is_access_token, signed, verified
from api_gateway.handshake import Handshake
from api_gateway.permissions import Rule
from api_gateway.server.header_values import host_name, origin_name
from api_gateway.settings import GatewaySettings
from parlando.domain.access import ALL_SCOPES, ApiKey, Scope, is_api_key, known_scopes
from parlando.errors import ForbiddenError, NotAllowedError
from parlando.ids import fingerprint
from parlando.store.held import Holder
from parlando.store.key_ring import KeyRing, Watch
from parlando.store.token_secret import TokenSecret

_LOCAL_NAMES = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller. Everything that it makes belongs to `owner`, a fingerprint; "" where no keys are configured.

    `key_id`, `key_name`, `version`: the stored key that it uses, or whose token; "" for keys of `API_KEYS`.
    `doors`: the protocols that it may use, none for all. `by_token`: whether it sent an access token.
    `claims`: those of the token; see `access_tokens.Grant`. `token`, `sessions`, `token_expires_at`: of a
    token that may open so many sessions.
    """

    owner: str = ""
    owner_name: str = ""
    scopes: frozenset[Scope] = ALL_SCOPES
    doors: tuple[str, ...] = ()
    key_id: str = ""
    key_name: str = ""
    version: int = 0
    by_token: bool = False
    claims: Mapping[str, Any] = field(default_factory=dict)
    token: str = ""
    sessions: int = 0
    token_expires_at: int = 0

    @property
    def holder(self) -> Holder:
        """Whose limits apply to the caller."""
        return Holder(self.owner, self.key_id)

    @property
    def key_label(self) -> str:
        """The key without its secret: its id, `configured` for one of API_KEYS, `none` without keys."""
        return self.key_id or ("configured" if self.owner else "none")


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

    def __init__(self, settings: GatewaySettings, secret: TokenSecret, ring: KeyRing) -> None:
        self._settings = settings
        self._secret = secret
        self.ring = ring
        self._owners = tuple(fingerprint(key) for key in settings.api_keys) or ("",)

    async def authenticate(
        self, handshake: Handshake, rule: Rule, *, offered: str | None = None, watch: Watch | None = None
    ) -> Principal:
        """Return the caller, which has what `rule` asks for.

        `offered`: a key from elsewhere than `Handshake.token`, for example the path. `watch`: ends its block
        when the caller's key becomes invalid. Keys are compared in constant time. An access token stands for
        the key it was issued with.

        Raises
        ------
        NotAllowedError
            if keys are configured and the client sends none of them, or if none is configured and the client
            isn't a program or page of this machine.
        ForbiddenError
            if the key lacks the scope, or must not be used with this protocol.
        UnavailableError
            if Redis can't be reached to read the secret of tokens, or the stored keys.

        """
        caller = await self.recognised(handshake, offered=offered)
        self.admit(caller, rule, watch=watch)
        return caller

    async def recognised(self, handshake: Handshake, *, offered: str | None = None) -> Principal:
        """Return the caller, whatever it may do. Raises as `authenticate`, but not `ForbiddenError`."""
        return await self._caller(handshake, offered or handshake.token or "")

    def admit(self, caller: Principal, rule: Rule, *, watch: Watch | None = None) -> None:
        """Check that the caller has what `rule` asks for. Raises `ForbiddenError`, `NotAllowedError`."""
        permit(caller, rule)
        if watch is not None and caller.key_id:
            watch.follow(self.ring, caller.key_id, caller.version)

    async def _caller(self, handshake: Handshake, credential: str) -> Principal:
        keys = self._settings.api_keys
        check_local(handshake, self._settings)
        matches = [compare_digest(credential.encode(), key.encode()) for key in keys]
        if any(matches):
            return Principal(self._owners[matches.index(True)])
        if is_api_key(credential):
            return _by_key(*await self.ring.find(credential))
        if is_access_token(credential):
            try:
                return await self._by_token(credential)
            except NotAllowedError:
                if keys:
                    raise  # without keys any credential is accepted
        if keys:
            raise NotAllowedError("Expected a valid API key: Authorization: Bearer <key>, or ?token=<key>")
        return Principal()

    async def _by_token(self, token: str) -> Principal:
        grant = await self._grant(token)
        known: dict[str, Any] = {
            "by_token": True,
            "claims": grant.claims,
            "token": grant.id,
            "sessions": grant.sessions,
            "token_expires_at": grant.expires_at,
        }
        scopes = frozenset(known_scopes(grant.scopes))
        if not grant.key_id:
            return Principal(grant.key, scopes=scopes, **known)
        key = await self.ring.get(grant.key_id)
        refusal = key.refusal(grant.version, time.time()) if key else "The API key is not known any more"
        if key is None or refusal:
            raise NotAllowedError(f"This access token is no longer valid. {refusal}")
        self.ring.use(key.id)
        caller = _by_key(key, grant.version)
        return replace(caller, scopes=scopes & caller.scopes, **known)

    async def issue(
        self,
        caller: Principal,
        seconds: int,
        *,
        scopes: Iterable[Scope],
        prefix: str = "at_",
        claims: Mapping[str, Any] | None = None,
        sessions: int = 0,
    ) -> tuple[str, int]:
        """Issue an access token that stands for the caller's key for `seconds`: the token, and its expiry.

        `scopes`: what it may be used for. `prefix`: see `access_tokens.signed`. `claims`: given to the
        `Principal` of a request with the token. `sessions`: how many sessions it may open; 0 for any number.

        Raises
        ------
        NotAllowedError
            if the caller itself was recognised by a token.
        ForbiddenError
            if the caller's key lacks one of the scopes.
        InvalidRequestError, UnavailableError

        """
        if caller.by_token:
            raise NotAllowedError("Expected an API key: an access token can't be used to make another one")
        wanted = sorted(set(scopes))
        if not wanted:
            raise ForbiddenError("The key has none of the scopes that the token would have")
        if lacking := [scope for scope in wanted if scope not in caller.scopes]:
            raise ForbiddenError(f"The key can't give a token the scope {lacking[0]}, which it lacks itself")
        grant = Grant(
            caller.owner if not caller.key_id else "",
            int(time.time()) + seconds,
            claims or {},
            tuple(wanted),
            key_id=caller.key_id,
            version=caller.version,
            id=secrets.token_hex(8) if sessions else "",
            sessions=sessions,
        )
        return signed(await self._secret.stored(), grant, prefix=prefix), grant.expires_at

    async def _grant(self, token: str) -> Grant:
        try:
            return verified(await self._secret.get(), token, keys=self._owners, now=time.time())
        except NotAllowedError:
            if (other := await self._secret.other()) is None:
                raise
        return verified(other, token, keys=self._owners, now=time.time())


def _by_key(key: ApiKey, version: int) -> Principal:
    return Principal(
        key.owner,
        owner_name=key.owner_name,
        scopes=frozenset(key.scopes),
        doors=key.doors,
        key_id=key.id,
        key_name=key.name,
        version=version,
    )


def permit(caller: Principal, rule: Rule) -> None:
    """Raises `ForbiddenError` if the caller lacks what `rule` asks for."""
    enough = {rule.needs, rule.own}
    if isinstance(rule.needs, Scope) and not enough & caller.scopes:
        has = ", ".join(sorted(caller.scopes)) or "none"
        raise ForbiddenError(f"This needs a key or token with the scope {rule.needs}; this one has: {has}")
    if rule.door and caller.doors and rule.door not in caller.doors:
        raise ForbiddenError(f"This key is limited to {', '.join(caller.doors)}, and this is {rule.door}")


def is_in(peer: str, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    """Whether the address of a client is in one of `networks`."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in network for network in networks)


def authenticate_address(handshake: Handshake, settings: GatewaySettings) -> Principal:
    """Return the caller of a protocol without keys, admitted by its address: the first of the keys, if any.

    Raises
    ------
    NotAllowedError
        if the address isn't in `KEYLESS_NETWORKS`.

    """
    if not is_in(handshake.peer, settings.keyless_networks):
        raise NotAllowedError(f"The address {handshake.peer} is not in KEYLESS_NETWORKS")
    return Principal(fingerprint(settings.api_keys[0]) if settings.api_keys else "")


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
