"""Limits of notices to a user: how many in an hour, and no repeats."""

from typing import Final

from parlando.store.connection import Redis, Scripts
from parlando.store.keys import UserKeys

PER_HOUR: Final = 9
"""Omi admits 10 notices per hour, app and user, and counts from 1."""
LEAST_S: Final = 600
"""Least seconds between two notices of the same subject."""
MAX_REMEMBERED: Final = 100
"""Subjects and notices remembered for a user."""


class NoticeLimits:
    """See the module. The calls raise `UnavailableError`."""

    def __init__(self, redis: Redis, *, partitions: int) -> None:
        self._scripts = Scripts(redis)
        self._partitions = partitions

    async def admit(self, key: str, uid: str, *, notice: str, subject: str, lasts_s: float) -> bool:
        """Whether a notice may be sent. A further attempt of an admitted notice is admitted again.

        `key`: API key of the user's sessions, hashed. `lasts_s`: seconds in which no other notice of the same
        subject is admitted.
        """
        keys = UserKeys.of(key, uid, self._partitions)
        answer = await self._scripts.run(
            "admit_notice",
            [keys.notices],
            [notice, subject, int(max(lasts_s, LEAST_S)), PER_HOUR, MAX_REMEMBERED],
        )
        return bool(answer)
