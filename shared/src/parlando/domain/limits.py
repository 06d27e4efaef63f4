"""Limits of a key or an owner, and how much of a quota is used. Pure."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

HIGHEST: Final = 10**9
"""The largest value of a limit."""
LONGEST_WINDOW: Final = 100_000
"""The largest number of requests a minute: Redis keeps the time of each."""
WARNINGS: Final = (80, 95)
"""Percent of a quota of audio at which a live session is warned."""


class Limits(BaseModel):
    """Limits of a key or an owner: None where nothing is set, 0 for no limit.

    What isn't set for an owner is as the cluster's settings say; what isn't set for a key isn't limited for
    it alone. A request has to keep the limits of its key and those of its owner.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sessions: int | None = Field(None, ge=0, le=HIGHEST, description="Live sessions that are open at once")
    requests_minute: int | None = Field(
        None, ge=0, le=LONGEST_WINDOW, description="Requests that begin work, and live connections, a minute"
    )
    audio_seconds_day: int | None = Field(
        None, ge=0, le=HIGHEST, description="Seconds of audio a day (UTC), live and in files"
    )
    audio_seconds_month: int | None = Field(
        None, ge=0, le=HIGHEST, description="Seconds of audio a month (UTC), live and in files"
    )
    upload_mb: int | None = Field(None, ge=0, le=HIGHEST, description="Megabytes of an uploaded file")
    jobs_waiting: int | None = Field(
        None, ge=0, le=HIGHEST, description="Jobs that wait until their file is decoded"
    )

    def over(self, defaults: "Limits") -> "Limits":
        """These limits; where none is set those of `defaults`."""
        return Limits(**{**defaults.set_ones, **self.set_ones})

    @property
    def set_ones(self) -> dict[str, int]:
        """The limits that are set, by name."""
        return self.model_dump(exclude_none=True)


NAMES: Final = tuple(Limits.model_fields)
NO_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class Quota:
    """A limit with what is used of it. `name`: of the field in `Limits`. `of`: `key` or `owner`.

    `resets_at`: when all or some of it is free again; None if that depends on what the client ends.
    """

    name: str
    of: str
    limit: int
    used: float
    resets_at: datetime | None = None

    @property
    def remaining(self) -> float:
        """What is left of it."""
        return max(0.0, self.limit - self.used)

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left of it."""
        return self.used >= self.limit

    @property
    def warning(self) -> int:
        """The highest of `WARNINGS` that is reached; 0 for none."""
        return max((percent for percent in WARNINGS if self.used * 100 >= self.limit * percent), default=0)

    def seconds_left(self, now: datetime) -> int:
        """Whole seconds until `resets_at`, at least 1; 1 if it is unknown."""
        return max(1, round((self.resets_at - now).total_seconds())) if self.resets_at else 1


def end_of_day(day: date) -> datetime:
    """The moment at which the next day begins, UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)


def end_of_month(day: date) -> datetime:
    """The moment at which the next month begins, UTC."""
    first = date(day.year + day.month // 12, day.month % 12 + 1, 1)
    return datetime(first.year, first.month, 1, tzinfo=UTC)
