"""All limits of a gateway, and what is used of them."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self

from api_gateway.limits.allowances import Allowances
from api_gateway.limits.audio import AudioQuotas, AudioUsage
from api_gateway.limits.jobs import WaitingJobs
from api_gateway.limits.requests import RequestRate
from api_gateway.limits.sessions import LiveSessions
from api_gateway.limits.windows import RequestWindows
from parlando.domain.limits import Limits, Quota
from parlando.store.connection import Redis
from parlando.store.held import Held, Holder
from parlando.store.key_ring import KeyRing
from parlando.store.limit_keys import JOBS, SESSIONS
from parlando.store.owner_limits import OwnerLimits
from parlando.store.pubsub import Channels

MB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class LimitService:
    """The limits of a gateway. `max_upload_mb`: the cluster's, which no other limit raises."""

    owners: OwnerLimits
    allowances: Allowances
    requests: RequestRate
    quotas: AudioQuotas
    sessions: LiveSessions
    jobs: WaitingJobs
    max_upload_mb: int

    @classmethod
    def of(
        cls,
        redis: Redis,
        channels: Channels,
        ring: KeyRing,
        usage: AudioUsage,
        *,
        default: Limits,
        max_upload_mb: int,
        waiting: Callable[[Sequence[str]], Awaitable[dict[str, bool]]],
    ) -> Self:
        """Build them. `default`: of owners for whom none are set. `waiting`: see `WaitingJobs`."""
        owners = OwnerLimits(redis, channels)
        allowances = Allowances(default, owner=owners.of, key=ring.limits)
        quotas = AudioQuotas(usage, allowances)
        return cls(
            owners,
            allowances,
            RequestRate(RequestWindows(redis), allowances),
            quotas,
            LiveSessions(Held(redis, SESSIONS), allowances, quotas, usage),
            WaitingJobs(Held(redis, JOBS), allowances, quotas, waiting),
            max_upload_mb,
        )

    def upload_bytes(self, caller: Holder) -> int:
        """Bytes of the largest file that a caller may upload."""
        limits = [limit for _, limit in self.allowances.of(caller).of("upload_mb")]
        return min([self.max_upload_mb, *limits]) * MB

    async def admit_upload(self, caller: Holder) -> int:
        """The same, of a file of audio: nothing is received after a quota of audio is used up.

        Raises
        ------
        QuotaExceededError, UnavailableError

        """
        await self.quotas.check(caller)
        return self.upload_bytes(caller)

    async def report(self, caller: Holder) -> list[Quota]:
        """Every limit of a caller, with what is used of it. Raises `UnavailableError`."""
        allowance = self.allowances.of(caller)
        found = await self.quotas.quotas(caller)
        windows = await self.requests.look(caller)
        sessions = await self.sessions.count(caller) if allowance.has("sessions") else {}
        jobs = await self.jobs.count(caller) if allowance.has("jobs_waiting") else {}
        for of, limit in allowance.of("requests_minute"):
            window = windows[of]
            resets_at = datetime.fromtimestamp(window.resets_at, UTC)
            found.append(Quota("requests_minute", of, limit, limit - window.remaining, resets_at))
        for name, counts in (("sessions", sessions), ("jobs_waiting", jobs)):
            found += [Quota(name, of, limit, counts[of]) for of, limit in allowance.of(name)]
        found += [Quota("upload_mb", of, limit, 0) for of, limit in allowance.of("upload_mb")]
        return found


def document_of(quotas: Sequence[Quota]) -> dict[str, Any]:
    """The limits of a key and of its owner as a JSON object: `{"key": {…}, "owner": {…}}`.

    Each limit has `limit`, `used`, `remaining` and `resets_at` (null where the client frees it itself); the
    size of an upload has its `limit` only.
    """
    found: dict[str, dict[str, Any]] = {"key": {}, "owner": {}}
    for quota in quotas:
        entry: dict[str, Any] = {"limit": quota.limit}
        if quota.name != "upload_mb":
            resets_at = quota.resets_at and quota.resets_at.isoformat(timespec="seconds")
            entry |= {
                "used": round(quota.used, 3),
                "remaining": round(quota.remaining, 3),
                "resets_at": resets_at and resets_at.replace("+00:00", "Z"),
            }
        found[quota.of][quota.name] = entry
    return found
