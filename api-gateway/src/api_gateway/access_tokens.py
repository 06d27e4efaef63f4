"""Access tokens: signed, short-lived stand-ins for an API key, for browsers and phones. Pure.

A token is `<prefix><content>.<signature>`. The content (JSON in base64url) names the API key by a keyed hash,
so the token doesn't reveal it; the signature (HMAC-SHA256) covers prefix and content. Gateways check a token
without storing it, with a secret that they share.
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
    """What a token stands for: one of the API keys, until `expires_at` (unix seconds).

    `claims`: what the issuing route has added for the door that receives the token, for example a config.
    """

    key: str
    expires_at: int
    claims: Mapping[str, Any] = field(default_factory=dict)


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
    content = {"k": _key_name(secret, grant.key), "e": grant.expires_at}
    if grant.claims:
        content["c"] = dict(grant.claims)
    head = prefix + _encoded(orjson.dumps(content))
    return f"{head}.{_signature(secret, head)}"


def verified(secret: bytes, token: str, *, keys: Iterable[str], now: float) -> Grant:
    """The grant of `token`, for the one of `keys` that it was issued for. Compares in constant time.

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
    named = [key for key in keys if compare_digest(_key_name(secret, key), content["k"])]
    if not named:
        raise NotAllowedError("The API key of this access token is no longer valid")
    return Grant(named[0], content["e"], content.get("c", {}))


def _key_name(secret: bytes, key: str) -> str:
    return _encoded(digest(secret, b"key:" + key.encode(), "sha256")[:16])


def _signature(secret: bytes, head: str) -> str:
    return _encoded(digest(secret, b"token:" + head.encode(), "sha256"))


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
