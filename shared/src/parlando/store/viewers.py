"""Viewer tokens: read access to a session for others than its owner, until the token is revoked.

They are stored in the session's hash and expire with it.
"""

import secrets
import time
from dataclasses import dataclass
from hmac import compare_digest
from typing import Any, Final

import orjson

from parlando.errors import AtCapacityError, SessionNotFoundError, ViewerNotFoundError
from parlando.ids import fingerprint
from parlando.store.connection import Redis, Scripts, retried
from parlando.store.envelope import AccessChanged
from parlando.store.keys import SessionKeys

MAX_VIEWERS: Final = 100
"""Maximum viewer tokens of one session. Any number of people may share a token."""

_PREFIX: Final = "view_"
_FIELD: Final = "viewer:"
_ACCESS_CHANGED: Final = AccessChanged().model_dump_json()


@dataclass(frozen=True, slots=True)
class Viewer:
    """An issued token without its secret. `created`: unix seconds."""

    id: str
    label: str
    created: int


TOKEN_PATTERN: Final = rf"^{_PREFIX}[0-9a-f]{{12}}_[A-Za-z0-9_-]{{32}}$"


def viewer_of(token: str) -> str:
    """The id of the viewer in a token, which may be wrong."""
    return token.removeprefix(_PREFIX).partition("_")[0]


def is_viewer_token(token: str) -> bool:
    """Whether a credential has the prefix of a viewer token."""
    return token.startswith(_PREFIX)


class Viewers:
    """Issues, checks and revokes viewer tokens."""

    def __init__(self, redis: Redis, *, partitions: int) -> None:
        self._redis = redis
        self._scripts = Scripts(redis)
        self._partitions = partitions

    def _keys(self, sid: str) -> SessionKeys:
        return SessionKeys.of(sid, self._partitions)

    async def add(self, sid: str, label: str = "", token: str = "") -> tuple[Viewer, str]:
        """Issue a token; returns the viewer and the token, which is stored only as a hash.

        With a `token` that was issued for this session before, restores a viewer that Redis has lost.

        Raises
        ------
        SessionNotFoundError, AtCapacityError, UnavailableError

        """
        token = token or f"{_PREFIX}{secrets.token_hex(6)}_{secrets.token_urlsafe(24)}"
        viewer = Viewer(viewer_of(token), label, int(time.time()))
        known = {"token": fingerprint(token), "label": label, "created": viewer.created}
        answer = await self._scripts.run(
            "add_viewer", [self._keys(sid).session], [_FIELD + viewer.id, orjson.dumps(known), MAX_VIEWERS]
        )
        if answer == b"missing":
            raise SessionNotFoundError(f"No session {sid} is known; it may have expired")
        if answer == b"full":
            raise AtCapacityError(f"Session {sid} has {MAX_VIEWERS} viewer tokens; revoke one first")
        return viewer, token

    async def all(self, sid: str) -> list[Viewer]:
        """The viewers of a session, oldest first."""
        key = self._keys(sid).session
        found: Any = await retried(lambda: self._redis.hgetall(key))
        viewers = []
        for name, value in found.items():
            if name.startswith(_FIELD.encode()):
                known = orjson.loads(value)
                viewers.append(Viewer(name.decode()[len(_FIELD) :], known["label"], known["created"]))
        return sorted(viewers, key=lambda viewer: (viewer.created, viewer.id))

    async def admits(self, sid: str, token: str) -> bool:
        """Whether a token gives access to a session.

        Raises
        ------
        SessionNotFoundError
            if the session does not exist, also if Redis has lost it.
        UnavailableError

        """
        name = viewer_of(token)
        if not is_viewer_token(token) or not name:
            return False
        key = self._keys(sid).session
        state, found = await retried(lambda: self._redis.hmget(key, ["state", _FIELD + name]))
        if state is None:
            raise SessionNotFoundError(f"No session {sid} is known; it may have expired")
        return found is not None and compare_digest(orjson.loads(found)["token"], fingerprint(token))

    async def revoke(self, sid: str, viewer: str) -> None:
        """Revoke a viewer's token, and disconnect the clients that use it.

        Raises
        ------
        ViewerNotFoundError, UnavailableError

        """
        keys = self._keys(sid)
        if not await self._scripts.run(
            "remove_viewer", [keys.session, keys.events], [_FIELD + viewer, _ACCESS_CHANGED]
        ):
            raise ViewerNotFoundError(f"Session {sid} has no viewer {viewer}")
