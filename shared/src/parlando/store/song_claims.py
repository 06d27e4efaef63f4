"""A song recognizer's claims on the sessions in which songs are to be recognised.

The recognition of songs reads the audio that the transcriber reads, and never delays it. `commit.lua` keeps
up to 60 s that the transcriber doesn't need any more, also of a session that has closed; older audio is
skipped.
"""

from dataclasses import dataclass
from typing import Any

import orjson

from parlando.domain.songs import KIND, RecognisedSong
from parlando.store import keys as names
from parlando.store.annotations import Annotations
from parlando.store.connection import Redis
from parlando.store.keys import RECOGNIZERS, UserKeys
from parlando.store.session_claims import Role, RoleClaims, SessionClaim

SONGS: Role = Role(names.songs, RECOGNIZERS, "songs_")


@dataclass(frozen=True, slots=True)
class SongClaim(SessionClaim):
    """The state of a session when it is claimed. `uid`: its user; `key`: its API key, hashed."""

    uid: str = ""
    key: str = ""
    start: int = 0
    """Sample at which the session's audio begins."""


class SongClaims(RoleClaims[SongClaim]):
    """A recognizer's claims."""

    def __init__(self, redis: Redis, *, worker: str, partitions: int, ttl_s: int, **more: Any) -> None:
        """`more`: see `RoleClaims`."""
        super().__init__(redis, SONGS, worker=worker, partitions=partitions, ttl_s=ttl_s, **more)
        self._partitions = partitions
        self._annotations = Annotations(redis, partitions=partitions)

    def _read(self, owned: SessionClaim, found: dict[str, bytes]) -> SongClaim:
        return SongClaim(
            keys=owned.keys,
            entry=owned.entry,
            epoch=owned.epoch,
            uid=found.get("uid", b"").decode(),
            key=found["key"].decode(),
            start=int(found.get("start", 0)),
        )

    async def leave(self, claim: SessionClaim) -> None:
        """End the recognition of a session's songs: it is not claimed again."""
        await self.scripts.run(
            "song_leave",
            [claim.keys.session, claim.keys.songs, claim.keys.pcm],
            [claim.epoch, claim.entry, RECOGNIZERS],
        )

    async def _give_up(self, owned: SessionClaim) -> None:
        await self.leave(owned)

    async def named(self, claim: SongClaim) -> list[RecognisedSong]:
        """The songs that were named in a session, in their order."""
        return [
            RecognisedSong(**annotation.data)
            async for annotation in self._annotations.all(claim.keys.annotations)
            if annotation.kind == KIND
        ]

    async def name(self, claim: SongClaim, song: RecognisedSong, *, by: str) -> None:
        """Annotate the session with a song.

        Raises
        ------
        FencedError
            if another recognizer has claimed the session.
        SessionNotFoundError, ConflictError, UnavailableError

        """
        data = song.model_dump()
        await self._annotations.add(
            claim.keys.annotations,
            name=f"{song.song_id}:{claim.epoch}:{round(song.start)}",
            kind=KIND,
            by=by,
            data=data,
            fence=("songs_epoch", claim.epoch),
            announced=True,
        )
        if claim.uid:
            user = UserKeys.of(claim.key, claim.uid, self._partitions)
            await self.scripts.run("user_song", [user.user], [orjson.dumps(data)])
