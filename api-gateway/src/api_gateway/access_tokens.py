"""Access tokens: signed, short-lived stand-ins for an API key, for browsers and phones. Pure.

A token is `<prefix><content>.<signature>`. The content (JSON in base64url) names a stored API key by its id
and version, and a key of `API_KEYS` by a keyed hash, so the token doesn't reveal it; the signature
(HMAC-SHA256) covers prefix and content. Gateways check a token without storing it, with a secret that they
share.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hmac import compare_digest, digest
from typing import Any, Final

import orjson

from parlando.errors import InvalidRequestError, NotAllowedError

MAX_CLAIMS: Final = 8192
"""Bytes of a token's claims as JSON; a handshake's head may have 64 KB."""

_PREFIX: Final = r"[a-z]{2,8}_"
_TOKEN: Final = re.compile(rf"({_PREFIX}[A-Za-z0-9_-]{{1,16384}})\.([A-Za-z0-9_-]{{43}})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token stands for: an API key, until `expires_at` (unix seconds).

    `key`: a key of `API_KEYS`, by any name of it that gateways know. `key_id`, `version`: a stored key; then
    `key` is "". `claims`: what the issuing route has added for the door that receives the token, for example
    a config. `scopes`: of the key's scopes those that the token has. `id`, `sessions`: of a token that may
    open so many sessions; 0 for any number.
    """

    key: str
    expires_at: int
    claims: Mapping[str, Any] = field(default_factory=dict)
    scopes: tuple[str, ...] = ()
    key_id: str = ""
    version: int = 0
    id: str = ""
    sessions: int = 0


def is_access_token(credential: str) -> bool:
    """Whether a credential has the form of an access token, valid or not."""
    return _TOKEN.fullmatch(credential) is not None


def signed(secret: bytes, grant: Grant, *, prefix: str) -> str:
    """The token of `grant`. `prefix`: two to eight lower-case letters and an underscore.

    Raises
    ------
    InvalidRequestError
        if the claims are too long.

    """
    assert re.fullmatch(_PREFIX, prefix), prefix
    claims = orjson.dumps(dict(grant.claims))
    if len(claims) > MAX_CLAIMS:
        raise InvalidRequestError(
            f"Expected a session of at most {MAX_CLAIMS} bytes for a token, but got {len(claims)}"
        )
    content: dict[str, Any] = {"e": grant.expires_at, "s": grant.scopes}
    if grant.key_id:
        content |= {"i": grant.key_id, "v": grant.version}
    else:
        content["k"] = _key_name(secret, grant.key)
    if grant.sessions:
        content |= {"t": grant.id, "n": grant.sessions}
    if grant.claims:
        content["c"] = dict(grant.claims)
    head = prefix + _encoded(orjson.dumps(content))
    return f"{head}.{_signature(secret, head)}"


def verified(secret: bytes, token: str, *, keys: Iterable[str], now: float) -> Grant:
    """The grant of `token`, for the one of `keys` that it was issued for. Compares in constant time.

    Whether a stored key is still valid is for the caller to check.

    Raises
    ------
    NotAllowedError
        if it wasn't signed with `secret`, has expired, or its key is none of `keys`.

    """
    parts = _TOKEN.fullmatch(token)
    if parts is None or not compare_digest(_signature(secret, parts[1]), parts[2]):
        raise NotAllowedError("Expected an access token of this cluster")
    content = orjson.loads(_decoded(parts[1].partition("_")[2]))
    if content["e"] <= now:
        raise NotAllowedError("The access token has expired")
    more = {
        "claims": content.get("c", {}),
        "scopes": tuple(content.get("s", ())),
        "id": content.get("t", ""),
        "sessions": content.get("n", 0),
    }
    if "i" in content:
        return Grant("", content["e"], key_id=content["i"], version=content["v"], **more)
    named = [key for key in keys if compare_digest(_key_name(secret, key), content["k"])]
    if not named:
        raise NotAllowedError("The API key of this access token is no longer valid")
    return Grant(named[0], content["e"], **more)


def _key_name(secret: bytes, key: str) -> str:
    return _encoded(digest(secret, b"key:" + key.encode(), "sha256")[:16])


def _signature(secret: bytes, head: str) -> str:
    return _encoded(digest(secret, b"token:" + head.encode(), "sha256"))


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
