"""Which limits apply to a caller: those of its key, and those of its owner."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from parlando.domain.limits import Limits
from parlando.store.held import Holder

Of = Literal["key", "owner"]
EACH: Final[tuple[Of, ...]] = ("key", "owner")
SETTINGS: Final = {
    "sessions": "LIMIT_SESSIONS",
    "requests_minute": "LIMIT_REQUESTS_MINUTE",
    "audio_seconds_day": "LIMIT_AUDIO_SECONDS_DAY",
    "audio_seconds_month": "LIMIT_AUDIO_SECONDS_MONTH",
    "upload_mb": "LIMIT_UPLOAD_MB",
    "jobs_waiting": "LIMIT_JOBS_WAITING",
}
"""Name of a limit → the setting of its default for owners."""


def remedy(name: str, of: str) -> str:
    """The end of the message of an error: how an owner's limit is raised; empty for a key's."""
    return f"; {SETTINGS[name]} or PUT /v1/owners/{{owner}}/limits raises it" if of == "owner" else ""


@dataclass(frozen=True, slots=True)
class Allowance:
    """The limits that a caller has to keep."""

    owner: Limits
    key: Limits

    def of(self, name: str) -> list[tuple[Of, int]]:
        """The limits called `name`, the key's first; none if there is no limit."""
        return [(of, value) for of in EACH if (value := self.value(name, of))]

    def value(self, name: str, of: Of) -> int:
        """One limit; 0 for none."""
        return getattr(self.key if of == "key" else self.owner, name) or 0

    def has(self, *names: str) -> bool:
        """Whether any of these is limited."""
        return any(self.of(name) for name in names)


class Allowances:
    """The limits of all callers. `default`: of owners for whom none are set.

    `owner`, `key`: the limits that are set for an owner (a fingerprint) and for the id of a stored key.
    """

    def __init__(
        self, default: Limits, *, owner: Callable[[str], Limits], key: Callable[[str], Limits]
    ) -> None:
        self._default = default
        self._owner = owner
        self._key = key

    def of(self, holder: Holder) -> Allowance:
        """The limits that apply now, as far as this gateway knows."""
        return Allowance(self.of_owner(holder.owner), self._key(holder.key_id))

    def of_owner(self, owner: str) -> Limits:
        """The limits of an owner (a fingerprint), with the cluster's where none are set."""
        return self._owner(owner).over(self._default)
