"""Scopes, and API keys that are stored in Redis. Pure."""

from collections.abc import Iterable
from enum import StrEnum
from hmac import compare_digest
from typing import Final

from pydantic import BaseModel, ConfigDict

from parlando.domain.limits import NO_LIMITS, Limits
from parlando.ids import fingerprint


class Scope(StrEnum):
    """What a key or token may be used for; see docs/security.md."""

    LIVE = "live"
    JOBS = "jobs"
    READ = "read"
    OMI = "omi"
    SONGS = "songs"
    ADMIN = "admin"


ALL_SCOPES: Final = frozenset(Scope)
PREFIX: Final = "pk_"
ID_PATTERN: Final = r"^[0-9a-f]{12}$"


class ApiKey(BaseModel):
    """A key as it is stored: its secret only as a SHA-256. Times are unix seconds, 0 for never.

    `owner`: fingerprint of whom everything made with the key belongs to; `owner_name`: for display. `doors`:
    names of the protocols that accept the key, none for all. `version`: raised by each rotation; the secret
    before the last one is accepted until `previous_until`. `limits`: those of this key alone.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    name: str
    owner: str
    owner_name: str = ""
    scopes: tuple[Scope, ...]
    doors: tuple[str, ...] = ()
    limits: Limits = NO_LIMITS
    digest: str
    version: int = 1
    previous_digest: str = ""
    previous_until: int = 0
    created_at: int
    expires_at: int = 0
    rotated_at: int = 0
    revoked_at: int = 0

    @property
    def ended_at(self) -> int:
        """The time from which the key is invalid; 0 for never."""
        return min((at for at in (self.revoked_at, self.expires_at) if at), default=0)

    def is_newer_than(self, other: "ApiKey") -> bool:
        """Whether `other`, a record of the same key, is from before it was revoked or rotated."""
        return (bool(self.revoked_at), self.version) > (bool(other.revoked_at), other.version)

    def version_of(self, secret: str) -> int:
        """The version whose secret this is; 0 for none. Compares in constant time."""
        given = fingerprint(secret)
        if compare_digest(given, self.digest):
            return self.version
        if self.previous_digest and compare_digest(given, self.previous_digest):
            return self.version - 1
        return 0

    def refusal(self, version: int, now: float) -> str:
        """Why a secret or token of `version` is not valid at `now`; "" if it is valid."""
        if self.revoked_at:
            return f"The API key {self.id} was revoked"
        if self.expires_at and now >= self.expires_at:
            return f"The API key {self.id} has expired"
        if version == self.version or (version == self.version - 1 and now < self.previous_until):
            return ""
        return f"The secret of the API key {self.id} was replaced by another one"


def known_scopes(names: Iterable[str]) -> tuple[Scope, ...]:
    """The scopes with these names; those that only a newer release knows are left out."""
    return tuple(Scope(name) for name in names if name in ALL_SCOPES)


def is_api_key(credential: str) -> bool:
    """Whether a credential has the form of the secret of a stored key: `pk_<id>_<random>`."""
    return credential.startswith(PREFIX) and len(credential) > len(PREFIX) + 13


def id_of(secret: str) -> str:
    """The id of the key with this secret."""
    return secret.removeprefix(PREFIX).partition("_")[0]
