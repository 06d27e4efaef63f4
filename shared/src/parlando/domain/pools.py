"""Pools of transcribers: what each can do, and which of them may get a session or a job. No I/O.

A pool is all transcribers that run the same engine and model. Only they can continue each other's sessions,
because a session's checkpoint holds the engine's own token ids.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from parlando.errors import AtCapacityError, InvalidRequestError

MAX_NAME: Final = 64  # characters of a pool's name
UNASSIGNED: Final = "unassigned"
"""The pool of sessions and jobs that were accepted while no pool was known; see `store.unassigned`."""
MANY: Final = 8  # an error message names no more languages of a pool than this

_FAMILIES: Final = {"faster-whisper": "whisper", "whisper": "torch-whisper"}
"""Engine → first part of its pools' names, if it is not the engine's name."""


def pool_name(engine: str, model: str) -> str:
    """The name of the pool that runs `engine` with `model`, such as `moonshine-tiny` or `whisper-base`.

    It has lower-case letters, digits, dots, underscores and hyphens, and at most `MAX_NAME` characters.
    """
    family = _FAMILIES.get(engine, engine)
    bare = model.removeprefix(f"{family.rpartition('-')[2]}-")  # a folder may be called whisper-base
    slug = re.sub(r"[^a-z0-9._]+", "-", f"{family}-{bare}".lower()).strip("-.")
    return slug[:MAX_NAME].rstrip("-.") or "engine"


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool. `languages`: ISO 639-1 codes, empty for any.

    `capacity`: sessions that all its workers together can take. `stages`: those that every worker has, since
    any of them may claim a session. `metered`: its audio costs money. `workers`, `capacity` and `chunks` are
    0 for a pool without a live transcriber.
    """

    name: str
    engine: str
    model: str
    languages: frozenset[str]
    tasks: frozenset[str]
    stages: frozenset[str]
    metered: bool
    workers: int = 0
    capacity: int = 0
    chunks: int = 0

    @classmethod
    def of(cls, reports: Sequence[Mapping[str, Any]]) -> Self:
        """The pool of transcribers' heartbeats, or of one entry of `store.pools.known_pools`."""
        first = reports[0]
        return cls(
            name=first["pool"],
            engine=first["engine"],
            model=first["model"],
            languages=frozenset(first["languages"]),
            tasks=frozenset.intersection(*(frozenset(report["tasks"]) for report in reports)),
            stages=frozenset.intersection(*(frozenset(report["stages"]) for report in reports)),
            metered=any(report["metered"] for report in reports),
            workers=sum("worker" in report for report in reports),
            capacity=sum(int(report.get("capacity", 0)) for report in reports),
            chunks=sum(int(report.get("chunks", 0)) for report in reports),
        )

    def speaks(self, languages: Collection[str]) -> bool:
        """Whether it can do all of `languages`; a region (`en-GB`) is ignored."""
        return not self.languages or {name.partition("-")[0] for name in languages} <= self.languages

    @property
    def multilingual(self) -> bool:
        """Whether it can do more than one language."""
        return len(self.languages) != 1

    @property
    def rank(self) -> tuple[bool, bool, int, float, str]:
        """The order of preference: unpaid, few languages (a specialised engine is cheap), large capacity."""
        per_worker = self.capacity / self.workers if self.workers else 0.0
        return self.metered, not self.languages, len(self.languages), -per_worker, self.name

    def __str__(self) -> str:
        """Name, languages and tasks, for error messages."""
        count = len(self.languages)
        spoken = ", ".join(sorted(self.languages)) if count <= MANY else f"{count} languages"
        return f"{self.name} ({spoken or 'any language'}; {', '.join(sorted(self.tasks))})"


class NoPoolError(InvalidRequestError):
    """Raised when no pool of the cluster can do what is requested.

    `lacking`: the option that no pool can do: `language`, `task` or `stages`; "" if it is their combination.
    """

    def __init__(self, message: str, lacking: str) -> None:
        super().__init__(message)
        self.lacking = lacking


def pools_of(workers: Iterable[Mapping[str, Any]]) -> list[Pool]:
    """The pools of the transcribers among `workers` (heartbeats), in the order of their names."""
    members: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for worker in workers:
        if worker["kind"] == "transcriber":
            members[worker["pool"]].append(worker)
    return [Pool.of(members[name]) for name in sorted(members)]


def choose(
    workers: Iterable[Mapping[str, Any]], languages: Sequence[str], task: str, stages: Sequence[str]
) -> list[Pool]:
    """The pools that can do the work, the preferred one first. See `capable`.

    Raises
    ------
    AtCapacityError
        if no transcriber is alive.
    NoPoolError

    """
    pools = pools_of(workers)
    if not pools:
        raise AtCapacityError("No transcriber is running; start one, or try again in a few seconds")
    return capable(pools, languages, task, stages)


def capable(pools: Sequence[Pool], languages: Sequence[str], task: str, stages: Sequence[str]) -> list[Pool]:
    """Those of `pools` that can do all of `languages`, `task` and all `stages`, the preferred one first.

    With no `languages` the language has to be detected: then pools of one language are not eligible, unless
    there are no others.

    Raises
    ------
    NoPoolError

    """
    found = [pool for pool in pools if task in pool.tasks and pool.stages.issuperset(stages)]
    if languages:
        found = [pool for pool in found if pool.speaks(languages)]
    else:
        found = [pool for pool in found if pool.multilingual] or found
    if not found:
        raise _refusal(pools, languages, task, stages)
    return sorted(found, key=lambda pool: pool.rank)


def _refusal(
    pools: Sequence[Pool], languages: Sequence[str], task: str, stages: Sequence[str]
) -> NoPoolError:
    can = "; ".join(map(str, pools))
    wanted = ", ".join(languages)
    if not any(pool.speaks(languages) for pool in pools):
        what = "a language" if len(languages) == 1 else "languages"
        return NoPoolError(
            f"Expected {what} that an engine of this cluster supports, but got {wanted}; it has {can}",
            "language",
        )
    if not any(task in pool.tasks for pool in pools):
        return NoPoolError(f"The engines of this cluster can't {task}; it has {can}", "task")
    if not any(pool.stages.issuperset(stages) for pool in pools):
        known = ", ".join(sorted({stage for pool in pools for stage in pool.stages})) or "none"
        return NoPoolError(
            f"Expected stages that every transcriber of a pool has ({known}), but got {', '.join(stages)}",
            "stages",
        )
    with_stages = f" with the stages {', '.join(stages)}" if stages else ""
    return NoPoolError(
        f"No engine of this cluster can {task} {wanted or 'speech of an unknown language'}{with_stages}; "
        f"it has {can}",
        "",
    )
