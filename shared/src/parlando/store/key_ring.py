"""A gateway's copy of the stored API keys, so that requests with known keys don't wait for Redis.

The copy is read anew whenever a message says that a key has changed, and every `MAX_AGE_S`. Keys that Redis
has lost, or has as they were before they were revoked or rotated, are stored again from the copy.
"""

import asyncio
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

import structlog

from parlando.domain.access import ApiKey, id_of
from parlando.domain.limits import NO_LIMITS, Limits
from parlando.errors import KeyEndedError, NotAllowedError, UnavailableError
from parlando.store.access_keys import API_KEY_CHANNEL
from parlando.store.api_keys import MAX_KEYS, ApiKeys
from parlando.store.batches import Batches, Call
from parlando.store.envelope import Envelope
from parlando.store.pubsub import Channels

MAX_AGE_S: Final = 30.0
"""Seconds after which the copy is read again without a message."""
MAX_STALE_S: Final = 300.0
"""Seconds for which the copy is valid while Redis can't be reached."""
TICK_S: Final = 0.5
"""Seconds between looks at keys that expire, …"""
USED_EVERY_S: Final = 60
"""… and between two notes of a key's last use."""
LOOK_S: Final = 0.05
"""Seconds between two look-ups of unknown keys, which are made together, so that wrong keys cost little."""

log = structlog.get_logger(part="keys")


class Watch:
    """Cancels the task of its `with` block when the key that it follows becomes invalid.

    The block then raises `KeyEndedError`, as `asyncio.timeout` raises `TimeoutError`.
    """

    def __init__(self) -> None:
        self._ring: KeyRing | None = None
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._reason = ""
        self.key_id = ""
        self.version = 0

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        self._cancelling = self._task.cancelling() if self._task else 0
        return self

    def follow(self, ring: "KeyRing", key_id: str, version: int) -> None:
        """Follow a key. Raises `KeyEndedError` if it is invalid already."""
        self._ring, self.key_id, self.version = ring, key_id, version
        if reason := ring.refusal(key_id, version):
            raise KeyEndedError(reason)
        ring.watches.add(self)

    def release(self) -> None:
        """Follow no key any more."""
        if self._ring is not None:
            self._ring.watches.discard(self)

    def end(self, reason: str) -> None:
        """Cancel the task, once."""
        if self._task is not None and not self._reason:
            self._reason = reason
            self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
        task, self._task = self._task, None
        if not self._reason or task is None:
            return
        if (
            task.uncancel() <= self._cancelling
            and kind is not None
            and issubclass(kind, asyncio.CancelledError)
        ):
            raise KeyEndedError(self._reason) from error


Known = dict[str, ApiKey]


def _newer(known: Known, found: Known) -> Known:
    """Of the known keys those that Redis has as they were before they were revoked or rotated."""
    return {name: key for name, key in known.items() if name in found and key.is_newer_than(found[name])}


def _lost(known: Known, found: Known) -> Known:
    """Of the known keys those that Redis has lost, or has in an older version.

    Redis removes keys some time after their end: one that has ended counts as lost only if nothing was found.
    """
    now = time.time()
    missing = {name: key for name, key in known.items() if name not in found}
    if found:
        missing = {name: key for name, key in missing.items() if not 0 < key.ended_at <= now}
    return {**missing, **_newer(known, found)}


def _ended(known: Known) -> Known:
    """The known keys that have ended, the last `MAX_KEYS`: they stay invalid if an older copy has them."""
    now = time.time()
    ended = sorted((key for key in known.values() if 0 < key.ended_at <= now), key=lambda key: key.ended_at)
    return {key.id: key for key in ended[-MAX_KEYS:]}


class KeyRing:
    """The stored keys as this process knows them. `run` keeps them up to date."""

    def __init__(self, keys: ApiKeys, channels: Channels) -> None:
        self.keys = keys
        self.watches: set[Watch] = set()
        self._channels = channels
        self._known: dict[str, ApiKey] | None = None
        self._read_at = 0.0
        self._looked_at = 0.0
        self._looks = Batches(self._look_up)
        self._reading = asyncio.Lock()  # an older answer must not replace a newer one
        self._changed = asyncio.Event()
        self._noted: dict[str, int] = {}  # the last use of each key that was noted
        self._to_note: dict[str, int] = {}

    async def find(self, secret: str) -> tuple[ApiKey, int]:
        """The valid key with this secret, and the version of the secret.

        Raises
        ------
        NotAllowedError
            if there is none, or it was revoked, replaced, or has expired.
        UnavailableError
            if the keys were never read, or not for `MAX_STALE_S`, because Redis can't be reached.

        """
        key = await self.get(id_of(secret))
        version = key.version_of(secret) if key else 0
        if key is None or not version:
            raise NotAllowedError("Expected a valid API key: this one is unknown")
        if refusal := key.refusal(version, time.time()):
            raise NotAllowedError(refusal)
        self.use(key.id)
        return key, version

    async def get(self, key_id: str) -> ApiKey | None:
        """A key by its id, valid or not; None if there is none. Raises `UnavailableError`."""
        now = time.monotonic()
        if self._known is None:
            await self.read()
        elif now - self._read_at > MAX_STALE_S:
            raise UnavailableError(
                f"Redis can't be reached, and the API keys are older than {MAX_STALE_S:g} s"
            )
        assert self._known is not None
        key = self._known.get(key_id)
        if key is None:  # it may have been created a moment ago
            key = await self._looks.run([key_id], [])
            if key is not None:
                key = self._known.setdefault(key_id, key)  # `read` may have found a newer record meanwhile
        return key

    async def _look_up(self, calls: Sequence[Call]) -> list[ApiKey | None]:
        await asyncio.sleep(self._looked_at + LOOK_S - time.monotonic())
        self._looked_at = time.monotonic()
        return await self.keys.find([key_id for (key_id,), _ in calls])

    def refusal(self, key_id: str, version: int) -> str:
        """Why a key's `version` is invalid; "" if it is valid, as far as this process knows."""
        key = self._known.get(key_id) if self._known is not None else None
        if key is None:
            return f"The API key {key_id} is not known any more"
        return key.refusal(version, time.time())

    def limits(self, key_id: str) -> Limits:
        """The limits of a key, as far as this process knows; of none for "" and unknown ids."""
        key = self._known.get(key_id) if self._known is not None else None
        return key.limits if key else NO_LIMITS

    async def read(self) -> None:
        """Read all keys, and end what invalid ones have opened. Raises `UnavailableError`."""
        async with self._reading:
            found = await self.keys.all()
            known = self._known or {}
            lost = _lost(known, found)
            # Before they are stored: a key that was revoked stays invalid here even if Redis refuses it.
            self._known = {**_ended(known), **found, **lost}
            self._read_at = time.monotonic()
            self._end_invalid()
            if lost:
                if count := await self.keys.restore(lost.values()):
                    log.warning("keys.restored", count=count, effect="Redis had lost them or their changes")
                found = await self.keys.all()
                self._known = {**_ended(self._known), **found, **_newer(self._known, found)}
        self._end_invalid()

    async def refresh(self) -> None:
        """Read all keys, or as soon as Redis answers again."""
        try:
            await self.read()
        except UnavailableError:
            self._changed.set()

    async def run(self) -> None:
        """Keep the copy up to date until cancelled."""
        subscribed = False
        tried_at = 0.0
        while True:
            now = time.monotonic()
            due = self._changed.is_set() or self._known is None or now - self._read_at > MAX_AGE_S
            try:
                if not subscribed:
                    await self._channels.subscribe(API_KEY_CHANNEL, self._on_message)
                    subscribed = due = True
                if due and now - tried_at >= LOOK_S:
                    tried_at = now
                    self._changed.clear()
                    await self.read()
                await self._note_uses()
            except UnavailableError:
                self._changed.set()  # `find` says how long the copy is valid
                await asyncio.sleep(TICK_S)
            except Exception:
                log.exception("keys.failed")
                await asyncio.sleep(TICK_S)
            self._end_invalid()
            try:
                async with asyncio.timeout(TICK_S):
                    await self._changed.wait()
            except TimeoutError:
                pass
            else:
                await asyncio.sleep(LOOK_S)

    def _on_message(self, message: Envelope | None) -> None:
        """A key has changed, or (None) messages may be missing."""
        self._changed.set()

    def _end_invalid(self) -> None:
        for watch in tuple(self.watches):
            if reason := self.refusal(watch.key_id, watch.version):
                watch.end(reason)

    def use(self, key_id: str) -> None:
        """Note that a key was used; stored at most once in `USED_EVERY_S`."""
        now = int(time.time())
        if now - self._noted.get(key_id, 0) >= USED_EVERY_S:
            self._noted[key_id] = self._to_note[key_id] = now

    async def _note_uses(self) -> None:
        if self._to_note:
            times, self._to_note = self._to_note, {}
            await self.keys.mark_used(times)
            if self._known is not None:
                self._noted = {name: at for name, at in self._noted.items() if name in self._known}
