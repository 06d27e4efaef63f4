"""Claims on sessions: a transcriber owns a session's recognition, an audio-processor its conversion.

Each role has its own queue, epoch and fields in the session's hash.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

import structlog

from parlando.store import keys as names
from parlando.store.connection import Redis, Scripts
from parlando.store.keys import SessionKeys
from parlando.store.leases import MAX_FAILURES, Claims, Renewal
from parlando.store.presence import Presence
from parlando.store.work_queue import Delivered, WorkQueue

RENEW_EVERY_S: Final = 0.5  # less than `work_queue.SUSPECT_MS`
TAKE_OVER_EVERY_S: Final = 0.25

log = structlog.get_logger(part="claims")


@dataclass(frozen=True, slots=True)
class Role:
    """A kind of ownership.

    `queue`: partition → key of its queue. `prefix`: prefix of its fields in a session's hash.
    `pool`: pool whose sessions it claims, "" for those of all pools.
    """

    queue: Callable[[int], str]
    group: str
    prefix: str
    pool: str = ""

    @property
    def ttl_s(self) -> int | None:
        """The lifetime of the queue in seconds, renewed by the pool's workers; None if it stays."""
        return names.LONG_TTL_S if self.pool else None


CONVERSION: Final = Role(names.intake, names.PROCESSORS, "intake_")


def recognition(pool: str) -> Role:
    """The role of the transcribers of a pool."""
    return Role(partial(names.sessions, pool=pool), names.TRANSCRIBERS, "", pool)


@dataclass(frozen=True, slots=True)
class SessionRenewal(Renewal):
    """The result of renewing a lease on a session.

    `past_resume_window_s`: seconds without a client beyond the resume window (negative within it).
    `quiet`: no audio has arrived for so long that the open segment should be settled.
    `received`: samples of PCM received. `ending`: no more audio follows.
    """

    past_resume_window_s: float = 0.0
    quiet: bool = False
    received: int = 0
    ending: bool = False

    @classmethod
    def of(cls, answer: Sequence[Any]) -> "SessionRenewal":
        """Decode the answer of `refresh.lua`."""
        unseen = int(answer[0])
        if unseen < 0:
            return cls(lost=True)
        settle = float(answer[2])
        return cls(
            lost=False,
            past_resume_window_s=unseen - float(answer[1]),
            quiet=0 < settle <= unseen,
            received=int(answer[3]),
            ending=bool(answer[4]),
        )


@dataclass(frozen=True, slots=True)
class SessionClaim:
    """A claim on a session in any role; see `leases.Claim`."""

    keys: SessionKeys
    entry: str
    epoch: int

    @property
    def name(self) -> str:
        """The session's id."""
        return self.keys.sid

    @property
    def partition(self) -> int:
        """The session's partition."""
        return self.keys.partition


C = TypeVar("C", bound=SessionClaim)


class RoleClaims(Claims[C, SessionRenewal]):
    """A worker's claims on sessions in one role. `lease_s`, `presence`: see `WorkQueue`."""

    def __init__(
        self,
        redis: Redis,
        role: Role,
        *,
        worker: str,
        partitions: int,
        ttl_s: int,
        lease_s: float = 3.0,
        presence: Presence | None = None,
    ) -> None:
        super().__init__(
            WorkQueue(
                redis,
                role.queue,
                role.group,
                worker=worker,
                partitions=partitions,
                lease_s=lease_s,
                ttl_s=role.ttl_s,
                presence=presence,
            )
        )
        self.scripts = Scripts(redis)
        self.ttl_s = ttl_s
        self.redis = redis
        self._role = role
        self._worker = worker

    @abstractmethod
    def _read(self, owned: SessionClaim, found: dict[str, bytes]) -> C:
        """Build the claim from the session's hash."""

    @abstractmethod
    async def _give_up(self, owned: SessionClaim) -> None:
        """End a session after `MAX_FAILURES` failures, and report it to the client."""

    async def _claim(self, delivered: Delivered) -> C | None:
        keys = SessionKeys(delivered.fields[b"sid"].decode(), delivered.partition)
        flat = await self.scripts.run(
            "claim",
            [keys.session, self._role.queue(keys.partition)],
            [self._worker, delivered.entry, self._role.group, self._role.prefix, self._role.pool],
        )
        if flat is None:
            return None
        found = {key.decode(): value for key, value in zip(flat[::2], flat[1::2], strict=True)}
        owned = SessionClaim(keys, delivered.entry, int(found[f"{self._role.prefix}epoch"]))
        try:
            return self._read(owned, found)
        except (KeyError, ValueError, TypeError) as error:  # written by another version of this program
            log.error("session.unreadable", session=keys.sid, error=f"{type(error).__name__}: {error}")
            await self._count_failure(owned)
            return None

    async def renew(self, claims: Sequence[C]) -> list[SessionRenewal]:
        """Renew leases, in one round trip."""
        answers = await self.scripts.run_many(
            "refresh",
            [
                (
                    [
                        claim.keys.session,
                        self._role.queue(claim.keys.partition),
                        *claim.keys.beside_hash,
                    ],
                    [
                        claim.epoch,
                        claim.entry,
                        self._role.group,
                        self._worker,
                        self.ttl_s,
                        self._role.prefix,
                    ],
                )
                for claim in claims
            ],
        )
        return [SessionRenewal.of(answer) for answer in answers]

    async def hand_back(self, claim: C) -> None:
        """Queue a session again, so that another worker can claim it at once."""
        await self.scripts.run(
            "release",
            [claim.keys.session, self._role.queue(claim.keys.partition)],
            [claim.epoch, claim.entry, self._role.group, claim.keys.sid, self._role.prefix],
        )

    async def failed(self, claim: C, error: Exception) -> None:
        """Count a failure; the session is taken over after its lease, or ended after `MAX_FAILURES`."""
        await self._count_failure(claim)

    async def _count_failure(self, claim: SessionClaim) -> None:
        failures = await self.scripts.run("fail", [claim.keys.session], [claim.epoch, self._role.prefix])
        if failures >= MAX_FAILURES:
            log.error("session.given_up", session=claim.keys.sid, failures=failures)
            await self._give_up(claim)
