"""The known speakers of an owner, in Redis until they are deleted."""

import time
from typing import Any

import orjson

from parlando.domain.known_speakers import MAX_CLIPS, MAX_SPEAKERS, KnownSpeaker, VoiceClip
from parlando.errors import ConflictError
from parlando.ids import partition_of
from parlando.store.connection import Redis, Scripts, retried


class KnownSpeakers:
    """Known speakers in a keyspace with `partitions`. `owner`: see `Principal`. Raises `UnavailableError`.

    Names are unique among the speakers of a key.
    """

    def __init__(self, redis: Redis, *, partitions: int) -> None:
        self._redis = redis
        self._scripts = Scripts(redis)
        self._partitions = partitions

    def _key(self, owner: str) -> str:
        return f"stt:{{{partition_of(owner[:16], self._partitions)}}}:known-speakers:{owner[:16]}"

    async def all(self, owner: str) -> list[KnownSpeaker]:
        """The speakers of a key, by name."""
        key = self._key(owner)
        found: Any = await retried(lambda: self._redis.hgetall(key))
        return [_speaker(name, found[name]) for name in sorted(found)]

    async def add(self, owner: str, name: str, clip: VoiceClip) -> KnownSpeaker:
        """Add a clip to the speaker called `name`, who is new or known already. Safe to repeat.

        Raises
        ------
        ConflictError
            if the owner has `MAX_SPEAKERS` speakers, or this one `MAX_CLIPS` clips.

        """
        answer: bytes = await self._scripts.run(
            "add_known_speaker",
            [self._key(owner)],
            [
                name,
                clip.model_dump_json(),
                clip.digest,
                MAX_SPEAKERS,
                MAX_CLIPS,
                round(time.time() * 1000),
            ],
        )
        match answer:
            case b"speakers":
                raise ConflictError(
                    f"This owner has {MAX_SPEAKERS} known speakers, which is the maximum; delete one first"
                )
            case b"clips":
                raise ConflictError(
                    f"{name} has {MAX_CLIPS} clips, which is the maximum; delete the speaker to begin anew"
                )
        return _speaker(name.encode(), answer)

    async def remove(self, owner: str, name: str) -> bool:
        """Delete a speaker with all clips. Returns whether there was one."""
        key = self._key(owner)
        return bool(await retried(lambda: self._redis.hdel(key, name)))


def _speaker(name: bytes, stored: bytes) -> KnownSpeaker:
    return KnownSpeaker(name=name.decode(), **orjson.loads(stored))
