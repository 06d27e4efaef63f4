"""How long the data of an owner is kept. Pure."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

LONGEST_DAYS = 3650
Days = Annotated[int, Field(ge=1, le=LONGEST_DAYS)]


class Retention(BaseModel):
    """Days that data is kept at most; None: as long as the other settings keep it.

    `transcript_days`: sessions, jobs, archived transcripts and deliveries, from their beginning (jobs: from
    their end). `audio_days`: uploads, and the files of jobs that haven't ended. Times that only a newer
    release knows are ignored.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    transcript_days: Days | None = None
    audio_days: Days | None = None


class RetentionChange(BaseModel):
    """New times: 0 or null takes one away, a field that is left out stays as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    transcript_days: Annotated[int, Field(ge=0, le=LONGEST_DAYS)] | None = None
    audio_days: Annotated[int, Field(ge=0, le=LONGEST_DAYS)] | None = None


NAMES = ("transcript_days", "audio_days")


class OwnerRetention(BaseModel):
    """What was set for one owner: `admin` by an administrator, `own` by the owner."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    admin: Retention = Retention()
    own: Retention = Retention()

    def limit(self, default: Retention) -> Retention:
        """The longest times that the owner may choose: the administrator's, or else the cluster's."""
        return Retention(**{name: getattr(self.admin, name) or getattr(default, name) for name in NAMES})

    def effective(self, default: Retention) -> Retention:
        """The times that apply. `default`: those of the cluster."""
        limit = self.limit(default)
        return Retention(**{name: _shorter(getattr(self.own, name), getattr(limit, name)) for name in NAMES})


def _shorter(one: int | None, other: int | None) -> int | None:
    return min((days for days in (one, other) if days is not None), default=None)


def longer_than(asked: RetentionChange, limit: Retention) -> str:
    """The name of the first time in `asked` that is longer than `limit` allows; "" if there is none."""
    for name in NAMES:
        days, most = getattr(asked, name), getattr(limit, name)
        if days is not None and most is not None and days > most:
            return name
    return ""
