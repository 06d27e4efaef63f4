"""Usage of owners per day: what the counters hold, and how they are read.

The scripts that store a result count it in the same step, so a result that is stored once is counted once,
whatever happens to the process that sent it:

| what     | unit        | counted by      | when                                                        |
|----------|-------------|-----------------|-------------------------------------------------------------|
| live_ms  | ms of audio | `commit.lua`    | with the final that covers it, or at the close              |
| omi_ms   | ms of audio | `body.lua`      | when a body of the Omi webhook is stored                    |
| job_ms   | ms of audio | `job.lua`       | when a job completes; of all channels                       |
| sessions | number      | `open.lua`      | when a live session is opened; not when it is resumed       |
| jobs     | number      | `job.lua`       | when a job completes                                        |
| files    | number      | the three above | jobs, bodies, and sessions of a user (`uid`) that closed    |
| llm_…    | see `Used`  | `annotate.lua`, | with the result that the language model has made            |
|          |             | `reply.lua`     |                                                             |

A millisecond of a session is counted when its last sample is covered: a session that has received `n` samples
at 16 kHz counts as `n // 16` ms in all.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, timedelta
from typing import Any, Final

from parlando.store.connection import Redis, retried
from parlando.store.usage_keys import ANALYSIS, billed, earlier_usage, usage

MAX_DAYS: Final = 3700
"""Most days that one call reads."""
AT_ONCE: Final = 2000
"""Reads per round trip."""


@dataclass(frozen=True, slots=True)
class Used:
    """What an owner has used. Audio in milliseconds, costs in millionths of a US dollar.

    `earlier_ms`: audio of a month as a version without daily counters has counted it; it belongs to the
    month's first day. `earlier_files`: its files.
    """

    live_ms: int = 0
    omi_ms: int = 0
    job_ms: int = 0
    earlier_ms: int = 0
    sessions: int = 0
    jobs: int = 0
    files: int = 0
    earlier_files: int = 0
    llm_requests: int = 0
    llm_input_tokens: int = 0
    llm_output_tokens: int = 0
    llm_micros: int = 0

    @property
    def audio_ms(self) -> int:
        """All audio."""
        return self.live_ms + self.omi_ms + self.job_ms + self.earlier_ms

    def __add__(self, other: "Used") -> "Used":
        return Used(*(getattr(self, name) + getattr(other, name) for name in WHAT))


WHAT: Final = tuple(field.name for field in fields(Used))
_COUNTED: Final = frozenset(WHAT) - {"earlier_ms", "earlier_files"}


@dataclass(frozen=True, slots=True)
class Spent:
    """What a language model has used for one result. `micros`: its cost in millionths of a US dollar."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    micros: int = 0

    @classmethod
    def of(cls, documents: Iterable[Mapping[str, Any]]) -> "Spent":
        """The sum of the `usage` objects of several results."""
        found = list(documents)
        return cls(
            requests=sum(int(each["requests"]) for each in found),
            input_tokens=sum(int(each["input_tokens"]) for each in found),
            output_tokens=sum(int(each["output_tokens"]) for each in found),
            micros=sum(round(each["cost_usd"] * 1_000_000) for each in found),
        )

    @property
    def arguments(self) -> list[int]:
        """The arguments of `count_spent` in `lua/usage.lua`."""
        return [self.requests, self.input_tokens, self.output_tokens, self.micros]


NOTHING: Final = Spent()


@dataclass(frozen=True, slots=True)
class DayUsage:
    """What an owner (the first 16 digits of its fingerprint) has used on a day, UTC."""

    day: date
    owner: str
    used: Used


class Usage:
    """Reads the usage counters of a keyspace with `partitions`. Every call raises `UnavailableError`."""

    def __init__(self, redis: Redis, *, partitions: int) -> None:
        self._redis = redis
        self._partitions = partitions

    async def audio_s(self, owner: str, first: date, last: date) -> float:
        """Seconds of audio that an owner (a fingerprint) has used from `first` to `last`, inclusive."""
        return (await self.total(owner, first, last)).audio_ms / 1000

    async def total(self, owner: str, first: date, last: date) -> Used:
        """What an owner (a fingerprint) has used from day `first` to day `last`, inclusive."""
        return sum((row.used for row in await self.days(first, last, owner=owner)), Used())

    async def days(self, first: date, last: date, *, owner: str | None = None) -> list[DayUsage]:
        """Days with usage from `first` to `last`, inclusive, oldest first: of one owner or (None) of all.

        Days before the last `MAX_DAYS` of the range are left out.
        """
        days = days_between(first, last)
        found: dict[tuple[date, str], dict[str, int]] = {}
        names = [(day, usage(tag, day.isoformat())) for day in days for tag in self._tags()]
        hashes = await self._read([name for _, name in names], owner)
        for (day, _), counted in zip(names, hashes, strict=True):
            for who, what, number in counted:
                row = found.setdefault((day, who), {})
                row[what] = row.get(what, 0) + number
        owners = {who for _, who in found} if owner is None else {owner[:16]}
        for (day, who), (ms, files) in (await self._earlier(owners, days)).items():
            found.setdefault((day, who), {}).update(earlier_ms=ms, earlier_files=files)
        return [DayUsage(day, who, Used(**found[day, who])) for day, who in sorted(found)]

    def _tags(self) -> Iterable[int | str]:
        return [*range(self._partitions), ANALYSIS]

    async def _read(self, names: Sequence[str], owner: str | None) -> list[list[tuple[str, str, int]]]:
        """What each hash has counted: owner, what, number."""
        asked = sorted(_COUNTED)
        wanted = [f"{owner[:16]}:{what}" for what in asked] if owner is not None else []
        answers: list[Any] = []
        for start in range(0, len(names), AT_ONCE):
            answers += await self._pipelined(names[start : start + AT_ONCE], wanted)
        if owner is not None:
            return [
                [(owner[:16], what, int(number)) for what, number in zip(asked, found, strict=True) if number]
                for found in answers
            ]
        return [list(_of_all(found)) for found in answers]

    async def _pipelined(self, names: Sequence[str], wanted: list[str]) -> list[Any]:
        """The fields `wanted` of hashes, or all of their fields, in one round trip."""

        async def read() -> list[Any]:
            async with self._redis.pipeline(transaction=False) as pipe:
                for name in names:
                    if wanted:
                        pipe.hmget(name, wanted)
                    else:
                        pipe.hgetall(name)
                answers: list[Any] = await pipe.execute()
            return answers

        return await retried(read)

    async def _earlier(
        self, owners: Iterable[str], days: Sequence[date]
    ) -> dict[tuple[date, str], tuple[int, int]]:
        """Audio (ms) and files counted per month, by first day of the month and owner."""
        asked = [(day, who) for day in days if day.day == 1 for who in sorted(owners)]
        names = [
            earlier_usage(p, who, day.isoformat()[:7]) for day, who in asked for p in range(self._partitions)
        ]
        answers: list[Any] = []
        for start in range(0, len(names), AT_ONCE):
            answers += await self._pipelined(names[start : start + AT_ONCE], ["audio_ms", "files"])
        sums: dict[tuple[date, str], tuple[int, int]] = {}
        for number, place in enumerate(asked):
            of_place = answers[number * self._partitions : (number + 1) * self._partitions]
            ms, files = (sum(int(each[i] or 0) for each in of_place) for i in (0, 1))
            if ms or files:
                sums[place] = (ms, files)
        return sums

    async def billed_ms(self, month: str) -> int:
        """Milliseconds of audio billed to the whole cluster by a paid engine in a month (`2026-11`)."""
        return int(await retried(lambda: self._redis.get(billed(month))) or 0)

    async def keep(self, days: Sequence[date], *, for_days: int) -> None:
        """Have the counters of each of `days` deleted `for_days` days after that day."""
        names = [
            (usage(tag, day.isoformat()), _unix(day + timedelta(days=for_days + 1)))
            for day in days
            for tag in self._tags()
        ]
        for start in range(0, len(names), AT_ONCE):
            await self._expire(names[start : start + AT_ONCE])

    async def _expire(self, names: Sequence[tuple[str, int]]) -> None:
        async def expire() -> None:
            async with self._redis.pipeline(transaction=False) as pipe:
                for name, at in names:
                    pipe.expireat(name, at)
                await pipe.execute()

        await retried(expire)


def _of_all(found: dict[bytes, bytes]) -> Iterable[tuple[str, str, int]]:
    for name, number in found.items():
        owner, _, what = name.decode().partition(":")
        if what in _COUNTED:
            yield owner, what, int(number)


def _unix(day: date) -> int:
    """The unix time at which a day begins, UTC."""
    return (day - date(1970, 1, 1)).days * 86_400


def days_between(first: date, last: date) -> list[date]:
    """The days from `first` to `last`, inclusive; the last `MAX_DAYS` of them."""
    number = min((last - first).days + 1, MAX_DAYS)
    return [last - timedelta(days=back) for back in range(number - 1, -1, -1)]
