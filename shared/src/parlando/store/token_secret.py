"""The secret with which all gateways of a cluster sign access tokens."""

import secrets
import time
from typing import Any, Final

from parlando.store.connection import Redis, retried
from parlando.store.keys import ACCESS_SECRET

SECRET_BYTES: Final = 32
REREAD_S: Final = 1.0
"""Seconds between two reads because of a token that the known secret didn't sign."""


class TokenSecret:
    """Reads the secret; the first gateway that needs it makes it.

    A gateway that knows the secret stores it again if Redis has lost it, so that tokens remain valid.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._known: bytes | None = None
        self._read_at = 0.0

    async def get(self) -> bytes:
        """The secret as this gateway knows it; read on the first call. Raises `UnavailableError`."""
        return self._known if self._known is not None else await self.stored()

    async def other(self) -> bytes | None:
        """The stored secret if it isn't the known one, because Redis was replaced; None if it is.

        At most one call in `REREAD_S` reads it, so that wrong tokens cost no calls to Redis.
        """
        known = self._known
        if known is not None and time.monotonic() - self._read_at < REREAD_S:
            return None
        stored = await self.stored()
        return None if stored == known else stored

    async def stored(self) -> bytes:
        """The secret in Redis, which is made if there is none. For signing. Raises `UnavailableError`."""
        proposed = self._known or secrets.token_bytes(SECRET_BYTES)

        async def read() -> bytes:
            await self._redis.set(ACCESS_SECRET, proposed, nx=True)
            found: Any = await self._redis.get(ACCESS_SECRET)  # bytes, as the client doesn't decode
            return found or proposed

        self._known = await retried(read)
        self._read_at = time.monotonic()
        return self._known
