"""Counts the sessions that one connection makes, if its token may open only some."""

from contextlib import suppress

from api_gateway.auth import Principal
from parlando.errors import NotAllowedError, ParlandoError
from parlando.ids import new_worker_id
from parlando.store.api_keys import ApiKeys


class UsedUpError(NotAllowedError):
    """The token has opened the sessions that it may open."""


class TokenSessions:
    """The sessions that a connection has made with the caller's token. Keys have no such limit."""

    def __init__(self, keys: ApiKeys, caller: Principal) -> None:
        self._keys = keys
        self._caller = caller
        self._names: list[str] = []

    async def count(self) -> None:
        """Count a session that is to be made. Raises `UsedUpError`, `UnavailableError`."""
        caller = self._caller
        if not caller.sessions:
            return
        name = new_worker_id("open")
        self._names.append(name)  # before the call: its answer may be lost
        if not await self._keys.count_session(
            caller.token, name, limit=caller.sessions, expires_at=caller.token_expires_at
        ):
            raise UsedUpError(f"This token has opened the {caller.sessions} sessions that it may open")

    async def release_last(self) -> None:
        """Take back the last one, which wasn't made."""
        if self._names:
            name = self._names.pop()
            with suppress(ParlandoError):
                await self._keys.uncount_session(self._caller.token, name)

    async def release(self) -> None:
        """Take back all of them, because the opening was refused."""
        while self._names:
            await self.release_last()
